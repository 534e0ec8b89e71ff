"""The first hour in small: a fake language model, and trainings whose scores follow from a formula."""

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
from benchmarks import first_hour, first_hour_measurement, first_hour_report
from benchmarks.first_hour import POLICIES
from benchmarks.first_hour_report import HourResult, SetResults
from benchmarks.first_hour_sets import LLMCost
from fake_llm import FakeLLM
from llm_stub import Response, answer_body
from running import ROOT, run_command
from scipy.stats import t

from ie.core.errors import UserError
from ie.core.settings import load_settings
from ie.data.config import DataConfig
from ie.data.records import Record, Span, write_records
from ie.data.scheme import Scheme
from ie.review.settings import ReviewSettings

LABEL = "FASHION_BRAND"
SMALL = ["--sets", "fashion_brands", "--sizes", "12,20,30", "--pool", 60, "--test", 40]


def texts(n: int, seed: int) -> list[Record]:
    """Texts with one brand each, whose words differ enough for the split to keep them apart."""
    rng = random.Random(seed)
    found = []
    for number in range(n):
        words = ["".join(rng.choices("abcdefghij", k=6)) for _ in range(8)]
        words[rng.randrange(2, 6)] = brand = f"Brand{seed}{number}"
        text = " ".join(words)
        start = text.index(brand)
        found.append(Record(text=text, spans=[Span(start=start, end=start + len(brand), label=LABEL)]))
    return found


def reply(path: str, prompt: str) -> Response:
    """The brand of the text that is asked about."""
    text = re.findall(r"^Text: (.*)$", prompt, re.MULTILINE)[-1]
    return Response(answer_body(path, re.findall(r"Brand\d+", text)[0]))


@pytest.fixture
def server():
    with FakeLLM(always=reply) as fake:
        yield fake


@pytest.fixture
def options(tmp_path, server):
    """Options of the command: a public set in small, and the template's prompt at a fake endpoint."""
    for part, (n, seed) in {"train": (50, 1), "dev": (10, 2), "test": (40, 3)}.items():
        write_records(tmp_path / "data/fashion_brands" / f"{part}.jsonl", texts(n, seed))
    config = (ROOT / "configs/llm.cfg").read_text("utf-8")
    model = f'[model]\n@llm_models = "ie.OpenAI.v1"\nmodel = "fake"\nbase_url = "{server.url}/v1"\n'
    model += f'cache = "{tmp_path / "answers.sqlite"}"\nmax_retries = 0\n\n'
    config = re.sub(r"\[model\]\n.*?\n\n", lambda _: model, config, flags=re.DOTALL)
    (tmp_path / "llm.cfg").write_text(config, "utf-8")
    paths = {"data-sets": "data", "llm-config": "llm.cfg", "output": "hour"}
    return [*SMALL, *(part for name, path in paths.items() for part in (f"--{name}", tmp_path / path))]


@pytest.fixture
def trained(monkeypatch):
    """The training texts of each job; F grows with their number, and the seed moves it a little."""
    sizes: list[int] = []

    def run(todo, *, workers, what):
        found = []
        for job in todo:
            sizes.append(job.cell.examples)
            right = min(9, job.cell.examples // 2) - job.cell.seed
            found.append({"test": [[[right, 0, 10 - right]]] * 40})
        return found

    monkeypatch.setattr(first_hour_measurement.jobs, "run", run)
    return sizes


def test_each_policy_has_its_texts_keys_and_prompts(options, server, trained, capsys, tmp_path):
    outcome = run_command("benchmark-first-hour", [*options, "--seeds", 2], capsys)
    assert outcome.status == 0, outcome.output
    assert (
        "fashion_brands: 60 texts to review, F on 40 other texts, 2 seeds. LLM: 48 prompts" in outcome.output
    )
    (found,) = json.loads((tmp_path / "hour/first-hour.json").read_text())
    rows = {(row["texts"], row["policy"]): row for row in found["rows"]}
    assert len(rows) == 9
    for texts_read in (12, 20, 30):
        random_order, suggested = (rows[texts_read, name] for name in ("random", "suggestions"))
        assert random_order["f"] == suggested["f"], "the same answers, so the same pipeline"
    assert len({rows[12, policy.name]["f"] for policy in POLICIES}) == 1, "the first texts are the same"
    # right suggestions are accepted by one key; test texts are shown without
    assert rows[30, "suggestions"]["keys"][0] < rows[30, "random"]["keys"][0]
    assert rows[30, "random"]["decisions"][0] == 60
    assert [rows[30, p.name]["llm_prompts"] for p in POLICIES] == [0, 48, 48]
    assert {rows[12, p.name]["llm_prompts"] for p in POLICIES} == {0}
    assert (tmp_path / "hour/first-hour.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_that_was_killed_goes_on(options, server, trained, capsys, monkeypatch):
    played = []
    play = first_hour.play
    monkeypatch.setattr(first_hour, "play", lambda *args, **more: played.append(1) or play(*args, **more))
    run = first_hour_measurement.jobs.run
    monkeypatch.setattr(first_hour_measurement.jobs, "run", lambda *args, **more: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_command("benchmark-first-hour", [*options, "--seeds", 2], capsys)
    assert len(played) == 6  # the first texts and the rest, by each policy
    assert len(server.requests) == 48
    monkeypatch.setattr(first_hour_measurement.jobs, "run", run)
    assert run_command("benchmark-first-hour", [*options, "--seeds", 2], capsys).status == 0
    assert len(played) == 9, "another seed has the same first texts"
    assert len(server.requests) == 48


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        (["--sizes", "25,12"], "must be rising numbers"),
        (["--sizes", "12,many"], "must be rising numbers"),
        (["--sizes", "12,60"], "more texts than --pool 60"),
        (["--sets", "news"], "--sets 'news': there are fashion_brands"),
        (["--data-sets", "/nowhere"], "there is no train.jsonl; set --data-sets"),
    ],
)
def test_bad_options_are_refused(options, capsys, changed, fault):
    outcome = run_command("benchmark-first-hour", [*options, *changed], capsys)
    assert outcome.status == 1
    assert fault in outcome.output


def test_policies_change_order_and_suggestions_alone():
    base = load_settings(ROOT / "configs/review.cfg", ReviewSettings)
    random_order, _, default = POLICIES
    assert default.settings(base, seed=None) == base
    later = default.settings(base, seed=3)
    assert later.order == base.order.model_copy(update={"seed": 3})
    assert later.model_copy(update={"order": base.order}) == base
    first = random_order.settings(base, seed=None)
    assert (first.order, first.review) == (base.order, base.review)
    later = random_order.settings(base, seed=3)
    assert (later.order.then, later.learn.strings, later.learn.every) == ("random", False, 0)


def test_the_default_learns_from_its_answers():
    """A brand that was marked before is suggested, though no language model suggests anything."""
    rng = random.Random(0)
    gold = []
    for _ in range(30):
        words = ["".join(rng.choices("abcdefghij", k=6)) for _ in range(8)]
        text = " ".join([*words, "Velto"])
        gold.append(Record(text=text, spans=[Span(start=len(text) - 5, end=len(text), label=LABEL)]))
    keys = {}
    for policy in (POLICIES[0], POLICIES[-1]):
        settings = policy.settings(ReviewSettings.model_validate({"order": {"then": "file"}}), seed=None)
        rows = first_hour.play(gold, texts=30, settings=settings, labels=(LABEL,), data=DataConfig())
        keys[policy.name] = [row.keys for row in rows]
    assert sum(keys["default"]) < sum(keys["random"])
    assert keys["default"].count(1) > 10


def test_without_dev_or_labels_nothing_is_found(tmp_path):
    gold = [Record(text=f"{record.text} {i}") for i, record in enumerate(texts(30, 4))]
    reviewed = first_hour_measurement.ReviewedSet(
        "fashion_brands", (LABEL,), tuple(gold), tuple(texts(2, 5)), None
    )
    hour = first_hour_measurement.FirstHour(
        reviewed, tmp_path, [5, 10], ReviewSettings(), DataConfig(), Path("configs/efficient.cfg"), 100
    )
    found = hour.measure(0)
    assert {result.counts for result in found} == {((0, 0, 1), (0, 0, 1))}


def test_means_have_t_intervals_and_gains_are_paired():
    estimate = first_hour_report.mean([10, 12, 17])
    half = t.ppf(0.975, 2) * np.std([10, 12, 17], ddof=1) / 3**0.5
    assert estimate.value == 13
    assert np.isclose(estimate.high - 13, half)
    assert first_hour_report.mean([5]).half_width == 0

    def result(policy: str, seed: int, right: int) -> HourResult:
        keys = 100 - (40 + 10 * seed) * (policy == "default")
        return HourResult(policy, 12, seed, keys, 5, ((right, 0, 10 - right),) * 50)

    cells = [result(p.name, seed, 5 + seed + 2 * (p.name == "default")) for p in POLICIES for seed in (0, 1)]
    results = SetResults("fire", 60, 50, tuple(cells), LLMCost())
    assert max(map(len, first_hour_report.shown(results).splitlines())) <= 80
    difference = first_hour_report.gain(results, 12)
    assert 0.1 < difference.value < 0.2
    assert difference.low <= difference.value <= difference.high
    saved = first_hour_report.saving(results, 12)
    assert np.isclose(saved.value, 0.45)
    assert np.isclose(saved.half_width, t.ppf(0.975, 1) * 0.05)
    assert "45% fewer key presses" in " ".join(first_hour_report.shown(results).split())
    one = SetResults("fire", 60, 50, tuple(cell for cell in cells if not cell.seed), LLMCost())
    assert first_hour_report.gain(one, 12) is None
    assert "can't be compared" in first_hour_report.verdict(one)


def test_the_pool_of_the_demo_has_all_parts_and_no_text_like_those_of_test(tmp_path):
    gold = texts(150, 6)
    # each text twice, but for a digit
    copies = [Record(text=f"{record.text} {i}", spans=record.spans) for record in gold for i in (1, 2)]
    write_records(tmp_path / "reviewed.jsonl", copies)
    scheme, config = Scheme(span_labels=(LABEL,)), DataConfig()
    found = first_hour_measurement.first_hour_sets.load(
        "demo", tmp_path, tmp_path / "reviewed.jsonl", tmp_path, scheme, config, (200, 60)
    )
    split = config.assign(found.pool, [])
    assert min(len(split.train), len(split.dev), len(split.test)) > 0
    assert len(found.test) == 60
    cut = {record.text[:-2] for record in found.test}
    assert not cut & {record.text[:-2] for record in found.pool}


def test_an_unknown_set_is_refused(tmp_path):
    with pytest.raises(UserError, match="--data-sets"):
        first_hour_measurement.first_hour_sets.load(
            "fire", tmp_path, Path(), Path(), None, DataConfig(), (10, 10)
        )

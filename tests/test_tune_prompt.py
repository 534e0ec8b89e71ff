"""The command against a fake endpoint: what a search asks, what it chooses, and when it changes nothing."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_llm import FakeLLM
from llm_stub import Response, answer_body
from running import ROOT, Outcome, data_config, run_command, write_lines
from test_llm_annotate import PROVIDER, Project, texts_asked

from ie.data.pinned import read_pinned
from ie.data.records import read_records
from ie.data.splits import assign

EXAMPLES, CONFIG = Path("assets/examples.jsonl"), Path("llm.cfg")
SHARES = {"test_percent": 30, "dev_percent": 30}
SEARCH = "[search]\nfirst_texts = 10\ntexts = 40\n"
CANDIDATES = """
[examples]

[examples.two]
prompt.examples.n = 2

[examples.three]
prompt.examples.n = 3

[examples.six]
prompt.examples.n = 6

[examples.seven]
prompt.examples.n = 7
"""
WORDS = """
[words]

[words.labels]
label_names = "labels"

[words.instruction]
instruction = "Copy {names}."
"""
PROMPT = '[prompt]\n# Kept.\nform = "joint"\n\n[prompt.examples]\n'


def shown(prompt: str) -> int:
    return prompt.count("\nText: ") - 1


def answer(path: str, prompt: str, money: bool) -> Response:
    text = re.findall(r"^Text: (.*)$", prompt, re.MULTILINE)[-1]
    amount = text.split()[-1] if money else "none"
    return Response(answer_body(path, f"{text.split()[0]}\nMONEY: {amount}"))


def knows_money_from_two(path: str, prompt: str) -> Response:
    """Amounts are found by prompts that show two examples only."""
    return answer(path, prompt, money=shown(prompt) == 2)


class Tuning(Project):
    def __init__(self, folder: Path, url: str, capsys: pytest.CaptureFixture, number: int = 250):
        super().__init__(folder, url, capsys)
        rng = random.Random(1)
        words = ["".join(rng.choices("abcdefghij", k=6)) for _ in range(800)]
        texts = [f"Firm{i} {' '.join(rng.sample(words, 8))} ${i}m" for i in range(number)]
        self.lines = [self.line(text, i) for i, text in enumerate(texts)]
        write_lines(folder / "assets/reviewed.jsonl", self.lines)
        write_lines(folder / "assets/texts.jsonl", [{"text": text} for text in texts])
        data_config(folder / "configs/data.cfg", **SHARES)
        text = CONFIG.read_text().replace("[components.spans.task.examples]\n", PROMPT)
        text = text.replace("labels =", "form = ${prompt.form}\nexamples = ${prompt.examples}\nlabels =", 1)
        CONFIG.write_text(text)
        self.search(CANDIDATES)

    def search(self, candidates: str, search: str = SEARCH) -> None:
        (self.folder / "tune.cfg").write_text(search + candidates)

    def tune(self, *flags: str, **changes) -> Outcome:
        return run_command(
            "tune-prompt", [*self.options(candidates="tune.cfg", **changes), *flags], self.capsys
        )

    def start_tuning(self) -> subprocess.Popen:
        options = self.options(candidates="tune.cfg")
        with Path("log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, str(ROOT / "scripts/tune-prompt.py"), *options, "--yes"],
                stdout=log,
                stderr=log,
                env=os.environ | {"WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"},
            )

    @property
    def split(self):
        return assign(read_records(Path("assets/reviewed.jsonl")), [], **SHARES)

    @property
    def scores(self) -> dict:
        return json.loads(Path("training/prompts/scores.json").read_text())


@pytest.fixture
def server():
    with FakeLLM(always=knows_money_from_two) as fake:
        yield fake


@pytest.fixture
def project(tmp_path, monkeypatch, server, capsys) -> Tuning:
    monkeypatch.chdir(tmp_path)
    return Tuning(tmp_path, server.url, capsys)


def test_the_better_prompt_is_written_with_its_evidence(project, server):
    outcome = project.tune("--yes")
    assert outcome.status == 0, outcome.output
    scores = project.scores
    assert (scores["best"], scores["settings"]) == ("examples.two", {"prompt.examples.n": 2})
    assert scores["before"][0] == pytest.approx(0.6667, abs=1e-4)
    assert scores["after"][0] == 1.0
    assert "(examples.two), gain .33 (95 % interval" in outcome.output
    text = CONFIG.read_text()
    assert "\nn = 2\n" in text
    [evidence] = re.findall(r"^\[prompt\]\n(# Chosen by tune-prompt: .*)\n# Kept\.$", text, re.MULTILINE)
    assert re.fullmatch(
        r"# Chosen by tune-prompt: F \.7 ±\.1 -> \.\d\d to 1\.00 on \d\d texts it didn't see; "
        r"gain \.33 \(95 % interval \.\d\d to \.\d\d\)\.",
        evidence,
    )
    assert len(read_pinned(EXAMPLES)) == 2
    asked = len(server.requests)
    # The next run starts from the new prompt, and replaces the evidence only where there is more gain.
    again = project.tune("--yes")
    assert again.status == 0
    assert "No candidate is better than the current prompt" in again.output
    assert CONFIG.read_text() == text
    assert len(server.requests) == asked, "all of its answers are stored"


def test_the_halves_are_apart_and_no_example_is_scored(project, server):
    project.tune("--yes")
    dev = {record.text for record in project.split.dev}
    held_out = {record.text for record in read_records(Path("training/prompts/best.jsonl"))}
    searched = set(texts_asked(server)) - held_out
    assert len(held_out) == project.scores["held_out_texts"] >= 20
    assert len(searched) == project.scores["search_texts"] >= 20
    # `six` was asked about search texts only: it lost.
    assert (
        not {t for t, p in zip(texts_asked(server), server.prompts, strict=True) if shown(p) == 6} & held_out
    )
    examples = {text for p in server.prompts for text in re.findall(r"^Text: (.*)$", p, re.MULTILINE)[:-1]}
    assert not examples & (held_out | searched | {record.text for record in project.split.test})
    assert dev & held_out
    assert dev & searched


def test_halving_asks_few(project, server):
    outcome = project.tune("--yes")
    asked = {n: sum(shown(p) == n for p in server.prompts) for n in (2, 3, 4, 6, 7)}
    search, held_out = project.scores["search_texts"], project.scores["held_out_texts"]
    # Of the current prompt and the winner all texts, of the worse half of four candidates ten each.
    assert asked[4] == asked[2] == search + held_out
    assert sorted(asked[n] for n in (3, 6, 7)) == [10, 10, 20]
    [most] = re.search(r"about ([\d,]+) calls", outcome.output).groups()
    assert len(server.requests) == int(most)
    # At equal F, fewer examples: `three` goes on, and of the others the earlier.
    assert asked[3] == 20


def test_a_killed_search_goes_on_where_it_was(project, server):
    process = project.start_tuning()
    while len(server.requests) < 60 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(server.requests)
    assert project.tune("--yes").status == 0
    # Lost are at most the eight in flight when it was killed, and as many answers that were not stored yet.
    assert len(server.requests) <= len(set(server.prompts)) + 16
    assert before >= 60


def test_noise_changes_nothing(tmp_path, monkeypatch, capsys):
    def slightly(path: str, prompt: str) -> Response:
        text = re.findall(r"^Text: (.*)$", prompt, re.MULTILINE)[-1]
        number = int(re.findall(r"\d+", text.split()[0])[0])
        return answer(path, prompt, money=number % 7 == 0 or (shown(prompt) == 2 and number % 31 == 0))

    monkeypatch.chdir(tmp_path)
    with FakeLLM(always=slightly) as fake:
        project = Tuning(tmp_path, fake.url, capsys)
        before = CONFIG.read_bytes()
        outcome = project.tune("--yes")
    assert outcome.status == 0, outcome.output
    assert "Nothing is changed." in outcome.output
    assert not project.scores["better"]
    assert CONFIG.read_bytes() == before
    assert not EXAMPLES.exists()


def test_without_a_terminal_nothing_changes(project):
    before = CONFIG.read_bytes()
    outcome = project.tune()
    assert outcome.status == 1
    assert "llm.cfg: stays as it is, as there is no terminal to ask in" in outcome.output
    assert "scripts/tune-prompt.py --yes --provider fake" in outcome.output
    assert CONFIG.read_bytes() == before
    assert not EXAMPLES.exists()


def test_the_price_of_asking_all_texts_again_comes_first(project, server):
    project.run()
    outcome = project.tune()
    assert re.search(r"\d+ of \d+ texts are asked about again: about \$0\.\d\d, about 1 min", outcome.output)


def test_pinned_examples_stay_where_a_candidate_doesnt_concern_them(project, server):
    mine = project.split.train[:2]
    write_lines(EXAMPLES, [json.loads(record.to_line()) for record in mine])
    # The form is the current one, so nothing is asked for `x.joint`.
    project.search(WORDS + '[x]\n\n[x.joint]\nprompt.form = "joint"\n')
    assert project.tune().status == 0
    assert {tuple(re.findall(r"^Text: (.*)$", p, re.MULTILINE)[:-1]) for p in server.prompts} == {
        tuple(record.text for record in mine)
    }
    assert any(p.startswith("Copy COMPANY, MONEY.") for p in server.prompts)
    # The scheme's labels are its words already.
    assert {row["candidate"] for row in project.scores["rounds"]} == {"current", "words.instruction"}


@pytest.mark.parametrize(("calls", "stages"), [(3, None), (130, None), (230, 1), (2000, 2)])
def test_the_budget_of_calls(project, server, calls, stages):
    project.search(CANDIDATES + WORDS)
    outcome = project.tune(max_calls=calls)
    if stages is None:
        assert outcome.status == 1
        assert re.search(
            rf"--max-calls {calls}: a search takes at least \d+ calls; nothing was asked", outcome.output
        )
        assert not server.requests
    else:
        assert len(server.requests) <= calls
        assert project.scores["skipped"] == ["words"] * (stages == 1)


def test_the_budget_of_dollars(project, server):
    outcome = project.tune(max_cost=0.0001)
    assert outcome.status == 1
    assert re.search(
        r"--max-cost 0\.0001: a search takes at least \$0\.\d\d; nothing was asked", outcome.output
    )
    assert not server.requests
    assert re.search(r"calls, \$0\.\d\d at most", project.tune("--yes").output)


def test_unknown_prices_are_reported(project, server):
    project.provider(PROVIDER.replace("URL", server.url).partition("[model.prices]")[0])
    outcome = project.tune(max_cost=1)
    assert outcome.status == 1
    assert "--max-cost 1: the model has no prices; add [model.prices]" in outcome.output
    assert not server.requests
    assert "dollars unknown (the model has no prices)" in project.tune("--yes").output


@pytest.mark.parametrize("dev_percent", [0.001, 5])
def test_training_texts_help_where_dev_is_small(project, server, dev_percent):
    data_config(project.folder / "configs/data.cfg", **SHARES | {"dev_percent": dev_percent})
    split = assign(read_records(Path("assets/reviewed.jsonl")), [], **SHARES | {"dev_percent": dev_percent})
    outcome = project.tune("--yes")
    assert outcome.status == 0, outcome.output
    assert "are training texts, which no prompt shows as examples" in outcome.output
    asked = set(texts_asked(server))
    assert {record.text for record in split.dev} <= asked
    examples = {text for p in server.prompts for text in re.findall(r"^Text: (.*)$", p, re.MULTILINE)[:-1]}
    assert not examples & asked


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (0, r"reviewed\.jsonl: nothing is reviewed yet; review some texts first"),
        (
            40,
            r"reviewed\.jsonl: only \d+ reviewed texts can score a prompt, and the search needs two halves "
            r"of 20; review about \d+ more",
        ),
    ],
)
def test_too_few_reviewed_texts_is_one_sentence(tmp_path, monkeypatch, server, capsys, number, message):
    monkeypatch.chdir(tmp_path)
    project = Tuning(tmp_path, server.url, capsys, number=number)
    outcome = project.tune()
    assert outcome.status == 1
    assert re.search(message, outcome.output)
    assert not server.requests


def test_a_label_without_examples_is_named(project):
    for line in project.lines:
        line["spans"] = line["spans"][:1]
    write_lines(Path("assets/reviewed.jsonl"), project.lines)
    outcome = project.tune()
    assert "no training text has MONEY, so no prompt shows an example of it" in outcome.output
    assert "Traceback" not in outcome.output


def test_a_prompt_longer_than_the_context_is_left_out(project, server):
    project.provider(PROVIDER.replace("URL", server.url).replace("4096", "700"))
    project.search(CANDIDATES.replace("= 7", "= 90"))
    outcome = project.tune("--yes")
    assert outcome.status == 0, outcome.output
    assert "[examples.seven] is left out: The prompt without the text takes about" in outcome.output
    assert project.scores["best"] == "examples.two"


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ("[x", "tune.cfg: can't be read as a config"),
        ("[x]\nn = 1", "tune.cfg: [x] sets n; a stage has only sections, such as [x.other]"),
        ("[x]\n\n[x.y]\n", "tune.cfg: [x.y] changes nothing"),
        ('[x]\n\n[x.y]\nexamples.order = "up"', "[x.y] examples.order = 'up' must be \"reversed\""),
        ("", "tune.cfg: there is no candidate in it"),
        ("[x]\n\n[x.y]\nnowhere.form = 1", "[x.y] is left out: "),
    ],
)
def test_bad_candidates_are_one_sentence(project, server, candidates, message):
    project.search(candidates)
    outcome = project.tune()
    assert message in outcome.output
    assert "Traceback" not in outcome.output


def test_an_unknown_stage_is_one_sentence(project):
    outcome = project.tune(only="neither")
    assert (outcome.status, "the stages of tune.cfg are examples." in outcome.output) == (1, True)


def test_the_order_and_the_choice_of_examples_can_vary(project, server):
    project.search('[x]\n\n[x.reversed]\nexamples.order = "reversed"\n\n[x.draw]\nexamples.draw = 1\n')
    assert project.tune("--yes").status == 0
    orders = {tuple(re.findall(r"^Text: (.*)$", p, re.MULTILINE)[:-1]) for p in server.prompts}
    assert len(orders) == 3
    assert sum(order[::-1] in orders for order in orders) == 2


def test_the_candidates_that_are_shipped_can_all_be_read():
    from ie.training.prompts.candidates import read_stages

    settings, stages = read_stages(ROOT / "configs/tune-prompt.cfg")
    assert (settings.first_texts, settings.texts) == (20, 80)
    assert {"empty", "examples", "choice", "form", "words"} == set(stages)


def test_f_by_number_of_examples_is_for_the_learning_curve(project, server):
    config = CONFIG.read_bytes()
    outcome = project.tune(shots="0,2,6")
    assert outcome.status == 0, outcome.output
    written = json.loads(Path("training/prompts/shots.json").read_text())
    f = {(score["select"], score["shots"]): score["f"] for score in written["scores"]}
    assert f == {
        key: 1.0 if key[1] == 2 else pytest.approx(0.6667, abs=1e-4)
        for key in [("fixed", 0), ("fixed", 2), ("fixed", 6), ("similar", 2), ("similar", 6)]
    }
    assert "2 .91 to 1.00 .91 to 1.00 6 .7 ±.1 .7 ±.1 " in outcome.output
    asked = set(texts_asked(server))
    assert asked <= {record.text for record in project.split.dev}
    assert len(written["texts"]) == len(asked) == 40
    examples = {text for p in server.prompts for text in re.findall(r"^Text: (.*)$", p, re.MULTILINE)[:-1]}
    assert examples <= {record.text for record in project.split.train}
    assert len(server.requests) == 5 * 40
    assert "5 prompts on 40 dev texts: about 200 calls" in outcome.output
    assert CONFIG.read_bytes() == config
    assert not EXAMPLES.exists()
    project.tune(shots="0,2,6")
    assert len(server.requests) == 5 * 40, "all answers are stored"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shots": "two"}, "--shots 'two': must be numbers of examples, such as \"0,2,4,8,16,32\""),
        ({"shots": "2,-1"}, "--shots '2,-1': must be numbers of examples"),
        (
            {"shots": "0,2", "max_calls": 3},
            "--max-calls 3: asking with 3 prompts takes 120 calls; nothing",
        ),
        ({"shots": "0,2", "dev_percent": 5}, "reviewed texts, and a score needs 20; review more texts"),
    ],
)
def test_shots_that_cannot_be_measured_are_one_sentence(project, server, changes, message):
    if percent := changes.get("dev_percent"):
        data_config(project.folder / "configs/data.cfg", **SHARES | {"dev_percent": percent})
    outcome = project.tune(**{name: value for name, value in changes.items() if name != "dev_percent"})
    assert outcome.status == 1
    assert message in outcome.output
    assert not server.requests


def test_numbers_of_examples_that_cannot_be_shown_are_left_out(project, server):
    project.provider(PROVIDER.replace("URL", server.url).replace("4096", "700"))
    outcome = project.tune(shots="2,90")
    assert outcome.status == 0, outcome.output
    assert "[fixed.90] is left out: " in outcome.output
    written = json.loads(Path("training/prompts/shots.json").read_text())
    assert {score["shots"] for score in written["scores"]} == {2}

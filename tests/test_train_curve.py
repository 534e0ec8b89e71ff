"""The command from end to end, on trainings too short to learn much."""

import json
import re
import sys
import time
from pathlib import Path

import psutil
import pytest
from running import ROOT, Outcome, data_config, run_command, scheme, write_docbin, write_lines

from ie.core.text import text_hash
from ie.data.records import Record, Span, blank, read_records, write_records

CONFIG = Path(__file__).parents[1] / "configs" / "efficient.cfg"
SCHEME = scheme("COMPANY", "CITY")
CACHE = ".cache/train-curve"


def examples(n: int, start: int = 0) -> list[Record]:
    found = []
    for i in range(start, start + n):
        text = f"{('Velto', 'Hooli', 'Anker')[i % 3]} sold {i} boats in Oslo."
        oslo = text.index("Oslo")
        city = Span(start=oslo, end=oslo + 4, label="CITY")
        spans = [city] if i % 4 == 3 else [Span(start=0, end=5, label="COMPANY")]
        found.append(Record(text=text, spans=spans))
    return found


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # for the cache and the log of reviewing
    (tmp_path / "llm.cfg").write_text(SCHEME, encoding="utf-8")
    write_docbin(tmp_path / "train.spacy", examples(24), blank("en"))
    write_docbin(tmp_path / "dev.spacy", examples(12, 100), blank("en"))
    return tmp_path


def options(project: Path, *more: object) -> list[object]:
    """Those of a run so short that it shows no more than that all works."""
    paths = ["--corpus", project, "--scheme", project / "llm.cfg", "--output", project / "out"]
    return ["--config", CONFIG, *paths, "--max-steps", 40, "--workers", 1, *more]


def curve(project: Path, capsys: pytest.CaptureFixture, *more: object, **settings: object) -> Outcome:
    return run_command("train-curve", options(project, *more), capsys, **settings)


def written(project: Path) -> dict:
    return json.loads((project / "out" / "curve.json").read_text(encoding="utf-8"))


def test_the_table_and_the_files(project, capsys):
    outcome = curve(project, capsys, "--portions", "50,100", "--seeds", 1)
    assert outcome.status == 0
    assert "Training 2 times with 50%, 100% of the data" in outcome.output
    assert re.search(
        r"% Score ner ---- ------ ------ 0% 0.0 0.0 50% (\d\.\d( [▲▼])?) \1 100% (\d\.\d( [▲▼])?) \3 ",
        outcome.output,
    )
    assert "n=12" in outcome.output
    assert "No projection: a trend takes at least 3 portions, and there are 2." in outcome.output
    rows = written(project)["rows"]
    assert [(r["percent"], r["examples"]) for r in rows] == [(0, 0), (50, 12), (100, 24)]
    assert rows[2]["f"] > 0
    assert set(rows[2]["labels"]) == {"COMPANY", "CITY"}
    assert (project / "out" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "dev n=12" in (project / "out" / "curve.html").read_text(encoding="utf-8")
    before = {file.name: file.read_bytes() for file in (project / "out").iterdir()}
    outcome = curve(project, capsys, "--portions", "50,100", "--seeds", 1)
    assert outcome.status == 0
    assert "2 of 2 trainings are kept from an earlier run" in outcome.output
    assert before == {file.name: file.read_bytes() for file in (project / "out").iterdir()}


def test_several_seeds_are_averaged_and_a_label_without_room_is_reported(project, capsys):
    outcome = curve(project, capsys, "--portions", "5", "--seeds", 2, "--max-steps", 10)
    assert outcome.status == 0
    assert "The 5 % portion (1 example) has no" in outcome.output
    row = written(project)["rows"][1]
    assert len(row["seeds"]) == 2
    assert row["sd"] is not None
    assert len(row["labels"]["CITY"]["seeds"]) == 2


def test_the_llms_own_score_stands_beside_the_curve(project, capsys):
    gold = examples(12, 100)
    # right on all but one, where it found nothing
    found = [Record(text=r.text, spans=r.spans if i else []) for i, r in enumerate(gold)]
    write_records(project / "llm.jsonl", [*found, *examples(24)])
    given = ["--portions", "100", "--seeds", 1, "--max-steps", 10]
    outcome = curve(project, capsys, *given)
    assert outcome.status == 0
    assert written(project)["llm"]["f"] == pytest.approx(22 / 23, abs=1e-3)
    assert "The LLM as prompted has F 1.0 on the same texts, better" in outcome.output
    assert "LLM as prompted" in (project / "out" / "curve.html").read_text(encoding="utf-8")
    write_records(project / "llm.jsonl", read_records(project / "llm.jsonl")[3:])
    outcome = curve(project, capsys, *given)
    assert written(project)["llm"] is None
    assert "No score of the LLM: " in outcome.output
    assert "3 of 12 dev texts have no annotation" in outcome.output


def test_the_llms_score_by_number_of_examples_is_drawn(project, capsys):
    shots = project / "training/prompts/shots.json"
    shots.parent.mkdir(parents=True)
    f = {"f": 0.4, "f_low": 0.3, "f_high": 0.5}
    scores = [{"select": "fixed", "shots": n, **f} for n in (0, 2)] + [{"select": "similar", "shots": 2, **f}]
    content = {"model": "m", "pool": 24, "scores": scores, "texts": [text_hash(examples(1, 103)[0].text)]}
    shots.write_text(json.dumps(content), encoding="utf-8")
    short = ["--portions", "100", "--seeds", 1, "--max-steps", 10]
    outcome = curve(project, capsys, *short)
    assert outcome.status == 0
    sentence = "LLM by number of examples in the prompt, on 1 dev text: F is highest with 0, "
    assert sentence in outcome.output
    page = (project / "out" / "curve.html").read_text(encoding="utf-8")
    assert "LLM, same examples for all texts (n=1)" in page
    assert "LLM, most similar of 24 examples (n=1)" in page
    # Another dev: the scores can't be compared.
    shots.write_text(json.dumps(content | {"texts": ["0"]}), encoding="utf-8")
    outcome = curve(project, capsys, *short)
    assert "shots.json: dev has changed since it was measured, so it isn't shown" in outcome.output
    assert "same examples" not in (project / "out" / "curve.html").read_text(encoding="utf-8")
    shots.write_text("[]", encoding="utf-8")
    outcome = curve(project, capsys, *short)
    assert outcome.status == 0
    assert "shots.json: isn't what `tune-prompt` wrote" in outcome.output


def test_hours_follow_the_log_of_reviewing(project, capsys, monkeypatch):
    from ie.training.curve import projection
    from ie.training.curve.projection import Need, Projection

    needs = (Need(0.9, 144, 100, 200),)
    monkeypatch.setattr(projection, "project", lambda *given, **more: Projection(needs=needs))
    given = ["--portions", "100", "--seeds", 1, "--max-steps", 10]
    shares = {"test_percent": 30, "dev_percent": 10}
    outcome = curve(project, capsys, *given, **shares)
    assert "about 120 more training examples" in outcome.output
    assert "about 200 texts to review (60 % of them for training), about 1.7 hours at 30 s" in outcome.output
    assert "(assumed, as there is no log of reviewing)" in outcome.output
    write_lines(project / "assets" / "review-log.jsonl", [{"id": "a", "seconds": 60}])
    outcome = curve(project, capsys, *given, **shares)
    assert "about 3.3 hours at your reviewing speed (60 s an example, mean of n=1)" in outcome.output
    # Annotations of a language model cost nobody time.
    (project / "split.json").write_text('{"settings": {"train_on": "silver"}}', encoding="utf-8")
    outcome = curve(project, capsys, *given)
    assert "about 120 more training examples" in outcome.output
    assert "texts to review" not in outcome.output


def only(label: str, n: int, start: int = 0) -> list[Record]:
    return [r for r in examples(4 * n, start) if r.spans[0].label == label][:n]


@pytest.mark.parametrize(
    ("train", "dev", "said"),
    [
        # one label: nothing to complain of
        (only("COMPANY", 12), only("COMPANY", 6, 100), "moved F by"),
        # a label only in dev
        (only("COMPANY", 12), examples(8, 100), "CITY can't be learnt: dev has it 2 times"),
        (examples(12), examples(8), "8 dev texts of 8 are in the training data too"),
    ],
)
def test_odd_data_is_reported_and_no_wrong_verdict(project, capsys, train, dev, said):
    write_docbin(project / "train.spacy", train, blank("en"))
    write_docbin(project / "dev.spacy", dev, blank("en"))
    outcome = curve(project, capsys, "--portions", "50,100", "--seeds", 1)
    assert outcome.status == 0
    assert said in outcome.output
    assert written(project)["verdict"]["kind"] != "fall"


@pytest.mark.parametrize(
    ("counts", "kind", "said"),
    [
        ([0, 0, 1], "nothing", "so few texts may not be enough to learn from"),
        ([0, 0, 1], "nothing", "No projection: every score is 0"),
        ([1, 0, 0], "perfect", "too good to be true, or too easy"),
        ([1, 0, 0], "perfect", "No projection: the score is about 1 at every portion"),
    ],
)
def test_scores_of_0_or_1_are_no_trend(project, capsys, monkeypatch, counts, kind, said):
    from ie.training import jobs

    alike = [{"counts": [[counts, [0, 0, 0]]] * 12}]
    monkeypatch.setattr(jobs, "train_portions", lambda portions, *given, **more: alike * len(portions))
    outcome = curve(project, capsys, "--portions", "25,50,100")
    assert outcome.status == 0
    assert written(project)["verdict"]["kind"] == kind
    assert said in outcome.output
    assert "needs about" not in outcome.output


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--portions", "1"], "1 % of 24 training examples is none"),
        (["--portions", "all"], "--portions 'all' must be percentages"),
        (["--targets", "90"], "--targets '90' must be scores"),
        (["--corpus", "nowhere"], "train.spacy: there is no such corpus"),
        (["--scheme", "nowhere.cfg"], "nowhere.cfg: there is no such file"),
        (["--config", "nowhere.cfg"], "nowhere.cfg"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(project, capsys, options, fault):
    outcome = curve(project, capsys, *options)
    assert outcome.status == 1
    assert fault in outcome.output
    assert "Traceback" not in outcome.output
    assert not (project / "out").exists()


@pytest.mark.parametrize(
    ("train", "dev", "fault"),
    [
        (examples(8), [], "dev.spacy: holds no examples"),
        (
            [Record(text=f"Nothing {i}") for i in range(8)],
            examples(6, 100),
            "train.spacy: 8 examples without",
        ),
    ],
)
def test_data_that_can_not_be_scored_is_refused(project, capsys, train, dev, fault):
    write_docbin(project / "train.spacy", train, blank("en"))
    write_docbin(project / "dev.spacy", dev, blank("en"))
    outcome = curve(project, capsys)
    assert outcome.status == 1
    assert fault in outcome.output
    assert not (project / "out").exists()


def test_an_interrupted_run_writes_no_verdict_and_goes_on_where_it_was(project, capsys, monkeypatch):
    from ie.training import loop

    original, done = loop.train, []

    def interrupted(*given, **more):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(1)
        return original(*given, **more)

    given = ["--portions", "50,100", "--seeds", 1]
    monkeypatch.setattr(loop, "train", interrupted)
    outcome = curve(project, capsys, *given)
    assert outcome.status == 1
    assert "interrupted: 1 of 2 trainings are done and kept" in outcome.output
    assert not (project / "out").exists()
    monkeypatch.setattr(loop, "train", original)
    outcome = curve(project, capsys, *given)
    assert outcome.status == 0
    assert "1 of 2 trainings are kept from an earlier run" in outcome.output


@pytest.mark.slow
def test_a_kill_loses_only_what_was_under_way_and_leaves_no_worker(project, capsys):
    more = ["--data", data_config(project / "data.cfg"), "--max-steps", 10, "--workers", 2, "--seeds", 2]
    command = [sys.executable, ROOT / "scripts" / "train-curve.py", *options(project, *more)]
    with open(project / "log", "w") as log:
        process = psutil.Popen([str(part) for part in command], cwd=project, stdout=log, stderr=log)
    wait_until(lambda: list((project / CACHE).glob("*.json")) or process.poll() is not None)
    workers = process.children(recursive=True)
    process.kill()
    process.wait()
    assert workers
    wait_until(lambda: not any(worker.is_running() and worker.status() != "zombie" for worker in workers))
    finished = len(list((project / CACHE).glob("*.json")))
    assert 1 <= finished < 8
    outcome = curve(project, capsys, "--max-steps", 10, "--seeds", 2)
    assert outcome.status == 0
    assert f"{finished} of 8 trainings are kept from an earlier run" in outcome.output
    assert written(project)["rows"][4]["examples"] == 24


def wait_until(happened, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_dev_texts_without_a_label_stop_nothing(project, capsys):
    write_docbin(project / "dev.spacy", [Record(text="Nothing here.")], blank("en"))
    outcome = curve(project, capsys)
    assert outcome.status == 0, outcome.output
    assert (
        "dev.spacy: 1 example without a single COMPANY, CITY, so there is nothing to score" in outcome.output
    )
    assert written(project)["verdict"]["kind"] == "unscored"
    assert {path.name for path in (project / "out").iterdir()} == {"curve.json", "curve.png", "curve.html"}
    assert "nothing to score" in (project / "out" / "curve.html").read_text("utf-8")
    write_docbin(project / "train.spacy", [Record(text="Nothing here.")], blank("en"))
    assert curve(project, capsys).status == 1


def test_two_training_examples_make_two_portions(project, capsys):
    write_docbin(project / "train.spacy", examples(2), blank("en"))
    write_docbin(project / "dev.spacy", examples(1, 100), blank("en"))
    outcome = curve(project, capsys, "--seeds", 1)
    assert outcome.status == 0, outcome.output
    assert [row["examples"] for row in written(project)["rows"]] == [0, 1, 2]
    assert "25 % and 75 % of 2 training examples are left out" in outcome.output
    assert "NaN" not in (project / "out" / "curve.json").read_text("utf-8")

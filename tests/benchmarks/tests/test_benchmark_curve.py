"""The command on scores made up by a formula, so that nothing is trained."""

import json

import pytest
from benchmarks.curve import SOURCES
from running import run_command

from ie.data.records import Record, Span, write_records
from ie.training import jobs


@pytest.fixture
def fake_trainings(monkeypatch):
    """F of 1 - 2 / sqrt(n), without a GPU or a minute."""

    def run(portions, docs, *, labels, progress, **options):
        found = []
        for cell in portions:
            progress()
            wrong = round(1000 * 2 * cell.examples**-0.5) + cell.seed
            found.append({"labels": list(labels), "counts": [[[1000 - wrong, wrong, wrong]] * len(labels)]})
        return found

    monkeypatch.setattr(jobs, "train_portions", run)


@pytest.fixture
def data(tmp_path):
    def texts(start: int, n: int) -> list[Record]:
        span = Span(start=0, end=5, label="COMPANY")
        return [Record(text=f"Velto {i}", spans=[span]) for i in range(start, start + n)]

    needed = {source.name: 2 * source.starts[-1] for source in SOURCES}["crossner_politics"]
    for part, (start, n) in {"train": (0, needed), "dev": (5000, 10), "test": (6000, 120)}.items():
        write_records(tmp_path / "crossner_politics" / f"{part}.jsonl", texts(start, n))
    return tmp_path


def test_what_is_measured_can_be_judged_again_without_training(data, capsys, fake_trainings):
    given = ["--parts", "projection", "--sets", "fire,crossner_politics", "--data", data]
    outcome = run_command("benchmark-curve", [*given, "--output", data / "scores.json"], capsys)
    assert outcome.status == 0
    assert "fire is left out" in outcome.output
    # what the progress bar says comes last
    table = outcome.output[outcome.output.index("F at twice the data") :].split(" crossner_politics: 0")[0]
    assert "never seen, all labels together projection 3" in table
    assert "last value" in table
    assert "the last segment rose" in table
    assert "tuned on" not in table
    measured = json.loads((data / "scores.json").read_text(encoding="utf-8"))
    assert {cell["of"] for cell in measured["crossner_politics"]["cells"]} == {88, 176, 352, 704}
    given = ["--parts", "projection", "--scores", data / "scores.json"]
    again = run_command("benchmark-curve", given, capsys)
    assert again.output.endswith(table)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--parts", "size"], "--parts size is no part; choose from projection, speed."),
        (["--sets", "water"], "--sets water is no set; choose from fire"),
        (["--scores", "nowhere.json"], "nowhere.json: no measured scores"),
        (["--sets", "fire", "--data", "nowhere"], "none of the sets is there"),
        (["--sets", "demo", "--reviewed", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--parts", "speed", "--speed-train", "nowhere.spacy"], "there is no such corpus"),
    ],
)
def test_bad_input_is_one_sentence(capsys, options, fault):
    outcome = run_command("benchmark-curve", options, capsys)
    assert outcome.status == 1
    assert fault in outcome.output
    assert "Traceback" not in outcome.output

"""The comparison of configs on small samples: what is trained, and what the table says of made-up scores."""

import json
from pathlib import Path

import pytest
from running import run_command

from ie.data.records import Record, Span, write_records
from ie.training import jobs
from ie.training.jobs import TrainingJob


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[TrainingJob]:
    """The trainings that were asked for; F of `crf` is perfect, that of others isn't."""
    done: list[TrainingJob] = []

    def run(trainings: list[TrainingJob], **options: object) -> list[dict]:
        done.extend(trainings)
        return [{"test": [[[1, 0, 0] if job.config.stem == "crf" else [1, 1, 1]]] * 60} for job in trainings]

    monkeypatch.setattr(jobs, "run", run)
    return done


def data(folder: Path) -> Path:
    for side, start in {"train": 0, "dev": 100, "test": 200}.items():
        span = Span(start=0, end=5, label="COMPANY")
        texts = [Record(text=f"Velto {n}", spans=[span]) for n in range(start, start + 60)]
        write_records(folder / "own" / f"{side}.jsonl", texts)
    return folder


def test_configs_are_compared_on_the_same_samples(tmp_path, trained, capsys):
    words = ["--data", data(tmp_path), "--sets", "own,none", "--sizes", "20,1000", "--seeds", "2"]
    outcome = run_command("benchmark-starts", [*words, "--output", tmp_path / "scores.json"], capsys)
    assert outcome.status == 0, outcome.output
    assert "none isn't here and is left out" in " ".join(outcome.output.split())
    assert "crf is ahead of efficient beyond noise in 2 of 2 rows, and behind in 0" in outcome.output
    # 1,000 is all there is: 60
    assert [(job.config.stem, job.cell.examples, job.cell.seed) for job in trained] == [
        (config, size, seed) for config in ("efficient", "crf") for size in (20, 60) for seed in (0, 1)
    ]
    samples = [job.train.name for job in trained]
    assert samples[:4] == samples[4:]
    rows = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert [row["f"]["value"] for row in rows] == [0.5, 0.5, 1.0, 1.0]
    assert rows[2]["minus_first"]["low"] > 0.4


def test_sizes_that_are_no_numbers_are_refused(tmp_path, capsys):
    outcome = run_command("benchmark-starts", ["--data", data(tmp_path), "--sizes", "few"], capsys)
    assert outcome.status == 1
    assert "--sizes 'few': give whole numbers above 0" in outcome.output

"""The command from end to end, after an evaluation of three texts."""

import json
from pathlib import Path

import numpy as np
import pytest
from running import Outcome, run_command, write_lines

from ie.data.records import Record
from ie.evaluation import history

FILES = ("test.jsonl", "train.jsonl", "config.cfg")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).write_text(name, encoding="utf-8")
    evaluated(tmp_path, [[1, 0, 0], [2, 1, 0], [0, 0, 1]])
    return tmp_path


def evaluated(folder: Path, counts: list[list[int]], texts: str = "abc") -> None:
    """What evaluate leaves, as far as it matters here."""
    scores = {"all": {"f": 0.75, "f_low": 0.5, "f_high": 1.0}}
    metrics = {"test": {"documents": 3}, "systems": {"both": scores}, "missing": {"silver": "not trained."}}
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    gold = [Record(text=text) for text in texts]
    history.write_documents(folder / "documents.jsonl", gold, {"both": np.array(counts)})


def log(project: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    files = {"--metrics": "metrics.json", "--documents": "documents.jsonl", "--log": "kept/history.jsonl"}
    files |= {"--test": FILES[0], "--train": FILES[1], "--config": FILES[2]}
    paths = [part for name, file in files.items() for part in (name, project / file)]
    return run_command("history", [*paths, "--system", "both", "--setting", "seed=0", *more], capsys)


def test_a_result_is_added_once_and_shown_against_the_first(project, capsys):
    first = log(project, capsys)
    assert first.status == 0
    assert "is new; commit it with git" in first.output
    again = log(project, capsys)
    assert "is there already" in again.output
    assert len(history.read(project / "kept" / "history.jsonl")) == 1
    evaluated(project, [[1, 0, 0], [3, 0, 0], [1, 0, 0]])
    second = log(project, capsys, "--setting", "max_steps=5")
    assert len(history.read(project / "kept" / "history.jsonl")) == 2
    assert "baseline" in second.output
    assert "noise" in second.output
    assert "better" not in second.output
    assert "max_steps – → 5" in second.output


def test_another_test_file_starts_a_baseline_of_its_own(project, capsys):
    log(project, capsys)
    write_lines(project / FILES[0], ["others"])
    evaluated(project, [[1, 0, 0], [2, 1, 0], [0, 0, 1]], texts="xyz")
    assert "other test texts" in log(project, capsys).output


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (
            ["--metrics", "nowhere.json"],
            "nowhere.json: there is no such file; run `weasel run",
        ),
        (["--setting", "seed"], "--setting 'seed' must be NAME=VALUE"),
        (["--baseline", "zz"], "baseline 'zz' is how the id of no result begins"),
        (["--system", "silver"], "silver has no scores in the last evaluation (not trained.)"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(project, capsys, options, fault):
    outcome = log(project, capsys, *options)
    assert outcome.status == 1
    assert fault in outcome.output
    assert not (project / "kept").exists()


def test_the_table_fits_80_columns(project, capsys):
    for step in range(3):
        evaluated(project, [[1, 0, 0], [2 + step, 1, 0], [0, 0, 1]])
        settings = [f"--setting={name}={'long ' * 4}{step}" for name in ("provider", "train_on", "max_steps")]
        lines = log(project, capsys, *settings).lines
    table = lines[next(i for i, line in enumerate(lines) if line.startswith("Result")) :]
    assert max(map(len, table)) <= 80
    assert "max_steps long long long long 1 → long long long long 2" in " ".join(" ".join(table).split())
    assert len([line for line in table if " UTC; both; " in line]) == 3


def test_a_score_on_applied_texts_stands_beside_the_one_on_test(project, capsys):
    log(project, capsys)
    (entry,) = history.read(project / "kept" / "history.jsonl")
    score = {"date": "2026-05-01 10:00", "results": "corpus/applied", "texts": 50, "verdict": "worse"}
    score |= {"counts": entry["counts"]["both"], "f": 0.7, "f_low": 0.65, "f_high": 0.75}
    path = write_lines(project / "production.jsonl", [score | {"counts": "of another pipeline"}, score])
    assert "F in production .7" in log(project, capsys, "--production", path).output
    write_lines(path, [score, {"date": "today"}])
    broken = log(project, capsys, "--production", path)
    assert broken.status == 1
    assert "production.jsonl:2: isn't a score as `watch` writes it; delete the line" in broken.output

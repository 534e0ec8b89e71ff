"""Three pipelines side by side, whatever there is to train on."""

import json
import multiprocessing
import os
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import spacy
from corpora import TEXTS, write_corpus
from running import ROOT, Outcome, run_command

from ie.training import loop


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name in ("both", "reviewed", "silver", "dev"):
        write_corpus(folder / f"{name}.spacy", TEXTS)
    return folder


def run_train(folder: Path, capsys: pytest.CaptureFixture, **options: object) -> Outcome:
    options = {
        "config": ROOT / "configs" / "efficient.cfg",
        "output": folder.parent / "out",
        "max-steps": 3,
        "workers": 2,
        "corpus": folder,
    } | options
    return run_command(
        "train", [word for name, value in options.items() for word in (f"--{name}", value)], capsys
    )


def killed_in_a_worker(*given: object, **options: object) -> dict:
    """A training that the system kills, unless it is the main one."""
    if multiprocessing.parent_process():
        os._exit(9)
    return {}


def test_a_training_that_was_killed_is_one_sentence(corpus: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(loop, "train", killed_in_a_worker)
    outcome = run_train(corpus, capsys)
    assert outcome.status == 1
    assert "a training beside the main one was killed" in outcome.output
    assert "--vars.workers 1" in outcome.output
    assert not (corpus.parent / "out" / "train.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("cores", "gpu_id", "expected"), [(1, -1, 1), (2, -1, 2), (8, -1, 2), (8, 0, 1)])
def test_no_core_is_idle_beside_the_main_training(
    monkeypatch: pytest.MonkeyPatch, cores: int, gpu_id: int, expected: int
) -> None:
    spec = spec_from_file_location("train_command", ROOT / "scripts" / "train.py")
    command = module_from_spec(spec)
    spec.loader.exec_module(command)
    monkeypatch.setattr(command, "cores", lambda: cores)
    assert command.beside(gpu_id) == expected


def test_three_pipelines_and_their_scores(corpus: Path, capsys: pytest.CaptureFixture) -> None:
    outcome = run_train(corpus, capsys)
    assert outcome.status == 0, outcome.output
    out = corpus.parent / "out"
    for name in ("both", "reviewed", "silver"):
        assert "ner" in spacy.load(out / name / "model-best").pipe_names
        assert spacy.load(out / name / "model-best").pipe_names[-1] == "confidence"
    # four texts are too few to say how sure it is
    assert "No confidence for" in outcome.output
    assert "calibration needs 30" in outcome.output
    scores = json.loads((out / "train.json").read_text())
    assert {name: entry["examples"] for name, entry in scores.items()} == {
        "both": 4,
        "reviewed": 4,
        "silver": 4,
    }
    # the same data in the main process and in the others gives the same pipeline
    behind = scores["both"].pop("behind_reviewed")
    assert scores["both"] == scores["reviewed"]
    assert behind["low"] <= behind["value"] == 0 <= behind["high"]
    history = json.loads((out / "history.json").read_text())
    assert {(entry["trained_on"], entry["step"]) for entry in history} >= {("both", 0), ("silver", 0)}
    assert "LOSS NER" in outcome.output
    assert outcome.output.count("LOSS NER") == 1


@pytest.mark.slow
def test_a_source_without_examples_is_left_out_with_a_sentence(
    corpus: Path, capsys: pytest.CaptureFixture
) -> None:
    older = corpus.parent / "out" / "silver" / "model-best"
    older.mkdir(parents=True)
    write_corpus(corpus / "silver.spacy", [])
    (corpus / "reviewed.spacy").unlink()
    outcome = run_train(corpus, capsys, **{"train-on": "both"})
    assert outcome.status == 0, outcome.output
    assert "silver.spacy holds no examples" in outcome.output
    assert "reviewed.spacy holds no examples" in outcome.output
    assert not older.exists()
    assert list(json.loads((corpus.parent / "out" / "train.json").read_text())) == ["both"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"corpus": "nope"}, "nope/reviewed.spacy: there is no such corpus; run `weasel run split` first."),
        ({"config": "nope.cfg"}, "nope.cfg"),
        ({"lang": "xx9"}, "xx9"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(
    options: dict, said: str, corpus: Path, capsys: pytest.CaptureFixture
) -> None:
    for name in ("both", "silver"):
        write_corpus(corpus / f"{name}.spacy", [])
    outcome = run_train(corpus, capsys, **options)
    assert outcome.status == 1
    assert said in outcome.output
    assert "Traceback" not in outcome.output
    assert not list((corpus.parent / "out").rglob("*.json"))
    assert not list((corpus.parent / "out").rglob("model-best"))

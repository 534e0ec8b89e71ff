"""prepare-variants as a user runs it."""

import json
from pathlib import Path

import pytest
import spacy
from running import ROOT, Outcome, require, run_command, write_lines

TEXT = "{} sold {} boats to the harbour of {} before the winter came."


def lines(start: int, n: int) -> list[dict]:
    return [
        {"text": TEXT.format(chr(97 + i % 26) * 5, f"x{i * 7}y", f"Q{i * 13}z"), "meta": {"id": str(i)}}
        for i in range(start, start + n)
    ]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_lines(tmp_path / "texts.jsonl", lines(0, 24))
    write_lines(tmp_path / "train.jsonl", lines(0, 4))
    write_lines(tmp_path / "dev.jsonl", lines(16, 4))
    write_lines(tmp_path / "test.jsonl", lines(20, 4))
    return tmp_path


def run(variant: str, project: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    paths = ["--texts", project / "texts.jsonl", "--corpus", project, "--output", project / "out"]
    words = ["--variants", variant, "--configs", ROOT / "configs", *paths, *more]
    settings = {} if "--near-duplicate" in more else {"near_duplicate": 1}
    return run_command("prepare-variants", words, capsys, **settings)


def test_vectors_of_training_words_alone(project, capsys):
    require("wordllama", "tokenizers", "safetensors")
    outcome = run("vectors", project, capsys, "--width", 8)
    assert outcome.status == 0, outcome.output
    assert "from 16 texts; 8 left out" in outcome.output
    vectors = spacy.load(project / "out" / "vectors").vocab.vectors
    strings = spacy.load(project / "out" / "vectors").vocab.strings
    assert vectors.shape[1] == 8
    assert strings["harbour"] in vectors
    assert strings["x0y"] in vectors
    assert strings["x140y"] not in vectors


def test_pretraining_writes_weights_and_their_history(project, capsys):
    outcome = run("pretrain", project, capsys, "--epochs", 2)
    assert outcome.status == 0, outcome.output
    about = json.loads((project / "out" / "pretrain" / "about.json").read_text(encoding="utf-8"))
    assert (about["texts"], about["left_out"], len(about["losses"])) == (16, 8, 2)
    assert (project / "out" / "pretrain" / "tok2vec.bin").stat().st_size > 1_000_000


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--texts", "none.jsonl"], "none.jsonl"),
        (["--corpus", "none"], "none/train.jsonl: there is no such file; run `weasel run split` first"),
        (["--near-duplicate", 2], "near_duplicate: input should be less than or equal to 1"),
        (["--configs", "none"], "none/pretrain.cfg"),
    ],
)
def test_bad_input_to_pretrain_is_one_sentence(project, capsys, options, fault):
    outcome = run("pretrain", project, capsys, "--epochs", 1, *options)
    assert outcome.status == 1
    assert fault in outcome.output
    assert "Traceback" not in outcome.output
    assert not (project / "out" / "vectors").exists()


def test_a_pipeline_that_is_not_installed(project, capsys):
    outcome = run("transfer", project, capsys, "--pipeline", "xx_none")
    assert outcome.status == 1
    assert "xx_none: there is no such pipeline; run `pip install -r requirements" in outcome.output
    assert not (project / "out").exists()


def test_a_variant_that_starts_from_random_weights_needs_nothing(project, capsys):
    outcome = run("efficient", project, capsys)
    assert outcome.status == 0, outcome.output
    assert list((project / "out").iterdir()) == []

"""The command from end to end, on trainings too short to learn much."""

import json
import re
from pathlib import Path

import pytest
from corpora import write_split
from running import ROOT, Outcome, run_command


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_split(tmp_path, train=16, dev=6, test=30)
    (tmp_path / "configs").mkdir()
    plain = (ROOT / "configs" / "efficient.cfg").read_text(encoding="utf-8")
    (tmp_path / "configs" / "plain.cfg").write_text(plain, encoding="utf-8")
    wide = plain.replace("width = 64\n", "width = 96\n")
    assert wide != plain
    (tmp_path / "configs" / "wide.cfg").write_text(wide, encoding="utf-8")
    return tmp_path


def compare(project: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    files = {
        "--configs": "configs",
        "--corpus": ".",
        "--scheme": "llm.cfg",
        "--output": "out",
        "--cache": "cache",
    }
    paths = [part for name, file in files.items() for part in (name, project / file)]
    options = ["--variants", "plain,wide", "--portions", "100", "--seeds", 1, "--max-steps", 40]
    return run_command("compare-variants", [*paths, *options, *more], capsys)


def test_the_table_the_files_and_a_second_run(project, capsys):
    outcome = compare(project, capsys)
    assert outcome.status == 0, outcome.output
    assert re.search(r"plain 100 % \(16\) .* wide 100 % \(16\) ", outcome.output)
    assert re.search(r"With 16 examples, take (plain|wide)\.", outcome.output)
    # chosen on the 6 dev texts, scored on the 30 test texts
    assert "F of exact spans on 6 dev texts" in outcome.output
    found = json.loads((project / "out" / "variants.json").read_text(encoding="utf-8"))
    assert found["mb"]["plain"] < found["mb"]["wide"]
    chosen = found["recommended"]
    assert (found["dev"]["documents"], found["test"]["documents"]) == (6, 30)
    assert list(found["test"]["variants"]) == list(dict.fromkeys((chosen, "plain")))
    alone = "these" if chosen != "plain" else "this one"
    assert f"On test, looked at for {alone} alone (n=30): F {chosen} ." in outcome.output
    assert found["portions"][0]["variants"]["plain"]["f"] > 0
    assert set(found["portions"][0]["variants"]["wide"]["labels"]) == {"COMPANY", "CITY"}
    costs = json.loads((project / "out" / "costs.json").read_text(encoding="utf-8"))
    assert all(entry["words_per_second"] > 0 and entry["peak_mb"] > 50 for entry in costs.values())
    assert (project / "out" / "variants.png").read_bytes().startswith(b"\x89PNG")
    assert "Pareto" in (project / "out" / "variants.html").read_text(encoding="utf-8")
    before = (project / "out" / "variants.json").read_bytes()
    again = compare(project, capsys)
    assert again.status == 0
    assert "2 of 2 trainings are kept from an earlier run" in again.output
    assert (project / "out" / "variants.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--variants", "plain,fast"], "fast.cfg doesn't exist; --variants takes some of: plain, wide."),
        (["--corpus", "none"], "none/test.jsonl: there is no such file; run `weasel run split` first"),
        (["--portions", "0"], "--portions '0' must be percentages"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(project, capsys, options, fault):
    outcome = compare(project, capsys, *options)
    assert outcome.status == 1
    assert fault in outcome.output
    assert "Traceback" not in outcome.output
    assert not (project / "out").exists()


def test_a_variant_that_was_not_prepared_is_reported_before_any_is_trained(project, capsys):
    text = (ROOT / "configs" / "vectors.cfg").read_text(encoding="utf-8")
    broken = text.replace('"corpus/variants/vectors"', f'"{project}/none"')
    assert broken != text
    (project / "configs" / "vectors.cfg").write_text(broken, encoding="utf-8")
    outcome = compare(project, capsys, "--variants", "plain,vectors")
    assert outcome.status == 1
    assert "vectors.cfg" in outcome.output
    assert "make it first" in outcome.output
    assert not (project / "cache").exists()

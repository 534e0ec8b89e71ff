"""The main workflow on a slice of the demo corpus, from a clone, with the real embedded model."""

import hashlib
from pathlib import Path

import pytest
from benchmarks.retarget import edit_config

pytestmark = [pytest.mark.slow, pytest.mark.llm, pytest.mark.timeout(1800)]

QUICK = ("--vars.max_steps", "60")
MADE = (
    "llm.jsonl",
    "llm.json",
    "split.json",
    "train.spacy",
    "dev.spacy",
    "test.spacy",
    "silver.spacy",
    "reviewed.spacy",
)


def checksums(folder: Path) -> dict[str, str]:
    files = [*(folder / "corpus" / name for name in MADE), folder / "training/crf/metrics.json"]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def finished(clone):
    """The clone with a slice of the demo, after `weasel run all` without the package's own check."""
    clone.keep("assets/reviewed.jsonl", 120)
    clone.keep("assets/texts.jsonl", 140)
    edit_config(clone.folder / "configs/data.cfg", {"test_percent": 30, "dev_percent": 15})
    clone.edit(
        "project.yml", lambda text: text.replace("scripts/package.py ", "scripts/package.py --no-check ")
    )
    clone.first = clone.run("weasel", "run", "all", ".", *QUICK)
    return clone


def test_it_says_what_it_did(finished):
    told = finished.first.stdout
    for heading in ("check", "llm-annotate", "split", "train-curve", "train", "evaluate", "package"):
        assert f" {heading} " in told
    assert "%      Score    ner" in told


def test_its_scores_have_intervals_and_counts(finished):
    page = (finished.folder / "training/crf/report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    metrics = finished.read("training/crf/metrics.json")
    for system in ("llm", "rules", "memoriser", "silver", "reviewed", "both"):
        for scores in (s for s in metrics["systems"][system].values() if isinstance(s, dict)):
            assert scores["gold"] > 0
            assert scores["f"] is None or scores["f_low"] <= scores["f"] <= scores["f_high"]


def test_everything_is_skipped_the_second_time(finished):
    again = finished.run("weasel", "run", "all", ".", *QUICK)
    for heading in ("llm-annotate", "split", "train-curve", "train", "evaluate", "package"):
        assert f"Skipping '{heading}': nothing changed" in again.stdout


def test_dvc_makes_the_same_bytes_and_restores_them_elsewhere(finished, tmp_path):
    """`dvc repro` from nothing, in the same place, equals `weasel run all`; push and pull carry it over."""
    finished.edit("project.yml", lambda text: text.replace("max_steps: 0", f"max_steps: {QUICK[1]}"))
    finished.run("python", "scripts/dvc-files.py")
    wanted = checksums(finished.folder)
    for made in ("corpus", "training", "packages"):
        for file in sorted((finished.folder / made).rglob("*"), reverse=True):
            if file.is_file() and file.name not in (".gitignore", ".gitkeep"):
                file.unlink()
    finished.run("dvc", "repro")
    assert checksums(finished.folder) == wanted
    assert "up to date" in finished.run("dvc", "status").stdout
    finished.run("dvc", "push")
    finished.run("git", "add", "-A")
    finished.run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "results")
    second = finished.folder.parent / "second"
    finished.run("git", "clone", "--quiet", str(finished.folder), str(second))
    finished.run("dvc", "--cd", str(second), "pull")
    assert checksums(second) == wanted
    assert "up to date" in finished.run("dvc", "--cd", str(second), "status").stdout


def test_a_misspelt_var_stops_the_run(finished):
    done = finished.run("weasel", "run", "all", ".", "--vars.max_stepz", "20", check=False)
    output = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert "--vars.max_stepz is no variable of" in output
    assert "Traceback" not in output

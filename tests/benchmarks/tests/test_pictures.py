"""The documentation's pictures come from the page as it is."""

import os
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import deals
import pytest
from PIL import Image
from running import ROOT, run_command, write_lines

TEXT = "Hooli raises $5m, led by ACME Ventures."
SPANS = [
    {"start": 0, "end": 5, "label": "COMPANY"},
    {"start": 13, "end": 16, "label": "MONEY"},
    {"start": 25, "end": 38, "label": "COMPANY"},
]
RECORD = {
    "text": TEXT,
    "spans": SPANS,
    "relations": [{"head": 2, "child": 0, "label": "INVESTOR"}, {"head": 0, "child": 1, "label": "RAISED"}],
    "cats": {"FUNDING": 1, "ACQUISITION": 0, "RESULTS": 0, "OTHER": 0},
}


def options(tmp_path: Path, record: dict) -> list[object]:
    (tmp_path / "guidelines.md").write_text("# Guidelines\n\n## COMPANY\n\nNames of businesses.\n")
    write_lines(tmp_path / "gold.jsonl", [record])
    write_lines(tmp_path / "llm.jsonl", [{"text": TEXT, "spans": SPANS[:1]}])
    return [
        *("--gold", tmp_path / "gold.jsonl", "--silver", tmp_path / "llm.jsonl"),
        *("--scheme", deals.SCHEME, "--guidelines", tmp_path / "guidelines.md"),
        *("--curve", tmp_path / "curve.png", "--output", tmp_path / "docs"),
    ]


def test_each_state_has_a_picture_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture):
    pytest.importorskip("playwright")
    if not (os.environ.get("CHROMIUM") or which("chromium") or which("google-chrome")):
        pytest.skip("there is no Chromium")
    outcome = run_command("pictures", options(tmp_path, RECORD), capsys)
    assert outcome.status == 0, outcome.output
    assert "curve.png: isn't there, so curve.png stays as it is" in " ".join(outcome.output.split())
    found = {path.stem: path.read_bytes() for path in (tmp_path / "docs").iterdir()}
    states = [
        "meeting",
        "relations",
        "categories",
        "done",
        "blind",
        "nested",
        "row",
        *(["document"] if find_spec("fpdf") else []),
    ]
    assert set(found) == {"review", *(f"review-{state}" for state in states)}
    assert len(set(found.values())) == len(found)
    for path in (tmp_path / "docs").iterdir():
        assert Image.open(path).width == 1180
    # the documentation has no other pictures of the page
    assert {path.stem for path in (ROOT / "docs").glob("review*.png")} <= {*found, "review-document"}


def test_nothing_to_show(tmp_path: Path, capsys: pytest.CaptureFixture):
    outcome = run_command("pictures", options(tmp_path, RECORD | {"relations": []}), capsys)
    assert outcome.status == 1
    assert "no text has relations and a category to show" in " ".join(outcome.output.split())
    assert not (tmp_path / "docs").exists()

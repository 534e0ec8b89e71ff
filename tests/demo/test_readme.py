"""README and docs/demo.md tell the scores of the demo that are committed, and nothing else does."""

import json
import subprocess

import pytest
from benchmarks import case_report
from running import ROOT

from ie.core.stats import Estimate, format_score

README = ROOT / "README.md"
DEMO = ROOT / "docs" / "demo.md"


@pytest.fixture(scope="module")
def metrics() -> dict:
    """Not those of the working tree, which a run on another machine may have changed in the last digit."""
    shown = subprocess.run(
        ["git", "show", "HEAD:training/crf/metrics.json"], cwd=ROOT, capture_output=True, text=True
    )
    if shown.returncode:
        pytest.skip("no git history here")
    return json.loads(shown.stdout)


def cells(scores: dict, documents: int) -> list[str]:
    """Precision, recall and F as tables show them."""
    estimates = [
        Estimate(*(scores[f"{key}{end}"] for end in ("", "_low", "_high"))) for key in ("p", "r", "f")
    ]
    return [format_score(estimate, documents=documents) for estimate in estimates]


def test_the_readme_shows_the_scores_of_all_labels(metrics: dict) -> None:
    text = README.read_text(encoding="utf-8")
    documents = metrics["test"]["documents"]
    for system in metrics["systems"].values():
        precision, recall, f = cells(system["all"], documents)
        assert f"| {system['all']['gold']:,} | {precision} | {recall} | **{f}** |" in text


def test_the_readme_shows_f_on_the_texts_of_the_real_case() -> None:
    text = README.read_text(encoding="utf-8")
    result = json.loads((ROOT / "docs/case.json").read_text(encoding="utf-8"))
    documents = result["texts"]["test"]
    for name, title in case_report.SYSTEMS.items():
        found = result["systems"].get(name)
        shown = case_report.score(found["f"], documents) if found else "–"
        row = next(line for line in text.splitlines() if line.startswith(f"| {title} |"))
        assert row.endswith(f"| {shown} |"), title


def test_the_demos_page_shows_the_scores_of_each_label(metrics: dict) -> None:
    text = DEMO.read_text(encoding="utf-8")
    documents = metrics["test"]["documents"]
    for system in metrics["systems"].values():
        row = [cell for label in metrics["test"]["spans"] for cell in cells(system[label], documents)]
        assert f"| {' | '.join(row)} |" in text


def test_every_page_is_in_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    pages = [page.name for page in sorted((ROOT / "docs").glob("*.md"))]
    assert [name for name in pages if f"(docs/{name})" not in text] == []


def test_the_readme_is_short() -> None:
    above = README.read_text(encoding="utf-8").split("<!-- WEASEL")[0]
    assert len(above.splitlines()) <= 200


def test_only_the_readme_links_to_the_demos_page() -> None:
    """`init` removes it, and writes a README of its own."""
    pages = [page for page in (ROOT / "docs").glob("*.md") if page != DEMO]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "(demo.md" not in text, page
        assert "curve.png" not in text, page

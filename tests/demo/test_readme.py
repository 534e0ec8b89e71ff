"""README.md tells the scores of the demo that are committed."""

import json
import subprocess

import pytest
from running import ROOT

from ie.core.stats import Estimate, format_score


def test_the_readme_shows_the_figures_that_are_committed() -> None:
    """Not those of the working tree, which a run on another machine may have changed in the last digit."""
    shown = subprocess.run(
        ["git", "show", "HEAD:training/efficient/metrics.json"], cwd=ROOT, capture_output=True, text=True
    )
    if shown.returncode:
        pytest.skip("no git history here")
    metrics = json.loads(shown.stdout)
    documents = metrics["test"]["documents"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for system in metrics["systems"].values():
        scores = system["all"]
        cells = [
            format_score(
                Estimate(*(scores[f"{key}{end}"] for end in ("", "_low", "_high"))), documents=documents
            )
            for key in ("p", "r", "f")
        ]
        assert f"| all | {scores['gold']:,} | {cells[0]} | {cells[1]} | **{cells[2]}** |" in text

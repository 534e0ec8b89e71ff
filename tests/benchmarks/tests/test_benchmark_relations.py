"""benchmark-relations on a few texts."""

import json
from pathlib import Path

import pytest
from running import run_command, write_lines


def row(n: int) -> dict:
    """A deal, or two companies without one."""
    buyer, seller, deal = f"Velto{n}", f"Hooli{n}", n % 2 == 0
    text = f"{buyer} {'invests in' if deal else 'competes with'} {seller}."
    start = text.index(seller)
    spans = [(0, len(buyer)), (start, start + len(seller))]
    return {
        "text": text,
        "spans": [{"start": low, "end": high, "label": "COMPANY"} for low, high in spans],
        "relations": [{"head": 0, "child": 1, "label": "INVESTOR"}] if deal else [],
    }


def test_learning_curve(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IE_DATA", raising=False)
    for side, numbers in {"train": range(40), "dev": range(40, 50), "test": range(50, 60)}.items():
        write_lines(tmp_path / "tiny" / f"{side}.jsonl", [row(n) for n in numbers])
    options = ["--data", tmp_path, "--sets", "tiny", "--portions", "50,100", "--output", tmp_path / "o.json"]
    outcome = run_command("benchmark-relations", options, capsys)
    assert outcome.status == 0, outcome.output
    curve = json.loads((tmp_path / "o.json").read_text(encoding="utf-8"))["tiny"]["curve"]
    assert [point["texts"] for point in curve] == [20, 40]
    assert curve[1]["f"][0] == 1.0
    assert "50 %" in outcome.output


@pytest.mark.parametrize("portions", ["0,50", "101", "many", ""])
def test_portions_that_are_no_percentages(portions: str, capsys: pytest.CaptureFixture) -> None:
    outcome = run_command("benchmark-relations", ["--portions", portions], capsys)
    assert outcome.status == 1
    assert "give whole numbers from 1 to 100" in outcome.output

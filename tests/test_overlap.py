"""Spans that overlap through the commands: what works, and what says that it can't."""

from pathlib import Path

import pytest
from running import run_command, scheme


@pytest.mark.parametrize("command", ["suggest", "distill", "robustness", "model-view", "train-components"])
def test_what_cannot_work_says_so_in_one_sentence(tmp_path: Path, capsys, command: str):
    config = tmp_path / "llm.cfg"
    labels = scheme("SKILL", "TASK")
    config.write_text(labels.replace("labels = ", "overlapping = true\nlabels = "), encoding="utf-8")
    outcome = run_command(command, ["--scheme", config], capsys)
    assert outcome.status == 1
    assert "can't handle spans that overlap, and the scheme has overlapping = true" in outcome.output
    assert "Traceback" not in outcome.output

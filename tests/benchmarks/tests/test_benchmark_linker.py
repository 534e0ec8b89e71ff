"""benchmark-linker on a few names."""

import pytest
from running import ROOT, run_command


@pytest.mark.slow
def test_benchmark(capsys: pytest.CaptureFixture) -> None:
    forms = ["--legal-forms", ROOT / "assets" / "legal_forms.txt"]
    outcome = run_command("benchmark-linker", ["--sizes", "300", "--mentions", 20, *forms], capsys)
    assert outcome.status == 0, outcome.output
    assert "300 made as written" in outcome.output
    assert "100%" in outcome.output


def test_benchmark_refuses_sizes_that_are_no_numbers(capsys: pytest.CaptureFixture) -> None:
    outcome = run_command("benchmark-linker", ["--sizes", "many"], capsys)
    assert (outcome.status, "--sizes 'many' must be numbers" in outcome.output) == (1, True)

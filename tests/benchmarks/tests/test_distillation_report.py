"""The page about recipes of distillation answers first."""

import pytest
from benchmarks import distillation_report as report
from benchmarks.distillation_comparison import RecipeComparison, RecipeScore
from benchmarks.distillation_report import REVIEWED
from pages import check_page

from ie.core.stats import Estimate, Pair


def compared(recommended: str) -> RecipeComparison:
    def score(name: str, f: float) -> RecipeScore:
        recipe, estimate = (("missing",) if name == "all" else ()), Estimate(f, f - 0.03, f + 0.03)
        return RecipeScore(name, recipe, 80, 150, 0.1, (), (f, f), estimate, 0.01, 40.0, 90.0)

    gain = Pair("all", REVIEWED, Estimate(0.06, 0.02, 0.1), 0.001, 0.002)
    return RecipeComparison(
        rows={REVIEWED: score(REVIEWED, 0.6), "all": score("all", 0.66)},
        llm=None,
        pairs=[gain],
        recommended=recommended,
        as_good=[],
        test={recommended: (Estimate(0.64, 0.6, 0.68), 0.01)},
        test_pairs=[],
        dev_texts=200,
        test_texts=300,
    )


@pytest.mark.parametrize(
    ("recommended", "headline", "following"),
    [
        ("all", "Take all (missing).", "python scripts/distill.py --recipe all"),
        (REVIEWED, "Leave the silver out: no recipe is better", "weasel run review"),
    ],
)
def test_the_page_answers_first(browser, recommended, headline, following):
    result = compared(recommended)
    rows = report.cells(result, 0)
    page = report.page(result, rows, report.notes(result, 100, 80, 0, 2), report.figure(result))
    assert f'<p class="headline">{headline}' in page
    assert f"<code>{following}</code>" in page
    check_page(browser, page)
    assert set(report.SHOWN) <= set(report.HEADER)

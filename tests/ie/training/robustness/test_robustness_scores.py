"""What counts as a fall, and what few or empty texts must not be taken for."""

import os
import re
import signal

import numpy as np
import pytest
from corpora import write_split
from pages import check_page
from running import ROOT

from ie.core.errors import UserError
from ie.data.records import Record, Span
from ie.evaluation import perturbations
from ie.training import jobs
from ie.training.robustness import report, robustness_scores
from ie.training.robustness.robustness_scores import Robustness

LABELS = ("X",)


def table(right: int, wrong: int, documents: int = 60) -> np.ndarray:
    """`right` documents with one hit each, then `wrong` with a miss, the rest empty."""
    counts = np.zeros((documents, 1, 3), dtype=int)
    counts[:right, 0, 0] = 1
    counts[right : right + wrong, 0, 2] = 1
    return counts


def result(counted: dict[str, np.ndarray], n: int = 60, seeds: int = 2) -> Robustness:
    gold = [Record(text=f"Velto {i}", spans=[Span(start=0, end=5, label="X")]) for i in range(n)]
    names = [name for name in counted if name != "original"]
    perturbed = [perturbations.unchanged(gold)]
    perturbed += [
        perturbations.perturb(name, gold, perturbations.PerturbationSettings(gold)) for name in names
    ]
    f = robustness_scores.micro_f(counted)
    return Robustness(
        gold=gold,
        inspected="both",
        titles={"both": "Both"},
        missing={},
        perturbed=perturbed,
        changes=robustness_scores.changes({"both": counted}),
        labels=robustness_scores.by_label(counted, LABELS),
        seeds={name: [f[name]] * seeds for name in counted},
        first_seed=0,
    )


def test_a_fall_beyond_noise_is_named_and_a_small_one_is_not():
    measured = result({"original": table(60, 0), "lower": table(20, 40), "typos": table(59, 1)})
    changes = measured.changes["both"]
    assert changes["lower"].verdict() == "falls"
    assert changes["lower"].difference.value == pytest.approx(-0.5)
    assert changes["lower"].difference.high < 0
    assert changes["typos"].verdict() == "not told apart"
    assert "loses most to lower case" in robustness_scores.summary(measured)[0]
    assert "1 of 2 perturbations" in robustness_scores.summary(measured)[0]


@pytest.mark.parametrize(("n", "places"), [(3, 1), (60, 2)])
def test_changes_have_no_more_digits_than_the_texts_allow(n, places):
    counted = {"original": table(n, 0, n), "lower": table(n // 3, n - n // 3, n)}
    measured = result(counted, n)
    shown = " ".join(
        [*robustness_scores.summary(measured), *(row["change"] for row in report.rows(measured))]
    )
    assert {len(found) for found in re.findall(r"\.(\d+)", shown)} == {places}


def test_holm_corrects_over_all_systems():
    counted = {"original": table(60, 0), "lower": table(53, 7)}
    alone = robustness_scores.changes({"a": counted})["a"]["lower"]
    many = robustness_scores.changes(dict.fromkeys("abcdefgh", counted))["a"]["lower"]
    assert alone.p == many.p
    assert (alone.verdict(), many.verdict()) == ("falls", "not told apart")


@pytest.mark.parametrize(
    ("counted", "n", "verdict", "sentence"),
    [
        (
            {"original": table(0, 60), "lower": table(0, 60)},
            60,
            "finds nothing either way",
            "finds nothing, so",
        ),
        (
            {"original": table(60, 0), "lower": table(60, 0)},
            60,
            "not told apart",
            "no perturbation lowers F",
        ),
        (
            {"original": table(1, 0, 1), "lower": table(0, 1, 1)},
            1,
            "not told apart",
            "so few texts can't show",
        ),
    ],
)
def test_extremes_get_no_wrong_verdict(counted, n, verdict, sentence):
    measured = result(counted, n)
    assert measured.changes["both"]["lower"].verdict() == verdict
    assert sentence in robustness_scores.summary(measured)[0]


def test_a_label_nobody_has_changes_by_nothing_that_is_known():
    nothing = np.zeros((4, 1, 3), dtype=int)
    change = robustness_scores.by_label({"original": nothing, "lower": nothing}, LABELS)["lower"]["X"]
    assert np.isnan(change.difference.value)
    assert change.verdict() == "finds nothing either way"


def test_one_seed_has_no_spread():
    measured = result({"original": table(50, 10), "lower": table(50, 10)}, seeds=1)
    assert "One seed shows no spread" in " ".join(robustness_scores.summary(measured))
    assert robustness_scores.to_json(measured)["seeds"]["f"]["original"]["sd"] is None
    assert robustness_scores.spread([0.5, 0.7])[1] == pytest.approx(0.1414, abs=1e-4)


def die(job: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_seed_that_was_killed_is_one_sentence(tmp_path, monkeypatch):
    write_split(tmp_path, train=4, dev=2)
    monkeypatch.setattr(jobs, "train_job", die)
    files = {"train": tmp_path / "train.spacy", "dev": tmp_path / "dev.spacy"}
    shared = {"config": ROOT / "configs" / "efficient.cfg", "labels": ("COMPANY",), "overrides": {}}
    with pytest.raises(UserError, match=r"one of 2 trainings at a time was killed, .* --vars.workers 1\.$"):
        robustness_scores.over_seeds([], seeds=[1, 2], workers=2, **files, **shared)


@pytest.mark.parametrize(
    ("counted", "n", "headline", "following"),
    [
        (
            {"lower": table(20, 40), "names": table(10, 50)},
            60,
            "Not robust: F falls with unseen names and lower",
            "review",
        ),
        (
            {"lower": table(20, 40), "names": table(59, 1)},
            60,
            "Not robust: F falls with lower case.",
            "augmenter",
        ),
        ({"lower": table(59, 1), "names": table(60, 0)}, 60, "Robust, as far as", "status"),
        ({"lower": table(0, 1, 1)}, 1, "Too few test texts", "review"),
    ],
)
def test_the_page_answers_first(browser, counted, n, headline, following):
    page = report.page(result({"original": table(n, 0, n)} | counted, n))
    assert f'<p class="headline">{headline}' in page
    assert following in page[page.index('class="next"') :].partition("</p>")[0]
    check_page(browser, page)


def test_finding_nothing_is_no_robustness():
    nothing = report.answer(result({"original": table(0, 60), "lower": table(0, 60)}))
    assert nothing.headline == "The pipeline finds nothing."


def test_what_has_no_seeds_by_design_says_why():
    measured = result({"original": table(50, 10), "lower": table(50, 10)}, seeds=1)
    measured.seedless = "Other seeds are left out."
    summary = " ".join(robustness_scores.summary(measured))
    assert "Other seeds are left out." in summary
    assert "--seeds" not in summary
    page = report.page(measured)
    assert page.count("Other seeds") == 1
    assert "Standard deviation" not in page

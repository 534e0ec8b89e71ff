"""The sentences, for every outcome, and the page and the reference of a project without spans."""

import random

import pytest

from ie.data.records import Record, Span
from ie.data.scheme import Scheme
from ie.deploy.watch import drift, reference, report
from ie.deploy.watch.drift import Drift
from ie.deploy.watch.measures import Tally, measures_of, values_of
from ie.deploy.watch.report import REVIEW, WatchReport

MEASURES = measures_of(["COMPANY"], [], confidence=False)


def tally(n: int, seed: int, *, words: int = 20, unknown: float = 0.1, company: float = 0.5) -> Tally:
    """Texts of about so many words, of which some are unknown, some of them with a company."""
    rng, counted = random.Random(seed), Tally(MEASURES)
    for _ in range(n):
        parts = [
            "new" if rng.random() < unknown else "old" for _ in range(rng.randrange(words - 5, words + 5))
        ]
        spans = [Span(start=0, end=3, label="COMPANY")] if rng.random() < company else []
        counted.add(values_of(Record(text=" ".join(parts), spans=spans), {"old"}))
    return counted


REFERENCE = tally(400, 0)


def compared(*tallies: Tally) -> Drift:
    return drift.compare(REFERENCE, {f"f{i}": one for i, one in enumerate(tallies)})


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"unknown": 0.2}, "twice as many unknown words (20 % against 10 %)"),
        ({"unknown": 0.35}, " times as many unknown words (35 % against 10 %)"),
        ({"unknown": 0.0}, "fewer unknown words (0 % against 10 %)"),
        ({"words": 40}, "longer texts (40 words against 20)"),
        ({"words": 12}, "shorter texts (11 words against 20)"),
        ({"company": 0.0}, "fewer texts with COMPANY (0 % against 47 %)"),
    ],
)
def test_a_difference_in_words(texts, said):
    sentence = report.headline(compared(tally(600, 1, **texts)))
    assert sentence.startswith("These texts differ from the training data: ")
    assert said in sentence


def test_some_files_that_differ_are_named():
    same = [tally(3000, i) for i in range(3)]
    sentence = report.headline(compared(*same, tally(60, 9, words=30)))
    assert sentence.startswith(
        "Some texts differ from the training data, those of f3: longer texts (29 words"
    )


def test_a_change_has_its_beginning():
    result = compared(tally(100, 1), tally(100, 2), tally(100, 3, words=40), tally(100, 4, words=40))
    assert report.headline(result).startswith(
        "These texts differ from the training data since f2: longer texts"
    )


def test_no_difference_has_its_number_of_texts():
    answer = report.answer(WatchReport(compared(tally(100, 1), tally(30, 2)), None, 50))
    assert answer.headline.endswith("differ from the training data: 130 texts in 1 comparison.")
    assert "The last 30 texts are too few for a comparison of their own." in answer.certainty
    assert answer.following.startswith(f"`{REVIEW}`: 50 texts drawn at random")


@pytest.mark.parametrize("days", [0, 1, 120])
def test_a_page_of_any_number_of_days(days):
    result = compared(*(tally(60, i, words=20 + 10 * (i > 100)) for i in range(days)))
    page = report.page(WatchReport(result, None, 50, ["A <note>."]))
    assert ("<svg" in page) == bool(days)
    assert "A &lt;note&gt;." in page
    assert page.count("<tr><td>f") == days
    assert "NaN" not in page


def test_the_reference_of_texts_with_categories_only():
    gold = [Record(text=f"text {i}", cats={"A": i % 2, "B": 1 - i % 2}) for i in range(60)]
    found = [Record(text=f"text {i}", cats={"A": 0.9, "B": 0.1}) for i in range(60)]
    parts = {"dev": gold[:30], "test": gold[30:]}, {"dev": found[:30], "test": found[30:]}
    known = reference.make("key", gold[:1], *parts, Scheme(categories=("A", "B")))
    names = [measure.name for measure in known.tally.measures]
    assert names == ["length", "unknown words", "category A", "category B"]
    assert known.counts.sum(axis=0).tolist() == [[15, 15, 0], [0, 0, 15]]
    again = reference.Reference.from_json(known.to_json())
    assert (again.labels, again.known, again.words) == (known.labels, known.known, known.words)

"""Tests, corrections and the floor of effects, on tallies of texts whose values are known."""

import random

import numpy as np
import pytest
from scipy import stats as scipy_stats

from ie.data.records import Record, Span
from ie.deploy.watch import drift
from ie.deploy.watch.drift import ALPHA, MINIMUM
from ie.deploy.watch.measures import Tally, measures_of, values_of, words_of

MEASURES = measures_of(["COMPANY", "CITY"], ["DEAL"], confidence=True)
KNOWN = {f"word{chr(97 + i)}" for i in range(20)}


def record(
    rng: random.Random, *, unknown: float = 0.1, city: float = 0.3, sure: float | None = 0.9
) -> Record:
    """A text of about 20 words, some of them unknown, that begins with a company and may have a city."""
    words = [
        "new" + "".join(rng.choices("abcdefgh", k=5)) if rng.random() < unknown else "worda"
        for _ in range(20)
    ]
    extra = {} if sure is None else {"confidence": min(1.0, sure + rng.random() / 10)}
    spans = [Span(start=0, end=len(words[0]), label="COMPANY", **extra)]
    text = " ".join(words[: rng.randrange(15, 20)])
    if rng.random() < city:
        spans.append(Span(start=len(words[0]) + 1, end=len(words[0]) + 3, label="CITY", **extra))
    return Record(text=text, spans=spans, cats={"DEAL": rng.random()})


def tally(n: int, seed: int, **more) -> Tally:
    rng = random.Random(seed)
    counted = Tally(MEASURES)
    for _ in range(n):
        counted.add(values_of(record(rng, **more), KNOWN))
    return counted


REFERENCE = tally(400, 0)


def test_mann_whitney_is_that_of_scipy_with_ties():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 9, 60), rng.integers(1, 10, 200)
    superiority, p = drift.mann_whitney(*(np.bincount(values, minlength=10) for values in (first, second)))
    expected = scipy_stats.mannwhitneyu(first, second, method="asymptotic")
    assert superiority == pytest.approx(expected.statistic / (60 * 200))
    assert p == pytest.approx(expected.pvalue)


def test_the_values_of_a_text():
    spans = [Span(start=0, end=5, label="COMPANY", confidence=0.5), Span(start=6, end=8, label="COMPANY")]
    values = values_of(Record(text="Hooli wordA 12 x1 日本", spans=spans, cats={"DEAL": 0.5}), KNOWN)
    assert words_of("Hooli wordA 12 x1 日本") == ["hooli", "worda", "x", "日", "本"]
    assert values["unknown words"] == 0.8
    assert (values["entities"], values["no entity"], values["label COMPANY"]) == (2, 0, 1)
    assert (values["category DEAL"], values["confidence"]) == (1, 0.5)


def test_texts_that_differ_are_named_by_what_differs():
    result = drift.compare(REFERENCE, {"a": tally(100, 1), "b": tally(100, 2, unknown=0.4, city=0.9)})
    assert [look.name for look in result.alarmed] == ["b"]
    assert {one.measure.name for one in result.looks[1].alarms} >= {"unknown words", "label CITY"}
    assert result.looks[1].alarms[0].effect > 1
    assert result.total.alarms


def test_no_alarm_on_texts_of_the_same_kind():
    assert not any(
        drift.compare(REFERENCE, {str(i): tally(60, 100 + seed * 10 + i) for i in range(3)}).drifted
        for seed in range(20)
    )


def test_a_million_texts_make_no_alarm_of_a_trifle():
    small, large = tally(3000, 3), tally(3000, 4, city=0.36)
    many = large
    for _ in range(8):
        many, small = many + many, small + small
    result = drift.compare(small, {"a": many})
    (city,) = (one for one in result.looks[0].differences if one.measure.name == "label CITY")
    assert city.holm < 1e-6
    assert not result.drifted


def test_measures_are_corrected_for_their_number():
    look = drift.look_at("a", tally(100, 5), REFERENCE, 0.01)
    smallest = min(look.differences, key=lambda one: one.p)
    assert smallest.holm == pytest.approx(min(1, smallest.p * len(look.differences)))


def test_looks_spend_no_more_than_promised():
    result = drift.compare(REFERENCE, {f"{i:03}": tally(MINIMUM, i) for i in range(30)})
    spent = 2 * sum(look.level for look in result.looks)
    assert 0.96 * ALPHA < spent < ALPHA
    assert result.total.level == result.looks[-1].level


def test_small_days_are_joined_and_a_rest_waits():
    sizes = {"mon": 30, "tue": 30, "wed": 0, "thu": 70, "fri": 7}
    result = drift.compare(REFERENCE, {name: tally(n, n) for name, n in sizes.items()})
    assert [(look.name, look.tally.texts) for look in result.looks] == [
        ("mon to tue", 60),
        ("wed to thu", 70),
    ]
    assert (result.texts, result.waiting, result.total.tally.texts) == (137, 7, 137)


def test_too_few_texts_are_not_compared():
    result = drift.compare(REFERENCE, {"a": tally(MINIMUM - 1, 1, unknown=1.0)})
    assert (result.looks, result.total, result.waiting) == ((), None, MINIMUM - 1)


def test_without_confidence_its_test_is_left_out():
    result = drift.compare(REFERENCE, {"a": tally(60, 1, sure=None)})
    assert "confidence" not in {one.measure.name for one in result.looks[0].differences}
    unsure = drift.compare(REFERENCE, {"a": tally(60, 1, sure=0.4)})
    assert unsure.looks[0].alarms[0].measure.name == "confidence"


def test_a_tally_comes_back_from_its_file():
    again = Tally.from_json(REFERENCE.to_json(), MEASURES)
    assert again.texts == REFERENCE.texts
    for measure in MEASURES:
        assert np.array_equal(again.bins[measure.name], REFERENCE.bins[measure.name])
        assert again.mean(measure) == REFERENCE.mean(measure)
    with pytest.raises(KeyError):
        Tally.from_json(REFERENCE.to_json(), measures_of(["OTHER"], [], confidence=False))

"""The random sample, and the score on its reviewed texts beside that on test."""

import random

import numpy as np
import pytest

from ie.data.records import Record, Span
from ie.data.scheme import Scheme
from ie.deploy.watch import production
from ie.deploy.watch.applied import AppliedText
from ie.deploy.watch.measures import Tally, measures_of
from ie.deploy.watch.production import FEWEST, RandomSample
from ie.deploy.watch.reference import Reference

LABELS = ("COMPANY", "CITY")


def applied(i: int) -> AppliedText:
    return AppliedText("a.jsonl", i + 1, "a.jsonl", Record(text=f"text {i}"))


def reference(right: tuple[int, int] = (9, 9)) -> Reference:
    """A pipeline that found so many of ten companies and of ten cities in each of 60 test texts."""
    counts = np.array([[[hits, 0, 10 - hits] for hits in right]] * 60)
    counts[::2] += [1, 0, -1]  # texts differ, as they do
    counts[1::2] -= [1, 0, -1]
    return Reference(
        "", Tally(measures_of(LABELS, [], confidence=False)), frozenset(), frozenset(), LABELS, counts
    )


def texts(n: int, found: dict[str, float]) -> tuple[list[Record], list[Record]]:
    """Gold with five spans of each label in each text, and a pipeline that found this share of each."""
    rng = random.Random(0)
    gold, predicted = [], []
    for i in range(n):
        spans = [Span(start=2 * k, end=2 * k + 1, label=LABELS[k % 2]) for k in range(10)]
        gold.append(Record(text=f"{'x ' * 12}{i}", spans=spans))
        kept = [span for span in spans if rng.random() < found[span.label]]
        predicted.append(Record(text=gold[-1].text, spans=kept))
    return gold, predicted


def test_the_kind_of_text_that_is_worst_is_named():
    gold, predicted = texts(30, {"COMPANY": 0.9, "CITY": 0.9})
    more_gold, worse = texts(60, {"COMPANY": 0.2, "CITY": 0.2})
    gold += more_gold[30:]
    sample = [
        AppliedText("", i, f"{'old' if i < 30 else 'new'}.jsonl", record)
        for i, record in enumerate([*predicted, *worse[30:]])
    ]
    kinds = production.kinds_of(sample, frozenset({"x"}))
    assert {kind for of_text in kinds for kind in of_text} >= {"texts of old.jsonl", "texts of new.jsonl"}
    scheme = Scheme(span_labels=LABELS)
    score = production.score([one.record for one in sample], gold, reference(), scheme, kinds)
    assert [one.kind for one in score.worst_kinds()] == ["texts of new.jsonl"]
    assert production.sentences(score)[-1].startswith(
        "Worse than the others of the sample: texts of new.jsonl"
    )
    # of one kind alone there is nothing to compare, and noise isn't named
    alike = production.score([one.record for one in sample[:30]], gold, reference(), scheme, kinds[:30])
    assert alike.worst_kinds() == []


def test_texts_are_divided_by_length_words_and_category():
    rows = [Record(text="known " * n, cats={"FUNDING": n % 2}) for n in range(1, 5)]
    rows[3] = Record(text="other other other other")
    kinds = production.kinds_of([AppliedText("", i, "a", row) for i, row in enumerate(rows)], {"known"})
    assert kinds[0] == {
        "texts of a", "texts of the category FUNDING", "shorter texts", "texts with fewer unknown words",
    }  # fmt: skip
    assert kinds[3] == {"texts of a", "longer texts", "texts with more unknown words"}


def test_a_sample_is_the_same_in_any_order_and_has_each_text_once():
    first, second = RandomSample(20), RandomSample(20)
    everything = [applied(i) for i in range(500)]
    for one in everything:
        first.add(one)
    for one in random.Random(1).sample([*everything, *everything], 1000):
        second.add(one)
    assert first.texts() == second.texts()
    assert len({one.record.text for one in first.texts()}) == 20


def test_a_sample_is_uniform():
    hits = np.zeros(4)
    for start in range(0, 40_000, 400):
        drawn = RandomSample(40)
        for i in range(400):
            drawn.add(applied(start + i))
        for one in drawn.texts():
            hits[(one.row - 1 - start) // 100] += 1
    assert hits.sum() == 4000
    assert abs(hits - 1000).max() < 100


def test_a_sample_keeps_its_texts_when_others_come():
    drawn = RandomSample(20)
    for i in range(500):
        drawn.add(applied(i))
    before = {one.record.text for one in drawn.texts()}
    for i in range(500, 600):
        drawn.add(applied(i))
    assert len(before & {one.record.text for one in drawn.texts()}) >= 10


def test_a_sample_by_confidence_is_weighted_so_that_its_score_is_that_of_all_texts():
    """The surer half is right in 9 of 10 spans, the other in 2; a sample has more of the other."""
    gold, sure = texts(400, {"COMPANY": 0.9, "CITY": 0.9})
    _, unsure = texts(400, {"COMPANY": 0.2, "CITY": 0.2})
    predicted = [*sure[:200], *unsure[200:]]
    for i, record in enumerate(predicted):
        for span in record.spans:
            span.confidence = 0.9 if i < 200 else 0.2
    scheme = Scheme(span_labels=LABELS)
    everything = production.score(predicted, gold, reference(), scheme)
    drawn = RandomSample(100, by_confidence=True)
    for i, record in enumerate(predicted):
        drawn.add(AppliedText("", i, "", record))
    sample = drawn.texts()
    assert sum(one.row >= 200 for one in sample) > 75
    found = [one.record for one in sample]
    plain = production.score(found, gold, reference(), scheme)
    weighted = production.score(found, gold, reference(), scheme, weights=drawn.weights())
    assert everything.f.value - plain.f.value > 0.15
    assert abs(everything.f.value - weighted.f.value) < 0.07
    assert weighted.f.low < everything.f.value < weighted.f.high


def test_a_sample_of_all_texts_is_not_weighted():
    drawn = RandomSample(10, by_confidence=True)
    for i in range(10):
        drawn.add(applied(i))
    assert (len(drawn.texts()), drawn.weights()) == (10, [1.0] * 10)


def test_a_pipeline_that_is_worse_is_named_with_its_label():
    gold, predicted = texts(50, {"COMPANY": 0.9, "CITY": 0.2})
    score = production.score(predicted, gold, reference(), Scheme(span_labels=LABELS))
    assert (score.texts, score.test_texts, score.verdict) == (50, 60, "worse")
    assert [one.label for one in score.worse_labels()] == ["CITY"]
    first, second = production.sentences(score)
    assert first.startswith("F on 50 reviewed texts of these is .7")
    assert "worse beyond noise: -.2" in first
    assert second.startswith("Worse beyond noise, by label: CITY by .")


def test_an_equal_pipeline_is_noise():
    gold, predicted = texts(50, {"COMPANY": 0.9, "CITY": 0.9})
    score = production.score(predicted, gold, reference(), Scheme(span_labels=LABELS))
    assert score.verdict == "noise"
    assert "the difference is noise" in production.sentences(score)[0]


def test_texts_that_were_edited_rejected_or_not_reviewed_do_not_count():
    gold, predicted = texts(30, {"COMPANY": 0.9, "CITY": 0.9})
    gold[0].answer = "reject"
    gold[1] = Record(text=gold[1].text + " edited")
    scheme = Scheme(span_labels=LABELS)
    assert production.score(predicted, gold[:20], reference(), scheme).texts == 18
    assert production.score(predicted, gold[2 : 2 + FEWEST - 1], reference(), scheme) is None


@pytest.mark.parametrize("found", [0.0, 1.0])
def test_all_right_and_all_wrong_have_a_verdict(found):
    gold, predicted = texts(20, dict.fromkeys(LABELS, found))
    score = production.score(predicted, gold, reference(), Scheme(span_labels=LABELS))
    assert score.verdict == ("worse" if not found else "better")

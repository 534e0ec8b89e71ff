"""Categories counted, macro F and accuracy."""

import numpy as np
import pytest
import spacy

from ie.data.records import Record
from ie.evaluation import categories


def test_counts_and_table() -> None:
    counts = categories.count(["A", "A", "B", "B"], ["A", "B", "B", "X"], ["A", "B", "C"])
    assert counts.sum(axis=0).tolist() == [[1, 0, 1], [1, 1, 1], [0, 0, 0]]
    table = categories.table(counts[:, :2], ["A", "B"])
    assert table["A"][0] == table["B"][0] == 2
    assert table["accuracy"][1].value == pytest.approx(4 / 7)
    assert table["macro"][1].value == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_accuracy_is_the_share_of_right_answers() -> None:
    rng = np.random.default_rng(0)
    gold, found = (list(rng.choice(["A", "B", "C"], 50)) for _ in range(2))
    table = categories.table(categories.count(gold, found, ["A", "B", "C"]), ["A", "B", "C"])
    assert table["accuracy"][1].value == pytest.approx(
        np.mean([g == f for g, f in zip(gold, found, strict=True)])
    )


def test_macro_has_an_interval_around_it_and_a_category_never_right_counts_nothing() -> None:
    gold = ["A"] * 30 + ["B"] * 10
    estimate = categories.macro(categories.count(gold, ["A"] * 40, ["A", "B"]))
    assert estimate.value == pytest.approx((2 * 30 / (2 * 30 + 10)) / 2)
    assert estimate.low < estimate.value < estimate.high


def test_majority() -> None:
    train = [Record(text=str(i), cats={"B": 1}) for i in range(3)] + [Record(text="x", cats={"A": 1})]
    assert categories.majority(train, 2) == ["B", "B"]


def test_of_equals_the_first_by_name() -> None:
    nlp = spacy.blank("en")

    @spacy.Language.component("test_equal_cats")
    def equal(doc):
        doc.cats = {"B": 0.5, "A": 0.5, "C": 0.1}
        return doc

    nlp.add_pipe("test_equal_cats")
    assert categories.predict(nlp, [Record(text="x")]) == ["A"]


def test_accuracy_of_several_categories_wants_all_of_them_right() -> None:
    # right, one missing, one too many, nothing asked and nothing said
    counts = np.array(
        [[[1, 0, 0], [1, 0, 0]], [[1, 0, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 0]], [[0, 0, 0], [0, 0, 0]]]
    )
    assert categories.accuracy(counts).value == 0.5


def test_the_most_frequent_answer_may_be_none() -> None:
    texts = [{"A": 1, "B": 1}, {"A": 0}, {}, {"B": 1}]
    train = [Record(text=str(i), cats=cats) for i, cats in enumerate(texts)]
    assert categories.most_frequent(train, "categories") == ()
    assert categories.most_frequent(train[:1], "categories") == ("A", "B")
    assert categories.most_frequent(train, "category") in (("A",), ("B",), ())

"""Macro F, accuracy and the most frequent categories."""

import numpy as np
import pytest

from ie.data.records import Record
from ie.evaluation import categories, scoring


def counted(gold: list[str], predicted: list[str], labels: list[str]) -> np.ndarray:
    views = [
        scoring.view([Record(text=str(i), cats={name: 1}) for i, name in enumerate(names)], "category")
        for names in (gold, predicted)
    ]
    return scoring.count(*views, labels)


def test_counts_of_single_categories() -> None:
    counts = counted(["A", "A", "B", "B"], ["A", "B", "B", "X"], ["A", "B", "C"])
    assert counts.sum(axis=0).tolist() == [[1, 0, 1], [1, 1, 1], [0, 0, 0]]
    assert categories.macro(counts[:, :2]).value == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_micro_f_of_single_categories_is_the_share_of_right_answers() -> None:
    rng = np.random.default_rng(0)
    gold, predicted = (list(rng.choice(["A", "B", "C"], 50)) for _ in range(2))
    scored = scoring.score_labels({"x": counted(gold, predicted, ["A", "B", "C"])}, ["A", "B", "C"])
    right = np.mean([g == p for g, p in zip(gold, predicted, strict=True)])
    assert scored.scores["x"][scoring.ALL][2].value == pytest.approx(right)


def test_macro_has_an_interval_around_it_and_a_category_never_right_counts_nothing() -> None:
    gold = ["A"] * 30 + ["B"] * 10
    estimate = categories.macro(counted(gold, ["A"] * 40, ["A", "B"]))
    assert estimate.value == pytest.approx((2 * 30 / (2 * 30 + 10)) / 2)
    assert estimate.low < estimate.value < estimate.high


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


def predicted(train: list[Record], texts: list[str], exclusive: bool) -> list[list[str]]:
    return [record.categories for record in categories.tfidf_regression(train, texts, exclusive)]


def test_the_regression_on_tfidf_learns_from_characters() -> None:
    train = [
        Record(
            text=f"{name} {verb} Hooli", cats={"DEAL": int(verb == "acquired"), "OTHER": int(verb == "sued")}
        )
        for name in ("Velto", "Anker", "Brass")
        for verb in ("acquired", "sued")
    ]
    texts = ["they acquire it", "they sued it"]
    assert predicted(train, texts, exclusive=True) == [["DEAL"], ["OTHER"]]
    assert predicted(train, texts, exclusive=False) == [["DEAL"], ["OTHER"]]


def test_the_regression_on_tfidf_needs_no_second_category() -> None:
    train = [Record(text=f"text {n}", cats={"A": 1}) for n in range(3)]
    for exclusive in (True, False):
        assert predicted(train, ["x"], exclusive) == [["A"]]
    assert predicted([Record(text="x")], ["x"], exclusive=False) == [[]]

"""Scores of relations, the baselines, the threshold."""

import numpy as np
import pytest

from ie.data.records import Record, Relation, Span
from ie.evaluation import relations, scoring


def deal(*labels: str, relations: list[tuple] = (), gap: int = 3) -> Record:
    """Entities X of the labels given, some characters apart."""
    text = (" " * gap).join("X" for _ in labels)
    spans = [Span(start=i * (gap + 1), end=i * (gap + 1) + 1, label=label) for i, label in enumerate(labels)]
    found = [
        Relation(head=h, child=c, label=label, **({"score": s[0]} if s else {}))
        for h, c, label, *s in relations
    ]
    return Record(text=text, spans=spans, relations=found)


TRAIN = [
    deal("C", "M", "C", relations=[(0, 1, "RAISED"), (2, 0, "INVESTOR")]),
    deal("C", "M", "C", relations=[(0, 1, "RAISED"), (2, 0, "INVESTOR")]),
    deal("M", "M", "M"),
]


def found(record: Record) -> list[tuple]:
    return [(r.head, r.child, r.label) for r in record.relations]


def test_count_is_exact_in_label_direction_and_edges() -> None:
    gold = deal("C", "M", "C", relations=[(0, 1, "RAISED"), (2, 0, "INVESTOR")])
    said = deal("C", "M", "C", relations=[(0, 1, "RAISED"), (0, 2, "INVESTOR")])
    wide = gold.model_copy(update={"spans": [Span(start=0, end=2, label="C"), *gold.spans[1:]]})
    counts = relations.count([gold] * 3, [gold, said, wide], ["INVESTOR", "RAISED"])
    assert counts.tolist() == [
        [[1, 0, 0], [1, 0, 0]],
        [[0, 1, 1], [1, 0, 0]],
        [[0, 1, 1], [0, 1, 1]],
    ]


def test_order_of_spans_is_no_matter() -> None:
    gold = deal("C", "M", relations=[(0, 1, "RAISED")])
    relation = Relation(head=1, child=0, label="RAISED")
    turned = gold.model_copy(update={"spans": gold.spans[::-1], "relations": [relation]})
    assert relations.count([gold], [turned], ["RAISED"]).tolist() == [[[1, 0, 0]]]


def test_majority_says_what_most_pairs_are() -> None:
    habits = relations.habits(TRAIN)
    # two of four pairs C > M have a relation: as many as have none, and "" comes first
    assert habits.majority["C", "M"] == ""
    habits = relations.habits([deal("C", "M", relations=[(0, 1, "RAISED")])] * 2)
    assert found(relations.by_majority(deal("C", "M", "M"), habits)) == [(0, 1, "RAISED"), (0, 2, "RAISED")]


def test_rule_joins_each_child_to_the_nearest_head() -> None:
    habits = relations.habits(TRAIN)
    assert habits.label == {("C", "M"): "RAISED", ("C", "C"): "INVESTOR"}
    assert habits.forward == {("C", "M"): True, ("C", "C"): False}
    said = found(relations.by_rule(deal("M", "C", "C", "M"), habits))
    assert said == [(1, 0, "RAISED"), (2, 1, "INVESTOR"), (2, 3, "RAISED")]
    assert found(relations.by_rule(deal("M", "M"), habits)) == []
    assert found(relations.by_rule(deal(), habits)) == []


@pytest.mark.parametrize(("scores", "best"), [((0.9, 0.3), 0.5), ((0.9, 0.6), 0.65), ((0.2, 0.1), 0.2)])
def test_threshold_with_the_highest_f_nearest_to_a_half(scores: tuple, best: float) -> None:
    right, wrong = scores
    gold = deal("C", "M", "M", relations=[(0, 1, "RAISED")])
    said = deal("C", "M", "M", relations=[(0, 1, "RAISED", right), (0, 2, "RAISED", wrong)])
    threshold, f = relations.best_threshold([gold], [said], ["RAISED"])
    assert (threshold, f) == (best, 1.0)


def test_threshold_of_nothing() -> None:
    assert relations.best_threshold([deal("C")], [deal("C")], ["RAISED"]) == (0.5, 0.0)


def test_scores_and_figures() -> None:
    gold = [deal("C", "M", relations=[(0, 1, "RAISED")])] * 20
    answers = {"good": gold, "bad": [deal("C", "M")] * 20}
    tables = {name: relations.count(gold, predicted, ["RAISED"]) for name, predicted in answers.items()}
    scored = scoring.score_labels(tables, ["RAISED"])
    figures = scored.figures()
    assert figures["good"]["all"]["f"][0] == 1.0
    assert figures["bad"]["all"]["p"] is None
    assert scored.annotated("bad", "RAISED") == 20
    assert scored.groups() == []
    rows = scored.rows()
    assert [row[0] for row in rows] == ["good", "", "bad", ""]
    assert [row[1:3] for row in rows] == [["RAISED", "20"], ["all", "20"]] * 2
    assert rows[3][3] == "–"
    assert np.isnan(scored.scores["bad"]["all"][0].value)

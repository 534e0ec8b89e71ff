import numpy as np
import pytest

from ie.core import stats
from ie.data.records import Record, Span
from ie.evaluation import scoring

LABELS = ("COMPANY", "MONEY")


def record(text: str, *spans: tuple[str, str], **meta: object) -> Record:
    """A record whose spans are given as (string, label), the first place where the string occurs."""
    found = [
        Span(start=text.index(string), end=text.index(string) + len(string), label=label)
        for string, label in spans
    ]
    return Record(text=text, spans=found, meta=meta)


TEXT = "Hooli GmbH raises $5m from ACME Ventures in Berlin"
GOLD = record(TEXT, ("Hooli GmbH", "COMPANY"), ("$5m", "MONEY"), ("ACME Ventures", "COMPANY"))


def test_counts_by_hand():
    answer = record(TEXT, ("Hooli GmbH", "COMPANY"), ("ACME", "COMPANY"), ("Berlin", "MONEY"))
    counts = scoring.count([GOLD, GOLD], [answer, GOLD], LABELS)
    assert counts.tolist() == [[[1, 1, 1], [0, 1, 1]], [[2, 0, 0], [1, 0, 0]]]


def test_right_edges_with_another_label_are_wrong_twice():
    answer = record(TEXT, ("$5m", "COMPANY"))
    assert scoring.count([record(TEXT, ("$5m", "MONEY"))], [answer], LABELS)[0].tolist() == [
        [0, 1, 0],
        [0, 0, 1],
    ]


def test_a_span_predicted_twice_counts_once():
    twice = Record(text=TEXT, spans=[*GOLD.spans, GOLD.spans[0]])
    assert scoring.count([GOLD], [twice], LABELS).sum(axis=(0, 1)).tolist() == [3, 0, 0]


def test_predictions_of_other_texts_are_refused():
    with pytest.raises(ValueError, match="different texts"):
        scoring.count([GOLD], [record("Other")], LABELS)
    with pytest.raises(ValueError, match=r"shorter|longer"):
        scoring.count([GOLD], [], LABELS)


def test_labels_of_the_scheme_come_first_and_others_after():
    assert scoring.labels_of([record(TEXT, ("Berlin", "CITY"), ("$5m", "AMOUNT"))], LABELS) == (
        *LABELS,
        "AMOUNT",
        "CITY",
    )


def test_every_kind_of_error_is_named():
    answer = record(
        TEXT, ("Hooli", "COMPANY"), ("$5m", "COMPANY"), ("from ACME Ventures", "MONEY"), ("Berlin", "COMPANY")
    )
    found = scoring.errors(GOLD, answer)
    assert [error.kind for error in found] == ["boundary", "type", "both", "spurious"]
    assert [error.label for error in found] == ["COMPANY", "MONEY", "COMPANY", "COMPANY"]
    assert [error.kind for error in scoring.errors(GOLD, record(TEXT))] == ["missing"] * 3
    assert scoring.errors(GOLD, GOLD) == []


def test_a_span_is_part_of_one_error_only():
    # One prediction over two gold spans pairs with the longer overlap; the other is missing.
    whole = record(TEXT, (TEXT[: TEXT.index(" in")], "COMPANY"))
    kinds = {error.gold.start: error.kind for error in scoring.errors(GOLD, whole)}
    assert kinds == {0: "missing", 18: "missing", 27: "boundary"}


def test_error_counts_have_every_kind_and_label():
    counts = scoring.error_counts([GOLD], [record(TEXT, ("Hooli", "COMPANY"))], LABELS)
    assert counts["COMPANY"] == {"boundary": 1, "type": 0, "both": 0, "missing": 1, "spurious": 0}
    assert counts["MONEY"]["missing"] == 1
    # errors and counts agree: a miss each for boundary, type, both and missing
    assert sum(counts["COMPANY"][kind] for kind in ("boundary", "type", "both", "missing")) == 2


def test_novelty_splits_the_counts_without_losing_any():
    known = scoring.known_strings([record("the  acme   VENTURES fund", ("acme   VENTURES", "COMPANY"))])
    answer = record(TEXT, ("ACME Ventures", "COMPANY"), ("Berlin", "COMPANY"))
    parts = scoring.by_novelty([GOLD], [answer], LABELS, known)
    assert parts["seen"].tolist() == [[1, 0, 0]]
    assert parts["unseen"].tolist() == [[0, 1, 2]]


def test_a_string_seen_with_another_label_is_unseen():
    known = scoring.known_strings([record("ACME Ventures", ("ACME Ventures", "MONEY"))])
    parts = scoring.by_novelty([GOLD], [GOLD], LABELS, known)
    assert parts["seen"].sum() == 0
    assert parts["unseen"].sum() == 3


def test_lengths_are_cut_into_parts_of_about_the_same_number():
    slices = scoring.by_length([3, 9, 5, 1, 7, 2, 8, 4, 6])
    assert sorted(np.concatenate([s.documents for s in slices]).tolist()) == list(range(9))
    assert max(len(s.documents) for s in slices) - min(len(s.documents) for s in slices) <= 1
    assert [s.name for s in slices] == ["1-3 words", "4-6 words", "7-9 words"]


@pytest.mark.parametrize("lengths", [[], [4], [4, 4, 4], [1, 1, 1, 1, 9]])
def test_lengths_that_can_not_be_cut(lengths):
    slices = scoring.by_length(lengths)
    assert sorted(i for s in slices for i in s.documents) == list(range(len(lengths)))


def test_slices_by_meta():
    records = [record("a", writer="w2"), record("b", writer="w1"), record("c", writer="w2"), record("d")]
    found = {s.name: s.documents.tolist() for s in scoring.by_meta(records, "writer")}
    assert found == {"writer w2": [0, 2], "writer w1": [1], "writer not given": [3]}
    assert scoring.by_meta(records, "genre") == []


def test_worst_documents_first_and_right_ones_never():
    answers = [GOLD, record(TEXT, ("Hooli GmbH", "COMPANY")), record(TEXT), GOLD]
    assert scoring.worst([GOLD] * 4, answers) == [2, 1]
    assert scoring.worst([GOLD] * 4, answers, n=1) == [2]


def test_counts_of_parts_add_up_to_the_whole():
    answer = record(TEXT, ("ACME", "COMPANY"), ("$5m", "MONEY"))
    counts = scoring.count([GOLD], [answer], LABELS)
    assert stats.prf(counts.sum(axis=(0, 1))).tolist() == pytest.approx([1 / 2, 1 / 3, 2 / 5])


def test_categories_and_kinds_of_errors_by_place():
    gold = [
        Record(text="Velto", spans=[Span(start=0, end=5, label="X")], cats={"A": 1, "B": 0}),
        Record(text="Hooli in", spans=[Span(start=0, end=5, label="X")], cats={"A": 1, "B": 1}),
        Record(text="Anker"),
    ]
    predicted = [
        Record(text="Velto"),
        Record(text="Hooli in", spans=[Span(start=0, end=8, label="X")]),
        Record(text="Anker", spans=[Span(start=0, end=5, label="X")]),
    ]
    cuts = scoring.by_category(gold)
    assert [(cut.name, cut.documents.tolist()) for cut in cuts] == [
        ("category A", [0, 1]),
        ("category B", [1]),
    ]
    found = scoring.kinds_by_slice(gold, predicted, cuts, {("velto", "X")})
    told = {part: {kind: n for kind, n in row.items() if n} for part, row in found.items()}
    assert told == {
        "seen in training": {"missing": 1},
        "unseen in training": {"boundary": 1, "spurious": 1},
        "category A": {"missing": 1, "boundary": 1},
        "category B": {"boundary": 1},
    }


def test_categories_are_spans_over_the_whole_text():
    found = Record(text="Velto buys Hooli", cats={"A": 0.2, "B": 0.5, "C": 0.5})

    def labels(scored: str, one: Record = found) -> list[tuple[int, int, str]]:
        return [(s.start, s.end, s.label) for s in scoring.view([one], scored)[0].spans]

    assert labels("category") == [(0, 16, "B")]
    assert labels("categories") == [(0, 16, "B"), (0, 16, "C")]
    assert labels("spans") == []
    assert labels("category", Record(text="x", cats={"A": 0, "B": 0})) == []
    assert labels("category", Record(text="x")) == []


def test_a_wrong_category_is_an_error_of_type():
    gold, answer = (Record(text="Velto", cats={name: 1.0}) for name in "AB")
    (error,) = scoring.errors(*scoring.view([gold, answer], "category"))
    assert (error.kind, error.gold.label, error.predicted.label) == ("type", "A", "B")


def test_new_names_are_in_no_list_and_in_no_training_text():
    names = ("Hooli", "Anker Power", "Velto", "Brass")
    gold = [record(f"{name} raises $5m", (name, "COMPANY"), ("$5m", "MONEY")) for name in names]
    # one is in the list in another case, one in a training text that nobody annotated
    train, listed = [record("They met at ANKER  power.")], {"HOOLI", "Berlin"}
    missed = [*gold[:2], record(gold[2].text), gold[3]]
    assert scoring.new_names(gold, missed, "COMPANY", train, listed).sum(axis=0).tolist() == [1, 0, 1]
    # a listed name predicted where there is none is no error on new names, another string is one
    wrong = [*gold[:3], record("Brass raises $5m", ("Brass", "COMPANY"), ("$5m", "COMPANY"))]
    assert scoring.new_names(gold, wrong, "COMPANY", train, listed).sum(axis=0).tolist() == [2, 1, 0]
    listed |= {"$5m"}
    assert scoring.new_names(gold, wrong, "COMPANY", train, listed).sum(axis=0).tolist() == [2, 0, 0]

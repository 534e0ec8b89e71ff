"""The conditional random field: tags, what it learns, and its cache."""

from pathlib import Path

import pytest

from ie.data.records import Record, Span, blank
from ie.evaluation import crf

NLP = blank("en")


def example(name: str, verb: str = "raised") -> Record:
    text = f"{name} {verb} money in Berlin ."
    return Record(text=text, spans=[Span(start=0, end=len(name), label="COMPANY")])


TRAIN = [example(name) for name in ("Velto", "Anker Power", "Brass Row Ltd", "Hooli", "Nimbus Foods")]


@pytest.mark.parametrize(
    ("spans", "tags"),
    [
        ([], ["O", "O", "O", "O"]),
        ([(0, 1, "A")], ["U-A", "O", "O", "O"]),
        ([(0, 2, "A"), (2, 4, "B")], ["B-A", "L-A", "B-B", "L-B"]),
        ([(0, 4, "A")], ["B-A", "I-A", "I-A", "L-A"]),
    ],
)
def test_tags_and_spans(spans, tags) -> None:
    assert crf.to_tags(4, spans) == tags
    assert list(crf.from_tags(tags)) == spans


def test_of_overlapping_spans_the_first_is_kept() -> None:
    assert crf.to_tags(3, [(0, 2, "A"), (1, 3, "B")]) == ["B-A", "L-A", "O"]


@pytest.mark.parametrize("tags", [["B-A", "O"], ["I-A", "L-A"], ["B-A", "L-B"], ["B-A", "I-B", "L-A"]])
def test_incomplete_tags_are_no_span(tags) -> None:
    assert list(crf.from_tags(tags)) == []


def test_names_never_seen_are_found_by_their_context(tmp_path: Path) -> None:
    model = crf.load_or_train(TRAIN, NLP.make_doc, tmp_path)
    predict = crf.Crf(NLP.make_doc, model)
    texts = ["Zebra Mills raised money in Berlin .", "", "nothing"]
    assert [[(s.start, s.end, s.label) for s in r.spans] for r in predict(texts)] == [
        [(0, 11, "COMPANY")],
        [],
        [],
    ]


def test_a_model_is_trained_once_for_the_same_records(tmp_path: Path, monkeypatch) -> None:
    first = crf.load_or_train(TRAIN, NLP.make_doc, tmp_path)
    content = first.read_bytes()
    assert crf.train_model(TRAIN, NLP.make_doc) == content
    with monkeypatch.context() as patched:
        patched.setattr(crf, "train_model", lambda *_: pytest.fail("trained again"))
        assert crf.load_or_train(TRAIN, NLP.make_doc, tmp_path) == first
    changed = [*TRAIN[:-1], Record(text=TRAIN[-1].text)]
    assert crf.load_or_train(changed, NLP.make_doc, tmp_path) != first
    monkeypatch.setattr(crf, "SETTINGS", {**crf.SETTINGS, "c2": 1.0})
    assert crf.load_or_train(TRAIN, NLP.make_doc, tmp_path) != first

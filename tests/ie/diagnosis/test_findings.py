"""Data that is read and converted, and places that review looks at again."""

from ie.data.records import Record, Span, blank
from ie.diagnosis.findings import Suspect, to_docbin


def test_converted_corpus_loses_what_no_converter_can_keep() -> None:
    rows = [
        Record(text="Velto sold it", spans=[Span(start=0, end=5, label="X"), Span(start=7, end=9, label="X")])
    ]
    (doc,) = to_docbin(rows, blank("en")).get_docs(blank("en").vocab)
    assert [ent.text for ent in doc.ents] == ["Velto"]


def test_a_string_that_is_not_annotated_says_how_many_others_are() -> None:
    record = Record(text="Velto sold it")
    suspect = Suspect(record, 0, 5, None, "X", 2 / 3, others=3)
    assert suspect.line() == f'{record.id}: "Velto" isn\'t annotated; 2 of its 3 other occurrences are'

"""What benchmark-documents measures by."""

import pytest
from benchmarks import documents, rendering
from document_files import need_pdf

from ie.data.documents.collection import DocumentSettings, read_documents
from ie.data.records import Record, Span

need_pdf()
TEXTS = ["Hooli raised $5m & more_in *one* round <b>today</b>.", "1. Acme, of the U.S., paid #2 € 3."]


@pytest.mark.parametrize("name", [name for name in rendering.FORMATS if "PDF" not in name])
def test_texts_come_back_as_they_were(name, tmp_path):
    suffix, write = rendering.FORMATS[name]
    write(tmp_path / f"000{suffix}", TEXTS)
    read = read_documents(tmp_path, DocumentSettings(min_chars=0)).records
    gold = [Record(text=text) for text in TEXTS]
    assert documents.kept(gold, read) == [True, True]


@pytest.mark.parametrize("columns", [1, 2])
def test_they_come_back_from_pdf_as_well_and_boxes_hold_their_words(columns, tmp_path):
    pytest.importorskip("fpdf", reason="tests/benchmarks/requirements.txt isn't installed")
    texts = [
        f"{text} Something revolutionising followed, and {n} people saw it."
        for n, text in enumerate(TEXTS * 6)
    ]
    rendering.pdf(tmp_path / "000.pdf", texts, columns)
    read = read_documents(tmp_path, DocumentSettings(min_chars=0)).records
    assert all(documents.kept([Record(text=text) for text in texts], read))
    for record in read:
        record.spans = [Span(start=0, end=len(record.text) // 2, label="X")]
        assert documents.boxes_right(record) == [True]


def test_spans_are_counted_in_the_original_texts():
    gold = [Record(text="Hooli raised $5m."), Record(text="Acme paid.")]
    read = [
        Record(text="Title", spans=[Span(start=0, end=5, label="A")]),
        Record(
            text="Hooli raised $5m. Acme paid.",
            spans=[Span(start=13, end=16, label="B"), Span(start=18, end=22, label="A")],
        ),
    ]
    first, second = documents.mapped(gold, read)
    assert [(s.start, s.end, s.label) for s in first.spans] == [(13, 16, "B")]
    assert [(s.start, s.end, s.label) for s in second.spans] == [(0, 4, "A")]

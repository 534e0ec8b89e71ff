"""Texts of documents: their size, where they stand, and folders of documents, of which some can't be read."""

import sys
from pathlib import Path
from subprocess import Popen
from types import ModuleType, SimpleNamespace

import pytest
from document_files import column, make_docx, make_pdf, need_pdf, paragraph
from hypothesis import given, settings
from hypothesis import strategies as st

from ie.core.errors import UserError
from ie.data.documents import docling
from ie.data.documents.blocks import Block, Content, Limits, UnreadableDocument
from ie.data.documents.collection import DocumentSettings, is_documents, read_documents
from ie.data.documents.cutting import cut
from ie.data.documents.places import boxes, place
from ie.data.documents.process import DocumentProcess
from ie.data.records import Record

need_pdf()
SMALL = DocumentSettings(min_chars=0)
KINDS = st.sampled_from(["paragraph", "heading", "item", "row"])
TEXTS = st.text("ab .!。", min_size=1, max_size=60).map(lambda text: " ".join(text.split())).filter(bool)


class TestCut:
    @settings(max_examples=50, deadline=None)
    @given(
        st.lists(st.tuples(TEXTS, KINDS), min_size=1, max_size=12), st.integers(0, 40), st.integers(10, 60)
    )
    def test_nothing_is_lost_and_no_text_is_too_long(self, parts, min_chars, max_chars):
        blocks = [Block(text, kind, number) for number, (text, kind) in enumerate(parts, start=1)]
        pieces = list(cut(Content(blocks), min_chars, max_chars))
        assert "".join("".join(piece.text.split()) for piece in pieces) == "".join(
            "".join(text.split()) for text, _ in parts
        )
        assert max(len(piece.text) for piece in pieces) <= max_chars
        assert [piece.meta["paragraphs"][0] for piece in pieces] == sorted(
            p.meta["paragraphs"][0] for p in pieces
        )

    def test_headings_stay_with_their_text(self):
        kinds = [
            ("Title", "heading"),
            ("One two.", "paragraph"),
            ("Three.", "paragraph"),
            ("Next", "heading"),
        ]
        blocks = [Block(text, kind) for text, kind in [*kinds, ("Four.", "paragraph")]]
        assert [piece.text for piece in cut(Content(blocks), 100, 1000)] == [
            "Title One two. Three.",
            "Next Four.",
        ]
        assert [piece.text for piece in cut(Content(blocks[1:3]), 0, 1000)] == ["One two.", "Three."]

    def test_without_a_least_size_every_block_is_a_text(self):
        blocks = [Block("Title", "heading"), Block("One.", "item"), Block("Two.", "item")]
        assert [piece.text for piece in cut(Content(blocks), 0, 1000)] == ["Title", "One.", "Two."]
        assert [piece.text for piece in cut(Content(blocks), 100, 1000)] == ["Title\nOne.\nTwo."]

    def test_long_paragraphs_are_divided_at_sentences(self):
        [first, second] = cut(Content([Block("One two three. Four five six seven.")]), 0, 25)
        assert (first.text, second.text) == ("One two three.", "Four five six seven.")

    def test_places_move_with_the_words(self):
        lines = [[0, 3, 1, 10, 20, [5, 30]], [4, 14, 2, 10, 20, [5, 30, 40, 90]]]
        blocks = [Block("Head", "heading"), Block("One two. three", pages=[1, 2], lines=lines)]
        [text] = cut(Content(blocks, {1: (595, 842), 2: (595, 842)}), 100, 1000)
        assert text.meta["pages"] == {"1": [595, 842], "2": [595, 842]}
        start = text.text.index("three")
        assert boxes(text.text, text.meta, start, start + 5) == [(2, 40, 10, 90, 20)]
        assert boxes(text.text, text.meta, 0, 4) == []
        assert boxes(text.text, text.meta, 5, 19) == [(1, 5, 10, 30, 20), (2, 5, 10, 90, 20)]


def test_places_as_people_read_them():
    meta = {"file": "a/report.pdf", "pages": {"3": [1, 1], "4": [1, 1]}, "lines": [[0, 5, 4, 1, 2, [1, 2]]]}
    assert place(meta) == "report.pdf, pages 3–4"
    assert (
        place({"file": "a.eml", "part": "b.docx", "paragraphs": [2, 2]})
        == "a.eml, attachment b.docx, paragraph 2"
    )
    assert place({"id": 3}) == ""
    assert (
        Record(text="Hooli", meta={"id": "report.pdf#7", **meta}).title
        == "report.pdf#7 (report.pdf, pages 3–4)"
    )
    assert Record(text="Hooli", meta={"id": 3}).title == "3"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.pdf").write_bytes(make_pdf([column(50, 100, ["Text of a PDF."])]))
    (tmp_path / "sub" / "a.docx").write_bytes(make_docx(paragraph("One.") + paragraph("Two.")))
    (tmp_path / "c.txt").write_text("Plain text.", encoding="utf-8")
    (tmp_path / "scan.pdf").write_bytes(make_pdf([[]]))
    (tmp_path / "table.csv").write_text("a,b", encoding="utf-8")
    (tmp_path / ".hidden.pdf").write_bytes(b"x")
    return tmp_path


def test_a_folder_is_read_and_what_cannot_be_read_is_named(folder):
    texts = read_documents(folder, SMALL)
    assert [record.text for record in texts.records] == ["Text of a PDF.", "Plain text.", "One.", "Two."]
    assert [record.id for record in texts.records] == ["b.pdf#1", "c.txt#1", "sub/a.docx#1", "sub/a.docx#2"]
    assert texts.records[2].meta["file"] == (folder / "sub" / "a.docx").as_posix()
    assert texts.summary() == "3 documents read, 2 set aside"
    scan, table = texts.set_aside
    assert scan.startswith(f"{folder / 'scan.pdf'}: has no text layer")
    assert table.startswith(f"{folder / 'table.csv'}: is no PDF")
    lines = [record.to_line() for record in read_documents(folder, SMALL).records]
    assert lines == [record.to_line() for record in texts.records]


def test_what_counts_as_documents(folder, tmp_path):
    assert is_documents(folder)
    assert is_documents(Path("a.PDF"))
    assert not is_documents(Path("a.jsonl"))
    only_text = tmp_path / "only"
    only_text.mkdir()
    (only_text / "a.txt").write_text("x", encoding="utf-8")
    assert not is_documents(only_text)


def test_nothing_to_read(tmp_path):
    (tmp_path / "scan.pdf").write_bytes(make_pdf([[]]))
    with pytest.raises(
        UserError, match=r"there is no document in it that can be read .*scan\.pdf: has no text"
    ):
        read_documents(tmp_path, SMALL)
    with pytest.raises(UserError, match="there is no such file or folder"):
        read_documents(tmp_path / "no", SMALL)


def test_a_parser_that_hangs_or_crashes_stops_one_file_only(folder, monkeypatch):
    real, programs = (
        Popen.__init__,
        ["import time; time.sleep(60)", "import sys; sys.stdin.readline(); sys.exit(1)"],
    )

    def start(self: Popen, command: list[str], **options: object) -> None:
        real(self, [sys.executable, "-c", programs.pop(0)] if programs else command, **options)

    monkeypatch.setattr(Popen, "__init__", start)
    with DocumentProcess(Limits(), 1) as process:
        with pytest.raises(UnreadableDocument, match="took more than 1 seconds"):
            process.read(folder / "b.pdf")
        with pytest.raises(UnreadableDocument, match="makes its parser crash"):
            process.read(folder / "b.pdf")
        process._seconds = 60
        assert process.read(folder / "b.pdf").blocks[0].text == "Text of a PDF."


def test_docling_gives_the_same_kind_of_blocks(monkeypatch, tmp_path):
    def item(label: str, text: str, **more: object) -> tuple[SimpleNamespace, int]:
        return SimpleNamespace(label=label, text=text, prov=[SimpleNamespace(page_no=2)], **more), 0

    header, data = (
        SimpleNamespace(text="Company", column_header=True),
        SimpleNamespace(text="Hooli", column_header=False),
    )
    table = item("table", "", data=SimpleNamespace(grid=[[header], [data]]))
    items = [item("page_header", "x"), item("section_header", "Deals"), item("text", "A  text."), table]
    document = SimpleNamespace(
        pages={2: SimpleNamespace(size=SimpleNamespace(width=595.0, height=842.0))},
        iterate_items=lambda: items,
    )

    class DocumentConverter:
        def convert(self, path: Path) -> SimpleNamespace:
            return SimpleNamespace(document=document)

    module = ModuleType("docling.document_converter")
    module.DocumentConverter = DocumentConverter
    monkeypatch.setitem(sys.modules, "docling", ModuleType("docling"))
    monkeypatch.setitem(sys.modules, "docling.document_converter", module)
    content = docling.read(tmp_path / "a.pdf")
    assert [(block.kind, block.text, block.pages) for block in content.blocks] == [
        ("heading", "Deals", [2]),
        ("paragraph", "A text.", [2]),
        ("row", "Company: Hooli", [2]),
    ]
    assert content.sizes == {2: (595.0, 842.0)}


def test_docling_that_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "docling.document_converter", None)
    with pytest.raises(UnreadableDocument, match="needs docling"):
        docling.read(tmp_path / "a.pdf")

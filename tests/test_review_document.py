"""Review and explore show the page of the document that a text is from, with a box around each span."""

import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from document_files import column, make_pdf, need_pdf
from review_page import Server, make_project, press, span
from running import ROOT, write_lines

from ie.core.errors import RequestError
from ie.data.documents.collection import DocumentSettings, read_documents
from ie.data.documents.pictures import PagePictures, document_view
from ie.data.records import Record, blank, write_records
from ie.database import document_rows, writer
from ie.database.schema import Columns

need_pdf()
LINES = ["Hooli raised about $5m from investors that it", "did not name, and ACME Ventures led the round."]


@pytest.fixture
def record(tmp_path: Path) -> Record:
    (tmp_path / "deal.pdf").write_bytes(make_pdf([column(60, 100, LINES, size=12, step=15)]))
    [record] = read_documents(tmp_path / "deal.pdf", DocumentSettings()).records
    return record


@pytest.fixture
def pictures() -> Iterator[PagePictures]:
    made = PagePictures()
    yield made
    made.close()


def test_pictures_are_kept_and_only_of_the_same_file(record: Record, pictures: PagePictures) -> None:
    file = Path(record.meta["file"])
    first = pictures.get(record.meta, "1")
    assert first.startswith(b"\x89PNG")
    assert pictures.get(record.meta, "1") is first
    with pytest.raises(RequestError, match="There is no picture of that page"):
        pictures.get(record.meta, "2")
    with pytest.raises(RequestError, match="There is no picture"):
        pictures.get({"file": "/etc/passwd"}, "1")
    file.write_bytes(make_pdf([column(60, 100, LINES[:1])]))
    with pytest.raises(RequestError, match=r"deal\.pdf has changed since its texts were read"):
        pictures.get(record.meta, "1")
    file.unlink()
    with pytest.raises(RequestError, match=r"deal\.pdf isn't there any more"):
        pictures.get(record.meta, "1")


def test_texts_from_no_document_have_no_place() -> None:
    assert document_view("Hooli", {"id": 1}, [(0, 5)]) == {}
    view = document_view("Hooli", {"file": "a.docx", "paragraphs": [1, 2]}, [(0, 5)])
    assert view == {"place": "a.docx, paragraphs 1–2", "pages": {}, "boxes": []}


@pytest.fixture
def server(tmp_path: Path, record: Record) -> Iterator[Server]:
    make_project(tmp_path)
    write_records(tmp_path / "texts.jsonl", [record])
    spans = [span(record.text, "Hooli", "COMPANY"), span(record.text, "ACME Ventures", "COMPANY")]
    write_lines(tmp_path / "llm.jsonl", [{"text": record.text, "spans": spans}])
    write_lines(tmp_path / "rules.jsonl", [{"text": "x"}])
    started = Server(tmp_path)
    yield started
    started.stop()


def box_of(page: object, n: int) -> tuple[float, float, float, float]:
    """A box over the picture: left, top, width, height as shares of the page."""
    return page.evaluate(
        """n => {
          const box = document.querySelectorAll(".pages .box")[n].getBoundingClientRect();
          const page = document.querySelector(".pages figure").getBoundingClientRect();
          return [(box.left - page.left) / page.width, (box.top - page.top) / page.height,
                  box.width / page.width, box.height / page.height];
        }""",
        n,
    )


def test_the_page_is_shown_with_the_spans_on_it(server: Server, browse: Callable, record: Record) -> None:
    page = browse(f"{server.url}&annotator=ann", "#task:not([hidden])")
    assert page.locator("#document-place").inner_text() == "deal.pdf, page 1"
    assert page.locator(".pages img").count() == 0  # nothing is loaded before it is wanted
    press(page, "v")
    page.wait_for_selector(".pages figure.loaded", timeout=60_000)
    assert page.locator(".pages .box").count() == 2
    left, top, width, height = box_of(page, 0)
    assert left == pytest.approx(60 / 595, abs=0.005)
    assert top == pytest.approx(99 / 842, abs=0.01)
    assert (width, height) == (pytest.approx(32 / 595, abs=0.01), pytest.approx(14 / 842, abs=0.01))
    press(page, "n")
    assert page.locator(".pages .box.chosen").count() == 1
    press(page, "Home ArrowRight Shift+ArrowRight")  # a selection has a box as well
    assert page.locator(".pages .box").count() == 3
    press(page, "v")
    assert not page.locator(".pages").is_visible()


def test_a_document_that_is_gone_is_named(server: Server, browse: Callable, record: Record) -> None:
    Path(record.meta["file"]).unlink()
    page = browse(f"{server.url}&annotator=ann", "#task:not([hidden])")
    press(page, "v")
    page.wait_for_selector(".pages .missing")
    assert "deal.pdf isn't there any more" in page.locator(".pages .missing").inner_text()


def test_explore_shows_it_too(tmp_path: Path, browse: Callable, record: Record) -> None:
    gold = record.model_copy(update={"spans": []})
    gold = Record(text=record.text, meta=record.meta, spans=[span(record.text, "Hooli", "COMPANY")])
    nlp, database = blank("en"), tmp_path / "d.db"
    source = writer.AnnotationSource(
        "gold", "", [], "", lambda records: document_rows.annotations_from_gold(records, nlp), gold=True
    )
    writer.update(database, [gold], source, Columns(), [])
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM mentions").fetchone() == (1,)
    shutil.copy(ROOT / "configs" / "ask.cfg", tmp_path / "ask.cfg")
    write_lines(tmp_path / "questions.jsonl", [])
    command = [sys.executable, "-u", ROOT / "scripts" / "explore.py", "--database", database, "--port", "0"]
    command += ["--cache", tmp_path / "cache"]
    process = subprocess.Popen(
        [*map(str, command)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        output = ""
        for line in process.stdout:
            output += line
            if address := re.search(r"http://localhost:\d+/\?token=\S+", line):
                break
        else:
            raise AssertionError(output)
        page = browse(address[0], "body[data-ready]")
        page.evaluate("location.hash = 'name=Hooli'")
        page.evaluate("dispatchEvent(new PopStateEvent('popstate'))")
        page.locator("#mentions summary").click()
        assert page.locator("#mentions summary").inner_text() == "deal.pdf, page 1"
        page.wait_for_selector(".pages figure.loaded", timeout=60_000)
        assert page.locator(".pages .box").count() == 1
        assert box_of(page, 0)[0] == pytest.approx(60 / 595, abs=0.005)
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()

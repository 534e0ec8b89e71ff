"""The question "Is this row right?" as people use it: the real command, a real browser, keys and buttons."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from review_page import DEAL, Server, make_project, press, span
from running import write_lines

from ie.data.records import read_records

SECOND = "Corda raised $9m for lanterns."


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    make_project(tmp_path, independent=False)
    spans = [
        span(DEAL, "Hooli", "COMPANY", kb_id="12", name="Hooli Holdings"),
        span(DEAL, "$5m", "MONEY", value="5000000 USD"),
        span(DEAL, "ACME Ventures", "COMPANY"),
    ]
    relations = [
        {"head": 2, "child": 1, "label": "RAISED", "row_confidence": 0.31},
        {"head": 0, "child": 1, "label": "RAISED", "row_confidence": 0.8},
    ]
    lines = [{"text": DEAL, "spans": spans, "relations": relations, "unsure": [0, 1], "why": "2 of 2 rows"}]
    spans = [span(SECOND, "Corda", "COMPANY"), span(SECOND, "$9m", "MONEY")]
    relations = [{"head": 0, "child": 1, "label": "RAISED"}]
    lines += [{"text": SECOND, "spans": spans, "relations": relations, "unsure": [0], "why": "1 of 1 rows"}]
    folder = tmp_path / "training" / "crf" / "accept"
    folder.mkdir(parents=True)
    write_lines(folder / "unsure.jsonl", lines)
    started = Server(tmp_path, 0, "--select", "unsure", "--config", "crf")
    yield started
    started.stop()


@pytest.fixture
def open_page(browse: Callable, server: Server) -> Callable:
    return lambda **more: browse(server.url, "#row:not([hidden])", **more)


def answer(page: object, key: str) -> None:
    with page.expect_response(lambda response: "/api/answer" in response.url) as answered:
        page.keyboard.press(key)
    assert answered.value.ok, answered.value.text()
    page.locator("#reject:enabled:visible, #empty:visible").wait_for()


def row(page: object) -> list[str]:
    return [cell.inner_text().replace("\n", " ") for cell in page.locator("#row td").all()]


def test_rows_by_keys_alone(server: Server, open_page: Callable) -> None:
    page = open_page()
    assert page.locator("#question").text_content() == "Is this row right?"
    assert page.locator("#place").text_content() == "Row 1 of 2 in this text"
    assert row(page) == ["ACME Ventures", "RAISED →", "$5m USD 5,000,000"]
    assert page.locator("#sure").text_content() == "Confidence 0.31: of 100 rows like it, about 31 are right."
    assert page.locator("#text mark:not(.context)").count() == 2
    answer(page, "n")
    assert row(page)[0] == "Hooli Hooli Holdings (12)"
    press(page, "u")
    page.get_by_text("Answered before: Row 1 of 2").wait_for()
    answer(page, "d")
    answer(page, "y")
    # the spans of the right row are kept, so Y goes to the others alone
    assert page.locator("#question").text_content() == "Mark every COMPANY"
    assert page.locator("#marks [aria-pressed=true]").count() == 1
    for key in "aaa":
        answer(page, key)
    assert page.locator("#categories").is_visible()
    press(page, "1")
    answer(page, "a")
    (record,) = read_records(server.folder / "reviewed.jsonl")
    assert [(r.head, r.child) for r in record.relations] == [(0, 1)]
    assert [getattr(s, "kb_id", None) or getattr(s, "value", None) for s in record.spans] == [
        "12",
        "5000000 USD",
        None,
    ]
    assert row(page)[0] == "Corda"
    assert page.locator("#sure").text_content() == "This row has no calibrated confidence."


def test_correct_it_opens_the_questions_of_the_text(server: Server, open_page: Callable) -> None:
    page = open_page()
    page.get_by_role("button", name="Correct it").click()
    page.get_by_text("Mark every COMPANY").wait_for()
    assert page.locator("#row").is_hidden()
    assert page.locator("#marks .what").all_inner_texts() == ["Hooli", "ACME Ventures"]
    answer(page, "a")
    answer(page, "a")
    assert page.locator("#marks li").count() == 2
    # of a finished text too
    answer(page, "a")
    press(page, "1")
    answer(page, "a")
    for _ in range(5):
        with page.expect_response(lambda response: "/api/back" in response.url):
            page.keyboard.press("u")
    page.get_by_text("Answered before: Row 1 of 2").wait_for()
    answer(page, "c")
    assert page.locator("#place").text_content().startswith("Answered before: ")
    assert page.locator("#question").text_content() == "Mark every COMPANY"


def test_other_keys_do_no_harm_to_a_row(open_page: Callable) -> None:
    page = open_page()
    before = row(page)
    press(page, "w e m o r p l Shift+L 1 9 ArrowRight Shift+ArrowLeft ArrowDown Home End Escape g g")
    assert row(page) == before
    assert page.locator("#question").text_content() == "Is this row right?"
    assert page.locator("#accept").is_hidden()
    assert page.locator("#annotation").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility_of_rows(open_page: Callable, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = open_page(color_scheme=scheme, bypass_csp=True)
    found = axe.run(page)
    assert found.violations_count == 0, found.generate_report()


def test_a_row_fits_on_a_phone(open_page: Callable) -> None:
    page = open_page()
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400

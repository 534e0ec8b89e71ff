"""The review page in scripts from right to left and without spaces: what is seen and marked."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from review_page import accept, make_project, press
from running import ROOT, data_config, write_lines

from ie.data.records import read_records

ARABIC = "NileSoft هي شركة اشترت مدار للتقنية مقابل ٣٫٥ مليون دولار."
CHINESE = "星河科技以3.5亿元收购云帆软件。"
GAPS = """() => [...document.querySelectorAll("#text mark")].map((mark) => {
  const words = [...mark.querySelectorAll(".w")].map((word) => word.getBoundingClientRect());
  const tag = mark.querySelector(".tag").getBoundingClientRect();
  const rtl = getComputedStyle(document.getElementById("text")).direction === "rtl";
  return rtl ? words.at(-1).left - tag.right : tag.left - words.at(-1).right;
})"""


@pytest.fixture
def page_of(tmp_path: Path, open_review: Callable) -> Callable:
    """Opens the review page of texts in a language."""

    def open_page(lang: str, texts: list[str], suggested: list[dict]) -> object:
        make_project(tmp_path)
        write_lines(tmp_path / "texts.jsonl", [{"text": text} for text in texts])
        write_lines(tmp_path / "llm.jsonl", suggested)
        data_config(tmp_path / "data.cfg", lang=lang)
        return open_review(tmp_path)

    return open_page


def answered(folder: Path, text: str) -> list[str]:
    """The parts of the text that are marked in the last answer."""
    *_, last = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    answer = json.loads(last)
    return [text[start:end] for start, end, _ in answer["spans"]]


def test_arabic_runs_from_right_to_left_even_after_a_foreign_name(tmp_path: Path, page_of: Callable) -> None:
    page = page_of("ar", [ARABIC], [])
    assert page.evaluate("getComputedStyle(document.getElementById('text')).direction") == "rtl"
    first, second = (page.locator(f"#text .w[data-i='{i}']").bounding_box() for i in (0, 1))
    assert first["x"] > second["x"]
    # to the left is onward: over four words to the name, and one more into it
    press(page, "ArrowLeft ArrowLeft ArrowLeft ArrowLeft Shift+ArrowLeft m")
    assert page.locator("#text mark").text_content().startswith("مدار للتقنية")
    assert all(gap >= 3 for gap in page.evaluate(GAPS)), "the label keeps its distance from the name"
    accept(page)
    assert answered(tmp_path, ARABIC) == ["مدار للتقنية"]


def test_characters_are_selected_where_there_are_no_spaces(tmp_path: Path, page_of: Callable) -> None:
    page = page_of("zh", [CHINESE], [])
    press(page, "Shift+ArrowRight Shift+ArrowRight Shift+ArrowRight m")
    assert page.locator("#text mark").text_content().startswith("星河科技")
    # with the mouse, over four characters
    start, end = (page.locator(f"#text .w[data-i='{i}']").bounding_box() for i in (12, 15))
    page.mouse.move(start["x"] + 2, start["y"] + start["height"] / 2)
    page.mouse.down()
    page.mouse.move(end["x"] + end["width"] - 2, end["y"] + end["height"] / 2, steps=4)
    page.mouse.up()
    accept(page)
    assert answered(tmp_path, CHINESE) == ["星河科技", "云帆软件"]


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("lang", ["de", "ar", "zh"])
def test_spans_fit_the_page(lang: str, width: int, page_of: Callable) -> None:
    records = read_records(ROOT / f"tests/languages/{lang}.jsonl")[:3]
    lines = [{"text": r.text, "spans": [s.model_dump() for s in r.spans]} for r in records]
    page = page_of(lang, [record.text for record in records], lines)
    page.set_viewport_size({"width": width, "height": 900})
    for record in records:
        names = sum(span.label == "COMPANY" for span in record.spans)
        assert page.locator("#text mark:not(.context)").count() == names
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert all(gap >= 3 for gap in page.evaluate(GAPS) if gap > -50)
        accept(page, "x")

"""The review page where spans may overlap: how they are drawn, selected and corrected."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from review_page import accept, make_project, press
from running import data_config, scheme, write_lines

from ie.data.records import Record, read_records

SCHEME = scheme("ORG", "GPE", "PERSON", relations=["PART_OF"]).replace(
    'labels = ["ORG"', 'overlapping = true\nlabels = ["ORG"'
)
BANK = "The Bank of England Museum in London opened."
LONG = f"{BANK} " * 3 + "The Bank of England Museum is part of the Bank of England."
ARABIC = "أعلن بنك مصر المركزي في القاهرة عن Cairo Bank خطة جديدة."
CHINESE = "北京大学第一医院位于北京市西城区。"


def marks(text: str, *parts: tuple[str, str]) -> list[dict]:
    """The first occurrence of each part as a span."""
    places = [(text.index(part), part, label) for part, label in parts]
    return [{"start": start, "end": start + len(part), "label": label} for start, part, label in places]


NESTED = [
    ("Bank of England Museum", "ORG"),
    ("Bank of England", "ORG"),
    ("England", "GPE"),
    ("London", "GPE"),
]


@pytest.fixture
def open_page(tmp_path: Path, open_review: Callable) -> Callable:
    """Opens the review page of suggested records, with all labels at once."""

    def open_page(*suggested: dict, lang: str = "en", mode: str = "all labels") -> object:
        make_project(tmp_path, independent=False)
        write_lines(tmp_path / "texts.jsonl", [{"text": record["text"]} for record in suggested])
        write_lines(tmp_path / "llm.jsonl", suggested)
        write_lines(tmp_path / "rules.jsonl", [{"text": "x"}])
        (tmp_path / "llm.cfg").write_text(SCHEME, encoding="utf-8")
        settings = (tmp_path / "review.cfg").read_text("utf-8").replace("one label", mode)
        (tmp_path / "review.cfg").write_text(settings, encoding="utf-8")
        data_config(tmp_path / "data.cfg", lang=lang)
        return open_review(tmp_path)

    return open_page


def rows(page: object) -> list[tuple[str, str]]:
    """The rows of the list: text, label."""
    return [
        (row.locator(".what").inner_text(), row.locator(".chip").inner_text())
        for row in page.locator("#marks li").all()
    ]


def chosen(page: object) -> tuple[str, str]:
    """The selected span as it is marked in the text, and the label of its bar."""
    words = "".join(page.locator("#text .of").all_text_contents())
    labels = page.locator("#text .lane.chosen .lane-label").all_text_contents()
    row = page.locator("#marks li.chosen")
    assert (row.locator(".what").inner_text(), row.locator(".chip").inner_text()) == (words, labels[0])
    return words, labels[0]


def click(page: object, word: str, number: int = 0) -> None:
    page.locator("#text .w", has_text=word).nth(number).click()


def answered(folder: Path) -> dict:
    *_, last = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return json.loads(last)


def gold(folder: Path) -> list[Record]:
    return read_records(folder / "reviewed.jsonl")


def shown(record: Record) -> list[tuple[str, str]]:
    return [(record.text[s.start : s.end], s.label) for s in record.spans]


def suggested(text: str, *parts: tuple[str, str], **more: object) -> dict:
    return {"text": text, "spans": marks(text, *parts)} | more


def test_keys_select_label_and_delete_one_span_of_several(tmp_path: Path, open_page: Callable) -> None:
    page = open_page(suggested(BANK, *NESTED))
    assert rows(page) == NESTED  # an outer span before those in it
    for span in NESTED:
        press(page, "n")
        assert chosen(page) == span
    press(page, "p c")
    assert chosen(page) == ("England", "PERSON")
    press(page, "p d")
    assert rows(page) == [NESTED[0], ("England", "PERSON"), NESTED[3]]
    accept(page)
    assert sorted(answered(tmp_path)["spans"]) == [[4, 26, "ORG"], [12, 19, "PERSON"], [30, 36, "GPE"]]


def test_words_within_a_span_are_marked_and_a_span_gets_a_second_label(
    tmp_path: Path, open_page: Callable
) -> None:
    page = open_page(suggested(BANK, NESTED[0]))
    press(page, "Home ArrowRight ArrowRight ArrowRight")
    assert page.locator("#text .of").count() == 0, "the arrows select words, not the span around them"
    press(page, "2")
    assert chosen(page) == ("England", "GPE")
    press(page, "Home ArrowRight Shift+ArrowRight Shift+ArrowRight 1")
    assert rows(page) == NESTED[:3]
    press(page, "Shift+Digit3")
    assert rows(page) == [*NESTED[:2], ("Bank of England", "PERSON"), NESTED[2]]
    assert chosen(page) == ("Bank of England", "PERSON")
    # no label twice: neither by a number, nor marked again, nor by going through the labels
    press(page, "1")
    assert "already ORG" in page.locator("#live").text_content()
    press(page, "Home ArrowRight Shift+ArrowRight Shift+ArrowRight 1")
    assert "already ORG" in page.locator("#live").text_content()
    press(page, "c")
    assert [label for words, label in rows(page) if words == "Bank of England"] == ["GPE", "PERSON"]
    press(page, "m")  # gives the selected span the label of before as well
    assert [label for words, label in rows(page) if words == "Bank of England"] == ["GPE", "ORG", "PERSON"]
    press(page, "Home ArrowRight ArrowRight n")
    assert chosen(page)[0] == "Bank of England", "N takes the innermost span at the cursor"
    accept(page)
    assert len(answered(tmp_path)["spans"]) == 5
    press(page, "u")
    page.get_by_text("Answered before").wait_for()
    assert len(rows(page)) == 5


def test_a_click_selects_the_innermost_span_and_the_next_click_the_one_around_it(
    tmp_path: Path, open_page: Callable
) -> None:
    page = open_page(suggested(BANK, *NESTED))
    for span in (NESTED[2], NESTED[1], NESTED[0]):
        click(page, "England")
        assert chosen(page) == span
    click(page, "England")
    assert page.locator("#text .of").count() == 0
    click(page, "England")
    assert chosen(page) == ("England", "ORG"), "the last click selects the word, and the next one marks it"
    assert rows(page)[2:4] == [NESTED[2], ("England", "ORG")]
    press(page, "d")
    click(page, "Museum")
    assert chosen(page) == NESTED[0]
    page.locator("#text .lane", has_text="GPE").first.click()  # its bar selects a span at once
    assert chosen(page) == NESTED[2]
    # words that are dragged over are marked, and nothing is replaced
    page.locator("#text .w", has_text="England").drag_to(page.locator("#text .w", has_text="Museum"))
    assert chosen(page) == ("England Museum", "ORG")
    assert len(rows(page)) == 5
    click(page, "opened")
    assert chosen(page) == ("opened", "ORG")


def test_every_occurrence_is_marked_where_the_same_span_is_missing(
    tmp_path: Path, open_page: Callable
) -> None:
    text = "Bank of England and Bank of England in England. So so so so."
    page = open_page(suggested(text, ("Bank of England", "ORG"), ("England", "GPE")))
    press(page, "n n e")
    assert rows(page).count(("England", "GPE")) == 3
    press(page, "p e")
    assert rows(page).count(("Bank of England", "ORG")) == 2
    press(page, "e")
    assert "no other occurrence" in page.locator("#live").text_content()
    assert len(rows(page)) == 5
    # an occurrence doesn't overlap another one
    press(page, "End ArrowLeft ArrowLeft ArrowLeft ArrowLeft Shift+ArrowRight 1 e")
    assert len(rows(page)) == 7


def test_w_goes_to_names_inside_of_spans(open_page: Callable) -> None:
    page = open_page(suggested(BANK, NESTED[0], NESTED[3]))
    seen = []
    for _ in range(4):
        press(page, "w")
        seen.append("".join(page.locator("#text .sel, #text .cur").all_text_contents()))
    assert seen == ["The Bank", "Bank", "England Museum", "England Museum"]  # London is marked exactly


def test_one_label_at_a_time_keeps_the_others(tmp_path: Path, open_page: Callable) -> None:
    page = open_page(suggested(BANK, *NESTED), mode="one label")
    assert rows(page) == NESTED[:2]
    accept(page)
    assert rows(page) == NESTED[2:]
    assert page.locator("#text .lane.context").all_inner_texts() == ["ORG", "ORG"]
    press(page, "n d")
    click(page, "Bank")
    press(page, "m")  # another label for the words of a span that this question isn't about
    assert rows(page) == [("Bank of England", "GPE"), NESTED[3]]
    accept(page)
    assert [label for *_, label in answered(tmp_path)["spans"]] == ["GPE", "ORG", "ORG", "GPE"]


def test_relations_join_spans_inside_of_others_and_of_the_same_words(
    tmp_path: Path, open_page: Callable
) -> None:
    page = open_page(suggested(BANK, *NESTED, ("London", "ORG")))
    accept(page)
    page.get_by_text("Draw every PART_OF").wait_for()

    def drawn() -> list[str]:
        return page.locator("#marks .what").all_inner_texts()

    click(page, "England")
    click(page, "England")  # rather the span around it
    click(page, "Museum")
    assert drawn() == ["Bank of England PART_OF → Bank of England Museum"]
    # by its bar: the second of two labels for the same words
    page.locator("#text .lane", has_text="ORG").last.click()
    click(page, "London")
    accept(page)
    (record,) = gold(tmp_path)
    joined = [
        tuple((record.text[s.start : s.end], s.label) for s in (record.spans[r.head], record.spans[r.child]))
        for r in record.relations
    ]
    assert joined == [(NESTED[1], NESTED[0]), (("London", "ORG"), ("London", "GPE"))]


# What the bars of the text cover, and which of them touch each other.
GEOMETRY = """() => {
  const box = document.getElementById("text");
  const rects = (node) => [...node.getClientRects()].filter((r) => r.width > 0);
  const before = (a, b, from, to) => a[from] < b[to] - 0.5;
  const meet = (a, b) => before(a, b, "left", "right") && before(b, a, "left", "right")
    && before(a, b, "top", "bottom") && before(b, a, "top", "bottom");
  const bars = [...box.querySelectorAll(".lane")];
  const parts = bars.map((bar) => [bar, ...bar.children].flatMap(rects));
  const characters = [...box.querySelectorAll(".w")].flatMap((word) => {
    const range = document.createRange();
    range.selectNodeContents(word.firstChild);
    return rects(range);
  });
  const edges = box.getBoundingClientRect();
  return {
    spans: new Set(bars.map((bar) => bar.dataset.span)).size,
    touching: parts.flatMap((one, i) => parts.slice(i + 1)
      .filter((other) => one.some((a) => other.some((b) => meet(a, b))))).length,
    covered: characters.filter((c) => parts.flat().some((part) => meet(part, c))).length,
    outside: parts.flat().filter((part) => part.left < edges.left || part.right > edges.right).length,
    below: parts.flat().every((part) => part.bottom - edges.top + box.scrollTop <= box.scrollHeight),
  };
}"""
CROSSING = ("Museum in London opened. The Bank of England Museum in London", "PERSON")
DRAWN = {
    "en": suggested(LONG, *NESTED, CROSSING, ("London", "ORG"), ("London", "PERSON")),
    "ar": suggested(
        ARABIC,
        *(("بنك مصر المركزي في القاهرة عن Cairo Bank", "ORG"), ("بنك مصر المركزي", "ORG"), ("مصر", "GPE")),
        *(("القاهرة عن Cairo", "PERSON"), ("Cairo", "GPE")),
    ),
    "zh": suggested(
        CHINESE,
        *(("北京大学第一医院", "ORG"), ("北京大学", "ORG"), ("北京", "GPE"), ("大学", "PERSON")),
        *(("北京市西城区", "GPE"), ("西城区", "GPE"), ("西城区", "PERSON")),
    ),
}


@pytest.mark.parametrize("lang", DRAWN)
def test_bars_cover_no_word_and_no_other_bar(lang: str, open_page: Callable) -> None:
    page = open_page(DRAWN[lang], lang=lang)
    for width in (1280, 400, 320):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function("() => document.querySelector('#text .lane')")
        for _ in range(3):
            press(page, "n")
            expected = {"spans": len(DRAWN[lang]["spans"]), "touching": 0, "covered": 0, "outside": 0}
            assert page.evaluate(GEOMETRY) == expected | {"below": True}
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_no_two_spans_of_a_lane_share_a_cell(open_page: Callable) -> None:
    chance = random.Random(0)
    cases: list[list[dict]] = []
    for _ in range(300):
        firsts = [chance.randrange(20) for _ in range(chance.randrange(12))]
        ends = [first + 1 + chance.randrange(8) for first in firsts]
        cases.append([{"first": first, "end": end} for first, end in zip(firsts, ends, strict=True)])
    lanes = open_page(suggested(BANK)).evaluate(
        'async (cases) => { const module = await import("/lanes.js"); '
        "return cases.map((spans) => module.assignLanes(spans)); }",
        cases,
    )
    for spans, numbers in zip(cases, lanes, strict=True):
        assert len(numbers) == len(spans)
        pairs = [(a, b) for a in range(len(spans)) for b in range(a)]
        for a, b in pairs:
            one, other = spans[a], spans[b]
            if one["first"] < other["end"] and other["first"] < one["end"]:
                assert numbers[a] != numbers[b]
            sizes = one["end"] - one["first"], other["end"] - other["first"]
            if one["first"] <= other["first"] and other["end"] <= one["end"] and sizes[0] > sizes[1]:
                assert numbers[a] > numbers[b], "an outer span lies below those in it"


def test_what_is_left_out_is_said_in_the_session(open_page: Callable) -> None:
    page = open_page(suggested(BANK))
    page.locator("#session summary").click()
    assert "can't find spans that overlap" in page.locator("#skipped").inner_text()
    press(page, "?")
    assert "add a label to the same words" in page.get_by_role("dialog", name="Keys").inner_text()

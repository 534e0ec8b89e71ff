"""Cells cover the text, never cut what is seen as one character, and give back the offsets they came from."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reviewing import NLP

from ie.review.cells import cells, joined

TEXTS = [
    "Hooli raises $5m to revolutionize search, led by ACME Ventures",
    "Cafe\u0301 Ño\u0303 raised €1.5m",
    "👩\u200d💻 Velto 👍🏽 raised 🇩🇪🇫🇷 5m 🏴\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f.",
    "חברת Hooli גייסה 5 מיליון דולר",
    "شركة فيلتو جمعت ٥ ملايين",
    "हूली ने ५ करोड़ जुटाए",
    "  two  blanks\n\nand lines ",
    "ราคา 5 ล้านบาท",
]
ALPHABET = st.sampled_from(
    [
        *"ab $5.,-'’—\n\t",
        "é",
        "e\u0301",
        "\u0301",
        "👩\u200d💻",
        "\u200d",
        "👍🏽",
        "🇩",
        "🇪",
        "א",
        "\u200f",
        "漢",
        "\ufe0f",
    ]
)


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_are_the_text(text: str) -> None:
    found = cells(text, NLP.tokenizer)
    pieces = found.pieces()
    assert "".join(pieces) == text
    assert len(pieces) == 2 * len(found.starts) + 1
    assert not any(gap.strip() for gap in pieces[::2])
    assert all(cell == cell.strip() != "" for cell in pieces[1::2])


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (TEXTS[1], "Cafe\u0301"),
        (TEXTS[2], "👩\u200d💻"),
        (TEXTS[2], "👍🏽"),
        (TEXTS[2], "🇩🇪"),
        (TEXTS[2], TEXTS[2][-8:-1]),
    ],
)
def test_what_is_seen_as_one_character_is_in_one_cell(text: str, whole: str) -> None:
    start = text.index(whole)
    found = cells(text, NLP.tokenizer)
    assert any(s <= start and start + len(whole) <= e for s, e in zip(found.starts, found.ends, strict=True))


def test_two_flags_are_two() -> None:
    assert cells("🇩🇪🇫🇷", NLP.tokenizer).pieces() == ["", "🇩🇪", "", "🇫🇷", ""]


@settings(max_examples=60, deadline=None)
@given(st.lists(ALPHABET, max_size=25).map("".join), st.data())
def test_offsets_come_back(text: str, data: st.DataObject) -> None:
    found = cells(text, NLP.tokenizer)
    assert "".join(found.pieces()) == text
    n = len(found.starts)
    assert all(not joined(text, e) for e, s in zip(found.ends, found.starts[1:], strict=False) if e == s)
    if not n:
        return
    first = data.draw(st.integers(0, n - 1))
    end = data.draw(st.integers(first + 1, n))
    start, stop = found.offsets(first, end)
    assert found.covering(start, stop) == (first, end)
    # what the browser puts together from its pieces is what the file will say
    assert "".join(found.pieces()[2 * first + 1 : 2 * end]) == text[start:stop]


@settings(max_examples=60, deadline=None)
@given(st.lists(ALPHABET, min_size=1, max_size=25).map("".join), st.data())
def test_any_characters_are_covered_by_the_least_cells(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    found = cells(text, NLP.tokenizer)
    touched = [
        i for i, (s, e) in enumerate(zip(found.starts, found.ends, strict=True)) if s < end and start < e
    ]
    assert found.covering(start, end) == ((touched[0], touched[-1] + 1) if touched else None)


@pytest.mark.parametrize(("first", "end"), [(0, 0), (-1, 1), (2, 1), (0, 99)])
def test_there_are_no_other_cells(first: int, end: int) -> None:
    with pytest.raises(ValueError, match="there are no cells"):
        cells("Hooli raised $5m", NLP.tokenizer).offsets(first, end)

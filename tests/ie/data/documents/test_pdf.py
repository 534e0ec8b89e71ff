"""PDF: reading order, paragraphs, and the places of words; damaged and hostile files are set aside."""

import pytest
from document_files import column, make_pdf, need_pdf
from hypothesis import given, settings
from hypothesis import strategies as st

from ie.data.documents.blocks import Block, Limits, UnreadableDocument
from ie.data.documents.places import boxes

need_pdf()
from ie.data.documents import pdf  # noqa: E402

LEFT = [
    "Hooli raised five million dollars from",
    "several investors in London this week,",
    "said the company on Monday.",
]
RIGHT = [
    "Acme Ventures led the round, which was",
    "larger than planned, and took a seat on",
    "the board of the company.",
]


def read(*pages: list, **options: object) -> list[Block]:
    return pdf.read(make_pdf(pages, **options), Limits()).blocks


def texts(*pages: list, **options: object) -> list[str]:
    return [block.text for block in read(*pages, **options)]


def test_columns_are_read_one_after_the_other_below_a_title():
    # drawn line by line across both columns, as some programs do
    lines = [
        line for pair in zip(column(50, 140, LEFT), column(310, 140, RIGHT), strict=True) for line in pair
    ]
    title = (120, 100, 18, "A title that stands across both columns")
    last = column(
        50,
        190,
        ["This paragraph is as wide as the page, so that it ends both of the columns above, doesn't it?"],
    )
    blocks = read([title, *lines, *last])
    assert [block.kind for block in blocks] == ["heading", "paragraph", "paragraph", "paragraph"]
    assert [block.text for block in blocks[1:3]] == [" ".join(LEFT), " ".join(RIGHT)]


def test_wide_spaces_of_justified_lines_are_no_columns():
    lines = [
        [(50, 0, 10, "on"), (75, 0, 10, "whose"), (118, 0, 10, "behalf")],
        [(50, 12, 10, "they"), (83, 12, 10, "had"), (114, 12, 10, "found")],
        [(50, 24, 10, "most"), (87, 24, 10, "of"), (110, 24, 10, "it")],
    ]
    words = [(x, y + 100, size, text) for line in lines for x, y, size, text in line]
    full = column(50, 136, ["a last line that is full"])
    assert texts([*words, *full]) == ["on whose behalf they had found most of it a last line that is full"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["the revolution-", "ising of search"], "the revolutionising of search"),
        (["a plan of 3-", "year loans"], "a plan of 3-year loans"),
        (["by Anna Müller-", "Lüdenscheidt"], "by Anna Müller-Lüdenscheidt"),
        (["is a well-", "known firm, well-known today"], "is a well-known firm, well-known today"),
        (["their any-", "thing or anything at all"], "their anything or anything at all"),
    ],
)
def test_only_divided_words_lose_their_hyphen(lines, expected):
    assert texts(column(50, 100, lines)) == [expected]


def test_a_word_divided_between_pages():
    pages = [
        column(50, 100, ["Some more text.", "and the revolution-"]),
        column(50, 100, ["ising of search"]),
    ]
    [block] = read(*pages)
    assert block.text == "Some more text. and the revolutionising of search"
    assert block.pages == [1, 2]
    start = block.text.index("revolutionising")
    assert [box[0] for box in boxes(block.text, {"lines": block.lines}, start, start + 15)] == [1, 2]


def test_rows_of_a_table_have_its_headers():
    rows = [
        ("Company", "Amount", "Year"),
        ("Hooli", "$5m", "2024"),
        ("Acme Ventures", "$12m", "2025"),
        ("Initech", "", "2023"),
    ]
    table = [
        (x, 100 + 14 * n, 10, cell)
        for n, row in enumerate(rows)
        for x, cell in zip((50, 200, 300), row, strict=True)
        if cell
    ]
    blocks = read(table)
    assert [block.text for block in blocks] == [
        "Company: Hooli; Amount: $5m; Year: 2024",
        "Company: Acme Ventures; Amount: $12m; Year: 2025",
        "Company: Initech; Year: 2023",
    ]
    assert {block.kind for block in blocks} == {"row"}


def test_a_table_without_headers_keeps_its_first_row():
    rows = [("Name:", "Hooli"), ("City:", "London"), ("Amount:", "$5m")]
    table = [
        (x, 100 + 14 * n, 10, cell)
        for n, row in enumerate(rows)
        for x, cell in zip((50, 200), row, strict=True)
    ]
    assert texts(table) == ["Name: Hooli", "City: London", "Amount: $5m"]


def test_running_headers_and_page_numbers_are_dropped():
    pages = [
        [
            (50, 30, 8, "Annual report 2024"),
            *column(50, 200, [f"Text of page {word}."]),
            (290, 810, 8, f"Page {n} of 3"),
        ]
        for n, word in enumerate(["one", "two", "three"], start=1)
    ]
    assert texts(*pages) == ["Text of page one.", "Text of page two.", "Text of page three."]
    assert texts([*column(50, 200, ["A text."]), (290, 810, 8, "- 1 -")]) == ["A text."]


def test_headings_paragraphs_and_lists():
    page = [
        (50, 100, 16, "Deals of the week"),
        *column(50, 140, ["The first paragraph has a line that is long enough", "and a second one."]),
        *column(50, 180, ["Another paragraph has a line that is long as well,", "and it has its end here."]),
        (50, 220, 10, "•"), (64, 220, 10, "Hooli raised money,"),
        *column(64, 232, ["which is a lot."]),
        (50, 244, 10, "•"), (64, 244, 10, "Acme didn't."),
        (50, 270, 10, "Bold heading", True),
        *column(50, 290, ["Text below it."]),
    ]  # fmt: skip
    blocks = read(page)
    assert [(block.kind, block.text.split()[0]) for block in blocks] == [
        *(("heading", "Deals"), ("paragraph", "The"), ("paragraph", "Another")),
        *(("item", "•"), ("item", "•"), ("heading", "Bold"), ("paragraph", "Text")),
    ]
    assert blocks[3].text == "• Hooli raised money, which is a lot."


WORDS = st.lists(st.text("abcdefgXYZ$0123456789.,-é", min_size=1, max_size=9), min_size=1, max_size=9)


@settings(max_examples=15, deadline=None)
@given(
    lines=st.lists(WORDS, min_size=1, max_size=8),
    columns=st.integers(1, 2),
    rotate=st.sampled_from([0, 90, 270]),
)
def test_the_boxes_of_any_words_hold_them(lines, columns, rotate):
    page = [
        line
        for n in range(columns)
        for line in column(50 + 260 * n, 150, [" ".join(words) for words in lines])
    ]
    data = make_pdf([page], rotate=rotate)
    for block in pdf.read(data, Limits()).blocks:
        meta, at = {"lines": block.lines}, 0
        for word in block.text.split():
            start = block.text.index(word, at)
            at = start + len(word)
            shown = "".join(
                pdf.text_in_box(data, box[0], box[1:]).replace(" ", "")
                for box in boxes(block.text, meta, start, at)
            )
            assert word.replace("-", "").strip(";:") in shown.replace("-", "")


def test_the_same_bytes_give_the_same_blocks():
    data = make_pdf([column(50, 100, LEFT), column(50, 100, RIGHT)])
    assert pdf.read(data, Limits()) == pdf.read(data, Limits())


def refused(data: bytes, limits: Limits = Limits()) -> str:
    with pytest.raises(UnreadableDocument) as error:
        pdf.read(data, limits)
    return str(error.value)


def test_files_that_are_set_aside():
    assert "no text layer" in refused(make_pdf([[], []]))
    assert (
        refused(make_pdf([column(50, 100, LEFT)], encrypted=True))
        == "is encrypted; save it without a password"
    )
    assert refused(b"%PDF-1.4 and nothing more") == "is a damaged PDF (its pages can't be found)"
    assert "has 10,000 pages, more than the 2,000" in refused(make_pdf([[]] * 10_000))


def test_a_page_without_text_is_named():
    content = pdf.read(make_pdf([column(50, 100, LEFT), []]), Limits())
    assert content.notes == ["its pages 2 have no text layer and weren't read"]


def test_a_broken_table_of_objects_is_repaired():
    assert texts(column(50, 100, LEFT), xref=False) == [" ".join(LEFT)]


def test_pictures_of_pages():
    data = make_pdf([column(50, 100, LEFT)])
    assert pdf.picture(data, 1).startswith(b"\x89PNG")
    with pytest.raises(UnreadableDocument, match="has no page 2"):
        pdf.picture(data, 2)

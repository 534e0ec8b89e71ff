"""Paragraphs, headings, list items and table rows from the lines of a PDF, with the place of each word."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from ie.data.documents.blocks import WORD, Block, Kind
from ie.data.documents.layout import Line, Region, Word, is_marker

HEADING_SIZE = 1.15  # relative to the text's
LONGEST_HEADING = 120
NEW_PARAGRAPH = 1.3  # distance of lines, relative to the usual one
INDENT = 0.8  # of a first line, in units of the font size
FULL_LINE = 0.85  # share of a column's width; the last line of a paragraph is often shorter
SENTENCE_END = re.compile(r"[.!?:…。！？؟۔।][\"'”’»)\]]*$")
# Between a line and the next: a space, nothing after its hyphen, or nothing in place of its hyphen.
Ending = Literal["space", "hyphen", "none"]
WORDS = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")


@dataclass(slots=True)
class PlacedLine:
    """A line with its page and the edges of its column."""

    line: Line
    page: int
    region: int
    left: float
    right: float


def blocks(pages: Sequence[Sequence[Region]]) -> list[Block]:
    """The blocks of a document, from the regions of each page."""
    placed = _placed(pages)
    body = [item for item in placed if isinstance(item, PlacedLine)]
    style = _Style(body)
    words = _vocabulary(body)
    result: list[Block] = []
    group: list[PlacedLine] = []

    def finish() -> None:
        if group:
            result.append(_block(group, style.kind(group), words))
            group.clear()

    for item in placed:
        if not isinstance(item, PlacedLine):
            finish()
            result += item
            continue
        if group and not style.continues(group, item):
            finish()
        group.append(item)
    finish()
    return [block for block in result if block.text]


def _placed(pages: Sequence[Sequence[Region]]) -> list[PlacedLine | list[Block]]:
    """All lines in order, with the blocks of tables between them."""
    result: list[PlacedLine | list[Block]] = []
    number = 0
    for page, regions in enumerate(pages, start=1):
        for region in regions:
            number += 1
            if region.rows:
                result.append(list(_table_blocks(region.rows, page)))
                continue
            left = min(line.x0 for line in region.lines)
            right = max(line.x1 for line in region.lines)
            result += [PlacedLine(line, page, number, left, right) for line in region.lines]
    return result


class _Style:
    """What is usual in a document: size of the text, distance of its lines."""

    def __init__(self, lines: Sequence[PlacedLine]) -> None:
        sizes: Counter[float] = Counter()
        bold: Counter[bool] = Counter()
        for item in lines:
            sizes[round(item.line.size, 1)] += len(item.line.text)
            bold[item.line.bold] += len(item.line.text)
        self.size = sizes.most_common(1)[0][0] if sizes else 1.0
        self.bold = bold[True] > bold[False]
        steps: dict[float, list[float]] = {}
        for before, after in pairwise(lines):
            step = after.line.y0 - before.line.y0
            if before.region == after.region and 0 < step < 2.5 * after.line.size:
                steps.setdefault(round(after.line.size), []).append(step)
        # the distance inside paragraphs: a low one, as there may be more between short paragraphs
        self.steps = {size: sorted(values)[len(values) // 10] for size, values in steps.items()}

    def is_heading(self, item: PlacedLine) -> bool:
        """Whether a line is larger than the text, or bold where the text isn't."""
        line = item.line
        if len(line.text) > LONGEST_HEADING or not any(map(str.isalpha, line.text)):
            return False
        if line.size >= HEADING_SIZE * self.size:
            return True
        return line.bold and not self.bold and not line.text.endswith((".", ",", ";"))

    def kind(self, group: Sequence[PlacedLine]) -> Kind:
        if all(map(self.is_heading, group)):
            return "heading"
        return "item" if _has_marker(group[0].line) else "paragraph"

    def continues(self, group: Sequence[PlacedLine], item: PlacedLine) -> bool:
        """Whether a line belongs to the paragraph of the lines before it."""
        last = group[-1]
        heading = self.is_heading(item)
        if heading != self.is_heading(last) or _has_marker(item.line):
            return False
        if item.region != last.region:
            return not heading and self._continues_elsewhere(last, item)
        step = item.line.y0 - last.line.y0
        usual = self.steps.get(round(item.line.size), 1.2 * item.line.size)
        if not 0 < step <= NEW_PARAGRAPH * usual:
            return False
        if heading:
            return abs(item.line.size - last.line.size) < 0.1 * item.line.size
        if _has_marker(group[0].line):
            return item.line.x0 > group[0].line.x0 + 0.3 * item.line.size or not self._ends(last)
        indented = item.line.x0 - last.line.x0 > INDENT * item.line.size
        centred = abs((item.line.x0 + item.line.x1) - (last.line.x0 + last.line.x1)) < item.line.size
        return not (indented and not centred and len(item.line.text) > 20) and not self._ends(last)

    @staticmethod
    def _ends(item: PlacedLine) -> bool:
        """Whether a line is the last one of its paragraph: short, with the end of a sentence."""
        width = item.right - item.left
        is_short = item.line.x1 < item.left + FULL_LINE * width
        return is_short and SENTENCE_END.search(item.line.text) is not None

    def _continues_elsewhere(self, last: PlacedLine, item: PlacedLine) -> bool:
        """Whether a paragraph goes on in the next column or on the next page."""
        if last.line.hyphen:
            return True
        if SENTENCE_END.search(last.line.text) or abs(last.line.size - item.line.size) > 0.1 * last.line.size:
            return False
        first = next(filter(str.isalpha, item.line.text), "")
        return first.islower() or (bool(first) and not first.isupper())


def _has_marker(line: Line) -> bool:
    return len(line.words) > 1 and is_marker(line.words[0].text)


def _vocabulary(lines: Sequence[PlacedLine]) -> set[str]:
    """The words of a document that aren't divided at the end of a line."""
    known: set[str] = set()
    for item in lines:
        found = WORDS.findall(item.line.text.casefold())
        known.update(found[1:-1] if item.line.hyphen else found[1:])
    return known


def _block(group: Sequence[PlacedLine], kind: Kind, known: set[str]) -> Block:
    builder = BlockBuilder(kind)
    for i, item in enumerate(group):
        following = group[i + 1].line.words[0].text if i + 1 < len(group) else ""
        ending = _ending(item.line.words[-1].text, following, known)
        builder.add(item.line.words, item.page, ending)
    return builder.block()


def _ending(last: str, following: str, known: set[str]) -> Ending:
    """What becomes of the end of a line.

    A hyphen divides a word only if a lower-case letter follows it. It is part of the word if the document has
    the word with it elsewhere (`well-known`), or its second half alone but not both halves together.
    """
    if not following or len(last) < 2 or last[-1] not in "-\u2010" or not last[-2].isalnum():
        return "space"
    rest = WORDS.match(following.casefold())
    if not rest or not following[0].islower() or not last[-2].isalpha():
        return "hyphen"
    first = WORDS.findall(last.casefold())[-1]
    if f"{first}{rest[0]}" in known:
        return "none"
    return "hyphen" if f"{first}-{rest[0]}" in known or rest[0] in known else "none"


class BlockBuilder:
    """Joins words to a text and notes where each of them stands."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.text = ""
        self.lines: list[list] = []
        self.pages: list[int] = []
        self.ending: Ending = "space"

    def add(self, words: Sequence[Word], page: int, ending: Ending = "space") -> None:
        """Add the words of a line."""
        joined = self.ending != "space" or self.text[-1:] in ("", " ") or _unspaced(self.text, words)
        self.text += "" if joined else " "
        self.ending = ending
        start = len(self.text)
        xs: list[float] = []
        for i, word in enumerate(words):
            text = word.text[:-1] if ending == "none" and i == len(words) - 1 else word.text
            if not text:
                continue
            self.text += ("" if word.glued or not xs else " ") + text
            xs += [round(word.x0, 1), round(word.x1, 1)]
        if not xs:
            return
        top, bottom = min(word.y0 for word in words), max(word.y1 for word in words)
        self.lines.append([start, len(self.text), page, round(top, 1), round(bottom, 1), xs])
        if page not in self.pages:
            self.pages.append(page)

    def add_text(self, text: str) -> None:
        """Add characters that stand nowhere."""
        self.text += text

    def block(self) -> Block:
        return Block(self.text, self.kind, pages=self.pages, lines=self.lines)


def _unspaced(text: str, words: Sequence[Word]) -> bool:
    """Whether a line goes on in a script without spaces."""
    return len(WORD.findall(f"a{text[-1]}")) > 1 and len(WORD.findall(f"a{words[0].text[0]}")) > 1


def _table_blocks(rows: Sequence[Sequence[Sequence[Line]]], page: int) -> Iterator[Block]:
    """Each row of a table as a block, with the headers before its cells if the table has some."""
    headers = rows[0] if _has_headers(rows) else []
    for row in rows[1:] if headers else rows:
        builder = BlockBuilder("row")
        for n, cell in enumerate(row):
            if not cell:
                continue
            if builder.text:
                builder.add_text(" " if builder.text.endswith(":") else "; ")
            if headers and headers[n]:
                for line in headers[n]:
                    builder.add(line.words, page)
                builder.add_text(" " if builder.text.endswith(":") else ": ")
            for line in cell:
                builder.add(line.words, page)
        yield builder.block()


def _has_headers(rows: Sequence[Sequence[Sequence[Line]]]) -> bool:
    """Whether the first row names the columns: set in bold as no other, or words above numbers."""
    first, *others = rows
    texts = [" ".join(line.text for line in cell) for cell in first]
    if not others or not all(texts[1:]) or any(text.endswith(":") for text in texts):
        return False
    if all(line.bold for cell in first for line in cell):
        return not all(line.bold for row in others for cell in row for line in cell)
    if any(any(map(str.isdigit, text)) for text in texts):
        return False
    numeric = 0
    for n in range(len(first)):
        cells = [" ".join(line.text for line in row[n]) for row in others if row[n]]
        numeric += sum(any(map(str.isdigit, cell)) for cell in cells) > len(cells) / 2
    return numeric > 0

"""Reading order of a page from the places of its words: columns and tables by gaps, then lines.

A gap between columns is white over several lines. Words that stand across it, such as a title, end the
columns above and begin new ones below. Tables differ from columns in that their cells are short and stand on
common lines.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from statistics import median

from ie.data.documents.blocks import WORD

# In units of the font size.
SEGMENT_GAP = 0.8  # between words of one line, at least, for these to be in different columns
FEW_WORDS_GAP = 1.5  # the same in a line of up to three words, which doesn't show what is usual
WIDEST_GAP = 2.5  # between words of one column
JUSTIFIED = 1.6  # relative to the other gaps of a line
COLUMN_GAP = 0.8
LEAST_LINES = 3  # on either side of a gap
TABLE_ROW_GAP = 1.3  # distance of rows, relative to that of lines inside a row
# Columns of prose have lines that fill them; cells of tables don't.
PROSE_FILL, PROSE_CHARS = 0.5, 20
ALIGNED = 0.6  # share of a table's cells on the line of another one
MAX_DEPTH = 8
MAX_SEGMENTS = 1500  # on one page; more are read from top to bottom
EDGE = 0.09  # of the height of a page: where running headers and page numbers are
PAGE_NUMBER = re.compile(r"[-–— ]*(?:\w{1,8}\.? )?#(?: ?(?:/|\w{1,4}) ?#)?[-–— ]*")  # digits are #
MARKER = "•·▪▫◦‣●○■□–—-*"


@dataclass(slots=True)
class Word:
    """A word on a page, in points from the upper left corner. `glued`: no space stands before it.

    `hyphen`: it ends with a hyphen that divides a word at the end of a line.
    """

    text: str
    x0: float
    y0: float
    x1: float
    y1: float
    bold: bool = False
    glued: bool = False
    hyphen: bool = False

    @property
    def size(self) -> float:
        return self.y1 - self.y0


@dataclass(slots=True)
class Line:
    """Words that stand side by side, in reading order."""

    words: list[Word]
    x0: float = 0
    y0: float = 0
    x1: float = 0
    y1: float = 0
    text: str = ""
    size: float = 0

    def __post_init__(self) -> None:
        self.x0 = min(word.x0 for word in self.words)
        self.x1 = max(word.x1 for word in self.words)
        self.y0 = min(word.y0 for word in self.words)
        self.y1 = max(word.y1 for word in self.words)
        self.size = median(word.size for word in self.words)
        self.text = "".join(f"{'' if word.glued else ' '}{word.text}" for word in self.words).strip()

    @property
    def bold(self) -> bool:
        return all(word.bold for word in self.words)

    @property
    def hyphen(self) -> bool:
        return self.words[-1].hyphen


@dataclass(slots=True)
class Region:
    """Lines of a column (`lines`), or the rows of a table, each a list of its cells' lines by column."""

    lines: list[Line] = field(default_factory=list)
    rows: list[list[list[Line]]] = field(default_factory=list)


def segments(words: Sequence[Word]) -> list[Line]:
    """Words that stand close together on one line, in the order of the file."""
    runs: list[list[Word]] = []
    for word in words:
        last = runs[-1][-1] if runs else None
        if last and _on_one_line(last, word) and _gap(last, word) < WIDEST_GAP * min(last.size, word.size):
            runs[-1].append(word)
        else:
            runs.append([word])
    return _joined([Line(group) for run in runs for group in _divided(run)])


def _divided(run: list[Word]) -> list[list[Word]]:
    """Words side by side, divided where a gap is wider than the others; justified lines have wide ones."""
    gaps = [_gap(a, b) for a, b in pairwise(run)]
    usual = JUSTIFIED * median(gaps) if len(gaps) > 2 else FEW_WORDS_GAP * run[0].size
    groups = [run[:1]]
    for word, gap in zip(run[1:], gaps, strict=True):
        if gap < max(SEGMENT_GAP * word.size, usual):
            groups[-1].append(word)
        else:
            groups.append([word])
    return groups


def _joined(parts: list[Line]) -> list[Line]:
    """Parts of a line that stand close together, whatever their order in the file; a marker with its item."""
    if len(parts) > MAX_SEGMENTS:
        return parts
    result: list[Line] = []
    for part in sorted(parts, key=lambda one: (one.x0, one.y0)):
        before = None
        for line in reversed(result):
            room = 4 if is_marker(line.text) else SEGMENT_GAP
            if _on_one_line(line, part) and -0.5 * part.size < part.x0 - line.x1 < room * part.size:
                before = line
                break
        if before is None:
            result.append(part)
        else:
            result[result.index(before)] = Line(before.words + part.words)
    return result


def is_marker(text: str) -> bool:
    """Whether it stands before a list item or a numbered heading: a bullet, `3.`, `(b)`, `2.1`."""
    if len(text) == 1:
        return text in MARKER
    core = text.strip("().")
    if not core or len(text) > 8 or " " in text:
        return False
    numbered = all(part.isdigit() and len(part) < 3 for part in core.split("."))
    lettered = len(core) == 1 and core.isalpha()
    return (numbered or lettered) and (text[-1] in ".)" or "." in core)


def _on_one_line(a: Word | Line, b: Word | Line) -> bool:
    return min(a.y1, b.y1) - max(a.y0, b.y0) >= 0.5 * min(a.y1 - a.y0, b.y1 - b.y0)


def _gap(a: Word, b: Word) -> float:
    return max(b.x0 - a.x1, a.x0 - b.x1)


def regions(parts: Sequence[Line], depth: int = 0) -> list[Region]:
    """The regions of a page, or of a part of it, in reading order."""
    parts = sorted(parts, key=lambda part: (part.y0, part.x0))
    result: list[Region] = []
    alone: list[Line] = []
    i = 0
    while i < len(parts):
        end, gaps = (i, []) if depth == MAX_DEPTH or len(parts) > MAX_SEGMENTS else _band(parts, i)
        if not gaps:
            alone.append(parts[i])
            i += 1
            continue
        if alone:
            result.append(Region(lines(alone)))
            alone = []
        columns = _columns(parts[i:end], gaps)
        if _is_table(columns):
            result.append(Region(rows=_rows(columns)))
        else:
            for column in columns:
                result += regions(column, depth + 1)
        i = end
    if alone:
        result.append(Region(lines(alone)))
    return result


Gap = tuple[float, float]


def _band(parts: Sequence[Line], start: int) -> tuple[int, list[Gap]]:
    """The longest run of parts from `start` on with a common gap, and its gaps; none if there is no such."""
    size = median(part.size for part in parts[start : start + 50])
    covered: list[Gap] = []
    left, right = min(part.x0 for part in parts), max(part.x1 for part in parts)
    best: tuple[int, list[Gap]] = (start, [])
    for end in range(start, len(parts)):
        covered = _with(covered, (parts[end].x0, parts[end].x1))
        edges = [(left, left), *covered, (right, right)]
        free = [(a[1], b[0]) for a, b in pairwise(edges) if b[0] - a[1] >= COLUMN_GAP * size]
        if not free:
            break
        run = parts[start : end + 1]
        gaps = [gap for gap in free if _divides(run, gap)]
        if gaps:
            best = (end + 1, gaps)
    end, gaps = best
    if gaps and end < len(parts):
        # A heading above full-width text that follows belongs to that text.
        for _ in range(2):
            last, others = (
                parts[end - 1],
                [p for p in parts[start : end - 1] if _apart(p, parts[end - 1], gaps)],
            )
            if not others or last.y0 < max(part.y1 for part in others):
                break
            kept = [gap for gap in gaps if _divides(parts[start : end - 1], gap)]
            if not kept:
                break
            end, gaps = end - 1, kept
    return end, gaps


def _apart(a: Line, b: Line, gaps: Sequence[Gap]) -> bool:
    return any((a.x1 <= left) != (b.x1 <= left) for left, _ in gaps)


def _with(covered: list[Gap], one: Gap) -> list[Gap]:
    """Intervals with another one, those that touch each other joined."""
    apart = [interval for interval in covered if interval[1] < one[0] or interval[0] > one[1]]
    touching = [interval for interval in covered if interval not in apart]
    low = min([one[0], *(interval[0] for interval in touching)])
    high = max([one[1], *(interval[1] for interval in touching)])
    return sorted([*apart, (low, high)])


def _divides(parts: Sequence[Line], gap: Gap) -> bool:
    left = sum(part.x1 <= gap[0] for part in parts)
    return min(left, len(parts) - left) >= LEAST_LINES


def _columns(parts: Sequence[Line], gaps: Sequence[Gap]) -> list[list[Line]]:
    columns: list[list[Line]] = [[] for _ in range(len(gaps) + 1)]
    for part in parts:
        columns[sum(part.x0 >= right for _, right in gaps)].append(part)
    return columns


def _is_table(columns: Sequence[Sequence[Line]]) -> bool:
    prose = 0
    for column in columns:
        width = max(part.x1 for part in column) - min(part.x0 for part in column)
        fill = median(part.x1 - part.x0 for part in column) / max(width, 1)
        prose += fill >= PROSE_FILL and median(_length(part.text) for part in column) >= PROSE_CHARS
    if prose >= 2:
        return False
    first, *others = columns
    cells = [cell for column in others for cell in column]
    aligned = sum(any(_on_one_line(cell, one) for one in first) for cell in cells)
    return aligned >= ALIGNED * len(cells)


def _length(text: str) -> int:
    """Characters, with those of scripts without spaces counting twice."""
    return len(text) + sum(len(match[0]) == 1 and match[0] > "\u0e00" for match in WORD.finditer(text))


def _rows(columns: Sequence[Sequence[Line]]) -> list[list[list[Line]]]:
    """Rows of a table. Lines of a row stand closer together, or only its first one has a first cell."""
    cells = sorted(((part, n) for n, column in enumerate(columns) for part in column), key=lambda c: c[0].y0)
    levels: list[list[tuple[Line, int]]] = []
    for part, n in cells:
        if levels and _on_one_line(levels[-1][0][0], part):
            levels[-1].append((part, n))
        else:
            levels.append([(part, n)])
    steps = [b[0][0].y0 - a[0][0].y0 for a, b in pairwise(levels)]
    uneven = steps and max(steps) >= TABLE_ROW_GAP * min(steps)
    limit = (max(steps) + min(steps)) / 2 if uneven else 0.0
    rows: list[list[list[Line]]] = []
    for i, level in enumerate(levels):
        begins = steps[i - 1] > limit if i and uneven else any(n == 0 for _, n in level)
        if begins or not rows:
            rows.append([[] for _ in columns])
        for part, n in sorted(level, key=lambda cell: cell[0].x0):
            rows[-1][n].append(part)
    return rows


def lines(parts: Sequence[Line]) -> list[Line]:
    """Whole lines from parts that stand side by side, in the direction of their script."""
    result: list[list[Line]] = []
    for part in sorted(parts, key=lambda one: (one.y0 + one.y1, one.x0)):
        if result and _on_one_line(result[-1][0], part):
            result[-1].append(part)
        else:
            result.append([part])
    return [_line(group) for group in result]


def _line(parts: Sequence[Line]) -> Line:
    words = [word for part in parts for word in part.words]
    backwards = sum(_right_to_left(word.text) for word in words)
    if 2 * backwards <= len(words):
        return Line([word for part in sorted(parts, key=lambda one: one.x0) for word in part.words])
    words.sort(key=lambda word: -word.x1)
    # Numbers and Latin words inside keep their own direction.
    ordered: list[Word] = []
    for is_rtl, run in groupby(words, key=lambda word: _right_to_left(word.text)):
        group = list(run)
        ordered += group if is_rtl else group[::-1]
    return Line(ordered)


def _right_to_left(text: str) -> bool:
    return any(unicodedata.bidirectional(character) in ("R", "AL") for character in text)


def running_lines(pages: Sequence[tuple[float, Sequence[Line]]]) -> list[list[Line]]:
    """The lines of each page without running headers, footers and page numbers.

    These stand at the edge of a page and are repeated on others at the same height, but for their numbers.

    Args:
        pages: height and lines of each page.
    """
    seen: dict[tuple[str, bool], list[tuple[int, float]]] = {}
    for number, (height, parts) in enumerate(pages):
        for part in parts:
            if key := _edge(part, height):
                seen.setdefault(key, []).append((number, part.y0))
    least = max(2, min(3, round(0.3 * len(pages))))

    def is_running(part: Line, height: float) -> bool:
        key = _edge(part, height)
        if not key:
            return False
        if len(pages) == 1:
            return PAGE_NUMBER.fullmatch(key[0]) is not None
        near = {number for number, y0 in seen[key] if abs(y0 - part.y0) <= 6}
        return len(near) >= least

    return [[part for part in parts if not is_running(part, height)] for height, parts in pages]


def _edge(part: Line, height: float) -> tuple[str, bool] | None:
    middle = (part.y0 + part.y1) / 2
    if EDGE * height < middle < (1 - EDGE) * height:
        return None
    numbered = "".join("#" if character.isdigit() else character for character in part.text.casefold())
    while "##" in numbered:
        numbered = numbered.replace("##", "#")
    roman = numbered.strip("-–— ")
    if roman and set(roman) <= set("ivxlc"):
        numbered = "#"
    return numbered, middle < height / 2

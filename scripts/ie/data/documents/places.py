"""Where in its document a text, or a span of it, stands; from the `meta` of its record."""

from collections.abc import Mapping, Sequence
from typing import Any

from ie.data.documents.blocks import WORD, PageLine

# A box on a page: its number, then left, top, right and bottom in points from the upper left corner.
Box = tuple[int, float, float, float, float]


def place(meta: Mapping[str, Any]) -> str:
    """Where a text stands, such as `report.pdf, pages 3–4`; "" for a text that is from no document."""
    file = meta.get("file")
    if not isinstance(file, str):
        return ""
    parts = [file.rsplit("/", 1)[-1]]
    if meta.get("part"):
        parts.append(f"attachment {meta['part']}")
    numbers = [int(page) for page in meta.get("pages") or ()]
    if numbers:
        parts.append(_numbered("page", numbers))
    elif meta.get("paragraphs"):
        parts.append(_numbered("paragraph", meta["paragraphs"]))
    return ", ".join(parts)


def _numbered(noun: str, numbers: Sequence[int]) -> str:
    first, last = min(numbers), max(numbers)
    return f"{noun} {first}" if first == last else f"{noun}s {first}–{last}"


def boxes(text: str, meta: Mapping[str, Any], start: int, end: int) -> list[Box]:
    """The boxes of a span, one per line: they hold the words that it touches, whole."""
    return [
        (page, min(xs), top, max(xs), bottom)
        for _, _, page, top, bottom, xs in lines_between(text, meta.get("lines") or (), start, end)
    ]


def lines_between(text: str, lines: Sequence[PageLine], start: int, end: int) -> list[PageLine]:
    """The lines of the words that characters `start` to `end` touch, counted from `start`."""
    result: list[PageLine] = []
    for first, last, page, top, bottom, xs in lines:
        if last <= start or first >= end:
            continue
        words = [match.span() for match in WORD.finditer(text[:last], first)]
        touched = [i for i, (a, b) in enumerate(words) if a < end and start < b]
        if touched:
            a, b = max(words[touched[0]][0], start), min(words[touched[-1]][1], end)
            places = xs[2 * touched[0] : 2 * touched[-1] + 2]
            result.append([a - start, b - start, page, top, bottom, places])
    return result

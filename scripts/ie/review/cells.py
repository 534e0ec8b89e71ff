"""Cells: the parts of a text that can be marked: tokens, joined where an edge would split a grapheme.

A browser counts UTF-16 units, Python counts code points. So the page gets no character offsets: the server
sends the cells as strings, and the page answers with their numbers.
"""

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from spacy.tokens import Doc

JOINER = "\u200d"
MODIFIERS = range(0x1F3FB, 0x1F400)  # skin tones
FLAGS = range(0x1F1E6, 0x1F200)  # two regional indicators make a flag
TAGS = range(0xE0020, 0xE0080)  # as in the flag of Wales


@dataclass(frozen=True)
class Cells:
    """The cells of a text: character offsets `starts[i]` (included) to `ends[i]` (excluded), in order."""

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def pieces(self) -> list[str]:
        """The text in parts: gap, cell, gap, cell, ..., gap. Gaps hold whitespace, or nothing."""
        pieces, last = [], 0
        for start, end in zip(self.starts, self.ends, strict=True):
            pieces += [self.text[last:start], self.text[start:end]]
            last = end
        return [*pieces, self.text[last:]]

    def offsets(self, first: int, end: int) -> tuple[int, int]:
        """Characters of the cells `first` (included) to `end` (excluded).

        Raises:
            ValueError: no such cells.
        """
        if not 0 <= first < end <= len(self.starts):
            raise ValueError(f"there are no cells {first} to {end} in a text of {len(self.starts)}")
        return self.starts[first], self.ends[end - 1]

    def covering(self, start: int, end: int) -> tuple[int, int] | None:
        """The cells (first, end) that characters `start` to `end` touch; None if they are only whitespace."""
        first, last = bisect_right(self.ends, start), bisect_left(self.starts, end)
        return (first, last) if first < last else None


def cells(text: str, tokenizer: Callable[[str], Doc]) -> Cells:
    """Divide a text; whitespace belongs to no cell."""
    starts: list[int] = []
    ends: list[int] = []
    for token in tokenizer(text):
        if token.is_space:
            continue
        start, end = token.idx, token.idx + len(token)
        if ends and ends[-1] == start and joined(text, start):
            ends[-1] = end
        else:
            starts.append(start)
            ends.append(end)
    return Cells(text, tuple(starts), tuple(ends))


def joined(text: str, at: int) -> bool:
    """Whether the characters before and after a position form one grapheme (main rules of UAX #29)."""
    before, after = text[at - 1], text[at]
    if before == JOINER or after == JOINER or unicodedata.category(after).startswith("M"):
        return True
    if ord(after) in MODIFIERS or ord(after) in TAGS:
        return True
    if ord(before) in FLAGS and ord(after) in FLAGS:
        run = 0
        while at - 1 - run >= 0 and ord(text[at - 1 - run]) in FLAGS:
            run += 1
        return run % 2 == 1
    return False

"""A scripted reviewer: answers the questions of the review page from gold, with the keys that the page has.

Keys are planned span by span, from left to right, by the shortest of the ways that a practised person knows:
`W` to a name or number, arrows, Home and End, `E` for every occurrence, `O` for what else is suggested. A key
with Shift is one. The arrows up and down are left out, as the width of the window decides what they do.
`PageKeys` behaves as the page does; a test plays the planned keys in the real page.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

JOINERS = re.compile(r"[-–/.'’]")
Marked = tuple[int, int, str]  # cells, label
# Names before the one that is wanted that `W` is tried over, and spans that N is.
FAR = 30


@dataclass
class Answer:
    """An answer: its keys, the last of which accepts; its spans; how many were added, deleted or relabelled.

    `label` is the one that the page marks with afterwards.
    """

    keys: list[str]
    spans: list[Marked]
    corrections: int
    label: str


@dataclass
class PageKeys:
    """The text of a question, its spans, and what the keys do to them; as `review.js` does it."""

    pieces: Sequence[str]
    labels: Sequence[str]
    spans: list[Marked]
    others: list[Marked]
    suggested: set[Marked] = field(default_factory=set)
    label: int = 0
    cursor: int = 0
    anchor: int | None = None
    moved: bool = False
    chosen: Marked | None = None

    @classmethod
    def of(cls, item: dict[str, Any], label: str = "") -> "PageKeys":
        """The page as it shows a question; `label` is the one that it marked with last."""
        labels = item["unit"]["labels"]
        spans = [(s["first"], s["end"], s["label"]) for s in item["spans"]]
        others = [(s["first"], s["end"], s["label"]) for s in item["others"]]
        suggested = {mark for mark, s in zip(spans, item["spans"], strict=True) if s["sources"]}
        first = next((mark[0] for mark in spans if mark[2] in labels), 0)
        number = labels.index(label) if label in labels else 0
        return cls(item["pieces"], labels, spans, others, suggested, number, cursor=first)

    def copy(self) -> "PageKeys":
        """A page on which keys may be tried."""
        page = copy(self)
        page.spans, page.others = list(self.spans), list(self.others)
        page.suggested = set(self.suggested)
        return page

    @property
    def size(self) -> int:
        return len(self.pieces) // 2

    def cell(self, i: int) -> str:
        return self.pieces[2 * i + 1]

    def written(self, first: int, end: int) -> str:
        return "".join(self.pieces[2 * first + 1 : 2 * end])

    def asked(self) -> list[Marked]:
        """The spans that the question is about."""
        return [mark for mark in self.spans if mark[2] in self.labels]

    def range(self) -> tuple[int, int]:
        anchor = self.cursor if self.anchor is None else self.anchor
        return min(anchor, self.cursor), max(anchor, self.cursor)

    def at(self, i: int) -> Marked | None:
        return next((mark for mark in self.spans if mark[0] <= i < mark[1]), None)

    def press(self, key: str) -> None:
        """Press a key, named as Playwright names it."""
        if key.removeprefix("Shift+") in ("ArrowLeft", "ArrowRight", "Home", "End"):
            targets = {"Home": 0, "End": self.size - 1}
            name = key.removeprefix("Shift+")
            step = 1 if name == "ArrowRight" else -1
            self._move(targets.get(name, self.cursor + step), extend=key.startswith("Shift+"))
        elif key.isdecimal():
            self._number((int(key) + 9) % 10)
        else:
            {
                "w": self._next_name,
                "m": lambda: self._mark(*self.range(), self.labels[self.label]),
                "e": self._mark_every,
                "n": lambda: self._walk(1),
                "p": lambda: self._walk(-1),
                "d": self._delete,
                "l": lambda: self._next_label(1),
                "Shift+L": lambda: self._next_label(-1),
                "o": self._take_over,
            }[key]()

    def _move(self, target: int, *, extend: bool) -> None:
        if extend and self.anchor is None:
            self.anchor = self.cursor
        if not extend:
            self.anchor = None
        self.cursor = min(self.size - 1, max(0, target))
        self.chosen = None if extend else self.at(self.cursor)
        self.moved = self.chosen is None

    def _number(self, label: int) -> None:
        if label >= len(self.labels):
            return
        self.label = label
        if self.chosen in self.asked() and len(self.labels) > 1:
            assert self.chosen
            relabelled = (*self.chosen[:2], self.labels[label])
            self.spans[self.spans.index(self.chosen)] = relabelled
            self.chosen = relabelled
        elif self.moved and self.chosen is None:
            self._mark(*self.range(), self.labels[label])

    def _next_label(self, by: int) -> None:
        self.label = (self.label + by) % len(self.labels)

    def _mark(self, first: int, last: int, label: str) -> None:
        self.chosen = self._put(first, last + 1, label)
        self.cursor, self.anchor, self.moved = last, None, False

    def _put(self, first: int, end: int, label: str) -> Marked:
        self.spans = [mark for mark in self.spans if mark[1] <= first or end <= mark[0]]
        self.spans = sorted([*self.spans, (first, end, label)])
        return first, end, label

    def _mark_every(self) -> None:
        if self.chosen is None and not self.moved:
            return
        first, last = (self.chosen[0], self.chosen[1] - 1) if self.chosen else self.range()
        label = self.chosen[2] if self.chosen else self.labels[self.label]
        size = last + 1 - first
        wanted = self.written(first, last + 1).lower()
        for start in range(self.size - size + 1):
            if self.written(start, start + size).lower() == wanted and not any(
                map(self.at, range(start, start + size))
            ):
                self._put(start, start + size, label)
        self.chosen = next((mark for mark in self.spans if mark[0] == first), self.chosen)
        self.anchor, self.moved = None, False

    def _walk(self, by: int) -> None:
        marks = self.asked()
        if not marks:
            return
        if self.chosen in marks:
            place = (marks.index(self.chosen) + by) % len(marks)
        else:
            place = 0 if by > 0 else len(marks) - 1
        self.chosen = marks[place]
        self.cursor, self.anchor, self.moved = self.chosen[1] - 1, None, False

    def _delete(self) -> None:
        gone = self.chosen
        if gone is None:
            return
        later = self.spans[self.spans.index(gone) + 1 :]
        self.spans.remove(gone)
        self.chosen = None
        if gone in self.suggested:
            self.others.append(gone)
            unchecked = [mark for mark in later if mark in self.suggested and mark[2] in self.labels]
            self.chosen = unchecked[0] if unchecked else None
        self.cursor = self.chosen[1] - 1 if self.chosen else gone[0]
        self.moved = self.chosen is None

    def _take_over(self) -> None:
        offered = next((mark for mark in self.others if mark not in self.spans), None)
        if offered:
            self._mark(offered[0], offered[1] - 1, offered[2])

    def _next_name(self) -> None:
        first, last = -1, -1
        if self.chosen:
            first, last = self.chosen[0], self.chosen[1] - 1
        elif self.moved:
            first, last = self.range()
        run = next((run for run in self._names() if run[0] > first and run[1] - 1 >= last), None)
        if run is None:
            return
        self.chosen, self.moved = None, True
        self.cursor = run[1] - 1
        self.anchor = run[0] if run[1] - run[0] > 1 else None

    def _names(self) -> Iterator[tuple[int, int]]:
        i = 0
        while i < self.size:
            if self.at(i) or not self._like_a_name(i):
                i += 1
                continue
            end = i + 1
            while end < self.size and not self.at(end):
                if self._like_a_name(end) or self._unit(end):
                    end += 1
                elif (
                    end + 1 < self.size
                    and self._joins(end)
                    and self._like_a_name(end + 1)
                    and not self.at(end + 1)
                ):
                    end += 2
                else:
                    break
            yield i, end
            if end - i > 1 and (i == 0 or self.cell(i - 1)[-1] in ".!?:"):
                yield i + 1, end
            i = end

    def _like_a_name(self, i: int) -> bool:
        word = self.cell(i)
        kinds = [unicodedata.category(character) for character in word]
        return kinds[0] == "Lu" or "Nd" in kinds or kinds == ["Sc"]

    def _unit(self, i: int) -> bool:
        digits = any(unicodedata.category(character) == "Nd" for character in self.cell(i - 1))
        letters = all(c == "%" or unicodedata.category(c).startswith("L") for c in self.cell(i))
        return self.pieces[2 * i] == "" and digits and letters

    def _joins(self, i: int) -> bool:
        glued = self.pieces[2 * i] == "" == self.pieces[2 * i + 2]
        return self.cell(i) == "&" or (glued and bool(JOINERS.fullmatch(self.cell(i))))


def answer(item: dict[str, Any], gold: Sequence[Marked], label: str = "") -> Answer:
    """The keys that make the spans of a question those of gold, and accept them.

    Args:
        item: the question, as the server sends it to the page.
        gold: all spans of the text, in cells; those of other labels than the question's are left out.
        label: the one that the page marked with last.
    """
    page = PageKeys.of(item, label)
    wanted = sorted(mark for mark in gold if mark[2] in page.labels)
    keys: list[str] = []
    corrections = 0
    # first the suggestions, then what is missing
    while wrong := [mark for mark in page.asked() if _is_wrong(mark, wanted)]:
        steps = _correct(page, wrong[0], wanted)
        keys += steps
        corrections += 1
    while missing := [mark for mark in wanted if mark not in page.spans]:
        before = len(missing)
        keys += _add(page, missing[0], wanted)
        corrections += before - sum(mark not in page.spans for mark in wanted)
    return Answer([*keys, "a"], page.asked(), corrections, page.labels[page.label])


def _is_wrong(mark: Marked, wanted: Sequence[Marked]) -> bool:
    """Whether a span must be deleted or relabelled. One that overlaps a missing span goes with it."""
    if mark in wanted:
        return False
    return not any(w[0] < mark[1] and mark[0] < w[1] and w[:2] != mark[:2] for w in wanted)


def _correct(page: PageKeys, mark: Marked, wanted: Sequence[Marked]) -> list[str]:
    """Go to a wrong span; delete it, or give it the right label."""
    label = next((w[2] for w in wanted if w[:2] == mark[:2]), None)
    ways = []
    for step in ("n", "p"):
        steps: list[str] = []
        trial = page.copy()
        while trial.chosen != mark and len(steps) < FAR:
            trial.press(step)
            steps.append(step)
        if trial.chosen == mark:
            ways.append(steps)
    steps = min(ways, key=len)
    number = page.labels.index(label) if label else 10
    # labels beyond the tenth have no key of their own: delete, and mark again
    steps = [*steps, str((number + 1) % 10) if number < 10 else "d"]
    _press(page, steps)
    return steps


def _add(page: PageKeys, mark: Marked, wanted: Sequence[Marked]) -> list[str]:
    """Mark a span by the fewest keys, and what else takes a single key then."""
    best: list[str] = []
    for way in _ways(page, mark):
        if best and len(way) >= len(best):
            continue
        trial = page.copy()
        _press(trial, way)
        if mark in trial.spans and not set(page.spans) & set(wanted) - set(trial.spans):
            best = way
    _press(page, best)
    every = page.copy()
    every.press("e")
    added = set(every.spans) - set(page.spans)
    if added and added <= set(wanted):
        page.press("e")
        best = [*best, "e"]
    return best


def _ways(page: PageKeys, mark: Marked) -> Iterator[list[str]]:
    """Keys that may mark a span."""
    yield ["o"]
    number = page.labels.index(mark[2])
    forward = (number - page.label) % len(page.labels)
    back = len(page.labels) - forward
    by_letter = [*(["l"] * forward if forward <= back else ["Shift+L"] * back), "m"]
    ends = [by_letter]
    if number < 10 and len(page.labels) > 1:
        ends.append([str((number + 1) % 10)])
    for start in _starts(page):
        trial = page.copy()
        _press(trial, start)
        for way in _select(trial, mark[0], mark[1] - 1):
            for end in ends:
                yield [*start, *way, *end]


def _starts(page: PageKeys) -> Iterator[list[str]]:
    """Ways to come near a word: none, the first or last word, or names one by one."""
    yield []
    yield ["Home"]
    yield ["End"]
    for home in ([], ["Home"]):
        trial = page.copy()
        _press(trial, home)
        keys = list(home)
        for _ in range(FAR):
            before = trial.cursor, trial.anchor
            trial.press("w")
            if (trial.cursor, trial.anchor) == before:
                break
            keys.append("w")
            yield list(keys)


def _select(page: PageKeys, first: int, last: int) -> Iterator[list[str]]:
    """Select words from where the keyboard is."""
    if page.moved and page.range()[0] == first and (page.anchor is None or page.anchor == first):
        yield _arrows(last - page.cursor, "Shift+")
    # from either end
    for begin, end in ((first, last), (last, first)):
        steps = _arrows(begin - page.cursor)
        if steps or page.moved:
            yield [*steps, *_arrows(end - begin, "Shift+")]


def _arrows(by: int, shift: str = "") -> list[str]:
    return [f"{shift}Arrow{'Right' if by > 0 else 'Left'}"] * abs(by)


def _press(page: PageKeys, keys: Sequence[str]) -> None:
    for key in keys:
        page.press(key)

"""Test texts with realistic changes, such as typos and other case, and their gold spans.

Each edit is wholly inside or wholly outside every span, so a span's new offsets follow from the edits before
its edges. Random choices depend only on the seed and on the text itself, not on other texts or their order.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from ie.core.errors import UserError
from ie.core.text import UNSPACED, names_among
from ie.data.records import Record, Span
from ie.evaluation import scoring

WORD = re.compile(r"[^\W\d_]+")
# Letters of a word that may get a typo; in a script without spaces, so many letters count as a word.
LETTERS = 4
# With fewer letters in a hundred that have two cases (a foreign name in Arabic), other case is left out.
CASED_PERCENT = 10
# A word that so many different names share (Ltd, Holding) is kept.
SHARED = 3
UNSPACED_WORD = re.compile(rf"\w{{{LETTERS}}}")
TRIES = 100
BETWEEN = "\n\n"
QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'"})


class Edit(NamedTuple):
    """Replaces characters `start` (included) to `end` (excluded) by `text`; inserts it if `start == end`."""

    start: int
    end: int
    text: str


@dataclass
class Perturbed:
    """All test texts after one change.

    Attributes:
        name: as in the list of perturbations. title: for tables.
        records: gold, one per test text, in their order.
        groups: indices of the records that are read as one text.
        notes: what could not be changed, one sentence each.
    """

    name: str
    title: str
    records: list[Record]
    groups: list[list[int]]
    notes: list[str] = field(default_factory=list)

    def texts(self) -> list[str]:
        """The input of a pipeline, one text per group."""
        return [BETWEEN.join(self.records[i].text for i in group) for group in self.groups]

    def divided(self, answers: Sequence[Record]) -> list[Record]:
        """Predictions for `texts()` as one record per test text; a span across texts belongs to the first."""
        by_index: dict[int, Record] = {}
        for group, answer in zip(self.groups, answers, strict=True):
            start = 0
            for i in group:
                text = self.records[i].text
                after = start + len(text) + len(BETWEEN)
                spans = [
                    Span(start=span.start - start, end=span.end - start, label=span.label)
                    for span in answer.spans
                    if start <= span.start < after
                ]
                by_index[i] = Record(text=text, spans=spans)
                start = after
        return [by_index[i] for i in range(len(self.records))]

    def changed(self, before: Sequence[Record]) -> int:
        """How many texts were changed, or joined with others."""
        joined = {i for group in self.groups if len(group) > 1 for i in group}
        pairs = enumerate(zip(before, self.records, strict=True))
        return sum(i in joined or old.text != new.text for i, (old, new) in pairs)


def fits(edit: Edit, spans: Iterable[Span]) -> bool:
    """Whether an edit is wholly inside or wholly outside each span, and doesn't delete a span."""

    def fit(span: Span) -> bool:
        if edit.end <= span.start or edit.start >= span.end:
            return True
        left = len(edit.text) + (span.end - span.start) - (edit.end - edit.start)
        return span.start <= edit.start and edit.end <= span.end and left > 0

    return all(map(fit, spans))


def apply(record: Record, edits: Iterable[Edit]) -> Record:
    """The record with its text edited and its spans moved. Text inserted at a span's edge is outside of it.

    Edits that overlap, or cross the edge of a span, are a ValueError.
    """
    ordered = sorted(edits)
    pieces, end = [], 0
    for edit in ordered:
        if edit.start < end:
            raise ValueError(f"edits overlap at {edit.start}")
        if not fits(edit, record.spans):
            raise ValueError(f"an edit crosses the edge of a span: {edit}")
        pieces += [record.text[end : edit.start], edit.text]
        end = edit.end
    text = "".join([*pieces, record.text[end:]])

    def moved(edge: int, *, closing: bool) -> int:
        before = [e for e in ordered if e.end <= edge and not (closing and e.start == e.end == edge)]
        return edge + sum(len(e.text) - (e.end - e.start) for e in before)

    spans = [
        Span(start=moved(span.start, closing=False), end=moved(span.end, closing=True), label=span.label)
        for span in record.spans
    ]
    return Record(text=text, spans=spans, meta=record.meta)


def recased(record: Record, case: Callable[[str], str]) -> Record:
    """The text in another case, letter by letter, as some letters change their number ("ß", "İ")."""
    return apply(record, (Edit(i, i + 1, case(c)) for i, c in enumerate(record.text) if case(c) != c))


def with_typos(record: Record, percent: float, rng: Random) -> Record:
    """A typo in `percent` of the words of four letters or more: two letters swapped, one dropped or doubled.

    The first letter stays, as typos there are rare.
    """
    edits = []
    for word in _words(record.text):
        if len(word[0]) < LETTERS or rng.random() * 100 >= percent:
            continue
        i = rng.randrange(1, len(word[0]) - 1)
        position, pair = word.start() + i, word[0][i : i + 2]
        typos = [Edit(position, position + 1, ""), Edit(position, position + 1, pair[0] * 2)]
        if pair[0] != pair[1]:
            typos.append(Edit(position, position + 2, pair[::-1]))
        typo = rng.choice(typos)
        if fits(typo, record.spans):
            edits.append(typo)
    return apply(record, edits)


def _words(text: str) -> Iterator[re.Match]:
    for word in WORD.finditer(text):
        if UNSPACED.search(word[0]):
            yield from UNSPACED_WORD.finditer(text, word.start(), word.end())
        else:
            yield word


def has_case(texts: Iterable[str]) -> bool:
    """Whether the script of the texts has upper and lower case."""
    letters = [c for text in texts for c in text if c.isalpha()]
    return 100 * sum(c.lower() != c.upper() for c in letters) >= CASED_PERCENT * len(letters)


def repunctuated(record: Record) -> Record:
    """Straight quotes for curly ones and vice versa, other dashes, and no final period."""
    text = record.text
    edits = []
    for i, c in enumerate(text):
        if c == '"':
            edits.append(
                Edit(i, i + 1, "“" if not i or text[i - 1].isspace() or text[i - 1] in "([" else "”")
            )
        elif c == "'":
            edits.append(Edit(i, i + 1, "’"))
        elif c.translate(QUOTES) != c:
            edits.append(Edit(i, i + 1, c.translate(QUOTES)))
    for dash in re.finditer(r"[ \t]*[—–][ \t]*|(?<=\s)-(?=\s)", text):
        inside = any(span.start < dash.end() and dash.start() < span.end for span in record.spans)
        number = (
            text[dash.start() - 1 : dash.start()].isdigit() and text[dash.end() : dash.end() + 1].isdigit()
        )
        if dash[0] == "-":
            edits.append(Edit(dash.start(), dash.end(), "–"))
        elif inside or number:
            edits.append(Edit(dash.start(), dash.end(), "-"))
        else:
            edits.append(Edit(dash.start(), dash.end(), " - "))
    end = len(text.rstrip())
    # a period that belongs to a name ("S.A.") or an ellipsis isn't a final period
    own = any(span.start < end <= span.end for span in record.spans)
    if end > 1 and text[:end].endswith((".", "。")) and text[end - 2] != "." and not own:
        edits.append(Edit(end - 1, end, ""))
    return apply(record, (edit for edit in edits if fits(edit, record.spans)))


class NewNames:
    """Creates names that aren't in training from parts of names that are, for any label.

    A word of a name is replaced by the beginning of one training name's word and the end of another's, in the
    same case. Words that several names share (Ltd, Holding) and short lower-case ones stay. Labels whose
    spans mostly have digits (amounts, dates) keep their words and get new digits.
    """

    def __init__(self, train: Sequence[Record]) -> None:
        self._known = {string for string, _ in scoring.known_strings(train)}
        self._words = {word.casefold() for record in train for word in WORD.findall(record.text)}
        names: dict[str, set[str]] = defaultdict(set)
        for record in train:
            for span in record.spans:
                names[span.label].add(record.text[span.start : span.end])
        self._shared: dict[str, set[str]] = {}
        self._stock: dict[str, list[str]] = {}
        self._numeric: set[str] = set()
        for label, strings in names.items():
            within: dict[str, set[str]] = defaultdict(set)
            for string in strings:
                for word in WORD.findall(string):
                    within[word.casefold()].add(" ".join(string.casefold().split()))
            # without spaces, a name is part of a longer run of letters in the text
            self._words |= within.keys()
            self._shared[label] = {word for word, of in within.items() if len(of) >= SHARED}
            self._stock[label] = sorted(w for w in within if _long(w) and w not in self._shared[label])
            if 2 * sum(any(map(str.isdecimal, string)) for string in strings) > len(strings):
                self._numeric.add(label)
        # in a script without spaces, what stands between two signs is no word
        self._fallback = sorted(word for word in self._words if _long(word) and not UNSPACED.search(word))

    def renamed(self, record: Record, rng: Random) -> tuple[Record, int]:
        """The record with every span renamed consistently, and the number of spans that could not be."""
        words: dict[str, str] = {}
        edits: list[Edit] = []
        unchanged_spans = 0
        # the outermost of nested spans first: the inner ones can't be found in its new words
        for span in sorted(record.spans, key=lambda s: (s.start - s.end, s.start)):
            if any(e.start < span.end and span.start < e.end for e in edits):
                continue
            old = record.text[span.start : span.end]
            new = self._rename(old, span.label, words, rng)
            edit = Edit(span.start, span.end, new)
            if new == old or not fits(edit, record.spans):
                unchanged_spans += 1
            else:
                edits.append(edit)
        return apply(record, edits), unchanged_spans

    def _rename(self, old: str, label: str, words: dict[str, str], rng: Random) -> str:
        """A new string, or the old one if none can be created."""
        numeric = label in self._numeric
        for attempt in range(TRIES):
            new = _other_digits(old, rng, longer=attempt > TRIES // 2)
            if not numeric:
                # if nothing else helps, change short and shared words too
                new = self._other_words(new, label, words, rng, all_words=attempt > TRIES // 2)
            if " ".join(new.casefold().split()) not in self._known and new != old:
                return new
        return old

    def _other_words(
        self, string: str, label: str, words: dict[str, str], rng: Random, *, all_words: bool
    ) -> str:
        def other(match: re.Match) -> str:
            old = match[0]
            minor = len(old) < 2 or (old.islower() and len(old) < 4)
            if not all_words and (minor or old.casefold() in self._shared.get(label, ())):
                return old
            if old not in words:
                words[old] = self._invented(old, label, rng)
            return words[old]

        return WORD.sub(other, string)

    def _invented(self, old: str, label: str, rng: Random) -> str:
        for stock in (self._stock.get(label, []), self._fallback):
            for _ in range(TRIES if stock else 0):
                head, tail = rng.choice(stock), rng.choice(stock)
                word = head[: (len(head) + 1) // 2] + tail[len(tail) // 2 :]
                if word.casefold() not in self._words:
                    if old.isupper() and len(old) > 1:
                        return word.upper()
                    return word.capitalize() if old[0].isupper() else word
        return old


def _other_digits(string: str, rng: Random, *, longer: bool = False) -> str:
    """Other digits of the same script, zeros staying (round amounts stay round); one more if `longer`."""
    done = []
    for c in string:
        value = unicodedata.decimal(c, 0)
        if not value:
            done.append(c)
            continue
        zero = ord(c) - value
        if longer:
            done.append(chr(zero + rng.randint(1, 9)))
            longer = False
        done.append(chr(zero + rng.randint(1, 9)))
    return "".join(done)


def _long(word: str) -> bool:
    """Whether a word is long enough to build names from its halves."""
    return len(word) > (1 if UNSPACED.search(word) else 3)


@dataclass(frozen=True)
class PerturbationSettings:
    """Training records (names to avoid), and how much is changed.

    `typo_percent`: share of the words of four letters or more. `joined_texts`: number of texts read as one.
    """

    train: Sequence[Record]
    typo_percent: float = 10
    joined_texts: int = 10
    seed: int = 0


CASES = ("lower", "upper")
Change = Callable[[Record, Random, PerturbationSettings], Record]
# Name to title and change of one record; those of "names" and "joined" need all records.
PERTURBATIONS: dict[str, tuple[str, Change]] = {
    "lower": ("lower case", lambda record, rng, settings: recased(record, str.lower)),
    "upper": ("upper case", lambda record, rng, settings: recased(record, str.upper)),
    "typos": ("typos", lambda record, rng, settings: with_typos(record, settings.typo_percent, rng)),
    "names": ("unseen names", lambda record, rng, settings: record),
    "punctuation": ("other punctuation", lambda record, rng, settings: repunctuated(record)),
    "joined": ("joined texts", lambda record, rng, settings: record),
}


def parse(text: str) -> list[str]:
    """`"lower,upper"` as names of perturbations, at least one, in that order and without repeats."""
    names = list(dict.fromkeys(names_among(tuple(PERTURBATIONS), "--perturb", text)))
    if not names:
        raise UserError(f"--perturb: an empty list; choose from {', '.join(PERTURBATIONS)}.")
    return names


def fitting(names: Sequence[str], gold: Sequence[Record]) -> tuple[list[str], dict[str, str]]:
    """The perturbations that can change these texts, and why others are left out.

    Raises:
        UserError: there are none.
    """
    if has_case(record.text for record in gold):
        return list(names), {}
    fit = [name for name in names if name not in CASES]
    if not fit:
        raise UserError("--perturb: the texts are in a script without case; choose other perturbations.")
    reason = "Upper and lower case are left out: the texts are in a script without case."
    return fit, {"Case": reason} if len(fit) < len(names) else {}


def perturb(name: str, gold: Sequence[Record], settings: PerturbationSettings) -> Perturbed:
    """All test texts, changed in one way."""
    title, change = PERTURBATIONS[name]
    randoms = [Random(f"{settings.seed} {name} {record.text}") for record in gold]
    records = [change(record, rng, settings) for record, rng in zip(gold, randoms, strict=True)]
    notes = []
    if name == "names":
        names = NewNames(settings.train)
        renamed = [names.renamed(record, rng) for record, rng in zip(gold, randoms, strict=True)]
        records = [record for record, _ in renamed]
        if kept := sum(n for _, n in renamed):
            spans = sum(len(record.spans) for record in gold)
            notes = [f"{kept:,} of {spans:,} spans could not be renamed (numbers in words, nested spans)."]
    size = settings.joined_texts if name == "joined" else 1
    if name == "joined":
        title = f"{size} texts as one"
    if name == "typos":
        title = f"typos in {settings.typo_percent:g} % of the words"
    indices = range(len(records))
    groups = [list(indices[start : start + size]) for start in range(0, len(records), size)]
    return Perturbed(name, title, records, groups, notes)


def unchanged(gold: Sequence[Record]) -> Perturbed:
    """The test texts as they are, to compare with."""
    return Perturbed("original", "as they are", list(gold), [[i] for i in range(len(gold))])

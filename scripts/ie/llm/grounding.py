"""Find a model's answers in the text: every span gets offsets and an alignment status.

A model answers with strings. A string becomes a span wherever it occurs in the text. One that doesn't occur
is recorded as `dropped` with the reason, and never guessed.
"""

import unicodedata
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from rapidfuzz import fuzz
from spacy.tokens import Doc

from ie.core.text import UNSPACED, VOWEL_SIGNS

# How certain the position is, best first. The order decides between overlapping spans of equal length.
ALIGNMENTS = ("exact", "normalised", "snapped", "fuzzy")

QUOTES = str.maketrans(
    dict.fromkeys("’‘‚‛`´ʼ′", "'") | dict.fromkeys("“”„‟«»″", '"') | dict.fromkeys("‐‑‒–—―−", "-")
)
WRAPPERS = "\"'“”‘’„‚«»`*"
BULLETS = "•"
# What a model may add to a value that it copied.
ENDINGS = " .,;:!?"
# Shorter strings are similar to too many others.
FUZZY_MIN_CHARS = 5
# Marks of alef (hamza, madda), left out where case is folded: many write the bare letter.
ALEF_MARKS = frozenset("\u0653\u0654\u0655")
# What belongs to the letter before it.
ARABIC_MARKS = VOWEL_SIGNS | ALEF_MARKS
JOINER, SPACER = "\u200d", "\u200b"
SKIN_TONES = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
IN_NUMBERS = ".,'’"


@dataclass(frozen=True, order=True)
class Grounded:
    """A span in characters of the text, and how it was found."""

    start: int
    end: int
    label: str
    alignment: str = "exact"


@dataclass(frozen=True)
class Dropped:
    """An answer that isn't a span: the label asked for, the model's string, and why it was dropped."""

    label: str
    text: str
    reason: str


def ground(
    doc: Doc, answers: Iterable[tuple[str, str]], *, fuzzy: float = 0.9, overlapping: bool = False
) -> tuple[list[Grounded], list[Dropped]]:
    """Find all mentions of each answer in the text.

    An answer is searched for as it is, with whitespace, quotes, dashes and the encoding of characters folded.
    If it isn't there, case is folded too and a final full stop removed. Then, if `fuzzy` is below 1, the most
    similar run of about as many tokens with the same digits is taken. Mentions begin and end at boundaries of
    words or numbers. One that begins or ends inside a token is widened to whole tokens and called "snapped".

    Of overlapping spans the longest is kept; of equally long ones the better aligned, then the one answered
    first. An answer is dropped if none of its mentions is kept. Spans that may overlap are kept, except a
    mention inside a longer span of its label if the same answer has mentions elsewhere.

    Args:
        doc: the tokenized text.
        answers: (label, string) as the model gave them, in order.
        fuzzy: least similarity (0 to 1, normalised edit distance) of a fuzzy match; 1 turns it off.
        overlapping: whether spans may overlap.

    Returns:
        Spans by position, and what was dropped in the order of the answers.
    """
    text = _Text(doc)
    candidates: list[tuple[Grounded, int]] = []
    values: list[tuple[str, str]] = []
    dropped: dict[int, Dropped] = {}
    for label, raw in dict.fromkeys(answers):
        value = unwrap(raw)
        if not value and not raw.strip():
            continue
        values.append((label, value or raw.strip()))
        mentions = _mentions(text, value, label, fuzzy) if value else []
        if not mentions:
            dropped[len(values) - 1] = Dropped(*values[-1], "not in the text")
        candidates += [(span, len(values) - 1) for span in mentions]
    chosen = _each_once(candidates) if overlapping else _without_overlaps(candidates)
    # Two answers for the same span and label: neither is dropped.
    places = {(span.start, span.end, span.label) for span, _ in chosen}
    staying = {number for span, number in candidates if (span.start, span.end, span.label) in places}
    for number in {number for _, number in candidates} - staying:
        dropped[number] = Dropped(*values[number], "overlaps another span")
    return sorted(span for span, _ in chosen), [dropped[number] for number in sorted(dropped)]


def unwrap(value: str) -> str:
    """An answer without whitespace, bullets, and pairs of quotes or asterisks around it."""
    start, end = 0, len(value)
    while start < end:
        if value[start].isspace() or value[start] in BULLETS:
            start += 1
        elif value[end - 1].isspace():
            end -= 1
        elif value[start] in WRAPPERS and value[end - 1] in WRAPPERS:
            start, end = start + 1, end - 1
        else:
            break
    return value[start:end]


def fold(text: str, *, case: bool = True) -> tuple[str, list[int]]:
    """The text with whitespace, quotes, dashes, compatible and composed characters and case folded.

    Invisible characters (soft hyphens, direction marks) and Arabic vowel signs are left out.

    Returns:
        The folded text and, for each of its characters and for its end, the offset in `text`.
    """
    characters: list[str] = []
    offsets: list[int] = []
    for place, character in enumerate(text):
        for part in _folded(character, case):
            if part != " " or characters[-1:] != [" "]:
                characters.append(part)
                offsets.append(place)
    return "".join(characters), [*offsets, len(text)]


@cache
def _folded(character: str, case: bool) -> str:
    kind = unicodedata.category(character)
    if character.isspace() or kind == "Cc":
        return " "
    if kind == "Cf" or character in VOWEL_SIGNS:
        return ""
    # Decomposed, as a model may compose accents that are separate in the text, or the other way round.
    plain = unicodedata.normalize("NFKD", character.translate(QUOTES)).translate(QUOTES)
    if not case:
        return plain
    return "".join(c for c in unicodedata.normalize("NFKD", plain.casefold()) if c not in ALEF_MARKS)


class _Text:
    """A document with its folded forms."""

    def __init__(self, doc: Doc) -> None:
        self.doc = doc
        self.text = doc.text
        self._forms = {case: fold(self.text, case=case) for case in (False, True)}

    def occurrences(self, value: str, *, case: bool) -> list[tuple[int, int]]:
        """Where `value` occurs, folded, without cutting a word or a character; (start, end) offsets."""
        folded, offsets = self._forms[case]
        plain = fold(value, case=case)[0].strip()
        places: list[tuple[int, int]] = []
        position = folded.find(plain) if plain else -1
        while position >= 0:
            last = position + len(plain) - 1
            # The end of the last character, not the start of the next one, as whitespace is folded.
            start, end = offsets[position], offsets[last] + 1
            while end < len(self.text) and self.text[end] in ARABIC_MARKS:
                end += 1
            halves = (position > 0 and offsets[position - 1] == start) or offsets[last + 1] == offsets[last]
            if halves or cuts(self.text, start) or cuts(self.text, end):
                position = folded.find(plain, position + 1)
            else:
                places.append((start, end))
                position = folded.find(plain, last + 1)
        return places


def cuts(text: str, place: int) -> bool:
    """Whether this offset is inside a character, word or number."""
    if not 0 < place < len(text):
        return False
    left, right = text[place - 1], text[place]
    if _is_mark(right) or JOINER in (left, right) or right in SKIN_TONES:
        return True
    before, after = place - 1, place
    while before > 0 and _is_invisible(text[before]):
        before -= 1
    while after < len(text) - 1 and _is_invisible(text[after]):
        after += 1
    left, right = text[before], text[after]
    if left in IN_NUMBERS and right.isdigit():
        return text[before - 1 : before].isdigit()
    if right in IN_NUMBERS and left.isdigit():
        return text[after + 1 : after + 2].isdigit()
    if UNSPACED.match(left) or UNSPACED.match(right):
        return False
    return _is_word(left) and _is_word(right)


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_" or _is_mark(character)


def _is_mark(character: str) -> bool:
    # Accents on their own, the vowel signs of Indian scripts, the selectors of emoji
    return unicodedata.category(character)[0] == "M"


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) == "Cf" and character != SPACER


def _mentions(text: _Text, value: str, label: str, fuzzy: float) -> list[Grounded]:
    if places := text.occurrences(value, case=False):
        return [
            _on_tokens(
                text.doc, start, end, label, "exact" if text.text[start:end] == value else "normalised"
            )
            for start, end in places
        ]
    for variant in (value, value.rstrip(ENDINGS), value.strip(WRAPPERS + ENDINGS)):
        if places := text.occurrences(variant, case=True):
            return [_on_tokens(text.doc, start, end, label, "normalised") for start, end in places]
    if fuzzy < 1 and len(value) >= FUZZY_MIN_CHARS:
        alike = _most_similar(text.doc, fold(value)[0].strip(), fuzzy)
        places = text.occurrences(alike, case=False) if alike else []
        return [_on_tokens(text.doc, start, end, label, "fuzzy") for start, end in places]
    return []


def _on_tokens(doc: Doc, start: int, end: int, label: str, alignment: str) -> Grounded:
    span = doc.char_span(start, end, alignment_mode="expand")
    first, last = span.start_char, span.end_char
    return Grounded(first, last, label, alignment if (first, last) == (start, end) else "snapped")


def _most_similar(doc: Doc, plain: str, fuzzy: float) -> str:
    """The run of tokens most similar to `plain`, the first of several; "" if none is similar enough.

    Its digits must be the same: another amount isn't a misspelling.
    """
    unspaced = UNSPACED.search(plain)  # then as many tokens as characters, or fewer
    width = len(plain) if unspaced else len(plain.split())
    least, most = (1, width + 2) if unspaced else (max(1, width - 1), 2 * width + 2)
    digits = _digits(plain)
    whole = doc.text
    starts = [token.i for token in doc if not token.is_space and not cuts(whole, token.idx)]
    ends = [token.i + 1 for token in doc if not token.is_space and not cuts(whole, token.idx + len(token))]
    best, alike = 0.0, ""
    for start in starts:
        for end in ends[bisect_left(ends, start + least) :]:
            if end > start + most:
                break
            part = whole[doc[start].idx : doc[end - 1].idx + len(doc[end - 1])]
            text = fold(part)[0].strip()
            if abs(len(text) - len(plain)) > (1 - fuzzy) * max(len(text), len(plain)):
                continue
            score = fuzz.ratio(text, plain, score_cutoff=100 * fuzzy) / 100
            if score > best and _digits(text) == digits:
                best, alike = score, part
    return alike


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def _rank(candidate: tuple[Grounded, int]) -> tuple[int, int, int, int]:
    span, number = candidate
    return span.start - span.end, ALIGNMENTS.index(span.alignment), number, span.start


def _each_once(candidates: list[tuple[Grounded, int]]) -> list[tuple[Grounded, int]]:
    best: dict[tuple[int, int, str], tuple[Grounded, int]] = {}
    for span, number in sorted(candidates, key=_rank):
        best.setdefault((span.start, span.end, span.label), (span, number))
    marked = list(best.values())

    def is_inner(span: Grounded) -> bool:
        return any(
            o.label == span.label and o.start <= span.start and span.end <= o.end and o is not span
            for o, _ in marked
        )

    # "Atlas" of "Atlas Growth Fund" isn't another company if the answer "Atlas" has a place of its own.
    free = {number for span, number in marked if not is_inner(span)}
    return [(span, number) for span, number in marked if number not in free or not is_inner(span)]


def _without_overlaps(candidates: list[tuple[Grounded, int]]) -> list[tuple[Grounded, int]]:
    chosen: list[tuple[Grounded, int]] = []
    taken: set[int] = set()
    for span, number in sorted(candidates, key=_rank):
        places = range(span.start, span.end)
        if taken.isdisjoint(places):
            taken.update(places)
            chosen.append((span, number))
    return chosen

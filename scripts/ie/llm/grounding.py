"""From what a model says to where the text says it: every span has offsets and an alignment status.

A model answers with strings. A string that stands in the text becomes spans, at each place where it
stands; one that doesn't is kept as `dropped` with the reason, never guessed.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from rapidfuzz import fuzz
from spacy.tokens import Doc

# How sure the place is, best first. The order decides between overlapping spans of equal length.
ALIGNMENTS = ("exact", "normalised", "snapped", "fuzzy")

QUOTES = str.maketrans({"’": "'", "‘": "'", "`": "'", "“": '"', "”": '"', "–": "-", "—": "-", "‑": "-"})
WRAPPERS = "\"'“”‘’«»`*•"
# A shorter string is like too many others for a similarity to mean anything.
FUZZY_MIN_CHARS = 5


@dataclass(frozen=True, order=True)
class Grounded:
    """A span in characters of the text, with the way in which it was found."""

    start: int
    end: int
    label: str
    alignment: str = "exact"


@dataclass(frozen=True)
class Dropped:
    """An answer that became no span: the label asked for, what the model said, and why it was dropped."""

    label: str
    text: str
    reason: str


def ground(
    doc: Doc, answers: Iterable[tuple[str, str]], *, fuzzy: float = 0.9
) -> tuple[list[Grounded], list[Dropped]]:
    """Find all mentions of each answer in the text.

    An answer is looked for as it is; then with case, white space, quotes and dashes folded; then, if
    `fuzzy` is below 1, as the most similar run of about as many tokens. Mentions begin and end where a
    word does. One that begins or ends inside a token is widened to whole tokens and called "snapped".

    Of overlapping spans the longest stays; of equally long ones the better aligned, then the one
    answered first. An answer is dropped if none of its mentions stays.

    Args:
        doc: the tokenised text.
        answers: (label, string) as the model gave them, in order.
        fuzzy: least similarity (0 to 1, normalised edit distance) of a fuzzy match; 1 turns it off.

    Returns:
        Spans by position, without overlaps, and what was dropped in the order of the answers.
    """
    folded, offsets = fold(doc.text)
    candidates: list[tuple[Grounded, int]] = []
    said: list[tuple[str, str]] = []
    dropped: list[Dropped] = []
    for label, raw in dict.fromkeys(answers):
        value = raw.strip().strip(WRAPPERS).strip() or raw.strip()
        if not value:
            continue
        found = _mentions(doc, folded, offsets, value, label, fuzzy)
        if not found:
            dropped.append(Dropped(label, value, "not in the text"))
        said.append((label, value))
        candidates += [(span, len(said) - 1) for span in found]
    kept = _without_overlaps(candidates)
    staying = {number for _, number in kept}
    for number in sorted({number for _, number in candidates} - staying):
        dropped.append(Dropped(*said[number], "overlaps a longer span"))
    return sorted(span for span, _ in kept), dropped


def fold(text: str) -> tuple[str, list[int]]:
    """The text with case, white space, quotes and dashes folded, and where each character came from.

    Returns:
        The folded text and, for each of its characters and for its end, the offset in `text`.
    """
    characters: list[str] = []
    offsets: list[int] = []
    for place, character in enumerate(text):
        plain = unicodedata.normalize("NFKC", character).translate(QUOTES).casefold()
        if character.isspace():
            plain = "" if characters and characters[-1] == " " else " "
        for part in plain:
            characters.append(part)
            offsets.append(place)
    return "".join(characters), [*offsets, len(text)]


def _mentions(
    doc: Doc, folded: str, offsets: list[int], value: str, label: str, fuzzy: float
) -> list[Grounded]:
    found = [(m, m + len(value)) for m in _occurrences(doc.text, value)]
    if found:
        return _on_tokens(doc, found, label, "exact")
    plain = fold(value)[0].strip()
    found = [
        # the end is that of the last character, not the beginning of the next: spaces are folded
        (offsets[m], offsets[m + len(plain) - 1] + 1)
        for m in (_occurrences(folded, plain) if plain else [])
    ]
    if found:
        return _on_tokens(doc, found, label, "normalised")
    if fuzzy < 1 and len(plain) >= FUZZY_MIN_CHARS:
        return _most_similar(doc, plain, label, fuzzy)
    return []


def _occurrences(text: str, value: str) -> list[int]:
    """Where `value` stands in `text` and doesn't begin or end in the middle of a word."""
    before = r"(?<!\w)" if _is_word(value[0]) else ""
    after = r"(?!\w)" if _is_word(value[-1]) else ""
    return [match.start() for match in re.finditer(before + re.escape(value) + after, text)]


def _is_word(character: str) -> bool:
    # Combining marks and digits go on with a word, too.
    return re.match(r"\w", character) is not None or unicodedata.combining(character) > 0


def _on_tokens(doc: Doc, found: list[tuple[int, int]], label: str, alignment: str) -> list[Grounded]:
    spans = []
    for start, end in found:
        span = doc.char_span(start, end, alignment_mode="expand")
        first, last = span.start_char, span.end_char
        spans.append(Grounded(first, last, label, alignment if (first, last) == (start, end) else "snapped"))
    return spans


def _most_similar(doc: Doc, plain: str, label: str, fuzzy: float) -> list[Grounded]:
    """The run of tokens most like `plain`, if it is like enough; the first of equals."""
    width = len(plain.split())
    best: tuple[float, int, int] | None = None
    for start in range(len(doc)):
        if doc[start].is_space:
            continue
        for end in range(start + max(1, width - 1), min(len(doc), start + 2 * width + 2) + 1):
            text = fold(doc[start:end].text)[0].strip()
            if abs(len(text) - len(plain)) > (1 - fuzzy) * max(len(text), len(plain)):
                continue
            score = fuzz.ratio(text, plain, score_cutoff=100 * fuzzy) / 100
            if score and (best is None or score > best[0]):
                best = (score, start, end)
    if best is None:
        return []
    span = doc[best[1] : best[2]]
    return [Grounded(span.start_char, span.end_char, label, "fuzzy")]


def _without_overlaps(candidates: list[tuple[Grounded, int]]) -> list[tuple[Grounded, int]]:
    def rank(candidate: tuple[Grounded, int]) -> tuple[int, int, int, int]:
        span, number = candidate
        return span.start - span.end, ALIGNMENTS.index(span.alignment), number, span.start

    kept: list[tuple[Grounded, int]] = []
    taken: set[int] = set()
    for span, number in sorted(candidates, key=rank):
        places = range(span.start, span.end)
        if taken.isdisjoint(places):
            taken.update(places)
            kept.append((span, number))
    return kept

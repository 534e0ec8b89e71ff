"""Baselines that a trained model has to beat: hand-written rules, and a dictionary of annotated strings."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.pipeline import EntityRuler, SpanRuler

from components.span_classifier import SPANS_KEY
from ie.core.files import read_jsonl
from ie.data.docs import from_doc
from ie.data.gazetteer import read_gazetteer
from ie.data.records import Record, Span

Predict = Callable[[Sequence[str]], list[Record]]
# Token sequence -> (most frequent label, number of annotations with it, number of occurrences)
Counts = dict[tuple[str, ...], tuple[str, int, int]]


def rules(
    nlp: Language,
    *,
    patterns: Path | None = None,
    gazetteer: Path | None = None,
    label: str = "",
    overlapping: bool = False,
) -> Language:
    """A pipeline of one `entity_ruler`: hand-written patterns, and every name of a gazetteer.

    Where two matches overlap, the longer one wins; an `overlapping` scheme has a `span_ruler`, which keeps
    both. Names are matched with their case.

    Args:
        nlp: an empty pipeline, changed in place.
        patterns: spaCy's pattern JSONL, `{"label": ..., "pattern": "text" or [token, ...]}` per line.
        gazetteer: list of known names and aliases (see `ie.data.gazetteer`).
        label: label of the gazetteer's names.
    """
    ruler = add_ruler(nlp, overlapping=overlapping)
    phrases: list[dict[str, Any]] = []

    def add(pattern: dict[str, Any]) -> None:
        labelled = isinstance(pattern["label"], str)
        if not labelled or not isinstance(pattern["pattern"], str | list) or not pattern["pattern"]:
            raise TypeError
        if isinstance(pattern["pattern"], str):
            phrases.append(pattern)
        else:
            ruler.add_patterns([pattern])

    if patterns:
        fault = (
            "not a pattern that spaCy can match; it must be like "
            '{"label": "PRODUCT", "pattern": [{"LOWER": "coat"}]}'
        )
        read_jsonl(patterns, add, fault, "create it, or leave the option empty")
    if gazetteer:
        phrases += [{"label": label, "pattern": name} for name in names(gazetteer)]
    ruler.add_patterns(phrases)
    return nlp


def add_ruler(nlp: Language, *, overlapping: bool) -> EntityRuler | SpanRuler:
    """Add an `entity_ruler` to a pipeline, or a `span_ruler` where spans may overlap.

    Of matches that overlap, an `entity_ruler` keeps the longer one, and a `span_ruler` all.
    """
    settings: dict[str, Any] = {"validate": True}
    if overlapping:
        ruler = nlp.add_pipe("span_ruler", config=settings | {"spans_key": SPANS_KEY})
    else:
        ruler = nlp.add_pipe("entity_ruler", config=settings)
    assert isinstance(ruler, EntityRuler | SpanRuler)
    return ruler


def names(path: Path) -> list[str]:
    """Names and aliases of a gazetteer in the order of the file, without repeats."""
    return list(dict.fromkeys(n for entry in read_gazetteer(path) for n in (entry.name, *entry.aliases)))


def predict_with(nlp: Language) -> Predict:
    """A function from texts to the records that a pipeline predicts, its entities as spans."""

    def predict(texts: Sequence[str]) -> list[Record]:
        # spaCy's limit is for parsers; long texts are only slow here
        nlp.max_length = max(nlp.max_length, *(len(text) + 1 for text in texts), 0)
        return [from_doc(doc) for doc in nlp.pipe(texts)]

    return predict


@dataclass(frozen=True)
class Dictionary:
    """Marks strings that were annotated in training wherever they occur: longest match, majority label.

    Attributes:
        overlapping: whether strings within others are marked as well.
        labels: label of each string, a tuple of tokens. The strings were annotated at least `min_count`
            times, and in at least the share `min_precision` of their occurrences.
    """

    tokenize: Callable[[str], Sequence[Any]]
    labels: dict[tuple[str, ...], str]
    min_count: int
    min_precision: float
    overlapping: bool = False

    @property
    def longest(self) -> int:
        """Tokens in the longest string."""
        return max(map(len, self.labels), default=0)

    def __call__(self, texts: Sequence[str]) -> list[Record]:
        longest = self.longest
        return [self._mark(text, longest) for text in texts]

    def _mark(self, text: str, longest: int) -> Record:
        doc = self.tokenize(text)
        words = [token.text for token in doc]
        spans = []
        for start, end, key in _matches(words, self.labels, longest, self.overlapping):
            last = doc[end - 1]
            spans.append(Span(start=doc[start].idx, end=last.idx + len(last), label=self.labels[key]))
        return Record(text=text, spans=spans)


def build_dictionary(
    train: Sequence[Record],
    tokenize: Callable[[str], Sequence[Any]],
    *,
    counts: Iterable[int] = (1, 2, 3),
    precisions: Iterable[float] = (0.0, 0.25, 0.5, 0.75, 0.9),
    folds: int = 5,
    overlapping: bool = False,
) -> Dictionary:
    """Collect the annotated strings of the training records; the thresholds are those with the best F.

    F is cross-validated on these records, as the lowest thresholds would always win otherwise. The hash of
    its text determines the fold of a record.
    """
    tokens = [[token.text for token in tokenize(record.text)] for record in train]
    gold = [token_spans(record, tokenize) for record in train]
    fold = [int(hashlib.sha256(r.text.encode()).hexdigest()[:8], 16) % folds for r in train]
    annotated = {tuple(words[s:e]) for words, spans in zip(tokens, gold, strict=True) for s, e, _ in spans}
    occurrences = [_occurrences(words, annotated) for words in tokens]
    thresholds = list(product(counts, precisions))
    tally = dict.fromkeys(thresholds, (0, 0, 0))
    for held_out in range(folds):
        rest = [i for i in range(len(train)) if fold[i] != held_out]
        known = _count(rest, gold, tokens, occurrences)
        for threshold in thresholds:
            labels = _filter(known, *threshold)
            longest = max(map(len, labels), default=0)
            tp, predicted, expected = tally[threshold]
            for i in (i for i in range(len(train)) if fold[i] == held_out):
                matches = {
                    (start, end, labels[key])
                    for start, end, key in _matches(tokens[i], labels, longest, overlapping)
                }
                tp += len(matches & gold[i])
                predicted, expected = predicted + len(matches), expected + len(gold[i])
            tally[threshold] = tp, predicted, expected

    def quality(threshold: tuple[int, float]) -> tuple[float, int]:
        tp, predicted, expected = tally[threshold]
        return 2 * tp / max(predicted + expected, 1), -predicted

    # Among thresholds with equal F, prefer fewer predictions; then max takes the first, lowest ones.
    best = max(thresholds, key=quality)
    known = _count(range(len(train)), gold, tokens, occurrences)
    return Dictionary(tokenize, _filter(known, *best), *best, overlapping)


def token_spans(record: Record, tokenize: Callable[[str], Any]) -> set[tuple[int, int, str]]:
    """(first token, last token + 1, label) of the spans that align with tokens; others are left out."""
    doc = tokenize(record.text)
    aligned = ((doc.char_span(span.start, span.end), span.label) for span in record.spans)
    return {(span.start, span.end, label) for span, label in aligned if span is not None}


def _occurrences(words: list[str], keys: set[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Every occurrence of a string that is annotated somewhere, overlapping ones included."""
    first = {key[0] for key in keys}
    lengths = sorted({len(key) for key in keys})
    return [
        key
        for start, word in enumerate(words)
        if word in first
        for length in lengths
        if (key := tuple(words[start : start + length])) in keys and len(key) == length
    ]


def _count(
    indices: Iterable[int],
    gold: list[set[tuple[int, int, str]]],
    tokens: list[list[str]],
    occurrences: list[list[tuple[str, ...]]],
) -> Counts:
    labels: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    occurred: Counter[tuple[str, ...]] = Counter()
    for i in indices:
        occurred.update(occurrences[i])
        for start, end, label in gold[i]:
            labels[tuple(tokens[i][start:end])][label] += 1
    counts = {}
    for key, by_label in labels.items():
        label, n = min(by_label.items(), key=lambda item: (-item[1], item[0]))
        counts[key] = (label, n, occurred[key])
    return counts


def _filter(known: Counts, min_count: int, min_precision: float) -> dict[tuple[str, ...], str]:
    return {key: label for key, (label, n, of) in known.items() if n >= min_count and n >= min_precision * of}


def _matches(
    words: list[str], labels: dict[tuple[str, ...], str], longest: int, overlapping: bool
) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """The longest known string at each position from left to right; all strings if they may overlap."""
    start = 0
    while start < len(words):
        following = start + 1
        for end in range(min(len(words), start + longest), start, -1):
            key = tuple(words[start:end])
            if key in labels:
                yield start, end, key
                if not overlapping:
                    following = end
                    break
        start = following

"""What a trained model has to beat: rules that somebody wrote, and a memory of what was annotated."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from spacy.errors import MatchPatternError
from spacy.language import Language
from spacy.pipeline import EntityRuler

from ie.core.errors import UserError
from ie.data.gazetteer import read_gazetteer
from ie.data.records import Record, Span, from_doc

Predict = Callable[[Sequence[str]], list[Record]]
# Token sequence -> (label, times it was annotated so, times it occurred)
Counts = dict[tuple[str, ...], tuple[str, int, int]]


def rules(
    nlp: Language, *, patterns: Path | None = None, gazetteer: Path | None = None, label: str = ""
) -> Language:
    """A pipeline of one `entity_ruler`: patterns written by hand, and every name of a list.

    Where two matches overlap the longer wins. Names are matched as they are written, case included.

    Args:
        nlp: an empty pipeline, changed in place.
        patterns: spaCy's pattern JSONL: `{"label": ..., "pattern": "text" or [token, ...]}` a line.
        gazetteer: list of known names (see `ie.data.gazetteer`), aliases included.
        label: label of the gazetteer's names.

    Raises:
        UserError: a file is missing, a line is no pattern, the list is no gazetteer.
    """
    ruler = nlp.add_pipe("entity_ruler", config={"validate": True})
    assert isinstance(ruler, EntityRuler)
    phrases: list[dict[str, Any]] = []
    if patterns:
        for number, pattern in _patterns(patterns):
            if isinstance(pattern["pattern"], str):
                phrases.append(pattern)
                continue
            try:
                ruler.add_patterns([pattern])
            except (MatchPatternError, ValueError, TypeError) as error:
                reason = " ".join(str(error).split())
                raise UserError(
                    f"{patterns}:{number}: spaCy can't match with it ({reason}); correct the pattern."
                ) from None
    if gazetteer:
        phrases += [{"label": label, "pattern": name} for name in names(gazetteer)]
    ruler.add_patterns(phrases)
    return nlp


def _patterns(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_read(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            pattern = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}:{number}: not JSON ({error}); write one pattern a line.") from None
        good = isinstance(pattern, dict) and isinstance(pattern.get("label"), str)
        if not good or not isinstance(pattern.get("pattern"), str | list) or not pattern["pattern"]:
            raise UserError(
                f"{path}:{number}: not a pattern; it must be like "
                '{"label": "PRODUCT", "pattern": [{"LOWER": "coat"}]}.'
            )
        yield number, pattern


def names(path: Path) -> list[str]:
    """Names and aliases of a gazetteer in the order of the file, each once.

    Raises:
        UserError: the file is no gazetteer.
    """
    found = [name for entry in read_gazetteer(path) for name in (entry.name, *entry.aliases)]
    return list(dict.fromkeys(found))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; create it, or leave the option empty.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start + 1}); save the file as UTF-8.") from None


def predict_with(nlp: Language) -> Predict:
    """The records that a spaCy pipeline makes of texts, its entities as spans."""

    def predict(texts: Sequence[str]) -> list[Record]:
        # The limit guards parsers; a long text is slow here, but no danger.
        nlp.max_length = max(nlp.max_length, *(len(text) + 1 for text in texts), 0)
        return [from_doc(doc) for doc in nlp.pipe(texts)]

    return predict


@dataclass(frozen=True)
class Memoriser:
    """Marks whatever was annotated in training, wherever it occurs again: longest match, majority label.

    Only strings annotated at least `min_count` times, and at least in the share `min_precision` of their
    occurrences, are marked ("Atlas" the map is then left alone). `memory` maps tokens to labels.
    """

    tokenize: Callable[[str], Sequence[Any]]
    memory: dict[tuple[str, ...], str]
    min_count: int
    min_precision: float

    @property
    def longest(self) -> int:
        """Tokens in the longest remembered string."""
        return max((len(tokens) for tokens in self.memory), default=0)

    def __call__(self, texts: Sequence[str]) -> list[Record]:
        longest = self.longest
        return [self._mark(text, longest) for text in texts]

    def _mark(self, text: str, longest: int) -> Record:
        doc = self.tokenize(text)
        words = [token.text for token in doc]
        spans = []
        for start, end, key in _longest_matches(words, self.memory, longest):
            last = doc[end - 1]
            spans.append(Span(start=doc[start].idx, end=last.idx + len(last), label=self.memory[key]))
        return Record(text=text, spans=spans)


def memoriser(
    train: Sequence[Record],
    tokenize: Callable[[str], Sequence[Any]],
    *,
    counts: Iterable[int] = (1, 2, 3),
    precisions: Iterable[float] = (0.0, 0.25, 0.5, 0.75, 0.9),
    folds: int = 5,
) -> Memoriser:
    """Remember the spans of the training records; the thresholds are those with the best F on them.

    F is cross-validated: what a text adds to the memory is not used on that text, or remembering all
    would always look best. Texts are dealt into folds by the hash of their text.
    """
    tokens = [[token.text for token in tokenize(record.text)] for record in train]
    gold = [_token_spans(record, tokenize) for record in train]
    fold = [int(hashlib.sha256(r.text.encode()).hexdigest()[:8], 16) % folds for r in train]
    everything = _annotated(tokens, gold)
    occurrences = [_occurrences(words, everything) for words in tokens]
    thresholds = list(product(counts, precisions))
    tally = dict.fromkeys(thresholds, (0, 0, 0))
    for held_out in range(folds):
        rest = [i for i in range(len(train)) if fold[i] != held_out]
        known = _count(rest, gold, tokens, occurrences)
        for threshold in thresholds:
            memory = _filter(known, *threshold)
            longest = max((len(key) for key in memory), default=0)
            tp, predicted, wanted = tally[threshold]
            for i in (i for i in range(len(train)) if fold[i] == held_out):
                found = {
                    (start, end, memory[key])
                    for start, end, key in _longest_matches(tokens[i], memory, longest)
                }
                tp += len(found & gold[i])
                predicted, wanted = predicted + len(found), wanted + len(gold[i])
            tally[threshold] = tp, predicted, wanted

    def quality(threshold: tuple[int, float]) -> tuple[float, int]:
        tp, predicted, wanted = tally[threshold]
        return 2 * tp / max(predicted + wanted, 1), -predicted

    # Of thresholds with equal F the one with fewer false alarms; max takes the first, loosest, of the rest.
    best = max(thresholds, key=quality)
    everyone = _count(range(len(train)), gold, tokens, occurrences)
    return Memoriser(tokenize, _filter(everyone, *best), *best)


def _token_spans(record: Record, tokenize: Callable[[str], Any]) -> set[tuple[int, int, str]]:
    """(first token, last token + 1, label) of the spans that lie on token edges; others can't be recalled."""
    doc = tokenize(record.text)
    found = ((doc.char_span(span.start, span.end), span.label) for span in record.spans)
    return {(span.start, span.end, label) for span, label in found if span is not None}


def _annotated(tokens: list[list[str]], gold: list[set[tuple[int, int, str]]]) -> set[tuple[str, ...]]:
    return {tuple(words[s:e]) for words, spans in zip(tokens, gold, strict=True) for s, e, _ in spans}


def _occurrences(words: list[str], keys: set[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Every stretch of the text that is annotated somewhere, overlapping ones included."""
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
    found = {}
    for key, seen in labels.items():
        label, n = min(seen.items(), key=lambda item: (-item[1], item[0]))
        found[key] = (label, n, occurred[key])
    return found


def _filter(known: Counts, min_count: int, min_precision: float) -> dict[tuple[str, ...], str]:
    return {key: label for key, (label, n, of) in known.items() if n >= min_count and n >= min_precision * of}


def _longest_matches(
    words: list[str], memory: dict[tuple[str, ...], str], longest: int
) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """From left to right, the longest remembered string at each place, none overlapping."""
    start = 0
    while start < len(words):
        for end in range(min(len(words), start + longest), start, -1):
            key = tuple(words[start:end])
            if key in memory:
                yield start, end, key
                start = end
                break
        else:
            start += 1

"""Agreement between two sets of answers to the same texts: spans, tokens, relations, categories.

Neither side is gold: F is the same for both directions. Kappa and alpha are corrected for chance (Cohen 1960;
Krippendorff 2018, Content Analysis, chapter 12). All intervals resample texts.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from spacy.language import Language

from ie.core import stats
from ie.core.errors import UserError
from ie.core.stats import FN, FP, TP, Estimate
from ie.data.records import HAS_CATEGORY, Record, Relation, read_answers
from ie.data.scheme import Scheme
from ie.evaluation import scoring

ALL = "all"
SpanKey = tuple[int, int, str]


@dataclass
class Side:
    """One annotator's (or model's) accepted answers, by text; of several answers to a text the last.

    `revised` counts earlier answers to the same text, `aside` texts with another answer than accept.
    """

    name: str
    path: Path
    records: dict[str, Record] = field(default_factory=dict)
    revised: int = 0
    aside: int = 0


@dataclass
class Matched:
    """Texts that both sides answered, in the order of the first, and how many only one did.

    `moved` counts ids that both sides have with different texts; `outside` texts of other parts of the split.
    """

    first: list[Record]
    second: list[Record]
    only_first: int
    only_second: int
    moved: int
    outside: int

    def has_any(self, name: str) -> tuple[bool, bool]:
        """Whether each side has annotations in a field (`relations`, `cats`) of any text."""
        first, second = (any(getattr(r, name) for r in side) for side in (self.first, self.second))
        return first, second


@dataclass(frozen=True)
class LabelAgreement:
    """Agreement on one label: its number on each side (`first`, `second`) in `n` texts, and the scores."""

    label: str
    first: int
    second: int
    n: int
    scores: dict[str, Estimate]


def sides(first: Path, second: Path, names: tuple[str, str], scheme: Scheme) -> tuple[Side, Side]:
    """The two sides: whole files, or annotators (`meta.annotator`) in files that name several.

    Args:
        names: of the sides. The name of an annotator selects only the answers of that annotator. If both
            files are the same and have two annotators, no names are needed.

    Raises:
        UserError: it isn't clear which answers a side consists of, or it has no accepted answer.
    """
    answers = {path: read_answers(path, scheme) for path in (first, second)}
    both = []
    for place, (path, name) in enumerate(zip((first, second), names, strict=True)):
        annotators = sorted({record.annotator for record in answers[path] if record.annotator})
        if first == second and name not in annotators:
            if len(annotators) == 2 and not set(names) & set(annotators):
                name = annotators[place]
            elif len(annotators) < 2:
                raise UserError(
                    f"{path}: all its answers are of one annotator ({' '.join(annotators) or 'not named'}); "
                    "name a second file, or add answers with another meta.annotator."
                )
        if name in annotators:
            both.append(_side(name, path, [r for r in answers[path] if r.annotator == name]))
        elif len(annotators) > 1:
            raise UserError(
                f"{path}: has answers of {', '.join(annotators)}, but none of {name!r}; name one of "
                "these annotators."
            )
        else:
            both.append(_side(name, path, answers[path]))
    if both[0].name == both[1].name:
        raise UserError(f"{both[0].name!r} can't be compared with itself; give the sides different names.")
    return both[0], both[1]


def _side(name: str, path: Path, answers: Iterable[Record]) -> Side:
    last: dict[str, Record] = {}
    side = Side(name, path)
    for record in answers:
        side.revised += record.text in last
        last[record.text] = record
    side.records = {text: record for text, record in last.items() if record.answer == "accept"}
    side.aside = len(last) - len(side.records)
    if not side.records:
        raise UserError(f"{path}: no accepted answer of {name!r}; review some texts first.")
    return side


def match(first: Side, second: Side, only: set[str] | None = None) -> Matched:
    """Pair the answers by text.

    Args:
        only: texts to compare; None for all.

    Raises:
        UserError: there is no text in common.
    """
    wanted = {
        side.name: {text: r for text, r in side.records.items() if only is None or text in only}
        for side in (first, second)
    }
    mine, theirs = wanted[first.name], wanted[second.name]
    common = [text for text in mine if text in theirs]
    if not common:
        among = "" if only is None else " among those asked for (agreement_sides)"
        raise UserError(
            f"{first.path}, {second.path}: {first.name} and {second.name} have no text in common{among}; "
            "have both annotate the same texts."
        )
    lone = {r.id for text, r in mine.items() if text not in theirs}
    return Matched(
        [mine[text] for text in common],
        [theirs[text] for text in common],
        len(mine) - len(common),
        len(theirs) - len(common),
        len(lone & {r.id for text, r in theirs.items() if text not in mine}),
        len(first.records) + len(second.records) - len(mine) - len(theirs),
    )


def kappa(table: np.ndarray) -> np.ndarray:
    """Cohen's kappa of contingency tables (..., k, k); NaN where agreement by chance is certain."""
    n = table.sum(axis=(-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        seen = np.trace(table, axis1=-2, axis2=-1) / n
        chance = (table.sum(axis=-1) * table.sum(axis=-2)).sum(axis=-1) / n**2
        return np.where(chance < 1, (seen - chance) / (1 - chance), np.nan)


def alpha(table: np.ndarray) -> np.ndarray:
    """Krippendorff's alpha (nominal, two coders, nothing missing) of contingency tables (..., k, k)."""
    coincidences = table + np.swapaxes(table, -2, -1)
    values = coincidences.sum(axis=-1)
    n = values.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        seen = 1 - np.trace(coincidences, axis1=-2, axis2=-1) / n
        expected = 1 - (values * (values - 1)).sum(axis=-1) / (n * (n - 1))
        return np.where(expected > 0, 1 - seen / expected, np.nan)


def f(counts: np.ndarray) -> np.ndarray:
    """F of counts (..., 3)."""
    return stats.prf(counts)[..., 2]


def spans(matched: Matched, labels: Sequence[str], nlp: Language, seed: int = 0) -> list[LabelAgreement]:
    """Exact and overlap F of spans, kappa and alpha of tokens, for each label and for all.

    Spans overlap if they share a character and the label; each is paired once. A token has the label of
    the span it is in, or none. In spans that overlap it has the labels of all of them: for a label it counts
    whether that is among them, and for all of them whether both sides have the same ones.
    """
    exact = scoring.count(matched.first, matched.second, labels)
    overlap = exact.copy()
    for i, (mine, theirs) in enumerate(zip(matched.first, matched.second, strict=True)):
        for error in scoring.errors(mine, theirs):
            if error.kind == "boundary" and error.label in labels:
                overlap[i, labels.index(error.label)] += np.array([1, -1, -1])[[TP, FP, FN]]
    tables, label_sets = _token_tables(matched, nlp)
    rows = []
    for column, label in enumerate((*labels, ALL)):
        pick = (lambda a: a.sum(axis=1)) if label == ALL else (lambda a, c=column: a[:, c])
        has_label = [label in names for names in label_sets]
        tokens = tables if label == ALL else _binary(tables, has_label)
        scores = {
            "exact": _interval(pick(exact), f, seed),
            "overlap": _interval(pick(overlap), f, seed),
            **_chance_corrected(tokens, seed),
        }
        tp, fp, fn = pick(exact).sum(axis=0)
        rows.append(LabelAgreement(label, int(tp + fn), int(tp + fp), len(exact), scores))
    return rows


def relations(matched: Matched, known: Sequence[str], seed: int = 0) -> list[LabelAgreement]:
    """F of relations (`exact`: both spans and the label alike), and of those between spans both have.

    If one side has no relation in any text, it did not annotate them, and nothing is compared.

    Args:
        known: labels of the scheme, shown first; others that occur follow.
    """
    if not all(matched.has_any("relations")):
        return []
    labels = _with_other(known, (e.label for r in (*matched.first, *matched.second) for e in r.relations))
    counts = np.zeros((2, len(matched.first), len(labels), 3), dtype=np.int64)
    for i, (mine, theirs) in enumerate(zip(matched.first, matched.second, strict=True)):
        shared = span_keys(mine) & span_keys(theirs)
        edges = [{edge_key(record, edge) for edge in record.relations} for record in (mine, theirs)]
        for way, (a, b) in enumerate((edges, [_within(own, shared) for own in edges])):
            for column, keys in ((TP, a & b), (FP, b - a), (FN, a - b)):
                for _, _, label in keys:
                    counts[way, i, labels.index(label), column] += 1
    rows = []
    for column, label in enumerate((*labels, ALL)):
        both = counts.sum(axis=2) if label == ALL else counts[:, :, column]
        scores = {name: _interval(both[i], f, seed) for i, name in enumerate(("exact", "shared"))}
        tp, fp, fn = both[0].sum(axis=0)
        rows.append(LabelAgreement(label, int(tp + fn), int(tp + fp), len(matched.first), scores))
    return rows


def categories(matched: Matched, known: Sequence[str], seed: int = 0) -> list[LabelAgreement]:
    """Kappa and alpha of each category, and of the choice among them where both sides always choose one.

    Only texts for which both sides have a value for the category count.

    Args:
        known: labels of the scheme, shown first; others that occur follow.
    """
    labels = _with_other(known, (c for r in (*matched.first, *matched.second) for c in r.cats))
    pairs = [
        (mine.cats, theirs.cats)
        for mine, theirs in zip(matched.first, matched.second, strict=True)
        if mine.cats and theirs.cats
    ]
    rows = []
    for label in labels:
        chosen = [
            (a[label] >= HAS_CATEGORY, b[label] >= HAS_CATEGORY)
            for a, b in pairs
            if label in a and label in b
        ]
        if chosen:
            rows.append(_category_row(label, chosen, 2, seed))
    one = [[[c for c in labels if cats.get(c, 0) >= HAS_CATEGORY] for cats in pair] for pair in pairs]
    if rows and all(len(a) == len(b) == 1 for a, b in one):
        chosen = [(labels.index(a[0]), labels.index(b[0])) for a, b in one]
        rows.append(_category_row(ALL, chosen, len(labels), seed))
    return rows


def span_keys(record: Record) -> set[SpanKey]:
    """Edges and label of each span."""
    return {(span.start, span.end, span.label) for span in record.spans}


def edge_key(record: Record, edge: Relation) -> tuple[SpanKey, SpanKey, str]:
    """A relation by its spans instead of their numbers."""
    ends = [record.spans[i] for i in (edge.head, edge.child)]
    head, child = ((span.start, span.end, span.label) for span in ends)
    return head, child, edge.label


def as_json(rows: Iterable[LabelAgreement]) -> dict[str, Any]:
    """Rows as plain data, scores to four digits with the ends of their intervals; undefined ones are null."""

    def number(value: float) -> float | None:
        return None if np.isnan(value) else round(value, 4)

    return {
        row.label: {
            "first": row.first,
            "second": row.second,
            "texts": row.n,
            **{
                f"{name}{part}": number(getattr(estimate, attribute))
                for name, estimate in row.scores.items()
                for part, attribute in (("", "value"), ("_low", "low"), ("_high", "high"))
            },
        }
        for row in rows
    }


def _with_other(known: Sequence[str], others: Iterable[str]) -> list[str]:
    return [*known, *sorted(set(others) - set(known))]


def _category_row(label: str, chosen: Sequence[tuple[int, int]], k: int, seed: int) -> LabelAgreement:
    tables = np.zeros((len(chosen), k, k), dtype=np.int64)
    for i, (a, b) in enumerate(chosen):
        tables[i, int(a), int(b)] = 1
    counts = [len(chosen) if label == ALL else sum(bool(pair[side]) for pair in chosen) for side in (0, 1)]
    return LabelAgreement(label, counts[0], counts[1], len(chosen), _chance_corrected(tables, seed))


def _chance_corrected(tables: np.ndarray, seed: int) -> dict[str, Estimate]:
    return {
        name: stats.interval(tables, score, seed=seed, bounds=(-1.0, 1.0))
        for name, score in (("kappa", kappa), ("alpha", alpha))
    }


def _interval(counts: np.ndarray, score: Callable[[np.ndarray], np.ndarray], seed: int) -> Estimate:
    return stats.interval(counts, score, seed=seed)


def _within(edges: set, shared: set[SpanKey]) -> set:
    return {edge for edge in edges if edge[0] in shared and edge[1] in shared}


def _binary(tables: np.ndarray, inside: Sequence[bool]) -> np.ndarray:
    """Tables (documents, k, k) as some of the k against the rest, (documents, 2, 2)."""
    chosen = np.array(inside)
    first, second = tables[:, chosen].sum(axis=1), tables[:, ~chosen].sum(axis=1)
    rows = [[of[:, ~chosen].sum(axis=1), of[:, chosen].sum(axis=1)] for of in (second, first)]
    return np.stack([np.stack(row, axis=1) for row in rows], axis=1)


def _token_tables(matched: Matched, nlp: Language) -> tuple[np.ndarray, list[frozenset[str]]]:
    """How often tokens have label set i on the first side and j on the second, and the label sets."""
    index: dict[frozenset[str], int] = {frozenset(): 0}
    pairs = []
    for mine, theirs in zip(matched.first, matched.second, strict=True):
        tokens = [(t.idx, t.idx + len(t)) for t in nlp.tokenizer(mine.text) if not t.is_space]
        both = [[index.setdefault(s, len(index)) for s in _of_tokens(r, tokens)] for r in (mine, theirs)]
        pairs.append(both)
    tables = np.zeros((len(pairs), len(index), len(index)), dtype=np.int64)
    for table, both in zip(tables, pairs, strict=True):
        np.add.at(table, tuple(np.array(both, dtype=np.int64)), 1)
    return tables, list(index)


def _of_tokens(record: Record, tokens: Sequence[tuple[int, int]]) -> list[frozenset[str]]:
    return [
        frozenset(span.label for span in record.spans if start < span.end and span.start < end)
        for start, end in tokens
    ]

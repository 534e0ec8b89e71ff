"""Exact database rows of a whole pipeline, and how many of them each component costs.

A row is a relation: its label and its two ends. An end is a span with the predictions of other components
(the entry it links to, its amount), if the pipeline has them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
from spacy.language import Language

from ie.data.docs import entities_doc, pipeline_record
from ie.data.records import Record, Span
from ie.evaluation.relations import keys as relation_keys

NIL = "NIL"
NER, RELATIONS = "ner", "relations"
Ends = dict[tuple[int, int, str], Any]
Rows = list[set[tuple]]


def link_of(span: Span) -> str:
    """The id that a span links to, "NIL" for none."""
    return str((span.model_extra or {}).get("kb_id") or NIL)


def money_of(span: Span) -> tuple | None:
    """(low, high, currency) of a span's `value`, "5000000 USD" or "10-15 EUR"; None if it has none."""
    amount, _, currency = str((span.model_extra or {}).get("value") or "").rpartition(" ")
    low, _, high = amount.partition("-")
    try:
        return Decimal(low), Decimal(high or low), currency
    except InvalidOperation:
        return None


# The values of an end, by component, and where gold has them.
KNOWN = {"linker": link_of, "money": money_of}
KEYS = {"linker": "kb_id", "money": "value"}


def components(nlp: Language) -> tuple[str, ...]:
    """The components of a pipeline that determine its rows, in its order."""
    return tuple(name for name in nlp.pipe_names if name in (NER, RELATIONS, *KNOWN))


def compared(nlp: Language, gold: Sequence[Record]) -> list[str]:
    """The components whose answers can be compared: links and amounts only if a gold span has one."""
    there = {key for record in gold for span in record.spans for key in span.model_extra or ()}
    return [name for name in components(nlp) if name not in KEYS or KEYS[name] in there]


def values_of(nlp: Language, gold: Sequence[Record]) -> list[str]:
    """The components of a pipeline that give the ends of a row the values that are compared with gold."""
    return [name for name in compared(nlp, gold) if name in KNOWN]


def gold_rows(records: Sequence[Record], values: Sequence[str]) -> Rows:
    """The rows of gold records, with the values of some components of `KNOWN`."""
    return [_rows(relation_keys(record), ends_of(record, values)) for record in records]


def ends_of(record: Record, values: Sequence[str]) -> Ends:
    """The values of each span: a tuple in the order of `values`."""
    return {
        (span.start, span.end, span.label): tuple(KNOWN[name](span) for name in values)
        for span in record.spans
    }


def right_rows(answer: Record, gold: Record, values: Sequence[str]) -> list[bool]:
    """Whether gold has each relation of an answer, with the values of its ends.

    Args:
        values: components of `KNOWN`; without any, relations are compared.
    """
    (rows,) = gold_rows([gold], values)
    spans, ends = [(span.start, span.end, span.label) for span in answer.spans], ends_of(answer, values)
    return [
        (r.label, (head, ends[head]), (child, ends[child])) in rows
        for r in answer.relations
        for head, child in [(spans[r.head], spans[r.child])]
    ]


def predicted_rows(nlp: Language, records: Sequence[Record], perfect: Sequence[str] = ()) -> Rows:
    """The rows that a pipeline predicts.

    Args:
        perfect: components whose predictions are replaced by gold. Gold relations, links and amounts apply to
            the predicted spans that are right.
    """
    values = values_of(nlp, records)
    if NER in perfect:
        with nlp.select_pipes(disable=[NER]):
            docs = list(nlp.pipe(entities_doc(record, nlp) for record in records))
    else:
        docs = list(nlp.pipe(record.text for record in records))
    rows = []
    for record, answer in zip(records, map(pipeline_record, docs), strict=True):
        gold, ends = ends_of(record, values), ends_of(answer, values)
        for key in ends.keys() & gold.keys():
            ends[key] = tuple(
                right if name in perfect else predicted
                for name, right, predicted in zip(values, gold[key], ends[key], strict=True)
            )
        rows.append(_rows(relation_keys(record if RELATIONS in perfect else answer), ends))
    return rows


def _rows(relations: set[tuple], ends: Mapping) -> set[tuple]:
    return {
        (label, (head, ends[head]), (child, ends[child]))
        for head, child, label in relations
        if head in ends and child in ends
    }


def count(gold: Rows, predicted: Rows) -> np.ndarray:
    """(documents, 3): exact, spurious and missing rows."""
    return np.array(
        [(len(g & f), len(f - g), len(g - f)) for g, f in zip(gold, predicted, strict=True)], dtype=np.int64
    ).reshape(-1, 3)


@dataclass(frozen=True)
class ComponentCost:
    """Counts (documents, 3) of a pipeline with one component replaced by gold."""

    component: str
    counts: np.ndarray


def budget(nlp: Language, records: Sequence[Record]) -> tuple[np.ndarray, list[ComponentCost]]:
    """Counts of the whole pipeline, and those with each component replaced by gold, one at a time.

    The costs don't add up: replacing one component doesn't fix a row that is wrong for two reasons.
    """
    names = compared(nlp, records)
    gold = gold_rows(records, values_of(nlp, records))
    base = count(gold, predicted_rows(nlp, records))
    return base, [ComponentCost(name, count(gold, predicted_rows(nlp, records, [name]))) for name in names]

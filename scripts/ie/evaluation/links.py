"""How well mentions are linked: to the right entry, and to none (NIL) where the table has none."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.tokens import Span

from components.linker import NIL, Candidate, Linker
from ie.core import stats
from ie.data.docs import to_doc
from ie.data.records import Record


@dataclass(frozen=True)
class LinkedMention:
    """A gold mention: `gold` is its id, or "NIL"."""

    record: Record
    span: Span
    gold: str


@dataclass(frozen=True)
class LinkResult:
    """The answer for a mention; `ambiguous` if its best-matching names are of several entries."""

    mention: LinkedMention
    answer: str
    probability: float
    ambiguous: bool
    gold_found: bool

    @property
    def right(self) -> bool:
        """Whether the id, or NIL, is right."""
        return self.answer == self.mention.gold

    def row(self, names: Mapping[str, str]) -> dict[str, Any]:
        """For the list of errors."""
        gold = self.mention.gold
        return {
            "id": self.mention.record.id,
            "mention": self.mention.span.text,
            "gold": f"{gold} {names.get(gold, '')}".strip(),
            "answer": f"{self.answer} {names.get(self.answer, '')}".strip(),
            "probability": round(self.probability, 3),
            "gold_found": self.gold_found,
            "text": self.mention.record.text,
        }


def mentions(nlp: Language, records: Iterable[Record], labels: Sequence[str]) -> list[LinkedMention]:
    """The linked mentions of gold records (those that carry a `kb_id`)."""
    linked = []
    for record in records:
        doc = to_doc(record, nlp)
        linked += [
            LinkedMention(record, ent, ent.kb_id_) for ent in doc.ents if ent.label_ in labels and ent.kb_id_
        ]
    return linked


def judge(linker: Linker, gold: Iterable[LinkedMention]) -> list[LinkResult]:
    """Link gold mentions."""
    results = []
    for mention in gold:
        candidates = linker.get_candidates(mention.span)
        answer, probability = linker.link(mention.span)
        best = [c for c in candidates if c.match == candidates[0].match]
        offered = any(entry_id(linker, c) == mention.gold for c in candidates)
        results.append(LinkResult(mention, answer, probability, len(best) > 1, offered))
    return results


def share(verdicts: Sequence[LinkResult], seed: int = 0) -> stats.Estimate:
    """The share of right ones, with its bootstrap interval over texts."""
    return stats.intervals(_counts(verdicts, lambda v: (v.right, 0, not v.right)), seed=seed)[1]


def nil(verdicts: Sequence[LinkResult], seed: int = 0) -> tuple[stats.Estimate, ...]:
    """Precision, recall and F of the answer NIL."""
    return stats.intervals(
        _counts(
            verdicts,
            lambda v: (
                v.answer == v.mention.gold == NIL,
                v.answer == NIL != v.mention.gold,
                v.mention.gold == NIL != v.answer,
            ),
        ),
        seed=seed,
    )


def _counts(verdicts: Sequence[LinkResult], count: Any) -> np.ndarray:
    rows_: dict[str, np.ndarray] = {}
    for verdict in verdicts:
        row = rows_.setdefault(verdict.mention.record.text, np.zeros(3, dtype=np.int64))
        row += np.array(count(verdict), dtype=np.int64)
    return np.array(list(rows_.values())).reshape(-1, 3)


def entry_id(linker: Linker, candidate: Candidate) -> str:
    """The id of a candidate's entry."""
    assert linker.table is not None
    return linker.table.id(candidate.entry)

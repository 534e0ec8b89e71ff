"""Scores of links: to the right entry, or to none (NIL) if the table doesn't have it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spacy.language import Language
from spacy.tokens import Span

from components.linker import NIL, Candidate, Linker
from ie.core import stats
from ie.data.docs import to_doc
from ie.data.records import Record
from ie.evaluation import scoring


@dataclass(frozen=True)
class LinkedMention:
    """A gold mention: `gold` is its id, or "NIL"."""

    record: Record
    span: Span
    gold: str


@dataclass(frozen=True)
class LinkResult:
    """The prediction for a mention; `ambiguous` if its best matches are names of several entries."""

    mention: LinkedMention
    answer: str
    probability: float
    ambiguous: bool
    gold_found: bool

    @property
    def record(self) -> Record:
        """The text it is in."""
        return self.mention.record

    @property
    def right(self) -> bool:
        """Whether the id, or NIL, is right."""
        return self.answer == self.mention.gold

    def row(self, names: Mapping[str, str]) -> dict[str, Any]:
        """For the list of errors."""
        gold = self.mention.gold
        return {
            "id": self.record.id,
            "mention": self.mention.span.text,
            "gold": f"{gold} {names.get(gold, '')}".strip(),
            "answer": f"{self.answer} {names.get(self.answer, '')}".strip(),
            "probability": round(self.probability, 3),
            "gold_found": self.gold_found,
            "text": self.record.text,
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


def nil(results: Sequence[LinkResult], seed: int = 0) -> tuple[stats.Estimate, ...]:
    """Precision, recall and F of the answer NIL."""

    def count(result: LinkResult) -> tuple[int, int, int]:
        gold, answer = result.mention.gold == NIL, result.answer == NIL
        return gold and answer, answer and not gold, gold and not answer

    return stats.intervals(scoring.count_by_text(results, count), seed=seed)


def entry_id(linker: Linker, candidate: Candidate) -> str:
    """The id of a candidate's entry."""
    assert linker.table is not None
    return linker.table.id(candidate.entry)

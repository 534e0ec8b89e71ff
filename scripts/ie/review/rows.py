"""Row questions: is a relation that the pipeline isn't sure of right, with its spans and their values?

They are asked before the other questions about a text. "yes" takes over the relation and its spans; "no"
removes the relation from the suggestions; "correct" leaves the row to the other questions. None of them
settles a label: a text becomes gold once it was read as a whole, as the pipeline may have missed something.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ie.core.files import json_text
from ie.data.records import Record, Span
from ie.evaluation.database_rows import NIL, money_of
from ie.review.cells import Cells
from ie.review.drafts import Edge, Mark, ReviewDraft, SpanNumbers
from ie.review.settings import ROW, Unit

Verdict = Literal["yes", "no", "correct"]
PREFIX = f"{ROW}:"  # of the name of such a question
# What gold keeps of a span besides its place and label.
VALUES = ("kb_id", "name", "value")


@dataclass(frozen=True)
class SuggestedRow:
    """A relation of the pipeline, with its spans and the probability that all of it is right."""

    head: Span
    child: Span
    label: str
    confidence: float | None

    @property
    def unit(self) -> Unit:
        """The question. Its name changes with all that is shown of the row but the confidence."""
        content = json_text([self.label, *(end.model_dump() for end in (self.head, self.child))])
        labels = tuple(dict.fromkeys((self.label, self.head.label, self.child.label)))
        return Unit(ROW, labels, f"{PREFIX}{hashlib.sha256(content.encode()).hexdigest()[:12]}")

    def fits(self, units: Sequence[Unit], *, overlapping: bool) -> bool:
        """Whether the other questions ask for such spans and relations, and gold can hold both spans."""
        parts = {part for unit in units for part in unit.parts}
        needed = {f"relations:{self.label}", f"spans:{self.head.label}", f"spans:{self.child.label}"}
        apart = self.head.end <= self.child.start or self.child.end <= self.head.start
        return needed <= parts and (apart or overlapping)

    def answered(self, verdict: Verdict) -> dict[str, Any]:
        """The row and its answer, as the log keeps them."""
        content = {"answer": verdict, "label": self.label, "confidence": self.confidence}
        return content | {"head": self.head.model_dump(), "child": self.child.model_dump()}

    def shown(self) -> dict[str, Any]:
        """What the page shows besides the spans: the values of the ends, and how sure the pipeline is."""
        return {
            "values": [", ".join(values_of(end)) for end in (self.head, self.child)],
            "confidence": self.confidence,
        }


def unsure_rows(record: Record, numbers: Sequence[int]) -> list[SuggestedRow]:
    """Some relations of a record as rows, in this order."""
    rows = []
    for relation in (record.relations[number] for number in numbers):
        head, child = (record.spans[number] for number in (relation.head, relation.child))
        sure = getattr(relation, "row_confidence", None)
        known = isinstance(sure, int | float) and 0 <= sure <= 1
        rows.append(SuggestedRow(head, child, relation.label, sure if known else None))
    return rows


def on_cells(row: SuggestedRow, divided: Cells) -> SuggestedRow | None:
    """The row with spans that can be marked, and with no more of them than gold keeps."""
    ends = []
    for end in (row.head, row.child):
        if (at := divided.covering(end.start, end.end)) is None:
            return None
        start, stop = divided.offsets(*at)
        values = {key: value for key, value in (end.model_extra or {}).items() if key in VALUES}
        ends.append(Span(start=start, end=stop, label=end.label, **values))
    return SuggestedRow(*ends, row.label, row.confidence) if ends[0] != ends[1] else None


def values_of(span: Span) -> Iterator[str]:
    """The link and the amount of a span in words, where it has any."""
    extra = span.model_extra or {}
    if id_ := extra.get("kb_id"):
        name = extra.get("name")
        yield "no link" if id_ == NIL else f"{name} ({id_})" if name else str(id_)
    if amount := money_of(span):
        low, high, currency = amount
        yield f"{currency} {low:,f}" + (f" to {high:,f}" if high != low else "")


def open_row(rows: Sequence[SuggestedRow], draft: ReviewDraft) -> SuggestedRow | None:
    """The next row to ask about, None once another question was answered or is to correct the rest."""
    if draft.parts or any(row["answer"] == "correct" for row in draft.rows.values()):
        return None
    return next((row for row in rows if row.unit.name not in draft.rows), None)


def judge(
    draft: ReviewDraft, row: SuggestedRow, verdict: Verdict, *, overlapping: bool
) -> tuple[list[Mark], list[Edge], dict[str, Any]]:
    """Spans, relations and rows of a draft after an answer to a row.

    Args:
        overlapping: whether spans may overlap; else those of the row replace others.
    """
    rows = draft.rows | {row.unit.name: row.answered(verdict)}
    # Before other questions, rows alone give the draft its content, so that an answer can be taken back.
    spans = list(draft.spans) if draft.parts else []
    numbers = SpanNumbers(spans)
    relations: list[Edge] = [
        (spans[head], spans[child], label) for head, child, label in numbers.joined(draft.relations)
    ]
    for one in [rows[row.unit.name]] if draft.parts else rows.values():
        edge: Edge = (*_marks(one), one["label"])
        relations = [other for other in relations if other != edge or one["answer"] == "correct"]
        if one["answer"] == "yes":
            taken = [mark for mark in edge[:2] if mark not in spans]
            kept = [s for s in spans if overlapping or not any(s[0] < t[1] and t[0] < s[1] for t in taken)]
            spans, relations = sorted([*kept, *dict.fromkeys(taken)]), [*relations, edge]
    numbers = SpanNumbers(spans)
    edges = [(numbers.ends[h], numbers.ends[c], label) for h, c, label in numbers.joined(relations)]
    return spans, edges, rows


def confirmed(draft: ReviewDraft) -> dict[Mark, dict[str, Any]]:
    """The spans of right rows, and their values."""
    return {mark: values for answer, mark, values in _ends(draft) if answer == "yes"}


def rejected(draft: ReviewDraft) -> set[tuple[Mark, Mark, str]]:
    """The relations of rows that aren't right."""
    return {(*_marks(row), row["label"]) for row in draft.rows.values() if row["answer"] == "no"}


def with_values(draft: ReviewDraft, extras: dict[Mark, dict[str, Any]]) -> dict[Mark, dict[str, Any]]:
    """What gold keeps of spans, with the values of right rows and without those that were taken back."""
    known = {mark: dict(values) for mark, values in extras.items()}
    for answer, mark, values in _ends(draft):
        if answer != "yes" and mark in known:
            known[mark] = {key: value for key, value in known[mark].items() if values.get(key) != value}
    for mark, values in confirmed(draft).items():
        known[mark] = known.get(mark, {}) | values
    return known


def _marks(row: dict[str, Any]) -> tuple[Mark, Mark]:
    head, child = ((end["start"], end["end"], end["label"]) for end in (row["head"], row["child"]))
    return head, child


def _ends(draft: ReviewDraft) -> Iterator[tuple[str, Mark, dict[str, Any]]]:
    """Answer, span and values of each end of the rows of a draft."""
    for row in draft.rows.values():
        for name, mark in zip(("head", "child"), _marks(row), strict=True):
            yield row["answer"], mark, {key: row[name][key] for key in VALUES if key in row[name]}

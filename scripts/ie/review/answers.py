"""Answers as the page sends them, and the annotation and the gold record that they make."""

from collections.abc import Collection
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from ie.core.errors import RequestError
from ie.data.records import Record, Relation, Span
from ie.review.cells import Cells
from ie.review.drafts import MAX_SECONDS, Edge, Mark, ReviewDraft, SpanNumbers
from ie.review.rows import SuggestedRow, Verdict, judge, with_values
from ie.review.settings import Unit

Index = Annotated[StrictInt, Field(ge=0, lt=2**31)]
Label = Annotated[StrictStr, Field(max_length=200)]


class ReviewAnswer(BaseModel):
    """An answer to one question. It repeats all that is marked in the text; spans count cells.

    Of an answer to a row, `row` alone counts.

    The page makes up `entry`. An answer with the same `entry` as an earlier one isn't counted again.
    """

    model_config = ConfigDict(extra="forbid")
    entry: StrictStr = Field(pattern=r"^[0-9a-zA-Z-]{8,40}$")
    annotator: StrictStr
    text: StrictStr = Field(max_length=16)
    unit: StrictStr = Field(max_length=200)
    base: StrictStr = Field(max_length=40)
    answer: Literal["accept", "reject", "ignore"]
    row: Verdict | None = None
    spans: list[tuple[Index, Index, Label]] = Field([], max_length=5000)
    relations: list[tuple[Index, Index, Label]] = Field([], max_length=5000)
    cats: dict[Label, Literal[0, 1]] = Field({}, max_length=1000)
    seconds: float = Field(0, ge=0, le=MAX_SECONDS, allow_inf_nan=False)
    meeting: StrictStr | None = Field(None, max_length=2000)


def update_draft(
    draft: ReviewDraft,
    answer: ReviewAnswer,
    unit: Unit,
    divided: Cells,
    *,
    one_category: bool,
    overlapping: bool = False,
    row: SuggestedRow | None = None,
) -> ReviewDraft:
    """The draft after an answer.

    Args:
        divided: the cells of the text.
        one_category: whether a text must have exactly one category.
        overlapping: whether spans may overlap; none may be there twice.
        row: the row that the question is about, if it is about one.

    Raises:
        RequestError: the answer doesn't fit the text or the question.
    """
    spans, relations, rows = list(draft.spans), list(draft.relations), draft.rows
    if (answer.row is not None) != (row is not None and answer.answer == "accept"):
        raise RequestError("A row is answered with yes, no or correct, and no other question is.")
    if row is not None and answer.row is not None:
        spans, relations, rows = judge(draft, row, answer.row, overlapping=overlapping)
    elif row is None:
        marks = _marks(answer, unit, draft, divided)
        if not overlapping and any(b[0] < a[1] for a, b in pairwise(sorted(marks))):
            raise RequestError("Two spans overlap; delete one of them.")
        if len(set(marks)) < len(marks):
            raise RequestError("A span has the same label twice; delete one of them.")
        spans, relations = sorted(marks), _relations(answer, unit, draft, marks)
    return ReviewDraft(
        round=draft.round,
        spans=spans,
        relations=relations,
        cats=_cats(answer, unit, draft, one_category),
        parts=draft.parts | unit.parts,
        rows=rows,
        answer=answer.answer,
        meeting=answer.meeting.strip() if answer.meeting is not None else None,
        seconds=draft.seconds + answer.seconds,
        annotators=list(dict.fromkeys([*draft.annotators, answer.annotator])),
    )


def _marks(answer: ReviewAnswer, unit: Unit, draft: ReviewDraft, divided: Cells) -> list[Mark]:
    """The spans of an answer in its own order, to which its relations refer."""
    earlier = {(divided.covering(start, end), label) for start, end, label in draft.spans}
    labels = unit.labels if unit.task == "spans" else ()
    marks: list[Mark] = []
    for first, end, label in answer.spans:
        try:
            start, stop = divided.offsets(first, end)
        except ValueError as error:
            raise RequestError(f"A span is outside the text: {error}.") from None
        if label not in labels and ((first, end), label) not in earlier:
            raise RequestError(f"This question does not ask for spans of {label!r}.")
        marks.append((start, stop, label))
    return marks


def _relations(answer: ReviewAnswer, unit: Unit, draft: ReviewDraft, marks: list[Mark]) -> list[Edge]:
    """The relations of the draft, with those of the question replaced; only those between marked spans."""
    earlier = SpanNumbers(draft.spans).joined(draft.relations)
    # by span, as edges that one span had alone may be those of two spans now
    relations: list[Edge] = [(draft.spans[head], draft.spans[child], label) for head, child, label in earlier]
    if unit.task == "relations":
        relations = [edge for edge in relations if edge[2] not in unit.labels]
        for head, child, label in answer.relations:
            if label not in unit.labels:
                continue
            if head == child or not (head < len(marks) and child < len(marks)):
                raise RequestError("A relation must join two spans of the text.")
            relations.append((marks[head], marks[child], label))
    numbers = SpanNumbers(marks)
    return [(numbers.ends[h], numbers.ends[c], label) for h, c, label in numbers.joined(relations)]


def _cats(answer: ReviewAnswer, unit: Unit, draft: ReviewDraft, one_category: bool) -> dict[str, float]:
    if unit.task != "categories" or answer.answer != "accept":
        return dict(draft.cats)
    if set(answer.cats) - set(unit.labels):
        raise RequestError("That is no category of the scheme.")
    cats: dict[str, float] = {label: answer.cats.get(label, 0) for label in unit.labels}
    if one_category and sum(cats.values()) != 1:
        raise RequestError("Choose one category.")
    return cats


def gold_record(
    draft: ReviewDraft, base: Record, tasks: Collection[str], entry: dict[str, Any], *, reviewed: bool
) -> Record:
    """The gold record of a finished text: its earlier record, updated with the answers.

    Args:
        base: the earlier record: gold if the text was `reviewed` before, else the raw one.
        entry: the line of the journal for the last answer.
    """
    # A link or an amount stays only with exactly the same span.
    extras = {(s.start, s.end, s.label): s.model_extra or {} for s in base.spans} if reviewed else {}
    extras = with_values(draft, extras)
    spans = [
        Span(start=s, end=e, label=label, **extras.get((s, e, label), {})) for s, e, label in draft.spans
    ]
    edges = SpanNumbers(draft.spans).joined(draft.relations)
    meta = {key: value for key, value in base.meta.items() if key != "meeting"}
    meta |= {
        "annotator": "+".join(draft.annotators),
        "guidelines": entry["guidelines"],
        "review": {
            "time": entry["time"],
            "seconds": round(draft.seconds, 1),
            "side": entry["side"],
            "tasks": sorted(tasks),
        },
    }
    meta |= {"meeting": draft.meeting} if draft.meeting is not None else {}
    content = {
        "text": base.text,
        "spans": spans,
        "relations": [Relation(head=head, child=child, label=label) for head, child, label in edges],
        "cats": draft.cats if "categories" in tasks or draft.cats else base.cats,
        "meta": meta,
    }
    return Record(**content, answer=draft.answer, **(base.model_extra or {}))

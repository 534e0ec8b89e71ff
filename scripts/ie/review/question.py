"""What the page shows of a question: the annotation so far, and what sources suggest."""

from collections.abc import Iterable, Sequence
from typing import Any

from ie.data.records import HAS_CATEGORY
from ie.review.cells import Cells
from ie.review.drafts import Edge, ReviewDraft, SpanNumbers
from ie.review.rows import SuggestedRow, confirmed, rejected
from ie.review.selection import SelectedText
from ie.review.settings import Unit
from ie.review.suggestion_sources import Suggestion, TextSuggestions


def annotation(
    draft: ReviewDraft,
    unit: Unit,
    known: TextSuggestions,
    selected: SelectedText | None,
    divided: Cells,
    *,
    overlapping: bool = False,
) -> dict[str, Any]:
    """Spans, relations and categories to show, as plain data.

    Args:
        known: what is suggested. It is preset only where this question wasn't answered before.
        selected: the text's place among the texts that are reviewed again, if it has one.
        divided: the cells of the text.
        overlapping: whether spans may overlap.
    """
    preset = not draft.settles(unit) and draft.round == 1
    marks = [Suggestion(*mark, source="") for mark in draft.spans]
    if preset and unit.task == "spans":
        taken = [] if overlapping else [(start, end) for start, end, _ in draft.spans]
        marks += [
            span
            for span in (selected.agreed() if selected else known.preset(overlapping=overlapping))
            if span.label in unit.labels and not any(span.start < e and s < span.end for s, e in taken)
        ]
    # a span outside others comes before these; two spans of one label can be the same cells
    marks.sort(key=lambda mark: (mark.start, -mark.end, mark.label))
    places: dict[tuple, Suggestion] = {}
    for mark in marks:
        places.setdefault((divided.covering(mark.start, mark.end), mark.label), mark)
    marks = [mark for (cells, _), mark in places.items() if cells]
    cats = draft.cats
    if preset and not selected and not cats:
        cats = known.cats
    right = confirmed(draft)
    return {
        "spans": [
            shown | ({"kept": True} if mark.key in right else {})
            for shown, mark in zip(_in_cells(divided, marks, known.spans), marks, strict=True)
        ],
        "others": _others(divided, unit, marks, known.spans) if unit.task == "spans" else [],
        "relations": _relations(draft, unit, marks, known if preset else TextSuggestions(), selected),
        "cats": {label: int(cats.get(label, 0) >= HAS_CATEGORY) for label in unit.labels}
        if unit.task == "categories"
        else {},
        "votes": known.cats_votes if unit.task == "categories" else {},
    }


def of_row(row: SuggestedRow, divided: Cells) -> dict[str, Any]:
    """A row in the form of `annotation`: its two spans, and the relation between them."""
    ends = [Suggestion(end.start, end.end, end.label, source="") for end in (row.head, row.child)]
    relation = {"head": 0, "child": 1, "label": row.label, "source": ""}
    shown = {"spans": _in_cells(divided, ends, []), "relations": [relation], "row": row.shown()}
    return shown | {"others": [], "cats": {}, "votes": {}}


def _others(
    divided: Cells, unit: Unit, marks: Sequence[Suggestion], known: Sequence[Suggestion]
) -> list[dict[str, Any]]:
    """Suggested spans of the question's labels that aren't marked, each once."""

    def cells_of(span: dict[str, Any]) -> tuple[int, int, str]:
        return span["first"], span["end"], span["label"]

    marked = {cells_of(span) for span in _in_cells(divided, marks, known)}
    distinct = list({span.key: span for span in reversed(known)}.values())[::-1]
    return [
        span
        for span in _in_cells(divided, distinct, known)
        if span["label"] in unit.labels and cells_of(span) not in marked
    ]


def _relations(
    draft: ReviewDraft,
    unit: Unit,
    marks: Sequence[Suggestion],
    known: TextSuggestions,
    selected: SelectedText | None,
) -> list[dict[str, Any]]:
    """The relations of the draft, and the suggested ones, by the numbers of their spans."""
    suggested: dict[Edge, list[str]] = {}
    for head, child, label, source in known.relations if unit.task == "relations" else ():
        suggested.setdefault((head, child, label), []).append(source)
    edges: list[tuple[Edge, Sequence[str]]] = [(edge, ()) for edge in draft.relations]
    edges += [
        (edge, names)
        for edge, names in suggested.items()
        # Of several people's answers, only what all of them marked.
        if edge[2] in unit.labels
        and edge not in draft.relations
        and (not selected or known.sources <= set(names))
    ]
    numbers = SpanNumbers([mark.key for mark in marks])
    rows: dict[tuple[int, int, str], str] = {}
    wrong = rejected(draft)
    for edge, names in edges:
        for head, child, label in numbers.joined([edge]):
            if not names or (marks[head].key, marks[child].key, label) not in wrong:
                rows.setdefault((head, child, label), " + ".join(names))
    return [
        {"head": head, "child": child, "label": label, "source": source}
        for (head, child, label), source in rows.items()
    ]


def _in_cells(
    divided: Cells, spans: Iterable[Suggestion], known: Sequence[Suggestion]
) -> list[dict[str, Any]]:
    """Spans by their cells, each with all sources that suggest it."""
    return [
        {
            "first": at[0],
            "end": at[1],
            "label": span.label,
            "sources": [
                {"name": backer.source, "alignment": backer.alignment, "score": backer.score}
                for backer in known
                if backer.key == span.key
            ],
        }
        for span in spans
        if (at := divided.covering(span.start, span.end)) is not None
    ]

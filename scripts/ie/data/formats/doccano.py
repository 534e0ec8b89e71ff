"""doccano's JSONL: `label` as triples of [start, end, label], or `entities` and `relations` with ids.

We write offsets that count Unicode characters. doccano's own page counts UTF-16 units, and its files don't
say which they have: see `Conversion.characters`. doccano keeps unknown keys as a text's metadata.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ie.core.errors import UserError
from ie.core.files import atomic_write, json_text
from ie.data.formats.conversion import (
    BESIDE,
    Conversion,
    Keys,
    Placed,
    entries,
    entry,
    json_lines,
    make,
    names,
)
from ie.data.records import Record

OURS = ("text", "label", "labels", "entities", "relations", "cats", "categories")
KEYS = Keys(
    annotation=frozenset(OURS) - {"text"},
    other=BESIDE | {"annotation_approver", "Comments", "comments", "username"},
)
ENTITY = ("id", "label", "start_offset", "end_offset", "user", "example", "created_at", "updated_at", "uuid")
RELATION = ("id", "from_id", "to_id", "type", "user", "example", "created_at", "updated_at", "uuid")


def read(path: Path, job: Conversion) -> Iterator[Placed]:
    """Records of any of its text projects: sequence labelling, relations, classification."""
    for place, data in json_lines(path, job):
        text = entry(place, data, "text", str)
        job.account(place, data, KEYS)
        items = [item for key in ("entities", "label", "labels") for item in entries(place, data, key)]
        chosen = [item for item in items if isinstance(item, str)] + names(place, data, "cats")
        spans, index = [], {}
        for item in items:
            if isinstance(item, str):
                continue
            span, identity = _span(place, text, item, job)
            if identity is not None:
                index[identity] = len(spans)
            spans.append(span)
        relations = []
        for item in entries(place, data, "relations"):
            job.account_part(item if isinstance(item, dict) else {}, RELATION, "relations")
            ends = [index.get(entry(place, item, key, int)) for key in ("from_id", "to_id")]
            if None in ends:
                raise UserError(f"{place}: a relation points to an entity that isn't there; delete it.")
            relations.append({"head": ends[0], "child": ends[1], "label": entry(place, item, "type", str)})
        fields = {key: value for key, value in data.items() if key not in OURS}
        known = names(place, data, "categories")
        if chosen or known:
            fields["cats"] = job.categories(chosen, known)
        yield place, make(place, **{**fields, "text": text, "spans": spans, "relations": relations})


def write(path: Path, items: Iterable[Record], job: Conversion) -> int:
    """Write triples; or entities and relations if any record has a relation, as all lines need one form."""
    everything = list(items)
    related = any(record.relations for record in everything)
    with atomic_write(path) as file:
        for record in everything:
            file.write(json_text(_line(record, job, related)) + "\n")
    return len(everything)


def _span(place: str, text: str, item: Any, job: Conversion) -> tuple[dict[str, Any], int | None]:
    if isinstance(item, list) and len(item) == 3:
        start, end = job.characters(place, text, *item[:2])
        return {"start": start, "end": end, "label": item[2]}, None
    if not isinstance(item, dict):
        raise UserError(f"{place}: {item!r} is no [start, end, label]; is the format the one you named?")
    job.account_part(item, ENTITY, "entities")
    start, end = (entry(place, item, key, int) for key in ("start_offset", "end_offset"))
    start, end = job.characters(place, text, start, end)
    identity = entry(place, item, "id", int) if item.get("id") is not None else None
    return {"start": start, "end": end, "label": entry(place, item, "label", str)}, identity


def _line(record: Record, job: Conversion, related: bool) -> dict[str, Any]:
    job.lose_extras(record, "spans", "relations")
    line: dict[str, Any] = {"text": record.text}
    if related:
        line["entities"] = [
            {"id": i, "label": span.label, "start_offset": span.start, "end_offset": span.end}
            for i, span in enumerate(record.spans)
        ]
        line["relations"] = [
            {"id": i, "from_id": edge.head, "to_id": edge.child, "type": edge.label}
            for i, edge in enumerate(record.relations)
        ]
    else:
        line["label"] = [[span.start, span.end, span.label] for span in record.spans]
    if record.cats:
        line |= {"cats": job.chosen(record), "categories": list(record.cats)}
    if record.meta:
        line["meta"] = record.meta
    if record.answer != "accept":
        line["answer"] = record.answer
    for key, value in (record.model_extra or {}).items():
        if key in OURS:
            job.lost[key] += 1
        else:
            line[key] = value
    return line

"""Label Studio's JSON: tasks with annotations, each of them a list of regions, relations and choices.

Offsets count Unicode characters as ours do; older versions counted UTF-16 units. A region repeats its text,
which shows the unit, and old offsets are converted.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ie.core.errors import UserError
from ie.core.files import read_text, write_json
from ie.data.formats.conversion import (
    BESIDE,
    UNDECODABLE,
    Conversion,
    Keys,
    Placed,
    entries,
    entry,
    make,
    names,
    parse_json,
)
from ie.data.records import Record
from ie.data.scheme import Scheme

# Names that the labelling interface (see `interface`) gives to its parts.
SPANS, CATEGORIES, TEXT = "label", "category", "text"
# In the user's own data only `categories`, which our export adds, is annotation.
DATA = Keys(annotation=frozenset({"categories"}), other=BESIDE)
TASK = frozenset(
    {
        *("id", "data", "meta", "annotations", "completions", "predictions", "file_upload", "project"),
        *("inner_id", "created_at", "updated_at", "updated_by", "overlap", "is_labeled"),
        *("total_annotations", "state", "cancelled_annotations", "total_predictions", "comment_count"),
        *("unresolved_comment_count", "comment_authors", "last_comment_updated_at", "avg_lead_time"),
        *("draft_exists", "allow_skip", "precomputed_agreement", "agreement"),
    }
)
ANNOTATION = frozenset(
    {
        *("id", "completed_by", "result", "was_cancelled", "ground_truth", "created_at", "updated_at"),
        *("lead_time", "prediction", "result_count", "unique_id", "import_id", "last_action"),
        *("bulk_created", "task", "project", "updated_by", "parent_prediction", "parent_annotation"),
        *("last_created_by", "draft_created_at", "state", "created_username", "created_ago"),
        *("honeypot"),
    }
)
REGION = (
    *("id", "from_name", "to_name", "type", "value", "meta", "score"),
    *("origin", "readonly", "hidden", "locked"),
)
RELATION = ("type", "from_id", "to_id", "direction", "labels")


def read(path: Path, job: Conversion) -> Iterator[Placed]:
    """A record for each annotation of each task."""
    tasks = parse_json(str(path), read_text(path, undecodable=UNDECODABLE), job)
    if not isinstance(tasks, list):
        raise UserError(f"{path}: no list of tasks; export the project as JSON (not JSON-MIN).")
    for number, task in enumerate(tasks, start=1):
        place = f"{path}: task {number}"
        data = entry(place, task, "data", dict)
        key = _text_key(place, data)
        # versions before 1.0 say completions
        annotations = [*entries(place, task, "annotations"), *entries(place, task, "completions")]
        job.account_part(task, TASK, "tasks")
        job.lost["tasks without an annotation"] += not annotations
        job.lost["predictions"] += len(entries(place, task, "predictions"))
        for annotation in annotations:
            # the text's key says that it is annotated: the annotation itself is elsewhere
            job.account(place, data, Keys(DATA.annotation | {key}, DATA.other))
            job.lost.update(f"data.{name}" for name in ("answer", "meta") if data.get(name))
            yield place, _record(place, task, key, annotation, job)


def write(path: Path, items: Iterable[Record], job: Conversion) -> int:
    """Write tasks with one annotation each, for the project's import."""
    tasks = [_task(record, job) for record in items]
    write_json(path, tasks, indent=1)
    return len(tasks)


def interface(scheme: Scheme) -> str:
    """The labelling interface of a project for this scheme, to paste into Label Studio's settings."""

    def escaped(name: str) -> str:
        return name.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")

    def block(head: str, tag: str, names: Sequence[str]) -> list[str]:
        items = [f'    <{tag} value="{escaped(name)}"/>' for name in names]
        return [f"  <{head}>", *items, f"  </{head.partition(' ')[0]}>"] if names else []

    lines = [
        *block("Relations", "Relation", scheme.relation_labels),
        *block(f'Labels name="{SPANS}" toName="{TEXT}"', "Label", scheme.span_labels),
        f'  <Text name="{TEXT}" value="$text"/>',
        *block(f'Choices name="{CATEGORIES}" toName="{TEXT}" choice="multiple"', "Choice", scheme.categories),
    ]
    return "\n".join(["<View>", *lines, "</View>"]) + "\n"


def _text_key(place: str, data: dict[str, Any]) -> str:
    """The key of the text: a labelling interface may give it any name."""
    texts = [key for key, value in data.items() if isinstance(value, str)]
    if TEXT in texts:
        return TEXT
    if TEXT in data or len(texts) != 1:
        raise UserError(
            f"{place}: no 'text' that is a string, but {', '.join(data) or 'nothing'}; rename the key of the "
            "text to text."
        )
    return texts[0]


def _record(place: str, task: dict[str, Any], key: str, annotation: Any, job: Conversion) -> Record:
    data, text = task["data"], task["data"][key]
    spans: list[dict[str, Any]] = []
    index: dict[str, int] = {}
    relations: list[dict[str, Any]] = []
    chosen: list[str] | None = None
    unread: list[str] = []
    for part in entry(place, annotation, "result", list):
        kind = entry(place, part, "type", str)
        if kind == "relation":
            job.account_part(part, RELATION, "relations")
            relations.append(part)
            continue
        value = entry(place, part, "value", dict)
        of_a_region = {"start", "end", "startOffset", "endOffset"} & value.keys()
        if kind == "labels":
            job.account_part(part, REGION, "regions")
            job.account_part(value, ("start", "end", "text", "labels"), "regions.value")
            # no label: a region that was only drawn
            labels = names(place, value, "labels")
            job.lost["regions without a label"] += not labels
            if job.scheme and not job.scheme.overlapping:
                job.lost["second label of a region"] += max(0, len(labels) - 1)
                labels = labels[:1]
            if labels:
                index[str(part.get("id"))] = len(spans)
                span_extra = {**_meta(part, job), **_confidence(part, job)}
                start, end = _offsets(place, text, value, job)
                spans += [{**span_extra, "start": start, "end": end, "label": label} for label in labels]
        elif kind == "choices" and not of_a_region:
            job.account_part(part, REGION, "choices")
            job.account_part(value, ("choices",), "choices.value")
            chosen = (chosen or []) + names(place, value, "choices")
        else:
            where = " of a region" if kind == "choices" else ""
            job.lost[f"results of type {kind}{where}"] += 1
            if of_a_region:
                unread.append(kind)
    if unread and not spans and chosen is None:
        job.refuse(place, sorted({f"results of type {kind}" for kind in unread}))
    job.account_part(annotation, ANNOTATION, "annotations")
    edges = [edge for relation in relations for edge in _relations(place, relation, index, job)]
    known = names(place, data, "categories")
    meta = dict(_meta(task, job))
    if (by := annotation.get("completed_by")) is not None:
        meta["annotator"] = str(by.get("email") or by.get("id")) if isinstance(by, dict) else str(by)
    fields = {name: value for name, value in data.items() if name not in ("categories", key)}
    if chosen is not None or "categories" in data:
        fields["cats"] = job.categories(chosen or [], known)
    answer = "ignore" if annotation.get("was_cancelled") else "accept"
    fields |= {"text": text, "spans": spans, "relations": edges, "answer": answer, "meta": meta}
    return make(place, **fields)


def _offsets(place: str, text: str, value: dict[str, Any], job: Conversion) -> tuple[int, int]:
    start, end = entry(place, value, "start", int), entry(place, value, "end", int)
    region_text = value.get("text")
    if not isinstance(region_text, str):
        return job.characters(place, text, start, end)
    # A region's text comes from the page, which shows a run of spaces as one.
    if _folded(text[start:end]) == _folded(region_text):
        return start, end
    units = text.encode("utf-16-le")
    before, inside = units[: 2 * start], units[2 * start : 2 * end]
    try:
        if _folded(inside.decode("utf-16-le")) == _folded(region_text):
            start = len(before.decode("utf-16-le"))
            return start, start + len(inside.decode("utf-16-le"))
    except UnicodeDecodeError:
        pass  # the middle of a character: the offsets are wrong in either unit
    raise UserError(
        f"{place}: the region {start}-{end} holds {text[start:end]!r}, but says {region_text!r}; "
        "has the text been changed? Correct its offsets."
    )


def _meta(part: dict[str, Any], job: Conversion) -> dict[str, Any]:
    meta = part.get("meta") or {}
    job.lost["meta that is no object"] += not isinstance(meta, dict)
    return meta if isinstance(meta, dict) else {}


def _confidence(part: dict[str, Any], job: Conversion) -> dict[str, Any]:
    """The score of a region is the confidence of a span."""
    score = part.get("score")
    valid = isinstance(score, int | float) and not isinstance(score, bool)
    job.lost["scores that are no numbers"] += not valid and score is not None
    return {"confidence": score} if valid else {}


def _folded(text: str) -> str:
    return " ".join(text.split())


def _relations(
    place: str, part: dict[str, Any], index: dict[str, int], job: Conversion
) -> Iterator[dict[str, Any]]:
    ends = [str(part.get("from_id")), str(part.get("to_id"))]
    if missing := [end for end in ends if end not in index]:
        raise UserError(
            f"{place}: a relation points to the region {missing[0]!r}, which isn't there or has no label; "
            "delete the relation."
        )
    head, child = (index[end] for end in ends)
    labels = names(place, part, "labels")
    job.lost["relations without a label"] += not labels
    for name in labels:
        if part.get("direction") in ("left", "bi"):
            yield {"head": child, "child": head, "label": name}
        if part.get("direction") != "left":
            yield {"head": head, "child": child, "label": name}


def _task(record: Record, job: Conversion) -> dict[str, Any]:
    job.lose_extras(record, "relations")
    result: list[dict[str, Any]] = []
    for i, span in enumerate(record.spans):
        value = {"start": span.start, "end": span.end, "text": record.text[span.start : span.end]}
        region = {
            "id": f"s{i}",
            "from_name": SPANS,
            "to_name": TEXT,
            "type": "labels",
            "value": {**value, "labels": [span.label]},
        }
        meta = dict(span.model_extra or {})
        if isinstance(meta.get("confidence"), int | float) and not isinstance(meta["confidence"], bool):
            region["score"] = meta.pop("confidence")
        result.append({**region, **({"meta": meta} if meta else {})})
    for relation in record.relations:
        ends = {"from_id": f"s{relation.head}", "to_id": f"s{relation.child}"}
        result.append({"type": "relation", **ends, "direction": "right", "labels": [relation.label]})
    data: dict[str, Any] = {"text": record.text, **(record.model_extra or {})}
    if record.cats:
        job.lost["categories"] += "categories" in data
        data["categories"] = list(record.cats)
        chosen = job.chosen(record)
        choices = {"id": "c", "from_name": CATEGORIES, "to_name": TEXT, "type": "choices"}
        if chosen:
            result.append({**choices, "value": {"choices": chosen}})
    # There is no "reject": written as skipped it can't come back as gold.
    job.lost["answer reject (written as skipped)"] += record.answer == "reject"
    annotation = {"result": result, "was_cancelled": record.answer != "accept"}
    return {"data": data, **({"meta": record.meta} if record.meta else {}), "annotations": [annotation]}

"""Label Studio's JSON: tasks with annotations, each of them a list of regions, relations and choices.

Offsets count Unicode characters as ours do; older versions counted UTF-16 units. A region repeats
its text, so that the unit is seen and the old offsets are converted.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ie.errors import UserError
from ie.files import write_json
from ie.interchange.job import Job, Placed, entry, make, parse_json, read_text
from ie.records import Record
from ie.scheme import Scheme

# Names that the labelling interface (see `interface`) gives to its parts.
SPANS, CATEGORIES, TEXT = "label", "category", "text"


def read(path: Path, job: Job) -> Iterator[Placed]:
    """A record for each annotation of each task; of several annotators, each its own."""
    tasks = parse_json(str(path), read_text(path))
    if not isinstance(tasks, list):
        raise UserError(f"{path}: no list of tasks; export the project as JSON (not JSON-MIN).")
    for number, task in enumerate(tasks, start=1):
        place = f"{path}: task {number}"
        data = entry(place, task, "data", dict)
        entry(place, data, "text", str)
        annotations = entry(place, task, "annotations", list) if "annotations" in task else []
        job.lost["tasks without an annotation"] += not annotations
        job.lost["predictions"] += len(task.get("predictions") or [])
        for annotation in annotations:
            yield place, _record(place, task, annotation, job)


def write(path: Path, items: Iterable[Record], job: Job) -> int:
    """Write tasks with one annotation each, for the project's import."""
    tasks = [_task(record, job) for record in items]
    write_json(path, tasks, indent=1)
    return len(tasks)


def interface(scheme: Scheme) -> str:
    """The labelling interface of a project for this scheme, to paste into Label Studio's settings."""

    def escaped(name: str) -> str:
        return name.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")

    lines = ["<View>"]
    if scheme.relation_labels:
        lines += ["  <Relations>"]
        lines += [f'    <Relation value="{escaped(name)}"/>' for name in scheme.relation_labels]
        lines += ["  </Relations>"]
    if scheme.span_labels:
        lines += [f'  <Labels name="{SPANS}" toName="{TEXT}">']
        lines += [f'    <Label value="{escaped(name)}"/>' for name in scheme.span_labels]
        lines += ["  </Labels>"]
    lines += [f'  <Text name="{TEXT}" value="$text"/>']
    if scheme.categories:
        lines += [f'  <Choices name="{CATEGORIES}" toName="{TEXT}" choice="multiple">']
        lines += [f'    <Choice value="{escaped(name)}"/>' for name in scheme.categories]
        lines += ["  </Choices>"]
    return "\n".join([*lines, "</View>"]) + "\n"


def _record(place: str, task: dict[str, Any], annotation: Any, job: Job) -> Record:
    data, text = task["data"], task["data"]["text"]
    spans: list[dict[str, Any]] = []
    index: dict[str, int] = {}
    relations: list[dict[str, Any]] = []
    chosen: list[str] | None = None
    for part in entry(place, annotation, "result", list):
        kind = entry(place, part, "type", str)
        if kind == "relation":
            relations.append(part)
        elif kind == "labels":
            # no names: a region that was drawn and given no label
            names = entry(place, part, "value", dict).get("labels") or []
            job.lost["regions without a label"] += not names
            job.lost["second label of a region"] += max(0, len(names) - 1)
            if names:
                index[str(part.get("id"))] = len(spans)
                span_extra = part.get("meta") if isinstance(part.get("meta"), dict) else {}
                start, end = _offsets(place, text, part["value"])
                spans.append({**span_extra, "start": start, "end": end, "label": names[0]})
        elif kind == "choices":
            chosen = (chosen or []) + entry(place, entry(place, part, "value", dict), "choices", list)
        else:
            job.lost[f"results of type {kind}"] += 1
    found = [edge for relation in relations for edge in _relations(place, relation, index, job)]
    known = data.get("categories")
    meta = dict(task["meta"]) if isinstance(task.get("meta"), dict) else {}
    if (by := annotation.get("completed_by")) is not None:
        meta["annotator"] = str(by.get("email") or by.get("id")) if isinstance(by, dict) else str(by)
    fields = {key: value for key, value in data.items() if key != "categories"}
    if chosen is not None or isinstance(known, list):
        fields["cats"] = job.categories(chosen or [], known if isinstance(known, list) else ())
    answer = "ignore" if annotation.get("was_cancelled") else "accept"
    return make(place, **{**fields, "spans": spans, "relations": found, "answer": answer, "meta": meta})


def _offsets(place: str, text: str, value: dict[str, Any]) -> tuple[int, int]:
    start, end = entry(place, value, "start", int), entry(place, value, "end", int)
    said = value.get("text")
    if not isinstance(said, str) or text[start:end] == said:
        return start, end
    units = text.encode("utf-16-le")
    before, inside = units[: 2 * start], units[2 * start : 2 * end]
    try:
        if inside.decode("utf-16-le") == said:
            start = len(before.decode("utf-16-le"))
            return start, start + len(said)
    except UnicodeDecodeError:
        pass  # the middle of a character: the offsets are wrong in either unit
    raise UserError(
        f"{place}: the region {start}-{end} holds {text[start:end]!r}, but says {said!r}; "
        "has the text been changed? Correct its offsets."
    )


def _relations(place: str, part: dict[str, Any], index: dict[str, int], job: Job) -> Iterator[dict[str, Any]]:
    ends = [str(part.get("from_id")), str(part.get("to_id"))]
    if missing := [end for end in ends if end not in index]:
        raise UserError(
            f"{place}: a relation points to the region {missing[0]!r}, which isn't there or has no label; "
            "delete the relation."
        )
    head, child = (index[end] for end in ends)
    names = part.get("labels") or []
    job.lost["relations without a label"] += not names
    for name in names:
        if part.get("direction") in ("left", "bi"):
            yield {"head": child, "child": head, "label": name}
        if part.get("direction") != "left":
            yield {"head": head, "child": child, "label": name}


def _task(record: Record, job: Job) -> dict[str, Any]:
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
        result.append({**region, **({"meta": span.model_extra} if span.model_extra else {})})
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

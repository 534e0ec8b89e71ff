"""Hugging Face datasets as Parquet: spans and relations as lists of structs, free-form parts as JSON.

Read back is also what others publish: columns `text` and `spans`, or `tokens` and `ner_tags`, whose names
are taken from the features that `datasets` stores in the file. Needs pyarrow.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ie.errors import UserError
from ie.files import atomic_write, finite, json_text
from ie.interchange import conll
from ie.interchange.job import Job, Placed, entry, make, parse_json
from ie.records import Record

COLUMNS = ("text", "spans", "relations", "cats", "answer", "meta", "extra")


def read(path: Path, job: Job) -> Iterator[Placed]:
    """A record for each row."""
    arrow, parquet = _pyarrow(path)
    try:
        table = parquet.read_table(path)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; create it or correct the path.") from None
    except (arrow.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: can't be read as Parquet ({' '.join(str(error).split())[:200]}).") from None
    names = table.column_names
    if "text" not in names and not {"tokens", "ner_tags"} <= set(names):
        raise UserError(
            f"{path}: its columns are {', '.join(names)}; rename yours to text, or to tokens and ner_tags."
        )
    classes = _classes(table.schema.metadata or {})
    for number, row in enumerate(table.to_pylist(), start=1):
        place = f"{path}: row {number}"
        if "text" not in names:
            tags = [_tag(place, tag, classes) for tag in entry(place, row, "ner_tags", list)]
            yield place, conll.from_tags(place, entry(place, row, "tokens", list), tags)
            continue
        yield place, _record(place, row)


def write(path: Path, items: Iterable[Record], job: Job) -> int:
    """Write one row a record; nothing is lost."""
    arrow, parquet = _pyarrow(path)
    numbers = {"start": arrow.int64(), "end": arrow.int64(), "head": arrow.int64(), "child": arrow.int64()}

    def struct(*names: str) -> Any:
        fields = [(name, numbers.get(name, arrow.string())) for name in (*names, "label", "extra")]
        return arrow.list_(arrow.struct(fields))

    cats = arrow.list_(arrow.struct([("label", arrow.string()), ("score", arrow.float64())]))
    kinds = {"spans": struct("start", "end"), "relations": struct("head", "child"), "cats": cats}
    schema = arrow.schema([(name, kinds.get(name, arrow.string())) for name in COLUMNS])
    rows = [_row(record) for record in items]
    with atomic_write(path, "wb") as file:
        parquet.write_table(arrow.Table.from_pylist(rows, schema=schema), file)
    return len(rows)


def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError(f"{path}: Parquet needs pyarrow; run `pip install pyarrow` first.") from None
    return pyarrow, pyarrow.parquet


def _row(record: Record) -> dict[str, Any]:
    def item(part: Any) -> dict[str, Any]:
        own = {name: getattr(part, name) for name in type(part).model_fields}
        return {**own, "extra": _dumped(part.model_extra)}

    return {
        "text": record.text,
        "spans": [item(span) for span in record.spans],
        "relations": [item(relation) for relation in record.relations],
        "cats": [{"label": name, "score": score} for name, score in record.cats.items()],
        "answer": record.answer,
        "meta": _dumped(record.meta),
        "extra": _dumped(record.model_extra),
    }


def _record(place: str, row: dict[str, Any]) -> Record:
    # Dates and the like become text, as in JSON; None says that a cell, or a key of a struct, isn't there.
    row = json.loads(json_text(finite(row), default=str))
    fields = {key: value for key, value in row.items() if value is not None and key != "extra"}
    for name in ("spans", "relations"):
        fields[name] = [_item(place, item) for item in fields.get(name, [])]
    if isinstance(fields.get("cats"), list):
        fields["cats"] = {item.get("label"): item.get("score") for item in fields["cats"]}
    elif isinstance(fields.get("cats"), dict):
        fields["cats"] = {name: score for name, score in fields["cats"].items() if score is not None}
    if isinstance(fields.get("meta"), str):
        fields["meta"] = parse_json(f"{place}: meta", fields["meta"])
    return make(place, **{**_loaded(place, row.get("extra")), **fields})


def _item(place: str, item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise UserError(f"{place}: spans and relations must be structs with start, end and label.")
    own = {key: value for key, value in item.items() if value is not None and key != "extra"}
    return {**_loaded(place, item.get("extra")), **own}


def _dumped(extra: dict[str, Any] | None) -> str | None:
    return json_text(extra) if extra else None


def _loaded(place: str, extra: Any) -> dict[str, Any]:
    if extra is None:
        return {}
    found = parse_json(f"{place}: extra", extra) if isinstance(extra, str) else extra
    return found if isinstance(found, dict) else {"extra": extra}


def _classes(metadata: dict[bytes, bytes]) -> list[str]:
    """Names of the classes of `ner_tags`, from what `datasets` writes beside the schema."""
    try:
        feature = json.loads(metadata[b"huggingface"])["info"]["features"]["ner_tags"]
        return feature["feature"]["names"]
    except (KeyError, ValueError, TypeError):
        return []


def _tag(place: str, tag: Any, classes: list[str]) -> str:
    if isinstance(tag, str):
        return tag
    if not isinstance(tag, int) or not 0 <= tag < len(classes):
        raise UserError(
            f"{place}: the tag {tag!r} has no name in the file; save the dataset with `to_parquet`, which "
            "keeps the names, or with tags as texts."
        )
    return classes[tag]

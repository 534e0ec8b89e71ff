"""Hugging Face datasets as Parquet: spans and relations as lists of structs, free-form parts as JSON.

Also reads what others publish: columns `text` and `spans`, `tokens` and `ner_tags`, or `text` and `label`.
The names of numbered classes are taken from the features that `datasets` stores in the file.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ie.core.errors import UserError
from ie.core.files import atomic_write, finite, json_text
from ie.core.text import one_line
from ie.data import shards
from ie.data.formats import conll
from ie.data.formats.conversion import BESIDE, Conversion, Keys, Placed, entries, entry, make, parse_json
from ie.data.records import Record

COLUMNS = ("text", "spans", "relations", "cats", "answer", "meta", "extra")
OTHER = BESIDE | {"extra", "idx"}
# Columns of a text's categories, where there is no `cats`.
LABELS = ("label", "labels")


def read(path: Path, job: Conversion) -> Iterator[Placed]:
    """A record for each row."""
    table = read_table(path)
    columns = table.column_names
    if "text" not in columns and not {"tokens", "ner_tags"} <= set(columns):
        raise UserError(
            f"{path}: its columns are {', '.join(columns)}; rename yours to text, or to tokens and ner_tags."
        )
    classes = {name: _classes(table.schema.metadata or {}, name) for name in ("ner_tags", *LABELS)}
    rows = [_plain(row, job) for row in shards.dicts(table)]
    for name in LABELS:
        if not classes[name]:
            classes[name] = sorted({n for row in rows for n in _texts(row.get(name))})
    for number, row in enumerate(rows, start=1):
        yield _record(f"{path}: row {number}", row, classes, job)


def read_raw(path: Path) -> Iterator[Placed]:
    """A record for each row of raw texts, without its annotations."""
    table = read_table(path)
    if "text" not in table.column_names:
        raise UserError(
            f"{path}: no column is called text (there are {', '.join(table.column_names)}); rename the one "
            "with the texts."
        )
    for number, row in enumerate(shards.dicts(table), start=1):
        place, row = f"{path}: row {number}", json.loads(json_text(finite(row), default=str))
        extra = _loaded(place, row.pop("extra", None))
        meta = row.pop("meta", None)
        meta = parse_json(f"{place}: meta", meta) if isinstance(meta, str) else meta
        others = {key: value for key, value in row.items() if value is not None and key not in COLUMNS}
        text = row["text"] if row["text"] is not None else ""
        yield place, make(place, **{**extra, **others, "text": text, "meta": meta or {}})


def read_table(path: Path) -> Any:
    """The table of a Parquet file; its strings must be UTF-8 and its column names distinct."""
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; create it or correct the path.") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: can't be read as Parquet ({one_line(error, 200)}).") from None
    if bad := shards.not_utf8(table):
        row, columns = next(iter(sorted(bad.items())))
        raise UserError(f"{path}: row {row + 1}: not UTF-8 in {', '.join(columns)}; write it again as UTF-8.")
    if twice := [name for name, n in Counter(table.column_names).items() if n > 1]:
        raise UserError(f"{path}: two columns are called {twice[0]!r}; rename one of them.")
    return table


def write(path: Path, items: Iterable[Record], job: Conversion) -> int:
    """Write one row per record; nothing is lost."""
    numbers = {"start": pa.int64(), "end": pa.int64(), "head": pa.int64(), "child": pa.int64()}

    def struct(*names: str) -> Any:
        fields = [(name, numbers.get(name, pa.string())) for name in (*names, "label", "extra")]
        return pa.list_(pa.struct(fields))

    cats = pa.list_(pa.struct([("label", pa.string()), ("score", pa.float64())]))
    kinds = {"spans": struct("start", "end"), "relations": struct("head", "child"), "cats": cats}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    rows = [_row(record) for record in items]
    with atomic_write(path, "wb") as file:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), file)
    return len(rows)


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


def _plain(row: dict[str, Any], job: Conversion) -> dict[str, Any]:
    """A row as JSON: dates and other types as text, NaN and Infinity as null."""
    return json.loads(json_text(job.finite(row), default=str))


def _record(place: str, row: dict[str, Any], classes: Mapping[str, list[str]], job: Conversion) -> Placed:
    # None means that a cell, or a key of a struct, is empty
    fields = {key: value for key, value in row.items() if value is not None and key != "extra"}
    annotation = {"spans", "relations", "cats"} & fields.keys()
    if "text" not in row or ("spans" not in fields and {"tokens", "ner_tags"} <= fields.keys()):
        tokens = entry(place, fields, "tokens", list)
        tags = [_name(place, tag, classes["ner_tags"]) for tag in entry(place, fields, "ner_tags", list)]
        tagged = conll.from_tags(place, tokens, tags)
        if tagged.text != fields.get("text", tagged.text):
            raise UserError(f"{place}: the text isn't its tokens joined by spaces; drop one of the columns.")
        fields |= {"text": tagged.text, "spans": [span.model_dump() for span in tagged.spans]}
        annotation |= {"tokens", "ner_tags"}
        del fields["ner_tags"], fields["tokens"]
    for name in LABELS:
        chosen = None if "cats" in fields else _chosen(place, fields.get(name), classes[name])
        if chosen is not None:
            fields["cats"] = [{"label": label, "score": float(label in chosen)} for label in classes[name]]
            annotation |= {name}
            del fields[name]
    job.account(place, row, Keys(frozenset(annotation), OTHER))
    for name in ("spans", "relations"):
        fields[name] = [_item(place, item) for item in entries(place, fields, name)]
    if isinstance(fields.get("cats"), list):
        pairs = [_item(place, item) for item in fields["cats"]]
        fields["cats"] = {str(item.get("label")): item.get("score") for item in pairs}
    elif isinstance(fields.get("cats"), dict):
        fields["cats"] = {name: score for name, score in fields["cats"].items() if score is not None}
    if isinstance(fields.get("meta"), str):
        fields["meta"] = parse_json(f"{place}: meta", fields["meta"])
    return place, make(place, **{**_loaded(place, row.get("extra")), **fields})


def _item(place: str, item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise UserError(f"{place}: spans and relations must be lists of structs.")
    own = {key: value for key, value in item.items() if value is not None and key != "extra"}
    return {**_loaded(place, item.get("extra")), **own}


def _dumped(extra: dict[str, Any] | None) -> str | None:
    return json_text(extra) if extra else None


def _loaded(place: str, extra: Any) -> dict[str, Any]:
    if extra is None:
        return {}
    fields = parse_json(f"{place}: extra", extra) if isinstance(extra, str) else extra
    return fields if isinstance(fields, dict) else {"extra": extra}


def _classes(metadata: dict[bytes, bytes], column: str) -> list[str]:
    """Names of the classes of a column, from what `datasets` writes beside the schema."""
    try:
        feature = json.loads(metadata[b"huggingface"])["info"]["features"][column]
        names = feature["names"] if "names" in feature else feature["feature"]["names"]
    except (KeyError, ValueError, TypeError):
        return []
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []


def _texts(value: Any) -> list[str]:
    """A name, or a list of names; anything else is empty."""
    values = value if isinstance(value, list) else [value]
    return values if all(isinstance(item, str) for item in values) else []


def _chosen(place: str, value: Any, classes: list[str]) -> list[str] | None:
    """The names of a text's categories; None if the value can't be understood as such."""
    if _texts(value):
        return _texts(value)
    values = value if isinstance(value, list) else [value]
    if not classes or not all(isinstance(item, int) and not isinstance(item, bool) for item in values):
        return None
    return [_name(place, item, classes) for item in values]


def _name(place: str, tag: Any, classes: list[str]) -> str:
    if isinstance(tag, str):
        return tag
    if not isinstance(tag, int) or not 0 <= tag < len(classes):
        raise UserError(
            f"{place}: the class {tag!r} has no name in the file; save the dataset with `to_parquet`, which "
            "keeps the names, or with tags as texts."
        )
    return classes[tag]

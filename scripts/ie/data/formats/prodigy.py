"""Prodigy's JSONL, for `prodigy db-in` and from `prodigy db-out`: nearly the project's own format.

Prodigy's relations point to tokens (the last one of a span) and repeat the spans. Its choices are `options`
and `accept`; a yes or no to a category is `label` and `answer`, one line per category. Everything else, such
as `_input_hash`, is kept as it is.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ie.core.errors import UserError
from ie.data import records
from ie.data.formats.conversion import BESIDE, Conversion, Keys, Placed
from ie.data.records import ONE_SPAN, Record, Relation, Span, write_records

SPAN_KEYS = ("start", "end", "token_start", "token_end", "label")


def read(path: Path, job: Conversion) -> Iterator[Placed]:
    """Records whose relations are indices into the spans and whose choices are `cats`.

    Answers about several categories of one text, one per line, become one record.
    """
    placed: list[Placed] = []
    # by text and annotator, where there are only categories
    categories: dict[tuple[str, str], Record] = {}
    inputs: dict[Any, list[Span]] = {}
    for place, record in _read(path, job):
        extra = record.model_extra or {}
        if extra.get("_view_id") == "ner" and "_input_hash" in extra:
            first = inputs.setdefault(str(extra["_input_hash"]), record.spans)
            if first is not record.spans and first != record.spans:
                raise UserError(f"{place}: a second answer about one text in the interface 'ner': {ONE_SPAN}")
        if record.cats and record.answer == "accept" and not record.spans and not record.relations:
            first = categories.setdefault((record.text, record.annotator), record)
            if first is not record and not first.cats.keys() & record.cats.keys():
                first.cats = {**first.cats, **record.cats}
                continue
        placed.append((place, record))
    yield from placed


def _read(path: Path, job: Conversion) -> Iterator[Placed]:
    for number, record in enumerate(records.read_unchecked(path), start=1):
        data = _set(record)
        annotation = {"spans", "relations"}
        if record.cats or "options" not in data:
            annotation |= {"cats", "options", "accept"} if record.cats else {"cats"}
        if record.answer == "ignore":
            annotation |= {"label"}  # of a yes-or-no question that wasn't answered
        job.account(f"{path}:{number}", data, Keys(frozenset(annotation), BESIDE))
        if "relations" in data:
            # These repeat the spans; `write` creates them again.
            data["relations"] = [_without(edge, "head_span", "child_span") for edge in data["relations"]]
        if data.get("options") == _options(record):
            data = _without(data, "options", "accept")
        yield f"{path}:{number}", Record(**data)


def write(path: Path, items: Iterable[Record], job: Conversion) -> int:
    """Write for `prodigy db-in`; tokens are added where relations need them."""
    return write_records(path, (_out(record, job) for record in items))


def _out(record: Record, job: Conversion) -> Record:
    data = _set(record)
    if record.cats and set(record.cats.values()) <= {0, 1}:
        data.setdefault("options", _options(record))
        data["accept"] = [name for name, value in record.cats.items() if value]
        del data["cats"]
    if record.relations:
        tokens = data.get("tokens")
        if not isinstance(tokens, list) or not all(isinstance(token, dict) for token in tokens):
            tokens = data["tokens"] = _tokens(record, job)
        data["spans"] = [_numbered(record, span, tokens) for span in record.spans]
        data["relations"] = [_relation(relation, data["spans"]) for relation in record.relations]
    return Record(**data)


def _set(record: Record) -> dict[str, Any]:
    return record.model_dump(exclude_unset=True)


def _without(data: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key not in keys}


def _options(record: Record) -> list[dict[str, str]]:
    return [{"id": name, "text": name} for name in record.cats]


def _tokens(record: Record, job: Conversion) -> list[dict[str, Any]]:
    text = record.text
    return [
        {"text": text[start:end], "start": start, "end": end, "id": i, "ws": text[end : end + 1] == " "}
        for i, (start, end) in enumerate(job.tokens(record))
    ]


def _numbered(record: Record, span: Span, tokens: list[dict[str, Any]]) -> dict[str, Any]:
    first = [i for i, token in enumerate(tokens) if token.get("start") == span.start]
    last = [i for i, token in enumerate(tokens) if token.get("end") == span.end]
    if not first or not last:
        raise UserError(
            f"record {record.id!r}: the span {span.start}-{span.end} doesn't start and end on one of its "
            "tokens; correct its offsets, or delete 'tokens' so that they are created again."
        )
    return {**span.model_dump(), "token_start": first[0], "token_end": last[0]}


def _relation(relation: Relation, spans: list[dict[str, Any]]) -> dict[str, Any]:
    head, child = ({k: spans[end][k] for k in SPAN_KEYS} for end in (relation.head, relation.child))
    return {
        **relation.model_dump(),
        "head": head["token_end"],
        "child": child["token_end"],
        "head_span": head,
        "child_span": child,
    }

"""One conversion from or to another format: tokens, offsets, categories, and an account of all keys."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from spacy.language import Language

from ie.core.errors import UserError
from ie.core.files import finite, json_text, read_text
from ie.core.settings import first_fault
from ie.data.documents.collection import DocumentSettings, DocumentTexts
from ie.data.records import Record
from ie.data.scheme import Scheme

UNDECODABLE = "save it as UTF-8, or name another format"
# A record and the place it came from ("file:line"), for messages.
Placed = tuple[str, Record]
# What offsets count: Unicode characters, or UTF-16 units as in JavaScript; "" if unknown.
Offsets = Literal["", "characters", "utf-16"]
# Keys whose string or number may be annotation. A list or an object may be, under any name.
LABEL_LIKE = re.compile(
    r"label|annot|entit|span|(^|_)tags?($|_)|categor|(^|_)cats?($|_)|class|intent|sentiment|relation|answer"
    r"|choice|accept|topic",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Keys:
    """The keys that a format has: a reader accounts for all others.

    Attributes:
        annotation: these are read. A record that has none of them wasn't annotated in this format.
        other: no annotation, but text, ids, dates, users.
    """

    annotation: frozenset[str]
    other: frozenset[str]


# Keys without annotation that this project and Prodigy write, in any format.
BESIDE = frozenset(
    {
        *("text", "meta", "answer", "id", "llm", "file", "row", "tokens", "html", "config"),
        *("_input_hash", "_task_hash", "_view_id", "_session_id", "_annotator_id", "_timestamp"),
        *("_is_binary", "versions", "sessions", "view_id", "priority", "image", "path"),
    }
)


@dataclass
class Conversion:
    """One conversion.

    Attributes:
        nlp: empty pipeline whose tokenizer is used where a format has tokens.
        scheme: its categories are the absent ones if a format has only the chosen ones.
        offsets: what the file's offsets count, if its format doesn't say.
        documents: how documents are read. read: what was read of them.
        lost: how often each field was lost, by name.
        unread: number of records with a key that may be annotation and is kept, but not read.
        other_keys: number of records with each other key, which is kept.
    """

    nlp: Language
    scheme: Scheme | None = None
    offsets: Offsets = ""
    documents: DocumentSettings = field(default_factory=DocumentSettings)
    read: DocumentTexts | None = None
    lost: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    other_keys: Counter[str] = field(default_factory=Counter)

    def account(self, place: str, data: dict[str, Any], keys: Keys) -> None:
        """Account for the keys of a record; those that the format doesn't have are kept as they are.

        Refuses a record without the format's annotation that has something else that may be annotation.
        """
        suspects = []
        for key, value in data.items():
            if key in keys.annotation or key in keys.other or value in (None, "", [], {}):
                continue
            if isinstance(value, list | dict) or LABEL_LIKE.search(key):
                suspects.append(key)
            else:
                self.other_keys[key] += 1
        for key in suspects:
            # in a record these names mean its own annotation
            (self.lost if key in ("spans", "relations", "cats") else self.unread)[key] += 1
        if suspects and not keys.annotation & data.keys():
            self.refuse(place, suspects)

    def refuse(self, place: str, names: Iterable[str]) -> None:
        """Refuse a record whose annotation can't be read: it would become gold without annotation."""
        raise UserError(
            f"{place}: no annotation that can be read, but {', '.join(map(repr, names))} may hold some; name "
            "the format of the file, or move what isn't annotation to 'meta'."
        )

    def account_part(self, data: dict[str, Any], known: Iterable[str], name: str) -> None:
        """Count the keys of a part of the annotation that are neither read nor `known` to be irrelevant."""
        self.lost.update(
            f"{name}.{key}"
            for key, value in data.items()
            if key not in known and value not in (None, "", [], {})
        )

    def finite(self, data: Any) -> Any:
        """The same without NaN and Infinity, which become None and count as lost."""
        strict = finite(data)
        self.lost["NaN or Infinity, now null"] += _differing(data, strict)
        return strict

    def characters(self, place: str, text: str, start: Any, end: Any) -> tuple[Any, Any]:
        """Offsets in characters, whatever the file counts; those outside the text stay as they are."""
        if text.isascii() or max(text) <= "\uffff" or self.offsets == "characters":
            return start, end
        if not all(isinstance(offset, int) for offset in (start, end)):
            return start, end
        if not self.offsets:
            first = next(i for i, character in enumerate(text) if character > "\uffff")
            if first >= end:
                return start, end
            raise UserError(
                f"{place}: the offsets {start}-{end} come after {text[first]!r}, one character but two units "
                "of UTF-16, and the file doesn't say which it counts; run `python scripts/import.py` with "
                "--offsets utf-16 (as doccano's page counts) or --offsets characters."
            )
        units = text.encode("utf-16-le")
        if not 0 <= start <= end <= len(units) // 2:
            return start, end
        try:
            return tuple(len(units[: 2 * offset].decode("utf-16-le")) for offset in (start, end))
        except UnicodeDecodeError:
            raise UserError(
                f"{place}: the offsets {start}-{end} stand inside a character; do they count characters?"
            ) from None

    def tokens(self, record: Record) -> list[tuple[int, int]]:
        """(start, end) of each token, in characters, divided where a span starts or ends inside a token."""
        for span in record.spans:
            text = record.text[span.start : span.end]
            if text != text.strip():
                raise UserError(
                    f"record {record.id!r}: the span {span.start}-{span.end} {text!r} has whitespace at "
                    "its edge; correct its offsets."
                )
        cuts = {edge for span in record.spans for edge in (span.start, span.end)}
        pieces = []
        for token in self.nlp.tokenizer(record.text):
            start, end = token.idx, token.idx + len(token)
            for cut in (*sorted(c for c in cuts if start < c < end), end):
                pieces.append((start, cut))
                start = cut
        return pieces

    def lose_extras(self, record: Record, *parts: str) -> None:
        """Count the extra keys of `spans`, `relations` or the record itself as lost."""
        for part in parts:
            items = [record] if part == "record" else getattr(record, part)
            prefix = "" if part == "record" else f"{part}."
            self.lost.update(f"{prefix}{key}" for item in items for key in item.model_extra or {})

    def categories(self, chosen: Iterable[str], known: Iterable[str] = ()) -> dict[str, float]:
        """Categories as 0 and 1, from the chosen ones and all there are (`known`, or the scheme's)."""
        names = [*known] or [*(self.scheme.categories if self.scheme else ())]
        chosen = list(chosen)
        return {name: float(name in chosen) for name in [*names, *(c for c in chosen if c not in names)]}

    def chosen(self, record: Record) -> list[str]:
        """The categories that a text has; scores between 0 and 1 count as lost."""
        self.lost["cats scores between 0 and 1"] += sum(value not in (0, 1) for value in record.cats.values())
        return record.categories

    def gold_alone(self, records: Iterable[Record], kind: str = "records with answer {}") -> Iterator[Record]:
        """The accepted records, for formats without an answer: a rejected one must not come back as gold."""
        for record in records:
            if record.answer == "accept":
                yield record
            else:
                self.lost[kind.format(record.answer)] += 1


def make(place: str, **fields: Any) -> Record:
    """A record of these fields."""
    try:
        return Record.model_validate(fields)
    except ValidationError as error:
        raise UserError(f"{place}: {first_fault(error)}; correct it or export it again.") from None


def entry(place: str, data: Any, key: str, kind: type) -> Any:
    """`data[key]`, which must be of this type."""
    value = data.get(key) if isinstance(data, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UserError(f"{place}: no {key!r} that is a {kind.__name__}; is the format the one you named?")
    return value


def entries(place: str, data: Any, key: str) -> list[Any]:
    """`data[key]`, which must be a list, or an empty list if it isn't there."""
    return [] if data.get(key) is None else entry(place, data, key, list)


def names(place: str, data: Any, key: str) -> list[str]:
    """`data[key]`, which must be a list of names, or an empty list if it isn't there."""
    values = entries(place, data, key)
    if not all(isinstance(name, str) for name in values):
        raise UserError(f"{place}: {key!r} isn't a list of names; is the format the one you named?")
    return values


def parse_json(place: str, text: str, job: Conversion | None = None) -> Any:
    """JSON without half surrogate pairs. NaN and Infinity become null, which `job` counts as lost."""
    try:
        data = json.loads(text, object_pairs_hook=_unrepeated)
        data = job.finite(data) if job else finite(data)
        json_text(data).encode()
    except (ValueError, RecursionError) as error:
        line = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) and "\n" in text else ""
        reason = getattr(error, "msg", None) or getattr(error, "reason", None) or str(error)
        raise UserError(
            f"{place}: not valid JSON{line} ({reason}); is the format the one you named?"
        ) from None
    return data


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        twice = next(key for key, n in Counter(key for key, _ in pairs).items() if n > 1)
        raise ValueError(f"the key {twice!r} is there twice in one object")
    return data


def _differing(data: Any, strict: Any) -> int:
    """How many numbers `finite` has made null."""
    if isinstance(data, dict):
        return sum(_differing(value, strict[key]) for key, value in data.items())
    if isinstance(data, list | tuple):
        return sum(map(_differing, data, strict))
    return int(strict is None and data is not None)


def json_lines(path: Path, job: Conversion) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, object) of each line of a JSONL file; empty lines are skipped."""
    # split on \n alone, as texts may hold U+2028 and other line separators
    for number, line in enumerate(read_text(path, undecodable=UNDECODABLE).split("\n"), start=1):
        if line.strip():
            place = f"{path}:{number}"
            data = parse_json(place, line, job)
            if not isinstance(data, dict):
                raise UserError(f"{place}: no JSON object; is the format the one you named?")
            yield place, data

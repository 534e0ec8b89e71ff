"""What every format needs: the tokenizer, the scheme, a count of what is lost, and tokens that fit spans."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from spacy.language import Language

from ie.errors import UserError
from ie.files import json_text
from ie.records import Record
from ie.scheme import Scheme

# A record and the place it came from ("file:line"), for messages.
Placed = tuple[str, Record]


@dataclass
class Job:
    """One conversion.

    Attributes:
        nlp: empty pipeline whose tokenizer cuts texts where a format wants tokens.
        scheme: its categories complete those of a format that holds the chosen ones alone.
        lost: what didn't arrive: name of the field to number of times.
    """

    nlp: Language
    scheme: Scheme | None = None
    lost: Counter[str] = field(default_factory=Counter)

    def tokens(self, record: Record) -> list[tuple[int, int]]:
        """(start, end) of each token, in characters; a token that a span cuts is cut there.

        Raises:
            UserError: a span starts or ends with a blank.
        """
        for span in record.spans:
            said = record.text[span.start : span.end]
            if said != said.strip():
                raise UserError(
                    f"record {record.id!r}: the span {span.start}-{span.end} {said!r} has a blank at its "
                    "edge; correct its offsets."
                )
        cuts = {edge for span in record.spans for edge in (span.start, span.end)}
        found = []
        for token in self.nlp.tokenizer(record.text):
            start, end = token.idx, token.idx + len(token)
            for cut in (*sorted(c for c in cuts if start < c < end), end):
                found.append((start, cut))
                start = cut
        return found

    def lose_extras(self, record: Record, *parts: str) -> None:
        """Count the keys beside those of the contract in `spans`, `relations` or the record itself."""
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
        """The categories above one half; scores between 0 and 1 count as lost."""
        self.lost["cats scores between 0 and 1"] += sum(value not in (0, 1) for value in record.cats.values())
        return [name for name, value in record.cats.items() if value > 0.5]

    def gold_alone(self, records: Iterable[Record], kind: str = "records with answer {}") -> Iterator[Record]:
        """The accepted records, for formats without an answer: a rejected one must not come back as gold."""
        for record in records:
            if record.answer == "accept":
                yield record
            else:
                self.lost[kind.format(record.answer)] += 1


def make(place: str, **fields: Any) -> Record:
    """A record from another tool's data.

    Raises:
        UserError: a field has the wrong type.
    """
    try:
        return Record.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise UserError(f"{place}: {name}: {first['msg'].lower()}; correct it or export it again.") from None


def entry(place: str, data: Any, key: str, kind: type) -> Any:
    """`data[key]` of the type that is expected there.

    Raises:
        UserError: it isn't there or is something else.
    """
    value = data.get(key) if isinstance(data, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UserError(f"{place}: no {key!r} that is a {kind.__name__}; is the format the one you named?")
    return value


def read_text(path: Path) -> str:
    """A UTF-8 file, as it is but for a byte order mark.

    Raises:
        UserError: no such file, a folder, other bytes.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; create it or correct the path.") from None
    except IsADirectoryError:
        raise UserError(f"{path}: this is a folder; name a file inside it.") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 (byte {error.start + 1}); is the format the one you named?"
        ) from None


def parse_json(place: str, text: str) -> Any:
    """JSON without half surrogate pairs.

    Raises:
        UserError: it can't be parsed.
    """
    try:
        data = json.loads(text)
        json_text(data).encode()
    except (ValueError, RecursionError) as error:
        line = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) and "\n" in text else ""
        reason = getattr(error, "msg", None) or getattr(error, "reason", None) or str(error)
        raise UserError(
            f"{place}: not valid JSON{line} ({reason}); is the format the one you named?"
        ) from None
    return data


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, object) of each line of a JSONL file; empty lines are passed over.

    Raises:
        UserError: a line that is no JSON object.
    """
    # On \n alone, as texts may hold U+2028 and its like.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            place = f"{path}:{number}"
            data = parse_json(place, line)
            if not isinstance(data, dict):
                raise UserError(f"{place}: no JSON object; is the format the one you named?")
            yield place, data

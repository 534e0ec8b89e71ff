"""FIRE in the format of its repository: tokens, with entities and relations that count them."""

import json
from collections.abc import Sequence
from pathlib import Path

from ie.core.errors import UserError
from ie.data.records import Record, Relation, Span

# Tokens that are written without a space before or after them, and those that join both neighbours.
CLOSING = frozenset({",", ".", ";", ":", "!", "?", "%", ")", "]", "'s", "’s", "n't"})
OPENING = frozenset({"(", "[", "$", "€", "£", "¥", "#"})
JOINING = frozenset({"-", "/"})


def read(path: Path) -> list[Record]:
    """The records of a file such as fire_train.json.

    Raises:
        UserError: it has another format.
    """
    try:
        return [_record(example) for example in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"{path}: isn't in FIRE's format: tokens, entities and relations of each text ({error!r})."
        ) from error


def _record(example: dict) -> Record:
    text, starts = join(example["tokens"])
    spans = [
        Span(
            start=starts[entity["start"]],
            end=starts[entity["end"] - 1] + len(example["tokens"][entity["end"] - 1]),
            label=entity["type"],
        )
        for entity in example["entities"]
    ]
    relations = [
        Relation(head=relation["head"], child=relation["tail"], label=relation["type"])
        for relation in example["relations"]
    ]
    meta = {"annotation_seconds": example["duration"]} if "duration" in example else {}
    return Record(text=text, spans=spans, relations=relations, meta=meta)


def join(tokens: Sequence[str]) -> tuple[str, list[int]]:
    """The text of some tokens, as it is written, and where each of them starts."""
    text, starts = "", []
    quoted, glued = False, True
    for token in tokens:
        quote = token == '"'
        before = token in CLOSING or token in JOINING or (quote and quoted)
        text += "" if glued or before else " "
        starts.append(len(text))
        text += token
        glued = token in OPENING or token in JOINING or (quote and not quoted)
        quoted ^= quote
    return text, starts

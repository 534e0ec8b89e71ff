"""The examples that prompts show, pinned in a file that people read, edit and version.

Answers of a language model are paid for by prompt. Examples chosen from gold would change with every review,
and every prompt with them. So the choice is written to a file once, and changes on request only.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from ie.core.errors import UserError
from ie.data.records import Reader, Record, annotation, read_records

# Key of a record: the fields (labels) whose prompts show it. Without it all prompts do.
SHOWN_FOR = "shown_for"
RETIRE = "python scripts/pin-examples.py --retire"
LISTED = 3


def read_pinned(path: Path, reader: Reader | None = None) -> list[Record]:
    """The pinned examples in file order; none if the file is empty or isn't there yet.

    Args:
        reader: checks labels and token boundaries as well.

    Raises:
        UserError: naming file, line, fault and remedy.
    """
    if not path.exists():
        return []
    records = reader.read(path, allow_empty=True) if reader else read_records(path, allow_empty=True)
    for number, record in enumerate(records, start=1):
        if record.answer != "accept":
            raise UserError(
                f"{path}:{number}: its answer is {record.answer!r}, and prompts show accepted examples only; "
                "delete the line."
            )
        fields = (record.model_extra or {}).get(SHOWN_FOR, [])
        if not isinstance(fields, list) or not all(isinstance(field, str) for field in fields):
            raise UserError(
                f'{path}:{number}: {SHOWN_FOR} must be a list of labels, such as ["COMPANY"]; correct it, or '
                "delete it to show the example in all prompts."
            )
    return records


def is_shown_for(record: Record, fields: Collection[str]) -> bool:
    """Whether a prompt that asks for these fields shows the example."""
    shown_for = (record.model_extra or {}).get(SHOWN_FOR)
    return shown_for is None or bool(set(shown_for) & set(fields))


def pinned_record(record: Record, fields: Sequence[str] = ()) -> Record:
    """What is pinned of a reviewed record: its text and annotation, and the fields it is an example of."""
    kept = record.model_dump(
        include={"text": True, "cats": True, "spans": {"__all__": {"start", "end", "label"}}}
        | {"relations": {"__all__": {"head", "child", "label"}}}
    )
    shown_for = {SHOWN_FOR: list(fields)} if fields else {}
    return Record(**{name: value for name, value in kept.items() if value}, **shown_for)


def refuse_held_out(path: Path, examples: Sequence[Record], held_out: Collection[str]) -> None:
    """Refuse an example whose text is in dev or test: its answer would be known.

    Raises:
        UserError: naming file and line.
    """
    for number, example in enumerate(examples, start=1):
        if example.text in held_out:
            raise UserError(
                f"{path}:{number}: {example.text[:50]!r} belongs to dev or test, where prompts are scored; "
                f"take it out: {RETIRE} {number}"
            )


def outdated(path: Path, examples: Sequence[Record], reviewed: Sequence[Record]) -> str:
    """One sentence about examples whose gold is another one now; "" if there are none."""
    gold = {record.text: annotation(record) for record in reviewed}
    changed = [
        (number, example.text)
        for number, example in enumerate(examples, start=1)
        if gold.get(example.text, annotation(example)) != annotation(example)
    ]
    if not changed:
        return ""
    listed = "; ".join(f"line {number}: {text[:40]!r}" for number, text in changed[:LISTED])
    if len(changed) > LISTED:
        listed += f"; {len(changed) - LISTED:,} more"
    return (
        f"{path}: gold was changed or rejected after it was pinned as an example ({listed}), and prompts "
        f"still show the earlier version; take an example out with `{RETIRE} {changed[0][0]}`."
    )

"""The list of known names: a CSV file with `id`, `name`, optional `aliases` (separated by |) and others."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from ie.core.errors import UserError
from ie.core.files import read_text

COLUMNS = ("id", "name")


@dataclass(frozen=True)
class GazetteerEntry:
    """One known company or other entity, with its other columns as they are."""

    id: str
    name: str
    aliases: tuple[str, ...]
    columns: dict[str, str]


def read_gazetteer(path: Path, *, allow_empty: bool = False) -> list[GazetteerEntry]:
    """Read and validate the list. Two entries may share a name (the linker tells them apart), but not an id.

    Args:
        allow_empty: a file with nothing but the header is no error.
    """
    path = Path(path)
    text = read_text(path, "create it, or leave the gazetteer out")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    entries: dict[str, tuple[int, GazetteerEntry]] = {}
    try:
        header = next(reader, [])
        missing = [column for column in COLUMNS if column not in header]
        if missing:
            raise UserError(
                f"{path}:1: no column {', '.join(missing)} (it has {', '.join(header) or 'none'}); the first "
                f"line must name {', '.join(COLUMNS)}, with commas between them."
            )
        for fields in reader:
            where = f"{path}:{reader.line_num}"
            if not fields:
                raise UserError(f"{where}: the line is empty; delete it.")
            if len(fields) != len(header):
                raise UserError(
                    f"{where}: {len(fields)} fields under {len(header)} columns; put quotes around a field "
                    "that holds a comma."
                )
            row = {column: field.strip() for column, field in zip(header, fields, strict=True)}
            if not row["id"] or not row["name"]:
                raise UserError(f"{where}: id and name must not be empty; fill them or delete the line.")
            if row["id"] in entries:
                first, _ = entries[row["id"]]
                raise UserError(
                    f"{where}: the id {row['id']!r} is already used by line {first}; give one of them "
                    "an id of its own."
                )
            aliases = tuple(alias.strip() for alias in row.get("aliases", "").split("|") if alias.strip())
            others = {c: field for c, field in row.items() if c not in (*COLUMNS, "aliases")}
            entries[row["id"]] = (reader.line_num, GazetteerEntry(row["id"], row["name"], aliases, others))
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: not valid CSV ({error}); correct the quotes.") from None
    if not entries and not allow_empty:
        raise UserError(f"{path}: there is no entry; add one per line, or leave the gazetteer out.")
    return [entry for _, entry in entries.values()]

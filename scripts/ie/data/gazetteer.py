"""The list of known names: a CSV file with `id`, `name` and maybe `aliases` (separated by |), others kept."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from ie.core.errors import UserError

COLUMNS = ("id", "name")


@dataclass(frozen=True)
class GazetteerEntry:
    """One known thing, with its other columns as they are."""

    id: str
    name: str
    aliases: tuple[str, ...]
    columns: dict[str, str]


def read_gazetteer(path: Path, *, allow_empty: bool = False) -> list[GazetteerEntry]:
    """Read and validate the list.

    Two entries may have one name (the linker tells them apart), but not one id. With `allow_empty` the header
    may stand alone.

    Raises:
        UserError: no file, not UTF-8, a column missing, a line with too few or too many fields, an empty id
            or name, an id twice, no entry.
    """
    path = Path(path)
    reader = csv.reader(io.StringIO(_read(path), newline=""), strict=True)
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


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; create it, or leave the gazetteer out.") from None
    except IsADirectoryError:
        raise UserError(f"{path}: this is a folder; name the .csv file inside it.") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not UTF-8; save the file as UTF-8.") from None

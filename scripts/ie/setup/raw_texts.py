"""Read raw texts from JSONL, Parquet, CSV, TSV, a text file, or a folder of text files."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from ie.core.errors import UserError
from ie.core.files import read_text
from ie.data import records
from ie.data.formats import parquet
from ie.data.records import Record


def read_texts(path: Path) -> tuple[list[Record], dict[str, int]]:
    """Read the texts of a file or folder, without annotations; count those left out, by reason.

    `.jsonl` has one object with the key `text` per line, `.parquet` a column `text` (other keys are kept).
    `.csv` and `.tsv` have a column `text` (other columns become `meta`). `.txt` has one text per line. In a
    folder, each `.txt` file is one text, and its name is the id.

    Raises:
        UserError: names file, place and remedy.
    """
    kind = path.suffix.lower()
    if path.is_dir():
        texts = _read_folder(path)
    elif kind == ".jsonl":
        texts = [without_annotations(record, record.model_extra) for record in records.read_unchecked(path)]
    elif kind == ".parquet":
        texts = [without_annotations(record, record.model_extra) for _, record in parquet.read_raw(path)]
    elif kind in (".csv", ".tsv"):
        texts = _read_table(path, "\t,;|" if kind == ".tsv" else ",;\t|")
    elif kind == ".txt":
        # not splitlines: a text may hold U+2028, a form feed and the like
        texts = [Record(text=line.strip()) for line in _unix(read_text(path)).split("\n")]
        texts = texts[:-1] if texts and not texts[-1].text else texts
    else:
        raise UserError(
            f"{path}: texts are read from .jsonl, .parquet, .csv, .tsv, .txt, documents (.pdf, .docx, .html, "
            ".eml, .md) or a folder of .txt or documents; convert the file, or correct the path."
        )
    unique, left_out = without_copies(texts)
    if not unique:
        raise UserError(f"{path}: there is no text in it; add some.")
    return unique, left_out


def without_copies(texts: list[Record]) -> tuple[list[Record], dict[str, int]]:
    """The texts that aren't empty, each once, and how many were left out, by reason."""
    full = [record for record in texts if record.text.strip()]
    unique = list({record.text: record for record in reversed(full)}.values())[::-1]
    left_out = {"empty": len(texts) - len(full), "repeated": len(full) - len(unique)}
    return unique, {reason: n for reason, n in left_out.items() if n}


def without_annotations(record: Record, extra: Mapping[str, Any] | None = None) -> Record:
    """The record with text and meta alone, and with the keys of `extra`."""
    return Record(**{"text": record.text, **({"meta": record.meta} if record.meta else {}), **(extra or {})})


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")


def _read_folder(path: Path) -> list[Record]:
    texts = [
        Record(text=_unix(read_text(file)).strip(), meta={"id": file.stem})
        for file in sorted(path.glob("*.txt"))
    ]
    if not texts:
        raise UserError(f"{path}: there is no .txt file in the folder; name one that has some, or a file.")
    return texts


def _read_table(path: Path, separators: str) -> list[Record]:
    """The rows of a file of separated columns; the separator is the first of `separators` in the header."""
    text = read_text(path)
    if not text.strip():
        raise UserError(f"{path}: the file is empty; its first line must name the columns, one of them text.")
    separator, names = _header(path, text, separators)
    if twice := [name for name, n in Counter(names).items() if n > 1]:
        raise UserError(f"{path}:1: two columns are called {twice[0]!r}; rename one of them.")
    column = next(name for name in names if name.lower() == "text")
    texts = []
    for line, fields in islice(_rows(path, text, separator), 1, None):
        if any(fields[len(names) :]):
            raise UserError(
                f"{path}:{line}: {len(fields)} fields under {len(names)} columns; put quotes around a text "
                f"that holds {separator!r}."
            )
        row = dict(zip(names, fields, strict=False))
        others = {name: value for name, value in row.items() if name != column and value}
        texts.append(Record(text=row.get(column, "").strip(), **({"meta": others} if others else {})))
    return texts


def _header(path: Path, text: str, separators: str) -> tuple[str, list[str]]:
    """The separator, and the names of the columns, one of which is `text`.

    Raises:
        UserError: no separator gives such a column, or the first line has wrong quotes.
    """
    headers, faults = {}, []
    for separator in separators:
        try:
            names = next((fields for _, fields in _rows(path, text, separator)), [])
        except UserError as error:
            faults.append(error)
        else:
            headers[separator] = [name.strip() or f"column {i}" for i, name in enumerate(names, start=1)]
    if faults and all(len(names) == 1 for names in headers.values()):
        raise faults[0]
    for separator, names in headers.items():
        if any(name.lower() == "text" for name in names):
            return separator, names
    most = max(headers.values(), key=len)
    raise UserError(
        f"{path}:1: no column is called text (there are {', '.join(most)}); rename the one with the texts."
    )


def _rows(path: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of each row that isn't empty, the header included.

    Raises:
        UserError: quotes aren't as the format has them.
    """
    if separator == "\t" and not _has_quoted_fields(text):
        for number, line in enumerate(_unix(text).split("\n"), start=1):
            if line:
                yield number, line.split("\t")
        return
    reader, number = _reader(text, separator), 1
    try:
        for fields in reader:
            if fields:
                yield number, fields
            number = reader.line_num + 1
    except csv.Error as error:
        unclosed = "end of data" in str(error)
        fault = "a quote opens a field and isn't closed" if unclosed else f"not valid CSV ({error})"
        raise UserError(
            f"{path}:{number}: {fault}; put quotes around the whole field and double those inside it."
        ) from None


def _reader(text: str, separator: str) -> Any:
    csv.field_size_limit(2**31 - 1)  # texts may be longer than the 131,072 characters that csv expects
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)


def _has_quoted_fields(text: str) -> bool:
    """Whether the fields between tabs are quoted as in CSV; if not, quotes are part of the texts.

    They are if the file can be read that way, and if its writer quoted either all fields that aren't
    numbers or only those that need it (Excel also quotes those with a comma).
    """
    if '"' not in text:
        return False
    try:
        rows = list(_reader(text, "\t"))
    except csv.Error:
        return False
    quoted, plain, at = [], [], 0
    for row in rows:
        for i, value in enumerate(row):
            at += bool(i)  # the tab
            raw = '"' + value.replace('"', '""') + '"'
            is_quoted = text.startswith(raw, at)
            (quoted if is_quoted else plain).append(value)
            at += len(raw if is_quoted else value)
        at += 2 if text.startswith("\r\n", at) else 1
    if not quoted or any('"' in value for value in plain):
        return False
    needed = all(set(value) & set('\t\r\n"') for value in quoted)
    by_excel = all(set(value) & set('\t\r\n",') for value in quoted) and "," not in "".join(plain)
    return needed or by_excel or not any(map(str.isalpha, "".join(plain)))

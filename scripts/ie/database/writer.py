"""Writes the database: always as a new file next to the old one, which it replaces when it is complete.

A reader, or a kill at any moment, finds either the old or the new state. Rows are stored in the order of
their keys, so the same inputs give the same bytes, whatever was in the file before.
"""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ie.core.errors import UserError
from ie.core.files import check_writable, locked, published, sha256_file
from ie.data.gazetteer import GazetteerEntry
from ie.data.records import Record
from ie.database import document_rows
from ie.database.document_rows import DocumentAnnotations
from ie.database.schema import TABLES, VERSION, Columns
from ie.database.sqlite_file import check_version, counts

BATCH = 10_000
STAMP = b"database_sha256"


@dataclass(frozen=True)
class AnnotationSource:
    """What annotated the texts: a pipeline, or people ("gold").

    Attributes:
        read: annotates records, in order.
    """

    name: str
    version: str
    components: Sequence[str]
    hash: str
    read: Callable[[Iterable[Record]], Iterator[DocumentAnnotations]]
    gold: bool = False

    @property
    def model_id(self) -> str:
        """The key in `models`."""
        return self.name if self.gold else f"{self.name}-{self.version}-{self.hash[:12]}"

    def row(self) -> tuple:
        """The row of `models`."""
        return (self.model_id, self.name, self.version, ", ".join(self.components), self.hash)


@dataclass
class UpdateReport:
    """What an update did: numbers of documents, and rows of each table before and after.

    `vanished` lists the sources (or keys) of documents that were kept although their text is gone.
    """

    new: int = 0
    changed: int = 0
    same: int = 0
    removed: int = 0
    vanished: list[str] = field(default_factory=list)
    written: bool = False
    parquet_written: bool = False
    before: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)


def update(
    path: Path,
    records: Sequence[Record],
    source: AnnotationSource,
    columns: Columns,
    companies: Sequence[GazetteerEntry],
    *,
    prune: bool = False,
    progress: Callable[[Iterator[DocumentAnnotations], int], Iterable[DocumentAnnotations]] = (
        lambda annotations, total: annotations
    ),
) -> UpdateReport:
    """Update a database and its Parquet files from texts; only new and changed texts are annotated.

    A changed text replaces the document with the same `source`. Documents whose text isn't among the records
    stay unless `prune` is set.

    Args:
        path: SQLite file; the Parquet files go into a folder of this name plus ".parquet".
        prune: remove documents whose text isn't among the records.
        progress: wraps the annotations and their number, to show progress.

    Raises:
        UserError: the file isn't a database of this project, has another schema version or is locked, or its
            folder isn't writable.
    """
    report = UpdateReport()
    with _lock(path):
        old = _open_old(path)
        try:
            base = document_rows.basis(columns, companies)
            keys = [document_rows.document_id(record.text) for record in records]
            marks = {
                key: document_rows.fingerprint(record, source.model_id, base, gold=source.gold)
                for key, record in zip(keys, records, strict=True)
            }
            stored = _stored(old)
            todo = [
                record
                for key, record in zip(keys, records, strict=True)
                if key not in stored or stored[key][0] != marks[key]
            ]
            names = {_source_of(record, columns.documents.source) for record in records} - {None}
            gone = {key: name for key, (_, name) in stored.items() if key not in marks}
            dropped = {key for key, name in gone.items() if prune or name in names}
            stale = {document_rows.document_id(record.text) for record in todo}
            report.changed = sum(document_rows.document_id(record.text) in stored for record in todo)
            report.new = len(todo) - report.changed
            report.same = len(marks) - len(todo)
            report.removed = len(dropped)
            report.vanished = sorted(name or key for key, name in gone.items() if key not in dropped)
            report.before = counts(old) if old else dict.fromkeys(TABLES, 0)
            entries = _company_rows(companies)
            if old and not todo and not dropped and _rows(old, "companies") == entries:
                report.rows = report.before
            else:
                company_names = {entry.id: entry.name for entry in companies}
                filled = (
                    document_rows.fill(
                        annotations,
                        columns,
                        company_names,
                        source.model_id,
                        marks[document_rows.document_id(annotations.record.text)],
                        gold=source.gold,
                    )
                    for annotations in progress(source.read(todo), len(todo))
                )
                with _replacing(path) as new:
                    _build(new, path if old else None, dropped | stale, filled, source.row(), entries)
                    report.rows = counts(new)
                report.written = True
        except sqlite3.OperationalError as error:
            raise UserError(f"{path}: can't be written ({error}); make room or change it.") from None
        finally:
            if old:
                old.close()
        report.parquet_written = write_parquet(path)
    return report


def _source_of(record: Record, field_name: str) -> str | None:
    value = record.meta.get(field_name) if field_name else None
    return None if value is None else str(value)


def _company_rows(companies: Sequence[GazetteerEntry]) -> list[tuple]:
    return sorted(
        (e.id, e.name, *(e.columns.get(name) or None for name in ("kind", "country", "description")))
        for e in companies
    )


def _rows(connection: sqlite3.Connection, table: str) -> list[tuple]:
    return connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()


def _stored(old: sqlite3.Connection | None) -> dict[str, tuple[str, str | None]]:
    """Fingerprint and source of each document in the database."""
    if old is None:
        return {}
    rows = old.execute("SELECT document_id, fingerprint, source FROM documents")
    return {key: (mark, name) for key, mark, name in rows}


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the lock for writing, and remove what killed runs left behind."""
    check_writable(path)
    busy = f"{path}: another run is writing it; wait for that one, then run the command again."
    with locked(path.with_name(f".{path.name}.lock"), busy):
        # The lock excludes running ones.
        for rest in path.parent.glob(f".{path.name}.new-*"):
            shutil.rmtree(rest, ignore_errors=True)
        yield


def _open_old(path: Path) -> sqlite3.Connection | None:
    """Open the existing database and keep other programs from writing to it; None if there is none."""
    if not path.exists():
        return None
    connection = sqlite3.connect(path, timeout=1, isolation_level=None)
    try:
        check_version(connection, path)
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        connection.close()
        raise UserError(
            f"{path}: can't be replaced now ({error}); close the program that writes to it, then run the "
            "command again."
        ) from None
    except UserError:
        connection.close()
        raise
    return connection


@contextmanager
def _replacing(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield an empty database that replaces `path` at the end; after an exception the old one stays."""
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.new-", dir=path.parent))
    try:
        with closing(sqlite3.connect(folder / "building.db", isolation_level=None)) as connection:
            # The file is discarded on failure, so it needs no journal.
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
            # VACUUM stores rows in key order, so that the same rows give the same bytes.
            connection.execute("VACUUM INTO ?", (str(folder / "whole.db"),))
        with open(folder / "whole.db", "rb+") as file:
            os.fsync(file.fileno())
        os.replace(folder / "whole.db", path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _build(
    new: sqlite3.Connection,
    old: Path | None,
    stale: set[str],
    filled: Iterable[document_rows.Rows],
    model: tuple,
    companies: list[tuple],
) -> None:
    for table in TABLES.values():
        new.execute(table.ddl())
    new.execute(TABLES["meta"].insert(), ("schema_version", VERSION))
    new.executemany(TABLES["companies"].insert(), companies)
    models = {model[0]: model}
    if old is not None:
        with closing(sqlite3.connect(f"{old.resolve().as_uri()}?mode=ro", uri=True)) as before:
            models = {row[0]: row for row in _rows(before, "models")} | models
            for table in filter(lambda table: table.of_document, TABLES.values()):
                position = list(table.columns).index("document_id")
                rows = before.execute(f"SELECT * FROM {table.name}")
                new.executemany(table.insert(), (row for row in rows if row[position] not in stale))
    for tables in filled:
        for name, new_rows in tables.items():
            new.executemany(TABLES[name].insert(), new_rows)
    used = {key for (key,) in new.execute("SELECT DISTINCT model_id FROM documents")}
    new.executemany(TABLES["models"].insert(), sorted(row for key, row in models.items() if key in used))


def parquet_folder(path: Path) -> Path:
    """Folder of the Parquet files of a database."""
    return path.with_name(f"{path.name}.parquet")


def write_parquet(path: Path) -> bool:
    """Write one Parquet file per table, unless the files already match the database.

    Returns:
        Whether they were written.
    """
    stamp, folder = sha256_file(path).encode(), parquet_folder(path)
    if all(_stamp(folder / f"{name}.parquet") == stamp for name in TABLES):
        return False
    with (
        closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection,
        published(folder) as new,
    ):
        new.mkdir()
        for name, table in TABLES.items():
            schema = table.arrow().with_metadata({STAMP: stamp})
            rows = connection.execute(f"SELECT * FROM {name} ORDER BY 1")
            with pq.ParquetWriter(new / f"{name}.parquet", schema) as writer:
                while batch := rows.fetchmany(BATCH):
                    columns = zip(*batch, strict=True)
                    arrays = [
                        pa.array(column, type=kind)
                        for column, kind in zip(columns, schema.types, strict=True)
                    ]
                    writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    return True


def _stamp(file: Path) -> bytes | None:
    try:
        return (pq.read_schema(file).metadata or {}).get(STAMP)
    except (OSError, pa.ArrowInvalid):
        return None

"""Writing the database: always a new file beside the old one, which it replaces when it is whole.

So a reader, or a kill at any moment, finds the old state or the new one; and as the rows of a file are laid
down in the order of their keys, the same inputs make the same bytes, whatever the file went through before.
"""

import fcntl
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
from ie.core.files import published, sha256_file
from ie.data.gazetteer import GazetteerEntry
from ie.data.records import Record
from ie.database import document_rows
from ie.database.document_rows import Reading
from ie.database.schema import TABLES, VERSION, Columns, document_tables
from ie.database.sqlite_file import check_version, counts

BATCH = 10_000
STAMP = b"database_sha256"


@dataclass(frozen=True)
class AnnotationSource:
    """Who read the texts: a pipeline, or people ("gold").

    Attributes:
        read: from records to what is known of them, in order.
    """

    name: str
    version: str
    components: Sequence[str]
    hash: str
    read: Callable[[Iterable[Record]], Iterator[Reading]]
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
    """What an update did to the documents: their number by fate, and the rows of each table.

    `vanished` holds sources (or keys) of documents whose text is no longer there and which were kept.
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
    progress: Callable[[Iterator[Reading], int], Iterable[Reading]] = lambda found, total: found,
) -> UpdateReport:
    """Bring a database and its Parquet files up to date with texts; only new and changed ones are read.

    A text is new if its words are; it takes the place of one that had the same `source`. Documents whose text
    isn't among the records stay.

    Args:
        path: of the SQLite file; the Parquet files go into a folder of its name with .parquet.
        prune: remove the documents whose text isn't among the records.
        progress: shown what is read, and how many there will be.

    Raises:
        UserError: a file that isn't ours, another version of the schema, a lock, an unwritable folder.
    """
    report = UpdateReport()
    with _alone(path):
        old = _open_old(path)
        try:
            base = document_rows.basis(columns, companies)
            marks = {
                document_rows.document_id(r.text): document_rows.fingerprint(
                    r, source.model_id, base, gold=source.gold
                )
                for r in records
            }
            known = _known(old)
            names = {_column(r, columns.documents.source) for r in records} - {None}
            todo = [
                r
                for r in records
                if known.get(key := document_rows.document_id(r.text), (None,))[0] != marks[key]
            ]
            gone = {key: name for key, (_, name) in known.items() if key not in marks}
            dropped = {key for key, name in gone.items() if prune or name in names}
            report.changed = sum(document_rows.document_id(r.text) in known for r in todo)
            report.new = len(todo) - report.changed
            report.same = len(marks) - len(todo)
            report.removed = len(dropped)
            report.vanished = sorted(name or key for key, name in gone.items() if key not in dropped)
            report.before = counts(old) if old else dict.fromkeys(TABLES, 0)
            entries = _companies(companies)
            if old and not todo and not dropped and _rows(old, "companies") == entries:
                report.rows = report.before
            else:
                stale = dropped | {document_rows.document_id(r.text) for r in todo}
                found = progress(source.read(todo), len(todo))
                called = {entry.id: entry.name for entry in companies}
                filled = (
                    document_rows.fill(
                        reading,
                        columns,
                        called,
                        source.model_id,
                        marks[document_rows.document_id(reading.record.text)],
                    )
                    for reading in found
                )
                with _replacing(path) as new:
                    _build(new, path if old else None, stale, filled, source.row(), entries)
                    report.rows = counts(new)
                report.written = True
        except sqlite3.OperationalError as error:
            raise UserError(f"{path}: can't be written ({error}); make room or change it.") from None
        finally:
            if old:
                old.close()
        report.parquet_written = write_parquet(path)
    return report


def _column(record: Record, name: str) -> str | None:
    given = record.meta.get(name) if name else None
    return None if given is None else str(given)


def _companies(companies: Sequence[GazetteerEntry]) -> list[tuple]:
    return sorted(
        (e.id, e.name, *(e.columns.get(name) or None for name in ("kind", "country", "description")))
        for e in companies
    )


def _rows(connection: sqlite3.Connection, table: str) -> list[tuple]:
    return connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()


def _known(old: sqlite3.Connection | None) -> dict[str, tuple[str, str | None]]:
    """Fingerprint and source of each document there is."""
    if old is None:
        return {}
    found = old.execute("SELECT document_id, fingerprint, source FROM documents")
    return {key: (mark, name) for key, mark, name in found}


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of those who write; a kill frees it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = open(path.with_name(f".{path.name}.lock"), "w")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise UserError(f"{path}: can't be written ({error.strerror}); make its folder writable.") from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"{path}: another run is writing it; wait for that one, then run the command again."
            ) from None
        # What runs left that were killed; nobody else can be at work here.
        for rest in path.parent.glob(f".{path.name}.new-*"):
            shutil.rmtree(rest, ignore_errors=True)
        yield


def _open_old(path: Path) -> sqlite3.Connection | None:
    """The database as it is, protected from other programs' writing; None if there is none."""
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
    """An empty database that takes the place of `path` at the end; on any exception the old one stays."""
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.new-", dir=path.parent))
    try:
        with closing(sqlite3.connect(folder / "building.db", isolation_level=None)) as connection:
            # It is thrown away if anything fails, so it needs no journal.
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
            # Lays the rows down in their order: the same rows, the same bytes.
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
            for table in document_tables():
                at = list(table.columns).index("document_id")
                kept = (row for row in before.execute(f"SELECT * FROM {table.name}") if row[at] not in stale)
                new.executemany(table.insert(), kept)
    for rows in filled:
        for name, found in rows.items():
            new.executemany(TABLES[name].insert(), found)
    used = {key for (key,) in new.execute("SELECT DISTINCT model_id FROM documents")}
    new.executemany(TABLES["models"].insert(), sorted(row for key, row in models.items() if key in used))


def parquet_folder(path: Path) -> Path:
    """Where the Parquet files of a database are."""
    return path.with_name(f"{path.name}.parquet")


def write_parquet(path: Path) -> bool:
    """Write a file a table beside the database, unless they are of these very bytes.

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

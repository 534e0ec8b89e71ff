"""Texts in Parquet and JSONL files, divided into shards: a number of rows of one file, the unit of work.

One process reads and passes the rows to the workers: a compressed file can't be read from the middle, and the
machines of a cluster needn't have the files.
"""

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from ie.core.errors import UserError

Kind = Literal["parquet", "jsonl"]
KINDS: dict[str, Kind] = {".parquet": "parquet", ".jsonl": "jsonl", ".jsonl.gz": "jsonl"}
# Rows of a JSONL file that are searched for the text column, before any work.
LOOKED_AT = 1000


@dataclass(frozen=True)
class InputFile:
    """An input file.

    Attributes:
        name: its path below the folder of all inputs.
        lines: rows of a Parquet file, lines of a JSONL file, of which `rows` aren't empty.
    """

    name: str
    bytes: int
    mtime_ns: int
    sha256: str
    lines: int
    rows: int

    @property
    def kind(self) -> Kind:
        """What it holds, by its suffix."""
        return kind_of(Path(self.name))

    def shards(self, size: int) -> int:
        """The number of shards."""
        return -(-self.lines // size)

    def to_json(self) -> dict[str, Any]:
        """For the manifest; `name` is the key there."""
        return {key: value for key, value in asdict(self).items() if key != "name"}


@dataclass(frozen=True)
class Shard:
    """Some rows of a file.

    Attributes:
        source: name of the file.
        number: which of its shards.
        first: number of its first row (from 1): a line in JSONL.
        content: lines as they are, or an Arrow stream.
    """

    source: str
    kind: Kind
    number: int
    first: int
    content: bytes


def kind_of(path: Path) -> Kind | None:
    """What a file holds, by its suffix; None for something else."""
    return next((kind for end, kind in KINDS.items() if path.name.lower().endswith(end)), None)


def find(path: Path) -> tuple[Path, list[str], list[str]]:
    """The files of an input: itself, or all below it; those whose names begin with . or _ are left out.

    Returns:
        The folder, the names in it of files with rows, and the names of other files.
    """
    known = ", ".join(KINDS)
    if path.is_file():
        if kind_of(path) is None:
            raise UserError(f"{path}: its name must end in one of {known}; rename it, or name another file.")
        return path.parent, [path.name], []
    if not path.is_dir():
        raise UserError(f"{path}: there is no such file or folder; correct the path of the input.")
    files = [p.relative_to(path) for p in path.rglob("*") if p.is_file()]
    names = sorted(p.as_posix() for p in files if not any(part[0] in "._" for part in p.parts))
    row_files = [name for name in names if kind_of(Path(name))]
    if not row_files:
        raise UserError(f"{path}: holds no file that ends in one of {known}; put the texts there.")
    return path, row_files, [name for name in names if name not in row_files]


def scan(
    folder: Path, name: str, text_column: str, on_bytes: Callable[[int], Any] = lambda n: None
) -> InputFile:
    """Read a file once: its hash, its rows, and whether it has the text column.

    Args:
        on_bytes: called with the number of bytes read since the last call.
    """
    path = folder / name
    with _readable(path):
        stat = path.stat()
        with _Hashed(path, on_bytes) as raw:
            if kind_of(path) == "parquet":
                while raw.read(1 << 20):
                    pass
                file = pq.ParquetFile(path)
                _require_column(path, file.schema_arrow, text_column)
                lines = rows = file.metadata.num_rows
            else:
                lines, rows = _count(path, raw, text_column)
    return InputFile(name, stat.st_size, stat.st_mtime_ns, raw.sha256.hexdigest(), lines, rows)


def read(folder: Path, source: InputFile, size: int, select: Callable[[int], bool]) -> Iterator[Shard]:
    """The shards of a file whose numbers `select` accepts."""
    numbers = {number for number in range(source.shards(size)) if select(number)}
    if not numbers:
        return
    pieces = _tables if source.kind == "parquet" else _lines
    with _readable(folder / source.name):
        for number, content in enumerate(pieces(folder / source.name, size)):
            if number in numbers:
                yield Shard(source.name, source.kind, number, number * size + 1, content())


def _lines(path: Path, size: int) -> Iterator[Callable[[], bytes]]:
    with open(path, "rb") as raw, _unpacked(path, raw) as file:
        while lines := list(islice(file, size)):
            yield lambda lines=lines: b"".join(lines)


def _tables(path: Path, size: int) -> Iterator[Callable[[], bytes]]:
    """Tables of `size` rows, independent of the file's row groups."""
    file, held, rows = pq.ParquetFile(path), [], 0
    for batch in file.iter_batches(batch_size=size):
        held.append(batch)
        rows += batch.num_rows
        while rows >= size:
            table = pa.Table.from_batches(held)
            yield lambda table=table: to_stream(table.slice(0, size))
            held, rows = table.slice(size).to_batches(), rows - size
    if rows:
        yield lambda: to_stream(pa.Table.from_batches(held))


def to_stream(table: pa.Table) -> bytes:
    """A table as bytes, to hand to another process."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        # one batch, so that equal rows are equal bytes
        writer.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()


def from_stream(content: bytes) -> pa.Table:
    """The table that `to_stream` wrote."""
    return pa.ipc.open_stream(content).read_all()


def not_utf8(table: pa.Table) -> dict[int, list[str]]:
    """The rows of a table that have a string that isn't UTF-8, by index, with the names of its columns."""
    invalid: dict[int, list[str]] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if _valid(column):
            continue
        if pa.types.is_dictionary(column.type):
            # each row would be checked with the strings of all rows otherwise
            column = column.cast(column.type.value_type)
        for i in range(len(column)):
            if not _valid(column.take(pa.array([i]))):  # a slice keeps what is nested in the others
                invalid.setdefault(i, []).append(name)
    return invalid


def _valid(column: pa.ChunkedArray) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def values(column: pa.ChunkedArray) -> list[Any]:
    """A column as Python objects; values without a Python type (nanoseconds, invalid UTF-8) are text."""
    try:
        return column.to_pylist()
    except (ValueError, OverflowError, pa.ArrowException):
        return [_value(scalar) for scalar in column]


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError, pa.ArrowException):
        pass
    if pa.types.is_dictionary(scalar.type):
        scalar = scalar.value
    if hasattr(scalar, "as_buffer"):
        return scalar.as_buffer().to_pybytes().decode("utf-8", errors="replace")
    try:
        return scalar.cast(pa.string()).as_py()
    except (ValueError, OverflowError, pa.ArrowException):
        return f"unreadable {scalar.type}"


def dicts(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of a table as dicts, with the objects of `values`."""
    columns = [(name, values(column)) for name, column in zip(table.column_names, table.columns, strict=True)]
    return [{name: column[i] for name, column in columns} for i in range(table.num_rows)]


def has_column(row: dict[str, Any], column: str) -> bool:
    """Whether a JSON object has a column; a name with a dot may lead into an object, such as meta.id."""
    return pluck(row, column, missing=...) is not ...


def pluck(row: dict[str, Any], column: str, missing: Any = None) -> Any:
    """The value of a column of a JSON object, or `missing`."""
    head, _, rest = column.partition(".")
    if column in row or not rest:
        return row.get(column, missing)
    return pluck(row[head], rest, missing) if isinstance(row.get(head), dict) else missing


def _require_column(path: Path, schema: pa.Schema, column: str) -> None:
    if column not in schema.names:
        raise UserError(
            f"{path}: has no column {column!r}, but {', '.join(schema.names) or 'none at all'}; name the "
            "column of the texts."
        )
    kind = schema.field(column).type
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner)):
        raise UserError(
            f"{path}: the column {column!r} holds {kind}, no texts; name the column of the texts."
        )


def _count(path: Path, raw: io.RawIOBase, column: str) -> tuple[int, int]:
    lines = rows = 0
    names: dict[str, None] = {}
    has = False
    with _unpacked(path, raw) as file:
        for line in file:
            lines += 1
            if not line.strip():
                continue
            rows += 1
            if not has and rows <= LOOKED_AT and isinstance(row := parse(line), dict):
                has = has_column(row, column)
                names |= dict.fromkeys(row)
    if names and not has:
        raise UserError(
            f"{path}: none of its first {min(rows, LOOKED_AT):,} rows has {column!r}, but "
            f"{', '.join(names)}; name the column of the texts."
        )
    return lines, rows


def parse(line: bytes) -> dict[str, Any] | str:
    """The object on a line of JSON, or the reason why there is none."""
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return "not UTF-8"
    except (ValueError, RecursionError):
        return "not JSON"
    return row if isinstance(row, dict) else "no JSON object"


def _unpacked(path: Path, raw: io.RawIOBase) -> Any:
    return (
        gzip.GzipFile(fileobj=raw) if path.name.lower().endswith(".gz") else io.BufferedReader(raw, 1 << 20)
    )


class _Hashed(io.RawIOBase):
    """A file that is hashed while it is read, compressed or not."""

    def __init__(self, path: Path, on_bytes: Callable[[int], Any]) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 (closed with this object)
        self._on_bytes = on_bytes
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        n = self._file.readinto(buffer)
        self.sha256.update(memoryview(buffer)[:n])
        self._on_bytes(n)
        return n

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn the exceptions of broken files into a UserError."""
    try:
        yield
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
        raise UserError(f"{path}: can't be read ({reason}); repair it, or take it away.") from error

"""Answers on disk: a journal of all answers, and the gold file with one line per finished text.

The journal (`assets/review-log.jsonl`) is append-only, and flushed to disk before an answer is acknowledged.
Each line is one answer to one question: annotator, time, duration, and all that is marked in the text so far.
The answer that finishes a text also has the gold record, and the hash of the gold line that it replaces.
After a crash between the two writes, the next start takes the record from the journal and writes it. A gold
line that somebody has edited since then is never overwritten.
"""

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ie.core.errors import UserError
from ie.core.files import atomic_write, json_text
from ie.data.records import Record


class Changed(Exception):
    """Another program changed the gold file."""


class Journal:
    """The append-only log of answers; held by one server at a time."""

    def __init__(self, path: Path) -> None:
        """Open and lock the journal; a last line that was cut off by a crash, never acknowledged, is removed.

        Raises:
            UserError: another server holds it, or it can't be written.
        """
        self.path = path
        fresh = not path.exists()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise UserError(f"{path}: can't be written ({error.strerror}); make it writable.") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise UserError(f"{path}: can't be locked ({error.strerror}); use a local disk.") from None
            raise UserError(
                f"{path}: another review of this project is running; use its page, or stop it first."
            ) from None
        if fresh:
            _sync_folder(path.parent)
        self._size = self._whole_lines()
        os.ftruncate(self._file, self._size)

    def _whole_lines(self) -> int:
        """Bytes up to the end of the last whole line."""
        end = os.fstat(self._file).st_size
        while end:
            start = max(0, end - 65536)
            newline = os.pread(self._file, end - start, start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
        return 0

    def read(self) -> Iterator[dict[str, Any]]:
        """All answers, in order.

        Raises:
            UserError: a line is no answer of a review.
        """
        with open(self.path, "rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    entry = json.loads(line, parse_constant=_refuse_constant)
                    missing = {"text", "unit", "parts", "entry", "annotator", "answer", "round"} - set(entry)
                    if missing:
                        raise ValueError(f"without {', '.join(sorted(missing))}")
                except (ValueError, TypeError) as error:
                    raise UserError(
                        f"{self.path}:{number}: no answer of a review ({error}); restore the file from a "
                        "copy, or delete that line."
                    ) from None
                yield entry

    def append(self, entry: dict[str, Any]) -> None:
        """Write an answer and wait until it is on disk; the whole line or nothing.

        Raises:
            OSError: the disk is full, for example. Nothing is written then.
        """
        # ASCII only: some tools also split lines at other Unicode characters.
        append(self._file, self._size, (json_text(entry, ensure_ascii=True) + "\n").encode())
        self._size = os.fstat(self._file).st_size

    def close(self) -> None:
        """Release the lock."""
        os.close(self._file)


class Gold:
    """A file of reviewed records, of which one line at a time is added or replaced."""

    def __init__(self, path: Path, records: list[Record]) -> None:
        """Use a file that was read.

        Args:
            records: its content as read. What the reader changed is not written until a text is answered.
        """
        self.path = path
        self.records = {record.text: record for record in records}
        self._state = self._stat()

    def _stat(self) -> tuple[int, int] | None:
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return None
        return stat.st_size, stat.st_mtime_ns

    def put(self, record: Record) -> None:
        """Add a record, or replace that of the same text where it stands, so that no split moves.

        Raises:
            Changed: another program wrote to the file.
            OSError, UserError: it can't be written. The file is as before then.
        """
        if self._stat() != self._state:
            raise Changed(
                f"{self.path} was changed by another program. Your answer is in the journal: stop and start "
                "review, and it is written here as well."
            )
        if record.text in self.records:
            self._replace(record)
        else:
            self._append(record)
        self.records[record.text] = record
        self._state = self._stat()

    def _append(self, record: Record) -> None:
        fresh = self._state is None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            size = os.fstat(file).st_size
            # An editor may have left the last line without a line break.
            glue = b"\n" if size and os.pread(file, 1, size - 1) != b"\n" else b""
            append(file, size, glue + (record.to_line() + "\n").encode())
        finally:
            os.close(file)
        if fresh:
            _sync_folder(self.path.parent)

    def _replace(self, record: Record) -> None:
        # All other lines stay byte for byte as they are.
        with open(self.path, "rb") as old, atomic_write(self.path, "wb") as new:
            for line in old:
                if _text(line) == record.text:
                    new.write((record.to_line() + "\n").encode())
                else:
                    new.write(line)
        _sync_folder(self.path.parent)


def line_hash(record: Record | None) -> str | None:
    """A hash that shows whether a gold record has changed since an answer."""
    if record is None:
        return None
    content = json_text(record.model_dump(exclude_defaults=True), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def repair(entries: list[dict[str, Any]], gold: Gold) -> int:
    """Write the finished texts that are missing from the gold file after a crash.

    Args:
        entries: the answers of one journal that finished a text of this file, in order.

    Returns:
        How many were missing.
    """
    last = {entry["text"]: entry for entry in entries}
    missing = 0
    for entry in last.values():
        record = Record.model_validate(entry["record"])
        current = line_hash(gold.records.get(record.text))
        if current != line_hash(record) and current == entry["before"]:
            gold.put(record)
            missing += 1
    return missing


def append(file: int, size: int, data: bytes) -> None:
    """Append to a file descriptor and wait for the disk; on failure the file is cut back to `size`."""
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    except OSError:
        os.ftruncate(file, size)
        raise


def _sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _text(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig"))["text"]
    except (ValueError, KeyError, TypeError):
        return None

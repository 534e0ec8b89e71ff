"""The store of answers: an answered call is never paid for twice."""

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path

from ie.core.errors import UserError
from ie.core.files import json_text
from ie.llm.types import Answer

KEPT = ("prompt_tokens", "completion_tokens", "estimated", "seconds", "finish_reason")
TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, text TEXT NOT NULL, about TEXT NOT NULL
) WITHOUT ROWID
"""


class AnswerCache:
    """Answers by key in one SQLite file, shared by threads and processes.

    It uses a write-ahead log and synchronizes at every commit, so what `put` has returned survives a crash of
    the process or the machine. spacy-llm's BatchCache identifies a document by the sum of the hashes of its
    words, which mixes up documents; here the key is a hash of everything that can change the answer
    (`Prompt.key`).

    Attributes:
        broken: number of rows that couldn't be read. They were removed, so their prompts are asked again.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._process = 0
        self.broken = 0

    def get(self, key: str) -> Answer | None:
        """The stored answer, or None."""
        with self._lock, self._explained():
            return self._get(key)

    def put(self, answers: Iterable[Answer], model: str = "") -> list[Answer]:
        """Store answers in one transaction; return what is stored under their keys now.

        If another process was first, its answer stays: later runs will use that one.

        Raises:
            ValueError: an answer is an error; those must be asked again.
            UserError: the disk is full, or the file isn't a database.
        """
        answers = list(answers)
        if failed := [a for a in answers if a.error is not None or not a.key]:
            raise ValueError(f"an answer without key or with an error can't be stored: {failed[0].error}")
        rows = [
            (a.key, model, _clean(a), json_text({name: getattr(a, name) for name in KEPT}, ensure_ascii=True))
            for a in answers
        ]
        with self._lock, self._explained():
            connection = self._open()
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)", rows)
            stored = [self._get(a.key) for a in answers]
        # None: there is a row, but it couldn't be read
        return [
            Answer(str(ours if stored_text is None else stored_text), **vars(ours))
            for ours, stored_text in zip(answers, stored, strict=True)
        ]

    def discard(self, answer: Answer) -> None:
        """Delete an answer, unless another one is stored under its key by now."""
        with self._lock, self._explained():
            self._open().execute("DELETE FROM answers WHERE key = ? AND text = ?", (answer.key, str(answer)))

    def count(self) -> int:
        """Number of stored answers."""
        with self._lock, self._explained():
            return self._open().execute("SELECT count(*) FROM answers").fetchone()[0]

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    def _get(self, key: str) -> Answer | None:
        # As bytes: SQLite doesn't check its texts, and invalid UTF-8 must not end the run.
        query = "SELECT CAST(text AS BLOB), CAST(about AS BLOB) FROM answers WHERE key = ?"
        row = self._open().execute(query, (key,)).fetchone()
        if row is None:
            return None
        try:
            text, about = (value.decode("utf-8") for value in row)
            return Answer(text, key=key, cached=True, **_checked(json.loads(about)))
        except (AttributeError, ValueError, RecursionError):
            # The file was changed by something else. The prompt is asked again.
            self._open().execute("DELETE FROM answers WHERE key = ?", (key,))
            self.broken += 1
            return None

    def _open(self) -> sqlite3.Connection:
        # A connection can't be used after a fork.
        if self._connection is not None and self._process == os.getpid():
            return self._connection
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{self.path.parent}: can't be created ({error.strerror}); "
                "make the folder writable or choose another cache path."
            ) from error
        connection = sqlite3.connect(
            self.path, timeout=60, check_same_thread=False, isolation_level=None, cached_statements=16
        )
        try:
            _patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"))
            connection.execute("PRAGMA synchronous = FULL")
            _patiently(lambda: connection.execute(TABLE))
        except sqlite3.Error:
            connection.close()
            raise
        self._connection, self._process = connection, os.getpid()
        return connection

    @contextmanager
    def _explained(self):
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "") or ""
            consequence = "answers stored so far are kept"
            # By the name: the text of a corrupt file speaks of a "disk image".
            if "CORRUPT" in name or "NOTADB" in name:
                fault, remedy = "it is no usable store of answers", "move it away and run again"
                consequence = "the answers in it are asked again"
            elif "FULL" in name or "IOERR" in name:
                fault, remedy = "the disk is full or failing", "free some space and run it again"
            elif "CANTOPEN" in name or "READONLY" in name or "PERM" in name:
                fault, remedy = "it can't be written", "make it writable or choose another cache path"
            elif "BUSY" in name or "LOCKED" in name:
                fault, remedy = "another process has held it for a minute", "stop that one or wait for it"
            else:
                fault, remedy = "it can't be used as a store of answers", "move it away and run again"
                consequence = "the answers in it are asked again"
            raise UserError(f"{self.path}: {fault} ({error}); {remedy}: {consequence}.") from error


def _patiently(action, seconds: float = 60) -> None:
    # Switching to a write-ahead log needs an exclusive lock, but doesn't wait for it as other statements do.
    deadline = time.monotonic() + seconds
    while True:
        try:
            action()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _checked(about: object) -> dict:
    """What is stored with an answer.

    Raises:
        ValueError: a value of another type.
    """
    if not isinstance(about, dict) or not about.keys() <= set(KEPT):
        raise ValueError("other keys")
    for name, value in about.items():
        types = (int, float) if name == "seconds" else (type(getattr(Answer(), name)),)
        if type(value) not in types or (name != "finish_reason" and not 0 <= value < 2**31):
            raise ValueError(name)
    return about


def _clean(text: str) -> str:
    # UTF-8 can't encode a lone surrogate: half an emoji, cut off by a token limit.
    return text.encode("utf-8", "replace").decode("utf-8")

"""Worker processes for SQL: a process can be killed, while a call inside SQLite can't be interrupted.

This file is also the program of the workers. It imports only the standard library, so a worker starts in
about 20 ms and a killed one is replaced quickly.
"""

import atexit
import json
import os
import queue
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

# Statements that run at the same time.
MOST = 2
# Seconds that a process may take to start on a busy machine.
STARTING = 60
# All tables, including virtual ones that expose SQLite's own state.
OTHERS = "SELECT name FROM sqlite_master UNION SELECT name FROM pragma_module_list"


class StatementRefused(Exception):
    """A statement that was not run, or was stopped. The message is one sentence with the reason."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True)
class QueryLimits:
    """Limits of one statement.

    Attributes:
        seconds: running time; also the maximum wait for other statements.
        rows: maximum rows; further rows are dropped and the result is marked as truncated.
        characters: maximum characters of all cells together, handled like `rows`.
        memory: bytes of memory for SQLite in its process.
        value: bytes of one value or row; must exceed the longest text.
    """

    # Read by pydantic, which this file can't import: a misspelt limit is an error.
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012
    seconds: float = 5.0
    rows: int = 200
    characters: int = 1_000_000
    memory: int = 256_000_000
    value: int = 500_000


@dataclass(frozen=True)
class Result:
    """Rows of a statement; `truncated` if a limit of `QueryLimits` cut them."""

    columns: list[str]
    rows: list[tuple]
    truncated: bool = False


class SqlWorkerPool:
    """A pool of processes that run statements. They start on demand and are reused. Thread-safe.

    Args:
        most: maximum number of processes.
    """

    def __init__(self, most: int = MOST) -> None:
        self._places = threading.BoundedSemaphore(most)
        self._lock = threading.Lock()
        self._idle: list[_SqlWorker] = []
        self._busy: set[_SqlWorker] = set()
        self._stopped = False

    def run(
        self,
        database: str,
        sql: str,
        limits: QueryLimits,
        *,
        tables: Iterable[str],
        functions: Iterable[str],
        maxima: dict[int, int],
    ) -> Result:
        """Run one statement on a read-only connection.

        Args:
            database: path of the file.
            tables, functions: allowed names in lower case; all others are denied.
            maxima: SQLite's own limits, by their SQLITE_LIMIT number.

        Raises:
            StatementRefused: SQLite or its authorizer refused it, a limit stopped it, or the pool stayed
                busy.
        """
        request = {
            "database": database, "sql": sql, "limits": asdict(limits),
            "tables": sorted(tables), "functions": sorted(functions), "maxima": list(maxima.items()),
        }  # fmt: skip
        if not self._places.acquire(timeout=limits.seconds):
            raise StatementRefused("busy", "Other statements are running; try again when they are done.")
        try:
            return _read(self._ask(json.dumps(request).encode() + b"\n", limits.seconds), limits)
        finally:
            self._places.release()

    def stop(self) -> None:
        """Kill all processes, even busy ones; callers waiting for a result get `StatementRefused`."""
        with self._lock:
            self._stopped = True
            workers = [*self._idle, *self._busy]
            self._idle.clear()
        for worker in workers:
            worker.kill()

    def _ask(self, request: bytes, seconds: float) -> dict | None:
        with self._lock:
            if self._stopped:
                raise StatementRefused("stopped", "No more statements are run.")
            worker = self._idle.pop() if self._idle else _SqlWorker()
            self._busy.add(worker)
        reply = None
        try:
            reply = worker.ask(request, seconds) if worker.ready() else None
            if reply is None and not worker.late:
                raise StatementRefused("stopped", "The process that ran the statement ended.")
            return reply
        finally:
            with self._lock:
                self._busy.discard(worker)
                reusable = reply is not None and not worker.late and not self._stopped
                if reusable:
                    self._idle.append(worker)
            if not reusable:
                worker.kill()


class _SqlWorker:
    """One process; `late` if it was killed because it exceeded its time."""

    def __init__(self) -> None:
        self.late = False
        # Without site-packages, for speed; in its own session, so that Ctrl-C reaches only the parent.
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._started = False

    def ready(self) -> bool:
        """Wait until it has started, as the time limit of a statement counts from then; False on failure."""
        self._started = self._started or self._line(STARTING) is not None
        return self._started

    def ask(self, request: bytes, seconds: float) -> dict | None:
        """Return the reply, or None if the process was killed or crashed."""
        try:
            self.process.stdin.write(request)
            self.process.stdin.flush()
        except OSError:
            return None
        line = self._line(seconds)
        return None if line is None else json.loads(line)

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):  # a request that was never read
                pipe.close()

    def _line(self, seconds: float) -> bytes | None:
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        return line if line.endswith(b"\n") else None

    def _expire(self) -> None:
        self.late = True
        self.process.kill()


def _read(reply: dict | None, limits: QueryLimits) -> Result:
    if reply is None:
        raise StatementRefused(
            "time", f"The statement took longer than {limits.seconds:g} s and was stopped."
        )
    if "refused" in reply:
        raise StatementRefused(*reply["refused"])
    rows = [
        tuple(bytes.fromhex(cell[0]) if type(cell) is list else cell for cell in row) for row in reply["rows"]
    ]
    return Result(reply["columns"], rows, reply["truncated"])


WORKERS = SqlWorkerPool()
atexit.register(WORKERS.stop)


def execute(request: dict) -> dict:
    """Run the statement of a request; bytes in the reply are lists with a hex string."""
    limits = QueryLimits(**request["limits"])
    tables, functions = frozenset(request["tables"]), frozenset(request["functions"])
    others: set[str] = set()

    def authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action == sqlite3.SQLITE_FUNCTION:
            allowed = (second or "").lower() in functions
        elif action == sqlite3.SQLITE_READ:
            table = (first or "").lower()
            # Without a column, rows are only counted; a WITH query appears here under its own name.
            unknown = table not in others and not table.startswith(("sqlite_", "pragma_"))
            allowed = table in tables or (not second and unknown)
        else:
            allowed = action == sqlite3.SQLITE_SELECT
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    try:
        address = f"{Path(request['database']).as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=1)) as connection:
            # Memory first: PRAGMA is impossible once the authorizer is set.
            connection.execute(f"PRAGMA hard_heap_limit = {int(limits.memory)}")
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limits.value)
            for category, value in request["maxima"]:
                connection.setlimit(category, value)
            others.update(name.lower() for (name,) in connection.execute(OTHERS))
            connection.set_authorizer(authorize)
            cursor = connection.execute(request["sql"])
            columns = [column[0] for column in cursor.description or ()]
            rows: list[list] = []
            size = 0
            for row in cursor:
                size += sum(len(str(cell)) for cell in row)
                if len(rows) == limits.rows or size > limits.characters:
                    return {"columns": columns, "rows": rows, "truncated": True}
                rows.append([[cell.hex()] if isinstance(cell, bytes) else cell for cell in row])
            return {"columns": columns, "rows": rows, "truncated": False}
    except (sqlite3.Error, sqlite3.Warning, MemoryError, OverflowError, ValueError) as error:
        return {"refused": _explained(error)}


def _explained(error: Exception) -> tuple[str, str]:
    reason = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "out of memory" in reason:
        return "memory", "The statement took too much memory and was stopped."
    if any(words in reason for words in ("too big", "too long", "too complex", "too many")):
        return "size", f"The statement is too large ({reason[:120]})."
    if "not authorized" in reason or "prohibited" in reason:
        return "not authorized", f"SQLite was not allowed to do that ({reason[:120]})."
    return "error", f"SQLite can't run it ({reason[:160]})."


def main() -> None:
    """Run requests, one per line, until the parent closes the pipe or exits."""
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin.buffer:
            requests.put(line)
        # Ends the process even during a statement, because SQLite releases the GIL.
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    sys.stdout.buffer.write(b"ready\n")
    while True:
        sys.stdout.buffer.flush()
        reply = execute(json.loads(requests.get()))
        sys.stdout.buffer.write(json.dumps(reply).encode() + b"\n")


if __name__ == "__main__":
    main()

"""What a question may do to the database: one SELECT over known tables, for a bounded time, and nothing else.

Two walls, as either may have a hole: the statement is parsed, and every part of it must be on a list of what
is allowed; what the parser understood, not what was written, is then run on a read-only connection, under an
authorizer that denies all but reading, with limits on time, memory and the size of what comes back.
"""

import logging
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

# It warns of statements that it doesn't know, which are refused anyway.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

DIALECT = "sqlite"
LONGEST_STATEMENT = 4_000
# Of nested parentheses, SELECTs and operators; the parser itself is a recursive one.
DEEPEST = 60


class Refused(Exception):
    """A statement that isn't run, or was stopped; its message is one sentence that says why."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True)
class Limits:
    """What one question may take.

    Attributes:
        seconds: of running.
        rows: of the answer; what is beyond is cut off, and told.
        characters: of the answer's cells together, likewise.
        memory: bytes that SQLite may take, in this process for good (SQLite only lowers this limit).
        value: bytes of one value, which must be more than the longest text has.
    """

    seconds: float = 5.0
    rows: int = 200
    characters: int = 1_000_000
    memory: int = 256_000_000
    value: int = 1_000_000


@dataclass(frozen=True)
class Result:
    """What a statement gave; `truncated` if a limit of `Limits` cut it short."""

    columns: list[str]
    rows: list[tuple]
    truncated: bool = False


# sqlglot's classes of functions by what SQLite calls them; those it has no class for go by their name alone.
FUNCTIONS = {
    "abs": exp.Abs, "avg": exp.Avg, "cast": exp.Cast, "coalesce": exp.Coalesce, "count": exp.Count,
    "date": exp.Date, "iif": exp.If, "instr": exp.StrPosition, "length": exp.Length, "lower": exp.Lower,
    "max": exp.Max, "min": exp.Min, "nullif": exp.Nullif, "round": exp.Round, "strftime": exp.TimeToStr,
    "substr": exp.Substring, "sum": exp.Sum, "trim": exp.Trim, "upper": exp.Upper,
}  # fmt: skip
NAMED = ("ifnull", "ltrim", "rtrim", "total", "julianday", "datetime")
# What SQLite's own functions are called where it asks whether they may be used.
CALLED = frozenset({*FUNCTIONS, *NAMED, "like", "substring", "current_date"})

_SYNTAX: tuple[type[exp.Expr], ...] = (
    exp.Select, exp.Union, exp.Intersect, exp.Except, exp.Subquery, exp.With, exp.CTE, exp.TableAlias,
    exp.From, exp.Join, exp.Where, exp.Group, exp.Having, exp.Order, exp.Ordered, exp.Limit, exp.Offset,
    exp.Distinct, exp.Table, exp.Column, exp.Identifier, exp.Alias, exp.Star, exp.Tuple, exp.Paren,
    exp.Literal, exp.Null, exp.Boolean, exp.Neg, exp.Not, exp.And, exp.Or, exp.EQ, exp.NEQ, exp.GT, exp.GTE,
    exp.LT, exp.LTE, exp.Is, exp.In, exp.Between, exp.Like, exp.Exists, exp.Add, exp.Sub, exp.Mul, exp.Div,
    exp.Mod, exp.DPipe, exp.Case, exp.DataType, exp.CurrentDate, exp.Window, exp.Var,
    exp.Collate, exp.Escape,
)  # fmt: skip
_ALLOWED = frozenset({*_SYNTAX, *FUNCTIONS.values(), exp.TsOrDsToTimestamp})
_COLLATIONS = frozenset({"NOCASE", "BINARY", "RTRIM"})

_ACTIONS = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION})
_MAXIMA = {
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 4 * LONGEST_STATEMENT,
    sqlite3.SQLITE_LIMIT_COLUMN: 100,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 10,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 25_000,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 10,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}


def check(sql: str, schema: Mapping[str, tuple[str, ...]]) -> str:
    """The one SELECT that a text is, written anew from what the parser understood of it, without comments.

    Args:
        schema: tables and their columns, all that may be read.

    Raises:
        Refused: anything else, with the first reason found.
    """
    if len(sql) > LONGEST_STATEMENT:
        raise Refused("too long", f"The statement is longer than {LONGEST_STATEMENT:,} characters.")
    if any(ord(c) < 32 and c not in "\t\r\n" for c in sql):
        raise Refused("no SQL", "The statement has control characters in it.")
    if sql.count("(") > DEEPEST:
        raise Refused("too deep", f"The statement has more than {DEEPEST} parentheses.")
    try:
        parsed = [tree for tree in sqlglot.parse(sql, read=DIALECT) if tree is not None]
    except (SqlglotError, RecursionError) as error:
        said = str(error).splitlines()[0].split(". Line")[0] if str(error) else "too deep"
        raise Refused("no SQL", f"The statement isn't valid SQL ({said[:120]}).") from None
    if len(parsed) != 1:
        raise Refused(
            "several statements" if parsed else "no SQL",
            f"There must be one SELECT statement, and there are {len(parsed)} statements.",
        )
    tree = parsed[0].unnest()
    if not isinstance(tree, exp.Query):
        raise Refused("no SELECT", f"Only SELECT is allowed, and this is {type(tree).__name__.upper()}.")
    _check_parts(tree)
    _check_names(tree, schema)
    try:
        return tree.sql(dialect=DIALECT, comments=False)
    except (SqlglotError, RecursionError):
        raise Refused("no SQL", "The statement can't be written as SQLite's SQL.") from None


def _check_parts(tree: exp.Expr) -> None:
    for node in tree.walk():
        if isinstance(node, exp.Table) and not isinstance(node.this, exp.Identifier):
            raise Refused("table", "A function is not allowed as a table.")
        if isinstance(node, (exp.Anonymous, exp.AnonymousAggFunc)):
            if node.name.lower() not in NAMED:
                raise Refused("function", f"The function {node.name.lower()[:40]} is not allowed.")
        elif type(node) not in _ALLOWED:
            name = node.sql_name() if isinstance(node, exp.Func) else type(node).__name__.upper()
            kind = "function" if isinstance(node, exp.Func) else "construct"
            raise Refused(kind, f"The {kind} {name.lower() if kind == 'function' else name} is not allowed.")
        if isinstance(node, exp.Select) and not node.expressions:
            raise Refused("no SQL", "The statement selects nothing.")
        if isinstance(node, exp.With) and node.args.get("recursive"):
            raise Refused("recursion", "A recursive WITH is not allowed.")
        if isinstance(node, exp.Collate) and node.expression.name.upper() not in _COLLATIONS:
            raise Refused("construct", f"The collation {node.expression.name[:40]} is not allowed.")
        if isinstance(node, exp.Select) and (node.args.get("into") or node.args.get("locks")):
            raise Refused("construct", "SELECT INTO and locks are not allowed.")


def _check_names(tree: exp.Expr, schema: Mapping[str, tuple[str, ...]]) -> None:
    for clause in tree.find_all(exp.With):
        # SQLite takes a query for a recursive one also without the word, and in any order.
        later = [cte.alias.lower() for cte in clause.expressions]
        for cte in clause.expressions:
            if any(table.name.lower() in later for table in cte.this.find_all(exp.Table)):
                raise Refused("recursion", f"WITH {cte.alias[:40]} refers to itself or to a later one.")
            later.remove(cte.alias.lower())
    derived = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    known = {name.lower() for name in schema}
    for table in tree.find_all(exp.Table):
        if table.args.get("db") or table.args.get("catalog"):
            raise Refused("table", f"The table {table.sql(DIALECT)[:60]} is in another database.")
        if table.name.lower() not in known | derived:
            raise Refused("table", f"There is no table {table.name[:40]}; there are {', '.join(schema)}.")
    columns = {column.lower() for named in schema.values() for column in named}
    made = {alias.lower() for node in tree.find_all(exp.Alias, exp.TableAlias) for alias in _aliases(node)}
    for column in tree.find_all(exp.Column):
        if not isinstance(column.this, exp.Star) and column.name.lower() not in columns | made:
            raise Refused("column", f"There is no column {column.name[:40]}.")


def _aliases(node: exp.Expr) -> Iterator[str]:
    if isinstance(node, exp.Alias):
        yield node.alias
    else:
        yield from (column.name for column in node.args.get("columns") or ())


def protect(connection: sqlite3.Connection, limits: Limits) -> None:
    """Set what SQLite itself limits; the memory first, as later no PRAGMA is possible."""
    connection.execute(f"PRAGMA hard_heap_limit = {int(limits.memory)}")
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limits.value)
    for category, value in _MAXIMA.items():
        connection.setlimit(category, value)


def run(connection: sqlite3.Connection, sql: str, limits: Limits | None = None) -> Result:
    """Run a statement that `check` has seen.

    Args:
        connection: a read-only one; its limits are lowered for good.

    Raises:
        Refused: SQLite refuses it, or a limit stopped it.
    """
    limits = limits or Limits()
    protect(connection, limits)
    end = time.monotonic() + limits.seconds
    connection.set_progress_handler(lambda: time.monotonic() > end, 1_000)
    connection.set_authorizer(_authorize)
    try:
        cursor = connection.execute(sql)
        columns = [column[0] for column in cursor.description or ()]
        rows: list[tuple] = []
        size = 0
        for row in cursor:
            size += sum(len(str(cell)) for cell in row)
            if len(rows) == limits.rows or size > limits.characters:
                return Result(columns, rows, truncated=True)
            rows.append(row)
        return Result(columns, rows)
    except (sqlite3.Error, sqlite3.Warning, MemoryError, OverflowError, UnicodeError) as error:
        raise _explained(error, limits) from None
    finally:
        # Also ends a statement that wasn't read to its end.
        if "cursor" in locals():
            cursor.close()
        connection.set_authorizer(None)
        connection.set_progress_handler(None, 0)


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action not in _ACTIONS:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() not in CALLED:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_READ and (first or "").lower().startswith(("sqlite_", "pragma_", "meta")):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _explained(error: Exception, limits: Limits) -> Refused:
    said = " ".join(str(error).split())
    if "interrupted" in said:
        return Refused("time", f"The statement took longer than {limits.seconds:g} s and was stopped.")
    if isinstance(error, MemoryError) or "out of memory" in said:
        return Refused("memory", "The statement took too much memory and was stopped.")
    if "too big" in said or "too long" in said or "too complex" in said or "too many" in said:
        return Refused("size", f"The statement is too large ({said[:120]}).")
    if "not authorized" in said or "prohibited" in said:
        return Refused("not authorized", f"SQLite was not allowed to do that ({said[:120]}).")
    return Refused("error", f"SQLite can't run it ({said[:160]}).")

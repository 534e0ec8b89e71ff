"""Guard of the database: one SELECT over known tables, with limits on time and size, and nothing else.

There are two layers, because either may have a gap. The statement is parsed, and every part of it must be on
an allow-list. Then its original words, without comments, run on a read-only connection, under an authorizer
that denies everything but reading the tables, in a process with limits on time, memory and the size of values
(`ie.database.sql_workers`). The parser's own output is not run, because it may change the meaning: it drops
the plus of `+amount = '5'`, which makes SQLite compare without the type of the column.
"""

import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokens import Token, TokenType

from ie.database import sql_workers
from ie.database.schema import TABLES
from ie.database.sql_workers import QueryLimits, Result, StatementRefused
from ie.database.sqlite_file import HIDDEN

__all__ = ["QueryLimits", "Result", "StatementRefused", "check", "run", "tables", "tokens"]

# sqlglot warns about statements that it doesn't know; they are refused anyway.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

DIALECT = "sqlite"
LONGEST_STATEMENT = 4_000
# Maximum nesting of parentheses, SELECTs and operators; the parser is recursive.
DEEPEST = 60

# sqlglot's function classes by SQLite's names. Functions without a class are in NAMED.
FUNCTIONS = {
    "abs": exp.Abs, "avg": exp.Avg, "cast": exp.Cast, "ceil": exp.Ceil, "ceiling": exp.Ceil,
    "coalesce": exp.Coalesce, "concat": exp.Concat, "concat_ws": exp.ConcatWs, "count": exp.Count,
    "cume_dist": exp.CumeDist, "date": exp.Date, "dense_rank": exp.DenseRank, "exp": exp.Exp,
    "first_value": exp.FirstValue, "floor": exp.Floor, "group_concat": exp.GroupConcat, "iif": exp.If,
    "instr": exp.StrPosition, "lag": exp.Lag, "last_value": exp.LastValue, "lead": exp.Lead,
    "length": exp.Length, "ln": exp.Ln, "log": exp.Log, "log10": exp.Log, "log2": exp.Log, "lower": exp.Lower,
    "max": exp.Max, "min": exp.Min, "nth_value": exp.NthValue, "ntile": exp.Ntile, "nullif": exp.Nullif,
    "percent_rank": exp.PercentRank, "pow": exp.Pow, "power": exp.Pow, "rank": exp.Rank,
    "replace": exp.Replace, "round": exp.Round, "row_number": exp.RowNumber, "sign": exp.Sign,
    "sqrt": exp.Sqrt, "strftime": exp.TimeToStr, "string_agg": exp.GroupConcat, "substr": exp.Substring,
    "substring": exp.Substring, "sum": exp.Sum, "trim": exp.Trim, "typeof": exp.Typeof, "upper": exp.Upper,
}  # fmt: skip
# Functions without a class in sqlglot, or with one for the usual arguments only.
NAMED = frozenset(
    {"ifnull", "ltrim", "rtrim", "total", "date", "time", "datetime", "julianday", "strftime", "unixepoch"}
)
# Names of SQLite's built-in functions as passed to the authorizer.
CALLED = frozenset({*FUNCTIONS, *NAMED, "like", "current_date", "current_time", "current_timestamp"})

_SYNTAX: tuple[type[exp.Expr], ...] = (
    exp.Select, exp.Union, exp.Intersect, exp.Except, exp.Subquery, exp.With, exp.CTE, exp.TableAlias,
    exp.From, exp.Join, exp.Where, exp.Group, exp.Having, exp.Order, exp.Ordered, exp.Limit, exp.Offset,
    exp.Distinct, exp.Table, exp.Column, exp.Identifier, exp.Alias, exp.Star, exp.Tuple, exp.Paren,
    exp.Literal, exp.Null, exp.Boolean, exp.Neg, exp.Not, exp.And, exp.Or, exp.EQ, exp.NEQ, exp.GT, exp.GTE,
    exp.LT, exp.LTE, exp.Is, exp.NullSafeEQ, exp.NullSafeNEQ, exp.In, exp.Values, exp.Between, exp.Like,
    exp.Exists, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.DPipe, exp.Case, exp.DataType,
    exp.DataTypeParam, exp.CurrentDate, exp.CurrentTime, exp.CurrentTimestamp, exp.Window, exp.WindowSpec,
    exp.Filter, exp.Var, exp.Collate, exp.Escape,
)  # fmt: skip
# MAX and MIN with several arguments have classes of their own.
_ALLOWED = frozenset({*_SYNTAX, *FUNCTIONS.values(), exp.TsOrDsToTimestamp, exp.Greatest, exp.Least})
_COLLATIONS = frozenset({"NOCASE", "BINARY", "RTRIM"})

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
    """Return the one SELECT of a text in its own words, on one line, without comments and semicolon.

    Args:
        schema: tables and columns that may be read.

    Raises:
        StatementRefused: it is anything else; the message names the first reason.
    """
    if len(sql) > LONGEST_STATEMENT:
        raise StatementRefused("too long", f"The statement is longer than {LONGEST_STATEMENT:,} characters.")
    if any(ord(c) < 32 and c not in "\t\r\n" for c in sql):
        raise StatementRefused("no SQL", "The statement has control characters in it.")
    try:
        parts = tokens(sql)
        while parts and parts[-1].token_type == TokenType.SEMICOLON:
            parts.pop()
        parts = _without_parentheses(parts)
        if sum(token.token_type == TokenType.L_PAREN for token in parts) > DEEPEST:
            raise StatementRefused("too deep", f"The statement has more than {DEEPEST} parentheses.")
        words = joined(sql, parts)
        parsed = [tree for tree in sqlglot.parse(words, read=DIALECT) if tree is not None]
    except (SqlglotError, RecursionError) as error:
        reason = str(error).splitlines()[0].split(". Line")[0] if str(error) else "too deep"
        raise StatementRefused("no SQL", f"The statement isn't valid SQL ({reason[:120]}).") from None
    if len(parsed) != 1:
        raise StatementRefused(
            "several statements" if parsed else "no SQL",
            f"There must be one SELECT statement, and there are {len(parsed)} statements.",
        )
    tree = parsed[0]
    if not isinstance(tree, exp.Query):
        raise StatementRefused(
            "no SELECT", f"Only SELECT is allowed, and this is {type(tree).__name__.upper()}."
        )
    _check_parts(tree)
    _check_names(tree, schema)
    return words


def tables(sql: str) -> list[str]:
    """Names of the tables in a statement, including WITH queries."""
    return [table.name for table in sqlglot.parse_one(sql, read=DIALECT).find_all(exp.Table)]


def tokens(sql: str) -> list[Token]:
    """Tokenize a statement; comments are dropped.

    Raises:
        SqlglotError: such as an unterminated string.
    """
    return sqlglot.tokenize(sql, read=DIALECT)


def joined(sql: str, sequence: Sequence[Token]) -> str:
    """The original text of some tokens, with one space for whitespace and comments between them."""
    pieces = []
    end = None
    for token in sequence:
        if end is not None and token.start > end:
            pieces.append(" ")
        end = token.end + 1
        pieces.append(sql[token.start : end])
    return "".join(pieces)


def depths(sequence: Sequence[Token]) -> list[int]:
    """Number of open parentheses after each token."""
    steps = {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}
    return list(accumulate(steps.get(token.token_type, 0) for token in sequence))


def _without_parentheses(statement: list[Token]) -> list[Token]:
    """Remove parentheses around the whole statement, which SQLite doesn't accept."""
    while statement and statement[0].token_type == TokenType.L_PAREN:
        *before, last = depths(statement)
        if last != 0 or 0 in before:
            break
        statement = statement[1:-1]
    return statement


def _check_parts(tree: exp.Expr) -> None:
    for node in tree.walk():
        if isinstance(node, exp.Table) and not isinstance(node.this, exp.Identifier):
            raise StatementRefused("table", "A function is not allowed as a table.")
        if isinstance(node, (exp.Anonymous, exp.AnonymousAggFunc)):
            if node.name.lower() not in NAMED:
                raise StatementRefused("function", f"The function {node.name.lower()[:40]} is not allowed.")
        elif type(node) not in _ALLOWED:
            name = node.sql_name() if isinstance(node, exp.Func) else type(node).__name__.upper()
            kind = "function" if isinstance(node, exp.Func) else "construct"
            raise StatementRefused(
                kind, f"The {kind} {name.lower() if kind == 'function' else name} is not allowed."
            )
        if isinstance(node, exp.Select) and not node.expressions:
            raise StatementRefused("no SQL", "The statement selects nothing.")
        if isinstance(node, exp.With) and node.args.get("recursive"):
            raise StatementRefused("recursion", "A recursive WITH is not allowed.")
        if isinstance(node, exp.Collate) and node.expression.name.upper() not in _COLLATIONS:
            raise StatementRefused("construct", f"The collation {node.expression.name[:40]} is not allowed.")
        if isinstance(node, exp.Select) and (node.args.get("into") or node.args.get("locks")):
            raise StatementRefused("construct", "SELECT INTO and locks are not allowed.")


def _check_names(tree: exp.Expr, schema: Mapping[str, tuple[str, ...]]) -> None:
    for clause in tree.find_all(exp.With):
        # SQLite treats a WITH query as recursive even without the keyword, and in any order.
        later = [cte.alias.lower() for cte in clause.expressions]
        for cte in clause.expressions:
            if any(table.name.lower() in later for table in cte.this.find_all(exp.Table)):
                raise StatementRefused(
                    "recursion", f"WITH {cte.alias[:40]} refers to itself or to a later one."
                )
            later.remove(cte.alias.lower())
    derived = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    table_names = {name.lower() for name in schema}
    for table in tree.find_all(exp.Table):
        if table.args.get("db") or table.args.get("catalog"):
            raise StatementRefused("table", f"The table {table.sql(DIALECT)[:60]} is in another database.")
        if table.name.lower() not in table_names | derived:
            raise StatementRefused(
                "table", f"There is no table {table.name[:40]}; there are {', '.join(schema)}."
            )
    columns = {column.lower() for names in schema.values() for column in names}
    aliases = {alias.lower() for node in tree.find_all(exp.Alias, exp.TableAlias) for alias in _aliases(node)}
    for column in tree.find_all(exp.Column):
        if not isinstance(column.this, exp.Star) and column.name.lower() not in columns | aliases:
            raise StatementRefused("column", f"There is no column {column.name[:40]}.")


def _aliases(node: exp.Expr) -> Iterator[str]:
    if isinstance(node, exp.Alias):
        yield node.alias
    else:
        yield from (column.name for column in node.args.get("columns") or ())


def run(connection: sqlite3.Connection, sql: str, limits: QueryLimits | None = None) -> Result:
    """Run a statement that passed `check`, in a process that is killed when its time is over.

    Args:
        connection: to the database file; nothing is executed on it.

    Raises:
        StatementRefused: SQLite refuses it, a limit stopped it, or too many others are running.
    """
    (database,) = (row[2] for row in connection.execute("PRAGMA database_list") if row[1] == "main")
    return sql_workers.WORKERS.run(
        database,
        _quoted_names(sql),
        limits or QueryLimits(),
        tables=[name for name in TABLES if name not in HIDDEN],
        functions=CALLED,
        maxima=_MAXIMA,
    )


def _quoted_names(sql: str) -> str:
    """Put double-quoted names in brackets: SQLite reads "x" as a string if there is no such column."""
    try:
        names = [t for t in tokens(sql) if t.token_type == TokenType.IDENTIFIER and sql[t.start] == '"']
    except SqlglotError:
        return sql
    for name in reversed(names):
        if "]" not in name.text:
            sql = f"{sql[: name.start]}[{name.text}]{sql[name.end + 1 :]}"
    return sql

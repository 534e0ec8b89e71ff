"""The source sentences of an answer, found by a second statement that is derived from the first.

If rows are groups, a first query finds the group keys of the rows that are shown.
"""

import math
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ie.database import guard
from ie.database.guard import DIALECT, QueryLimits, Result, StatementRefused
from ie.database.sqlite_file import Schema

# Names of the columns with the position of a sentence.
PLACE = ("source_document", "source_start", "source_end")


class _NoSources(Exception):
    """The sources of an answer can't be determined."""


@dataclass(frozen=True)
class SourceText:
    """A text behind an answer; characters start to end are the source sentence."""

    document_id: str
    text: str
    start: int
    end: int


def sources(
    connection: sqlite3.Connection, sql: str, schema: Schema, result: Result, most: int, limits: QueryLimits
) -> list[SourceText]:
    """The sentences behind the first rows of an answer: those of the table rows that it used.

    For groups and DISTINCT rows these are the table rows of the groups that are shown; for a single MAX or
    MIN, the rows with that value.

    Args:
        sql: the statement as returned by `guard.check`.
        result: its result.
        most: maximum number of sentences, and of rows of the answer that are considered.

    Returns:
        Empty if the sources can't be determined: compound SELECTs, a SELECT from a SELECT or from tables
        without texts, FILTER, GROUP BY an expression that contains aliases, a statement that sqlglot writes
        with another meaning.
    """
    if not result.rows:
        return []
    try:
        tree = sqlglot.parse_one(sql, read=DIALECT)
        # sqlglot drops the plus of `+amount = '5'`, which makes SQLite compare without the column's type.
        if guard.run(connection, tree.sql(DIALECT), limits).rows != result.rows:
            return []
        places = _places(connection, tree, schema, result, most, limits).sql(DIALECT)
        # The texts are joined outside, where no other column can share their names; CROSS JOIN keeps the
        # order.
        located = guard.run(
            connection,
            f"SELECT t.document_id, t.text, s.{PLACE[1]}, s.{PLACE[2]} "
            f"FROM ({places}) AS s CROSS JOIN documents AS t ON t.document_id = s.{PLACE[0]} "
            f"LIMIT {int(most)}",
            limits,
        )
    except (_NoSources, StatementRefused, SqlglotError):
        return []
    unique: dict[tuple, SourceText] = {}
    for key, text, start, end in located.rows:
        place = (key, start, end)
        unique.setdefault(place, SourceText(key, text, start or 0, len(text) if end is None else end))
    return list(unique.values())


def _places(
    connection: sqlite3.Connection,
    tree: exp.Expr,
    schema: Schema,
    result: Result,
    most: int,
    limits: QueryLimits,
) -> exp.Select:
    """The statement that returns the positions of the sentences.

    Raises:
        _NoSources: there is no such statement.
    """
    place, columns = _tables(tree, schema)
    aggregates = [aggregate for item in tree.expressions for aggregate in aggregates_of(item)]
    grouped = bool(aggregates or tree.args.get("group") or tree.args.get("having"))
    distinct = bool(tree.args.get("distinct"))
    order = tree.args.get("order")
    if any(isinstance(aggregate.parent, exp.Filter) for aggregate in aggregates):
        raise _NoSources
    if not grouped and order and aggregates_of(order):
        raise _NoSources
    if not grouped and not distinct:
        # The rows themselves. The selected items stay, because ORDER BY may refer to them.
        rows_query = tree.select(*place)
        return rows_query if tree.args.get("limit") else rows_query.limit(most)
    if distinct and (grouped or tree.is_star):
        raise _NoSources
    if distinct:
        keys, rows = [item.unalias() for item in tree.expressions], result.rows[:most]
    else:
        keys = selected = _groups(tree, columns)
        if len(aggregates) == 1 and isinstance(aggregates[0], (exp.Max, exp.Min)):
            keys, selected = [*keys, aggregates[0].this], [*keys, aggregates[0]]
        shown = guard.run(connection, tree.select(*selected).sql(DIALECT), limits).rows[:most]
        rows = [row[len(result.columns) :] for row in shown]
    query = tree.copy()
    for clause in ("distinct", "group", "having", "windows", "order", "offset"):
        query.set(clause, None)
    if keys:
        written = [key.sql(DIALECT) for key in keys]
        same = (
            " AND ".join(f"({key}) IS {_literal(value)}" for key, value in zip(written, row, strict=True))
            for row in rows
        )
        query = query.where(" OR ".join(f"({condition})" for condition in same), dialect=DIALECT)
    return query.select(*place, append=False).limit(most)


def _tables(tree: exp.Expr, schema: Schema) -> tuple[list[str], set[str]]:
    """The position of a sentence as three columns, and the columns of all tables of a SELECT, in lower case.

    Raises:
        _NoSources: it isn't one SELECT from tables of the database of which at least one has texts.
    """
    if not isinstance(tree, exp.Select) or not tree.args.get("from_"):
        raise _NoSources
    tables = [tree.args["from_"].this, *(join.this for join in tree.args.get("joins") or ())]
    own = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    known = {name.lower(): columns for name, columns in schema.items() if name.lower() not in own}
    if not all(isinstance(table, exp.Table) and table.name.lower() in known for table in tables):
        raise _NoSources
    with_texts = [table for table in tables if "document_id" in known[table.name.lower()]]
    if not with_texts or any(item.alias.lower() in PLACE for item in tree.expressions):
        raise _NoSources
    columns = {column for table in tables for column in known[table.name.lower()]}
    return _place(with_texts[0], known[with_texts[0].name.lower()]), columns


def _groups(tree: exp.Select, columns: set[str]) -> list[exp.Expr]:
    """The expressions of GROUP BY, with numbers and aliases replaced by the items they refer to."""
    group = tree.args.get("group")
    names = [item.alias.lower() for item in tree.expressions]
    keys: list[exp.Expr] = []
    for key in group.expressions if group else ():
        plain = key.unnest()
        # Columns of the tables take precedence over aliases here, unlike in ORDER BY.
        aliases = [c for c in key.find_all(exp.Column) if not c.table and c.name.lower() not in columns]
        if isinstance(plain, exp.Literal) and plain.is_int:
            index = int(plain.name) - 1
        elif aliases == [plain] and plain.name.lower() in names:
            index = names.index(plain.name.lower())
        elif aliases or (isinstance(plain, exp.Collate) and isinstance(plain.this.unnest(), exp.Literal)):
            raise _NoSources
        else:
            keys.append(key)
            continue
        if tree.is_star:
            raise _NoSources
        keys.append(tree.expressions[index].unalias())
    return keys


def _place(table: exp.Table, columns: Sequence[str]) -> list[str]:
    name = '"' + table.alias_or_name.replace('"', '""') + '"'
    start, end = "0", "NULL"
    for first, last in (("sentence_start", "sentence_end"), ("start", "end")):
        if first in columns:
            start, end = f'{name}."{first}"', f'{name}."{last}"'
            break
    values = (f"{name}.document_id", start, end)
    return [f"{value} AS {column}" for value, column in zip(values, PLACE, strict=True)]


def aggregates_of(tree: exp.Expr) -> list[exp.Expr]:
    """The aggregates of a SELECT in one of its expressions, without window functions and nested SELECTs."""
    if isinstance(tree, exp.Query):
        return []
    if isinstance(tree, exp.Window):
        # The window function itself isn't an aggregate, but its arguments may contain some.
        function = tree.this.this if isinstance(tree.this, exp.Filter) else tree.this
        parts = [
            *function.iter_expressions(),
            *(part for part in tree.iter_expressions() if part is not tree.this),
        ]
        return [aggregate for part in parts for aggregate in aggregates_of(part)]
    # sqlglot has no class for TOTAL.
    is_total = isinstance(tree, exp.Anonymous) and tree.name.lower() == "total"
    aggregates = [tree] if is_total or isinstance(tree, exp.AggFunc) else []
    return aggregates + [inner for part in tree.iter_expressions() for inner in aggregates_of(part)]


def _literal(value: Any) -> str:
    """Format a value as SQL.

    Raises:
        StatementRefused: the value can't be written in SQL.
    """
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, float) and math.isinf(value):
        return "9e999" if value > 0 else "-9e999"
    if isinstance(value, (int, float)):
        return repr(value)
    if "\0" in value:
        raise StatementRefused("no SQL", "A text with a NUL can't be written in SQL.")
    return "'" + value.replace("'", "''") + "'"

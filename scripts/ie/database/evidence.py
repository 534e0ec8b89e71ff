"""The source sentences of an answer, found by a second statement that reuses the words of the first.

FROM, WHERE and the other clauses are copied as written, because the parser may change their meaning. If rows
are groups, a first query finds the group keys of the rows that are shown.
"""

import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokens import Token, TokenType

from ie.database import guard
from ie.database.guard import QueryLimits, Result, StatementRefused

Schema = Mapping[str, tuple[str, ...]]
# Names of the columns with the position of a sentence.
PLACE = ("source_document", "source_start", "source_end")
# The clauses of a SELECT in order: the first word, and sqlglot's name.
PARTS = {
    TokenType.SELECT: ("SELECT", "expressions"),
    TokenType.FROM: ("FROM", "from_"),
    TokenType.WHERE: ("WHERE", "where"),
    TokenType.GROUP_BY: ("GROUP BY", "group"),
    TokenType.HAVING: ("HAVING", "having"),
    TokenType.WINDOW: ("WINDOW", "windows"),
    TokenType.ORDER_BY: ("ORDER BY", "order"),
    TokenType.LIMIT: ("LIMIT", "limit"),
}


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
        without texts, FILTER, GROUP BY an expression that contains aliases.
    """
    if not result.rows:
        return []
    try:
        statement = _Statement(sql, schema)
        places = statement.places(connection, result, most, limits)
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


class _Statement:
    """A SELECT split into its clauses, as written.

    Attributes:
        parts: the tokens after each keyword (SELECT, FROM, ...) that is present.
        items: the expressions of the SELECT without aliases.
        columns: of all its tables, in lower case.
        place: the position of a sentence, as three columns.

    Raises:
        _NoSources: it isn't one SELECT from tables of the database of which at least one has texts.
    """

    def __init__(self, sql: str, schema: Schema) -> None:
        self.sql = sql
        self.tree = sqlglot.parse_one(sql, read=guard.DIALECT)
        if not isinstance(self.tree, exp.Select) or not self.tree.args.get("from_"):
            raise _NoSources
        tables = [self.tree.args["from_"].this, *(join.this for join in self.tree.args.get("joins") or ())]
        own = {cte.alias.lower() for cte in self.tree.find_all(exp.CTE)}
        known = {name.lower(): columns for name, columns in schema.items() if name.lower() not in own}
        if not all(isinstance(table, exp.Table) and table.name.lower() in known for table in tables):
            raise _NoSources
        self.columns = {column for table in tables for column in known[table.name.lower()]}
        self.place = next(
            (_place(t, known[t.name.lower()]) for t in tables if "document_id" in known[t.name.lower()]), None
        )
        self._split_clauses()
        if any(item.alias.lower() in PLACE for item in self.tree.expressions):
            raise _NoSources
        there = {kind for kind, (_, name) in PARTS.items() if self.tree.args.get(name)}
        if self.place is None or there != set(self.parts) or len(self.items) != len(self.tree.expressions):
            raise _NoSources

    def _split_clauses(self) -> None:
        tokens = guard.tokens(self.sql)
        depths = guard.depths(tokens)
        # The FROM of IS DISTINCT FROM starts no clause.
        before = [None, *(token.token_type for token in tokens)]
        starts = [
            i
            for i, token in enumerate(tokens)
            if depths[i] == 0 and token.token_type in PARTS and before[i] != TokenType.DISTINCT
        ]
        self.head = self._written(tokens[: starts[0]])
        self.parts = {
            tokens[start].token_type: tokens[start + 1 : end]
            for start, end in zip(starts, [*starts[1:], len(tokens)], strict=True)
        }
        selected = self.parts[TokenType.SELECT]
        if selected[0].token_type in (TokenType.DISTINCT, TokenType.ALL):
            selected = selected[1:]
        self.items = []
        for tree, item in zip(self.tree.expressions, _split(selected), strict=False):
            if isinstance(tree, exp.Alias):
                item = item[:-2] if item[-2].token_type == TokenType.ALIAS else item[:-1]
            self.items.append(self._written(item))

    def places(self, connection: sqlite3.Connection, result: Result, most: int, limits: QueryLimits) -> str:
        """The statement that returns the positions of the sentences.

        Raises:
            _NoSources: there is no such statement.
        """
        clauses = {kind: self._written(tokens) for kind, tokens in self.parts.items()}
        distinct = bool(self.tree.args.get("distinct"))
        aggregates = [found for item in self.tree.expressions for found in _aggregates(item)]
        grouped = bool(aggregates or self.tree.args.get("group") or self.tree.args.get("having"))
        order = self.tree.args.get("order")
        if any(isinstance(found.parent, exp.Filter) for found in aggregates):
            raise _NoSources
        if not grouped and order and _aggregates(order):
            raise _NoSources
        if not grouped and not distinct:
            # The rows themselves. The selected items stay, because ORDER BY may refer to them.
            clauses[TokenType.SELECT] += f", {self.place}"
            clauses.setdefault(TokenType.LIMIT, str(int(most)))
            return self._select(clauses)
        if distinct and (grouped or self.tree.is_star):
            raise _NoSources
        if distinct:
            keys, rows = self.items, result.rows[:most]
        else:
            keys = self._groups()
            selected = list(keys)
            if len(aggregates) == 1 and isinstance(aggregates[0], (exp.Max, exp.Min)):
                whole, inside = self._extreme()
                keys, selected = [*keys, inside], [*selected, whole]
            clauses[TokenType.SELECT] = ", ".join([clauses[TokenType.SELECT], *selected])
            found = guard.run(connection, self._select(clauses), limits).rows[:most]
            width = len(result.columns)
            if [row[:width] for row in found] != result.rows[:most]:
                raise _NoSources
            rows = [row[width:] for row in found]
        same = [
            " AND ".join(f"({key}) IS {_literal(value)}" for key, value in zip(keys, row, strict=True))
            for row in rows
        ]
        conditions = [f"({clauses[TokenType.WHERE]})"] if TokenType.WHERE in clauses else []
        if keys:
            conditions.append("(" + " OR ".join(f"({condition})" for condition in same) + ")")
        parts = {TokenType.SELECT: self.place, TokenType.FROM: clauses[TokenType.FROM]}
        if conditions:
            parts[TokenType.WHERE] = " AND ".join(conditions)
        return self._select(parts | {TokenType.LIMIT: str(int(most))})

    def _groups(self) -> list[str]:
        """The expressions of GROUP BY, with numbers and aliases replaced by the items they refer to."""
        group = self.tree.args.get("group")
        if not group:
            return []
        names = [item.alias.lower() for item in self.tree.expressions]
        expressions = []
        for tree, tokens in zip(group.expressions, _split(self.parts[TokenType.GROUP_BY]), strict=True):
            plain = tree.unnest()
            # Columns of the tables take precedence over aliases here, unlike in ORDER BY.
            aliases = [
                column
                for column in tree.find_all(exp.Column)
                if not column.table and column.name.lower() not in self.columns
            ]
            if isinstance(plain, exp.Literal) and plain.is_int:
                index = int(plain.name) - 1
            elif aliases == [plain] and plain.name.lower() in names:
                index = names.index(plain.name.lower())
            elif aliases or (isinstance(plain, exp.Collate) and isinstance(plain.this.unnest(), exp.Literal)):
                raise _NoSources
            else:
                expressions.append(self._written(tokens))
                continue
            if self.tree.is_star:
                raise _NoSources
            expressions.append(self.items[index])
        return expressions

    def _extreme(self) -> tuple[str, str]:
        """The only MAX or MIN of the SELECT, and its argument."""
        selected = self.parts[TokenType.SELECT]
        depths = guard.depths(selected)
        extremes = []
        for i, token in enumerate(selected[:-1]):
            if token.text.upper() in ("MAX", "MIN") and selected[i + 1].token_type == TokenType.L_PAREN:
                end = depths.index(depths[i], i + 2)
                inside = selected[i + 2 : end]
                if len(_split(inside)) == 1:  # with several arguments it is no aggregate
                    extremes.append((self._written(selected[i : end + 1]), self._written(inside)))
        if len(extremes) != 1:
            raise _NoSources
        return extremes[0]

    def _written(self, tokens: Sequence[Token]) -> str:
        return guard.joined(self.sql, tokens)

    def _select(self, parts: Mapping[TokenType, str]) -> str:
        words = [f"{word} {parts[kind]}" for kind, (word, _) in PARTS.items() if kind in parts]
        return " ".join([self.head, *words] if self.head else words)


def _place(table: exp.Table, columns: Sequence[str]) -> str:
    name = '"' + table.alias_or_name.replace('"', '""') + '"'
    start, end = "0", "NULL"
    for first, last in (("sentence_start", "sentence_end"), ("start", "end")):
        if first in columns:
            start, end = f'{name}."{first}"', f'{name}."{last}"'
            break
    values = (f"{name}.document_id", start, end)
    return ", ".join(f"{value} AS {column}" for value, column in zip(values, PLACE, strict=True))


def _split(sequence: Sequence[Token]) -> list[list[Token]]:
    """Split tokens at the commas outside all parentheses."""
    parts: list[list[Token]] = [[]]
    for token, depth in zip(sequence, guard.depths(sequence), strict=True):
        if depth == 0 and token.token_type == TokenType.COMMA:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _aggregates(tree: exp.Expr) -> list[exp.Expr]:
    """The aggregates of this SELECT in an expression, without window functions and nested SELECTs."""
    if isinstance(tree, exp.Query):
        return []
    if isinstance(tree, exp.Window):
        # The window function itself isn't an aggregate, but its arguments may contain some.
        function = tree.this.this if isinstance(tree.this, exp.Filter) else tree.this
        parts = [
            *function.iter_expressions(),
            *(part for part in tree.iter_expressions() if part is not tree.this),
        ]
        return [found for part in parts for found in _aggregates(part)]
    # sqlglot has no class for TOTAL.
    is_total = isinstance(tree, exp.Anonymous) and tree.name.lower() == "total"
    found = [tree] if is_total or isinstance(tree, exp.AggFunc) else []
    return found + [found for part in tree.iter_expressions() for found in _aggregates(part)]


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

"""The sentences that the rows of an answer rest on, by a second statement made of the words of the first.

The second statement takes FROM, WHERE and the rest as they are written, since the parser may write them with
another meaning. Where rows are groups, a first step finds what the shown ones have in common.
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
# What the columns with the place of a sentence are called.
PLACE = ("source_document", "source_start", "source_end")
# The parts of a SELECT in their order: the word each begins with, and what sqlglot calls it.
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


class _Untold(Exception):
    """What an answer rests on can't be told."""


@dataclass(frozen=True)
class SourceText:
    """A text that an answer rests on; characters start to end are what says it."""

    document_id: str
    text: str
    start: int
    end: int


def sources(
    connection: sqlite3.Connection, sql: str, schema: Schema, result: Result, most: int, limits: QueryLimits
) -> list[SourceText]:
    """The sentences behind the first rows of an answer: those of the table rows that it takes.

    For groups and DISTINCT rows these are the table rows of the groups that are shown; for a MAX or MIN
    alone, those that have this value.

    Args:
        sql: what `guard.check` gave.
        result: what it came to.
        most: sentences, and rows of the answer that are looked at.

    Returns:
        Nothing where that can't be told: several SELECTs combined, a SELECT from a SELECT or from tables
        without texts, FILTER, groups by an expression with aliases in it.
    """
    if not result.rows:
        return []
    try:
        statement = _Statement(sql, schema)
        places = statement.places(connection, result, most, limits)
        # The texts are joined from outside, where no other column can have the name of theirs; CROSS keeps
        # the order of the rows.
        found = guard.run(
            connection,
            f"SELECT t.document_id, t.text, s.{PLACE[1]}, s.{PLACE[2]} "
            f"FROM ({places}) AS s CROSS JOIN documents AS t ON t.document_id = s.{PLACE[0]} "
            f"LIMIT {int(most)}",
            limits,
        )
    except (_Untold, StatementRefused, SqlglotError):
        return []
    unique: dict[tuple, SourceText] = {}
    for key, text, start, end in found.rows:
        place = (key, start, end)
        unique.setdefault(place, SourceText(key, text, start or 0, len(text) if end is None else end))
    return list(unique.values())


class _Statement:
    """A SELECT by its parts, as they are written.

    Attributes:
        parts: the tokens that follow each of the words SELECT, FROM, ...; of those that there are.
        items: the expressions of the SELECT without their aliases.
        columns: of all its tables, in lower case.
        place: where a sentence is, as three columns.

    Raises:
        _Untold: it isn't one SELECT from tables of the database, of which one has texts.
    """

    def __init__(self, sql: str, schema: Schema) -> None:
        self.sql = sql
        self.tree = sqlglot.parse_one(sql, read=guard.DIALECT)
        if not isinstance(self.tree, exp.Select) or not self.tree.args.get("from_"):
            raise _Untold
        tables = [self.tree.args["from_"].this, *(join.this for join in self.tree.args.get("joins") or ())]
        own = {cte.alias.lower() for cte in self.tree.find_all(exp.CTE)}
        known = {name.lower(): columns for name, columns in schema.items() if name.lower() not in own}
        if not all(isinstance(table, exp.Table) and table.name.lower() in known for table in tables):
            raise _Untold
        self.columns = {column for table in tables for column in known[table.name.lower()]}
        self.place = next(
            (_place(t, known[t.name.lower()]) for t in tables if "document_id" in known[t.name.lower()]), None
        )
        self._take_apart()
        if any(item.alias.lower() in PLACE for item in self.tree.expressions):
            raise _Untold
        there = {kind for kind, (_, name) in PARTS.items() if self.tree.args.get(name)}
        if self.place is None or there != set(self.parts) or len(self.items) != len(self.tree.expressions):
            raise _Untold

    def _take_apart(self) -> None:
        found = guard.tokens(self.sql)
        depths = guard.depths(found)
        # IS DISTINCT FROM is no FROM
        before = [None, *(token.token_type for token in found)]
        starts = [
            i
            for i, token in enumerate(found)
            if depths[i] == 0 and token.token_type in PARTS and before[i] != TokenType.DISTINCT
        ]
        self.head = self._written(found[: starts[0]])
        self.parts = {
            found[start].token_type: found[start + 1 : end]
            for start, end in zip(starts, [*starts[1:], len(found)], strict=True)
        }
        selected = self.parts[TokenType.SELECT]
        if selected[0].token_type in (TokenType.DISTINCT, TokenType.ALL):
            selected = selected[1:]
        self.items = []
        for tree, tokens in zip(self.tree.expressions, _split(selected), strict=False):
            if isinstance(tree, exp.Alias):
                tokens = tokens[:-2] if tokens[-2].token_type == TokenType.ALIAS else tokens[:-1]
            self.items.append(self._written(tokens))

    def places(self, connection: sqlite3.Connection, result: Result, most: int, limits: QueryLimits) -> str:
        """The statement that gives the places of the sentences.

        Raises:
            _Untold: there is none.
        """
        written = {kind: self._written(tokens) for kind, tokens in self.parts.items()}
        distinct = bool(self.tree.args.get("distinct"))
        aggregates = [found for item in self.tree.expressions for found in _aggregates(item)]
        grouped = bool(aggregates or self.tree.args.get("group") or self.tree.args.get("having"))
        order = self.tree.args.get("order")
        if any(isinstance(found.parent, exp.Filter) for found in aggregates):
            raise _Untold
        if not grouped and order and _aggregates(order):
            raise _Untold
        if not grouped and not distinct:
            # The rows themselves; what is selected stays, as ORDER BY may name it or count it.
            written[TokenType.SELECT] += f", {self.place}"
            written.setdefault(TokenType.LIMIT, str(int(most)))
            return self._select(written)
        if distinct and (grouped or self.tree.is_star):
            raise _Untold
        if distinct:
            keys, rows = self.items, result.rows[:most]
        else:
            keys = self._groups()
            asked = list(keys)
            if len(aggregates) == 1 and isinstance(aggregates[0], (exp.Max, exp.Min)):
                whole, inside = self._extreme()
                keys, asked = [*keys, inside], [*asked, whole]
            written[TokenType.SELECT] = ", ".join([written[TokenType.SELECT], *asked])
            found = guard.run(connection, self._select(written), limits).rows[:most]
            width = len(result.columns)
            if [row[:width] for row in found] != result.rows[:most]:
                raise _Untold
            rows = [row[width:] for row in found]
        same = [
            " AND ".join(f"({key}) IS {_literal(value)}" for key, value in zip(keys, row, strict=True))
            for row in rows
        ]
        conditions = [f"({written[TokenType.WHERE]})"] if TokenType.WHERE in written else []
        if keys:
            conditions.append("(" + " OR ".join(f"({condition})" for condition in same) + ")")
        parts = {TokenType.SELECT: self.place, TokenType.FROM: written[TokenType.FROM]}
        if conditions:
            parts[TokenType.WHERE] = " AND ".join(conditions)
        return self._select(parts | {TokenType.LIMIT: str(int(most))})

    def _groups(self) -> list[str]:
        """The expressions of GROUP BY: an item for its number or its alias."""
        group = self.tree.args.get("group")
        if not group:
            return []
        names = [item.alias.lower() for item in self.tree.expressions]
        found = []
        for tree, tokens in zip(group.expressions, _split(self.parts[TokenType.GROUP_BY]), strict=True):
            plain = tree.unnest()
            # A column of the tables comes before an alias, unlike in ORDER BY.
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
                raise _Untold
            else:
                found.append(self._written(tokens))
                continue
            if self.tree.is_star:
                raise _Untold
            found.append(self.items[index])
        return found

    def _extreme(self) -> tuple[str, str]:
        """The one MAX or MIN of the SELECT, and what it is taken of."""
        selected = self.parts[TokenType.SELECT]
        depths = guard.depths(selected)
        found = []
        for i, token in enumerate(selected[:-1]):
            if token.text.upper() in ("MAX", "MIN") and selected[i + 1].token_type == TokenType.L_PAREN:
                end = depths.index(depths[i], i + 2)
                inside = selected[i + 2 : end]
                if len(_split(inside)) == 1:  # of several values it is no aggregate
                    found.append((self._written(selected[i : end + 1]), self._written(inside)))
        if len(found) != 1:
            raise _Untold
        return found[0]

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


def _split(found: Sequence[Token]) -> list[list[Token]]:
    """The tokens between the commas outside of all parentheses."""
    parts: list[list[Token]] = [[]]
    for token, depth in zip(found, guard.depths(found), strict=True):
        if depth == 0 and token.token_type == TokenType.COMMA:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _aggregates(tree: exp.Expr) -> list[exp.Expr]:
    """The aggregates of this SELECT in an expression: no window functions, and none of a SELECT inside."""
    if isinstance(tree, exp.Query):
        return []
    if isinstance(tree, exp.Window):
        # The function isn't one, but what it is taken of may hold some.
        function = tree.this.this if isinstance(tree.this, exp.Filter) else tree.this
        parts = [
            *function.iter_expressions(),
            *(part for part in tree.iter_expressions() if part is not tree.this),
        ]
        return [found for part in parts for found in _aggregates(part)]
    # sqlglot has no class for TOTAL
    named = isinstance(tree, exp.Anonymous) and tree.name.lower() == "total"
    found = [tree] if named or isinstance(tree, exp.AggFunc) else []
    return found + [found for part in tree.iter_expressions() for found in _aggregates(part)]


def _literal(value: Any) -> str:
    """A value in SQL.

    Raises:
        Refused: it has no such form.
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

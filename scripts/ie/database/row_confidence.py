"""How sure the rows of an answer are, by the confidence of the table rows behind them.

A second statement, derived from the first, returns the same rows with more columns: the confidence of the
table row, or, for counts and sums, how many table rows were counted and which part of them can go unread.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ie.core.errors import UserError
from ie.core.text import counted
from ie.database import guard
from ie.database.evidence import aggregates_of
from ie.database.guard import DIALECT, QueryLimits, Result, StatementRefused
from ie.database.schema import CONFIDENCE, TABLES
from ie.database.sqlite_file import Schema

UNKNOWN = (
    "How sure these rows are isn't known: the SQL reads no table with confidences, or can't be followed."
)
NOT_CALIBRATED = (
    "How sure these rows are isn't known: people annotated them, or dev had too few answers to calibrate a "
    "confidence."
)
NO_ROWS = "No row is behind this answer."
NO_THRESHOLD = "Which rows can go unread isn't known: run `weasel run accept`."


@dataclass(frozen=True)
class UnreadThreshold:
    """From this confidence on, `accept` promised the precision `target`.

    Attributes:
        of_rows: whether it was chosen on rows; else on entities, and says nothing certain of rows.
    """

    confidence: float
    target: float
    of_rows: bool = False


@dataclass(frozen=True)
class RowConfidence:
    """How sure a row of an answer is.

    Attributes:
        confidence: of the table row; of several that are joined, the lowest; of several that are counted, the
            mean. None if it isn't calibrated.
        rows: number of table rows. unread: those at the threshold or above.
        amount: share of the sum that comes from these; None if nothing is summed.
    """

    confidence: float | None
    rows: int = 1
    unread: int = 0
    amount: float | None = None


@dataclass(frozen=True)
class ResultConfidence:
    """How sure each row of an answer is.

    Attributes:
        aggregated: whether its rows are counts, sums or other aggregates.
    """

    rows: Sequence[RowConfidence]
    aggregated: bool
    threshold: UnreadThreshold | None

    @property
    def known(self) -> bool:
        """Whether any row has a confidence."""
        return any(row.confidence is not None for row in self.rows)

    def sentence(self) -> str:
        """Which part of the rows, and of a sum, can go unread."""
        if not any(row.rows for row in self.rows):
            return NO_ROWS
        if not self.known:
            return NOT_CALIBRATED
        if not self.threshold:
            return NO_THRESHOLD
        rows, unread = sum(row.rows for row in self.rows), sum(row.unread for row in self.rows)
        share = f"{unread:,} of {counted(rows, 'row')} ({percent(unread / rows)})"
        if self.aggregated:
            share += " behind this answer"
        amounts = [row.amount for row in self.rows if row.amount is not None]
        if len(self.rows) == 1 and amounts:
            share += f", with {percent(amounts[0])} of the sum,"
        least, target = f"{self.threshold.confidence:.2f}", percent(self.threshold.target)
        if self.threshold.of_rows:
            return (
                f"{share} can go unread: their confidence is {least} or more, and accept promised that "
                f"{target} of such rows are right."
            )
        return (
            f"{share} have a confidence of {least} or more. From there on, accept promised that {target} of "
            "the entities are right; of rows it promised nothing."
        )


def percent(share: float) -> str:
    """A share as a percentage, rounded down: `95 %`, `100 %` only for all."""
    return f"{int(100 * share + 1e-9)} %"


def read_threshold(path: Path) -> UnreadThreshold | None:
    """The threshold of `weasel run accept`; None before it ran.

    Raises:
        UserError: the file is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        confidence, target = content["threshold"]["confidence"], content["target"]
        return UnreadThreshold(float(confidence), float(target), content.get("unit") == "rows")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path}: isn't what `accept` writes; run `weasel run accept` again.") from None


def of_result(
    connection: sqlite3.Connection,
    sql: str,
    schema: Schema,
    result: Result,
    threshold: UnreadThreshold | None,
    limits: QueryLimits,
) -> ResultConfidence | None:
    """How sure the rows of a result are.

    A row of DISTINCT is as sure as the surest table row that says the same; a single MAX or MIN is as sure as
    the row with that value.

    Args:
        sql: the statement as returned by `guard.check`.

    Returns:
        None if it can't be determined: compound SELECTs, a SELECT from a SELECT, or one from tables without
        a confidence.
    """
    try:
        tree = sqlglot.parse_one(sql, read=DIALECT)
        confidence = _confidence(tree, schema)
        if confidence is None:
            return None
        aggregates = [aggregate for item in tree.expressions for aggregate in aggregates_of(item)]
        # SQLite takes other columns from the row with the one MAX or MIN.
        extreme = len(aggregates) == 1 and isinstance(aggregates[0], (exp.Max, exp.Min))
        grouped = any(tree.args.get(clause) for clause in ("group", "having")) or bool(aggregates)
        aggregated = grouped and not extreme
        if tree.args.get("distinct"):
            query = None if grouped or tree.is_star else _without_distinct(tree, confidence, threshold)
        elif aggregated:
            query = tree.select(*_counts(confidence, aggregates, threshold))
        else:
            query = tree.select(confidence, "1", _is_unread(confidence, threshold))
        if query is None:
            return None
        rows = guard.run(connection, query.sql(DIALECT), limits).rows
    except (StatementRefused, SqlglotError):
        return None
    width = len(result.columns)
    answer = [tuple(row) for row in result.rows]
    if tree.args.get("distinct"):
        # Each row is there once, but the order may be another.
        by_row = {tuple(row[:width]): row for row in rows}
        rows = [by_row.get(row, ()) for row in answer]
    # sqlglot may write the statement with another meaning.
    if [tuple(row[:width]) for row in rows] != answer:
        return None
    return ResultConfidence([_row(*row[width:]) for row in rows], aggregated, threshold)


def _row(
    confidence: float | None,
    rows: int,
    unread: int | None,
    part: float | None = None,
    total: float | None = None,
) -> RowConfidence:
    return RowConfidence(confidence, rows, unread or 0, (part or 0) / total if total and total > 0 else None)


def _confidence(tree: exp.Expr, schema: Schema) -> str | None:
    """The confidence of what a SELECT joins, as an expression; None if no table in its FROM has one."""
    if not isinstance(tree, exp.Select) or not tree.args.get("from_"):
        return None
    tables = [tree.args["from_"].this, *(join.this for join in tree.args.get("joins") or ())]
    own = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    known = {name.lower() for name in schema} - own
    if not all(isinstance(table, exp.Table) and table.name.lower() in known for table in tables):
        return None
    values = []
    for table in tables:
        described = TABLES[table.name.lower()]
        if described.has_confidence:
            name = '"' + table.alias_or_name.replace('"', '""') + '"'
            # An outer join may find no row: that one isn't wrong.
            values.append(f"CASE WHEN {name}.{described.key} IS NULL THEN 1 ELSE {name}.{CONFIDENCE} END")
    return f"MIN({', '.join(values)})" if len(values) > 1 else next(iter(values), None)


def _is_unread(confidence: str, threshold: UnreadThreshold | None) -> str:
    return f"{confidence} >= {threshold.confidence}" if threshold else "NULL"


def _without_distinct(tree: exp.Select, confidence: str, threshold: UnreadThreshold | None) -> exp.Select:
    """The same rows, with the confidence of the surest that says the same."""
    query = tree.group_by(*(item.unalias() for item in tree.expressions))
    query.set("distinct", None)
    return query.select(f"MAX({confidence})", "1", _is_unread(f"MAX({confidence})", threshold))


def _counts(confidence: str, aggregates: Sequence[exp.Expr], threshold: UnreadThreshold | None) -> list[str]:
    """Mean confidence, numbers of table rows and of unread ones; with a sum, their part of it, and itself."""
    unread = _is_unread(confidence, threshold)
    columns = [f"AVG({confidence})", "COUNT(*)", f"SUM({unread})"]
    sums = [a.this.sql(DIALECT) for a in aggregates if isinstance(a, exp.Sum) and not a.find(exp.Distinct)]
    if sums and threshold:
        columns += [f"SUM(CASE WHEN {unread} THEN {sums[0]} END)", f"SUM({sums[0]})"]
    return columns

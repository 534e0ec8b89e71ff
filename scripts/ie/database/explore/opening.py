"""What the explore page opens with: questions that have an answer in this database, and its newest deals."""

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import chain, islice, zip_longest

from ie.database import guard, sqlite_file
from ie.database.guard import QueryLimits
from ie.database.text_to_sql import SolvedQuestion

# Questions to any database of this schema.
GENERAL = (
    ("What is mentioned most often?", "SELECT text, COUNT(*) AS mentions FROM mentions GROUP BY text "
     "ORDER BY mentions DESC, text LIMIT 10"),
    ("How many mentions does each label have?", "SELECT label, COUNT(*) AS mentions FROM mentions "
     "GROUP BY label ORDER BY mentions DESC, label"),
    ("Which texts mention most?", "SELECT document_id, COUNT(*) AS mentions FROM mentions "
     "GROUP BY document_id ORDER BY mentions DESC, document_id LIMIT 10"),
    ("How many texts does each category have?", "SELECT category, COUNT(*) AS texts FROM documents "
     "WHERE category IS NOT NULL GROUP BY category ORDER BY texts DESC, category"),
    ("Who wrote how many texts?", "SELECT writer, COUNT(*) AS texts FROM documents "
     "WHERE writer IS NOT NULL GROUP BY writer ORDER BY texts DESC, writer LIMIT 10"),
    ("How many texts are there?", "SELECT COUNT(*) AS texts FROM documents"),
)  # fmt: skip
# Statements that are tried at most: those of a file about other data may all find nothing.
TRIED = 20


def questions(
    connection: sqlite3.Connection, solved: Iterable[SolvedQuestion], limits: QueryLimits, most: int = 5
) -> list[tuple[str, str]]:
    """Questions with statements that find something in this database.

    Args:
        solved: solved questions, which come first, one of each kind in turn.
        limits: of a statement.
    """
    schema = sqlite_file.schema_of(connection)
    candidates = chain(islice(_mixed(solved), TRIED), GENERAL)
    working = ((question, sql) for question, sql in candidates if _finds(connection, sql, schema, limits))
    return list(islice(working, most))


def _mixed(solved: Iterable[SolvedQuestion]) -> Iterator[tuple[str, str]]:
    """One question of each kind, then the second of each."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for question in solved:
        if question.sql:
            kinds.setdefault(question.kind, []).append((question.question, question.sql))
    for several in zip_longest(*kinds.values()):
        yield from filter(None, several)


def _finds(
    connection: sqlite3.Connection, sql: str, schema: dict[str, tuple[str, ...]], limits: QueryLimits
) -> bool:
    """Whether a statement finds more than nothing."""
    try:
        result = guard.run(connection, guard.check(sql, schema), limits)
    except (guard.StatementRefused, sqlite3.Error):
        return False
    return any(value not in (None, 0) for row in result.rows for value in row)

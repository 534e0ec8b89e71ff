"""Opens the database for reading, and describes its tables."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path

from ie.core.errors import UserError
from ie.database.schema import TABLES, VERSION

Schema = Mapping[str, tuple[str, ...]]

# Metadata of the file itself, hidden from questions.
HIDDEN = ("meta",)


def open_readonly(path: Path) -> sqlite3.Connection:
    """Open a read-only connection.

    Raises:
        UserError: the file is missing, isn't a database of this project, has another schema version or is
            locked.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no database; run `weasel run database` first.")
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=1)
    try:
        check_version(connection, path)
    except UserError:
        connection.close()
        raise
    return connection


def check_version(connection: sqlite3.Connection, path: Path) -> None:
    """Check that this version of the code wrote the file.

    Raises:
        UserError: it didn't, or another program holds a lock on it.
    """
    try:
        row = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise UserError(
                f"{path}: another program is writing to it; close that one, then run the command again."
            ) from None
        row = None
    except sqlite3.DatabaseError:
        row = None
    if row is None:
        raise UserError(f"{path}: no database that `weasel run database` wrote; move it away.")
    if row[0] != VERSION:
        raise UserError(
            f"{path}: has version {row[0]} of the schema, and this is {VERSION}; move it away, then run "
            "`weasel run database` again."
        )


def schema_of(connection: sqlite3.Connection) -> dict[str, tuple[str, ...]]:
    """The tables that questions may use, with their columns."""
    schema = {}
    for name, table in TABLES.items():
        if name not in HIDDEN:
            existing = {row[1] for row in connection.execute(f"PRAGMA table_info({name})")}
            schema[name] = tuple(column for column in table.columns if column in existing)
    return schema


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Number of rows of each table."""
    return {name: connection.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0] for name in TABLES}

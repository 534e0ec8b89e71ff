"""The tables of the database and what fills them: a star whose centre is the deal.

A deal is a company that got money, as one text tells it: one row however many investors and amounts it has,
so that a sum or a count over `deals` counts nothing twice. Its investors are rows of `investments`, all its
amounts rows of `amounts`; both repeat the names, so that few questions need a join.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from ie.core.settings import load_settings

VERSION = "1"

TEXT, NUMBER, INTEGER, REAL = "TEXT", "NUMERIC", "INTEGER", "REAL"
# Parquet has no type that holds whole and other numbers as they are; a double is exact up to 2^53.
PARQUET = {TEXT: pa.string(), NUMBER: pa.float64(), INTEGER: pa.int64(), REAL: pa.float64()}


@dataclass(frozen=True)
class Table:
    """A table: its columns with their types, the first being the key, and what a row is."""

    name: str
    columns: Mapping[str, str]
    row: str

    @property
    def key(self) -> str:
        """Name of the primary key."""
        return next(iter(self.columns))

    @property
    def of_document(self) -> bool:
        """Whether each row belongs to a document, and goes with it."""
        return "document_id" in self.columns

    def ddl(self) -> str:
        """The statement that creates it, without a rowid: rows lie in the order of their keys."""
        columns = [
            f'"{name}" {kind}' + (" PRIMARY KEY NOT NULL" if name == self.key else "")
            for name, kind in self.columns.items()
        ]
        return f"CREATE TABLE {self.name} ({', '.join(columns)}) WITHOUT ROWID"

    def insert(self) -> str:
        """The statement that adds a row."""
        return f"INSERT INTO {self.name} VALUES ({', '.join('?' * len(self.columns))})"

    def arrow(self) -> pa.Schema:
        """Its schema in Parquet."""
        return pa.schema([(name, PARQUET[kind]) for name, kind in self.columns.items()])


_AMOUNT = {"amount_low": NUMBER, "amount": NUMBER, "amount_high": NUMBER, "currency": TEXT}
_COMPANY = {"company_id": TEXT, "company": TEXT}
_SENTENCE = {"sentence_start": INTEGER, "sentence_end": INTEGER}

TABLES = {
    table.name: table
    for table in (
        Table("meta", {"key": TEXT, "value": TEXT}, "what the file itself is"),
        Table(
            "models",
            {"model_id": TEXT, "name": TEXT, "version": TEXT, "components": TEXT, "hash": TEXT},
            "a pipeline, or gold, that documents were read by",
        ),
        Table(
            "documents",
            {
                "document_id": TEXT,
                "text": TEXT,
                "source": TEXT,
                "writer": TEXT,
                "date": TEXT,
                "meta": TEXT,
                "category": TEXT,
                "category_score": REAL,
                "model_id": TEXT,
                "fingerprint": TEXT,
            },
            "a text",
        ),
        Table(
            "companies",
            {"company_id": TEXT, "name": TEXT, "kind": TEXT, "country": TEXT, "description": TEXT},
            "an entry of the company table, named in a text or not",
        ),
        Table(
            "mentions",
            {
                "mention_id": TEXT,
                "document_id": TEXT,
                "start": INTEGER,
                "end": INTEGER,
                "label": TEXT,
                "text": TEXT,
                "company_id": TEXT,
                **_AMOUNT,
                "rule": TEXT,
            },
            "an entity in a text",
        ),
        Table(
            "relations",
            {
                "relation_id": TEXT,
                "document_id": TEXT,
                "label": TEXT,
                "head_mention": TEXT,
                "child_mention": TEXT,
                "score": REAL,
            },
            "a relation between two mentions of a text",
        ),
        Table(
            "deals",
            {
                "deal_id": TEXT,
                "document_id": TEXT,
                **_COMPANY,
                **_AMOUNT,
                "category": TEXT,
                **_SENTENCE,
            },
            "a company that got money, as one text tells it, with its main amount",
        ),
        Table(
            "investments",
            {
                "investment_id": TEXT,
                "deal_id": TEXT,
                "document_id": TEXT,
                "investor_id": TEXT,
                "investor": TEXT,
                **_COMPANY,
                **_SENTENCE,
            },
            "an investor in a deal; which of them gave how much isn't known",
        ),
        Table(
            "amounts",
            {
                "amount_id": TEXT,
                "deal_id": TEXT,
                "document_id": TEXT,
                **_COMPANY,
                **_AMOUNT,
                "main": INTEGER,
                **_SENTENCE,
            },
            "an amount of a deal: all of it, a tranche, an earlier round, the same in another currency",
        ),
    )
}
DEALS = ("deals", "investments", "amounts")

# Columns that stand for a row of another table: (table, column, other table, its key).
REFERENCES = (
    ("investments", "deal_id", "deals", "deal_id"),
    ("amounts", "deal_id", "deals", "deal_id"),
    ("deals", "company_id", "companies", "company_id"),
    ("investments", "investor_id", "companies", "company_id"),
    ("investments", "company_id", "companies", "company_id"),
    ("mentions", "company_id", "companies", "company_id"),
    ("deals", "document_id", "documents", "document_id"),
    ("investments", "document_id", "documents", "document_id"),
    ("mentions", "document_id", "documents", "document_id"),
    # other investors in the same deal
    ("investments", "deal_id", "investments", "deal_id"),
)


class Mapped(BaseModel):
    """[deals] of the config: which relations make a deal.

    Attributes:
        amounts: relation label to the end of it ("head" or "child") that is the company; the other end is
            an amount it got.
        investors: the same, where the other end is an investor in it.
        main: the amount of a deal that has several: "largest" of those in the currency that is named
            first, or "first" in the text.
    """

    model_config = ConfigDict(extra="forbid")
    amounts: dict[str, Literal["head", "child"]] = {}
    investors: dict[str, Literal["head", "child"]] = {}
    main: Literal["largest", "first"] = "largest"

    @property
    def labels(self) -> set[str]:
        """The relation labels that it names."""
        return {*self.amounts, *self.investors}


class Documents(BaseModel):
    """[documents] of the config: the keys of a text's `meta` that become columns; "" for none."""

    model_config = ConfigDict(extra="forbid")
    source: str = "id"
    writer: str = "writer"
    date: str = "date"


class Columns(BaseModel):
    """What of a scheme goes into which column (configs/database.cfg)."""

    model_config = ConfigDict(extra="forbid")
    documents: Documents = Documents()
    deals: Mapped = Mapped()


def read_mapping(path: Path) -> Columns:
    """Read configs/database.cfg; without [deals] there are documents, mentions and relations only.

    Raises:
        UserError: no such file, not a config, an unknown setting.
    """
    return load_settings(path, Columns)


def document_tables() -> Iterator[Table]:
    """The tables whose rows belong to a document."""
    return (table for table in TABLES.values() if table.of_document)

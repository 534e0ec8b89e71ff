"""Tables of the database, and the settings that map annotations to columns: a star schema around deals.

A deal is a company that received money, according to one text. It is one row, however many investors and
amounts it has, so that sums and counts over `deals` count nothing twice. Its investors are rows of
`investments`, all its amounts rows of `amounts`. Both repeat the company names, so that few queries need a
join.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
from pydantic import Field

from ie.core.settings import Section

VERSION = "1"

TEXT, NUMBER, INTEGER, REAL = "TEXT", "NUMERIC", "INTEGER", "REAL"
# Parquet has no type for mixed integers and decimals; a double is exact up to 2^53.
PARQUET = {TEXT: pa.string(), NUMBER: pa.float64(), INTEGER: pa.int64(), REAL: pa.float64()}


@dataclass(frozen=True)
class Table:
    """A table: its columns with their types (the first is the key), and a description of a row."""

    name: str
    columns: Mapping[str, str]
    row: str

    @property
    def key(self) -> str:
        """Name of the primary key."""
        return next(iter(self.columns))

    @property
    def of_document(self) -> bool:
        """Whether each row belongs to a document and is removed with it."""
        return "document_id" in self.columns

    def ddl(self) -> str:
        """The CREATE TABLE statement, without a rowid: rows are stored in key order."""
        columns = [
            f'"{name}" {kind}' + (" PRIMARY KEY NOT NULL" if name == self.key else "")
            for name, kind in self.columns.items()
        ]
        return f"CREATE TABLE {self.name} ({', '.join(columns)}) WITHOUT ROWID"

    def insert(self) -> str:
        """The statement that inserts a row."""
        return f"INSERT INTO {self.name} VALUES ({', '.join('?' * len(self.columns))})"

    def arrow(self) -> pa.Schema:
        """The Parquet schema."""
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
            "a pipeline, or gold, that annotated documents",
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

# Foreign keys: (table, column, referenced table, its key).
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
    # Other investors in the same deal.
    ("investments", "deal_id", "investments", "deal_id"),
)


class DealMapping(Section):
    """[deals] of the config: the relations that make a deal.

    Attributes:
        amounts: maps a relation label to the end ("head" or "child") that is the company; the other end is an
            amount it received.
        investors: the same, with an investor at the other end.
        main: which of several amounts represents the deal: "largest" in the currency that is named first, or
            "first" in the text.
    """

    amounts: dict[str, Literal["head", "child"]] = Field({})
    investors: dict[str, Literal["head", "child"]] = Field({})
    main: Literal["largest", "first"] = "largest"

    @property
    def labels(self) -> set[str]:
        """All relation labels in the mapping."""
        return {*self.amounts, *self.investors}


class DocumentColumns(Section):
    """[documents] of the config: the keys of `meta` that become columns; "" for none."""

    source: str = "id"
    writer: str = "writer"
    date: str = "date"


class Columns(Section):
    """configs/database.cfg: maps annotations to columns. Without [deals] there are no rows of deals."""

    documents: DocumentColumns = DocumentColumns()
    deals: DealMapping = DealMapping()

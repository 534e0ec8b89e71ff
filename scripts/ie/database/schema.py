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

VERSION = "2"

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
    def has_confidence(self) -> bool:
        """Whether each row has a confidence."""
        return CONFIDENCE in self.columns

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


def _text(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, TEXT)


_AMOUNT = {"amount_low": NUMBER, "amount": NUMBER, "amount_high": NUMBER, "currency": TEXT}
_COMPANY = _text("company_id", "company")
_SENTENCE = {"sentence_start": INTEGER, "sentence_end": INTEGER}
# The probability that a row is right. Empty where it isn't calibrated, and in rows of gold.
CONFIDENCE = "confidence"
_CONFIDENCE = {CONFIDENCE: REAL}

TABLES = {
    table.name: table
    for table in (
        Table("meta", _text("key", "value"), "what the file itself is"),
        Table(
            "models",
            _text("model_id", "name", "version", "components", "hash"),
            "a pipeline, or gold, that annotated documents",
        ),
        Table(
            "documents",
            {
                **_text("document_id", "text", "source", "writer", "date", "meta", "category"),
                "category_score": REAL,
                **_text("model_id", "fingerprint"),
            },
            "a text",
        ),
        Table(
            "companies",
            _text("company_id", "name", "kind", "country", "description"),
            "an entry of the company table, named in a text or not",
        ),
        Table(
            "mentions",
            {
                **_text("mention_id", "document_id"),
                "start": INTEGER,
                "end": INTEGER,
                **_text("label", "text", "company_id"),
                **_AMOUNT,
                "rule": TEXT,
                **_CONFIDENCE,
            },
            "an entity in a text",
        ),
        Table(
            "relations",
            {
                **_text("relation_id", "document_id", "label", "head_mention", "child_mention"),
                "score": REAL,
                **_CONFIDENCE,
            },
            "a relation between two mentions of a text",
        ),
        Table(
            "deals",
            {
                **_text("deal_id", "document_id"),
                **_COMPANY,
                **_AMOUNT,
                "category": TEXT,
                **_SENTENCE,
                **_CONFIDENCE,
            },
            "a company that got money, as one text tells it, with its main amount",
        ),
        Table(
            "investments",
            {
                **_text("investment_id", "deal_id", "document_id", "investor_id", "investor"),
                **_COMPANY,
                **_SENTENCE,
                **_CONFIDENCE,
            },
            "an investor in a deal; which of them gave how much isn't known",
        ),
        Table(
            "amounts",
            {
                **_text("amount_id", "deal_id", "document_id"),
                **_COMPANY,
                **_AMOUNT,
                "main": INTEGER,
                **_SENTENCE,
                **_CONFIDENCE,
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

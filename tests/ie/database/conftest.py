from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection, connect

import deals
import pytest

from ie.core.settings import load_settings
from ie.data.gazetteer import read_gazetteer
from ie.data.records import Record, blank
from ie.database import document_rows, sqlite_file, writer
from ie.database.schema import TABLES, Columns


def round_of(company: str, money: str, value: str, *investors: str) -> Record:
    """A text about money for a company that no other text names."""
    text, spans = "", []
    for words, label in ((company, "COMPANY"), (" got ", ""), (money, "MONEY")):
        spans += [{"start": len(text), "end": len(text + words), "label": label}] if label else []
        text += words
    spans[1]["value"] = value
    for joint, name in zip((" from ", *[" and "] * len(investors)), investors, strict=False):
        spans.append({"start": len(text + joint), "end": len(text + joint + name), "label": "COMPANY"})
        text += joint + name
    relations = [{"head": 0, "child": 1, "label": "RAISED"}]
    relations += [{"head": i, "child": 0, "label": "INVESTOR"} for i in range(2, len(spans))]
    return Record(
        text=f"{text}.", spans=spans, relations=relations, cats={"FUNDING": 1}, meta={"id": company}
    )


@pytest.fixture(scope="session")
def gold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of a thousand made-up texts, the talk's sentence and two deals that are like no other."""
    folder = tmp_path_factory.mktemp("gold")
    nlp = blank("en")
    source = writer.AnnotationSource(
        "gold", "", (), "", lambda found: document_rows.annotations_from_gold(found, nlp), gold=True
    )
    records = [
        *deals.records(1000),
        Record(**deals.talk()),
        round_of("Underhill Reactor", "3m francs", "3000000 CHF", "ACME Ventures", "Wirrabara Lithium"),
        round_of("Kowloon Ledger", "$5bn", "5000000000 USD", "Hooli"),
    ]
    writer.update(
        folder / "gold.db",
        records,
        source,
        load_settings(deals.CONFIGS / "database.cfg", Columns),
        read_gazetteer(deals.write_companies(folder / "companies.csv")),
    )
    return folder / "gold.db"


@pytest.fixture
def connection(gold: Path) -> Iterator[Connection]:
    with closing(sqlite_file.open_readonly(gold)) as found:
        yield found


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A database of four documents and four deals."""
    path = tmp_path_factory.mktemp("small") / "small.db"
    rows = {
        "documents": [
            {"document_id": "t1", "text": "Hooli raised $5m.", "writer": "ann", "date": "2026-01-15"},
            {"document_id": "t2", "text": "Acme Inc raised $20m.", "writer": "ann", "date": "2026-02-20"},
            {"document_id": "t3", "text": "Hooli and Velto.", "writer": "bob", "date": "2026-02-28"},
            {"document_id": "t4", "text": "Nothing happened.", "writer": "bob"},
        ],
        "companies": [
            {"company_id": "1", "name": "Hooli", "country": "US"},
            {"company_id": "2", "name": "Acme Inc", "country": "NO"},
        ],
        "deals": [
            {"deal_id": "d1", "document_id": "t1", "company_id": "1", "company": "Hooli", "amount": 5_000_000,
             "currency": "USD", "category": "FUNDING", "sentence_start": 0, "sentence_end": 17,
             "confidence": 0.9},
            {"deal_id": "d2", "document_id": "t2", "company_id": "2", "company": "Acme Inc",
             "amount": 20_000_000, "currency": "USD", "category": "FUNDING", "confidence": 0.6},
            {"deal_id": "d3", "document_id": "t3", "company_id": "1", "company": "Hooli", "amount": 3_000_000,
             "currency": "EUR", "category": "FUNDING", "confidence": 0.95},
            {"deal_id": "d4", "document_id": "t3", "company": "Velto", "category": "ACQUISITION"},
        ],
        "investments": [
            {"investment_id": "i1", "deal_id": "d1", "document_id": "t1", "investor": "Basalt",
             "confidence": 0.8},
            {"investment_id": "i2", "deal_id": "d2", "document_id": "t2", "investor": "Basalt",
             "confidence": 0.7},
            {"investment_id": "i3", "deal_id": "d2", "document_id": "t2", "investor": "Hooli",
             "confidence": 0.5},
        ],
    }  # fmt: skip
    with closing(connect(path)) as connection:
        for table in TABLES.values():
            connection.execute(table.ddl())
            for row in rows.get(table.name, ()):
                connection.execute(table.insert(), [row.get(column) for column in table.columns])
        connection.commit()
        yield connection

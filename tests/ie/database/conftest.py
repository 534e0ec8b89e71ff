from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection, connect

import pytest
from running import ROOT

from ie.data.gazetteer import read_gazetteer
from ie.data.records import blank, read_records
from ie.data.splits import assign
from ie.database import filling, reading, writing
from ie.database.schema import TABLES, read_mapping


@pytest.fixture(scope="session")
def gold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of all reviewed texts of the demo."""
    path = tmp_path_factory.mktemp("gold") / "gold.db"
    nlp = blank("en")
    source = writing.Source("gold", "", (), "", lambda found: filling.read_gold(found, nlp), gold=True)
    writing.update(
        path,
        read_records(ROOT / "assets/reviewed.jsonl"),
        source,
        read_mapping(ROOT / "configs/database.cfg"),
        read_gazetteer(ROOT / "assets/companies.csv"),
    )
    return path


@pytest.fixture
def connection(gold: Path) -> Iterator[Connection]:
    with closing(reading.open_readonly(gold)) as found:
        yield found


@pytest.fixture(scope="session")
def test_gold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of the gold test texts, by the split of the demo."""
    path = tmp_path_factory.mktemp("test") / "gold.db"
    nlp = blank("en")
    source = writing.Source("gold", "", (), "", lambda found: filling.read_gold(found, nlp), gold=True)
    split = assign(
        read_records(ROOT / "assets/reviewed.jsonl"),
        read_records(ROOT / "assets/texts.jsonl"),
        test_percent=37,
        dev_percent=10,
        near_duplicate=0.8,
    )
    writing.update(
        path,
        split.test,
        source,
        read_mapping(ROOT / "configs/database.cfg"),
        read_gazetteer(ROOT / "assets/companies.csv"),
    )
    return path


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
             "currency": "USD", "category": "FUNDING", "sentence_start": 0, "sentence_end": 17},
            {"deal_id": "d2", "document_id": "t2", "company_id": "2", "company": "Acme Inc",
             "amount": 20_000_000, "currency": "USD", "category": "FUNDING"},
            {"deal_id": "d3", "document_id": "t3", "company_id": "1", "company": "Hooli", "amount": 3_000_000,
             "currency": "EUR", "category": "FUNDING"},
            {"deal_id": "d4", "document_id": "t3", "company": "Velto", "category": "ACQUISITION"},
        ],
        "investments": [
            {"investment_id": "i1", "deal_id": "d1", "document_id": "t1", "investor": "Basalt"},
            {"investment_id": "i2", "deal_id": "d2", "document_id": "t2", "investor": "Basalt"},
            {"investment_id": "i3", "deal_id": "d2", "document_id": "t2", "investor": "Hooli"},
        ],
    }  # fmt: skip
    with closing(connect(path)) as connection:
        for table in TABLES.values():
            connection.execute(table.ddl())
            for row in rows.get(table.name, ()):
                connection.execute(table.insert(), [row.get(column) for column in table.columns])
        connection.commit()
        yield connection

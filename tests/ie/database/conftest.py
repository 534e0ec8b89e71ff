from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection

import pytest
from running import ROOT

from ie.database import filling, reading, writing
from ie.database.schema import read_mapping
from ie.gazetteer import read_gazetteer
from ie.records import blank, read_records
from ie.splitting import assign


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

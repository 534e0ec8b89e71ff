"""The demo's questions: their stored answers are those of the gold test texts."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest
from benchmarks.ask import rowset
from running import ROOT

from ie.core.settings import load_settings
from ie.data.config import load_data_config
from ie.data.gazetteer import read_gazetteer
from ie.data.records import blank, read_records
from ie.data.splits import assign
from ie.database import document_rows, guard, sqlite_file, text_to_sql, writer
from ie.database.schema import Columns
from ie.database.sql_grammar import NO_ANSWER
from ie.database.text_to_sql import SolvedQuestion
from ie.training import assembly

ASSETS, CONFIGS = ROOT / "assets", ROOT / "configs"
QUESTIONS = text_to_sql.read_questions(ASSETS / "questions.jsonl")
EXAMPLES = [question for question in QUESTIONS if question.split == "examples"]
SCORED = [question for question in QUESTIONS if question.split == "scored"]


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """A database of the gold test texts."""
    path = tmp_path_factory.mktemp("test") / "gold.db"
    nlp = blank("en")
    source = writer.AnnotationSource(
        "gold", "", (), "", lambda found: document_rows.annotations_from_gold(found, nlp), gold=True
    )
    records = [read_records(ASSETS / f"{name}.jsonl") for name in ("reviewed", "texts")]
    split = assign(*records, **load_data_config(CONFIGS / "data.cfg").split.model_dump())
    mapping, companies = (
        load_settings(CONFIGS / "database.cfg", Columns),
        read_gazetteer(ASSETS / "companies.csv"),
    )
    writer.update(path, split.test, source, mapping, companies)
    with closing(sqlite_file.open_readonly(path)) as found:
        yield found


def test_there_are_sixty_scored_questions_and_others_as_examples():
    assert len(SCORED) == 60
    assert len(EXAMPLES) >= 12
    assert not {q.question for q in SCORED} & {q.question for q in EXAMPLES}
    kinds = Counter(question.kind for question in SCORED)
    assert set(kinds) == {"lookup", "count", "sum", "ranking", "join", "date", "no-answer"}
    assert min(kinds.values()) >= 6


@pytest.mark.parametrize("question", QUESTIONS, ids=[question.question for question in QUESTIONS])
def test_the_gold_sql_gives_the_stored_answer(connection: sqlite3.Connection, question: SolvedQuestion):
    if question.sql is None:
        assert question.answer == []
        return
    found = guard.run(connection, guard.check(question.sql, sqlite_file.schema_of(connection)))
    assert rowset(found.rows) == rowset(question.answer)
    assert bool(question.answer) == (question.kind != "no-answer")


def test_what_is_unanswerable_is_never_shown_as_the_nearest_example(connection: sqlite3.Connection):
    money = assembly.load(CONFIGS / "money.cfg", component="money").get_pipe("money")
    _, settings = text_to_sql.read_config(CONFIGS / "ask.cfg")
    translator = text_to_sql.Translator(connection, settings, EXAMPLES, money)
    for question in SCORED:
        before, _, _ = translator.prompt(question.question).rpartition("\n\nQuestion:")
        assert not before.rstrip().endswith(NO_ANSWER)

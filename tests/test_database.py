import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import deals
import pyarrow.parquet as pq
import pytest
import spacy
from running import ROOT, run_command, write_lines
from spacy.language import Language
from spacy.tokens import Doc

from components import money  # noqa: F401  (registers the component)
from ie.core.errors import UserError
from ie.core.settings import load_settings
from ie.data.records import Record
from ie.database import document_rows, sqlite_file
from ie.database.schema import TABLES, Columns, DealMapping

TALK = {
    "text": "Hooli raises $5m to revolutionize search, led by ACME Ventures. Nobody objected.",
    "spans": [
        {"start": 0, "end": 5, "label": "COMPANY", "kb_id": "5923214"},
        {"start": 13, "end": 16, "label": "MONEY", "value": "5000000 USD"},
        {"start": 49, "end": 62, "label": "COMPANY", "kb_id": "1681056"},
    ],
    "relations": [
        {"head": 0, "child": 1, "label": "RAISED"},
        {"head": 2, "child": 0, "label": "INVESTOR"},
    ],
    "cats": {"FUNDING": 1, "OTHER": 0},
    "meta": {"id": "talk", "date": "2024-05-01"},
}
# Two amounts (one restated), two investors, neither linked; the company is named twice.
TWO = {
    "text": "Velto got €3m ($3.2m) after €1m. Anker and Bora own Velto now.",
    "spans": [
        {"start": 0, "end": 5, "label": "COMPANY", "kb_id": "NIL"},
        {"start": 10, "end": 13, "label": "MONEY", "value": "3000000 EUR"},
        {"start": 15, "end": 20, "label": "MONEY", "value": "3200000 USD"},
        {"start": 28, "end": 31, "label": "MONEY", "value": "1000000 EUR"},
        {"start": 33, "end": 38, "label": "COMPANY", "kb_id": "NIL"},
        {"start": 43, "end": 47, "label": "COMPANY", "kb_id": "NIL"},
        {"start": 52, "end": 57, "label": "COMPANY", "kb_id": "NIL"},
    ],
    "relations": [
        {"head": 0, "child": 1, "label": "RAISED"},
        {"head": 0, "child": 2, "label": "RAISED"},
        {"head": 0, "child": 3, "label": "RAISED"},
        {"head": 4, "child": 6, "label": "INVESTOR"},
        {"head": 5, "child": 6, "label": "INVESTOR"},
    ],
    "meta": {"id": "two"},
}
PLAIN = {"text": "Nothing happened.", "meta": {"id": "plain"}}
COMPANIES = "id,name,aliases,kind,country,description\n"
COMPANIES += "5923214,Hooli,,company,US,search\n1681056,ACME Ventures,,fund,,\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "companies.csv").write_text(COMPANIES)
    write_lines(tmp_path / "gold.jsonl", [TALK, TWO, PLAIN])
    return tmp_path


def options(folder: Path, **others: str) -> list:
    found = {
        "gold": folder / "gold.jsonl",
        "companies": folder / "companies.csv",
        "config": deals.CONFIGS / "database.cfg",
        "output": folder / "out/deals.db",
    } | others
    return [word for name, value in found.items() for word in (f"--{name}", value)]


def rows(path: Path, sql: str) -> list[tuple]:
    with closing(sqlite_file.open_readonly(path)) as connection:
        return connection.execute(sql).fetchall()


def test_the_talks_sentence_is_a_row(folder, capsys):
    assert run_command("database", options(folder), capsys).status == 0
    path = folder / "out/deals.db"
    assert rows(
        path, "SELECT company_id, company, amount, currency, category FROM deals WHERE company = 'Hooli'"
    ) == [("5923214", "Hooli", 5000000, "USD", "FUNDING")]
    assert rows(path, "SELECT investor_id, investor, company FROM investments WHERE company = 'Hooli'") == [
        ("1681056", "ACME Ventures", "Hooli")
    ]
    text, start, end = rows(
        path,
        "SELECT text, sentence_start, sentence_end FROM deals JOIN documents USING (document_id) "
        "WHERE source = 'talk'",
    )[0]
    assert text[start:end] == "Hooli raises $5m to revolutionize search, led by ACME Ventures."
    assert rows(path, "SELECT date FROM documents WHERE source = 'talk'") == [("2024-05-01",)]
    for name, table in TABLES.items():
        assert pq.read_table(folder / f"out/deals.db.parquet/{name}.parquet").num_rows == len(
            rows(path, f"SELECT * FROM {name}")
        ), table


def test_a_deal_counts_once_with_several_investors_and_amounts(folder, capsys):
    run_command("database", options(folder), capsys)
    path = folder / "out/deals.db"
    assert rows(path, "SELECT company, amount, currency FROM deals WHERE company_id IS NULL") == [
        ("Velto", 3000000, "EUR")
    ]
    assert rows(path, "SELECT SUM(amount), COUNT(*) FROM deals WHERE currency = 'EUR'") == [(3000000, 1)]
    assert rows(path, "SELECT investor FROM investments WHERE company = 'Velto' ORDER BY 1") == [
        ("Anker",),
        ("Bora",),
    ]
    assert rows(
        path, "SELECT amount, currency, main FROM amounts WHERE company = 'Velto' ORDER BY amount_id"
    ) == [
        (3000000, "EUR", 1),
        (3200000, "USD", 0),
        (1000000, "EUR", 0),
    ]


def test_a_second_run_adds_nothing_and_only_what_changed_is_replaced(folder, capsys):
    run_command("database", options(folder), capsys)
    path = folder / "out/deals.db"
    before = path.read_bytes(), path.stat().st_mtime_ns
    again = run_command("database", options(folder), capsys)
    assert "up to date; nothing was added" in again.output
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before

    # one text says something else now, one is gone, the annotation of a third was corrected
    longer = {"text": PLAIN["text"] + " At all.", "meta": {"id": "plain"}}
    corrected = {**TALK, "relations": TALK["relations"][:1]}
    write_lines(folder / "gold.jsonl", [corrected, longer])
    told = run_command("database", options(folder), capsys).output
    assert "1 new, 1 changed, 0 unchanged, 1 removed" in told
    assert "1 documents whose text is gone were kept (first: two)" in told
    assert rows(path, "SELECT source FROM documents ORDER BY 1") == [("plain",), ("talk",), ("two",)]
    assert rows(path, "SELECT COUNT(*) FROM investments WHERE company = 'Hooli'") == [(0,)]
    run_command("database", options(folder, vanished="remove"), capsys)
    assert rows(path, "SELECT COUNT(*) FROM deals WHERE company = 'Velto'") == [(0,)]

    # the same texts make the same bytes, whatever came before
    run_command("database", options(folder, output=folder / "fresh/deals.db"), capsys)
    assert path.read_bytes() == (folder / "fresh/deals.db").read_bytes()


def test_parquet_files_that_fell_behind_are_written_again(folder, capsys):
    run_command("database", options(folder), capsys)
    file = folder / "out/deals.db.parquet/deals.parquet"
    whole = file.read_bytes()
    file.unlink()
    assert "Parquet files, which were older" in run_command("database", options(folder), capsys).output
    assert file.read_bytes() == whole


def test_other_labels_and_none(folder, tmp_path):
    (tmp_path / "none.cfg").write_text('[documents]\nsource = "id"\n')
    assert load_settings(tmp_path / "none.cfg", Columns).deals == DealMapping()
    (tmp_path / "bad.cfg").write_text('[deals]\namounts = {"RAISED": "left"}\n')
    with pytest.raises(UserError, match=r"bad\.cfg: deals\.amounts\.RAISED"):
        load_settings(tmp_path / "bad.cfg", Columns)


def test_a_scheme_without_deals_gives_mentions(folder, capsys):
    (folder / "none.cfg").write_text('[documents]\nsource = "id"\n')
    run_command("database", options(folder, config=folder / "none.cfg"), capsys)
    path = folder / "out/deals.db"
    assert rows(path, "SELECT (SELECT COUNT(*) FROM deals), (SELECT COUNT(*) FROM mentions)") == [(0, 10)]


def test_faults_end_in_one_sentence(folder, capsys):
    path = folder / "out/deals.db"
    run_command("database", options(folder), capsys)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE meta SET value = '0'")
        connection.commit()
    assert "has version 0 of the schema" in run_command("database", options(folder), capsys).output
    path.write_text("no database")
    assert "no database that" in run_command("database", options(folder), capsys).output
    path.unlink()
    run_command("database", options(folder), capsys)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        locked = run_command("database", options(folder), capsys)
        assert locked.status == 1
        assert "locked" in locked.output
        other.execute("COMMIT")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match="another program is writing"):
            sqlite_file.open_readonly(path)
    with pytest.raises(UserError, match="run `weasel run database` first"):
        sqlite_file.open_readonly(folder / "nothing.db")
    without = run_command("database", options(folder, gold="", model=folder / "none"), capsys)
    assert "none: there is no trained pipeline; run `weasel run components` first." in without.output
    other = run_command("database", options(folder, gold="", package="no_such_package"), capsys)
    assert "no_such_package: there is no trained pipeline; run pip install on its wheel." in other.output


KILLED = """
import sys; sys.path.insert(0, {scripts!r}); sys.argv = ['database', *{options!r}]
from ie.database import {module} as module
slow = module.{function}
def stop(*arguments, **options):
    import time
    print('there', flush=True)
    time.sleep(60)
module.{function} = stop
import runpy; runpy.run_path({script!r}, run_name='__main__')
"""


@pytest.mark.parametrize(
    ("module", "function", "is_new"),
    [("document_rows", "fill", False), ("writer", "write_parquet", True)],
    ids=["rows half written", "before the Parquet files"],
)
def test_a_kill_leaves_the_old_or_the_new(folder, capsys, module, function, is_new):
    run_command("database", options(folder), capsys)
    path = folder / "out/deals.db"
    old = path.read_bytes()
    write_lines(folder / "gold.jsonl", [TALK, TWO, PLAIN, {"text": "One more.", "meta": {"id": "more"}}])
    code = KILLED.format(
        scripts=str(ROOT / "scripts"),
        options=[str(option) for option in options(folder)],
        module=module,
        function=function,
        script=str(ROOT / "scripts/database.py"),
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout.readline() == "there\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert (path.read_bytes() != old) == is_new
    assert rows(path, "SELECT COUNT(*) FROM documents") == [(4 if is_new else 3,)]
    assert run_command("database", options(folder), capsys).status == 0
    assert rows(path, "SELECT COUNT(*) FROM documents") == [(4,)]
    assert pq.read_table(folder / "out/deals.db.parquet/documents.parquet").num_rows == 4
    assert [p.name for p in path.parent.glob(".deals.db.new-*")] == []


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """A pipeline of rules, without relations."""
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns(
        [{"label": "COMPANY", "pattern": "Hooli"}, {"label": "MONEY", "pattern": "$5 m"}]
    )
    nlp.add_pipe("money").initialize()
    nlp.to_disk(tmp_path / "pipeline")
    return tmp_path / "pipeline"


def test_a_pipeline_without_relations_gives_mentions_and_amounts(folder, pipeline, capsys):
    write_lines(folder / "texts.jsonl", [{"text": "Hooli raises $5 m today."}, {"text": "Nothing."}])
    found = options(folder, gold="", model=pipeline, texts=folder / "texts.jsonl")
    told = run_command("database", found, capsys)
    assert told.status == 0
    assert "has no relations, so there will be no deals" in told.output
    path = folder / "out/deals.db"
    assert rows(path, "SELECT label, text, amount, currency FROM mentions ORDER BY start") == [
        ("COMPANY", "Hooli", None, None),
        ("MONEY", "$5 m", 5000000, "USD"),
    ]
    assert "nothing was added" in run_command("database", found, capsys).output
    # another version of the pipeline reads all again
    nlp = spacy.load(pipeline)
    nlp.meta["version"] = "9.9.9"
    nlp.to_disk(pipeline)
    assert "0 new, 2 changed" in run_command("database", found, capsys).output
    assert [version for (version,) in rows(path, "SELECT version FROM models")] == ["9.9.9"]


def test_what_a_pipeline_says_is_what_is_written():
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns(
        [{"label": "COMPANY", "pattern": name} for name in ("Hooli", "ACME")]
    )
    if not Doc.has_extension("relations"):
        Doc.set_extension("relations", default=None)

    def said(doc):
        doc._.relations = [{"head": 1, "child": 0, "label": "INVESTOR", "score": 0.75}]
        doc.cats = {"FUNDING": 0.9, "OTHER": 0.1}
        return doc

    Language.component("said_of_the_test", func=said)
    nlp.add_pipe("said_of_the_test")
    (reading_,) = document_rows.annotations_from_pipeline(nlp, [Record(text="Hooli likes ACME.")])
    found = document_rows.fill(
        reading_, load_settings(deals.CONFIGS / "database.cfg", Columns), {}, "model", "mark"
    )
    assert [row[3:5] for row in found["deals"]] == [("Hooli", None)]
    assert [(row[4], row[6]) for row in found["investments"]] == [("ACME", "Hooli")]
    assert found["relations"][0][-2] == 0.75
    assert found["documents"][0][6:8] == ("FUNDING", 0.9)


def test_each_row_has_the_confidence_of_the_surest_relation_that_says_it():
    record = Record(
        text="Hooli likes ACME; Hooli got 5 from ACME.",
        spans=[
            {"start": 0, "end": 5, "label": "COMPANY", "confidence": 0.9},
            {"start": 12, "end": 16, "label": "COMPANY", "kb_id": "7", "confidence": 0.9},
            {"start": 18, "end": 23, "label": "COMPANY", "confidence": 0.8},
            {"start": 28, "end": 29, "label": "MONEY", "value": "5 USD", "amount_confidence": 0.7},
            {"start": 35, "end": 39, "label": "COMPANY", "kb_id": "7", "link_confidence": 0.6},
        ],
        relations=[
            {"head": 1, "child": 0, "label": "INVESTOR", "row_confidence": 0.3},
            {"head": 4, "child": 2, "label": "INVESTOR", "row_confidence": 0.5},
            {"head": 2, "child": 3, "label": "RAISED"},
        ],
    )
    (annotations,) = document_rows.annotations_from_gold([record], spacy.blank("en"))
    columns = load_settings(deals.CONFIGS / "database.cfg", Columns)
    sure = document_rows.row_confidences(
        annotations, document_rows.deals(annotations, columns.deals, {"7": "ACME"})[1]
    )
    rows = document_rows.fill(annotations, columns, {"7": "ACME"}, "model", "mark")
    assert {key: sure[key] for key, *_ in rows["investments"]} == {rows["investments"][0][0]: 0.5}
    # the main amount decides, and nothing says how sure it is
    assert [sure[row[0]] for table in ("deals", "amounts") for row in rows[table]] == [None, None]
    assert [sure[row[0]] for row in rows["relations"]] == [0.3, 0.5, None]
    # a mention is right with its link and its amount
    assert [sure[row[0]] for row in rows["mentions"]] == [0.9, None, 0.8, 0.7, 0.6]


def test_the_confidence_is_a_column_and_gold_has_none(folder, capsys):
    run_command("database", options(folder), capsys)
    path = folder / "out/deals.db"
    extracted = ("mentions", "relations", "deals", "investments", "amounts")
    assert tuple(name for name, table in TABLES.items() if table.has_confidence) == extracted
    for name in extracted:
        assert rows(path, f"SELECT DISTINCT confidence FROM {name}") == [(None,)]
        column = pq.read_table(folder / f"out/deals.db.parquet/{name}.parquet").column("confidence")
        assert (str(column.type), column.null_count) == ("double", len(column))
    # of what a pipeline found it is kept; gold has none, even where the reviewed suggestion had one
    record = Record(text="Hooli", spans=[{"start": 0, "end": 5, "label": "COMPANY", "confidence": 0.75}])
    (annotations,) = document_rows.annotations_from_gold([record], spacy.blank("en"))
    written = [
        document_rows.fill(annotations, Columns(), {}, "m", "mark", gold=gold)["mentions"][0][-1]
        for gold in (False, True)
    ]
    assert written == [0.75, None]


def test_a_database_without_the_column_is_refused_with_the_way_out(folder, capsys):
    run_command("database", options(folder), capsys)
    path = folder / "out/deals.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE deals DROP COLUMN confidence")
        connection.execute("UPDATE meta SET value = '1' WHERE key = 'schema_version'")
        connection.commit()
    for command, more in (("database", options(folder)), ("ask", ["Who?", "--database", path])):
        outcome = run_command(command, more, capsys)
        assert outcome.status == 1
        assert "has version 1 of the schema, and this is 2; move it away, then run" in outcome.output

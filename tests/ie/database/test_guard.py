import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep

import psutil
import pytest
from running import ROOT

from ie.database import guard, sql_workers, sqlite_file
from ie.database.guard import QueryLimits, StatementRefused

# Those of the database that `connection` opens.
DEALS = 512
NESTED = "SELECT " + "(" * 50 + "1" + ")" * 50
# Statement by statement: what must be refused before anything is run, and as what kind.
REFUSED = {
    "several statements": [
        "CREATE TRIGGER x AFTER INSERT ON deals BEGIN SELECT 1; END",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE deals",
        "SELECT 1;;DELETE FROM deals",
        "SELECT company FROM deals; ATTACH 'x' AS y",
        "SELECT 1;\nPRAGMA writable_schema = 1",
        "SELECT 1; -- x\nINSERT INTO deals VALUES (1)",
        "SELECT 1 /* ; */; SELECT load_extension('x')",
        "SELECT ';'; SELECT ';'",
    ],
    "no SELECT": [
        "DROP TABLE deals",
        "DROP TABLE IF EXISTS deals",
        "DELETE FROM deals",
        "DELETE FROM deals WHERE 1 RETURNING *",
        "UPDATE deals SET amount = 0",
        "INSERT INTO deals (deal_id) VALUES ('x')",
        "INSERT INTO deals SELECT * FROM deals",
        "REPLACE INTO deals (deal_id) VALUES ('x')",
        "CREATE TABLE x (a)",
        "CREATE TABLE x AS SELECT * FROM deals",
        "CREATE TEMP VIEW x AS SELECT 1",
        "CREATE VIRTUAL TABLE x USING fts5(a)",
        "CREATE INDEX x ON deals (company)",
        "ALTER TABLE deals RENAME TO x",
        "ALTER TABLE deals ADD COLUMN x",
        "ATTACH DATABASE '/etc/passwd' AS x",
        "ATTACH ':memory:' AS x",
        "DETACH DATABASE main",
        "PRAGMA table_info(deals)",
        "PRAGMA hard_heap_limit = 0",
        "PRAGMA writable_schema = ON",
        "PRAGMA query_only = OFF",
        "VACUUM",
        "VACUUM INTO '/tmp/x.db'",
        "REINDEX",
        "ANALYZE",
        "BEGIN",
        "BEGIN EXCLUSIVE",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT x",
        "EXPLAIN SELECT 1",
        "EXPLAIN QUERY PLAN SELECT 1",
        "COPY deals TO '/tmp/x'",
        "COPY (SELECT * FROM deals) TO '/tmp/x.csv'",
        "COPY deals FROM PROGRAM 'id'",
        "INSTALL httpfs",
        "LOAD 'x'",
        "SET x = 1",
        "GRANT ALL ON deals TO x",
        "TRUNCATE TABLE deals",
        "MERGE INTO deals USING x ON 1 = 1 WHEN MATCHED THEN DELETE",
        "CALL x()",
        "VALUES (1), (2)",
        "WITH x AS (SELECT 1) DELETE FROM deals",
        "WITH x AS (SELECT 1) UPDATE deals SET amount = 0",
        "WITH x AS (SELECT 1) INSERT INTO deals SELECT * FROM x",
        "/* SELECT */ DROP TABLE deals",
        "-- SELECT 1\nDROP TABLE deals",
        "dRoP tAbLe deals",
        "1",
        "hello",
    ],
    "no SQL": [
        "",
        ";",
        "-- nothing",
        "SELECT",
        "SELECT * FROM",
        "SELECT 'open FROM deals",
        "SELECT 1 WHERE (",
        "SELECT\x001",
        "SELECT company FROM deals\x00; DROP TABLE deals",
        "ＳＥＬＥＣＴ company ＦＲＯＭ deals",
        "SELECT company FROM deals\uff1b DROP TABLE deals",
        "SEL/**/ECT 1 FROM deals WHERE",
        ".shell id",
        ".read /etc/passwd",
        "\\! id",
    ],
    "recursion": [
        "WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT COUNT(*) FROM x",
        "WITH x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT COUNT(*) FROM x",
        "WITH x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM X) SELECT MAX(n) FROM x",
        'WITH "x"(n) AS (SELECT 1 UNION SELECT n + 1 FROM [x]) SELECT MAX(n) FROM x',
        "WITH a AS (SELECT 1 AS n UNION ALL SELECT n FROM b), b AS (SELECT n FROM a) SELECT n FROM b",
        "SELECT (WITH x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT MAX(n) FROM x)",
    ],
    "table": [
        "SELECT * FROM sqlite_master",
        'SELECT * FROM "sqlite_schema"',
        "SELECT * FROM sqlite_temp_master",
        "SELECT * FROM main.deals",
        "SELECT * FROM temp.x",
        "SELECT * FROM meta",
        "SELECT * FROM `meta`",
        "SELECT * FROM pragma_table_info('deals')",
        "SELECT * FROM pragma_database_list",
        "SELECT * FROM pragma_compile_options()",
        "SELECT * FROM dbstat",
        "SELECT * FROM json_each('[1]')",
        "SELECT * FROM generate_series(1, 1000000000)",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_csv_auto('/etc/passwd')",
        "SELECT * FROM read_parquet('x')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM fsdir('/')",
        "SELECT * FROM deals WHERE deal_id IN (SELECT name FROM sqlite_master)",
        "SELECT (SELECT sql FROM sqlite_master LIMIT 1)",
        "SELECT 1 UNION SELECT sql FROM sqlite_master",
        "WITH x AS (SELECT * FROM sqlite_master) SELECT * FROM x",
        "SELECT * FROM dеals",  # a Cyrillic letter
    ],
    "column": [
        "SELECT $name",
        "SELECT password FROM deals",
        "SELECT rowid FROM deals",
        "SELECT _rowid_ FROM deals",
        'SELECT "no such column" FROM deals',
        "SELECT company FROM deals ORDER BY (SELECT nothing)",
    ],
    "function": [
        "SELECT text -> '$' FROM documents",
        "SELECT company FROM deals WHERE company REGEXP '(a+)+$'",
        "SELECT load_extension('x')",
        "SELECT LOAD_EXTENSION('/tmp/x.so', 'init')",
        "SELECT \"load_extension\"('x')",
        "SELECT readfile('/etc/passwd')",
        "SELECT writefile('/tmp/x', 'y')",
        "SELECT edit('x')",
        "SELECT fts3_tokenizer('x')",
        "SELECT randomblob(1000000000)",
        "SELECT zeroblob(1000000000)",
        "SELECT hex(zeroblob(1000000000))",
        "SELECT printf('%1000000000d', 1)",
        "SELECT format('%1000000000d', 1)",
        "SELECT sqlite_version()",
        "SELECT sqlite_compileoption_get(0)",
        "SELECT last_insert_rowid()",
        "SELECT random()",
        "SELECT json('[1]')",
        "SELECT json_group_array(text) FROM documents",
        "SELECT quote(text) FROM documents",
        "SELECT char(65)",
        "SELECT unicode('a')",
        "SELECT sleep(100)",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT getenv('HOME')",
        "SELECT company FROM deals WHERE amount > (SELECT length(randomblob(9)))",
    ],
    "construct": [
        "SELECT glob('*', text) FROM documents",
        "SELECT company FROM deals WHERE company GLOB '*a*'",
        "SELECT ?",
        "SELECT :name",
        "SELECT @name",
        "SELECT x'00'",
        "SELECT company COLLATE x FROM deals",
        "SELECT 1 << 62",
        "SELECT * FROM deals TABLESAMPLE (1)",
        "SELECT company INTO x FROM deals",
    ],
    "too deep": [
        "SELECT " + "(" * 500 + "1" + ")" * 500,
        "SELECT 1 WHERE " + "NOT (" * 200 + "1" + ")" * 200,
    ],
    "too long": ["SELECT " + "1 + " * 2000 + "1", "SELECT '" + "a" * 5000 + "'"],
}
STATEMENTS = [(kind, sql) for kind, statements in REFUSED.items() for sql in statements]

BOMBS = [
    "SELECT COUNT(*) FROM mentions a, mentions b, mentions c, mentions d",
    "SELECT COUNT(*) FROM mentions a JOIN mentions b ON a.amount <> b.amount JOIN mentions c ON 1 = 1",
    "SELECT a.text FROM documents a, documents b, documents c ORDER BY a.text || b.text || c.text",
    "SELECT COUNT(DISTINCT a.text || b.text || c.text) FROM documents a, documents b, documents c",
    "WITH a AS (SELECT 1 AS x FROM mentions) SELECT COUNT(*) FROM a, a AS b, a AS c",
    "SELECT company FROM deals WHERE (SELECT COUNT(*) FROM mentions a, mentions b, documents c) > 0",
    "SELECT MAX(a.text || b.text || c.text) FROM documents a, documents b, documents c",
    "SELECT COUNT(*) FROM documents a, documents b, documents c "
    "WHERE a.text || b.text || c.text LIKE '%a%b%c%d%e%f%g%h%z%z%z%q%'",
    "SELECT SUM(amount) OVER (ORDER BY a.text) FROM mentions a, documents b, documents c",
    "SELECT GROUP_CONCAT(a.text) FROM documents a, documents b",
    "SELECT COUNT(REPLACE(a.text, 'a', b.text)) FROM documents a, documents b, documents c",
    "SELECT row_number() OVER (ORDER BY a.text) FROM mentions a, documents b, documents c",
]
# A text as long as a value may be: calls over it take minutes inside SQLite, where nothing interrupts them.
LONG_TEXT = (
    "WITH a AS (SELECT REPLACE('xxxxxxxxxx', 'x', 'aaaaaaaaaa') AS x), "
    "b AS (SELECT REPLACE(x, 'a', 'aaaaaaaaaaaaaaaaaaaa') AS x FROM a), "
    "c AS (SELECT REPLACE(x, 'a', 'aaaaaaaaaaaaaaaaaaaa') AS x FROM b), "
    "d AS (SELECT REPLACE(x, 'a', 'aaaaaaaaaa') AS x FROM c), e AS MATERIALIZED (SELECT x FROM d) "
)
LONG_CALLS = [
    LONG_TEXT
    + "SELECT "
    + " + ".join(f"INSTR(x, SUBSTR(x, 1, 20000{i}) || 'b')" for i in range(10))
    + " FROM e",
    LONG_TEXT
    + "SELECT "
    + " || ".join(f"LTRIM(x, REPLACE(SUBSTR(x, 1, 3000{i}), 'a', 'b') || 'a')" for i in range(10))
    + " FROM e",
    LONG_TEXT
    + "SELECT "
    + " || ".join(f"REPLACE(x, SUBSTR(x, 1, 20000{i}) || 'b', '')" for i in range(10))
    + " FROM e",
]

FINE = [
    "SELECT company, amount FROM deals WHERE amount > 1e8 AND currency = 'USD' ORDER BY amount DESC LIMIT 3",
    "SELECT investor, COUNT(*) AS n FROM investments GROUP BY investor HAVING n > 3 ORDER BY n DESC;",
    "WITH x AS (SELECT company FROM deals) SELECT COUNT(DISTINCT company) FROM x",
    "SELECT company FROM deals UNION SELECT investor FROM investments ORDER BY 1",
    "SELECT company FROM deals INTERSECT SELECT investor FROM investments",
    "SELECT company FROM deals EXCEPT SELECT investor FROM investments",
    "(SELECT 1)",
    "SELECT c.country, SUM(d.amount) FROM deals d JOIN companies c ON c.company_id = d.company_id GROUP BY 1",
    "SELECT company FROM deals d WHERE EXISTS (SELECT 1 FROM investments i WHERE i.deal_id = d.deal_id)",
    "SELECT company FROM deals NATURAL JOIN documents WHERE writer = 'w1'",
    "SELECT CASE WHEN amount > 1e6 THEN 'large' ELSE 'small' END AS size, COUNT(*) FROM deals GROUP BY size",
    "SELECT strftime('%Y', date), julianday(date) FROM documents",
    "SELECT TOTAL(amount), IFNULL(MAX(amount), 0), ROUND(AVG(amount), 1) FROM deals",
    "SELECT SUBSTR(text, 1, 20) || '...', \"start\", \"end\" FROM mentions WHERE LOWER(text) LIKE '%hooli%'",
    "SELECT company /* ; DROP TABLE deals */ FROM deals -- and so on",
    "SELECT company FROM deals WHERE company = 'Locksmith''s; DROP TABLE deals'",
    "SELECT company, SUM(amount) OVER (PARTITION BY currency ORDER BY amount) FROM deals",
    "SELECT company COLLATE NOCASE FROM deals WHERE currency IN ('USD', 'EUR') AND NOT amount IS NULL",
    "SELECT CAST(amount AS INTEGER) % 7, -amount, ABS(amount) FROM deals WHERE amount BETWEEN 1 AND 5e5",
]


@pytest.mark.parametrize(("kind", "sql"), STATEMENTS, ids=[sql[:60] for _, sql in STATEMENTS])
def test_the_hostile_are_refused_in_a_sentence(connection: sqlite3.Connection, kind: str, sql: str):
    with pytest.raises(StatementRefused) as refused:
        guard.check(sql, sqlite_file.schema_of(connection))
    assert refused.value.kind == kind, refused.value
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)


def test_there_are_at_least_a_hundred():
    assert len({sql for _, sql in STATEMENTS} | set(BOMBS)) >= 150


@pytest.mark.parametrize("sql", [sql for _, sql in STATEMENTS], ids=[sql[:60] for _, sql in STATEMENTS])
def test_the_second_wall_holds_alone(connection: sqlite3.Connection, gold: Path, sql: str):
    """Were the parser fooled, SQLite itself would still write nothing, open nothing and come to an end."""
    before = gold.stat().st_mtime_ns, {path.name for path in gold.parent.iterdir()}
    limits = QueryLimits(seconds=0.3, value=100_000)
    try:
        result = guard.run(connection, sql.removeprefix("EXPLAIN"), limits)
    except StatementRefused:
        pass
    else:
        assert len(result.rows) <= limits.rows
        assert not any("CREATE TABLE" in str(row) or "root:" in str(row) for row in result.rows)
    assert (gold.stat().st_mtime_ns, {path.name for path in gold.parent.iterdir()}) == before
    assert connection.execute("SELECT COUNT(*) FROM deals").fetchone() == (DEALS,)


@pytest.mark.parametrize(
    "table", ["meta", "sqlite_master", "dbstat", "pragma_table_list", "pragma_database_list"]
)
def test_the_second_wall_counts_no_rows_of_hidden_tables(connection: sqlite3.Connection, table: str):
    with pytest.raises(StatementRefused) as refused:
        guard.run(connection, f"SELECT COUNT(*) FROM {table}")
    assert refused.value.kind in ("not authorized", "error")


@pytest.mark.parametrize("sql", LONG_CALLS, ids=["INSTR", "LTRIM", "REPLACE"])
def test_a_call_that_takes_minutes_is_killed(connection: sqlite3.Connection, sql: str):
    with pytest.raises(StatementRefused) as refused:
        guard.run(connection, guard.check(sql, sqlite_file.schema_of(connection)), QueryLimits(seconds=0.3))
    assert refused.value.kind == "time"
    assert guard.run(connection, "SELECT COUNT(*) FROM deals").rows == [(DEALS,)]


@pytest.mark.parametrize("sql", BOMBS, ids=[sql[:60] for sql in BOMBS])
def test_what_takes_for_ever_is_stopped(connection: sqlite3.Connection, sql: str):
    limits = QueryLimits(seconds=0.3)
    with pytest.raises(StatementRefused) as refused:
        guard.run(connection, guard.check(sql, sqlite_file.schema_of(connection)), limits)
    assert refused.value.kind in ("time", "memory", "size")
    # and the connection is of use afterwards
    assert guard.run(connection, "SELECT COUNT(*) FROM deals").rows == [(DEALS,)]


@pytest.mark.parametrize("sql", FINE)
def test_questions_pass(connection: sqlite3.Connection, sql: str):
    guard.run(connection, guard.check(sql, sqlite_file.schema_of(connection)))


def test_what_is_run_are_the_words_of_the_statement(connection: sqlite3.Connection):
    schema = sqlite_file.schema_of(connection)
    assert guard.check("SELECT company /* x */\n FROM deals; -- y", schema) == "SELECT company FROM deals"
    assert guard.check("((select 'a--b', [company]from/**/deals));", schema) == (
        "select 'a--b', [company]from deals"
    )


def test_a_name_in_double_quotes_is_no_text(connection: sqlite3.Connection):
    """SQLite takes it for a text where the tables of the statement have no such column."""
    checked = guard.check('SELECT "investor" FROM deals', sqlite_file.schema_of(connection))
    with pytest.raises(StatementRefused, match="no such column"):
        guard.run(connection, checked)


def test_long_answers_are_cut_and_told(connection: sqlite3.Connection):
    found = guard.run(connection, "SELECT text FROM documents", QueryLimits(rows=10))
    assert (len(found.rows), found.truncated) == (10, True)
    found = guard.run(connection, "SELECT text FROM documents", QueryLimits(characters=1000))
    assert found.truncated
    assert sum(len(text) for (text,) in found.rows) <= 1000
    assert not guard.run(connection, "SELECT company FROM deals LIMIT 10", QueryLimits(rows=10)).truncated


def test_one_value_is_bounded(connection: sqlite3.Connection):
    sql = "SELECT " + " || ".join(["d.text"] * 90) + " FROM documents d"
    with pytest.raises(StatementRefused, match="too large"):
        guard.run(connection, sql, QueryLimits(value=2_000))


# (statement, rows in any order or, where it has an ORDER BY, in that one) on the database `small`.
ANALYSTS: list[tuple[str, list[tuple]]] = [
    (
        "SELECT company, ROW_NUMBER() OVER (ORDER BY amount DESC) AS n FROM deals WHERE amount > 0 "
        "ORDER BY n",
        [("Acme Inc", 1), ("Hooli", 2), ("Hooli", 3)],
    ),
    (
        "SELECT deal_id, RANK() OVER (PARTITION BY currency ORDER BY amount DESC) FROM deals WHERE "
        "amount > 0",
        [("d1", 2), ("d2", 1), ("d3", 1)],
    ),
    (
        "SELECT deal_id, DENSE_RANK() OVER (ORDER BY company) FROM deals",
        [("d1", 2), ("d2", 1), ("d3", 2), ("d4", 3)],
    ),
    (
        "SELECT deal_id, SUM(amount) OVER (ORDER BY deal_id ROWS BETWEEN 1 PRECEDING AND CURRENT "
        "ROW) FROM deals",
        [("d1", 5_000_000), ("d2", 25_000_000), ("d3", 23_000_000), ("d4", 3_000_000)],
    ),
    (
        "SELECT deal_id, SUM(amount) OVER (ORDER BY deal_id ROWS UNBOUNDED PRECEDING) AS total FROM "
        "deals ORDER BY deal_id",
        [("d1", 5_000_000), ("d2", 25_000_000), ("d3", 28_000_000), ("d4", 28_000_000)],
    ),
    (
        "SELECT deal_id, COUNT(*) OVER (ORDER BY company RANGE BETWEEN UNBOUNDED PRECEDING AND "
        "CURRENT ROW) FROM deals",
        [("d1", 3), ("d2", 1), ("d3", 3), ("d4", 4)],
    ),
    (
        "SELECT deal_id, SUM(amount) OVER (ORDER BY deal_id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING "
        "EXCLUDE CURRENT ROW) FROM deals",
        [("d1", 20_000_000), ("d2", 8_000_000), ("d3", 20_000_000), ("d4", 3_000_000)],
    ),
    (
        "SELECT deal_id, COUNT(*) OVER (ORDER BY company GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW) "
        "FROM deals",
        [("d1", 3), ("d2", 1), ("d3", 3), ("d4", 3)],
    ),
    (
        "SELECT deal_id, LAG(amount) OVER w, LEAD(amount, 1, 0) OVER w FROM deals WINDOW w AS (ORDER "
        "BY deal_id)",
        [
            ("d1", None, 20_000_000),
            ("d2", 5_000_000, 3_000_000),
            ("d3", 20_000_000, None),
            ("d4", 3_000_000, 0),
        ],
    ),
    (
        "SELECT DISTINCT FIRST_VALUE(company) OVER (ORDER BY amount DESC), NTH_VALUE(company, 1) "
        "OVER (ORDER BY amount DESC) FROM deals",
        [("Acme Inc", "Acme Inc")],
    ),
    (
        "SELECT deal_id, LAST_VALUE(company) OVER (ORDER BY deal_id ROWS BETWEEN UNBOUNDED PRECEDING "
        "AND UNBOUNDED FOLLOWING) FROM deals WHERE currency = 'USD'",
        [("d1", "Acme Inc"), ("d2", "Acme Inc")],
    ),
    (
        "SELECT deal_id, NTILE(2) OVER (ORDER BY deal_id), PERCENT_RANK() OVER (ORDER BY deal_id) "
        "FROM deals WHERE currency = 'USD'",
        [("d1", 1, 0.0), ("d2", 2, 1.0)],
    ),
    (
        "SELECT deal_id, CUME_DIST() OVER (ORDER BY deal_id) FROM deals",
        [("d1", 0.25), ("d2", 0.5), ("d3", 0.75), ("d4", 1.0)],
    ),
    (
        "SELECT company, SUM(SUM(amount)) OVER () FROM deals WHERE currency = 'USD' GROUP BY company",
        [("Hooli", 25_000_000), ("Acme Inc", 25_000_000)],
    ),
    ("SELECT COUNT(*) FILTER (WHERE currency = 'USD'), COUNT(*) FROM deals", [(2, 4)]),
    (
        "SELECT deal_id, SUM(amount) FILTER (WHERE currency = 'USD') OVER (ORDER BY deal_id) FROM deals",
        [("d1", 5_000_000), ("d2", 25_000_000), ("d3", 25_000_000), ("d4", 25_000_000)],
    ),
    (
        "SELECT GROUP_CONCAT(company, '; ') FROM (SELECT DISTINCT company FROM deals ORDER BY company)",
        [("Acme Inc; Hooli; Velto",)],
    ),
    (
        "SELECT deal_id, GROUP_CONCAT(investor) FROM investments GROUP BY deal_id",
        [("d1", "Basalt"), ("d2", "Basalt,Hooli")],
    ),
    ("SELECT GROUP_CONCAT(DISTINCT writer) FROM documents WHERE writer = 'ann'", [("ann",)]),
    ("SELECT REPLACE(company, ' Inc', '') FROM deals WHERE company LIKE '%Inc'", [("Acme",)]),
    ("SELECT DATE(date, '+1 month') FROM documents WHERE document_id = 't1'", [("2026-02-15",)]),
    (
        "SELECT DATE(date, 'start of month', '+1 month', '-1 day') FROM documents WHERE document_id = 't2'",
        [("2026-02-28",)],
    ),
    ("SELECT document_id FROM documents WHERE date >= DATE('2026-03-01', '-1 month')", [("t2",), ("t3",)]),
    (
        "SELECT STRFTIME('%Y-%m', date) AS month, COUNT(*) FROM documents WHERE date IS NOT NULL "
        "GROUP BY month ORDER BY month",
        [("2026-01", 1), ("2026-02", 2)],
    ),
    ("SELECT STRFTIME('%d', date, '-14 days') FROM documents WHERE document_id = 't1'", [("01",)]),
    (
        "SELECT DATETIME(date, '+6 hours'), TIME(date, '+90 minutes') FROM documents WHERE "
        "document_id = 't1'",
        [("2026-01-15 06:00:00", "01:30:00")],
    ),
    (
        "SELECT CAST(JULIANDAY('2026-02-20') - JULIANDAY(date) AS INTEGER) FROM documents WHERE "
        "document_id = 't1'",
        [(36,)],
    ),
    ("SELECT UNIXEPOCH(date) FROM documents WHERE document_id = 't1'", [(1768435200,)]),
    ("SELECT deal_id FROM deals WHERE currency IS NOT 'USD'", [("d3",), ("d4",)]),
    ("SELECT deal_id FROM deals WHERE currency IS 'EUR'", [("d3",)]),
    ("SELECT deal_id FROM deals WHERE currency IS NOT DISTINCT FROM NULL", [("d4",)]),
    ("SELECT deal_id FROM deals WHERE currency NOTNULL AND company_id ISNULL", []),
    (
        "SELECT deal_id, MAX(amount, 4000000), MIN(amount, 4000000) FROM deals WHERE amount > 0",
        [("d1", 5_000_000, 4_000_000), ("d2", 20_000_000, 4_000_000), ("d3", 4_000_000, 3_000_000)],
    ),
    ("SELECT COUNT(*) FROM deals; -- all of them", [(4,)]),
    ("SELECT COUNT(*) /* how many */ FROM deals -- all\n WHERE currency = 'USD';\n/* done */", [(2,)]),
    ("SELECT deal_id FROM deals WHERE +amount = '5000000'", []),
    ("SELECT deal_id FROM deals WHERE amount = '5000000'", [("d1",)]),
    ("SELECT company FROM deals GROUP BY +1 HAVING COUNT(*) > 1", [("Hooli",)]),
    ("SELECT deal_id FROM deals WHERE amount == 5e6 AND currency != 'EUR'", [("d1",)]),
    ("SELECT deal_id FROM deals ORDER BY deal_id LIMIT 1, 2", [("d2",), ("d3",)]),
    ("SELECT deal_id FROM deals ORDER BY amount DESC NULLS LAST, deal_id LIMIT 1 OFFSET 3", [("d4",)]),
    ("SELECT deal_id FROM deals ORDER BY amount IS NULL, amount", [("d3",), ("d1",), ("d2",), ("d4",)]),
    (
        "SELECT amount / 3, amount / 3.0 > amount / 3, amount % 7 FROM deals WHERE deal_id = 'd1'",
        [(1_666_666, 1, 5)],
    ),
    (
        "SELECT CAST(amount AS REAL) / 1e6, CAST(amount AS VARCHAR(20)), TYPEOF(amount) FROM deals "
        "WHERE deal_id = 'd1'",
        [(5.0, "5000000", "integer")],
    ),
    (
        "SELECT currency, ROUND(100.0 * COUNT(*) / (SELECT COUNT(*) FROM deals), 1) AS share FROM "
        "deals GROUP BY 1",
        [("USD", 50.0), ("EUR", 25.0), (None, 25.0)],
    ),
    (
        "SELECT IIF(amount > 4e6, 'large', 'small'), COALESCE(currency, 'none') FROM deals WHERE "
        "deal_id IN ('d3', 'd4')",
        [("small", "EUR"), ("small", "none")],
    ),
    (
        "SELECT company, TOTAL(amount), AVG(amount) FROM deals GROUP BY company COLLATE NOCASE "
        "HAVING COUNT(*) > 1",
        [("Hooli", 8_000_000.0, 4_000_000.0)],
    ),
    (
        "SELECT deal_id FROM deals WHERE (company, currency) IN (VALUES ('Hooli', 'EUR'), ('Velto', 'USD'))",
        [("d3",)],
    ),
    (
        "WITH big(name, money) AS (SELECT company, amount FROM deals WHERE amount > 4e6) SELECT name "
        "FROM big ORDER BY money DESC",
        [("Acme Inc",), ("Hooli",)],
    ),
    (
        "WITH t AS MATERIALIZED (SELECT investor, COUNT(*) AS n FROM investments GROUP BY investor), "
        "m AS (SELECT MAX(n) AS n FROM t) SELECT investor FROM t JOIN m USING (n)",
        [("Basalt",)],
    ),
    (
        "SELECT d.company, c.country FROM deals AS d LEFT JOIN companies AS c ON c.company_id = "
        "d.company_id WHERE d.document_id = 't3'",
        [("Hooli", "US"), ("Velto", None)],
    ),
    (
        "SELECT company FROM deals d WHERE NOT EXISTS (SELECT 1 FROM investments i WHERE i.deal_id = "
        "d.deal_id)",
        [("Hooli",), ("Velto",)],
    ),
    (
        "SELECT company FROM deals UNION ALL SELECT investor FROM investments",
        [("Hooli",), ("Acme Inc",), ("Hooli",), ("Velto",), ("Basalt",), ("Basalt",), ("Hooli",)],
    ),
    (
        "SELECT company AS \"the company\", amount AS 'how much' FROM deals WHERE deal_id = 'd1'",
        [("Hooli", 5_000_000)],
    ),
    (
        "SELECT SUBSTR(text, 1, 5), INSTR(text, '$'), LENGTH(text), UPPER(writer) FROM documents "
        "WHERE document_id = 't1'",
        [("Hooli", 14, 17, "ANN")],
    ),
    (
        "SELECT CASE currency WHEN 'USD' THEN 'dollar' ELSE 'other' END AS unit, SUM(amount) FROM "
        "deals GROUP BY unit ORDER BY unit",
        [("dollar", 25_000_000), ("other", 3_000_000)],
    ),
    (
        "SELECT LOG10(100), SQRT(16), POWER(2, 3), FLOOR(1.5), CEIL(1.5), SIGN(-3)",
        [(2.0, 4.0, 8.0, 1.0, 2.0, -1)],
    ),
    ("SELECT 'it''s; -- no comment' FROM deals WHERE deal_id = 'd1'", [("it's; -- no comment",)]),
    ("((SELECT MAX(amount) FROM deals))", [(20_000_000,)]),
]


def test_there_are_at_least_fifty_statements_of_analysts():
    assert len({sql for sql, _ in ANALYSTS}) >= 50


@pytest.mark.parametrize(("sql", "rows"), ANALYSTS, ids=[sql[:80] for sql, _ in ANALYSTS])
def test_what_analysts_write_gives_the_right_rows(small: sqlite3.Connection, sql: str, rows: list[tuple]):
    found = guard.run(small, guard.check(sql, sqlite_file.schema_of(small))).rows
    if "ORDER BY" not in sql.rpartition(")")[2]:
        found, rows = sorted(found, key=repr), sorted(rows, key=repr)
    assert found == rows


def test_a_statement_that_takes_too_long_is_killed_and_the_next_one_runs(connection: sqlite3.Connection):
    workers = sql_workers.SqlWorkerPool(most=1)
    options = {"tables": ["deals"], "functions": guard.CALLED, "maxima": {}}
    (path,) = (row[2] for row in connection.execute("PRAGMA database_list"))
    counted = ("SELECT COUNT(*) FROM deals", QueryLimits())
    workers.run(path, *counted, **options)
    (first,) = workers._idle
    with pytest.raises(StatementRefused) as refused:
        workers.run(path, LONG_CALLS[1], QueryLimits(seconds=0.2), **options)
    assert refused.value.kind == "time"
    assert first.process.returncode == -signal.SIGKILL
    assert workers.run(path, *counted, **options).rows == [(DEALS,)]
    (second,) = workers._idle
    assert workers.run(path, *counted, **options).rows == [(DEALS,)]
    assert workers._idle == [second], "a process is reused"
    workers.stop()
    assert second.process.returncode == -signal.SIGKILL


def test_at_most_two_run_at_a_time_and_all_can_be_ended(connection: sqlite3.Connection):
    workers = sql_workers.SqlWorkerPool(most=2)
    options = {"tables": ["deals"], "functions": guard.CALLED, "maxima": {}}
    (path,) = (row[2] for row in connection.execute("PRAGMA database_list"))
    with ThreadPoolExecutor(2) as pool:
        running = [
            pool.submit(workers.run, path, LONG_CALLS[1], QueryLimits(seconds=600), **options) for _ in "ab"
        ]
        while len(workers._busy) < 2:
            sleep(0.01)
        with pytest.raises(StatementRefused) as refused:
            workers.run(path, "SELECT 1", QueryLimits(seconds=0.1), **options)
        assert refused.value.kind == "busy"
        workers.stop()
        assert [future.exception().kind for future in running] == ["stopped"] * 2
    with pytest.raises(StatementRefused, match="No more statements"):
        workers.run(path, "SELECT 1", QueryLimits(), **options)


def test_processes_end_with_their_parent_even_if_it_is_killed(gold: Path):
    """In the middle of a call inside SQLite."""
    script = (
        "import sys, threading, time; from ie.database import guard, sql_workers\n"
        "workers = sql_workers.SqlWorkerPool()\n"
        f"options = {{'tables': [], 'functions': guard.CALLED, 'maxima': {{}}}}\n"
        f"run = lambda sql: workers.run({str(gold)!r}, sql,"
        f" sql_workers.QueryLimits(seconds=600), **options)\n"
        "run('SELECT 1'); (worker,) = workers._idle\n"
        f"threading.Thread(target=run, args=({LONG_CALLS[1]!r},), daemon=True).start()\n"
        "print(worker.process.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "scripts")},
    )  # fmt: skip
    with parent.stdout:
        worker = psutil.Process(int(parent.stdout.readline()))
        # it has begun when it has used time
        before = worker.cpu_times().user
        while worker.cpu_times().user < before + 0.2:
            sleep(0.01)
        parent.kill()
        parent.wait()
    worker.wait(60)

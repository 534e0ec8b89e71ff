import sqlite3
import time
from pathlib import Path

import pytest

from ie.database import guard, reading
from ie.database.guard import Limits, Refused

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
        "SELECT replace(text, 'a', text) FROM documents",
        "SELECT group_concat(text) FROM documents",
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
        "SELECT row_number() OVER () FROM deals",
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
    "SELECT COUNT(*) FROM documents a, documents b WHERE a.text || b.text LIKE '%a%b%c%d%e%f%g%h%z%z%z%q%'",
    "SELECT SUM(amount) OVER (ORDER BY a.text) FROM mentions a, documents b, documents c",
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
    with pytest.raises(Refused) as refused:
        guard.check(sql, reading.schema_of(connection))
    assert refused.value.kind == kind, refused.value
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)


def test_there_are_at_least_a_hundred():
    assert len({sql for _, sql in STATEMENTS} | set(BOMBS)) >= 150


@pytest.mark.parametrize("sql", [sql for _, sql in STATEMENTS], ids=[sql[:60] for _, sql in STATEMENTS])
def test_the_second_wall_holds_alone(connection: sqlite3.Connection, gold: Path, sql: str):
    """Were the parser fooled, SQLite itself would still write nothing, open nothing and come to an end."""
    before = gold.stat().st_mtime_ns, {path.name for path in gold.parent.iterdir()}
    limits = Limits(seconds=0.3, value=100_000)
    begun = time.monotonic()
    try:
        result = guard.run(connection, sql.removeprefix("EXPLAIN"), limits)
    except Refused:
        pass
    else:
        assert len(result.rows) <= limits.rows
        assert not any("CREATE TABLE" in str(row) or "root:" in str(row) for row in result.rows)
    assert time.monotonic() - begun < 30
    assert (gold.stat().st_mtime_ns, {path.name for path in gold.parent.iterdir()}) == before
    assert connection.execute("SELECT COUNT(*) FROM deals").fetchone() == (765,)


@pytest.mark.parametrize("sql", BOMBS, ids=[sql[:60] for sql in BOMBS])
def test_what_takes_for_ever_is_stopped(connection: sqlite3.Connection, sql: str):
    limits = Limits(seconds=0.3)
    with pytest.raises(Refused) as refused:
        guard.run(connection, guard.check(sql, reading.schema_of(connection)), limits)
    assert refused.value.kind in ("time", "memory", "size")
    # and the connection is of use afterwards
    assert guard.run(connection, "SELECT COUNT(*) FROM deals").rows == [(765,)]


@pytest.mark.parametrize("sql", FINE)
def test_questions_pass(connection: sqlite3.Connection, sql: str):
    guard.run(connection, guard.check(sql, reading.schema_of(connection)))


def test_what_is_run_is_what_was_understood(connection: sqlite3.Connection):
    checked = guard.check("SELECT company /* x */ FROM deals -- y", reading.schema_of(connection))
    assert checked == "SELECT company FROM deals"


def test_long_answers_are_cut_and_told(connection: sqlite3.Connection):
    found = guard.run(connection, "SELECT text FROM documents", Limits(rows=10))
    assert (len(found.rows), found.truncated) == (10, True)
    found = guard.run(connection, "SELECT text FROM documents", Limits(characters=1000))
    assert found.truncated
    assert sum(len(text) for (text,) in found.rows) <= 1000
    assert not guard.run(connection, "SELECT company FROM deals LIMIT 10", Limits(rows=10)).truncated


def test_one_value_is_bounded(connection: sqlite3.Connection):
    sql = "SELECT " + " || ".join(["d.text"] * 90) + " FROM documents d"
    with pytest.raises(Refused, match="too large"):
        guard.run(connection, sql, Limits(value=2_000))

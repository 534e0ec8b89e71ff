"""Which sentences are shown beside an answer, on the database `small`."""

import sqlite3

import pytest

from ie.database import evidence, guard, sqlite_file

NONE: set[str] = set()
# (statement, the documents that its first rows rest on; none where that can't be told)
RESTS_ON = [
    # groups by name, alias, number, qualified on one side or the other
    ("SELECT currency, COUNT(*) FROM deals GROUP BY currency HAVING COUNT(*) > 1", {"t1", "t2"}),
    ("SELECT currency AS c, COUNT(*) FROM deals GROUP BY c HAVING COUNT(*) > 1", {"t1", "t2"}),
    ("SELECT currency, COUNT(*) FROM deals GROUP BY 1 HAVING COUNT(*) > 1", {"t1", "t2"}),
    ("SELECT currency, COUNT(*) FROM deals GROUP BY (1) HAVING COUNT(*) > 1", {"t1", "t2"}),
    ("SELECT d.currency, COUNT(*) FROM deals d GROUP BY currency HAVING COUNT(*) > 1", {"t1", "t2"}),
    ("SELECT currency, COUNT(*) FROM deals d GROUP BY d.currency HAVING COUNT(*) > 1", {"t1", "t2"}),
    ('SELECT CURRENCY, COUNT(*) FROM deals GROUP BY "currency" HAVING COUNT(*) > 1', {"t1", "t2"}),
    (
        "SELECT currency unit, SUM(amount) total FROM deals GROUP BY unit ORDER BY total DESC LIMIT 1",
        {"t1", "t2"},
    ),
    ("SELECT UPPER(company) AS c, COUNT(*) FROM deals GROUP BY c HAVING COUNT(*) > 1", {"t1", "t3"}),
    ("SELECT COUNT(*) FROM deals GROUP BY UPPER(company) HAVING COUNT(*) > 1", {"t1", "t3"}),
    # a column comes before an alias of the same name
    ("SELECT company AS currency, COUNT(*) FROM deals GROUP BY currency HAVING COUNT(*) > 1", {"t1", "t2"}),
    # what is grouped by needn't be shown
    ("SELECT COUNT(*) FROM deals GROUP BY currency HAVING COUNT(*) > 1", {"t1", "t2"}),
    ("SELECT SUM(amount) FROM deals GROUP BY company ORDER BY 1 DESC LIMIT 1", {"t2"}),
    # the groups that are shown, not all that share a value with one of them
    (
        "SELECT company, currency, COUNT(*) FROM deals WHERE currency IS NOT NULL GROUP BY 1, 2 "
        "HAVING SUM(amount) IN (20000000, 3000000)",
        {"t2", "t3"},
    ),
    ("SELECT company, currency FROM deals GROUP BY company, currency HAVING MAX(amount) = 5000000", {"t1"}),
    ("SELECT currency, COUNT(*) FROM deals GROUP BY currency HAVING SUM(amount) IS NULL", {"t3"}),
    ("SELECT category, COUNT(*) FROM documents GROUP BY category", {"t1", "t2", "t3", "t4"}),
    (
        "SELECT company, COUNT(*) FROM deals GROUP BY LOWER(company) COLLATE NOCASE HAVING COUNT(*) > 1",
        {"t1", "t3"},
    ),
    # an expression with an alias in it can't be asked for
    ("SELECT company AS c, COUNT(*) FROM deals GROUP BY UPPER(c)", NONE),
    # all rows, or those with the one MAX
    ("SELECT COUNT(*) FROM deals WHERE company = 'Hooli'", {"t1", "t3"}),
    ("SELECT SUM(amount) FROM deals WHERE currency = 'USD'", {"t1", "t2"}),
    ("SELECT company, MAX(amount) FROM deals", {"t2"}),
    ("SELECT company, MIN(amount) AS least FROM deals GROUP BY company HAVING least > 0", {"t2", "t3"}),
    ("SELECT MAX(amount), MIN(amount) FROM deals WHERE currency = 'USD'", {"t1", "t2"}),
    ("SELECT TOTAL(amount) FROM deals WHERE currency = 'EUR'", {"t3"}),
    ("SELECT ROUND(MAX(amount, 6000000)) FROM deals WHERE deal_id = 'd1'", {"t1"}),
    ("SELECT COUNT(*) FILTER (WHERE currency = 'EUR') FROM deals", NONE),
    # rows in the order of a number or an alias, cut by LIMIT
    ("SELECT deal_id, amount FROM deals ORDER BY 2 DESC LIMIT 1", {"t2"}),
    (
        "SELECT deal_id, -amount AS amount FROM deals WHERE deals.amount > 0 ORDER BY amount DESC LIMIT 1",
        {"t3"},
    ),
    ("SELECT deal_id FROM deals ORDER BY deal_id LIMIT 1 OFFSET 1", {"t2"}),
    ("SELECT * FROM deals ORDER BY 6 DESC LIMIT 1", {"t2"}),
    ("SELECT company, (SELECT COUNT(*) FROM investments) FROM deals ORDER BY amount DESC LIMIT 1", {"t2"}),
    ("SELECT deal_id, SUM(amount) OVER (ORDER BY deal_id) FROM deals ORDER BY deal_id LIMIT 1", {"t1"}),
    ("SELECT DISTINCT company FROM deals ORDER BY company LIMIT 1 OFFSET 1", {"t1", "t3"}),
    ("SELECT DISTINCT company AS c FROM deals ORDER BY c DESC LIMIT 1", {"t3"}),
    ("SELECT DISTINCT * FROM deals", NONE),
    # what sqlglot writes with another meaning: it drops the plus
    ("SELECT deal_id FROM deals WHERE +amount = '5000000' OR deal_id = 'd2'", NONE),
    ("SELECT COUNT(*) FROM deals WHERE +amount = '5000000' OR deal_id = 'd2'", NONE),
    ("SELECT COUNT(*) FROM deals WHERE currency IS DISTINCT FROM 'USD' OR deal_id = 'd2'", {"t2", "t3"}),
    # joins, WITH, and what can't be told
    (
        "SELECT d.company, i.investor FROM deals d JOIN investments i ON i.deal_id = d.deal_id "
        "WHERE i.investor = 'Hooli'",
        {"t2"},
    ),
    (
        "SELECT COUNT(*) FROM Deals AS d, companies c WHERE c.company_id = d.company_id AND country = 'NO'",
        {"t2"},
    ),
    (
        "WITH m AS (SELECT MAX(amount) AS n FROM deals) SELECT company FROM deals WHERE amount = "
        "(SELECT n FROM m)",
        {"t2"},
    ),
    ("WITH deals AS (SELECT 'x' AS document_id, 1 AS company) SELECT company FROM deals", NONE),
    ("SELECT c FROM (SELECT company AS c FROM deals)", NONE),
    ("SELECT company FROM deals UNION SELECT investor FROM investments", NONE),
    ("SELECT name FROM companies", NONE),
    ("SELECT 'x' AS source_document FROM deals", NONE),
    ("SELECT 1", NONE),
]


@pytest.mark.parametrize(("sql", "documents"), RESTS_ON, ids=[sql for sql, _ in RESTS_ON])
def test_the_sentences_are_those_of_the_rows_that_are_shown(
    small: sqlite3.Connection, sql: str, documents: set[str]
):
    schema, limits = sqlite_file.schema_of(small), guard.QueryLimits()
    checked = guard.check(sql, schema)
    result = guard.run(small, checked, limits)
    assert result.rows
    found = evidence.sources(small, checked, schema, result, 5, limits)
    assert {source.document_id for source in found} == documents


def test_a_sentence_has_its_place_in_the_text(small: sqlite3.Connection):
    schema, limits = sqlite_file.schema_of(small), guard.QueryLimits()
    result = guard.run(small, "SELECT company FROM deals WHERE deal_id = 'd1'", limits)
    (found,) = evidence.sources(
        small, "SELECT company FROM deals WHERE deal_id = 'd1'", schema, result, 5, limits
    )
    assert found == evidence.SourceText("t1", "Hooli raised $5m.", 0, 17)


def test_only_so_many_are_shown(small: sqlite3.Connection):
    schema, limits = sqlite_file.schema_of(small), guard.QueryLimits()
    for sql in ("SELECT document_id FROM documents", "SELECT writer, COUNT(*) FROM documents GROUP BY 1"):
        result = guard.run(small, sql, limits)
        assert len(evidence.sources(small, sql, schema, result, 2, limits)) == 2

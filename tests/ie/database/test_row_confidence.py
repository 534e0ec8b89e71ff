"""How sure the rows of an answer are, on the database `small`."""

import sqlite3
from pathlib import Path

import pytest

from ie.core.errors import UserError
from ie.core.files import write_json
from ie.database import guard, row_confidence, sqlite_file
from ie.database.row_confidence import ResultConfidence, RowConfidence, UnreadThreshold

FROM_90 = UnreadThreshold(0.9, 0.95, of_rows=True)
# (statement, confidence of each row)
ROWS = [
    ("SELECT deal_id FROM deals ORDER BY deal_id", [0.9, 0.6, 0.95, None]),
    ("SELECT deal_id AS d, amount FROM deals ORDER BY 2 DESC LIMIT 2", [0.6, 0.9]),
    ("SELECT d.confidence FROM deals d WHERE d.amount > 4000000 ORDER BY 1", [0.6, 0.9]),
    # what is joined is as sure as its least sure part
    ("SELECT investor FROM investments JOIN deals USING (deal_id) ORDER BY investment_id", [0.8, 0.6, 0.5]),
    ("SELECT d.deal_id FROM deals d JOIN companies c ON c.company_id = d.company_id WHERE name = 'Hooli' "
     "ORDER BY 1", [0.9, 0.95]),
    # no investor was found: that isn't wrong
    ("SELECT d.deal_id, investor FROM deals d LEFT JOIN investments i ON i.deal_id = d.deal_id "
     "WHERE d.currency = 'EUR'", [0.95]),
    # the surest row that says it
    ("SELECT DISTINCT company FROM deals ORDER BY company DESC", [None, 0.95, 0.6]),
    ("SELECT DISTINCT investor AS who FROM investments ORDER BY who", [0.8, 0.5]),
    # the row with the one MAX or MIN
    ("SELECT company, MAX(amount) FROM deals", [0.6]),
    ("SELECT currency, MIN(amount) FROM deals WHERE currency > '' GROUP BY 1 ORDER BY 1", [0.95, 0.9]),
    # a mean of the rows that are counted
    ("SELECT COUNT(*) FROM deals WHERE currency = 'USD'", [0.75]),
    ("SELECT company, COUNT(*) AS n FROM deals GROUP BY company HAVING n > 1", [0.925]),
    ("WITH m AS (SELECT MAX(amount) AS n FROM deals) SELECT company FROM deals WHERE amount = "
     "(SELECT n FROM m)", [0.6]),
]  # fmt: skip
UNKNOWN = [
    "SELECT name FROM companies",
    "SELECT COUNT(*) FROM documents",
    "SELECT 1",
    "SELECT c FROM (SELECT company AS c FROM deals)",
    "WITH deals AS (SELECT 1 AS company) SELECT company FROM deals",
    "SELECT company FROM deals UNION SELECT investor FROM investments",
    "SELECT DISTINCT * FROM deals",
    # sqlglot drops the plus, and then there are two rows
    "SELECT deal_id FROM deals WHERE +amount = '5000000' OR deal_id = 'd2'",
]


def confidence_of(
    connection: sqlite3.Connection, sql: str, threshold: UnreadThreshold | None = FROM_90
) -> ResultConfidence | None:
    schema, limits = sqlite_file.schema_of(connection), guard.QueryLimits()
    checked = guard.check(sql, schema)
    result = guard.run(connection, checked, limits)
    return row_confidence.of_result(connection, checked, schema, result, threshold, limits)


@pytest.mark.parametrize(("sql", "expected"), ROWS, ids=[sql for sql, _ in ROWS])
def test_a_row_is_as_sure_as_the_table_rows_behind_it(
    small: sqlite3.Connection, sql: str, expected: list[float | None]
):
    found = confidence_of(small, sql)
    assert found is not None
    assert [row.confidence for row in found.rows] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("sql", UNKNOWN)
def test_unknown_where_it_cannot_be_followed(small: sqlite3.Connection, sql: str):
    assert confidence_of(small, sql) is None


def test_a_sum_says_which_part_of_it_can_go_unread(small: sqlite3.Connection):
    found = confidence_of(small, "SELECT SUM(amount), COUNT(*) FROM deals")
    # d1 and d3 of 4 rows, 8 of 28 million; d4 has no confidence
    assert found.rows == [RowConfidence(pytest.approx(0.8167, abs=1e-4), 4, 2, pytest.approx(8 / 28))]
    assert found.sentence() == (
        "2 of 4 rows (50 %) behind this answer, with 28 % of the sum, can go unread: their confidence is "
        "0.90 or more, and accept promised that 95 % of such rows are right."
    )
    by_currency = confidence_of(small, "SELECT currency, SUM(amount) FROM deals GROUP BY 1 ORDER BY 1")
    assert [(row.rows, row.unread, row.amount) for row in by_currency.rows] == [
        (1, 0, None),
        (1, 1, 1.0),
        (2, 1, 0.2),
    ]


def test_the_sentence_says_what_is_missing(small: sqlite3.Connection):
    rows = "SELECT deal_id FROM deals WHERE amount > 0"
    assert confidence_of(small, rows).sentence().startswith("2 of 3 rows (66 %) can go unread")
    assert confidence_of(small, rows, None).sentence() == row_confidence.NO_THRESHOLD
    entities = confidence_of(small, rows, UnreadThreshold(0.9, 0.95)).sentence()
    assert entities.startswith("2 of 3 rows (66 %) have a confidence of 0.90 or more.")
    assert entities.endswith("95 % of the entities are right; of rows it promised nothing.")
    velto = confidence_of(small, "SELECT COUNT(*) FROM deals WHERE company = 'Velto'")
    assert velto.sentence() == row_confidence.NOT_CALIBRATED
    nobody = confidence_of(small, "SELECT COUNT(*) FROM deals WHERE company = 'Nobody'")
    assert nobody.sentence() == row_confidence.NO_ROWS


def test_the_threshold_is_that_of_accept(tmp_path: Path):
    path = tmp_path / "accept.json"
    assert row_confidence.read_threshold(path) is None
    accepted = {"target": 0.95, "threshold": {"confidence": 0.9, "right": 80}}
    write_json(path, accepted)
    assert row_confidence.read_threshold(path) == UnreadThreshold(0.9, 0.95)
    write_json(path, accepted | {"unit": "rows"})
    assert row_confidence.read_threshold(path) == FROM_90
    path.write_text("{")
    with pytest.raises(UserError, match="run `weasel run accept` again"):
        row_confidence.read_threshold(path)

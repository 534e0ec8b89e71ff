"""JSON is written in one place, and holds neither NaN nor Infinity, which other programs refuse to read."""

import ast
import json
import math

import pytest
import srsly
from running import ROOT

from ie.errors import UserError
from ie.files import finite, json_text, write_json
from ie.records import Record, write_records

ODD = [math.nan, math.inf, -math.inf, 1e400]


@pytest.mark.parametrize("number", ODD)
def test_no_json_holds_nan_or_infinity(tmp_path, number):
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text({"a": [number]}, allow_nan=True)
    write_json(tmp_path / "metrics.json", {"f": (number, 0.5), "by label": {"A": number}, "é": 1})
    text = (tmp_path / "metrics.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"f": [None, 0.5], "by label": {"A": None}, "é": 1}
    assert "é" in text


@pytest.mark.parametrize("number", ODD)
def test_a_record_with_one_is_refused_and_the_old_file_stays(tmp_path, number):
    path = tmp_path / "records.jsonl"
    write_records(path, [Record(text="Hooli")])
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"record 'seven'.*NaN or infinite"):
        write_records(path, [Record(text="Acme", meta={"id": "seven", "score": {"a": [number]}})])
    assert path.read_bytes() == before


def test_numbers_that_can_be_written_stay_as_they_are():
    value = {"a": [1, 0.1, "NaN", None, True, {"b": (1e308, -0.0)}]}
    assert json_text(finite(value)) == json_text(value)


def test_nothing_else_writes_json():
    """`json.dump` would write NaN; srsly, which components use as they import nothing of ours, refuses it."""
    with pytest.raises(OverflowError):
        srsly.json_dumps({"a": math.nan})
    # the fake endpoint sends whatever a test wants
    allowed = {ROOT / "scripts/ie/files.py", ROOT / "scripts/ie/llm/stub.py"}
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "scripts").rglob("*.py"))
        if path not in allowed
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Attribute) and ast.unparse(node) in ("json.dump", "json.dumps"))
        or (isinstance(node, ast.ImportFrom) and node.module == "json")
    ]
    assert not found

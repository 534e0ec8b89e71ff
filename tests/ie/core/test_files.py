"""JSON is written in one place, and holds neither NaN nor Infinity, which other programs refuse to read."""

import ast
import json
import math
import os
import shutil
import subprocess
import sys

import pytest
import srsly
from running import ROOT

from ie.core.errors import UserError
from ie.core.files import finite, hash_code, json_text, write_files, write_json
from ie.data.records import Record, write_records

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


def test_files_are_written_by_what_they_hold(tmp_path):
    write_files(tmp_path / "new", {"a.png": b"\x89PNG", "a.html": "<p>é", "a.json": {"f": math.nan}})
    contents = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    assert contents == {
        "a.png": b"\x89PNG",
        "a.html": "<p>é".encode(),
        "a.json": b'{\n  "f": null\n}\n',
    }


def test_numbers_that_can_be_written_stay_as_they_are():
    value = {"a": [1, 0.1, "NaN", None, True, {"b": (1e308, -0.0)}]}
    assert json_text(finite(value)) == json_text(value)


def test_nothing_else_writes_json():
    """`json.dump` would write NaN; srsly, which components use as they import nothing of ours, refuses it."""
    with pytest.raises(OverflowError):
        srsly.json_dumps({"a": math.nan})
    # The others write from process to process of ours, and no file.
    between_processes = ("database/sql_workers.py", "data/documents/process.py", "data/documents/worker.py")
    allowed = {ROOT / "scripts/ie" / name for name in ("core/files.py", *between_processes)}
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "scripts").rglob("*.py"))
        if path not in allowed
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Attribute) and ast.unparse(node) in ("json.dump", "json.dumps"))
        or (isinstance(node, ast.ImportFrom) and node.module == "json")
    ]
    assert not found


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of our code under another name, and the hash of it as a new process would compute it."""
    name = f"copy{len(str(tmp_path))}{tmp_path.name}".replace("-", "_").replace(".", "_")
    shutil.copytree(ROOT / "scripts" / "ie", tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / name, lambda *inside: hash_code.__wrapped__(*(inside or (name,)))


def test_a_command_that_was_started_directly_leaves_no_compiled_modules(package):
    """weasel hashes them with the folders that commands depend on; so commands would run again."""
    folder, _ = package
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    code = f"import {folder.name}.core.errors"
    subprocess.run([sys.executable, "-c", code], cwd=folder.parent, env=environment, check=True)
    # That of the package itself is written before its code runs, and then stays the same.
    assert [path.parent.parent for path in folder.rglob("*.pyc")] == [folder]


def test_an_edit_of_any_module_changes_the_hash_of_the_code(package):
    folder, hashed = package
    modules = sorted(folder.rglob("*.py"))
    assert len(modules) > 50
    seen = {hashed()}
    for number, path in enumerate(modules, 1):
        path.write_text(path.read_text(encoding="utf-8") + "\n# edited\n", encoding="utf-8")
        seen.add(hashed())
        assert len(seen) == number + 1, path


def test_a_module_more_or_elsewhere_and_data_change_the_hash_of_the_code(package):
    folder, hashed = package
    seen = [hashed()]
    for change in (
        lambda: (folder / "new.py").write_text(""),
        lambda: (folder / "new.py").rename(folder / "llm" / "new.py"),
        lambda: (folder / "table.json").write_text("{}"),
    ):
        change()
        seen.append(hashed())
    assert len(set(seen)) == 4


def test_pages_and_compiled_files_do_not_change_the_hash_of_the_code(package):
    folder, hashed = package
    before = hashed()
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "files.cpython-311.pyc").write_bytes(b"x")
    (folder / "review" / "static" / "page.html").write_text("other")
    (folder / "reports" / "templates" / "report.html.j2").write_text("other")
    assert hashed() == before


def test_the_code_of_packages_inside_a_package(package):
    folder, hashed = package
    inside = f"{folder.name}.llm", f"{folder.name}.review"
    before = hashed(*inside)
    (folder / "data" / "records.py").write_text("")
    assert hashed(*inside) == before
    (folder / "llm" / "tasks.py").write_text("")
    assert hashed(*inside) != before
    with pytest.raises(ModuleNotFoundError, match="no package is called"):
        hashed(f"{folder.name}.training_")

"""Imports go one way: a package imports packages of the rows above it, and itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import ROOT

# Packages of one row don't import each other.
ROWS = (
    {"core"},
    {"data"},
    {"llm", "evaluation"},
    {"reports"},
    {"training"},
    {"diagnosis", "review", "database", "deploy", "setup"},
)
SCRIPTS = ROOT / "scripts"
ROW = {package: number for number, row in enumerate(ROWS) for package in row}


def imports(path: Path) -> Iterator[str]:
    """Dotted names of what a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_each_package_has_a_row() -> None:
    packages = {path.parent.name for path in (SCRIPTS / "ie").glob("*/__init__.py")}
    assert packages == set(ROW)
    assert [path.name for path in (SCRIPTS / "ie").glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("package", ROW)
def test_a_package_imports_those_of_rows_above_it(package: str) -> None:
    for path in sorted((SCRIPTS / "ie" / package).rglob("*.py")):
        for name in imports(path):
            if name.startswith("ie."):
                imported = name.split(".")[1]
                assert imported == package or ROW[imported] < ROW[package], f"{path}: imports {name}"


def test_components_import_nothing_of_ours() -> None:
    commands = {path.stem for path in SCRIPTS.glob("*.py")}
    for path in sorted((SCRIPTS / "components").rglob("*.py")):
        ours = {name for name in imports(path) if name.split(".")[0] in {"ie", *commands}}
        assert not ours, path


def test_nothing_imports_tests_or_benchmarks() -> None:
    modules = {path.stem for path in (ROOT / "tests").iterdir() if path.suffix in ("", ".py")} - {"ie"}
    for path in sorted(SCRIPTS.rglob("*.py")):
        names = {name.split(".")[0] for name in imports(path)}
        assert not names & (modules - {"components"}), path

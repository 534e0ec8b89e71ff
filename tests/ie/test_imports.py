"""Imports go one way, and keys of stored results hash all code that is imported for them."""

import ast
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from running import ROOT

SCRIPTS = ROOT / "scripts"
# A package imports packages of the rows above its own, and itself.
ROWS = (
    {"core"},
    {"data"},
    {"reports"},
    {"llm", "evaluation"},
    {"training"},
    {"diagnosis", "review", "database", "deploy", "setup", "status"},
)
ROW = {package: number for number, row in enumerate(ROWS) for package in row}


def file_of(module: str) -> Path | None:
    """The file of one of our modules or packages."""
    path = SCRIPTS.joinpath(*module.split("."))
    files = path.with_suffix(".py"), path / "__init__.py"
    return next((file for file in files if file.is_file()), None)


@cache
def imports(path: Path) -> frozenset[str]:
    """Names of what a file imports, at the top or in a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{name.name}" for name in node.names}
    return frozenset(names)


def imported_modules(module: str) -> Iterator[str]:
    """Our modules that are imported with this one, itself included."""
    seen, left = set(), [module]
    while left:
        name = left.pop()
        # a class or function of a module
        name = name if file_of(name) else name.rpartition(".")[0]
        if name not in seen and file_of(name):
            seen.add(name)
            left += imports(file_of(name))
            yield name


def test_every_package_has_a_row() -> None:
    assert {path.parent.name for path in (SCRIPTS / "ie").glob("*/__init__.py")} == set(ROW)
    assert [path.name for path in (SCRIPTS / "ie").glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("package", sorted(ROW))
def test_a_package_imports_packages_of_rows_above_its_own(package: str) -> None:
    for path in sorted((SCRIPTS / "ie" / package).rglob("*.py")):
        for name in imports(path):
            if name.startswith("ie."):
                imported = name.split(".")[1]
                assert imported == package or ROW[imported] < ROW[package], f"{path} imports {name}"


def test_components_import_nothing_of_ours() -> None:
    ours = {"ie", *(path.stem for path in SCRIPTS.glob("*.py"))}
    for path in sorted((SCRIPTS / "components").rglob("*.py")):
        assert not {name.split(".")[0] for name in imports(path)} & ours, path


def test_nothing_imports_tests_or_benchmarks() -> None:
    tests = {path.stem for path in (ROOT / "tests").iterdir()} - {"ie", "components"}
    for path in sorted(SCRIPTS.rglob("*.py")):
        assert not {name.split(".")[0] for name in imports(path)} & tests, path


@pytest.mark.parametrize(
    "module",
    [
        "ie.training.jobs",
        "ie.training.distill.distillation",
        "ie.training.variants.variant_comparison",
        "ie.deploy.apply.pipeline_worker",
        "ie.deploy.apply.llm_worker",
    ],
)
def test_keys_of_stored_results_hash_all_code_that_is_imported(module: str) -> None:
    code = import_module(module if "apply" in module else "ie.training.jobs").CODE
    needed = set(imported_modules(module)) - {"ie"}
    assert len(needed) > 10
    assert {
        name for name in needed if not any(f"{name}.".startswith(f"{package}.") for package in code)
    } == set()

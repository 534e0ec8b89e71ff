"""README and pages name only commands, vars, options, files and links that exist."""

import re
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import srsly
import typer
from running import BENCHMARKS, ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "AGENTS.md",
    ROOT / ".github" / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
MADE = ("corpus/", "training/", "packages/", "database/", "assets/annotators", "assets/review-log")
# Pages say of it that `init` removes it.
DEMO = ("tests/demo",)
ROOMS = ("assets/", "configs/", "scripts/", "tests/", "requirements/", ".github/")


def names(project: Path) -> set[str]:
    """Commands and workflows of a project file."""
    content = srsly.read_yaml(project)
    return {command["name"] for command in content["commands"]} | set(content.get("workflows", {}))


def anchors(page: Path) -> set[str]:
    """What links to a part of a page may name, as GitHub makes it from the headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@cache
def options(name: str) -> frozenset[str]:
    """The options of a script, of the project or of the benchmarks."""
    script = ROOT / "scripts" / f"{name}.py"
    spec = spec_from_file_location(name, script if script.exists() else BENCHMARKS / f"{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    app = typer.Typer(add_completion=False)
    app.command()(module.main)
    parameters = typer.main.get_command(app).params
    return frozenset({"--help"}.union(*([*option.opts, *option.secondary_opts] for option in parameters)))


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def page(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_commands_and_vars_exist(page: Path):
    text = page.read_text(encoding="utf-8")
    project = ROOT / "project.yml"
    benchmarks = ROOT / "tests" / "benchmarks" / "project.yml"
    for name, benchmark in re.findall(r"weasel run ([a-z][a-z0-9-]*)( tests/benchmarks)?", text):
        assert name in names(benchmarks if benchmark else project), name
    assert set(re.findall(r"(?:--|`)vars\.(\w+)", text)) <= set(srsly.read_yaml(project)["vars"])


def test_options_of_scripts_exist(page: Path):
    calls = r"python (?:scripts/|tests/benchmarks/run\.py )([\w-]+)(?:\.py)?((?: +[^\s`]+)*)"
    for name, words in re.findall(calls, page.read_text(encoding="utf-8")):
        assert set(re.findall(r"(?<!\S)--[a-z][\w-]*", words.split("#")[0])) <= options(name), name


def test_links_lead_somewhere(page: Path):
    for link, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", page.read_text(encoding="utf-8")):
        if "://" in link or link.startswith(MADE):
            continue
        target = (page.parent / link) if link else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), f"{link}#{anchor}"


def test_files_exist(page: Path):
    for path in re.findall(r"`([\w./-]+)`", page.read_text(encoding="utf-8")):
        if path.startswith(ROOMS) and not path.startswith(MADE + DEMO):
            assert (ROOT / path).exists(), path


def agents_rows() -> list[tuple[str, list[str], list[str]]]:
    """The table of AGENTS.md: a command, the files that it reads, those that it writes."""
    text = (ROOT / "AGENTS.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| (.*) \| (.*) \|$", text, re.MULTILINE)
    return [(name, *(re.findall(r"`([\w./-]+)`", cell) for cell in cells)) for name, *cells in rows]


@pytest.mark.parametrize(("name", "read", "written"), agents_rows(), ids=lambda value: str(value))
def test_agents_are_told_what_commands_read_and_write(name: str, read: list[str], written: list[str]):
    content = (ROOT / "project.yml").read_text(encoding="utf-8")
    # the page is about the template's own values of these, whatever a project has
    for variable, value in {"config": "crf", "llm_config": "llm", "train_on": "reviewed"}.items():
        content = content.replace(f"${{vars.{variable}}}", value)
    command = {command["name"]: command for command in srsly.yaml_loads(content)["commands"]}[name]
    if deps := command.get("deps"):
        assert [path for path in read if path not in deps] == []
    outputs = [*command.get("outputs", []), *command.get("outputs_no_cache", [])]
    if outputs:
        folders = {path.split("/")[0] + "/" for path in outputs}
        assert [path for path in written if path not in outputs and path not in folders] == []


def test_agents_are_told_what_no_program_writes():
    text = (ROOT / "AGENTS.md").read_text(encoding="utf-8")
    assert "`assets/reviewed.jsonl` is **gold**" in text
    assert len(text.splitlines()) < 70
    assert len(agents_rows()) > 8

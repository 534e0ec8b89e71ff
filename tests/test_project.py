"""project.yml says all that weasel and DVC need: options that exist, and every file read or written."""

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from inspect import signature
from pathlib import Path

import pytest
import srsly
from benchmarks.retarget import copy_project, environment
from running import ROOT
from weasel.cli.document import MARKER_END, MARKER_START, project_document
from weasel.util import load_project_config

SCRIPTS = ROOT / "scripts"
PROJECT = srsly.read_yaml(ROOT / "project.yml")
COMMANDS = {command["name"]: command for command in PROJECT["commands"]}
# Options that name a folder to write into; what ends up there is in the command's outputs.
FOLDERS = {"output"}
# Options with a file that a command makes and keeps for itself, such as a cache.
PRIVATE = {"cache"}
# A file that a command adds lines to; as an output, weasel and DVC would delete it first.
APPENDED = {"log"}
# Commands that say themselves what is missing, or go on without it: the trained pipeline, for which an
# installed one may stand, the language model's annotations, the split.
AT_ONCE = ("database", "review", "serve", "suggest")
# Names of configs and choices are one word; everything else that is no number may have blanks.
ONE_WORD = {
    *("config", "llm_config", "relations", "categories", "train_on", "import_format", "export_format"),
    *("init_overwrite", "apply_pipeline"),
}


def calls(command: dict) -> list[tuple[Path, dict[str, str]]]:
    """The scripts that a command runs, each with its options as written."""
    found = []
    for line in command["script"]:
        words = [word for word in shlex.split(line) if word != "-B"]
        if words[0] == "python" and words[1].endswith(".py"):
            options: dict[str, str] = {}
            for word in words[2:]:
                if word.startswith("--"):
                    options[name := word[2:]] = ""  # a flag, unless a value follows
                else:
                    assert options, line
                    options[name] = word
            found.append((Path(words[1]), options))
    return found


ALL_CALLS = [(name, *call) for name, command in COMMANDS.items() for call in calls(command)]


@cache
def imported(path: Path) -> frozenset[Path]:
    """The project's own files that a script imports, at any remove."""
    seen: set[Path] = set()
    todo = [path]
    while todo:
        current = todo.pop()
        for node in ast.walk(ast.parse((ROOT / current).read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                for file in files_of(name):
                    if file not in seen and file != path:
                        seen.add(file)
                        todo.append(file)
    return frozenset(seen)


def files_of(module: str) -> list[Path]:
    """The files below scripts/ that importing a module executes."""
    parts = module.split(".")
    if parts[0] not in ("ie", "components"):
        return []
    found = [Path("scripts", *parts[:i], "__init__.py") for i in range(1, len(parts) + 1)]
    found.append(Path("scripts", *parts).with_suffix(".py"))
    return [path for path in found if (ROOT / path).exists()]


def written(command: dict) -> list[str]:
    """All that a command declares to write."""
    return [*command.get("outputs", []), *command.get("outputs_no_cache", [])]


# What is imported on the way to a module, and holds a docstring alone.
PACKAGE_FILES = {"scripts/ie/__init__.py"}


def is_inside(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is one of `folders`, or in one."""
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def interpolated(text: str) -> str:
    return re.sub(r"\$\{vars\.(\w+)\}", lambda match: str(PROJECT["vars"][match[1]]), text)


def is_within(path: str, others: Iterable[str]) -> bool:
    """Whether a path is one of `others`, in one of them, or the folder around some."""
    return any(f"{path}/".startswith(f"{o}/") or f"{o}/".startswith(f"{path}/") for o in others)


@pytest.mark.parametrize(("name", "script", "options"), ALL_CALLS, ids=[call[0] for call in ALL_CALLS])
class TestCommand:
    def test_its_options_exist_and_say_something(
        self, name: str, script: Path, options: dict[str, str]
    ) -> None:
        spec = spec_from_file_location(script.stem, ROOT / script)
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        defaults = {
            key.replace("_", "-"): value.default for key, value in signature(module.main).parameters.items()
        }
        assert set(options) <= set(defaults)
        repeated = [key for key, value in options.items() if str(defaults[key]) == value]
        assert not repeated, f"{name}: leave out {repeated}, which are the defaults"

    def test_its_own_code_is_a_dep(self, name: str, script: Path, options: dict[str, str]) -> None:
        if not written(COMMANDS[name]) or COMMANDS[name].get("no_skip"):
            return  # runs every time
        wanted = {path.as_posix() for path in {script, *imported(script)}} - PACKAGE_FILES
        missing = sorted(path for path in wanted if not is_inside(path, COMMANDS[name]["deps"]))
        assert not missing, f"add to the deps of {name}: {missing}"

    def test_no_room_is_a_dep_that_it_does_not_use(
        self, name: str, script: Path, options: dict[str, str]
    ) -> None:
        code = [dep for dep in COMMANDS[name].get("deps", []) if dep.startswith("scripts")]
        used = [path.as_posix() for path in {script, *imported(script)}]
        assert [dep for dep in code if not any(is_inside(path, [dep]) for path in used)] == []

    def test_files_in_options_are_deps_or_outputs(
        self, name: str, script: Path, options: dict[str, str]
    ) -> None:
        command = COMMANDS[name]
        if not written(command) or command.get("no_skip"):
            return  # runs every time, and says itself what is missing
        known = [
            interpolated(path)
            for kind in ("deps", "outputs", "outputs_no_cache")
            for path in command.get(kind, [])
        ]
        if name in AT_ONCE:
            known += [interpolated(path) for other in COMMANDS.values() for path in written(other)]
        # a file, or several of them; each may have a name before a colon
        parts = [(o, part.split(":")[-1]) for o, value in options.items() for part in value.split(",")]
        for option, value in parts:
            path = interpolated(value)
            names_a_path = "/" in path or (ROOT / path).is_file() or option in FOLDERS
            if not names_a_path or option in PRIVATE | APPENDED:
                continue
            assert is_within(path, known), f"--{option} {value} is no dep or output of {name}"


@cache
def shipped() -> tuple[str, ...]:
    """The files that a clone would have; what commands made here isn't among them."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git repository, so nobody knows what a clone would have")
    return tuple(name for name in listed.splitlines() if (ROOT / name).exists())


def test_deps_are_shipped_or_made_by_an_earlier_command() -> None:
    main = PROJECT["workflows"]["all"]
    there = shipped()
    for workflow, steps in PROJECT["workflows"].items():
        # the others build on what the main one made
        before = [] if workflow == "all" else main
        made = [interpolated(path) for name in before for path in written(COMMANDS[name])]
        for name in steps:
            for dep in map(interpolated, COMMANDS[name].get("deps", [])):
                assert is_within(dep, [*there, *made]), f"{dep}, a dep of {name}"
            made += map(interpolated, written(COMMANDS[name]))


@pytest.mark.parametrize("name", COMMANDS)
def test_deps_are_shipped_or_made_by_another_command(name: str) -> None:
    others = [command for other, command in COMMANDS.items() if other != name]
    known = [*shipped(), *(interpolated(path) for command in others for path in written(command))]
    for raw in COMMANDS[name].get("deps", []):
        dep = interpolated(raw)
        assert is_within(dep, known), f"{dep}, a dep of {name}: weasel won't start it in a clone"


@pytest.mark.parametrize("name", AT_ONCE)
def test_what_works_in_a_fresh_clone_is_started_there(name: str) -> None:
    missing = [
        dep for dep in map(interpolated, COMMANDS[name].get("deps", [])) if not is_within(dep, shipped())
    ]
    assert not missing, f"{name}: weasel refuses it without {missing}"
    # What it may read besides can change without weasel seeing it.
    assert COMMANDS[name].get("no_skip") or not written(COMMANDS[name]), name


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone") / "project"
    copy_project(ROOT, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("database", "there is no trained pipeline; run `weasel run components` first"),
        ("serve", "there is no trained pipeline; run `weasel run all` first"),
        ("serve . --vars.serve_model mine", "mine: is neither the folder of a pipeline nor an installed"),
        ("suggest", "llm: corpus/llm.jsonl: there is no such file; run `weasel run llm-annotate`"),
    ],
)
def test_what_works_in_a_fresh_clone_says_itself_what_is_missing(
    clone: Path, command: str, told: str
) -> None:
    started = [sys.executable, "-m", "weasel", "run", *command.split()]
    done = subprocess.run(started, cwd=clone, env=environment(), capture_output=True, text=True)
    output = " ".join((done.stdout + done.stderr).split())
    assert told in output
    assert (done.returncode == 0) == (command == "suggest"), output


def test_no_two_commands_write_the_same_file() -> None:
    outputs = [interpolated(path) for command in COMMANDS.values() for path in written(command)]
    for i, path in enumerate(outputs):
        assert not is_within(path, outputs[:i] + outputs[i + 1 :]), path


def test_gold_is_nobodys_output() -> None:
    for name, command in COMMANDS.items():
        for path in written(command):
            assert not path.startswith("assets"), name


def test_every_command_has_help_and_every_variable_a_use() -> None:
    assert all(command["help"] for command in COMMANDS.values())
    text = (ROOT / "project.yml").read_text(encoding="utf-8")
    used = set(re.findall(r"\$\{vars\.(\w+)\}", text))
    assert used == set(PROJECT["vars"])


def test_the_project_file_fits_in_one_head() -> None:
    assert len((ROOT / "project.yml").read_text(encoding="utf-8").splitlines()) <= 650
    assert len(COMMANDS) <= 40
    assert len(PROJECT["vars"]) <= 40


def test_variables_are_plain() -> None:
    # Both weasel and the shell of DVC put them between single quotes; weasel can't nest them.
    for name, value in PROJECT["vars"].items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert not set("'$") & set(str(value))


def test_a_value_with_spaces_is_one_value() -> None:
    words = {name for name, value in PROJECT["vars"].items() if not isinstance(value, str)} | ONE_WORD
    for name, command in COMMANDS.items():
        for line in command["script"]:
            for bare in re.sub(r"'[^']*'", "", line).split("${vars.")[1:]:
                var = bare.split("}")[0]
                assert var in words, f"{name}: quote ${{vars.{var}}}, as 'my data/x.jsonl' has a blank"


@pytest.mark.slow
def test_paths_with_spaces_come_in_and_go_out(clone: Path) -> None:
    folder = clone / "my data"
    folder.mkdir()
    lines = (clone / "assets" / "reviewed.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)[:3]
    (folder / "in 1.jsonl").write_text("".join(lines), encoding="utf-8")
    for command, written in (
        ("import", {"import_from": "in 1.jsonl", "import_to": "new 1.jsonl"}),
        ("export", {"export_from": "in 1.jsonl", "export_to": "out 1.json"}),
    ):
        options = [part for var, name in written.items() for part in (f"--vars.{var}", f"my data/{name}")]
        started = [sys.executable, "-m", "weasel", "run", command, ".", *options]
        done = subprocess.run(started, cwd=clone, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "new 1.jsonl").exists()
    assert (folder / "out 1.json").exists()


def test_weasel_interpolates_what_dvc_interpolates() -> None:
    config = load_project_config(ROOT)
    for command in config["commands"]:
        raw = COMMANDS[command["name"]]
        assert command["script"] == [interpolated(line) for line in raw["script"]]
        assert command.get("outputs", []) == [interpolated(path) for path in raw.get("outputs", [])]


def test_readme_tables_are_those_of_the_project_file(tmp_path: Path) -> None:
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("no README yet")
    project_document(ROOT, tmp_path / "README.md", no_emoji=True)
    # Without the exact words, `weasel document` replaces the whole README.
    start, end = MARKER_START.format(tag="WEASEL"), MARKER_END.format(tag="WEASEL")

    def tables(path: Path) -> list[str]:
        text = path.read_text(encoding="utf-8")
        assert text.count(start) == text.count(end) == 1, "the README lost weasel's markers"
        section = text.split(start)[1].split(end)[0]
        return [line for line in section.splitlines() if line.startswith("|")]

    assert tables(readme) == tables(tmp_path / "README.md"), (
        "run `weasel document . --output README.md --no-emoji`"
    )


def test_training_configs_are_complete() -> None:
    from spacy.util import load_config, load_model_from_config

    import ie.training.loop  # noqa: F401

    for path in sorted((ROOT / "configs").glob("*.cfg")):
        config = load_config(path, interpolate=False)
        if "training" not in config:
            continue
        if "transformer" in config["components"] and find_spec("spacy_transformers") is None:
            continue  # tests/test_variants_transformer.py fills the rest of it
        nlp = load_model_from_config(config, auto_fill=True, validate=True)
        assert nlp.config == config, f"run `spacy init fill-config {path}`"

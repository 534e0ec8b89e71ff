"""dvc.yaml does what project.yml says, and both runners re-run what an edit touches and nothing else."""

import os
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import srsly
from running import ROOT, run_command

from ie.core.errors import UserError

spec = spec_from_file_location("dvc_files", ROOT / "scripts" / "dvc-files.py")
dvc_files = module_from_spec(spec)
spec.loader.exec_module(dvc_files)

# A project small enough to run in a second: b and d read what a makes, c reads what b makes.
PROJECT = """
title: toy
vars:
  config: one
  times: 2
  unused: 1
workflows:
  all: [check, a, b, c, d]
  twice: [a, a2]
commands:
  - name: check
    help: look
    script: ["python repeat.py 1 in.txt"]
    deps: [in.txt, repeat.py]
  - name: a
    help: first
    script:
      - >-
        python repeat.py ${vars.times}
        in.txt out/a.txt
    deps: [in.txt, repeat.py]
    outputs: [out/a.txt]
  - name: a2
    script: ["python repeat.py 1 in.txt out/a2.txt", "python repeat.py 1 in.txt out/a3.txt"]
    deps: [in.txt]
    outputs: [out/a2.txt]
    outputs_no_cache: [out/a3.txt]
    no_skip: true
  - name: b
    script: ["python other.py 1 out/a.txt 'out/${vars.config}/scores.json'"]
    deps: [out/a.txt, other.py]
    outputs: ["out/${vars.config}/scores.json"]
  - name: c
    script: ["python repeat.py 1 out/${vars.config}/scores.json out/${vars.config}/curve.png"]
    deps: ["out/${vars.config}/scores.json", repeat.py]
    outputs: ["out/${vars.config}/curve.png"]
  - name: d
    script: ["python other.py 1 out/a.txt out/d.txt"]
    deps: [out/a.txt, other.py, "${vars.config}.cfg"]
    outputs: [out/d.txt]
"""
REPEAT = """
import sys
from pathlib import Path
times, source, *target = sys.argv[1:]
for path in map(Path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(Path(source).read_text() * int(times))
    with open("ran.log", "a") as log:
        log.write(path.name + "\\n")
"""


GIT_IDENTITY = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")


def load(text: str) -> dict:
    return srsly.yaml_loads(text)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A git and DVC repository with the toy project, set up as ours is."""
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "project.yml").write_text(PROJECT)
    files = {"repeat.py": REPEAT, "other.py": REPEAT, "in.txt": "5", "one.cfg": "", "two.cfg": ""}
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "dvc.yaml").write_text(dvc_files.render(folder / "project.yml", "all"))
    (folder / ".gitignore").write_text("/out/\n/ran.log\n")
    (folder / ".dvcignore").write_text("")
    (folder / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, folder / ".dvc")
    call(folder, "git", "init", "--quiet")
    return folder


def call(folder: Path, *command: str) -> str:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        # a machine without a git identity, and without the user's own settings of DVC
        **dict.fromkeys(GIT_IDENTITY, "x@example.org"),
        "DVC_GLOBAL_CONFIG_DIR": str(folder.parent / "global"),
        "DVC_SYSTEM_CONFIG_DIR": str(folder.parent / "system"),
        "DVC_SITE_CACHE_DIR": str(folder.parent / "site"),
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dvc(folder: Path, *arguments: str) -> str:
    return call(folder, sys.executable, "-m", "dvc", *arguments)


def reran(folder: Path, runner: str) -> set[str]:
    """Run the whole workflow; the names of the files that were made."""
    (folder / "ran.log").write_text("")
    if runner == "weasel":
        call(folder, sys.executable, "-m", "weasel", "run", "all")
    else:
        dvc(folder, "repro")
    return set((folder / "ran.log").read_text().split())


EVERYTHING = {"a.txt", "scores.json", "curve.png", "d.txt"}
# One after another, each on top of those before.
EDITS = {
    "nothing": (lambda folder: None, set()),
    "asset": (lambda folder: (folder / "in.txt").write_text("6"), EVERYTHING),
    "var": (lambda folder: edit(folder, "times: 2", "times: 3"), EVERYTHING),
    "var that has no use, and a help": (
        lambda folder: (
            edit(folder, "unused: 1", "unused: 2"),
            edit(folder, "help: first", "help: the first"),
        ),
        set(),
    ),
    "script, same results": (
        lambda folder: append(folder / "repeat.py", "# a comment"),
        {"a.txt", "curve.png"},
    ),
    "config, and that of another variant": (
        lambda folder: (append(folder / "one.cfg", "x = 1"), append(folder / "two.cfg", "x = 1")),
        {"d.txt"},
    ),
    "script, other results": (
        lambda folder: append(folder / "other.py", 'path.write_text("7")'),
        {"scores.json", "curve.png", "d.txt"},
    ),
    "var in the paths of outputs": (
        lambda folder: edit(folder, "config: one", "config: two"),
        {"scores.json", "curve.png", "d.txt"},
    ),
}


def edit(folder: Path, old: str, new: str) -> None:
    text = (folder / "project.yml").read_text()
    assert old in text
    (folder / "project.yml").write_text(text.replace(old, new))


def append(path: Path, line: str) -> None:
    path.write_text(path.read_text() + line + "\n")


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["weasel", "dvc"])
def test_an_edit_reruns_what_depends_on_it(runner: str, toy: Path) -> None:
    assert reran(toy, runner) == EVERYTHING
    for name, (change, expected) in EDITS.items():
        change(toy)
        assert reran(toy, runner) == expected, f"after an edit of: {name}"


@pytest.mark.slow
def test_what_weasel_made_is_saved_and_pulled_without_a_run(toy: Path) -> None:
    reran(toy, "weasel")
    made = {path.relative_to(toy): path.read_bytes() for path in (toy / "out").rglob("*.*")}
    for line in COMMANDS["record"]["script"]:
        if " dvc " in line:
            call(toy, *line.split())
    assert "up to date" in dvc(toy, "status")
    assert reran(toy, "dvc") == set()
    call(toy, "git", "add", "--all")
    call(toy, "git", "commit", "--quiet", "--message", "run")
    second = toy.parent / "second"
    call(toy.parent, "git", "clone", "--quiet", str(toy), str(second))
    assert not (second / "out").exists()
    dvc(second, "pull")
    assert {path.relative_to(second): path.read_bytes() for path in (second / "out").rglob("*.*")} == made
    assert not (second / "ran.log").exists()
    assert "up to date" in dvc(second, "status")
    assert reran(second, "weasel") == set()
    assert reran(second, "dvc") == set()


COMMANDS = {command["name"]: command for command in srsly.read_yaml(ROOT / "project.yml")["commands"]}


class TestStages:
    def test_variables_stay_variables_and_are_params(self, toy: Path) -> None:
        written = load((toy / "dvc.yaml").read_text())
        assert written["vars"] == ["project.yml"]
        assert list(written["stages"]) == ["check", "a", "b", "c", "d"]
        assert written["stages"]["a"] == {
            "desc": "first",
            "cmd": "python repeat.py ${vars.times} in.txt out/a.txt",
            "deps": ["in.txt", "repeat.py"],
            "params": [{"project.yml": ["vars.times"]}],
            "outs": ["out/a.txt"],
        }
        assert written["stages"]["d"]["params"] == [{"project.yml": ["vars.config"]}]

    def test_metrics_and_plots_are_declared(self, toy: Path) -> None:
        stages = load((toy / "dvc.yaml").read_text())["stages"]
        assert stages["b"]["metrics"] == ["out/${vars.config}/scores.json"]
        assert "outs" not in stages["b"]
        assert stages["c"]["plots"] == ["out/${vars.config}/curve.png"]

    def test_table_of_a_plot_gets_its_axes(self) -> None:
        stage = dvc_files.stage({"script": ["x"], "outputs": ["t/history.json"]}, "project.yml")
        (plot,) = stage["plots"]
        assert plot["t/history.json"]["y"] == "score"

    def test_several_lines_and_files_outside_the_cache(self, toy: Path) -> None:
        stage = load(dvc_files.render(toy / "project.yml", "twice"))["stages"]["a2"]
        assert stage["cmd"] == [
            "python repeat.py 1 in.txt out/a2.txt",
            "python repeat.py 1 in.txt out/a3.txt",
        ]
        assert stage["outs"] == ["out/a2.txt", {"out/a3.txt": {"cache": False}}]
        assert "always_changed" not in stage

    def test_no_skip_without_outputs_always_runs(self) -> None:
        assert dvc_files.stage({"script": ["x"], "no_skip": True}, "project.yml")["always_changed"] is True
        assert "always_changed" not in dvc_files.stage({"script": ["x"]}, "project.yml")


class TestCommand:
    def test_ours_is_up_to_date(self) -> None:
        current = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
        assert dvc_files.render(ROOT / "project.yml", "all") == current, "run `python scripts/dvc-files.py`"

    def test_check_tells_a_stale_file(self, toy: Path, capsys: pytest.CaptureFixture) -> None:
        options = ["--project", toy / "project.yml", "--output", toy / "dvc.yaml"]
        assert run_command("dvc-files", [*options, "--check"], capsys).status == 0
        edit(toy, "in.txt out/a.txt", "in.txt out/b.txt")
        stale = (toy / "dvc.yaml").read_text()
        outcome = run_command("dvc-files", [*options, "--check"], capsys)
        assert outcome.status == 1
        assert "no longer matches" in outcome.output
        assert (toy / "dvc.yaml").read_text() == stale
        assert run_command("dvc-files", options, capsys).status == 0
        assert "out/b.txt" in (toy / "dvc.yaml").read_text()

    def test_missing_project_or_workflow(self, toy: Path) -> None:
        with pytest.raises(UserError, match="there is no such file"):
            dvc_files.render(toy / "nope.yml", "all")
        with pytest.raises(UserError, match="no workflow 'other'"):
            dvc_files.render(toy / "project.yml", "other")

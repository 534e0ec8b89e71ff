import os
import subprocess
import sys

import pytest
from running import ROOT

from ie.core import cli
from ie.core.cli import check_overrides
from ie.core.errors import UserError

PROJECT = """
title: "x"
vars:
  test_percent: 37
  name: "x"
commands:
  - name: "go"
    script:
      - "{python} go.py --n ${{vars.test_percent}}"
"""
COMMAND = """
import sys
sys.path.insert(0, {scripts!r})
from ie.core.cli import run
from ie.core.errors import UserError

def main(n: int = 9) -> None:
    if n == 0:
        raise UserError("n: must not be 0; take 1.")
    if n == 1:
        raise PermissionError(13, "Permission denied", "/some/file")
    if n == 2:
        raise ValueError("a fault of ours")
    if n == 6:
        raise KeyboardInterrupt
    if n == 7:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise UserError("interrupted: 1 of 2 trainings are done.") from None
    if n == 8:
        print("Hooli\\x1b]52;c;eA==\\x07 \\x1b[2J\\x9b2J\\x00")
        raise UserError("a label \\x1b[31m of the file; correct it.")
    print("ran with", n)

run(main)
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project.yml").write_text(PROJECT.format(python=sys.executable))
    (tmp_path / "go.py").write_text(COMMAND.format(scripts=str(ROOT / "scripts")))
    return tmp_path


def shell(folder, *command):
    env = os.environ | {"ANSI_COLORS_DISABLED": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, encoding="utf-8", env=env
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--vars.test_percent", "5"],
        ["--vars.test-percent=5"],
        ["--vars.name=--vars.other"],
        ["--other.thing", "1"],
        [],
    ],
)
def test_overrides_of_variables_that_exist(project, arguments):
    check_overrides(["weasel", "run", "go", ".", *arguments], project / "project.yml")


@pytest.mark.parametrize("argument", ["--vars.test_percnt", "--vars.tst=5", "--vars.", "--vars.vars"])
def test_an_unknown_variable_is_named_with_those_that_exist(project, argument):
    with pytest.raises(UserError, match=r"is no variable of .*project\.yml; it has: name, test_percent\."):
        check_overrides(["weasel", "run", "go", ".", argument, "5"], project / "project.yml")


def test_without_a_project_there_is_nothing_to_compare_with(tmp_path):
    check_overrides(["--vars.typo", "1"], tmp_path / "project.yml")


def test_weasel_stops_at_an_unknown_variable(project):
    status, output = shell(project, "-m", "weasel", "run", "go", ".", "--vars.test_percent", "5")
    assert status == 0, output
    assert "ran with 5" in output
    status, output = shell(project, "-m", "weasel", "run", "go", ".", "--vars.test_percnt", "5")
    assert status != 0
    assert "--vars.test_percnt is no variable of" in output
    assert "project.yml; it has: name, test_percent." in output
    assert "ran with" not in output


def test_the_variables_are_those_of_the_project_that_weasel_runs(project):
    text = (project / "project.yml").read_text()
    (project / "project.yml").write_text(text.replace("test_percent", "other"))
    inner = project / "inner"
    inner.mkdir()
    (inner / "project.yml").write_text(text)
    (inner / "go.py").write_text((project / "go.py").read_text())
    status, output = shell(project, "-m", "weasel", "run", "go", "inner", "--vars.test_percent", "5")
    assert status == 0, output
    assert "ran with 5" in output
    status, output = shell(project, "-m", "weasel", "run", "go", "inner", "--vars.other", "5")
    assert status != 0
    assert "--vars.other is no variable of" in output


def test_a_users_mistake_is_a_sentence_and_ours_a_traceback(project):
    assert shell(project, "go.py", "--n", "3") == (0, "ran with 3")
    status, output = shell(project, "go.py", "--n", "0")
    assert status == 1
    assert "n: must not be 0; take 1." in output
    assert "Traceback" not in output
    status, output = shell(project, "go.py", "--n", "1")
    assert status == 1
    assert "/some/file: Permission denied" in output
    assert "Traceback" not in output
    status, output = shell(project, "go.py", "--n", "2")
    assert status == 1
    assert "Traceback" in output


def test_an_interruption_is_one_sentence(project):
    status, output = shell(project, "go.py", "--n", "6")
    assert status == 130
    assert output.endswith(
        "run the same command again: it continues from what it has stored, or starts again."
    )
    assert "Traceback" not in output
    status, output = shell(project, "go.py", "--n", "7")
    assert (status, output.count("interrupted")) == (1, 1)
    assert "1 of 2 trainings are done" in output


def test_what_a_terminal_would_act_on_is_escaped_in_all_that_is_printed(project):
    status, printed = shell(project, "go.py", "--n", "8")
    assert status == 1
    assert r"Hooli\x1b]52;c;eA==\x07 \x1b[2J\x9b2J\x00" in printed
    assert r"a label \x1b[31m of the file" in printed
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in printed)


def test_colours_and_progress_bars_of_our_own_get_through(capsys):
    with cli._escaping():
        print("\x1b[38;5;2mgood\x1b[0m\tand\nmore")
        print("\r50 %\x1b[A", end="", file=sys.stderr)
    printed = capsys.readouterr()
    assert printed.out == "\x1b[38;5;2mgood\x1b[0m\tand\nmore\n"
    assert printed.err == "\r50 %\x1b[A"

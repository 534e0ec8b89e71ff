"""What GitHub reads: forms it accepts, and workflows that call nothing that isn't there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import srsly
from running import ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml"))
PROJECT = srsly.read_yaml(ROOT / "project.yml")


def steps(path: Path) -> list[dict]:
    return [step for job in srsly.read_yaml(path)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_what_exists(path: Path):
    for step in steps(path):
        assert ("run" in step) != ("uses" in step)
        for line in step.get("run", "").splitlines():
            words = line.split()
            for word in words:
                if re.fullmatch(r"[\w./-]+\.(py|txt)|\.ci/\w+", word):
                    assert (ROOT / word).exists(), word
            if words[:2] == ["weasel", "run"]:
                assert words[2] in {c["name"] for c in PROJECT["commands"]} | set(PROJECT["workflows"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_dvc_knows_the_options(path: Path):
    for step in steps(path):
        for line in step.get("run", "").splitlines():
            if (words := shlex.split(line.split("||")[0].strip())) and words[0] == "dvc":
                command = [word for word in words[1:] if re.fullmatch(r"[a-z]+", word)]
                told = subprocess.run(
                    [sys.executable, "-m", "dvc", *command, "--help"], capture_output=True, text=True
                )
                assert told.returncode == 0, told.stderr
                for option in (word for word in words if word.startswith("--")):
                    assert option in told.stdout, option


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_starts_and_restarts_them_exists(path: Path):
    workflow = srsly.read_yaml(path)
    # YAML takes the key `on` for true
    for event in (workflow.get("on") or workflow[True]).values():
        for pattern in (event or {}).get("paths", []):
            # made by `weasel run record`
            assert pattern == "dvc.lock" or list(ROOT.glob(pattern)), pattern
    for hashed in re.findall(r"hashFiles\(([^)]*)\)", path.read_text()):
        for pattern in re.findall(r"'([^']+)'", hashed):
            assert pattern == "dvc.lock" or list(ROOT.glob(pattern)), pattern


def test_python_versions_are_those_the_requirements_are_compiled_for():
    quick, complete = srsly.read_yaml(GITHUB / "workflows" / "tests.yml")["jobs"].values()
    versions = quick["strategy"]["matrix"]["python"]
    header = (ROOT / "requirements.in").read_text()
    compiled = re.search(r"for Python (\S+) to (\S+)\..*--python-version (\S+)", header, re.DOTALL)
    assert compiled.groups() == (versions[0], versions[-1], versions[0])
    setup = next(step for step in complete["steps"] if "setup-python" in step.get("uses", ""))
    assert setup["with"]["python-version"] == versions[0]


def test_a_workflow_may_write_only_where_it_must():
    for path in WORKFLOWS:
        permissions = srsly.read_yaml(path)["permissions"]
        assert permissions["contents"] == "read"
        assert set(permissions) <= {"contents", "pull-requests"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_forms_have_what_github_asks_for(path: Path):
    form = srsly.read_yaml(path)
    assert form["name"]
    assert form["description"]
    inputs = [part for part in form["body"] if part["type"] != "markdown"]
    assert inputs
    ids = [part["id"] for part in inputs]
    assert len(set(ids)) == len(ids)
    assert all(part["attributes"]["label"] for part in inputs)
    assert {part["type"] for part in form["body"]} <= {
        "markdown",
        "input",
        "textarea",
        "dropdown",
        "checkboxes",
    }
    for command in re.findall(r"weasel run ([a-z-]+)", path.read_text()):
        assert command in {c["name"] for c in PROJECT["commands"]}


def test_the_citation_is_whole():
    citation = srsly.read_yaml(ROOT / "CITATION.cff")
    for field in ("cff-version", "title", "version", "message", "type", "license", "authors"):
        assert citation[field]

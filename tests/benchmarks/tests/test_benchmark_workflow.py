"""The workflow's times: which texts a part of the demo has, and what the table adds up."""

import json

import pytest
from benchmarks import workflow
from benchmarks.workflow import NOW, Step


@pytest.fixture
def project(tmp_path):
    (tmp_path / "assets").mkdir()

    def write(name, texts):
        (tmp_path / name).write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))

    write(workflow.TEXTS, "abcdef")
    write(workflow.REVIEWED, "bcdf")
    write(workflow.PINNED, "f")
    return tmp_path


def test_a_part_of_the_demo_keeps_what_prompts_show(project):
    workflow.thin(project, 3)
    kept = {
        name: [json.loads(line)["text"] for line in workflow.lines(project / name)]
        for name in (workflow.TEXTS, workflow.REVIEWED)
    }
    assert kept == {workflow.TEXTS: ["a", "d", "f"], workflow.REVIEWED: ["d", "f"]}


def test_the_versions_take_turns(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(workflow.retarget, "run", lambda place, command, _: ran.append((command, place.name)))
    places = {"v1": tmp_path / "old", NOW: tmp_path / "new"}
    steps = workflow.measure(places, ["check", "split"], {})
    assert ran == [("check", "new"), ("check", "old"), ("split", "old"), ("split", "new")]
    assert [(step.command, step.version) for step in steps[:2]] == [("check", NOW), ("check", "v1")]


def test_the_table_adds_up_and_compares_processor_seconds():
    steps = [Step("check", NOW, 2, 1), Step("check", "v1", 4, 2), Step("train", NOW, 5, 3)]
    header, rows = workflow.rows([*steps, Step("train", "v1", 4, 3)])
    assert header == ["Command", "v1: s", "processor s", "now: s", "processor s", "Share", "Now / before"]
    assert rows == [
        ["check", "4.0", "2.0", "2.0", "1.0", "25 %", "0.50"],
        ["train", "4.0", "3.0", "5.0", "3.0", "75 %", "1.00"],
        ["all", "8.0", "5.0", "7.0", "4.0", "100 %", "0.80"],
    ]
    header, rows = workflow.rows(steps[:1])
    assert header == ["Command", "now: s", "processor s", "Share"]
    assert rows[-1] == ["all", "2.0", "1.0", "100 %"]

"""Spans that overlap through the commands: what works, and what says that it can't."""

import json
from itertools import pairwise, product
from pathlib import Path

import pytest
from own_project import OwnProject
from running import run_command, scheme, write_lines

from ie.data.records import read_records
from ie.data.scheme import load_scheme
from ie.deploy.service.annotator import Annotator, load

# The sentences are this repository's own, CC0.
TOOLS = ("a torque wrench", "a spirit level", "the lathe", "the bench saw", "a soldering iron", "the plotter")
TASKS = ("build", "repair", "test", "calibrate", "paint", "clean")
OPENINGS = (
    "You must know how to {task} pumps with {tool} from day one.",
    "Ideally you {task} valves with {tool}, and you like early shifts.",
)


def adverts() -> list[dict]:
    """Job adverts whose skills are phrases with a task and a tool inside."""
    records = []
    for n, (tool, task) in enumerate(product(TOOLS, TASKS)):
        text = OPENINGS[n % 2].format(task=task, tool=tool)
        start, end = text.index(task), text.index(tool) + len(tool)
        spans = [
            {"start": start, "end": end, "label": "SKILL"},
            {"start": start, "end": start + len(task), "label": "TASK"},
            {"start": end - len(tool), "end": end, "label": "TOOL"},
        ]
        records.append({"text": text, "spans": spans, "meta": {"id": n}})
    return records


@pytest.mark.slow
def test_the_whole_workflow(tmp_path: Path):
    gold, labels = adverts(), ["SKILL", "TASK", "TOOL"]
    project = OwnProject(tmp_path, gold, labels)
    annotations = write_lines(tmp_path / "annotations.jsonl", gold[:30])
    raw = write_lines(tmp_path / "raw.jsonl", [{"text": record["text"]} for record in gold[30:]])
    given = {"init_annotations": annotations, "init_texts": raw, "init_labels": ",".join(labels)}
    assert "Spans overlap in 30 texts" in project.weasel("init", **given, init_name="own")
    with project.language_model():
        output = project.run_all("spancat", max_steps=100)
        assert "Traceback" not in output
        assert "no confidence of spans that overlap" in output
        assert "spans can't overlap" in output  # the plain conditional random field
    answers = read_records(tmp_path / "corpus/llm.jsonl")
    assert all(len(record.spans) == 3 for record in answers), "the language model's answers overlap as well"
    metrics = json.loads((tmp_path / "training/spancat/metrics.json").read_text("utf-8"))
    assert metrics["systems"]["llm"]["all"]["f"] == 1
    assert metrics["systems"]["reviewed"]["all"]["f"] > 0.5
    assert "crf" not in metrics["systems"] or "all" not in metrics["systems"]["crf"]
    assert list((tmp_path / "packages").glob("*.whl"))
    for command in ("status", "agreement"):
        assert "Traceback" not in project.weasel(command, config="spancat", max_steps=20)
    project.weasel("apply", config="spancat")
    applied = [record for path in (tmp_path / "corpus/applied/rows").glob("*") for record in rows(path)]
    assert any(overlaps(record["spans"]) for record in applied)
    model = tmp_path / "training/spancat/shipped/model-best"
    options = ["--model", model, "--format", "jsonl", "--output", "corpus/lines"]
    assert project.python("apply", "--texts", "assets/texts.jsonl", *options).returncode == 0
    [lines] = (tmp_path / "corpus/lines/rows/texts.jsonl").glob("*")
    assert len(read_records(lines, labels=load_scheme(tmp_path / "configs/llm.cfg"))) == len(gold)
    annotator = Annotator(lambda: load(str(model)), 0, 1000)
    served = annotator([record["text"] for record in gold])
    assert any(overlaps(json.loads(line)["spans"]) for line in served)
    assert "spans that overlap have none" in project.weasel("accept", config="spancat", status=1)
    assert "can't handle spans that overlap" in project.weasel("train-components", config="spancat", status=1)
    flat = project.weasel("check", config="efficient", status=1)
    assert "train a config for such spans, with --vars.config spancat" in flat


def rows(path: Path) -> list[dict]:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path).to_pylist()


def overlaps(spans: list[dict]) -> bool:
    ordered = sorted(spans, key=lambda span: span["start"])
    return any(a["end"] > b["start"] for a, b in pairwise(ordered))


@pytest.mark.parametrize("command", ["suggest", "distill", "robustness", "model-view", "train-components"])
def test_what_cannot_work_says_so_in_one_sentence(tmp_path: Path, capsys, command: str):
    config = tmp_path / "llm.cfg"
    labels = scheme("SKILL", "TASK")
    config.write_text(labels.replace("labels = ", "overlapping = true\nlabels = "), encoding="utf-8")
    outcome = run_command(command, ["--scheme", config], capsys)
    assert outcome.status == 1
    assert "can't handle spans that overlap, and the scheme has overlapping = true" in outcome.output
    assert "Traceback" not in outcome.output

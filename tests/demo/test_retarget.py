"""Other label sets on real data, by `init`, configs and vars alone: one label, many labels, categories."""

import json
from pathlib import Path

import pytest
from benchmarks import retarget
from benchmarks.retarget import Size
from running import ROOT, real_data

from ie.data.records import read_records
from ie.data.scheme import load_scheme

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

WORDS = ROOT / "tests/benchmarks/definitions"
# All but the LLM and the package, which take their time; what the LLM says is written by the test.
COMMANDS = ("check", "split", "train-curve", "train", "evaluate", "history")
# The first checkpoint that is more than chance is that of step 100.
QUICK = {"max_steps": 100, "seeds": 1, "portions": "100"}
# Once a project of spans has been through, others need only show that data and prompts are in order.
SHORT = ("check", "llm-plan", "split")


def silver(copy) -> None:
    """Gold in the place of the LLM's answers: what becomes of them is tested, not how good they are."""
    gold = read_records(copy / "assets/reviewed.jsonl")
    lines = [
        {
            "text": record.text,
            "spans": [
                {"start": s.start, "end": s.end, "label": s.label, "alignment": "exact"} for s in record.spans
            ],
            "cats": record.cats,
            "llm": {"dropped": []},
        }
        for record in gold
    ]
    (copy / "corpus/llm.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8"
    )
    (copy / "corpus/llm.json").write_text("{}\n")
    (copy / "training/llm-timings.jsonl").write_text("")


def take(name: str, folder: Path, commands: tuple[str, ...], reviewed: int) -> retarget.RetargetResult | None:
    copy = folder / "project"
    found = retarget.retarget(
        name,
        real_data(name),
        WORDS / f"{name}.cfg",
        ROOT,
        folder,
        size=Size(reviewed=reviewed, llm=160, words=60),
        overrides=QUICK,
        commands=commands,
        progress=lambda command: silver(copy) if command == "check" else None,
    )
    # no line of code is among what was edited; tests of the demo's data go with the demo
    changed = retarget.git(copy, "diff", "--name-only", "--", ".", ":!tests/demo").splitlines()
    assert not [path for path in changed if path.startswith(("scripts/", "tests/"))]
    assert 0 < found.added < 120
    assert found.labels == len(load_scheme(copy / "configs/llm.cfg").scored_labels)
    return found


@pytest.mark.parametrize("name", ["fashion_brands", "docs_issues"])
def test_a_set_goes_through_the_workflow(name, tmp_path):
    found = take(name, tmp_path, COMMANDS, reviewed=120)
    assert found.kind == ("categories" if name == "docs_issues" else "spans")
    assert found.test > 10
    assert found.f["llm"][0] == 1
    assert found.f["reviewed"] is not None


@pytest.mark.parametrize("name", ["crossner_politics", "fire"])
def test_many_labels_are_split_and_fit_a_prompt(name, tmp_path):
    # so many that each label is in train
    found = take(name, tmp_path, SHORT, reviewed=480)
    assert found.labels == {"crossner_politics": 9, "fire": 13}[name]

"""Other label sets on real data, by `init`, configs and vars alone: spans of one and of many labels, categories."""

import json

import pytest
from running import ROOT, real_data

from ie import retargeting
from ie.records import read_records
from ie.retargeting import Size
from ie.scheme import load_scheme

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

WORDS = ROOT / "tests/end_to_end/retarget"
# All but the LLM and the package, which take their time; what the LLM says is written by the test.
COMMANDS = ("check", "split", "train-curve", "train", "evaluate", "history")
# The first checkpoint that is more than chance is that of step 100.
QUICK = {"max_steps": 100, "seeds": 1, "portions": "50,100", "targets": ""}


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


@pytest.mark.parametrize("name", sorted(path.stem for path in WORDS.glob("*.cfg")))
def test_a_set_goes_through_the_workflow(name, tmp_path):
    data = real_data(name).parent
    copy = tmp_path / "project"

    def progress(command: str) -> None:
        if command == "check":
            silver(copy)

    found = retargeting.retarget(
        name,
        data,
        WORDS / f"{name}.cfg",
        ROOT,
        tmp_path,
        size=Size(reviewed=120, llm=80),
        overrides=QUICK,
        commands=COMMANDS,
        progress=progress,
    )
    scheme = load_scheme(copy / "configs/llm.cfg")
    assert found.labels == len(scheme.scored_labels) > 0
    assert found.kind == ("categories" if name == "docs_issues" else "spans")
    assert found.test > 10
    assert found.f["llm"][0] == 1
    assert found.f["reviewed"] is not None
    assert found.added < 120
    # no line of code is among what was edited
    changed = retargeting.git(copy, "diff", "--name-only").splitlines()
    assert not [path for path in changed if path.startswith(("scripts/", "tests/"))]

"""The benchmark puts in what it says, and counts what is named."""

import json
import os
import signal

import deals
import numpy as np
import pytest
from benchmarks import diagnosis, faults
from running import ROOT, real_data, run_command, write_lines

from ie.core.errors import UserError
from ie.diagnosis.findings import SPLITS

CONFIG = ROOT / "configs" / "efficient.cfg"


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """A data set of made-up deals."""
    lines = [record.to_line() for record in deals.records(900)]
    path = write_lines(tmp_path_factory.mktemp("deals") / "reviewed.jsonl", lines)
    return diagnosis.DataSet("deals", (path,), {"COMPANY": "Company", "MONEY": "Money"})


@pytest.fixture(scope="module")
def split(made_up):
    return diagnosis.load(made_up, "en")


@pytest.fixture(scope="module")
def healthy(split):
    return diagnosis.sample(split, CONFIG, "en", 0)


def spans(project, side):
    return {r.text: {(s.start, s.end, s.label) for s in r.spans} for r in project[side]}


@pytest.mark.parametrize("fault", faults.all_faults(), ids=lambda fault: fault.name)
def test_every_fault_changes_the_project_and_leaves_the_healthy_one_alone(healthy, fault):
    before = {side: spans(healthy, side) for side in SPLITS}, dict(healthy.overrides)
    broken = fault.inject(healthy, healthy, np.random.default_rng(0))
    assert ({side: spans(healthy, side) for side in SPLITS}, dict(healthy.overrides)) == before
    same_bytes = all(
        broken.bins[side].to_bytes() == faults.healthy(healthy).bins[side].to_bytes() for side in SPLITS
    )
    if fault.name == "dev drawn from another domain":
        assert same_bytes  # the other domain is this one here
    else:
        assert not same_bytes or broken.overrides != healthy.overrides


def test_shares_are_as_set(healthy):
    rng = np.random.default_rng(0)
    count = {side: sum(len(r.spans) for r in healthy[side]) for side in SPLITS}
    fewer = faults.missing(healthy, healthy, rng)
    left = sum(len(r.spans) for r in fewer["train"])
    assert left / count["train"] == pytest.approx(0.7, abs=0.05)
    more = faults.leaked(healthy, healthy, rng)
    assert len(more["train"]) - len(healthy["train"]) == int(0.3 * len(healthy["test"]))


def test_subsamples_differ_by_seed_only(split):
    texts = [[r.text for r in diagnosis.sample(split, CONFIG, "en", seed)["train"]] for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]


def test_table_counts_what_is_right(made_up):
    results = [
        {"data": "deals", "fault": "f", "named": "leak", "expected": "leak", "cause": "a leak"},
        {"data": "fire", "fault": "f", "named": None, "expected": "leak", "cause": ""},
        {"data": "deals", "fault": "", "named": None, "case": "decent", "cause": ""},
        {"data": "fire", "fault": "", "named": "drift", "case": "decent", "cause": "drift"},
    ]
    rows = diagnosis.table(results, [made_up, diagnosis.DataSet("fire", (), {})])
    assert rows[0] == ("f", "✔ a leak", "✘ nothing")
    assert rows[1][1:] == ("1 of 1", "0 of 1")
    assert rows[2][1:] == ("0 of 1", "1 of 1")


@pytest.mark.slow
def test_the_command(made_up, tmp_path, capsys):
    folder = real_data("fire/train.jsonl").parents[1]
    (first,) = made_up.paths
    options = ["--first", first, "--data", folder, "--healthy", 0, "--only", "test leaked into train"]
    options += ["--config", CONFIG, "--output", tmp_path / "found.json"]
    outcome = run_command("benchmark-diagnosis", options, capsys)
    assert outcome.status == 0
    assert outcome.output.count("✔ texts of dev or test are in train") == 2
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert [(r["data"], r["named"]) for r in found] == [(first.parent.name, "leak"), ("fire", "leak")]


def die(job):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_diagnosis_that_was_killed_is_one_sentence(made_up, monkeypatch):
    monkeypatch.setattr(diagnosis, "diagnosed", die)
    names = ["test leaked into train", "learning rate 0"]
    options = {"lang": "en", "healthy": 0, "seed": 0, "workers": 2, "only": names, "progress": print}
    with pytest.raises(UserError, match=r"one of 2 diagnoses at a time was killed, .* --vars.workers 1\.$"):
        diagnosis.run([made_up, made_up], config=CONFIG, **options)


def test_missing_file(tmp_path, capsys):
    outcome = run_command("benchmark-diagnosis", ["--first", tmp_path / "none.jsonl"], capsys)
    assert outcome.status == 1
    assert "none.jsonl: there is no such file" in outcome.output

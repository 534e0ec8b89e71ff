"""From findings and scores to a case, a cause and what to do."""

import json
from pathlib import Path

import pytest
from benchmarks import faults
from running import write_docbin
from tiny_project import CONFIG, data_findings, inject, project

from ie.core.stats import Estimate
from ie.data.records import Record, Span, blank, write_records
from ie.diagnosis import (
    annotation_tests,
    data_tests,
    recorded_training,
    training_tests,
    verdict,
)
from ie.diagnosis.findings import Finding, ProjectData, read


def without_spans(record: Record) -> Record:
    return Record(text=record.text)


def reference(checked: ProjectData, n: int) -> recorded_training.Reference:
    return recorded_training.Reference(
        docs={"dev": checked.docs("dev", checked.nlp.vocab)[:n]}, counts={}, steps=1, texts=1
    )


def scored(value: float, low: float, chance: float = 0.01) -> dict:
    return {
        "pipeline": ("Pipeline", Estimate(value, low, min(1.0, value + 0.05))),
        "chance": ("Chance", Estimate(chance, 0, chance)),
        "majority": ("Majority", Estimate(0.0, 0.0, 0.0)),
    }


class TestCases:
    @pytest.mark.parametrize(
        ("value", "low", "n", "case"),
        [
            (0.8, 0.7, 40, "decent"),
            (0.05, 0.0, 40, "chance"),
            (0.0, 0.0, 40, "chance"),
            (1.0, 0.97, 40, "too-good"),
            # everything right on a handful of texts proves nothing, and neither does everything wrong
            (1.0, 0.4, 4, "unknown"),
            (0.0, 0.0, 4, "unknown"),
        ],
    )
    def test_by_score(self, value: float, low: float, n: int, case: str) -> None:
        checked = project()
        assert verdict.decide(checked, [], reference(checked, n), scored(value, low))[0] == case

    def test_a_leak_is_too_good_whatever_the_score(self) -> None:
        checked = faults.changed(project(), train=[*project()["train"], *project()["test"]])
        found = data_findings(checked)
        case, why = verdict.decide(checked, list(found.values()), reference(checked, 40), scored(0.8, 0.7))
        assert case == "too-good"
        assert "test" in why

    def test_the_first_cause_says_what_to_do(self) -> None:
        found = list(data_findings(inject(faults.encoded, project())).values())
        assert verdict.next_step("decent", found, "").startswith("First: offsets count bytes of UTF-8.")

    def test_every_finding_has_its_place(self) -> None:
        checked = project(train=30, dev=0, test=0)
        names = {f.name for f in (*data_tests.run(checked, checked.nlp), *annotation_tests.run(checked))}
        names |= {hypothesis["name"] for hypothesis in training_tests.HYPOTHESES}
        # weaknesses are never the cause
        weak = {"balance", "density", "known-strings", "label-errors", "batches"}
        assert names - weak <= set(verdict.ORDER)


class TestBadInput:
    def test_one_example(self) -> None:
        found = verdict.diagnose(project(train=1, dev=1, test=0))
        assert found.case == "unknown"
        assert "1 text" in found.why
        assert {f.name for f in found.findings if f.verdict == "broken"} == set()
        by_name = {f.name: f for f in found.findings}
        assert by_name["places"].observation.startswith("train has 1 text with 2 spans")

    def test_no_dev(self) -> None:
        checked = project(train=40, dev=0, test=0)
        checked.problems["dev"] = "dev.jsonl: there is no such file; create it or correct the path."
        found = verdict.diagnose(checked)
        assert found.case == "unknown"
        assert "dev.jsonl: there is no such file" in found.why
        assert found.first is None
        assert {f.verdict for f in found.findings if f.name in ("shuffled", "batches", "baselines")} == {
            "not tested"
        }

    def test_no_annotation_in_train(self) -> None:
        found = verdict.diagnose(inject(faults.negative, project()))
        assert found.case == "no-training"
        assert found.first is not None
        assert found.first.name == "no-annotation"

    def test_dev_without_spans(self) -> None:
        checked = project(train=40)
        checked.texts["dev"] = [without_spans(r) for r in checked["dev"]]
        scores, missing = verdict.compare(checked, reference(checked, 40), None, None, None, "")
        assert (scores, list(missing)) == ({}, ["all"])
        assert verdict.decide(checked, [], reference(checked, 40), {})[0] == "unknown"

    def test_reading_faulty_files(self, tmp_path: Path) -> None:
        rows = [Record(text="Velto", spans=[Span(start=3, end=99, label="COMPANY")])]
        write_records(tmp_path / "train.jsonl", rows)
        write_docbin(tmp_path / "train.spacy", [Record(text="Velto")], blank("en"))
        (tmp_path / "dev.jsonl").write_text("{", encoding="utf-8")
        (tmp_path / "test.jsonl").write_text('{"text": "Velto"}', encoding="utf-8")
        (tmp_path / "test.spacy").write_text("{", encoding="utf-8")
        found = read(tmp_path, CONFIG, ("COMPANY",), lang="en", overrides={}, seed=0)
        assert len(found["train"]) == 1
        assert "dev.jsonl:1: not valid JSON" in found.problems["dev"]
        assert "test.spacy: is no spaCy corpus" in found.problems["test"]


def finding(name: str, verdict: str) -> Finding:
    return Finding(name, f"H of {name}", "Q", "T", "O", verdict, cause=f"cause of {name}", remedy="R")


def test_the_next_step_knows_the_curve_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "curve.json"
    assert verdict.curve_sentence(None, 80).startswith("Run train-curve to see")
    assert verdict.curve_sentence(path, 80).startswith("Run train-curve to see")
    path.write_text("[]", encoding="utf-8")
    assert verdict.curve_sentence(path, 80).startswith("Run train-curve to see")
    for percent, examples in ((100, 80), (33, 26)):
        curve = {"rows": [{"percent": percent, "examples": examples}], "verdict": {"text": "It rose."}}
        path.write_text(json.dumps(curve), encoding="utf-8")
        assert verdict.curve_sentence(path, 80) == "The training curve says: It rose."
        assert verdict.curve_sentence(path, 120).startswith("Run train-curve again")
    step = verdict.next_step("decent", [finding("a", "watch")], "The training curve says: It rose.")
    assert step.startswith("The training curve says: It rose. Run evaluate")
    assert step.endswith("look at: cause of a.")

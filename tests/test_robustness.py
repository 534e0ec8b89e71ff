"""The command from end to end, with pipelines made of patterns and a training too short to learn much."""

import json
from pathlib import Path

import pytest
import spacy
from corpora import sales, write_split
from running import ROOT, Outcome, run_command, write_lines


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_split(tmp_path, test=40, dev=10, train=30)
    patterns = {
        # one knows its names by heart, the other takes everything that looks like one
        "reviewed": [{"label": "COMPANY", "pattern": name} for name in ("Velto", "Hooli", "Anker")],
        "both": [{"label": "COMPANY", "pattern": [{"IS_TITLE": True, "IS_SENT_START": True}]}],
    }
    for name, rules in patterns.items():
        nlp = spacy.blank("en")
        nlp.add_pipe("sentencizer")
        nlp.add_pipe("entity_ruler").add_patterns(rules)
        folder = tmp_path / "models" / name / "model-best"
        folder.mkdir(parents=True)
        nlp.to_disk(folder)
    return tmp_path


def robustness(project: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    options = {"--corpus": ".", "--scheme": "llm.cfg", "--models": "models", "--output": "out"}
    paths = [part for name, file in options.items() for part in (name, project / file)]
    config = ["--config", ROOT / "configs" / "efficient.cfg"]
    return run_command("robustness", [*paths, *config, "--seeds", 1, *more], capsys)


def read(project: Path) -> dict:
    return json.loads((project / "out" / "robustness.json").read_text(encoding="utf-8"))


def test_a_pipeline_that_memorised_names_falls_on_new_ones(project, capsys):
    outcome = robustness(project, capsys)
    assert outcome.status == 0
    found = read(project)["perturbations"]
    assert set(found) == {"original", "lower", "upper", "typos", "names", "punctuation", "joined"}
    change = {name: {s: c["change"] for s, c in each["systems"].items()} for name, each in found.items()}
    f = found["original"]["systems"]["reviewed"]["f"]
    assert f == pytest.approx(2 / 3, abs=1e-4)
    assert change["names"]["reviewed"] == pytest.approx(-f, abs=1e-4)
    assert change["names"]["both"] == 0
    assert change["lower"]["reviewed"] == pytest.approx(-f, abs=1e-4)
    assert change["joined"]["reviewed"] == change["punctuation"]["reviewed"] == 0
    assert found["names"]["systems"]["reviewed"]["holm"] < 0.05
    assert found["names"]["texts_changed"] == found["joined"]["texts_changed"] == 40
    assert found["names"]["labels"]["CITY"]["change"] == 0
    assert "Pipeline, reviewed only (n=40 texts) loses most to" in outcome.output
    assert "silver" in outcome.output
    assert "run `weasel run train`" in outcome.output
    page = (project / "out" / "robustness.html").read_text(encoding="utf-8")
    assert "40 test texts" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_more_seeds_are_trained_and_a_second_run_writes_the_same_bytes(project, capsys):
    options = ["--seeds", 2, "--max-steps", 10, "--perturb", "lower"]
    assert robustness(project, capsys, *options).status == 0
    seeds = read(project)["seeds"]
    assert seeds["first"] == 0
    assert {name: len(each["scores"]) for name, each in seeds["f"].items()} == {"original": 2, "lower": 2}
    files = ("robustness.json", "robustness.png")
    before = [(project / "out" / name).read_bytes() for name in files]
    assert robustness(project, capsys, *options).status == 0
    assert before == [(project / "out" / name).read_bytes() for name in files]


def test_seeds_of_plain_trainings_are_no_seeds_of_the_distilled_pipeline(project, capsys):
    (project / "models" / "both").rename(project / "models" / "distilled")
    outcome = robustness(project, capsys, "--inspect", "distilled", "--seeds", 3, "--perturb", "lower")
    assert outcome.status == 0
    assert outcome.output.count("Other seeds are left out: they would") == 1
    assert "standard deviation" not in outcome.output
    assert [len(each["scores"]) for each in read(project)["seeds"]["f"].values()] == [1, 1]
    page = (project / "out" / "robustness.html").read_text(encoding="utf-8")
    assert page.count("Other seeds are left out") == 1


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--perturb", "sideways"], "--perturb 'sideways': there are lower, upper"),
        (["--inspect", "silver"], "there is no trained pipeline; run `weasel run train`"),
        (["--corpus", "nowhere"], "nowhere/test.jsonl: there is no such file"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(project, capsys, options, fault):
    outcome = robustness(project, capsys, *options)
    assert outcome.status == 1
    assert fault in outcome.output
    assert "Traceback" not in outcome.output
    assert not (project / "out").exists()


def test_one_example_with_one_label_gives_no_verdict(project, capsys):
    (record,) = sales(1)
    record.spans = record.spans[:1]
    write_lines(project / "test.jsonl", [record.to_line()])
    outcome = robustness(project, capsys)
    assert outcome.status == 0
    assert "so few texts can't show what a perturbation does" in outcome.output
    p = {
        c["holm"]
        for each in read(project)["perturbations"].values()
        for c in each["systems"].values()
        if "holm" in c
    }
    assert p == {1.0}

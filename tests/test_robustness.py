"""The command from end to end, with pipelines made of patterns and a training too short to learn much."""

import json
from pathlib import Path

import pytest
import spacy
from running import ROOT, Outcome, run_command, scheme, write_docbin, write_lines

from ie.data.records import blank, read_records

SCHEME = scheme("COMPANY", "CITY")


def row(n: int) -> dict:
    company = ("Velto", "Hooli", "Anker")[n % 3]
    text = f"{company} sold {n} boats in Oslo."
    oslo = text.index("Oslo")
    spans = [
        {"start": 0, "end": 5, "label": "COMPANY"},
        {"start": oslo, "end": oslo + 4, "label": "CITY"},
    ]
    return {"text": text, "spans": spans, "meta": {"id": f"t{n}"}, "answer": "accept"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "llm.cfg").write_text(SCHEME, encoding="utf-8")
    write_lines(tmp_path / "test.jsonl", [row(n) for n in range(40)])
    write_lines(tmp_path / "train.jsonl", [row(n) for n in range(100, 130)])
    write_docbin(tmp_path / "train.spacy", read_records(tmp_path / "train.jsonl"), blank("en"))
    write_docbin(tmp_path / "dev.spacy", read_records(tmp_path / "test.jsonl")[:10], blank("en"))
    patterns = {
        # one knows its names by heart, the other everything that looks like one
        "reviewed": [{"label": "COMPANY", "pattern": name} for name in ("Velto", "Hooli", "Anker")],
        "both": [{"label": "COMPANY", "pattern": [{"IS_TITLE": True, "IS_SENT_START": True}]}],
    }
    for name, found in patterns.items():
        nlp = spacy.blank("en")
        nlp.add_pipe("sentencizer")
        nlp.add_pipe("entity_ruler").add_patterns(found)
        folder = tmp_path / "models" / name / "model-best"
        folder.mkdir(parents=True)
        nlp.to_disk(folder)
    return tmp_path


def robustness(project: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    options = {
        "--test": "test.jsonl",
        "--train": "train.jsonl",
        "--scheme": "llm.cfg",
        "--models": "models",
        "--train-corpus": "train.spacy",
        "--dev-corpus": "dev.spacy",
        "--output": "out",
    }
    paths = [part for name, file in options.items() for part in (name, project / file)]
    config = ["--config", ROOT / "configs" / "efficient.cfg", "--repeats", 1]
    return run_command("robustness", [*paths, *config, "--seeds", 1, *more], capsys)


def read(project: Path) -> dict:
    return json.loads((project / "out" / "robustness.json").read_text(encoding="utf-8"))


def test_who_knows_names_by_heart_falls_where_names_are_new(project, capsys):
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
    assert "the answers are the same on all 40 texts" in outcome.output
    speed = json.loads((project / "out" / "speed.json").read_text(encoding="utf-8"))
    assert set(speed) == {"1", "8", "64", "256"}
    page = (project / "out" / "robustness.html").read_text(encoding="utf-8")
    assert "40 gold test texts" in page
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
        (["--perturb", "sideways"], "'sideways' is none; choose from lower, upper"),
        (["--batch-sizes", "many"], "--batch-sizes 'many' must be whole numbers"),
        (["--inspect", "silver"], "there is no trained pipeline; run `weasel run train`"),
        (["--test", "nowhere.jsonl"], "nowhere.jsonl: there is no such file"),
        (["--seeds", 2, "--train-corpus", "nowhere.spacy"], "nowhere.spacy: there is no such corpus"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(project, capsys, options, fault):
    outcome = robustness(project, capsys, *options)
    assert outcome.status == 1
    assert fault in outcome.output
    assert "Traceback" not in outcome.output
    assert not (project / "out").exists()


def test_one_example_with_one_label_gives_no_verdict(project, capsys):
    one = row(0)
    write_lines(project / "test.jsonl", [one | {"spans": one["spans"][:1]}])
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

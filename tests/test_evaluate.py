"""The command from end to end, on a small corpus of the demo's kind."""

import json
import shutil
from pathlib import Path

import pytest
import spacy
from running import Outcome, run_command, scheme, write_lines

SCHEME = scheme("COMPANY", "MONEY")
STABLE = ("metrics.json", "scores.json", "analysis.json", "documents.jsonl")


def row(n: int, text: str = "{} sold boats for € {}.") -> dict:
    company = ("Velto", "Hooli", "Anker")[n % 3]
    text = text.format(company, n)
    money = text.index("€")
    spans = [
        {"start": 0, "end": 5, "label": "COMPANY"},
        {"start": money, "end": money + 2 + len(str(n)), "label": "MONEY"},
    ]
    return {"text": text, "spans": spans, "meta": {"id": f"t{n}", "writer": f"w{n % 2}"}, "answer": "accept"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "llm.cfg").write_text(SCHEME, encoding="utf-8")
    write_lines(tmp_path / "test.jsonl", [row(n) for n in range(40)])
    write_lines(tmp_path / "train.jsonl", [row(n, "{} bought a harbour for € {}.") for n in range(100, 130)])
    write_lines(tmp_path / "llm.jsonl", [row(n) for n in range(40)])
    write_lines(tmp_path / "timings.jsonl", [{"parallel": 1, "mb": 253}])
    write_lines(
        tmp_path / "patterns.jsonl",
        [{"label": "MONEY", "pattern": [{"TEXT": "€"}, {"TEXT": {"REGEX": r"^\d+$"}}]}],
    )
    (tmp_path / "names.csv").write_text("id,name,aliases\n1,Velto,\n2,Hooli,\n", encoding="utf-8")
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "COMPANY", "pattern": "Velto"}])
    folder = tmp_path / "models" / "both" / "model-best"
    folder.mkdir(parents=True)
    nlp.to_disk(folder)
    return tmp_path


def evaluate(project: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    options = {
        "--test": "test.jsonl",
        "--train": "train.jsonl",
        "--scheme": "llm.cfg",
        "--llm": "llm.jsonl",
        "--llm-timings": "timings.jsonl",
        "--patterns": "patterns.jsonl",
        "--gazetteer": "names.csv",
        "--models": "models",
        "--output": "out",
    }
    paths = [part for name, file in options.items() for part in (name, project / file)]
    return run_command("evaluate", [*paths, "--gazetteer-label", "COMPANY", *more], capsys)


def test_systems_are_scored_side_by_side(project, capsys):
    outcome = evaluate(project, capsys)
    assert outcome.status == 0
    metrics = json.loads((project / "out" / "metrics.json").read_text(encoding="utf-8"))
    f = {name: scores["all"]["f"] for name, scores in metrics["systems"].items()}
    # The rules miss a third of the companies; the dictionary has them all, and no amount.
    assert f == {"llm": 1.0, "rules": 0.9116, "memoriser": 0.6667, "crf": 1.0, "both": 0.2979}
    assert metrics["systems"]["llm"]["mb"] == 253
    assert set(metrics["missing"]) == {"silver", "reviewed", "combined"}
    assert "Pipeline, silver only is missing" in outcome.output
    assert "run `weasel run train`" in outcome.output
    assert "(n=40)" in (project / "out" / "report.html").read_text(encoding="utf-8")
    scores = json.loads((project / "out" / "scores.json").read_text(encoding="utf-8"))
    # flat, for `dvc metrics diff`: the pipeline that is there, and the LLM
    ends = [f"{metric}{end}" for metric in "fpr" for end in ("", "_low", "_high")]
    assert list(scores) == [*ends, "llm_f", "n"]
    assert (scores["f"], scores["llm_f"], scores["n"]) == (0.2979, 1.0, 40)
    assert scores["f_low"] <= scores["f"] <= scores["f_high"]
    speed = json.loads((project / "out" / "speed.json").read_text(encoding="utf-8"))
    assert set(speed) == {"rules", "memoriser", "crf", "both"}


def test_the_pipeline_with_the_rules_in_it_has_a_row(project, capsys):
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler", name="ner").add_patterns([{"label": "COMPANY", "pattern": "Anker"}])
    folder = project / "models" / "reviewed" / "model-best"
    folder.mkdir(parents=True)
    nlp.to_disk(folder)
    write_lines(project / "dev.jsonl", [row(n, "{} sold a harbour for € {}.") for n in range(200, 230)])
    outcome = evaluate(project, capsys)
    assert outcome.status == 0, outcome.output
    metrics = json.loads((project / "out" / "metrics.json").read_text(encoding="utf-8"))
    # rules and model together find what each alone misses
    assert metrics["systems"]["combined"]["all"]["f"] == 1.0
    assert "Pipeline, reviewed only, with rules" in outcome.output
    assert "rules first helps beyond noise" in " ".join(outcome.output.split())
    # it is kept, as `package` ships it, and its scores are those to compare between commits
    shipped = project / "models" / "shipped"
    assert spacy.load(shipped / "model-best").pipe_names == ["rules", "ner"]
    assert json.loads((shipped / "rules.json").read_text(encoding="utf-8"))["trained_on"] == "reviewed"
    assert json.loads((project / "out" / "scores.json").read_text(encoding="utf-8"))["f"] == 1.0
    # without the trained one, an older one isn't left
    shutil.rmtree(folder)
    assert evaluate(project, capsys).status == 0
    assert not shipped.exists()


def test_names_in_no_list_and_no_training_text_are_scored_apart(project, capsys):
    rows = [row(n, "{} bought a harbour for € {}.") for n in range(100, 130)]
    write_lines(project / "train.jsonl", [r for r in rows if "Anker" not in r["text"]])
    outcome = evaluate(project, capsys)
    # Anker is neither in the list nor in train; Velto and Hooli are
    assert "F on the 13 spans of COMPANY, in no list and no training text" in " ".join(outcome.output.split())
    slices = json.loads((project / "out" / "analysis.json").read_text(encoding="utf-8"))["slices"]
    part = "COMPANY, in no list and no training text"
    assert slices["rules"][part]["f"] == 0
    assert slices["llm"][part]["f"] == 1
    assert part in (project / "out" / "report.html").read_text(encoding="utf-8")


def test_a_second_run_writes_the_same_bytes(project, capsys):
    assert evaluate(project, capsys).status == 0
    before = {name: (project / "out" / name).read_bytes() for name in STABLE}
    assert evaluate(project, capsys).status == 0
    assert before == {name: (project / "out" / name).read_bytes() for name in STABLE}


def test_everything_optional_may_be_absent(project, capsys):
    (project / "llm.jsonl").unlink()
    outcome = evaluate(project, capsys, "--gazetteer", "", "--patterns", "", "--models", project / "none")
    assert outcome.status == 0
    metrics = json.loads((project / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert set(metrics["systems"]) == {"memoriser", "crf"}
    assert json.loads((project / "out" / "scores.json").read_text(encoding="utf-8")) == {"n": 40}
    assert set(metrics["missing"]) == {"llm", "rules", "silver", "reviewed", "both"}


def test_test_texts_without_a_span_give_no_score_and_stop_nothing(project, capsys):
    """As in a project of a dozen texts: what was found is wrong, and what wasn't can't be scored."""
    write_lines(project / "test.jsonl", [{"text": text} for text in ("Nothing here.", "Velto is here.")])
    outcome = evaluate(project, capsys)
    assert outcome.status == 0, outcome.output
    assert "test.jsonl: 2 texts without any span or category, so nothing can be scored" in outcome.output
    metrics = json.loads((project / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["systems"]["rules"]["all"]["f"] == 0
    for file in ("metrics.json", "scores.json", "analysis.json", "report.html"):
        assert "NaN" not in (project / "out" / file).read_text(encoding="utf-8")


def test_answers_other_than_accept_are_not_tested_on(project, capsys):
    rows = [row(n) | ({"answer": "reject"} if n < 10 else {}) for n in range(40)]
    write_lines(project / "test.jsonl", rows)
    assert evaluate(project, capsys).status == 0
    metrics = json.loads((project / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["test"]["documents"] == 30


@pytest.mark.parametrize(
    ("file", "lines", "fault"),
    [
        ("test.jsonl", [], "holds no accepted example to test on"),
        ("test.jsonl", ["{broken"], "test.jsonl:1"),
        (
            "test.jsonl",
            [{"text": "Velto", "spans": [{"start": 0, "end": 5, "label": "CITY"}]}],
            "test.jsonl:1: span label 'CITY' isn't in the scheme",
        ),
        ("train.jsonl", ["{broken"], "train.jsonl:1"),
        ("llm.jsonl", ["{broken"], "llm.jsonl:1"),
        ("patterns.jsonl", ["{broken"], "patterns.jsonl:1: not a pattern"),
        ("names.csv", ["no,header"], "names.csv:1"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(project, capsys, file, lines, fault):
    write_lines(project / file, lines)
    outcome = evaluate(project, capsys)
    assert outcome.status == 1
    assert fault in outcome.output
    assert "Traceback" not in outcome.output
    assert not (project / "out").exists()


def test_a_gazetteer_needs_a_label_of_the_scheme(project, capsys):
    outcome = evaluate(project, capsys, "--gazetteer-label", "CITY")
    assert outcome.status == 1
    assert "--gazetteer-label 'CITY' isn't in the scheme (COMPANY, MONEY)" in outcome.output

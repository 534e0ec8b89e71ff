"""The commands of distillation from end to end, on trainings too short to learn much."""

import json
from pathlib import Path

import pytest
from running import ROOT, Outcome, run_command, scheme, write_docbin, write_lines
from spacy.tokens import DocBin

from ie.data.records import Record, Span, blank, read_records

SCHEME = scheme("COMPANY", "CITY")
NAMES = ("Velto", "Hooli", "Anker", "Baxes", "Corvo")


def gold(start: int, n: int) -> list[Record]:
    found = []
    for i in range(start, start + n):
        text = f"{NAMES[i % 5]} sold {i} boats in Oslo."
        oslo = text.index("Oslo")
        spans = [Span(start=0, end=5, label="COMPANY"), Span(start=oslo, end=oslo + 4, label="CITY")]
        found.append(Record(text=text, spans=spans))
    return found


def said(records: list[Record]) -> list[Record]:
    """What a model might have made of texts: every third span wrong, some found by chance."""
    found = []
    for i, record in enumerate(records):
        company, city = ({"start": s.start, "end": s.end, "label": s.label} for s in record.spans)
        company["alignment"] = "fuzzy" if i % 4 == 0 else "exact"
        boats = record.text.index("boats")
        wrong = {"start": boats, "end": boats + 5, "label": "CITY", "alignment": "exact"}
        dropped = [{"reason": "not in the text"}] if i % 5 == 0 else []
        spans = [company, wrong if i % 3 == 0 else city]
        found.append(Record(text=record.text, spans=spans, llm={"dropped": dropped}))
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "llm.cfg").write_text(SCHEME, encoding="utf-8")
    settings = (ROOT / "configs" / "distill.cfg").read_text(encoding="utf-8").split("[recipes]")[0]
    settings = settings.replace("pipelines = 2", "pipelines = 1")
    recipes = (
        'both = []\nall = ["confidence", "agreement", "rules", "label-errors", "self-training", "missing", '
    )
    (tmp_path / "distill.cfg").write_text(
        f'{settings}[recipes]\n{recipes}"repeat", "two-stage"]\n', encoding="utf-8"
    )
    nlp = blank("en")
    reviewed, silver, dev, test = gold(0, 12), gold(20, 10), gold(40, 8), gold(60, 10)
    write_docbin(tmp_path / "reviewed.spacy", reviewed, nlp)
    write_docbin(tmp_path / "silver.spacy", silver, nlp)
    write_docbin(tmp_path / "dev.spacy", dev, nlp)
    write_lines(tmp_path / "test.jsonl", (record.to_line() for record in test))
    write_lines(tmp_path / "llm.jsonl", (r.to_line() for r in said([*silver, *dev, *test])))
    write_lines(tmp_path / "llm-train.jsonl", (r.to_line() for r in said(reviewed[2:])))
    return tmp_path


def options(project: Path, **files: str) -> list[object]:
    files = {
        "settings": "distill.cfg",
        "reviewed": "reviewed.spacy",
        "silver": "silver.spacy",
        "llm": "llm.jsonl",
        "dev": "dev.spacy",
        "scheme": "llm.cfg",
        "cache": "cache",
        **files,
    }
    paths = [part for name, file in files.items() for part in (f"--{name}", project / file)]
    config = ROOT / "configs" / "efficient.cfg"
    return [*paths, "--config", config, "--patterns", "", "--max-steps", 10, "--workers", 1]


def distill(project: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    return run_command("distill", [*options(project, corpus="corpus", output="out"), *more], capsys)


def compare(project: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    files = {"test": "test.jsonl", "llm-train": "llm-train.jsonl", "output": "out"}
    given = [*options(project, **files), "--reviewed-examples", 6, "--seeds", 1]
    return run_command("compare-distillation", [*given, *more], capsys)


def test_distilled_examples_keep_gold_untouched_and_make_up_nothing(project, capsys):
    outcome = distill(project, capsys)
    assert outcome.status == 0, outcome.output
    lines = read_records(project / "corpus" / "distilled.jsonl")
    assert [(r.text, r.spans) for r in lines[:12]] == [(r.text, r.spans) for r in gold(0, 12)]
    silver = lines[12:]
    assert {r.text for r in silver} == {r.text for r in gold(20, 10)}
    assert all(r.model_extra["silver"] for r in silver)
    docs = list(DocBin().from_disk(project / "corpus" / "distilled.spacy").get_docs(blank("en").vocab))
    assert all(token.ent_iob for doc in docs[:12] for token in doc)
    assert any(token.ent_iob == 0 for doc in docs[12:] for token in doc)
    assert (project / "out" / "model-best" / "meta.json").exists()
    told = json.loads((project / "out" / "distill.json").read_text(encoding="utf-8"))
    assert (told["reviewed_texts"], told["silver_texts"], told["dev_documents"]) == (12, 10, 8)
    before = {p: p.read_bytes() for p in (project / "corpus").iterdir()}
    assert distill(project, capsys).status == 0
    assert before == {p: p.read_bytes() for p in (project / "corpus").iterdir()}


def test_the_comparison_prints_its_table_and_opens_test_for_one(project, capsys):
    outcome = compare(project, capsys)
    assert outcome.status == 0, outcome.output
    for words in (
        "reviewed alone",
        "silver alone",
        "both",
        "all",
        "On test, looked at for these alone (n=10)",
    ):
        assert words in outcome.output
    found = json.loads((project / "out" / "distillation.json").read_text(encoding="utf-8"))
    assert list(found["recipes"]) == ["reviewed", "silver", "both", "all"]
    # 10 unreviewed texts, and 6 of the 12 reviewed ones whose gold is hidden
    assert found["recipes"]["both"]["silver_texts"] == 16
    assert found["recipes"]["both"]["missing_tokens"] == 0 < found["recipes"]["all"]["missing_tokens"]
    assert found["recipes"]["silver"]["silver_quality"]["p"][0] < 1
    assert set(found["test"]["systems"]) == {found["recommended"], "reviewed", "llm"}
    assert (project / "out" / "distillation.png").read_bytes().startswith(b"\x89PNG")
    assert "Distillation" in (project / "out" / "distillation.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        (["--recipe", "best"], "has no recipe 'best'; choose from both, all."),
        (["--llm", "none.jsonl"], "none.jsonl: there is no such file"),
        (["--gazetteer", "none.csv", "--gazetteer-label", "COMPANY"], "none.csv: "),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(project, capsys, more, fault):
    outcome = distill(project, capsys, *more)
    assert outcome.status == 1
    assert fault in outcome.output
    assert "Traceback" not in outcome.output
    assert not (project / "corpus").exists() or not list((project / "corpus").iterdir())
    assert not (project / "out" / "model-best").exists()


def test_no_silver_is_told_with_its_remedy(project, capsys):
    write_docbin(project / "silver.spacy", [], blank("en"))
    outcome = distill(project, capsys)
    assert outcome.status == 1
    assert "there is no silver text to distil; run `weasel run llm-annotate`" in outcome.output

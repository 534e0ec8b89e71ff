"""The commands of distillation from end to end, on trainings too short to learn much."""

import json
import re
from pathlib import Path

import pytest
import spacy
from corpora import sales, write_split
from running import ROOT, Outcome, run_command, write_docbin, write_lines
from spacy.tokens import DocBin

from ie.data.records import Record, blank, read_records
from ie.training.distill import recipes
from ie.training.distill.distillation import open_distillation


def labelled(records: list[Record]) -> list[Record]:
    """What an LLM might predict: every third span wrong, some found by chance."""
    predicted = []
    for i, record in enumerate(records):
        company, city = ({"start": s.start, "end": s.end, "label": s.label} for s in record.spans)
        company["alignment"] = "fuzzy" if i % 4 == 0 else "exact"
        boats = record.text.index("boats")
        wrong = {"start": boats, "end": boats + 5, "label": "CITY", "alignment": "exact"}
        dropped = [{"reason": "not in the text"}] if i % 5 == 0 else []
        spans = [company, wrong if i % 3 == 0 else city]
        predicted.append(Record(text=record.text, spans=spans, llm={"dropped": dropped}))
    return predicted


@pytest.fixture
def project(tmp_path: Path) -> Path:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    settings = (ROOT / "configs" / "distill.cfg").read_text(encoding="utf-8").split("[recipes]")[0]
    settings = settings.replace("pipelines = 2", "pipelines = 1")
    settings = settings.replace("assets/patterns.jsonl", "").replace("assets/companies.csv", "none.csv")
    lists = (
        'both = []\nall = ["confidence", "agreement", "rules", "label-errors", "self-training", "missing", '
    )
    (tmp_path / "distill.cfg").write_text(
        f'{settings}[recipes]\n{lists}"repeat", "two-stage"]\n', encoding="utf-8"
    )
    parts = write_split(corpus, reviewed=12, silver=10, dev=8, test=10)
    answers = labelled([*parts["silver"], *parts["dev"], *parts["test"]])
    write_lines(corpus / "llm.jsonl", (record.to_line() for record in answers))
    write_lines(corpus / "llm-train.jsonl", (r.to_line() for r in labelled(parts["reviewed"][2:])))
    return tmp_path


def command(name: str, project: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    files = {
        "settings": "distill.cfg",
        "corpus": "corpus",
        "scheme": "corpus/llm.cfg",
        "cache": "cache",
        "output": "out",
    }
    paths = [part for option, file in files.items() for part in (f"--{option}", project / file)]
    config = ["--config", ROOT / "configs" / "efficient.cfg", "--max-steps", 10, "--workers", 1]
    return run_command(name, [*paths, *config, *more], capsys)


def distill(project: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    return command("distill", project, capsys, *more)


def distilled(project: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (project / "corpus").glob("distilled.*")}


def test_distilled_examples_keep_gold_untouched_and_make_up_nothing(project, capsys):
    outcome = distill(project, capsys)
    assert outcome.status == 0, outcome.output
    lines = read_records(project / "corpus" / "distilled.jsonl")
    assert [(r.text, r.spans) for r in lines[:12]] == [(r.text, r.spans) for r in sales(12)]
    silver = lines[12:]
    assert {r.text for r in silver} == {r.text for r in sales(10, 12)}
    assert all(r.model_extra["silver"] for r in silver)
    docs = list(DocBin().from_disk(project / "corpus" / "distilled.spacy").get_docs(blank("en").vocab))
    assert all(token.ent_iob for doc in docs[:12] for token in doc)
    assert any(token.ent_iob == 0 for doc in docs[12:] for token in doc)
    assert (project / "out" / "model-best" / "meta.json").exists()
    summary = json.loads((project / "out" / "distill.json").read_text(encoding="utf-8"))
    assert (summary["reviewed_texts"], summary["silver_texts"], summary["dev_documents"]) == (12, 10, 8)
    before = distilled(project)
    assert len(before) == 2
    assert distill(project, capsys).status == 0
    assert before == distilled(project)


def test_a_pipeline_that_learns_in_one_go_learns_from_reviewed_and_silver_at_once(project, capsys):
    outcome = distill(project, capsys, "--config", ROOT / "configs" / "crf.cfg", "--max-steps", 0)
    assert outcome.status == 0, outcome.output
    assert "two-stage is left out" in outcome.output
    assert "checkpoint" not in outcome.output
    nlp = spacy.load(project / "out" / "model-best")
    # words of silver texts alone
    reviewed, silver = (" ".join(record.text for record in of) for of in (sales(12), sales(10, 12)))
    new = {*silver.lower().split()} - {*reviewed.lower().split()}
    assert new & {*nlp.get_pipe("ner").weights["words"]}


def test_pipelines_that_vote_differ_although_seeds_change_nothing(project):
    corpus = project / "corpus"
    with open_distillation(
        recipes.load(project / "distill.cfg"),
        corpus,
        corpus / "llm.cfg",
        ROOT / "configs" / "data.cfg",
        gazetteer_label="",
        max_steps=0,
        workers=1,
        seed=0,
        config=ROOT / "configs" / "crf.cfg",
        cache=None,
    ) as distillation:
        first, second = distillation.teachers([], 2, 1)
        assert first.train.read_bytes() != second.train.read_bytes()


def test_the_comparison_prints_its_table_and_opens_test_for_one(project, capsys):
    outcome = command("compare-distillation", project, capsys, "--reviewed-examples", 6, "--seeds", 1)
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
    page = (project / "out" / "distillation.html").read_text(encoding="utf-8")
    assert re.search(r'<p class="headline">(Take|Leave) .+</p>', page)


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        (["--recipe", "best"], "has no recipe 'best'; choose from both, all."),
        (["--corpus", "nowhere"], "nowhere/reviewed.spacy: there is no such"),
        (["--gazetteer-label", "COMPANY"], "none.csv: "),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(project, capsys, more, fault):
    outcome = distill(project, capsys, *more)
    assert outcome.status == 1
    assert fault in outcome.output
    assert "Traceback" not in outcome.output
    assert not distilled(project)
    assert not (project / "out" / "model-best").exists()
    assert not Path("nowhere").exists()


def test_no_silver_is_reported_with_its_remedy(project, capsys):
    write_docbin(project / "corpus" / "silver.spacy", [], blank("en"))
    outcome = distill(project, capsys)
    assert outcome.status == 1
    assert "there is no silver text to distil; run `weasel run llm-annotate`" in outcome.output

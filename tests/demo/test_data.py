"""The demo's data as shipped: they pass `check`, and `split` makes of them what the docs say."""

import json
from pathlib import Path

import pytest
import spacy
from running import ROOT, run_command

from ie.data.gazetteer import read_gazetteer
from ie.data.records import ReadReport, blank, read_records
from ie.diagnosis.annotated_strings import AnnotatedStrings
from ie.evaluation import baselines
from ie.review.guidelines_panel import read_guidelines
from ie.setup import demo, project_file
from ie.training import linker_training

ASSETS = ROOT / "assets"
FILES = ("--reviewed", ASSETS / "reviewed.jsonl", "--texts", ASSETS / "texts.jsonl")
DATA = ("--data", ROOT / "configs/data.cfg", "--scheme", ROOT / "configs/llm.cfg")


def test_init_knows_the_gold_that_it_may_replace() -> None:
    gold = (ASSETS / "reviewed.jsonl").read_text(encoding="utf-8")
    assert project_file.md5(gold) == demo.GOLD_MD5


def test_check_finds_no_mistake(capsys: pytest.CaptureFixture) -> None:
    more = ["--guidelines", ASSETS / "guidelines.md", "--gazetteer", ASSETS / "companies.csv"]
    more += ["--gazetteer-label", "COMPANY", "--config", ROOT / "configs/crf.cfg"]
    outcome = run_command("check", [*FILES, *DATA, *more], capsys)
    assert outcome.status == 0, outcome.output
    assert "link to ids" not in outcome.output


def test_test_and_dev_are_large_enough(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    more = ["--silver", tmp_path / "none.jsonl", "--train-on", "reviewed", "--output", tmp_path]
    outcome = run_command("split", [*FILES, *DATA, *more], capsys)
    assert outcome.status == 0, outcome.output
    summary = json.loads((tmp_path / "split.json").read_text(encoding="utf-8"))
    assert summary["splits"]["train"]["documents"] >= 500
    assert summary["splits"]["test"]["documents"] >= 500
    assert summary["splits"]["dev"]["documents"] >= 120
    assert summary["precision"]["test"]["digits"] == 2


def test_both_companies_of_the_talk_are_linked() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns(
        [{"label": "COMPANY", "pattern": name} for name in ("Hooli", "ACME Ventures")]
    )
    table = linker_training.rows(read_gazetteer(ASSETS / "companies.csv"))
    nlp.add_pipe("linker").initialize(rows=table)
    doc = nlp("Hooli raises $5m to revolutionize search, led by ACME Ventures")
    assert [ent.kb_id_ for ent in doc.ents] == ["5923214", "1681056"]


def test_annotations_fit_tokens_and_none_is_needless() -> None:
    nlp, report = blank("en"), ReadReport()
    gold = read_records(ASSETS / "reviewed.jsonl", tokenizer=nlp.tokenizer, report=report)
    assert report.counts() == {}
    assert report.answers["accept"] == sum(report.answers.values())
    docs = [nlp.make_doc(record.text) for record in gold]
    compared, needless = AnnotatedStrings(gold, docs).needless()
    assert compared > 500
    assert needless == []


def test_guidelines_speak_of_the_labels() -> None:
    guidelines = read_guidelines(ASSETS / "guidelines.md", ["COMPANY", "INVESTOR"])
    assert len(guidelines.about(["INVESTOR"])) >= 2


def test_patterns_find_amounts_of_money() -> None:
    find = baselines.predict_with(baselines.rules(blank("en"), patterns=ASSETS / "patterns.jsonl"))
    # written for this test, in forms that the guidelines name
    amounts = {
        "It paid about €1.5 million for it.": ["€1.5 million"],
        "A round of $10-15 million was planned.": ["$10-15 million"],
        "They got half a million euros.": ["half a million euros"],
        "Sales were Rs 200 crore, or CHF 7,5 Mio.": ["Rs 200 crore", "CHF 7,5 Mio"],
        "Hooli raises $5m to revolutionize search.": ["$5m"],
        "Profit was between 3 and 4 percent, with 200 staff and 5,000 shares.": [],
        "At NZ$12.5m or 40 billion yen, it is dear.": ["NZ$12.5m", "40 billion yen"],
    }
    spans = {text: record.spans for text, record in zip(amounts, find(list(amounts)), strict=True)}
    assert {text: [text[s.start : s.end] for s in spans[text]] for text in amounts} == amounts
    assert {span.label for found in spans.values() for span in found} == {"MONEY"}

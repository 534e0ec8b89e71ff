"""The command: suggestions for the unreviewed texts, and a score for each source."""

import json
from pathlib import Path

import pytest
import spacy
from running import ROOT, Outcome, run_command, scheme, write_lines

SCHEME = scheme("COMPANY", "MONEY")


def line(n: int, spans: bool = True, **more) -> dict:
    company = ("Velto", "Hooli", "Anker")[n % 3]
    text = f"{company} sold boats for € {n}."
    money = text.index("€")
    found = [
        {"start": 0, "end": 5, "label": "COMPANY"},
        {"start": money, "end": money + 2 + len(str(n)), "label": "MONEY"},
    ]
    return {"text": text, "spans": found if spans else [], "meta": {"id": f"t{n}"}} | more


class Project:
    def __init__(self, folder: Path, capsys: pytest.CaptureFixture):
        self.folder, self.capsys = folder, capsys
        (folder / "llm.cfg").write_text(SCHEME)
        write_lines(folder / "texts.jsonl", [line(n, spans=False) for n in range(60)])
        write_lines(folder / "reviewed.jsonl", [line(n) for n in range(40)])
        write_lines(folder / "dev.jsonl", [line(n) for n in range(30)])
        # The LLM finds the company, and the amount in every second text.
        llm = [line(n, llm={}) for n in range(60)]
        for found in llm[::2]:
            found["spans"].pop()
        write_lines(folder / "llm.jsonl", llm)
        write_lines(
            folder / "patterns.jsonl",
            [{"label": "MONEY", "pattern": [{"TEXT": "€"}, {"TEXT": {"REGEX": r"^\d+$"}}]}],
        )
        nlp = spacy.blank("en")
        nlp.add_pipe("entity_ruler").add_patterns([{"label": "COMPANY", "pattern": "Velto"}])
        nlp.to_disk(folder / "model")

    def run(self, **changes) -> Outcome:
        given = {
            "config": ROOT / "configs" / "suggest.cfg",
            "scheme": "llm.cfg",
            "texts": "texts.jsonl",
            "reviewed": "reviewed.jsonl",
            "dev": "dev.jsonl",
            "llm": "llm.jsonl",
            "patterns": "patterns.jsonl",
            "model": "model",
            "output": "out.jsonl",
            "scores": "scores.json",
        } | changes
        return run_command("suggest", [p for k, v in given.items() for p in (f"--{k}", v)], self.capsys)

    @property
    def suggested(self) -> list[dict]:
        return [json.loads(text) for text in (self.folder / "out.jsonl").read_text().splitlines()]

    @property
    def scores(self) -> dict:
        found = json.loads((self.folder / "scores.json").read_text())["sources"]
        return {name: by_label["all"]["f"][0] for name, by_label in found.items()}


@pytest.fixture
def project(tmp_path, monkeypatch, capsys) -> Project:
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path, capsys)


def test_each_source_is_scored_beside_the_combination(project):
    outcome = project.run()
    assert outcome.status == 0
    # Of 60 spans: rules give 30, the model 10, the LLM 45; two agree on 10 companies and 15 amounts.
    assert project.scores == {"rules": 0.6667, "model": 0.2857, "llm": 0.8571, "combined": 0.5882}
    assert "combined COMPANY 30" in outcome.output
    assert "all 60" in outcome.output
    assert "Exact spans on 30 dev texts" in outcome.output


def test_only_texts_without_review_get_suggestions_with_their_sources(project):
    assert project.run().status == 0
    assert [found["meta"]["id"] for found in project.suggested] == [f"t{n}" for n in range(40, 60)]
    sources = {(s["label"], s["source"]) for found in project.suggested for s in found["spans"]}
    assert sources == {("COMPANY", "model+llm"), ("MONEY", "rules+llm")}


def test_a_second_run_writes_the_same_bytes(project):
    assert project.run().status == 0
    before = [(project.folder / name).read_bytes() for name in ("out.jsonl", "scores.json")]
    assert project.run().status == 0
    assert before == [(project.folder / name).read_bytes() for name in ("out.jsonl", "scores.json")]


def test_before_anything_is_trained_or_asked_the_rules_suggest_alone(project):
    outcome = project.run(model="none", llm="none.jsonl", reviewed="none.jsonl", dev="none.jsonl")
    assert outcome.status == 0
    assert "model: none: there is no trained pipeline; run `weasel run train`" in outcome.output
    assert "llm: none.jsonl: there is no such file; run `weasel run llm-annotate`" in outcome.output
    assert "no dev text, so nothing was scored" in outcome.output
    assert len(project.suggested) == 60
    assert {s["source"] for found in project.suggested for s in found["spans"]} == {"rules"}


def test_texts_on_which_the_llm_failed_are_reported(project):
    lines = [line(n, llm={"error": "content_filter"} if n < 20 else {}) for n in range(60)]
    write_lines(project.folder / "llm.jsonl", lines)
    outcome = project.run()
    assert "llm: llm.jsonl: no usable answer for 20 of 50 texts" in outcome.output


@pytest.mark.parametrize("patterns", ["", "empty.jsonl"])
def test_no_source_at_all_is_an_error_and_writes_nothing(project, patterns):
    write_lines(project.folder / "empty.jsonl", [])
    outcome = project.run(model="none", llm="none.jsonl", patterns=patterns)
    assert outcome.status != 0
    assert "none of its sources (llm, model, rules) has anything to suggest" in outcome.output
    assert not (project.folder / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("texts.jsonl", "{broken", "texts.jsonl:1"),
        ("dev.jsonl", '{"text": "a", "spans": [{"start": 0, "end": 9, "label": "MONEY"}]}', "dev.jsonl:1"),
        ("llm.jsonl", '{"text": "a b", "spans": [{"start": 0, "end": 1, "label": "X"}]}', "llm.jsonl:1"),
        ("patterns.jsonl", '{"label": "MONEY"}', "patterns.jsonl:1"),
        ("llm.cfg", "[nlp", "llm.cfg"),
    ],
)
def test_broken_files_are_named(project, file, content, message):
    (project.folder / file).write_text(content + "\n")
    outcome = project.run()
    assert outcome.status != 0
    assert message in outcome.output
    assert "Traceback" not in outcome.output
    assert not (project.folder / "out.jsonl").exists()


def test_a_model_that_cannot_be_loaded_is_reported_and_left_out(project):
    (project.folder / "model" / "config.cfg").write_text("[broken")
    outcome = project.run()
    assert outcome.status == 0
    assert "model: model: can't be loaded" in outcome.output
    assert "model" not in project.scores

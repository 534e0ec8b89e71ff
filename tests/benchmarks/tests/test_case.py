"""The real case: FIRE's own format, the scripted review in a copy, and the page's tables."""

import json
from pathlib import Path

import pytest
import spacy
from benchmarks import case, case_report, fire_format, retarget
from benchmarks.case import Setting
from benchmarks.retarget import Size
from running import ROOT, run_command

from ie.core.errors import UserError
from ie.data.records import Record, Span, read_records, write_records

PAGE = ROOT / "docs/case.md"
# As fire_train.json has them: an invented sentence.
EXAMPLE = {
    "tokens": [
        *("Shares", "of", "Velto", "(", '"', "VLT", '"', ")", "fell", "14", "%", "to", "$", "3.2", "million"),
        *(",", "long", "-", "term", "."),
    ],
    "entities": [
        {"id": "a", "text": "Shares", "type": "FinancialEntity", "start": 0, "end": 1},
        {"id": "b", "text": 'Velto ( " VLT " )', "type": "Company", "start": 2, "end": 8},
        {"id": "c", "text": "14 %", "type": "Quantity", "start": 9, "end": 11},
        {"id": "d", "text": "$ 3.2 million", "type": "Money", "start": 12, "end": 15, "score": None},
    ],
    "relations": [{"type": "Propertyof", "head": 0, "tail": 1}],
    "duration": 42,
    "orig_id": 7,
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder with the files of FIRE's repository."""
    folder = tmp_path / "fire"
    folder.mkdir()
    for part in ("train", "dev", "test"):
        examples = [EXAMPLE | {"tokens": [part, *EXAMPLE["tokens"]], "entities": [], "relations": []}]
        if part == "train":
            examples.append(EXAMPLE)
        (folder / f"fire_{part}.json").write_text(json.dumps(examples), encoding="utf-8")
    return folder


def test_tokens_become_a_text_with_the_offsets_of_its_entities(repository):
    record = fire_format.read(repository / "fire_train.json")[1]
    assert record.text == 'Shares of Velto ("VLT") fell 14% to $3.2 million, long-term.'
    spans = [(span.label, record.text[span.start : span.end]) for span in record.spans]
    assert spans == [
        ("FinancialEntity", "Shares"),
        ("Company", 'Velto ("VLT")'),
        ("Quantity", "14%"),
        ("Money", "$3.2 million"),
    ]
    assert [(r.head, r.child, r.label) for r in record.relations] == [(0, 1, "Propertyof")]
    assert case.annotation_hours([record] * 300) == 3.5


def test_the_files_of_the_repository_are_a_set(repository):
    reviewed, raw = retarget.divide(repository, Size(reviewed=4, llm=3))
    assert (len(reviewed), len(raw)) == (3, 1)


def test_another_format_is_refused(tmp_path):
    (tmp_path / "fire_train.json").write_text('[{"text": "Velto"}]')
    with pytest.raises(UserError, match="FIRE's format"):
        fire_format.read(tmp_path / "fire_train.json")


def test_without_the_data_there_is_nothing_to_do(tmp_path, capsys):
    outcome = run_command("benchmark-case", ["--data", tmp_path, "--folder", tmp_path / "case"], capsys)
    assert outcome.status == 0
    assert "there is nothing to do" in " ".join(outcome.output.split())
    assert not (tmp_path / "case").exists()


def texts(n: int) -> list[Record]:
    found = []
    for i in range(n):
        name = f"Velto{i}"
        text = f"{name} buys mill number {'abcdefgh'[i % 8] * 4} near lake {i}"
        found.append(Record(text=text, spans=[Span(start=0, end=len(name), label="COMPANY")]))
    return found


def test_the_reviewed_texts_join_the_gold_of_the_copy(tmp_path):
    copy = tmp_path / "project"
    for name in ("data.cfg", "llm.cfg", "review.cfg"):
        (copy / "configs").mkdir(parents=True, exist_ok=True)
        (copy / "configs" / name).write_text((ROOT / "configs" / name).read_text(encoding="utf-8"))
    known, withheld = texts(14)[:4], texts(14)[4:]
    write_records(copy / "assets/reviewed.jsonl", known)
    # The LLM finds all names, so that train's texts need no correction; those of test are shown without.
    write_records(copy / "corpus/llm.jsonl", withheld)
    counts = case.review(copy, withheld)
    assert counts["texts"] == counts["answers"] == 10
    assert 0 < counts["corrections"] < 10
    assert counts["decisions"] == counts["answers"] + counts["corrections"]
    gold = read_records(copy / "assets/reviewed.jsonl")
    assert [record.text for record in gold] == [record.text for record in texts(14)]
    assert all(record.spans for record in gold)


def test_a_stopped_run_goes_on(tmp_path, monkeypatch):
    write_records(tmp_path / "data/own/train.jsonl", texts(20))
    (tmp_path / "own.cfg").write_text("[instruction]\n")
    calls = []

    def step(copy: Path, command: str, overrides: dict) -> str:
        calls.append(command)
        if command == "train" and calls.count("train") == 1:
            raise UserError("killed")
        return ""

    monkeypatch.setattr(retarget, "run", step)
    monkeypatch.setattr(retarget, "set_up", lambda *a, **k: calls.append("init"))
    monkeypatch.setattr(retarget, "edit_config", lambda *a: None)
    monkeypatch.setattr(retarget, "edits", lambda copy: (1, 2))
    monkeypatch.setattr(case, "_python", lambda *a: calls.append("tune-prompt"))
    monkeypatch.setattr(case, "review", lambda *a: calls.append("review") or {})
    setting = Setting("own", tmp_path / "data", tmp_path / "own.cfg", Size(16, 10), {}, calls=5)
    with pytest.raises(UserError, match="killed"):
        case.run(setting, ROOT, tmp_path / "case")
    case.run(setting, ROOT, tmp_path / "case")
    assert [name for name in calls if calls.count(name) > 1] == ["train", "train"]
    assert {*case.STEPS, "init"} == {*json.loads((tmp_path / "case/steps.json").read_text())}


def test_errors_are_counted_by_pair_of_labels_with_short_examples(tmp_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns(
        [{"label": "PLACE", "pattern": "Velto"}, {"label": "COMPANY", "pattern": "Nord"}]
    )
    nlp.to_disk(tmp_path / "model")
    gold = [
        Record(
            text=f"{text} of Nord.",
            spans=[
                Span(start=0, end=5, label="COMPANY"),
                Span(start=len(text) + 4, end=len(text) + 8, label="COMPANY"),
            ],
        )
        for text in ("Velto", "Velto is part", "Kanto")
    ]
    confusions, examples = case.wrong_answers(tmp_path / "model", gold)
    assert confusions == [["COMPANY", "PLACE", 2]]
    assert [(e["kind"], e["gold"], e["predicted"]) for e in examples] == [
        ("missing", "COMPANY Kanto", ""),
        ("type", "COMPANY Velto", "PLACE Velto"),
    ]


def test_the_page_has_the_tables_of_the_measurement():
    result = json.loads((ROOT / "docs/case.json").read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    for name in ("effort", "systems", "labels", "relations", "errors"):
        make = getattr(case_report, name)
        table = make(result) if name in ("effort", "errors") else make(result, result["texts"]["test"])
        assert table in page, name

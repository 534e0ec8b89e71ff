"""The command that promises a precision: threshold from dev, check on test, and what is left to review."""

import json
from pathlib import Path
from shutil import copytree

import pytest
from confidences import gold, write_project
from running import Outcome, run_command, write_lines

from ie.core.errors import UserError
from ie.core.files import write_jsonl
from ie.data.records import Record, write_records
from ie.deploy import acceptance
from ie.deploy.watch.applied import AppliedText
from ie.evaluation.confidence import Answer, Threshold
from ie.review import selection
from ie.review.suggestion_sources import uncertainty
from ie.training import confidence_training


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three in ten names are wrong, and it can be seen which."""
    folder = tmp_path_factory.mktemp("accept") / "reviewed"
    model = write_project(folder, dev=200)
    confidence_training.add_confidence(model, folder / "train.spacy", folder / "dev.spacy")
    return folder.parent


@pytest.fixture
def project(trained: Path, tmp_path: Path) -> Path:
    copytree(trained, tmp_path, dirs_exist_ok=True)
    unique = {record.text: record for record in gold(150, 2)}
    write_records(tmp_path / "test.jsonl", unique.values())
    return tmp_path


def accept(project: Path, capsys: pytest.CaptureFixture, **more: object) -> Outcome:
    paths = {
        "model": project / "reviewed" / "model-best",
        "test": project / "test.jsonl",
        "results": project / "applied",
        "output": project / "accept",
    }
    arguments = [str(word) for name, value in (paths | more).items() for word in (f"--{name}", value)]
    return run_command("accept", arguments, capsys)


def test_a_promise_is_kept_on_test_and_the_rest_goes_to_review(project: Path, capsys) -> None:
    rows = write_lines(
        project / "in.jsonl", [{"text": text} for text in sorted({r.text for r in gold(80, 3)})]
    )
    model = project / "reviewed" / "model-best"
    arguments = ["--texts", rows, "--model", model, "--workers", "1", "--output", project / "applied"]
    applied = run_command("apply", arguments, capsys)
    assert applied.status == 0, applied.output
    outcome = accept(project, capsys)
    assert outcome.status == 0, outcome.output
    summary = json.loads((project / "accept" / "accept.json").read_text())
    assert summary["test"]["precision"]["value"] >= 0.95
    assert summary["test"]["accepted"] > summary["test"]["answers"] / 2
    unsure = [json.loads(line) for line in (project / "accept" / "unsure.jsonl").read_text().splitlines()]
    lowest = [min(span["confidence"] for span in row["spans"]) for row in unsure]
    assert lowest == sorted(lowest)
    assert lowest[-1] < summary["threshold"]["confidence"]
    assert summary["applied"]["accepted"] + len(unsure) == summary["applied"]["answers"]
    assert "M" in unsure[0]["text"][:1]  # of "Mr." and "Mrs."
    first, *_ = selection.less_sure(project / "accept" / "unsure.jsonl")
    assert first.text == unsure[0]["text"]
    assert "less sure than" in first.why
    assert first.suggested.spans[0].score == lowest[0]
    assert uncertainty(first.suggested) == pytest.approx(1 - lowest[0])


def test_what_dev_cannot_promise_is_refused(project: Path, capsys) -> None:
    outcome = accept(project, capsys, target=0.999)
    assert outcome.status == 1
    assert "--target 0.999 can't be promised: there are 200 entities with a confidence" in outcome.output
    assert "the most that can be promised is --target 0.9" in outcome.output
    assert not (project / "accept").exists()


def test_without_results_there_is_a_threshold_alone(project: Path, capsys) -> None:
    assert accept(project, capsys).status == 0
    assert [path.name for path in (project / "accept").iterdir()] == ["accept.json"]


def test_a_pipeline_that_is_not_calibrated_says_why(tmp_path: Path, capsys) -> None:
    model = write_project(tmp_path / "reviewed", dev=20)
    confidence_training.add_confidence(
        model, tmp_path / "reviewed/train.spacy", tmp_path / "reviewed/dev.spacy"
    )
    write_records(tmp_path / "test.jsonl", gold(1, 2))
    outcome = accept(tmp_path, capsys)
    assert outcome.status == 1
    assert "no answer has a calibrated confidence: the pipeline gives 20 answers on dev" in outcome.output


def test_a_pipeline_without_the_component_or_its_answers_is_refused(project: Path, capsys) -> None:
    (project / "reviewed" / "confidence.json").unlink()
    outcome = accept(project, capsys)
    assert outcome.status == 1
    assert "there are no answers on dev; run `weasel run train` first" in outcome.output
    other = write_project(project / "other")
    assert "has no component 'confidence'" in accept(project, capsys, model=other).output


def held_out(path: Path, rows: list[Answer], reasons: dict[str, str]) -> Path:
    entities = [vars(Answer(number, "COMPANY", 0.9, True)) for number in range(100)]
    content = {"dev": entities, "not_calibrated": {}, "dev_documents": 100}
    content["rows"] = {"answers": [vars(row) for row in rows], "not_calibrated": reasons}
    path.write_text(json.dumps(content))
    return path


def row(text: str, *sure: float | None) -> Record:
    spans = [{"start": 0, "end": 1, "label": "COMPANY"}, {"start": 2, "end": 3, "label": "COMPANY"}]
    known = [{} if p is None else {"row_confidence": p} for p in sure]
    relations = [{"head": 0, "child": 1, "label": "INVESTOR", **keys} for keys in known]
    return Record(text=text, spans=spans, relations=relations)


def test_rows_are_counted_where_they_are_calibrated(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = [Answer(number, "INVESTOR", 0.9, number % 10 > 0) for number in range(200)]
    assert acceptance.read_held_out(held_out(tmp_path / "rows.json", rows, {})).unit == "rows"
    unknown = [Answer(0, "INVESTOR", None, True)]
    few = held_out(tmp_path / "few.json", unknown, {"INVESTOR": "the pipeline gives 1 answers on dev"})
    assert acceptance.read_held_out(few).unit == "entities"
    assert "Rows have no calibrated confidence" in capsys.readouterr().out


def test_unsure_rows_go_to_review_the_least_sure_first(tmp_path: Path) -> None:
    records = [row("A B", 0.7, 0.99), row("C D", 0.99), row("E F", 0.98, None), row("G H"), row("I J", 0.3)]
    texts = [AppliedText("a", number, "a", record) for number, record in enumerate(records)]
    threshold = Threshold(0.95, 100, 99, 0.96)
    applied = acceptance.divide(texts, threshold, "rows")
    assert (applied.answers, applied.accepted, applied.whole, applied.unsure) == (6, 3, 1, 3)
    records[4].spans[0].kb_id = "7"
    records[4].spans[1].money = {"low": "5", "high": "8", "currency": "EUR"}
    records[0].spans[1].money = {"low": None, "high": None, "currency": None}
    listed = list(acceptance.to_review(applied.least_sure, threshold, "rows", {"7": "Iona"}))
    assert [line["text"] for line in listed] == ["E F", "I J", "A B"]
    assert listed[0]["why"].endswith("; the least sure: E INVESTOR F (no confidence)")
    assert listed[2]["why"] == "1 of 2 rows are less sure than .95; the least sure: A INVESTOR B (.70)"
    assert [line["unsure"] for line in listed] == [[1], [0], [0]]
    assert [line["spans"][0].get("name") for line in listed] == [None, "Iona", None]
    assert [line["spans"][1].get("value") for line in listed] == [None, "5-8 EUR", None]
    write_jsonl(tmp_path / "unsure.jsonl", listed)
    first, *_, last = selection.less_sure(tmp_path / "unsure.jsonl")
    # the sure row of the same text isn't asked
    assert [row.confidence for row in first.rows] == [None]
    assert [row.confidence for row in last.rows] == [0.7]
    # review suggests the rows as well as their spans
    assert [label for *_, label, _ in last.suggested.relations] == ["INVESTOR"] * 2


def test_results_of_any_size_keep_the_least_sure_texts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptance, "MOST_UNSURE", 5)
    sure = [number * 37 % 100 / 100 for number in range(100)]
    texts = (AppliedText("a", number, "a", row("A B", p)) for number, p in enumerate(sure))
    applied = acceptance.divide(texts, Threshold(0.9, 1, 1, 0.9), "rows")
    assert (applied.unsure, applied.whole) == (90, 10)
    assert [p for p, _ in applied.least_sure] == [0.0, 0.01, 0.02, 0.03, 0.04]


def test_results_without_texts_pass_nothing() -> None:
    applied = acceptance.divide([], Threshold(0.9, 1, 1, 0.9), "rows")
    assert (applied.answers, applied.accepted, applied.least_sure) == (0, 0, [])


def test_what_an_older_version_wrote_is_read_as_entities(tmp_path: Path) -> None:
    path = held_out(tmp_path / "old.json", [], {})
    content = json.loads(path.read_text())
    del content["rows"]
    path.write_text(json.dumps(content))
    assert acceptance.read_held_out(path).unit == "entities"
    path.write_text("[]")
    with pytest.raises(UserError, match="there are no answers on dev"):
        acceptance.read_held_out(path)

"""keep-before and compare-before: what corrections bought, told from the same texts."""

import json
import shutil
from pathlib import Path

import pytest
import spacy
from running import Outcome, run_command, scheme, write_lines

from ie.data.records import Record
from ie.data.splits import assign
from ie.evaluation.improvement import changes, compare, sentence

SCHEME = scheme("COMPANY")
NAMES = ("Velto", "Hooli", "Anker")


def row(n: int) -> dict:
    name = NAMES[n % 3]
    word = f"{chr(97 + n % 26)}{chr(97 + n // 26)}"
    text = f"{name} bought {word} boats near {word} harbour."
    return {
        "text": text,
        "spans": [{"start": 0, "end": len(name), "label": "COMPANY"}],
        "meta": {"id": f"t{n}"},
    }


def save_model(folder: Path, names: tuple[str, ...]) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "COMPANY", "pattern": name} for name in names])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    nlp.to_disk(folder)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "llm.cfg").write_text(SCHEME, encoding="utf-8")
    review(tmp_path, [row(n) for n in range(90)])
    save_model(tmp_path / "models" / "reviewed" / "model-best", NAMES[:1])
    split(tmp_path)
    return tmp_path


def review(project: Path, rows: list[dict]) -> None:
    write_lines(project / "reviewed.jsonl", rows)


def split(project: Path) -> None:
    lines = (project / "reviewed.jsonl").read_text("utf-8").splitlines()
    parts = assign([Record.model_validate_json(line) for line in lines], [], test_percent=37, dev_percent=10)
    for side in ("train", "dev", "test"):
        write_lines(project / "corpus" / f"{side}.jsonl", [r.to_line() for r in getattr(parts, side)])


def keep(project: Path, capsys: pytest.CaptureFixture) -> Outcome:
    options = ["--reviewed", project / "reviewed.jsonl", "--scheme", project / "llm.cfg"]
    options += [
        "--corpus",
        project / "corpus",
        "--models",
        project / "models",
        "--output",
        project / "before",
    ]
    return run_command("keep-before", options, capsys)


def improve(project: Path, capsys: pytest.CaptureFixture) -> Outcome:
    options = ["--before", project / "before", "--models", project / "models", "--corpus", project / "corpus"]
    options += ["--scheme", project / "llm.cfg", "--output", project / "improve.json"]
    return run_command("compare-before", options, capsys)


def test_corrections_are_measured(project: Path, capsys: pytest.CaptureFixture) -> None:
    rows = [row(n) for n in range(95)]
    rows[0]["spans"] = []
    review(project, rows)
    assert keep(project, capsys).status == 0
    # split and train: the new pipeline knows more names
    split(project)
    save_model(project / "models" / "reviewed" / "model-best", NAMES)
    outcome = improve(project, capsys)
    assert outcome.status == 0
    found = json.loads((project / "improve.json").read_text("utf-8"))
    assert sum(side["added"] for side in found["changes"].values()) == 5
    assert sum(side["corrected"] for side in found["changes"].values()) == 1
    all_ = found["f"]["all"]
    assert all_["after"]["value"] > all_["before"]["value"] + 0.3
    assert all_["difference"]["low"] > 0
    assert found["p"] < 0.01
    assert "better by more than noise" in outcome.output
    assert f"(n={found['test']})" in outcome.output
    # once more, without another correction: the comparison stays
    before = (project / "before" / "train.jsonl").read_bytes()
    assert "stays as it is" in keep(project, capsys).output
    assert (project / "before" / "train.jsonl").read_bytes() == before


def test_nothing_corrected_and_nothing_kept(project: Path, capsys: pytest.CaptureFixture) -> None:
    outcome = keep(project, capsys)
    assert outcome.status == 1
    assert "nothing was corrected since the pipeline was trained" in outcome.output
    assert not (project / "before").exists()


def test_no_pipeline_yet(project: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.rmtree(project / "models")
    outcome = keep(project, capsys)
    assert outcome.status == 1
    assert "run `weasel run all` first" in outcome.output


def test_a_pipeline_that_is_missing_is_named(project: Path, capsys: pytest.CaptureFixture) -> None:
    review(project, [row(n) for n in range(95)])
    keep(project, capsys)
    shutil.rmtree(project / "before" / "model-best")
    outcome = improve(project, capsys)
    assert outcome.status == 1
    assert "there is no trained pipeline" in outcome.output
    assert not (project / "improve.json").exists()


def test_changes_of_a_side() -> None:
    def record(text: str, *labels: str) -> Record:
        return Record(text=text, spans=[{"start": 0, "end": 1, "label": label} for label in labels])

    old = [record("a", "A"), record("b", "A"), record("c")]
    new = [record("a", "A"), record("b", "B"), record("d")]
    assert changes(old, new) == {"added": 1, "corrected": 1, "left out": 1, "as before": 1}


def test_the_same_answers_are_noise() -> None:
    gold = [Record(text=f"{n} x", spans=[{"start": 0, "end": 1, "label": "A"}]) for n in range(9)]
    answers = [*gold[:5], *(Record(text=record.text) for record in gold[5:])]
    assert sentence(compare(gold, answers, answers, ["A"])).endswith("p=1.0000: this may be noise.")

"""What the files of a project say, however broken they are."""

import json
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import srsly
from running import ROOT, data_config, run_command, scheme, write_lines

from ie.core.files import sha256_file
from ie.data import records, splits
from ie.data.config import DataConfig
from ie.data.records import Record
from ie.data.scheme import load_scheme
from ie.evaluation.history import gold_key, pack
from ie.status.next_step import decide
from ie.status.snapshot import ProjectPaths, Snapshot, after_answers, read_snapshot
from ie.status.terminal import commands_map, print_next_step

NAMES = ["Velto", "Hooli", "Globex", "Initech", "Umbra", "Wonka", "Stark", "Wayne", "Acme", "Tyrell"]
TEXTS = [f"{buyer} buys {seller} today" for buyer in NAMES for seller in NAMES[:7] if buyer != seller]
SCORE = {"p": 0.9, "p_low": 0.8, "p_high": 1.0, "r": 0.9, "r_low": 0.8, "r_high": 1.0}
SCORE |= {"f": 0.9, "f_low": 0.8, "f_high": 1.0}


def record(text: str, **more: object) -> dict:
    return {"text": text, "spans": [{"start": 0, "end": text.index(" "), "label": "BUYER"}], **more}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Raw texts and label scheme; nothing is reviewed."""
    monkeypatch.chdir(tmp_path)
    nlp = records.blank("en")
    monkeypatch.setattr(records, "blank", lambda lang: nlp)  # made once, not for each snapshot
    Path("configs").mkdir()
    Path("configs/llm.cfg").write_text(scheme("BUYER"), encoding="utf-8")
    data_config(Path("configs/data.cfg"))
    write_lines(Path("assets/texts.jsonl"), [{"text": text} for text in TEXTS])
    return tmp_path


def write_json(path: str, content: object) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def evaluated(project: Path, capsys: pytest.CaptureFixture) -> Path:
    """Reviewed, split, and with results as the commands write them."""
    write_lines(Path("assets/reviewed.jsonl"), [record(text) for text in TEXTS])
    outcome = run_command("split", ["--data", "configs/data.cfg"], capsys)
    assert outcome.status == 0, outcome.output
    parts = json.loads(Path("corpus/split.json").read_text())["splits"]
    train, dev = parts["train"]["documents"], parts["dev"]["documents"]
    test = [Record.model_validate_json(line) for line in Path("corpus/test.jsonl").read_text().splitlines()]
    folder = "training/crf"
    (Path(folder) / "reviewed" / "model-best" / "ner").mkdir(parents=True)
    Path(folder, "reviewed/model-best/ner/model").write_bytes(b"weights")
    write_json(f"{folder}/train.json", {"reviewed": {"examples": train, "dev_documents": dev}})
    systems = {name: {"all": SCORE, "BUYER": SCORE} for name in ("rules", "reviewed")}
    spans = {"BUYER": len(test)}
    write_json(
        f"{folder}/metrics.json", {"test": {"documents": len(test), "spans": spans}, "systems": systems}
    )
    pair = {"first": "rules", "second": "reviewed", "holm": 0.01, "difference": -0.2}
    write_json(f"{folder}/analysis.json", {"pairs": [pair]})
    write_lines(
        Path(folder, "documents.jsonl"),
        [{"id": r.id, "key": gold_key(r), "reviewed": [1, 0, 0]} for r in test],
    )
    row = {"percent": 100, "examples": train, "f": 0.8, "f_low": 0.7, "f_high": 0.9}
    rows = [{**row, "percent": 50, "examples": train // 2}, row]
    verdict = {"kind": "rise", "text": "", "rise": [0.1, 0.05, 0.15]}
    write_json(f"{folder}/curve/curve.json", {"dev": {"documents": dev}, "rows": rows, "verdict": verdict})
    sizes = {side: parts[side]["documents"] for side in ("train", "dev", "test")}
    finding = {"name": "leak", "cause": "texts of test are in train"}
    write_json(f"{folder}/diagnosis.json", {"cause": "leak", "texts": sizes, "findings": [finding]})
    write_lines(Path(folder, "label-errors.jsonl"), ["{}", "{}"])
    write_json("corpus/llm.json", {"texts": 9, "errors": {"unavailable: 503": 2, "empty": 1}})
    Path("packages").mkdir()
    with ZipFile("packages/en_x-0.1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("en_x/en_x-0.1.0/ner/model", b"weights")
    return project


def now() -> Snapshot:
    return read_snapshot(ProjectPaths())


def test_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(now().problems) == 1
    assert decide(now()).command == "weasel run check"


def test_raw_texts(project: Path) -> None:
    snapshot = now()
    assert (snapshot.texts, snapshot.unreviewed, snapshot.labels) == (len(TEXTS), len(TEXTS), ("BUYER",))
    assert (snapshot.split, snapshot.scores, snapshot.curve, snapshot.llm) == (None,) * 4


def test_results_that_belong_together(evaluated: Path) -> None:
    snapshot = now()
    assert snapshot.problems == ()
    assert snapshot.unreviewed == 0
    assert sum(snapshot.parts.values()) == snapshot.answers["accept"]
    assert snapshot.split is not None
    assert snapshot.parts == {side: snapshot.split[side] for side in snapshot.parts}
    assert snapshot.changed == 0
    assert snapshot.trained
    assert snapshot.scores is not None
    assert snapshot.scores.stale == ""
    assert snapshot.scores.better == (("reviewed", "rules"),)
    assert snapshot.curve is not None
    assert not snapshot.curve.stale
    assert snapshot.curve.rise is not None
    assert snapshot.diagnosis is not None
    assert (snapshot.diagnosis.broken, snapshot.diagnosis.suspects) == ("texts of test are in train", 2)
    assert not snapshot.diagnosis.stale
    assert snapshot.llm is not None
    assert (snapshot.llm.texts, snapshot.llm.failed, snapshot.llm.unavailable) == (9, 3, 2)
    assert (snapshot.package, snapshot.package_stale) == ("en_x-0.1.0-py3-none-any.whl", False)


def test_times_of_files_decide_nothing(evaluated: Path) -> None:
    before = now()
    for path in evaluated.rglob("*"):
        path.touch()
    assert now() == before


def correct(path: str, change: Callable[[dict], object]) -> None:
    """Change the first line of a JSONL file."""
    first, *others = Path(path).read_text(encoding="utf-8").splitlines()
    row = json.loads(first)
    change(row)
    write_lines(Path(path), [row, *others])


def test_answers_since_the_split(evaluated: Path) -> None:
    correct("assets/reviewed.jsonl", lambda row: row.pop("spans"))
    assert now().changed == 1
    lines = Path("assets/reviewed.jsonl").read_text(encoding="utf-8").splitlines()
    write_lines(Path("assets/reviewed.jsonl"), [*lines[1:], record("Something else was sold")])
    assert now().changed == 2


@pytest.mark.parametrize("split", [True, False])
def test_answers_are_counted_without_reading_again(evaluated: Path, split: bool) -> None:
    if not split:
        Path("corpus/split.json").unlink()
    path, more = Path("assets/reviewed.jsonl"), [{"text": f"Umbra buys {i} hats"} for i in range(40)]
    write_lines(Path("assets/texts.jsonl"), [*({"text": text} for text in TEXTS), *more])
    before = now()
    old, settings, labels = records.read_records(path), DataConfig(), load_scheme(Path("configs/llm.cfg"))
    corrected = Record(**record(old[0].text, answer="reject"))
    answered = [corrected, *(Record(**record(row["text"])) for row in more[:30])]
    gold = {one.text: one for one in [*old, *answered]}
    records.write_records(path, gold.values())
    sides = splits.Sides(list(gold.values()), **settings.split.model_dump())
    counted, again = after_answers(before, answered, gold, sides, labels), now()
    for field in ("answers", "parts", "unreviewed", "changed"):
        assert getattr(counted, field) == getattr(again, field), field
    assert counted.label_counts["train"]["BUYER"] >= again.label_counts["train"]["BUYER"]


def test_gold_of_the_scores_changed(evaluated: Path) -> None:
    correct("corpus/test.jsonl", lambda row: row.update(spans=[]))
    assert now().scores.stale == "the test set changed since"


def test_training_data_of_the_scores_changed(evaluated: Path) -> None:
    metrics = json.loads(Path("training/crf/metrics.json").read_text())
    entry = {"id": "1", "date": "", "system": "reviewed", "settings": {}, "documents": 1, "keys": ""}
    entry |= {"scores": metrics["systems"], "data": {"train": sha256_file(Path("corpus/train.jsonl"))}}

    entry["counts"] = {"reviewed": pack(np.ones((1, 3), dtype=int))}
    write_lines(Path("training/history.jsonl"), [entry])
    assert now().scores.stale == ""
    correct("corpus/train.jsonl", lambda row: row.update(spans=[]))
    assert now().scores.stale == "the training set changed since"


def test_a_pipeline_of_another_split(evaluated: Path) -> None:
    write_json("training/crf/train.json", {"reviewed": {"examples": 3, "dev_documents": 1}})
    assert not now().trained


def test_how_far_silver_is_behind_on_dev(evaluated: Path) -> None:
    assert now().silver_behind is None
    path = Path("training/crf/train.json")
    behind = {"value": 0.03, "low": 0.01, "high": 0.05}
    write_json(str(path), json.loads(path.read_text()) | {"both": {"behind_reviewed": behind}})
    assert now().silver_behind.as_dict() == behind


def test_a_package_of_another_pipeline(evaluated: Path) -> None:
    Path("training/crf/reviewed/model-best/ner/model").write_bytes(b"other weights")
    assert now().package_stale


def test_a_shipped_pipeline_with_rules(evaluated: Path) -> None:
    """Its scores count, and the package has to hold it; that of other training data isn't shipped."""
    shipped = Path("training/crf/shipped")
    (shipped / "model-best" / "ner").mkdir(parents=True)
    (shipped / "model-best" / "ner" / "weights.msgpack").write_bytes(b"other weights")
    write_json(str(shipped / "rules.json"), {"trained_on": "silver"})
    assert not now().package_stale
    write_json(str(shipped / "rules.json"), {"trained_on": "reviewed"})
    assert now().package_stale
    with ZipFile("packages/en_x-0.1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("en_x/en_x-0.1.0/ner/weights.msgpack", b"other weights")
    assert not now().package_stale
    assert now().system == "reviewed"
    path = Path("training/crf/metrics.json")
    metrics = json.loads(path.read_text())
    metrics["systems"]["combined"] = metrics["systems"]["reviewed"]
    write_json(str(path), metrics)
    assert now().system == "combined"


def test_results_of_another_split(evaluated: Path) -> None:
    write_json("corpus/split.json", {"splits": {side: {"documents": 1} for side in ("train", "dev", "test")}})
    assert now().curve.stale
    assert now().diagnosis.stale


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"systems": 1}', '{"rows": [{}]}', "\0", "é"])
def test_no_broken_file_raises(evaluated: Path, content: str) -> None:
    files = [path for path in evaluated.rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        before = path.read_bytes()
        path.write_bytes(content.encode("latin-1"))
        assert len(decide(now()).lines()) == 3, path
        path.unlink()
        assert len(decide(now()).lines()) == 3, path
        path.write_bytes(before)


def test_a_broken_file_is_named(project: Path) -> None:
    write_lines(Path("assets/texts.jsonl"), [{"text": "Hooli"}, '{"text": '])
    assert decide(now()).standing == "assets/texts.jsonl:2 can't be used"


def test_a_command_of_weasel_ends_with_the_three_lines(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    commands = [{"name": "check", "help": "", "script": []}]
    write_json("project.yml", {"commands": commands, "workflows": {"all": ["check"]}})
    for words, shown in (("weasel run check", True), ("weasel run all", False), ("dvc repro", False)):
        monkeypatch.setattr("ie.core.cli.runner_command", lambda words=words: (words.split(), Path()))
        print_next_step(ProjectPaths())
        assert ("Next     weasel run review" in capsys.readouterr().out) == shown, words


def test_the_map_holds_every_command_and_fits_the_terminal(project: Path) -> None:

    lines = commands_map(ROOT / "project.yml")
    content = srsly.read_yaml(ROOT / "project.yml")
    assert 10 <= len(lines) <= 15
    assert all(len(line) <= 80 for line in lines)
    names = {name for line in lines for name in line.replace(",", " ").split()}
    assert names >= {command["name"] for command in content["commands"]} | set(content["workflows"])
    assert commands_map(Path("no.yml")) == []


def test_results_of_apply_that_nobody_watched(project: Path) -> None:
    assert not now().unwatched
    write_json("corpus/applied/manifest.json", {"model": "x"})
    assert not now().unwatched  # apply hasn't finished
    write_json("corpus/applied/summary.json", {})
    assert now().unwatched
    manifest = sha256_file(Path("corpus/applied/manifest.json"))
    write_json("training/crf/watch/watch.json", {"manifest": manifest})
    assert not now().unwatched
    write_json("corpus/applied/manifest.json", {"model": "y"})
    assert now().unwatched

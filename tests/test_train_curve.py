"""The command from end to end, on trainings too short to learn much."""

import json
import re
from pathlib import Path

import pytest
from running import Outcome, run_command

from ie.records import Record, Span, blank, write_docbin

CONFIG = Path(__file__).parents[1] / "configs" / "efficient.cfg"
SCHEME = """
[nlp]
lang = "en"
[components]
[components.spans]
factory = "llm"
[components.spans.task]
@llm_tasks = "ie.Spans.v1"
labels = ["COMPANY", "CITY"]
"""


def write(path: Path, n: int) -> None:
    texts = [f"{('Velto', 'Hooli', 'Anker')[i % 3]} sold {i} boats in Oslo." for i in range(n)]
    gold = []
    for i, text in enumerate(texts):
        oslo = text.index("Oslo")
        city = Span(start=oslo, end=oslo + 4, label="CITY")
        spans = [city] if i == n - 1 else [Span(start=0, end=5, label="COMPANY")]
        gold.append(Record(text=text, spans=spans))
    write_docbin(path, gold, blank("en"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "llm.cfg").write_text(SCHEME, encoding="utf-8")
    write(tmp_path / "train.spacy", 24)
    write(tmp_path / "dev.spacy", 12)
    return tmp_path


def curve(project: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    files = {
        "--train": "train.spacy",
        "--dev": "dev.spacy",
        "--scheme": "llm.cfg",
        "--output": "out",
        "--cache": "cache",
    }
    paths = [part for name, file in files.items() for part in (name, project / file)]
    options = ["--config", CONFIG, "--max-steps", 60, "--workers", 1]
    return run_command("train-curve", [*paths, *options, *more], capsys)


def test_the_table_and_the_files(project, capsys):
    outcome = curve(project, capsys, "--portions", "50,100")
    assert outcome.status == 0
    assert "Training 2 times with 50%, 100% of the data" in outcome.output
    assert re.search(
        r"% Score ner ---- ------ ------ 0% 0.00 0.00 50% (\d\.\d\d( [▲▼])?) \1 100% (\d\.\d\d( [▲▼])?) \3 ",
        outcome.output,
    )
    assert "n=12" in outcome.output
    rows = json.loads((project / "out" / "curve.json").read_text(encoding="utf-8"))["rows"]
    assert [(r["percent"], r["examples"]) for r in rows] == [(0, 0), (50, 12), (100, 24)]
    assert rows[2]["f"] > 0
    assert set(rows[2]["labels"]) == {"COMPANY", "CITY"}
    assert (project / "out" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "n=24" in (project / "out" / "curve.html").read_text(encoding="utf-8")
    before = {file.name: file.read_bytes() for file in (project / "out").iterdir()}
    assert curve(project, capsys, "--portions", "50,100").status == 0
    assert before == {file.name: file.read_bytes() for file in (project / "out").iterdir()}


def test_several_seeds_are_averaged_and_a_label_without_room_is_told(project, capsys):
    outcome = curve(project, capsys, "--portions", "5", "--seeds", 2, "--max-steps", 10)
    assert outcome.status == 0
    assert "The 5 % portion (1 example) has no" in outcome.output
    rows = json.loads((project / "out" / "curve.json").read_text(encoding="utf-8"))["rows"]
    assert len(rows[1]["seeds"]) == 2


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--portions", "1,100"], "1 % of 24 training examples is none"),
        (["--portions", "all"], "--portions 'all' must be percentages"),
        (["--train", "nowhere.spacy"], "nowhere.spacy: there is no such corpus"),
        (["--scheme", "nowhere.cfg"], "nowhere.cfg: there is no such file"),
        (["--config", "nowhere.cfg"], "nowhere.cfg"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(project, capsys, options, fault):
    outcome = curve(project, capsys, *options)
    assert outcome.status == 1
    assert fault in outcome.output
    assert "Traceback" not in outcome.output
    assert not (project / "out").exists()

"""The command from end to end on made texts, and one sentence for whatever is wrong with its input."""

import json
import random
import shutil
from pathlib import Path

import pytest
from running import ROOT, Outcome, run_command, scheme, write_docbin, write_lines

from ie.data import records, splits
from ie.data.records import Record, Span, blank, write_records
from ie.diagnosis import thresholds

SCHEME = scheme("COMPANY", "MONEY")
MONEY = {"label": "MONEY", "pattern": [{"TEXT": "$"}, {"LIKE_NUM": True}, {"LIKE_NUM": True}]}


def write(folder: Path, texts: dict[str, list[Record]]) -> None:
    for side, rows in texts.items():
        write_records(folder / f"{side}.jsonl", rows)
        write_docbin(folder / f"{side}.spacy", rows, blank("en"))


VERBS = ("raised", "borrowed", "earned", "lost", "paid", "invested", "got", "asked for")
ENDS = ("in a round led by", "from", "together with", "after a dispute with", "to the surprise of", "for")
REST = ("Shares rose", "Nobody commented", "Talks began in May", "The board agreed", "More may follow")


def deal(rng: random.Random) -> Record:
    """A text with two companies whose names are in hardly any other text, and an amount of money."""
    syllables = ("vel", "to", "hoo", "li", "an", "ker", "glo", "bex", "um", "bra", "ze", "ni", "ra", "mo")
    one, other = ("".join(rng.choices(syllables, k=3)).capitalize() for _ in range(2))
    money = f"${rng.randint(2, 900)} {rng.choice(('million', 'billion'))}"
    text = f"{one} {rng.choice(VERBS)} {money} {rng.choice(ENDS)} {other}. {rng.choice(REST)}."
    found = ((one, "COMPANY"), (money, "MONEY"), (other, "COMPANY"))
    spans = [Span(start=text.rindex(s), end=text.rindex(s) + len(s), label=label) for s, label in found]
    return Record(text=text, spans=spans)


@pytest.fixture(scope="module")
def deals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts for train, dev and test."""
    folder = tmp_path_factory.mktemp("deals")
    rng = random.Random(0)
    split = splits.assign([deal(rng) for _ in range(160)], [], test_percent=25, dev_percent=20)
    write(folder, {side: getattr(split, side) for side in splits.SIDES})
    (folder / "llm.cfg").write_text(SCHEME, encoding="utf-8")
    return folder


@pytest.fixture
def corpus(deals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the texts, and trainings so short that they show no more than that all works."""
    for name, value in {
        "REFERENCE_STEPS": 60,
        "TINY_STEPS": 60,
        "SWEEP_STEPS": 16,
        "SHUFFLED_STEPS": 20,
    }.items():
        monkeypatch.setattr(thresholds, name, value)
    monkeypatch.setattr(thresholds, "BATCHES", {4: 10})
    return shutil.copytree(deals, tmp_path / "corpus")


def diagnose(corpus: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    options = {
        "--config": ROOT / "configs" / "efficient.cfg",
        "--scheme": corpus / "llm.cfg",
        "--corpus": corpus,
        "--llm": corpus / "llm.jsonl",
        "--patterns": write_lines(corpus / "patterns.jsonl", [MONEY]),
        "--output": corpus / "out",
    }
    return run_command("diagnose", [part for pair in options.items() for part in pair] + list(more), capsys)


@pytest.mark.slow
def test_a_healthy_project(corpus, capsys):
    outcome = diagnose(corpus, capsys)
    assert outcome.status == 0
    for word in ("✔ fine", "hypotheses:"):
        assert word in outcome.output
    assert "LLM as prompted is missing" in outcome.output
    found = json.loads((corpus / "out" / "diagnosis.json").read_text(encoding="utf-8"))
    data = [f for f in found["findings"] if f["group"] == "data"]
    assert [f["name"] for f in data if f["verdict"] == "broken"] == []
    assert set(found["scores"]) >= {"pipeline", "chance", "majority", "memoriser", "rules"}
    assert found["scores"]["rules"]["value"] > found["scores"]["chance"]["value"]
    lines = (corpus / "out" / "label-errors.jsonl").read_text(encoding="utf-8").splitlines()
    texts = {r.id: r.text for r in records.read_records(corpus / "train.jsonl")}
    for line in map(json.loads, lines):
        assert texts[line["id"]][line["start"] : line["end"]] == line["string"]
        assert line["label"] != line["likelier"]
        assert 0.5 <= line["score"] <= 1
    page = (corpus / "out" / "diagnosis.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2
    before = {file.name: file.read_bytes() for file in (corpus / "out").iterdir()}
    assert diagnose(corpus, capsys).status == 0
    assert before == {file.name: file.read_bytes() for file in (corpus / "out").iterdir()}


@pytest.mark.slow
def test_a_pipeline_that_learns_in_one_go_says_which_tests_are_left_out(corpus, capsys):
    outcome = diagnose(corpus, capsys, "--config", ROOT / "configs" / "crf.cfg")
    assert outcome.status == 0, outcome.output
    words = " ".join(outcome.output.split())
    assert "tiny, learning-rate, clipping, weights, gradients, shuffled, batches, dropout." in words
    assert "Not tested: The pipeline learns from all examples at once" in words
    assert "`--vars.config efficient` tests a neural one" in words
    found = json.loads((corpus / "out" / "diagnosis.json").read_text(encoding="utf-8"))
    assert {f["name"] for f in found["findings"] if f["verdict"] == "broken"} == set()
    assert found["scores"]["pipeline"]["value"] > 0.5
    assert (corpus / "out" / "diagnosis.html").exists()


@pytest.mark.slow
def test_a_broken_project_is_named(corpus, capsys, monkeypatch):
    monkeypatch.setattr(
        thresholds, "TINY_STEPS", 150
    )  # enough to learn a few texts by heart: training itself works
    rows = records.read_records(corpus / "train.jsonl")
    test = records.read_records(corpus / "test.jsonl")
    write(corpus, {"train": [*rows, *test]})
    outcome = diagnose(corpus, capsys)
    assert outcome.status == 0
    assert "It is too good to be true." in outcome.output
    assert "First: texts of dev or test are in train." in outcome.output
    found = json.loads((corpus / "out" / "diagnosis.json").read_text(encoding="utf-8"))
    assert (found["case"], found["cause"]) == ("too-good", "leak")


def test_no_dev_and_one_example(corpus, capsys):
    text = Record(text="Velto sold it.", spans=[Span(start=0, end=5, label="COMPANY")])
    write(corpus, {"train": [text], "test": [text]})
    (corpus / "dev.jsonl").unlink()
    (corpus / "dev.spacy").unlink()
    outcome = diagnose(corpus, capsys)
    assert outcome.status == 0
    assert "dev.jsonl: there is no such file" in outcome.output
    assert "It is unknown which case this is." in outcome.output


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "train.jsonl: the file is empty"),
        (["{"], "train.jsonl:1: not valid JSON"),
        ([{"text": "Velto", "answer": "reject"}], "holds no accepted example"),
    ],
)
def test_no_train_is_one_sentence(corpus, capsys, lines, said):
    write_lines(corpus / "train.jsonl", lines)
    outcome = diagnose(corpus, capsys)
    assert outcome.status == 1
    assert said in outcome.output
    assert "Traceback" not in outcome.output
    assert not (corpus / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--scheme", "nowhere.cfg"], "nowhere.cfg: there is no such file"),
        (["--config", "nowhere.cfg"], "nowhere.cfg"),
        (["--patterns", "nowhere.jsonl"], "nowhere.jsonl: there is no such file"),
    ],
)
def test_bad_options_are_one_sentence(corpus, capsys, options, said):
    outcome = diagnose(corpus, capsys, *options)
    assert outcome.status == 1
    assert said in outcome.output
    assert "Traceback" not in outcome.output

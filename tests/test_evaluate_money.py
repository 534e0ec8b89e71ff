"""The command from end to end: what counts as right, the list of errors, and bad input."""

import json
from pathlib import Path

import deals
import pytest
from running import Outcome, real_data, run_command, scheme, write_lines

from ie.data.records import Record, blank
from ie.evaluation import amounts


def row(n: int, money: str, **gold: object) -> dict:
    text = f"Velto {n} got {money} today."
    start = text.index(money)
    return {
        "text": text,
        "spans": [{"start": start, "end": start + len(money), "label": "MONEY", **gold}],
        "meta": {"id": f"t{n}"},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [row(n, f"${n}m", value=f"{n}000000 USD") for n in range(1, 21)]
    for side in ("train", "dev", "test"):
        write_lines(tmp_path / f"{side}.jsonl", lines)
    return tmp_path


def evaluate(folder: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    (folder / "llm.cfg").write_text(scheme("MONEY"), encoding="utf-8")
    files = [part for side in ("train", "test") for part in (f"--{side}", folder / f"{side}.jsonl")]
    words = ["--only", "amounts", "--scheme", folder / "llm.cfg", *files, "--output", folder / "out"]
    if "--money" not in more:
        words += ["--money", deals.CONFIGS / "money.cfg"]
    return run_command("evaluate-components", [*words, *more], capsys)


def test_amount_and_currency_must_both_be_right(folder: Path, capsys: pytest.CaptureFixture) -> None:
    lines = [row(n, "$5m", value="5000000 USD") for n in range(16)]
    lines += [
        row(20, "$10-15m", value="10000000-15000000 USD"),
        row(21, "€5m", value="5000000 USD"),
        row(22, "€5m", value="6000000 EUR"),
        row(23, "$5-6m", value="5000000 USD"),
        row(24, "$7m"),
    ]
    write_lines(folder / "test.jsonl", lines)
    outcome = evaluate(folder, capsys)
    assert outcome.status == 0, outcome.output
    test = json.loads((folder / "out" / "amounts.json").read_text())[str(folder / "test.jsonl")]
    assert (test["amounts"], test["texts"], test["right"]) == (20, 20, 0.85)
    assert test["low"] < 0.85 < test["high"]
    assert test["rules"]["range"] == {"amounts": 2, "right": 1}
    wrong = [json.loads(line) for line in (folder / "out" / "amounts-errors.jsonl").read_text().splitlines()]
    assert [error["id"] for error in wrong] == ["t21", "t22", "t23"]
    assert wrong[0]["gold"] == "5000000 USD"
    assert wrong[0]["answer"]["currency"] == "EUR"


def test_values_of_recognizers_text_are_understood(folder: Path, capsys: pytest.CaptureFixture) -> None:
    lines = [
        row(1, "50 cents", value=50.0, unit="Cent", iso=None),
        row(2, "£3", value=3.0, unit="Pound", iso=None),
        row(3, "€3", value=3.0, unit="Euro", iso="EUR"),
        row(4, "€3", value=3.0, unit="Dollar", iso="USD"),
        row(5, "dollar", value=None, unit="Dollar", iso=None),
    ]
    more = write_lines(folder / "spec.jsonl", lines)
    assert evaluate(folder, capsys, "--more", more).status == 0
    spec = json.loads((folder / "out" / "amounts.json").read_text())[str(more)]
    assert (spec["amounts"], spec["right"]) == (4, 0.75)


def test_on_the_recognizers_own_specification(folder: Path, capsys: pytest.CaptureFixture) -> None:
    more = real_data("money_recognizers/test.jsonl")
    assert evaluate(folder, capsys, "--more", more).status == 0
    spec = json.loads((folder / "out" / "amounts.json").read_text())[str(more)]
    assert spec["amounts"] == 190
    assert spec["right"] > 0.95


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ([row(1, "$5m")], "no MONEY span has a value"),
        ([row(1, "$5m", value="5 million dollars")], "t1: the value '5 million dollars' is no amount"),
        (["{broken"], "test.jsonl:1"),
        ([], "no MONEY span has a value"),
    ],
)
def test_bad_input_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture, lines: list, fault: str
) -> None:
    write_lines(folder / "test.jsonl", lines)
    outcome = evaluate(folder, capsys)
    assert outcome.status == 1
    assert fault in outcome.output
    assert "Traceback" not in outcome.output
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda s: s.replace("context = 600", 'context = "far"'), "context"),
        (lambda s: s.replace('"XXX"\n', '"euro"\n'), "default_currency 'euro' is not an ISO 4217 code"),
        (lambda s: s.replace('"1e18"', '"much"'), "largest 'much' is not a number"),
        (lambda s: s.replace('factory = "money"', 'factory = "monney"'), "monney"),
        (lambda s: s.replace('pipeline = ["money"]', "pipeline = []"), "money"),
        (lambda s: s.replace("[nlp]", "[nlp"), "money.cfg"),
        (
            lambda s: s.replace('["MONEY"]', '["PRICE"]'),
            "its labels are PRICE, but vars.money_label is MONEY",
        ),
    ],
)
def test_a_bad_config_is_one_sentence(folder: Path, capsys: pytest.CaptureFixture, change, fault) -> None:
    config = folder / "money.cfg"
    config.write_text(change((deals.CONFIGS / "money.cfg").read_text(encoding="utf-8")), encoding="utf-8")
    outcome = evaluate(folder, capsys, "--money", config)
    assert outcome.status == 1
    assert fault in outcome.output
    assert "Traceback" not in outcome.output


def test_an_amount_that_nothing_reads_is_wrong() -> None:
    records = [Record(**row(1, "$5m", value="5000000 USD"))]
    (verdict,) = amounts.judge(blank("en"), records, "MONEY", Path("test.jsonl"))
    assert not verdict.right
    assert verdict.row()["answer"]["rule"] == "not read"

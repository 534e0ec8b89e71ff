"""The scripted reviewer does in the real page what it plans, and counts it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import first_hour, scripted_reviewer
from review_page import Server, accept, make_project, press
from running import run_command, write_lines

from ie.data.config import DataConfig
from ie.data.records import Record, Span, blank, read_records
from ie.review.cells import cells
from ie.review.settings import ReviewSettings

TEXTS = [
    "The ACME Group of Jean-Luc Roy & Sons paid $5m, then Hooli paid ACME GROUP 3.2 bn for acme group.",
    "Rain fell on the harbour all day, said the mayor of Ghent.",
    "Velto, Anker and Corda raised €10m; Corda's founder took $2.5m.",
    "Nothing to mark here.",
]
COMPANIES = {
    TEXTS[0]: ["ACME Group", "Jean-Luc Roy & Sons", "Hooli", "ACME GROUP", "acme group"],
    TEXTS[1]: ["harbour"],
    TEXTS[2]: ["Velto", "Anker", "Corda"],
    TEXTS[3]: [],
}
AMOUNTS = {TEXTS[0]: ["$5m", "3.2 bn"], TEXTS[1]: [], TEXTS[2]: ["€10m", "$2.5m"], TEXTS[3]: []}
GOLD = {
    text: [(part, "COMPANY") for part in COMPANIES[text]] + [(part, "MONEY") for part in AMOUNTS[text]]
    for text in TEXTS
}
SUGGESTED = {
    TEXTS[0]: [("The ACME Group", "COMPANY"), ("paid", "MONEY"), ("$5m", "COMPANY"), ("Hooli", "COMPANY")],
    TEXTS[1]: [("Rain", "COMPANY"), ("mayor", "MONEY"), ("Ghent", "COMPANY")],
    TEXTS[2]: [("Velto, Anker", "COMPANY"), ("€10m", "MONEY")],
    TEXTS[3]: [("Nothing", "COMPANY")],
}


def record(text: str, spans: list[tuple[str, str]]) -> Record:
    start = {part: text.index(part) for part, _ in spans}
    return Record(
        text=text, spans=[Span(start=start[p], end=start[p] + len(p), label=label) for p, label in spans]
    )


def marks(record: Record) -> set[tuple[int, int, str]]:
    return {(span.start, span.end, span.label) for span in record.spans}


@pytest.mark.parametrize("mode", ["one label", "all labels"])
def test_planned_keys_make_gold_in_the_real_page(tmp_path: Path, browse: Callable, mode: str) -> None:
    make_project(tmp_path, independent=False)
    write_lines(tmp_path / "texts.jsonl", [{"text": text} for text in TEXTS])
    write_lines(
        tmp_path / "llm.jsonl",
        [record(text, spans).model_dump(exclude_unset=True) for text, spans in SUGGESTED.items()],
    )
    (tmp_path / "rules.jsonl").unlink()
    settings = (tmp_path / "review.cfg").read_text("utf-8")
    settings = settings.replace("one label", mode).replace("batch = 1", 'batch = 2\ntasks = ["spans"]')
    (tmp_path / "review.cfg").write_text(settings, "utf-8")
    server, label, keys = Server(tmp_path), "", 0
    try:
        page = browse(f"{server.url}&annotator=ann", "#task:not([hidden])")
        asked: list[dict] = []
        page.on("response", lambda r: asked.append(r.json()) if "/api/answer" in r.url else None)
        item = page.evaluate("fetch('/api/next?annotator=ann').then(r => r.json())")
        while not item.get("done"):
            text = "".join(item["pieces"])
            divided = cells(text, blank("en").tokenizer)
            wanted = [(*divided.covering(s.start, s.end), s.label) for s in record(text, GOLD[text]).spans]
            reply = scripted_reviewer.answer(item, wanted, label)
            press(page, reply.keys[:-1])
            accept(page, reply.keys[-1])
            item, label = asked[-1], reply.label
            keys += len(reply.keys)
    finally:
        server.stop()
    reviewed = {
        r.text: {(s.start, s.end, s.label) for s in r.spans}
        for r in read_records(tmp_path / "reviewed.jsonl")
    }
    assert reviewed == {
        text: {(s.start, s.end, s.label) for s in record(text, spans).spans} for text, spans in GOLD.items()
    }
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text("utf-8").splitlines()]
    assert len(log) == (8 if mode == "one label" else 4)
    assert keys < 60


def test_keys_are_few() -> None:
    pieces = [""]
    for word in ("The", "ACME", "Group", "paid", "Hooli", "."):
        pieces += [word, " "]
    item = {
        "pieces": pieces,
        "unit": {"labels": ["COMPANY", "MONEY"]},
        "spans": [],
        "others": [],
    }
    reply = scripted_reviewer.answer(item, [(1, 3, "COMPANY"), (4, 5, "MONEY")])
    assert len(reply.keys) == 6  # such as w w 1 w 2 a
    assert reply.keys[-3:] == ["w", "2", "a"]
    assert (reply.corrections, reply.label) == (2, "MONEY")


def test_what_a_text_takes() -> None:
    gold = [record(text, spans) for text, spans in GOLD.items()]
    for mode, answers in (("one label", 2), ("all labels", 1)):
        rows = first_hour.play(
            gold,
            texts=4,
            settings=ReviewSettings.model_validate({"review": {"mode": mode}}),
            labels=("COMPANY", "MONEY"),
            data=DataConfig(),
        )
        assert sorted(row.text for row in rows) == sorted(TEXTS)
        assert {row.answers for row in rows} == {answers}
        assert sum(row.corrections for row in rows) == sum(map(len, GOLD.values()))
        nothing = next(row for row in rows if row.text == TEXTS[3])
        assert (nothing.keys, nothing.decisions) == (answers, answers)
    assert first_hour.a_text([1, 1, 1]) == "1.0 [1.0, 1.0]"


def test_the_command_prints_keys_with_intervals(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name in ("fashion_brands", "crossner_politics", "fire"):
        rows = [record(text, spans).model_dump(exclude_unset=True) for text, spans in GOLD.items()]
        write_lines(tmp_path / name / "train.jsonl", rows)
    output = tmp_path / "keys.json"
    outcome = run_command("benchmark-keys", ["--data", tmp_path, "--texts", 4, "--output", output], capsys)
    assert outcome.status == 0
    figures = json.loads(output.read_text("utf-8"))["rows"]
    assert len(figures) == 18
    assert all(row["texts"] == 4 and "[" in row["keys"] for row in figures)
    assert figures[0]["keys"] in outcome.output

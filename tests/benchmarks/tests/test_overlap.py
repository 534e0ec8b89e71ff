"""Nested annotations made by rule, and the benchmark over them."""

import json
from pathlib import Path

import pytest
from benchmarks import nested
from running import data_config, run_command

from ie.data.records import Record, write_records


def spans(record: Record) -> list[tuple[str, str]]:
    return [(record.text[span.start : span.end], span.label) for span in record.spans]


def test_a_deal_phrase_spans_both_ends_of_a_relation():
    record = Record(
        text="Hooli raises $5m and $6m",
        spans=[
            {"start": 13, "end": 16, "label": "MONEY"},
            {"start": 0, "end": 5, "label": "COMPANY"},
            {"start": 21, "end": 24, "label": "MONEY"},
        ],
        relations=[{"head": 1, "child": 0, "label": "RAISED"}, {"head": 1, "child": 2, "label": "INVESTOR"}],
    )
    [made] = nested.deal_phrases([record])
    assert spans(made) == [*spans(record), ("Hooli raises $5m", "DEAL")]
    assert not made.relations
    long = record.model_copy(update={"text": record.text.replace("raises", "raises" + " x" * 40)})
    for span in long.spans:
        if span.start:
            span.start, span.end = span.start + 80, span.end + 80
    assert len(nested.deal_phrases([long])[0].spans) == 3


def test_inner_names_are_places_in_longer_names_of_other_labels():
    def record(text: str, *named: tuple[str, str]) -> Record:
        places = [(text.index(name), label, len(name)) for name, label in named]
        return Record(text=text, spans=[{"start": s, "end": s + n, "label": label} for s, label, n in places])

    made = nested.inner_names(
        [
            record("Malta votes.", ("Malta", "country")),
            record("2013 Malta elections", ("2013 Malta elections", "election")),
            record("Maltaville Party of New Malta", ("Maltaville Party of New Malta", "politicalparty")),
            record("New Malta", ("New Malta", "location")),
        ]
    )
    assert [spans(r)[1:] for r in made] == [[], [("Malta", "country")], [("New Malta", "location")], []]


@pytest.mark.slow
def test_the_benchmark(tmp_path: Path, capsys):
    gold = []
    # with numbers instead of words they would be near-duplicates, all in one part of the split
    towns = [f"{a}{b}{c}on" for a in "BDGL" for b in "aeiou" for c in "mns"]
    for i, town in enumerate(towns):
        text = f"{('Velto', 'Hooli', 'Anker')[i % 3]} raised ${1 + i}m in {town}, it said."
        money = text.index("$")
        amount = {"start": money, "end": text.index("m in") + 1, "label": "MONEY"}
        company = {"start": 0, "end": 5, "label": "COMPANY"}
        gold.append(
            Record(text=text, spans=[company, amount], relations=[{"head": 0, "child": 1, "label": "RAISED"}])
        )
    write_records(tmp_path / "gold.jsonl", gold)
    settings = data_config(tmp_path / "data.cfg")
    options = {"reviewed": tmp_path / "gold.jsonl", "settings": settings, "sets": "demo", "max-steps": 20}
    options |= {"configs": "spancat,crf", "output": tmp_path / "scores.json"}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    outcome = run_command("benchmark-overlap", words, capsys)
    assert outcome.status == 0, outcome.output
    rows = json.loads((tmp_path / "scores.json").read_text("utf-8"))
    assert [(row["annotations"], row["config"]) for row in rows] == [
        (kind, config) for kind in ("flat", "nested") for config in ("spancat", "crf")
    ]
    # the outermost spans are one of three
    assert 0.2 < rows[3]["r"]["value"] < 0.4
    assert rows[2]["spans"] == 1.5 * rows[0]["spans"]
    assert rows[1]["r"]["value"] > 0.8
    assert rows[1]["minus_spancat"]["value"] == pytest.approx(rows[1]["f"]["value"] - rows[0]["f"]["value"])


def test_an_unknown_set_is_refused(capsys):
    outcome = run_command("benchmark-overlap", ["--sets", "mars"], capsys)
    assert "--sets 'mars': choose from demo, crossner_politics." in outcome.output

"""Suggested rows: yes, no or correct it, and what becomes of the text."""

import json
from pathlib import Path

import pytest
from reviewing import SCHEME, Project, texts
from running import write_lines

from ie.core.errors import RequestError, UserError
from ie.data.records import Record, Span
from ie.review import rows, selection
from ie.review.settings import ReviewSettings, units

DEAL, OTHER = "Hooli raised $5m and Velto raised $7m.", "Corda raised $9m for lanterns."


def span(text: str, part: str, label: str, **more: str) -> dict:
    start = text.index(part)
    return {"start": start, "end": start + len(part), "label": label, **more}


def deal(**more: object) -> dict:
    """A text with two rows; the second one is the least sure."""
    spans = [
        span(DEAL, "Hooli", "COMPANY", kb_id="7", name="Hooli Inc."),
        span(DEAL, "$5m", "MONEY", value="5000000 USD"),
        span(DEAL, "Velto", "COMPANY", kb_id="NIL"),
        span(DEAL, "$7m", "MONEY", value="7-8 EUR"),
    ]
    relations = [
        {"head": 0, "child": 1, "label": "RAISED", "row_confidence": 0.8},
        {"head": 2, "child": 3, "label": "RAISED", "row_confidence": 0.3},
    ]
    line = {"text": DEAL, "spans": spans, "relations": relations, "unsure": [1, 0], "why": "2 of 2 rows"}
    return line | more


def other(**more: object) -> dict:
    spans = [span(OTHER, "Corda", "COMPANY"), span(OTHER, "$9m", "MONEY")]
    relations = [{"head": 0, "child": 1, "label": "RAISED"}]
    line = {"text": OTHER, "spans": spans, "relations": relations, "unsure": [0], "why": "1 of 1 rows"}
    return line | more


def unsure(folder: Path, *lines: dict) -> list[selection.SelectedText]:
    write_lines(folder / "unsure.jsonl", lines)
    return selection.less_sure(folder / "unsure.jsonl")


def project(folder: Path, *lines: dict, blind: tuple[str, ...] = (), **more: object) -> Project:
    settings = {"review": {"blind": list(blind), "mode": "all labels", "tasks": ["spans", "relations"]}}
    chosen = unsure(folder, *(lines or (deal(), other())))
    return Project(folder, texts(3), settings=settings, chosen=chosen, selection="unsure", **more)


def entries(review: Project) -> list[dict]:
    return [json.loads(line) for line in review.log.read_text().splitlines()]


def asked(review: Project) -> str:
    """The row that the next question is about, in words; else its name."""
    item = review.engine.next("ann")
    if item is None:
        return ""
    written = ["".join(item["pieces"][2 * s["first"] + 1 : 2 * s["end"]]) for s in item["spans"]]
    return " ".join([*written, *item["row"]["values"]]) if "row" in item else item["unit"]["name"]


def shown(record: Record) -> tuple[list[str], list[tuple[str, str]]]:
    words = [record.text[s.start : s.end] for s in record.spans]
    return words, [(words[r.head], words[r.child]) for r in record.relations]


def test_rows_come_first_then_the_whole_text_is_confirmed(tmp_path: Path) -> None:
    review = project(tmp_path)
    assert asked(review) == "Velto $7m no link EUR 7 to 8"
    item = review.step(row="yes")
    assert item["place"] | {"unit": 1, "units": 2} == item["place"]
    assert item["row"]["confidence"] == 0.3
    assert asked(review) == "Hooli $5m Hooli Inc. (7) USD 5,000,000"
    review.step(row="no")
    assert review.gold() == []
    spans = review.engine.next("ann")
    # the spans of the wrong row are still suggestions; those of the right one are answered
    assert [(s["first"], s.get("kept", False)) for s in spans["spans"]] == [
        (0, False),
        (2, False),
        (6, True),
        (8, True),
    ]
    review.step()
    assert review.gold() == []
    relations = review.step()
    assert [(r["head"], r["child"], r["source"]) for r in relations["relations"]] == [(2, 3, "")]
    (record,) = review.gold()
    assert shown(record) == (["Hooli", "$5m", "Velto", "$7m"], [("Velto", "$7m")])
    assert asked(review) == "Corda $9m  "


def test_gold_keeps_the_values_of_right_rows_alone(tmp_path: Path) -> None:
    review = project(tmp_path, deal())
    review.step(row="yes")
    review.step(row="no")
    review.run()
    (record,) = review.gold()
    assert [span.model_extra for span in record.spans] == [{}, {}, {"kb_id": "NIL"}, {"value": "7-8 EUR"}]


def test_an_answer_can_be_taken_back(tmp_path: Path) -> None:
    review = project(tmp_path, deal())
    review.step(row="yes")
    item = review.engine.back("ann", 1)
    assert item["answered"]
    assert asked(review).startswith("Hooli")
    review.engine.answer(review.answer(item, row="no"))
    review.step(row="no")
    assert not any(span.get("kept") for span in review.engine.next("ann")["spans"])
    review.step()
    assert review.step()["relations"] == []
    (record,) = review.gold()
    assert shown(record)[1] == []
    # of a finished text as well: gold follows at once
    row = review.engine.back("ann", 4)
    assert "row" in row
    review.engine.answer(review.answer(row, row="yes"))
    (record,) = review.gold()
    assert shown(record)[1] == [("Velto", "$7m")]
    assert record.spans[3].value == "7-8 EUR"
    review.engine.answer(review.answer(review.engine.back("ann", 1), row="no"))
    (record,) = review.gold()
    assert shown(record)[1] == []
    assert record.spans[3].model_extra == {}


def test_a_row_to_correct_leaves_the_text_to_the_other_questions(tmp_path: Path) -> None:
    review = project(tmp_path, deal())
    review.step(row="correct")
    assert asked(review) == "spans"
    review.step()
    relations = review.engine.next("ann")
    assert [(r["head"], r["child"]) for r in relations["relations"]] == [(0, 1), (2, 3)]


def test_a_restart_loses_nothing(tmp_path: Path) -> None:
    review = project(tmp_path, deal())
    review.step(row="yes")
    review.restart()
    assert asked(review).startswith("Hooli")
    review.step(row="yes")
    review.restart()
    assert asked(review) == "spans"
    review.run()
    before = review.reviewed.read_bytes()
    review.restart()
    assert review.run() == []
    assert review.reviewed.read_bytes() == before
    assert entries(review)[0]["rows"].popitem()[1]["confidence"] == 0.3


def test_two_tabs_answer_a_row_once(tmp_path: Path) -> None:
    review = project(tmp_path, deal())
    item = review.engine.next("ann")
    review.engine.answer(review.answer(item, row="yes"))
    with pytest.raises(RequestError, match="answered in another tab"):
        review.engine.answer(review.answer(item, row="no"))
    assert len(entries(review)) == 1


def test_blind_texts_are_shown_without_rows_and_suggestions(tmp_path: Path) -> None:
    review = project(tmp_path, blind=("train", "dev", "test"))
    item = review.engine.next("ann")
    assert item["blind"]
    assert (item["unit"]["name"], item["spans"], item["others"]) == ("spans", [], [])
    assert "rows" not in item["why"]


def test_blind_texts_come_last(tmp_path: Path) -> None:
    lines = []
    for text in texts(12):
        name, amount = text.split()[0], text.split()[4]
        spans = [span(text, name, "COMPANY"), span(text, amount, "MONEY")]
        lines.append(other(text=text, spans=spans))
    review = project(tmp_path, *lines, blind=("test",))
    blind = [review.engine.side(text) == "test" for text in review.engine.texts]
    assert 0 < sum(blind) < 12
    assert blind == sorted(blind)
    # the others stay in their order, the least sure first
    train = [text for text in texts(12) if review.engine.side(text) != "test"]
    assert review.engine.texts[: len(train)] == train


def test_a_text_in_gold_has_no_rows(tmp_path: Path) -> None:
    record = {"text": DEAL, "spans": [span(DEAL, "Hooli", "COMPANY")]}
    review = project(tmp_path, deal(), gold=[record])
    item = review.engine.next("ann")
    assert item["unit"]["name"] == "spans"
    assert [s["first"] for s in item["spans"]] == [0]


def test_a_suggestion_that_changed_is_asked_again(tmp_path: Path) -> None:
    review = project(tmp_path, deal())
    old = review.engine.next("ann")
    review.step(row="yes")
    changed = deal()
    changed["spans"][3]["value"] = "7 EUR"
    review.restart(chosen=unsure(tmp_path, changed))
    assert asked(review) == "Velto $7m no link EUR 7"
    with pytest.raises(RequestError, match="suggestions have changed; load the page again"):
        review.engine.answer(review.answer(old, row="no"))
    review.step(row="no")
    review.step(row="no")
    review.run()
    (record,) = review.gold()
    assert shown(record)[1] == []


def test_rejecting_a_text_ends_its_rows(tmp_path: Path) -> None:
    review = project(tmp_path, deal())
    review.step(answer="reject")
    assert asked(review) == ""
    assert [record.answer for record in review.gold()] == ["reject"]


def test_a_row_needs_its_answer_and_other_questions_have_none(tmp_path: Path) -> None:
    review = project(tmp_path, deal())
    with pytest.raises(RequestError, match="yes, no or correct"):
        review.step()
    review.step(row="correct")
    with pytest.raises(RequestError, match="yes, no or correct"):
        review.step(row="yes")


def test_the_page_is_told_when_a_row_has_no_confidence(tmp_path: Path) -> None:
    review = project(tmp_path, other())
    assert review.engine.next("ann")["row"]["confidence"] is None


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"unsure": None}, "isn't a text that `accept` wrote"),
        ({"unsure": [5]}, "an unsure row isn't there"),
        ({"relations": [{"head": 0, "child": 9, "label": "RAISED"}]}, "joins spans that aren't there"),
        ({"spans": [{"start": 0, "end": 900, "label": "COMPANY"}]}, "outside the text"),
    ],
)
def test_other_files_are_refused_with_the_line(tmp_path: Path, change: dict, fault: str) -> None:
    with pytest.raises(UserError, match=fault) as refusal:
        unsure(tmp_path, deal(), other(**change))
    assert "unsure.jsonl:2: " in str(refusal.value)
    assert "run `weasel run accept` again" in str(refusal.value)


def test_results_of_an_earlier_version_are_refused(tmp_path: Path) -> None:
    line = deal()
    del line["unsure"]
    with pytest.raises(UserError, match="run `weasel run accept` again"):
        unsure(tmp_path, line)


def test_entities_alone_are_asked_as_usual_with_the_suggestions_marked(tmp_path: Path) -> None:
    line = deal()
    del line["unsure"], line["relations"]
    review = project(tmp_path, line)
    item = review.engine.next("ann")
    assert item["unit"]["name"] == "spans"
    assert len(item["spans"]) == 4


def test_only_rows_that_the_other_questions_could_give(tmp_path: Path) -> None:
    questions = units(ReviewSettings(), SCHEME)
    head, child = Span(start=0, end=3, label="COMPANY"), Span(start=2, end=5, label="MONEY")

    def fits(label: str, child: Span, *, overlapping: bool = False) -> bool:
        return rows.SuggestedRow(head, child, label, 0.5).fits(questions, overlapping=overlapping)

    assert not fits("RAISED", child)
    assert fits("RAISED", child, overlapping=True)
    assert fits("RAISED", Span(start=3, end=5, label="MONEY"))
    assert not fits("SOLD", Span(start=3, end=5, label="MONEY"))
    assert not fits("RAISED", Span(start=3, end=5, label="PERSON"))


def test_a_right_row_replaces_spans_that_it_overlaps(tmp_path: Path) -> None:
    review = project(tmp_path, other())
    review.step(row="yes")
    longer = other(spans=[span(OTHER, "Corda", "COMPANY"), span(OTHER, "$9m for", "MONEY")])
    review.restart(chosen=unsure(tmp_path, longer))
    review.step(row="yes")
    review.run()
    (record,) = review.gold()
    assert shown(record) == (["Corda", "$9m for"], [("Corda", "$9m for")])


@pytest.mark.parametrize("part", ["Corda raised", "Corda"])
def test_the_spans_of_a_row_may_overlap_where_spans_may(tmp_path: Path, part: str) -> None:
    line = other(spans=[span(OTHER, "Corda", "COMPANY"), span(OTHER, part, "MONEY")])
    review = project(tmp_path, line, overlapping=True)
    review.step(row="yes")
    review.run()
    (record,) = review.gold()
    (relation,) = record.relations
    ends = [record.spans[n] for n in (relation.head, relation.child)]
    assert [(OTHER[s.start : s.end], s.label) for s in ends] == [("Corda", "COMPANY"), (part, "MONEY")]


def test_spans_are_moved_to_words(tmp_path: Path) -> None:
    line = other()
    line["spans"][0]["end"] -= 2
    review = project(tmp_path, line)
    review.step(row="yes")
    review.run()
    (record,) = review.gold()
    assert shown(record)[0] == ["Corda", "$9m"]

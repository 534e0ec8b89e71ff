"""What is asked in which order, and what answers do to the gold file."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import reviewing
from pydantic import ValidationError
from reviewing import NLP, Project, texts
from running import write_lines

from ie.core.errors import RequestError
from ie.review.drafts import MAX_SECONDS
from ie.review.selection import SelectedText
from ie.review.suggestion_sources import Suggestion, TextSuggestions
from ie.review.text_search import text_key

ONE_LABEL = ["spans:COMPANY", "spans:MONEY", "relations:RAISED", "categories"]
DEAL = "Hooli raised $5m from ACME Ventures."


def span(text: str, part: str, label: str, **more: object) -> dict:
    start = text.index(part)
    return {"start": start, "end": start + len(part), "label": label, **more}


def suggestion(text: str) -> dict:
    spans = [span(text, "Hooli", "COMPANY", alignment="exact"), span(text, "$5m", "MONEY", alignment="fuzzy")]
    return {
        "text": text,
        "spans": spans,
        "relations": [{"head": 0, "child": 1, "label": "RAISED"}],
        "cats": {"FUNDING": 1, "OTHER": 0},
    }


def test_a_label_goes_through_the_batch_before_the_next(tmp_path: Path) -> None:
    project = Project(tmp_path, texts(3))
    # without spans there is no relation to ask about
    units = [unit for unit in ONE_LABEL if unit != "relations:RAISED"]
    assert project.run() == [
        *((f"t{i}", unit) for unit in units for i in (0, 1)),
        *(("t2", unit) for unit in units),
    ]
    assert [record.text for record in project.gold()] == texts(3)


def test_a_record_appears_when_its_last_question_is_answered(tmp_path: Path) -> None:
    project = Project(tmp_path, [DEAL], suggested=[suggestion(DEAL)])
    for unit in ONE_LABEL:
        assert project.gold() == []
        assert project.step()["unit"]["name"] == unit
    (record,) = project.gold()
    assert [(record.text[s.start : s.end], s.label) for s in record.spans] == [
        ("Hooli", "COMPANY"),
        ("$5m", "MONEY"),
    ]
    assert [(r.head, r.child, r.label) for r in record.relations] == [(0, 1, "RAISED")]
    assert record.cats == {"FUNDING": 1, "OTHER": 0}
    assert (record.annotator, record.meta["guidelines"]) == ("ann", "abc")
    assert record.meta["review"]["seconds"] == 6.0
    # nothing of the suggestion but what was accepted
    assert all(not s.model_extra for s in record.spans)


def test_all_labels_at_once(tmp_path: Path) -> None:
    settings = {"review": {"mode": "all labels", "blind": [], "batch": 1}}
    project = Project(tmp_path, [DEAL], suggested=[suggestion(DEAL)], settings=settings)
    assert [unit for _, unit in project.run()] == ["spans", "relations", "categories"]


def test_a_change_of_mode_asks_for_the_rest_only(tmp_path: Path) -> None:
    project = Project(tmp_path, [DEAL])
    project.step()
    project.settings.review.mode = "all labels"
    project.restart()
    assert [unit for _, unit in project.run()] == ["spans:MONEY", "categories"]
    project.settings.review.mode = "one label"
    assert project.restart().next("ann") is None


def test_a_sample_of_applied_texts_is_reviewed_blind_and_keeps_its_origin(tmp_path: Path) -> None:
    origin = {"watch": {"results": "corpus/applied", "file": "news.jsonl", "row": 7}}
    chosen = [SelectedText(text, "random sample", origin=origin) for text in ("Hooli is new here.", DEAL)]
    project = Project(
        tmp_path, [DEAL], suggested=[suggestion(DEAL)], chosen=chosen, selection="watch",
        settings={"review": {"mode": "all labels", "blind": [], "batch": 1}},
    )  # fmt: skip
    item = project.engine.item("ann", text_key(DEAL), "spans")
    assert (item["blind"], item["spans"]) == (True, [])
    project.run()
    new, raw = project.gold()
    assert (new.text, new.meta["watch"]) == ("Hooli is new here.", origin["watch"])
    assert (raw.text, raw.meta["watch"], raw.meta["id"]) == (DEAL, origin["watch"], "t0")


def test_fewer_tasks_leave_no_text_behind(tmp_path: Path) -> None:
    project = Project(tmp_path, texts(1))
    project.step(), project.step()
    project.settings.review.tasks = ["spans"]
    assert project.restart().next("ann")["answered"]
    project.run()
    assert len(project.gold()) == 1


def test_rejecting_ends_a_text(tmp_path: Path) -> None:
    project = Project(tmp_path, texts(1))
    project.step(answer="reject")
    assert [record.answer for record in project.gold()] == ["reject"]
    assert project.engine.next("ann") is None


def test_an_answer_can_be_changed_and_its_line_stays_in_place(tmp_path: Path) -> None:
    project = Project(tmp_path, texts(2), settings={"review": {"tasks": ["spans"], "blind": [], "batch": 1}})
    project.run()
    before = project.reviewed.read_text("utf-8").splitlines()
    earlier = project.engine.back("ann", 3)
    assert (earlier["id"], earlier["unit"]["name"], earlier["answered"]) == ("t0", "spans:MONEY", True)
    project.engine.answer(project.answer(earlier, spans=[(0, 1, "MONEY")]))
    after = project.reviewed.read_text("utf-8").splitlines()
    assert (after[0] != before[0], after[1] == before[1]) == (True, True)
    assert [s.label for s in project.gold()[0].spans] == ["MONEY"]
    # all versions stay in the journal
    versions = [json.loads(line) for line in project.log.read_text("utf-8").splitlines()]
    assert len([v for v in versions if "record" in v and v["id"] == "t0"]) == 2
    assert project.restart().next("ann") is None


def test_a_rejected_text_that_is_accepted_after_all_goes_on(tmp_path: Path) -> None:
    project = Project(tmp_path, texts(1))
    project.step(answer="reject")
    earlier = project.engine.back("ann", 1)
    project.engine.answer(project.answer(earlier))
    assert [unit for _, unit in project.run()] == ["spans:MONEY", "categories"]
    assert [record.answer for record in project.gold()] == ["accept"]


def test_back_goes_through_answers_and_ends(tmp_path: Path) -> None:
    project = Project(tmp_path, texts(2))
    project.step(), project.step()
    assert [project.engine.back("ann", n)["id"] for n in (1, 2)] == ["t1", "t0"]
    assert project.engine.back("ann", 3) is None
    assert project.engine.back("bob", 1) is None


class TestTwoPeople:
    def test_share_the_texts(self, tmp_path: Path) -> None:
        project = Project(tmp_path, texts(8))
        asked = {"ann": set(), "bob": set()}
        while any(items := {name: project.step(name) for name in asked}.values()):
            for item in items:
                if item:
                    asked[item["annotator"]].add(item["id"])
        assert not asked["ann"] & asked["bob"]
        assert len(asked["ann"] | asked["bob"]) == len(project.gold()) == 8

    def test_what_one_left_goes_to_the_other_later(self, tmp_path: Path) -> None:
        project = Project(tmp_path, texts(1))
        project.step("ann")
        assert project.engine.next("bob") is None
        project.now += 31 * 60
        assert project.engine.next("bob")["unit"]["name"] == "spans:MONEY"
        project.run("bob")
        assert project.gold()[0].annotator == "ann+bob"

    def test_the_slower_answer_is_refused(self, tmp_path: Path) -> None:
        project = Project(tmp_path, texts(1))
        first, second = project.engine.next("ann"), project.engine.next("ann")
        project.engine.answer(project.answer(first))
        with pytest.raises(RequestError, match="since been answered"):
            project.engine.answer(project.answer(second))

    def test_independently_each_has_all_texts_and_a_file(self, tmp_path: Path) -> None:
        project = Project(
            tmp_path, texts(2), settings={"review": {"independent": True, "blind": [], "batch": 1}}
        )
        assert project.run("ann") == project.run("bob")
        assert project.gold() == []
        assert all(
            len((tmp_path / f"{name}.jsonl").read_text("utf-8").splitlines()) == 2 for name in ("ann", "bob")
        )


def test_the_same_answer_twice_counts_once(tmp_path: Path) -> None:
    project = Project(tmp_path, texts(1))
    given = project.answer(project.engine.next("ann"))
    project.engine.answer(given)
    project.engine.answer(given)
    assert len(project.log.read_text("utf-8").splitlines()) == 1


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    project = Project(tmp_path, texts(3))
    whole = Project(tmp_path / "whole", texts(3)).run()
    asked = []
    while (item := project.restart().next("ann")) is not None:
        asked.append((item["id"], item["unit"]["name"]))
        project.engine.answer(project.answer(item))
    assert sorted(asked) == sorted(whole)
    assert len(project.gold()) == 3


def test_test_texts_are_shown_without_suggestions(tmp_path: Path) -> None:
    lines = [f"{DEAL} {text}" for text in texts(30)]
    settings = {"review": {"blind": ["test"], "batch": 1, "tasks": ["spans"]}}
    project = Project(tmp_path, lines, suggested=[suggestion(line) for line in lines], settings=settings)
    shown = {}
    while item := project.step():
        shown.setdefault(item["side"], []).append((item["blind"], bool(item["spans"]), bool(item["others"])))
        if item["side"] == "test":
            assert item["blind"]
            assert not item["others"]
    assert {"train", "test"} <= set(shown)
    assert all(s == (False, True, False) for s in shown["train"])
    # the first question of each; what was answered before is shown in the second
    assert (True, True, False) not in shown["test"]


def test_overlapping_suggestions_are_offered(tmp_path: Path) -> None:
    first = {
        "text": DEAL,
        "spans": [
            span(DEAL, "ACME", "COMPANY", source="rules"),
            span(DEAL, "Hooli", "COMPANY", source="rules"),
        ],
    }
    project = Project(tmp_path, [DEAL], suggested=[first])
    item = project.engine.next("ann")
    assert [s["sources"][0]["name"] for s in item["spans"]] == ["rules", "rules"]


def test_a_relation_joins_two_spans(tmp_path: Path) -> None:
    project = Project(tmp_path, [DEAL], suggested=[suggestion(DEAL)])
    project.step(), project.step()
    for ends in ((0, 0), (0, 2)):
        with pytest.raises(RequestError, match="join two spans"):
            project.step(relations=[(*ends, "RAISED")])


def test_spans_of_other_questions_come_along_as_they_are(tmp_path: Path) -> None:
    project = Project(tmp_path, [DEAL], suggested=[suggestion(DEAL)])
    project.step()
    item = project.engine.next("ann")
    assert [(s["first"], s["label"]) for s in item["spans"]] == [(0, "COMPANY"), (2, "MONEY")]
    project.engine.answer(project.answer(item))
    assert [(s["first"], s["label"]) for s in project.engine.next("ann")["spans"]] == [
        (0, "COMPANY"),
        (2, "MONEY"),
    ]


@pytest.mark.parametrize("seconds", [1.7e308, 1e8, -1, float("inf"), float("nan")])
def test_times_are_finite_and_so_are_their_sums(tmp_path: Path, seconds: float) -> None:
    project = Project(tmp_path, [DEAL])
    with pytest.raises(ValidationError, match="seconds"):
        project.step(seconds=seconds)
    # as an earlier version took them
    project.step()
    (line,) = project.log.read_text("utf-8").splitlines()
    project.log.write_text(json.dumps(json.loads(line) | {"seconds": 1.7e308}) + "\n", encoding="utf-8")
    project.restart()
    project.run()
    (record,) = project.gold()
    assert MAX_SECONDS < record.meta["review"]["seconds"] < MAX_SECONDS + 10


def test_a_relation_goes_with_its_span(tmp_path: Path) -> None:
    project = Project(tmp_path, [DEAL], suggested=[suggestion(DEAL)])
    project.run()
    item = project.engine.item("ann", project.engine.back("ann", 1)["text"], "spans:MONEY")
    project.engine.answer(project.answer(item, spans=[(0, 1, "COMPANY")]))
    assert project.gold()[0].relations == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"spans": [(0, 99, "COMPANY")]}, "outside the text"),
        ({"spans": [(0, 2, "COMPANY"), (1, 3, "COMPANY")]}, "overlap"),
        ({"spans": [(0, 1, "CITY")]}, "does not ask for spans of 'CITY'"),
        ({"spans": [(0, 1, "MONEY")]}, "does not ask for spans of 'MONEY'"),
        ({"unit": "spans:CITY"}, "labels or the suggestions have changed"),
        ({"text": "0" * 16}, "isn't in this review"),
        ({"annotator": "../x"}, "A name has"),
        ({"base": "zz"}, "since been answered"),
        ({"unit": "categories", "cats": {"FUNDING": 1, "OTHER": 1}}, "Choose one"),
        ({"unit": "categories", "cats": {"NEWS": 1}}, "no category"),
        (
            {"unit": "relations:RAISED", "spans": [(0, 1, "COMPANY")]},
            "does not ask for spans of 'COMPANY'",
        ),
    ],
)
def test_answers_that_do_not_fit_leave_nothing(tmp_path: Path, changes: dict, fault: str) -> None:
    project = Project(tmp_path, [DEAL])
    with pytest.raises(RequestError, match=fault):
        project.step(**changes)
    assert project.log.read_text("utf-8") == ""


def test_a_full_disk_takes_no_answer_and_the_next_try_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path, texts(1), settings={"review": {"tasks": ["categories"], "batch": 1}})
    given = project.answer(project.engine.next("ann"))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(project.engine.gold, "put", fail)
    with pytest.raises(OSError, match="No space"):
        project.engine.answer(given)
    monkeypatch.undo()
    project.engine.answer(given)
    assert len(project.gold()) == 1
    assert len(project.log.read_text("utf-8").splitlines()) == 1


def test_what_gold_had_is_kept(tmp_path: Path) -> None:
    spans = [span(DEAL, "Hooli", "COMPANY", kb_id="7"), span(DEAL, "$5m", "MONEY", value="5000000 USD")]
    gold = {
        "text": DEAL,
        "spans": spans,
        "relations": [{"head": 0, "child": 1, "label": "RAISED"}],
        "cats": {"FUNDING": 1, "OTHER": 0},
        "meta": {"id": "g"},
        "own": [1],
    }
    project = Project(tmp_path, [DEAL], gold=[gold])
    assert project.engine.next("ann") is None
    engine = project.restart(chosen=[SelectedText(DEAL, "look again")], selection="errors")
    item = engine.next("ann")
    assert (item["why"], item["round"], [s["label"] for s in item["spans"]]) == (
        "look again",
        2,
        ["COMPANY", "MONEY"],
    )
    project.step()
    # the amount gets one token more, so its value is no longer sure
    project.step(spans=[(0, 1, "COMPANY"), (2, 6, "MONEY")])
    project.run()
    (record,) = project.gold()
    assert [s.model_extra for s in record.spans] == [{"kb_id": "7"}, {}]
    assert (record.model_extra, record.meta["id"], len(record.relations)) == ({"own": [1]}, "g", 0)
    # looked at once, it isn't asked again, even after a restart
    assert project.restart().next("ann") is None
    # nor does a plain review ask
    assert project.restart(chosen=(), selection="").next("ann") is None


def test_annotators_answers_are_offered_for_a_decision(tmp_path: Path) -> None:
    spans = [
        Suggestion(0, 5, "COMPANY", "ann"),
        Suggestion(0, 5, "COMPANY", "bob"),
        Suggestion(22, 26, "COMPANY", "ann"),
        Suggestion(22, 35, "COMPANY", "bob"),
    ]
    chosen = SelectedText(DEAL, "boundary", TextSuggestions(spans, cats_votes={"OTHER": ["bob"]}))
    item = Project(tmp_path, [DEAL], chosen=[chosen], selection="file.jsonl").engine.next("cid")
    assert [(s["first"], [v["name"] for v in s["sources"]]) for s in item["spans"]] == [(0, ["ann", "bob"])]
    assert [[v["name"] for v in s["sources"]] for s in item["others"]] == [["ann"], ["bob"]]


def test_offsets_count_characters(tmp_path: Path) -> None:
    text = "👩\u200d💻 Cafe\u0301 גייסה raised 5m"
    project = Project(tmp_path, [text])
    pieces = project.engine.next("ann")["pieces"]
    at = pieces[1::2].index("Cafe\u0301")
    project.step(spans=[(at, at + 1, "COMPANY")])
    project.run()
    (marked,) = project.gold()[0].spans
    assert text[marked.start : marked.end] == "Cafe\u0301"
    assert NLP.tokenizer(text).char_span(marked.start, marked.end) is not None


def test_a_relation_that_two_suggest_is_one(tmp_path: Path) -> None:
    project = Project(tmp_path, [DEAL], suggested=[suggestion(DEAL)])
    project.engine.sources.files["again"] = project.engine.sources.files["llm"]
    project.step(), project.step()
    (relation,) = project.engine.next("ann")["relations"]
    assert relation["source"] == "llm + again"


def test_of_two_answers_only_the_relation_of_both_is_taken(tmp_path: Path) -> None:
    edges = [((0, 5), (13, 16), "RAISED", who) for who in ("ann", "bob")]
    edges += [((22, 35), (13, 16), "RAISED", "bob")]
    marks = [(0, 5, "COMPANY"), (13, 16, "MONEY"), (22, 35, "COMPANY")]
    spans = [Suggestion(*mark, who) for mark in marks for who in ("ann", "bob")]
    chosen = SelectedText(DEAL, "relation", TextSuggestions(spans, edges, sources={"ann", "bob"}))
    project = Project(tmp_path, [DEAL], chosen=[chosen], selection="file.jsonl")
    project.step("cid"), project.step("cid")
    assert [(r["head"], r["child"]) for r in project.engine.next("cid")["relations"]] == [(0, 1)]


def test_the_flag_for_the_meeting_stays_with_the_text(tmp_path: Path) -> None:
    project = Project(tmp_path, texts(1))
    project.step(meeting=" Is a fund one? ")
    assert project.engine.next("ann")["meeting"] == "Is a fund one?"
    project.step(meeting="Is a fund one?")
    project.step(meeting=None)
    assert "meeting" not in project.gold()[0].meta
    project.engine.answer(project.answer(project.engine.back("ann", 1), meeting=""))
    assert project.gold()[0].meta["meeting"] == ""


def test_the_log_is_what_the_curve_reads(tmp_path: Path) -> None:
    project = Project(tmp_path, texts(2))
    project.run()
    lines = [json.loads(line) for line in project.log.read_text("utf-8").splitlines()]
    assert {line["id"] for line in lines} == {"t0", "t1"}
    assert all(line["seconds"] == 1.5 for line in lines)


class TestTextsByHand:
    def test_a_search_ignores_case_and_whitespace(self, tmp_path: Path) -> None:
        project = Project(tmp_path, ["Hooli  raised\n$5m.", "Anker closed.", "HOOLI RAISED nothing."])
        found = project.engine.find("ann", "hooli raised ", mine=False)
        assert (found["total"], [row["start"] for row in found["rows"]]) == (
            2,
            ["Hooli  raised\n$5m.", "HOOLI RAISED nothing."],
        )
        assert project.engine.find("ann", "", mine=False, limit=2)["total"] == 3
        assert project.engine.find("ann", "nobody", mine=False) == {"total": 0, "rows": []}

    def test_my_answers_are_the_newest_first_and_nobody_elses(self, tmp_path: Path) -> None:
        project = Project(tmp_path, texts(4), settings={"review": {"tasks": ["categories"], "blind": []}})
        first, second = project.step(), project.step(answer="ignore")
        project.step("ben")
        found = project.engine.find("ann", "", mine=True)
        assert [(row["text"], row["state"]) for row in found["rows"]] == [
            (second["text"], "ignored"),
            (first["text"], "0 spans"),
        ]

    def test_an_opened_text_is_finished_before_others(self, tmp_path: Path) -> None:
        project = Project(tmp_path, texts(4))
        begun = project.step()
        key = project.engine.find("ann", texts(4)[3], mine=False)["rows"][0]["text"]
        opened = project.engine.jump("ann", key)
        assert (opened["id"], opened["unit"]["name"]) == ("t3", "spans:COMPANY")
        assert opened["why"] == "you opened it"
        project.engine.answer(project.answer(opened))
        state = {row["text"]: row["state"] for row in project.engine.find("ann", "", mine=True)["rows"]}
        assert state == {key: "begun", begun["text"]: "begun"}
        assert project.engine.jump("ann", key)["unit"]["name"] == "spans:MONEY"
        asked = project.run()
        assert asked.index(("t3", "categories")) < asked.index(("t2", "spans:COMPANY"))
        again = project.engine.jump("ann", key)
        assert (again["answered"], again["unit"]["name"]) == (True, "spans:COMPANY")

    def test_an_unknown_text_is_refused(self, tmp_path: Path) -> None:
        project = Project(tmp_path, texts(1))
        for ask in (project.engine.jump, project.engine.more_like):
            with pytest.raises(RequestError, match="isn't in this review"):
                ask("ann", "0" * 16)

    def test_similar_texts_are_of_train_and_nobody_elses(self, tmp_path: Path) -> None:
        lines = texts(60)
        project = Project(tmp_path, lines, settings={"review": {"tasks": ["categories"], "batch": 40}})
        here = project.engine.next("ann")
        project.engine.next("ben")
        held = {project.engine.texts[i] for i in project.engine._group("").desks.of("ben").batch}
        count = project.engine.more_like("ann", here["text"])
        project.step()
        shown = []
        while (item := project.step()) and item["why"] == "similar to one before":
            shown.append("".join(item["pieces"]))
        assert len(shown) == count > 10
        assert {project.engine.side(text) for text in shown} == {"train"}
        assert not held & set(shown)
        words = set("".join(here["pieces"]).split())
        common = [len(words & set(text.split())) for text in shown]
        assert common[0] > common[-1]

    def test_counts_follow_corrections(self, tmp_path: Path) -> None:
        project = Project(tmp_path, texts(2), settings={"review": {"tasks": ["spans"], "blind": []}})
        assert project.engine.session("ann")["labels"] == {"COMPANY": 0, "MONEY": 0}
        item = project.step(spans=[(0, 1, "COMPANY")])
        while project.step():
            pass
        done = project.engine.session("ann")
        assert (done["answers"], done["texts"], done["seconds"]) == (4, 2, 6.0)
        assert done["labels"] == {"COMPANY": 1, "MONEY": 0}
        again = project.engine.item("ann", item["text"], "spans:COMPANY")
        project.engine.answer(project.answer(again, spans=[]))
        assert project.engine.session("ann")["labels"] == {"COMPANY": 0, "MONEY": 0}
        project.restart()
        assert project.engine.session("ann")["answers"] == 0


class TestFirstModel:
    BEGIN: ClassVar = {"order": {"begin": {"train": 6, "dev": 3, "test": 3}, "first": "", "then": "file"}}

    def parts(self, project: Project) -> Counter:
        return Counter(project.engine.sides.counts)

    @pytest.mark.parametrize("batch", [1, 10])
    def test_twelve_answers_are_enough_for_all_parts(self, tmp_path: Path, batch: int) -> None:
        """Whatever the size of a batch, whose texts are all drawn before the first one is finished."""
        project = Project(tmp_path, texts(200), settings=self.BEGIN | {"review": {"batch": batch}})
        while len(project.gold()) < 12:
            project.step()
        assert self.parts(project) == {"train": 6, "dev": 3, "test": 3}

    def test_rejected_texts_are_replaced(self, tmp_path: Path) -> None:
        project = Project(tmp_path, texts(200), settings=self.BEGIN)
        for answer in ("reject", "ignore", "reject"):
            project.step(answer=answer)
        while len(project.gold()) < 15:
            project.step()
        assert self.parts(project) == {"train": 6, "dev": 3, "test": 3}

    def test_a_restart_goes_on_where_it_stopped(self, tmp_path: Path) -> None:
        project = Project(tmp_path, texts(200), settings=self.BEGIN)
        while len(project.gold()) < 12:
            project.step()
            project.restart()
        assert self.parts(project) == {"train": 6, "dev": 3, "test": 3}

    def test_annotators_who_work_independently_are_asked_the_same(self, tmp_path: Path) -> None:
        settings = self.BEGIN | {"review": {"independent": True, "batch": 2}}
        project = Project(tmp_path, texts(60), settings=settings)
        asked = {}
        for name, answers in (("ann", ["accept"]), ("bob", ["reject", "accept"])):
            items: list[str] = []
            while len(items) < 20:
                item = project.step(name, answer=answers[len(items) % len(answers)])
                items += [item["id"]] if item["id"] not in items else []
            asked[name] = items
        assert set(asked["ann"][:18]) == set(asked["bob"][:18])

    def test_texts_that_are_left_are_counted_by_part(self, tmp_path: Path) -> None:
        project = Project(tmp_path, texts(60))
        before = project.engine.unreviewed()
        assert sum(before.values()) == 60
        while len(project.gold()) < 5:
            project.step()
        after = project.engine.unreviewed()
        assert {part: before[part] - after[part] for part in before} == self.parts(project)
        assert after == project.restart().unreviewed()


@pytest.mark.slow
def test_a_hundred_thousand_texts(tmp_path: Path) -> None:
    settings = {"order": {}, "review": {"tasks": ["spans"], "mode": "all labels", "batch": 10}}
    project = Project(tmp_path, texts(100_000), settings=settings)
    for _ in range(12):
        assert project.step()
    assert len(project.gold()) == 12
    assert set(project.engine.sides.counts) == {"train", "dev", "test"}
    assert project.restart().next("ann")["text"] not in {record.text for record in project.gold()}


class TestNewLabels:
    ALL: ClassVar = {"review": {"mode": "all labels", "tasks": ["spans"], "blind": [], "batch": 10}}

    def grow(self, monkeypatch: pytest.MonkeyPatch, project: Project, **labels: tuple[str, ...]) -> None:
        monkeypatch.setattr(reviewing, "SCHEME", replace(reviewing.SCHEME, **labels))
        project.restart()

    @pytest.mark.parametrize("mode", ["one label", "all labels"])
    def test_answered_texts_are_asked_for_the_new_label_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
    ) -> None:
        settings = {"review": self.ALL["review"] | {"mode": mode}}
        project = Project(tmp_path, texts(60), [], [suggestion(DEAL)], settings)
        while len(project.gold()) < 50:
            item = project.engine.next("ann")
            spans = project.answer(item).spans or [(0, 1, "COMPANY")]
            project.engine.answer(project.answer(item, spans=spans))
        before = project.gold()
        labels = ("COMPANY", "MONEY", "CITY")
        self.grow(monkeypatch, project, span_labels=labels)
        asked = []
        for _ in range(50):
            item = project.engine.next("ann")
            asked.append((item["id"], item["unit"]["name"], item["why"]))
            assert [span["label"] for span in item["spans"]] == ["COMPANY"]
            kept = project.answer(item).spans
            project.engine.answer(project.answer(item, spans=[*kept, (1, 2, "CITY")]))
        assert {unit for _, unit, _ in asked} == {"spans:CITY"}
        assert {why for *_, why in asked} == {"asked again, for a new label"}
        assert len({text for text, *_ in asked}) == 50
        for old, new in zip(before, project.gold(), strict=True):
            assert (old.text, old.spans[0]) == (new.text, new.spans[0])
            assert [span.label for span in new.spans] == ["COMPANY", "CITY"]
        # the rest is asked for all labels
        assert project.engine.next("ann")["unit"]["name"] in ("spans", "spans:COMPANY")
        assert project.engine.back("ann", 1)["unit"]["name"] == "spans:CITY"

    def test_a_renamed_label_is_asked_again_with_its_spans_marked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        project = Project(tmp_path, texts(2), settings=self.ALL)
        for _ in range(2):
            project.step(spans=[(0, 1, "COMPANY")])
        renamed = project.reviewed.read_text("utf-8").replace('"COMPANY"', '"FIRM"')
        project.reviewed.write_text(renamed, encoding="utf-8")
        self.grow(monkeypatch, project, span_labels=("FIRM", "MONEY"))
        item = project.engine.next("ann")
        assert item["unit"]["name"] == "spans:FIRM"
        assert [span["label"] for span in item["spans"]] == ["FIRM"]
        project.run()
        assert [[span.label for span in record.spans] for record in project.gold()] == [["FIRM"]] * 2
        assert project.restart().next("ann") is None

    def test_a_rejected_text_is_not_asked_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        project = Project(tmp_path, texts(1), settings=self.ALL)
        project.step(answer="reject")
        self.grow(monkeypatch, project, span_labels=("COMPANY", "MONEY", "CITY"))
        assert project.engine.next("ann") is None

    def test_a_new_category_is_a_new_choice(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = {"review": {"tasks": ["categories"], "blind": [], "batch": 10}}
        project = Project(tmp_path, texts(3), settings=settings)
        project.run()
        self.grow(monkeypatch, project, categories=("FUNDING", "OTHER", "RESULTS"))
        item = project.engine.next("ann")
        assert item["cats"] == {"FUNDING": 0, "OTHER": 1, "RESULTS": 0}
        assert not item["answered"]
        project.run()
        assert [set(record.cats) for record in project.gold()] == [{"FUNDING", "OTHER", "RESULTS"}] * 3

    def test_gold_that_review_did_not_write_is_not_asked_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        project = Project(tmp_path, texts(1), [{"text": texts(1)[0]}], settings=self.ALL)
        self.grow(monkeypatch, project, span_labels=("COMPANY", "MONEY", "CITY"))
        assert project.engine.next("ann") is None


class TestFilesOutOfStep:
    SPANS: ClassVar = {"review": {"tasks": ["spans"], "mode": "all labels", "blind": [], "batch": 10}}

    def test_an_edited_text_is_a_new_one_and_the_old_answer_stays(self, tmp_path: Path) -> None:
        project = Project(tmp_path, texts(3), settings=self.SPANS)
        project.run()
        before = project.gold()
        edited = [texts(3)[0].replace("Velto", "Velto Ltd"), *texts(3)[1:]]
        write_lines(tmp_path / "texts.jsonl", [{"text": text} for text in edited])
        project.restart()
        assert project.step()["pieces"][1::2][1] == "Ltd"
        assert project.gold()[:3] == before
        assert len(project.gold()) == 4

    def test_a_removed_text_keeps_its_answer(self, tmp_path: Path) -> None:
        project = Project(tmp_path, texts(3), settings=self.SPANS)
        project.step()
        project.step()
        before = project.reviewed.read_bytes()
        write_lines(tmp_path / "texts.jsonl", [{"text": text} for text in texts(3)[2:]])
        project.restart()
        assert [item for item, _ in project.run()]
        assert project.reviewed.read_bytes().startswith(before)

    def test_a_gold_line_that_is_missing_comes_back_from_the_log(self, tmp_path: Path) -> None:
        project = Project(tmp_path, texts(3), settings=self.SPANS)
        project.run()
        before = project.reviewed.read_text("utf-8").splitlines()
        write_lines(project.reviewed, before[1:])
        assert project.restart().repaired == 1
        assert sorted(project.reviewed.read_text("utf-8").splitlines()) == sorted(before)

    def test_gold_without_its_log_stays(self, tmp_path: Path) -> None:
        project = Project(tmp_path, texts(3), settings=self.SPANS)
        project.step()
        before = project.reviewed.read_bytes()
        project.journal.close()
        project.journal = None
        project.log.unlink()
        project.restart()
        assert len(project.run()) == 2
        assert project.reviewed.read_bytes().startswith(before)

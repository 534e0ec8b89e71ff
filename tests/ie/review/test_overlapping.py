"""Spans that overlap: answers, drafts, suggestions, and agreement."""

import json
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from reviewing import NLP, Project

from ie.core.errors import RequestError
from ie.data.guidelines import GuidelineIndex
from ie.data.records import Record, Span
from ie.review import agreement, disagreements
from ie.review.learned_suggestions import MODEL, RULES, LearnedSuggestions
from ie.review.marked_strings import MarkedStrings
from ie.review.settings import LearnSection
from ie.review.suggestion_sources import SuggestionSources, TextSuggestions, add, agreed

BANK = "Bank of Corda raised $5m from Corda."
SPANS = [(0, 3, "COMPANY"), (2, 3, "COMPANY"), (2, 3, "MONEY"), (4, 7, "MONEY")]  # in cells
WORDS = [("Bank of Corda", "COMPANY"), ("Corda", "COMPANY"), ("Corda", "MONEY"), ("$5m", "MONEY")]
ALL_LABELS = {"review": {"mode": "all labels", "blind": [], "batch": 1}}


def record(text: str, *spans: tuple[str, str], **more: object) -> Record:
    places = [(text.index(part), part, label) for part, label in spans]
    return Record(
        text=text, spans=[Span(start=s, end=s + len(p), label=label) for s, p, label in places], **more
    )


def words(record: Record) -> list[tuple[str, str]]:
    return [(record.text[s.start : s.end], s.label) for s in record.spans]


def suggested(*sources: tuple[str, list[tuple[int, int, str]]]) -> TextSuggestions:
    known = TextSuggestions()
    for name, spans in sources:
        marks = [Span(start=start, end=end, label=label) for start, end, label in spans]
        add(known, Record(text="x" * 50, spans=marks), name)
    return known


class TestAnswers:
    @pytest.fixture
    def project(self, tmp_path: Path) -> Project:
        return Project(tmp_path, [BANK], settings=ALL_LABELS, overlapping=True)

    def joined(self, project: Project) -> list[tuple]:
        (gold,) = project.gold()
        return [(words(gold)[r.head], words(gold)[r.child]) for r in gold.relations]

    def test_spans_inside_of_others_and_two_labels_for_one_are_kept(self, project: Project) -> None:
        project.step(spans=SPANS)
        item = project.restart().next("ann")  # after a crash
        assert [(s["first"], s["end"], s["label"]) for s in item["spans"]] == SPANS
        project.run()
        (gold,) = project.gold()
        assert sorted(words(gold)) == sorted(WORDS)
        project.restart()
        assert project.engine.next("ann") is None
        assert len(project.log.read_text("utf-8").splitlines()) == 3

    def test_the_same_span_and_label_twice_is_refused(self, project: Project) -> None:
        with pytest.raises(RequestError, match="has the same label twice"):
            project.step(spans=[*SPANS, SPANS[2]])
        assert project.log.read_text("utf-8") == ""

    def test_relations_know_which_of_two_labels_they_join(self, project: Project) -> None:
        project.step(spans=SPANS)
        project.step(relations=[(0, 2, "RAISED"), (2, 1, "RAISED"), (0, 3, "RAISED")])
        lines = [json.loads(line) for line in project.log.read_text("utf-8").splitlines()]
        assert lines[-1]["relations"] == [
            [[0, 13], [8, 13, "MONEY"], "RAISED"],
            [[8, 13, "MONEY"], [8, 13, "COMPANY"], "RAISED"],
            [[0, 13], [21, 24], "RAISED"],
        ]
        item = project.engine.item("ann", project.engine.back("ann", 1)["text"], "relations")
        assert [(r["head"], r["child"]) for r in item["relations"]] == [(0, 2), (2, 1), (0, 3)]
        project.run()
        expected = [(WORDS[0], WORDS[2]), (WORDS[2], WORDS[1]), (WORDS[0], WORDS[3])]
        assert self.joined(project) == expected
        # a deleted span takes its own relations along; the others stay, as a draft and as gold
        project.restart()
        item = project.engine.item("ann", project.engine.back("ann", 1)["text"], "spans")
        project.engine.answer(project.answer(item, spans=[SPANS[0], SPANS[2], SPANS[3]]))
        assert self.joined(project) == [expected[0], expected[2]]

    def test_a_second_label_leaves_the_relation_with_the_first(self, project: Project) -> None:
        project.step(spans=[SPANS[0], SPANS[2]])
        project.step(relations=[(0, 1, "RAISED")])
        item = project.engine.item("ann", project.engine.back("ann", 1)["text"], "spans")
        project.engine.answer(project.answer(item, spans=SPANS[:3]))
        project.run()
        assert self.joined(project) == [(WORDS[0], WORDS[2])]

    def test_one_label_after_the_other(self, tmp_path: Path) -> None:
        line = record(BANK, *WORDS).model_dump(exclude_defaults=True)
        project = Project(tmp_path, [BANK], suggested=[line], overlapping=True)
        item = project.step()
        assert [s["label"] for s in item["spans"]] == ["COMPANY", "COMPANY"]
        item = project.step()
        assert [s["label"] for s in item["spans"]] == ["COMPANY", "COMPANY", "MONEY", "MONEY"]


class TestSuggestions:
    def test_those_of_one_source_are_all_marked(self) -> None:
        spans = [(0, 9, "A"), (0, 4, "A"), (0, 4, "B"), (2, 12, "B")]
        assert {s.key for s in suggested(("llm", spans)).preset(overlapping=True)} == set(spans)
        assert [s.key for s in suggested(("llm", spans)).preset()] == [(0, 9, "A")]

    def test_another_source_adds_what_does_not_contradict_the_first(self) -> None:
        known = suggested(
            ("llm", [(0, 9, "A"), (20, 25, "A")]),
            ("rules", [(0, 9, "A"), (0, 4, "A"), (20, 25, "B"), (19, 25, "A"), (22, 25, "C")]),
        )
        # other edges of one label, or another label of the same edges, are offered and not marked
        assert [s.key for s in known.preset(overlapping=True)] == [
            (0, 9, "A"),
            (0, 4, "A"),  # the rules have the span around it as well
            (20, 25, "A"),
            (22, 25, "C"),
        ]
        assert agreed(known) is None

    def test_what_is_not_marked_is_offered(self, tmp_path: Path) -> None:
        spans = [span.model_dump() | {"source": source} for source, span in [
            ("llm", record(BANK, WORDS[0]).spans[0]), ("rules", record(BANK, WORDS[1]).spans[0]),
        ]]  # fmt: skip
        line = {"text": BANK, "spans": spans}
        project = Project(tmp_path, [BANK], suggested=[line], settings=ALL_LABELS, overlapping=True)
        item = project.engine.next("ann")
        assert [(s["first"], s["end"]) for s in item["spans"]] == [(0, 3)]
        assert [(s["first"], s["end"]) for s in item["others"]] == [(2, 3)]

    def test_all_marked_strings_are_suggested(self) -> None:
        strings = MarkedStrings(NLP.tokenizer, overlapping=True)
        strings.put(record(BANK, *WORDS[:1]))
        strings.put(record("Corda pays.", ("Corda", "COMPANY"), ("Corda", "MONEY")))
        strings.put(record("Corda waits.", ("Corda", "COMPANY"), ("Corda", "MONEY")))
        for n in range(5):
            strings.put(record(f"Corda is {n}.", ("Corda", "COMPANY"), ("Corda", "MONEY")))
        found = words(strings.suggest("Bank of Corda"))
        assert found == [("Bank of Corda", "COMPANY"), ("Corda", "COMPANY"), ("Corda", "MONEY")]

    def test_rules_are_mined_and_no_model_is_trained(self) -> None:
        class AtOnce(Executor):
            def submit(self, work: Callable, *arguments: object) -> Future:
                assert isinstance(work, partial)
                future = Future()
                future.set_result(work(*arguments, 0))
                return future

        learned = LearnedSuggestions(
            NLP.tokenizer, "en", LearnSection(strings=False), executor=AtOnce(), overlapping=True
        )
        spans = [("Bank of Corda", "COMPANY"), ("Corda", "MONEY")]
        learned.learn([record(f"Bank of Corda has {n} rooms.", *spans) for n in range(30)])
        assert learned.names == [RULES]
        assert MODEL not in learned.names
        assert {*words(dict(learned.suggest(BANK))[RULES])} >= {*spans}
        assert learned.last.model == b""
        assert "can't find spans that overlap" in learned.note

    def test_a_flat_scheme_has_no_note(self, tmp_path: Path) -> None:
        learned = LearnedSuggestions(NLP.tokenizer, "en", LearnSection(), executor=None)
        project = Project(tmp_path, [BANK], sources=SuggestionSources({}, learned=learned))
        assert project.engine.session("ann")["note"] == ""


class TestAgreement:
    def matched(self, first: Record, second: Record) -> agreement.Matched:
        return agreement.Matched([first], [second], 0, 0, 0, 0)

    def test_overlapping_spans_are_compared_exactly(self) -> None:
        matched = self.matched(record(BANK, *WORDS), record(BANK, WORDS[0], WORDS[2], WORDS[3]))
        rows = {row.label: row for row in agreement.spans(matched, ("COMPANY", "MONEY"), NLP)}
        assert rows["MONEY"].scores["exact"].value == 1
        assert rows["COMPANY"].scores["exact"].value == pytest.approx(2 / 3)
        # each token counts with all of its labels: of 10 tokens, COMPANY has three on both sides
        assert rows["COMPANY"].scores["kappa"].value == rows["MONEY"].scores["kappa"].value == 1
        assert rows["all"].scores["kappa"].value == 1
        (difference,) = disagreements.find(matched, ("ann", "ben"), NLP)
        assert (difference.kind, difference.first) == ("missing", "COMPANY Corda")

    def test_tokens_must_have_the_same_labels(self) -> None:
        matched = self.matched(record(BANK, *WORDS), record(BANK, WORDS[0], WORDS[3]))
        rows = {row.label: row for row in agreement.spans(matched, ("COMPANY", "MONEY"), NLP)}
        assert rows["COMPANY"].scores["kappa"].value == 1
        # 10 tokens; the first answer has Corda, $, 5 and m as MONEY, the second has $, 5 and m
        table = np.array([[6, 0], [1, 3]])
        assert rows["MONEY"].scores["kappa"].value == pytest.approx(float(agreement.kappa(table)))
        assert rows["all"].scores["kappa"].value < 1

    def test_both_answers_go_to_the_meeting(self, tmp_path: Path) -> None:
        (tmp_path / "guidelines.md").write_text("# How\n\nNames are COMPANY.\n", encoding="utf-8")
        matched = self.matched(record(BANK, *WORDS), record(BANK, WORDS[0], WORDS[2], WORDS[3]))
        groups = disagreements.group(
            disagreements.find(matched, ("ann", "ben"), NLP),
            GuidelineIndex(tmp_path / "guidelines.md", NLP),
            ("COMPANY", "MONEY"),
        )
        (line,) = disagreements.to_records(matched, groups, ("ann", "ben"), "1")
        assert words(line) == [WORDS[0], WORDS[2], WORDS[3]]

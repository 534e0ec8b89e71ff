"""Each test of the annotations says "broken" where it must, and nothing where there is nothing."""

from collections.abc import Callable
from dataclasses import replace

import deals
import numpy as np
import pytest
from benchmarks import faults
from tiny_project import CONFIG, NAMES, broken, inject, project, text

from ie.data.records import Record, Span, blank
from ie.diagnosis import annotation_tests, verdict
from ie.diagnosis.annotated_strings import AnnotatedStrings
from ie.diagnosis.findings import Finding, ProjectData


def annotation_findings(checked: ProjectData) -> dict[str, Finding]:
    return {f.name: f for f in annotation_tests.run(checked)}


def strings(texts: list[Record]) -> AnnotatedStrings:
    nlp = blank("en")
    return AnnotatedStrings(texts, [nlp.make_doc(record.text) for record in texts])


class TestAnnotations:
    def test_nothing_is_broken_in_healthy_data(self) -> None:
        assert broken(annotation_findings(project())) == set()

    @pytest.mark.parametrize(
        ("fault", "name"),
        [
            (faults.shifted, "shifted"),
            (faults.shuffled_places, "places"),
            (faults.shuffled_types, "types"),
            (faults.swapped, "swapped"),
            (faults.missing, "missing"),
        ],
    )
    def test_fault(self, fault: Callable, name: str) -> None:
        found = annotation_findings(inject(fault, project(train=200)))
        first = verdict.first_cause(list(found.values()))
        assert first is not None
        assert first.name == name

    def test_left_shift_is_told_apart_from_right_shift(self) -> None:
        found = annotation_findings(inject(faults.shifted, project()))
        assert "to the right" in found["shifted"].cause

    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            (faults.shifted, "shifted by one token"),
            (faults.shuffled_places, "places annotated in dev"),
            (faults.shuffled_types, "labels of dev aren't those"),
        ],
    )
    def test_dev_by_other_rules(self, fault: Callable, said: str) -> None:
        healthy = project(train=200, dev=60)
        faulty = inject(fault, replace(healthy, texts=healthy.texts | {"train": healthy["dev"]}))
        found = annotation_findings(faults.changed(healthy, dev=faulty["train"]))
        assert broken(found) == {"other-rules"}
        assert said in found["other-rules"].cause
        assert "test" not in found["other-rules"].cause

    def test_spans_missing_in_test_only(self) -> None:
        healthy = project(train=200, test=80)
        rng = np.random.default_rng(0)
        fewer = [
            Record(text=r.text, spans=[s for s in r.spans if rng.random() < 0.4]) for r in healthy["test"]
        ]
        found = annotation_findings(faults.changed(healthy, test=fewer))
        assert broken(found) == {"other-rules"}
        assert found["other-rules"].cause == "many spans of test weren't annotated"

    def test_lengths_differ_beyond_luck(self) -> None:
        assert not annotation_tests.lengths_differ(np.array([1, 2] * 15), np.array([1, 2, 2] * 10))
        assert annotation_tests.lengths_differ(np.array([2, 3] * 15), np.array([1, 2] * 15))
        assert not annotation_tests.lengths_differ(np.array([2, 3] * 3), np.array([1, 2] * 3))

    def test_half_of_a_label_has_another_name(self) -> None:
        checked = project(train=200)
        rows = checked["train"]
        for i in np.random.default_rng(0).permutation(200)[:100]:
            spans = [
                s.model_copy(update={"label": "CITY"}) if s.label == "COMPANY" else s for s in rows[i].spans
            ]
            rows[i] = Record(text=rows[i].text, spans=spans)
        found = annotation_tests.inconsistent(checked)
        assert found.verdict == "broken"
        assert found.cause == "the same strings are sometimes labelled COMPANY and sometimes not"

    def test_few_spans_are_not_wrong_places(self) -> None:
        # The first span of every third text: hard to learn, but dev says that they are where they belong.
        checked = project(train=200, dev=60)
        checked.texts["train"] = [
            Record(text=r.text, spans=r.spans[: int(i % 3 == 0)]) for i, r in enumerate(checked["train"])
        ]
        first = verdict.first_cause(list(annotation_findings(checked).values()))
        assert first is None or first.name != "places"

    def test_one_label(self) -> None:
        only = [
            Record(text=r.text, spans=[s for s in r.spans if s.label == "CITY"]) for r in project()["train"]
        ]
        found = annotation_findings(ProjectData(CONFIG, ("CITY",), {"train": only, "dev": only}))
        for name in ("types", "swapped", "inconsistent"):
            assert (found[name].verdict, found[name].observation) == (
                "not tested",
                "There is only one label.",
            )
        # that a string is left bare elsewhere doesn't take two labels
        assert found["label-errors"].verdict == "fine"
        assert (
            "with one label only the 120 whose string is in 3 other texts"
            in found["label-errors"].observation
        )
        assert broken(found) == set()

    def test_one_label_and_no_string_twice(self) -> None:
        only = [
            Record(text=f"Boats of Q{i}x sold.", spans=[Span(start=9, end=9 + len(f"Q{i}x"), label="CITY")])
            for i in range(10, 50)
        ]
        found = annotation_findings(ProjectData(CONFIG, ("CITY",), {"train": only}))["label-errors"]
        assert (found.verdict, found.observation) == ("not tested", "There is only one label.")

    @pytest.mark.parametrize("labels", [("COMPANY",), ("COMPANY", "CITY")])
    def test_spans_that_should_not_be_there(self, labels: tuple[str, ...]) -> None:
        def spoilt(i: int) -> Record:
            record = text(i)
            words = f"{record.text} They spent money."
            at = words.index("money")
            extra = [Span(start=at, end=at + 5, label="COMPANY")] if i % 3 == 0 else []
            return Record(text=words, spans=[s for s in record.spans if s.label in labels] + extra)

        rows = [spoilt(i) for i in range(120)]
        found = annotation_findings(ProjectData(CONFIG, labels, {"train": rows}))["label-errors"]
        listed = [one for one in found.suspects if one.likelier is None]
        assert len(listed) == found.figures["needless"] == found.figures["doubtful"] == 40
        assert {(one.record.text[one.start : one.end], one.label) for one in listed} == {("money", "COMPANY")}
        assert listed[0].to_json()["likelier"] is None
        assert listed[0].score == pytest.approx(80 / 119)
        assert found.verdict == "watch"
        assert "40 of them as their string isn't annotated in most other texts" in found.observation
        assert found.examples[0].endswith('"money" is COMPANY; no span is likelier')

    @pytest.mark.parametrize(
        ("bare", "marked", "listed"), [(3, 1, 1), (2, 1, 0), (2, 2, 2), (2, 3, 0), (50, 49, 49), (50, 51, 0)]
    )
    def test_most_of_three_other_texts(self, bare: int, marked: int, listed: int) -> None:
        # a text that says it twice is one text, and a part of a longer name isn't bare
        texts = [Record(text=f"{i} Velto Velto did") for i in range(bare)]
        texts += [
            Record(
                text=f"{i} by Velto", spans=[Span(start=len(f"{i} by "), end=len(f"{i} by Velto"), label="X")]
            )
            for i in range(marked)
        ]
        texts += [
            Record(
                text=f"{i} Velto Bank",
                spans=[Span(start=len(f"{i} "), end=len(f"{i} Velto Bank"), label="X")],
            )
            for i in range(9)
        ]
        _, found = strings(texts).needless()
        assert len(found) == listed
        assert {one.record.text[one.start : one.end] for one in found} <= {"Velto"}

    def test_healthy_texts_have_no_needless_spans(self) -> None:
        compared, found = strings(deals.records(600)).needless()
        assert compared > 500
        assert found == []

    def test_everything_labelled(self) -> None:
        whole = [
            Record(text=f"Velto {i}", spans=[Span(start=0, end=len(f"Velto {i}"), label="CITY")])
            for i in range(30)
        ]
        found = annotation_findings(ProjectData(CONFIG, ("CITY",), {"train": whole}))
        assert broken(found) == set()

    def test_likely_errors_are_found(self) -> None:
        checked = project(train=200)
        rows = checked["train"]
        for i in range(0, 200, 12):
            flipped = [
                Span(start=s.start, end=s.end, label="CITY" if s.label == "COMPANY" else s.label)
                for s in rows[i].spans
            ]
            rows[i] = Record(text=rows[i].text, spans=flipped)
        found = annotation_findings(checked)
        # 17 of 400 spans, of which half must be seen, and no other
        listed = [one for one in found["label-errors"].suspects if one.label]
        assert 8 <= len(listed) == found["label-errors"].figures["doubtful"]
        flipped = {rows[i].id for i in range(0, 200, 12)}
        assert {(one.record.id in flipped, one.label, one.likelier) for one in listed} == {
            (True, "CITY", "COMPANY")
        }
        assert [one.score for one in listed] == sorted((one.score for one in listed), reverse=True)
        # two names were turned more often than not, and count the other way round
        assert 12 <= found["inconsistent"].figures["minority"] <= 17

    def test_consistency_is_unbiased(self) -> None:
        rng = np.random.default_rng(0)
        texts = [
            Record(
                text=f"{name} did it",
                spans=[Span(start=0, end=len(name), label="X")] if rng.random() < 0.7 else [],
            )
            for name in NAMES
            for _ in range(12)
        ]
        expected, unannotated = strings(texts).expected()
        assert 1 - len(unannotated) / expected == pytest.approx(0.7, abs=0.06)
        one = unannotated[0]
        assert one.record.text[one.start : one.end] in NAMES
        assert (one.label, one.likelier) == (None, "X")

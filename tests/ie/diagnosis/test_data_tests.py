"""Each test of the data says "broken" where it must, and nothing where there is nothing."""

from dataclasses import replace

import pytest
from benchmarks import faults
from tiny_project import CITIES, CONFIG, NAMES, broken, data_findings, inject, project, text

from ie.data.records import Record, Span
from ie.diagnosis import data_tests
from ie.diagnosis.findings import ProjectData


def without_spans(record: Record) -> Record:
    return Record(text=record.text)


class TestData:
    def test_nothing_is_broken_in_healthy_data(self) -> None:
        # These texts are made of four frames, so they are near-duplicates of each other by design.
        assert broken(data_findings(faults.healthy(project()))) <= {"leak", "near-leak"}

    def test_offsets_in_bytes(self) -> None:
        found = data_findings(inject(faults.encoded, project()))
        assert found["encoding"].verdict == "broken"
        assert "UTF-8" in found["encoding"].cause
        assert "€" in found["encoding"].examples[0] or "in bytes" in found["encoding"].examples[0]

    def test_offsets_in_utf16_units(self) -> None:
        def emoji(record: Record) -> Record:
            spans = [Span(start=s.start + 4, end=s.end + 4, label=s.label) for s in record.spans]
            return Record(text="🚀 " + record.text, spans=[Span(**(s.model_dump())) for s in spans])

        # one emoji and a blank are 2 characters and 3 units: too far by 2 - 1 as well
        units = [
            Record(
                text=r.text, spans=[Span(start=s.start - 1, end=s.end - 1, label=s.label) for s in r.spans]
            )
            for r in map(emoji, project()["train"])
        ]
        found = data_tests.encoding(faults.changed(project(), train=units, dev=[], test=[]))
        assert found.verdict == "broken"
        assert "UTF-16" in found.cause

    def test_ascii_texts_say_nothing_of_the_encoding(self) -> None:
        ascii_only = [r for r in project()["train"] if r.text.isascii()]
        found = data_tests.encoding(faults.changed(project(), train=ascii_only, dev=[], test=[]))
        assert found.verdict == "not tested"

    @pytest.mark.parametrize(
        ("start", "end", "kind"),
        [(0, 999, "outside"), (1, 5, "inside a token"), (0, 6, "whitespace"), (3, 3, "outside")],
    )
    def test_spans_off_tokens(self, start: int, end: int, kind: str) -> None:
        wrong = [
            Record(text=f"Velto sold {i} boats", spans=[Span(start=start, end=end, label="COMPANY")])
            for i in range(5)
        ]
        found = data_tests.off_token(faults.changed(project(), train=wrong, dev=[], test=[]))
        assert found.verdict == "broken"
        assert kind in found.observation

    def test_punctuation_at_an_edge_is_a_weakness(self) -> None:
        odd = [
            Record(text=f"{i} by Velto, sold", spans=[Span(start=5, end=11, label="COMPANY")])
            for i in range(5)
        ]
        found = data_tests.off_token(faults.changed(project(), train=odd, dev=[], test=[]))
        assert (found.verdict, "punctuation" in found.observation) == ("watch", True)

    def test_brackets_that_belong_to_a_name_are_fine(self) -> None:
        name = [Record(text="in ACME (US) we", spans=[Span(start=3, end=12, label="COMPANY")])]
        assert data_tests.off_token(faults.changed(project(), train=name, dev=[], test=[])).verdict == "fine"

    def test_other_tokenizer(self) -> None:
        found = data_findings(inject(faults.other_tokenizer, project()))
        assert "tokenizer" in broken(found)

    def test_stale_corpus(self) -> None:
        checked = faults.healthy(project())
        assert data_tests.stale(checked).verdict == "fine"
        checked.texts["train"] = [without_spans(r) for r in checked["train"]]
        assert data_tests.stale(checked).verdict == "broken"

    def test_no_annotation(self) -> None:
        found = data_tests.labels(inject(faults.negative, project()))
        assert (found.name, found.verdict) == ("no-annotation", "broken")
        assert "no annotation at all" in found.cause

    def test_labels_only_in_dev(self) -> None:
        checked = project()
        checked.texts["train"] = [
            Record(text=r.text, spans=[s for s in r.spans if s.label != "CITY"]) for r in checked["train"]
        ]
        found = data_tests.labels(checked)
        assert found.verdict == "broken"
        assert found.cause == "CITY has no training example"

    def test_label_outside_the_scheme(self) -> None:
        found = data_tests.labels(replace(project(), labels=("COMPANY",)))
        assert found.verdict == "broken"
        assert "CITY isn't in the scheme" in found.observation

    def test_rare_label_is_a_weakness(self) -> None:
        checked = project()
        checked.texts["train"] = [
            Record(text=r.text, spans=[s for s in r.spans if s.label != "CITY" or i < 3])
            for i, r in enumerate(checked["train"])
        ]
        assert data_tests.labels(checked).verdict == "watch"

    def test_leaks_are_told_apart(self) -> None:
        one = [Record(text=f"Alpha {w} beta gamma {w} delta epsilon {w} zeta eta theta iota") for w in NAMES]
        other = [
            Record(text=f"Mills {w} near the sea {w} were bought by {w} in a hurry of old") for w in NAMES
        ]
        near = [Record(text=r.text + " kappa") for r in other]
        texts = {"train": one, "dev": [], "test": other}
        clean = ProjectData(CONFIG, ("COMPANY",), texts)
        assert [data_tests.leak(clean, near=near_).verdict for near_ in (False, True)] == ["fine", "fine"]
        exact = ProjectData(CONFIG, ("COMPANY",), texts | {"train": one + other[:9]})
        assert [data_tests.leak(exact, near=n).verdict for n in (False, True)] == ["broken", "fine"]
        similar = ProjectData(CONFIG, ("COMPANY",), texts | {"train": one + near[:9]})
        assert [data_tests.leak(similar, near=n).verdict for n in (False, True)] == ["fine", "broken"]

    def test_one_pair_is_no_catastrophe(self) -> None:
        texts = {"train": [text(0)], "dev": [], "test": [text(0), *(text(i) for i in range(50, 60))]}
        assert data_tests.leak(ProjectData(CONFIG, ("COMPANY",), texts), near=False).verdict == "watch"

    def test_known_strings(self) -> None:
        found = data_tests.known_strings(project())
        assert found.verdict == "watch"  # thirty names and eight cities, everywhere

    def test_drift(self) -> None:
        checked = project()
        assert data_tests.drift(checked).verdict == "fine"
        verses = [Record(text=f"o {w} of the {w}s, thy light upon my heart") for w in NAMES + CITIES]
        checked.texts["dev"] = verses
        assert data_tests.drift(checked).verdict == "broken"

    def test_empty_and_repeated_texts(self) -> None:
        checked = project()
        assert data_tests.texts(checked).verdict == "fine"
        checked.texts["train"] += [without_spans(r) for r in checked["train"][:10]]
        assert data_tests.texts(checked).verdict == "broken"
        checked = project()
        checked.texts["train"] += [checked["train"][0]] * 60
        found = data_tests.texts(checked)
        assert (found.verdict, found.cause) == ("broken", "the same texts are repeated many times")
        checked = project()
        checked.texts["train"].append(Record(text=" "))
        assert (
            data_tests.texts(checked).verdict,
            "1 are empty" in data_tests.texts(checked).observation,
        ) == (
            "watch",
            True,
        )

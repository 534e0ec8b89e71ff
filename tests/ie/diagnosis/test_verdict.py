"""Each test of the diagnosis says "broken" where it must, and nothing where there is nothing."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import deals
import numpy as np
import pytest
from benchmarks import faults
from running import ROOT, write_docbin

from ie.core.stats import Estimate
from ie.data.records import Record, Span, blank, write_records
from ie.diagnosis import (
    annotation_tests,
    data_tests,
    recorded_training,
    report,
    thresholds,
    token_model,
    training_tests,
    verdict,
)
from ie.diagnosis.annotated_strings import AnnotatedStrings
from ie.diagnosis.findings import Finding, ProjectData, Suspect, read, to_docbin

CONFIG = ROOT / "configs" / "efficient.cfg"
SMALL = {
    "components.tok2vec.model.encode.width": 32,
    "components.tok2vec.model.encode.depth": 2,
    "components.ner.model.hidden_width": 32,
}
NAMES = [a + b for a in ("Vel", "Hoo", "Ank", "Tor", "Bex", "Lun") for b in ("to", "li", "er", "ma", "sy")]
CITIES = ["Oslo", "Bergen", "Turku", "Aarhus", "Malmö", "Gdansk", "Lübeck", "Riga"]
FRAMES = [
    "{} sold {} boats in {} last week.",
    "On Monday {} bought {} old mills near {}, it said.",
    "Shares of {} fell {} points after the strike in {}.",
    "The €{1} deal of {0} was signed in {2} by its owners.",
]


def text(i: int) -> Record:
    """An example that a model can learn from: a company and a city."""
    name, city = NAMES[i * 7 % len(NAMES)], CITIES[(i * 5 + i // 8) % len(CITIES)]
    words = FRAMES[i % len(FRAMES)].format(name, 1000 + i, city)
    spans = [(words.index(name), name, "COMPANY"), (words.index(city), city, "CITY")]
    return Record(text=words, spans=[Span(start=s, end=s + len(t), label=x) for s, t, x in sorted(spans)])


def project(train: int = 120, dev: int = 40, test: int = 40, **options) -> ProjectData:
    texts, start = {}, 0
    for side, n in (("train", train), ("dev", dev), ("test", test)):
        texts[side] = [text(i) for i in range(start, start + n)]
        start += n
    return ProjectData(CONFIG, ("COMPANY", "CITY"), texts, overrides=SMALL, **options)


def without_spans(record: Record) -> Record:
    return Record(text=record.text)


def inject(fault: Callable, healthy: ProjectData) -> ProjectData:
    return fault(healthy, healthy, np.random.default_rng(0))


def data_findings(checked: ProjectData) -> dict[str, Finding]:
    return {f.name: f for f in data_tests.run(checked, recorded_training.tokenizer_pipeline(checked))}


def annotation_findings(checked: ProjectData) -> dict[str, Finding]:
    return {f.name: f for f in annotation_tests.run(checked)}


def strings(texts: list[Record]) -> AnnotatedStrings:
    nlp = blank("en")
    return AnnotatedStrings(texts, [nlp.make_doc(record.text) for record in texts])


def broken(findings: dict[str, Finding]) -> set[str]:
    return {name for name, finding in findings.items() if finding.verdict == "broken"}


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

    def test_left_shift_is_told_from_right_shift(self) -> None:
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
        assert found.cause == "the same strings are sometimes labelled CITY and sometimes not"

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


class TestTokens:
    def test_neighbours_end_with_the_text(self) -> None:
        found = token_model.tokens([text(0), text(1)], ("COMPANY", "CITY"), blank("en").make_doc)
        first = (found.text == 0).sum()
        after = found.neighbour(1)
        assert after[0] == 1
        assert after[first - 1] == -1
        assert found.neighbour(-1)[first] == -1

    def test_predictions_are_out_of_fold(self) -> None:
        # each text has a word of its own that decides; a model that had seen it would be right
        rng = np.random.default_rng(0)
        texts = [
            Record(
                text=f"q{i}z",
                spans=[Span(start=0, end=len(f"q{i}z"), label="X")] if rng.random() < 0.5 else [],
            )
            for i in range(100, 200)
        ]
        found = token_model.tokens(texts, ("X",), blank("en").make_doc)
        predicted = token_model.out_of_fold(found.own, found.label, found.text)
        right = ((predicted[:, 1] > 0.5) == found.inside).mean()
        assert right < 0.75

    def test_predictions_are_equal_where_only_last_bits_differ(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Tokens are ranked by them: another processor's last bits must not change the order of equals."""
        found = token_model.tokens([text(i) for i in range(40)], ("COMPANY", "CITY"), blank("en").make_doc)
        before = token_model.out_of_fold(found.window(), found.label, found.text)
        exact, rng = token_model.SGDClassifier.predict_proba, np.random.default_rng(0)

        def noisy(self: object, rows: object) -> np.ndarray:
            known = exact(self, rows)
            return known * (1 + rng.choice([-2e-16, 0, 2e-16], known.shape))

        monkeypatch.setattr(token_model.SGDClassifier, "predict_proba", noisy)
        assert (token_model.out_of_fold(found.window(), found.label, found.text) == before).all()


class TestLearning:
    def test_healthy(self) -> None:
        checked = project()
        found = {f.name: f for f in training_tests.run(checked)}
        assert broken(found) == set()
        assert found["tiny"].figures["f"] >= 0.9
        assert found["shuffled"].figures["f"] < 0.1
        assert all(change > 0 for change in found["weights"].figures.values())

    def named(self, checked: ProjectData) -> Finding | None:
        docs = checked.docs("train", checked.nlp.vocab)
        watched = recorded_training.run(checked, docs, 20)
        return verdict.first_cause(
            [
                training_tests.clipping(checked, docs, watched),
                training_tests.learning_rate(checked, docs),
                training_tests.weights(checked, watched),
                training_tests.gradients(watched),
            ]
        )

    @pytest.mark.parametrize(
        ("setting", "value", "name", "said"),
        [
            ("learn_rate", 0.0, "learning-rate", "learning rate is 0"),
            ("learn_rate", 1e-7, "learning-rate", "too low"),
            ("grad_clip", 1e-12, "clipping", "clipped to 1e-12"),
        ],
    )
    def test_settings(self, setting: str, value: float, name: str, said: str) -> None:
        checked = project()
        checked.overrides = SMALL | {f"training.optimizer.{setting}": value}
        found = self.named(checked)
        assert found is not None
        assert (found.name, said in found.cause) == (name, True)

    def test_learning_rate_too_high_for_real_texts(self) -> None:
        # Four frames are learnt at any rate; these aren't.
        rows = deals.records(200)
        checked = ProjectData(CONFIG, ("COMPANY", "MONEY"), {"train": rows})
        docs = checked.docs("train", checked.nlp.vocab)
        assert training_tests.learning_rate(checked, docs).verdict == "fine"
        checked.overrides = {"training.optimizer.learn_rate": 0.1}
        found = training_tests.learning_rate(checked, docs)
        assert (found.verdict, "too high" in found.cause) == ("broken", True)
        assert found.figures["best"] < 0.1

    def test_dropout_that_drowns_the_signal(self) -> None:
        checked = project()
        docs, dev = (checked.docs(side, checked.nlp.vocab) for side in ("train", "dev"))
        found = training_tests.dropout(checked, docs, dev, (0.6, 0.7))
        assert (found.verdict, found.figures["dropout"]) == ("fine", 0.1)
        checked.overrides = SMALL | {"training.dropout": 0.95}
        size = max(thresholds.BATCHES)
        trained = recorded_training.run(checked, docs, thresholds.BATCHES[size], batch=size)
        there = training_tests.f_of(recorded_training.score(trained.nlp, dev, checked.labels)).value
        assert training_tests.dropout(checked, docs, dev, (there,)).cause == "dropout 0.95 drowns the signal"
        checked.overrides = SMALL | {"training.dropout": 0.0}
        assert training_tests.dropout(checked, docs, dev, (there,)).verdict == "not tested"

    def test_frozen_layer(self) -> None:
        found = self.named(inject(faults.frozen, project()))
        assert found is not None
        assert found.name == "weights"
        assert "hashembed" in found.cause
        assert "maxout" not in found.cause

    @pytest.mark.filterwarnings("ignore")
    def test_losses_that_are_no_numbers(self) -> None:
        checked = project()
        checked.overrides = SMALL | {
            "training.optimizer.learn_rate": 1e9,
            "training.optimizer.grad_clip": 0.0,
        }
        watched = recorded_training.run(checked, checked.docs("train", checked.nlp.vocab), 30)
        assert watched.failed
        found = training_tests.gradients(watched)
        assert found.verdict == "broken"
        reference = recorded_training.reference(checked)
        assert "training diverged" in reference.failed
        assert verdict.decide(checked, [found], reference, {})[0] == "no-training"

    def test_weights_and_gradients_that_are_no_numbers_from_the_start(self) -> None:
        checked = project(train=1, dev=0, test=0)
        lost = {name: recorded_training.Layer(np.full((1, 3), np.nan), np.nan) for name in ("a: x", "b: y")}
        watched = recorded_training.Run(
            blank("en"), [np.nan], layers=lost, failed="the loss is no longer a number"
        )
        found = training_tests.weights(checked, watched)
        assert found.verdict == "broken"
        assert found.observation == "2 of 2 layers are no longer numbers (a: x, b: y)."
        assert found.cause == "the weights overflow"
        assert found.figures == {"a: x": None, "b: y": None}
        found = training_tests.gradients(watched)
        assert found.verdict == "broken"
        assert found.observation == (
            "At step 1 the loss is no longer a number. No layer got a gradient that is a number."
        )
        sizes = {"train": 1, "dev": 0, "test": 0}
        page = report.page(verdict.Diagnosis([found], "no-training", "Why.", "Do.", sizes=sizes))
        assert "Norm of the gradients" not in page
        watched.failed = ""
        assert training_tests.gradients(watched).verdict == "not tested"

    def test_same_run_twice(self) -> None:
        one, two = (
            recorded_training.run(project(), project().docs("train", blank("en").vocab), 5) for _ in range(2)
        )
        assert one.losses == two.losses

    def test_shuffled_keeps_texts_and_numbers(self) -> None:
        docs = project().docs("train", blank("en").vocab)
        noise = recorded_training.shuffled(docs, 0)
        assert [doc.text for doc in noise] == [doc.text for doc in docs]
        assert sum(len(doc.ents) for doc in noise) == sum(len(doc.ents) for doc in docs)
        assert sorted(e.label_ for d in noise for e in d.ents) == sorted(
            e.label_ for d in docs for e in d.ents
        )
        same = sum(
            {(e.start, e.end) for e in a.ents} == {(e.start, e.end) for e in b.ents}
            for a, b in zip(docs, noise, strict=True)
        )
        assert same < len(docs) / 10

    def test_nothing_to_learn(self) -> None:
        found = list(training_tests.run(inject(faults.negative, project())))
        assert {f.verdict for f in found} == {"not tested"}


def reference(checked: ProjectData, n: int) -> recorded_training.Reference:
    return recorded_training.Reference(
        docs={"dev": checked.docs("dev", checked.nlp.vocab)[:n]}, counts={}, steps=1, texts=1
    )


def scored(value: float, low: float, chance: float = 0.01) -> dict:
    return {
        "pipeline": ("Pipeline", Estimate(value, low, min(1.0, value + 0.05))),
        "chance": ("Chance", Estimate(chance, 0, chance)),
        "majority": ("Majority", Estimate(0.0, 0.0, 0.0)),
    }


class TestCases:
    @pytest.mark.parametrize(
        ("value", "low", "n", "case"),
        [
            (0.8, 0.7, 40, "decent"),
            (0.05, 0.0, 40, "chance"),
            (0.0, 0.0, 40, "chance"),
            (1.0, 0.97, 40, "too-good"),
            # everything right on a handful of texts proves nothing, and neither does everything wrong
            (1.0, 0.4, 4, "unknown"),
            (0.0, 0.0, 4, "unknown"),
        ],
    )
    def test_by_score(self, value: float, low: float, n: int, case: str) -> None:
        checked = project()
        assert verdict.decide(checked, [], reference(checked, n), scored(value, low))[0] == case

    def test_a_leak_is_too_good_whatever_the_score(self) -> None:
        checked = faults.changed(project(), train=[*project()["train"], *project()["test"]])
        found = data_findings(checked)
        case, why = verdict.decide(checked, list(found.values()), reference(checked, 40), scored(0.8, 0.7))
        assert case == "too-good"
        assert "test" in why

    def test_the_first_cause_says_what_to_do(self) -> None:
        found = list(data_findings(inject(faults.encoded, project())).values())
        assert verdict.next_step("decent", found, "").startswith("First: offsets count bytes of UTF-8.")

    def test_every_finding_has_its_place(self) -> None:
        checked = project(train=30, dev=0, test=0)
        names = {f.name for f in (*data_tests.run(checked, checked.nlp), *annotation_tests.run(checked))}
        names |= {hypothesis["name"] for hypothesis in training_tests.HYPOTHESES}
        # weaknesses are never the cause
        weak = {"balance", "density", "known-strings", "label-errors", "batches"}
        assert names - weak <= set(verdict.ORDER)


class TestBadInput:
    def test_one_example(self) -> None:
        found = verdict.diagnose(project(train=1, dev=1, test=0))
        assert found.case == "unknown"
        assert "1 text" in found.why
        assert {f.name for f in found.findings if f.verdict == "broken"} == set()
        by_name = {f.name: f for f in found.findings}
        assert by_name["places"].observation.startswith("train has 1 text with 2 spans")

    def test_no_dev(self) -> None:
        checked = project(train=40, dev=0, test=0)
        checked.problems["dev"] = "dev.jsonl: there is no such file; create it or correct the path."
        found = verdict.diagnose(checked)
        assert found.case == "unknown"
        assert "dev.jsonl: there is no such file" in found.why
        assert found.first is None
        assert {f.verdict for f in found.findings if f.name in ("shuffled", "batches", "baselines")} == {
            "not tested"
        }

    def test_no_annotation_in_train(self) -> None:
        found = verdict.diagnose(inject(faults.negative, project()))
        assert found.case == "no-training"
        assert found.first is not None
        assert found.first.name == "no-annotation"

    def test_dev_without_spans(self) -> None:
        checked = project(train=40)
        checked.texts["dev"] = [without_spans(r) for r in checked["dev"]]
        scores, missing = verdict.compare(checked, reference(checked, 40), None, None, None, "")
        assert (scores, list(missing)) == ({}, ["all"])
        assert verdict.decide(checked, [], reference(checked, 40), {})[0] == "unknown"

    def test_reading_faulty_files(self, tmp_path: Path) -> None:
        rows = [Record(text="Velto", spans=[Span(start=3, end=99, label="COMPANY")])]
        write_records(tmp_path / "train.jsonl", rows)
        write_docbin(tmp_path / "train.spacy", [Record(text="Velto")], blank("en"))
        (tmp_path / "dev.jsonl").write_text("{", encoding="utf-8")
        (tmp_path / "test.jsonl").write_text('{"text": "Velto"}', encoding="utf-8")
        (tmp_path / "test.spacy").write_text("{", encoding="utf-8")
        found = read(tmp_path, CONFIG, ("COMPANY",), lang="en", overrides={}, seed=0)
        assert len(found["train"]) == 1
        assert "dev.jsonl:1: not valid JSON" in found.problems["dev"]
        assert "test.spacy: is no spaCy corpus" in found.problems["test"]


def test_report_says_it_all_and_escapes() -> None:
    finding = Finding(
        "leak", "H <b>", "Q", "T", "O", "broken", "data", "cause", "remedy", examples=("<script>",)
    )
    found = verdict.Diagnosis([finding], "too-good", "Why.", "Do.", sizes={"train": 1, "dev": 1, "test": 0})
    page = report.page(found)
    assert "<script>" not in page
    assert "H &lt;b&gt;" in page
    assert "It is too good to be true." in page
    assert report.to_json(found)["cause"] == "leak"
    drawn = report.text(found)
    assert "broken" in drawn
    assert report.summary(found)[-1] == "Do."


def finding(name: str, verdict: str) -> Finding:
    return Finding(name, f"H of {name}", "Q", "T", "O", verdict, cause=f"cause of {name}", remedy="R")


def test_warnings_come_first_and_what_passed_is_a_line() -> None:
    kinds = ["fine", "not tested", "fine", "watch", "fine", "broken"]
    findings = [finding(f"n{i}", kind) for i, kind in enumerate(kinds)]
    found = verdict.Diagnosis(findings, "decent", "Why.", "Do.", sizes={"train": 1, "dev": 1, "test": 0})
    drawn = report.text(found)
    assert drawn.index("H of n5") < drawn.index("H of n3")
    assert "H of n0" not in drawn
    assert drawn.splitlines()[-2:] == [
        "– not tested, 1 of 6 hypotheses: n1.",
        "✔ fine, 3 of 6 hypotheses: n0, n2, n4.",
    ]
    page = report.page(found)
    assert page.index("H of n5") < page.index("H of n3") < page.index("H of n1") < page.index("H of n0")
    healthy = verdict.Diagnosis(findings[:1], "decent", "Why.", "Do.")
    assert report.text(healthy) == "✔ fine, 1 of 1 hypotheses: n0."


def test_the_next_step_knows_the_curve_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "curve.json"
    assert verdict.curve_sentence(None, 80).startswith("Run train-curve to see")
    assert verdict.curve_sentence(path, 80).startswith("Run train-curve to see")
    path.write_text("[]", encoding="utf-8")
    assert verdict.curve_sentence(path, 80).startswith("Run train-curve to see")
    for percent, examples in ((100, 80), (33, 26)):
        curve = {"rows": [{"percent": percent, "examples": examples}], "verdict": {"text": "It rose."}}
        path.write_text(json.dumps(curve), encoding="utf-8")
        assert verdict.curve_sentence(path, 80) == "The training curve says: It rose."
        assert verdict.curve_sentence(path, 120).startswith("Run train-curve again")
    step = verdict.next_step("decent", [finding("a", "watch")], "The training curve says: It rose.")
    assert step.startswith("The training curve says: It rose. Run evaluate")
    assert step.endswith("look at: cause of a.")


def test_converted_corpus_loses_what_no_converter_can_keep() -> None:
    rows = [
        Record(text="Velto sold it", spans=[Span(start=0, end=5, label="X"), Span(start=7, end=9, label="X")])
    ]
    (doc,) = to_docbin(rows, blank("en")).get_docs(blank("en").vocab)
    assert [ent.text for ent in doc.ents] == ["Velto"]


def test_a_string_that_is_not_annotated_says_how_many_others_are() -> None:
    record = Record(text="Velto sold it")
    suspect = Suspect(record, 0, 5, None, "X", 2 / 3, others=3)
    assert suspect.line() == f'{record.id}: "Velto" isn\'t annotated; 2 of its 3 other occurrences are'

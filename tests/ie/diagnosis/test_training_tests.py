"""Each test of the training says "broken" where it must, and nothing where there is nothing."""

import deals
import numpy as np
import pytest
from benchmarks import faults
from spacy.tokens import Span
from tiny_project import CONFIG, SMALL, broken, inject, project

from components.span_classifier import set_spans
from ie.data.records import blank
from ie.diagnosis import recorded_training, report, thresholds, training_tests, verdict
from ie.diagnosis.findings import Finding, ProjectData


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

    def test_shuffled_spans_may_overlap_where_those_of_the_data_do(self) -> None:
        docs = project().docs("train", blank("en").vocab)
        for doc in docs:
            set_spans(doc, [*doc.ents, Span(doc, 0, len(doc), "CITY")], overlapping=True)
            doc.set_ents([], default="outside")
        noise = recorded_training.shuffled(docs, 0)
        lengths = [sorted(len(span) for doc in of for span in doc.spans["sc"]) for of in (docs, noise)]
        assert lengths[0] == lengths[1]
        assert not any(doc.ents for doc in noise)

    def test_nothing_to_learn(self) -> None:
        found = list(training_tests.run(inject(faults.negative, project())))
        assert {f.verdict for f in found} == {"not tested"}

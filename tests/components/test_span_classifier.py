"""The span classifier: candidates, entities or spans that overlap, threshold, long texts."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import spacy
from running import ROOT
from spacy.language import Language
from spacy.pipeline.spancat import build_ngram_suggester
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import load_config, load_model_from_config
from thinc.api import Ragged

from components import span_classifier
from components.span_classifier import (
    SPANS_KEY,
    SpanClassifier,
    annotated_spans,
    candidate_sizes,
    candidates,
    set_spans,
    without_overlaps,
)
from ie.data.docs import docbin
from ie.training.span_threshold import LEAST_SPANS, choose_thresholds, create_span_threshold

SMALL = {
    "components.ner.model.tok2vec.encode.width": 16,
    "components.ner.model.tok2vec.encode.depth": 1,
    "components.ner.model.hidden_width": 16,
}
NAMES = ("Velto", "Hooli", "Anker", "Torma", "Bexsy", "Lunli")


def gold(nlp: Language, i: int, *, overlapping: bool) -> Doc:
    """A company, an amount and, where spans may overlap, the phrase around both."""
    doc = Doc(nlp.vocab, [NAMES[i % len(NAMES)], "raised", "$", str(1 + i % 9), "today"])
    spans = [Span(doc, 0, 1, "COMPANY"), Span(doc, 2, 4, "MONEY")]
    if overlapping:
        spans.append(Span(doc, 0, 4, "DEAL"))
    set_spans(doc, spans, overlapping=overlapping)
    return doc


@cache
def trained(overlapping: bool) -> Language:
    config = load_config(ROOT / "configs" / "spancat.cfg", overrides=SMALL)
    config["initialize"]["before_init"] = None
    nlp = load_model_from_config(config, auto_fill=True)
    docs = [gold(nlp, i, overlapping=overlapping) for i in range(12)]
    examples = [Example(nlp.make_doc(doc.text), doc) for doc in docs]
    spacy.util.fix_random_seed(0)
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.01
    for _ in range(60):
        nlp.update(examples, sgd=optimizer)
    return nlp


def component(nlp: Language) -> SpanClassifier:
    return nlp.get_pipe("ner")


def shown(doc: Doc) -> list[tuple[str, str]]:
    return [(span.text, span.label_) for span in annotated_spans(doc)]


def test_spans_that_overlap_are_learned_and_saved(tmp_path: Path):
    nlp = trained(True)
    expected = [("Hooli raised $ 7", "DEAL"), ("Hooli", "COMPANY"), ("$ 7", "MONEY")]
    doc = nlp("Hooli raised $ 7 today")
    assert (shown(doc), doc.ents) == (expected, ())
    nlp.to_disk(tmp_path)
    assert shown(spacy.load(tmp_path)("Hooli raised $ 7 today")) == expected
    assert component(spacy.load(tmp_path)).cfg["sizes"] == [1, 2, 3, 4]
    copied = spacy.blank("en")
    copied = load_model_from_config(nlp.config, auto_fill=True).from_bytes(nlp.to_bytes())
    assert shown(copied("Hooli raised $ 7 today")) == expected


def test_where_entities_are_annotated_entities_are_set():
    doc = trained(False)("Hooli raised $ 7 today")
    assert [(ent.text, ent.label_) for ent in doc.ents] == [("Hooli", "COMPANY"), ("$ 7", "MONEY")]
    assert SPANS_KEY not in doc.spans


def test_scores_are_of_exact_spans():
    nlp = trained(True)
    examples = [Example(nlp.make_doc(doc.text), doc) for doc in (gold(nlp, 1, overlapping=True),)]
    scores = nlp.evaluate(examples)
    assert scores["ents_f"] == 1
    assert set(scores["ents_per_type"]) == {"COMPANY", "MONEY", "DEAL"}


@pytest.mark.parametrize("texts", [[], [""], ["   "], ["", "Hooli raised $ 7 today", ""]])
def test_empty_texts(texts):
    assert [len(annotated_spans(doc)) for doc in trained(True).pipe(texts)] == [3 * ("H" in t) for t in texts]


def test_many_candidates_are_scored_some_at_a_time(monkeypatch):
    nlp = trained(True)
    long = " ".join(["Hooli raised $ 7 today"] * 30)
    texts = ["Hooli raised $ 7 today", long, "Velto raised $ 3 today", ""]
    scores = [component(nlp).predict([nlp.make_doc(text) for text in texts])[1]]
    expected = [shown(doc) for doc in nlp.pipe(texts)]
    monkeypatch.setattr(span_classifier, "TOKENS_AT_A_TIME", 50)
    indices, in_parts = component(nlp).predict([nlp.make_doc(text) for text in texts])
    assert len(in_parts) == indices.lengths.sum()
    np.testing.assert_allclose(scores[0], in_parts, atol=1e-5)
    assert [shown(doc) for doc in nlp.pipe(texts)] == expected


def test_candidates_are_those_of_spacy():
    docs = [trained(True).make_doc(text) for text in ("a b c d", "", "e")]
    ours, theirs = candidates(docs, longest=3), build_ngram_suggester(sizes=[1, 2, 3])(docs)
    assert list(ours.lengths) == list(theirs.lengths) == [9, 0, 1]
    for i in range(3):
        assert {*map(tuple, ours[i].dataXd)} == {*map(tuple, theirs[i].dataXd)}
    assert candidates([]).lengths.sum() == 0


def test_gradients_are_those_of_finite_differences():
    rng = np.random.default_rng(0)
    tokens = Ragged(rng.normal(size=(7, 4)).astype("f"), np.array([4, 3], "i"))
    places = [(0, 1), (0, 4), (1, 3), (0, 3), (2, 3)]
    spans = Ragged(np.array(places, "i"), np.array([3, 2], "i"))
    layer = span_classifier.span_vectors(5)
    layer.initialize(X=(tokens, spans))
    layer.set_param("length", rng.normal(size=layer.get_param("length").shape).astype("f"))
    weights = rng.normal(size=(5, 5)).astype("f")
    vectors, backprop = layer((tokens, spans), is_train=True)
    d_tokens, _ = backprop(weights)
    # a candidate of the second Doc is made of the tokens of that Doc
    last = tokens.dataXd[4:7]
    W = layer.get_param("W")
    summed = last[0] @ W[:, :5] + last[2] @ W[:, 5:10] + last.mean(axis=0) @ W[:, 10:]
    np.testing.assert_allclose(vectors[3], np.maximum(summed + layer.get_param("length")[3], 0), atol=1e-5)

    def loss() -> float:
        return float((layer.predict((tokens, spans)).astype("d") * weights).sum())

    for values, gradient in (
        (tokens.dataXd, d_tokens.dataXd),
        (W, layer.get_grad("W")),
        (layer.get_param("length"), layer.get_grad("length")),
    ):
        for place in np.ndindex(values.shape):
            kept = values[place]
            differences = []
            for step in (1e-3, -1e-3):
                values[place] = kept + step
                differences.append(loss())
            values[place] = kept
            assert (differences[0] - differences[1]) / 2e-3 == pytest.approx(gradient[place], abs=0.02), place


def test_the_longest_candidate_covers_nearly_all_spans():
    assert candidate_sizes([]) == [1]
    assert candidate_sizes([2, 5, 1]) == [1, 2, 3, 4, 5]
    assert candidate_sizes([1] * 199 + [80]) == [1]  # one very long span would slow all down
    assert candidate_sizes([60] * 10) == list(range(1, 31))


def test_of_overlapping_entities_the_surest_is_kept():
    doc = spacy.blank("en")("a b c d")
    scored = [(0.6, Span(doc, 0, 3, "X")), (0.8, Span(doc, 1, 2, "Y")), (0.80000001, Span(doc, 1, 3, "Z"))]
    # equal to four digits: the first by position, the longer one
    assert [span.label_ for span in without_overlaps([*scored, (0.5, Span(doc, 3, 4, "X"))])] == ["Z", "X"]


@pytest.fixture
def classifier() -> SpanClassifier:
    """The component of a pipeline that is loaded for one test."""
    nlp = load_model_from_config(trained(True).config, auto_fill=True).from_bytes(trained(True).to_bytes())
    return component(nlp)


class TestThreshold:
    @pytest.fixture
    def dev(self, tmp_path: Path) -> Path:
        nlp = trained(True)
        docbin(gold(nlp, i, overlapping=True) for i in range(LEAST_SPANS)).to_disk(tmp_path / "dev.spacy")
        return tmp_path / "dev.spacy"

    def test_each_label_has_the_one_with_the_highest_f_of_all_on_dev(self, classifier):
        docs = [gold(trained(True), i, overlapping=True) for i in range(LEAST_SPANS)]
        scored = []
        for doc in docs:
            # phrases are right from 0.2 on, amounts from 0.8 on only
            spans = [(0.95, Span(doc, 0, 1, "COMPANY")), (0.22, Span(doc, 0, 4, "DEAL"))]
            scored.append([*spans, (0.9, Span(doc, 2, 4, "MONEY")), (0.78, Span(doc, 3, 4, "MONEY"))])
        choose_thresholds(classifier, docs, scored)
        assert classifier.cfg["thresholds"] == {"COMPANY": 0.5, "DEAL": 0.2, "MONEY": 0.8}
        assert classifier.cfg["threshold"] == 0.2
        choose_thresholds(classifier, docs[:8], scored[:8])  # too few spans of each label
        assert classifier.cfg["thresholds"] == {}
        classifier.cfg["threshold"] = 0.35
        choose_thresholds(classifier, docs[:2], scored[:2])  # and of all
        assert classifier.cfg["threshold"] == 0.35

    def test_spans_that_are_mostly_wrong_are_left_out(self, classifier):
        docs = [gold(trained(True), i, overlapping=True) for i in range(LEAST_SPANS)]
        names = [[(0.95, Span(doc, 0, 1, "COMPANY")), (0.9, Span(doc, 2, 4, "MONEY"))] for doc in docs]
        phrases = [[(0.3, Span(doc, 0, 4 + (i % 5 > 0), "DEAL"))] for i, doc in enumerate(docs)]
        choose_thresholds(classifier, docs, [a + b for a, b in zip(names, phrases, strict=True)])
        # alone, F of phrases would be highest below 0.3, but four of five are wrong
        assert classifier.cfg["thresholds"]["DEAL"] > 0.3

    def test_entities_have_one(self, classifier):
        docs = [gold(trained(True), i, overlapping=False) for i in range(LEAST_SPANS)]
        pairs = [
            [(0.9, Span(d, 0, 1, "COMPANY")), (0.8, Span(d, 0, 2, "MONEY")), (0.3, Span(d, 2, 4, "MONEY"))]
            for d in docs
        ]
        classifier.cfg["overlapping"] = False
        choose_thresholds(classifier, docs, pairs)
        assert (classifier.cfg["threshold"], classifier.cfg["thresholds"]) == (0.3, {})

    def test_the_callback_chooses_for_a_pipeline(self, dev):
        nlp = load_model_from_config(trained(True).config, auto_fill=True).from_bytes(
            trained(True).to_bytes()
        )
        component(nlp).cfg["threshold"] = 0.9
        assert create_span_threshold(dev)(nlp) is nlp
        assert component(nlp).cfg["threshold"] == 0.5  # all of them may be as good
        assert set(component(nlp).cfg["thresholds"]) == {"COMPANY", "MONEY", "DEAL"}

    def test_a_higher_one_gives_fewer_spans(self, classifier):
        def count(**thresholds: float) -> int:
            classifier.cfg["thresholds"] = thresholds
            return len(annotated_spans(classifier(trained(True).make_doc("Hooli raised $ 7 today"))))

        classifier.cfg["threshold"] = 0.5
        assert count() == 3
        assert count(DEAL=0.9999999) == 2
        classifier.cfg["threshold"] = 0.9999999
        assert count(DEAL=0.05) == 1

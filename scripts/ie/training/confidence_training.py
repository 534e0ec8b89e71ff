"""Training of the `confidence` component: how sure a pipeline is of each entity, calibrated on dev.

A pipeline's errors on the texts it was trained on are not its errors on new ones, so nothing is learned from
those. The token model learns from the annotation of train. How its scores tell right spans from wrong ones is
learned on spans that token models of other folds of train suggest, thousands of them. The last step
(stacking, Wolpert 1992) only has the pipeline's own answers on dev, often few: a regression that mostly
trusts the one before, and sets the level.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree

import numpy as np
import spacy
import srsly
from scipy.sparse import csr_matrix
from spacy.language import Language
from spacy.tokens import Doc, Span
from thinc.api import Config

from components.confidence import (
    END,
    FEATURES,
    START,
    SpanConfidence,
    no_arrays,
    probabilities,
    string_key,
    token_columns,
    token_table,
)
from components.span_classifier import SPANS_KEY
from ie.core.files import published, write_json
from ie.data.docs import read_docs
from ie.evaluation.confidence import Answer

NAME = "confidence"
# A label, and all labels together, need so many answers on dev; and so many right and wrong ones in all.
ANSWERS_OF_LABEL, ANSWERS, OF_EACH = 10, 30, 5
# The largest standard error of the share of right answers: no confidence is closer to the truth.
LEVEL_ERROR = 0.05
FOLDS = 4
# Of the hashed table of the token model: at most so many numbers, and a power of two of rows.
TABLE, MOST_ROWS, LEAST_ROWS = 2**18, 15, 10
# Strings of training that are kept, the most frequent first.
STRINGS = 10_000
# Passes over the tokens and L2 regularisation of the token model.
EPOCHS, ALPHA = 8, 1e-5
# Tokens from this score (log-odds) on are suggested: below 0, as wrong spans are needed as well.
SUGGESTED = -1.5
# Inverse of the L2 regularisation of the regression on train, of the one on dev, and how much less the first
# one's score is regularised there. Chosen on the demo, crossner_politics and fashion_brands.
STRENGTH, DEV_STRENGTH, TRUST = 0.3, 0.02, 5.0


def add_confidence(model: Path, train: Path, dev: Path) -> SpanConfidence | None:
    """Add a calibrated `confidence` to a trained pipeline, whose other files stay as they are.

    Its answers on dev are written beside it, to confidence.json, for `accept`.

    Args:
        model: folder of the pipeline. train: the texts it was trained on. dev: other texts. `.spacy` files.

    Returns:
        None for a pipeline that doesn't set entities, or sets spans that overlap.
    """
    nlp = spacy.load(model)
    if not any("doc.ents" in nlp.get_pipe_meta(name).assigns for name in nlp.pipe_names):
        return None
    gold = read_docs(dev, nlp.vocab)
    if SPANS_KEY in gold[0].spans:
        return None
    component, answers = fit(nlp, read_docs(train, nlp.vocab), gold)
    with published(model) as folder:
        copytree(model, folder)
        config = Config().from_disk(folder / "config.cfg", interpolate=False)
        config["nlp"]["pipeline"] = [*nlp.pipe_names, NAME]
        config["components"][NAME] = {"factory": NAME}
        config.to_disk(folder / "config.cfg")
        meta = srsly.read_json(folder / "meta.json")
        meta["pipeline"] = meta["components"] = [*nlp.pipe_names, NAME]
        meta["labels"][NAME] = list(component.labels)
        srsly.write_json(folder / "meta.json", meta)
        component.to_disk(folder / NAME)
    _write(model.parent, component, answers, len(gold))
    return component


def calibrate_again(nlp: Language, train: Path, dev: Path, folder: Path) -> None:
    """Fit the `confidence` of a pipeline whose entities have changed since, for example by rules.

    Args:
        nlp: changed if it has a `confidence`. train, dev: as for `add_confidence`.
        folder: for confidence.json.
    """
    if NAME not in nlp.pipe_names:
        return
    gold = read_docs(dev, nlp.vocab)
    component, answers = fit(nlp, read_docs(train, nlp.vocab), gold)
    nlp.get_pipe(NAME).from_bytes(component.to_bytes())
    nlp.meta["labels"] = nlp.meta.get("labels", {}) | {NAME: list(component.labels)}
    _write(folder, component, answers, len(gold))


def _write(folder: Path, component: SpanConfidence, answers: Sequence[Answer], documents: int) -> None:
    content = {
        "not_calibrated": component.reasons,
        "dev_documents": documents,
        "dev": [vars(answer) for answer in answers],
    }
    write_json(folder / "confidence.json", content)


@dataclass(frozen=True)
class SpanAnswers:
    """The entities that a pipeline found in some texts, a row each.

    Attributes:
        text: number of the text. labels: index of the label. features: see `components.confidence`.
    """

    text: np.ndarray
    labels: np.ndarray
    features: np.ndarray
    right: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> "SpanAnswers":
        return SpanAnswers(self.text[chosen], self.labels[chosen], self.features[chosen], self.right[chosen])


@dataclass(frozen=True)
class Calibration:
    """What the answers on dev add: why labels are left out, the last weights, and out-of-fold confidences.

    Attributes:
        arrays: empty where no label is calibrated.
        confidence: of each answer; NaN for those of labels that are left out.
    """

    reasons: dict[str, str]
    arrays: dict[str, np.ndarray]
    confidence: np.ndarray


def fit(nlp: Language, train: Sequence[Doc], dev: Sequence[Doc]) -> tuple[SpanConfidence, list[Answer]]:
    """A `confidence` for a pipeline, and its out-of-fold answers on dev.

    Args:
        train: gold that the pipeline was trained on. dev: gold that it wasn't.
    """
    predicted = list(nlp.pipe(doc.text for doc in dev))
    labels = sorted({ent.label_ for doc in (*train, *predicted) for ent in doc.ents})
    component, first = learn(nlp, train, labels)
    answers = read_answers(component, predicted, dev)
    calibration = calibrate(component, first, answers)
    if calibration.arrays:
        component.set_model(labels, calibration.reasons, component.arrays | calibration.arrays)
    else:
        component.set_model(labels, calibration.reasons, no_arrays())
    rows = zip(answers.text, answers.labels, calibration.confidence, answers.right, strict=True)
    return component, [
        Answer(int(text), labels[label], None if np.isnan(p) else float(p), bool(right))
        for text, label, p, right in rows
    ]


def learn(nlp: Language, train: Sequence[Doc], labels: Sequence[str]) -> tuple[SpanConfidence, np.ndarray]:
    """A component that has learned all but the calibration, and the weights of the regression on train."""
    component = SpanConfidence(nlp.vocab, NAME)
    component.set_model(labels, {}, _token_model(train, labels))
    return component, _regression_on_train(train, labels)


def read_answers(component: SpanConfidence, predicted: Sequence[Doc], gold: Sequence[Doc]) -> SpanAnswers:
    """The entities of some texts, with their features, and whether gold has them."""
    spans = [list(doc.ents) for doc in predicted]
    right = [
        is_right for doc, of_text in zip(gold, spans, strict=True) for is_right in right_spans(doc, of_text)
    ]
    features, labels = component.features(predicted, spans)
    text = np.repeat(np.arange(len(spans)), [len(of_text) for of_text in spans])
    return SpanAnswers(text, labels, features, np.array(right, bool))


def calibrate(component: SpanConfidence, first: np.ndarray, dev: SpanAnswers) -> Calibration:
    """Calibrate what was learned on a pipeline's answers on dev; the component stays as it is."""
    labels = component.cfg["labels"]
    confidence = np.full(len(dev.right), np.nan)
    reasons = not_calibrated(labels, [labels[i] for i in dev.labels], dev.right)
    kept = np.array([labels[i] not in reasons for i in dev.labels], bool)
    if not 0 < dev.right[kept].sum() < kept.sum():
        return Calibration(reasons or not_calibrated(labels, [], dev.right[:0]), {}, confidence)
    fold = dev.text % FOLDS
    for held_out in range(FOLDS):
        seen, out = kept & (fold != held_out), kept & (fold == held_out)
        if out.any() and 0 < dev.right[seen].sum() < seen.sum():
            arrays = _calibrate(first, dev[seen], len(labels))
            confidence[out] = probabilities(arrays, dev.features[out], dev.labels[out])
    return Calibration(reasons, _calibrate(first, dev[kept], len(labels)), confidence)


def right_spans(gold: Doc, spans: Sequence[Span]) -> list[bool]:
    """Whether gold has each span, with its label."""
    known = {(ent.start_char, ent.end_char, ent.label_) for ent in gold.ents}
    return [(span.start_char, span.end_char, span.label_) in known for span in spans]


def not_calibrated(
    labels: Sequence[str], answers: Sequence[str], right: np.ndarray, learned: np.ndarray | None = None
) -> dict[str, str]:
    """The labels that can't be calibrated, each with the reason.

    Args:
        answers: the label of each answer on dev. right: whether it is.
        learned: whether each of the answers that calibration learns from is right, if these are more.
    """
    learned = right if learned is None else learned
    wrong, share = int((~right).sum()), float(learned.mean()) if len(learned) else 0.0
    few_of_each = min(learned.sum(), (~learned).sum()) < OF_EACH
    start = f"the pipeline gives {len(answers)} answers on dev, {wrong} of them wrong"
    if len(answers) < ANSWERS or few_of_each:
        reason = (
            f"{start}; calibration needs {ANSWERS}, with {OF_EACH} right and {OF_EACH} wrong ones: review "
            "more dev texts"
        )
        return dict.fromkeys(labels, reason)
    if share * (1 - share) > LEVEL_ERROR**2 * len(learned):
        needed = math.ceil(share * (1 - share) / LEVEL_ERROR**2)
        reason = (
            f"{start}, so the share of right ones is uncertain by more than {LEVEL_ERROR}; about {needed} "
            "answers are needed: review more dev texts"
        )
        return dict.fromkeys(labels, reason)
    counts = Counter(answers)
    return {
        label: f"the pipeline gives {counts[label]} answers of it on dev; {ANSWERS_OF_LABEL} are needed"
        for label in labels
        if counts[label] < ANSWERS_OF_LABEL
    }


def _token_model(docs: Sequence[Doc], labels: Sequence[str]) -> dict[str, np.ndarray]:
    """Which tokens are in a span of each label, start one and end one; and the strings that are spans."""
    from sklearn.linear_model import SGDClassifier

    size = len(labels) + 2
    bits = min(MOST_ROWS, max(LEAST_ROWS, int(np.log2(TABLE / size))))
    table, offsets = token_table(docs)
    places = np.concatenate([np.arange(len(doc)) + at for doc, at in zip(docs, offsets, strict=True)])
    targets = np.zeros((len(table), size), bool)
    for doc, at in zip(docs, offsets, strict=True):
        for ent in doc.ents:
            targets[at + ent.start : at + ent.end, labels.index(ent.label_)] = True
            targets[at + ent.start, START] = targets[at + ent.end - 1, END] = True
    rows = token_columns(table, places, np.uint64(64 - bits))
    ends = np.arange(0, rows.size + 1, rows.shape[1])
    data = csr_matrix((np.ones(rows.size), rows.ravel(), ends), (len(rows), 2**bits))
    weights, bias = np.zeros((2**bits, size), "float16"), np.full(size, -8.0)
    for column, target in enumerate(targets[places].T):
        if target.any() and not target.all():
            model = SGDClassifier(
                loss="log_loss", alpha=ALPHA, max_iter=EPOCHS, tol=None, average=True, random_state=0
            )
            model.fit(data, target)
            weights[:, column], bias[column] = model.coef_[0], model.intercept_[0]
    strings, counts = _count_strings(docs, labels)
    return no_arrays() | {"tokens": weights, "token_bias": bias, "strings": strings, "counts": counts}


def _count_strings(docs: Sequence[Doc], labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Keys of the annotated strings; how often each has each label, and how often it has none."""
    annotated: dict[int, Counter[str]] = defaultdict(Counter)
    # Lengths of the annotated strings, by their first word.
    lengths: dict[int, set[int]] = defaultdict(set)
    for doc in docs:
        for ent in doc.ents:
            annotated[string_key(ent)][ent.label_] += 1
            lengths[ent[0].lower].add(len(ent))
    occurred: Counter[int] = Counter()
    for doc in docs:
        for token in doc:
            ends = (token.i + n for n in lengths.get(token.lower, ()))
            keys = (string_key(doc[token.i : end]) for end in ends if end <= len(doc))
            occurred.update(key for key in keys if key in annotated)
    kept = sorted(annotated, key=lambda key: (-annotated[key].total(), key))[:STRINGS]
    counts = np.zeros((len(kept), len(labels) + 1), "int64")
    for row, key in zip(counts, kept, strict=True):
        row[:-1] = [annotated[key][label] for label in labels]
        row[-1] = max(0, occurred[key] - annotated[key].total())
    return np.array(kept, "uint64"), counts.clip(0, 2**16 - 1).astype("uint16")


def _regression_on_train(train: Sequence[Doc], labels: Sequence[str]) -> np.ndarray:
    """Weights that tell right from wrong among the spans that token models suggest for other folds."""
    from sklearn.linear_model import LogisticRegression

    parts, right = [], []
    for held_out in range(FOLDS):
        component = SpanConfidence(train[0].vocab, NAME)
        rest = [doc for i, doc in enumerate(train) if i % FOLDS != held_out]
        out = [doc for i, doc in enumerate(train) if i % FOLDS == held_out and len(doc)]
        component.set_model(labels, {}, _token_model(rest, labels))
        spans = _suggested(component, out)
        parts.append(component.features(out, spans)[0])
        right += [r for doc, of_text in zip(out, spans, strict=True) for r in right_spans(doc, of_text)]
    features, y = np.concatenate(parts), np.array(right, bool)
    if not 0 < y.sum() < len(y):
        return np.zeros(len(FEATURES))
    mean, scale = scaling(features)
    model = LogisticRegression(C=STRENGTH, max_iter=3000).fit((features - mean) / scale, y)
    return model.coef_[0] / scale


def _suggested(component: SpanConfidence, docs: Sequence[Doc]) -> list[list[Span]]:
    """Stretches of tokens that the token model gives the same label, however unsure it is."""
    table, offsets = token_table(docs)
    spans: list[list[Span]] = []
    for doc, at in zip(docs, offsets, strict=True):
        scores = component.token_scores(table, np.arange(at, at + len(doc)))
        best = np.where(
            scores[:, :START].max(axis=1) > SUGGESTED, scores[:, :START].argmax(axis=1), len(scores[0])
        )
        # A new one begins where the label changes, or where a span starts.
        new = np.concatenate([[True], (best[1:] != best[:-1]) | (scores[1:, START] > 0)])
        starts = np.flatnonzero(new)
        ends = np.append(starts[1:], len(doc))
        names = component.cfg["labels"]
        spans.append(
            [
                Span(doc, int(start), int(end), label=names[best[start]])
                for start, end in zip(starts, ends, strict=True)
                if best[start] < len(names)
            ]
        )
    return spans


def _calibrate(first: np.ndarray, dev: SpanAnswers, size: int) -> dict[str, np.ndarray]:
    """Weights and the bias of each of `size` labels; `first` are the weights of the regression on train."""
    from sklearn.linear_model import LogisticRegression

    score = dev.features @ first
    center, spread = score.mean(), max(float(score.std()), 1e-9)
    mean, scale = scaling(dev.features)
    columns = [
        (score[:, None] - center) / spread * TRUST,
        (dev.features - mean) / scale,
        np.eye(size)[dev.labels],
    ]
    model = LogisticRegression(C=DEV_STRENGTH, max_iter=3000).fit(np.hstack(columns), dev.right)
    stacked, own, of_label = np.split(model.coef_[0], [1, 1 + len(mean)])
    weights = first * stacked[0] * TRUST / spread + own / scale
    constant = model.intercept_[0] - stacked[0] * TRUST * center / spread - (own * mean / scale).sum()
    return {"weights": weights, "bias": constant + of_label}


def scaling(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each feature, the latter 1 where it doesn't vary."""
    spread = features.std(axis=0)
    return features.mean(axis=0), np.where(spread < 1e-9, 1.0, spread)

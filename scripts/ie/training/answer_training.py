"""Training of the `answer_confidence` component: links, amounts, relations and rows of an assembled pipeline.

The answers are those of the pipeline on dev, with confidences of entities that didn't see them. Dev has few,
so where all components learn within seconds, answers on train are added: pipelines that learned from three
quarters of it answer the last quarter (cross-fitting). They are somewhat worse than the final pipeline, which
a feature of the regression corrects.

Two regressions are compared for each kind of answer: one of the product of the parts' confidences, and one
of all features. The latter is taken if its log loss, out of fold, is lower by more than its standard error.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import spacy
import srsly
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from components.answer_confidence import ANSWERS, FEATURES, AnswerConfidence, Kind, probabilities
from components.linker import Linker
from ie.core.errors import UserError
from ie.core.files import write_json
from ie.data.docs import pipeline_record, to_doc
from ie.data.records import Record
from ie.evaluation import database_rows
from ie.evaluation.confidence import Answer
from ie.evaluation.links import mentions
from ie.training import confidence_training, linker_training
from ie.training.confidence_training import FOLDS, not_calibrated

NAME = "answer_confidence"
NER, RELATIONS, LINKER, MONEY, ENTITIES = "ner", "relations", "linker", "money", "confidence"
# The factories of entity recognisers that learn within seconds when they are initialised.
FAST = ("crf",)
# Inverse of the L2 regularisation of the regression on the product, and of the one on all features.
# The latter lies between what cross-validation favoured on the demo for links (.1) and relations (.02).
PRODUCT_STRENGTH, STRENGTH = 1.0, 0.05


@dataclass(frozen=True)
class Answered:
    """A text with gold, and what a pipeline that didn't learn from it says.

    Attributes:
        in_dev: whether it is of dev, and answered by the final pipeline.
    """

    gold: Record
    doc: Doc
    in_dev: bool

    @cached_property
    def record(self) -> Record:
        """What the pipeline says, before it is known how sure it is."""
        return pipeline_record(self.doc)


@dataclass(frozen=True)
class KindAnswers:
    """The answers of one kind, a row each.

    Attributes:
        text: number of the text. place: of the answer in the text. labels: the label of each.
    """

    text: np.ndarray
    place: np.ndarray
    labels: np.ndarray
    features: np.ndarray
    right: np.ndarray
    in_dev: np.ndarray

    def __len__(self) -> int:
        return len(self.text)

    def __getitem__(self, chosen: np.ndarray) -> "KindAnswers":
        return KindAnswers(**{name: values[chosen] for name, values in vars(self).items()})


def add_answer_confidence(
    nlp: Language,
    train: Sequence[Record],
    dev: Sequence[Record],
    *,
    model: Path,
    folder: Path,
) -> AnswerConfidence | None:
    """Add a calibrated `answer_confidence` to a pipeline and to its copy on disk.

    Args:
        train, dev: gold.
        model: folder of the pipeline, as it is without the component.
        folder: its confidence.json has the out-of-fold answers on dev, and gets the rows, for `accept`.

    Returns:
        None for a pipeline of entities alone, or without a `confidence`.
    """
    if ENTITIES not in nlp.pipe_names or not {RELATIONS, *database_rows.KNOWN} & {*nlp.pipe_names}:
        return None
    content = srsly.read_json(folder / "confidence.json")
    entities = [Answer(**answer) for answer in content["dev"]]
    component, rows = fit(nlp, train, dev, entities, lambda: spacy.load(model))
    before = nlp.pipe_names
    nlp.add_pipe(NAME).from_bytes(component.to_bytes())
    nlp.meta["labels"] = nlp.meta.get("labels", {}) | {NAME: list(component.labels)}
    nlp.to_disk(model, exclude=[*before, "tokenizer", "vocab"])
    if RELATIONS in before:
        content["rows"] = {
            "not_calibrated": component.reasons["row"],
            "answers": [vars(answer) for answer in rows],
        }
        write_json(folder / "confidence.json", content)
    return component


def fit(
    nlp: Language, train: Sequence[Record], dev: Sequence[Record], entities: Sequence[Answer], load: Callable
) -> tuple[AnswerConfidence, list[Answer]]:
    """An `answer_confidence` for a pipeline, and its rows on texts that it didn't learn from.

    Args:
        train, dev: gold. entities: the out-of-fold confidences on dev, by text and place in it.
        load: makes copies of the pipeline, which learn from parts of train.
    """
    docs = list(nlp.pipe(record.text for record in dev))
    for ent, answer in zip((ent for doc in docs for ent in doc.ents), entities, strict=True):
        ent._.confidence = answer.confidence
    answered = [Answered(record, doc, True) for record, doc in zip(dev, docs, strict=True)]
    answered += cross_fitted(nlp, train, dev, load)
    component = AnswerConfidence(nlp.vocab, NAME)
    values = database_rows.values_of(nlp, [text.gold for text in answered])
    rows: list[Answer] = []
    for kind in FEATURES:
        answers = read_answers(kind, answered, values)
        model, reasons, sure = fit_kind(answers)
        component.cfg["reasons"][kind] = reasons
        if model:
            component.cfg["models"][kind] = model
        keep(kind, answered, answers, sure)
        if kind == "row":
            each = zip(answers.text, answers.labels, sure, answers.right, strict=True)
            rows = [
                Answer(int(text), str(label), None if np.isnan(p) else float(p), bool(right))
                for text, label, p, right in each
            ]
    return component, rows


def cross_fitted(
    nlp: Language, train: Sequence[Record], dev: Sequence[Record], load: Callable[[], Language]
) -> list[Answered]:
    """The texts of train, each answered by a pipeline that learned from other parts of it.

    There are none if a component takes long to learn, or a part is too small for one.
    """
    if NER in nlp.pipe_names and nlp.get_pipe_meta(NER).factory not in FAST:
        return []
    answered = []
    for held_out in range(FOLDS):
        rest = [record for i, record in enumerate(train) if i % FOLDS != held_out]
        out = [record for i, record in enumerate(train) if i % FOLDS == held_out]
        other = load()
        try:
            learn_again(other, rest, dev)
        except (UserError, ValueError):
            return []
        docs = other.pipe(record.text for record in out)
        answered += [Answered(record, doc, False) for record, doc in zip(out, docs, strict=True)]
    return answered


def learn_again(nlp: Language, train: Sequence[Record], dev: Sequence[Record]) -> None:
    """Train the components that decide on rows, and the confidence of entities, on other texts.

    Raises:
        UserError, ValueError: a component finds nothing to learn from.
    """

    def examples() -> Iterator[Example]:
        return (Example(nlp.make_doc(record.text), to_doc(record, nlp)) for record in train)

    for name in (NER, RELATIONS):
        if name in nlp.pipe_names:
            nlp.get_pipe(name).initialize(examples, nlp=nlp)
    linker = nlp.get_pipe(LINKER) if LINKER in nlp.pipe_names else None
    if isinstance(linker, Linker):
        linker_training.fit(linker, *(mentions(nlp, gold, linker.cfg["labels"]) for gold in (train, dev)))
    if ENTITIES in nlp.pipe_names:
        golds = ([to_doc(record, nlp) for record in gold] for gold in (train, dev))
        component, _ = confidence_training.fit(nlp, *golds)
        nlp.get_pipe(ENTITIES).from_bytes(component.to_bytes())


def read_answers(kind: Kind, answered: Sequence[Answered], values: Sequence[str]) -> KindAnswers:
    """The answers of a kind in some texts, with their features, and whether gold has them."""
    found = [
        (number, answer, right, text.in_dev)
        for number, text in enumerate(answered)
        if (answers := ANSWERS[kind](text.doc))
        for answer, right in zip(answers, _are_right(kind, text, values, answers), strict=True)
    ]
    return KindAnswers(
        np.array([number for number, *_ in found], "int64"),
        np.array([answer.place for _, answer, *_ in found], "int64"),
        np.array([answer.label for _, answer, *_ in found], object),
        np.array([answer.features for _, answer, *_ in found], "float64").reshape(-1, len(FEATURES[kind])),
        np.array([right for *_, right, _ in found], bool),
        np.array([in_dev for *_, in_dev in found], bool),
    )


def _are_right(kind: Kind, text: Answered, values: Sequence[str], answers: Iterable[Any]) -> list[bool]:
    if kind in ("relation", "row"):
        right = database_rows.right_rows(text.record, text.gold, values if kind == "row" else [])
        return [right[answer.place] for answer in answers]
    names = [LINKER] if kind == "link" else [MONEY]
    ours, theirs = (database_rows.ends_of(one, names) for one in (text.record, text.gold))
    keys = [(span.start, span.end, span.label) for span in text.record.spans]
    return [ours[keys[answer.place]] == theirs.get(keys[answer.place]) for answer in answers]


def keep(kind: Kind, answered: Sequence[Answered], answers: KindAnswers, sure: np.ndarray) -> None:
    """Set the out-of-fold confidences, which the rows are judged by."""
    for number, place, p in zip(answers.text, answers.place, sure, strict=True):
        doc = answered[number].doc
        value = None if np.isnan(p) else float(p)
        if kind in ("link", "amount"):
            setattr(doc.ents[place]._, f"{kind}_confidence", value)
        elif kind == "relation" and value is not None:
            doc._.relations[place]["confidence"] = value


def fit_kind(answers: KindAnswers) -> tuple[dict[str, Any] | None, dict[str, str], np.ndarray]:
    """The model of a kind of answer, why labels have none, and the out-of-fold confidence of each answer.

    The model is None, and the confidence NaN, where nothing is calibrated.
    """
    labels, sure = sorted(set(answers.labels)), np.full(len(answers), np.nan)
    of_dev = answers[answers.in_dev]
    reasons = not_calibrated(labels, of_dev.labels, of_dev.right, answers.right)
    known = np.array([label not in reasons for label in answers.labels], bool)
    usable = [label for label in labels if label not in reasons]
    if not usable:
        return None, reasons, sure
    kept = answers[known]
    product, every = np.zeros(kept.features.shape[1], bool), np.ones(kept.features.shape[1], bool)
    product[0] = True
    tried = [(product, PRODUCT_STRENGTH), (every, STRENGTH)]
    held_out = [out_of_fold(kept, usable, columns, strength) for columns, strength in tried]
    better = int(is_better(kept, *held_out))
    sure[known] = held_out[better]
    return regression(kept, usable, *tried[better]), reasons, sure


def out_of_fold(
    answers: KindAnswers, labels: Sequence[str], columns: np.ndarray, strength: float
) -> np.ndarray:
    """The probability of each answer by a regression on other texts; NaN if these are all right or wrong."""
    result, fold = np.full(len(answers), np.nan), answers.text % FOLDS
    for held_out in range(FOLDS):
        rest, out = answers[fold != held_out], fold == held_out
        if out.any() and 0 < rest.right.sum() < len(rest):
            result[out] = predict(regression(rest, labels, columns, strength), answers[out])
    return result


def predict(model: dict[str, Any], answers: KindAnswers) -> np.ndarray:
    """The probability of each answer, as the component gives it."""
    biases = np.array([model["bias"][label] for label in answers.labels])
    return probabilities(answers.features, np.array(model["weights"]), biases)


def regression(
    answers: KindAnswers, labels: Sequence[str], columns: np.ndarray, strength: float
) -> dict[str, Any]:
    """Weights of features, and the bias of each label, for answers of the final pipeline.

    Args:
        columns: the features that are used.
    """
    from sklearn.linear_model import LogisticRegression

    used = answers.features[:, columns]
    mean, scale = confidence_training.scaling(used)
    of_label = np.array([[label == other for other in labels] for label in answers.labels], "float64")
    # The last column takes up how much worse cross-fitted pipelines are.
    data = np.hstack([(used - mean) / scale, of_label, ~answers.in_dev[:, None]])
    model = LogisticRegression(C=strength, max_iter=3000).fit(data, answers.right)
    weights = np.zeros(len(columns))
    weights[columns] = model.coef_[0][: len(mean)] / scale
    constant = model.intercept_[0] - float(weights[columns] @ mean)
    biases = constant + model.coef_[0][len(mean) : -1]
    return {
        "weights": [round(float(weight), 6) for weight in weights],
        "bias": {label: round(float(bias), 6) for label, bias in zip(labels, biases, strict=True)},
    }


def is_better(answers: KindAnswers, one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the other's log loss is lower by more than its standard error over texts."""
    known = ~np.isnan(one) & ~np.isnan(other)
    if not known.any():
        return False
    gain = np.log(np.where(answers.right, other, 1 - other)) - np.log(np.where(answers.right, one, 1 - one))
    _, text = np.unique(answers.text[known], return_inverse=True)
    by_text = np.bincount(text, weights=gain[known])
    return len(by_text) > 1 and by_text.mean() > by_text.std(ddof=1) / np.sqrt(len(by_text))

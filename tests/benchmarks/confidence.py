"""Benchmark of the confidence: calibration, ranking, promised precision and cost.

A pipeline is trained once per set, on its train part; dev calibrates, test measures. Promises are tested on
draws: the texts of dev and test are divided again at random, as many for dev as before.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import spacy
from benchmarks import calibration
from spacy.language import Language
from spacy.tokens import Doc

import components.money  # noqa: F401  (registers its factory)
from components.answer_confidence import FEATURES, AnswerConfidence
from ie.core.errors import UserError
from ie.core.stats import Estimate
from ie.data import records, splits
from ie.data.docs import docbin, to_doc
from ie.data.records import Record
from ie.evaluation import confidence, database_rows
from ie.evaluation.confidence import Answers
from ie.training import answer_training, confidence_training, loop
from ie.training.answer_training import Answered
from ie.training.confidence_training import SpanAnswers

DEMO = "demo"
# Updates of each set's training: few, as what is measured is the confidence.
STEPS = {DEMO: 600, "fire": 600, "crossner_politics": 800, "fashion_brands": 600}
TARGETS = (0.90, 0.95, 0.99)
REPEATS = 5
PARTS = ("train", "dev", "test")


@dataclass(frozen=True)
class Promise:
    """A promised precision over all draws.

    Attributes:
        held: share of the draws in which test kept it, or nothing was promised. unpromised: share of the
            latter. coverage: mean share of the answers that pass unread. precision: mean of those.
    """

    target: float
    held: float
    unpromised: float
    coverage: float
    precision: float | None


@dataclass
class Measurement:
    """All figures of a set.

    Attributes:
        error, area: None where dev is too small for a confidence.
        perfect: the calibration error that a perfectly calibrated confidence shows on as many answers.
        area: under the risk-coverage curve. better: that of each baseline minus it.
        labels: answers and calibration error of each label with a bin of answers.
        cost: processor time of the component as a share of the pipeline's without it.
    """

    name: str
    texts: int
    dev_answers: int
    answers: int
    precision: float
    not_calibrated: dict[str, str]
    error: Estimate | None
    perfect: float | None
    area: Estimate | None
    better: dict[str, Estimate]
    labels: dict[str, tuple[int, float]]
    reliability: list[tuple[float, float, int]]
    risks: list[float]
    promises: list[Promise] = field(default_factory=list)
    cost: float = 0.0
    megabytes: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)


def load(name: str, data: Path, reviewed: Path, lang: str = "en") -> dict[str, list[Record]]:
    """Train, dev and test of a set; a text that is in several is in the last of them alone.

    Raises:
        UserError: the files aren't there.
    """
    nlp = records.blank(lang)

    def read(path: Path) -> list[Record]:
        if not path.is_file():
            raise UserError(f"{path}: there is no such file; see --data-sets, or name other --sets.")
        reader = records.Reader(
            tokenizer=nlp.tokenizer, misaligned="snap", duplicates="first", bad_relations="drop"
        )
        return records.accepted(reader.read(path, report=records.ReadReport()))

    if name == DEMO:
        split = splits.assign(read(reviewed), [], test_percent=37, dev_percent=10)
        return {part: getattr(split, part) for part in PARTS}
    parts, known = {}, set()
    for part in reversed(PARTS):
        parts[part] = [r for r in read(data / name / f"{part}.jsonl") if r.text not in known]
        known |= {record.text for record in parts[part]}
    return parts


def train(
    name: str, parts: dict[str, list[Record]], config: Path, folder: Path, lang: str = "en"
) -> Language:
    """The pipeline of a set; one that is in the folder is not trained again."""
    if not (folder / "model-best").is_dir():
        nlp = records.blank(lang)
        folder.mkdir(parents=True, exist_ok=True)
        for part in ("train", "dev"):
            docbin(to_doc(record, nlp) for record in parts[part]).to_disk(folder / f"{part}.spacy")
        files = {part: folder / f"{part}.spacy" for part in ("train", "dev")}
        loop.train(config, **files, output=folder, overrides=loop.overrides(lang, STEPS[name]), quiet=True)
    return spacy.load(folder / "model-best")


def measure(
    name: str, nlp: Language, parts: dict[str, list[Record]], *, llm: dict[str, Record], draws: int
) -> Measurement:
    """Measure the confidence of a pipeline.

    Args:
        llm: what the LLM says about each test text; empty where it wasn't asked.
    """
    gold = {part: [to_doc(record, nlp) for record in of_part] for part, of_part in parts.items()}
    component, dev_answers = confidence_training.fit(nlp, gold["train"], gold["dev"])
    docs = list(nlp.pipe(record.text for record in parts["test"]))
    component.set_confidence(docs)
    right = [
        r
        for doc, of in zip(docs, gold["test"], strict=True)
        for r in confidence_training.right_spans(of, doc.ents)
    ]
    spans = [(i, ent) for i, doc in enumerate(docs) for ent in doc.ents]
    known = np.array([ent._.confidence is not None for _, ent in spans], bool)
    answers = Answers(
        np.array([i for i, _ in spans])[known],
        np.array([ent._.confidence or 0.0 for _, ent in spans])[known],
        np.array(right, bool)[known],
    )
    labels = np.array([ent.label_ for _, ent in spans])[known]
    result = Measurement(
        name=name,
        texts=len(docs),
        dev_answers=len(dev_answers),
        answers=len(answers),
        precision=sum(right) / max(len(right), 1),
        not_calibrated=component.reasons,
        error=confidence.estimate(answers, calibration.calibration_error) if known.any() else None,
        perfect=perfect_error(answers) if known.any() else None,
        area=confidence.estimate(answers, calibration.area_under_risk_coverage) if known.any() else None,
        better={},
        labels={
            label: (int((labels == label).sum()), calibration.calibration_error(answers[labels == label]))
            for label in sorted(set(labels))
            if (labels == label).sum() >= calibration.IN_BIN
        },
        reliability=calibration.reliability(answers) if known.any() else [],
        risks=calibration.risk_by_coverage(answers)[:: max(1, len(answers) // 200)].tolist(),
    )
    usable = [span for span, is_known in zip(spans, known, strict=True) if is_known]
    for baseline, scores in baselines(usable, gold["train"], llm).items() if usable else ():
        other = Answers(answers.text, scores, answers.right)
        result.better[baseline] = confidence.estimate(other, calibration.area_under_risk_coverage, answers)
    result.promises = promises(nlp, gold, draws)
    result.cost = cost(nlp, component, [record.text for record in parts["test"]])
    result.megabytes = len(component.to_bytes()) / 1e6
    return result


@dataclass(frozen=True)
class KindMeasurement:
    """The confidence of links, amounts, relations or rows of an assembled pipeline, on test.

    Attributes:
        answers: with a confidence, of `found`. error, area: None where none has one.
        better: area by the product of what the components say, without calibration, minus `area`.
    """

    kind: str
    found: int
    answers: int
    precision: float
    error: Estimate | None
    perfect: float | None
    area: Estimate | None
    better: Estimate | None


def measure_kinds(nlp: Language, test: Sequence[Record]) -> list[KindMeasurement]:
    """Measure the confidences that `assemble` adds to a pipeline.

    Raises:
        UserError: the pipeline has none.
    """
    if answer_training.NAME not in nlp.pipe_names:
        raise UserError("this pipeline has no confidence of rows; run `weasel run components` first.")
    component = nlp.get_pipe(answer_training.NAME)
    assert isinstance(component, AnswerConfidence)
    docs = nlp.pipe(record.text for record in test)
    answered = [Answered(record, doc, True) for record, doc in zip(test, docs, strict=True)]
    measured = []
    for kind in FEATURES:
        every = answer_training.read_answers(kind, answered, database_rows.values_of(nlp, test))
        model = component.cfg["models"].get(kind)
        kept = every[np.array([model is not None and label in model["bias"] for label in every.labels], bool)]
        figures: dict[str, Any] = {"error": None, "perfect": None, "area": None, "better": None}
        if model and len(kept):
            answers = Answers(kept.text, answer_training.predict(model, kept), kept.right)
            area = calibration.area_under_risk_coverage
            uncalibrated = Answers(kept.text, kept.features[:, 0], kept.right)
            figures = {
                "error": confidence.estimate(answers, calibration.calibration_error),
                "perfect": perfect_error(answers),
                "area": confidence.estimate(answers, area),
                "better": confidence.estimate(uncalibrated, area, answers),
            }
        precision = float(every.right.mean()) if len(every) else 0.0
        measured.append(KindMeasurement(kind, len(every), len(kept), precision, **figures))
    return measured


def perfect_error(answers: Answers, samples: int = 200) -> float:
    """The mean calibration error if each answer were right with exactly its probability."""
    draw = np.random.default_rng(0)
    return float(
        np.mean(
            [
                calibration.calibration_error(
                    Answers(answers.text, answers.confidence, draw.random(len(answers)) < answers.confidence)
                )
                for _ in range(samples)
            ]
        )
    )


def baselines(
    spans: Sequence[tuple[int, Any]], train: Sequence[Doc], llm: dict[str, Record]
) -> dict[str, np.ndarray]:
    """What one would go by without a confidence, a number per span: the higher, the surer.

    The string was annotated with this label in training; the LLM gives the same span, found exactly (2), or
    in another way (1).
    """
    seen = {(ent.text.lower(), ent.label_) for doc in train for ent in doc.ents}
    scores = {"seen": np.array([float((ent.text.lower(), ent.label_) in seen) for _, ent in spans])}
    if llm:
        status = {
            (text, s.start, s.end, s.label): 2.0 if (s.model_extra or {}).get("alignment") == "exact" else 1.0
            for text, record in llm.items()
            for s in record.spans
        }
        keys = [(ent.doc.text, ent.start_char, ent.end_char, ent.label_) for _, ent in spans]
        scores["llm"] = np.array([status.get(key, 0.0) for key in keys])
    return scores


def promises(nlp: Language, gold: dict[str, list[Doc]], draws: int) -> list[Promise]:
    """Divide the texts of dev and test at random, calibrate, promise, and look whether test keeps it."""
    texts = [*gold["dev"], *gold["test"]]
    predicted = list(nlp.pipe(doc.text for doc in texts))
    labels = sorted({ent.label_ for doc in (*gold["train"], *predicted) for ent in doc.ents})
    component, first = confidence_training.learn(nlp, gold["train"], labels)
    answers = confidence_training.read_answers(component, predicted, texts)
    kept: dict[float, list[tuple[float, float]]] = {target: [] for target in TARGETS}
    for seed in range(draws):
        order = np.random.default_rng(seed).permutation(len(texts))
        # The place in this order stands for the text, so that folds are drawn as well.
        place = np.argsort(order)[answers.text]
        drawn = SpanAnswers(place, answers.labels, answers.features, answers.right)
        for target, outcome in draw(component, first, drawn, len(gold["dev"])).items():
            kept[target].append(outcome)
    return [_promise(target, np.array(outcomes)) for target, outcomes in kept.items()]


def draw(
    component: confidence_training.SpanConfidence, first: np.ndarray, answers: SpanAnswers, size: int
) -> dict[float, tuple[float, float]]:
    """Precision (NaN if nothing is accepted) and coverage on test, where the first `size` texts are dev."""
    is_dev = answers.text < size
    dev, test = answers[is_dev], answers[~is_dev]
    calibration = confidence_training.calibrate(component, first, dev)
    if not calibration.arrays:
        return dict.fromkeys(TARGETS, (np.nan, 0.0))
    known = ~np.isnan(calibration.confidence)
    on_dev = Answers(dev.text, calibration.confidence, dev.right)[known]
    names = component.cfg["labels"]
    usable = np.array([names[i] not in calibration.reasons for i in test.labels], bool)
    p = confidence_training.probabilities(calibration.arrays, test.features, test.labels)
    outcomes = {}
    for target in TARGETS:
        threshold = confidence.threshold(on_dev, target)
        accepted = usable & (p >= threshold.confidence) if threshold else np.zeros(len(p), bool)
        precision = float(test.right[accepted].mean()) if accepted.any() else np.nan
        outcomes[target] = (precision, float(accepted.mean()))
    return outcomes


def _promise(target: float, outcomes: np.ndarray) -> Promise:
    nothing = np.isnan(outcomes[:, 0])
    return Promise(
        target,
        held=float((nothing | (outcomes[:, 0] >= target)).mean()),
        unpromised=float(nothing.mean()),
        coverage=float(outcomes[:, 1].mean()),
        precision=None if nothing.all() else float(np.nanmean(outcomes[:, 0])),
    )


def cost(nlp: Language, component: Any, texts: Sequence[str]) -> float:
    """Processor time of the component as a share of that of the pipeline, median of several runs."""
    docs, shares = list(nlp.pipe(texts)), []
    for _ in range(REPEATS):
        start = process_time()
        list(nlp.pipe(texts))
        middle = process_time()
        list(component.pipe(docs))
        shares.append((process_time() - middle) / (middle - start))
    return median(shares)

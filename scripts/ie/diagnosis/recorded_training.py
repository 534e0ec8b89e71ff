"""Short trainings by spaCy's own loop, with every gradient and every change of the weights recorded."""

import math
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.training.loop import create_train_batches, train_while_improving
from spacy.util import fix_random_seed, load_config, load_model_from_config, resolve_dot_names
from spacy.vocab import Vocab
from thinc.api import Config, Model, Optimizer, get_array_module
from threadpoolctl import threadpool_limits

from components.span_classifier import SPANS_KEY, annotated_spans, set_spans
from ie.core.errors import UserError
from ie.core.text import one_line
from ie.data import records
from ie.data.docs import docbin, from_doc
from ie.diagnosis import thresholds
from ie.diagnosis.findings import SPLITS, ProjectData
from ie.evaluation import scoring
from ie.training import loop


@dataclass
class Layer:
    """What happened to a layer with weights.

    Attributes:
        gradients: (steps, 3): mean, variance and norm over its weights, before clipping; NaN for a step
            without any.
        change: norm of the difference to the start over the norm at the start.
    """

    gradients: np.ndarray
    change: float = 0.0


@dataclass
class Run:
    """A recorded training.

    Attributes:
        losses: of each step, per word. `rates`: learning rate of each step.
        failed: what ended it early, "" if nothing did.
        clip: the gradients' norm above which the optimizer shortens them, 0 for never.
    """

    nlp: Language
    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    layers: dict[str, Layer] = field(default_factory=dict)
    failed: str = ""
    clip: float = 0.0

    def final_loss(self, steps: int) -> float:
        """Mean loss of the last steps; infinite if the training ended early or the loss isn't finite."""
        if self.failed or len(self.losses) < steps or not np.isfinite(self.losses).all():
            return math.inf
        return float(np.mean(self.losses[-steps:]))


class RecordingOptimizer:
    """An optimizer that keeps mean, variance, sum of squares and size of the gradients of each step."""

    averages = None  # spaCy would otherwise score with averaged weights

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.steps: list[dict[tuple[int, str], tuple[float, float, float, int]]] = [{}]

    def __call__(self, key: tuple[int, str], weights: Any, gradient: Any, **options: Any) -> tuple[Any, Any]:
        xp = get_array_module(gradient)
        values = gradient.astype("float64")
        square = float((values**2).sum())
        self.steps[-1][key] = (float(xp.mean(values)), float(xp.var(values)), square, int(gradient.size))
        return self.optimizer(key, weights, gradient, **options)

    def step_schedules(self) -> None:
        self.optimizer.step_schedules()
        self.steps.append({})


def tokenizer_pipeline(project: ProjectData) -> Language:
    """A pipeline without components, with the tokenizer that trainings of the config have.

    Raises:
        UserError: the config is broken.
    """
    with loop.explained(project.config):
        config = load_config(project.config, overrides=project.overrides, interpolate=True)
        empty = Config({"nlp": {**config["nlp"], "pipeline": []}, "components": {}})
        nlp = load_model_from_config(empty, auto_fill=True, validate=False)
        before = config.get("initialize", {}).get("before_init")
        if before:
            spacy.registry.resolve({"callback": before})["callback"](nlp)
    return nlp


def _remove_augmenter(config: dict[str, Any]) -> None:
    """Short runs are compared with each other: randomly changed texts would add noise."""
    section: Any = config
    for part in str(config["training"].get("train_corpus") or "").split("."):
        section = section.get(part) if isinstance(section, dict) else None
    if isinstance(section, dict) and "augmenter" in section:
        section["augmenter"] = None


@contextmanager
def _quiet() -> Iterator[None]:
    """Diverging weights overflow; that they do is the observation."""
    with threadpool_limits(limits=1), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def _initialize(
    project: ProjectData, corpus: Path, overrides: dict[str, Any], seed: int
) -> tuple[Language, dict[str, Any], Callable]:
    """A pipeline of the project's config, ready to train on a corpus; the training settings; its reader.

    Raises:
        UserError: the config is broken, or finds nothing to train on.
    """
    paths = {"paths.train": str(corpus), "paths.dev": str(corpus), "system.seed": seed}
    with loop.explained(project.config):
        config = load_config(project.config, overrides=paths | project.overrides | overrides)
        config["training"]["logger"] = {"@loggers": "ie.Recorder.v1", "logger": None}
        _remove_augmenter(config)
        fix_random_seed(seed)
        nlp = init_nlp(config, use_gpu=-1)
        whole = nlp.config.interpolate()
        settings = spacy.registry.resolve(whole["training"], schema=spacy.schemas.ConfigSchemaTraining)
        (reader,) = resolve_dot_names(whole, [settings["train_corpus"]])
    fix_random_seed(seed)
    return nlp, settings, reader


def run(
    project: ProjectData,
    docs: Sequence[Doc],
    steps: int,
    *,
    overrides: dict[str, Any] | None = None,
    rate: float = 1.0,
    batch: int = 0,
    dropout: bool = True,
    stop: Callable[[Language], bool] = lambda nlp: False,
    seed: int | None = None,
) -> Run:
    """Train for some steps as the config says.

    Args:
        rate: factor on the learning rate.
        batch: texts in a batch; 0 leaves batches to the config.
        stop: called every 20 steps; the training ends when it returns True.

    Raises:
        UserError: the config is broken, or finds nothing to train on.
    """
    with tempfile.TemporaryDirectory(prefix="diagnosis-") as folder, threadpool_limits(limits=1):
        corpus = Path(folder) / "train.spacy"
        docbin(docs).to_disk(corpus)
        seed = project.seed if seed is None else seed
        nlp, settings, reader = _initialize(project, corpus, overrides or {}, seed)
        optimizer = settings["optimizer"]
        if (schedule := optimizer.schedules.get("learn_rate")) is not None:
            optimizer.schedules["learn_rate"] = (rate * value for value in schedule)
        optimizer.learn_rate *= rate
        start = {
            label: {name: node.get_param(name).copy() for name in _weights(node)}
            for label, node in layers(nlp).items()
        }
        recorder = RecordingOptimizer(optimizer)
        recorded = Run(nlp, rates=[float(optimizer.learn_rate)], clip=float(optimizer.grad_clip))
        updates = train_while_improving(
            nlp,
            recorder,
            _batches(list(reader(nlp)), batch)
            if batch
            else create_train_batches(nlp, reader, settings["batcher"], 0),
            lambda: (0.0, {}),
            dropout=settings["dropout"] if dropout else 0.0,
            eval_frequency=steps + 1,
            accumulate_gradient=settings["accumulate_gradient"],
            patience=0,
            max_steps=0,
            exclude=settings["frozen_components"],
            annotating_components=settings["annotating_components"],
            before_update=settings["before_update"],
        )
        try:
            with _quiet():
                _follow(recorded, updates, steps, optimizer, stop)
        except (ValueError, FloatingPointError, OverflowError, IndexError) as error:
            recorded.failed = one_line(error, 150)
        _add_layers(recorded, start, recorder)
    return recorded


def _follow(
    run: Run, updates: Iterator[tuple], steps: int, optimizer: Optimizer, stop: Callable[[Language], bool]
) -> None:
    """Train, and record losses and learning rates."""
    # Components that have labels; the loss of a tok2vec is the size of its gradients.
    names = [name for name, pipe in run.nlp.pipeline if getattr(pipe, "label_data", None) is not None]
    total = 0.0
    for examples, info, _ in updates:
        now = float(sum(loss for name, loss in info["losses"].items() if name in names))
        run.losses.append((now - total) / max(sum(len(eg) for eg in examples), 1))
        total = now
        if not math.isfinite(now):
            run.failed = "the loss is no longer a number"
            return
        done = len(run.losses)
        if done >= steps or (done % 20 == 0 and stop(run.nlp)):
            return
        run.rates.append(float(optimizer.learn_rate))


def _batches(examples: list[Example], size: int) -> Iterator[tuple[int, list[Example]]]:
    epoch, order, rng = 0, [], np.random.default_rng(0)
    while True:
        while len(order) < size:
            order += rng.permutation(len(examples)).tolist()
            epoch += 1
        yield epoch, [examples[i] for i in order[:size]]
        order = order[size:]


def _weights(node: Model) -> list[str]:
    return [name for name in node.param_names if node.has_param(name)]


def layers(nlp: Language) -> dict[str, Model]:
    """Layers with weights by a readable name, in the order of the pipeline."""
    nodes: dict[str, Model] = {}
    for name, pipe in nlp.pipeline:
        model = getattr(pipe, "model", None)
        for node in model.walk() if isinstance(model, Model) else ():
            if _weights(node):
                label = f"{name}: {node.name}"
                same = sum(other == label or other.startswith(f"{label} ") for other in nodes)
                nodes[f"{label} {same + 1}" if same else label] = node
    return nodes


def _add_layers(run: Run, start: dict[str, dict[str, Any]], recorder: RecordingOptimizer) -> None:
    """Summarize the recorded gradients, and the change of the weights since the start, by layer."""
    steps = [step for step in recorder.steps if step] or [{}]
    for label, node in layers(run.nlp).items():
        gradients = np.full((len(steps), 3), np.nan)
        for row, step in zip(gradients, steps, strict=True):
            parts = [step[node.id, name] for name in node.param_names if (node.id, name) in step]
            if parts:
                means, variances, squares, sizes = np.array(parts, dtype=float).T
                mean = (means * sizes).sum() / sizes.sum()
                variance = ((variances + (means - mean) ** 2) * sizes).sum() / sizes.sum()
                row[:] = mean, variance, squares.sum() ** 0.5
        norm, moved, size = 0.0, 0.0, 0
        for name, old in start.get(label, {}).items():
            norm += float((old.astype("float64") ** 2).sum())
            moved += float(((node.get_param(name).astype("float64") - old) ** 2).sum())
            size += old.size
        # Weights that start at 0 are measured against a thousandth each.
        change = moved**0.5 / max(norm**0.5, 1e-3 * size**0.5) if size else 0.0
        run.layers[label] = Layer(gradients, change)


def score(nlp: Language, docs: Sequence[Doc], labels: Sequence[str]) -> np.ndarray:
    """True positives, false positives and false negatives of exact spans: (documents, 3)."""
    gold = [from_doc(doc) for doc in docs]
    with _quiet():
        try:
            predicted = [from_doc(doc) for doc in nlp.pipe([doc.text for doc in docs])]
        except (ValueError, IndexError):  # weights that are no numbers
            predicted = [records.Record(text=doc.text) for doc in docs]
    return scoring.count(gold, predicted, labels).sum(axis=1)


def shuffled(docs: Sequence[Doc], seed: int) -> list[Doc]:
    """The same texts with as many spans of the same lengths, at random places and with random labels."""
    rng = np.random.default_rng(seed)
    names = [ent.label_ for doc in docs for ent in annotated_spans(doc)]
    order = iter(rng.permutation(len(names)))
    copies = []
    for doc in docs:
        copy = Doc(doc.vocab, [t.text for t in doc], [bool(t.whitespace_) for t in doc])
        free = np.ones(len(doc), dtype=bool)
        overlapping = SPANS_KEY in doc.spans
        spans = []
        for ent in annotated_spans(doc):
            name, n = names[next(order)], len(ent)
            starts = [i for i in range(len(doc) - n + 1) if free[i : i + n].all()]
            if starts:
                start = int(rng.choice(starts))
                free[start : start + n] = overlapping
                spans.append(Span(copy, start, start + n, label=name))
        set_spans(copy, spans, overlapping=overlapping)
        copies.append(copy)
    return copies


@dataclass
class Reference:
    """A short training on a sample of train by `ie.training.loop`, scored on dev and test.

    Attributes:
        counts: (documents, 3) of the texts `docs`, by "dev" and "test".
        steps, texts: updates and texts of the training.
        failed: why there are no scores, "" if there are.
    """

    counts: dict[str, np.ndarray] = field(default_factory=dict)
    docs: dict[str, list[Doc]] = field(default_factory=dict)
    steps: int = 0
    texts: int = 0
    failed: str = ""


def reference(project: ProjectData) -> Reference:
    """Train as `train` does, but shorter and on fewer texts.

    Raises:
        UserError: the config is broken.
    """
    vocab = Vocab()
    sizes = dict.fromkeys(SPLITS, thresholds.CHECK_TEXTS) | {"train": thresholds.TRAIN_TEXTS}
    docs = {split: project.docs(split, vocab, size) for split, size in sizes.items()}
    steps = thresholds.REFERENCE_STEPS
    result = Reference(steps=steps, texts=len(docs["train"]))
    changes = {"training.max_steps": steps, "training.eval_frequency": steps // 3}
    with tempfile.TemporaryDirectory(prefix="diagnosis-") as name:
        folder = Path(name)
        for split in ("train", "dev"):
            # Without a dev any texts will do to pick a checkpoint, as nothing is scored.
            docbin(docs[split] or docs["train"][:20]).to_disk(folder / f"{split}.spacy")
        try:
            with _quiet():
                loop.train(
                    project.config,
                    train=folder / "train.spacy",
                    dev=folder / "dev.spacy",
                    output=folder,
                    overrides=project.overrides | changes,
                    seed=project.seed,
                )
        except UserError as error:
            if str(error) != loop.DIVERGED:
                raise
            result.failed = str(error)
            return result
        nlp = spacy.load(folder / "model-best")
        for split in ("dev", "test"):
            if docs[split]:
                result.docs[split] = docs[split]
                result.counts[split] = score(nlp, docs[split], project.labels)
    return result

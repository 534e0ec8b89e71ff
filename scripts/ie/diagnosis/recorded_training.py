"""Short trainings by spaCy's own loop, with every gradient and every change of the weights recorded."""

import math
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.training.loop import create_train_batches, train_while_improving
from spacy.util import fix_random_seed, load_config, load_model_from_config, resolve_dot_names
from spacy.vocab import Vocab
from thinc.api import Config, Model, Optimizer, get_array_module
from threadpoolctl import threadpool_limits

from ie.core.errors import UserError
from ie.core.text import one_line
from ie.data import records
from ie.data.docs import from_doc
from ie.diagnosis import thresholds
from ie.diagnosis.findings import ProjectData, chosen
from ie.evaluation import scoring
from ie.training import loop


@dataclass
class Layer:
    """A layer with weights: what happened to it.

    Attributes:
        gradients: (steps, 3): mean, variance and norm over its weights, before clipping; NaN for a step that
            brought none.
        change: norm of the difference to the start over the norm at the start.
    """

    gradients: np.ndarray
    change: float = 0.0


@dataclass
class Run:
    """A training that was watched.

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


class Watched:
    """An optimizer that remembers the gradients it is given."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.seen: list[dict[tuple[int, str], tuple[float, float, float, int]]] = [{}]

    def __call__(self, key: tuple[int, str], weights: Any, gradient: Any, **options: Any) -> tuple[Any, Any]:
        xp = get_array_module(gradient)
        values = gradient.astype("float64")
        square = float((values**2).sum())
        self.seen[-1][key] = (float(xp.mean(values)), float(xp.var(values)), square, int(gradient.size))
        return self.optimizer(key, weights, gradient, **options)

    def step_schedules(self) -> None:
        self.optimizer.step_schedules()
        self.seen.append({})

    @property
    def averages(self) -> None:
        """None: what is judged is where the weights went, not their mean on the way."""
        return None


def tokenizing(project: ProjectData) -> Language:
    """A pipeline without components, with the tokenizer that trainings of the config have.

    Raises:
        UserError: the config is broken.
    """
    with loop.explained(project.config):
        whole = load_config(project.config, overrides=project.overrides, interpolate=True)
        bare = Config({"nlp": {**whole["nlp"], "pipeline": []}, "components": {}})
        nlp = load_model_from_config(bare, auto_fill=True, validate=False)
        before = whole.get("initialize", {}).get("before_init")
        if before:
            spacy.registry.resolve({"callback": before})["callback"](nlp)
    return nlp


def corpus(docs: Iterable[Doc]) -> DocBin:
    return DocBin(attrs=["ENT_IOB", "ENT_TYPE"], store_user_data=False, docs=docs)


def _without_augmenter(config: dict[str, Any]) -> None:
    """Short runs are compared with each other: texts that change by chance would be noise in between."""
    section: Any = config
    for part in str(config["training"].get("train_corpus") or "").split("."):
        section = section.get(part) if isinstance(section, dict) else None
    if isinstance(section, dict) and "augmenter" in section:
        section["augmenter"] = None


@contextmanager
def started(
    project: ProjectData,
    docs: Sequence[Doc],
    overrides: dict[str, Any] | None = None,
    seed: int | None = None,
) -> Iterator[tuple[Language, dict[str, Any], Callable, Optimizer]]:
    """An initialised pipeline of the project's config with its training settings, corpus and optimizer.

    Raises:
        UserError: the config is broken, or finds nothing to train on.
    """
    seed = project.seed if seed is None else seed
    with tempfile.TemporaryDirectory(prefix="diagnosis-") as folder, threadpool_limits(limits=1):
        path = Path(folder) / "train.spacy"
        corpus(docs).to_disk(path)
        changes = {
            "paths.train": str(path),
            "paths.dev": str(path),
            "system.seed": seed,
            "training.logger": {"@loggers": "ie.Recorder.v1", "logger": None},
            **project.overrides,
            **(overrides or {}),
        }
        logger = changes.pop("training.logger")
        with loop.explained(project.config):
            config = load_config(project.config, overrides=changes, interpolate=False)
            config["training"]["logger"] = logger
            _without_augmenter(config)
            fix_random_seed(seed)
            nlp = init_nlp(config, use_gpu=-1)
            whole = nlp.config.interpolate()
            settings = spacy.registry.resolve(whole["training"], schema=spacy.schemas.ConfigSchemaTraining)
            (reader,) = resolve_dot_names(whole, [settings["train_corpus"]])
        fix_random_seed(seed)
        yield nlp, settings, reader, settings["optimizer"]


def run(
    project: ProjectData,
    docs: Sequence[Doc],
    steps: int,
    *,
    overrides: dict[str, Any] | None = None,
    rate: float = 1.0,
    batch: int = 0,
    dropout: bool = True,
    until: Callable[[Language], bool] = lambda nlp: False,
    seed: int | None = None,
) -> Run:
    """Train for some steps as the config says.

    Args:
        rate: factor on the learning rate.
        batch: texts in a batch; 0 leaves batches to the config.
        until: asked every 20 steps whether it may end.
    """
    with started(project, docs, overrides, seed) as (nlp, settings, reader, optimizer):
        _scale(optimizer, rate)
        watched = Watched(optimizer)
        before = {label: copies(node) for label, node in layers(nlp).items()}
        batches = (
            _batches(list(reader(nlp)), batch)
            if batch
            else create_train_batches(nlp, reader, settings["batcher"], 0)
        )
        found = Run(nlp, clip=float(optimizer.grad_clip))
        loop = train_while_improving(
            nlp,
            watched,
            batches,
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
        total = 0.0
        found.rates.append(float(optimizer.learn_rate))
        try:
            # Wild weights overflow; that they do is the observation.
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                for texts, info, _ in loop:
                    now = _loss(nlp, info["losses"])
                    found.losses.append((now - total) / max(sum(len(eg) for eg in texts), 1))
                    total = now
                    if not math.isfinite(now):
                        found.failed = "the loss is no longer a number"
                        break
                    done = len(found.losses)
                    if done >= steps or (done % 20 == 0 and until(nlp)):
                        break
                    found.rates.append(float(optimizer.learn_rate))
        except (ValueError, FloatingPointError, OverflowError, IndexError) as error:
            found.failed = one_line(error, 150)
        _summarise(found, before, watched)
    return found


def _scale(optimizer: Optimizer, rate: float) -> None:
    schedule = optimizer.schedules.get("learn_rate")
    if schedule is not None:
        optimizer.schedules["learn_rate"] = (rate * value for value in schedule)
    optimizer.learn_rate *= rate


def _batches(examples: list[Example], size: int) -> Iterator[tuple[int, list[Example]]]:
    epoch, order, rng = 0, [], np.random.default_rng(0)
    while True:
        while len(order) < size:
            order += rng.permutation(len(examples)).tolist()
            epoch += 1
        yield epoch, [examples[i] for i in order[:size]]
        order = order[size:]


def _loss(nlp: Language, losses: dict[str, float]) -> float:
    """Of the components that have labels; that of a tok2vec is the size of its gradients."""
    names = [n for n, pipe in nlp.pipeline if getattr(pipe, "label_data", None) is not None]
    return float(sum(loss for name, loss in losses.items() if name in names))


def layers(nlp: Language) -> dict[str, Model]:
    """Layers with weights by a name for people, in the order of the pipeline."""
    found: dict[str, Model] = {}
    for name, pipe in nlp.pipeline:
        model = getattr(pipe, "model", None)
        for node in model.walk() if isinstance(model, Model) else ():
            if any(node.has_param(p) for p in node.param_names):
                label = f"{name}: {node.name}"
                same = sum(other == label or other.startswith(f"{label} ") for other in found)
                found[f"{label} {same + 1}" if same else label] = node
    return found


def copies(node: Model) -> dict[str, Any]:
    return {name: node.get_param(name).copy() for name in node.param_names if node.has_param(name)}


def _summarise(found: Run, before: dict[str, dict[str, Any]], watched: Watched) -> None:
    nodes = layers(found.nlp)
    steps = [seen for seen in watched.seen if seen] or [{}]
    for label, node in nodes.items():
        rows = np.full((len(steps), 3), np.nan)
        for i, seen in enumerate(steps):
            parts = [seen[node.id, name] for name in node.param_names if (node.id, name) in seen]
            sizes = np.array([part[3] for part in parts], dtype=float)
            if len(parts):
                means, variances, squares = (np.array([part[k] for part in parts]) for k in range(3))
                mean = (means * sizes).sum() / sizes.sum()
                variance = ((variances + (means - mean) ** 2) * sizes).sum() / sizes.sum()
                rows[i] = mean, variance, squares.sum() ** 0.5
        start, moved, size = 0.0, 0.0, 0
        for name, old in before.get(label, {}).items():
            new = node.get_param(name)
            start += float((old.astype("float64") ** 2).sum())
            moved += float(((new.astype("float64") - old) ** 2).sum())
            size += old.size
        # Weights that start at 0 are measured against a thousandth each.
        found_change = moved**0.5 / max(start**0.5, 1e-3 * size**0.5) if size else 0.0
        found.layers[label] = Layer(rows, found_change)


def score(nlp: Language, docs: Sequence[Doc], labels: Sequence[str]) -> np.ndarray:
    """Hits, misses and false alarms of exact spans: (documents, 3)."""
    gold = [from_doc(doc) for doc in docs]
    with threadpool_limits(limits=1), np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            predicted = [from_doc(doc) for doc in nlp.pipe([doc.text for doc in docs])]
        except (ValueError, IndexError):  # weights that are no numbers
            predicted = [records.Record(text=doc.text) for doc in docs]
    return scoring.count(gold, predicted, labels).sum(axis=1)


def shuffled(docs: Sequence[Doc], seed: int) -> list[Doc]:
    """The same texts with as many spans of the same lengths, at random places and with random labels."""
    rng = np.random.default_rng(seed)
    names = [ent.label_ for doc in docs for ent in doc.ents]
    order = iter(rng.permutation(len(names)))
    found = []
    for doc in docs:
        copy = Doc(doc.vocab, [t.text for t in doc], [bool(t.whitespace_) for t in doc])
        free = np.ones(len(doc), dtype=bool)
        ents = []
        for ent in doc.ents:
            name, n = names[next(order)], len(ent)
            starts = [i for i in range(len(doc) - n + 1) if free[i : i + n].all()]
            if starts:
                start = int(rng.choice(starts))
                free[start : start + n] = False
                ents.append(Span(copy, start, start + n, label=name))
        copy.set_ents(ents, default="outside")
        found.append(copy)
    return found


@dataclass
class Reference:
    """A short training on a sample of train by `ie.training.loop`, scored on dev and test.

    Attributes:
        counts: (documents, 3) by side, of the texts `docs`.
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
    sides = {}
    for side, size in (
        ("train", thresholds.TRAIN_TEXTS),
        ("dev", thresholds.CHECK_TEXTS),
        ("test", thresholds.CHECK_TEXTS),
    ):
        docs = project.docs(side, vocab) if project[side] or side in project.bins else []
        sides[side] = [docs[i] for i in chosen(len(docs), size, project.seed)]
    steps = thresholds.REFERENCE_STEPS
    found = Reference(steps=steps, texts=len(sides["train"]))
    with tempfile.TemporaryDirectory(prefix="diagnosis-") as name:
        folder = Path(name)
        for side in ("train", "dev"):
            # without a dev any texts will do to pick a checkpoint, as nothing is scored
            corpus(sides[side] or sides["train"][:20]).to_disk(folder / f"{side}.spacy")
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                loop.train(
                    project.config,
                    train=folder / "train.spacy",
                    dev=folder / "dev.spacy",
                    output=folder,
                    overrides={
                        **project.overrides,
                        "training.max_steps": steps,
                        "training.eval_frequency": steps // 3,
                    },
                    seed=project.seed,
                )
        except UserError as error:
            if str(error) != loop.CAME_APART:
                raise
            found.failed = str(error)
            return found
        nlp = spacy.load(folder / "model-best")
        for side in ("dev", "test"):
            if sides[side]:
                found.docs[side] = sides[side]
                found.counts[side] = score(nlp, sides[side], project.labels)
    return found

"""Does `watch` name texts of another domain, and stay silent on texts of the same one?"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import spacy
from benchmarks import first_hour

from ie.core import stats
from ie.core.errors import UserError
from ie.core.files import hash_path, json_text
from ie.core.stats import Estimate
from ie.core.text import counted, text_hash
from ie.data import records
from ie.data.config import DataConfig
from ie.data.docs import docbin, pipeline_record, to_doc
from ie.data.records import Record, Span
from ie.data.scheme import Scheme
from ie.deploy.watch import drift, production, reference
from ie.deploy.watch.drift import Drift
from ie.deploy.watch.measures import Measure, Tally, measures_of, values_of, words_of
from ie.evaluation import scoring
from ie.training import loop

DEMO = "demo"
# Texts of a foreign set at most, and of one draw; a draw comes in files of `FILE` texts.
FOREIGN, DRAWN, FILE = 600, 200, 50
FIRE_LABELS = {"Company": "COMPANY", "Money": "MONEY"}


@dataclass(frozen=True)
class WatchedSet:
    """A set: texts to train on, and texts of the same domain that aren't."""

    name: str
    train: tuple[Record, ...]
    held_out: tuple[Record, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of its spans."""
        return scoring.labels_of(self.train)


def load(name: str, data: Path, reviewed: Path, config: DataConfig) -> WatchedSet:
    """Read a public set, or the demo's gold.

    Raises:
        UserError: it isn't there.
    """
    if name == DEMO:
        split = config.assign(records.read_records(reviewed), [])
        return WatchedSet(name, tuple(split.train), (*split.dev, *split.test))
    paths = {part: data / name / f"{part}.jsonl" for part in ("train", "dev", "test")}
    if not paths["train"].exists():
        raise UserError(f"{data / name}: there is no train.jsonl; set --data-sets to the folder of the sets.")
    parts = {part: first_hour.read_gold(path, config.lang) for part, path in paths.items() if path.exists()}
    train = tuple(parts.pop("train"))
    seen = {record.text for record in train}
    held_out = {record.text: record for part in parts.values() for record in part if record.text not in seen}
    return WatchedSet(name, train, tuple(held_out.values()))


class Trainer:
    """Trains pipelines and keeps their predictions, by config, data and seed, in `cache`."""

    def __init__(self, config: Path, data: DataConfig, max_steps: int, cache: Path) -> None:
        self.config, self.data, self.max_steps, self.cache = config, data, max_steps, cache

    def predict(
        self, train: Sequence[Record], dev: Sequence[Record], texts: Sequence[str], seed: int = 0
    ) -> list[Record]:
        """What a pipeline that is trained on some texts finds in others."""
        nlp = self.data.blank()
        with tempfile.TemporaryDirectory(prefix="watch-") as temporary:
            folder = Path(temporary)
            paths = {"train": folder / "train.spacy", "dev": folder / "dev.spacy"}
            for part, of_part in (("train", train), ("dev", dev)):
                plain = [Record(text=record.text, spans=record.spans) for record in of_part]
                paths[part].write_bytes(docbin(to_doc(record, nlp) for record in plain).to_bytes())
            parts = [hash_path(self.config), self.max_steps, seed, list(texts)]
            parts += [hash_path(path) for path in paths.values()]
            key = text_hash(json_text(parts))
            kept = self.cache / f"{key}.jsonl"
            if not kept.exists():
                overrides = loop.overrides(self.data.lang, self.max_steps)
                output = folder / "output"
                loop.train(self.config, output=output, overrides=overrides, seed=seed, **paths)
                trained = spacy.load(output / "model-best")
                records.write_records(kept, [pipeline_record(doc) for doc in trained.pipe(texts)])
        return records.read_unchecked(kept)


@dataclass(frozen=True)
class Draws:
    """What `watch` said about draws of texts.

    Attributes:
        pipeline, texts: names of the sets it was trained on, and that the texts are from.
        percent: of the texts that are from there; the others are of the pipeline's own set.
        alarms: number of draws with an alarm. first: texts until the first alarm, of each draw with one.
        named: the measure that differs most, in each draw with an alarm.
    """

    pipeline: str
    texts: str
    percent: int
    draws: int
    alarms: int
    first: tuple[int, ...]
    named: tuple[str, ...]


Values = dict[str, float]


def tally_of(measures: tuple[Measure, ...], values: Sequence[Values]) -> Tally:
    """The tally of some texts."""
    tally = Tally(measures)
    for of_text in values:
        tally.add(of_text)
    return tally


def watch(known: Tally, values: Sequence[Values]) -> Drift:
    """Compare texts, in files of `FILE`, with a reference."""
    starts = range(0, len(values), FILE)
    files = {f"{start:05}": tally_of(known.measures, values[start : start + FILE]) for start in starts}
    return drift.compare(known, files)


class Drawer:
    """Draws texts for a pipeline.

    The held-out texts are divided by chance in each draw: one half is the reference, texts of the same domain
    come from the other half.
    """

    def __init__(self, one: WatchedSet, predicted: Sequence[Record]) -> None:
        """Args:
        predicted: what the pipeline finds in the held-out texts.
        """
        self.name, self._rng = one.name, np.random.default_rng(0)
        self._words = frozenset(word for record in one.train for word in words_of(record.text))
        self._measures = measures_of(scoring.labels_of(predicted, one.labels), [], confidence=False)
        self._own = [values_of(record, self._words) for record in predicted]

    def same(self, draws: int) -> Draws:
        """Draws of the same domain."""
        return self._draws(self.name, self._own, 0, draws)

    def others(self, name: str, texts: Sequence[Record], percents: Sequence[int], draws: int) -> list[Draws]:
        """Draws with some percent of texts of another set, by what the pipeline finds in these."""
        values = [values_of(record, self._words) for record in texts]
        return [self._draws(name, values, percent, draws) for percent in percents]

    def _draws(self, name: str, foreign: Sequence[Values], percent: int, draws: int) -> Draws:
        alarmed, half, rng = [], len(self._own) // 2, self._rng
        for _ in range(draws):
            order = rng.permutation(len(self._own))
            known = tally_of(self._measures, [self._own[i] for i in order[:half]])
            n = DRAWN * percent // 100
            drawn = [foreign[i] for i in rng.permutation(len(foreign))[:n]]
            drawn += [self._own[i] for i in order[half : half + DRAWN - n]]
            result = watch(known, [drawn[i] for i in rng.permutation(len(drawn))])
            alarmed += [result] if result.drifted else []
        first = [
            FILE * (1 + min((i for i, look in enumerate(r.looks) if look.alarms), default=len(r.looks) - 1))
            for r in alarmed
        ]
        named = [drift.differing([*r.looks, r.total])[0].measure.name for r in alarmed if r.total]
        return Draws(self.name, name, percent, draws, len(alarmed), tuple(first), tuple(named))


@dataclass(frozen=True)
class CorrectionLoop:
    """Ship, watch, correct, train again: a pipeline for the demo meets texts that it wasn't made for.

    Attributes:
        name: of the writer or set whose texts come after shipping.
        drift: what `watch` says about them.
        score: F on a reviewed random sample of them, beside the one on test.
        before, after: counts (documents, 3) on the new texts that aren't in the sample.
    """

    name: str
    drift: Drift
    score: production.ProductionScore
    before: np.ndarray
    after: np.ndarray

    def gain(self) -> Estimate:
        """F after training with the corrected texts minus F before."""
        return stats.difference(self.after, self.before)


Parts = dict[str, list[Record]]


def of_writer(writer: str, reviewed: Path, config: DataConfig) -> tuple[Parts, list[Record]]:
    """The demo without one of its writers, and the texts of that writer."""
    split = config.assign(records.read_records(reviewed), [])
    parts = {"train": split.train, "dev": split.dev, "test": split.test}
    theirs = [r for part in parts.values() for r in part if r.meta.get("writer") == writer]
    return {name: [r for r in part if r.meta.get("writer") != writer] for name, part in parts.items()}, theirs


def of_fire(data: Path, reviewed: Path, config: DataConfig) -> tuple[Parts, list[Record]]:
    """The demo, and business news of another kind: FIRE, with its labels for companies and money."""
    parts, _ = of_writer("", reviewed, config)
    texts = [
        Record(
            text=record.text,
            spans=[
                Span(start=span.start, end=span.end, label=FIRE_LABELS[span.label])
                for span in record.spans
                if span.label in FIRE_LABELS
            ],
        )
        for record in load("fire", data, reviewed, config).held_out
    ]
    return parts, texts[:FOREIGN]


def loop_of(
    name: str, parts: Parts, theirs: Sequence[Record], trainer: Trainer, corrected: int
) -> CorrectionLoop:
    """Train on the parts, meet new texts, and train again with some of them.

    Args:
        corrected: size of the random sample of the new texts that is corrected, from gold.
    """
    if len(theirs) <= corrected:
        raise UserError(f"{name!r} has {counted(len(theirs), 'text')}, too few to correct {corrected}.")
    order = np.random.default_rng(0).permutation(len(theirs))
    theirs = [theirs[i] for i in order]
    measured = [*parts["dev"], *parts["test"], *theirs]
    shipped = trainer.predict(parts["train"], parts["dev"], [record.text for record in measured])
    scheme = Scheme(span_labels=scoring.labels_of(parts["train"]))
    ends = np.cumsum([len(parts["dev"]), len(parts["test"])])
    dev, test, new = shipped[: ends[0]], shipped[ends[0] : ends[1]], shipped[ends[1] :]
    gold = {"dev": parts["dev"], "test": parts["test"]}
    known = reference.make("", parts["train"], gold, {"dev": dev, "test": test}, scheme)
    sample, rest = theirs[:corrected], theirs[corrected:]
    score = production.score(new[:corrected], sample, known, scheme)
    again = trainer.predict([*parts["train"], *sample], parts["dev"], [record.text for record in rest])
    before, after = (
        scoring.count(rest, found, known.labels).sum(axis=1) for found in (new[corrected:], again)
    )
    assert score is not None
    values = [values_of(record, known.words) for record in new]
    return CorrectionLoop(name, watch(known.tally, values), score, before, after)

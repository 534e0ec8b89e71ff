"""Does `watch` name texts of another domain, and stay silent on texts of the same one?"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import spacy
from benchmarks import first_hour

from ie.core import stats
from ie.core.errors import UserError
from ie.core.files import hash_path, json_text
from ie.core.stats import Estimate
from ie.data import records
from ie.data.config import DataConfig
from ie.data.docs import docbin, pipeline_record, to_doc
from ie.data.records import Record
from ie.data.scheme import Scheme
from ie.deploy.watch import drift, production, reference
from ie.deploy.watch.drift import Drift
from ie.deploy.watch.measures import Measure, Tally, measures_of, values_of, words_of
from ie.evaluation import scoring
from ie.training import loop

DEMO = "demo"
# Texts of a foreign set at most, and of one draw; a draw comes in files of `FILE` texts.
FOREIGN, DRAWN, FILE = 600, 200, 50


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
            key = reference.text_hash(json_text(parts))
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
        alarms: number of draws with an alarm. first: texts until the first alarm, of each draw with one.
        named: the measure that differs most, in each draw with an alarm.
    """

    pipeline: str
    texts: str
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


def draw(
    one: WatchedSet,
    predicted: Sequence[Record],
    foreign: Mapping[str, Sequence[Record]],
    same: int,
    other: int,
) -> list[Draws]:
    """Draws of the same domain, and of each other set.

    The held-out texts are divided by chance in each draw: one half is the reference, texts of the same domain
    are drawn from the other half.

    Args:
        predicted: what the pipeline finds in the held-out texts. foreign: in texts of other sets, by name.
        same, other: number of draws.
    """
    rng, half = np.random.default_rng(0), len(predicted) // 2
    words = frozenset(word for record in one.train for word in words_of(record.text))
    measures = measures_of(scoring.labels_of(predicted, one.labels), [], confidence=False)
    own = [values_of(record, words) for record in predicted]
    others = {name: [values_of(record, words) for record in texts] for name, texts in foreign.items()}
    rows = []
    for name, texts in {one.name: own, **others}.items():
        alarmed = []
        draws = same if name == one.name else other
        for _ in range(draws):
            order = rng.permutation(len(own))
            known = tally_of(measures, [own[i] for i in order[:half]])
            drawn = order[half:] if name == one.name else rng.permutation(len(texts))
            result = watch(known, [texts[i] for i in drawn[:DRAWN]])
            alarmed += [result] if result.drifted else []
        first = [
            FILE * (1 + min((i for i, look in enumerate(r.looks) if look.alarms), default=len(r.looks) - 1))
            for r in alarmed
        ]
        named = [drift.differing([*r.looks, r.total])[0].measure.name for r in alarmed if r.total]
        rows.append(Draws(one.name, name, draws, len(alarmed), tuple(first), tuple(named)))
    return rows


@dataclass(frozen=True)
class WriterLoop:
    """Ship, watch, correct, train again, where all texts of one writer come after shipping.

    Attributes:
        drift: what `watch` says about the writer's texts.
        score: F on a reviewed random sample of them, beside the one on the other writers' test texts.
        before, after: counts (documents, 3) on the writer's other texts.
    """

    writer: str
    drift: Drift
    score: production.ProductionScore
    before: np.ndarray
    after: np.ndarray

    def gain(self) -> Estimate:
        """F after training with the corrected texts minus F before."""
        return stats.difference(self.after, self.before)


def loop_of(writer: str, trainer: Trainer, reviewed: Path, corrected: int) -> WriterLoop:
    """Hold out a writer of the demo.

    Args:
        corrected: size of the random sample that is corrected, from gold.
    """
    split = trainer.data.assign(records.read_records(reviewed), [])
    parts = {"train": split.train, "dev": split.dev, "test": split.test}
    theirs = [r for part in parts.values() for r in part if r.meta.get("writer") == writer]
    if len(theirs) <= corrected:
        raise UserError(
            f"{reviewed}: writer {writer!r} has {len(theirs)} texts, too few to correct {corrected}."
        )
    others = {name: [r for r in part if r.meta.get("writer") != writer] for name, part in parts.items()}
    order = np.random.default_rng(0).permutation(len(theirs))
    theirs = [theirs[i] for i in order]
    measured = [*others["dev"], *others["test"], *theirs]
    texts = [record.text for record in measured]
    shipped = trainer.predict(others["train"], others["dev"], texts)
    scheme = Scheme(span_labels=scoring.labels_of(others["train"]))
    ends = np.cumsum([len(others["dev"]), len(others["test"])])
    dev, test, new = shipped[: ends[0]], shipped[ends[0] : ends[1]], shipped[ends[1] :]
    gold = {"dev": others["dev"], "test": others["test"]}
    known = reference.make("", others["train"], gold, {"dev": dev, "test": test}, scheme)
    sample, rest = theirs[:corrected], theirs[corrected:]
    score = production.score(new[:corrected], sample, known, scheme)
    again = trainer.predict([*others["train"], *sample], others["dev"], [record.text for record in rest])
    before, after = (
        scoring.count(rest, found, known.labels).sum(axis=1) for found in (new[corrected:], again)
    )
    assert score is not None
    values = [values_of(record, known.words) for record in new]
    return WriterLoop(writer, watch(known.tally, values), score, before, after)

"""Anonymous counters of a service: what `watch` compares, counted by day, and not a word of any text.

For each day they hold how many texts had which value of each measure. Values of different measures aren't
kept together, so no text can be told from the counts. Unknown words are a share per text; which ones isn't
kept.

Each run of the service has a file of its own, which it replaces at an interval and when it ends. So several
services never wait for each other, and a killed one loses the last interval alone. `watch` adds up the files.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from ie.core.errors import UserError
from ie.core.files import write_json
from ie.core.text import text_hash
from ie.data import records
from ie.data.records import Record
from ie.deploy.watch.applied import DAY
from ie.deploy.watch.measures import Measure, Tally, measures_of, values_of, words_of

VERSION = 1
PATTERN = "served-*.json"
PARTS = ("train", "dev", "test")
# Measures that are numbers. Of those that are true or false, it is kept how many texts they are true of.
AMOUNTS = tuple(m for m in measures_of(["any"], [], confidence=True) if m.kind == "amount")
AMOUNT_NAMES = frozenset(measure.name for measure in AMOUNTS)


@dataclass(frozen=True)
class KnownTexts:
    """What a service must know of the corpus: the words of train, and hashes of all texts of the split."""

    words: frozenset[str]
    texts: frozenset[str]

    @classmethod
    def read(cls, corpus: Path) -> "KnownTexts":
        """Of what `split` wrote.

        Raises:
            UserError: there is no training data.
        """
        if not (corpus / "train.jsonl").exists():
            raise UserError(f"{corpus / 'train.jsonl'}: there is no such file; run `weasel run split`.")
        paths = [path for part in PARTS if (path := corpus / f"{part}.jsonl").exists()]
        read = {path.stem: records.accepted(records.read_records(path, allow_empty=True)) for path in paths}
        return cls(
            frozenset(word for record in read["train"] for word in words_of(record.text)),
            frozenset(text_hash(record.text) for part in read.values() for record in part),
        )

    def values(self, record: Record) -> dict[str, float] | None:
        """The measures of an annotated text; None for one of train, dev or test."""
        return None if text_hash(record.text) in self.texts else values_of(record, self.words)


@dataclass
class DayCounts:
    """The counts of a day.

    Attributes:
        amounts: of the measures that are numbers.
        shares: by label, category and other such measures, the number of texts that it is true of.
    """

    amounts: Tally = field(default_factory=lambda: Tally(AMOUNTS))
    shares: Counter[str] = field(default_factory=Counter)

    def add(self, values: Mapping[str, float]) -> None:
        """Count a text."""
        self.amounts.add(values)
        self.shares.update(name for name, value in values.items() if value and name not in AMOUNT_NAMES)

    def __add__(self, other: "DayCounts") -> "DayCounts":
        return DayCounts(self.amounts + other.amounts, self.shares + other.shares)

    def tally(self, measures: Sequence[Measure]) -> Tally:
        """As `watch` compares it."""
        tally = Tally(tuple(measures), self.amounts.texts)
        for measure in measures:
            if measure.kind == "share":
                true = self.shares[measure.name]
                tally.bins[measure.name][:] = (self.amounts.texts - true, true)
                tally.sums[measure.name][:] = true
            else:
                tally.bins[measure.name] += self.amounts.bins[measure.name]
                tally.sums[measure.name] += self.amounts.sums[measure.name]
        return tally

    def to_json(self) -> dict[str, Any]:
        """For a file; `from_json` reads it."""
        return {**self.amounts.to_json(), "shares": dict(sorted(self.shares.items()))}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "DayCounts":
        """The counts that `to_json` wrote; a KeyError, TypeError or ValueError if they are damaged."""
        tally = Tally.from_json(content, AMOUNTS)
        shares = Counter({str(name): int(n) for name, n in content["shares"].items()})
        counted = [int(n) for bins in tally.bins.values() for n in bins]
        if min([*shares.values(), *counted], default=0) < 0 or max(shares.values(), default=0) > tally.texts:
            raise ValueError("no counts")
        return cls(tally, shares)


class ServedCounters:
    """The counters of one run of a service.

    Args:
        folder: for its file. model: hash of the pipeline.
    """

    def __init__(self, folder: Path, model: str) -> None:
        self.model = model
        self.path = folder / f"served-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:8]}.json"
        self.days: dict[str, DayCounts] = {}
        self._written = 0

    def add(self, texts: Iterable[Mapping[str, float] | None]) -> None:
        """Count texts by their measures; None counts for nothing."""
        day = f"{datetime.now(UTC):%Y-%m-%d}"
        for values in texts:
            if values is not None:
                self.days.setdefault(day, DayCounts()).add(values)

    def write(self) -> None:
        """Replace the file, if there is anything new.

        Raises:
            UserError: it can't be written.
        """
        texts = sum(day.amounts.texts for day in self.days.values())
        if texts > self._written:
            days = {day: counts.to_json() for day, counts in self.days.items()}
            write_json(self.path, {"version": VERSION, "model": self.model, "days": days}, indent=None)
            self._written = texts


def is_folder(path: Path) -> bool:
    """Whether a folder has the counters of a service in it."""
    return any(path.glob(PATTERN))


def read(folder: Path, model: Path, key: str, measures: Sequence[Measure]) -> tuple[dict[str, Tally], int]:
    """The tallies by day, of all runs of a service, and how many files are of other pipelines.

    Args:
        model: the pipeline. key: its hash.

    Raises:
        UserError: a file is damaged, or all are of other pipelines.
    """
    days: dict[str, DayCounts] = {}
    paths = sorted(folder.glob(PATTERN))
    others = 0
    for path in paths:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["version"] != VERSION:
                raise UserError(f"{path}: was counted by another version of `serve`; move it away.")
            if content["model"] != key:
                others += 1
                continue
            for day, counts in content["days"].items():
                if not DAY.fullmatch(day):
                    raise ValueError("no day")
                days[day] = days.get(day, DayCounts()) + DayCounts.from_json(counts)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise UserError(f"{path}: isn't what `serve` writes; move it away.") from None
    if paths and others == len(paths):
        raise UserError(
            f"{folder}: was counted with other pipelines, or other versions of it, than {model}; name the "
            "one that is served (--vars.apply_pipeline, or --model for an installed package)."
        )
    tallies = {day: counts.tally(measures) for day, counts in sorted(days.items()) if counts.amounts.texts}
    return tallies, others

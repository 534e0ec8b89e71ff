"""The reference: predictions of the pipeline on dev and test, texts of its domain that it wasn't trained on.

Its score was measured on these, so texts like them should score alike. Training texts would be no reference:
a pipeline knows their words and names. The reference is kept beside the training, with the words of the
training texts, and made again when the pipeline changes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ie.core.errors import UserError
from ie.core.files import write_json
from ie.core.text import counted, text_hash
from ie.data import records
from ie.data.docs import pipeline_record
from ie.data.records import Record
from ie.data.scheme import Scheme
from ie.deploy.watch.drift import MINIMUM
from ie.deploy.watch.measures import Tally, confidences, measures_of, values_of, words_of
from ie.evaluation import scoring
from ie.training import assembly

# Changes whenever a stored reference can't be used any more.
VERSION = 1


@dataclass(frozen=True)
class Reference:
    """What applied texts are compared with.

    Attributes:
        model: hash of the pipeline.
        tally: of its predictions on dev and test.
        words: of the training texts.
        known: `text_hash` of each text of train, dev and test.
        labels: those that are scored. counts: (test documents, labels, 3) of the pipeline on test.
    """

    model: str
    tally: Tally
    words: frozenset[str]
    known: frozenset[str]
    labels: tuple[str, ...]
    counts: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """For a file; `from_json` reads it."""
        names = [measure.name for measure in self.tally.measures]
        kinds = {
            kind: [name.removeprefix(f"{kind} ") for name in names if name.startswith(f"{kind} ")]
            for kind in ("label", "category")
        }
        return {
            "version": VERSION,
            "model": self.model,
            "labels": kinds["label"],
            "categories": kinds["category"],
            "confidence": "confidence" in names,
            "tally": self.tally.to_json(),
            "scored": list(self.labels),
            "counts": self.counts.reshape(len(self.counts), -1).tolist(),
            "known": sorted(self.known),
            "words": sorted(self.words),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Reference":
        """The reference that `to_json` wrote; a KeyError, TypeError or ValueError for another version's."""
        if content["version"] != VERSION:
            raise ValueError("another version")
        measures = measures_of(content["labels"], content["categories"], confidence=content["confidence"])
        labels = tuple(content["scored"])
        return cls(
            model=content["model"],
            tally=Tally.from_json(content["tally"], measures),
            words=frozenset(content["words"]),
            known=frozenset(content["known"]),
            labels=labels,
            counts=np.array(content["counts"], dtype=np.int64).reshape(-1, len(labels), 3),
        )


def make(
    model: str,
    train: Sequence[Record],
    gold: dict[str, Sequence[Record]],
    predicted: dict[str, Sequence[Record]],
    scheme: Scheme,
) -> Reference:
    """The reference of a pipeline.

    Args:
        model: its hash.
        gold, predicted: the texts of "dev" and "test", as annotated by people and by the pipeline.
    """
    answers = [record for part in predicted.values() for record in part]
    words = frozenset(word for record in train for word in words_of(record.text))
    labels = scoring.labels_of(answers, scheme.span_labels)
    categories = sorted({name for record in answers for name in record.cats})
    sure = any(confidences(record) for record in answers)
    tally = Tally(measures_of(labels, categories, confidence=sure))
    for record in answers:
        tally.add(values_of(record, words))
    right, answered = (scoring.view(part["test"], scheme.scored) for part in (gold, predicted))
    scored = scoring.labels_of([*right, *answered], scheme.scored_labels)
    known = {text_hash(record.text) for part in (train, *gold.values()) for record in part}
    return Reference(model, tally, words, frozenset(known), scored, scoring.count(right, answered, scored))


def read_or_make(path: Path, model: Path, key: str, corpus: Path, scheme: Scheme) -> Reference:
    """The stored reference of a pipeline; made and stored if it is of another pipeline, or isn't there.

    Args:
        key: hash of the pipeline `model`.
        corpus: folder of what `split` writes.

    Raises:
        UserError: dev and test are missing, or too small.
    """
    try:
        reference = Reference.from_json(json.loads(path.read_text(encoding="utf-8")))
        if reference.model == key:
            return reference
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # missing or damaged: making it again puts it right
    gold = {part: _read(corpus / f"{part}.jsonl") for part in ("dev", "test")}
    n = sum(map(len, gold.values()))
    if n < MINIMUM:
        raise UserError(
            f"{corpus}: dev and test have {counted(n, 'text')}, too few to compare with; review more "
            f"texts until these have {MINIMUM}, then run `weasel run split`."
        )
    nlp = assembly.load(model, "train")
    predicted = {
        part: [pipeline_record(doc) for doc in nlp.pipe(record.text for record in texts)]
        for part, texts in gold.items()
    }
    reference = make(key, _read(corpus / "train.jsonl"), gold, predicted, scheme)
    write_json(path, reference.to_json(), indent=None)
    return reference


def _read(path: Path) -> list[Record]:
    if not path.exists():
        raise UserError(
            f"{path}: there is no such file, so there is nothing to compare with; run `weasel run split`."
        )
    return records.accepted(records.read_records(path, allow_empty=True))

"""A linear-chain conditional random field as a baseline: what a trained pipeline is worth its effort against.

It has the features of `components.crf`, but neither its dictionary nor its weights for texts of one case.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pycrfsuite

from components.crf import own_features, to_tags
from ie.core.files import json_text, write_files
from ie.data.records import Record, Span
from ie.evaluation.baselines import token_spans

# L1 and L2 regularisation, and iterations of L-BFGS: tied for the best on the dev parts of three data sets.
SETTINGS = {"c1": 0.1, "c2": 0.1, "max_iterations": 100, "feature.possible_transitions": True}
# Part of the key of a cached model: raise it when features change.
VERSION = 2


class Crf:
    """A trained model, which marks spans in texts.

    Args:
        tokenize: from a text to tokens of spaCy.
        model: file that `train` wrote.
    """

    def __init__(self, tokenize: Callable[[str], Sequence[Any]], model: Path) -> None:
        self.tokenize = tokenize
        self._tagger = pycrfsuite.Tagger()
        self._tagger.open(str(model))

    def __call__(self, texts: Sequence[str]) -> list[Record]:
        return [self._mark(text) for text in texts]

    def _mark(self, text: str) -> Record:
        doc = self.tokenize(text)
        tags = self._tagger.tag(features(doc)) if len(doc) else []
        spans = [
            Span(start=doc[start].idx, end=doc[end - 1].idx + len(doc[end - 1]), label=label)
            for start, end, label in from_tags(tags)
        ]
        return Record(text=text, spans=spans)


def load_or_train(train: Sequence[Record], tokenize: Callable[[str], Sequence[Any]], cache: Path) -> Path:
    """The file of the model trained on these records; one that is in the cache is not trained again."""
    content = [[r.text, sorted([s.start, s.end, s.label] for s in r.spans)] for r in train]
    tokens = [[token.text for token in tokenize(record.text)] for record in train]
    key = hashlib.sha256(json_text([VERSION, SETTINGS, content, tokens]).encode()).hexdigest()
    path = cache / f"{key}.crfsuite"
    if not path.exists():
        write_files(cache, {path.name: train_model(train, tokenize)})
    return path


def train_model(
    train: Sequence[Record],
    tokenize: Callable[[str], Sequence[Any]],
    settings: Mapping[str, float] = SETTINGS,
) -> bytes:
    """The content of CRFsuite's file of a model; the same bytes for the same records in the same order."""
    trainer = pycrfsuite.Trainer(algorithm="lbfgs", params=dict(settings), verbose=False)
    for record in train:
        doc = tokenize(record.text)
        if len(doc):
            trainer.append(features(doc), to_tags(len(doc), sorted(token_spans(record, tokenize))))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        trainer.train(str(path))
        return path.read_bytes()


def features(doc: Sequence[Any]) -> list[list[str]]:
    """The features of each token."""
    return own_features([(token.text, token.shape_) for token in doc])


def from_tags(tags: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """(first token, last token + 1, label) of the spans that are complete; incomplete ones are left out."""
    start, current = -1, ""
    for i, tag in enumerate(tags):
        position, _, label = tag.partition("-")
        if position in ("B", "U"):
            start, current = i, label
        if position in ("L", "U") and label == current and start >= 0:
            yield start, i + 1, label
        if position in ("L", "U", "O") or label != current:
            start, current = -1, ""

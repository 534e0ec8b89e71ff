"""A linear-chain conditional random field as a baseline: what a trained pipeline is worth its effort against.

Lafferty et al. (2001), with the usual features of named entity recognition: words, affixes and shapes of a
token and of its neighbours. Labels of tokens are BILOU tags.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pycrfsuite

from ie.core.files import json_text, write_files
from ie.data.records import Record, Span
from ie.evaluation.baselines import token_spans

# Neighbours on each side whose features a token has.
WINDOW = 2
AFFIXES = range(1, 5)
# L1 and L2 regularisation, and iterations of L-BFGS: tied for the best on the dev parts of three data sets.
SETTINGS = {"c1": 0.1, "c2": 0.1, "max_iterations": 100, "feature.possible_transitions": True}
# Part of the key of a cached model: raise it when features change.
VERSION = 1


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
    """The features of each token: its own, and the main ones of its neighbours."""
    words, shapes = [token.lower_ for token in doc], [token.shape_ for token in doc]
    rows = []
    for i, token in enumerate(doc):
        row = ["bias", f"text={token.text}"]
        row += [f"prefix={words[i][:n]}" for n in AFFIXES] + [f"suffix={words[i][-n:]}" for n in AFFIXES]
        for at in range(i - WINDOW, i + WINDOW + 1):
            if 0 <= at < len(words):
                row += [f"{at - i}:word={words[at]}", f"{at - i}:shape={shapes[at]}"]
                row.append(f"{at - i}:suffix={words[at][-3:]}")
            else:
                row.append(f"{at - i}:outside")
        if i:
            row.append(f"-1|0={words[i - 1]}|{words[i]}")
        if i + 1 < len(words):
            row.append(f"0|1={words[i]}|{words[i + 1]}")
        rows.append(row)
    return rows


def to_tags(n: int, spans: Sequence[tuple[int, int, str]]) -> list[str]:
    """BILOU tags of n tokens; of spans that overlap, the first."""
    tags = ["O"] * n
    for start, end, label in spans:
        if any(tag != "O" for tag in tags[start:end]):
            continue
        middle = [f"I-{label}"] * (end - start - 2)
        tags[start:end] = [f"U-{label}"] if end - start == 1 else [f"B-{label}", *middle, f"L-{label}"]
    return tags


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

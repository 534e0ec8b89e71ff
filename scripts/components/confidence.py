"""How sure the pipeline is of each entity: the probability that its span and its label are both right.

The component doesn't look into the entity recogniser, so it works behind any: a second, small model that was
trained on the same texts (linear, of words and shapes around each token) says what it thinks of the span, its
ends, its label and its neighbours. Another feature is how often the string was annotated in training. A
logistic regression turns these into a probability. It is calibrated on texts that neither model was trained
on, so `ie.training.confidence_training` fits it; the shipped component only needs numpy.

A label that calibration has too few answers for gets no probability: `span._.confidence` is None then, and
`SpanConfidence.reasons` says why.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import srsly
from spacy.attrs import IS_TITLE, IS_UPPER, LIKE_NUM, LOWER, PREFIX, SHAPE, SUFFIX
from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.strings import hash_string
from spacy.tokens import Doc, Span
from spacy.util import from_bytes, from_disk, minibatch, to_bytes, to_disk
from spacy.vocab import Vocab

REQUIREMENTS: tuple[str, ...] = ()
# Attributes of tokens that the token model sees hashed, then those that features count.
HASHED = (LOWER, PREFIX, SUFFIX, SHAPE)
COUNTED = (IS_TITLE, IS_UPPER, LIKE_NUM)
WINDOW = 2  # tokens to either side that the token model sees
PAD = WINDOW + 1  # empty rows between texts
# Columns of the token model after those of the labels: whether a span starts at a token, or ends there.
START, END = -2, -1
OUTSIDE = -8.0  # score of what is beyond the text, or isn't there
DIGITS = 4  # of a probability: further ones depend on the machine
SURE = 1e-4  # no probability is closer to 0 or 1
FEATURES = (
    "starts", "ends", "inside, least sure", "inside, mean", "another label", "goes on to the left",
    "goes on to the right", "another starts to the right", "another ends to the left",
    "another starts inside", "another ends inside", "annotated so", "times annotated so",
    "times annotated otherwise", "times not annotated", "tokens", "capitalised", "number",
    "first in the text", "tokens of the text",
)  # fmt: skip

if not Span.has_extension("confidence"):
    Span.set_extension("confidence", default=None)


class SpanConfidence(Pipe):
    """Sets `span._.confidence` of each entity; None for those of labels that weren't calibrated.

    Attributes:
        cfg: `labels`, in the order of the columns, and `reasons`.
        arrays: what was learned (see `ie.training.confidence_training`).
    """

    def __init__(self, vocab: Vocab, name: str) -> None:
        self.vocab = vocab
        self.name = name
        self.cfg: dict[str, Any] = {"labels": [], "reasons": {}}
        self.set_model([], {}, no_arrays())

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that have a probability."""
        return tuple(label for label in self.cfg["labels"] if label not in self.reasons)

    @property
    def reasons(self) -> dict[str, str]:
        """Why a label has no probability."""
        return self.cfg["reasons"]

    def set_model(
        self, labels: Sequence[str], reasons: dict[str, str], arrays: dict[str, np.ndarray]
    ) -> None:
        """Replace what was learned."""
        self.cfg.update(labels=list(labels), reasons=dict(reasons))
        self.arrays = arrays
        self._index = {label: i for i, label in enumerate(labels)}
        self._strings = {int(key): i for i, key in enumerate(arrays["strings"])}
        # One set of bits per column of the hashed table.
        self._shift = np.uint64(64 - int(np.log2(len(arrays["tokens"]))))

    def __call__(self, doc: Doc) -> Doc:
        self.set_confidence([doc])
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 256) -> Iterator[Doc]:
        """Set the confidence of all texts of a batch at once, which is many times faster."""
        for docs in minibatch(stream, batch_size):
            self.set_confidence(docs)
            yield from docs

    def set_confidence(self, docs: Sequence[Doc]) -> None:
        """Set `span._.confidence` of the entities of some texts."""
        known = set(self.labels)
        spans = [[ent for ent in doc.ents if ent.label_ in known] for doc in docs]
        features, labels = self.features(docs, spans)
        if not len(labels):
            return
        flat = (span for of_text in spans for span in of_text)
        for span, p in zip(flat, probabilities(self.arrays, features, labels), strict=True):
            span._.confidence = float(p)

    def features(self, docs: Sequence[Doc], spans: Sequence[Sequence[Span]]) -> tuple[np.ndarray, np.ndarray]:
        """FEATURES of the spans of each text, a row each, and the index of each one's label."""
        flat = [span for of_text in spans for span in of_text]
        if not flat:
            return np.zeros((0, len(FEATURES))), np.zeros(0, "int64")
        tokens, offsets = token_table(docs)
        shifts = np.repeat(offsets, [len(of_text) for of_text in spans])
        starts = np.array([span.start for span in flat]) + shifts
        ends = np.array([span.end for span in flat]) + shifts
        labels = np.array([self._index[span.label_] for span in flat])
        lengths = ends - starts
        # All tokens of all spans, one after another: `first` is the place of each span's first one.
        first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        inner = np.arange(lengths.sum()) + np.repeat(starts - first, lengths)
        edges = np.concatenate([starts - 1, ends])
        scores = self.token_scores(tokens, np.concatenate([inner, edges]))
        inside, left, right = np.split(scores, [len(inner), len(inner) + len(flat)])
        left[tokens[starts - 1, 0] == 0] = right[tokens[ends, 0] == 0] = OUTSIDE
        last = first + lengths - 1
        ahead, behind = inside[:, START].copy(), inside[:, END].copy()
        ahead[first] = behind[last] = OUTSIDE
        places = np.arange(len(inner)), np.repeat(labels, lengths)
        own = inside[places]
        others = inside[:, :START].copy()
        others[places] = OUTSIDE
        seen, otherwise, unmarked = self._times_seen(flat, labels).T
        counted = tokens[inner, len(HASHED) :]
        columns = (
            inside[first, START],
            inside[last, END],
            np.minimum.reduceat(own, first),
            np.add.reduceat(own, first) / lengths,
            np.maximum.reduceat(others.max(axis=1), first),
            left[:, :START].max(axis=1),
            right[:, :START].max(axis=1),
            right[:, START],
            left[:, END],
            np.maximum.reduceat(ahead, first),
            np.maximum.reduceat(behind, first),
            seen > 0,
            np.log1p(seen),
            np.log1p(otherwise),
            np.log1p(unmarked),
            np.log(lengths),
            np.add.reduceat((counted[:, 0] | counted[:, 1]).astype("float64"), first) / lengths,
            np.maximum.reduceat(counted[:, 2], first),
            tokens[starts - 1, 0] == 0,
            np.log([len(span.doc) for span in flat]),
        )
        return np.stack([np.asarray(column, "float64") for column in columns], axis=1), labels

    def token_scores(self, tokens: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Scores (log-odds) of the token model: a row per place, a column per label, START and END."""
        rows = token_columns(tokens, places, self._shift)
        # Sums of float64: their order doesn't show in the digits that are kept.
        return self.arrays["tokens"][rows].sum(axis=1, dtype="float64") + self.arrays["token_bias"]

    def _times_seen(self, spans: Sequence[Span], labels: np.ndarray) -> np.ndarray:
        """How often each string was annotated with this label in training, with another, and not at all."""
        rows = np.array([self._strings.get(string_key(span), -1) for span in spans])
        counts = self.arrays["counts"][rows].astype("float64") if len(self._strings) else 0.0
        counts = np.where(rows[:, None] >= 0, counts, 0.0)
        own = counts[np.arange(len(rows)), labels]
        return np.stack([own, counts[:, :-1].sum(axis=1) - own, counts[:, -1]], axis=1)

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Labels and what was learned."""
        return to_bytes({"cfg": lambda: srsly.json_dumps(self.cfg).encode(), "arrays": self._packed}, exclude)

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> "SpanConfidence":
        """Labels and what was learned, as `to_bytes` gave them."""
        setters = {"cfg": lambda b: self.cfg.update(srsly.json_loads(b)), "arrays": self._unpack}
        from_bytes(data, setters, exclude)
        return self

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Labels and what was learned, in a folder."""
        parts: dict[str, Callable[[Path], Any]] = {
            "cfg": lambda p: srsly.write_json(p.with_suffix(".json"), self.cfg),
            "arrays": lambda p: p.with_suffix(".msgpack").write_bytes(self._packed()),
        }
        to_disk(Path(path), parts, exclude)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "SpanConfidence":
        """Labels and what was learned, as `to_disk` wrote them."""
        parts: dict[str, Callable[[Path], Any]] = {
            "cfg": lambda p: self.cfg.update(srsly.read_json(p.with_suffix(".json"))),
            "arrays": lambda p: self._unpack(p.with_suffix(".msgpack").read_bytes()),
        }
        from_disk(Path(path), parts, exclude)
        return self

    def _packed(self) -> bytes:
        return srsly.msgpack_dumps(self.arrays)

    def _unpack(self, data: bytes) -> None:
        self.set_model(self.cfg["labels"], self.cfg["reasons"], srsly.msgpack_loads(data))


def probabilities(arrays: dict[str, np.ndarray], features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The probability that each span is right, from a row of FEATURES and the index of its label."""
    z = features @ arrays["weights"] + arrays["bias"][labels]
    return (1 / (1 + np.exp(-z))).clip(SURE, 1 - SURE).round(DIGITS)


def token_table(docs: Sequence[Doc]) -> tuple[np.ndarray, np.ndarray]:
    """The attributes of all tokens, with empty rows around each text, and the place of each first token."""
    pad = np.zeros((PAD, len(HASHED) + len(COUNTED)), "uint64")
    blocks, offsets, place = [pad], [], PAD
    for doc in docs:
        offsets.append(place)
        table = doc.to_array([*HASHED, *COUNTED]).reshape(len(doc), -1).astype("uint64")
        blocks += [table, pad]
        place += len(doc) + PAD
    return np.concatenate(blocks), np.array(offsets, "int64")


def token_columns(tokens: np.ndarray, places: np.ndarray, shift: np.uint64) -> np.ndarray:
    """Rows of the hashed table that describe each place: words and shapes around it, two pairs of words."""
    columns = [
        ((tokens[places + offset, i] + np.uint64(offset + PAD)) * MIX[offset, i]) >> shift
        for offset in range(-WINDOW, WINDOW + 1)
        for i in range(len(HASHED))
    ]
    columns += [
        ((tokens[places + a, 0] * MIX[a, 0] + tokens[places + b, 0] * MIX[b, 1]) * MIX[a, 2]) >> shift
        for a, b in ((-1, 0), (0, 1))
    ]
    return np.stack(columns, axis=1).astype("int64")


def string_key(span: Span) -> int:
    """The key under which a span's string is counted: case doesn't matter."""
    return hash_string(span.text.lower())


def no_arrays() -> dict[str, np.ndarray]:
    """Of a component that has learned nothing."""
    return {
        "tokens": np.zeros((2, 2), "float16"),
        "token_bias": np.zeros(2),
        "strings": np.zeros(0, "uint64"),
        "counts": np.zeros((0, 1), "uint16"),
        "weights": np.zeros(len(FEATURES)),
        "bias": np.zeros(0),
    }


# Odd, so that multiplying by it loses nothing.
MIX = {
    (offset, i): np.uint64(hash_string(f"{offset} {i}") | 1)
    for offset in range(-WINDOW, WINDOW + 1)
    for i in range(len(HASHED))
}


@Language.factory("confidence", assigns=["span._.confidence"], requires=["doc.ents"])
def make_confidence(nlp: Language, name: str) -> SpanConfidence:
    """The `confidence` component, which has learned nothing yet and sets nothing."""
    return SpanConfidence(nlp.vocab, name)

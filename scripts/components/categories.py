"""Categories of a text from its words: TF-IDF of n-grams, and a logistic regression.

N-grams are those of characters within a token, which see "acquire" in "acquires", and those of words. Rare
ones weigh more, repeated ones little (Salton & Buckley 1988). The regression is convex: the same examples
give the same weights, whatever the seed. Examples of rare categories weigh more, so that these are found too.

`initialize` learns from all examples at once, with scikit-learn, which the trained component does not need.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import srsly
from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.strings import hash_string
from spacy.tokens import Doc
from spacy.training import Example, validate_get_examples
from spacy.util import from_bytes, from_disk, to_bytes, to_disk
from spacy.vocab import Vocab

REQUIREMENTS: tuple[str, ...] = ()
# Words whose n-grams are remembered: most words of a text are among the frequent ones.
KEPT = 50_000
# Characters of a token that count: longer tokens are addresses and the like.
LONGEST = 40
# Iterations of the optimiser; a few dozen are enough.
ITERATIONS = 1000
# Score of a label that every text of training has, or none.
SURE = 10.0


class TfidfCategories(Pipe):
    """Sets `doc.cats` to a probability of each category.

    Args:
        vocab: of the pipeline.
        name: of the component.
        settings: `exclusive`: a text has exactly one category, and the probabilities sum to 1; otherwise any
            number. `threshold`: probability from which a category counts when the pipeline is scored.
            `characters`, `words`: shortest and longest n-gram of each kind. `min_count`: how often an n-gram
            must occur, in texts. `strength`: inverse of L2 regularisation, scikit-learn's C.
        scorer: of spaCy, for categories.
    """

    def __init__(self, vocab: Vocab, name: str, settings: dict[str, Any], scorer: Callable | None) -> None:
        self.vocab = vocab
        self.name = name
        self.scorer = scorer
        self.cfg: dict[str, Any] = {"labels": [], **settings}
        self._set(_no_arrays())

    @property
    def labels(self) -> tuple[str, ...]:
        """The categories, in the order of the columns of the weights."""
        return tuple(self.cfg["labels"])

    @property
    def label_data(self) -> tuple[str, ...]:
        """The labels for spaCy's `init labels`."""
        return self.labels

    def _set(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays
        self._columns = {int(key): i for i, key in enumerate(arrays["hashes"])}
        self._of_words: dict[str, list[int]] = {}

    def __call__(self, doc: Doc) -> Doc:
        if len(self.arrays["bias"]):
            doc.cats = dict(zip(self.labels, map(float, self._probabilities(doc)), strict=True))
        return doc

    def _probabilities(self, doc: Doc) -> np.ndarray:
        scores = self.arrays["bias"].astype("float64")
        for columns in (self._character_columns(doc), self._word_columns(doc)):
            if columns:
                places, values = _tfidf(Counter(columns), self.arrays["idf"])
                scores = scores + values @ self.arrays["weights"][places]
        if not self.cfg["exclusive"]:
            return 1 / (1 + np.exp(-scores))
        exp = np.exp(scores - scores.max())
        return exp / exp.sum()

    def _character_columns(self, doc: Doc) -> list[int]:
        columns: list[int] = []
        for token in doc:
            word = token.lower_
            known = self._of_words.get(word)
            if known is None:
                ngrams = character_ngrams(word, *self.cfg["characters"])
                known = [self._columns[key] for key in ngrams if key in self._columns]
                if len(self._of_words) < KEPT:
                    self._of_words[word] = known
            columns += known
        return columns

    def _word_columns(self, doc: Doc) -> list[int]:
        ngrams = word_ngrams([token.lower_ for token in doc], *self.cfg["words"])
        return [self._columns[key] for key in ngrams if key in self._columns]

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: Iterable[str] | None = None,
    ) -> None:
        """Learn from the examples that have categories: which n-grams there are, and their weights."""
        validate_get_examples(get_examples, "TfidfCategories.initialize")
        golds = [example.reference for example in get_examples() if example.reference.cats]
        found = {label for gold in golds for label in gold.cats}
        self.cfg["labels"] = sorted(found if labels is None else labels)
        if not golds:
            return
        texts = [[token.lower_ for token in gold] for gold in golds]
        characters, words = self.cfg["characters"], self.cfg["words"]
        blocks = [
            [Counter(key for word in text for key in character_ngrams(word, *characters)) for text in texts],
            [Counter(word_ngrams(text, *words)) for text in texts],
        ]
        targets = np.array([[gold.cats.get(label, 0.0) >= 0.5 for label in self.labels] for gold in golds])
        self._set(self._fit(blocks, targets))

    def _fit(self, blocks: Sequence[Sequence[Counter[int]]], targets: np.ndarray) -> dict[str, np.ndarray]:
        from scipy.sparse import csr_matrix

        documents = Counter(key for block in blocks for counts in block for key in counts)
        hashes = sorted(key for key, n in documents.items() if n >= self.cfg["min_count"])
        columns = {key: i for i, key in enumerate(hashes)}
        n = len(targets)
        idf = np.array([1 + np.log((1 + n) / (1 + documents[key])) for key in hashes], dtype="float32")
        data = csr_matrix((n, len(hashes)))
        for block in blocks:
            indptr, indices, values = [0], [], []
            for counts in block:
                known = {columns[key]: count for key, count in counts.items() if key in columns}
                places, weights = _tfidf(known, idf)
                indices.append(places)
                values.append(weights)
                indptr.append(indptr[-1] + len(places))
            data += csr_matrix((np.concatenate(values), np.concatenate(indices), indptr), data.shape)
        weights, bias = _regression(data, targets, self.cfg["exclusive"], self.cfg["strength"])
        return {
            "hashes": np.array(hashes, dtype="uint64"),
            "idf": idf,
            "weights": np.ascontiguousarray(weights, dtype="float32"),
            "bias": bias.astype("float32"),
        }

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Settings, labels and weights."""
        return to_bytes({"cfg": lambda: srsly.json_dumps(self.cfg).encode(), "arrays": self._packed}, exclude)

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> "TfidfCategories":
        """Settings, labels and weights, as `to_bytes` gave them."""
        setters = {"cfg": lambda b: self.cfg.update(srsly.json_loads(b)), "arrays": self._unpack}
        from_bytes(data, setters, exclude)
        return self

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Settings, labels and weights, in a folder."""
        parts: dict[str, Callable[[Path], Any]] = {
            "cfg": lambda p: srsly.write_json(p.with_suffix(".json"), self.cfg),
            "arrays": lambda p: p.with_suffix(".msgpack").write_bytes(self._packed()),
        }
        to_disk(Path(path), parts, exclude)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "TfidfCategories":
        """Settings, labels and weights, as `to_disk` wrote them."""
        parts: dict[str, Callable[[Path], Any]] = {
            "cfg": lambda p: self.cfg.update(srsly.read_json(p.with_suffix(".json"))),
            "arrays": lambda p: self._unpack(p.with_suffix(".msgpack").read_bytes()),
        }
        from_disk(Path(path), parts, exclude)
        return self

    def _packed(self) -> bytes:
        return srsly.msgpack_dumps(self.arrays)

    def _unpack(self, data: bytes) -> None:
        self._set(srsly.msgpack_loads(data))


def character_ngrams(word: str, shortest: int, longest: int) -> Iterator[int]:
    """Keys of the character n-grams of a word, whose start and end count as a character."""
    word = f" {word[:LONGEST]} "
    for n in range(shortest, longest + 1):
        for start in range(len(word) - n + 1):
            yield hash_string(word[start : start + n])


def word_ngrams(words: Sequence[str], shortest: int, longest: int) -> Iterator[int]:
    """Keys of the word n-grams of a text; none equals that of a character n-gram."""
    for n in range(shortest, longest + 1):
        for start in range(len(words) - n + 1):
            yield hash_string("\n".join(("", *words[start : start + n])))


def _tfidf(counts: Mapping[int, int], idf: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns, in order, and their weights: logarithm of the count times idf, scaled to length 1."""
    places = np.array(sorted(counts), dtype="int64")
    values = (1 + np.log([counts[place] for place in places.tolist()])) * idf[places]
    return places, values / max(float(np.sqrt((values**2).sum())), 1e-12)


def _regression(
    data: Any, targets: np.ndarray, exclusive: bool, strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (columns, labels) and bias of one regression, or of one per label where they aren't exclusive.

    A label that no text has gets a low bias, one that all have a high one.
    """
    from sklearn.linear_model import LogisticRegression

    weights, bias = np.zeros((data.shape[1], targets.shape[1])), np.full(targets.shape[1], -SURE)
    bias[targets.all(axis=0)] = SURE
    if not data.shape[1]:
        return weights, bias
    varied = np.flatnonzero(targets.any(axis=0) & ~targets.all(axis=0))
    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=ITERATIONS)
    if not exclusive:
        for label in varied:
            model.fit(data, targets[:, label])
            weights[:, label], bias[label] = model.coef_[0], model.intercept_[0]
    elif len(varied):
        model.fit(data, targets.argmax(axis=1))
        coefficients, intercepts = model.coef_, model.intercept_
        if len(coefficients) == 1:  # of two labels, scikit-learn has the second one's
            coefficients = np.concatenate([-coefficients, coefficients]) / 2
            intercepts = np.concatenate([-intercepts, intercepts]) / 2
        weights[:, model.classes_], bias[model.classes_] = coefficients.T, intercepts
    return weights, bias


def _no_arrays() -> dict[str, np.ndarray]:
    return {
        "hashes": np.zeros(0, "uint64"),
        "idf": np.zeros(0, "float32"),
        "weights": np.zeros((0, 0), "float32"),
        "bias": np.zeros(0, "float32"),
    }


@Language.factory(
    "categories",
    assigns=["doc.cats"],
    default_config={
        "exclusive": True,
        "threshold": 0.0,
        "characters": [2, 5],
        "words": [1, 2],
        "min_count": 2,
        "strength": 1.0,
        "scorer": {"@scorers": "spacy.textcat_scorer.v2"},
    },
    default_score_weights={"cats_score": 1.0},
)
def make_categories(
    nlp: Language,
    name: str,
    exclusive: bool,
    threshold: float,
    characters: list[int],
    words: list[int],
    min_count: int,
    strength: float,
    scorer: Callable | None,
) -> TfidfCategories:
    """The `categories` component; see TfidfCategories for its settings."""
    settings = {
        "exclusive": exclusive,
        "threshold": threshold,
        "characters": characters,
        "words": words,
        "min_count": min_count,
        "strength": strength,
    }
    return TfidfCategories(nlp.vocab, name, settings, scorer)

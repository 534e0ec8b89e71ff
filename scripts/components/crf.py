"""Named entities by a linear-chain conditional random field (Lafferty et al. 2001) with a dictionary.

Features of a token are words, affixes and shapes in a window around it, and what a dictionary of the
annotated names says. The dictionary is collected from the training texts. In training, each text is looked up
in a dictionary of the other texts only: otherwise every name would be known, and the weights would trust the
dictionary more than new texts justify. If the config names a general pipeline, such as spaCy's for English,
the tags and entities that it finds are features as well (stacking, Wolpert 1992).

Texts without capitals, and texts in capitals alone, have weights of their own, learned from the training
texts in lower case. Other texts are scored as if there were no such weights.

`initialize` learns from all examples at once, with python-crfsuite, which the trained component doesn't need.
The optimisation is convex: the same examples give the same weights, whatever the seed. Weights are stored as
integers, so that all machines add them up to the same scores.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from itertools import groupby, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import spacy
import srsly
from spacy.lang.lex_attrs import word_shape
from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.strings import hash_string
from spacy.tokens import Doc, Span
from spacy.training import Example, validate_get_examples
from spacy.util import from_bytes, from_disk, load_model_from_config, minibatch, to_bytes, to_disk
from spacy.vocab import Vocab
from thinc.api import Config, Model, NumpyOps

REQUIREMENTS: tuple[str, ...] = ()
# Neighbours on each side whose words count.
WINDOW = 2
OFFSETS = range(-WINDOW, WINDOW + 1)
AFFIXES = range(1, 5)
# Weights are multiples of 1 / SCALE.
SCALE = 1000
# Score of what may not be, such as the middle of a name without its first token.
NEVER = -(10**9)
# Words whose scores are remembered: most words of a text are among the frequent ones.
KEPT = 50_000
# Characters of a token that count in features: longer tokens are addresses and the like.
LONGEST = 40
# What the components of a general pipeline set whose answers are features, or lead to them.
GENERAL = {"doc.tensor", "token.tag", "doc.ents"}
# Parts of the training texts; each is looked up in a dictionary of the others.
FOLDS = 5
OUTSIDE = "O"
# Tag of tokens in training texts of which it isn't known whether they are part of an entity.
UNKNOWN = "?"
# A token: its text and its shape.
Word = tuple[str, str]


class CrfRecogniser(Pipe):
    """Sets `doc.ents`. Entities that are already there stay, and no other may overlap them.

    Args:
        vocab: of the pipeline.
        name: of the component.
        settings: `c1`, `c2`: L1 and L2 regularisation; more L1 makes a smaller model. `max_iterations`: of
            L-BFGS. `min_count`: how often a feature must occur in the training texts. `dictionary`: whether
            to use one. `caseless`: whether texts of a single case have weights of their own. `general`: the
            name or the folder of a pipeline whose tags and entities are features. It becomes part of the
            component. Empty for none.
        scorer: of spaCy, for entities.
    """

    def __init__(self, vocab: Vocab, name: str, settings: dict[str, Any], scorer: Callable | None) -> None:
        self.vocab = vocab
        self.name = name
        self.scorer = scorer
        self.cfg: dict[str, Any] = {"labels": [], **settings}
        self.general: Language | None = None
        self._set(_no_weights())

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of entities."""
        return tuple(self.cfg["labels"])

    @property
    def label_data(self) -> tuple[str, ...]:
        """The labels for spaCy's `init labels`."""
        return self.labels

    def _set_general(self, pipeline: Language | None) -> None:
        if pipeline:
            multiply_by_numpy(pipeline)
        self.general = pipeline

    def _set(self, weights: dict[str, Any]) -> None:
        self.weights = weights
        self._dictionary = Dictionary(weights["phrases"], weights["words"])
        self._cased = Weights(weights)
        # A pipeline that was trained by an older version has none.
        self._caseless = Weights(weights["caseless"]) if "caseless" in weights else self._cased
        for label in self.cfg["labels"]:
            self.vocab.strings.add(label)

    def __call__(self, doc: Doc) -> Doc:
        self._set_entities([doc])
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Set the entities of Docs; the general pipeline reads `batch_size` of them at a time."""
        handle_error = self.get_error_handler()
        for docs in minibatch(stream, batch_size):
            try:
                self._set_entities(docs)
            except Exception as error:  # as spaCy's own components do
                handle_error(self.name, self, docs, error)
            else:
                yield from docs

    def _set_entities(self, docs: Sequence[Doc]) -> None:
        texts, caseless = [], []
        for doc in docs:
            words = [(token.text, token.shape_) for token in doc]
            caseless.append(self._caseless is not self._cased and has_one_case(words))
            texts.append(in_lower_case(words) if caseless[-1] else words)
        known = self._known(docs, texts, map(self._looked_up, texts))
        for doc, words, rows, is_caseless in zip(docs, texts, known, caseless, strict=True):
            weights = self._caseless if is_caseless else self._cased
            if len(weights.tags) > 1 and words:
                tags = viterbi(weights.scores(words, rows), weights.transitions)
                found = [Span(doc, *span) for span in from_tags([weights.tags[tag] for tag in tags])]
                taken = {i for ent in doc.ents for i in range(ent.start, ent.end)}
                free = [span for span in found if taken.isdisjoint(range(span.start, span.end))]
                doc.set_ents([*doc.ents, *free], default="outside")

    def _looked_up(self, words: Sequence[Word]) -> list[list[str]]:
        """What the dictionary says of each token."""
        return self._dictionary.features([text.lower() for text, _ in words])

    def _known(
        self, docs: Sequence[Doc], texts: Sequence[Sequence[Word]], looked_up: Iterable[list[list[str]]]
    ) -> Iterator[list[list[str]] | None]:
        """The features of each token of each text by the dictionary and the general pipeline.

        Args:
            texts: the Docs' words, or these in lower case. looked_up: features by the dictionary.
        """
        if not self.general:
            yield from looked_up if self.cfg["dictionary"] else (None for _ in texts)
            return
        spaces = [[bool(token.whitespace_) for token in doc] for doc in docs]
        general = general_features(self.general, texts, spaces)
        if not self.cfg["dictionary"]:
            yield from general
            return
        for rows, others in zip(looked_up, general, strict=True):
            yield [row + other for row, other in zip(rows, others, strict=True)]

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: Iterable[str] | None = None,
    ) -> None:
        """Learn from the examples: the dictionary, and the weights of features.

        Args:
            labels: entities with other labels are left out. A label without an example is never predicted.
        """
        validate_get_examples(get_examples, "CrfRecogniser.initialize")
        golds = [example.reference for example in get_examples() if len(example.reference)]
        found = {ent.label_ for gold in golds for ent in gold.ents}
        self.cfg["labels"] = sorted(found if labels is None else labels)
        texts = [
            TrainingText(
                [token.lower_ for token in gold],
                [(ent.start, ent.end, ent.label_) for ent in gold.ents if ent.label_ in self.cfg["labels"]],
                {token.i for token in gold if not token.ent_iob},
            )
            for gold in golds
        ]
        dictionary = collect(texts) if self.cfg["dictionary"] else Dictionary({}, {})
        looked_up = list(held_out_features(texts)) if self.cfg["dictionary"] else []
        self._set_general(load_general(self.cfg["general"]) if self.cfg["general"] else None)
        words = [[(token.text, token.shape_) for token in gold] for gold in golds]
        tags = [
            [UNKNOWN if i in unknown else tag for i, tag in enumerate(to_tags(len(words), spans))]
            for words, spans, unknown in texts
        ]
        weights = fit(all_features(words, self._known(golds, words, looked_up)), tags, self.cfg)
        if self.cfg["caseless"]:
            lower = list(map(in_lower_case, words))
            # in a script without capitals they would be the same weights again
            if lower != words:
                known = self._known(golds, lower, looked_up)
                weights["caseless"] = fit(all_features(lower, known), tags, self.cfg)
        self._set(weights | {"phrases": dictionary.phrases, "words": dictionary.words})

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Settings, labels and weights."""
        return to_bytes(
            {
                "cfg": lambda: srsly.json_dumps(self.cfg).encode(),
                "weights": self._packed,
                "general": lambda: srsly.msgpack_dumps(pipeline_bytes(self.general)),
            },
            exclude,
        )

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> "CrfRecogniser":
        """Settings, labels and weights, as `to_bytes` gave them."""
        setters: dict[str, Callable[[bytes], Any]] = {
            "cfg": lambda b: self.cfg.update(srsly.json_loads(b)),
            "weights": self._unpack,
            "general": lambda b: self._set_general(pipeline_from_bytes(srsly.msgpack_loads(b))),
        }
        from_bytes(data, setters, exclude)
        return self

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Settings, labels and weights, in a folder."""
        parts: dict[str, Callable[[Path], Any]] = {
            "cfg": lambda p: srsly.write_json(p.with_suffix(".json"), self.cfg),
            "weights": lambda p: p.with_suffix(".msgpack").write_bytes(self._packed()),
        }
        if self.general:
            parts["general"] = self.general.to_disk
        to_disk(Path(path), parts, exclude)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "CrfRecogniser":
        """Settings, labels and weights, as `to_disk` wrote them."""
        parts: dict[str, Callable[[Path], Any]] = {
            "cfg": lambda p: self.cfg.update(srsly.read_json(p.with_suffix(".json"))),
            "weights": lambda p: self._unpack(p.with_suffix(".msgpack").read_bytes()),
            "general": lambda p: self._set_general(spacy.load(p) if p.exists() else None),
        }
        from_disk(Path(path), parts, exclude)
        return self

    def _packed(self) -> bytes:
        return srsly.msgpack_dumps(self.weights)

    def _unpack(self, data: bytes) -> None:
        self._set(srsly.msgpack_loads(data))


class Weights:
    """The weights of features and transitions, ready to score texts with.

    Attributes:
        tags: BILOU tags, in the order of the columns of scores.
        transitions: (before, after), see `transitions`.
    """

    def __init__(self, weights: Mapping[str, Any]) -> None:
        self.tags: list[str] = weights["tags"]
        self.transitions = transitions(self.tags, weights["transitions"])
        self._weights = weights
        self._rows = {int(key): i for i, key in enumerate(weights["hashes"])}
        self._of_words: dict[tuple[str, str], np.ndarray] = {}
        self._of_features: dict[str, np.ndarray] = {}
        self._nothing = np.zeros(len(self.tags), dtype="int32")

    def scores(self, words: Sequence[Word], known: Sequence[Sequence[str]] | None) -> np.ndarray:
        """(tokens, tags): the sum of the weights of each token's features.

        Args:
            known: features of each token by the dictionary and the general pipeline, if there are any.
        """
        n, width = len(words), len(self.tags)
        scores = np.empty((n, width), dtype="int32")
        scores[:] = self.feature_scores("bias")
        by_offset = np.stack([self._word_scores(*word) for word in words])
        for at, offset in enumerate(OFFSETS):
            inside = range(max(0, -offset), min(n, n - offset))
            if inside:
                rows = slice(inside.start + offset, inside.stop + offset)
                scores[inside.start : inside.stop] += by_offset[rows, at]
            for i in range(n):
                if i not in inside:
                    scores[i] += self.feature_scores(f"{offset}:outside")
        for i, features in enumerate(pair_features([text.lower() for text, _ in words])):
            for feature in features:
                scores[i] += self.feature_scores(feature)
        for i, features in enumerate(around(known or [])):
            for feature in features:
                scores[i] += self.feature_scores(feature)
        return scores

    def _word_scores(self, text: str, shape: str) -> np.ndarray:
        """(offsets, tags): what a word adds to the scores of the tokens around it and to its own."""
        known = self._of_words.get((text, shape))
        if known is None:
            known = np.zeros((len(OFFSETS), len(self.tags)), dtype="int32")
            for at, offset in enumerate(OFFSETS):
                # the token at which it is counted sees the word at this offset
                for feature in word_features(text, shape, offset):
                    known[at] += self.feature_scores(feature)
            if len(self._of_words) < KEPT:
                self._of_words[text, shape] = known
        return known

    def feature_scores(self, feature: str) -> np.ndarray:
        """(tags,): the weights of a feature."""
        known = self._of_features.get(feature)
        if known is None:
            row = self._rows.get(hash_string(feature))
            if row is None:
                return self._nothing
            start, end = self._weights["starts"][row : row + 2]
            known = np.zeros(len(self.tags), dtype="int32")
            known[self._weights["columns"][start:end]] = self._weights["values"][start:end]
            if len(self._of_features) < KEPT:
                self._of_features[feature] = known
        return known


class Dictionary:
    """Annotated names of texts, and how often each word of the texts was part of one.

    Attributes:
        phrases: tokens in lower case, joined by line breaks, to [label, annotations with it, occurrences];
            the label is the most frequent one.
        words: tokens in lower case to the number of tokens by label, those outside of names by `O`.
    """

    def __init__(self, phrases: Mapping[str, Sequence[Any]], words: Mapping[str, Mapping[str, int]]) -> None:
        self.phrases = phrases
        self.words = words
        lengths: dict[str, set[int]] = {}
        for phrase in phrases:
            first, *rest = phrase.split("\n")
            lengths.setdefault(first, set()).add(1 + len(rest))
        # Longest first.
        self._lengths = {first: sorted(of, reverse=True) for first, of in lengths.items()}

    def features(self, words: Sequence[str]) -> list[list[str]]:
        """What it says of each token: the longest known name that the token is in, and the word alone."""
        rows: list[list[str]] = [[] for _ in words]
        start = 0
        while start < len(words):
            end, phrase = self._longest(words, start)
            if not phrase:
                start += 1
                continue
            label, annotated, occurrences = self.phrases[phrase]
            trust = f"{_level(annotated, occurrences)}{min(annotated, 5) // 2}"
            for row, tag in zip(
                rows[start:end], to_tags(end - start, [(0, end - start, label)]), strict=True
            ):
                row += [f"name={tag}", f"name={tag}={trust}"]
            start = end
        for row, word in zip(rows, words, strict=True):
            counts = self.words.get(word)
            if counts is None:
                row.append("known=no")
                continue
            total = sum(counts.values())
            rare = "rare" if total < 3 else ""
            row += [f"known={label}={_level(n, total)}{rare}" for label, n in counts.items()]
        return rows

    def _longest(self, words: Sequence[str], start: int) -> tuple[int, str]:
        for length in self._lengths.get(words[start], ()):
            phrase = "\n".join(words[start : start + length])
            if start + length <= len(words) and phrase in self.phrases:
                return start + length, phrase
        return start, ""


def _level(n: int, of: int) -> str:
    """A share in words: most (over 90 %), half (over 50 %), some (over 10 %), few."""
    return "most" if 10 * n > 9 * of else "half" if 2 * n > of else "some" if 10 * n > of else "few"


class TrainingText(NamedTuple):
    """An annotated text.

    Attributes:
        words: tokens in lower case.
        spans: (first token, last token + 1, label) of its entities.
        unknown: tokens of which it isn't known whether they are part of one.
    """

    words: Sequence[str]
    spans: Sequence[tuple[int, int, str]]
    unknown: Set[int] = frozenset()


def collect(texts: Sequence[TrainingText]) -> Dictionary:
    """The dictionary of annotated texts."""
    labels: dict[str, Counter[str]] = {}
    words_of: dict[str, Counter[str]] = {}
    for words, spans, unknown in texts:
        inside = {i: label for start, end, label in spans for i in range(start, end)}
        for i, word in enumerate(words):
            if i not in unknown:
                words_of.setdefault(word, Counter())[inside.get(i, OUTSIDE)] += 1
        for start, end, label in spans:
            labels.setdefault("\n".join(words[start:end]), Counter())[label] += 1
    lengths: dict[str, set[int]] = {}
    for phrase in labels:
        lengths.setdefault(phrase.split("\n", 1)[0], set()).add(phrase.count("\n") + 1)
    occurrences: Counter[str] = Counter()
    for words, _, unknown in texts:
        for start, word in enumerate(words):
            for length in lengths.get(word, ()):
                if start + length <= len(words) and unknown.isdisjoint(range(start, start + length)):
                    occurrences["\n".join(words[start : start + length])] += 1
    phrases = {}
    for phrase in sorted(labels):
        # of equally frequent labels, the first in the alphabet
        label, n = min(labels[phrase].items(), key=lambda item: (-item[1], item[0]))
        phrases[phrase] = [label, n, occurrences[phrase]]
    return Dictionary(phrases, {word: dict(sorted(words_of[word].items())) for word in sorted(words_of)})


def held_out_features(texts: Sequence[TrainingText]) -> Iterator[list[list[str]]]:
    """What the dictionary of other texts says of each text.

    Its hash decides which texts are in a part, so that copies of a text, in any case, are in the same one.
    """
    folds = [hash_string(" ".join(text.words)) % FOLDS for text in texts]
    others = {
        fold: collect([text for text, other in zip(texts, folds, strict=True) if other != fold])
        for fold in set(folds)
    }
    for text, fold in zip(texts, folds, strict=True):
        yield others[fold].features(text.words)


def load_general(name: str) -> Language:
    """The parts of a general pipeline that find tags and entities.

    Args:
        name: of an installed package, or a folder.

    Raises:
        OSError: there is no such pipeline.
        ValueError: it sets neither tags nor entities.
    """
    pipeline = spacy.load(name)
    wanted = [part for part in pipeline.pipe_names if GENERAL & {*pipeline.get_pipe_meta(part).assigns}]
    if not any("doc.tensor" not in pipeline.get_pipe_meta(part).assigns for part in wanted):
        raise ValueError(f"general = {name!r}: this pipeline sets neither tags nor entities")
    for part in {*pipeline.component_names} - {*wanted}:
        pipeline.remove_pipe(part)
    return pipeline


def multiply_by_numpy(pipeline: Language) -> None:
    """Let the models of a pipeline multiply by numpy: 1.4 times as fast as by blis, Thinc's choice."""
    for _, part in pipeline.pipeline:
        model = getattr(part, "model", None)
        for layer in model.walk() if isinstance(model, Model) else ():
            if type(layer.ops) is NumpyOps:
                layer.ops = NumpyOps(use_blis=False)


def general_features(
    pipeline: Language, texts: Iterable[Sequence[Word]], spaces: Iterable[Sequence[bool]]
) -> Iterator[list[list[str]]]:
    """The tag and the entity of each token of each text, as a general pipeline sees them.

    Args:
        spaces: whether each token has a space after it.
    """
    with pipeline.memory_zone():  # new words don't stay in its vocabulary
        docs = (
            Doc(pipeline.vocab, [word for word, _ in words], after)
            for words, after in zip(texts, spaces, strict=True)
        )
        rows = []
        for doc in pipeline.pipe(docs):
            entities = to_tags(len(doc), [(ent.start, ent.end, ent.label_) for ent in doc.ents])
            pairs = zip(doc, entities, strict=True)
            rows.append([[f"tag={token.tag_}", f"entity={entity}"] for token, entity in pairs])
    yield from rows


def pipeline_bytes(pipeline: Language | None) -> list[Any]:
    """The config and the data of a pipeline; nothing of none."""
    return [pipeline.config.to_str(), pipeline.to_bytes()] if pipeline else []


def pipeline_from_bytes(parts: Sequence[Any]) -> Language | None:
    """The pipeline of `pipeline_bytes`."""
    if not parts:
        return None
    return load_model_from_config(Config().from_str(parts[0])).from_bytes(parts[1])


def around(rows: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    """The features of each token and of both its neighbours."""
    for i, row in enumerate(rows):
        before = [f"-1:{feature}" for feature in rows[i - 1]] if i else []
        after = [f"1:{feature}" for feature in rows[i + 1]] if i + 1 < len(rows) else []
        yield [*row, *before, *after]


def has_one_case(words: Sequence[Word]) -> bool:
    """Whether a text has no capitals, or nothing but capitals."""
    letters = "".join(text for text, _ in words)
    return letters.islower() or letters.isupper()


def in_lower_case(words: Sequence[Word]) -> list[Word]:
    """The tokens in lower case."""
    return [(lower, word_shape(lower)) for lower in (text.lower() for text, _ in words)]


def all_features(
    texts: Sequence[Sequence[Word]], known: Iterable[Sequence[Sequence[str]] | None]
) -> Iterator[list[list[str]]]:
    """The features of each token of each text.

    Args:
        known: those by the dictionary and the general pipeline, for each text.
    """
    for words, others in zip(texts, known, strict=True):
        rows = own_features(words)
        for row, other in zip(rows, around(others or [[]] * len(words)), strict=True):
            row += other
        yield rows


def own_features(words: Sequence[Word]) -> list[list[str]]:
    """The features of each token of a text, without those of the dictionary and the general pipeline."""
    rows = [["bias", *pairs] for pairs in pair_features([text.lower() for text, _ in words])]
    for i, row in enumerate(rows):
        for offset in OFFSETS:
            if 0 <= i + offset < len(words):
                row += word_features(*words[i + offset], offset)
            else:
                row.append(f"{offset}:outside")
    return rows


def word_features(text: str, shape: str, offset: int) -> list[str]:
    """What the word at an offset from a token adds to the token's features."""
    text = text[:LONGEST]
    lower = text.lower()
    features = [f"{offset}:word={lower}", f"{offset}:shape={shape}", f"{offset}:suffix={lower[-3:]}"]
    if not offset:
        features += [f"text={text}", *(f"prefix={lower[:n]}" for n in AFFIXES)]
        features += [f"suffix={lower[-n:]}" for n in AFFIXES]
    return features


def pair_features(words: Sequence[str]) -> list[list[str]]:
    """Each token's word with the one before it, and with the one after it."""
    pairs = [f"{one}\n{other}" for one, other in pairwise(words)]
    return [
        [*([f"before={pairs[i - 1]}"] if i else []), *([f"after={pairs[i]}"] if i < len(pairs) else [])]
        for i in range(len(words))
    ]


def fit(
    rows: Iterable[Sequence[Sequence[str]]], tags: Sequence[Sequence[str]], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Weights by L-BFGS: tags, transitions, and a sparse matrix of features by tags.

    A text is learned from in parts, between tokens whose tag is unknown.
    """
    import pycrfsuite

    names = sorted({tag for text in tags for tag in text} - {UNKNOWN})
    if names in ([], [OUTSIDE]):
        return _no_weights()
    columns = {tag: i for i, tag in enumerate(names)}
    parameters = {
        "c1": settings["c1"],
        "c2": settings["c2"],
        "max_iterations": settings["max_iterations"],
        "feature.minfreq": settings["min_count"],
        "feature.possible_transitions": True,
    }
    trainer = pycrfsuite.Trainer(algorithm="lbfgs", params=parameters, verbose=False)
    # As numbers, since python-crfsuite can't read back names with line breaks.
    for features, of in zip(rows, tags, strict=True):
        for is_unknown, part in groupby(zip(features, of, strict=True), lambda pair: pair[1] == UNKNOWN):
            if not is_unknown:
                hashed, known = zip(
                    *(([str(hash_string(name)) for name in row], str(columns[tag])) for row, tag in part),
                    strict=True,
                )
                trainer.append(hashed, known)
    with TemporaryDirectory() as folder:
        path = str(Path(folder) / "model")
        trainer.train(path)
        tagger = pycrfsuite.Tagger()
        tagger.open(path)
        model = tagger.info()
        tagger.close()
    matrix = np.zeros((len(names), len(names)), dtype="int32")
    for (before, after), weight in model.transitions.items():
        matrix[int(before), int(after)] = round(SCALE * weight)
    # Regularisation makes most of them 0, and rounding some more.
    cells = sorted(
        (int(feature), int(tag), value)
        for (feature, tag), weight in model.state_features.items()
        if (value := round(SCALE * weight))
    )
    hashes, starts = np.unique(np.array([cell[0] for cell in cells], dtype="uint64"), return_index=True)
    return {
        "tags": names,
        "transitions": matrix,
        "hashes": hashes,
        "starts": np.array([*starts, len(cells)], dtype="int32"),
        "columns": np.array([cell[1] for cell in cells], dtype="int16"),
        "values": np.array([cell[2] for cell in cells], dtype="int32"),
    }


def transitions(tags: Sequence[str], weights: np.ndarray) -> np.ndarray:
    """(before, after): the weights with those that no sequence of names has replaced by `NEVER`.

    The last row is the start of a text, and the last column its end.
    """
    n = len(tags)
    result = np.zeros((n + 1, n + 1), dtype="int64")
    result[:n, :n] = weights
    for i, before in enumerate([*tags, OUTSIDE]):
        for j, after in enumerate([*tags, OUTSIDE]):
            inside = before[2:] if before[:2] in ("B-", "I-") else ""
            goes_on = after[2:] if after[:2] in ("I-", "L-") else ""
            if inside != goes_on:
                result[i, j] = NEVER
    return result


def viterbi(scores: np.ndarray, transitions: np.ndarray) -> list[int]:
    """The tags with the highest sum; of equal ones, the first in the order of tags."""
    total = scores[0] + transitions[-1, :-1]
    inner = np.ascontiguousarray(transitions[:-1, :-1].T)
    came_from = []
    every = np.arange(len(inner))
    for row in scores[1:]:
        paths = inner + total
        best = paths.argmax(axis=1)
        came_from.append(best)
        total = paths[every, best] + row
    tags = [int((total + transitions[:-1, -1]).argmax())]
    for best in reversed(came_from):
        tags.append(int(best[tags[-1]]))
    return tags[::-1]


def to_tags(n: int, spans: Iterable[tuple[int, int, str]]) -> list[str]:
    """BILOU tags of n tokens."""
    tags = [OUTSIDE] * n
    for start, end, label in spans:
        middle = [f"I-{label}"] * (end - start - 2)
        tags[start:end] = [f"U-{label}"] if end - start == 1 else [f"B-{label}", *middle, f"L-{label}"]
    return tags


def from_tags(tags: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """(first token, last token + 1, label) of complete BILOU tags."""
    start = 0
    for i, tag in enumerate(tags):
        if tag[:2] in ("B-", "U-"):
            start = i
        if tag[:2] in ("L-", "U-"):
            yield start, i + 1, tag[2:]


def _no_weights() -> dict[str, Any]:
    return {
        "tags": [],
        "transitions": np.zeros((0, 0), "int32"),
        "hashes": np.zeros(0, "uint64"),
        "starts": np.zeros(1, "int32"),
        "columns": np.zeros(0, "int16"),
        "values": np.zeros(0, "int32"),
        "phrases": {},
        "words": {},
    }


@Language.factory(
    "crf",
    assigns=["doc.ents", "token.ent_iob", "token.ent_type"],
    default_config={
        "c1": 0.1,
        "c2": 0.1,
        "max_iterations": 100,
        "min_count": 1,
        "dictionary": True,
        "caseless": True,
        "general": "",
        "scorer": {"@scorers": "spacy.ner_scorer.v1"},
    },
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
)
def make_crf(
    nlp: Language,
    name: str,
    c1: float,
    c2: float,
    max_iterations: int,
    min_count: int,
    dictionary: bool,
    caseless: bool,
    general: str,
    scorer: Callable | None,
) -> CrfRecogniser:
    """The `crf` component; see CrfRecogniser for its settings."""
    settings = {
        "c1": c1,
        "c2": c2,
        "max_iterations": max_iterations,
        "min_count": min_count,
        "dictionary": dictionary,
        "caseless": caseless,
        "general": general,
    }
    return CrfRecogniser(nlp.vocab, name, settings, scorer)

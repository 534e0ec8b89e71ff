"""Typed, directed relations between the entities of a text: a trainable component, model included.

Every ordered pair of entities is a candidate, unless it is too far apart or its entity labels never had a
relation in training. Three logistic regressions score the candidates:

1. One reads the text around a pair: n-grams of words in which entities are masked by their label and role,
   n-grams of the characters of both names, the punctuation between entities, distance and order.
2. One reads the whole text, n-grams of its words and characters: does it have any relation of the label? A
   text about a takeover can have the words of an investment.
3. The last one reads the scores that these give to the text and to all its candidates (stacked
   generalisation, Wolpert 1992). A company is rarely the investor of one deal and the target of another, and
   two companies are rarely each other's investors: such rules are learned from the data, label by label.

Candidates whose probability is above a threshold become relations. Where an entity can have only one relation
of a label, the most probable is kept. `initialize` learns from all examples at once, with scikit-learn, which
the trained component does not need. The same examples give the same weights, whatever the seed.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import srsly
from spacy.attrs import IS_PUNCT, LIKE_NUM, LOWER, ORTH
from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.scorer import PRFScore
from spacy.strings import hash_string
from spacy.tokens import Doc
from spacy.training import Example, validate_get_examples
from spacy.util import from_bytes, from_disk, minibatch, registry, to_bytes, to_disk
from spacy.vocab import Vocab

REQUIREMENTS: tuple[str, ...] = ()
# Maximum tokens of candidates in one step of prediction.
HELD = 50_000
TEXTS = 128  # in one step of training
# A text and its candidates: one row each, the indices of head and child in doc.ents.
Candidates = tuple[Doc, np.ndarray]
# (start, end, label) of an entity in characters, to compare gold and prediction.
Key = tuple[int, int, str]
# Start and end of several stretches of words or tokens.
Stretches = tuple[np.ndarray, np.ndarray]
# Columns of known n-grams, one owner after the other, and how many each owner has.
Known = tuple[np.ndarray, np.ndarray]
ENDS = ("head", "child")
ROLES = ("other", *ENDS)
ORDERS = ("back", "forward")  # the head is after the child, or before it
DISTANCES = (0, 1, 2, 3, 5, 8, 12, 18, 27, 40)
WORDS = (1, 3)  # shortest and longest n-gram of words
OUTLINE = (3, 5)  # of entities and punctuation
CHARACTERS = (3, 5)  # of the characters of a name's words
NEAR = 6  # words on each side of an entity whose n-grams are features of that entity
OUTSIDE = 4  # words before and after a pair of which n-grams are made
LONGEST = 40  # characters of a word that count
LENGTH = 12  # of the vector of a pair's n-grams, however many words the text has
SENTENCE_ENDS = (".", "!", "?", ";", ":", "。", "！", "？", "；", "：")
SURE = 10.0  # score of a label that every candidate has, or none
# Score of a pair that is no candidate. Scores are squashed by tanh(score / SCALE).
NEVER, SCALE = -6.0, 4.0
MOST = 4  # entities before or between others are counted up to here
MANY = 8  # entities of a text are counted up to here
MIX = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying by it loses nothing

if not Doc.has_extension("relations"):
    Doc.set_extension("relations", default=[])


class Layout:
    """Texts and their candidates as arrays, to work on all of a batch at once.

    Tokens, entities and candidates are numbered through the batch.

    Attributes:
        docs, sizes, offsets: the texts, how many tokens each has, and the number of its first.
        labels, start, end: of each entity its label, its first token, and the token behind its last.
        inside: the text of each entity.
        text, head, child: of each candidate.
        first, second: head and child in the order of the text; `forward` where the head is first.
    """

    def __init__(self, batch: Sequence[Candidates]) -> None:
        self.docs = [doc for doc, _ in batch]
        self.entities = [doc.ents for doc in self.docs]
        self.sizes, self.offsets = counted(self.docs)
        counts, firsts = counted(self.entities)
        self.labels = [ent.label_ for of_text in self.entities for ent in of_text]
        self.inside = np.repeat(np.arange(len(counts)), counts)
        bounds = [(ent.start, ent.end) for of_text in self.entities for ent in of_text]
        bounds = np.array(bounds, dtype=int).reshape(-1, 2)
        self.start, self.end = (bounds + self.offsets[self.inside, None]).T
        self.text = np.repeat(np.arange(len(batch)), counted([pairs for _, pairs in batch])[0])
        pairs = np.concatenate([np.zeros((0, 2), dtype=int), *(pairs for _, pairs in batch)])
        self.head, self.child = (pairs + firsts[self.text, None]).T
        self.first, self.second = np.minimum(self.head, self.child), np.maximum(self.head, self.child)
        self.forward = self.head < self.child

    def tokens(self, attributes: list[int]) -> np.ndarray:
        """(tokens, attributes): values of spaCy's token attributes."""
        arrays = [doc.to_array(attributes).reshape(-1, len(attributes)) for doc in self.docs]
        return np.concatenate([np.zeros((0, len(attributes)), dtype="uint64"), *arrays])

    def sentences(self) -> Stretches:
        """First token of the sentence of each entity, and the token behind its last."""
        ends = np.isin(self.tokens([ORTH])[:, 0], hashes(SENTENCE_ENDS))
        number = np.cumsum(ends) - ends
        owner = np.repeat(np.arange(len(self.docs)), self.sizes)
        number += owner  # a text begins a sentence
        own = number[self.start]
        return np.searchsorted(number, own), np.searchsorted(number, own, side="right")


class CandidateWords:
    """The words of the text of each candidate as hashes, one candidate after the other.

    Words are lower-cased, numbers are alike, and each entity is one word: its label and its role.

    Args:
        outline: entities and punctuation alone.

    Attributes:
        hashes: of the words.
        low, high, head, child: of each candidate: its first word, the word behind its last, its two ends.
    """

    def __init__(self, laid: Layout, *, outline: bool) -> None:
        lower, number, mark = laid.tokens([LOWER, LIKE_NUM, IS_PUNCT]).T
        values = np.where(number > 0, np.uint64(hash_string("#")), lower)
        kept = mark > 0 if outline else np.ones(len(values), dtype=bool)
        kept[ragged(laid.start, laid.end)[0]] = False
        kept[laid.start] = True
        other, head, child = (hashes(f"<{role} {label}>" for label in laid.labels) for role in ROLES)
        values[laid.start] = other
        self._before = np.concatenate([[0], np.cumsum(kept)])  # words before a token
        low, high = (self._before[laid.offsets[laid.text] + more] for more in (0, laid.sizes[laid.text]))
        self.hashes = values[kept][ragged(low, high)[0]]
        ends = np.cumsum(high - low)
        self._shift = ends - high
        self.low, self.high = low + self._shift, ends
        self.head, self.child = (self.place(laid.start[end]) for end in (laid.head, laid.child))
        self.hashes[self.head], self.hashes[self.child] = head[laid.head], child[laid.child]

    def place(self, tokens: np.ndarray) -> np.ndarray:
        """The words that begin at a token, one of each candidate."""
        return self._before[tokens] + self._shift


def counted(sequences: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """How many each has, and how many all before it."""
    counts = np.array([len(one) for one in sequences], dtype=int)
    return counts, np.cumsum(counts) - counts


def hashes(texts: Iterable[str]) -> np.ndarray:
    """(texts,): 64 bits each."""
    return np.array([hash_string(text) for text in texts], dtype="uint64")


def distinct(numbers: np.ndarray) -> np.ndarray:
    """Each once, in order. Sorting is many times as fast here as the hash table of `np.unique`."""
    ordered = np.sort(numbers)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)]]


def ragged(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers from each start to before its end, one after the other, and which stretch each is of."""
    lengths = np.maximum(ends - starts, 0)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    return np.arange(len(owner)) + (starts - np.cumsum(lengths) + lengths)[owner], owner


def ngrams(laid: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the features of each candidate, and the candidate of each.

    The hashes of one candidate aren't contiguous, and may be there more than once.
    """
    words = CandidateWords(laid, outline=False)
    outline = CandidateWords(laid, outline=True)
    first, second = np.minimum(words.head, words.child), np.maximum(words.head, words.child)
    regions = {
        "between": (first, second + 1),
        "before": (np.maximum(words.low, first - OUTSIDE), first + 1),
        "behind": (second, np.minimum(words.high, second + OUTSIDE + 1)),
    }
    parts = _grams(words.hashes, (words.low, words.high), WORDS, hashes(["text"]))
    for name, region in regions.items():
        salts = hashes(f"{order} {name}" for order in ORDERS)[1 * laid.forward]
        parts += _grams(words.hashes, region, WORDS, salts)
    around = (
        np.maximum(outline.low, np.minimum(outline.head, outline.child) - OUTSIDE),
        np.minimum(outline.high, np.maximum(outline.head, outline.child) + OUTSIDE + 1),
    )
    parts += _grams(outline.hashes, around, OUTLINE, hashes(["outline"]))
    lower, sentences, names = laid.tokens([LOWER])[:, 0], laid.sentences(), name_ngrams(laid)
    for role, at, number in (("head", words.head, laid.head), ("child", words.child, laid.child)):
        left, right = np.maximum(words.low, at - NEAR), np.minimum(words.high, at + NEAR + 1)
        start, end = laid.start[number], laid.end[number]
        sentence = tuple(words.place(bound[number]) for bound in sentences)
        parts += _grams(words.hashes, (left, at), (1, 2), hashes([f"{role} left"]))
        parts += _grams(words.hashes, (at + 1, right), (1, 2), hashes([f"{role} right"]))
        parts += _grams(words.hashes, sentence, (1, 1), hashes([f"{role} sentence"]))
        parts += _grams(lower, (start, end), (1, 1), hashes([role]))
        parts += _grams(lower, (end - 1, end), (1, 1), hashes([f"{role} last"]))
        parts += _grams(
            names[0], tuple(bound[number] for bound in names[1]), (1, 1), hashes([f"{role} name"])
        )
    known = describe(laid, second - first)
    parts.append((known.ravel(), np.repeat(np.arange(len(known)), known.shape[1])))
    grams, owner = map(np.concatenate, zip(*parts, strict=True))
    return grams, owner


def text_ngrams(laid: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the features of each text, and the text of each: n-grams of words and of characters.

    Entities are masked by their label.
    """
    lower = laid.tokens([LOWER])[:, 0]
    kept = np.ones(len(lower), dtype=bool)
    kept[ragged(laid.start, laid.end)[0]] = False
    spelt = [
        (gram, token)
        for token, word in enumerate(token.lower_[:LONGEST] for doc in laid.docs for token in doc)
        if kept[token]
        for gram in character_ngrams(word)
    ]
    kept[laid.start] = True
    lower[laid.start] = hashes(f"<{label}>" for label in laid.labels)
    before = np.concatenate([[0], np.cumsum(kept)])
    bounds = before[laid.offsets], before[laid.offsets + laid.sizes]
    parts = _grams(lower[kept], bounds, WORDS, hashes(["word"]))
    owner = np.repeat(np.arange(len(laid.docs)), laid.sizes)
    grams, tokens = np.array(spelt, dtype="uint64").reshape(-1, 2).T
    parts.append((grams, owner[tokens.astype(int)]))
    grams, owner = map(np.concatenate, zip(*parts, strict=True))
    return grams, owner


def name_ngrams(laid: Layout) -> tuple[np.ndarray, Stretches]:
    """Hashes of the character n-grams of all entities, and the stretch of each entity."""
    by_entity = [
        [gram for token in ent for gram in character_ngrams(token.lower_[:LONGEST])]
        for of_text in laid.entities
        for ent in of_text
    ]
    counts, firsts = counted(by_entity)
    flat = [gram for grams in by_entity for gram in grams]
    return np.array(flat, dtype="uint64"), (firsts, firsts + counts)


@lru_cache(maxsize=50_000)
def character_ngrams(word: str) -> tuple[int, ...]:
    """Hashes of the character n-grams of a word, whose start and end count as a character."""
    word, (shortest, longest) = f" {word} ", CHARACTERS
    return tuple(
        hash_string(word[start : start + n])
        for n in range(shortest, longest + 1)
        for start in range(len(word) - n + 1)
    )


def _grams(
    words: np.ndarray, part: Stretches, lengths: tuple[int, int], salts: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Hashes of the word n-grams of each stretch, and the stretch of each; one pair of arrays for each n.

    Args:
        lengths: the shortest and the longest n.
        salts: one per stretch, or one for all; they distinguish the same n-gram in different places.
    """
    salts, by_length = np.broadcast_to(salts, part[0].shape), []
    for n in range(lengths[0], lengths[1] + 1):
        index, owner = ragged(part[0], part[1] - n + 1)
        grams = salts[owner]
        for i in range(n):
            grams = (grams ^ words[index + i]) * MIX
            grams ^= grams >> np.uint64(29)
        by_length.append((grams, owner))
    return by_length


def describe(laid: Layout, distances: np.ndarray) -> np.ndarray:
    """(candidates, 5): hashes of a pair's labels, order, distance, ranks, and the entities between."""
    labels, ranks, numbers = laid.labels, [], Counter()
    for key in zip(laid.inside.tolist(), labels, strict=True):
        ranks.append(min(MOST, numbers[key]))
        numbers[key] += 1
    counts = np.bincount(laid.inside, minlength=len(laid.docs))
    features = []
    columns = laid.text, laid.head, laid.child, np.searchsorted(DISTANCES, distances), counts[laid.text]
    for text, head, child, bucket, count in zip(*(column.tolist() for column in columns), strict=True):
        low, high = min(head, child), max(head, child)
        inside = labels[low + 1 : min(high, low + 1 + MOST)]
        pair = f"{labels[head]} {ORDERS[head < child]} {labels[child]}"
        of = [min(MOST, numbers[text, labels[i]]) for i in (head, child)]
        features += [
            pair,
            f"{pair} distance {bucket}",
            f"{pair} inside {' '.join(inside)}",
            f"{pair} ranks {[ranks[head], ranks[child]]} of {of}",
            f"{pair} number {min(MOST, count)}",
        ]
    return hashes(features).reshape(-1, 5)


def known_ngrams(grams: np.ndarray, owner: np.ndarray, owners: int, keys: np.ndarray) -> Known:
    """Numbers in `keys` (sorted) of the n-grams of each owner, and how many each owner has.

    Args:
        owner, owners: the candidate, or text, of each n-gram; and how many of these there are.
    """
    place = np.minimum(np.searchsorted(keys, grams), max(0, len(keys) - 1))
    known = keys[place] == grams if len(keys) else np.zeros(len(grams), dtype=bool)
    owner, columns = np.divmod(distinct(owner[known] * len(keys) + place[known]), max(1, len(keys)))
    return columns, np.bincount(owner, minlength=owners)


def scales(lengths: np.ndarray) -> np.ndarray:
    """The value of an n-gram by how many its candidate has: long texts don't get extreme scores."""
    return LENGTH / np.sqrt(np.maximum(1, lengths))


def ngram_scores(laid: Layout, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """(candidates, labels): scores (logits) of the regression on the words around a pair."""
    known = known_ngrams(*ngrams(laid), len(laid.text), arrays["keys"])
    return linear_scores(known, arrays["weights"], arrays["bias"])


def text_scores(laid: Layout, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """(texts, labels): scores (logits) of the regression on whole texts."""
    known = known_ngrams(*text_ngrams(laid), len(laid.docs), arrays["text_keys"])
    return linear_scores(known, arrays["text_weights"], arrays["text_bias"])


def linear_scores(known: Known, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(owners, labels): the sum of the weights of the n-grams that each owner has."""
    columns, lengths = known
    weights = weights[columns]
    # what an owner without a known n-gram adds up to is that of no row
    total = np.vstack([np.zeros((1, weights.shape[1])), np.cumsum(weights, axis=0, dtype="f8")])
    ends = np.cumsum(lengths)
    return (total[ends] - total[ends - lengths]) * scales(lengths)[:, None] + bias


class TextScores:
    """The scores of a text and of all its candidates, as features of each candidate for the last regression.

    Args:
        scores: (candidates, labels) of the regression on pairs, `NEVER` where a label doesn't fit.
        of_texts: (texts, labels) of the regression on texts.
    """

    def __init__(self, laid: Layout, scores: np.ndarray, of_texts: np.ndarray) -> None:
        self.scores = scores
        entities = len(laid.labels)
        as_head, beside_head = best_of(scores, laid.head, entities)
        as_child, beside_child = best_of(scores, laid.child, entities)
        of_text, beside = best_of(scores, laid.text, len(laid.docs))
        self._rivals = np.stack([beside_head, beside_child, beside], axis=1)
        pair, reverse = laid.head * entities + laid.child, laid.child * entities + laid.head
        order = np.argsort(pair, kind="stable")
        place = order[np.minimum(np.searchsorted(pair[order], reverse), len(pair) - 1)]
        parts = [
            as_head[laid.head],
            as_child[laid.child],
            of_text[laid.text],
            scores,
            as_child[laid.head],
            as_head[laid.child],
            np.where((pair[place] == reverse)[:, None], scores[place], NEVER),
            of_texts[laid.text],
        ]
        self._context = np.stack(parts, axis=1)
        keys = list(zip(laid.inside.tolist(), laid.labels, strict=True))
        numbers, alike = Counter(laid.inside.tolist()), Counter(keys)
        counts = [(numbers[text], alike[text, label]) for text, label in keys]
        self._counts = np.minimum(np.array(counts, dtype=float)[laid.child], MANY) / SCALE

    def features(self, label: int, rows: np.ndarray) -> np.ndarray:
        """(rows, features) of some candidates for one label."""
        own, context, rivals = self.scores[rows, label], self._context[rows], self._rivals[rows, :, label]
        # of this label, the best of the other candidates
        context[:, :3, label] = rivals
        context[:, 3, label] = NEVER
        leads = own[:, None] - rivals[:, :2]
        context = context.reshape(len(rows), context.shape[1] * context.shape[2])
        squashed = np.tanh(np.hstack([own[:, None], context, leads]) / SCALE)
        features = np.hstack([squashed, self._counts[rows]])
        return np.hstack([own[:, None] / SCALE, features, squashed[:, :1] * features])


def best_of(scores: np.ndarray, groups: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(groups, labels): the best score of each group of candidates, and (candidates, labels): that of the
    other candidates of the same group; `NEVER` where there is none.

    Args:
        groups: the group of each candidate, from 0 to n - 1.
    """
    best, second = np.full((2, n, scores.shape[1]), NEVER)
    np.maximum.at(best, groups, scores)
    is_best = scores >= best[groups]
    np.maximum.at(second, groups, np.where(is_best, NEVER, scores))
    tied = np.zeros(best.shape, dtype=int)
    np.add.at(tied, groups, is_best)
    second = np.where(tied > 1, best, second)
    return best, np.where(is_best, second[groups], best[groups])


def fit(
    batch: Sequence[Candidates], truth: np.ndarray, fits: np.ndarray, settings: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Fit the regressions; see `Relations` for the settings.

    The last one learns from scores that the others give to texts they were not fitted to, by
    cross-validation: on their own training texts they are nearly always right.

    Args:
        truth, fits: (candidates, labels): whether a candidate has, or could have, a label.

    Raises:
        ImportError: scikit-learn isn't there; it is needed to train, not to use what was trained.
    """
    # the same text with other entities counts once, and is in the same fold
    texts, names = np.unique(hashes(doc.text for doc, _ in batch), return_inverse=True)
    fold = (texts % np.uint64(settings["folds"]))[names]
    owner = np.repeat(np.arange(len(batch)), [len(pairs) for _, pairs in batch])
    least = settings["ngram_texts"]
    layouts = map(Layout, portions(batch))
    ngrams_of = ngram_matrix([(*ngrams(laid), len(laid.text)) for laid in layouts])
    pairs = NgramRegression(
        *ngrams_of, truth, fits, names[owner], fold[owner], least, settings["ngram_strength"]
    )
    layouts = map(Layout, minibatch(batch, size=TEXTS))
    ngrams_of = ngram_matrix([(*text_ngrams(laid), len(laid.docs)) for laid in layouts])
    in_text = [any_of(values, owner, len(batch)) for values in (truth, fits)]
    whole = NgramRegression(*ngrams_of, *in_text, names, fold, least, settings["text_strength"], rare=True)
    joined = TextScores(Layout(batch), np.where(fits, pairs.held_out(), NEVER), whole.held_out())
    joint = [
        regression(joined.features(label, rows), truth[rows, label], settings["joint_strength"])
        for label, rows in enumerate(map(np.flatnonzero, fits.T))
    ]
    return {
        **pairs.arrays(),
        **{f"text_{name}": values for name, values in whole.arrays().items()},
        "joint": np.stack([one for one, _ in joint], axis=1).astype("float32"),
        "joint_bias": np.array([one for _, one in joint], dtype="float32"),
    }


def any_of(values: np.ndarray, owner: np.ndarray, owners: int) -> np.ndarray:
    """(owners, labels): whether a label holds for any candidate of each text."""
    result = np.zeros((owners, values.shape[1]), dtype=bool)
    np.logical_or.at(result, owner, values)
    return result


def ngram_matrix(parts: Sequence[tuple[np.ndarray, np.ndarray, int]]) -> tuple[Any, np.ndarray]:
    """(owners, n-grams), 1 where an owner has one; and the sorted n-grams.

    Args:
        parts: n-grams, their owners, and how many owners there are.
    """
    from scipy.sparse import csr_matrix

    keys = distinct(np.concatenate([np.zeros(0, "uint64"), *(grams for grams, *_ in parts)]))
    known = [known_ngrams(*part, keys) for part in parts]
    indices, counts = (np.concatenate(arrays) for arrays in zip(*known, strict=True))
    starts = np.concatenate([[0], np.cumsum(counts)])
    matrix = csr_matrix((np.ones(len(indices), dtype="f"), indices, starts), (len(counts), len(keys)))
    return matrix, keys


@dataclass(frozen=True)
class NgramRegression:
    """The regression on the n-grams of candidates, or of texts, and its cross-validation.

    Attributes:
        matrix, keys: see `ngram_matrix`.
        truth, fits: (rows, labels): whether a row has, or could have, a label.
        names: which text each row is of. fold: that it is in.
        least: texts that must have an n-gram. strength: C of scikit-learn.
        rare: rare n-grams weigh more (inverse document frequency). Texts have many frequent ones.
    """

    matrix: Any
    keys: np.ndarray
    truth: np.ndarray
    fits: np.ndarray
    names: np.ndarray
    fold: np.ndarray
    least: int
    strength: float
    rare: bool = False

    def arrays(self) -> dict[str, np.ndarray]:
        """Keys, weights and bias, learned from all rows."""
        columns, weights, bias = self._fit(np.ones(len(self.fold), dtype=bool))
        return {
            "keys": self.keys[columns],
            "weights": np.ascontiguousarray(weights, dtype="float32"),
            "bias": bias.astype("float32"),
        }

    def held_out(self) -> np.ndarray:
        """(rows, labels): the scores of each row, learned from the other folds."""
        scores = np.full(self.truth.shape, NEVER)
        for number in np.unique(self.fold):
            inside = self.fold != number
            if inside.any():
                columns, weights, bias = self._fit(inside)
                scores[~inside] = scaled(self.matrix[~inside][:, columns]) @ weights + bias
        return scores

    def _fit(self, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which n-grams are known, their weights, and bias, learned from some rows."""
        from scipy.sparse import csr_matrix

        used = np.flatnonzero(inside)
        names = self.names[used]
        of_text = csr_matrix((np.ones(len(used)), (names, np.arange(len(used)))))
        texts_with = (of_text @ self.matrix[used]).getnnz(axis=0)
        columns = np.flatnonzero(texts_with >= self.least)
        known = scaled(self.matrix[:, columns])
        importance = np.ones(len(columns))
        if self.rare:
            importance += np.log(len(np.unique(names)) / texts_with[columns])
            known.data *= importance[known.indices]
        weights, bias = np.zeros((len(columns), len(self.truth.T))), np.zeros(len(self.truth.T))
        for label, truth in enumerate(self.truth.T):
            rows = used[self.fits[used, label]]
            weights[:, label], bias[label] = regression(known[rows], truth[rows], self.strength)
        return columns, weights * importance[:, None], bias


def scaled(matrix: Any) -> Any:
    """The matrix with each row's ones replaced by `scales`."""
    lengths = np.diff(matrix.indptr)
    matrix.data = np.repeat(scales(lengths), lengths)
    return matrix


def regression(data: Any, truth: np.ndarray, strength: float) -> tuple[np.ndarray, float]:
    """Weights and bias of a logistic regression; a label that no row or each row has gets a sure bias."""
    from sklearn.linear_model import LogisticRegression

    if not data.shape[1] or not 0 < truth.sum() < len(truth):
        return np.zeros(data.shape[1]), SURE if len(truth) and truth.all() else -SURE
    model = LogisticRegression(C=strength, solver="liblinear", max_iter=1000, random_state=0)
    model.fit(data, truth)
    return model.coef_[0], float(model.intercept_[0])


class Relations(Pipe):
    """Sets `doc._.relations`: a list of `{"head", "child", "label", "score"}`, best first.

    `head` and `child` are indices into `doc.ents`. In training, `example.reference._.relations` holds the
    right ones (without `score`), and the candidates are those of the entities of `example.predicted`, or of
    the reference where nothing is predicted.

    Args:
        vocab: of the pipeline.
        name: of the component.
        settings: `threshold`: probability (0 to 1) that makes a relation. `max_distance`: most tokens between
            two entities of a candidate; 0 for any. `types`: for each label the pairs of entity labels (head,
            child) that it can join; labels that aren't listed take those of the training data. `single`: for
            each label the ends, "head" or "child", that can be in one such relation only; the most probable
            is kept; labels that aren't listed take the ends of which, in the training data, at least
            `single_share` (0 to 1; above 1 none is learned) are in one relation only. `ngram_texts`: training
            texts that must have an n-gram. `ngram_strength`, `text_strength`, `joint_strength`: inverse of
            the L2 regularisation (C of scikit-learn) of the regressions on pairs, on texts, and on the scores
            of both. `folds`: parts of the training data; the first two score each part by the others.
        scorer: of the pipeline's relations.
    """

    def __init__(self, vocab: Vocab, name: str, settings: dict[str, Any], scorer: Callable | None) -> None:
        if not 0 <= settings["threshold"] <= 1:
            raise ValueError(f"{name}: threshold = {settings['threshold']} must be from 0 to 1.")
        for key, least in {"max_distance": 0, "ngram_texts": 1, "folds": 2}.items():
            if settings[key] < least:
                raise ValueError(f"{name}: {key} = {settings[key]} must be at least {least}.")
        if wrong := sorted({end for ends in settings["single"].values() for end in ends} - set(ENDS)):
            raise ValueError(f"{name}: single = {wrong[0]!r} is neither head nor child.")
        self.vocab = vocab
        self.name = name
        self.scorer = scorer
        self.cfg: dict[str, Any] = {"labels": [], **settings}
        self.cfg["types"] = {label: sorted(map(list, pairs)) for label, pairs in settings["types"].items()}
        self.cfg["single"] = {
            label: [end for end in ENDS if end in ends] for label, ends in settings["single"].items()
        }
        self.arrays: dict[str, np.ndarray] = {}

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the columns of the weights."""
        return tuple(self.cfg["labels"])

    @property
    def label_data(self) -> dict[str, Any]:
        """What `initialize` needs to skip the examples: labels, what each joins, its single ends."""
        return {"labels": list(self.labels), "types": self.cfg["types"], "single": self.cfg["single"]}

    @property
    def threshold(self) -> float:
        """Probability from which a candidate is a relation."""
        return self.cfg["threshold"]

    @threshold.setter
    def threshold(self, value: float) -> None:
        self.cfg["threshold"] = float(value)

    def candidates(self, doc: Doc) -> np.ndarray:
        """(candidates, 2): indices of head and child in `doc.ents`, in order."""
        ents = [(ent.label_, ent.start, ent.end) for ent in doc.ents]
        farthest = self.cfg["max_distance"]
        allowed = {tuple(pair) for pairs in self.cfg["types"].values() for pair in pairs}
        pairs = [
            (i, j)
            for i, (one, start, end) in enumerate(ents)
            for j, (other, low, high) in enumerate(ents)
            if i != j
            and (one, other) in allowed
            and not (farthest and max(start, low) - min(end, high) > farthest)
        ]
        return np.array(pairs, dtype="i").reshape(-1, 2)

    def __call__(self, doc: Doc) -> Doc:
        self.set_annotations([doc], self.predict([doc]))
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Process texts in batches, which give the same answers as one text at a time."""
        for docs in minibatch(stream, size=batch_size):
            self.set_annotations(docs, self.predict(docs))
            yield from docs

    def predict(self, docs: Iterable[Doc]) -> np.ndarray:
        """Probabilities of all candidates of all texts, (candidates, labels); 0 where the types don't fit."""
        batch = [(doc, self.candidates(doc)) for doc in docs]
        fits = self._fits(batch)
        if not len(fits) or not self.arrays:
            return np.zeros(fits.shape)
        scores = np.concatenate([ngram_scores(Layout(part), self.arrays) for part in portions(batch)])
        laid = Layout(batch)
        texts = TextScores(laid, np.where(fits, scores, NEVER), text_scores(laid, self.arrays))
        result = np.zeros(scores.shape)
        for label, rows in enumerate(map(np.flatnonzero, fits.T)):
            final = texts.features(label, rows) @ self.arrays["joint"][:, label]
            result[rows, label] = 1 / (1 + np.exp(-final - self.arrays["joint_bias"][label]))
        # Rounded, as last bits differ between processors.
        return np.round(result, 6)

    def set_annotations(self, docs: Iterable[Doc], scores: np.ndarray) -> None:
        """Set `doc._.relations` to the candidates above the threshold, the most probable first.

        An end that can be in one relation only is kept once, so a wrong pair can't stand beside a right one.
        """
        start = 0
        for doc in docs:
            pairs = self.candidates(doc)
            rows = scores[start : start + len(pairs)]
            start += len(pairs)
            likely = [
                (float(rows[row, column]), *map(int, pairs[row]), label)
                for column, label in enumerate(self.labels)
                for row in np.flatnonzero((rows[:, column] >= self.threshold) & (rows[:, column] > 0))
            ]
            doc._.relations = [
                {"head": head, "child": child, "label": label, "score": round(score, 4)}
                # Ties go to the first in the text, whatever the last bits.
                for score, head, child, label in self._once(
                    sorted(likely, key=lambda f: (-round(f[0], 6), f[1:]))
                )
            ]

    def _once(self, relations: list[tuple]) -> Iterator[tuple]:
        """Those of (score, head, child, label), best first, whose single ends aren't taken yet."""
        taken: set[tuple] = set()
        for one in relations:
            ends = {
                (one[3], end, one[1 + ENDS.index(end)]) for end in self.cfg.get("single", {}).get(one[3], ())
            }
            if not ends & taken:
                taken |= ends
                yield one

    def _truth(self, examples: Sequence[Example], batch: Sequence[Candidates]) -> np.ndarray:
        column = {label: i for i, label in enumerate(self.labels)}
        rows = []
        for example, (doc, pairs) in zip(examples, batch, strict=True):
            truth = np.zeros((len(pairs), len(column)), dtype=bool)
            numbers = {entity_key(ent): number for number, ent in enumerate(doc.ents)}
            of_pair = {tuple(pair): row for row, pair in enumerate(pairs.tolist())}
            for head, child, label in relation_keys(example.reference):
                row = of_pair.get((numbers.get(head), numbers.get(child)))
                if row is not None and label in column:
                    truth[row, column[label]] = True
            rows.append(truth)
        return np.concatenate(rows) if rows else np.zeros((0, len(column)), dtype=bool)

    def _fits(self, batch: Sequence[Candidates]) -> np.ndarray:
        """(candidates, labels): whether a label can join the entity labels of the candidate."""
        types = [{tuple(pair) for pair in self.cfg["types"].get(label, ())} for label in self.labels]
        fits = {pair: [pair in pairs_of for pairs_of in types] for pair in set().union(*types)}
        rows = []
        for doc, pairs in batch:
            names = [ent.label_ for ent in doc.ents]
            rows += [fits[names[head], names[child]] for head, child in pairs.tolist()]
        return np.array(rows, dtype=bool).reshape(-1, len(types))

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: dict[str, Any] | None = None,
    ) -> None:
        """Take the labels from the examples (or from `labels`, see `label_data`) and learn from them.

        Raises:
            ValueError: no example has a relation, or none of a label in the config.
        """
        validate_get_examples(get_examples, "Relations.initialize")
        examples = list(get_examples())
        labels = self._seen(examples) if labels is None else labels
        known = [*self.cfg["types"], *self.cfg["single"]]
        missing = [label for label in known if label not in labels["labels"]]
        if missing or not labels["labels"]:
            raise ValueError(
                f"{self.name}: no example has a relation{f' {missing[0]!r}' if missing else ''}; "
                "annotate some, or take the label from the config"
            )
        self.cfg["labels"] = list(labels["labels"])
        for name in ("types", "single"):
            self.cfg[name] = {
                label: self.cfg[name].get(label, labels.get(name, {}).get(label, []))
                for label in labels["labels"]
            }
        # entities that another component predicts aren't set yet
        docs = [eg.predicted if eg.predicted.ents else eg.reference for eg in examples]
        batch = [(doc, self.candidates(doc)) for doc in docs]
        self.arrays = fit(batch, self._truth(examples, batch), self._fits(batch), self.cfg)

    def _seen(self, examples: Iterable[Example]) -> dict[str, Any]:
        """Labels, types and single ends of the examples, as in `label_data`."""
        types: dict[str, set[tuple[str, str]]] = {}
        ends: dict[tuple[str, str], Counter] = {}
        for number, example in enumerate(examples):
            for head, child, label in relation_keys(example.reference):
                types.setdefault(label, set()).add((head[2], child[2]))
                for end, key in zip(ENDS, (head, child), strict=True):
                    ends.setdefault((label, end), Counter())[number, key] += 1
        single: dict[str, list[str]] = {label: [] for label in types}
        for (label, end), counts in ends.items():
            if sum(n == 1 for n in counts.values()) >= self.cfg["single_share"] * len(counts):
                single[label].append(end)
        pairs = {label: sorted(map(list, of_label)) for label, of_label in types.items()}
        return {"labels": sorted(types), "types": pairs, "single": single}

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Settings, labels and weights."""
        return to_bytes({"cfg": lambda: srsly.json_dumps(self.cfg).encode(), "arrays": self._packed}, exclude)

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> "Relations":
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

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "Relations":
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
        self.arrays = srsly.msgpack_loads(data)
        if self.arrays and "text_keys" not in self.arrays:
            raise ValueError(
                f"{self.name}: trained by an earlier version; run `weasel run train-components`."
            )


@Language.factory(
    "relations",
    assigns=["doc._.relations"],
    requires=["doc.ents"],
    default_config={
        "threshold": 0.5,
        "max_distance": 0,
        "types": {},
        "single": {},
        "single_share": 0.98,
        "ngram_texts": 2,
        "ngram_strength": 1.0,
        "text_strength": 0.02,
        "joint_strength": 1.0,
        "folds": 5,
        "scorer": {"@scorers": "ie.RelationScorer.v1"},
    },
    default_score_weights={
        "relations_f": 1.0,
        "relations_p": 0.0,
        "relations_r": 0.0,
        "relations_per_type": None,
    },
)
def make_relations(
    nlp: Language,
    name: str,
    threshold: float,
    max_distance: int,
    types: dict[str, list[list[str]]],
    single: dict[str, list[str]],
    single_share: float,
    ngram_texts: int,
    ngram_strength: float,
    text_strength: float,
    joint_strength: float,
    folds: int,
    scorer: Callable | None,
) -> Relations:
    """Relations between entities that another component found; see `Relations` for the settings."""
    settings = {
        "threshold": threshold,
        "max_distance": max_distance,
        "types": types,
        "single": single,
        "single_share": single_share,
        "ngram_texts": ngram_texts,
        "ngram_strength": ngram_strength,
        "text_strength": text_strength,
        "joint_strength": joint_strength,
        "folds": folds,
    }
    return Relations(nlp.vocab, name, settings, scorer)


def portions(batch: Sequence[Candidates]) -> Iterator[list[Candidates]]:
    """Split a batch into parts that fit into memory.

    Each candidate repeats all tokens of its text: a long text with a hundred names would take gigabytes.
    """
    portion: list[Candidates] = []
    held = 0
    for doc, pairs in batch:
        step = max(1, HELD // max(1, len(doc)))
        for start in range(0, max(1, len(pairs)), step):
            part = pairs[start : start + step]
            if portion and held + len(part) * len(doc) > HELD:
                yield portion
                portion, held = [], 0
            portion.append((doc, part))
            held += len(part) * len(doc)
    if portion:
        yield portion


def entity_key(ent: Any) -> Key:
    """Key that is equal for equal entities of one text."""
    return ent.start_char, ent.end_char, ent.label_


def relation_keys(doc: Doc) -> Iterator[tuple[Key, Key, str]]:
    """`doc._.relations` as (head, child, label), with head and child as keys."""
    keys = [entity_key(ent) for ent in doc.ents]
    for relation in doc._.relations:
        yield keys[relation["head"]], keys[relation["child"]], relation["label"]


def score_relations(examples: Iterable[Example], **_: Any) -> dict[str, Any]:
    """Micro P, R and F of exact relations: label and both entities (offsets and labels) must be right.

    Returns:
        `relations_p`, `relations_r`, `relations_f` (None without gold and predicted relations), and
        `relations_per_type`: label to `p`, `r`, `f`.
    """
    micro, by_label = PRFScore(), {}
    for example in examples:
        gold, predicted = set(relation_keys(example.reference)), set(relation_keys(example.predicted))
        micro.score_set(predicted, gold)
        for label in {key[2] for key in gold | predicted}:
            by_label.setdefault(label, PRFScore()).score_set(
                {key for key in predicted if key[2] == label}, {key for key in gold if key[2] == label}
            )
    if not by_label:
        return dict.fromkeys(("relations_p", "relations_r", "relations_f", "relations_per_type"))
    return {
        "relations_p": micro.precision,
        "relations_r": micro.recall,
        "relations_f": micro.fscore,
        "relations_per_type": {label: score.to_dict() for label, score in sorted(by_label.items())},
    }


@registry.scorers("ie.RelationScorer.v1")
def make_relation_scorer() -> Callable:
    """The default scorer of `relations`."""
    return score_relations

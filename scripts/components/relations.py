"""Typed, directed relations between the entities of a text: a trainable component, model included.

Every ordered pair of entities is a candidate, unless it is too far apart or its entity labels never had a
relation in training. A candidate is described by the token vectors of both entities, of what stands between
them and around them (as Zeng et al. 2014 pool a sentence in pieces), and by hashed features: entity labels,
order, distance, which entities stand between. Each label has a probability of its own; those above a
threshold become relations. Where an entity can have one relation of a label only, the most probable is kept.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Optional

import numpy as np
from spacy.attrs import LIKE_NUM, LOWER
from spacy.language import Language
from spacy.pipeline.trainable_pipe import TrainablePipe
from spacy.scorer import PRFScore
from spacy.strings import hash_string
from spacy.tokens import Doc
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.util import registry
from spacy.vocab import Vocab
from thinc.api import (
    Config,
    Dropout,
    HashEmbed,
    Linear,
    Maxout,
    Model,
    Optimizer,
    chain,
    concatenate,
    expand_window,
    list2ragged,
    ragged2list,
    residual,
    set_dropout_rate,
    with_array,
)
from thinc.types import Floats2d, Floats3d, Ints2d

REQUIREMENTS: tuple[str, ...] = ()
# Maximum tokens of candidates in one step of prediction.
HELD = 50_000
# A text and its candidates: one row each, the indices of head and child in doc.ents.
Candidates = tuple[Doc, np.ndarray]
# (start, end, label) of an entity in characters, to compare gold and prediction.
Key = tuple[int, int, str]
# Start and end of several stretches of rows, words or tokens.
Stretches = tuple[np.ndarray, np.ndarray]
ENDS = ("head", "child")
ROLES = ("other", *ENDS)
ORDERS = ("back", "forward")  # the head is after the child, or before it
PLACES = ("before", "in", "behind")
DISTANCES = (0, 1, 2, 3, 5, 8, 12, 18, 27, 40)
LONGEST = 3  # words of an n-gram
NEAR = 6  # words to either side of an entity whose place beside it is a feature
OUTSIDE = 4  # words before and after a pair of which n-grams are made
LENGTH = 12  # of the vector of a pair's n-grams, however many words the text has
SURE = 10.0  # score of a label that every candidate has, or none
MOST = 4  # entities before or between others are counted up to here
POOLS = 5
SEED = 20  # of the hashes of the first embedding; others follow
MIX = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying by it loses nothing

DEFAULT_MODEL = """
[model]
@architectures = "ie.RelationModel.v1"
hidden_width = 128
role_width = 16
depth = 0
ngram_texts = 2
ngram_strength = 1.0
ngram_share = 0.8

[model.tok2vec]
@architectures = "spacy.Tok2Vec.v2"

[model.tok2vec.embed]
@architectures = "ie.MaskedEmbed.v1"
width = 64
attrs = ["NORM","PREFIX","SUFFIX","SHAPE"]
rows = [5000,1000,2500,2500]
masked = ["NORM","PREFIX"]

[model.tok2vec.encode]
@architectures = "spacy.MaxoutWindowEncoder.v2"
width = 64
depth = 2
window_size = 1
maxout_pieces = 3
"""

if not Doc.has_extension("relations"):
    Doc.set_extension("relations", default=[])


@registry.architectures("ie.MaskedEmbed.v1")
def build_masked_embed(
    width: int, attrs: list[str], rows: list[int], masked: list[str]
) -> Model[list[Doc], list[Floats2d]]:
    """`spacy.MultiHashEmbed.v2`, except that tokens of entities have their label as some of the attributes.

    There are many names and each says little, so a model of a few hundred examples learns more from the words
    around them (Zhang et al. 2017 mask entities in this way). The suffix of a name may still be informative.

    Args:
        width: of the vectors.
        attrs, rows: token attributes, and rows of the table of each.
        masked: those of `attrs` that are hidden for entities.
    """
    if len(attrs) != len(rows) or not set(masked) <= set(attrs):
        raise ValueError(f"attrs = {attrs} and rows = {rows} must be as many, masked = {masked} among them.")
    columns = [attrs.index(name) for name in masked]

    def extract(model: Model, docs: list[Doc], is_train: bool) -> tuple[list[Ints2d], Callable]:
        arrays = []
        for doc in docs:
            values = doc.to_array(attrs).reshape(len(doc), len(attrs)).astype("uint64")
            for ent in doc.ents:
                values[ent.start : ent.end, columns] = hash_string(f"entity {ent.label_}")
            arrays.append(model.ops.asarray(values, dtype="uint64"))
        return arrays, lambda d: []

    tables = [HashEmbed(width, n, column=i, seed=SEED + 2 + i, dropout=0.0) for i, n in enumerate(rows)]
    embed = concatenate(*tables)
    mix = Maxout(nO=width, nI=width * len(rows), nP=3, normalize=True, dropout=0.0)
    model: Model = chain(
        Model("extract_masked", extract), list2ragged(), with_array(chain(embed, mix)), ragged2list()
    )
    model.set_dim("nO", width)
    return model


@registry.architectures("ie.RelationModel.v1")
def build_relation_model(
    tok2vec: Model[list[Doc], list[Floats2d]],
    hidden_width: int = 128,
    role_width: int = 16,
    depth: int = 0,
    ngram_texts: int = 2,
    ngram_strength: float = 1.0,
    ngram_share: float = 0.8,
    nO: Optional[int] = None,  # noqa: UP045 (thinc reads the annotation)
) -> Model[list[Candidates], Floats2d]:
    """Scores (logits) of every label for every candidate by each head, (candidates, heads * labels).

    There are two heads, a neural one and a linear one on n-grams. They are trained separately, and their
    scores are averaged by `ngram_share`, as they make different errors; trained on their sum, the faster one
    would stop the other. The linear one is a logistic regression that `Relations.initialize` fits to all
    examples at once: small steps, batch by batch, give rare n-grams too much weight.

    Args:
        tok2vec: token vectors; a `spacy.Tok2VecListener.v1` to share those of another component.
        hidden_width: of the layer between description and scores.
        role_width: of what is added to a token's vector: its role in the pair, its entity label.
        depth: layers of window 1 that work on these.
        ngram_texts: training texts that must have an n-gram; 0 for no n-grams at all.
        ngram_strength: how closely they may fit the training data (C of scikit-learn).
        ngram_share: weight of the n-grams in the score, from 0 to 1.
        nO: number of labels; None leaves it to the component.
    """
    width = tok2vec.get_dim("nO")
    roles = concatenate(*(HashEmbed(role_width, 500, column=i, seed=SEED + i, dropout=0.0) for i in range(2)))
    entry = Maxout(nO=width, nI=width + 2 * role_width, nP=3, normalize=True, dropout=0.0)
    layers = [
        residual(chain(expand_window(1), Maxout(nO=width, nI=3 * width, nP=3, normalize=True, dropout=0.0)))
        for _ in range(depth)
    ]
    encode = with_array(chain(entry, *layers), pad=depth) if layers else with_array(entry)
    output: Model[Floats2d, Floats2d] = Linear(nO=nO, nI=hidden_width)
    classify = chain(
        Dropout(),
        Maxout(nO=hidden_width, nI=POOLS * width, nP=3, normalize=True, dropout=0.0),
        output,
    )
    parts = [tok2vec, roles, encode, classify]
    if ngram_texts:
        parts.append(ngram_layer(nO, ngram_texts, ngram_strength))
    return Model(
        "relations",
        forward,
        init=initialise,
        layers=parts,
        refs={"tok2vec": tok2vec, "output": output, "ngrams": parts[4] if ngram_texts else None},
        dims={"nO": nO},
        attrs={"shares": [1 - ngram_share, ngram_share] if ngram_texts else [1.0], "depth": depth},
    )


def initialise(model: Model, X: list[Candidates] | None = None, Y: Floats2d | None = None) -> None:
    """Give every layer its dimensions and weights."""
    if Y is not None:
        for layer in (model, model.get_ref("output"), model.maybe_get_ref("ngrams")):
            if layer is not None:
                layer.set_dim("nO", Y.shape[1])
    tok2vec, *others = model.layers
    if model.maybe_get_ref("ngrams"):
        others.pop()  # is fitted, see `fit_ngrams`
    tok2vec.initialize(X=[doc for doc, _ in X] if X else None)
    for layer in others:
        layer.initialize()


class Layout:
    """Texts and their candidates as arrays: a step of the model works on all of a batch at once.

    Tokens, entities and candidates are numbered through the batch. A candidate has rows of its own, one for
    each token of its text.

    Attributes:
        docs, sizes, offsets: the texts, how many tokens each has, and the number of its first.
        labels, start, end: of each entity its label, its first token, and the token behind its last.
        inside: the text of each entity.
        text, head, child: of each candidate.
        first, second: head and child in the order of the text; `forward` where the head is first.
        lengths, shift: rows of each candidate, and what is added to a token's number to get that of its row.
    """

    def __init__(self, batch: Sequence[Candidates]) -> None:
        self.docs = [doc for doc, _ in batch]
        ents = [doc.ents for doc in self.docs]
        self.sizes, self.offsets = counted(self.docs)
        counts, firsts = counted(ents)
        self.labels = [ent.label_ for of_text in ents for ent in of_text]
        self.inside = np.repeat(np.arange(len(ents)), counts)
        bounds = [(ent.start, ent.end) for of_text in ents for ent in of_text]
        bounds = np.array(bounds, dtype=int).reshape(-1, 2)
        self.start, self.end = (bounds + self.offsets[self.inside, None]).T
        self.text = np.repeat(np.arange(len(batch)), counted([pairs for _, pairs in batch])[0])
        pairs = np.concatenate([np.zeros((0, 2), dtype=int), *(pairs for _, pairs in batch)])
        self.head, self.child = (pairs + firsts[self.text, None]).T
        self.first, self.second = np.minimum(self.head, self.child), np.maximum(self.head, self.child)
        self.forward = self.head < self.child
        self.lengths = self.sizes[self.text]
        self.shift = np.cumsum(self.lengths) - self.lengths - self.offsets[self.text]

    def parts(self) -> list[Stretches]:
        """The stretches of rows that describe each candidate, none empty: head, child, between."""
        stretches = [
            (self.start[self.head], self.end[self.head]),
            (self.start[self.child], self.end[self.child]),
            (self.end[self.first] - 1, self.start[self.second] + 1),
        ]
        return [(low + self.shift, high + self.shift) for low, high in stretches]

    def kinds(self) -> np.ndarray:
        """(rows,): the token of a row, its role in the pair and its place, as one number; see `marks`."""
        token, owner = ragged(self.offsets[self.text], self.offsets[self.text] + self.lengths)
        role = np.zeros(len(token), dtype=int)
        for number, part in enumerate(self.parts()[:2], 1):
            role[ragged(*part)[0]] = number
        place = (token >= self.start[self.first][owner]) + 1 * (token >= self.end[self.second][owner])
        return ((token * len(ROLES) + role) * len(ORDERS) + self.forward[owner]) * len(PLACES) + place

    def marks(self, kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The token of each kind, and (kinds, 2) hashes: of its role, and of its place beside the pair."""
        rest, place = np.divmod(kinds, len(ORDERS) * len(PLACES))
        token, role = np.divmod(rest, len(ROLES))
        roles = np.full((len(ROLES), self.sizes.sum()), hash_string("none"), dtype="uint64")
        index, owner = ragged(self.start, self.end)
        for number, name in enumerate(ROLES):
            roles[number, index] = hashes(f"{name} {label}" for label in self.labels)[owner]
        places = hashes(f"{order} {name}" for order in ORDERS for name in PLACES)
        return token, np.stack([roles[role, token], places[place]], axis=1)

    def words(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The words of the text of each candidate, one after the other, as hashes.

        They are lower-cased, numbers are alike, and each entity is one word: its label and its role.

        Returns:
            (words,) hashes; (candidates,) first word, that behind the last, head, child.
        """
        values = np.concatenate([doc.to_array([LOWER, LIKE_NUM]).reshape(-1, 2) for doc in self.docs])
        values = np.where(values[:, 1] > 0, np.uint64(hash_string("#")), values[:, 0])
        other, head, child = (hashes(f"<{role} {label}>" for label in self.labels) for role in ROLES)
        values[self.start] = other
        kept = np.ones(len(values), dtype=bool)
        kept[ragged(self.start + 1, self.end)[0]] = False
        before = np.concatenate([[0], np.cumsum(kept)])  # words before a token
        low, high = (before[self.offsets[self.text] + more] for more in (0, self.lengths))
        words = values[kept][ragged(low, high)[0]]
        ends = np.cumsum(high - low)
        shift = ends - high
        heads, children = (before[self.start[one]] + shift for one in (self.head, self.child))
        words[heads], words[children] = head[self.head], child[self.child]
        return words, low + shift, ends, heads, children


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


def forward(model: Model, X: list[Candidates], is_train: bool) -> tuple[Floats2d, Callable]:
    """Classify the candidates of a batch of texts, one row each in their order.

    Each candidate is a sequence of its own: the vectors of all tokens of the text, each with its role in the
    pair. The description is pooled from that: head, child, between them, and the maximum and mean of all.
    In training the scores are those of the neural head alone, for nothing is learnt from the n-grams'.
    """
    ops = model.ops
    tok2vec, _, _, classify = model.layers[:4]
    labels = model.get_dim("nO")
    linear = None if is_train else model.maybe_get_ref("ngrams")
    vectors, backprop_vectors = tok2vec([doc for doc, _ in X], is_train)
    if not any(len(pairs) for _, pairs in X):
        none = ops.alloc2f(0, labels * (2 if linear else 1))
        return none, lambda d: backprop_vectors([ops.alloc2f(*v.shape) for v in vectors]) and []
    laid = Layout(X)
    tokens, backprop_tokens = encode_rows(model, ops.xp.concatenate(vectors), laid, is_train)
    stretches = [*laid.parts(), None, None]
    pooled, unpool = zip(
        *(pool(model, tokens, laid, part, most=i in (2, 4)) for i, part in enumerate(stretches)), strict=True
    )
    scores, backprop_scores = classify(ops.xp.hstack(pooled), is_train)
    if linear:
        scores = ops.xp.hstack([scores, linear.predict(laid)])

    def backprop(d_scores: Floats2d) -> list:
        d_pooled = ops.xp.split(backprop_scores(d_scores), POOLS, axis=1)
        d_tokens = ops.alloc2f(*tokens.shape)
        for back, d_part in zip(unpool, d_pooled, strict=True):
            back(d_tokens, ops.as_contig(d_part))
        backprop_vectors(ops.unflatten(backprop_tokens(d_tokens), ops.asarray1i(laid.sizes)))
        return []

    return scores, backprop


def encode_rows(
    model: Model, vectors: Floats2d, laid: Layout, is_train: bool
) -> tuple[Floats2d, Callable[[Floats2d], Floats2d]]:
    """Vectors of all rows of a layout from those of its tokens, and the way back.

    A token that has the same role and place in many pairs has the same vector there, which is computed once,
    unless it also depends on the tokens beside it (`depth`) or, in training, on what dropout leaves of it.
    """
    ops = model.ops
    _, roles, encode, _ = model.layers[:4]
    kinds, lengths, rows = laid.kinds(), laid.lengths, None
    if not is_train and not model.attrs["depth"]:
        kinds, rows = np.unique(kinds, return_inverse=True)
        lengths = np.array([len(kinds)])
    token_numbers, marks = laid.marks(kinds)
    index, lengths = ops.asarray(token_numbers, dtype="i"), ops.asarray1i(lengths)
    roled, backprop_roles = roles(ops.asarray(marks, dtype="uint64"), is_train)
    encoded, backprop_encode = encode(
        ops.unflatten(ops.xp.hstack([vectors[index], roled]), lengths), is_train
    )
    tokens = ops.xp.concatenate(encoded)

    def backprop(d_tokens: Floats2d) -> Floats2d:
        d_rows = ops.xp.concatenate(backprop_encode(ops.unflatten(d_tokens, lengths)))
        width = vectors.shape[1]
        backprop_roles(ops.as_contig(d_rows[:, width:]))
        d_vectors = ops.alloc2f(*vectors.shape)
        ops.scatter_add(d_vectors, index, ops.as_contig(d_rows[:, :width]))
        return d_vectors

    return tokens if rows is None else tokens[ops.asarray(rows, dtype="i")], backprop


def ngram_layer(nO: int | None, texts: int, strength: float) -> Model[Layout, Floats2d]:
    """Scores from the n-grams of candidates, linear in those it knows; see `fit_ngrams`."""
    return Model(
        "ngrams",
        forward_ngrams,
        dims={"nO": nO},
        params={"W": None, "b": None},
        attrs={"keys": np.zeros(0, dtype="uint64"), "texts": texts, "strength": strength},
    )


def forward_ngrams(model: Model, X: Layout, is_train: bool) -> tuple[Floats2d, Callable[[Floats2d], list]]:
    """(candidates, labels). Nothing is learnt on the way back."""
    columns, values, lengths = known_ngrams(X, model.attrs["keys"])
    weights = model.ops.to_numpy(model.get_param("W"))[columns] * values[:, None]
    # what a candidate without a known n-gram adds up to is that of no row
    total = np.vstack([np.zeros((1, weights.shape[1]), dtype="f"), np.cumsum(weights, axis=0, dtype="f8")])
    ends = np.cumsum(lengths)
    scores = (total[ends] - total[ends - lengths]).astype("f")
    return model.ops.asarray2f(scores) + model.get_param("b"), lambda d: []


def known_ngrams(laid: Layout, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of all candidates in a row: which n-grams of `keys` (sorted) they have, their values, how many each."""
    grams, owner = ngrams(laid)
    place = np.minimum(np.searchsorted(keys, grams), len(keys) - 1)
    known = keys[place] == grams if len(keys) else np.zeros(len(grams), dtype=bool)
    owner, columns = np.divmod(distinct(owner[known] * len(keys) + place[known]), max(1, len(keys)))
    lengths = np.bincount(owner, minlength=len(laid.text))
    # a text of twice as many words is no surer
    values = (LENGTH / np.sqrt(np.maximum(1, lengths))).astype("f")
    return columns, values[owner], lengths


def fit_ngrams(layer: Model, batch: Sequence[Candidates], truth: np.ndarray, fits: np.ndarray) -> None:
    """Give the n-gram layer the n-grams that are in several texts, and the weights that fit best.

    Args:
        truth, fits: (candidates, labels): 1 where a candidate has, or could have, a label.

    Raises:
        ImportError: scikit-learn isn't there; it is needed to train, not to use what was trained.
    """
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    texts = []
    for one in batch:
        of_text = [ngrams(Layout(part))[0] for part in portions([one])]
        texts.append(distinct(np.concatenate(of_text)))
    grams, numbers = np.unique(np.concatenate([np.zeros(0, "uint64"), *texts]), return_counts=True)
    keys = layer.attrs["keys"] = grams[numbers >= layer.attrs["texts"]]
    weights = np.zeros((len(keys), truth.shape[1]), dtype="f")
    bias = np.full(truth.shape[1], -SURE, dtype="f")
    if len(truth) and len(keys):
        known = zip(*(known_ngrams(Layout(part), keys) for part in portions(batch)), strict=True)
        columns, values, lengths = map(np.concatenate, known)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        matrix = csr_matrix((values, columns, starts), shape=(len(truth), len(keys)))
        for label in range(truth.shape[1]):
            chosen = np.flatnonzero(fits[:, label])
            right = truth[chosen, label] > 0
            if 0 < right.sum() < len(right):
                fitted = LogisticRegression(
                    C=layer.attrs["strength"], solver="liblinear", max_iter=1000, random_state=0
                ).fit(matrix[chosen], right)
                weights[:, label], bias[label] = fitted.coef_[0], fitted.intercept_[0]
            elif len(right):
                bias[label] = SURE if right.all() else -SURE
    layer.set_param("W", layer.ops.asarray2f(weights))
    layer.set_param("b", layer.ops.asarray1f(bias))


def pool(
    model: Model, tokens: Floats2d, laid: Layout, part: Stretches | None, *, most: bool
) -> tuple[Floats2d, Callable[[Floats2d, Floats2d], None]]:
    """One vector a stretch of rows (None: all of each candidate), their mean or (`most`) their maximum.

    The way back adds to the gradient of the rows.
    """
    ops = model.ops
    lengths = ops.asarray1i(part[1] - part[0] if part else laid.lengths)
    index = ops.asarray(ragged(*part)[0], dtype="i") if part else None
    rows = tokens if index is None else tokens[index]
    vectors, which = ops.reduce_max(rows, lengths) if most else (ops.reduce_mean(rows, lengths), None)

    def unpool(d_tokens: Floats2d, d_vectors: Floats2d) -> None:
        if most:
            d_rows = ops.backprop_reduce_max(d_vectors, which, lengths)
        else:
            d_rows = ops.backprop_reduce_mean(d_vectors, lengths)
        if index is None:
            d_tokens += d_rows
        else:
            ops.scatter_add(d_tokens, index, d_rows)

    return vectors, unpool


def ngrams(laid: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of word n-grams that know the pair, and of its order and distance, and the candidate of each.

    Those of a candidate aren't side by side, and one may be there more than once.
    """
    row, low, high, head, child = laid.words()
    first, second = np.minimum(head, child), np.maximum(head, child)
    regions = {
        "between": (first, second + 1),
        "before": (np.maximum(low, first - OUTSIDE), first + 1),
        "behind": (second, np.minimum(high, second + OUTSIDE + 1)),
    }
    parts = _grams(row, (low, high), LONGEST, hashes(["text"]))
    for name, region in regions.items():
        salts = hashes(f"{order} {name}" for order in ORDERS)[1 * laid.forward]
        parts += _grams(row, region, LONGEST, salts)
    lower = np.concatenate([doc.to_array(LOWER) for doc in laid.docs])
    for role, at, number in (("head", head, laid.head), ("child", child, laid.child)):
        left, right = np.maximum(low, at - NEAR), np.minimum(high, at + NEAR + 1)
        start, end = laid.start[number], laid.end[number]
        parts += _grams(row, (left, at), 2, hashes([f"{role} left"]))
        parts += _grams(row, (at + 1, right), 2, hashes([f"{role} right"]))
        parts += _grams(lower, (start, end), 1, hashes([role]))
        parts += _grams(lower, (end - 1, end), 1, hashes([f"{role} last"]))
    known = describe(laid, second - first)
    parts.append((known.ravel(), np.repeat(np.arange(len(known)), known.shape[1])))
    grams, owner = map(np.concatenate, zip(*parts, strict=True))
    return grams, owner


def _grams(
    words: np.ndarray, part: Stretches, longest: int, salts: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each n up to the longest: hashes of every n words in a row of a stretch, and which stretch it is.

    The salts, one a stretch or one for all, keep those of one place apart from another's.
    """
    salts, by_length = np.broadcast_to(salts, part[0].shape), []
    for n in range(1, longest + 1):
        index, owner = ragged(part[0], part[1] - n + 1)
        grams = salts[owner]
        for i in range(n):
            grams = (grams ^ words[index + i]) * MIX
            grams ^= grams >> np.uint64(29)
        by_length.append((grams, owner))
    return by_length


def describe(laid: Layout, distances: np.ndarray) -> np.ndarray:
    """(candidates, 5): hashes of what is known of a pair beside its words."""
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


class Relations(TrainablePipe):
    """Sets `doc._.relations`: a list of `{"head", "child", "label", "score"}`, best first.

    `head` and `child` are indices into `doc.ents`. In training, `example.reference._.relations` holds the
    right ones (without `score`), and the candidates are those of the entities of `example.predicted`: gold
    ones if the corpus sets them, predicted ones if an entity recogniser is among the annotating components.

    Args:
        threshold: probability (0 to 1) that makes a relation.
        max_distance: most tokens between two entities of a candidate; 0 for any.
        types: for each label the pairs of entity labels (head, child) that it can join. Labels that aren't
            listed take those of the training data.
        single: for each label the ends, "head" or "child", that can be in one such relation only; the most
            probable is kept. Labels that aren't listed take the ends of which, in the training data, at least
            `single_share` are in one relation only.
        single_share: from 0 to 1; above 1 none is learnt.
    """

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str,
        *,
        threshold: float,
        max_distance: int,
        types: dict[str, list[list[str]]],
        single: dict[str, list[str]],
        single_share: float,
        scorer: Callable | None,
    ) -> None:
        if not 0 <= threshold <= 1 or max_distance < 0:
            raise ValueError(
                f"{name}: threshold = {threshold} must be from 0 to 1, "
                f"max_distance = {max_distance} at least 0."
            )
        if wrong := sorted({end for ends in single.values() for end in ends} - set(ENDS)):
            raise ValueError(f"{name}: single = {wrong[0]!r} is neither head nor child.")
        self.vocab = vocab
        self.model = model
        self.name = name
        self.scorer = scorer
        allowed = {label: sorted(map(list, pairs)) for label, pairs in types.items()}
        self.cfg: dict[str, Any] = {
            "labels": [],
            "threshold": threshold,
            "max_distance": max_distance,
            "types": allowed,
            "single": {label: [end for end in ENDS if end in ends] for label, ends in single.items()},
            "single_share": single_share,
        }

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the model's output."""
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

    def add_label(self, label: str) -> int:
        """Add a label before initialization; 0 if it was there, 1 if not."""
        if label in self.cfg["labels"]:
            return 0
        if self.model.has_dim("nO"):
            raise ValueError(
                f"{self.name}: {label!r} can't be added to a model that has its labels; train it again."
            )
        self.cfg["labels"].append(label)
        self.vocab.strings.add(label)
        return 1

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

    def predict(self, docs: Iterable[Doc]) -> Floats2d:
        """Probabilities of all candidates of all texts, (candidates, labels); 0 where the types don't fit."""
        batch = [(doc, self.candidates(doc)) for doc in docs]
        if not any(len(pairs) for _, pairs in batch):
            # the layers below don't support texts without tokens
            return self.model.ops.alloc2f(0, len(self.labels))
        shares = self.model.ops.asarray1f(self.model.attrs["shares"])
        scores = [shares @ self._by_head(self.model.predict(portion)) for portion in portions(batch)]
        return self.model.ops.sigmoid(self.model.ops.xp.concatenate(scores)) * self._fits(batch)

    def set_annotations(self, docs: Iterable[Doc], scores: Floats2d) -> None:
        """Set `doc._.relations` to the candidates above the threshold, the most probable first.

        An end that can be in one relation only is kept once, so a wrong pair can't stand beside a right one.
        """
        scores = self.model.ops.to_numpy(scores)
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
                # Rounded, as last bits differ between processors; ties go to the first in the text.
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

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Learn from a batch; the neural head's loss (summed cross-entropy) is added to `losses`."""
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, "Relations.update")
        if not any(len(eg.predicted) for eg in examples):
            return losses
        set_dropout_rate(self.model, drop)
        batch = [(eg.predicted, self.candidates(eg.predicted)) for eg in examples]
        logits, backprop = self.model.begin_update(batch)
        loss, gradient = self._loss(examples, batch, logits)
        backprop(gradient)
        if sgd is not None:
            self.finish_update(sgd)
        losses[self.name] += loss
        return losses

    def get_loss(self, examples: Iterable[Example], scores: Floats2d) -> tuple[float, Floats2d]:
        """Cross-entropy of the model's output, summed over the heads that are in it, and its gradient."""
        examples = list(examples)
        batch = [(eg.predicted, self.candidates(eg.predicted)) for eg in examples]
        return self._loss(examples, batch, scores)

    def _loss(
        self, examples: Sequence[Example], batch: Sequence[Candidates], scores: Floats2d
    ) -> tuple[float, Floats2d]:
        ops = self.model.ops
        truth = ops.asarray2f(self._truth(examples, batch))[:, None]
        fits = self._fits(batch)[:, None]
        predicted = ops.sigmoid(self._by_head(scores))
        right = ops.xp.clip(ops.xp.where(truth > 0, predicted, 1 - predicted), 1e-6, 1)
        gradient = (predicted - truth) * fits / max(1, len(examples))
        return float(-(ops.xp.log(right) * fits).sum()), gradient.reshape(scores.shape)

    def _by_head(self, scores: Floats2d) -> Floats3d:
        """(candidates, heads, labels)"""
        return scores.reshape(len(scores), scores.shape[1] // len(self.labels), len(self.labels))

    def _truth(self, examples: Sequence[Example], batch: Sequence[Candidates]) -> np.ndarray:
        column = {label: i for i, label in enumerate(self.labels)}
        rows = []
        for example, (doc, pairs) in zip(examples, batch, strict=True):
            truth = np.zeros((len(pairs), len(column)), dtype="f")
            numbers = {entity_key(ent): number for number, ent in enumerate(doc.ents)}
            of_pair = {tuple(pair): row for row, pair in enumerate(pairs.tolist())}
            for head, child, label in relation_keys(example.reference):
                row = of_pair.get((numbers.get(head), numbers.get(child)))
                if row is not None and label in column:
                    truth[row, column[label]] = 1
            rows.append(truth)
        return np.concatenate(rows) if rows else np.zeros((0, len(column)), dtype="f")

    def _fits(self, batch: Sequence[Candidates]) -> Floats2d:
        """(candidates, labels): 1 where a label can join the entity labels of the candidate, else 0."""
        types = [{tuple(pair) for pair in self.cfg["types"].get(label, ())} for label in self.labels]
        fits = {pair: [pair in pairs_of for pairs_of in types] for pair in set().union(*types)}
        none = [False] * len(types)
        rows = []
        for doc, pairs in batch:
            names = [ent.label_ for ent in doc.ents]
            rows += [fits.get((names[head], names[child]), none) for head, child in pairs.tolist()]
        return self.model.ops.asarray2f(np.array(rows, dtype="f").reshape(-1, len(types)))

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: dict[str, Any] | None = None,
    ) -> None:
        """Take the labels from the examples (or from `labels`, see `label_data`) and set up the model.

        Raises:
            ValueError: no example has a relation, or none of a label in the config.
        """
        validate_get_examples(get_examples, "Relations.initialize")
        seen: dict[str, set[tuple[str, str]]] = {}
        ends: dict[tuple[str, str], Counter] = {}
        if labels is None:
            for number, example in enumerate(get_examples()):
                for head, child, label in relation_keys(example.reference):
                    seen.setdefault(label, set()).add((head[2], child[2]))
                    for end, key in zip(ENDS, (head, child), strict=True):
                        ends.setdefault((label, end), Counter())[number, key] += 1
            single: dict[str, list[str]] = {label: [] for label in seen}
            for (label, end), counts in ends.items():
                if sum(n == 1 for n in counts.values()) >= self.cfg["single_share"] * len(counts):
                    single[label].append(end)
            labels = {
                "labels": sorted(seen),
                "types": {k: sorted(map(list, v)) for k, v in seen.items()},
                "single": single,
            }
        known = [*self.cfg["types"], *self.cfg["single"]]
        missing = [label for label in known if label not in labels["labels"]]
        if missing or not labels["labels"]:
            raise ValueError(
                f"{self.name}: no example has a relation{f' {missing[0]!r}' if missing else ''}; "
                "annotate some, or take the label from the config"
            )
        self.cfg["types"] = {
            label: self.cfg["types"].get(label, labels["types"].get(label, [])) for label in labels["labels"]
        }
        self.cfg["single"] = {
            label: self.cfg["single"].get(label, labels.get("single", {}).get(label, []))
            for label in labels["labels"]
        }
        for label in labels["labels"]:
            self.add_label(label)
        sample = [(eg.predicted, self.candidates(eg.predicted)) for eg in islice(get_examples(), 10)]
        self.model.initialize(X=sample, Y=self.model.ops.alloc2f(1, len(self.labels)))
        if layer := self.model.maybe_get_ref("ngrams"):
            examples = list(get_examples())
            # entities that another component predicts aren't set yet
            docs = [eg.predicted if eg.predicted.ents else eg.reference for eg in examples]
            batch = [(doc, self.candidates(doc)) for doc in docs]
            fits = self.model.ops.to_numpy(self._fits(batch))
            fit_ngrams(layer, batch, self._truth(examples, batch), fits)


@Language.factory(
    "relations",
    assigns=["doc._.relations"],
    requires=["doc.ents"],
    default_config={
        "model": Config().from_str(DEFAULT_MODEL)["model"],
        "threshold": 0.5,
        "max_distance": 0,
        "types": {},
        "single": {},
        "single_share": 0.98,
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
    model: Model,
    threshold: float,
    max_distance: int,
    types: dict[str, list[list[str]]],
    single: dict[str, list[str]],
    single_share: float,
    scorer: Callable | None,
) -> Relations:
    """Relations between entities that another component found; see `Relations` for the settings."""
    return Relations(
        nlp.vocab,
        model,
        name,
        threshold=threshold,
        max_distance=max_distance,
        types=types,
        single=single,
        single_share=single_share,
        scorer=scorer,
    )


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

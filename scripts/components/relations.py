"""Typed, directed relations between the entities of a text: a trainable component, model included.

Every ordered pair of entities is a candidate, unless it is too far apart or its entity labels never had a
relation in training. A candidate is described by the token vectors of both entities, of what stands between
them and around them (as Zeng et al. 2014 pool a sentence in pieces), and by hashed features: entity labels,
order, distance, which entities stand between. Each label has a probability of its own; those above a
threshold become relations, the likeliest alone where an entity has one relation of a label at most.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Optional

import numpy as np
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
# Tokens of candidates that the model works on at a time, when it predicts.
HELD = 50_000
# A text and its candidates: indices of head and child in doc.ents, a row each.
Candidates = tuple[Doc, np.ndarray]
# (first character, end, label) of an entity: what is compared between gold and prediction.
Key = tuple[int, int, str]
Encoded = tuple[list[Floats2d], Callable[[list[Floats2d]], Any]]
ENDS = ("head", "child")
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
    """`spacy.MultiHashEmbed.v2`, except that tokens of entities have their label for some of the attributes.

    Names are many and say little, so a model of a few hundred examples learns more from what stands around
    them (Zhang et al. 2017 mask entities so). The suffix of a name may still say much.

    Args:
        width: of the vectors.
        attrs, rows: token attributes, and rows of the table of each.
        masked: those of `attrs` that entities don't show.
    """
    if len(attrs) != len(rows) or not set(masked) <= set(attrs):
        raise ValueError(f"attrs = {attrs} and rows = {rows} must be as many, masked = {masked} among them.")
    columns = [attrs.index(name) for name in masked]

    def extract(model: Model, docs: list[Doc], is_train: bool) -> tuple[list[Ints2d], Callable]:
        found = []
        for doc in docs:
            values = doc.to_array(attrs).reshape(len(doc), len(attrs)).astype("uint64")
            for ent in doc.ents:
                values[ent.start : ent.end, columns] = hash_string(f"entity {ent.label_}")
            found.append(model.ops.asarray(values, dtype="uint64"))
        return found, lambda d: []

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

    There are two heads, a neural one and a linear one on n-grams. Each learns alone and their scores are
    averaged by `ngram_share`, for they err on different pairs; learning their sum would let the faster one
    stop the other. The linear one is a logistic regression that `Relations.initialize` fits to all examples
    at once: small steps, batch by batch, give rare n-grams too much weight.

    Args:
        tok2vec: token vectors; a `spacy.Tok2VecListener.v1` to share those of another component.
        hidden_width: of the layer between description and scores.
        role_width: of what is added to a token's vector: its role in the pair, its entity label.
        depth: layers of window 1 that work on these.
        ngram_texts: an n-gram counts if so many training texts have it; 0 for no n-grams at all.
        ngram_strength: how closely they may fit the training data (C of scikit-learn).
        ngram_share: how much of a score is that of the n-grams, from 0 to 1.
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
    found = [tok2vec, roles, encode, classify]
    if ngram_texts:
        found.append(ngram_layer(nO, ngram_texts, ngram_strength))
    return Model(
        "relations",
        forward,
        init=initialise,
        layers=found,
        refs={"tok2vec": tok2vec, "output": output, "ngrams": found[4] if ngram_texts else None},
        dims={"nO": nO},
        attrs={"shares": [1 - ngram_share, ngram_share] if ngram_texts else [1.0]},
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


def forward(model: Model, X: list[Candidates], is_train: bool) -> tuple[Floats2d, Callable]:
    """Classify the candidates of a batch of texts, one row each in their order.

    Each candidate is a sequence of its own: the vectors of all tokens of the text, each with its role in the
    pair. The description is pooled from that: head, child, between them, and the maximum and mean of all.
    """
    ops = model.ops
    tok2vec, roles, encode, classify = model.layers[:4]
    labels = model.get_dim("nO")
    docs = [doc for doc, _ in X]
    vectors, backprop_vectors = tok2vec(docs, is_train)
    pairs = [(number, *pair) for number, (_, found) in enumerate(X) for pair in found.tolist()]
    if not pairs:
        none = ops.alloc2f(0, labels * len(model.layers[3:]))
        return none, lambda d: backprop_vectors([ops.alloc2f(*v.shape) for v in vectors]) and []
    lengths = np.array([len(docs[number]) for number, _, _ in pairs])
    starts = np.cumsum(lengths) - lengths
    offsets = np.cumsum([0, *map(len, docs)])
    flat = ops.xp.concatenate(vectors)
    index = ops.asarray(
        np.concatenate([np.arange(offsets[number], offsets[number + 1]) for number, _, _ in pairs]), dtype="i"
    )
    marks = np.concatenate([tokens_of(docs[number], head, child) for number, head, child in pairs])
    roled, backprop_roles = roles(ops.asarray(marks, dtype="uint64"), is_train)
    sequences = ops.unflatten(ops.xp.hstack([flat[index], roled]), ops.asarray1i(lengths))
    encoded, backprop_encode = encode(sequences, is_train)
    tokens = ops.xp.concatenate(encoded)
    stretches = [
        [(start + low, start + high) for low, high in parts(docs[number], head, child)]
        for start, (number, head, child) in zip(starts.tolist(), pairs, strict=True)
    ]
    pooled, unpool = zip(
        *(pool(model, tokens, [s[i] for s in stretches], most=i in (2, 4)) for i in range(POOLS)),
        strict=True,
    )
    scores, backprop_scores = classify(ops.xp.hstack(pooled), is_train)
    if len(model.layers) > 4:
        rows = [ngrams(docs[number], head, child) for number, head, child in pairs]
        scores = ops.xp.hstack([scores, model.layers[4].predict(rows)])

    def backprop(d_scores: Floats2d) -> list:
        d_pooled = backprop_scores(ops.as_contig(d_scores[:, :labels]))
        width = tokens.shape[1]
        d_tokens = ops.alloc2f(*tokens.shape)
        for i, back in enumerate(unpool):
            back(d_tokens, ops.as_contig(d_pooled[:, i * width : (i + 1) * width]))
        d_sequences = ops.xp.concatenate(backprop_encode(ops.unflatten(d_tokens, ops.asarray1i(lengths))))
        backprop_roles(ops.as_contig(d_sequences[:, width:]))
        d_flat = ops.alloc2f(*flat.shape)
        ops.scatter_add(d_flat, index, ops.as_contig(d_sequences[:, :width]))
        backprop_vectors(ops.unflatten(d_flat, ops.asarray1i([len(doc) for doc in docs])))
        return []

    return scores, backprop


def ngram_layer(nO: int | None, texts: int, strength: float) -> Model[list[np.ndarray], Floats2d]:
    """Scores from n-grams (hashes, an array a candidate), linear in those it knows; see `fit_ngrams`."""
    return Model(
        "ngrams",
        forward_ngrams,
        dims={"nO": nO},
        params={"W": None, "b": None},
        attrs={"keys": np.zeros(0, dtype="uint64"), "texts": texts, "strength": strength},
    )


def forward_ngrams(
    model: Model, X: list[np.ndarray], is_train: bool
) -> tuple[Floats2d, Callable[[Floats2d], list]]:
    """(candidates, labels). Nothing is learnt on the way back."""
    columns, values, lengths = known_ngrams(X, model.attrs["keys"])
    weights = model.ops.to_numpy(model.get_param("W"))[columns] * values[:, None]
    # what a candidate without a known n-gram adds up to is that of no row
    total = np.vstack([np.zeros((1, weights.shape[1]), dtype="f"), np.cumsum(weights, axis=0, dtype="f8")])
    ends = np.cumsum(lengths)
    scores = (total[ends] - total[ends - lengths]).astype("f")
    return model.ops.asarray2f(scores) + model.get_param("b"), lambda d: []


def known_ngrams(rows: Sequence[np.ndarray], keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of all candidates in a row: which n-grams of `keys` (sorted) they have, their values, how many each."""
    columns, values = [], []
    for row in rows:
        place = np.searchsorted(keys, row)
        place, row = place[place < len(keys)], row[place < len(keys)]
        found = place[keys[place] == row]
        columns.append(found)
        # a text of twice as many words is no surer
        values.append(np.full(len(found), LENGTH / np.sqrt(max(1, len(found))), dtype="f"))
    return np.concatenate(columns), np.concatenate(values), np.array([len(found) for found in columns])


def fit_ngrams(layer: Model, batch: Sequence[Candidates], truth: np.ndarray, fits: np.ndarray) -> None:
    """Give the n-gram layer the n-grams that are in several texts, and the weights that fit best.

    Args:
        truth, fits: (candidates, labels): 1 where a candidate has, or could have, a label.

    Raises:
        ImportError: scikit-learn isn't there; it is needed to train, not to use what was trained.
    """
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    rows, texts = [], Counter()
    for doc, pairs in batch:
        of_text = [ngrams(doc, head, child) for head, child in pairs.tolist()]
        rows += of_text
        texts.update(np.unique(np.concatenate(of_text)).tolist() if of_text else [])
    keys = sorted(key for key, n in texts.items() if n >= layer.attrs["texts"])
    layer.attrs["keys"] = np.array(keys, dtype="uint64")
    weights = np.zeros((len(keys), truth.shape[1]), dtype="f")
    bias = np.full(truth.shape[1], -SURE, dtype="f")
    if rows and keys:
        columns, values, lengths = known_ngrams(rows, layer.attrs["keys"])
        starts = np.concatenate([[0], np.cumsum(lengths)])
        matrix = csr_matrix((values, columns, starts), shape=(len(rows), len(keys)))
        for label in range(truth.shape[1]):
            chosen = np.flatnonzero(fits[:, label])
            right = truth[chosen, label] > 0
            if 0 < right.sum() < len(right):
                found = LogisticRegression(
                    C=layer.attrs["strength"], solver="liblinear", max_iter=1000, random_state=0
                ).fit(matrix[chosen], right)
                weights[:, label], bias[label] = found.coef_[0], found.intercept_[0]
            elif len(right):
                bias[label] = SURE if right.all() else -SURE
    layer.set_param("W", layer.ops.asarray2f(weights))
    layer.set_param("b", layer.ops.asarray1f(bias))


def pool(
    model: Model, flat: Floats2d, stretches: Sequence[tuple[int, int]], *, most: bool
) -> tuple[Floats2d, Callable[[Floats2d, Floats2d], None]]:
    """One vector a stretch of tokens, their mean or (`most`) their maximum, and its way back into `flat`."""
    ops = model.ops
    index = ops.asarray(np.concatenate([np.arange(start, end) for start, end in stretches]), dtype="i")
    lengths = ops.asarray1i([end - start for start, end in stretches])
    if most:
        vectors, which = ops.reduce_max(flat[index], lengths)
    else:
        vectors = ops.reduce_mean(flat[index], lengths)

    def unpool(d_flat: Floats2d, d_vectors: Floats2d) -> None:
        if most:
            d_tokens = ops.backprop_reduce_max(d_vectors, which, lengths)
        else:
            d_tokens = ops.backprop_reduce_mean(d_vectors, lengths)
        ops.scatter_add(d_flat, index, d_tokens)

    return vectors, unpool


def parts(doc: Doc, head: int, child: int) -> list[tuple[int, int]]:
    """The stretches of tokens that describe a pair, none empty: head, child, between, all (twice)."""
    one, other = doc.ents[head], doc.ents[child]
    between = min(one.end, other.end) - 1, max(one.start, other.start) + 1
    return [(one.start, one.end), (other.start, other.end), between, (0, len(doc)), (0, len(doc))]


def tokens_of(doc: Doc, head: int, child: int) -> np.ndarray:
    """(tokens, 2): hashes of the role of each token in a pair, and of its place before, in or behind it."""
    found = np.zeros((len(doc), 2), dtype="uint64")
    order = "forward" if head < child else "back"
    one, other = sorted((doc.ents[head], doc.ents[child]), key=lambda ent: ent.start)
    found[:, 0] = hash_string("none")
    found[: one.start, 1] = hash_string(f"{order} before")
    found[one.start : other.end, 1] = hash_string(f"{order} in")
    found[other.end :, 1] = hash_string(f"{order} behind")
    for number, ent in enumerate(doc.ents):
        role = {head: "head", child: "child"}.get(number, "other")
        found[ent.start : ent.end, 0] = hash_string(f"{role} {ent.label_}")
    return found


def ngrams(doc: Doc, head: int, child: int) -> np.ndarray:
    """Hashes (64 bits, each once) of word n-grams that know the pair, and of its order and distance.

    The words are lower-cased, numbers are alike, and each entity is one word: its label and its role.
    """
    words, place = [], {}
    ents = {ent.start: number for number, ent in enumerate(doc.ents)}
    i = 0
    while i < len(doc):
        number = ents.get(i)
        if number is None:
            words.append(hash_string("#") if doc[i].like_num else doc[i].lower)
            i += 1
            continue
        role = {head: "head", child: "child"}.get(number, "other")
        place[number] = len(words)
        words.append(hash_string(f"<{role} {doc.ents[number].label_}>"))
        i = doc.ents[number].end
    row = np.array(words, dtype="uint64")
    first, second = sorted((place[head], place[child]))
    order = "forward" if head < child else "back"
    regions = {
        "text": row,
        f"{order} between": row[first : second + 1],
        f"{order} before": row[max(0, first - OUTSIDE) : first + 1],
        f"{order} behind": row[second : second + OUTSIDE + 1],
    }
    found = [
        gram
        for name, region in regions.items()
        for n in range(1, LONGEST + 1)
        for gram in [_grams(region, n, hash_string(name))]
    ]
    for role, number in (("head", head), ("child", child)):
        at = place[number]
        sides = {"left": row[max(0, at - NEAR) : at], "right": row[at + 1 : at + NEAR + 1]}
        found += [
            _grams(side, n, hash_string(f"{role} {name}")) for name, side in sides.items() for n in (1, 2)
        ]
        inside = np.array([token.lower for token in doc.ents[number]], dtype="uint64")
        found += [_grams(inside, 1, hash_string(role)), _grams(inside[-1:], 1, hash_string(f"{role} last"))]
    known = describe(doc, head, child, order, second - first)
    found.append(np.array([hash_string(text) for text in known], dtype="uint64"))
    return np.unique(np.concatenate(found))


def _grams(words: np.ndarray, n: int, salt: int) -> np.ndarray:
    """A hash of every n words in a row; `salt` keeps those of one place apart from another's."""
    count = len(words) - n + 1
    if count < 1:
        return np.zeros(0, dtype="uint64")
    found = np.full(count, np.uint64(salt))
    for i in range(n):
        found = (found ^ words[i : i + count]) * MIX
        found ^= found >> np.uint64(29)
    return found


def describe(doc: Doc, head: int, child: int, order: str, distance: int) -> list[str]:
    """What is known of a pair beside its words."""
    ents = doc.ents
    low, high = min(head, child), max(head, child)
    inside = [ent.label_ for ent in ents[low + 1 : high]]
    labels = f"{ents[head].label_} {order} {ents[child].label_}"
    bucket = sum(distance > limit for limit in DISTANCES)
    ranks = [min(MOST, sum(e.label_ == ents[i].label_ for e in ents[:i])) for i in (head, child)]
    numbers = Counter(ent.label_ for ent in ents)
    return [
        labels,
        f"{labels} distance {bucket}",
        f"{labels} inside {' '.join(inside[:MOST])}",
        f"{labels} ranks {ranks} of {[min(MOST, numbers[ents[i].label_]) for i in (head, child)]}",
        f"{labels} number {min(MOST, len(ents))}",
    ]


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
) -> "Relations":
    """Relations between entities that another component found; see `Relations`."""
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


class Relations(TrainablePipe):
    """Sets `doc._.relations`: a list of `{"head", "child", "label", "score"}`, best first.

    `head` and `child` are indices into `doc.ents`. In training, `example.reference._.relations` holds the
    right ones (without `score`), and the candidates are those of the entities of `example.predicted`: gold
    ones if the corpus sets them, predicted ones if an entity recogniser is among the annotating components.

    Args:
        threshold: probability (0 to 1) that makes a relation.
        max_distance: most tokens between two entities of a candidate; 0 for any.
        types: for each label the pairs of entity labels (head, child) that it can join. Labels that aren't
            there take what they join in the training data.
        single: for each label the ends, "head" or "child", that are an end of one such relation at most; of
            several the likeliest is kept. Labels that aren't there take the ends of which, in the training
            data, at least `single_share` are in one relation only.
        single_share: from 0 to 1; above 1 none is learnt.
    """

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str = "relations",
        *,
        threshold: float = 0.5,
        max_distance: int = 0,
        types: Mapping[str, Sequence[Sequence[str]]] | None = None,
        single: Mapping[str, Sequence[str]] | None = None,
        single_share: float = 0.98,
        scorer: Callable | None = None,
    ) -> None:
        if not 0 <= threshold <= 1 or max_distance < 0:
            raise ValueError(
                f"{name}: threshold = {threshold} must be from 0 to 1, "
                f"max_distance = {max_distance} at least 0."
            )
        if wrong := sorted({end for ends in (single or {}).values() for end in ends} - set(ENDS)):
            raise ValueError(f"{name}: single = {wrong[0]!r} is neither head nor child.")
        self.vocab = vocab
        self.model = model
        self.name = name
        self.scorer = scorer
        given = {label: sorted(map(list, pairs)) for label, pairs in (types or {}).items()}
        self.cfg: dict[str, Any] = {
            "labels": [],
            "threshold": threshold,
            "max_distance": max_distance,
            "types": given,
            "single": {label: [end for end in ENDS if end in ends] for label, ends in (single or {}).items()},
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
                f"{self.name}: {label!r} can't be added to a model that has its labels; train anew."
            )
        self.cfg["labels"].append(label)
        self.vocab.strings.add(label)
        return 1

    def candidates(self, doc: Doc) -> np.ndarray:
        """(candidates, 2): indices of head and child in `doc.ents`, in order."""
        ents = doc.ents
        farthest = self.cfg["max_distance"]
        allowed = {tuple(pair) for pairs in self.cfg["types"].values() for pair in pairs}
        found = [
            (i, j)
            for i, one in enumerate(ents)
            for j, other in enumerate(ents)
            if i != j
            and (one.label_, other.label_) in allowed
            and not (farthest and max(one.start, other.start) - min(one.end, other.end) > farthest)
        ]
        return np.array(found, dtype="i").reshape(-1, 2)

    def predict(self, docs: Iterable[Doc]) -> Floats2d:
        """Probabilities of all candidates of all texts, (candidates, labels); 0 where the types don't fit."""
        batch = [(doc, self.candidates(doc)) for doc in docs]
        if not any(len(pairs) for _, pairs in batch):
            # also keeps texts without a token away from the layers below
            return self.model.ops.alloc2f(0, len(self.labels))
        shares = self.model.ops.asarray1f(self.model.attrs["shares"])
        scores = [shares @ self._by_head(self.model.predict(portion)) for portion in portions(batch)]
        return self.model.ops.sigmoid(self.model.ops.xp.concatenate(scores)) * self._fits(batch)

    def set_annotations(self, docs: Iterable[Doc], scores: Floats2d) -> None:
        """Set `doc._.relations` to the candidates above the threshold, likelier ones first in line.

        What an end may be in only once is kept once: so a wrong pair can't stand beside a right one.
        """
        scores = self.model.ops.to_numpy(scores)
        start = 0
        for doc in docs:
            pairs = self.candidates(doc)
            rows = scores[start : start + len(pairs)]
            start += len(pairs)
            found = [
                (float(rows[row, column]), *map(int, pairs[row]), label)
                for column, label in enumerate(self.labels)
                for row in np.flatnonzero((rows[:, column] >= self.threshold) & (rows[:, column] > 0))
            ]
            doc._.relations = [
                {"head": head, "child": child, "label": label, "score": round(score, 4)}
                for score, head, child, label in self._once(sorted(found, key=lambda f: (-f[0], f[1:])))
            ]

    def _once(self, found: list[tuple]) -> Iterator[tuple]:
        """Those of (score, head, child, label), best first, whose single ends aren't taken yet."""
        taken: set[tuple] = set()
        for one in found:
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
        """Learn from a batch; its loss (summed cross-entropy) is added to `losses`."""
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
        """Cross-entropy of the model's output, summed, and its gradient."""
        examples = list(examples)
        batch = [(eg.predicted, self.candidates(eg.predicted)) for eg in examples]
        return self._loss(examples, batch, scores)

    def _loss(
        self, examples: Sequence[Example], batch: Sequence[Candidates], scores: Floats2d
    ) -> tuple[float, Floats2d]:
        ops = self.model.ops
        truth = ops.asarray2f(self._truth(examples, batch))[:, None]
        fits = self._fits(batch)[:, None]
        said = ops.sigmoid(self._by_head(scores))
        right = ops.xp.clip(ops.xp.where(truth > 0, said, 1 - said), 1e-6, 1)
        gradient = (said - truth) * fits / max(1, len(examples))
        return float(-(ops.xp.log(right) * fits).sum()), gradient.reshape(scores.shape)

    def _by_head(self, scores: Floats2d) -> Floats3d:
        """(candidates, heads, labels)"""
        return scores.reshape(len(scores), scores.shape[1] // len(self.labels), len(self.labels))

    def _truth(self, examples: Sequence[Example], batch: Sequence[Candidates]) -> np.ndarray:
        column = {label: i for i, label in enumerate(self.labels)}
        rows = []
        for example, (doc, pairs) in zip(examples, batch, strict=True):
            truth = np.zeros((len(pairs), len(column)), dtype="f")
            gold = set(relation_keys(example.reference))
            keys = [entity_key(ent) for ent in doc.ents]
            for row, (head, child) in enumerate(pairs):
                for label, i in column.items():
                    truth[row, i] = (keys[head], keys[child], label) in gold
            rows.append(truth)
        return np.concatenate(rows) if rows else np.zeros((0, len(column)), dtype="f")

    def _fits(self, batch: Sequence[Candidates]) -> Floats2d:
        """(candidates, labels): 1 where a label can join the entity labels of the candidate, else 0."""
        types = [{tuple(pair) for pair in self.cfg["types"].get(label, ())} for label in self.labels]
        rows = []
        for doc, pairs in batch:
            names = [ent.label_ for ent in doc.ents]
            rows += [[(names[head], names[child]) in pairs_of for pairs_of in types] for head, child in pairs]
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
            ValueError: no example has a relation, or none of a label that was given.
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
        given = [*self.cfg["types"], *self.cfg["single"]]
        missing = [label for label in given if label not in labels["labels"]]
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
            given = list(get_examples())
            # entities that another component will set aren't there yet
            docs = [eg.predicted if eg.predicted.ents else eg.reference for eg in given]
            batch = [(doc, self.candidates(doc)) for doc in docs]
            fits = self.model.ops.to_numpy(self._fits(batch))
            fit_ngrams(layer, batch, self._truth(given, batch), fits)


def portions(batch: Sequence[Candidates]) -> Iterator[list[Candidates]]:
    """A batch in parts that the model holds at a time.

    Each candidate is all tokens of its text once more: a long text with a hundred names would take gigabytes.
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
    """What makes two entities of the same text the same."""
    return ent.start_char, ent.end_char, ent.label_


def relation_keys(doc: Doc) -> Iterator[tuple[Key, Key, str]]:
    """`doc._.relations` as (head, child, label), the ends told by offsets."""
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
        gold, found = set(relation_keys(example.reference)), set(relation_keys(example.predicted))
        micro.score_set(found, gold)
        for label in {key[2] for key in gold | found}:
            by_label.setdefault(label, PRFScore()).score_set(
                {key for key in found if key[2] == label}, {key for key in gold if key[2] == label}
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

"""Spans by a classifier of candidates: spans that may overlap, or entities that may not.

A candidate is a run of tokens as long as an annotated span may be. spaCy's `spancat` scores every candidate
for every label, so that one span may lie in another, and may have two labels. The lengths of candidates are
those of the annotated spans of training.

Where the training data has entities (`doc.ents`), the same model gives entities: of candidates that overlap,
the one with the highest score. Where it has spans that may overlap (`doc.spans["sc"]`), all candidates above
the threshold are spans.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.pipeline.spancat import SpanCategorizer
from spacy.scorer import Scorer
from spacy.tokens import Doc, Span, SpanGroup
from spacy.training import Example
from spacy.util import registry
from thinc.api import (
    Linear,
    Logistic,
    Model,
    Ops,
    Ragged,
    chain,
    get_current_ops,
    glorot_uniform_init,
    list2ragged,
    uniform_init,
    with_getitem,
    zero_init,
)
from thinc.types import Floats2d

REQUIREMENTS: tuple[str, ...] = ()
# The group of spans that may overlap; spaCy's default name.
SPANS_KEY = "sc"
# Share of the annotated spans that are short enough to be a candidate; a few very long ones would make
# training several times as slow.
COVERED = 0.99
# Tokens of the longest candidate, and tokens in all candidates that are scored at a time: these bound memory.
LONGEST, TOKENS_AT_A_TIME = 30, 100_000


def annotated_spans(doc: Doc) -> Sequence[Span]:
    """What is annotated in a Doc: the spans that may overlap if it has such a group, else its entities."""
    return list(doc.spans[SPANS_KEY]) if SPANS_KEY in doc.spans else doc.ents


def position_key(span: Span) -> tuple[int, int, str]:
    """Sorts the spans of a Doc."""
    return span.start, -span.end, span.label_


def set_spans(doc: Doc, spans: Iterable[Span], *, overlapping: bool) -> None:
    """Annotate a Doc: spans that may overlap are a group, sorted by `position_key`; others are entities.

    Tokens outside of entities are O, not missing.
    """
    if overlapping:
        doc.spans[SPANS_KEY] = SpanGroup(doc, name=SPANS_KEY, spans=sorted(spans, key=position_key))
    else:
        doc.set_ents(list(spans), default="outside")


class SpanClassifier(SpanCategorizer):
    """A `SpanCategorizer` that sets entities or overlapping spans, whichever it was trained on.

    Its cfg has `sizes` (tokens of candidates), `overlapping` (what it sets), `threshold`, and `thresholds` of
    labels that have another, both of which `ie.span_threshold.v1` chooses on dev.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, spans_key=SPANS_KEY, **settings)
        self.cfg |= {"sizes": [1], "overlapping": False, "thresholds": {}}

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        """Take labels and lengths of candidates from the examples, and what they annotate."""
        gold = [eg.reference for eg in get_examples()]
        found = [span for doc in gold for span in annotated_spans(doc)]
        self.cfg["overlapping"] = any(SPANS_KEY in doc.spans for doc in gold)
        self.cfg["sizes"] = candidate_sizes([len(span) for span in found])
        names = labels or sorted({span.label_ for span in found})
        super().initialize(get_examples, nlp=nlp, labels=names)
        self._set_suggester()

    def _set_suggester(self) -> None:
        self.suggester = partial(candidates, longest=self.cfg["sizes"][-1])

    def _get_aligned_spans(self, eg: Example) -> list[Span]:
        return eg.get_aligned_spans_y2x(annotated_spans(eg.reference), allow_overlap=True)

    def predict(self, docs: Iterable[Doc]) -> tuple[Ragged, Floats2d]:
        """Candidates of the Docs and their scores; some candidates at a time, as they take memory."""
        docs, ops = list(docs), self.model.ops
        per_token = sum(self.cfg["sizes"])
        batches: list[list[Doc]] = [[]]
        for doc in docs:
            if batches[-1] and per_token * sum(map(len, [*batches[-1], doc])) > TOKENS_AT_A_TIME:
                batches.append([])
            batches[-1].append(doc)
        scores = [part for batch in batches for part in self._scores(batch)]
        return self.suggester(docs, ops=ops), ops.xp.concatenate(scores) if scores else ops.alloc2f(0, 0)

    def _scores(self, docs: list[Doc]) -> Iterator[Floats2d]:
        indices = self.suggester(docs, ops=self.model.ops)
        n = int(indices.lengths.sum())
        step = max(1, TOKENS_AT_A_TIME // self.cfg["sizes"][-1]) if len(docs) == 1 else n
        for first in range(0, n, max(1, step)):
            rows = indices.dataXd[first : first + step]
            lengths = self.model.ops.asarray1i([len(rows)]) if len(docs) == 1 else indices.lengths
            yield self.model.predict((docs, Ragged(rows, lengths)))

    def threshold_of(self, label: str) -> float:
        """The least score of a span of a label."""
        return self.cfg["thresholds"].get(label, self.cfg["threshold"])

    def set_annotations(self, docs: Iterable[Doc], indices_scores: tuple[Ragged, Floats2d]) -> None:
        """Set the spans, or the entities, of which the model is at least as sure as the threshold."""
        for doc, scored in zip(docs, self.scored_spans(docs, indices_scores), strict=True):
            sure = [(score, span) for score, span in scored if score >= self.threshold_of(span.label_)]
            overlapping = self.cfg["overlapping"]
            spans = [span for _, span in sure] if overlapping else without_overlaps(sure)
            set_spans(doc, spans, overlapping=overlapping)

    def scored_spans(
        self, docs: Iterable[Doc], indices_scores: tuple[Ragged, Floats2d], least: float = 0.05
    ) -> list[list[tuple[float, Span]]]:
        """(score, span) of each candidate and label with a score of at least `least`, for each Doc."""
        indices, scores = indices_scores
        table = self.model.ops.to_numpy(scores)
        least = min([least, *map(self.threshold_of, self.labels)])
        result, offset = [], 0
        for i, doc in enumerate(docs):
            n = int(indices.lengths[i])
            rows = table[offset : offset + n]
            places = self.model.ops.to_numpy(indices[i].dataXd) if n else np.zeros((0, 2), "i")
            kept = zip(*np.nonzero(rows >= least), strict=True) if n else ()
            result.append(
                [
                    (float(rows[row, k]), Span(doc, *map(int, places[row]), label=self.labels[k]))
                    for row, k in kept
                ]
            )
            offset += n
        return result

    def from_bytes(self, data: bytes, **kwargs: Any) -> "SpanClassifier":
        """Load from bytes."""
        super().from_bytes(data, **kwargs)
        self._set_suggester()
        return self

    def from_disk(self, path: Any, **kwargs: Any) -> "SpanClassifier":
        """Load from a folder."""
        super().from_disk(path, **kwargs)
        self._set_suggester()
        return self


def candidates(docs: Iterable[Doc], *, longest: int = 1, ops: Ops | None = None) -> Ragged:
    """Start and end of all runs of up to so many tokens, as spaCy's `ngram_suggester` does in more time."""
    ops = ops or get_current_ops()
    lengths = [len(doc) for doc in docs]
    places = []
    for n in lengths:
        starts = np.arange(n, dtype="i")[:, None]
        ends = starts + np.arange(1, longest + 1, dtype="i")
        within = ends <= n
        places.append(np.stack([np.broadcast_to(starts, ends.shape)[within], ends[within]], axis=1))
    joined = np.concatenate(places) if places else np.zeros((0, 2), "i")
    return Ragged(ops.asarray2i(joined), ops.asarray1i([len(rows) for rows in places]))


def candidate_sizes(lengths: Sequence[int]) -> list[int]:
    """Tokens of candidates: from 1 to the length that `COVERED` of the annotated spans don't exceed."""
    ordered = sorted(lengths) or [1]
    longest = ordered[min(len(ordered) - 1, int(COVERED * len(ordered)))]
    return list(range(1, min(longest, LONGEST) + 1))


def without_overlaps(scored: Iterable[tuple[float, Span]]) -> list[Span]:
    """The spans with the highest scores that don't overlap; of equal scores the first, and the longer one."""
    # Scores are compared to 4 digits, as the last bits differ between machines.
    ranked = sorted(scored, key=lambda pair: (-round(pair[0], 4), position_key(pair[1])))
    taken: set[int] = set()
    chosen = []
    for _, span in ranked:
        tokens = range(span.start, span.end)
        if taken.isdisjoint(tokens):
            taken.update(tokens)
            chosen.append(span)
    return chosen


def score(examples: Iterable[Example], **_: Any) -> dict[str, Any]:
    """P, R and F of exact spans, under spaCy's names for entities, as both are compared by them."""
    return Scorer.score_spans(
        examples,
        "ents",
        getter=lambda doc, _: annotated_spans(doc),
        has_annotation=lambda doc: SPANS_KEY in doc.spans or doc.has_annotation("ENT_IOB"),
        allow_overlap=True,
    )


@registry.architectures("ie.SpanScores.v1")
def build_span_scores(
    tok2vec: Model[list[Doc], list[Floats2d]], hidden_width: int, rare: float, nO: int | None = None
) -> Model[tuple[list[Doc], Ragged], Floats2d]:
    """Scores (0 to 1) of each candidate for each label: from its first token, its last, the mean, the length.

    Of these, the tokens are multiplied by weights once, and each candidate adds up the results. spaCy's
    `SpanCategorizer` multiplies each candidate, of which there are as many per token as there are lengths.

    Args:
        hidden_width: width of the vector of a candidate.
        rare: bias of the scores, as log odds, from which training starts: most candidates are no span.
        nO: number of labels.
    """
    of_tokens = with_getitem(0, chain(tok2vec, list2ragged()))
    bias = partial(uniform_init, lo=rare, hi=rare)
    scorer = chain(Linear(nO=nO, nI=hidden_width, init_W=zero_init, init_b=bias), Logistic())
    model = chain(of_tokens, span_vectors(hidden_width), scorer)
    model.set_ref("tok2vec", tok2vec)
    return model


def span_vectors(width: int) -> Model[tuple[Ragged, Ragged], Floats2d]:
    """A vector of each candidate: a ReLU of a sum."""
    return Model(
        "span_vectors",
        _span_vectors,
        init=_init_span_vectors,
        dims={"nO": width, "nI": None},
        params={"W": None, "length": None},
    )


def _init_span_vectors(
    model: Model, X: tuple[Ragged, Ragged] | None = None, Y: Floats2d | None = None
) -> Model:
    if X is not None:
        model.set_dim("nI", X[0].dataXd.shape[1])
    width, n_inputs = model.get_dim("nO"), model.get_dim("nI")
    # weights of the first token, the last and the mean, side by side
    model.set_param("W", glorot_uniform_init(model.ops, (n_inputs, 3 * width)))
    model.set_param("length", model.ops.alloc2f(LONGEST + 1, width))
    return model


def _span_vectors(
    model: Model, X: tuple[Ragged, Ragged], is_train: bool
) -> tuple[Floats2d, Callable[[Floats2d], tuple[Ragged, Ragged]]]:
    tokens, spans = X
    ops, xp, width = model.ops, model.ops.xp, model.get_dim("nO")
    W, length_table = model.get_param("W"), model.get_param("length")
    n_tokens, n_spans = ops.to_numpy(tokens.lengths), ops.to_numpy(spans.lengths)
    before = np.cumsum(n_tokens) - n_tokens  # tokens in earlier Docs
    places = spans.dataXd + ops.asarray(np.repeat(before, n_spans).astype("i"))[:, None]
    start, end = places[:, 0].astype("i"), places[:, 1].astype("i")
    length = xp.minimum(end - start, LONGEST)
    per_token = ops.gemm(tokens.dataXd, W)
    first, last, middle = (per_token[:, i * width : (i + 1) * width] for i in range(3))
    # in double precision, so that a mean doesn't depend on the tokens before
    sums = xp.zeros((len(per_token) + 1, width))
    xp.cumsum(middle, axis=0, out=sums[1:])
    mean = ((sums[end] - sums[start]) / (end - start)[:, None]).astype("f")
    vectors = first[start] + last[end - 1] + mean + length_table[length]
    positive = vectors > 0

    def backprop(d_vectors: Floats2d) -> tuple[Ragged, Ragged]:
        d_vectors = d_vectors * positive
        d_mean = d_vectors / (end - start)[:, None].astype("f")
        d_length = xp.zeros_like(length_table)
        ops.scatter_add(d_length, length, d_vectors)
        model.inc_grad("length", d_length)
        d_first, d_last = xp.zeros((2, len(per_token), width), dtype="f")
        ops.scatter_add(d_first, start, d_vectors)
        ops.scatter_add(d_last, end - 1, d_vectors)
        d_sums = xp.zeros((len(per_token) + 1, width), dtype="f")
        ops.scatter_add(d_sums, end, d_mean)
        ops.scatter_add(d_sums, start, -d_mean)
        # a token is in the sums of all later ones
        d_middle = xp.cumsum(d_sums[:0:-1].astype("d"), axis=0)[::-1].astype("f")
        d_per_token = xp.concatenate([d_first, d_last, d_middle], axis=1)
        model.inc_grad("W", ops.gemm(tokens.dataXd, d_per_token, trans1=True))
        return Ragged(ops.gemm(d_per_token, W, trans2=True), tokens.lengths), spans

    return vectors * positive, backprop


@Language.factory(
    "span_classifier",
    assigns=["doc.ents", "doc.spans"],
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
)
def make_span_classifier(
    nlp: Language, name: str, model: Model[tuple[list[Doc], Ragged], Floats2d], threshold: float
) -> SpanClassifier:
    """The component of configs/spancat.cfg.

    Args:
        model: `ie.SpanScores.v1`, or spaCy's `spacy.SpanCategorizer.v1`.
        threshold: of scores, until one is chosen on dev.
    """
    return SpanClassifier(nlp.vocab, model, candidates, name, threshold=threshold, scorer=score)

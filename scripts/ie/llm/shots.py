"""Which reviewed examples a prompt shows: the same for all texts, or those most like the text."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize
from spacy_llm.registry import registry
from threadpoolctl import threadpool_limits

from ie.records import Record, read_records
from ie.scheme import load_scheme
from ie.splitting import assign

Select = Literal["fixed", "similar"]

# Words, and signs that carry meaning on their own such as those of currencies.
TOKENS = r"(?u)\b\w+\b|[^\w\s]"
DIMENSIONS = 64


@dataclass
class Shots:
    """Examples for prompts, chosen from the reviewed training part.

    Attributes:
        records: what may be shown, in the order of the file.
        select: "fixed" shows the same examples to every text, so that a model that keeps the prefix
            of a prompt reads them once; "similar" shows each text its nearest neighbours (cosine of
            TF-IDF over words and word pairs), the nearest last.
        n: how many. 0, or no records: the prompt has none.
        max_words: longer texts are not shown.
        max_empty: largest share of fixed examples that leave a field of the question empty. A small
            model that sees "none" half of the time says it most of the time. Where fewer than `n`
            examples fill all fields, those that fill most of them do.
        seed: of the choice of fixed examples.
    """

    records: Sequence[Record]
    select: Select = "fixed"
    n: int = 8
    max_words: int = 40
    max_empty: float = 0.25
    seed: int = 0

    def choose(self, text: str, missing: Callable[[Record], float]) -> list[Record]:
        """Examples to show before `text`, in the order in which to show them.

        A text is no similar one of itself.

        Args:
            missing: share (0 to 1) of the question's fields to which an example has no answer.
        """
        if not self.n or not self._shown:
            return []
        return self._similar(text) if self.select == "similar" else self._fixed(missing)

    def diverse(self) -> list[Record]:
        """`n` records unlike each other: the one next to the centre of each of `n` clusters."""
        chosen: list[int] = []
        for ranking in self._by_cluster if self._shown else ():
            chosen += [next(i for i in ranking if i not in chosen)] if set(ranking) - set(chosen) else []
        return [self._shown[i] for i in chosen]

    @cached_property
    def _shown(self) -> list[Record]:
        return [record for record in self.records if len(record.text.split()) <= self.max_words]

    @cached_property
    def _vectorizer(self) -> TfidfVectorizer:
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=TOKENS)
        return vectorizer.fit([record.text for record in self._shown])

    @cached_property
    def _vectors(self):  # a sparse matrix, one row an example
        return self._vectorizer.transform([record.text for record in self._shown])

    def _similar(self, text: str) -> list[Record]:
        likeness = (self._vectors @ self._vectorizer.transform([text]).T).toarray().ravel()
        nearest = [i for i in np.argsort(-likeness, kind="stable") if self._shown[i].text != text][: self.n]
        return [self._shown[i] for i in reversed(nearest)]

    def _fixed(self, missing: Callable[[Record], float]) -> list[Record]:
        """Spread over the corpus: the example next to the centre of each of `n` clusters."""
        shares = np.array([missing(record) for record in self._shown])
        fullest = np.sort(shares[shares < 1])[: self.n]
        empty = shares > (fullest[-1] if len(fullest) else 0)
        allowed = int(self.max_empty * self.n)
        chosen: list[int] = []
        for ranking in self._by_cluster:
            for i in ranking:
                if i not in chosen and (not empty[i] or allowed > 0):
                    allowed -= int(empty[i])
                    chosen.append(i)
                    break
        return [self._shown[i] for i in chosen]

    @cached_property
    def _by_cluster(self) -> list[list[int]]:
        """For each cluster, all examples by distance from its centre."""
        if len(self._shown) <= self.n:
            return [[i] for i in range(len(self._shown))]
        vectors = self._vectors
        if min(vectors.shape) > DIMENSIONS:
            vectors = TruncatedSVD(DIMENSIONS, random_state=self.seed).fit_transform(vectors)
        else:
            vectors = vectors.toarray()
        vectors = normalize(vectors)
        n = min(self.n, len(np.unique(vectors, axis=0)))
        # One thread: the order in which threads add up decides between clusterings that are as good.
        with threadpool_limits(1):
            clusters = KMeans(n, random_state=self.seed, n_init=10).fit(vectors)
        distances = clusters.transform(vectors).T
        return [np.argsort(row, kind="stable").tolist() for row in distances]


@registry.llm_misc("ie.ReviewedExamples.v1")
def reviewed_examples(
    reviewed: str,
    scheme: str = "",
    test_percent: float = 37,
    dev_percent: float = 10,
    near_duplicate: float = 0.8,
    select: Select = "fixed",
    n: int = 8,
    max_words: int = 40,
    max_empty: float = 0.25,
    seed: int = 0,
) -> Callable[[], Shots]:
    """Examples from the reviewed file's training part, by the same split as all else.

    Nothing is read before the first prompt is made. A file that is empty or isn't there yet: no examples.
    """

    def load() -> Shots:
        path = Path(reviewed)
        if not path.exists():
            return Shots([], select, n, max_words, max_empty, seed)
        labels = load_scheme(Path(scheme)) if scheme else None
        # Whether these are errors is for the command to say, which reads the same file.
        records = read_records(
            path,
            labels=labels,
            misaligned="snap",
            duplicates="first",
            bad_relations="drop",
            allow_empty=True,
        )
        split = assign(
            records, [], test_percent=test_percent, dev_percent=dev_percent, near_duplicate=near_duplicate
        )
        return Shots(split.train, select, n, max_words, max_empty, seed)

    return load


@registry.llm_misc("ie.ReasonedExamples.v1")
def reasoned_examples(
    examples: Callable[[], Shots], reasons: dict[str, str]
) -> Callable[[], list[dict[str, Any]]]:
    """The same fixed examples as spacy-llm's own `spacy.NER.v3` wants them, to compare with its prompt.

    Args:
        examples: of `ie.ReviewedExamples.v1`.
        reasons: for each label, what is written after each of its spans as the reason.
    """

    def load() -> list[dict[str, Any]]:
        chosen = examples().choose("", lambda record: _unanswered(record, reasons))
        return [
            {
                "text": record.text,
                "spans": [
                    {
                        "text": record.text[span.start : span.end],
                        "is_entity": True,
                        "label": span.label,
                        "reason": reasons[span.label],
                    }
                    for span in sorted(record.spans, key=lambda span: span.start)
                    if span.label in reasons
                ],
            }
            for record in chosen
        ]

    return load


def _unanswered(record: Record, labels: Collection[str]) -> float:
    return 1 - len({span.label for span in record.spans} & set(labels)) / len(labels)

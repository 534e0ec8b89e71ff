"""Which examples a prompt shows: the same for all texts, or those most like the text.

Answers are stored by prompt, so the choice must be the same on every machine and for any order of the file.
It uses integers only: sums of floats differ in their last bits between processors, and those would decide
between examples that are equally good. A hash of the text breaks ties.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from spacy_llm.registry import registry

from ie.core.text import count_words
from ie.data.pinned import is_shown_for, read_pinned
from ie.data.records import Record, read_records
from ie.data.scheme import load_scheme
from ie.data.splits import assign

Select = Literal["fixed", "similar"]

# Words, and symbols that have a meaning of their own, such as those of currencies.
TOKENS = re.compile(r"\b\w+\b|[^\w\s]")
# Cosines are fractions of 2**20: their squares, summed over `COMPARED` examples, fit into 64 bits.
ONE, COMPARED = 1 << 20, 1000


@dataclass
class FewShotExamples:
    """Examples for prompts: pinned ones, or chosen from the reviewed training part.

    Attributes:
        records: what may be shown. Pinned ones are in the order of their file.
        select: "fixed" shows the same examples for every text, so that a model that caches the prefix of a
            prompt reads them once. "similar" shows the nearest neighbours of each text (cosine of TF-IDF over
            words and word pairs), the nearest last.
        n: number of examples; 0 for none.
        max_words: longer texts aren't chosen.
        max_empty: largest share of fixed examples without a value for some field. A small model that sees
            "none" half of the time answers it most of the time. If fewer than `n` examples have all fields,
            those that have most of them are chosen.
        seed: of the hash that breaks ties.
        pinned: the records were chosen before. "fixed" shows all of them, in their order.
    """

    records: Sequence[Record]
    select: Select = "fixed"
    n: int = 8
    max_words: int = 40
    max_empty: float = 0.25
    seed: int = 0
    pinned: bool = False

    def choose(
        self, text: str, missing: Callable[[Record], float], fields: Collection[str] = ()
    ) -> list[Record]:
        """Examples to show before `text`, in their order in the prompt. The text itself is never one of them.

        Args:
            missing: share (0 to 1) of the prompt's fields for which an example has no value.
            fields: of the prompt; a pinned example may be for some fields only.
        """
        if not self.n or not self.records:
            return []
        if self.select == "similar":
            return self._similar(text)
        if self.pinned:
            return [record for record in self.records if is_shown_for(record, fields)]
        return self._fixed(missing)

    @cached_property
    def pool(self) -> list[Record]:
        """The short enough records, in an order that depends on the texts alone."""
        short = (record for record in self.records if count_words(record.text) <= self.max_words)
        return sorted(short, key=lambda record: (self._hash(record.text), record.to_line()))

    def _hash(self, text: str) -> bytes:
        return hashlib.sha256(f"{self.seed} {text}".encode("utf-8", "surrogatepass")).digest()

    @cached_property
    def _index(self) -> dict[str, tuple[np.ndarray, int]]:
        """For each term: the examples that have it, and its weight, the square of its IDF."""
        having: dict[str, list[int]] = {}
        for i, record in enumerate(self.pool):
            for term in terms(record.text):
                having.setdefault(term, []).append(i)
        return {term: (np.array(numbers), self._idf(len(numbers)) ** 2) for term, numbers in having.items()}

    def _idf(self, count: int) -> int:
        """16 times the binary logarithm of the inverse share of examples that have a term, plus 1."""
        return (len(self.pool) ** 16 // count**16).bit_length()

    @cached_property
    def _sizes(self) -> np.ndarray:
        """For each example the squared length of its vector."""
        sizes = np.zeros(len(self.pool), dtype=np.int64)
        for numbers, weight in self._index.values():
            sizes[numbers] += weight
        return sizes

    def _similarity(self, text: str, most: int | None = None) -> np.ndarray:
        """Squared cosines of the first `most` (or all) examples to a text, as fractions of `ONE` squared."""
        sizes = self._sizes[:most]
        common, size = np.zeros_like(sizes), 0
        for term in terms(text) & self._index.keys():
            numbers, weight = self._index[term]
            common[numbers[: np.searchsorted(numbers, len(common))]] += weight
            size += weight
        return (common * ONE // max(1, size)) * (common * ONE // np.maximum(1, sizes))

    def _similar(self, text: str) -> list[Record]:
        order = np.argsort(-self._similarity(text), kind="stable")
        nearest = [i for i in order if self.pool[i].text != text][: self.n]
        return [self.pool[i] for i in reversed(nearest)]

    def _fixed(self, missing: Callable[[Record], float]) -> list[Record]:
        shares = np.array([missing(record) for record in self.pool])
        fullest = np.sort(shares[shares < 1])[: self.n]
        return self._spread(shares > (fullest[-1] if len(fullest) else 0), int(self.max_empty * self.n))

    def _spread(self, empty: np.ndarray, allowed: int) -> list[Record]:
        """Up to `n` different examples that represent all, at most `allowed` of them `empty`.

        Facility location: each step chooses the example that adds most to the sum, over all examples, of the
        similarity to the nearest chosen one. This is within 1 - 1/e of the best (Nemhauser et al. 1978).
        """
        # If there are more, the first by hash are as good as a random sample.
        candidates = np.concatenate([np.flatnonzero(~empty)[:COMPARED], np.flatnonzero(empty)[:COMPARED]])
        if not len(candidates):
            return []
        likeness = np.array([self._similarity(self.pool[i].text, COMPARED) for i in candidates])
        nearest = np.zeros_like(likeness[0])
        chosen: list[Record] = []
        while len(chosen) < self.n:
            gains = np.maximum(likeness - nearest, 0).sum(axis=1)
            if not allowed:
                gains[empty[candidates]] = 0
            best = int(gains.argmax())
            if not gains[best]:
                break
            allowed -= int(empty[candidates[best]])
            nearest = np.maximum(nearest, likeness[best])
            chosen.append(self.pool[candidates[best]])
        return chosen


def terms(text: str) -> set[str]:
    """Words and symbols of a text, and pairs of neighbouring ones."""
    words = TOKENS.findall(text.lower())
    return {*words, *(" ".join(pair) for pair in pairwise(words))}


@registry.llm_misc("ie.ReviewedExamples.v1")
def reviewed_examples(
    reviewed: str,
    pinned: str = "",
    scheme: str = "",
    test_percent: float = 37,
    dev_percent: float = 10,
    near_duplicate: float = 0.8,
    select: Select = "fixed",
    n: int = 8,
    max_words: int = 40,
    max_empty: float = 0.25,
    seed: int = 0,
) -> Callable[[], FewShotExamples]:
    """Pinned examples, or examples from the training part of the reviewed file, split as everywhere.

    Nothing is read before the first prompt. An empty or missing file means no examples.

    Args:
        pinned: file of pinned examples (`ie.data.pinned`). "": chosen from `reviewed`, so that prompts change
            with it.
    """

    examples = partial(
        FewShotExamples, select=select, n=n, max_words=max_words, max_empty=max_empty, seed=seed
    )

    def load() -> FewShotExamples:
        if pinned:
            return examples(read_pinned(Path(pinned)), pinned=True)
        path = Path(reviewed)
        if not path.exists():
            return examples([])
        labels = load_scheme(Path(scheme)) if scheme else None
        # The command reads the same file, and reports these as errors or not.
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
        return examples(split.train)

    return load


@registry.llm_misc("ie.ReasonedExamples.v1")
def reasoned_examples(
    examples: Callable[[], FewShotExamples], reasons: dict[str, str]
) -> Callable[[], list[dict[str, Any]]]:
    """The same fixed examples as spacy-llm's own `spacy.NER.v3` wants them, to compare with its prompt.

    Args:
        examples: of `ie.ReviewedExamples.v1`.
        reasons: for each label, the reason that is written after each of its spans.
    """

    def load() -> list[dict[str, Any]]:
        chosen = examples().choose("", lambda record: _unanswered(record, reasons), reasons)
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

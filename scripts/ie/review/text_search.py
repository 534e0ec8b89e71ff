"""Texts by what they contain, and texts by how similar they are to another one."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ie.data.splits import normalise

PLACES = 6  # of a similarity: the last bits of a float decide nothing


def containing(texts: Sequence[str], words: str) -> list[int]:
    """The numbers of the texts that contain a string in any case, in order."""
    wanted = " ".join(words.split()).casefold()
    return [i for i, text in enumerate(texts) if not wanted or wanted in " ".join(text.split()).casefold()]


class SimilarTexts:
    """Cosine similarity of TF-IDF vectors of words; the vectors are made when they are first needed."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    @cached_property
    def _vectors(self) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer  # takes a second to import

        return TfidfVectorizer(analyzer=normalise).fit_transform(self._texts)

    def prepare(self) -> None:
        """Make the vectors now."""
        self._vectors  # noqa: B018

    def to(self, number: int) -> Iterator[int]:
        """The numbers of the other texts that share a word with one, most similar first, ties in order."""
        scores = np.round((self._vectors @ self._vectors[number].T).toarray().ravel(), PLACES)
        for other in np.argsort(-scores, kind="stable"):
            if scores[other] <= 0:
                return
            if other != number:
                yield int(other)

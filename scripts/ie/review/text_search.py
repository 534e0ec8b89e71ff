"""The texts of a review: by number, by key, by what they contain, and by similarity."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ie.core.text import text_hash
from ie.data.splits import normalise

PLACES = 6  # of a similarity: the last bits of a float decide nothing


def text_key(text: str) -> str:
    """The name of a text in the page's requests and in the journal."""
    return text_hash(text)


class ReviewTexts:
    """Texts in their order. Keys of all texts and vectors are made when they are first needed."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.number = {text: i for i, text in enumerate(texts)}
        self._served: dict[str, str] = {}

    def serve(self, text: str) -> str:
        """The key of a text that is sent to the page; it is found quickly from then on."""
        key = text_key(text)
        self._served[key] = text
        return key

    def find(self, key: str) -> int | None:
        """The number of a text; None if there is no such text."""
        text = self._served[key] if key in self._served else self._by_key.get(key)
        return None if text is None else self.number[text]

    @cached_property
    def _by_key(self) -> dict[str, str]:
        # Takes a tenth of a second for a large corpus.
        return {text_key(text): text for text in self.texts}

    def containing(self, words: str) -> list[int]:
        """The numbers of the texts that contain a string, in any case."""
        wanted = " ".join(words.split()).casefold()
        return [
            i
            for i, text in enumerate(self.texts)
            if not wanted or wanted in " ".join(text.split()).casefold()
        ]

    @cached_property
    def _vectors(self) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer  # takes a second to import

        return TfidfVectorizer(analyzer=normalise).fit_transform(self.texts)

    def prepare_similar(self) -> None:
        """Make the TF-IDF vectors now: seconds for a large corpus, in any thread."""
        self._vectors  # noqa: B018

    def similar_to(self, number: int) -> Iterator[int]:
        """The numbers of the other texts that share a word with one, by cosine similarity, ties in order."""
        scores = np.round((self._vectors @ self._vectors[number].T).toarray().ravel(), PLACES)
        for other in np.argsort(-scores, kind="stable"):
            if scores[other] <= 0:
                return
            if other != number:
                yield int(other)

"""Which text is asked about next; nothing is sorted or scored that isn't needed yet."""

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from math import fsum

from ie.data.splits import normalise
from ie.review.settings import OrderSection

SCORED_FIRST = 200  # texts: the first draw takes the best of these
SCANNED_AT_ONCE = 100  # texts, for one of the side that is filled first
POOL = 50

REASONS = {
    "disagreement": "its sources disagree most",
    "uncertainty": "its source is least sure",
    "diversity": "most of its words are new",
    "random": "drawn at random",
    "file": "next in the file",
}


class ReviewQueue:
    """The texts of a project in the order that the settings ask for.

    A large corpus is scored piece by piece: a draw takes the best of what was scored so far.
    """

    def __init__(
        self,
        texts: Sequence[str],
        settings: OrderSection,
        *,
        side: Callable[[str], str],
        filled: Callable[[], int],
        score: Callable[[str], float],
    ) -> None:
        """Args:
        side: where a text falls if it is reviewed now.
        filled: how many texts the side that is filled first has.
        score: disagreement or uncertainty of a text; the highest comes first.
        """
        self._texts, self._settings = texts, settings
        self._side, self._filled, self._score = side, filled, score
        self._sequence = self._start()
        self._scored: list[tuple[float, int, int]] = []
        self._pool: list[int] = []
        self._aside: deque[int] = deque()
        self._rank = 0
        self._seen: Counter[str] = Counter()

    def _start(self) -> Iterator[int]:
        if self._settings.then == "file":
            return iter(range(len(self._texts)))
        # by a hash of the text, so that new texts don't shuffle the old
        seed = str(self._settings.seed).encode()
        keys = [hashlib.blake2b(t.encode(), key=seed, digest_size=8).digest() for t in self._texts]
        return iter(sorted(range(len(keys)), key=keys.__getitem__))

    def draw(self, usable: Callable[[int], bool]) -> tuple[int, str] | None:
        """The next text, by number, and why it was chosen; None if there is no other.

        Args:
            usable: whether a text may be drawn: not one that is answered, or that somebody works on.
        """
        first = self._settings.first if self._filled() < self._settings.until else ""
        scanned = 0
        while scanned < SCANNED_AT_ONCE:
            found = self._next(aside=not first)
            if found is None:
                break
            if not usable(found):
                continue
            if first and self._side(self._texts[found]) != first:
                self._aside.append(found)
                scanned += 1
                continue
            return found, f"{first} is filled first" if first else REASONS[self._settings.then]
        while self._aside:
            found = self._aside.popleft()
            if usable(found):
                return found, REASONS[self._settings.then]
        return None

    def learn(self, text: str) -> None:
        """Count the words of a text that was answered, for diversity."""
        if self._settings.then == "diversity":
            self._seen.update(set(normalise(text)))

    def score_some(self, n: int = 20) -> bool:
        """Score `n` texts ahead, a millisecond or two; False if there is nothing left to score."""
        if self._settings.then not in ("disagreement", "uncertainty"):
            return False
        for _ in range(n):
            found = next(self._sequence, None)
            if found is None:
                return False
            self._rank += 1
            heappush(self._scored, (-self._score(self._texts[found]), self._rank, found))
        return True

    def _next(self, aside: bool) -> int | None:
        if aside and self._aside:
            return self._aside.popleft()
        if self._settings.then in ("disagreement", "uncertainty"):
            if not self._scored:
                self.score_some(SCORED_FIRST)
            return heappop(self._scored)[2] if self._scored else None
        if self._settings.then == "diversity":
            while len(self._pool) < POOL and (found := next(self._sequence, None)) is not None:
                self._pool.append(found)
            if not self._pool:
                return None
            best = max(self._pool, key=lambda i: self._novelty(self._texts[i]))
            self._pool.remove(best)
            return best
        return next(self._sequence, None)

    def _novelty(self, text: str) -> float:
        words = set(normalise(text))
        # The exact sum, since the order of a set's words is another one in every process.
        return fsum(1 / (1 + self._seen[word]) for word in words) / len(words)

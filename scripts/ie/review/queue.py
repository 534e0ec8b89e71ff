"""The order of the texts. The next part of the split is chosen first, then a text of it."""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush, nsmallest
from math import fsum

from ie.data.splits import SIDES, normalise
from ie.review.settings import OrderSection

SCORED_FIRST = 200  # texts: the first draw takes the best of these
SCANNED_AT_ONCE = 2000  # texts that a draw looks at for one of a certain part
POOL = 50
PARTS = (*SIDES, "bridge")

REASONS = {
    "disagreement": "its sources disagree most",
    "uncertainty": "its source is least sure",
    "diversity": "most of its words are new",
    "random": "drawn at random",
    "file": "next in the file",
}


@dataclass
class PartCounts:
    """How many accepted texts each part of the split has or will have, and how many of them have a label."""

    texts: Counter[str] = field(default_factory=Counter)
    labelled: Counter[str] = field(default_factory=Counter)


def wanted(
    settings: OrderSection, counts: PartCounts, shares: Mapping[str, float]
) -> Iterator[tuple[str, str]]:
    """The parts of the split in the order of their need, with the reason; a part may come twice.

    First all parts in turns, until each has enough for a first model. Then the one that is filled first.
    Then each according to its share. "" stands for any part.
    """
    aims = {part: aim for part, aim in settings.begin.model_dump().items() if aim}
    if any(counts.texts[part] < aim or not counts.labelled[part] for part, aim in aims.items()):
        for part in sorted(aims, key=lambda part: counts.texts[part] / aims[part]):
            yield part, f"{part} texts are needed for a first model"
    if settings.first and counts.texts[settings.first] < settings.until:
        yield settings.first, f"{settings.first} is filled first"
    if settings.then in ("file", "random"):
        yield "", REASONS[settings.then]
        return
    for part in sorted(shares, key=lambda part: counts.texts[part] / shares[part]):
        yield part, REASONS[settings.then if part == "train" else "random"]


class ReviewQueue:
    """The texts of a project in the order that the settings ask for.

    Texts of dev and test are drawn at random, so that scores on them hold for all texts; those of train by
    score. A large corpus is scored in steps: a draw takes the best of the texts that were scored so far.
    """

    def __init__(
        self,
        texts: Sequence[str],
        settings: OrderSection,
        *,
        part: Callable[[str], str],
        counts: Callable[[], PartCounts],
        shares: Mapping[str, float],
        score: Callable[[str], float] = lambda text: 0.0,
        suggested: Callable[[str], bool] = lambda text: False,
    ) -> None:
        """Args:
        part: the part of the split that a text gets if it is reviewed now, or "bridge".
        counts: what has been reviewed, and what is being reviewed.
        shares: of the parts of the split.
        score: disagreement or uncertainty of a text; the highest comes first.
        suggested: whether a source suggests something for a text.
        """
        self._texts, self._settings, self._shares = texts, settings, shares
        self._part, self._counts, self._score, self._suggested = part, counts, score, suggested
        self._sequence = self._start()
        self._rank = 0
        # For each part, the scored texts: (minus the score, position in the sequence, number).
        self._pools: dict[str, list[tuple[float, int, int]]] = {part: [] for part in PARTS}
        self._seen: Counter[str] = Counter()

    def _start(self) -> Iterator[int]:
        if self._settings.then == "file":
            yield from range(len(self._texts))
            return
        # By a hash of the text: new texts do not change the order of the old ones.
        seed = str(self._settings.seed).encode()
        keys = [hashlib.blake2b(t.encode(), key=seed, digest_size=8).digest() for t in self._texts]
        yield from sorted(range(len(keys)), key=keys.__getitem__)

    @property
    def _scored(self) -> bool:
        return self._settings.then in ("disagreement", "uncertainty")

    def draw(self, usable: Callable[[int], bool]) -> tuple[int, str] | None:
        """The next text, by number, and why it was chosen; None if there is no other.

        Args:
            usable: whether a text may be drawn: it is not answered, and nobody else works on it.
        """
        counts = self._counts()
        for part, reason in wanted(self._settings, counts, self._shares):
            number = self._take((part,) if part else PARTS, usable, counts)
            if number is not None:
                return number, reason
        number = self._take(PARTS, usable, counts)
        return None if number is None else (number, REASONS[self._settings.then])

    def learn(self, text: str) -> None:
        """Count the words of a text that was answered, for diversity."""
        if self._settings.then == "diversity":
            self._seen.update(set(normalise(text)))

    def score_some(self, n: int = 20) -> bool:
        """Score `n` texts ahead, a millisecond or two; False if there is nothing left to score."""
        if not self._scored:
            return False
        for _ in range(n):
            number = next(self._sequence, None)
            if number is None:
                return False
            self._push(number)
        return True

    def _push(self, number: int) -> None:
        text = self._texts[number]
        part = self._part(text)
        self._rank += 1
        score = self._score(text) if self._scored and part == "train" else 0.0
        heappush(self._pools[part], (-score, self._rank, number))

    def _take(self, parts: Collection[str], usable: Callable[[int], bool], counts: PartCounts) -> int | None:
        """The next text of some parts, None if there is none among those that may be read at once."""
        if self._scored and "train" in parts and self._rank < SCORED_FIRST:
            self.score_some(SCORED_FIRST - self._rank)
        read_ahead = POOL if self._settings.then == "diversity" and "train" in parts else 1
        scanned = 0
        while True:
            while sum(len(self._pools[part]) for part in parts) < read_ahead and scanned < SCANNED_AT_ONCE:
                number = next(self._sequence, None)
                if number is None:
                    break
                if usable(number):
                    self._push(number)
                    scanned += 1
            heads = [(self._pools[part][0], part) for part in parts if self._pools[part]]
            if not heads:
                return None
            _, part = min(heads)
            number = self._pop(part, counts)
            if not usable(number):
                continue
            if self._part(self._texts[number]) == part:
                return number
            self._push(number)  # since then, a similar text was reviewed

    def _pop(self, part: str, counts: PartCounts) -> int:
        pool = self._pools[part]
        first = pool[0]
        if part == "train":
            if self._settings.then == "diversity":
                first = max(nsmallest(POOL, pool), key=lambda item: self._novelty(self._texts[item[2]]))
            if counts.labelled[part] < self._settings.begin.train:
                # A first model learns most from texts with labels.
                ahead = (item for item in nsmallest(POOL, pool) if self._suggested(self._texts[item[2]]))
                first = next(ahead, first)
        if first is pool[0]:
            heappop(pool)
        else:
            pool.remove(first)
            pool.sort()  # a sorted list is a heap
        return first[2]

    def _novelty(self, text: str) -> float:
        words = set(normalise(text))
        # An exact sum, as the order of the words in a set differs between processes.
        return fsum(1 / (1 + self._seen[word]) for word in words) / len(words)

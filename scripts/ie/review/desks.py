"""Desks: which texts each annotator works on, and which ones are free for others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ie.review.drafts import GoldDrafts
from ie.review.text_search import ReviewTexts


@dataclass
class Desk:
    """The texts that an annotator works on, by number, and why each was chosen."""

    batch: list[int] = field(default_factory=list)
    reasons: dict[int, str] = field(default_factory=dict)
    touched: float = 0.0

    def add(self, number: int, reason: str) -> None:
        """Put a text last."""
        self.batch.append(number)
        self.reasons[number] = reason

    def put_first(self, numbers: Sequence[int], reason: str) -> None:
        """Put texts first, whether they are on the desk or not."""
        self.batch = [*numbers, *(i for i in self.batch if i not in numbers)]
        self.reasons |= dict.fromkeys(numbers, reason)


class Desks:
    """The desks of the annotators who share a gold file."""

    def __init__(
        self, drafts: GoldDrafts, texts: ReviewTexts, lease_minutes: float, clock: Callable[[], float]
    ) -> None:
        """Args:
        lease_minutes: after this time without a request, the texts of a desk are free for others.
        """
        self._drafts, self._texts, self._clock = drafts, texts, clock
        self._lease = lease_minutes * 60
        self._by_name: dict[str, Desk] = {}

    def of(self, annotator: str) -> Desk:
        """An annotator's desk; it starts with the texts that they left unfinished before a restart."""
        desk = self._by_name.get(annotator)
        if desk is None:
            desk = self._by_name[annotator] = Desk()
            for number, last in self._drafted(finished=False):
                if last == annotator:
                    desk.add(number, "you began it")
        desk.touched = self._clock()
        return desk

    def batches(self) -> list[int]:
        """The texts on all desks."""
        return [number for desk in self._by_name.values() for number in desk.batch]

    def held(self, desk: Desk) -> set[int]:
        """The texts that others work on."""
        now = self._clock()
        return {i for other in self._others(desk) if now - other.touched < self._lease for i in other.batch}

    def begun(self, desk: Desk) -> list[int]:
        """The texts on the desks of others, and those that are unfinished since before a restart."""
        return [
            *(i for other in self._others(desk) for i in other.batch),
            *(number for number, _ in self._drafted(finished=False)),
        ]

    @cached_property
    def reopened(self) -> list[int]:
        """The finished texts that are asked again, as the label scheme has a new label."""
        numbers = [] if self._drafts.selection else [number for number, _ in self._drafted(finished=True)]
        return [number for number in numbers if self._drafts.is_unreviewed(self._texts.texts[number])]

    def take(self, desk: Desk, number: int, reason: str) -> None:
        """Put a text on a desk, and take it from another one."""
        for other in self._others(desk):
            if number in other.batch:
                other.batch.remove(number)
        desk.add(number, reason)

    def _others(self, desk: Desk) -> list[Desk]:
        return [other for other in self._by_name.values() if other is not desk]

    def _drafted(self, *, finished: bool) -> list[tuple[int, str]]:
        """Finished or unfinished texts, each with the annotator who answered last."""
        return [
            (number, draft.annotators[-1])
            for key, draft in self._drafts.by_key.items()
            if draft.finished == finished and (number := self._texts.find(key)) is not None
        ]

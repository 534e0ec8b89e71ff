"""Drafts: what has been answered about the texts of a gold file, and which questions are still open."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ie.data.records import Record
from ie.review.answer_files import Gold
from ie.review.progress import label_counts
from ie.review.settings import Unit
from ie.review.text_search import text_key

# Of one answer: a tab may stay open for weeks, and the sum of all answers must stay finite.
MAX_SECONDS = 1e7
Mark = tuple[int, int, str]  # start and end in characters, label
# The end of a relation: start and end of its span; also the label if several spans have that start and end.
End = tuple[int, int] | Mark
Edge = tuple[End, End, str]  # head, child, label


class SpanNumbers:
    """The numbers of spans, and how relations name these spans as their ends."""

    def __init__(self, marks: Sequence[Mark]) -> None:
        shared = Counter(mark[:2] for mark in marks)
        self.ends: list[End] = [mark if shared[mark[:2]] > 1 else mark[:2] for mark in marks]
        self._numbers: dict[End, int] = {}
        for number, mark in enumerate(marks):
            self._numbers[mark] = number
            self._numbers.setdefault(mark[:2], number)

    def find(self, end: End) -> int | None:
        """The number of the span at the end of a relation; None if it is gone. Its label may have changed."""
        return self._numbers.get(end, self._numbers.get(end[:2]))

    def joined(self, edges: Iterable[Edge]) -> list[tuple[int, int, str]]:
        """Head, child and label of the relations that join two of the spans, each once."""
        found = ((self.find(head), self.find(child), label) for head, child, label in edges)
        return list(
            dict.fromkeys(
                (head, child, label)
                for head, child, label in found
                if head is not None and child is not None and head != child
            )
        )


@dataclass
class ReviewDraft:
    """What has been answered about a text so far.

    `parts` are the questions that are settled (see `Unit.parts`); `last` is the entry of the last answer.
    `rows` are the rows that were answered, by the name of their question.
    """

    round: int = 1
    spans: list[Mark] = field(default_factory=list)
    relations: list[Edge] = field(default_factory=list)
    cats: dict[str, float] = field(default_factory=dict)
    parts: set[str] = field(default_factory=set)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    answer: str = "accept"
    meeting: str | None = None
    seconds: float = 0.0
    annotators: list[str] = field(default_factory=list)
    last: str = ""
    finished: bool = False

    def settles(self, unit: Unit) -> bool:
        """Whether a question was answered, for all of its labels."""
        complete = (
            unit.task != "categories" or self.answer != "accept" or self.cats.keys() >= set(unit.labels)
        )
        return unit.parts <= self.parts and complete


@dataclass
class GoldDrafts:
    """A gold file, and the drafts of its texts. There is one for all annotators, or one for each.

    Attributes:
        units: the questions about each text.
        selection: name of another review of chosen texts; "" for the first review.
        guidelines: version of the guidelines.
        name: the annotator, if the file is of one annotator alone.
        by_key: drafts by key of the text. `agreed`: for finished texts, whether the sources that agreed were
            right. `settled`: keys of the texts that were reviewed again in this selection.
        unwritten: finished answers that aren't in the gold file yet.
    """

    gold: Gold
    units: Sequence[Unit]
    selection: str
    guidelines: str
    name: str = ""
    by_key: dict[str, ReviewDraft] = field(default_factory=dict)
    agreed: dict[str, bool] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)
    unwritten: list[dict[str, Any]] = field(default_factory=list)

    @cached_property
    def labels(self) -> Counter[str]:
        """How often each label is in the gold file; kept up to date by `put`."""
        return sum(map(label_counts, self.gold.records.values()), Counter())

    def put(self, record: Record) -> Record | None:
        """Write a record; returns the one that it replaces."""
        old = self.gold.records.get(record.text)
        self.labels.subtract(label_counts(old) if old else ())
        self.gold.put(record)
        self.labels.update(label_counts(record))
        return old

    def apply(self, entry: dict[str, Any]) -> None:
        """Update the draft of a text with an answer of the journal."""
        key = entry["text"]
        old = self.by_key.get(key)
        draft = old if old and old.round == entry["round"] else ReviewDraft(round=entry["round"])
        draft.spans = [(s, e, label) for s, e, label in entry.get("spans", ())]
        draft.relations = [(tuple(h), tuple(c), label) for h, c, label in entry.get("relations", ())]
        draft.cats, draft.rows = dict(entry.get("cats", {})), dict(entry.get("rows", {}))
        draft.parts |= set(entry["parts"])
        draft.answer, draft.meeting = entry["answer"], entry.get("meeting")
        # A log of an earlier version may hold more.
        draft.seconds += min(entry.get("seconds", 0.0), MAX_SECONDS)
        if entry["annotator"] not in draft.annotators:
            draft.annotators.append(entry["annotator"])
        draft.last, draft.finished = entry["entry"], "record" in entry
        self.by_key[key] = draft
        if "agreed" in entry:
            self.agreed[key] = entry["agreed"]
        # If the guidelines have changed since then, the text is reviewed again.
        review = entry.get("selection"), entry.get("guidelines")
        if not draft.finished:
            self.settled.discard(key)
        elif self.selection and review == (self.selection, self.guidelines):
            self.settled.add(key)

    def draft(self, text: str) -> ReviewDraft:
        """The draft of a text. A new draft starts with the gold record, if there is one."""
        key = text_key(text)
        draft = self.by_key.get(key)
        if draft and not draft.finished:
            return draft
        record = self.gold.records.get(text)
        if draft and not (self.selection and key not in self.settled):
            started = replace(draft)
        else:
            started = ReviewDraft(round=draft.round + 1 if draft else 2 if record else 1)
            started.last = draft.last if draft else ""
        if record:
            # Somebody may have edited the gold file since the answer.
            started.spans = [(s.start, s.end, s.label) for s in record.spans]
            ends = SpanNumbers(started.spans).ends
            started.relations = [(ends[r.head], ends[r.child], r.label) for r in record.relations]
            started.cats = dict.fromkeys(draft.cats if draft else (), 0.0) | record.cats
            started.meeting = record.meta.get("meeting")
        return started

    def is_unreviewed(self, text: str) -> bool:
        """Whether a text is still to be reviewed, or has a question that it wasn't asked yet."""
        key = text_key(text)
        if self.selection:
            return key not in self.settled
        draft = self.by_key.get(key)
        if draft is not None and not draft.finished:
            return True
        # The label scheme may have a label that a finished text wasn't asked for.
        return text not in self.gold.records or (draft is not None and self.has_open(self.draft(text)))

    def is_open(self, text: str, unit: Unit) -> bool:
        """Whether a question about a text is to be asked."""
        if not self.is_unreviewed(text):
            return False
        draft = self.draft(text)
        if unit is self.units[-1] and not self.has_open(draft):
            return True  # The settings no longer ask for the rest; this question finishes the text.
        return self._needs(draft, unit)

    def has_open(self, draft: ReviewDraft) -> bool:
        """Whether a draft still needs an answer."""
        return any(self._needs(draft, unit) for unit in self.units)

    def _needs(self, draft: ReviewDraft, unit: Unit) -> bool:
        if draft.answer != "accept" or draft.settles(unit):
            return False
        if unit.task != "relations" or len(draft.spans) > 1:
            return True
        # A later question may add spans.
        return any(u.task == "spans" and not u.parts <= draft.parts for u in self.units)

    def status(self, text: str) -> str:
        """The state of a text in words, for the list of texts."""
        if self.is_unreviewed(text):
            return "begun" if text_key(text) in self.by_key else "open"
        record = self.gold.records.get(text)
        if record is None:
            return "answered"
        if record.answer != "accept":
            return f"{record.answer.removesuffix('e')}ed"
        return f"{len(record.spans)} span{'' if len(record.spans) == 1 else 's'}"

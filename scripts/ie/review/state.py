"""Review state: the next question for each annotator, and how an answer updates it. No HTTP."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from itertools import islice, pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr
from spacy.tokens import Doc

from ie.core.errors import RequestError
from ie.data.records import HAS_CATEGORY, Record, Relation, Span
from ie.data.splits import SIDES, Sides
from ie.review import answer_files, text_search
from ie.review.answer_files import Gold, Journal
from ie.review.cells import Cells, cells
from ie.review.guidelines_panel import GuidelinesPanel
from ie.review.progress import ReviewSession, label_counts, skip_cost
from ie.review.queue import PartCounts, ReviewQueue
from ie.review.selection import SelectedText
from ie.review.settings import BeginSection, ReviewSettings, Unit
from ie.review.suggestion_sources import Key, Suggestion, SuggestionSources, TextSuggestions, agreed
from ie.review.text_search import SimilarTexts

ANNOTATOR = re.compile(r"[\w-][\w.-]{0,39}")
Edges = tuple[int, int]
Mark = tuple[int, int, str]  # characters, label
# Of one answer: a tab may stay open for weeks, and sums of it stay finite.
MAX_SECONDS = 1e7
LISTED = 100  # texts of a search
SHOWN = 200  # characters of each
# Up to so many unreviewed texts are assigned to parts of the split to count these.
COUNTED_EXACTLY = 5000
# The order of texts that are reviewed again.
IN_FILE_ORDER = {"begin": BeginSection(train=0, dev=0, test=0), "first": "", "then": "file"}
Index = Annotated[StrictInt, Field(ge=0, lt=2**31)]
Label = Annotated[StrictStr, Field(max_length=200)]


class ReviewAnswer(BaseModel):
    """What the page sends: spans by number of cells, and everything that is marked, whatever was asked."""

    model_config = ConfigDict(extra="forbid")
    entry: StrictStr = Field(
        pattern=r"^[0-9a-zA-Z-]{8,40}$"
    )  # made by the page; the same again is no second one
    annotator: StrictStr
    text: StrictStr = Field(max_length=16)
    unit: StrictStr = Field(max_length=200)
    base: StrictStr = Field(max_length=40)
    answer: Literal["accept", "reject", "ignore"]
    spans: list[tuple[Index, Index, Label]] = Field([], max_length=5000)
    relations: list[tuple[Index, Index, Label]] = Field([], max_length=5000)
    cats: dict[Label, Literal[0, 1]] = Field({}, max_length=1000)
    seconds: float = Field(0, ge=0, le=MAX_SECONDS, allow_inf_nan=False)
    meeting: StrictStr | None = Field(None, max_length=2000)


@dataclass
class ReviewDraft:
    """What has been answered about a text so far.

    `parts` are the questions that are settled (see `Unit.parts`); `last` is the entry of the last answer.
    """

    round: int = 1
    spans: list[Mark] = field(default_factory=list)
    relations: list[tuple[Edges, Edges, str]] = field(default_factory=list)
    cats: dict[str, float] = field(default_factory=dict)
    parts: set[str] = field(default_factory=set)
    answer: str = "accept"
    meeting: str | None = None
    seconds: float = 0.0
    annotators: list[str] = field(default_factory=list)
    last: str = ""
    finished: bool = False


@dataclass
class Desk:
    """The texts that an annotator has before them."""

    batch: list[int] = field(default_factory=list)
    reasons: dict[int, str] = field(default_factory=dict)
    touched: float = 0.0


@dataclass
class GoldDrafts:
    """A gold file, with the drafts that will get there. There is one, or one for each annotator."""

    gold: Gold
    drafts: dict[str, ReviewDraft] = field(default_factory=dict)
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


class ReviewState:
    """One project under review."""

    def __init__(
        self,
        *,
        settings: ReviewSettings,
        units: Sequence[Unit],
        tokenizer: Callable[[str], Doc],
        texts: Sequence[str],
        record: Callable[[str], Record | None],
        sources: SuggestionSources,
        guidelines: GuidelinesPanel,
        journal: Journal,
        gold: Gold,
        own_gold: Callable[[str], Gold],
        sides: Callable[[Iterable[Record]], Sides],
        score: Callable[[str], float] = lambda text: 0.0,
        chosen: Sequence[SelectedText] = (),
        selection: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Args:
        texts, record: the texts that may be asked about, and the raw record of each.
        gold, own_gold: the reviewed records of all, and of an annotator who works independently.
        sides: makes the split of reviewed records.
        score: what orders the texts, see `ReviewQueue`.
        chosen, selection: for another review: the texts in this order, reviewed or not, and a name for it.

        Raises:
            UserError: the journal is broken.
        """
        self.settings, self.units, self.guidelines = settings, tuple(units), guidelines
        self._tokenizer, self._record, self.sources = tokenizer, record, sources
        self._journal, self._own_gold, self._clock = journal, own_gold, clock
        self.gold, self._make_sides = gold, sides
        self.sides = sides(gold.records.values())
        self._chosen = {item.text: item for item in chosen}
        self.selection = selection
        self.texts = [item.text for item in chosen] if selection else list(texts)
        self._number = {text: i for i, text in enumerate(self.texts)}
        self._served: dict[str, str] = {}  # key -> text
        self._desks: dict[str, Desk] = {}
        self._ledgers: dict[str, GoldDrafts] = {}
        self._entries: dict[str, tuple[str, str]] = {}  # entry -> annotator, text
        self._history: dict[str, list[tuple[str, str]]] = {}  # annotator -> text, unit
        self._checked: dict[tuple[str, str], bool] = {}  # ledger, text: were agreeing sources right?
        self._skipped: set[str] = set()
        self._settled: set[tuple[str, str]] = set()  # ledger, text: reviewed again in this selection
        self.repaired = self._replay()
        self._similar = SimilarTexts(self.texts)
        self._sessions: dict[str, ReviewSession] = {}
        self._score = score
        self._orderings: dict[str, ReviewQueue] = {}
        self._reopened: dict[str, list[int]] = {}  # by ledger, see `_answered_before`
        self._learn(self.gold.records.values())
        self._left: Counter[str] | None = None  # unreviewed texts by part, once they were counted

    # Reading what was answered before

    def _replay(self) -> int:
        finished: dict[str, list[dict[str, Any]]] = {}
        for entry in self._journal.read():
            self._apply(entry)
            if "record" in entry:
                finished.setdefault(entry.get("ledger", ""), []).append(entry)
        repaired = 0
        for name, entries in finished.items():
            if name and not self.settings.review.independent:
                continue
            repaired += answer_files.repair(entries, self._ledger(name).gold)
        if repaired:
            self.sides = self._make_sides(self.gold.records.values())
        return repaired

    def _apply(self, entry: dict[str, Any]) -> None:
        """An answer of the journal becomes the state."""
        ledger, key = entry.get("ledger", ""), entry["text"]
        drafts = self._drafts(ledger)
        old = drafts.get(key)
        draft = old if old and old.round == entry["round"] else ReviewDraft(round=entry["round"])
        draft.spans = [(s, e, label) for s, e, label in entry.get("spans", ())]
        draft.relations = [(tuple(h), tuple(c), label) for h, c, label in entry.get("relations", ())]
        draft.cats = dict(entry.get("cats", {}))
        draft.parts |= set(entry["parts"])
        draft.answer, draft.meeting = entry["answer"], entry.get("meeting")
        # A log of an earlier version may hold more.
        draft.seconds += min(entry.get("seconds", 0.0), MAX_SECONDS)
        if entry["annotator"] not in draft.annotators:
            draft.annotators.append(entry["annotator"])
        draft.last, draft.finished = entry["entry"], "record" in entry
        drafts[key] = draft
        self._entries[entry["entry"]] = entry["annotator"], key
        if "agreed" in entry:
            self._checked[ledger, key] = entry["agreed"]
        self._history.setdefault(entry["annotator"], []).append((key, entry["unit"]))
        if draft.finished and entry.get("selection") and entry["selection"] == self.selection:
            # guidelines that changed since then are a reason to look again
            if entry.get("guidelines") == self.guidelines.version:
                self._settled.add((ledger, key))
        elif not draft.finished:
            self._settled.discard((ledger, key))

    # Who works on what

    def next(self, annotator: str) -> dict[str, Any] | None:
        """The next question for an annotator, None if there is no other.

        Raises:
            RequestError: the name can't be used.
        """
        desk = self._desk(annotator)
        while True:
            found = self._choose(annotator, desk)
            if found:
                return self._view(annotator, self.texts[found[0]], found[1], desk)
            if not desk.batch:
                return None
            desk.batch = []

    def _choose(self, annotator: str, desk: Desk) -> tuple[int, Unit] | None:
        """The next text and question of a batch, which goes through one question before the next."""
        ledger = self._ledger_name(annotator)
        for unit in self.units:
            while True:
                for i in desk.batch:
                    if self._open(ledger, i, unit):
                        return i, unit.without(self._draft(ledger, self.texts[i]).parts)
                room = len(desk.batch) < self.settings.review.batch
                if not (unit is self.units[0] and room and self._draw(annotator, desk)):
                    break
        return None

    def item(self, annotator: str, key: str, unit: str) -> dict[str, Any]:
        """A question as it stands, answered or not."""
        return self._view(annotator, self._text(key), self._unit(unit), self._desk(annotator))

    def back(self, annotator: str, steps: int) -> dict[str, Any] | None:
        """The question that an annotator answered so many answers ago, each counted once; None if no more."""
        self._ledger_name(annotator)
        order = dict.fromkeys(
            pair
            for pair in reversed(self._history.get(annotator, []))
            if self._find(pair[0]) is not None and self._find_unit(pair[1])
        )
        if not 1 <= steps <= len(order):
            return None
        return self.item(annotator, *list(order)[steps - 1])

    def ordering(self, ledger: str = "") -> ReviewQueue:
        """The texts of a gold file in their order."""
        if ledger not in self._orderings:
            order = self.settings.order
            self._orderings[ledger] = ReviewQueue(
                self.texts,
                order.model_copy(update=IN_FILE_ORDER) if self.selection else order,
                part=self.side,
                counts=lambda: self._part_counts(ledger),
                shares=self.sides.shares,
                score=self._score,
                suggested=lambda text: bool(self.sources.get(text, model=False).spans),
            )
        return self._orderings[ledger]

    def _part_counts(self, ledger: str) -> PartCounts:
        """Texts of each part of the split: the reviewed ones, and those that annotators have before them.

        Of annotators who work independently every answer counts, so that all are asked the same texts.
        """
        if ledger:
            counts = Counter(map(self.side, self._ledger(ledger).gold.records))
            found = PartCounts(counts, Counter(counts))
        else:
            found = PartCounts(Counter(self.sides.counts), Counter(self.sides.labelled))
        for name, desk in self._desks.items():
            if self._ledger_name(name) == ledger:
                found.texts.update(
                    self.side(self.texts[i]) for i in desk.batch if self._unreviewed(ledger, i)
                )
        return found

    def unreviewed(self) -> dict[str, int]:
        """How many texts of each part of the split are left to review; an estimate for a large corpus."""
        if self._left is None:
            left = [text for text in self.texts if text not in self.gold.records]
            if len(left) > COUNTED_EXACTLY:
                shares = self.sides.shares.items()
                self._left = Counter({part: round(len(left) * share / 100) for part, share in shares})
            else:
                self._left = Counter(map(self.side, left))
        return {part: max(0, self._left[part]) for part in SIDES}

    def _desk(self, annotator: str) -> Desk:
        """An annotator's desk; at first with what they had before them when the server stopped."""
        ledger = self._ledger_name(annotator)
        desk = self._desks.get(annotator)
        if desk is None:
            desk = self._desks[annotator] = Desk()
            for key, draft in self._drafts(ledger).items():
                if draft.finished or annotator not in draft.annotators[-1:]:
                    continue
                number = self._find(key)
                if number is not None:
                    desk.batch.append(number)
                    desk.reasons[number] = "you began it"
        desk.touched = self._clock()
        return desk

    def _draw(self, annotator: str, desk: Desk) -> bool:
        ledger = self._ledger_name(annotator)
        rivals = self._rivals(ledger, desk)
        held = self._held(rivals)

        def usable(i: int) -> bool:
            free = i not in held and i not in desk.batch and self._unreviewed(ledger, i)
            return free and not self._skip(ledger, i)

        number = next((i for i in self._answered_before(ledger) if usable(i)), None)
        drawn: tuple[int, str] | None = None if number is None else (number, "asked again, for a new label")
        if drawn is None:
            drawn = self.ordering(ledger).draw(usable)
        if drawn is None:
            # what others began long ago, or before the server started
            number = next((i for i in self._begun(ledger, rivals) if usable(i)), None)
            drawn = (number, "left unfinished") if number is not None else None
        if drawn is None:
            return False
        for other in rivals.values():
            if drawn[0] in other.batch:
                other.batch.remove(drawn[0])
        desk.batch.append(drawn[0])
        desk.reasons[drawn[0]] = drawn[1]
        return True

    def _skip(self, ledger: str, number: int) -> bool:
        """Whether a text is left out as its sources agree; one of those shown to measure the cost isn't."""
        skip, text = self.settings.skip, self.texts[number]
        if not skip.agreed or self.selection or text_key(text) in self._drafts(ledger):
            return False
        # by a hash of the text, so that no order and no restart changes which are shown
        if int(text_key(text)[-8:], 16) < skip.shown * 2**32 or self._agreed(text) is None:
            return False
        self._skipped.add(text)
        return True

    def _agreed(self, text: str) -> set[Key] | None:
        """The spans that all sources suggest for a text of train, if they agree; None for other parts."""
        return agreed(self.sources.get(text)) if self.side(text) == "train" else None

    def _rivals(self, ledger: str, desk: Desk) -> dict[str, Desk]:
        """The desks of those who share the texts of a ledger, by name."""
        return {} if ledger else {name: other for name, other in self._desks.items() if other is not desk}

    def _held(self, rivals: dict[str, Desk]) -> set[int]:
        """The texts that others work on."""
        now, lease = self._clock(), self.settings.review.lease_minutes * 60
        return {i for desk in rivals.values() if now - desk.touched < lease for i in desk.batch}

    def _begun(self, ledger: str, rivals: dict[str, Desk]) -> list[int]:
        found = (self._find(key) for key, draft in self._drafts(ledger).items() if not draft.finished)
        return [*(i for desk in rivals.values() for i in desk.batch), *(i for i in found if i is not None)]

    def _unreviewed(self, ledger: str, i: int) -> bool:
        text = self.texts[i]
        key = text_key(text)
        if self.selection:
            return (ledger, key) not in self._settled
        draft = self._drafts(ledger).get(key)
        if draft is not None and not draft.finished:
            return True
        record = self._ledger(ledger).gold.records.get(text)
        return record is None or (draft is not None and self._has_new_label(ledger, text))

    def _has_new_label(self, ledger: str, text: str) -> bool:
        """Whether the label scheme has a label that a finished text wasn't asked for."""
        draft = self._draft(ledger, text)
        return any(self._wanted(draft, unit) for unit in self.units)

    def _answered_before(self, ledger: str) -> list[int]:
        """The finished texts that are asked again, as the label scheme has grown since."""
        if self.selection:
            return []
        if ledger not in self._reopened:
            finished = (self._find(key) for key, draft in self._drafts(ledger).items() if draft.finished)
            known = (i for i in finished if i is not None)
            self._reopened[ledger] = [i for i in known if self._unreviewed(ledger, i)]
        return self._reopened[ledger]

    def _open(self, ledger: str, i: int, unit: Unit) -> bool:
        """Whether a question about a text is to be asked."""
        if not self._unreviewed(ledger, i):
            return False
        draft = self._draft(ledger, self.texts[i])
        if unit is self.units[-1] and not any(self._wanted(draft, other) for other in self.units):
            return True  # the rest is no longer asked since the settings changed; this finishes the text
        return self._wanted(draft, unit)

    def _wanted(self, draft: ReviewDraft, unit: Unit) -> bool:
        if draft.answer != "accept" or self._is_settled(draft, unit):
            return False
        if unit.task != "relations" or len(draft.spans) > 1:
            return True
        # There may be spans to come.
        return any(u.task == "spans" and not u.parts <= draft.parts for u in self.units)

    @staticmethod
    def _is_settled(draft: ReviewDraft, unit: Unit) -> bool:
        """Whether a question was answered, for all of its labels."""
        complete = (
            unit.task != "categories" or draft.answer != "accept" or draft.cats.keys() >= set(unit.labels)
        )
        return unit.parts <= draft.parts and complete

    # Choosing texts by hand

    def jump(self, annotator: str, key: str) -> dict[str, Any]:
        """A text that an annotator opens: its first open question, or the first one if all are answered.

        Its other questions come before those of other texts.
        """
        ledger, text, desk = self._ledger_name(annotator), self._text(key), self._desk(annotator)
        number = self._number[text]
        open_questions = [unit for unit in self.units if self._open(ledger, number, unit)]
        if open_questions:
            self._put_first(desk, [number], "you opened it")
        return self._view(annotator, text, (open_questions or self.units)[0], desk)

    def prepare_similar(self) -> None:
        """Make the vectors that similar texts are found with: seconds for a large corpus, in any thread."""
        self._similar.prepare()

    def more_like(self, annotator: str, key: str) -> int:
        """Put the most similar texts of train next on an annotator's desk; returns how many.

        As many as a batch has, and of train alone: dev and test stay the sample that the split drew.
        """
        ledger, number = self._ledger_name(annotator), self._number[self._text(key)]
        desk = self._desk(annotator)
        held = self._held(self._rivals(ledger, desk))
        similar = (
            i
            for i in self._similar.to(number)
            if i not in held and self._unreviewed(ledger, i) and self.side(self.texts[i]) == "train"
        )
        chosen = list(islice(similar, self.settings.review.batch))
        self._put_first(desk, chosen, "similar to one before")
        if number in desk.batch:
            self._put_first(desk, [number], desk.reasons[number])
        return len(chosen)

    def _put_first(self, desk: Desk, numbers: Sequence[int], reason: str) -> None:
        desk.batch = [*numbers, *(i for i in desk.batch if i not in numbers)]
        desk.reasons |= dict.fromkeys(numbers, reason)

    def find(self, annotator: str, words: str, *, mine: bool, limit: int = LISTED) -> dict[str, Any]:
        """The texts that contain a string, or those among an annotator's answers, the newest first."""
        ledger = self._ledger_name(annotator)
        numbers = text_search.containing(self.texts, words)
        if mine:
            matching = set(numbers)
            keys = dict.fromkeys(key for key, _ in reversed(self._history.get(annotator, [])))
            numbers = [number for key in keys if (number := self._find(key)) in matching]
        rows = [
            {"text": text_key(text), "start": text[:SHOWN], "state": self._state_of(ledger, i)}
            for i in numbers[:limit]
            for text in [self.texts[i]]
        ]
        return {"total": len(numbers), "rows": rows}

    def _state_of(self, ledger: str, number: int) -> str:
        """Where a text stands, in words."""
        text = self.texts[number]
        if self._unreviewed(ledger, number):
            return "begun" if text_key(text) in self._drafts(ledger) else "open"
        record = self._ledger(ledger).gold.records.get(text)
        if record is None:
            return "answered"
        if record.answer != "accept":
            return f"{record.answer.removesuffix('e')}ed"
        return f"{len(record.spans)} span{'' if len(record.spans) == 1 else 's'}"

    def session(self, annotator: str) -> dict[str, Any]:
        """What an annotator did since the server started, and how often gold has each label."""
        counts = self._ledger(self._ledger_name(annotator)).labels
        labels = {label: counts[label] for unit in self.units for label in unit.labels}
        checked, skipped = list(self._checked.values()), None
        if self.settings.skip.agreed:
            skipped = len([text for text in self._skipped if text not in self.gold.records])
        cost = skip_cost(len(checked), checked.count(False), skipped)
        return {**vars(self._session(annotator)), "labels": labels, "skipped": cost}

    def _session(self, annotator: str) -> ReviewSession:
        return self._sessions.setdefault(annotator, ReviewSession())

    # What the page shows

    def _view(self, annotator: str, text: str, unit: Unit, desk: Desk) -> dict[str, Any]:
        ledger, key = self._ledger_name(annotator), text_key(text)
        draft = self._draft(ledger, text)
        side = self.side(text)
        chosen = self._chosen.get(text)
        answered = self._is_settled(draft, unit)
        blind = side in self.settings.review.blind and not (chosen and chosen.suggested)
        known = TextSuggestions() if blind else self._suggested(text)
        divided = cells(text, self._tokenizer)
        marks = [Suggestion(*mark, source="") for mark in draft.spans]
        fresh = not answered and draft.round == 1
        if fresh and unit.task == "spans":
            taken = [(s, e) for s, e, _ in draft.spans]
            marks += [
                span
                for span in (chosen.agreed() if chosen else known.preset())
                if span.label in unit.labels and not any(span.start < e and s < span.end for s, e in taken)
            ]
        spans = _shown(divided, sorted(marks, key=lambda mark: mark.start), known.spans)
        shown = {(span["first"], span["end"], span["label"]) for span in spans}
        others = [
            span
            for span in _shown(divided, _unique(known.spans), known.spans)
            if span["label"] in unit.labels and (span["first"], span["end"], span["label"]) not in shown
        ]
        at = {(s.start, s.end): n for n, s in enumerate(sorted(marks, key=lambda mark: mark.start))}
        edges = [(h, c, label, "") for h, c, label in draft.relations]
        if fresh and unit.task == "relations":
            told: dict[tuple[Edges, Edges, str], list[str]] = {}
            for h, c, label, source in known.relations:
                told.setdefault((h, c, label), []).append(source)
            mine = {edge[:3] for edge in edges}
            edges += [
                (*edge, " + ".join(names))
                for edge, names in told.items()
                # of several people's answers, only what all of them say
                if edge[2] in unit.labels and edge not in mine and (not chosen or known.said <= set(names))
            ]
        cats = draft.cats
        if fresh and not chosen and not cats:
            cats = known.cats
        record = self._base(text)
        self._served[key] = text
        number = self._number[text]
        position = desk.batch.index(number) + 1 if number in desk.batch else 0
        return {
            "text": key,
            "id": record.id,
            "pieces": divided.pieces(),
            "unit": {"name": unit.name, "task": unit.task, "labels": list(unit.labels)},
            "spans": spans,
            "others": others if unit.task == "spans" else [],
            "relations": [
                {"head": at[h], "child": at[c], "label": label, "source": source}
                for h, c, label, source in edges
                if h in at and c in at
            ],
            "cats": {label: int(cats.get(label, 0) >= HAS_CATEGORY) for label in unit.labels}
            if unit.task == "categories"
            else {},
            "votes": known.cats_votes if unit.task == "categories" else {},
            "side": side,
            "blind": blind,
            "sources": self.sources.names,
            "why": chosen.why if chosen else desk.reasons.get(number, ""),
            "answered": answered,
            "round": draft.round,
            "meeting": draft.meeting,
            "base": draft.last,
            "annotator": annotator,
            "place": {
                "text": position,
                "batch": max(len(desk.batch), min(self.settings.review.batch, len(self.texts))),
                "unit": next(n for n, one in enumerate(self.units, start=1) if one.named(unit.name)),
                "units": len(self.units),
            },
        }

    def side(self, text: str) -> str:
        """Where a text falls, if it is reviewed now or was before: a side of the split, or "bridge"."""
        return self.sides.side(text)

    def _suggested(self, text: str) -> TextSuggestions:
        chosen = self._chosen.get(text)
        return chosen.suggested if chosen and chosen.suggested else self.sources.get(text)

    # Answers

    def answer(self, given: ReviewAnswer) -> None:
        """Take an answer: on disk first, then in memory. The same answer twice counts once.

        Raises:
            RequestError: it doesn't fit the text, or somebody else was faster.
            OSError, UserError, store.Changed: it couldn't be written.
        """
        ledger = self._ledger_name(given.annotator)
        text, unit = self._text(given.text), self._unit(given.unit)
        if given.entry in self._entries:
            self._write_gold(ledger)
            return
        draft = self._draft(ledger, text)
        if given.base != draft.last:
            raise RequestError("This text was answered meanwhile in another tab or by somebody else.", 409)
        spans, relations, cats = self._read(given, text, unit, draft)
        after = ReviewDraft(
            round=draft.round,
            spans=spans,
            relations=relations,
            cats=cats,
            parts=draft.parts | unit.parts,
            answer=given.answer,
            meeting=(given.meeting or "").strip() if given.meeting is not None else None,
            seconds=draft.seconds + given.seconds,
            annotators=[*draft.annotators, *({given.annotator} - set(draft.annotators))],
        )
        entry: dict[str, Any] = {
            "id": self._base(text).id,
            "text": given.text,
            "unit": unit.name,
            "parts": sorted(unit.parts),
            "answer": given.answer,
            "seconds": round(given.seconds, 2),
            "annotator": given.annotator,
            "time": datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds"),
            "guidelines": self.guidelines.version,
            "entry": given.entry,
            "round": draft.round,
            "side": self.side(text),
            "spans": spans,
            "relations": relations,
            "cats": cats,
        }
        entry |= {"ledger": ledger} if ledger else {}
        entry |= {"selection": self.selection} if self.selection else {}
        entry |= {"meeting": after.meeting} if after.meeting is not None else {}
        if not any(self._wanted(after, other) for other in self.units):
            gold = self._ledger(ledger).gold
            entry["before"] = answer_files.line_hash(gold.records.get(text))
            entry["record"] = self._finish(text, after, entry).model_dump(exclude_unset=True)
            expected = None if self.selection or draft.round > 1 else self._agreed(text)
            if expected is not None and given.answer == "accept":
                entry["agreed"] = expected == set(spans)  # whether the sources that agree were right
        self._journal.append(entry)
        self._apply(entry)
        self._session(given.annotator).add(given.seconds, finished="record" in entry)
        if "record" in entry:
            self._ledger(ledger).unwritten.append(entry)
        self._write_gold(ledger)

    def _read(
        self, given: ReviewAnswer, text: str, unit: Unit, draft: ReviewDraft
    ) -> tuple[list[Mark], list[tuple[Edges, Edges, str]], dict[str, float]]:
        """The annotation of an answer, in characters."""
        divided = cells(text, self._tokenizer)
        there = {(divided.covering(start, end), label) for start, end, label in draft.spans}
        asked = unit.labels if unit.task == "spans" else ()
        marks: list[Mark] = []
        for first, end, label in given.spans:
            try:
                start, stop = divided.offsets(first, end)
            except ValueError as error:
                raise RequestError(f"A span is outside the text: {error}.") from None
            if label not in asked and ((first, end), label) not in there:
                raise RequestError(f"This question does not ask for spans of {label!r}.")
            marks.append((start, stop, label))
        ordered = sorted(marks)
        if any(b[0] < a[1] for a, b in pairwise(ordered)):
            raise RequestError("Two spans overlap; delete one of them.")
        if unit.task == "relations":
            others = [edge for edge in draft.relations if edge[2] not in unit.labels]
            for head, child, label in given.relations:
                if label not in unit.labels:
                    continue
                if head == child or not (0 <= head < len(marks) and 0 <= child < len(marks)):
                    raise RequestError("A relation must join two spans of the text.")
                others.append((marks[head][:2], marks[child][:2], label))
        else:
            others = list(draft.relations)
        edges = {(start, end) for start, end, _ in marks}
        relations = list(dict.fromkeys(e for e in others if e[0] in edges and e[1] in edges))
        cats = dict(draft.cats)
        if unit.task == "categories" and given.answer == "accept":
            if set(given.cats) - set(unit.labels):
                raise RequestError("That is no category of the scheme.")
            cats = {label: given.cats.get(label, 0) for label in unit.labels}
            if self.settings.review.one_category and sum(cats.values()) != 1:
                raise RequestError("Choose one category.")
        return ordered, relations, cats

    def _finish(self, text: str, draft: ReviewDraft, entry: dict[str, Any]) -> Record:
        """The gold record of a text: what the raw one had, and the answers."""
        base = self._base(text)
        tasks = {unit.task for unit in self.units}
        # a link or an amount belongs to the very span it was given to
        extras = (
            {(s.start, s.end, s.label): s.model_extra or {} for s in base.spans}
            if self._gold_of(text)
            else {}
        )
        spans = [
            Span(start=s, end=e, label=label, **extras.get((s, e, label), {})) for s, e, label in draft.spans
        ]
        at = {(span.start, span.end): n for n, span in enumerate(spans)}
        relations = [Relation(head=at[h], child=at[c], label=label) for h, c, label in draft.relations]
        review = {
            "time": entry["time"],
            "seconds": round(draft.seconds, 1),
            "side": entry["side"],
            "tasks": sorted(tasks),
        }
        meta = {key: value for key, value in base.meta.items() if key != "meeting"}
        meta |= {
            "annotator": "+".join(draft.annotators),
            "guidelines": entry["guidelines"],
            "review": review,
        }
        meta |= {"meeting": draft.meeting} if draft.meeting is not None else {}
        cats = draft.cats if "categories" in tasks or draft.cats else base.cats
        content = {"text": text, "spans": spans, "relations": relations, "cats": cats, "meta": meta}
        return Record(**content, answer=draft.answer, **(base.model_extra or {}))

    def _write_gold(self, name: str) -> None:
        ledger = self._ledger(name)
        while ledger.unwritten:
            record = Record.model_validate(ledger.unwritten[0]["record"])
            old = ledger.put(record)
            self._learn([record])
            del ledger.unwritten[0]
            self.ordering(name).learn(record.text)
            if ledger.gold is not self.gold:
                continue
            if old is None:
                if self._left is not None:
                    self._left[self.side(record.text)] -= 1
                self.sides.add(record)
            elif (old.answer, self.sides.has_label(old)) != (record.answer, self.sides.has_label(record)):
                self.sides = self._make_sides(self.gold.records.values())

    def _learn(self, records: Iterable[Record]) -> None:
        """Let suggestions follow from answers, but not of blind parts or of independent annotators."""
        learned = self.sources.learned
        if learned and not self.settings.review.independent and not self.selection:
            open_parts = set(SIDES) - set(self.settings.review.blind)
            learned.learn(record for record in records if self.side(record.text) in open_parts)

    # Small things

    def _ledger_name(self, annotator: str) -> str:
        if not ANNOTATOR.fullmatch(annotator):
            raise RequestError("A name has up to 40 letters, digits, dots, hyphens and underscores.")
        return annotator if self.settings.review.independent and not self.selection else ""

    def _ledger(self, name: str) -> GoldDrafts:
        if name not in self._ledgers:
            self._ledgers[name] = GoldDrafts(self._own_gold(name) if name else self.gold)
        return self._ledgers[name]

    def _drafts(self, name: str) -> dict[str, ReviewDraft]:
        return self._ledger(name).drafts

    def _draft(self, ledger: str, text: str) -> ReviewDraft:
        """The draft of a text; one that begins with the gold record, where there is one."""
        draft = self._drafts(ledger).get(text_key(text))
        if draft and not draft.finished:
            return draft
        record = self._ledger(ledger).gold.records.get(text)
        again = self.selection and (ledger, text_key(text)) not in self._settled
        if draft and not again:
            begun = replace(draft)
        else:
            begun = ReviewDraft(round=draft.round + 1 if draft else 2 if record else 1)
            begun.last = draft.last if draft else ""
        if record:
            # what somebody changed by hand since counts
            begun.spans = [(s.start, s.end, s.label) for s in record.spans]
            edges = [(s.start, s.end) for s in record.spans]
            begun.relations = [(edges[r.head], edges[r.child], r.label) for r in record.relations]
            begun.cats = dict.fromkeys(draft.cats if draft else (), 0.0) | record.cats
            begun.meeting = record.meta.get("meeting")
        return begun

    def _base(self, text: str) -> Record:
        record = self._gold_of(text) or self._record(text)
        return record if record is not None else Record(text=text)

    def _gold_of(self, text: str) -> Record | None:
        return self.gold.records.get(text)

    def _text(self, key: str) -> str:
        number = self._find(key)
        if number is None:
            raise RequestError("That text isn't in this review; load the page again.", 404)
        return self.texts[number]

    def _find(self, key: str) -> int | None:
        """The number of a text."""
        text = self._served[key] if key in self._served else self._by_key.get(key)
        return None if text is None else self._number[text]

    @cached_property
    def _by_key(self) -> dict[str, str]:
        # a tenth of a second for a large corpus, so not before somebody comes back from earlier
        return {text_key(text): text for text in self.texts}

    def _unit(self, name: str) -> Unit:
        unit = self._find_unit(name)
        if unit is None:
            raise RequestError("The labels have changed; load the page again.", 409)
        return unit

    def _find_unit(self, name: str) -> Unit | None:
        """A question by name, which may be for some of its labels."""
        return next((found for unit in self.units if (found := unit.named(name))), None)


def text_key(text: str) -> str:
    """The name of a text between page, server and journal."""
    return sha256(text.encode()).hexdigest()[:16]


def _unique(spans: Iterable[Suggestion]) -> list[Suggestion]:
    return list({span.key: span for span in reversed(list(spans))}.values())[::-1]


def _shown(divided: Cells, marks: Iterable[Suggestion], known: Sequence[Suggestion]) -> list[dict[str, Any]]:
    """Spans as the page draws them: by cells, with everybody who suggests them."""
    found = []
    for mark in marks:
        at = divided.covering(mark.start, mark.end)
        if at is None:
            continue
        backers = [span for span in known if span.key == mark.key]
        found.append(
            {
                "first": at[0],
                "end": at[1],
                "label": mark.label,
                "sources": [
                    {"name": span.source, "alignment": span.alignment, "score": span.score}
                    for span in backers
                ],
                "suggested": bool(mark.source),
            }
        )
    return found

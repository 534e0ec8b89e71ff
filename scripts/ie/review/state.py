"""Review state: the next question for each annotator, and how an answer updates it. No HTTP."""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from spacy.tokens import Doc

from ie.core.errors import RequestError
from ie.data.documents.pictures import document_view
from ie.data.records import Record
from ie.data.splits import SIDES, Sides
from ie.review import answer_files, question
from ie.review.answer_files import Gold, Journal
from ie.review.answers import ReviewAnswer, gold_record, update_draft
from ie.review.cells import cells
from ie.review.desks import Desk, Desks
from ie.review.drafts import GoldDrafts, ReviewDraft
from ie.review.guidelines_panel import GuidelinesPanel
from ie.review.progress import ReviewSession, skip_cost
from ie.review.queue import PartCounts, ReviewQueue
from ie.review.rows import PREFIX, SuggestedRow, on_cells, open_row
from ie.review.selection import SelectedText
from ie.review.settings import BeginSection, ReviewSettings, Unit
from ie.review.suggestion_sources import Key, SuggestionSources, TextSuggestions, agreed
from ie.review.text_search import ReviewTexts, text_key

ANNOTATOR = re.compile(r"[\w-][\w.-]{0,39}")
LISTED = 100  # texts of a search
SHOWN = 200  # characters of each
# Up to so many unreviewed texts are assigned to parts of the split to count these.
COUNTED_EXACTLY = 5000
# The order of texts that are reviewed again.
IN_FILE_ORDER = {"begin": BeginSection(train=0, dev=0, test=0), "first": "", "then": "file"}


@dataclass
class AnnotatorGroup:
    """The annotators who share a gold file: its drafts, their desks, and the order of the texts."""

    drafts: GoldDrafts
    desks: Desks
    queue: ReviewQueue


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
        overlapping: bool = False,
        chosen: Sequence[SelectedText] = (),
        selection: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Args:
        texts, record: the texts that may be asked about, and the raw record of each.
        gold, own_gold: the reviewed records of all, and of an annotator who works independently.
        sides: makes the split of reviewed records.
        overlapping: whether spans may overlap.
        chosen, selection: for another review: the texts in this order, reviewed or not, and a name for it.

        Raises:
            UserError: the journal is broken.
        """
        if any(item.rows for item in chosen):
            # all questions about a text at once: who answered its rows has just read it
            one = settings.review.model_copy(update={"batch": 1})
            settings = settings.model_copy(update={"review": one})
        self.settings, self.units, self.guidelines = settings, tuple(units), guidelines
        self._tokenizer, self._record, self.sources = tokenizer, record, sources
        self._journal, self._own_gold, self._clock = journal, own_gold, clock
        self.gold, self._make_sides, self.overlapping = gold, sides, overlapping
        self.sides = sides(gold.records.values())
        self._chosen = {item.text: item for item in chosen}
        self.selection = selection
        self.texts = [item.text for item in chosen] if selection else list(texts)
        if any(item.applied for item in chosen):
            # no row can be asked of blind parts, so these come last
            self.texts.sort(key=lambda text: self.side(text) in settings.review.blind)
        self._texts = ReviewTexts(self.texts)
        self._groups: dict[str, AnnotatorGroup] = {}
        self._entries: set[str] = set()
        self._history: dict[str, list[tuple[str, str]]] = {}  # annotator -> key of the text, unit
        self._skipped: set[str] = set()
        self._sessions: defaultdict[str, ReviewSession] = defaultdict(ReviewSession)
        self.repaired = self._replay()
        self._learn(self.gold.records.values())
        self._left: Counter[str] | None = None  # unreviewed texts by part, once they were counted

    # Reading earlier answers

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
            repaired += answer_files.repair(entries, self._group(name).drafts.gold)
        if repaired:
            self.sides = self._make_sides(self.gold.records.values())
        return repaired

    def _apply(self, entry: dict[str, Any]) -> None:
        """Update the state with an answer of the journal."""
        self._group(entry.get("ledger", "")).drafts.apply(entry)
        self._entries.add(entry["entry"])
        self._history.setdefault(entry["annotator"], []).append((entry["text"], entry["unit"]))

    # The next question

    def next(self, annotator: str) -> dict[str, Any] | None:
        """The next question for an annotator, None if there is no other.

        Raises:
            RequestError: the name can't be used.
        """
        group = self._group_of(annotator)
        desk = group.desks.of(annotator)
        while True:
            if next_question := self._choose(group, desk):
                number, unit = next_question
                return self._view(annotator, self.texts[number], unit)
            if not desk.batch:
                return None
            desk.batch = []

    def _choose(self, group: AnnotatorGroup, desk: Desk) -> tuple[int, Unit] | None:
        """The next text and question of a batch, which goes through one question before the next.

        The rows of a text come before its other questions.
        """
        for unit in self.units:
            while True:
                for i in desk.batch:
                    text = self.texts[i]
                    if group.drafts.is_open(text, unit):
                        draft = group.drafts.draft(text)
                        row = open_row(self._rows(text), draft)
                        return i, row.unit if row else unit.without(draft.parts)
                room = len(desk.batch) < self.settings.review.batch
                if not (unit is self.units[0] and room and self._draw(group, desk)):
                    break
        return None

    def item(self, annotator: str, key: str, unit: str) -> dict[str, Any]:
        """A question as it stands, answered or not."""
        text = self.texts[self._number(key)]
        return self._view(annotator, text, self._unit(unit, text))

    def back(self, annotator: str, steps: int) -> dict[str, Any] | None:
        """The question that an annotator answered so many answers ago, each counted once; None if no more."""
        self._group_of(annotator)
        order = dict.fromkeys(
            (key, unit)
            for key, unit in reversed(self._history.get(annotator, []))
            if (number := self._texts.find(key)) is not None and self._find_unit(unit, self.texts[number])
        )
        if not 1 <= steps <= len(order):
            return None
        return self.item(annotator, *list(order)[steps - 1])

    def ordering(self) -> ReviewQueue:
        """The texts in the order in which they are asked, if annotators share them."""
        return self._group("").queue

    def _part_counts(self, group: AnnotatorGroup) -> PartCounts:
        """Texts of each part of the split: the reviewed ones, and those that annotators have before them.

        Of annotators who work independently every answer counts, so that all are asked the same texts.
        """
        if group.drafts.name:
            reviewed = Counter(map(self.side, group.drafts.gold.records))
            counts = PartCounts(reviewed, Counter(reviewed))
        else:
            counts = PartCounts(Counter(self.sides.counts), Counter(self.sides.labelled))
        batches = [self.texts[i] for i in group.desks.batches()]
        counts.texts.update(self.side(text) for text in batches if group.drafts.is_unreviewed(text))
        return counts

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

    def _draw(self, group: AnnotatorGroup, desk: Desk) -> bool:
        """Put another text on a desk; False if there is none."""
        held = group.desks.held(desk)

        def usable(i: int) -> bool:
            free = i not in held and i not in desk.batch and group.drafts.is_unreviewed(self.texts[i])
            return free and not self._skip(group.drafts, self.texts[i])

        if (number := next(filter(usable, group.desks.reopened), None)) is not None:
            drawn = number, "asked again, for a new label"
        elif (from_queue := group.queue.draw(usable)) is not None:
            drawn = from_queue
        elif (number := next(filter(usable, group.desks.begun(desk)), None)) is not None:
            drawn = number, "left unfinished"
        else:
            return False
        group.desks.take(desk, *drawn)
        return True

    def _skip(self, drafts: GoldDrafts, text: str) -> bool:
        """Whether a text is left out as its sources agree; one of those shown to measure the cost isn't."""
        skip, key = self.settings.skip, text_key(text)
        if not skip.agreed or self.selection or key in drafts.by_key:
            return False
        # by a hash of the text, so that no order and no restart changes which are shown
        if int(key[-8:], 16) < skip.shown * 2**32 or self._agreed(text) is None:
            return False
        self._skipped.add(text)
        return True

    def _agreed(self, text: str) -> set[Key] | None:
        """The spans that all sources suggest for a text of train, if they agree; None for other parts."""
        return agreed(self.sources.get(text)) if self.side(text) == "train" else None

    # Choosing texts by hand

    def jump(self, annotator: str, key: str) -> dict[str, Any]:
        """A text that an annotator opens: its first open question, or the first one if all are answered.

        Its other questions come before those of other texts.
        """
        group, number = self._group_of(annotator), self._number(key)
        text = self.texts[number]
        open_questions = [unit for unit in self.units if group.drafts.is_open(text, unit)]
        first = (open_questions or self.units)[0]
        if open_questions:
            group.desks.of(annotator).put_first([number], "you opened it")
            row = open_row(self._rows(text), group.drafts.draft(text))
            first = row.unit if row else first
        return self._view(annotator, text, first)

    def prepare_similar(self) -> None:
        """Make the vectors for `more_like`: seconds for a large corpus, in any thread."""
        self._texts.prepare_similar()

    def more_like(self, annotator: str, key: str) -> int:
        """Put the most similar texts of train next on an annotator's desk; returns how many.

        As many as a batch has, and of train alone: dev and test stay the sample that the split drew.
        """
        group, number = self._group_of(annotator), self._number(key)
        desk = group.desks.of(annotator)
        held = group.desks.held(desk)

        def usable(i: int) -> bool:
            text = self.texts[i]
            return i not in held and group.drafts.is_unreviewed(text) and self.side(text) == "train"

        similar = list(islice(filter(usable, self._texts.similar_to(number)), self.settings.review.batch))
        desk.put_first(similar, "similar to one before")
        if number in desk.batch:
            desk.put_first([number], desk.reasons[number])
        return len(similar)

    def find(self, annotator: str, words: str, *, mine: bool, limit: int = LISTED) -> dict[str, Any]:
        """The texts that contain a string, or those among an annotator's answers, the newest first."""
        drafts = self._group_of(annotator).drafts
        numbers = self._texts.containing(words)
        if mine:
            matching = set(numbers)
            keys = dict.fromkeys(key for key, _ in reversed(self._history.get(annotator, [])))
            numbers = [number for key in keys if (number := self._texts.find(key)) in matching]
        rows = [
            {"text": text_key(text), "start": text[:SHOWN], "state": drafts.status(text)}
            for text in (self.texts[i] for i in numbers[:limit])
        ]
        return {"total": len(numbers), "rows": rows}

    @property
    def direction(self) -> str:
        """The direction of the language's script: "ltr" or "rtl"."""
        vocab = getattr(self._tokenizer, "vocab", None)
        return vocab.writing_system.get("direction", "ltr") if vocab is not None else "ltr"

    def session(self, annotator: str) -> dict[str, Any]:
        """What an annotator did since the server started, and how often gold has each label."""
        counts = self._group_of(annotator).drafts.labels
        labels = {label: counts[label] for unit in self.units for label in unit.labels}
        checked = [right for group in self._groups.values() for right in group.drafts.agreed.values()]
        skipped = len(self._skipped - self.gold.records.keys())
        cost = skip_cost(len(checked), checked.count(False), skipped if self.settings.skip.agreed else None)
        note = self.sources.learned.note if self.sources.learned else ""
        return {**vars(self._sessions[annotator]), "labels": labels, "skipped": cost, "note": note}

    # What the page shows

    def _view(self, annotator: str, text: str, unit: Unit) -> dict[str, Any]:
        group, number = self._group_of(annotator), self._texts.number[text]
        desk, draft = group.desks.of(annotator), group.drafts.draft(text)
        side, selected = self.side(text), self._chosen.get(text)
        own_suggestions, applied = selected and selected.suggested, bool(selected and selected.applied)
        of_sample = selected is not None and selected.origin is not None
        blind = of_sample or (side in self.settings.review.blind and (applied or not own_suggestions))
        known = TextSuggestions() if blind else own_suggestions or self.sources.get(text)
        divided = cells(text, self._tokenizer)
        record = self._base(text)
        if row := self._row(text, unit.name):
            annotation = question.of_row(row, divided)
        else:
            choices = None if applied else selected
            annotation = question.annotation(
                draft, unit, known, choices, divided, overlapping=self.overlapping
            )
        # the reason names the least sure row
        why = "an answer is less sure than promised" if blind and applied else selected and selected.why
        return {
            "text": self._texts.serve(text),
            "id": record.id,
            "document": document_view(text, record.meta, zip(divided.starts, divided.ends, strict=True)),
            "pieces": divided.pieces(),
            "unit": {"name": unit.name, "task": unit.task, "labels": list(unit.labels)},
            **annotation,
            "side": side,
            "blind": blind,
            "sources": ["model"] if applied and not blind else self.sources.names,
            "why": why or desk.reasons.get(number, ""),
            "answered": unit.name in draft.rows if row else draft.settles(unit),
            "round": draft.round,
            "meeting": draft.meeting,
            "base": draft.last,
            "annotator": annotator,
            "place": {
                "text": desk.batch.index(number) + 1 if number in desk.batch else 0,
                "batch": max(len(desk.batch), min(self.settings.review.batch, len(self.texts))),
                **self._place(text, unit),
            },
        }

    def _place(self, text: str, unit: Unit) -> dict[str, int]:
        """The number of a question, among the rows of its text if it is about one."""
        rows = [row.unit.name for row in self._rows(text)]
        if unit.name in rows:
            return {"unit": rows.index(unit.name) + 1, "units": len(rows)}
        number = next(n for n, one in enumerate(self.units, start=1) if one.named(unit.name))
        return {"unit": number, "units": len(self.units)}

    def meta(self, key: str) -> dict[str, Any]:
        """The `meta` of a text."""
        return self._base(self.texts[self._number(key)]).meta

    def side(self, text: str) -> str:
        """The part of the split for which a text is reviewed, or "bridge"."""
        return self.sides.side(text)

    # Answers

    def answer(self, answer: ReviewAnswer) -> None:
        """Take an answer: on disk first, then in memory. The same answer twice counts once.

        Raises:
            RequestError: it doesn't fit the text, or somebody else was faster.
            OSError, UserError, answer_files.Changed: it couldn't be written.
        """
        group = self._group_of(answer.annotator)
        text = self.texts[self._number(answer.text)]
        unit = self._unit(answer.unit, text)
        if answer.entry in self._entries:
            self._write_gold(group)
            return
        draft = group.drafts.draft(text)
        if answer.base != draft.last:
            raise RequestError("This text has since been answered in another tab or by somebody else.", 409)
        after = update_draft(
            draft,
            answer,
            unit,
            cells(text, self._tokenizer),
            one_category=self.settings.review.one_category,
            overlapping=self.overlapping,
            row=self._row(text, unit.name),
        )
        entry = self._entry(answer, unit, text, after, group.drafts)
        self._journal.append(entry)
        self._apply(entry)
        self._sessions[answer.annotator].add(answer.seconds, finished="record" in entry)
        if "record" in entry:
            group.drafts.unwritten.append(entry)
        self._write_gold(group)

    def _entry(
        self, answer: ReviewAnswer, unit: Unit, text: str, after: ReviewDraft, drafts: GoldDrafts
    ) -> dict[str, Any]:
        """The line of the journal for an answer that makes a draft of `after`."""
        entry: dict[str, Any] = {
            "id": self._base(text).id,
            "text": answer.text,
            "unit": unit.name,
            "parts": sorted(unit.parts),
            "answer": answer.answer,
            "seconds": round(answer.seconds, 2),
            "annotator": answer.annotator,
            "time": datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds"),
            "guidelines": self.guidelines.version,
            "entry": answer.entry,
            "round": after.round,
            "side": self.side(text),
            "spans": after.spans,
            "relations": after.relations,
            "cats": after.cats,
        }
        entry |= {"rows": after.rows} if after.rows else {}
        entry |= {"ledger": drafts.name} if drafts.name else {}
        entry |= {"selection": self.selection} if self.selection else {}
        entry |= {"meeting": after.meeting} if after.meeting is not None else {}
        if not drafts.has_open(after):
            tasks = {unit.task for unit in self.units}
            reviewed = text in self.gold.records
            entry["before"] = answer_files.line_hash(drafts.gold.records.get(text))
            record = gold_record(after, self._base(text), tasks, entry, reviewed=reviewed)
            entry["record"] = record.model_dump(exclude_unset=True)
            expected = None if self.selection or after.round > 1 else self._agreed(text)
            if expected is not None and answer.answer == "accept":
                entry["agreed"] = expected == set(after.spans)  # whether the sources that agree were right
        return entry

    def _write_gold(self, group: AnnotatorGroup) -> None:
        drafts = group.drafts
        while drafts.unwritten:
            record = Record.model_validate(drafts.unwritten[0]["record"])
            old = drafts.put(record)
            self._learn([record])
            del drafts.unwritten[0]
            group.queue.learn(record.text)
            if drafts.gold is not self.gold:
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

    # Look-ups

    def _group_of(self, annotator: str) -> AnnotatorGroup:
        """The group of an annotator: everybody, or the annotator alone where all work independently."""
        if not ANNOTATOR.fullmatch(annotator):
            raise RequestError("A name has up to 40 letters, digits, dots, hyphens and underscores.")
        return self._group(annotator if self.settings.review.independent and not self.selection else "")

    def _group(self, name: str) -> AnnotatorGroup:
        if name not in self._groups:
            gold = self._own_gold(name) if name else self.gold
            drafts = GoldDrafts(gold, self.units, self.selection, self.guidelines.version, name)
            desks = Desks(drafts, self._texts, self.settings.review.lease_minutes, self._clock)
            order = self.settings.order
            queue = ReviewQueue(
                self.texts,
                order.model_copy(update=IN_FILE_ORDER) if self.selection else order,
                part=self.side,
                counts=lambda: self._part_counts(self._groups[name]),
                shares=self.sides.shares,
                score=lambda text: self.sources.score(text, order.then),
                suggested=lambda text: bool(self.sources.get(text, model=False).spans),
            )
            self._groups[name] = AnnotatorGroup(drafts, desks, queue)
        return self._groups[name]

    def _base(self, text: str) -> Record:
        """The gold record of a text, else the raw one, with the origin of a chosen text."""
        if record := self.gold.records.get(text):
            return record
        record, selected = self._record(text) or Record(text=text), self._chosen.get(text)
        if not selected or not selected.origin:
            return record
        return record.model_copy(update={"meta": record.meta | selected.origin})

    def _number(self, key: str) -> int:
        number = self._texts.find(key)
        if number is None:
            raise RequestError("That text isn't in this review; load the page again.", 404)
        return number

    def _rows(self, text: str) -> list[SuggestedRow]:
        """The rows to ask about; none of blind parts, and none of texts that people annotated before."""
        selected = self._chosen.get(text)
        if not selected or not selected.rows or self.side(text) in self.settings.review.blind:
            return []
        if self._group("").drafts.draft(text).round > 1:
            return []
        divided = cells(text, self._tokenizer)
        rows = [row for one in selected.rows if (row := on_cells(one, divided))]
        return [row for row in rows if row.fits(self.units, overlapping=self.overlapping)]

    def _row(self, text: str, name: str) -> SuggestedRow | None:
        """The row that a question is about, by name; None if it is about something else."""
        if not name.startswith(PREFIX):
            return None
        return next((row for row in self._rows(text) if row.unit.name == name), None)

    def _unit(self, name: str, text: str) -> Unit:
        unit = self._find_unit(name, text)
        if unit is None:
            raise RequestError("The labels or the suggestions have changed; load the page again.", 409)
        return unit

    def _find_unit(self, name: str, text: str) -> Unit | None:
        """A question by name, which may be for some of its labels, or about a row of the text."""
        if row := self._row(text, name):
            return row.unit
        return next((named for unit in self.units if (named := unit.named(name))), None)

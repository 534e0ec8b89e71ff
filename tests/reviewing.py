"""A small project under review, for the tests of its parts."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from running import write_lines

from ie.data.records import Record, RecordFile, blank, read_records
from ie.data.scheme import Scheme
from ie.data.splits import Sides
from ie.review.answer_files import Gold, Journal
from ie.review.answers import ReviewAnswer
from ie.review.guidelines_panel import GuidelinesPanel
from ie.review.settings import ReviewSettings, units
from ie.review.state import ReviewState
from ie.review.suggestion_sources import SuggestionSources

SCHEME = Scheme(
    span_labels=("COMPANY", "MONEY"),
    relation_labels=("RAISED",),
    categories=("FUNDING", "OTHER"),
    definitions={"COMPANY": "names of businesses"},
)
NLP = blank("en")
SHARES = {"test_percent": 30, "dev_percent": 10}
NONE_FIRST = {"train": 0, "dev": 0, "test": 0}
IN_FILE_ORDER = {"begin": NONE_FIRST, "first": "", "then": "file"}


def texts(n: int) -> list[str]:
    """Texts that are no near-duplicates of each other."""
    words = ("harbour", "meadow", "lantern", "copper", "violet", "orchard", "granite", "feather", "willow")
    names = ("Velto", "Hooli", "Anker", "Corda", "Rode")
    return [
        f"{names[i % 5]} {words[i % 9]} {words[i // 9 % 9]} raised ${i + 1}m for {words[i // 81 % 9]}."
        for i in range(n)
    ]


class Project:
    """Files in a folder, and the engine over them; `restart` is what a crash and a new start do."""

    def __init__(
        self,
        folder: Path,
        lines: Sequence[str | dict[str, Any]],
        gold: Sequence[dict[str, Any]] = (),
        suggested: Sequence[dict[str, Any]] = (),
        settings: dict[str, Any] | None = None,
        sources: SuggestionSources | None = None,
        **more: Any,
    ) -> None:
        self.folder = folder
        rows = [
            {"text": line, "meta": {"id": f"t{i}"}} if isinstance(line, str) else line
            for i, line in enumerate(lines)
        ]
        write_lines(folder / "texts.jsonl", rows)
        write_lines(folder / "llm.jsonl", suggested)
        self.reviewed, self.log = folder / "reviewed.jsonl", folder / "log.jsonl"
        if gold:
            write_lines(self.reviewed, gold)
        content = {"order": IN_FILE_ORDER, "review": {"blind": [], "batch": 2}} | (settings or {})
        content["review"] = {"mode": "one label"} | content["review"]
        self.settings = ReviewSettings.model_validate(content)
        self.more, self.sources = more, sources
        self.now = 1_000_000.0
        self.journal: Journal | None = None
        self.restart()

    @property
    def scheme(self) -> Scheme:
        """The scheme as it is now, with spans that overlap or not."""
        return replace(SCHEME, overlapping=self.more.get("overlapping", False))

    def suggestions(self) -> SuggestionSources:
        """What llm.jsonl suggests."""
        file = RecordFile(self.folder / "llm.jsonl", misaligned="snap", tokenizer=NLP.tokenizer)
        return SuggestionSources({"llm": file})

    def restart(self, *, sources: SuggestionSources | None = None, **more: Any) -> ReviewState:
        """Start again from what is on disk."""
        if self.journal:
            self.journal.close()
        self.more |= more
        self.sources = sources or self.sources
        found = (
            read_records(self.reviewed, labels=self.scheme, tokenizer=NLP.tokenizer, allow_empty=True)
            if self.reviewed.exists()
            else []
        )
        raw = RecordFile(self.folder / "texts.jsonl", tokenizer=NLP.tokenizer)
        self.journal = Journal(self.log)
        self.engine = ReviewState(
            settings=self.settings,
            units=units(self.settings, self.scheme),
            tokenizer=NLP.tokenizer,
            texts=raw.texts,
            record=raw.get,
            sources=self.sources or self.suggestions(),
            guidelines=GuidelinesPanel("abc", ()),
            journal=self.journal,
            gold=Gold(self.reviewed, found),
            own_gold=lambda name: Gold(self.folder / f"{name}.jsonl", []),
            sides=lambda records: Sides(list(records), **SHARES),
            clock=lambda: self.now,
            **self.more,
        )
        return self.engine

    def gold(self) -> list[Record]:
        """What is in the gold file, read as every command reads it."""
        return (
            read_records(self.reviewed, labels=self.scheme, tokenizer=NLP.tokenizer, allow_empty=True)
            if self.reviewed.exists()
            else []
        )

    def answer(self, item: dict[str, Any], **changes: Any) -> ReviewAnswer:
        """The answer that accepts a question as it is shown, but for `changes`."""
        content = {
            "entry": uuid4().hex,
            "annotator": item["annotator"],
            "text": item["text"],
            "unit": item["unit"]["name"],
            "base": item["base"],
            "answer": "accept",
            "spans": [(s["first"], s["end"], s["label"]) for s in item["spans"]],
            "relations": [(r["head"], r["child"], r["label"]) for r in item["relations"]],
            "cats": item["cats"],
            "seconds": 1.5,
        }
        if item["unit"]["task"] == "categories" and sum(item["cats"].values()) != 1:
            content["cats"] = {label: int(label == "OTHER") for label in item["unit"]["labels"]}
        return ReviewAnswer.model_validate(content | changes)

    def step(self, annotator: str = "ann", **changes: Any) -> dict[str, Any] | None:
        """Answer the next question; returns it as it was asked."""
        item = self.engine.next(annotator)
        if item:
            self.engine.answer(self.answer(item, **changes))
        return item

    def run(self, annotator: str = "ann") -> list[tuple[str, str]]:
        """Accept everything; the texts and questions in order."""
        asked = []
        while item := self.step(annotator):
            asked.append((item["id"], item["unit"]["name"]))
            assert len(asked) < 1000
        return asked

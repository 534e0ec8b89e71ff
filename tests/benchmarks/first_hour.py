"""The first hour of a project, played by the scripted reviewer: what each text takes."""

import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from benchmarks import scripted_reviewer

from ie.data.records import Record, blank, read_records, write_records
from ie.data.scheme import Scheme
from ie.data.splits import Sides
from ie.review.answer_files import Gold, Journal
from ie.review.cells import cells
from ie.review.guidelines_panel import GuidelinesPanel
from ie.review.settings import ReviewSettings, units
from ie.review.state import ReviewAnswer, ReviewState, text_key
from ie.review.suggestion_sources import SuggestionSources

SHARES = {"test_percent": 1.0, "dev_percent": 1.0}
IN_FILE_ORDER = {"begin": {"train": 0, "dev": 0, "test": 0}, "first": "", "then": "file"}
NAME = "scripted"


@dataclass
class ReviewedText:
    """What reviewing a text took."""

    text: str
    answers: int = 0
    keys: int = 0
    corrections: int = 0

    @property
    def decisions(self) -> int:
        """A question that is answered is one, and so is each span that is added, deleted or relabelled."""
        return self.answers + self.corrections


def read_gold(path: Path, language: str = "en") -> list[Record]:
    """A public set: spans alone, on the edges of tokens, each text once."""
    records = read_records(
        path, tokenizer=blank(language).tokenizer, misaligned="snap", duplicates="first", bad_relations="drop"
    )
    return [Record(text=record.text, spans=record.spans) for record in records]


def play(
    gold: Sequence[Record],
    *,
    texts: int,
    settings: dict[str, Any],
    sources: Callable[[Path], SuggestionSources] = lambda folder: SuggestionSources({}),
    answered: Callable[[ReviewState], None] = lambda state: None,
    seed: int = 0,
    language: str = "en",
) -> list[ReviewedText]:
    """Review the texts of a set until so many are finished; returns those, in the order of their last answer.

    Args:
        gold: what the reviewer answers from.
        settings: of review.cfg; tasks are spans alone.
        sources: what is suggested, given the folder of the project.
        answered: called after each text that is finished.
        seed: of the order of the texts.
    """
    gold = random.Random(seed).sample(list(gold), len(gold))
    labels = tuple(sorted({span.label for record in gold for span in record.spans}))
    scheme = Scheme(span_labels=labels)
    tokenizer = blank(language).tokenizer
    review = {"tasks": ["spans"], "blind": []} | settings.get("review", {})
    order = IN_FILE_ORDER | settings.get("order", {})
    read = ReviewSettings.model_validate(settings | {"review": review, "order": order})
    by_key = {text_key(record.text): record for record in gold}
    finished: list[ReviewedText] = []
    rows: dict[str, ReviewedText] = {}
    label = ""
    with tempfile.TemporaryDirectory(prefix="first-hour-") as name:
        folder = Path(name)
        write_records(folder / "texts.jsonl", [Record(text=record.text) for record in gold])
        state = ReviewState(
            settings=read,
            units=units(read, scheme),
            tokenizer=tokenizer,
            texts=[record.text for record in gold],
            record=lambda text: Record(text=text),
            sources=sources(folder),
            guidelines=GuidelinesPanel("", ()),
            journal=Journal(folder / "log.jsonl"),
            gold=Gold(folder / "reviewed.jsonl", []),
            own_gold=lambda name: Gold(folder / f"{name}.jsonl", []),
            sides=lambda records: Sides(list(records), **SHARES),
        )
        while len(finished) < texts and (item := state.next(NAME)):
            record = by_key[item["text"]]
            divided = cells(record.text, tokenizer)
            marks = [(*divided.covering(s.start, s.end), s.label) for s in record.spans]
            reply = scripted_reviewer.answer(item, marks, label)
            label = reply.label
            row = rows.setdefault(record.text, ReviewedText(record.text))
            row.answers += 1
            row.keys += len(reply.keys)
            row.corrections += reply.corrections
            before = len(state.gold.records)
            state.answer(_body(item, reply))
            if len(state.gold.records) > before:
                finished.append(row)
                answered(state)
    return finished


def _body(item: dict[str, Any], reply: scripted_reviewer.Answer) -> ReviewAnswer:
    kept = [(s["first"], s["end"], s["label"]) for s in item["spans"]]
    context = [mark for mark in kept if mark[2] not in item["unit"]["labels"]]
    return ReviewAnswer(
        entry=uuid4().hex,
        annotator=NAME,
        text=item["text"],
        unit=item["unit"]["name"],
        base=item["base"],
        answer="accept",
        spans=sorted([*context, *reply.spans]),
    )


def a_text(values: Sequence[float], *, samples: int = 2000, seed: int = 0) -> str:
    """A mean over texts with its 95 % bootstrap interval."""
    data = np.asarray(values, dtype=float)
    draws = np.random.default_rng(seed).integers(0, len(data), (samples, len(data)))
    low, high = np.quantile(data[draws].mean(axis=1), (0.025, 0.975))
    return f"{data.mean():.1f} [{low:.1f}, {high:.1f}]"

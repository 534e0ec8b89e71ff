"""The first hour of a project, played by the scripted reviewer: what each text takes, by policy."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from benchmarks import scripted_reviewer

from ie.core.files import write_json
from ie.data.config import DataConfig
from ie.data.records import Record, RecordFile, blank, read_records
from ie.data.scheme import Scheme
from ie.data.splits import Sides
from ie.review.answer_files import Gold, Journal
from ie.review.answers import ReviewAnswer
from ie.review.cells import cells
from ie.review.guidelines_panel import GuidelinesPanel
from ie.review.learned_suggestions import LearnedSuggestions
from ie.review.settings import ReviewSettings, units
from ie.review.state import ReviewState
from ie.review.suggestion_sources import SuggestionSources
from ie.review.text_search import text_key

NAME = "scripted"


@dataclass(frozen=True)
class Policy:
    """A way to review: whether the LLM suggests, and settings of review.cfg after the first texts.

    The first texts are those that the page asks first, in the same order for all policies.
    """

    name: str
    llm: bool
    order: dict[str, Any] = field(default_factory=dict)
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)

    def settings(self, base: ReviewSettings, *, seed: int | None) -> ReviewSettings:
        """The settings of review.cfg for this policy.

        Args:
            seed: of the order after the first texts; None for the first texts.
        """
        content = base.model_dump()
        content |= {name: values for name, values in self.sections.items() if name in content}
        if seed is not None:
            content["order"] |= {"seed": seed, **self.order}
        return ReviewSettings.model_validate(content)


RANDOM_ORDER = {"begin": {"train": 0, "dev": 0, "test": 0}, "first": "", "then": "random"}
NOTHING_LEARNED = {"learn": {"strings": False, "every": 0}}
POLICIES = (
    Policy("random", llm=False, order=RANDOM_ORDER, sections=NOTHING_LEARNED),
    Policy("suggestions", llm=True, order=RANDOM_ORDER, sections=NOTHING_LEARNED),
    Policy("default", llm=True),
)


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


class AtOnce(Executor):
    """Trains the page's model before the next question, where the page trains it in the background.

    So a review of the same answers has the same suggestions, however busy the machine is.
    """

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        """Call a function that takes `priority` now, without giving up any."""
        future: Future = Future()
        future.set_result(fn(*args, priority=0, **kwargs))
        return future


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
    settings: ReviewSettings,
    labels: Sequence[str],
    data: DataConfig,
    files: Mapping[str, RecordFile] | None = None,
    begun: Sequence[Record] = (),
) -> list[ReviewedText]:
    """Review texts until so many are finished; returns those, in the order of their last answer.

    Args:
        gold: what the reviewer answers from.
        files: what is suggested, by source.
        begun: texts that were reviewed before, in their order.
    """
    tokenizer = data.blank().tokenizer
    by_key = {text_key(record.text): record for record in gold}
    finished: list[ReviewedText] = []
    rows: dict[str, ReviewedText] = {}
    label = ""
    with tempfile.TemporaryDirectory(prefix="first-hour-") as name:
        folder = Path(name)
        with closing(Journal(folder / "log.jsonl")) as journal:
            learned = LearnedSuggestions(tokenizer, data.lang, settings.learn, executor=AtOnce())
            sources = SuggestionSources(dict(files or {}), learned=learned)
            state = _open(
                gold, folder, journal, settings, Scheme(span_labels=tuple(labels)), data, sources, begun
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
    return finished


def _open(
    gold: Sequence[Record],
    folder: Path,
    journal: Journal,
    settings: ReviewSettings,
    scheme: Scheme,
    data: DataConfig,
    sources: SuggestionSources,
    begun: Sequence[Record],
) -> ReviewState:
    """The state of the page, as `weasel run review` opens it."""
    split = data.split.model_dump()
    return ReviewState(
        settings=settings.model_copy(update={"order": sources.settled_order(settings.order)}),
        units=units(settings, scheme),
        tokenizer=data.blank().tokenizer,
        texts=[record.text for record in gold],
        record=lambda text: Record(text=text),
        sources=sources,
        guidelines=GuidelinesPanel("", ()),
        journal=journal,
        gold=Gold(folder / "reviewed.jsonl", list(begun)),
        own_gold=lambda name: Gold(folder / f"{name}.jsonl", []),
        sides=lambda records: Sides(list(records), **split, scored=scheme.scored),
    )


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


def kept_rows(path: Path, key: str, review: Callable[[], list[ReviewedText]]) -> list[ReviewedText]:
    """The texts of a review that was played before with the same `key`; else `review` plays it now."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["key"] == key:
            return [ReviewedText(**row) for row in content["rows"]]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or from an earlier version
    rows = review()
    write_json(path, {"key": key, "rows": [asdict(row) for row in rows]}, indent=None)
    return rows


def a_text(values: Sequence[float], *, samples: int = 2000, seed: int = 0) -> str:
    """A mean over texts with its 95 % bootstrap interval."""
    data = np.asarray(values, dtype=float)
    draws = np.random.default_rng(seed).integers(0, len(data), (samples, len(data)))
    low, high = np.quantile(data[draws].mean(axis=1), (0.025, 0.975))
    return f"{data.mean():.1f} [{low:.1f}, {high:.1f}]"

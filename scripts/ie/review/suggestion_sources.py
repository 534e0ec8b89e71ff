"""What models and rules suggest for a text, each span with its source, and how far the sources agree."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from spacy.language import Language

from ie.core.errors import UserError
from ie.core.pipelines import load_pipeline
from ie.data.docs import from_doc
from ie.data.records import Record, RecordFile
from ie.review.drafts import End, SpanNumbers
from ie.review.learned_suggestions import RULES, STRINGS, LearnedSuggestions
from ie.review.settings import OrderSection

Key = tuple[int, int, str]


@dataclass(frozen=True)
class Suggestion:
    """A suggested span: characters, label and source.

    `alignment`: how the source's string was matched in the text ("exact", "fuzzy", "normalised", "snapped";
    "" unknown).
    `score`: its confidence between 0 and 1, where the source gives one.
    """

    start: int
    end: int
    label: str
    source: str
    alignment: str = ""
    score: float | None = None

    @property
    def key(self) -> Key:
        """What makes two suggestions the same."""
        return self.start, self.end, self.label


@dataclass
class TextSuggestions:
    """All that is suggested for a text, the first source first.

    `relations`: the ends of each (as in a draft), label, source. `cats`: of the first source with any;
    `cats_votes`: the sources of each. `sources`: those that read the text, with or without suggestions.
    `dropped`: answers of a source that couldn't be used.
    """

    spans: list[Suggestion] = field(default_factory=list)
    relations: list[tuple[End, End, str, str]] = field(default_factory=list)
    cats: dict[str, float] = field(default_factory=dict)
    cats_votes: dict[str, list[str]] = field(default_factory=dict)
    sources: set[str] = field(default_factory=set)
    dropped: int = 0
    failed: bool = False

    def preset(self, *, overlapping: bool = False) -> list[Suggestion]:
        """Spans that don't contradict each other, by the order of the sources.

        Spans that overlap do. If spans may be `overlapping`, only two of different sources do that overlap
        with one label, or have the same edges and different labels: each source has its own idea of one span.
        """
        by_source = self.by_source()
        kept: dict[Key, Suggestion] = {}

        def contradicts(span: Suggestion, other: Key) -> bool:
            if not (span.start < other[1] and other[0] < span.end):
                return False
            alike = span.label == other[2] or (span.start, span.end) == other[:2]
            return not overlapping or (alike and other not in by_source[span.source])

        for span in self.spans:
            if span.key not in kept and not any(contradicts(span, other) for other in kept):
                kept[span.key] = span
        return sorted(kept.values(), key=lambda span: span.start)

    def by_source(self) -> dict[str, set[Key]]:
        """The spans of each source that has any."""
        spans: dict[str, set[Key]] = {}
        for span in self.spans:
            spans.setdefault(span.source, set()).add(span.key)
        return spans


class SuggestionSources:
    """Files of suggestions by name, the trained pipeline where it is used, and what the answers suggest."""

    def __init__(
        self,
        files: dict[str, RecordFile],
        load_model: Callable[[], Language] | None = None,
        report: Callable[[str], None] = print,
        learned: LearnedSuggestions | None = None,
    ) -> None:
        """Args:
        load_model: loads the pipeline when the first text needs it.
        report: called with a sentence about each record that can't be used.
        """
        self.files, self.learned = files, learned
        self._load_model = load_model
        self._model: Language | None = None
        self._report = report

    @property
    def names(self) -> list[str]:
        """The sources there are, by name of file; one file may hold several."""
        learned = self.learned.names if self.learned else []
        return [*self.files, *(["model"] if self._load_model else []), *learned]

    def best_order(self, texts: int = 100) -> Literal["disagreement", "uncertainty", "diversity"]:
        """The best order of the texts for the number of sources, as seen in the first texts of each file.

        The trained pipeline does not count: it would have to read every text first.
        """
        names = {
            name
            for file in self.files.values()
            for text in file.texts[:texts]
            for name in self.get(text, model=False).sources
        }
        if len(names) > 1:
            return "disagreement"
        return "uncertainty" if names else "diversity"

    def settled_order(self, order: OrderSection) -> OrderSection:
        """An order of "auto", or of "disagreement" with fewer than two sources, becomes the best one."""
        best = self.best_order()
        if order.then == "auto" or (order.then == "disagreement" and best != "disagreement"):
            return order.model_copy(update={"then": best})
        return order

    def score(self, text: str, order: str) -> float:
        """What texts of train are ordered by: disagreement or uncertainty, the highest first."""
        measure = disagreement if order == "disagreement" else uncertainty
        return measure(self.get(text, model=False))

    def get(self, text: str, *, model: bool = True) -> TextSuggestions:
        """What is suggested for a text.

        Args:
            model: whether to ask the sources that must read the text first.
        """
        suggested = TextSuggestions()
        for name, file in self.files.items():
            try:
                record = file.get(text)
            except UserError as error:
                self._report(str(error))
                continue
            if record is not None:
                add(suggested, record, name)
        if model and self._load_model:
            self._model = self._model or self._load_model()
            add(suggested, from_doc(self._model(text)), "model")
        for name, record in self.learned.suggest(text) if model and self.learned else ():
            add(suggested, record, name)
        return suggested


class WatchedFiles:
    """Files of suggestions, of which those are read that are new or have changed."""

    def __init__(self, paths: Mapping[str, Path], open_file: Callable[[Path], RecordFile]) -> None:
        self._paths, self._open = paths, open_file
        self._states: dict[str, tuple[int, int]] = {}
        self._files: dict[str, RecordFile] = {}

    def read(self) -> dict[str, RecordFile]:
        """The files that exist, by name.

        Raises:
            UserError: a file that is new or has changed can't be read; it is tried again when it changes.
        """
        for name, path in self._paths.items():
            try:
                stat = path.stat()
            except OSError:
                continue
            state = stat.st_size, stat.st_mtime_ns
            if self._states.get(name) != state:
                self._states[name] = state
                self._files[name] = self._open(path)
        return {name: self._files[name] for name in self._paths if name in self._files}


def add(suggested: TextSuggestions, record: Record, source: str) -> None:
    """Take over a record's annotation; a span's own `source` takes precedence over `source`."""
    known = {(*span.key, span.source) for span in suggested.spans}
    sources: set[str] = set()
    for span in record.spans:
        extra = span.model_extra or {}
        score = extra.get("score", extra.get("confidence"))
        # "rules+llm" is suggested by both
        for name in str(extra.get("source") or source).split("+"):
            sources.add(name)
            if (span.start, span.end, span.label, name) not in known:
                suggested.spans.append(
                    Suggestion(
                        span.start,
                        span.end,
                        span.label,
                        name,
                        str(extra.get("alignment") or ""),
                        float(score) if isinstance(score, int | float) and 0 <= score <= 1 else None,
                    )
                )
    suggested.sources |= sources or {source}
    ends = SpanNumbers([(span.start, span.end, span.label) for span in record.spans]).ends
    for relation in record.relations:
        named = str((relation.model_extra or {}).get("source") or source)
        suggested.relations.append((ends[relation.head], ends[relation.child], relation.label, named))
    suggested.cats = suggested.cats or dict(record.cats)
    for name in record.categories:
        suggested.cats_votes.setdefault(name, []).append(source)
    llm: dict[str, Any] = (record.model_extra or {}).get("llm") or {}
    suggested.dropped += len(llm.get("dropped") or ())
    suggested.failed |= bool(llm.get("error"))


def load_model(path: Path) -> Language:
    """The trained pipeline.

    Raises:
        UserError: there is none.
    """
    return load_pipeline(path, "train one, or set use = false below [model]")


def disagreement(suggested: TextSuggestions) -> float:
    """How little the sources agree: one minus F of exact spans, mean over every two of them; 0 to 1."""
    by_source = suggested.by_source()
    names = sorted(suggested.sources)
    apart = [_distance(by_source.get(a, set()), by_source.get(b, set())) for a, b in combinations(names, 2)]
    return sum(apart) / len(apart) if apart else 0.0


def agreed(suggested: TextSuggestions) -> set[Key] | None:
    """The spans that all sources suggest, if there are two or more and they agree on all; else None.

    Strings and rules from the answers don't count: they know too little.
    """
    by_source = suggested.by_source()
    spans = [by_source.get(name, set()) for name in sorted(suggested.sources - {STRINGS, RULES})]
    if suggested.failed or len(spans) < 2 or any(other != spans[0] for other in spans):
        return None
    return spans[0]


def _distance(one: set[Key], other: set[Key]) -> float:
    return 1 - 2 * len(one & other) / (len(one) + len(other)) if one or other else 0.0


def uncertainty(suggested: TextSuggestions) -> float:
    """How unsure the sources are of the text, 0 to 1.

    One minus the lowest confidence, where the sources give any. Else the share of a model's answers that
    aren't in the text exactly, or not at all.
    """
    scores = [span.score for span in suggested.spans if span.score is not None]
    if suggested.failed:
        return 1.0
    if scores:
        return 1 - min(scores)
    answers = len(suggested.spans) + suggested.dropped
    inexact = sum(span.alignment not in ("", "exact") for span in suggested.spans)
    return (inexact + suggested.dropped) / answers if answers else 0.0

"""Which of a language model's annotations to train on, and which to leave open.

A silver text has spans that are believed and stretches that are in doubt. Each method maps such texts to such
texts, and takes spans from the sources alone. Doubt need not cost the text: spaCy's entity recogniser learns
from partial annotation, so tokens in doubt can be left "missing", neither in a span nor outside (the idea of
Tsuboi et al. 2008; Mayhew et al. 2019 for entities).
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from spacy.language import Language
from spacy.tokens import Doc

from ie.core.errors import UserError
from ie.core.settings import Section, load_settings
from ie.data.docs import to_doc
from ie.data.records import Record, Span

Method = Literal[
    "confidence",
    "agreement",
    "rules",
    "label-errors",
    "self-training",
    "drop-texts",
    "missing",
    "repeat",
    "two-stage",
]
# Recipes are compared with: the reviewed texts alone, the silver alone, the LLM itself.
RESERVED = REVIEWED, SILVER, LLM = "reviewed", "silver", "llm"
Key = tuple[int, int, str]
Answers = Mapping[str, Record]
Alignment = Literal["exact", "fuzzy", "normalised", "snapped"]


class Confidence(Section):
    """Which spans are trusted; `configs/distill.cfg` explains the settings of all sections."""

    alignments: list[Alignment]
    max_dropped: int = Field(ge=0)


class Agreement(Section):
    """Pipelines that vote, and the shares of votes that decide."""

    pipelines: int = Field(ge=1, le=20)
    sure: float = Field(gt=0, le=1)
    doubtful: float = Field(gt=0, le=1)


class Rules(Section):
    """Sources that vote without a training."""

    sources: list[Literal["rules", "memory"]] = Field(min_length=1)
    patterns: str = "assets/patterns.jsonl"
    gazetteer: str = "assets/companies.csv"


class LabelErrors(Section):
    """Pipelines that look for label errors."""

    folds: int = Field(ge=2)
    pipelines: int = Field(ge=1, le=20)


class SelfTraining(Section):
    """How often the pipelines vote again, and into how many folds the texts are divided for it."""

    rounds: int = Field(ge=1, le=20)
    folds: int = Field(ge=2)


class Repeat(Section):
    """How often each reviewed text is shown."""

    times: int = Field(ge=2, le=1000)


class DistillSettings(Section):
    """All of `configs/distill.cfg`."""

    confidence: Confidence
    agreement: Agreement
    rules: Rules
    label_errors: LabelErrors = Field(alias="label-errors")
    self_training: SelfTraining = Field(alias="self-training")
    repeat: Repeat
    recipes: dict[str, list[Method]] = Field(min_length=1)


@dataclass(frozen=True)
class SilverText:
    """A silver text: `record` has the spans that are believed.

    Attributes:
        doubts: stretches (in characters) where the annotation is unknown, none within a believed span.
        vague: the annotation is unknown everywhere but in these spans.
    """

    record: Record
    doubts: tuple[tuple[int, int], ...] = ()
    vague: bool = False

    @property
    def certain(self) -> bool:
        """Whether nothing in it is in doubt."""
        return not self.doubts and not self.vague


@dataclass
class Kept:
    """The silver to train on, and how many texts were left out."""

    drafts: list[SilverText] = field(default_factory=list)
    dropped: int = 0


def load(path: Path) -> DistillSettings:
    """The settings of a file.

    Raises:
        UserError: a missing or broken file, an unknown or contradictory setting.
    """
    settings = load_settings(path, DistillSettings)
    if settings.agreement.doubtful > settings.agreement.sure:
        raise UserError(f"{path}: [agreement] doubtful is above sure; a span would be both; lower doubtful.")
    for name, recipe in settings.recipes.items():
        if name in RESERVED:
            raise UserError(
                f"{path}: [recipes] {name} is what recipes are compared with; choose another name."
            )
        _check_recipe(f"{path}: [recipes] {name}", recipe)
    return settings


def _check_recipe(where: str, recipe: Sequence[Method]) -> None:
    if len(set(recipe)) < len(recipe):
        raise UserError(f"{where} names a method twice; keep one of them.")
    if {"missing", "drop-texts"} <= set(recipe):
        raise UserError(
            f"{where} has both missing and drop-texts; a doubtful text can't be used and left out."
        )
    doubting = {"confidence", "agreement", "label-errors"} & set(recipe)
    if {"missing", "drop-texts"} & set(recipe) and not doubting:
        raise UserError(
            f"{where}: nothing calls a span into question for missing or drop-texts to act on; add "
            "confidence, agreement or label-errors."
        )
    for method in ("rules", "self-training"):
        if method in recipe and "agreement" not in recipe:
            raise UserError(f"{where}: {method} takes part in a vote; add agreement.")


def confidence(draft: SilverText, settings: Confidence) -> SilverText:
    """Doubt spans whose alignment isn't trusted, and texts with answers that are not in them.

    The LLM's record has both: `alignment` of a span, `llm.dropped` of a text. Spans without an alignment are
    trusted.
    """
    trusted, doubts = [], list(draft.doubts)
    for span in draft.record.spans:
        status = (span.model_extra or {}).get("alignment")
        if status is None or status in settings.alignments:
            trusted.append(span)
        else:
            doubts.append((span.start, span.end))
    answer = (draft.record.model_extra or {}).get("llm") or {}
    vague = len(answer.get("dropped") or ()) > settings.max_dropped
    return SilverText(_with(draft.record, trusted), tuple(doubts), draft.vague or vague)


def vote(
    draft: SilverText, voters: Sequence[Answers], helpers: Sequence[Answers], *, sure: float, doubtful: float
) -> SilverText:
    """Count the votes for each span: of the draft's own source, and of the others.

    A span with a share of `sure` of the votes is believed; of overlapping ones that with more votes (then the
    longer). With `doubtful` of the votes, or where the draft is in doubt itself, it is in doubt.

    Args:
        voters: answers by text; a voter without the span votes against it.
        helpers: answers by text that add votes, and none against other spans.
    """
    text = draft.record.text
    votes: Counter[Key] = Counter(map(span_key, draft.record.spans))
    for source in (*voters, *helpers):
        if answer := source.get(text):
            votes.update(set(map(span_key, answer.spans)))
    ranked = sorted(votes, key=lambda key: (-votes[key], key[0] - key[1], key))
    kept: list[Key] = []
    doubts = list(draft.doubts)
    for key in ranked:
        share = votes[key] / (1 + len(voters))
        if share >= sure - 1e-9 and not any(key[0] < end and start < key[1] for start, end, _ in kept):
            kept.append(key)
        elif share >= doubtful - 1e-9:
            doubts.append(key[:2])
    # The others have read the text: it is no longer vague.
    return _settled(draft.record, kept, doubts, vague=False)


def contradicted(draft: SilverText, teachers: Sequence[Answers]) -> SilverText:
    """Doubt spans that no teacher predicts, and stretches that all of them predict as a span.

    Args:
        teachers: answers by text of pipelines that weren't trained on it. spaCy's entity recogniser has no
            calibrated probabilities, so unanimity stands for certainty.
    """
    text = draft.record.text
    predicted = [set(map(span_key, answer.spans)) for source in teachers if (answer := source.get(text))]
    if not predicted:
        return draft
    by_any, by_all = set.union(*predicted), set.intersection(*predicted)
    own = set(map(span_key, draft.record.spans))
    doubts = [*draft.doubts, *(key[:2] for key in (own - by_any) | (by_all - own))]
    return _settled(draft.record, sorted(own & by_any), doubts, vague=draft.vague)


def _settled(
    record: Record, kept: Sequence[Key], doubts: Sequence[tuple[int, int]], *, vague: bool
) -> SilverText:
    """A draft with doubts only where no believed span is, joined and in order."""
    known = sorted(kept)
    left: list[tuple[int, int]] = []
    for start, end in sorted(piece for doubt in set(doubts) for piece in _outside(doubt, known)):
        if left and start <= left[-1][1]:
            start, end = left[-1][0], max(end, left.pop()[1])
        left.append((start, end))
    before = {span_key(span): span for span in record.spans}
    spans = [before.get(key) or Span(start=key[0], end=key[1], label=key[2]) for key in known]
    return SilverText(_with(record, spans), tuple(left), vague)


def _outside(doubt: tuple[int, int], known: Sequence[Key]) -> Iterator[tuple[int, int]]:
    """The parts of a stretch that are in none of the spans, which are in order."""
    start, end = doubt
    for a, b, _ in known:
        if start < min(a, end):
            yield start, min(a, end)
        start = max(start, b) if a < end else start
    if start < end:
        yield start, end


def finish(drafts: Sequence[SilverText], recipe: Collection[Method]) -> Kept:
    """Resolve doubts as a recipe says: leave out the text, leave tokens open, or believe in no span there."""
    if "drop-texts" in recipe:
        certain = [draft for draft in drafts if draft.certain]
        return Kept(certain, len(drafts) - len(certain))
    if "missing" in recipe:
        return Kept(list(drafts))
    return Kept([replace(draft, doubts=(), vague=False) for draft in drafts])


def to_training_doc(draft: SilverText, nlp: Language) -> Doc:
    """A Doc with the believed spans as `ents`, tokens in doubt missing, and all others outside.

    Raises:
        UserError: a span is off the token edges.
    """
    doc = to_doc(Record(text=draft.record.text, spans=draft.record.spans), nlp)
    if draft.certain:
        return doc
    inside = {token.i for ent in doc.ents for token in ent}
    open_ = [
        token.i
        for token in doc
        if token.i not in inside
        and (
            draft.vague
            or any(token.idx < end and start < token.idx + len(token) for start, end in draft.doubts)
        )
    ]
    doc.set_ents(list(doc.ents), missing=[doc[i : i + 1] for i in open_], default="outside")
    return doc


def to_line(draft: SilverText) -> Record:
    """The record that is written: spans, `source` "silver", and `missing` with the stretches in doubt."""
    doubts = [(0, len(draft.record.text))] if draft.vague else draft.doubts
    more = {"missing": [list(doubt) for doubt in doubts]} if doubts else {}
    spans = [Span(start=s.start, end=s.end, label=s.label) for s in draft.record.spans]
    return Record(text=draft.record.text, spans=spans, meta=draft.record.meta, silver=True, **more)


def fold(text: str, folds: int) -> int:
    """The fold of a text, by its hash, so that other texts don't matter."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) % folds


def span_key(span: Span) -> Key:
    """Offsets and label, by which spans are compared."""
    return span.start, span.end, span.label


def _with(record: Record, spans: Sequence[Span]) -> Record:
    # Without relations and categories: the indices of relations would point to other spans.
    more: dict[str, Any] = dict(record.model_extra or {})
    return Record(text=record.text, spans=list(spans), meta=record.meta, **more)

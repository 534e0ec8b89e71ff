"""Training data from a model's annotations, made better: which of them to believe, which to leave open.

A draft is a silver text with the spans that are believed and the stretches that are in doubt. Each means
takes drafts and gives drafts; spans come from the sources alone, none is made up. Doubt need not cost the
text: spaCy's entity recogniser learns from partial annotation, so tokens in doubt can be left "missing",
neither in a span nor outside (the idea of Tsuboi et al. 2008; Mayhew et al. 2019 for entities).
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field
from spacy.language import Language
from spacy.tokens import Doc

from ie.core.errors import UserError
from ie.core.settings import Section, load_settings
from ie.data.docs import to_doc
from ie.data.records import Record, Span
from ie.evaluation import scoring

Means = Literal[
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
# What recipes are compared with: the reviewed texts alone, the silver alone, the LLM itself.
RESERVED = REVIEWED, SILVER, LLM = "reviewed", "silver", "llm"
Key = tuple[int, int, str]
Answers = Mapping[str, Record]
Alignment = Literal["exact", "fuzzy", "normalised", "snapped"]


class Confidence(Section):
    """See `configs/distill.cfg`, which says what each setting of these sections means."""

    alignments: list[Alignment]
    max_dropped: int = Field(ge=0)


class Agreement(Section):
    """Whose vote makes a span sure."""

    pipelines: int = Field(ge=1, le=20)
    sure: float = Field(gt=0, le=1)
    doubtful: float = Field(gt=0, le=1)


class Rules(Section):
    """Sources that vote without a training."""

    sources: list[Literal["rules", "memory"]] = Field(min_length=1)


class LabelErrors(Section):
    """Who is asked about label errors."""

    folds: int = Field(ge=2)
    pipelines: int = Field(ge=1, le=20)


class SelfTraining(Section):
    """How often the pipelines label anew, and in how many parts the texts are cut for it."""

    rounds: int = Field(ge=1, le=20)
    folds: int = Field(ge=2)


class Repeat(Section):
    """How reviewed texts are weighed against silver."""

    times: int = Field(ge=2, le=1000)


class DistillSettings(Section):
    """All of `configs/distill.cfg`."""

    confidence: Confidence
    agreement: Agreement
    rules: Rules
    label_errors: LabelErrors = Field(alias="label-errors")
    self_training: SelfTraining = Field(alias="self-training")
    repeat: Repeat
    recipes: dict[str, list[Means]] = Field(min_length=1)


@dataclass(frozen=True)
class SilverText:
    """A silver text: `record` with the spans that are believed, and where it is in doubt.

    Attributes:
        doubts: stretches (characters) of which nothing is known, none of them within a believed span.
        vague: nothing is known of the whole text beside its spans.
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
    """What is trained on of the silver, and how many texts were left out."""

    drafts: list[SilverText] = field(default_factory=list)
    dropped: int = 0


def load(path: Path) -> DistillSettings:
    """The settings of a file.

    Raises:
        UserError: a missing or broken file, a setting that isn't known or makes no sense.
    """
    settings = load_settings(path, DistillSettings)
    if settings.agreement.doubtful > settings.agreement.sure:
        raise UserError(f"{path}: [agreement] doubtful is above sure; a span would be both; lower doubtful.")
    for name, recipe in settings.recipes.items():
        if name in RESERVED:
            raise UserError(f"{path}: [recipes] {name} is what recipes are compared with; name it otherwise.")
        _check_recipe(f"{path}: [recipes] {name}", recipe)
    return settings


def _check_recipe(where: str, recipe: Sequence[Means]) -> None:
    if len(set(recipe)) < len(recipe):
        raise UserError(f"{where} names a means twice; keep one of them.")
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
    for means in ("rules", "self-training"):
        if means in recipe and "agreement" not in recipe:
            raise UserError(f"{where}: {means} takes part in a vote; add agreement.")


def drafts_of(silver: Sequence[Record]) -> list[SilverText]:
    """The LLM's records as they are, nothing in doubt."""
    return [SilverText(record) for record in silver]


def confidence(draft: SilverText, settings: Confidence) -> SilverText:
    """Doubt spans that were found otherwise than trusted, and texts with answers that were found nowhere.

    That is what the LLM's record tells of its own certainty: `alignment` of a span, `llm.dropped` of a text.
    Span that don't say how they were found are trusted.
    """
    trusted, doubts = [], list(draft.doubts)
    for span in draft.record.spans:
        status = (span.model_extra or {}).get("alignment")
        if status is None or status in settings.alignments:
            trusted.append(span)
        else:
            doubts.append((span.start, span.end))
    said = (draft.record.model_extra or {}).get("llm") or {}
    vague = len(said.get("dropped") or ()) > settings.max_dropped
    return SilverText(_with(draft.record, trusted), tuple(doubts), draft.vague or vague)


def vote(
    draft: SilverText, voters: Sequence[Answers], helpers: Sequence[Answers], *, sure: float, doubtful: float
) -> SilverText:
    """Count for each span who gives it: the draft's own source, and the others.

    A span is sure with a share of `sure` of the votes, and of overlapping ones the one with more of them
    (then the longer). With `doubtful` of the votes, or where the draft is in doubt itself, it is in doubt.

    Args:
        voters: answers by text of those whose silence counts too.
        helpers: of those who add a vote where they find a span and none against it elsewhere.
    """
    text = draft.record.text
    gave: Counter[Key] = Counter(map(_key, draft.record.spans))
    for source in (*voters, *helpers):
        if answer := source.get(text):
            gave.update(set(map(_key, answer.spans)))
    votes = 1 + len(voters)
    ranked = sorted(gave, key=lambda key: (-gave[key], key[0] - key[1], key))
    kept: list[Key] = []
    doubts = list(draft.doubts)
    for key in ranked:
        share = gave[key] / votes
        if share >= sure - 1e-9 and not any(key[0] < end and start < key[1] for start, end, _ in kept):
            kept.append(key)
        elif share >= doubtful - 1e-9:
            doubts.append(key[:2])
    # The others have read the text: it is no longer vague.
    return _settled(draft.record, kept, doubts, vague=False)


def contradicted(draft: SilverText, teachers: Sequence[Answers]) -> SilverText:
    """Doubt spans that no teacher gives, and stretches that all of them give as a span.

    Args:
        teachers: answers by text of pipelines that weren't trained on it. spaCy's entity recogniser has no
            calibrated probabilities: their unanimity stands for certainty.
    """
    text = draft.record.text
    said = [set(map(_key, answer.spans)) for source in teachers if (answer := source.get(text))]
    if not said:
        return draft
    someone, everyone = set.union(*said), set.intersection(*said)
    mine = set(map(_key, draft.record.spans))
    doubts = [*draft.doubts, *(key[:2] for key in (mine - someone) | (everyone - mine))]
    return _settled(draft.record, sorted(mine & someone), doubts, vague=draft.vague)


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
    given = {_key(span): span for span in record.spans}
    spans = [given.get(key) or Span(start=key[0], end=key[1], label=key[2]) for key in known]
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


def finish(drafts: Sequence[SilverText], recipe: Collection[Means]) -> Kept:
    """What becomes of doubt, as a recipe says: the text left out, tokens left open, or no span there."""
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
    """The part a text is in: a hash of it, so that other texts don't matter."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) % folds


def quality(drafts: Sequence[SilverText], gold: Answers, labels: Sequence[str]) -> np.ndarray:
    """Counts of exact spans of those texts whose gold is known; gold spans in doubt don't count as missed.

    Returns:
        (texts, 3): true positives, false positives, false negatives.
    """
    known = [draft for draft in drafts if draft.record.text in gold]
    wanted = []
    for draft in known:
        record = gold[draft.record.text]
        mine = set(map(_key, draft.record.spans))
        spans = [
            span
            for span in record.spans
            if _key(span) in mine
            or not (draft.vague or any(span.start < end and start < span.end for start, end in draft.doubts))
        ]
        wanted.append(Record(text=record.text, spans=spans))
    return scoring.count(wanted, [draft.record for draft in known], labels).sum(axis=1)


def _key(span: Span) -> Key:
    return span.start, span.end, span.label


def _with(record: Record, spans: Sequence[Span]) -> Record:
    # Relations and categories are no part of what is distilled: their indices would be those of other spans.
    more: dict[str, Any] = dict(record.model_extra or {})
    return Record(text=record.text, spans=list(spans), meta=record.meta, **more)

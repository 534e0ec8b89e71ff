"""What is diagnosed (data and config of a project, as they are), and what a test found."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc, DocBin

from ie.core.errors import UserError
from ie.core.files import json_text
from ie.data import records
from ie.data.records import Record
from ie.diagnosis import thresholds

TestVerdict = Literal["broken", "watch", "fine", "not tested"]
SIDES = ("train", "dev", "test")


@dataclass(frozen=True)
class Suspect:
    """A span that review should look at again.

    Attributes:
        label: as annotated; None for a string that is bare here and annotated elsewhere.
        likelier: another label; None for no span, as most other texts leave the string bare.
        score: probability of `likelier`; of a bare string the share of its other occurrences so annotated, of
            a needless span the share of the other texts with its string that leave it bare.
    """

    record: Record
    start: int
    end: int
    label: str | None
    likelier: str | None
    score: float

    def line(self) -> str:
        what = shown(self.record, self.start, self.end)
        return f"{self.record.id}: {what} is {self.label}; {self.likelier or 'no span'} is likelier"

    def to_json(self) -> dict[str, Any]:
        """The line in label-errors.jsonl."""
        return {
            "id": self.record.id,
            "start": self.start,
            "end": self.end,
            "string": self.record.text[self.start : self.end],
            "label": self.label,
            "likelier": self.likelier,
            "score": round(self.score, 4),
        }


@dataclass(frozen=True)
class Finding:
    """One hypothesis on what is broken, and what became of it.

    Attributes:
        name: key in JSON and in `verdict.ORDER`.
        question: what to expect if the hypothesis is true. `test`: how that was looked for.
        observation: what was seen, with its numbers. `figures`: the same for machines, rounded.
        verdict: "broken" (the hypothesis holds), "watch" (a weakness), "fine" (refuted), "not tested".
        cause, remedy: what is broken and what to do, unless it is fine.
        examples: some cases, each a short line. `suspects`: all of them, where review should look again.
    """

    name: str
    group: str
    hypothesis: str
    question: str
    test: str
    observation: str
    verdict: TestVerdict
    cause: str = ""
    remedy: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    suspects: tuple[Suspect, ...] = ()


@dataclass
class ProjectData:
    """Records and binary corpora by side (a side that isn't there is empty), and how to train on them.

    Attributes:
        texts: lines of the JSONL files that people accepted, offsets unchecked.
        bins: the .spacy files, which training reads; without them it is given what `texts` say.
        overrides: of the config, by dotted name.
        problems: what kept a file from being read, by side.
    """

    config: Path
    labels: tuple[str, ...]
    texts: dict[str, list[Record]]
    bins: dict[str, DocBin] = field(default_factory=dict)
    lang: str = "en"
    overrides: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    _made: dict[str, DocBin] = field(default_factory=dict)

    @cached_property
    def nlp(self) -> Language:
        """The project's tokenizer, in an otherwise empty pipeline."""
        return records.blank(self.lang)

    def __getitem__(self, side: str) -> list[Record]:
        return self.texts.get(side, [])

    def sample(self, side: str, size: int) -> list[Record]:
        """At most `size` records of a side, in file order; the same ones for the same seed."""
        return [self[side][i] for i in chosen(len(self[side]), size, self.seed)]

    def docs(self, side: str, vocab: Any) -> list[Doc]:
        """The side as training reads it."""
        if side not in self.bins and side not in self._made:
            self._made[side] = made(self[side], self.nlp)
        return list((self.bins.get(side) or self._made[side]).get_docs(vocab))


def made(texts: Sequence[Record], nlp: Language) -> DocBin:
    """Records as a corpus; spans that lie on no tokens or overlap others get lost, as in most converters."""
    docs = []
    for record in texts:
        doc = nlp.make_doc(record.text)
        taken = np.zeros(len(doc), dtype=bool)
        ents = []
        for span in record.spans:
            ent = (
                doc.char_span(span.start, span.end, label=span.label) if 0 <= span.start < span.end else None
            )
            if ent is not None and not taken[ent.start : ent.end].any():
                taken[ent.start : ent.end] = True
                ents.append(ent)
        doc.set_ents(ents, default="outside")
        docs.append(doc)
    return DocBin(attrs=["ENT_IOB", "ENT_TYPE"], store_user_data=False, docs=docs)


def chosen(n: int, size: int, seed: int) -> list[int]:
    """At most `size` of `n` indices, sorted."""
    if n <= size:
        return list(range(n))
    return sorted(np.random.default_rng(seed).choice(n, size, replace=False).tolist())


def read(
    paths: dict[str, Path],
    corpora: dict[str, Path],
    *,
    config: Path,
    labels: Sequence[str],
    lang: str,
    overrides: dict[str, Any],
    seed: int,
) -> ProjectData:
    """The project in files. A dev or test that is missing or broken is a problem to report, not the end.

    Raises:
        UserError: there is no train, or it can't be read.
    """
    project = ProjectData(config, tuple(labels), {}, lang=lang, overrides=overrides, seed=seed)
    for side in SIDES:
        try:
            project.texts[side] = records.accepted(records.read_unchecked(paths[side]))
            if corpora[side].is_file():
                project.bins[side] = DocBin().from_disk(corpora[side])
        except UserError as error:
            if side == "train":
                raise
            project.problems[side] = str(error)
        except Exception as error:  # whatever msgpack and zlib make of other bytes
            raise UserError(f"{corpora[side]}: is no spaCy corpus; run `weasel run split` again.") from error
    if not project["train"]:
        raise UserError(f"{paths['train']}: holds no accepted example, so there is nothing to diagnose.")
    return project


def shown(record: Record, start: int, end: int) -> str:
    """A stretch of text for people, shortened."""
    text = " ".join(record.text[max(start, 0) : end].split())
    return json_text(text if len(text) <= 40 else text[:37] + "...")


def percent(share: float) -> str:
    """`3 %`, `0.4 %`."""
    return f"{100 * share:.0f} %" if share >= 0.0995 or share == 0 else f"{100 * share:.1f} %"


def untested(finding: dict[str, Any], why: str) -> Finding:
    """The finding of a test that had nothing to go on."""
    return Finding(**finding, observation=why, verdict="not tested")


def enough(project: ProjectData, side: str) -> str:
    """Why a side is too small for statistics, "" if it isn't."""
    texts, spans = project[side], sum(len(record.spans) for record in project[side])
    if side in project.problems:
        return project.problems[side]
    if len(texts) < thresholds.MINIMUM_TEXTS or spans < thresholds.MINIMUM_SPANS:
        return (
            f"{side} has {len(texts)} text{'s' * (len(texts) != 1)} with {spans} spans; this takes at least "
            f"{thresholds.MINIMUM_TEXTS} texts with {thresholds.MINIMUM_SPANS} spans."
        )
    return ""

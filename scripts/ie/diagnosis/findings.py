"""What is diagnosed (data and config of a project, as they are), and what a test found."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab

from components.span_classifier import SPANS_KEY
from ie.core.errors import UserError
from ie.core.files import json_text
from ie.core.text import counted
from ie.data import records
from ie.data.docs import docbin, read_docbin
from ie.data.language import Lang
from ie.data.records import Record
from ie.diagnosis import thresholds

TestVerdict = Literal["broken", "watch", "fine", "not tested"]
SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Suspect:
    """A place that review should look at again.

    Attributes:
        label: as annotated; None for a string that is annotated in other texts but not here.
        likelier: another label; None for no span, as most other texts don't annotate the string.
        score: probability of `likelier`. For a string that isn't annotated, the share of its other
            occurrences that are; for a needless span, the share of other texts that don't annotate it.
        others: number of other occurrences or texts that `score` was counted on.
    """

    record: Record
    start: int
    end: int
    label: str | None
    likelier: str | None
    score: float
    others: int = 0

    def line(self) -> str:
        place = f"{self.record.title}: {shown(self.record, self.start, self.end)}"
        if self.label:
            return f"{place} is {self.label}; {self.likelier or 'no span'} is likelier"
        annotated = round(self.score * self.others)
        return f"{place} isn't annotated; {annotated} of its {self.others} other occurrences are"

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
    """One hypothesis on what is broken, and the result of its test.

    Attributes:
        name: key in JSON and in `verdict.ORDER`.
        question: what to expect if the hypothesis is true. `test`: how it was tested.
        observation: the result in words and numbers. `figures`: the numbers alone, rounded.
        verdict: "broken" (the hypothesis holds), "watch" (a weakness), "fine" (refuted), "not tested".
        cause, remedy: what is broken and what to do, unless it is fine.
        examples: some cases, a short line each. `suspects`: all places that review should look at again.
    """

    name: str
    hypothesis: str
    question: str
    test: str
    observation: str
    verdict: TestVerdict
    group: str = "data"
    cause: str = ""
    remedy: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    suspects: tuple[Suspect, ...] = ()


def untested(hypothesis: dict[str, Any], reason: str, **details: Any) -> Finding:
    """The finding of a test that couldn't be run."""
    return Finding(**hypothesis, observation=reason, verdict="not tested", **details)


def grade(broken: object, watch: object = False) -> TestVerdict:
    """The verdict of a test that was run."""
    return "broken" if broken else "watch" if watch else "fine"


@dataclass
class ProjectData:
    """Records and binary corpora of train, dev and test (empty where missing), and how to train on them.

    Attributes:
        texts: accepted lines of the JSONL files, their offsets unchecked.
        bins: the .spacy files, which training reads; a missing one is converted from `texts`.
        overrides: of the config, by dotted name.
        problems: why a file couldn't be read, by "train", "dev" and "test".
    """

    config: Path
    labels: tuple[str, ...]
    texts: dict[str, list[Record]]
    bins: dict[str, DocBin] = field(default_factory=dict)
    lang: Lang = "en"
    overrides: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    problems: dict[str, str] = field(default_factory=dict)

    @cached_property
    def nlp(self) -> Language:
        """The project's tokenizer, in an otherwise empty pipeline."""
        return records.blank(self.lang)

    @property
    def overlapping(self) -> bool:
        """Whether spans may overlap, as the .spacy files say."""
        return "train" in self.bins and any(SPANS_KEY in doc.spans for doc in self.docs("train", Vocab(), 1))

    def __getitem__(self, split: str) -> list[Record]:
        return self.texts.get(split, [])

    def sample(self, split: str, size: int) -> list[Record]:
        """At most `size` records, in file order; the same ones for the same seed."""
        return self._some(self[split], size)

    def docs(self, split: str, vocab: Any, size: int | None = None) -> list[Doc]:
        """The Docs that training reads, or a sample of at most `size`."""
        docs = list((self.bins.get(split) or to_docbin(self[split], self.nlp)).get_docs(vocab))
        return self._some(docs, len(docs) if size is None else size)

    def _some(self, items: list, size: int) -> list:
        if len(items) <= size:
            return items
        rng = np.random.default_rng(self.seed)
        return [items[i] for i in sorted(rng.choice(len(items), size, replace=False).tolist())]

    def too_small(self, split: str) -> str:
        """Why there is too little data for statistics, or ""."""
        texts = self[split]
        spans = sum(len(record.spans) for record in texts)
        if split in self.problems:
            return self.problems[split]
        if len(texts) < thresholds.MINIMUM_TEXTS or spans < thresholds.MINIMUM_SPANS:
            return (
                f"{split} has {counted(len(texts), 'text')} with {counted(spans, 'span')}; this takes at "
                f"least {thresholds.MINIMUM_TEXTS} texts with {thresholds.MINIMUM_SPANS} spans."
            )
        return ""


def to_docbin(texts: Sequence[Record], nlp: Language) -> DocBin:
    """Records as a corpus. As in most converters, spans off the tokens or over another span are lost."""
    docs = []
    for record in texts:
        doc = nlp.make_doc(record.text)
        free = np.ones(len(doc), dtype=bool)
        ents = []
        for span in record.spans:
            valid = 0 <= span.start < span.end
            ent = doc.char_span(span.start, span.end, label=span.label) if valid else None
            if ent is not None and free[ent.start : ent.end].all():
                free[ent.start : ent.end] = False
                ents.append(ent)
        doc.set_ents(ents, default="outside")
        docs.append(doc)
    return docbin(docs)


def read(folder: Path, config: Path, labels: Sequence[str], **settings: Any) -> ProjectData:
    """Read train, dev and test (.jsonl, .spacy) from a folder; a faulty dev or test is noted in `problems`.

    Args:
        settings: further fields of ProjectData.

    Raises:
        UserError: there is no train, or it can't be read.
    """
    project = ProjectData(config, tuple(labels), {}, **settings)
    for split in SPLITS:
        try:
            project.texts[split] = records.accepted(records.read_unchecked(folder / f"{split}.jsonl"))
            if (path := folder / f"{split}.spacy").is_file():
                project.bins[split] = read_docbin(path)
        except UserError as error:
            if split == "train":
                raise
            project.problems[split] = str(error)
    if not project["train"]:
        raise UserError(
            f"{folder / 'train.jsonl'}: holds no accepted example, so there is nothing to diagnose."
        )
    return project


def shown(record: Record, start: int, end: int) -> str:
    """A part of the text for messages, shortened."""
    text = " ".join(record.text[max(start, 0) : end].split())
    return json_text(text if len(text) <= 40 else text[:37] + "...")


def percent(share: float) -> str:
    """`3 %`, `0.4 %`."""
    return f"{100 * share:.0f} %" if share >= 0.0995 or share == 0 else f"{100 * share:.1f} %"

"""Texts through documents of each format: does the pipeline find in them what it finds in the plain texts?"""

import difflib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks import rendering
from spacy.language import Language

from ie.core import stats
from ie.core.stats import Estimate
from ie.data.documents import pdf, places
from ie.data.documents.collection import DocumentSettings, DocumentTexts, read_documents
from ie.data.records import Record, Span
from ie.evaluation import scoring

TEXTS_PER_DOCUMENT = 12


@dataclass
class FormatResult:
    """One format.

    Attributes:
        same: share of the texts whose characters are all as they were.
        f, difference: F where each paragraph is a text, and that less F of the plain texts.
        merged: the same difference where short paragraphs are merged as configs/data.cfg says.
        boxes, right: spans with a place on a page, and those whose boxes hold their words.
        pages: pages read, 0 for formats without. seconds: for all documents.
    """

    name: str
    documents: int
    same: float
    f: Estimate
    difference: Estimate
    merged: Estimate
    boxes: int
    right: int
    pages: int
    seconds: float


def measure(
    nlp: Language, gold: Sequence[Record], settings: DocumentSettings, folder: Path, seed: int
) -> tuple[Estimate, list[FormatResult]]:
    """F of plain texts, and the result of each format."""
    groups = [gold[i : i + TEXTS_PER_DOCUMENT] for i in range(0, len(gold), TEXTS_PER_DOCUMENT)]
    plain = counted(gold, annotate(nlp, gold))
    results = []
    for name, (suffix, write) in rendering.FORMATS.items():
        own = folder / name.replace(" ", "-").replace(",", "")
        own.mkdir()
        for number, group in enumerate(groups):
            write(own / f"{number:03}{suffix}", [record.text for record in group])
        started = time.perf_counter()
        texts = read_documents(own, settings.model_copy(update={"min_chars": 0}))
        seconds = time.perf_counter() - started
        alone = annotate(nlp, texts.records)
        merged = annotate(nlp, read_documents(own, settings).records)
        counts, merged_counts = (counted(gold, back(groups, records)) for records in (alone, merged))
        places_right = [right for record in alone for right in boxes_right(record)]
        pairs = zip(groups, by_document(groups, alone), strict=True)
        results.append(
            FormatResult(
                name=name,
                documents=texts.documents,
                same=float(np.mean([same for group, read in pairs for same in kept(group, read)])),
                f=stats.intervals(counts, seed=seed)[2],
                difference=stats.difference(counts, plain, seed=seed),
                merged=stats.difference(merged_counts, plain, seed=seed),
                boxes=len(places_right),
                right=sum(places_right),
                pages=_pages(texts),
                seconds=seconds,
            )
        )
    return stats.intervals(plain, seed=seed)[2], results


Groups = Sequence[Sequence[Record]]


def by_document(groups: Groups, records: Sequence[Record]) -> list[list[Record]]:
    """The texts of each document; its number begins their ids."""
    return [[record for record in records if record.id.startswith(f"{n:03}.")] for n in range(len(groups))]


def back(groups: Groups, records: Sequence[Record]) -> list[Record]:
    """The original texts with the spans of those that were read."""
    pairs = zip(groups, by_document(groups, records), strict=True)
    return [record for group, read in pairs for record in mapped(group, read)]


def counted(gold: Sequence[Record], predicted: Sequence[Record]) -> np.ndarray:
    """Right, wrong and missing spans of each text, of all labels together."""
    return scoring.count(gold, predicted, scoring.labels_of(gold)).sum(axis=1)


def _pages(texts: DocumentTexts) -> int:
    pages = {(r.meta["file"], page) for r in texts.records for page in r.meta.get("pages", ())}
    return len(pages)


def annotate(nlp: Language, records: Iterable[Record]) -> list[Record]:
    """The records with the pipeline's spans."""
    records = list(records)
    return [
        Record(
            text=record.text,
            meta=record.meta,
            spans=[Span(start=e.start_char, end=e.end_char, label=e.label_) for e in doc.ents],
        )
        for record, doc in zip(records, nlp.pipe(record.text for record in records), strict=True)
    ]


def mapped(gold: Sequence[Record], read: Sequence[Record]) -> list[Record]:
    """The spans of the texts that were read, in the characters of the original ones.

    Both are aligned as one long text each. A span whose ends aren't in the original keeps its nearest
    characters, so that it counts as an error.
    """
    original, back = "\n".join(r.text for r in gold), "\n".join(r.text for r in read)
    blocks = difflib.SequenceMatcher(None, back, original, autojunk=False).get_matching_blocks()
    to_original = np.full(len(back) + 1, -1)
    for block in blocks:
        to_original[block.a : block.a + block.size] = np.arange(block.b, block.b + block.size)
    starts = np.cumsum([0, *(len(record.text) + 1 for record in gold)])
    result = [Record(text=record.text) for record in gold]
    offset = 0
    for record in read:
        for span in record.spans:
            first, last = to_original[span.start + offset], to_original[span.end + offset - 1]
            known = first if first >= 0 else last
            if known < 0:
                continue  # of a heading, which no original has: it says nothing about the texts
            n = int(np.searchsorted(starts, known, "right")) - 1
            start = max(0, (first if first >= 0 else last) - starts[n])
            end = min(len(gold[n].text), (last if last >= first else first) + 1 - starts[n])
            if start < end and not any(s.start == start and s.end == end for s in result[n].spans):
                result[n].spans.append(Span(start=int(start), end=int(end), label=span.label))
        offset += len(record.text) + 1
    return result


def kept(gold: Sequence[Record], read: Sequence[Record]) -> list[bool]:
    """Whether each text is in one of those that were read, character by character but for line ends."""
    whole = " ".join(" ".join(record.text.split()) for record in read)
    return [" ".join(record.text.split()) in whole for record in gold]


def boxes_right(record: Record) -> list[bool]:
    """Whether the boxes of each span hold its words, for spans that have a place on a page."""
    if not record.meta.get("lines"):
        return []
    data = Path(record.meta["file"]).read_bytes()
    right = []
    for span in record.spans:
        boxes = places.boxes(record.text, record.meta, span.start, span.end)
        inside = "".join(pdf.text_in_box(data, box[0], box[1:]) for box in boxes)
        words = record.text[span.start : span.end]
        right.append(bool(boxes) and _letters(words) in _letters(inside))
    return right


def _letters(text: str) -> str:
    return "".join(character for character in text if character.isalnum())

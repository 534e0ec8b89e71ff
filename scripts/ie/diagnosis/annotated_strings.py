"""Strings that are annotated in some texts: are they annotated in the others as well?"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from spacy.tokens import Doc

from ie.data.records import Record
from ie.diagnosis import thresholds
from ie.diagnosis.findings import Suspect


class Occurrence(NamedTuple):
    """Where a string is: index of the text, tokens, and the label, "" if it isn't annotated."""

    text: int
    start: int
    end: int
    label: str


class AnnotatedStrings:
    """All occurrences of every string that is annotated somewhere.

    An occurrence that shares tokens with another span is left out: it is part of a longer name.
    """

    def __init__(self, records: Sequence[Record], docs: Sequence[Doc]) -> None:
        self.records = records
        self.docs = docs
        self.occurrences: dict[tuple[str, ...], list[Occurrence]] = defaultdict(list)
        spans = [_token_spans(record, doc) for record, doc in zip(records, docs, strict=True)]
        words = [[token.text for token in doc] for doc in docs]
        keys = {tuple(words[i][start:end]) for i, held in enumerate(spans) for start, end in held}
        lengths = defaultdict(set)
        for key in keys:
            lengths[key[0]].add(len(key))
        for i, row in enumerate(words):
            for start, word in enumerate(row):
                for end in sorted(start + length for length in lengths.get(word, ())):
                    key = tuple(row[start:end])
                    if end > len(row) or key not in keys:
                        continue
                    label = spans[i].get((start, end), "")
                    if label or not any(a < end and start < b for a, b in spans[i]):
                        self.occurrences[key].append(Occurrence(i, start, end, label))

    def expected(self, known: int = 0) -> tuple[int, list[Suspect]]:
        """Occurrences that should be annotated, as at least half of the string's others are.

        Leaving out the text itself keeps the share of annotated ones unbiased, however rare the strings are:
        without 30 % of the spans it is .7, and less where strings are parts of longer ones that are missing.

        Args:
            known: the first so many texts decide about the rest; 0 lets every text decide about all others.

        Returns:
            Their number, and those that aren't annotated.
        """
        total, missing = 0, []
        for key in sorted(self.occurrences):
            for here in self.occurrences[key]:
                if here.text < known:
                    continue
                others = [
                    x.label
                    for x in self.occurrences[key]
                    if (x.text < known if known else x.text != here.text)
                ]
                labels = Counter(label for label in others if label)
                if len(others) < 2 or 2 * labels.total() < len(others):
                    continue
                total += 1
                if not here.label:
                    usual = min(labels.items(), key=lambda item: (-item[1], item[0]))[0]
                    missing.append(self._suspect(here, usual, labels.total(), len(others)))
        return total, missing

    def needless(self) -> tuple[int, list[Suspect]]:
        """The reverse: spans whose string isn't annotated in most of the other texts that have it.

        Texts are counted, as one that repeats a string is no further evidence; a text that annotates it once
        annotates it.

        Returns:
            The number of spans that were compared, and the needless ones.
        """
        compared, found = 0, []
        for places in self.occurrences.values():
            annotated = {x.text for x in places if x.label}
            without = len({x.text for x in places} - annotated)
            others = without + len(annotated) - 1
            if others < thresholds.OTHERS:
                continue
            spans = [x for x in places if x.label]
            compared += len(spans)
            if 2 * without > others:
                found += [self._suspect(x, None, without, others) for x in spans]
        return compared, found

    def _suspect(self, place: Occurrence, likelier: str | None, agree: int, others: int) -> Suspect:
        span = self.docs[place.text][place.start : place.end]
        return Suspect(
            self.records[place.text],
            span.start_char,
            span.end_char,
            place.label or None,
            likelier,
            agree / others,
            others,
        )


def _token_spans(record: Record, doc: Doc) -> dict[tuple[int, int], str]:
    """Labels of the spans that lie on tokens, by first token and end."""
    valid = (span for span in record.spans if 0 <= span.start < span.end)
    spans = ((doc.char_span(span.start, span.end), span.label) for span in valid)
    return {(span.start, span.end): label for span, label in spans if span is not None}

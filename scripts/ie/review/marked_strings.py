"""Strings that people marked before, as suggestions for the texts that follow."""

from collections import Counter
from collections.abc import Callable, Iterator

from spacy.tokens import Doc

from ie.data.records import Record, Span

LONGEST = 6  # tokens; longer spans rarely occur twice
# A string is suggested if this share of its occurrences in answered texts was marked with one label.
MARKED = 0.75
Counts = tuple[Counter[str], Counter[tuple[str, str]]]


class MarkedStrings:
    """How often each string occurs in the answered texts, and how often it is marked with which label."""

    def __init__(self, tokenizer: Callable[[str], Doc], *, overlapping: bool = False) -> None:
        self._tokenizer, self._overlapping = tokenizer, overlapping
        self._counts: dict[str, Counts] = {}  # of each text
        self._occurrences: Counter[str] = Counter()
        self._marked: Counter[tuple[str, str]] = Counter()
        self._labels: dict[str, set[str]] = {}

    def put(self, record: Record) -> None:
        """Count an answered text in place of its earlier answer; only accepted ones count."""
        occurrences, marked = self._counts.pop(record.text, (Counter(), Counter()))
        self._occurrences.subtract(occurrences)
        self._marked.subtract(marked)
        if record.answer != "accept":
            return
        occurrences = Counter(record.text[start:end] for start, end in self._strings(record.text))
        marked = Counter((record.text[span.start : span.end], span.label) for span in record.spans)
        self._counts[record.text] = occurrences, marked
        self._occurrences.update(occurrences)
        self._marked.update(marked)
        for string, label in marked:
            self._labels.setdefault(string, set()).add(label)

    def suggest(self, text: str) -> Record:
        """The strings of a text that people marked: all, or the longest from left to right."""
        spans: list[Span] = []
        for start, end in self._strings(text):
            for label in self._suggested_labels(text[start:end]):
                if self._overlapping or not spans or spans[-1].end <= start:
                    spans.append(Span(start=start, end=end, label=label))
        return Record(text=text, spans=spans)

    def _suggested_labels(self, string: str) -> Iterator[str]:
        for label in sorted(self._labels.get(string, ())):
            marked = self._marked[string, label]
            if marked > 0 and marked >= MARKED * self._occurrences[string]:
                yield label

    def _strings(self, text: str) -> Iterator[tuple[int, int]]:
        """Characters of all runs of tokens, the longest of each token first."""
        tokens = [(t.idx, t.idx + len(t)) for t in self._tokenizer(text) if not t.is_space]
        for first, (start, _) in enumerate(tokens):
            for _, end in reversed(tokens[first : first + LONGEST]):
                yield start, end

"""Spans in spans, made by rule from annotations without overlaps.

Two rules, as no public set with overlaps is at hand:

- `deal_phrases`, for the demo: a phrase from a company to the amount it raised, for each relation RAISED.
- `inner_names`, for CrossNER politics: a place inside a longer name ("United States" in "1992 United States
  presidential election"). A place is a string that is a `country` or `location` anywhere in the set.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from ie.data.records import Record, Span

PHRASE, RELATION, LONGEST_PHRASE = "DEAL", "RAISED", 30
PLACES = ("country", "location")


def deal_phrases(records: Iterable[Record]) -> list[Record]:
    """The records with a span DEAL from end to end of each relation RAISED; long ones are left out."""
    result = []
    for record in records:
        phrases = {}
        for edge in record.relations:
            ends = record.spans[edge.head], record.spans[edge.child]
            start, end = min(span.start for span in ends), max(span.end for span in ends)
            if edge.label == RELATION and len(record.text[start:end].split()) <= LONGEST_PHRASE:
                phrases[start, end] = Span(start=start, end=end, label=PHRASE)
        result.append(_with_spans(record, phrases.values()))
    return result


def inner_names(records: Sequence[Record]) -> list[Record]:
    """The records with a span for each place inside a longer span of another label."""
    labels: dict[str, Counter[str]] = {}
    for record in records:
        for span in record.spans:
            labels.setdefault(record.text[span.start : span.end], Counter())[span.label] += 1
    most_frequent = {
        name: min(counts, key=lambda label: (-counts[label], label)) for name, counts in labels.items()
    }
    places = sorted(
        (name for name, label in most_frequent.items() if label in PLACES),
        key=lambda name: (-len(name), name),
    )
    # of places that begin at the same character the longest
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, places))})(?!\w)")
    result = []
    for record in records:
        inner = {}
        for outer in record.spans:
            for match in pattern.finditer(record.text, outer.start, outer.end):
                label = most_frequent[match[0]]
                if label != outer.label and match.span() != (outer.start, outer.end):
                    inner[match.span()] = Span(start=match.start(), end=match.end(), label=label)
        result.append(_with_spans(record, inner.values()))
    return result


def _with_spans(record: Record, added: Iterable[Span]) -> Record:
    present = {(span.start, span.end, span.label) for span in record.spans}
    spans = [*record.spans, *(s for s in added if (s.start, s.end, s.label) not in present)]
    return record.model_copy(update={"spans": spans, "relations": []})

"""Rules proposed from annotations: token patterns with high precision on other texts."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from spacy.language import Language
from spacy.matcher import Matcher
from spacy.tokens import Doc, Span

from components.span_classifier import annotated_spans
from ie.core.text import UNSPACED
from ie.data.docs import to_doc
from ie.data.records import Record

Pattern = list[dict[str, Any]]
# A pattern is proposed if at least so many texts of one half have it, ...
TEXTS = 2
# ... and it has so many matches in the other half, with this precision.
MATCHES, PRECISION = 3, 0.8
# Longer spans are rarely repeated.
LONGEST = 6
MOST = 200


@dataclass(frozen=True)
class MinedRule:
    """A token pattern of spaCy's EntityRuler, right in `right` of `matched` matches in held-out texts."""

    label: str
    pattern: Pattern
    right: int
    matched: int

    def line(self) -> dict[str, Any]:
        """For a pattern file."""
        note = f"mined: {self.right} of {self.matched} right in texts held out"
        return {"label": self.label, "pattern": self.pattern, "id": note}


def mine(train: Sequence[Record], nlp: Language) -> list[MinedRule]:
    """Propose rules for the labels of training records, the most useful first.

    The spans in one half of the texts (by a hash of the text) are generalised to patterns: the words
    themselves, numbers as shapes, and capitalised words before or after the last or first word of a span.
    Patterns with too few matches or a low precision in the other half are left out. As the others were chosen
    there, their counts are slightly too high.
    """
    docs = [to_doc(record, nlp) for record in train]
    halves: tuple[list[Doc], list[Doc]] = ([], [])
    for doc in docs:
        halves[hashlib.sha256(doc.text.encode()).digest()[0] % 2].append(doc)
    seen: dict[str, set[int]] = defaultdict(set)
    patterns: dict[str, tuple[str, Pattern]] = {}
    for number, doc in enumerate(halves[0]):
        for ent in annotated_spans(doc):
            for pattern in _patterns(ent):
                key = f"{ent.label_} {pattern}"
                patterns[key] = ent.label_, pattern
                seen[key].add(number)
    matcher = Matcher(nlp.vocab)
    for key in patterns:
        if len(seen[key]) >= TEXTS:
            matcher.add(key, [patterns[key][1]], greedy="LONGEST")
    matched: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for doc in halves[1]:
        gold = {(ent.start, ent.end, ent.label_) for ent in annotated_spans(doc)}
        for identity, start, end in matcher(doc) if len(matcher) else ():
            key = nlp.vocab.strings[identity]
            matched[key] += 1
            right[key] += (start, end, patterns[key][0]) in gold
    rules = [
        MinedRule(*patterns[key], right[key], n)
        for key, n in matched.items()
        if n >= MATCHES and right[key] >= PRECISION * n
    ]
    return sorted(rules, key=lambda rule: (-rule.right, rule.matched, rule.label, str(rule.pattern)))[:MOST]


def _patterns(ent: Span) -> Iterator[Pattern]:
    # Where each character is a token, twice as many are a name of the same length.
    if len(ent) > LONGEST * (2 if UNSPACED.search(ent.text) else 1):
        return
    if any(_numeric(token.text) for token in ent):
        yield [{"SHAPE": t.shape_} if _numeric(t.text) else {"LOWER": t.lower_} for t in ent]
    else:
        yield [{"LOWER": token.lower_} for token in ent]
    if len(ent) > 1 and all(token.text.istitle() for token in ent):
        names = {"IS_TITLE": True, "OP": f"{{1,{LONGEST - 1}}}"}
        yield [names, {"LOWER": ent[-1].lower_}]
        yield [{"LOWER": ent[0].lower_}, names]


def _numeric(text: str) -> bool:
    return any(character.isdigit() for character in text)

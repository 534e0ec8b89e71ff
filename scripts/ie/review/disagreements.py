"""Disagreements between two sets of answers, grouped by kind and pattern, most frequent first."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from spacy.language import Language
from spacy.tokens import Token

from ie.data.guidelines import GuidelineIndex, Sentence
from ie.data.records import Record, Span
from ie.evaluation import scoring
from ie.review.agreement import Matched, edge_key, span_keys

# The kinds of errors of `scoring`, for two sides of which neither is gold.
KINDS = {
    "boundary": "Other edges, same label",
    "label": "Same edges, other label",
    "both": "Other edges and other label",
    "missing": "Marked by {first} alone",
    "spurious": "Marked by {second} alone",
    "relation": "Relations between spans that both marked",
    "category": "Categories",
}


@dataclass(frozen=True)
class Difference:
    """One difference in text number `text`: the answer of each side (None: nothing) and where it is.

    `parts` are the strings in which the answers differ, and `shapes` the kinds of their tokens. `about` has a
    description for each part, with {} in its place; without parts, it describes the whole difference.
    """

    kind: str
    text: int
    label: str
    first: str | None
    second: str | None
    first_edges: tuple[int, int] | None
    second_edges: tuple[int, int] | None
    parts: tuple[str, ...]
    shapes: tuple[str, ...]
    about: tuple[str, ...]


@dataclass
class Group:
    """Differences of one kind and pattern, with the sentence of the guidelines that may decide them."""

    kind: str
    label: str
    pattern: str
    differences: list[Difference] = field(default_factory=list)
    sentence: Sentence | None = None

    @property
    def texts(self) -> int:
        """The number of texts that it is about."""
        return len({difference.text for difference in self.differences})


def find(matched: Matched, names: tuple[str, str], nlp: Language) -> list[Difference]:
    """All differences, in the order of the texts.

    A relation whose spans aren't marked alike by both isn't listed: it follows from its spans.
    """
    differences: list[Difference] = []
    related = all(matched.has_any("relations"))  # else one side did not annotate them
    for i, (mine, theirs) in enumerate(zip(matched.first, matched.second, strict=True)):
        for error in scoring.errors(mine, theirs):
            differences.append(_of_spans(i, mine, error, names, nlp))
        if related:
            differences += _of_relations(i, mine, theirs, names)
        if category := _of_categories(i, mine, theirs):
            differences.append(category)
    return differences


def group(
    differences: Iterable[Difference],
    guidelines: GuidelineIndex,
    labels: Iterable[str],
    *,
    repeats: int = 3,
    least: float = 0.1,
) -> list[Group]:
    """Differences by kind, label and pattern: the most frequent kind first, and within it the pattern.

    A string that occurs at least `repeats` times is a pattern of its own; the others are grouped by shape.

    Args:
        labels: all labels; a sentence of the guidelines about another label is never chosen.
        least: lowest cosine similarity between a pattern and a sentence of the guidelines for it.
    """
    everything, scheme = list(differences), set(labels)
    strings = Counter((d.kind, d.label, d.about, d.parts) for d in everything)
    groups: dict[tuple, Group] = {}
    for difference in everything:
        own = strings[difference.kind, difference.label, difference.about, difference.parts] >= repeats
        shown = [f"“{part}”" for part in difference.parts] if own else difference.shapes
        words = [a.replace("{}", s) for a, s in zip(difference.about, shown, strict=True)] if shown else None
        pattern = ", ".join(words or difference.about)
        key = (difference.kind, difference.label, pattern)
        groups.setdefault(key, Group(*key)).differences.append(difference)
    for item in groups.values():
        strings_of = " ".join(part for difference in item.differences for part in difference.parts)
        words_of = strings_of or " ".join(d.first or d.second or "" for d in item.differences)
        # For edges, the sentence must name what is inside or outside the span, not only the label.
        about = strings_of if item.kind in ("boundary", "both") else ""
        labels = set(item.label.split(" or "))
        item.sentence = guidelines.find(
            f"{item.label} {words_of}", least, about=about, topics=labels, elsewhere=scheme - labels
        )
    totals = Counter(difference.kind for difference in everything)
    return sorted(
        groups.values(),
        key=lambda g: (-totals[g.kind], g.kind, -len(g.differences), g.label, g.pattern),
    )


def to_records(
    matched: Matched, groups: Sequence[Group], names: tuple[str, str], version: str
) -> list[Record]:
    """A record for each text with a difference, most differences first, for adjudication in `review`.

    Its spans are those that both marked. `answers` maps each side's name to its spans, relations and cats;
    `disagreements` lists the differences. The answer is "ignore", so that no command takes it for gold.
    """
    by_text: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for item in groups:
        for difference in item.differences:
            by_text[difference.text].append(
                {
                    "kind": item.kind,
                    "label": item.label,
                    "pattern": item.pattern,
                    "said": {names[0]: difference.first, names[1]: difference.second},
                    "guideline": item.sentence.text if item.sentence else None,
                }
            )
    records = []
    for i in sorted(by_text, key=lambda i: (-len(by_text[i]), i)):
        mine, theirs = matched.first[i], matched.second[i]
        shared = span_keys(mine) & span_keys(theirs)
        records.append(
            Record(
                text=mine.text,
                spans=[s for s in mine.spans if (s.start, s.end, s.label) in shared],
                answer="ignore",
                meta={k: v for k, v in mine.meta.items() if k != "annotator"} | {"guidelines": version},
                answers={
                    name: record.model_dump(include={"spans", "relations", "cats"})
                    for name, record in zip(names, (mine, theirs), strict=True)
                },
                disagreements=by_text[i],
            )
        )
    return records


def shape(text: str, nlp: Language) -> str:
    """The kinds of tokens in a string, runs of one kind as one: `currency sign + number`."""
    kinds: list[str] = []
    for token in nlp.tokenizer(text.strip()):
        if not token.is_space:
            kind = _kind(token)
            if kinds and kinds[-1].removesuffix("s") == kind.removesuffix("s"):
                kinds[-1] = kind if kind.endswith("s") else f"{kind}s"
            else:
                kinds.append(kind)
    return " + ".join(kinds) or "whitespace"


def _kind(token: Token) -> str:
    if token.is_currency:
        return "currency sign"
    if token.lower_ in ("'s", "’s"):
        return "possessive"
    if token.is_punct:
        return "punctuation"
    if token.like_num or any(character.isdigit() for character in token.text):
        return "number"
    if token.is_stop:
        return "function word"
    return "capitalised word" if token.text[:1].isupper() else "lower-case word"


def _of_spans(
    i: int, record: Record, error: scoring.Error, names: tuple[str, str], nlp: Language
) -> Difference:
    text, mine, theirs = record.text, error.gold, error.predicted
    kind = "label" if error.kind == "type" else error.kind
    labels = [span.label for span in (mine, theirs) if span]
    label = labels[0] if len(set(labels)) == 1 else " or ".join(labels)
    if mine and theirs and kind != "label":
        parts, abouts = _edges(text, mine, theirs, names)
    else:
        span = mine or theirs
        assert span is not None
        parts, abouts = [_plain(text[span.start : span.end])], ["{}"]
    return Difference(
        kind,
        i,
        label,
        _described(text, mine),
        _described(text, theirs),
        (mine.start, mine.end) if mine else None,
        (theirs.start, theirs.end) if theirs else None,
        tuple(part.casefold() for part in parts),
        tuple(shape(part, nlp) for part in parts),
        tuple(abouts),
    )


def _edges(text: str, mine: Span, theirs: Span, names: tuple[str, str]) -> tuple[list[str], list[str]]:
    """The strings that one span has and the other has not, and who has them where."""
    parts, abouts = [], []
    for place, a, b in (("start", mine.start, theirs.start), ("end", theirs.end, mine.end)):
        if a != b:
            # at the start the smaller offset has more, at the end the larger
            parts.append(_plain(text[min(a, b) : max(a, b)]))
            abouts.append(f"{names[a > b]} has {{}} at the {place}")
    return parts, abouts


def _of_relations(i: int, mine: Record, theirs: Record, names: tuple[str, str]) -> list[Difference]:
    shared = span_keys(mine) & span_keys(theirs)
    edges = [{edge_key(record, edge) for edge in record.relations} for record in (mine, theirs)]
    differences = []
    for edge in sorted(edges[0] ^ edges[1]):
        head, child, label = edge
        if head not in shared or child not in shared:
            continue
        relation = f"{mine.text[head[0] : head[1]]} → {label} → {mine.text[child[0] : child[1]]}"
        here = edge in edges[0]
        where = (min(head[0], child[0]), max(head[1], child[1]))
        about = f"{names[here]} has none from {head[2]} to {child[2]}"
        differences.append(
            Difference(
                "relation",
                i,
                label,
                relation if here else None,
                None if here else relation,
                where if here else None,
                None if here else where,
                (),
                (),
                (about,),
            )
        )
    return differences


def _of_categories(i: int, mine: Record, theirs: Record) -> Difference | None:
    if not mine.cats or not theirs.cats:
        return None
    chosen = [", ".join(sorted(record.categories)) or None for record in (mine, theirs)]
    if chosen[0] == chosen[1]:
        return None
    about = " or ".join(name or "none" for name in chosen)
    return Difference("category", i, "", chosen[0], chosen[1], None, None, (), (), (about,))


def _described(text: str, span: Span | None) -> str | None:
    return f"{span.label} {text[span.start : span.end]}" if span else None


def _plain(text: str) -> str:
    return " ".join(text.split())

"""Records of every kind that the contract allows, for round trips through other formats."""

import string
from typing import Any

from hypothesis import strategies as st

from ie.data.records import Record

# Plain, outside the basic plane, combining, joined, right to left, blanks of several kinds, punctuation.
CHARACTERS = [
    *"abXY 12,.-—'’$€é",
    "e\u0301",
    "😀",
    "👩‍🚀",
    "🇩🇪",
    "𝒜",
    "שלום",
    "क्ष",
    "\u00a0",
    "  ",
    "\n",
    "\u2028",
    "漢",
]
LABELS = ("COMPANY", "MONEY", "a-b", "Ünï<&>")
CATEGORIES = ("FUNDING", "OTHER")


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(string.printable, max_size=5), st.just([1, "😀"])
)
EXTRAS = st.dictionaries(st.sampled_from(["kb_id", "value", "alignment"]), VALUES, max_size=2)


@st.composite
def records(draw: st.DrawFn, *, scores: bool = True, overlapping: bool = False) -> Record:
    """A record whose spans have no whitespace at their edges, and don't overlap unless that is asked for."""
    text = draw(st.lists(st.sampled_from(CHARACTERS), min_size=1, max_size=20).map("".join))
    if not text.strip():
        text += "x"
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=6)))
    spans: list[dict[str, Any]] = []
    places = list(zip(cuts[::2], cuts[1::2], strict=False))
    if overlapping:
        edges = st.tuples(st.sampled_from(cuts), st.sampled_from(cuts)) if cuts else st.nothing()
        places += [(min(pair), max(pair)) for pair in (draw(st.lists(edges, max_size=4)) if cuts else [])]
    for start, end in places:
        said = text[start:end]
        if said.strip():
            start += len(said) - len(said.lstrip())
            span = {"start": start, "end": start + len(said.strip()), "label": draw(st.sampled_from(LABELS))}
            if span not in [{key: other[key] for key in span} for other in spans]:
                spans.append({**draw(EXTRAS), **span})
    spans = draw(st.permutations(spans))
    pairs = [(a, b) for a in range(len(spans)) for b in range(len(spans)) if a != b]
    edges = draw(st.lists(st.sampled_from(pairs), max_size=3, unique=True)) if pairs else []
    value = st.sampled_from([0.0, 1.0, 0.25]) if scores else st.sampled_from([0.0, 1.0])
    return Record(
        **draw(st.dictionaries(st.sampled_from(["_input_hash", "llm", "extra"]), VALUES, max_size=2)),
        text=text,
        spans=spans,
        relations=[{"head": a, "child": b, "label": draw(st.sampled_from(LABELS))} for a, b in edges],
        cats=draw(st.one_of(st.just({}), st.fixed_dictionaries(dict.fromkeys(CATEGORIES, value)))),
        answer=draw(st.sampled_from(["accept", "reject", "ignore"])),
        meta=draw(st.dictionaries(st.sampled_from(["id", "writer", "n"]), VALUES, max_size=2)),
    )

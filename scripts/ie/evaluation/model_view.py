"""Imagine you're the model (slide 105): the input of a pipeline for each token, and its context window."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, Token

from components import crf
from ie.data.records import Record, Span
from ie.evaluation import scoring
from ie.evaluation.scoring import Error

# What spaCy's HashEmbedCNN embeds; it has no setting for it.
HASH_EMBED = ("NORM", "PREFIX", "SUFFIX", "SHAPE")
# Factories of components that find entities by training.
RECOGNISERS = ("ner", "beam_ner", "crf")
CRF_ATTRS = ("LOWER", "PREFIX", "SUFFIX", "SHAPE")
CRF_NOTE = (
    "It is also given prefixes and suffixes of one to four characters, pairs of neighbouring words, and what "
    "a dictionary of the annotated names says of a token and its neighbours. It decides on all at once."
)


@dataclass
class View:
    """The input of a pipeline's entity recogniser, according to its config.

    Attributes:
        component: name of the component with the token vectors; "" if none was recognised.
        attrs: attributes of a token that are embedded, as spaCy names them.
        reach: tokens to either side that a token's vector depends on; None for the whole text.
        notes: other input, one sentence each.
    """

    component: str = ""
    attrs: tuple[str, ...] = ()
    reach: int | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class AttributeCount:
    """The value of one attribute of one token, and how often training had it."""

    value: str
    count: int


@dataclass(frozen=True)
class ErrorView:
    """An error as the model sees it.

    Attributes:
        record, predicted: the whole text.
        start: index of the first token of the window in the text, of `tokens` in all.
        columns: for each token of the window whether it belongs to the error, and its attributes.
        known: how often training has the gold string with this label; None for a spurious prediction.
    """

    record: Record
    predicted: Record
    error: Error
    start: int
    tokens: int
    columns: list[tuple[bool, list[AttributeCount]]]
    known: int | None


def read_view(nlp: Language) -> View:
    """The input of a pipeline's entity recogniser, read from the pipeline's config.

    Supports spaCy's MultiHashEmbed, CharacterEmbed and HashEmbedCNN, and its window and LSTM encoders, in a
    component of their own or inside the recogniser.
    """
    components = nlp.config.interpolate()["components"]
    recognisers = [name for name in nlp.pipe_names if components[name].get("factory") in RECOGNISERS]
    if not recognisers:
        return View(notes=["The pipeline has no entity recogniser that is trained."])
    name = recognisers[0]
    if components[name]["factory"] == "crf":
        general = components[name].get("general")
        others = [f"It is also given the tags and entities that {general} finds."] if general else []
        return View(name, CRF_ATTRS, crf.WINDOW, [CRF_NOTE, *others])
    model = components[name].get("model", {})
    inner = model.get("tok2vec", model)
    if "Listener" in str(inner.get("@architectures", "")):
        upstream = str(inner.get("upstream", "*"))
        sources = [other for other in nlp.pipe_names if upstream in ("*", other) and other != name]
        listened = [other for other in sources if list(_layers(components[other].get("model", {})))]
        if not listened:
            return View(notes=[f"The component that {name!r} listens to isn't in the pipeline."])
        name, inner = listened[0], components[listened[0]]["model"]
    view = _understood(name, inner)
    if view.attrs and model.get("state_type") == "ner":
        view.notes.append(
            "The recogniser then goes from left to right and never back. It decides on each token by three "
            "vectors: of this token, of the one before it and of the first one of the current entity."
        )
    return view


def _understood(name: str, model: dict[str, Any]) -> View:
    attrs: list[str] = []
    notes: list[str] = []
    reach: int | None = 0
    for kind, layer in _layers(model):
        if kind == "MultiHashEmbed":
            attrs += layer["attrs"]
        elif kind == "HashEmbedCNN":
            attrs += HASH_EMBED if layer.get("subword_features", True) else HASH_EMBED[:1]
        elif kind == "CharacterEmbed":
            attrs.append(str(layer.get("feature", "LOWER")))
            notes.append(f"It is also given {layer.get('nC', 8)} characters of each token, from both ends.")
        if layer.get("include_static_vectors") or layer.get("pretrained_vectors"):
            notes.append("It is also given a word vector that training doesn't change, where there is one.")
        if kind in ("MaxoutWindowEncoder", "MishWindowEncoder", "HashEmbedCNN") and reach is not None:
            reach += int(layer["window_size"]) * int(layer["depth"])
        elif "LSTM" in kind:
            reach = None
    if not attrs:
        kinds = ", ".join(kind for kind, _ in _layers(model)) or "none"
        return View(
            notes=[
                f"No embedding of token attributes was found in the component {name!r} (layers: {kinds}), so "
                "its view can't be shown; the errors below come with their text only."
            ]
        )
    return View(name, tuple(dict.fromkeys(attrs)), reach, notes)


def _layers(node: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every registered layer in a model's config, outermost first: its short name and its settings."""
    if isinstance(node, dict):
        if "@architectures" in node:
            parts = str(node["@architectures"]).split(".")
            yield parts[-2] if len(parts) > 1 else parts[0], node
        for value in node.values():
            yield from _layers(value)


def attributes(doc: Doc, attrs: Sequence[str]) -> list[list[str]]:
    """The values of some attributes of each token as text: `norm_` of NORM, the number of IS_DIGIT."""
    return [[_value(token, attr) for attr in attrs] for token in doc]


def _value(token: Token, attr: str) -> str:
    text = getattr(token, f"{attr.lower()}_", None)
    return text if isinstance(text, str) else str(token.doc.to_array([attr])[token.i])


def count_values(docs: Iterable[Doc], attrs: Sequence[str]) -> dict[str, Counter[str]]:
    """How often each value of each attribute occurs."""
    seen: dict[str, Counter[str]] = {attr: Counter() for attr in attrs}
    for doc in docs:
        for values in attributes(doc, attrs):
            for attr, value in zip(attrs, values, strict=True):
                seen[attr][value] += 1
    return seen


def cases(
    nlp: Language,
    view: View,
    gold: Sequence[Record],
    predicted: Sequence[Record],
    seen: dict[str, Counter[str]],
    train: Sequence[Record],
) -> list[ErrorView]:
    """Every error with the model's window around it, in the order of the texts."""
    strings = Counter((scoring.normal_string(r, span), span.label) for r in train for span in r.spans)
    views = []
    for record, answer in zip(gold, predicted, strict=True):
        wrong = scoring.errors(record, answer)
        if not wrong:
            continue
        doc = nlp.make_doc(record.text)
        values = attributes(doc, view.attrs)
        for error in wrong:
            inside = tokens_of(doc, (error.gold, error.predicted))
            first, last = min(inside, default=0), max(inside, default=len(doc) - 1)
            reach = len(doc) if view.reach is None or not view.attrs else view.reach
            start, end = max(0, first - reach), min(len(doc), last + 1 + reach)
            columns = [
                (
                    i in inside,
                    [AttributeCount(v, seen[a][v]) for a, v in zip(view.attrs, values[i], strict=True)],
                )
                for i in range(start, end)
            ]
            known = (
                strings[scoring.normal_string(record, error.gold), error.gold.label] if error.gold else None
            )
            views.append(ErrorView(record, answer, error, start, len(doc), columns, known))
    return views


def tokens_of(doc: Doc, spans: Iterable[Span | None]) -> set[int]:
    """Indices of the tokens that overlap with spans."""
    return {
        token.i
        for span in spans
        if span
        for token in doc
        if token.idx < span.end and span.start < token.idx + len(token)
    }

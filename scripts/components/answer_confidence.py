"""How sure the pipeline is of links, amounts, relations and rows: the probability that all of it is right.

A link or an amount is right with its span and label, a relation with both its entities, and a row (a relation
with the links and amounts of its ends) with all of these. What the components before say of themselves is
multiplied, as if their errors were independent. A logistic regression, of this product alone or of further
features, turns it into a probability. `ie.training.answer_training` fits it; the shipped component only needs
numpy.

Labels that have too few answers for calibration get no probability, and `AnswerConfidence.reasons` says why.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import srsly
from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.tokens import Doc, Span
from spacy.util import from_bytes, from_disk, to_bytes, to_disk
from spacy.vocab import Vocab

REQUIREMENTS: tuple[str, ...] = ()
Kind = Literal["link", "amount", "relation", "row"]
# The first feature of each kind is the product.
FEATURES: dict[Kind, tuple[str, ...]] = {
    "link": ("product", "entity", "score of the entry", "no entry"),
    "amount": ("product", "not in plain digits", "currency not written", "currency unknown"),
    "relation": (
        "product", "score", "head", "child", "least sure entity", "relations of the label",
        "relations of the head", "relations of the child", "tokens between", "entities between",
        "sentence ends between", "head is first", "entities", "tokens", "names like the head",
        "names like the child",
    ),
    "row": ("product", "relation", "links and amounts"),
}  # fmt: skip
# What stands for the confidence of an entity whose label isn't calibrated.
UNKNOWN = 0.5
NIL = "NIL"
SENTENCE_ENDS = frozenset(".!?;:。！？；：")
PLAIN = ("plain", "scaled")
WRITTEN = ("written", "firm")
NO_CURRENCY = "XXX"
DIGITS = 4  # of a probability: further ones depend on the machine
SURE = 1e-4  # no probability is closer to 0 or 1

for _name in ("link_confidence", "amount_confidence", "link_score", "money"):
    if not Span.has_extension(_name):
        Span.set_extension(_name, default=None)
if not Doc.has_extension("relations"):
    Doc.set_extension("relations", default=[])


@dataclass(frozen=True)
class PredictedAnswer:
    """A link, an amount, a relation or a row that the pipeline found.

    Attributes:
        place: index of the entity, or of the relation in `doc._.relations`.
    """

    label: str
    place: int
    features: tuple[float, ...]


class AnswerConfidence(Pipe):
    """Sets `span._.link_confidence`, `span._.amount_confidence`, and of each relation "confidence" and
    "row_confidence"; None, or no key, for labels that weren't calibrated.

    Attributes:
        cfg: `models`, by kind: `weights` of FEATURES, and the `bias` of each label; and `reasons`, by kind:
            why a label has no probability.
    """

    def __init__(self, vocab: Vocab, name: str) -> None:
        self.vocab = vocab
        self.name = name
        self.cfg: dict[str, Any] = {"models": {}, "reasons": {}}

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that have a probability, after their kind."""
        return tuple(f"{kind} {label}" for kind, m in self.cfg["models"].items() for label in m["bias"])

    @property
    def reasons(self) -> dict[str, dict[str, str]]:
        """Why a label has no probability, by kind."""
        return self.cfg["reasons"]

    def __call__(self, doc: Doc) -> Doc:
        for kind in ("link", "amount"):
            for answer, p in self._probabilities(kind, doc):
                setattr(doc.ents[answer.place]._, f"{kind}_confidence", p)
        # In this order: a row is judged by its relation, its links and its amounts.
        for kind, key in (("relation", "confidence"), ("row", "row_confidence")):
            for answer, p in self._probabilities(kind, doc):
                doc._.relations[answer.place][key] = p
        return doc

    def _probabilities(self, kind: Kind, doc: Doc) -> Iterable[tuple[PredictedAnswer, float]]:
        model = self.cfg["models"].get(kind)
        found = [answer for answer in ANSWERS[kind](doc) if answer.label in model["bias"]] if model else []
        if not found or model is None:
            return ()
        biases = np.array([model["bias"][answer.label] for answer in found])
        features = np.array([answer.features for answer in found])
        return zip(found, probabilities(features, np.array(model["weights"]), biases).tolist(), strict=True)

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """What was learned."""
        return to_bytes({"cfg": lambda: srsly.json_dumps(self.cfg).encode()}, exclude)

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> "AnswerConfidence":
        """What was learned, as `to_bytes` gave it."""
        from_bytes(data, {"cfg": lambda b: self.cfg.update(srsly.json_loads(b))}, exclude)
        return self

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """What was learned, in a folder."""
        to_disk(Path(path), {"cfg": lambda p: srsly.write_json(p.with_suffix(".json"), self.cfg)}, exclude)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "AnswerConfidence":
        """What was learned, as `to_disk` wrote it."""
        readers = {"cfg": lambda p: self.cfg.update(srsly.read_json(p.with_suffix(".json")))}
        from_disk(Path(path), readers, exclude)
        return self


def probabilities(features: np.ndarray, weights: np.ndarray, biases: np.ndarray) -> np.ndarray:
    """The probability that each answer is right, from a row of FEATURES and the bias of its label."""
    z = features @ weights + biases
    return (1 / (1 + np.exp(-z))).clip(SURE, 1 - SURE).round(DIGITS)


def links(doc: Doc) -> list[PredictedAnswer]:
    """The entities that a linker answered, with FEATURES."""
    found = []
    for place, ent in enumerate(doc.ents):
        if ent.kb_id_:
            score = UNKNOWN if ent._.link_score is None else ent._.link_score
            likely = 1 - score if ent.kb_id_ == NIL else score
            p = entity_confidence(ent)
            features = (logit(p * likely), logit(p), logit(likely), float(ent.kb_id_ == NIL))
            found.append(PredictedAnswer(ent.label_, place, features))
    return found


def amounts(doc: Doc) -> list[PredictedAnswer]:
    """The definite amounts, with FEATURES."""
    found = []
    for place, ent in enumerate(doc.ents):
        if (money := ent._.money) and money["low"] is not None:
            amount_rule, _, currency_rule = money["rule"].partition(", ")
            features = (
                logit(entity_confidence(ent)),
                float(amount_rule not in PLAIN),
                float(currency_rule not in WRITTEN),
                float(money["currency"] == NO_CURRENCY),
            )
            found.append(PredictedAnswer(ent.label_, place, features))
    return found


def relations(doc: Doc) -> list[PredictedAnswer]:
    """The relations, with FEATURES."""
    if not doc._.relations:
        return []
    ents, all_relations = doc.ents, doc._.relations
    sure = [entity_confidence(ent) for ent in ents]
    names = Counter(ent.text for ent in ents)
    of_label = Counter(r["label"] for r in all_relations)
    of_end = Counter((r["label"], end, r[end]) for r in all_relations for end in ("head", "child"))
    found = []
    for place, r in enumerate(all_relations):
        head, child, label = r["head"], r["child"], r["label"]
        left, right = sorted((ents[head], ents[child]), key=lambda ent: ent.start)
        between = doc[left.end : right.start] if left.end < right.start else ()
        features = (
            logit(relation_score(r) * sure[head] * sure[child]),
            logit(relation_score(r)),
            logit(sure[head]),
            logit(sure[child]),
            logit(min(sure)),
            of_label[label],
            of_end[label, "head", head],
            of_end[label, "child", child],
            np.log1p(len(between)),
            abs(head - child) - 1,
            sum(token.text in SENTENCE_ENDS for token in between),
            head < child,
            np.log(len(ents)),
            np.log(len(doc)),
            names[ents[head].text],
            names[ents[child].text],
        )
        found.append(PredictedAnswer(label, place, tuple(map(float, features))))
    return found


def rows(doc: Doc) -> list[PredictedAnswer]:
    """The relations as rows, with FEATURES, if their relation, links and amounts are calibrated."""
    found = []
    for place, relation in enumerate(doc._.relations):
        ends = doc.ents[relation["head"]], doc.ents[relation["child"]]
        values = [value_confidence(ent) for ent in ends]
        sure = relation.get("confidence")
        if sure is not None and None not in values:
            value = float(np.prod(values))
            features = (logit(sure * value), logit(sure), float(np.log(max(value, SURE))))
            found.append(PredictedAnswer(relation["label"], place, features))
    return found


ANSWERS: Mapping[Kind, Callable[[Doc], Sequence[PredictedAnswer]]] = {
    "link": links,
    "amount": amounts,
    "relation": relations,
    "row": rows,
}


def value_confidence(ent: Span) -> float | None:
    """The probability that link and amount are right where the span is; None if it isn't calibrated."""
    values = []
    if ent.kb_id_:
        values.append(ent._.link_confidence)
    if (money := ent._.money) and money["low"] is not None:
        values.append(ent._.amount_confidence)
    if None in values:
        return None
    return float(np.prod([min(1.0, value / entity_confidence(ent)) for value in values]))


def entity_confidence(ent: Span) -> float:
    """The calibrated one, or UNKNOWN."""
    return UNKNOWN if ent._.confidence is None else ent._.confidence


def relation_score(relation: Mapping[str, Any]) -> float:
    """What the relations component says of it."""
    return relation.get("score", UNKNOWN)


def logit(p: float) -> float:
    """Log-odds of a probability, neither too low nor too high."""
    p = min(max(p, SURE), 1 - SURE)
    return float(np.log(p / (1 - p)))


@Language.factory(
    "answer_confidence",
    assigns=["span._.link_confidence", "span._.amount_confidence", "doc._.relations"],
    requires=["doc.ents"],
)
def make_answer_confidence(nlp: Language, name: str) -> AnswerConfidence:
    """The `answer_confidence` component, which has learned nothing yet and sets nothing."""
    return AnswerConfidence(nlp.vocab, name)

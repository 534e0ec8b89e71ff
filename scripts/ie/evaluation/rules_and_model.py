"""Rules and a trained recogniser in one pipeline: the order that is best on dev, if it helps beyond noise.

With the rules first, the recogniser keeps their entities and adds others. With the rules last, they add
entities where the recogniser found none.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import spacy
from spacy.language import Language
from spacy.pipeline import EntityRuler

from ie.core import stats
from ie.core.stats import Estimate, format_score
from ie.data.records import Record
from ie.evaluation import baselines, scoring
from ie.evaluation.baselines import predict_with

Order = Literal["rules first", "rules last", "model alone"]
ORDERS: tuple[Order, ...] = ("rules first", "rules last")
ALONE: Order = "model alone"
# Loading compiles each of them.
MOST = 50_000
# The component of the rules, and that of the model.
RULES, MODEL = "rules", "ner"
# Name of both together among the systems that `evaluate` scores.
SYSTEM = "combined"
# Folder of the pipeline that is shipped, among the results of a training config (see `ie.training.shipping`).
SHIPPED = "shipped"


@dataclass(frozen=True)
class RulesChoice:
    """The order of rules and model, and why.

    Attributes:
        f: F on dev by order, the model alone included; empty if nothing was scored.
        gain: F of each order minus that of the model alone, on the same texts.
        documents: dev texts.
        reason: one sentence.
    """

    order: Order
    reason: str
    f: dict[Order, Estimate]
    gain: dict[Order, Estimate]
    documents: int

    def to_json(self) -> dict[str, Any]:
        """For files."""
        return {
            "order": self.order,
            "reason": self.reason,
            "dev_documents": self.documents,
            "f": {order: f.as_dict() for order, f in self.f.items()},
            "gain": {order: gain.as_dict() for order, gain in self.gain.items()},
        }


def patterns_of(
    nlp: Language, patterns: Path | None, gazetteer: Path | None, label: str
) -> list[dict[str, Any]]:
    """The patterns of an `entity_ruler`, from files that exist and aren't empty.

    Args:
        nlp: a pipeline of the language and tokenizer.
        gazetteer: names, which get `label`; "" for none.
    """
    files = {"patterns": patterns, "gazetteer": gazetteer if label else None}
    present = {name: path for name, path in files.items() if path and path.exists() and path.stat().st_size}
    if not present:
        return []
    empty = spacy.blank(nlp.lang)
    empty.tokenizer = nlp.tokenizer
    ruler = baselines.rules(empty, **present, label=label).get_pipe("entity_ruler")
    assert isinstance(ruler, EntityRuler)
    return ruler.patterns


def add_rules(nlp: Language, patterns: Sequence[dict[str, Any]], choice: RulesChoice) -> Language:
    """Add rules to a pipeline, which is changed: before or after its recogniser, the reason to its meta."""
    nlp.meta["rules"] = choice.reason
    return _in_order(nlp, patterns, choice.order)


def _in_order(nlp: Language, patterns: Sequence[dict[str, Any]], order: Order) -> Language:
    if order != ALONE:
        place = {"before": MODEL} if order == "rules first" else {"after": MODEL}
        ruler = nlp.add_pipe("entity_ruler", name=RULES, **place)
        assert isinstance(ruler, EntityRuler)
        ruler.add_patterns(list(patterns))
    return nlp


def choose(
    load: Callable[[], Language], patterns: Sequence[dict[str, Any]], dev: Sequence[Record]
) -> RulesChoice:
    """The order with the highest F on dev, if it is above that of the model alone beyond noise.

    Beyond noise means that the 95 % interval of the difference (paired bootstrap over documents) is above 0.

    Args:
        load: gives the trained pipeline, another object each time.
    """
    if not patterns:
        return RulesChoice(ALONE, "There are neither patterns nor known names.", {}, {}, len(dev))
    if len(patterns) > MOST:
        reason = f"{len(patterns):,} rules would make the pipeline slow to load ({MOST:,} at most)."
        return RulesChoice(ALONE, reason, {}, {}, len(dev))
    if MODEL not in load().pipe_names:
        reason = f"The pipeline has no component {MODEL!r} that rules could be combined with."
        return RulesChoice(ALONE, reason, {}, {}, len(dev))
    if not any(record.spans for record in dev):
        reason = "There is no dev text with a span to choose on, so the rules are left out."
        return RulesChoice(ALONE, reason, {}, {}, len(dev))
    texts = [record.text for record in dev]
    labels = scoring.labels_of(dev)
    counts = {
        order: scoring.count(dev, predict_with(_in_order(load(), patterns, order))(texts), labels).sum(axis=1)
        for order in (ALONE, *ORDERS)
    }
    f = {order: stats.intervals(table)[2] for order, table in counts.items()}
    gain = {order: stats.difference(counts[order], counts[ALONE]) for order in ORDERS}
    # Rounded, as last bits must not decide; of equal orders, the first.
    best = max(ORDERS, key=lambda order: round(gain[order].value, 6))
    scores = ", ".join(f"{order} {format_score(score, len(dev))}" for order, score in f.items())
    if round(gain[best].low, 6) > 0:
        return RulesChoice(best, f"F on dev: {scores}; {best} helps beyond noise.", f, gain, len(dev))
    return RulesChoice(ALONE, f"F on dev: {scores}; rules don't help beyond noise.", f, gain, len(dev))


def read_choice(shipped: Path) -> dict[str, Any]:
    """What `shipping.ship` wrote to rules.json; empty if nothing was shipped."""
    try:
        content = json.loads((shipped / "rules.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def folder_of(training: Path, trained_on: str) -> Path:
    """The folder of the shipped pipeline; without one of this training data, that of the trained one."""
    shipped = training / SHIPPED
    return shipped if read_choice(shipped).get("trained_on") == trained_on else training / trained_on

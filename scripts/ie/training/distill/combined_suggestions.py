"""Model assistance: suggestions of several sources combined into one (slides 82-84)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from ie.core.errors import UserError
from ie.core.settings import Section, read_config, validated
from ie.data.records import Reader, Record, Relation, Span, blank
from ie.data.scheme import Scheme
from ie.evaluation import baselines, systems
from ie.evaluation.scoring import count

COMBINED = "combined"

SourceName = Literal["rules", "model", "llm"]


class CombinationRule(Section):
    """How the sources of a label are combined; see `configs/suggest.cfg` for what each setting means."""

    sources: list[SourceName] = Field(min_length=1)
    combine: Literal["union", "vote", "precedence"]
    votes: int = Field(default=2, ge=1)


@dataclass
class SuggestionSource:
    """What one source says, by text; where it says nothing at all, `missing` tells why and what to do."""

    name: str
    records: dict[str, Record] = field(default_factory=dict)
    missing: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass
class Combined:
    """Suggestions in the order of the texts, and what was left out on the way.

    Attributes:
        outvoted: spans that too few sources gave, or that an earlier source's stood in for.
        overlapped: spans that lost to one they overlap.
        unknown: spans of labels that the scheme hasn't.
    """

    records: list[Record] = field(default_factory=list)
    outvoted: int = 0
    overlapped: int = 0
    unknown: int = 0


def load_rules(path: Path, scheme: Scheme) -> dict[str, CombinationRule]:
    """The rule of each span label.

    Raises:
        UserError: a missing or broken file, a setting that isn't known, a label that isn't in the scheme.
    """
    config = read_config(path)
    default, own = config.pop("default", {}), config.pop("labels", {})
    if config:
        raise UserError(f"{path}: [{next(iter(config))}] is no section of it; it has [default] and [labels].")
    if unknown := [label for label in own if label not in scheme.span_labels]:
        raise UserError(
            f"{path}: [labels.{unknown[0]}] is no span label of {scheme.path} "
            f"({', '.join(scheme.span_labels)}); correct the name or delete the section."
        )
    return {label: _rule(path, label, default, own.get(label, {})) for label in scheme.span_labels}


def _rule(path: Path, label: str, default: dict, own: dict) -> CombinationRule:
    rule = validated(f"{path}: {f'labels.{label}' if own else 'default'}", default | own, CombinationRule)
    if len(set(rule.sources)) < len(rule.sources):
        raise UserError(f"{path}: sources of {label} name one twice; keep one of them.")
    if rule.combine == "vote" and rule.votes > len(rule.sources):
        raise UserError(
            f"{path}: {rule.votes} of the {len(rule.sources)} sources of {label} can't agree; lower votes."
        )
    return rule


def combine(
    texts: Sequence[Record], sources: Sequence[SuggestionSource], rules: Mapping[str, CombinationRule]
) -> Combined:
    """One record a text: the spans that the rules let through, each with the `source` that gave it.

    Several that gave the same span are joined by "+", in the order of `sources`. How a span of the LLM was
    found (`alignment`) stays with it, and so do the LLM's categories and those of its relations whose spans
    were kept. A source that is missing has no vote: where fewer sources than `votes` are there, all of
    them must agree.
    """
    there = [source for source in sources if not source.missing]
    found = Combined()
    for record in texts:
        given = {source.name: source.records.get(record.text) for source in there}
        found.records.append(_combine_one(record, given, rules, found))
    return found


def _combine_one(
    record: Record, given: Mapping[str, Record | None], rules: Mapping[str, CombinationRule], counts: Combined
) -> Record:
    gave: dict[tuple[int, int, str], list[str]] = {}
    alignment: dict[tuple[int, int, str], str] = {}
    for name, answer in given.items():
        for span in answer.spans if answer else []:
            names = gave.setdefault((span.start, span.end, span.label), [])
            if name not in names:
                names.append(name)
            if status := (span.model_extra or {}).get("alignment"):
                alignment[span.start, span.end, span.label] = status
    counts.unknown += sum(label not in rules for _, _, label in gave)
    ranked = []
    for label, rule in rules.items():
        candidates = {
            key: names
            for key, all_names in gave.items()
            if key[2] == label and (names := [name for name in rule.sources if name in all_names])
        }
        kept = _let_through(candidates, rule, sum(name in given for name in rule.sources))
        counts.outvoted += len(candidates) - len(kept)
        ranked += [
            (-len(names), rule.sources.index(names[0]), key[0] - key[1], key, names)
            for key, names in kept.items()
        ]
    spans: list[Span] = []
    for *_, (start, end, label), names in sorted(ranked):
        if any(start < other.end and other.start < end for other in spans):
            counts.overlapped += 1
            continue
        more = {"alignment": alignment[start, end, label]} if (start, end, label) in alignment else {}
        spans.append(Span(start=start, end=end, label=label, source="+".join(names), **more))
    spans.sort(key=lambda span: span.start)
    llm = given.get("llm")
    return Record(
        text=record.text,
        spans=spans,
        relations=_kept_relations(llm, spans) if llm else [],
        cats=llm.cats if llm else {},
        meta=record.meta,
    )


def _let_through(
    candidates: dict[tuple[int, int, str], list[str]], rule: CombinationRule, present: int
) -> dict[tuple[int, int, str], list[str]]:
    """Of the spans of a label in a text, with the sources that gave them, those that the rule accepts."""
    if rule.combine == "union":
        return candidates
    if rule.combine == "vote":
        wanted = min(rule.votes, present)
        return {key: names for key, names in candidates.items() if len(names) >= wanted}
    first = next((s for s in rule.sources if any(s in names for names in candidates.values())), None)
    return {key: names for key, names in candidates.items() if first in names}


def _kept_relations(llm: Record, spans: Sequence[Span]) -> list[Relation]:
    places = {(span.start, span.end, span.label): number for number, span in enumerate(spans)}
    keys = [places.get((span.start, span.end, span.label)) for span in llm.spans]
    ends = ((keys[relation.head], keys[relation.child], relation.label) for relation in llm.relations)
    return [
        Relation(head=head, child=child, label=label)
        for head, child, label in ends
        if head is not None and child is not None
    ]


def from_rules(
    asked: Sequence[Record], lang: str, patterns: str, gazetteer: str, gazetteer_label: str
) -> SuggestionSource:
    """What patterns and known names match; with an empty file of patterns and no names there are none."""
    known = Path(gazetteer) if gazetteer and gazetteer_label else None
    written = Path(patterns) if patterns else None
    if not known and (written is None or (written.exists() and not written.stat().st_size)):
        return SuggestionSource("rules", missing="there are neither patterns nor known names; write some.")
    nlp = baselines.rules(blank(lang), patterns=written, gazetteer=known, label=gazetteer_label)
    answers = baselines.predict_with(nlp)([record.text for record in asked])
    return SuggestionSource("rules", {record.text: record for record in answers})


def from_model(asked: Sequence[Record], folder: Path) -> SuggestionSource:
    """What a trained pipeline predicts."""
    found = systems.run_pipeline("model", "", folder, [record.text for record in asked], repeats=0)
    return SuggestionSource(
        "model", {record.text: record for record in found.predicted or ()}, missing=found.missing
    )


def from_llm(asked: Sequence[Record], path: Path, reader: Reader) -> SuggestionSource:
    """What the LLM answered; a text on which it failed has no answer of it."""
    remedy = "run `weasel run llm-annotate`"
    if not path.exists():
        return SuggestionSource("llm", missing=f"{path}: there is no such file; {remedy}.")
    stored = reader.read(path, allow_empty=True, gold=False)
    usable = {r.text: r for r in stored if not r.llm_error}
    found = {record.text: usable[record.text] for record in asked if record.text in usable}
    if absent := len(asked) - len(found):
        sentence = f"{path}: no usable answer for {absent:,} of {len(asked):,} texts; {remedy}."
        return SuggestionSource("llm", found, *(("", [sentence]) if found else (sentence,)))
    return SuggestionSource("llm", found)


def score(
    gold: Sequence[Record],
    sources: Sequence[SuggestionSource],
    together: Sequence[Record],
    labels: Sequence[str],
) -> dict[str, np.ndarray]:
    """Counts (documents, labels, 3) of each source that is there, and of the combination."""
    answers = {
        source.name: [source.records.get(record.text, Record(text=record.text)) for record in gold]
        for source in sources
        if not source.missing
    }
    return {name: count(gold, found, labels) for name, found in {**answers, COMBINED: together}.items()}

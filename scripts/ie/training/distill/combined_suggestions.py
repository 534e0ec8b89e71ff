"""Suggestions of several sources, combined into one (slides 82-84)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from ie.core.errors import UserError
from ie.core.settings import Section, read_config, validated
from ie.data.language import Lang
from ie.data.records import Reader, Record, Relation, Span, blank
from ie.data.scheme import Scheme
from ie.evaluation import baselines, systems
from ie.evaluation.scoring import count

COMBINED = "combined"

SourceName = Literal["rules", "model", "llm"]


class CombinationRule(Section):
    """How the sources of a label are combined; `configs/suggest.cfg` explains the settings."""

    sources: list[SourceName] = Field(min_length=1)
    combine: Literal["union", "vote", "precedence"]
    votes: int = Field(default=2, ge=1)


@dataclass
class SuggestionSource:
    """The suggestions of one source, by text; if it has none at all, `missing` says why and what to do."""

    name: str
    records: dict[str, Record] = field(default_factory=dict)
    missing: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass
class Combined:
    """Suggestions in the order of the texts, and counts of what was left out.

    Attributes:
        outvoted: spans that too few sources suggested, or that an earlier source replaced.
        overlapped: spans that overlap a better one.
        unknown: spans of labels that aren't in the scheme.
    """

    records: list[Record] = field(default_factory=list)
    outvoted: int = 0
    overlapped: int = 0
    unknown: int = 0


def load_rules(path: Path, scheme: Scheme) -> dict[str, CombinationRule]:
    """The rule of each span label.

    Raises:
        UserError: a missing or broken file, an unknown setting, a label that isn't in the scheme.
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
    """One record per text: the spans that the rules accept, each with its `source`.

    Several sources of the same span are joined by "+", in the order of `sources`. The `alignment` of the
    LLM's spans is kept, and so are its categories, and its relations between spans that are kept. A missing
    source has no vote: with fewer sources than `votes`, all of them must agree.
    """
    available = [source for source in sources if not source.missing]
    combined = Combined()
    for record in texts:
        answers = {source.name: source.records.get(record.text) for source in available}
        combined.records.append(_combine_one(record, answers, rules, combined))
    return combined


def _combine_one(
    record: Record,
    answers: Mapping[str, Record | None],
    rules: Mapping[str, CombinationRule],
    counts: Combined,
) -> Record:
    sources: dict[tuple[int, int, str], list[str]] = {}
    alignment: dict[tuple[int, int, str], str] = {}
    for name, answer in answers.items():
        for span in answer.spans if answer else []:
            names = sources.setdefault((span.start, span.end, span.label), [])
            if name not in names:
                names.append(name)
            if status := (span.model_extra or {}).get("alignment"):
                alignment[span.start, span.end, span.label] = status
    counts.unknown += sum(label not in rules for _, _, label in sources)
    ranked = []
    for label, rule in rules.items():
        candidates = {
            key: names
            for key, all_names in sources.items()
            if key[2] == label and (names := [name for name in rule.sources if name in all_names])
        }
        kept = _let_through(candidates, rule, sum(name in answers for name in rule.sources))
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
    llm = answers.get("llm")
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
    """Those spans of a label in a text, with their sources, that the rule accepts."""
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
    asked: Sequence[Record], lang: Lang, patterns: str, gazetteer: str, gazetteer_label: str
) -> SuggestionSource:
    """Matches of patterns and known names; missing with an empty file of patterns and no names."""
    known = Path(gazetteer) if gazetteer and gazetteer_label else None
    written = Path(patterns) if patterns else None
    if not known and (written is None or (written.exists() and not written.stat().st_size)):
        return SuggestionSource("rules", missing="there are neither patterns nor known names; write some.")
    nlp = baselines.rules(blank(lang), patterns=written, gazetteer=known, label=gazetteer_label)
    answers = baselines.predict_with(nlp)([record.text for record in asked])
    return SuggestionSource("rules", {record.text: record for record in answers})


def from_model(asked: Sequence[Record], folder: Path) -> SuggestionSource:
    """Predictions of a trained pipeline."""
    result = systems.run_pipeline("model", "", folder, [record.text for record in asked], repeats=0)
    return SuggestionSource(
        "model", {record.text: record for record in result.predicted or ()}, missing=result.missing
    )


def from_llm(asked: Sequence[Record], path: Path, reader: Reader) -> SuggestionSource:
    """Stored answers of the LLM, without those of texts on which it failed."""
    remedy = "run `weasel run llm-annotate`"
    if not path.exists():
        return SuggestionSource("llm", missing=f"{path}: there is no such file; {remedy}.")
    stored = reader.read(path, allow_empty=True, gold=False)
    usable = {r.text: r for r in stored if not r.llm_error}
    answers = {record.text: usable[record.text] for record in asked if record.text in usable}
    if absent := len(asked) - len(answers):
        sentence = f"{path}: no usable answer for {absent:,} of {len(asked):,} texts; {remedy}."
        return SuggestionSource("llm", answers, *(("", [sentence]) if answers else (sentence,)))
    return SuggestionSource("llm", answers)


def score(
    gold: Sequence[Record],
    sources: Sequence[SuggestionSource],
    together: Sequence[Record],
    labels: Sequence[str],
) -> dict[str, np.ndarray]:
    """Counts (documents, labels, 3) of each available source, and of the combination."""
    answers = {
        source.name: [source.records.get(record.text, Record(text=record.text)) for record in gold]
        for source in sources
        if not source.missing
    }
    return {name: count(gold, each, labels) for name, each in {**answers, COMBINED: together}.items()}

"""Comparison of systems on the same gold texts: scores with intervals, differences, errors by slice."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ie.core import stats
from ie.core.stats import Estimate, Pair
from ie.core.text import counted
from ie.data.records import Record
from ie.data.scheme import Scored
from ie.evaluation import categories, scoring
from ie.evaluation.scoring import ALL
from ie.evaluation.systems import SystemResult

# If more than this many times the present texts would be needed, no number is recommended.
FAR = 10
# The slice of names that neither the gazetteer nor a training text has.
NEW = "in no list and no training text"


@dataclass
class SystemComparison:
    """The content of tables, JSON files and report.

    `scores` and `counts` are keyed by system name, then by label or "all"; counts are (documents, 3).
    `errors` holds the number of errors by system, label and kind; `kinds` by system, slice and kind.
    Where categories are scored, records hold them as spans over the whole text (`scoring.view`), and
    `overall` has "macro F" and "accuracy" by system.
    """

    gold: list[Record]
    labels: tuple[str, ...]
    words: list[int]
    systems: list[SystemResult]
    counts: dict[str, dict[str, np.ndarray]]
    scores: dict[str, dict[str, tuple[Estimate, Estimate, Estimate]]]
    pairs: list[Pair]
    groups: list[tuple[str, ...]]
    closest: dict[str, Any] | None
    errors: dict[str, dict[str, dict[str, int]]]
    slices: dict[str, dict[str, dict[str, Any]]]
    kinds: dict[str, dict[str, dict[str, int]]]
    scored: Scored = "spans"
    overall: dict[str, dict[str, Estimate]] = field(default_factory=dict)

    @property
    def present(self) -> list[SystemResult]:
        """The systems that have predictions, in order."""
        return [system for system in self.systems if system.predicted is not None]

    def title(self, name: str) -> str:
        """A system's title."""
        return next(system.title for system in self.systems if system.name == name)

    def letters(self, name: str) -> str:
        """Letters of the groups the system belongs to; systems that share a letter can't be told apart."""
        return "".join(chr(ord("a") + i) for i, group in enumerate(self.groups) if name in group)


def compare_systems(
    gold: Sequence[Record],
    train: Sequence[Record],
    systems: Sequence[SystemResult],
    labels: Sequence[str],
    *,
    words: Sequence[int],
    scored: Scored = "spans",
    meta_key: str = "",
    listed: tuple[str, set[str]] | None = None,
    seed: int = 0,
) -> SystemComparison:
    """Score every system that has predictions, and compare every pair of them.

    Args:
        gold: the test records, in the order of the systems' predictions.
        train: what the systems may have been trained on, for seen and unseen strings.
        labels: labels of the scheme; other labels that a system predicts are added.
        scored: what is scored.
        words: number of words of each test text.
        meta_key: key of the records' `meta` by which to slice (writer, genre); "" for none.
        listed: the label of the gazetteer's names, and these; None where there is no gazetteer.
        seed: seed of bootstrap and randomisation.
    """
    gold, train = scoring.view(gold, scored), scoring.view(train, scored)
    systems = [
        system
        if system.predicted is None
        else replace(system, predicted=scoring.view(system.predicted, scored))
        for system in systems
    ]
    predictions = {system.name: system.predicted for system in systems if system.predicted is not None}
    labels = scoring.labels_of([*gold, *(r for records in predictions.values() for r in records)], labels)
    tables = {name: scoring.count(gold, predicted, labels) for name, predicted in predictions.items()}
    scored_labels = scoring.score_labels(tables, labels, seed)
    counts, scores = scored_labels.counts, scored_labels.scores
    micro = {name: by_label[ALL] for name, by_label in counts.items()}
    pairs = stats.compare(micro, seed=seed)
    by_score = sorted(micro, key=lambda name: -_zero(scores[name][ALL][2].value))
    known = scoring.known_strings(train)
    # Where categories are scored, there are no slices by category or by strings in training.
    cuts = [*scoring.by_length(words), *(scoring.by_category(gold) if scored == "spans" else ())]
    cuts += scoring.by_meta(gold, meta_key) if meta_key else []
    slices: dict[str, dict[str, dict[str, Any]]] = {}
    kinds: dict[str, dict[str, dict[str, int]]] = {}
    for name, predicted in predictions.items():
        parts = scoring.by_novelty(gold, predicted, labels, known) if scored == "spans" else {}
        parts = {f"{novelty} in training": part for novelty, part in parts.items()}
        parts |= {cut.name: micro[name][cut.documents] for cut in cuts}
        if listed and scored == "spans":
            label, names = listed
            parts[f"{label}, {NEW}"] = scoring.new_names(gold, predicted, label, train, names)
        slices[name] = {part: _slice(c, seed) for part, c in parts.items()}
        by_slice = scoring.kinds_by_slice(gold, predicted, cuts, known)
        kinds[name] = {part: errors for part, errors in by_slice.items() if part in parts}
    return SystemComparison(
        gold=gold,
        labels=labels,
        words=list(words),
        systems=systems,
        counts=counts,
        scores=scores,
        pairs=pairs,
        groups=stats.groups(by_score, pairs),
        closest=_closest(micro, pairs),
        errors={name: scoring.error_counts(gold, records, labels) for name, records in predictions.items()},
        slices=slices,
        kinds=kinds,
        scored=scored,
        overall={} if scored == "spans" else {name: _overall(table, seed) for name, table in tables.items()},
    )


def _overall(table: np.ndarray, seed: int) -> dict[str, Estimate]:
    return {"macro F": categories.macro(table, seed), "accuracy": categories.accuracy(table, seed)}


def _slice(counts: np.ndarray, seed: int) -> dict[str, Any]:
    concerned = int((counts.sum(axis=1) > 0).sum())
    spans = int(counts[:, stats.TP].sum() + counts[:, stats.FN].sum())
    return {"f": stats.intervals(counts, seed=seed)[2], "documents": concerned, "spans": spans}


def _closest(micro: dict[str, np.ndarray], pairs: Sequence[Pair]) -> dict[str, Any] | None:
    """The pair with the smallest difference among those that can't be told apart.

    Returns:
        `first`, `second`; `more`: about how many more texts would tell them apart, if the measured
        differences are the true ones. If that is None, `why`: "few" (fewer than `stats.ENOUGH` texts), "same"
        (equal scores) or "far" (more than `FAR` times the present texts).
    """
    undecided = [pair for pair in pairs if not pair.differs()]
    if not undecided:
        return None
    pair = min(undecided, key=lambda p: (abs(_zero(p.difference.value)), p.first, p.second))
    n = len(micro[pair.first])
    closest: dict[str, Any] = {"first": pair.first, "second": pair.second, "more": None, "why": None}
    if n < stats.ENOUGH:
        return closest | {"why": "few"}
    total = stats.needed(micro, pair.first, pair.second)
    if math.isinf(total):
        return closest | {"why": "same"}
    if total > FAR * n:
        return closest | {"why": "far"}
    return closest | {"more": max(1, stats.two_digits(total - n))}


def _zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def closest_sentence(comparison: SystemComparison) -> str:
    """One sentence on how many texts would tell the closest pair apart."""
    closest = comparison.closest
    if len(comparison.present) < 2:
        return "There is nothing to compare with: only one system has predictions."
    if closest is None:
        return "All systems differ from each other by more than the noise of these texts."
    first, second = (comparison.title(closest[key]) for key in ("first", "second"))
    n, more, why = len(comparison.gold), closest["more"], closest["why"]
    if why == "few":
        missing = stats.ENOUGH - n
        few = f"{counted(n, 'test text')} {'is' if n == 1 else 'are'} too few"
        return f"{few} to compare {first} and {second}; review {missing:,} more."
    if why == "same":
        return f"Closest: {first} and {second} score the same on these {n:,} texts."
    pair = next(p for p in comparison.pairs if (p.first, p.second) == (closest["first"], closest["second"]))
    apart = stats.format_difference(pair.difference.absolute(), n)
    start = f"Closest: {first} and {second}, {apart} apart in F (n={n:,})."
    if why == "far":
        return f"{start} Showing so small a difference takes more than {FAR} times as many test texts."
    return (
        f"{start} If the measured differences are the true ones, about {more:,} more gold test "
        f"text{'' if more == 1 else 's'} would show it (80 % power)."
    )


def silver_sentence(reviewed_minus_both: Estimate, n: int, part: str) -> str:
    """A warning where training on silver as well scores lower than on reviewed texts alone; "" elsewhere.

    Args:
        reviewed_minus_both: the difference of their F.
        n: number of texts of the part ("dev" or "test") that it was measured on.
    """
    if not reviewed_minus_both.value > 0:
        return ""
    apart = stats.format_difference(reviewed_minus_both, n)
    verdict = "the silver harms" if reviewed_minus_both.low > 0 else "a gain by the silver isn't shown"
    return (
        f"Trained on reviewed texts alone, F is {apart} higher than with silver "
        f"({part}, n={n:,}): {verdict}; keep vars.train_on at reviewed."
    )


def new_names_note(comparison: SystemComparison) -> str:
    """F of each system on names in no list and no training text; "" where there are no such names."""
    for part in comparison.slices[comparison.present[0].name] if comparison.present else ():
        entries = {s.title: comparison.slices[s.name][part] for s in comparison.present}
        n = next(iter(entries.values()))["spans"]
        if part.endswith(NEW) and n:
            scores = (
                f"{title} {stats.format_score(e['f'], n=e['documents'])}" for title, e in entries.items()
            )
            return f"F on the {n:,} spans of {part}: {'; '.join(scores)}."
    return ""


def silver_note(comparison: SystemComparison) -> str:
    """The same warning from the scores on test; "" if there is nothing to warn of."""
    names = ("reviewed", "both")
    if not all(name in comparison.counts for name in names):
        return ""
    counts = (comparison.counts[name][ALL] for name in names)
    return silver_sentence(stats.difference(*counts), len(comparison.gold), "test")


def metrics(comparison: SystemComparison) -> dict[str, Any]:
    """The scores as a JSON object, without timings, so that the same inputs give the same bytes."""
    gold = dict.fromkeys(comparison.labels, 0)
    for record in comparison.gold:
        for span in record.spans:
            gold[span.label] += 1
    systems = {}
    for system in comparison.present:
        by_label: dict[str, Any] = {}
        for label, estimates in comparison.scores[system.name].items():
            tp, fp, fn = (int(x) for x in comparison.counts[system.name][label].sum(axis=0))
            by_label[label] = {}
            for metric, estimate in zip(stats.METRICS, estimates, strict=True):
                by_label[label] |= estimate.flat(metric)
            by_label[label] |= {"gold": tp + fn, "predicted": tp + fp, "correct": tp}
        size = {} if system.mb is None else {"mb": round(system.mb, 1)}
        systems[system.name] = by_label | size
    overall = {
        name: {key: e.rounded() for key, e in estimates.items()}
        for name, estimates in comparison.overall.items()
    }
    return {
        "test": {
            "documents": len(comparison.gold),
            "words": sum(comparison.words),
            "spans": gold,
            "digits": stats.resolved_digits(len(comparison.gold)),
        },
        "systems": systems,
        **({"overall": overall} if overall else {}),
        "missing": {s.name: s.missing for s in comparison.systems if s.predicted is None},
    }


def headline(metrics: dict[str, Any], system: str | None) -> dict[str, float]:
    """The few numbers of `metrics` to compare between commits (`dvc metrics diff`), as one flat object.

    F, P and R of a pipeline, if there is one, with their 95 % intervals, the LLM's F, and `n`, the number of
    test texts. Scores that are not measured or not defined are left out.
    """
    scores = metrics["systems"].get(system, {}).get(ALL, {})
    flat = {f"{m}{end}": scores.get(f"{m}{end}") for m in ("f", "p", "r") for end in ("", "_low", "_high")}
    flat["llm_f"] = metrics["systems"].get("llm", {}).get(ALL, {}).get("f")
    flat["n"] = metrics["test"]["documents"]
    return {name: value for name, value in flat.items() if value is not None}


def analysis(comparison: SystemComparison) -> dict[str, Any]:
    """Comparisons and errors as a JSON object, without timings."""
    return {
        "pairs": [
            {"first": p.first, "second": p.second, "p": round(p.p, 4), "holm": round(p.holm, 4)}
            | p.difference.flat("difference")
            for p in comparison.pairs
        ],
        "groups": [list(group) for group in comparison.groups],
        "closest": comparison.closest,
        "errors": comparison.errors,
        "slices": {
            name: {
                part: entry["f"].flat("f")
                | {"documents": entry["documents"], "spans": entry["spans"]}
                | ({"errors": kinds[part]} if part in (kinds := comparison.kinds[name]) else {})
                for part, entry in parts.items()
            }
            for name, parts in comparison.slices.items()
        },
        "notes": {s.name: s.notes for s in comparison.systems if s.notes},
    }


def speeds(comparison: SystemComparison) -> dict[str, Any]:
    """Words per second as a JSON object: median, slowest and fastest run."""
    words = sum(comparison.words)
    return {
        system.name: {
            "words_per_second": round(middle),
            "slowest": round(low),
            "fastest": round(high),
            "runs": len(system.seconds),
            "words": system.timed_words or words,
        }
        for system in comparison.present
        if (rates := system.words_per_second(words))
        for middle, low, high in [rates]
    }

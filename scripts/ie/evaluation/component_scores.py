"""Scores of the components after the entities, each as a table for people and as figures for a file."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spacy.language import Language

from ie.core import stats
from ie.core.errors import UserError
from ie.core.stats import FP, TP, Estimate, format_score
from ie.data import corpora, records
from ie.data.records import Record
from ie.data.scheme import Scheme
from ie.evaluation import amounts, categories, database_rows, links, relations, scoring
from ie.evaluation.links import NIL, LinkResult

SYSTEMS = {
    "gold": "component, gold entities",
    "majority": "majority, gold entities",
    "rule": "nearest pair, gold entities",
    "predicted": "component, predicted entities",
    "rule predicted": "nearest pair, predicted entities",
}
LINK_PARTS = {
    "all": "all mentions",
    "linked": "in the table",
    "ambiguous": "  of them with several best matches",
    "other": "  the others",
}


@dataclass(frozen=True)
class ComponentReport:
    """What is printed and written of one component."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]
    figures: Mapping[str, Any]
    errors: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


def score_amounts(nlp: Language, paths: Sequence[Path], label: str, seed: int) -> ComponentReport:
    """Amounts and currencies of gold spans, both exactly; a row per file.

    Raises:
        UserError: the last file, test, has no span with a value.
    """
    judged = {}
    for path in paths:
        gold = records.read_records(
            path, tokenizer=nlp.tokenizer, misaligned="snap", duplicates="first", allow_empty=True
        )
        judged[str(path)] = amounts.judge(nlp, records.accepted(gold), label, path)
    if not judged[str(paths[-1])]:
        raise UserError(
            f"{paths[-1]}: no {label} span has a value to compare with; add some, as in 5000000 USD."
        )
    judged = {path: results for path, results in judged.items() if results}
    scored = {path: amounts.score(results, seed) for path, results in judged.items()}
    figures = {}
    for path, results in judged.items():
        amounts_by_rule = Counter(rule for one in results for rule in _rules(one))
        right = Counter(rule for one in results if one.right for rule in _rules(one))
        share = scored[path].as_dict()
        figures[path] = {
            "amounts": len(results),
            "texts": _texts(results),
            "right": share.pop("value"),
            **share,
            "rules": {
                rule: {"amounts": n, "right": right[rule]} for rule, n in sorted(amounts_by_rule.items())
            },
        }
    rows = [
        (
            path,
            f"{len(results):,}",
            f"{sum(one.right for one in results):,}",
            _shown(scored[path], _texts(results)),
        )
        for path, results in judged.items()
    ]
    errors = [
        {"file": path, **one.row()} for path, results in judged.items() for one in results if not one.right
    ]
    note = "Amount and currency both exact; ± = 95 % bootstrap interval over texts."
    return ComponentReport(("file", "amounts", "right", "share"), rows, [note], figures, errors)


def _rules(judged: amounts.AmountResult) -> list[str]:
    """The rules by which an amount was read; a reason without the piece it names."""
    return [rule.partition(":")[0] for rule in judged.answer["rule"].split(", ")]


def score_links(nlp: Language, test: Path, names: Mapping[str, str], seed: int) -> ComponentReport:
    """Links of gold mentions: to the right entry, and to none where there is none; beside the look-up alone.

    Args:
        names: names of the table's entries by id, for the list of errors.

    Raises:
        UserError: no mention has a link.
    """
    linker = nlp.get_pipe("linker")
    gold = records.accepted(records.read_records(test, tokenizer=nlp.tokenizer, allow_empty=True))
    mentions = links.mentions(nlp, gold, linker.cfg["labels"])
    if not mentions:
        raise UserError(f"{test}: no span has a kb_id to compare with; add some, or NIL where there is none.")
    judged = {"linker": links.judge(linker, mentions)}
    # The look-up alone: the candidate whose name matches best, the first of equals.
    model, linker.model = linker.model, {}
    judged["best match"] = links.judge(linker, mentions)
    linker.model = model
    figures = {name: _link_figures(results, seed) for name, results in judged.items()}
    rows = [
        (title, f"{figures['linker'][part]['mentions']:,}", *(_right(one, part) for one in figures.values()))
        for part, title in LINK_PARTS.items()
        if part in figures["linker"]
    ]
    if all("nil" in one for one in figures.values()):
        n = f"{figures['linker']['nil']['mentions']:,}"
        for metric, title in {"p": "NIL: precision", "r": "NIL: recall"}.items():
            rows.append((title, n, *(one["nil"][metric]["shown"] for one in figures.values())))
    errors = [one.row(names) for one in judged["linker"] if not one.right]
    return ComponentReport(("right", "mentions", *figures), rows, [], figures, errors)


def _link_figures(judged: Sequence[LinkResult], seed: int) -> dict[str, dict]:
    """Shares of right answers among all, linked and ambiguous mentions; P, R and F of NIL."""
    linked = [one for one in judged if one.mention.gold != NIL]
    parts = {
        "all": judged,
        "linked": linked,
        "ambiguous": [one for one in linked if one.ambiguous],
        "other": [one for one in linked if not one.ambiguous],
    }
    figures: dict[str, dict] = {
        name: {"mentions": len(part), "right": _measured(links.share(part, seed), part)}
        for name, part in parts.items()
        if part
    }
    if of_nil := [one for one in judged if NIL in (one.mention.gold, one.answer)]:
        scores = zip("prf", links.nil(judged, seed), strict=True)
        figures["nil"] = {"mentions": sum(one.mention.gold == NIL for one in judged)} | {
            name: _measured(estimate, of_nil) for name, estimate in scores
        }
    return figures


def _measured(estimate: Estimate, judged: Sequence[LinkResult]) -> dict[str, Any]:
    n = len({one.mention.record.text for one in judged})
    return estimate.as_dict() | {"texts": n, "shown": _shown(estimate, n)}


def _right(figures: Mapping[str, dict], part: str) -> str:
    return figures[part]["right"]["shown"]


def score_relations(
    nlp: Language,
    entities: Callable[[Sequence[Record]], list[Record]],
    train: Path,
    test: Path,
    labels: Scheme,
    blank: Language,
    seed: int,
) -> ComponentReport:
    """P, R and F of each relation on gold and on predicted entities, beside two baselines.

    Args:
        entities: gives records the entities that the pipeline finds in them.
    """
    known = corpora.load(train, blank, labels)
    corpora.require_labels(train, known, labels, "relation")
    gold = corpora.load(test, blank, labels)
    predicted, habits = entities(gold), relations.habits(known)
    answers = {
        "gold": relations.predict(nlp, gold),
        "majority": [relations.by_majority(record, habits) for record in gold],
        "rule": [relations.by_rule(record, habits) for record in gold],
        "predicted": relations.predict(nlp, predicted),
        "rule predicted": [relations.by_rule(record, habits) for record in predicted],
    }
    scored = relations.score(gold, answers, labels.relation_labels, seed)
    rows = [[SYSTEMS.get(row[0], ""), *row[1:]] for row in relations.rows(scored, len(gold))]
    apart = stats.difference(*(scored.counts[name][scoring.ALL] for name in ("gold", "rule")), seed=seed)
    notes = [
        f"Exact relations (label, and edges and labels of both ends) on {len(gold):,} test texts; n = "
        "annotated relations, ± = 95 % bootstrap interval over texts.",
        f"On gold entities its F is {stats.format_difference(apart, len(gold))} above that of the rule.",
    ]
    figures = {"test_documents": len(gold), "systems": relations.figures(scored)}
    return ComponentReport(("system", "relation", "n", "P", "R", "F"), rows, notes, figures)


def score_categories(
    nlp: Language, train: Path, test: Path, labels: Scheme, blank: Language, seed: int
) -> ComponentReport:
    """P, R and F of each category, their mean, and accuracy, beside the most frequent category.

    Raises:
        UserError: no test text has exactly one category.
    """
    known = corpora.load(train, blank, labels)
    corpora.require_labels(train, known, labels, "category")
    everything = corpora.load(test, blank, labels)
    gold = [record for record in everything if corpora.category_of(record)]
    if not gold:
        raise UserError(f"{test}: no text has one category; review some, then run `weasel run split`.")
    right = [corpora.category_of(record) for record in gold]
    answers = {
        "component": categories.predict(nlp, gold),
        "majority": categories.majority(known, len(gold)),
    }
    rows: list[list[str]] = []
    systems: dict[str, dict] = {name: {} for name in answers}
    for name, predicted in answers.items():
        counts = categories.count(right, predicted, labels.categories)
        for label, (n, estimate) in categories.table(counts, labels.categories, seed).items():
            three = estimate if isinstance(estimate, tuple) else (None, None, estimate)
            cells = [_shown(one, len(gold)) if one else "" for one in three]
            rows.append([name if not systems[name] else "", label, f"{n:,}", *cells])
            systems[name][label] = {"n": n} | {
                metric: one.rounded() for metric, one in zip(stats.METRICS, three, strict=True) if one
            }
    notes = [
        f"{len(gold):,} test texts with one category; n = texts of the category, macro = mean F of the "
        "categories, accuracy in the column F, ± = 95 % bootstrap interval over texts."
    ]
    if lost := len(everything) - len(gold):
        notes.append(f"{lost:,} test texts do not have exactly one category and are not counted.")
    figures = {"test_documents": len(gold), "systems": systems}
    return ComponentReport(("system", "category", "n", "P", "R", "F"), rows, notes, figures)


def score_rows(nlp: Language, test: Path, seed: int) -> ComponentReport:
    """Exact database rows of the assembled pipeline, and what each component costs of them."""
    names = database_rows.components(nlp)
    if database_rows.RELATIONS not in names:
        raise UserError(
            "the pipeline has no relations, so there are no rows; run `weasel run assemble` with them."
        )
    gold = corpora.load(test, nlp)
    base, costs = database_rows.budget(nlp, gold)
    n = len(gold)
    table, figures = [], {}
    for name, counts in (("", base), *((cost.component, cost.counts) for cost in costs)):
        estimates = stats.intervals(counts, seed=seed)
        exact, spurious, missing = map(int, counts.sum(axis=0))
        gain = f"{exact - int(base[:, TP].sum()):+,}" if name else ""
        spared = f"{spurious - int(base[:, FP].sum()):+,}" if name else ""
        table.append(
            [f"gold {name}" if name else "as it is", f"{exact:,}", gain, f"{spurious:,}", spared]
            + [_shown(one, n) for one in estimates]
        )
        figures[name or "pipeline"] = {"exact": exact, "spurious": spurious, "missing": missing} | {
            metric: one.rounded() for metric, one in zip(stats.METRICS, estimates, strict=True)
        }
    kinds = {"linker": "the linked entries", "money": "the amounts with currency"}
    more = [kinds[name] for name in names if name in kinds]
    whole = int((base[:, 1:].sum(axis=1) == 0).sum())
    note = (
        f"{int(base[:, [0, 2]].sum()):,} rows of {n:,} test texts; a row is a relation with the edges and "
        f"labels of both ends{', ' if more else ''}{' and '.join(more)}. All rows are right in {whole:,} "
        "texts. Below the first line one component at a time is replaced by gold: the gain is its cost."
    )
    header = ("", "exact", "", "spurious", "", "P", "R", "F")
    return ComponentReport(
        header,
        table,
        [note],
        {"test_documents": n, "components": names, "whole_texts": whole, "rows": figures},
    )


def _texts(judged: Sequence[Any]) -> int:
    """The number of texts behind these answers: the n of the interval."""
    return len({one.record.text for one in judged})


def _shown(estimate: Estimate, documents: int) -> str:
    return format_score(estimate, documents=documents)

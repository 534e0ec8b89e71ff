"""Scores of the components after the entities, each as a table for the terminal and as figures for a file."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from spacy.language import Language

from ie.core import stats
from ie.core.errors import UserError
from ie.core.stats import FP, TP, Estimate, format_score
from ie.data import corpora, records
from ie.data.records import Record
from ie.data.scheme import Scheme
from ie.evaluation import amounts, baselines, categories, database_rows, links, relations, scoring
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


class NothingToCompare(UserError):
    """Gold has no answers of this kind."""


@dataclass(frozen=True)
class ComponentReport:
    """What is printed and written of one component."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]
    figures: Mapping[str, Any]
    errors: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


def score_amounts(nlp: Language, paths: Sequence[Path], label: str, seed: int) -> ComponentReport:
    """Amounts and currencies of gold spans, both exactly; one row per file. The last file is test."""
    judged = {}
    for path in paths:
        gold = records.read_records(
            path, tokenizer=nlp.tokenizer, misaligned="snap", duplicates="first", allow_empty=True
        )
        judged[str(path)] = amounts.judge(nlp, records.accepted(gold), label, path)
    if not judged[str(paths[-1])]:
        raise NothingToCompare(
            f"{paths[-1]}: no {label} span has a value to compare with; add some, as in 5000000 USD."
        )
    judged = {path: results for path, results in judged.items() if results}
    figures, rows, errors = {}, [], []
    for path, results in judged.items():
        share = scoring.share_right(results, seed)
        amounts_by_rule = Counter(rule for one in results for rule in _rules(one))
        right = Counter(rule for one in results if one.right for rule in _rules(one))
        figures[path] = {
            "amounts": len(results),
            "texts": _texts(results),
            "right": round(share.value, 4),
            "low": round(share.low, 4),
            "high": round(share.high, 4),
            "rules": {
                rule: {"amounts": n, "right": right[rule]} for rule, n in sorted(amounts_by_rule.items())
            },
        }
        n_right = sum(one.right for one in results)
        rows.append((path, f"{len(results):,}", f"{n_right:,}", _shown(share, _texts(results))))
        errors += [{"file": path, **one.row()} for one in results if not one.right]
    note = "Amount and currency both exact; ± = 95 % bootstrap interval over texts."
    return ComponentReport(("file", "amounts", "right", "share"), rows, [note], figures, errors)


def _rules(judged: amounts.AmountResult) -> list[str]:
    """The rules by which an amount was read, without what each of them matched."""
    return [rule.partition(":")[0] for rule in judged.answer["rule"].split(", ")]


def score_links(nlp: Language, test: Path, names: Mapping[str, str], seed: int) -> ComponentReport:
    """Links of gold mentions, also to no entry (NIL), compared with those of the look-up alone.

    Args:
        names: names of the table's entries by id, for the list of errors.
    """
    linker = nlp.get_pipe("linker")
    gold = records.accepted(records.read_records(test, tokenizer=nlp.tokenizer, allow_empty=True))
    mentions = links.mentions(nlp, gold, linker.cfg["labels"])
    if not mentions:
        raise NothingToCompare(
            f"{test}: no span has a kb_id to compare with; add some, or NIL where there is none."
        )
    judged = {"linker": links.judge(linker, mentions)}
    # The look-up alone: the candidate whose name matches best.
    model, linker.model = linker.model, {}
    judged["best match"] = links.judge(linker, mentions)
    linker.model = model
    figures = {name: _link_figures(results, seed) for name, results in judged.items()}
    rows = [
        (
            title,
            f"{figures['linker'][part]['mentions']:,}",
            *(one[part]["right"]["shown"] for one in figures.values()),
        )
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
        name: {"mentions": len(part), "right": _measured(scoring.share_right(part, seed), part)}
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
    n = _texts(judged)
    return estimate.as_dict() | {"texts": n, "shown": _shown(estimate, n)}


def score_relations(
    nlp: Language,
    entities: Callable[[Sequence[Record]], list[Record]],
    train: Path,
    test: Path,
    labels: Scheme,
    blank: Language,
    seed: int,
) -> ComponentReport:
    """P, R and F of each relation on gold and on predicted entities, compared with two baselines.

    Args:
        entities: replaces the entities of records by those the pipeline predicts.
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
    tables = {
        name: relations.count(gold, records, labels.relation_labels) for name, records in answers.items()
    }
    scored = scoring.score_labels(tables, labels.relation_labels, seed)
    rows = [[SYSTEMS.get(row[0], ""), *row[1:]] for row in scored.rows()]
    apart = stats.difference(*(scored.counts[name][scoring.ALL] for name in ("gold", "rule")), seed=seed)
    notes = [
        f"Exact relations (label, and edges and labels of both ends) on {len(gold):,} test texts; n = "
        "annotated relations, ± = 95 % bootstrap interval over texts.",
        f"On gold entities its F is {stats.format_difference(apart, len(gold))} above that of the rule.",
    ]
    systems = scored.figures()
    for name, by_label in systems.items():
        for label, one in by_label.items():
            one |= _sums(scored.counts[name][label], "correct")
    figures = {"test_documents": len(gold), "systems": systems}
    return ComponentReport(("system", "relation", "n", "P", "R", "F"), rows, notes, figures)


def score_categories(
    nlp: Language, train: Path, test: Path, labels: Scheme, blank: Language, seed: int
) -> ComponentReport:
    """P, R and F of each category, their mean, and accuracy, next to a regression on TF-IDF and the most
    frequent category."""
    known = corpora.load(train, blank, labels)
    corpora.require_labels(train, known, labels, "category")
    everything = corpora.load(test, blank, labels)
    gold = [record for record in everything if corpora.category_of(record)]
    if not gold:
        raise NothingToCompare(f"{test}: no text has one category; review some, then run `weasel run split`.")
    n, texts = len(gold), [record.text for record in gold]
    most_frequent = categories.most_frequent(list(filter(corpora.category_of, known)), "category")
    answers = {
        "component": baselines.predict_with(nlp)(texts),
        "TF-IDF": categories.tfidf_regression(known, texts, exclusive=True),
        "majority": [Record(text=r.text, cats=dict.fromkeys(most_frequent, 1)) for r in gold],
    }
    right = scoring.view(gold, "category")
    rows, systems, counts = [], {}, {}
    for name, predicted in answers.items():
        table = scoring.count(right, scoring.view(predicted, "category"), labels.categories)
        counts[name] = table.sum(axis=1)
        scored = scoring.score_labels({name: table}, labels.categories, seed)
        # Each text has one right and one predicted category, so micro F is the accuracy.
        overall = {"macro": categories.macro(table, seed), "accuracy": scored.scores[name][scoring.ALL][2]}
        rows += scored.rows()[:-1]
        rows += [["", label, f"{n:,}", "", "", _shown(one, n)] for label, one in overall.items()]
        systems[name] = {
            label: {"n": scored.annotated(name, label)} | scored.figures()[name][label]
            for label in labels.categories
        } | {label: {"n": n, "f": one.rounded()} for label, one in overall.items()}
    notes = [
        f"{len(gold):,} test texts with one category; n = texts of the category, macro = mean F of the "
        "categories, accuracy in the column F, ± = 95 % bootstrap interval over texts. TF-IDF: a logistic "
        "regression on character n-grams."
    ]
    apart = stats.difference(counts["component"], counts["TF-IDF"], seed=seed)
    notes.append(f"The component's accuracy minus that of TF-IDF is {stats.format_difference(apart, n)}.")
    if lost := len(everything) - len(gold):
        notes.append(f"{lost:,} test texts do not have exactly one category and are not counted.")
    figures = {"test_documents": len(gold), "systems": systems}
    return ComponentReport(("system", "category", "n", "P", "R", "F"), rows, notes, figures)


def score_rows(nlp: Language, test: Path, seed: int) -> ComponentReport:
    """Exact database rows of the assembled pipeline, and those with each component replaced by gold."""
    if database_rows.RELATIONS not in database_rows.components(nlp):
        raise UserError(
            "the pipeline has no relations, so there are no rows; run `weasel run assemble` with them."
        )
    gold = corpora.load(test, nlp)
    names = database_rows.compared(nlp, gold)
    base, costs = database_rows.budget(nlp, gold)
    n = len(gold)
    table, figures = [], {}
    for name, counts in (("", base), *((cost.component, cost.counts) for cost in costs)):
        estimates = stats.intervals(counts, seed=seed)
        exact, spurious, _ = counts.sum(axis=0)
        gain = f"{exact - int(base[:, TP].sum()):+,}" if name else ""
        spared = f"{spurious - int(base[:, FP].sum()):+,}" if name else ""
        table.append(
            [f"gold {name}" if name else "as it is", f"{exact:,}", gain, f"{spurious:,}", spared]
            + [_shown(one, n) for one in estimates]
        )
        figures[name or "pipeline"] = _sums(counts, "exact") | stats.prf_figures(estimates)
    kinds = {"linker": "the linked entries", "money": "the amounts with currency"}
    more = [kinds[name] for name in names if name in kinds]
    whole = int((base[:, 1:].sum(axis=1) == 0).sum())
    note = (
        f"{int(base[:, [0, 2]].sum()):,} rows of {n:,} test texts; a row is a relation with the edges and "
        f"labels of both ends{', ' if more else ''}{' and '.join(more)}. All rows are right in {whole:,} "
        "texts. Below the first line one component at a time is replaced by gold: the gain is its cost."
    )
    header = ("", "exact", "", "spurious", "", "P", "R", "F")
    summary = {"test_documents": n, "components": names, "whole_texts": whole, "rows": figures}
    return ComponentReport(header, table, [note], summary)


def _sums(counts: np.ndarray, correct: str) -> dict[str, int]:
    """Sums of counts (documents, 3) for a JSON file; `correct` is the name of the true positives."""
    return dict(zip((correct, "spurious", "missing"), map(int, counts.sum(axis=0)), strict=True))


def _texts(judged: Sequence[Any]) -> int:
    """The number of texts behind these answers: the n of the interval."""
    return len({one.record.text for one in judged})


def _shown(estimate: Estimate, documents: int) -> str:
    return format_score(estimate, documents=documents)

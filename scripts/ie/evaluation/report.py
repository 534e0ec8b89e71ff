"""The evaluation as terminal tables, a figure and an HTML page."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from ie.core import stats
from ie.core.text import counted, text_table
from ie.data.records import Record
from ie.evaluation import comparison, scoring
from ie.evaluation.comparison import SystemComparison
from ie.evaluation.scoring import ALL
from ie.reports.figures import COLOURS, STYLE, figure, svg
from ie.reports.html import Answer, PageLink, label_colours, marked, page


def scores_figure(result: SystemComparison) -> Figure:
    """F of every system with its interval, over all labels and for each label."""
    present = result.present
    panels = [ALL, *result.labels]
    with matplotlib.rc_context(STYLE):
        drawing = figure(2.2 + 2.4 * len(panels), 0.9 + 0.34 * len(present))
        axes = drawing.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for panel, (axis, label) in enumerate(zip(axes, panels, strict=True)):
            for row, system in enumerate(present):
                estimate = result.scores[system.name][label][2]
                if math.isnan(estimate.value):
                    continue
                reach = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
                axis.errorbar(
                    estimate.value, row, xerr=reach, fmt="o", color=COLOURS[panel % len(COLOURS)], capsize=3
                )
            what = "spans" if result.scored == "spans" else "categories"
            axis.set_title(f"{label} (n={annotated(result, label):,} {what})", fontsize=9)
            axis.set_xlim(-0.02, 1.02)
            axis.set_xlabel("F")
            axis.grid(axis="x", alpha=0.3)
        axes[0].set_yticks(range(len(present)), [system.title for system in present])
        axes[0].invert_yaxis()
    return drawing


def annotated(result: SystemComparison, label: str) -> int:
    """Spans or categories of a label, or of all, in gold."""
    return sum(label in (span.label, ALL) for record in result.gold for span in record.spans)


def scores_table(result: SystemComparison) -> str:
    """The systems one below the other, as a table for a terminal of 80 columns."""
    n, total = len(result.gold), sum(result.words)
    rows: list[list[str] | str] = []
    for system in result.present:
        facts = [f"group {result.letters(system.name)}"]
        if rates := system.words_per_second(total):
            facts.append(f"{format_rate(rates)} words/s")
        if system.mb is not None:
            facts.append(f"{format_megabytes(system.mb)} MB")
        rows.append(f"{system.title} ({'; '.join(facts)})")
        for label in (*result.labels, ALL):
            tp, _, fn = result.counts[system.name][label].sum(axis=0)
            scores = [stats.format_score(e, documents=n) for e in result.scores[system.name][label]]
            rows.append([f"  {label}", f"{tp + fn:,}", *scores])
    rows += [f"{system.title}: missing" for system in result.systems if system.predicted is None]
    return text_table(rows, ("System, label", "n", "P", "R", "F"), "lrlll")


OVERALL_HEADER = ("System", "Macro F", "Accuracy")


def overall_rows(result: SystemComparison) -> list[tuple[str, ...]]:
    """Macro F and accuracy of each system, where categories are scored."""
    n = len(result.gold)
    return [
        (result.title(name), *(stats.format_score(e, documents=n) for e in estimates.values()))
        for name, estimates in result.overall.items()
    ]


def overall_table(result: SystemComparison) -> str:
    """The same as a table for the terminal."""
    return text_table(overall_rows(result), OVERALL_HEADER)


def unit_of_n(result: SystemComparison) -> str:
    """The unit of a label's n."""
    return "annotated spans" if result.scored == "spans" else "texts of the category"


def scores_notes(result: SystemComparison) -> list[str]:
    """Explanations of the table, one sentence each."""
    n = len(result.gold)
    what = "Exact spans on" if result.scored == "spans" else "Categories of"
    notes = [
        f"{what} {n:,} gold test texts, the same for every system; n = {unit_of_n(result)}, all = micro "
        f"average, ± = {stats.CONFIDENCE * 100:.0f} % bootstrap interval over texts."
    ]
    if result.overall:
        notes.append(
            "Macro F = mean of the categories' F; accuracy = share of texts with no wrong and no missing "
            "category."
        )
    if len(result.present) > 1:
        notes.append(
            "Systems that share a group letter can't be told apart in F (paired approximate randomisation, "
            f"Holm-corrected over {len(result.pairs)} pairs, p ≥ .05, n={n:,})."
        )
        notes.append(comparison.closest_sentence(result))
    notes += filter(None, (comparison.new_names_note(result), comparison.silver_note(result)))
    places = stats.resolved_digits(n)
    digits = f"{'supports' if n == 1 else 'support'} {places or 'no'} digit{'s' if places > 1 else ''}"
    need = f"; {places + 1} {'take' if places else 'takes'} about {stats.documents_for(places + 1):,}"
    notes.append(f"{counted(n, 'text')} {digits}{need if places < 3 else ''}.")
    for system in result.systems:
        if system.predicted is None:
            notes.append(f"{system.title} is missing: {system.missing}")
        notes += [f"{system.title}: {note}" for note in system.notes]
    return notes


def format_rate(rates: tuple[float, float, float] | None) -> str:
    """Words per second of the median, slowest and fastest run, to two digits: `11,000 ±400`."""
    if rates is None:
        return "–"
    middle, low, high = rates
    spread = max(high - middle, middle - low)
    text = f"{stats.two_digits(middle):,}"
    return f"{text} ±{stats.two_digits(spread):,}" if spread else text


def format_megabytes(mb: float | None) -> str:
    """Megabytes, with one digit after the point below 10: `3.6`, `253`, `<.1`."""
    if mb is None:
        return "–"
    return "<.1" if mb < 0.05 else f"{mb:.1f}" if mb < 10 else f"{mb:,.0f}"


def evaluation_page(
    result: SystemComparison,
    *,
    inspected: str,
    documents: int = 30,
    answer: Answer | None = None,
    links: Sequence[PageLink] = (),
) -> str:
    """The report of an evaluation.

    Args:
        inspected: name of the system whose worst documents are shown.
        documents: number of documents shown.
        answer: what the page says first. links: to other pages.
    """
    n, words = len(result.gold), sum(result.words)
    system = next(system for system in result.present if system.name == inspected)
    assert system.predicted is not None
    colours = label_colours(result.labels)
    show, describe = (lambda record: marked(record, colours)), describe_error
    if result.scored != "spans":
        show, describe = after_categories, describe_category_error
    worst = [
        {
            "id": result.gold[i].title,
            "gold": show(result.gold[i]),
            "predicted": show(system.predicted[i]),
            "errors": [
                describe(result.gold[i], error)
                for error in scoring.errors(result.gold[i], system.predicted[i])
            ],
        }
        for i in scoring.worst(result.gold, system.predicted, documents)
    ]
    return page(
        "report.html.j2",
        answer=answer,
        links=links,
        result=result,
        n=n,
        notes=scores_notes(result),
        picture=svg(scores_figure(result), "scores", f"F of each system with its interval, {n} test texts"),
        cells={
            name: {label: [stats.format_score(e, documents=n) for e in scores[label]] for label in scores}
            for name, scores in result.scores.items()
        },
        spans={label: annotated(result, label) for label in (*result.labels, ALL)},
        rates={s.name: format_rate(s.words_per_second(words)) for s in result.present},
        sizes={s.name: format_megabytes(s.mb) for s in result.present},
        groups=[(chr(ord("a") + i), [result.title(name) for name in g]) for i, g in enumerate(result.groups)],
        pairs=[
            {
                "first": result.title(p.first),
                "second": result.title(p.second),
                "difference": stats.format_difference(p.difference, n),
                "p": stats.format_p(p.p),
                "holm": stats.format_p(p.holm),
                "verdict": "differ" if p.differs() else "not told apart",
            }
            for p in result.pairs
        ],
        slices=slice_rows(result),
        kinds=scoring.KINDS,
        places=result.kinds[system.name],
        all_label=ALL,
        unit=unit_of_n(result),
        overall=overall_rows(result),
        overall_header=OVERALL_HEADER,
        inspected=system.title,
        worst=worst,
        wrong=sum(bool(scoring.errors(g, p)) for g, p in zip(result.gold, system.predicted, strict=True)),
    )


def slice_rows(result: SystemComparison) -> list[dict[str, Any]]:
    """One row per slice: its name, number of spans, and each system's F in it."""
    first = result.present[0].name
    rows = []
    for part in result.slices[first]:
        cells, spans = [], result.slices[first][part]["spans"]
        for system in result.present:
            entry = result.slices[system.name][part]
            cells.append(stats.format_score(entry["f"], n=entry["documents"]))
        rows.append({"name": part, "spans": spans, "cells": cells})
    return rows


def describe_error(record: Record, error: scoring.Error) -> str:
    """An error in words: `boundary: COMPANY "Velto" for "Velto GmbH"`."""
    gold, predicted = (
        f'{span.label} "{record.text[span.start : span.end]}"' if span else ""
        for span in (error.gold, error.predicted)
    )
    if gold and predicted:
        return f"{error.kind}: {predicted} for {gold}"
    return f"{error.kind}: {gold or predicted}"


def after_categories(record: Record) -> Markup:
    """A text with its categories, which are spans over the whole text, in front."""
    names = ", ".join(sorted(span.label for span in record.spans)) or "no category"
    return Markup("<strong>{}</strong> {}").format(names, record.text)


def describe_category_error(record: Record, error: scoring.Error) -> str:
    """A wrong category in words: `RESULTS for FUNDING`, `missing: OTHER`."""
    if error.gold and error.predicted:
        return f"{error.predicted.label} for {error.gold.label}"
    return f"{error.kind}: {error.label}"

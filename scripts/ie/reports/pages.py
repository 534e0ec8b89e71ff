"""What people look at: terminal tables, pictures, and pages that need nothing beside themselves.

Same figures, same bytes: no dates, no random ids, a font that comes with matplotlib.
"""

import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from spacy import displacy
from wasabi import table

from ie.core import stats
from ie.data.records import Record
from ie.evaluation import scoring, systems
from ie.evaluation.systems import ALL, Evaluation

TEMPLATES = Path(__file__).parent / "templates"
# Okabe and Ito's colours, told apart with any kind of colour vision; tints of them behind text.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
TINTS = ("#9fd0ee", "#f7d48a", "#8fd9bf", "#ecc6da", "#c3e4f7", "#f2b58c", "#f8f2a8", "#d0d0d0")
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "path.simplify": False,
}


def page(template: str, **values: Any) -> str:
    """A self-contained HTML page from a template of this folder; what isn't Markup is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    return environment.get_template(template).render(**values)


def visible(text: str) -> str:
    """A token's text with its blanks to be seen."""
    return text.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "␣")


def label_colours(labels: Sequence[str]) -> dict[str, str]:
    """A tint for each label, by its name in capitals, as displaCy wants it."""
    return {label.upper(): TINTS[i % len(TINTS)] for i, label in enumerate(labels)}


def svg(figure: Figure, name: str, description: str) -> Markup:
    """A figure as inline SVG; `name` keeps its ids apart from those of other pictures on the page."""
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    label = f'<svg role="img" aria-label="{escape(description)}"'
    return Markup(drawing.replace("<svg", label, 1))


def png(figure: Figure) -> bytes:
    """A figure as PNG, without the version of the software in it."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def figure(width: float, height: float) -> Figure:
    """An empty figure in the style of the project; sizes in inches."""
    with matplotlib.rc_context(STYLE):
        return Figure(figsize=(width, height), layout="constrained")


def scores_figure(result: Evaluation) -> Figure:
    """F of every system with its interval, all labels together and each label apart."""
    present = result.present
    panels = [ALL, *result.labels]
    with matplotlib.rc_context(STYLE):
        drawing = figure(2.2 + 2.4 * len(panels), 0.9 + 0.34 * len(present))
        axes = drawing.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for panel, (axis, label) in enumerate(zip(axes, panels, strict=True)):
            for row, answer in enumerate(present):
                estimate = result.scores[answer.name][label][2]
                if math.isnan(estimate.value):
                    continue
                reach = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
                axis.errorbar(
                    estimate.value, row, xerr=reach, fmt="o", color=COLOURS[panel % len(COLOURS)], capsize=3
                )
            spans = sum(span.label == label or label == ALL for r in result.gold for span in r.spans)
            what = "spans" if result.scored == "spans" else "categories"
            axis.set_title(f"{label} (n={spans:,} {what})", fontsize=9)
            axis.set_xlim(-0.02, 1.02)
            axis.set_xlabel("F")
            axis.grid(axis="x", alpha=0.3)
        axes[0].set_yticks(range(len(present)), [answer.title for answer in present])
        axes[0].invert_yaxis()
    return drawing


def scores_table(result: Evaluation) -> str:
    """The systems side by side, as text for a terminal."""
    n = len(result.gold)
    header = ["System", "Label", "n", "P", "R", "F", "Group", "Words/s", "MB"]
    rows: list[list[str]] = []
    total = sum(result.words)
    for answer in result.answers:
        if answer.predicted is None:
            rows.append([answer.title, "missing", *[""] * 7])
            continue
        for label in (*result.labels, ALL):
            tp, _, fn = result.counts[answer.name][label].sum(axis=0)
            scores = [stats.format_score(e, documents=n) for e in result.scores[answer.name][label]]
            last = label == ALL
            rows.append(
                [
                    answer.title if label == (*result.labels, ALL)[0] else "",
                    label,
                    f"{tp + fn:,}",
                    *scores,
                    result.letters(answer.name) if last else "",
                    rate(systems.words_per_second(answer, total)) if last else "",
                    size(answer.mb) if last else "",
                ]
            )
    aligns = ("l", "l", "r", "l", "l", "l", "l", "r", "r")
    return table(rows, header=header, divider=True, aligns=aligns).strip("\n")


OVERALL_HEADER = ("System", "Macro F", "Accuracy")


def overall_rows(result: Evaluation) -> list[tuple[str, ...]]:
    """Macro F and accuracy of each system, where categories are scored."""
    n = len(result.gold)
    return [
        (result.title(name), *(stats.format_score(e, documents=n) for e in estimates.values()))
        for name, estimates in result.overall.items()
    ]


def overall_table(result: Evaluation) -> str:
    """The same as text for a terminal."""
    return table(overall_rows(result), header=OVERALL_HEADER, divider=True).strip("\n")


def unit(result: Evaluation) -> str:
    """What the n of a label counts."""
    return "annotated spans" if result.scored == "spans" else "texts of the category"


def scores_notes(result: Evaluation) -> list[str]:
    """What must be said beside the table, one sentence each."""
    n = len(result.gold)
    what = "Exact spans on" if result.scored == "spans" else "Categories of"
    notes = [
        f"{what} {n:,} gold test texts, the same for every system; n = {unit(result)}, all = micro "
        f"average, ± = {stats.CONFIDENCE * 100:.0f} % bootstrap interval over texts."
    ]
    if result.overall:
        notes.append(
            "Macro F = mean of the categories' F; accuracy = share of texts of whose categories none is "
            "wrong and none is missing."
        )
    if len(result.present) > 1:
        notes.append(
            "Systems that share a group letter can't be told apart in F (paired approximate randomisation, "
            f"Holm-corrected over {len(result.pairs)} pairs, p ≥ .05, n={n:,})."
        )
        notes.append(systems.closest_sentence(result))
    places = stats.resolved_digits(n)
    notes.append(
        f"{n:,} texts support {places or 'no'} digit{'' if places == 1 else 's'}"
        + (f"; {places + 1} take about {stats.documents_for(places + 1):,}." if places < 3 else ".")
    )
    for answer in result.answers:
        if answer.predicted is None:
            notes.append(f"{answer.title} is missing: {answer.missing}")
        notes += [f"{answer.title}: {note}" for note in answer.notes]
    return notes


def rate(found: tuple[float, float, float] | None) -> str:
    """Words per second with half the spread of the runs, to two digits: `11,000 ±400`."""
    if found is None:
        return "–"
    middle, low, high = found
    spread = max(high - middle, middle - low)
    shown = f"{stats.two_digits(middle):,}"
    return f"{shown} ±{stats.two_digits(spread):,}" if spread else shown


def size(mb: float | None) -> str:
    """Megabytes with a digit below 10: `3.6`, `253`, `<.1`."""
    if mb is None:
        return "–"
    return "<.1" if mb < 0.05 else f"{mb:.1f}" if mb < 10 else f"{mb:,.0f}"


def evaluation_page(result: Evaluation, *, inspected: str, documents: int = 30) -> str:
    """The report of an evaluation.

    Args:
        inspected: name of the system whose worst documents are shown.
        documents: how many.
    """
    n = len(result.gold)
    answer = next(a for a in result.present if a.name == inspected)
    assert answer.predicted is not None
    colours = label_colours(result.labels)
    show, tell = (lambda record: marked(record, colours)), describe
    if result.scored != "spans":
        show, tell = named, misnamed
    worst = []
    for i in scoring.worst(result.gold, answer.predicted, documents):
        found = scoring.errors(result.gold[i], answer.predicted[i])
        worst.append(
            {
                "id": result.gold[i].id,
                "gold": show(result.gold[i]),
                "predicted": show(answer.predicted[i]),
                "errors": [tell(result.gold[i], error) for error in found],
            }
        )
    return page(
        "report.html.j2",
        result=result,
        n=n,
        notes=scores_notes(result),
        picture=svg(scores_figure(result), "scores", f"F of each system with its interval, {n} test texts"),
        cells={
            a.name: {
                label: [stats.format_score(e, documents=n) for e in result.scores[a.name][label]]
                for label in (*result.labels, ALL)
            }
            for a in result.present
        },
        spans={
            label: sum(s.label == label or label == ALL for r in result.gold for s in r.spans)
            for label in (*result.labels, ALL)
        },
        rates={a.name: rate(systems.words_per_second(a, sum(result.words))) for a in result.present},
        sizes={a.name: size(a.mb) for a in result.present},
        groups=[(chr(ord("a") + i), [result.title(name) for name in g]) for i, g in enumerate(result.groups)],
        pairs=[
            {
                "first": result.title(p.first),
                "second": result.title(p.second),
                "difference": stats.format_difference(p.difference, n),
                "p": probability(p.p),
                "holm": probability(p.holm),
                "verdict": "differ" if p.differs() else "not told apart",
            }
            for p in result.pairs
        ],
        slices=slice_rows(result),
        kinds=scoring.KINDS,
        places=result.kinds[answer.name],
        all_label=ALL,
        unit=unit(result),
        overall=overall_rows(result),
        overall_header=OVERALL_HEADER,
        inspected=answer.title,
        worst=worst,
        wrong=sum(bool(scoring.errors(g, p)) for g, p in zip(result.gold, answer.predicted, strict=True)),
    )


def slice_rows(result: Evaluation) -> list[dict[str, Any]]:
    """One row a slice: its name, number of texts, and each system's F in it."""
    first = result.present[0].name
    rows = []
    for part in result.slices[first]:
        cells, spans = [], result.slices[first][part]["spans"]
        for answer in result.present:
            entry = result.slices[answer.name][part]
            cells.append(stats.format_score(entry["f"], n=entry["documents"]))
        rows.append({"name": part, "spans": spans, "cells": cells})
    return rows


def probability(p: float) -> str:
    """A p-value: `.0001`, `.03`, `.4`."""
    if p >= 0.1:
        return stats.decimals(p, 1 if p < 0.95 else 0)
    return stats.decimals(p, 2 if p >= 0.01 else 4)


def describe(record: Record, error: scoring.Error) -> str:
    """An error in words: `boundary: COMPANY "Velto" for "Velto GmbH"`."""
    gold, predicted = (
        f'{span.label} "{record.text[span.start : span.end]}"' if span else ""
        for span in (error.gold, error.predicted)
    )
    if gold and predicted:
        return f"{error.kind}: {predicted} for {gold}"
    return f"{error.kind}: {gold or predicted}"


def named(record: Record) -> Markup:
    """A text behind its categories, which it holds as spans over the whole of it."""
    names = ", ".join(sorted(span.label for span in record.spans)) or "no category"
    return Markup("<strong>{}</strong> {}").format(names, record.text)


def misnamed(record: Record, error: scoring.Error) -> str:
    """An error of category in words: `RESULTS for FUNDING`, `missing: OTHER`."""
    if error.gold and error.predicted:
        return f"{error.predicted.label} for {error.gold.label}"
    return f"{error.kind}: {error.label}"


def marked(record: Record, colours: dict[str, str]) -> Markup:
    """A text with its spans marked by displaCy."""
    # displaCy escapes texts but not labels, and a label is whatever stands in somebody's file
    ents = [
        {"start": span.start, "end": span.end, "label": str(escape(span.label))}
        for span in sorted(record.spans, key=lambda s: s.start)
    ]
    document = {"text": record.text, "ents": ents, "title": None}
    drawing = displacy.render(document, style="ent", manual=True, options={"colors": colours}, jupyter=False)
    return Markup(drawing)

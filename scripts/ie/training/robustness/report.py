"""What people see of a robustness run: a table for the terminal, a picture, and a self-contained page."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from wasabi import table

from ie.core import stats
from ie.evaluation.report import format_rate
from ie.reports import figures, html
from ie.training.robustness import robustness_scores
from ie.training.robustness.robustness_scores import Change, Robustness


def rows(result: Robustness) -> list[dict[str, str]]:
    """One row a system and perturbation, ready to be shown."""
    n = len(result.gold)
    found = []
    for system, by_name in result.changes.items():
        for each in result.perturbed:
            original = each.name == "original"
            shown = change_cells(by_name[each.name], n, original=original)
            found.append(
                {
                    "system": result.titles[system] if original else "",
                    "perturbation": each.title,
                    "texts": "" if original else f"{each.changed(result.gold):,}",
                    **shown,
                    "p": "" if original else stats.format_p(by_name[each.name].holm),
                    "verdict": "" if original else by_name[each.name].verdict(),
                }
            )
    return found


def change_cells(change: Change, n: int, *, original: bool) -> dict[str, str]:
    """F and its change as text; the texts as they are have no change."""
    moved = "" if original or math.isnan(change.difference.value) else change.difference
    return {
        "f": stats.format_score(change.f, documents=n),
        "change": stats.format_difference(moved, n) if moved else "",
    }


def changes_table(result: Robustness) -> str:
    """Scores under each perturbation, as text for a terminal."""
    header = ("System", "Texts", "changed", "F", "Change in F", "p, Holm", "Verdict")
    cells = [tuple(row.values()) for row in rows(result)]
    return table(cells, header=header, divider=True, aligns=("l", "l", "r", "l", "l", "l", "l")).strip("\n")


def seed_rows(result: Robustness) -> list[dict[str, str]]:
    """Mean and spread over the seeds, for the texts as they are and perturbed."""
    found = []
    places = stats.fine_digits(len(result.gold))
    for each in result.perturbed:
        scores = result.seeds[each.name]
        mean, sd = robustness_scores.spread(scores)
        found.append(
            {
                "title": each.title,
                "scores": ", ".join(stats.decimals(score, places) for score in scores),
                "mean": stats.decimals(mean, places),
                "sd": stats.decimals(sd, places),
            }
        )
    return found


def batch_rows(result: Robustness) -> list[dict[str, str]]:
    """Batch sizes: what differs from the first of them, and how fast each is."""
    return [
        {
            "size": str(batch.size),
            "texts": f"{batch.texts:,} of {len(result.gold):,}",
            "f": stats.decimals(batch.f, stats.fine_digits(len(result.gold))),
            "vectors": "–" if batch.vectors is None else f"{batch.vectors:.0e}" if batch.vectors else "0",
            "rate": format_rate(robustness_scores.words_per_second(batch, result.words)),
        }
        for batch in result.batches
    ]


def small_table(header: Sequence[str], found: Sequence[dict[str, str]]) -> str:
    """Rows as text for a terminal."""
    cells = [tuple(row.values()) for row in found]
    return table(cells, header=header, divider=True, aligns=("l", *"r" * (len(header) - 1))).strip("\n")


def changes_figure(result: Robustness) -> Figure:
    """F of each system under each perturbation, with its interval."""
    names = [each.name for each in result.perturbed]
    n = len(result.gold)
    with matplotlib.rc_context(figures.STYLE):
        drawing = figures.figure(7.5, 1.4 + 0.5 * len(names))
        axis = drawing.subplots()
        systems = list(result.changes)
        for k, system in enumerate(systems):
            shift = (k - (len(systems) - 1) / 2) * 0.22
            found = [(row, result.changes[system][name].f) for row, name in enumerate(names)]
            found = [(row, f) for row, f in found if not math.isnan(f.value)]
            colour = figures.COLOURS[k % len(figures.COLOURS)]
            axis.errorbar(
                [f.value for _, f in found],
                [row + shift for row, _ in found],
                xerr=[[f.value - f.low for _, f in found], [f.high - f.value for _, f in found]],
                fmt="o",
                markersize=4,
                capsize=3,
                color=colour,
                label=result.titles[system],
            )
            if found and found[0][0] == 0:
                axis.axvline(found[0][1].value, color=colour, alpha=0.35, linewidth=1, linestyle="--")
        axis.set_yticks(range(len(names)), [each.title for each in result.perturbed])
        axis.invert_yaxis()
        axis.set_xlim(-0.02, 1.02)
        axis.set_xlabel(f"F on {n:,} test texts, 95 % interval; dashed: as they are")
        axis.grid(axis="x", alpha=0.3)
        drawing.legend(loc="outside upper left", ncols=len(systems), frameon=False, fontsize=8)
    return drawing


def page(result: Robustness) -> str:
    """The report, with everything in one file."""
    n = len(result.gold)
    examples = [
        {"title": each.title, "texts": examples_of(result, each.name)} for each in result.perturbed[1:]
    ]
    labels: dict[str, Any] = {
        each.title: {
            label: change_cells(change, n, original=each.name == "original")
            for label, change in result.labels[each.name].items()
        }
        for each in result.perturbed
    }
    return html.page(
        "robustness.html.j2",
        result=result,
        n=n,
        spans=sum(len(record.spans) for record in result.gold),
        summary=robustness_scores.summary(result),
        picture=figures.svg(
            changes_figure(result), "robustness", f"F under each perturbation, {n} test texts"
        ),
        rows=rows(result),
        labels=labels,
        seeds=seed_rows(result),
        batches=batch_rows(result),
        examples=examples,
        inspected=result.titles[result.inspected],
    )


def examples_of(result: Robustness, name: str, most: int = 2) -> list[Any]:
    """The first texts that a perturbation changed and that have spans, with the spans where they are now."""
    names = sorted({span.label for record in result.gold for span in record.spans})
    colours = html.label_colours(names)
    each = next(p for p in result.perturbed if p.name == name)
    pairs = zip(result.gold, each.records, strict=True)
    changed = [new for old, new in pairs if new.spans and new.text != old.text]
    return [html.marked(record, colours) for record in changed[:most]]

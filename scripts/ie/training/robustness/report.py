"""Robustness as people see it: tables for the terminal, a figure, and a self-contained page."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from ie.core import stats
from ie.core.text import joined
from ie.reports import figures, html
from ie.training.robustness import robustness_scores
from ie.training.robustness.robustness_scores import Change, Robustness

CHANGES_HEADER = ("System", "Texts", "changed", "F", "Change in F", "p, Holm", "Verdict")
SEEDS_HEADER = ("Seeds", "F", "mean", "sd")
# What to do where F falls most, by perturbation; for the others, and where the texts to come are like that.
_CASE = (
    "If your texts come like that, raise the shares in `[corpora.train.augmenter]` of the config, and "
    "`weasel run train` again."
)
REMEDIES = {
    "lower": _CASE,
    "upper": _CASE,
    "names": "The pipeline knows names rather than their context: review texts with other names "
    "(`weasel run review`), and train again.",
}
REVIEW_SUCH = (
    "If your texts come like that, add such texts to assets/texts.jsonl, review some (`weasel run review`), "
    "and train again."
)


def rows(result: Robustness) -> list[dict[str, str]]:
    """One row per system and perturbation, ready to be shown."""
    n = len(result.gold)
    shown = []
    for system, by_name in result.changes.items():
        for each in result.perturbed:
            original, change = each.name == "original", by_name[each.name]
            shown.append(
                {
                    "system": result.titles[system] if original else "",
                    "perturbation": each.title,
                    "texts": "" if original else f"{each.changed(result.gold):,}",
                    **change_cells(change, n, original=original),
                    "p": "" if original else stats.format_p(change.holm),
                    "verdict": "" if original else change.verdict(),
                }
            )
    return shown


def change_cells(change: Change, n: int, *, original: bool) -> dict[str, str]:
    """F and its change as text; the texts as they are have no change."""
    known = not original and not math.isnan(change.difference.value)
    return {
        "f": stats.format_score(change.f, documents=n),
        "change": stats.format_difference(change.difference, n) if known else "",
    }


def seed_rows(result: Robustness) -> list[dict[str, str]]:
    """Mean and spread over the seeds, for the texts as they are and perturbed."""
    shown = []
    places = stats.fine_digits(len(result.gold))
    for each in result.perturbed:
        scores = result.seeds[each.name]
        mean, sd = robustness_scores.spread(scores)
        shown.append(
            {
                "title": each.title,
                "scores": ", ".join(stats.decimals(score, places) for score in scores),
                "mean": stats.decimals(mean, places),
                "sd": stats.decimals(sd, places),
            }
        )
    return shown


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
            points = [(row, result.changes[system][name].f) for row, name in enumerate(names)]
            points = [(row, f) for row, f in points if not math.isnan(f.value)]
            colour = figures.COLOURS[k % len(figures.COLOURS)]
            axis.errorbar(
                [f.value for _, f in points],
                [row + shift for row, _ in points],
                xerr=[[f.value - f.low for _, f in points], [f.high - f.value for _, f in points]],
                fmt="o",
                markersize=4,
                capsize=3,
                color=colour,
                label=result.titles[system],
            )
            if points and points[0][0] == 0:
                axis.axvline(points[0][1].value, color=colour, alpha=0.35, linewidth=1, linestyle="--")
        axis.set_yticks(range(len(names)), [each.title for each in result.perturbed])
        axis.invert_yaxis()
        axis.set_xlim(-0.02, 1.02)
        axis.set_xlabel(f"F on {n:,} test texts, 95 % interval; dashed: as they are")
        axis.grid(axis="x", alpha=0.3)
        drawing.legend(loc="outside upper left", ncols=len(systems), frameon=False, fontsize=8)
    return drawing


def answer(result: Robustness) -> html.Answer:
    """What the page says first."""
    titles = {each.name: each.title for each in result.perturbed}
    if result.blind:
        headline, following = "The pipeline finds nothing.", "`weasel run diagnose` looks for the reason."
    elif falls := result.falls:
        headline = f"Not robust: F falls with {joined(titles[name] for name in falls)}."
        following = REMEDIES.get(falls[0], REVIEW_SUCH)
    elif not stats.digits(len(result.gold)):
        headline = "Too few test texts to say whether the pipeline is robust."
        following = "`weasel run review`: answer more test texts."
    else:
        headline = "Robust, as far as these test texts show: no change of the texts lowers F beyond noise."
        following = "`weasel run status` names the next step."
    return html.Answer(headline, robustness_scores.summary(result), following)


def page(result: Robustness, links: Sequence[html.PageLink] = ()) -> str:
    """The report, with everything in one file; `links` lead to other pages."""
    n = len(result.gold)
    return html.page(
        "robustness.html.j2",
        answer=answer(result),
        links=links,
        result=result,
        n=n,
        spans=sum(len(record.spans) for record in result.gold),
        picture=figures.svg(
            changes_figure(result), "robustness", f"F under each perturbation, {n} test texts"
        ),
        rows=rows(result),
        labels={
            each.title: {
                label: change_cells(change, n, original=each.name == "original")
                for label, change in result.labels[each.name].items()
            }
            for each in result.perturbed
        },
        seeds=seed_rows(result),
        examples=[
            {"title": each.title, "texts": examples_of(result, each.name)} for each in result.perturbed[1:]
        ],
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

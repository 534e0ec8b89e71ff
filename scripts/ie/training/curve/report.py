"""A learning curve as the talk's table, as a picture, and as a page that needs no other file."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ie.core import stats
from ie.core.stats import Estimate
from ie.core.text import TERMINAL_WIDTH
from ie.reports import figures, html
from ie.reports.figures import COLOURS, STYLE
from ie.training.curve import projection as projections
from ie.training.curve.projection import INTERVAL, Projection
from ie.training.curve.shot_curve import SELECTS, ShotCurve

# What the page says first, by the kind of the verdict, and the next step.
HEADLINES = {
    "rise": ("More data will probably help.", "`weasel run review`: review more texts of this kind."),
    "noise": (
        "Whether more data would help can't be told yet.",
        "`weasel run diagnose`: is anything else in the way?",
    ),
    "fall": ("The score fell with the last examples.", "`weasel run diagnose`: are their annotations right?"),
    "single": (
        "One portion shows no trend.",
        "`weasel run train-curve . --vars.portions 25,50,75,100`",
    ),
    "perfect": ("Too good to be true: F is about 1.", "`weasel run diagnose`: look for leaks."),
    "nothing": ("Nothing was learned.", "`weasel run diagnose`: what is broken?"),
    "unscored": ("There is nothing to score on yet.", "`weasel run review`: review more texts."),
    "untrained": ("Nothing was trained.", "`weasel run review`: review some texts."),
}

SHOT_NAMES = {"fixed": "same examples for all texts", "similar": "most similar of {pool:,} examples"}


def places(dev: int) -> int:
    """Digits after the point of a score on `dev` texts: the talk's two, or one, which the arrows need."""
    return min(2, stats.shown_digits(dev))


def figure(
    rows: Sequence[dict[str, Any]],
    dev: int,
    *,
    projection: Projection | None = None,
    llm: Estimate | None = None,
    shots: ShotCurve | None = None,
) -> Figure:
    """F on dev by the share of the training data: seeds, mean, interval, and where the curve may go on.

    Args:
        rows: `percent`, `examples`, the Estimate `f` and F of each seed (`scores`, may be absent), in order;
            the row of 0 % has no interval.
        dev: number of dev texts.
        projection: drawn dashed beyond 100 %, its interval shaded, unless it was refused.
        llm: score of the language model on the same texts, a horizontal line.
        shots: scores of the language model by number of examples in the prompt. The axis then gives small
            numbers more room.
    """
    shown = projection if projection and not projection.refused else None
    with matplotlib.rc_context(STYLE):
        drawing = figures.figure(8.0, 4.4)
        axis = drawing.subplots()
        trained = [row for row in rows if row["percent"] > 0]
        if llm:
            axis.axhspan(llm.low, llm.high, color=COLOURS[1], alpha=0.15, linewidth=0)
            name = f"LLM as prompted {stats.format_score(llm, documents=dev)}"
            axis.axhline(llm.value, color=COLOURS[1], linewidth=1.2, label=name)
        measured = trained if shots else rows
        axis.plot(
            [row["percent"] for row in measured],
            [row["f"].value for row in measured],
            color=COLOURS[0],
            label="trained pipeline, mean" if shots else "mean",
        )
        seeds = [(row["percent"], score) for row in trained for score in row.get("scores", ())]
        if len(seeds) > len(trained):
            x, y = zip(*seeds, strict=True)
            axis.plot(x, y, ".", color=COLOURS[0], alpha=0.45, markersize=5, label="each seed")
        axis.errorbar(
            [row["percent"] for row in trained],
            [row["f"].value for row in trained],
            yerr=[
                [row["f"].value - row["f"].low for row in trained],
                [row["f"].high - row["f"].value for row in trained],
            ],
            fmt="o",
            color=COLOURS[0],
            capsize=4,
            label="95 % interval",
        )
        ticks = [(row["percent"], row["examples"]) for row in rows]
        if shots:
            axis.set_xscale("function", functions=(np.cbrt, lambda x: x**3))
            _draw_shots(axis, shots, rows[-1])
        if shown:
            size = rows[-1]["examples"]
            # No farther than the last point that is given: the labels of the portions need the room.
            end = sum(n <= shown.points[-1].examples for n in shown.grid)
            percents = [rows[-1]["percent"] * n / size for n in shown.grid[:end]]
            low, high = shown.low[:end], shown.high[:end]
            axis.fill_between(percents, low, high, color=COLOURS[2], alpha=0.2, linewidth=0)
            name = f"projection, {INTERVAL}"
            axis.plot(percents, shown.f[:end], "--", color=COLOURS[2], label=name)
            # The other scale has room for the last one only.
            points = shown.points[-1:] if shots else shown.points
            ticks += [(rows[-1]["percent"] * p.examples / size, p.examples) for p in points]
        names = [f"{p:.4g} %\n{n:,}" for p, n in ticks]
        numbers = sorted({s.shots for s in shots.scores} - {n for _, n in ticks}) if shots else []
        ticks += [(rows[-1]["percent"] * n / rows[-1]["examples"], n) for n in numbers]
        axis.set_xticks([p for p, _ in ticks], [*names, *(f"\n{n:,}" for n in numbers)])
        prompts = ", and number of examples in a prompt; cube-root scale" if shots else ""
        axis.set_xlabel(f"share and number of training examples{prompts}")
        axis.set_ylabel(f"F on dev (n={dev:,} texts), 95 % interval")
        axis.set_ylim(0, 1)
        axis.grid(alpha=0.3)
        axis.legend(loc="lower right", frameon=False)
        axis.set_title(f"Score by amount of training data (dev n={dev:,})", fontsize=10)
    return drawing


def _draw_shots(axis: Axes, shots: ShotCurve, last: dict[str, Any]) -> None:
    """Draw F by number of examples in the prompt. `last`: the largest portion, for the place on the axis."""
    for select, colour, marker in zip(SELECTS, (COLOURS[5], COLOURS[3]), "s^", strict=True):
        if len(scores := shots.series(select)) < 2:
            continue
        f = [score.f for score in scores]
        axis.errorbar(
            [last["percent"] * score.shots / last["examples"] for score in scores],
            [x.value for x in f],
            yerr=[[x.value - x.low for x in f], [x.high - x.value for x in f]],
            color=colour,
            fmt=f"{marker}-",
            markersize=4,
            linewidth=1.2,
            capsize=2,
            label=f"LLM, {SHOT_NAMES[select].format(pool=shots.pool)} (n={len(shots.texts)})",
        )


def table(rows: Sequence[dict[str, Any]], dev: int, component: str = "ner") -> str:
    """The talk's table, as Prodigy's train-curve prints it: percent, score, score of the component.

    Where several seeds were run, their standard deviation follows, and the score of each label if that fits
    the terminal.

    Args:
        rows: `percent` and `score` in order, from 0 %; an arrow shows how the score moved from the row above.
            `sd`, `labels` and `label_sd` may be absent.
        dev: number of dev texts; decides how many digits are shown.
    """
    digits, fine = places(dev), places(dev) + 1
    several = any(not math.isnan(row.get("sd", math.nan)) for row in rows)
    labels = list(rows[-1].get("labels", ())) if several else []
    header = ["%", "Score", component, *(["± sd"] if several else []), *labels]
    cells, before = [], None
    for row in rows:
        arrow = "" if before is None or row["score"] == before else " ▲" if row["score"] > before else " ▼"
        score = f"{row['score']:.{digits}f}{arrow}"
        percent = f"{row['percent']:g}%"
        more = []
        if several and row["percent"]:
            more = [f"±{row['sd']:.{fine}f}"]
            more += [
                f"{row['labels'][label].value:.{digits}f} ±{row['label_sd'][label]:.{fine}f}"
                for label in labels
            ]
        cells.append([f"{percent:>4}", score, score, *more])
        before = row["score"]
    lines = [header, *cells]
    widths = [4]
    for column in range(1, len(header)):
        widths.append(max(6, *(len(line[column]) for line in lines if column < len(line))))
    if sum(widths) + 3 * (len(widths) - 1) > TERMINAL_WIDTH:
        widths = widths[: 3 + several]  # the page has the labels
    lines.insert(1, ["-" * width for width in widths])
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=False)] for line in lines]
    return "\n".join("   ".join(line).rstrip() for line in padded)


def page(
    rows: Sequence[dict[str, Any]],
    *,
    dev: int,
    train: str,
    notes: Sequence[str],
    projection: Projection | None = None,
    llm: Estimate | None = None,
    shots: ShotCurve | None = None,
    kind: str = "",
    links: Sequence[html.PageLink] = (),
) -> str:
    """The learning curve as a page that needs no other file.

    Args:
        notes: sentences, the verdict first.
        projection, llm, shots: as for `figure`.
        kind: that of the verdict. links: to other pages.
    """
    drawing = figure(rows, dev, projection=projection, llm=llm, shots=shots)
    labels = list(rows[-1]["labels"])

    def shown(row: dict[str, Any], estimate: Estimate, sd: float) -> str:
        if not row["percent"]:
            return "0"
        spread = "" if math.isnan(sd) else f", sd {stats.decimals(sd, places(dev) + 1)}"
        return stats.format_score(estimate, documents=dev) + spread

    cells = [
        {
            "percent": f"{row['percent']:g} %",
            "examples": f"{row['examples']:,}",
            "f": shown(row, row["f"], row.get("sd", math.nan)),
            "labels": {
                label: shown(row, estimate, row.get("label_sd", {}).get(label, math.nan))
                for label, estimate in row["labels"].items()
            },
        }
        for row in rows
    ]
    points = [
        {
            "percent": f"{rows[-1]['percent'] * point.examples / rows[-1]['examples']:.4g} %",
            "examples": f"{point.examples:,}",
            "f": f,
            "interval": f"{low} to {high}",
        }
        for point in (projection.points if projection else ())
        for f, low, high in [projections.shown_point(point, dev)]
    ]
    weights = sorted((projection.families if projection else {}).items(), key=lambda item: -item[1])
    return html.page(
        "curve.html.j2",
        answer=html.Answer(HEADLINES[kind][0], notes[:1], HEADLINES[kind][1]) if kind else None,
        links=links,
        rows=cells,
        labels=labels,
        picture=figures.svg(drawing, "curve", "score on dev by share of the training data"),
        dev=dev,
        train=train,
        notes=notes,
        points=points,
        interval=INTERVAL,
        families=", ".join(f"{name} {weight:.0%}" for name, weight in weights if weight >= 0.005),
        seeds=max(len(row.get("scores", ())) for row in rows),
    )

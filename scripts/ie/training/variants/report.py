"""A comparison of variants as people see it: the table, the Pareto figure, the page and the advice."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from ie.core import stats
from ie.core.text import counted, joined
from ie.evaluation.report import format_megabytes, format_rate
from ie.reports import figures, html
from ie.reports.figures import COLOURS, STYLE
from ie.training.variants import variant_comparison
from ie.training.variants.variant_comparison import Tested, VariantComparison, VariantCost

HEADER = (
    "Variant",
    "Share",
    "F",
    "± sd",
    "Group",
    "In lower case",
    "MB",
    "Words/s",
    "Training, s",
    "Memory, MB",
)
ALIGNS = "lrlrllrr"  # of the columns that the terminal shows: without time and memory


def cells(
    compared: Sequence[VariantComparison], costs: Mapping[str, VariantCost], dev: int
) -> list[list[str]]:
    """The table: a row per variant and portion; costs stand beside the largest portion."""
    rows = []
    for name, cost in costs.items():
        for comparison in compared:
            row, last = comparison.rows[name], comparison is compared[-1]
            rows.append(
                [
                    name if comparison is compared[0] else "",
                    f"{comparison.percent:g} % ({comparison.examples:,})",
                    stats.format_score(row["f"], documents=dev),
                    stats.decimals(row["sd"], stats.fine_digits(dev, row["f"].half_width)),
                    comparison.letters(name),
                    _drop(comparison.drops[name], dev),
                    format_megabytes(cost.mb) if last else "",
                    format_rate(_rates(cost)) if last else "",
                    f"{stats.two_digits(cost.train_seconds):,}" if last else "",
                    f"{stats.two_digits(cost.peak_mb):,}" if last else "",
                ]
            )
    return rows


def _drop(estimate: stats.Estimate, dev: int) -> str:
    places = stats.shown_digits(dev, estimate.half_width)
    half = stats.half_width(estimate.half_width, places)
    return f"{stats.decimals(estimate.value, places)} ±{half}"


def _rates(cost: VariantCost) -> tuple[float, float, float]:
    return median(cost.rates), min(cost.rates), max(cost.rates)


def notes(compared: Sequence[VariantComparison], seeds: int, dev: int) -> list[str]:
    """What the reader of the table must know, one sentence each."""
    last = compared[-1]
    sentences = [
        f"F of exact spans on {counted(dev, 'dev text')}, mean of {counted(seeds, 'training')}, ± the 95 % "
        "interval over texts and seeds; sd over seeds. In lower case: change of F, ± over texts.",
        "Dev also picks the checkpoints of neural variants, which flatters these a little.",
        "MB, words/s, processor seconds of a training and its peak of memory are of the largest portion.",
        f"Variants that share a letter can't be told apart on that portion (Holm-corrected over "
        f"{counted(len(last.pairs), 'pair')}, p ≥ .05, n={dev:,}: the noise of texts and seeds together, "
        "and a randomisation of the texts, both).",
    ]
    if seeds == 1:
        sentences.append(
            "With a single seed the noise of seeds is an assumption (sd .01); set seeds to 3 or more."
        )
    for comparison in compared:
        stopped = {name: row["unfinished"] for name, row in comparison.rows.items() if row["unfinished"]}
        if stopped:
            names = ", ".join(f"{name} {n}" for name, n in stopped.items())
            sentences.append(
                f"At {comparison.percent:g} % some trainings stopped while their score still rose ({names}): "
                "with more max_steps they may score higher."
            )
    return sentences


def choice(compared: Sequence[VariantComparison], costs: Mapping[str, VariantCost]) -> str:
    """The name of the variant to take."""
    return variant_comparison.recommended(compared[-1], {name: cost.mb for name, cost in costs.items()})


def headline(compared: Sequence[VariantComparison], costs: Mapping[str, VariantCost]) -> str:
    """Which variant to take."""
    if len(costs) == 1:
        return f"Only {choice(compared, costs)} was trained, so there is no choice."
    return f"With {counted(compared[-1].examples)}, take {choice(compared, costs)}."


def reason(compared: Sequence[VariantComparison], costs: Mapping[str, VariantCost], dev: int) -> str:
    """What the choice of the variant rests on."""
    last, name = compared[-1], choice(compared, costs)
    size = f"{format_megabytes(costs[name].mb)} MB"
    if len(costs) == 1:
        return f"{name} takes {size}; to compare it, list more variants."
    basis = f"{last.best} has the highest F, {stats.format_score(last.rows[last.best]['f'], n=dev)}"
    if others := [other for other in last.candidates if other != last.best]:
        basis += f"; {joined(others)} can't be told from it. Of these {name} is the smallest ({size})"
        fastest = max(last.candidates, key=lambda other: median(costs[other].rates))
        if fastest == name:
            basis += " and the fastest"
        # A variant counts as faster only if all its runs were.
        elif min(costs[fastest].rates) > max(costs[name].rates):
            basis += f", while {fastest} is faster ({format_rate(_rates(costs[fastest]))} words/s against "
            basis += f"{format_rate(_rates(costs[name]))})"
    else:
        basis += ", and every other variant is worse beyond noise"
    return f"{basis}."


def small_data(compared: Sequence[VariantComparison], dev: int) -> list[str]:
    """For each smaller portion, which variants are better there beyond noise than the first one listed."""
    sentences = []
    for comparison in compared[:-1]:
        base = next(iter(comparison.rows))
        gains = [
            f"{pair.second} by {stats.format_difference(_reversed(pair.difference), dev)}"
            for pair in comparison.pairs
            if pair.first == base and pair.differs() and pair.difference.value < 0
        ]
        with_ = f"With {counted(comparison.examples)} ({comparison.percent:g} %)"
        verb = "beats" if len(gains) == 1 else "beat"
        sentences.append(
            f"{with_}, {joined(gains)} {verb} {base} (n={dev:,})."
            if gains
            else f"{with_}, no variant beats {base} beyond noise (n={dev:,})."
        )
    return sentences


def on_test(tested: Tested) -> str:
    """What the chosen variant scores on test, and how that compares with the first one listed."""
    n = tested.documents
    scores = "; ".join(f"{name} {stats.format_score(f, documents=n)}" for name, f in tested.scores.items())
    these = "these" if len(tested.scores) > 1 else "this one"
    sentence = f"On test, looked at for {these} alone (n={n:,}): F {scores}."
    if tested.pair:
        verdict = "beyond noise" if tested.pair.differs() else "this may be noise"
        moved = stats.format_difference(tested.pair.difference, n)
        p = stats.format_p(tested.pair.p)
        sentence += f" {tested.pair.first} minus {tested.pair.second}: {moved}, {verdict} (p {p})."
    return sentence


def _reversed(estimate: stats.Estimate) -> stats.Estimate:
    return stats.Estimate(-estimate.value, -estimate.high, -estimate.low)


def figure(compared: Sequence[VariantComparison], costs: Mapping[str, VariantCost], dev: int) -> Figure:
    """F against size and against speed; the line joins those that nothing else beats in both (Pareto)."""
    axes_of = [
        ("MB on disk", {name: cost.mb for name, cost in costs.items()}, True),
        ("words per second", {name: median(cost.rates) for name, cost in costs.items()}, False),
    ]
    last = compared[-1]
    with matplotlib.rc_context(STYLE):
        drawing = figures.figure(1.2 + 3.6 * len(axes_of), 4)
        axes = drawing.subplots(1, len(axes_of), sharey=True, squeeze=False)[0]
        for axis, (label, values, less) in zip(axes, axes_of, strict=True):
            best = variant_comparison.front(last, values, less=less)
            axis.plot(
                [values[name] for name in best],
                [last.rows[name]["score"] for name in best],
                color="#888888",
                linewidth=1,
                zorder=0,
            )
            for i, name in enumerate(costs):
                colour = COLOURS[i % len(COLOURS)]
                for comparison in compared:
                    f = comparison.rows[name]["f"]
                    axis.errorbar(
                        values[name],
                        f.value,
                        yerr=[[f.value - f.low], [f.high - f.value]],
                        fmt="o",
                        color=colour,
                        capsize=3,
                        # hollow: trained on less
                        markerfacecolor=colour if comparison is last else "white",
                        label=name if comparison is last else None,
                    )
            axis.set_xlabel(label)
            axis.set_xlim(0, max(values.values()) * 1.15)
            axis.grid(alpha=0.3)
        axes[0].set_ylabel(f"F on dev (n={dev:,} texts), 95 % interval")
        drawing.legend(
            *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False
        )
        shares = ", ".join(f"hollow {c.examples:,}" for c in compared[:-1])
        title = f"Trained on {counted(last.examples)}" + (f" ({shares})" if shares else "")
        drawing.suptitle(f"{title}; the line is the Pareto front", fontsize=10)
    return drawing


def page(
    compared: Sequence[VariantComparison],
    costs: Mapping[str, VariantCost],
    *,
    dev: int,
    sentences: Sequence[str],
    remarks: Sequence[str],
    drawing: Figure,
    links: Sequence[html.PageLink] = (),
) -> str:
    """The report in one file.

    Args:
        sentences: what the choice rests on, for the top. remarks: what the table means, for below it.
        links: to other pages.
    """
    pairs: list[dict[str, Any]] = [
        {
            "portion": f"{comparison.percent:g} %",
            "first": pair.first,
            "second": pair.second,
            "difference": stats.format_difference(pair.difference, dev),
            "holm": stats.format_p(pair.holm),
            "verdict": "differ" if pair.differs() else "not told apart",
        }
        for comparison in compared
        for pair in comparison.pairs
    ]
    return html.page(
        "variants.html.j2",
        answer=html.Answer(
            headline(compared, costs),
            sentences,
            f"`weasel run all . --vars.config {choice(compared, costs)}`",
        ),
        links=links,
        header=HEADER,
        rows=cells(compared, costs, dev),
        remarks=remarks,
        pairs=pairs,
        picture=figures.svg(drawing, "variants", "score of each variant by its size and its speed"),
    )

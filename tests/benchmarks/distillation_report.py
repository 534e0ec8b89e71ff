"""A comparison of recipes as people see it: the table, the figure, the page and the advice."""

import math
from collections.abc import Sequence

import matplotlib
from benchmarks.distillation_comparison import RecipeComparison, RecipeScore
from matplotlib.figure import Figure

from ie.core import stats
from ie.core.stats import Pair
from ie.core.text import counted
from ie.evaluation.scoring import LLM_ON_DEV
from ie.reports import figures, html
from ie.reports.figures import COLOURS, STYLE
from ie.training.distill.recipes import LLM, REVIEWED, SILVER

HEADER = (
    "Recipe",
    "Silver texts",
    "Spans",
    "Missing",
    "P",
    "R",
    "F kept",
    "F on dev",
    "± sd",
    "to reviewed alone",
    "to the LLM",
    "Seconds",
)
# The terminal shows these columns, the page all of them.
SHOWN = ("Recipe", "Silver texts", "F on dev", "to reviewed alone", "to the LLM")
TITLES = {REVIEWED: "reviewed alone", SILVER: "silver alone", LLM: "LLM as prompted"}


def title(name: str) -> str:
    """How a row is called."""
    return TITLES.get(name, name)


def cells(compared: RecipeComparison, gold: int) -> list[list[str]]:
    """The table, a row for each way of training.

    Args:
        gold: silver texts whose gold is known.
    """
    rows, dev = [], compared.dev_texts
    for row in compared.rows.values():
        kept = [stats.format_score(e, documents=gold) for e in row.right] or ["", "", ""]
        places = stats.fine_digits(dev, row.f.half_width)
        rows.append(
            [
                title(row.name),
                f"{row.texts:,}",
                f"{row.spans:,}",
                f"{row.open:.0%}" if row.open else "",
                *(kept if row.texts else ["", "", ""]),
                stats.format_score(row.f, documents=dev),
                "–" if math.isnan(row.sd) else stats.decimals(row.sd, places),
                _short(compared.pair(row.name, REVIEWED), dev),
                _short(compared.pair(row.name, LLM), dev),
                f"{stats.two_digits(row.training + row.teaching):,}",
            ]
        )
    return rows


def _short(pair: Pair | None, n: int) -> str:
    if pair is None:
        return ""
    d = pair.difference
    places = stats.fine_digits(n, d.half_width)
    # two digits of the ends are enough to see what they allow, and keep the columns narrow
    low, high = (stats.decimals(x, min(2, places)) for x in (d.low, d.high))
    return f"{stats.decimals(d.value, places)} ({low} to {high}){' *' if pair.differs() else ''}"


def notes(compared: RecipeComparison, reviewed: int, silver: int, gold: int, seeds: int) -> list[str]:
    """What must be sentences beside the table, one sentence each."""
    sentences = [
        f"Trained on {counted(reviewed, 'reviewed text')}, the same for all rows, and of "
        f"{counted(silver, 'silver text')} those that the recipe keeps; Missing: share of their tokens that "
        "are left open.",
        f"F on dev: exact spans on {counted(compared.dev_texts, 'text')}, mean of "
        f"{counted(seeds, 'training')}, ± the 95 % interval over texts and seeds; dev picks the checkpoints "
        "too, so it flatters all rows alike.",
        "Differences with their 95 % intervals; * is beyond noise (Holm-corrected over "
        f"{counted(len(compared.pairs), 'pair')}: the noise of texts and seeds together, and a randomisation "
        "of the texts, both).",
        "Seconds: of one processor, for one training and the pipelines that voted before it.",
    ]
    if gold:
        sentences.insert(
            1,
            f"P, R and F of what is kept: on those of {counted(gold, 'silver text')} with hidden gold that "
            "are kept; gold spans that are left open don't count as missed.",
        )
    if compared.llm:
        sentences.append(LLM_ON_DEV)
    if seeds == 1:
        sentences.append(
            "With a single seed the noise of seeds is an assumption (sd .01); set seeds to 3 or more."
        )
    return sentences


def answer(compared: RecipeComparison) -> html.Answer:
    """Which recipe to take, what that rests on, and what it scores on test."""
    best = compared.rows[compared.recommended]
    n = compared.test_texts
    if best.name == REVIEWED:
        headline = "Leave the silver out: no recipe is better than the reviewed texts alone beyond noise."
        sentences = [f"With more than {counted(compared.dev_texts, 'dev text')}, smaller gains would show."]
        following = "`weasel run review`: answer more texts."
    else:
        gain = compared.pair(best.name, REVIEWED)
        moved = stats.format_difference(gain.difference, compared.dev_texts)
        headline = f"Take {title(best.name)}{_means(best)}."
        sentences = [
            "Of all recipes its gain over the reviewed texts alone has the highest lower bound: "
            f"{moved} on dev (n={compared.dev_texts:,})."
        ]
        following = f"`python scripts/distill.py --recipe {best.name}`"
        if best.name == SILVER:
            following = "`weasel run train . --vars.train_on silver`"
        if compared.as_good:
            sentences.append(f"Not told from it on dev: {', '.join(map(title, compared.as_good))}.")
    scores = "; ".join(
        f"{title(name)} {stats.format_score(f, documents=n)}" for name, (f, _) in compared.test.items()
    )
    sentences.append(f"On test, looked at for these alone (n={n:,}): F {scores}.")
    for pair in compared.test_pairs:
        verdict = "beyond noise" if pair.differs() else "this may be noise"
        sentences.append(
            f"On test {title(pair.first)} minus {title(pair.second)}: "
            f"{stats.format_difference(pair.difference, n)}, {verdict} (p "
            f"{stats.format_p(pair.holm)}, Holm-corrected)."
        )
    return html.Answer(headline, sentences, following)


def _means(row: RecipeScore) -> str:
    return f" ({', '.join(row.recipe)})" if row.recipe else ""


def figure(compared: RecipeComparison) -> Figure:
    """F on dev of each way of training with its interval; lines for the reviewed ones alone and the LLM."""
    rows = list(compared.rows.values())
    with matplotlib.rc_context(STYLE):
        drawing = figures.figure(7, 1.2 + 0.3 * len(rows))
        axis = drawing.subplots()
        for place, row in enumerate(rows):
            axis.errorbar(
                row.f.value,
                place,
                xerr=[[row.f.value - row.f.low], [row.f.high - row.f.value]],
                fmt="o",
                color=COLOURS[2 if row.name == compared.recommended else 0],
                capsize=3,
            )
        lines = [(compared.rows[REVIEWED].f.value, COLOURS[1], title(REVIEWED))]
        if compared.llm:
            lines.append((compared.llm.value, COLOURS[3], title(LLM)))
        for value, colour, name in lines:
            axis.axvline(value, color=colour, linewidth=1, zorder=0, label=name)
        axis.set_yticks(range(len(rows)), [title(row.name) for row in rows])
        axis.invert_yaxis()
        axis.set_xlabel(f"F on dev (n={compared.dev_texts:,} texts), 95 % interval over texts and seeds")
        axis.grid(axis="x", alpha=0.3)
        drawing.legend(loc="outside lower center", ncols=2, frameon=False)
    return drawing


def page(
    compared: RecipeComparison,
    rows: Sequence[Sequence[str]],
    remarks: Sequence[str],
    drawing: Figure,
) -> str:
    """The report, with a picture that needs no other file."""
    pairs = [
        {
            "on": on,
            "first": title(pair.first),
            "second": title(pair.second),
            "difference": stats.format_difference(pair.difference, n),
            "holm": stats.format_p(pair.holm),
            "verdict": "differ" if pair.differs() else "not told apart",
        }
        for on, n, every in (
            ("dev", compared.dev_texts, compared.pairs),
            ("test", compared.test_texts, compared.test_pairs),
        )
        for pair in every
    ]
    return html.page(
        "distillation.html.j2",
        answer=answer(compared),
        header=HEADER,
        rows=rows,
        remarks=remarks,
        pairs=pairs,
        means=[(title(row.name), ", ".join(row.recipe)) for row in compared.rows.values() if row.recipe],
        picture=figures.svg(drawing, "distillation", "score of each recipe with its interval"),
    )

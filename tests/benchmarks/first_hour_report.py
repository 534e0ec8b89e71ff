"""What the first hour came to: F, decisions, key presses and the LLM's cost by number of texts and policy."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from textwrap import fill
from typing import Any

import numpy as np
from benchmarks.first_hour import POLICIES
from benchmarks.first_hour_sets import LLMCost
from matplotlib import rc_context
from matplotlib.figure import Figure
from scipy.stats import t
from wasabi import table

from ie.core import stats
from ie.core.stats import Estimate
from ie.core.text import counted
from ie.reports import figures

HEADER = ("Texts", "Policy", "F", "Decisions", "Key presses", "LLM prompts")


@dataclass(frozen=True)
class HourResult:
    """One policy with one seed after so many texts.

    `counts` are (documents, 3) on the test texts.
    """

    policy: str
    texts: int
    seed: int
    keys: int
    decisions: int
    counts: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class SetResults:
    """All that was measured on a set: `pool` texts to review, and `test` texts."""

    name: str
    pool: int
    test: int
    results: tuple[HourResult, ...]
    cost: LLMCost

    @property
    def seeds(self) -> list[int]:
        return sorted({result.seed for result in self.results})

    @property
    def sizes(self) -> list[int]:
        return sorted({result.texts for result in self.results})

    def of(self, policy: str, texts: int) -> list[HourResult]:
        """The results of a policy after so many texts, by seed."""
        found = [r for r in self.results if (r.policy, r.texts) == (policy, texts)]
        return sorted(found, key=lambda result: result.seed)


def tables_of(results: Iterable[HourResult]) -> list[np.ndarray]:
    """Counts (documents, 3) of each seed."""
    return [np.array(result.counts, dtype=np.int64) for result in results]


def mean(values: Sequence[float]) -> Estimate:
    """A mean with its t-interval; a single value has none."""
    value = float(np.mean(values))
    if len(values) < 2:
        return Estimate(value, value, value)
    half = float(
        t.isf((1 - stats.CONFIDENCE) / 2, len(values) - 1) * np.std(values, ddof=1) / sqrt(len(values))
    )
    return Estimate(value, value - half, value + half)


def prompts(results: SetResults, policy: str, texts: int) -> int:
    """Prompts that were paid for by then: the LLM reads all texts that are left after the first ones."""
    llm = {p.name: p.llm for p in POLICIES}[policy]
    return results.cost.prompts if llm and texts > results.sizes[0] else 0


def rows(results: SetResults) -> list[dict[str, Any]]:
    """A row per number of texts and policy, for JSON."""
    found = []
    for texts in results.sizes:
        for policy in (p.name for p in POLICIES):
            cells = results.of(policy, texts)
            f = stats.mean_over_seeds(tables_of(cells))
            keys, decisions = (mean([getattr(c, name) for c in cells]) for name in ("keys", "decisions"))
            row = {"texts": texts, "policy": policy, "seeds": len(cells), **f.flat("f")}
            row |= {"keys": keys.rounded(), "decisions": decisions.rounded()}
            found.append(row | {"llm_prompts": prompts(results, policy, texts)})
    return found


def gain(results: SetResults, texts: int) -> Estimate | None:
    """F of the default minus F of random order after so many texts; None for a single seed."""
    default, random = (tables_of(results.of(policy, texts)) for policy in ("default", "random"))
    noise = stats.seed_noise([default, random])
    return stats.difference_over_seeds(default, random, noise)[0] if noise else None


def saving(results: SetResults, texts: int) -> Estimate | None:
    """The share of key presses that the default saves against random order without suggestions, by seed.

    None for a single seed, which has no interval.
    """
    pairs = zip(results.of("random", texts), results.of("default", texts), strict=True)
    shares = [1 - default.keys / random.keys for random, default in pairs]
    return mean(shares) if len(shares) > 1 else None


def to_json(sets: Sequence[SetResults]) -> list[dict[str, Any]]:
    """All results, without the counts of single texts."""
    return [
        {
            "set": results.name,
            "pool": results.pool,
            "test": results.test,
            "seeds": len(results.seeds),
            "llm": vars(results.cost),
            "rows": rows(results),
            "default_minus_random": {
                str(texts): difference.rounded()
                for texts in results.sizes
                if (difference := gain(results, texts))
            },
            "keys_saved": {
                str(texts): share.rounded() for texts in results.sizes if (share := saving(results, texts))
            },
        }
        for results in sets
    ]


def terminal_rows(results: SetResults) -> list[tuple[str, ...]]:
    """The rows as people read them; a number of texts is named once."""
    found = []
    for number, row in enumerate(rows(results)):
        f = Estimate(row["f"], row["f_low"], row["f_high"])
        shown = str(row["texts"]) if number % len(POLICIES) == 0 else ""
        keys, decisions = (_count(Estimate(*row[name]), row["seeds"]) for name in ("keys", "decisions"))
        score = stats.format_score(f, documents=results.test)
        found.append((shown, row["policy"], score, decisions, keys, f"{row['llm_prompts']:,}"))
    return found


def _count(estimate: Estimate, seeds: int) -> str:
    shown = f"{estimate.value:,.0f}"
    return shown if seeds < 2 or estimate.half_width < 1e-9 else f"{shown} ±{ceil(estimate.half_width):,}"


def heading(results: SetResults) -> str:
    """What the table of a set rests on."""
    cost = results.cost
    dollars = f", ${cost.dollars:.2f}" if cost.dollars else ""
    return (
        f"{results.name}: {results.pool:,} texts to review, F on {results.test:,} other texts, "
        f"{counted(len(results.seeds), 'seed')}. LLM: {cost.prompts:,} prompts, "
        f"{cost.prompt_tokens:,} tokens read, {cost.completion_tokens:,} written, "
        f"{cost.seconds:,.0f} s{dollars}."
    )


def verdict(results: SetResults) -> str:
    """What the default gains in F and saves in keys against random order, at the largest number of texts."""
    texts = results.sizes[-1]
    difference, saved = gain(results, texts), saving(results, texts)
    if difference is None or saved is None:
        return "With a single seed, the policies can't be compared."
    return (
        f"With {texts} texts, F of the default minus F of random order is "
        f"{stats.format_difference(difference, results.test)}. The default takes {saved.value:.0%} fewer key "
        f"presses (95 % interval {saved.low:.0%} to {saved.high:.0%})."
    )


def shown(results: SetResults) -> str:
    """The table of a set for the terminal, with what it rests on and what it shows."""
    rows = table(terminal_rows(results), header=HEADER, divider=True, aligns=["r", "l", *"r" * 4])
    return "\n".join([fill(heading(results), 80), rows, fill(verdict(results), 80)])


def picture(sets: Sequence[SetResults]) -> Figure:
    """F against key presses, a panel per set, a line per policy."""
    columns = min(2, len(sets))
    lines = ceil(len(sets) / columns)
    drawn = figures.figure(3.4 * columns + 0.4, 2.4 * lines + 0.4)
    with rc_context(figures.STYLE):
        for number, results in enumerate(sets):
            axes = drawn.add_subplot(lines, columns, number + 1)
            for policy, colour in zip(POLICIES, figures.COLOURS, strict=False):
                _line(axes, results, policy.name, colour)
            seeds = counted(len(results.seeds), "seed")
            axes.set_title(f"{results.name} (n={results.test:,}, {seeds})", fontsize=9)
            axes.set_xlabel("key presses")
            axes.set_ylabel("F")
            axes.set_xlim(left=0)
            axes.set_ylim(bottom=0)
        handles, names = drawn.axes[0].get_legend_handles_labels()
        drawn.legend(handles, names, loc="outside lower center", ncols=len(POLICIES), frameon=False)
    return drawn


def _line(axes: Any, results: SetResults, policy: str, colour: str) -> None:
    found: list[Mapping[str, Any]] = [row for row in rows(results) if row["policy"] == policy]
    x = [row["keys"][0] for row in found]
    y = [row["f"] for row in found]
    low, high = ([abs(row["f"] - row[name]) for row in found] for name in ("f_low", "f_high"))
    style = {"color": colour, "marker": "o", "markersize": 3, "linewidth": 1.2, "elinewidth": 0.6}
    axes.errorbar(x, y, yerr=[low, high], label=policy, **style)

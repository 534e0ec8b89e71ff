"""What each part of the simulations returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from ie.core import stats as statistics
from ie.core.stats import CONFIDENCE, Estimate

Row = dict[str, int | float | str | Estimate]


@dataclass(frozen=True)
class Part:
    """The results of one part.

    rows: a cell of the simulation each, by the header of its column; all have the same columns. A share of
    the repetitions is an Estimate (`share`).
    note: what the columns mean and what would be right. repeats: made projects of each cell.
    """

    rows: list[Row]
    note: str
    repeats: int


def share(hits: int | Sequence[bool] | np.ndarray, n: int | None = None) -> Estimate:
    """A share of repetitions with its 95 % interval (Clopper and Pearson 1934).

    Args:
        hits: how many of `n`, or one boolean a repetition.
    """
    if n is None:
        flags = np.asarray(hits, dtype=bool)
        hits, n = int(flags.sum()), len(flags)
    if not n:
        return Estimate(float("nan"), float("nan"), float("nan"))
    found = stats.binomtest(int(hits), n).proportion_ci(CONFIDENCE, method="exact")
    return Estimate(int(hits) / n, float(found.low), float(found.high))


def shown(value: int | float | str | Estimate) -> str:
    """A value of a row as the table shows it."""
    if isinstance(value, Estimate):
        if np.isnan(value.value):
            return "–"
        return f"{statistics.decimals(value.value, 3)} ({ends(value)})"
    return f"{value:,}" if isinstance(value, int) else str(value)


def ends(value: Estimate) -> str:
    """`.93 to .97`."""
    return " to ".join(statistics.decimals(end, 3) for end in (value.low, value.high))


def to_json(part: Part) -> dict[str, Any]:
    """The rows as plain data: an Estimate is its value and its two ends, null where it isn't defined."""
    return {
        "note": part.note,
        "repeats": part.repeats,
        "rows": [
            {name: value.rounded() if isinstance(value, Estimate) else value for name, value in row.items()}
            for row in part.rows
        ],
    }

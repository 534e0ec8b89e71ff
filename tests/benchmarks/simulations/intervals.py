"""Do 95 % intervals of a mean over several trainings hold the true mean in 95 % of all cases?

In a made project the texts differ in how hard they are, the trainings in how good they are, and each training
has its own luck with each text. The truth is the mean F of all trainings over all texts.
"""

from itertools import product
from statistics import NormalDist

import numpy as np
from benchmarks.simulations import synthetic
from benchmarks.simulations.part import Part, Row, share

from ie.core import stats

TEXTS = (30, 127, 532)
SEEDS = (3, 5)
SPREADS = (0.005, 0.025, 0.09)
# Mean F of the trainings: far enough from 1 for their spread to be symmetric.
LEVEL = 0.75
REPEATS = 1000


def simulate(repeats: int, seed: int) -> Part:
    """Coverage of the interval that `train-curve` and others give the mean over seeds.

    Args:
        repeats: made projects of each cell; 0 for `REPEATS`.
    """
    repeats = repeats or REPEATS
    rows: list[Row] = []
    for texts, seeds, spread in product(TEXTS, SEEDS, SPREADS):
        held, widths = cell(texts, seeds, spread, repeats, seed)
        rows.append(
            {
                "texts": texts,
                "seeds": seeds,
                "sd over seeds": f"{spread:g}",
                "held": share(held),
                "half-width": f"{np.mean(widths):.3f}",
            }
        )
    note = "held: share of the 95 % intervals of the mean over seeds that hold the true mean."
    return Part(rows, note, repeats)


def cell(texts: int, seeds: int, spread: float, repeats: int, seed: int) -> tuple[list[bool], list[float]]:
    """Whether the interval held the truth in each made project, and half its width.

    Args:
        spread: sd of the trainings' quality.
    """
    rng = np.random.default_rng((seed, texts, seeds, round(spread * 1000)))
    truth = true_mean(spread)
    found = [
        stats.mean_over_seeds(synthetic.draw(rng, texts, LEVEL + spread * rng.normal(size=seeds)))
        for _ in range(repeats)
    ]
    return [f.low <= truth <= f.high for f in found], [(f.high - f.low) / 2 for f in found]


def true_mean(spread: float) -> float:
    """Mean F over all trainings on all texts, by integration over the quantiles of both."""
    normal = NormalDist()
    grid = np.array([normal.inv_cdf((i + 0.5) / 500) for i in range(500)])
    # As many spans are made up as are missed, so F is the share that is found.
    return float(synthetic.chance(LEVEL + spread * grid[:, None], grid[None]).mean())

"""Do 95 % intervals of a mean over several trainings hold the true mean in 95 % of all cases?

In a made project the texts differ in how hard they are, the trainings in how good they are, and each training
has its own luck with each text. The truth is the mean F of all trainings over all texts.
"""

from itertools import product
from statistics import NormalDist

import numpy as np
from scipy import stats

from ie import statistics
from ie.simulations.part import Part, Row, share

TEXTS = (30, 127, 532)
SEEDS = (3, 5)
SPREADS = (0.005, 0.025, 0.09)
# Spans of a text, how often one is found, and how much of the luck with it all trainings share.
SPANS = 3.0
LEVEL = 0.75
SHARED = 0.6
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
    found = [statistics.mean_over_seeds(draw(rng, texts, seeds, spread)) for _ in range(repeats)]
    return [f.low <= truth <= f.high for f in found], [(f.high - f.low) / 2 for f in found]


def draw(rng: np.random.Generator, texts: int, seeds: int, spread: float) -> list[np.ndarray]:
    """Counts (texts, 3) of each seed on the same made texts.

    Args:
        spread: sd of the trainings' quality.
    """
    spans = 1 + rng.poisson(SPANS - 1, size=texts)
    real = np.arange(spans.max()) < spans[:, None]
    hard = rng.normal(size=(texts, 1))
    # Most of the luck with a span is the same for all trainings, as some are harder than others.
    shared = rng.normal(size=(2, *real.shape))
    tables = []
    for quality in LEVEL + spread * rng.normal(size=seeds):
        own = rng.normal(size=shared.shape)
        luck = stats.norm.cdf(np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * own)
        found, right = luck < _chance(quality, hard)
        tp = (found & real).sum(axis=1)
        # As many spans are made up as are missed.
        tables.append(np.stack([tp, (~right & real).sum(axis=1), spans - tp], axis=-1))
    return tables


def _chance(quality: float | np.ndarray, hard: np.ndarray) -> np.ndarray:
    """How likely a span of each text is found: `quality` on average, spread over the texts."""
    return np.clip(quality + 0.08 * hard, 0.02, 0.98)


def true_mean(spread: float) -> float:
    """Mean F over all trainings on all texts, by integration over the quantiles of both."""
    normal = NormalDist()
    grid = np.array([normal.inv_cdf((i + 0.5) / 500) for i in range(500)])
    # As many spans are made up as are missed, so F is the share that is found.
    return float(_chance(LEVEL + spread * grid[:, None], grid[None]).mean())

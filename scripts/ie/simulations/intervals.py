"""Do 95 % intervals of a mean over several trainings hold the true mean in 95 % of all cases?

In a made project the texts differ in how hard they are, the trainings in how good they are, and each training
has its own luck with each text. The truth is the mean F of all trainings over all texts.
"""

import numpy as np

from ie import curves, statistics
from ie.simulations.part import Part, Row, share

TEXTS = (30, 127, 532)
SEEDS = (3, 5)
SPREADS = (0.005, 0.025, 0.09)
# Spans of a text, and how often one of them is found and right, on average.
SPANS = 3.0
LEVEL = 0.85
REPEATS = 1000


def simulate(repeats: int, seed: int) -> Part:
    """Coverage of the interval that `train-curve` and others give the mean over seeds.

    Args:
        repeats: made projects of each cell; 0 for `REPEATS`.
    """
    repeats = repeats or REPEATS
    rows: list[Row] = []
    for texts in TEXTS:
        for seeds in SEEDS:
            for spread in SPREADS:
                rng = np.random.default_rng((seed, texts, seeds, int(spread * 1000)))
                truth = true_mean(spread)
                held, widths = [], []
                for _ in range(repeats):
                    tables = draw(rng, texts, seeds, spread)
                    scores = [float(np.nan_to_num(statistics.prf(t.sum(axis=0))[2])) for t in tables]
                    found = curves.mean_over_seeds(
                        [statistics.intervals(t)[2] for t in tables], float(np.std(scores, ddof=1))
                    )
                    held.append(found.low <= truth <= found.high)
                    widths.append((found.high - found.low) / 2)
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


def draw(rng: np.random.Generator, texts: int, seeds: int, spread: float) -> list[np.ndarray]:
    """Counts (texts, 3) of each seed on the same made texts.

    Args:
        spread: sd of the trainings' quality.
    """
    spans = 1 + rng.poisson(SPANS - 1, size=texts)
    # Half of a text's luck is the text's own and the same for all trainings.
    hard = rng.normal(size=(texts,))
    tables = []
    for quality in LEVEL + spread * rng.normal(size=seeds):
        found = rng.binomial(spans, _chance(quality, hard))
        made = rng.binomial(spans, 1 - _chance(quality, hard))
        tables.append(np.stack([found, made, spans - found], axis=-1))
    return tables


def _chance(quality: float, hard: np.ndarray) -> np.ndarray:
    """How likely a span of each text is found: `quality` on average, spread over the texts."""
    return np.clip(quality + 0.1 * hard, 0.02, 0.98)


def true_mean(spread: float, draws: int = 4000) -> float:
    """Mean F over all trainings on infinitely many texts."""
    rng = np.random.default_rng(0)
    hard = rng.normal(size=20_000)
    values = []
    for quality in LEVEL + spread * rng.normal(size=draws if spread > 0.05 else draws // 4):
        p = float(_chance(quality, hard[:2000]).mean())
        values.append(p)  # as many spans made up as missed: F is the share that was found
    return float(np.mean(values))

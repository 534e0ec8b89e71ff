"""Do as many more texts as `evaluate` asks for tell two systems apart in 80 % of all cases?

The number that is asked for comes from many made texts, so that the differences seen are the true ones. Then
systems are compared on so many other texts, every two of them, as `evaluate` does.
"""

from collections.abc import Sequence

import numpy as np
from benchmarks.simulations import synthetic
from benchmarks.simulations.part import Part, Row, share

from ie.core import stats

# The first two systems are the pair that is asked about.
SYSTEMS = {
    "no other": (0.80, 0.76),
    "4 far apart": (0.80, 0.76, 0.68, 0.60, 0.50, 0.40),
    "4 between": (0.80, 0.76, 0.79, 0.785, 0.775, 0.77),
    "4 like the first": (0.80, 0.76, 0.80, 0.80, 0.80, 0.80),
}
SEEN = 50_000
REPEATS = 400
# Exchanges of each test: enough for the smallest level among 15 pairs.
EXCHANGES = 1999


def simulate(repeats: int, seed: int) -> Part:
    """The share of comparisons that tell the pair apart, on as many texts as were asked for.

    Args:
        repeats: comparisons of each cell; 0 for `REPEATS`.
    """
    repeats = repeats or REPEATS
    rows: list[Row] = []
    for i, (others, qualities) in enumerate(SYSTEMS.items()):
        texts, shown = cell(qualities, repeats, np.random.default_rng((seed, i)))
        pairs = len(qualities) * (len(qualities) - 1) // 2
        rows.append({"others": others, "pairs": pairs, "texts asked for": texts, "shown": share(shown)})
    note = "shown: share of comparisons that tell the first two systems apart (Holm-corrected); .80 is right."
    return Part(rows, note, repeats)


def cell(qualities: Sequence[float], repeats: int, rng: np.random.Generator) -> tuple[int, list[bool]]:
    """The texts that are asked for, and whether so many showed the difference in each comparison."""
    names = [f"system {i}" for i in range(len(qualities))]
    first, second = names[:2]

    def systems(n: int) -> dict[str, np.ndarray]:
        return dict(zip(names, synthetic.draw(rng, n, qualities), strict=True))

    texts = round(stats.needed(systems(SEEN), first, second))
    shown = [stats.compare(systems(texts), samples=EXCHANGES)[0].differs() for _ in range(repeats)]
    return texts, shown

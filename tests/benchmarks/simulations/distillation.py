"""How often is a way of using silver recommended that is no better than the reviewed texts alone?

In a made project every way of training is as good as the reviewed texts alone, and the LLM worse than all of
them. Trainings differ by the noise of seeds, and each has its own luck with each dev text.
"""

from itertools import product

import numpy as np
from benchmarks import distillation_comparison as comparison
from benchmarks.simulations import synthetic
from benchmarks.simulations.part import Part, Row, share

from ie.training.distill.recipes import LLM, REVIEWED
from ie.training.variants import variant_comparison

# The demo has 127 dev texts; silver alone and 12 recipes are compared with the reviewed texts alone.
TEXTS = (30, 127)
SPREADS = (0.005, 0.015)
WAYS = 13
SEEDS = 3
LEVEL, LLM_LEVEL = 0.75, 0.65
# Of the last cell, where one way is better by so much.
GAIN = 0.06
REPEATS = 400


def simulate(repeats: int, seed: int) -> Part:
    """How often `compare-distillation` recommends something, where nothing is better and where one way is.

    Args:
        repeats: made projects of each cell; 0 for `REPEATS`.
    """
    repeats = repeats or REPEATS
    rows: list[Row] = []
    for texts, spread, gain in [*product(TEXTS, SPREADS, [0.0]), (TEXTS[-1], SPREADS[0], GAIN)]:
        rng = np.random.default_rng((seed, texts, round(spread * 1000), round(gain * 1000)))
        found = [_recommended(rng, texts, spread, gain) for _ in range(repeats)]
        rows.append(
            {
                "dev texts": texts,
                "sd over seeds": f"{spread:g}",
                "one is better by": f"{gain:g}",
                "uncorrected": share([plain != REVIEWED for plain, _ in found]),
                "recommended": share([best != REVIEWED for _, best in found]),
            }
        )
    note = (
        f"recommended: how often one of {WAYS} ways is, though none is better than the reviewed texts alone "
        "(right is .05 at most), and in the last row how often where one is. uncorrected: if the lower bound "
        "of its gain alone decided."
    )
    return Part(rows, note, repeats)


def _recommended(rng: np.random.Generator, texts: int, spread: float, gain: float) -> tuple[str, str]:
    """What the lower bounds alone would recommend, and what is recommended."""
    ways = [REVIEWED, *(f"way {i}" for i in range(WAYS))]
    levels = [LEVEL] * WAYS + [LEVEL + gain]
    qualities = np.repeat(levels, SEEDS) + spread * rng.normal(size=SEEDS * len(ways))
    *tables, said = synthetic.draw(rng, texts, [*qualities, LLM_LEVEL])
    counts = {name: tables[i * SEEDS : (i + 1) * SEEDS] for i, name in enumerate(ways)}
    counts[LLM] = [said] * SEEDS
    asked = [(name, other) for other in (REVIEWED, LLM) for name in ways if name != other]
    pairs = variant_comparison.pairs(counts, asked, fixed=(LLM,))
    gains = {pair.first: pair.difference.low for pair in pairs if pair.second == REVIEWED}
    highest = max(gains, key=lambda name: gains[name])
    return highest if gains[highest] > 0 else REVIEWED, comparison.recommend(pairs)

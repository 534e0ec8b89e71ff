"""Do the projections of a learning curve hold, whatever the true curve looks like?

A made project has a true curve, four portions and three trainings of each, which differ by the noise of
seeds. Projected is the mean of as many new trainings with half as much data again, and with twice as much.
"""

from collections.abc import Callable

import numpy as np
from benchmarks.simulations.part import Part, Row, share

from ie.training.curve import projection

SIZES = (100, 200, 300, 400)
FURTHER = (600, 800)
SEEDS = 3
SPREADS = (0.005, 0.01, 0.02)
REPEATS = 200

# F by the number of examples in units of those there are. The first four are smooth; then one that stops, one
# that rises late, and one that rises again once it seems to have stopped.
TRUTHS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "power law": lambda x: 0.9 - 0.12 * x**-0.5,
    "exponential": lambda x: 0.86 - 0.4 * np.exp(-x / 0.4),
    "inverse": lambda x: 0.9 - 0.09 / (x + 0.1),
    "logarithm": lambda x: 0.8 + 0.08 * np.log(x),
    "plateau": lambda x: 0.55 + 0.3 * np.minimum(x / 0.6, 1),
    "sigmoid": lambda x: 0.4 + 0.45 / (1 + np.exp(-(x - 0.6) / 0.12)),
    "two-phase": lambda x: (
        0.6 + 0.12 * (1 - np.exp(-x / 0.12)) + 0.2 * (1 - np.exp(-np.maximum(x - 0.5, 0) / 0.4))
    ),
}
SMOOTH = tuple(TRUTHS)[:4]


def simulate(repeats: int, seed: int) -> Part:
    """Coverage of the projections that are shown, and how many are.

    Args:
        repeats: made projects of each cell; 0 for `REPEATS`.
    """
    repeats = repeats or REPEATS
    rows: list[Row] = []
    for name in TRUTHS:
        for spread in SPREADS:
            found = cell(name, spread, repeats, seed)
            shown = [one for one in found if not isinstance(one, str)]
            held = np.array([hits for hits, _ in shown]).reshape(-1, len(FURTHER))
            rows.append(
                {
                    "truth": name,
                    "sd over seeds": f"{spread:g}",
                    "no curve fits": share([isinstance(one, str) and "no learning" in one for one in found]),
                    "too unsure": share([isinstance(one, str) and "anything" in one for one in found]),
                    "shown": len(shown),
                    "held at 150 %": share(held[:, 0]),
                    "held at 200 %": share(held[:, 1]),
                    "half-width": f"{np.mean([half for _, half in shown]):.3f}" if shown else "–",
                }
            )
    note = (
        "held: share of the 90 % intervals shown that hold the mean of three new trainings; right is .85 and "
        "above. no curve fits, too unsure: share that is refused."
    )
    return Part(rows, note, repeats)


def cell(name: str, spread: float, repeats: int, seed: int) -> list[tuple[list[bool], float] | str]:
    """Of each made project: does each interval hold what comes, and half the width of the last; or why it is
    refused.

    Args:
        name: of `TRUTHS`. spread: sd of a training's F.
    """
    rng = np.random.default_rng((seed, list(TRUTHS).index(name), round(spread * 1000)))
    return [_project(rng, name, spread, i) for i in range(repeats)]


def _project(rng: np.random.Generator, name: str, spread: float, seed: int) -> tuple[list[bool], float] | str:
    def draw(n: int) -> np.ndarray:
        true = TRUTHS[name](np.array(n / SIZES[-1]))
        return np.clip(true + spread * rng.normal(size=SEEDS), 0, 1)

    scores = [draw(n).tolist() for n in SIZES]
    coming = [float(draw(n).mean()) for n in FURTHER]
    found = projection.project(SIZES, scores, FURTHER, seed=seed)
    if found.refused:
        return found.refused
    last = found.points[-1]
    held = [point.low <= f <= point.high for point, f in zip(found.points, coming, strict=True)]
    return held, (last.high - last.low) / 2

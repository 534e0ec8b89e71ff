"""Extrapolation of a learning curve: an ensemble of curve families, fitted with the noise of the seeds.

Every family is `a - b * g(n)`: linear in the asymptote `a` and the drop `b`, with a shape `g` that has one or
two parameters of its own. For each shape of a grid, `a` and `b` are the weighted least squares solution
(variable projection, Golub and Pereyra 1973), so that no fit depends on a starting point or ends in a local
optimum. Shapes are weighted by their likelihood; the interval is a parametric bootstrap of the seeds' noise
that redraws the shape as well. If even the closest shape misses the points by more than that noise,
nothing is projected. Families: Viering and Loog 2021 (arXiv 2103.10948), Chang et al. 2023
(arXiv 2307.00374).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from ie.core.errors import UserError
from ie.core.stats import Estimate, decimals, shown_digits
from ie.core.text import counted, names_in

CONFIDENCE = 0.9
INTERVAL = f"{CONFIDENCE * 100:.0f} % interval"
# How far the curve is projected, in multiples of the data; the method was tested up to twice.
FARTHEST = 4.0


class Shape(NamedTuple):
    """One g(n) of the grid, with n in multiples of the data; `share` is its prior weight in its family."""

    family: str
    first: float
    second: float
    share: float


@dataclass(frozen=True)
class ProjectionSettings:
    """Tuned on real curves (`benchmark-curve`) and simulated ones (`benchmark-statistics`), not on yours.

    Attributes:
        floor: least sd of one training's F.
        trust: weight, in trainings, of the sd pooled over portions.
        misfit: sd of a point about its family in units of the pooled sd, added to that of the seeds when
            shapes are weighted.
        widen: factor on the distance of the interval's ends from the middle.
        widest: half-width with half as much data again above which an interval is useless.
        lack: p-value of the closest shape's distance from the points below which no shape fits.
    """

    floor: float = 0.008
    trust: float = 4.0
    misfit: float = 0.5
    widen: float = 1.1
    widest: float = 0.07
    lack: float = 0.05
    samples: int = 400


@dataclass(frozen=True)
class Point:
    """The expected score with `examples`: mean over as many seeds as were run, on the same dev texts."""

    examples: int
    f: float
    low: float
    high: float


@dataclass(frozen=True)
class Need:
    """Total examples that reach a score; None if that is beyond `FARTHEST` times the data."""

    target: float
    examples: int | None
    low: int | None
    high: int | None


@dataclass(frozen=True)
class Projection:
    """The expected continuation of the curve; empty if `refused` (the reason).

    `families`: weight of each by fit, together 1. `f`, `low`, `high`: the curve over the sizes `grid`.
    """

    points: tuple[Point, ...] = ()
    families: dict[str, float] = field(default_factory=dict)
    grid: tuple[int, ...] = ()
    f: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    needs: tuple[Need, ...] = ()
    refused: str = ""


SETTINGS = ProjectionSettings()


def parse_targets(text: str) -> list[float]:
    """`"0.9,0.95"` as numbers.

    Raises:
        UserError: something isn't a number between 0 and 1.
    """
    try:
        targets = sorted({float(part) for part in names_in(text)})
    except ValueError:
        targets = [0.0]
    if not all(0 < target < 1 for target in targets):
        raise UserError(f"--targets {text!r} must be scores above 0 and below 1, such as 0.9,0.95.")
    return targets


def project(
    sizes: Sequence[int],
    scores: Sequence[Sequence[float]],
    at: Sequence[int],
    *,
    targets: Sequence[float] = (),
    settings: ProjectionSettings = SETTINGS,
    seed: int = 0,
) -> Projection:
    """Fit the ensemble and extrapolate beyond the last size.

    Args:
        sizes: examples of each portion, rising.
        scores: F of each seed at each size.
        at: sizes to report, above the last portion's.
        targets: scores whose sizes are estimated.
    """
    if reason := refusal(sizes, scores):
        return Projection(refused=reason)
    grid = sorted({int(n) for n in np.geomspace(sizes[-1], FARTHEST * sizes[-1], 49)} | set(at))
    own, pooled = _noise(scores, settings)
    fit = _lack_of_fit(sizes, scores, own, pooled, settings, seed)
    if fit.p < settings.lack:
        return Projection(
            refused="no learning curve fits these scores: the closest misses the mean of those with "
            f"{fit.worst:,} examples by {decimals(fit.miss, 3)}, and its noise over seeds is "
            f"{decimals(fit.noise, 3)}; more seeds would show whether that was luck"
        )
    middle, draws, noise, weights = _ensemble(sizes, scores, grid, own, pooled, fit.scale, settings, seed)
    rng = np.random.default_rng(seed + 1)
    seen = draws + rng.normal(size=(len(draws), 1)) * noise
    tail = (1 - CONFIDENCE) / 2
    low, high = (np.quantile(seen, q, axis=0) for q in (tail, 1 - tail))
    low, high = (np.clip(middle + settings.widen * (end - middle), 0, 1) for end in (low, high))
    points = tuple(
        Point(n, *(float(values[grid.index(n)]) for values in (middle, low, high))) for n in sorted(set(at))
    )
    half = float(np.interp(1.5 * sizes[-1], grid, high - low)) / 2
    if half > settings.widest:
        ends = " to ".join(decimals(float(np.interp(1.5 * sizes[-1], grid, end)), 2) for end in (low, high))
        return Projection(
            refused=f"with half as many examples again the score may be anything from {ends}; more examples, "
            "portions or seeds would narrow it"
        )
    spread = middle + settings.widen * (draws - middle)
    return Projection(
        points=points,
        families=weights,
        grid=tuple(grid),
        f=tuple(map(float, middle)),
        low=tuple(map(float, low)),
        high=tuple(map(float, high)),
        needs=tuple(_need(target, grid, middle, spread) for target in targets),
    )


def refusal(sizes: Sequence[int], scores: Sequence[Sequence[float]]) -> str:
    """Why nothing can be projected from these scores, or ""."""
    if len(sizes) < 3:
        return (
            f"a trend takes at least 3 portions, and there {'is' if len(sizes) == 1 else 'are'} {len(sizes)}"
        )
    if min(map(len, scores)) < 2:
        return "one seed shows no noise to set a rise against; run at least 2, better 3"
    means = [float(np.mean(values)) for values in scores]
    if not any(means):
        return "every score is 0"
    if min(means) >= 0.995:
        return "the score is about 1 at every portion"
    # No family falls: a fall beyond the noise of the seeds has another cause than the amount of data.
    best = int(np.argmax(means))
    spread = float(np.sqrt(np.mean([np.var(values, ddof=1) for values in scores])))
    fall = means[best] - means[-1]
    if fall > 4 * max(spread, SETTINGS.floor) * np.sqrt(2 / len(scores[-1])):
        return f"the score falls by {decimals(fall, 2)} from {sizes[best]:,} to {sizes[-1]:,} examples"
    return ""


@lru_cache(maxsize=1)
def _shapes() -> tuple[Shape, ...]:
    """The grid of every family; exponents are evenly spaced, scales on a logarithm."""
    exponents = np.arange(0.1, 1.55, 0.1)
    # The values of both parameters, and the prior weight. Most families keep rising, so a curve that has
    # stopped gets the weight of two of them.
    families = {
        "power": (exponents, (0.0,), 1),
        "shifted power": (exponents, (0.05, 0.2, 0.6), 1),
        "inverse": ((1.0,), (0.0, 0.05, 0.2, 0.5), 1),
        "exponential": (np.geomspace(0.1, 4, 30), (0.0,), 1),
        "logarithm": ((0.0,), (0.0,), 1),
        "hill": ((0.4, 0.6, 0.8, 1.0, 1.3, 1.7), np.geomspace(0.01, 4, 10), 1),
        "stretched exponential": ((0.3, 0.5, 0.7, 1.0), np.geomspace(0.02, 4, 8), 1),
        "plateau": (np.arange(0.3, 1.01, 0.05), (0.0,), 2),
    }
    return tuple(
        Shape(family, c, d, prior / len(first) / len(second))
        for family, (first, second, prior) in families.items()
        for c in first
        for d in second
    )


# g by family; the curves of those in RISES start from a score of 0 without examples, so b = a.
CURVES: dict[str, Callable[[np.ndarray, float, float], np.ndarray]] = {
    "power": lambda x, c, d: x**-c,
    "shifted power": lambda x, c, d: (x + d) ** -c,
    "inverse": lambda x, c, d: 1 / (x + d),
    "exponential": lambda x, s, d: np.exp(-x / s),
    "logarithm": lambda x, c, d: -np.log(x),
    "hill": lambda x, c, d: d**c / (x**c + d**c),
    "stretched exponential": lambda x, c, d: np.exp(-((x / d) ** c)),
    "plateau": lambda x, end, d: np.maximum(1 - x / end, 0),
}
RISES = ("hill", "stretched exponential")


def _noise(scores: Sequence[Sequence[float]], settings: ProjectionSettings) -> tuple[np.ndarray, float]:
    """Variance of one training at each portion, shrunk towards the pooled one, and the pooled one."""
    seeds = len(scores[0])
    own = np.array([np.var(values, ddof=1) for values in scores])
    pooled = max(float(own.mean()), settings.floor**2)
    return (settings.trust * pooled + (seeds - 1) * own) / (settings.trust + seeds - 1), pooled


class LackOfFit(NamedTuple):
    """How far the closest shape is from the mean scores.

    Attributes:
        p: how often scores drawn from that shape are as far from their closest one (parametric bootstrap, as
            no number of degrees of freedom is right for shapes that can't fall).
        scale: factor on the variance that would explain the distance, at least 1 (Birge 1932).
        worst: examples of the point that is missed most, by `miss` in F, where the sd of a mean over seeds is
            `noise`.
    """

    p: float
    scale: float
    worst: int
    miss: float
    noise: float


def _lack_of_fit(
    sizes: Sequence[int],
    scores: Sequence[Sequence[float]],
    own: np.ndarray,
    pooled: float,
    settings: ProjectionSettings,
    seed: int,
) -> LackOfFit:
    means, variance = np.array([np.mean(values) for values in scores]), own / len(scores[0])
    x, weight = np.array(sizes) / sizes[-1], 1 / (variance + settings.misfit**2 * pooled)

    def distances(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Squared distances of each row from every shape, and the shapes (rows, shapes, points)."""
        _, curves = _fit(rows, weight, x, x)
        return ((curves - rows[:, None, :]) ** 2 / variance).sum(axis=2), curves

    observed, curves = distances(means[None])
    closest = curves[0, observed[0].argmin()]
    rng = np.random.default_rng(seed + 2)
    drawn = closest + rng.normal(size=(settings.samples, len(means))) * np.sqrt(variance)
    chance = distances(drawn)[0].min(axis=1)
    misses = np.abs(closest - means)
    worst = int(misses.argmax())
    return LackOfFit(
        p=float(np.mean(chance >= observed.min())),
        scale=max(1.0, float(observed.min() / chance.mean())),
        worst=sizes[worst],
        miss=float(misses[worst]),
        noise=float(np.sqrt(variance[worst])),
    )


def _ensemble(
    sizes: Sequence[int],
    scores: Sequence[Sequence[float]],
    grid: Sequence[int],
    own: np.ndarray,
    pooled: float,
    scale: float,
    settings: ProjectionSettings,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, float, dict[str, float]]:
    """The mean curve over `grid`, (samples, grid) bootstrapped curves, the noise of a mean of seeds about
    them, and the weight of each family.

    Args:
        own, pooled: of `_noise`. scale: factor on that variance.
    """
    means = np.array([np.mean(values) for values in scores])
    seeds = len(scores[0])
    variance = own / seeds + settings.misfit**2 * pooled
    spread = scale * own / seeds
    rng = np.random.default_rng(seed)
    drawn = means + rng.normal(size=(settings.samples, len(means))) * np.sqrt(spread)
    unit = float(sizes[-1])
    weights, curves = _fit(
        np.vstack([means, drawn]), 1 / variance, np.array(sizes) / unit, np.array(grid) / unit
    )
    middle = weights[0] @ curves[0]
    # One shape for each redrawn set of scores, by its weight there.
    chosen = (weights[1:].cumsum(axis=1) < rng.random((settings.samples, 1))).sum(axis=1)
    draws = curves[1:][np.arange(settings.samples), np.minimum(chosen, len(_shapes()) - 1)]
    families: dict[str, float] = {}
    for shape, weight in zip(_shapes(), weights[0], strict=True):
        families[shape.family] = families.get(shape.family, 0.0) + float(weight)
    return middle, draws, float(np.sqrt(spread[-1])), families


def _fit(
    scores: np.ndarray, weight: np.ndarray, x: np.ndarray, further: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Every shape fitted to every row of scores: weights (rows, shapes), curves (rows, shapes, further)."""
    shapes = _shapes()
    here, there = (np.array([CURVES[s.family](at, s.first, s.second) for s in shapes]) for at in (x, further))
    share = np.array([s.share for s in shapes])
    rises = np.array([s.family in RISES for s in shapes])
    bounded = np.array([s.family != "logarithm" for s in shapes])
    total = weight.sum()

    def slope(y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Least squares through the origin; 0 for a plateau that all sizes have reached."""
        square = (x**2 * weight).sum(axis=1)
        return np.divide((y * weight) @ x.T, square, out=np.zeros((len(y), len(x))), where=square > 0)

    centre, mean = (here * weight).sum(axis=1) / total, (scores * weight).sum(axis=1) / total
    offset = here - centre[:, None]
    drop = np.maximum(-slope(scores - mean[:, None], offset), 0)  # no curve falls
    top = mean[:, None] + drop * centre
    # No score is above 1: if the fitted asymptote is, it is set to 1 and the drop is fitted alone.
    over = (top > 1) & bounded
    alone = np.maximum(slope(1 - scores, here), 0)
    top, drop = np.where(over, 1, top), np.where(over, alone, drop)
    scale = np.clip(slope(scores, 1 - here), 0, 1)
    top, drop = np.where(rises, scale, top), np.where(rises, scale, drop)
    misfit = scores[:, None, :] - (top[:, :, None] - drop[:, :, None] * here)
    logs = np.log(share) - (misfit**2 * weight).sum(axis=2) / 2
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights, np.clip(top[:, :, None] - drop[:, :, None] * there, 0, 1)


def _need(target: float, grid: Sequence[int], middle: np.ndarray, draws: np.ndarray) -> Need:
    tail = (1 - CONFIDENCE) / 2
    reached = np.array([_reaches(target, grid, curve) for curve in draws])
    low, high = np.quantile(reached, [tail, 1 - tail], method="nearest")
    sizes = (_reaches(target, grid, middle), low, high)
    return Need(target, *(int(np.ceil(n)) if np.isfinite(n) else None for n in sizes))


def _reaches(target: float, grid: Sequence[int], curve: np.ndarray) -> float:
    """The size at which a rising curve reaches a score; infinite beyond the grid."""
    if curve[0] >= target:
        return float(grid[0])
    if curve[-1] < target:
        return float("inf")
    return float(brentq(lambda n: np.interp(n, grid, curve) - target, grid[0], grid[-1], xtol=0.5))


@dataclass(frozen=True)
class ReviewCost:
    """What more training examples cost a person.

    Attributes:
        seconds: for one text. `source`: where that number is from.
        share: of the reviewed texts that is for training; the rest is for dev and test.
        spare: number of annotated examples that aren't in the largest portion.
    """

    seconds: float
    source: str
    share: float = 1.0
    spare: int = 0


def sentences(projection: Projection, have: int, *, reviewing: ReviewCost | None, dev: int) -> list[str]:
    """The projection in words: what more examples would bring, and what a score would cost.

    Args:
        have: examples of the largest portion.
        reviewing: None if examples aren't reviewed, so that they cost nobody time.
        dev: number of dev texts.
    """
    if projection.refused:
        return [f"No projection: {projection.refused}."]
    parts = []
    for point in projection.points:
        f, low, high = shown_point(point, dev)
        parts.append(f"{100 * point.examples / have:.0f} % of them F {f} ({INTERVAL} {low} to {high})")
    first = f"Projected from {have:,} examples, on the same {dev:,} dev texts: with {'; with '.join(parts)}."
    needs = [_need_sentence(need, have, reviewing) for need in projection.needs]
    return [first, *needs] if parts else needs


def shown_point(point: Point, dev: int) -> list[str]:
    """F and the ends of its interval, with the digits that they resolve."""
    places = shown_digits(dev, (point.high - point.low) / 2)
    return [decimals(value, places) for value in (point.f, point.low, point.high)]


def _need_sentence(need: Need, have: int, reviewing: ReviewCost | None) -> str:
    goal = f"F {decimals(need.target, 2)}"
    limit = f"{FARTHEST * have - have:,.0f}"
    if need.examples == have and need.high == have:
        return f"{goal} is reached already."
    low, high = (
        f"more than {limit}" if end is None else f"{_round(end - have):,}" for end in (need.low, need.high)
    )
    if need.examples is None and need.low is None:
        return (
            f"{goal} is out of reach of {limit} more examples ({INTERVAL}); more of the same isn't the way."
        )
    if need.examples is None:
        return (
            f"{goal} needs more than {limit} more examples, if it can be reached at all "
            f"({INTERVAL}: {low} to {high})."
        )
    if need.examples == have:
        return f"{goal} is about reached, give or take the noise ({INTERVAL}: 0 to {high} more examples)."
    more = need.examples - have
    cost = _cost(more, reviewing) if reviewing else ""
    return f"{goal} needs about {_round(more):,} more training examples ({INTERVAL}: {low} to {high}){cost}."


def _cost(more: int, reviewing: ReviewCost) -> str:
    """What so many more training examples take, as the end of a sentence."""
    if more <= reviewing.spare:
        return "; so many are annotated already: train on larger portions"
    texts = (more - reviewing.spare) / reviewing.share
    spare = f" beyond the {reviewing.spare:,} there are" if reviewing.spare else ""
    # New reviewed texts are split as the old ones were.
    split = f" ({reviewing.share * 100:.0f} % of them for training)" if reviewing.share < 1 else ""
    return (
        f"{spare}: about {_round(texts):,} texts to review{split}, "
        f"about {hours(texts * reviewing.seconds)} at {reviewing.source}"
    )


def hours(seconds: float) -> str:
    """`40 minutes`, `4.5 hours`."""
    if seconds < 5400:
        return counted(max(1, round(seconds / 60)), "minute")
    return f"{seconds / 3600:.1f} hours" if seconds < 36000 else f"{seconds / 3600:,.0f} hours"


def _round(n: float) -> int:
    """Two significant digits: more would claim too much."""
    if n < 100:
        return int(n)
    unit = 10 ** (len(str(int(n))) - 2)
    return int(round(n / unit) * unit)


def to_json(projection: Projection) -> dict:
    """The projection as a JSON object."""
    return {
        "confidence": CONFIDENCE,
        "refused": projection.refused or None,
        "points": [
            {"examples": p.examples, **Estimate(p.f, p.low, p.high).flat("f")} for p in projection.points
        ],
        "families": {name: round(weight, 4) for name, weight in projection.families.items()},
        "needs": [
            {"f": need.target, "examples": need.examples, "low": need.low, "high": need.high}
            for need in projection.needs
        ],
    }

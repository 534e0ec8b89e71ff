"""Uncertainty of scores: intervals, paired tests, and the digits that the data supports.

Everything works on counts: integer arrays whose last axis holds true positives, false positives and false
negatives, one row per document. Documents are resampled, not spans, since errors in one text are correlated.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from math import ceil, floor, inf, log10, sqrt
from statistics import NormalDist

import numpy as np
from scipy import optimize, stats

TP, FP, FN = range(3)
METRICS = ("p", "r", "f")
CONFIDENCE = 0.95
# Two of the 2^n ways to exchange the outputs on n documents, none and all, always give a difference as large
# as the observed one. So a two-sided p is at least 2 / 2^n, and can be below .05 only on this many documents.
FEWEST = 6
# On fewer documents even .80 and .90 can mostly not be told apart.
ENOUGH = 50
# The expected score before one is measured.
EXPECTED = 0.95
# Weight matrices are created in pieces of this many numbers (64 MB), which limits memory for large test sets.
PIECE = 8_000_000


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; `value` is NaN where it isn't defined (precision of no prediction)."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """The distance from the value to the farther end of the interval."""
        return max(self.value - self.low, self.high - self.value)

    def absolute(self) -> "Estimate":
        """The size of a difference."""
        return self if self.value >= 0 else Estimate(-self.value, -self.high, -self.low)

    def as_dict(self) -> dict[str, float]:
        """Value, low and high with four digits, by name, for JSON."""
        return {name: round(getattr(self, name), 4) for name in ("value", "low", "high")}

    def flat(self, name: str) -> dict[str, float | None]:
        """`name`, `name_low` and `name_high` with four digits, for JSON; None where undefined."""
        parts = {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}
        return {key: None if np.isnan(value) else round(value, 4) + 0.0 for key, value in parts.items()}

    def rounded(self) -> list[float] | None:
        """Value, low and high with four digits, for JSON; None where it isn't defined."""
        return None if np.isnan(self.value) else [round(x, 4) for x in (self.value, self.low, self.high)]


@dataclass(frozen=True)
class Pair:
    """Two systems on the same documents: difference in F (first minus second), interval, p-values.

    `p` is that of the pair alone, `holm` the one corrected for all pairs that were compared.
    """

    first: str
    second: str
    difference: Estimate
    p: float
    holm: float = float("nan")

    def differs(self) -> bool:
        """Whether the difference is significant after correction."""
        return self.holm < 1 - CONFIDENCE


def prf(counts: np.ndarray) -> np.ndarray:
    """Precision, recall and F of counts (..., 3), on the last axis; NaN where the denominator is 0."""
    tp, fp, fn = (counts[..., i].astype(float) for i in range(3))
    with np.errstate(invalid="ignore"):
        return np.stack([tp / (tp + fp), tp / (tp + fn), 2 * tp / (2 * tp + fp + fn)], axis=-1)


def bootstrap(counts: np.ndarray, *, samples: int = 2000, seed: int = 0) -> np.ndarray:
    """P, R and F of resamples of the documents, drawn with replacement (Efron 1979).

    The same seed and number of documents draw the same documents, so the resamples of several systems are
    paired.

    Args:
        counts: (documents, ..., 3).

    Returns:
        (samples, ..., 3), NaN where a score isn't defined in a resample.
    """
    return prf(resample(counts, samples=samples, seed=seed))


def resample(counts: np.ndarray, *, samples: int = 2000, seed: int = 0) -> np.ndarray:
    """Sums of counts (documents, ...) over resamples of the documents: (samples, ...)."""
    flat = counts.reshape(len(counts), -1).astype(float)
    sums = [weights @ flat for weights in _resamples(len(counts), samples, seed)]
    return np.concatenate(sums).reshape(samples, *counts.shape[1:])


def interval(
    counts: np.ndarray,
    score: Callable[[np.ndarray], np.ndarray],
    *,
    seed: int = 0,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Estimate:
    """Any score of summed counts with its percentile bootstrap interval over documents.

    Args:
        counts: (documents, ...); a document whose counts are all 0 isn't informative.
        score: from sums (samples, ...) to values (samples,), NaN where it isn't defined.
        bounds: the smallest and largest possible value.
    """
    value = float(score(counts.sum(axis=0, keepdims=True).astype(float))[0])
    n = int((counts.reshape(len(counts), -1).sum(axis=1) > 0).sum())
    return _percentile(value, score(resample(counts, seed=seed)), n, bounds)


def _resamples(n: int, samples: int, seed: int) -> Iterable[np.ndarray]:
    """How often each of `n` documents is drawn, in matrices of (rows, n)."""
    return _kept_resamples(n, samples, seed) if samples * n <= PIECE else _draw(n, samples, seed)


# An evaluation uses the same resamples for every system and label.
@lru_cache(maxsize=2)
def _kept_resamples(n: int, samples: int, seed: int) -> list[np.ndarray]:
    return list(_draw(n, samples, seed))


def _draw(n: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    for rows in _pieces(samples, n):
        yield rng.multinomial(n, np.full(n, 1 / n), size=rows).astype(float)


def intervals(
    counts: np.ndarray, *, samples: int = 2000, seed: int = 0
) -> tuple[Estimate, Estimate, Estimate]:
    """P, R and F of a system, from counts (documents, 3), with their percentile bootstrap intervals."""
    values = prf(counts.sum(axis=0))
    drawn = bootstrap(counts, samples=samples, seed=seed)
    # The documents that are informative for each score: with predictions, with gold, with either.
    n = [((counts[:, TP] + counts[:, FP]) > 0).sum(), ((counts[:, TP] + counts[:, FN]) > 0).sum()]
    n.append((counts.sum(axis=1) > 0).sum())
    p, r, f = (_percentile(float(v), drawn[:, i], int(n[i])) for i, v in enumerate(values))
    return p, r, f


def prf_figures(estimates: Iterable[Estimate]) -> dict[str, list[float] | None]:
    """P, R and F for a JSON file, each as [value, low, high]."""
    return {metric: estimate.rounded() for metric, estimate in zip(METRICS, estimates, strict=True)}


def _percentile(
    value: float, drawn: np.ndarray, n: int, bounds: tuple[float, float] = (0.0, 1.0)
) -> Estimate:
    if np.isnan(value):
        return Estimate(value, np.nan, np.nan)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    if high - low < 1e-12:
        # If all documents are alike (everything right, say), the bootstrap has no spread. As in Clopper and
        # Pearson (1934), a share of 1 - tail^(1/n) of all documents may differ without one in the sample.
        unseen = 1 - tail ** (1 / max(n, 1))
        low, high = value - unseen, value + unseen
    low, high = max(bounds[0], float(low)), min(bounds[1], float(high))
    return Estimate(value, min(low, value), max(high, value))


def difference(first: np.ndarray, second: np.ndarray, *, seed: int = 0) -> Estimate:
    """F of the first system minus F of the second, counts (documents, 3) of the same documents in one order,
    with a paired bootstrap."""
    both = np.stack([first, second], axis=1)
    drawn = bootstrap(both, seed=seed)[:, :, 2]
    values = prf(both.sum(axis=0))[:, 2]
    n = int((both.sum(axis=(1, 2)) > 0).sum())
    return _percentile(float(values[0] - values[1]), drawn[:, 0] - drawn[:, 1], n, (-1.0, 1.0))


def unpaired_difference(first: np.ndarray, second: np.ndarray, *, seed: int = 0) -> tuple[Estimate, float]:
    """F on some documents minus F on others, and the two-sided p of no difference.

    The documents of both are resampled independently of each other. p is Wald's, with the standard error of
    the bootstrap: an exchange of documents would also test whether both have equally many spans.

    Args:
        first, second: counts (documents, 3) of different documents.
    """
    value = float(prf(first.sum(axis=0))[2] - prf(second.sum(axis=0))[2])
    # F is 0 in a resample without any span
    drawn = np.nan_to_num(bootstrap(first, seed=seed)[:, 2])
    drawn = drawn - np.nan_to_num(bootstrap(second, seed=seed + 1)[:, 2])
    n = min(_informative([first]), _informative([second]))
    estimate = _percentile(value, drawn, n, (-1.0, 1.0))
    if np.isnan(value):
        return estimate, 1.0
    # where all documents of a side are alike, the interval is wider than the bootstrap's spread
    error = max(float(drawn.std()), estimate.half_width / _quantile(1 - CONFIDENCE, inf), 1e-12)
    return estimate, float(2 * stats.norm.sf(abs(value) / error))


@dataclass(frozen=True)
class SeedNoise:
    """How much trainings with other seeds differ, on the same documents.

    sd: of one training's F over the seeds. freedom: degrees of freedom of `sd`; infinite where it is assumed.
    luck: the part of sd squared that more documents would remove, as each training does better on some
    documents by chance. A bootstrap over documents includes that part as well.
    """

    sd: float
    freedom: float
    luck: float = 0.0


def seed_noise(systems: Iterable[Sequence[np.ndarray]], *, seed: int = 0) -> SeedNoise | None:
    """The noise of the seeds, pooled over systems; None where no system has two trainings.

    Args:
        systems: of each system the counts (documents, 3) of each training, all on the same documents.
    """
    squares = freedom = luck = 0.0
    for tables in systems:
        more = len(tables) - 1
        if more < 1:
            continue
        variance = float(np.var([_f(table.sum(axis=0)) for table in tables], ddof=1))
        drawn = _drawn_f(tables, seed)
        # Resampling the documents increases the variance by the luck of each training with each document.
        luck += more * max(0.0, float(drawn.var(axis=1, ddof=1).mean()) - variance)
        squares += more * variance
        freedom += more
    return SeedNoise(sqrt(squares / freedom), freedom, luck / freedom) if freedom else None


def _drawn_f(tables: Sequence[np.ndarray], seed: int) -> np.ndarray:
    """F of each training in resamples of the documents: (samples, trainings); 0 where it isn't defined."""
    return np.nan_to_num(bootstrap(np.stack(tables, axis=1), seed=seed)[..., 2])


def _mean_f(tables: Sequence[np.ndarray]) -> float:
    return float(np.mean([_f(table.sum(axis=0)) for table in tables]))


def _informative(tables: Sequence[np.ndarray]) -> int:
    """The number of documents with any count."""
    return int((np.stack(tables, axis=1).sum(axis=(1, 2)) > 0).sum())


def mean_over_seeds(tables: Sequence[np.ndarray], *, seed: int = 0) -> Estimate:
    """Mean F of several trainings, with an interval for the noise of documents and seeds (`combined`).

    A single training has the interval over documents alone. F counts as 0 where it isn't defined.

    Args:
        tables: counts (documents, 3) of each training, on the same documents.
    """
    drawn = _drawn_f(tables, seed).mean(axis=1)
    texts = _percentile(_mean_f(tables), drawn, _informative(tables))
    noise = seed_noise([tables], seed=seed)
    if noise is None:
        return texts
    return combined(texts, float(drawn.var()), noise, 1 / len(tables), bounds=(0.0, 1.0))[0]


def difference_over_seeds(
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    noise: SeedNoise,
    *,
    trained: int = 2,
    seed: int = 0,
) -> tuple[Estimate, float]:
    """Mean F of the first trainings minus that of the second, and the two-sided p of no difference.

    Args:
        first, second: counts (documents, 3) of each training, equally many, on the same documents.
        noise: of one training (`seed_noise`).
        trained: how many of the two have that noise; an LLM, which wasn't trained, repeats its counts.
    """
    drawn = _drawn_f(first, seed).mean(axis=1) - _drawn_f(second, seed).mean(axis=1)
    n = _informative([*first, *second])
    texts = _percentile(_mean_f(first) - _mean_f(second), drawn, n, (-1.0, 1.0))
    return combined(texts, float(drawn.var()), noise, trained / len(first), bounds=(-1.0, 1.0))


def combined(
    texts: Estimate, variance: float, noise: SeedNoise, share: float, *, bounds: tuple[float, float]
) -> tuple[Estimate, float]:
    """An interval over documents, widened by the noise of the seeds; and the two-sided p of a value of 0.

    The variances are added; see `_at` for the quantile.

    Args:
        texts: the value with its bootstrap interval over documents. variance: of that bootstrap.
        noise: of one training. share: of its variance that the value has, such as 1/3 for a mean of three.
    """
    if np.isnan(texts.value):
        return texts, 1.0
    # The luck of each training with each document is in both variances, but must count once.
    document_share = max(0.0, 1 - noise.luck * share / variance) if variance > 0 else 1.0
    seeds = noise.sd**2 * share
    z = _quantile(1 - CONFIDENCE, inf)

    def half(width: float) -> float:
        documents = document_share * (width / z) ** 2
        return _at(1 - CONFIDENCE, documents, seeds, noise.freedom) * sqrt(documents + seeds)

    down, up = texts.value - texts.low, texts.high - texts.value
    estimate = Estimate(
        texts.value, max(bounds[0], texts.value - half(down)), min(bounds[1], texts.value + half(up))
    )
    towards_0 = down if texts.value > 0 else up
    return estimate, _p(abs(texts.value), document_share * (towards_0 / z) ** 2, seeds, noise.freedom)


def _quantile(p: float, freedom: float) -> float:
    """Two-sided quantile of Student's t, or of the normal distribution if `freedom` is infinite."""
    return float(stats.norm.isf(p / 2) if np.isinf(freedom) else stats.t.isf(p / 2, freedom))


def _at(p: float, documents: float, seeds: float, freedom: float) -> float:
    """The two-sided quantile for a value whose variance is the sum of both, that of the seeds estimated.

    The mean of two rules. The mean of the normal quantile and Student's t, weighted by the variances (Cochran
    and Cox 1957, section 4.14), is too wide: "95 %" are up to 97 % with three seeds. Student's t with
    Satterthwaite's degrees of freedom (1946) is too narrow: down to 92 %. Their mean gives 94 to 96 %, with
    two seeds 92 to 97 %.
    """
    total = documents + seeds
    if not seeds > 0 or np.isinf(freedom):
        return _quantile(p, inf)
    weighted = (documents * _quantile(p, inf) + seeds * _quantile(p, freedom)) / total
    return (weighted + _quantile(p, freedom * (total / seeds) ** 2)) / 2


def _p(value: float, documents: float, seeds: float, freedom: float) -> float:
    """The p, 1e-12 at least, for which the interval of `combined` ends at 0."""
    total = documents + seeds
    if value <= 1e-12 or total <= 0:
        return 1.0 if value <= 1e-12 else 1e-12

    def beyond(p: float) -> float:
        return _at(p, documents, seeds, freedom) - value / sqrt(total)

    return 1e-12 if beyond(1e-12) < 0 else float(optimize.brentq(beyond, 1e-12, 1.0))


def randomisation(first: np.ndarray, second: np.ndarray, *, samples: int = 9999, seed: int = 0) -> float:
    """Two-sided p of F being equal, by paired approximate randomisation (Noreen 1989; Yeh 2000).

    If the systems were equal, their outputs on a document could be exchanged. p is the share of random
    exchanges whose difference is as large as the observed one, and at least 1 / (samples + 1).

    Args:
        first, second: counts (documents, 3) of the same documents in one order.
    """
    if first.shape != second.shape:
        raise ValueError(f"the systems must be scored on the same documents: {first.shape}, {second.shape}")
    change = (second - first).astype(float)
    change = change[np.any(change != 0, axis=1)]  # exchanging equal counts changes nothing
    sums = first.sum(axis=0), second.sum(axis=0)
    observed = abs(_f(sums[0]) - _f(sums[1]))
    if not len(change):
        return 1.0
    rng = np.random.default_rng(seed)
    as_large = 0
    for rows in _pieces(samples, len(change)):
        moved = rng.integers(0, 2, size=(rows, len(change)), dtype=np.int8) @ change
        as_large += int((np.abs(_f(sums[0] + moved) - _f(sums[1] - moved)) >= observed - 1e-12).sum())
    return (as_large + 1) / (samples + 1)


def _f(counts: np.ndarray) -> np.ndarray:
    """F, 0 where nothing is annotated and nothing predicted, so that exchanges can be compared."""
    return np.nan_to_num(prf(counts)[..., 2])


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's step-down method (Holm 1979), in the order given."""
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = largest
    return adjusted


def compare(systems: dict[str, np.ndarray], *, samples: int = 9999, seed: int = 0) -> list[Pair]:
    """Every two systems on the same documents, Holm-corrected over all the pairs.

    Args:
        systems: name to counts (documents, 3).
    """
    pairs = []
    for a, b in combinations(systems, 2):
        first, second = systems[a], systems[b]
        p = randomisation(first, second, samples=samples, seed=seed)
        pairs.append(Pair(a, b, difference(first, second, seed=seed), p))
    corrected = holm([pair.p for pair in pairs])
    return [replace(pair, holm=adjusted) for pair, adjusted in zip(pairs, corrected, strict=True)]


def groups(names: Sequence[str], pairs: Sequence[Pair]) -> list[tuple[str, ...]]:
    """The largest sets of systems of which no two differ, in the order of `names`.

    A system may be in several, as not to differ isn't transitive (compact letter display, Piepho 2004).
    """
    apart = {frozenset((pair.first, pair.second)) for pair in pairs if pair.differs()}
    largest: list[tuple[str, ...]] = []
    # There are few systems, so all subsets can be tried.
    for size in range(len(names), 0, -1):
        for subset in combinations(names, size):
            if any(frozenset(two) in apart for two in combinations(subset, 2)):
                continue
            if not any(set(subset) <= set(other) for other in largest):
                largest.append(subset)
    return sorted(largest, key=lambda group: [names.index(name) for name in group])


def needed(systems: Mapping[str, np.ndarray], first: str, second: str, *, power: float = 0.8) -> float:
    """How many documents in all would tell two of the systems apart with probability `power`.

    "Apart" is decided as in `compare`, with Holm's correction over every two systems. It is assumed that the
    observed differences are the true ones, that more documents are like these, and that the errors fall with
    the square root of their number. Infinite if the two score the same.

    Args:
        systems: name to counts (documents, 3).
    """
    pairs = list(combinations(systems, 2))
    chosen = next(i for i, pair in enumerate(pairs) if set(pair) == {first, second})
    counts = np.stack(list(systems.values()), axis=1)
    names = list(systems)
    left, right = ([names.index(pair[side]) for pair in pairs] for side in (0, 1))
    observed, drawn = (
        f[..., left] - f[..., right]
        for f in (_f(counts.sum(axis=0)), np.nan_to_num(bootstrap(counts)[..., 2]))
    )
    if abs(observed[chosen]) < 1e-12:
        return inf
    errors = np.maximum(drawn.std(axis=0), 1e-12)
    noise = (drawn - drawn.mean(axis=0)) / errors
    ranks = np.arange(len(pairs), 0, -1)

    def shown(factor: float) -> float:
        """The share of resamples of `factor` times the documents in which the two differ."""
        z = np.abs(observed / errors * sqrt(factor) + noise)
        order = np.argsort(-z, axis=1, kind="stable")
        p = 2 * stats.norm.sf(np.take_along_axis(z, order, axis=1))
        adjusted = np.maximum.accumulate(ranks * p, axis=1)
        return float(np.mean(adjusted[order == chosen] < 1 - CONFIDENCE))

    low, high = -6.0, 12.0  # powers of ten, wide enough for any two that don't score the same
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if shown(10**middle) >= power else (middle, high)
    return len(counts) * 10**high


def digits(n: int, half_width: float | None = None) -> int:
    """Digits after the point that a score on `n` documents supports; 0 below ten documents.

    10^k documents for k digits (slide 76), and at most to the first digit of the half-width of the interval,
    if it is given: ±.045 allows two digits, ±.14 one.
    """
    places = floor(log10(n) + 1e-9) if n > 0 else 0
    if half_width is not None and half_width > 0:
        places = min(places, max(0, ceil(-log10(half_width) - 1e-9)))
    return places


def shown_digits(n: int, half_width: float | None = None) -> int:
    """`digits`, but at least one, for a score that is shown without its n."""
    return max(1, digits(n, half_width))


def fine_digits(n: int, half_width: float | None = None) -> int:
    """Digits of a difference between scores on the same documents, or of a score's spread over seeds.

    One more than for a score, as the noise of the documents is in both.
    """
    return digits(n, half_width) + 1


def expected_half_width(n: int) -> float:
    """Half-width of the 95 % interval of a score of about .95 on `n` documents, before one is measured.

    Treats the score as a share of documents (normal approximation): ±.14 for 10, ±.043 for 100, ±.014 for
    1,000 documents.
    """
    return NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * sqrt(EXPECTED * (1 - EXPECTED) / n) if n else 1.0


def resolved_digits(n: int) -> int:
    """Digits that `n` documents support for a score of about .95: two for 1,000 documents (slide 76)."""
    return digits(n, expected_half_width(n))


def documents_for(places: int) -> int:
    """The smallest number of documents with so many `resolved_digits`: 10, 100, 1,825."""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    return max(10**places, ceil(z**2 * EXPECTED * (1 - EXPECTED) * 100 ** (places - 1)))


def two_digits(number: float) -> int:
    """A number rounded to two significant digits."""
    if number <= 0:
        return 0
    unit = 10 ** max(0, floor(log10(number)) - 1)
    return int(round(number / unit) * unit)


def decimals(value: float, places: int) -> str:
    """A number in [-1, 1] the short way: .87, 1.0, -.02; "–" if it isn't defined."""
    if np.isnan(value):
        return "–"
    text = f"{round(value, places) + 0.0:.{places}f}"  # + 0.0 makes -0.0 a plain 0
    return text.replace("0.", ".", 1) if abs(value) < 1 and text.lstrip("-").startswith("0.") else text


def half_width(width: float, places: int) -> str:
    """Half of an interval's width, rounded up, and never ±.00."""
    return decimals(max(1, ceil(width * 10**places - 1e-9)) / 10**places, places)


def ends(estimate: Estimate, places: int) -> str:
    """`.30 to 1.00`: an interval with its ends rounded outwards."""
    unit = 10**places
    low, high = floor(estimate.low * unit + 1e-9) / unit, ceil(estimate.high * unit - 1e-9) / unit
    return f"{decimals(low, places)} to {decimals(high, places)}"


def format_score(
    estimate: Estimate,
    n: int | None = None,
    *,
    documents: int | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> str:
    """`.87 ±.02 (n=512)`, with the digits that the documents support.

    Below ten documents only the interval is given, as no digit is certain: `.2 to 1.0 (n=4)`. The same where
    ± would exceed the bounds: `.30 to 1.00`.

    Args:
        n: the number of documents, shown; None shows none.
        documents: their number where it isn't shown.
        bounds: the smallest and largest possible value.
    """
    if np.isnan(estimate.value):
        return "–"
    count = n if n is not None else documents
    places = digits(count or 0, estimate.half_width)
    shown = f" (n={n:,})" if n is not None else ""
    if not places:
        return f"{ends(estimate, 1)}{shown}"
    half = half_width(estimate.half_width, places)
    value = round(estimate.value, places)
    if value - float(half) < bounds[0] - 1e-9 or value + float(half) > bounds[1] + 1e-9:
        return f"{ends(estimate, max(2, places))}{shown}"
    return f"{decimals(estimate.value, places)} ±{half}{shown}"


def format_p(p: float) -> str:
    """A p-value: `.0001`, `.03`, `.4`."""
    if p >= 0.1:
        return decimals(p, 1 if p < 0.95 else 0)
    return decimals(p, 2 if p >= 0.01 else 4)


def format_difference(estimate: Estimate, n: int) -> str:
    """`.012 (95 % interval -.004 to .028)`: a difference, with one digit more than a score."""
    places = fine_digits(n, estimate.half_width)
    value, low, high = (decimals(x, places) for x in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({CONFIDENCE * 100:.0f} % interval {low} to {high})"


def _pieces(samples: int, n: int) -> Iterator[int]:
    """`samples` divided into numbers of rows, such that a matrix (rows, n) has at most PIECE numbers."""
    size = max(1, PIECE // max(n, 1))
    for start in range(0, samples, size):
        yield min(size, samples - start)

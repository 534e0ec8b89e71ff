"""Two-sample tests of applied texts against the reference, corrected for several measures and many looks.

Each text has a value of each measure, so texts are the sample. A share is tested by Fisher's exact test, an
amount by the test of Mann and Whitney (1947), which compares ranks: a few huge texts decide nothing. Within a
look, p-values are corrected by Holm's method. Look k may spend ALPHA / (k (k + 1)) of the probability of a
false alarm, half on its own texts and half on all texts up to it (alpha spending, Lan and DeMets 1983; the
parts add up to ALPHA over any number of looks). An alarm also needs a difference of at least `SMALL`, as with
a million texts every difference is significant.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import asin, inf, sqrt

import numpy as np
from scipy import stats as scipy_stats

from ie.core import stats
from ie.core.stats import Estimate
from ie.deploy.watch.measures import Measure, Tally

# Probability of a false alarm, over all measures and all looks.
ALPHA = 0.01
# Texts of a look at least; smaller files or days are joined with the next one.
MINIMUM = 50
# The smallest difference that counts: what Cohen (1988) calls small, as his h for shares and as his d for
# amounts. d is that of normal distributions with the same probability that a text of one has more than a text
# of the other (McGraw and Wong 1992), so it also depends on ranks alone: .2 is a probability of .56.
SMALL = 0.2


@dataclass(frozen=True)
class Difference:
    """A measure of some texts beside that of the reference.

    Attributes:
        effect: size of the difference as a multiple of `SMALL`, negative where the texts have less.
        p: of no difference. holm: corrected for the number of measures in the look.
        alarm: whether it is significant and large enough.
    """

    measure: Measure
    value: Estimate
    reference: Estimate
    effect: float
    p: float
    holm: float = 1.0
    alarm: bool = False


@dataclass(frozen=True)
class Look:
    """The comparison of a file or day, or of several small ones, or of all texts.

    Attributes:
        name: "news-05.parquet", or "2026-05-01 to 2026-05-03".
        level: what Holm's p must be below.
    """

    name: str
    tally: Tally
    level: float
    differences: tuple[Difference, ...]

    @property
    def alarms(self) -> list[Difference]:
        """The differences that count, the largest first."""
        return sorted((d for d in self.differences if d.alarm), key=lambda d: -abs(d.effect))


@dataclass(frozen=True)
class Drift:
    """All comparisons.

    Attributes:
        looks: in order. total: of all texts together; None if there are too few.
        texts: all of them. waiting: texts at the end that are too few for a look of their own.
    """

    reference: Tally
    looks: tuple[Look, ...]
    total: Look | None
    texts: int
    waiting: int = 0

    @property
    def comparisons(self) -> list[Look]:
        """The looks, and that at all texts."""
        return [*self.looks, *([self.total] if self.total else [])]

    @property
    def alarmed(self) -> list[Look]:
        """The looks with an alarm."""
        return [look for look in self.looks if look.alarms]

    @property
    def drifted(self) -> bool:
        """Whether any texts differ."""
        return bool(self.alarmed) or bool(self.total and self.total.alarms)


def compare(reference: Tally, periods: Mapping[str, Tally]) -> Drift:
    """Compare files or days, in order, with the reference."""
    texts = sum(tally.texts for tally in periods.values())
    looks: list[Look] = []
    for name, tally in joined(periods.items()):
        looks.append(look_at(name, tally, reference, _level(len(looks) + 1)))
    total = None
    if looks:
        everything = sum(periods.values(), start=Tally(reference.measures))
        total = look_at("all texts", everything, reference, _level(len(looks)))
    return Drift(reference, tuple(looks), total, texts, texts - sum(look.tally.texts for look in looks))


def _level(number: int) -> float:
    return ALPHA / (number * (number + 1)) / 2


def joined(periods: Iterable[tuple[str, Tally]]) -> Iterator[tuple[str, Tally]]:
    """The periods, with small ones joined until they have `MINIMUM` texts; a smaller rest is left out."""
    first, held = "", None
    for name, tally in periods:
        first, held = (name, tally) if held is None else (first, held + tally)
        if held.texts >= MINIMUM:
            yield name if first == name else f"{first} to {name}", held
            held = None


def look_at(name: str, tally: Tally, reference: Tally, level: float) -> Look:
    """Test every measure that both have."""
    compared = [
        difference(tally, reference, measure)
        for measure in reference.measures
        if tally.counted(measure) and reference.counted(measure)
    ]
    corrected = stats.holm([one.p for one in compared])
    differences = tuple(
        Difference(
            one.measure,
            one.value,
            one.reference,
            one.effect,
            one.p,
            holm,
            # a hair below SMALL is SMALL, so that no last bit decides
            alarm=holm < level and abs(one.effect) >= 1 - 1e-9,
        )
        for one, holm in zip(compared, corrected, strict=True)
    )
    return Look(name, tally, level, differences)


def difference(tally: Tally, reference: Tally, measure: Measure) -> Difference:
    """A measure of texts against the reference."""
    values, baseline = tally.mean(measure), reference.mean(measure)
    bins, reference_bins = tally.bins[measure.name], reference.bins[measure.name]
    if measure.kind == "share":
        effect = 2 * (asin(sqrt(values.value)) - asin(sqrt(baseline.value)))
        p = float(scipy_stats.fisher_exact([bins.tolist(), reference_bins.tolist()])[1])
    else:
        superiority, p = mann_whitney(bins, reference_bins)
        # no text of one being above any of the other has no finite d
        effect = sqrt(2) * float(scipy_stats.norm.ppf(min(max(superiority, 0.001), 0.999)))
    return Difference(measure, values, baseline, effect / SMALL, min(1.0, p))


def mann_whitney(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """The probability that a value of the first is larger (ties count half), and the two-sided p of one half.

    Args:
        first, second: numbers of values in the same intervals, in order; values in one interval are ties.
    """
    a, b = first.astype(float), second.astype(float)
    n, m = float(a.sum()), float(b.sum())
    below = np.concatenate([[0.0], np.cumsum(b)[:-1]])
    u = float((a * (below + b / 2)).sum())
    ties = a + b
    total = n + m
    variance = n * m / 12 * ((total + 1) - float((ties**3 - ties).sum()) / (total * (total - 1)))
    if variance <= 0:
        return 0.5, 1.0
    # half a rank is the correction for continuity
    z = max(0.0, abs(u - n * m / 2) - 0.5) / sqrt(variance)
    return u / (n * m), float(2 * scipy_stats.norm.sf(z))


def ratio(one: Difference) -> float:
    """How many times the reference the texts have; infinite if it has none."""
    return one.value.value / one.reference.value if one.reference.value > 0 else inf


def differing(looks: Sequence[Look]) -> list[Difference]:
    """Of each measure that differs in any of the looks, the largest difference; the largest first."""
    largest: dict[str, Difference] = {}
    for one in (one for look in looks for one in look.alarms):
        kept = largest.get(one.measure.name)
        if kept is None or abs(one.effect) > abs(kept.effect):
            largest[one.measure.name] = one
    return sorted(largest.values(), key=lambda one: -abs(one.effect))

"""Made texts and systems: how good each system is, is known."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

# Spans of a text on average, and how much of the luck with a span all systems share.
SPANS = 3.0
SHARED = 0.6


def draw(rng: np.random.Generator, texts: int, qualities: Sequence[float]) -> list[np.ndarray]:
    """Counts (texts, 3) of systems of these qualities (the F they tend to) on the same made texts."""
    spans = 1 + rng.poisson(SPANS - 1, size=texts)
    real = np.arange(spans.max()) < spans[:, None]
    hard = rng.normal(size=(texts, 1))
    # Most of the luck with a span is the same for all systems, as some are harder than others.
    shared = rng.normal(size=(2, *real.shape))
    tables = []
    for quality in qualities:
        own = rng.normal(size=shared.shape)
        luck = stats.norm.cdf(np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * own)
        found, right = luck < chance(quality, hard)
        tp = (found & real).sum(axis=1)
        # As many spans are made up as are missed.
        tables.append(np.stack([tp, (~right & real).sum(axis=1), spans - tp], axis=-1))
    return tables


def chance(quality: float | np.ndarray, hard: np.ndarray) -> np.ndarray:
    """How likely a span of each text is found: `quality` on average, spread over the texts."""
    return np.clip(quality + 0.08 * hard, 0.02, 0.98)

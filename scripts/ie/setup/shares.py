"""Shares of the split at which a small set has enough texts of each part for a first model."""

from collections.abc import Mapping

from ie.data.config import DataConfig
from ie.data.records import accepted
from ie.setup.inputs import Inputs

# In percent, for test and dev; training keeps at least a fifth.
TEST, DEV, MOST = range(10, 65, 5), range(5, 45, 5), 80
# With more texts, each part has enough at the usual shares.
SMALL = 300


def fit_shares(data: DataConfig, inputs: Inputs, wanted: Mapping[str, int]) -> DataConfig:
    """The settings with the nearest shares at which each part has enough texts; the same if no shares do.

    A hash decides where a text goes, so chance may leave a part of a small set with too few. The reviewed
    texts are counted if they are enough for all parts together, else all texts.

    Args:
        wanted: number of texts by part.
    """
    enough = sum(wanted.values())
    texts = inputs.gold if len(accepted(inputs.gold)) >= enough else inputs.texts
    if not enough <= len(texts) <= SMALL:
        return data
    now = data.split

    def distance(shares: tuple[float, float]) -> tuple[float, tuple[float, float]]:
        return abs(shares[0] - now.test_percent) + abs(shares[1] - now.dev_percent), shares

    pairs = [(test, dev) for test in (now.test_percent, *TEST) for dev in (now.dev_percent, *DEV)]
    for test, dev in sorted(pairs, key=distance):
        split = now.model_copy(update={"test_percent": test, "dev_percent": dev})
        fitted = data.model_copy(update={"split": split})
        parts = fitted.assign(texts, []) if test + dev <= MOST else None
        if parts and all(len(getattr(parts, part)) >= n for part, n in wanted.items()):
            return data if split == now else fitted
    return data

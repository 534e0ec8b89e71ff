"""What every part of the simulations shares."""

import numpy as np
import pytest
from benchmarks.simulations import intervals, part

from ie.core.stats import Estimate


def test_a_share_has_the_exact_interval():
    # Clopper and Pearson (1934): of 20 without a hit, 1 - .025^(1/20) at most
    found = part.share(0, 20)
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 20))
    assert part.share([True, False]).value == 0.5
    assert part.shown(part.share(0, 0)) == "–"


def test_what_is_written_is_plain():
    rows = [{"n": 1000, "held": Estimate(0.95, 0.93, 0.97), "none": part.share(0, 0)}]
    assert part.to_json(part.Part(rows, "note", 7)) == {
        "note": "note",
        "repeats": 7,
        "rows": [{"n": 1000, "held": [0.95, 0.93, 0.97], "none": None}],
    }
    assert [part.shown(value) for value in rows[0].values()] == ["1,000", ".950 (.930 to .970)", "–"]


def test_the_same_seed_makes_the_same_projects():
    first, again, other = (intervals.cell(30, 3, 0.025, 3, seed) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(("texts", "spread"), [(532, 0.005), (127, 0.09)])
def test_intervals_over_three_seeds_hold_the_truth_as_often_as_they_say(texts, spread):
    held, _ = intervals.cell(texts, 3, spread, 150, 0)
    # .95 and three standard errors; the normal quantile gave .99 with trainings alike, .75 with these others
    assert 0.895 <= np.mean(held) <= 0.99

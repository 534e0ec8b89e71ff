"""Shares of the split for a small set."""

import random

import pytest

from ie.data.config import DataConfig
from ie.data.records import Record
from ie.setup.inputs import Inputs
from ie.setup.shares import SMALL, fit_shares

WANTED = {"train": 6, "dev": 3, "test": 3}


def texts(n: int, seed: int) -> list[Record]:
    rng = random.Random(seed)
    words = [["".join(rng.choices("abcdefghijk", k=6)) for _ in range(8)] for _ in range(n)]
    return [Record(text=" ".join(text)) for text in words]


def missing(data: DataConfig, records: list[Record]) -> list[str]:
    parts = data.assign(records, [])
    return [part for part, n in WANTED.items() if len(getattr(parts, part)) < n]


@pytest.mark.parametrize("n", [20, 30, 60])
def test_each_part_gets_enough(n: int) -> None:
    data, short = DataConfig(), 0
    for seed in range(20):
        records = texts(n, seed)
        fitted = fit_shares(data, Inputs(texts=records, gold=records), WANTED)
        assert not missing(fitted, records)
        # nothing is changed without need
        assert (fitted is data) == (not missing(data, records))
        short += bool(missing(data, records))
    assert short or n == 60


def test_too_few_reviewed_texts_leave_the_shares_to_all_texts() -> None:
    seed = next(seed for seed in range(99) if missing(DataConfig(), texts(20, seed)))
    records = texts(20, seed)
    fitted = fit_shares(DataConfig(), Inputs(texts=records, gold=records[:5]), WANTED)
    assert not missing(fitted, records)


@pytest.mark.parametrize("n", [5, SMALL + 1])
def test_sets_that_shares_can_not_help_or_that_need_none(n: int) -> None:
    same = [Record(text=f"the same words but for one number {i}") for i in range(n)]
    data = DataConfig()
    assert fit_shares(data, Inputs(texts=same, gold=same), WANTED) is data


def test_texts_that_resemble_each_other_stay_together_whatever_the_shares() -> None:
    same = [Record(text=f"the same dozen words in all of these texts but a number {i}") for i in range(20)]
    data = DataConfig()
    assert fit_shares(data, Inputs(texts=same, gold=same), WANTED) is data

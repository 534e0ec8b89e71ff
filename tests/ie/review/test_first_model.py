"""What a first model lacks, in words."""

from pathlib import Path

import pytest

from ie.data.records import Record
from ie.data.splits import Split, assign, part_of, shares
from ie.review import first_model
from ie.review.settings import BeginSection

BEGIN = BeginSection(train=6, dev=3, test=3)
SHARES = shares(37, 10)
FILES = {"texts": Path("texts.jsonl"), "data": Path("data.cfg")}
ASKED = "`weasel run review` asks for them first"
PLENTY = {"train": 50, "dev": 10, "test": 40}


def test_parts_that_have_enough_are_left_out() -> None:
    assert first_model.missing(BEGIN, {"train": 5, "dev": 0, "test": 9}) == {"train": 1, "dev": 3}
    assert first_model.missing(BEGIN, {"dev": 3, "test": 3}) == {}
    # nothing works without any text of a part
    assert first_model.missing(BeginSection(train=0, dev=0, test=0), {"dev": 0, "test": 1}) == {"dev": 1}


@pytest.mark.parametrize(
    ("missing", "left", "sentence"),
    [
        ({"train": 6, "dev": 3, "test": 3}, PLENTY, f"6 train, 3 dev and 3 test texts more: {ASKED}."),
        ({"dev": 1}, PLENTY, f"1 dev text more: {ASKED}."),
        (
            {"dev": 3},
            PLENTY | {"dev": 1},
            f"3 dev texts more: {ASKED}. texts.jsonl has 1 dev text left: add about 20 texts (dev is 10 % of "
            "all), or raise dev_percent in data.cfg.",
        ),
        (
            {"dev": 3, "test": 3},
            {"train": 10, "dev": 0, "test": 0},
            "3 dev and 3 test texts more. texts.jsonl has no dev and no test texts left: add about 30 texts "
            "(dev is 10 %, test is 37 % of all), or raise dev_percent and test_percent in data.cfg.",
        ),
        (
            {"train": 6},
            {"train": 5, "dev": 0, "test": 0},
            f"6 train texts more: {ASKED}. texts.jsonl has 5 train texts left: add about 2 texts (train is "
            "53 % of all), or lower test_percent in data.cfg.",
        ),
    ],
)
def test_what_is_missing_and_where_it_comes_from(
    missing: dict[str, int], left: dict[str, int], sentence: str
) -> None:
    assert first_model.need(missing, left, SHARES, **FILES) == f"A first model needs {sentence}"


def test_texts_left_are_those_that_review_would_put_there() -> None:
    raw = [Record(text=f"a text about {word} and {i}") for i, word in enumerate("abcdefghijklmnop")]
    reviewed, unreviewed = raw[:4], raw[4:]
    split: Split = assign(reviewed, raw, test_percent=37, dev_percent=10, near_duplicate=1)
    left = first_model.count_left(split, SHARES)
    assert sum(left.values()) == len(unreviewed)
    assert left["test"] == sum(part_of(record.text, SHARES) == "test" for record in unreviewed)


def test_the_reason_why_there_is_no_model() -> None:
    counts = {"train": 1, "dev": 0, "test": 0}
    assert first_model.fault([], counts) == "nothing is reviewed yet"
    rejected = [Record(text="a", answer="reject"), Record(text="b", answer="ignore")]
    assert first_model.fault(rejected, counts) == "none of the 2 reviewed texts was accepted"
    assert first_model.fault([Record(text="a")], counts) == "no reviewed text is in dev or test"
    assert first_model.fault([Record(text="a")], dict.fromkeys(counts, 1)) == ""

import pytest
from running import write_lines

from ie.core.errors import UserError
from ie.training.curve.review_speed import seconds_per_example


@pytest.mark.parametrize(
    ("answers", "mean", "n"),
    [
        # Answers about one text are one example,
        ([{"id": "a", "seconds": 10}, {"id": "b", "seconds": 30}, {"id": "a", "seconds": 20.0}], 30, 2),
        # two people on one text are two,
        ([{"id": "a", "seconds": s, "annotator": who} for who, s in (("x", 5), ("x", 15), ("y", 30))], 25, 2),
        # and a pause isn't work.
        ([{"seconds": 10}, {"seconds": 20}, {"seconds": 3000}], 15, 2),
    ],
)
def test_the_speed_is_that_of_the_log(tmp_path, answers, mean, n):
    expected = mean, f"your reviewing speed ({mean} s an example, mean of n={n})"
    assert seconds_per_example(write_lines(tmp_path / "log.jsonl", answers)) == expected


def test_without_a_log_the_speed_is_assumed(tmp_path):
    expected = 30, "30 s an example (assumed, as there is no log of reviewing)"
    assert seconds_per_example(tmp_path / "none.jsonl") == expected
    assert seconds_per_example(write_lines(tmp_path / "empty.jsonl", [])) == expected


@pytest.mark.parametrize("line", ["nonsense", "[1]", '{"id": "a"}', '{"seconds": "long"}'])
def test_what_is_no_log_is_named(tmp_path, line):
    with pytest.raises(UserError, match=r"log\.jsonl:1: isn't an answer; .* correct it( \(.+\))?\.$"):
        seconds_per_example(write_lines(tmp_path / "log.jsonl", [line]))

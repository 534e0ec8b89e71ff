import pytest
from running import write_lines

from ie.core.errors import UserError
from ie.training.curve import review_speed


def test_answers_about_one_text_are_one_example(tmp_path):
    log = write_lines(
        tmp_path / "log.jsonl",
        [{"id": "a", "seconds": 10}, {"id": "b", "seconds": 30}, {"id": "a", "seconds": 20.0}],
    )
    assert review_speed.read_speed(log) == review_speed.ReviewSpeed(30.0, 2)


def test_two_people_on_one_text_are_two_examples(tmp_path):
    answers = [{"id": "a", "seconds": s, "annotator": who} for who, s in (("x", 5), ("x", 15), ("y", 30))]
    log = write_lines(tmp_path / "log.jsonl", answers)
    assert review_speed.read_speed(log) == review_speed.ReviewSpeed(25.0, 2)


def test_a_pause_is_no_work(tmp_path):
    log = write_lines(tmp_path / "log.jsonl", [{"seconds": 10}, {"seconds": 20}, {"seconds": 3000}])
    assert review_speed.read_speed(log) == review_speed.ReviewSpeed(15.0, 2)


def test_a_summary_is_taken_as_it_is(tmp_path):
    (tmp_path / "review.json").write_text('{"seconds_per_example": 12.5, "examples": 40}')
    assert review_speed.read_speed(tmp_path / "review.json") == review_speed.ReviewSpeed(12.5, 40)
    (tmp_path / "review.json").write_text('{"seconds_per_example": 0, "examples": 0}')
    assert review_speed.read_speed(tmp_path / "review.json") is None


def test_without_a_log_the_speed_is_said_to_be_assumed(tmp_path):
    assert review_speed.read_speed(tmp_path / "none.jsonl") is None
    assert review_speed.read_speed(write_lines(tmp_path / "empty.jsonl", [])) is None
    seconds, source = review_speed.reviewing([tmp_path / "none.jsonl"], 30)
    assert seconds == 30
    assert "assumed" in source
    log = write_lines(tmp_path / "log.jsonl", [{"seconds": 10}])
    said = "your reviewing speed (10 s an example, mean of n=1)"
    assert review_speed.reviewing([tmp_path / "none.jsonl", log], 30) == (10, said)


@pytest.mark.parametrize("line", ["nonsense", "[1]", '{"id": "a"}', '{"seconds": "long"}'])
def test_what_is_no_log_is_named(tmp_path, line):
    with pytest.raises(UserError, match=r"log\.jsonl: is no log of reviewing"):
        review_speed.read_speed(write_lines(tmp_path / "log.jsonl", [line]))

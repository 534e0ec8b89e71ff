from pathlib import Path

import pytest
import spacy
from benchmarks import apply
from benchmarks.apply import Measured, Way

from ie.core.errors import UserError


def test_the_start_is_told_apart_from_what_a_text_takes():
    # a hundredth of a second a text, after three seconds
    measured = Measured((100, 500), (1000, 5000), few=[4.0], many=[8.0])
    assert measured.rates() == pytest.approx([100])
    assert measured.starts() == pytest.approx([3])
    assert measured.words_a_text() == 10


def test_ratios_are_those_of_the_rounds():
    def took(*many: float) -> Measured:
        return Measured((0, 100), (0, 1000), [0.0] * len(many), list(many), [200.0] * len(many))

    found = {
        Way("", 1): took(1.0, 2.0),
        Way("local", 1): took(1.0, 2.0),
        Way("local", 2): took(0.5, 1.25),
        Way("ray", 1): took(1.25, 2.5),
    }
    told = apply.sentences(found)
    assert told[0] == "local: 2 workers do 1.80 (1.60 to 2.00) times the texts of 1."
    assert told[1].startswith("ray: a text takes 25 (25 to 25) % more than in the plain pipeline")
    assert apply.rows(found)[0] == (
        "plain nlp.pipe",
        "75 (50 to 100)",
        "750",
        "1.00 (1.00 to 1.00)",
        "0.0 (0.0 to 0.0)",
        "200",
    )


def test_the_estimate_names_a_cost_only_if_a_price_is_given():
    # 3.6 million texts in an hour
    told = apply.estimate(1000, 36_000_000, machines=5, cores=2, price=None)
    assert "take 10 machine-hours (2 cores each): 2 hours on 5 machines." in told
    told = apply.estimate(1000, 36_000_000, machines=5, cores=2, price=0.5)
    assert told.endswith("20 core-hours at 0.5: 10.")


def test_too_few_texts_are_refused(tmp_path):
    with pytest.raises(UserError, match="--n 30: too few to tell speeds; take 80 at least"):
        apply.measure([], tmp_path, ["x"], n=30, rounds=1, shard=10, batch_size=8)


@pytest.mark.slow
def test_each_way_does_all_texts(tmp_path: Path):
    spacy.blank("en").to_disk(tmp_path / "model")
    ways = apply.ways([1], ray=False)
    found = apply.measure(ways, tmp_path / "model", ["Hooli grew."], n=60, rounds=1, shard=10, batch_size=8)
    assert [way.name for way in found] == ["plain nlp.pipe", "local, 1"]
    assert {measured.texts for measured in found.values()} == {(20, 60)}
    assert {measured.words for measured in found.values()} == {(60, 180)}

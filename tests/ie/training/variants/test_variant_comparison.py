"""What tells variants apart, which of them is advised, and what is trained again."""

from typing import Any

import numpy as np
import pytest
from pages import check_page
from running import ROOT

from ie.core.errors import UserError
from ie.core.stats import Estimate, Pair
from ie.training.jobs import Cell
from ie.training.variants import report, variant_comparison
from ie.training.variants.variant_comparison import VariantComparison, VariantCost


def counts(right: int, documents: int = 200) -> np.ndarray:
    """One span a document, `right` of them found, the others missed."""
    table = np.zeros((documents, 3), dtype=np.int64)
    table[:right, 0], table[right:, 2] = 1, 1
    return table


def comparison(scores: dict[str, float], apart: set[frozenset[str]] = frozenset()) -> VariantComparison:
    rows: dict[str, dict[str, Any]] = {
        name: {
            "score": f,
            "f": Estimate(f, f - 0.02, f + 0.02),
            "sd": 0.004,
            "scores": [f],
            "labels": {},
            "unfinished": 0,
        }
        for name, f in scores.items()
    }
    names = list(scores)
    pairs = [
        Pair(
            a, b, Estimate(scores[a] - scores[b], -0.2, 0.2), 0.5, 0.01 if frozenset((a, b)) in apart else 0.9
        )
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    ]
    return VariantComparison(100.0, 400, rows, dict.fromkeys(names, Estimate(-0.1, -0.13, -0.08)), pairs)


def cost(mb: float, speed: float) -> VariantCost:
    return VariantCost(mb, (speed * 0.98, speed, speed * 1.02), 41.0, 512.0)


class TestParse:
    def test_names_become_configs_in_their_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(variant_comparison.loop, "check_beginnings", lambda path, config: None)
        found = variant_comparison.parse_variants("vectors, efficient", ROOT / "configs")
        assert list(found) == ["vectors", "efficient"]
        assert all(path.exists() for path in found.values())

    @pytest.mark.parametrize(
        ("names", "fault"),
        [
            (",", r"names no config of"),
            (
                "efficient,fast",
                r"fast\.cfg doesn't exist; --variants takes some of: crf, crf-tags, efficient, pretrain, "
                r"spancat, transfer, transformer, vectors",
            ),
            ("efficient,llm", r"llm\.cfg trains no entity recogniser"),
            ("efficient,efficient", r"names 'efficient' twice"),
        ],
    )
    def test_others_are_refused(self, names: str, fault: str) -> None:
        with pytest.raises(UserError, match=fault):
            variant_comparison.parse_variants(names, ROOT / "configs")


class TestPairs:
    def test_equal_variants_are_not_told_apart(self) -> None:
        (pair,) = variant_comparison.pairs({"a": [counts(150)] * 3, "b": [counts(150)] * 3})
        assert not pair.differs()
        assert pair.difference.value == 0

    def test_a_difference_beyond_texts_and_seeds_is_seen(self) -> None:
        tables = {"a": [counts(190), counts(191), counts(189)], "b": [counts(120), counts(121), counts(119)]}
        (pair,) = variant_comparison.pairs(tables)
        assert pair.differs()
        assert pair.difference.low > 0

    def test_one_that_the_seeds_could_make_is_not(self) -> None:
        steady = {"a": [counts(150)] * 3, "b": [counts(120)] * 3}
        lucky = {"a": [counts(n) for n in (195, 150, 105)], "b": [counts(n) for n in (165, 120, 75)]}
        assert variant_comparison.pairs(steady)[0].differs()
        (pair,) = variant_comparison.pairs(lucky)
        assert not pair.differs()
        assert pair.difference.low < 0 < pair.difference.high

    def test_a_single_seed_is_given_a_noise(self) -> None:
        (pair,) = variant_comparison.pairs({"a": [counts(2000, 2000)], "b": [counts(1970, 2000)]})
        assert pair.difference.value == pytest.approx(0.0076, abs=1e-3)
        assert not pair.differs()


class TestOnTest:
    """Dev chooses; test scores what was chosen, and its scores change no choice."""

    CELLS = {Cell(100.0, 400, seed): [] for seed in range(3)}  # noqa: RUF012

    def results(self, dev: dict[str, int], test: dict[str, int]) -> dict[str, list[dict[str, Any]]]:
        return {
            name: [
                {
                    "cell": {"percent": 100.0, "examples": 400, "seed": seed},
                    "labels": ["A"],
                    "counts": counts(dev[name])[:, None].tolist(),
                    "lowered": counts(dev[name] - 20)[:, None].tolist(),
                    "test": counts(test[name], 100)[:, None].tolist(),
                    "unfinished": False,
                }
                for seed in range(3)
            ]
            for name in dev
        }

    def test_the_best_on_dev_is_chosen_whatever_test_says(self) -> None:
        found = self.results({"small": 100, "large": 180}, {"small": 90, "large": 40})
        (compared,) = variant_comparison.compare(self.CELLS, found, ["A"])
        assert compared.best == "large"
        assert compared.rows["large"]["counts"][0].shape == (200, 3)
        tested = variant_comparison.on_test("large", found)
        assert tested.documents == 100
        assert list(tested.scores) == ["large", "small"]
        assert tested.scores["large"].value == pytest.approx(2 * 40 / 140)
        assert tested.pair is not None
        assert tested.pair.difference.value < 0
        assert tested.pair.differs()
        said = report.on_test(tested)
        assert "On test, looked at for these alone (n=100): F large .57 ±" in said
        assert "large minus small: -.376" in said

    def test_test_is_not_opened_for_variants_that_were_not_chosen(self) -> None:
        found = self.results(
            {"small": 150, "large": 150, "third": 100}, dict.fromkeys(("small", "large"), 80) | {"third": 0}
        )
        for result in found["large"] + found["third"]:
            del result["test"]
        tested = variant_comparison.on_test("small", found)
        assert (list(tested.scores), tested.pair) == (["small"], None)
        assert "for this one alone (n=100): F small .89 ±" in report.on_test(tested)


class TestChoice:
    def test_the_smallest_of_those_like_the_best(self) -> None:
        found = comparison(
            {"small": 0.89, "tiny": 0.5, "large": 0.91},
            {frozenset(("tiny", "large")), frozenset(("tiny", "small"))},
        )
        assert found.best == "large"
        assert found.candidates == ["small", "large"]
        mb = {"small": 3.7, "tiny": 0.5, "large": 6.3}
        assert variant_comparison.recommended(found, mb) == "small"
        costs = {name: cost(size, 9000 - size) for name, size in mb.items()}
        assert report.headline([found], costs) == "With 400 examples, take small."
        assert report.reason([found], costs, 512) == (
            "large has the highest F, .91 ±.02 (n=512); small can't be told from it. Of these small is the "
            "smallest (3.7 MB) and the fastest."
        )

    def test_one_that_is_better_beyond_noise(self) -> None:
        found = comparison({"small": 0.7, "large": 0.9}, {frozenset(("small", "large"))})
        costs = {"small": cost(3.7, 9000), "large": cost(6.3, 4000)}
        assert report.headline([found], costs) == "With 400 examples, take large."
        assert report.reason([found], costs, 512) == (
            "large has the highest F, .90 ±.02 (n=512), and every other variant is worse beyond noise."
        )

    def test_a_single_one_is_no_choice(self) -> None:
        found, costs = comparison({"small": 0.9}), {"small": cost(3.7, 9000)}
        assert report.headline([found], costs) == "Only small was trained, so there is no choice."
        assert "list more variants" in report.reason([found], costs, 512)

    def test_a_faster_one_is_named_only_if_no_run_contradicts(self) -> None:
        found = comparison({"small": 0.9, "large": 0.9})
        mb = {"small": 3.7, "large": 6.3}
        clear = {"small": cost(3.7, 4000), "large": cost(6.3, 9000)}
        assert "while large is faster (9,000 ±180" in report.reason([found], clear, 512)
        close = {"small": cost(3.7, 9000), "large": cost(6.3, 9100)}
        assert "faster" not in report.reason([found], close, 512)
        assert variant_comparison.recommended(found, mb) == "small"

    def test_of_equal_sizes_the_first_listed(self) -> None:
        assert variant_comparison.recommended(comparison({"b": 0.9, "a": 0.9}), {"a": 3.71, "b": 3.74}) == "b"

    def test_small_data_is_compared_with_the_first(self) -> None:
        little = comparison({"plain": 0.6, "helped": 0.7}, {frozenset(("plain", "helped"))})
        said = report.small_data([little, little], 512)
        assert said == [
            "With 400 examples (100 %), helped by .10 (95 % interval -.20 to .20) beats plain (n=512)."
        ]
        alike = comparison({"plain": 0.6, "helped": 0.7})
        assert "no variant beats plain" in report.small_data([alike, alike], 512)[0]

    def test_the_front_leaves_out_what_is_beaten_in_both(self) -> None:
        found = comparison({"small": 0.8, "middle": 0.7, "large": 0.9})
        mb = {"small": 3.0, "middle": 4.0, "large": 6.0}
        assert variant_comparison.front(found, mb, less=True) == ["small", "large"]
        assert variant_comparison.front(found, mb, less=False) == ["large"]


def test_the_table_holds_each_figure_with_its_noise() -> None:
    found = comparison({"small": 0.89, "large": 0.91})
    rows = report.cells([found], {"small": cost(3.7, 9000), "large": cost(6.3, 4000)}, 512)
    assert rows[0] == [
        "small",
        "100 % (400)",
        ".89 ±.02",
        ".004",
        "a",
        "-.10 ±.03",
        "3.7",
        "9,000 ±180",
        "41",
        "510",
    ]


def test_the_page_answers_first(browser: object) -> None:
    compared = [comparison({"small": 0.89, "large": 0.91}, {frozenset(("small", "large"))})]
    costs = {"small": cost(3.7, 9000), "large": cost(6.3, 4000)}
    page = report.page(
        compared,
        costs,
        dev=512,
        sentences=[report.reason(compared, costs, 512)],
        remarks=report.notes(compared, 3, 512),
        drawing=report.figure(compared, costs, 512),
    )
    assert '<p class="headline">With 400 examples, take large.</p>' in page
    assert "<code>weasel run all . --vars.config large</code>" in page
    check_page(browser, page)


@pytest.mark.parametrize(("test", "drop", "sd"), [(2, "-.1 ±.1", ".0"), (60, "-.1 ±.1", ".00")])
def test_few_texts_get_fewer_digits(test: int, drop: str, sd: str) -> None:
    found = comparison({"small": 0.6, "large": 0.7}, {frozenset(("small", "large"))})
    row = report.cells([found], {"small": cost(3.7, 9000)}, test)[0]
    assert (row[5], row[3]) == (drop, sd)
    said = report.small_data([found, found], test)[0]
    assert ("large by .1 (" in said) == (test == 2)

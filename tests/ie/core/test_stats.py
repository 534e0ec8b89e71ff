from itertools import product
from math import comb, inf, isclose, isnan

import numpy as np
import pytest

from ie.core import stats
from ie.core.stats import Estimate, Pair

NAN = float("nan")


def single_spans(right: int, n: int) -> np.ndarray:
    """`n` documents of one gold span, found in `right` of them and nothing else predicted."""
    found = np.arange(n) < right
    return np.stack([found, np.zeros(n), ~found], axis=1).astype(int)


def random_counts(rng: np.random.Generator, n: int, recall: float = 0.8) -> np.ndarray:
    """Documents of 1 to 4 gold spans, some of them missed and some more predicted."""
    gold = rng.integers(1, 5, size=n)
    tp = rng.binomial(gold, recall)
    return np.stack([tp, rng.binomial(2, 0.15, size=n), gold - tp], axis=1)


def test_precision_recall_and_f_by_hand():
    assert stats.prf(np.array([6, 2, 4])).tolist() == pytest.approx([6 / 8, 6 / 10, 12 / 18])
    assert stats.prf(np.array([0, 3, 1])).tolist() == [0, 0, 0]


def test_scores_without_a_denominator_are_undefined():
    p, r, f = stats.prf(np.array([[0, 0, 2], [0, 0, 0]])).T
    assert isnan(p[0])
    assert r[0] == 0
    assert f[0] == 0
    assert isnan(r[1])
    assert isnan(f[1])


def test_interval_is_that_of_the_binomial_where_it_is_one():
    # One span a document: the bootstrap's recall is binomial, so its quantiles are known exactly.
    n, right = 50, 40
    recall = stats.intervals(single_spans(right, n), samples=20_000)[1]
    mass = [comb(n, k) * (right / n) ** k * (1 - right / n) ** (n - k) for k in range(n + 1)]
    low = next(k for k in range(n + 1) if sum(mass[: k + 1]) >= 0.025) / n
    high = next(k for k in range(n + 1) if sum(mass[: k + 1]) >= 0.975) / n
    assert recall.value == 0.8
    assert (recall.low, recall.high) == pytest.approx((low, high), abs=1 / n + 1e-9)


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    truth = stats.prf(random_counts(rng, 400_000).sum(axis=0))[2]
    held = 0
    for _ in range(200):
        f = stats.intervals(random_counts(rng, 150), samples=400)[2]
        held += f.low <= truth <= f.high
    assert 0.9 <= held / 200 <= 0.985


def test_interval_is_the_same_every_time_and_whatever_the_pieces(monkeypatch):
    counts = random_counts(np.random.default_rng(2), 90)
    whole = stats.intervals(counts)
    assert stats.intervals(counts) == whole
    assert stats.intervals(counts, seed=1) != whole
    monkeypatch.setattr(stats, "PIECE", 1000)
    assert stats.intervals(counts) == whole


def test_scores_without_a_miss_are_not_certain():
    # 0.025^(1/n): the lower end of Clopper and Pearson's interval for n of n.
    f = stats.intervals(single_spans(20, 20))[2]
    assert (f.value, f.high) == (1, 1)
    assert f.low == pytest.approx(0.025 ** (1 / 20))
    nothing = stats.intervals(single_spans(0, 20))[2]
    assert (nothing.value, nothing.low) == (0, 0)
    assert nothing.high == pytest.approx(1 - 0.025 ** (1 / 20))


def test_one_document_says_next_to_nothing():
    f = stats.intervals(np.array([[2, 1, 1]]))[2]
    assert f.low <= 0.05
    assert f.high == 1


def test_documents_that_say_nothing_of_a_label_add_no_certainty():
    few = stats.intervals(single_spans(5, 5))[2]
    many = stats.intervals(np.vstack([single_spans(5, 5), np.zeros((500, 3), dtype=int)]))[2]
    assert many.low == pytest.approx(few.low)


def test_undefined_scores_have_no_interval():
    p, r, f = stats.intervals(np.zeros((4, 3), dtype=int))
    assert all(isnan(e.value) and isnan(e.low) for e in (p, r, f))


def test_difference_is_paired():
    rng = np.random.default_rng(3)
    first = random_counts(rng, 200)
    second = first.copy()
    worse = np.flatnonzero(first[:, 0] > 0)[:15]
    second[worse] += [-1, 0, 1]
    found = stats.difference(first, second)
    # Each alone is uncertain by more than the difference; on the same documents it is clear.
    assert stats.intervals(first)[2].half_width > found.value
    assert 0 < found.low < found.value < found.high
    other = stats.difference(second, first)
    assert (other.value, other.low, other.high) == pytest.approx((-found.value, -found.high, -found.low))


def exact_p(first: np.ndarray, second: np.ndarray) -> float:
    """Every possible exchange of outputs, one by one."""
    f = lambda c: float(np.nan_to_num(stats.prf(c))[2])  # noqa: E731
    seen = abs(f(first.sum(axis=0)) - f(second.sum(axis=0)))
    differences = []
    for swaps in product([False, True], repeat=len(first)):
        mask = np.array(swaps)[:, None]
        a, b = np.where(mask, second, first), np.where(mask, first, second)
        differences.append(abs(f(a.sum(axis=0)) - f(b.sum(axis=0))))
    return float(np.mean(np.array(differences) >= seen - 1e-12))


def test_randomisation_agrees_with_trying_all_exchanges():
    rng = np.random.default_rng(4)
    for _ in range(5):
        first, second = random_counts(rng, 9), random_counts(rng, 9, recall=0.5)
        assert stats.randomisation(first, second) == pytest.approx(exact_p(first, second), abs=0.02)


def test_randomisation_is_calibrated_where_there_is_no_difference():
    rng = np.random.default_rng(5)
    p = np.array(
        [stats.randomisation(random_counts(rng, 80), random_counts(rng, 80), samples=299) for _ in range(400)]
    )
    # Uniform p: the share below a level is that level, give or take three standard errors.
    for level in (0.05, 0.2, 0.5):
        assert abs((p <= level).mean() - level) <= 3 * np.sqrt(level * (1 - level) / len(p)) + 1 / 300


def test_randomisation_finds_what_is_there_and_keeps_its_bounds():
    rng = np.random.default_rng(6)
    good, bad = random_counts(rng, 100, 0.95), random_counts(rng, 100, 0.5)
    assert stats.randomisation(good, bad, samples=999) == pytest.approx(1 / 1000)
    assert stats.randomisation(bad, good, samples=999) == pytest.approx(1 / 1000)
    assert stats.randomisation(good, good) == 1


def test_randomisation_refuses_other_documents():
    with pytest.raises(ValueError, match="same documents"):
        stats.randomisation(single_spans(1, 4), single_spans(1, 5))


def test_holm_by_hand():
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.7, 0.6]) == [1, 1]
    assert stats.holm([]) == []


def test_compare_corrects_for_the_number_of_pairs():
    rng = np.random.default_rng(7)
    systems = {"a": random_counts(rng, 60), "b": random_counts(rng, 60), "c": random_counts(rng, 60, 0.1)}
    pairs = stats.compare(systems)
    assert [(p.first, p.second) for p in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [p.differs() for p in pairs] == [False, True, True]
    assert [p.holm for p in pairs] == stats.holm([p.p for p in pairs])


def pair(first: str, second: str, holm: float) -> Pair:
    return Pair(first, second, Estimate(0.1, 0, 0.2), holm, holm)


def test_a_system_may_share_groups_with_two_that_differ():
    pairs = [pair("a", "b", 0.2), pair("b", "c", 0.3), pair("a", "c", 0.01)]
    assert stats.groups(["a", "b", "c"], pairs) == [("a", "b"), ("b", "c")]


def test_groups_of_all_and_of_none():
    same = [pair("a", "b", 0.2), pair("a", "c", 0.2), pair("b", "c", 0.2)]
    assert stats.groups(["a", "b", "c"], same) == [("a", "b", "c")]
    apart = [pair("a", "b", 0.02), pair("a", "c", 0.01), pair("b", "c", 0.01)]
    assert stats.groups(["a", "b", "c"], apart) == [("a",), ("b",), ("c",)]


def test_as_many_documents_as_needed_show_the_difference_with_the_power_asked():
    rng = np.random.default_rng(8)
    # a and b are compared with c as well, which hardly differs: three pairs are corrected for
    systems = {
        name: random_counts(rng, 300, recall) for name, recall in (("a", 0.82), ("b", 0.78), ("c", 0.8))
    }
    n = round(stats.needed(systems, "a", "b"))
    shown = 0
    for _ in range(100):
        drawn = rng.integers(0, 300, size=n)
        pairs = stats.compare({name: c[drawn] for name, c in systems.items()}, samples=399)
        shown += pairs[0].differs()
    assert 0.68 <= shown / 100 <= 0.92
    assert stats.needed(systems | {"d": systems["a"]}, "a", "d") == inf


def test_more_pairs_take_more_documents():
    rng = np.random.default_rng(9)
    two = {name: random_counts(rng, 300, recall) for name, recall in (("a", 0.82), ("b", 0.78))}
    others = {name: random_counts(rng, 300, 0.8) for name in "cdef"}
    assert stats.needed(two | others, "a", "b") > 1.2 * stats.needed(two, "a", "b")


def test_digits_follow_the_rule_of_thumb_and_the_interval():
    assert [stats.digits(n) for n in (0, 9, 10, 99, 100, 999, 1000)] == [0, 0, 1, 1, 2, 2, 3]
    # the half-widths that go with 10, 100 and 1,000 documents at F = .95
    assert [stats.digits(n, h) for n, h in ((10, 0.14), (100, 0.045), (1000, 0.014))] == [1, 2, 2]
    assert stats.digits(1000, 0.0009) == 3
    assert stats.digits(500, 0.3) == 1


def test_what_is_shown_of_an_interval_stays_possible_and_is_never_too_narrow():
    rng = np.random.default_rng(10)
    for _ in range(500):
        low, value, high = sorted(rng.uniform(size=3) ** rng.choice([0.1, 1, 10]))
        shown = stats.format_score(Estimate(value, low, high), documents=int(10 ** rng.uniform(0, 4)))
        first, sign, second = shown.partition(" ±") if "±" in shown else shown.partition(" to ")
        first, second = float(first), float(second)
        if sign == " ±":
            assert second >= max(value - low, high - value) - 1e-9
            first, second = first - second, first + second
        else:
            assert first <= low
            assert high <= second
        assert first >= -1e-9
        assert second <= 1 + 1e-9


def test_a_score_that_may_be_negative_keeps_its_half_width():
    kappa = Estimate(0.05, -0.1, 0.2)
    assert stats.format_score(kappa, documents=200, bounds=(-1, 1)) == ".1 ±.2"
    assert stats.format_score(Estimate(0.05, 0, 0.2), documents=200) == ".00 to .20"


def test_a_thousand_documents_resolve_two_digits():
    assert [stats.resolved_digits(n) for n in (0, 9, 10, 100, 1000, 1824, 1825)] == [0, 0, 1, 2, 2, 2, 3]
    assert [stats.documents_for(places) for places in (1, 2, 3)] == [10, 100, 1825]
    for places in range(1, 6):
        n = stats.documents_for(places)
        assert stats.resolved_digits(n) == places > stats.resolved_digits(n - 1)


def test_expected_half_width_is_that_of_the_design():
    for n, half in ((10, 0.14), (100, 0.045), (1000, 0.014)):
        assert isclose(stats.expected_half_width(n), half, rel_tol=0.1)


@pytest.mark.parametrize(
    ("estimate", "n", "text"),
    [
        (Estimate(0.871, 0.851, 0.89), 512, ".87 ±.02 (n=512)"),
        (Estimate(0.871, 0.8, 0.92), 60, ".9 ±.1 (n=60)"),
        (Estimate(0.871, 0.8505, 0.89), 512, ".87 ±.03 (n=512)"),  # .0205 is more than .02
        (Estimate(0.7, 0.55, 0.81), 60, ".7 ±.2 (n=60)"),
        (Estimate(0.9504, 0.9498, 0.9511), 2000, ".950 ±.001 (n=2,000)"),
        (Estimate(1.0, 0.9999, 1.0), 200, ".99 to 1.00 (n=200)"),
        (Estimate(1.0, 0.3, 1.0), 20, ".30 to 1.00 (n=20)"),
        (Estimate(1.0, 0.9704, 1.0), 127, ".97 to 1.00 (n=127)"),
        (Estimate(0.0, 0.0, 0.0286), 127, ".00 to .03 (n=127)"),
        (Estimate(0.98, 0.94, 1.0), 127, ".94 to 1.00 (n=127)"),
        (Estimate(0.98, 0.96, 1.0), 127, ".98 ±.02 (n=127)"),
        (Estimate(0.5, 0.2, 0.96), 4, ".2 to 1.0 (n=4)"),
        (Estimate(NAN, NAN, NAN), 100, "–"),
    ],
)
def test_scores_are_shown_with_no_more_digits_than_they_have(estimate, n, text):
    assert stats.format_score(estimate, n) == text


@pytest.mark.parametrize(
    ("estimate", "n", "text"),
    [
        (Estimate(0.0251, 0.0132, 0.0368), 532, ".025 (95 % interval .013 to .037)"),
        (Estimate(0.0058, -0.0052, 0.0163), 127, ".006 (95 % interval -.005 to .016)"),
        (Estimate(0.1234, -0.1, 0.36), 127, ".12 (95 % interval -.10 to .36)"),
        (Estimate(0.1174, 0.003, 0.25), 80, ".12 (95 % interval .00 to .25)"),
        (Estimate(1 / 3, 0, 1), 2, ".3 (95 % interval .0 to 1.0)"),
        (Estimate(0.00251, 0.0013, 0.0037), 20_000, ".0025 (95 % interval .0013 to .0037)"),
        (Estimate(NAN, NAN, NAN), 100, "– (95 % interval – to –)"),
    ],
)
def test_differences_are_shown_with_a_digit_more_than_scores(estimate, n, text):
    assert stats.format_difference(estimate, n) == text
    if not isnan(estimate.value):
        assert stats.fine_digits(n, estimate.half_width) == len(text.split(" ")[0]) - 1


def test_fewer_documents_than_the_fewest_show_nothing():
    for n in range(1, 9):
        p = stats.randomisation(single_spans(n, n), single_spans(0, n))
        assert (p < 0.05) == (n >= stats.FEWEST)


def test_decimals_the_short_way():
    assert [stats.decimals(x, 2) for x in (0, -0.001, -0.02, 0.999, 1.5)] == [
        ".00",
        ".00",
        "-.02",
        "1.00",
        "1.50",
    ]


def test_an_interval_of_any_score_is_that_of_f_for_f():
    counts = random_counts(np.random.default_rng(1), 60)
    found = stats.interval(counts, lambda sums: stats.prf(sums)[..., 2])
    assert found == stats.intervals(counts)[2]


def test_an_interval_of_an_undefined_score():
    found = stats.interval(np.ones((5, 3)), lambda sums: np.full(len(sums), np.nan))
    assert isnan(found.value)


def seeds_of(rng: np.random.Generator, n: int, *recalls: float) -> list[np.ndarray]:
    return [random_counts(rng, n, recall) for recall in recalls]


def test_a_single_training_has_the_interval_of_its_texts():
    table = random_counts(np.random.default_rng(1), 60)
    assert stats.mean_over_seeds([table]) == stats.intervals(table)[2]


def test_three_seeds_count_by_students_t():
    # Texts without noise: what is left is t with two degrees of freedom, 4.303 sd / sqrt(3).
    texts, noise = Estimate(0.8, 0.8, 0.8), stats.SeedNoise(0.03, 2)
    found, _ = stats.combined(texts, 0.0, noise, 1 / 3, bounds=(0, 1))
    assert found.half_width == pytest.approx(4.3027 * 0.03 / 3**0.5, abs=1e-5)
    # Seeds without noise: the texts' own interval.
    texts = Estimate(0.8, 0.76, 0.83)
    found, _ = stats.combined(texts, 0.0004, stats.SeedNoise(0, 2), 1 / 3, bounds=(0, 1))
    assert (found.low, found.high) == pytest.approx((0.76, 0.83))
    # Both: wider than with normal quantiles, narrower than the root of the sum of squares of either.
    found, p = stats.combined(texts, 0.0004, stats.SeedNoise(0.03, 2), 1 / 3, bounds=(0, 1))
    assert 0.06 < found.value - found.low < 0.084
    assert p < 0.05


def test_the_luck_of_a_training_with_a_text_counts_once():
    rng = np.random.default_rng(2)
    tables = seeds_of(rng, 300, 0.8, 0.8, 0.8)  # nothing but luck
    noise = stats.seed_noise([tables])
    assert noise.luck == pytest.approx(noise.sd**2, rel=3)
    assert noise.luck > 0
    texts, alone = Estimate(0.8, 0.76, 0.84), stats.SeedNoise(0.02, 2)
    apart, _ = stats.combined(texts, 0.0004, alone, 1 / 3, bounds=(0, 1))
    shared, _ = stats.combined(texts, 0.0004, stats.SeedNoise(0.02, 2, luck=0.0004), 1 / 3, bounds=(0, 1))
    assert shared.half_width < apart.half_width


def test_the_p_of_texts_and_seeds_agrees_with_their_interval():
    rng = np.random.default_rng(3)
    verdicts = set()
    for recall in np.linspace(0.7, 0.9, 12):
        first, second = seeds_of(rng, 80, *[0.8] * 3), seeds_of(rng, 80, *[recall] * 3)
        noise = stats.seed_noise([first, second])
        found, p = stats.difference_over_seeds(first, second, noise)
        assert (found.low > 0 or found.high < 0) == (p < 0.05)
        verdicts.add(p < 0.05)
    assert verdicts == {True, False}


def test_no_noise_of_seeds_without_two_trainings():
    table = random_counts(np.random.default_rng(4), 20)
    assert stats.seed_noise([[table], [table]]) is None
    assert stats.seed_noise([]) is None


def test_a_mean_of_nothing_claims_nothing():
    found = stats.mean_over_seeds([np.zeros((5, 3), dtype=int)] * 3)
    assert found.value == 0
    assert found.high > 0.9


def test_a_difference_on_different_documents_is_found_as_often_as_it_says():
    rng = np.random.default_rng(2)
    alarms = sum(
        stats.unpaired_difference(random_counts(rng, 50), random_counts(rng, 200), seed=i)[1] < 0.05
        for i in range(200)
    )
    assert 2 <= alarms <= 20
    difference, p = stats.unpaired_difference(random_counts(rng, 100, 0.4), random_counts(rng, 200, 0.9))
    assert p < 0.001
    assert difference.low < difference.value < difference.high < 0


def test_a_difference_of_systems_that_are_always_right_or_wrong():
    right, wrong = single_spans(20, 20), single_spans(0, 20)
    assert stats.unpaired_difference(right, right)[1] == 1
    assert stats.unpaired_difference(right, wrong)[1] < 0.001
    assert stats.unpaired_difference(right, np.zeros((5, 3), dtype=int))[1] == 1

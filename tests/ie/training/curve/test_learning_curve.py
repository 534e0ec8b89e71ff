import json
import re
from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ie.core import stats
from ie.core.errors import UserError
from ie.core.stats import Estimate
from ie.data import splits
from ie.data.records import Record, Span
from ie.training.curve import learning_curve
from ie.training.curve.projection import Projection
from ie.training.jobs import Cell


def test_portions():
    assert learning_curve.parse_portions("100, 25,50,50") == [25, 50, 100]
    for wrong in ("", "0,50", "50,101", "half", "-5"):
        with pytest.raises(UserError, match="--portions"):
            learning_curve.parse_portions(wrong)


def test_sizes():
    portions = [25, 50, 75, 100]
    assert learning_curve.sizes(portions, 10) == {25: 3, 50: 5, 75: 8, 100: 10}
    # few examples make fewer portions
    assert learning_curve.sizes(portions, 3) == {25: 1, 75: 2, 100: 3}
    assert learning_curve.sizes(portions, 2) == {50: 1, 100: 2}
    assert learning_curve.sizes(portions, 1) == {100: 1}
    cells = learning_curve.grid(["a", "b"], [{"A"}] * 2, portions, range(2))
    (sentence,) = learning_curve.left_out(portions, cells, 2)
    assert sentence.startswith("25 % and 75 % of 2 training examples are left out: nothing, or the same")
    assert learning_curve.left_out([50, 100], cells, 2) == []


SETS = st.lists(st.sets(st.sampled_from("ABC"), max_size=2), min_size=4, max_size=40)


@given(SETS)
def test_every_portion_holds_every_label_if_it_has_the_room(labels):
    texts = [f"text {i}" for i in range(len(labels))]
    portions = [len(labels) // 2 + 1, len(labels)]
    order = splits.nested_order(texts, labels, portions)
    assert sorted(order) == list(range(len(labels)))
    if portions[0] >= 3:
        assert [learning_curve.missing_labels(labels, order[:size]) for size in portions] == [[], []]


def test_a_rare_label_moves_into_the_smallest_portion():
    labels = [{"COMPANY"} for _ in range(99)] + [{"MONEY"}]
    for salt in range(5):
        order = splits.nested_order([f"{salt} {i}" for i in range(100)], labels, [10, 50, 100])
        assert 99 in order[:10]


def test_a_portion_with_too_little_room_takes_what_it_can():
    labels = [{"A"}, {"B"}, {"C"}, set(), {"A"}, {"A"}]
    order = splits.nested_order([f"t{i}" for i in range(6)], labels, [1, 4, 6])
    assert len(learning_curve.missing_labels(labels, order[:1])) == 2
    assert learning_curve.missing_labels(labels, order[:4]) == []


def test_the_order_is_that_of_the_texts_not_of_the_file():
    texts = [f"text {i}" for i in range(50)]
    labels = [{"A"} if i % 7 else {"B"} for i in range(50)]
    shuffled = Random(0).sample(range(50), 50)
    first = [texts[i] for i in splits.nested_order(texts, labels, [12, 50])]
    second = splits.nested_order([texts[i] for i in shuffled], [labels[i] for i in shuffled], [12, 50])
    assert first == [texts[shuffled[i]] for i in second]
    assert first != texts


def test_each_seed_has_an_order_of_its_own_and_nests_its_portions():
    texts = [f"text {i}" for i in range(40)]
    found = learning_curve.grid(texts, [{"A"}] * 40, [25, 50, 100], range(3))
    assert list(found) == [Cell(p, n, s) for p, n in ((25, 10), (50, 20), (100, 40)) for s in range(3)]
    for seed in range(3):
        small, middle, whole = (set(found[Cell(p, n, seed)]) for p, n in ((25, 10), (50, 20), (100, 40)))
        assert small < middle < whole
    assert len({frozenset(found[Cell(25, 10, seed)]) for seed in range(3)}) == 3


def results(*tables: np.ndarray) -> list[dict[str, Any]]:
    return [{"counts": (table if table.ndim == 3 else table[:, None, :]).tolist()} for table in tables]


def counts(recall: float, n: int = 120, seed: int = 0) -> np.ndarray:
    gold = np.full(n, 3)
    tp = np.random.default_rng(seed).binomial(gold, recall)
    return np.stack([tp, np.zeros(n, dtype=int), gold - tp], axis=1)


def table(*recalls: float, seeds: int = 1, salt: int = 0, n: int = 120) -> list[dict[str, Any]]:
    """Rows of a curve with these recalls, one of 100 examples more each."""
    percents = [100 * (i + 1) / len(recalls) for i in range(len(recalls))]
    cells = [Cell(p, 100 * (i + 1), s) for i, p in enumerate(percents) for s in range(seeds)]
    tables = [counts(r, n, 1000 * salt + 10 * s + i) for i, r in enumerate(recalls) for s in range(seeds)]
    return learning_curve.rows(cells, results(*tables), ("COMPANY",))


def test_rows_start_at_nothing_and_average_the_seeds():
    found = table(0.5, 0.8, seeds=3)
    assert [row["percent"] for row in found] == [0, 50, 100]
    assert found[0]["score"] == 0
    assert found[2]["score"] == pytest.approx(np.mean(found[2]["scores"]))
    assert len(set(found[2]["scores"])) == 3
    assert found[2]["sd"] == pytest.approx(np.std(found[2]["scores"], ddof=1))
    f = found[2]["f"]
    assert f.low < found[2]["score"] < f.high
    assert found[2]["labels"]["COMPANY"] == f
    assert found[2]["label_sd"]["COMPANY"] == found[2]["sd"]


def test_seeds_that_disagree_widen_the_interval():
    cells = [Cell(100, 100, s) for s in range(3)]
    alike = learning_curve.rows(cells, results(*[counts(0.7)] * 3), ("A",))[1]
    apart = learning_curve.rows(cells, results(counts(0.5), counts(0.7), counts(0.9)), ("A",))[1]
    assert alike["sd"] == 0
    assert apart["f"].high - apart["f"].low > 1.5 * (alike["f"].high - alike["f"].low)


def test_labels_are_scored_apart():
    both = np.stack([counts(0.9), counts(0.3)], axis=1)
    row = learning_curve.rows([Cell(100, 10, 0)], results(both), ("A", "B"))[1]
    assert row["labels"]["A"].value > 0.9 > row["score"] > row["labels"]["B"].value
    assert np.isnan(row["sd"])


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_verdict_claims_a_rise_only_where_there_is_one(seeds):
    assert learning_curve.verdict(table(0.5, 0.9, seeds=seeds), 120).kind == "rise"
    assert learning_curve.verdict(table(0.8, 0.8, seeds=seeds), 120).kind == "noise"
    assert learning_curve.verdict(table(0.9, 0.5, seeds=seeds), 120).kind == "fall"
    for recalls in ((0.5, 0.9), (0.8, 0.8)):
        text = learning_curve.verdict(table(*recalls, seeds=seeds), 120).text
        assert "dev n=120" in text
        assert "95 % interval" in text
        assert f"{seeds} seed" in text


def test_a_rise_within_the_noise_of_a_single_seed_is_no_claim():
    # On many dev texts the sampling interval excludes 0, but a seed may do as much.
    before = counts(0.9, n=4000)
    after = before.copy()
    better = np.flatnonzero(before[:, 2] > 0)[:90]
    after[better] += [1, 0, -1]
    found = learning_curve.rows([Cell(50, 100, 0), Cell(100, 200, 0)], results(before, after), ("A",))
    assert 0 < found[2]["score"] - found[1]["score"] < learning_curve.SEED_NOISE
    verdict = learning_curve.verdict(found, 4000)
    assert verdict.kind == "noise"
    assert "seeds alone move F by about .01" in verdict.text


def test_seeds_decide_whether_the_same_rise_is_noise():
    cells = [Cell(p, n, s) for p, n in ((50, 100), (100, 200)) for s in range(3)]

    def kind(*recalls: float) -> str:
        tables = [counts(r, n=3000, seed=7) for r in recalls]
        return learning_curve.verdict(learning_curve.rows(cells, results(*tables), ("A",)), 3000).kind

    assert kind(0.80, 0.80, 0.80, 0.83, 0.83, 0.83) == "rise"
    assert kind(0.76, 0.80, 0.84, 0.79, 0.83, 0.87) == "noise"


@pytest.mark.parametrize("seeds", [1, 3])
def test_false_alarms_of_the_verdict_are_rare(seeds):
    alarms = [
        learning_curve.verdict(table(0.8, 0.8, seeds=seeds, salt=s), 120).kind != "noise" for s in range(40)
    ]
    assert sum(alarms) <= 3


def few(n: int, *, good: bool) -> np.ndarray:
    """`n` texts of three spans, of which at least two are found, or at most one."""
    return np.array([[2, 0, 1], [3, 0, 0]] * n if good else [[1, 0, 2], [0, 0, 3]] * n)[:n]


def steep(n: int, seeds: int, *, fall: bool = False) -> list[dict[str, Any]]:
    """Rows whose last portion is better by far, or worse, on each of `n` dev texts and by every seed."""
    cells = [Cell(p, e, s) for p, e in ((50, 100), (100, 200)) for s in range(seeds)]
    tables = [few(n, good=good) for good in (fall, not fall) for _ in range(seeds)]
    return learning_curve.rows(cells, results(*tables), ("A",))


@pytest.mark.parametrize("fall", [False, True])
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_handful_of_dev_texts_shows_no_rise_however_large(seeds, fall):
    for n in range(2, 6):
        found = steep(n, seeds, fall=fall)
        rise = learning_curve.last_rise(found)
        assert rise.high < 0 if fall else rise.low > 0
        verdict = learning_curve.verdict(found, n)
        assert verdict.kind == "noise"
        assert "this may be noise" in verdict.text
        # seeds can't help where no p is below .05
        assert verdict.text.endswith("it; more dev texts would.")
    verdict = learning_curve.verdict(steep(6, seeds, fall=fall), 6)
    assert verdict.kind == ("fall" if fall else "rise")


def test_an_interval_without_0_is_no_rise_if_the_texts_do_not_show_it():
    # Five of 120 texts got better, by every seed: nearly each resample holds one of them, but p is .06.
    before = np.array([[1, 0, 1]] * 120)
    after = before.copy()
    after[:5] = [2, 0, 0]
    cells = [Cell(p, e, s) for p, e in ((50, 100), (100, 200)) for s in range(3)]
    verdict = learning_curve.verdict(
        learning_curve.rows(cells, results(*[before] * 3, *[after] * 3), ("A",)), 120
    )
    assert verdict.rise.low > 0
    assert verdict.kind == "noise"
    assert "this may be noise, as a paired randomisation over the dev texts gives p ≥ .05." in verdict.text


def test_verdicts_without_a_trend():
    assert learning_curve.verdict(table(0.8), 120).kind == "single"
    assert learning_curve.verdict(table(0.8)[:1], 120).kind == "untrained"


def test_scores_of_0_are_a_fault_and_no_trend():
    verdict = learning_curve.verdict(table(0.0, 0.0, seeds=3), 120)
    assert verdict.kind == "nothing"
    assert "look for a fault" in verdict.text
    assert "help" not in verdict.text


def test_scores_of_1_are_too_good_and_no_trend():
    found = table(1.0, 1.0, seeds=3)
    assert found[2]["f"].low < 1
    verdict = learning_curve.verdict(found, 120)
    assert verdict.kind == "perfect"
    assert "too good to be true" in verdict.text
    # a climb to 1 is another matter
    assert learning_curve.verdict(table(0.5, 1.0, seeds=3), 120).kind == "rise"


def example(text: str, label: str | None) -> Record:
    spans = [Span(start=0, end=len(text.split()[0]), label=label)] if label else []
    return Record(text=text, spans=spans)


def docs(labels: Sequence[str | None], start: int = 0) -> list[Record]:
    return [example(f"Velto sold {start + i} boats", label) for i, label in enumerate(labels)]


def notes(train: list[Record], dev: list[Record], labels: Sequence[str], percents: Sequence[float]) -> str:
    held = list(map(learning_curve.labels_in, train))
    cells = learning_curve.grid([doc.text for doc in train], held, percents, range(2))
    return " ".join(learning_curve.data_notes(train, dev, labels, cells))


def test_healthy_data_needs_no_note():
    assert notes(docs(["A", "B"] * 8), docs(["A", "B"], 100), ["A", "B"], [50, 100]) == ""


def test_a_label_only_in_dev_can_not_be_learnt_and_one_only_in_train_not_scored():
    said = notes(docs(["A", "C"] * 8), docs(["A", "B"], 100), ["A", "B", "C"], [50, 100])
    assert "B can't be learnt: dev has it 1 time" in said
    assert "C can't be scored" in said


def test_labels_outside_the_scheme_are_reported():
    assert "doesn't have them: Z" in notes(docs(["A", "Z"] * 8), docs(["A"], 100), ["A"], [100])


def test_dev_texts_in_the_training_data_are_reported():
    assert "1 dev text of 2 is in the training data" in notes(
        docs(["A"] * 8), docs(["A", "A"], 7), ["A"], [100]
    )


def test_a_portion_without_a_label_is_reported():
    said = notes(docs([*"ABCD", *"A" * 16]), docs(["A"], 100), list("ABCD"), [10, 100])
    assert "The 10 % portion (2 examples) has no" in said
    assert "100 %" not in said


def test_data_without_a_span_is_refused():
    with pytest.raises(UserError, match=r"train\.spacy: 3 examples without a single A"):
        learning_curve.require(docs([None] * 3), docs(["A"]), ["A"], ("train.spacy", "dev.spacy"))
    with pytest.raises(UserError, match=r"dev\.spacy: 1 example without a single A"):
        learning_curve.require(docs(["A"]), docs(["B"]), ["A"], ("train.spacy", "dev.spacy"))
    learning_curve.require(docs(["A"]), docs(["A"]), ["A"], ("train.spacy", "dev.spacy"))


def test_trainings_that_were_stopped_too_early_are_reported():
    cells = [Cell(50, 10, 0), Cell(100, 20, 0)]
    given = results(counts(0.5), counts(0.8))
    assert learning_curve.training_notes(learning_curve.rows(cells, given, ("A",))) == []
    given[1]["unfinished"] = True
    (note,) = learning_curve.training_notes(learning_curve.rows(cells, given, ("A",)))
    assert "1 of 2 trainings stopped while the score still rose" in note


def test_where_the_pipeline_overtakes_the_prompt():
    found = table(0.3, 0.6, 0.85, seeds=5)

    def said(recall: float, highest: float = 0.99) -> str:
        further = Projection(grid=(300, 600), f=(0.95, highest))
        return " ".join(learning_curve.overtaking(found, counts(recall, seed=9), further))

    assert said(0.4).startswith("The LLM as prompted has F .60 on the same texts; with")
    assert "with 200 examples the trained pipeline is better" in said(0.4)
    assert "If the LLM's prompt was chosen on dev" in said(0.4)
    assert "can't tell from" in said(0.85)
    assert "about 600 examples would catch up" in said(0.95)
    assert "no projection catches up" in said(0.95, 0.96)
    assert learning_curve.overtaking(found, None, Projection()) == []


def test_what_choosing_checkpoints_on_dev_may_add_is_not_better_than_the_prompt():
    # .004 to .010 with 127 dev texts, .015 to .021 with 30, as measured
    assert 0.010 <= learning_curve.optimism({"chosen": True}, 127) <= 0.011
    assert 0.020 <= learning_curve.optimism({"chosen": True}, 30) <= 0.022
    assert learning_curve.optimism({"chosen": False}, 30) == 0
    llm = counts(0.5)
    (_, row) = learning_curve.rows([Cell(100, 100, s) for s in range(3)], results(*[counts(0.9)] * 3), ("A",))
    edge = stats.intervals(llm)[2].high + learning_curve.optimism(row, len(llm))
    for low, better in ((edge - 0.002, False), (edge + 0.002, True)):
        found = [{**row, "f": Estimate(0.9, low, 0.99)}]
        (said,) = learning_curve.overtaking(found, llm, Projection())
        assert ("better beyond noise and what choosing its checkpoints" in said) == better


def test_the_level_says_what_dev_chose():
    row = {"f": Estimate(0.931, 0.91, 0.952), "examples": 764, "chosen": True}
    level = learning_curve.level(row, 127)
    assert level.startswith("With 764 examples F is .93 ±.03 (n=127) on dev")
    assert "Dev chose the checkpoints, so F is too high: by up to .011 on so many texts." in level
    assert "checkpoint" not in learning_curve.level({**row, "chosen": False}, 127)


def test_trainings_that_learn_in_one_go_chose_no_checkpoint_and_are_the_same_with_every_seed():
    cells = [Cell(100, 100, seed) for seed in range(3)]
    once = [{**result, "checkpoints": 1} for result in results(*[counts(0.9)] * 3)]
    curve = learning_curve.rows(cells, once, ("A",))
    (sentence,) = learning_curve.overtaking(curve, counts(0.5, seed=9), Projection())
    assert "better beyond noise. " in sentence
    (note,) = learning_curve.training_notes(curve)
    assert note.startswith("The pipeline learns the same with every seed")


@pytest.mark.parametrize("better", [True, False])
def test_a_handful_of_dev_texts_can_not_tell_the_prompt_from_the_pipeline(better):
    cells = [Cell(100, 100, s) for s in range(3)]
    for n in range(2, 7):
        found = learning_curve.rows(cells, results(*[few(n, good=better)] * 3), ("A",))
        (said,) = learning_curve.overtaking(found, few(n, good=not better), Projection())
        assert ("can't tell from" in said) == (n < 6)
        assert ("beyond noise" in said) == (n == 6)
        # no second digit on so few texts
        assert re.search(r"has F \.\d on", said)


def test_json_is_plain_and_the_same_every_time():
    def made() -> str:
        found = table(0.5, 0.8)
        verdict = learning_curve.verdict(found, 120)
        content = learning_curve.to_json(
            found, 120, verdict, ["note"], Projection(refused="why"), Estimate(0.5, 0.4, 0.6)
        )
        return json.dumps(content, allow_nan=False)

    assert made() == made()
    content = json.loads(made())
    assert content["rows"][2]["examples"] == 200
    assert content["rows"][2]["sd"] is None
    assert content["verdict"]["kind"] == "rise"
    assert content["projection"]["refused"] == "why"
    assert content["llm"]["f"] == 0.5

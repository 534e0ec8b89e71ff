import json
import os
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc, DocBin

from ie import curves, training
from ie.curves import Cell
from ie.errors import UserError
from ie.records import Record, Span, blank, to_doc, write_docbin

CONFIG = Path(__file__).parents[2] / "configs" / "efficient.cfg"


def test_portions():
    assert curves.parse_portions("100, 25,50,50") == [25, 50, 100]
    for wrong in ("", "0,50", "50,101", "half", "-5"):
        with pytest.raises(UserError, match="--portions"):
            curves.parse_portions(wrong)


def test_sizes():
    assert curves.sizes([25, 50, 75, 100], 10) == [3, 5, 8, 10]
    with pytest.raises(UserError, match="25 % of 1 training examples is none"):
        curves.sizes([25, 100], 1)
    with pytest.raises(UserError, match="75 % and 100 % of 2 training examples are the same 2"):
        curves.sizes([50, 75, 100], 2)


SETS = st.lists(st.sets(st.sampled_from("ABC"), max_size=2), min_size=4, max_size=40)


@given(SETS)
def test_every_portion_holds_every_label_if_it_has_the_room(labels):
    texts = [f"text {i}" for i in range(len(labels))]
    portions = [len(labels) // 2 + 1, len(labels)]
    order = curves.nested_order(texts, labels, portions)
    assert sorted(order) == list(range(len(labels)))
    if portions[0] >= 3:
        assert [curves.missing_labels(labels, order, size) for size in portions] == [[], []]


def test_a_rare_label_moves_into_the_smallest_portion():
    labels = [{"COMPANY"} for _ in range(99)] + [{"MONEY"}]
    for salt in range(5):
        order = curves.nested_order([f"{salt} {i}" for i in range(100)], labels, [10, 50, 100])
        assert 99 in order[:10]


def test_a_portion_with_too_little_room_takes_what_it_can():
    labels = [{"A"}, {"B"}, {"C"}, set(), {"A"}, {"A"}]
    order = curves.nested_order([f"t{i}" for i in range(6)], labels, [1, 4, 6])
    assert len(curves.missing_labels(labels, order, 1)) == 2
    assert curves.missing_labels(labels, order, 4) == []


def test_the_order_is_that_of_the_texts_not_of_the_file():
    texts = [f"text {i}" for i in range(50)]
    labels = [{"A"} if i % 7 else {"B"} for i in range(50)]
    shuffled = Random(0).sample(range(50), 50)
    first = [texts[i] for i in curves.nested_order(texts, labels, [12, 50])]
    second = curves.nested_order([texts[i] for i in shuffled], [labels[i] for i in shuffled], [12, 50])
    assert first == [texts[shuffled[i]] for i in second]
    assert first != texts


def results(*tables: np.ndarray) -> list[dict[str, Any]]:
    return [{"counts": table[:, None, :].tolist()} for table in tables]


def counts(recall: float, n: int = 120, seed: int = 0) -> np.ndarray:
    gold = np.full(n, 3)
    tp = np.random.default_rng(seed).binomial(gold, recall)
    return np.stack([tp, np.zeros(n, dtype=int), gold - tp], axis=1)


def table(*recalls: float, seeds: int = 1) -> list[dict[str, Any]]:
    """Rows of a curve with these recalls, one of 100 examples more each."""
    percents = [100 * (i + 1) / len(recalls) for i in range(len(recalls))]
    cells = [Cell(p, 100 * (i + 1), s) for i, p in enumerate(percents) for s in range(seeds)]
    tables = [counts(r, seed=10 * s + i) for i, r in enumerate(recalls) for s in range(seeds)]
    return curves.rows(cells, results(*tables), ("COMPANY",))


def test_rows_start_at_nothing_and_average_the_seeds():
    found = table(0.5, 0.8, seeds=3)
    assert [row["percent"] for row in found] == [0, 50, 100]
    assert found[0]["score"] == 0
    assert found[2]["score"] == pytest.approx(np.mean(found[2]["scores"]))
    assert len(set(found[2]["scores"])) == 3
    f = found[2]["f"]
    assert f.low < found[2]["score"] < f.high
    assert found[2]["labels"]["COMPANY"] == f


def test_the_verdict_claims_a_rise_only_where_there_is_one():
    assert "will probably help" in curves.verdict(table(0.5, 0.9), 120)
    assert "may be noise" in curves.verdict(table(0.8, 0.8), 120)
    assert "fall beyond noise" in curves.verdict(table(0.9, 0.5), 120)
    for verdict in (curves.verdict(table(a, b), 120) for a, b in ((0.5, 0.9), (0.8, 0.8))):
        assert "dev n=120" in verdict
        assert "95 % interval" in verdict
        assert "1 seed" in verdict


def test_a_rise_within_the_noise_of_a_single_seed_is_no_claim():
    # On many dev texts the sampling interval excludes 0, but a seed may do as much.
    cells = [Cell(50, 100, 0), Cell(100, 200, 0)]
    before = counts(0.9, n=4000)
    after = before.copy()
    better = np.flatnonzero(before[:, 2] > 0)[:90]
    after[better] += [1, 0, -1]
    found = curves.rows(cells, results(before, after), ("COMPANY",))
    rise = found[2]["score"] - found[1]["score"]
    assert 0 < rise < curves.SEED_NOISE
    verdict = curves.verdict(found, 4000)
    assert "may be noise (seeds alone move F by about .01)" in verdict


def test_false_alarms_of_the_verdict_are_rare():
    claims = 0
    for seed in range(40):
        cells = [Cell(50, 100, 0), Cell(100, 200, 0)]
        same = results(counts(0.8, seed=seed), counts(0.8, seed=1000 + seed))
        claims += "may be noise" not in curves.verdict(curves.rows(cells, same, ("COMPANY",)), 120)
    assert claims <= 3


def test_verdicts_without_a_trend():
    assert "tells no trend" in curves.verdict(table(0.8), 120)
    assert "found nothing" in curves.verdict(table(0.0, 0.0), 120)
    assert curves.verdict(table(0.8)[:1], 120) == "Nothing was trained."


def test_scores_all_perfect_are_no_certainty():
    found = table(1.0, 1.0)
    assert found[2]["f"].low < 1
    assert "may be noise" in curves.verdict(found, 120)


def test_json_is_plain_and_the_same_every_time():
    found = table(0.5, 0.8)
    text = json.dumps(curves.to_json(found, 120, ["note"]), allow_nan=False)
    assert text == json.dumps(curves.to_json(table(0.5, 0.8), 120, ["note"]))
    assert json.loads(text)["rows"][2]["examples"] == 200


def corpus(path: Path, n: int) -> list[Doc]:
    nlp = blank("en")
    companies = ("Velto", "Hooli", "Anker", "Orchard")
    gold = [
        Record(
            text=f"{companies[i % 4]} sold {i} boats.",
            spans=[Span(start=0, end=len(companies[i % 4]), label="COMPANY")],
        )
        for i in range(n)
    ]
    write_docbin(path, gold, nlp)
    return [to_doc(record, nlp) for record in gold]


def test_a_corpus_that_can_not_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none.spacy: there is no such corpus"):
        curves.read_corpus(tmp_path / "none.spacy")
    (tmp_path / "bad.spacy").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"bad.spacy: is no spaCy corpus"):
        curves.read_corpus(tmp_path / "bad.spacy")
    DocBin().to_disk(tmp_path / "empty.spacy")
    with pytest.raises(UserError, match=r"empty.spacy: holds no examples"):
        curves.read_corpus(tmp_path / "empty.spacy")


def test_what_split_wrote_is_read(tmp_path):
    written = corpus(tmp_path / "train.spacy", 5)
    assert [doc.text for doc in curves.read_corpus(tmp_path / "train.spacy")] == [d.text for d in written]


def grid(tmp_path: Path, workers: int, cache: Path | None = None) -> list[dict[str, Any]]:
    docs = corpus(tmp_path / "train.spacy", 16)
    corpus(tmp_path / "dev.spacy", 6)
    done = []
    found = curves.run_grid(
        [Cell(50, 8, 0), Cell(100, 16, 0)],
        docs,
        list(range(16)),
        config=CONFIG,
        dev=tmp_path / "dev.spacy",
        labels=("COMPANY",),
        overrides={"training.max_steps": 20, "training.eval_frequency": 10},
        workers=workers,
        cache=cache,
        progress=lambda: done.append(1),
    )
    assert len(done) == 2
    return found


@pytest.mark.slow
def test_trainings_side_by_side_give_what_one_after_another_gives(tmp_path):
    before = os.environ.get("OMP_NUM_THREADS")
    side_by_side = grid(tmp_path, 2)
    assert os.environ.get("OMP_NUM_THREADS") == before
    assert side_by_side == grid(tmp_path, 1)
    assert [r["cell"]["examples"] for r in side_by_side] == [8, 16]
    assert np.array(side_by_side[1]["counts"]).shape == (6, 1, 3)


def test_finished_trainings_are_not_repeated(tmp_path, monkeypatch):
    trained = []
    original = training.train

    def counted(*args: Any, **options: Any) -> dict[str, Any]:
        trained.append(options["seed"])
        return original(*args, **options)

    monkeypatch.setattr(training, "train", counted)
    first = grid(tmp_path, 1, tmp_path / "cache")
    assert len(trained) == 2
    next((tmp_path / "cache").glob("*.json")).unlink()
    assert grid(tmp_path, 1, tmp_path / "cache") == first
    assert len(trained) == 3
    # another dev set is another score
    corpus(tmp_path / "dev.spacy", 6)
    docs = corpus(tmp_path / "train.spacy", 16)
    corpus(tmp_path / "dev2.spacy", 7)
    curves.run_grid(
        [Cell(50, 8, 0)],
        docs,
        list(range(16)),
        config=CONFIG,
        dev=tmp_path / "dev2.spacy",
        labels=("COMPANY",),
        overrides={"training.max_steps": 20, "training.eval_frequency": 10},
        workers=1,
        cache=tmp_path / "cache",
    )
    assert len(trained) == 4


@pytest.mark.slow
def test_a_fault_in_a_worker_reaches_the_user(tmp_path):
    docs = corpus(tmp_path / "train.spacy", 4)
    corpus(tmp_path / "dev.spacy", 4)
    broken = tmp_path / "broken.cfg"
    broken.write_text(CONFIG.read_text(encoding="utf-8").replace("spacy.Tok2Vec.v2", "no.Such.v1"))
    with pytest.raises(UserError, match=r"broken\.cfg"):
        curves.run_grid(
            [Cell(50, 2, 0), Cell(100, 4, 0)],
            docs,
            list(range(4)),
            config=broken,
            dev=tmp_path / "dev.spacy",
            labels=("COMPANY",),
            workers=2,
        )

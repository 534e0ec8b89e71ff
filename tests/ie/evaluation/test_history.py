"""Results are kept once, compared on the same documents, and noise isn't taken for progress."""

import json

import numpy as np
import pytest

from ie.core.errors import UserError
from ie.data.records import Record
from ie.evaluation import history


def table(right: int, documents: int = 60) -> np.ndarray:
    counts = np.zeros((documents, 3), dtype=int)
    counts[:right, 0] = 1
    counts[right:, 2] = 1
    return counts


def entry(right: int, *, documents: int = 60, test: str = "t", corrected: int = 10**6, seed: int = 0) -> dict:
    counts = table(right, documents)
    f = 2 * right / (documents + right)
    scores = {"both": {"all": {"f": f, "f_low": f - 0.01, "f_high": min(1, f + 0.01)}}}
    metrics = {"test": {"documents": documents}, "systems": scores}
    return history.entry(
        metrics,
        {"both": counts},
        [f"{test if n < corrected else 't'}{n:07}" for n in range(documents)],
        system="both",
        settings={"seed": str(seed)},
        data={"test": test, "train": "a"},
        date="2000-01-01 00:00",
    )


def test_counts_come_back_as_they_were_and_take_little_room():
    counts = np.random.default_rng(0).integers(0, 4, (532, 3))
    counts[7] = (300, 65535, 0)
    packed = history.pack(counts)
    assert (history.unpack(packed, 532) == counts).all()
    assert len(packed) < 1000


def test_a_result_is_kept_once_whenever_it_was_made(tmp_path):
    path = tmp_path / "history.jsonl"
    first, second = entry(50), entry(40)
    assert history.append(path, history.read(path), first)
    assert history.append(path, history.read(path), second)
    before = path.read_bytes()
    assert not history.append(path, history.read(path), entry(50) | {"date": "2001-01-01 00:00"})
    assert path.read_bytes() == before
    assert history.read(path) == [first, second]
    # what git's union of two branches leaves
    path.write_bytes(before + before)
    assert history.read(path) == [first, second]


def test_every_setting_and_file_makes_another_result():
    ids = {entry(50)["id"], entry(50, seed=1)["id"], entry(50, test="u")["id"], entry(51)["id"]}
    assert len(ids) == 4


def test_progress_noise_and_other_test_texts_are_told_apart():
    past = [entry(20), entry(21), entry(50), entry(50, test="u"), entry(10, test="u")]
    rows = history.rows(past, past[0], now=past[2]["id"])
    assert [row[4].split(" ")[-1] for row in rows] == ["", "noise", "better", "texts", "worse"]
    assert rows[3][4] == "other test texts"
    assert [row[5].split(" ")[-1] for row in rows] == ["", "noise", "better", "", ""]
    assert rows[0][0].endswith(" baseline")
    assert rows[2][0].endswith(" now")
    assert rows[3][6] == "other test"
    assert [row[0] for row in history.rows(past, past[0], last=2)] == [e["id"] for e in past[3:]]


@pytest.mark.parametrize(("right", "n", "shown"), [(2, 3, "-.2"), (50, 60, "-.01"), (515, 532, "-.001")])
def test_a_difference_has_no_more_digits_than_its_texts_allow(right, n, shown):
    rows = history.rows([entry(right + 1, documents=n), entry(right, documents=n)], None)
    assert rows[1][4] == f"{shown} noise"


@pytest.mark.parametrize(("first", "second", "n"), [(0, 0, 60), (60, 60, 60), (1, 0, 1)])
def test_extremes_are_noise(first, second, n):
    pair = (entry(first, documents=n), entry(second, documents=n, seed=1))
    (comparison,) = history.compare([pair])
    assert comparison.verdict() == "noise"


def test_what_changed_is_reported():
    assert history.changed_settings(entry(50, seed=1), entry(50)) == "seed 0 → 1"
    assert history.changed_settings(entry(50), None) == ""
    assert history.changed_settings(entry(50), entry(49)) == "same settings and data"


def test_the_baseline_is_the_first_on_the_same_texts_or_the_one_asked_for():
    past = [entry(10), entry(20, test="u"), entry(30, test="u")]
    assert history.baseline_of(past, "", "u") is past[1]
    assert history.baseline_of(past, past[2]["id"][:6], "u") is past[2]
    assert history.baseline_of([], "", "u") is None
    with pytest.raises(UserError, match="'zzz' is how the id of no result begins"):
        history.baseline_of(past, "zzz", "u")


@pytest.mark.parametrize(
    "line", ["<<<<<<< HEAD", "{}", "[1]", '"x"', json.dumps(entry(5) | {"documents": 7}), "null"]
)
def test_a_line_that_is_no_entry_is_named(tmp_path, line):
    path = tmp_path / "history.jsonl"
    path.write_text(json.dumps(entry(50)) + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"history\.jsonl:2: isn't an entry"):
        history.read(path)


def test_texts_whose_gold_was_corrected_are_left_out_of_the_comparison():
    before, after = entry(20), entry(50, test="u", corrected=10)
    (comparison,) = history.compare([(after, before)])
    assert (comparison.documents, comparison.verdict()) == (50, "better")
    # rows 10 to 59: right 10 before, 40 after
    assert comparison.difference.value == pytest.approx(2 * 40 / 90 - 2 * 10 / 60)
    assert history.rows([before, after], None)[1][4].endswith("better (n=50)")
    assert history.compare([(entry(5, test="u"), before)]) == [None]
    # entries of before there were keys
    assert history.compare([(after, {k: v for k, v in before.items() if k != "keys"})]) == [None]


def test_a_key_stands_for_text_and_gold():
    one = Record(text="Hooli", spans=[{"start": 0, "end": 5, "label": "ORG"}])
    other = one.model_copy(update={"spans": []})
    assert history.gold_key(one) == history.gold_key(one.model_copy(update={"meta": {"id": "7"}}))
    assert len({history.gold_key(one), history.gold_key(other), history.gold_key(Record(text="ACME"))}) == 3


def test_documents_are_written_one_per_line(tmp_path):
    path = tmp_path / "documents.jsonl"
    gold = [Record(text="Hooli", meta={"id": "a"}), Record(text="ACME", meta={"id": "b"})]
    history.write_documents(path, gold, {"x": np.array([[1, 0, 2], [0, 0, 0]])})
    key = history.gold_key(gold[0])
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[0]) == {
        "id": "a",
        "key": key,
        "x": [1, 0, 2],
    }
    counts, keys = history.read_documents(path)
    assert counts["x"].tolist() == [[1, 0, 2], [0, 0, 0]]
    assert keys == [key, history.gold_key(gold[1])]
    path.write_text("[]\n", encoding="utf-8")
    with pytest.raises(UserError, match="isn't what `evaluate` writes"):
        history.read_documents(path)
    with pytest.raises(UserError, match="run `weasel run evaluate` first"):
        history.read_documents(tmp_path / "nowhere")

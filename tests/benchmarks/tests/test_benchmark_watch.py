"""The benchmark in small: sets made up of two kinds of texts, and a pipeline that answers from gold."""

import random

import pytest
from benchmarks import watch
from benchmarks.watch import Drawer, Trainer, WatchedSet
from running import run_command, write_lines

from ie.data.config import DataConfig
from ie.data.records import Record, Span, read_unchecked


def text(i: int, letters: str, writer: str = "") -> Record:
    """Fifteen words of some letters, with a company in most of them."""
    rng = random.Random(f"{letters}{i}")
    words = ["".join(rng.choices(letters, k=2)) for _ in range(15)]
    spans = [Span(start=0, end=2, label="COMPANY")] if rng.random() < 0.8 else []
    return Record(text=f"{' '.join(words)} {i}", spans=spans, meta={"writer": writer})


OWN = WatchedSet(
    "own", tuple(text(i, "abcd") for i in range(100)), tuple(text(i, "abcd") for i in range(100, 400))
)


@pytest.fixture
def from_gold(monkeypatch):
    """Pipelines that are right in half of the texts, and in all once they have seen more texts."""
    sizes = []

    def predict(self, train, dev, texts, seed=0):
        sizes.append(len(train))
        found = [Span(start=0, end=2, label="COMPANY")]
        wrong = [Span(start=3, end=5, label="COMPANY")]
        return [
            Record(text=one, spans=found if i % 2 or len(train) > sizes[0] else wrong)
            for i, one in enumerate(texts)
        ]

    monkeypatch.setattr(Trainer, "predict", predict)
    return sizes


def test_other_texts_are_named_and_texts_of_the_same_set_are_not():
    drawer = Drawer(OWN, OWN.held_out)
    same = drawer.same(10)
    assert (same.alarms, same.draws, same.percent) == (0, 10, 0)
    whole, part = drawer.others("other", [text(i, "wxyz") for i in range(300)], [100, 0], 5)
    assert (whole.alarms, set(whole.first), set(whole.named)) == (5, {50}, {"unknown words"})
    assert part.alarms == 0


def test_predictions_are_kept(tmp_path, monkeypatch):
    trainings = []
    monkeypatch.setattr(watch.loop, "train", lambda *args, **more: trainings.append(more))
    monkeypatch.setattr(watch.spacy, "load", lambda path: DataConfig().blank())
    config = tmp_path / "a.cfg"
    config.write_text("", encoding="utf-8")
    trainer = Trainer(config, DataConfig(), 5, tmp_path / "cache")
    for _ in range(2):
        found = trainer.predict(OWN.train[:5], OWN.train[5:9], ["ab cd", "ef"])
        assert [record.text for record in found] == ["ab cd", "ef"]
    assert len(trainings) == 1
    (kept,) = (tmp_path / "cache").iterdir()
    assert len(read_unchecked(kept)) == 2


def test_the_loop_over_a_writer(tmp_path, capsys, from_gold):
    rows = [text(i, "abcd", f"w{i % 3}").model_dump() for i in range(300)]
    reviewed = write_lines(tmp_path / "reviewed.jsonl", rows)
    done = run_command(
        "benchmark-watch",
        ["--parts", "loop", "--loops", "w1,w2", "--reviewed", reviewed, "--corrected", 50],
        capsys,
    )
    assert done.status == 0, done.output
    # another writer's pipeline is trained before and after 50 texts are added
    assert from_gold[1] == from_gold[0] + 50
    assert "w2 no alarm" in done.output
    few = run_command("benchmark-watch", ["--parts", "loop", "--loops", "w7", "--reviewed", reviewed], capsys)
    assert "'w7' has 0 texts, too few to correct 50" in few.output

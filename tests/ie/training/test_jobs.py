import os
import signal
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpora import write_split
from running import ROOT
from spacy.tokens import Doc, DocBin

from ie.core import ray_cluster
from ie.core.errors import UserError
from ie.data.docs import read_docs
from ie.data.records import blank
from ie.training import jobs, loop
from ie.training.jobs import Cell, TrainingJob

CONFIG = ROOT / "configs" / "efficient.cfg"
SHORT = {"training.max_steps": 20, "training.eval_frequency": 10}
PORTIONS = {Cell(50, 8, 0): list(range(8)), Cell(100, 16, 0): list(range(16))}


def test_a_corpus_that_can_not_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none.spacy: there is no such corpus"):
        read_docs(tmp_path / "none.spacy")
    (tmp_path / "bad.spacy").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"bad.spacy: is no spaCy corpus"):
        read_docs(tmp_path / "bad.spacy")
    DocBin().to_disk(tmp_path / "empty.spacy")
    with pytest.raises(UserError, match=r"empty.spacy: holds no examples"):
        read_docs(tmp_path / "empty.spacy")


def test_what_split_wrote_is_read(tmp_path):
    written = write_split(tmp_path, train=5)["train"]
    assert [doc.text for doc in read_docs(tmp_path / "train.spacy")] == [r.text for r in written]


@pytest.fixture
def data(tmp_path: Path) -> list[Doc]:
    write_split(tmp_path, train=16, dev=6, dev2=7, test=5)
    return read_docs(tmp_path / "train.spacy")


def train(tmp_path: Path, docs: list[Doc], **options: Any) -> list[dict[str, Any]]:
    """Results without what the machine decides."""
    shared = {"config": CONFIG, "dev": tmp_path / "dev.spacy", "overrides": SHORT, "workers": 1, **options}
    portions = shared.pop("portions", PORTIONS)
    results = jobs.train_portions(portions, docs, labels=("COMPANY",), **shared)
    return [{name: value for name, value in r.items() if name != "measured"} for r in results]


@pytest.fixture
def trained(monkeypatch) -> list[int]:
    """Seeds of the trainings that really took place in this process."""
    seeds = []
    original = loop.train

    def counted(*args: Any, **options: Any) -> dict[str, Any]:
        seeds.append(options["seed"])
        return original(*args, **options)

    monkeypatch.setattr(loop, "train", counted)
    return seeds


@pytest.mark.slow
def test_trainings_side_by_side_give_what_one_after_another_gives(tmp_path, data):
    before = os.environ.get("OMP_NUM_THREADS")
    done: list[int] = []
    side_by_side = train(tmp_path, data, workers=2, progress=lambda: done.append(1))
    assert os.environ.get("OMP_NUM_THREADS") == before
    assert side_by_side == train(tmp_path, data)
    assert len(done) == 2
    assert [r["cell"]["examples"] for r in side_by_side] == [8, 16]
    assert np.array(side_by_side[1]["counts"]).shape == (6, 1, 3)


def test_the_whole_is_trained_as_train_does_it(tmp_path, data):
    shuffled = list(reversed(range(16)))
    (result,) = train(tmp_path, data, portions={Cell(100, 16, 3): shuffled})
    alone = loop.train(
        CONFIG, train=tmp_path / "train.spacy", dev=tmp_path / "dev.spacy", overrides=SHORT, seed=3
    )
    tp, fp, fn = np.array(result["counts"]).sum(axis=(0, 1))
    assert 2 * tp / (2 * tp + fp + fn) == pytest.approx(alone["ents_f"])
    assert result["best_step"] == alone["step"]


def test_a_training_that_was_stopped_while_it_rose_is_marked(tmp_path, data, monkeypatch):
    monkeypatch.setattr(jobs.spacy, "load", lambda path: blank("en"))
    # a component that learns at once has the same score at each step
    for scores, unfinished in (((0, 1, 2), True), ((0, 2, 1), False), ((0, 2, 2), False), ((2,), False)):
        history = [{"step": 10 * i, "score": score / 2} for i, score in enumerate(scores)]
        result = {"step": history[-1]["step"], "history": history}
        monkeypatch.setattr(loop, "train", lambda *a, result=result, **o: result)
        assert train(tmp_path, data)[0]["unfinished"] is unfinished


def test_finished_trainings_are_not_repeated(tmp_path, data, trained, capsys):
    first = train(tmp_path, data, cache=tmp_path / "cache")
    assert len(trained) == 2
    next((tmp_path / "cache").glob("*.json")).unlink()
    assert "kept" not in capsys.readouterr().out
    assert train(tmp_path, data, cache=tmp_path / "cache") == first
    assert len(trained) == 3
    assert "1 of 2 trainings are kept from an earlier run" in capsys.readouterr().out
    # half a file, as a full disk leaves it
    damaged = next((tmp_path / "cache").glob("*.json"))
    damaged.write_text(damaged.read_text()[:40])
    assert train(tmp_path, data, cache=tmp_path / "cache") == first
    assert len(trained) == 4


def test_another_percentage_of_the_same_examples_is_the_same_training(tmp_path, data, trained):
    train(tmp_path, data, cache=tmp_path / "cache")
    (found,) = train(tmp_path, data, cache=tmp_path / "cache", portions={Cell(25, 8, 0): list(range(8))})
    assert len(trained) == 2
    assert found["cell"]["percent"] == 25


def test_what_a_training_depends_on_makes_it_another(tmp_path, data, trained):
    one = {Cell(50, 8, 0): list(range(8))}
    cache = tmp_path / "cache"
    train(tmp_path, data, cache=cache, portions=one)
    train(tmp_path, data, cache=cache, portions=one, dev=tmp_path / "dev2.spacy")
    train(tmp_path, data, cache=cache, portions=one, overrides=SHORT | {"training.dropout": 0.2})
    train(tmp_path, data, cache=cache, portions={Cell(50, 8, 0): list(range(1, 9))})
    train(tmp_path, data, cache=cache, portions={Cell(50, 8, 1): list(range(8))})
    train(tmp_path, data, cache=cache, portions=one, test=tmp_path / "test.jsonl")
    train(tmp_path, data, cache=cache, portions=one, texts=("Velto sold boats.",))
    train(tmp_path, data, cache=cache, portions=one, first=tmp_path / "train.spacy")
    assert len(trained) == 9  # the last one has two stages
    train(tmp_path, data, cache=cache, portions=one)
    assert len(trained) == 9


def test_what_a_result_holds_is_what_the_job_asks_for(tmp_path, data):
    more = {"test": tmp_path / "test.jsonl", "texts": ("Velto sold 3 boats in Oslo.", "")}
    (result,) = train(tmp_path, data, portions={Cell(100, 16, 0): list(range(16))}, **more)
    shapes = {name: np.array(result[name]).shape for name in ("counts", "lowered", "test")}
    assert shapes == {"counts": (6, 1, 3), "lowered": (6, 1, 3), "test": (5, 1, 3)}
    assert result["spans"][0][0] == [0, 5, "COMPANY"]
    assert result["spans"][1] == []


def test_equal_jobs_are_done_once(tmp_path, data, trained):
    one = TrainingJob(
        Cell(50, 16, 0), CONFIG, tmp_path / "train.spacy", tmp_path / "dev.spacy", ("COMPANY",), SHORT
    )
    first, second = jobs.run([one, replace(one, cell=Cell(100, 16, 0))])
    assert len(trained) == 1
    assert (first["cell"]["percent"], second["cell"]["percent"]) == (50, 100)
    assert first["counts"] == second["counts"]


def test_a_kept_pipeline_that_is_gone_is_trained_again(tmp_path, data, trained):
    one = {Cell(50, 8, 0): list(range(8))}
    options = {"cache": tmp_path / "cache", "portions": one, "model": tmp_path / "model"}
    train(tmp_path, data, **options)
    train(tmp_path, data, **options)
    assert len(trained) == 1
    (tmp_path / "model" / "model-best" / "meta.json").unlink()
    train(tmp_path, data, **options)
    assert len(trained) == 2


def test_no_gold_to_test_on(tmp_path):
    with pytest.raises(UserError, match=r"test\.jsonl: there is no such file; run `weasel run split`"):
        jobs.read_gold(tmp_path / "test.jsonl")


def test_other_code_makes_it_another_training(tmp_path, data, trained, monkeypatch):
    one = {Cell(50, 8, 0): list(range(8))}
    train(tmp_path, data, cache=tmp_path / "cache", portions=one)
    monkeypatch.setattr(jobs, "hash_code", lambda *packages: "edited" * (packages == jobs.CODE))
    train(tmp_path, data, cache=tmp_path / "cache", portions=one)
    assert len(trained) == 2


@pytest.mark.slow
def test_a_fault_in_a_worker_reaches_the_user(tmp_path, data):
    broken = tmp_path / "broken.cfg"
    broken.write_text(CONFIG.read_text(encoding="utf-8").replace("spacy.Tok2Vec.v2", "no.Such.v1"))
    with pytest.raises(UserError, match=r"broken\.cfg: .*no\.Such\.v1"):
        train(tmp_path, data, config=broken, workers=2)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_losses_that_are_no_number_name_their_training(tmp_path, data, workers):
    overrides = SHORT | {"training.optimizer.learn_rate": 1e30, "training.optimizer.grad_clip": 0.0}
    with pytest.raises(UserError, match=r"training on (8|16) examples with seed 0: training diverged"):
        train(tmp_path, data, overrides=overrides, workers=workers)


def test_an_interruption_keeps_what_is_done_and_says_how_to_go_on(tmp_path, data, trained):
    def stop() -> None:
        raise KeyboardInterrupt

    cache = tmp_path / "cache"
    with pytest.raises(UserError, match=r"1 of 2 trainings are done and kept .* run the same command again"):
        train(tmp_path, data, cache=cache, progress=stop)
    train(tmp_path, data, cache=cache)
    assert len(trained) == 2
    with pytest.raises(UserError, match="1 of 2 trainings are done and lost"):
        train(tmp_path, data, progress=stop)


def test_workers_fit_cores_and_memory(monkeypatch):
    monkeypatch.setattr(jobs, "cores", lambda: 64)

    class Memory:
        available = 3 * jobs.WORKER_MB * 1_000_000 + 1

    monkeypatch.setattr(jobs.psutil, "virtual_memory", Memory)
    assert jobs.default_workers() == 3
    assert jobs.default_workers(gpu_id=0) == 1
    Memory.available = 1
    assert jobs.default_workers() == 1


def test_workers_are_fewer_where_each_has_a_large_corpus_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "cores", lambda: 64)

    class Memory:
        available = 10 * jobs.WORKER_MB * 1_000_000

    monkeypatch.setattr(jobs.psutil, "virtual_memory", Memory)
    small, large = tmp_path / "small.spacy", tmp_path / "large.spacy"
    small.write_bytes(b"x")
    with large.open("wb") as file:
        file.truncate(jobs.WORKER_MB * 1_000_000 // jobs.TIMES_FILE)
    assert jobs.default_workers(corpora=[small]) == 9
    assert jobs.default_workers(corpora=[small, large]) == jobs.default_workers(corpora=[large]) == 5
    assert jobs.default_workers(corpora=[tmp_path / "none.spacy"]) == 10


def test_a_run_reckons_with_the_size_of_its_examples(tmp_path, data, monkeypatch):
    asked: list[list[Path]] = []

    def workers(gpu_id: int, corpora: list[Path]) -> int:
        asked.append(list(corpora))
        return 1

    monkeypatch.setattr(jobs, "default_workers", workers)
    monkeypatch.setattr(jobs, "train_job", lambda job: {})
    train(tmp_path, data, workers=0)
    assert [len({path.name for path in paths}) for paths in asked] == [2]


def die(job: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "options", "sentence"),
    [
        (
            2,
            {"kept": True},
            r"one of 2 trainings at a time was killed, .* --vars.workers 1 \(what was finished is kept\)\.$",
        ),
        (1, {"what": "diagnoses"}, r"one of 1 diagnoses .*; free some, then run it again\.$"),
    ],
)
def test_a_worker_that_was_killed_is_one_sentence(processes, options, sentence):
    with pytest.raises(UserError, match=sentence):
        list(jobs.on_cores(die, [(0, 0), (1, 1)], processes, **options))


def test_ray_that_is_not_installed_is_one_sentence(tmp_path, data, monkeypatch, trained):
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="--executor ray needs Ray, which isn't installed; run `pip install"):
        train(tmp_path, data, executor="ray")
    assert not trained


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray isn't installed")
def test_ray_gives_what_the_cores_give(tmp_path, data, monkeypatch):
    on_ray = train(tmp_path, data, executor="ray", cache=tmp_path / "cache")
    assert on_ray == train(tmp_path, data)
    monkeypatch.setattr(ray_cluster, "started", None)
    assert train(tmp_path, data, executor="ray", cache=tmp_path / "cache") == on_ray

"""Many small trainings, side by side on the cores or on a Ray cluster, none of them done twice.

A cell is one training: a portion of the examples and a seed. Its result is kept under a hash of all that it
depends on, as soon as it is there, so a run that was killed goes on where it was.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import psutil
import spacy
from spacy.tokens import Doc
from tqdm import tqdm

from ie.core import ray_cluster
from ie.core.errors import UserError
from ie.core.files import hash_code, json_text, sha256_file, write_json
from ie.core.processes import cores, unordered
from ie.core.settings import read_config
from ie.data.docs import docbin, from_doc, read_docs
from ie.data.scheme import Scored
from ie.evaluation import scoring
from ie.training import loop

Result = dict[str, Any]
Task = TypeVar("Task")
Answer = TypeVar("Answer")
# Packages whose code decides a training.
CODE = ("components", "ie.core", "ie.data", "ie.evaluation", "ie.training")
# Memory set aside for a worker, in MB: twice what one takes on some thousand examples of a sentence or two.
WORKER_MB = 600
# A worker keeps its corpus in memory, which takes a good hundred times the .spacy file: with 0.05 to 3.7 MB
# (200 to 20,000 examples of news) it came to 185 to 578 MB. Twice that is set aside, too.
TIMES_FILE = 220
# A worker is replaced after so many trainings, so that whatever they leave behind stays bounded.
CELLS_PER_WORKER = 16


@dataclass(frozen=True)
class Cell:
    """One training: `examples` of the training data, `percent` of all, with a seed."""

    percent: float
    examples: int
    seed: int


@dataclass(frozen=True)
class TrainingJob:
    """What a worker needs for one cell; paths are of files that exist while it runs.

    `cache` is where the result is kept, None for nowhere; `also` are hashes of what else it depends on.
    """

    cell: Cell
    config: Path
    train: Path
    dev: Path
    labels: tuple[str, ...]
    overrides: dict[str, Any]
    gpu_id: int
    cache: Path | None
    also: tuple[str, ...] = ()
    scored: Scored = "spans"


def train_cell(job: TrainingJob) -> Result:
    """Train one cell in this process and count its hits and misses on dev.

    Returns:
        `cell`, `labels`, `counts` (a (documents, labels, 3) list), `best_step`, and `unfinished`: whether the
        last checkpoint was the best, so that the training was stopped while the score still rose.
    """
    with tempfile.TemporaryDirectory(prefix="train-curve-") as folder:
        scores = train_to(job, Path(folder))
        nlp = spacy.load(Path(folder) / "model-best")
        docs = read_docs(job.dev)
        gold = scoring.view(map(from_doc, docs), job.scored)
        found = scoring.view(map(from_doc, nlp.pipe([doc.text for doc in docs])), job.scored)
    result = {
        "cell": asdict(job.cell),
        "best_step": scores["step"],
        "unfinished": unfinished(scores),
        "labels": list(job.labels),
        "counts": scoring.count(gold, found, job.labels).tolist(),
    }
    keep(job, result)
    return result


def train_to(job: TrainingJob, folder: Path) -> dict[str, Any]:
    """Train one cell into `folder`; the scores of `training.train`.

    Raises:
        UserError: as there, with the portion and the seed.
    """
    try:
        return loop.train(
            job.config,
            train=job.train,
            dev=job.dev,
            output=folder,
            overrides=job.overrides,
            seed=job.cell.seed,
            gpu_id=job.gpu_id,
            quiet=True,
        )
    except UserError as error:
        where = f"the {job.cell.percent:g} % portion with seed {job.cell.seed}"
        raise UserError(f"{where}: {str(error).replace(str(job.train), 'its examples')}") from error


def unfinished(scores: dict[str, Any]) -> bool:
    """Whether a training was stopped while its score still rose."""
    return scores["step"] == scores["history"][-1]["step"] > 0


def _stored(job: TrainingJob) -> Path | None:
    return job.cache / f"{key(job)}.json" if job.cache else None


def keep(job: TrainingJob, result: Result) -> None:
    """Store the result of a cell under the hash of what it depends on."""
    if stored := _stored(job):
        write_json(stored, result, indent=None)


def kept(job: TrainingJob) -> Result | None:
    """The result of an earlier run, if it is there and whole."""
    stored = _stored(job)
    if not stored or not stored.exists():
        return None
    try:
        return json.loads(stored.read_text(encoding="utf-8")) | {"cell": asdict(job.cell)}
    except ValueError:
        return None  # whatever damaged it, training again puts it right


def key(job: TrainingJob) -> str:
    """Hash of all that a cell's result depends on; which percentage the examples are doesn't matter."""
    weights = _weights(job.config)  # first: it reports a missing config in one sentence
    parts = [
        job.cell.seed,
        sha256_file(job.config),
        sha256_file(job.train),
        sha256_file(job.dev),
        list(job.labels),
        job.scored,
        job.overrides,
        job.gpu_id,
        {name: version(name) for name in ("spacy", "thinc", "numpy")},
        hash_code(*CODE),
        [sha256_file(path) for path in weights],
        *job.also,
    ]
    return hashlib.sha256(json_text(parts, sort_keys=True, ensure_ascii=True).encode()).hexdigest()[:32]


def _weights(config: Path) -> list[Path]:
    """Files that the config names beside its corpora."""
    found: list[Path] = []
    for name, value in sorted(read_config(config, interpolate=False).get("paths", {}).items()):
        if name not in ("train", "dev") and isinstance(value, str) and value:
            path = Path(value)
            found += [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return found


def run(
    portions: Mapping[Cell, Sequence[int]],
    docs: Sequence[Doc],
    *,
    config: Path,
    dev: Path,
    labels: Sequence[str],
    scored: Scored = "spans",
    overrides: dict[str, Any] | None = None,
    gpu_id: int = -1,
    executor: ray_cluster.Executor = "local",
    workers: int = 0,
    cache: Path | None = None,
    started: Callable[[int], Any] = lambda reused: None,
    progress: Callable[[], Any] = lambda: None,
) -> list[Result]:
    """Train every cell, several at a time in processes of their own; results in the order of `portions`.

    Args:
        portions: indices into `docs` of each cell's examples.
        executor: "local" for processes on this machine, "ray" for a Ray cluster (or Ray on this machine).
        workers: processes; 0 for one a core as far as the memory goes, and on a GPU for one in all. Ray
            decides by itself: one CPU a training.
        cache: folder that keeps finished cells; None for none.
        started: called once, with the number of cells that were kept from an earlier run.
        progress: called when another cell is done.

    Raises:
        UserError: a training failed, was killed, or the user interrupted; what was finished is kept.
    """
    if executor == "ray":
        ray_cluster.require()
    with tempfile.TemporaryDirectory(prefix="portions-") as folder:
        shared = {"config": config, "dev": dev, "labels": tuple(labels), "overrides": overrides or {}}
        shared["scored"] = scored
        jobs = []
        for cell, chosen in portions.items():
            path = write_portion(Path(folder), docs, chosen)
            jobs.append(TrainingJob(cell=cell, train=path, cache=cache, gpu_id=gpu_id, **shared))
        found = {i: result for i, job in enumerate(jobs) if (result := kept(job))}
        started(len(found))
        # The largest go first, so that no core is left waiting for one that started last.
        left = sorted((i for i in range(len(jobs)) if i not in found), key=lambda i: -jobs[i].cell.examples)

        def done(i: int, result: Result) -> None:
            found[i] = result
            progress()

        todo = [(i, jobs[i]) for i in left]
        trains = [job.train for _, job in todo]
        try:
            if not todo:
                pass
            elif executor == "ray":
                _on_ray(todo, done)
            elif (processes := min(workers or default_workers(gpu_id, trains), len(todo))) == 1:
                for i, job in todo:
                    done(i, train_cell(job))
            else:
                on_cores(todo, processes, done, work=train_cell)
        except KeyboardInterrupt:
            where = f"are kept in {cache}; run the same command again to go on" if cache else "are lost"
            raise UserError(
                f"interrupted: {len(found)} of {len(jobs)} trainings are done and {where}."
            ) from None
        return [found[i] for i in range(len(jobs))]


def write_portion(folder: Path, docs: Sequence[Doc], chosen: Sequence[int]) -> Path:
    """The `.spacy` file of a portion in `folder`, written if it isn't there yet.

    In the order of the corpus, so that the whole is trained exactly as the whole corpus would be.
    """
    path = folder / f"{hashlib.sha256(repr(sorted(chosen)).encode()).hexdigest()[:16]}.spacy"
    if not path.exists():
        docbin(docs[i] for i in sorted(chosen)).to_disk(path)
    return path


def default_workers(gpu_id: int = -1, corpora: Iterable[Path] = ()) -> int:
    """Processes that the cores and the free memory allow; one on a GPU.

    Args:
        corpora: training files, one of which each process has in memory; the largest one counts.
    """
    if gpu_id >= 0:
        return 1
    largest = max((path.stat().st_size for path in corpora if path.is_file()), default=0)
    needed = WORKER_MB * 1_000_000 + TIMES_FILE * largest
    return max(1, min(cores(), psutil.virtual_memory().available // needed))


def on_cores(
    todo: Iterable[tuple[int, Task]],
    processes: int,
    done: Callable[[int, Answer], Any],
    *,
    work: Callable[[Task], Answer],
    cells_per_worker: int = CELLS_PER_WORKER,
    what: str = "trainings",
    kept: bool = True,
) -> None:
    """Do `work` for each numbered job in that many processes, and tell `done` of each result.

    Args:
        what: the jobs are. `kept`: whether what was finished still is there after a failure.

    Raises:
        UserError: a training failed, or was killed.
    """
    try:
        for i, result in unordered(
            _numbered, ((work, i, job) for i, job in todo), processes, tasks_per_worker=cells_per_worker
        ):
            done(i, result)
    except BrokenProcessPool as error:
        remedy = "run it again with --vars.workers 1" if processes > 1 else "free some, then run it again"
        raise UserError(
            f"one of {processes} {what} at a time was killed, most likely for want of memory; {remedy}"
            f"{' (what was finished is kept)' if kept else ''}."
        ) from error


def _numbered(task: tuple[Callable[[Task], Answer], int, Task]) -> tuple[int, Answer]:
    work, i, job = task
    return i, work(job)


def _on_ray(todo: Sequence[tuple[int, TrainingJob]], done: Callable[[int, Result], None]) -> None:
    """The same cells as Ray tasks: files travel with them, results are kept on this machine.

    Weights that the config names must be at the same path on every node.
    """
    with ray_cluster.started() as ray:
        parcels = {path: ray.put(path.read_bytes()) for _, job in todo for path in _files(job)}
        jobs = dict(todo)
        tasks = ((i, replace(job, cache=None), *(parcels[path] for path in _files(job))) for i, job in todo)
        for i, result in ray_cluster.unordered(
            _train_parcel, tasks, in_flight=len(todo), num_gpus=int(jobs[todo[0][0]].gpu_id >= 0)
        ):
            keep(jobs[i], result)
            done(i, result)


def _files(job: TrainingJob) -> tuple[Path, Path, Path]:
    return job.config, job.train, job.dev


def _train_parcel(i: int, job: TrainingJob, config: bytes, train: bytes, dev: bytes) -> tuple[int, Result]:
    """`train_cell` on a machine that has none of the files."""
    with tempfile.TemporaryDirectory(prefix="parcel-") as folder:
        paths = [Path(folder) / name for name in ("config.cfg", "train.spacy", "dev.spacy")]
        for path, content in zip(paths, (config, train, dev), strict=True):
            path.write_bytes(content)
        return i, train_cell(replace(job, config=paths[0], train=paths[1], dev=paths[2]))


def resume(bar: tqdm, reused: int) -> None:
    """Start the bar where an earlier run ended, so that its ETA counts only what is left."""
    if reused:
        bar.initial = bar.n = reused
        bar.refresh()
        print(f"{reused} of {bar.total} are kept from an earlier run")

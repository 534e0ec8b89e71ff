"""Many small trainings, side by side on the cores or on a Ray cluster, each done once.

A result is stored under a hash of all that it depends on, as soon as it is there. So a run that was killed
continues where it was.
"""

import hashlib
import json
import resource
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from time import process_time
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
from ie.core.text import counted
from ie.data import records
from ie.data.docs import docbin, from_doc, read_docs
from ie.data.records import Record
from ie.data.scheme import Scored
from ie.evaluation import perturbations, scoring
from ie.evaluation.baselines import predict_with
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
# A worker is replaced after this many trainings, so that whatever they leave behind stays bounded.
TASKS_PER_WORKER = 16


@dataclass(frozen=True)
class Cell:
    """One training: `examples` of the training data, `percent` of all, with a seed."""

    percent: float
    examples: int
    seed: int


@dataclass(frozen=True)
class TrainingJob:
    """One training and what is measured of its pipeline; paths are of files that exist while it runs.

    Attributes:
        first: examples of a first stage; the training on `train` starts from its weights.
        texts: texts whose predicted spans are part of the result.
        test: gold records to score as well, and dev in lower case with them.
        model: folder that keeps the pipeline; None for none.
        cache: folder that keeps the result; None for none.
    """

    cell: Cell
    config: Path
    train: Path
    dev: Path
    labels: tuple[str, ...]
    overrides: Mapping[str, Any]
    gpu_id: int = -1
    scored: Scored = "spans"
    first: Path | None = None
    texts: tuple[str, ...] = ()
    test: Path | None = None
    model: Path | None = None
    cache: Path | None = None

    def files(self) -> dict[str, Path]:
        """The input files, by the attribute that holds the path."""
        names = ("config", "train", "dev", "first", "test")
        return {name: path for name in names if (path := getattr(self, name))}

    def size(self) -> int:
        """What the time of the training grows with; only the order matters."""
        return self.cell.examples + (self.first.stat().st_size if self.first else 0)

    def key(self) -> str:
        """Hash of all that the result depends on; which percentage the examples are doesn't matter."""
        weights = _weights(self.config)  # first: it reports a missing config in one sentence
        parts = [
            self.cell.seed,
            {name: sha256_file(path) for name, path in self.files().items()},
            list(self.labels),
            list(self.texts),
            self.scored,
            dict(self.overrides),
            self.gpu_id,
            {name: version(name) for name in ("spacy", "thinc", "numpy")},
            hash_code(*CODE),
            [sha256_file(path) for path in weights],
        ]
        return hashlib.sha256(json_text(parts, sort_keys=True, ensure_ascii=True).encode()).hexdigest()[:32]


def _weights(config: Path) -> list[Path]:
    """Files that the config names beside its corpora."""
    files: list[Path] = []
    for name, value in sorted(read_config(config, interpolate=False).get("paths", {}).items()):
        if name not in ("train", "dev") and isinstance(value, str) and value:
            path = Path(value)
            files += [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return files


def _still_rising(history: Sequence[Mapping[str, float]]) -> bool:
    """Whether the last checkpoint scored better than all before it."""
    *before, last = [round(entry["score"], 6) for entry in history]
    return bool(before) and last > max(before)


def train_job(job: TrainingJob) -> Result:
    """Train in this process, and count hits and misses.

    Returns:
        `cell`, `labels`, `counts` on dev (a (documents, labels, 3) list), `best_step`, `unfinished` (whether
        the last checkpoint was the only best one, so training was stopped while the score still rose),
        `checkpoints` (how many dev could choose from) and
        `measured`: processor `seconds` of the training, and `peak_mb` of this process in 10^6 bytes. For a
        job with `test` also `test` and `lowered` (dev in lower case), shaped as `counts`; for one with
        `texts` also `spans`, the [start, end, label] of each span in each text.

    Raises:
        UserError: the training failed; naming its examples and seed.
    """
    with tempfile.TemporaryDirectory(prefix="training-") as temporary:
        folder, start, before = job.model or Path(temporary) / "last", None, process_time()
        if job.first:
            _train(job, job.first, Path(temporary) / "first", None)
            start = Path(temporary) / "first" / "model-best"
        scores = _train(job, job.train, folder, start)
        seconds = process_time() - before
        predict = predict_with(spacy.load(folder / "model-best"))

    def count(gold: Sequence[Record]) -> list:
        predicted = scoring.view(predict([record.text for record in gold]), job.scored)
        return scoring.count(gold, predicted, job.labels).tolist()

    dev = scoring.view(map(from_doc, read_docs(job.dev)), job.scored)
    result: Result = {
        "cell": asdict(job.cell),
        "best_step": scores["step"],
        "unfinished": _still_rising(scores["history"]),
        "checkpoints": loop.checkpoints(scores["history"]),
        "labels": list(job.labels),
        "counts": count(dev),
    }
    if job.test:
        result["lowered"] = count([perturbations.recased(record, str.lower) for record in dev])
        result["test"] = count(read_gold(job.test))
    if job.texts:
        result["spans"] = [[[s.start, s.end, s.label] for s in r.spans] for r in predict(job.texts)]
    # Linux counts in KB, macOS in bytes.
    unit = 1e6 if sys.platform == "darwin" else 1e3
    result["measured"] = {
        "seconds": seconds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit,
    }
    return result


def _train(job: TrainingJob, train: Path, output: Path, start: Path | None) -> dict[str, Any]:
    try:
        return loop.train(
            job.config,
            train=train,
            dev=job.dev,
            output=output,
            overrides=dict(job.overrides),
            seed=job.cell.seed,
            gpu_id=job.gpu_id,
            quiet=True,
            start=start,
        )
    except UserError as error:
        where = f"training on {counted(job.cell.examples)} with seed {job.cell.seed}"
        raise UserError(f"{where}: {str(error).replace(str(train), 'its examples')}") from error


def read_gold(path: Path) -> list[Record]:
    """The accepted records of a test file.

    Raises:
        UserError: none, or none with a span; no such file.
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such file; run `weasel run split` first.")
    gold = records.accepted(records.read_records(path, allow_empty=True))
    scoring.require_scorable(gold, path)
    return gold


def run(
    jobs: Sequence[TrainingJob],
    *,
    executor: ray_cluster.Executor = "local",
    workers: int = 0,
    fresh: bool = False,
    what: str = "trainings",
    progress: Callable[[], Any] | None = None,
) -> list[Result]:
    """Do the jobs, several at a time in processes of their own, equal ones once; results in their order.

    Args:
        executor: "local" for processes on this machine, "ray" for a Ray cluster (or Ray on this machine).
        workers: processes; 0 for one per core as far as the memory goes, and for one in all on a GPU. Ray
            decides by itself: one CPU per training.
        fresh: a new process for each training, so that its peak of memory is its own.
        what: names the jobs in messages.
        progress: called when another job is done, in place of a progress bar.

    Raises:
        UserError: a training failed, was killed, or the user interrupted; results in a cache are kept.
    """
    if executor == "ray":
        ray_cluster.require()
    keys = [job.key() for job in jobs]
    distinct = dict(zip(keys, jobs, strict=True))
    results = {key: result for key, job in distinct.items() if (result := _stored(key, job))}
    # The largest go first, so that no core is left waiting for one that started last.
    left = sorted((key for key in distinct if key not in results), key=lambda key: -distinct[key].size())
    with tqdm(
        total=len(distinct), initial=len(results), desc=what, leave=False, disable=progress is not None
    ) as bar:
        if results:
            print(f"{len(results)} of {len(distinct)} {what} are kept from an earlier run")
        todo = [(key, distinct[key]) for key in left]
        try:
            for key, result in _results(todo, executor, workers, fresh, what):
                results[key] = result
                if cache := distinct[key].cache:
                    write_json(cache / f"{key}.json", result, indent=None)
                (progress or bar.update)()
        except KeyboardInterrupt:
            kept = all(job.cache for job in jobs)
            where = f"kept in {jobs[0].cache}; run the same command again to continue" if kept else "lost"
            raise UserError(
                f"interrupted: {len(results)} of {len(distinct)} {what} are done and {where}."
            ) from None
    return [results[key] | {"cell": asdict(job.cell)} for key, job in zip(keys, jobs, strict=True)]


def _stored(key: str, job: TrainingJob) -> Result | None:
    """The result of an earlier run, if it is there and whole, and so is the pipeline if that is wanted."""
    if not job.cache or (job.model and not (job.model / "model-best" / "meta.json").exists()):
        return None
    try:
        return json.loads((job.cache / f"{key}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None  # whatever damaged it, training again puts it right


def _results(
    todo: Sequence[tuple[str, TrainingJob]],
    executor: ray_cluster.Executor,
    workers: int,
    fresh: bool,
    what: str,
) -> Iterator[tuple[str, Result]]:
    """Keys and results, as they come."""
    if not todo:
        return
    if executor == "ray":
        yield from _on_ray(todo)
        return
    jobs = [job for _, job in todo]
    corpora = [path for job in jobs for path in (job.train, job.first) if path]
    processes = min(workers or default_workers(jobs[0].gpu_id, corpora), len(todo))
    if processes == 1 and not fresh:
        for key, job in todo:
            yield key, train_job(job)
        return
    kept = all(job.cache for job in jobs)
    limit = 1 if fresh else TASKS_PER_WORKER
    yield from on_cores(train_job, todo, processes, tasks_per_worker=limit, what=what, kept=kept)


def train_portions(
    portions: Mapping[Cell, Sequence[int]],
    docs: Sequence[Doc],
    *,
    executor: ray_cluster.Executor = "local",
    workers: int = 0,
    progress: Callable[[], Any] | None = None,
    **shared: Any,
) -> list[Result]:
    """Train every cell; results in the order of `portions`.

    Args:
        portions: indices into `docs` of each cell's examples.
        executor, workers, progress: as in `run`. shared: attributes of all jobs.

    Raises:
        UserError: as `run`.
    """
    with tempfile.TemporaryDirectory(prefix="portions-") as folder:
        jobs = portion_jobs(portions, docs, Path(folder), **shared)
        return run(jobs, executor=executor, workers=workers, progress=progress)


def portion_jobs(
    portions: Mapping[Cell, Sequence[int]], docs: Sequence[Doc], folder: Path, **shared: Any
) -> list[TrainingJob]:
    """A job for each cell, with its examples in `folder`.

    They are in the order of the corpus, so that the whole is trained exactly as the whole corpus would be.
    """
    return [
        TrainingJob(cell, train=write_examples(folder, [docs[i] for i in sorted(chosen)]), **shared)
        for cell, chosen in portions.items()
    ]


def write_examples(folder: Path, docs: Iterable[Doc]) -> Path:
    """The `.spacy` file of training examples in `folder`, named by its content."""
    data = docbin(docs).to_bytes()
    path = folder / f"{hashlib.sha256(data).hexdigest()[:16]}.spacy"
    if not path.exists():
        path.write_bytes(data)
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
    work: Callable[[Task], Answer],
    tasks: Iterable[tuple[Any, Task]],
    processes: int,
    *,
    tasks_per_worker: int = TASKS_PER_WORKER,
    what: str = "trainings",
    kept: bool = False,
) -> Iterator[tuple[Any, Answer]]:
    """`work` for each task in that many processes; the keys of the tasks and the results, as they come.

    Args:
        what: names the tasks in messages. kept: whether finished results survive a failure.

    Raises:
        UserError: a worker was killed, or as `work` does.
    """
    numbered = ((work, key, task) for key, task in tasks)
    try:
        yield from unordered(_keyed, numbered, processes, tasks_per_worker=tasks_per_worker)
    except BrokenProcessPool as error:
        remedy = "run it again with --vars.workers 1" if processes > 1 else "free some, then run it again"
        raise UserError(
            f"one of {processes} {what} at a time was killed, probably out of memory; {remedy}"
            f"{' (what was finished is kept)' if kept else ''}."
        ) from error


def _keyed(task: tuple[Callable[[Task], Answer], Any, Task]) -> tuple[Any, Answer]:
    work, key, item = task
    return key, work(item)


def _on_ray(todo: Sequence[tuple[str, TrainingJob]]) -> Iterator[tuple[str, Result]]:
    """The jobs as Ray tasks: files travel with them, results are kept on this machine.

    Weights that the config names must be at the same path on every node.
    """
    with ray_cluster.started() as ray:
        paths = {path for _, job in todo for path in job.files().values()}
        contents = {path: ray.put(path.read_bytes()) for path in paths}
        tasks = ((key, job, *(contents[path] for path in job.files().values())) for key, job in todo)
        num_gpus = int(todo[0][1].gpu_id >= 0)
        yield from ray_cluster.unordered(_train_remotely, tasks, in_flight=len(todo), num_gpus=num_gpus)


def _train_remotely(key: str, job: TrainingJob, *contents: bytes) -> tuple[str, Result]:
    """`train_job` on a machine that has none of the files."""
    with tempfile.TemporaryDirectory(prefix="training-files-") as folder:
        files = {name: Path(folder) / f"{name}{path.suffix}" for name, path in job.files().items()}
        for path, content in zip(files.values(), contents, strict=True):
            path.write_bytes(content)
        return key, train_job(replace(job, **files))

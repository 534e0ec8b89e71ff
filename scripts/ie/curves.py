"""How the score grows with the training data: nested portions, one training each, side by side on the cores.

Every portion is the beginning of one order of the examples, so a larger portion holds the smaller ones and
a difference between two is due to the examples added.
"""

import hashlib
import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import spacy
from spacy.tokens import Doc, DocBin
from thinc.api import Config

from ie import records, scoring, statistics, training
from ie.errors import UserError
from ie.files import atomic_write, sha256_file
from ie.statistics import Estimate

# Between two seeds F moves by about this much (Reimers and Gurevych 2017); a single seed can't see it.
SEED_NOISE = 0.01
# Linear algebra on one thread each, or the workers would fight for the cores.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


@dataclass(frozen=True)
class Cell:
    """One training: the first `examples` of the order, with a seed."""

    percent: float
    examples: int
    seed: int


@dataclass(frozen=True)
class Job:
    """What a worker needs for one cell; paths are of files that exist while it runs.

    `cache` is where the result is kept, None for nowhere.
    """

    cell: Cell
    config: Path
    train: Path
    dev: Path
    labels: tuple[str, ...]
    overrides: dict[str, Any]
    gpu_id: int
    cache: Path | None


def parse_portions(text: str) -> list[float]:
    """`"25,50,75,100"` as numbers.

    Raises:
        UserError: something isn't a number above 0 and at most 100.
    """
    try:
        portions = sorted({float(part) for part in text.split(",") if part.strip()})
    except ValueError:
        portions = []
    if not portions or portions[0] <= 0 or portions[-1] > 100:
        raise UserError(
            f"--portions {text!r} must be percentages above 0 and at most 100, such as 25,50,75,100."
        )
    return portions


def sizes(portions: Sequence[float], n: int) -> list[int]:
    """Number of examples of each portion of `n`.

    Raises:
        UserError: a portion holds no example, or two hold the same ones.
    """
    found = [int(n * percent / 100 + 0.5) for percent in portions]
    if not found[0]:
        raise UserError(
            f"{portions[0]:g} % of {n} training examples is none; review some more texts, or set larger "
            "portions."
        )
    for (low, a), (high, b) in zip(
        zip(portions, found, strict=True), zip(portions[1:], found[1:], strict=True), strict=False
    ):
        if a == b:
            raise UserError(
                f"{low:g} % and {high:g} % of {n} training examples are the same {a}; review some more "
                "texts, or set fewer portions."
            )
    return found


def nested_order(texts: Sequence[str], labels: Sequence[set[str]], portions: Sequence[int]) -> list[int]:
    """An order of the examples whose beginnings are the portions, each with every label if it can be.

    Examples are shuffled by a hash of their text, so that neither their order nor other examples matter.
    Where a label isn't in the smallest portion, the first example that has it moves up to its end, in
    exchange for the last one there that isn't the only one with some label.

    Args:
        labels: labels of each example.
        portions: number of examples of each portion, rising.
    """
    order = sorted(range(len(texts)), key=lambda i: (hashlib.sha256(texts[i].encode()).digest(), i))
    everything = set().union(*labels) if labels else set()
    # Each portion in turn: what the smallest has no room for may fit into the next.
    for start, size in zip((0, *portions), portions, strict=False):
        for label in sorted(everything):
            inside = order[:size]
            if any(label in labels[i] for i in inside):
                continue
            place = next(place for place in range(size, len(order)) if label in labels[order[place]])
            for out in reversed(range(start, size)):
                others = set().union(*(labels[i] for k, i in enumerate(inside) if k != out))
                if labels[order[out]] <= others | labels[order[place]]:
                    order[out], order[place] = order[place], order[out]
                    break
    return order


def counted(n: int) -> str:
    """`1 example`, `1,200 examples`."""
    return f"{n:,} example{'' if n == 1 else 's'}"


def missing_labels(labels: Sequence[set[str]], order: Sequence[int], size: int) -> list[str]:
    """Labels that some example has, but none of the first `size` of the order."""
    held = set().union(*(labels[i] for i in order[:size]))
    return sorted(set().union(*labels) - held)


def read_corpus(path: Path) -> list[Doc]:
    """The examples of a `.spacy` file.

    Raises:
        UserError: missing, not a corpus, or empty.
    """
    try:
        docs = list(DocBin().from_disk(path).get_docs(spacy.blank("xx").vocab))
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such corpus; run `weasel run split` first.") from None
    except Exception as error:  # whatever msgpack and zlib make of other bytes
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: is no spaCy corpus ({reason}); run `weasel run split` again.") from None
    if not docs:
        raise UserError(f"{path}: holds no examples; review some texts, then run `weasel run split`.")
    return docs


def train_cell(job: Job) -> dict[str, Any]:
    """Train one cell in this process and count its hits and misses on dev.

    Returns:
        `cell`, `best_step`, `labels`, and `counts`: a (documents, labels, 3) list.
    """
    key = _key(job)
    stored = job.cache / f"{key}.json" if job.cache else None
    if stored and stored.exists():
        return json.loads(stored.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="train-curve-") as folder:
        scores = training.train(
            job.config,
            train=job.train,
            dev=job.dev,
            output=Path(folder),
            overrides=job.overrides,
            seed=job.cell.seed,
            gpu_id=job.gpu_id,
            quiet=True,
        )
        nlp = spacy.load(Path(folder) / "model-best")
        docs = read_corpus(job.dev)
        gold = [records.from_doc(doc) for doc in docs]
        found = [records.from_doc(doc) for doc in nlp.pipe([doc.text for doc in docs])]
    result = {
        "cell": asdict(job.cell),
        "best_step": scores.get("step"),
        "labels": list(job.labels),
        "counts": scoring.count(gold, found, job.labels).tolist(),
    }
    if stored:
        with atomic_write(stored) as file:
            json.dump(result, file)
    return result


def _key(job: Job) -> str:
    """Hash of all that a cell's result depends on."""
    sources = _sources(job.config)
    parts = [
        asdict(job.cell),
        sha256_file(job.config),
        sha256_file(job.train),
        sha256_file(job.dev),
        list(job.labels),
        job.overrides,
        job.gpu_id,
        {name: version(name) for name in ("spacy", "thinc", "numpy")},
        [sha256_file(path) for path in sources],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _sources(config: Path) -> list[Path]:
    """Files that decide a training beside its data: our code, and weights that the config names."""
    code = Path(__file__).parent
    found = [code / f"{name}.py" for name in ("curves", "records", "scoring", "tokenizing", "training")]
    try:
        named = Config().from_disk(config, interpolate=False).get("paths", {})
    except FileNotFoundError:
        raise UserError(f"{config}: there is no such config; correct the path.") from None
    except Exception as error:  # confection raises its own, configparser's and plain ValueErrors
        reason = " ".join(str(error).split())
        raise UserError(f"{config}: can't be read as a config ({reason}); correct that line.") from None
    for name, value in sorted(named.items()):
        if name not in ("train", "dev") and isinstance(value, str) and value:
            path = Path(value)
            found += [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return found


def run_grid(
    cells: Sequence[Cell],
    docs: Sequence[Doc],
    order: Sequence[int],
    *,
    config: Path,
    dev: Path,
    labels: Sequence[str],
    overrides: dict[str, Any] | None = None,
    gpu_id: int = -1,
    workers: int = 0,
    cache: Path | None = None,
    progress: Callable[[], Any] = lambda: None,
) -> list[dict[str, Any]]:
    """Train every cell, `workers` at a time in processes of their own; results in the order of `cells`.

    The largest go first, so that no core is left waiting for one that started last. Finished cells are kept
    in `cache`, and found there when a run that was killed is started again.

    Args:
        workers: processes; 0 for one a core, and on a GPU for one in all.
        progress: called when a cell is done.
    """
    with tempfile.TemporaryDirectory(prefix="portions-") as folder:
        paths = {}
        for size in {cell.examples for cell in cells}:
            paths[size] = Path(folder) / f"{size}.spacy"
            portion = [docs[i] for i in order[:size]]
            DocBin(attrs=["ENT_IOB", "ENT_TYPE", "ENT_KB_ID"], store_user_data=False, docs=portion).to_disk(
                paths[size]
            )
        shared = {"config": config, "dev": dev, "labels": tuple(labels), "overrides": overrides or {}}
        jobs = [
            Job(cell=cell, train=paths[cell.examples], cache=cache, gpu_id=gpu_id, **shared) for cell in cells
        ]
        queue = sorted(range(len(jobs)), key=lambda i: -jobs[i].cell.examples)
        workers = min(workers or (cores() if gpu_id < 0 else 1), len(jobs))
        if workers == 1:
            found = {}
            for i in queue:
                found[i] = train_cell(jobs[i])
                progress()
            return [found[i] for i in range(len(jobs))]
        with _one_thread_each(), _pool(workers) as pool:
            futures = {i: pool.submit(train_cell, jobs[i]) for i in queue}
            for future in futures.values():
                future.add_done_callback(lambda _: progress())
            done, _ = wait(futures.values(), return_when=FIRST_EXCEPTION)
            failed = next((error for f in done if (error := f.exception())), None)
            if isinstance(failed, BrokenProcessPool):
                raise UserError(
                    f"one of {workers} trainings at a time was killed, most likely for want of memory; run "
                    "it again with --workers 1 (what was finished is kept)."
                ) from failed
            if failed:
                raise failed
        return [futures[i].result() for i in range(len(jobs))]


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _pool(workers: int):
    # A fresh interpreter each: a fork of a process with threads (tqdm's, BLAS's) may hang.
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _one_thread_each():
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def rows(
    cells: Sequence[Cell], results: Sequence[dict[str, Any]], labels: Sequence[str]
) -> list[dict[str, Any]]:
    """One row a portion, from 0 % (where nothing is predicted) up.

    Returns:
        `percent`, `examples`, `score` (mean F over the seeds), `scores` (F of each seed), `f` (its Estimate,
        the interval being that of the dev texts, averaged over seeds), `labels` (an Estimate each), `counts`
        ((documents, 3) of each seed).
    """
    nothing = Estimate(0.0, 0.0, 0.0)
    found: list[dict[str, Any]] = [
        {
            "percent": 0,
            "examples": 0,
            "score": 0.0,
            "scores": [],
            "f": nothing,
            "labels": dict.fromkeys(labels, nothing),
            "counts": [],
        }
    ]
    for percent in sorted({cell.percent for cell in cells}):
        chosen = [i for i, cell in enumerate(cells) if cell.percent == percent]
        tables = [np.array(results[i]["counts"], dtype=np.int64) for i in chosen]
        micro = [table.sum(axis=1) for table in tables]
        scores = [_f(counts) for counts in micro]
        found.append(
            {
                "percent": percent,
                "examples": cells[chosen[0]].examples,
                "score": float(np.mean(scores)),
                "scores": scores,
                "f": _mean([statistics.intervals(counts)[2] for counts in micro]),
                "labels": {
                    label: _mean([statistics.intervals(table[:, i])[2] for table in tables])
                    for i, label in enumerate(labels)
                },
                "counts": micro,
            }
        )
    return found


def _f(counts: np.ndarray) -> float:
    return float(np.nan_to_num(statistics.prf(counts.sum(axis=0))[2]))


def _mean(estimates: Iterable[Estimate]) -> Estimate:
    values = np.array([(e.value, e.low, e.high) for e in estimates])
    return Estimate(*map(float, np.nan_to_num(values).mean(axis=0)))


def verdict(found: Sequence[dict[str, Any]], dev: int) -> str:
    """What the last portion's rise allows to say, and no more.

    The rise must be beyond sampling noise of the dev texts (paired bootstrap interval), and, with a single
    seed, beyond the noise between seeds as others measured it.
    """
    trained = [row for row in found if row["examples"]]
    if not trained:
        return "Nothing was trained."
    last = trained[-1]
    if len(trained) < 2:
        level = statistics.format_score(last["f"], n=dev)
        return f"One portion tells no trend: F is {level} on dev."
    before = trained[-2]
    seeds = len(last["counts"])
    rise = _mean(statistics.difference(a, b) for a, b in zip(last["counts"], before["counts"], strict=True))
    if not last["score"] and not before["score"]:
        return (
            f"The model found nothing with {before['examples']:,} and with {last['examples']:,} examples "
            f"(dev n={dev:,}): look for a fault in data or settings before you annotate more."
        )
    added = last["examples"] - before["examples"]
    noise = SEED_NOISE if seeds == 1 else _seed_noise(last["scores"], before["scores"])
    moved = (
        f"The last {added:,} examples ({before['percent']:g} to {last['percent']:g} %) moved F by "
        f"{statistics.format_difference(rise)}, dev n={dev:,}, {seeds} seed{'s' if seeds > 1 else ''}"
    )
    if rise.low > noise:
        return f"{moved}: more than noise, so more examples of this kind will probably help."
    if rise.high < -noise:
        return f"{moved}: a fall beyond noise, so look at the examples that were added."
    alone = seeds == 1 and not rise.low <= 0 <= rise.high
    seed = " (seeds alone move F by about .01)" if alone else ""
    return (
        f"{moved}: this may be noise{seed}. Whether more examples would help can't be told from it; more "
        "dev texts or seeds would."
    )


def _seed_noise(last: Sequence[float], before: Sequence[float]) -> float:
    """Half-width of the 95 % interval of the difference of two means over seeds (normal approximation)."""
    return 1.96 * float(np.sqrt(np.var(last, ddof=1) / len(last) + np.var(before, ddof=1) / len(before)))


def to_json(found: Sequence[dict[str, Any]], dev: int, notes: Sequence[str]) -> dict[str, Any]:
    """The curve as a JSON object, without timings."""

    def numbers(estimate: Estimate) -> dict[str, float]:
        return {
            "f": round(estimate.value, 4),
            "f_low": round(estimate.low, 4),
            "f_high": round(estimate.high, 4),
        }

    return {
        "dev": {"documents": dev},
        "rows": [
            {
                "percent": row["percent"],
                "examples": row["examples"],
                **numbers(row["f"]),
                "seeds": [round(score, 4) for score in row["scores"]],
                "labels": {label: numbers(estimate) for label, estimate in row["labels"].items()},
            }
            for row in found
        ],
        "notes": list(notes),
    }

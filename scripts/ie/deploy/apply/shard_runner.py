"""Annotating any number of texts: shards of files in, a file of results for each of them out.

A file of results appears whole, under a name that its input gives it, so a run that was killed goes on with
the shards that have none. What a trained pipeline says is the same however many workers there are, and
wherever they are.
"""

import fcntl
import io
import json
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from ie.core import ray_cluster
from ie.core.errors import UserError
from ie.core.files import atomic_write, check_writable, hash_code, hash_folder, write_json
from ie.core.processes import AHEAD, cores, unordered
from ie.data import shards
from ie.data.shards import InputFile, Shard
from ie.deploy.apply.pipeline_worker import AGAIN, ApplySettings, Done, column_of, load, work, work_on_parcel

RESULTS, REJECTED, MANIFEST, SUMMARY = "rows", "rejected", "manifest.json", "summary.json"
VERSIONS = ("spacy", "thinc", "numpy", "pyarrow")
# Packages whose code decides the results.
CODE = ("components", "ie.core", "ie.data", "ie.deploy.apply", "ie.training")
# What else the results depend on: parts of the manifest, by what they are called.
PARTS = {
    "model": "the pipeline",
    "llm": "the language model",
    "prompts": "the prompts",
    "code": "the code",
}
# Takes the shards, how many they are, and the bar, which moves on by texts as well if it is told of them.
Work = Callable[[Iterator[Shard], int, tqdm], Iterator[Done]]


@dataclass
class RunSummary:
    """What a whole run came to, the shards that an earlier one had done included."""

    texts: int
    rejected: dict[str, int]
    shards: int
    kept_shards: int
    words: int = 0
    new_texts: int = 0
    # by process
    peak_mb: dict[str, float] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, str]]:
        """For a table."""
        aside = [(f"set aside: {reason}", f"{n:,}") for reason, n in self.rejected.items()]
        kept = f"{self.shards:,}, {self.kept_shards:,} of them kept from before"
        return [("texts", f"{self.texts:,}"), *aside, ("shards", kept)]


def run(
    source: Path,
    model: Path,
    output: Path,
    settings: ApplySettings,
    *,
    executor: ray_cluster.Executor = "local",
    workers: int = 0,
) -> RunSummary:
    """Apply the pipeline in `model` to the texts in `source`, into `output`; see `go_through`.

    Args:
        workers: 0 for one a core, of this machine or of the cluster.

    Raises:
        UserError: no pipeline, or as `go_through` does.
    """
    if executor == "ray":
        ray_cluster.require()
    key = hash_folder(model)
    load(model, key)  # fails before anything is read or written
    depends = {"model": key, "code": hash_code(*CODE)}
    work = partial(_executed, model, key, settings, executor, workers)
    return go_through(source, output, settings, work, depends)


def go_through(
    source: Path,
    output: Path,
    settings: ApplySettings,
    work: Work,
    depends: Mapping[str, str],
    name: str = "apply",
) -> RunSummary:
    """Let `work` annotate the texts in `source`, into `output`.

    Writes `rows/<input file>/<shard>.parquet` (or .jsonl), `rejected/<input file>/<shard>.jsonl` where rows
    were set aside, `manifest.json` with the hashes of all that the results depend on, and at the end
    `summary.json`.

    Args:
        depends: hashes of what the results depend on beside texts and settings, by `PARTS`.
        name: of the command, for the bar.

    Raises:
        UserError: nothing to read, no such column, another run's output, full disk, interrupted, or as `work`
            does.
    """
    folder, names, ignored = shards.find(source)
    if source.is_dir() and output.resolve().is_relative_to(source.resolve()):
        raise UserError(f"{output}: lies in the input {source}, and would be read as texts; name another.")
    if ignored:
        shown = ", ".join(ignored[:3]) + (", ..." if len(ignored) > 3 else "")
        print(f"{len(ignored):,} other files in {source} are left out: {shown}")
    before = read_manifest(output)
    sources = _scan(folder, names, settings.text_column, before)
    if not any(s.rows for s in sources):
        raise UserError(f"{source}: has no rows in its files ({', '.join(names[:3])}); put texts there.")
    _check_ids(folder, sources, settings)
    manifest = make_manifest(depends, settings, sources)
    # Nothing is there yet if, say, the endpoint's address was wrong: it may be corrected.
    if before is not None and _has_results(output):
        refuse_others(output, before, manifest)
    check_writable(output / MANIFEST)
    with _alone(output):
        _clear_halves(output)
        write_json(output / MANIFEST, manifest)
        outcome = _work_through(folder, sources, output, settings, work, name)
        _add_up(output, sources, settings, outcome)
    if not outcome.texts:
        reason = next(iter(outcome.rejected))
        raise UserError(f"{source}: no row could be used ({reason}); see {output / REJECTED}, and mend them.")
    return outcome


def _work_through(
    folder: Path,
    sources: list[InputFile],
    output: Path,
    settings: ApplySettings,
    work: Work,
    name: str,
) -> RunSummary:
    outcome = RunSummary(0, {}, sum(s.shards(settings.shard) for s in sources), 0)
    left = {
        s.name: [n for n in range(s.shards(settings.shard)) if not _is_done(output, s.name, n, settings)]
        for s in sources
    }
    todo = sum(map(len, left.values()))
    outcome.kept_shards = outcome.shards - todo
    if not todo:
        print(f"All {outcome.shards:,} shards are there from an earlier run")
        return outcome
    if outcome.kept_shards:
        print(f"{outcome.kept_shards:,} of {outcome.shards:,} shards are kept from an earlier run")
    rows = sum(min(settings.shard, s.lines - n * settings.shard) for s in sources for n in left[s.name])
    waiting = (
        shard
        for s in sources
        for shard in shards.read(folder, s, settings.shard, set(left[s.name]).__contains__)
    )
    lines = {s.name: s.lines for s in sources}
    done = passed = 0
    try:
        with (
            tqdm(total=rows, desc=name, unit="text", smoothing=0.05) as bar,
            closing(work(waiting, todo, bar)) as results,
        ):
            for found in results:
                _write(output, found, settings)
                done += 1
                outcome.words += found.words
                outcome.new_texts += found.rows
                outcome.peak_mb[found.process] = max(found.peak_mb, outcome.peak_mb.get(found.process, 0))
                passed += min(settings.shard, lines[found.source] - found.number * settings.shard)
                bar.update(passed - bar.n)
    except KeyboardInterrupt:
        raise UserError(
            f"interrupted: {outcome.kept_shards + done:,} of {outcome.shards:,} shards are done and kept in "
            f"{output}; run the same command again to go on."
        ) from None
    return outcome


def _is_done(output: Path, source: str, number: int, settings: ApplySettings) -> bool:
    aside = place(output, source, number, settings, REJECTED)
    again = aside.exists() and any(reason.startswith(AGAIN) for reason in _reasons(aside))
    return place(output, source, number, settings).exists() and not again


def _executed(
    model: Path,
    key: str,
    settings: ApplySettings,
    executor: ray_cluster.Executor,
    workers: int,
    waiting: Iterator[Shard],
    todo: int,
    bar: tqdm,
) -> Iterator[Done]:
    task = partial(work, model, key, settings)
    if executor == "ray":
        yield from _on_ray(waiting, model, key, settings, workers)
        return
    workers = min(workers or cores(), todo)
    if workers == 1:
        # on one thread, as the others are: sums in another order have other last bits
        with threadpool_limits(1):
            yield from map(task, waiting)
        return
    try:
        yield from unordered(task, waiting, workers)
    except BrokenProcessPool as error:
        raise UserError(
            f"one of {workers} workers was killed, most likely for want of memory; run it again with fewer "
            "--workers or a smaller --batch-size (what was finished is kept)."
        ) from error


def _on_ray(
    waiting: Iterator[Shard], model: Path, key: str, settings: ApplySettings, workers: int
) -> Iterator[Done]:
    """The same shards as Ray tasks; rows and pipeline travel with them, so nothing needs to be shared.

    Not `ray.data.read_parquet`: its blocks have other borders than our shards, so its files would be others,
    and a run that was killed would begin again.
    """
    with ray_cluster.started(workers) as ray:
        parcel = ray.put(pack(model))
        tasks = ((parcel, key, settings, shard) for shard in waiting)
        # none yet where machines are started as they are needed
        cpus = max(1, int(ray.cluster_resources().get("CPU", 0)))
        # one more for each, so that no CPU waits; a large cluster of others may be used in part
        in_flight = workers if 0 < workers < cpus else AHEAD * cpus
        yield from ray_cluster.unordered(work_on_parcel, tasks, in_flight=in_flight)


def pack(folder: Path) -> bytes:
    """A folder as a tar file."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        tar.add(folder, arcname=".")
    return sink.getvalue()


def place(output: Path, source: str, number: int, settings: ApplySettings, kind: str = RESULTS) -> Path:
    """Where the results of a shard go, or what was set aside."""
    end = "jsonl" if kind == REJECTED else settings.format
    return output / kind / source / f"{number:06}.{end}"


def _write(output: Path, done: Done, settings: ApplySettings) -> None:
    before = place(output, done.source, done.number, settings)
    if before.exists() and count(before) > done.rows:
        return  # it was done again for some rows, and fewer came out than are there
    # The results last: they say that the shard is done.
    files = {REJECTED: done.rejected, RESULTS: done.results}
    for kind in reversed(files):
        # those of an earlier run, if it is done again
        place(output, done.source, done.number, settings, kind).unlink(missing_ok=True)
    for kind, content in files.items():
        if content is not None:
            with atomic_write(place(output, done.source, done.number, settings, kind), "wb") as file:
                file.write(content)


def _add_up(output: Path, sources: list[InputFile], settings: ApplySettings, outcome: RunSummary) -> None:
    """Count what is there, all shards together, and write the summary.

    Raises:
        UserError: it isn't each row once.
    """
    reasons: Counter[str] = Counter()
    for s in sources:
        found = 0
        for number in range(s.shards(settings.shard)):
            path = place(output, s.name, number, settings)
            found += count(path)
            aside = place(output, s.name, number, settings, REJECTED)
            if aside.exists():
                told = _reasons(aside)
                reasons += told
                found += told.total()
        if found != s.rows:
            raise UserError(
                f"{s.name}: has {s.rows:,} rows, but {found:,} came out, so it was changed meanwhile; "
                f"delete {output} and run it again."
            )
    outcome.rejected = dict(reasons.most_common())
    outcome.texts = sum(s.rows for s in sources) - reasons.total()
    told = {"texts": outcome.texts, "set_aside": outcome.rejected, "shards": outcome.shards}
    write_json(output / SUMMARY, told)


def _reasons(aside: Path) -> Counter[str]:
    """Why rows of a shard were set aside."""
    with open(aside, encoding="utf-8") as file:
        return Counter(json.loads(line)["reason"] for line in file)


def count(path: Path) -> int:
    """Rows of a file of results."""
    if path.suffix == ".parquet":
        return pq.read_metadata(path).num_rows
    with open(path, "rb") as file:
        return sum(1 for _ in file)


def _scan(folder: Path, names: list[str], text_column: str, before: dict[str, Any] | None) -> list[InputFile]:
    """Read every file that an earlier run hasn't read as it is now."""
    known = (before or {}).get("inputs", {})
    found = []
    stats = {name: (folder / name).stat() for name in names}
    with tqdm(
        total=sum(stat.st_size for stat in stats.values()),
        desc="reading",
        unit="B",
        unit_scale=True,
        leave=False,
    ) as bar:
        for name, stat in stats.items():
            old = known.get(name, {})
            if (stat.st_size, stat.st_mtime_ns) == (old.get("bytes"), old.get("mtime_ns")):
                found.append(InputFile(name=name, **old))
                bar.update(stat.st_size)
            else:
                found.append(shards.scan(folder, name, text_column, bar.update))
    return found


def _check_ids(folder: Path, sources: list[InputFile], settings: ApplySettings) -> None:
    for s in sources:
        if settings.id_column and s.kind == "parquet":
            schema = pq.read_schema(folder / s.name)
            try:
                column_of(schema.empty_table(), settings.id_column)
            except (KeyError, pa.ArrowException):
                raise UserError(
                    f"{folder / s.name}: has no column {settings.id_column!r}, but "
                    f"{', '.join(schema.names)}; name the column of the ids, or none."
                ) from None


def make_manifest(
    depends: Mapping[str, str], settings: ApplySettings, sources: list[InputFile]
) -> dict[str, Any]:
    """All that the results depend on."""
    return {
        **depends,
        "settings": asdict(settings),
        "versions": {name: version(name) for name in VERSIONS},
        "inputs": {s.name: s.to_json() for s in sources},
    }


def read_manifest(output: Path) -> dict[str, Any] | None:
    """That of an earlier run in a folder; None if the folder is empty.

    Raises:
        UserError: it isn't readable, or the folder has something else in it.
    """
    path = output / MANIFEST
    if not path.exists():
        if output.is_file():
            raise UserError(f"{output}: this is a file; name a folder.")
        if output.is_dir() and any(not child.name.startswith(".") for child in output.iterdir()):
            raise UserError(f"{output}: isn't empty and holds no results of apply; name another folder.")
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        for name, values in found["inputs"].items():
            InputFile(name=name, **values)
        return found
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: can't be read; delete {output} and run it again.") from None


def refuse_others(output: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Results of two runs in one folder would be nobody's; files that came since are no matter.

    Raises:
        UserError: naming what changed.
    """
    changed = [name for part, name in PARTS.items() if before.get(part) != now.get(part)]
    for part, name in (("settings", "the setting"), ("versions", "the version of")):
        old = before.get(part, {})
        changed += [f"{name} {key}" for key, value in now[part].items() if old.get(key) != value]
    for name, old in before["inputs"].items():
        new = now["inputs"].get(name)
        if new is None:
            changed.append(f"{name}, which is gone,")
        elif (old["sha256"], old["bytes"]) != (new["sha256"], new["bytes"]):
            changed.append(f"the input {name}")
    if changed:
        shown = ", ".join(changed[:4]) + (f" and {len(changed) - 4} more" if len(changed) > 4 else "")
        raise UserError(
            f"{output}: holds the results of another run ({shown} changed since); name another folder for "
            "these, or delete it."
        )


def _has_results(output: Path) -> bool:
    return any(path.is_file() and path.name[0] != "." for path in (output / RESULTS).rglob("*"))


def _clear_halves(output: Path) -> None:
    """Remove what a killed run was writing."""
    if not _has_results(output):
        shutil.rmtree(output / REJECTED, ignore_errors=True)
    for kind in (RESULTS, REJECTED):
        for path in (output / kind).rglob(".*"):
            path.unlink()


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """No other run may write there meanwhile; the lock is gone with the process, however it ends."""
    with open(output / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{output}: another run is writing there; wait for it, or stop it.") from None
        yield

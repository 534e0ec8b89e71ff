"""Annotates any number of texts: reads files in shards, and writes one file of results per shard.

A file of results appears as a whole, under the name of its input and shard, so a run after a kill continues
with the shards that have none. A trained pipeline gives the same results with any number of workers, on one
machine or several.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ie.core.errors import UserError
from ie.core.files import atomic_write, check_writable, locked, write_json
from ie.data import shards
from ie.data.shards import InputFile, Shard
from ie.deploy.apply.pipeline_worker import AGAIN, ApplySettings, ShardResult, column_of

RESULTS, REJECTED, MANIFEST, SUMMARY = "rows", "rejected", "manifest.json", "summary.json"
VERSIONS = ("spacy", "thinc", "numpy", "pyarrow")
# What else the results depend on: parts of the manifest, and their names in messages.
PARTS = {
    "model": "the pipeline",
    "llm": "the language model",
    "prompts": "the prompts",
    "code": "the code",
}
# Annotates shards. Gets their number and the progress bar, which it may update by texts.
Worker = Callable[[Iterator[Shard], int, tqdm], Iterator[ShardResult]]


@dataclass
class RunSummary:
    """Counts of all shards, including those from an earlier run."""

    texts: int
    rejected: dict[str, int]
    shards: int
    kept_shards: int
    words: int = 0
    new_texts: int = 0
    # by process
    peak_mb: dict[str, float] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, str]]:
        """Rows for a table."""
        aside = [(f"set aside: {reason}", f"{n:,}") for reason, n in self.rejected.items()]
        kept = f"{self.shards:,}, {self.kept_shards:,} of them from an earlier run"
        return [("texts", f"{self.texts:,}"), *aside, ("shards", kept)]


def run(
    source: Path,
    output: Path,
    settings: ApplySettings,
    worker: Worker,
    depends: Mapping[str, str],
    name: str = "apply",
) -> RunSummary:
    """Let a worker annotate the texts in `source`, into `output`.

    Writes `rows/<input file>/<shard>.parquet` (or .jsonl), `rejected/<input file>/<shard>.jsonl` where rows
    were set aside, `manifest.json` with the hashes of all that the results depend on, and finally
    `summary.json`.

    Args:
        depends: hashes of what the results depend on besides texts and settings, by `PARTS`.
        name: of the command, for the progress bar.

    Raises:
        UserError: nothing to read, no such column, another run's output, full disk, interrupted, or as the
            worker does.
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
    # Without results, settings may still change, such as a wrong address of the endpoint.
    if before is not None and _has_results(output):
        refuse_others(output, before, manifest)
    check_writable(output / MANIFEST)
    busy = f"{output}: another run is writing to it; wait for that one, or stop it."
    with locked(output / ".lock", busy):
        _remove_unfinished(output)
        write_json(output / MANIFEST, manifest)
        summary = _annotate(folder, sources, output, settings, worker, name)
        _count(output, sources, settings, summary)
    if not summary.texts:
        reason = next(iter(summary.rejected))
        raise UserError(f"{source}: no row could be used ({reason}); see {output / REJECTED}, and fix them.")
    return summary


def _annotate(
    folder: Path,
    sources: list[InputFile],
    output: Path,
    settings: ApplySettings,
    worker: Worker,
    name: str,
) -> RunSummary:
    summary = RunSummary(0, {}, sum(s.shards(settings.shard) for s in sources), 0)
    left = {
        s.name: [n for n in range(s.shards(settings.shard)) if not _is_done(output, s.name, n, settings)]
        for s in sources
    }
    todo = sum(map(len, left.values()))
    summary.kept_shards = summary.shards - todo
    if not todo:
        print(f"All {summary.shards:,} shards are there from an earlier run")
        return summary
    if summary.kept_shards:
        print(f"{summary.kept_shards:,} of {summary.shards:,} shards are kept from an earlier run")
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
            closing(worker(waiting, todo, bar)) as results,
        ):
            for result in results:
                _write(output, result, settings)
                done += 1
                summary.words += result.words
                summary.new_texts += result.rows
                summary.peak_mb[result.process] = max(result.peak_mb, summary.peak_mb.get(result.process, 0))
                passed += min(settings.shard, lines[result.source] - result.number * settings.shard)
                bar.update(passed - bar.n)
    except KeyboardInterrupt:
        raise UserError(
            f"interrupted: {summary.kept_shards + done:,} of {summary.shards:,} shards are done and kept in "
            f"{output}; run the same command again to continue."
        ) from None
    return summary


def _is_done(output: Path, source: str, number: int, settings: ApplySettings) -> bool:
    aside = place(output, source, number, settings, REJECTED)
    again = aside.exists() and any(reason.startswith(AGAIN) for reason in _reasons(aside))
    return place(output, source, number, settings).exists() and not again


def place(output: Path, source: str, number: int, settings: ApplySettings, kind: str = RESULTS) -> Path:
    """The file of a shard's results, or of the rows set aside."""
    end = "jsonl" if kind == REJECTED else settings.format
    return output / kind / source / f"{number:06}.{end}"


def _write(output: Path, result: ShardResult, settings: ApplySettings) -> None:
    kinds = (REJECTED, RESULTS)
    paths = {kind: place(output, result.source, result.number, settings, kind) for kind in kinds}
    if paths[RESULTS].exists() and count(paths[RESULTS]) > result.rows:
        return  # a second attempt on some rows gave fewer than there are
    # The results last: they mark the shard as done.
    contents = {REJECTED: result.rejected, RESULTS: result.results}
    for kind in reversed(kinds):
        paths[kind].unlink(missing_ok=True)
    for kind, content in contents.items():
        if content is not None:
            with atomic_write(paths[kind], "wb") as file:
                file.write(content)


def _count(output: Path, sources: list[InputFile], settings: ApplySettings, summary: RunSummary) -> None:
    """Count the rows of all shards, and write the summary.

    Raises:
        UserError: some rows are missing, or there more than once.
    """
    reasons: Counter[str] = Counter()
    for s in sources:
        rows = 0
        for number in range(s.shards(settings.shard)):
            rows += count(place(output, s.name, number, settings))
            aside = place(output, s.name, number, settings, REJECTED)
            if aside.exists():
                of_shard = _reasons(aside)
                reasons += of_shard
                rows += of_shard.total()
        if rows != s.rows:
            raise UserError(
                f"{s.name}: has {s.rows:,} rows, but {rows:,} are in the results, so it was changed "
                f"during the run; delete {output} and run it again."
            )
    summary.rejected = dict(reasons.most_common())
    summary.texts = sum(s.rows for s in sources) - reasons.total()
    counts = {"texts": summary.texts, "set_aside": summary.rejected, "shards": summary.shards}
    write_json(output / SUMMARY, counts)


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
    """Read every file that is new or changed since an earlier run."""
    known = (before or {}).get("inputs", {})
    sources = []
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
                sources.append(InputFile(name=name, **old))
                bar.update(stat.st_size)
            else:
                sources.append(shards.scan(folder, name, text_column, bar.update))
    return sources


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
    """The manifest of an earlier run in a folder; None if the folder is empty.

    Raises:
        UserError: it isn't readable, or the folder contains something else.
    """
    path = output / MANIFEST
    if not path.exists():
        if output.is_file():
            raise UserError(f"{output}: this is a file; name a folder.")
        if output.is_dir() and any(not child.name.startswith(".") for child in output.iterdir()):
            raise UserError(f"{output}: isn't empty, but has no results of apply; name another folder.")
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        for name, values in manifest["inputs"].items():
            InputFile(name=name, **values)
        return manifest
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: can't be read; delete {output} and run it again.") from None


def refuse_others(output: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to mix the results of different runs in one folder; new input files are fine.

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


def _remove_unfinished(output: Path) -> None:
    """Remove the unfinished files of a killed run."""
    if not _has_results(output):
        shutil.rmtree(output / REJECTED, ignore_errors=True)
    for kind in (RESULTS, REJECTED):
        for path in (output / kind).rglob(".*"):
            path.unlink()

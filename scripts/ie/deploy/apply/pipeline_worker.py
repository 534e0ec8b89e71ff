"""Annotates shards of texts with a trained pipeline; each result is the bytes of a file.

The bytes depend on the rows, the pipeline and `ApplySettings` only, not on what the process did before.
"""

import io
import math
import os
import resource
import socket
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import minibatch
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from ie.core import ray_cluster
from ie.core.errors import UserError
from ie.core.files import finite, hash_code, hash_folder, json_text
from ie.core.processes import AHEAD, cores, unordered
from ie.core.text import one_line
from ie.data import shards
from ie.data.docs import RELATION_CONFIDENCES, SPAN_CONFIDENCES, pipeline_record
from ie.data.shards import Shard
from ie.data.tokenizer import STRETCH, stretch_fault
from ie.training import assembly

# Packages whose code decides the results.
CODE = ("components", "ie.core", "ie.data", "ie.deploy.apply", "ie.training")
Format = Literal["parquet", "jsonl"]
MONEY = pa.struct([(name, pa.string()) for name in ("amount", "low", "high", "currency", "rule")])
SPAN_COLUMNS = {
    "start": pa.int32(),
    "end": pa.int32(),
    "label": pa.string(),
    "text": pa.string(),
    "kb_id": pa.string(),
    **dict.fromkeys(SPAN_CONFIDENCES, pa.float64()),
    "money": MONEY,
}
SPANS = pa.list_(pa.struct(list(SPAN_COLUMNS.items())))
RELATION_COLUMNS = {
    "head": pa.int32(),
    "child": pa.int32(),
    "label": pa.string(),
    **dict.fromkeys(("score", *RELATION_CONFIDENCES), pa.float64()),
}
RELATIONS = pa.list_(pa.struct(list(RELATION_COLUMNS.items())))
CATS = pa.list_(pa.struct([("label", pa.string()), ("score", pa.float64())]))
# Our columns; an input column with one of these names gets the prefix INPUT.
OURS = ("file", "row", "id", "text", "spans", "relations", "cats", "llm", "extra")
INPUT = "input_"
# Prefix of reasons that may be gone in another run, which works on such a shard again.
AGAIN = "no answer"
# New words whose tokenization a process remembers; each takes about 400 bytes.
KEPT_WORDS = 100_000


@dataclass(frozen=True)
class ApplySettings:
    """What the results depend on besides the texts and the pipeline.

    Attributes:
        text_column, id_column: names in the input, the latter "" for none; a dot leads into an object.
        shard: rows of an input file in one file of results.
        batch_size: texts in a batch of the pipeline.
        max_chars: longer texts are set aside.
        stretch: texts with more characters in a row without whitespace are set aside, as spaCy may take a
            quarter of an hour to tokenize one.
    """

    text_column: str = "text"
    id_column: str = ""
    shard: int = 1000
    batch_size: int = 256
    max_chars: int = 100_000
    stretch: int = STRETCH
    format: Format = "parquet"


@dataclass(frozen=True)
class ShardResult:
    """The files of a shard as bytes; `rejected` is None if no row was set aside.

    Attributes:
        peak_mb: peak memory of the process.
    """

    source: str
    number: int
    results: bytes
    rejected: bytes | None
    rows: int
    words: int
    process: str
    peak_mb: float


@dataclass(frozen=True)
class Row:
    """A row with a usable text. Id and other columns are None if they stay in an Arrow table."""

    number: int
    text: str
    id: Any = None
    extra: dict[str, Any] | None = None


@dataclass
class ShardRows:
    """The rows of a shard, and those set aside as (row, reason, content).

    Attributes:
        table: the shard of a Parquet file.
    """

    rows: list[Row] = field(default_factory=list)
    rejected: list[tuple[int, str, str]] = field(default_factory=list)
    table: pa.Table | None = None


@dataclass(frozen=True)
class Loaded:
    """A pipeline in this process, and the number of words in its vocabulary when it was loaded."""

    nlp: Language
    words: int


_loaded: dict[str, Loaded] = {}


def load(path: Path, key: str) -> Loaded:
    """The pipeline in a folder, loaded once per process; `key` is the folder's hash.

    Raises:
        UserError: there is none, or it can't be loaded.
    """
    if key not in _loaded:
        nlp = assembly.load(path, "train")
        _loaded[key] = Loaded(nlp, len(nlp.vocab.strings))
    return _loaded[key]


def work(path: Path, key: str, settings: ApplySettings, shard: Shard) -> ShardResult:
    """Annotate a shard with the pipeline in a folder.

    Raises:
        UserError: no such pipeline, or it fails on every text.
    """
    loaded = load(path, key)
    nlp = loaded.nlp
    nlp.max_length = max(nlp.max_length, settings.max_chars)
    # A memory zone forgets the new words of a shard, so that memory stays flat, but tokenizes them again in
    # the next shard. So the first new words, which include the frequent ones, are kept.
    full = len(nlp.vocab.strings) - loaded.words > KEPT_WORDS
    zone = nlp.memory_zone() if full else nullcontext()
    with zone:
        return annotate(nlp, settings, shard)


def annotate(nlp: Language, settings: ApplySettings, shard: Shard) -> ShardResult:
    """Annotate a shard.

    Raises:
        UserError: the pipeline fails on every text.
    """
    read_rows = read(shard, settings)
    texts = [row.text for row in read_rows.rows]
    annotations, failed, words = _annotations(nlp, texts, settings.batch_size)
    if failed and len(failed) == len(texts):
        raise UserError(
            f"{shard.source}: the pipeline fails on every text from row {shard.first} on "
            f"({failed[0]}); train or assemble it again."
        )
    reasons = {i: f"the pipeline fails ({reason})" for i, reason in failed.items()}
    return finish(shard, settings, read_rows, annotations, reasons, words=words)


def read(shard: Shard, settings: ApplySettings) -> ShardRows:
    """Read the rows of a shard."""
    if shard.kind == "parquet":
        return _of_table(shard, shards.from_stream(shard.content), settings)
    return _of_lines(shard, settings)


def finish(
    shard: Shard,
    settings: ApplySettings,
    read_rows: ShardRows,
    annotations: Sequence[Mapping[str, Any]],
    failed: Mapping[int, str],
    *,
    words: int = 0,
    also: Mapping[str, pa.DataType] | None = None,
) -> ShardResult:
    """Write the files of a shard.

    Args:
        annotations: of the texts that aren't in `failed`, which has reasons by index of the text.
        also: columns of `annotations` besides spans, relations and categories.
    """
    rows = [row for i, row in enumerate(read_rows.rows) if i not in failed]
    texts = [(read_rows.rows[i].number, reason, read_rows.rows[i].text) for i, reason in failed.items()]
    write = _lines if settings.format == "jsonl" else partial(_parquet, table=read_rows.table)
    return ShardResult(
        source=shard.source,
        number=shard.number,
        results=write(shard, settings, rows, annotations, also or {}),
        rejected=_rejected(shard.source, [*read_rows.rejected, *texts]),
        rows=len(rows),
        words=words,
        process=_process(),
        peak_mb=peak_mb(),
    )


def peak_mb() -> float:
    """Peak memory of this process, in MB."""
    # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1024)


@cache
def _process() -> str:
    # process ids are only unique on one machine
    return f"{socket.gethostname()}:{os.getpid()}"


def annotation(doc: Doc) -> dict[str, Any]:
    """The spans, relations (between their indices) and categories of a text."""
    record = pipeline_record(doc)
    return {
        "spans": [{name: getattr(span, name, None) for name in SPAN_COLUMNS} for span in record.spans],
        "relations": [relation.model_dump() for relation in record.relations],
        "cats": [{"label": label, "score": score} for label, score in record.cats.items()],
    }


def _annotations(nlp: Language, texts: list[str], size: int) -> tuple[list[dict], dict[int, str], int]:
    """Annotations of the texts, why the pipeline fails on some (by index), and the number of words."""
    annotations, failed, words, first = [], {}, 0, 0
    for batch in minibatch(texts, size):
        try:
            docs = dict(enumerate(nlp.pipe(batch, batch_size=size), start=first))
        except Exception:  # any component may raise anything: find out which text it is
            docs = {}
            for i, text in enumerate(batch, start=first):
                try:
                    docs[i] = nlp(text)
                except Exception as error:
                    failed[i] = one_line(f"{type(error).__name__}: {error}", 200)
        for i, doc in docs.items():
            of_text = annotation(doc)
            if all(math.isfinite(part["score"] or 0) for part in (*of_text["relations"], *of_text["cats"])):
                annotations.append(of_text)
            else:
                failed[i] = "a score is NaN or infinite"
            words += len(doc)
        first += len(batch)
    return annotations, failed, words


def _of_lines(shard: Shard, settings: ApplySettings) -> ShardRows:
    result = ShardRows()
    used = (settings.text_column, settings.id_column)
    for number, line in enumerate(io.BytesIO(shard.content), start=shard.first):
        if not line.strip():
            continue
        row = shards.parse(line)
        text = None if isinstance(row, str) else shards.pluck(row, settings.text_column)
        if fault := row if isinstance(row, str) else text_fault(text, settings):
            content = line.decode("utf-8", errors="replace").rstrip("\r\n")
            result.rejected.append((number, fault, content))
            continue
        key = shards.pluck(row, settings.id_column) if settings.id_column else None
        extra = {name: value for name, value in row.items() if name not in used}
        result.rows.append(Row(number, text, key, extra))
    return result


def _of_table(shard: Shard, table: pa.Table, settings: ApplySettings) -> ShardRows:
    result = ShardRows(table=table)
    not_utf8 = shards.not_utf8(table)
    for i, text in enumerate(shards.values(table.column(settings.text_column))):
        fault = f"not UTF-8 in {', '.join(not_utf8[i])}" if i in not_utf8 else text_fault(text, settings)
        if fault:
            content = dumped(shards.dicts(table.slice(i, 1))[0])
            result.rejected.append((shard.first + i, fault, content))
        else:
            result.rows.append(Row(shard.first + i, text))
    if settings.format == "jsonl":
        others = table.drop_columns([settings.text_column])
        ids = settings.id_column
        kept = shards.dicts(others.take([row.number - shard.first for row in result.rows]))
        result.rows = [
            Row(row.number, row.text, shards.pluck(values, ids) if ids else None,
                {name: value for name, value in values.items() if name != ids})
            for row, values in zip(result.rows, kept, strict=True)
        ]  # fmt: skip
    return result


def text_fault(text: Any, settings: ApplySettings) -> str | None:
    """Why a text can't be annotated; None if it can."""
    if text is None:
        return "no text"
    if not isinstance(text, str):
        return f"the text isn't a string, but {type(text).__name__}"
    if not text.strip():
        return "empty text"
    if len(text) > settings.max_chars:
        return f"longer than {settings.max_chars} characters"
    if fault := stretch_fault(text, settings.stretch):
        return fault
    return None if utf8(text) else "not Unicode"


def utf8(text: str) -> bool:
    """Whether a text can be encoded: JSON may contain half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def dumped(value: Any) -> str:
    """JSON on one line, without escapes where possible; NaN and Infinity are null."""
    value = finite(value)
    text = json_text(value, default=str)
    return text if utf8(text) else json_text(value, default=str, ensure_ascii=True)


def renamed(column: str) -> str:
    """The name of an input column in the results."""
    return INPUT + column if column in OURS else column


def _lines(
    shard: Shard,
    settings: ApplySettings,
    rows: Sequence[Row],
    annotations: Sequence[Mapping[str, Any]],
    also: Iterable[str],
) -> bytes:
    """One record per line, which the project's own commands read as well."""
    lines = []
    for row, of_text in zip(rows, annotations, strict=True):
        spans = [
            {name: value for name, value in span.items() if value is not None} for span in of_text["spans"]
        ]
        cats = {cat["label"]: cat["score"] for cat in of_text["cats"]}
        record = {"text": row.text, "spans": spans, "relations": of_text["relations"], "cats": cats}
        record |= {name: of_text[name] for name in also}
        record |= {"file": shard.source, "row": row.number}
        record |= {"id": row.id} if settings.id_column else {}
        record |= {renamed(name): value for name, value in (row.extra or {}).items()}
        lines.append(dumped(record) + "\n")
    return "".join(lines).encode()


def _parquet(
    shard: Shard,
    settings: ApplySettings,
    rows: Sequence[Row],
    annotations: Sequence[Mapping[str, Any]],
    also: Mapping[str, pa.DataType],
    *,
    table: pa.Table | None,
) -> bytes:
    if table is None:
        ids = pa.array([None if row.id is None else _as_text(row.id) for row in rows], pa.string())
        others = {"extra": pa.array([dumped(row.extra) if row.extra else None for row in rows], pa.string())}
    else:
        table = table.take(pa.array([row.number - shard.first for row in rows], pa.int64()))
        ids = column_of(table, settings.id_column)
        used = (settings.text_column, settings.id_column)
        others = {renamed(name): table.column(name) for name in table.column_names if name not in used}
    kinds = {"spans": SPANS, "relations": RELATIONS, "cats": CATS, **also}
    columns = {
        "file": pa.array([shard.source] * len(rows), pa.string()),
        "row": pa.array([row.number for row in rows], pa.int64()),
        "id": ids,
        "text": pa.array([row.text for row in rows], pa.string()),
        **{name: pa.array([of_text[name] for of_text in annotations], kind) for name, kind in kinds.items()},
        **others,
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def _as_text(key: Any) -> str:
    return key if isinstance(key, str) and utf8(key) else dumped(key)


def column_of(table: pa.Table, name: str) -> pa.Array:
    """A column, or a field of a struct column; null without a name."""
    if not name:
        return pa.nulls(len(table), pa.string())
    if name in table.column_names:
        return table.column(name)
    head, *parts = name.split(".")
    column = table.column(head).combine_chunks()
    for part in parts:
        column = pc.struct_field(column, part)
    return column


def _rejected(source: str, rejected: list[tuple[int, str, str]]) -> bytes | None:
    if not rejected:
        return None
    lines = (
        dumped({"file": source, "row": row, "reason": reason, "content": content})
        for row, reason, content in sorted(rejected)
    )
    return "".join(line + "\n" for line in lines).encode()


def work_on_copy(archive: bytes, key: str, settings: ApplySettings, shard: Shard) -> ShardResult:
    """`work` on a machine without the pipeline's folder, which each process unpacks once."""
    if key not in _loaded:
        # What the linker maps into memory stays there when its file is gone.
        with tempfile.TemporaryDirectory(prefix="pipeline-") as folder:
            with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
                tar.extractall(folder, filter="data")
            load(Path(folder), key)
    return work(Path(), key, settings, shard)


def pack(folder: Path) -> bytes:
    """A folder as a tar file."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        tar.add(folder, arcname=".")
    return sink.getvalue()


class PipelineWorker:
    """The worker of `apply` for `shard_runner.run`: a trained pipeline, in processes or on a Ray cluster.

    Args:
        workers: 0 for one per core, of this machine or of the cluster.

    Raises:
        UserError: there is no pipeline, or no Ray.
    """

    def __init__(
        self, model: Path, settings: ApplySettings, executor: ray_cluster.Executor = "local", workers: int = 0
    ) -> None:
        if executor == "ray":
            ray_cluster.require()
        self._model, self._settings, self._executor, self._workers = model, settings, executor, workers
        self._key = hash_folder(model)
        load(model, self._key)  # fails before anything is read or written

    def depends(self) -> dict[str, str]:
        """Hashes of what the results depend on besides texts and settings."""
        return {"model": self._key, "code": hash_code(*CODE)}

    def __call__(self, waiting: Iterator[Shard], todo: int, bar: tqdm) -> Iterator[ShardResult]:
        """Annotate shards, in any order.

        Raises:
            UserError: a worker was killed, or as `work` does.
        """
        if self._executor == "ray":
            yield from self._on_ray(waiting)
            return
        task = partial(work, self._model, self._key, self._settings)
        workers = min(self._workers or cores(), todo)
        if workers == 1:
            # on one thread, like several workers: sums in another order have other last bits
            with threadpool_limits(1):
                yield from map(task, waiting)
            return
        try:
            yield from unordered(task, waiting, workers)
        except BrokenProcessPool as error:
            raise UserError(
                f"one of {workers} workers was killed, probably out of memory; run it again with fewer "
                "--workers or a smaller --batch-size (finished shards are kept)."
            ) from error

    def _on_ray(self, waiting: Iterator[Shard]) -> Iterator[ShardResult]:
        """The same shards as Ray tasks; rows and pipeline travel with them, so nothing needs to be shared.

        Not `ray.data.read_parquet`: its blocks differ from our shards, so its files would differ as well, and
        a killed run would start from the beginning.
        """
        with ray_cluster.started(self._workers) as ray:
            archive = ray.put(pack(self._model))
            tasks = ((archive, self._key, self._settings, shard) for shard in waiting)
            # none yet where machines are started on demand
            cpus = max(1, int(ray.cluster_resources().get("CPU", 0)))
            # more tasks than CPUs, so that none waits; the user may want only part of a large cluster
            in_flight = self._workers if 0 < self._workers < cpus else AHEAD * cpus
            yield from ray_cluster.unordered(work_on_copy, tasks, in_flight=in_flight)

"""What a trained pipeline says of a shard of texts, as the bytes of a file of results.

The bytes are decided by the rows, the pipeline and `ApplySettings` alone: not by what the process did before.
"""

import io
import math
import os
import resource
import socket
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import minibatch

from ie.core.errors import UserError
from ie.core.files import finite, json_text
from ie.data import shards
from ie.data.docs import pipeline_record
from ie.data.shards import Shard
from ie.data.tokenizer import STRETCH, stretch_fault
from ie.training import assembly

Format = Literal["parquet", "jsonl"]
MONEY = pa.struct([(name, pa.string()) for name in ("amount", "low", "high", "currency", "rule")])
SPAN_COLUMNS = {
    "start": pa.int32(),
    "end": pa.int32(),
    "label": pa.string(),
    "text": pa.string(),
    "kb_id": pa.string(),
    "money": MONEY,
}
SPANS = pa.list_(pa.struct(list(SPAN_COLUMNS.items())))
RELATIONS = pa.list_(
    pa.struct([("head", pa.int32()), ("child", pa.int32()), ("label", pa.string()), ("score", pa.float64())])
)
CATS = pa.list_(pa.struct([("label", pa.string()), ("score", pa.float64())]))
# Columns of ours; one of the input by such a name gets INPUT in front.
OURS = ("file", "row", "id", "text", "spans", "relations", "cats", "llm", "extra")
INPUT = "input_"
# How a reason begins that may be gone in another run; that one works on the shard again.
AGAIN = "no answer"
# New words that a process remembers how to take apart; each takes some 400 bytes.
KEPT_WORDS = 100_000


@dataclass(frozen=True)
class ApplySettings:
    """What the results depend on beside the texts and the pipeline.

    Attributes:
        text_column, id_column: names in the input, the latter "" for none; a dot leads into an object.
        shard: rows of an input file that make one file of results.
        batch_size: texts that the pipeline works on at a time.
        max_chars: longer texts are set aside.
        stretch: texts with more characters in a row without a blank are set aside, as spaCy may take a
            quarter of an hour to take one apart.
    """

    text_column: str = "text"
    id_column: str = ""
    shard: int = 1000
    batch_size: int = 256
    max_chars: int = 100_000
    stretch: int = STRETCH
    format: Format = "parquet"


@dataclass(frozen=True)
class Done:
    """What became of a shard: files as bytes, `rejected` None if every row was fine.

    Attributes:
        peak_mb: the most memory that the process which did it has had.
    """

    source: str
    number: int
    results: bytes
    rejected: bytes | None
    rows: int
    words: int
    process: str
    peak_mb: float


@dataclass
class Rows:
    """The rows of a shard that have a text, and those set aside as (row, reason, content)."""

    numbers: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    ids: list[Any] = field(default_factory=list)
    extras: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[tuple[int, str, str]] = field(default_factory=list)

    def keep(self, which: Sequence[int]) -> None:
        """Go on with some of the rows."""
        for name in ("numbers", "texts", "ids", "extras"):
            setattr(self, name, [getattr(self, name)[i] for i in which])


@dataclass(frozen=True)
class Loaded:
    """A pipeline in this process, and how many words it knew when it was loaded."""

    nlp: Language
    words: int


_loaded: dict[str, Loaded] = {}


def load(path: Path, key: str) -> Loaded:
    """The pipeline in a folder, loaded once by each process; `key` is the folder's hash.

    Raises:
        UserError: there is none, or it can't be loaded.
    """
    if key not in _loaded:
        nlp = assembly.load(path, "train")
        _loaded[key] = Loaded(nlp, len(nlp.vocab.strings))
    return _loaded[key]


def work(path: Path, key: str, settings: ApplySettings, shard: Shard) -> Done:
    """Annotate a shard with the pipeline in a folder.

    Raises:
        UserError: no such pipeline, or it fails on every text.
    """
    loaded = load(path, key)
    nlp = loaded.nlp
    nlp.max_length = max(nlp.max_length, settings.max_chars)
    # In a memory zone spaCy forgets the new words of a shard afterwards, so that memory stays flat, but it
    # takes them apart anew in each shard. So the first new words, the frequent ones among them, are kept.
    full = len(nlp.vocab.strings) - loaded.words > KEPT_WORDS
    zone = nlp.memory_zone() if full else nullcontext()
    with zone:
        return annotate(nlp, settings, shard)


def annotate(nlp: Language, settings: ApplySettings, shard: Shard) -> Done:
    """The results of a shard, and what is set aside.

    Raises:
        UserError: the pipeline fails on every text.
    """
    rows, table = read(shard, settings)
    said, failed, words = _say(nlp, rows.texts, settings.batch_size)
    if failed and len(failed) == len(rows.texts):
        raise UserError(
            f"{shard.source}: the pipeline fails on every text from row {shard.first} on "
            f"({failed[0]}); train or assemble it again."
        )
    reasons = {i: f"the pipeline fails ({reason})" for i, reason in failed.items()}
    return finish(shard, settings, rows, table, said, reasons, words=words)


def read(shard: Shard, settings: ApplySettings) -> tuple[Rows, pa.Table | None]:
    """The rows of a shard, and the table that they are in if it is of a Parquet file."""
    table = shards.from_stream(shard.content) if shard.kind == "parquet" else None
    return (_of_lines(shard, settings) if table is None else _of_table(shard, table, settings)), table


def finish(
    shard: Shard,
    settings: ApplySettings,
    rows: Rows,
    table: pa.Table | None,
    said: Sequence[Mapping[str, Any]],
    failed: Mapping[int, str],
    *,
    words: int = 0,
    also: Mapping[str, pa.DataType] | None = None,
) -> Done:
    """The files of a shard that `read` has read.

    Args:
        said: of each text that isn't among `failed`, which has reasons by the index of a text.
        also: columns that `said` has beside spans, relations and categories.
    """
    also = also or {}
    rows.rejected += [(rows.numbers[i], reason, rows.texts[i]) for i, reason in failed.items()]
    rows.keep([i for i in range(len(rows.texts)) if i not in failed])
    if settings.format == "jsonl":
        results = _lines(shard, settings, rows, said, also)
    else:
        results = _parquet(shard, settings, rows, said, also, table)
    return Done(
        source=shard.source,
        number=shard.number,
        results=results,
        rejected=_rejected(shard.source, rows.rejected),
        rows=len(rows.texts),
        words=words,
        process=_process(),
        peak_mb=peak_mb(),
    )


def peak_mb() -> float:
    """The most memory that this process has had, in MB."""
    # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1024)


@cache
def _process() -> str:
    # on several machines the number alone isn't enough
    return f"{socket.gethostname()}:{os.getpid()}"


def said(doc: Doc) -> dict[str, Any]:
    """What a pipeline says of a text: spans, relations (between their indices) and categories."""
    record = pipeline_record(doc)
    return {
        "spans": [{name: getattr(span, name, None) for name in SPAN_COLUMNS} for span in record.spans],
        "relations": [relation.model_dump() for relation in record.relations],
        "cats": [{"label": label, "score": score} for label, score in record.cats.items()],
    }


def _say(nlp: Language, texts: list[str], size: int) -> tuple[list[dict], dict[int, str], int]:
    """What the pipeline says of the texts, why it fails on some (by their index), and the words."""
    found, failed, words, first = [], {}, 0, 0
    for batch in minibatch(texts, size):
        try:
            docs = dict(enumerate(nlp.pipe(batch, batch_size=size), start=first))
        except Exception:  # any component may raise anything: find out which text it is
            docs = {}
            for i, text in enumerate(batch, start=first):
                try:
                    docs[i] = nlp(text)
                except Exception as error:
                    failed[i] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        answers = {i: said(doc) for i, doc in docs.items()}
        for i, answer in answers.items():
            if not all(math.isfinite(part["score"] or 0) for part in (*answer["relations"], *answer["cats"])):
                failed[i] = "a score is NaN or infinite"
        found += [answer for i, answer in answers.items() if i not in failed]
        words += sum(len(doc) for doc in docs.values())
        first += len(batch)
    return found, failed, words


def _of_lines(shard: Shard, settings: ApplySettings) -> Rows:
    rows = Rows()
    for number, line in enumerate(io.BytesIO(shard.content), start=shard.first):
        if not line.strip():
            continue
        row = shards.parse(line)
        fault = row if isinstance(row, str) else None
        if fault is None:
            text = shards.pluck(row, settings.text_column)
            fault = text_fault(text, settings)
        if fault:
            rows.rejected.append((number, fault, line.decode("utf-8", errors="replace").rstrip("\r\n")))
            continue
        rows.numbers.append(number)
        rows.texts.append(text)
        rows.ids.append(shards.pluck(row, settings.id_column) if settings.id_column else None)
        left = (settings.text_column, settings.id_column)
        rows.extras.append({key: value for key, value in row.items() if key not in left})
    return rows


def _of_table(shard: Shard, table: pa.Table, settings: ApplySettings) -> Rows:
    rows = Rows()
    not_utf8 = shards.not_utf8(table)
    texts = shards.values(table.column(settings.text_column))
    for i, text in enumerate(texts):
        fault = f"not UTF-8 in {', '.join(not_utf8[i])}" if i in not_utf8 else text_fault(text, settings)
        if fault:
            content = dumped(shards.dicts(table.slice(i, 1))[0])
            rows.rejected.append((shard.first + i, fault, content))
        else:
            rows.numbers.append(shard.first + i)
            rows.texts.append(text)
    others = table.drop_columns([settings.text_column])
    if settings.format == "jsonl":
        kept = shards.dicts(others.take([number - shard.first for number in rows.numbers]))
        ids = settings.id_column
        rows.ids = [shards.pluck(row, ids) if ids else None for row in kept]
        rows.extras = [{key: value for key, value in row.items() if key != ids} for row in kept]
    else:
        # they stay as they are in Arrow
        rows.ids = rows.extras = [None] * len(rows.texts)
    return rows


def text_fault(text: Any, settings: ApplySettings) -> str | None:
    """Why a text can't be worked on; None if it can."""
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
    """Whether a text can be written: JSON may hold halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def dumped(value: Any) -> str:
    """JSON as it is read best, on one line; NaN and Infinity are null."""
    value = finite(value)
    text = json_text(value, default=str)
    return text if utf8(text) else json_text(value, default=str, ensure_ascii=True)


def renamed(column: str) -> str:
    """What a column of the input is called in the results."""
    return INPUT + column if column in OURS else column


def _lines(
    shard: Shard,
    settings: ApplySettings,
    rows: Rows,
    said: Sequence[Mapping[str, Any]],
    also: Iterable[str],
) -> bytes:
    """One record a line, which the project's own commands read as well."""
    found = []
    for number, text, key, extra, answer in zip(
        rows.numbers, rows.texts, rows.ids, rows.extras, said, strict=True
    ):
        spans = [
            {name: value for name, value in span.items() if value is not None} for span in answer["spans"]
        ]
        cats = {cat["label"]: cat["score"] for cat in answer["cats"]}
        line = {"text": text, "spans": spans, "relations": answer["relations"], "cats": cats}
        line |= {name: answer[name] for name in also}
        given = {"id": key} if settings.id_column else {}
        others = {renamed(name): value for name, value in extra.items()}
        found.append(dumped({**line, "file": shard.source, "row": number, **given, **others}) + "\n")
    return "".join(found).encode()


def _parquet(
    shard: Shard,
    settings: ApplySettings,
    rows: Rows,
    said: Sequence[Mapping[str, Any]],
    also: Mapping[str, pa.DataType],
    table: pa.Table | None,
) -> bytes:
    if table is None:
        ids = pa.array([None if key is None else _as_text(key) for key in rows.ids], pa.string())
        extra = pa.array([dumped(extra) if extra else None for extra in rows.extras], pa.string())
        others = {"extra": extra}
    else:
        table = table.take(pa.array([number - shard.first for number in rows.numbers], pa.int64()))
        ids = column_of(table, settings.id_column)
        left = (settings.text_column, settings.id_column)
        others = {renamed(name): table.column(name) for name in table.column_names if name not in left}
    columns = {
        "file": pa.array([shard.source] * len(rows.texts), pa.string()),
        "row": pa.array(rows.numbers, pa.int64()),
        "id": ids,
        "text": pa.array(rows.texts, pa.string()),
        "spans": pa.array([answer["spans"] for answer in said], SPANS),
        "relations": pa.array([answer["relations"] for answer in said], RELATIONS),
        "cats": pa.array([answer["cats"] for answer in said], CATS),
        **{name: pa.array([answer[name] for answer in said], kind) for name, kind in also.items()},
        **others,
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def _as_text(key: Any) -> str:
    return key if isinstance(key, str) and utf8(key) else dumped(key)


def column_of(table: pa.Table, name: str) -> pa.Array:
    """A column, or a part of one of structs; null where there is none."""
    if not name:
        return pa.nulls(len(table), pa.string())
    if name in table.column_names:
        return table.column(name)
    head, *parts = name.split(".")
    found = table.column(head).combine_chunks()
    for part in parts:
        found = pc.struct_field(found, part)
    return found


def _rejected(source: str, rejected: list[tuple[int, str, str]]) -> bytes | None:
    if not rejected:
        return None
    lines = (
        dumped({"file": source, "row": row, "reason": reason, "content": content})
        for row, reason, content in sorted(rejected)
    )
    return "".join(line + "\n" for line in lines).encode()


def work_on_parcel(parcel: bytes, key: str, settings: ApplySettings, shard: Shard) -> Done:
    """`work` on a machine that hasn't the pipeline; a process unpacks it once."""
    if key not in _loaded:
        # What the linker maps into memory stays there when its file is gone.
        with tempfile.TemporaryDirectory(prefix="pipeline-") as folder:
            with tarfile.open(fileobj=io.BytesIO(parcel)) as tar:
                tar.extractall(folder, filter="data")
            load(Path(folder), key)
    return work(Path(), key, settings, shard)

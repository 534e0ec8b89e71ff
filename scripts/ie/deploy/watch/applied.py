"""The results of `apply`, read row by row: a file of any size takes constant memory."""

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ie.core.errors import UserError
from ie.core.text import one_line
from ie.data import shards
from ie.data.records import Record
from ie.deploy.apply import shard_runner
from ie.deploy.apply.pipeline_worker import renamed

ROWS = 1000
# What is kept of spans and relations.
SPAN_KEYS = ("start", "end", "label", "confidence", "kb_id", "money")
RELATION_KEYS = ("head", "child", "label", "row_confidence")
DAY = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True)
class AppliedText:
    """A text with what the pipeline found, where it came from, and its day or file."""

    file: str
    row: int
    period: str
    record: Record


@dataclass
class Results:
    """The results of a run of `apply`.

    Attributes:
        day_column: column of the input with a date, by which texts are divided; "" divides by input file.
        files: names of the input files, and how many rows each has.
    """

    folder: Path
    day_column: str = ""
    files: dict[str, int] = field(default_factory=dict)

    def empty_files(self) -> list[str]:
        """Input files without rows."""
        return [name for name, rows in self.files.items() if not rows]

    def finished(self) -> bool:
        """Whether `apply` came to its end."""
        return (self.folder / shard_runner.SUMMARY).exists()

    def texts(self) -> Iterator[AppliedText]:
        """The texts, by input file and row.

        Raises:
            UserError: a file can't be read, spans are outside their text, or there is no such date.
        """
        for name in self.files:
            for path in sorted((self.folder / shard_runner.RESULTS / name).glob("[!.]*")):
                rows = _parquet_rows(path, self.day_column) if path.suffix == ".parquet" else _lines(path)
                for number, row in enumerate(rows, start=1):
                    yield self._text(f"{path}:{number}", row)

    def _text(self, place: str, row: dict[str, Any]) -> AppliedText:
        try:
            spans = [_only(span, SPAN_KEYS) for span in row["spans"] or ()]
            relations = [_only(relation, RELATION_KEYS) for relation in row.get("relations") or ()]
            cats = row["cats"] or {}
            if not isinstance(cats, dict):
                cats = {cat["label"]: cat["score"] for cat in cats}
            record = Record(text=row["text"], spans=spans, relations=relations, cats=cats)
            for span, stored in zip(record.spans, row["spans"] or (), strict=True):
                if record.text[span.start : span.end] != stored["text"] or not stored["text"]:
                    raise UserError(
                        f"{place}: a span isn't where it was found, so the text was edited; delete "
                        f"{self.folder} and run `weasel run apply` again."
                    )
            period = self._day(place, row) if self.day_column else str(row["file"])
            return AppliedText(str(row["file"]), int(row["row"]), period, record)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise UserError(
                f"{place}: isn't a row as `apply` writes it; delete {self.folder} and run `weasel run apply` "
                "again."
            ) from None

    def _day(self, place: str, row: dict[str, Any]) -> str:
        extra = row.get("extra")
        outer = {**(json.loads(extra) if isinstance(extra, str) else {}), **row}
        value = shards.pluck(outer, renamed(self.day_column), shards.pluck(outer, self.day_column))
        if day := DAY.match(str(value)):
            return day[0]
        raise UserError(
            f"{place}: {self.day_column!r} is {one_line(value, 40)!r}, no date such as 2026-03-31; name "
            "another --day-column, or none to compare input files."
        )


def open_results(folder: Path, model: Path, key: str, day_column: str = "") -> Results:
    """The results of `apply` in a folder.

    Args:
        model: the pipeline that should have made them. key: its hash.

    Raises:
        UserError: there are none, or another pipeline or version made them.
    """
    manifest = shard_runner.read_manifest(folder)
    if manifest is None:
        raise UserError(f"{folder}: has no results; run `weasel run apply` first.")
    if "model" not in manifest:
        raise UserError(
            f"{folder}: holds answers of the language model; name the folder of `weasel run apply`."
        )
    if manifest["model"] != key:
        raise UserError(
            f"{folder}: was made by another pipeline, or another version of it, than {model}; delete it and "
            "run `weasel run apply` again, or name its pipeline (--vars.apply_pipeline)."
        )
    return Results(folder, day_column, {name: file["rows"] for name, file in manifest["inputs"].items()})


def _only(part: dict[str, Any], keys: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key in keys and value is not None}


def _parquet_rows(path: Path, day_column: str) -> Iterator[dict[str, Any]]:
    wanted = {"file", "row", "text", "spans", "relations", "cats"}
    if day_column:
        wanted |= {"extra", *(name.split(".")[0] for name in (day_column, renamed(day_column)))}
    try:
        file = pq.ParquetFile(path)
        columns = [name for name in file.schema_arrow.names if name in wanted]
        for batch in file.iter_batches(batch_size=ROWS, columns=columns):
            yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"{path}: can't be read ({one_line(error, 200)}); delete it and run `weasel run apply` again."
        ) from None


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, "rb") as file:
        for line in file:
            row = shards.parse(line)
            if isinstance(row, str):
                raise UserError(f"{path}: has a line that is {row}; run `weasel run apply` again.")
            yield row

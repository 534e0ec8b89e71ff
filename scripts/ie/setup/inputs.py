"""What somebody brings for a project of their own: texts, annotations and labels, read and checked."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from confection import Config

from ie.core.errors import UserError
from ie.data import records
from ie.data.formats import convert, parquet, prodigy
from ie.data.formats.job import Job, read_text
from ie.data.records import ReadReport, Record, accepted, blank, read_records
from ie.data.scheme import KINDS

# Labels stand in configs, prompts, tables and file names of columns: what these can all hold.
LABEL = re.compile(r"\w(?:[\w .&/+-]*\w)?")


@dataclass
class Inputs:
    """What somebody brings, read and checked.

    Attributes:
        texts: raw texts, those of the annotations included, each once.
        gold: annotated records, in the order of their file.
        labels: by kind ("span", "relation", "category").
        exclusive: whether each text has exactly one category.
        names, definitions: by label, where given. `instructions`: by kind.
        told: (what, found) for the table.
    """

    texts: list[Record] = field(default_factory=list)
    gold: list[Record] = field(default_factory=list)
    labels: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    exclusive: bool = True
    names: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, str] = field(default_factory=dict)
    instructions: dict[str, str] = field(default_factory=dict)
    told: list[tuple[str, str]] = field(default_factory=list)

    @property
    def categories_only(self) -> bool:
        """Whether categories are all there is."""
        return not self.labels["span"]


def read_texts(path: Path) -> tuple[list[Record], dict[str, int]]:
    """Raw texts of a file or folder, without annotations, and how many were left out, by reason.

    `.jsonl` has an object with `text` a line and `.parquet` a column `text` (what else they have is kept),
    `.csv` and `.tsv` have a column `text` (the others become `meta`), `.txt` has a text a line; of a folder
    each `.txt` is a text, its name the id.

    Raises:
        UserError: naming file, place and remedy.
    """
    kind = path.suffix.lower()
    if path.is_dir():
        found = [
            Record(text=read_text(file).replace("\r\n", "\n").strip(), meta={"id": file.stem})
            for file in sorted(path.glob("*.txt"))
        ]
        if not found:
            raise UserError(
                f"{path}: there is no .txt file in the folder; name one that has some, or a file."
            )
    elif kind == ".jsonl":
        found = [_bare(record, record.model_extra) for record in records.read_unchecked(path)]
    elif kind == ".parquet":
        found = [_bare(record, record.model_extra) for _, record in parquet.read_raw(path)]
    elif kind in (".csv", ".tsv"):
        found = _read_table(path, "\t,;|" if kind == ".tsv" else ",;\t|")
    elif kind == ".txt":
        # not splitlines: a text may hold U+2028, a form feed and the like
        found = [Record(text=line.strip()) for line in read_text(path).replace("\r\n", "\n").split("\n")]
        found = found[:-1] if found and not found[-1].text else found
    else:
        raise UserError(
            f"{path}: texts are read from .jsonl, .parquet, .csv, .tsv, .txt or a folder of .txt; convert "
            "the file, or correct the path."
        )
    full = [record for record in found if record.text.strip()]
    unique = list({record.text: record for record in reversed(full)}.values())[::-1]
    if not unique:
        raise UserError(f"{path}: there is no text in it; add some.")
    dropped = {"empty": len(found) - len(full), "there twice": len(full) - len(unique)}
    return unique, {why: n for why, n in dropped.items() if n}


def _read_table(path: Path, separators: str) -> list[Record]:
    """The rows of a file with a separator between columns, the first of `separators` that the header has."""
    text = read_text(path)
    if not text.strip():
        raise UserError(f"{path}: the file is empty; its first line must name the columns, one of them text.")
    headers = _headers(path, text, separators)
    fitting = [s for s, names in headers.items() if any(name.lower() == "text" for name in names)]
    # if none fits, the one that makes the most columns
    separator = fitting[0] if fitting else max(headers, key=lambda s: len(headers[s]))
    names = headers[separator]
    if not fitting:
        raise UserError(
            f"{path}:1: no column is called text (there are {', '.join(names)}); rename the one with the "
            "texts."
        )
    if twice := [name for name, n in Counter(names).items() if n > 1]:
        raise UserError(f"{path}:1: two columns are called {twice[0]!r}; rename one of them.")
    column = next(name for name in names if name.lower() == "text")
    found = []
    for line, fields in islice(_rows(path, text, separator), 1, None):
        if any(fields[len(names) :]):
            raise UserError(
                f"{path}:{line}: {len(fields)} fields under {len(names)} columns; put quotes around a text "
                f"that holds {separator!r}."
            )
        row = dict(zip(names, fields, strict=False))
        others = {name: value for name, value in row.items() if name != column and value}
        found.append(Record(text=row.get(column, "").strip(), **({"meta": others} if others else {})))
    return found


def _headers(path: Path, text: str, separators: str) -> dict[str, list[str]]:
    """The names of the columns by each separator with which the first line can be read.

    Raises:
        UserError: quotes are wrong in it, and no separator makes several columns of it.
    """
    found, faults = {}, []
    for separator in separators:
        try:
            names = next((fields for _, fields in _rows(path, text, separator)), [])
        except UserError as error:
            faults.append(error)
        else:
            found[separator] = [name.strip() or f"column {i}" for i, name in enumerate(names, start=1)]
    if faults and all(len(names) == 1 for names in found.values()):
        raise faults[0]
    return found


def _rows(path: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of each row, the header included, that isn't empty.

    Raises:
        UserError: a quote that doesn't belong to the format.
    """
    if separator == "\t" and not _has_quoted_fields(text):
        for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
            if line:
                yield number, line.split("\t")
        return
    reader, number = _reader(text, separator), 1
    try:
        for fields in reader:
            if fields:
                yield number, fields
            number = reader.line_num + 1
    except csv.Error as error:
        open_ = "end of data" in str(error)
        fault = "a quote opens a field and isn't closed" if open_ else f"not valid CSV ({error})"
        raise UserError(
            f"{path}:{number}: {fault}; put quotes around the whole field and double those inside it."
        ) from None


def _reader(text: str, separator: str) -> Any:
    csv.field_size_limit(2**31 - 1)  # texts may be longer than the 131,072 characters that csv expects
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)


def _has_quoted_fields(text: str) -> bool:
    """Whether the fields between tabs are quoted as in CSV; else quotes are part of the texts.

    They are if the file can be read so, and its writer quoted either all fields that aren't numbers, or those
    alone that need it (Excel quotes those with a comma, too).
    """
    if '"' not in text:
        return False
    try:
        rows = list(_reader(text, "\t"))
    except csv.Error:
        return False
    quoted, plain, at = [], [], 0
    for row in rows:
        for i, value in enumerate(row):
            at += bool(i)  # the tab
            raw = '"' + value.replace('"', '""') + '"'
            is_quoted = text.startswith(raw, at)
            (quoted if is_quoted else plain).append(value)
            at += len(raw if is_quoted else value)
        at += 2 if text.startswith("\r\n", at) else 1
    if not quoted or any('"' in value for value in plain):
        return False
    needed = all(set(value) & set('\t\r\n"') for value in quoted)
    by_excel = all(set(value) & set('\t\r\n",') for value in quoted) and "," not in "".join(plain)
    return needed or by_excel or not any(map(str.isalpha, "".join(plain)))


def read_annotations(
    path: Path, form: convert.Format, job: Job, rules: Mapping[str, str]
) -> tuple[list[Record], ReadReport]:
    """Annotated records in the data contract, and what had to be changed in them.

    Args:
        job: counts what was lost.
        rules: `misaligned`, `duplicates` and `bad_relations`, as in project.yml. Where one is "error", all
            faults of its kind are counted before they are refused.

    Raises:
        UserError: naming file, line, fault and remedy.
    """
    report = ReadReport()
    options = {
        "tokenizer": job.nlp.tokenizer,
        "report": report,
        "duplicates": "first",
        "bad_relations": "drop",
    }
    options["misaligned"] = "drop" if rules["misaligned"] == "drop" else "snap"
    if form == "prodigy":
        brought = [record for _, record in prodigy.read(path, job)]
    else:
        intake = convert.read(path, form, job)
        brought = intake.records
        job.lost["texts that are there twice"] += intake.repeated + intake.otherwise
    if not brought:
        raise UserError(f"{path}: no record in it; is {form} its format?")
    with TemporaryDirectory() as folder:
        converted = Path(folder) / path.name
        records.write_records(converted, brought)
        try:
            found = read_records(converted, **options)
        except UserError as error:
            raise UserError(str(error).replace(str(converted), str(path))) from None
    report.path = path
    counts = {
        "misaligned": report.snapped + report.dropped_spans,
        "duplicates": report.duplicates,
        "bad_relations": report.dropped_relations,
    }
    softer = {"misaligned": "snap", "duplicates": "first", "bad_relations": "drop"}
    if faults := [name for name, n in counts.items() if n and rules[name] == "error"]:
        shown = ", ".join(f"{counts[name]:,} {name.replace('_', ' ')}" for name in faults)
        remedy = " ".join(f"--vars.{name} {softer[name]}" for name in faults)
        raise UserError(
            f"{path}: {shown} (first: {report.notes[0]}); correct them, or run it again with {remedy}."
        )
    if not accepted(found):
        raise UserError(f"{path}: no line has answer accept; take the file with the reviewed ones.")
    return found, report


def read_definitions(path: Path) -> dict[str, dict[str, str]]:
    """Prompt words by section: `[label_definitions]`, `[label_names]`, `[instruction]` (by kind).

    Raises:
        UserError: no such file, another section, a value that is no text.
    """
    try:
        config = Config().from_disk(path, interpolate=False)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; create it, or leave the definitions out.") from None
    except Exception as error:  # confection raises its own, configparser's and plain ValueErrors
        raise UserError(f"{path}: can't be read as a config ({' '.join(str(error).split())}).") from None
    sections = ("label_definitions", "label_names", "instruction")
    for name, values in config.items():
        if name not in sections:
            raise UserError(f"{path}: [{name}] is none of its sections ({', '.join(sections)}); rename it.")
        if bad := [key for key, value in values.items() if not isinstance(value, str) or "$" in value]:
            raise UserError(f"{path}: {bad[0]!r} of [{name}] must be a text in quotes, without dollar sign.")
    return {name: dict(config.get(name, {})) for name in sections}


def parse_labels(text: str, what: str) -> list[str]:
    """`"PRODUCT,BRAND"` as a list.

    Raises:
        UserError: a label that configs, prompts or tables can't hold, or one that is there twice.
    """
    labels = [part.strip() for part in text.split(",") if part.strip()]
    check_labels(labels, what)
    return labels


def check_labels(labels: Sequence[str], what: str) -> None:
    """Refuse labels that a config, a prompt or a table can't hold."""
    for label in labels:
        if not LABEL.fullmatch(label) or label.lower() in ("all", "none"):
            raise UserError(
                f"{what}: {label!r} can't be a label; use letters, digits, _ . & / + - and single blanks "
                "inside, and neither all nor none."
            )
    if twice := [label for label, n in Counter(label.casefold() for label in labels).items() if n > 1]:
        raise UserError(f"{what}: the label {twice[0]!r} is there twice, case aside; keep one.")


def gather(
    *,
    texts: Path | None,
    annotations: Path | None,
    form: convert.Format,
    labels: str,
    categories: str,
    definitions: Path | None,
    lang: str,
    rules: Mapping[str, str],
) -> Inputs:
    """Read everything that was brought and see that it fits together.

    Raises:
        UserError: the first thing that is wrong, with its remedy.
    """
    if not texts and not annotations:
        raise UserError("there are no texts; give --vars.init_texts or --vars.init_annotations.")
    found = Inputs()
    job = Job(blank(lang))
    if annotations:
        found.gold, report = read_annotations(annotations, form, job, rules)
        answers = ", ".join(f"{n:,} {answer}" for answer, n in report.answers.items() if n)
        found.told.append((annotations.name, answers))
        if changes := report.counts():
            told = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in changes.items())
            found.told.append(("  changed on reading", told))
        for what, counts in (
            ("  lost", job.lost),
            ("  not read, may be annotation", job.unread),
            ("  kept beside the texts", job.kept),
        ):
            if listed := ", ".join(f"{n:,} {name}" for name, n in counts.most_common() if n):
                found.told.append((what, listed))
    raw: list[Record] = []
    if texts:
        raw, dropped = read_texts(texts)
        left = "".join(f", {n:,} {why} left out" for why, n in dropped.items())
        found.told.append((texts.name, f"{len(raw):,} texts{left}"))
        if beside := dict.fromkeys(
            key for r in raw for key in (*(r.model_extra or {}), *r.meta) if key != "id"
        ):
            found.told.append(("  kept beside the texts", ", ".join(beside)))
    known = {record.text for record in raw}
    found.texts = [*raw, *(_bare(record) for record in found.gold if record.text not in known)]
    _refuse_shared_ids(found.texts)
    lengths = sorted(len(record.text.split()) for record in found.texts)
    found.told.append(
        (
            "words a text",
            f"{lengths[0]:,} to {lengths[-1]:,}, half have {lengths[len(lengths) // 2]:,} or more",
        )
    )
    _settle_labels(found, parse_labels(labels, "init_labels"), parse_labels(categories, "init_categories"))
    if definitions:
        _define(found, definitions)
    return found


def _bare(record: Record, extra: Mapping[str, Any] | None = None) -> Record:
    return Record(**{"text": record.text, **({"meta": record.meta} if record.meta else {}), **(extra or {})})


def _refuse_shared_ids(texts: Iterable[Record]) -> None:
    first: dict[str, str] = {}
    for record in texts:
        if first.setdefault(record.id, record.text) != record.text:
            raise UserError(
                f"the id {record.id!r} belongs to two texts ({first[record.id][:40]!r}, "
                f"{record.text[:40]!r}); give one of them another id."
            )


def _settle_labels(found: Inputs, spans: list[str], categories: list[str]) -> None:
    gold = accepted(found.gold)
    seen = {
        "span": Counter(span.label for record in gold for span in record.spans),
        "relation": Counter(relation.label for record in gold for relation in record.relations),
        "category": Counter(
            {label: sum(r.cats.get(label, 0) >= 0.5 for r in gold) for r in gold for label in r.cats}
        ),
    }
    given = {"span": spans, "relation": [], "category": categories}
    for kind in KINDS:
        ordered = sorted(seen[kind], key=lambda label: (-seen[kind][label], label))
        if unknown := [label for label in ordered if given[kind] and label not in given[kind]]:
            listed = ", ".join(f"{label} ({seen[kind][label]:,})" for label in unknown)
            raise UserError(
                f"the annotations have {kind} labels that aren't in the list given: {listed}; add them to "
                "it, or take them out of the annotations."
            )
        found.labels[kind] = given[kind] or ordered
        check_labels(found.labels[kind], f"{kind} labels of the annotations")
        if found.labels[kind]:
            counts = ", ".join(f"{label} {seen[kind][label]:,}" for label in found.labels[kind])
            found.told.append((f"{kind} labels", counts if gold else ", ".join(found.labels[kind])))
    if not found.labels["span"] and not found.labels["category"]:
        raise UserError(
            "there are no labels: the annotations have none; give --vars.init_labels or "
            "--vars.init_categories, such as PRODUCT,BRAND."
        )
    named = Counter(sum(value >= 0.5 for value in record.cats.values()) for record in gold if record.cats)
    found.exclusive = len(found.labels["category"]) > 1 and set(named) <= {1}


def _define(found: Inputs, path: Path) -> None:
    given = read_definitions(path)
    known = [label for kind in KINDS for label in found.labels[kind]]
    for section in ("label_definitions", "label_names"):
        if unknown := [label for label in given[section] if label not in known]:
            raise UserError(
                f"{path}: [{section}] has {unknown[0]!r}, which is no label ({', '.join(known)}); correct it."
            )
    if unknown := [kind for kind in given["instruction"] if kind not in KINDS]:
        raise UserError(f"{path}: [instruction] has {unknown[0]!r}; it may have {', '.join(KINDS)}.")
    found.definitions, found.names = given["label_definitions"], given["label_names"]
    found.instructions = given["instruction"]

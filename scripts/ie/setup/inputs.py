"""Read and check the texts, annotations and labels that users bring for a project of their own."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from ie.core.errors import UserError
from ie.core.settings import read_config
from ie.core.text import count_words, counted, names_in
from ie.data import records
from ie.data.config import DataConfig
from ie.data.documents.collection import is_documents, read_documents
from ie.data.formats import interchange, prodigy
from ie.data.formats.conversion import Conversion
from ie.data.records import ReadReport, Record, accepted, read_records
from ie.data.scheme import KINDS
from ie.setup.raw_texts import read_texts, without_annotations, without_copies

# A label must be valid in configs, prompts, tables and names of columns.
LABEL = re.compile(r"\w(?:[\w .&/+-]*\w)?")
# The value to set instead of "error", by data setting.
LENIENT = {"misaligned": "snap", "duplicates": "first", "bad_relations": "drop"}


@dataclass
class Sources:
    """The user's files, and lists of labels separated by commas."""

    texts: Path | None = None
    annotations: Path | None = None
    format: interchange.ReadFormat = "prodigy"
    labels: str = ""
    categories: str = ""
    definitions: Path | None = None
    names: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """All files that are given."""
        return [path for path in (self.texts, self.annotations, self.definitions, self.names) if path]


@dataclass
class Inputs:
    """A user's data, read and checked.

    Attributes:
        texts: raw texts, each once; those of the annotations are among them.
        gold: annotated records, in the order of their file.
        labels: by kind ("span", "relation", "category").
        exclusive: whether each text has exactly one category.
        overlapping: whether spans may overlap.
        label_names, definitions: by label, for those that have one. `instructions`: by kind.
        findings: (subject, observation) for a table.
        remarks: sentences on documents that were set aside or lack something, and on spans that overlap.
    """

    texts: list[Record] = field(default_factory=list)
    gold: list[Record] = field(default_factory=list)
    labels: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    exclusive: bool = True
    overlapping: bool = False
    label_names: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, str] = field(default_factory=dict)
    instructions: dict[str, str] = field(default_factory=dict)
    findings: list[tuple[str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def categories_only(self) -> bool:
        """Whether the scheme has no spans."""
        return not self.labels["span"]

    @property
    def undefined(self) -> list[str]:
        """Labels without a definition."""
        return [label for kind in KINDS for label in self.labels[kind] if not self.definitions.get(label)]

    def label_counts(self, kind: str) -> Counter[str]:
        """How often each label of a kind occurs in the accepted records."""
        counts: Counter[str] = Counter()
        for record in accepted(self.gold):
            if kind == "category":
                counts.update({label: int(label in record.categories) for label in record.cats})
            else:
                counts.update(item.label for item in (record.spans if kind == "span" else record.relations))
        return counts

    def words(self) -> tuple[int, int, int]:
        """Least, median and most words of a text."""
        lengths = sorted(count_words(record.text) for record in self.texts)
        return lengths[0], lengths[len(lengths) // 2], lengths[-1]


def read_inputs(sources: Sources, data: DataConfig) -> Inputs:
    """Read all sources and check that they fit together.

    Raises:
        UserError: the first mistake, with its remedy.
    """
    if not sources.texts and not sources.annotations:
        raise UserError("there are no texts; give --vars.init_texts or --vars.init_annotations.")
    inputs = Inputs()
    if sources.annotations:
        job = Conversion(data.blank())
        inputs.gold, report = read_annotations(sources.annotations, sources.format, job, data)
        inputs.findings += _annotation_findings(sources.annotations, report, job)
    raw: list[Record] = []
    if sources.texts:
        if is_documents(sources.texts):
            read = read_documents(sources.texts, data.documents)
            raw, left_out = without_copies(read.records)
            inputs.remarks = read.remarks
            inputs.findings.append((sources.texts.name, read.summary()))
        else:
            raw, left_out = read_texts(sources.texts)
        shown = "".join(f", {n:,} {reason} left out" for reason, n in left_out.items())
        inputs.findings.append((sources.texts.name, f"{len(raw):,} texts{shown}"))
        keys = dict.fromkeys(key for r in raw for key in (*(r.model_extra or {}), *r.meta) if key != "id")
        if keys:
            inputs.findings.append(("  kept beside the texts", ", ".join(keys)))
    known = {record.text for record in raw}
    inputs.texts = [*raw, *(without_annotations(r) for r in inputs.gold if r.text not in known)]
    _refuse_shared_ids(inputs.texts)
    least, median, most = inputs.words()
    inputs.findings.append(
        ("words per text", f"{least:,} to {most:,}; half of the texts have {median:,} or more")
    )
    _set_labels(inputs, sources)
    _set_overlapping(inputs)
    if sources.definitions:
        _set_definitions(inputs, sources.definitions)
    return inputs


def read_annotations(
    path: Path, form: interchange.ReadFormat, job: Conversion, data: DataConfig
) -> tuple[list[Record], ReadReport]:
    """Annotated records as the project keeps them, and a report of what had to be changed in them.

    Args:
        job: counts what was lost.
        data: its [reading] says which faults are corrected. Those of the other kinds are counted, then
            refused.

    Raises:
        UserError: names file, line, fault and remedy.
    """
    if form == "documents":
        raise UserError(f"{path}: documents have no annotation; set import_format to that of the file.")
    if form == "prodigy":
        originals = [record for _, record in prodigy.read(path, job)]
    else:
        intake = interchange.read(path, form, job)
        originals = intake.records
        job.lost["repeated texts"] += intake.repeated + intake.otherwise
    if not originals:
        raise UserError(f"{path}: no record in it; is {form} its format?")
    report = ReadReport()
    with TemporaryDirectory() as folder:
        converted = Path(folder) / path.name
        records.write_records(converted, originals)
        try:
            gold = read_records(
                converted,
                tokenizer=job.nlp.tokenizer,
                misaligned="drop" if data.reading.misaligned == "drop" else "snap",
                duplicates="first",
                bad_relations="drop",
                report=report,
            )
        except UserError as error:
            raise UserError(str(error).replace(str(converted), str(path))) from None
    report.path = path
    counts = {
        "misaligned": report.snapped + report.dropped_spans,
        "duplicates": report.duplicates,
        "bad_relations": report.dropped_relations,
    }
    rules = data.reading.model_dump()
    if faults := [name for name, n in counts.items() if n and rules[name] == "error"]:
        shown = ", ".join(f"{counts[name]:,} {name.replace('_', ' ')}" for name in faults)
        remedy = " and ".join(f'{name} = "{LENIENT[name]}"' for name in faults)
        words = " (split_on there allows spans on parts of words)" if "misaligned" in faults else ""
        raise UserError(
            f"{path}: {shown} (first: {report.notes[0]}); correct them, or set {remedy} in configs/data.cfg"
            f"{words}."
        )
    if not accepted(gold):
        raise UserError(f"{path}: no line has answer accept; take the file with the reviewed ones.")
    return gold, report


def _annotation_findings(path: Path, report: ReadReport, job: Conversion) -> list[tuple[str, str]]:
    counts = {
        path.name: report.answers,
        "  changed on reading": {name.replace("_", " "): n for name, n in report.counts().items()},
        "  lost": dict(job.lost.most_common()),
        "  not read, may be annotation": dict(job.unread.most_common()),
        "  kept beside the texts": dict(job.other_keys.most_common()),
    }
    shown = {
        subject: ", ".join(f"{n:,} {name}" for name, n in counter.items() if n)
        for subject, counter in counts.items()
    }
    return [(subject, listing) for subject, listing in shown.items() if listing]


def read_definitions(path: Path) -> dict[str, dict[str, str]]:
    """Prompt words by section: `[label_definitions]`, `[label_names]`, `[instruction]` (by kind).

    Raises:
        UserError: the file is missing, or has another section or a value that is no text.
    """
    config = read_config(path, interpolate=False, missing="create it, or leave the definitions out")
    sections = ("label_definitions", "label_names", "instruction")
    for name, values in config.items():
        if name not in sections:
            raise UserError(f"{path}: [{name}] is none of its sections ({', '.join(sections)}); rename it.")
        if bad := [key for key, value in values.items() if not isinstance(value, str) or "$" in value]:
            raise UserError(f"{path}: {bad[0]!r} of [{name}] must be a text in quotes, without dollar sign.")
    return {name: dict(config.get(name, {})) for name in sections}


def check_labels(labels: Sequence[str], what: str) -> None:
    """Refuse labels that aren't valid in configs, prompts or tables, and those that are listed twice."""
    for label in labels:
        if not LABEL.fullmatch(label) or label.lower() in ("all", "none"):
            raise UserError(
                f"{what}: {label!r} can't be a label; use letters, digits, _ . & / + - and single spaces "
                "inside, and neither all nor none."
            )
    if twice := [label for label, n in Counter(label.casefold() for label in labels).items() if n > 1]:
        raise UserError(f"{what}: the label {twice[0]!r} is listed twice, ignoring case; keep one.")


def _refuse_shared_ids(texts: Iterable[Record]) -> None:
    first: dict[str, str] = {}
    for record in texts:
        if first.setdefault(record.id, record.text) != record.text:
            raise UserError(
                f"the id {record.id!r} belongs to two texts ({first[record.id][:40]!r}, "
                f"{record.text[:40]!r}); give one of them another id."
            )


def _set_labels(inputs: Inputs, sources: Sources) -> None:
    listed = {
        "span": names_in(sources.labels),
        "relation": [],
        "category": names_in(sources.categories),
    }
    check_labels(listed["span"], "init_labels")
    check_labels(listed["category"], "init_categories")
    for kind in KINDS:
        counts = inputs.label_counts(kind)
        ordered = sorted(counts, key=lambda label: (-counts[label], label))
        if unknown := [label for label in ordered if listed[kind] and label not in listed[kind]]:
            shown = ", ".join(f"{label} ({counts[label]:,})" for label in unknown)
            raise UserError(
                f"the annotations have {kind} labels that aren't in the list: {shown}; add them to "
                "it, or take them out of the annotations."
            )
        labels = inputs.labels[kind] = listed[kind] or ordered
        check_labels(labels, f"{kind} labels of the annotations")
        if labels:
            shown = [f"{label} {counts[label]:,}" if inputs.gold else label for label in labels]
            inputs.findings.append((f"{kind} labels", ", ".join(shown)))
    if not inputs.labels["span"] and not inputs.labels["category"]:
        raise UserError(
            "there are no labels: the annotations have none; give --vars.init_labels or "
            "--vars.init_categories, such as PRODUCT,BRAND."
        )
    chosen = {len(record.categories) for record in accepted(inputs.gold) if record.cats}
    inputs.exclusive = len(inputs.labels["category"]) > 1 and chosen <= {1}


def _set_overlapping(inputs: Inputs) -> None:
    overlaps = [(record, both) for record in accepted(inputs.gold) if (both := records.overlap(record.spans))]
    if not overlaps:
        return
    inputs.overlapping = True
    record, both = overlaps[0]
    shown = " and ".join(records.show_span(record.text, span) for span in both)
    inputs.remarks.append(
        f"Spans overlap in {counted(len(overlaps), 'text')} (first: {shown} in {record.title}), so "
        "overlapping is set to true in the label scheme and vars.config to spancat. If none should, correct "
        "them and run init again."
    )


def _set_definitions(inputs: Inputs, path: Path) -> None:
    words = read_definitions(path)
    known = [label for kind in KINDS for label in inputs.labels[kind]]
    for section in ("label_definitions", "label_names"):
        if unknown := [label for label in words[section] if label not in known]:
            raise UserError(
                f"{path}: [{section}] has {unknown[0]!r}, which is no label ({', '.join(known)}); correct it."
            )
    if unknown := [kind for kind in words["instruction"] if kind not in KINDS]:
        raise UserError(f"{path}: [instruction] has {unknown[0]!r}; it may have {', '.join(KINDS)}.")
    inputs.definitions, inputs.label_names = words["label_definitions"], words["label_names"]
    inputs.instructions = words["instruction"]

"""The data format, Prodigy's JSONL: reading with every fault named by file and line, and writing.

Offsets count Unicode characters (Python's string indices), so an emoji counts as one. Tools that count UTF-16
units, as JavaScript does, count two.
"""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import spacy
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError
from spacy.language import Language
from spacy.tokens import Doc
from wasabi import msg

from ie.core.errors import UserError
from ie.core.files import atomic_write, json_text, read_text
from ie.core.settings import first_fault
from ie.core.text import one_line, text_hash
from ie.data import language
from ie.data.documents.places import place
from ie.data.language import Lang
from ie.data.scheme import Scheme
from ie.data.tokenizer import adapt

Misaligned = Literal["error", "snap", "drop"]
Duplicates = Literal["error", "first"]
BadRelations = Literal["error", "drop"]
# A text has a category if its value is at least this.
HAS_CATEGORY = 0.5
Label = Annotated[StrictStr, Field(min_length=1)]
ONE_SPAN = (
    "a yes or no to one span (_is_binary) says nothing about the rest of the text, so it isn't gold; export "
    "answers of ner.manual or ner.correct instead."
)
_DECODER = json.JSONDecoder()
_FIRST = '{"text": "'


class Span(BaseModel):
    """A labelled stretch of the text: characters `start` (included) to `end` (excluded)."""

    model_config = ConfigDict(extra="allow")
    start: StrictInt
    end: StrictInt
    label: Label


class Relation(BaseModel):
    """A labelled edge between two spans, `head` and `child` being indices into the record's spans."""

    model_config = ConfigDict(extra="allow")
    head: StrictInt
    child: StrictInt
    label: Label


class Record(BaseModel):
    """One example. Other keys of its line are kept and written back."""

    model_config = ConfigDict(extra="allow")
    text: StrictStr
    spans: list[Span] = []
    relations: list[Relation] = []
    cats: dict[str, float] = {}
    answer: Literal["accept", "reject", "ignore"] = "accept"
    meta: dict[str, Any] = {}

    @property
    def id(self) -> str:
        """`meta.id` as text, else a short hash of the text."""
        identity = self.meta.get("id")
        return str(identity) if identity is not None else text_hash(self.text)

    @property
    def title(self) -> str:
        """The id, with the place in its document if the text is from one: for people."""
        where = place(self.meta)
        return f"{self.id} ({where})" if where else self.id

    @property
    def annotator(self) -> str:
        """Who annotated it: `meta.annotator`, else Prodigy's `_annotator_id`; "" if nobody is named."""
        name = self.meta.get("annotator") or (self.model_extra or {}).get("_annotator_id")
        return str(name) if name else ""

    @property
    def categories(self) -> list[str]:
        """The categories that the text has: those whose value is `HAS_CATEGORY` or more."""
        return [label for label, value in self.cats.items() if value >= HAS_CATEGORY]

    @property
    def llm_error(self) -> str | None:
        """Why the LLM has no usable answer for the text; None if it has one, or wasn't asked."""
        return ((self.model_extra or {}).get("llm") or {}).get("error")

    def to_line(self) -> str:
        """The record as one line of JSON without line end: known keys first, unset ones left out."""
        data = self.model_dump(mode="python")
        fields = [f for f in type(self).model_fields if f in self.model_fields_set or self._is_filled(f)]
        extras = [key for key in data if key not in type(self).model_fields]
        line = {key: data[key] for key in fields + extras}
        if "cats" in line:
            # Prodigy writes 0 and 1, and so do we; scores keep their digits.
            line["cats"] = {k: int(v) if v == int(v) else v for k, v in line["cats"].items()}
        try:
            return json_text(line)
        except ValueError:
            raise UserError(
                f"record {self.id!r}: a number is NaN or infinite, which is not JSON; correct or delete it."
            ) from None

    def _is_filled(self, name: str) -> bool:
        return getattr(self, name) != type(self).model_fields[name].default


@dataclass
class ReadReport:
    """The answers in a file, and what was changed while reading; every change is counted.

    `notes` has one sentence per change, with its line; `line` is the line being read.
    """

    path: Path | None = None
    answers: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("accept", "reject", "ignore"), 0))
    snapped: int = 0
    dropped_spans: int = 0
    dropped_relations: int = 0
    duplicates: int = 0
    conflicting_duplicates: int = 0
    notes: list[str] = field(default_factory=list)
    line: int = 0

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.path}:{self.line}"

    def note(self, change: str) -> None:
        self.notes.append(f"line {self.line}: {change}")

    def counts(self) -> dict[str, int]:
        """The changes that happened, by name; empty if nothing was changed."""
        names = ("snapped", "dropped_spans", "dropped_relations", "duplicates", "conflicting_duplicates")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    def summary(self) -> str:
        """One sentence on the changes, "" if there are none."""
        changes = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in self.counts().items())
        return f"{self.path}: {changes} (first: {self.notes[0]})" if changes else ""


@dataclass
class Reader:
    """Reads and validates JSONL files of examples, and counts what it changes.

    Prodigy's relations, which name tokens and carry `head_span` and `child_span`, become indices into the
    spans. Its choice answers (`options`, `accept`) become `cats`, and so does a yes or no to one category
    (`label` and `answer`): rejected is 0, and the record is accepted. A yes or no to one span (`_is_binary`)
    is refused, as it says nothing about the rest of the text.

    Attributes:
        labels: scheme the labels must belong to. A kind for which it has no labels isn't checked.
        tokenizer: spaCy tokenizer on whose token edges spans must start and end; None checks no edges.
        misaligned: spans off the edges (or with whitespace at theirs): an error, "snap" (widened to whole
            tokens, whitespace trimmed) or "drop".
        duplicates: the same text twice in a file: an error, or keep the "first". Two different texts
            with one id are always an error.
        bad_relations: relations from a span to itself or to no span: an error, or "drop".
        changes: the counts of `ReadReport` by name of the file; also printed as a warning.
    """

    labels: Scheme | None = None
    tokenizer: Callable[[str], Doc] | None = None
    misaligned: Misaligned = "error"
    duplicates: Duplicates = "error"
    bad_relations: BadRelations = "error"
    changes: dict[str, dict[str, int]] = field(default_factory=dict)

    def read(
        self, path: Path, *, allow_empty: bool = False, gold: bool = True, report: ReadReport | None = None
    ) -> list[Record]:
        """The records of a file.

        Args:
            allow_empty: a file without lines is no error.
            gold: whether people annotated it. A model's spans are always snapped to token edges.
            report: filled with counts of what was changed; without it they are printed as a warning.

        Raises:
            UserError: naming file, line, fault and remedy.
        """
        reader = self if gold else replace(self, misaligned="snap")
        path, changes = Path(path), report if report is not None else ReadReport()
        changes.path = path
        texts: dict[str, tuple[int, Record]] = {}
        ids: dict[str, int] = {}
        for changes.line, line in enumerate(_lines(path), start=1):
            record = reader.parse(line, changes)
            if record.text in texts:
                _duplicate(record, *texts[record.text], self.duplicates, changes)
                continue
            if record.id in ids:
                raise _shared_id(changes.place, record, ids[record.id])
            reader.align(record, changes)
            texts[record.text] = (changes.line, record)
            ids[record.id] = changes.line
        if not texts and not allow_empty:
            raise _empty_file(path)
        records = [record for _, record in texts.values()]
        for record in records:
            changes.answers[record.answer] += 1
        self.changes[path.name] = changes.counts()
        if report is None and changes.summary():
            msg.warn(changes.summary())
        return records

    def read_reviewed(self, path: Path) -> list[Record]:
        """Reviewed examples, whatever their answer; an error if none of them was accepted."""
        reviewed = self.read(path, allow_empty=True)
        if not accepted(reviewed):
            n = len(reviewed)
            fault = f"none of the {n:,} reviewed texts was accepted" if n else "nothing is reviewed yet"
            raise UserError(f"{path}: {fault}; review some texts first (`weasel run review`).")
        return reviewed

    def parse(self, line: str, report: ReadReport) -> Record:
        """The record of a line, validated; its spans may be off the token edges."""
        record = _parse(report.place, line)
        _check(report.place, record, self.labels)
        good = []
        for relation in record.relations:
            _check_label(report.place, relation.label, "relation", self.labels)
            if not (fault := _fault(record, relation)):
                good.append(relation)
                continue
            if self.bad_relations == "error":
                raise UserError(
                    f"{report.place}: relation {relation.label!r} {fault}; correct its ends, or set "
                    "bad_relations to 'drop' in configs/data.cfg."
                )
            report.dropped_relations += 1
            report.note(f"relation {relation.label!r} {fault}; dropped")
        if len(good) < len(record.relations):
            record.relations = good
        return record

    def _is_taken(self, place: tuple[int, int], span: Span, original: list[Span], record: Record) -> bool:
        """Whether a span can't be widened to this place: two in one token ("Ledger—$33") can't both be."""
        start, end = place
        if overlap(original) or (self.labels and self.labels.overlapping):  # but none may be there twice
            return (start, end, span.label) in map(_key, (o for o in record.spans if o is not span))
        return any(o.start < end and start < o.end for o in original if o is not span)

    def align(self, record: Record, report: ReadReport) -> None:
        """Move the spans of a record to token edges, refuse them, or drop them with their relations."""
        if not record.spans:
            return
        text = record.text
        try:
            tokens = self.tokenizer(text) if self.tokenizer else ()
        except Exception as error:  # of the tokenizer's own library: Japanese texts of over 49,149 bytes
            raise UserError(
                f"{report.place}: the tokenizer refuses the text ({one_line(error, 200)}); divide it."
            ) from None
        starts, ends = [t.idx for t in tokens], [t.idx + len(t) for t in tokens]
        original, aligned = list(record.spans), []
        for i, span in enumerate(original):
            start, end = _snap(text, span, starts, ends)
            if (start, end) == (span.start, span.end):
                aligned.append(i)
                continue
            shown = show_span(text, span)
            if self.misaligned == "error":
                string = text[span.start : span.end]
                at_edge = string != string.strip()
                fault = "has whitespace at its edge" if at_edge else "starts or ends inside a token"
                raise UserError(
                    f"{report.place}: span {shown} {fault} (the nearest is {start}-{end} "
                    f"{text[start:end]!r}); correct it, or set misaligned to 'snap' or 'drop' in "
                    f"configs/data.cfg{_hyphen_hint(text, span)}{_unit_hint(text)}."
                )
            taken = self._is_taken((start, end), span, original, record)
            if self.misaligned == "drop" or taken:
                report.dropped_spans += 1
                report.note(f"span {shown} dropped{' (two in one token)' if taken else ''}")
                continue
            report.snapped += 1
            report.note(f"span {shown} widened or trimmed to {text[start:end]!r}")
            # Prodigy's token numbers belong to the old offsets.
            extra = {
                k: v for k, v in (span.model_extra or {}).items() if k not in ("token_start", "token_end")
            }
            record.spans[i] = Span(start=start, end=end, label=span.label, **extra)
            aligned.append(i)
        if len(aligned) < len(record.spans):
            _keep_spans(record, aligned, report)


def read_records(
    path: Path, *, allow_empty: bool = False, report: ReadReport | None = None, **rules: Any
) -> list[Record]:
    """The records of a file; see `Reader.read`.

    Args:
        rules: attributes of a `Reader`.
    """
    return Reader(**rules).read(path, allow_empty=allow_empty, report=report)


def read_unchecked(path: Path) -> list[Record]:
    """The lines of a file as they are: offsets, labels and relations may be wrong, texts empty or repeated.

    Raises:
        UserError: no such file, a line that isn't JSON of the data format, no line.
    """
    records = [_parse(f"{path}:{number}", line) for number, line in enumerate(_lines(Path(path)), start=1)]
    if not records:
        raise _empty_file(path)
    return records


def validate(where: str, record: Record, scheme: Scheme | None = None) -> None:
    """Refuse a record from anywhere that `read_records` would refuse; token edges aren't checked.

    Args:
        where: the file and the place in it, for the message.
    """
    _check(where, record, scheme)
    for relation in record.relations:
        _check_label(where, relation.label, "relation", scheme)
        if fault := _fault(record, relation):
            raise UserError(f"{where}: relation {relation.label!r} {fault}; correct its head and child.")


def annotation(record: Record) -> tuple:
    """The annotation of a text, comparable: the order of spans and of relations doesn't matter."""
    spans = [_key(span) for span in record.spans]
    edges = sorted((spans[r.head], spans[r.child], r.label) for r in record.relations)
    return sorted(spans), edges, record.cats, record.answer


def read_answers(path: Path, labels: Scheme | None = None) -> list[Record]:
    """All answers in a file, in its order: a text may be there once for each annotator, or several times."""
    records = read_unchecked(path)
    for number, record in enumerate(records, start=1):
        validate(f"{path}:{number}", record, labels)
    return records


class RecordFile:
    """A JSONL file of examples that is indexed by text at once and read record by record, for large files.

    Each record is validated, by the rules of a `Reader`, when it is asked for.
    """

    def __init__(self, path: Path, **rules: Any) -> None:
        self.path = Path(path)
        self._reader = Reader(**rules)
        self._lines = _lines(self.path)
        self._index: dict[str, int] = {}
        for number, line in enumerate(self._lines, start=1):
            text = _text_of(f"{self.path}:{number}", line)
            first = self._index.setdefault(text, number)
            if first != number and self._reader.duplicates == "error":
                raise _repeated_text(f"{self.path}:{number}", first)

    @property
    def texts(self) -> list[str]:
        """All texts, in file order."""
        return list(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def get(self, text: str) -> Record | None:
        """The record of a text, None if the file has none."""
        number = self._index.get(text)
        if number is None:
            return None
        report = ReadReport(path=self.path, line=number)
        record = self._reader.parse(self._lines[number - 1], report)
        self._reader.align(record, report)
        return record

    def check(self) -> Iterator[None]:
        """Validate one record per step, and that no two texts share an id."""
        ids: dict[str, int] = {}
        for text, number in self._index.items():
            record = self.get(text)
            first = ids.setdefault(record.id, number)
            if first != number:
                raise _shared_id(f"{self.path}:{number}", record, first)
            yield


def accepted(records: Iterable[Record]) -> list[Record]:
    """The records a reviewer accepted: only these are gold."""
    return [record for record in records if record.answer == "accept"]


def write_records(path: Path, records: Iterable[Record]) -> int:
    """Write one record per line (UTF-8, keys in the order of the data format), all or nothing.

    Returns:
        The number of lines written.
    """
    n = 0
    with atomic_write(path) as file:
        for record in records:
            file.write(record.to_line() + "\n")
            n += 1
    return n


def blank(lang: Lang) -> Language:
    """An empty spaCy pipeline of a language with the tokenizer that decides where spans may end.

    Raises:
        UserError: spaCy doesn't have the language, or its tokenizer needs a package that isn't installed.
    """
    settings = language.settings_of(lang)
    language.language_class(settings.lang)
    try:
        return adapt(spacy.blank(settings.lang), settings.split_on)
    except ImportError as error:
        raise language.missing_package(settings.lang, error) from None


def _lines(path: Path) -> list[str]:
    """The lines of a file. Split on \\n alone, since texts may hold U+2028 and other line separators."""
    text = read_text(path)
    lines = text.removesuffix("\n").split("\n") if text else []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise UserError(f"{path}:{number}: the line is empty; delete it.")
    return lines


def _parse(place: str, line: str) -> Record:
    try:
        data = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        where = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        reason = getattr(error, "msg", None) or str(error)
        raise UserError(
            f"{place}: not valid JSON{where} ({reason}); write one JSON object per line."
        ) from None
    if not isinstance(data, dict):
        raise UserError(
            f"{place}: a {type(data).__name__} instead of a JSON object; write one object per line "
            'with at least "text".'
        )
    try:
        json_text(data).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{place}: half of a surrogate pair (\\ud800 to \\udfff) that stands for no character; "
            "export the data again or delete it."
        ) from None
    except ValueError:
        raise UserError(f"{place}: a number is too large; correct or delete it.") from None
    if data.get("_is_binary") is True and data.get("spans"):
        raise UserError(f"{place}: {ONE_SPAN}")
    if "cats" not in data and "options" in data:
        data["cats"] = _choices(data)
    elif _is_yes_or_no(data):
        data["cats"] = {data.pop("label"): float(data["answer"] == "accept")}
        data["answer"] = "accept"
    try:
        record = Record.model_validate(data)
    except ValidationError as error:
        raise UserError(f"{place}: {first_fault(error)}; correct it (see docs/inside.md).") from None
    for relation in record.relations:
        _resolve_tokens(place, record, relation)
    return record


def _text_of(place: str, line: str) -> str:
    """The text of a line, without parsing the rest of it where the text comes first, as we write it."""
    if line.startswith(_FIRST):
        end = line.find('"', len(_FIRST))
        text = line[len(_FIRST) : end]
        if end > 0 and "\\" not in text and text.isprintable():
            return text  # most have no escapes
        try:
            return _DECODER.raw_decode(line, len(_FIRST) - 1)[0]
        except ValueError:
            pass  # the full parser says what is wrong
    return _parse(place, line).text


def _empty_file(path: Path) -> UserError:
    return UserError(f"{path}: the file is empty; it must have one example per line.")


def _shared_id(place: str, record: Record, first: int) -> UserError:
    return UserError(
        f"{place}: the id {record.id!r} is already used by line {first} for another text; give one "
        "of them an id of its own."
    )


def _repeated_text(place: str, first: int) -> UserError:
    return UserError(
        f"{place}: the same text as line {first}; delete one of them, or set duplicates to 'first' in "
        "configs/data.cfg to keep the first of each."
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _choices(data: dict) -> Any:
    """Prodigy's choice interface: `options` offered, ids of those chosen in `accept`."""
    try:
        return {str(o["id"]): float(o["id"] in data.get("accept", [])) for o in data["options"]}
    except (TypeError, KeyError):
        return {}  # some other tool's key of that name


def _is_yes_or_no(data: dict) -> bool:
    """Prodigy's classification interface: `answer` tells whether a text has the category `label`."""
    if data.get("spans") or data.get("relations") or "cats" in data:
        return False
    label = data.get("label")
    return isinstance(label, str) and bool(label) and data.get("answer") in ("accept", "reject")


def _resolve_tokens(place: str, record: Record, relation: Relation) -> None:
    """Prodigy's relations number tokens; the spans stored with them tell which of ours is meant."""
    extra = relation.model_extra or {}
    for end in ("head", "child"):
        named = extra.get(f"{end}_span")
        if not isinstance(named, dict):
            continue
        edges = named.get("start"), named.get("end")
        matches = [i for i, s in enumerate(record.spans) if (s.start, s.end) == edges]
        # of several labels on one span the one that is named
        matches.sort(key=lambda i: record.spans[i].label != named.get("label"))
        if not matches:
            raise UserError(
                f"{place}: the {end} of a relation {relation.label!r} is no span of the text; "
                "mark it as a span or delete the relation."
            )
        setattr(relation, end, matches[0])


def _check(where: str, record: Record, scheme: Scheme | None) -> None:
    size = len(record.text)
    if not record.text.strip():
        raise UserError(f"{where}: the text is empty; delete the line or give it a text.")
    for span in record.spans:
        if not 0 <= span.start < span.end <= size:
            raise UserError(
                f"{where}: span {span.start}-{span.end} {span.label!r} is outside the text of {size} "
                f"characters or empty; correct its offsets{_unit_hint(record.text)}."
            )
        if not record.text[span.start : span.end].strip():
            raise UserError(
                f"{where}: span {show_span(record.text, span)} is nothing but whitespace; delete it."
            )
        _check_label(where, span.label, "span", scheme)
    for one, other in pairwise(sorted(record.spans, key=_key)):
        if _key(one) == _key(other):
            raise UserError(f"{where}: span {show_span(record.text, one)} is there twice; keep one.")
    if (both := overlap(record.spans)) and scheme and not scheme.overlapping:
        shown = " and ".join(show_span(record.text, span) for span in both)
        raise UserError(
            f"{where}: spans {shown} overlap; keep one, or set overlapping = true below the span labels in "
            f"{scheme.path or 'the scheme'}."
        )
    for name, value in record.cats.items():
        _check_label(where, name, "category", scheme)
        if not 0 <= value <= 1:
            raise UserError(f"{where}: category {name!r} is {value}; it must be between 0 and 1.")


def _fault(record: Record, relation: Relation) -> str:
    """What is wrong with the ends of a relation; "" if nothing is."""
    n = len(record.spans)
    for end in (relation.head, relation.child):
        if not 0 <= end < n:
            return f"points to span {end}, but there are {n} spans, counted from 0"
    return f"joins span {relation.head} to itself" if relation.head == relation.child else ""


def _check_label(where: str, label: str, kind: str, scheme: Scheme | None) -> None:
    known = scheme.labels(kind) if scheme else ()
    if known and label not in known:
        raise UserError(
            f"{where}: {kind} label {label!r} isn't in the scheme ({', '.join(known)}); correct it or add it "
            f"to {scheme.path or 'the scheme'}."
        )


def _duplicate(record: Record, line: int, first: Record, duplicates: Duplicates, report: ReadReport) -> None:
    if duplicates == "error":
        raise _repeated_text(report.place, line)
    report.duplicates += 1
    differs = annotation(record) != annotation(first)
    report.conflicting_duplicates += differs
    report.note(f"repeats line {line}{', annotated differently' if differs else ''}; the first is kept")


def _snap(text: str, span: Span, starts: list[int], ends: list[int]) -> tuple[int, int]:
    """Offsets without whitespace at the edges and, where there are tokens, of whole tokens."""
    string = text[span.start : span.end]
    start = span.start + len(string) - len(string.lstrip())
    end = span.end - len(string) + len(string.rstrip())
    if starts:
        start = starts[bisect_right(starts, start) - 1]
        end = ends[bisect_left(ends, end)]
    return start, end


def _keep_spans(record: Record, aligned: list[int], report: ReadReport) -> None:
    index = {old: new for new, old in enumerate(aligned)}
    relations = []
    for relation in record.relations:
        if relation.head in index and relation.child in index:
            relation.head, relation.child = index[relation.head], index[relation.child]
            relations.append(relation)
        else:
            report.dropped_relations += 1
            report.note(f"relation {relation.label!r} dropped with its span")
    record.spans = [record.spans[i] for i in aligned]
    record.relations = relations


def _key(span: Span) -> tuple[int, int, str]:
    return span.start, span.end, span.label


def overlap(spans: Iterable[Span]) -> tuple[Span, Span] | None:
    """The first two spans that overlap; None if none do."""
    ordered = sorted(spans, key=_key)
    return next(((one, other) for one, other in pairwise(ordered) if other.start < one.end), None)


def outermost(spans: Iterable[Span]) -> list[Span]:
    """The spans without overlaps, by position: the longest are kept; of equally long ones the first."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start - s.end, *_key(s))):
        if all(span.end <= other.start or other.end <= span.start for other in kept):
            kept.append(span)
    return sorted(kept, key=_key)


def show_span(text: str, span: Span) -> str:
    """A span for messages: offsets, label and string."""
    shown = text[span.start : span.end]
    return f"{span.start}-{span.end} {span.label} {shown if len(shown) <= 40 else shown[:37] + '...'!r}"


def _hyphen_hint(text: str, span: Span) -> str:
    """The setting that helps where a span ends at a hyphen or the like inside a word ("Siemens-Gruppe")."""
    signs = [text[at] for at in (span.start - 1, span.end) if 0 <= at < len(text)]
    sign = next((sign for sign in signs if sign in "-‑–/+&"), "")
    return f', or split words there by split_on = "{sign}"' if sign else ""


def _unit_hint(text: str) -> str:
    if max(text) <= "\uffff":
        return ""
    return " (they count Unicode characters, an emoji being one; UTF-16 units, as in JavaScript, differ)"

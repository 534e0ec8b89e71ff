"""CoNLL's columns: a token a line, its tag last, an empty line between texts. IOB2 is written.

IOB1, IOB2, BILUO (BILOU) and BIOES are all read by one rule, as their letters agree in what they mean.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ie.errors import UserError
from ie.files import atomic_write
from ie.interchange.job import Job, Placed, make, read_text
from ie.records import Record

FIRST, LAST = ("B", "U", "S"), ("L", "E", "U", "S")


def read(path: Path, job: Job) -> Iterator[Placed]:
    """A record for each sentence, its tokens joined by single blanks."""
    words: list[str] = []
    tags: list[str] = []
    begun = 0
    for number, line in enumerate([*read_text(path).split("\n"), ""], start=1):
        line = line.rstrip("\r")
        if line.startswith("-DOCSTART-"):
            job.lost["limits of documents"] += 1
            continue
        if line.strip():
            columns = [part.strip() for part in line.split("\t")] if "\t" in line else line.split()
            place = f"{path}:{number}"
            if len(columns) < 2:
                raise UserError(f"{place}: one column; a token and its tag are needed, or an empty line.")
            begun = begun or number
            words.append(columns[0])
            tags.append(_checked(place, columns[-1]))
            # what `write` puts there, and Label Studio too, says nothing
            job.lost["columns between token and tag"] += bool(set(columns[1:-1]) - {"-X-", "_"})
        elif words:
            yield f"{path}:{begun}", from_tags(f"{path}:{begun}", words, tags)
            words, tags, begun = [], [], 0


def write(path: Path, items: Iterable[Record], job: Job, columns: int = 2) -> int:
    """Write accepted records with 2 columns (token, tag) or 4 (token, -X-, _, tag, as Label Studio does)."""
    n = 0
    with atomic_write(path) as file:
        for record in job.gold_alone(items):
            job.lose_extras(record, "spans", "record")
            for name in ("relations", "cats", "meta"):
                job.lost[name] += len(getattr(record, name))
            tokens = [(s, e) for s, e in job.tokens(record) if record.text[s:e].strip()]
            words = ["".join(record.text[start:end].split()) for start, end in tokens]
            job.lost["texts whose spaces between tokens change"] += " ".join(words) != record.text
            middle = " -X- _ " if columns == 4 else " "
            for (start, end), word in zip(tokens, words, strict=True):
                file.write(f"{word}{middle}{_tag(record, start, end)}\n")
            file.write("\n")
            n += 1
    return n


def from_tags(place: str, words: Sequence[str], tags: Sequence[str]) -> Record:
    """A record of tokens with tags in any of the IOB family."""
    spans: list[dict[str, Any]] = []
    at, open_label = 0, ""
    for word, tag in zip(words, tags, strict=True):
        letter, _, label = tag.partition("-")
        if tag == "O":
            open_label = ""
        else:
            if letter in FIRST or label != open_label:
                spans.append({"start": at, "label": label})
            spans[-1]["end"] = at + len(word)
            open_label = "" if letter in LAST else label
        at += len(word) + 1
    return make(place, text=" ".join(words), spans=spans)


def _checked(place: str, tag: str) -> str:
    letter, dash, label = tag.partition("-")
    if tag != "O" and not (letter in ("I", *FIRST, *LAST) and dash and label):
        raise UserError(f"{place}: {tag!r} is no tag such as O, B-NAME or I-NAME; correct the last column.")
    return tag


def _tag(record: Record, start: int, end: int) -> str:
    for span in record.spans:
        if span.label != "".join(span.label.split()):
            raise UserError(f"record {record.id!r}: the label {span.label!r} has a blank in it; rename it.")
        if span.start <= start and end <= span.end:
            return f"{'B' if start == span.start else 'I'}-{span.label}"
    return "O"

"""CoNLL's columns: one token per line, its tag last, an empty line between texts. IOB2 is written.

IOB1, IOB2, BILUO (BILOU) and BIOES are read by one rule, as their letters have the same meanings. Columns are
separated by tabs or spaces; a no-break space is part of a token. A first column that numbers the tokens is
ignored.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ie.core.errors import UserError
from ie.core.files import atomic_write, read_text
from ie.data.formats.conversion import UNDECODABLE, Conversion, Placed, make
from ie.data.records import Record, Span, outermost

FIRST, LAST = ("B", "U", "S"), ("L", "E", "U", "S")


def read(path: Path, job: Conversion) -> Iterator[Placed]:
    """A record for each sentence, its tokens joined by single spaces."""
    sentences = list(_sentences(path, job))
    counted = _counted(path, sentences)
    for lines in sentences:
        first = f"{path}:{lines[0][0]}"
        words, tags = [], []
        for number, columns in lines:
            words.append(columns[counted])
            tags.append(_checked(f"{path}:{number}", columns[-1]))
            # -X- and _, as `write` and Label Studio write them, have no meaning
            job.lost["columns between token and tag"] += bool(set(columns[counted + 1 : -1]) - {"-X-", "_"})
        yield first, from_tags(first, words, tags)


def _sentences(path: Path, job: Conversion) -> Iterator[list[tuple[int, list[str]]]]:
    """The columns of each line of a sentence, with the line's number."""
    lines: list[tuple[int, list[str]]] = []
    for number, line in enumerate([*read_text(path, undecodable=UNDECODABLE).split("\n"), ""], start=1):
        line = line.rstrip("\r").strip(" ")
        if line.startswith("-DOCSTART-"):
            job.lost["limits of documents"] += 1
        elif columns := _columns(line):
            if not lines and columns[0].startswith("#") and not _is_tag(columns[-1]):
                job.lost["comments"] += 1
                continue
            if len(columns) < 2:
                raise UserError(
                    f"{path}:{number}: one column; a token and its tag are needed, or an empty line."
                )
            lines.append((number, columns))
        elif lines:
            yield lines
            lines = []


def _columns(line: str) -> list[str]:
    if not line.strip("\t "):
        return []
    if "\t" in line:
        return [part.strip(" ") for part in line.split("\t")]
    return re.split(" +", line)


def _counted(path: Path, sentences: Sequence[Sequence[tuple[int, list[str]]]]) -> int:
    """1 if the first column numbers the tokens of each sentence, and only one other has tags; else 0."""
    if not any(len(lines) > 1 for lines in sentences):
        return 0
    for lines in sentences:
        numbers = [columns[0] for _, columns in lines]
        if numbers not in ([str(i + first) for i in range(len(lines))] for first in (0, 1)):
            return 0
    rows = [columns for lines in sentences for _, columns in lines]
    width = min(map(len, rows))
    if width < 3:
        return 0
    tagged = [i + 1 for i in range(1, width) if all(_is_tag(columns[i]) for columns in rows)]
    if len(tagged) > 1:
        raise UserError(
            f"{path}:{sentences[0][0][0]}: the first column numbers tokens, and the columns "
            f"{', '.join(map(str, tagged))} all have tags; keep the tokens and the tags that you mean, as "
            "`cut -f2,3` does."
        )
    return 1


def write(path: Path, items: Iterable[Record], job: Conversion, columns: int = 2) -> int:
    """Write accepted records with 2 columns (token, tag) or 4 (token, -X-, _, tag, as Label Studio does)."""
    n = 0
    with atomic_write(path) as file:
        for record in job.gold_alone(items):
            job.lose_extras(record, "spans", "record")
            for name in ("relations", "cats", "meta"):
                job.lost[name] += len(getattr(record, name))
            # a token has one tag
            spans = outermost(record.spans)
            job.lost["spans that overlap a longer one"] += len(record.spans) - len(spans)
            tokens = [(s, e) for s, e in job.tokens(record) if record.text[s:e].strip()]
            words = ["".join(record.text[start:end].split()) for start, end in tokens]
            job.lost["texts whose spaces between tokens change"] += " ".join(words) != record.text
            middle = " -X- _ " if columns == 4 else " "
            for (start, end), word in zip(tokens, words, strict=True):
                file.write(f"{word}{middle}{_tag(record, spans, start, end)}\n")
            file.write("\n")
            n += 1
    return n


def from_tags(place: str, words: Sequence[str], tags: Sequence[str]) -> Record:
    """A record of tokens with tags of any IOB scheme."""
    if len(words) != len(tags):
        raise UserError(f"{place}: {len(words)} tokens and {len(tags)} tags; each token needs one.")
    if not all(isinstance(word, str) and word for word in words):
        raise UserError(f"{place}: a token is no text, or empty; correct it.")
    spans: list[dict[str, Any]] = []
    offset, open_label = 0, ""
    for word, tag in zip(words, tags, strict=True):
        letter, _, label = tag.partition("-")
        if tag == "O":
            open_label = ""
        else:
            if letter in FIRST or label != open_label:
                spans.append({"start": offset, "label": label})
            spans[-1]["end"] = offset + len(word)
            open_label = "" if letter in LAST else label
        offset += len(word) + 1
    return make(place, text=" ".join(words), spans=spans)


def _checked(place: str, tag: str) -> str:
    if not _is_tag(tag):
        raise UserError(f"{place}: {tag!r} is no tag such as O, B-NAME or I-NAME; correct the last column.")
    return tag


def _is_tag(text: str) -> bool:
    letter, _, label = text.partition("-")
    return text == "O" or bool(letter in ("I", *FIRST, *LAST) and label)


def _tag(record: Record, spans: Iterable[Span], start: int, end: int) -> str:
    for span in spans:
        if span.label != "".join(span.label.split()):
            raise UserError(f"record {record.id!r}: the label {span.label!r} has a space in it; rename it.")
        if span.start <= start and end <= span.end:
            return f"{'B' if start == span.start else 'I'}-{span.label}"
    return "O"

"""Import and export of other tools' files: the table of formats, and the checks on import."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from ie.data.documents.collection import read_documents
from ie.data.formats import conll, docbin, doccano, labelstudio, parquet, prodigy
from ie.data.formats.conversion import Conversion, Placed
from ie.data.records import Record, annotation, validate

Format = Literal["prodigy", "labelstudio", "doccano", "conll", "conll4", "docbin", "parquet"]
FORMATS = get_args(Format)
# Documents have no annotation, so they can only be read.
ReadFormat = Literal[Format, "documents"]


def _read_documents(path: Path, job: Conversion) -> Iterable[Placed]:
    job.read = read_documents(path, job.documents)
    return ((record.id, record) for record in job.read.records)


READERS: dict[str, Callable[[Path, Conversion], Iterable[Placed]]] = {
    **{"prodigy": prodigy.read, "labelstudio": labelstudio.read, "doccano": doccano.read},
    **{"conll": conll.read, "conll4": conll.read, "docbin": docbin.read, "parquet": parquet.read},
    "documents": _read_documents,
}
WRITERS: dict[str, Callable[[Path, Iterable[Record], Conversion], int]] = {
    **{"prodigy": prodigy.write, "labelstudio": labelstudio.write, "doccano": doccano.write},
    **{"conll": conll.write, "conll4": partial(conll.write, columns=4)},
    **{"docbin": docbin.write, "parquet": parquet.write},
}


@dataclass
class Intake:
    """Imported records, and how many were left out as the same annotator had annotated their text before."""

    records: list[Record] = field(default_factory=list)
    repeated: int = 0
    otherwise: int = 0


def read(path: Path, form: ReadFormat, job: Conversion, known: Sequence[Record] = ()) -> Intake:
    """The records of another tool's file, validated, without those that are `known`.

    A text may have an answer of each annotator. A second one of the same annotator is left out and counted:
    as `repeated` if it is the same, as `otherwise` if it differs.
    """
    intake = Intake()
    seen = {(record.text, record.annotator): record for record in known}
    for place, record in READERS[form](path, job):
        validate(place, record, job.scheme)
        first = seen.setdefault((record.text, record.annotator), record)
        if first is record:
            intake.records.append(record)
        elif annotation(first) == annotation(record):
            intake.repeated += 1
        else:
            intake.otherwise += 1
    return intake


def write(path: Path, form: Format, records: Iterable[Record], job: Conversion) -> int:
    """Write another tool's file, all or nothing; the number of records in it."""
    return WRITERS[form](path, records, job)


def losses(job: Conversion) -> list[tuple[str, int]]:
    """(field, number lost), the most first."""
    return [(name, n) for name, n in job.lost.most_common() if n]

"""Read a document, or all documents of a folder, into records; what can't be read is set aside and named."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field

from ie.core.errors import UserError
from ie.core.files import sha256_file
from ie.core.settings import Section
from ie.core.text import counted
from ie.data.documents.blocks import Limits, UnreadableDocument
from ie.data.documents.cutting import cut
from ie.data.documents.process import DocumentProcess
from ie.data.documents.reading import SUFFIXES
from ie.data.records import Record


class DocumentSettings(Section):
    """[documents]: size of the texts that documents are divided into, and limits on reading a document."""

    min_chars: int = Field(100, ge=0)
    max_chars: int = Field(1000, gt=0)
    reader: Literal["own", "docling"] = "own"
    max_mb: int = Field(100, gt=0)
    max_pages: int = Field(2000, gt=0)
    seconds: float = Field(120, gt=0)

    def process(self) -> DocumentProcess:
        """A process that reads documents within these limits."""
        return DocumentProcess(Limits(self.max_mb, self.max_pages), self.seconds, self.reader)


@dataclass
class DocumentTexts:
    """The texts of documents.

    Attributes:
        documents: number of documents that were read.
        set_aside: a sentence about each document that wasn't.
        notes: sentences about what is missing of documents that were read.
    """

    records: list[Record] = field(default_factory=list)
    documents: int = 0
    set_aside: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def remarks(self) -> list[str]:
        """All sentences."""
        return [*self.set_aside, *self.notes]

    def summary(self) -> str:
        """How many documents were read, and how many were set aside."""
        aside = f", {len(self.set_aside):,} set aside" if self.set_aside else ""
        return f"{counted(self.documents, 'document')} read{aside}"


def is_documents(path: Path) -> bool:
    """Whether a path is a document, or a folder in which there is one; text files alone are no documents."""
    if path.is_dir():
        return any(is_documents(file) for file in files(path))
    return SUFFIXES.get(path.suffix.lower(), "text") != "text"


def files(folder: Path) -> list[Path]:
    """All files of a folder and the folders in it, but for hidden ones."""
    return sorted(
        Path(parent) / name
        for parent, folders, names in os.walk(folder)
        if not folders.sort() and not _hidden(Path(parent).relative_to(folder))
        for name in names
        if not _hidden(Path(name)) and (Path(parent) / name).is_file()
    )


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "~$")) for part in path.parts)


def read_documents(path: Path, settings: DocumentSettings) -> DocumentTexts:
    """The texts of a document or of a folder of documents.

    Raises:
        UserError: there is no such file, or none of them could be read.
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such file or folder; correct the path.")
    result = DocumentTexts()
    with settings.process() as process:
        for file in files(path) if path.is_dir() else [path]:
            try:
                content = process.read(file)
            except UnreadableDocument as error:
                result.set_aside.append(f"{file}: {error}.")
                continue
            result.documents += 1
            result.notes += [f"{file}: {note}." for note in content.notes]
            source = {"file": _name(file), "sha256": sha256_file(file)[:16]}
            for number, piece in enumerate(cut(content, settings.min_chars, settings.max_chars), start=1):
                meta = {"id": f"{_identity(file, path)}#{number}", **source, **piece.meta}
                result.records.append(Record(text=piece.text, meta=meta))
    if not result.records:
        reason = f" ({result.set_aside[0]})" if result.set_aside else ""
        raise UserError(f"{path}: there is no document in it that can be read{reason}; add some.")
    return result


def _name(file: Path) -> str:
    """The path by which the document is found again: relative, where it is inside the project."""
    absolute = file.resolve()
    here = Path.cwd().resolve()
    return (absolute.relative_to(here) if absolute.is_relative_to(here) else absolute).as_posix()


def _identity(file: Path, path: Path) -> str:
    """The name of the document in the ids of its texts: its path inside the folder."""
    return (file.relative_to(path) if path.is_dir() else Path(file.name)).as_posix()

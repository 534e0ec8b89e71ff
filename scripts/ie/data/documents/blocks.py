"""What every format is read into: blocks of text in reading order, each with its place."""

import re
import unicodedata
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["paragraph", "heading", "item", "row"]
# Words on one line of a page: [start, end, page, top, bottom, [left, right of each word]]; characters of the
# block, then points from the upper left corner of the page.
PageLine = list[Any]
# Scripts without spaces: each character counts as a word.
UNSPACED = (
    "\u0e00-\u0eff\u1780-\u17ff\u3005-\u30ff\u31f0-\u31ff"  # Thai, Lao, Khmer, kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters
)
WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufeff\ufffe\uffff\ud800-\udfff]")
# Characters of a cell; a table with longer ones is layout, and its cells are read one after another.
LONGEST_CELL = 500
LIGATURES = {n: unicodedata.normalize("NFKC", chr(n)) for n in range(0xFB00, 0xFB07)}


class UnreadableDocument(Exception):
    """A document that is set aside; the message completes the sentence that begins with its name."""


@dataclass(frozen=True)
class Limits:
    """What reading one file may take; see [documents] in configs/data.cfg."""

    max_mb: int = 100
    max_pages: int = 2000

    @property
    def max_bytes(self) -> int:
        """For the file, and again for what is unpacked from it."""
        return self.max_mb * 1_000_000


@dataclass
class Block:
    """A paragraph, heading, list item or table row.

    Attributes:
        number: its number in the document, from 1, where there are no pages.
        part: the attachment of a mail that it is from.
        pages: numbers of the pages it stands on. lines: the places of its words there, for PDF.
    """

    text: str
    kind: Kind = "paragraph"
    number: int = 0
    part: str = ""
    pages: list[int] = field(default_factory=list)
    lines: list[PageLine] = field(default_factory=list)


@dataclass
class Content:
    """A document that was read.

    Attributes:
        sizes: width and height of each page, in points.
        notes: what is not among the blocks, in sentences that begin with the document's name.
    """

    blocks: list[Block] = field(default_factory=list)
    sizes: dict[int, tuple[float, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, text: str, kind: Kind = "paragraph") -> None:
        """Append a block, unless it is empty."""
        if text := clean(text):
            self.blocks.append(Block(text, kind, number=len(self.blocks) + 1))

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Content":
        """From what `to_json` made, after it was JSON."""
        sizes = {int(page): tuple(size) for page, size in data["sizes"].items()}
        return cls([Block(**block) for block in data["blocks"]], sizes, data["notes"])


def clean(text: str) -> str:
    """The text without control characters, and with single spaces between words."""
    return " ".join(CONTROLS.sub("", text.replace("\xad", "").translate(LIGATURES)).split())


def row_text(headers: list[str], cells: list[str]) -> str:
    """A row of a table as text: `Company: Hooli; Amount: $5m`, or its cells alone if there are no headers."""
    pairs = zip(headers + [""] * len(cells), cells, strict=False)
    return "; ".join(f"{header.rstrip(':')}: {cell}" if header else cell for header, cell in pairs if cell)


def decode(data: bytes, declared: str = "") -> tuple[str, int]:
    """Text of any encoding, and the number of lines that weren't UTF-8 where it should have been.

    A byte order mark decides, then the declared encoding, then UTF-8. Lines of another encoding are read as
    Windows-1252, which has a character for nearly every byte.
    """
    for mark, name in (
        *((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32")),
        *((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")),
    ):
        if data.startswith(mark):
            return data.decode(name, "replace").lstrip("\ufeff"), 0
    if declared and declared.lower().replace("_", "-") not in ("utf-8", "utf8"):
        try:
            return data.decode(declared), 0
        except (LookupError, UnicodeDecodeError, ValueError):
            pass
    try:
        return data.decode(), 0
    except UnicodeDecodeError:
        lines, others = [], 0
        for line in data.split(b"\n"):
            try:
                lines.append(line.decode())
            except UnicodeDecodeError:
                lines.append(line.decode("cp1252", "replace"))
                others += 1
        return "\n".join(lines), others


def note_encoding(content: Content, others: int) -> None:
    """Say how many lines were not UTF-8."""
    if others:
        content.notes.append(f"{others:,} of its lines aren't UTF-8 and were read as Windows-1252")

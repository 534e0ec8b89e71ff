"""Read DOCX with the standard library: a ZIP archive of XML, of which only as much as allowed is unpacked."""

import io
import re
import zipfile
import zlib
from xml.etree import ElementTree

from ie.data.documents.blocks import (
    LONGEST_CELL,
    Content,
    Kind,
    Limits,
    UnreadableDocument,
    clean,
    row_text,
)

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
STRICT = "{http://purl.oclc.org/ooxml/wordprocessingml/main}"
RELATIONSHIP = re.compile(rb'<[^>]*Relationship\s[^>]*Type="[^"]*/officeDocument"[^>]*>')
TARGET = re.compile(rb'Target="/?([^"]+)"')
# Deleted, moved away, hidden or repeated (what older programs show in place of something newer).
DROPPED = ("del", "moveFrom", "Fallback", "instrText", "delText", "rubyPr", "rt")
NOTES = ("footnotes", "endnotes")
# An entity can make a small file huge or read other files, and no program writes one.
DTD = ["<!DOCTYPE".encode(name) for name in ("utf-8", "utf-16-le", "utf-16-be")]


def read(data: bytes, limits: Limits) -> Content:
    """The blocks of a document, its footnotes at the end."""
    content = Content()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpack = _Unpacker(archive, limits)
            path = _document_path(unpack)
            styles = _heading_styles(unpack, path)
            reader = _DocxReader(content, styles)
            reader.read(unpack(path))
            for name in NOTES:
                if part := unpack(_beside(path, name), optional=True):
                    reader.read(part)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        encrypted = isinstance(error, RuntimeError) and "password" in str(error)
        reason = "is encrypted; save it without a password" if encrypted else "is a damaged Word document"
        raise UnreadableDocument(f"{reason}") from None
    except ElementTree.ParseError as error:
        raise UnreadableDocument(f"is a damaged Word document (its XML: {error})") from None
    return content


class _Unpacker:
    """Unpacks parts of an archive, up to a size of all of them together."""

    def __init__(self, archive: zipfile.ZipFile, limits: Limits) -> None:
        self.archive, self.limits, self.left = archive, limits, limits.max_bytes

    def __call__(self, name: str, *, optional: bool = False) -> bytes:
        if name not in self.archive.NameToInfo:
            if optional:
                return b""
            raise UnreadableDocument("is a ZIP archive, but no Word document")
        with self.archive.open(name) as file:
            data = file.read(self.left + 1)  # its header may lie about the size
        if len(data) > self.left:
            raise UnreadableDocument(
                f"unpacks to more than {self.limits.max_mb} MB (max_mb in configs/data.cfg)"
            )
        self.left -= len(data)
        if any(mark in data for mark in DTD):
            raise UnreadableDocument("has a DTD in its XML, which no Word document has; it isn't read")
        return data


def _document_path(unpack: _Unpacker) -> str:
    relation = RELATIONSHIP.search(unpack("_rels/.rels", optional=True))
    target = TARGET.search(relation[0]) if relation else None
    return target[1].decode("utf-8", "replace") if target else "word/document.xml"


def _beside(document: str, name: str) -> str:
    folder, slash, _ = document.rpartition("/")
    return f"{folder}{slash}{name}.xml"


def _heading_styles(unpack: _Unpacker, document: str) -> set[str]:
    """Ids of the styles of headings: those with an outline level, and those based on one."""
    data = unpack(_beside(document, "styles"), optional=True)
    headings: set[str] = set()
    based: dict[str, str] = {}
    if not data:
        return headings
    for style in ElementTree.fromstring(data).iter():
        if _tag(style) != "style":
            continue
        identity = _value(style, "styleId")
        for part in style.iter():
            tag, value = _tag(part), _value(part)
            outlined = tag == "outlineLvl" and value.isdigit() and int(value) < 9
            if outlined or (tag == "name" and re.match(r"(heading \d|title)", value, re.IGNORECASE)):
                headings.add(identity)
            elif tag == "basedOn":
                based[identity] = value
    for _ in range(10):
        headings |= {style for style, base in based.items() if base in headings}
    return headings


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _value(element: ElementTree.Element, name: str = "val") -> str:
    return element.get(f"{W}{name}") or element.get(f"{STRICT}{name}") or ""


class _DocxReader:
    """Reads the XML piece by piece; a finished paragraph is forgotten, so that memory stays small."""

    def __init__(self, content: Content, headings: set[str]) -> None:
        self.content, self.headings = content, headings

    def read(self, data: bytes) -> None:
        """Add the paragraphs and table rows of a part."""
        self.texts: list[list[str]] = []  # of paragraphs that are open: a text box stands inside another one
        self.kinds: list[Kind] = []
        self.hidden = False
        self.merged = 0  # columns that the open cell has beyond its first
        self.tables: list[list[list[str]]] = []  # rows of the tables that are open
        skipped = 0
        for event, element in ElementTree.iterparse(io.BytesIO(data), events=("start", "end")):
            tag = _tag(element)
            if tag in DROPPED:
                skipped += 1 if event == "start" else -1
            elif not skipped:
                (self._start if event == "start" else self._end)(tag, element)
            if event == "end" and tag in ("p", "tr", "tbl", "sdt"):
                element.clear()

    def _start(self, tag: str, element: ElementTree.Element) -> None:
        if tag == "p":
            self.texts.append([])
            self.kinds.append("paragraph")
        elif tag == "tbl":
            self.tables.append([])
        elif tag == "tr" and self.tables:
            self.tables[-1].append([])
        elif tag == "tc" and self.tables and self.tables[-1]:
            self.tables[-1][-1].append("")
        elif tag == "r":
            self.hidden = False

    def _end(self, tag: str, element: ElementTree.Element) -> None:
        if tag == "t" and self.texts and not self.hidden:
            self.texts[-1].append(element.text or "")
        elif tag in ("tab", "br", "cr") and self.texts:
            self.texts[-1].append(" ")
        elif tag == "noBreakHyphen" and self.texts:
            self.texts[-1].append("-")
        elif tag == "vanish":
            self.hidden = _value(element) not in ("0", "false")
        elif tag == "pStyle" and self.kinds and _value(element) in self.headings:
            self.kinds[-1] = "heading"
        elif tag == "numPr" and self.kinds and self.kinds[-1] == "paragraph":
            self.kinds[-1] = "item"
        elif tag == "p" and self.texts:
            self._add("".join(self.texts.pop()), self.kinds.pop())
        elif tag == "gridSpan" and self.tables and self.tables[-1] and _value(element).isdigit():
            self.merged = min(int(_value(element)), 100) - 1
        elif tag == "tc" and self.tables and self.tables[-1]:
            self.tables[-1][-1] += [""] * self.merged
            self.merged = 0
        elif tag == "tbl" and self.tables:
            self._add_table(self.tables.pop())

    def _add(self, text: str, kind: Kind) -> None:
        """Add a paragraph, or text of the table cell that is open."""
        if self.tables and self.tables[-1] and self.tables[-1][-1]:
            row = self.tables[-1][-1]
            row[-1] = clean(f"{row[-1]} {text}")
        else:
            self.content.add(text, kind)

    def _add_table(self, rows: list[list[str]]) -> None:
        if any(len(cell) > LONGEST_CELL for row in rows for cell in row):
            for cell in (cell for row in rows for cell in row):
                self._add(cell, "paragraph")
            return
        headers = rows[0] if len(rows) > 1 else []
        for row in rows[1:] or rows:
            self._add(row_text(headers, row), "row")

"""Small documents for tests: PDF with text at given places, and DOCX from its XML."""

import io
import zipfile
from collections.abc import Iterable, Sequence

import pytest

A4 = (595, 842)
# A text on a page: left edge, upper edge, font size, the text; a fifth value makes it bold.
Placed = tuple
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
RELATIONS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="r1" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
    'Target="word/document.xml"/></Relationships>'
)
STYLES = (
    f'<w:styles {W}><w:style w:styleId="H1"><w:name w:val="heading 1"/></w:style>'
    '<w:style w:styleId="Own"><w:name w:val="My own"/><w:basedOn w:val="H1"/></w:style></w:styles>'
)


def need_pdf() -> None:
    """Skip where requirements/documents.txt isn't installed."""
    reason = "requirements/documents.txt isn't installed"
    pytest.importorskip("pypdfium2", reason=reason)
    pytest.importorskip("selectolax", reason=reason)


def make_pdf(
    pages: Sequence[Iterable[Placed]], *, rotate: int = 0, encrypted: bool = False, xref: bool = True
) -> bytes:
    """A PDF whose texts stand at these places, in Helvetica."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>",
    ]
    kids = []
    for page in pages:
        content = b"".join(map(_drawn, page))
        kids.append(f"{len(objects) + 1} 0 R")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {A4[0]} {A4[1]}] /Rotate {rotate} "
            f"/Contents {len(objects) + 2} 0 R /Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> >>".encode()
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>".encode()
    trailer = f"/Size {len(objects) + 1} /Root 1 0 R"
    if encrypted:
        secret = "41" * 32
        trailer += (
            f" /ID [<00><00>] /Encrypt << /Filter /Standard /V 1 /R 2 /O <{secret}> /U <{secret}> /P -4 >>"
        )
    file = io.BytesIO()
    file.write(b"%PDF-1.4\n")
    places = []
    for number, content in enumerate(objects, start=1):
        places.append(file.tell())
        file.write(b"%d 0 obj\n%s\nendobj\n" % (number, content))
    start = file.tell()
    entries = "".join(f"{place if xref else 7:010} 00000 n \n" for place in places)
    table = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{entries}trailer\n<< {trailer} >>\n"
    file.write(f"{table}startxref\n{start if xref else 3}\n%%EOF\n".encode())
    return file.getvalue()


def _drawn(placed: Placed) -> bytes:
    x, y, size, text, *bold = placed
    data = text.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
    font = "F2" if bold and bold[0] else "F1"
    return f"BT /{font} {size} Tf 1 0 0 1 {x} {A4[1] - y - size} Tm (".encode() + data + b") Tj ET\n"


def column(x: float, y: float, lines: Iterable[str], size: float = 10, step: float = 12) -> list[Placed]:
    """Lines under each other."""
    return [(x, y + i * step, size, line) for i, line in enumerate(lines)]


def make_docx(body: str, *, styles: str = STYLES, more: dict[str, str] | None = None) -> bytes:
    """A Word document with this XML in its body."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_rels/.rels", RELATIONS)
        archive.writestr("word/styles.xml", styles)
        archive.writestr("word/document.xml", f"<w:document {W}><w:body>{body}</w:body></w:document>")
        for name, content in (more or {}).items():
            archive.writestr(name, content)
    return file.getvalue()


def paragraph(text: str, properties: str = "") -> str:
    """The XML of a paragraph in Word."""
    return f'<w:p><w:pPr>{properties}</w:pPr><w:r><w:t xml:space="preserve">{text}</w:t></w:r></w:p>'

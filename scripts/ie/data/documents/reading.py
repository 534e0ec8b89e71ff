"""Read one document of any format; its content decides which, not its name."""

import re
from pathlib import Path

from ie.data.documents import docx, eml, markdown, plain
from ie.data.documents.blocks import Content, Limits, UnreadableDocument

SUFFIXES = {
    **{".pdf": "pdf", ".docx": "docx", ".docm": "docx", ".html": "html", ".htm": "html", ".xhtml": "html"},
    **{".eml": "eml", ".md": "markdown", ".markdown": "markdown", ".txt": "text"},
}
PICTURE = "is a picture: it has no text layer; run text recognition (OCR) on it first"
ARCHIVE = "is a compressed archive; unpack it"
# What other files begin with, and what to do about them.
OTHERS = {
    b"\xd0\xcf\x11\xe0": "is an old or an encrypted Office file; save it as .docx without a password",
    b"{\\rtf": "is RTF; save it as .docx",
    b"\x89PNG": PICTURE,
    b"\xff\xd8\xff": PICTURE,
    b"GIF8": PICTURE,
    b"II*\0": PICTURE,
    b"MM\0*": PICTURE,
    b"\x1f\x8b": ARCHIVE,
    b"7z\xbc\xaf": ARCHIVE,
    b"Rar!": ARCHIVE,
    b"From ": "is a mailbox of several mails; save each one as .eml",
}
HEAD = 4096
HTML = re.compile(rb"\s*(?:<\?xml[^>]*>\s*|<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S)
HEADER = re.compile(rb"^(?:Received|From|Return-Path|MIME-Version|Subject|Date|Message-ID|To):", re.I | re.M)
LEAST_HEADERS = 3  # of a mail whose name isn't .eml
UTF_32_16 = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")


def read_document(path: Path, limits: Limits) -> Content:
    """The blocks of a document in reading order, each with its place.

    Raises:
        UnreadableDocument: it isn't a document, or is broken, too large, encrypted or a scan.
    """
    try:
        size = path.stat().st_size
        if size > limits.max_bytes:
            raise UnreadableDocument(f"has more than {limits.max_mb} MB (max_mb in configs/data.cfg)")
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableDocument(f"can't be read ({error.strerror})") from None
    content = read_data(path.name, data, limits)
    if not content.blocks:
        raise UnreadableDocument("has no text in it")
    return content


def read_data(name: str, data: bytes, limits: Limits, depth: int = 0) -> Content:
    """The blocks of a document that is in memory; `name` counts where the content leaves it open."""
    form = sniff(name, data)
    try:
        if form == "pdf":
            from ie.data.documents import pdf

            return pdf.read(data, limits)
        if form == "html":
            from ie.data.documents import html

            return html.read(data)
    except ModuleNotFoundError as error:
        raise UnreadableDocument(
            f"needs {error.name}, which isn't installed; pip install -r requirements/documents.txt"
        ) from None
    if form == "docx":
        return docx.read(data, limits)
    if form == "eml":
        return eml.read(data, lambda inner, part, level: read_data(inner, part, limits, level), depth)
    return (markdown if form == "markdown" else plain).read(data)


def sniff(name: str, data: bytes) -> str:
    """The format of a document: pdf, docx, html, eml, markdown or text."""
    head, named = data[:HEAD], SUFFIXES.get(Path(name).suffix.lower())
    if not data.strip():
        raise UnreadableDocument("is empty")
    if b"%PDF-" in head[:1024]:
        return "pdf"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "docx"
    for mark, reason in OTHERS.items():
        if head.startswith(mark):
            raise UnreadableDocument(reason)
    if HTML.match(head.lstrip(b"\xef\xbb\xbf")):
        return "html"
    if named in ("pdf", "docx"):
        fault = {"pdf": "is no PDF: it doesn't begin with %PDF-", "docx": "is no Word document: it isn't ZIP"}
        raise UnreadableDocument(f"{fault[named]}; is the file damaged?")
    if b"\0" in head and not head.startswith(UTF_32_16):
        raise UnreadableDocument("is no document that can be read (its content is binary)")
    headers = len(HEADER.findall(head.partition(b"\n\n")[0].partition(b"\r\n\r\n")[0]))
    if headers >= (1 if named == "eml" else LEAST_HEADERS):
        return "eml"
    if named == "eml":
        raise UnreadableDocument("is no mail: it doesn't begin with headers such as From and Subject")
    if named is None:
        raise UnreadableDocument("is no PDF, DOCX, HTML, EML, Markdown or text; convert it")
    return named

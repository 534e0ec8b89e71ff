"""Texts written as documents of each format: PDF of one and of two columns, DOCX, HTML, EML and Markdown."""

import html
import re
import zipfile
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from pathlib import Path
from xml.sax.saxutils import escape

import matplotlib

FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
BOLD = FONT.with_name("DejaVuSans-Bold.ttf")
TITLE, HEADER = "News of the week", "Weekly news, confidential draft"
# Where long words may be divided: a simple rule, which is right often enough for a test.
SYLLABLE = re.compile(r"(?<=[a-zäöü]{3})(?<=[aeiouäöü])(?=[bcdfgklmnprstvz][aeiouäöü][a-zäöü])")
MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+!|~&.-])")
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
RELATIONS = (
    '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/'
    'officeDocument" Target="word/document.xml"/></Relationships>'
)
STYLES = f'<w:styles {W}><w:style w:styleId="H1"><w:name w:val="heading 1"/></w:style></w:styles>'


def pdf(path: Path, texts: Sequence[str], columns: int = 1) -> None:
    """A PDF with running headers, page numbers, and long words divided at the ends of lines."""
    from fpdf import FPDF

    class Paper(FPDF):
        def header(self) -> None:
            self.set_font("text", size=8)
            self.cell(0, 6, HEADER, align="R")
            self.ln(12)

        def footer(self) -> None:
            self.set_y(-12)
            self.cell(0, 6, f"Page {self.page_no()} of {{nb}}", align="C")

    paper = Paper()
    paper.add_font("text", "", FONT)
    paper.add_font("text", "B", BOLD)
    paper.add_page()
    paper.set_font("text", "B", 16)
    paper.cell(0, 12, TITLE, align="C")
    paper.ln(14)
    paper.set_font("text", size=9.5)
    with paper.text_columns(ncols=columns, gutter=8, text_align="J", line_height=1.2) as place:
        for text in texts:
            with place.paragraph(bottom_margin=2.5) as paragraph:
                paragraph.write(SYLLABLE.sub("\xad", text))
    paper.output(str(path))


def docx(path: Path, texts: Sequence[str]) -> None:
    """A Word document of a heading and paragraphs."""
    heading = f'<w:p><w:pPr><w:pStyle w:val="H1"/></w:pPr><w:r><w:t>{TITLE}</w:t></w:r></w:p>'
    body = "".join(f'<w:p><w:r><w:t xml:space="preserve">{escape(text)}</w:t></w:r></w:p>' for text in texts)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_rels/.rels", RELATIONS)
        archive.writestr("word/styles.xml", STYLES)
        document = f'<?xml version="1.0" encoding="UTF-8"?><w:document {W}><w:body>{heading}{body}</w:body>'
        archive.writestr("word/document.xml", document + "</w:document>")


def web_page(path: Path, texts: Sequence[str]) -> None:
    """A page with navigation, a script and an imprint around the texts."""
    body = "".join(f"<p>{html.escape(text)}</p>\n" for text in texts)
    path.write_text(
        f"<!doctype html><html><head><meta charset=utf-8><title>{TITLE}</title></head>"
        f"<body><nav><a href=/>Home</a></nav><h1>{TITLE}</h1><script>alert(1)</script>{body}"
        f"<footer>Imprint: {HEADER}</footer></body></html>",
        encoding="utf-8",
    )


def mail(path: Path, texts: Sequence[str]) -> None:
    """A mail whose lines are wrapped."""
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = TITLE, "desk@example.org", "all@example.org"
    import textwrap

    message.set_content("\n\n".join(textwrap.fill(text, 76, break_on_hyphens=False) for text in texts))
    path.write_bytes(bytes(message))


def markdown(path: Path, texts: Sequence[str]) -> None:
    """A heading and paragraphs."""
    escaped = (MARKDOWN.sub(r"\\\1", text) for text in texts)
    path.write_text(f"# {TITLE}\n\n" + "\n\n".join(escaped) + "\n", encoding="utf-8")


FORMATS: dict[str, tuple[str, Callable[[Path, Sequence[str]], None]]] = {
    "PDF, one column": (".pdf", pdf),
    "PDF, two columns": (".pdf", lambda path, texts: pdf(path, texts, 2)),
    "DOCX": (".docx", docx),
    "HTML": (".html", web_page),
    "EML": (".eml", mail),
    "Markdown": (".md", markdown),
}

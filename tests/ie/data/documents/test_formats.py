"""DOCX, HTML, EML, Markdown and text as blocks; files that are mislabelled, damaged or hostile."""

import io
import zipfile
from email.message import EmailMessage

import pytest
from document_files import STYLES, W, column, make_docx, make_pdf, need_pdf, paragraph

from ie.data.documents.blocks import Content, Limits, UnreadableDocument
from ie.data.documents.reading import read_data, read_document

need_pdf()
HEADING = '<w:pStyle w:val="H1"/>'
PAGE = """<!doctype html><html><head><title>Site</title><style>p {color: red}</style></head><body>
<nav><a href="/">Home</a></nav><header>Top of the site</header>
<article><header><h1>Deals &amp; more</h1></header><p>Hooli <b>raised</b> $5m<br>in a round.
<script>alert(1)</script><p hidden>hidden</p><p style="display:none">hidden</p>
<p>Next paragraph, which is long enough to be most of it.</p>
<ul><li>one<li>two<ul><li>three</ul></ul>
<table><tr><th>Company<th>Amount</tr><tr><td>Hooli<td>$5m</tr></table>
<table><tr><td><table><tr><td>layout</td></tr></table></td><td>beside</td></tr></table></article>
<footer>Imprint</footer></body></html>"""


def read(name: str, data: bytes | str, limits: Limits = Limits()) -> Content:
    return read_data(name, data.encode() if isinstance(data, str) else data, limits)


def texts(name: str, data: bytes | str) -> list[str]:
    return [block.text for block in read(name, data).blocks]


def refused(name: str, data: bytes | str, limits: Limits = Limits()) -> str:
    with pytest.raises(UnreadableDocument) as error:
        read(name, data, limits)
    return str(error.value)


def cell(text: str, properties: str = "") -> str:
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{paragraph(text)}</w:tc>"


class TestDocx:
    def test_headings_items_and_what_is_left_out(self):
        body = [
            paragraph("Deals", HEADING),
            paragraph("Own style", '<w:pStyle w:val="Own"/>'),
            "<w:p><w:r><w:t>Hooli </w:t></w:r><w:del><w:r><w:delText>lost</w:delText></w:r></w:del>"
            "<w:ins><w:r><w:t>raised</w:t></w:r></w:ins><w:r><w:rPr><w:vanish/></w:rPr><w:t>hidden</w:t></w:r>"
            "<w:r><w:tab/><w:t>$5m</w:t></w:r><w:r><w:instrText>PAGE</w:instrText></w:r></w:p>",
            paragraph("an item", '<w:numPr><w:ilvl w:val="0"/></w:numPr>'),
        ]
        notes = {"word/footnotes.xml": f"<w:footnotes {W}>{paragraph('A note.')}</w:footnotes>"}
        blocks = read("a.docx", make_docx("".join(body), more=notes)).blocks
        assert [(block.kind, block.text) for block in blocks] == [
            ("heading", "Deals"),
            ("heading", "Own style"),
            ("paragraph", "Hooli raised $5m"),
            ("item", "an item"),
            ("paragraph", "A note."),
        ]
        assert [block.number for block in blocks] == [1, 2, 3, 4, 5]

    def test_rows_of_tables_have_their_headers(self):
        rows = [
            [cell("Company"), cell("Amount"), cell("Year")],
            [cell("Both", '<w:gridSpan w:val="2"/>'), cell("2024")],
            [cell("Hooli"), cell(""), cell("2025")],
        ]
        table = "".join(f"<w:tr>{''.join(row)}</w:tr>" for row in rows)
        assert texts("a.docx", make_docx(f"<w:tbl>{table}</w:tbl>")) == [
            "Company: Both; Year: 2024",
            "Company: Hooli; Year: 2025",
        ]

    def test_a_zip_bomb_is_not_unpacked(self):
        bomb = make_docx(paragraph("0" * 5_000_000))
        assert len(bomb) < 50_000
        assert refused("a.docx", bomb, Limits(max_mb=1)).startswith("unpacks to more than 1 MB")

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
    def test_entities_are_refused(self, encoding):
        xml = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
        xml += f"<w:document {W}><w:body>{paragraph('&x;')}</w:body></w:document>"
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("word/document.xml", xml.encode(encoding))
        assert "has a DTD in its XML" in refused("a.docx", file.getvalue())

    def test_other_archives_and_damaged_ones(self):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("xl/workbook.xml", "<x/>")
        assert refused("a.docx", file.getvalue()) == "is a ZIP archive, but no Word document"
        good = make_docx(paragraph("Hooli"))
        assert refused("a.docx", good[: len(good) // 2]) == "is a damaged Word document"
        assert "is a damaged Word document (its XML" in refused("a.docx", make_docx("<w:p>"))
        assert refused("a.docx", b"no zip at all").startswith("is no Word document")
        assert "old or an encrypted Office file" in refused("a.docx", b"\xd0\xcf\x11\xe0" + bytes(20))

    def test_deep_nesting_is_no_crash(self):
        body = "<w:sdt>" * 50_000 + paragraph("deep") + "</w:sdt>" * 50_000
        assert texts("a.docx", make_docx(body, styles=STYLES)) == ["deep"]


class TestHtml:
    def test_the_main_text_without_what_is_around_it(self):
        blocks = read("a.html", PAGE).blocks
        assert [(block.kind, block.text) for block in blocks] == [
            ("heading", "Deals & more"),
            ("paragraph", "Hooli raised $5m in a round."),
            ("paragraph", "Next paragraph, which is long enough to be most of it."),
            *(("item", word) for word in ("one", "two", "three")),
            ("row", "Company: Hooli; Amount: $5m"),
            ("row", "layout"),
            ("paragraph", "beside"),
        ]

    def test_encodings(self):
        page = "<html><meta charset=iso-8859-15><p>Café 5 €"
        assert texts("a.html", page.encode("iso-8859-15")) == ["Café 5 €"]
        assert texts("a.html", page.replace("iso-8859-15", "utf-16").encode("utf-16")) == ["Café 5 €"]
        assert texts("a.html", "<html><p>Café".encode("cp1252")) == ["Café"]
        assert texts("a.html", "<html><meta charset=nonsense><p>Café") == ["Café"]

    def test_deep_nesting_is_no_crash(self):
        assert texts("a.html", "<html>" + "<div>" * 20_000 + "deep") == ["deep"]


class TestMail:
    def mail(self, **parts: object) -> EmailMessage:
        message = EmailMessage()
        message["Subject"], message["From"], message["To"] = "Café deal", "Ann <ann@x.org>", "bob@x.org"
        message.set_content(parts.get("text", "Hooli raised money."))
        return message

    def test_subject_senders_and_wrapped_lines(self):
        long = "This line was wrapped by the program that wrote the\nmail.\n\n> quoted\n"
        assert texts("a.eml", bytes(self.mail(text=long))) == [
            *("Café deal", "From: Ann <ann@x.org>", "To: bob@x.org"),
            *("This line was wrapped by the program that wrote the mail.", "quoted"),
        ]

    def test_of_alternatives_the_plain_text_or_else_the_html(self):
        message = self.mail()
        message.add_alternative("<p>Other</p>", subtype="html")
        assert texts("a.eml", bytes(message))[3:] == ["Hooli raised money."]
        message = self.mail()
        message.clear_content()
        message.set_content("<script>x</script><p>Only <b>HTML</b></p>", subtype="html")
        assert texts("a.eml", bytes(message))[3:] == ["Only HTML"]

    def test_attachments_are_read_by_their_content(self):
        message, inner = self.mail(), self.mail(text="Inner text.")
        data = make_pdf([column(50, 100, ["Text of a PDF."])])
        message.add_attachment(data, maintype="application", subtype="octet-stream", filename="offer.bin")
        message.add_attachment(b"\x89PNG....", maintype="image", subtype="png", filename="scan.png")
        message.add_attachment(inner)
        content = read("a.eml", bytes(message))
        parts = [(block.part, block.text, block.pages) for block in content.blocks]
        assert ("offer.bin", "Text of a PDF.", [1]) in parts
        assert ("mail", "Inner text.", []) in parts
        assert len(content.notes) == 1
        assert content.notes[0].startswith("its attachment scan.png is a picture")

    def test_mails_inside_mails_have_an_end(self):
        message = self.mail()
        for _ in range(8):
            outer = self.mail()
            outer.add_attachment(message)
            message = outer
        content = read("a.eml", bytes(message))
        assert max(block.part.count("mail") for block in content.blocks) == 3
        assert "inside 3 others" in content.notes[0]

    def test_files_that_are_no_mail(self):
        assert "is no mail" in refused("a.eml", "just text")
        assert "mailbox" in refused("a.eml", "From ann@x.org Mon\nFrom: a\n\nx")


def test_markdown():
    source = (
        "---\ntitle: x\n---\n# Deals **bold**\n\nHooli raised $5m\nin *London*, see [Acme](http://x).\n\n"
        "- one\n- two `code`\n\n| Company | Amount |\n|---|---|\n| Hooli | $5m |\n\n"
        "<p>markup <script>x</script></p>\n\n```\ncode\n```\n"
    )
    assert [(block.kind, block.text) for block in read("a.md", source).blocks] == [
        ("heading", "Deals bold"),
        ("paragraph", "Hooli raised $5m in London, see Acme."),
        *(("item", "one"), ("item", "two code"), ("row", "Company: Hooli; Amount: $5m")),
        *(("paragraph", "markup"), ("paragraph", "code")),
    ]


def test_the_content_decides_not_the_name():
    assert texts("a.txt", make_pdf([column(50, 100, ["A PDF."])])) == ["A PDF."]
    assert texts("a.pdf", PAGE)[0] == "Deals & more"
    assert texts("a.html", make_docx(paragraph("Word"))) == ["Word"]
    assert "is no PDF" in refused("a.pdf", "just text")
    assert "binary" in refused("a.md", b"abc\0def")
    assert "is no PDF, DOCX" in refused("a.csv", "a,b")
    assert refused("a.md", b" \n") == "is empty"


def test_lines_of_mixed_encodings_are_all_read():
    data = "Café in UTF-8\n\n".encode() + "Café in another".encode("cp1252")
    content = read("a.txt", data)
    assert [block.text for block in content.blocks] == ["Café in UTF-8", "Café in another"]
    assert content.notes == ["1 of its lines aren't UTF-8 and were read as Windows-1252"]


def test_large_and_missing_files(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"x" * 1_000_001)
    with pytest.raises(UnreadableDocument, match="has more than 1 MB"):
        read_document(tmp_path / "a.txt", Limits(max_mb=1))
    with pytest.raises(UnreadableDocument, match="can't be read"):
        read_document(tmp_path / "b.txt", Limits())

"""Read Markdown (CommonMark and tables); HTML inside it is read as HTML."""

import re

from markdown_it import MarkdownIt
from markdown_it.token import Token

from ie.data.documents.blocks import Content, Kind, decode, note_encoding, row_text

FRONT_MATTER = re.compile(r"\A---\n.*?\n(?:---|\.\.\.)\n", re.DOTALL)


def read(data: bytes) -> Content:
    """The blocks of a file."""
    content = Content()
    text, others = decode(data)
    note_encoding(content, others)
    text = FRONT_MATTER.sub("", text.replace("\r\n", "\n"))
    kind: Kind = "paragraph"
    items = 0
    headers: list[str] = []
    cells: list[str] = []
    in_head = in_cell = False
    for token in MarkdownIt("commonmark", {"maxNesting": 50}).enable("table").parse(text):
        if token.type == "heading_open":
            kind = "heading"
        elif token.type == "heading_close":
            kind = "paragraph"
        elif token.type in ("list_item_open", "list_item_close"):
            items += 1 if token.type == "list_item_open" else -1
        elif token.type in ("thead_open", "thead_close"):
            in_head = token.type == "thead_open"
            headers = [] if in_head else cells
        elif token.type == "tr_open":
            cells = []
        elif token.type == "tr_close" and not in_head:
            content.add(row_text(headers, cells), "row")
        elif token.type in ("th_open", "td_open", "th_close", "td_close"):
            in_cell = token.type.endswith("open")
        elif token.type == "inline" and in_cell:
            cells.append(_inline_text(token))
        elif token.type == "inline":
            content.add(_inline_text(token), "item" if items and kind == "paragraph" else kind)
        elif token.type in ("fence", "code_block"):
            content.add(token.content)
        elif token.type == "html_block":
            _add_html(content, token.content)
    return content


def _inline_text(token: Token) -> str:
    parts = []
    for child in token.children or []:
        if child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif child.type in ("text", "code_inline", "text_special", "image"):
            parts.append(child.content)
    return "".join(parts)


def _add_html(content: Content, markup: str) -> None:
    from ie.data.documents import html  # its parser is an extra, which Markdown alone doesn't need

    for block in html.read_markup(markup).blocks:
        content.add(block.text, block.kind)

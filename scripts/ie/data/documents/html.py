"""Read HTML: the main text of a page, without scripts, styles, navigation and hidden parts."""

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from ie.data.documents.blocks import LONGEST_CELL, Content, Kind, clean, decode, note_encoding, row_text

# fmt: off
DROPPED = frozenset(
    (
        "script", "style", "noscript", "template", "svg", "math", "head", "iframe", "object", "embed",
        "canvas", "video", "audio", "map", "nav", "button", "select", "textarea", "input", "datalist",
        "dialog",
    )
)
# fmt: on
AROUND = frozenset(("header", "footer", "aside"))  # of the page, not of its article
HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
# fmt: off
BLOCKS = HEADINGS | frozenset(
    (
        "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "div",
        "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "html", "legend",
        "li", "main", "ol", "p", "pre", "section", "summary", "table", "tbody", "td", "tfoot", "th",
        "thead", "tr", "ul",
    )
)
# fmt: on
INVISIBLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([\w-]+)""", re.IGNORECASE)
LEAST_SHARE = 0.5  # of the text, for an article to be all that is read


def read(data: bytes) -> Content:
    """The blocks of a page."""
    declared = CHARSET.search(data[:4096])
    text, others = decode(data, declared[1].decode() if declared else "")
    content = read_markup(text)
    note_encoding(content, others)
    return content


def read_markup(markup: str) -> Content:
    """The blocks of HTML that is text already."""
    tree = LexborHTMLParser(markup.replace("\0", ""))
    content = Content()
    root = tree.body
    if root is None:
        return content
    title = tree.css_first("head > title")
    if title is not None and tree.css_first("h1") is None:
        content.add(title.text(), "heading")
    _HtmlReader(content).read(_main_part(tree, root))
    return content


def _main_part(tree: LexborHTMLParser, body: LexborNode) -> LexborNode:
    """The only `main` or `article`, if most of the text is in it; else the body."""
    for selector in ("main", "article"):
        parts = tree.css(selector)
        if len(parts) == 1 and len(parts[0].text()) >= LEAST_SHARE * len(_visible_text(body)):
            return parts[0]
    return body


def _visible_text(body: LexborNode) -> str:
    return "".join(
        node.text_content or "" for node, entering in _walk(body) if entering and node.is_text_node
    )


def _walk(root: LexborNode) -> Iterator[tuple[LexborNode, bool]]:
    """Each shown node as (node, True), elements again as (node, False) after their content; not recursive."""
    node: LexborNode | None = root
    while node is not None:
        shown = node.mem_id == root.mem_id or _shown(node)
        if shown:
            yield node, True
        child = node.child if shown and not node.is_text_node else None
        if child is not None:
            node = child
            continue
        while node is not None:
            if not node.is_text_node and (node.mem_id == root.mem_id or _shown(node)):
                yield node, False
            if node.mem_id == root.mem_id:
                return
            if node.next is not None:
                node = node.next
                break
            node = node.parent


def _shown(node: LexborNode) -> bool:
    if node.is_text_node:
        return True
    if not node.is_element_node or node.tag in DROPPED:
        return False
    attributes = node.attributes
    if "hidden" in attributes or INVISIBLE.search(attributes.get("style") or ""):
        return False
    return node.tag not in AROUND or _has_parent(node, ("article", "main"))


def _has_parent(node: LexborNode, tags: tuple[str, ...]) -> bool:
    parent = node.parent
    while parent is not None:
        if parent.tag in tags:
            return True
        parent = parent.parent
    return False


class _HtmlReader:
    """Collects inline text until a block begins or ends."""

    def __init__(self, content: Content) -> None:
        self.content = content
        self.inline: list[str] = []
        self.kinds: list[Kind] = ["paragraph"]
        self.breaks = 0
        self.table: LexborNode | None = None
        self.headers: list[str] = []
        self.row: list[str] = []
        self.row_has_data = self.in_head = False

    def read(self, root: LexborNode) -> None:
        """Add the blocks inside a node."""
        for node, entering in _walk(root):
            if node.is_text_node:
                self.inline.append(node.text_content or "")
                self.breaks = 0 if (node.text_content or "").strip() else self.breaks
            elif node.tag == "br":
                if entering:
                    self.breaks += 1
                    self.inline.append(" ")
                    if self.breaks > 1 and self.table is None:
                        self._flush()
            elif self.table is not None:
                self._in_table(node, entering)
            elif node.tag == "table" and entering and not _is_layout(node):
                self._flush()
                self.table, self.headers = node, []
            elif node.tag in BLOCKS:
                self._flush()
                if entering and (node.tag in HEADINGS or node.tag == "li"):
                    self.kinds.append("item" if node.tag == "li" else "heading")
                elif node.tag in HEADINGS or node.tag == "li":
                    self.kinds.pop()
        self._flush()

    def _flush(self) -> None:
        self.content.add("".join(self.inline), self.kinds[-1])
        self.inline, self.breaks = [], 0

    def _in_table(self, node: LexborNode, entering: bool) -> None:
        if node.tag in ("td", "th"):
            if not entering:
                self.row.append(clean("".join(self.inline)))
                self.row += [""] * (_span(node) - 1)
                self.row_has_data |= node.tag == "td" and not self.in_head
            self.inline = []
        elif node.tag == "thead":
            self.in_head = entering
        elif node.tag == "tr" and not entering:
            if not self.row_has_data and not self.headers:
                self.headers = self.row
            elif any(self.row):
                self.content.add(row_text(self.headers, self.row), "row")
            self.row, self.row_has_data = [], False
        elif node.tag == "caption" and not entering:
            self._flush()
        elif node.mem_id == self.table.mem_id and not entering:
            if self.headers and not (self.content.blocks and self.content.blocks[-1].kind == "row"):
                self.content.add("; ".join(filter(None, self.headers)), "row")
            self.table, self.inline = None, []
        elif node.tag in BLOCKS:
            self.inline.append(" ")


def _span(cell: LexborNode) -> int:
    value = cell.attributes.get("colspan") or "1"
    return min(int(value), 100) if value.isascii() and value.isdigit() and value != "0" else 1


def _is_layout(table: LexborNode) -> bool:
    """Whether a table has tables or long cells in it."""
    if any(inner.mem_id != table.mem_id for inner in table.css("table")) or table.css_first("tr") is None:
        return True
    return any(len(cell.text()) > LONGEST_CELL for cell in table.css("td"))

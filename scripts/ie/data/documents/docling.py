"""Read documents with docling, for those who have it installed, into the same blocks."""

from pathlib import Path
from typing import Any

from ie.data.documents.blocks import Block, Content, Kind, UnreadableDocument, clean, row_text

HEADINGS = ("title", "section_header")
DROPPED = ("page_header", "page_footer")


def read(path: Path) -> Content:
    """The blocks of a document.

    Docling has one box for a paragraph and none for its words, so a text knows its pages, but not the boxes.
    """
    try:
        from docling.document_converter import DocumentConverter
    except ModuleNotFoundError:
        raise UnreadableDocument(
            'needs docling, which isn\'t installed; install it, or set reader = "own" in configs/data.cfg'
        ) from None
    try:
        document = DocumentConverter().convert(path).document
    except Exception as error:  # docling raises what its many parsers raise
        raise UnreadableDocument(f"can't be read by docling ({' '.join(str(error).split())[:200]})") from None
    content = Content()
    content.sizes = {
        int(number): (round(page.size.width, 1), round(page.size.height, 1))
        for number, page in document.pages.items()
        if page.size is not None
    }
    for item, _ in document.iterate_items():
        label = str(getattr(item.label, "value", item.label))
        if label in DROPPED:
            continue
        pages = sorted({place.page_no for place in item.prov})
        for text, kind in _texts(item, label):
            if text := clean(text):
                content.blocks.append(Block(text, kind, number=len(content.blocks) + 1, pages=pages))
    if not content.blocks:
        raise UnreadableDocument("has no text in it")
    return content


def _texts(item: Any, label: str) -> list[tuple[str, Kind]]:
    grid = getattr(getattr(item, "data", None), "grid", None)
    if grid:
        rows = [[clean(cell.text) for cell in row] for row in grid]
        has_headers = len(rows) > 1 and all(cell.column_header for cell in grid[0])
        headers = rows[0] if has_headers else []
        return [(row_text(headers, row), "row") for row in (rows[1:] if has_headers else rows)]
    kind: Kind = "heading" if label in HEADINGS else "item" if label == "list_item" else "paragraph"
    return [(getattr(item, "text", "") or "", kind)]

"""Divide a document into texts of a size that people review and models read, at headings and paragraphs."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ie.data.documents.blocks import Block, Content, PageLine
from ie.data.documents.places import lines_between

# Where a paragraph that is too long is divided: after a sentence, else between words.
SENTENCE = re.compile(r"[.!?…][\"'”’»)\]]*\s+|[。！？]|[؟۔।]\s+")


@dataclass
class Cut:
    """One text of a document.

    Attributes:
        meta: where it stands: `part` (an attachment), `pages` with their sizes and `lines`, or `paragraphs`
            (first and last).
    """

    text: str
    meta: dict[str, Any] = field(default_factory=dict)


def cut(content: Content, min_chars: int, max_chars: int) -> Iterator[Cut]:
    """The texts of a document.

    A text ends at `max_chars`, before a heading, or once it has `min_chars`. So a short heading stays with
    what follows it.
    """
    group: list[Block] = []
    for block in _divided(content.blocks, max_chars):
        if group and _ends_before(group, block, min_chars, max_chars):
            yield _text(group, content)
            group = []
        group.append(block)
    if group:
        yield _text(group, content)


def _ends_before(group: list[Block], block: Block, min_chars: int, max_chars: int) -> bool:
    size = sum(len(one.text) + 1 for one in group)
    if size + len(block.text) > max_chars or group[-1].part != block.part:
        return True
    is_heading_alone = all(one.kind == "heading" for one in group)
    return size > min_chars or (block.kind == "heading" and not is_heading_alone)


def _divided(blocks: list[Block], max_chars: int) -> Iterator[Block]:
    """The blocks, with those that are too long in several."""
    for block in blocks:
        start = 0
        while len(block.text) - start > max_chars:
            end = _end(block.text, start, max_chars)
            yield _piece(block, start, end)
            start = end + len(block.text[end:]) - len(block.text[end:].lstrip())
        yield _piece(block, start, len(block.text)) if start else block


def _end(text: str, start: int, max_chars: int) -> int:
    window = text[start : start + max_chars]
    sentences = [match.end() for match in SENTENCE.finditer(window)]
    if sentences and sentences[-1] > max_chars / 4:
        at = sentences[-1]
    else:
        at = window.rfind(" ") if window.rfind(" ") > max_chars / 4 else max_chars
    return start + len(text[start : start + at].rstrip())


def _piece(block: Block, start: int, end: int) -> Block:
    lines = lines_between(block.text, block.lines, start, end)
    pages = sorted({line[2] for line in lines}) or block.pages
    return Block(block.text[start:end], block.kind, block.number, block.part, pages, lines)


def _text(group: list[Block], content: Content) -> Cut:
    lines: list[PageLine] = []
    text = ""
    before = ""
    for block in group:
        # To spaCy a line end is a token, which pipelines that were trained on single lines don't know.
        listed = {before, block.kind} & {"item", "row"}
        text += ("\n" if listed else " ") if text else ""
        lines += [[line[0] + len(text), line[1] + len(text), *line[2:]] for line in block.lines]
        text += block.text
        before = block.kind
    meta: dict[str, Any] = {"part": group[0].part} if group[0].part else {}
    pages = sorted({page for block in group for page in block.pages})
    if pages:
        meta["pages"] = {str(page): list(content.sizes.get(page, ())) for page in pages}
    else:
        meta["paragraphs"] = [group[0].number, group[-1].number]
    if lines:
        meta["lines"] = lines
    return Cut(text, meta)

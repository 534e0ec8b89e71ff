"""Read plain text: paragraphs between empty lines."""

import re

from ie.data.documents.blocks import Content, decode, note_encoding

# Lines of about this length were wrapped by a program, such as one that writes mails.
WRAPPED = 50
QUOTE = re.compile(r"^(?:> ?)+", re.MULTILINE)


def read(data: bytes) -> Content:
    """The paragraphs of a text file."""
    content = Content()
    text, others = decode(data)
    note_encoding(content, others)
    add_paragraphs(content, text)
    return content


def add_paragraphs(content: Content, text: str) -> None:
    """Add the paragraphs of a text; wrapped lines are joined, others are paragraphs of their own."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    for paragraph in re.split(r"\n\s*\n", QUOTE.sub("", lines)):
        own = [line for line in paragraph.split("\n") if line.strip()]
        if len(own) > 1 and min(len(line) for line in own[:-1]) >= WRAPPED:
            content.add(" ".join(own))
        else:
            for line in own:
                content.add(line)

"""The annotation guidelines for the side panel: safe HTML in blocks, each with the labels that it names."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from ie.core.errors import UserError


@dataclass(frozen=True)
class GuidelinesPanel:
    """Blocks of HTML, each with the labels it names, and the version: the start of the file's SHA-256."""

    version: str
    blocks: tuple[tuple[str, tuple[str, ...]], ...]

    def about(self, labels: Sequence[str]) -> list[str]:
        """The blocks that name one of the labels."""
        return [html for html, named in self.blocks if set(named) & set(labels)]


def read_guidelines(path: Path, labels: Sequence[str]) -> GuidelinesPanel:
    """Read a Markdown file; HTML within it is shown as text, and links can't run anything.

    Raises:
        UserError: no such file, not UTF-8.
    """
    try:
        content = path.read_bytes()
        source = content.decode("utf-8")
    except OSError as error:
        raise UserError(
            f"{path}: can't be read ({error.strerror}); create it, with a rule for each label."
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start + 1}); save the file as UTF-8.") from None
    return GuidelinesPanel(hashlib.sha256(content).hexdigest()[:12], tuple(_blocks(source, labels)))


def _blocks(source: str, labels: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Headings, paragraphs and the items of outer lists, one by one."""
    markdown = MarkdownIt("commonmark", {"html": False})
    blocks = []
    for tokens, before, after in _parts(markdown.parse(source)):
        html = before + markdown.renderer.render(tokens, markdown.options, {}) + after
        # The parser may split a label with an underscore into several tokens of text.
        words = " ".join(token.content for token in tokens if token.type == "inline")
        named = [label for label in labels if re.search(rf"(?<!\w){re.escape(label)}s?(?!\w)", words)]
        blocks.append((html, tuple(named)))
    return blocks


def _parts(tokens: list[Token]) -> list[tuple[list[Token], str, str]]:
    """Tokens of each block, and the tags to put around it."""
    parts: list[tuple[list[Token], str, str]] = []
    current: list[Token] = []
    depth, start, tag = 0, 1, ""
    for token in tokens:
        if depth == 0 and token.type in ("bullet_list_open", "ordered_list_open"):
            tag, start = token.tag, int(token.attrs.get("start", 1))
            continue
        if depth == 0 and token.type in ("bullet_list_close", "ordered_list_close"):
            tag = ""
            continue
        current.append(token)
        depth += token.nesting
        if depth == 0:
            around = (
                (f'<{tag} start="{start}">' if tag == "ol" else f"<{tag}>", f"</{tag}>") if tag else ("", "")
            )
            parts.append((current, *around))
            current, start = [], start + 1
    return parts

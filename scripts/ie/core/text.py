"""Short strings: lists in options, messages of other libraries, counts."""

import textwrap
from collections.abc import Sequence

from ie.core.errors import UserError


def names_in(text: str) -> list[str]:
    """The names in an option such as `"a, b"`, in order; none for an empty one."""
    return [name.strip() for name in text.split(",") if name.strip()]


def names_among(known: Sequence[str], option: str, text: str) -> list[str]:
    """The names in an option, each of which must be a known one."""
    names = names_in(text)
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"{option} {unknown[0]!r}: there are {', '.join(known)}.")
    return names


def one_line(message: object, most: int | None = None) -> str:
    """A message of another library on one line, cut off after `most` characters."""
    return " ".join(str(message).split())[:most]


def wrapped(text: str, indent: str = "", width: int = 80) -> str:
    """A sentence on lines that fit a terminal; the first one isn't indented."""
    return textwrap.fill(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def counted(n: int, noun: str = "example") -> str:
    """`1 example`, `1,200 examples`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"

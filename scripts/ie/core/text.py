"""Short strings: lists in options, messages of other libraries, counts; tables for the terminal."""

import hashlib
import re
import textwrap
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from ie.core.errors import UserError

TERMINAL_WIDTH = 80
UNBROKEN = 24
GAPS = ("   ", "  ")  # between the columns of a table, and of one that is too wide
KEPT = {" ±": "\0±", " %": "\0%"}  # no line ends here: the \0 becomes a space again


# Scripts without spaces between words: Thai, Lao, Burmese, Khmer, kana, Han.
UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]"
)

# Arabic vowel signs, and the stroke that lengthens words: most texts and answers leave them out.
VOWEL_SIGNS = frozenset("\u0640\u0670" + "".join(map(chr, range(0x064B, 0x0653))))


def count_words(text: str) -> int:
    """Words between whitespace; in scripts without spaces two characters count as a word, as in Chinese."""
    characters = len(UNSPACED.findall(text))
    return (characters + 1) // 2 + len(UNSPACED.sub(" ", text).split())


def text_hash(text: str) -> str:
    """The first 16 hex digits of a text's SHA-256: names it without repeating it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


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


def wrapped(text: str, indent: str = "", width: int = TERMINAL_WIDTH) -> str:
    """A sentence on lines that fit a terminal; the first one isn't indented."""
    return textwrap.fill(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def joined(parts: Iterable[str], conjunction: str = "and") -> str:
    """`a, b and c`."""
    *most, last = parts
    return f"{', '.join(most)} {conjunction} {last}" if most else last


def counted(n: int, noun: str = "example") -> str:
    """`1 example`, `1,200 examples`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def print_table(rows: Iterable[Sequence[object] | str], header: Sequence[str] = (), aligns: str = "") -> None:
    """Print the table between two empty lines."""
    print(f"\n{text_table(rows, header, aligns)}\n")


def text_table(
    rows: Iterable[Sequence[object] | str],
    header: Sequence[str] = (),
    aligns: str = "",
    width: int = TERMINAL_WIDTH,
) -> str:
    """Rows as a table that fits a terminal: cells of the widest columns are continued on the next lines.

    Args:
        rows: cells; or a string, which stands across all columns.
        aligns: "l" or "r" for each column; all "l" without it.
        width: words of up to UNBROKEN characters are broken only where the columns would exceed it otherwise.
    """
    rows = [row if isinstance(row, str) else [_unbroken(str(cell)) for cell in row] for row in rows]
    cells = [[_unbroken(name) for name in header], *rows] if header else rows
    columns = list(zip(*(row for row in cells if not isinstance(row, str)), strict=True))
    widths = [max(map(len, column)) for column in columns]
    longest_words = [min(max(map(len, " ".join(column).split()), default=1), UNBROKEN) for column in columns]
    gap = GAPS[sum(widths) + len(GAPS[0]) * (len(widths) - 1) > width]
    for least in (longest_words, [1] * len(columns)):
        while sum(widths) + len(gap) * (len(widths) - 1) > width:
            reducible = [i for i, size in enumerate(widths) if size > least[i]]
            if not reducible:
                break
            widths[max(reducible, key=widths.__getitem__)] -= 1
    lines = [_row_lines(row, widths, aligns, gap) for row in cells]
    if header:
        lines.insert(1, [gap.join("-" * size for size in widths)])
    return "\n".join(line for row in lines for line in row).replace("\0", " ")


def _unbroken(cell: str) -> str:
    for text, kept in KEPT.items():
        cell = cell.replace(text, kept)
    return cell


def _row_lines(row: Sequence[str] | str, widths: Sequence[int], aligns: str, gap: str) -> list[str]:
    """The lines of one row, each cell wrapped to the width of its column."""
    if isinstance(row, str):
        return wrapped(row, "    ").split("\n")
    continued = [
        [cell] if len(cell) <= size else textwrap.wrap(cell, size, break_on_hyphens=False)
        for cell, size in zip(row, widths, strict=True)
    ]
    return [
        gap.join(
            cell.rjust(size) if align == "r" else cell.ljust(size)
            for cell, size, align in zip(line, widths, aligns or "l" * len(widths), strict=True)
        ).rstrip()
        for line in zip_longest(*continued, fillvalue="")
    ]

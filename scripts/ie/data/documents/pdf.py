"""Read PDF with pypdfium2: characters become words, which `layout` puts in order; pictures."""

import ctypes
import io
from collections.abc import Iterator
from typing import Any

import pypdfium2
from pypdfium2 import raw

from ie.data.documents import layout, paragraphs
from ie.data.documents.blocks import LIGATURES, WORD, Content, Limits, UnreadableDocument
from ie.data.documents.layout import Word

# How pypdfium2 names what went wrong.
PASSWORD = "Incorrect password"
MAX_CHARACTERS = 200_000  # on one page
HYPHEN = 0x02  # what pdfium gives for a hyphen at the end of a line
SOFT_HYPHEN = 0xAD
UNUSED = (SOFT_HYPHEN, 0x7F, 0xFEFF, 0xFFFE, 0xFFFF)
# A wider gap than this, in units of the font size, ends a word where the file has no space.
LETTER_GAP = 0.25
# Share of characters without a meaning from which on a text layer is unusable.
UNDECODED = 0.3
NO_TEXT_LAYER = "no text layer (a scan?); run text recognition (OCR) on it first"
PICTURE_WIDTH = 1400  # pixels
MAX_PICTURE_HEIGHT = 4000


def read(data: bytes, limits: Limits) -> Content:
    """The blocks of a file in reading order."""
    document = _open(data)
    try:
        n_pages = len(document)
        if n_pages > limits.max_pages:
            raise UnreadableDocument(
                f"has {n_pages:,} pages, more than the {limits.max_pages:,} of max_pages in configs/data.cfg"
            )
        pages, sizes, broken = [], {}, []
        for number in range(1, n_pages + 1):
            try:
                sizes[number], words = _page(document, number)
            except pypdfium2.PdfiumError:
                broken.append(number)
                sizes[number], words = (0.0, 0.0), []
            pages.append(layout.segments(words))
    finally:
        document.close()
    content = Content(sizes=sizes)
    unread = [number for number, parts in enumerate(pages, 1) if not parts and number not in broken]
    _check_text(pages, len(unread) + len(broken) == n_pages)
    heights = [sizes[number][1] for number in range(1, n_pages + 1)]
    kept = layout.running_lines(list(zip(heights, pages, strict=True)))
    content.blocks = paragraphs.blocks([layout.regions(parts) for parts in kept])
    for numbers, what in ((unread, "have no text layer"), (broken, "are damaged")):
        if numbers:
            content.notes.append(f"{_listed(numbers)} {what} and weren't read")
    return content


def _open(data: bytes) -> pypdfium2.PdfDocument:
    try:
        return pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if PASSWORD in str(error):
            raise UnreadableDocument("is encrypted; save it without a password") from None
        raise UnreadableDocument("is a damaged PDF (its pages can't be found)") from None


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:10])) + (
        f" and {len(numbers) - 10} more" if len(numbers) > 10 else ""
    )
    return f"its pages {shown}"


def _check_text(pages: list[list[layout.Line]], empty: bool) -> None:
    if empty:
        raise UnreadableDocument(f"has {NO_TEXT_LAYER}")
    characters = [character for parts in pages for part in parts for character in part.text]
    bad = sum(character == "\ufffd" or "\ue000" <= character <= "\uf8ff" for character in characters)
    if bad > UNDECODED * len(characters):
        raise UnreadableDocument(
            "has a text layer that can't be decoded (its fonts don't say which characters they hold)"
        )


def _page(document: pypdfium2.PdfDocument, number: int) -> tuple[tuple[float, float], list[Word]]:
    """Width and height of a page as it is shown, and its words in the order of the file."""
    page = document[number - 1]
    try:
        size = page.get_width(), page.get_height()
        text = page.get_textpage()
        try:
            return (round(size[0], 1), round(size[1], 1)), list(_words(text, _Placing(page, *size)))
        finally:
            text.close()
    finally:
        page.close()


class _Placing:
    """From the coordinates of the file to points from the upper left corner of the page as it is shown."""

    def __init__(self, page: pypdfium2.PdfPage, width: float, height: float) -> None:
        scale = 100
        x, y = ctypes.c_int(), ctypes.c_int()

        def at(a: float, b: float) -> tuple[float, float]:
            raw.FPDF_PageToDevice(
                page,
                0,
                0,
                round(width * scale),
                round(height * scale),
                0,
                a,
                b,
                ctypes.byref(x),
                ctypes.byref(y),
            )
            return x.value / scale, y.value / scale

        self.x, self.y = at(0, 0)
        right, up = at(1000, 0), at(0, 1000)
        self.ax, self.ay = (right[0] - self.x) / 1000, (right[1] - self.y) / 1000
        self.bx, self.by = (up[0] - self.x) / 1000, (up[1] - self.y) / 1000

    def __call__(self, box: Any) -> tuple[float, float, float, float]:
        corners = [
            (self.x + self.ax * a + self.bx * b, self.y + self.ay * a + self.by * b)
            for a, b in ((box.left, box.bottom), (box.right, box.top))
        ]
        xs, ys = sorted(corner[0] for corner in corners), sorted(corner[1] for corner in corners)
        return xs[0], ys[0], xs[1], ys[1]


def _words(text: pypdfium2.PdfTextPage, placing: _Placing) -> Iterator[Word]:
    n = raw.FPDFText_CountChars(text)
    if n > MAX_CHARACTERS:
        raise UnreadableDocument(f"has a page with more than {MAX_CHARACTERS:,} characters")
    box = raw.FS_RECTF()
    word: Word | None = None
    glued = False
    pending = 0  # the first half of a surrogate pair
    for i in range(n):
        code = raw.FPDFText_GetUnicode(text, i)
        if code == SOFT_HYPHEN and _ends_line(text, i, n):
            code = HYPHEN
        hyphen = code == HYPHEN
        if 0xD800 <= code < 0xDC00:
            pending = code
            continue
        if 0xDC00 <= code < 0xE000:
            code, pending = (0x10000 + ((pending - 0xD800) << 10) + code - 0xDC00 if pending else 0xFFFD), 0
        character = "-" if hyphen else LIGATURES.get(code, chr(code) if 0 < code < 0x110000 else "")
        if not character.strip() or (code < 32 and not hyphen):
            if word:
                yield word
            word, glued = None, False
            continue
        if code in UNUSED or not raw.FPDFText_GetLooseCharBox(text, i, box):
            continue
        x0, y0, x1, y1 = placing(box)
        unspaced = len(WORD.findall(f"a{character}")) > 1
        if word and not _continues(word, x0, y0, x1, y1):
            yield word
            word, glued = None, False
        if word and (unspaced or glued):
            yield word
            word, glued = None, True
        if word is None:
            word = Word(character, x0, y0, x1, y1, _is_bold(text, i), glued, hyphen)
        else:
            word.text += character
            word.x0, word.y0 = min(word.x0, x0), min(word.y0, y0)
            word.x1, word.y1 = max(word.x1, x1), max(word.y1, y1)
            word.hyphen = hyphen
        glued = unspaced
    if word:
        yield word


def _ends_line(text: pypdfium2.PdfTextPage, i: int, n: int) -> bool:
    return i + 1 == n or raw.FPDFText_GetUnicode(text, i + 1) in (10, 13)


def _continues(word: Word, x0: float, y0: float, x1: float, y1: float) -> bool:
    """Whether a character stands right beside a word."""
    low = min(word.size, y1 - y0)
    if min(word.y1, y1) - max(word.y0, y0) < 0.5 * low:
        return False
    return max(x0 - word.x1, word.x0 - x1) < LETTER_GAP * max(word.size, y1 - y0)


_NAME = ctypes.create_string_buffer(256)


def _is_bold(text: pypdfium2.PdfTextPage, i: int) -> bool:
    flags = ctypes.c_int()
    length = raw.FPDFText_GetFontInfo(text, i, _NAME, 256, ctypes.byref(flags))
    name = _NAME.value.lower() if 0 < length <= 256 else b""
    return (
        b"bold" in name or b"black" in name or b"heavy" in name or raw.FPDFText_GetFontWeight(text, i) >= 600
    )


def picture(data: bytes, number: int) -> bytes:
    """A page as PNG."""
    document = _open(data)
    try:
        if not 1 <= number <= len(document):
            raise UnreadableDocument(f"has no page {number}")
        page = document[number - 1]
        width, height = page.get_width(), page.get_height()
        scale = min(PICTURE_WIDTH / max(width, 1), MAX_PICTURE_HEIGHT / max(height, 1))
        image = page.render(scale=scale).to_pil()
        file = io.BytesIO()
        image.save(file, "PNG")
        return file.getvalue()
    finally:
        document.close()


def text_in_box(data: bytes, number: int, box: tuple[float, float, float, float]) -> str:
    """The words whose middle is inside a box (left, top, right, bottom), to check places by."""
    document = _open(data)
    try:
        _, words = _page(document, number)
    finally:
        document.close()
    x0, y0, x1, y1 = box
    return " ".join(
        word.text
        for word in words
        if x0 <= (word.x0 + word.x1) / 2 <= x1 and y0 <= (word.y0 + word.y1) / 2 <= y1
    )

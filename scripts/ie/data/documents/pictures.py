"""Pages of PDF files as pictures, for the pages that show where a text stands."""

import base64
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ie.core.errors import RequestError
from ie.core.files import sha256_file
from ie.data.documents.blocks import Limits, UnreadableDocument
from ie.data.documents.places import boxes, place
from ie.data.documents.process import DocumentProcess

KEPT_BYTES = 30_000_000
SECONDS = 20.0


def document_view(text: str, meta: Mapping[str, Any], spans: Iterable[tuple[int, int]]) -> dict[str, Any]:
    """What a page needs to show where a text and its spans stand; {} for a text that is from no document.

    `pages` has the sizes of the pages of which there are pictures; `boxes` a list per span, of page, left,
    top, right and bottom.
    """
    where = place(meta)
    if not where:
        return {}
    if not meta.get("lines"):
        return {"place": where, "pages": {}, "boxes": []}
    return {
        "place": where,
        "pages": meta.get("pages", {}),
        "boxes": [boxes(text, meta, start, end) for start, end in spans],
    }


class PagePictures:
    """Makes pictures of pages when they are asked for, and keeps the last ones in memory."""

    def __init__(self) -> None:
        self._process = DocumentProcess(Limits(), SECONDS)
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, meta: Mapping[str, Any], page: str) -> bytes:
        """A page of the document that a text is from, as PNG.

        Raises:
            RequestError: the document is gone or has changed, or has no such page.
        """
        if not meta.get("lines") or page not in meta.get("pages", {}):
            raise RequestError("There is no picture of that page.", 404)
        file = Path(str(meta["file"]))
        try:
            digest = sha256_file(file)
        except OSError:
            raise RequestError(f"{file} isn't there any more, so its pages can't be shown.", 404) from None
        if digest[:16] != meta.get("sha256"):
            raise RequestError(f"{file} has changed since its texts were read; read it again.", 409)
        key = digest, int(page)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        try:
            picture = base64.b64decode(self._process.picture(file, int(page)))
        except UnreadableDocument as error:
            raise RequestError(f"{file} {error}.", 422) from None
        with self._lock:
            self._kept[key] = picture
            while len(self._kept) > 1 and sum(map(len, self._kept.values())) > KEPT_BYTES:
                self._kept.popitem(last=False)
        return picture

    def close(self) -> None:
        """End the process that makes them."""
        self._process.close()

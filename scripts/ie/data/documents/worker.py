"""A process that reads documents and makes pictures of pages, one request per line of its input.

Parsers of hostile or damaged files may crash, hang or fill the memory. Here that ends this process alone, and
its parent says so in a sentence. Answers are JSON, so nothing that a document does reaches the parent.
"""

import base64
import json
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from ie.data.documents.blocks import Limits, UnreadableDocument

MAX_MEMORY = 4_000_000_000  # bytes


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The blocks of a document, or the picture of a page; `fault` if there is none."""
    path, limits = Path(request["path"]), Limits(**request["limits"])
    try:
        if request["do"] == "picture":
            from ie.data.documents import pdf

            return {"picture": base64.b64encode(pdf.picture(path.read_bytes(), request["page"])).decode()}
        if request["reader"] == "docling":
            from ie.data.documents import docling

            return {"content": docling.read(path).to_json()}
        from ie.data.documents.reading import read_document

        return {"content": read_document(path, limits).to_json()}
    except UnreadableDocument as error:
        return {"fault": str(error)}
    except MemoryError:
        return {"fault": "needs too much memory"}
    except RecursionError:
        return {"fault": "is nested too deeply"}
    except Exception as error:  # whatever a parser raises on a file that it doesn't expect
        return {"fault": f"can't be read ({type(error).__name__}: {' '.join(str(error).split())[:200]})"}


def main() -> None:
    """Answer until the input ends."""
    # What libraries print must not get between the answers.
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    limited = False
    for line in sys.stdin:
        request = json.loads(line)
        if not limited and request.get("reader") != "docling":  # a neural model may need more
            with suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
            limited = True
        output.write(json.dumps(answer(request), ensure_ascii=True) + "\n")
        output.flush()


if __name__ == "__main__":
    main()

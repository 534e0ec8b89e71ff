"""The files of the demo, which `init` removes."""

from collections.abc import Iterator
from pathlib import Path

# MD5 of the demo's assets/reviewed.jsonl: annotations that may be replaced.
GOLD_MD5 = "e9dcaee921e5dd6b601309b730fdd51f"
# Tests and pages about the demo, its history of scores, and the lock files with hashes of its outputs.
PATHS = (
    "tests/demo",
    "docs/demo.md",
    "training/history.jsonl",
    "training/production.jsonl",
    "project.lock",
    "dvc.lock",
)
PICTURES = (".png", ".svg")


def paths() -> Iterator[Path]:
    """The demo's files and folders, below the current folder.

    They include the pictures in docs/ that none of the remaining pages shows.
    """
    removed = [path for name in PATHS if (path := Path(name)).exists()]
    yield from removed
    docs = Path("docs")
    pages = [page.read_text(encoding="utf-8") for page in docs.glob("*.md") if page not in removed]
    for path in sorted(docs.glob("*")):
        if path.suffix in PICTURES and not any(f"({path.name})" in text for text in pages):
            yield path

"""The text that the package and the service are tried on."""

from pathlib import Path

EXAMPLE = Path("assets/example.txt")
# Where a project has none of its own.
FALLBACK = "Hooli raises $5m to revolutionize search, led by ACME Ventures"


def read_example(path: Path = EXAMPLE) -> str:
    """The text of a file, in one line; a text about a company where there is no such file."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return " ".join(text.split()) or FALLBACK

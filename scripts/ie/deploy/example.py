"""The text on which the package and the service are tried."""

from pathlib import Path

EXAMPLE = Path("assets/example.txt")
# For projects without one.
FALLBACK = "Hooli raises $5m to revolutionize search, led by ACME Ventures"


def read_example(path: Path = EXAMPLE) -> str:
    """The text of a file, on one line; a text about a company if there is no such file."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return " ".join(text.split()) or FALLBACK

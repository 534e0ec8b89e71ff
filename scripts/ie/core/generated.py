"""Files that a command writes out of others, and that git keeps."""

from pathlib import Path

from wasabi import msg

from ie.core.errors import UserError
from ie.core.files import atomic_write


def keep(output: Path, text: str, *, sources: str, command: str, check: bool) -> None:
    """Write the file if it is out of date.

    Args:
        sources: what it is made of, as words of a sentence. command: of project.yml that makes it.
        check: fail instead of writing.

    Raises:
        UserError: it is out of date, with `check`; or it can't be written.
    """
    current = output.read_text(encoding="utf-8") if output.exists() else ""
    if text == current:
        msg.good(f"{output} is up to date")
    elif check:
        raise UserError(f"{output} no longer matches {sources}; run `weasel run {command}`.")
    else:
        with atomic_write(output) as file:
            file.write(text)
        msg.good(f"{output} is written anew; commit it with {sources}")

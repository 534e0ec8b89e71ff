"""Start-up of every command: options with typer, safe output, and errors in one sentence."""

import errno
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TextIO

import psutil
import srsly
import typer
from wasabi import msg

from ie.core.errors import UserError

RUNNERS = ("weasel", "dvc")
INTERRUPTED = (
    "interrupted; run the same command again: it continues from what it has stored, or starts again."
)
# As shells do: 128 + SIGINT.
INTERRUPTED_STATUS = 130
# Control characters, except line ends and tabs.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Those that commands print on purpose: colours, and the cursor movements of progress bars.
OURS = re.compile(r"(\x1b\[[0-9;]*m|\r|\x1b\[A)")


def run(main: Callable) -> None:
    """Run `main` as a typer command; a `UserError` becomes one sentence and exit status 1.

    So does Ctrl-C, with exit status 130; commands that know their progress handle it themselves.
    """
    # In a pipe or a CI log, this keeps our output in order with weasel's.
    sys.stdout.reconfigure(line_buffering=True)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(_interruptible(main))
    with _escaping():
        try:
            arguments, folder = runner_command()
            check_overrides(arguments, folder / "project.yml")
            app()
        except UserError as error:
            msg.fail(escaped(str(error)))
            sys.exit(1)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT):
                raise
            where = f"{error.filename}: " if error.filename else ""
            msg.fail(
                f"{where}{error.strerror}; free some space or change the permissions, then run it again."
            )
            sys.exit(1)


def escaped(text: str) -> str:
    r"""A text that is safe to print: control characters as in Python, such as \x1b, except lines and tabs."""
    return CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


@contextmanager
def _escaping() -> Iterator[None]:
    """Escape control characters, which texts, labels and names may contain, in all output."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Escaping(sys.stdout), _Escaping(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _Escaping:
    """A stream that escapes all control characters except `OURS`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text; returns the number of its characters."""
        # re.split returns the matches at the odd indices
        parts = OURS.split(text)
        self._stream.write("".join(part if i % 2 else escaped(part) for i, part in enumerate(parts)))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _interruptible(main: Callable) -> Callable:
    """`main` with a sentence on Ctrl-C, for which typer would only set an exit status."""

    @wraps(main)
    def interruptible(*args: Any, **options: Any) -> None:
        try:
            main(*args, **options)
        except KeyboardInterrupt:
            msg.fail(INTERRUPTED)
            sys.exit(INTERRUPTED_STATUS)

    return interruptible


def runner() -> psutil.Process | None:
    """The weasel or dvc process that started this one (the outermost), or None."""
    outermost = None
    for parent in psutil.Process().parents():
        try:
            names = {Path(part).stem for part in parent.cmdline()[:3]}
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
        if names & set(RUNNERS):
            outermost = parent
    return outermost


def runner_command() -> tuple[list[str], Path]:
    """The runner's command line, which alone shows a misspelt override, and its project's folder.

    The folder is the one in the command line, or else the one in which it was started.
    """
    process = runner()
    try:
        start, arguments = (Path(process.cwd()), process.cmdline()) if process else (Path(), [])
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return [], Path()
    folders = [start / argument for argument in arguments]
    return arguments, next((folder for folder in folders if (folder / "project.yml").is_file()), start)


def check_overrides(arguments: list[str], project: Path) -> None:
    """Refuse `--vars.x` that project.yml doesn't have: weasel itself ignores it silently."""
    overrides = [a[2:].split("=", 1)[0] for a in arguments if a.startswith("--vars.")]
    if not overrides or not project.exists():
        return
    known = srsly.read_yaml(project).get("vars", {})
    for name in overrides:
        # weasel replaces hyphens by underscores only in the form with "="
        if name.removeprefix("vars.").replace("-", "_") not in known:
            raise UserError(f"--{name} is no variable of {project}; it has: {', '.join(sorted(known))}.")


def confirm_change(*paths: Path, command: str, yes: bool) -> None:
    """Let the user agree to a change of files.

    Args:
        paths: the files; an error names the first.
        command: what makes the change without asking.
        yes: whether the user has agreed already.

    Raises:
        UserError: there is no terminal to ask in.
        Exit: the user doesn't agree.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError(
            f"{paths[0]}: stays as it is, as there is no terminal to ask in; to change it, run: {command}"
        )
    names = " and ".join(map(str, paths))
    if not typer.confirm(f"Change {names}?"):
        msg.info(f"{names} {'stays as it is' if len(paths) == 1 else 'stay as they are'}.")
        raise typer.Exit

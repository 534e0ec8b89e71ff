"""How every command starts and fails: typer for options, one sentence for a user's mistake."""

import errno
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import psutil
import srsly
import typer
from wasabi import msg

from ie.errors import UserError

RUNNERS = ("weasel", "dvc")
# True for every command: some keep answers or trainings, others begin anew. 128 + SIGINT, as shells say it.
INTERRUPTED = "interrupted; run the same command again: it goes on from what it keeps, or else begins anew."
INTERRUPTED_STATUS = 130


def run(main: Callable) -> None:
    """Run `main` as a typer command; turn a user's mistake into one sentence and exit status 1.

    Ctrl-C is a sentence too, with exit status 130: commands that know how far they were say it themselves.
    """
    # Weasel's output and ours interleave in a pipe or a CI log only if ours isn't held back.
    sys.stdout.reconfigure(line_buffering=True)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(_interruptible(main))
    try:
        check_overrides(runner_arguments(), Path("project.yml"))
        app()
    except UserError as error:
        msg.fail(str(error))
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT):
            raise
        where = f"{error.filename}: " if error.filename else ""
        msg.fail(f"{where}{error.strerror}; free some space or change the permissions, then run it again.")
        sys.exit(1)


def _interruptible(main: Callable) -> Callable:
    """`main` that says a sentence on Ctrl-C, of which typer makes a bare exit status."""

    @wraps(main)
    def interruptible(*given: Any, **options: Any) -> None:
        try:
            main(*given, **options)
        except KeyboardInterrupt:
            msg.fail(INTERRUPTED)
            sys.exit(INTERRUPTED_STATUS)

    return interruptible


def runner() -> psutil.Process | None:
    """The weasel or dvc process that started this one (the outermost), or None."""
    found = None
    for parent in psutil.Process().parents():
        try:
            names = {Path(part).stem for part in parent.cmdline()[:3]}
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
        if names & set(RUNNERS):
            found = parent
    return found


def runner_arguments() -> list[str]:
    """Command line of the runner: the only place where an override with a typo can be seen."""
    process = runner()
    return process.cmdline() if process else []


def check_overrides(arguments: list[str], project: Path) -> None:
    """Refuse `--vars.x` that project.yml doesn't have: weasel itself ignores it silently.

    Raises:
        UserError: naming the unknown variable and those that exist.
    """
    given = [a[2:].split("=", 1)[0] for a in arguments if a.startswith("--vars.")]
    if not given or not project.exists():
        return
    known = srsly.read_yaml(project).get("vars", {})
    for name in given:
        # weasel replaces hyphens by underscores only in the form with "="
        if name.removeprefix("vars.").replace("-", "_") not in known:
            raise UserError(f"--{name} is no variable of {project}; it has: {', '.join(sorted(known))}.")

"""Recording with wandb: offline unless the user is logged in, and without effect if it fails."""

import errno
import logging
import os
import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import psutil
import spacy
from requests.utils import get_netrc_auth
from spacy.language import Language
from wasabi import msg

from ie.core.cli import runner
from ie.core.text import one_line

FOLDER = ".wandb"
# The same name as in the training configs' WandbLogger.
PROJECT = "information-extraction"
SECRETS = ("key", "token", "secret", "password", "credential")
CONNECT_SECONDS = 3.0
MINIMUM_BYTES = 20_000_000

_warned = threading.Event()


def prepare(job: str | None = None, name: str | None = None, root: Path | None = None) -> bool:
    """Set wandb's environment variables that the user hasn't set; return whether anything is recorded.

    Runs are kept offline in the project's `.wandb` folder, unless the user is logged in (`WANDB_API_KEY` or
    a netrc entry) and wandb's host answers, or has set `WANDB_MODE`. Under pytest nothing is recorded.
    All commands of one `weasel run` or `dvc repro` share a group.

    Args:
        job, name: wandb's job type (the command) and the run's name.
        root: the project; default is the current folder.
    """
    mode = os.environ.get("WANDB_MODE") or _default_mode()
    os.environ["WANDB_MODE"] = mode
    if mode == "disabled" or _warned.is_set():
        return False
    folder = (root or Path.cwd()) / FOLDER
    for variable, value in {
        "WANDB_DIR": folder,
        "WANDB_DATA_DIR": folder / "data",
        "WANDB_CACHE_DIR": folder / "cache",
        "WANDB_CONFIG_DIR": folder / "config",
        "WANDB_ARTIFACT_DIR": folder / "artifacts",
        "WANDB_RUN_GROUP": group(),
        "WANDB_SILENT": "true",
        "WANDB_CONSOLE": "off",
        # Private: the host's name, paths, installed packages, code and the address of a git remote.
        "WANDB_DISABLE_CODE": "true",
        "WANDB_DISABLE_GIT": "true",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB__DISABLE_META": "true",
        "WANDB__DISABLE_STATS": "true",
        "WANDB__DISABLE_MACHINE_INFO": "true",
        "WANDB__SAVE_REQUIREMENTS": "false",
    }.items():
        os.environ.setdefault(variable, str(value))
    for variable, value in {"WANDB_JOB_TYPE": job, "WANDB_NAME": name}.items():
        if value:
            os.environ[variable] = value
    try:
        # wandb would silently use the system's temporary folder
        Path(os.environ["WANDB_DIR"]).mkdir(parents=True, exist_ok=True)
        # and would not report that its process can't write
        if shutil.disk_usage(os.environ["WANDB_DIR"]).free < MINIMUM_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        # if the disk is full later, each line of wandb's debug log would print a traceback
        logging.raiseExceptions = False
        import wandb  # noqa: F401
    except Exception as error:
        _warn(error)
        return False
    return True


def group() -> str:
    """One name for all commands of a workflow, from the process that runs them."""
    process = runner() or psutil.Process()
    started = datetime.fromtimestamp(process.create_time())
    return f"run-{started:%Y%m%d-%H%M%S}-{process.pid}"


class Tracker:
    """A wandb run, or nothing; its methods never raise."""

    def __init__(self, run: Any = None) -> None:
        self._run = run

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        """Record figures; nested dicts become dotted names."""
        self._try(lambda: self._run.log(visible(values), step=step))

    def summary(self, values: dict[str, Any]) -> None:
        """Record the figures of the run as a whole."""
        self._try(lambda: self._run.summary.update(visible(values)))

    def table(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Record a table."""
        self._try(lambda: self._run.log({name: _wandb().Table(list(columns), [list(row) for row in rows])}))

    def picture(self, name: str, path: Path) -> None:
        """Record a picture file (PNG, JPEG, SVG as HTML is not one)."""
        self._try(lambda: self._run.log({name: _wandb().Image(str(path))}))

    def _try(self, action: Callable[[], Any]) -> None:
        if self._run is None:
            return
        try:
            action()
        except Exception as error:
            self._run = None
            _warn(error)


@contextmanager
def run(job: str, *, config: dict[str, Any] | None = None, name: str | None = None) -> Iterator[Tracker]:
    """Record one command: `with tracking.run("evaluate", config={...}) as tracker: tracker.log({...})`.

    Args:
        job: the command's name.
        config: its options. Names of secrets are left out.
    """
    tracker = Tracker()
    if prepare(job, name or job):
        try:
            tracker = Tracker(
                _wandb().init(
                    project=os.environ.get("WANDB_PROJECT", PROJECT),
                    config=visible(config or {}),
                    reinit="finish_previous",
                )
            )
        except Exception as error:
            _warn(error)
    status = 0
    try:
        yield tracker
    except BaseException:
        status = 1
        raise
    finally:
        tracker._try(lambda: tracker._run.finish(exit_code=status))


def visible(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`values` by dotted name, without secrets."""
    flat = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= visible(value, f"{name}.")
        # exact words, as "tokens" and "keys" are common figures
        elif not set(re.split(r"[-._]", name.lower())) & set(SECRETS):
            flat[name] = str(value) if isinstance(value, Path) else value
    return flat


@spacy.registry.loggers("ie.Guarded.v1")
def create_guard(logger: Callable) -> Callable:
    """A training logger that stops after one warning if the one inside it fails."""

    def setup(nlp: Language, stdout: IO, stderr: IO) -> tuple[Callable, Callable]:
        guard, steps = Tracker(logger), []
        guard._try(lambda: steps.extend(logger(nlp, stdout, stderr)))
        return (lambda info: guard._try(lambda: steps[0](info))), (lambda: guard._try(lambda: steps[1]()))

    return setup


def _wandb() -> Any:
    import wandb

    return wandb


def _warn(error: Exception) -> None:
    if not _warned.is_set():
        _warned.set()
        reason = one_line(error, 200) or type(error).__name__
        msg.warn(f"wandb can't record this run ({reason}); the command goes on without it.")


def _default_mode() -> str:
    if "PYTEST_CURRENT_TEST" in os.environ:
        return "disabled"
    url = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    address = urlsplit(url)
    try:
        # as wandb itself looks for a login
        logged_in = os.environ.get("WANDB_API_KEY") or get_netrc_auth(url)
    except UnicodeDecodeError:
        logged_in = None
    if not logged_in:
        return "offline"
    if not _answers(address.hostname or "", address.port or (443 if address.scheme == "https" else 80)):
        msg.warn(f"{address.hostname} doesn't answer: this run is recorded offline, in {FOLDER}.")
        return "offline"
    return "online"


def _answers(host: str, port: int) -> bool:
    """Whether a connection opens within CONNECT_SECONDS; wandb itself would wait for minutes."""
    answered = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
            answered.set()
        except OSError:
            pass

    # a DNS look-up has no time limit, so it runs in a thread
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    return answered.is_set()

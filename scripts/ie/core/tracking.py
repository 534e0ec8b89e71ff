"""What wandb may record: nothing leaves this machine without a login, and no failure of it counts."""

import errno
import logging
import netrc
import os
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
from spacy.language import Language
from wasabi import msg

from ie.core.cli import runner
from ie.core.text import one_line

FOLDER = ".wandb"
# The same name stands in the training configs' WandbLogger.
PROJECT = "information-extraction"
SECRETS = ("key", "token", "secret", "password", "credential")
CONNECT_SECONDS = 3.0
MINIMUM_BYTES = 20_000_000

_warned = threading.Event()


def prepare(job: str | None = None, name: str | None = None, root: Path | None = None) -> bool:
    """Set wandb's environment variables, as far as the user hasn't; tell whether there is anything to record.

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
        # The host's name, paths, installed packages, code and a remote's address are nobody's business.
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
        # wandb would fall back to the system's temporary folder without a word
        Path(os.environ["WANDB_DIR"]).mkdir(parents=True, exist_ok=True)
        # nor would it say that its own process can't write what it was told
        if shutil.disk_usage(os.environ["WANDB_DIR"]).free < MINIMUM_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        # a full disk later on: without this, each line of wandb's debug log prints a traceback
        logging.raiseExceptions = False
        import wandb  # noqa: F401
    except Exception as error:
        _warn(error)
        return False
    return True


def group() -> str:
    """One name for all commands of a workflow run, from the process that runs them."""
    process = runner() or psutil.Process()
    started = datetime.fromtimestamp(process.create_time())
    return f"run-{started:%Y%m%d-%H%M%S}-{process.pid}"


class Tracker:
    """A wandb run, or nothing at all; no method of it ever raises."""

    def __init__(self, run: Any = None) -> None:
        self._run = run

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        """Record figures; nested dicts become dotted names."""
        self._try(lambda: self._run.log(visible(values), step=step))

    def summary(self, values: dict[str, Any]) -> None:
        """Record the figures that stand for the run as a whole."""
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
def run(
    job: str, *, config: dict[str, Any] | None = None, remove: Sequence[str] = (), name: str | None = None
) -> Iterator[Tracker]:
    """Record one command: `with tracking.run("evaluate", config={...}) as tracker: tracker.log({...})`.

    Args:
        job: the command's name.
        config: its options; paths should be listed in `remove`.
        remove: dotted names of `config`, or of sections of it, that stay private. Names that sound like
            a secret are left out anyway.
    """
    tracker = Tracker()
    if prepare(job, name or job):
        try:
            tracker = Tracker(
                _wandb().init(
                    project=os.environ.get("WANDB_PROJECT", PROJECT),
                    config=visible(config or {}, remove),
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


def visible(values: dict[str, Any], remove: Sequence[str] = ()) -> dict[str, Any]:
    """`values` by dotted name, without those in `remove` and without secrets."""
    flat = {}
    for name, value in _flatten(values):
        private = any(name == other or name.startswith(f"{other}.") for other in remove)
        # exact words, as "tokens" and "keys" are counted all the time
        words = name.lower().replace("-", "_").replace(".", "_").split("_")
        if not private and not set(words) & set(SECRETS):
            flat[name] = str(value) if isinstance(value, Path) else value
    return flat


@spacy.registry.loggers("ie.Guarded.v1")
def create_guard(logger: Callable) -> Callable:
    """A training logger that goes silent, after one warning, where the one inside it fails."""

    def setup(nlp: Language, stdout: IO, stderr: IO) -> tuple[Callable, Callable]:
        steps: list[Callable] = []
        try:
            steps.extend(logger(nlp, stdout, stderr))
        except Exception as error:
            _warn(error)

        def attempt(index: int, *arguments: Any) -> None:
            if not steps:
                return
            try:
                steps[index](*arguments)
            except Exception as error:
                steps.clear()
                _warn(error)

        return (lambda info: attempt(0, info)), (lambda: attempt(1))

    return setup


def _flatten(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


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
    address = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai"))
    if not _logged_in(address.hostname or ""):
        return "offline"
    if not _answers(address.hostname or "", address.port or (443 if address.scheme == "https" else 80)):
        msg.warn(f"{address.hostname} doesn't answer: this run is recorded offline, in {FOLDER}.")
        return "offline"
    return "online"


def _logged_in(host: str) -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    names = [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]
    for path in (Path(name).expanduser() for name in names):
        try:
            if path.is_file() and netrc.netrc(path).hosts.get(host):
                return True
        except (netrc.NetrcParseError, OSError, UnicodeDecodeError):
            continue
    return False


def _answers(host: str, port: int) -> bool:
    """Whether a connection opens within some seconds; wandb itself would wait for minutes."""
    answered = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
            answered.set()
        except OSError:
            pass

    # looking up a name can't be given a time limit, so leave it behind in a thread
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    return answered.is_set()

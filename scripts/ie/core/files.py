"""Files: atomic writing, JSON, text, and hashes of files, folders and code."""

import codecs
import fcntl
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, TypeVar

from ie.core.errors import UserError
from ie.core.text import one_line

Row = TypeVar("Row")
# Files of web pages, on which no result of a pipeline depends.
PAGES = (".css", ".html", ".j2", ".js", ".svg")


@contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[IO]:
    """Open a temporary file beside `path` and rename it over `path` on success.

    Text is UTF-8 with `\\n` line ends, so the same content has the same bytes on any system. On any exception
    `path` stays as it was.
    """
    path = Path(path)
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp creates private files; give this one the usual mode.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        # An OSError about another file comes from the body of the with statement.
        ours = (None, str(path), str(path.parent))
        if error.filename not in ours and not Path(error.filename).name.startswith(f".{path.name}."):
            raise
        raise UserError(
            f"{path}: can't be written ({error.strerror or error}); "
            "free some space or make the folder writable, then run the command again."
        ) from error
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


def json_text(value: Any, **options: Any) -> str:
    """`json.dumps` for all JSON of the project: Unicode isn't escaped, and NaN and Infinity are a ValueError.

    Args:
        options: of `json.dumps`.
    """
    return json.dumps(value, **{"ensure_ascii": False, **options, "allow_nan": False})


def finite(value: Any) -> Any:
    """The same lists, tuples and dicts with None in place of each NaN and infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def write_json(path: Path, value: Any, *, indent: int | None = 2) -> None:
    """Write a JSON file, all or nothing; NaN and infinity become null."""
    text = json_text(finite(value), indent=indent)
    with atomic_write(path) as file:
        file.write(text + "\n")


def write_files(folder: Path, contents: Mapping[str, Any]) -> None:
    """Write files of a folder by name, each all or nothing: bytes and text as they are, the rest as JSON."""
    for name, content in contents.items():
        if isinstance(content, bytes | str):
            with atomic_write(folder / name, "wb" if isinstance(content, bytes) else "w") as file:
                file.write(content)
        else:
            write_json(folder / name, content)


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Write a JSONL file, all or nothing; NaN and infinity become null."""
    with atomic_write(path) as file:
        file.writelines(json_text(finite(row)) + "\n" for row in rows)


def read_text(
    path: Path,
    missing: str = "create it or correct the path",
    undecodable: str = "save it as UTF-8",
) -> str:
    """A text file, without its byte order mark: UTF-8, or UTF-16 if a byte order mark says so.

    Args:
        missing: what to do if it isn't there. undecodable: if it is in another encoding.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if marked else "utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; {missing}.") from None
    except IsADirectoryError:
        raise UserError(f"{path}: this is a folder; name a file inside it.") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}:{line}: not {'UTF-16' if marked else 'UTF-8'} (byte {error.start + 1} of the file); "
            f"{undecodable}."
        ) from None
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}).") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(f"{path}:{line}: a NUL character; is the file UTF-16? Save it as UTF-8.")
    return text


def read_jsonl(
    path: Path, parse: Callable[[Any], Row], fault: str, missing: str = "create it or correct the path"
) -> list[Row]:
    """The lines of a JSONL file, parsed; empty lines are skipped.

    Args:
        parse: converts the JSON of a line; ValueError, KeyError, TypeError or AttributeError mean `fault`.
        fault: what is wrong with such a line, and what to do.
        missing: what to do if the file isn't there.
    """
    rows = []
    # not splitlines: a text may hold U+2028 and other line separators
    for number, line in enumerate(read_text(path, missing).split("\n"), start=1):
        if line.strip():
            try:
                rows.append(parse(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                reason = one_line(error, 200) if isinstance(error, ValueError) else ""
                raise UserError(f"{path}:{number}: {fault}{f' ({reason})' if reason else ''}.") from None
    return rows


def check_writable(path: Path) -> None:
    """Check, before the work starts, that a file can be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UserError(f"{path}: can't be written ({error.strerror}); make its folder writable.") from None
    if path.is_dir():
        raise UserError(f"{path}: this is a folder; name a file.")


@contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Hold the lock of a file; the system releases it when the process ends, however it ends.

    Args:
        busy: the message if another process holds it.
    """
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(busy) from None
        yield


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _update(
    total: Any, folder: Path, separator: str = "\0", prefix: str = "", skip: tuple[str, ...] = ()
) -> None:
    """Add the names and contents of a folder's files to a hash, without `__pycache__`."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in skip:
            name = f"{prefix}{path.relative_to(folder).as_posix()}"
            total.update(f"{name}{separator}{sha256_file(path)}\n".encode())


def hash_folder(folder: Path, separator: str = "\0") -> str:
    """SHA-256 over the names and contents of a folder's files.

    Args:
        separator: between name and content; databases store hashes with a space.
    """
    total = hashlib.sha256()
    _update(total, folder, separator)
    return total.hexdigest()


@cache
def hash_code(*packages: str) -> str:
    """SHA-256 over the files of packages and the packages inside them, without web pages (`PAGES`).

    Hashed once per process, which has loaded its code once as well.

    Args:
        packages: as they are imported, such as "components" and "ie.training.loop".
    """
    total = hashlib.sha256()
    for package in packages:
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError(f"no package is called {package}")
        (folder,) = map(Path, spec.submodule_search_locations)
        _update(total, folder, prefix=f"{package}/", skip=PAGES)
    return total.hexdigest()


def hash_path(path: Path) -> str:
    """SHA-256 of a file, or over the names and contents of a folder's files."""
    return hash_folder(path) if path.is_dir() else sha256_file(path)


@contextmanager
def published(output: Path) -> Iterator[Path]:
    """A new folder that replaces `output` at the end; on any exception the old one stays."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    except OSError as error:
        raise UserError(
            f"{output}: can't be written ({error.strerror}); make its folder writable."
        ) from error
    try:
        folder = temporary / "new"
        yield folder
        # The old one is moved, not removed first, so that it isn't lost if the process is killed here.
        if output.exists():
            output.rename(temporary / "old")
        folder.rename(output)
    except OSError as error:
        raise UserError(f"{output}: can't be written ({error.strerror}); make room or change it.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)

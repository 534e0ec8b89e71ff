"""What several tests need: running a command as the shell would, and finding the real data sets."""

import errno
import json
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest
import srsly
from spacy.language import Language

from ie.data.config import DataConfig
from ie.data.docs import docbin, to_doc
from ie.data.records import Record

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "tests" / "benchmarks" / "scripts"
BENCHMARK_COMMANDS = {path.stem for path in BENCHMARKS.glob("*.py")}


def scheme(
    *spans: str,
    relations: Iterable[str] = (),
    categories: Iterable[str] = (),
    definitions: Mapping[str, str] | None = None,
) -> str:
    """A config with these labels, and definitions of some, as commands read them from configs/llm.cfg."""
    kinds = {"spans": spans, "relations": [*relations], "categories": [*categories]}
    sections = [
        f'[components.{kind}]\nfactory = "llm"\n'
        f'[components.{kind}.task]\n@llm_tasks = "ie.{kind.title()}.v1"\nlabels = {json.dumps(labels)}\n'
        for kind, labels in kinds.items()
        if labels
    ]
    if definitions:
        sections.append("[components.spans.task.label_definitions]\n")
        sections += [f"{label} = {json.dumps(text)}\n" for label, text in definitions.items()]
    return "".join(['[nlp]\nlang = "en"\n[components]\n', *sections])


DATA_SETTINGS = DataConfig().model_dump()


def data_config(path: Path, **settings: object) -> Path:
    """Write a data.cfg: the defaults, with these settings instead."""
    lines = []
    for section, values in DATA_SETTINGS.items():
        lines.append(f"[{section}]")
        lines += [f"{name} = {json.dumps(settings.pop(name, value))}" for name, value in values.items()]
    assert not settings, f"no such data settings: {settings}"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


class Outcome:
    """How a command ended; `output` is its lines joined by spaces."""

    def __init__(self, status: int, output: str):
        self.status = status
        self.lines = output.splitlines()
        self.output = " ".join(output.split())


def run_command(
    name: str, options: Iterable[object], capsys: pytest.CaptureFixture, **settings: object
) -> Outcome:
    """Run scripts/NAME.py in this process; `settings` are those of its data.cfg.

    Options that are data settings (`--test-percent 30`) are taken for such, unless a data.cfg is named.
    """
    folder = BENCHMARKS if name in BENCHMARK_COMMANDS else ROOT / "scripts"
    script, words = folder / f"{name}.py", [*map(str, options)]
    known = {f"--{key.replace('_', '-')}": key for section in DATA_SETTINGS.values() for key in section}
    has_data = "data: options.Data" in script.read_text(encoding="utf-8")
    for option in [word for word in words if word in known and has_data and "--data" not in words]:
        at = words.index(option)
        value = words.pop(at + 1)
        settings[known[words.pop(at)]] = float(value) if value.replace(".", "", 1).isdigit() else value
    argv = sys.argv
    capsys.readouterr()
    with TemporaryDirectory() as own:
        if any(word.partition("=")[0] == "--data" for word in words):
            assert not settings, "settings belong into the file that --data names"
        elif has_data:
            words += ["--data", str(data_config(Path(own) / "data.cfg", **settings))]
        sys.argv = [name, *words]
        try:
            runpy.run_path(str(script), run_name="__main__")
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            sys.argv = argv
    told = capsys.readouterr()
    return Outcome(status, told.out + told.err)


def real_data(name: str) -> Path:
    """A file of the data sets beside the repository (or in $IE_DATA); skips the test if it isn't there."""
    path = Path(os.environ.get("IE_DATA", ROOT.parent / "shared" / "data")) / name
    if not path.exists():
        pytest.skip(f"{path} isn't here; set IE_DATA to the folder of the data sets")
    return path


def require(*packages: str) -> None:
    """Skip the test where a package of requirements/variants.txt isn't installed."""
    for name in packages:
        if find_spec(name) is None:
            pytest.skip(f"{name} isn't installed; pip install -r requirements/variants.txt")


def write_lines(path: Path, lines: Iterable[object]) -> Path:
    """A JSONL file; strings are written as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = (line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines)
    path.write_text("".join(row + "\n" for row in rows), encoding="utf-8")
    return path


def write_docbin(path: Path, records: Iterable[Record], nlp: Language) -> None:
    """A `.spacy` file of records."""
    docbin(to_doc(record, nlp) for record in records).to_disk(path)


def full_disk(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Let the disk be full when a file is brought to it for that time."""
    real, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", full)


@contextmanager
def crowd(port: int, sent: bytes, size: int = 1050) -> Iterator[None]:
    """So many connections that sent this and then no more."""
    with ExitStack() as stack:
        for _ in range(size):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
            with suppress(ConnectionError):  # of a server that has closed it again
                client.sendall(sent)
        yield


def stops_with_weasel(folder: Path, script: Path, options: Iterable[object], how: signal.Signals) -> None:
    """Start a server by `weasel run`, end weasel by a signal, and check that server and port are gone."""
    command = " ".join(["python", "-u", str(script), *(f"'{option}'" for option in options)])
    project = {"title": "a server", "commands": [{"name": "server", "help": "", "script": [command]}]}
    srsly.write_yaml(folder / "project.yml", project)
    weasel = subprocess.Popen(
        [sys.executable, "-m", "weasel", "run", "server", str(folder)],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    output, port, servers = "", 0, []
    try:
        for line in weasel.stdout:
            output += line
            if found := re.search(r"http://localhost:(\d+)/", line):
                port = int(found[1])
                break
        assert port, output
        servers = psutil.Process(weasel.pid).children(recursive=True)
        weasel.send_signal(how)
        assert weasel.wait(30) == -how
        _, alive = psutil.wait_procs(servers, timeout=30)
        assert alive == []
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", port))
        assert "Traceback" not in output + weasel.stdout.read()
    finally:
        for process in [weasel, *servers]:
            if psutil.pid_exists(process.pid):
                process.kill()
        weasel.wait()
        weasel.stdout.close()

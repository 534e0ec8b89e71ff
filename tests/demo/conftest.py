"""Clones of the repository to run as a user would."""

import json
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from benchmarks.retarget import copy_project, environment
from running import ROOT

Run = Callable[..., subprocess.CompletedProcess]


class Clone:
    """A clone in a folder of its own, with the working tree's changes laid over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        copy_project(ROOT, folder)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run a command in the clone with this Python's tools first on the path."""
        env = {**environment(), "WANDB_MODE": "offline"}
        done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, timeout=1200)
        if check and done.returncode:
            told = f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
            pytest.fail(f"{' '.join(command)} ended with {done.returncode}:\n{told}")
        return done

    def edit(self, name: str, change: Callable[[str], str]) -> int:
        """Change a file; returns how many lines it now has that it didn't have."""
        path = self.folder / name
        before = path.read_text(encoding="utf-8")
        after = change(before)
        assert after != before, f"{name} is as it was"
        path.write_text(after, encoding="utf-8")
        return len(set(after.splitlines()) - set(before.splitlines()))

    def keep(self, name: str, lines: int) -> None:
        """Keep the first lines of a file."""
        self.edit(name, lambda text: "".join(text.splitlines(keepends=True)[:lines]))

    def write(self, name: str, records: Iterable[dict]) -> None:
        """Write a JSONL file."""
        text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        (self.folder / name).write_text(text, encoding="utf-8")

    def read(self, name: str) -> dict:
        """Read a JSON file."""
        return json.loads((self.folder / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A fresh clone for the tests of one module."""
    return Clone(tmp_path_factory.mktemp("clone") / "project")

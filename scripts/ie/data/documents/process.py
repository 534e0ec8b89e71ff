"""The parent's side of `worker`: requests with a time limit, and a new process after one that ended."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from ie.data.documents.blocks import Content, Limits, UnreadableDocument

SCRIPTS = Path(__file__).parents[3]


class DocumentProcess:
    """A process that reads documents, started with the first request; for use from any thread."""

    def __init__(self, limits: Limits, seconds: float, reader: str = "own") -> None:
        self._limits, self._seconds, self._reader = limits, seconds, reader
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def read(self, path: Path) -> Content:
        """The blocks of a document.

        Raises:
            UnreadableDocument: there are none; the message completes a sentence that begins with the name.
        """
        return Content.from_json(
            self._ask({"do": "read", "path": str(path), "reader": self._reader})["content"]
        )

    def picture(self, path: Path, page: int) -> str:
        """A page of a PDF as PNG, in base 64."""
        request = {"do": "picture", "path": str(path), "page": page}
        return self._ask(request)["picture"]

    def close(self) -> None:
        """End the process."""
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> "DocumentProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            process = self._process = self._process or self._start()
            overdue = threading.Event()

            def end() -> None:
                overdue.set()
                process.kill()

            timer = threading.Timer(self._seconds, end)
            timer.start()
            try:
                process.stdin.write(json.dumps(request | {"limits": vars(self._limits)}) + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except (OSError, ValueError):
                line = ""
            finally:
                timer.cancel()
            if not line.endswith("\n"):
                self.close()
                raise UnreadableDocument(
                    f"took more than {self._seconds:g} seconds (seconds in configs/data.cfg)"
                    if overdue.is_set()
                    else "makes its parser crash, or needs too much memory"
                )
        result = json.loads(line)
        if "fault" in result:
            raise UnreadableDocument(result["fault"])
        return result

    @staticmethod
    def _start() -> subprocess.Popen[str]:
        path = os.pathsep.join(filter(None, [str(SCRIPTS), os.environ.get("PYTHONPATH", "")]))
        return subprocess.Popen(
            [sys.executable, "-B", "-m", "ie.data.documents.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            env=os.environ | {"PYTHONPATH": path},
        )

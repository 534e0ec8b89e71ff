"""A small pipeline with all components, and the service over it in a process of its own."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
from running import ROOT
from spacy.training import Example
from spacy.util import fix_random_seed

import components.linker
import components.money
import components.relations  # noqa: F401
from ie.records import blank

DEAL = "Hooli raises $5m to revolutionize search, led by ACME Ventures"
CONFIG = ROOT / "configs" / "serve.cfg"


def make_pipeline(folder: Path) -> Path:
    """Rules for the entities, so that what comes out is known; a classifier that learnt next to nothing."""
    nlp = blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    names = ("Hooli", "ACME Ventures", "Velto", "Wayne")
    number = [{"ORTH": "$"}, {"LIKE_NUM": True}, {"LOWER": "m"}]
    patterns = [{"label": "COMPANY", "pattern": name} for name in names]
    ruler.add_patterns([*patterns, {"label": "MONEY", "pattern": number}])
    nlp.add_pipe("textcat")
    nlp.add_pipe("relations", config={"threshold": 0.0})
    nlp.add_pipe("linker")
    nlp.add_pipe("money")
    fix_random_seed(0)
    with nlp.select_pipes(disable=["entity_ruler", "linker", "money"]):
        example = Example.from_dict(nlp.make_doc(DEAL), {"cats": {"FUNDING": 1.0, "OTHER": 0.0}})
        for doc in (example.reference, example.predicted):
            ruler(doc)
        example.reference._.relations = [
            {"head": 0, "child": 1, "label": "RAISED"},
            {"head": 2, "child": 0, "label": "INVESTOR"},
        ]
        nlp.initialize(lambda: [example])
    rows = [{"id": "5923214", "name": "Hooli", "aliases": []}]
    nlp.get_pipe("linker").initialize(rows=rows)
    nlp.get_pipe("money").initialize()
    nlp.to_disk(folder)
    return folder


def settings(folder: Path, **changes: float) -> Path:
    """The shipped settings with some values changed."""
    text = CONFIG.read_text(encoding="utf-8")
    for name, value in changes.items():
        text, n = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", text)
        assert n == 1, name
    path = folder / "serve.cfg"
    path.write_text(text, encoding="utf-8")
    return path


class Server:
    """The command; `url` is what it printed, `log` what it logged."""

    def __init__(self, model: object, folder: Path, *, port: int = 0, workers: int = 0, **changes: float):
        self._log = folder / "log"
        with open(self._log, "w") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-u", str(ROOT / "scripts" / "serve.py"), "--model", str(model)),
                    *("--settings", str(settings(folder, **changes)), "--workers", str(workers)),
                    *("--port", str(port)),
                ],
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout
        self.told = self.process.stdout.readline()
        found = re.search(r"http://localhost:(\d+)/", self.told)
        assert found, self.told + self._log.read_text()
        self.url, self.port = found[0].rstrip("/"), int(found[1])
        self.client = httpx2.Client(base_url=self.url, timeout=60)

    @property
    def log(self) -> list[dict]:
        """Its lines so far."""
        return [json.loads(line) for line in self._log.read_text("utf-8").splitlines()]

    def wait(self) -> "Server":
        """Until it is ready."""
        deadline = time.monotonic() + 120
        while self.client.get("/ready").status_code != 200:
            assert time.monotonic() < deadline
            assert self.process.poll() is None, self._log.read_text()
            time.sleep(0.05)
        return self

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Its exit status."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.process.stdout.close()

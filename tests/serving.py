"""A small pipeline with all components, and the service over it in a process of its own."""

import json
import re
from pathlib import Path

import httpx2
import psutil
from benchmarks import serve
from running import ROOT
from spacy.training import Example
from spacy.util import fix_random_seed

import components.linker
import components.money
import components.relations  # noqa: F401
from ie.data.records import blank

DEAL = "Hooli raises $5m to revolutionize search, led by ACME Ventures"
CONFIG = ROOT / "configs" / "serve.cfg"


def make_pipeline(folder: Path) -> Path:
    """Rules for the entities, so that what comes out is known; a classifier that learnt next to nothing."""
    nlp = blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    names = ("Hooli", "ACME Ventures", "Velto", "Wayne")
    number = [{"ORTH": "$"}, {"LIKE_NUM": True}, {"LOWER": {"IN": ["m", "million"]}}]
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


def settings(folder: Path, **changes: float | str) -> Path:
    """The shipped settings with some values changed."""
    text = CONFIG.read_text(encoding="utf-8")
    for name, value in changes.items():
        text, n = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", text)
        assert n == 1, name
    path = folder / "serve.cfg"
    path.write_text(text, encoding="utf-8")
    return path


class Server(serve.ServiceProcess):
    """The command with some settings changed, and a client for it."""

    def __init__(
        self,
        model: Path | str,
        folder: Path,
        *,
        port: int = 0,
        workers: int = 0,
        sentence: str = "",
        training: Path | str = "",
        name: str = "",
        version: str = "",
        corpus: Path | str = "corpus",
        **changes: float | str,
    ):
        given = settings(folder, **changes)
        example = folder / "example.txt"
        example.write_text(sentence, encoding="utf-8")
        more = {"example": example, "training": training, "name": name, "version": version}
        more["corpus"] = corpus
        super().__init__(str(model), given, folder, port=port, workers=workers, **more)
        self.client = httpx2.Client(base_url=self.url, timeout=60)

    @property
    def lines(self) -> list[dict]:
        """What it logged so far."""
        return [json.loads(line) for line in self.log.read_text("utf-8").splitlines()]

    def annotate(self, *texts: str) -> httpx2.Response:
        """One request."""
        return self.client.post("/annotate", json={"texts": texts})

    @property
    def workers(self) -> list[psutil.Process]:
        """Its processes with a pipeline."""
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]

    def stop(self) -> int:
        """Its exit status after SIGTERM."""
        self.client.close()
        return super().stop()

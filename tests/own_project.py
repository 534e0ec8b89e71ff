"""A project for a user's own texts, a reviewer who answers from gold, and a language model that does too."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import srsly
from llm_stub import Response, Stub, answer_body, prompt_of
from running import ROOT, write_lines

# What a user's clone has, without the demo's texts, tests and caches.
COPIED = ("project.yml", "configs", "scripts", "docs", "requirements.txt")
PROVIDER = """
[model]
@llm_models = "ie.OpenAI.v1"
model = "fake-1"
base_url = "{url}/v1"
context_length = 16384
max_retries = 0

[model.prices]

[prompt]
form = "joint"
answer = "json"
template = "configs/prompts/json.jinja"
max_tokens = 256
"""


class OwnProject:
    """A copy of the repository in a folder, set up by `init` for these texts."""

    def __init__(self, folder: Path, gold: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> None:
        """Args:
        gold: records with the annotation that the reviewer and the language model know.

        Attributes:
            set_up: what `init` printed.
        """
        self.folder, self.labels = folder, list(labels)
        self.gold = {record["text"]: record for record in gold}
        for name in COPIED:
            source = ROOT / name
            ignore = shutil.ignore_patterns("__pycache__")
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=ignore)
            else:
                shutil.copy2(source, folder / name)
        (folder / "assets").mkdir()
        for path in (ROOT / "assets").glob("*.t*"):  # legal_forms.txt, money.toml, example.txt
            shutil.copy2(path, folder / "assets")
        texts = write_lines(folder / "raw.jsonl", [{"text": text} for text in self.gold])
        self.set_up = self.weasel("init", init_texts=texts, init_labels=",".join(labels), init_name="own")

    def python(self, script: str, *options: object) -> subprocess.CompletedProcess[str]:
        """Run a script of the project."""
        return self._run([sys.executable, "-B", f"scripts/{script}.py", *map(str, options)])

    def weasel(self, command: str, *, status: int = 0, **variables: object) -> str:
        """Run a command or a workflow; its output with single blanks."""
        options = [f"--vars.{name}={value}" for name, value in variables.items()]
        done = self._run([sys.executable, "-m", "weasel", "run", command, ".", *options])
        output = " ".join((done.stdout + done.stderr).split())
        assert done.returncode == status, done.stdout + done.stderr
        return output

    def run_all(self, config: str = "crf", max_steps: int = 20) -> str:
        """The commands of the workflow `all`, without installing the package; their output."""
        output = []
        for command in srsly.read_yaml(self.folder / "project.yml")["workflows"]["all"]:
            if command == "package":
                shipped = [
                    "--model",
                    f"training/{config}/shipped/model-best",
                    "--scores",
                    f"training/{config}",
                ]
                done = self.python("package", "--name", "en_own", "--no-check", *shipped)
                assert done.returncode == 0, done.stdout + done.stderr
            elif command != "status":
                settings = {"provider": "fake", "max_steps": max_steps, "seeds": 1, "workers": 1}
                output.append(self.weasel(command, config=config, **settings))
        return " ".join(output)

    def _run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, env=environment)

    @contextmanager
    def language_model(self) -> Iterator[Stub]:
        """An endpoint that knows gold, as the provider `fake`."""

        def respond(path: str, request: dict) -> Response:
            prompt = prompt_of(request)
            text = re.findall(r"^Text: (.*)$", prompt, re.MULTILINE)[-1]
            spans = self.gold.get(text, {"spans": []})["spans"]
            keys = re.findall(r'"([^"]+)"', prompt.partition("Its keys are ")[2].partition(";")[0])
            answer = {
                key: [text[s["start"] : s["end"]] for s in spans if s["label"] == label]
                for key, label in zip(keys, self.labels, strict=True)
            }
            return Response(answer_body(path, json.dumps(answer, ensure_ascii=False)))

        with Stub(respond) as stub:
            path = self.folder / "configs/providers/fake.cfg"
            path.write_text(PROVIDER.format(url=stub.url), encoding="utf-8")
            yield stub

    @contextmanager
    def reviewer(self) -> Iterator["Reviewer"]:
        """The review page's server, and a reviewer who speaks to it as the page does."""
        process = subprocess.Popen(
            [sys.executable, "-u", "-B", "scripts/review.py", "--port", "0"],
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            output = ""
            for line in process.stdout or ():
                output += line
                if found := re.search(r"http://localhost:(\d+)/\?token=(\S+)", line):
                    break
            else:
                raise AssertionError(output)
            address = f"http://localhost:{found[1]}"
            with httpx2.Client(base_url=address, headers={"origin": address}) as client:
                client.get("/", params={"token": found[2]})
                yield Reviewer(client, self.gold)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            if process.stdout:
                process.stdout.close()


class Reviewer:
    """Answers questions of the page from gold."""

    def __init__(self, client: httpx2.Client, gold: Mapping[str, Mapping[str, Any]]) -> None:
        self.client, self.gold = client, gold

    def question(self) -> dict[str, Any]:
        """The next question, or that there is none."""
        return self.client.get("/api/next").json()

    def answer(self, item: Mapping[str, Any], answer: str = "accept") -> None:
        """Answer a question by gold."""
        pieces = item["pieces"]
        text = "".join(pieces)
        starts, ends, at = [], [], 0
        for number, piece in enumerate(pieces):
            if number % 2:
                starts.append(at)
                ends.append(at + len(piece))
            at += len(piece)
        spans = [
            (starts.index(span["start"]), ends.index(span["end"]) + 1, span["label"])
            for span in self.gold[text]["spans"]
            if span["label"] in item["unit"]["labels"] and span["start"] in starts and span["end"] in ends
        ]
        others = [
            (span["first"], span["end"], span["label"])
            for span in item["spans"]
            if span["label"] not in item["unit"]["labels"]
        ]
        given = {
            "entry": uuid4().hex,
            "annotator": item["annotator"],
            "text": item["text"],
            "unit": item["unit"]["name"],
            "base": item["base"],
            "answer": answer,
            "spans": sorted(spans + others),
            "seconds": 2.0,
        }
        done = self.client.post("/api/answer", json=given)
        assert done.status_code == 200, done.text

    def finish(self, texts: int, answer: str = "accept") -> list[str]:
        """Answer until so many texts are finished; the texts in the order in which they were finished."""
        asked: dict[str, set[str]] = {}
        finished: list[str] = []
        while len(finished) < texts:
            item = self.question()
            if item.get("done"):
                break
            key = item["text"]
            asked.setdefault(key, set()).add(item["unit"]["name"])
            self.answer(item, answer)
            if len(asked[key]) == item["place"]["units"] or answer != "accept":
                finished.append("".join(item["pieces"]))
        return finished

"""The review page as the real command serves it, and its keys, for tests in a browser."""

import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from running import ROOT, data_config, scheme, write_lines

SCHEME = scheme(
    *("COMPANY", "MONEY"),
    relations=["RAISED"],
    categories=["FUNDING", "OTHER"],
    definitions={"COMPANY": "names of businesses"},
)
SETTINGS = """
[review]
mode = "one label"
batch = 1
blind = []
independent = {independent}
[order]
first = ""
then = "file"
[order.begin]
train = 0
dev = 0
test = 0
[sources]
llm = "{folder}/llm.jsonl"
rules = "{folder}/rules.jsonl"
"""
GUIDELINES = "# How\n\n- **COMPANY**: names\n- MONEY: amounts <script>document.title = 'run'</script>\n"
DEAL = "Hooli raised about $5m from ACME Ventures."
EMOJI = "👩\u200d💻 Cafe\u0301 Verde 🇩🇪 raised €2m."
HEBREW = "חברת הולי גייסה מיליון דולר"
HOSTILE = "<img src=x onerror=\"document.title='run'\"> & <b>Hooli</b> raised $5m."
TEXTS = [DEAL, EMOJI, HEBREW, HOSTILE]


def span(text: str, part: str, label: str, **more: object) -> dict:
    start = text.index(part)
    return {"start": start, "end": start + len(part), "label": label, **more}


def make_project(folder: Path, independent: bool = True) -> Path:
    write_lines(folder / "texts.jsonl", [{"text": t, "meta": {"id": f"t{i}"}} for i, t in enumerate(TEXTS)])
    write_lines(folder / "reviewed.jsonl", [])
    spans = [
        span(DEAL, "Hooli", "COMPANY", alignment="exact"),
        span(DEAL, "about $5m", "MONEY", alignment="fuzzy"),
    ]
    write_lines(folder / "llm.jsonl", [{"text": DEAL, "spans": spans, "cats": {"FUNDING": 1}}])
    spans = [
        span(DEAL, "Hooli", "COMPANY", source="list"),
        span(DEAL, "$5m", "MONEY", source="pattern", score=0.9),
    ]
    write_lines(folder / "rules.jsonl", [{"text": DEAL, "spans": spans}])
    (folder / "llm.cfg").write_text(SCHEME, encoding="utf-8")
    settings = SETTINGS.format(folder=folder, independent=str(independent).lower())
    (folder / "review.cfg").write_text(settings, encoding="utf-8")
    (folder / "guidelines.md").write_text(GUIDELINES, encoding="utf-8")
    data_config(folder / "data.cfg")
    return folder


def options(folder: Path, port: int = 0) -> list[object]:
    return [
        *("--texts", folder / "texts.jsonl", "--reviewed", folder / "reviewed.jsonl"),
        *("--journal", folder / "log.jsonl", "--guidelines", folder / "guidelines.md"),
        *("--scheme", folder / "llm.cfg", "--settings", folder / "review.cfg"),
        *("--data", folder / "data.cfg", "--port", port),
    ]


class Server:
    """The command in a process of its own; `url` is what it printed."""

    def __init__(self, folder: Path, port: int = 0, *more: object) -> None:
        self.folder = folder
        arguments = map(str, [*options(folder, port), *more])
        self.process = subprocess.Popen(
            [sys.executable, "-u", ROOT / "scripts" / "review.py", *arguments],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.output = ""
        for line in self.process.stdout:
            self.output += line
            if found := re.search(r"http://localhost:(\d+)/\?token=\S+", line):
                self.url, self.port = found[0], int(found[1])
                return
        raise AssertionError(self.output)

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self.process.poll() is not None:
            return
        self.process.send_signal(how)
        self.process.wait(30)
        self.process.stdout.close()


def press(page: object, keys: Sequence[str] | str) -> None:
    for key in keys.split() if isinstance(keys, str) else keys:
        page.keyboard.press(key)


def accept(page: object, key: str = "a") -> None:
    """Give an answer and wait until the next question is there."""
    with page.expect_response(lambda response: "/api/answer" in response.url) as answered:
        page.keyboard.press(key)
    assert answered.value.ok, answered.value.text()
    page.locator("#accept:enabled:visible, #empty:visible").wait_for()

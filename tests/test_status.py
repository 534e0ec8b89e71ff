"""`status`, and what other commands say of the next step when weasel starts them."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import srsly
from running import ROOT, data_config, run_command, scheme, write_lines

TEXTS = [f"{buyer} buys {n} hats" for buyer in ("Velto", "Hooli", "Globex") for n in range(9)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """27 raw texts with a label scheme, and the template's commands."""
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    Path("configs/llm.cfg").write_text(scheme("BUYER"), encoding="utf-8")
    data_config(Path("configs/data.cfg"))
    Path("assets").mkdir()
    for name in ("assets/guidelines.md", "configs/review.cfg", "configs/crf.cfg", "project.yml"):
        Path(name).write_bytes((ROOT / name).read_bytes())
    write_lines(Path("assets/texts.jsonl"), [{"text": text} for text in TEXTS])
    Path("scripts").symlink_to(ROOT / "scripts")
    return tmp_path


def weasel(name: str, options: Iterable[str] = ()) -> subprocess.Popen:
    """A command of the project, in a process group of its own as in a terminal."""
    content = srsly.read_yaml("project.yml")
    content.pop("assets")  # checksums are of the template's files
    for command in content["commands"]:
        command["script"] = [" ".join([line, *options]) for line in command["script"]]
    srsly.write_yaml("project.yml", content)
    return subprocess.Popen(
        [sys.executable, "-m", "weasel", "run", name],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ
        | {"PYTHONUNBUFFERED": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )


def test_status_lists_the_commands_and_says_what_is_next(
    project: Path, capsys: pytest.CaptureFixture
) -> None:
    outcome = run_command("status", ["--data", "configs/data.cfg"], capsys)
    assert outcome.status == 0
    assert "Annotate review, suggest, agreement" in outcome.output
    assert "Status 27 texts, none reviewed Weakest" in outcome.output
    assert outcome.output.endswith("Next weasel run review: a dozen texts are enough to begin")


@pytest.mark.slow
def test_check_ends_with_the_next_step(project: Path) -> None:
    write_lines(Path("assets/reviewed.jsonl"), [])
    output, _ = weasel("check", ["--gaps warn --project '' --gazetteer-label ''"]).communicate(timeout=120)
    printed = output.partition("Running command")[2].split("\n", 1)[1]
    assert all(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) <= 80 for line in printed.split("\n")), printed
    *_, status, weakest, following = output.strip().split("\n")
    assert status == "Status   27 texts, none reviewed", output
    assert weakest.startswith("Weakest  no reviewed text")
    assert following.startswith("Next     weasel run review")


@pytest.mark.slow
def test_review_ends_with_the_next_step(project: Path) -> None:
    """Weasel kills it a quarter of a second after Ctrl-C: long enough to say this."""
    process = weasel("review", ["--port 0"])
    output = ""
    for line in process.stdout:
        output += line
        if found := re.search(r"http://localhost:\S+", line):
            address = found[0]
        if "Ctrl-C stops the server" in line:
            break
    with suppress(HTTPError):  # it is refused without a cookie; once it answers, it handles signals too
        urlopen(address, timeout=60).close()
    os.killpg(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert rest.strip().split("\n")[-3:] == [
        "Status   27 texts, none reviewed",
        "Weakest  no reviewed text: nothing can be trained or measured",
        "Next     weasel run review: a dozen texts are enough to begin",
    ], output + rest

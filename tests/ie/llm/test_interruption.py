"""Kill it whenever you like: nothing stored is lost or asked again."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_llm import FakeLLM, reply

from ie.llm.cache import AnswerCache

TEXTS, FEW = 1000, 200


@pytest.fixture
def server():
    with FakeLLM(latency=0.04) as fake:
        yield fake


@pytest.fixture
def worker(server, tmp_path, request):
    texts = getattr(request, "param", TEXTS)
    command = [sys.executable, Path(__file__).with_name("worker.py"), server.url, tmp_path / "a.sqlite"]
    process = subprocess.Popen(
        [*map(str, command), str(tmp_path / "out.json"), str(texts)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(tmp_path / "stderr").open("wb"),
        text=True,
    )

    def run(number: int = 0, seconds: float = 0, working: bool = False) -> int:
        """Let it work; signal it after some seconds, from its start or from its first request."""
        asked = len(server.requests)
        process.stdin.write("go\n")
        process.stdin.flush()
        child = int(process.stdout.readline())
        while number and working and len(server.requests) == asked:
            time.sleep(0.001)
        if number:
            time.sleep(seconds)
            os.kill(child, number)
        return int(process.stdout.readline())

    yield run
    process.stdin.close()
    assert process.wait(20) == 0


def stored_prompts(tmp_path) -> set[str]:
    """Prompts whose answers are in the store, by what the fake would have answered."""
    cache = AnswerCache(tmp_path / "a.sqlite")
    texts = {reply(f"text {i}"): f"text {i}" for i in range(TEXTS)}
    with cache._lock:
        return {texts[row[0]] for row in cache._open().execute("SELECT text FROM answers")}


def test_kill_9_at_50_random_moments(server, worker, tmp_path):
    moments = random.Random(20)
    statuses, repeated = [], []
    for kill in range(50):
        before, asked = stored_prompts(tmp_path), len(server.requests)
        # Every third while it starts, connects or opens the store, the others amid the work.
        working = kill % 3 > 0
        statuses.append(worker(signal.SIGKILL, moments.uniform(0, 0.3), working))
        repeated += [prompt for prompt in server.prompts[asked:] if prompt in before]
    before, asked = stored_prompts(tmp_path), len(server.requests)
    assert statuses == [-signal.SIGKILL] * 50
    assert 0 < len(before) < TEXTS, "the kills must fall into the work"
    assert not (tmp_path / "out.json").exists()

    assert worker() == 0
    repeated += [prompt for prompt in server.prompts[asked:] if prompt in before]
    assert repeated == []
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["answers"] == [reply(f"text {i}") for i in range(TEXTS)]
    assert (result["hits"], result["calls"]) == (len(before), TEXTS - len(before))
    assert AnswerCache(tmp_path / "a.sqlite").count() == TEXTS
    # A killed process can lose the few calls in flight, never more.
    assert len(server.requests) <= TEXTS + 50 * 5


@pytest.mark.parametrize("worker", [FEW], indirect=True)
def test_ctrl_c_finishes_what_is_in_flight_and_says_how_to_go_on(server, worker, tmp_path):
    assert worker(signal.SIGINT, 0.5, working=True) == 1
    message = (tmp_path / "out.error").read_text()
    assert message.startswith("Interrupted: ")
    assert "run the same command again" in message
    assert "a.sqlite" in message
    assert "Finishing the calls in flight" in (tmp_path / "stderr").read_text()
    stored = stored_prompts(tmp_path)
    assert 0 < len(stored) < FEW
    assert stored == set(server.prompts), "every call that was sent is stored"

    assert worker() == 0
    assert len(server.requests) == FEW
    assert json.loads((tmp_path / "out.json").read_text())["hits"] == len(stored)


def test_two_processes_share_one_store(server, tmp_path):
    command = [
        sys.executable,
        str(Path(__file__).with_name("worker.py")),
        server.url,
        str(tmp_path / "a.sqlite"),
    ]
    both = [
        subprocess.Popen(
            [*command, str(tmp_path / f"out{n}.json"), str(FEW)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for n in range(2)
    ]
    for process in both:
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in both:
        assert process.communicate(timeout=60)[0].split()[1] == b"0"
    expected = [reply(f"text {i}") for i in range(FEW)]
    assert [json.loads((tmp_path / f"out{n}.json").read_text())["answers"] for n in range(2)] == [
        expected
    ] * 2
    assert AnswerCache(tmp_path / "a.sqlite").count() == FEW

"""Figures of the review page, from the real command over a corpus that is made for it.

The stress test answers from several clients while the server is killed (SIGKILL) at random moments and
started again: every answer that was acknowledged must be in the journal once, every finished text in the gold
file once.
"""

import contextlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import psutil

from ie.core.errors import UserError
from ie.core.files import json_text
from ie.data.records import read_records

COMMAND = Path(__file__).parents[2] / "scripts" / "review.py"
STARTS = 5
LATENCIES = 300
GOLD = 1000
SYLLABLES = ("ka", "ro", "mi", "ten", "vel", "sor", "lu", "pan", "dri", "os")
SCHEME = """
[components]
[components.spans]
[components.spans.task]
@llm_tasks = "ie.Spans.v1"
labels = ["COMPANY", "MONEY"]
"""
SETTINGS = """
[review]
tasks = ["spans"]
[order]
first = "test"
until = 1000000
then = "uncertainty"
[sources]
llm = "llm.jsonl"
"""


def measure(*, texts: int, answers: int, clients: int, kills: int) -> dict[str, Any]:
    """All figures; seconds and milliseconds are of this machine as it was.

    Raises:
        UserError: an answer was lost or doubled: a bug.
    """
    with tempfile.TemporaryDirectory(prefix="review-") as folder:
        make_project(Path(folder), texts)
        server = ReviewServer(Path(folder))
        starts, work = [], []
        for _ in range(STARTS):
            starts.append(server.start())
            work.append(server.cpu())
            server.kill()
        server.start()
        client = SimulatedAnnotator(server, "one")
        at_once = [client.answer() for _ in range(LATENCIES)]
        server.settle()
        before = server.cpu()
        latencies = [client.answer() for _ in range(LATENCIES)]
        busy = server.cpu() - before
        server.kill()
        found: dict[str, Any] = {
            "texts": texts,
            "start_s": spread(starts, 2),
            "start_cpu_s": spread(work, 2),
            "answer_to_next_question_ms": spread([1000 * seconds for seconds in latencies], 1),
            "p95_ms": percentile(latencies),
            "while_files_are_checked_ms": spread([1000 * seconds for seconds in at_once], 1),
            "while_files_are_checked_p95_ms": percentile(at_once),
            "answer_cpu_ms": round(1000 * busy / LATENCIES, 1),
            "flush_ms": spread([1000 * flush(Path(folder)) for _ in range(50)], 1),
        }
        return found | stress(server, answers=answers, clients=clients, kills=kills)


def spread(values: Sequence[float], digits: int) -> str:
    """Median (lowest to highest)."""
    low, middle, high = (round(v, digits) for v in (min(values), median(values), max(values)))
    return f"{middle} ({low} to {high}, n={len(values)})"


def percentile(seconds: Sequence[float], share: float = 0.95) -> float:
    """Milliseconds that this share of the values keeps below."""
    return round(1000 * sorted(seconds)[int(share * len(seconds))], 1)


def flush(folder: Path) -> float:
    """Seconds that the disk takes for one line: what no server can be faster than."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"x" * 500)
        file.flush()
        begun = time.perf_counter()
        os.fsync(file.fileno())
        return time.perf_counter() - begun


def make_project(folder: Path, texts: int) -> None:
    """Texts of made-up words, with a suggestion for each, some of them reviewed."""
    rng = random.Random(0)
    words = ["".join(rng.choices(SYLLABLES, k=3)) for _ in range(5000)]
    with (
        open(folder / "texts.jsonl", "w", encoding="utf-8") as raw,
        open(folder / "llm.jsonl", "w", encoding="utf-8") as suggested,
        open(folder / "reviewed.jsonl", "w", encoding="utf-8") as gold,
    ):
        for i in range(texts):
            name = rng.choice(words).title()
            text = f"{name} raised ${i}m {' '.join(rng.choices(words, k=25))}."
            spans = [
                {
                    "start": 0,
                    "end": len(name),
                    "label": "COMPANY",
                    "alignment": rng.choice(("exact", "fuzzy")),
                }
            ]
            record = {"text": text, "meta": {"id": f"t{i}"}}
            raw.write(json_text(record) + "\n")
            suggested.write(json_text({"text": text, "spans": spans, "meta": record["meta"]}) + "\n")
            if i % max(1, texts // GOLD) == 0:
                gold.write(json_text(record | {"spans": spans[:1]}) + "\n")
    (folder / "llm.cfg").write_text(SCHEME, encoding="utf-8")
    (folder / "review.cfg").write_text(SETTINGS, encoding="utf-8")
    (folder / "guidelines.md").write_text("# Guidelines\n\n- **COMPANY**: names\n", encoding="utf-8")


class ReviewServer:
    """The command, which may be killed and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, 0
        self.secret = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> float:
        """Seconds from the start of the process to the first question."""
        begun = time.perf_counter()
        options = ["--texts", "texts.jsonl", "--reviewed", "reviewed.jsonl", "--journal", "log.jsonl"]
        options += ["--scheme", "llm.cfg", "--settings", "review.cfg", "--guidelines", "guidelines.md"]
        self._process = subprocess.Popen(
            [sys.executable, "-u", str(COMMAND), *options, "--port", str(self.port)],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        told = ""
        assert self._process.stdout
        for line in self._process.stdout:
            told += line
            if "?token=" in line:
                address, self.secret = line.split()[-1].split("?token=")
                self.port = int(address.rstrip("/").rpartition(":")[2])
                SimulatedAnnotator(self, "first").ask("GET", "/api/next?annotator=first")
                return time.perf_counter() - begun
        raise UserError(f"the review didn't start: {' '.join(told.split())}")

    def cpu(self) -> float:
        """Seconds of processor time it took so far: what a busy machine changes least."""
        assert self._process
        times = psutil.Process(self._process.pid).cpu_times()
        return times.user + times.system

    def settle(self) -> None:
        """Wait until the work in the background is done."""
        last, now = -1.0, self.cpu()
        while now - last > 0.02:
            time.sleep(1)
            last, now = now, self.cpu()

    def kill(self) -> None:
        """As a power failure does to a process."""
        assert self._process
        assert self._process.stdout
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()


class SimulatedAnnotator:
    """An annotator who accepts what is shown, and tries again where there is no answer."""

    def __init__(self, server: ReviewServer, name: str) -> None:
        self._server, self._name = server, name
        self._connection: http.client.HTTPConnection | None = None
        self._item: dict[str, Any] = {}
        self.acknowledged: list[str] = []
        self.refused = 0

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Status and content."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection("localhost", self._server.port, timeout=30)
        headers = {
            "Cookie": f"review-{self._server.port}={self._server.secret}",
            "Origin": f"http://localhost:{self._server.port}",
            "Content-Type": "application/json",
        }
        try:
            self._connection.request(method, path, json_text(body) if body else None, headers)
            response = self._connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            self._connection.close()
            self._connection = None
            raise

    def answer(self) -> float:
        """Answer one question; seconds of the request that brought the answer and the next question."""
        if not self._item:
            self._item = self._patiently("GET", f"/api/next?annotator={self._name}")[1]
        item = self._item
        body = {
            "entry": uuid4().hex,
            "annotator": self._name,
            "text": item["text"],
            "unit": item["unit"]["name"],
            "base": item["base"],
            "answer": "accept",
            "spans": [[s["first"], s["end"], s["label"]] for s in item["spans"]],
            "seconds": 1.0,
        }
        begun = time.perf_counter()
        status, found = self._patiently("POST", "/api/answer", body)
        taken = time.perf_counter() - begun
        if status == 200:
            self.acknowledged.append(body["entry"])
            self._item = found
        else:  # somebody else had the text after a restart
            self.refused += 1
            self._item = {}
        return taken

    def _patiently(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                return self.ask(method, path, body)
            if time.monotonic() > deadline:
                raise UserError("the review didn't answer for two minutes")
            time.sleep(0.02)


def stress(server: ReviewServer, *, answers: int, clients: int, kills: int) -> dict[str, Any]:
    """Many answers at once, under kills; what was lost and what is there twice."""
    server.start()
    before = len((server.folder / "log.jsonl").read_text("utf-8").splitlines())
    people = [SimulatedAnnotator(server, f"c{i}") for i in range(clients)]
    faults: list[BaseException] = []

    def work(client: SimulatedAnnotator) -> None:
        try:
            while len(client.acknowledged) < answers // clients:
                client.answer()
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(client,), daemon=True) for client in people]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    rng = random.Random(1)
    down = 0.0
    for k in range(kills):
        # each after its share of the answers, at a moment that depends on nothing
        while sum(len(c.acknowledged) for c in people) < (k + rng.random()) * answers / kills and not faults:
            time.sleep(rng.random() * 0.01)
        if not any(thread.is_alive() for thread in threads):
            break
        killed = time.perf_counter()
        server.kill()
        server.start()
        down += time.perf_counter() - killed
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun - down
    server.kill()
    server.start()  # repairs what the last kill left
    server.kill()
    if faults:
        raise faults[0]
    entries = [json.loads(line) for line in (server.folder / "log.jsonl").read_text("utf-8").splitlines()]
    times = Counter(entry["entry"] for entry in entries)
    given = [entry for client in people for entry in client.acknowledged]
    lost = sum(entry not in times for entry in given)
    doubled = sum(n > 1 for n in times.values())
    gold = Counter(record.text for record in read_records(server.folder / "reviewed.jsonl"))
    finished = {entry["record"]["text"] for entry in entries if "record" in entry}
    found = {
        "stress_answers": len(given),
        "stress_clients": clients,
        "stress_kills": kills,
        "stress_answers_per_s": round(len(given) / seconds, 1),
        "refused_as_answered_by_others": sum(client.refused for client in people),
        "answers_lost": lost,
        "answers_doubled": doubled,
        "finished_texts": len(finished),
        "finished_texts_not_in_gold": len(finished - set(gold)),
        "texts_twice_in_gold": sum(n > 1 for n in gold.values()),
        "answers_unacknowledged_but_kept": len(entries) - before - len(given),
    }
    wrong = ("answers_lost", "answers_doubled", "finished_texts_not_in_gold", "texts_twice_in_gold")
    if any(found[name] for name in wrong):
        raise UserError(f"answers went wrong: {', '.join(f'{name} {found[name]}' for name in wrong)}")
    return found

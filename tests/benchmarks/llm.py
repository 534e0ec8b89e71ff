"""What the layer costs and gains, measured in one run, so that only ratios are compared.

The endpoint is a stub in a process of its own, which answers every prompt after a fixed latency.
"""

import asyncio
import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from unittest import mock

import psutil
from fake_llm import spacy_llm_pipeline
from spacy.language import Language
from spacy_llm.models.rest.openai.model import OpenAI
from spacy_llm.registry import registry

from ie.llm import gguf, models, streaming
from ie.llm.cache import AnswerCache
from ie.llm.embedded import EmbeddedProvider, usable_cores
from ie.llm.executor import Model, Provider
from ie.llm.types import Answer, Prompt

ANSWER = "1. Hooli | True | COMPANY | is the name of a company"


@dataclass
class Throughput:
    """Documents a second of one way to ask the stub, beside what its latency allows at most."""

    name: str
    concurrency: int
    documents: int
    seconds: float
    ideal: float

    @property
    def rate(self) -> float:
        """Documents per second."""
        return self.documents / self.seconds

    def as_dict(self) -> dict:
        """For JSON, rounded."""
        found = {**asdict(self), "rate": self.rate, "of_ideal": self.rate / self.ideal}
        return {k: round(v, 3) if isinstance(v, float) else v for k, v in found.items()}


class _PlainOpenAI(OpenAI):
    """spacy-llm's own REST model; only its look-up of the model's name at api.openai.com is left out."""

    @property
    def credentials(self) -> dict[str, str]:
        return {"Authorization": "Bearer none"}

    def _verify_auth(self) -> None:
        pass


@registry.llm_models("ie.PlainSpacyLLM.v1")
def plain_model(model: str, base_url: str) -> models.Callable:
    """spacy-llm's OpenAI model, pointed at another address."""
    return _PlainOpenAI(
        name=model,
        endpoint=f"{base_url}/chat/completions",
        config={"temperature": 0.0},
        strict=True,
        max_tries=5,
        interval=1.0,
        max_request_time=30.0,
        context_length=8192,
    )


@contextmanager
def stub_process(latency: float, answer: str = ANSWER) -> Iterator[str]:
    """Address of a stub in another process, up to `/v1`."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).parents[1] / "llm_stub.py"), str(latency), answer],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process.stdout.readline().strip() + "/v1"
    finally:
        process.stdin.close()
        process.wait(10)


def texts(n: int, start: int = 0) -> Iterator[str]:
    """Sentences that are all different but use few words, so that a vocabulary stays small."""
    names = (
        "Hooli",
        "Globex",
        "Initech",
        "Umbrella",
        "Stark",
        "Wayne",
        "Soylent",
        "Tyrell",
        "Cyberdyne",
        "Wonka",
    )
    for i in range(start, start + n):
        digits = [int(digit) for digit in f"{i:08d}"]
        yield " ".join(names[digit] for digit in digits) + f" raised ${digits[-1]} million on Monday ."


def pipeline(name: str, url: str, cache: Path | None = None, concurrency: int = 1) -> Language:
    """spacy-llm's NER task with one or the other model behind it."""
    model = {"@llm_models": name, "model": "stub", "base_url": url}
    if name == "ie.OpenAI.v1":
        model |= {"concurrency": concurrency, "context_length": 8192, "cache": str(cache or "")}
    return spacy_llm_pipeline(model, llm={"@llm_tasks": "spacy.NER.v3", "labels": ["COMPANY", "MONEY"]})


def throughput(concurrencies: list[int], latency: float, rounds: int) -> list[Throughput]:
    """Plain spacy-llm, then ours at each concurrency; `rounds` times as many texts as run at once."""
    results = []
    with stub_process(latency) as url, tempfile.TemporaryDirectory() as folder:
        for concurrency in (0, *concurrencies):
            if concurrency:
                cache = Path(folder) / f"{concurrency}.sqlite"
                nlp = pipeline("ie.OpenAI.v1", url, cache, concurrency)
            else:
                nlp = pipeline("ie.PlainSpacyLLM.v1", url)
            at_once = concurrency or 1
            n = at_once * rounds
            nlp("A first text opens the connection.")
            started = time.perf_counter()
            docs = map(nlp.make_doc, texts(n))
            for _ in streaming.pipe(nlp, docs) if concurrency else nlp.pipe(docs, batch_size=n):
                pass
            seconds = time.perf_counter() - started
            name = "ours" if concurrency else "plain spacy-llm"
            results.append(Throughput(name, at_once, n, seconds, at_once / latency))
    return results


class _Echo(Provider):
    """No endpoint at all."""

    name = "echo"

    def __init__(self) -> None:
        self.identity = {"model": "echo"}

    async def ask(self, prompt: Prompt) -> Answer:
        return Answer("yes", prompt_tokens=1, completion_tokens=1)


def overhead(n: int) -> dict[str, float]:
    """Milliseconds per document: the layer with its store, answers from the store, client library added."""
    found = {}
    with tempfile.TemporaryDirectory() as folder, stub_process(0.0) as url:
        echo = Model(_Echo(), AnswerCache(Path(folder) / "echo.sqlite"), concurrency=16)
        stub = models.openai_model(
            "stub", url, params={}, concurrency=16, cache=str(Path(folder) / "stub.sqlite")
        )
        for name, model, start in (
            ("asked, stored", echo, 0),
            ("found in the store", echo, 0),
            ("asked over HTTP, stored", stub, 0),
        ):
            prompts = [[text] for text in texts(n, start)]
            list(model([["warm up"]]))
            begun = time.perf_counter()
            for _ in model(prompts):
                pass
            found[name] = 1000 * (time.perf_counter() - begun) / n
    return {name: round(value, 3) for name, value in found.items()}


def memory(n: int, concurrency: int = 16) -> dict[str, float]:
    """Resident megabytes of this process while `n` texts go through a pipeline, at tenths of the way."""
    process = psutil.Process()
    marks: list[float] = []
    with tempfile.TemporaryDirectory() as folder, stub_process(0.0) as url:
        nlp = pipeline("ie.OpenAI.v1", url, Path(folder) / "a.sqlite", concurrency)
        begun = time.perf_counter()
        for i, _ in enumerate(streaming.pipe(nlp, map(nlp.make_doc, texts(n))), 1):
            if i % max(1, n // 10) == 0:
                gc.collect()
                marks.append(process.memory_info().rss / 2**20)
        seconds = time.perf_counter() - begun
    return {
        "documents": n,
        "after_a_tenth": round(marks[0], 1),
        "at_the_end": round(marks[-1], 1),
        "peak": round(max(marks), 1),
        "growth_per_1000_texts": round((marks[-1] - marks[0]) / (0.9 * n / 1000), 3),
        "documents_per_second": round(n / seconds, 1),
    }


async def one_by_one(prompts: list[Prompt], provider: EmbeddedProvider) -> tuple[list[str], float]:
    """One request at a time to one server with all threads that keeps nothing between them.

    Returns:
        The answers, and the seconds they took without the start of the server.
    """
    single = replace(provider, workers=1, threads=usable_cores())
    try:
        server = await (await single._start()).get()
        begun = time.perf_counter()
        contents = []
        for prompt in prompts:
            body = single._body(prompt) | {"cache_prompt": False, "id_slot": 0}
            contents.append((await single._post(server, "/completion", body))["content"])
        return contents, time.perf_counter() - begun
    finally:
        await single.close()


def embedded(prompts: list[list[Prompt]], provider: EmbeddedProvider) -> dict[str, float]:
    """The same prompts, by documents: as the layer asks them, and one request at a time from scratch."""
    flat = [prompt for document in prompts for prompt in document]
    model = Model(provider, None, concurrency=provider.workers)
    list(model([[Prompt("Start.", max_tokens=1)]]))
    begun = time.perf_counter()
    answers = [answer for document in model(prompts) for answer in document]
    ours = time.perf_counter() - begun
    reused, computed = provider.reused, provider.computed
    model.close()

    plain, naive_seconds = asyncio.run(one_by_one(flat, provider))
    tokens = sum(answer.prompt_tokens + answer.completion_tokens for answer in answers)
    return {
        "texts": len(prompts),
        "prompts": len(flat),
        "seconds_per_text": round(ours / len(prompts), 3),
        "seconds_per_text_one_by_one": round(naive_seconds / len(prompts), 3),
        "tokens_per_second": round(tokens / ours, 1),
        "tokens_per_second_one_by_one": round(tokens / naive_seconds, 1),
        "times_as_fast": round(naive_seconds / ours, 2),
        "tokens_found_computed": round(reused / max(1, reused + computed), 3),
        "same_answers": sum(a == b for a, b in zip(answers, plain, strict=True)) / len(flat),
    }


async def unpacking(prompts: list[Prompt], provider: EmbeddedProvider) -> dict[str, float]:
    """Processor time of a server with the weights as shipped and of one with unpacked weights, in turns."""
    servers = {}
    for name, unpack in (("as_shipped", lambda path, *_: path), ("unpacked", gguf.unpacked)):
        servers[name] = replace(provider, workers=1, threads=1)
        with mock.patch.object(gguf, "unpacked", unpack):
            await servers[name].ask(Prompt("Start.", max_tokens=1))
    used = dict.fromkeys(servers, 0.0)
    same = 0
    try:
        for number, prompt in enumerate(prompts):
            answers = []
            for name in sorted(servers, reverse=number % 2 == 1):
                started = time.process_time()
                answers.append(await servers[name].ask(prompt))
                used[name] += time.process_time() - started
            same += answers[0] == answers[1]
    finally:
        for server in servers.values():
            await server.close()
    return {
        "prompts": len(prompts),
        **{f"processor_ms_per_prompt_{name}": round(1000 * s / len(prompts), 1) for name, s in used.items()},
        "share_of_time": round(used["unpacked"] / used["as_shipped"], 3),
        "same_answers": same / len(prompts),
    }

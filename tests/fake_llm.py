"""A language model that can be told to fail: faults by the hundred, on loopback, with a log."""

import hashlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from confection import Config
from llm_stub import Response, Stub, answer_body, prompt_of
from spacy.language import Language
from spacy_llm.util import assemble_from_config

from ie.llm.cache import AnswerCache
from ie.llm.executor import Model
from ie.llm.providers import OpenAIProvider

Fault = Callable[[str, str], Response | None]  # path, prompt -> what to send, or None for an answer


def reply(prompt: str) -> str:
    """The fake's answer, a function of the whole prompt: an answer mixed up with another's shows."""
    return f"answer {hashlib.sha256(prompt.encode()).hexdigest()[:12]}"


def spacy_llm_pipeline(model: dict[str, Any], **tasks: dict[str, Any]) -> Language:
    """A pipeline with an llm component for each of these tasks, all with one model."""
    components = {name: {"factory": "llm", "task": task, "model": model} for name, task in tasks.items()}
    return assemble_from_config(
        Config({"nlp": {"lang": "en", "pipeline": list(components)}, "components": components})
    )


class FakeLLM(Stub):
    """Answers every prompt with `reply(prompt)`, but for the faults it was given.

    Args:
        faults: used up one a request, in order of arrival; None means an answer.
        per_prompt: faults for the requests of one prompt, used up in order.
        always: asked about every request when the others are used up.
        latency: seconds before each answer.

    Attributes:
        requests: (path, body) of all requests, in order of arrival.
        answered: how often each prompt was sent a whole answer.
    """

    def __init__(
        self,
        faults: Iterable[Fault | None] = (),
        per_prompt: dict[str, list[Fault]] | None = None,
        always: Fault | None = None,
        latency: float = 0.0,
        port: int = 0,
    ) -> None:
        self.faults = deque(faults)
        self.per_prompt = {prompt: deque(given) for prompt, given in (per_prompt or {}).items()}
        self.always = always
        self.latency = latency
        self.requests: list[tuple[str, dict]] = []
        self.answered: Counter = Counter()
        self._lock = threading.Lock()
        super().__init__(self._answer, port)

    @property
    def prompts(self) -> list[str]:
        """Prompts of all requests, in order of arrival."""
        return [prompt_of(body) for _, body in self.requests]

    def _answer(self, path: str, request: dict) -> Response:
        prompt = prompt_of(request)
        with self._lock:
            self.requests.append((path, request))
            fault = self.always
            if self.per_prompt.get(prompt):
                fault = self.per_prompt[prompt].popleft()
            elif self.faults:
                fault = self.faults.popleft()
            response = fault(path, prompt) if fault else None
            if response is None:
                self.answered[prompt] += 1
                response = Response(answer_body(path, reply(prompt)), delay=self.latency)
        return response


def status(code: int, message: str = "sorry", retry_after: str | None = None, code_name: str = "") -> Fault:
    """An error in the protocol's form."""
    headers = {"retry-after": retry_after} if retry_after is not None else {}
    body = {"error": {"message": message, "type": "error", "code": code_name or None}}
    return lambda path, prompt: Response(body, status=code, headers=headers)


def answers(text: str | None, **options) -> Fault:
    """A well-formed answer of this text; counts as a fault, not as the right answer."""
    return lambda path, prompt: Response(answer_body(path, text, **options))


def html(code: int) -> Fault:
    """A proxy's page."""
    page = b"<html><body><h1>Bad gateway</h1>cloud of nginx</body></html>"
    return lambda path, prompt: Response(page, status=code, headers={"content-type": "text/html"})


def truncated(path: str, prompt: str) -> Response:
    """JSON that ends in the middle, with a content-length that says this is all."""
    return Response(b'{"id": "1", "object": "chat.completion", "choices": [{"index": 0, "mess')


def wrong_shape(path: str, prompt: str) -> Response:
    """Valid JSON of something else."""
    return Response({"hello": "world"})


def reset(path: str, prompt: str) -> Response:
    """The connection dies in the middle of the body."""
    return Response(answer_body(path, reply(prompt)), cut=40)


def hang(seconds: float) -> Fault:
    """No byte for some seconds."""
    return lambda path, prompt: Response(answer_body(path, reply(prompt)), delay=seconds)


def slow_loris(path: str, prompt: str) -> Response:
    """A byte now and then, so that no read ever times out."""
    return Response(answer_body(path, reply(prompt)), drip=0.1)


def make_model(kind: type, url: str, cache: Path, options: dict) -> Model:
    """A model on a fake endpoint; options of the provider and of the model, with short time-outs."""
    mine = ("concurrency", "tries", "prices", "max_cost", "max_calls", "context_length")
    model_options = {name: options.pop(name) for name in mine if name in options}
    common = {
        "model": "fake-1",
        "base_url": url,
        "api_key_env": "OPENAI_API_KEY" if kind is OpenAIProvider else "ANTHROPIC_API_KEY",
        "system": "",
        "params": {"temperature": 0.0},
        "drop_params": [],
        "structured": "json_schema",
        "timeout": 5.0,
        "max_retries": 3,
    }
    if kind is OpenAIProvider:
        common |= {"mode": "chat", "max_tokens_name": "max_tokens", "api_version": ""}
    else:
        common |= {"max_tokens": 100}
    return Model(kind(**(common | options)), AnswerCache(cache), **model_options)

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from ie.llm.cache import AnswerCache
from ie.llm.client import Model
from ie.llm.providers import AnthropicProvider, OpenAIProvider


@pytest.fixture(autouse=True)
def no_outside(monkeypatch):
    """No key of the person who runs the tests, and no proxy between us and loopback."""
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def openai(tmp_path: Path) -> Callable[..., Model]:
    """Makes a model on a fake endpoint; options of the provider and of the model may be given."""
    return lambda url, **options: make(OpenAIProvider, url + "/v1", tmp_path / "answers.sqlite", options)


@pytest.fixture
def anthropic(tmp_path: Path) -> Callable[..., Model]:
    return lambda url, **options: make(AnthropicProvider, url, tmp_path / "answers.sqlite", options)


def make(kind: type, url: str, cache: Path, options: dict) -> Model:
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

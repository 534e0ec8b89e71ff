from collections.abc import Callable
from pathlib import Path

import pytest
from fake_llm import make_model

from ie.llm.executor import Model
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
    return lambda url, **options: make_model(
        OpenAIProvider, url + "/v1", tmp_path / "answers.sqlite", options
    )


@pytest.fixture
def anthropic(tmp_path: Path) -> Callable[..., Model]:
    return lambda url, **options: make_model(AnthropicProvider, url, tmp_path / "answers.sqlite", options)

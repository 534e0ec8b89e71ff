"""The models as a spacy-llm user meets them: named in a config."""

import pytest
from fake_llm import FakeLLM, answers, spacy_llm_pipeline
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy_llm.registry import registry

from ie.core.errors import UserError
from ie.llm import models
from ie.llm.executor import Model
from ie.llm.types import Prompt

NER = "1. Acme | True | COMPANY | is a company\n2. Hooli | True | COMPANY | is another"


def assembled(url, cache, name="ie.OpenAI.v1", task=None, **settings):
    model = {
        "@llm_models": name,
        "model": "any-name-at-all",
        "base_url": url,
        "cache": str(cache),
        **settings,
    }
    return spacy_llm_pipeline(
        model, llm={"@llm_tasks": "spacy.NER.v3", "labels": ["COMPANY"], **(task or {})}
    )


def entities(doc):
    return [(ent.text, ent.label_) for ent in doc.ents]


@pytest.mark.filterwarnings("ignore:Task supports sharding")
@pytest.mark.parametrize(
    ("name", "path"), [("ie.OpenAI.v1", "/v1/chat/completions"), ("ie.Anthropic.v1", "/v1/messages")]
)
def test_spacy_llms_own_task_runs_on_it(name, path, tmp_path):
    with FakeLLM(always=answers(NER)) as server:
        url = server.url + ("/v1" if "OpenAI" in name else "")
        nlp = assembled(url, tmp_path / "a.sqlite", name)
        assert server.requests == [], "assembling asks nothing"
        docs = list(nlp.pipe(["Acme bought Hooli.", "Acme likes Hooli."] * 3))
        assert [entities(doc) for doc in docs] == [[("Acme", "COMPANY"), ("Hooli", "COMPANY")]] * 6
        assert [p for p, _ in server.requests] == [path] * 2, "the same text is asked about once"
        assert server.requests[0][1]["model"] == "any-name-at-all"


@pytest.mark.filterwarnings("ignore:Task supports sharding")
def test_the_same_words_in_another_order_are_another_document(tmp_path):
    """spacy-llm's BatchCache returns the first document here."""
    with FakeLLM(always=answers(NER)) as server:
        nlp = assembled(server.url + "/v1", tmp_path / "a.sqlite")
        for text in ("Acme bought Hooli", "Hooli bought Acme", "Acme bought Hooli"):
            assert nlp(text).text == text
        assert len(server.requests) == 2


@pytest.mark.filterwarnings("ignore:Task supports sharding")
@pytest.mark.parametrize(
    "changed",
    [
        {"task": {"labels": ["COMPANY", "MONEY"]}},
        {"task": {"label_definitions": {"COMPANY": "a business"}}},
        {"params": {"temperature": 0.5}},
        {"system": "Be brief."},
        {"mode": "completion"},
        {"max_tokens_name": "max_completion_tokens"},
        {"api_version": "2024-10-21"},
        {"drop_params": ["stop"]},
        {"drop_params": ["response_format"]},
    ],
)
def test_what_can_change_the_answer_is_asked_again(changed, tmp_path):
    with FakeLLM(always=answers(NER)) as server:
        for options in ({}, {}, changed, changed):
            assembled(server.url + "/v1", tmp_path / "a.sqlite", **options)("Acme bought Hooli")
        assert len(server.requests) == 2


@pytest.mark.filterwarnings("ignore:Task supports sharding")
def test_what_cannot_change_the_answer_is_not_asked_again(tmp_path):
    with FakeLLM(always=answers(NER)) as server:
        same = {"concurrency": 3, "timeout": 7.5, "max_retries": 0, "max_calls": 100, "context_length": 4096}
        for options in ({}, same):
            assembled(server.url + "/v1", tmp_path / "a.sqlite", **options)("Acme bought Hooli")
        assert len(server.requests) == 1


def test_registered_models_have_their_names():
    assert {"ie.OpenAI.v1", "ie.Anthropic.v1", "ie.Embedded.v1"} <= set(registry.llm_models.get_all())


def test_azure_speaks_its_own_addresses(tmp_path):
    with FakeLLM() as server:
        model = models.openai_model(
            "my-deployment", base_url=server.url, api_version="2024-10-21", cache=str(tmp_path / "a.sqlite")
        )
        list(model([["hello"]]))
        path = server.requests[0][0]
    assert path == "/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prices": {"input": 1.0, "outptu": 2.0}}, "outptu"),
        ({"max_cost": 1.0}, "prices are not"),
        ({"max_cost": 1.0, "prices": {"input": 1.0}}, "prices are not"),
        ({"concurrency": 0}, "concurrency = 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        models.openai_model("m", **options)


def test_tasks_that_split_long_texts_get_the_context_length():
    model = models.openai_model("m", context_length=8192, cache="")
    assert isinstance(model, Model)
    assert model.context_length == 8192
    assert models.openai_model("m", cache="").context_length is None


CHOICES = {
    "base_url": st.sampled_from(["http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"]),
    "mode": st.sampled_from(["chat", "completion"]),
    "system": st.sampled_from(["", "Be brief."]),
    "params": st.sampled_from([{}, {"temperature": 0.5}, {"extra_body": {"top_k": 3}}, {"max_tokens": 5}]),
    "drop_params": st.lists(
        st.sampled_from(["temperature", "stop", "max_tokens", "response_format", "top_k"])
    ),
    "max_tokens_name": st.sampled_from(["max_tokens", "max_completion_tokens"]),
    "structured": st.sampled_from(["json_schema", "json_object", "grammar", "none"]),
    "api_version": st.sampled_from(["", "2024-10-21", "2025-01-01"]),
}
PROMPT = Prompt("hello", stop=("\n",), max_tokens=7, schema={"type": "object"}, grammar="root ::= [a-z]+")


@given(st.fixed_dictionaries(CHOICES), st.fixed_dictionaries(CHOICES))
@settings(max_examples=300, deadline=None)
def test_another_request_has_another_key(one, other):
    """Everything that reaches the endpoint counts: the address with its version, and the body."""
    first, second = (models.openai_model("m", cache="", **options).provider for options in (one, other))

    def request(provider):
        return provider.base_url, provider.api_version, provider.path, provider.body(PROMPT)

    if request(first) != request(second):
        assert PROMPT.key(first.identity) != PROMPT.key(second.identity)


def test_keys_of_answers_that_are_paid_for_stay():
    """As they were before more settings became part of them."""
    plain = models.openai_model("gpt", cache="").provider
    dropped = models.openai_model("gpt", cache="", drop_params=["temperature"]).provider
    anthropic = models.anthropic_model("claude", cache="").provider
    assert [PROMPT.key(provider.identity)[:16] for provider in (plain, dropped, anthropic)] == [
        "007b1d3d0563156a",
        "faa41948d63d78a5",
        "8138d8db48b83e9c",
    ]

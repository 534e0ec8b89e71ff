"""The models as a spacy-llm user meets them: named in a config."""

import pytest
from confection import Config
from fake_llm import FakeLLM, answers
from spacy_llm.registry import registry
from spacy_llm.util import assemble_from_config

from ie.errors import UserError
from ie.llm import models
from ie.llm.client import Model

CONFIG = """
[nlp]
lang = "en"
pipeline = ["llm"]

[components]

[components.llm]
factory = "llm"

[components.llm.task]
@llm_tasks = "spacy.NER.v3"
labels = {labels}

[components.llm.model]
@llm_models = "{name}"
model = "any-name-at-all"
base_url = "{url}"
cache = "{cache}"
{more}
"""
NER = "1. Acme | True | COMPANY | is a company\n2. Hooli | True | COMPANY | is another"


def assembled(url, cache, name="ie.OpenAI.v1", more="", labels='["COMPANY"]'):
    text = CONFIG.format(url=url, cache=cache, name=name, more=more, labels=labels)
    return assemble_from_config(Config().from_str(text))


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
        {"labels": '["COMPANY", "MONEY"]'},
        {"more": '\n[components.llm.task.label_definitions]\nCOMPANY = "a business"'},
        {"more": "\n[components.llm.model.params]\ntemperature = 0.5"},
        {"more": 'system = "Be brief."'},
        {"more": 'mode = "completion"'},
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
        for more in (
            "",
            "concurrency = 3\ntimeout = 7.5\nmax_retries = 0\nmax_calls = 100\ncontext_length = 4096",
        ):
            assembled(server.url + "/v1", tmp_path / "a.sqlite", more=more)("Acme bought Hooli")
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
        ({"max_cost": 1.0}, "no prices"),
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

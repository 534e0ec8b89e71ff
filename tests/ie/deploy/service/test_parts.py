"""Batches, memory, and what the service says to anything that the schema of its requests allows or not."""

import asyncio
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as bounded
from serving import CONFIG, DEAL
from spacy.language import Language
from spacy.tokens import Doc

from ie.core.errors import RequestError
from ie.core.settings import load_settings
from ie.deploy.service import annotator
from ie.deploy.service.app import make_app
from ie.deploy.service.batcher import Batcher
from ie.deploy.service.settings import ServiceSettings
from ie.deploy.service.workers import WorkerPool


class Work:
    """Batches as they come; each is done when it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gates: list[asyncio.Future[None]] = []

    async def run(self, texts: list[str]) -> list[str | None]:
        self.batches.append(texts)
        self.gates.append(asyncio.get_running_loop().create_future())
        await self.gates[-1]
        return [text.upper() for text in texts]

    async def finish(self, number: int) -> None:
        while len(self.gates) <= number:
            await asyncio.sleep(0)
        self.gates[number].set_result(None)
        await asyncio.sleep(0)


def batcher(work: Work, **more: Any) -> Batcher:
    return Batcher(work.run, **{"slots": 1, "size": 3, "characters": 100, "queue": 10} | more)


def test_what_the_settings_leave_out_is_as_in_the_file() -> None:
    assert load_settings(CONFIG, ServiceSettings) == ServiceSettings()


def test_spans_that_are_less_sure_go_with_their_relations() -> None:
    spans = [
        {"start": 0, "end": 2, "label": "A", "confidence": 0.4},
        {"start": 3, "end": 5, "label": "A"},
        {"start": 6, "end": 8, "label": "A", "confidence": 0.9},
        {"start": 9, "end": 11, "label": "A", "confidence": 0.95},
    ]
    relations = [{"head": 3, "child": 2, "label": "R"}, {"head": 0, "child": 2, "label": "R"}]
    line = json.dumps({"text": "ab cd ef gh", "spans": spans, "relations": relations})
    record = json.loads(annotator.at_least(line, 0.9))
    assert record["spans"] == spans[2:]
    assert record["relations"] == [{"head": 1, "child": 0, "label": "R"}]


def test_small_requests_share_a_batch_and_go_between_the_parts_of_a_large_one() -> None:
    async def scenario() -> None:
        work = Work()
        made = batcher(work, queue=20)
        large = asyncio.create_task(made.annotate(list("abcdefghij"), 10))
        small = [asyncio.create_task(made.annotate([name], 10)) for name in "xy"]
        for number in range(4):
            await work.finish(number)
        assert work.batches == [list("abc"), list("def"), list("xyg"), list("hij")]
        assert await large == list("ABCDEFGHIJ")
        assert [await task for task in small] == [["X"], ["Y"]]
        assert made.waiting == 0

    asyncio.run(scenario())


def test_characters_bound_a_batch() -> None:
    async def scenario() -> list[list[str]]:
        work = Work()
        task = asyncio.create_task(batcher(work, characters=5).annotate(["aaa", "bb", "c", "d" * 9], 10))
        for number in range(3):
            await work.finish(number)
        await task
        return work.batches

    assert asyncio.run(scenario()) == [["aaa", "bb"], ["c"], ["d" * 9]]


def test_a_full_queue_and_a_request_that_was_given_up() -> None:
    async def scenario() -> None:
        work = Work()
        made = batcher(work, queue=5)
        first = asyncio.create_task(made.annotate(list("abcdefgh")[:5], 10))
        await asyncio.sleep(0)
        late = asyncio.create_task(made.annotate(list("xyz"), 0.01))
        await asyncio.sleep(0)
        with pytest.raises(RequestError, match="5 texts are waiting already"):
            await made.annotate(["q"], 10)
        with pytest.raises(RequestError, match=r"Not done within 0\.01 seconds"):
            await late
        assert made.waiting == 2  # of the first
        await work.finish(0)
        await work.finish(1)
        assert await first == list("ABCDE")
        assert "x" not in {text for batch in work.batches for text in batch}

    asyncio.run(scenario())


def test_a_fault_reaches_all_that_were_in_the_batch_and_nobody_else() -> None:
    async def run(texts: list[str]) -> list[str | None]:
        if "bad" in texts:
            raise RequestError("died", 503)
        return list(texts)

    async def scenario() -> None:
        made = Batcher(run, slots=1, size=2, characters=100, queue=10)
        found = await asyncio.gather(
            made.annotate(["bad", "b", "c"], 10), made.annotate(["d"], 10), return_exceptions=True
        )
        assert [str(part) for part in found] == ["died", "['d']"]
        assert made.waiting == 0

    asyncio.run(scenario())


@Language.component("breaks_on_boom")
def breaks_on_boom(doc: Doc) -> Doc:
    """As a component with a bug does."""
    if "boom" in doc.text:
        raise IndexError("boom")
    return doc


@pytest.fixture(scope="module")
def model(rule_pipeline: Path) -> Path:
    return rule_pipeline


def test_a_text_that_breaks_a_component_harms_no_other(model: Path) -> None:
    def load() -> Language:
        nlp = annotator.load(str(model))
        nlp.add_pipe("breaks_on_boom")
        return nlp

    lines = annotator.Annotator(load, 0, 1000)([DEAL, "boom", "Velto"])
    assert [line and json.loads(line)["text"] for line in lines] == [DEAL, None, "Velto"]


def test_new_words_are_forgotten_and_their_traces_too(model: Path) -> None:
    loaded = []

    def load() -> Language:
        loaded.append(1)
        return annotator.load(str(model))

    annotate = annotator.Annotator(load, warm_texts=10, new_words=200)
    rng = random.Random(0)

    def texts() -> list[str]:
        return [f"Hooli bought {rng.randrange(10**9):x} for ${rng.randrange(10**6)}m" for _ in range(10)]

    annotate(texts())
    before = len(annotate.nlp.vocab.strings)
    lines = [line for _ in range(5) for line in annotate(texts())]
    assert len(annotate.nlp.vocab.strings) == before
    assert len(loaded) == 1
    lines += [line for _ in range(20) for line in annotate(texts())]
    assert len(loaded) in (2, 3)
    assert all(json.loads(line)["spans"][0]["kb_id"] == "5923214" for line in lines if line)


@pytest.fixture(scope="module")
def schema(model: Path) -> Iterator[Any]:
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis isn't installed")
    # Imported before the app has a thread that loads the pipeline: pytest rewrites these modules, and Python
    # 3.11 can't parse in two threads at a time.
    pytest.importorskip("schemathesis.specs.openapi.schemas")
    wanted = load_settings(CONFIG, ServiceSettings)
    wanted.limits.texts, wanted.limits.characters, wanted.limits.body = 5, 50, 5000
    app = make_app(
        WorkerPool(str(model), 0, wanted), wanted, hosts="testserver", example="Velto", failed=pytest.fail
    )
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.parametrize(
    ("path", "method", "kind", "examples"),
    [
        ("/annotate", "POST", "positive", 60),
        ("/annotate", "POST", "negative", 120),
        ("/health", "GET", "positive", 3),
        ("/ready", "GET", "positive", 3),
        ("/metrics", "GET", "positive", 3),
    ],
)
def test_whatever_is_sent_is_answered_as_the_schema_says(
    schema: Any, path: str, method: str, kind: str, examples: int
) -> None:
    import schemathesis

    # It ends the app after each test.
    deadline = time.monotonic() + 60
    while schema["/ready"]["GET"].Case().call().status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    operation = schema[path][method]
    strategy = operation.as_strategy(generation_mode=schemathesis.GenerationMode(kind))
    statuses = set()

    @bounded(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def check(case: Any) -> None:
        answer = case.call_and_validate()
        statuses.add(answer.status_code)

    check()
    assert not [status for status in statuses if status >= 500]
    assert (200 in statuses) == (kind == "positive")

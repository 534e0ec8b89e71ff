"""What a language model says of shards of texts, as files of results: `run`, with requests as its work.

Requests go on over the borders of shards, so the endpoint never waits for the last answer of one.
"""

import hashlib
import sys
from collections import Counter, deque
from collections.abc import Iterator
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
from confection import Config
from spacy.language import Language
from spacy_llm.pipeline import LLMWrapper
from tqdm import tqdm

from ie.core.files import hash_code, json_text
from ie.data.records import Record
from ie.data.shards import Shard
from ie.deploy.apply import pipeline_worker
from ie.deploy.apply.pipeline_worker import AGAIN, KEPT_WORDS, ApplySettings, Done
from ie.llm import pipeline
from ie.llm.executor import Model
from ie.llm.tasks import Task
from ie.llm.types import UNREADABLE

# Packages whose code decides the results.
CODE = ("components", "ie.core", "ie.data", "ie.deploy.apply", "ie.llm", "ie.training")
# The column `llm`: how a text was asked about, and what was dropped of the answers, as in `llm-annotate`.
NOTES = pa.struct(
    [
        ("model", pa.string()),
        ("prompts", pa.list_(pa.string())),
        ("prompt_tokens", pa.int32()),
        ("completion_tokens", pa.int32()),
        ("tokens_estimated", pa.bool_()),
        (
            "dropped",
            pa.list_(pa.struct([(name, pa.string()) for name in ("label", "text", "reason")])),
        ),
    ]
)


class LlmWorker:
    """The work for `applying.go_through`.

    Attributes:
        dropped: pieces of answers that couldn't be used, by reason, in this run.
    """

    def __init__(self, nlp: Language, settings: ApplySettings) -> None:
        self.nlp = nlp
        self.settings = settings
        self.dropped: Counter[str] = Counter()

    def __call__(self, waiting: Iterator[Shard], todo: int, bar: tqdm) -> Iterator[Done]:
        """Annotate shards, in order.

        Raises:
            UserError: the endpoint is dead, the budget is reached, interrupted ...; answers are stored.
        """
        with pipeline.call_on_answers(self.nlp, lambda _, stats: pipeline.show_cost(bar, stats)):
            for shard in waiting:
                # spaCy forgets the new words of some shards after them, so that memory stays flat.
                with self.nlp.memory_zone():
                    yield from self._answered(chain([shard], self._some(waiting)), bar)

    def _some(self, waiting: Iterator[Shard]) -> Iterator[Shard]:
        before = len(self.nlp.vocab.strings)
        while len(self.nlp.vocab.strings) - before < KEPT_WORDS and (shard := next(waiting, None)):
            yield shard

    def _answered(self, waiting: Iterator[Shard], bar: tqdm) -> Iterator[Done]:
        under_way: deque[tuple[Shard, pipeline_worker.Rows, pa.Table | None]] = deque()
        found: list[tuple[Record, str | None]] = []

        def records() -> Iterator[Record]:
            for shard in waiting:
                rows, table = pipeline_worker.read(shard, self.settings)
                under_way.append((shard, rows, table))
                for text in rows.texts:
                    yield Record(text=text)

        def complete() -> Iterator[Done]:
            while under_way and len(found) >= (n := len(under_way[0][1].texts)):
                yield self._done(*under_way.popleft(), found[:n])
                del found[:n]

        # `read` has set long stretches aside
        for record, calls in pipeline.annotate(self.nlp, records(), sys.maxsize):
            error = record.model_extra["llm"].get("error")
            again = any(call.transient or call.error == UNREADABLE for call in calls)
            kind = AGAIN if again else "no usable answer"
            found.append((record, f"{kind} ({error})" if error else None))
            bar.update()
            yield from complete()
        yield from complete()

    def _done(
        self,
        shard: Shard,
        rows: pipeline_worker.Rows,
        table: pa.Table | None,
        found: list[tuple[Record, str | None]],
    ) -> Done:
        failed = {i: reason for i, (_, reason) in enumerate(found) if reason}
        good = [said(record) for record, reason in found if not reason]
        self.dropped.update(piece["reason"] for answer in good for piece in answer["llm"]["dropped"])
        return pipeline_worker.finish(shard, self.settings, rows, table, good, failed, also={"llm": NOTES})


def has_failed(reason: str) -> bool:
    """Whether a row was set aside as the endpoint gave no answer, and not for what it said."""
    return reason.startswith(AGAIN) and UNREADABLE not in reason


def said(record: Record) -> dict[str, Any]:
    """What the model says of a text, as the results hold it."""
    answer = record.model_dump()
    spans = [{**span, "text": record.text[span["start"] : span["end"]]} for span in answer["spans"]]
    cats = [{"label": label, "score": score} for label, score in record.cats.items()]
    return {"spans": spans, "relations": answer["relations"], "cats": cats, "llm": answer["llm"]}


def depends(config: Config, nlp: Language) -> dict[str, str]:
    """Hashes of what the results depend on beside texts and settings, as `applying.go_through` wants them.

    How many requests are in flight and what they may cost can change within a run. The code counts here, but
    in no answer's key (`Prompt.key`): after a change of the code stored answers are read again, not paid for
    again.
    """
    asked: list[Any] = [config["nlp"]["lang"]]
    for name, pipe in nlp.pipeline:
        section = dict(config["components"][name])
        if isinstance(pipe, LLMWrapper) and isinstance(pipe._model, Model):
            del section["model"]
        asked.append(section)
        task = getattr(pipe, "task", None)
        if isinstance(task, Task):
            asked.append(Path(task.template_path).read_text(encoding="utf-8"))
            asked.append([record.to_line() for record in task.shots.records])
        else:
            asked.append([str(example) for example in getattr(task, "_prompt_examples", None) or []])
    return {
        "llm": _hash([model.provider.identity for model in pipeline.llm_models(nlp)]),
        "prompts": _hash(asked),
        "code": _hash([hash_code(*CODE), version("spacy-llm")]),
    }


def _hash(value: Any) -> str:
    text = json_text(value, sort_keys=True, default=str, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()

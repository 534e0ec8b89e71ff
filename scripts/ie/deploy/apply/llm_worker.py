"""Annotates shards of texts with a language model, for `shard_runner.run`.

Requests continue across the borders of shards, so the endpoint never waits for the last answer of one.
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
from ie.deploy.apply.pipeline_worker import AGAIN, KEPT_WORDS, ApplySettings, ShardResult, ShardRows
from ie.llm import pipeline
from ie.llm.executor import Model
from ie.llm.tasks import Task
from ie.llm.types import UNREADABLE

# Packages whose code decides the results.
CODE = ("components", "ie.core", "ie.data", "ie.deploy.apply", "ie.llm", "ie.training")
# The column `llm`: the prompts of a text, and what was dropped from the answers, as in `llm-annotate`.
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
    """The worker of `llm-apply`.

    Attributes:
        dropped: number of unusable pieces of answers in this run, by reason.
    """

    def __init__(self, nlp: Language, settings: ApplySettings) -> None:
        self.nlp = nlp
        self.settings = settings
        self.dropped: Counter[str] = Counter()

    def __call__(self, waiting: Iterator[Shard], todo: int, bar: tqdm) -> Iterator[ShardResult]:
        """Annotate shards, in order.

        Raises:
            UserError: the endpoint is down, the budget is spent, or it was interrupted; answers are stored.
        """
        with pipeline.call_on_answers(self.nlp, lambda _, stats: pipeline.show_cost(bar, stats)):
            for shard in waiting:
                # A zone forgets the new words of some shards, so that memory stays flat.
                with self.nlp.memory_zone():
                    yield from self._answered(chain([shard], self._some(waiting)), bar)

    def _some(self, waiting: Iterator[Shard]) -> Iterator[Shard]:
        before = len(self.nlp.vocab.strings)
        while len(self.nlp.vocab.strings) - before < KEPT_WORDS and (shard := next(waiting, None)):
            yield shard

    def _answered(self, waiting: Iterator[Shard], bar: tqdm) -> Iterator[ShardResult]:
        in_progress: deque[tuple[Shard, ShardRows]] = deque()
        answers: list[tuple[Record, str | None]] = []

        def records() -> Iterator[Record]:
            for shard in waiting:
                shard_rows = pipeline_worker.read(shard, self.settings)
                in_progress.append((shard, shard_rows))
                for row in shard_rows.rows:
                    yield Record(text=row.text)

        def complete() -> Iterator[ShardResult]:
            while in_progress and len(answers) >= (n := len(in_progress[0][1].rows)):
                yield self._result(*in_progress.popleft(), answers[:n])
                del answers[:n]

        # `read` has already set long stretches aside
        for record, calls in pipeline.annotate(self.nlp, records(), sys.maxsize):
            error = record.model_extra["llm"].get("error")
            again = any(call.transient or call.error == UNREADABLE for call in calls)
            kind = AGAIN if again else "no usable answer"
            answers.append((record, f"{kind} ({error})" if error else None))
            bar.update()
            yield from complete()
        yield from complete()

    def _result(
        self, shard: Shard, shard_rows: ShardRows, answers: list[tuple[Record, str | None]]
    ) -> ShardResult:
        failed = {i: reason for i, (_, reason) in enumerate(answers) if reason}
        annotations = [annotation(record) for record, reason in answers if not reason]
        self.dropped.update(piece["reason"] for one in annotations for piece in one["llm"]["dropped"])
        return pipeline_worker.finish(
            shard, self.settings, shard_rows, annotations, failed, also={"llm": NOTES}
        )


def has_failed(reason: str) -> bool:
    """Whether a row was set aside because the endpoint gave no answer, not because the answer was bad."""
    return reason.startswith(AGAIN) and UNREADABLE not in reason


def annotation(record: Record) -> dict[str, Any]:
    """The annotation of a text, by column of the results."""
    values = record.model_dump()
    spans = [{**span, "text": record.text[span["start"] : span["end"]]} for span in values["spans"]]
    cats = [{"label": label, "score": score} for label, score in record.cats.items()]
    return {"spans": spans, "relations": values["relations"], "cats": cats, "llm": values["llm"]}


def depends(config: Config, nlp: Language) -> dict[str, str]:
    """Hashes of what the results depend on besides texts and settings.

    The number of requests in flight and the budget may change within a run. The code counts here, but isn't
    part of the key of an answer (`Prompt.key`): after a change of the code, stored answers are parsed again
    without new requests.
    """
    parts: list[Any] = [config["nlp"]["lang"]]
    if "split_on" in (callback := config["nlp"].get("after_creation") or {}):
        parts.append(callback["split_on"])
    for name, pipe in nlp.pipeline:
        section = dict(config["components"][name])
        if isinstance(pipe, LLMWrapper) and isinstance(pipe._model, Model):
            del section["model"]
        parts.append(section)
        task = getattr(pipe, "task", None)
        if isinstance(task, Task):
            parts.append(Path(task.template_path).read_text(encoding="utf-8"))
            parts.append([record.to_line() for record in task.shots.records])
        else:
            parts.append([str(example) for example in getattr(task, "_prompt_examples", None) or []])
    return {
        "llm": _hash([model.provider.identity for model in pipeline.llm_models(nlp)]),
        "prompts": _hash(parts),
        "code": _hash([hash_code(*CODE), version("spacy-llm")]),
    }


def _hash(value: Any) -> str:
    text = json_text(value, sort_keys=True, default=str, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()

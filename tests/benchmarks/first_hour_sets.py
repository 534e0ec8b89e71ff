"""The sets of the first hour: texts to review, test texts that nobody reviews, and the LLM's suggestions."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import first_hour

from ie.core.errors import UserError
from ie.core.files import atomic_write, write_json
from ie.core.settings import read_config
from ie.data.config import DataConfig
from ie.data.records import Record, RecordFile, read_records, write_records
from ie.data.scheme import Scheme
from ie.data.splits import NearDuplicateIndex, normalise
from ie.llm import pinning, pipeline
from ie.setup.inputs import Inputs
from ie.setup.llm_config import llm_config

DEMO = "demo"


@dataclass(frozen=True)
class ReviewedSet:
    """A set with human annotation.

    Attributes:
        pool: texts that may be reviewed. test: texts that measure every pipeline.
        words: labels and prompt words, as `init` takes them; None for the demo, whose config has them.
    """

    name: str
    labels: tuple[str, ...]
    pool: tuple[Record, ...]
    test: tuple[Record, ...]
    words: Inputs | None

    def key(self) -> str:
        """A hash of its texts and their annotation."""
        lines = [record.model_dump_json() for record in (*self.pool, *self.test)]
        return hashlib.sha256("\n".join([*self.labels, *lines]).encode()).hexdigest()


def load(
    name: str,
    data: Path,
    reviewed: Path,
    definitions: Path,
    scheme: Scheme,
    config: DataConfig,
    sizes: tuple[int, int],
) -> ReviewedSet:
    """Read a set.

    Args:
        data: folder with the public sets. reviewed: gold of the demo.
        definitions: folder with the prompt words of each set. scheme: of the demo.
        sizes: texts to review and test texts, at most; drawn by a hash.

    Raises:
        UserError: it isn't there.
    """
    if name == DEMO:
        records = [Record(text=r.text, spans=r.spans) for r in read_records(reviewed) if r.answer == "accept"]
        # By another hash than the project's split, so that the pool has texts of train, dev and test.
        test = list(_drawn(records, min(sizes[1], len(records) // 2)))
        index = NearDuplicateIndex([], config.split.near_duplicate)
        for record in test:
            index.add(normalise(record.text))
        pool = [record for record in records if not index.near(normalise(record.text))]
        labels, words = scheme.span_labels, None
    else:
        if not (data / name / "train.jsonl").exists():
            raise UserError(
                f"{data / name}: there is no train.jsonl; set --data-sets to the folder of the sets."
            )
        parts = {
            part: first_hour.read_gold(data / name / f"{part}.jsonl", config.lang)
            for part in ("train", "dev", "test")
            if (data / name / f"{part}.jsonl").exists()
        }
        test = parts.pop("test", [])
        pool = list({record.text: record for records in parts.values() for record in records}.values())
        content = read_config(definitions / f"{name}.cfg")
        labels = tuple(content["label_definitions"])
        words = Inputs(
            labels={"span": list(labels), "relation": [], "category": []},
            label_names=dict(content.get("label_names", {})),
            definitions=dict(content["label_definitions"]),
            instructions=dict(content["instruction"]),
        )
    measured = {record.text for record in test}
    pool = [record for record in pool if record.text not in measured]
    return ReviewedSet(name, labels, _drawn(pool, sizes[0]), _drawn(test, sizes[1]), words)


def _drawn(records: Sequence[Record], n: int) -> tuple[Record, ...]:
    shuffled = sorted(records, key=lambda record: hashlib.sha256(record.text.encode()).digest())
    return tuple(shuffled[:n])


@dataclass(frozen=True)
class LLMCost:
    """What the answers took when they were first asked for: as the store keeps it."""

    texts: int = 0
    prompts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    dollars: float = 0.0


def suggestions(
    reviewed: ReviewedSet,
    begun: Sequence[Record],
    folder: Path,
    *,
    config: Path,
    provider: str,
    data: DataConfig,
) -> tuple[dict[str, RecordFile], LLMCost]:
    """The LLM's suggestions for all texts that are left, as `llm-annotate` makes them after the first texts.

    Its prompts show the first training texts as examples. Answers are stored: a second run asks nothing.

    Args:
        begun: the first texts, reviewed.
        folder: for the files of the set.
    """
    gold, examples = folder / "begun.jsonl", folder / "examples.jsonl"
    answers, cost_file = folder / "llm.jsonl", folder / "llm.json"
    split = data.assign(begun, reviewed.pool)
    answered = {record.text for record in begun}
    todo = [Record(text=record.text) for record in reviewed.pool if record.text not in answered]
    write_records(gold, begun)
    examples.unlink(missing_ok=True)
    overrides = pipeline.example_overrides(gold, examples, data)
    if reviewed.words:
        content = llm_config(config, reviewed.words, data.lang)
        config = folder / "llm.cfg"
        with atomic_write(config) as file:
            file.write(content)
    settings = pipeline.load_config(config, pipeline.provider_file(provider), overrides)
    nlp = pipeline.assemble(settings, config)
    chosen = pinning.choose(nlp, split.train)
    pinning.pin(nlp, chosen)
    write_records(examples, chosen)
    models = pipeline.llm_models(nlp)
    cost = LLMCost()
    records = []
    try:
        with pipeline.progress(nlp, len(todo), f"{reviewed.name}: LLM"):
            for record, calls in pipeline.annotate(nlp, todo):
                records.append(record)
                cost = replace(
                    cost,
                    texts=cost.texts + 1,
                    prompts=cost.prompts + len(calls),
                    prompt_tokens=cost.prompt_tokens + sum(call.prompt_tokens for call in calls),
                    completion_tokens=cost.completion_tokens + sum(call.completion_tokens for call in calls),
                    seconds=cost.seconds + sum(call.seconds for call in calls),
                )
    finally:
        for model in models:
            model.close()
    dollars = sum(float(model.stats.miss_cost + model.stats.hit_cost) for model in models)
    cost = replace(cost, seconds=round(cost.seconds, 1), dollars=round(dollars, 4))
    write_records(answers, records)
    write_json(cost_file, vars(cost))
    rules = {"labels": Scheme(span_labels=reviewed.labels), "tokenizer": data.blank().tokenizer}
    return {"llm": RecordFile(answers, misaligned="snap", **rules)}, cost

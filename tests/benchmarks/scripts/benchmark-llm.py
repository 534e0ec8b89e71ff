"""Measure the LLM layer: how close to what an endpoint allows, and at what cost of its own."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer
from benchmarks import llm
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import write_json
from ie.llm import pipeline
from ie.llm.embedded import EmbeddedProvider
from ie.llm.tasks import Task
from ie.llm.types import Prompt

PARTS = ("throughput", "overhead", "memory", "embedded", "unpacking")


def main(
    parts: Annotated[str, typer.Option(help="Which to run, separated by commas.")] = ",".join(PARTS),
    concurrency: Annotated[str, typer.Option(help="Requests in flight, separated by commas.")] = "1,16,64",
    latency: Annotated[float, typer.Option(help="Seconds the stub takes for an answer.")] = 0.5,
    rounds: Annotated[int, typer.Option(help="Answers per request in flight.")] = 60,
    overhead_texts: Annotated[int, typer.Option(help="Texts for the layer's own time.")] = 2000,
    memory_texts: Annotated[int, typer.Option(help="Texts for the memory.")] = 100_000,
    config: Annotated[Path, typer.Option(help="Whose prompts the embedded model gets.")] = Path(
        "configs/llm.cfg"
    ),
    texts: Annotated[Path, typer.Option(help="Texts for the embedded model.")] = Path("assets/texts.jsonl"),
    embedded_texts: Annotated[int, typer.Option(help="How many of them.")] = 20,
    output: Annotated[Path | None, typer.Option(help="JSON file of all numbers.")] = None,
) -> None:
    """Compare with plain spacy-llm on a stub, and with the embedded model asked one by one."""
    wanted = [part.strip() for part in parts.split(",") if part.strip()]
    if unknown := set(wanted) - set(PARTS):
        raise UserError(f"--parts {sorted(unknown)[0]} is no part; choose from {', '.join(PARTS)}.")
    found: dict[str, object] = {}
    if "throughput" in wanted:
        found["throughput"] = report_throughput([int(n) for n in concurrency.split(",")], latency, rounds)
    if "overhead" in wanted:
        found["overhead"] = rows = llm.overhead(overhead_texts)
        show(f"Milliseconds a text of the layer itself (n={overhead_texts:,}; goal: 2 at most)", rows)
    if "embedded" in wanted:
        found["embedded"] = rows = llm.embedded(*embedded_prompts(config, texts, embedded_texts))
        show("The embedded model, with this project's prompts, against one request at a time", rows)
    if "unpacking" in wanted:
        prompts, provider = embedded_prompts(config, texts, embedded_texts)
        flat = [prompt for document in prompts for prompt in document]
        found["unpacking"] = rows = asyncio.run(llm.unpacking(flat, provider))
        show("The embedded model with its weights as shipped, and unpacked", rows)
    if "memory" in wanted:
        found["memory"] = rows = llm.memory(memory_texts)
        show("Resident memory in MB (goal: flat, 500 at most)", rows)
    if output:
        write_json(output, found)


def report_throughput(concurrencies: list[int], latency: float, rounds: int) -> list[dict]:
    """Run and print; the first row is plain spacy-llm, to which the others are compared."""
    results = llm.throughput(concurrencies, latency, rounds)
    plain = results[0]
    msg.divider(f"Documents a second, endpoint of {latency} s (goal: 95 % of ideal, 40 x plain at 64)")
    rows = [
        (
            r.name,
            r.concurrency,
            r.documents,
            f"{r.rate:.2f}",
            f"{r.rate / r.ideal:.1%}",
            f"{r.rate / plain.rate:.1f}",
        )
        for r in results
    ]
    header = ("", "in flight", "texts", "texts/s", "of ideal", "x plain")
    msg.table(rows, header=header, divider=True, aligns=("l", "r", "r", "r", "r", "r"))
    return [result.as_dict() for result in results]


def embedded_prompts(config: Path, texts: Path, n: int) -> tuple[list[list[Prompt]], EmbeddedProvider]:
    """The prompts of the config's tasks for the first texts, by text, and the embedded model."""
    nlp = pipeline.assemble(pipeline.load_config(config), config)
    providers = [model.provider for model in pipeline.llm_models(nlp)]
    if not providers or not isinstance(providers[0], EmbeddedProvider):
        raise UserError(
            f"{config}: its model isn't ie.Embedded.v1; leave embedded and unpacking out of --parts."
        )
    ours = providers[0]
    tasks = [pipe.task for _, pipe in nlp.pipeline if isinstance(getattr(pipe, "task", None), Task)]
    with open(texts, encoding="utf-8") as file:
        docs = [nlp.make_doc(json.loads(line)["text"]) for line, _ in zip(file, range(n), strict=False)]
    prompts = [[] for _ in docs]
    for task in tasks:
        for mine, (asked, _) in zip(prompts, task.generate_prompts(docs, ours.context_length), strict=True):
            mine.extend(asked)
    return prompts, ours


def show(title: str, rows: dict[str, float]) -> None:
    msg.divider(title)
    msg.table([(name.replace("_", " "), f"{value:,}") for name, value in rows.items()], aligns=("l", "r"))


if __name__ == "__main__":
    run(main)

"""Annotate texts with a language model; each answer is stored as it arrives."""

import time
from pathlib import Path
from typing import Annotated, Literal

import typer
from spacy.language import Language
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.files import check_writable, write_json, write_jsonl
from ie.core.text import print_table
from ie.data import options
from ie.data.config import DataConfig, load_data_config
from ie.data.pinned import outdated, read_pinned, refuse_held_out
from ie.data.records import Reader, Record, write_records
from ie.data.scheme import load_scheme
from ie.data.splits import Split, choose
from ie.data.tokenizer import STRETCH
from ie.llm import pinning, pipeline, run_checks
from ie.llm.executor import Model

Part = Literal["run", "train"]


def main(
    config: options.LlmConfig = Path("configs/llm.cfg"),
    provider: options.Provider = "",
    texts: options.Texts = Path("assets/texts.jsonl"),
    reviewed: options.Reviewed = Path("assets/reviewed.jsonl"),
    examples: options.Examples = Path("assets/examples.jsonl"),
    output: Annotated[Path, typer.Option(help="Annotated texts.")] = Path("corpus/llm.jsonl"),
    stats: Annotated[Path, typer.Option(help="Counts, tokens and cost.")] = Path("corpus/llm.json"),
    timings: Annotated[Path, typer.Option(help="Seconds per text.")] = Path("training/llm-timings.jsonl"),
    data: options.Data = Path("configs/data.cfg"),
    stretch: options.Stretch = STRETCH,
    part: Annotated[
        Part, typer.Option(help="What is annotated: the texts of a run, or the reviewed training texts.")
    ] = "run",
    reviewed_examples: Annotated[
        int,
        typer.Option(help="With --part train: reviewed texts that similar examples come from (0: all)."),
    ] = 0,
    dry_run: Annotated[bool, typer.Option(help="Count prompts, tokens and cost; send nothing.")] = False,
) -> None:
    """Annotate the unreviewed texts, which become silver, and dev and test, where the prompt is scored.

    The prompts show the examples of `--examples`; the first run with reviewed texts chooses them.

    `--part train` annotates the reviewed training texts except for the examples in prompts. Similar examples
    then come from `--reviewed-examples` texts only, those that `compare-distillation` trains on: it treats
    the gold of all others as unknown.
    """
    data_config = load_data_config(data)
    split, pinned = read_inputs(
        texts, reviewed, examples, data_config=data_config, reader=data_config.reader(load_scheme(config))
    )
    held_out = [*split.dev, *split.test]
    overrides = pipeline.example_overrides(reviewed, examples, data_config)
    settings = pipeline.load_config(config, pipeline.provider_file(provider), overrides)
    nlp = pipeline.assemble(settings, config)
    models = pipeline.llm_models(nlp)
    for model in models:
        model.dry = dry_run
    pipeline.refuse_leaks(nlp, held_out)
    if not dry_run:
        for path in (output, stats, timings):
            check_writable(path)
    if not pinned:
        texts_asked = [*split.raw, *held_out]
        pinning.pin_first(nlp, examples, split.train, texts_asked, stretch, dry_run=dry_run)
    todo = [*split.raw, *held_out] if part == "run" else hidden_texts(nlp, split, reviewed_examples)
    if not todo:
        msg.warn("There is nothing to annotate: all texts are examples that the prompts show.")
    started = time.perf_counter()
    annotated: list[Record] = []
    failed: list[Record] = []
    spent: list[dict] = []
    try:
        with pipeline.progress(nlp, len(todo), "llm-annotate"):
            for record, calls in pipeline.annotate(nlp, todo, stretch):
                annotated.append(record)
                if any(call.transient for call in calls):
                    failed.append(record)
                spent.append({"id": record.id, "seconds": [round(call.seconds, 3) for call in calls]})
    finally:
        for model in models:
            model.close()
    if dry_run:
        report_plan(models, len(todo))
        return
    counts = summary(annotated, models)
    report(counts, models, time.perf_counter() - started)
    before = run_checks.read_errors(output)
    run_checks.refuse_worse(output, before, annotated)
    write_records(output, annotated)
    write_json(stats, counts)
    write_timings(timings, models[0], spent)
    with tracking.run("llm-annotate", config=counts["models"]) as tracker:
        tracker.summary({name: counts[name] for name in counts if name != "models"})
    run_checks.refuse_failures(output, before, annotated, failed)


def read_inputs(
    texts: Path, reviewed: Path, examples: Path, *, data_config: DataConfig, reader: Reader
) -> tuple[Split, list[Record]]:
    """The split of all texts, and the pinned examples, none of which may be in dev or test."""
    gold = reader.read(reviewed, allow_empty=True) if reviewed.exists() else []
    split = data_config.assign(gold, reader.read(texts, allow_empty=True))
    pinned = read_pinned(examples, reader)
    refuse_held_out(examples, pinned, {record.text for record in (*split.dev, *split.test)})
    if fault := outdated(examples, pinned, gold):
        msg.warn(fault)
    return split, pinned


def hidden_texts(nlp: Language, split: Split, examples: int) -> list[Record]:
    """The reviewed training texts that no prompt shows; similar examples come from so many of the others."""
    chosen, _ = choose(split.train, (), examples)
    pipeline.show_only(nlp, chosen)
    shown = pipeline.shown(nlp)
    return [record for record in split.train if record.text not in shown]


def write_timings(path: Path, model: Model, seconds: list[dict]) -> None:
    """Write the number of calls in flight and the size of the weights, then the seconds of each text."""
    write_jsonl(path, [{"parallel": model.concurrency, "mb": model.provider.megabytes}, *seconds])


def summary(annotated: list[Record], models: list[Model]) -> dict:
    """Annotations, tokens and cost of a run; the same whether answers were asked for or stored before."""
    notes = [record.model_extra["llm"] for record in annotated]
    read, written = (sum(note[f"{kind}_tokens"] for note in notes) for kind in ("prompt", "completion"))
    return {
        "models": {model.provider.name: model.provider.identity for model in models},
        "texts": len(annotated),
        "prompts": sum(len(note["prompts"]) for note in notes),
        "prompt_tokens": read,
        "completion_tokens": written,
        "cost": round(sum(model.stats.miss_cost + model.stats.hit_cost for model in models), 4),
        **pipeline.count_notes(annotated),
    }


def report(counts: dict, models: list[Model], seconds: float) -> None:
    """Print what was annotated, what was dropped and why, and the cost."""
    stored = sum(model.stats.hits for model in models)
    sent = sum(model.stats.misses for model in models)
    print_table(
        [
            ("texts", f"{counts['texts']:,}"),
            *((kind, listed(counts[kind])) for kind in ("spans", "categories") if counts[kind]),
            ("found in the text", listed(counts["alignment"])),
            ("answers dropped", listed(counts["dropped"])),
            ("texts with an error", listed(counts["errors"])),
            (
                "prompts",
                f"{sent:,} asked, {stored:,} kept from before "
                f"(asking again would cost ${counts['cost']:.2f})",
            ),
            (
                "this run",
                f"{sum(model.stats.calls for model in models):,} requests, "
                f"${sum(model.stats.cost for model in models):.2f}",
            ),
            *(("broken rows of the store", f"{n:,}") for n in [broken(models)] if n),
            ("tokens", f"{counts['prompt_tokens']:,} read, {counts['completion_tokens']:,} written"),
            ("time", f"{seconds:.0f} s, {seconds / max(1, counts['texts']):.2f} s a text"),
        ]
    )


def broken(models: list[Model]) -> int:
    """Number of stored answers that couldn't be read; their prompts were asked again."""
    return sum(model.cache.broken for model in models if model.cache is not None)


def report_plan(models: list[Model], texts: int) -> None:
    """Print the prompts, tokens and cost of a run."""
    stats = [model.stats for model in models]
    to_send = sum(s.misses for s in stats)
    print_table(
        [
            ("texts", f"{texts:,}"),
            ("prompts", f"{to_send:,} to ask, {sum(s.hits for s in stats):,} kept from before"),
            (
                "tokens, about",
                f"{sum(s.planned_prompt_tokens for s in stats):,} to read, "
                f"{sum(s.planned_completion_tokens for s in stats):,} to write",
            ),
            ("cost, about", f"${sum(s.planned_cost for s in stats):.2f}"),
        ]
    )
    msg.info("Nothing was sent.")


def listed(counts: dict[str, int]) -> str:
    """`{"exact": 3}` as `3 exact`; "none" if empty."""
    return ", ".join(f"{n:,} {name}" for name, n in counts.items()) or "none"


if __name__ == "__main__":
    run(main)

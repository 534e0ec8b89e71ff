"""Let a language model annotate any number of texts, with the same output as `apply`."""

import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.text import print_table
from ie.data import language, options
from ie.data.config import load_data_config
from ie.data.pinned import read_pinned
from ie.deploy.apply import llm_worker, shard_runner
from ie.deploy.apply.pipeline_worker import ApplySettings, Format
from ie.llm import pinning, pipeline


def main(
    config: options.LlmConfig = Path("configs/llm.cfg"),
    provider: options.Provider = "",
    texts: options.TextFiles = Path("assets/texts.jsonl"),
    reviewed: options.Reviewed = Path("assets/reviewed.jsonl"),
    examples: options.Examples = Path("assets/examples.jsonl"),
    output: options.Results = Path("corpus/llm-applied"),
    text_column: options.TextColumn = "text",
    id_column: options.IdColumn = "",
    format: Annotated[Format, typer.Option(help="Format of the results")] = "parquet",
    shard: options.Shard = 1000,
    max_chars: options.MaxChars = 100_000,
    stretch: options.Stretch = 1000,
    data: options.Data = Path("configs/data.cfg"),
) -> None:
    """Write OUTPUT/rows with the annotation, and OUTPUT/rejected with the rows set aside and the reasons.

    The prompts show the same pinned examples as those of `llm-annotate`.
    """
    started = time.perf_counter()
    overrides = pipeline.example_overrides(reviewed, examples, load_data_config(data))
    loaded = pipeline.load_config(config, pipeline.provider_file(provider), overrides)
    nlp = pipeline.assemble(loaded, config)
    settings = ApplySettings(
        text_column=text_column,
        id_column=id_column,
        shard=shard,
        max_chars=max_chars,
        stretch=language.longest_stretch(nlp.lang, stretch, max_chars),
        format=format,
    )
    worker = llm_worker.LlmWorker(nlp, settings)
    models = pipeline.llm_models(nlp)
    if pinning.pinned_tasks(nlp) and not read_pinned(examples):
        msg.info(
            f"{examples}: no examples, so the prompts show none; `weasel run pin-examples` chooses some."
        )
    try:
        depends = llm_worker.depends(loaded, nlp)
        summary = shard_runner.run(texts, output, settings, worker, depends, "llm-apply")
    finally:
        for model in models:
            model.close()
    asked, kept = (sum(getattr(model.stats, name) for model in models) for name in ("misses", "hits"))
    rows = summary.rows()
    if summary.new_texts:
        rows += [
            *((f"dropped from answers: {reason}", f"{n:,}") for reason, n in worker.dropped.most_common()),
            ("prompts", f"{asked:,} asked, {kept:,} kept from before"),
            ("cost", f"${sum(model.stats.cost for model in models):.2f}"),
            ("time", f"{time.perf_counter() - started:.0f} s for {summary.new_texts:,} texts"),
        ]
    print_table(rows, aligns="lr")
    failed = Counter({reason: n for reason, n in summary.rejected.items() if llm_worker.has_failed(reason)})
    if failed:
        shown = ", ".join(f"{n:,} {reason}" for reason, n in failed.most_common(3))
        raise UserError(
            f"{failed.total():,} texts were set aside without an answer: {shown}. "
            f"{output / shard_runner.RESULTS} has the others. Run the same command again: "
            "only prompts without an answer are sent."
        )
    msg.good(str(output / shard_runner.RESULTS))


if __name__ == "__main__":
    run(main)

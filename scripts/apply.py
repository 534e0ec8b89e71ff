"""Apply the trained pipeline to any number of texts, on this machine's cores or on a Ray cluster."""

import time
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core import ray_cluster
from ie.core.cli import run
from ie.core.text import print_table
from ie.data import language, options
from ie.deploy.apply import shard_runner
from ie.deploy.apply.pipeline_worker import ApplySettings, Format, PipelineWorker
from ie.deploy.wheels import read_meta


def main(
    texts: options.TextFiles = Path("assets/texts.jsonl"),
    model: options.Trained = options.SHIPPED_MODEL,
    output: options.Results = Path("corpus/applied"),
    text_column: options.TextColumn = "text",
    id_column: options.IdColumn = "",
    format: Annotated[Format, typer.Option(help="Format of the results")] = "parquet",
    shard: options.Shard = 1000,
    batch_size: Annotated[int, typer.Option(help="Texts in a batch of the pipeline", min=1)] = 256,
    max_chars: options.MaxChars = 100_000,
    stretch: options.Stretch = 1000,
    executor: Annotated[ray_cluster.Executor, typer.Option(help="Where the workers run")] = "local",
    workers: Annotated[int, typer.Option(help="Shards in progress at a time; 0: one per core", min=0)] = 0,
) -> None:
    """Write OUTPUT/rows with the results, and OUTPUT/rejected with the rows set aside and the reasons."""
    started = time.perf_counter()
    settings = ApplySettings(
        text_column=text_column,
        id_column=id_column,
        shard=shard,
        batch_size=batch_size,
        max_chars=max_chars,
        stretch=language.longest_stretch(read_meta(model)["lang"], stretch, max_chars),
        format=format,
    )
    worker = PipelineWorker(model, settings, executor, workers)
    summary = shard_runner.run(texts, output, settings, worker, worker.depends())
    rows = summary.rows()
    if summary.new_texts:
        seconds = time.perf_counter() - started
        rows += [
            ("time", f"{seconds:.0f} s for {summary.new_texts:,} texts, including the start"),
            ("memory", f"up to {max(summary.peak_mb.values()):.0f} MB in a worker"),
        ]
    print_table(rows, aligns="lr")
    msg.good(str(output / shard_runner.RESULTS))


if __name__ == "__main__":
    run(main)

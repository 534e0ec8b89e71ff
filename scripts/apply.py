"""Apply the trained pipeline to any number of texts, on this machine's cores or on a Ray cluster."""

import time
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core import ray_cluster
from ie.core.cli import run
from ie.data import options
from ie.deploy.apply import pipeline_worker, shard_runner


def main(
    texts: options.TextFiles = Path("assets/texts.jsonl"),
    model: Annotated[Path, typer.Option(help="Folder of the trained pipeline")] = Path(
        "training/efficient/reviewed/model-best"
    ),
    output: options.Results = Path("corpus/applied"),
    text_column: options.TextColumn = "text",
    id_column: options.IdColumn = "",
    format: Annotated[pipeline_worker.Format, typer.Option(help="Of the results")] = "parquet",
    shard: options.Shard = 1000,
    batch_size: Annotated[int, typer.Option(help="Texts the pipeline works on at a time", min=1)] = 256,
    max_chars: options.MaxChars = 100_000,
    stretch: options.Stretch = 1000,
    executor: Annotated[ray_cluster.Executor, typer.Option(help="Where the work is done")] = "local",
    workers: Annotated[int, typer.Option(help="Shards worked on at a time; 0: one a core", min=0)] = 0,
) -> None:
    """Write OUTPUT/rows with the results, OUTPUT/rejected with the rows set aside, and why."""
    started = time.perf_counter()
    settings = pipeline_worker.ApplySettings(
        text_column=text_column,
        id_column=id_column,
        shard=shard,
        batch_size=batch_size,
        max_chars=max_chars,
        stretch=stretch,
        format=format,
    )
    done = shard_runner.run(texts, model, output, settings, executor=executor, workers=workers)
    seconds = time.perf_counter() - started
    rows = done.rows()
    peak = max(done.peak_mb.values(), default=0.0)
    if done.new_texts:
        rows += [
            ("time", f"{seconds:.0f} s for {done.new_texts:,} texts, with the start"),
            ("memory", f"{peak:.0f} MB in a worker at most"),
        ]
    msg.table(rows, aligns=("l", "r"))
    msg.good(str(output / shard_runner.RESULTS))


if __name__ == "__main__":
    run(main)

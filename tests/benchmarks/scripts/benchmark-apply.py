"""Measure `apply` beside plain nlp.pipe: with one worker and several, on this machine and on Ray."""

from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from benchmarks import apply
from benchmarks.apply import Way
from tqdm import tqdm
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import write_json
from ie.core.processes import cores
from ie.data import options, records


def main(
    texts: Annotated[Path, typer.Option(help="Texts, which are repeated")] = Path("assets/texts.jsonl"),
    model: Annotated[Path, typer.Option(help="Folder of the trained pipeline")] = options.MODEL,
    n: Annotated[int, typer.Option(help="Texts of the longer command")] = 20_000,
    workers: Annotated[str, typer.Option(help="Workers, separated by commas")] = "1,2",
    rounds: Annotated[int, typer.Option(help="Times that each way is timed", min=1)] = 3,
    shard: Annotated[int, typer.Option(help="Rows a shard", min=1)] = 1000,
    batch_size: Annotated[int, typer.Option(help="Texts the pipeline works on at a time", min=1)] = 256,
    estimate_texts: Annotated[float, typer.Option(help="Texts of the estimate on paper", min=1)] = 1e9,
    machines: Annotated[int, typer.Option(help="Machines of the estimate", min=1)] = 100,
    price_per_core_hour: Annotated[
        str, typer.Option(help="Price for the estimate, in any currency; empty for none")
    ] = "",
    output: Annotated[Path, typer.Option(help="File for the figures")] = Path(
        "training/benchmark-apply.json"
    ),
) -> None:
    """Print the speeds, their ratios and an estimate; write all figures to OUTPUT."""
    try:
        counts = [int(count) for count in workers.split(",")]
        price = float(price_per_core_hour) if price_per_core_hour else None
    except ValueError:
        raise UserError(
            f"--workers {workers!r}, --price-per-core-hour {price_per_core_hour!r}: must be numbers."
        ) from None
    if not find_spec("ray"):
        msg.info("Ray isn't installed, so it is left out; see requirements/ray.in.")
    ways = apply.ways(counts, ray=bool(find_spec("ray")))
    examples = [record.text for record in records.read_unchecked(texts)]
    with tqdm(total=rounds * len(ways), desc="timed", leave=False) as bar:
        found = apply.measure(
            ways,
            model,
            examples,
            n=n,
            rounds=rounds,
            shard=shard,
            batch_size=batch_size,
            progress=bar.update,
        )
    few, many = next(iter(found.values())).texts
    msg.divider(f"{few:,} and {many:,} texts, {rounds} rounds: median (least to greatest)")
    header = ("", "texts/s", "words/s", "x plain", "start, s", "MB a worker")
    msg.table(apply.rows(found), header=header, divider=True, aligns=("l", *"rrrrr"))
    for sentence in apply.sentences(found):
        print(sentence)
    best = median(found[Way("local", max(counts))].rates())
    print(apply.estimate(best, int(estimate_texts), machines=machines, cores=cores(), price=price))
    write_json(output, apply.to_json(found))
    msg.good(str(output))


if __name__ == "__main__":
    run(main)

"""Hold the statistics to what they claim, by simulation on made data of known truth."""

import json
from pathlib import Path
from typing import Annotated

import typer
from benchmarks.simulations import part, parts
from wasabi import msg

from ie.core.cli import run
from ie.core.files import atomic_write


def main(
    only: Annotated[
        str, typer.Option("--parts", help=f"Of {', '.join(parts.PARTS)}, by commas; empty for all")
    ] = "",
    repeats: Annotated[
        int, typer.Option(help="Made projects of each cell; 0: as each part needs", min=0)
    ] = 0,
    output: Annotated[Path, typer.Option(help="JSON file for the results")] = Path(
        "training/benchmark-statistics.json"
    ),
    seed: Annotated[int, typer.Option(help="Seed of what is made")] = 0,
) -> None:
    """Print a table for each part; write all results."""
    results = {}
    for name, simulate in parts.chosen(only).items():
        found = simulate(repeats, seed)
        msg.divider(name)
        msg.table(
            [[part.shown(value) for value in row.values()] for row in found.rows],
            header=list(found.rows[0]),
            divider=True,
            max_col=60,
        )
        print(f"{found.note} {found.repeats:,} made projects a cell; in brackets the 95 % interval.")
        results[name] = part.to_json(found)
    with atomic_write(output) as file:
        json.dump({"seed": seed, "parts": results}, file, indent=2, allow_nan=False)
        file.write("\n")
    msg.good(str(output))


if __name__ == "__main__":
    run(main)

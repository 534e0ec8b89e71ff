"""Time the linker on tables of several sizes: build, load, memory, and milliseconds a mention."""

from pathlib import Path
from typing import Annotated

import typer
from benchmarks import linker
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.training.linker_training import read_forms


def main(
    sizes: Annotated[str, typer.Option(help="Numbers of made names, by commas")] = "1000,100000,1000000",
    table: Annotated[str, typer.Option(help="A CSV of names to try as well; empty for none")] = "",
    legal_forms: Annotated[Path, typer.Option(help="Legal forms that may be missing in a name")] = Path(
        "assets/legal_forms.txt"
    ),
    mentions: Annotated[int, typer.Option(help="Mentions of each kind", min=1)] = 500,
) -> None:
    """Print two tables; nothing is written, as timings are this machine's."""
    try:
        tables: list[Path | int] = [int(size) for size in sizes.split(",") if size.strip()]
    except ValueError:
        raise UserError(
            f"--sizes {sizes!r} must be numbers with commas between, as in 1000,100000."
        ) from None
    if table:
        tables.append(Path(table))
    forms = read_forms(legal_forms)
    builds, speeds = [], []
    for source in tables:
        found = linker.measure(source, forms, mentions)
        title = f"{source:,} made" if isinstance(source, int) else source.name
        sizes_mb = (found["build_mb"], found["disk_mb"], found["memory_mb"])
        builds.append((title, f"{found['build_s']:.1f}", *(f"{mb:,.0f}" for mb in sizes_mb)))
        for kind, part in found["kinds"].items():
            times = (f"{part['median_ms']:.2f}", f"{part['p95_ms']:.2f}")
            speeds.append((title, kind, *times, f"{part['found']:.0%}"))
    header = ("names", "build CPU s", "MB at most", "MB on disk", "MB in use")
    msg.table(builds, header=header, divider=True, aligns=("l", "r", "r", "r", "r"))
    header = ("names", f"mention (n={mentions:,})", "median CPU ms", "p95", "linked to it")
    msg.table(speeds, header=header, divider=True, aligns=("l", "l", "r", "r", "r"))


if __name__ == "__main__":
    run(main)

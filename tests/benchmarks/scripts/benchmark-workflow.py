"""Time the commands of the workflow `all` on the demo or a part of it, perhaps beside an older version."""

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import srsly
import typer
from benchmarks import workflow
from tqdm import tqdm
from wasabi import msg, table

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import write_json
from ie.core.text import names_in


def main(
    before: Annotated[str, typer.Option(help="Git revision to compare with; empty for none.")] = "",
    every: Annotated[int, typer.Option(help="Keep every n-th text of the demo.", min=1)] = 1,
    commands: Annotated[str, typer.Option(help="Commands, separated by commas; empty for all.")] = "",
    max_steps: Annotated[int, typer.Option(help="Updates per training; 0 leaves it to the config.")] = 0,
    timed: Annotated[
        str, typer.Option(help="Those of the commands that are shown; empty for all that run.")
    ] = "",
    output: Annotated[Path, typer.Option(help="The seconds as JSON.")] = Path(
        "training/benchmark-workflow.json"
    ),
) -> None:
    """Print a table of seconds by command and write it; the project itself stays as it is."""
    known = srsly.read_yaml("project.yml")["workflows"]["all"]
    chosen = names_in(commands) or known
    shown = names_in(timed) or chosen
    if unknown := [name for name in (*chosen, *shown) if name not in known]:
        raise UserError(f"{unknown[0]} isn't in the workflow `all`; choose from {', '.join(known)}.")
    with TemporaryDirectory(prefix="workflow-") as folder, tqdm(total=len(chosen), leave=False) as bar:
        places = workflow.copies(Path.cwd(), Path(folder), before)
        if every > 1:
            for place in places.values():
                workflow.thin(place, every)

        def progress(command: str) -> None:
            bar.set_postfix_str(command)
            bar.update()

        steps = workflow.measure(places, chosen, {"max_steps": max_steps}, progress)
    header, rows = workflow.rows([step for step in steps if step.command in shown])
    print(table(rows, header=header, divider=True, aligns=["l", *"r" * (len(header) - 1)]))
    print(
        "s: seconds on the clock; processor s: of all processes, which other work on the machine changes "
        "little. Share and ratio are of processor seconds."
    )
    write_json(output, [asdict(step) for step in steps])
    msg.good(str(output))


if __name__ == "__main__":
    run(main)

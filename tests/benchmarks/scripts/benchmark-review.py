"""Measure the review page: start, next question, many answers at once, and what a kill leaves."""

from pathlib import Path
from typing import Annotated

import typer
from benchmarks import review
from wasabi import msg

from ie.core.cli import run
from ie.core.files import write_json


def main(
    texts: Annotated[int, typer.Option(help="Size of the corpus that is made for it", min=100)] = 100_000,
    answers: Annotated[int, typer.Option(help="Answers of all clients together", min=1)] = 10_000,
    clients: Annotated[int, typer.Option(help="Clients that answer at the same time", min=1)] = 4,
    kills: Annotated[int, typer.Option(help="Times that the server is killed while they do", min=0)] = 10,
    output: Annotated[Path, typer.Option(help="File for the figures")] = Path(
        "training/benchmark-review.json"
    ),
) -> None:
    """Print the figures; fail if an answer was lost or is there twice."""
    found = review.measure(texts=texts, answers=answers, clients=clients, kills=kills)
    rows = [(name, value) for name, value in found.items()]
    msg.table(rows, header=("", "measured"), divider=True)
    write_json(output, found)
    msg.good(str(output))


if __name__ == "__main__":
    run(main)

"""Say where the project stands, what its weakest spot is, and which command to run next."""

from pathlib import Path
from typing import Annotated

import typer

from ie.core.cli import run
from ie.data import options
from ie.status.snapshot import ProjectPaths, read_snapshot
from ie.status.terminal import commands_map, print_lines


def main(
    texts: options.Texts = Path("assets/texts.jsonl"),
    reviewed: options.Reviewed = Path("assets/reviewed.jsonl"),
    scheme: options.Scheme = Path("configs/llm.cfg"),
    data: options.Data = Path("configs/data.cfg"),
    corpus: Annotated[Path, typer.Option(help="Folder of the split.")] = Path("corpus"),
    training: options.TrainingResults = options.TRAINING,
    train_on: options.TrainOn = "reviewed",
    project: Annotated[Path, typer.Option(help="Project file with the commands.")] = Path("project.yml"),
) -> None:
    """Print the map of commands, then the three lines; nothing is written."""
    paths = ProjectPaths(
        texts=texts, reviewed=reviewed, scheme=scheme, data=data, corpus=corpus, training=training
    )
    if commands := commands_map(project):
        print("Commands, each started by `weasel run NAME` (project.yml says what they do):")
        print("\n".join(commands))
    print_lines(read_snapshot(paths, train_on))


if __name__ == "__main__":
    run(main)

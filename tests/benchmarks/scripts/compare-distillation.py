"""Train on silver in every way of configs/distill.cfg: what does each buy over the reviewed texts alone?"""

from pathlib import Path
from typing import Annotated

import typer
from benchmarks import distillation_comparison as comparison
from benchmarks import distillation_report as report
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.files import check_writable, write_files
from ie.core.text import print_table, wrapped
from ie.data import options
from ie.reports import figures
from ie.training.distill import recipes
from ie.training.distill.distillation import open_distillation


def main(
    settings: Annotated[Path, typer.Option(help="Recipes, and the settings of their methods.")] = Path(
        "configs/distill.cfg"
    ),
    config: Annotated[Path, typer.Option(help="Training config of spaCy.")] = Path("configs/efficient.cfg"),
    corpus: options.Corpus = Path("corpus"),
    reviewed_examples: Annotated[
        int, typer.Option(help="Reviewed texts to train on, 0 for all; others count as silver.")
    ] = 150,
    scheme: options.Scheme = Path("configs/llm.cfg"),
    gazetteer_label: options.GazetteerLabel = "",
    seeds: Annotated[int, typer.Option(help="Trainings of each recipe.", min=1)] = 3,
    seed: options.Seed = 0,
    max_steps: options.MaxSteps = 0,
    workers: options.Workers = 0,
    data: options.Data = Path("configs/data.cfg"),
    cache: options.TrainingCache = Path(".cache/compare-distillation"),
    output: Annotated[Path, typer.Option(help="Folder for the table and the figure.")] = options.TRAINING
    / "distillation",
) -> None:
    """Print the table and the advice; write distillation.json, .png, .html, and seconds.json."""
    names = ("distillation.json", "seconds.json", "distillation.png", "distillation.html")
    for name in names:
        check_writable(output / name)
    with open_distillation(
        recipes.load(settings),
        corpus,
        scheme,
        data,
        gazetteer_label=gazetteer_label,
        reviewed_examples=reviewed_examples,
        test=corpus / "test.jsonl",
        max_steps=max_steps,
        workers=workers,
        seed=seed,
        config=config,
        cache=cache,
    ) as distillation:
        source = distillation.data
        for note in source.notes:
            msg.warn(note)
        compared = comparison.compare(distillation, seeds=seeds, llm=corpus / "llm.jsonl")
    rows = report.cells(compared, len(source.hidden))
    notes = report.notes(compared, len(source.reviewed), len(source.silver), len(source.hidden), seeds)
    answer = report.answer(compared)
    drawing = report.figure(compared)
    contents = (
        comparison.to_json(compared),
        comparison.seconds(compared),
        figures.png(drawing),
        report.page(compared, rows, notes, drawing),
    )
    write_files(output, dict(zip(names, contents, strict=True)))
    shown = [report.HEADER.index(name) for name in report.SHOWN]
    print_table([[row[i] for i in shown] for row in rows], report.SHOWN, "lrlll")
    for sentence in (*notes, *answer.certainty, answer.headline):
        print(wrapped(sentence))
    msg.good(", ".join(str(output / name) for name in names))
    config_of_run = {"seeds": seeds, "reviewed": len(source.reviewed)}
    with tracking.run("compare-distillation", config=config_of_run) as tracker:
        tracker.table("recipes", report.HEADER, rows)
        tracker.picture("recipes", output / "distillation.png")


if __name__ == "__main__":
    run(main)

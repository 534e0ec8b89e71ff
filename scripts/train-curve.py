"""Train on growing portions of the data, to see whether more of it would help."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from wasabi import msg

from ie.core import ray_cluster, stats, tracking
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import write_files
from ie.core.text import names_in
from ie.data import options
from ie.data.config import load_data_config
from ie.data.docs import from_doc, read_docs
from ie.data.records import Record
from ie.data.scheme import Scheme, load_scheme
from ie.evaluation import scoring, systems
from ie.reports import figures
from ie.training import jobs, loop
from ie.training.curve import learning_curve, projection, report, review_speed
from ie.training.curve.learning_curve import CurveVerdict

# What the curve is projected to, in percent of the largest portion.
BEYOND = (125, 150, 200)
# With these `train_on`, every training example of the curve is one that a person reviewed.
REVIEWED = ("reviewed", "distilled")


def main(
    config: Annotated[Path, typer.Option(help="spaCy training config")] = Path("configs/efficient.cfg"),
    train: Annotated[Path, typer.Option(help="Training examples")] = Path("corpus/train.spacy"),
    dev: Annotated[Path, typer.Option(help="Development examples, the same for every portion")] = Path(
        "corpus/dev.spacy"
    ),
    scheme: Annotated[Path, typer.Option(help="Config that holds the labels")] = Path("configs/llm.cfg"),
    llm: Annotated[
        str, typer.Option(help="The LLM's annotations, for its own score on dev; empty for none")
    ] = "",
    output: Annotated[Path, typer.Option(help="Folder for curve.json, curve.png, curve.html")] = Path(
        "training/efficient/curve"
    ),
    portions: Annotated[str, typer.Option(help="Percentages of the training examples")] = "25,50,75,100",
    seeds: Annotated[int, typer.Option(help="Trainings of each portion", min=1)] = 3,
    seed: options.Seed = 0,
    targets: Annotated[
        str, typer.Option(help="Scores to tell the needed examples of; empty for none")
    ] = "0.9",
    review_logs: Annotated[
        str, typer.Option(help="Logs of reviewing, the first that exists tells the seconds an example takes")
    ] = "assets/review-log.jsonl,training/review.json",
    seconds_per_example: Annotated[
        float, typer.Option(help="Seconds an example takes to review, assumed where no log tells", min=0.1)
    ] = 30,
    train_on: Annotated[
        str, typer.Option(help="What the training examples are; only reviewed ones cost a person's time")
    ] = "reviewed",
    max_steps: options.MaxSteps = 0,
    gpu_id: options.GpuId = -1,
    data: options.Data = Path("configs/data.cfg"),
    executor: Annotated[ray_cluster.Executor, typer.Option(help="Where the trainings run")] = "local",
    workers: options.Workers = 0,
    cache: Annotated[str, typer.Option(help="Folder that keeps finished trainings; empty for none")] = (
        ".cache/train-curve"
    ),
) -> None:
    """Print the table, the verdict and the projection; write curve.json, curve.png and curve.html."""
    asked, goals = load_scheme(scheme), projection.parse_targets(targets)
    labels = asked.scored_labels
    examples, checks = read_docs(train), read_docs(dev)
    known, gold = (scoring.view(map(from_doc, docs), asked.scored) for docs in (examples, checks))
    if fault := learning_curve.unlabelled(known, labels, train):
        raise UserError(fault)
    if fault := learning_curve.unlabelled(gold, labels, dev):
        # a few texts may well have none; the other commands can go on
        write(
            learning_curve.rows([], [], labels), CurveVerdict("unscored", fault), [fault], output, len(gold)
        )
        msg.warn(fault)
        return
    asked_portions = learning_curve.parse_portions(portions)
    cells = learning_curve.grid(
        [doc.text for doc in examples],
        list(map(learning_curve.labels_in, known)),
        asked_portions,
        range(seed, seed + seeds),
    )
    tallies, prompted_note = llm_counts(Path(llm), gold, asked) if llm else (None, "")
    prompted = None if tallies is None else stats.intervals(tallies)[2]
    seconds, source = review_speed.reviewing(list(map(Path, names_in(review_logs))), seconds_per_example)
    settings = load_data_config(data)
    overrides = loop.overrides(settings.lang, max_steps)
    percents = sorted({cell.percent for cell in cells})
    print(f"Training {len(cells)} times with {', '.join(f'{p:g}%' for p in percents)} of the data")
    results = jobs.train_portions(
        cells,
        examples,
        executor=executor,
        workers=workers,
        config=config,
        dev=dev,
        labels=labels,
        scored=asked.scored,
        overrides=overrides,
        gpu_id=gpu_id,
        cache=Path(cache) if cache else None,
    )
    rows = learning_curve.rows(list(cells), results, labels)
    verdict = learning_curve.verdict(rows, len(checks))
    have = rows[-1]["examples"]
    cost = projection.Reviewing(seconds, source, share=settings.split.train_share, spare=len(examples) - have)
    further = projection.project(
        [row["examples"] for row in rows[1:]],
        [row["scores"] for row in rows[1:]],
        [round(have * percent / 100) for percent in BEYOND],
        targets=goals,
        seed=seed,
    )
    notes = [
        verdict.text,
        *projection.sentences(
            further, have, reviewing=cost if train_on in REVIEWED else None, dev=len(checks)
        ),
        *learning_curve.overtaking(rows, tallies, further),
        *([prompted_note] if prompted_note else []),
        *learning_curve.training_notes(rows),
        *learning_curve.left_out(asked_portions, cells, len(examples)),
        *learning_curve.data_notes(known, gold, labels, cells),
    ]
    content = write(
        rows, verdict, notes, output, len(checks), train=train.name, further=further, prompted=prompted
    )
    print(f"\n{report.table(rows, len(checks), 'ner' if asked.scored == 'spans' else 'cats')}\n")
    print(learning_curve.level(rows[-1]["f"], have, len(checks)))
    for note in notes:
        print(note)
    msg.good(f"{output / 'curve.png'}, {output / 'curve.html'}, {output / 'curve.json'}")
    with tracking.run("train-curve", config={"portions": portions, "seeds": seeds}) as tracker:
        columns = ["percent", "examples", "f", "f_low", "f_high", "sd"]
        tracker.table(
            "train_curve",
            columns,
            [[row[column] for column in columns] for row in content["rows"]],
        )
        tracker.picture("curve", output / "curve.png")


def write(
    rows: list[learning_curve.Row],
    verdict: CurveVerdict,
    notes: list[str],
    output: Path,
    dev: int,
    *,
    train: str = "",
    further: projection.Projection | None = None,
    prompted: stats.Estimate | None = None,
) -> dict[str, Any]:
    """Write curve.json, curve.png and curve.html; returns the content of the first.

    Args:
        dev: number of dev texts. train: name of the training data.
        further: the projection. prompted: F of the LLM on dev.
    """
    picture = figures.png(report.figure(rows, dev, projection=further, llm=prompted))
    page = report.page(rows, dev=dev, train=train, notes=notes, projection=further, llm=prompted)
    content = learning_curve.to_json(rows, dev, verdict, notes, further, prompted)
    write_files(output, {"curve.json": content, "curve.png": picture, "curve.html": page})
    return content


def llm_counts(path: Path, gold: list[Record], asked: Scheme) -> tuple[np.ndarray | None, str]:
    """Counts (documents, 3) of the LLM's stored annotations of dev, or None and a sentence on why."""
    answers = systems.stored_llm(path, gold)
    if answers.predicted is None:
        return None, f"No score of the LLM: {answers.missing}".replace("test texts", "dev texts")
    found = scoring.view(answers.predicted, asked.scored)
    counts = scoring.count(gold, found, asked.scored_labels).sum(axis=1)
    return counts, " ".join(f"LLM as prompted: {note}" for note in answers.notes)


if __name__ == "__main__":
    run(main)

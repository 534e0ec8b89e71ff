"""Train on growing portions of the data, to see whether more of it would help."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from wasabi import msg

from ie.core import ray_cluster, stats, tracking
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import read_text, write_files
from ie.core.stats import Estimate
from ie.core.text import wrapped
from ie.data import options
from ie.data.config import load_data_config
from ie.data.docs import from_doc, read_docs
from ie.data.records import Record
from ie.data.scheme import Scheme, load_scheme
from ie.evaluation import scoring, systems
from ie.reports import figures
from ie.reports.html import page_links
from ie.training import jobs, loop
from ie.training.curve import learning_curve, projection, report, review_speed
from ie.training.curve.learning_curve import CurveVerdict
from ie.training.curve.projection import Projection, ReviewCost
from ie.training.curve.shot_curve import ShotCurve, read_shots

# The sizes that the curve is projected to, in percent of the largest portion.
BEYOND = (125, 150, 200)
REVIEW_LOG = Path("assets/review-log.jsonl")
# What `tune-prompt --shots` measured, drawn where it is there.
SHOTS = Path("training/prompts/shots.json")
# Finished trainings, for a run that was interrupted.
CACHE = Path(".cache/train-curve")


def main(
    config: options.TrainingConfig = options.CONFIG,
    corpus: Annotated[
        Path,
        typer.Option(help="Folder of `split`: train.spacy, dev.spacy and the LLM's own answers (llm.jsonl)"),
    ] = Path("corpus"),
    scheme: options.Scheme = Path("configs/llm.cfg"),
    output: Annotated[
        Path, typer.Option(help="Folder for curve.json, curve.png, curve.html")
    ] = options.TRAINING / "curve",
    portions: Annotated[str, typer.Option(help="Percentages of the training examples")] = "25,50,75,100",
    seeds: Annotated[int, typer.Option(help="Trainings of each portion", min=1)] = 3,
    seed: options.Seed = 0,
    targets: Annotated[
        str, typer.Option(help="Scores whose number of examples is estimated; empty for none")
    ] = "0.9",
    max_steps: options.MaxSteps = 0,
    gpu_id: options.GpuId = -1,
    data: options.Data = Path("configs/data.cfg"),
    executor: Annotated[ray_cluster.Executor, typer.Option(help="Where the trainings run")] = "local",
    workers: options.Workers = 0,
) -> None:
    """Print the table, the verdict and the projection; write curve.json, curve.png and curve.html."""
    labels, goals = load_scheme(scheme), projection.parse_targets(targets)
    settings = load_data_config(data)
    paths = corpus / "train.spacy", corpus / "dev.spacy"
    docs, dev_docs = map(read_docs, paths)
    train, dev = (scoring.view(map(from_doc, some), labels.scored) for some in (docs, dev_docs))
    if fault := learning_curve.unlabelled(train, labels.scored_labels, paths[0]):
        raise UserError(fault)
    if fault := learning_curve.unlabelled(dev, labels.scored_labels, paths[1]):
        # With few texts that is no fault, and the other commands can go on.
        rows = learning_curve.rows([], [], labels.scored_labels)
        write(output, rows, len(dev), CurveVerdict("unscored", fault), [])
        msg.warn(fault)
        return
    percents = learning_curve.parse_portions(portions)
    cells = learning_curve.grid(
        [doc.text for doc in docs],
        list(map(learning_curve.labels_in, train)),
        percents,
        range(seed, seed + seeds),
    )
    llm, llm_note = llm_counts(corpus / "llm.jsonl", dev, labels)
    shots, shots_note = read_shots(SHOTS, dev)
    trained = sorted({cell.percent for cell in cells})
    print(f"Training {len(cells)} times with {', '.join(f'{p:g}%' for p in trained)} of the data")
    results = jobs.train_portions(
        cells,
        docs,
        config=config,
        dev=paths[1],
        labels=labels.scored_labels,
        scored=labels.scored,
        overrides=loop.overrides(settings.texts, max_steps),
        gpu_id=gpu_id,
        executor=executor,
        workers=workers,
        cache=CACHE,
    )
    rows = learning_curve.rows(list(cells), results, labels.scored_labels)
    further = project(rows, goals, seed)
    cost = review_cost(corpus / "split.json", settings.split.train_share, len(docs) - rows[-1]["examples"])
    notes = [
        *projection.sentences(further, rows[-1]["examples"], reviewing=cost, dev=len(dev)),
        *learning_curve.overtaking(rows, llm, further),
        *filter(None, [llm_note, shots.sentence() if shots else shots_note]),
        *learning_curve.training_notes(rows),
        *learning_curve.left_out(percents, cells, len(docs)),
        *learning_curve.data_notes(train, dev, labels.scored_labels, cells),
    ]
    verdict = learning_curve.verdict(rows, len(dev))
    prompted = None if llm is None else stats.intervals(llm)[2]
    content = write(output, rows, len(dev), verdict, notes, further, prompted, shots)
    print(f"\n{report.table(rows, len(dev), 'ner' if labels.scored == 'spans' else 'cats')}\n")
    level = learning_curve.level(rows[-1], len(dev))
    for note in [level, *content["notes"]]:
        print(wrapped(note))
    msg.good(f"{output / 'curve.png'}, {output / 'curve.html'}, {output / 'curve.json'}")
    track(content, output / "curve.png", {"portions": portions, "seeds": seeds})


def track(content: dict[str, Any], picture: Path, config: dict[str, Any]) -> None:
    """Record the curve with wandb, where it is used."""
    columns = ["percent", "examples", "f", "f_low", "f_high", "sd"]
    with tracking.run("train-curve", config=config) as tracker:
        tracker.table("train_curve", columns, [[row[x] for x in columns] for row in content["rows"]])
        tracker.picture("curve", picture)


def llm_counts(path: Path, gold: list[Record], labels: Scheme) -> tuple[np.ndarray | None, str]:
    """Counts (documents, 3) of the LLM's stored annotations of dev, or None, and a sentence about them."""
    answers = systems.stored_llm(path, gold)
    if answers.predicted is None:
        return None, f"No score of the LLM: {answers.missing}".replace("test texts", "dev texts")
    predicted = scoring.view(answers.predicted, labels.scored)
    counts = scoring.count(gold, predicted, labels.scored_labels).sum(axis=1)
    return counts, " ".join(f"LLM as prompted: {note}" for note in answers.notes)


def project(rows: Sequence[learning_curve.Row], targets: Sequence[float], seed: int) -> Projection:
    """Project the curve to the sizes of `BEYOND`."""
    have = rows[-1]["examples"]
    return projection.project(
        [row["examples"] for row in rows[1:]],
        [row["scores"] for row in rows[1:]],
        [round(have * percent / 100) for percent in BEYOND],
        targets=targets,
        seed=seed,
    )


def review_cost(split: Path, share: float, spare: int) -> ReviewCost | None:
    """What more training examples cost, or None if they aren't reviewed by people.

    Args:
        split: file of `split`, which says what is trained on; without it examples count as reviewed.
        share, spare: see `ReviewCost`.
    """
    train_on = (
        json.loads(read_text(split)).get("settings", {}).get("train_on") if split.exists() else "reviewed"
    )
    if train_on not in ("reviewed", "distilled"):
        return None
    return ReviewCost(*review_speed.seconds_per_example(REVIEW_LOG), share=share, spare=spare)


def write(
    output: Path,
    rows: Sequence[learning_curve.Row],
    dev: int,
    verdict: CurveVerdict,
    notes: Sequence[str],
    further: Projection | None = None,
    llm: Estimate | None = None,
    shots: ShotCurve | None = None,
) -> dict[str, Any]:
    """Write curve.json (its content is returned), curve.png and curve.html; the verdict is the first note."""
    notes = [verdict.text, *notes]
    picture = figures.png(report.figure(rows, dev, projection=further, llm=llm, shots=shots))
    page = report.page(
        rows,
        dev=dev,
        train="train.spacy",
        notes=notes,
        projection=further,
        llm=llm,
        shots=shots,
        kind=verdict.kind,
        links=page_links(output / "curve.html", output.parent),
    )
    content = learning_curve.to_json(rows, dev, verdict, notes, further, llm)
    write_files(output, {"curve.json": content, "curve.png": picture, "curve.html": page})
    return content


if __name__ == "__main__":
    run(main)

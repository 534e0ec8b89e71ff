"""Record each distinct result in a file under git, and compare it with the previous one and a baseline."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import sha256_file
from ie.core.text import print_table, wrapped
from ie.data import options
from ie.data.splits import TrainOn
from ie.evaluation import history

COLUMNS = (
    "Result",
    "Date (UTC)",
    "System",
    "F",
    "to previous",
    "to baseline",
    "What changed",
    "In production",
)
NOTE = (
    "F of exact spans or of categories, ± the 95 % interval over n test texts. Differences are paired on the "
    "texts whose gold is the same in both results (n where these are fewer); noise: p ≥ .05 by approximate "
    "randomisation, Holm-corrected over the table. Seeds of training add noise that no test shows (`weasel "
    "run robustness`)."
)


def main(
    metrics: Annotated[Path, typer.Option(help="Scores that evaluate wrote")] = options.TRAINING
    / "metrics.json",
    documents: Annotated[Path, typer.Option(help="Its counts by document")] = options.TRAINING
    / "documents.jsonl",
    test: options.Test = Path("corpus/test.jsonl"),
    train: options.Train = Path("corpus/train.jsonl"),
    config: options.TrainingConfig = options.CONFIG,
    system: Annotated[TrainOn, typer.Option(help="The packaged pipeline, whose score counts")] = "reviewed",
    setting: Annotated[list[str] | None, typer.Option(help="NAME=VALUE to record; may be repeated")] = None,
    baseline: Annotated[str, typer.Option(help="Id of the result to compare with; empty for the first")] = "",
    last: Annotated[int, typer.Option(help="How many results the table shows", min=1)] = 10,
    seed: options.Seed = 0,
    log: Annotated[Path, typer.Option(help="File that gets a line for each new result")] = Path(
        "training/history.jsonl"
    ),
    production: Annotated[Path, typer.Option(help="Scores on applied texts, by `watch`")] = Path(
        "training/production.jsonl"
    ),
) -> None:
    """Append the result unless it is there, and print the last ones."""
    past = history.read(log)
    scores = read_metrics(metrics)
    new = history.entry(
        scores,
        *history.read_documents(documents),
        system=system,
        settings=parse(setting or []),
        data={"test": sha256_file(test), "train": sha256_file(train), "config": sha256_file(config)},
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
    )
    first = history.baseline_of([*past, new], baseline, new["data"]["test"])
    if history.append(log, past, new):
        past.append(new)
        msg.good(f"{log}: {new['id']} is new; commit it with git")
    else:
        msg.info(f"{log}: {new['id']} is there already")
    applied = history.read_production(production)
    rows = history.rows(past, first, now=new["id"], last=last, production=applied, seed=seed)
    print_table(terminal_rows(rows), ("Result", *COLUMNS[3:6]))
    print(wrapped(NOTE))
    (to_baseline,) = history.compare([(new, first)], seed=seed)
    with tracking.run("history", config={"texts": new["documents"]}) as tracker:
        tracker.summary({"systems": scores["systems"]})
        tracker.table("history", COLUMNS, rows)
        if to_baseline:
            figures = to_baseline.difference.flat("difference") | {"verdict": to_baseline.verdict()}
            tracker.summary({"baseline": {"id": first["id"], **figures}})


def terminal_rows(rows: Sequence[Sequence[str]]) -> list[Sequence[str] | str]:
    """The cells of COLUMNS on two lines per result: its figures, then all else."""
    lines: list[Sequence[str] | str] = []
    for name, date, system, f, to_previous, to_baseline, changes, applied in rows:
        identity, _, marks = name.partition(" ")
        lines.append((identity, f, to_previous, to_baseline))
        in_production = applied and f"F in production {applied}"
        parts = (f"{date} UTC", system, marks.replace(" ", ", "), in_production, changes)
        lines.append("  " + "; ".join(filter(None, parts)))
    return lines


def read_metrics(path: Path) -> dict:
    """The scores that `evaluate` wrote."""
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        metrics["test"]["documents"], metrics["systems"]
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; run `weasel run evaluate` first.") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: isn't what `evaluate` writes; run `weasel run evaluate` again.") from None
    return metrics


def parse(settings: list[str]) -> dict[str, str]:
    """`["seed=0"]` as names and values."""
    for text in settings:
        if "=" not in text:
            raise UserError(f"--setting {text!r} must be NAME=VALUE, such as seed=0.")
    return dict(text.split("=", 1) for text in settings)


if __name__ == "__main__":
    run(main)

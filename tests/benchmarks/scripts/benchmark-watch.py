"""Are texts of another domain named, and none of the same domain? What do corrections gain?"""

from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import typer
from benchmarks import watch
from benchmarks.watch import Draws, Trainer, WriterLoop
from wasabi import msg

from ie.core import stats
from ie.core.cli import run
from ie.core.text import names_among, names_in, print_table
from ie.data import options
from ie.data.config import load_data_config
from ie.deploy.watch import drift

SETS = ("fashion_brands", "crossner_politics", "fire", watch.DEMO)
# Texts of these are only drawn: they have other tasks.
ONLY_TEXTS = ("docs_issues",)
PARTS = ("drift", "loop")


def main(
    parts: Annotated[str, typer.Option(help="Which to measure, separated by commas.")] = ",".join(PARTS),
    sets: Annotated[str, typer.Option(help="Which sets, separated by commas.")] = ",".join(SETS),
    same: Annotated[int, typer.Option(help="Draws of the same domain, for each set.", min=1)] = 100,
    other: Annotated[int, typer.Option(help="Draws of each other set.", min=1)] = 20,
    writers: Annotated[
        str, typer.Option(help="Writers of the demo to hold out.")
    ] = "w1,w2,w3,w4,w6,w7,w8,w9",
    corrected: Annotated[int, typer.Option(help="Texts that are corrected.", min=10)] = 50,
    max_steps: options.MaxSteps = 400,
    data_sets: Annotated[Path, typer.Option(help="Folder with the public sets.")] = Path("data"),
    reviewed: options.Reviewed = Path("assets/reviewed.jsonl"),
    config: options.TrainingConfig = Path("configs/efficient.cfg"),
    data: options.Data = Path("configs/data.cfg"),
    cache: Annotated[Path, typer.Option(help="Folder that keeps predictions.")] = Path(
        ".cache/benchmark-watch"
    ),
) -> None:
    """Print a table for each part."""
    wanted = names_among(PARTS, "--parts", parts)
    trainer = Trainer(config, load_data_config(data), max_steps, cache)
    if "drift" in wanted:
        show_draws(draws_of(names_among(SETS, "--sets", sets), trainer, data_sets, reviewed, same, other))
    if "loop" in wanted:
        show_loops([watch.loop_of(name, trainer, reviewed, corrected) for name in names_in(writers)])


def draws_of(
    names: list[str], trainer: Trainer, data_sets: Path, reviewed: Path, same: int, other: int
) -> list[Draws]:
    """All draws of the pipelines of some sets, over the texts of every set."""
    sets = {
        name: watch.load(name, data_sets, reviewed, trainer.data)
        for name in dict.fromkeys([*names, *ONLY_TEXTS])
    }
    rows = []
    for name in names:
        one = sets[name]
        texts = [record.text for record in one.held_out]
        foreign = {
            other_name: [record.text for record in (*each.held_out, *each.train)][: watch.FOREIGN]
            for other_name, each in sets.items()
            if other_name != name
        }
        # the checkpoint is chosen on training texts, so that all held-out texts are alike
        cut = len(one.train) // 8
        everything = [*texts, *(text for drawn in foreign.values() for text in drawn)]
        predicted = trainer.predict(one.train[cut:], one.train[:cut], everything)
        ends = np.cumsum([len(texts), *(len(drawn) for drawn in foreign.values())])
        pieces = [predicted[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        rows += watch.draw(one, pieces[0], dict(zip(foreign, pieces[1:], strict=True)), same, other)
        msg.info(f"{name} is done.")
    return rows


def show_draws(rows: list[Draws]) -> None:
    """Print what was said about each draw."""
    table = []
    for row in rows:
        kind = "same" if row.pipeline == row.texts else "other"
        named = max(sorted(set(row.named)), key=row.named.count, default="")
        until = f"{median(row.first):.0f} (at most {max(row.first)})" if row.first else ""
        table.append((row.pipeline, row.texts, kind, f"{row.alarms} of {row.draws}", until, named))
    header = ("pipeline", "texts", "domain", "alarms", "texts until", "most often named")
    print_table(table, header)
    same = [row for row in rows if row.pipeline == row.texts]
    print(
        f"Draws of {watch.DRAWN} texts in files of {watch.FILE}. Same domain: "
        f"{sum(row.alarms for row in same)} alarms in {sum(row.draws for row in same)} draws; promised is a "
        f"share of at most {drift.ALPHA}."
    )


def show_loops(loops: list[WriterLoop]) -> None:
    """Print shipping, watching, correcting and training again, by writer, and the gain over all of them."""
    rows = []
    for one in loops:
        score, n = one.score, len(one.before)
        alarms = drift.differing([*one.drift.looks, *([one.drift.total] if one.drift.total else [])])
        rows.append(
            (
                one.writer,
                stats.format_score(score.test, score.test_texts),
                ", ".join(found.measure.name for found in alarms[:2]) or "no alarm",
                stats.format_score(score.f, score.texts),
                score.verdict,
                *(stats.format_score(stats.intervals(c)[2], n) for c in (one.before, one.after)),
                stats.format_difference(one.gain(), n),
            )
        )
    header = ("writer", "F shipped", "drift", "F of the sample", "", "F before", "F after", "gain")
    print_table(rows, header)
    before, after = (np.concatenate([getattr(one, side) for one in loops]) for side in ("before", "after"))
    gain, p = stats.difference(after, before), stats.randomisation(after, before)
    print(
        f"Other texts of all: F {stats.format_score(stats.intervals(before)[2], len(before))} before, "
        f"{stats.format_score(stats.intervals(after)[2], len(after))} after; gain "
        f"{stats.format_difference(gain, len(before))}, p {stats.format_p(p)}."
    )


if __name__ == "__main__":
    run(main)

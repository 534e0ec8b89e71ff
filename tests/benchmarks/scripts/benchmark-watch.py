"""Are texts of another domain named, and none of the same domain? What do corrections gain?"""

from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import typer
from benchmarks import watch
from benchmarks.watch import CorrectionLoop, Draws, Trainer
from wasabi import msg

from ie.core import stats
from ie.core.cli import run
from ie.core.text import names_among, names_in, print_table, wrapped
from ie.data import options
from ie.data.config import load_data_config
from ie.deploy.watch import drift, production, report

SETS = ("fashion_brands", "crossner_politics", "fire", watch.DEMO)
# Texts of these are only drawn: they have other tasks.
ONLY_TEXTS = ("docs_issues",)
PARTS = ("drift", "loop")


def main(
    parts: Annotated[str, typer.Option(help="Which to measure, separated by commas.")] = ",".join(PARTS),
    sets: Annotated[str, typer.Option(help="Which sets, separated by commas.")] = ",".join(SETS),
    same: Annotated[int, typer.Option(help="Draws of the same domain, for each set.", min=1)] = 100,
    other: Annotated[int, typer.Option(help="Draws of each other set and percentage.", min=1)] = 20,
    percents: Annotated[
        str, typer.Option(help="Percent of the texts that are of another set.")
    ] = "100,50,25",
    loops: Annotated[
        str, typer.Option(help="What meets the demo's pipeline: held-out writers of the demo, or fire.")
    ] = "w1,w2,w3,fire",
    corrected: Annotated[
        str, typer.Option(help="How many texts are corrected, separated by commas; at most half of them.")
    ] = "50,200",
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
        shares = [int(percent) for percent in names_in(percents)]
        names = names_among(SETS, "--sets", sets)
        show_draws(draws_of(names, trainer, data_sets, reviewed, (same, other), shares))
    if "loop" in wanted:
        sizes = [int(size) for size in names_in(corrected)]
        show_loops(
            [one for name in names_in(loops) for one in loops_of(name, trainer, data_sets, reviewed, sizes)]
        )


def draws_of(
    names: list[str],
    trainer: Trainer,
    data_sets: Path,
    reviewed: Path,
    draws: tuple[int, int],
    percents: list[int],
) -> list[Draws]:
    """All draws of the pipelines of some sets, over the texts of every set.

    Args:
        draws: of the same set, and of each other set and percentage.
    """
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
        drawer = watch.Drawer(one, pieces[0])
        rows.append(drawer.same(draws[0]))
        for other_name, found in zip(foreign, pieces[1:], strict=True):
            rows += drawer.others(other_name, found, percents, draws[1])
        msg.info(f"{name} is done.")
    return rows


def loops_of(
    name: str, trainer: Trainer, data_sets: Path, reviewed: Path, sizes: list[int]
) -> list[CorrectionLoop]:
    """The loops over the texts of a writer or of FIRE: of the first size, and others up to half the texts."""
    if name == "fire":
        parts, theirs = watch.of_fire(data_sets, reviewed, trainer.data)
    else:
        parts, theirs = watch.of_writer(name, reviewed, trainer.data)
    fitting = [sizes[0], *(size for size in sizes[1:] if size <= len(theirs) / 2)]
    return [watch.loop_of(name, parts, theirs, trainer, size) for size in fitting]


def show_draws(rows: list[Draws]) -> None:
    """Print what was said about each draw."""
    table = []
    for row in rows:
        named = max(sorted(set(row.named)), key=row.named.count, default="")
        until = f"{median(row.first):.0f} (to {max(row.first)})" if row.first else ""
        alarms = f"{row.alarms} of {row.draws}"
        table.append((row.pipeline, row.texts, f"{row.percent} %", alarms, until, named))
    print_table(table, ("Pipeline", "Other texts", "share", "Alarms", "texts until", "Named most often"))
    for percent in sorted({row.percent for row in rows}):
        chosen = [row for row in rows if row.percent == percent]
        alarms, draws = sum(row.alarms for row in chosen), sum(row.draws for row in chosen)
        print(f"{percent} % other texts: {alarms} of {draws} draws with an alarm")
    print(
        f"Draws of {watch.DRAWN} texts in files of {watch.FILE}; promised without other texts: {drift.ALPHA}."
    )


def show_loops(loops: list[CorrectionLoop]) -> None:
    """Print what watching says, and the gain of correcting texts on those that weren't corrected."""
    rows = []
    for one in loops:
        score, n = one.score, len(one.before)
        alarms = drift.differing([*one.drift.looks, *([one.drift.total] if one.drift.total else [])])
        p = stats.randomisation(one.after, one.before)
        rows.append(
            (
                one.name,
                ", ".join(found.measure.name for found in alarms[:2]) or "no alarm",
                stats.format_score(score.test, score.test_texts),
                f"{stats.format_score(score.f, score.texts)} {score.verdict}",
                *(stats.format_score(stats.intervals(c)[2], n) for c in (one.before, one.after)),
                f"{stats.format_difference(one.gain(), n)}, p {stats.format_p(p)}",
            )
        )
    print_table(rows, ("Texts", "Named", "F on test", "F of the sample", "F before", "F after", "Gain"))
    for one in loops:
        sentences = [report.headline(one.drift), *production.sentences(one.score), won_back(one)]
        print(wrapped(f"{one.name}: {' '.join(sentences)}"))


def won_back(one: CorrectionLoop) -> str:
    """Which part of the lost F the corrections win back, in a sentence."""
    if one.score.verdict != "worse":
        return "There is nothing to win back beyond noise."
    before, after = (float(stats.intervals(counts)[2].value) for counts in (one.before, one.after))
    share = (after - before) / (one.score.test.value - before)
    return f"{one.score.texts} corrected texts win back {share:.0%} of the F that was lost."


if __name__ == "__main__":
    run(main)

"""Measure the learning curve: whether its projections come true on real data, and how fast its grid is."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from benchmarks import curve
from benchmarks.curve import ALL, SPANS, ProjectionCase
from tqdm import tqdm
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import write_json
from ie.data.docs import read_docs
from ie.data.scheme import load_scheme
from ie.training.curve import learning_curve, projection

PARTS = ("projection", "speed")
# Trainings that learn fast, the same for every cell: what is proved is the projection, not the config.
OVERRIDES = {
    "training.batcher.size.start": 200,
    "training.max_steps": 400,
    "training.patience": 200,
    "training.optimizer.learn_rate": 0.004,
    "training.eval_frequency": 100,
}


def main(
    parts: Annotated[str, typer.Option(help="Which to run, separated by commas")] = ",".join(PARTS),
    data: Annotated[Path, typer.Option(help="Folder with fire, fashion_brands, crossner_politics")] = Path(
        "data"
    ),
    reviewed: Annotated[Path, typer.Option(help="Reviewed examples of the demo")] = Path(
        "assets/reviewed.jsonl"
    ),
    sets: Annotated[str, typer.Option(help="Which sets, separated by commas")] = ",".join(
        source.name for source in curve.SOURCES
    ),
    scores: Annotated[
        str, typer.Option(help="JSON file of scores measured before: nothing is trained; empty to train")
    ] = "",
    config: Annotated[Path, typer.Option(help="spaCy training config")] = Path("configs/efficient.cfg"),
    seeds: Annotated[int, typer.Option(help="Trainings of each portion", min=2)] = 3,
    speed_train: Annotated[Path, typer.Option(help="Training examples for the speed")] = Path(
        "corpus/train.spacy"
    ),
    speed_dev: Annotated[Path, typer.Option(help="Dev examples for the speed")] = Path("corpus/dev.spacy"),
    speed_steps: Annotated[int, typer.Option(help="Updates per training for the speed; 0: the config's")] = 0,
    scheme: Annotated[Path, typer.Option(help="Config that holds their labels")] = Path("configs/llm.cfg"),
    lang: Annotated[str, typer.Option(help="Language of the texts")] = "en",
    workers: Annotated[int, typer.Option(help="Trainings at a time; 0: one a core", min=0)] = 0,
    cache: Annotated[Path, typer.Option(help="Folder that keeps finished trainings")] = Path(
        ".cache/benchmark-curve"
    ),
    output: Annotated[Path, typer.Option(help="JSON file for the scores measured")] = Path(
        "training/benchmark-curve.json"
    ),
) -> None:
    """Print both tables."""
    wanted = [part.strip() for part in parts.split(",") if part.strip()]
    if unknown := set(wanted) - set(PARTS):
        raise UserError(f"--parts {sorted(unknown)[0]} is no part; choose from {', '.join(PARTS)}.")
    if "projection" in wanted:
        if scores:
            measured = read_scores(Path(scores))
        else:
            overrides = OVERRIDES | {"nlp.lang": lang}
            options = {"config": config, "overrides": overrides, "cache": cache, "workers": workers}
            measured = train_sets(sets, data, reviewed, seeds, lang, options)
            write_json(output, measured, indent=None)
        show_projection(curve.cases(measured))
    if "speed" in wanted:
        overrides = {"nlp.lang": lang} | ({"training.max_steps": speed_steps} if speed_steps else {})
        show_speed(speed_train, speed_dev, load_scheme(scheme).span_labels, config, overrides, seeds, workers)


def read_scores(path: Path) -> dict[str, Any]:
    """Scores measured before."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: no measured scores ({error}); make them with --output.") from None


def train_sets(
    sets: str, data: Path, reviewed: Path, seeds: int, lang: str, options: dict[str, Any]
) -> dict[str, Any]:
    """Measure the chosen sets, those of them that are there."""
    names = [name.strip() for name in sets.split(",") if name.strip()]
    known = {source.name: source for source in curve.SOURCES}
    if unknown := set(names) - set(known):
        raise UserError(f"--sets {sorted(unknown)[0]} is no set; choose from {', '.join(known)}.")
    measured = {}
    for name in names:
        if name != "demo" and not (data / name).is_dir():
            msg.warn(f"{data / name}: there is no such folder, so {name} is left out; see --data.")
            continue
        train, checks = curve.load(known[name], data, reviewed, lang)
        with tqdm(desc=name, unit=" trainings") as bar:
            measured[name] = curve.measure(
                known[name], train, checks, seeds=seeds, progress=bar.update, **options
            )
    if not measured:
        raise UserError(f"{data}: none of the sets is there; see --data.")
    return measured


def show_projection(cases: list[ProjectionCase]) -> None:
    """MAE and coverage at twice the data, for the sets it was tuned on and for those it has never seen."""
    measurable = [case for case in cases if case.spans >= SPANS]
    groups = {
        "never seen, all labels together": [c for c in cases if not c.tuning and c.label == ALL],
        f"never seen, each label of {SPANS}+ spans": [
            c for c in measurable if not c.tuning and c.label != ALL
        ],
        "tuned on, all labels together": [c for c in cases if c.tuning and c.label == ALL],
        f"tuned on, each label of {SPANS}+ spans": [c for c in measurable if c.tuning and c.label != ALL],
        "every case": measurable,
    }
    # The same without refusing wide intervals, as otherwise only easy cases would be measured.
    forced = replace(projection.SETTINGS, widest=float("inf"))
    sure = f"{projection.CONFIDENCE:.0%}".replace("%", " %")
    msg.divider("F at twice the data, foretold from 25, 50, 75 and 100 % of what there is")
    rows = []
    judged_groups = {title: curve.judge(chosen) for title, chosen in groups.items()}
    judged_groups["every case, the too unsure as well"] = curve.judge(measurable, forced)
    for title, judgements in judged_groups.items():
        for judged in judgements:
            ours = judged.coverage is not None
            rows.append(
                (
                    title if ours else "",
                    judged.name,
                    judged.n,
                    judged.refused if ours else "",
                    f"{judged.error:.4f}",
                    f"{judged.bias:+.4f}",
                    f"{judged.coverage:.0%}" if ours else "",
                    f"±{judged.half:.3f}" if ours else "",
                )
            )
    header = ("sets", "predictor", "n", "refused", "mean abs. error", "bias", f"{sure} interval held", "half")
    msg.table(rows, header=header, divider=True, aligns=("l", "l", "r", "r", "r", "r", "r", "r"))
    msg.divider("Will twice the data move F by more than .01?")
    rows = []
    for title, chosen in groups.items():
        for name, (right, n) in curve.signals(chosen).items():
            if n:
                rows.append((title, name, f"{right} of {n}", f"{right / n:.0%}"))
    msg.table(rows, header=("sets", "signal", "right", ""), divider=True, aligns=("l", "l", "r", "r"))


def show_speed(
    train: Path,
    dev: Path,
    labels: tuple[str, ...],
    config: Path,
    overrides: dict[str, Any],
    seeds: int,
    workers: int,
) -> None:
    """The grid against `spacy train` once a cell."""
    docs = read_docs(train)
    held = [{ent.label_ for ent in doc.ents} for doc in docs]
    cells = learning_curve.grid([doc.text for doc in docs], held, curve.PERCENTS, range(seeds))
    with tqdm(total=2 * len(cells), desc="trainings", leave=False) as bar:
        found = curve.race(
            cells,
            docs,
            dev,
            labels,
            config=config,
            overrides=overrides,
            workers=workers,
            progress=bar.update,
        )
    msg.divider(f"{found.cells} trainings of up to {len(docs):,} examples (goal: 2 x on 2 cores)")
    rows = [
        ("spacy train, one after another", f"{found.spacy:.1f}", "1.0", f"{found.spacy_mb:.0f}"),
        (
            f"grid, {found.workers} at a time",
            f"{found.grid:.1f}",
            f"{found.spacy / found.grid:.2f}",
            f"{found.worker_mb:.0f}",
        ),
    ]
    msg.table(rows, header=("", "seconds", "x", "MB a process"), divider=True, aligns=("l", "r", "r", "r"))
    print(f"Largest difference in F between the two: {found.apart:.6f}")


if __name__ == "__main__":
    run(main)

"""Train on growing portions of the data, to see whether more of it would help."""

import json
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm
from wasabi import msg

from ie import curves, reports, statistics, tracking
from ie.cli import run
from ie.files import atomic_write
from ie.scheme import load_scheme


def main(
    config: Annotated[Path, typer.Option(help="spaCy training config")] = Path("configs/efficient.cfg"),
    train: Annotated[Path, typer.Option(help="Training examples")] = Path("corpus/train.spacy"),
    dev: Annotated[Path, typer.Option(help="Development examples, the same for every portion")] = Path(
        "corpus/dev.spacy"
    ),
    scheme: Annotated[Path, typer.Option(help="Config that holds the labels")] = Path("configs/llm.cfg"),
    output: Annotated[Path, typer.Option(help="Folder for curve.json, curve.png, curve.html")] = Path(
        "training/efficient/curve"
    ),
    portions: Annotated[str, typer.Option(help="Percentages of the training examples")] = "25,50,75,100",
    seeds: Annotated[int, typer.Option(help="Trainings of each portion", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="The first seed")] = 0,
    max_steps: Annotated[int, typer.Option(help="Stop after so many updates; 0 leaves it to the config")] = 0,
    gpu_id: Annotated[int, typer.Option(help="Number of the GPU, or -1 for none")] = -1,
    lang: Annotated[str, typer.Option(help="Language of the texts")] = "en",
    workers: Annotated[int, typer.Option(help="Trainings at a time; 0: one a core", min=0)] = 0,
    cache: Annotated[str, typer.Option(help="Folder that keeps finished trainings; empty for none")] = (
        ".cache/train-curve"
    ),
) -> None:
    """Print the table, write curve.json, curve.png and curve.html."""
    labels = load_scheme(scheme).span_labels
    examples, checks = curves.read_corpus(train), curves.read_corpus(dev)
    percents = curves.parse_portions(portions)
    sizes = curves.sizes(percents, len(examples))
    held = [{ent.label_ for ent in doc.ents} for doc in examples]
    order = curves.nested_order([doc.text for doc in examples], held, sizes)
    cells = [
        curves.Cell(percent, size, seed + k)
        for percent, size in zip(percents, sizes, strict=True)
        for k in range(seeds)
    ]
    overrides = {"nlp.lang": lang} | ({"training.max_steps": max_steps} if max_steps else {})
    print(f"Training {len(cells)} times with {', '.join(f'{p:g}%' for p in percents)} of the data")
    with tqdm(total=len(cells), desc="trainings", leave=False) as bar:
        results = curves.run_grid(
            cells,
            examples,
            order,
            config=config,
            dev=dev,
            labels=labels,
            overrides=overrides,
            gpu_id=gpu_id,
            workers=workers,
            cache=Path(cache) if cache else None,
            progress=bar.update,
        )
    rows = curves.rows(cells, results, labels)
    notes = [curves.verdict(rows, len(checks))]
    for percent, size in zip(percents, sizes, strict=True):
        if lacking := curves.missing_labels(held, order, size):
            notes.append(
                f"The {percent:g} % portion ({curves.counted(size)}) has no {' and no '.join(lacking)}."
            )
    picture = reports.png(reports.curve_figure(rows, len(checks)))
    with atomic_write(output / "curve.json") as file:
        json.dump(curves.to_json(rows, len(checks), notes), file, ensure_ascii=False, indent=2)
        file.write("\n")
    with atomic_write(output / "curve.png", "wb") as file:
        file.write(picture)
    with atomic_write(output / "curve.html") as file:
        file.write(reports.curve_page(rows, dev=len(checks), train=train.name, notes=notes))
    print(f"\n{reports.curve_table(rows)}\n")
    last = statistics.format_score(rows[-1]["f"], n=len(checks))
    print(
        f"With {curves.counted(rows[-1]['examples'])} F is {last} on dev, ± the 95 % interval over its texts."
    )
    for note in notes:
        print(note)
    msg.good(f"{output / 'curve.png'}, {output / 'curve.html'}, {output / 'curve.json'}")
    with tracking.run("train-curve", config={"portions": portions, "seeds": seeds}) as tracker:
        columns = ["percent", "examples", "f", "f_low", "f_high"]
        tracker.table(
            "train_curve",
            columns,
            [[r["percent"], r["examples"], r["f"].value, r["f"].low, r["f"].high] for r in rows],
        )
        tracker.picture("curve", output / "curve.png")


if __name__ == "__main__":
    run(main)

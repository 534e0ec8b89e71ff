"""Train several configs on the same examples and seeds: which one is worth its size?"""

from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.files import atomic_write, write_json
from ie.data import options
from ie.data.config import load_data_config
from ie.data.docs import from_doc, read_docs
from ie.data.scheme import load_scheme
from ie.reports import figures
from ie.training import jobs, loop
from ie.training.curve import learning_curve
from ie.training.variants import report
from ie.training.variants.variant_comparison import (
    compare,
    costs_json,
    measure,
    on_test,
    parse_variants,
    read_gold,
    recommended,
    require_prepared,
    to_json,
    train_all,
)


def main(
    variants: Annotated[
        str, typer.Option(help="Names of configs, the simplest first; of equals it wins")
    ] = "efficient,vectors,transfer,pretrain",
    configs: Annotated[Path, typer.Option(help="Folder of the configs")] = Path("configs"),
    train: Annotated[Path, typer.Option(help="Training examples")] = Path("corpus/train.spacy"),
    dev: Annotated[Path, typer.Option(help="Examples to choose on")] = Path("corpus/dev.spacy"),
    test: Annotated[Path, typer.Option(help="Gold test records, for the chosen one alone")] = Path(
        "corpus/test.jsonl"
    ),
    scheme: options.Scheme = Path("configs/llm.cfg"),
    portions: Annotated[str, typer.Option(help="Percentages of the training examples")] = "25,100",
    seeds: Annotated[int, typer.Option(help="Trainings of each variant and portion", min=1)] = 3,
    seed: options.Seed = 0,
    max_steps: options.MaxSteps = 0,
    gpu_id: options.GpuId = -1,
    data: options.Data = Path("configs/data.cfg"),
    workers: options.Workers = 0,
    repeats: Annotated[int, typer.Option(help="Timed runs of each pipeline", min=1)] = 5,
    cache: Annotated[Path, typer.Option(help="Folder that keeps finished trainings")] = Path(
        ".cache/compare-variants"
    ),
    output: Annotated[Path, typer.Option(help="Folder for the table and the picture")] = Path(
        "training/variants"
    ),
) -> None:
    """Print the table and the advice; write variants.json, costs.json, variants.png and variants.html."""
    chosen = parse_variants(variants, configs)
    require_prepared(chosen)
    asked, settings = load_scheme(scheme), load_data_config(data)
    asked.require_spans("this comparison of entity recognisers")
    labels = asked.span_labels
    gold = read_gold(test)
    examples, checks = read_docs(train), read_docs(dev)
    known = list(map(from_doc, examples))
    learning_curve.require(known, list(map(from_doc, checks)), labels, (train, dev))
    cells = learning_curve.grid(
        [doc.text for doc in examples],
        list(map(learning_curve.labels_in, known)),
        learning_curve.parse_portions(portions),
        range(seed, seed + seeds),
    )
    print(f"Training {len(chosen)} variants {len(cells)} times each")
    with tqdm(total=len(chosen) * len(cells), desc="trainings", leave=False) as bar:
        results, models = train_all(
            chosen,
            cells,
            examples,
            dev=dev,
            test=test,
            labels=labels,
            cache=cache,
            overrides=loop.overrides(settings.lang, max_steps),
            gpu_id=gpu_id,
            workers=workers,
            started=lambda reused: jobs.resume(bar, reused),
            progress=bar.update,
        )
    compared = compare(cells, results, labels)
    nlp = settings.blank()
    texts = [record.text for record in gold]
    words = sum(len(nlp.make_doc(text)) for text in texts)
    costs = measure(models, results, texts, words, repeats=repeats)
    mb, n = {name: cost.mb for name, cost in costs.items()}, len(checks)
    # The choice is made on dev; only then anybody looks at test.
    tested = on_test(recommended(compared[-1], mb), cells, results)
    sentences = [
        report.advice(compared, costs, n),
        report.on_test(tested),
        *report.small_data(compared, n),
    ]
    remarks = report.notes(compared, seeds, n)
    drawing = report.figure(compared, costs, n)
    picture = figures.png(drawing)
    page = report.page(compared, costs, dev=n, sentences=sentences, remarks=remarks, drawing=drawing)
    found = to_json(compared, mb, n, tested)
    for name, content in {"variants.json": found, "costs.json": costs_json(costs)}.items():
        write_json(output / name, content)
    with atomic_write(output / "variants.png", "wb") as file:
        file.write(picture)
    with atomic_write(output / "variants.html") as file:
        file.write(page)
    rows = report.cells(compared, costs, n)
    print(f"\n{report.text_table(rows)}\n")
    for sentence in (*remarks, *sentences):
        print(sentence)
    msg.good(f"{output / 'variants.html'}, {output / 'variants.png'}, {output / 'variants.json'}")
    with tracking.run("compare-variants", config={"variants": variants, "seeds": seeds}) as tracker:
        tracker.table("variants", report.HEADER, rows)
        tracker.picture("variants", output / "variants.png")


if __name__ == "__main__":
    run(main)

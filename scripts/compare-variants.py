"""Train several configs on the same examples and seeds: which one is worth its size?"""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.files import write_files
from ie.core.text import print_table, wrapped
from ie.data import options
from ie.data.config import load_data_config
from ie.data.docs import from_doc, read_docs
from ie.data.scheme import load_scheme
from ie.reports import figures
from ie.reports.html import links_to_evaluated
from ie.training import loop
from ie.training.curve import learning_curve
from ie.training.jobs import read_gold
from ie.training.variants import report, variant_comparison


def main(
    variants: Annotated[
        str, typer.Option(help="Names of configs, the simplest first; of equals it wins")
    ] = "crf,efficient,vectors,transfer,pretrain",
    configs: Annotated[Path, typer.Option(help="Folder of the configs")] = Path("configs"),
    corpus: options.Corpus = Path("corpus"),
    scheme: options.Scheme = Path("configs/llm.cfg"),
    portions: Annotated[str, typer.Option(help="Percentages of the training examples")] = "25,100",
    seeds: Annotated[int, typer.Option(help="Trainings of each variant and portion", min=1)] = 3,
    seed: options.Seed = 0,
    max_steps: options.MaxSteps = 0,
    gpu_id: options.GpuId = -1,
    data: options.Data = Path("configs/data.cfg"),
    workers: options.Workers = 0,
    cache: options.TrainingCache = Path(".cache/compare-variants"),
    output: Annotated[Path, typer.Option(help="Folder for the table and the figure")] = Path(
        "training/variants"
    ),
) -> None:
    """Print the table and the advice; write variants.json, costs.json, variants.png and variants.html."""
    chosen = variant_comparison.parse_variants(variants, configs)
    asked, settings = load_scheme(scheme), load_data_config(data)
    asked.require_spans("this comparison of entity recognisers")
    labels = asked.span_labels
    gold = read_gold(corpus / "test.jsonl")
    train, dev = corpus / "train.spacy", corpus / "dev.spacy"
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
    results, models = variant_comparison.train_variants(
        chosen,
        cells,
        examples,
        cache=cache,
        workers=workers,
        dev=dev,
        test=corpus / "test.jsonl",
        labels=labels,
        overrides=loop.overrides(settings.texts, max_steps),
        gpu_id=gpu_id,
    )
    nlp, texts = settings.blank(), [record.text for record in gold]
    words = sum(len(nlp.make_doc(text)) for text in texts)
    costs = variant_comparison.measure(models, results, texts, words)
    compared = variant_comparison.compare(cells, results, labels)
    rows = show(compared, costs, results, len(checks), seeds, output)
    with tracking.run("compare-variants", config={"variants": variants, "seeds": seeds}) as tracker:
        tracker.table("variants", report.HEADER, rows)
        tracker.picture("variants", output / "variants.png")


def show(
    compared: list[variant_comparison.VariantComparison],
    costs: dict[str, variant_comparison.VariantCost],
    results: dict[str, list],
    dev: int,
    seeds: int,
    output: Path,
) -> list[list[str]]:
    """Choose on dev, then score that choice on test; write the files and print them. Returns the table."""
    mb = {name: cost.mb for name, cost in costs.items()}
    tested = variant_comparison.on_test(report.choice(compared, costs), results)
    basis = [
        report.reason(compared, costs, dev),
        report.on_test(tested),
        *report.small_data(compared, dev),
    ]
    notes = report.notes(compared, seeds, dev)
    drawing = report.figure(compared, costs, dev)
    contents = {
        "variants.json": variant_comparison.to_json(compared, mb, dev, tested),
        "costs.json": variant_comparison.costs_json(costs),
        "variants.png": figures.png(drawing),
        "variants.html": report.page(
            compared,
            costs,
            dev=dev,
            sentences=basis,
            remarks=notes,
            drawing=drawing,
            links=links_to_evaluated(output / "variants.html"),
        ),
    }
    write_files(output, contents)
    rows = report.cells(compared, costs, dev)
    # The page has the last columns, too.
    print_table(
        [row[: len(report.ALIGNS)] for row in rows], report.HEADER[: len(report.ALIGNS)], report.ALIGNS
    )
    for sentence in (*notes, *basis, report.headline(compared, costs)):
        print(wrapped(sentence))
    msg.good(", ".join(str(output / name) for name in contents))
    return rows


if __name__ == "__main__":
    run(main)

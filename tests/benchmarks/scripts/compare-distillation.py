"""Train on silver in every way of configs/distill.cfg: what does each buy over the reviewed texts alone?"""

from pathlib import Path
from typing import Annotated

import typer
from benchmarks import distillation_comparison as comparison
from benchmarks import distillation_report as report
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.files import atomic_write, check_writable, write_json
from ie.data import options, records
from ie.data.config import load_data_config
from ie.data.records import Reader
from ie.data.scheme import load_scheme
from ie.reports import figures
from ie.training.distill import distillation, recipes, teachers


def main(
    settings: Annotated[Path, typer.Option(help="Recipes, and the settings of their means.")] = Path(
        "configs/distill.cfg"
    ),
    config: Annotated[Path, typer.Option(help="Training config of spaCy.")] = Path("configs/efficient.cfg"),
    reviewed: Annotated[Path, typer.Option(help="Reviewed training examples.")] = Path(
        "corpus/reviewed.spacy"
    ),
    reviewed_examples: Annotated[int, typer.Option(help="How many of them are trained on; 0: all.")] = 150,
    silver: Annotated[Path, typer.Option(help="Silver texts that may be trained on.")] = Path(
        "corpus/silver.spacy"
    ),
    llm: Annotated[Path, typer.Option(help="What the LLM said of them, of dev and of test.")] = Path(
        "corpus/llm.jsonl"
    ),
    llm_train: Annotated[
        Path, typer.Option(help="What it said of reviewed training texts, if it was asked.")
    ] = Path("corpus/llm-train.jsonl"),
    dev: Annotated[Path, typer.Option(help="Reviewed examples to compare on.")] = Path("corpus/dev.spacy"),
    test: Annotated[Path, typer.Option(help="Gold test records, for the recommendation alone.")] = Path(
        "corpus/test.jsonl"
    ),
    scheme: options.Scheme = Path("configs/llm.cfg"),
    patterns: options.Patterns = "assets/patterns.jsonl",
    gazetteer: options.Gazetteer = "assets/companies.csv",
    gazetteer_label: options.GazetteerLabel = "",
    seeds: Annotated[int, typer.Option(help="Trainings of each recipe.", min=1)] = 3,
    seed: options.Seed = 0,
    max_steps: options.MaxSteps = 0,
    gpu_id: options.GpuId = -1,
    workers: options.Workers = 0,
    data: options.Data = Path("configs/data.cfg"),
    cache: Annotated[Path, typer.Option(help="Folder that keeps finished trainings.")] = Path(
        ".cache/compare-distillation"
    ),
    output: Annotated[Path, typer.Option(help="Folder for the table and the picture.")] = Path(
        "training/efficient/distillation"
    ),
) -> None:
    """Print the table and the advice; write distillation.json, .png, .html, and seconds.json."""
    asked, labels = recipes.load(settings), load_scheme(scheme)
    names = ("distillation.json", "seconds.json", "distillation.png", "distillation.html")
    for name in names:
        check_writable(output / name)
    gold = distillation.read_reviewed(reviewed, dev, labels.span_labels)
    lang = load_data_config(data).lang
    reader = Reader(labels, records.blank(lang).tokenizer, "snap", "first", "drop")
    chosen, found, hidden = distillation.read_silver(reader, llm, silver, llm_train, gold, reviewed_examples)
    helpers, missing = distillation.helpers(
        found,
        chosen,
        asked,
        lang=lang,
        patterns=patterns,
        gazetteer=gazetteer,
        gazetteer_label=gazetteer_label,
    )
    for sentence in missing:
        msg.warn(sentence)
    with teachers.bench(
        config=config,
        dev=dev,
        test=test,
        labels=labels.span_labels,
        lang=lang,
        cache=cache,
        max_steps=max_steps,
        gpu_id=gpu_id,
        workers=workers,
        seed=seed,
    ) as at:
        sources = distillation.DistillationData(chosen, found, helpers)
        compared = comparison.compare(at, sources, hidden, asked, seeds=seeds, llm=llm, test=test)
    rows = report.cells(compared, len(hidden))
    remarks = report.notes(compared, len(chosen), len(found), len(hidden), seeds)
    sentences = report.advice(compared)
    drawing = report.figure(compared)
    contents = (comparison.to_json(compared), comparison.seconds(compared))
    for name, content in zip(names, contents, strict=False):
        write_json(output / name, content)
    with atomic_write(output / "distillation.png", "wb") as file:
        file.write(figures.png(drawing))
    with atomic_write(output / "distillation.html") as file:
        file.write(report.page(compared, rows, sentences, remarks, drawing))
    print(f"\n{report.text_table(rows)}\n")
    for sentence in (*remarks, *sentences):
        print(sentence)
    msg.good(", ".join(str(output / name) for name in names))
    with tracking.run("compare-distillation", config={"seeds": seeds, "reviewed": len(chosen)}) as tracker:
        tracker.table("recipes", report.HEADER, rows)
        tracker.picture("recipes", output / "distillation.png")


if __name__ == "__main__":
    run(main)

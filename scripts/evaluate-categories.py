"""Score the category classifier on test, against the most frequent category."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core import stats, tracking
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import write_json
from ie.data import corpora, records
from ie.data.scheme import load_scheme
from ie.evaluation import categories
from ie.training import assembly


def main(
    model: Annotated[Path, typer.Option(help="Pipeline with the textcat component")] = Path(
        "training/efficient/categories/model-best"
    ),
    scheme: Annotated[Path, typer.Option(help="Config that holds the labels")] = Path("configs/llm.cfg"),
    train: Annotated[Path, typer.Option(help="Training records: what the baseline knows")] = Path(
        "corpus/train.jsonl"
    ),
    test: Annotated[Path, typer.Option(help="Gold test records")] = Path("corpus/test.jsonl"),
    output: Annotated[Path, typer.Option(help="Folder for metrics.json")] = Path(
        "training/efficient/categories"
    ),
    lang: Annotated[str, typer.Option(help="Language of the texts")] = "en",
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap")] = 0,
) -> None:
    """Write metrics.json; print P, R and F of each category, their mean, and accuracy."""
    labels, blank = load_scheme(scheme), records.blank(lang)
    known = corpora.load(train, blank, labels)
    corpora.require_labels(train, known, labels, "category")
    everything = corpora.load(test, blank, labels)
    gold = [record for record in everything if corpora.category_of(record)]
    if not gold:
        raise UserError(f"{test}: no text has one category; review some, then run `weasel run split`.")
    if len(gold) < len(everything):
        msg.warn(f"{test}: {len(everything) - len(gold):,} texts don't have one category and aren't counted.")
    right = [corpora.category_of(record) for record in gold]
    nlp = assembly.load(model, "train-categories")
    systems = {
        "component": categories.predict(nlp, gold),
        "majority": categories.majority(known, len(gold)),
    }
    rows, metrics = [], {}
    for name, found in systems.items():
        counts = categories.count(right, found, labels.categories)
        metrics[name] = {}
        for label, (n, estimate) in categories.table(counts, labels.categories, seed).items():
            three = estimate if isinstance(estimate, tuple) else (None, None, estimate)
            cells = [stats.format_score(e, documents=len(gold)) if e else "" for e in three]
            rows.append([name if not metrics[name] else "", label, f"{n:,}", *cells])
            metrics[name][label] = {"n": n} | {
                metric: e.rounded() for metric, e in zip(stats.METRICS, three, strict=True) if e
            }
    header = ("system", "category", "n", "P", "R", "F")
    msg.table(rows, header=header, divider=True, aligns=("l", "l", "r", "l", "l", "l"))
    print(
        f"{len(gold):,} test texts with one category; n = texts of the category, macro = mean F of the "
        "categories, accuracy in the column F, ± = 95 % bootstrap interval over texts."
    )
    write_json(output / "metrics.json", {"test_documents": len(gold), "systems": metrics})
    msg.good(str(output / "metrics.json"))
    with tracking.run("evaluate-categories", config={"texts": len(gold)}) as tracker:
        tracker.table("categories", header, rows)


if __name__ == "__main__":
    run(main)

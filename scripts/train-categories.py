"""Train the category classifier on the texts that have a category."""

from pathlib import Path
from typing import Annotated, Any

import spacy
import typer
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.files import write_json
from ie.core.stats import format_score
from ie.data import corpora, records
from ie.data.scheme import load_scheme
from ie.evaluation import categories
from ie.training import loop


def main(
    config: Annotated[Path, typer.Option(help="Training config of spaCy")] = Path("configs/categories.cfg"),
    scheme: Annotated[Path, typer.Option(help="Config that holds the labels")] = Path("configs/llm.cfg"),
    train: Annotated[Path, typer.Option(help="Training records")] = Path("corpus/train.jsonl"),
    dev: Annotated[Path, typer.Option(help="Records that pick the checkpoint")] = Path("corpus/dev.jsonl"),
    tok2vec: Annotated[str, typer.Option(help="Pipeline whose tok2vec is shared, if the config does")] = "",
    output: Annotated[Path, typer.Option(help="Folder for the pipeline")] = Path(
        "training/efficient/categories"
    ),
    lang: Annotated[str, typer.Option(help="Language of the texts")] = "en",
    seed: Annotated[int, typer.Option(help="Seed of weights and batches")] = 0,
    max_steps: Annotated[int, typer.Option(help="Stop after so many updates; 0 leaves it to the config")] = 0,
    gpu_id: Annotated[int, typer.Option(help="Number of the GPU, or -1 for none")] = -1,
) -> None:
    """Write OUTPUT/model-best and train.json (scores on dev)."""
    labels, blank = load_scheme(scheme), records.blank(lang)
    known = corpora.load(train, blank, labels)
    examples = corpora.require_labels(train, known, labels, "category")
    gold = corpora.load(dev, blank, labels)
    for path, found in ((train, known), (dev, gold)):
        if left_out := sum(corpora.category_of(record) is None for record in found):
            msg.warn(f"{path}: {left_out:,} of {len(found):,} texts don't have one category and aren't used.")
    overrides: dict[str, Any] = {"nlp.lang": lang}
    overrides |= {"training.max_steps": max_steps} if max_steps else {}
    overrides |= {"paths.tok2vec": tok2vec} if tok2vec else {}
    tracking.prepare("train-categories", name="train categories")
    result = loop.train(
        config,
        train=train,
        dev=dev,
        output=output,
        overrides=overrides,
        seed=seed,
        quiet=False,
        gpu_id=gpu_id,
    )
    gold = [record for record in gold if corpora.category_of(record)]
    found = categories.predict(spacy.load(output / "model-best"), gold)
    counts = categories.count([corpora.category_of(r) for r in gold], found, labels.categories)
    f = categories.macro(counts)
    summary = {
        "examples": dict(sorted(examples.items())),
        "without_category": len(known) - sum(examples.values()),
        "step": result["step"],
        "dev_documents": len(gold),
        "macro_f": {name: round(getattr(f, name), 4) for name in ("value", "low", "high")},
    }
    write_json(output / "train.json", summary)
    msg.good(f"{output / 'model-best'}: macro F {format_score(f, len(gold))} on dev.")
    msg.info("Dev picked the step, so this flatters it: `evaluate-categories` measures on test.")


if __name__ == "__main__":
    run(main)

"""Train the relations component on gold entities, and choose its threshold on dev."""

from pathlib import Path
from typing import Annotated, Any

import spacy
import typer
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.files import write_json
from ie.core.stats import format_score, intervals
from ie.data import corpora, records
from ie.data.scheme import load_scheme
from ie.evaluation import relations
from ie.training import loop


def main(
    config: Annotated[Path, typer.Option(help="Training config of spaCy")] = Path("configs/relations.cfg"),
    scheme: Annotated[Path, typer.Option(help="Config that holds the labels")] = Path("configs/llm.cfg"),
    train: Annotated[Path, typer.Option(help="Training records")] = Path("corpus/train.jsonl"),
    dev: Annotated[Path, typer.Option(help="Records that pick checkpoint and threshold")] = Path(
        "corpus/dev.jsonl"
    ),
    tok2vec: Annotated[str, typer.Option(help="Pipeline whose tok2vec is shared; empty for its own")] = "",
    output: Annotated[Path, typer.Option(help="Folder for the pipeline")] = Path(
        "training/efficient/relations"
    ),
    lang: Annotated[str, typer.Option(help="Language of the texts")] = "en",
    seed: Annotated[int, typer.Option(help="Seed of weights and batches")] = 0,
    max_steps: Annotated[int, typer.Option(help="Stop after so many updates; 0 leaves it to the config")] = 0,
    gpu_id: Annotated[int, typer.Option(help="Number of the GPU, or -1 for none")] = -1,
) -> None:
    """Write OUTPUT/model-best and train.json (scores on dev, threshold)."""
    labels, nlp = load_scheme(scheme), records.blank(lang)
    examples = corpora.require_labels(train, corpora.load(train, nlp, labels), labels, "relation")
    gold = corpora.load(dev, nlp, labels)
    overrides: dict[str, Any] = {"nlp.lang": lang}
    overrides |= {"training.max_steps": max_steps} if max_steps else {}
    overrides |= {"paths.tok2vec": tok2vec} if tok2vec else {}
    tracking.prepare("train-relations", name="train relations")
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
    trained = spacy.load(output / "model-best")
    component = trained.get_pipe("relations")
    relations.set_threshold(trained, gold)
    component.to_disk(output / "model-best" / "relations")
    counts = relations.count(gold, relations.predict(trained, gold), component.labels).sum(axis=1)
    f = intervals(counts)[2]
    summary = {
        "examples": result["examples"],
        "relations": dict(sorted(examples.items())),
        "step": result["step"],
        "threshold": component.threshold,
        "dev_documents": len(gold),
        "f": {name: round(getattr(f, name), 4) for name in ("value", "low", "high")},
    }
    write_json(output / "train.json", summary)
    msg.good(
        f"{output / 'model-best'}: F {format_score(f, len(gold))} on dev with gold entities, from a "
        f"probability of {component.threshold:g} up."
    )
    msg.info("Dev picked step and threshold, so this flatters it: `evaluate-relations` measures on test.")


if __name__ == "__main__":
    run(main)

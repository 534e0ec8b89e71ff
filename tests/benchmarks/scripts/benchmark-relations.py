"""Train and score the relations component on other data sets, as far as they are here."""

import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

import spacy
import typer
from wasabi import msg

from ie.core.cli import run
from ie.core.files import write_json
from ie.data import corpora, records
from ie.data.records import write_records
from ie.evaluation import relations, scoring
from ie.training import loop


def main(
    data: Annotated[Path, typer.Option(help="Folder of the data sets; IE_DATA goes before it")] = Path(
        "../shared/data"
    ),
    sets: Annotated[
        str, typer.Option(help="Their folders, each with train and test .jsonl")
    ] = "fire,core_funding",
    config: Annotated[Path, typer.Option(help="Training config of spaCy")] = Path("configs/relations.cfg"),
    output: Annotated[Path, typer.Option(help="Scores")] = Path("training/benchmark-relations.json"),
    lang: Annotated[str, typer.Option(help="Language of the texts")] = "en",
    seed: Annotated[int, typer.Option(help="Seed of weights, batches and bootstrap")] = 0,
    max_steps: Annotated[int, typer.Option(help="Stop after so many updates; 0 leaves it to the config")] = 0,
) -> None:
    """Print P, R and F on gold entities against the majority and the nearest-pair rule; write them."""
    data = Path(os.environ.get("IE_DATA") or data)
    found = {}
    for name in filter(None, map(str.strip, sets.split(","))):
        if not (data / name / "train.jsonl").exists():
            msg.warn(f"{data / name} isn't here and is left out; set IE_DATA to the folder of the data sets.")
            continue
        msg.divider(name)
        found[name] = measure(data / name, config, lang, seed, max_steps)
    if found:
        write_json(output, found)
        msg.good(str(output))


def measure(folder: Path, config: Path, lang: str, seed: int, max_steps: int) -> dict[str, Any]:
    """Train on a set's train (without a dev, a fifth of it picks the checkpoint) and score on its test."""
    nlp = records.blank(lang)
    known, gold = (corpora.load(folder / f"{side}.jsonl", nlp) for side in ("train", "test"))
    tested = {record.text for record in gold}
    known = [record for record in known if record.text not in tested]
    if (folder / "dev.jsonl").exists():
        train, dev = known, corpora.load(folder / "dev.jsonl", nlp)
    else:
        train, dev = [r for i, r in enumerate(known) if i % 5], known[::5]
    overrides: dict[str, Any] = {"nlp.lang": lang}
    overrides |= {"training.max_steps": max_steps} if max_steps else {}
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        for side, part in (("train", train), ("dev", dev)):
            write_records(temporary / f"{side}.jsonl", part)
        loop.train(
            config,
            train=temporary / "train.jsonl",
            dev=temporary / "dev.jsonl",
            output=temporary,
            overrides=overrides,
            seed=seed,
        )
        trained = spacy.load(temporary / "model-best")
    threshold = relations.set_threshold(trained, dev)
    habits = relations.habits(train)
    labels = sorted({relation.label for record in (*train, *gold) for relation in record.relations})
    systems = {
        "component": relations.predict(trained, gold),
        "majority": [relations.by_majority(record, habits) for record in gold],
        "nearest pair": [relations.by_rule(record, habits) for record in gold],
    }
    tables = {name: relations.count(gold, answers, labels) for name, answers in systems.items()}
    scored = scoring.score_labels(tables, labels, seed)
    msg.table(
        scored.rows(),
        header=("system", "relation", "n", "P", "R", "F"),
        divider=True,
        aligns=("l", "l", "r", "l", "l", "l"),
    )
    print(f"{len(train):,} train, {len(dev):,} dev, {len(gold):,} test texts; gold entities.")
    return {
        "train_documents": len(train),
        "test_documents": len(gold),
        "threshold": threshold,
        "systems": scored.figures(),
    }


if __name__ == "__main__":
    run(main)

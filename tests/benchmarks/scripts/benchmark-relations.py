"""Train and score the relations component on other data sets, as far as they are here."""

import os
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import spacy
import typer
from spacy.language import Language
from wasabi import msg

from ie.core import stats
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import write_json
from ie.data import corpora, records
from ie.data.records import Record, write_records
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
    portions: Annotated[
        str, typer.Option(help="Shares of train in percent, with commas; several give a learning curve")
    ] = "100",
    output: Annotated[Path, typer.Option(help="Scores")] = Path("training/benchmark-relations.json"),
    lang: Annotated[str, typer.Option(help="Language of the texts")] = "en",
    seed: Annotated[int, typer.Option(help="Seed of samples and bootstrap")] = 0,
) -> None:
    """Print P, R and F on gold entities against the majority and the nearest-pair rule; write them.

    The project's own data is a set too: `--data . --sets corpus`.
    """
    data = Path(os.environ.get("IE_DATA") or data)
    shares = [part.strip() for part in portions.split(",")]
    if not all(share.isdecimal() and 0 < int(share) <= 100 for share in shares):
        raise UserError(f"--portions {portions!r}: give whole numbers from 1 to 100, such as 25,50,100.")
    percents = sorted(map(int, shares))
    found = {}
    for name in filter(None, map(str.strip, sets.split(","))):
        if not (data / name / "train.jsonl").exists():
            msg.warn(f"{data / name} isn't here and is left out; set IE_DATA to the folder of the data sets.")
            continue
        msg.divider(name)
        found[name] = measure(data / name, config, lang, seed, percents)
    if found:
        write_json(output, found)
        msg.good(str(output))


def measure(folder: Path, config: Path, lang: str, seed: int, percents: Sequence[int]) -> dict[str, Any]:
    """Train on a set's train (without a dev, a fifth of it sets the threshold) and score on its test."""
    nlp = records.blank(lang)
    known, gold = (corpora.load(folder / f"{side}.jsonl", nlp) for side in ("train", "test"))
    tested = {record.text for record in gold}
    known = [record for record in known if record.text not in tested]
    if (folder / "dev.jsonl").exists():
        train, dev = known, corpora.load(folder / "dev.jsonl", nlp)
    else:
        train, dev = [r for i, r in enumerate(known) if i % 5], known[::5]
    labels = sorted({relation.label for record in (*train, *gold) for relation in record.relations})
    # Each portion contains the smaller ones.
    order = random.Random(seed).sample(train, len(train))
    curve, shown = [], []
    for percent in percents:
        part = order[: max(1, len(train) * percent // 100)]
        trained = train_relations(part, dev, config, lang, seed)
        answers = relations.predict(trained, gold)
        estimates = stats.intervals(relations.count(gold, answers, labels).sum(axis=1), seed=seed)
        curve.append({"percent": percent, "texts": len(part)} | stats.prf_figures(estimates))
        shown.append(
            [f"{percent} %", f"{len(part):,}"]
            + [stats.format_score(e, documents=len(gold)) for e in estimates]
        )
    if len(percents) > 1:
        msg.table(
            shown, header=("of train", "texts", "P", "R", "F"), divider=True, aligns=("r", "r", "l", "l", "l")
        )
    habits = relations.habits(part)
    systems = {
        "component": answers,
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
    print(f"{len(part):,} train, {len(dev):,} dev, {len(gold):,} test texts; gold entities.")
    return {
        "train_documents": len(part),
        "test_documents": len(gold),
        "threshold": trained.get_pipe("relations").threshold,
        "systems": scored.figures(),
        "curve": curve,
    }


def train_relations(
    train: Sequence[Record], dev: Sequence[Record], config: Path, lang: str, seed: int
) -> Language:
    """A pipeline trained on some texts, with the threshold that is best on others."""
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        for side, part in (("train", train), ("dev", dev)):
            write_records(temporary / f"{side}.jsonl", part)
        loop.train(
            config,
            train=temporary / "train.jsonl",
            dev=temporary / "dev.jsonl",
            output=temporary,
            overrides={"nlp.lang": lang},
            seed=seed,
        )
        trained = spacy.load(temporary / "model-best")
    relations.set_threshold(trained, dev)
    return trained


if __name__ == "__main__":
    run(main)

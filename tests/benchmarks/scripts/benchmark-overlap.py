"""Spans that overlap: the span classifier beside components for entities, on flat and nested annotations."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from benchmarks import nested
from tqdm import tqdm
from wasabi import msg

from ie.core import stats
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import write_json
from ie.core.stats import Estimate
from ie.core.text import names_in, print_table
from ie.data import options, records
from ie.data.config import DataConfig, load_data_config
from ie.data.docs import docbin, to_doc
from ie.data.records import Record
from ie.data.splits import SIDES, Split
from ie.evaluation import scoring, systems
from ie.training import loop

HEADER = ("Set", "Annotations", "Config", "Texts", "n", "P", "R", "F", "To spancat", "Words/s", "MB")
# The demo, and a public set; how spans inside others are made of each.
RULES: dict[str, Callable[[Sequence[Record]], list[Record]]] = {
    "demo": nested.deal_phrases,
    "crossner_politics": nested.inner_names,
}
# Its spans may overlap; others are given the outermost ones.
OVERLAPPING = "spancat"
REPEATS = 3


def main(
    data: Annotated[Path, typer.Option(help="Folder of the public sets; IE_DATA goes before it")] = Path(
        "../shared/data"
    ),
    sets: Annotated[str, typer.Option(help="Sets, with commas")] = ",".join(RULES),
    configs: Annotated[str, typer.Option(help="Configs, with commas")] = "spancat,efficient,crf",
    annotations: Annotated[str, typer.Option(help="Kinds of annotations, with commas")] = "flat,nested",
    reviewed: options.Reviewed = Path("assets/reviewed.jsonl"),
    settings: Annotated[Path, typer.Option(help="Data settings, for the split")] = Path("configs/data.cfg"),
    max_steps: options.MaxSteps = 0,
    seed: options.Seed = 0,
    output: Annotated[Path, typer.Option(help="Scores")] = Path("training/benchmark-overlap.json"),
) -> None:
    """Print F on test, speed and size of each config, on flat annotations and on nested ones."""
    if unknown := [name for name in names_in(sets) if name not in RULES]:
        raise UserError(f"--sets {unknown[0]!r}: choose from {', '.join(RULES)}.")
    folder = Path(os.environ.get("IE_DATA") or data)
    config = load_data_config(settings)
    overrides = {"training.max_steps": max_steps} if max_steps else {}
    rows: list[dict[str, Any]] = []
    for name in names_in(sets):
        sources = [reviewed] if name == "demo" else [folder / name / f"{side}.jsonl" for side in SIDES]
        if not sources[0].exists():
            msg.warn(
                f"{sources[0]} isn't here, so {name} is left out; set IE_DATA to the folder of the sets."
            )
            continue
        gold = read(sources, config)
        for kind in names_in(annotations):
            annotated = RULES[name](gold) if kind == "nested" else gold
            rows += measure((name, kind), annotated, names_in(configs), config, overrides, seed)
    if rows:
        print_table(table(rows), HEADER, "lllrrrrrrrr")
        print(
            "n: annotated spans in the test texts; ±: 95 % bootstrap interval over texts. Of nested "
            f"annotations, configs other than {OVERLAPPING} learn the outermost spans and are scored on all. "
            "To spancat: paired difference in F."
        )
        write_json(output, rows)
        msg.good(str(output))


def read(paths: Sequence[Path], config: DataConfig) -> list[Record]:
    """The accepted records of some files, each text once."""
    reader = records.Reader(
        None, config.blank().tokenizer, misaligned="snap", duplicates="first", bad_relations="drop"
    )
    found: dict[str, Record] = {}
    for path in paths:
        for record in records.accepted(reader.read(path, report=records.ReadReport())):
            found.setdefault(record.text, record)
    return list(found.values())


def measure(
    data: tuple[str, str],
    gold: Sequence[Record],
    configs: Sequence[str],
    settings: DataConfig,
    overrides: dict[str, Any],
    seed: int,
) -> list[dict[str, Any]]:
    """Train all configs on a set; a row for each.

    Args:
        data: name of the set, and kind of its annotations.
    """
    name, kind = data
    split, counts, rows = settings.assign(list(gold), []), {}, []
    words = sum(len(settings.blank().make_doc(record.text)) for record in split.test)
    for config in tqdm(configs, desc=f"{name}, {kind}", leave=False):
        result = train(split, kind, Path("configs") / f"{config}.cfg", settings, overrides, seed)
        table = scoring.count(split.test, result.predicted or [], scoring.labels_of(gold))
        counts[config] = table.sum(axis=1)
        p, r, f = (estimate.as_dict() for estimate in stats.intervals(counts[config]))
        row = {"set": name, "annotations": kind, "config": config, "train": len(split.train)}
        row |= {"test": len(split.test), "spans": sum(len(record.spans) for record in split.test)}
        speed = result.words_per_second(words)
        rows.append(row | {"p": p, "r": r, "f": f, "words_per_second": speed, "mb": result.mb})
    for row in rows:
        compared = OVERLAPPING in counts and row["config"] != OVERLAPPING
        minus = stats.difference(counts[row["config"]], counts[OVERLAPPING]) if compared else None
        row["minus_spancat"] = minus.as_dict() if minus else None
    return rows


def train(
    split: Split, kind: str, config: Path, settings: DataConfig, overrides: dict[str, Any], seed: int
) -> systems.SystemResult:
    """Train a config on a split and run it on the test texts, timed."""
    nlp, overlapping = settings.blank(), kind == "nested" and config.stem == OVERLAPPING
    with TemporaryDirectory(prefix="overlap-") as folder:
        paths = {}
        for side in ("train", "dev"):
            examples = getattr(split, side)
            if kind == "nested" and not overlapping:
                examples = [
                    record.model_copy(update={"spans": records.outermost(record.spans)})
                    for record in examples
                ]
            paths[side] = Path(folder) / f"{side}.spacy"
            docbin(to_doc(record, nlp, overlapping=overlapping) for record in examples).to_disk(paths[side])
        loop.train(config, **paths, output=Path(folder) / "model", overrides=overrides, seed=seed)
        texts = [record.text for record in split.test]
        model = Path(folder) / "model" / "model-best"
        return systems.run_pipeline(config.stem, config.stem, model, texts, repeats=REPEATS)


def table(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The rows for people."""

    def score(row: dict[str, Any], name: str) -> str:
        return stats.format_score(_estimate(row[name]), documents=row["test"])

    return [
        [
            row["set"],
            row["annotations"],
            row["config"],
            f"{row['train']:,} + {row['test']:,}",
            f"{row['spans']:,}",
            *(score(row, name) for name in "prf"),
            stats.format_difference(_estimate(row["minus_spancat"]), row["test"])
            if row["minus_spancat"]
            else "",
            f"{stats.two_digits(row['words_per_second'][0]):,}",
            f"{row['mb']:.1f}",
        ]
        for row in rows
    ]


def _estimate(figures: dict[str, float]) -> Estimate:
    return Estimate(figures["value"], figures["low"], figures["high"])


if __name__ == "__main__":
    run(main)

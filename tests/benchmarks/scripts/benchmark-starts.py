"""Train configs on 50, 200 and 1,000 texts of several data sets, and score them on test."""

import hashlib
import os
import random
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer
from wasabi import msg

from ie.core import stats
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import write_json
from ie.core.text import names_in
from ie.data import options, records
from ie.data.docs import from_doc, to_doc
from ie.training import jobs
from ie.training.jobs import Cell

HEADER = ("Set", "Texts", "n", "Config", "F on test", "Lowest", "Highest", "Minus the first")


def main(
    data: Annotated[Path, typer.Option(help="Folder of the data sets; IE_DATA goes before it")] = Path(
        "../shared/data"
    ),
    sets: Annotated[str, typer.Option(help="Folders with train, dev and test .jsonl, with commas")] = (
        "corpus,fashion_brands,crossner_politics,fire"
    ),
    configs: Annotated[str, typer.Option(help="Configs, with commas; others are compared with the first")] = (
        "efficient,crf"
    ),
    sizes: Annotated[str, typer.Option(help="Training texts, with commas; at most as many as there are")] = (
        "50,200,1000"
    ),
    seeds: Annotated[int, typer.Option(help="Samples and trainings of each size", min=1)] = 3,
    max_steps: options.MaxSteps = 0,
    workers: options.Workers = 0,
    lang: options.Lang = "en",
    cache: Annotated[Path, typer.Option(help="Folder that keeps finished trainings")] = Path(
        ".cache/benchmark-starts"
    ),
    output: Annotated[Path, typer.Option(help="Scores")] = Path("training/benchmark-starts.json"),
) -> None:
    """Print F on test, and on how many sets each config is the best or can't be told from the best.

    A set is a folder of DATA, or of the project, as `corpus` is after `split`. Checkpoints are chosen on dev.
    """
    folder = Path(os.environ.get("IE_DATA") or data)
    numbers = names_in(sizes)
    if not all(number.isdecimal() and int(number) for number in numbers):
        raise UserError(f"--sizes {sizes!r}: give whole numbers above 0, such as 50,200,1000.")
    overrides = {"nlp.lang": lang} | ({"training.max_steps": max_steps} if max_steps else {})
    rows: list[dict[str, Any]] = []
    for name in names_in(sets):
        path = next((path for path in (folder / name, Path(name)) if (path / "train.jsonl").exists()), None)
        if path is None:
            msg.warn(
                f"{folder / name} isn't here and is left out; set IE_DATA to the folder of the data sets."
            )
            continue
        rows += measure(
            path,
            names_in(configs),
            sorted(map(int, numbers)),
            seeds,
            lang,
            {"overrides": overrides, "cache": cache},
            workers,
        )
    if rows:
        show(rows)
        write_json(output, rows)
        msg.good(str(output))


def measure(
    path: Path,
    configs: Sequence[str],
    sizes: Sequence[int],
    seeds: int,
    lang: str,
    shared: dict[str, Any],
    workers: int,
) -> list[dict[str, Any]]:
    """Train each config on samples of a set's train part; a row per size and config."""
    nlp = records.blank(lang)
    docs = {}
    for side in ("train", "dev", "test"):
        reader = records.Reader(
            None, nlp.tokenizer, misaligned="snap", duplicates="first", bad_relations="drop"
        )
        read = records.accepted(reader.read(path / f"{side}.jsonl", report=records.ReadReport()))
        docs[side] = [to_doc(record, nlp) for record in read]
    # in an order of its own, so that samples don't depend on that of the file
    train = sorted(docs["train"], key=lambda doc: hashlib.sha256(doc.text.encode()).digest())
    labels = tuple(sorted({ent.label_ for of in docs.values() for doc in of for ent in doc.ents}))
    portions = {}
    for size in dict.fromkeys(min(size, len(train)) for size in sizes):
        for seed in range(seeds):
            chosen = random.Random(seed).sample(range(len(train)), size)
            portions[Cell(100 * size / len(train), size, seed)] = chosen
    with TemporaryDirectory(prefix="starts-") as folder:
        test = Path(folder) / "test.jsonl"
        records.write_records(test, map(from_doc, docs["test"]))
        sides = {"dev": jobs.write_examples(Path(folder), docs["dev"]), "test": test}
        trainings = {
            (name, job.cell): job
            for name in configs
            for job in jobs.portion_jobs(
                portions,
                train,
                Path(folder),
                config=Path("configs") / f"{name}.cfg",
                labels=labels,
                **sides,
                **shared,
            )
        }
        results = jobs.run(list(trainings.values()), workers=workers, what=f"trainings on {path.name}")
    counts: dict[tuple[int, str], list[np.ndarray]] = {}
    for (name, cell), result in zip(trainings, results, strict=True):
        counts.setdefault((cell.examples, name), []).append(np.array(result["test"]).sum(axis=1))
    return [
        {"set": path.name, "texts": size, "config": name, "test": len(docs["test"])}
        | scores(tables, counts[size, configs[0]])
        for (size, name), tables in counts.items()
    ]


def scores(tables: Sequence[np.ndarray], first: Sequence[np.ndarray]) -> dict[str, Any]:
    """F of all seeds together with its interval over texts, F of each, and the gain over the first."""
    together, others = sum(tables), sum(first)
    by_seed = [float(stats.intervals(table)[2].value) for table in tables]
    return {
        "f": stats.intervals(together)[2].as_dict(),
        "seeds": [round(f, 4) for f in by_seed],
        "minus_first": stats.difference(together, others).as_dict(),
    }


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print the table, and in how many rows each config is ahead of the first one, or behind it."""
    table = []
    for row in rows:
        f, minus = row["f"], row["minus_first"]
        first = row["config"] == rows[0]["config"]
        table.append(
            [
                row["set"],
                f"{row['texts']:,}",
                f"{row['test']:,}",
                row["config"],
                f"{f['value']:.3f} ({f['low']:.3f} to {f['high']:.3f})",
                f"{min(row['seeds']):.3f}",
                f"{max(row['seeds']):.3f}",
                "" if first else f"{minus['value']:+.3f} ({minus['low']:+.3f} to {minus['high']:+.3f})",
            ]
        )
    aligns = ("l", "r", "r", "l", "r", "r", "r", "r")
    msg.table(table, header=HEADER, divider=True, aligns=aligns)
    ahead = [row for row in rows if row["minus_first"]["low"] > 0]
    behind = [row for row in rows if row["minus_first"]["high"] < 0]
    for name in dict.fromkeys(row["config"] for row in rows if row["config"] != rows[0]["config"]):
        more, less, of = (sum(row["config"] == name for row in found) for found in (ahead, behind, rows))
        first = rows[0]["config"]
        print(f"{name} is ahead of {first} beyond noise in {more} of {of} rows, and behind in {less}.")


if __name__ == "__main__":
    run(main)

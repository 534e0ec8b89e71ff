"""Divide the examples into train, dev and test; reviewed annotation takes precedence over suggestions."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import atomic_write, write_json
from ie.core.stats import expected_half_width, half_width, resolved_digits
from ie.core.text import print_table
from ie.data import options, records, splits
from ie.data.config import load_data_config
from ie.data.docs import docbin, to_doc
from ie.data.scheme import Scheme, load_scheme


def main(
    reviewed: options.Reviewed = Path("assets/reviewed.jsonl"),
    texts: options.Texts = Path("assets/texts.jsonl"),
    silver: options.Llm = Path("corpus/llm.jsonl"),
    scheme: options.Scheme = Path("configs/llm.cfg"),
    output: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("corpus"),
    train_on: options.TrainOn = "reviewed",
    data: options.Data = Path("configs/data.cfg"),
) -> None:
    """Write train, dev and test (.spacy, .jsonl), the two kinds of training data, and split.json."""
    settings = load_data_config(data)
    labels, nlp = load_scheme(scheme), settings.blank()
    reader = settings.reader(labels, nlp)
    split = settings.assign(reader.read_reviewed(reviewed), reader.read(texts, allow_empty=True))
    if train_on != "reviewed" and not silver.exists():
        raise UserError(f"{silver}: there is no such file; run llm-annotate, or set train_on to reviewed.")
    suggested = reader.read(silver, allow_empty=True, gold=False) if silver.exists() else []
    usable, dropped = splits.usable_silver(suggested, split, labels.scored)
    parts = {
        # `distill` makes its own of the reviewed ones and the silver
        "train": (split.train if train_on != "silver" else [])
        + (usable if train_on in ("silver", "both") else []),
        "dev": split.dev,
        "test": split.test,
        "reviewed": split.train,
        "silver": usable,
        "both": [*split.train, *usable],
    }
    summary = {
        "settings": settings.split.model_dump() | {"train_on": train_on},
        "splits": {name: splits.count(part, labels) for name, part in parts.items()},
        "precision": {name: precision(len(parts[name])) for name in ("dev", "test")},
        "near_duplicates": [
            vars(pair) | {"similarity": round(pair.similarity, 4)} for pair in split.near_duplicates
        ],
        "set_aside": [vars(aside) | {"near": list(aside.near)} for aside in split.set_aside],
        "silver_dropped": dropped,
        "changed_on_reading": reader.changes,
    }
    splits.refuse_gaps({side: parts[side] for side in splits.SIDES}, labels, reviewed)
    # Everything is computed before anything is written, so that an error leaves the old files complete.
    binaries = {
        name: docbin(to_doc(record, nlp, overlapping=labels.overlapping) for record in part).to_bytes()
        for name, part in parts.items()
    }
    for name, data in binaries.items():
        with atomic_write(output / f"{name}.spacy", "wb") as file:
            file.write(data)
    for name in splits.SIDES:
        records.write_records(output / f"{name}.jsonl", parts[name])
    write_json(output / "split.json", summary)
    show(summary, labels)


def precision(n: int) -> dict[str, Any]:
    """Digits and half-width of the interval of a score of about .95 on n documents."""
    return {
        "documents": n,
        "digits": resolved_digits(n),
        "half_width_at_.95": round(expected_half_width(n), 4),
    }


def show(summary: dict[str, Any], labels: Scheme) -> None:
    """Print the counts as a table, then the precision of scores and what was left out."""
    counts = summary["splits"]
    spans, names = labels.scored == "spans", labels.scored_labels
    kind = "span" if spans else "category"
    totals = ["documents", "spans"] if spans else ["documents"]
    rows = [[total, *(part[total] for part in counts.values())] for total in totals]
    rows += [[name, *(part["labels"][kind][name] for part in counts.values())] for name in names]
    print_table(rows, ("", *counts), "l" + "r" * len(counts))
    if unlearned := [label for label, n in counts["train"]["labels"][kind].items() if not n]:
        msg.warn(f"train: no example of {', '.join(unlearned)}, so no pipeline will find that")
    for side in ("dev", "test"):
        expected = summary["precision"][side]
        half = half_width(expected_half_width(expected["documents"]), 3)
        msg.info(
            f"{side}: {expected['documents']} documents support {expected['digits']} digit(s); at .95 the "
            f"interval is about ±{half}"
        )
        missing = [label for label, n in counts[side]["labels"][kind].items() if not n]
        if missing:
            msg.warn(f"{side}: no example of {', '.join(missing)}; that score can't be measured")
    reasons = Counter(aside["reason"] for aside in summary["set_aside"])
    set_aside = ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items())) or "none"
    msg.info(f"near-duplicates: {len(summary['near_duplicates'])}; set aside: {set_aside}")
    if summary["silver_dropped"]:
        msg.info(
            "silver not used: " + ", ".join(f"{n} {why}" for why, n in summary["silver_dropped"].items())
        )


if __name__ == "__main__":
    run(main)

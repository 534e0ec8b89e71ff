"""Score the links of gold mentions: to the right entry, and to none where there is none."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import atomic_write, json_text, write_json
from ie.core.stats import Estimate, format_score
from ie.data import records
from ie.data.gazetteer import read_gazetteer
from ie.training import assembly
from ie.training import linker as linking
from ie.training.linker import NIL, Verdict


def main(
    model: Annotated[Path, typer.Option(help="Pipeline with a linker")] = Path("training/linker/model"),
    table: Annotated[Path, typer.Option(help="CSV with the names, for the list of errors")] = Path(
        "assets/companies.csv"
    ),
    test: Annotated[Path, typer.Option(help="Gold records whose spans have a kb_id")] = Path(
        "corpus/test.jsonl"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap")] = 0,
    output: Annotated[Path, typer.Option(help="Folder for scores and errors")] = Path("training/linker"),
) -> None:
    """Write metrics.json and errors.jsonl; print the shares that are right, with and without context."""
    nlp = assembly.load(model, "train-linker", "linker")
    linker = nlp.get_pipe("linker")
    gold = records.accepted(records.read_records(test, tokenizer=nlp.tokenizer, allow_empty=True))
    mentions = linking.mentions(nlp, gold, linker.cfg["labels"])
    if not mentions:
        raise UserError(f"{test}: no span has a kb_id to compare with; add some, or NIL where there is none.")
    judged = {"linker": linking.judge(linker, mentions)}
    # What the look-up alone would do: the candidate whose name matches best, the first of equals.
    linker.model = {}
    judged["best match"] = linking.judge(linker, mentions)
    metrics = {name: measures(verdicts, seed) for name, verdicts in judged.items()}
    names = {entry.id: entry.name for entry in read_gazetteer(table)}
    wrong = [verdict.row(names) for verdict in judged["linker"] if not verdict.right]
    write_json(output / "metrics.json", metrics)
    with atomic_write(output / "errors.jsonl") as file:
        file.writelines(json_text(row) + "\n" for row in wrong)
    show(metrics)
    msg.good(f"{output / 'metrics.json'}, {output / 'errors.jsonl'} ({len(wrong):,} errors)")
    with tracking.run("evaluate-linker") as tracker:
        tracker.summary(metrics)


def measures(verdicts: list[Verdict], seed: int) -> dict[str, dict]:
    """Shares of right answers among all, linked and ambiguous mentions; P, R and F of NIL."""
    linked = [v for v in verdicts if v.mention.gold != NIL]
    parts = {
        "all": verdicts,
        "linked": linked,
        "ambiguous": [v for v in linked if v.ambiguous],
        "other": [v for v in linked if not v.ambiguous],
    }
    result = {
        name: {"mentions": len(part), "right": measure(linking.share(part, seed), part)}
        for name, part in parts.items()
        if part
    }
    of_nil = [v for v in verdicts if NIL in (v.mention.gold, v.answer)]
    if of_nil:
        scores = zip("prf", linking.nil(verdicts, seed), strict=True)
        result["nil"] = {"mentions": sum(v.mention.gold == NIL for v in verdicts)} | {
            name: measure(estimate, of_nil) for name, estimate in scores
        }
    return result


def measure(estimate: Estimate, verdicts: list[Verdict]) -> dict:
    """An estimate as numbers, as text, and the number of texts behind it."""
    texts = len({v.mention.record.text for v in verdicts})
    return {
        "value": round(estimate.value, 4),
        "low": round(estimate.low, 4),
        "high": round(estimate.high, 4),
        "texts": texts,
        "shown": format_score(estimate, documents=texts),
    }


def show(metrics: dict) -> None:
    """Print both systems side by side."""
    rows = []
    for part, title in {
        "all": "all mentions",
        "linked": "in the table",
        "ambiguous": "  of them with several best matches",
        "other": "  the others",
    }.items():
        if part in metrics["linker"]:
            shown = [metrics[system][part]["right"]["shown"] for system in metrics]
            rows.append((title, f"{metrics['linker'][part]['mentions']:,}", *shown))
    for name, title in {"p": "NIL: precision", "r": "NIL: recall"}.items():
        if all("nil" in part for part in metrics.values()):
            shown = [metrics[system]["nil"][name]["shown"] for system in metrics]
            rows.append((title, f"{metrics['linker']['nil']['mentions']:,}", *shown))
    msg.table(rows, header=("right", "mentions", *metrics), divider=True, aligns=("l", "r", "r", "r"))


if __name__ == "__main__":
    run(main)

"""Score how amounts of money are read: amount and currency, both exactly, on gold values."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import atomic_write, json_text, write_json
from ie.core.stats import format_score
from ie.data import records
from ie.evaluation import amounts
from ie.evaluation.amounts import Verdict
from ie.training.untrained import build


def main(
    config: Annotated[Path, typer.Option(help="Config of the money component")] = Path("configs/money.cfg"),
    train: Annotated[Path, typer.Option(help="Gold records that may be looked at")] = Path(
        "corpus/train.jsonl"
    ),
    dev: Annotated[Path, typer.Option(help="Likewise")] = Path("corpus/dev.jsonl"),
    test: Annotated[Path, typer.Option(help="Gold test records")] = Path("corpus/test.jsonl"),
    more: Annotated[str, typer.Option(help="Another file of gold records; empty for none")] = "",
    label: Annotated[str, typer.Option(help="Label of the amounts")] = "MONEY",
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap")] = 0,
    output: Annotated[Path, typer.Option(help="Folder for scores and errors")] = Path("training/money"),
) -> None:
    """Write metrics.json and errors.jsonl; print the share of amounts that are right."""
    if not label:
        raise UserError("vars.money_label is empty, so no span is an amount of money; name its label there.")
    nlp = build(config, "money")
    nlp.initialize()
    if label not in (labels := nlp.get_pipe("money").cfg["labels"]):
        raise UserError(
            f"{config}: its labels are {', '.join(labels)}, but vars.money_label is {label}; add it there."
        )
    judged: dict[str, list[Verdict]] = {}
    for path in [train, dev, test, *([Path(more)] if more else [])]:
        misaligned = "snap" if str(path) == more else "error"
        found = records.read_records(
            path, tokenizer=nlp.tokenizer, misaligned=misaligned, duplicates="first", allow_empty=True
        )
        judged[str(path)] = amounts.judge(nlp, records.accepted(found), label, path)
    if not judged[str(test)]:
        raise UserError(f"{test}: no {label} span has a value to compare with; add some, as in 5000000 USD.")
    metrics = {path: measures(verdicts, seed) for path, verdicts in judged.items() if verdicts}
    wrong = [{"file": path, **v.row()} for path, found in judged.items() for v in found if not v.right]
    write_json(output / "metrics.json", metrics)
    with atomic_write(output / "errors.jsonl") as file:
        file.writelines(json_text(row) + "\n" for row in wrong)
    rows = [
        (
            path,
            f"{len(found):,}",
            f"{sum(v.right for v in found):,}",
            format_score(amounts.score(found, seed), documents=texts(found)),
        )
        for path, found in judged.items()
        if found
    ]
    msg.table(rows, header=("file", "amounts", "right", "share"), divider=True, aligns=("l", "r", "r", "r"))
    msg.good(f"{output / 'metrics.json'}, {output / 'errors.jsonl'} ({len(wrong):,} errors)")
    with tracking.run("evaluate-money") as tracker:
        tracker.summary({Path(path).stem: part["right"] for path, part in metrics.items()})


def measures(verdicts: list[Verdict], seed: int) -> dict:
    """The share of right ones with its interval, and right ones of all by the rules that were used."""
    estimate = amounts.score(verdicts, seed)
    right, asked = Counter(), Counter()
    for verdict in verdicts:
        for rule in verdict.answer["rule"].split(", "):
            rule = rule.partition(":")[0]  # "not understood: 'mkr'"
            asked[rule] += 1
            right[rule] += verdict.right
    return {
        "amounts": len(verdicts),
        "texts": texts(verdicts),
        "right": round(estimate.value, 4),
        "low": round(estimate.low, 4),
        "high": round(estimate.high, 4),
        "rules": {rule: {"amounts": n, "right": right[rule]} for rule, n in sorted(asked.items())},
    }


def texts(verdicts: list[Verdict]) -> int:
    """How many texts the amounts come from: the n of the interval."""
    return len({verdict.record.text for verdict in verdicts})


if __name__ == "__main__":
    run(main)

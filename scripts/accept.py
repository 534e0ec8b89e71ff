"""Say which of the pipeline's answers can go unread at a promised precision, and check it on test."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import hash_folder, write_json, write_jsonl
from ie.core.pipelines import load_pipeline
from ie.core.stats import Estimate, decimals
from ie.core.text import counted
from ie.data import options, records
from ie.deploy import acceptance
from ie.deploy.acceptance import Applied, Check, HeldOut, Unit
from ie.deploy.watch.applied import open_results
from ie.evaluation.confidence import RISK, Threshold


def main(
    target: Annotated[float, typer.Option(help="Precision that is promised", min=0.5, max=0.999)] = 0.95,
    model: Annotated[Path, typer.Option(help="The trained pipeline")] = options.SHIPPED_MODEL,
    test: options.Test = Path("corpus/test.jsonl"),
    results: Annotated[Path, typer.Option(help="Results of `apply`, if there are any")] = Path(
        "corpus/applied"
    ),
    output: Annotated[Path, typer.Option(help="Folder for accept.json and unsure.jsonl")] = options.TRAINING
    / "accept",
) -> None:
    """Print threshold, check and counts; write OUTPUT/accept.json, and unsure.jsonl for review."""
    nlp = load_pipeline(model, "run `weasel run train` first (spans that overlap have none)", "confidence")
    held_out = acceptance.read_held_out(model.parent / "confidence.json")
    threshold, unit = acceptance.promise(held_out, target), held_out.unit
    gold = records.accepted(records.read_records(test))
    checked = acceptance.check(nlp, gold, threshold, unit)
    show(target, threshold, checked, held_out)
    summary = {
        "target": target,
        "risk": RISK,
        "unit": unit,
        "threshold": vars(threshold),
        "test": {
            "texts": checked.texts,
            "answers": checked.answers,
            "accepted": checked.accepted,
            "precision": checked.precision.as_dict() if checked.precision else None,
        },
    }
    if results.is_dir():
        texts = open_results(results, model, hash_folder(model)).texts()
        applied = acceptance.divide(texts, threshold, unit)
        names = acceptance.linked_names(nlp, applied.least_sure)
        listed = acceptance.to_review(applied.least_sure, threshold, unit, names)
        write_jsonl(output / "unsure.jsonl", listed)
        counts = {"answers": applied.answers, "accepted": applied.accepted, "unsure": applied.unsure}
        summary["applied"] = counts
        show_applied(applied, results, unit)
    write_json(output / "accept.json", summary)


def show(target: float, threshold: Threshold, checked: Check, held_out: HeldOut) -> None:
    """Print the threshold, what it rests on, and whether test agrees."""
    unit = held_out.unit
    msg.info(
        f"{unit.capitalize()} with a confidence of {decimals(threshold.confidence, 4)} or more: "
        f"{threshold.right:,} of {threshold.accepted:,} are right on texts that weren't learned from "
        f"(n={len(held_out.answers):,}). At least {decimals(threshold.bound, 3)} of such {unit} are right, "
        f"but for a chance of {RISK:.0%}; promised: {target:g}."
    )
    if checked.precision is None:
        raise UserError(f"none of the {checked.answers:,} {unit} on test is as sure: nothing to check.")
    text = (
        f"On test, {checked.accepted:,} of {checked.answers:,} {unit} ({checked.share:.0%}) pass unread; "
        f"{interval(checked.precision)} of them are right ({counted(checked.texts, 'text')})."
    )
    if checked.precision.high < target:
        msg.fail(f"{text} The promise isn't kept: test texts differ from dev, so don't rely on it.")
    else:
        msg.good(text)
    msg.info("This is about what the pipeline finds: what it misses is in no answer.")


def show_applied(applied: Applied, results: Path, unit: Unit) -> None:
    """Print what passes in the results of `apply`."""
    msg.good(
        f"{results}: {applied.accepted:,} of {applied.answers:,} {unit} pass unread; all of them in "
        f"{counted(applied.whole, 'text')}."
    )
    if applied.unsure:
        kept = len(applied.least_sure)
        listed = "" if kept == applied.unsure else f" (the first {kept:,} of them)"
        msg.info(
            f"{counted(applied.unsure, 'text')} with less sure {unit}, the least sure first{listed}: `weasel "
            "run review --vars.review_select unsure`."
        )


def interval(estimate: Estimate) -> str:
    """A share with its 95 % interval."""
    value, low, high = (decimals(x, 3) for x in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low} to {high})"


if __name__ == "__main__":
    run(main)

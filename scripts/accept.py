"""Say which of the pipeline's answers can go unread at a promised precision, and check it on test."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import hash_folder, write_json, write_jsonl
from ie.core.pipelines import load_pipeline
from ie.core.stats import Estimate
from ie.core.text import counted
from ie.data import options, records
from ie.deploy import acceptance
from ie.deploy.acceptance import Applied, Check
from ie.deploy.watch.applied import open_results
from ie.evaluation.confidence import RISK, Answers, Threshold


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
    nlp = load_pipeline(model, "run `weasel run train` first", "confidence")
    dev = Answers.of(acceptance.read_dev(model.parent / "confidence.json"))
    threshold = acceptance.promise(dev, target)
    gold = records.accepted(records.read_records(test))
    checked = acceptance.check(nlp, gold, threshold)
    show(target, threshold, checked, len(dev))
    summary = {
        "target": target,
        "risk": RISK,
        "threshold": vars(threshold),
        "test": {
            "texts": checked.texts,
            "answers": checked.answers,
            "accepted": checked.accepted,
            "precision": checked.precision.as_dict() if checked.precision else None,
        },
    }
    if results.is_dir():
        applied = acceptance.divide(open_results(results, model, hash_folder(model)).texts(), threshold)
        rows = list(acceptance.to_review(applied.unsure, threshold))
        write_jsonl(output / "unsure.jsonl", rows)
        summary["applied"] = {"answers": applied.answers, "accepted": applied.accepted, "unsure": len(rows)}
        show_applied(applied, results)
    write_json(output / "accept.json", summary)


def show(target: float, threshold: Threshold, checked: Check, answers: int) -> None:
    """Print the threshold, what it rests on, and whether test agrees."""
    msg.info(
        f"Answers with a confidence of {threshold.confidence:.4f} or more: {threshold.right:,} of "
        f"{threshold.accepted:,} are right on dev (n={answers:,}). At least {threshold.bound:.3f} of such "
        f"answers are right, but for a chance of {RISK:.0%}; promised: {target:g}."
    )
    if checked.precision is None:
        raise UserError(f"none of the {checked.answers:,} answers on test is as sure: nothing to check.")
    text = (
        f"On test, {checked.accepted:,} of {checked.answers:,} answers ({checked.share:.0%}) pass unread; "
        f"{interval(checked.precision)} of them are right ({counted(checked.texts, 'text')})."
    )
    if checked.precision.high < target:
        msg.fail(f"{text} The promise isn't kept: test texts differ from dev, so don't rely on it.")
    else:
        msg.good(text)
    msg.info("This is about what the pipeline finds: entities that it misses are in no answer.")


def show_applied(applied: Applied, results: Path) -> None:
    """Print what passes in the results of `apply`."""
    msg.good(
        f"{results}: {applied.accepted:,} of {applied.answers:,} answers pass unread; all of them in "
        f"{counted(applied.whole, 'text')}."
    )
    if applied.unsure:
        msg.info(
            f"{counted(len(applied.unsure), 'text')} with less sure answers, the least sure first: `weasel "
            "run review --vars.review_select unsure`."
        )


def interval(estimate: Estimate) -> str:
    """A share with its 95 % interval."""
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


if __name__ == "__main__":
    run(main)

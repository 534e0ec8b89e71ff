"""Say what the corrections bought: the pipeline before and after them on the same gold test texts."""

from pathlib import Path
from typing import Annotated, Any

import typer
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import write_json
from ie.core.stats import Estimate, format_difference, format_score
from ie.data import records
from ie.data.scheme import load_scheme
from ie.data.splits import SIDES, TrainOn
from ie.evaluation import improvement, scoring, systems


def main(
    before: Annotated[Path, typer.Option(help="What keep-before kept")] = Path("training/efficient/before"),
    models: Annotated[Path, typer.Option(help="Folder with the pipelines trained now")] = Path(
        "training/efficient"
    ),
    train_on: Annotated[TrainOn, typer.Option(help="Which of them is compared")] = "reviewed",
    corpus: Annotated[Path, typer.Option(help="Folder with the split as it is now")] = Path("corpus"),
    scheme: Annotated[Path, typer.Option(help="Config that holds the labels")] = Path("configs/llm.cfg"),
    output: Annotated[Path, typer.Option(help="File for the figures")] = Path(
        "training/efficient/improve.json"
    ),
    seed: Annotated[int, typer.Option(help="Seed of bootstrap and randomisation")] = 0,
) -> None:
    """Print F before and after, by label, with the difference and its interval."""
    labels = load_scheme(scheme)
    now, then = (
        {
            side: scoring.view(
                records.read_records(folder / f"{side}.jsonl", allow_empty=True), labels.scored
            )
            for side in SIDES
        }
        for folder in (corpus, before)
    )
    gold = records.accepted(now["test"])
    systems.require(gold, corpus / "test.jsonl")
    texts = [record.text for record in gold]
    answers = []
    for name, folder in (("before", before / "model-best"), ("after", models / train_on / "model-best")):
        found = systems.pipeline(name, name, folder, texts, repeats=0)
        if found.predicted is None:
            raise UserError(found.missing)
        answers.append(scoring.view(found.predicted, labels.scored))
    result = improvement.compare(gold, *answers, labels.scored_labels, seed=seed)
    changed = {side: improvement.changes(then[side], now[side]) for side in SIDES}
    content = {
        "changes": changed,
        "test": result.n,
        "p": round(result.p, 4),
        "f": {
            label: dict(zip(("before", "after", "difference"), map(numbers, scores), strict=True))
            for label, scores in result.scores.items()
        },
    }
    write_json(output, content)
    columns = list(changed["train"])
    rows = [[side, *(changed[side][column] for column in columns)] for side in SIDES]
    msg.table(rows, header=["texts", *columns], divider=True, aligns=["l"] + ["r"] * len(columns))
    msg.table(
        [
            [
                label,
                format_score(one, result.n),
                format_score(other, result.n),
                format_difference(difference, result.n),
            ]
            for label, (one, other, difference) in result.scores.items()
        ],
        header=["F on test", "before", "after", "difference"],
        divider=True,
    )
    print(improvement.sentence(result))
    msg.good(str(output))
    with tracking.run("improve", config={"texts": result.n}) as tracker:
        tracker.summary(content)


def numbers(estimate: Estimate) -> dict[str, Any]:
    """An estimate as JSON."""
    return {"value": round(estimate.value, 4), "low": round(estimate.low, 4), "high": round(estimate.high, 4)}


if __name__ == "__main__":
    run(main)

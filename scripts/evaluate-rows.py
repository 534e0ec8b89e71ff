"""Score the assembled pipeline as what it is for, exact database rows, and say what each component costs."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core import stats, tracking
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import write_json
from ie.core.stats import FN, FP, TP
from ie.data import corpora
from ie.evaluation import rows
from ie.training import assembly


def main(
    model: Annotated[Path, typer.Option(help="Assembled pipeline")] = Path(
        "training/efficient/pipeline/model-best"
    ),
    test: Annotated[Path, typer.Option(help="Gold test records")] = Path("corpus/test.jsonl"),
    output: Annotated[Path, typer.Option(help="Folder for metrics.json")] = Path(
        "training/efficient/pipeline"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap")] = 0,
) -> None:
    """Write metrics.json; print P, R and F of exact rows, and the error budget."""
    nlp = assembly.load(model, "assemble")
    names = rows.components(nlp)
    if rows.RELATIONS not in names:
        raise UserError(
            f"{model}: has no relations, so there are no rows; run `weasel run assemble` with them."
        )
    gold = corpora.load(test, nlp)
    base, costs = rows.budget(nlp, gold)
    n = len(gold)
    table, metrics = [], {}
    for name, counts in (("", base), *((cost.component, cost.counts) for cost in costs)):
        estimates = stats.intervals(counts, seed=seed)
        exact, spurious, missing = (int(counts[:, i].sum()) for i in (TP, FP, FN))
        gain = f"{exact - int(base[:, TP].sum()):+,}" if name else ""
        spared = f"{spurious - int(base[:, FP].sum()):+,}" if name else ""
        scores = [stats.format_score(e, documents=n) for e in estimates]
        table.append(
            [f"gold {name}" if name else "as it is", f"{exact:,}", gain, f"{spurious:,}", spared, *scores]
        )
        metrics[name or "pipeline"] = {"exact": exact, "spurious": spurious, "missing": missing} | {
            metric: [round(x, 4) for x in (e.value, e.low, e.high)]
            for metric, e in zip(stats.METRICS, estimates, strict=True)
        }
    header = ("", "exact", "", "spurious", "", "P", "R", "F")
    msg.table(table, header=header, divider=True, aligns=("l", *"rrrr", "l", "l", "l"))
    whole = int((base[:, FP] + base[:, FN] == 0).sum())
    wanted = int((base[:, TP] + base[:, FN]).sum())
    print(
        f"{wanted:,} rows of {n:,} test texts; a row is a relation with the edges and labels of both ends"
        f"{told(names)}. All rows are right in {whole:,} texts. Below the first line one component at a "
        "time is replaced by gold: what is gained is what it costs."
    )
    content = {"test_documents": n, "components": names, "whole_texts": whole, "rows": metrics}
    write_json(output / "metrics.json", content)
    msg.good(str(output / "metrics.json"))
    with tracking.run("evaluate-rows", config={"texts": n}) as tracker:
        tracker.table("rows", ("replaced", *header[1:]), table)


def told(names: tuple[str, ...]) -> str:
    """What else makes a row, in words."""
    kinds = {"linker": "the linked entries", "money": "the amounts with currency"}
    found = [kinds[name] for name in names if name in kinds]
    return f", {' and '.join(found)}" if found else ""


if __name__ == "__main__":
    run(main)

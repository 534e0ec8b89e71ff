"""Score the relations component on test, on gold and on predicted entities, against two baselines."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core import stats, tracking
from ie.core.cli import run
from ie.core.files import write_json
from ie.data import corpora, records
from ie.data.scheme import load_scheme
from ie.evaluation import relations
from ie.training import assembly

TITLES = {
    "gold": "component, gold entities",
    "majority": "majority, gold entities",
    "rule": "nearest pair, gold entities",
    "predicted": "component, predicted entities",
    "rule predicted": "nearest pair, predicted entities",
}


def main(
    model: Annotated[Path, typer.Option(help="Pipeline with the relations component")] = Path(
        "training/efficient/relations/model-best"
    ),
    ner: Annotated[Path, typer.Option(help="Pipeline that finds the entities")] = Path(
        "training/efficient/reviewed/model-best"
    ),
    scheme: Annotated[Path, typer.Option(help="Config that holds the labels")] = Path("configs/llm.cfg"),
    train: Annotated[Path, typer.Option(help="Training records: what the baselines know")] = Path(
        "corpus/train.jsonl"
    ),
    test: Annotated[Path, typer.Option(help="Gold test records")] = Path("corpus/test.jsonl"),
    output: Annotated[Path, typer.Option(help="Folder for metrics.json")] = Path(
        "training/efficient/relations"
    ),
    lang: Annotated[str, typer.Option(help="Language of the texts")] = "en",
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap")] = 0,
) -> None:
    """Write metrics.json; print P, R and F of each relation."""
    labels, blank = load_scheme(scheme), records.blank(lang)
    known = corpora.load(train, blank, labels)
    corpora.require_labels(train, known, labels, "relation")
    gold = corpora.load(test, blank, labels)
    nlp, entities = assembly.load(model, "train-relations"), assembly.load(ner, "train")
    found = assembly.entities(entities, gold)
    habits = relations.habits(known)
    systems = {
        "gold": relations.predict(nlp, gold),
        "majority": [relations.by_majority(record, habits) for record in gold],
        "rule": [relations.by_rule(record, habits) for record in gold],
        "predicted": relations.predict(nlp, found),
        "rule predicted": [relations.by_rule(record, habits) for record in found],
    }
    scored = relations.score(gold, systems, labels.relation_labels, seed)
    header = ("system", "relation", "n", "P", "R", "F")
    rows = relations.rows(scored, len(gold))
    msg.table(
        [[TITLES.get(row[0], ""), *row[1:]] for row in rows],
        header=header,
        divider=True,
        aligns=("l", "l", "r", "l", "l", "l"),
    )
    print(
        f"Exact relations (label, and edges and labels of both ends) on {len(gold):,} test texts; n = "
        "annotated relations, ± = 95 % bootstrap interval over texts."
    )
    apart = stats.difference(*(scored.counts[name][relations.ALL] for name in ("gold", "rule")), seed=seed)
    above = stats.format_difference(apart, len(gold))
    print(f"On gold entities the component's F is {above} above the rule's.")
    metrics = {"test_documents": len(gold), "systems": relations.figures(scored)}
    write_json(output / "metrics.json", metrics)
    msg.good(str(output / "metrics.json"))
    with tracking.run("evaluate-relations", config={"texts": len(gold)}) as tracker:
        tracker.table("relations", header, rows)


if __name__ == "__main__":
    run(main)

"""Agreement of two annotators, or of gold and a model, and an agenda to settle the disagreements."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import atomic_write, finite, json_text
from ie.core.text import names_in, print_table, wrapped
from ie.data import options
from ie.data.config import load_data_config
from ie.data.guidelines import GuidelineIndex
from ie.data.records import write_records
from ie.data.scheme import load_scheme
from ie.data.splits import SIDES
from ie.evaluation.scoring import labels_of
from ie.reports.html import links_to_evaluated
from ie.review import agenda, agreement, disagreements


def main(
    first: Annotated[Path, typer.Option(help="Answers of the first side.")] = Path("assets/reviewed.jsonl"),
    second: Annotated[Path, typer.Option(help="Answers of the second side; may be the same file.")] = Path(
        "corpus/llm.jsonl"
    ),
    first_name: Annotated[str, typer.Option(help="Name of the first side: an annotator, or any.")] = "gold",
    second_name: Annotated[str, typer.Option(help="Name of the second side.")] = "LLM",
    sides: Annotated[
        str, typer.Option(help="Parts of the split to compare, separated by commas; empty for all texts.")
    ] = "dev",
    scheme: options.Scheme = Path("configs/llm.cfg"),
    guidelines: options.Guidelines = Path("assets/guidelines.md"),
    reviewed: options.Reviewed = Path("assets/reviewed.jsonl"),
    patterns: Annotated[int, typer.Option(help="Patterns of each kind on the agenda.", min=1)] = 12,
    examples: Annotated[int, typer.Option(help="Examples of each pattern.", min=1)] = 3,
    data: options.Data = Path("configs/data.cfg"),
    seed: options.Seed = 0,
    output: Annotated[Path, typer.Option(help="Folder for scores, agenda and disagreements.")] = Path(
        "training/agreement"
    ),
) -> None:
    """Write agreement.json, agenda.html, agenda.md and disagreements.jsonl; print the scores."""
    config = load_data_config(data)
    labels, nlp = load_scheme(scheme), config.blank()
    rules = GuidelineIndex(guidelines, nlp)
    both = agreement.sides(first, second, (first_name, second_name), labels)
    only = None
    if wanted := names_in(sides):
        if unknown := [side for side in wanted if side not in SIDES]:
            raise UserError(
                f"--sides {unknown[0]!r} is no part of the split; choose from {', '.join(SIDES)}."
            )
        split = config.assign(config.reader(labels, nlp).read_reviewed(reviewed), [])
        only = {record.text for side in wanted for record in getattr(split, side)}
    matched = agreement.match(*both, only)
    span_labels = labels_of([*matched.first, *matched.second], labels.span_labels)
    known = [*span_labels, *labels.relation_labels, *labels.categories]
    names = (both[0].name, both[1].name)
    differences = disagreements.find(matched, names, nlp)
    result = agenda.Agenda(
        sides=both,
        matched=matched,
        spans=agreement.spans(matched, span_labels, nlp, seed),
        relations=agreement.relations(matched, labels.relation_labels, seed),
        categories=agreement.categories(matched, labels.categories, seed),
        groups=disagreements.group(differences, rules, known),
        guidelines=rules,
        patterns=patterns,
        examples=examples,
    )
    write(result, output)
    for part in agenda.tables(result):
        aligns = "lrrr".ljust(len(part["header"]), "l")
        print_table(part["rows"], part["header"], aligns)
    for note in agenda.notes(result):
        print(wrapped(note))
    msg.good(f"{output / 'agenda.html'}: {len(differences):,} disagreements in {len(matched.first):,} texts")
    with tracking.run("agreement", config={"texts": len(matched.first)}) as tracker:
        tracker.summary(scores(result))


def scores(result: agenda.Agenda) -> dict:
    """All figures as plain data."""
    kinds = dict.fromkeys(disagreements.KINDS, 0)
    for group in result.groups:
        kinds[group.kind] += len(group.differences)
    return {
        "first": result.names[0],
        "second": result.names[1],
        "texts": len(result.matched.first),
        "guidelines": result.guidelines.version,
        "spans": agreement.as_json(result.spans),
        "relations": agreement.as_json(result.relations),
        "categories": agreement.as_json(result.categories),
        "disagreements": kinds,
    }


def write(result: agenda.Agenda, output: Path) -> None:
    """Write the four files."""
    for name, text in {
        "agreement.json": json_text(finite(scores(result)), indent=2) + "\n",
        "agenda.html": agenda.html(result, links_to_evaluated(output / "agenda.html")),
        "agenda.md": agenda.markdown(result),
    }.items():
        with atomic_write(output / name) as file:
            file.write(text)
    records = disagreements.to_records(result.matched, result.groups, result.names, result.guidelines.version)
    write_records(output / "disagreements.jsonl", records)


if __name__ == "__main__":
    run(main)

"""Score the components after the entities on test: amounts, links, relations, categories, database rows."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Annotated

import typer
from spacy.language import Language
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.files import write_json, write_jsonl
from ie.core.text import names_among, print_table, wrapped
from ie.data import options
from ie.data.config import load_data_config
from ie.data.gazetteer import read_gazetteer
from ie.data.scheme import load_scheme
from ie.evaluation import component_scores, database_rows
from ie.training import assembly

PARTS = ("amounts", "links", "relations", "categories", "rows")


def main(
    only: Annotated[
        str, typer.Option(help="Parts to score, with commas; empty for those whose component is there")
    ] = "",
    pipeline: options.Assembled = options.ASSEMBLED_MODEL,
    components: options.Components = options.TRAINING / "components",
    money: options.Money = Path("configs/money.cfg"),
    money_label: Annotated[str, typer.Option(help="Label of the amounts; empty for none")] = "MONEY",
    scheme: options.Scheme = Path("configs/llm.cfg"),
    data: options.Data = Path("configs/data.cfg"),
    table: options.Companies = Path("assets/companies.csv"),
    train: options.Train = Path("corpus/train.jsonl"),
    test: options.Test = Path("corpus/test.jsonl"),
    more: Annotated[Path | None, typer.Option(help="Another file with gold amounts")] = None,
    seed: options.Seed = 0,
    output: Annotated[Path, typer.Option(help="Folder for figures and errors")] = options.TRAINING
    / "component-scores",
) -> None:
    """Write OUTPUT/{amounts,links,relations,categories,rows}.json and lists of errors; print the tables."""
    labels, blank = load_scheme(scheme), load_data_config(data).blank()

    @cache
    def whole() -> Language:
        return assembly.load(pipeline, "assemble")

    def component(name: str) -> Language:
        return assembly.load(components / name / "model-best", "train-components")

    jobs: dict[str, Callable[[], component_scores.ComponentReport]] = {
        "amounts": lambda: component_scores.score_amounts(
            assembly.load_money(money, money_label),
            [*([more] if more else []), train, test],
            money_label,
            seed,
        ),
        "links": lambda: component_scores.score_links(
            component("linker"), test, {entry.id: entry.name for entry in read_gazetteer(table)}, seed
        ),
        "relations": lambda: component_scores.score_relations(
            component("relations"), partial(assembly.entities, whole()), train, test, labels, blank, seed
        ),
        "categories": lambda: component_scores.score_categories(
            component("categories"), train, test, labels, blank, seed
        ),
        "rows": lambda: component_scores.score_rows(whole(), test, seed),
    }
    parts = names_among(PARTS, "--only", only) or parts_of(whole(), money_label)
    if not parts:
        msg.info(f"{pipeline}: it predicts only entities, which `evaluate` scores.")
    for name in parts:
        try:
            publish(name, jobs[name](), output)
        except component_scores.NothingToCompare as error:
            if only:
                raise
            msg.warn(f"{name} are left out: {error}")
    # `package-pipeline` depends on the folder, even if there was nothing to score.
    output.mkdir(parents=True, exist_ok=True)
    msg.good(str(output))


def publish(name: str, report: component_scores.ComponentReport, output: Path) -> None:
    """Print, write and track the scores of one part."""
    msg.divider(name)
    aligns = "l" + "".join("r" if cell.replace(",", "").isdigit() else "l" for cell in report.rows[0][1:])
    print_table(report.rows, report.header, aligns)
    for note in report.notes:
        print(wrapped(note))
    write_json(output / f"{name}.json", report.figures)
    if report.errors:
        write_jsonl(output / f"{name}-errors.jsonl", report.errors)
        msg.info(f"{output / f'{name}-errors.jsonl'}: {len(report.errors):,} errors")
    with tracking.run(f"evaluate-{name}") as tracker:
        tracker.table(name, report.header, report.rows)


def parts_of(nlp: Language, money_label: str) -> list[str]:
    """The parts that a pipeline has components for."""
    there = {
        "amounts": bool(money_label) and "money" in nlp.pipe_names,
        "links": "linker" in nlp.pipe_names,
        "relations": "relations" in nlp.pipe_names,
        "categories": "textcat" in nlp.pipe_names,
        "rows": database_rows.RELATIONS in database_rows.components(nlp),
    }
    return [name for name in PARTS if there[name]]


if __name__ == "__main__":
    run(main)

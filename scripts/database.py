"""Fill a database with what the pipeline extracts from texts: SQLite, and one Parquet file per table."""

from functools import partial
from pathlib import Path
from typing import Annotated

import spacy
import typer
from tqdm import tqdm
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import hash_folder
from ie.core.pipelines import load_pipeline
from ie.core.settings import load_settings
from ie.core.text import print_table, wrapped
from ie.data import options, records
from ie.data.config import DataConfig, load_data_config
from ie.data.gazetteer import read_gazetteer
from ie.database import document_rows, schema, writer
from ie.training import assembly


def main(
    model: options.Assembled = options.ASSEMBLED_MODEL,
    package: Annotated[
        str, typer.Option(help="Name of an installed pipeline to use instead; empty: none")
    ] = "",
    texts: Annotated[Path, typer.Option(help="Texts to read")] = Path("assets/texts.jsonl"),
    gold: Annotated[str, typer.Option(help="Reviewed texts to use instead of a pipeline; empty: none")] = "",
    companies: options.Companies = Path("assets/companies.csv"),
    config: Annotated[Path, typer.Option(help="Mapping of labels to columns")] = Path("configs/database.cfg"),
    output: Annotated[Path, typer.Option(help="SQLite file")] = Path("database/deals.db"),
    vanished: Annotated[str, typer.Option(help="Documents whose text is gone: keep or remove")] = "keep",
    data: options.Data = Path("configs/data.cfg"),
) -> None:
    """Write OUTPUT and its Parquet files. Texts that are already in the database are not processed again."""
    if vanished not in ("keep", "remove"):
        raise UserError(f"vanished = {vanished!r}: it must be keep or remove.")
    columns = load_settings(config, schema.Columns)
    entries = read_gazetteer(companies, allow_empty=True) if companies.exists() else []
    source = from_gold(load_data_config(data)) if gold else from_pipeline(model, package, columns, config)
    rows = records.read_records(
        Path(gold) if gold else texts, misaligned="snap", duplicates="first", bad_relations="drop"
    )
    report = writer.update(
        output,
        records.accepted(rows) if gold else rows,
        source,
        columns,
        entries,
        prune=vanished == "remove",
        progress=lambda annotations, total: tqdm(annotations, total=total, desc="database", unit="text"),
    )
    print_report(report, output, source.model_id)


def from_gold(settings: DataConfig) -> writer.AnnotationSource:
    """Use reviewed annotation."""
    nlp = settings.blank()
    return writer.AnnotationSource(
        "gold", "", (), "", lambda rows: document_rows.annotations_from_gold(rows, nlp), gold=True
    )


def from_pipeline(
    model: Path, package: str, columns: schema.Columns, config: Path
) -> writer.AnnotationSource:
    """Use a trained pipeline.

    Raises:
        UserError: the pipeline is missing, or lacks a relation that [deals] of the config names.
    """
    if package:
        nlp = load_pipeline(package, "run pip install on its wheel")
        folder = spacy.util.get_package_path(package)
    else:
        nlp, folder = assembly.load(model, "components"), model
    if "relations" in nlp.pipe_names and columns.deals.labels:
        labels = set(nlp.get_pipe("relations").labels)
        if missing := sorted(columns.deals.labels - labels):
            raise UserError(
                f"{config}: [deals] names {missing[0]!r}, but the relations of {package or model} are "
                f"{', '.join(sorted(labels))}; correct the name, or delete [deals]."
            )
    elif columns.deals.labels:
        msg.warn(f"{package or model} has no relations, so there will be no deals.")
    read = partial(document_rows.annotations_from_pipeline, nlp)
    name, version = f"{nlp.meta['lang']}_{nlp.meta['name']}", nlp.meta["version"]
    return writer.AnnotationSource(name, version, nlp.pipe_names, hash_folder(folder, " "), read)


def print_report(report: writer.UpdateReport, output: Path, model_id: str) -> None:
    """Print a summary."""
    rows = [(name, f"{report.before[name]:,}", f"{n:,}") for name, n in report.rows.items() if name != "meta"]
    print_table(rows, ("table", "before", "rows"), "lrr")
    counts = f"{report.new:,} new, {report.changed:,} changed, {report.same:,} unchanged"
    print(wrapped(f"Documents: {counts}, {report.removed:,} removed; annotated by {model_id}."))
    if report.vanished:
        msg.warn(
            f"{len(report.vanished):,} documents whose text is gone were kept (first: {report.vanished[0]}); "
            "run `python scripts/database.py --vanished remove` to drop them."
        )
    if not report.written:
        msg.good(f"{output} is up to date; nothing was added.")
    if report.parquet_written:
        folder = writer.parquet_folder(output)
        msg.good(f"{output if report.written else 'Parquet files, which were older'}; {folder}/*.parquet")


if __name__ == "__main__":
    run(main)

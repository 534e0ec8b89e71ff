"""Fill a database with what the pipeline finds in the texts: SQLite, and a Parquet file a table beside it."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import spacy
import typer
from tqdm import tqdm
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import sha256_file
from ie.core.pipelines import load_pipeline
from ie.data import options, records
from ie.data.config import DataConfig, load_data_config
from ie.data.gazetteer import read_gazetteer
from ie.database import document_rows, schema, writer
from ie.training import assembly


def main(
    model: Annotated[Path, typer.Option(help="Assembled pipeline")] = Path(
        "training/efficient/pipeline/model-best"
    ),
    package: Annotated[
        str, typer.Option(help="Name of an installed pipeline to use instead; empty for none")
    ] = "",
    texts: Annotated[Path, typer.Option(help="Texts to read")] = Path("assets/texts.jsonl"),
    gold: Annotated[
        str, typer.Option(help="Reviewed texts to fill it from instead, the ceiling; empty for none")
    ] = "",
    companies: Annotated[Path, typer.Option(help="Company table")] = Path("assets/companies.csv"),
    config: Annotated[Path, typer.Option(help="Which label makes which column")] = Path(
        "configs/database.cfg"
    ),
    output: Annotated[Path, typer.Option(help="SQLite file")] = Path("database/deals.db"),
    vanished: Annotated[str, typer.Option(help="Documents whose text is gone: keep or remove")] = "keep",
    data: options.Data = Path("configs/data.cfg"),
) -> None:
    """Write OUTPUT and its Parquet files; a second run reads nothing again."""
    if vanished not in ("keep", "remove"):
        raise UserError(f"vanished = {vanished!r}: it must be keep or remove.")
    columns = schema.read_mapping(config)
    entries = read_gazetteer(companies, allow_empty=True) if companies.exists() else []
    source = from_gold(load_data_config(data)) if gold else from_pipeline(model, package, columns, config)
    found = records.read_records(
        Path(gold) if gold else texts, misaligned="snap", duplicates="first", bad_relations="drop"
    )
    report = writer.update(
        output,
        records.accepted(found) if gold else found,
        source,
        columns,
        entries,
        prune=vanished == "remove",
        progress=lambda readings, total: tqdm(readings, total=total, desc="database", unit="text"),
    )
    tell(report, output, source.model_id)


def from_gold(settings: DataConfig) -> writer.AnnotationSource:
    """Reviewed annotation as the source of the rows."""
    nlp = settings.blank()
    return writer.AnnotationSource(
        "gold", "", (), "", lambda found: document_rows.read_gold(found, nlp), gold=True
    )


def from_pipeline(
    model: Path, package: str, columns: schema.Columns, config: Path
) -> writer.AnnotationSource:
    """A trained pipeline as the source of the rows.

    Raises:
        UserError: it isn't there, or has none of the relations that make a deal.
    """
    if package:
        nlp = load_pipeline(package, "run pip install on its wheel")
        folder = spacy.util.get_package_path(package)
    else:
        nlp, folder = assembly.load(model, "components"), model
    if "relations" in nlp.pipe_names and columns.deals.labels:
        known = set(nlp.get_pipe("relations").labels)
        if missing := sorted(columns.deals.labels - known):
            raise UserError(
                f"{config}: [deals] names {missing[0]!r}, but the relations of {package or model} are "
                f"{', '.join(sorted(known))}; correct the name, or delete [deals]."
            )
    elif columns.deals.labels:
        msg.warn(f"{package or model} has no relations, so there will be no deals.")
    whole = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        whole.update(f"{path.relative_to(folder).as_posix()} {sha256_file(path)}\n".encode())
    meta = nlp.meta

    def read(found: Iterable[records.Record]) -> Iterator[document_rows.Reading]:
        return document_rows.read_by(nlp, found)

    return writer.AnnotationSource(
        f"{meta['lang']}_{meta['name']}", meta["version"], nlp.pipe_names, whole.hexdigest(), read
    )


def tell(report: writer.UpdateReport, output: Path, model_id: str) -> None:
    """Print what was done."""
    rows = [(name, f"{report.before[name]:,}", f"{n:,}") for name, n in report.rows.items() if name != "meta"]
    msg.table(rows, header=("table", "before", "rows"), divider=True, aligns=("l", "r", "r"))
    print(
        f"{report.new:,} documents are new, {report.changed:,} changed, {report.same:,} the same, "
        f"{report.removed:,} removed; read by {model_id}."
    )
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

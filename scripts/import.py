"""Convert annotations of another tool, or documents, to the project's format; what is lost is counted."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import check_writable
from ie.core.text import print_table
from ie.data import options
from ie.data.config import load_data_config
from ie.data.formats import interchange
from ie.data.formats.conversion import Conversion, Offsets
from ie.data.records import read_answers, write_records
from ie.data.scheme import load_scheme

GOLD = "reviewed.jsonl"


def main(
    source: Annotated[Path, typer.Option(help="The other tool's file; a document, or a folder of them.")],
    target: Annotated[Path, typer.Option(help="JSONL file to write; must not exist, unless --append.")],
    format: Annotated[
        interchange.ReadFormat, typer.Option(help="Format of the other tool's file.")
    ] = "prodigy",
    scheme: options.SchemeOrAny = "configs/llm.cfg",
    append: Annotated[bool, typer.Option(help="Add to an existing file what isn't in it yet.")] = False,
    offsets: Annotated[
        Offsets, typer.Option(help="What doccano's offsets count, if texts have emoji or the like.")
    ] = "",
    data: options.Data = Path("configs/data.cfg"),
) -> None:
    """Write records to a new file, or add them to one; print the number of records and losses."""
    check_writable(target)
    if target.exists() and not append:
        raise UserError(f"{target}: exists, and nothing is overwritten; name another file, or add --append.")
    if format == "documents" and target.name == GOLD:
        raise UserError(f"{target}: documents aren't annotated, so they are no gold; name another target.")
    labels = load_scheme(Path(scheme)) if scheme else None
    config = load_data_config(data)
    job = Conversion(config.blank(), labels, offsets, config.documents)
    known = read_answers(target, labels) if target.exists() and target.stat().st_size else []
    intake = interchange.read(source, format, job, known)
    if not intake.records and not intake.repeated and not intake.otherwise:
        raise UserError(f"{source}: no record in it; is {format} its format?")
    write_records(target, [*known, *intake.records])
    rows = [
        ("records", f"{len(intake.records):,}"),
        ("spans", f"{sum(len(record.spans) for record in intake.records):,}"),
        ("relations", f"{sum(len(record.relations) for record in intake.records):,}"),
        ("texts with categories", f"{sum(bool(record.cats) for record in intake.records):,}"),
        ("left out: there already", f"{intake.repeated:,}"),
        ("left out: there already, annotated differently", f"{intake.otherwise:,}"),
        *((f"lost: {name}", f"{n:,}") for name, n in interchange.losses(job)),
        *((f"not read, may be annotation: {name}", f"in {n:,}") for name, n in job.unread.most_common()),
        *((f"kept as it is: {name}", f"in {n:,}") for name, n in job.other_keys.most_common()),
    ]
    print_table(rows, aligns="lr")
    if job.read:
        for remark in job.read.remarks:
            msg.warn(remark)
        print(job.read.summary() + ".")
    elif job.unread:
        print("What was not read is kept in the records, but no command uses it as annotation.")
    elif not interchange.losses(job):
        print("Nothing was lost.")
    msg.good(f"{target}: {len(known) + len(intake.records):,} records")


if __name__ == "__main__":
    run(main)

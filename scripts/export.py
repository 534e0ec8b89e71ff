"""Convert annotations to another tool's format; what it can't hold is counted."""

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
from ie.data.formats import interchange, labelstudio
from ie.data.formats.conversion import Conversion
from ie.data.records import read_answers
from ie.data.scheme import load_scheme


def main(
    source: Annotated[Path, typer.Option(help="JSONL file of annotations.")] = Path("assets/reviewed.jsonl"),
    target: Annotated[Path, typer.Option(help="File to write.")] = Path("corpus/export.json"),
    format: Annotated[interchange.Format, typer.Option(help="Format to write.")] = "labelstudio",
    scheme: options.SchemeOrAny = "configs/llm.cfg",
    reviewed: options.Reviewed = Path("assets/reviewed.jsonl"),
    data: options.Data = Path("configs/data.cfg"),
) -> None:
    """Write the other tool's file; print the number of records and losses."""
    check_writable(target)
    for protected, what in (
        (source, "the file that is exported"),
        (reviewed, "gold, which only people write"),
    ):
        if target.exists() and protected.exists() and target.samefile(protected):
            raise UserError(f"{target}: this is {what}; name another target.")
    labels = load_scheme(Path(scheme)) if scheme else None
    job = Conversion(load_data_config(data).blank(), labels)
    n = interchange.write(target, format, read_answers(source, labels), job)
    rows = [("records", f"{n:,}"), *((f"lost: {name}", f"{m:,}") for name, m in interchange.losses(job))]
    print_table(rows, aligns="lr")
    if not interchange.losses(job):
        print("Nothing is lost.")
    if format == "labelstudio" and labels:
        print(f"Labelling interface for the project's settings:\n\n{labelstudio.interface(labels)}")
    msg.good(f"{target}: {n:,} records")


if __name__ == "__main__":
    run(main)

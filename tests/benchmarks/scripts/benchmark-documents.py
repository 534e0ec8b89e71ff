"""Render the test texts as PDF, DOCX, HTML, EML and Markdown, read them back, and compare with plain text."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from benchmarks import documents

import components.confidence
import components.crf  # noqa: F401
from ie.core import stats
from ie.core.cli import run
from ie.core.pipelines import load_pipeline
from ie.core.text import print_table
from ie.data import options
from ie.data.config import load_data_config
from ie.data.records import accepted, read_records


def main(
    model: Annotated[Path, typer.Option(help="Trained pipeline.")] = Path(
        "training/efficient/reviewed/model-best"
    ),
    test: options.Test = Path("corpus/test.jsonl"),
    texts: Annotated[int, typer.Option(help="Texts at most; 0 for all.", min=0)] = 0,
    keep: Annotated[str, typer.Option(help="Folder for the documents; empty: they are deleted.")] = "",
    seed: options.Seed = 0,
    data: options.Data = Path("configs/data.cfg"),
) -> None:
    """Print a table; nothing else is written, as timings are this machine's."""
    settings = load_data_config(data).documents
    gold = accepted(read_records(test))
    gold = gold[:texts] if texts else gold
    nlp = load_pipeline(model, "run `weasel run train`")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(keep or folder)
        place.mkdir(parents=True, exist_ok=True)
        plain, results = documents.measure(nlp, gold, settings, place, seed)
    rows = [("plain text", "", "", stats.format_score(plain, documents=len(gold)), "", "", "", "")]
    for result in results:
        unit = result.seconds / (result.pages or result.documents)
        rows.append(
            (
                result.name,
                f"{result.documents:,}",
                f"{result.same:.1%}",
                stats.format_score(result.f, documents=len(gold)),
                stats.format_difference(result.difference, len(gold)),
                stats.format_difference(result.merged, len(gold)),
                f"{result.right:,} of {result.boxes:,}" if result.boxes else "–",
                f"{1000 * unit:.0f} ms a {'page' if result.pages else 'document'}",
            )
        )
    header = (
        "format",
        "files",
        "texts kept",
        f"F (n={len(gold)})",
        "less plain",
        "merged, less plain",
        "boxes right",
        "time",
    )
    print_table(rows, header)
    print("Texts kept: the same, character by character. Less plain: the difference to F of the plain")
    print("texts, where each paragraph is a text, and where configs/data.cfg merges short ones.")


if __name__ == "__main__":
    run(main)

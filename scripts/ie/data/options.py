"""Options that several commands share, declared once so that they mean the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

from ie.data import records, splits

Reviewed = Annotated[Path, typer.Option(help="Reviewed examples.")]
Texts = Annotated[Path, typer.Option(help="All raw texts.")]
TextFiles = Annotated[
    Path, typer.Option(help="A .parquet, .jsonl or .jsonl.gz file, or a folder of such files")
]
Results = Annotated[Path, typer.Option(help="Folder for the results; a run goes on with what is there")]
TextColumn = Annotated[str, typer.Option(help="Column of the texts")]
IdColumn = Annotated[
    str, typer.Option(help="Column of the ids; meta.id looks into an object; empty for none")
]
Shard = Annotated[int, typer.Option(help="Rows of an input file for one file of results", min=1)]
MaxChars = Annotated[int, typer.Option(help="Longer texts are set aside", min=1)]
Stretch = Annotated[
    int, typer.Option(help="Texts with more characters in a row without a blank are set aside", min=1)
]
Scheme = Annotated[Path, typer.Option(help="Config that holds the labels.")]
Provider = Annotated[
    str,
    typer.Option(help="File of configs/providers (without .cfg) that replaces the model; empty for none."),
]
TestPercent = Annotated[float, typer.Option(help="Share of the reviewed texts for test.")]
DevPercent = Annotated[float, typer.Option(help="Share of the reviewed texts for dev.")]
NearDuplicate = Annotated[float, typer.Option(help="Similarity (0 to 1) that joins two texts.")]
TrainOn = Annotated[splits.TrainOn, typer.Option(help="What is trained on.")]
Misaligned = Annotated[records.Misaligned, typer.Option(help="Reviewed spans off the tokens' edges.")]
Duplicates = Annotated[records.Duplicates, typer.Option(help="A text twice in one file.")]
BadRelations = Annotated[records.BadRelations, typer.Option(help="Relations that join nothing.")]
Lang = Annotated[str, typer.Option(help="Language whose tokenizer is used.")]
Patterns = Annotated[str, typer.Option(help="Token patterns of the rules; empty for none.")]
Gazetteer = Annotated[str, typer.Option(help="CSV of known names; empty for none.")]
GazetteerLabel = Annotated[str, typer.Option(help="Label of these names; empty for no gazetteer.")]

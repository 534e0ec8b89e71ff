"""Options that several commands share, declared once so that they mean the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

from ie.data import splits

Reviewed = Annotated[Path, typer.Option(help="Reviewed examples.")]
Examples = Annotated[Path, typer.Option(help="The examples that prompts show.")]
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
Corpus = Annotated[Path, typer.Option(help="Folder of what `split` and `llm-annotate` write.")]
Scheme = Annotated[Path, typer.Option(help="Config that holds the labels.")]
Provider = Annotated[
    str,
    typer.Option(help="File of configs/providers (without .cfg) that replaces the model; empty for none."),
]
TrainOn = Annotated[splits.TrainOn, typer.Option(help="What is trained on.")]
Data = Annotated[Path, typer.Option(help="Data settings: language, split, what reading forgives.")]
Lang = Annotated[str, typer.Option(help="Language whose tokenizer is used.")]
Patterns = Annotated[str, typer.Option(help="Token patterns of the rules; empty for none.")]
Gazetteer = Annotated[str, typer.Option(help="CSV of known names; empty for none.")]
GazetteerLabel = Annotated[str, typer.Option(help="Label of these names; empty for no gazetteer.")]
Seed = Annotated[int, typer.Option(help="Seed of weights, batches and samples; of the first, if several.")]
MaxSteps = Annotated[int, typer.Option(help="Updates at most; 0 leaves it to the config.", min=0)]
GpuId = Annotated[int, typer.Option(help="Number of the GPU; -1 for none.")]
Workers = Annotated[int, typer.Option(help="Processes at a time; 0: one per core.", min=0)]
TrainingCache = Annotated[Path, typer.Option(help="Folder that keeps finished trainings.")]

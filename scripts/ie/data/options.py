"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from ie.data import splits

# The training config that the template starts with (`vars.config` in project.yml), the folder of its results,
# and the pipelines in it.
CONFIG = Path("configs/crf.cfg")
TRAINING = Path("training") / CONFIG.stem
MODEL = TRAINING / "reviewed/model-best"
SHIPPED_MODEL = TRAINING / "shipped/model-best"
ASSEMBLED_MODEL = TRAINING / "pipeline/model-best"

Reviewed = Annotated[Path, typer.Option(help="Reviewed examples.")]
Examples = Annotated[Path, typer.Option(help="The examples that prompts show.")]
Texts = Annotated[Path, typer.Option(help="All raw texts.")]
TextFiles = Annotated[
    Path, typer.Option(help="A .parquet, .jsonl or .jsonl.gz file, or a folder of such files")
]
Results = Annotated[Path, typer.Option(help="Folder for the results; a run continues from those there")]
TextColumn = Annotated[str, typer.Option(help="Column of the texts")]
IdColumn = Annotated[
    str, typer.Option(help="Column of the ids; meta.id looks into an object; empty for none")
]
Shard = Annotated[int, typer.Option(help="Rows of an input file for one file of results", min=1)]
MaxChars = Annotated[int, typer.Option(help="Longer texts are set aside", min=1)]
Stretch = Annotated[
    int, typer.Option(help="Texts with more characters in a row without whitespace are set aside", min=1)
]
Corpus = Annotated[Path, typer.Option(help="Folder of what `split` and `llm-annotate` write.")]
Train = Annotated[Path, typer.Option(help="Training records.")]
Dev = Annotated[Path, typer.Option(help="Gold dev records.")]
Test = Annotated[Path, typer.Option(help="Gold test records.")]
Llm = Annotated[Path, typer.Option(help="The LLM's annotations.")]
Trained = Annotated[Path, typer.Option(help="Trained pipeline.")]
Assembled = Annotated[Path, typer.Option(help="Assembled pipeline.")]
Components = Annotated[Path, typer.Option(help="Folder of `train-components`.")]
TrainingResults = Annotated[Path, typer.Option(help="Folder with the results of a training config.")]
TrainingConfig = Annotated[Path, typer.Option(help="Training config of spaCy.")]
LlmConfig = Annotated[Path, typer.Option(help="Config of the LLM pipeline, which holds the labels.")]
AskConfig = Annotated[Path, typer.Option(help="Settings of text-to-SQL, and its model.")]
Questions = Annotated[Path, typer.Option(help="Solved questions to show to the model.")]
Database = Annotated[Path, typer.Option(help="SQLite file.")]
Accept = Annotated[Path, typer.Option(help="What `accept` found: from which confidence on rows go unread.")]
Money = Annotated[Path, typer.Option(help="Config of the component that parses amounts.")]
Companies = Annotated[Path, typer.Option(help="Company table (CSV).")]
Guidelines = Annotated[Path, typer.Option(help="Annotation guidelines.")]
Port = Annotated[int, typer.Option(help="Port on this machine; 0: any.", min=0, max=65535)]
Hosts = Annotated[str, typer.Option(help="Host names of a proxy in front, separated by commas.")]
Scheme = Annotated[Path, typer.Option(help="Config that holds the labels.")]
SchemeOrAny = Annotated[str, typer.Option(help="Config that the labels must be in; empty accepts any label.")]
Provider = Annotated[
    str,
    typer.Option(help="File of configs/providers (without .cfg) that replaces the model; empty for none."),
]
TrainOn = Annotated[splits.TrainOn, typer.Option(help="What is trained on.")]
Data = Annotated[Path, typer.Option(help="Data settings: language, split, handling of faults.")]
Lang = Annotated[str, typer.Option(help="Language whose tokenizer is used.")]
Patterns = Annotated[str, typer.Option(help="Token patterns of the rules; empty for none.")]
Gazetteer = Annotated[str, typer.Option(help="CSV of known names; empty for none.")]
GazetteerLabel = Annotated[str, typer.Option(help="Label of these names; empty for no gazetteer.")]
Seed = Annotated[int, typer.Option(help="Seed of weights, batches and samples; of the first, if several.")]
MaxSteps = Annotated[int, typer.Option(help="Updates at most; 0 leaves it to the config.", min=0)]
GpuId = Annotated[int, typer.Option(help="Number of the GPU; -1 for none.")]
Workers = Annotated[int, typer.Option(help="Processes at a time; 0: one per core.", min=0)]
TrainingCache = Annotated[Path, typer.Option(help="Folder that keeps finished trainings.")]

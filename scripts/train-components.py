"""Train the components that follow entities in the pipeline: linker, relations, categories."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from wasabi import msg

from ie.core.cli import run
from ie.core.files import write_json
from ie.core.text import names_among, print_table
from ie.data import options
from ie.data.config import load_data_config
from ie.data.scheme import load_scheme
from ie.training import component_training, loop


def main(
    only: Annotated[
        str, typer.Option(help="Components to train, with commas; empty for all that there is data for")
    ] = "",
    linker: Annotated[Path, typer.Option(help="Config of the linker")] = Path("configs/linker.cfg"),
    relations: Annotated[Path, typer.Option(help="Training config of the relations")] = Path(
        "configs/relations.cfg"
    ),
    categories: Annotated[Path, typer.Option(help="Training config of the categories")] = Path(
        "configs/categories.cfg"
    ),
    scheme: options.Scheme = Path("configs/llm.cfg"),
    data: options.Data = Path("configs/data.cfg"),
    corpus: options.Corpus = Path("corpus"),
    table: Annotated[
        Path,
        typer.Option(
            help="CSV of id, name, aliases and, if known, kind, country ...; with legal_forms.txt beside it"
        ),
    ] = Path("assets/companies.csv"),
    ner: Annotated[
        Path, typer.Option(help="Pipeline whose token encoder categories-shared.cfg listens to")
    ] = options.MODEL,
    seed: options.Seed = 0,
    max_steps: options.MaxSteps = 0,
    gpu_id: options.GpuId = -1,
    output: Annotated[Path, typer.Option(help="Folder for a pipeline each")] = options.TRAINING
    / "components",
) -> None:
    """Write model-best and train.json (scores on dev) of each into a folder of OUTPUT, and left_out.json."""
    settings = load_data_config(data)
    labels = load_scheme(scheme)
    labels.refuse_overlapping("training of what follows entities")
    gold = component_training.Corpus(corpus / "train.jsonl", corpus / "dev.jsonl", labels)
    wanted = names_among(component_training.COMPONENTS, "--only", only)
    # A component asked for by name reports itself what it lacks.
    missing = {} if wanted else component_training.without_data(gold, table)
    for name, reason in missing.items():
        msg.info(f"{name}: left out ({reason}).")
    overrides = loop.overrides(settings.texts, max_steps)
    common = {"nlp": settings.blank(), "seed": seed, "gpu_id": gpu_id}
    trainings: dict[str, Callable[[Path], dict[str, Any]]] = {
        "linker": lambda folder: component_training.train_linker(gold, linker, table, folder, seed),
        "relations": lambda folder: component_training.train_relations(
            gold, relations, folder, overrides=overrides, **common
        ),
        "categories": lambda folder: component_training.train_categories(
            gold, categories, folder, overrides=overrides | {"paths.tok2vec": str(ner)}, **common
        ),
    }
    for name in wanted or [name for name in trainings if name not in missing]:
        msg.divider(name)
        summary = trainings[name](output / name)
        write_json(output / name / "train.json", summary)
        rows = [(key.replace("_", " "), value) for key, value in summary.items()]
        print_table(rows)
        msg.good(str(output / name / "model-best"))
    # `assemble` depends on the folder, which must be there even if nothing in it is.
    write_json(output / "left_out.json", missing)
    msg.info(
        "Dev chose checkpoints and thresholds, so its scores are optimistic: `evaluate-components` uses test."
    )


if __name__ == "__main__":
    run(main)

"""Train the components that follow entities in the pipeline: linker, relations, categories."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from wasabi import msg

from ie.core.cli import run
from ie.core.files import write_json
from ie.core.text import names_among
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
    train: Annotated[Path, typer.Option(help="Gold training records")] = Path("corpus/train.jsonl"),
    dev: Annotated[Path, typer.Option(help="Gold records for checkpoints and thresholds")] = Path(
        "corpus/dev.jsonl"
    ),
    table: Annotated[Path, typer.Option(help="CSV of id, name, aliases and, if known, kind, country ...")] = (
        Path("assets/companies.csv")
    ),
    legal_forms: Annotated[Path, typer.Option(help="Legal forms that may be missing from a name")] = Path(
        "assets/legal_forms.txt"
    ),
    ner: Annotated[
        Path, typer.Option(help="Pipeline whose token encoder categories-shared.cfg listens to")
    ] = Path("training/efficient/reviewed/model-best"),
    seed: options.Seed = 0,
    max_steps: options.MaxSteps = 0,
    gpu_id: options.GpuId = -1,
    output: Annotated[Path, typer.Option(help="Folder for a pipeline each")] = Path(
        "training/efficient/components"
    ),
) -> None:
    """Write model-best and train.json (what dev says) of each into a folder of OUTPUT, and left_out.json."""
    settings, labels = load_data_config(data), load_scheme(scheme)
    corpus = component_training.Corpus(train, dev, labels)
    wanted = names_among(component_training.COMPONENTS, "--only", only)
    # what is asked for by name says itself what it lacks
    missing = {} if wanted else component_training.without_data(corpus, table)
    for name, reason in missing.items():
        msg.info(f"{name}: left out ({reason}).")
    nlp = settings.blank()
    overrides = loop.overrides(settings.lang, max_steps)
    common = {"overrides": overrides, "nlp": nlp, "seed": seed, "gpu_id": gpu_id}
    shared = common | {"overrides": overrides | {"paths.tok2vec": str(ner)}}
    jobs: dict[str, Callable[[Path], dict[str, Any]]] = {
        "linker": lambda folder: component_training.train_linker(
            corpus, linker, table, legal_forms, folder, seed
        ),
        "relations": lambda folder: component_training.train_relations(corpus, relations, folder, **common),
        "categories": lambda folder: component_training.train_categories(
            corpus, categories, folder, **shared
        ),
    }
    for name in wanted or [name for name in jobs if name not in missing]:
        msg.divider(name)
        summary = jobs[name](output / name)
        write_json(output / name / "train.json", summary)
        msg.table([(key.replace("_", " "), str(value)) for key, value in summary.items()])
        msg.good(str(output / name / "model-best"))
    # `assemble` depends on the folder, which must be there even if nothing in it is.
    write_json(output / "left_out.json", missing)
    msg.info(
        "Dev chose checkpoints and thresholds, so its scores are optimistic: `evaluate-components` uses test."
    )


if __name__ == "__main__":
    run(main)

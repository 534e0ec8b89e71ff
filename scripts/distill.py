"""Make the best of the LLM's annotations, as a recipe of configs/distill.cfg says, and train on it."""

import shutil
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from wasabi import msg

from ie.core import stats, tracking
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import check_writable, write_files
from ie.core.text import print_table
from ie.data import options, records
from ie.data.docs import docbin, to_doc
from ie.training import confidence_training
from ie.training.distill import recipes
from ie.training.distill.distillation import Distillation, open_distillation
from ie.training.distill.recipes import Kept, Method
from ie.training.jobs import Result


def main(
    recipe: Annotated[str, typer.Option(help="Name of the recipe.")] = "all",
    settings: Annotated[Path, typer.Option(help="Recipes, and the settings of their methods.")] = Path(
        "configs/distill.cfg"
    ),
    config: options.TrainingConfig = options.CONFIG,
    corpus: options.Corpus = Path("corpus"),
    scheme: options.Scheme = Path("configs/llm.cfg"),
    gazetteer_label: options.GazetteerLabel = "",
    seed: options.Seed = 0,
    max_steps: options.MaxSteps = 0,
    gpu_id: options.GpuId = -1,
    workers: options.Workers = 0,
    data: options.Data = Path("configs/data.cfg"),
    cache: options.TrainingCache = Path(".cache/compare-distillation"),
    output: Annotated[Path, typer.Option(help="Folder for the pipeline.")] = options.TRAINING / "distilled",
) -> None:
    """Write CORPUS/distilled.jsonl and .spacy (reviewed and silver), OUTPUT/model-best and distill.json."""
    asked = recipes.load(settings)
    if recipe not in asked.recipes:
        raise UserError(f"{settings}: has no recipe {recipe!r}; choose from {', '.join(asked.recipes)}.")
    methods = asked.recipes[recipe]
    with open_distillation(
        asked,
        corpus,
        scheme,
        data,
        gazetteer_label=gazetteer_label,
        max_steps=max_steps,
        workers=workers,
        seed=seed,
        config=config,
        gpu_id=gpu_id,
        cache=cache,
    ) as distillation:
        for path in (corpus / "distilled.jsonl", corpus / "distilled.spacy", output / "distill.json"):
            check_writable(path)
        for note in distillation.data.notes if "rules" in methods else ():
            msg.warn(note)
        if "two-stage" in methods and not distillation.learns_by_updates:
            msg.info(f"two-stage is left out: {config} learns from all examples at once.")
        kept = distillation.distil({recipe: methods})[recipe].kept
        result = train_student(distillation, kept, methods, output)
    summary = save(distillation, kept, recipe, result, corpus, output)
    confidence_training.add_confidence(
        output / "model-best", train=corpus / "distilled.spacy", dev=corpus / "dev.spacy"
    )
    with tracking.run("distill", config={"recipe": recipe, "seed": seed}) as tracker:
        tracker.summary(summary)


def train_student(distillation: Distillation, kept: Kept, methods: list[Method], output: Path) -> Result:
    """Train beside the old pipeline, which stays whole until the new one is there."""
    new = output.with_name(f".{output.name}.new")
    try:
        reviewed = distillation.data.reviewed
        job = distillation.student(reviewed, kept.drafts, methods, distillation.seed, model=new)
        (result,) = distillation.run([job], "trainings")
        shutil.rmtree(output / "model-best", ignore_errors=True)
        output.mkdir(parents=True, exist_ok=True)
        (new / "model-best").rename(output / "model-best")
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return result


def save(
    distillation: Distillation, kept: Kept, recipe: str, result: Result, corpus: Path, output: Path
) -> dict[str, object]:
    """Write the examples and their summary, and print the latter."""
    reviewed, nlp = distillation.data.reviewed, distillation.nlp
    docs = [recipes.to_training_doc(draft, nlp) for draft in kept.drafts]
    records.write_records(corpus / "distilled.jsonl", [*reviewed, *map(recipes.to_line, kept.drafts)])
    examples = docbin([*(to_doc(record, nlp) for record in reviewed), *docs])
    write_files(corpus, {"distilled.spacy": examples.to_bytes()})
    f = stats.intervals(np.array(result["counts"]).sum(axis=1))[2]
    summary = {
        "recipe": recipe,
        "means": list(distillation.settings.recipes[recipe]),
        "reviewed_texts": len(reviewed),
        "silver_texts": len(docs),
        "silver_texts_dropped": kept.dropped,
        "silver_spans": sum(len(doc.ents) for doc in docs),
        "silver_tokens": sum(len(doc) for doc in docs),
        "silver_tokens_missing": sum(token.ent_iob == 0 for doc in docs for token in doc),
        "dev_documents": len(result["counts"]),
        "f": f.rounded(),
    }
    write_files(output, {"distill.json": summary})
    print_table([(name.replace("_", " "), str(value)) for name, value in summary.items() if name != "f"])
    chosen = "; dev picked the checkpoint" if result["checkpoints"] > 1 else ""
    msg.info(f"F on dev {stats.format_score(f, len(result['counts']))}{chosen}.")
    msg.good(f"{corpus / 'distilled.jsonl'}, {corpus / 'distilled.spacy'}, {output / 'model-best'}")
    return summary


if __name__ == "__main__":
    run(main)

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
from ie.core.files import atomic_write, check_writable, write_json
from ie.data import options, records
from ie.data.config import load_data_config
from ie.data.docs import docbin, to_doc
from ie.data.records import Reader
from ie.data.scheme import load_scheme
from ie.training.distill import distillation, recipes, teachers


def main(
    recipe: Annotated[str, typer.Option(help="Name of the recipe.")] = "all",
    settings: Annotated[Path, typer.Option(help="Recipes, and the settings of their means.")] = Path(
        "configs/distill.cfg"
    ),
    config: Annotated[Path, typer.Option(help="Training config of spaCy.")] = Path("configs/efficient.cfg"),
    reviewed: Annotated[Path, typer.Option(help="Reviewed training examples.")] = Path(
        "corpus/reviewed.spacy"
    ),
    silver: Annotated[Path, typer.Option(help="Silver texts that may be trained on.")] = Path(
        "corpus/silver.spacy"
    ),
    llm: Annotated[Path, typer.Option(help="What the LLM said of them.")] = Path("corpus/llm.jsonl"),
    dev: Annotated[Path, typer.Option(help="Reviewed ones that pick the checkpoint.")] = Path(
        "corpus/dev.spacy"
    ),
    scheme: options.Scheme = Path("configs/llm.cfg"),
    patterns: options.Patterns = "assets/patterns.jsonl",
    gazetteer: options.Gazetteer = "assets/companies.csv",
    gazetteer_label: options.GazetteerLabel = "",
    seed: options.Seed = 0,
    max_steps: options.MaxSteps = 0,
    gpu_id: options.GpuId = -1,
    workers: options.Workers = 0,
    data: options.Data = Path("configs/data.cfg"),
    cache: Annotated[Path, typer.Option(help="Folder that keeps finished trainings.")] = Path(
        ".cache/compare-distillation"
    ),
    corpus: Annotated[Path, typer.Option(help="Folder for the distilled examples.")] = Path("corpus"),
    output: Annotated[Path, typer.Option(help="Folder for the pipeline.")] = Path(
        "training/efficient/distilled"
    ),
) -> None:
    """Write CORPUS/distilled.jsonl and .spacy (reviewed and silver), OUTPUT/model-best and distill.json."""
    asked, labels = recipes.load(settings), load_scheme(scheme)
    if recipe not in asked.recipes:
        raise UserError(f"{settings}: has no recipe {recipe!r}; choose from {', '.join(asked.recipes)}.")
    means = asked.recipes[recipe]
    targets = corpus / "distilled.jsonl", corpus / "distilled.spacy", output / "distill.json"
    for path in targets:
        check_writable(path)
    gold = distillation.read_reviewed(reviewed, dev, labels.span_labels)
    lang = load_data_config(data).lang
    reader = Reader(labels, records.blank(lang).tokenizer, "snap", "first", "drop")
    _, found, _ = distillation.read_silver(reader, llm, silver, None, gold, 0)
    helpers, missing = distillation.helpers(
        found, gold, asked, lang=lang, patterns=patterns, gazetteer=gazetteer, gazetteer_label=gazetteer_label
    )
    for sentence in missing if "rules" in means else ():
        msg.warn(sentence)
    with teachers.bench(
        config=config,
        dev=dev,
        labels=labels.span_labels,
        lang=lang,
        cache=cache,
        max_steps=max_steps,
        gpu_id=gpu_id,
        workers=workers,
        seed=seed,
    ) as at:
        sources = distillation.DistillationData(gold, found, helpers)
        kept = distillation.distil(at, sources, {recipe: means}, asked)[recipe].kept
        # Beside the old pipeline first, which stays whole until the new one is there.
        fresh = output.with_name(f".{output.name}.new")
        try:
            job = distillation.student(at, gold, kept.drafts, means, asked, seed, model=fresh)
            (result,) = at.run([job], "training")
            docs = [to_doc(record, at.nlp) for record in gold]
            silver_docs = [recipes.to_training_doc(draft, at.nlp) for draft in kept.drafts]
            shutil.rmtree(output / "model-best", ignore_errors=True)
            output.mkdir(parents=True, exist_ok=True)
            (fresh / "model-best").rename(output / "model-best")
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    records.write_records(targets[0], [*gold, *map(recipes.to_line, kept.drafts)])
    with atomic_write(targets[1], "wb") as file:
        file.write(docbin([*docs, *silver_docs]).to_bytes())
    f = stats.intervals(np.array(result["counts"]).sum(axis=1))[2]
    tokens = sum(len(doc) for doc in silver_docs)
    summary = {
        "recipe": recipe,
        "means": list(means),
        "reviewed_texts": len(gold),
        "silver_texts": len(silver_docs),
        "silver_texts_dropped": kept.dropped,
        "silver_spans": sum(len(doc.ents) for doc in silver_docs),
        "silver_tokens": tokens,
        "silver_tokens_missing": sum(token.ent_iob == 0 for doc in silver_docs for token in doc),
        "dev_documents": len(result["counts"]),
        "f": f.rounded(),
    }
    write_json(targets[2], summary)
    msg.table([(name.replace("_", " "), str(value)) for name, value in summary.items() if name != "f"])
    msg.info(f"F on dev {stats.format_score(f, len(result['counts']))}; dev picked the checkpoint.")
    msg.good(f"{targets[0]}, {targets[1]}, {output / 'model-best'}")
    with tracking.run("distill", config={"recipe": recipe, "seed": seed}) as tracker:
        tracker.summary(summary)


if __name__ == "__main__":
    run(main)

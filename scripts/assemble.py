"""Put the shipped pipeline and the components trained beside it into one pipeline, and check it."""

import shutil
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import published, write_json
from ie.data import corpora, options
from ie.evaluation import rules_and_model
from ie.training import answer_training, assembly


def main(
    config: Annotated[Path, typer.Option(help="Which components, and where they come from")] = Path(
        "configs/assemble.cfg"
    ),
    components: options.Components = options.TRAINING / "components",
    ner: Annotated[Path, typer.Option(help="Pipeline that finds the entities")] = options.SHIPPED_MODEL,
    dev: Annotated[Path, typer.Option(help="Records on which no component may change")] = Path(
        "corpus/dev.jsonl"
    ),
    output: Annotated[Path, typer.Option(help="Folder for the pipeline")] = options.TRAINING / "pipeline",
) -> None:
    """Write OUTPUT/model-best and assemble.json; fail if a component has other answers in it than alone."""
    sources = assembly.read_sources(config, components)
    before, base = assembly.load(ner, "evaluate"), assembly.load(ner, "evaluate")
    if sources and "ner" not in base.pipe_names:
        raise UserError(
            f"{ner}: has no component 'ner', but {', '.join(base.pipe_names)}; name another pipeline."
        )
    parts = assembly.gather(sources, base.get_pipe("ner").labels if sources else None)
    for name, reason in parts.missing.items():
        msg.warn(f"{name} is left out: {reason}.")
    alone = assembly.gather({name: sources[name] for name in parts.pipelines})
    records = corpora.load(dev, base)
    nlp = assembly.assemble(base, parts.pipelines)
    changed = assembly.changed(before, alone.pipelines, nlp, records)
    if wrong := {name: n for name, n in changed.items() if n}:
        differing = ", ".join(f"{name} on {n}" for name, n in wrong.items())
        raise UserError(
            f"{config}: in one pipeline components have other answers than alone ({differing} of "
            f"{len(records)} dev texts), so nothing was written; train them on one machine with the same "
            "versions."
        )
    with published(output / "model-best") as folder:
        nlp.to_disk(folder)
        # The entities are those of NER, and so is their confidence.
        sure, confidence = None, ner.with_name("confidence.json")
        if confidence.is_file():
            shutil.copy(confidence, output)
            train = corpora.load(dev.with_name("train.jsonl"), base)
            sure = answer_training.add_answer_confidence(nlp, train, records, model=folder, folder=output)
    summary = {
        "pipeline": nlp.pipe_names,
        "left_out": parts.missing,
        "unchanged_on": len(records),
        "rules": rules_and_model.read_choice(ner.parent),
        "sources": assembly.origins({"ner": ner} | {name: sources[name] for name in parts.pipelines}),
    }
    write_json(output / "assemble.json", summary)
    for kind, reasons in sure.reasons.items() if sure else ():
        for label, reason in reasons.items():
            msg.info(f"No confidence of {kind} {label}: {reason}.")
    size = sum(path.stat().st_size for path in (output / "model-best").rglob("*") if path.is_file())
    msg.good(
        f"{output / 'model-best'} ({size / 1e6:.1f} MB): {', '.join(nlp.pipe_names)}; same answers "
        f"as alone on {len(records):,} dev texts."
    )


if __name__ == "__main__":
    run(main)

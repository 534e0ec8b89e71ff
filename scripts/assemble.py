"""Put the entity recogniser, rules, and the components trained beside it into one pipeline, and check it."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import published, write_json
from ie.core.text import wrapped
from ie.data import corpora, options
from ie.evaluation import rules_and_model
from ie.training import assembly, confidence_training


def main(
    config: Annotated[Path, typer.Option(help="Which components, and where they come from")] = Path(
        "configs/assemble.cfg"
    ),
    components: options.Components = options.TRAINING / "components",
    ner: Annotated[Path, typer.Option(help="Pipeline that finds the entities")] = options.MODEL,
    dev: Annotated[
        Path, typer.Option(help="Records that decide on the rules, and on which no component may change")
    ] = Path("corpus/dev.jsonl"),
    patterns: options.Patterns = "assets/patterns.jsonl",
    gazetteer: options.Gazetteer = "assets/companies.csv",
    gazetteer_label: options.GazetteerLabel = "",
    output: Annotated[Path, typer.Option(help="Folder for the pipeline")] = options.TRAINING / "pipeline",
) -> None:
    """Write OUTPUT/model-best and assemble.json; fail if a component has other answers in it than alone.

    Patterns and known names become part of the pipeline if they raise F on dev beyond noise.
    """
    sources = assembly.read_sources(config, components)
    before, base = assembly.load(ner, "train"), assembly.load(ner, "train")
    if sources and "ner" not in base.pipe_names:
        raise UserError(
            f"{ner}: has no component 'ner', but {', '.join(base.pipe_names)}; name another pipeline."
        )
    parts = assembly.gather(sources, base.get_pipe("ner").labels if sources else None)
    for name, reason in parts.missing.items():
        msg.warn(f"{name} is left out: {reason}.")
    alone = assembly.gather({name: sources[name] for name in parts.pipelines})
    records = corpora.load(dev, base)
    files = (Path(name) if name else None for name in (patterns, gazetteer))
    rules = rules_and_model.patterns_of(base, *files, gazetteer_label)
    choice = rules_and_model.choose(lambda: assembly.load(ner, "train"), rules, records)
    for pipeline in (before, base):
        rules_and_model.add_rules(pipeline, rules, choice)
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
        # Rules change which entities there are: what is known of the recogniser's doesn't hold for them.
        corpus = dev.parent
        confidence_training.calibrate_again(nlp, corpus / "train.spacy", corpus / "dev.spacy", output)
        nlp.to_disk(folder)
    summary = {
        "pipeline": nlp.pipe_names,
        "left_out": parts.missing,
        "unchanged_on": len(records),
        "rules": choice.to_json(),
        "sources": assembly.origins({"ner": ner} | {name: sources[name] for name in parts.pipelines}),
    }
    write_json(output / "assemble.json", summary)
    print(wrapped(f"Rules and model: {choice.reason}"))
    size = sum(path.stat().st_size for path in (output / "model-best").rglob("*") if path.is_file())
    msg.good(
        f"{output / 'model-best'} ({size / 1e6:.1f} MB): {', '.join(nlp.pipe_names)}; same answers "
        f"as alone on {len(records):,} dev texts."
    )


if __name__ == "__main__":
    run(main)

"""Find out which bit is broken: hypotheses on data and training, each tested, and what to do next."""

from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.files import atomic_write, write_json
from ie.data import options
from ie.data.config import load_data_config
from ie.data.scheme import load_scheme
from ie.diagnosis import findings, report, verdict
from ie.status.snapshot import ProjectPaths
from ie.status.terminal import print_next_step
from ie.training import loop


def main(
    config: Annotated[Path, typer.Option(help="spaCy training config")] = Path("configs/efficient.cfg"),
    scheme: Annotated[Path, typer.Option(help="Config that holds the labels")] = Path("configs/llm.cfg"),
    corpus: Annotated[Path, typer.Option(help="Folder with train, dev, test (.jsonl and .spacy)")] = Path(
        "corpus"
    ),
    llm: Annotated[str, typer.Option(help="The LLM's annotations; empty for none")] = "corpus/llm.jsonl",
    patterns: options.Patterns = "assets/patterns.jsonl",
    gazetteer: options.Gazetteer = "assets/companies.csv",
    gazetteer_label: options.GazetteerLabel = "",
    output: Annotated[Path, typer.Option(help="Folder for page, JSON and label-errors.jsonl")] = Path(
        "training/efficient"
    ),
    data: options.Data = Path("configs/data.cfg"),
    seed: options.Seed = 0,
) -> None:
    """Print the table of hypotheses and the case; write page, JSON and label-errors.jsonl."""
    asked, language = load_scheme(scheme), load_data_config(data).lang
    asked.require_spans("the diagnosis")
    labels = asked.span_labels
    checked = findings.read(
        {side: corpus / f"{side}.jsonl" for side in findings.SIDES},
        {side: corpus / f"{side}.spacy" for side in findings.SIDES},
        config=config,
        labels=labels,
        lang=language,
        overrides=loop.overrides(language),
        seed=seed,
    )
    for problem in checked.problems.values():
        msg.warn(problem)
    with tqdm(leave=False, bar_format="{elapsed} {desc}") as bar:
        found = verdict.diagnose(
            checked,
            llm=Path(llm) if llm else None,
            patterns=Path(patterns) if patterns else None,
            gazetteer=Path(gazetteer) if gazetteer and gazetteer_label else None,
            gazetteer_label=gazetteer_label,
            curve=output / "curve" / "curve.json",
            progress=bar.set_description_str,
        )
    write_json(output / "diagnosis.json", report.to_json(found))
    with atomic_write(output / "label-errors.jsonl") as file:
        file.writelines(f"{line}\n" for line in report.suspects(found))
    with atomic_write(output / "diagnosis.html") as file:
        file.write(report.page(found))
    print(f"\n{report.text(found)}\n")
    for line in report.summary(found):
        print(line)
    for title, why in found.missing.items():
        print(f"{title} is missing: {why}")
    names = ("diagnosis.html", "diagnosis.json", "label-errors.jsonl")
    msg.good(", ".join(str(output / name) for name in names))
    track(found)
    print_next_step(ProjectPaths(scheme=scheme, data=data, corpus=corpus, training=output))


def track(found: verdict.Diagnosis) -> None:
    """Record the findings with wandb, where it is used."""
    with tracking.run("diagnose") as tracker:
        tracker.summary({"case": found.case, "cause": found.first.name if found.first else ""})
        columns: list[str] = ["hypothesis", "question", "test", "observation", "verdict"]
        rows: list[list[Any]] = [[getattr(f, column) for column in columns] for f in found.findings]
        tracker.table("diagnosis", columns, rows)


if __name__ == "__main__":
    run(main)

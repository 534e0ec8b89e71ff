"""Find out what is broken: hypotheses about data and training, each tested, and what to do next."""

from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.files import write_files, write_jsonl
from ie.core.text import wrapped
from ie.data import options
from ie.data.config import load_data_config
from ie.data.scheme import load_scheme
from ie.diagnosis import findings, report, verdict
from ie.reports.html import page_links
from ie.status.snapshot import ProjectPaths
from ie.status.terminal import print_next_step
from ie.training import loop


def main(
    config: options.TrainingConfig = options.CONFIG,
    scheme: options.Scheme = Path("configs/llm.cfg"),
    corpus: Annotated[Path, typer.Option(help="Folder with train, dev, test (.jsonl and .spacy)")] = Path(
        "corpus"
    ),
    llm: Annotated[str, typer.Option(help="The LLM's annotations; empty for none")] = "corpus/llm.jsonl",
    patterns: options.Patterns = "assets/patterns.jsonl",
    gazetteer: options.Gazetteer = "assets/companies.csv",
    gazetteer_label: options.GazetteerLabel = "",
    output: Annotated[
        Path, typer.Option(help="Folder for page, JSON and label-errors.jsonl")
    ] = options.TRAINING,
    data: options.Data = Path("configs/data.cfg"),
    seed: options.Seed = 0,
) -> None:
    """Print the table of hypotheses and the case; write page, JSON and label-errors.jsonl."""
    labels = load_scheme(scheme)
    labels.require_spans("the diagnosis")
    lang = load_data_config(data).texts
    project = findings.read(
        corpus, config, labels.span_labels, lang=lang, overrides=loop.overrides(lang), seed=seed
    )
    for problem in project.problems.values():
        msg.warn(problem)
    with tqdm(leave=False, bar_format="{elapsed} {desc}") as bar:
        diagnosis = verdict.diagnose(
            project,
            llm=Path(llm) if llm else None,
            patterns=Path(patterns) if patterns else None,
            gazetteer=Path(gazetteer) if gazetteer and gazetteer_label else None,
            gazetteer_label=gazetteer_label,
            curve=output / "curve" / "curve.json",
            progress=bar.set_description_str,
        )
    content = report.to_json(diagnosis)
    page = report.page(diagnosis, page_links(output / "diagnosis.html", output))
    write_files(output, {"diagnosis.json": content, "diagnosis.html": page})
    suspects = [suspect.to_json() for finding in diagnosis.findings for suspect in finding.suspects]
    write_jsonl(output / "label-errors.jsonl", suspects)
    print(f"\n{report.text(diagnosis)}\n")
    missing = [f"{title} is missing: {why}" for title, why in diagnosis.missing.items()]
    for line in [*report.summary(diagnosis), *missing]:
        print(wrapped(line))
    names = ("diagnosis.html", "diagnosis.json", "label-errors.jsonl")
    msg.good(", ".join(str(output / name) for name in names))
    with tracking.run("diagnose") as tracker:
        tracker.summary({"case": diagnosis.case, "cause": content["cause"] or ""})
        columns = ["hypothesis", "question", "test", "observation", "verdict"]
        tracker.table("diagnosis", columns, [[f[column] for column in columns] for f in content["findings"]])
    print_next_step(ProjectPaths(scheme=scheme, data=data, corpus=corpus, training=output))


if __name__ == "__main__":
    run(main)

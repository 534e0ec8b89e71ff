"""Find out which bit is broken: hypotheses on data and training, each tested, and what to do next."""

from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.files import atomic_write, write_json
from ie.data.scheme import load_scheme
from ie.diagnosis import project, report, verdict


def main(
    config: Annotated[Path, typer.Option(help="spaCy training config")] = Path("configs/efficient.cfg"),
    scheme: Annotated[Path, typer.Option(help="Config that holds the labels")] = Path("configs/llm.cfg"),
    corpus: Annotated[Path, typer.Option(help="Folder with train, dev, test (.jsonl and .spacy)")] = Path(
        "corpus"
    ),
    llm: Annotated[str, typer.Option(help="The LLM's annotations; empty for none")] = "corpus/llm.jsonl",
    patterns: Annotated[str, typer.Option(help="Token patterns of the rules baseline; empty for none")] = "",
    gazetteer: Annotated[str, typer.Option(help="CSV of known names for it; empty for none")] = "",
    gazetteer_label: Annotated[str, typer.Option(help="Label of the gazetteer's names")] = "",
    output: Annotated[Path, typer.Option(help="Folder for page, JSON and label-errors.jsonl")] = Path(
        "training/efficient"
    ),
    lang: Annotated[str, typer.Option(help="Language whose tokenizer is used")] = "en",
    seed: Annotated[int, typer.Option(help="Seed of samples and trainings")] = 0,
) -> None:
    """Print the table of hypotheses and the case; write page, JSON and label-errors.jsonl."""
    asked = load_scheme(scheme)
    asked.require_spans("the diagnosis")
    labels = asked.span_labels
    checked = project.read(
        {side: corpus / f"{side}.jsonl" for side in project.SIDES},
        {side: corpus / f"{side}.spacy" for side in project.SIDES},
        config=config,
        labels=labels,
        lang=lang,
        overrides={"nlp.lang": lang},
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


def track(found: verdict.Diagnosis) -> None:
    """Record the findings with wandb, where it is used."""
    with tracking.run("diagnose") as tracker:
        tracker.summary({"case": found.case, "cause": found.first.name if found.first else ""})
        columns: list[str] = ["hypothesis", "question", "test", "observation", "verdict"]
        rows: list[list[Any]] = [[getattr(f, column) for column in columns] for f in found.findings]
        tracker.table("diagnosis", columns, rows)


if __name__ == "__main__":
    run(main)

"""Score the LLM, the baselines and the trained pipelines side by side on the same gold test texts."""

from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import atomic_write, write_json
from ie.core.stats import METRICS
from ie.data import options, records
from ie.data.config import load_data_config
from ie.data.scheme import load_scheme
from ie.data.splits import TrainOn
from ie.evaluation import history, scoring
from ie.evaluation import systems as evaluation
from ie.reports import pages


def main(
    test: Annotated[Path, typer.Option(help="Gold test records")] = Path("corpus/test.jsonl"),
    train: Annotated[Path, typer.Option(help="Training records: the memoriser's memory")] = Path(
        "corpus/train.jsonl"
    ),
    scheme: Annotated[Path, typer.Option(help="Config that holds the labels")] = Path("configs/llm.cfg"),
    llm: Annotated[Path, typer.Option(help="The LLM's annotations")] = Path("corpus/llm.jsonl"),
    llm_timings: Annotated[Path, typer.Option(help="Seconds of the LLM's calls by text")] = Path(
        "training/llm-timings.jsonl"
    ),
    patterns: options.Patterns = "assets/patterns.jsonl",
    gazetteer: options.Gazetteer = "assets/companies.csv",
    gazetteer_label: options.GazetteerLabel = "",
    models: Annotated[Path, typer.Option(help="Folder with silver, reviewed, both / model-best")] = Path(
        "training/efficient"
    ),
    inspect: Annotated[TrainOn, typer.Option(help="The pipeline whose errors the report shows")] = "reviewed",
    output: Annotated[Path, typer.Option(help="Folder for metrics, report and speeds")] = Path(
        "training/efficient"
    ),
    meta_key: Annotated[str, typer.Option(help="Key of meta by which scores are broken down")] = "writer",
    worst: Annotated[int, typer.Option(help="How many of the worst texts the report shows", min=0)] = 30,
    repeats: Annotated[int, typer.Option(help="Timed runs of each system", min=0)] = 3,
    data: options.Data = Path("configs/data.cfg"),
    seed: options.Seed = 0,
) -> None:
    """Write metrics.json, scores.json (for DVC), analysis.json, documents.jsonl, speed.json and report.html;
    print the table."""
    labels = load_scheme(scheme)
    gold = records.accepted(records.read_records(test, labels=labels, allow_empty=True))
    evaluation.require(scoring.view(gold, labels.scored), test)
    known = records.accepted(records.read_records(train, labels=labels, allow_empty=True))
    texts = [record.text for record in gold]
    settings = load_data_config(data)
    nlp = settings.blank()
    counted = [len(nlp.make_doc(text)) for text in texts]

    if not gazetteer_label:
        gazetteer = ""
    spans = labels.scored == "spans"
    if gazetteer and spans and gazetteer_label not in labels.span_labels:
        raise UserError(
            f"--gazetteer-label {gazetteer_label!r} isn't in the scheme ({', '.join(labels.span_labels)}); "
            "name the label of the gazetteer's names."
        )
    jobs = [
        lambda: evaluation.llm(
            "llm",
            "LLM as prompted",
            llm,
            gold,
            timings=llm_timings,
            words=counted,
        ),
        lambda: evaluation.rules(
            "rules",
            "Rules",
            settings.blank(),
            gold,
            patterns=Path(patterns) if patterns else None,
            gazetteer=Path(gazetteer) if gazetteer else None,
            label=gazetteer_label,
            repeats=repeats,
        ),
        lambda: evaluation.memoriser("memoriser", "Memoriser", nlp, known, texts, repeats=repeats),
    ]
    if not spans:
        # rules and the memoriser know spans only
        constant = evaluation.constants(known, labels.categories, labels.scored, texts)
        jobs[1:] = [lambda one=one: one for one in constant]
    jobs += [
        lambda name=name, title=title: evaluation.pipeline(
            name, title, models / name / "model-best", texts, repeats=repeats
        )
        for name, title in evaluation.pipelines(models).items()
    ]
    answers = [job() for job in tqdm(jobs, desc="systems", leave=False)]
    result = evaluation.evaluate(
        gold,
        known,
        answers,
        labels.scored_labels,
        scored=labels.scored,
        words=counted,
        meta_key=meta_key,
        seed=seed,
    )
    inspected = next(
        (name for name in (inspect, *evaluation.pipelines(models)) if name in result.scores), None
    )
    metrics = evaluation.metrics(result)
    for name, content in {
        "metrics.json": metrics,
        "scores.json": evaluation.headline(metrics, inspected),
        "analysis.json": evaluation.analysis(result),
        "speed.json": evaluation.speeds(result),
    }.items():
        write_json(output / name, content)
    counts = {name: by_label[evaluation.ALL] for name, by_label in result.counts.items()}
    history.write_documents(output / "documents.jsonl", gold, counts)
    with atomic_write(output / "report.html") as file:
        file.write(
            pages.evaluation_page(result, inspected=inspected or result.present[0].name, documents=worst)
        )
    print(f"\n{pages.scores_table(result)}\n")
    if result.overall:
        print(f"{pages.overall_table(result)}\n")
    for note in pages.scores_notes(result):
        print(note)
    msg.good(f"{output / 'report.html'}, {output / 'metrics.json'}")
    track(result, output)


def track(result: evaluation.Evaluation, output: Path) -> None:
    """Record the scores with wandb, where it is used."""
    with tracking.run("evaluate", config={"texts": len(result.gold)}) as tracker:
        tracker.summary(evaluation.metrics(result))
        columns = ["system", "label", *(f"{m}{part}" for m in METRICS for part in ("", "_low", "_high"))]
        systems = evaluation.metrics(result)["systems"]
        tracker.table(
            "scores",
            columns,
            [
                [name, label, *(scores[column] for column in columns[2:])]
                for name, by_label in systems.items()
                for label, scores in by_label.items()
                if isinstance(scores, dict)
            ],
        )


if __name__ == "__main__":
    run(main)

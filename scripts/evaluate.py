"""Score the LLM, the baselines and the trained pipelines side by side on the same gold test texts."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import atomic_write, write_json
from ie.core.stats import METRICS
from ie.core.text import wrapped
from ie.data import options, records
from ie.data.config import DataConfig, load_data_config
from ie.data.records import Record
from ie.data.scheme import Scheme, load_scheme
from ie.data.splits import TrainOn
from ie.evaluation import comparison, history, rules_and_model, scoring, systems
from ie.evaluation.baselines import names as gazetteer_names
from ie.evaluation.comparison import SystemComparison
from ie.evaluation.report import evaluation_page, overall_table, scores_notes, scores_table
from ie.evaluation.systems import SystemResult
from ie.reports.html import Answer, page_links
from ie.status import next_step
from ie.status.snapshot import ProjectPaths, read_results
from ie.status.terminal import print_next_step
from ie.training import shipping

# Texts with the most errors in the report, and timed runs of each system.
WORST, REPEATS = 30, 3
# Where trained conditional random fields are kept.
CRF_CACHE = Path(".cache/crf")


def main(
    test: options.Test = Path("corpus/test.jsonl"),
    train: options.Train = Path("corpus/train.jsonl"),
    scheme: options.Scheme = Path("configs/llm.cfg"),
    llm: options.Llm = Path("corpus/llm.jsonl"),
    llm_timings: Annotated[Path, typer.Option(help="Seconds of the LLM's calls for each text.")] = Path(
        "training/llm-timings.jsonl"
    ),
    patterns: options.Patterns = "assets/patterns.jsonl",
    gazetteer: options.Gazetteer = "assets/companies.csv",
    gazetteer_label: options.GazetteerLabel = "",
    models: options.TrainingResults = options.TRAINING,
    inspect: Annotated[TrainOn, typer.Option(help="Pipeline whose errors the report shows.")] = "reviewed",
    output: Annotated[Path, typer.Option(help="Folder for metrics, report and speeds.")] = options.TRAINING,
    data: options.Data = Path("configs/data.cfg"),
    seed: options.Seed = 0,
) -> None:
    """Write metrics.json, scores.json (for DVC), analysis.json, documents.jsonl, speed.json and report.html;
    print the table.

    MODELS/shipped gets the pipeline to ship: that of INSPECT, with the rules in it if they help on dev.
    """
    labels = load_scheme(scheme)
    gold = records.accepted(records.read_records(test, labels=labels, allow_empty=True))
    if not gold:
        scoring.require_scorable(gold, test)
    training = records.accepted(records.read_records(train, labels=labels, allow_empty=True))
    texts = [record.text for record in gold]
    settings = load_data_config(data)
    words = [len(doc) for doc in map(settings.blank().make_doc, texts)]
    known_names = Path(gazetteer) if gazetteer and gazetteer_label else None
    if known_names and labels.scored == "spans" and gazetteer_label not in labels.span_labels:
        raise UserError(
            f"--gazetteer-label {gazetteer_label!r} isn't in the scheme ({', '.join(labels.span_labels)}); "
            "name the label of the gazetteer's names."
        )
    rules = {
        "patterns": Path(patterns) if patterns else None,
        "gazetteer": known_names,
        "label": gazetteer_label,
    }
    jobs: list[Callable[[], SystemResult]] = [
        lambda: systems.stored_llm(llm, gold, timings=llm_timings, words=words),
        *baselines(labels, settings, gold, training, rules),
    ]
    pipelines = systems.trained_pipelines(models)
    jobs += [
        lambda name=name, title=title: systems.run_pipeline(
            name, title, models / name / "model-best", texts, repeats=REPEATS
        )
        for name, title in pipelines.items()
    ]
    jobs += shipped_pipeline(labels, settings, models, inspect, test.with_name("dev.jsonl"), texts, rules)
    result = comparison.compare_systems(
        gold,
        training,
        [job() for job in tqdm(jobs, desc="systems", leave=False)],
        labels.scored_labels,
        scored=labels.scored,
        words=words,
        meta_key=settings.texts.slice_by,
        listed=(gazetteer_label, set(gazetteer_names(known_names))) if known_names else None,
        seed=seed,
    )
    inspected = next((name for name in (inspect, *pipelines) if name in result.scores), None)
    paths = ProjectPaths(scheme=scheme, data=data, corpus=test.parent, training=output)
    write(result, gold, inspected, paths, labels)
    print(f"\n{scores_table(result)}\n")
    if result.overall:
        print(f"{overall_table(result)}\n")
    for note in scores_notes(result):
        print(wrapped(note))
    if fault := scoring.unlabelled(result.gold, test):
        msg.warn(fault)
    msg.good(f"{output / 'report.html'}, {output / 'metrics.json'}")
    track(result)
    print_next_step(paths, inspect)


def baselines(
    labels: Scheme,
    settings: DataConfig,
    gold: Sequence[Record],
    train: Sequence[Record],
    rules: dict[str, Any],
) -> list[Callable[[], SystemResult]]:
    """The baselines that can predict what is scored: rules, a dictionary and a conditional random field, or
    a regression on TF-IDF and constant categories."""
    texts = [record.text for record in gold]
    if labels.scored != "spans":
        constant = systems.constant_systems(train, labels.categories, labels.scored, texts)
        return [
            lambda: systems.run_tfidf(train, labels.scored, texts),
            *(lambda result=result: result for result in constant),
        ]
    return [
        lambda: systems.run_rules(
            settings.blank(), gold, **rules, repeats=REPEATS, overlapping=labels.overlapping
        ),
        lambda: systems.run_dictionary(
            settings.blank(), train, texts, repeats=REPEATS, overlapping=labels.overlapping
        ),
        lambda: systems.run_crf(
            settings.blank(), train, texts, cache=CRF_CACHE, repeats=REPEATS, overlapping=labels.overlapping
        ),
    ]


def shipped_pipeline(
    labels: Scheme,
    settings: DataConfig,
    models: Path,
    trained_on: str,
    dev: Path,
    texts: Sequence[str],
    rules: dict[str, Any],
) -> list[Callable[[], SystemResult]]:
    """Write the pipeline that is shipped; its row, if there are rules that could be in it.

    Args:
        trained_on: the pipeline of `models` that is shipped. dev: records that decide whether with rules.
    """
    flat = labels.scored == "spans" and not labels.overlapping
    known = rules_and_model.patterns_of(settings.blank(), **rules) if flat else []
    title = f"{systems.trained_pipelines(models).get(trained_on, trained_on)}, with rules"
    row = SystemResult(rules_and_model.SYSTEM, title)
    folder = models / rules_and_model.SHIPPED
    try:
        reader = records.Reader(labels, settings.blank().tokenizer, misaligned="snap", duplicates="first")
        gold = records.accepted(reader.read(dev, allow_empty=True)) if dev.exists() else []
        choice = shipping.ship(trained_on, known, gold, dev.parent, models)
    except UserError as error:
        # an older one would be taken for the pipeline of this run
        shutil.rmtree(folder, ignore_errors=True)
        row.missing = str(error)
        return [lambda: row] if known else []
    if choice.order == rules_and_model.ALONE:
        row.missing = choice.reason
        return [lambda: row] if known else []

    def run_with_rules() -> SystemResult:
        result = systems.run_pipeline(row.name, title, folder / "model-best", texts, repeats=REPEATS)
        result.notes.append(choice.reason)
        return result

    return [run_with_rules]


def write(
    result: SystemComparison,
    gold: Sequence[Record],
    inspected: str | None,
    paths: ProjectPaths,
    labels: Scheme,
) -> None:
    """Write the JSON files, the counts of each document and the report."""
    output = paths.training
    metrics = comparison.metrics(result)
    shipped = rules_and_model.SYSTEM if rules_and_model.SYSTEM in result.scores else inspected
    for name, content in {
        "metrics.json": metrics,
        "scores.json": comparison.headline(metrics, shipped),
        "analysis.json": comparison.analysis(result),
        "speed.json": comparison.speeds(result),
    }.items():
        write_json(output / name, content)
    counts = {name: by_label[scoring.ALL] for name, by_label in result.counts.items()}
    history.write_documents(output / "documents.jsonl", gold, counts)
    page = evaluation_page(
        result,
        inspected=inspected or result.present[0].name,
        documents=WORST,
        answer=Answer(*next_step.answer(read_results(paths, labels, inspected or ""))),
        links=page_links(output / "report.html", output),
    )
    with atomic_write(output / "report.html") as file:
        file.write(page)


def track(result: SystemComparison) -> None:
    """Record the scores with wandb, where it is used."""
    metrics = comparison.metrics(result)
    columns = ["system", "label", *(f"{m}{part}" for m in METRICS for part in ("", "_low", "_high"))]
    with tracking.run("evaluate", config={"texts": len(result.gold)}) as tracker:
        tracker.summary(metrics)
        tracker.table(
            "scores",
            columns,
            [
                [name, label, *(scores[column] for column in columns[2:])]
                for name, by_label in metrics["systems"].items()
                for label, scores in by_label.items()
                if isinstance(scores, dict)
            ],
        )


if __name__ == "__main__":
    run(main)

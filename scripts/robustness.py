"""Does the score hold when texts or seeds change? Perturb the test texts and score again."""

from pathlib import Path
from typing import Annotated

import typer
from spacy.language import Language
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import write_files
from ie.core.pipelines import load_pipeline
from ie.core.text import print_table, wrapped
from ie.data import options, records
from ie.data.config import load_data_config
from ie.data.scheme import load_scheme
from ie.data.splits import TrainOn
from ie.evaluation import perturbations, scoring, systems
from ie.reports import figures
from ie.reports.html import page_links
from ie.training import loop
from ie.training.robustness import report, robustness_scores
from ie.training.robustness.robustness_scores import Robustness


def main(
    corpus: options.Corpus = Path("corpus"),
    scheme: options.Scheme = Path("configs/llm.cfg"),
    models: options.TrainingResults = options.TRAINING,
    inspect: Annotated[TrainOn, typer.Option(help="The pipeline for labels and seeds")] = "reviewed",
    config: options.TrainingConfig = options.CONFIG,
    perturb: Annotated[str, typer.Option(help="Perturbations, separated by commas")] = (
        "lower,upper,typos,names,punctuation,joined"
    ),
    seeds: Annotated[int, typer.Option(help="Seeds, the inspected pipeline's own included", min=1)] = 3,
    seed: options.Seed = 0,
    max_steps: options.MaxSteps = 0,
    gpu_id: options.GpuId = -1,
    data: options.Data = Path("configs/data.cfg"),
    workers: options.Workers = 0,
    output: Annotated[Path, typer.Option(help="Folder for tables, figure and page")] = options.TRAINING
    / "robustness",
) -> None:
    """Write robustness.json, robustness.png and robustness.html; print the tables."""
    labels = load_scheme(scheme)
    labels.require_spans("robustness to other names, case and punctuation")
    labels.refuse_overlapping("robustness to other names, case and punctuation")
    names = perturbations.parse(perturb)
    test = corpus / "test.jsonl"
    gold = records.accepted(records.read_records(test, labels=labels, allow_empty=True))
    scoring.require_scorable(gold, test)
    train = records.accepted(records.read_records(corpus / "train.jsonl", labels=labels, allow_empty=True))
    pipelines, missing = load(models)
    if inspect not in pipelines:
        raise UserError(missing.get(inspect, f"{models / inspect}: not there yet; run `weasel run distill`."))
    settings = perturbations.PerturbationSettings(train, seed=seed)
    names, left_out = perturbations.fitting(names, gold)
    perturbed = [perturbations.unchanged(gold), *(perturbations.perturb(n, gold, settings) for n in names)]
    shown = scoring.labels_of(gold, labels.span_labels)
    seedless = ""
    if inspect == "distilled":
        # With the distilled pipeline among them, the spread would mostly be what distilling gains.
        seeds = 1
        seedless = "Other seeds are left out: they would be plain trainings, and this pipeline is distilled."
    counts = {name: robustness_scores.counts(nlp, perturbed, shown) for name, nlp in pipelines.items()}
    other_seeds = robustness_scores.over_seeds(
        perturbed,
        train=corpus / "train.spacy",
        seeds=range(seed + 1, seed + seeds),
        workers=workers,
        config=config,
        dev=corpus / "dev.spacy",
        labels=shown,
        overrides=loop.overrides(load_data_config(data).texts, max_steps),
        gpu_id=gpu_id,
    )
    by_seed = [robustness_scores.micro_f(tables) for tables in (counts[inspect], *other_seeds)]
    result = Robustness(
        gold=gold,
        inspected=inspect,
        titles=systems.trained_pipelines(models),
        missing={systems.PIPELINES[name]: reason for name, reason in missing.items()} | left_out,
        perturbed=perturbed,
        changes=robustness_scores.changes(counts, seed=seed),
        labels=robustness_scores.by_label(counts[inspect], shown, seed=seed),
        seeds={each.name: [scores[each.name] for scores in by_seed] for each in perturbed},
        first_seed=seed,
        seedless=seedless,
    )
    show(result, output)


def load(models: Path) -> tuple[dict[str, Language], dict[str, str]]:
    """The trained pipelines by name, and why others aren't there."""
    pipelines, missing = {}, {}
    for name in systems.trained_pipelines(models):
        try:
            pipelines[name] = load_pipeline(models / name / "model-best", "run `weasel run train`")
        except UserError as error:
            missing[name] = str(error)
    return pipelines, missing


def show(result: Robustness, output: Path) -> None:
    """Write the files, print the tables and what they say, and record them with wandb."""
    contents = {
        "robustness.json": robustness_scores.to_json(result),
        "robustness.png": figures.png(report.changes_figure(result)),
        "robustness.html": report.page(result, page_links(output / "robustness.html", output.parent)),
    }
    write_files(output, contents)
    rows = report.rows(result)
    print_table([row.values() for row in rows], report.CHANGES_HEADER, "llrllll")
    if not result.seedless:
        print_table([row.values() for row in report.seed_rows(result)], report.SEEDS_HEADER, "lrrr")
    for reason in result.missing.values():
        msg.warn(reason)
    for sentence in [*result.notes, *robustness_scores.summary(result)]:
        print(wrapped(sentence))
    msg.good(", ".join(str(output / name) for name in contents))
    with tracking.run("robustness", config={"texts": len(result.gold)}) as tracker:
        tracker.table("robustness", list(rows[0]), [list(row.values()) for row in rows])
        tracker.picture("robustness", output / "robustness.png")


if __name__ == "__main__":
    run(main)

"""Does the score hold when texts, seeds or batches change? Perturb the test texts and score again."""

from pathlib import Path
from typing import Annotated

import typer
from spacy.language import Language
from tqdm import tqdm
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import atomic_write, write_json
from ie.core.pipelines import load_pipeline
from ie.data import options, records
from ie.data.config import load_data_config
from ie.data.scheme import load_scheme
from ie.data.splits import TrainOn
from ie.evaluation import perturbations, scoring, systems
from ie.reports import figures
from ie.training import loop
from ie.training.robustness import report, robustness_scores


def main(
    test: Annotated[Path, typer.Option(help="Gold test records")] = Path("corpus/test.jsonl"),
    train: Annotated[Path, typer.Option(help="Training records: names to avoid, words to make new ones")] = (
        Path("corpus/train.jsonl")
    ),
    scheme: options.Scheme = Path("configs/llm.cfg"),
    models: Annotated[Path, typer.Option(help="Folder with silver, reviewed, both / model-best")] = Path(
        "training/efficient"
    ),
    inspect: Annotated[TrainOn, typer.Option(help="The pipeline for labels, seeds and batches")] = "reviewed",
    config: Annotated[Path, typer.Option(help="Training config, for more seeds")] = Path(
        "configs/efficient.cfg"
    ),
    train_corpus: Annotated[Path, typer.Option(help="What the inspected pipeline was trained on")] = Path(
        "corpus/train.spacy"
    ),
    dev_corpus: Annotated[Path, typer.Option(help="What picked its checkpoint")] = Path("corpus/dev.spacy"),
    perturb: Annotated[str, typer.Option(help="Perturbations, separated by commas")] = (
        "lower,upper,typos,names,punctuation,joined"
    ),
    typo_percent: Annotated[float, typer.Option(help="Share of words with a typo", min=0, max=100)] = 10,
    joined_texts: Annotated[int, typer.Option(help="Texts that are read as one", min=2)] = 10,
    seeds: Annotated[int, typer.Option(help="Seeds, the inspected pipeline's own included", min=1)] = 3,
    batch_sizes: Annotated[
        str, typer.Option(help="Texts a batch; the first is compared with")
    ] = "1,8,64,256",
    repeats: Annotated[int, typer.Option(help="Timed runs of each batch size", min=0)] = 3,
    seed: options.Seed = 0,
    max_steps: options.MaxSteps = 0,
    gpu_id: options.GpuId = -1,
    data: options.Data = Path("configs/data.cfg"),
    workers: options.Workers = 0,
    output: Annotated[Path, typer.Option(help="Folder for tables, picture and page")] = Path(
        "training/efficient/robustness"
    ),
) -> None:
    """Write robustness.json, robustness.png, robustness.html and speed.json; print the tables."""
    labels = load_scheme(scheme)
    labels.require_spans("robustness to other names, case and punctuation")
    names = perturbations.parse(perturb)
    sizes = robustness_scores.parse_sizes(batch_sizes)
    gold = records.accepted(records.read_records(test, labels=labels, allow_empty=True))
    scoring.require_scorable(gold, test)
    known = records.accepted(records.read_records(train, labels=labels, allow_empty=True))
    pipelines, missing = load(models)
    if inspect not in pipelines:
        raise UserError(missing.get(inspect, f"{models / inspect}: not there yet; run `weasel run distill`."))
    settings = perturbations.PerturbationSettings(known, typo_percent, joined_texts, seed)
    perturbed = [perturbations.unchanged(gold), *(perturbations.perturb(n, gold, settings) for n in names)]
    shown = scoring.labels_of(gold, labels.span_labels)

    seedless = ""
    if inspect == "distilled":
        # With the distilled pipeline among them, the spread would mostly be what distilling gains.
        seeds = 1
        seedless = "Other seeds are left out: they would be plain trainings, and this pipeline is distilled."

    bar = tqdm(total=len(pipelines) + len(sizes) + seeds - 1, desc="robustness", leave=False)
    with bar:
        counted = {}
        for name, nlp in pipelines.items():
            counted[name] = robustness_scores.counts(nlp, perturbed, shown)
            bar.update()
        others = robustness_scores.over_seeds(
            config,
            train_corpus,
            dev_corpus,
            perturbed,
            shown,
            seeds=range(seed + 1, seed + seeds),
            overrides=loop.overrides(load_data_config(data).lang, max_steps),
            gpu_id=gpu_id,
            workers=workers,
            progress=bar.update,
        )
        batches = robustness_scores.batches(pipelines[inspect], gold, shown, sizes, repeats=repeats)
        bar.update(len(sizes))
    by_seed = [robustness_scores.micro_f(found) for found in (counted[inspect], *others.values())]
    result = robustness_scores.Robustness(
        gold=gold,
        inspected=inspect,
        titles=systems.trained_pipelines(models),
        missing={systems.PIPELINES[name]: reason for name, reason in missing.items()},
        perturbed=perturbed,
        changes=robustness_scores.changes(counted, seed=seed),
        labels=robustness_scores.by_label(counted[inspect], shown, seed=seed),
        seeds={each.name: [scores[each.name] for scores in by_seed] for each in perturbed},
        first_seed=seed,
        batches=batches,
        words=sum(len(pipelines[inspect].make_doc(record.text)) for record in gold),
        notes=[f"{each.title}: {note}" for each in perturbed for note in each.notes],
        seedless=seedless,
    )
    save(result, output)
    show(result)
    msg.good(f"{output / 'robustness.html'}, {output / 'robustness.png'}, {output / 'robustness.json'}")
    track(result, output)


def load(models: Path) -> tuple[dict[str, Language], dict[str, str]]:
    """The trained pipelines by name, and why others aren't there."""
    found, missing = {}, {}
    for name in systems.trained_pipelines(models):
        try:
            found[name] = load_pipeline(models / name / "model-best", "run `weasel run train`")
        except UserError as error:
            missing[name] = str(error)
    return found, missing


def save(result: robustness_scores.Robustness, output: Path) -> None:
    """Write all files; timings have one of their own."""
    contents = {
        "robustness.json": robustness_scores.to_json(result),
        "speed.json": robustness_scores.speeds(result),
    }
    page = report.page(result)
    picture = figures.png(report.changes_figure(result))
    for name, content in contents.items():
        write_json(output / name, content)
    with atomic_write(output / "robustness.png", "wb") as file:
        file.write(picture)
    with atomic_write(output / "robustness.html") as file:
        file.write(page)


def show(result: robustness_scores.Robustness) -> None:
    """The tables on the terminal, and what they say."""
    print(f"\n{report.changes_table(result)}\n")
    if not result.seedless:
        header = ("Seeds", "F", "mean", "sd")
        print(f"{report.small_table(header, report.seed_rows(result))}\n")
    header = ("Batch size", "differ", "F", "vectors", "words/s")
    print(f"{report.small_table(header, report.batch_rows(result))}\n")
    for reason in result.missing.values():
        msg.warn(reason)
    for sentence in [*result.notes, *robustness_scores.summary(result)]:
        print(sentence)


def track(result: robustness_scores.Robustness, output: Path) -> None:
    """Record the scores with wandb, where it is used."""
    with tracking.run("robustness", config={"texts": len(result.gold)}) as tracker:
        rows = report.rows(result)
        tracker.table("robustness", list(rows[0]), [list(row.values()) for row in rows])
        tracker.picture("robustness", output / "robustness.png")


if __name__ == "__main__":
    run(main)

"""Train the pipeline on reviewed examples, on silver, and on both, to see which serves it best."""

import math
import shutil
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import spacy
import typer
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import write_files
from ie.core.processes import cores, pool
from ie.core.stats import difference, format_score, intervals
from ie.core.text import print_table
from ie.data import options
from ie.data.config import load_data_config
from ie.data.docs import from_doc, read_docs
from ie.data.scheme import Scored, load_scheme
from ie.data.splits import TrainOn
from ie.evaluation import scoring
from ie.evaluation.baselines import predict_with
from ie.evaluation.comparison import silver_sentence
from ie.training import confidence_training, loop


def main(
    config: options.TrainingConfig = options.CONFIG,
    corpus: options.Corpus = Path("corpus"),
    train_on: Annotated[TrainOn, typer.Option(help="Whose training is shown and recorded")] = "reviewed",
    output: Annotated[Path, typer.Option(help="Folder for a pipeline each")] = options.TRAINING,
    scheme: options.Scheme = Path("configs/llm.cfg"),
    data: options.Data = Path("configs/data.cfg"),
    seed: options.Seed = 0,
    max_steps: options.MaxSteps = 0,
    gpu_id: options.GpuId = -1,
    workers: options.Workers = 0,
) -> None:
    """Write OUTPUT/{both,reviewed,silver}/model-best, train.json (scores on dev) and history.json.

    Each pipeline gets a calibrated `confidence` per entity; its answers on dev are in confidence.json.
    """
    # That pipeline is `distill`'s; these are what it is compared with.
    shown = "both" if train_on == "distilled" else train_on
    dev = corpus / "dev.spacy"
    settings = {
        "dev": dev,
        "overrides": loop.overrides(load_data_config(data).texts, max_steps),
        "seed": seed,
        "gpu_id": gpu_id,
    }
    others = [
        name
        for name in ("reviewed", "silver", "both")
        if name != shown and has_examples(corpus / f"{name}.spacy", output / name)
    ]
    try:
        with pool(workers or beside(gpu_id)) as processes:
            futures = {
                name: processes.submit(
                    loop.train, config, train=corpus / f"{name}.spacy", output=output / name, **settings
                )
                for name in others
            }
            tracking.prepare("train", name=f"train {shown}")
            results = {
                shown: loop.train(
                    config,
                    train=corpus / f"{shown}.spacy",
                    output=output / shown,
                    quiet=False,
                    **settings,
                )
            }
            results |= {name: future.result() for name, future in futures.items()}
    except BrokenProcessPool as error:
        raise UserError(
            "a training beside the main one was killed, probably out of memory; free some, or run it again "
            "with --vars.workers 1."
        ) from error
    for name in results:
        component = confidence_training.add_confidence(
            output / name / "model-best", train=corpus / f"{name}.spacy", dev=dev
        )
        if name == shown and component:
            show_not_calibrated(component.reasons)
    labels = load_scheme(scheme)
    if labels.overlapping:
        msg.info("There is no confidence of spans that overlap, so `accept` can't be run.")
    scored = labels.scored
    counts = {name: count(output / name / "model-best", dev, scored) for name in results}
    save(output, results, counts, loop.count_examples(dev))


def beside(gpu_id: int) -> int:
    """How many of the other trainings run beside the one that is shown; one at a time on a GPU.

    Both on two cores: three trainings that share them finish before one that waits for a core does.
    """
    return 1 if gpu_id >= 0 else min(2, cores())


def has_examples(path: Path, folder: Path) -> bool:
    """Whether there is anything to train on; if not, an older pipeline is removed from the folder."""
    if path.exists() and loop.count_examples(path):
        return True
    msg.warn(f"{path} holds no examples, so there will be no pipeline in {folder}.")
    shutil.rmtree(folder / "model-best", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return False


def show_not_calibrated(reasons: dict[str, str]) -> None:
    """Why entities of some labels have no confidence, labels of one reason together."""
    for reason in dict.fromkeys(reasons.values()):
        labels = [label for label, other in reasons.items() if other == reason]
        msg.warn(f"No confidence for {', '.join(labels)}: {reason}.")


def count(model: Path, dev: Path, scored: Scored) -> np.ndarray | None:
    """Counts (documents, 3) on dev; None for a pipeline without entities where spans are scored."""
    nlp = spacy.load(model)
    if scored == "spans" and not any(name.endswith("ner") for name in nlp.pipe_names):
        return None
    gold = scoring.view(map(from_doc, read_docs(dev)), scored)
    predicted = scoring.view(predict_with(nlp)([record.text for record in gold]), scored)
    return scoring.count(gold, predicted, scoring.labels_of(gold)).sum(axis=1)


def save(output: Path, results: dict[str, Any], counts: dict[str, np.ndarray | None], n: int) -> None:
    """Write scores on dev and how they grew, without timings; show them on the terminal and in wandb."""
    f = {name: None if table is None else intervals(table)[2] for name, table in counts.items()}
    scores = {
        name: {
            "examples": result["examples"],
            "step": result["step"],
            "score": round(result["score"], 4),
            "dev_documents": n,
            **({"f": f[name].as_dict()} if f[name] else {}),
        }
        for name, result in results.items()
    }
    history = [
        {
            "trained_on": name,
            "step": entry["step"],
            "score": round(entry["score"], 4),
            "loss": round(sum(entry["losses"].values()), 2),
        }
        for name, result in results.items()
        for entry in result["history"]
    ]
    silver = {name: counts.get(name) for name in ("reviewed", "both")}
    warning = ""
    if all(table is not None for table in silver.values()):
        behind = difference(*silver.values())
        warning = silver_sentence(behind, n, "dev")
        if not math.isnan(behind.value):  # as it is where dev has no label
            scores["both"]["behind_reviewed"] = behind.as_dict()
    write_files(output, {"train.json": scores, "history.json": history})
    columns = ("Trained on", "Examples", "Best step", "F on dev")
    rows = [
        (
            name,
            result["examples"],
            result["step"],
            format_score(f[name], n) if f[name] else f"{result['score']:.2f}",
        )
        for name, result in results.items()
    ]
    print_table(rows, columns, "lrrr")
    if any(loop.checkpoints(result["history"]) > 1 for result in results.values()):
        msg.info("Dev picked these checkpoints, so its scores flatter them: `evaluate` measures on test.")
    if warning:
        msg.warn(warning)
    with tracking.run("train", name="train: pipelines side by side") as tracker:
        tracker.table("pipelines", columns, rows)
        tracker.summary({f"{name}.dev_score": r["score"] for name, r in results.items()})


if __name__ == "__main__":
    run(main)

"""Train the pipeline on reviewed examples, on silver, and on both, to see which serves it best."""

import os
import shutil
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import numpy as np
import spacy
import typer
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import write_json
from ie.core.stats import Estimate, format_score, intervals
from ie.data import options
from ie.data.config import load_data_config
from ie.data.docs import from_doc, read_docbin
from ie.data.scheme import Scored, load_scheme
from ie.data.splits import TrainOn
from ie.evaluation import scoring
from ie.training import loop


def main(
    config: Annotated[Path, typer.Option(help="Training config of spaCy")] = Path("configs/efficient.cfg"),
    reviewed: Annotated[Path, typer.Option(help="Reviewed training examples")] = Path(
        "corpus/reviewed.spacy"
    ),
    silver: Annotated[Path, typer.Option(help="Those the LLM annotated")] = Path("corpus/silver.spacy"),
    both: Annotated[Path, typer.Option(help="All of them")] = Path("corpus/both.spacy"),
    train_on: Annotated[TrainOn, typer.Option(help="Whose training is shown and recorded")] = "reviewed",
    dev: Annotated[Path, typer.Option(help="Reviewed ones that pick the checkpoint")] = Path(
        "corpus/dev.spacy"
    ),
    output: Annotated[Path, typer.Option(help="Folder for a pipeline each")] = Path("training/efficient"),
    scheme: Annotated[Path, typer.Option(help="Config that holds the labels")] = Path("configs/llm.cfg"),
    data: options.Data = Path("configs/data.cfg"),
    seed: options.Seed = 0,
    max_steps: options.MaxSteps = 0,
    gpu_id: options.GpuId = -1,
    workers: options.Workers = 0,
) -> None:
    """Write OUTPUT/{both,reviewed,silver}/model-best, train.json (scores on dev) and history.json."""
    sources = {"reviewed": reviewed, "silver": silver, "both": both}
    # That pipeline is `distill`'s; these are what it is compared with.
    train_on = "both" if train_on == "distilled" else train_on
    overrides = loop.overrides(load_data_config(data).lang, max_steps)
    settings = {"dev": dev, "overrides": overrides, "seed": seed, "gpu_id": gpu_id}
    comparisons = {
        name: path for name, path in sources.items() if name != train_on and has_examples(path, output / name)
    }
    results: dict[str, dict] = {}
    pool = ProcessPoolExecutor(workers or beside(gpu_id), mp_context=get_context("spawn"))
    try:
        futures: dict[str, Future] = {
            name: pool.submit(loop.train, config, train=path, output=output / name, **settings)
            for name, path in comparisons.items()
        }
        tracking.prepare("train", name=f"train {train_on}")
        results[train_on] = loop.train(
            config, train=sources[train_on], output=output / train_on, quiet=False, **settings
        )
        results |= {name: future.result() for name, future in futures.items()}
    except BrokenProcessPool as error:
        raise UserError(
            "a training beside the main one was killed, most likely for want of memory; free some, or run it "
            "again with --vars.workers 1."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
    scored = load_scheme(scheme).scored
    measured = {name: measure(output / name / "model-best", dev, scored) for name in results}
    n = loop.count_examples(dev)
    save(output, results, measured, n)
    show(results, measured, n)


def has_examples(path: Path, folder: Path) -> bool:
    """Whether there is anything to train on; if not, the folder is emptied of an older pipeline."""
    if path.exists() and loop.count_examples(path):
        return True
    msg.warn(f"{path} holds no examples, so there will be no pipeline in {folder}.")
    shutil.rmtree(folder / "model-best", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return False


def beside(gpu_id: int) -> int:
    """How many trainings run beside the main one: a core each, but one at a time on a GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1 if gpu_id >= 0 else min(2, max(1, cores - 1))


def measure(model: Path, dev: Path, scored: Scored) -> Estimate | None:
    """F on dev with its interval; None for a pipeline that finds no entities where they are scored."""
    nlp = spacy.load(model)
    gold = list(read_docbin(dev).get_docs(nlp.vocab))
    if scored == "spans" and not any(name.endswith("ner") for name in nlp.pipe_names):
        return None
    right = scoring.view(map(from_doc, gold), scored)
    found = scoring.view(map(from_doc, nlp.pipe(doc.text for doc in gold)), scored)
    counts: np.ndarray = scoring.count(right, found, scoring.labels_of(right))
    return intervals(counts.sum(axis=1))[2]


def save(output: Path, results: dict[str, dict], measured: dict[str, Estimate | None], n: int) -> None:
    """Scores on dev and how they grew; timings would differ between equal runs and are left out."""
    scores = {
        name: {
            "examples": result["examples"],
            "step": result["step"],
            "score": round(result["score"], 4),
            "dev_documents": n,
            **({"f": measured[name].as_dict()} if measured[name] else {}),
        }
        for name, result in results.items()
    }
    history = [
        {"trained_on": name, "step": entry["step"], "score": round(entry["score"], 4), "loss": total(entry)}
        for name, result in results.items()
        for entry in result["history"]
    ]
    for file_name, data in {"train.json": scores, "history.json": history}.items():
        write_json(output / file_name, data)


def total(entry: dict) -> float:
    return round(sum(entry["losses"].values()), 2)


def show(results: dict[str, dict], measured: dict[str, Estimate | None], n: int) -> None:
    """The pipelines side by side on the terminal and in wandb."""
    columns = ("Trained on", "Examples", "Best step", "F on dev")
    rows = []
    for name, result in results.items():
        f = measured[name]
        score = format_score(f, n) if f else f"{result['score']:.2f}"
        rows.append((name, result["examples"], result["step"], score))
    msg.table(rows, header=columns, divider=True, aligns=("l", "r", "r", "r"))
    msg.info("Dev picked these checkpoints, so its scores flatter them: `evaluate` measures on test.")
    with tracking.run("train", name="train: pipelines side by side") as tracker:
        tracker.table("pipelines", columns, rows)
        tracker.summary({f"{name}.dev_score": r["score"] for name, r in results.items()})


if __name__ == "__main__":
    run(main)

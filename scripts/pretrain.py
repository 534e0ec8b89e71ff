"""Pretrain the token encoder on the raw texts, as `spacy pretrain` does, for configs/pretrain.cfg."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.data import options
from ie.training.variants import weights as initialising


def main(
    config: Annotated[Path, typer.Option(help="Config with [pretraining]")] = Path("configs/pretrain.cfg"),
    texts: options.Texts = Path("assets/texts.jsonl"),
    train: Annotated[Path, typer.Option(help="Training records")] = Path("corpus/train.jsonl"),
    dev: Annotated[Path, typer.Option(help="Development records, left out")] = Path("corpus/dev.jsonl"),
    test: Annotated[Path, typer.Option(help="Test records, left out")] = Path("corpus/test.jsonl"),
    near_duplicate: options.NearDuplicate = 0.8,
    epochs: Annotated[int, typer.Option(help="Passes over the texts; 0 leaves it to the config")] = 0,
    lang: options.Lang = "en",
    seed: Annotated[int, typer.Option(help="Seed of weights and dropout")] = 0,
    gpu_id: Annotated[int, typer.Option(help="Number of the GPU, or -1 for none")] = -1,
    output: Annotated[Path, typer.Option(help="Folder for tok2vec.bin and about.json")] = Path(
        "corpus/pretrain"
    ),
) -> None:
    """Write OUTPUT/tok2vec.bin, and about.json: the texts and the loss of each pass."""
    found, left_out = initialising.read_raw(texts, train, (dev, test), near_duplicate)
    print(f"Pretraining on {len(found):,} texts ({left_out:,} in dev or test, or like them, are left out)")
    weights, losses = initialising.pretrain(config, found, seed=seed, lang=lang, gpu_id=gpu_id, epochs=epochs)
    about = {"texts": len(found), "left_out": left_out, "losses": [round(loss, 4) for loss in losses]}
    initialising.write_weights(output, weights, about)
    msg.good(
        f"{output / 'tok2vec.bin'}: {len(weights) / 1e6:.1f} MB; the loss a word went from {losses[0]:.2f} "
        f"to {losses[-1]:.2f} in {len(losses)} passes"
    )
    with tracking.run("pretrain", config={"texts": len(found), "seed": seed}) as tracker:
        for step, loss in enumerate(losses):
            tracker.log({"loss": loss}, step=step)


if __name__ == "__main__":
    run(main)

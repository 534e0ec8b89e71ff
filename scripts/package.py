"""Build an installable wheel of the trained pipeline, and try it where nothing else is installed."""

import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core.cli import run
from ie.core.files import atomic_write
from ie.core.settings import load_settings
from ie.deploy import model_card
from ie.deploy import wheel as packaging
from ie.deploy.sentence import DEMO


def main(
    model: Annotated[Path, typer.Option(help="Trained pipeline")] = Path(
        "training/efficient/reviewed/model-best"
    ),
    output: Annotated[Path, typer.Option(help="Folder for the wheel")] = Path("packages"),
    name: Annotated[str, typer.Option(help="Name of the package, after the language's code")] = "deal_news",
    version: Annotated[str, typer.Option(help="Its version")] = "0.1.0",
    licence: Annotated[str, typer.Option(help="Its licence, as SPDX names it")] = "",
    settings: Annotated[Path | None, typer.Option(help="Description, author and address")] = None,
    sentence: Annotated[str, typer.Option(help="Text to try the installed package on; empty for ours")] = "",
    code: Annotated[Path, typer.Option(help="Folder with the code of our own components")] = Path(
        "scripts/components"
    ),
    written: Annotated[Path, typer.Option(help="What people say of its use and limits, in Markdown")] = Path(
        "assets/model_card.md"
    ),
    scores: Annotated[str, typer.Option(help="Figures for the card, as kind:file, separated by commas")] = "",
    system: Annotated[str, typer.Option(help="Whose figures they are: what was trained on")] = "reviewed",
    train: Annotated[Path | None, typer.Option(help="train.json of its training")] = None,
    data: Annotated[str, typer.Option(help="Files it was made from, separated by commas")] = "",
    constraints: Annotated[Path, typer.Option(help="Pinned versions for the try")] = Path("requirements.txt"),
    check: Annotated[bool, typer.Option(help="Install it in an empty environment and try it")] = True,
) -> None:
    """Write OUTPUT/{lang}_{name}-{version}-py3-none-any.whl, which needs spaCy and nothing of ours."""
    told = written.read_text(encoding="utf-8") if written.is_file() else ""
    if not written.is_file():
        msg.warn(f"{written}: there is no such file, so the model card won't say what the pipeline is for.")
    elif model_card.UNWRITTEN in told:
        msg.warn(
            f"{written}: still says {model_card.UNWRITTEN!r}, and so does the package; write it, then repeat."
        )
    figures = model_card.sources(scores)
    asked = (load_settings(settings, packaging.Settings) if settings else packaging.Settings()).package
    about = {name: value for name, value in asked.model_dump().items() if value}
    about = {"description": model_card.first_paragraph(told)} | about
    about["performance"] = model_card.performance(figures, system) or packaging.on_dev(model)
    make = partial(
        model_card.write,
        written=told,
        scores=figures,
        system=system,
        data=[Path(path.strip()) for path in data.split(",") if path.strip()],
        train=train,
    )
    with tempfile.TemporaryDirectory() as folder:
        wheel = packaging.build(
            model, name, version, code, Path(folder), licence=licence, about=about, card=make
        )
        published = output / wheel.name
        with atomic_write(published, "wb") as file:
            file.write(wheel.read_bytes())
    msg.good(f"{published} ({published.stat().st_size / 1e6:.1f} MB)")
    if check:
        sentence = sentence or DEMO
        with tempfile.TemporaryDirectory() as folder:
            entities = packaging.attempt(published, constraints, sentence, Path(folder))
        msg.good(f"Installed in an empty environment, it says of {sentence!r}:")
        columns = packaging.COLUMNS
        used = [i for i in range(len(columns)) if i < 2 or any(entity[i] for entity in entities)]
        rows = [[entity[i] for i in used] for entity in entities or [("(nothing)", "")]]
        msg.table(rows, header=[columns[i] for i in used], divider=True)
    # A run of `weasel` tells DVC nothing; DVC itself sets DVC_STAGE for what it runs.
    if Path(".dvc").is_dir() and "DVC_STAGE" not in os.environ:
        msg.info("Until `weasel run record`, `dvc status` shows what was made since the last one as changed.")


if __name__ == "__main__":
    run(main)

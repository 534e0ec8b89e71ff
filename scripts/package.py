"""Build an installable wheel of the trained pipeline, and try it in an empty environment."""

import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import atomic_write
from ie.core.settings import load_settings
from ie.core.text import names_in, print_table
from ie.data import options
from ie.deploy import model_card, wheels
from ie.deploy.example import EXAMPLE, read_example
from ie.evaluation import rules_and_model

DATA = "assets/reviewed.jsonl,corpus/llm.jsonl,corpus/train.jsonl,corpus/dev.jsonl,corpus/test.jsonl"


def main(
    model: options.Trained = options.SHIPPED_MODEL,
    output: Annotated[Path, typer.Option(help="Folder for the wheel")] = Path("packages"),
    name: Annotated[str, typer.Option(help="Name of the package; starts with the language")] = (
        "en_deal_news"
    ),
    version: Annotated[str, typer.Option(help="Version")] = "0.1.0",
    settings: Annotated[Path, typer.Option(help="Description, author and licence")] = Path(
        "configs/package.cfg"
    ),
    example: Annotated[Path, typer.Option(help="Text to try it on")] = EXAMPLE,
    written: Annotated[Path, typer.Option(help="Intended use and limits, in Markdown")] = Path(
        "assets/model_card.md"
    ),
    scores: options.TrainingResults = options.TRAINING,
    system: Annotated[str, typer.Option(help="Data it was trained on")] = "reviewed",
    data: Annotated[str, typer.Option(help="Files it was trained and scored on, separated by commas")] = DATA,
    table: options.Companies = Path("assets/companies.csv"),
    constraints: Annotated[Path, typer.Option(help="Pinned versions for that environment")] = Path(
        "requirements.txt"
    ),
    check: Annotated[bool, typer.Option(help="Install it in an empty environment, and run it")] = True,
) -> None:
    """Write OUTPUT/NAME-VERSION-py3-none-any.whl, which needs spaCy and nothing of this project."""
    card_text = written.read_text(encoding="utf-8") if written.is_file() else ""
    if not written.is_file():
        msg.warn(f"{written}: there is no such file, so the model card doesn't say what the pipeline is for.")
    elif model_card.UNWRITTEN in card_text:
        msg.warn(
            f"{written}: still says {model_card.UNWRITTEN!r}, and so does the package; complete it, then run "
            "this again."
        )
    config = load_settings(settings, wheels.PackageConfig).package
    meta = wheels.read_meta(model)
    language = f"{meta['lang']}_"
    if not name.startswith(language):
        raise UserError(f"--name {name}: must start with the language, as in {language}{name}.")
    components = meta.get("pipeline", [])
    figures = model_card.sources(scores, components)
    # `evaluate` scores the pipeline with rules in it as a system of its own.
    measured = rules_and_model.SYSTEM if rules_and_model.RULES in components else system
    files = list(map(Path, names_in(data)))
    about = {key: value for key, value in config.model_dump().items() if value}
    about = {"description": model_card.first_paragraph(card_text)} | about
    about["performance"] = model_card.performance(figures, measured, meta.get("performance"))
    make_card = partial(
        model_card.write,
        written=card_text,
        scores=figures,
        system=measured,
        trained_on=system,
        data=[*files, *([table] if "linker" in components else [])],
        train=scores / "train.json",
    )
    with tempfile.TemporaryDirectory() as folder:
        wheel = wheels.build(
            model, name.removeprefix(language), version, Path(folder), about=about, card=make_card
        )
        published = output / wheel.name
        with atomic_write(published, "wb") as file:
            file.write(wheel.read_bytes())
    msg.good(f"{published} ({published.stat().st_size / 1e6:.1f} MB)")
    if check:
        sentence = read_example(example)
        with tempfile.TemporaryDirectory() as folder:
            entities = wheels.attempt(published, constraints, sentence, Path(folder))
        msg.good(f"Installed in an empty environment, it finds in {sentence!r}:")
        columns = wheels.COLUMNS
        used = [i for i in range(len(columns)) if i < 2 or any(entity[i] for entity in entities)]
        rows = [[entity[i] for i in used] for entity in entities or [("(nothing)", "")]]
        print_table(rows, [columns[i] for i in used])
    # DVC sets DVC_STAGE for the commands that it runs itself; it doesn't notice runs of weasel.
    if Path(".dvc").is_dir() and "DVC_STAGE" not in os.environ:
        msg.info("Until `weasel run record`, `dvc status` shows the new outputs as changed.")


if __name__ == "__main__":
    run(main)

"""Set the project up for your own texts and labels, in the place of the demo's."""

import re
import shutil
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg, table

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import atomic_write
from ie.data import options
from ie.data.formats import convert
from ie.setup import inputs, project, project_file

GOLD = Path("assets/reviewed.jsonl")


def main(
    texts: Annotated[
        str, typer.Option(help="Raw texts: .jsonl, .parquet, .csv, .tsv, .txt or a folder of .txt.")
    ] = "",
    annotations: Annotated[str, typer.Option(help="Annotated texts; empty for none.")] = "",
    format: Annotated[convert.Format, typer.Option(help="Format of the annotated texts.")] = "prodigy",
    labels: Annotated[str, typer.Option(help="Span labels; empty for those of the annotations.")] = "",
    categories: Annotated[str, typer.Option(help="Categories; empty for those of the annotations.")] = "",
    definitions: Annotated[str, typer.Option(help=".cfg with definitions and prompt words.")] = "",
    gazetteer: Annotated[str, typer.Option(help="CSV of known names; empty for none.")] = "",
    gazetteer_label: Annotated[str, typer.Option(help="Label of these names.")] = "",
    money_label: Annotated[str, typer.Option(help="Label of the amounts of money.")] = "",
    name: Annotated[str, typer.Option(help="Name of the package; empty for that of the file.")] = "",
    scheme: options.Scheme = Path("configs/llm.cfg"),
    lang: options.Lang = "en",
    test_percent: options.TestPercent = 37,
    dev_percent: options.DevPercent = 10,
    near_duplicate: options.NearDuplicate = 0.8,
    misaligned: options.Misaligned = "error",
    duplicates: options.Duplicates = "error",
    bad_relations: options.BadRelations = "error",
    replaceable: Annotated[str, typer.Option(help="MD5 of gold that may be replaced: the demo's.")] = "",
    overwrite: Annotated[str, typer.Option(help="yes: replace whatever gold there is.")] = "no",
) -> None:
    """Write assets, configs and vars: all of them, or none if anything is wrong."""
    refuse_loss(GOLD, replaceable, overwrite)
    found = inputs.gather(
        texts=Path(texts) if texts else None,
        annotations=Path(annotations) if annotations else None,
        form=format,
        labels=labels,
        categories=categories,
        definitions=Path(definitions) if definitions else None,
        lang=lang,
        rules={"misaligned": misaligned, "duplicates": duplicates, "bad_relations": bad_relations},
    )
    settings = project.Settings(
        lang=lang,
        name=name or package_name(Path(texts or annotations)),
        test_percent=test_percent,
        dev_percent=dev_percent,
        near_duplicate=near_duplicate,
        gazetteer=Path(gazetteer) if gazetteer else None,
        gazetteer_label=gazetteer_label,
        money_label=money_label,
        scheme=scheme,
        brought=[Path(path) for path in (texts, annotations, definitions, gazetteer) if path],
    )
    made = project.plan(found, settings)
    warn_uncommitted(made)
    publish(made)
    print(table([*found.told, *made.told], header=("What", "Found or made"), divider=True, max_col=90))
    print("Next:")
    for number, sentence in enumerate(made.todo, start=1):
        print(f"{number}. {sentence}")
    if made.made:
        msg.info(f"Removed, as commands make it: {', '.join(map(str, made.made))}")
    if made.left:
        msg.warn(f"of the demo, but outside of this folder, so left there: {', '.join(map(str, made.left))}")
    msg.good("`git diff` shows every change; `git checkout .` takes all back but what commands make.")


def refuse_loss(gold: Path, replaceable: str, overwrite: str) -> None:
    """Refuse to replace what people annotated: only gold of that checksum, or none, may go.

    Raises:
        UserError: the file holds something else.
    """
    if overwrite == "yes" or not gold.exists() or not gold.stat().st_size:
        return
    if project_file.md5(gold.read_text(encoding="utf-8")) != replaceable:
        raise UserError(
            f"{gold}: holds annotations that aren't the demo's, which would be replaced; keep a copy, then "
            "add --vars.init_overwrite yes."
        )


def package_name(path: Path) -> str:
    """A name for the package from that of a file: lower-case letters, digits, single underscores."""
    name = re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_")
    return name if name[:1].isalpha() else f"texts_{name}".strip("_")


def warn_uncommitted(made: project.Plan) -> None:
    """Tell which of the files git couldn't bring back."""
    names = [str(path) for path in made.files]
    command = ["git", "status", "--porcelain", "--", *names]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        msg.warn("this is no git repository, so nothing of it can be taken back.")
        return
    if changed := [line[3:] for line in done.stdout.splitlines()]:
        msg.warn(f"git can't bring back what wasn't committed in {', '.join(changed)}.")


def publish(made: project.Plan) -> None:
    """Write every file beside its place, and put all into place only when all are written.

    What can be run can be run afterwards, and a folder that is left without content goes with it.
    """
    modes = {path: path.stat().st_mode for path in made.files if path.is_file()}
    with ExitStack() as stack:
        for path, content in made.files.items():
            if content is not None:
                stack.enter_context(atomic_write(path)).write(content)
    for path, content in made.files.items():
        if content is not None:
            if path in modes:
                path.chmod(modes[path])
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    emptied = {parent for path in made.made for parent in path.parents if len(parent.parts) > 1}
    for folder in sorted(emptied, reverse=True):  # a folder after those in it
        with suppress(OSError):
            folder.rmdir()


if __name__ == "__main__":
    run(main)

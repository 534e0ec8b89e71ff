"""Set the project up for your own texts and labels, which take the place of the demo's."""

import re
import shutil
import subprocess
from contextlib import ExitStack, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg
from weasel.cli.document import project_document

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import atomic_write
from ie.core.settings import load_settings
from ie.core.text import print_table
from ie.data import options, splits
from ie.data.config import DataConfig, load_data_config
from ie.data.formats import interchange
from ie.review import first_model
from ie.review.settings import BeginSection, ReviewSettings
from ie.setup import demo
from ie.setup.inputs import Inputs, Sources, read_inputs
from ie.setup.plan import GOLD, TEXTS, Plan, Target, make_plan
from ie.setup.project_file import md5
from ie.setup.shares import fit_shares
from ie.status.snapshot import ProjectPaths, read_snapshot
from ie.status.terminal import print_lines

DATA, REVIEW = Path("configs/data.cfg"), Path("configs/review.cfg")


def main(
    texts: Annotated[
        str, typer.Option(help="Raw texts, documents, or a folder of them; see docs/your-data.md.")
    ] = "",
    annotations: Annotated[str, typer.Option(help="Annotated texts; empty for none.")] = "",
    format: Annotated[
        interchange.ReadFormat, typer.Option(help="Format of the annotated texts.")
    ] = "prodigy",
    labels: Annotated[str, typer.Option(help="Span labels; empty for those of the annotations.")] = "",
    categories: Annotated[str, typer.Option(help="Categories; empty for those of the annotations.")] = "",
    definitions: Annotated[str, typer.Option(help=".cfg with definitions and prompt words.")] = "",
    gazetteer: Annotated[str, typer.Option(help="CSV of known names; empty for none.")] = "",
    gazetteer_label: Annotated[str, typer.Option(help="Label of these names.")] = "",
    money_label: Annotated[str, typer.Option(help="Label of the amounts of money.")] = "",
    name: Annotated[str, typer.Option(help="Name of the project; empty for that of the file.")] = "",
    lang: Annotated[str, typer.Option(help="Language; empty for that of configs/data.cfg.")] = "",
    scheme: options.Scheme = Path("configs/llm.cfg"),
    overwrite: Annotated[str, typer.Option(help="yes: replace gold that isn't the demo's.")] = "no",
) -> None:
    """Write README, assets, configs and project.yml: all of them, or none if anything is wrong."""
    if not texts and not annotations:
        raise UserError("there are no texts; give --vars.init_texts or --vars.init_annotations.")
    settings = load_data_config(DATA)
    if lang:
        settings = settings.model_copy(update={"texts": settings.texts.model_copy(update={"lang": lang})})
    settings.blank()  # a language without a tokenizer is refused before anything else
    sources = Sources(
        texts=Path(texts) if texts else None,
        annotations=Path(annotations) if annotations else None,
        format=format,
        labels=labels,
        categories=categories,
        definitions=Path(definitions) if definitions else None,
        names=Path(gazetteer) if gazetteer else None,
    )
    target = Target(
        lang=settings.lang,
        name=name or project_name(Path(texts or annotations)),
        names_label=gazetteer_label,
        money_label=money_label,
        scheme=scheme,
    )
    inputs = read_inputs(sources, settings)
    begin = load_settings(REVIEW, ReviewSettings).order.begin
    settings = fit_shares(settings, inputs, begin.model_dump())
    plan = make_plan(inputs, sources, target, settings)
    if overwrite != "yes":
        refuse_loss(GOLD, plan.files[GOLD] or "")
    warn_uncommitted(plan)
    write(plan)
    rows = [*inputs.findings, *plan.summary]
    print_table(rows, ("What", "Found or written"))
    for remark in inputs.remarks:
        msg.warn(remark)
    if plan.linked:
        msg.warn(
            f"Outputs for earlier texts, but outside of this folder, so they stay: {listing(plan.linked)}."
        )
    msg.good("`git diff` shows every change; `git checkout .` undoes all but the removal of outputs.")
    say_what_is_missing(inputs, settings, begin)
    print_lines(read_snapshot(ProjectPaths(scheme=scheme, data=DATA)))


def say_what_is_missing(inputs: Inputs, settings: DataConfig, begin: BeginSection) -> None:
    """Name the reviewed texts that a first model lacks; `review` asks for them in the same way."""
    split = settings.assign(inputs.gold, inputs.texts)
    shares = splits.shares(settings.split.test_percent, settings.split.dev_percent)
    missing = first_model.missing(begin, {part: len(getattr(split, part)) for part in splits.SIDES})
    if missing:
        left = first_model.count_left(split, shares)
        msg.info(first_model.need(missing, left, shares, texts=TEXTS, data=DATA))


def refuse_loss(gold: Path, replacement: str) -> None:
    """Refuse to replace what people annotated, unless it is the demo's gold or the same.

    Raises:
        UserError: the file holds something else.
    """
    current = gold.read_text(encoding="utf-8") if gold.exists() else ""
    if current and current != replacement and md5(current) != demo.GOLD_MD5:
        raise UserError(
            f"{gold}: holds annotations that aren't the demo's, which would be replaced; keep a copy, then "
            "add --vars.init_overwrite yes."
        )


def project_name(path: Path) -> str:
    """A name for the project from that of a file: lower-case letters, digits, single underscores."""
    name = re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_")
    return name if name[:1].isalpha() else f"texts_{name}".strip("_")


def listing(paths: list[Path]) -> str:
    """Paths, separated by commas."""
    return ", ".join(path.as_posix() for path in paths)


def warn_uncommitted(plan: Plan) -> None:
    """Name the files that git can't restore."""
    command = ["git", "status", "--porcelain", "--", *map(str, plan.files)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        msg.warn("This is no git repository, so no change can be undone.")
        return
    if changed := [line[3:] for line in done.stdout.splitlines()]:
        msg.warn(f"Not committed, so git can't restore it: {', '.join(changed)}.")


def write(plan: Plan) -> None:
    """Write every file beside its place, and put all into place only when all are written.

    Files keep their permissions, and a folder that is left empty goes with its content.
    """
    modes = {path: path.stat().st_mode for path in plan.files if path.is_file()}
    with ExitStack() as stack:
        for path, content in plan.files.items():
            if content is not None:
                stack.enter_context(atomic_write(path)).write(content)
    for path, content in plan.files.items():
        if content is not None:
            if path in modes:
                path.chmod(modes[path])
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    emptied = {parent for path in plan.outputs for parent in path.parents if len(parent.parts) > 1}
    for folder in sorted(emptied, reverse=True):  # a folder after those in it
        with suppress(OSError):
            folder.rmdir()
    with redirect_stdout(StringIO()):  # its tables go into the README, its messages nowhere
        project_document(Path.cwd(), Path("README.md"), no_emoji=True)


if __name__ == "__main__":
    run(main)

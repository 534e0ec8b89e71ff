"""Take public data sets through the whole workflow, each in a fresh copy, editing no code."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import srsly
import typer
from benchmarks import retarget
from benchmarks.retarget import Size
from tqdm import tqdm
from wasabi import msg, table

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import write_json
from ie.data.records import blank


def main(
    data: Annotated[Path, typer.Option(help="Folder with the sets, a folder each.")] = Path("data"),
    words: Annotated[Path, typer.Option(help="Folder with a .cfg of definitions for each set.")] = Path(
        "tests/benchmarks/definitions"
    ),
    languages: Annotated[
        bool, typer.Option(help="The sets are LANGUAGE.jsonl, and all have the definitions of words.cfg.")
    ] = False,
    sets: Annotated[str, typer.Option(help="Which sets, separated by commas; empty for all.")] = "",
    reviewed: Annotated[int, typer.Option(help="Annotated texts of a set at most.", min=50)] = 1000,
    llm_texts: Annotated[int, typer.Option(help="Texts that the LLM is asked about.", min=20)] = 200,
    max_steps: Annotated[int, typer.Option(help="Updates per training; 0 leaves it to the config.")] = 400,
    without_llm: Annotated[
        bool, typer.Option("--without-llm", help="Ask the LLM nothing: the reviewed pipeline alone.")
    ] = False,
    output: Annotated[Path, typer.Option(help="The table as JSON.")] = Path(
        "training/benchmark-retarget.json"
    ),
) -> None:
    """Print the table and write it."""
    known = sorted(path.stem for path in (data.glob("*.jsonl") if languages else words.glob("*.cfg")))
    chosen = [name.strip() for name in sets.split(",") if name.strip()] or known
    if unknown := [name for name in chosen if name not in known]:
        folder = data if languages else words
        raise UserError(f"{folder}: there is no {unknown[0]} (there are {', '.join(known) or 'none'}).")
    sources = {name: data / (f"{name}.jsonl" if languages else name) for name in chosen}
    if absent := [path for path in sources.values() if not path.exists()]:
        raise UserError(f"{absent[0]}: there is no such set; set --vars.data to their folder.")
    if languages:
        chosen = [name for name in chosen if has_tokenizer(name)]
    commands = retarget.WITHOUT_LLM if without_llm else srsly.read_yaml("project.yml")["workflows"]["all"]
    found: list[retarget.RetargetResult] = []
    with tqdm(total=len(chosen) * (len(commands) + 1), desc="retarget") as bar:
        for name in chosen:

            def told(command: str, name: str = name) -> None:
                bar.set_postfix_str(f"{name}: {command}")
                bar.update()

            with TemporaryDirectory(prefix=f"{name}-") as folder:
                found.append(
                    retarget.retarget(
                        name,
                        sources[name],
                        words / ("words.cfg" if languages else f"{name}.cfg"),
                        Path.cwd(),
                        Path(folder),
                        size=Size(reviewed, llm_texts),
                        lang=name if languages else "",
                        overrides={"max_steps": max_steps, "seeds": 1, "portions": "50,100"},
                        commands=commands,
                        without_llm=without_llm,
                        progress=told,
                    )
                )
    rows = [outcome.row() for outcome in found]
    print(table(rows, header=retarget.HEADER, divider=True, aligns=["l", *"r" * 10]))
    print(
        "F of exact spans or of categories on n test texts, ± the 95 % bootstrap interval over texts. Your "
        "lines: of definitions and prompt words. Minutes: everything, the package's trial included."
    )
    write_json(output, retarget.to_json(found))
    msg.good(str(output))


def has_tokenizer(lang: str) -> bool:
    """Whether a language can be measured here; what is missing is printed."""
    try:
        blank(lang)
    except UserError as error:
        msg.warn(f"left out: {error}")
        return False
    return True


if __name__ == "__main__":
    run(main)

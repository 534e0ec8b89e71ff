"""Take a real set through everything: prompt, review, curve, training, relations, package."""

from pathlib import Path
from typing import Annotated

import typer
from benchmarks import case, case_report
from benchmarks.case import Setting
from benchmarks.retarget import Size
from tqdm import tqdm
from wasabi import msg

from ie.core.cli import run
from ie.core.files import atomic_write, write_json


def main(
    data: Annotated[Path, typer.Option(help="Folder with the sets, a folder each.")] = Path("data"),
    name: Annotated[str, typer.Option(help="The set: a folder of --data.")] = "fire",
    words: Annotated[Path, typer.Option(help="Definitions and prompt words of the sets.")] = Path(
        "tests/benchmarks/definitions"
    ),
    config: Annotated[str, typer.Option(help="Training config.")] = "crf",
    reviewed: Annotated[int, typer.Option(help="Texts whose annotation `init` gets.", min=50)] = 2500,
    llm_texts: Annotated[int, typer.Option(help="Texts that the LLM annotates.", min=20)] = 300,
    calls: Annotated[int, typer.Option(help="Calls of the search for a prompt at most.", min=1)] = 200,
    search_texts: Annotated[int, typer.Option(help="Texts in each half of the search.", min=20)] = 32,
    money_label: Annotated[str, typer.Option(help="Label of amounts of money; empty for none.")] = "Money",
    folder: Annotated[Path, typer.Option(help="For the copy of the project; a stopped run goes on.")] = Path(
        "training/case"
    ),
) -> None:
    """Write FOLDER/case.json and case.md, the tables of docs/case.md."""
    if not (data / name).is_dir():
        msg.warn(f"{data / name}: there is no such set, so there is nothing to do; set --vars.data.")
        return
    setting = Setting(
        name=name,
        data=data.resolve(),
        words=(words / f"{name}.cfg").resolve(),
        size=Size(reviewed, llm_texts, test=0.68, dev=0.17),
        overrides={"config": config},
        calls=calls,
        search_texts=search_texts,
        money_label=money_label,
    )
    with tqdm(total=len(case.STEPS) + 1, desc=name) as bar:

        def show(step: str) -> None:
            bar.set_postfix_str(step)
            bar.update()

        case.run(setting, Path.cwd(), folder.resolve(), show)
    result = case.read_result(setting, folder.resolve()).to_json()
    write_json(folder / "case.json", result)
    with atomic_write(folder / "case.md") as file:
        file.write(case_report.tables(result))
    print(case_report.tables(result))
    msg.good(f"{folder / 'case.json'}, {folder / 'case.md'}")


if __name__ == "__main__":
    run(main)

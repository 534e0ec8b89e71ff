"""Put faults into healthy projects, one at a time: does `diagnose` name them, and nothing else?"""

from pathlib import Path
from typing import Annotated, Any

import typer
from benchmarks import diagnosis
from benchmarks.diagnosis import DataSet
from tqdm import tqdm
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import write_json
from ie.diagnosis import findings


def main(
    config: Annotated[Path, typer.Option(help="spaCy training config")] = Path("configs/efficient.cfg"),
    first: Annotated[
        str, typer.Option(help="Annotated texts, files separated by commas")
    ] = "assets/reviewed.jsonl",
    data: Annotated[Path, typer.Option(help="Folder of public sets, a folder each")] = Path("data"),
    second: Annotated[str, typer.Option(help="The set of another domain in it")] = "fire",
    same: Annotated[str, typer.Option(help="Labels that mean the same: first=second, ...")] = (
        "COMPANY=Company,MONEY=Money"
    ),
    healthy: Annotated[int, typer.Option(help="Healthy subsamples of each", min=0)] = 10,
    only: Annotated[str, typer.Option(help="Names of faults, separated by commas; empty for all")] = "",
    workers: Annotated[int, typer.Option(help="Diagnoses at a time; 0: one a core", min=0)] = 0,
    output: Annotated[Path, typer.Option(help="JSON file for the results")] = Path(
        "training/benchmark-diagnosis.json"
    ),
    lang: Annotated[str, typer.Option(help="Language of the texts")] = "en",
    seed: Annotated[int, typer.Option(help="Seed of subsamples and faults")] = 0,
) -> None:
    """Print what was named first for each fault, and the false alarms; write all results."""
    forth = dict(pair.split("=", 1) for pair in same.split(",") if "=" in pair)
    files = ",".join(str(data / second / f"{side}.jsonl") for side in findings.SPLITS)
    sets = [
        data_set(first, forth),
        data_set(files, {there: here for here, there in forth.items()}),
    ]
    with tqdm(desc="diagnoses", leave=False) as bar:

        def progress(result: dict[str, Any]) -> None:
            what = f"{result['data']}: {result['fault'] or 'healthy'} → {result['named']}"
            bar.write(f"{what} ({result['seconds']:.0f} s)")
            bar.update()

        results = diagnosis.run(
            sets,
            config=config,
            lang=lang,
            healthy=healthy,
            seed=seed,
            workers=workers,
            only=[name.strip() for name in only.split(",") if name.strip()],
            progress=progress,
        )
    write_json(output, results)
    msg.table(
        diagnosis.table(results, sets),
        header=("Fault", *(one.name for one in sets)),
        divider=True,
        max_col=60,
    )
    sizes = ", ".join(f"{side} {size}" for side, size in diagnosis.SIZES.items())
    print(f"Texts in each project, at most: {sizes}. ✔: named first.")
    msg.good(str(output))


def data_set(paths: str, same: dict[str, str]) -> DataSet:
    """The files of an option, named after their folder.

    Raises:
        UserError: a file isn't there.
    """
    files = tuple(Path(path.strip()) for path in paths.split(",") if path.strip())
    for path in files:
        if not path.is_file():
            raise UserError(f"{path}: there is no such file; name annotated texts (JSONL) of your own.")
    name = files[0].parent.name if files[0].parent.name != "assets" else "demo"
    return DataSet(name, files, same)


if __name__ == "__main__":
    run(main)

"""Let a scripted reviewer answer from gold: how good is a pipeline after 12 to 200 texts, by policy?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from benchmarks import first_hour_report, first_hour_sets
from benchmarks.first_hour_measurement import FirstHour
from benchmarks.first_hour_report import HourResult, SetResults
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import atomic_write, write_json
from ie.core.settings import load_settings
from ie.core.text import names_among, names_in
from ie.data import options
from ie.data.config import load_data_config
from ie.data.scheme import load_scheme
from ie.reports import figures
from ie.review.settings import ReviewSettings

SETS = "fashion_brands,crossner_politics,fire,demo"


def main(
    sets: Annotated[str, typer.Option(help="Which sets, separated by commas.")] = SETS,
    sizes: Annotated[str, typer.Option(help="Numbers of texts, rising.")] = "12,25,50,100,200",
    seeds: Annotated[int, typer.Option(help="Orders and trainings of each policy.", min=1)] = 5,
    pool: Annotated[int, typer.Option(help="Texts to review; the LLM reads them.", min=1)] = 300,
    test: Annotated[int, typer.Option(help="Test texts at most; nobody reviews them.", min=1)] = 400,
    max_steps: options.MaxSteps = 0,
    data_sets: Annotated[Path, typer.Option(help="Folder with the public sets.")] = Path("data"),
    config: Annotated[Path, typer.Option(help="Training config.")] = Path("configs/crf-tags.cfg"),
    llm_config: Annotated[Path, typer.Option(help="Config of the LLM, with the demo's labels.")] = Path(
        "configs/llm.cfg"
    ),
    provider: options.Provider = "",
    settings: Annotated[Path, typer.Option(help="Settings of the default policy.")] = Path(
        "configs/review.cfg"
    ),
    data: options.Data = Path("configs/data.cfg"),
    output: Annotated[
        Path, typer.Option(help="Folder for results; a run goes on with what is there.")
    ] = Path("training/first-hour"),
) -> None:
    """Print a table per set, and write OUTPUT/first-hour.json and first-hour.png."""
    numbers = read_sizes(sizes, pool)
    data_config = load_data_config(data)
    base = load_settings(settings, ReviewSettings)
    chosen = [
        first_hour_sets.load(
            name,
            data_sets,
            Path("assets/reviewed.jsonl"),
            Path("tests/benchmarks/definitions"),
            load_scheme(llm_config),
            data_config,
            (pool, test),
        )
        for name in names_among(SETS.split(","), "--sets", sets)
    ]
    hours = [
        FirstHour(reviewed, output / reviewed.name, numbers, base, data_config, config, max_steps)
        for reviewed in chosen
    ]
    measured: dict[str, list[HourResult]] = {hour.reviewed.name: [] for hour in hours}
    for seed in range(seeds):
        for hour in hours:
            name = hour.reviewed.name
            if not seed:
                hour.begin(llm_config, provider)
            measured[name] += hour.measure(seed)
            msg.info(f"{name}: seed {seed} is done.")
            save(
                output, [hour.results(results) for hour in hours if (results := measured[hour.reviewed.name])]
            )
    for hour in hours:
        print(first_hour_report.shown(hour.results(measured[hour.reviewed.name])))
    msg.good(f"{output / 'first-hour.json'}, {output / 'first-hour.png'}")


def read_sizes(sizes: str, pool: int) -> list[int]:
    """The numbers of texts.

    Raises:
        UserError: no rising numbers, or more than there are texts to review.
    """
    words = names_in(sizes)
    numbers = [int(word) for word in words if word.isdecimal()]
    if not numbers or len(numbers) < len(words) or numbers != sorted({*numbers}) or not numbers[0]:
        raise UserError(f"--sizes {sizes} must be rising numbers of texts, such as 12,25,50.")
    if numbers[-1] >= pool:
        raise UserError(f"--sizes {sizes} asks for more texts than --pool {pool} leaves to choose from.")
    return numbers


def save(output: Path, sets: Sequence[SetResults]) -> None:
    """Write what was measured so far."""
    write_json(output / "first-hour.json", first_hour_report.to_json(sets))
    with atomic_write(output / "first-hour.png", "wb") as file:
        file.write(figures.png(first_hour_report.picture(sets)))


if __name__ == "__main__":
    run(main)

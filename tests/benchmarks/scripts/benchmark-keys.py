"""Count the keys that reviewing takes: all labels at once or one by one, with what is learned on the way."""

import random
from pathlib import Path
from typing import Annotated

import typer
from benchmarks import first_hour
from wasabi import msg

from ie.core.cli import run
from ie.core.files import write_json
from ie.data.config import DataConfig
from ie.data.records import Record
from ie.review.settings import LearnSection, ReviewSettings

SETS = ("fashion_brands", "crossner_politics", "fire")
LEARNED = {
    "nothing": LearnSection(strings=False, every=0),
    "marked strings": LearnSection(every=0),
    "marked strings, quick model": LearnSection(),
}


def main(
    data: Annotated[Path, typer.Option(help="Folder with the public sets, a folder each")] = Path("data"),
    texts: Annotated[int, typer.Option(help="Texts of each set", min=2)] = 100,
    seed: Annotated[int, typer.Option(help="Seed of their order")] = 0,
    output: Annotated[Path, typer.Option(help="File for the figures")] = Path("training/benchmark-keys.json"),
) -> None:
    """Print keys and decisions a text, each with its 95 % bootstrap interval over texts."""
    rows, figures = [], []
    for name in SETS:
        gold = first_hour.read_gold(data / name / "train.jsonl")
        for mode in ("one label", "all labels"):
            for suggested, settings in LEARNED.items():
                reviewed = play(gold, mode, settings, texts=texts, seed=seed)
                keys = first_hour.a_text([text.keys for text in reviewed])
                decisions = first_hour.a_text([text.decisions for text in reviewed])
                rows.append((name, mode, suggested, len(reviewed), keys, decisions))
                figures.append(
                    {"set": name, "mode": mode, "suggested": suggested, "texts": len(reviewed)}
                    | {"keys": keys, "decisions": decisions}
                )
    header = ("set", "mode", "suggested", "texts", "keys a text", "decisions a text")
    msg.table(rows, header=header, divider=True)
    write_json(output, {"rows": figures})


def play(
    gold: list[Record], mode: str, learn: LearnSection, *, texts: int, seed: int
) -> list[first_hour.ReviewedText]:
    """Review a set with suggestions learned on the way."""
    settings = ReviewSettings.model_validate(
        {
            "review": {"tasks": ["spans"], "mode": mode, "blind": []},
            "order": {"begin": {"train": 0, "dev": 0, "test": 0}, "first": "", "then": "file"},
            "learn": learn,
        }
    )
    labels = sorted({span.label for record in gold for span in record.spans})
    shuffled = random.Random(seed).sample(gold, len(gold))
    return first_hour.play(shuffled, texts=texts, settings=settings, labels=labels, data=DataConfig())


if __name__ == "__main__":
    run(main)

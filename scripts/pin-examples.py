"""Choose the examples that prompts show again, or take one out; says first what asking again costs."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core.cli import confirm_change, run
from ie.core.errors import UserError
from ie.core.files import check_writable
from ie.core.text import print_table
from ie.data import options
from ie.data.config import load_data_config
from ie.data.pinned import read_pinned
from ie.data.records import Record, write_records
from ie.data.scheme import load_scheme
from ie.data.tokenizer import STRETCH
from ie.llm import pinning, pipeline

SHOWN_CHARACTERS = 70


def main(
    config: options.LlmConfig = Path("configs/llm.cfg"),
    provider: options.Provider = "",
    texts: options.Texts = Path("assets/texts.jsonl"),
    reviewed: options.Reviewed = Path("assets/reviewed.jsonl"),
    examples: options.Examples = Path("assets/examples.jsonl"),
    retire: Annotated[
        str, typer.Option(help="Only take one example out: its line, or how its text begins.")
    ] = "",
    number: Annotated[
        int, typer.Option(help="Examples of a prompt; 0 for as many as the config says.", min=0)
    ] = 0,
    yes: Annotated[bool, typer.Option(help="Change the file without asking.")] = False,
    stats: Annotated[Path, typer.Option(help="Counts of the last llm-annotate.")] = Path("corpus/llm.json"),
    timings: Annotated[Path, typer.Option(help="Its seconds per text.")] = Path("training/llm-timings.jsonl"),
    data: options.Data = Path("configs/data.cfg"),
    stretch: options.Stretch = STRETCH,
) -> None:
    """Print the examples that come and go, and the price; change the file once you agree."""
    data_config = load_data_config(data)
    reader = data_config.reader(load_scheme(config))
    split = data_config.assign(
        reader.read(reviewed, allow_empty=True) if reviewed.exists() else [],
        reader.read(texts, allow_empty=True),
    )
    check_writable(examples)
    overrides = pipeline.example_overrides(reviewed, examples, data_config)
    nlp = pipeline.assemble(pipeline.load_config(config, pipeline.provider_file(provider), overrides), config)
    tasks = pinning.require_pinned_tasks(nlp, config)
    if number and any(task.shots.select == "similar" for task in tasks):
        raise UserError(
            f'--number: with select = "similar" each text has its own examples; set n in {config}.'
        )
    current = read_pinned(examples, reader if not retire else None)
    if retire:
        chosen = [example for example in current if example is not find(retire, current, examples)]
    elif split.train:
        chosen = pinning.choose(nlp, split.train, number)
    else:
        raise UserError(f"{reviewed}: no reviewed text is in train; review more, and run this again.")
    if chosen == current:
        msg.good(f"{examples}: the {len(current):,} examples are the best choice as they are.")
        return
    show_changes(current, chosen)
    price = pinning.pin_and_price(nlp, chosen, [*split.raw, *split.dev, *split.test], stretch, stats, timings)
    for model in pipeline.llm_models(nlp):
        model.close()
    msg.info(price)
    command = f"python scripts/pin-examples.py --yes{f' --retire {retire!r}' * bool(retire)}"
    confirm_change(examples, command=command, yes=yes)
    write_records(examples, chosen)
    msg.good(f"{examples}: {len(chosen):,} examples. `weasel run llm-annotate` asks with them.")


def find(wanted: str, examples: list[Record], path: Path) -> Record:
    """The example of a line, or the only one whose text begins so.

    Raises:
        UserError: there is none, or more than one.
    """
    if wanted.isdecimal() and 0 < int(wanted) <= len(examples):
        return examples[int(wanted) - 1]
    matching = [example for example in examples if example.text.startswith(wanted)]
    if len(matching) != 1:
        raise UserError(
            f"{path}: {len(matching)} of its {len(examples)} examples begin with {wanted!r}; give the line "
            "of one, or more of its text."
        )
    return matching[0]


def show_changes(current: list[Record], chosen: list[Record]) -> None:
    """Print which examples go, come and stay, with their lines in the old or new file."""
    rows = [
        *(("goes", str(i), record.text) for i, record in enumerate(current, 1) if record not in chosen),
        *(
            ("stays" if example in current else "comes", str(i), example.text)
            for i, example in enumerate(chosen, 1)
        ),
    ]
    print_table(
        [(what, line, " ".join(text.split())[:SHOWN_CHARACTERS]) for what, line, text in rows],
        ("", "line", "example"),
        "lrl",
    )


if __name__ == "__main__":
    run(main)

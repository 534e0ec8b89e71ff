"""Write the currency data that the money component ships with, from CLDR and from our own additions."""

from pathlib import Path
from typing import Annotated

import typer
from benchmarks import currencies
from wasabi import msg

from ie.core.cli import run
from ie.core.files import atomic_write, json_text


def main(
    additions: Annotated[Path, typer.Option(help="Writings that CLDR lacks (TOML)")] = Path(
        "assets/money.toml"
    ),
    output: Annotated[Path, typer.Option(help="File to write")] = Path("scripts/components/money.json"),
) -> None:
    """Write OUTPUT: symbols, names, scales, numerals and places by which amounts are read."""
    data = currencies.build(currencies.read_additions(additions))
    with atomic_write(output) as file:
        file.write(render(data))
    codes = {code for meanings in data["writings"].values() for code in meanings}
    msg.good(f"{output}: {len(data['writings']):,} writings of {len(codes)} currencies ({data['source']})")


def render(data: dict) -> str:
    """The file's content: a section a line, so that a change shows where it is."""
    lines = ",\n".join(f"{json_text(name)}: {json_text(part)}" for name, part in data.items())
    return f"{{\n{lines}\n}}\n"


if __name__ == "__main__":
    run(main)

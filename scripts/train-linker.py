"""Index the company database and learn from reviewed links how to choose in it."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import published
from ie.data import records
from ie.data.gazetteer import read_gazetteer
from ie.training import linker as linking
from ie.training.untrained import build


def main(
    config: Annotated[Path, typer.Option(help="Config of the linker")] = Path("configs/linker.cfg"),
    table: Annotated[Path, typer.Option(help="CSV of id, name, aliases and, if known, kind, country ...")] = (
        Path("assets/companies.csv")
    ),
    legal_forms: Annotated[Path, typer.Option(help="Legal forms that may be missing in a name")] = Path(
        "assets/legal_forms.txt"
    ),
    train: Annotated[Path, typer.Option(help="Reviewed records whose spans have a kb_id")] = Path(
        "corpus/train.jsonl"
    ),
    dev: Annotated[Path, typer.Option(help="Likewise, for the threshold of NIL")] = Path("corpus/dev.jsonl"),
    seed: Annotated[int, typer.Option(help="Seed of the regressions")] = 0,
    output: Annotated[Path, typer.Option(help="Folder for the pipeline")] = Path("training/linker/model"),
) -> None:
    """Write OUTPUT, a pipeline with the linker alone, for `assemble` and `evaluate-linker`."""
    nlp = build(config, "linker")
    linker = nlp.get_pipe("linker")
    entries = read_gazetteer(table)
    linker.initialize(rows=linking.rows(entries), legal_forms=linking.read_forms(legal_forms))
    known = {entry.id for entry in entries}
    found = []
    for path in (train, dev):
        gold = records.accepted(records.read_records(path, tokenizer=nlp.tokenizer, allow_empty=True))
        mentions = linking.mentions(nlp, gold, linker.cfg["labels"])
        lost = sorted({m.gold for m in mentions if m.gold != linking.NIL} - known)
        if lost:
            raise UserError(
                f"{path}: {len(lost)} ids aren't in {table} (the first: {lost[0]}); add their rows, or call "
                "those spans NIL."
            )
        found.append(mentions)
    linking.fit(linker, *found, seed=seed)
    with published(output) as folder:
        nlp.to_disk(folder)
    msg.good(
        f"{output}: {len(linker.table):,} entries, {len(linker.table.arrays['owners']):,} names; learnt from "
        f"{len(found[0]):,} mentions, threshold {linker.model['threshold']:.2f} from {len(found[1]):,}"
    )


if __name__ == "__main__":
    run(main)

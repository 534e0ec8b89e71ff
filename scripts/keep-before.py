"""Keep the trained pipeline and its data, as long as they are those from before the corrections."""

import shutil
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.data import options, records, splits
from ie.data.records import Reader
from ie.data.scheme import load_scheme
from ie.data.splits import SIDES
from ie.evaluation import improvement


def main(
    reviewed: Annotated[Path, typer.Option(help="Reviewed examples, corrected")] = Path(
        "assets/reviewed.jsonl"
    ),
    scheme: Annotated[Path, typer.Option(help="Config that holds the labels")] = Path("configs/llm.cfg"),
    corpus: Annotated[Path, typer.Option(help="Folder with the last split")] = Path("corpus"),
    models: Annotated[Path, typer.Option(help="Folder with the trained pipelines")] = Path(
        "training/efficient"
    ),
    train_on: Annotated[splits.TrainOn, typer.Option(help="Which of them is kept")] = "reviewed",
    output: Annotated[Path, typer.Option(help="Folder to keep it in")] = Path("training/efficient/before"),
    test_percent: options.TestPercent = 37,
    dev_percent: options.DevPercent = 10,
    near_duplicate: options.NearDuplicate = 0.8,
    misaligned: options.Misaligned = "error",
    duplicates: options.Duplicates = "error",
    bad_relations: options.BadRelations = "error",
    lang: options.Lang = "en",
) -> None:
    """Copy the pipeline and train, dev and test to OUTPUT, unless they hold the corrections already."""
    model = models / train_on / "model-best"
    missing = [path for path in (model, *(corpus / f"{side}.jsonl" for side in SIDES)) if not path.exists()]
    if missing:
        raise UserError(f"{missing[0]}: not there yet, so there is no before; run `weasel run all` first.")
    reader = Reader(load_scheme(scheme), records.blank(lang).tokenizer, misaligned, duplicates, bad_relations)
    split = splits.assign(
        reader.read_reviewed(reviewed),
        [],
        test_percent=test_percent,
        dev_percent=dev_percent,
        near_duplicate=near_duplicate,
    )
    changed = False
    for side in SIDES:
        known = records.read_records(corpus / f"{side}.jsonl", allow_empty=True)
        # what the LLM annotated may be in train, but is nobody's correction
        old = [record for record in known if "llm" not in (record.model_extra or {})]
        counts = improvement.changes(old, getattr(split, side))
        changed |= any(n for name, n in counts.items() if name != "as before")
    if not changed:
        if not (output / "model-best").exists():
            raise UserError(
                f"{reviewed}: nothing was corrected since the pipeline was trained; review first, and then "
                "run `weasel run improve` instead of `weasel run all`."
            )
        msg.info(f"Nothing was corrected since the last training: {output} stays as it is.")
        return
    fresh = output.with_name(f".{output.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(model, fresh / "model-best")
    for side in SIDES:
        shutil.copy(corpus / f"{side}.jsonl", fresh)
    shutil.rmtree(output, ignore_errors=True)
    fresh.rename(output)
    msg.good(f"{output}: the pipeline as it was before the corrections")


if __name__ == "__main__":
    run(main)

"""Look for mistakes in data and settings before any time or money is spent on them."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import srsly
import typer
from wasabi import msg
from weasel.util import get_checksum

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import read_text
from ie.core.settings import read_config
from ie.data import options, splits
from ie.data.config import load_data_config
from ie.data.gazetteer import read_gazetteer
from ie.data.records import Record
from ie.data.scheme import KINDS, load_scheme
from ie.status.snapshot import ProjectPaths
from ie.status.terminal import print_next_step


def main(
    reviewed: options.Reviewed = Path("assets/reviewed.jsonl"),
    texts: options.Texts = Path("assets/texts.jsonl"),
    scheme: options.Scheme = Path("configs/llm.cfg"),
    guidelines: Annotated[Path, typer.Option(help="What annotators go by.")] = Path("assets/guidelines.md"),
    gazetteer: options.Gazetteer = "assets/companies.csv",
    gazetteer_label: options.GazetteerLabel = "",
    config: Annotated[str, typer.Option(help="Training config; empty for none.")] = "",
    project: Annotated[
        str, typer.Option(help="Project file with checksums of assets; empty for none.")
    ] = "project.yml",
    train_on: options.TrainOn = "reviewed",
    data: options.Data = Path("configs/data.cfg"),
    gaps: Annotated[
        Literal["error", "warn"], typer.Option(help="A side or label without reviewed examples.")
    ] = "error",
) -> None:
    """Check every file and setting of the project; print what there is, or the first mistake."""
    settings = load_data_config(data)
    labels = load_scheme(scheme)
    kinds = {kind: labels.labels(kind) for kind in KINDS if labels.labels(kind)}
    if project:
        check_assets(Path(project))
    rows = [(str(scheme), "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items()))]
    if config:
        check_config(Path(config), settings.lang)
        rows.append((config, "can be read"))
    reader = settings.reader(labels)
    # Without any, no side has an example: a gap like others.
    gold = reader.read_reviewed(reviewed) if gaps == "error" else reader.read(reviewed, allow_empty=True)
    answers = Counter(record.answer for record in gold)
    if labels.scored == "spans":
        answers |= {"spans": sum(len(record.spans) for record in gold)}
    else:
        answers |= {"with a category": sum(any(record.cats.values()) for record in gold)}
    rows.append((str(reviewed), listing(answers) or "nothing"))
    raw = reader.read(texts, allow_empty=train_on == "reviewed")
    refuse_shared_ids(gold, raw, reviewed, texts)
    split = settings.assign(gold, raw)
    rows.append((str(texts), listing({"texts": len(raw), "unreviewed": len(raw) - split.reviewed_texts})))
    parts = {"train": split.train, "dev": split.dev, "test": split.test}
    # What the LLM will add to train isn't known yet.
    known = splits.SIDES if train_on == "reviewed" else ("dev", "test")
    try:
        splits.refuse_gaps({side: parts[side] for side in known}, labels, reviewed)
    except splits.Gap as gap:
        if gaps == "error":
            raise
        msg.warn(str(gap))
    rows.append(("split", listing({side: len(part) for side, part in parts.items()})))
    rows.append((str(guidelines), listing({"words": len(read_guidelines(guidelines).split())})))
    if gazetteer and gazetteer_label:
        entries = read_gazetteer(Path(gazetteer))
        rows.append((gazetteer, listing({"entries": len(entries)})))
        warn_unknown_links(gold, {entry.id for entry in entries}, gazetteer)
    if undefined := [
        label for names in kinds.values() for label in names if not labels.definitions.get(label)
    ]:
        msg.warn(
            f"{scheme}: no definition of {', '.join(undefined)}; a few words each help the LLM and the "
            "annotators."
        )
    msg.table(rows, header=("checked", "found"), divider=True)
    msg.good("no mistake found")
    training = Path("training", Path(config).stem) if config else ProjectPaths.training
    print_next_step(
        ProjectPaths(texts=texts, reviewed=reviewed, scheme=scheme, data=data, training=training), train_on
    )


def listing(counts: Mapping[str, int]) -> str:
    """Counts in a row: `2 accept, 1 reject`."""
    return ", ".join(f"{n} {name}" for name, n in counts.items())


def check_config(path: Path, lang: str) -> None:
    """Refuse a training config that spaCy can't read, or that is for another language."""
    config_lang = read_config(path, interpolate=False).get("nlp", {}).get("lang")
    if config_lang != lang:
        raise UserError(f"{path}: its language is {config_lang!r}, but lang is {lang!r}; make them equal.")


def refuse_shared_ids(gold: list[Record], raw: list[Record], reviewed: Path, texts: Path) -> None:
    """An id stands for one text, in both files: else answers and scores get mixed up."""
    text_of = {record.id: record.text for record in raw}
    for record in gold:
        if text_of.get(record.id, record.text) != record.text:
            raise UserError(
                f"{reviewed}: the id {record.id!r} belongs to another text in {texts}; undo the change of "
                "the text, or give it a new id."
            )


def read_guidelines(path: Path) -> str:
    """The annotation guidelines."""
    text = read_text(path, "write down what decides in doubt")
    if not text.strip():
        raise UserError(f"{path}: the file is empty; write down what decides in doubt.")
    return text


def check_assets(project: Path) -> None:
    """Compare assets with their checksums, since `weasel assets` fetches whatever is there and succeeds.

    Raises:
        UserError: one that is fetched from somewhere is missing or another one.
    """
    for asset in srsly.read_yaml(project).get("assets", []):
        path = project.parent / asset["dest"]
        fetched = "url" in asset or "git" in asset
        if fetched and not path.exists():
            raise UserError(f"{path}: there is no such file; run `weasel assets` to fetch it.")
        checksum = asset.get("checksum")
        if not checksum or not path.is_file() or get_checksum(path) == checksum:
            continue
        fault = f"{path}: isn't the file whose checksum {project} has"
        if fetched:
            raise UserError(f"{fault}; delete it and run `weasel assets`, or correct the checksum.")
        msg.warn(f"{fault}; if that is meant, correct the checksum or delete its line.")


def warn_unknown_links(gold: list[Record], ids: set[str], gazetteer: str) -> None:
    """Tell of links to nothing: the entry was deleted, or the id mistyped."""
    links = [(span.model_extra or {}).get("kb_id") for record in gold for span in record.spans]
    unknown = [link for link in links if link and link != "NIL" and str(link) not in ids]
    if unknown:
        msg.warn(
            f"{len(unknown)} of {len(links)} spans link to ids that aren't in {gazetteer}, as {unknown[0]!r}"
        )


if __name__ == "__main__":
    run(main)

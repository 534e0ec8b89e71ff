"""Look for mistakes in data and settings before any time or money is spent on them."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import srsly
import typer
from spacy.language import Language
from wasabi import msg
from weasel.util import get_checksum

from components.span_classifier import LONGEST
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import read_text
from ie.core.settings import load_settings, read_config
from ie.core.text import counted, print_table
from ie.data import options, splits
from ie.data.config import DataConfig, load_data_config
from ie.data.gazetteer import read_gazetteer
from ie.data.pinned import outdated, read_pinned, refuse_held_out
from ie.data.records import Record
from ie.data.scheme import KINDS, Scheme, load_scheme
from ie.data.splits import Split
from ie.review import first_model
from ie.review.settings import BeginSection, ReviewSettings
from ie.status.snapshot import ProjectPaths
from ie.status.terminal import print_next_step
from ie.training import loop

# With more texts than this, it says at once that they take a while.
MANY = 20_000


def main(
    reviewed: options.Reviewed = Path("assets/reviewed.jsonl"),
    texts: options.Texts = Path("assets/texts.jsonl"),
    examples: options.Examples = Path("assets/examples.jsonl"),
    scheme: options.Scheme = Path("configs/llm.cfg"),
    guidelines: options.Guidelines = Path("assets/guidelines.md"),
    gazetteer: options.Gazetteer = "assets/companies.csv",
    gazetteer_label: options.GazetteerLabel = "",
    config: Annotated[str, typer.Option(help="Training config; empty for none.")] = "",
    project: Annotated[
        str, typer.Option(help="Project file with checksums of assets; empty for none.")
    ] = "project.yml",
    train_on: options.TrainOn = "reviewed",
    data: options.Data = Path("configs/data.cfg"),
    review: Annotated[Path, typer.Option(help="How many texts a first model needs.")] = Path(
        "configs/review.cfg"
    ),
    gaps: Annotated[
        Literal["error", "warn"], typer.Option(help="A part of the split without reviewed texts.")
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
        training_config = read_config(Path(config), interpolate=False)
        if labels.overlapping:
            loop.check_overlapping(Path(config), training_config)
        rows.append((config, "can be read"))
    reader = settings.reader(labels)
    gold = reader.read(reviewed, allow_empty=True)
    if labels.overlapping:
        warn_long_spans(gold, settings.blank(), reviewed)
    answers = Counter(record.answer for record in gold)
    if labels.scored == "spans":
        answers |= {"spans": sum(len(record.spans) for record in gold)}
    else:
        answers |= {"with a category": sum(any(record.cats.values()) for record in gold)}
    rows.append((str(reviewed), listing(answers) or "nothing"))
    if (n := count_lines(texts)) > MANY:
        msg.info(f"{texts}: reading and comparing {n:,} texts; this takes a minute or more.")
    raw = reader.read(texts, allow_empty=train_on == "reviewed")
    refuse_shared_ids(gold, raw, reviewed, texts)
    if raw:
        warn_removed(gold, raw, reviewed, texts)
    split = settings.assign(gold, raw)
    rows.append((str(texts), listing({"texts": len(raw), "unreviewed": len(raw) - split.reviewed_texts})))
    rows.append(("split", listing({part: len(getattr(split, part)) for part in splits.SIDES})))
    pinned = read_pinned(examples, reader)
    check_examples(examples, pinned, split, gold)
    rows.append((str(examples), listing({"examples in prompts": len(pinned)})))
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
    print_table(rows, ("checked", "found"))
    begin = load_settings(review, ReviewSettings).order.begin
    try:
        check_amount(gold, split, labels, begin, settings, train_on=train_on, files=(reviewed, texts, data))
    except splits.Gap as gap:
        if gaps == "error":
            raise
        msg.warn(str(gap))
    msg.good("no mistake found")
    training = Path("training", Path(config).stem) if config else ProjectPaths.training
    print_next_step(
        ProjectPaths(texts=texts, reviewed=reviewed, scheme=scheme, data=data, training=training), train_on
    )


def warn_long_spans(gold: list[Record], nlp: Language, reviewed: Path) -> None:
    """Name the spans that are too long to be found where spans overlap."""
    spans = [record.text[span.start : span.end] for record in gold for span in record.spans]
    # a token has at least one character
    long = [text for text in spans if len(text) > LONGEST and len(nlp.make_doc(text)) > LONGEST]
    if long:
        msg.warn(
            f"{reviewed}: {counted(len(long), 'span')} of {len(spans):,} with more than {LONGEST} tokens, "
            f"which a classifier of spans can't find (first: {long[0][:60]!r}); mark shorter ones."
        )


def listing(counts: Mapping[str, int]) -> str:
    """Counts in a row: `2 accept, 1 reject`."""
    return ", ".join(f"{n} {name}" for name, n in counts.items())


def check_amount(
    gold: list[Record],
    split: Split,
    labels: Scheme,
    begin: BeginSection,
    settings: DataConfig,
    *,
    train_on: splits.TrainOn,
    files: tuple[Path, Path, Path],
) -> None:
    """Refuse gold that is too little to train on or to measure with; warn where it is scarce.

    Args:
        begin: texts that a first model needs. files: gold, raw texts and data settings, to be named.

    Raises:
        UserError: as `splits.check_categories`.
        Gap: a part of the split is empty, or there is nothing to learn.
    """
    reviewed, texts, data = files
    # what the LLM will add to train isn't known yet
    known = splits.SIDES if train_on == "reviewed" else ("dev", "test")
    parts = {part: getattr(split, part) for part in known}
    counts = {part: len(records) for part, records in parts.items()}
    splits.check_categories([record for records in parts.values() for record in records], labels, reviewed)
    if missing := first_model.missing(begin, counts):
        shares = splits.shares(settings.split.test_percent, settings.split.dev_percent)
        left = first_model.count_left(split, shares)
        need = first_model.need(missing, left, shares, texts=texts, data=data)
        if fault := first_model.fault(gold, counts):
            raise splits.Gap(f"{reviewed}: {fault}. {need}")
        msg.warn(need)
    splits.refuse_gaps(parts, labels, reviewed)
    if "train" in parts and (unlearned := splits.labels_without_examples(split.train, labels)):
        msg.warn(
            f"{reviewed}: no training text has {', '.join(unlearned)}, so no pipeline will find that; review "
            f"more texts, or correct the labels in {labels.path}."
        )


def check_examples(path: Path, pinned: list[Record], split: Split, gold: list[Record]) -> None:
    """Refuse examples of dev or test in prompts; name those whose gold is another one now."""
    refuse_held_out(path, pinned, {record.text for record in (*split.dev, *split.test)})
    if fault := outdated(path, pinned, gold):
        msg.warn(fault)


def count_lines(path: Path) -> int:
    """How many lines a file has; 0 if it isn't there, which its reader says better."""
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return sum(1 for _ in file)


def warn_removed(gold: list[Record], raw: list[Record], reviewed: Path, texts: Path) -> None:
    """Name reviewed texts that were removed from the raw texts, or edited there; they still count as gold.

    Applied texts, which `watch` drew for review, were never among the raw ones.
    """
    known = {record.text for record in raw}
    removed = [record for record in gold if record.text not in known and "watch" not in record.meta]
    if removed:
        count = "still counts" if len(removed) == 1 else "still count"
        msg.warn(
            f"{counted(len(removed), 'text')} of {reviewed} can't be found in {texts} (the first: "
            f"{removed[0].id!r}), but {count} as gold. To take one out, set its answer to reject."
        )


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

"""Review texts in the browser; every answer is on disk before the next question is shown."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from wasabi import msg

from ie.core import web
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import check_writable
from ie.core.processes import one_thread_each, pool
from ie.core.settings import load_settings
from ie.core.text import counted
from ie.data import options, splits
from ie.data.config import load_data_config
from ie.data.records import Reader, RecordFile
from ie.data.scheme import KINDS, Scheme, load_scheme
from ie.review import app, first_model, progress, selection
from ie.review.answer_files import Gold, Journal
from ie.review.guidelines_panel import read_guidelines
from ie.review.learned_suggestions import LearnedSuggestions
from ie.review.selection import SelectedText
from ie.review.settings import OrderSection, ReviewSettings, units
from ie.review.state import ReviewState
from ie.review.suggestion_sources import (
    SuggestionSources,
    WatchedFiles,
    best_order,
    disagreement,
    load_model,
    uncertainty,
)
from ie.status.snapshot import ProjectPaths, after_answers, read_snapshot
from ie.status.terminal import print_lines, started_by_name

# Files of up to so many lines are checked before the page opens, larger ones while it is in use.
CHECKED_FIRST = 5000


def main(
    texts: options.Texts = Path("assets/texts.jsonl"),
    reviewed: Annotated[Path, typer.Option(help="Gold: where finished texts go")] = Path(
        "assets/reviewed.jsonl"
    ),
    journal: Annotated[
        Path, typer.Option(help="Log of all answers, each on disk before the next question")
    ] = Path("assets/review-log.jsonl"),
    scheme: options.Scheme = Path("configs/llm.cfg"),
    settings: Annotated[Path, typer.Option(help="What is asked, in which order")] = Path(
        "configs/review.cfg"
    ),
    guidelines: options.Guidelines = Path("assets/guidelines.md"),
    select: Annotated[
        str,
        typer.Option(help='"errors", or a file of disagreements: what to review again; empty for new texts'),
    ] = "",
    config: Annotated[
        str, typer.Option(help="Name of the training config, whose results are used")
    ] = "efficient",
    train_on: Annotated[splits.TrainOn, typer.Option(help="Which of its pipelines suggests")] = "reviewed",
    port: options.Port = 8080,
    hosts: options.Hosts = "",
    annotator: Annotated[
        str, typer.Option(help="Who answers, unless the address has ?annotator=")
    ] = "reviewer",
    cache: Annotated[Path, typer.Option(help="Folder for the page's key")] = Path(".cache/review"),
    data: options.Data = Path("configs/data.cfg"),
) -> None:
    """Open the page and serve it until Ctrl-C."""
    labels, wanted = load_scheme(scheme), load_settings(settings, ReviewSettings)
    data_config = load_data_config(data)
    nlp, reading = data_config.blank(), data_config.reading
    questions = units(wanted, labels)
    rules = {"labels": labels, "tokenizer": nlp.tokenizer}
    rules |= {"duplicates": reading.duplicates, "bad_relations": reading.bad_relations}
    reader = data_config.reader(labels, nlp)
    folder = Path("training") / config
    model = folder / train_on / "model-best"
    faults = Faults()
    check_writable(reviewed)
    # From here on nobody else writes the gold.
    with closing(Journal(journal)) as log, one_thread_each(), pool(1, abandon=True) as executor:
        gold = Gold(reviewed, reader.read(reviewed, allow_empty=True) if reviewed.exists() else [])
        raw = RecordFile(texts, misaligned=reading.misaligned, **rules)
        watched = WatchedFiles(
            {name: Path(path) for name, path in wanted.sources.items()},
            lambda path: RecordFile(path, misaligned="snap", **rules),
        )
        files = watched.read()
        for name in wanted.sources.keys() - files.keys():
            msg.warn(f"{wanted.sources[name]}: there is no such file yet; {name} suggests once it is there.")
        waiting = check_small([raw, *files.values()])
        learned = LearnedSuggestions(
            nlp.tokenizer, data_config.lang, wanted.learn, executor=executor, report=faults.report
        )
        load = (lambda: load_model(model)) if wanted.model.use else None
        sources = SuggestionSources(files, load, faults.report, learned)
        if wanted.model.use:
            sources.get("")  # loads it before somebody waits for it
        settle_order(wanted.order, sources)
        measure = disagreement if wanted.order.then == "disagreement" else uncertainty
        chosen: list[SelectedText] = []
        if select == "errors":
            split = data_config.assign(gold.records.values(), [])
            chosen = selection.likely_errors(folder / "label-errors.jsonl", model, split)
        elif select:
            chosen = selection.disagreements(Path(select), reader.read(Path(select)))
        engine = ReviewState(
            settings=wanted,
            units=questions,
            tokenizer=nlp.tokenizer,
            texts=raw.texts,
            record=raw.get,
            sources=sources,
            guidelines=read_guidelines(
                guidelines, [label for kind in KINDS for label in labels.labels(kind)]
            ),
            journal=log,
            gold=gold,
            own_gold=lambda name: own_gold(reviewed.parent / "annotators" / f"{name}.jsonl", reader),
            sides=lambda found: splits.Sides(
                list(found), **data_config.split.model_dump(), scored=labels.scored
            ),
            score=lambda text: measure(sources.get(text, model=False)),
            chosen=chosen,
            selection=select,
        )
        if engine.repaired:
            msg.info(
                f"{counted(engine.repaired, 'finished text')} of {journal} had no line in {reviewed} and "
                "got it back; to take a text out, reject it on the page."
            )
        if select:
            msg.info(f"{select}: {len(chosen):,} texts to look at again")
        else:
            warn_of_gaps(engine, wanted.order, texts=texts, data=data)
        sock = web.listen(port, "scripts/review.py")
        secret = web.session_secret(cache / "key")
        page = app.make_app(
            engine,
            labels,
            secret=secret,
            port=sock.getsockname()[1],
            hosts=hosts,
            annotator=annotator,
            progress=progress_of(engine, wanted.order, folder, select),
            faults=faults.sentences,
            idle=in_background(engine, waiting, faults.report),
            refresh=lambda: refresh(sources, watched, faults.report),
        )
        paths = ProjectPaths(texts=texts, reviewed=reviewed, scheme=scheme, data=data, training=folder)
        note = f"Answers go to {journal}, finished texts to {reviewed}."
        web.run_page(page, sock, secret, note, on_stop=what_is_next(engine, labels, paths, train_on))


class Faults:
    """What goes wrong while the page is open: printed, and kept for the page, each once."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def report(self, sentence: str) -> None:
        """Take in a fault."""
        if sentence not in self.sentences:
            self.sentences.append(sentence)
            msg.warn(sentence)


def check_small(files: Sequence[RecordFile]) -> list[RecordFile]:
    """Check all files but large ones; returns those, to be checked later."""
    for file in files:
        if len(file) <= CHECKED_FIRST:
            list(file.check())
    return [file for file in files if len(file) > CHECKED_FIRST]


def settle_order(order: OrderSection, sources: SuggestionSources) -> None:
    """Replace an order that has too few sources, or "auto", by the best there is."""
    best = best_order(len(sources.speakers()))
    if order.then == "disagreement" and best != "disagreement":
        msg.info(f"There are no two sources of suggestions to disagree: texts are ordered by {best}.")
        order.then = best
    if order.then == "auto":
        order.then = best


def warn_of_gaps(engine: ReviewState, order: OrderSection, *, texts: Path, data: Path) -> None:
    """Say if a part of the split can't get the texts that a first model needs."""
    missing, left = first_model.missing(order.begin, engine.sides.counts), engine.unreviewed()
    if any(not left[part] for part in missing):
        msg.warn(first_model.need(missing, left, engine.sides.shares, texts=texts, data=data))


def progress_of(
    engine: ReviewState, order: OrderSection, folder: Path, select: str
) -> Callable[[], dict[str, Any]]:
    """What the header of the page says, whenever it is asked."""
    closest, metrics = progress.read_closest(folder / "analysis.json"), folder / "metrics.json"
    return lambda: progress.progress(
        engine.sides.counts,
        closest,
        begin=None if select or metrics.exists() else order.begin,
        left=None if select else engine.unreviewed(),
    )


def refresh(sources: SuggestionSources, watched: WatchedFiles, report: Callable[[str], None]) -> None:
    """Take over files of suggestions that appeared or changed."""
    try:
        sources.files = watched.read()
    except UserError as error:
        report(str(error))


def what_is_next(
    engine: ReviewState, labels: Scheme, paths: ProjectPaths, train_on: str
) -> Callable[[], None]:
    """What prints the next step at the end, for a review that a person started."""
    # Weasel kills this process a quarter of a second after Ctrl-C: no time to read files again.
    before = read_snapshot(paths, train_on) if started_by_name() else None
    records = engine.gold.records
    known = dict(records)

    def say() -> None:
        answered = [record for text, record in records.items() if known.get(text) is not record]
        if before:
            print_lines(after_answers(before, answered, records, engine.sides, labels))

    return say


def own_gold(path: Path, reader: Reader) -> Gold:
    """What an annotator reviewed independently."""
    return Gold(path, reader.read(path, allow_empty=True) if path.exists() else [])


def in_background(
    engine: ReviewState, waiting: list[RecordFile], report: Callable[[str], None]
) -> Iterator[None]:
    """Score texts ahead, then check the files that were too large to check at the start."""
    while engine.ordering().score_some():
        yield
    for file in waiting:
        try:
            for i, _ in enumerate(file.check()):
                if i % 10 == 0:
                    yield
        except UserError as error:
            report(str(error))


if __name__ == "__main__":
    run(main)

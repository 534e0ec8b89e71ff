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
from ie.data.config import DataConfig, load_data_config
from ie.data.records import Reader, RecordFile
from ie.data.scheme import KINDS, Scheme, load_scheme
from ie.review import app, first_model, progress, selection
from ie.review.answer_files import Gold, Journal
from ie.review.guidelines_panel import read_guidelines
from ie.review.learned_suggestions import LearnedSuggestions
from ie.review.selection import SelectedText
from ie.review.settings import ReviewSettings, units
from ie.review.state import ReviewState
from ie.review.suggestion_sources import SuggestionSources, WatchedFiles, load_model
from ie.status.snapshot import ProjectPaths, after_answers, read_snapshot
from ie.status.terminal import print_lines, started_by_name

# Files of up to so many lines are checked before the page opens, larger ones while it is in use.
CHECKED_FIRST = 5000
KEY = Path(".cache/review/key")  # of the page; it stays the same, so that an open page works after a restart


def main(
    texts: options.Texts = Path("assets/texts.jsonl"),
    reviewed: Annotated[Path, typer.Option(help="Gold: where finished texts go")] = Path(
        "assets/reviewed.jsonl"
    ),
    journal: Annotated[
        Path, typer.Option(help="Log of all answers, each on disk before the next question")
    ] = Path("assets/review-log.jsonl"),
    scheme: options.Scheme = Path("configs/llm.cfg"),
    settings: Annotated[Path, typer.Option(help="Settings of the review")] = Path("configs/review.cfg"),
    guidelines: options.Guidelines = Path("assets/guidelines.md"),
    select: Annotated[
        str,
        typer.Option(
            help='"errors", "watch", "unsure" or a file of disagreements: what to review; empty for new texts'
        ),
    ] = "",
    config: Annotated[str, typer.Option(help="Training config whose results are used")] = options.CONFIG.stem,
    train_on: Annotated[
        splits.TrainOn, typer.Option(help="Which of its pipelines makes suggestions")
    ] = "reviewed",
    port: options.Port = 8080,
    hosts: options.Hosts = "",
    annotator: Annotated[str, typer.Option(help="Name if the address has no ?annotator=")] = "reviewer",
    data: options.Data = Path("configs/data.cfg"),
) -> None:
    """Open the page and serve it until Ctrl-C."""
    labels, wanted = load_scheme(scheme), load_settings(settings, ReviewSettings)
    data_config, folder, faults = load_data_config(data), Path("training") / config, Faults()
    paths = ProjectPaths(texts=texts, reviewed=reviewed, scheme=scheme, data=data, training=folder)
    nlp, questions = data_config.blank(), units(wanted, labels)
    reader = data_config.reader(labels, nlp)
    rules = {"labels": labels, "tokenizer": nlp.tokenizer, **data_config.reading.model_dump()}
    all_labels = [label for kind in KINDS for label in labels.labels(kind)]
    check_writable(reviewed)
    # From here on nobody else writes the gold.
    with closing(Journal(journal)) as log, one_thread_each(), pool(1, abandon=True) as executor:
        gold, raw = read_gold(reviewed, reader), RecordFile(texts, **rules)
        files = {name: Path(path) for name, path in wanted.sources.items()}
        watched = WatchedFiles(files, lambda path: RecordFile(path, **(rules | {"misaligned": "snap"})))
        unchecked = check_small([raw, *watched.read().values()])
        learned = LearnedSuggestions(
            nlp.tokenizer,
            data_config.texts,
            wanted.learn,
            executor=executor,
            report=faults.report,
            overlapping=labels.overlapping,
        )
        model = folder / train_on / "model-best"
        sources = open_sources(wanted, watched, model, learned, faults.report)
        engine = ReviewState(
            settings=with_settled_order(wanted, sources),
            units=questions,
            tokenizer=nlp.tokenizer,
            texts=raw.texts,
            record=raw.get,
            sources=sources,
            guidelines=read_guidelines(guidelines, all_labels),
            journal=log,
            gold=gold,
            own_gold=lambda name: read_gold(reviewed.parent / "annotators" / f"{name}.jsonl", reader),
            sides=lambda records: splits.Sides(
                list(records), **data_config.split.model_dump(), scored=labels.scored
            ),
            overlapping=labels.overlapping,
            chosen=select_texts(select, gold, reader, data_config, model),
            selection=select,
        )
        print_start(engine, paths, journal)
        sock, secret = web.listen(port, "scripts/review.py"), web.session_secret(KEY)
        page = app.make_app(
            engine,
            labels,
            secret=secret,
            port=sock.getsockname()[1],
            hosts=hosts,
            annotator=annotator,
            progress=progress_of(engine, folder),
            faults=faults.sentences,
            idle=in_background(engine, unchecked, faults.report),
            refresh=lambda: refresh(sources, watched, faults.report),
        )
        note = f"Answers go to {journal}, finished texts to {reviewed}."
        web.run_page(page, sock, secret, note, on_stop=what_is_next(engine, labels, paths, train_on))


class Faults:
    """Faults while the page is open: each is printed once, and kept for the page."""

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


def open_sources(
    wanted: ReviewSettings,
    watched: WatchedFiles,
    model: Path,
    learned: LearnedSuggestions,
    report: Callable[[str], None],
) -> SuggestionSources:
    """The sources of suggestions; a trained pipeline is loaded now, before somebody waits for it."""
    files = watched.read()
    for name in wanted.sources.keys() - files.keys():
        msg.warn(f"{wanted.sources[name]} does not exist yet; {name} makes suggestions as soon as it does.")
    load = (lambda: load_model(model)) if wanted.model.use else None
    sources = SuggestionSources(files, load, report, learned)
    if load:
        sources.get("")
    return sources


def with_settled_order(wanted: ReviewSettings, sources: SuggestionSources) -> ReviewSettings:
    """The settings, with an order for which there are enough sources."""
    order = sources.settled_order(wanted.order)
    if wanted.order.then == "disagreement" and order.then != "disagreement":
        msg.info(f"Disagreement needs two sources of suggestions: texts are ordered by {order.then}.")
    return wanted.model_copy(update={"order": order})


def select_texts(
    select: str, gold: Gold, reader: Reader, data_config: DataConfig, model: Path
) -> list[SelectedText]:
    """The texts to review again, if any."""
    if select == "errors":
        split = data_config.assign(gold.records.values(), [])
        return selection.likely_errors(model.parents[1] / "label-errors.jsonl", model, split)
    if select == "watch":
        return selection.applied_sample(model.parents[1] / "watch" / "sample.jsonl")
    if select == "unsure":
        return selection.less_sure(model.parents[1] / "accept" / "unsure.jsonl")
    return selection.disagreements(Path(select), reader.read(Path(select))) if select else []


def print_start(engine: ReviewState, paths: ProjectPaths, journal: Path) -> None:
    """Print what is unusual: repaired gold, texts that are reviewed again, too few texts for a model."""
    if engine.repaired:
        msg.info(
            f"{counted(engine.repaired, 'finished text')} of {journal} had no line in {paths.reviewed} and "
            "got it back; to take a text out, reject it on the page."
        )
    if engine.selection:
        msg.info(f"{engine.selection}: {counted(len(engine.texts), 'text')} to review")
        return
    missing = first_model.missing(engine.settings.order.begin, engine.sides.counts)
    left = engine.unreviewed()
    if any(not left[part] for part in missing):
        msg.warn(first_model.need(missing, left, engine.sides.shares, texts=paths.texts, data=paths.data))


def progress_of(engine: ReviewState, folder: Path) -> Callable[[], dict[str, Any]]:
    """What the header of the page shows, up to date at each call."""
    closest, metrics = progress.read_closest(folder / "analysis.json"), folder / "metrics.json"
    begin = engine.settings.order.begin
    return lambda: progress.progress(
        engine.sides.counts,
        closest,
        begin=None if engine.selection or metrics.exists() else begin,
        left=None if engine.selection else engine.unreviewed(),
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


def read_gold(path: Path, reader: Reader) -> Gold:
    """A file of reviewed texts, which may not exist yet."""
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

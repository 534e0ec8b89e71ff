"""Review texts in the browser; every answer is on disk before the next question is shown."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core import web
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import check_writable
from ie.core.settings import load_settings
from ie.core.text import counted
from ie.data import options, splits
from ie.data.config import load_data_config
from ie.data.records import Reader, RecordFile
from ie.data.scheme import load_scheme
from ie.review import app, first_model, progress, selection
from ie.review.answer_files import Gold, Journal
from ie.review.guidelines_panel import read_guidelines
from ie.review.settings import ReviewSettings, units
from ie.review.state import ReviewState
from ie.review.suggestion_sources import SuggestionSources, best_order, disagreement, load_model, uncertainty
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
    labels, wanted, data_config = (
        load_scheme(scheme),
        load_settings(settings, ReviewSettings),
        load_data_config(data),
    )
    nlp, reading = data_config.blank(), data_config.reading
    questions = units(wanted, labels)
    kinds = [label for kind in ("span", "relation", "category") for label in labels.labels(kind)]
    rules = {
        "labels": labels,
        "tokenizer": nlp.tokenizer,
        "duplicates": reading.duplicates,
        "bad_relations": reading.bad_relations,
    }
    shares = data_config.split.model_dump()
    reader = data_config.reader(labels, nlp)
    check_writable(reviewed)
    with closing(Journal(journal)) as log:  # from here on nobody else writes the gold
        gold = Gold(reviewed, reader.read(reviewed, allow_empty=True) if reviewed.exists() else [])
        raw = RecordFile(texts, misaligned=reading.misaligned, **rules)
        files = {}
        for name, path in wanted.sources.items():
            if Path(path).exists():
                files[name] = RecordFile(Path(path), misaligned="snap", **rules)
            else:
                msg.warn(f"{path}: there is no such file yet, so {name} suggests nothing.")
        waiting = [file for file in (raw, *files.values()) if len(file) > CHECKED_FIRST]
        for file in (raw, *files.values()):
            if file not in waiting:
                list(file.check())

        faults: list[str] = []

        def report(fault: str) -> None:
            if fault not in faults:
                faults.append(fault)
                msg.warn(fault)

        folder = Path("training") / config
        model = folder / train_on / "model-best"
        sources = SuggestionSources(files, (lambda: load_model(model)) if wanted.model.use else None, report)
        if wanted.model.use:
            sources.get("")
        best = best_order(len(sources.speakers()))
        if wanted.order.then == "disagreement" and best != "disagreement":
            msg.info(f"There are no two sources of suggestions to disagree: texts are ordered by {best}.")
            wanted.order.then = best
        if wanted.order.then == "auto":
            wanted.order.then = best
        measure = disagreement if wanted.order.then == "disagreement" else uncertainty
        if select == "errors":
            split = data_config.assign(gold.records.values(), [])
            chosen = selection.likely_errors(folder / "label-errors.jsonl", model, split)
        else:
            chosen = selection.disagreements(Path(select), reader.read(Path(select))) if select else []
        if select:
            msg.info(f"{select}: {len(chosen):,} texts to look at again")

        engine = ReviewState(
            settings=wanted,
            units=questions,
            tokenizer=nlp.tokenizer,
            texts=raw.texts,
            record=raw.get,
            sources=sources,
            guidelines=read_guidelines(guidelines, kinds),
            journal=log,
            gold=gold,
            own_gold=lambda name: own_gold(reviewed.parent / "annotators" / f"{name}.jsonl", reader),
            sides=lambda found: splits.Sides(list(found), **shares, scored=labels.scored),
            score=lambda text: measure(sources.get(text, model=False)),
            chosen=chosen,
            selection=select,
        )
        if engine.repaired:
            msg.info(
                f"{counted(engine.repaired, 'finished text')} of {journal} had no line in {reviewed} and "
                "got it back; to take a text out, reject it on the page."
            )
        metrics = folder / "metrics.json"
        if not select:
            missing, left = first_model.missing(wanted.order.begin, engine.sides.counts), engine.unreviewed()
            if any(not left[part] for part in missing):
                needs = {"texts": texts, "data": data}
                msg.warn(first_model.need(missing, left, engine.sides.shares, **needs))
        closest = progress.read_closest(folder / "analysis.json")
        sock = web.listen(port, "scripts/review.py")
        port = sock.getsockname()[1]
        secret = web.session_secret(cache / "key")
        page = app.make_app(
            engine,
            labels,
            secret=secret,
            port=port,
            hosts=hosts,
            annotator=annotator,
            progress=lambda: progress.progress(
                engine.sides.counts,
                closest,
                begin=None if select or metrics.exists() else wanted.order.begin,
                left=None if select else engine.unreviewed(),
            ),
            faults=faults,
            idle=in_background(engine, waiting, report),
        )
        # Weasel kills this process a quarter of a second after Ctrl-C: no time to read files again.
        before, read = None, dict(gold.records)
        if started_by_name():
            paths = ProjectPaths(texts=texts, reviewed=reviewed, scheme=scheme, data=data, training=folder)
            before = read_snapshot(paths, train_on)

        def say_what_is_next() -> None:
            answered = [record for text, record in gold.records.items() if read.get(text) is not record]
            if before:
                print_lines(after_answers(before, answered, gold.records, engine.sides, labels))

        note = f"Answers go to {journal}, finished texts to {reviewed}."
        web.run_page(page, sock, secret, note, on_stop=say_what_is_next)


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

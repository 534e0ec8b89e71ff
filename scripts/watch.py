"""Compare results of `apply`, or counters of `serve`, with dev and test; measure F on a sample of texts."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import check_writable, sha256_file, write_files
from ie.core.pipelines import hash_pipeline, pipeline_exists
from ie.core.text import counted, print_table, text_hash, wrapped
from ie.data import options
from ie.data.config import DataConfig, load_data_config
from ie.data.records import Record
from ie.data.scheme import Scheme, load_scheme
from ie.deploy.apply import shard_runner
from ie.deploy.watch import counters, drift, production, reference, report
from ie.deploy.watch.applied import Results, open_results
from ie.deploy.watch.measures import Tally, values_of
from ie.deploy.watch.production import RandomSample
from ie.deploy.watch.reference import Reference
from ie.deploy.watch.report import WatchReport
from ie.reports import html


def main(
    results: Annotated[
        Path, typer.Option(help="Folder of the results of `apply`, or of the counters of `serve`")
    ] = Path("corpus/applied"),
    model: Annotated[
        Path, typer.Option(help="The pipeline that made them, a folder or a package")
    ] = options.SHIPPED_MODEL,
    corpus: options.Corpus = Path("corpus"),
    reviewed: options.Reviewed = Path("assets/reviewed.jsonl"),
    scheme: options.Scheme = Path("configs/llm.cfg"),
    data: options.Data = Path("configs/data.cfg"),
    day_column: Annotated[
        str, typer.Option(help="Input column with a date, to compare days; empty compares input files")
    ] = "",
    sample: Annotated[int, typer.Option(help="Texts drawn at random for review", min=1)] = 50,
    by_confidence: Annotated[
        bool, typer.Option(help="Draw less sure texts more often, and weight the score")
    ] = False,
    log: Annotated[Path, typer.Option(help="File of the scores on applied texts")] = Path(
        "training/production.jsonl"
    ),
    output: Annotated[
        Path, typer.Option(help="Folder for page, figures, reference and sample")
    ] = options.TRAINING / "watch",
) -> None:
    """Write OUTPUT/watch.html, watch.json and sample.jsonl; print what the page says first."""
    check_writable(output / "watch.html")
    labels = load_scheme(scheme)
    key = model_hash(model)
    served = counters.is_folder(results)
    applied = None if served else open_results(results, model, key, day_column)
    named = model.parent.name or model.name  # training/crf/reviewed/model-best, or en_deal_news
    known = reference.read_or_make(output / f"{named}.json", model, key, corpus, labels)
    drawn = RandomSample(sample, by_confidence=by_confidence)
    if applied:
        periods, left_out = read(applied, known, drawn)
        remarks, manifest = notes(applied, left_out), sha256_file(results / shard_runner.MANIFEST)
    else:
        periods, others = counters.read(results, model, key, known.tally.measures)
        remarks = [f"{counted(others, 'file')} of other pipelines are left out."] if others else []
        manifest = ""
    if not periods:
        raise UserError(
            f"{results}: has no text that isn't in train, dev or test; apply the pipeline to new texts, then "
            "watch these."
        )
    if day_column:
        periods = dict(sorted(periods.items()))
    compared = drift.compare(known.tally, periods)
    gold = read_gold(reviewed, labels, load_data_config(data))
    texts = drawn.texts()
    kinds = production.kinds_of(texts, known.words)
    score = production.score([one.record for one in texts], gold, known, labels, kinds, drawn.weights())
    shown = WatchReport(compared, score, len(texts), remarks, manifest)
    if applied:  # counters have no texts, and the sample of earlier results may be in review
        production.write_sample(output / "sample.jsonl", results, texts)
    links = html.page_links(output / "watch.html", output.parent)
    write_files(output, {"watch.html": report.page(shown, links), "watch.json": report.to_json(shown)})
    if score:
        production.log(log, score, known, results, f"{datetime.now(UTC):%Y-%m-%d %H:%M}")
    show(shown, output)


def model_hash(model: Path) -> str:
    """The hash of a pipeline, as `apply` keeps it."""
    if not pipeline_exists(model):
        raise UserError(f"{model}: there is no trained pipeline; run `weasel run train` first.")
    return hash_pipeline(model)


def read(applied: Results, known: Reference, drawn: RandomSample) -> tuple[dict[str, Tally], int]:
    """Tallies by file or day, and how many texts are known from training or gold; fills the sample."""
    periods: dict[str, Tally] = {}
    left_out = 0
    for one in applied.texts():
        if text_hash(one.record.text) in known.known:
            left_out += 1
            continue
        if one.period not in periods:
            periods[one.period] = Tally(known.tally.measures)
        periods[one.period].add(values_of(one.record, known.words))
        drawn.add(one)
    return periods, left_out


def read_gold(reviewed: Path, labels: Scheme, data: DataConfig) -> list[Record]:
    """Reviewed texts, those of the sample among them; none before the first review."""
    return data.reader(labels).read(reviewed, allow_empty=True) if reviewed.exists() else []


def notes(applied: Results, left_out: int) -> list[str]:
    """What was left out, in sentences."""
    lines = []
    if left_out:
        lines.append(f"{counted(left_out, 'text')} of train, dev or test are left out.")
    if empty := applied.empty_files():
        names = ", ".join(empty[:3]) + (", ..." if len(empty) > 3 else "")
        lines.append(f"{counted(len(empty), 'input file')} without texts: {names}.")
    if not applied.finished():
        lines.append("`apply` hasn't finished; these are its results so far.")
    return lines


def show(shown: WatchReport, output: Path) -> None:
    """Print the sentences and the table, and record them with wandb."""
    said = report.answer(shown)
    for note in shown.notes:
        msg.info(note)
    if total := shown.drift.total:
        rows = report.rows(total, shown.drift.reference.texts)
        print_table(rows, report.TABLE_HEADER)
        with tracking.run("watch", config={"texts": shown.drift.texts}) as tracker:
            tracker.table("watch", list(report.TABLE_HEADER), rows)
    print(wrapped(said.headline))
    for sentence in said.certainty:
        print(wrapped(sentence))
    print(wrapped(f"Next: {said.following.replace('`', '')}"))
    msg.good(str(output / "watch.html"))


if __name__ == "__main__":
    run(main)

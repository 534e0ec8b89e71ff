"""A page with the errors on dev as the model sees them, and hidden answers: imagine you're the model."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core.cli import run
from ie.core.files import atomic_write
from ie.core.pipelines import load_pipeline
from ie.core.text import counted, wrapped
from ie.data import options, records
from ie.data.scheme import load_scheme
from ie.evaluation import model_view, scoring
from ie.evaluation.baselines import predict_with
from ie.evaluation.model_view import ErrorView
from ie.evaluation.report import describe_error
from ie.reports import html


def main(
    model: options.Trained = options.MODEL,
    dev: options.Dev = Path("corpus/dev.jsonl"),
    train: options.Train = Path("corpus/train.jsonl"),
    scheme: options.Scheme = Path("configs/llm.cfg"),
    most: Annotated[int, typer.Option(help="Errors on the page, from the first text on", min=1)] = 200,
    output: Annotated[Path, typer.Option(help="The page")] = options.TRAINING / "model-view.html",
) -> None:
    """Write the page; print the number of errors by kind."""
    labels = load_scheme(scheme)
    labels.require_spans("this view of tokens")
    labels.refuse_overlapping("this view of tokens")
    gold = records.accepted(records.read_records(dev, labels=labels, allow_empty=True))
    scoring.require_scorable(gold, dev)
    known = records.accepted(records.read_records(train, labels=labels, allow_empty=True))
    nlp = load_pipeline(model, "run `weasel run train`")
    view = model_view.read_view(nlp)
    seen = model_view.count_values((nlp.make_doc(record.text) for record in known), view.attrs)
    predicted = predict_with(nlp)([record.text for record in gold])
    cases = model_view.cases(nlp, view, gold, predicted, seen, known)
    names = scoring.labels_of([*gold, *predicted], labels.span_labels)
    content = html.page(
        "model-view.html.j2",
        model=f"{model.parent.name}/{model.name}",
        view=view,
        n=len(gold),
        total=len(cases),
        cases=[shown(case, names) for case in cases[:most]],
        answer=answer(cases, len(gold)),
        links=html.page_links(output, output.parent),
    )
    with atomic_write(output) as file:
        file.write(content)
    for note in view.notes if not view.attrs else []:
        msg.warn(note)
    kinds = Counter(case.error.kind for case in cases)
    listed = ", ".join(f"{kinds[kind]:,} {kind}" for kind in scoring.KINDS if kinds[kind])
    errors, texts = counted(len(cases), "error"), counted(len(gold), "dev text")
    print(wrapped(f"{errors} on {texts}{': ' if listed else ''}{listed}"))
    msg.good(str(output))


def answer(cases: Sequence[ErrorView], n: int) -> html.Answer:
    """What the page says first."""
    if not cases:
        return html.Answer(
            f"No error on {counted(n, 'dev text')}.", [], "`weasel run diagnose`: is that true?"
        )
    kind, most = Counter(case.error.kind for case in cases).most_common(1)[0]
    return html.Answer(
        f"{counted(len(cases), 'error')} on {counted(n, 'dev text')}; most frequent kind: {kind} ({most:,}).",
        ["Imagine you're the model. How would you label the marked tokens, from this alone?"],
        "If you can't tell either, more training won't help: change the features, the window or the "
        "guidelines. If you can, look for what is missing in training: `weasel run review`.",
    )


def shown(case: ErrorView, labels: tuple[str, ...]) -> dict:
    """A case for the page."""
    colours = html.label_colours(labels)
    span = case.error.gold
    return {
        "id": case.record.title,
        "columns": case.columns,
        "before": case.start > 0,
        "after": case.start + len(case.columns) < case.tokens,
        "description": describe_error(case.record, case.error),
        "known": case.known,
        "string": f'"{case.record.text[span.start : span.end]}"' if span else "",
        "gold": html.marked(case.record, colours),
        "predicted": html.marked(case.predicted, colours),
    }


if __name__ == "__main__":
    run(main)

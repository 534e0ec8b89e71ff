"""Measure the confidence: calibration, ranking, promised precision and cost, on the demo and public sets."""

from pathlib import Path
from typing import Annotated

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import typer
from benchmarks import confidence
from benchmarks.confidence import DEMO, STEPS, KindMeasurement, Measurement
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import write_json
from ie.core.pipelines import load_pipeline
from ie.core.stats import Estimate
from ie.core.text import names_among
from ie.data import records
from ie.training.answer_training import NAME

# The most that the calibration error may be, and the draws that may break a promise.
GOAL = 0.05


def main(
    data_sets: Annotated[Path, typer.Option(help="Folder with the public sets")] = Path("data"),
    reviewed: Annotated[Path, typer.Option(help="Gold of the demo")] = Path("assets/reviewed.jsonl"),
    sets: Annotated[str, typer.Option(help="Which sets, separated by commas; empty for all")] = "",
    llm: Annotated[Path, typer.Option(help="What the LLM says about the demo, a baseline")] = Path(
        "corpus/llm.jsonl"
    ),
    config: Annotated[Path, typer.Option(help="Training config")] = Path("configs/efficient.cfg"),
    draws: Annotated[
        int, typer.Option(help="Divisions into dev and test that test the promises", min=1)
    ] = 200,
    cache: Annotated[Path, typer.Option(help="Folder that keeps the trained pipelines")] = Path(
        ".cache/benchmark-confidence"
    ),
    pipeline: Annotated[
        Path | None,
        typer.Option(help="Assembled pipeline: measure its links, amounts, relations and rows alone"),
    ] = None,
    test: Annotated[Path, typer.Option(help="Gold texts for it")] = Path("corpus/test.jsonl"),
    output: Annotated[Path, typer.Option(help="Folder for confidence.json and confidence.png")] = Path(
        "training/benchmark-confidence"
    ),
) -> None:
    """Print three tables; write OUTPUT/confidence.json and confidence.png."""
    if pipeline:
        gold = records.accepted(records.read_records(test))
        nlp = load_pipeline(pipeline, "run `weasel run components` first")
        show_kinds(confidence.measure_kinds(nlp, gold), len(gold))
        component = nlp.get_pipe(NAME)
        with nlp.select_pipes(disable=[NAME]):
            share = confidence.cost(nlp, component, [record.text for record in gold])
        msg.info(f"{NAME}: {100 * share:.0f} % more time, {len(component.to_bytes()) / 1e6:.3f} MB.")
        return
    results = []
    for name in names_among(tuple(STEPS), "--sets", sets) or STEPS:
        parts = confidence.load(name, data_sets, reviewed)
        nlp = confidence.train(name, parts, config, cache / name)
        asked = read_llm(llm, parts["test"]) if name == DEMO else {}
        results.append(confidence.measure(name, nlp, parts, llm=asked, draws=draws))
        show(results[-1:])
    write_json(output / "confidence.json", [result.to_json() for result in results])
    draw(results, output / "confidence.png")
    msg.good(f"{output / 'confidence.json'}, {output / 'confidence.png'}")


def read_llm(path: Path, test: list[records.Record]) -> dict[str, records.Record]:
    """The LLM's record of each test text; empty, with a warning, if one is missing."""
    reader = records.Reader(duplicates="first", bad_relations="drop")
    stored = reader.read(path, report=records.ReadReport()) if path.is_file() else []
    by_text = {record.text: record for record in stored}
    if any(record.text not in by_text for record in test):
        msg.warn(f"{path}: lacks test texts, so the LLM is left out; run `weasel run llm-annotate`.")
        return {}
    return {record.text: by_text[record.text] for record in test}


def show(results: list[Measurement]) -> None:
    """Print the figures."""
    msg.table(
        [
            (
                r.name, f"{r.texts}", f"{r.dev_answers}", f"{r.answers}", f"{r.precision:.2f}",
                shown(r.error), "-" if r.perfect is None else f"{r.perfect:.3f}", shown(r.area),
                *(shown(r.better[name]) if name in r.better else "-" for name in ("seen", "llm")),
                f"{100 * r.cost:.0f} %", f"{r.megabytes:.2f}",
            )
            for r in results
        ],
        header=(
            "Set", "texts", "dev n", "n", "P", "calibration error", "perfect", "AURC", "seen: +", "LLM: +",
            "time", "MB",
        ),
        divider=True,
    )  # fmt: skip
    msg.table(
        [
            (
                r.name, f"{p.target:.2f}", f"{100 * p.held:.1f} %", f"{100 * p.unpromised:.0f} %",
                f"{100 * p.coverage:.0f} %", "-" if p.precision is None else f"{p.precision:.3f}",
            )
            for r in results
            for p in r.promises
        ],
        header=("Set", "promise", "held", "no promise", "unread", "their P"),
        divider=True,
    )  # fmt: skip
    for r in results:
        by_label = ", ".join(f"{label} {error:.3f} (n={n})" for label, (n, error) in r.labels.items())
        msg.info(f"{r.name}: calibration error by label: {by_label}; not calibrated: {len(r.not_calibrated)}")


def show_kinds(kinds: list[KindMeasurement], texts: int) -> None:
    """Print the figures of links, amounts, relations and rows."""
    msg.table(
        [
            (
                k.kind, f"{k.found:,}", f"{k.answers:,}", f"{k.precision:.2f}", shown(k.error),
                "-" if k.perfect is None else f"{k.perfect:.3f}", shown(k.area), shown(k.better),
            )
            for k in kinds
        ],
        header=("Kind", "found", "n", "P", "calibration error", "perfect", "AURC", "product: +"),
        divider=True,
    )  # fmt: skip
    msg.info(f"On {texts:,} test texts; n: answers with a confidence.")


def shown(estimate: Estimate | None) -> str:
    """A figure with its interval."""
    if estimate is None:
        return "-"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def draw(results: list[Measurement], path: Path) -> None:
    """Reliability above, risk and coverage below, a column per set."""
    figure, axes = plt.subplots(2, len(results), figsize=(3 * len(results), 6), squeeze=False, layout="tight")
    for above, below, r in zip(*axes, results, strict=True):
        above.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        above.plot([p for p, _, _ in r.reliability], [share for _, share, _ in r.reliability], marker="o")
        above.set(title=f"{r.name} (n={r.answers:,})", xlabel="confidence", ylabel="share right", xlim=(0, 1))
        coverage = [(i + 1) / len(r.risks) for i in range(len(r.risks))]
        below.plot(coverage, r.risks)
        below.axhline(1 - r.precision, color="0.7", linewidth=1)
        below.set(xlabel="share of answers, most confident first", ylabel="share wrong", ylim=(0, None))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=80, metadata={"Software": None})
    except OSError as error:
        raise UserError(f"{path}: can't be written ({error.strerror}); name another --output.") from error
    plt.close(figure)


if __name__ == "__main__":
    run(main)

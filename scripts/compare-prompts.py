"""Score several forms of the prompt on dev: the prompt matters more than the choice of a small model."""

import time
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import write_json
from ie.core.settings import read_config
from ie.core.stats import format_score
from ie.core.text import names_among
from ie.data import options
from ie.data.config import load_data_config
from ie.data.pinned import read_pinned
from ie.data.records import write_records
from ie.data.scheme import Scheme, load_scheme
from ie.evaluation.scoring import ALL, LabelScores, count, score_labels, view
from ie.llm import pipeline


def main(
    config: options.LlmConfig = Path("configs/llm.cfg"),
    forms: Annotated[Path, typer.Option(help="Forms to compare, a section each.")] = Path(
        "configs/forms.cfg"
    ),
    provider: options.Provider = "",
    reviewed: options.Reviewed = Path("assets/reviewed.jsonl"),
    examples: options.Examples = Path("assets/examples.jsonl"),
    output: Annotated[Path, typer.Option(help="Scores.")] = Path("training/prompts.json"),
    answers: Annotated[
        Path | None, typer.Option(help="Folder for each form's annotation of dev, for `agreement`.")
    ] = None,
    data: options.Data = Path("configs/data.cfg"),
    limit: Annotated[int, typer.Option(help="First so many dev texts only (0: all).")] = 0,
    only: Annotated[str, typer.Option(help="Names of forms, separated by commas.")] = "",
) -> None:
    """Print P, R and F on dev, seconds per text and dropped answers of each form."""
    scheme = load_scheme(config)
    settings = load_data_config(data)
    reader = settings.reader(scheme)
    split = settings.assign(reader.read_reviewed(reviewed), [])
    dev = split.dev[:limit] if limit else split.dev
    if not dev:
        raise UserError(
            f"{reviewed}: no reviewed text is for dev; review more, or raise dev_percent in {data}."
        )
    # Where nothing is pinned yet, all forms choose their examples from gold.
    common = pipeline.example_overrides(reviewed, examples if read_pinned(examples) else None, settings)
    sections = read_forms(forms, only)
    results, counts = [], {}
    for name, settings in sections.items():
        if absent := lacking(config, settings):
            msg.warn(f"{forms}: [{name}] sets {absent}, which {config} doesn't have; it is left out.")
            continue
        nlp = pipeline.assemble(
            pipeline.load_config(config, pipeline.provider_file(provider), {**common, **settings}), config
        )
        pipeline.refuse_leaks(nlp, [*split.dev, *split.test])
        started = time.perf_counter()
        try:
            with pipeline.progress(nlp, len(dev), name):
                answered = list(pipeline.annotate(nlp, dev))
        finally:
            for model in pipeline.llm_models(nlp):
                model.close()
        if answers:
            write_records(answers / f"{name}.jsonl", (record for record, _ in answered))
        spent = [call.seconds for _, calls in answered for call in calls]
        counts[name] = count(
            view(dev, scheme.scored),
            view((record for record, _ in answered), scheme.scored),
            scheme.scored_labels,
        )
        notes = pipeline.count_notes(record for record, _ in answered)
        results.append(
            {
                "form": name,
                "seconds": sum(spent) / len(dev) if spent else (time.perf_counter() - started) / len(dev),
                "dropped": sum(notes["dropped"].values()),
                "errors": sum(notes["errors"].values()),
                "settings": settings,
            }
        )
    scored = score_labels(counts, scheme.scored_labels)
    print_table(results, scored, scheme, len(dev))
    save(results, scored, len(dev), output)


def read_forms(path: Path, only: str) -> dict[str, dict]:
    """The forms of a file, or some of them: for each name, settings of the config by dotted name."""
    config = read_config(path, interpolate=False)
    forms = {name: dict(flat(settings)) for name, settings in config.items()}
    return {name: forms[name] for name in names_among(tuple(forms), f"{path}: form", only) or forms}


def lacking(config: Path, settings: dict) -> str:
    """The first component that a form sets and the config doesn't have; "" if there is none."""
    there = read_config(config, interpolate=False).get("components", {})
    named = (name.split(".") for name in settings)
    return next((".".join(n[:2]) for n in named if n[0] == "components" and n[1] not in there), "")


def flat(settings: dict, prefix: str = "") -> list[tuple[str, object]]:
    """Nested sections as dotted names; one that names a function is a single setting, replaced whole."""
    pairs: list[tuple[str, object]] = []
    for name, value in settings.items():
        whole = not isinstance(value, dict) or "." in name or any(key.startswith("@") for key in value)
        pairs += [(f"{prefix}{name}", value)] if whole else flat(value, f"{prefix}{name}.")
    return pairs


def print_table(results: list[dict], scored: LabelScores, scheme: Scheme, n: int) -> None:
    """Print one row per form, and the forms that can't be told apart."""
    rows = []
    for result in results:
        by_label = scored.scores[result["form"]]
        f = [format_score(by_label[label][2], documents=n) for label in (ALL, *scheme.scored_labels)]
        rows.append((result["form"], *f, f"{result['seconds']:.2f}", str(result["dropped"])))
    header = ("form", f"F (n={n})", *scheme.scored_labels, "s/text", "dropped")
    msg.table(rows, header=header, divider=True, aligns=("l", *"r" * (len(header) - 1)))
    if len(results) > 1:
        for group in scored.groups():
            msg.info(f"Can't be told apart on {n} texts: {', '.join(group)}.")
        msg.info("The form chosen here scores too high on these texts; `evaluate` scores it on test.")


def save(results: list[dict], scored: LabelScores, n: int, output: Path) -> None:
    """Write what the table shows, unrounded, and log it."""
    for result in results:
        by_label = scored.scores[result["form"]]
        result["f"] = {"micro": by_label[ALL][2].rounded()}
        result["f"] |= {label: by_label[label][2].rounded() for label in by_label if label != ALL}
        result["seconds"] = round(result["seconds"], 3)
    write_json(output, {"documents": n, "forms": results})
    with tracking.run("compare-prompts") as tracker:
        rows = [[r["form"], *(r["f"]["micro"] or [None] * 3), r["seconds"], r["dropped"]] for r in results]
        tracker.table("prompts", ["form", "f", "low", "high", "seconds", "dropped"], rows)


if __name__ == "__main__":
    run(main)

"""Combine rules, the trained pipeline and the LLM into suggestions for review, and score each on dev."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core import tracking
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import check_writable, write_json
from ie.core.text import print_table
from ie.data import options
from ie.data.config import load_data_config
from ie.data.records import Reader, accepted, write_records
from ie.data.scheme import load_scheme
from ie.evaluation import scoring
from ie.evaluation.scoring import LabelScores
from ie.training.distill import combined_suggestions


def main(
    config: Annotated[Path, typer.Option(help="Sources of each label and how to combine them.")] = Path(
        "configs/suggest.cfg"
    ),
    scheme: options.Scheme = Path("configs/llm.cfg"),
    texts: options.Texts = Path("assets/texts.jsonl"),
    reviewed: options.Reviewed = Path("assets/reviewed.jsonl"),
    dev: options.Dev = Path("corpus/dev.jsonl"),
    llm: options.Llm = Path("corpus/llm.jsonl"),
    patterns: options.Patterns = "assets/patterns.jsonl",
    gazetteer: options.Gazetteer = "assets/companies.csv",
    gazetteer_label: options.GazetteerLabel = "",
    model: options.Trained = options.MODEL,
    data: options.Data = Path("configs/data.cfg"),
    output: Annotated[Path, typer.Option(help="Suggestions.")] = Path("corpus/suggest.jsonl"),
    scores: Annotated[Path, typer.Option(help="Scores on dev.")] = Path("training/suggest.json"),
) -> None:
    """Print P, R and F of every source and of their combination; write suggestions for unreviewed texts."""
    labels = load_scheme(scheme)
    labels.require_spans("this combination of sources")
    labels.refuse_overlapping("this combination of sources")
    rules = combined_suggestions.load_rules(config, labels)
    settings = load_data_config(data)
    reader = Reader(labels, settings.blank().tokenizer, "snap", settings.reading.duplicates, "drop")
    done = {record.text for record in reader.read(reviewed, allow_empty=True)} if reviewed.exists() else set()
    todo = [record for record in reader.read(texts, allow_empty=True) if record.text not in done]
    gold = accepted(reader.read(dev, allow_empty=True)) if dev.exists() else []
    for path in (output, scores):
        check_writable(path)
    records_asked = [*todo, *gold]
    used = {name for rule in rules.values() for name in rule.sources}
    makers = {
        "rules": lambda: combined_suggestions.from_rules(
            records_asked, settings.texts, patterns, gazetteer, gazetteer_label
        ),
        "model": lambda: combined_suggestions.from_model(records_asked, model),
        "llm": lambda: combined_suggestions.from_llm(records_asked, llm, reader),
    }
    sources = [make() for name, make in makers.items() if name in used]
    for source in sources:
        for sentence in filter(None, (source.missing, *source.notes)):
            msg.warn(f"{source.name}: {sentence}")
    if all(source.missing for source in sources):
        raise UserError(f"{config}: none of its sources ({', '.join(sorted(used))}) has anything to suggest.")
    suggested = combined_suggestions.combine(todo, sources, rules)
    table = combined_suggestions.score(
        gold, sources, combined_suggestions.combine(gold, sources, rules).records, labels.span_labels
    )
    scored = scoring.score_labels(table if gold else {}, labels.span_labels)
    write_records(output, suggested.records)
    report(scored, len(gold))
    kinds = Counter(span.model_extra["source"] for record in suggested.records for span in record.spans)
    msg.good(
        f"{output}: {sum(kinds.values()):,} spans for {len(todo):,} unreviewed texts "
        f"({', '.join(f'{n:,} {name}' for name, n in kinds.most_common()) or 'none'}). Left out: "
        f"{suggested.outvoted:,} outvoted, {suggested.overlapped:,} that overlap a better one, "
        f"{suggested.unknown:,} of labels that aren't in the scheme."
    )
    write_json(scores, {"documents": len(gold), "sources": scored.figures()})
    with tracking.run("suggest", config={"texts": len(gold)}) as tracker:
        tracker.summary(scored.figures())


def report(scored: LabelScores, n: int) -> None:
    """Print one row per source and label, and the sources that can't be told apart."""
    if not n:
        msg.warn("There is no dev text, so nothing was scored; review some texts and run `weasel run split`.")
        return
    header = ("source", "label", "n", "P", "R", "F")
    print_table(scored.rows(), header, "llrlll")
    msg.info(f"Exact spans on {n:,} dev texts; n = annotated spans, ± = 95 % bootstrap interval over texts.")
    if "model" in scored.counts:
        msg.info("Dev may have chosen the pipeline's checkpoint, so its score can be slightly too high.")
    if "llm" in scored.counts:
        msg.info(scoring.LLM_ON_DEV)
    for group in scored.groups():
        msg.info(f"Can't be told apart on {n:,} texts: {', '.join(group)}.")


if __name__ == "__main__":
    run(main)

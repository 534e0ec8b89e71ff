"""Training of what follows entities in a pipeline: the linker, relations and categories."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from wasabi import msg

from ie.core import tracking
from ie.core.errors import UserError
from ie.core.files import published
from ie.core.stats import intervals
from ie.data import corpora, records
from ie.data.gazetteer import read_gazetteer
from ie.data.scheme import Scheme
from ie.evaluation import categories, relations, scoring
from ie.evaluation.baselines import predict_with
from ie.evaluation.links import NIL, mentions
from ie.training import linker_training, loop
from ie.training.untrained import build

COMPONENTS = ("linker", "relations", "categories")


@dataclass(frozen=True)
class Corpus:
    """The gold files that components are trained on; dev picks checkpoints and thresholds."""

    train: Path
    dev: Path
    labels: Scheme


def without_data(corpus: Corpus, table: Path) -> dict[str, str]:
    """The components that the project has no data for, each with the reason."""
    train = records.accepted(records.read_records(corpus.train, allow_empty=True))
    linked = any((span.model_extra or {}).get("kb_id") for record in train for span in record.spans)
    missing = {}
    if not table.is_file() or not linked:
        missing["linker"] = f"no span of {corpus.train} has a kb_id, or {table} is missing"
    if not corpus.labels.relation_labels or not any(record.relations for record in train):
        missing["relations"] = f"no relation in the scheme, or none in {corpus.train}"
    if not corpus.labels.categories or not any(map(corpora.category_of, train)):
        missing["categories"] = f"no category in the scheme, or none in {corpus.train}"
    return missing


def train_linker(corpus: Corpus, config: Path, table: Path, output: Path, seed: int) -> dict[str, Any]:
    """Index the table of names, learn from reviewed links how to choose in it; write OUTPUT/model-best.

    Args:
        table: CSV of the gazetteer. legal_forms.txt beside it lists what may be missing from a name.

    Raises:
        UserError: a link to an id that is not in the table, or nothing to learn from.
    """
    nlp = build(config, "linker")
    component = nlp.get_pipe("linker")
    entries = read_gazetteer(table)
    legal_forms = linker_training.read_forms(table.with_name("legal_forms.txt"))
    component.initialize(rows=linker_training.rows(entries), legal_forms=legal_forms)
    known = {entry.id for entry in entries}
    linked = []
    for path in (corpus.train, corpus.dev):
        gold = records.accepted(records.read_records(path, tokenizer=nlp.tokenizer, allow_empty=True))
        linked.append(mentions(nlp, gold, component.cfg["labels"]))
        if lost := sorted({mention.gold for mention in linked[-1] if mention.gold != NIL} - known):
            raise UserError(
                f"{path}: {len(lost)} ids are not in {table} (the first: {lost[0]}); add their rows, or link "
                "those spans to NIL."
            )
    linker_training.fit(component, *linked, seed=seed)
    with published(output / "model-best") as folder:
        nlp.to_disk(folder)
    return {
        "entries": len(component.table),
        "names": len(component.table.arrays["owners"]),
        "mentions": len(linked[0]),
        "threshold": round(component.model["threshold"], 4),
        "dev_mentions": len(linked[1]),
    }


def train_relations(
    corpus: Corpus, config: Path, output: Path, nlp: Language, **options: Any
) -> dict[str, Any]:
    """Train the relations on gold entities, set the threshold on dev; write OUTPUT/model-best."""
    examples = corpora.require_labels(
        corpus.train, corpora.load(corpus.train, nlp, corpus.labels), corpus.labels, "relation"
    )
    gold = corpora.load(corpus.dev, nlp, corpus.labels)
    result = _train("relations", corpus, config, output, **options)
    trained = spacy.load(output / "model-best")
    component = trained.get_pipe("relations")
    relations.set_threshold(trained, gold)
    component.to_disk(output / "model-best" / "relations")
    counts = relations.count(gold, relations.predict(trained, gold), component.labels).sum(axis=1)
    return {
        "examples": result["examples"],
        "relations": dict(sorted(examples.items())),
        "step": result["step"],
        "threshold": component.threshold,
        "dev_documents": len(gold),
        "f": intervals(counts)[2].as_dict(),
    }


def train_categories(
    corpus: Corpus, config: Path, output: Path, nlp: Language, **options: Any
) -> dict[str, Any]:
    """Train the classifier on the texts that have one category; write OUTPUT/model-best."""
    known = corpora.load(corpus.train, nlp, corpus.labels)
    examples = corpora.require_labels(corpus.train, known, corpus.labels, "category")
    gold = corpora.load(corpus.dev, nlp, corpus.labels)
    for path, texts in ((corpus.train, known), (corpus.dev, gold)):
        if left_out := sum(corpora.category_of(record) is None for record in texts):
            msg.warn(f"{path}: {left_out:,} of {len(texts):,} texts don't have one category and aren't used.")
    result = _train("categories", corpus, config, output, **options)
    gold = [record for record in gold if corpora.category_of(record)]
    predicted = predict_with(spacy.load(output / "model-best"))([record.text for record in gold])
    counts = scoring.count(
        *(scoring.view(part, "category") for part in (gold, predicted)), corpus.labels.categories
    )
    return {
        "examples": dict(sorted(examples.items())),
        "without_category": len(known) - sum(examples.values()),
        "step": result["step"],
        "dev_documents": len(gold),
        "macro_f": categories.macro(counts).as_dict(),
    }


def _train(name: str, corpus: Corpus, config: Path, output: Path, **options: Any) -> dict[str, Any]:
    tracking.prepare(f"train-{name}", name=f"train {name}")
    return loop.train(config, train=corpus.train, dev=corpus.dev, output=output, quiet=False, **options)

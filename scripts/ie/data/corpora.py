"""Records as spaCy's training examples, with relations, which `.spacy` files can't hold."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import spacy
from spacy.language import Language
from spacy.training import Example

from ie.core.errors import UserError
from ie.data.docs import entities_doc, from_doc, read_docbin, to_doc
from ie.data.records import Reader, Record, accepted
from ie.data.scheme import Scheme


def category_of(record: Record) -> str | None:
    """The category of a text; None if it has none, or several."""
    return record.categories[0] if len(record.categories) == 1 else None


@spacy.registry.readers("ie.Records.v1")
def create_records_reader(
    path: str, entities: bool = True, one_category: bool = False, complete: bool = False
) -> Callable[[Language], Iterable[Example]]:
    """A training corpus from the accepted records of a file, as `split` writes it.

    Args:
        entities: give the component the gold entities.
        one_category: leave out texts that don't have exactly one category; their other categories are absent.
        complete: categories that a text doesn't list are absent; for spaCy they are unknown otherwise.
    """
    records: list[Record] = []

    def read(nlp: Language) -> Iterator[Example]:
        # spaCy calls this once per pass over the data
        if not records:
            records.extend(load(Path(path), nlp))
        for record in records:
            if one_category and category_of(record) is None:
                continue
            predicted = entities_doc(record, nlp) if entities else nlp.make_doc(record.text)
            example = Example(predicted, to_doc(record, nlp))
            if one_category or complete:
                labels = sorted({label for r in records for label in r.cats})
                named = {category_of(record): 1.0} if one_category else record.cats
                example.reference.cats = {label: float(named.get(label, 0)) for label in labels}
            yield example

    return read


@spacy.registry.readers("ie.Kept.v1")
def create_kept_reader(corpus: Callable[[Language], Iterable[Example]]) -> Callable:
    """Another corpus, read once for all passes over it; spaCy copies what it changes in an example."""
    examples: list[Example] = []

    def read(nlp: Language) -> Iterator[Example]:
        if not examples:
            examples.extend(corpus(nlp))
        return iter(examples)

    return read


def load(path: Path, nlp: Language, labels: Scheme | None = None) -> list[Record]:
    """Accepted records, at least one; their spans are moved to the tokens of `nlp`, with a warning."""
    if path.suffix == ".spacy":
        records = list(map(from_doc, read_docbin(path).get_docs(nlp.vocab)))
    else:
        reader = Reader(labels, nlp.tokenizer, misaligned="snap", duplicates="first", bad_relations="drop")
        records = accepted(reader.read(path))
    if not records:
        raise UserError(f"{path}: holds no accepted example; review some texts, then run `weasel run split`.")
    return records


def require_labels(path: Path, records: Sequence[Record], scheme: Scheme, kind: str) -> Counter[str]:
    """How many examples each relation or category of the scheme has.

    Args:
        kind: "relation" or "category". The scheme must have labels of it, and each of them an example.
    """
    labels = scheme.labels(kind)
    plural = {"relation": "relations", "category": "categories"}[kind]
    if not labels:
        raise UserError(
            f"{scheme.path}: the scheme has no {plural}, so there is nothing to train; put labels into "
            f"[components.{plural}.task], or leave this command out."
        )
    if kind == "category" and not scheme.exclusive:
        raise UserError(
            f"{scheme.path}: a text may have several of the categories, or none, and this command predicts "
            "one; in a scheme without spans set vars.config to multilabel instead."
        )
    if kind == "relation" and not any(len(record.spans) > 1 for record in records):
        raise UserError(
            f"{path}: no text has two spans that a relation could join; review some that have, then run "
            "`weasel run split`."
        )
    if kind == "relation":
        counts = Counter(relation.label for record in records for relation in record.relations)
    else:
        counts = Counter(filter(None, map(category_of, records)))
    if missing := [label for label in labels if not counts[label]]:
        raise UserError(
            f"{path}: no example of the {kind} {missing[0]!r}; review some texts that have it, then run "
            f"`weasel run split`, or take it out of {scheme.path}."
        )
    return counts

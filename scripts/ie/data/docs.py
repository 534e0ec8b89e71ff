"""Records as spaCy's Docs, and Docs as records."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab

from components import (  # noqa: F401  (register factories, extensions)
    answer_confidence,
    categories,
    confidence,
    crf,
    relations,
    span_classifier,
)
from components.span_classifier import annotated_spans, position_key, set_spans
from ie.core.errors import UserError
from ie.core.text import one_line
from ie.data.records import Record, Relation, Span, overlap, show_span

# Extensions of spans, and keys of a record's spans: missing where they aren't calibrated.
SPAN_CONFIDENCES = ("confidence", "link_confidence", "amount_confidence")
# Keys of relations.
RELATION_CONFIDENCES = ("confidence", "row_confidence")


def to_doc(record: Record, nlp: Language, *, overlapping: bool = False) -> Doc:
    """A tokenised Doc with the record's spans and categories, and `doc._.relations` by span.

    Spans are entities, and tokens outside them are O, not missing. Spans that overlap, and all spans of an
    `overlapping` scheme, are `doc.spans["sc"]` instead; `annotated_spans` reads either. Texts may be longer
    than `nlp.max_length`, as no model reads them here.
    """
    doc = nlp.tokenizer(record.text)
    spans = []
    for span in record.spans:
        kb_id = (span.model_extra or {}).get("kb_id") or ""
        marked = doc.char_span(span.start, span.end, label=span.label, kb_id=str(kb_id))
        if marked is None:
            raise UserError(
                f"record {record.id!r}: span {show_span(record.text, span)} doesn't start and end on a "
                "token; read it with misaligned 'snap' or 'drop', or correct its offsets."
            )
        spans.append(marked)
    set_spans(doc, spans, overlapping=overlapping or overlap(record.spans))
    doc.cats = dict(record.cats)
    if record.relations:
        # a Doc sorts its spans; those of a record may be in any order
        order = sorted(range(len(spans)), key=lambda i: position_key(spans[i]))
        position = {span: number for number, span in enumerate(order)}
        doc._.relations = [
            {"head": position[r.head], "child": position[r.child], "label": r.label} for r in record.relations
        ]
    return doc


def entities_doc(record: Record, nlp: Language) -> Doc:
    """A Doc with the record's entities alone: the input of the components after the `ner`."""
    # without the gold links, which the linker must not see
    spans = [Span(start=span.start, end=span.end, label=span.label) for span in record.spans]
    return to_doc(Record(text=record.text, spans=spans), nlp)


def from_doc(doc: Doc) -> Record:
    """The record of a Doc: its text, its annotated spans (with `kb_id` where linked) and `cats`."""
    spans = []
    for ent in annotated_spans(doc):
        extra = {"kb_id": ent.kb_id_} if ent.kb_id_ else {}
        spans.append(Span(start=ent.start_char, end=ent.end_char, label=ent.label_, **extra))
    return Record(text=doc.text, spans=spans, **({"cats": dict(doc.cats)} if doc.cats else {}))


def pipeline_record(doc: Doc) -> Record:
    """The record of all predictions of a pipeline, whatever components it has.

    Spans have their `text`, the id they link to (`kb_id`) and their amount; relations have their `score`. An
    amount is `money` as predicted, and `value` in the form of gold if it is definite: "5000000 USD" or
    "10-15 EUR". Spans have `confidence`, `link_confidence` and `amount_confidence`, relations `confidence`
    and `row_confidence`, where these are calibrated.
    """
    record = from_doc(doc)
    for span, ent in zip(record.spans, annotated_spans(doc), strict=True):
        span.text = ent.text
        for name in SPAN_CONFIDENCES:
            if (probability := getattr(ent._, name)) is not None:
                setattr(span, name, probability)
        if money := ent._.money if ent.has_extension("money") else None:
            span.money = money
            if value := gold_value(money):
                span.value = value
    record.relations = [Relation(**relation) for relation in doc._.relations]
    return record


def gold_value(money: Mapping[str, Any]) -> str:
    """A predicted amount in the form of gold, "" if it isn't definite."""
    if money["low"] is None:
        return ""
    return f"{'-'.join(dict.fromkeys((money['low'], money['high'])))} {money['currency']}"


def docbin(docs: Iterable[Doc]) -> DocBin:
    """Docs with their spans in spaCy's training format; the same records give the same bytes."""
    return DocBin(attrs=["ENT_IOB", "ENT_TYPE", "ENT_KB_ID"], store_user_data=False, docs=docs)


def read_docbin(path: Path) -> DocBin:
    """A `.spacy` file."""
    try:
        return DocBin().from_disk(path)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such corpus; run `weasel run split` first.") from None
    except Exception as error:  # msgpack's and zlib's own
        raise UserError(
            f"{path}: is no spaCy corpus ({one_line(error)}); run `weasel run split` again."
        ) from None


def read_docs(path: Path, vocab: Vocab | None = None) -> list[Doc]:
    """The examples of a `.spacy` file, at least one.

    Args:
        vocab: for attributes that depend on the language, such as LIKE_NUM.
    """
    docs = list(read_docbin(path).get_docs(vocab or spacy.blank("xx").vocab))
    if not docs:
        raise UserError(f"{path}: holds no examples; review some texts, then run `weasel run split`.")
    return docs

"""Turn annotated texts into rows of the database, in the same way for pipeline output and gold."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from spacy.language import Language
from spacy.pipeline import Sentencizer
from spacy.tokens import Doc

from ie.core.files import json_text
from ie.core.text import text_hash
from ie.data.corpora import category_of
from ie.data.docs import pipeline_record
from ie.data.gazetteer import GazetteerEntry
from ie.data.records import Record, Span
from ie.database.schema import VERSION, Columns, DealMapping
from ie.evaluation import database_rows

Rows = dict[str, list[tuple]]
SENTENCES = Sentencizer()


@dataclass(frozen=True)
class NormalisedAmount:
    """A normalised amount in the major unit; low and high are the ends of a range."""

    low: Decimal
    amount: Decimal
    high: Decimal
    currency: str
    rule: str | None = None

    def columns(self) -> tuple:
        """Values of the amount columns."""
        return (number(self.low), number(self.amount), number(self.high), self.currency)


@dataclass(frozen=True)
class Mention:
    """An entity; `link` is the id of its entry, None if it is NIL or not linked."""

    start: int
    end: int
    label: str
    link: str | None = None
    amount: NormalisedAmount | None = None


@dataclass(frozen=True)
class DocumentAnnotations:
    """Everything known about a text.

    Attributes:
        relations: (head, child, label, score); head and child are indices into `entities`, gold has no score.
        sentences: (start, end) of each sentence, in characters.
    """

    record: Record
    entities: Sequence[Mention]
    relations: Sequence[tuple[int, int, str, float | None]]
    category: str | None
    category_score: float | None
    sentences: Sequence[tuple[int, int]]


def document_id(text: str) -> str:
    """The key of a text in the database."""
    return text_hash(text)


def fingerprint(record: Record, model_id: str, basis: str, *, gold: bool) -> str:
    """A hash that changes whenever the rows of a text may change.

    Args:
        basis: hash of what the rows of all texts depend on (see `basis`).
        gold: whether the rows are made from the record's annotation, so that it counts too.
    """
    parts = [model_id, basis, record.to_line() if gold else [record.text, record.meta]]
    return _short(parts)


def basis(columns: Columns, companies: Sequence[GazetteerEntry]) -> str:
    """Hash of what the rows of all texts depend on besides the model: the mapping and the company names."""
    return _short([VERSION, columns.model_dump(), [[e.id, e.name] for e in companies]])


def _short(parts: list) -> str:
    text = json_text(parts, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def annotations_from_gold(records: Iterable[Record], nlp: Language) -> Iterator[DocumentAnnotations]:
    """Take the annotations from reviewed records.

    Args:
        nlp: provides tokens and sentences.
    """
    for record in records:
        yield _annotations(record, record, category_of(record), None, nlp.make_doc(record.text))


def annotations_from_pipeline(nlp: Language, records: Iterable[Record]) -> Iterator[DocumentAnnotations]:
    """Annotate texts with a pipeline; annotation in the records is ignored."""
    for doc, record in nlp.pipe(((record.text, record) for record in records), as_tuples=True):
        category = max(sorted(doc.cats), key=doc.cats.__getitem__, default=None)
        # Further digits depend on the batch that a text was processed in.
        score = None if category is None else round(doc.cats[category], 3)
        yield _annotations(record, pipeline_record(doc), category, score, doc)


def _annotations(
    record: Record, annotated: Record, category: str | None, score: float | None, doc: Doc
) -> DocumentAnnotations:
    entities = []
    for span in annotated.spans:
        link = database_rows.link_of(span)
        link = None if link == database_rows.NIL else link
        entities.append(Mention(span.start, span.end, span.label, link, _amount(span)))
    relations = [(r.head, r.child, r.label, getattr(r, "score", None)) for r in annotated.relations]
    return DocumentAnnotations(record, entities, relations, category, score, sentences(doc))


def _amount(span: Span) -> NormalisedAmount | None:
    if money := getattr(span, "money", None):
        if money.get("amount") is None:
            return None
        low, amount, high = (Decimal(money[name]) for name in ("low", "amount", "high"))
        return NormalisedAmount(low, amount, high, money["currency"], money["rule"])
    if value := database_rows.money_of(span):
        low, high, currency = value
        return NormalisedAmount(low, (low + high) / 2, high, currency, "reviewed")
    return None


def sentences(doc: Doc) -> list[tuple[int, int]]:
    """Sentence boundaries: the pipeline's, or those of a rule-based sentencizer."""
    if not doc.has_annotation("SENT_START"):
        SENTENCES(doc)
    return [(sentence.start_char, sentence.end_char) for sentence in doc.sents]


def number(value: Decimal) -> int | float:
    """As stored in SQLite: integers are exact up to 64 bits."""
    return int(value) if value == value.to_integral_value() and abs(value) < 2**63 else float(value)


def fill(
    annotations: DocumentAnnotations, columns: Columns, names: Mapping[str, str], model_id: str, mark: str
) -> Rows:
    """The rows of a text, by table.

    Args:
        names: company names by id.
        mark: the fingerprint of the text.
    """
    record = annotations.record
    key = document_id(record.text)
    keys = [f"{key}:{e.start}-{e.end}:{e.label}" for e in annotations.entities]
    meta = record.meta

    def meta_value(name: str) -> str | None:
        return str(meta[name]) if name and meta.get(name) is not None else None

    rows: Rows = {
        "documents": [
            (
                key,
                record.text,
                meta_value(columns.documents.source),
                meta_value(columns.documents.writer),
                meta_value(columns.documents.date),
                json_text(meta, sort_keys=True),
                annotations.category,
                annotations.category_score,
                model_id,
                mark,
            )
        ],
        "mentions": [
            (
                mention,
                key,
                entity.start,
                entity.end,
                entity.label,
                record.text[entity.start : entity.end],
                entity.link,
                *(entity.amount.columns() if entity.amount else (None,) * 4),
                entity.amount.rule if entity.amount else None,
            )
            for mention, entity in zip(keys, annotations.entities, strict=True)
        ],
        "relations": [
            (f"{key}:{label}:{head}>{child}", key, label, keys[head], keys[child], score)
            for head, child, label, score in annotations.relations
        ],
    }
    return rows | deals(annotations, columns.deals, names)


@dataclass
class _Deal:
    """A company in a text, as (id or None, name), with the mentions its deal is made of."""

    company: tuple[str | None, str]
    amounts: list[Mention]
    investors: list[Mention]
    mentions: list[Mention]


def deals(annotations: DocumentAnnotations, mapped: DealMapping, names: Mapping[str, str]) -> Rows:
    """The rows of deals, investments and amounts of a text.

    Mentions of one company are merged: by their link, or by their name if they have none.
    """
    text, key = annotations.record.text, document_id(annotations.record.text)
    by_company: dict[tuple, _Deal] = {}

    def company_of(entity: Mention) -> tuple[str | None, str]:
        written = text[entity.start : entity.end]
        return entity.link, names.get(entity.link, written) if entity.link else written

    for head, child, label, _ in annotations.relations:
        for kind in ("amounts", "investors"):
            end = getattr(mapped, kind).get(label)
            if end is None:
                continue
            company, other = (head, child) if end == "head" else (child, head)
            company, other = annotations.entities[company], annotations.entities[other]
            deal = by_company.setdefault(_same(company_of(company)), _Deal(company_of(company), [], [], []))
            getattr(deal, kind).append(other)
            deal.mentions += [company, other]
    rows: Rows = {"deals": [], "investments": [], "amounts": []}
    for deal in by_company.values():
        company_id, company = deal.company
        deal_id = f"{key}:{company_id or company}"
        sentence = _sentences(deal.mentions, annotations.sentences)
        amounts = _distinct(deal.amounts)
        main = main_amount(amounts, mapped.main)
        rows["deals"].append(
            (
                deal_id,
                key,
                company_id,
                company,
                *(main.columns() if main else (None,) * 4),
                annotations.category,
                *sentence,
            )
        )
        for position, amount in enumerate(amounts, start=1):
            rows["amounts"].append(
                (
                    f"{deal_id}:{position}",
                    deal_id,
                    key,
                    company_id,
                    company,
                    *amount.columns(),
                    int(amount is main),
                    *sentence,
                )
            )
        investors = {_same(company_of(entity)): company_of(entity) for entity in reversed(deal.investors)}
        for investor_id, investor in investors.values():
            rows["investments"].append(
                (
                    f"{deal_id}:{investor_id or investor}",
                    deal_id,
                    key,
                    investor_id,
                    investor,
                    company_id,
                    company,
                    *sentence,
                )
            )
    return rows


def _same(company: tuple[str | None, str]) -> tuple:
    """Key that is equal for mentions of the same company."""
    link, name = company
    return (link,) if link else ("", " ".join(name.casefold().split()))


def _distinct(entities: Iterable[Mention]) -> list[NormalisedAmount]:
    """Amounts in text order without duplicates; mentions without a number are left out."""
    distinct: dict[tuple, NormalisedAmount] = {}
    for entity in sorted(entities, key=lambda entity: entity.start):
        if entity.amount is not None:
            distinct.setdefault(entity.amount.columns(), entity.amount)
    return list(distinct.values())


def main_amount(amounts: Sequence[NormalisedAmount], rule: str) -> NormalisedAmount | None:
    """The amount that represents a deal.

    "largest" takes the largest amount in the currency that is named first. A round is larger than its
    tranches and usually larger than earlier rounds; the same amount in another currency follows in brackets.
    """
    if not amounts or rule == "first":
        return amounts[0] if amounts else None
    return max((a for a in amounts if a.currency == amounts[0].currency), key=lambda a: a.amount)


def _sentences(mentions: Iterable[Mention], sentences: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The span of whole sentences from the first mention to the last."""
    mentions = list(mentions)
    start, end = min(m.start for m in mentions), max(m.end for m in mentions)
    return (
        max((s for s, _ in sentences if s <= start), default=start),
        min((e for _, e in sentences if e >= end), default=end),
    )

"""Turn annotated texts into rows of the database, in the same way for pipeline output and gold."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from ie.database.schema import TABLES, VERSION, Columns, DealMapping
from ie.evaluation import database_rows

Rows = dict[str, list[tuple]]
# Of rows, by their key.
Confidences = dict[str, float | None]
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
    """An entity.

    Attributes:
        link: id of its entry, None if it is NIL or not linked.
        confidence: the probability that span, label, link and amount are all right; None if not calibrated.
    """

    start: int
    end: int
    label: str
    link: str | None = None
    amount: NormalisedAmount | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class RelationMention:
    """A relation between two mentions.

    Attributes:
        head, child: indices of the mentions.
        score: None in gold.
        confidence: the probability that the relation and both its mentions are right, with links and amounts;
            None if not calibrated.
    """

    head: int
    child: int
    label: str
    score: float | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class DocumentAnnotations:
    """Everything known about a text.

    Attributes:
        sentences: (start, end) of each sentence, in characters.
    """

    record: Record
    entities: Sequence[Mention]
    relations: Sequence[RelationMention]
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
        entities.append(Mention(span.start, span.end, span.label, link, _amount(span), _confidence(span)))
    relations = [
        RelationMention(
            r.head, r.child, r.label, getattr(r, "score", None), getattr(r, "row_confidence", None)
        )
        for r in annotated.relations
    ]
    return DocumentAnnotations(record, entities, relations, category, score, sentences(doc))


def _confidence(span: Span) -> float | None:
    """Of a span with all its values. An end of a relation has a link or an amount, or neither."""
    values = {"link_confidence": "kb_id", "amount_confidence": "value"}
    names = [name for name, value in values.items() if getattr(span, value, None)] or ["confidence"]
    sure = [getattr(span, name, None) for name in names]
    return None if None in sure else min(sure)


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
    annotations: DocumentAnnotations,
    columns: Columns,
    names: Mapping[str, str],
    model_id: str,
    mark: str,
    *,
    gold: bool = False,
) -> Rows:
    """The rows of a text, by table.

    Args:
        names: company names by id.
        mark: the fingerprint of the text.
        gold: whether people annotated it. Its rows have no confidence then, even if a record kept that of the
            suggestion which was reviewed.
    """
    record = annotations.record
    key, keys = document_id(record.text), mention_keys(annotations)
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
            (_relation_key(key, r), key, r.label, keys[r.head], keys[r.child], r.score)
            for r in annotations.relations
        ],
    }
    rows_of_deals, sure_of_deals = deals(annotations, columns.deals, names)
    rows |= rows_of_deals
    sure = {} if gold else row_confidences(annotations, sure_of_deals)
    for table in filter(lambda table: table.has_confidence, TABLES.values()):
        rows[table.name] = [(*row, sure.get(row[0])) for row in rows[table.name]]
    return rows


def row_confidences(annotations: DocumentAnnotations, of_deals: Confidences) -> Confidences:
    """The probability that a row of mentions, relations, deals, investments or amounts is right, by its key.

    It is None where it isn't calibrated, and in gold. Rows of other tables have none.

    Args:
        of_deals: those of the rows that `deals` makes.
    """
    key, keys = document_id(annotations.record.text), mention_keys(annotations)
    return {
        **{mention: entity.confidence for mention, entity in zip(keys, annotations.entities, strict=True)},
        **{_relation_key(key, relation): relation.confidence for relation in annotations.relations},
        **of_deals,
    }


def mention_keys(annotations: DocumentAnnotations) -> list[str]:
    """The keys of a text's mentions in the database."""
    key = document_id(annotations.record.text)
    return [f"{key}:{e.start}-{e.end}:{e.label}" for e in annotations.entities]


def _relation_key(document: str, relation: RelationMention) -> str:
    return f"{document}:{relation.label}:{relation.head}>{relation.child}"


@dataclass
class _Deal:
    """A company in a text, as (id or None, name), with the mentions its deal is made of.

    Attributes:
        confidences: of each amount and each investor, that of the surest relation which names it.
    """

    company: tuple[str | None, str]
    amounts: list[Mention] = field(default_factory=list)
    investors: list[Mention] = field(default_factory=list)
    mentions: list[Mention] = field(default_factory=list)
    confidences: dict[tuple, float | None] = field(default_factory=dict)

    def confidence(self, *values: tuple) -> float | None:
        """That of the surest of some amounts and investors."""
        return _surest(*map(self.confidences.get, values))


def _surest(*confidences: float | None) -> float | None:
    return max((p for p in confidences if p is not None), default=None)


def deals(
    annotations: DocumentAnnotations, mapped: DealMapping, names: Mapping[str, str]
) -> tuple[Rows, Confidences]:
    """The rows of deals, investments and amounts of a text, and their confidences.

    Mentions of one company are merged: by their link, or by their name if they have none. A deal is as sure
    as its main amount, or, without amounts, as its surest investor.
    """
    text, key = annotations.record.text, document_id(annotations.record.text)
    by_company: dict[tuple, _Deal] = {}

    def company_of(entity: Mention) -> tuple[str | None, str]:
        written = text[entity.start : entity.end]
        return entity.link, names.get(entity.link, written) if entity.link else written

    for relation in annotations.relations:
        for kind in ("amounts", "investors"):
            end = getattr(mapped, kind).get(relation.label)
            if end is None:
                continue
            ends = annotations.entities[relation.head], annotations.entities[relation.child]
            company, other = ends if end == "head" else ends[::-1]
            deal = by_company.setdefault(_same(company_of(company)), _Deal(company_of(company)))
            getattr(deal, kind).append(other)
            deal.mentions += [company, other]
            value = other.amount.columns() if other.amount else _same(company_of(other))
            deal.confidences[value] = _surest(deal.confidences.get(value), relation.confidence)
    rows: Rows = {"deals": [], "investments": [], "amounts": []}
    sure: Confidences = {}
    for deal in by_company.values():
        company_id, company = deal.company
        deal_id = f"{key}:{company_id or company}"
        sentence = _sentences(deal.mentions, annotations.sentences)
        amounts = _distinct(deal.amounts)
        main = main_amount(amounts, mapped.main)
        sure[deal_id] = deal.confidence(*([main.columns()] if main else deal.confidences))
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
            amount_id = f"{deal_id}:{position}"
            sure[amount_id] = deal.confidence(amount.columns())
            rows["amounts"].append(
                (
                    amount_id,
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
        for value, (investor_id, investor) in investors.items():
            investment_id = f"{deal_id}:{investor_id or investor}"
            sure[investment_id] = deal.confidence(value)
            rows["investments"].append(
                (
                    investment_id,
                    deal_id,
                    key,
                    investor_id,
                    investor,
                    company_id,
                    company,
                    *sentence,
                )
            )
    return rows, sure


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

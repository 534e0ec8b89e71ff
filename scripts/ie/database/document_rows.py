"""From what is known of a text to the rows of the database, the same for a pipeline's word and for gold."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from spacy.language import Language
from spacy.pipeline import Sentencizer
from spacy.tokens import Doc

from ie.core.files import json_text
from ie.data.corpora import category_of
from ie.data.docs import pipeline_record
from ie.data.gazetteer import GazetteerEntry
from ie.data.records import Record, Span
from ie.database.schema import VERSION, Columns, Mapped
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
        """As the tables have it."""
        return (number(self.low), number(self.amount), number(self.high), self.currency)


@dataclass(frozen=True)
class Mention:
    """A mention; `link` is the id of its entry, None for NIL and for what isn't linked."""

    start: int
    end: int
    label: str
    link: str | None = None
    amount: NormalisedAmount | None = None


@dataclass(frozen=True)
class Reading:
    """All that is known of a text.

    Attributes:
        relations: (head, child, label, score), the ends as indices into `entities`; gold has no score.
        sentences: (start, end) of each, in characters.
    """

    record: Record
    entities: Sequence[Mention]
    relations: Sequence[tuple[int, int, str, float | None]]
    category: str | None
    category_score: float | None
    sentences: Sequence[tuple[int, int]]


def document_id(text: str) -> str:
    """The key of a text: the start of its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def fingerprint(record: Record, model_id: str, basis: str, *, gold: bool) -> str:
    """Changes whenever the rows of a text may change.

    Args:
        basis: of what all texts' rows depend on (see `basis`).
        gold: the annotation of the record counts, as the rows are made of it.
    """
    parts = [model_id, basis, record.to_line() if gold else [record.text, record.meta]]
    return _short(parts)


def basis(columns: Columns, companies: Sequence[GazetteerEntry]) -> str:
    """What the rows of all texts depend on beside the model: the mapping and the names."""
    return _short([VERSION, columns.model_dump(), [[e.id, e.name] for e in companies]])


def _short(parts: list) -> str:
    text = json_text(parts, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_gold(records: Iterable[Record], nlp: Language) -> Iterator[Reading]:
    """What reviewed records say.

    Args:
        nlp: for the sentences.
    """
    for record in records:
        yield _reading(record, record, category_of(record), None, nlp.make_doc(record.text))


def read_by(nlp: Language, records: Iterable[Record]) -> Iterator[Reading]:
    """What a pipeline says of texts; the annotation of the records isn't looked at."""
    for doc, record in nlp.pipe(((record.text, record) for record in records), as_tuples=True):
        category = max(sorted(doc.cats), key=doc.cats.__getitem__, default=None)
        # further digits differ with the batch a text was worked on in
        score = None if category is None else round(doc.cats[category], 3)
        yield _reading(record, pipeline_record(doc), category, score, doc)


def _reading(
    record: Record, annotated: Record, category: str | None, score: float | None, doc: Doc
) -> Reading:
    entities = []
    for span in annotated.spans:
        link = database_rows.link_of(span)
        link = None if link == database_rows.NIL else link
        entities.append(Mention(span.start, span.end, span.label, link, _amount(span)))
    relations = [(r.head, r.child, r.label, getattr(r, "score", None)) for r in annotated.relations]
    return Reading(record, entities, relations, category, score, sentences(doc))


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
    """Where the sentences of a text are: the pipeline's, else by their punctuation."""
    if not doc.has_annotation("SENT_START"):
        SENTENCES(doc)
    return [(sentence.start_char, sentence.end_char) for sentence in doc.sents]


def number(value: Decimal) -> int | float:
    """As SQLite keeps it: whole numbers exactly, as far as 64 bits go."""
    return int(value) if value == value.to_integral_value() and abs(value) < 2**63 else float(value)


def fill(reading: Reading, columns: Columns, names: Mapping[str, str], model_id: str, mark: str) -> Rows:
    """The rows of a text, by table.

    Args:
        names: of the companies, by id.
        mark: its fingerprint.
    """
    record = reading.record
    key = document_id(record.text)
    keys = [f"{key}:{e.start}-{e.end}:{e.label}" for e in reading.entities]
    meta = record.meta

    def said(name: str) -> str | None:
        return str(meta[name]) if name and meta.get(name) is not None else None

    found: Rows = {
        "documents": [
            (
                key,
                record.text,
                said(columns.documents.source),
                said(columns.documents.writer),
                said(columns.documents.date),
                json_text(meta, sort_keys=True),
                reading.category,
                reading.category_score,
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
            for mention, entity in zip(keys, reading.entities, strict=True)
        ],
        "relations": [
            (f"{key}:{label}:{head}>{child}", key, label, keys[head], keys[child], score)
            for head, child, label, score in reading.relations
        ],
    }
    return found | deals(reading, columns.deals, names)


@dataclass
class _Deal:
    """A company of a text, as (id or None, name), with the entities that made it one."""

    company: tuple[str | None, str]
    amounts: list[Mention]
    investors: list[Mention]
    mentions: list[Mention]


def deals(reading: Reading, mapped: Mapped, names: Mapping[str, str]) -> Rows:
    """The rows of deals, investments and amounts of a text.

    Mentions of one company are one: by their link, or by their name where they have none.
    """
    text, key = reading.record.text, document_id(reading.record.text)
    found: dict[tuple, _Deal] = {}

    def called(entity: Mention) -> tuple[str | None, str]:
        written = text[entity.start : entity.end]
        return entity.link, names.get(entity.link, written) if entity.link else written

    for head, child, label, _ in reading.relations:
        for kind in ("amounts", "investors"):
            end = getattr(mapped, kind).get(label)
            if end is None:
                continue
            company, other = (head, child) if end == "head" else (child, head)
            company, other = reading.entities[company], reading.entities[other]
            deal = found.setdefault(_same(called(company)), _Deal(called(company), [], [], []))
            getattr(deal, kind).append(other)
            deal.mentions += [company, other]
    rows_: Rows = {"deals": [], "investments": [], "amounts": []}
    for deal in found.values():
        company_id, company = deal.company
        deal_id = f"{key}:{company_id or company}"
        stretch = _sentences(deal.mentions, reading.sentences)
        amounts = _distinct(deal.amounts)
        main = main_amount(amounts, mapped.main)
        rows_["deals"].append(
            (
                deal_id,
                key,
                company_id,
                company,
                *(main.columns() if main else (None,) * 4),
                reading.category,
                *stretch,
            )
        )
        for number_, amount in enumerate(amounts, start=1):
            rows_["amounts"].append(
                (
                    f"{deal_id}:{number_}",
                    deal_id,
                    key,
                    company_id,
                    company,
                    *amount.columns(),
                    int(amount is main),
                    *stretch,
                )
            )
        investors = {_same(called(entity)): called(entity) for entity in reversed(deal.investors)}
        for investor_id, investor in investors.values():
            rows_["investments"].append(
                (
                    f"{deal_id}:{investor_id or investor}",
                    deal_id,
                    key,
                    investor_id,
                    investor,
                    company_id,
                    company,
                    *stretch,
                )
            )
    return rows_


def _same(called: tuple[str | None, str]) -> tuple:
    """What two mentions of one company have in common."""
    link, name = called
    return (link,) if link else ("", " ".join(name.casefold().split()))


def _distinct(entities: Iterable[Mention]) -> list[NormalisedAmount]:
    """The amounts in the order of the text, equal ones once; those that say no number are none."""
    found: dict[tuple, NormalisedAmount] = {}
    for entity in sorted(entities, key=lambda entity: entity.start):
        if entity.amount is not None:
            found.setdefault(entity.amount.columns(), entity.amount)
    return list(found.values())


def main_amount(amounts: Sequence[NormalisedAmount], rule: str) -> NormalisedAmount | None:
    """The amount that stands for a deal.

    "largest" takes the largest in the currency that is named first: a round is larger than its tranches and,
    mostly, than the rounds before it, and the same amount in another currency stands behind, in brackets.
    """
    if not amounts or rule == "first":
        return amounts[0] if amounts else None
    return max((a for a in amounts if a.currency == amounts[0].currency), key=lambda a: a.amount)


def _sentences(mentions: Iterable[Mention], found: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The whole sentences from the first of some mentions to the last."""
    mentions = list(mentions)
    start, end = min(m.start for m in mentions), max(m.end for m in mentions)
    return (
        max((s for s, _ in found if s <= start), default=start),
        min((e for _, e in found if e >= end), default=end),
    )

"""Amounts of money: gold values, comparison with predictions, and the errors."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from spacy.language import Language

from ie.core.errors import UserError
from ie.data.docs import to_doc
from ie.data.records import Record, Span

VALUE = re.compile(r"(?P<low>-?[\d.]+)(?:-(?P<high>[\d.]+))? (?P<currency>[A-Z]{3})")
# The answer where the component gave none.
UNREAD = {"low": None, "high": None, "currency": None, "rule": "not read"}
# Units of Recognizers-Text that are a hundredth of the currency of the ISO code.
HUNDREDTHS = ("Cent", "Pence", "Penny", "Sen", "Kopek", "Centavo", "Øre", "Jiao")


@dataclass(frozen=True)
class Value:
    """A gold amount; `currency` is None if the data doesn't have one."""

    low: Decimal
    high: Decimal
    currency: str | None

    def fits(self, answer: dict[str, Any]) -> bool:
        """Whether both ends and the currency are the same, compared as numbers."""
        if answer["low"] is None or (self.currency and answer["currency"] != self.currency):
            return False
        return (Decimal(answer["low"]), Decimal(answer["high"])) == (self.low, self.high)


@dataclass(frozen=True)
class AmountResult:
    """One gold amount and the answer of the component."""

    record: Record
    span: Span
    gold: Value
    answer: dict[str, Any]

    @property
    def right(self) -> bool:
        """Whether amount and currency are right."""
        return self.gold.fits(self.answer)

    def row(self) -> dict[str, Any]:
        """For the list of errors."""
        return {
            "id": self.record.id,
            "money": self.record.text[self.span.start : self.span.end],
            "gold": written(self.gold),
            "answer": {name: self.answer[name] for name in ("low", "high", "currency", "rule")},
            "text": self.record.text,
        }


def read_value(span: Span, where: str) -> Value | None:
    """The gold value of a span, None if it has none: "5000000 USD", "10-15 USD", or a number with the `unit`
    and `iso` of Recognizers-Text."""
    extra = span.model_extra or {}
    value = extra.get("value")
    if value is None:
        return None
    try:
        if isinstance(value, str):
            parts = VALUE.fullmatch(value)
            if parts is None:
                raise InvalidOperation
            low = Decimal(parts["low"])
            return Value(low, Decimal(parts["high"]) if parts["high"] else low, parts["currency"])
        amount = Decimal(str(value))
    except InvalidOperation:
        raise UserError(
            f"{where}: the value {value!r} is no amount; write it as 5000000 USD or 10-15 USD."
        ) from None
    if extra.get("unit") in HUNDREDTHS:
        amount /= 100
    return Value(amount, amount, extra.get("iso"))


def judge(nlp: Language, records: Iterable[Record], label: str, path: Path) -> list[AmountResult]:
    """Let the pipeline read the amounts of gold spans that carry a value."""
    results = []
    for record in records:
        doc = nlp(to_doc(record, nlp))
        answers = {ent.start_char: ent._.money for ent in doc.ents}
        for span in record.spans:
            value = read_value(span, f"{path}: {record.id}") if span.label == label else None
            if value is not None:
                results.append(AmountResult(record, span, value, answers[span.start] or UNREAD))
    return results


def written(value: Value) -> str:
    """A gold value as the guidelines write it."""
    amount = f"{value.low:f}" if value.low == value.high else f"{value.low:f}-{value.high:f}"
    return f"{amount} {value.currency or '(any currency)'}"

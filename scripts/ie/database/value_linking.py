"""What of a question is a value of the database: a small model can copy a name, but not look it up."""

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from rapidfuzz import fuzz, process

from components.money import UNKNOWN, MoneyNormaliser, fold
from ie.database.document_rows import number

# A column with at most so many values is a list of codes, which a prompt can show whole.
CODES = 60
# Words in a name at most.
LONGEST = 7
# Likeness (0 to 100) at which a misspelt name is taken for one of the database.
LIKENESS = 90
WORD = re.compile(r"[^\s,;:?!()\"“”]+")
AMOUNT_WORDS = 5


@dataclass(frozen=True)
class LinkedValues:
    """What a question names.

    Attributes:
        values: (column, value), the column as it is called in the tables.
        names: capitalised words that are no value of the database, such as a company that isn't in it.
        numbers: amounts and counts.
        words: the words of the question, for a search in texts.
        spans: stretches of the question that are one of these.
    """

    values: list[tuple[str, str]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    numbers: list[int | float] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)

    def hint(self) -> str:
        """For the prompt: `investor 'Hooli', currency 'USD', 5000000`."""
        columns: dict[str, list[str]] = {}
        for column, value in self.values:
            columns.setdefault(value, []).append(column)
        parts = [f"{' or '.join(columns)} {quoted(value)}" for value, columns in columns.items()]
        return ", ".join([*parts, *map(quoted, self.names), *map(str, self.numbers)]) or "none"

    def masked(self, question: str) -> str:
        """The question with its values taken out: what kind of question it is (as DAIL-SQL does, 2023)."""
        kept, at = [], 0
        for start, end in sorted(self.spans):
            if start >= at:
                kept += [question[at:start], "_"]
                at = end
        return "".join([*kept, question[at:]])


def quoted(value: str) -> str:
    """As SQL's string."""
    return "'" + value.replace("'", "''") + "'"


class Values:
    """The values of a database's columns of text, and where they are in a question.

    Args:
        tables: the tables and columns that count.
        money: reads amounts and the names of currencies, or None for neither.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        tables: Mapping[str, Sequence[str]],
        money: MoneyNormaliser | None = None,
    ) -> None:
        self.money = money
        self.codes: dict[str, list[str]] = {}
        self.names: dict[str, list[str]] = {}
        found: dict[str, set[str]] = {}
        for table, columns in tables.items():
            for column in columns:
                if column in ("text", "date", "description"):
                    continue
                rows = connection.execute(
                    f'SELECT DISTINCT "{column}" FROM {table} WHERE typeof("{column}") = \'text\''
                )
                found.setdefault(column, set()).update(row[0] for row in rows)
        for column, values in found.items():
            if not values:
                continue
            short = len(values) <= CODES and max(map(len, values)) <= 20
            (self.codes if short else self.names)[column] = sorted(values)
        # A question that says "company" means the column, not a value of that name.
        self._called = {_key(name) for name in (*tables, *found)}
        self._listed = set(tables.get("companies", ())) - {
            c for t, cs in tables.items() if t != "companies" for c in cs
        }
        self._columns: dict[str, list[tuple[str, str]]] = {}
        for column, values in [*self.names.items(), *self.codes.items()]:
            for value in values:
                self._columns.setdefault(_key(value), []).append((column, value))
        self._all = sorted({value for values in self.names.values() for value in values})

    def find(self, question: str) -> LinkedValues:
        """What of the question is a value, a number, or a name that isn't known."""
        found = LinkedValues(words=[word for word in _words(question) if len(word) > 2])
        tokens = [(m.start(), m.end()) for m in WORD.finditer(question.rstrip("?!. "))]
        used: set[int] = set()
        for first, last, text in _grams(question, tokens, LONGEST):
            if not used.isdisjoint(range(first, last)):
                continue
            if hits := self._lookup(text):
                found.values.extend(hit for hit in hits if hit not in found.values)
            elif last - first <= AMOUNT_WORDS and (amount := self._amount(text)):
                value, currency = amount
                if value is not None and value not in found.numbers:
                    found.numbers.append(value)
                if currency and ("currency", currency) not in found.values:
                    found.values.append(("currency", currency))
            else:
                continue
            _use(found, used, tokens, first, last)
        for first, last, text in _grams(question, tokens, LONGEST):
            inside = range(first, last)
            if first and used.isdisjoint(inside) and all(question[tokens[i][0]].isupper() for i in inside):
                near = process.extractOne(text, self._all, scorer=fuzz.ratio, score_cutoff=LIKENESS)
                if near:
                    found.values.extend(hit for hit in self._hits(_key(near[0])) if hit not in found.values)
                elif text not in found.names:
                    found.names.append(text)
                _use(found, used, tokens, first, last)
        return found

    def _lookup(self, text: str) -> list[tuple[str, str]]:
        key = _key(text)
        for form in (key, re.sub(r"['’]s?$", "", key), key.removesuffix("s")):
            if len(form) > 1 and form not in self._called and form in self._columns:
                return self._hits(form)
        return []

    def _hits(self, key: str) -> list[tuple[str, str]]:
        """The columns that have a value; what is found in texts goes before what a table merely lists."""
        hits = self._columns[key]
        return [hit for hit in hits if hit[0] not in self._listed] or hits

    def _amount(self, text: str) -> tuple[int | float | None, str] | None:
        """(number or None, currency or ""): an amount, a bare number, or the name of a currency."""
        if self.money is None:
            return (int(text), "") if text.isdigit() else None
        words = text.split()
        if self._number(words[0]) is None or text.lower() == "one":
            return self._currency(words)
        read = self.money.normalise(text)
        # each word must count: "5 euros of" is "5 euros"
        if read["amount"] is None or (words[1:] and self.money.normalise(" ".join(words[:-1])) == read):
            return None
        currency = read["currency"] if read["currency"] != UNKNOWN else ""
        return number(Decimal(read["amount"])), str(currency)

    def _number(self, word: str) -> str | None:
        return self.money.normalise(word)["amount"] if word.lower() not in ("a", "an") else None

    def _currency(self, words: Sequence[str]) -> tuple[None, str] | None:
        text = " ".join(words)
        meanings = [token.entry for token in self.money.lexicon.tokens(fold(text), spaced=True)]
        if not all(m.currencies or m.places for m in meanings) or not any(m.currencies for m in meanings):
            return None
        currency = self.money.normalise(f"5 {text}")["currency"]
        # "all" is Albania's currency only in capitals
        if currency in (None, UNKNOWN) or any(word.upper() == currency != word for word in words):
            return None
        return None, str(currency)


def _key(text: str) -> str:
    return " ".join(text.casefold().split())


def _words(question: str) -> list[str]:
    return [m.group().strip(".'’") for m in WORD.finditer(question)]


def _grams(question: str, tokens: Sequence[tuple[int, int]], longest: int) -> Iterator[tuple[int, int, str]]:
    """Stretches of words, the longest first: (first, past the last, text)."""
    for length in range(min(longest, len(tokens)), 0, -1):
        for first in range(len(tokens) - length + 1):
            last = first + length
            yield first, last, question[tokens[first][0] : tokens[last - 1][1]]


def _use(
    found: LinkedValues, used: set[int], tokens: Sequence[tuple[int, int]], first: int, last: int
) -> None:
    used.update(range(first, last))
    found.spans.append((tokens[first][0], tokens[last - 1][1]))

"""Value linking: which parts of a question are values of the database.

Small models copy names well but can't look them up.
"""

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from rapidfuzz import fuzz, process

from components.money import UNKNOWN, MoneyNormaliser, fold
from ie.database.document_rows import number

# A text column with at most this many values is a list of codes that a prompt can show in full.
CODES = 60
# Maximum number of words in a name.
LONGEST = 7
# Minimum similarity (0 to 100) for a misspelt name to match a name in the database.
LIKENESS = 90
WORD = re.compile(r"[^\s,;:?!()\"“”]+")
AMOUNT_WORDS = 5


@dataclass(frozen=True)
class LinkedValues:
    """The values that a question names.

    Attributes:
        values: (column, value) pairs.
        names: capitalised words that aren't in the database, such as an unknown company.
        numbers: amounts and counts.
        words: the words of the question, for searching texts.
        spans: the character spans of all of these in the question.
    """

    values: list[tuple[str, str]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    numbers: list[int | float] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)

    def hint(self) -> str:
        """Format for the prompt: `investor 'Hooli', currency 'USD', 5000000`."""
        columns: dict[str, list[str]] = {}
        for column, value in self.values:
            columns.setdefault(value, []).append(column)
        parts = [f"{' or '.join(columns)} {quoted(value)}" for value, columns in columns.items()]
        return ", ".join([*parts, *map(quoted, self.names), *map(str, self.numbers)]) or "none"

    def masked(self, question: str) -> str:
        """Replace the values by "_", which leaves the kind of question (as in DAIL-SQL, 2023)."""
        pieces, position = [], 0
        for start, end in sorted(self.spans):
            if start >= position:
                pieces += [question[position:start], "_"]
                position = end
        return "".join([*pieces, question[position:]])


def quoted(value: str) -> str:
    """Quote as an SQL string."""
    return "'" + value.replace("'", "''") + "'"


class Values:
    """The text values of a database, and a search for them in questions.

    Args:
        tables: the tables and columns to index.
        money: parses amounts and currency names; None to match neither.
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
        by_column: dict[str, set[str]] = {}
        for table, columns in tables.items():
            for column in columns:
                if column in ("text", "date", "description"):
                    continue
                rows = connection.execute(
                    f'SELECT DISTINCT "{column}" FROM {table} WHERE typeof("{column}") = \'text\''
                )
                by_column.setdefault(column, set()).update(row[0] for row in rows)
        for column, values in by_column.items():
            if not values:
                continue
            short = len(values) <= CODES and max(map(len, values)) <= 20
            (self.codes if short else self.names)[column] = sorted(values)
        # "company" in a question means the column, even if a value has that name.
        self._called = {_key(name) for name in (*tables, *by_column)}
        self._listed = set(tables.get("companies", ())) - {
            c for t, cs in tables.items() if t != "companies" for c in cs
        }
        self._columns: dict[str, list[tuple[str, str]]] = {}
        for column, values in [*self.names.items(), *self.codes.items()]:
            for value in values:
                self._columns.setdefault(_key(value), []).append((column, value))
        self._all = sorted({value for values in self.names.values() for value in values})

    def find(self, question: str) -> LinkedValues:
        """Find values, numbers and unknown names in a question."""
        linked = LinkedValues(words=[word for word in _words(question) if len(word) > 2])
        tokens = [(m.start(), m.end()) for m in WORD.finditer(question.rstrip("?!. "))]
        used: set[int] = set()
        for first, last, text in _grams(question, tokens, LONGEST):
            if not used.isdisjoint(range(first, last)):
                continue
            if hits := self._lookup(text):
                linked.values.extend(hit for hit in hits if hit not in linked.values)
            elif last - first <= AMOUNT_WORDS and (amount := self._amount(text)):
                value, currency = amount
                if value is not None and value not in linked.numbers:
                    linked.numbers.append(value)
                if currency and ("currency", currency) not in linked.values:
                    linked.values.append(("currency", currency))
            else:
                continue
            _use(linked, used, tokens, first, last)
        for first, last, text in _grams(question, tokens, LONGEST):
            inside = range(first, last)
            if first and used.isdisjoint(inside) and all(question[tokens[i][0]].isupper() for i in inside):
                near = process.extractOne(text, self._all, scorer=fuzz.ratio, score_cutoff=LIKENESS)
                if near:
                    linked.values.extend(hit for hit in self._hits(_key(near[0])) if hit not in linked.values)
                elif text not in linked.names:
                    linked.names.append(text)
                _use(linked, used, tokens, first, last)
        return linked

    def _lookup(self, text: str) -> list[tuple[str, str]]:
        key = _key(text)
        for form in (key, re.sub(r"['’]s?$", "", key), key.removesuffix("s")):
            if len(form) > 1 and form not in self._called and form in self._columns:
                return self._hits(form)
        return []

    def _hits(self, key: str) -> list[tuple[str, str]]:
        """Columns that contain a value; those filled from texts replace those of the company table alone."""
        hits = self._columns[key]
        return [hit for hit in hits if hit[0] not in self._listed] or hits

    def _amount(self, text: str) -> tuple[int | float | None, str] | None:
        """Parse an amount, a plain number or a currency name: (number or None, currency or "")."""
        if self.money is None:
            return (int(text), "") if text.isdigit() else None
        words = text.split()
        if self._number(words[0]) is None or text.lower() == "one":
            return self._currency(words)
        money = self.money.normalise(text)
        # Every word must matter: "5 euros of" parses as "5 euros".
        if money["amount"] is None or (words[1:] and self.money.normalise(" ".join(words[:-1])) == money):
            return None
        currency = money["currency"] if money["currency"] != UNKNOWN else ""
        return number(Decimal(money["amount"])), str(currency)

    def _number(self, word: str) -> str | None:
        return self.money.normalise(word)["amount"] if word.lower() not in ("a", "an") else None

    def _currency(self, words: Sequence[str]) -> tuple[None, str] | None:
        text = " ".join(words)
        meanings = [token.entry for token in self.money.lexicon.tokens(fold(text), spaced=True)]
        if not all(m.currencies or m.places for m in meanings) or not any(m.currencies for m in meanings):
            return None
        currency = self.money.normalise(f"5 {text}")["currency"]
        # "all" is Albania's currency only in capitals.
        if currency in (None, UNKNOWN) or any(word.upper() == currency != word for word in words):
            return None
        return None, str(currency)


def _key(text: str) -> str:
    return " ".join(text.casefold().split())


def _words(question: str) -> list[str]:
    return [m.group().strip(".'’") for m in WORD.finditer(question)]


def _grams(question: str, tokens: Sequence[tuple[int, int]], longest: int) -> Iterator[tuple[int, int, str]]:
    """N-grams of the question, longest first, as (first token, token after the last, text)."""
    for length in range(min(longest, len(tokens)), 0, -1):
        for first in range(len(tokens) - length + 1):
            last = first + length
            yield first, last, question[tokens[first][0] : tokens[last - 1][1]]


def _use(
    linked: LinkedValues, used: set[int], tokens: Sequence[tuple[int, int]], first: int, last: int
) -> None:
    used.update(range(first, last))
    linked.spans.append((tokens[first][0], tokens[last - 1][1]))

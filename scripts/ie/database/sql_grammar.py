"""A grammar (llama.cpp's GBNF) for SELECTs that use the values a question names.

Every value of the question must appear in the WHERE clause, compared with a column that contains it, and
every large number with an amount; a small number is the LIMIT. The model only decides what to select, from
which tables and in which order. The guard allows much more, for larger models that need no grammar.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count

from ie.database.schema import NUMBER, REFERENCES, TABLES, TEXT
from ie.database.value_linking import LinkedValues, quoted

NO_ANSWER = "NO ANSWER"
# Numbers up to this one may be a LIMIT.
FEW = 100
Fields = Mapping[str, str]
# A column and its value; the column is "" for a name that is in no column, "#" for a number.
Value = tuple[str, str]


def grammar(
    tables: Mapping[str, Sequence[str]], linked: LinkedValues, codes: Mapping[str, Sequence[str]]
) -> str:
    """The grammar of the answers to one question.

    Args:
        tables: the tables and columns that may be used.
        found: the values that the question names.
        codes: columns with few values; an unknown name may refer to any of them.
    """
    rules = _Rules(linked, codes)
    queries = [*_queries(rules, tables, rules.required), *_nested(rules, tables), *_common(rules, tables)]
    alternatives = " | ".join(dict.fromkeys([_text(NO_ANSWER), *queries]))
    # The line must be allowed to end, or the model goes on with " AND " forever.
    return "\n".join([f'root ::= " "? ({alternatives}) ";"? "\\n"', *rules.lines]) + "\n"


def letter(table: str, second: bool = False) -> str:
    """Alias of a table in a join: its first letter, or the next letter for the same table again."""
    return chr(ord(table[0]) + second) if table != "documents" else "t"


def _queries(
    rules: "_Rules", tables: Mapping[str, Sequence[str]], required: Sequence[list[Value]]
) -> Iterator[str]:
    """SELECTs from one table, and from two tables that refer to each other."""
    for table, columns in tables.items():
        fields = {column: TABLES[table].columns[column] for column in columns}
        if query := rules.query(fields, f" FROM {table}", required):
            yield query
    for left, own, right, key in REFERENCES:
        if left not in tables or right not in tables:
            continue
        one, two = letter(left), letter(right, left == right)
        fields = {f"{one}.{column}": TABLES[left].columns[column] for column in tables[left]}
        fields |= {f"{two}.{column}": TABLES[right].columns[column] for column in tables[right]}
        if left == right:
            # A self-join: other rows of the same deal; the named value itself must not be returned.
            if query := rules.others(fields, left, own, one, two, required):
                yield query
            continue
        if not required:
            continue
        places = {
            f" FROM {left} {one} JOIN {right} {two} ON {two}.{key} = {one}.{own}",
            f" FROM {right} {two} JOIN {left} {one} ON {one}.{own} = {two}.{key}",
        }
        for place in sorted(places):
            if query := rules.query(fields, place, required):
                yield query


def _nested(rules: "_Rules", tables: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """SELECTs about the first row of another SELECT."""
    for outer, columns in tables.items():
        for inner, others in tables.items():
            amounts = [name for name in others if TABLES[inner].columns[name] == NUMBER]
            fields = {column: TABLES[inner].columns[column] for column in others}
            where = rules.where(fields, rules.required)
            if outer == inner or not amounts or where is None:
                continue
            for shared in set(columns) & set(others) - {"category", "currency", "amount"}:
                rest = {c: TABLES[outer].columns[c] for c in columns if c != shared}
                best = rules.add(
                    f"{_text(f'SELECT {shared} FROM {inner}')} {where} "
                    f'{_text(f" ORDER BY {amounts[0]}")} " DESC"? " LIMIT 1"'
                )
                yield rules.add(
                    f'"SELECT " {rules.items(rest)} {_text(f" FROM {outer} WHERE {shared} = (")} {best} ")"'
                )


def _common(rules: "_Rules", tables: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """INTERSECTs of two SELECTs, if the question names two values of one column."""
    if len(rules.required) != 2 or not {c for c, _ in rules.required[0]} & {c for c, _ in rules.required[1]}:
        return
    for table, columns in tables.items():
        fields = {column: TABLES[table].columns[column] for column in columns}
        both = [rules.query(fields, f" FROM {table}", [value], plain=True) for value in rules.required]
        if all(both):
            yield rules.add(f'{both[0]} " INTERSECT " {both[1]}')


class _Rules:
    """The rules so far; equal bodies share one rule.

    Attributes:
        required: values that must be in the WHERE clause, each with the columns it may belong to.
    """

    def __init__(self, linked: LinkedValues, codes: Mapping[str, Sequence[str]]) -> None:
        self.linked = linked
        self.codes = codes
        self.lines: list[str] = []
        self._names = count()
        self._known: dict[str, str] = {}
        by_value: dict[str, list[Value]] = {}
        for column, value in linked.values:
            by_value.setdefault(value, []).append((column, value))
        self.required = [
            *by_value.values(),
            *([("", name)] for name in linked.names),
            *([("#", str(n))] for n in linked.numbers if n > FEW),
        ]
        self.few = [n for n in linked.numbers if isinstance(n, int) and 0 < n <= FEW]

    def add(self, body: str) -> str:
        """Return the name of a rule with this body, creating it if needed."""
        if body not in self._known:
            self._known[body] = f"r{next(self._names)}"
            self.lines.append(f"{self._known[body]} ::= {body}")
        return self._known[body]

    def any(self, choices: Sequence[str]) -> str:
        """A rule with alternatives."""
        return self.add(" | ".join(dict.fromkeys(choices)))

    def query(
        self, fields: Fields, place: str, required: Sequence[list[Value]], *, plain: bool = False
    ) -> str | None:
        """A SELECT; None if its tables lack a required value.

        Args:
            plain: without GROUP BY and ORDER BY.
        """
        where = self.where(fields, required)
        # A column with a fixed value is not worth selecting.
        fixed = {column for values in required for column, _ in values}
        rest = {name: kind for name, kind in fields.items() if name.split(".")[-1] not in fixed}
        if where is None or not self._columns(rest):
            return None
        column = self._column(rest)
        if plain:
            return self.add(f'"SELECT " {column} {_text(place)} {where}')
        amounts = [_text(name) for name, kind in rest.items() if kind == NUMBER]
        tail = f"{_text(place)} {where}"
        # "the two largest" gives the LIMIT; without such a number it is one row or all rows.
        limit = self.any([_text(str(n)) for n in (self.few or [1])])
        ranked = self.any([*amounts, '"COUNT(*)"'])
        order = f'" ORDER BY " {ranked} " DESC"? " LIMIT " {limit}'
        forms = [f'"SELECT " {column} {tail} " GROUP BY " {column} {order}']
        if amounts:
            order = f'" ORDER BY " {self.any(amounts)} " DESC"? " LIMIT " {limit}'
            forms.append(f'"SELECT " {column} {tail} {order}')
        if not self.few:
            forms.append(f'"SELECT " {self.items(rest)} {tail}')
        return self.any(forms)

    def others(
        self, fields: Fields, table: str, own: str, one: str, two: str, required: Sequence[list[Value]]
    ) -> str | None:
        """A SELECT of other rows of a table that share a key with the row of the named value."""
        if len(required) != 1:
            return None
        choices = []
        for column, value in required[0]:
            if f"{one}.{column}" in fields:
                tables = f"{two}.{column} FROM {table} {one} JOIN {table} {two}"
                choices.append(
                    f'"SELECT " "DISTINCT "? {_text(tables)} '
                    f"{_text(f' ON {two}.{own} = {one}.{own} WHERE {one}.{column} = {quoted(value)}')} "
                    f"{_text(f' AND {two}.{column} <> {quoted(value)}')}"
                )
        return self.any(choices) if choices else None

    def where(self, fields: Fields, required: Sequence[list[Value]]) -> str | None:
        """A WHERE clause with all required values in order; None if the tables lack one of them."""
        parts = []
        columns = [values[0][0] for values in required if len(values) == 1 and values[0][0] not in ("", "#")]
        if len(columns) > len(set(columns)) and len(fields) == len({n.split(".")[-1] for n in fields}):
            # A column has one value per row.
            return None
        for values in required:
            choices = [each for value in values for each in self._conditions(fields, value)]
            if not choices:
                return None
            parts.append(self.any(choices))
        amounts = [name for name, kind in fields.items() if kind == NUMBER]
        not_null = self.any([_text(f"{name} IS NOT NULL") for name in amounts]) if amounts else ""
        if not parts:
            missing = [_text(f"{name} IS NULL") for name in amounts]
            return f'(" WHERE " {self.any([not_null, *missing])})?' if amounts else '""'
        conditions = ' " AND " '.join(parts)
        return f'" WHERE " {conditions}' + (f' (" AND " {not_null})?' if amounts else "")

    def _conditions(self, fields: Fields, value: Value) -> Iterator[str]:
        """The ways to compare a value."""
        where, text = value
        # An unknown name is searched in the texts, if they are available.
        searched = any(name.split(".")[-1] == "text" for name in fields)
        for name, kind in fields.items():
            column = name.split(".")[-1]
            if kind == NUMBER and where == "#":
                yield f'{_text(name)} (" > " | " < " | " >= " | " <= " | " = ") {_text(text)}'
            elif column == "text" and where in ("", "#"):
                yield _text(f"{name} LIKE {quoted(f'%{text}%')}")
            elif kind == TEXT and column == where:
                yield _text(f"{name} = {quoted(text)}")
            elif kind == TEXT and not where and column not in ("text", "date") and not searched:
                # An unknown name may be a name, or stand for a code: Canada for CA.
                codes = [quoted(c) for c in self.codes.get(column, ())] or [quoted(text)]
                yield f"{_text(f'{name} = ')} {self.any(list(map(_text, codes)))}"

    @staticmethod
    def _columns(fields: Fields) -> list[str]:
        return [name for name in fields if name.split(".")[-1] != "text"]

    def _column(self, fields: Fields) -> str:
        return self.any([_text(name) for name in self._columns(fields)])

    def items(self, fields: Fields) -> str:
        """The selected items: columns, or one aggregate."""
        column = self._column(fields)
        amounts = [_text(name) for name, kind in fields.items() if kind == NUMBER]
        choices = ['"COUNT(*)"']
        names = [
            _text(name)
            for name, kind in fields.items()
            if kind == TEXT and name.split(".")[-1] not in (*self.codes, "text", "date")
        ]
        if names:
            choices.append(f'"COUNT(DISTINCT " {self.any(names)} ")"')
        if amounts:
            choices.append(f'("SUM" | "AVG" | "MIN" | "MAX") "(" {self.any(amounts)} ")"')
        choices.append(f'"DISTINCT "? {column} (", " {column})?')
        return self.any(choices)


def _text(text: str) -> str:
    """A terminal symbol."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'

"""A grammar, in llama.cpp's GBNF, of the SELECTs over given tables that use what a question names.

Each value that the question names must be in the WHERE, compared with a column that has it, and each large
number with an amount; a small one is the LIMIT. What is left to the model is what to select, from where, and
in which order. The guard allows much else, for models that need no such rails.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count

from ie.database.schema import NUMBER, REFERENCES, TABLES, TEXT
from ie.database.value_linking import LinkedValues, quoted

NO_ANSWER = "NO ANSWER"
# Numbers up to this one may be a LIMIT.
FEW = 100
Fields = Mapping[str, str]
# A column and a value of it; the column is "" for a name that no column has, "#" for a number.
Value = tuple[str, str]


def grammar(
    tables: Mapping[str, Sequence[str]], found: LinkedValues, codes: Mapping[str, Sequence[str]]
) -> str:
    """The grammar of the answers to one question.

    Args:
        tables: the tables and columns that may be used.
        found: what it names.
        codes: columns with few values, any of which may be meant by a name that no column has.
    """
    rules = _Rules(found, codes)
    queries = [*_queries(rules, tables, rules.wanted), *_nested(rules, tables), *_common(rules, tables)]
    shown = " | ".join(dict.fromkeys([_text(NO_ANSWER), *queries]))
    # The end of the line must be allowed: a model that may not end goes on, with " AND " and " AND ".
    return "\n".join([f'root ::= " "? ({shown}) ";"? "\\n"', *rules.lines]) + "\n"


def letter(table: str, second: bool = False) -> str:
    """What a table is called in a join: its first letter, the next one for the same table again."""
    return chr(ord(table[0]) + second) if table != "documents" else "t"


def _queries(
    rules: "_Rules", tables: Mapping[str, Sequence[str]], wanted: Sequence[list[Value]]
) -> Iterator[str]:
    """SELECTs from one table, and from two that refer to each other."""
    for table, columns in tables.items():
        fields = {column: TABLES[table].columns[column] for column in columns}
        if query := rules.query(fields, f" FROM {table}", wanted):
            yield query
    for left, own, right, key in REFERENCES:
        if left not in tables or right not in tables:
            continue
        one, two = letter(left), letter(right, left == right)
        fields = {f"{one}.{column}": TABLES[left].columns[column] for column in tables[left]}
        fields |= {f"{two}.{column}": TABLES[right].columns[column] for column in tables[right]}
        if left == right:
            # the other rows of the same: the named value must not come back
            if query := rules.others(fields, left, own, one, two, wanted):
                yield query
            continue
        if not wanted:
            continue
        places = {
            f" FROM {left} {one} JOIN {right} {two} ON {two}.{key} = {one}.{own}",
            f" FROM {right} {two} JOIN {left} {one} ON {one}.{own} = {two}.{key}",
        }
        for place in sorted(places):
            if query := rules.query(fields, place, wanted):
                yield query


def _nested(rules: "_Rules", tables: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """SELECTs about what another SELECT puts first."""
    for outer, columns in tables.items():
        for inner, others in tables.items():
            amounts = [name for name in others if TABLES[inner].columns[name] == NUMBER]
            fields = {column: TABLES[inner].columns[column] for column in others}
            where = rules.where(fields, rules.wanted)
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
    """What two SELECTs have in common, where a column has two values."""
    if len(rules.wanted) != 2 or not {c for c, _ in rules.wanted[0]} & {c for c, _ in rules.wanted[1]}:
        return
    for table, columns in tables.items():
        fields = {column: TABLES[table].columns[column] for column in columns}
        both = [rules.query(fields, f" FROM {table}", [value], plain=True) for value in rules.wanted]
        if all(both):
            yield rules.add(f'{both[0]} " INTERSECT " {both[1]}')


class _Rules:
    """The rules made so far; the same body is one rule.

    Attributes:
        wanted: what must be in the WHERE, each with the columns it may stand for.
    """

    def __init__(self, found: LinkedValues, codes: Mapping[str, Sequence[str]]) -> None:
        self.found = found
        self.codes = codes
        self.lines: list[str] = []
        self._names = count()
        self._known: dict[str, str] = {}
        by_value: dict[str, list[Value]] = {}
        for column, value in found.values:
            by_value.setdefault(value, []).append((column, value))
        self.wanted = [
            *by_value.values(),
            *([("", name)] for name in found.names),
            *([("#", str(n))] for n in found.numbers if n > FEW),
        ]
        self.few = [n for n in found.numbers if isinstance(n, int) and 0 < n <= FEW]

    def add(self, body: str) -> str:
        """The name of a rule with that body."""
        if body not in self._known:
            self._known[body] = f"r{next(self._names)}"
            self.lines.append(f"{self._known[body]} ::= {body}")
        return self._known[body]

    def any(self, choices: Sequence[str]) -> str:
        """A rule that is one of several."""
        return self.add(" | ".join(dict.fromkeys(choices)))

    def query(
        self, fields: Fields, place: str, wanted: Sequence[list[Value]], *, plain: bool = False
    ) -> str | None:
        """A SELECT; None if its tables haven't what is wanted.

        Args:
            plain: without groups and order.
        """
        where = self.where(fields, wanted)
        # what a column must be is nothing to ask for
        fixed = {column for values in wanted for column, _ in values}
        rest = {name: kind for name, kind in fields.items() if name.split(".")[-1] not in fixed}
        if where is None or not self._columns(rest):
            return None
        column = self._column(rest)
        if plain:
            return self.add(f'"SELECT " {column} {_text(place)} {where}')
        amounts = [_text(name) for name, kind in rest.items() if kind == NUMBER]
        tail = f"{_text(place)} {where}"
        # "the two largest" names its LIMIT; without such a number, one or all are meant
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
        self, fields: Fields, table: str, own: str, one: str, two: str, wanted: Sequence[list[Value]]
    ) -> str | None:
        """A SELECT of the other rows of a table that share something with the named one."""
        if len(wanted) != 1:
            return None
        choices = []
        for column, value in wanted[0]:
            if f"{one}.{column}" in fields:
                tables = f"{two}.{column} FROM {table} {one} JOIN {table} {two}"
                choices.append(
                    f'"SELECT " "DISTINCT "? {_text(tables)} '
                    f"{_text(f' ON {two}.{own} = {one}.{own} WHERE {one}.{column} = {quoted(value)}')} "
                    f"{_text(f' AND {two}.{column} <> {quoted(value)}')}"
                )
        return self.any(choices) if choices else None

    def where(self, fields: Fields, wanted: Sequence[list[Value]]) -> str | None:
        """The WHERE with all that is wanted, in its order; None if the tables haven't all of it."""
        parts = []
        columns = [values[0][0] for values in wanted if len(values) == 1 and values[0][0] not in ("", "#")]
        if len(columns) > len(set(columns)) and len(fields) == len({n.split(".")[-1] for n in fields}):
            # a column of one row has one value
            return None
        for values in wanted:
            choices = [each for value in values for each in self._conditions(fields, value)]
            if not choices:
                return None
            parts.append(self.any(choices))
        amounts = [name for name, kind in fields.items() if kind == NUMBER]
        given = self.any([_text(f"{name} IS NOT NULL") for name in amounts]) if amounts else ""
        if not parts:
            missing = [_text(f"{name} IS NULL") for name in amounts]
            return f'(" WHERE " {self.any([given, *missing])})?' if amounts else '""'
        required = ' " AND " '.join(parts)
        return f'" WHERE " {required}' + (f' (" AND " {given})?' if amounts else "")

    def _conditions(self, fields: Fields, value: Value) -> Iterator[str]:
        """How a value may be compared."""
        where, text = value
        # a word of no column is looked for in the texts, where they are
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
                # a name that no column has may be a name, or stand for a code: Canada for CA
                known = [quoted(c) for c in self.codes.get(column, ())] or [quoted(text)]
                yield f"{_text(f'{name} = ')} {self.any(list(map(_text, known)))}"

    @staticmethod
    def _columns(fields: Fields) -> list[str]:
        return [name for name in fields if name.split(".")[-1] != "text"]

    def _column(self, fields: Fields) -> str:
        return self.any([_text(name) for name in self._columns(fields)])

    def items(self, fields: Fields) -> str:
        """What is selected: columns, or one aggregate."""
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
    """A terminal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'

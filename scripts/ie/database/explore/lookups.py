"""Queries of the explore page: entities by name, their mentions, deals and relations, and texts in pieces.
An entity is an entry of the company table (by its id) or, if a mention is not linked, a name as written.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from ie.data.documents.pictures import document_view

Row = dict[str, Any]
Focus = tuple[int, int]

# Candidates that are read before the best are chosen; a longer prefix finds the others.
CONSIDERED = 2000
DEAL_COLUMNS = (
    "d.deal_id, d.document_id, d.company_id, d.company, d.amount, d.currency, d.category, d.confidence"
)


@dataclass(frozen=True)
class Entity:
    """An entry of the company table (`id`), or a name that isn't linked (`name`)."""

    id: str = ""
    name: str = ""

    def where(self, alias: str = "m") -> tuple[str, list[str]]:
        """The SQL condition on a mention, and its parameters."""
        if self.id:
            return f"{alias}.company_id = ?", [self.id]
        # Amounts are not entities; a parsed amount has a rule.
        return (
            f"{alias}.company_id IS NULL AND {alias}.rule IS NULL AND {alias}.text = ? COLLATE NOCASE",
            [self.name],
        )


@dataclass
class SearchHit:
    """An entity found by a search; `names` are its matching names as written in texts."""

    entity: Entity
    name: str
    names: set[str] = field(default_factory=set)
    mentions: int = 0

    def row(self) -> Row:
        """As the page needs it."""
        others = sorted(self.names - {self.name})
        return {
            "id": self.entity.id,
            "name": self.name,
            "mentions": self.mentions,
            "names": others[:5],
        }


def rows(connection: sqlite3.Connection, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
    """Rows of a query as dictionaries."""
    cursor = connection.execute(sql, parameters)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def search(connection: sqlite3.Connection, typed: str, most: int) -> tuple[list[Row], bool]:
    """Entities with a word in their name that starts with `typed`, in the company table or in a text.

    Names that start with it come first, then the most mentioned ones.

    Returns:
        At most `most` of them, and whether there are more.
    """
    typed = " ".join(typed.split())
    if not typed:
        return [], False
    literal = typed.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    patterns = [f"{literal}%", f"% {literal}%"]
    hits: dict[Entity, SearchHit] = {}
    for row in rows(
        connection,
        "SELECT m.company_id AS id, m.text AS text, c.name AS name, COUNT(*) AS n FROM mentions m "
        "LEFT JOIN companies c ON c.company_id = m.company_id WHERE m.rule IS NULL AND m.amount IS NULL "
        r"AND (m.text LIKE ? ESCAPE '\' OR m.text LIKE ? ESCAPE '\') "
        "GROUP BY m.company_id, m.text COLLATE NOCASE ORDER BY n DESC, m.text LIMIT ?",
        [*patterns, CONSIDERED],
    ):
        entity = Entity(id=row["id"]) if row["id"] else Entity(name=row["text"])
        hit = hits.setdefault(entity, SearchHit(entity, row["name"] or row["text"]))
        hit.names.add(row["text"])
    for row in rows(
        connection,
        "SELECT company_id AS id, name FROM companies WHERE "
        r"name LIKE ? ESCAPE '\' OR name LIKE ? ESCAPE '\' ORDER BY name LIMIT ?",
        [*patterns, CONSIDERED],
    ):
        hits.setdefault(Entity(id=row["id"]), SearchHit(Entity(id=row["id"]), row["name"]))
    for hit in hits.values():
        condition, parameters = hit.entity.where()
        (hit.mentions,) = connection.execute(
            f"SELECT COUNT(*) FROM mentions m WHERE {condition}", parameters
        ).fetchone()

    def rank(hit: SearchHit) -> tuple:
        begins = any(n.casefold().startswith(typed.casefold()) for n in (hit.name, *hit.names))
        return not begins, -hit.mentions, hit.name, hit.entity.id

    best = sorted(hits.values(), key=rank)
    return [hit.row() for hit in best[:most]], len(best) > most


def entity(connection: sqlite3.Connection, target: Entity, most: int) -> Row | None:
    """Everything known about an entity: its entry, names, texts, relations and deals.

    Args:
        most: maximum number of texts; `documents` is the total.
    """
    entry = rows(connection, "SELECT * FROM companies WHERE company_id = ?", [target.id]) if target.id else []
    condition, parameters = target.where()
    mentions = rows(
        connection,
        f'SELECT m.document_id, m.start, m."end", m.text FROM mentions m WHERE {condition} '
        "ORDER BY m.document_id, m.start",
        parameters,
    )
    if not entry and not mentions:
        return None
    focus: dict[str, list[Focus]] = {}
    for row in mentions:
        focus.setdefault(row["document_id"], []).append((row["start"], row["end"]))
    shown_texts = dict(list(focus.items())[:most])
    return {
        "id": target.id,
        "name": entry[0]["name"] if entry else mentions[0]["text"],
        "entry": {k: v for k, v in entry[0].items() if v and k not in ("company_id", "name")}
        if entry
        else {},
        "names": sorted({row["text"] for row in mentions}),
        "mentions": len(mentions),
        "documents": len(focus),
        "texts": texts(connection, shown_texts),
        "ties": ties(connection, target),
        "deals": deals(connection, target),
    }


def ties(connection: sqlite3.Connection, target: Entity) -> list[Row]:
    """Other entities in a relation with this one, the most frequent first."""
    condition, parameters = target.where("one")
    relations: list[Row] = []
    for this, other, way in (
        ("head_mention", "child_mention", "to"),
        ("child_mention", "head_mention", "from"),
    ):
        relations += rows(
            connection,
            f"SELECT r.label AS label, '{way}' AS way, other.company_id AS id, "
            "COALESCE(c.name, MIN(other.text)) AS name, COUNT(DISTINCT r.document_id) AS documents "
            f"FROM mentions one JOIN relations r ON r.{this} = one.mention_id "
            f"JOIN mentions other ON other.mention_id = r.{other} "
            "LEFT JOIN companies c ON c.company_id = other.company_id "
            f"WHERE {condition} AND other.rule IS NULL AND other.amount IS NULL "
            "GROUP BY r.label, COALESCE(other.company_id, LOWER(other.text))",
            parameters,
        )
    return sorted(relations, key=lambda row: (-row["documents"], row["name"], row["label"], row["way"]))


def deals(connection: sqlite3.Connection, target: Entity) -> list[Row]:
    """Deals in which the entity received money or invested."""
    if target.id:
        received, gave, value = "d.company_id = ?", "i.investor_id = ?", target.id
    else:
        received = "d.company_id IS NULL AND d.company = ? COLLATE NOCASE"
        gave = "i.investor_id IS NULL AND i.investor = ? COLLATE NOCASE"
        value = target.name
    deal_rows = rows(
        connection,
        f"SELECT {DEAL_COLUMNS} FROM deals d WHERE ({received}) OR d.deal_id IN "
        f"(SELECT i.deal_id FROM investments i WHERE {gave}) "
        "ORDER BY d.amount IS NULL, d.currency, d.amount DESC, d.deal_id",
        [value, value],
    )
    return _with_investors(connection, deal_rows)


def newest_deals(connection: sqlite3.Connection, most: int) -> list[Row]:
    """The deals of the latest texts by their date; without dates, those of the last texts."""
    deal_rows = rows(
        connection,
        f"SELECT {DEAL_COLUMNS}, t.date AS date FROM deals d "
        "JOIN documents t ON t.document_id = d.document_id "
        "ORDER BY t.date IS NULL, t.date DESC, d.document_id DESC, d.deal_id LIMIT ?",
        [most],
    )
    return _with_investors(connection, deal_rows)


def _with_investors(connection: sqlite3.Connection, deal_rows: list[Row]) -> list[Row]:
    for row in deal_rows:
        row["investors"] = rows(
            connection,
            "SELECT investor_id AS id, investor AS name FROM investments WHERE deal_id = ? ORDER BY investor",
            [row["deal_id"]],
        )
    return deal_rows


def texts(connection: sqlite3.Connection, focus: dict[str, list[Focus]]) -> list[Row]:
    """Documents split into pieces, with their annotation.

    Args:
        focus: maps a document to the character spans to highlight.
    """
    documents = []
    for document, stretches in focus.items():
        row = connection.execute(
            "SELECT text, source, category, meta FROM documents WHERE document_id = ?", [document]
        ).fetchone()
        if row is None:
            continue
        mentions = rows(
            connection,
            'SELECT start, "end", label, text, company_id AS id, amount_low AS low, amount_high AS high, '
            "currency, rule FROM mentions WHERE document_id = ? ORDER BY start",
            [document],
        )
        documents.append(
            {
                "document": document,
                "source": row[1],
                "category": row[2],
                "pieces": pieces(row[0], mentions, stretches),
                "view": _view(row[0], json.loads(row[3] or "{}"), mentions),
            }
        )
    return documents


def _view(text: str, meta: Row, mentions: Sequence[Row]) -> Row:
    """Where a text and its mentions stand in a document; {} if it is from none."""
    view = document_view(text, meta, [(m["start"], m["end"]) for m in mentions])
    return view | {"labels": [m["label"] for m in mentions]} if view else {}


def meta(connection: sqlite3.Connection, document: str) -> Row:
    """The `meta` of a text, {} if there is no such text."""
    row = connection.execute("SELECT meta FROM documents WHERE document_id = ?", [document]).fetchone()
    return json.loads(row[0] or "{}") if row else {}


def pieces(text: str, mentions: Iterable[Row], focus: Sequence[Focus]) -> list[Row]:
    """Split a text where a mention or a highlighted span begins or ends.

    The page gets pieces instead of offsets, because JavaScript counts UTF-16 code units, not characters.
    """
    marks = [m for m in mentions if 0 <= m["start"] < m["end"] <= len(text)]
    edges = {0, len(text)}
    for mark in marks:
        edges |= {mark["start"], mark["end"]}
    for start, end in focus:
        edges |= {min(max(0, start), len(text)), min(max(0, end), len(text))}
    cut = sorted(edges)
    parts = []
    for start, end in pairwise(cut):
        piece: Row = {"text": text[start:end]}
        if any(a <= start and end <= b for a, b in focus):
            piece["focus"] = True
        for mark in marks:
            if mark["start"] <= start and end <= mark["end"]:
                piece |= {
                    "label": mark["label"],
                    "id": mark["id"],
                    "amount": bool(mark["rule"]) or mark["low"] is not None,
                }
                piece["name"] = mark["text"]
                if mark["low"] is not None:
                    ends = dict.fromkeys((mark["low"], mark["high"]))
                    piece["value"] = f"{' to '.join(f'{n:,}' for n in ends)} {mark['currency']}"
                piece["last"] = end == mark["end"]
        parts.append(piece)
    return parts


def sources(columns: Sequence[str], rows: Sequence[Sequence[Any]], most: int) -> list[tuple[str, int, int]]:
    """The texts that the rows of a statement refer to, as (document_id, start, end).

    Args:
        most: maximum number of texts.
    """
    names = [column.lower() for column in columns]
    if "document_id" not in names:
        return []
    document = names.index("document_id")
    pair = next(
        (p for p in (("sentence_start", "sentence_end"), ("start", "end")) if set(p) <= set(names)), ()
    )
    result: list[tuple[str, int, int]] = []
    texts: set[str] = set()
    for row in rows:
        if not isinstance(row[document], str) or (row[document] not in texts and len(texts) == most):
            continue
        texts.add(row[document])
        start, end = (row[names.index(name)] for name in pair) if pair else (0, 0)
        whole = isinstance(start, int) and isinstance(end, int)
        result.append((row[document], start, end) if whole else (row[document], 0, 0))
    return result

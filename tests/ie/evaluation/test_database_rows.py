"""Rows: what makes one, and what a perfect component would fix."""

from decimal import Decimal
from itertools import count

import pytest
from spacy.language import Language

from ie.data.records import Record, Relation, Span, blank
from ie.evaluation import database_rows

NUMBERS = count()
TEXT = "Velto invests $5m in Hooli"


def deal(**links: str) -> Record:
    spans = [
        Span(start=0, end=5, label="COMPANY", kb_id=links.get("head", "1")),
        Span(start=14, end=17, label="MONEY", value="5000000 USD"),
        Span(start=21, end=26, label="COMPANY", kb_id=links.get("child", "NIL")),
    ]
    relations = [Relation(head=0, child=2, label="INVESTOR"), Relation(head=2, child=1, label="RAISED")]
    return Record(text=TEXT, spans=spans, relations=relations)


def pipeline(
    entities: list[tuple[str, str]], related: list[tuple[str, str, str]], links: dict[str, str]
) -> Language:
    """A pipeline that always says this."""
    nlp = blank("en")
    # spaCy keeps the first function of a name
    number = next(NUMBERS)

    @Language.component(f"test_ner_{number}")
    def ner(doc):
        doc.ents = [
            doc.char_span(TEXT.index(name), TEXT.index(name) + len(name), label) for name, label in entities
        ]
        return doc

    @Language.component(f"test_relations_{number}")
    def relations(doc):
        place = {ent.text: i for i, ent in enumerate(doc.ents)}
        doc._.relations = [
            {"head": place[h], "child": place[c], "label": label, "score": 1.0}
            for h, c, label in related
            if h in place and c in place
        ]
        return doc

    @Language.component(f"test_linker_{number}")
    def linker(doc):
        for ent in doc.ents:
            for token in ent:
                token.ent_kb_id_ = links.get(ent.text, "")
        return doc

    nlp.add_pipe(f"test_ner_{number}", name="ner")
    nlp.add_pipe(f"test_relations_{number}", name="relations")
    if links:
        nlp.add_pipe(f"test_linker_{number}", name="linker")
    return nlp


ALL = [("Velto", "COMPANY"), ("$5m", "MONEY"), ("Hooli", "COMPANY")]
BOTH = [("Velto", "Hooli", "INVESTOR"), ("Hooli", "$5m", "RAISED")]


def test_a_perfect_pipeline_has_nothing_to_mend() -> None:
    nlp = pipeline(ALL, BOTH, {"Velto": "1", "Hooli": "NIL"})
    assert database_rows.components(nlp) == ("ner", "relations", "linker")
    base, costs = database_rows.budget(nlp, [deal()])
    assert base.tolist() == [[2, 0, 0]]
    assert all(cost.counts.tolist() == [[2, 0, 0]] for cost in costs)


@pytest.mark.parametrize(
    ("entities", "related", "links", "base", "mended"),
    [
        # a missing entity takes its rows along; gold entities bring them back
        (ALL[:2], BOTH, {}, [0, 0, 2], {"ner": 2, "relations": 0}),
        # a relation turned round is one spurious row and one missing
        (ALL, [("Hooli", "Velto", "INVESTOR"), BOTH[1]], {}, [1, 1, 1], {"ner": 1, "relations": 2}),
        # a wrong link spoils only the row that it ends
        (ALL, BOTH, {"Velto": "2", "Hooli": "NIL"}, [1, 1, 1], {"ner": 1, "relations": 1, "linker": 2}),
        # "no link" and NIL are the same
        (ALL, BOTH, {"Velto": "1"}, [2, 0, 0], {"ner": 2, "relations": 2, "linker": 2}),
        # two reasons for one row: fixing either one alone isn't enough
        (ALL, BOTH[1:], {"Velto": "2"}, [1, 0, 1], {"ner": 1, "relations": 1, "linker": 1}),
    ],
)  # fmt: skip
def test_budget(entities, related, links, base, mended) -> None:
    nlp = pipeline(entities, related, links)
    found, costs = database_rows.budget(nlp, [deal()])
    assert found.tolist() == [base]
    assert {cost.component: int(cost.counts[0, 0]) for cost in costs} == mended


def test_values_that_gold_lacks_are_not_compared() -> None:
    plain = deal()
    spans = [Span(start=span.start, end=span.end, label=span.label) for span in plain.spans]
    gold = [plain.model_copy(update={"spans": spans})]
    found, costs = database_rows.budget(pipeline(ALL, BOTH, {"Velto": "1"}), gold)
    assert found.tolist() == [[2, 0, 0]]
    assert [cost.component for cost in costs] == ["ner", "relations"]


def test_without_linker_links_are_no_part_of_a_row() -> None:
    gold = database_rows.gold_rows([deal(), deal(head="7")], [])
    assert gold[0] == gold[1]
    assert len(database_rows.gold_rows([deal()], ["linker", "money"])[0]) == 2


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("5000000 USD", (Decimal(5000000), Decimal(5000000), "USD")),
        ("10-15.5 EUR", (Decimal(10), Decimal("15.5"), "EUR")),
        ("1.50 XXX", (Decimal("1.5"), Decimal("1.5"), "XXX")),
        ("much", None),
        ("", None),
    ],
)
def test_money_of(value: str, found: tuple | None) -> None:
    assert database_rows.money_of(Span(start=0, end=1, label="MONEY", value=value)) == found

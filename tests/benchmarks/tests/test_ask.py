"""Answers as `benchmark-ask` compares them, and the rival that reads snippets."""

from collections.abc import Callable

import deals
import numpy as np
import pytest
from benchmarks import ask

from ie.database.text_to_sql import SolvedQuestion
from ie.training import assembly


@pytest.fixture(scope="module")
def rag() -> Callable[..., ask.Rag]:
    """What answers from some texts, with settings."""
    pytest.importorskip("bm25s", reason="pip install -r tests/benchmarks/requirements.txt")
    money = assembly.load(deals.CONFIGS / "money.cfg", component="money").get_pipe("money")
    return lambda texts, **settings: ask.Rag(texts, ask.RagSettings(**settings), similar, money)


def similar(question: str) -> list[SolvedQuestion]:
    return [
        SolvedQuestion(f"How much did {name} raise?", "", "", "examples", [("x",)])
        for name in ("A", "B", "C")
    ]


def test_of_texts_that_fit_as_well_the_first_are_snippets(rag: Callable[..., ask.Rag]):
    texts = [f"Initech number {i} grows" for i in range(50)] + ["Hooli sells boats"]
    found = rag(texts, snippets=3)
    assert found.snippets("What grows at Initech?") == texts[2::-1]
    assert found.snippets("Which boats does Initech sell?")[-1] == texts[-1]
    exact, rng = found._index.get_scores, np.random.default_rng(0)
    found._index.get_scores = lambda words: exact(words) * (1 + rng.choice([-1e-7, 0, 1e-7], len(texts)))
    assert [found.snippets("What grows at Initech?") for _ in range(5)] == [texts[2::-1]] * 5
    assert found.snippets("?!") == found.snippets("xyzzy") == texts[2::-1]


def test_rows_are_compared_as_sets_by_value():
    assert ask.rowset([("Hooli", 5), ("B", 1.0)]) == ask.rowset([("b", 1), ("hooli", 5.0)])
    assert ask.rowset([(None,)]) == frozenset()
    assert ask.rowset([(1 / 3,)]) == ask.rowset([(0.33333333333,)])
    assert ask.rowset([(5,)]) != ask.rowset([(6,)])


def test_rag_is_read_generously(rag: Callable[..., ask.Rag]):
    texts = ["Hooli raises $5m from ACME Ventures.", "Velto gets nothing."]
    found = rag(texts, snippets=1)
    assert found.snippets("How much did Hooli raise?") == texts[:1]
    gold = ask.rowset([(5000000, "USD")])
    assert ask.rag_right(found.read(" $5m"), gold)
    assert ask.rag_right(found.read("5 million US dollars\nmore"), gold)
    assert ask.rag_right(found.read("$5m"), ask.rowset([(5000000,)]))
    assert not ask.rag_right(found.read("$6m"), gold)
    assert ask.rag_right(found.read("ACME Ventures | Hooli"), ask.rowset([("Hooli",), ("acme ventures",)]))
    assert ask.rag_right(found.read(" none"), frozenset())


def test_rag_is_shown_the_nearest_examples(rag: Callable[..., ask.Rag]):
    texts = ["Hooli raises $5m from ACME Ventures.", "Velto gets nothing."]
    question = "How much did Hooli raise?"
    near = similar(question)
    found = rag(texts, snippets=1, examples=2)
    asked = [line for line in found.prompt(question).splitlines() if line.startswith("Question: ")]
    assert asked == [f"Question: {q}" for q in (*(e.question for e in near[-2:]), question)]
    found.settings.examples = 0
    assert found.prompt(question).count("Question: ") == 1

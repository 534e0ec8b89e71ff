import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from running import ROOT, run_command

from components.money import MoneyNormaliser
from ie import assembling
from ie.database import asking, benchmark, guard, reading
from ie.database.asking import Question, Translator
from ie.database.grammar import NO_ANSWER
from ie.errors import UserError
from ie.llm.types import Prompt

QUESTIONS = asking.read_questions(ROOT / "assets/questions.jsonl")
EXAMPLES = [question for question in QUESTIONS if question.split == "examples"]
SCORED = [question for question in QUESTIONS if question.split == "scored"]


@pytest.fixture(scope="module")
def money() -> MoneyNormaliser:
    return assembling.load(ROOT / "configs/money.cfg", component="money").get_pipe("money")


@pytest.fixture
def rows(test_gold: Path) -> Iterator[sqlite3.Connection]:
    with closing(reading.open_readonly(test_gold)) as connection:
        yield connection


@pytest.fixture
def translator(rows: sqlite3.Connection, money: MoneyNormaliser) -> Translator:
    _, settings = asking.read_config(ROOT / "configs/ask.cfg")
    return Translator(rows, settings, EXAMPLES, money)


def saying(*replies: str) -> tuple[Callable, list[Prompt]]:
    """A model that gives these answers, one a round, and the prompts it got."""
    left, got = list(replies), []

    def ask(prompts):
        got.extend(prompts)
        return [left.pop(0) for _ in prompts]

    return ask, got


def test_there_are_sixty_scored_questions_and_others_as_examples():
    assert len(SCORED) == 60
    assert len(EXAMPLES) >= 12
    assert not {q.question for q in SCORED} & {q.question for q in EXAMPLES}
    kinds = Counter(question.kind for question in SCORED)
    assert set(kinds) == {"lookup", "count", "sum", "ranking", "join", "date", "no-answer"}
    assert min(kinds.values()) >= 6


@pytest.mark.parametrize("question", QUESTIONS, ids=[question.question for question in QUESTIONS])
def test_the_gold_sql_gives_the_stored_answer(rows: sqlite3.Connection, question: Question):
    if question.sql is None:
        assert question.answer == []
        return
    found = guard.run(rows, guard.check(question.sql, reading.schema_of(rows)))
    assert benchmark.rowset(found.rows) == benchmark.rowset(question.answer)
    assert bool(question.answer) == (question.kind != "no-answer")


def test_values_of_a_question_are_found(translator: Translator):
    def hint(question: str) -> str:
        return translator.values.find(question).hint()

    assert hint("Who invested in Selvedge Robotics?") == "company 'Selvedge Robotics'"
    assert hint("What did ACME Ventures's deals in Norwegian kroner come to?") == (
        "investor 'ACME Ventures', currency 'NOK'"
    )
    assert hint("How many raised more than 50 million US dollars?") == "currency 'USD', 50000000"
    assert hint("Who backed Selvege Robotics?") == "company 'Selvedge Robotics'"  # misspelt
    assert hint("How much did Initech raise?") == "'Initech'"
    assert hint("What do all companies have?") == "none"
    assert hint("Which are the three largest acquisitions?") == "category 'ACQUISITION', 3"


def test_the_prompt_shows_similar_questions_the_nearest_last(translator: Translator):
    prompt = translator.prompt("How much money did Fuoco Lento get?")
    shown = [line for line in prompt.splitlines() if line.startswith("Question:")]
    assert shown[-2:] == [
        "Question: How much money did Doubleback get?",
        "Question: How much money did Fuoco Lento get?",
    ]
    # what is unanswerable may be shown, but never as the nearest
    for question in SCORED:
        before, _, _ = translator.prompt(question.question).rpartition("\n\nQuestion:")
        assert not before.rstrip().endswith(NO_ANSWER)
    assert "Question: Who founded Obelisk Row?" in translator.prompt("Who founded Hooli?")


def test_an_answer_comes_with_its_sql_and_sources(translator: Translator):
    ask, _ = saying(" SELECT investor FROM investments WHERE company = 'Selvedge Robotics';")
    answer = asking.answer("Who invested in Selvedge Robotics?", translator, ask)
    assert sorted(answer.rows)[0] == ("Basalt Ventures",)
    assert answer.sql == "SELECT investor FROM investments WHERE company = 'Selvedge Robotics'"
    (source,) = answer.sources
    assert "Selvedge Robotics" in source.text[source.start : source.end]


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("SELECT COUNT(*) FROM deals WHERE company = 'Dent'", "Dent"),
        ("SELECT currency, SUM(amount) FROM deals WHERE currency = 'CHF' GROUP BY currency", "CHF"),
        (
            "SELECT d.amount FROM deals d JOIN investments i ON i.deal_id = d.deal_id "
            "WHERE i.investor = 'Hooli'",
            "Hooli",
        ),
        ("SELECT company FROM deals WHERE currency = 'USD' ORDER BY amount DESC LIMIT 1", "Pagoda Compute"),
        ("SELECT COUNT(*) FROM documents WHERE text LIKE '%Tuesday%'", "Tuesday"),
    ],
)
def test_sources_are_those_of_the_rows(translator: Translator, sql: str, word: str):
    answer = asking.answer("?", translator, saying(sql)[0])
    assert answer.sources
    assert all(word in source.text for source in answer.sources)


def test_what_is_refused_is_asked_for_again_with_the_reason(translator: Translator):
    ask, got = saying("DROP TABLE deals", "SELECT nothing FROM deals", "SELECT COUNT(*) FROM deals")
    answer = asking.answer("How many deals are there?", translator, ask)
    assert (answer.rows, answer.repaired, answer.refused) == ([(288,)], 2, 2)
    assert "Error: Only SELECT is allowed" in got[1]
    assert "There is no column nothing" in got[2]
    answer = asking.answer("And now?", translator, saying(*["SELECT nothing FROM deals"] * 3)[0])
    assert answer.error == "There is no column nothing."
    assert answer.rows == []


def test_a_model_may_say_that_there_is_no_answer(translator: Translator):
    answer = asking.answer("Who founded Hooli?", translator, saying(f" {NO_ANSWER}\n")[0])
    assert (answer.sql, answer.rows, answer.error) == (None, [], None)


def test_sql_is_found_in_what_chat_models_say():
    assert asking.read_reply("Sure!\n```sql\nSELECT 1;\n```") == "SELECT 1"
    assert asking.read_reply("DROP TABLE deals") == "DROP TABLE deals"


def test_rows_are_compared_as_sets_by_value():
    assert benchmark.rowset([("Hooli", 5), ("B", 1.0)]) == benchmark.rowset([("b", 1), ("hooli", 5.0)])
    assert benchmark.rowset([(None,)]) == frozenset()
    assert benchmark.rowset([(1 / 3,)]) == benchmark.rowset([(0.33333333333,)])
    assert benchmark.rowset([(5,)]) != benchmark.rowset([(6,)])


def test_rag_is_read_generously(money: MoneyNormaliser):
    texts = ["Hooli raises $5m from ACME Ventures.", "Velto gets nothing."]
    rag = benchmark.Rag(texts, benchmark.RagSettings(snippets=1), lambda question: [], money)
    assert rag.snippets("How much did Hooli raise?") == texts[:1]
    gold = benchmark.rowset([(5000000, "USD")])
    assert benchmark.rag_right(rag.read(" $5m"), gold)
    assert benchmark.rag_right(rag.read("5 million US dollars\nmore"), gold)
    assert benchmark.rag_right(rag.read("$5m"), benchmark.rowset([(5000000,)]))
    assert not benchmark.rag_right(rag.read("$6m"), gold)
    assert benchmark.rag_right(
        rag.read("ACME Ventures | Hooli"), benchmark.rowset([("Hooli",), ("acme ventures",)])
    )
    assert benchmark.rag_right(rag.read(" none"), frozenset())


def test_rag_is_shown_the_nearest_examples(translator: Translator, money: MoneyNormaliser):
    texts = ["Hooli raises $5m from ACME Ventures.", "Velto gets nothing."]
    question = SCORED[0].question
    near = translator.similar(question)
    assert len(near) == translator.settings.examples > 2
    rag = benchmark.Rag(texts, benchmark.RagSettings(snippets=1, examples=2), translator.similar, money)
    asked = [line for line in rag.prompt(question).splitlines() if line.startswith("Question: ")]
    assert asked == [f"Question: {q}" for q in (*(e.question for e in near[-2:]), question)]
    rag.settings.examples = 0
    assert rag.prompt(question).count("Question: ") == 1


def test_faults_end_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture):
    told = run_command("ask", ["--question", "x", "--database", tmp_path / "no.db"], capsys)
    assert (told.status, "run `weasel run database` first" in told.output) == (1, True)
    assert "there is no question" in run_command("ask", [], capsys).output
    text = (ROOT / "configs/ask.cfg").read_text()
    (tmp_path / "ask.cfg").write_text(text.replace('"investor"', '"inventor"'))
    with pytest.raises(UserError, match="there is no 'inventor'"):
        asking.read_config(tmp_path / "ask.cfg")
    (tmp_path / "q.jsonl").write_text('{"question": "x"}\n')
    with pytest.raises(UserError, match=r"q\.jsonl:1"):
        asking.read_questions(tmp_path / "q.jsonl")


@pytest.mark.llm
@pytest.mark.slow
def test_the_embedded_model_writes_nothing_but_what_the_grammar_lets_it(translator: Translator):
    """Whatever it knows, what it writes can be run: that is the grammar's doing."""
    config, _ = asking.read_config(ROOT / "configs/ask.cfg")
    model = asking.make_model(config, ROOT / "configs/ask.cfg")
    try:
        found = asking.answer_all([q.question for q in SCORED[::20]], translator, asking.asker(model))
    finally:
        model.close()
    assert [answer.error for answer in found] == [None] * 3

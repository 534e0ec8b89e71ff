import json
import re
import runpy
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace

import deals
import numpy as np
import pytest
from fake_llm import FakeLLM
from llm_stub import Response, answer_body
from running import ROOT, Outcome, run_command

from components.money import MoneyNormaliser
from ie.core.errors import UserError
from ie.core.files import write_json
from ie.database import text_to_sql
from ie.database.evidence import SourceText
from ie.database.sql_grammar import NO_ANSWER
from ie.database.text_to_sql import SolvedQuestion, Translator
from ie.llm.types import Answer as Reply
from ie.llm.types import Prompt
from ie.training import assembly

EXAMPLES = [
    SolvedQuestion(question, sql, "", "examples", [])
    for question, sql in {
        "How much money did Velto Bank get?": "SELECT amount FROM deals WHERE company = 'Velto Bank'",
        "Who invested in Ember Volt?": "SELECT investor FROM investments WHERE company = 'Ember Volt'",
        "How many deals were in pounds?": "SELECT COUNT(*) FROM deals WHERE currency = 'GBP'",
        "How many texts are about results?": "SELECT COUNT(*) FROM documents WHERE category = 'RESULTS'",
        "What do the deals in euros add up to?": "SELECT SUM(amount) FROM deals WHERE currency = 'EUR'",
        "Which investor backed most companies?": (
            "SELECT investor FROM investments GROUP BY investor ORDER BY COUNT(*) DESC LIMIT 1"
        ),
        "How many texts mention Thursday?": "SELECT COUNT(*) FROM documents WHERE text LIKE '%Thursday%'",
        "Who founded Ember Volt?": None,
        "When will Velto Bank make a profit?": None,
    }.items()
]
ASKED = [
    "How much did Selvedge Robotics raise?",
    "Which companies did ACME Ventures back?",
    "How many texts are about acquisitions?",
    "Who founded Hooli?",
]


@pytest.fixture(scope="module")
def money() -> MoneyNormaliser:
    return assembly.load(deals.CONFIGS / "money.cfg", component="money").get_pipe("money")


@pytest.fixture
def translator(connection: sqlite3.Connection, money: MoneyNormaliser) -> Translator:
    _, settings = text_to_sql.read_config(deals.CONFIGS / "ask.cfg")
    return Translator(connection, settings, EXAMPLES, money)


def saying(*replies: str) -> tuple[Callable, list[Prompt]]:
    """A model that gives these answers, one a round, and the prompts it got."""
    left, got = list(replies), []

    def ask(prompts):
        got.extend(prompts)
        return [left.pop(0) for _ in prompts]

    return ask, got


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
    prompt = translator.prompt("How much money did Umbra Foods get?")
    shown = [line for line in prompt.splitlines() if line.startswith("Question:")]
    assert shown[-2:] == [
        "Question: How much money did Velto Bank get?",
        "Question: How much money did Umbra Foods get?",
    ]
    # what is unanswerable may be shown, but never as the nearest
    for question in ASKED:
        before, _, _ = translator.prompt(question).rpartition("\n\nQuestion:")
        assert not before.rstrip().endswith(NO_ANSWER)
    assert "Question: Who founded Ember Volt?" in translator.prompt("Who founded Hooli?")


def test_the_examples_shown_do_not_rest_on_last_bits(translator: Translator, money: MoneyNormaliser):
    """Another processor sums in another order; the prompt, and so what it costs, stays the same."""
    # The same words in all orders are equally near to each of them.
    orders = [" ".join(words) for words in permutations(["who", "sold", "old", "boats"])]
    some = [replace(EXAMPLES[0], question=question) for question in orders]
    alike = Translator(translator.connection, translator.settings, some, money)
    for translator_, asked in ((translator, ASKED), (alike, ["boats", "who sold"])):
        before = [translator_.similar(question) for question in asked]
        exact, rng = translator_._vectors.data.copy(), np.random.default_rng(0)
        for _ in range(5):
            translator_._vectors.data = exact * (1 + rng.choice([-2e-16, 0, 2e-16], len(exact)))
            assert [translator_.similar(question) for question in asked] == before


def test_an_answer_comes_with_its_sql_and_sources(translator: Translator):
    ask, _ = saying(" SELECT investor FROM investments WHERE company = 'Underhill Reactor';")
    answer = text_to_sql.answer("Who invested in Underhill Reactor?", translator, ask)
    assert sorted(answer.rows) == [("ACME Ventures",), ("Wirrabara Lithium",)]
    assert answer.sql == "SELECT investor FROM investments WHERE company = 'Underhill Reactor'"
    (source,) = answer.sources
    assert "Underhill Reactor" in source.text[source.start : source.end]


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("SELECT COUNT(*) FROM deals WHERE company = 'Umbra Foods'", "Umbra Foods"),
        ("SELECT currency, SUM(amount) FROM deals WHERE currency = 'CHF' GROUP BY currency", "francs"),
        (
            "SELECT d.amount FROM deals d JOIN investments i ON i.deal_id = d.deal_id "
            "WHERE i.investor = 'Hooli'",
            "Hooli",
        ),
        ("SELECT company FROM deals WHERE currency = 'USD' ORDER BY amount DESC LIMIT 1", "Kowloon Ledger"),
        ("SELECT COUNT(*) FROM documents WHERE text LIKE '%Tuesday%'", "Tuesday"),
    ],
)
def test_sources_are_those_of_the_rows(translator: Translator, sql: str, word: str):
    answer = text_to_sql.answer("?", translator, saying(sql)[0])
    assert answer.sources
    assert all(word in source.text for source in answer.sources)


def test_what_is_refused_is_asked_for_again_with_the_reason(translator: Translator):
    ask, got = saying("DROP TABLE deals", "SELECT nothing FROM deals", "SELECT COUNT(*) FROM deals")
    answer = text_to_sql.answer("How many deals are there?", translator, ask)
    assert (answer.rows, answer.repaired, answer.refused) == ([(512,)], 2, 2)
    assert "Error: Only SELECT is allowed" in got[1]
    assert "There is no column nothing" in got[2]
    answer = text_to_sql.answer("And now?", translator, saying(*["SELECT nothing FROM deals"] * 3)[0])
    assert answer.error == "There is no column nothing."
    assert answer.rows == []


def test_a_model_may_say_that_there_is_no_answer(translator: Translator):
    answer = text_to_sql.answer("Who founded Hooli?", translator, saying(f" {NO_ANSWER}\n")[0])
    assert (answer.sql, answer.rows, answer.error) == (None, [], None)


LARGEST = "SELECT company FROM deals WHERE currency = 'USD' ORDER BY amount DESC LIMIT 1"
LINES = LARGEST.replace(" FROM", "\nFROM").replace(" WHERE", "\n  WHERE").replace(" ORDER", "\n\nORDER")
# What chat models send for the largest deal in US dollars.
REPLIES = {
    "fence": f"```sql\n{LARGEST};\n```",
    "fence with words": f"Here it is:\n\n```sql\n{LINES}\n```\n\nThis doesn't look at others; add them.",
    "fence on one line": f"```{LARGEST}```",
    "fence that never ends": f"```sqlite\n{LARGEST}\n",
    "the same twice": f"```sql\n{LARGEST}\n```\nAgain:\n```sql\n{LARGEST}\n```",
    "multi-line": LINES,
    "preamble": f"The largest deal in US dollars:\n{LARGEST}",
    "preamble on the line": f"Sure! SQL: {LARGEST}",
    "preamble-with": f"I can help you with that, and with more like it.\n{LARGEST}",
    "preamble-select": f"I select the one with the largest amount:\n{LARGEST};",
    "think": f"<think>SELECT COUNT(*) FROM deals? No, the largest.</think>\n\n{LARGEST}",
    "think without a beginning": f"SELECT COUNT(*) FROM deals\n</think>{LARGEST}",
    "lead-newline": f"\n\n {LARGEST}\n",
    "semicolon-note": f"{LARGEST}; -- the largest",
    "semicolon-words": f"{LARGEST};\nThat's the largest deal in US dollars.",
    "comment": f"-- the largest; in US dollars\n{LARGEST}",
    "with": "WITH d AS (\nSELECT company, amount\nFROM deals WHERE currency = 'USD'\n)\n"
    "SELECT company FROM d ORDER BY amount DESC LIMIT 1",
    "parentheses": f"({LARGEST})",
    "backticks": f"`{LARGEST}`",
    "semicolon in a text": LARGEST.replace("WHERE", "WHERE company <> 'a;b' AND"),
}
# What must not be run, in part neither.
HALVES = {
    "no table": "SELECT COUNT(*)\n",
    "several": f"{LARGEST};\nDROP TABLE deals",
    "several fences": f"```sql\n{LARGEST}\n```\nor\n```sql\nSELECT company FROM deals\n```",
    "second half": "The query is select count(*) from deals union\nselect company from deals",
    "words after": f"{LARGEST}\n\nThis doesn't look at other currencies.",
    "thinking never ends": f"<think>Let me see:\n{LARGEST}",
    "open parenthesis": "SELECT company FROM deals WHERE amount = (\nSELECT MAX(amount) FROM deals",
    "open text": "SELECT company FROM deals WHERE company = 'Hooli",
    "open fence": "```sql\nSELECT company FROM deals WHERE",
    "words": "I need more context.",
    "nothing": "",
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_sql_is_found_in_what_chat_models_say(translator: Translator, reply: str):
    found = text_to_sql.answer("Which is the largest deal in US dollars?", translator, saying(reply)[0])
    assert (found.error, found.rows, found.repaired) == (None, [("Kowloon Ledger",)], 0)


@pytest.mark.parametrize("reply", HALVES.values(), ids=HALVES)
def test_no_part_of_a_statement_is_run(translator: Translator, reply: str):
    ask, got = saying(reply, LARGEST)
    found = text_to_sql.answer("Which is the largest deal in US dollars?", translator, ask)
    assert (found.rows, found.repaired, found.refused) == ([("Kowloon Ledger",)], 1, 1)
    assert "Error:" in got[1]


def test_an_answer_that_was_cut_off_is_not_run(translator: Translator):
    cut = Reply("SELECT COUNT(*) FROM deals", finish_reason="length")
    found = text_to_sql.answer("How many deals are in US dollars?", translator, saying(*[cut] * 3)[0])
    assert "cut off at 120 tokens (max_tokens of [ask])" in found.error
    assert found.rows == []


@pytest.mark.parametrize("reply", [NO_ANSWER, f"```\n{NO_ANSWER}\n```", f"<think>Hm.</think>\n{NO_ANSWER}.",
                                   f"Sorry: {NO_ANSWER}"])  # fmt: skip
def test_no_answer_is_read_as_generously(reply: str):
    assert text_to_sql.read_reply(reply) is None
    assert text_to_sql.read_reply("DROP TABLE deals") == "DROP TABLE deals"


def obeying(fake: FakeLLM, text: str) -> Callable:
    """An answer that is cut at the strings that the request names, as real servers do."""

    def fault(path: str, prompt: str) -> object:
        body = fake.requests[-1][1]
        left = text
        for stop in body.get("stop", []) + body.get("stop_sequences", []):
            left = left.split(stop)[0]
        return Response(answer_body(path, left))

    return fault


@pytest.fixture
def remote(tmp_path: Path, gold: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable]:
    """`ask` with a model elsewhere that answers with a text; gives the outcome and the fake."""
    monkeypatch.setenv("ASK_TEST_KEY", "k")
    with FakeLLM() as fake:

        def ask(
            text: str, *arguments: str, protocol: str = "OpenAI", capsys: pytest.CaptureFixture
        ) -> Outcome:
            fake.always = obeying(fake, text)
            url = fake.url + ("/v1" if protocol == "OpenAI" else "")
            config = (deals.CONFIGS / "ask.cfg").read_text("utf-8")
            start, end = config.index("[model]"), config.index("[ask]")
            model = f'[model]\n@llm_models = "ie.{protocol}.v1"\nmodel = "fake"\nbase_url = "{url}"\n'
            more = (
                f'api_key_env = "ASK_TEST_KEY"\nmax_retries = 0\ncache = "{tmp_path / "answers.sqlite"}"\n\n'
            )
            (tmp_path / "ask.cfg").write_text(config[:start] + model + more + config[end:], "utf-8")
            options = ["--database", gold, "--config", tmp_path / "ask.cfg", *arguments]
            return run_command("ask", options, capsys)

        ask.fake = fake
        yield ask


@pytest.mark.parametrize("protocol", ["OpenAI", "Anthropic"])
@pytest.mark.parametrize("name", ["multi-line", "lead-newline"])
def test_no_newline_ends_the_answer_of_a_model_elsewhere(
    remote: Callable, capsys: pytest.CaptureFixture, protocol: str, name: str
):
    printed = remote(REPLIES[name], "Which is the largest?", protocol=protocol, capsys=capsys)
    assert printed.status == 0, printed.output
    assert "after 1 tries" not in printed.output
    assert len(remote.fake.requests) == 1
    assert "ORDER BY amount DESC LIMIT 1" in printed.output


def test_a_question_may_hold_any_characters(
    remote: Callable, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    question = """Who's the "largest" that raised $5m, ${vars.seed} %s?"""
    assert remote(LARGEST, question, capsys=capsys).status == 0
    monkeypatch.setenv("QUESTION", question)
    assert remote(LARGEST, capsys=capsys).status == 0
    monkeypatch.delenv("QUESTION")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda shown: question)
    assert remote(LARGEST, capsys=capsys).status == 0
    asked = [prompt.rpartition("Question: ")[2].splitlines()[0] for prompt in remote.fake.prompts]
    assert set(asked) == {question}


def test_what_a_terminal_would_act_on_is_escaped(remote: Callable, capsys: pytest.CaptureFixture):
    sql = (
        "SELECT company AS 'x\x7fy', REPLACE(currency, 'USD', '\x9b31mred') FROM deals "
        "WHERE company = 'Hooli' LIMIT 1"
    )
    printed = remote(sql, "Who?", capsys=capsys)
    assert printed.status == 0, printed.output
    assert r"x\x7fy" in printed.output
    assert r"\x9b31mred" in printed.output
    assert not any(127 <= ord(c) < 160 for c in printed.output)


def test_the_model_is_not_shown_the_confidence(translator: Translator):
    """Prompts of earlier versions of the schema stay the same, so nothing is paid twice."""
    assert "confidence" in translator.schema["deals"]
    prompt = translator.prompt("How much did Selvedge Robotics raise?")
    assert "confidence" not in str(prompt)
    assert "confidence" not in prompt.grammar


def test_an_answer_shows_how_sure_its_rows_are(
    remote: Callable, gold: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    database = tmp_path / "sure.db"
    shutil.copy(gold, database)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE deals SET confidence = 0.97 WHERE currency = 'USD'")
        connection.execute("UPDATE deals SET confidence = 0.5 WHERE currency = 'GBP'")
        connection.commit()
    accept = tmp_path / "accept.json"

    def ask(sql: str) -> str:
        # each question has an answer of its own in the cache
        outcome = remote(
            sql, f"What about {len(sql)}?", "--database", database, "--accept", accept, capsys=capsys
        )
        assert outcome.status == 0, outcome.output
        assert all(len(line) <= 80 for line in outcome.output.splitlines() if "SQL:" not in line)
        return " ".join(outcome.output.split())

    one = "SELECT company, amount, currency FROM deals WHERE currency = 'USD' LIMIT 1"
    assert "run `weasel run accept`" in ask(one)
    write_json(accept, {"target": 0.95, "unit": "rows", "threshold": {"confidence": 0.9}})
    printed = ask(one)
    assert "USD 0.97" in printed
    assert "1 of 1 row (100 %) can go unread" in printed
    printed = ask(
        "SELECT currency, SUM(amount) FROM deals WHERE currency IN ('USD', 'GBP') GROUP BY currency"
    )
    assert "mean confidence" in printed
    assert re.search(r"GBP [\d,]+ 0.50 0 of (\d+) USD [\d,]+ 0.97 (\d+) of \2 ", printed), printed
    printed = ask("SELECT SUM(amount) FROM deals WHERE currency = 'GBP'")
    assert re.search(r"0 of \d+ rows \(0 %\) behind this answer, with 0 % of the sum, can go", printed), (
        printed
    )
    assert "isn't known: the SQL reads no table" in ask("SELECT COUNT(*) FROM documents")
    accept.write_text("{")
    broken = remote(one, "What?", "--database", database, "--accept", accept, capsys=capsys)
    assert (broken.status, "run `weasel run accept` again" in broken.output) == (1, True)


def test_colours_in_a_text_are_escaped_too(capsys: pytest.CaptureFixture):
    """Commands print colours themselves, so what is let through in general is escaped here."""
    command = runpy.run_path(str(ROOT / "scripts/ask.py"))
    source = SourceText("t\x1b[8m", "\x1b[31mHooli\x1b]0;x\x07 raised\x1b[2J", 5, 14)
    answer = text_to_sql.SqlAnswer("?", "SELECT '\x1b[0m'", ["\x1b[8m"], [("\x1b[31m",)], [source])
    command["print_answer"](answer, None, 10)
    printed = capsys.readouterr().out
    assert "\x1b" not in printed.replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert r"t\x1b[8m: \x1b[31m" in printed
    assert r"SELECT '\x1b[0m'" in printed


def test_faults_end_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    def ended(shown: str) -> str:
        raise EOFError

    told = run_command("ask", ["x", "--database", tmp_path / "no.db"], capsys)
    assert (told.status, "run `weasel run database` first" in told.output) == (1, True)
    assert "there is no question" in run_command("ask", [], capsys).output
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", ended)
    assert "there is no question" in run_command("ask", [], capsys).output
    text = (deals.CONFIGS / "ask.cfg").read_text()
    (tmp_path / "ask.cfg").write_text(text.replace('"investor"', '"inventor"'))
    with pytest.raises(UserError, match="there is no 'inventor'"):
        text_to_sql.read_config(tmp_path / "ask.cfg")
    (tmp_path / "ask.cfg").write_text(text.replace("rows = 200", "row = 200"))
    with pytest.raises(UserError, match=r"ask.cfg: \[ask\]: limits.row: "):
        text_to_sql.read_config(tmp_path / "ask.cfg")
    question = {"question": "a\u2028b?", "sql": None, "kind": "no-answer", "split": "scored"}
    (tmp_path / "q.jsonl").write_text(json.dumps(question, ensure_ascii=False) + "\n", encoding="utf-8")
    assert text_to_sql.read_questions(tmp_path / "q.jsonl")[0].question == "a\u2028b?"
    (tmp_path / "q.jsonl").write_text('{"question": "x"}\n')
    with pytest.raises(UserError, match=r"q\.jsonl:1"):
        text_to_sql.read_questions(tmp_path / "q.jsonl")


@pytest.mark.llm
@pytest.mark.slow
def test_the_embedded_model_writes_nothing_but_what_the_grammar_lets_it(translator: Translator):
    """Whatever it knows, what it writes can be run: that is the grammar's doing."""
    config, _ = text_to_sql.read_config(deals.CONFIGS / "ask.cfg")
    model = text_to_sql.make_model(config, deals.CONFIGS / "ask.cfg")
    try:
        found = text_to_sql.answer_all(ASKED[:3], translator, text_to_sql.asker(model))
    finally:
        model.close()
    assert [answer.error for answer in found] == [None] * 3

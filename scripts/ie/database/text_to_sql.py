"""Text-to-SQL: a language model writes a query for a question, and the query is run (slides 17-18).

The prompt shows the tables, similar solved questions, and which parts of the question are values of the
database. The answer is checked and run by `ie.database.guard`; if that fails, the model may try again with
the reason.
"""

import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from confection import Config
from sklearn.feature_extraction.text import TfidfVectorizer
from spacy_llm.registry import registry

from components.money import MoneyNormaliser
from ie.core.errors import UserError
from ie.core.files import read_jsonl
from ie.core.settings import Section, validated
from ie.core.text import one_line
from ie.database import evidence, guard
from ie.database.evidence import SourceText
from ie.database.guard import QueryLimits, Result, StatementRefused
from ie.database.schema import REFERENCES, TABLES
from ie.database.sql_grammar import NO_ANSWER, grammar
from ie.database.sqlite_file import schema_of
from ie.database.value_linking import LinkedValues, Values
from ie.llm import models, pipeline  # noqa: F401  (models: for what it registers)
from ie.llm.answer_format import after_reasoning
from ie.llm.types import Answer as Reply
from ie.llm.types import Prompt

# Maps prompts to the model's answers, in the same order.
Ask = Callable[[Sequence[Prompt]], Sequence[str]]
# Ends the model's answer before it invents another question; no statement contains it.
STOP = "\nQuestion:"
# Where a statement begins: at the start of a line, or after a colon.
BEGINNING = re.compile(
    r"(?:^|:)\s*(?=[(\s]*SELECT\b|WITH\s+(?:RECURSIVE\s+)?[\w\"`\[\]]+\s*(?:\([^()]*\)\s*)?AS\b)",
    re.IGNORECASE | re.MULTILINE,
)
FENCE = re.compile(r"```(?:sql\w*|text|plaintext)?(.*?)(?:```|\Z)", re.IGNORECASE | re.DOTALL)
# A semicolon; strings, quoted names and comments, which may contain one, match first.
SEMICOLON = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/|(;)", re.DOTALL)
ANOTHER = re.compile(
    r"(?:^|;)\s*(?:SELECT|INSERT|UPDATE|DELETE|DROP|CREATE|ALTER|ATTACH|PRAGMA)\b",
    re.IGNORECASE | re.MULTILINE,
)


class SourcesSection(Section):
    """[ask.sources]: how many texts are shown with an answer."""

    limit: int = 5


class AskSettings(Section):
    """[ask] of configs/ask.cfg, which documents each setting."""

    examples: int = 6
    repairs: int = 2
    max_tokens: int = 120
    grammar: bool = True
    tables: dict[str, list[str]]
    sources: SourcesSection = SourcesSection()
    limits: QueryLimits = QueryLimits()


@dataclass(frozen=True)
class SolvedQuestion:
    """A line of assets/questions.jsonl.

    Attributes:
        sql: the gold query; None if the tables can't answer the question.
        kind: such as "lookup" or "no-answer".
        split: "examples" are shown in prompts, "scored" are used by the benchmark.
        answer: rows of the gold query on the gold database.
    """

    question: str
    sql: str | None
    kind: str
    split: str
    answer: list[tuple]


@dataclass(frozen=True)
class SqlAnswer:
    """The answer to a question.

    Attributes:
        sql: the query that was run; None if the model said that there is no answer, or wrote no valid query.
        error: why there are no rows, if the last attempt was refused or failed.
        repaired: number of attempts after the first.
        truncated: whether a limit cut the rows.
        refused: number of attempts that the guard refused before running them.
        failed: number of attempts that failed in SQLite.
    """

    question: str
    sql: str | None
    columns: list[str] = field(default_factory=list)
    rows: list[tuple] = field(default_factory=list)
    sources: list[SourceText] = field(default_factory=list)
    error: str | None = None
    repaired: int = 0
    truncated: bool = False
    refused: int = 0
    failed: int = 0

    @property
    def result(self) -> Result:
        """Columns and rows."""
        return Result(self.columns, self.rows, self.truncated)


def read_questions(path: Path) -> list[SolvedQuestion]:
    """Read solved questions, one JSON object per line.

    Raises:
        UserError: the file is missing, or a line isn't a valid question.
    """

    def question(data: dict[str, Any]) -> SolvedQuestion:
        answer = [tuple(row) for row in data.pop("answer", [])]
        return SolvedQuestion(**data, answer=answer)

    expected = "no question; it must have question, sql, kind, split and answer"
    return read_jsonl(path, question, expected, "it must have one question per line")


def read_config(path: Path, provider: str = "") -> tuple[Config, AskSettings]:
    """Read configs/ask.cfg, with the model replaced if a provider is named.

    Raises:
        UserError: a file is missing or invalid, or a setting, table or column is unknown.
    """
    config = pipeline.load_config(path, pipeline.provider_file(provider))
    settings = validated(f"{path}: [ask]", config.get("ask", {}), AskSettings)
    for table, columns in settings.tables.items():
        allowed = TABLES[table].columns if table in TABLES else {}
        if unknown := [column for column in columns if column not in allowed]:
            raise UserError(f"{path}: [ask.tables] {table}: there is no {unknown[0]!r}; correct the name.")
        if not allowed:
            raise UserError(f"{path}: [ask.tables]: there is no table {table!r}; correct the name.")
    return config, settings


def make_model(config: Config, path: Path) -> Any:
    """Create the model of [model]. It is called with prompts and must be closed.

    Raises:
        UserError: a setting is invalid.
    """
    try:
        return registry.resolve({"model": config["model"]})["model"]
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path}: [model]: {one_line(error, 300)}; correct it.") from None


def asker(model: Any) -> Ask:
    """Wrap the model as a function from prompts to answers."""
    return lambda prompts: [answers[0] for answers in model([prompt] for prompt in prompts)]


class Translator:
    """Writes the prompts for questions to one database.

    Args:
        examples: solved questions to choose from.
        money: parses amounts in questions.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        settings: AskSettings,
        examples: Sequence[SolvedQuestion],
        money: MoneyNormaliser | None,
    ) -> None:
        self.connection = connection
        self.settings = settings
        self.examples = list(examples)
        self.schema = schema_of(connection)
        self.values = Values(connection, settings.tables, money)
        self._found = [self.values.find(example.question) for example in self.examples]
        masked = [
            linked.masked(example.question)
            for linked, example in zip(self._found, self.examples, strict=True)
        ]
        self._vectorizer = TfidfVectorizer(
            ngram_range=(1, 3), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b"
        )
        self._vectors = self._vectorizer.fit_transform(masked) if masked else None

    def similar(self, question: str) -> list[SolvedQuestion]:
        """The solved questions that the prompt for a question shows, the most similar last."""
        return [self.examples[i] for i in self.choose_examples(question, self.values.find(question))]

    def choose_examples(self, question: str, linked: LinkedValues) -> list[int]:
        """Indices of the solved questions to show, the most similar last, unanswerable ones before others.

        Small models copy the last example, so an unanswerable one there leads to "no answer".
        """
        if self._vectors is None or not self.settings.examples:
            return []
        # Rounded, because the last bits differ between processors; ties go to the first in the file.
        vector = self._vectorizer.transform([linked.masked(question)])
        likeness = (self._vectors @ vector.T).toarray().ravel().round(9)
        # A question must not be an example for itself.
        same = [example.question == question for example in self.examples]
        order = [int(i) for i in np.argsort(-likeness, kind="stable") if not same[i]]
        chosen = order[: self.settings.examples][::-1]
        return sorted(chosen, key=lambda i: self.examples[i].sql is not None)

    def prompt(self, question: str, failures: Sequence[tuple[str, str]] = ()) -> Prompt:
        """Write the prompt for a question.

        Args:
            failures: (SQL, reason) of earlier attempts.
        """
        linked = self.values.find(question)
        head = self._head()
        parts = [head]
        for i in self.choose_examples(question, linked):
            example = self.examples[i]
            sql = example.sql or NO_ANSWER
            parts.append(f"Question: {example.question}\nValues: {self._found[i].hint()}\nSQL: {sql}\n\n")
        parts.append(f"Question: {question}\nValues: {linked.hint()}\nSQL:")
        for sql, reason in failures:
            parts.append(f" {sql}\nError: {reason}\nCorrected SQL:")
        return Prompt(
            "".join(parts),
            prefix=len(head),
            stop=(STOP,),
            max_tokens=self.settings.max_tokens,
            grammar=grammar(self.settings.tables, linked, self.values.codes)
            if self.settings.grammar
            else None,
        )

    def _head(self) -> str:
        lines = ["SQLite tables:"]
        for table, columns in self.settings.tables.items():
            lines.append(f"{table}({', '.join(columns)}) -- {TABLES[table].row}")
        tables = self.settings.tables
        joins = [f"{a}.{x} = {b}.{y}" for a, x, b, y in REFERENCES if a in tables and b in tables and a != b]
        lines.append(f"Joins: {', '.join(joins)}")
        for column, values in self.values.codes.items():
            if len(values) <= 8:
                lines.append(f"{column}: {', '.join(values)}")
        lines.append(
            "Write one SELECT that answers the question, on one line, "
            f"or {NO_ANSWER} if the tables can't say."
        )
        return "\n".join(lines) + "\n\n"


def read_reply(reply: str) -> str | None:
    """Extract the statement from a model's answer; None for "no answer".

    Reasoning, code fences and surrounding prose are removed. If the end of the statement is ambiguous, the
    whole answer is returned, which the guard refuses: a fragment may be valid SQL with a different result.
    """
    text = after_reasoning(reply).strip()
    blocks = list(dict.fromkeys(block.strip() for block in FENCE.findall(text) if BEGINNING.search(block)))
    text = (";\n".join(blocks) if blocks else text).strip("`").strip()
    begin = BEGINNING.search(text)
    if text.upper().startswith(NO_ANSWER) or (NO_ANSWER in text and not begin):
        return None
    if not begin or re.search(r"\bSELECT\b.*\bFROM\b", text[: begin.end()], re.IGNORECASE | re.DOTALL):
        return text
    text = text[begin.end() :]
    end = next((match.start() for match in SEMICOLON.finditer(text) if match[1]), len(text))
    return text if ANOTHER.search(text[end + 1 :]) else text[:end].strip()


def check_reply(sql: str, reply: str, translator: "Translator") -> str:
    """Check a model's statement with the guard.

    Raises:
        StatementRefused: the guard refuses it, it reads no table, or the answer was cut off.
    """
    if getattr(reply, "finish_reason", "") == "length":
        limit = translator.settings.max_tokens
        raise StatementRefused("cut off", f"The answer was cut off at {limit} tokens (max_tokens of [ask]).")
    words = guard.check(sql, translator.schema)
    if not guard.tables(words):
        raise StatementRefused("no table", "The statement reads no table.")
    return words


def answer(question: str, translator: Translator, ask: Ask) -> SqlAnswer:
    """Answer one question; see `answer_all`."""
    return answer_all([question], translator, ask)[0]


def answer_all(questions: Sequence[str], translator: Translator, ask: Ask) -> list[SqlAnswer]:
    """Answer several questions.

    Each attempt prompts all open questions at once, so the model can batch them.
    """
    settings = translator.settings
    answers: list[SqlAnswer | None] = [None] * len(questions)
    failures: list[list[tuple[str, str]]] = [[] for _ in questions]
    counts = [{"refused": 0, "failed": 0} for _ in questions]
    for turn in range(settings.repairs + 1):
        unanswered = [i for i, answer in enumerate(answers) if answer is None]
        if not unanswered:
            break
        replies = ask([translator.prompt(questions[i], failures[i]) for i in unanswered])
        for i, reply in zip(unanswered, replies, strict=True):
            if isinstance(reply, Reply) and reply.error:
                answers[i] = SqlAnswer(questions[i], None, error=f"The model gave no answer ({reply.error}).")
                continue
            sql = read_reply(reply)
            if sql is None:
                answers[i] = SqlAnswer(questions[i], None, repaired=turn, **counts[i])
                continue
            statement = None
            try:
                statement = check_reply(sql, reply, translator)
                result = guard.run(translator.connection, statement, settings.limits)
            except StatementRefused as error:
                counts[i]["failed" if statement else "refused"] += 1
                failures[i].append((" ".join(sql.split())[:300], str(error)))
                continue
            answers[i] = SqlAnswer(
                questions[i],
                statement,
                result.columns,
                result.rows,
                evidence.sources(
                    translator.connection,
                    statement,
                    translator.schema,
                    result,
                    settings.sources.limit,
                    settings.limits,
                ),
                repaired=turn,
                truncated=result.truncated,
                **counts[i],
            )
    return [
        answer
        or SqlAnswer(
            question,
            attempts[-1][0],
            error=attempts[-1][1],
            repaired=settings.repairs,
            **count,
        )
        for answer, question, attempts, count in zip(answers, questions, failures, counts, strict=True)
    ]

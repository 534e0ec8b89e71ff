"""From a question to SQL by a language model, and to its answer (slides 17-18).

The model sees the tables, solved questions like this one, and what in it is a value of the database. What
it writes is checked and run by `ie.database.guard`; if that refuses, it may try again with the reason.
"""

import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from confection import Config
from pydantic import BaseModel, ConfigDict, ValidationError
from sklearn.feature_extraction.text import TfidfVectorizer
from spacy_llm.registry import registry

from components.money import MoneyNormaliser
from ie.core.errors import UserError
from ie.core.files import read_jsonl
from ie.core.text import one_line
from ie.database import evidence, guard
from ie.database.evidence import SourceText
from ie.database.guard import QueryLimits, StatementRefused
from ie.database.schema import REFERENCES, TABLES
from ie.database.sql_grammar import NO_ANSWER, grammar
from ie.database.sqlite_file import schema_of
from ie.database.value_linking import LinkedValues, Values
from ie.llm import models, pipeline  # noqa: F401  (models: for what it registers)
from ie.llm.answer_format import after_reasoning
from ie.llm.types import Answer as Reply
from ie.llm.types import Prompt

# From prompts to the model's answers, in order.
Ask = Callable[[Sequence[Prompt]], Sequence[str]]
# What comes after the answer where a model goes on with another question; a statement can't hold it.
STOP = "\nQuestion:"
# Where a statement begins: in a line of its own, or after a colon.
BEGINNING = re.compile(
    r"(?:^|:)\s*(?=[(\s]*SELECT\b|WITH\s+(?:RECURSIVE\s+)?[\w\"`\[\]]+\s*(?:\([^()]*\)\s*)?AS\b)",
    re.IGNORECASE | re.MULTILINE,
)
FENCE = re.compile(r"```(?:sql\w*|text|plaintext)?(.*?)(?:```|\Z)", re.IGNORECASE | re.DOTALL)
# A semicolon, and what may hold one that ends nothing.
SEMICOLON = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/|(;)", re.DOTALL)
ANOTHER = re.compile(
    r"(?:^|;)\s*(?:SELECT|INSERT|UPDATE|DELETE|DROP|CREATE|ALTER|ATTACH|PRAGMA)\b",
    re.IGNORECASE | re.MULTILINE,
)


class SourcesSection(BaseModel):
    """[ask.sources]: how many texts are shown with an answer."""

    model_config = ConfigDict(extra="forbid")
    limit: int = 5


class AskSettings(BaseModel):
    """[ask] of configs/ask.cfg, which says what each means."""

    model_config = ConfigDict(extra="forbid")
    examples: int = 6
    repairs: int = 2
    max_tokens: int = 120
    grammar: bool = True
    tables: dict[str, list[str]]
    sources: SourcesSection = SourcesSection()
    limits: dict[str, float] = {}

    def bounds(self) -> QueryLimits:
        """The limits of the guard."""
        given = {name: value if name == "seconds" else int(value) for name, value in self.limits.items()}
        return replace(QueryLimits(), **given)


@dataclass(frozen=True)
class SolvedQuestion:
    """A line of assets/questions.jsonl.

    Attributes:
        sql: the query that answers it; None where the tables can't say.
        kind: such as "lookup" or "no-answer".
        split: "examples" for those that prompts show, "scored" for the benchmark's.
        answer: rows of that query on gold.
    """

    question: str
    sql: str | None
    kind: str
    split: str
    answer: list[tuple]


@dataclass(frozen=True)
class SqlAnswer:
    """What a question came to.

    Attributes:
        sql: what was run; None if the model said that there is no answer, or wrote nothing that may be run.
        error: why there are no rows, if the last try was refused or failed.
        repaired: tries after the first.
        truncated: a limit cut the rows short.
        refused: tries that the guard refused before running them; `failed` those that SQLite didn't run.
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


def read_questions(path: Path) -> list[SolvedQuestion]:
    """Questions with gold SQL, a JSON object a line.

    Raises:
        UserError: no such file, or a line that isn't such a question.
    """

    def question(data: dict[str, Any]) -> SolvedQuestion:
        answer = [tuple(row) for row in data.pop("answer", [])]
        return SolvedQuestion(**data, answer=answer)

    fault = "no question; it must have question, sql, kind, split and answer"
    return read_jsonl(path, question, fault, "it must have one question per line")


def read_config(path: Path, provider: str = "") -> tuple[Config, AskSettings]:
    """configs/ask.cfg, with another model if a provider is named.

    Raises:
        UserError: a file is missing or broken, a setting or a column unknown.
    """
    config = pipeline.load_config(path, pipeline.provider_file(provider))
    try:
        settings = AskSettings.model_validate(config["ask"])
        settings.bounds()
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: [ask] lacks or has too much of {error}; correct it.") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: [ask] {place}: {first['msg'].lower()}; correct that setting.") from None
    for table, columns in settings.tables.items():
        known = TABLES[table].columns if table in TABLES else {}
        if unknown := [column for column in columns if column not in known]:
            raise UserError(f"{path}: [ask.tables] {table}: there is no {unknown[0]!r}; correct the name.")
        if not known:
            raise UserError(f"{path}: [ask.tables]: there is no table {table!r}; correct the name.")
    return config, settings


def make_model(config: Config, path: Path) -> Any:
    """The model of [model], which can be called with prompts and closed.

    Raises:
        UserError: a setting it doesn't take.
    """
    try:
        return registry.resolve({"model": config["model"]})["model"]
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path}: [model]: {one_line(error, 300)}; correct it.") from None


def asker(model: Any) -> Ask:
    """The model as a callable from prompts to answers."""
    return lambda prompts: [answers[0] for answers in model([prompt] for prompt in prompts)]


class Translator:
    """Makes the prompts for a database, and reads what comes back.

    Args:
        examples: solved questions that may be shown.
        money: reads amounts in questions.
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
        masked = [f.masked(e.question) for f, e in zip(self._found, self.examples, strict=True)]
        self._vectorizer = TfidfVectorizer(
            ngram_range=(1, 3), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b"
        )
        self._vectors = self._vectorizer.fit_transform(masked) if masked else None

    def similar(self, question: str) -> list[SolvedQuestion]:
        """The examples that the prompt for a question shows, the most similar last."""
        return [self.examples[i] for i in self.shown(question, self.values.find(question))]

    def shown(self, question: str, found: LinkedValues) -> list[int]:
        """The examples to show, the most similar last; one without an answer is never the very last.

        What follows an example without an answer is answered likewise by a model that copies what is nearest.
        """
        if self._vectors is None or not self.settings.examples:
            return []
        # Rounded, as last bits differ between processors: of equals the first in the file counts.
        vector = self._vectorizer.transform([found.masked(question)])
        likeness = (self._vectors @ vector.T).toarray().ravel().round(9)
        # a question is no example of itself
        same = [example.question == question for example in self.examples]
        order = [int(i) for i in np.argsort(-likeness, kind="stable") if not same[i]]
        chosen = order[: self.settings.examples][::-1]
        return sorted(chosen, key=lambda i: self.examples[i].sql is not None)

    def prompt(self, question: str, failures: Sequence[tuple[str, str]] = ()) -> Prompt:
        """The prompt for a question.

        Args:
            failures: (SQL, why it didn't do) of earlier tries.
        """
        found = self.values.find(question)
        head = self._head()
        parts = [head]
        for i in self.shown(question, found):
            example = self.examples[i]
            sql = example.sql or NO_ANSWER
            parts.append(f"Question: {example.question}\nValues: {self._found[i].hint()}\nSQL: {sql}\n\n")
        parts.append(f"Question: {question}\nValues: {found.hint()}\nSQL:")
        for sql, reason in failures:
            parts.append(f" {sql}\nError: {reason}\nCorrected SQL:")
        return Prompt(
            "".join(parts),
            prefix=len(head),
            stop=(STOP,),
            max_tokens=self.settings.max_tokens,
            grammar=grammar(self.settings.tables, found, self.values.codes)
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
    """The statement in a model's answer, without reasoning, fences and words around it; None for "no answer".

    Where it isn't clear what the whole statement is, all of the answer comes back, which the guard refuses: a
    part of a statement may be valid, with another answer.
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
    end = next((found.start() for found in SEMICOLON.finditer(text) if found[1]), len(text))
    return text if ANOTHER.search(text[end + 1 :]) else text[:end].strip()


def checked(sql: str, reply: str, translator: "Translator") -> str:
    """What the guard makes of a model's statement.

    Raises:
        Refused: the guard refuses it, or it may be a part of a statement: the answer was cut off, or asks no
            table.
    """
    if getattr(reply, "finish_reason", "") == "length":
        limit = translator.settings.max_tokens
        raise StatementRefused("cut off", f"The answer was cut off at {limit} tokens, max_tokens of [ask].")
    words = guard.check(sql, translator.schema)
    if not guard.tables(words):
        raise StatementRefused("no table", "The statement asks no table.")
    return words


def answer(question: str, translator: Translator, ask: Ask) -> SqlAnswer:
    """Answer one question; see `answer_all`."""
    return answer_all([question], translator, ask)[0]


def answer_all(questions: Sequence[str], translator: Translator, ask: Ask) -> list[SqlAnswer]:
    """Answer questions, all of them round by round, so that a model can work on several at a time."""
    settings, limits = translator.settings, translator.settings.bounds()
    done: list[SqlAnswer | None] = [None] * len(questions)
    failures: list[list[tuple[str, str]]] = [[] for _ in questions]
    counts = [{"refused": 0, "failed": 0} for _ in questions]
    for turn in range(settings.repairs + 1):
        open_ = [i for i, found in enumerate(done) if found is None]
        if not open_:
            break
        replies = ask([translator.prompt(questions[i], failures[i]) for i in open_])
        for i, reply in zip(open_, replies, strict=True):
            if isinstance(reply, Reply) and reply.error:
                done[i] = SqlAnswer(questions[i], None, error=f"The model gave no answer ({reply.error}).")
                continue
            sql = read_reply(reply)
            if sql is None:
                done[i] = SqlAnswer(questions[i], None, repaired=turn, **counts[i])
                continue
            words = None
            try:
                words = checked(sql, reply, translator)
                result = guard.run(translator.connection, words, limits)
            except StatementRefused as error:
                counts[i]["failed" if words else "refused"] += 1
                failures[i].append((" ".join(sql.split())[:300], str(error)))
                continue
            done[i] = SqlAnswer(
                questions[i],
                words,
                result.columns,
                result.rows,
                evidence.sources(
                    translator.connection, words, translator.schema, result, settings.sources.limit, limits
                ),
                repaired=turn,
                truncated=result.truncated,
                **counts[i],
            )
    return [
        found
        or SqlAnswer(
            question,
            failed[-1][0],
            error=failed[-1][1],
            repaired=settings.repairs,
            **number,
        )
        for found, question, failed, number in zip(done, questions, failures, counts, strict=True)
    ]

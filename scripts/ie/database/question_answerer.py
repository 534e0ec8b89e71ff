"""Answers questions with the configured language model, which is loaded on the first question."""

import sqlite3
from pathlib import Path
from typing import Any

from ie.database import evidence, row_confidence, sqlite_file, text_to_sql
from ie.database.evidence import SourceText
from ie.database.guard import Result
from ie.database.row_confidence import ResultConfidence, UnreadThreshold
from ie.database.text_to_sql import SqlAnswer
from ie.training import assembly


class QuestionAnswerer:
    """Answers questions in words: for `ask` one, for the explore page one after the other.

    Args:
        config: configs/ask.cfg.
        provider: of configs/providers; "" for the model in the config.
        examples: solved questions; those of the split "examples" are shown to the model.
        money: config of the component that parses the amounts in questions.

    Raises:
        UserError: a file is missing or invalid.
    """

    def __init__(self, config: Path, provider: str, examples: Path, money: Path) -> None:
        self._path = config
        self._config, self.settings = text_to_sql.read_config(config, provider)
        self.examples = [q for q in text_to_sql.read_questions(examples) if q.split == "examples"]
        self._money_config = money
        self._money: Any = None
        self._model: Any = None

    def __call__(self, question: str, connection: sqlite3.Connection) -> SqlAnswer:
        """Answer a question. Not thread-safe.

        Raises:
            UserError: the model can't be loaded.
        """
        if self._model is None:
            self._money = assembly.load(self._money_config, component="money").get_pipe("money")
            self._model = text_to_sql.make_model(self._config, self._path)
        translator = text_to_sql.Translator(connection, self.settings, self.examples, self._money)
        return text_to_sql.answer(question, translator, text_to_sql.asker(self._model))

    def sources(self, connection: sqlite3.Connection, sql: str, result: Result) -> list[SourceText]:
        """The source sentences of the rows of a statement."""
        schema, most = sqlite_file.schema_of(connection), self.settings.sources.limit
        return evidence.sources(connection, sql, schema, result, most, self.settings.limits)

    def confidence(
        self,
        connection: sqlite3.Connection,
        sql: str | None,
        result: Result,
        threshold: UnreadThreshold | None,
    ) -> ResultConfidence | None:
        """How sure the rows of a statement are."""
        if not sql or not result.rows:
            return None
        schema, limits = sqlite_file.schema_of(connection), self.settings.limits
        return row_confidence.of_result(connection, sql, schema, result, threshold, limits)

    def close(self) -> None:
        """Unload the model."""
        if self._model is not None:
            self._model.close()

"""Questions in words, answered by the configured language model, which is made when it is first asked."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ie.database import asking, evidence, reading
from ie.database.asking import Answer
from ie.database.evidence import Source
from ie.database.guard import Result


class Questions:
    """What `ask` does, for a page that stays open.

    Args:
        config: configs/ask.cfg.
        provider: of configs/providers; "" for the model in the config.
        examples: solved questions; those of the split "examples" are shown to the model.
        money: makes what reads amounts in questions, or None.

    Raises:
        UserError: a file is missing or broken.
    """

    def __init__(
        self, config: Path, provider: str, examples: Path, money: Callable[[], Any] | None = None
    ) -> None:
        self._path = config
        self._config, self.settings = asking.read_config(config, provider)
        self._examples = [q for q in asking.read_questions(examples) if q.split == "examples"]
        self._make_money = money
        self._money: Any = None
        self._model: Any = None

    def __call__(self, question: str, connection: sqlite3.Connection) -> Answer:
        """The answer; of one thread at a time.

        Raises:
            UserError: there is no such model.
        """
        if self._model is None:
            self._model = asking.make_model(self._config, self._path)
            self._money = self._make_money() if self._make_money else None
        translator = asking.Translator(connection, self.settings, self._examples, self._money)
        return asking.answer(question, translator, asking.asker(self._model))

    def sources(self, connection: sqlite3.Connection, sql: str, result: Result) -> list[Source]:
        """The sentences that the rows of a statement rest on."""
        schema, most = reading.schema_of(connection), self.settings.sources.limit
        return evidence.sources(connection, sql, schema, result, most, self.settings.bounds())

    def close(self) -> None:
        """End the model."""
        if self._model is not None:
            self._model.close()

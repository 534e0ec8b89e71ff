"""Answer a question from the database, with the SQL that a language model wrote, and the source sentences."""

import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated

import typer
from wasabi import color, msg

from ie.core.cli import escaped, run
from ie.core.errors import UserError
from ie.core.text import print_table, wrapped
from ie.data import options
from ie.database import row_confidence, sqlite_file
from ie.database.evidence import SourceText
from ie.database.question_answerer import QuestionAnswerer
from ie.database.row_confidence import ResultConfidence
from ie.database.text_to_sql import SqlAnswer

WIDEST = 40


def main(
    question: Annotated[
        str,
        typer.Argument(help="The question; prompted for on a terminal if it is missing", envvar="QUESTION"),
    ] = "",
    database: options.Database = Path("database/deals.db"),
    config: options.AskConfig = Path("configs/ask.cfg"),
    provider: options.Provider = "",
    questions: options.Questions = Path("assets/questions.jsonl"),
    money: options.Money = Path("configs/money.cfg"),
    accept: options.Accept = options.TRAINING / "accept/accept.json",
) -> None:
    """Print the answer as a table, with its SQL, how sure its rows are, and source sentences."""
    if not question.strip() and sys.stdin.isatty():
        with suppress(EOFError):
            question = input("Question: ")
    if not question.strip():
        raise UserError('there is no question; ask one: QUESTION="How many texts are there?" weasel run ask')
    threshold = row_confidence.read_threshold(accept)
    with (
        closing(QuestionAnswerer(config, provider, questions, money)) as answerer,
        closing(sqlite_file.open_readonly(database)) as connection,
    ):
        if not sqlite_file.counts(connection)["documents"]:
            raise UserError(f"{database}: holds no documents; run `weasel run database` with some texts.")
        answer = answerer(question, connection)
        sure = answerer.confidence(connection, answer.sql, answer.result, threshold)
    print_answer(answer, sure, answerer.settings.limits.rows)


def print_answer(answer: SqlAnswer, sure: ResultConfidence | None, limit: int) -> None:
    """Print an answer.

    Raises:
        UserError: there is no answer, because the model's SQL failed.
    """
    if answer.error:
        raise UserError(
            f"no answer: {answer.error} The model's last SQL was: {answer.sql or 'none'}. Put the question "
            "in other words, or choose a larger model (vars.provider)."
        )
    if answer.sql is None:
        msg.warn("The model says that the tables can't answer this.")
        return
    print(f"SQL: {escaped(answer.sql)}")
    if answer.repaired:
        print(f"(after {answer.repaired} attempts that were refused or failed)")
    if not any(value is not None for row in answer.rows for value in row):
        msg.warn("No rows: the database holds no answer to that SQL.")
        return
    rows = [["" if value is None else formatted(value) for value in row] for row in answer.rows]
    columns = [escaped(column) for column in answer.columns]
    if sure and sure.known:
        columns.append("mean confidence" if sure.aggregated else "confidence")
        for row, of_row in zip(rows, sure.rows, strict=True):
            row.append("" if of_row.confidence is None else f"{of_row.confidence:.2f}")
        if sure.aggregated and sure.threshold:
            columns.append("above threshold")
            for row, of_row in zip(rows, sure.rows, strict=True):
                row.append(f"{of_row.unread:,} of {of_row.rows:,}")
    print_table(rows, columns)
    if answer.truncated:
        msg.warn(f"Only the first {len(answer.rows):,} rows are shown (at most {limit:,}, see [ask.limits]).")
    print(wrapped(sure.sentence() if sure else row_confidence.UNKNOWN))
    for source in answer.sources:
        print(f"{escaped(source.document_id)}: {marked(source)}")
    if not answer.sources:
        print("The sources of that SQL can't be determined.")


def formatted(value: object) -> str:
    """Format a value: numbers with thousands separators."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"{value:,}" if isinstance(value, (int, float)) else escaped(str(value))


def marked(source: SourceText) -> str:
    """The source sentence in bold, with some text on either side."""
    before = escaped(source.text[: source.start][-WIDEST:])
    after = escaped(source.text[source.end :][:WIDEST])
    text = f"{before}{color(escaped(source.text[source.start : source.end]), bold=True)}{after}"
    return " ".join(text.split())


if __name__ == "__main__":
    run(main)

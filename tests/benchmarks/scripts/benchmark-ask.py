"""Questions with known answers: SQL over what was extracted, against a model that reads snippets."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from benchmarks import ask as benchmark
from benchmarks.ask import System
from tqdm import tqdm
from wasabi import msg

from ie.core import stats as statistics
from ie.core import tracking
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import atomic_write, json_text, write_json
from ie.core.settings import load_settings
from ie.data import corpora, options, records
from ie.data.gazetteer import read_gazetteer
from ie.database import document_rows, guard, schema, sqlite_file, text_to_sql, writer
from ie.database.text_to_sql import SolvedQuestion, SqlAnswer
from ie.training import assembly


def main(
    questions: Annotated[Path, typer.Option(help="Questions with gold SQL")] = Path("assets/questions.jsonl"),
    test: Annotated[Path, typer.Option(help="Gold texts that are asked about")] = Path("corpus/test.jsonl"),
    model: Annotated[Path, typer.Option(help="Assembled pipeline")] = options.ASSEMBLED_MODEL,
    companies: Annotated[Path, typer.Option(help="Company table")] = Path("assets/companies.csv"),
    database: Annotated[Path, typer.Option(help="Config of the database")] = Path("configs/database.cfg"),
    config: Annotated[Path, typer.Option(help="How is asked, and which model")] = Path("configs/ask.cfg"),
    money: Annotated[Path, typer.Option(help="Config of the money component")] = Path("configs/money.cfg"),
    provider: options.Provider = "",
    output: Annotated[Path, typer.Option(help="Folder for the databases and metrics.json")] = options.TRAINING
    / "ask",
    lang: options.Lang = "en",
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap")] = 0,
) -> None:
    """Print the share of right answers of each way, by kind; write metrics.json and answers.jsonl."""
    asked = text_to_sql.read_questions(questions)
    scored = [question for question in asked if question.split == "scored"]
    examples = [question for question in asked if question.split == "examples"]
    if not scored:
        raise UserError(f"{questions}: no question has split scored; mark some of them so.")
    settings_file, settings = text_to_sql.read_config(config, provider)
    rag_settings = benchmark.RagSettings.model_validate(settings_file.get("rag", {}))
    nlp = assembly.load(model, "components")
    found = corpora.load(test, nlp)
    columns, entries = load_settings(database, schema.Columns), read_gazetteer(companies)
    blank = records.blank(lang)
    gold_source = writer.AnnotationSource(
        "gold", "", (), "", lambda rs: document_rows.annotations_from_gold(rs, blank), gold=True
    )
    said_source = writer.AnnotationSource(
        nlp.meta["name"],
        nlp.meta["version"],
        nlp.pipe_names,
        "",
        lambda rs: document_rows.annotations_from_pipeline(nlp, rs),
    )
    for name, source in (("gold", gold_source), ("pipeline", said_source)):
        # anew: the hash of the pipeline isn't looked at here
        (output / f"{name}.db").unlink(missing_ok=True)
        writer.update(
            output / f"{name}.db",
            found,
            source,
            columns,
            entries,
            progress=lambda readings, total, name=name: tqdm(readings, total=total, desc=name, unit="text"),
        )
    reader = assembly.load(money, component="money").get_pipe("money")
    llm = text_to_sql.make_model(settings_file, config)
    try:
        with (
            closing(sqlite_file.open_readonly(output / "gold.db")) as gold,
            closing(sqlite_file.open_readonly(output / "pipeline.db")) as said,
        ):
            right = [run_gold(question, gold) for question in scored]
            goals = [benchmark.rowset(answer.rows) for answer in right]
            stale = sum(g != benchmark.rowset(q.answer) for g, q in zip(goals, scored, strict=True))
            if stale:
                msg.warn(
                    f"{questions}: {stale} stored answers aren't what their SQL gives on {test}; those "
                    "that it gives are taken for right."
                )
            by_gold = [run_gold(question, said) for question in scored]
            with tqdm(total=2 * len(scored), desc="benchmark-ask", unit="prompt") as bar:
                llm.on_answer = lambda answer, stats: bar.update()
                ask = text_to_sql.asker(llm)
                words = [question.question for question in scored]
                translator = text_to_sql.Translator(said, settings, examples, reader)
                by_llm = text_to_sql.answer_all(words, translator, ask)
                on_gold = [again(answer, gold) for answer in by_llm]
                texts = [record.text for record in found]
                rag = benchmark.Rag(texts, rag_settings, translator.similar, reader)
                by_rag = rag.answer_all(words, ask)
    finally:
        llm.close()
    name = llm.provider.name
    systems = [
        benchmark.score("gold SQL, gold rows", right, goals),
        benchmark.score("gold SQL, rows of the pipeline", by_gold, goals),
        benchmark.score(f"SQL by {name}, gold rows", on_gold, goals),
        benchmark.score(f"SQL by {name}, rows of the pipeline", by_llm, goals),
        benchmark.score_rag(f"RAG: {name} reads {rag_settings.snippets} snippets", by_rag, goals),
    ]
    metrics = report(systems, scored, seed)
    write_json(output / "metrics.json", metrics)
    with atomic_write(output / "answers.jsonl") as file:
        for question, answer, on, read in zip(scored, by_llm, on_gold, by_rag, strict=True):
            line = {
                "question": question.question,
                "kind": question.kind,
                "gold_sql": question.sql,
                "sql": answer.sql,
                "error": answer.error,
                "rows": answer.rows,
                "on_gold_rows": on.rows,
                "rag": None if read is None else sorted(map(str, read)),
                "gold": question.answer,
            }
            file.write(json_text(line, default=str) + "\n")
    msg.good(f"{output}/metrics.json, {output}/answers.jsonl")


def run_gold(question: SolvedQuestion, connection: sqlite_file.sqlite3.Connection) -> SqlAnswer:
    """The answer of a question's own SQL.

    Raises:
        UserError: the guard refuses it.
    """
    if question.sql is None:
        return SqlAnswer(question.question, None)
    try:
        sql = guard.check(question.sql, sqlite_file.schema_of(connection))
        result = guard.run(connection, sql)
    except guard.StatementRefused as error:
        raise UserError(f"the SQL of {question.question!r} can't be run: {error}") from None
    return SqlAnswer(question.question, sql, result.columns, result.rows)


def again(answer: SqlAnswer, connection: sqlite_file.sqlite3.Connection) -> SqlAnswer:
    """The same SQL run on another database."""
    if answer.error or answer.sql is None:
        return answer
    try:
        return replace(answer, rows=guard.run(connection, answer.sql).rows)
    except guard.StatementRefused as error:
        return replace(answer, rows=[], error=str(error))


def report(systems: Sequence[System], questions: Sequence[SolvedQuestion], seed: int) -> dict:
    """Print the table and what can't be told apart; the same as data."""
    kinds = list(dict.fromkeys(question.kind for question in questions))
    n = len(questions)
    table, metrics = [], {}
    for system in systems:
        counts = benchmark.outcomes(system.right)
        share = statistics.intervals(counts, seed=seed)[0]
        by_kind = {
            kind: [r for r, q in zip(system.right, questions, strict=True) if q.kind == kind]
            for kind in kinds
        }
        alike = sum(system.likeness) / n
        table.append(
            [
                system.name,
                statistics.format_score(share, documents=n),
                *(str(sum(right)) for right in by_kind.values()),
                statistics.decimals(alike, 1),
            ]
        )
        metrics[system.name] = {
            "right": share.rounded(),
            "by_kind": {kind: [sum(right), len(right)] for kind, right in by_kind.items()},
            "rows_f": round(alike, 4),
            "refused": system.refused,
            "failed": system.failed,
            "repaired": system.repaired,
            "ended_in_an_error": system.broken,
        }
    sizes = [sum(question.kind == kind for question in questions) for kind in kinds]
    header = (
        "",
        f"right (n={n})",
        *(f"{kind} ({size})" for kind, size in zip(kinds, sizes, strict=True)),
        "F of rows",
    )
    msg.table(table, header=header, divider=True, aligns=("l", "l", *"r" * (len(kinds) + 1)))
    print(
        "Right: the very set of rows, numbers by value. F of rows: how like it the rows were, the mean of "
        f"all questions. ± the {statistics.CONFIDENCE * 100:.0f} % bootstrap interval over questions."
    )
    for system in systems:
        if system.refused is not None and system.name.startswith("SQL"):
            print(
                f"{system.name}: refused by the guard in {system.refused} questions, failed in SQLite in "
                f"{system.failed}, repaired in {system.repaired}, ended in an error in {system.broken}."
            )
    pairs = statistics.compare({s.name: benchmark.outcomes(s.right) for s in systems}, seed=seed)
    for pair in pairs:
        if pair.first.startswith("SQL") and pair.second.startswith("RAG"):
            verdict = "more than noise" if pair.differs() else "may be noise"
            print(
                f"{pair.first} against RAG: {statistics.format_difference(pair.difference, n)}; {verdict} "
                f"(p {pair.holm:.3f} after Holm)."
            )
    with tracking.run("benchmark-ask", config={"questions": n}) as tracker:
        tracker.table("answers", header, table)
    return {"questions": n, "systems": metrics}


if __name__ == "__main__":
    run(main)

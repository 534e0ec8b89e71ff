"""Open a page to explore the database: questions, SQL, and entities with the texts that mention them."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from ie.core import web
from ie.core.cli import run
from ie.data import options
from ie.database import sql_workers, sqlite_file
from ie.database.explore.app import make_app
from ie.database.question_answerer import QuestionAnswerer


def main(
    database: options.Database = Path("database/deals.db"),
    config: options.AskConfig = Path("configs/ask.cfg"),
    provider: options.Provider = "",
    questions: options.Questions = Path("assets/questions.jsonl"),
    money: options.Money = Path("configs/money.cfg"),
    accept: options.Accept = options.TRAINING / "accept/accept.json",
    port: options.Port = 8070,
    hosts: options.Hosts = "",
    cache: Annotated[Path, typer.Option(help="Folder for the page's secret key")] = Path(".cache/explore"),
) -> None:
    """Serve the page until Ctrl-C. It reads the database and writes nothing."""
    sqlite_file.open_readonly(database).close()
    with closing(QuestionAnswerer(config, provider, questions, money)) as answerer:
        sock = web.listen(port, "scripts/explore.py")
        secret = web.session_secret(cache / "key")
        page = make_app(database, answerer, accept, secret=secret, port=sock.getsockname()[1], hosts=hosts)
        note = f"It reads {database} and writes nothing."
        web.run_page(page, sock, secret, note, on_stop=sql_workers.WORKERS.stop)


if __name__ == "__main__":
    run(main)

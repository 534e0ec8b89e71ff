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
    database: Annotated[Path, typer.Option(help="Database")] = Path("database/deals.db"),
    config: Annotated[Path, typer.Option(help="Settings of text-to-SQL, and its model")] = Path(
        "configs/ask.cfg"
    ),
    provider: options.Provider = "",
    questions: Annotated[Path, typer.Option(help="Solved questions to show to the model")] = Path(
        "assets/questions.jsonl"
    ),
    money: Annotated[Path, typer.Option(help="Config of the component that parses amounts")] = Path(
        "configs/money.cfg"
    ),
    port: Annotated[int, typer.Option(help="Port on this machine; 0: any", min=0, max=65535)] = 8070,
    hosts: Annotated[str, typer.Option(help="Host names of a proxy in front, separated by commas")] = "",
    cache: Annotated[Path, typer.Option(help="Folder for the page's secret key")] = Path(".cache/explore"),
) -> None:
    """Serve the page until Ctrl-C. It reads the database and writes nothing."""
    sqlite_file.open_readonly(database).close()
    with closing(QuestionAnswerer(config, provider, questions, money)) as answerer:
        sock = web.listen(port, "scripts/explore.py")
        secret = web.session_secret(cache / "key")
        page = make_app(database, answerer, secret=secret, port=sock.getsockname()[1], hosts=hosts)
        note = f"It reads {database} and writes nothing."
        web.run_page(page, sock, secret, note, stopping=sql_workers.WORKERS.stop)


if __name__ == "__main__":
    run(main)

"""The page over the database as people use it: the real command, a real browser, keys and pointer."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from time import sleep

import deals
import httpx2
import psutil
import pytest
from fake_llm import FakeLLM, answers, status
from running import ROOT, run_command, stops_with_weasel, write_lines

from ie.core.files import write_json
from ie.core.settings import load_settings
from ie.core.web import HEADERS
from ie.data.gazetteer import read_gazetteer
from ie.data.records import Record, blank
from ie.database import document_rows, writer
from ie.database.schema import Columns

HOSTILE = "<img src=x onerror=\"document.title='run'\">"
QUOTED = """O'Brien "& Sons"); DROP TABLE deals; --"""
DEAL = "👩‍💻 Hooli raised $5m from ACME Ventures. The weather was fine."
TEXTS = [
    (DEAL, [("Hooli", "5923214"), ("$5m", "5000000 USD"), ("ACME Ventures", "1681056")]),
    (f"{HOSTILE} raised $7m from ACME.", [(HOSTILE, "NIL"), ("$7m", "7000000 USD"), ("ACME", "1681056")]),
    (f"{QUOTED} raised €1m from Hooli.", [(QUOTED, "66"), ("€1m", "1000000 EUR"), ("Hooli", "5923214")]),
    ("Hooli did nothing.", [("Hooli", "5923214")]),
]
TABLE = (
    "id,name,aliases,kind,country,description\n5923214,Hooli,,company,US,search\n"
    '1681056,ACME Ventures,ACME,fund,,\n66,"O\'Brien ""& Sons""); DROP TABLE deals; --",,,,\n'
)
# A call inside SQLite that takes minutes.
LONG = (
    "WITH a AS (SELECT REPLACE('xxxxxxxxxx', 'x', 'aaaaaaaaaa') AS x), "
    "b AS (SELECT REPLACE(x, 'a', 'aaaaaaaaaaaaaaaaaaaa') AS x FROM a), "
    "c AS (SELECT REPLACE(x, 'a', 'aaaaaaaaaaaaaaaaaaaa') AS x FROM b), "
    "d AS (SELECT REPLACE(x, 'a', 'aaaaaaaaaa') AS x FROM c) "
    "SELECT "
    + " || ".join(f"LTRIM(x, REPLACE(SUBSTR(x, 1, 3000{i}), 'a', 'b') || 'a')" for i in range(10))
    + " FROM d"
)
ASK = """
[model]
@llm_models = "ie.OpenAI.v1"
model = "fake"
base_url = "{url}/v1"
api_key_env = "EXPLORE_TEST_KEY"
max_retries = 0
cache = "{cache}"
[ask]
repairs = 0
grammar = false
[ask.tables]
deals = ["company", "amount"]
"""


def record(text: str, parts: list[tuple[str, str]]) -> Record:
    spans = []
    for part, known in parts:
        start = text.index(part)
        money = part[0] in "$€"
        extra = {"value" if money else "kb_id": known}
        spans.append(
            {"start": start, "end": start + len(part), "label": "MONEY" if money else "COMPANY", **extra}
        )
    relations = []
    if len(spans) == 3:
        relations = [
            {"head": 0, "child": 1, "label": "RAISED"},
            {"head": 2, "child": 0, "label": "INVESTOR"},
        ]
    return Record.model_validate(
        {"text": text, "spans": spans, "relations": relations, "cats": {"FUNDING": 1}}
    )


def make_database(folder: Path, records: list[Record]) -> Path:
    (folder / "companies.csv").write_text(TABLE, encoding="utf-8")
    path = folder / "deals.db"
    nlp = blank("en")
    # spans off the tokens' edges are no matter here
    source = writer.AnnotationSource(
        "gold", "", (), "", lambda found: document_rows.annotations_from_gold(found, nlp), gold=True
    )
    columns = load_settings(deals.CONFIGS / "database.cfg", Columns)
    writer.update(path, records, source, columns, read_gazetteer(folder / "companies.csv"))
    return path


def options(folder: Path, url: str = "http://127.0.0.1:9", port: int = 0, more: str = "") -> list[object]:
    config = ASK.format(url=url, cache=folder / "answers.sqlite") + more
    (folder / "ask.cfg").write_text(config, encoding="utf-8")
    write_lines(folder / "questions.jsonl", [])
    return [
        *("--database", folder / "deals.db", "--config", folder / "ask.cfg", "--port", port),
        *("--questions", folder / "questions.jsonl", "--cache", folder / "cache"),
        *("--money", deals.CONFIGS / "money.cfg", "--accept", folder / "accept.json"),
    ]


class Server:
    """The command in a process of its own; `url` is what it printed."""

    def __init__(self, folder: Path, url: str = "http://127.0.0.1:9", more: str = "") -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-u", ROOT / "scripts/explore.py", *map(str, options(folder, url, more=more))],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={"EXPLORE_TEST_KEY": "k", "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        )  # fmt: skip
        told = ""
        for line in self.process.stdout:
            told += line
            if found := re.search(r"http://localhost:(\d+)/\?token=(\S+)", line):
                self.url, self.port, secret = found[0], int(found[1]), found[2]
                self.home = f"http://localhost:{self.port}"
                self.client = httpx2.Client(
                    base_url=self.home,
                    cookies={f"explore-{self.port}": secret},
                    headers={"origin": self.home},
                )
                return
        raise AssertionError(told)

    def stop(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def llm() -> Iterator[FakeLLM]:
    with FakeLLM(always=answers("SELECT company, amount FROM deals WHERE amount > 4000000")) as fake:
        yield fake


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, llm: FakeLLM) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("explore")
    make_database(folder, [record(*text) for text in TEXTS])
    started = Server(folder, llm.url)
    yield started
    started.stop()


@pytest.fixture
def page(server: Server, browse: Callable) -> object:
    return browse(server.url, "body[data-ready]")


def cells(page: object, table: str) -> list[list[str]]:
    return [
        [cell.inner_text() for cell in row.locator("td").all()]
        for row in page.locator(f"{table} tbody tr").all()
    ]


def test_a_question_by_keys_alone(page: object) -> None:
    assert page.locator("#counts").inner_text().startswith("4 documents · 3 companies")
    page.keyboard.type("Who got more than 4 million?")
    page.keyboard.press("Enter")
    page.locator("#result").wait_for()
    assert page.locator("#sql").input_value() == "SELECT company, amount FROM deals WHERE amount > 4000000"
    assert sorted(cells(page, "#rows")) == sorted([["Hooli", "5,000,000"], [HOSTILE, "7,000,000"]])
    assert "2 rows" in page.locator("#status").inner_text()
    source = page.locator("#sources li", has_text="weather")
    # the sentence it rests on, and no more of the text
    focus = "".join(part.inner_text() for part in source.locator(".focus:not(mark .focus)").all())
    assert "raised" in focus
    assert "weather" not in focus
    assert source.locator("mark", has_text="$5m").locator(".tag").inner_text() == "MONEY · 5,000,000 USD"
    assert page.title() == "Explore"


def test_it_opens_with_questions_that_work_and_the_newest_deals(page: object) -> None:
    buttons = page.locator("#examples button")
    buttons.first.wait_for()
    assert 3 <= buttons.count() <= 5
    assert page.locator("#newesttitle").inner_text() == "Some deals"  # these texts have no date
    assert len(cells(page, "#newest")) == 3
    for i in range(buttons.count()):
        buttons.nth(i).click()
        page.locator("#status", has_text="row").wait_for()
        assert cells(page, "#rows"), buttons.nth(i).inner_text()
        assert page.locator("#author").inner_text().endswith("No language model was asked.")
    assert page.locator("#newestbox").is_hidden()


def test_it_says_who_wrote_the_sql(page: object) -> None:
    page.locator("#question").fill("Who got more than 4 million?")
    page.keyboard.press("Enter")
    page.locator("#result").wait_for()
    assert page.locator("#author").inner_text().startswith("A language model wrote this SQL.")
    page.locator("#sql").press_sequentially(" ")
    assert page.locator("#author").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_narrow_window(server: Server, browse: Callable, scheme: str) -> None:
    page = browse(server.url, "body[data-ready]", color_scheme=scheme)
    page.set_viewport_size({"width": 400, "height": 800})
    page.locator("#examples button").first.click()
    page.locator("#result").wait_for()
    assert page.locator("html").evaluate("element => element.scrollWidth") <= 400


@pytest.fixture(scope="module")
def sure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Rows with a confidence: .97 of Hooli's deal, .5 of another, none of the third."""
    folder = tmp_path_factory.mktemp("sure")
    path = make_database(folder, [record(*text) for text in TEXTS])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE deals SET confidence = 0.97 WHERE company = 'Hooli'")
        connection.execute("UPDATE deals SET confidence = 0.5 WHERE company = ?", [HOSTILE])
        connection.commit()
    write_json(folder / "accept.json", {"target": 0.95, "unit": "rows", "threshold": {"confidence": 0.88}})
    started = Server(folder)
    yield started
    started.stop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_rows_show_how_sure_they_are(sure_server: Server, browse: Callable, scheme: str, width: int) -> None:
    page = browse(sure_server.url, "body[data-ready]", color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 1000})
    assert [row[-1] for row in cells(page, "#newest")].count("0.97") == 1
    page.locator("#sql").fill("SELECT company, amount FROM deals ORDER BY amount")
    page.locator("#run").click()
    page.locator("#result").wait_for()
    assert [row[-1] for row in cells(page, "#rows")] == ["not known", "0.97", "0.50"]
    # as long as it is sure
    widths = [bar.bounding_box()["width"] for bar in page.locator("#rows .bar > span").all()]
    assert widths[0] > 1.8 * widths[1] > 0
    assert page.locator("#certainty").inner_text().startswith("1 of 3 rows (33 %) can go unread")
    assert page.locator("html").evaluate("element => element.scrollWidth") <= width
    page.locator("#least").select_option(label="at least 0.88 (accept)")
    assert page.locator("#rows tbody tr:visible td:first-child").all_inner_texts() == ["Hooli"]
    kept = page.locator("#kept")
    assert kept.inner_text() == "1 of 3 rows"
    box = kept.bounding_box()
    assert box["x"] + box["width"] <= width
    if shots := os.environ.get("SHOTS"):
        page.screenshot(path=f"{shots}/explore-{width}-{scheme}.png")
    page.locator("#least").select_option(label="any")
    assert page.locator("#rows tbody tr:visible").count() == 3


def test_a_sum_says_which_part_of_it_is_sure(sure_server: Server, browse: Callable) -> None:
    page = browse(sure_server.url, "body[data-ready]")
    page.locator("#sql").fill("SELECT currency, SUM(amount) AS total FROM deals GROUP BY currency ORDER BY 1")
    page.locator("#run").click()
    page.locator("#result").wait_for()
    assert [row[2:] for row in cells(page, "#rows")] == [["not known", "0 of 1"], ["0.73", "1 of 2"]]
    assert page.locator("#leastbox").is_hidden()
    page.locator("#sql").fill("SELECT SUM(amount) AS total FROM deals WHERE currency = 'USD'")
    page.locator("#run").click()
    page.locator("#certainty", has_text="with 41 % of the sum, can go unread").wait_for()


def test_sql_of_ones_own_goes_through_the_guard(page: object) -> None:
    page.locator("#tab-ask").focus()
    page.keyboard.press("s")
    page.keyboard.type("SELECT company, document_id FROM deals WHERE currency = 'EUR'")
    page.keyboard.press("Control+Enter")
    page.locator("#result").wait_for()
    assert cells(page, "#rows")[0][0] == QUOTED
    assert page.locator("#sources li").count() == 1
    page.locator("#sql").fill("DROP TABLE deals")
    page.get_by_role("button", name="Run").click()
    page.get_by_text("Only SELECT is allowed").wait_for()
    assert page.locator("#result").is_hidden()
    assert page.locator("#status").get_attribute("class") == "bad"


def test_an_entity_by_an_alias_and_those_tied_to_it(page: object) -> None:
    page.locator("#tab-ask").focus()
    page.keyboard.press("e")
    page.keyboard.type("acm")
    page.get_by_role("option").first.wait_for()
    assert "also ACME" in page.get_by_role("option").first.inner_text()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator("#name", has_text="ACME Ventures").wait_for()
    assert page.evaluate("document.activeElement.id") == "name"
    assert page.locator("#mentionstitle").inner_text() == "2 mentions in 2 texts"
    assert page.locator("#facts").inner_text() == "id 1681056; kind fund; written ACME"
    assert sorted(cells(page, "#deals")) == sorted(
        [["Hooli", "5,000,000 USD", "FUNDING", "ACME Ventures"],
         [HOSTILE, "7,000,000 USD", "FUNDING", "ACME Ventures"]]
    )  # fmt: skip
    assert page.locator("#ties li").all_inner_texts() == [
        f"INVESTOR → {HOSTILE} in 1 text", "INVESTOR → Hooli in 1 text",
    ]  # fmt: skip
    # what is marked is what was found, an emoji before it or not
    assert page.locator("#mentions mark.focus").first.inner_text().startswith("ACME")
    page.locator("#ties button", has_text="Hooli").click()
    page.locator("#name", has_text="Hooli").wait_for()
    assert page.locator("#mentions li").count() == 3
    page.go_back()
    page.locator("#name", has_text="ACME Ventures").wait_for()


def test_names_are_shown_never_run(page: object, server: Server) -> None:
    for typed, name in (("<img", HOSTILE), ("o'br", QUOTED)):
        page.locator("#tab-entity").click()
        page.locator("#search").fill(typed)
        page.get_by_role("option").first.wait_for()
        page.get_by_role("option").first.click()
        page.locator("#name", has_text=name[:8]).wait_for()
        assert page.locator("#name").inner_text() == name
        assert page.locator("#mentions mark.focus button").first.inner_text() == name
    assert page.locator("img").count() == 0
    assert page.title() == "Explore"
    for typed in ("'; DROP TABLE deals; --", "%", "_", "\\", "\0", "[", "x" * 5000):
        assert server.client.get("/api/search", params={"q": typed}).json() == {"entities": [], "more": False}
    assert server.client.get("/api/about").json()["counts"]["deals"] == 3


def test_what_nobody_knows(page: object, server: Server) -> None:
    page.locator("#tab-entity").click()
    page.locator("#search").fill("zzz")
    page.get_by_text("No name begins so.").wait_for()
    for wanted in ({}, {"id": "0"}, {"name": "' OR 1=1 --"}):
        assert server.client.get("/api/entity", params=wanted).status_code == 404


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(server: Server, browse: Callable, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    # axe is put into the page as a script, which the page's own policy forbids
    page = browse(server.url, "body[data-ready]", color_scheme=scheme, bypass_csp=True)

    def check(state: str) -> None:
        found = axe.run(page)
        assert found.violations_count == 0, f"{state}: {found.generate_report()}"

    check("start")
    page.locator("#sql").fill("SELECT * FROM deals")
    page.keyboard.press("Control+Enter")
    page.locator("#result").wait_for()
    page.locator("summary").click()
    check("rows")
    page.locator("#sql").fill("DELETE FROM deals")
    page.keyboard.press("Control+Enter")
    page.locator("#status.bad").wait_for()
    check("refused")
    page.locator("#tab-ask").focus()
    page.keyboard.press("ArrowRight")
    page.locator("#search").fill("hoo")
    page.get_by_role("option").first.wait_for()
    page.locator("#search").press("ArrowDown")
    check("offers")
    page.keyboard.press("Enter")
    page.locator("#name").wait_for()
    check("an entity")


def test_strangers_are_refused_and_every_answer_is_fenced(server: Server) -> None:
    body = json.dumps({"sql": "SELECT 1"})
    asked = {"content": body, "headers": {"content-type": "application/json"}}
    assert (
        server.client.post("/api/run", **asked).headers["content-security-policy"]
        == (HEADERS["Content-Security-Policy"])
    )
    with httpx2.Client(base_url=server.home) as stranger:
        for path in ("/", "/api/about", "/explore.js"):
            assert stranger.get(path).status_code == 403
    strange = ({"host": "evil.example"}, {"origin": "http://evil.example"}, {"sec-fetch-site": "same-site"})
    for headers in strange:
        assert server.client.get("/api/about", headers=headers).status_code == 403
        given = asked | {"headers": asked["headers"] | headers}
        assert server.client.post("/api/run", **given).status_code == 403
    assert server.client.post("/api/run", content=body).status_code == 415
    for bad in (
        b"",
        b"[]",
        b'{"sql": 1}',
        b'{"sql": ""}',
        b'{"sql": "\\ud800"}',
        b"[" * 9999,
        b"x" * 200_000,
    ):
        given = asked | {"content": bad}
        answer = server.client.post("/api/run", **given)
        assert 400 <= answer.status_code < 500
        assert "Traceback" not in answer.text


def test_long_statements_hold_up_neither_lookups_nor_the_end(tmp_path: Path) -> None:
    """One call inside SQLite that would take minutes can't be interrupted, but its process can be killed."""
    make_database(tmp_path, [record(*text) for text in TEXTS])
    server = Server(tmp_path, more="[ask.limits]\nseconds = 600\n")
    command = psutil.Process(server.process.pid)
    body = {"sql": LONG}
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(server.client.post, "/api/run", json=body, timeout=600) for _ in range(8)]
        while sum(child.cpu_times().user > 0.5 for child in command.children()) < 2:
            sleep(0.05)
        children = command.children()
        assert len(children) == 2
        assert server.client.get("/api/search", params={"q": "Hooli"}, timeout=60).json()["entities"]
        server.process.terminate()
        assert server.process.wait(60) is not None
        _, alive = psutil.wait_procs(children, 60)
        assert not alive
        ended = [future.exception() or future.result().status_code for future in waiting]
        assert all(isinstance(end, httpx2.TransportError) or end == 422 for end in ended), ended
    printed = server.process.stdout.read()
    assert "Traceback" not in printed, printed
    server.stop()


def test_a_statement_that_takes_too_long_is_a_sentence(tmp_path: Path) -> None:
    make_database(tmp_path, [record(*text) for text in TEXTS])
    server = Server(tmp_path, more="[ask.limits]\nseconds = 0.2\n")
    answer = server.client.post("/api/run", json={"sql": LONG}, timeout=60)
    assert (answer.status_code, answer.json()["error"]) == (
        422,
        "The statement took longer than 0.2 s and was stopped.",
    )
    answer = server.client.post("/api/run", json={"sql": "SELECT COUNT(*) FROM documents"}, timeout=60)
    assert answer.json()["rows"] == [[4]]
    server.stop()


def ask(server: Server, question: str = "Who?") -> httpx2.Response:
    return server.client.post("/api/ask", json={"question": question}, timeout=60)


def test_a_language_model_that_fails(server: Server, llm: FakeLLM) -> None:
    llm.faults.extend([status(401)] * 2)
    failed = ask(server, "Who fails?")
    assert failed.status_code < 500 or failed.status_code in (502, 503)
    assert failed.json()["error"]
    llm.faults.clear()
    llm.faults.append(answers("DROP TABLE deals"))
    assert "Only SELECT is allowed" in ask(server, "Who drops?").json()["error"]
    llm.faults.append(answers("NO ANSWER"))
    assert ask(server, "Why?").json()["error"]
    # SQL goes on
    rows = server.client.post("/api/run", json={"sql": "SELECT COUNT(*) FROM deals"}).json()["rows"]
    assert rows == [[3]]


def test_a_database_that_is_locked_or_gone(tmp_path: Path, browse: Callable) -> None:
    path = make_database(tmp_path, [record(*TEXTS[0])])
    server = Server(tmp_path)
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            page = browse(server.url, "body[data-ready]")
            assert "another program is writing to it" in page.locator("#banner").inner_text()
            other.execute("ROLLBACK")
        assert server.client.get("/api/about").status_code == 200
        path.rename(tmp_path / "elsewhere.db")
        gone = server.client.get("/api/about")
        assert (gone.status_code, "there is no database" in gone.json()["error"]) == (503, True)
        (tmp_path / "elsewhere.db").rename(path)
        assert server.client.get("/api/about").status_code == 200
    finally:
        server.stop()


def test_mistakes_are_one_sentence(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    def fails(*more: object) -> str:
        outcome = run_command("explore", [*options(tmp_path), *more], capsys)
        assert outcome.status == 1
        assert "Traceback" not in outcome.output
        return outcome.output

    assert "there is no database; run `weasel run database` first" in fails()
    (tmp_path / "deals.db").write_text("no database")
    assert "no database that `weasel run database` wrote" in fails()
    (tmp_path / "deals.db").unlink()
    make_database(tmp_path, [record(*TEXTS[0])])
    assert f"port {server.port} can't be used" in fails("--port", server.port)


def test_it_stops_with_the_weasel_that_started_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORE_TEST_KEY", "k")
    make_database(tmp_path, [record(*TEXTS[0])])
    stops_with_weasel(tmp_path, ROOT / "scripts" / "explore.py", options(tmp_path), signal.SIGTERM)

"""The review page as people use it: the real command, a real browser, keys and pointer."""

import json
import re
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx2
import psutil
import pytest
from review_page import HEBREW, HOSTILE, Server, accept, make_project, options, press, span
from running import ROOT, Outcome, crowd, data_config, run_command, stops_with_weasel, write_lines

from ie.data.records import Record, read_records


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(make_project(tmp_path_factory.mktemp("review")))
    yield started
    started.stop()


@pytest.fixture
def start() -> Iterator[Callable]:
    """Starts servers that don't outlive the test."""
    started = []

    def start(folder: Path, port: int = 0) -> Server:
        started.append(Server(folder, port))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def open_page(browse: Callable) -> Callable:
    def open_page(server: Server, annotator: str, **more: object) -> object:
        shown = "#task:not([hidden]), #empty:not([hidden])"
        return browse(f"{server.url}&annotator={annotator}", shown, **more)

    return open_page


def marked(page: object) -> list[tuple[str, str, str]]:
    """The rows of the list: label, text, source."""
    return [
        (
            row.locator(".chip").inner_text(),
            row.locator(".what").inner_text(),
            row.locator(".from").inner_text(),
        )
        for row in page.locator("#marks li").all()
    ]


def gold(server: Server, annotator: str) -> list[Record]:
    return read_records(server.folder / "annotators" / f"{annotator}.jsonl")


def shown(record: Record) -> list[tuple[str, str]]:
    return [(record.text[s.start : s.end], s.label) for s in record.spans]


def test_a_text_by_keys_alone(server: Server, open_page: Callable) -> None:
    page = open_page(server, "keys")
    assert page.locator("#question").text_content() == "Mark every COMPANY"
    assert page.locator("#definition").inner_text() == "names of businesses"
    assert marked(page) == [("COMPANY", "Hooli", "llm, exact + list")]
    # to the last two words but the period
    press(page, "ArrowRight " * 7 + "Shift+ArrowRight m")
    assert marked(page)[1] == ("COMPANY", "ACME Ventures", "yours")
    accept(page)
    assert marked(page) == [("MONEY", "about $5m", "llm, fuzzy")]
    assert page.locator("#others li").inner_text().split("\n") == [
        "MONEY",
        "$5m",
        "pattern, 0.90",
        "take over O",
    ]
    press(page, "o")
    assert marked(page) == [("MONEY", "$5m", "pattern, 0.90")]
    accept(page, "Enter")
    assert page.locator("#question").text_content() == "Draw every RAISED"
    press(page, "n m n m")
    assert page.locator("#marks .what").text_content() == "Hooli RAISED → $5m"
    accept(page)
    assert page.locator("#categories [aria-pressed=true] strong").inner_text() == "FUNDING"
    press(page, "2")
    accept(page)
    (record,) = gold(server, "keys")
    assert shown(record) == [("Hooli", "COMPANY"), ("$5m", "MONEY"), ("ACME Ventures", "COMPANY")]
    assert [(r.head, r.child, r.label) for r in record.relations] == [(0, 1, "RAISED")]
    assert record.cats == {"FUNDING": 0, "OTHER": 1}
    assert 0 < record.meta["review"]["seconds"] < 60


def test_a_text_by_pointer_alone(server: Server, open_page: Callable) -> None:
    page = open_page(server, "pointer")

    def word(text: str) -> tuple[float, float]:
        box = page.locator(".w", has_text=re.compile(f"^{re.escape(text)}$")).bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    page.get_by_role("button", name="Delete Hooli").click()
    assert marked(page) == []
    # from the middle of one word to the middle of another: whole words are marked
    page.mouse.move(*word("ACME"))
    page.mouse.down()
    page.mouse.move(*word("Ventures"), steps=5)
    page.mouse.up()
    page.mouse.click(*word("Hooli"))
    assert [row[1] for row in marked(page)] == ["Hooli", "ACME Ventures"]
    page.mouse.click(*word("ACME"))
    assert page.locator("mark.chosen").inner_text().startswith("ACME Ventures")
    page.get_by_role("button", name="Accept").click()
    page.get_by_text("Mark every MONEY").wait_for()
    assert [row[1] for row in marked(page)] == ["about $5m"]


def in_text(page: object) -> list[tuple[str, str]]:
    """The spans in the text that the question is about: label, text."""
    found = []
    for mark in page.locator("#text mark:not(.context)").all():
        label = mark.locator(".tag").inner_text()
        found.append((label, mark.inner_text().removesuffix(label)))
    return found


def test_only_labels_of_the_question_are_given(server: Server, open_page: Callable) -> None:
    page = open_page(server, "labels")
    press(page, "n c")
    assert page.locator("#live").text_content() == "This question is about COMPANY only."
    assert in_text(page) == [("COMPANY", "Hooli")] == [row[:2] for row in marked(page)]
    press(page, "d")
    assert in_text(page) == [] == marked(page)
    assert page.locator("#annotation-title").inner_text() == "No COMPANY marked"
    press(page, "m")
    accept(page)
    # that of the question before stands in the text, and no key relabels it
    press(page, ["ArrowLeft"] * 9)
    press(page, "c")
    assert in_text(page) == [("MONEY", "about $5m")] == [row[:2] for row in marked(page)]
    assert page.locator("#text mark.context .tag").inner_text() == "COMPANY"


def test_c_goes_through_the_labels_of_a_question_with_several(
    tmp_path: Path, start: Callable, open_page: Callable
) -> None:
    make_project(tmp_path)
    settings = (tmp_path / "review.cfg").read_text("utf-8").replace("one label", "all labels")
    (tmp_path / "review.cfg").write_text(settings, encoding="utf-8")
    page = open_page(start(tmp_path), "all")
    press(page, "n c")
    assert in_text(page) == [("MONEY", "Hooli"), ("MONEY", "about $5m")] == [r[:2] for r in marked(page)]
    press(page, "c")
    assert in_text(page) == [("COMPANY", "Hooli"), ("MONEY", "about $5m")] == [r[:2] for r in marked(page)]


def keys(page: object) -> list[str]:
    return page.locator("#keys dd").all_inner_texts()


def test_keys_that_do_nothing_are_not_offered_and_help_lists_all(server: Server, open_page: Callable) -> None:
    page = open_page(server, "help")
    assert "take over what is also suggested" not in keys(page)
    assert "label the selection or span, or choose the label" not in keys(page)
    press(page, "n d")  # what was suggested and is deleted may be taken over again
    assert "take over what is also suggested" in keys(page)
    press(page, "o")
    assert "take over what is also suggested" not in keys(page)
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    assert dialog.is_visible()
    listed = set(" ".join(dialog.locator("kbd").all_inner_texts()).split())
    named = {"Enter", "Space", "Esc", "Home", "End", "←", "→", "↑", "↓", "1–9"}
    assert listed >= {*"AXSUMNPDCORLFGWEYHT/?", *named}
    press(page, "x a")  # no answer to the question behind it
    assert dialog.is_visible()
    press(page, "Escape")
    assert dialog.is_hidden()
    assert marked(page) == [("COMPANY", "Hooli", "llm, exact + list")]
    assert page.evaluate("document.activeElement.id") == "text"
    page.get_by_role("button", name="All keys").click()
    dialog.get_by_role("button", name="Close").click()
    assert dialog.is_hidden()


# Characters that the label of a span or the box of another span covers, outlines included.
COVERED = """() => {
  const text = document.getElementById("text");
  const boxes = (node, more = 0) => [...node.getClientRects()].filter((r) => r.width > 0).map((r) =>
    ({ left: r.left - more, right: r.right + more, top: r.top - more, bottom: r.bottom + more }));
  const before = (a, b, from, to) => a[from] < b[to] - 0.5;
  const meet = (a, b) => before(a, b, "left", "right") && before(b, a, "left", "right")
    && before(a, b, "top", "bottom") && before(b, a, "top", "bottom");
  const characters = [];
  const walker = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (node.parentElement.closest(".tag")) continue;
    for (let i = 0; i < node.length; i += 1) {
      const range = document.createRange();
      range.setStart(node, i);
      range.setEnd(node, i + 1);
      const found = { what: node.data[i], mark: node.parentElement.closest("mark"), boxes: boxes(range) };
      if (found.what.trim()) characters.push(found);
    }
  }
  const covered = [];
  for (const mark of text.querySelectorAll("mark")) {
    const style = getComputedStyle(mark);
    const outline = parseFloat(style.outlineWidth) + parseFloat(style.outlineOffset);
    const outer = boxes(mark, style.outlineStyle === "none" ? 0 : Math.max(0, outline));
    const tags = [...mark.querySelectorAll(".tag")].flatMap((tag) => boxes(tag));
    for (const { what, mark: owner, boxes } of characters)
      for (const box of boxes)
        if ([...tags, ...(owner === mark ? [] : outer)].some((other) => meet(other, box))) covered.push(what);
  }
  return { covered, characters: characters.length };
}"""
LONG = "Hooli Holdings International of London"
BORDERS = [
    ("Uber\u2019s Lesson", ["Uber"]),
    ("(Velto), [Hooli]; ACME: Corda.", ["Velto", "Hooli", "ACME", "Corda"]),
    ("\u201cACME\u201d $5m and Velto!", ["ACME", "$", "5m", "Velto"]),
    (f"What was in the end {LONG}\u2019s offer is now {LONG}\u2019s loss.", [LONG]),
    (HEBREW + ".", HEBREW.split()[1:2]),
]


@pytest.mark.parametrize("width", [1280, 400])
def test_no_character_is_hidden_by_a_span(
    tmp_path: Path, start: Callable, open_page: Callable, width: int
) -> None:
    make_project(tmp_path)
    write_lines(tmp_path / "texts.jsonl", [{"text": text} for text, _ in BORDERS])
    suggested = [
        {"text": text, "spans": [span(text, part, "COMPANY") for part in parts]} for text, parts in BORDERS
    ]
    write_lines(tmp_path / "llm.jsonl", suggested)
    page = open_page(start(tmp_path), "borders")
    page.set_viewport_size({"width": width, "height": 900})
    for text, parts in BORDERS:
        assert page.locator("#text mark").count() == len(parts)
        for _ in parts:
            press(page, "n")
            found = page.evaluate(COVERED)
            assert found["covered"] == []
            assert found["characters"] == len("".join(text.split()))
        accept(page, "x")


def test_emoji_and_combining_marks(server: Server, open_page: Callable) -> None:
    page = open_page(server, "emoji")
    accept(page, "x")  # the first text
    press(page, "ArrowRight Shift+ArrowRight m")
    assert marked(page)[0][1] == "Cafe\u0301 Verde"
    accept(page)
    press(page, "ArrowRight " * 5 + "Shift+ArrowRight Shift+ArrowRight m")
    assert marked(page)[0][1] == "€2m"
    accept(page), accept(page)
    press(page, "1")
    accept(page)
    rejected, record = gold(server, "emoji")
    assert rejected.answer == "reject"
    assert shown(record) == [("Cafe\u0301 Verde", "COMPANY"), ("€2m", "MONEY")]


def test_right_to_left(server: Server, open_page: Callable) -> None:
    page = open_page(server, "rtl")
    accept(page, "s"), accept(page, "s")
    assert page.evaluate("getComputedStyle(document.getElementById('text')).direction") == "rtl"
    first, second = (page.locator(".w").nth(i).bounding_box()["x"] for i in (0, 1))
    assert second < first
    # the arrow goes where it points
    press(page, "ArrowLeft m")
    assert marked(page)[0][1] == HEBREW.split()[1]


def test_texts_are_shown_never_run(server: Server, open_page: Callable) -> None:
    page = open_page(server, "safe")
    for _ in range(3):
        accept(page, "s")
    assert page.locator("#text").inner_text() == HOSTILE
    press(page, "g")
    assert page.locator("#all").inner_text().count("<script>") == 1
    assert page.title() == "Review"


def test_undo_flag_and_the_end(server: Server, open_page: Callable) -> None:
    page = open_page(server, "undo")
    press(page, "d")  # nothing is selected yet
    press(page, "n d")
    accept(page)
    press(page, "u")
    page.get_by_text("Answered before").wait_for()
    assert marked(page) == []
    press(page, "f")
    page.keyboard.type("Is a fund one? All of it.")  # no letter of it is taken for a key
    press(page, "Escape ArrowRight ArrowLeft m")
    accept(page)
    for _ in range(8):
        if page.locator("#empty").is_visible():
            break
        accept(page, "s")
    assert page.locator("#empty h2").inner_text() == "Nothing left to review"
    log = [json.loads(line) for line in (server.folder / "log.jsonl").read_text("utf-8").splitlines()]
    mine = [entry for entry in log if entry["annotator"] == "undo" and entry["id"] == "t0"]
    assert [entry["spans"] for entry in mine[:2]] == [[], [[0, 5, "COMPANY"]]]
    assert gold(server, "undo")[0].meta["meeting"] == "Is a fund one? All of it."
    press(page, "u")
    page.get_by_text("Answered before").wait_for()


def test_two_tabs_lose_nothing_and_double_nothing(server: Server, open_page: Callable) -> None:
    one, other = open_page(server, "tabs"), open_page(server, "tabs")
    accept(one)
    press(other, "a")
    other.get_by_text("since been answered").wait_for()
    assert other.locator("#question").text_content() == "Mark every MONEY"
    entries = (server.folder / "log.jsonl").read_text("utf-8").splitlines()
    assert len([e for e in entries if json.loads(e)["annotator"] == "tabs"]) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(server: Server, open_page: Callable, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    # axe is put into the page as a script, which the page's own policy forbids
    page = open_page(server, f"axe-{scheme}", color_scheme=scheme, bypass_csp=True)

    def check(state: str) -> None:
        found = axe.run(page)
        assert found.violations_count == 0, f"{state}: {found.generate_report()}"

    check("suggestions")
    press(page, "n Shift+ArrowRight")
    check("a selection")
    press(page, "Escape f")
    check("a note")
    press(page, "Escape")
    accept(page)
    check("others")
    accept(page)
    press(page, "n m n m")
    check("relations")
    accept(page)
    check("categories")
    press(page, "g")
    check("guidelines")
    page.keyboard.press("?")
    check("all keys")
    press(page, "Escape")
    page.locator("#session summary").click()
    check("session and counts")
    page.locator("#text").focus()
    press(page, "/")
    page.locator("#list button").first.wait_for()
    check("texts")
    press(page, "Escape")
    # in the order of the page, and visible: skip link, text, what is marked, actions, guidelines
    press(page, "Escape")
    order = []
    for _ in range(30):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    wanted = [name for name in order if name in ("accept", "reject", "ignore", "undo", "flag")]
    assert wanted[:5] == ["accept", "reject", "ignore", "undo", "flag"]


def test_kill_and_restart_while_the_page_is_open(
    tmp_path: Path, start: Callable, open_page: Callable
) -> None:
    server = start(make_project(tmp_path, independent=False))
    page = open_page(server, "ann")
    accept(page)
    server.stop(signal.SIGKILL)
    press(page, "n")
    press(page, "d")
    press(page, "a")
    page.get_by_text("this isn't saved yet").wait_for()
    start(tmp_path, server.port)
    accept(page)  # the same answer, from the same page
    assert page.locator("#banner").is_hidden()
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text("utf-8").splitlines()]
    assert [entry["unit"] for entry in entries] == ["spans:COMPANY", "spans:MONEY"]
    assert entries[1]["spans"] == [[0, 5, "COMPANY"]]


CITY = [{"start": 0, "end": 5, "label": "CITY"}]
FAR = [{"start": 0, "end": 9, "label": "COMPANY"}]
BROKEN = [
    ("texts.jsonl", "{broken", "texts.jsonl:1: not valid JSON"),
    (
        "texts.jsonl",
        '{"text": "a", "meta": {"id": 1}}\n{"text": "b", "meta": {"id": 1}}',
        "texts.jsonl:2: the id",
    ),
    ("reviewed.jsonl", json.dumps({"text": "a", "spans": FAR}), "reviewed.jsonl:1: span 0-9"),
    ("llm.jsonl", json.dumps({"text": "Hooli", "spans": CITY}), "llm.jsonl:1: span label 'CITY'"),
    ("log.jsonl", "{}\n", "log.jsonl:1: no answer of a review"),
    ("review.cfg", "[review]\nbatch = 0\n", "review.cfg: review.batch"),
    ("llm.cfg", "[nlp]\n", "llm.cfg: no component has a task with labels"),
]


class TestMistakes:
    """Each is one sentence, and leaves the gold as it was."""

    def fails(self, folder: Path, capsys: pytest.CaptureFixture, *more: object) -> str:
        before = (folder / "reviewed.jsonl").read_bytes()
        outcome: Outcome = run_command("review", [*options(folder), *more], capsys)
        assert outcome.status == 1
        assert "Traceback" not in outcome.output
        assert (folder / "reviewed.jsonl").read_bytes() == before
        return outcome.output

    @pytest.mark.parametrize(("file", "content", "fault"), BROKEN)
    def test_broken_files(
        self, tmp_path: Path, capsys: pytest.CaptureFixture, file: str, content: str, fault: str
    ) -> None:
        (make_project(tmp_path) / file).write_text(content, encoding="utf-8")
        assert fault in self.fails(tmp_path, capsys)

    def test_no_guidelines(self, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
        (make_project(tmp_path) / "guidelines.md").unlink()
        assert "guidelines.md: can't be read" in self.fails(tmp_path, capsys)

    def test_nothing_to_select(
        self, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(make_project(tmp_path))
        assert "no likely errors are known" in self.fails(tmp_path, capsys, "--select", "errors")
        assert "none.jsonl: there is no such file" in self.fails(tmp_path, capsys, "--select", "none.jsonl")

    def test_a_second_server_and_a_taken_port(
        self, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        assert "another review of this project is running" in self.fails(server.folder, capsys)
        make_project(tmp_path)
        assert f"port {server.port} can't be used" in self.fails(tmp_path, capsys, "--port", server.port)


@pytest.mark.parametrize(("sources", "reason"), [
    (2, "its sources disagree most"), (1, "its source is least sure"), (0, "most of its words are new"),
])  # fmt: skip
def test_the_order_follows_the_suggestions_there_are(
    tmp_path: Path, start: Callable, sources: int, reason: str
) -> None:
    make_project(tmp_path)
    # the texts of dev and test are drawn at random
    data_config(tmp_path / "data.cfg", test_percent=1, dev_percent=1)
    for name in ("llm", "rules")[sources:]:
        (tmp_path / f"{name}.jsonl").unlink()
    text = (tmp_path / "review.cfg").read_text("utf-8").replace('then = "file"\n', "")
    (tmp_path / "review.cfg").write_text(text, encoding="utf-8")
    started = start(tmp_path)
    with httpx2.Client(base_url=f"http://localhost:{started.port}", follow_redirects=True) as client:
        assert client.get(started.url).status_code == 200
        first = client.get("/api/next").json()
    assert first["why"] == reason
    # the one text that they say something about
    assert not sources or first["id"] == "t0"


def test_missing_suggestions_are_reported_and_reviewing_goes_on(tmp_path: Path, start: Callable) -> None:
    (make_project(tmp_path) / "rules.jsonl").unlink()
    started = start(tmp_path)
    started.stop()
    assert "rules.jsonl does not exist yet; rules makes suggestions as soon as it does." in " ".join(
        started.output.split()
    )


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_training_in_the_background_ends_with_the_server(
    tmp_path: Path, start: Callable, how: signal.Signals
) -> None:
    lines = [f"Hooli {word} raised ${i}m today." for i, word in enumerate("abcdefghijkl")]
    make_project(tmp_path, independent=False)
    write_lines(tmp_path / "texts.jsonl", [{"text": text} for text in lines])
    settings = (tmp_path / "review.cfg").read_text("utf-8").replace("one label", "all labels")
    settings = settings.replace("batch = 1", 'batch = 1\ntasks = ["spans"]') + "[learn]\nevery = 6\n"
    (tmp_path / "review.cfg").write_text(settings, encoding="utf-8")
    data_config(tmp_path / "data.cfg", test_percent=1, dev_percent=1)
    started = start(tmp_path)
    home = f"http://localhost:{started.port}"
    with httpx2.Client(base_url=home, follow_redirects=True, headers={"origin": home}) as client:
        client.get(started.url)
        item = client.get("/api/next").json()
        for number in range(6):
            body = {name: item[name] for name in ("annotator", "text", "base")}
            body |= {"unit": "spans", "answer": "accept", "entry": f"entry-{number:03}"}
            item = client.post("/api/answer", json=body | {"spans": [[0, 1, "COMPANY"]]}).json()
    assert item["spans"][0]["sources"][0]["name"] == "marked before"
    children = psutil.Process(started.process.pid).children(recursive=True)
    assert children
    started.stop(how)
    assert psutil.wait_procs(children, timeout=30)[1] == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_is_quiet_and_no_failure(tmp_path: Path, start: Callable, how: signal.Signals) -> None:
    started = start(make_project(tmp_path))
    started.process.send_signal(how)
    rest = started.process.communicate(timeout=30)[0]
    assert "Traceback" not in rest
    assert started.process.returncode == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_it_stops_with_the_weasel_that_started_it(tmp_path: Path, how: signal.Signals) -> None:
    stops_with_weasel(make_project(tmp_path), ROOT / "scripts" / "review.py", options(tmp_path), how)


def test_clients_that_wait_or_go_away_do_no_harm(tmp_path: Path, start: Callable) -> None:
    started = start(make_project(tmp_path))
    home, secret = f"localhost:{started.port}", started.url.partition("token=")[2]
    cookie = f"Cookie: review-{started.port}={secret}\r\nContent-Type: application/json"
    head = (
        f"POST /api/answer HTTP/1.1\r\nHost: {home}\r\nOrigin: http://{home}\r\n{cookie}\r\n"
        "Content-Length: 99\r\n\r\n{"
    ).encode()
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", started.port)) as gone:
            gone.sendall(head)
    for sent in (b"", b"GET / HTTP", head):
        with crowd(started.port, sent):
            assert httpx2.get(f"http://{home}/", timeout=60).status_code == 403
    started.process.send_signal(signal.SIGTERM)
    assert "Traceback" not in started.process.communicate(timeout=60)[0]
    assert (tmp_path / "log.jsonl").read_bytes() == b""


def all_labels(folder: Path, lines: Sequence[str], suggested: Sequence[dict] = (), **more: object) -> Path:
    """A project that is asked for COMPANY and MONEY at once."""
    make_project(folder, **more)
    write_lines(folder / "texts.jsonl", [{"text": t, "meta": {"id": f"t{i}"}} for i, t in enumerate(lines)])
    write_lines(folder / "llm.jsonl", suggested)
    (folder / "rules.jsonl").unlink()
    text = (
        (folder / "review.cfg")
        .read_text("utf-8")
        .replace("one label", "all labels")
        .replace("batch = 1", "batch = 2")
    )
    (folder / "review.cfg").write_text(text, encoding="utf-8")
    return folder


def selected(page: object) -> str:
    """The words that are selected, or the one that the cursor is on."""
    parts = page.locator("#text .sel").all_text_contents() or page.locator("#text .cur").all_text_contents()
    return "".join(parts)


PLAIN = """text => [...text.querySelectorAll(".w")].map((word, i) => {
  const before = word.previousSibling?.nodeType === 3 ? word.previousSibling.data : "";
  return before + word.textContent;
})"""
NAMES = "The ACME Group of Jean-Luc Roy & Sons paid $5m, then Hooli paid ACME GROUP and Acme Group back."


class TestShortcuts:
    @pytest.fixture
    def page(self, tmp_path: Path, start: Callable, open_page: Callable) -> object:
        suggested = [
            span(NAMES, "then", "MONEY", source="llm"),
            span(NAMES, "Hooli", "COMPANY", source="llm"),
            span(NAMES, "back", "MONEY", source="llm"),
        ]
        shown = [{"text": NAMES, "spans": suggested}]
        return open_page(start(all_labels(tmp_path, [NAMES], shown)), "ann")

    def test_a_number_labels_what_is_selected(self, page: object) -> None:
        press(page, "2")  # nothing is selected: the label that M marks with
        assert page.locator("#labels [aria-pressed=true]").inner_text().startswith("MONEY")
        assert len(marked(page)) == 3
        press(page, "Home ArrowRight Shift+ArrowRight 1")
        assert in_text(page)[0] == ("COMPANY", "ACME Group")
        press(page, "2")
        assert in_text(page)[0] == ("MONEY", "ACME Group")

    def test_w_selects_names_and_numbers(self, page: object) -> None:
        seen = []
        for _ in range(8):
            press(page, "w")
            seen.append(selected(page))
        wanted = ["The ACME Group", "ACME Group", "Jean-Luc Roy & Sons", "$5m", "ACME GROUP", "Acme Group"]
        assert seen == [*wanted, "Acme Group", "Acme Group"]
        press(page, "Shift+W")
        assert selected(page) == "ACME GROUP"
        press(page, "1")  # what is marked is passed over
        press(page, "Shift+W")
        assert selected(page) == "$5m"

    def test_every_occurrence_in_any_case(self, page: object) -> None:
        press(page, "Home ArrowRight Shift+ArrowRight 1 e")
        assert [row for row in in_text(page) if row[0] == "COMPANY"] == [
            *(("COMPANY", "ACME Group"), ("COMPANY", "Hooli")),
            *(("COMPANY", "ACME GROUP"), ("COMPANY", "Acme Group")),
        ]
        assert page.locator("#live").text_content() == "2 more marked as COMPANY."

    def test_home_end_and_the_lines(self, page: object) -> None:
        page.set_viewport_size({"width": 400, "height": 900})

        def place() -> dict:
            return page.locator("#text .cur").bounding_box()

        press(page, "End")
        assert selected(page) == "."
        press(page, "Home")
        assert selected(page) == "The"
        first = place()
        press(page, "ArrowDown")
        assert place()["y"] > first["y"]
        press(page, "ArrowDown ArrowUp ArrowUp")
        assert place() == first
        press(page, "Shift+End")
        assert selected(page).startswith("The ACME Group of")
        assert selected(page).endswith(".")

    def test_yes_and_no_go_through_the_suggestions(self, page: object) -> None:
        press(page, "y")
        assert page.locator("mark.chosen").inner_text().startswith("then")
        press(page, "d")
        assert page.locator("mark.chosen").inner_text().startswith("Hooli")
        press(page, "y")
        assert page.get_by_role("button", name="Keep Hooli").get_attribute("aria-pressed") == "true"
        page.get_by_role("button", name="Keep back").click()
        assert page.locator("#live").text_content() == "Every suggestion is checked."
        assert in_text(page) == [("COMPANY", "Hooli"), ("MONEY", "back")]


class TestOtherTexts:
    LINES = (
        *("Hooli bought a brewery in Ghent.", "Rain fell on the harbour all day."),
        *("Velto bought a brewery in Lyon.", "Anker bought a brewery in Bonn.", "The choir sang at dusk."),
    )

    @pytest.fixture
    def page(self, tmp_path: Path, start: Callable, open_page: Callable) -> object:
        folder = all_labels(tmp_path, self.LINES, independent=False)
        text = (folder / "review.cfg").read_text("utf-8")
        (folder / "review.cfg").write_text(text.replace("batch = 2", 'batch = 2\ntasks = ["spans"]'), "utf-8")
        data_config(folder / "data.cfg", test_percent=1, dev_percent=1)
        return open_page(start(folder), "ann")

    def text(self, page: object) -> str:
        """The text of the question, without the labels of its spans."""
        return "".join(page.locator("#text").evaluate(PLAIN))

    def rows(self, page: object, total: str) -> list[str]:
        page.locator("#hits", has_text=total).wait_for()
        return page.locator("#list .what").all_inner_texts()

    def test_find_and_open_a_text(self, page: object) -> None:
        press(page, "/")
        assert self.rows(page, "5 texts") == list(self.LINES)
        page.keyboard.type("BREWERY in l")  # no letter of it is taken for a key
        press(page, "Escape /")
        assert page.locator("#find").input_value() == "BREWERY in l"
        assert self.rows(page, "1 text in") == [self.LINES[2]]
        press(page, "Tab Tab Enter")
        page.get_by_text("you opened it").wait_for()
        assert self.text(page) == self.LINES[2]
        accept(page)
        assert self.text(page) == self.LINES[0]  # where it was left

    def test_open_an_answer_and_correct_it(self, page: object) -> None:
        accept(page)
        accept(page, "x")
        press(page, "h")
        assert self.rows(page, "2 texts answered by you") == [self.LINES[1], self.LINES[0]]
        assert page.locator("#list .from").all_inner_texts() == ["rejected", "0 spans"]
        page.get_by_role("button", name=self.LINES[0]).click()
        page.get_by_text("Answered before").wait_for()
        press(page, "w 1")
        accept(page)
        assert self.text(page) == self.LINES[2]
        press(page, "h")
        page.locator("#list .from", has_text="1 span").wait_for()  # the list of before is shown until then
        self.rows(page, "2 texts answered by you")
        assert page.locator("#list .from").all_inner_texts() == ["1 span", "rejected"]

    def test_more_texts_like_this_one(self, page: object) -> None:
        press(page, "t")
        page.get_by_text("the next 2 texts are the most similar ones of train").first.wait_for()
        assert self.text(page) == self.LINES[0]
        seen = []
        for _ in range(4):
            accept(page)
            seen.append(self.LINES.index(self.text(page)))
        assert seen == [2, 3, 1, 4]

    def test_speed_and_counts_of_labels(self, page: object) -> None:
        press(page, "w 1")
        accept(page)
        page.locator("#session summary").click()
        rows = dict(row.inner_text().split("\n", 1) for row in page.locator("#speed > div").all())
        assert (rows["COMPANY"], rows["MONEY"]) == ("1", "0")
        assert re.fullmatch(r"1 \(\d+\.\d a minute\)", rows["texts finished"])
        assert re.fullmatch(r"1 \(\d+\.\d a minute\)", rows["answers"])

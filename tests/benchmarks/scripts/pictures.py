"""Take the pictures of the documentation again: each state of the review page, and what the last run drew."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import typer
from benchmarks import rendering
from PIL import Image
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import atomic_write, write_jsonl
from ie.data import options, records
from ie.data.documents.collection import DocumentSettings, read_documents

COLOURS = 96
SIZE = {"width": 1180, "height": 720}
# One text after the other, all questions about each, whatever side it is on.
SETTINGS = """
[review]
batch = 1
blind = {blind}
[order]
first = ""
then = "file"
[sources]
llm = "{silver}"
earlier = "{gold}"
"""
# A scheme of its own, as the demo's spans don't overlap.
OVERLAPPING = """
[components]
[components.spans]
factory = "llm"
[components.spans.task]
@llm_tasks = "ie.Spans.v1"
labels = ["ORGANIZATION", "PLACE", "BUILDING"]
overlapping = true
"""
RULES = """# Guidelines

- ORGANIZATION: its full name, and the name of a larger organization that is part of it.
- PLACE: also inside of the names of organizations and buildings.
- BUILDING: a museum is an ORGANIZATION as well, with the same words.
"""
NESTED = (
    "The University of Edinburgh Business School rents two floors of the National Museum of Scotland until "
    "the end of May."
)
PARTS = [
    ("University of Edinburgh Business School", "ORGANIZATION"),
    ("University of Edinburgh", "ORGANIZATION"),
    ("Edinburgh", "PLACE"),
    ("National Museum of Scotland", "ORGANIZATION"),
    ("National Museum of Scotland", "BUILDING"),
    ("Scotland", "PLACE"),
]


def main(
    silver: Annotated[Path, typer.Option(help="What the LLM suggests")] = Path("corpus/llm.jsonl"),
    gold: Annotated[Path, typer.Option(help="Reviewed texts, of which some are shown")] = Path(
        "corpus/dev.jsonl"
    ),
    scheme: Annotated[Path, typer.Option(help="Config that holds the labels")] = Path("configs/llm.cfg"),
    guidelines: Annotated[Path, typer.Option(help="Guidelines beside the text")] = Path(
        "assets/guidelines.md"
    ),
    curve: Annotated[Path, typer.Option(help="Picture of the learning curve")] = options.TRAINING
    / "curve/curve.png",
    output: Annotated[Path, typer.Option(help="Folder for the pictures")] = Path("docs"),
) -> None:
    """Write review*.png and curve.png into OUTPUT."""
    found = [record for record in records.read_records(gold) if record.relations and record.cats]
    if not found:
        raise UserError(f"{gold}: no text has relations and a category to show; take another file.")
    # short, and with something to see of each kind
    shown = min(found, key=lambda record: (len(record.relations) < 2, len(record.text)))
    taken: list[Path] = []

    def take(page: Any, name: str) -> None:
        path = output / f"{name}.png"
        taken.extend([path] if path not in taken else [])
        with atomic_write(path, "wb") as file:
            # a page has few colours, and pictures stay in git for good
            Image.open(BytesIO(page.screenshot(full_page=True))).quantize(COLOURS).save(file, "png")

    for blind in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            prepare(Path(folder), shown, silver.resolve(), blind=blind)
            with server(Path(folder), scheme, guidelines) as url, browser() as page:
                page.goto(url)
                page.wait_for_selector("#task:not([hidden])")
                (blind_state if blind else states)(page, take)
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), shown, silver.resolve(), blind=False)
        unsure = prepare_rows(Path(folder), shown)
        with server(Path(folder), scheme, guidelines, unsure) as url, browser() as page:
            page.goto(url)
            page.wait_for_selector("#row:not([hidden])")
            take(page, "review-row")
    with tempfile.TemporaryDirectory() as folder:
        own_scheme, own_guidelines = prepare_overlapping(Path(folder))
        with server(Path(folder), own_scheme, own_guidelines) as url, browser() as page:
            page.goto(url)
            page.wait_for_selector("#text .lane")
            overlapping_state(page, take)
    if find_spec("fpdf"):
        others = [record.text for record in found if record is not shown]
        with tempfile.TemporaryDirectory() as folder:
            prepare(Path(folder), of_document(Path(folder), shown, others), silver.resolve(), blind=False)
            with server(Path(folder), scheme, guidelines) as url, browser() as page:
                page.goto(url)
                page.wait_for_selector("#task:not([hidden])")
                document_state(page, take)
    else:
        msg.warn(
            "review-document.png stays as it is: run `pip install -r tests/benchmarks/requirements.txt`."
        )
    if curve.is_file():
        taken.append(output / "curve.png")
        with atomic_write(taken[-1], "wb") as file:
            file.write(curve.read_bytes())
    else:
        msg.warn(f"{curve}: isn't there, so curve.png stays as it is; run `weasel run train-curve`.")
    msg.good(f"{len(taken)} pictures: {', '.join(map(str, taken))}")


def prepare(folder: Path, shown: records.Record, silver: Path, *, blind: bool) -> None:
    """A project of one text, which has been reviewed before."""
    bare = shown.model_copy(update={"spans": [], "relations": [], "cats": {}})
    records.write_records(folder / "texts.jsonl", [bare])
    records.write_records(folder / "earlier.jsonl", [shown])
    sides = '["train","dev","test"]' if blind else "[]"
    text = SETTINGS.format(blind=sides, silver=silver, gold=folder / "earlier.jsonl")
    (folder / "review.cfg").write_text(text, encoding="utf-8")


def prepare_rows(folder: Path, shown: records.Record) -> list[str]:
    """The text as `accept` lists it, its first row being unsure; the options to review it."""
    content = shown.model_dump(include={"text", "spans", "relations"})
    content["relations"] = [relation | {"row_confidence": 0.62} for relation in content["relations"]]
    path = folder / "accept" / "unsure.jsonl"
    path.parent.mkdir()
    write_jsonl(path, [content | {"unsure": [0], "why": "1 row is less sure than .93"}])
    return ["--select", "unsure", "--config", str(folder)]


def prepare_overlapping(folder: Path) -> tuple[Path, Path]:
    """A project of one text whose spans overlap; its scheme and its guidelines."""
    spans = [{"start": NESTED.index(part), "label": label} for part, label in PARTS]
    for span, (part, _) in zip(spans, PARTS, strict=True):
        span["end"] = span["start"] + len(part)
    shown = records.Record.model_validate({"text": NESTED, "spans": spans})
    silver = shown.model_copy(update={"spans": shown.spans[1:]})
    records.write_records(folder / "silver.jsonl", [silver])
    prepare(folder, shown, folder / "silver.jsonl", blind=False)
    (folder / "llm.cfg").write_text(OVERLAPPING, encoding="utf-8")
    (folder / "guidelines.md").write_text(RULES, encoding="utf-8")
    return folder / "llm.cfg", folder / "guidelines.md"


@contextmanager
def server(folder: Path, scheme: Path, guidelines: Path, more: Sequence[str] = ()) -> Iterator[str]:
    """The review page of that project, with `more` options; its address."""
    command = [sys.executable, "-u", str(Path(__file__).parents[3] / "scripts" / "review.py")]
    command += ["--texts", str(folder / "texts.jsonl"), "--reviewed", str(folder / "reviewed.jsonl")]
    command += ["--journal", str(folder / "log.jsonl"), "--settings", str(folder / "review.cfg")]
    command += ["--port", "0"]
    command += ["--scheme", str(scheme), "--guidelines", str(guidelines), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            said = ""
            for line in process.stdout or ():
                said += line
                if address := re.search(r"http://localhost:\d+/\?token=\S+", line):
                    yield address[0]
                    return
            raise UserError(f"The review page doesn't start: {' '.join(said.split())}")
        finally:
            process.terminate()


@contextmanager
def browser() -> Iterator[Any]:
    """A page in a headless Chromium, the machine's own."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise UserError(
            "playwright isn't installed; run: pip install -r tests/benchmarks/requirements.txt"
        ) from None
    names = ("chromium", "chromium-browser", "google-chrome")
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if not program:
        raise UserError("There is no Chromium; install it, or set CHROMIUM to its path.")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started.new_page(viewport=SIZE)
        started.close()


def states(page: Any, take: Callable[[Any, str], None]) -> None:
    """All questions about the text: spans of each label, relations, categories; then nothing is left."""
    take(page, "review")
    page.keyboard.press("f")
    page.locator("#note").fill("Is the fund itself a COMPANY here, or its manager?")
    take(page, "review-meeting")
    page.locator("#note").fill("")
    page.locator("#flag").click()
    names = {"Draw": "review-relations", "What": "review-categories"}
    while page.locator("#task").is_visible():
        first = page.locator("#question").inner_text().split()[0]
        if first in names:
            take(page, names[first])
        with page.expect_response(lambda response: "/api/answer" in response.url):
            page.locator("#accept").click()
        page.locator("#accept:enabled:visible, #empty:visible").wait_for()
    take(page, "review-done")


def of_document(folder: Path, shown: records.Record, others: list[str]) -> records.Record:
    """The text as it is read from a PDF of two columns, among others, with its spans."""
    others = [text for text in others if 150 < len(text) < 400][:13]
    rendering.pdf(folder / "weekly-news.pdf", [*others[:3], shown.text, *others[3:]], columns=2)
    read = read_documents(folder / "weekly-news.pdf", DocumentSettings(min_chars=0)).records
    return shown.model_copy(update={"meta": next(r.meta for r in read if r.text == shown.text)})


def document_state(page: Any, take: Callable[[Any, str], None]) -> None:
    """The first question, with the page of the document that the text is from."""
    page.keyboard.press("v")
    page.wait_for_selector(".pages figure.loaded")
    page.keyboard.press("n")
    take(page, "review-document")


def overlapping_state(page: Any, take: Callable[[Any, str], None]) -> None:
    """Spans inside of spans, and two labels for the same words; an inner one is selected."""
    page.keyboard.press("n")
    page.keyboard.press("n")
    take(page, "review-nested")


def blind_state(page: Any, take: Callable[[Any, str], None]) -> None:
    """The first question about a text that is shown without suggestions."""
    take(page, "review-blind")


if __name__ == "__main__":
    run(main)

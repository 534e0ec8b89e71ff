"""The order of test files, and a browser for the tests of pages."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files with most slow tests first, so that no process still has one when the others are done."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: ("demo" not in item.path.parts, -slow[item.path]))


@pytest.fixture(scope="session")
def rule_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline with all components and known entities, in a folder that no test changes."""
    from serving import make_pipeline  # slow to import, and few tests need it

    return make_pipeline(tmp_path_factory.mktemp("pipeline") / "model-best")


# For one file only: while it is open its event loop counts as running in this thread, and nothing else may
# run one there.
@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright isn't installed")
    program = (
        os.environ.get("CHROMIUM") or which("chromium") or which("chromium-browser") or which("google-chrome")
    )
    if not program:
        pytest.skip("there is no Chromium; install it (apt-get install chromium) or set CHROMIUM to its path")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def browse(browser: object) -> Iterator[Callable]:
    """Opens an address and waits for a selector; no script may fail and nothing may come from outside."""
    contexts, faults = [], []

    def browse(url: str, selector: str, **more: object) -> object:
        contexts.append(browser.new_context(viewport={"width": 1280, "height": 900}, **more))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda told: faults.append(told.text) if told.type == "error" else None)
        page.on(
            "request", lambda asked: faults.append(asked.url) if "//localhost:" not in asked.url else None
        )
        page.goto(url)
        page.wait_for_selector(selector)
        return page

    yield browse
    for context in contexts:
        context.close()
    # an answer that was refused or a server that is down is told by the browser too
    assert [fault for fault in faults if "Failed to load resource" not in fault] == []


@pytest.fixture
def open_review(browse: Callable) -> Iterator[Callable]:
    """Opens the review page of a project's folder, at its first text."""
    from review_page import Server  # slow to import, and few tests need it

    servers = []

    def open_review(folder: Path) -> object:
        servers.append(Server(folder))
        return browse(servers[-1].url, "#text .w")

    yield open_review
    for server in servers:
        server.stop()

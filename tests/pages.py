"""Checks of pages that commands write."""

import re
from html.parser import HTMLParser
from pathlib import Path


class _Parts(HTMLParser):
    """Ids and links of a page."""

    def __init__(self, html: str):
        super().__init__()
        self.ids, self.links = set(), []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids.add(values.get("id"))
        if tag == "a":
            self.links.append(values["href"])


def check_page(browser: object, html: str, folder: Path | None = None) -> None:
    """It answers first, fits narrow windows in both colour schemes, and its links lead somewhere.

    Args:
        browser: of the fixture. folder: where the page lies, for links to other pages.
    """
    headline = re.search(r'<p class="headline">(.+?)</p>', html)
    assert headline, "the page doesn't answer first"
    assert html.index(headline[0]) < html.index("<details"), "details stand above the answer"
    parts = _Parts(html)
    for link in parts.links:
        if link.startswith("#"):
            assert link[1:] in parts.ids, link
        else:
            assert folder, link
            assert (folder / link).exists(), link
    for width in (400, 1280):
        for scheme in ("light", "dark"):
            context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page = context.new_page()
            page.set_content(html)
            page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (width, scheme)
            paper, ink = page.evaluate(
                "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
            )
            assert (_brightness(paper) > _brightness(ink)) == (scheme == "light")
            context.close()


def _brightness(colour: str) -> int:
    return sum(map(int, re.findall(r"\d+", colour)[:3]))

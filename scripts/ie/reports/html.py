"""Self-contained HTML pages from templates, and texts with marked spans in them."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from spacy import displacy

from ie.data.records import Record
from ie.reports.figures import TINTS

TEMPLATES, STATIC = (Path(__file__).parent / name for name in ("templates", "static"))
# Pages about one training config, below its folder; `weasel run all` makes the first two.
PAGES = {
    "Scores": "report.html",
    "Training curve": "curve/curve.html",
    "Diagnosis": "diagnosis.html",
    "Model view": "model-view.html",
    "Robustness": "robustness/robustness.html",
    "Agenda": "../agreement/agenda.html",
    "Variants": "../variants/variants.html",
    "Watch": "watch/watch.html",
}
ALWAYS = ("report.html", "curve/curve.html")
SECTION = re.compile(r'<summary><h2>(.*?)</h2></summary>\s*<div id="([^"]+)">')


@dataclass(frozen=True)
class Answer:
    """What a page says first: the answer in plain words, how sure it is, and the next step.

    `following` is a sentence; commands in it stand between backticks.
    """

    headline: str
    certainty: Sequence[str] = ()
    following: str = ""


@dataclass(frozen=True)
class PageLink:
    """A link to another page, relative to the one that holds it."""

    title: str
    href: str


def page_links(page: Path, training: Path) -> list[PageLink]:
    """Links to the other pages that exist when this one is written; none if it isn't one of `PAGES`.

    Args:
        training: folder of a training config's results.
    """
    known = {title: Path(os.path.normpath(training / path)) for title, path in PAGES.items()}
    own = Path(os.path.normpath(page))
    if own not in known.values():
        return []
    return [
        PageLink(title, Path(os.path.relpath(path, own.parent)).as_posix())
        for title, path in known.items()
        if path != own and (path.exists() or PAGES[title] in ALWAYS)
    ]


def links_to_evaluated(page: Path) -> list[PageLink]:
    """Links from a page about no single training config to those of the first config that was evaluated."""
    reports = sorted(page.parent.parent.glob("*/report.html"))
    return page_links(page, reports[0].parent) if reports else []


def page(
    template: str, *, answer: Answer | None = None, links: Sequence[PageLink] = (), **values: Any
) -> str:
    """A self-contained HTML page from a template; values that are not Markup are escaped.

    Args:
        answer: what it says first. links: to other pages.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"visible": visible, "commands": commands}
    environment.globals["contents"] = contents
    sheets = "".join((STATIC / name).read_text(encoding="utf-8") for name in ("base.css", "pages.css"))
    style = Markup(sheets)
    return environment.get_template(template).render(answer=answer, links=links, style=style, **values)


def contents(body: str) -> list[tuple[str, Markup]]:
    """The id and the title of each section that folds."""
    return [(id, Markup(title)) for title, id in SECTION.findall(body)]


def commands(text: str) -> Markup:
    """A sentence with what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def visible(text: str) -> str:
    """A token's text with its whitespace made visible."""
    return text.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "␣")


def label_colours(labels: Sequence[str]) -> dict[str, str]:
    """A tint for each label, keyed by its name in capitals as displaCy expects."""
    return {label.upper(): TINTS[i % len(TINTS)] for i, label in enumerate(labels)}


def marked(record: Record, colours: dict[str, str]) -> Markup:
    """A text with its spans marked by displaCy."""
    # displaCy escapes texts but not labels, and a label can be anything that stands in a file.
    ents = [
        {"start": span.start, "end": span.end, "label": str(escape(span.label))}
        for span in sorted(record.spans, key=lambda s: s.start)
    ]
    kinds = Counter(map(unicodedata.bidirectional, record.text))
    direction = "rtl" if kinds["R"] + kinds["AL"] > kinds["L"] else "ltr"
    document = {"text": record.text, "ents": ents, "title": None, "settings": {"direction": direction}}
    drawing = displacy.render(document, style="ent", manual=True, options={"colors": colours}, jupyter=False)
    return Markup(drawing)

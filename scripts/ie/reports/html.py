"""Self-contained HTML pages from templates, and texts with marked spans in them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from spacy import displacy

from ie.data.records import Record
from ie.reports.figures import TINTS

TEMPLATES = Path(__file__).parent / "templates"


def page(template: str, **values: Any) -> str:
    """A self-contained HTML page from a template; values that are not Markup are escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    return environment.get_template(template).render(**values)


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
    document = {"text": record.text, "ents": ents, "title": None}
    drawing = displacy.render(document, style="ent", manual=True, options={"colors": colours}, jupyter=False)
    return Markup(drawing)

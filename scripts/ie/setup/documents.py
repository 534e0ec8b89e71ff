"""README, guidelines and cards of the user's project, from the templates next to this module."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from weasel.cli.document import MARKER_END, MARKER_START

from ie.core.files import json_text
from ie.data.scheme import KINDS
from ie.data.splits import SIDES, Split
from ie.setup.inputs import Inputs

LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def render(template: str, **values: Any) -> str:
    """A template of this package with these values."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # A cell of a table in Markdown.
    environment.filters |= {"json": json_text, "cell": lambda text: text.replace("|", "\\|")}
    return environment.get_template(template).render(**values)


def purpose(inputs: Inputs) -> str:
    """What the project's pipeline does, as the end of a sentence."""
    work = {"finds": inputs.labels["span"], "classifies texts as": inputs.labels["category"]}
    return " and ".join(f"{verb} {', '.join(labels)}" for verb, labels in work.items() if labels)


def readme(inputs: Inputs, split: Split, *, title: str, scheme: Path, config: str, pages: list[Path]) -> str:
    """README.md; `weasel document` fills its generated part.

    Args:
        split: the reviewed texts by part. config: the training config. pages: the documentation.
    """
    return render(
        "README.md.j2",
        title=title,
        purpose=purpose(inputs),
        labels=[
            [
                label,
                kind,
                f"{inputs.label_counts(kind)[label]:,}",
                inputs.definitions.get(label) or "to be written",
            ]
            for kind in KINDS
            for label in inputs.labels[kind]
        ],
        texts=len(inputs.texts),
        words=inputs.words(),
        reviewed=len(inputs.gold),
        split=sizes(split),
        scheme=scheme.as_posix(),
        config=config,
        pages=[page_summary(page) for page in pages],
        start=MARKER_START.format(tag="WEASEL"),
        end=MARKER_END.format(tag="WEASEL"),
    )


def sizes(split: Split) -> str:
    """The number of reviewed texts in each part of the split."""
    return ", ".join(f"{len(getattr(split, side)):,} {side}" for side in SIDES)


def page_summary(page: Path) -> Mapping[str, str]:
    """File name, title and first sentence of a page in Markdown."""
    title, _, body = page.read_text(encoding="utf-8").partition("\n")
    paragraph = body.strip().split("\n\n")[0]
    prose = re.match(r"[A-Z\[`]", paragraph) and re.match(r".*?[.:](?=\s|$)", paragraph, re.DOTALL)
    about = " ".join(LINK.sub(r"\1", prose[0]).split()) if prose else ""
    return {"name": page.name, "title": title.lstrip("# "), "about": f"{about[:-1]}." if about else ""}


def guidelines(inputs: Inputs, name: str) -> str:
    """assets/guidelines.md, for people to extend."""
    titles = {"span": "Spans", "relation": "Relations", "category": "Categories"}
    groups = {titles[kind]: inputs.labels[kind] for kind in KINDS}
    return render("guidelines.md.j2", name=name, groups=groups, definitions=inputs.definitions)


def data_card(inputs: Inputs, name: str) -> str:
    """assets/CARD.md."""
    return render("CARD.md.j2", name=name, findings=inputs.findings)


def model_card(inputs: Inputs) -> str:
    """assets/model_card.md, for people to complete."""
    return render("model_card.md.j2", purpose=purpose(inputs))

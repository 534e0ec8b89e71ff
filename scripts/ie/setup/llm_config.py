"""The LLM's config for the user's labels: its tasks, and settings that depend on the number of labels."""

import re
from pathlib import Path
from typing import Any

from ie.core.text import joined
from ie.setup.config_file import ConfigFile
from ie.setup.documents import render
from ie.setup.inputs import Inputs

SECTIONS = {"span": "spans", "relation": "relations", "category": "categories"}
# With more labels than this in one prompt, each gets a shorter answer and the model a longer context.
MANY_LABELS = 4


def llm_config(path: Path, inputs: Inputs, lang: str) -> str:
    """The config at `path` with tasks for these labels in place of its own; model and prompt are kept.

    Raises:
        UserError: the config lacks a setting that the template's config has.
    """
    config = ConfigFile(path)
    pipeline = "categories" if inputs.categories_only else "spans"
    config.set("nlp", lang=lang, pipeline=[pipeline])
    if inputs.categories_only and not inputs.exclusive:
        # Many texts have none of the categories, so half of the examples may have none.
        config.set("prompt.examples", max_empty=0.5)
    if len(inputs.labels["span"]) > MANY_LABELS:
        config.set("prompt", max_tokens=32)
        if config.has("model", "context_length"):  # of the embedded model
            config.set("model", context_length=4096)
    for section in config.sections:
        if section.startswith("components."):
            config.remove(section)
    tasks = [_task(inputs, kind) for kind in SECTIONS if inputs.labels[kind]]
    rendered = render(
        "tasks.cfg.j2",
        tasks=tasks,
        pipeline=pipeline,
        exclusive=inputs.exclusive,
        overlapping=inputs.overlapping,
    )
    return f"{config}{rendered}"


def _task(inputs: Inputs, kind: str) -> dict[str, Any]:
    labels = inputs.labels[kind]
    names = {label: inputs.label_names.get(label, label_words(label)) for label in labels}
    if len({name.casefold() for name in names.values()}) < len(names):
        names = {label: inputs.label_names.get(label, label) for label in labels}
    kinds_of_span = joined([name.lower() if name.istitle() else name for name in names.values()])
    choice = joined(labels, "or")
    instruction = {
        "span": f"{kinds_of_span[0].upper()}{kinds_of_span[1:]} in each text.",
        "relation": f"Which spans of each text are related, and how: {choice}.",
        "category": f"What each text is about: {choice}{'' if inputs.exclusive else ', or none'}.",
    }
    return {
        "kind": kind,
        "section": SECTIONS[kind],
        "labels": labels,
        "names": names,
        "instruction": inputs.instructions.get(kind, instruction[kind]),
        "definitions": {label: inputs.definitions.get(label, "") for label in labels},
        "undefined": [label for label in labels if label not in inputs.definitions],
    }


def label_words(label: str) -> str:
    """A label as words: FASHION_BRAND and FashionBrand are "Fashion brand"."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[_.-]+", " ", label).split()
    lowered = " ".join(
        word if word.isupper() and len(words) > 1 and len(word) < 4 else word.lower() for word in words
    )
    return lowered[:1].upper() + lowered[1:]

"""The annotation scheme: the labels, read from the config of the LLM pipeline.

As on slides 64-69 of the talk, that config holds the task, its labels and their definitions for the prompt.
All other code reads the labels through this module.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ie.core.errors import UserError
from ie.core.settings import read_config
from ie.core.text import names_in

KINDS = ("span", "relation", "category")
# What is scored: spans, the one category of a text, or any number of categories.
Scored = Literal["spans", "category", "categories"]


@dataclass(frozen=True)
class Scheme:
    """Labels in the order of the config, by kind; a kind without labels isn't part of the task.

    `definitions` maps a label to its definition. A name used by two kinds keeps the definition of the
    first in the order of `KINDS`. `exclusive` tells whether a text has exactly one of the categories, and
    `overlapping` whether spans may overlap: one in another, or two labels on one span.
    """

    span_labels: tuple[str, ...] = ()
    relation_labels: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    definitions: dict[str, str] = field(default_factory=dict)
    path: Path | None = None
    exclusive: bool = True
    overlapping: bool = False

    @property
    def scored(self) -> Scored:
        """What training and evaluation measure: spans, or categories in a scheme without spans."""
        if self.span_labels or not self.categories:
            return "spans"
        return "category" if self.exclusive else "categories"

    @property
    def scored_labels(self) -> tuple[str, ...]:
        """The labels that are scored."""
        return self.span_labels if self.scored == "spans" else self.categories

    def require_spans(self, what: str) -> None:
        """Refuse `what`, the beginning of a sentence, in a scheme without spans."""
        if not self.span_labels:
            raise UserError(
                f"{self.path}: {what} is about spans, and the scheme has none; leave this command out, or "
                "add a task with span labels."
            )

    def refuse_overlapping(self, what: str) -> None:
        """Refuse `what`, the beginning of a sentence, in a scheme whose spans overlap."""
        if self.overlapping:
            raise UserError(
                f"{self.path}: {what} can't handle spans that overlap, and the scheme has overlapping = "
                "true; leave this command out."
            )

    def labels(self, kind: str) -> tuple[str, ...]:
        """The labels of one of `KINDS`."""
        return dict(zip(KINDS, (self.span_labels, self.relation_labels, self.categories), strict=True))[kind]


def load_scheme(path: Path) -> Scheme:
    """Read the scheme from a spacy-llm pipeline config without building the pipeline.

    Every component in the file whose task has `labels` counts, listed in `nlp.pipeline` or not. The
    registered name of its task determines the kind: relations (`ie.Relations`, `spacy.REL`), categories
    (`ie.Categories`, `spacy.TextCat`), or else spans.
    """
    path = Path(path)
    labels: dict[str, list[str]] = {kind: [] for kind in KINDS}
    definitions: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    exclusive, overlapping = True, False
    for name, component in _components(path).items():
        task = component.get("task") if isinstance(component, dict) else None
        if not isinstance(task, dict) or "labels" not in task:
            continue
        section = f"[components.{name}.task]"
        kind = _kind(str(task.get("@llm_tasks", "")))
        if kind == "category":
            # ours, and that of spacy-llm's own task
            exclusive = bool(task.get("exclusive", task.get("exclusive_classes", True)))
        if kind == "span":
            overlapping = overlapping or _overlapping(path, section, task)
        for label in _label_list(path, section, task["labels"]):
            if label in labels[kind]:
                raise UserError(
                    f"{path}: {section} lists the {kind} label {label!r} twice; keep one of them."
                )
            labels[kind].append(label)
        definitions[kind] |= _definitions(path, section, task.get("label_definitions"))
    if not any(labels.values()):
        raise UserError(
            f"{path}: no component has a task with labels; write, for instance, "
            'labels = ["PRODUCT"] below [components.spans.task].'
        )
    for kind in KINDS:
        for label in definitions[kind]:
            if label not in labels[kind]:
                raise UserError(
                    f"{path}: a definition is given for {label!r}, which is no {kind} label "
                    f"({', '.join(labels[kind])}); correct the name or add it to the labels."
                )
    merged = definitions["category"] | definitions["relation"] | definitions["span"]
    ordered = {label: merged[label] for kind in KINDS for label in labels[kind] if label in merged}
    return Scheme(
        *(tuple(labels[kind]) for kind in KINDS),
        definitions=ordered,
        path=path,
        exclusive=exclusive,
        overlapping=overlapping,
    )


def _overlapping(path: Path, section: str, task: dict[str, Any]) -> bool:
    value = task.get("overlapping", False)
    if not isinstance(value, bool):
        raise UserError(f"{path}: overlapping of {section} is {value!r}; it must be true or false.")
    # spacy-llm's own task of spans that may overlap
    return value or "spancat" in str(task.get("@llm_tasks", "")).lower()


def _components(path: Path) -> dict[str, Any]:
    missing = "it must hold the scheme, see README"
    try:
        config = read_config(path, missing=missing)
    except UserError:
        # References to values from the command line, which labels rarely use.
        config = read_config(path, interpolate=False, missing=missing)
    components = config.get("components", {})
    return components if isinstance(components, dict) else {}


def _kind(task: str) -> str:
    name = task.lower()
    if ".rel" in name:  # ie.Relations.v1, spacy.REL.v1
        return "relation"
    if ".categor" in name or ".textcat" in name:
        return "category"
    return "span"


def _label_list(path: Path, section: str, value: Any) -> list[str]:
    # spacy-llm's tasks take a list or one string with commas
    if isinstance(value, str) and "${" not in value:
        value = names_in(value)
    if not isinstance(value, list) or not all(isinstance(v, str) and v.strip() == v != "" for v in value):
        raise UserError(
            f"{path}: labels of {section} must be a list of names without spaces around them, "
            f'such as ["PRODUCT", "BRAND"]; it is {value!r}.'
        )
    return value


def _definitions(path: Path, section: str, value: Any) -> dict[str, str]:
    # Only spacy-llm can resolve a registered function, such as a file reader.
    if not isinstance(value, dict) or any(key.startswith("@") for key in value):
        return {}
    for label, definition in value.items():
        if not isinstance(definition, str):
            raise UserError(f"{path}: the definition of {label!r} in {section} must be a text in quotes.")
    return dict(value)

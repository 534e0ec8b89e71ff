"""The prompts that a search tries: stages of candidates, read from configs/tune-prompt.cfg."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confection import Config
from pydantic import Field

from ie.core.errors import UserError
from ie.core.settings import Section, read_config, validated

SEARCH = "search"
# Settings of a candidate that aren't settings of the LLM's config.
DRAW, ORDER, LABEL_NAMES, INSTRUCTION = "examples.draw", "examples.order", "label_names", "instruction"
VALUES = {ORDER: ("reversed",), LABEL_NAMES: ("labels",)}


class SearchSettings(Section):
    """[search]: texts of the first round of a stage, and at most in each half."""

    first_texts: int = Field(20, ge=1)
    texts: int = Field(80, ge=1)


@dataclass(frozen=True)
class Candidate:
    """A change to a prompt: settings by dotted name. `name` is that of its section, `stage.candidate`."""

    name: str
    settings: dict[str, Any]

    def chooses_examples(self, form: str) -> bool:
        """Whether the prompt needs other examples than the one it changes, which has that form."""
        if self.settings.get("prompt.form", form) != form:
            return True
        return any(name.startswith(("prompt.examples.", DRAW)) for name in self.settings)

    def overrides(self, labels: Sequence[str], names: dict[str, str], task: str) -> dict[str, Any]:
        """Overrides of the LLM's config.

        Args:
            labels: that are asked for. names: their words in the prompt.
            task: dotted name of the task's section.
        """
        changes = {name: value for name, value in self.settings.items() if name not in (DRAW, ORDER)}
        if changes.pop(LABEL_NAMES, None):
            changes |= {f"{task}.label_names.{label}": label for label in labels if label in names}
            names = {label: label for label in labels}
        if instruction := changes.pop(INSTRUCTION, None):
            words = ", ".join(names.get(label, label) for label in labels)
            changes[f"{task}.instruction"] = instruction.replace("{names}", words)
        return changes


def read_stages(path: Path, only: Sequence[str] = ()) -> tuple[SearchSettings, dict[str, list[Candidate]]]:
    """The settings of the search, and the candidates of each stage, both in the order of the file.

    Raises:
        UserError: no such file, or a section that isn't a candidate.
    """
    config = dict(read_config(path, interpolate=False))
    settings = validated(f"{path}: [{SEARCH}]", config.pop(SEARCH, {}), SearchSettings)
    stages = {}
    for stage, sections in config.items():
        if loose := [name for name, value in sections.items() if not isinstance(value, dict)]:
            raise UserError(
                f"{path}: [{stage}] sets {loose[0]}; a stage has only sections, such as [{stage}.other]."
            )
        stages[stage] = [
            Candidate(f"{stage}.{name}", dict(flat(changes))) for name, changes in sections.items()
        ]
        for candidate in stages[stage]:
            _check(path, candidate)
    if unknown := [stage for stage in only if stage not in stages]:
        raise UserError(f"--only {unknown[0]!r}: the stages of {path} are {', '.join(stages)}.")
    stages = {stage: stages[stage] for stage in stages if stages[stage] and (not only or stage in only)}
    if not stages:
        raise UserError(f"{path}: there is no candidate in it; take the template's file.")
    return settings, stages


def _check(path: Path, candidate: Candidate) -> None:
    if not candidate.settings:
        raise UserError(f"{path}: [{candidate.name}] changes nothing; add a setting, or delete it.")
    for name, allowed in VALUES.items():
        value = candidate.settings.get(name, allowed[0])
        if value not in allowed:
            raise UserError(f'{path}: [{candidate.name}] {name} = {value!r} must be "{allowed[0]}".')


def flat(settings: dict | Config, prefix: str = "") -> list[tuple[str, Any]]:
    """Nested sections as dotted names; one that names a function is a single setting, replaced whole."""
    pairs: list[tuple[str, Any]] = []
    for name, value in settings.items():
        whole = not isinstance(value, dict) or "." in name or any(key.startswith("@") for key in value)
        pairs += [(f"{prefix}{name}", value)] if whole else flat(value, f"{prefix}{name}.")
    return pairs

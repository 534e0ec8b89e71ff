"""The settings of the review (configs/review.cfg), and the questions that follow from them."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from ie.core.errors import UserError
from ie.core.settings import Section
from ie.data.scheme import Scheme

TASKS = {"spans": "span", "relations": "relation", "categories": "category"}
Task = Literal["spans", "relations", "categories"]
ROW = "row"  # the task of a question about one suggested relation
Side = Literal["train", "dev", "test"]


class ReviewSection(Section):
    """`[review]`: which questions are asked about a text."""

    tasks: list[Task] = Field(["spans", "relations", "categories"])
    mode: Literal["one label", "all labels"] = "all labels"
    batch: int = Field(10, ge=1)
    one_category: bool = True
    blind: list[Side] = Field(["test"])
    independent: bool = False
    lease_minutes: float = Field(30, gt=0)


class BeginSection(Section):
    """`[order.begin]`: texts of each part of the split for a first model."""

    train: int = Field(6, ge=0)
    dev: int = Field(3, ge=0)
    test: int = Field(3, ge=0)


class OrderSection(Section):
    """`[order]`: which texts come first."""

    begin: BeginSection = BeginSection()
    first: Literal["train", "dev", "test", ""] = "test"
    until: int = Field(10, ge=0)
    then: Literal["auto", "disagreement", "uncertainty", "diversity", "random", "file"] = "auto"
    seed: int = 0


class LearnSection(Section):
    """`[learn]`: suggestions from the answers so far."""

    strings: bool = True
    every: int = Field(10, ge=0)


class SkipSection(Section):
    """`[skip]`: whether texts of train on which all sources agree are left out."""

    agreed: bool = False
    shown: float = Field(0.2, ge=0, le=1)


class ModelSection(Section):
    """`[model]`: whether the trained pipeline suggests spans."""

    use: bool = False


class ReviewSettings(Section):
    """The whole file."""

    review: ReviewSection = ReviewSection()
    order: OrderSection = OrderSection()
    sources: dict[str, str] = Field({})
    model: ModelSection = ModelSection()
    learn: LearnSection = LearnSection()
    skip: SkipSection = SkipSection()


@dataclass(frozen=True)
class Unit:
    """One question about a text: a task and its labels; named "spans:COMPANY" or "spans", for example.

    The task of a question about one suggested relation is `ROW`.
    """

    task: str
    labels: tuple[str, ...]
    name: str

    @property
    def parts(self) -> frozenset[str]:
        """What an answer settles, the same in every mode: labels of a task, all categories; a row nothing."""
        if self.task == ROW:
            return frozenset()
        if self.task == "categories":
            return frozenset({"categories"})
        return frozenset(f"{self.task}:{label}" for label in self.labels)

    def without(self, parts: Collection[str]) -> "Unit":
        """The question for the labels that aren't settled yet, where some are; all categories are one."""
        missing = tuple(label for label in self.labels if f"{self.task}:{label}" not in parts)
        if self.task == "categories" or missing in ((), self.labels):
            return self
        return Unit(self.task, missing, f"{self.task}:{','.join(missing)}")

    def named(self, name: str) -> "Unit | None":
        """This question, or one for some of its labels, by name; None for the name of another."""
        task, _, labels = name.partition(":")
        chosen = tuple(labels.split(","))
        if name != self.name and (task != self.task or not set(chosen) <= set(self.labels)):
            return None
        return self if name == self.name else Unit(task, chosen, name)


def units(settings: ReviewSettings, scheme: Scheme) -> tuple[Unit, ...]:
    """The questions about a text, in order: spans, then what builds on them.

    Raises:
        UserError: the scheme has no label for any of the tasks.
    """
    questions: list[Unit] = []
    for task, kind in TASKS.items():
        labels = scheme.labels(kind)
        if task not in settings.review.tasks or not labels:
            continue
        if task == "categories" or settings.review.mode == "all labels":
            questions.append(Unit(task, labels, task))
        else:
            questions += [Unit(task, (label,), f"{task}:{label}") for label in labels]
    if not questions:
        raise UserError(
            f"{scheme.path}: no label for any of the tasks {', '.join(settings.review.tasks)}; add labels, "
            "or correct tasks in configs/review.cfg."
        )
    return tuple(questions)

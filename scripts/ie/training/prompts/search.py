"""The search: stages of successive halving, each from the best prompt so far.

Successive halving (Jamieson and Talwalkar 2016) asks all candidates about a few texts, and the better half
about twice as many, until the last ones have been asked about all. Poor candidates cost little.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
from spacy.language import Language
from wasabi import msg

from ie.core import stats
from ie.core.errors import UserError
from ie.core.stats import FN, FP, TP
from ie.core.text import counted
from ie.data.records import Record
from ie.data.scheme import Scheme
from ie.evaluation.scoring import count, view
from ie.llm import pinning, pipeline
from ie.llm.executor import Spending
from ie.llm.tasks import CategoriesTask, SpansTask, Task
from ie.training.prompts.candidates import DRAW, ORDER, Candidate
from ie.training.prompts.texts import TuningTexts, half_by_hash


@dataclass
class Prompt:
    """A prompt that is scored: the pipeline of its settings, with the examples it shows.

    Attributes:
        settings: overrides of the LLM's config.
        examples: what is pinned; None if the prompt shows none.
        answers: by text.
    """

    name: str
    settings: dict[str, Any]
    nlp: Language
    examples: list[Record]
    answers: dict[str, Record] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        """The task that is scored."""
        return next(task for task in _tasks(self.nlp) if isinstance(task, SpansTask | CategoriesTask))

    @property
    def shown(self) -> int:
        """Number of examples in a prompt."""
        return min(self.task.shots.n, len(self.examples)) if self.similar else len(self.examples)

    @property
    def similar(self) -> bool:
        return self.task.shots.select == "similar"


@dataclass(frozen=True)
class Row:
    """A prompt in a round: its F on that many texts, and whether it went on."""

    stage: str
    name: str
    counts: np.ndarray
    examples: int
    kept: bool


@dataclass
class Limits:
    """What a search may take; 0 for no limit."""

    calls: int
    cost: float


@dataclass
class PromptSearch:
    """Asks with prompts, scores them, and chooses.

    Attributes:
        assemble: makes the pipeline of some overrides of the config.
        first_texts: of the first round of a stage.
        rows: what was scored, in order.
        skipped: stages that the limits left no room for.
    """

    scheme: Scheme
    texts: TuningTexts
    assemble: Callable[[dict[str, Any]], Language]
    first_texts: int
    limits: Limits
    spending: Spending = field(default_factory=Spending)
    rows: list[Row] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def prompt(self, name: str, settings: dict[str, Any], examples: list[Record] | None = None) -> Prompt:
        """The prompt of some settings, with these examples; None chooses them."""
        nlp = self.assemble(settings)
        if examples is None:
            examples = pinning.choose(nlp, self.texts.examples)
        pinning.pin(nlp, examples)
        for pipe, task in zip(nlp.pipe_names, _tasks(nlp), strict=True):
            if not self._scored(task):
                nlp.disable_pipe(pipe)
        for model in pipeline.llm_models(nlp):
            model.spending = self.spending
            limits = [limit for limit in (model.max_calls, self.limits.calls) if limit]
            model.max_calls = min(limits, default=0)
        return Prompt(name, settings, nlp, examples)

    def _scored(self, task: Task | None) -> bool:
        return isinstance(task, SpansTask if self.scheme.scored == "spans" else CategoriesTask)

    def changed(self, best: Prompt, candidate: Candidate) -> Prompt | None:
        """The best prompt so far with the candidate's changes; None, with a warning, if that is no prompt."""
        task = best.task
        section = next(name for name, pipe in best.nlp.pipeline if getattr(pipe, "task", None) is task)
        changes = candidate.overrides(task.labels, task.names, f"components.{section}.task")
        examples: list[Record] | None = best.examples
        if candidate.chooses_examples(task.form):
            examples = None
        if candidate.settings.get(ORDER):
            examples = examples and examples[::-1]
        drawn = None
        if (draw := candidate.settings.get(DRAW)) is not None:
            drawn = half_by_hash(self.texts.examples, draw)
        return self.viable(candidate.name, best.settings | changes, examples, drawn)

    def viable(
        self,
        name: str,
        settings: dict[str, Any],
        examples: list[Record] | None = None,
        pool: Sequence[Record] | None = None,
    ) -> Prompt | None:
        """The prompt of some settings; None, with a warning, if the config or the model's context refuses it.

        Args:
            examples: what it shows; None to choose.
            pool: choose from these instead of all training texts.
        """
        try:
            if pool is not None:
                examples = pinning.choose(self.assemble(settings), pool)
            prompt = self.prompt(name, settings, examples)
            # A prompt that is longer than the model's context is noticed before anything is sent.
            self.missing(prompt, self.texts.search)
        except UserError as error:
            msg.warn(f"[{name}] is left out: {error}")
            return None
        return prompt

    def missing(self, prompt: Prompt, records: Sequence[Record]) -> tuple[int, float]:
        """Calls and dollars that asking about texts takes; stored answers take none."""
        todo = [record for record in records if record.text not in prompt.answers]
        with (
            pipeline.planning(prompt.nlp) as planned,
            closing(pipeline.annotate(prompt.nlp, todo)) as planning,
        ):
            for _ in planning:
                pass
        return sum(s.misses for s in planned), sum(s.planned_cost for s in planned)

    def ask(self, prompt: Prompt, records: Sequence[Record]) -> np.ndarray:
        """Counts (documents, labels, 3) of a prompt on texts.

        Raises:
            UserError: the endpoint gave no answer, or a limit is reached.
        """
        todo = [record for record in records if record.text not in prompt.answers]
        try:
            with pipeline.progress(prompt.nlp, len(todo), prompt.name):
                for record, _ in pipeline.annotate(prompt.nlp, todo):
                    if (record.llm_error or "").startswith("unavailable"):
                        raise UserError(
                            f"The model gave no answer ({record.llm_error}); run the same command again: it "
                            "asks only for the missing answers."
                        )
                    prompt.answers[record.text] = record
        finally:
            for model in pipeline.llm_models(prompt.nlp):
                model.close()
        answers = [prompt.answers[record.text] for record in records]
        scored = self.scheme.scored
        return count(view(records, scored), view(answers, scored), self.scheme.scored_labels)

    def most(self, current: Prompt, stages: dict[str, list[Candidate]]) -> tuple[int, float]:
        """Calls and dollars of all stages at most, if all prompts were as long as the current one."""
        search, held_out = len(self.texts.search), len(self.texts.held_out)
        asked = search + 2 * held_out
        fields = len(current.task.fields)
        for candidates in stages.values():
            sizes = self._sizes(len(candidates))
            prompts = [
                fields if candidate.settings.get("prompt.form") == "one-label" else len(current.task.groups)
                for candidate in candidates
            ]
            asked += sum(size * n for size, n in zip(sizes, sorted(prompts, reverse=True), strict=True))
        planned, cost = self.missing(current, self.texts.search)
        return asked, cost / max(1, planned) * asked

    def run(self, current: Prompt, stages: dict[str, list[Candidate]]) -> Prompt:
        """The best prompt by the texts of the search.

        Raises:
            UserError: the limits leave no room for any stage.
        """
        before, cost = self.missing(current, self.texts.held_out)
        # Kept for measuring the result: the best prompt will be asked about as many.
        reserve = before + len(self.texts.held_out) * len(current.task.groups), 2 * cost
        best, tried, needed = current, 0, (0, 0.0)
        for stage, candidates in stages.items():
            prompts = [p for candidate in candidates if (p := self.changed(best, candidate))]
            prompts = [p for p in prompts if not self._same(p, best)]
            if not prompts:
                continue
            needs = self._needs([best, *prompts], reserve)
            needed = min(needed, needs) if needed[0] else needs
            if not self._allowed(needs):
                self.skipped.append(stage)
                continue
            best = self.halve(stage, best, prompts)
            tried += 1
        if not tried and self.skipped:
            raise UserError(self._too_small(needed, "a search takes at least"))
        return best

    def require_budget(self, prompts: Sequence[Prompt]) -> tuple[int, float]:
        """Calls and dollars of asking with all of some prompts about the texts of the search.

        Raises:
            UserError: the limits don't allow them.
        """
        missing = [self.missing(prompt, self.texts.search) for prompt in prompts]
        needs = sum(calls for calls, _ in missing), sum(cost for _, cost in missing)
        if not self._allowed(needs):
            raise UserError(self._too_small(needs, f"asking with {counted(len(prompts), 'prompt')} takes"))
        return needs

    def price(self, calls: int, cost: float) -> str:
        """What that many calls take at most, and the limits, in a sentence.

        Raises:
            UserError: there is a limit on dollars, and the model has no prices.
        """
        models = pipeline.llm_models(self.assemble({}))
        priced = any(model.prices.input or model.prices.output for model in models)
        if self.limits.cost and not priced:
            raise UserError(
                f"--max-cost {self.limits.cost:g}: the model has no prices; add [model.prices] to its file "
                "in configs/providers, or limit the calls by --max-calls."
            )
        free = all(model.provider.megabytes for model in models)
        dollars = (
            f", ${cost:.2f}" if priced else "" if free else ", dollars unknown (the model has no prices)"
        )
        allowed = [f"{self.limits.calls:,} calls"] * bool(self.limits.calls)
        allowed += [f"${self.limits.cost:g}"] * bool(self.limits.cost)
        return (
            f"about {calls:,} calls{dollars} at most; the limit is {' and '.join(allowed) or 'not set'}. "
            "Stored answers take none."
        )

    def _same(self, prompt: Prompt, other: Prompt) -> bool:
        """Whether a candidate changes nothing about what is asked."""
        record = self.texts.search[0]
        return all(
            _first_prompts(prompt.nlp, text) == _first_prompts(other.nlp, text)
            for text in (record.text, self.texts.search[-1].text)
        )

    def _needs(self, prompts: Sequence[Prompt], reserve: tuple[int, float]) -> tuple[int, float]:
        """Calls and dollars of a stage at most, and of the result's measurement."""
        calls, cost = reserve
        best, *others = prompts
        tries = [self.missing(best, self.texts.search)]
        # Which ones go on isn't known: those that take most are assumed to.
        missing = sorted((self.missing(prompt, self.texts.search) for prompt in others), reverse=True)
        whole = len(self.texts.search)
        for (asked, dollars), size in zip(missing, self._sizes(len(others)), strict=True):
            tries.append((ceil(asked * size / whole), dollars * size / whole))
        return calls + sum(c for c, _ in tries), cost + sum(d for _, d in tries)

    def _sizes(self, candidates: int) -> list[int]:
        """How many texts each candidate of a stage is asked about, the last ones first."""
        rounds = [*self._rounds(candidates), (len(self.texts.search), 0)]
        left, sizes = candidates, []
        for size, n in rounds:
            sizes += [size] * (left - n)
            left = n
        return sizes[::-1]

    def _rounds(self, others: int) -> list[tuple[int, int]]:
        """Texts of each round but the last, and how many candidates go on after it."""
        rounds, size = [], self.first_texts
        while size < len(self.texts.search):
            others = (others + 1) // 2
            rounds.append((size, others))
            size *= 2
        return rounds

    def _allowed(self, needs: tuple[int, float]) -> bool:
        calls, cost = needs
        return not (
            (self.limits.calls and self.spending.calls + calls > self.limits.calls)
            or (self.limits.cost and float(self.spending.cost) + cost > self.limits.cost)
        )

    def _too_small(self, needs: tuple[int, float], what: str) -> str:
        calls, cost = needs
        limit = f"--max-calls {self.limits.calls}" if self.limits.calls else ""
        if self.limits.cost and (not limit or calls <= self.limits.calls):
            return f"--max-cost {self.limits.cost:g}: {what} ${cost:.2f}; nothing was asked."
        return f"{limit}: {what} {counted(calls, 'call')}; nothing was asked."

    def halve(self, stage: str, best: Prompt, candidates: Sequence[Prompt]) -> Prompt:
        """The best of a prompt and some candidates, by successive halving."""
        left = list(candidates)
        for size, n in [*self._rounds(len(left)), (len(self.texts.search), 1)]:
            texts = self.texts.search[:size]
            counts = {prompt.name: self.ask(prompt, texts).sum(axis=1) for prompt in (best, *left)}
            ranked = sorted(left, key=lambda p: (-exact_f(counts[p.name]), p.shown, candidates.index(p)))
            # Those that are clearly worse needn't be asked about more.
            kept = [p for p in ranked[:n] if stats.difference(counts[p.name], counts[best.name]).high >= 1e-4]
            for prompt in (best, *left):
                self.rows.append(
                    Row(stage, prompt.name, counts[prompt.name], prompt.shown, prompt in (best, *kept))
                )
            left = kept
            if not left:
                return best
        order = {id(prompt): i for i, prompt in enumerate((best, *candidates))}
        return min((best, *left), key=lambda p: (-exact_f(counts[p.name]), p.shown, order[id(p)]))


def exact_f(counts: np.ndarray) -> Fraction:
    """F of summed counts (documents, 3) as a fraction, so that equal ones are equal on every machine."""
    tp, fp, fn = (int(counts[:, kind].sum()) for kind in (TP, FP, FN))
    return Fraction(2 * tp, 2 * tp + fp + fn) if tp + fp + fn else Fraction(0)


def _tasks(nlp: Language) -> list[Task | None]:
    return [getattr(pipe, "task", None) for _, pipe in nlp.pipeline]


def _first_prompts(nlp: Language, text: str) -> list[str]:
    """What the prompts about a text are."""
    doc = nlp.tokenizer(text)
    return [
        str(prompt)
        for task in _tasks(nlp)
        if isinstance(task, Task)
        for prompts, _ in task.generate_prompts([doc])
        for prompt in prompts
    ]

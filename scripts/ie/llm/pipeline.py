"""The pipeline of a config, and its answers as records."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confection import Config
from spacy.language import Language
from spacy.tokenizer import Tokenizer
from spacy.tokens import Doc, Span
from spacy.util import load_model_from_config
from spacy_llm.pipeline import LLMWrapper
from tqdm import tqdm

from components.span_classifier import annotated_spans
from ie.core.errors import UserError
from ie.core.settings import read_config
from ie.core.text import one_line

# Imported for what they register.
from ie.data import language
from ie.data.config import DataConfig
from ie.data.records import Record
from ie.data.tokenizer import STRETCH, stretch_fault
from ie.llm import examples, models, streaming, tasks  # noqa: F401
from ie.llm.executor import Model, Spending, Stats
from ie.llm.tasks import Task, trace
from ie.llm.types import Answer

PROVIDERS = Path("configs/providers")


def example_overrides(reviewed: Path, pinned: Path | None, settings: DataConfig) -> dict[str, Any]:
    """Overrides of the config for the examples of its prompts.

    Args:
        reviewed, settings: gold and its split, of which the training part is shown where nothing is pinned.
        pinned: file of the pinned examples; None to choose from gold.
    """
    return {
        "paths.reviewed": str(reviewed),
        "paths.examples": str(pinned or ""),
        **{f"split.{name}": value for name, value in settings.split.model_dump().items()},
        **language.overrides(settings.texts, "nlp.after_creation", tokenizer=False),
    }


def load_config(path: Path, provider: Path | None = None, overrides: dict[str, Any] | None = None) -> Config:
    """Read a config, with the sections of a provider's file in place of its own.

    Args:
        provider: file of `configs/providers`, or None for the config as it is.
        overrides: settings by dotted name, such as `split.test_percent`. A section as value replaces
            that section; a task keeps the labels and definitions of the one it replaces.

    Raises:
        UserError: a missing or broken file, or an override of a section that isn't there.
    """
    config = read_config(path, interpolate=False)
    other = read_config(provider, interpolate=False) if provider else Config()
    try:
        if provider:
            config = config.merge(other)
            if "model" in other:
                # The settings of a model belong to its function: replaced as a whole, not merged.
                config["model"] = other["model"]
        overrides = dict(overrides or {})
        for name in [name for name, value in overrides.items() if isinstance(value, dict)]:
            _replace_section(config, name, overrides.pop(name))
        return Config().from_str(config.to_str(), overrides=overrides)
    except Exception as error:  # confection raises its own, configparser's and plain ValueErrors
        files = f"{path} with {provider}" if provider else str(path)
        raise UserError(f"{files}: can't be read as a config ({one_line(error)}).") from None


def _replace_section(config: Config, name: str, section: dict[str, Any]) -> None:
    *above, last = name.split(".")
    node = config
    for part in above:
        if not isinstance(node.get(part), dict):
            raise ValueError(f"there is no section {'.'.join(above)} to set {last} in")
        node = node[part]
    if not above and last not in config:
        raise ValueError(f"there is no section {name} to replace")
    before = node.get(last) or {}
    # One scheme: labels are defined in one place, for all tasks.
    labels = {key: before[key] for key in ("labels", "label_definitions") if key in before}
    node[last] = labels | section


def provider_file(name: str) -> Path | None:
    """The file in `configs/providers` of that name; None for no name.

    Raises:
        UserError: there is none; names those that exist.
    """
    if not name:
        return None
    path = PROVIDERS / f"{name}.cfg"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in PROVIDERS.glob("*.cfg")))
        raise UserError(f"{path}: there is no such provider; the folder has {known or 'none'}.")
    return path


def assemble(config: Config, source: Path) -> Language:
    """Assemble the spaCy pipeline of a config. Nothing is loaded or sent before the first prompt.

    Raises:
        UserError: spaCy or spacy-llm refuses a setting.
    """
    for name, component in config.get("components", {}).items():
        if "cache" in component:
            raise UserError(
                f"{source}: [components.{name}.cache] is spacy-llm's, which mixes up texts of equal words; "
                "delete the section, as our models store their answers themselves (model.cache)."
            )
    try:
        nlp = load_model_from_config(config, auto_fill=True)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{source}: {one_line(error, 500)}; correct that setting.") from error
    for _, pipe in nlp.pipeline:
        if isinstance(pipe, LLMWrapper) and not isinstance(pipe.task, Task):
            _keep_calls(pipe.task)
    # Spans, relations and categories share one budget.
    spending = Spending()
    for model in llm_models(nlp):
        model.spending = spending
    return nlp


def _keep_calls(task: Any) -> None:
    """Make a task of spacy-llm's record calls and errors, as it takes a failed call for "no entities"."""
    parse = task.parse_responses

    def parse_responses(shards: Iterable, responses: Iterable[Iterable]) -> Iterator[Doc]:
        replies: list[list] = []

        def noted() -> Iterator[list]:
            for response in responses:
                replies.append(list(response))
                yield replies[-1]

        for number, doc in enumerate(parse(shards, noted())):
            calls = [reply for reply in replies[number] if isinstance(reply, Answer)]
            trace(doc)["calls"] += calls
            trace(doc)["errors"] += [call.fault for call in calls if call.fault]
            yield doc

    task.parse_responses = parse_responses


def llm_models(nlp: Language) -> list[Model]:
    """Our models in the llm components of the pipeline, each once."""
    models_used = [pipe._model for _, pipe in nlp.pipeline if isinstance(pipe, LLMWrapper)]
    return [model for model in dict.fromkeys(models_used) if isinstance(model, Model)]


def annotate(
    nlp: Language, records: Iterable[Record], stretch: int = STRETCH
) -> Iterator[tuple[Record, list]]:
    """Run the pipeline over texts. It doesn't see the annotation of the records.

    A text that would take the tokenizer too long (`tokenizer.stretch_fault`), or that it refuses, gets an
    error instead: the Japanese one reads no more than 49,149 bytes.

    Yields:
        For each text, in order: the record with the annotation, and the `Answer`s, which have the timings.
    """
    waiting: deque[tuple[Record, str | None]] = deque()
    limit = stretch if isinstance(nlp.tokenizer, Tokenizer) else sys.maxsize

    def docs() -> Iterator[Doc]:
        for record in records:
            fault, doc = stretch_fault(record.text, limit), None
            if fault is None:
                try:
                    # As a doc, because spaCy refuses texts longer than max_length. No model sees them whole.
                    doc = nlp.tokenizer(record.text)
                except Exception as error:  # of the tokenizer's own library
                    fault = f"the tokenizer refuses it ({one_line(error, 200)})"
            waiting.append((record, fault))
            if doc is not None:
                yield doc

    name = " + ".join(dict.fromkeys(model.provider.name for model in llm_models(nlp)))
    for doc in streaming.pipe(nlp, docs()):
        while waiting[0][1] is not None:
            yield _set_aside(nlp, *waiting.popleft(), name), []
        yield to_record(doc, waiting.popleft()[0], name), trace(doc)["calls"]
    for record, fault in waiting:
        yield _set_aside(nlp, record, fault, name), []


def _set_aside(nlp: Language, record: Record, fault: str | None, model: str) -> Record:
    """The record of a text that no model was asked about."""
    empty = to_record(nlp.make_doc(""), record, model)
    notes = {**empty.model_extra["llm"], "error": fault}
    return empty.model_copy(update={"text": record.text, "llm": notes})


@contextmanager
def planning(nlp: Language) -> Iterator[list[Stats]]:
    """Let the models look into their store and send nothing.

    Yields:
        For each model what it would do; its own counts are as before afterwards.
    """
    llms = llm_models(nlp)
    before = [(model.stats, model.dry) for model in llms]
    planned = [Stats() for _ in llms]
    for model, stats in zip(llms, planned, strict=True):
        model.stats, model.dry = stats, True
    try:
        yield planned
    finally:
        for model, (stats, dry) in zip(llms, before, strict=True):
            model.stats, model.dry = stats, dry


def refuse_leaks(nlp: Language, held_out: Iterable[Record]) -> None:
    """Make sure that no prompt shows an example from dev or test, whatever the config says.

    Raises:
        UserError: naming the first one that would be shown.
    """
    texts = {record.text for record in held_out}
    for name, pipe in nlp.pipeline:
        task = getattr(pipe, "task", None)
        shown = task.shots.records if isinstance(task, Task) else _own_examples(task)
        if leaks := [getattr(example, "id", example.text) for example in shown if example.text in texts]:
            raise UserError(
                f"[components.{name}] would show {leaks[0]!r} as an example, which is for dev or test; let "
                "its examples take test_percent, dev_percent and near_duplicate from [split]."
            )


def shown(nlp: Language) -> set[str]:
    """Texts that the prompts of some component show: their answers are known."""
    texts: set[str] = set()
    for _, pipe in nlp.pipeline:
        task = getattr(pipe, "task", None)
        texts |= task.shown() if isinstance(task, Task) else {e.text for e in _own_examples(task)}
    return texts


def show_only(nlp: Language, records: Sequence[Record]) -> None:
    """If each text has its own examples, take them from these records only.

    Examples that are the same for all texts stay: they are few, and `shown` returns them.
    """
    texts = {record.text for record in records}
    for _, pipe in nlp.pipeline:
        task = getattr(pipe, "task", None)
        if isinstance(task, Task) and task.shots.select == "similar":
            task.show_only(texts)


def _own_examples(task: object) -> Sequence[Any]:
    """The examples of a task of spacy-llm's own, which every prompt shows."""
    return getattr(task, "_prompt_examples", None) or []


def to_record(doc: Doc, source: Record, model: str = "") -> Record:
    """The model's annotation of a text in the data contract, with details of the calls under `llm`.

    Other keys of the text's line are kept. Latency is left out, so that the same run writes the same bytes.
    """
    notes = trace(doc)
    status = {(span.start, span.end, span.label): span.alignment for span in notes["spans"]}
    calls = notes["calls"]
    llm: dict[str, Any] = {
        "model": model,
        "prompts": [answer.key for answer in calls],
        "prompt_tokens": sum(answer.prompt_tokens for answer in calls),
        "completion_tokens": sum(answer.completion_tokens for answer in calls),
        "dropped": [vars(dropped) for dropped in notes["dropped"]],
    }
    if any(answer.estimated for answer in calls):
        llm["tokens_estimated"] = True
    if notes["errors"]:
        llm["error"] = "; ".join(dict.fromkeys(notes["errors"]))
    spans = [
        {
            "start": ent.start_char,
            "end": ent.end_char,
            "label": ent.label_,
            "alignment": status.get((ent.start_char, ent.end_char, ent.label_)) or _unaided(ent, calls),
        }
        for ent in annotated_spans(doc)
    ]
    relations = [{"head": h, "child": c, "label": label} for h, c, label in notes["relations"]]
    extra = {name: value for name, value in (source.model_extra or {}).items() if name != "llm"}
    return Record(
        text=doc.text,
        spans=spans,
        relations=relations,
        cats=dict(doc.cats),
        meta=source.meta,
        **extra,
        llm=llm,
    )


def _unaided(ent: Span, calls: list[Answer]) -> str:
    """How a task of spacy-llm's own found a span: by searching for the answer, perhaps without case."""
    return "exact" if any(ent.text in call for call in calls) else "normalised"


def count_notes(records: Iterable[Record]) -> dict[str, dict[str, int]]:
    """Counts over records of `annotate`: spans and categories by label, alignments, drops, errors."""
    kinds = ("spans", "categories", "alignment", "dropped", "errors")
    counts: dict[str, dict[str, int]] = {kind: {} for kind in kinds}

    def add(kind: str, name: str) -> None:
        counts[kind][name] = counts[kind].get(name, 0) + 1

    for record in records:
        for span in record.spans:
            add("spans", span.label)
            add("alignment", span.model_extra["alignment"])
        for label in (label for label, value in record.cats.items() if value):
            add("categories", label)
        for dropped in record.model_extra["llm"]["dropped"]:
            add("dropped", dropped["reason"])
        if error := record.model_extra["llm"].get("error"):
            add("errors", error)
    return {kind: dict(sorted(by_name.items())) for kind, by_name in counts.items()}


@contextmanager
def progress(nlp: Language, texts: int, description: str) -> Iterator[None]:
    """A progress bar over the prompts of a run, with the cost so far."""
    prompts = sum(
        len(pipe.task.groups) for _, pipe in nlp.pipeline if isinstance(getattr(pipe, "task", None), Task)
    )
    with tqdm(total=texts * max(1, prompts), desc=description, unit="prompt", smoothing=0.05) as bar:

        def advance(answer: str, stats: Stats) -> None:
            # Long texts take several prompts, which is only known when they are reached.
            bar.total = max(bar.total, bar.n + 1)
            show_cost(bar, stats)
            bar.update()

        with call_on_answers(nlp, advance):
            yield


@contextmanager
def call_on_answers(nlp: Language, callback: Callable[[Answer, Stats], None]) -> Iterator[None]:
    """Let the models of a pipeline call `callback` with each answer."""
    llms = llm_models(nlp)
    for model in llms:
        model.on_answer = callback
    try:
        yield
    finally:
        for model in llms:
            model.on_answer = None


def show_cost(bar: tqdm, stats: Stats) -> None:
    """Show prompts and cost so far after a progress bar, with its next update."""
    bar.set_postfix(asked=stats.misses, kept=stats.hits, cost=f"${stats.cost:.2f}", refresh=False)

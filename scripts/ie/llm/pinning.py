"""Pin the examples of a pipeline's prompts: choose them, and estimate what asking again costs."""

import json
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from spacy.language import Language
from wasabi import msg

from ie.core.errors import UserError
from ie.data.pinned import pinned_record
from ie.data.records import Record, write_records
from ie.llm import pipeline
from ie.llm.tasks import Task
from ie.llm.types import Answer


def pinned_tasks(nlp: Language) -> list[Task]:
    """The tasks of a pipeline whose examples are pinned."""
    tasks = [getattr(pipe, "task", None) for _, pipe in nlp.pipeline]
    return [task for task in tasks if isinstance(task, Task) and task.shots.pinned and task.shots.n]


def require_pinned_tasks(nlp: Language, config: Path) -> list[Task]:
    """The tasks of a pipeline whose examples are pinned.

    Raises:
        UserError: there are none.
    """
    if tasks := pinned_tasks(nlp):
        return tasks
    raise UserError(
        f"{config}: no task has pinned examples; set pinned = ${{paths.examples}} in [prompt.examples], with "
        'an n above 0, and examples = "assets/examples.jsonl" in [paths].'
    )


def choose(nlp: Language, train: Sequence[Record], number: int = 0) -> list[Record]:
    """The examples to pin, out of reviewed training texts, in the order in which prompts show them.

    Args:
        number: examples of a prompt; 0 for as many as the config says.
    """
    prompts = [(task, group) for task in pinned_tasks(nlp) for group in task.groups]
    chosen: dict[str, tuple[Record, list[str]]] = {}
    for task, group in prompts:
        for record in task.choose_examples(train, number, group):
            chosen.setdefault(record.text, (record, []))[1].extend(group)
    fields = {field for _, group in prompts for field in group}
    return [
        pinned_record(record, () if set(shown_for) == fields else shown_for)
        for record, shown_for in chosen.values()
    ]


def pin(nlp: Language, examples: Sequence[Record]) -> None:
    """Let the prompts of a pipeline show these examples."""
    for task in pinned_tasks(nlp):
        task.pin(examples)


def pin_first(
    nlp: Language,
    path: Path,
    train: Sequence[Record],
    texts: Sequence[Record],
    stretch: int,
    *,
    dry_run: bool = False,
) -> None:
    """Pin examples where none are pinned yet, and say so.

    Where texts were answered by prompts without examples, these stay: others would ask about them again.

    Args:
        path: the file, empty or missing.
        train: reviewed training texts.
        texts: what will be asked about.
        dry_run: write nothing.
    """
    if not pinned_tasks(nlp):
        return
    examples = choose(nlp, train)
    if not examples:
        msg.info("No reviewed text in train can be an example yet: the prompts show none.")
    elif any_answered(nlp, texts, stretch):
        msg.info(
            "The texts were asked about without examples, and still are. Examples improve the answers: "
            "`weasel run pin-examples` chooses some, and says first what asking again costs."
        )
    else:
        pin(nlp, examples)
        if not dry_run:
            write_records(path, examples)
            msg.info(
                f"Chose {len(examples):,} reviewed texts as examples, and wrote them to {path}. They stay "
                "as they are until you edit the file or run `weasel run pin-examples`."
            )


def any_answered(nlp: Language, texts: Sequence[Record], stretch: int) -> bool:
    """Whether a prompt about one of the texts has a stored answer."""
    with pipeline.planning(nlp), closing(pipeline.annotate(nlp, texts, stretch)) as annotated:
        return any(answer.error != "dry" for _, answers in annotated for answer in answers)


def answered(nlp: Language, texts: Sequence[Record], stretch: int) -> dict[str, list[Answer]]:
    """The stored answers about each text whose prompts all have one."""
    with pipeline.planning(nlp):
        annotated = pipeline.annotate(nlp, texts, stretch)
        return {
            record.text: answers
            for record, answers in annotated
            if answers and all(answer.error != "dry" for answer in answers)
        }


def pin_and_price(
    nlp: Language,
    examples: Sequence[Record],
    texts: Sequence[Record],
    stretch: int,
    stats: Path,
    timings: Path,
) -> str:
    """Pin other examples, and tell what asking again about the answered texts takes, in a sentence.

    Args:
        stats, timings: what `llm-annotate` wrote in its last run.
    """
    before = answered(nlp, texts, stretch)
    pin(nlp, examples)
    return price(nlp, before, texts, stretch, stats, timings)


def price(
    nlp: Language,
    before: dict[str, list[Answer]],
    texts: Sequence[Record],
    stretch: int,
    stats: Path,
    timings: Path,
) -> str:
    """What asking again about answered texts with the prompts of a pipeline takes, in a sentence.

    Args:
        before: the answers so far (`answered`), by text.
        stats, timings: what `llm-annotate` wrote in its last run.
    """
    after = answered(nlp, [record for record in texts if record.text in before], stretch)
    again = [record for record in texts if record.text in before.keys() - after.keys()]
    if not again:
        return "No answered text is asked about again."
    with pipeline.planning(nlp) as planned:
        deque(pipeline.annotate(nlp, again, stretch), maxlen=0)
    models = pipeline.llm_models(nlp)
    taken = []
    if any(model.prices.input or model.prices.output for model in models):
        # Relations can't be planned before the entities are known: at least as much as for the last answers.
        last = sum(
            models[0].prices.cost(answer.prompt_tokens, answer.completion_tokens)
            for record in again
            for answer in before[record.text]
        )
        taken.append(f"about ${max(last, sum(stats.planned_cost for stats in planned)):.2f}")
    elif not all(model.provider.megabytes for model in models):
        taken.append("dollars unknown (the model has no prices)")
    seconds = seconds_per_text(stats, timings, {model.provider.name for model in models})
    if seconds is None:
        taken.append("minutes unknown (there is no earlier run with this model)")
    else:
        taken.append(f"about {max(1, round(seconds * len(again) / 60)):,} min")
    return f"{len(again):,} of {len(texts):,} texts are asked about again: {', '.join(taken)}."


def seconds_per_text(stats: Path, timings: Path, models: set[str]) -> float | None:
    """Seconds from one text's answers to the next one's in the last run; None if it had other models."""
    try:
        last = json.loads(stats.read_text(encoding="utf-8"))
        first, *rows = [json.loads(line) for line in timings.read_text(encoding="utf-8").splitlines()]
        if set(last["models"]) != models or not rows:
            return None
        return sum(sum(row["seconds"]) for row in rows) / len(rows) / first["parallel"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or written by something else

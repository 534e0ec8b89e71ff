"""Texts chosen for review, and why: likely errors, disagreements, or a random sample of applied texts."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ie.core.errors import UserError
from ie.core.files import read_jsonl
from ie.data.docs import from_doc
from ie.data.records import Record
from ie.data.splits import Split
from ie.evaluation import scoring
from ie.review.rows import SuggestedRow, unsure_rows
from ie.review.suggestion_sources import Suggestion, TextSuggestions, add, load_model


@dataclass(frozen=True)
class SelectedText:
    """A text to review again: the reason, and the answers to choose from, if there are any.

    Attributes:
        origin: added to the `meta` of its record; such a text is reviewed without suggestions.
        applied: whether they are the answers of `apply`. Then blind parts stay blind.
        rows: the suggested rows to ask about first.
    """

    text: str
    why: str
    suggested: TextSuggestions | None = None
    origin: dict[str, Any] | None = None
    applied: bool = False
    rows: Sequence[SuggestedRow] = ()

    def agreed(self) -> list[Suggestion]:
        """Spans that are in all answers."""
        if self.suggested is None:
            return []
        sources = {span.source for span in self.suggested.spans}
        spans = {span.key: span for span in self.suggested.spans}
        backers = {key: {s.source for s in self.suggested.spans if s.key == key} for key in spans}
        return [span for key, span in spans.items() if len(sources) > 1 and backers[key] == sources]


def likely_errors(errors: Path, model: Path, split: Split) -> list[SelectedText]:
    """Texts that may be annotated wrongly: by the diagnosis, then those of dev the pipeline gets wrong.

    Args:
        errors: `label-errors.jsonl` of `diagnose`.
        model: the trained pipeline; without it, dev is left out.

    Raises:
        UserError: no such text is known.
    """
    likely = label_errors(errors, [*split.train, *split.dev, *split.test])
    if model.exists():
        nlp = load_model(model)
        likely += model_errors(split.dev, lambda texts: [from_doc(doc) for doc in nlp.pipe(texts)], "model")
    if not likely:
        raise UserError(
            f"{model.parents[1]}: no likely errors are known; run `weasel run all` or `weasel run diagnose` "
            "first, and then review errors."
        )
    return once(likely)


def label_errors(path: Path, gold: Iterable[Record]) -> list[SelectedText]:
    """Texts whose annotation contradicts that of other texts, as listed by `diagnose`; none without its file.

    Raises:
        UserError: the file isn't what `diagnose` writes.
    """
    if not path.exists():
        return []
    texts = {record.id: record.text for record in gold}

    def chosen(error: dict[str, Any]) -> SelectedText | None:
        current, likelier = error["label"] or "unmarked", error["likelier"] or "no span"
        why = f"diagnosis: {error['string']!r} is {current}; {likelier} is likelier"
        return SelectedText(texts[error["id"]], why) if error["id"] in texts else None

    fault = "not a line of label errors; run `weasel run diagnose` again"
    return list(filter(None, read_jsonl(path, chosen, fault)))


def model_errors(
    gold: Sequence[Record], predict: Callable[[list[str]], list[Record]], source: str
) -> list[SelectedText]:
    """Texts that a model annotates differently, those with most differences first.

    Args:
        gold: reviewed records that the model wasn't trained on.
    """
    differing = []
    for record, answer in zip(gold, predict([record.text for record in gold]), strict=True):
        differences = len(scoring.errors(record, answer))
        if differences:
            suggested = TextSuggestions()
            add(suggested, answer, source)
            spans = "a span" if differences == 1 else f"{differences} spans"
            differing.append(
                (-differences, SelectedText(record.text, f"the pipeline differs in {spans}", suggested))
            )
    return [chosen for _, chosen in sorted(differing, key=lambda pair: pair[0])]


def disagreements(path: Path, records: Iterable[Record]) -> list[SelectedText]:
    """Texts with several answers, to decide between, as `agreement` writes them.

    Each record has `answers`, which maps the name of each side to its `spans`, `relations` and `cats` as in a
    record; and `disagreements`, each with its `kind`, `label` and `pattern`.

    Raises:
        UserError: a record without such answers.
    """
    selected = []
    for record in records:
        extra: dict[str, Any] = record.model_extra or {}
        suggested = TextSuggestions()
        try:
            for name, answer in extra["answers"].items():
                add(suggested, Record.model_validate({**answer, "text": record.text}), str(name))
            reasons = [_reason(difference) for difference in extra.get("disagreements") or ()]
        except (KeyError, TypeError, IndexError, AttributeError, ValidationError):
            raise UserError(
                f"{path}: the record {record.id!r} must have `answers` with the spans of each side, by name; "
                "run `weasel run agreement` again."
            ) from None
        size = len(record.text)
        for span in suggested.spans:
            if not 0 <= span.start < span.end <= size:
                raise UserError(
                    f"{path}: the record {record.id!r} has an answer with a span {span.start}-{span.end} "
                    "outside its text; run `weasel run agreement` again."
                )
        suggested.cats = {}  # no category is preset
        selected.append(
            SelectedText(record.text, "; ".join(dict.fromkeys(reasons)) or "answers differ", suggested)
        )
    return once(selected)


def applied_sample(path: Path) -> list[SelectedText]:
    """The random sample of applied texts that `watch` drew, to be reviewed without suggestions.

    Raises:
        UserError: there is none.
    """

    def chosen(row: dict[str, Any]) -> SelectedText:
        origin = row["meta"]["watch"]
        return SelectedText(str(row["text"]), f"random sample of {origin['file']}", origin=row["meta"])

    fault = "isn't a text that `watch` drew; run `weasel run watch` again"
    return once(read_jsonl(path, chosen, fault, "run `weasel run watch` first"))


def less_sure(path: Path) -> list[SelectedText]:
    """The applied texts that `accept` doesn't let pass unread, the least sure first.

    Raises:
        UserError: there are none.
    """

    def chosen(row: dict[str, Any]) -> SelectedText:
        suggested = TextSuggestions()
        record = Record.model_validate(
            {key: row[key] for key in ("text", "spans", "relations") if key in row}
        )
        size, numbers = len(record.text), range(len(record.spans))
        if not all(0 <= span.start < span.end <= size for span in record.spans):
            raise ValueError("a span is outside the text")
        if not all(r.head in numbers and r.child in numbers for r in record.relations):
            raise ValueError("a relation joins spans that aren't there")
        unsure = row["unsure"] if "relations" in row else []
        if not all(number in range(len(record.relations)) for number in unsure):
            raise ValueError("an unsure row isn't there")
        add(suggested, record, "model")
        rows = unsure_rows(record, unsure)
        return SelectedText(record.text, str(row["why"]), suggested, applied=True, rows=rows)

    fault = "isn't a text that `accept` wrote; run `weasel run accept` again"
    return once(read_jsonl(path, chosen, fault, "run `weasel run apply` and `weasel run accept` first"))


def _reason(difference: dict[str, Any]) -> str:
    return f"{difference['kind']} {difference['label']} ({difference['pattern']})"


def once(chosen: Iterable[SelectedText]) -> list[SelectedText]:
    """Each text once, by its first reason."""
    return list({item.text: item for item in reversed(list(chosen))}.values())[::-1]

"""Which answers of a pipeline can go unread: a threshold from dev, checked on test, applied to results.

An answer is an entity, or, if the pipeline is sure of these, a row: a relation with the links and amounts of
its ends.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappush, heappushpop
from pathlib import Path
from typing import Any, Literal

import numpy as np
import srsly
from spacy.language import Language
from wasabi import msg

from ie.core.errors import UserError
from ie.core.stats import Estimate, decimals
from ie.core.text import one_line
from ie.data.docs import gold_value, pipeline_record, to_doc
from ie.data.records import Record, Span
from ie.deploy.watch.applied import AppliedText
from ie.evaluation import confidence, database_rows
from ie.evaluation.confidence import Answer, Answers, Threshold
from ie.training.confidence_training import right_spans

Unit = Literal["rows", "entities"]
# Texts that are kept for review: nobody reads more, and results of any size fit into memory.
MOST_UNSURE = 10_000
# Precisions that are tried where a promise can't be made.
LOWER_TARGETS = tuple(round(0.01 * percent, 2) for percent in range(99, 49, -1))


@dataclass(frozen=True)
class HeldOut:
    """The pipeline's answers on texts that it didn't learn from, as its training wrote them."""

    unit: Unit
    answers: Answers


@dataclass(frozen=True)
class Check:
    """What a threshold accepts on test.

    Attributes:
        answers: of the pipeline, with or without a confidence. precision: None if it accepts nothing.
    """

    texts: int
    answers: int
    accepted: int
    precision: Estimate | None

    @property
    def share(self) -> float:
        """The share of the answers that go unread."""
        return self.accepted / max(self.answers, 1)


@dataclass
class Applied:
    """The results of `apply` at a threshold.

    Attributes:
        unsure: number of texts with a less sure answer. least_sure: at most `MOST_UNSURE` of them, each with
            its lowest confidence; None counts as 0.
        whole: texts with answers, all of which are accepted.
    """

    answers: int = 0
    accepted: int = 0
    whole: int = 0
    unsure: int = 0
    least_sure: list[tuple[float, AppliedText]] = field(default_factory=list)


def read_held_out(path: Path) -> HeldOut:
    """The rows, if they are calibrated, else the entities.

    Raises:
        UserError: there are none, or none has a confidence.
    """
    try:
        content = srsly.read_json(path)
        entities = [Answer(**answer) for answer in content["dev"]]
        reasons = dict(content["not_calibrated"])
        of_rows = content.get("rows", {"answers": [], "not_calibrated": {}})
        rows = Answers.of([Answer(**answer) for answer in of_rows["answers"]])
        row_reasons = dict(of_rows["not_calibrated"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: there are no answers on dev; run `weasel run train` first.") from None
    if len(rows):
        return HeldOut("rows", rows)
    if row_reasons:
        reason = next(iter(row_reasons.values()))
        msg.warn(f"Rows have no calibrated confidence ({reason}), so entities are counted.")
    if not len(known := Answers.of(entities)):
        reason = next(iter(reasons.values()), "the pipeline finds nothing on dev")
        raise UserError(f"{path}: no answer has a calibrated confidence: {reason}.")
    return HeldOut("entities", known)


def promise(held_out: HeldOut, target: float) -> Threshold:
    """The threshold that keeps a promised precision.

    Raises:
        UserError: the answers can't tell.
    """
    answers = held_out.answers
    if threshold := confidence.threshold(answers, target):
        return threshold
    least = confidence.needed(target)
    if len(answers) < least:
        why = (
            f"there are {len(answers):,} {held_out.unit} with a confidence, and {least:,} that are all right "
            "are the least"
        )
    else:
        why = f"too many of the most confident {held_out.unit} are wrong"
    highest = next((t for t in LOWER_TARGETS if t < target and confidence.threshold(answers, t)), None)
    most = f"; the most that can be promised is --target {highest:g}" if highest else ""
    raise UserError(f"--target {target:g} can't be promised: {why}; review more dev texts{most}.")


def check(nlp: Language, gold: Sequence[Record], threshold: Threshold, unit: Unit) -> Check:
    """Count what is accepted on gold texts that chose nothing, and how much of it is right."""
    answers: list[Answer] = []
    values = database_rows.values_of(nlp, gold)
    for number, (record, doc) in enumerate(zip(gold, nlp.pipe(r.text for r in gold), strict=True)):
        found = pipeline_record(doc)
        if unit == "rows":
            right = database_rows.right_rows(found, record, values)
        else:
            right = right_spans(to_doc(record, nlp), doc.ents)
        answers += [
            Answer(number, answer.label, sure, is_right)
            for answer, sure, is_right in zip(
                parts(found, unit), confidences(found, unit), right, strict=True
            )
        ]
    known = Answers.of(answers)
    accepted = known[known.confidence >= threshold.confidence]
    precision = confidence.estimate(accepted, lambda a: float(np.mean(a.right))) if len(accepted) else None
    return Check(len(gold), len(answers), len(accepted), precision)


def parts(record: Record, unit: Unit) -> Sequence[Any]:
    """The relations or the spans of a record."""
    return record.relations if unit == "rows" else record.spans


def confidences(record: Record, unit: Unit) -> list[float | None]:
    """The confidence of each row, or of each entity."""
    name = "row_confidence" if unit == "rows" else "confidence"
    return [getattr(part, name, None) for part in parts(record, unit)]


def divide(texts: Iterable[AppliedText], threshold: Threshold, unit: Unit) -> Applied:
    """Count the accepted answers in the results of `apply`; the other texts, the least sure first."""
    result = Applied()
    # A heap whose first is the surest; the number breaks ties in favour of the first texts.
    heap: list[tuple[float, int, AppliedText]] = []
    for number, applied in enumerate(texts):
        sure = [p or 0.0 for p in confidences(applied.record, unit)]
        result.answers += len(sure)
        result.accepted += sum(p >= threshold.confidence for p in sure)
        if sure and min(sure) >= threshold.confidence:
            result.whole += 1
        elif sure:
            result.unsure += 1
            push = heappush if len(heap) < MOST_UNSURE else heappushpop
            push(heap, (-min(sure), -number, applied))
    ordered = sorted(heap, key=lambda one: (-one[0], -one[1]))
    result.least_sure = [(-negative, applied) for negative, _, applied in ordered]
    return result


def linked_names(nlp: Language, unsure: Iterable[tuple[float, AppliedText]]) -> dict[str, str]:
    """The names of the entries that spans of some texts link to, by id."""
    table = nlp.get_pipe("linker").table if nlp.has_pipe("linker") else None
    ids = {getattr(span, "kb_id", None) for _, applied in unsure for span in applied.record.spans}
    return {id_: table.names_of(n)[0] for n in range(len(table or ())) if (id_ := table.id(n)) in ids}


def to_review(
    unsure: Iterable[tuple[float, AppliedText]], threshold: Threshold, unit: Unit, names: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """The texts that `review` asks about with `vars.review_select` "unsure", in this order.

    `unsure` of a text lists the relations whose rows are to be checked, the least sure first.

    Args:
        names: of the entries that spans link to, by id.
    """
    for _, applied in unsure:
        record = applied.record
        sure = [p or 0.0 for p in confidences(record, unit)]
        below = [i for i in sorted(range(len(sure)), key=sure.__getitem__) if sure[i] < threshold.confidence]
        why = f"{len(below)} of {len(sure)} {unit} are less sure than {decimals(threshold.confidence, 2)}"
        row: dict[str, Any] = {
            "text": record.text,
            "spans": [_as_gold(span, names) for span in record.spans],
            "why": why,
            "meta": {"accept": {"file": applied.file, "row": applied.row}},
        }
        if unit == "rows":
            row["relations"] = [relation.model_dump(exclude_unset=True) for relation in record.relations]
            row["unsure"] = below
            row["why"] += f"; the least sure: {row_in_words(record, below[0])}"
        yield row


def _as_gold(span: Span, names: Mapping[str, str]) -> dict[str, Any]:
    """A span with the name of its entry and the value of its amount, as in gold."""
    values = span.model_dump(exclude_unset=True)
    if name := names.get(values.get("kb_id", "")):
        values["name"] = name
    if value := gold_value(values["money"]) if values.get("money") else "":
        values["value"] = value
    return values


def row_in_words(record: Record, number: int) -> str:
    """A relation with the confidence of its row."""
    relation, p = record.relations[number], confidences(record, "rows")[number]
    ends = (record.spans[i] for i in (relation.head, relation.child))
    head, child = (one_line(record.text[span.start : span.end]) for span in ends)
    shown = "no confidence" if p is None else decimals(p, 2)
    return f"{head} {relation.label} {child} ({shown})"

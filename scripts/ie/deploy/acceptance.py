"""Which answers of a pipeline can go unread: a threshold from dev, checked on test, applied to results."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import srsly
from spacy.language import Language

from ie.core.errors import UserError
from ie.core.stats import Estimate
from ie.data.docs import pipeline_record
from ie.data.records import Record
from ie.deploy.watch.applied import AppliedText
from ie.evaluation import confidence
from ie.evaluation.confidence import Answer, Answers, Threshold


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
        unsure: texts with a less sure answer, each with the lowest confidence; None counts as 0.
        whole: texts with answers, all of which are accepted.
    """

    answers: int = 0
    accepted: int = 0
    whole: int = 0
    unsure: list[tuple[float, AppliedText]] = field(default_factory=list)


def read_dev(path: Path) -> list[Answer]:
    """The pipeline's answers on dev, as its training wrote them.

    Raises:
        UserError: there are none, or none has a confidence.
    """
    try:
        content = srsly.read_json(path)
        answers = [Answer(**answer) for answer in content["dev"]]
        reasons = dict(content["not_calibrated"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path}: there are no answers on dev; run `weasel run train` first.") from None
    if not any(answer.confidence is not None for answer in answers):
        reason = next(iter(reasons.values()), "the pipeline finds nothing on dev")
        raise UserError(f"{path}: no answer has a calibrated confidence: {reason}.")
    return answers


def promise(dev: Answers, target: float) -> Threshold:
    """The threshold that keeps a promised precision.

    Raises:
        UserError: dev can't tell.
    """
    if threshold := confidence.threshold(dev, target):
        return threshold
    least = confidence.needed(target)
    if len(dev) < least:
        why = (
            f"dev has {len(dev):,} answers with a confidence, and {least:,} that are all right are the least"
        )
    else:
        why = "too many of the most confident answers on dev are wrong"
    raise UserError(f"--target {target:g} can't be promised: {why}; review more dev texts, or promise less.")


def check(nlp: Language, gold: Sequence[Record], threshold: Threshold) -> Check:
    """Count what is accepted on gold texts that chose nothing, and how much of it is right."""
    answers, found = [], 0
    for number, (record, doc) in enumerate(zip(gold, nlp.pipe(r.text for r in gold), strict=True)):
        known = {(span.start, span.end, span.label) for span in record.spans}
        for span in pipeline_record(doc).spans:
            found += 1
            sure = getattr(span, "confidence", None)
            answers.append(Answer(number, span.label, sure, (span.start, span.end, span.label) in known))
    known_answers = Answers.of(answers)
    accepted = known_answers[known_answers.confidence >= threshold.confidence]
    precision = confidence.estimate(accepted, lambda a: float(np.mean(a.right))) if len(accepted) else None
    return Check(len(gold), found, len(accepted), precision)


def divide(texts: Iterable[AppliedText], threshold: Threshold) -> Applied:
    """Count the accepted answers in the results of `apply`; the other texts, the least sure first."""
    result = Applied()
    for applied in texts:
        sure = [getattr(span, "confidence", None) or 0.0 for span in applied.record.spans]
        result.answers += len(sure)
        result.accepted += sum(p >= threshold.confidence for p in sure)
        if sure and min(sure) >= threshold.confidence:
            result.whole += 1
        elif sure:
            result.unsure.append((min(sure), applied))
    result.unsure.sort(key=lambda pair: (pair[0], pair[1].file, pair[1].row))
    return result


def to_review(unsure: Iterable[tuple[float, AppliedText]], threshold: Threshold) -> Iterator[dict[str, Any]]:
    """The texts that `review` asks about with `vars.review_select` "unsure", in this order."""
    for _, applied in unsure:
        spans = [span.model_dump(exclude_unset=True) for span in applied.record.spans]
        below = sum((span.get("confidence") or 0.0) < threshold.confidence for span in spans)
        why = f"{below} of {len(spans)} answers are less sure than {threshold.confidence:.2f}"
        origin = {"file": applied.file, "row": applied.row}
        yield {"text": applied.record.text, "spans": spans, "why": why, "meta": {"accept": origin}}

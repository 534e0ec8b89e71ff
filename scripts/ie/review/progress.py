"""Progress of the review: not a share of all texts, but what is missing for the next decision."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from ie.core import stats
from ie.core.text import counted
from ie.data.records import Record
from ie.data.splits import SIDES
from ie.review import first_model
from ie.review.settings import BeginSection

ORDINALS = ("", "first", "second", "third", "fourth", "fifth", "sixth")


def progress(
    counts: Mapping[str, int],
    closest: Mapping[str, Any] | None = None,
    *,
    begin: BeginSection | None = None,
    left: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Counts by part of the split, and the aims with how much of each is reached.

    Args:
        counts: reviewed and accepted texts of train, dev and test.
        closest: of the evaluation: the two systems whose difference is least certain.
        begin: texts of each part for a first model; None if there is a model.
        left: unreviewed texts of each part; no aim asks for more. None if that isn't known.
    """
    aims = _first_model(begin, counts, left) if begin else []
    aims.append(_digit("test", counts.get("test", 0), left))
    more = (closest or {}).get("more")
    if more and (left is None or more <= left["test"]):
        n = counts.get("test", 0)
        aims.append(
            {
                "sentence": f"About {counted(more, 'more test example')} would tell {closest['first']} from "
                f"{closest['second']}, if they differ as they do now.",
                "have": n,
                "goal": n + more,
            }
        )
    aims.append(_digit("dev", counts.get("dev", 0), left))
    return {"counts": dict(counts), "aims": aims}


def _first_model(
    begin: BeginSection, counts: Mapping[str, int], left: Mapping[str, int] | None
) -> list[dict[str, Any]]:
    goal = sum(begin.model_dump().values())
    missing = first_model.missing(begin, {part: counts.get(part, 0) for part in SIDES})
    if not goal:
        return []
    if not missing:
        sentence = "There are enough texts for a first model: run `weasel run all`."
    else:
        sentence = f"A first model needs {first_model.listing(missing)} more."
        if none := [part for part in missing if left is not None and not left[part]]:
            sentence += f" No unreviewed text is in {' or '.join(none)}: `weasel run check` says what to do."
    return [{"sentence": sentence, "have": max(0, goal - sum(missing.values())), "goal": goal}]


def _digit(part: str, n: int, left: Mapping[str, int] | None) -> dict[str, Any]:
    digits = stats.resolved_digits(n)
    goal = stats.documents_for(digits + 1)
    more = goal - n
    if left is not None and left[part] < more:
        return _rest(part, n, left[part])
    half = stats.expected_half_width(goal)
    examples = "example makes" if more == 1 else "examples make"
    ordinal = ORDINALS[digits + 1] if digits + 1 < len(ORDINALS) else f"{digits + 1}th"
    return {
        "sentence": f"{more:,} more {part} {examples} the {ordinal} digit hold "
        f"(about ±{stats.half_width(half, 3)} at .95).",
        "have": n,
        "goal": goal,
    }


def _rest(part: str, n: int, left: int) -> dict[str, Any]:
    """The aim where there are too few texts for another digit."""
    if not left:
        sentence = f"No unreviewed {part} text is left; for better scores, add texts to assets/texts.jsonl."
        return {"sentence": sentence, "have": n, "goal": max(1, n)}
    half = stats.half_width(stats.expected_half_width(n + left), 3)
    sentence = f"{counted(left, f'unreviewed {part} text')} left: with all of them about ±{half} at .95."
    return {"sentence": sentence, "have": n, "goal": n + left}


def read_closest(path: Path) -> dict[str, Any] | None:
    """The closest pair of the last evaluation, None where there is none."""
    try:
        closest = json.loads(path.read_text(encoding="utf-8")).get("closest")
    except (OSError, ValueError, AttributeError):
        return None
    return closest if isinstance(closest, dict) and {"first", "second", "more"} <= set(closest) else None


@dataclass
class ReviewSession:
    """What an annotator did since the server started: answers, texts they finished, seconds they took."""

    answers: int = 0
    texts: int = 0
    seconds: float = 0.0

    def add(self, seconds: float, *, finished: bool) -> None:
        """Count an answer."""
        self.answers += 1
        self.texts += finished
        self.seconds += seconds


def label_counts(record: Record) -> Counter[str]:
    """How often an accepted record has each label: spans, relations and categories."""
    if record.answer != "accept":
        return Counter()
    return Counter([item.label for item in (*record.spans, *record.relations)] + record.categories)


def skip_cost(checked: int, corrected: int, skipped: int | None) -> str:
    """What it costs to skip texts on which all sources agree: how many of those shown were corrected.

    Args:
        skipped: how many were left out; None if none are.
    """
    if not checked:
        return "" if not skipped else f"{skipped:,} texts on which all sources agree were skipped."
    interval = binomtest(corrected, checked).proportion_ci(method="wilson")
    share = f"{corrected / checked:.0%}, 95 % interval {interval.low:.0%} to {interval.high:.0%}"
    texts = counted(checked, "text")
    sentence = f"All sources agreed on {texts} of train; you corrected {corrected:,} of them ({share})."
    return sentence if skipped is None else f"{sentence} {skipped:,} more were skipped."

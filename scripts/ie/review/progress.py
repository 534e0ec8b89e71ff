"""How far reviewing has come: not a share of all texts, but what is missing for the next decision."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ie.core import stats
from ie.data.records import Record

ORDINALS = ("", "first", "second", "third", "fourth", "fifth", "sixth")


def progress(counts: dict[str, int], closest: dict[str, Any] | None = None) -> dict[str, Any]:
    """Counts by side, and the aims with how much of each is reached.

    Args:
        counts: reviewed and accepted texts of train, dev and test.
        closest: of the evaluation: the two systems that are hardest to tell apart.
    """
    aims = [_digit("test", counts.get("test", 0))]
    more = (closest or {}).get("more")
    if more:
        n = counts.get("test", 0)
        aims.append(
            {
                "sentence": f"About {more:,} more test example{'' if more == 1 else 's'} would tell "
                f"{closest['first']} from "
                f"{closest['second']}, if they differ as they do now.",
                "have": n,
                "goal": n + more,
            }
        )
    aims.append(_digit("dev", counts.get("dev", 0)))
    return {"counts": counts, "aims": aims}


def _digit(side: str, n: int) -> dict[str, Any]:
    digits = stats.resolved_digits(n)
    goal = stats.documents_for(digits + 1)
    more = goal - n
    half = stats.expected_half_width(goal)
    examples = "example makes" if more == 1 else "examples make"
    ordinal = ORDINALS[digits + 1] if digits + 1 < len(ORDINALS) else f"{digits + 1}th"
    return {
        "sentence": f"{more:,} more {side} {examples} the {ordinal} digit hold "
        f"(about ±{stats.half_width(half, 3)} at .95).",
        "have": n,
        "goal": goal,
    }


def read_closest(path: Path) -> dict[str, Any] | None:
    """The closest pair of the last evaluation, None where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("closest")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, dict) and {"first", "second", "more"} <= set(found) else None


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

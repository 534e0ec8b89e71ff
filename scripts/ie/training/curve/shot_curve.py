"""F of in-context learning by the number of examples in the prompt, to set beside the learning curve.

`tune-prompt --shots` measures and writes it; `train-curve` reads and draws it. There are two ways to choose
examples. "fixed" shows the same ones for every text, so n of them have to be annotated. "similar" shows each
text its n nearest neighbours among all training texts, so all of these have to be.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ie.core import stats
from ie.core.stats import Estimate
from ie.core.text import counted, text_hash
from ie.data.records import Record

Select = Literal["fixed", "similar"]
SELECTS: tuple[Select, ...] = ("fixed", "similar")


@dataclass(frozen=True)
class ShotScore:
    """F of the prompts that show `shots` examples each."""

    select: Select
    shots: int
    f: Estimate


@dataclass(frozen=True)
class ShotCurve:
    """Scores by number of examples on the same dev texts.

    Attributes:
        scores: by number of examples; without any, both ways of choosing are one.
        texts: hashes of the dev texts.
        pool: number of training texts that examples are chosen from.
        model: name of the language model.
    """

    scores: list[ShotScore]
    texts: list[str]
    pool: int
    model: str

    def series(self, select: Select) -> list[ShotScore]:
        """The scores of one way of choosing, from no example up."""
        return sorted((s for s in self.scores if s.select == select or not s.shots), key=lambda s: s.shots)

    def to_json(self) -> dict[str, Any]:
        """See `read_shots`."""
        scores = [{"select": s.select, "shots": s.shots, **s.f.flat("f")} for s in self.scores]
        return {"model": self.model, "pool": self.pool, "scores": scores, "texts": self.texts}

    def sentence(self) -> str:
        """The highest F, and the number of examples that reaches it."""
        best = max(self.scores, key=lambda s: (s.f.value, -s.shots))
        f = stats.format_score(best.f, documents=len(self.texts))
        way = f" ({best.select})" if best.shots else ""
        return (
            f"LLM by number of examples in the prompt, on {counted(len(self.texts), 'dev text')}: F is "
            f"highest with {best.shots}{way}, {f}. As it is the highest of {len(self.scores)} on the same "
            "texts, it is optimistic."
        )


def read_shots(path: Path, dev: Sequence[Record]) -> tuple[ShotCurve | None, str]:
    """What `tune-prompt --shots` wrote, or None, and a sentence if it can't be used.

    Args:
        dev: the present dev texts; a curve on others can't be compared.
    """
    if not path.exists():
        return None, ""
    again = "run `python scripts/tune-prompt.py --shots 0,2,4,8,16,32` again"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        scores = [
            ShotScore(row["select"], int(row["shots"]), Estimate(row["f"], row["f_low"], row["f_high"]))
            for row in content["scores"]
            if row["f"] is not None
        ]
        curve = ShotCurve(scores, content["texts"], content["pool"], content["model"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, f"{path}: isn't what `tune-prompt` wrote; {again}."
    if not scores or not set(curve.texts) <= {text_hash(record.text) for record in dev}:
        return None, f"{path}: dev has changed since it was measured, so it isn't shown; {again}."
    return curve, ""

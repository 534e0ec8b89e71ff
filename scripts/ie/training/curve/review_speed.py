"""How long a person takes for an example, from the log that reviewing leaves."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from ie.core.errors import UserError

# Longer than this at one answer, and the reviewer was at coffee.
PAUSE = 300.0


@dataclass(frozen=True)
class ReviewSpeed:
    """Seconds for one example (mean, since hours are a sum), and on how many that rests."""

    seconds: float
    examples: int


def read_speed(path: Path) -> ReviewSpeed | None:
    """The speed in a log; None if there is no file, or no answer in it.

    Either JSONL, one answer a line with its `seconds`, the `id` of its text and the `annotator` (an example
    asked about label by label takes the sum of a person's answers; those above 5 minutes are pauses and left
    out), or one JSON object with `seconds_per_example` and `examples`.

    Raises:
        UserError: the file is neither.
    """
    try:
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except FileNotFoundError:
        return None
    try:
        if path.suffix == ".json":
            whole = json.loads("\n".join(lines))
            speed = ReviewSpeed(float(whole["seconds_per_example"]), int(whole["examples"]))
            return speed if speed.examples > 0 and speed.seconds > 0 else None
        seconds: dict[tuple[str, str], float] = {}
        for number, line in enumerate(lines):
            answer = json.loads(line)
            taken = float(answer["seconds"])
            if 0 < taken <= PAUSE:
                key = str(answer.get("id", number)), str(answer.get("annotator"))
                seconds[key] = seconds.get(key, 0.0) + taken
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: is no log of reviewing ({type(error).__name__}: {error}); each line must be like "
            '{"id": "a1", "seconds": 12.5}; correct it or delete the file.'
        ) from None
    return ReviewSpeed(mean(seconds.values()), len(seconds)) if seconds else None


def reviewing(logs: Sequence[Path], assumed: float) -> tuple[float, str]:
    """Seconds an example takes by the first log with an answer, and in words where that number is from."""
    for log in logs:
        if speed := read_speed(log):
            return speed.seconds, (
                f"your reviewing speed ({speed.seconds:.0f} s an example, mean of n={speed.examples:,})"
            )
    return assumed, f"{assumed:g} s an example (assumed, as there is no log of reviewing)"

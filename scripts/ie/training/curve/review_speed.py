"""How long a person takes to review an example, from the log that reviewing leaves."""

from pathlib import Path
from statistics import mean

from ie.core.files import read_jsonl

# A longer time for one answer was a pause, and is left out.
PAUSE = 300.0
# Seconds per example without a log.
ASSUMED = 30.0


def seconds_per_example(log: Path) -> tuple[float, str]:
    """Mean seconds for an example, and in words where the number is from.

    An example that is reviewed label by label takes the sum of a person's answers.

    Args:
        log: JSONL with one answer per line: its `seconds`, the `id` of its text and the `annotator`. It may
            be missing or empty.

    Raises:
        UserError: the file is something else.
    """
    fault = 'isn\'t an answer; each line must be like {"id": "a1", "seconds": 12.5}; correct it'
    answers = (
        read_jsonl(log, lambda answer: (float(answer["seconds"]), answer), fault) if log.exists() else []
    )
    totals: dict[tuple[str, str], float] = {}
    for number, (seconds, answer) in enumerate(answers):
        if 0 < seconds <= PAUSE:
            key = str(answer.get("id", number)), str(answer.get("annotator"))
            totals[key] = totals.get(key, 0.0) + seconds
    if not totals:
        return ASSUMED, f"{ASSUMED:g} s an example (assumed, as there is no log of reviewing)"
    seconds = mean(totals.values())
    return seconds, f"your reviewing speed ({seconds:.0f} s an example, mean of n={len(totals):,})"

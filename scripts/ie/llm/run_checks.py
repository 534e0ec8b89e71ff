"""Whether a run of `llm-annotate` succeeded, and may replace earlier results."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from wasabi import msg

from ie.core.errors import UserError
from ie.data.records import Record


def read_errors(path: Path) -> dict[str, str | None]:
    """The texts of an earlier run's results, each with its error or None; empty if there are none."""
    errors: dict[str, str | None] = {}
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                errors[row["text"]] = row.get("llm", {}).get("error")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # Not there, or no results that could be lost
        return {}
    return errors


def refuse_worse(path: Path, before: dict[str, str | None], records: Sequence[Record]) -> None:
    """Keep results that are better than new ones.

    Raises:
        UserError: of the texts in both, fewer have a usable answer now.
    """
    both = [record for record in records if record.text in before]
    now = sum(not record.llm_error for record in both)
    then = sum(not before[record.text] for record in both)
    if now < then:
        raise UserError(
            f"{path}: stays as it is, as {then:,} of {len(both):,} texts have a usable answer in it, and "
            f"{now:,} would have one after this run ({_listed(both)}); run it again, or move the file away "
            "to take these results. All answers are stored."
        )


def refuse_failures(
    path: Path, before: dict[str, str | None], records: Sequence[Record], failed: Sequence[Record]
) -> None:
    """Let a run fail if the endpoint failed, or if few of its answers can be used.

    Args:
        failed: texts for which the endpoint gave no answer. Texts that got an empty or a malformed one in
            the run before as well are left out with a warning, so that they can't hold everything up.

    Raises:
        UserError: some texts should be asked about again, or fewer than half have a usable answer.
    """
    left = [
        record
        for record in failed
        if (kind := _kind(record.llm_error)) == "unavailable" or kind != _kind(before.get(record.text))
    ]
    if left:
        raise UserError(
            f"{len(left):,} of {len(records):,} texts got no answer ({_listed(left)}); {path} has the others."
            " Run the same command again: it asks only for the missing answers."
        )
    usable = sum(not record.llm_error for record in records)
    if 2 * usable < len(records):
        raise UserError(
            f"Only {usable:,} of {len(records):,} texts got a usable answer ({_listed(records)}); {path} has "
            "them. Choose another model, or another form or a larger max_tokens in [prompt]."
        )
    if failed:
        msg.warn(
            f"{len(failed):,} texts got no answer in this run and the one before ({_listed(failed)}): "
            "they are left out."
        )


def _kind(error: str | None) -> str:
    return (error or "").split(":")[0]


def _listed(records: Sequence[Record]) -> str:
    errors = Counter(error for record in records if (error := record.llm_error))
    shown = [f"{n:,} {error}" for error, n in errors.most_common(3)]
    return ", ".join(shown) + (", ..." if len(errors) > 3 else "")

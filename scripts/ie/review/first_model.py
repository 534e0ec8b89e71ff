"""What a first model needs: some reviewed texts of each part of the split."""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

from ie.core.text import joined
from ie.data.records import Record, accepted
from ie.data.splits import SIDES, Split, part_of
from ie.review.settings import BeginSection


def missing(begin: BeginSection, counts: Mapping[str, int]) -> dict[str, int]:
    """How many more texts each part in `counts` needs; parts with enough texts are left out."""
    aims = begin.model_dump()
    # Each part needs at least one text, whatever the settings are.
    return {part: max(1, aims[part]) - n for part, n in counts.items() if n < max(1, aims[part])}


def listing(counts: Mapping[str, int]) -> str:
    """`3 train, 1 dev and 2 test texts`."""
    noun = "text" if list(counts.values()) == [1] else "texts"
    return f"{joined(f'{n:,} {part}' for part, n in counts.items())} {noun}"


def count_left(split: Split, shares: Mapping[str, float]) -> dict[str, int]:
    """How many unreviewed texts each part would get, if each of them were reviewed next."""
    counts = Counter(part_of(record.text, shares) for record in split.raw)
    counts.update(
        item.reason.removeprefix("near ") for item in split.set_aside if item.reason.startswith("near ")
    )
    return {part: counts[part] for part in SIDES}


def need(
    missing: Mapping[str, int],
    left: Mapping[str, int],
    shares: Mapping[str, float],
    *,
    texts: Path,
    data: Path,
) -> str:
    """What is missing, and how to get it.

    Args:
        missing: texts that each part lacks. left: unreviewed texts of each part.
        shares: percent of the texts for each part. texts, data: files to name.
    """
    sentences = [f"A first model needs {listing(missing)} more"]
    short = {part: n - left[part] for part, n in missing.items() if n > left[part]}
    if any(left[part] for part in missing):
        sentences[0] += ": `weasel run review` asks for them first"
    if short:
        add = max(ceil(n / shares[part] * 100) for part, n in short.items())
        total = sum(left[part] for part in short)
        there = " and ".join(f"{left[part] or 'no'} {part}" for part in short)
        percents = ", ".join(f"{part} is {shares[part]:g} %" for part in short)
        raised = " and ".join(f"{part}_percent" for part in short if part != "train")
        if "train" not in short:
            remedy = f", or raise {raised} in {data}"
        else:
            remedy = "" if raised else f", or lower test_percent in {data}"
        sentences.append(
            f"{texts} has {there} {'text' if total == 1 else 'texts'} left: add about {add:,} texts "
            f"({percents} of all){remedy}"
        )
    return ". ".join(sentences) + "."


def fault(reviewed: Sequence[Record], counts: Mapping[str, int]) -> str:
    """Why there can't be a model yet, as a sentence without its end; "" if each part has a text."""
    if not reviewed:
        return "nothing is reviewed yet"
    if not accepted(reviewed):
        return f"none of the {len(reviewed):,} reviewed texts was accepted"
    empty = [part for part, n in counts.items() if not n]
    return f"no reviewed text is in {' or '.join(empty)}" if empty else ""

"""Reviewed texts by use: those the search for prompts sees, those that measure its result, and examples."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from ie.core.errors import UserError
from ie.core.text import counted
from ie.data.config import DataConfig
from ie.data.records import Record
from ie.data.splits import Split, near_earlier, normalise

# Fewer texts in a half say nothing about a prompt.
FEWEST = 20


@dataclass(frozen=True)
class TuningTexts:
    """Reviewed texts by use; near-duplicates are used alike, and no test text is among them.

    Attributes:
        search: what candidates are chosen by, in an order in which every beginning is a fair sample.
        held_out: what the current prompt and the best one are measured on.
        examples: training texts that prompts may show.
        from_train: how many texts of the first two are training texts.
    """

    search: list[Record]
    held_out: list[Record]
    examples: list[Record]
    from_train: int


def divide(split: Split, shown: Collection[str], config: DataConfig, texts: int, path: Path) -> TuningTexts:
    """Divide dev into halves by a hash of each text, and add training texts where dev is small.

    Args:
        shown: texts of the examples that the current prompt shows.
        texts: at most in each half.
        path: of the reviewed texts, for the message.

    Raises:
        UserError: there are too few texts.
    """
    records = [*split.dev, *split.train]
    groups = _groups(records, config.split.near_duplicate)
    hashes = [_hash(group) for group in groups]
    first_train = len(split.dev)
    taken = {groups[i] for i, record in enumerate(records) if record.text in shown}
    order = sorted(range(len(records)), key=lambda i: (i >= first_train, hashes[i], i))
    halves: tuple[list[int], list[int]] = ([], [])
    # At least half of the training texts stay for examples.
    spare = (len(split.train)) // 2
    for i in order:
        half = halves[hashes[i][0] % 2]
        if len(half) >= texts or groups[i] in taken or (i >= first_train and spare <= 0):
            continue
        half.append(i)
        spare -= i >= first_train
    scored = {groups[i] for half in halves for i in half}
    if min(map(len, halves)) < FEWEST:
        present = sum(map(len, halves))
        # Of each new text, the dev share and half of the training share can be scored.
        share = (config.split.dev_percent / 100) + config.split.train_share / 2
        missing = ceil(2 * max(1, FEWEST - min(map(len, halves))) / share)
        raise UserError(
            f"{path}: only {present} reviewed texts can score a prompt, and the search needs two halves of "
            f"{FEWEST}; review about {missing} more."
        )
    search, held_out = (_mixed([records[i] for i in half]) for half in halves)
    examples = [r for i, r in enumerate(records) if i >= first_train and groups[i] not in scored]
    return TuningTexts(search, held_out, examples, sum(i >= first_train for half in halves for i in half))


def dev_sample(split: Split, texts: int, path: Path) -> TuningTexts:
    """Up to that many dev texts to search with, nothing held out, and all training texts as examples.

    Raises:
        UserError: there are too few dev texts.
    """
    if len(split.dev) < FEWEST:
        raise UserError(
            f"{path}: dev has {counted(len(split.dev), 'reviewed text')}, and a score needs {FEWEST}; review "
            "more texts, or raise dev_percent in configs/data.cfg."
        )
    chosen = sorted(split.dev, key=lambda record: _hash(record.text))[:texts]
    return TuningTexts(_mixed(chosen), [], split.train, 0)


def _groups(records: Sequence[Record], near_duplicate: float) -> list[str]:
    """For each text the first text of its group of near-duplicates."""
    words = [normalise(record.text) for record in records]
    first = list(range(len(records)))

    def root(i: int) -> int:
        while first[i] != i:
            i = first[i]
        return i

    for i, near in enumerate(near_earlier(words, near_duplicate)):
        for j, _ in near:
            a, b = sorted((root(i), root(j)))
            first[b] = a
    return [" ".join(words[root(i)]) for i in range(len(records))]


def _hash(text: str) -> bytes:
    return hashlib.sha256(f"tune-prompt {text}".encode("utf-8", "surrogatepass")).digest()[::-1]


def _mixed(records: Sequence[Record]) -> list[Record]:
    """The texts with texts without an annotation spread evenly among them."""
    ranked = []
    for empty in (False, True):
        part = [r for r in records if empty == (not r.spans and not r.categories)]
        ranked += [((2 * i + 1) * len(records) // max(1, len(part)), empty, i, r) for i, r in enumerate(part)]
    return [record for *_, record in sorted(ranked, key=lambda row: row[:3])]


def half_by_hash(records: Sequence[Record], draw: int) -> list[Record]:
    """A random half of the records, the same in every run; another one for each number."""
    return [record for record in records if _hash(f"{draw} {record.text}")[0] % 2]

"""Which example is for training, development or test: a function of its own text, so that it stays put.

Texts are grouped by near-duplicates, and the group's first text is hashed into [0, 1). Adding data never
moves a reviewed example from one side to another, and no near-duplicate sits on two sides.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ie.core.errors import UserError
from ie.core.text import counted
from ie.data.records import Record
from ie.data.scheme import KINDS, Scheme, Scored

SIDES = ("train", "dev", "test")
TrainOn = Literal["both", "reviewed", "silver", "distilled"]
Pair = tuple[str, str]
# Scripts that don't put blanks between words are taken character by character.
WORDS = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff]|[^\W_]+")
DIGITS = re.compile(r"\d+")


@dataclass(frozen=True)
class NearDuplicate:
    """A text that resembles one before it in the file: the most similar, by Jaccard of word pairs."""

    id: str
    of: str
    similarity: float
    source: str


@dataclass(frozen=True)
class SetAside:
    """A text that is used nowhere, and why."""

    id: str
    source: str
    reason: str
    near: tuple[str, ...] = ()


@dataclass
class Split:
    """Where every text went, in file order.

    Attributes:
        train, dev, test: reviewed and accepted records.
        raw: unreviewed texts that may be annotated by a model and trained on.
        set_aside: what is used nowhere. Reasons: "bridge" (reviewed, and close to texts of two sides),
            "near dev" and "near test" (unreviewed), "reject" and "ignore" (the reviewer's answer).
        near_duplicates: one for every text that resembles an earlier reviewed one.
        reviewed_texts: how many raw texts were left out because they have been reviewed.
    """

    train: list[Record] = field(default_factory=list)
    dev: list[Record] = field(default_factory=list)
    test: list[Record] = field(default_factory=list)
    raw: list[Record] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    near_duplicates: list[NearDuplicate] = field(default_factory=list)
    reviewed_texts: int = 0


def assign(
    reviewed: Sequence[Record],
    raw: Sequence[Record],
    *,
    test_percent: float,
    dev_percent: float,
    near_duplicate: float = 0.8,
) -> Split:
    """Split reviewed records, and tell which unreviewed ones are safe to train on.

    A reviewed text joins the group of the most similar text before it whose similarity is at least
    `near_duplicate`; without such a text it founds a group, and the hash of its normalised text is the
    group's side for ever. Every answer takes part in the grouping, only "accept" is used. A text close to
    texts of two sides would leak wherever it went: it is set aside, the earlier ones stay. As decisions
    look back only, `reviewed` must be append-only for the split to be stable. Unreviewed texts go to
    training, except those close to dev or test; where a text is in both lists the reviewed one counts.

    Args:
        test_percent, dev_percent: shares of the groups, 0 < each, together < 100.
        near_duplicate: Jaccard similarity of word pairs (see `near_earlier`) in (0, 1].

    Raises:
        UserError: shares or similarity out of range.
    """
    check_shares(test_percent, dev_percent, near_duplicate)
    seen = {record.text for record in reviewed}
    unreviewed = [record for record in raw if record.text not in seen]
    split = Split(reviewed_texts=len(raw) - len(unreviewed))
    records = [*reviewed, *unreviewed]
    words = [normalise(record.text) for record in records]
    roots: list[int] = []  # first text of the group, by index of the reviewed text
    side_of: dict[int, str] = {}  # side of the used texts alike to this one
    for i, (record, near) in enumerate(
        zip(records, near_earlier(words, near_duplicate, indexed=len(reviewed)), strict=True)
    ):
        source = "reviewed" if i < len(reviewed) else "raw"
        if near:
            of, similarity = max(near, key=lambda pair: (pair[1], -pair[0]))
            split.near_duplicates.append(NearDuplicate(record.id, records[of].id, similarity, source))
        sides = {side_of[j] for j, _ in near if j in side_of}
        if source == "raw":
            leaks = [side for side in ("test", "dev") if side in sides]
            if leaks:
                neighbours = tuple(records[j].id for j, _ in near if side_of.get(j) == leaks[0])
                split.set_aside.append(SetAside(record.id, source, f"near {leaks[0]}", neighbours))
            else:
                split.raw.append(record)
            continue
        roots.append(roots[of] if near else i)
        side = _side(words[roots[i]], test_percent, dev_percent)
        if record.answer != "accept":
            split.set_aside.append(SetAside(record.id, source, record.answer))
        elif sides - {side}:
            neighbours = tuple(records[j].id for j, _ in near if j in side_of)
            split.set_aside.append(SetAside(record.id, source, "bridge", neighbours))
        else:
            getattr(split, side).append(record)
            # Texts with the same word pairs are compared through the first of them.
            first = next((j for j, similarity in near if similarity == 1), i)
            side_of[first] = side
    return split


class Sides:
    """The part of the split that `assign` would give to each reviewed text, updated as texts are added.

    For code that appends reviewed texts to the file and needs to know where each of them falls.
    """

    def __init__(
        self,
        reviewed: Sequence[Record] = (),
        *,
        test_percent: float,
        dev_percent: float,
        near_duplicate: float = 0.8,
        scored: Scored = "spans",
    ) -> None:
        check_shares(test_percent, dev_percent, near_duplicate)
        self._shares = test_percent, dev_percent
        self._scored: Scored = scored
        self._threshold = near_duplicate
        words = [normalise(record.text) for record in reviewed]
        # Any fixed order of the pairs finds the same texts; rare ones first finds them fast.
        self._frequency = Counter(pair for text in words for pair in _pairs(text))
        self._groups: list[tuple[list[str], frozenset[Pair], str | None]] = []  # root, pairs, side of use
        self._first: dict[frozenset[Pair], int] = {}  # texts with equal pairs are found through the first
        self._postings: dict[Pair, list[int]] = {}
        self.counts = dict.fromkeys(SIDES, 0)
        self.labelled = dict.fromkeys(SIDES, 0)
        for record, text in zip(reviewed, words, strict=True):
            self._add(record, text)

    @property
    def shares(self) -> dict[str, float]:
        """Percent of the reviewed texts for each part."""
        return shares(*self._shares)

    def has_label(self, record: Record) -> bool:
        """Whether a record has a span, or a category where these are scored."""
        return bool(record.spans if self._scored == "spans" else record.categories)

    def side(self, text: str) -> str:
        """Where a text would fall if it were reviewed and accepted next: one of `SIDES`, or "bridge"."""
        return self._place(normalise(text))[0]

    def add(self, record: Record) -> str:
        """Take in the next reviewed record, whatever its answer; returns where it falls, or its answer."""
        return self._add(record, normalise(record.text))

    def _add(self, record: Record, words: list[str]) -> str:
        side, root, mine, prefix = self._place(words)
        used = side if record.answer == "accept" and side != "bridge" else None
        first = self._first.setdefault(mine, len(self._groups))
        if first == len(self._groups):
            for pair in prefix:
                self._postings.setdefault(pair, []).append(first)
        elif used:
            self._groups[first] = (*self._groups[first][:2], used)
        self._groups.append((root, mine, used))
        if used:
            self.counts[used] += 1
            self.labelled[used] += self.has_label(record)
        return side if record.answer == "accept" else record.answer

    def _place(self, words: list[str]) -> tuple[str, list[str], frozenset[Pair], list[Pair]]:
        mine = _pairs(words)
        n = len(mine)
        ranked = sorted(mine, key=lambda pair: (self._frequency[pair], pair))
        prefix = ranked[: n - ceil(self._threshold * n - 1e-9) + 1]
        best, root, sides = 0.0, words, set()
        for j in sorted({j for pair in prefix for j in self._postings.get(pair, ())}):
            other_root, other, used = self._groups[j]
            common = len(mine & other)
            similarity = common / (n + len(other) - common)
            if similarity < self._threshold:
                continue
            if similarity > best:
                best, root = similarity, other_root
            if used:
                sides.add(used)
        side = _side(root, *self._shares)
        return ("bridge" if sides - {side} else side), root, mine, prefix


def usable_silver(
    suggested: Sequence[Record], split: Split, scored: Scored = "spans"
) -> tuple[list[Record], dict[str, int]]:
    """A model's annotations that may be trained on, in file order, and how many may not, by reason.

    Beside failed answers, raw texts without any, and those without the one category that each must have
    where that is scored, there are those of dev and test, which the LLM's own
    score is measured on, and of texts close to them.
    """
    raw = {record.text for record in split.raw}
    reviewed = {record.id for record in (*split.train, *split.dev, *split.test)}
    aside = {item.id: item.reason for item in split.set_aside}
    usable, dropped = [], Counter()
    for record in suggested:
        if record.text not in raw:
            known = "reviewed" if record.id in reviewed else "no longer among the texts"
            dropped[aside.get(record.id, known)] += 1
        elif record.llm_error:
            dropped["failed"] += 1
        elif scored == "category" and not record.categories:
            dropped["without category"] += 1
        else:
            usable.append(record)
    if suggested:
        dropped["not annotated"] = len(raw - {record.text for record in suggested})
    return usable, {reason: n for reason, n in sorted(dropped.items()) if n}


def count(records: Sequence[Record], scheme: Scheme) -> dict[str, Any]:
    """Documents, spans, relations, and how many of each label of the scheme."""
    counts = {
        "span": Counter(span.label for record in records for span in record.spans),
        "relation": Counter(relation.label for record in records for relation in record.relations),
        "category": Counter(name for record in records for name in record.categories),
    }
    return {
        "documents": len(records),
        "spans": counts["span"].total(),
        "relations": counts["relation"].total(),
        "labels": {kind: {label: counts[kind][label] for label in scheme.labels(kind)} for kind in KINDS},
    }


class Gap(UserError):
    """Too little is reviewed: only more of it helps."""


def check_categories(records: Sequence[Record], scheme: Scheme, source: Path) -> None:
    """In a scheme of categories alone, of which a text has one, every text must have one.

    Args:
        source: the file of reviewed examples, named in the error.

    Raises:
        UserError: naming the text.
    """
    for record in records if scheme.scored == "category" else ():
        if (n := len(record.categories)) != 1:
            raise UserError(
                f"{source}: {record.id!r} has {n} categories, and each text must have one of "
                f"{', '.join(scheme.categories)}; correct it, or set exclusive = false in {scheme.path}."
            )


def refuse_gaps(parts: Mapping[str, Sequence[Record]], scheme: Scheme, source: Path) -> None:
    """Refuse to go on where a part of the split is empty, or where there is nothing to learn.

    Args:
        parts: the records of each of `SIDES`, or of those that are known.
        source: the file of reviewed examples, named in the error.

    Raises:
        UserError: as `check_categories`.
        Gap: naming the parts.
    """
    check_categories([record for records in parts.values() for record in records], scheme, source)
    if empty := [part for part, records in parts.items() if not records]:
        raise Gap(
            f"{source}: no reviewed text is in {' or '.join(empty)}; review some (`weasel run check` says "
            "how many)."
        )
    if "train" in parts and len(missing := labels_without_examples(parts["train"], scheme)) == len(
        scheme.scored_labels
    ):
        n = len(parts["train"])
        raise Gap(
            f"{source}: {counted(n, 'training text')} without a single label ({', '.join(missing)}), so "
            "there is nothing to learn; review more texts (`weasel run review`), or correct the labels in "
            f"{scheme.path}."
        )


def labels_without_examples(records: Sequence[Record], scheme: Scheme) -> list[str]:
    """The scored labels that none of the records has."""
    if scheme.scored == "spans":
        found = {span.label for record in records for span in record.spans}
    else:
        found = {label for record in records for label in record.categories}
    return [label for label in scheme.scored_labels if label not in found]


def nested_order(
    texts: Sequence[str], labels: Sequence[set[str]], portions: Sequence[int], seed: int = 0
) -> list[int]:
    """An order of the examples whose beginnings are the portions, each with every label if it can be.

    Examples are shuffled by a hash of their text and the seed, so that neither their order nor other
    examples matter. Where a label isn't in the smallest portion, the first example that has it moves up to
    its end, in exchange for the last one there that isn't the only one with some label.

    Args:
        labels: labels of each example.
        portions: number of examples of each portion, rising.
    """

    def place(i: int) -> tuple[bytes, int]:
        return hashlib.sha256(f"{seed} {texts[i]}".encode()).digest(), i

    order = sorted(range(len(texts)), key=place)
    everything = set().union(*labels) if labels else set()
    # Each portion in turn: what the smallest has no room for may fit into the next.
    for start, size in zip((0, *portions), portions, strict=False):
        # How often each label is inside; updated as examples are exchanged.
        inside = Counter(label for i in order[:size] for label in labels[i])
        for label in sorted(everything):
            if inside[label]:
                continue
            where = next(where for where in range(size, len(order)) if label in labels[order[where]])
            arriving = labels[order[where]]
            for out in reversed(range(start, size)):
                if all(inside[other] > 1 or other in arriving for other in labels[order[out]]):
                    inside.update(arriving)
                    inside.subtract(labels[order[out]])
                    order[out], order[where] = order[where], order[out]
                    break
    return order


def choose(
    reviewed: Sequence[Record], answered: Collection[str], n: int
) -> tuple[list[Record], list[Record]]:
    """Some of the reviewed texts to train on, and those of the rest that can play unreviewed ones.

    Texts without an answer of the LLM come first, among them the examples of its prompt: they can be nothing
    but reviewed. The rest is drawn by a hash of the text, every label among it if there is the room.

    Args:
        answered: texts with an answer of the LLM.
        n: how many; 0 for all.

    Returns:
        Both in the order of `reviewed`.
    """
    if n < 0:
        raise UserError(f"--reviewed-examples {n} is no number of examples; give 0 (all) or more.")
    if not n or n >= len(reviewed):
        return list(reviewed), []
    alone = [i for i, record in enumerate(reviewed) if answered and record.text not in answered]
    texts = [record.text for record in reviewed]
    held = [{span.label for span in record.spans} for record in reviewed]
    order = nested_order(texts, held, [n])
    chosen = set([*alone, *(i for i in order if i not in set(alone))][:n])
    rest = [record for i, record in enumerate(reviewed) if i not in chosen and record.text in answered]
    return [record for i, record in enumerate(reviewed) if i in chosen], rest


def normalise(text: str) -> list[str]:
    """The words by which texts are compared: no case, punctuation or digits' values, compatible forms one.

    A text without any word (emoji, say) is a single word of its own.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = [DIGITS.sub("0", word) for word in WORDS.findall(folded)]
    return words or [" ".join(folded.split())]


def near_earlier(
    words: Sequence[Sequence[str]], threshold: float, *, indexed: int | None = None
) -> Iterator[list[tuple[int, float]]]:
    """For each text the earlier ones whose Jaccard similarity of word pairs is at least `threshold`.

    Exact, by prefix filtering: two sets that similar share one of their rarest elements (Bayardo, Ma and
    Srikant 2007, "Scaling up all pairs similarity search"). Texts with equal sets of pairs are represented
    by the first. Only the first `indexed` texts are found, so the rest are compared with those alone.

    Yields:
        (index of the earlier text, similarity), by index; one list a text.
    """
    indexed = len(words) if indexed is None else indexed
    postings: dict[int, list[int]] = {}
    known: set[bytes] = set()
    elements = _ranked_pairs(words)
    for i, mine in enumerate(elements):
        n = len(mine)
        prefix = mine[: n - ceil(threshold * n - 1e-9) + 1].tolist()
        similar = []
        for j in sorted({j for element in prefix for j in postings.get(element, ())}):
            m = len(elements[j])
            if min(n, m) < threshold * max(n, m) - 1e-9:
                continue
            common = len(np.intersect1d(mine, elements[j], assume_unique=True))
            similarity = common / (n + m - common)
            if similarity >= threshold:
                similar.append((j, similarity))
        yield similar
        key = mine.tobytes()
        if i < indexed and key not in known:
            known.add(key)
            for element in prefix:
                postings.setdefault(element, []).append(i)


def _ranked_pairs(words: Sequence[Sequence[str]]) -> list[np.ndarray]:
    """Each text's set of pairs of neighbouring words, as ranks from the rarest pair up, sorted."""
    if not words:
        return []
    vocabulary: dict[str, int] = {}
    # 0 ends a text, so that a text of one word has a pair as well
    flat = [i for text in words for i in (*(vocabulary.setdefault(w, len(vocabulary) + 1) for w in text), 0)]
    ids = np.array(flat, dtype=np.int64)
    starts = np.flatnonzero(ids[:-1])  # every word but not the ends
    _, pairs = np.unique(ids[starts] << 32 | ids[starts + 1], return_inverse=True)
    owner = np.repeat(np.arange(len(words)), [len(text) for text in words])
    size = int(pairs.max()) + 1
    distinct = np.unique(owner * size + pairs)
    owner, pairs = distinct // size, distinct % size
    rank = np.empty(size, dtype=np.int64)
    rank[np.argsort(np.bincount(pairs, minlength=size), kind="stable")] = np.arange(size)
    ordered = np.sort(owner * size + rank[pairs])
    edges = np.searchsorted(ordered, np.arange(1, len(words)) * size)
    return np.split(ordered % size, edges)


def _pairs(words: Sequence[str]) -> frozenset[Pair]:
    """A text's set of pairs of neighbouring words; "" ends a text, so that one word is a pair as well."""
    return frozenset(pairwise([*words, ""]))


def shares(test_percent: float, dev_percent: float) -> dict[str, float]:
    """Percent of the reviewed texts for each part."""
    return {"train": 100 - test_percent - dev_percent, "dev": dev_percent, "test": test_percent}


def part_of(text: str, shares: Mapping[str, float]) -> str:
    """The part of the split that a text is for, if it resembles no other."""
    return _side(normalise(text), shares["test"], shares["dev"])


def _side(words: Sequence[str], test_percent: float, dev_percent: float) -> str:
    digest = hashlib.sha256(" ".join(words).encode()).digest()
    percent = int.from_bytes(digest[:8], "big") / 2**64 * 100
    if percent < test_percent:
        return "test"
    return "dev" if percent < test_percent + dev_percent else "train"


def check_shares(test_percent: float, dev_percent: float, near_duplicate: float) -> None:
    if not (test_percent > 0 and dev_percent > 0 and test_percent + dev_percent < 100):
        raise UserError(
            f"test_percent {test_percent} and dev_percent {dev_percent} must be above 0 and together below "
            "100, so that train, dev and test all get some."
        )
    if not 0 < near_duplicate <= 1:
        raise UserError(f"near_duplicate {near_duplicate} must be a similarity above 0 and at most 1.")

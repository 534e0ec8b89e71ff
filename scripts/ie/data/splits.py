"""Which example is for training, development or test: a function of its own text, so that it stays put.

Texts are grouped by near-duplicates, and the group's first text is hashed into [0, 1). Adding data never
moves a reviewed example from one side to another, and no near-duplicate sits on two sides.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any, Literal

from ie.core.errors import UserError
from ie.core.text import VOWEL_SIGNS, counted
from ie.data.records import Record
from ie.data.scheme import KINDS, Scheme, Scored

SIDES = ("train", "dev", "test")
TrainOn = Literal["both", "reviewed", "silver", "distilled"]
# Scripts that don't put blanks between words are taken character by character.
WORDS = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff]|[^\W_]+")
DIGITS = re.compile(r"\d+")
UNVOWELLED = dict.fromkeys(map(ord, VOWEL_SIGNS))


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
    group's side from then on. Every answer takes part in the grouping, only "accept" is used. A text close to
    texts of two sides would leak wherever it went: it is set aside, the earlier ones stay. As decisions
    look back only, `reviewed` must be append-only for the split to be stable. Unreviewed texts go to
    training, except those close to dev or test; where a text is in both lists the reviewed one counts.

    Args:
        test_percent, dev_percent: shares of the groups, 0 < each, together < 100.
        near_duplicate: Jaccard similarity of word pairs (see `near_earlier`) in (0, 1].

    Raises:
        UserError: shares or similarity out of range.
    """
    seen = {record.text for record in reviewed}
    unreviewed = [record for record in raw if record.text not in seen]
    split = Split(reviewed_texts=len(raw) - len(unreviewed))
    records = [*reviewed, *unreviewed]
    words = [normalise(record.text) for record in records]
    sides = Sides(
        test_percent=test_percent, dev_percent=dev_percent, near_duplicate=near_duplicate, corpus=words
    )
    for i, record in enumerate(records):
        source = "reviewed" if i < len(reviewed) else "raw"
        near = sides.near(words[i])
        near_sides = {j: sides.side_of[j] for j, _ in near if j in sides.side_of}
        if near:
            of, similarity = max(near, key=lambda pair: (pair[1], -pair[0]))
            split.near_duplicates.append(NearDuplicate(record.id, records[of].id, similarity, source))
        if source == "raw":
            leak = next((side for side in ("test", "dev") if side in near_sides.values()), "")
            if leak:
                neighbours = tuple(records[j].id for j, side in near_sides.items() if side == leak)
                split.set_aside.append(SetAside(record.id, source, f"near {leak}", neighbours))
            else:
                split.raw.append(record)
            continue
        side = sides.add_words(words[i], record, near)
        if record.answer != "accept":
            split.set_aside.append(SetAside(record.id, source, record.answer))
        elif side == "bridge":
            neighbours = tuple(records[j].id for j in near_sides)
            split.set_aside.append(SetAside(record.id, source, side, neighbours))
        else:
            getattr(split, side).append(record)
    return split


class Sides:
    """The part of the split of each reviewed text, updated as texts are added.

    Attributes:
        side_of: part of the split by number of the text, for texts that are used. Texts with the same word
            pairs have one entry, that of the first.
        counts: number of texts in each part. `labelled`: of those with a label.
    """

    def __init__(
        self,
        reviewed: Sequence[Record] = (),
        *,
        test_percent: float,
        dev_percent: float,
        near_duplicate: float = 0.8,
        scored: Scored = "spans",
        corpus: Sequence[Sequence[str]] = (),
    ) -> None:
        """
        Args:
            reviewed: the first texts.
            corpus: words of all texts that may follow, as far as they are known; for speed only.
        """
        check_shares(test_percent, dev_percent, near_duplicate)
        self._shares = test_percent, dev_percent
        self._scored: Scored = scored
        words = [normalise(record.text) for record in reviewed]
        self._index = NearDuplicateIndex([*words, *corpus], near_duplicate)
        self._roots: list[Sequence[str]] = []  # words of the first text of each text's group
        self.side_of: dict[int, str] = {}
        self.counts = dict.fromkeys(SIDES, 0)
        self.labelled = dict.fromkeys(SIDES, 0)
        for record, text in zip(reviewed, words, strict=True):
            self.add_words(text, record)

    @property
    def shares(self) -> dict[str, float]:
        """Percent of the reviewed texts for each part."""
        return shares(*self._shares)

    def has_label(self, record: Record) -> bool:
        """Whether a record has a span, or a category where these are scored."""
        return bool(record.spans if self._scored == "spans" else record.categories)

    def near(self, words: Sequence[str]) -> list[tuple[int, float]]:
        """Number and similarity of the texts that resemble this one."""
        return self._index.near(words)

    def side(self, text: str) -> str:
        """The part of a text that is reviewed and accepted next: one of `SIDES`, or "bridge"."""
        words = normalise(text)
        return self._place(words, self.near(words))[0]

    def add(self, record: Record) -> str:
        """Add the next reviewed record, whatever its answer; returns its part, or the answer."""
        return self.add_words(normalise(record.text), record)

    def add_words(
        self, words: Sequence[str], record: Record, near: list[tuple[int, float]] | None = None
    ) -> str:
        """As `add`; `near` is the result of the method of that name, if it is known."""
        side, root = self._place(words, self.near(words) if near is None else near)
        self._roots.append(root)
        first = self._index.add(words)
        if record.answer != "accept":
            return record.answer
        if side != "bridge":
            self.side_of[first] = side
            self.counts[side] += 1
            self.labelled[side] += self.has_label(record)
        return side

    def _place(self, words: Sequence[str], near: list[tuple[int, float]]) -> tuple[str, Sequence[str]]:
        """The part of the split, and the words of the first text of the group."""
        root = self._roots[max(near, key=lambda pair: (pair[1], -pair[0]))[0]] if near else words
        side = _side(root, *self._shares)
        bridge = any(self.side_of.get(j, side) != side for j, _ in near)
        return "bridge" if bridge else side, root


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

    Arabic vowel signs are left out. A text without any word (emoji, say) is a single word of its own.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().translate(UNVOWELLED)
    words = [DIGITS.sub("0", word) for word in WORDS.findall(folded)]
    return words or [" ".join(folded.split())]


class NearDuplicateIndex:
    """Texts, searched for those whose Jaccard similarity of word pairs is at least `threshold`.

    Exact, by prefix filtering: two sets that similar share one of their rarest elements (Bayardo, Ma and
    Srikant 2007, "Scaling up all pairs similarity search"). Texts with equal sets of pairs are represented
    by the first.

    Args:
        corpus: texts that tell which pairs are rare. They aren't added.
    """

    def __init__(self, corpus: Iterable[Sequence[str]], threshold: float) -> None:
        self._threshold = threshold
        frequency = Counter(pair for words in corpus for pair in dict.fromkeys(pairwise([*words, ""])))
        # Any fixed order of the pairs finds the same texts; rare pairs first is fast.
        self._ranks = {pair: rank for rank, (pair, _) in enumerate(reversed(frequency.most_common()))}
        self._texts: list[frozenset[int]] = []
        self._first: dict[frozenset[int], int] = {}
        self._postings: dict[int, list[int]] = {}

    def add(self, words: Sequence[str]) -> int:
        """Add a text; returns the number of the first text with the same pairs."""
        pairs = self._pairs(words)
        number = len(self._texts)
        self._texts.append(pairs)
        if pairs not in self._first:
            for pair in self._prefix(pairs):
                self._postings.setdefault(pair, []).append(number)
        return self._first.setdefault(pairs, number)

    def near(self, words: Sequence[str]) -> list[tuple[int, float]]:
        """Number and similarity of the similar texts, in the order in which they were added."""
        pairs = self._pairs(words)
        candidates = {j for pair in self._prefix(pairs) for j in self._postings.get(pair, ())}
        similar = []
        for j in sorted(candidates):
            common = len(pairs & self._texts[j])
            similarity = common / (len(pairs) + len(self._texts[j]) - common)
            if similarity >= self._threshold:
                similar.append((j, similarity))
        return similar

    def _pairs(self, words: Sequence[str]) -> frozenset[int]:
        """Ranks of the pairs of neighbouring words; "" ends a text, so that one word is a pair as well."""
        # An unknown pair is rarer than all known ones.
        return frozenset(self._ranks.setdefault(pair, -len(self._ranks)) for pair in pairwise([*words, ""]))

    def _prefix(self, pairs: frozenset[int]) -> list[int]:
        n = len(pairs)
        return sorted(pairs)[: n - ceil(self._threshold * n - 1e-9) + 1]


def near_earlier(
    words: Sequence[Sequence[str]], threshold: float, *, indexed: int | None = None
) -> Iterator[list[tuple[int, float]]]:
    """For each text the earlier ones that resemble it (see `NearDuplicateIndex`).

    Args:
        indexed: only the first so many texts are searched.
    """
    index = NearDuplicateIndex(words, threshold)
    for i, text in enumerate(words):
        yield index.near(text)
        if indexed is None or i < indexed:
            index.add(text)


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

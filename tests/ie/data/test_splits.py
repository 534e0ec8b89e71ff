import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ie.core.errors import UserError
from ie.data import splits
from ie.data.records import Record, Span
from ie.data.scheme import Scheme
from ie.data.splits import Split, assign, near_earlier, normalise

SHARES = {"test_percent": 30, "dev_percent": 20}


def pairs(text: str) -> set[tuple[str, str]]:
    """Word pairs, by the definition, with an end mark."""
    words = [*normalise(text), "</s>"]
    return set(pairwise(words))


def similarity(one: str, other: str) -> float:
    a, b = pairs(one), pairs(other)
    return len(a & b) / len(a | b)


def sides(split: Split) -> dict[str, str]:
    """Where each reviewed record is, by id."""
    found = {record.id: side for side in splits.SIDES for record in getattr(split, side)}
    return found | {aside.id: aside.reason for aside in split.set_aside if aside.source == "reviewed"}


# Few words, so that near-duplicates, chains of them and bridges between groups are common; marks, so that
# different texts have equal words.
SENTENCES = st.builds(
    lambda words, mark: " ".join(words) + mark,
    st.lists(st.sampled_from("abcd"), min_size=2, max_size=5),
    st.sampled_from(["", "!", "."]),
)
ANSWERS = st.sampled_from(["accept", "accept", "accept", "reject", "ignore"])


@st.composite
def examples(draw) -> list[Record]:
    texts = draw(st.lists(SENTENCES, unique=True, min_size=draw(st.sampled_from([0, 15])), max_size=40))
    return [Record(text=text, answer=draw(ANSWERS)) for text in texts]


def without(records: list[Record], others: list[Record]) -> list[Record]:
    taken = {record.text for record in others}
    return [record for record in records if record.text not in taken]


THRESHOLDS = st.sampled_from([0.3, 0.4, 0.5, 0.6, 0.8, 1.0])


@given(texts=st.lists(SENTENCES, max_size=40), threshold=THRESHOLDS, data=st.data())
@settings(deadline=None)
def test_similar_texts_are_all_found(texts, threshold, data):
    """Against comparing every text with every one before it; of equal ones the first stands for all."""
    indexed = data.draw(st.integers(0, len(texts)))
    expected = []
    for i, text in enumerate(texts):
        firsts = [
            j for j in range(min(i, indexed)) if all(pairs(texts[j]) != pairs(texts[k]) for k in range(j))
        ]
        scores = [(j, similarity(text, texts[j])) for j in firsts]
        expected.append([(j, score) for j, score in scores if score >= threshold])
    found = near_earlier([normalise(text) for text in texts], threshold, indexed=indexed)
    assert [[(j, pytest.approx(s)) for j, s in row] for row in found] == expected


@given(reviewed=examples(), raw=examples(), threshold=THRESHOLDS)
@settings(deadline=None)
def test_nothing_similar_sits_on_two_sides(reviewed, raw, threshold):
    split = assign(reviewed, raw, **SHARES, near_duplicate=threshold)
    training = split.train + split.raw
    for held_out, others in ((split.test, training + split.dev), (split.dev, training)):
        for one in held_out:
            for other in others:
                assert similarity(one.text, other.text) < threshold


@given(reviewed=examples(), raw=examples(), threshold=THRESHOLDS)
@settings(deadline=None)
def test_every_text_is_accounted_for(reviewed, raw, threshold):
    split = assign(reviewed, raw, **SHARES, near_duplicate=threshold)
    assert sorted(sides(split)) == sorted(record.id for record in reviewed)
    assert all(record.answer == "accept" for record in split.train + split.dev + split.test)
    aside = [item.id for item in split.set_aside if item.source == "raw"]
    expected = [record.id for record in without(raw, reviewed)]
    assert sorted([record.id for record in split.raw] + aside) == sorted(expected)
    assert split.reviewed_texts == len(raw) - len(expected)


@given(reviewed=examples(), more=examples(), raw=examples(), threshold=THRESHOLDS)
@settings(deadline=None)
def test_more_data_moves_nothing(reviewed, more, raw, threshold):
    before = sides(assign(reviewed, raw, **SHARES, near_duplicate=threshold))
    grown = reviewed + without(more, reviewed)
    after = sides(assign(grown, raw + without(more, raw), **SHARES, near_duplicate=threshold))
    assert {id: after[id] for id in before} == before


@given(reviewed=examples())
@settings(deadline=None)
def test_a_group_is_on_the_side_of_its_first_text(reviewed):
    """Found here by following each text to the most similar one before it, the earliest where several are."""
    split = assign(reviewed, [], **SHARES, near_duplicate=0.4)
    where, roots = sides(split), []
    for i, record in enumerate(reviewed):
        scores = [(similarity(record.text, reviewed[j].text), -j) for j in range(i)]
        best, nearest = max(scores, default=(0, 0))
        roots.append(roots[-nearest] if best >= 0.4 else i)
        if where[record.id] in splits.SIDES:
            alone = assign([Record(text=reviewed[roots[i]].text)], [], **SHARES)
            assert getattr(alone, where[record.id]), "the first text, if it were alone, would be there"


@given(reviewed=examples(), raw=examples())
@settings(deadline=None)
def test_the_same_data_give_the_same_split(reviewed, raw):
    assert assign(reviewed, raw, **SHARES) == assign(reviewed, raw, **SHARES)


def test_shares_are_about_what_was_asked_for():
    rng = random.Random(0)
    records = [Record(text="".join(rng.choices("abcdefgh ", k=60))) for _ in range(4000)]
    split = assign(records, [], test_percent=37, dev_percent=10)
    # four standard deviations of a binomial share
    assert len(split.test) == pytest.approx(1480, abs=122)
    assert len(split.dev) == pytest.approx(400, abs=76)


def test_editing_a_text_without_changing_its_words_moves_nothing():
    one = assign([Record(text="Hooli raises $5m, led by ACME")], [], **SHARES)
    other = assign([Record(text="hooli raises $7m led by Acme!")], [], **SHARES)
    assert list(sides(one).values()) == list(sides(other).values())


def test_a_bridge_is_set_aside_and_the_earlier_texts_stay():
    """`left` and `right` fall to different sides; `middle` resembles both."""
    words = "abcdefghijklmnop"
    for seed in range(200):
        rng = random.Random(seed)
        left = rng.sample(words, 8)
        right = left[:4] + rng.sample("qrstuvwxyz", 4)
        middle = left[:6] + right[6:]
        reviewed = [Record(text=" ".join(part)) for part in (left, right, middle)]
        split = assign(reviewed[:2], [], **SHARES, near_duplicate=0.4)
        if len(set(sides(split).values())) == 2:
            break
    after = assign(reviewed, [], **SHARES, near_duplicate=0.4)
    assert sides(after) == sides(split) | {reviewed[2].id: "bridge"}
    [aside] = after.set_aside
    assert set(aside.near) == {reviewed[0].id, reviewed[1].id}


def test_near_duplicates_stay_together_and_are_reported():
    base = "Hooli raises $5m in a round led by ACME Ventures of Berlin"
    reviewed = [Record(text=base, meta={"id": "a"}), Record(text=base.replace("5", "7"), meta={"id": "b"})]
    split = assign(reviewed, [Record(text=base + "!", meta={"id": "c"})], **SHARES)
    assert len(set(sides(split).values())) == 1
    assert [(pair.id, pair.of, pair.similarity, pair.source) for pair in split.near_duplicates] == [
        ("b", "a", 1.0, "reviewed"),
        ("c", "a", 1.0, "raw"),
    ]


def test_raw_texts_close_to_held_out_ones_are_not_trained_on():
    held_out = next(
        record
        for n in range(100)
        if assign(
            [record := Record(text=f"Firm {'abcdefghij' * n} raises money from a bank")], [], **SHARES
        ).test
    )
    close = Record(text=held_out.text.upper() + "...")
    split = assign([held_out], [close, held_out, Record(text="Something else")], **SHARES)
    assert [record.text for record in split.raw] == ["Something else"]
    assert [(item.id, item.reason, item.near) for item in split.set_aside] == [
        (close.id, "near test", (held_out.id,))
    ]
    assert split.reviewed_texts == 1


def test_what_a_reviewer_refused_is_used_nowhere():
    refused = [Record(text="one text", answer="reject"), Record(text="another", answer="ignore")]
    split = assign(refused, refused, **SHARES)
    assert not (split.train)
    assert not (split.dev)
    assert not (split.test)
    assert not (split.raw)
    assert [item.reason for item in split.set_aside] == ["reject", "ignore"]


@pytest.mark.parametrize(("one", "other"), [("Émile-A. 12", "émile a 7"), ("ﬁne", "FINE"), ("ＡＢＣ", "abc")])
def test_texts_are_compared_by_their_words(one, other):
    assert normalise(one) == normalise(other)


def test_texts_without_words_or_spaces_are_compared_as_well():
    assert normalise("😀😀") != normalise("😀") != []
    assert near(["日本の会社が資金を調達した", "日本の会社が資金を調達する"], 0.6)
    assert not near(["😀", "🎉"], 0.1)


def near(texts: list[str], threshold: float) -> bool:
    return any(near_earlier([normalise(text) for text in texts], threshold))


@pytest.mark.parametrize("shares", [(0, 10), (10, 0), (60, 40), (-5, 10)])
def test_shares_that_leave_a_side_empty(shares):
    with pytest.raises(UserError, match="must be above 0 and together below 100"):
        assign([], [], test_percent=shares[0], dev_percent=shares[1])


@pytest.mark.parametrize("value", [0, 1.5, -1])
def test_similarities_out_of_range(value):
    with pytest.raises(UserError, match="near_duplicate"):
        assign([], [], **SHARES, near_duplicate=value)


def test_silver_is_what_a_model_answered_about_training_texts():
    raw = [Record(text=f"raw {word}") for word in ("one", "two", "three")]
    gold = Record(text="gold", meta={"id": "g"})
    split = Split(train=[gold], raw=raw)
    split.set_aside.append(splits.SetAside("near", "raw", "near test"))
    suggested = [
        Record(text="raw two", llm={"model": "m", "error": None}),
        Record(text="raw one", llm={"model": "m", "error": "empty"}),
        Record(text="gold", meta={"id": "g"}),
        Record(text="something near", meta={"id": "near"}),
        Record(text="an old text"),
    ]
    usable, dropped = splits.usable_silver(suggested, split)
    assert usable == suggested[:1]
    assert dropped == {
        "failed": 1,
        "near test": 1,
        "no longer among the texts": 1,
        "not annotated": 1,
        "reviewed": 1,
    }


def test_counts_follow_the_scheme():
    scheme = Scheme(("A", "B"), ("R",), ("X", "Y"))
    record = Record(text="a a", spans=[Span(start=0, end=1, label="A")], cats={"X": 1, "Y": 0})
    assert splits.count([record, record], scheme) == {
        "documents": 2,
        "spans": 2,
        "relations": 0,
        "labels": {"span": {"A": 2, "B": 0}, "relation": {"R": 0}, "category": {"X": 2, "Y": 0}},
    }


def test_gaps_are_refused():
    scheme = Scheme(("A", "B"), path=Path("configs/llm.cfg"))
    record = Record(text="a", spans=[Span(start=0, end=1, label="A")])
    full = {"train": [record], "dev": [record], "test": [record]}
    splits.refuse_gaps(full, Scheme(("A",)), Path("a.jsonl"))
    splits.refuse_gaps({"dev": [record]}, scheme, Path("a.jsonl"))
    splits.refuse_gaps(full, scheme, Path("a.jsonl"))
    assert splits.labels_without_examples(full["train"], scheme) == ["B"]
    with pytest.raises(splits.Gap, match=r"1 training text without a single label \(A, B\)"):
        splits.refuse_gaps(full | {"train": [Record(text="b")]}, scheme, Path("a.jsonl"))
    for side in full:
        with pytest.raises(splits.Gap, match=f"no reviewed text is in {side};"):
            splits.refuse_gaps(full | {side: []}, scheme, Path("a.jsonl"))


class TestSides:
    """One text after another gives what all at once gives."""

    @settings(deadline=None, max_examples=100)
    @given(
        st.lists(
            st.tuples(
                st.lists(
                    st.sampled_from(["alpha", "beta", "gamma", "delta", "5m", "6m"]), min_size=1, max_size=7
                ).map(" ".join),
                st.sampled_from(["accept", "accept", "reject", "ignore"]),
            ),
            max_size=25,
            unique_by=lambda pair: pair[0],
        ),
        st.integers(0, 25),
        st.sampled_from([0.4, 0.6, 0.8, 1.0]),
    )
    def test_it_is_what_assign_says(
        self, pairs: list[tuple[str, str]], known: int, near_duplicate: float
    ) -> None:
        shares = {"test_percent": 40, "dev_percent": 30, "near_duplicate": near_duplicate}
        records = [Record(text=text, answer=answer) for text, answer in pairs]
        sides = splits.Sides(records[:known], **shares)
        told = {record.text: sides.add(record) for record in records[known:]}
        split = splits.assign(records, [], **shares)
        assert sides.counts == {side: len(getattr(split, side)) for side in splits.SIDES}
        where = {r.text: side for side in splits.SIDES for r in getattr(split, side)}
        reasons = {item.id: item.reason for item in split.set_aside}
        for record in records[known:]:
            assert told[record.text] == where.get(record.text, reasons.get(record.id))

    def test_asking_changes_nothing(self) -> None:
        sides = splits.Sides([Record(text="alpha beta gamma")], test_percent=40, dev_percent=30)
        before = dict(sides.counts)
        assert sides.side("delta epsilon") == sides.side("delta epsilon")
        assert sides.counts == before


def test_texts_of_other_scripts_are_compared_by_their_words():
    assert normalise("شَرِكَةُ النُّور") == normalise("شركة النور") == ["شركة", "النور"]
    assert normalise("星河收购") == ["星", "河", "收", "购"]
    assert normalise("Müller") == normalise("Mu\u0308LLER") == ["müller"]

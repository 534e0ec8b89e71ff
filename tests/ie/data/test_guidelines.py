from itertools import permutations

import numpy as np
import pytest

from ie.core.errors import UserError
from ie.data.guidelines import GuidelineIndex, Sentence, split, version
from ie.data.records import blank

TEXT = """# Deals

First words.

## Entities
- **COMPANY**: the name of a business. The legal suffix (*Velto GmbH*, *Anker & Sohn*)
  belongs to it; a possessive *'s* does not.
- **MONEY**: the whole amount, `about` left out.

## Decisions
1. Lenders are not investors.
"""
NLP = blank("en")


@pytest.fixture
def rules(tmp_path) -> GuidelineIndex:
    path = tmp_path / "guidelines.md"
    path.write_text(TEXT, encoding="utf-8")
    return GuidelineIndex(path, NLP)


def test_sentences_lose_their_marks_and_keep_their_topic():
    assert split(TEXT, NLP) == [
        Sentence("First words.", "Deals"),
        Sentence("the name of a business.", "COMPANY"),
        Sentence(
            "The legal suffix (Velto GmbH, Anker & Sohn) belongs to it; a possessive 's does not.", "COMPANY"
        ),
        Sentence("the whole amount, about left out.", "MONEY"),
        Sentence("Lenders are not investors.", "Decisions"),
    ]


@pytest.mark.parametrize(
    ("query", "about", "words"),
    [
        ("COMPANY gmbh", "gmbh", "legal suffix"),
        ("COMPANY & co", "& co", "legal suffix"),
        ("COMPANY ’s", "’s", "possessive"),
        ("MONEY about", "about", "whole amount"),
        ("COMPANY", "", "name of a business"),
    ],
)
def test_the_sentence_that_decides(rules, query, about, words):
    assert words in rules.find(query, 0.05, about=about).text


def test_of_sentences_as_alike_the_first_is_taken_whatever_the_last_bits(tmp_path):
    """Another processor sums in another order."""
    path = tmp_path / "guidelines.md"
    orders = [" ".join(words) for words in permutations(["banks", "are", "named", "whole"])]
    path.write_text("".join(f"- {line}.\n" for line in orders), encoding="utf-8")
    rules = GuidelineIndex(path, NLP)
    exact, rng = rules._vectors.data.copy(), np.random.default_rng(0)
    for _ in range(20):
        assert rules.find("named banks whole", 0.05) == Sentence(f"{orders[0]}.", "")
        rules._vectors.data = exact * (1 + rng.choice([-2e-16, 0, 2e-16], len(exact)))


def test_none_where_none_fits(rules):
    assert rules.find("quarterly percentage", 0.05) is None
    assert rules.find("MONEY nearly", 0.05, about="nearly") is None
    # what is said of another label decides nothing
    assert rules.find("MONEY gmbh", 0.05, about="gmbh", topics={"MONEY"}, elsewhere={"COMPANY"}) is None


def test_the_version_is_that_of_the_bytes(rules):
    before = rules.version
    assert before == version(rules.path)
    assert len(before) == 12
    rules.path.write_text(TEXT + "2. More.\n", encoding="utf-8")
    assert version(rules.path) != before


@pytest.mark.parametrize(
    ("content", "fault"), [(b"\xff", "not UTF-8"), (b"# Title\n", "no sentence"), (None, "can't be read")]
)
def test_guidelines_that_are_none(tmp_path, content, fault):
    path = tmp_path / "guidelines.md"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=fault):
        GuidelineIndex(path, NLP)

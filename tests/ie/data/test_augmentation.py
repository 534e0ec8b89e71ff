"""Training texts in other cases: what changes, what stays, and how often."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spacy.training import Example

from ie.core.errors import UserError
from ie.data.augmentation import create_case_augmenter, recased
from ie.data.docs import to_doc
from ie.data.records import Record, blank

NLP = blank("en")
TEXT = "Straße GmbH raised $5m"
GOLD = Record(
    text=TEXT,
    spans=[{"start": 0, "end": 11, "label": "COMPANY"}, {"start": 19, "end": 22, "label": "MONEY"}],
    cats={"FUNDING": 1.0},
)


def example(record: Record = GOLD) -> Example:
    return Example(NLP.make_doc(record.text), to_doc(record, NLP))


def spans(found: Example) -> list[tuple[str, str]]:
    return [(ent.text, ent.label_) for ent in found.reference.ents]


def test_annotation_stays_where_it_was():
    for change, text in ((str.lower, "straße gmbh raised $5m"), (str.upper, "STRAßE GMBH RAISED $5M")):
        found = recased(NLP, example(), change)
        assert found.text == text
        assert spans(found) == [(text[:11], "COMPANY"), (text[19:22], "MONEY")]
        assert found.reference.cats == {"FUNDING": 1.0}


@given(st.text(min_size=1, max_size=40).filter(str.strip), st.sampled_from([str.lower, str.upper]))
def test_no_offset_moves_whatever_the_letters(text, change):
    doc = NLP.make_doc(text)
    doc.set_ents([doc[0:1].char_span(0, len(doc[0]), label="X")] if doc[0].text.strip() else [])
    found = recased(NLP, Example(NLP.make_doc(text), doc), change)
    assert len(found.predicted.text) == len(text)
    assert [(e.start_char, e.end_char) for e in found.reference.ents] == [
        (e.start_char, e.end_char) for e in doc.ents
    ]


def test_so_many_texts_are_changed_as_the_config_says():
    random.seed(0)
    augment = create_case_augmenter(lower=0.2, upper=0.1)
    seen = Counter(next(iter(augment(NLP, example()))).text for _ in range(2000))
    assert abs(seen[TEXT.lower()] / 2000 - 0.2) < 0.03
    assert abs(seen["STRAßE GMBH RAISED $5M"] / 2000 - 0.1) < 0.03
    assert abs(seen[TEXT] / 2000 - 0.7) < 0.03


@pytest.mark.parametrize(("lower", "upper"), [(-0.1, 0), (0.6, 0.6), (0, 1.5)])
def test_what_are_no_shares_is_refused(lower, upper):
    with pytest.raises(UserError, match="must be shares from 0 to 1"):
        create_case_augmenter(lower, upper)

"""Answers are found in texts of other scripts at exact offsets, however text and answer are encoded."""

import unicodedata
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import ROOT

from ie.core.errors import UserError
from ie.data.records import Record, blank, read_records
from ie.llm.grounding import ground

FATHA, SHADDA, KASRA, TATWEEL = "\u064e", "\u0651", "\u0650", "\u0640"
ARABIC_LETTERS = [*range(0x0621, 0x063B), *range(0x0641, 0x064B)]


def vowelled(text: str, rng: Random) -> str:
    """The text with some vowel signs, and strokes inside of words."""
    result = []
    for i, character in enumerate(text):
        result.append(character)
        if ord(character) in ARABIC_LETTERS and rng.random() < 0.4:
            result.append(rng.choice([FATHA, KASRA, SHADDA + FATHA]))
            if i + 1 < len(text) and ord(text[i + 1]) in ARABIC_LETTERS and rng.random() < 0.3:
                result.append(TATWEEL)
    return "".join(result)


def full_width(text: str, rng: Random) -> str:
    """Half of the ASCII letters and digits in full width."""
    wide = (chr(ord(c) + 0xFEE0) if c.isascii() and c.isalnum() and rng.random() < 0.5 else c for c in text)
    return "".join(wide)


FORMS = {
    "as it is": lambda text, rng: text,
    "composed": lambda text, rng: unicodedata.normalize("NFC", text),
    "decomposed": lambda text, rng: unicodedata.normalize("NFD", text),
    "vowelled": vowelled,
    "full width": full_width,
}
COMMON = ["as it is", "composed", "decomposed"]
FORMS_OF = {"ar": [*COMMON, "vowelled"], "zh": [*COMMON, "full width"], "ja": [*COMMON, "full width"]}


@cache
def texts(lang: str) -> tuple[Record, ...]:
    return tuple(read_records(ROOT / f"tests/languages/{lang}.jsonl"))


@cache
def tokenizer(lang: str):
    try:
        return blank(lang).tokenizer
    except UserError as error:
        pytest.skip(str(error))


def rewritten(record: Record, form: str, rng: Random) -> tuple[str, list[tuple[int, int]]]:
    """The text in another form, and its spans: each piece by itself, so its offsets are known."""
    text, places, last = "", [], 0
    for span in record.spans:
        text += FORMS[form](record.text[last : span.start], rng)
        start = len(text)
        text += FORMS[form](record.text[span.start : span.end], rng)
        places.append((start, len(text)))
        last = span.end
    return text + FORMS[form](record.text[last:], rng), places


@pytest.mark.parametrize("lang", ["de", "es", "ar", "zh", "ja"])
@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_names_and_amounts_are_found_at_their_offsets(lang, data):
    make_doc = tokenizer(lang)
    forms = st.sampled_from(FORMS_OF.get(lang, COMMON))
    record = data.draw(st.sampled_from([r for r in texts(lang) if r.spans]))
    rng = Random(data.draw(st.integers(0, 9)))
    text, places = rewritten(record, data.draw(forms), rng)
    form = data.draw(forms)
    answers = [(s.label, FORMS[form](record.text[s.start : s.end], rng)) for s in record.spans]
    spans, dropped = ground(make_doc(text), answers)
    assert dropped == []
    assert {*places} <= {(span.start, span.end) for span in spans}
    assert all(span.alignment in ("exact", "normalised") for span in spans)


def test_bare_alef_finds_the_one_with_its_mark():
    text = "قالت أمواج للسياحة إنها باعت الفندق."
    _, dropped = ground(tokenizer("ar")(text), [("COMPANY", "امواج للسياحه")], fuzzy=1)
    assert [d.text for d in dropped] == ["امواج للسياحه"], "another last letter is another word"
    (span,), _ = ground(tokenizer("ar")(text), [("COMPANY", "امواج للسياحة")], fuzzy=1)
    assert (text[span.start : span.end], span.alignment) == ("أمواج للسياحة", "normalised")


def test_a_misspelt_name_is_found_in_a_script_without_spaces():
    text = "北京星河航天技术有限公司宣布收购云帆软件。"
    (span,), _ = ground(tokenizer("zh")(text), [("COMPANY", "北京星河航天科术有限公司")])
    assert (text[span.start : span.end], span.alignment) == ("北京星河航天技术有限公司", "fuzzy")

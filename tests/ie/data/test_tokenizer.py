import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st

from ie.data import records

# Each is one character to a reader.
CLUSTERS = [
    "👩‍👩‍👧",
    "👩🏽‍🚀",
    "👍🏽",
    "❤️",
    "🤷‍♀️",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "🇩🇪",
]
CLUSTERS += ["1️⃣", "#️⃣", "™️", "e\u0301", "!\u0301", "🙂", "🏳️‍🌈"]
PLAIN = ["Hooli", "a", "7", " ", "$", "5m", ".", ",", "(", "—", "-", "'s", "x\u0301y"]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("raised $240m.", ["raised", "$", "240", "m", "."]),
        ("raised €1.6M.", ["raised", "€", "1.6", "M", "."]),
        ("at Velto GmbH.", ["at", "Velto", "GmbH", "."]),
        ("by Bertrand S.A..", ["by", "Bertrand", "S.A.", "."]),
        ("Ledger—$33 million", ["Ledger", "—", "$33", "million"]),
        # what spaCy got right stays as it was
        ("J. Smith of Foo Inc. and so on...", ["J.", "Smith", "of", "Foo", "Inc.", "and", "so", "on", "..."]),
    ],
)
def test_amounts_and_names_end_where_they_should_even_in_a_saved_pipeline(tmp_path, text, tokens):
    nlp = records.blank("en")
    assert [token.text for token in nlp(text)] == tokens
    nlp.to_disk(tmp_path)
    assert [token.text for token in spacy.load(tmp_path)(text)] == tokens


@pytest.mark.parametrize("lang", ["de", "ar", "hi", "xx", "zh"])
def test_other_languages_keep_working(lang):
    text = "Velto GmbH. 5 m. حلول"
    assert records.blank(lang)(text).text == text


@pytest.fixture(scope="module", params=["en", "de", "xx"])
def pipelines(request, tmp_path_factory):
    """The tokenizer as it is made, and as a saved pipeline has it."""
    nlp, folder = records.blank(request.param), tmp_path_factory.mktemp("pipeline")
    nlp.to_disk(folder)
    return nlp, spacy.load(folder)


@settings(max_examples=300, deadline=None)
@given(parts=st.lists(st.sampled_from(CLUSTERS + PLAIN), min_size=1, max_size=8))
def test_no_token_begins_or_ends_inside_what_is_read_as_one_character(pipelines, parts):
    text, inside, at = "".join(parts), set(), 0
    for part in parts:
        if part in CLUSTERS:
            inside |= set(range(at + 1, at + len(part)))
        at += len(part)
    for nlp in pipelines:
        doc = nlp.tokenizer(text)
        assert doc.text == text
        edges = {edge for token in doc for edge in (token.idx, token.idx + len(token))}
        assert not edges & inside, [token.text for token in doc]


@pytest.mark.parametrize("cluster", [cluster for cluster in CLUSTERS if cluster != "e\u0301"])
def test_a_name_beside_an_emoji_is_a_token(cluster):
    nlp = records.blank("en")
    assert [token.text for token in nlp.tokenizer(f"by {cluster}Hooli {cluster}")] == [
        "by",
        cluster,
        "Hooli",
        cluster,
    ]

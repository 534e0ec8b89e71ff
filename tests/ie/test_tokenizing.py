import pytest
import spacy

from ie import records


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

"""The component of categories: what it learns, that it is stored whole, and what odd input does to it."""

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.training import Example

from components.categories import LONGEST, TfidfCategories, character_ngrams, word_ngrams

TEXTS = [f"{name} {verb} Hooli." for name in ("Velto", "Anker", "Brass") for verb in ("acquired", "sued")]
DEALS = [(text, {"DEAL": float("acq" in text), "OTHER": float("acq" not in text)}) for text in TEXTS]


def train(examples: list[tuple[str, dict[str, float]]], **config: object) -> tuple[Language, TfidfCategories]:
    nlp = spacy.blank("en")
    component = nlp.add_pipe("categories", name="textcat", config=config)
    assert isinstance(component, TfidfCategories)

    def golds() -> list[Example]:
        return [Example.from_dict(nlp.make_doc(text), {"cats": cats}) for text, cats in examples]

    nlp.initialize(golds)
    return nlp, component


def test_what_words_have_in_common_is_learned() -> None:
    nlp, component = train(DEALS)
    assert component.labels == ("DEAL", "OTHER")
    # neither word was in training, but most of its characters
    for text, label in {"Somebody acquires it": "DEAL", "Somebody sues it": "OTHER"}.items():
        cats = nlp(text).cats
        assert max(cats, key=cats.get) == label
        assert sum(cats.values()) == pytest.approx(1)


def test_the_same_examples_give_the_same_bytes() -> None:
    assert train(DEALS)[1].to_bytes() == train(DEALS)[1].to_bytes()


def test_scores_are_those_of_scikit_learn() -> None:
    """The regression on dense columns made here is the one that the component computes text by text."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    labels = ["DEAL", "OTHER", "RESULT"]
    texts = [*TEXTS, "Velto earned more.", "Anker earned less.", "Anker earned more."]
    gold = ["RESULT" if "earned" in text else "DEAL" if "acq" in text else "OTHER" for text in texts]
    nlp, _ = train(
        [
            (text, {label: float(label == right) for label in labels})
            for text, right in zip(texts, gold, strict=True)
        ],
        words=[1, 1],
        characters=[9, 8],
        min_count=1,
    )
    vectorizer = TfidfVectorizer(
        tokenizer=lambda text: [t.lower_ for t in nlp.make_doc(text)], token_pattern=None, sublinear_tf=True
    )
    model = LogisticRegression(C=1.0, class_weight="balanced", max_iter=1000)
    model.fit(vectorizer.fit_transform(texts), gold)
    text = "Velto acquired more, more of Anker"
    expected = dict(zip(model.classes_, model.predict_proba(vectorizer.transform([text]))[0], strict=True))
    assert nlp(text).cats == pytest.approx(expected, abs=1e-3)


def test_several_categories_have_a_regression_each() -> None:
    examples = [(text, {"DEAL": float("acq" in text), "VELTO": float("Velto" in text)}) for text in TEXTS]
    nlp, _ = train(examples, exclusive=False, strength=100.0)
    cats = {text: {label for label, p in nlp(text).cats.items() if p >= 0.5} for text in TEXTS}
    assert cats["Velto acquired Hooli."] == {"DEAL", "VELTO"}
    assert cats["Anker sued Hooli."] == set()


def test_a_category_without_examples_is_unlikely_and_one_that_all_have_likely() -> None:
    examples = [(text, {"NEVER": 0.0, "ALWAYS": 1.0, "DEAL": float("acq" in text)}) for text in TEXTS]
    cats = train(examples, exclusive=False)[0](TEXTS[0]).cats
    assert cats["NEVER"] < 0.01 < 0.99 < cats["ALWAYS"]
    exclusive = [(text, {"NEVER": 0.0, **cats}) for text, cats in DEALS]
    assert train(exclusive)[0](TEXTS[0]).cats["NEVER"] < 0.01


@pytest.mark.parametrize("text", ["", "   ", "Ω", "x" * 100_000])
def test_texts_without_a_known_ngram_get_probabilities(text: str) -> None:
    cats = train(DEALS)[0](text).cats
    assert np.isfinite(list(cats.values())).all()
    assert sum(cats.values()) == pytest.approx(1)


def test_a_long_token_costs_no_more_than_a_short_one() -> None:
    assert len(list(character_ngrams("x" * 100_000, 2, 5))) == len(
        list(character_ngrams("x" * LONGEST, 2, 5))
    )


def test_words_and_characters_have_no_key_in_common() -> None:
    assert not {*character_ngrams("deal", 1, 6)} & {*word_ngrams(["deal", "de", " deal "], 1, 2)}


def test_it_is_stored_whole(tmp_path) -> None:
    nlp, component = train(DEALS)
    nlp.to_disk(tmp_path / "model")
    copies = [spacy.load(tmp_path / "model"), spacy.blank("en")]
    copies[1].add_pipe("categories", name="textcat").from_bytes(component.to_bytes())
    for other in copies:
        assert [other(text).cats for text in TEXTS] == [nlp(text).cats for text in TEXTS]
        assert other.get_pipe("textcat").labels == ("DEAL", "OTHER")


def test_untrained_it_says_nothing() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("categories", name="textcat")
    assert nlp("Velto acquired Hooli.").cats == {}

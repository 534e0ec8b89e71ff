"""The recogniser `crf`: what it learns, that it is stored whole, and what odd input does to it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Span
from spacy.training import Example

from components import crf
from components.crf import CrfRecogniser, Dictionary, TrainingText, collect, held_out_features, to_tags

NAMES = ("Velto", "Hooli", "Anker Lines", "Brass Harbour Group", "Umbra")
FRAMES = ("{} bought a harbour in {}.", "In {1}, {0} sold boats.", "Shares of {} fell in {}.")
CITIES = ("Oslo", "Turku", "Riga")
Labelled = tuple[str, list[tuple[str, str]]]
TEXTS: list[Labelled] = [
    (frame.format(name, city), [(name, "COMPANY"), (city, "CITY")])
    for i, name in enumerate(NAMES)
    for j, (frame, city) in enumerate(zip(FRAMES, CITIES[i % 3 :] + CITIES[: i % 3], strict=True))
]


def train(texts: Sequence[Labelled] = TEXTS, **config: object) -> tuple[Language, CrfRecogniser]:
    nlp = spacy.blank("en")
    component = nlp.add_pipe("crf", name="ner", config=config)
    assert isinstance(component, CrfRecogniser)

    def golds() -> list[Example]:
        return [
            Example.from_dict(
                nlp.make_doc(text),
                {"entities": [(text.index(s), text.index(s) + len(s), label) for s, label in spans]},
            )
            for text, spans in texts
        ]

    nlp.initialize(golds)
    return nlp, component


@pytest.fixture(scope="module")
def trained() -> Language:
    return train()[0]


def found(nlp: Language, text: str) -> list[tuple[str, str]]:
    return [(ent.text, ent.label_) for ent in nlp(text).ents]


def test_it_learns_names_and_contexts(trained: Language) -> None:
    assert trained.get_pipe("ner").labels == ("CITY", "COMPANY")
    for text, spans in TEXTS:
        assert sorted(found(trained, text)) == sorted(spans)
    # neither name was in training
    assert found(trained, "Globex bought a harbour in Malmö.") == [("Globex", "COMPANY"), ("Malmö", "CITY")]


def test_the_same_examples_give_the_same_bytes() -> None:
    assert train()[1].to_bytes() == train()[1].to_bytes()


def test_it_is_stored_whole(trained: Language, tmp_path) -> None:
    trained.to_disk(tmp_path)
    component = trained.get_pipe("ner")
    copies = [
        spacy.load(tmp_path),
        spacy.blank("en"),
    ]
    copies[1].add_pipe("crf", name="ner").from_bytes(component.to_bytes())
    for copy in copies:
        assert copy.get_pipe("ner").to_bytes() == component.to_bytes()
        for text, _ in TEXTS:
            assert found(copy, text) == found(trained, text)


def test_scores_are_the_sums_of_all_weights() -> None:
    """The scores, cached by word, are the sums over the features that the weights were trained with."""
    nlp, component = train()
    for text, _ in [*TEXTS, ("Velto fell in Brass Harbour, Oslo.", [])]:
        words = [(token.text, token.shape_) for token in nlp.make_doc(text)]
        known = component._dictionary.features([text.lower() for text, _ in words])
        (rows,) = crf.all_features([words], [known])
        weights = component._cased
        expected = [sum(weights.feature_scores(feature) for feature in row) for row in rows]
        assert np.array_equal(weights.scores(words, known), expected)


def test_texts_of_one_case_have_weights_of_their_own() -> None:
    """Others are scored as without them, and files of a pipeline without them still load."""
    nlp, component = train()
    without, plain = train(caseless=False)
    for text in ("globex bought a harbour in malmö.", "GLOBEX BOUGHT A HARBOUR IN MALMÖ."):
        name, *_, city, _ = text.split(" ")[0], text.split(" ")[-1][:-1], ""
        assert found(nlp, text) == [(name, "COMPANY"), (city, "CITY")]
        assert found(without, text) != found(nlp, text)
    del component.weights["caseless"]
    assert component.weights.keys() == plain.weights.keys()
    for key in ("hashes", "starts", "columns", "values", "transitions"):
        assert np.array_equal(component.weights[key], plain.weights[key])
    copy = spacy.blank("en").add_pipe("crf", name="ner").from_bytes(component.to_bytes())
    assert copy._caseless is copy._cased


# Nothing but a list tells the names of companies from others.
LISTED, UNLISTED = (
    [f"{first}{second}{letter}" for first in "BDG" for second in "aeou"] for letter in ("x", "z")
)
SIMILAR: list[Labelled] = [
    *((f"I saw {name} there.", [(name, "COMPANY")]) for name in LISTED),
    *((f"I saw {name} there.", []) for name in UNLISTED),
]


@pytest.fixture(scope="module")
def general(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A general pipeline with a list of names, and a part that is of no use."""
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    names = [*LISTED, "Kaq"]
    patterns = [{"label": "ORG", "pattern": [{"LOWER": name.lower()}]} for name in names]
    nlp.add_pipe("entity_ruler").add_patterns(patterns)
    folder = tmp_path_factory.mktemp("general") / "pipeline"
    nlp.to_disk(folder)
    return folder


@pytest.mark.parametrize("dictionary", [True, False])
def test_the_answers_of_a_general_pipeline_are_features(general: Path, dictionary: bool) -> None:
    nlp, _ = train(SIMILAR, general=str(general), dictionary=dictionary)
    assert found(nlp, "I saw Kaq there.") == [("Kaq", "COMPANY")]
    assert found(nlp, "i saw kaq there.") == [("kaq", "COMPANY")]
    assert found(nlp, "I saw Waq there.") == []


def test_a_general_pipeline_becomes_part_of_the_component(general: Path, tmp_path: Path) -> None:
    nlp, component = train(SIMILAR, general=str(general))
    assert component.general.pipe_names == ["entity_ruler"]
    nlp.to_disk(tmp_path)
    copies = [spacy.load(tmp_path), spacy.blank("en")]
    copies[1].add_pipe("crf", name="ner").from_bytes(component.to_bytes())
    texts = ["I saw Kaq there.", "i saw kaq there.", "", "I saw Waq there.", *(text for text, _ in SIMILAR)]
    expected = [found(nlp, text) for text in texts]
    size = len(component.general.vocab.strings)
    for copy in copies:
        assert copy.get_pipe("ner").to_bytes() == component.to_bytes()
        docs = copy.pipe(texts, batch_size=2)
        assert [[(ent.text, ent.label_) for ent in doc.ents] for doc in docs] == expected
        found(copy, "Qwertz uiop.")
        # words of texts don't stay in its vocabulary
        assert len(copy.get_pipe("ner").general.vocab.strings) <= size


def test_a_general_pipeline_must_be_there_and_of_use(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no_such_pipeline"):
        train(general="no_such_pipeline")
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.to_disk(tmp_path)
    with pytest.raises(ValueError, match="sets neither tags nor entities"):
        train(general=str(tmp_path))


def test_the_best_sequence_is_found_and_ties_go_to_the_first_tag() -> None:
    tags = ["B-A", "L-A", "O", "U-A"]
    allowed = crf.transitions(tags, np.zeros((4, 4), dtype="int32"))
    assert crf.viterbi(np.array([[9, 0, 0, 0], [0, 0, 5, 0]]), allowed) == [0, 1]  # B must be followed by L
    assert crf.viterbi(np.array([[0, 9, 0, 5]]), allowed) == [3]  # no L without its B
    assert crf.viterbi(np.zeros((1, 4), dtype="int32"), allowed) == [2]  # O and U are equal


def test_in_training_a_text_is_looked_up_in_the_others_only() -> None:
    words = [["velto", f"word{n}"] for n in range(12)]
    names = [["hooli"], *words]
    texts = [TrainingText(text, [(0, 1, "COMPANY")]) for text in names]
    features = list(held_out_features(texts))
    # only its own text has it
    assert features[0] == [["known=no"]]
    assert all("name=U-COMPANY" in rows[0] for rows in features[1:])
    assert "name=U-COMPANY" in collect(texts).features(["hooli"])[0]


def test_the_dictionary_takes_the_longest_name_and_the_most_frequent_label() -> None:
    texts = [
        TrainingText(["anker"], [(0, 1, "CITY")]),
        TrainingText(["anker", "lines"], [(0, 2, "COMPANY")]),
        TrainingText(["anker", "lines", "anker"], [(0, 2, "CITY"), (2, 3, "CITY")]),
        TrainingText(["anker", "lines"], [(0, 2, "COMPANY")]),
    ]
    dictionary = collect(texts)
    assert dictionary.phrases == {"anker": ["CITY", 2, 5], "anker\nlines": ["COMPANY", 2, 3]}
    first, second, third, fourth = dictionary.features(["anker", "lines", "anker", "sea"])
    assert [row[0] for row in (first, second, third)] == ["name=B-COMPANY", "name=L-COMPANY", "name=U-CITY"]
    assert fourth == ["known=no"]


def test_nothing_is_learned_from_tokens_of_which_nothing_is_known() -> None:
    """As `distill` marks tokens in doubt; as "outside", they would teach that `Velto` is no name."""
    nlp = spacy.blank("en")
    component = nlp.add_pipe("crf")

    def examples(rest: str) -> list[Example]:
        tags = {"Velto": "U-COMPANY", "Umbra": rest}
        texts = [f"{name} sold {n} boats to {other}." for n in range(3) for name, other in pairs]
        docs = map(nlp.make_doc, texts)
        return [
            Example.from_dict(doc, {"entities": [tags.get(t.text, "O") if t.i else "U-COMPANY" for t in doc]})
            for doc in docs
        ]

    pairs = [("Velto", "Umbra"), ("Hooli", "Umbra"), ("Anker", "Umbra")]
    component.initialize(lambda: examples("-"), nlp=nlp)
    assert "umbra" not in component.weights["words"]
    assert found(nlp, "Umbra sold 7 boats to Oslo.") == [("Umbra", "COMPANY")]
    component.initialize(lambda: examples("O"), nlp=nlp)
    assert component.weights["words"]["umbra"] == {"O": 9}


def test_without_a_dictionary_the_weights_are_those_of_the_words() -> None:
    _, component = train(dictionary=False)
    assert component.weights["phrases"] == component.weights["words"] == {}


def test_a_label_without_examples_is_never_predicted_and_does_no_harm() -> None:
    nlp = spacy.blank("en")
    component = nlp.add_pipe("crf")
    example = Example.from_dict(nlp.make_doc("Velto rose."), {"entities": [(0, 5, "COMPANY")]})
    component.initialize(lambda: [example], nlp=nlp, labels=["CITY", "COMPANY"])
    assert component.labels == ("CITY", "COMPANY")
    assert found(nlp, "Velto rose.") == [("Velto", "COMPANY")]


@pytest.mark.parametrize("texts", [[("Nothing here.", [])], [("", []), ("Nothing.", [])]])
def test_texts_without_entities_give_none(texts: list[Labelled]) -> None:
    nlp, component = train(texts)
    assert component.labels == ()
    assert found(nlp, "Velto rose.") == []


@pytest.mark.parametrize("text", ["", " ", "\n\n", "x", "a\nb", "Velto " * 300, "y" * 5000, "🙂 Velto"])
def test_any_text_is_answered(trained: Language, text: str) -> None:
    trained(text)


def test_entities_that_are_there_stay(trained: Language) -> None:
    doc = trained.make_doc("Anker Lines bought a harbour in Oslo.")
    doc.set_ents([Span(doc, 1, 4, label="OTHER")])
    entities = [(ent.text, ent.label_) for ent in trained.get_pipe("ner")(doc).ents]
    assert entities == [("Lines bought a", "OTHER"), ("Oslo", "CITY")]


def test_tags_of_names_of_one_two_and_three_tokens() -> None:
    spans = [(0, 1, "A"), (1, 3, "B"), (4, 7, "A")]
    tags = ["U-A", "B-B", "L-B", "O", "B-A", "I-A", "L-A"]
    assert to_tags(7, spans) == tags
    assert list(crf.from_tags(tags)) == spans


def test_an_empty_dictionary_knows_nothing() -> None:
    assert Dictionary({}, {}).features(["velto"]) == [["known=no"]]

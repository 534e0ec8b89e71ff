"""What a pipeline is said to see is what its config says, and nothing is claimed of what isn't understood."""

from pathlib import Path

import numpy as np
import pytest
import spacy

from ie.data.records import Record, Span, blank
from ie.evaluation import model_view
from ie.evaluation.model_view import View

EMBED = {"@architectures": "spacy.MultiHashEmbed.v2", "width": 8, "include_static_vectors": False}
ENCODE = {"@architectures": "spacy.MaxoutWindowEncoder.v2", "width": 8, "maxout_pieces": 2}
NER = {
    "@architectures": "spacy.TransitionBasedParser.v2",
    "state_type": "ner",
    "extra_state_tokens": False,
    "hidden_width": 8,
    "maxout_pieces": 2,
    "use_upper": True,
    "nO": None,
}
TOK2VEC = {
    "@architectures": "spacy.Tok2Vec.v2",
    "embed": {**EMBED, "attrs": ["LOWER", "SHAPE"], "rows": [50, 50]},
    "encode": {**ENCODE, "window_size": 2, "depth": 3},
}


def pipeline(tok2vec: dict) -> spacy.Language:
    nlp = blank("en")
    nlp.add_pipe("ner", config={"model": {**NER, "tok2vec": tok2vec}}).add_label("X")
    return nlp


def shared() -> spacy.Language:
    nlp = blank("en")
    nlp.add_pipe("tok2vec", name="vectors", config={"model": TOK2VEC})
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 8, "upstream": "vectors"}
    nlp.add_pipe("ner", config={"model": {**NER, "tok2vec": listener}}).add_label("X")
    return nlp


@pytest.mark.parametrize(
    ("nlp", "component"), [(pipeline(TOK2VEC), "ner"), (shared(), "vectors")], ids=["its own", "shared"]
)
def test_attributes_and_reach_come_from_the_config(nlp, component):
    view = model_view.read_view(nlp)
    assert (view.component, view.attrs, view.reach) == (component, ("LOWER", "SHAPE"), 6)
    assert "three vectors" in view.notes[0]


def test_the_window_is_as_wide_as_it_is_in_truth():
    """The vector of a token changes with tokens within reach, and with no other."""
    nlp = shared()
    nlp.initialize()
    reach = model_view.read_view(nlp).reach
    words = ["w"] * 30
    before = nlp(" ".join(words)).tensor[15]
    for distance in (reach, reach + 1):
        changed = list(words)
        changed[15 - distance] = "Other"
        same = np.allclose(before, nlp(" ".join(changed)).tensor[15], atol=1e-7)
        assert same == (distance > reach)


def test_other_architectures_of_spacy():
    cnn = {
        "@architectures": "spacy.HashEmbedCNN.v2",
        "width": 8,
        "depth": 4,
        "embed_size": 50,
        "window_size": 1,
        "maxout_pieces": 2,
        "subword_features": True,
        "pretrained_vectors": None,
    }
    view = model_view.read_view(pipeline(cnn))
    assert (view.attrs, view.reach) == (("NORM", "PREFIX", "SUFFIX", "SHAPE"), 4)
    characters = TOK2VEC | {
        "embed": {
            "@architectures": "spacy.CharacterEmbed.v2",
            "width": 8,
            "rows": 50,
            "nM": 4,
            "nC": 6,
            "include_static_vectors": False,
            "feature": "LOWER",
        }
    }
    view = model_view.read_view(pipeline(characters))
    assert view.attrs == ("LOWER",)
    assert "6 characters" in view.notes[0]


def test_of_what_is_not_understood_nothing_is_claimed():
    strange = {"@architectures": "own_layer", "width": 8}
    view = model_view._understood("ner", strange)
    assert (view.attrs, view.reach) == ((), None)
    assert "layers: own_layer" in view.notes[0]
    assert model_view.read_view(blank("en")).notes == [
        "The pipeline has no entity recogniser that is trained."
    ]


def test_a_case_holds_the_window_around_the_error_and_no_more():
    nlp = blank("en")
    text = "a b c d Velto Energy e f g h"
    gold = Record(text=text, spans=[Span(start=8, end=20, label="X")])
    answer = Record(text=text, spans=[Span(start=8, end=13, label="X")])
    train = [Record(text="Velto c", spans=[Span(start=0, end=5, label="X")])]
    view = View("t", ("LOWER", "SHAPE"), 2)
    seen = model_view.count_values((nlp.make_doc(r.text) for r in train), view.attrs)
    (case,) = model_view.cases(nlp, view, [gold], [answer], seen, train)
    assert (case.error.kind, case.start, case.tokens, case.known) == ("boundary", 2, 10, 0)
    assert [here for here, _ in case.columns] == [False, False, True, True, False, False]
    assert [(v[0].value, v[0].count) for _, v in case.columns] == [
        ("c", 1),
        ("d", 0),
        ("velto", 1),
        ("energy", 0),
        ("e", 0),
        ("f", 0),
    ]
    whole = model_view.cases(nlp, View("t", ("LOWER",), None), [gold], [answer], seen, train)
    assert len(whole[0].columns) == 10


def test_numbers_are_attributes_too():
    doc = blank("en").make_doc("Velto 5")
    assert model_view.attributes(doc, ["LENGTH", "ORTH", "IS_DIGIT"]) == [
        ["5", "Velto", "0"],
        ["1", "5", "1"],
    ]


def test_the_demo_config_is_understood():
    config = spacy.util.load_config(Path(__file__).parents[3] / "configs" / "efficient.cfg")
    import ie.training.loop  # noqa: F401

    nlp = spacy.util.load_model_from_config(config, auto_fill=True)
    view = model_view.read_view(nlp)
    assert (view.component, view.attrs, view.reach) == ("tok2vec", ("NORM", "PREFIX", "SUFFIX", "SHAPE"), 3)

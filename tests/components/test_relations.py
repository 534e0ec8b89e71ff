"""The relations component: what it learns, what it keeps, and texts with nothing to relate."""

import random
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import fix_random_seed
from thinc.api import Config

from components import relations
from components.relations import DEFAULT_MODEL, relation_keys, score_relations
from ie.corpora import entities_doc, gold_doc
from ie.records import Record, Relation, Span, blank

SMALL = Config().from_str(DEFAULT_MODEL)["model"] | {"hidden_width": 16}
SMALL["tok2vec"]["embed"] |= {"width": 16, "rows": [200, 100, 100, 100]}
SMALL["tok2vec"]["encode"]["width"] = 16
NAMES = ("Velto", "Hooli", "Anker", "Globex", "Initech", "Umbra")


def record(template: str, related: list[tuple[int, int, str]], *names: str) -> Record:
    """A record whose entities stand for the {} of a template; those that begin with $ are MONEY."""
    text, spans = "", []
    pieces = template.split("{}")
    for piece, name in zip(pieces, [*names, None], strict=True):
        text += piece
        if name:
            label = "MONEY" if name[0] == "$" else "COMPANY"
            spans.append(Span(start=len(text), end=len(text) + len(name), label=label))
            text += name
    found = [Relation(head=h, child=c, label=label) for h, c, label in related]
    return Record(text=text, spans=spans, relations=found)


def corpus(n: int = 40) -> list[Record]:
    found = []
    for i in range(n):
        one, other = (NAMES[i % 6], NAMES[(i + 1 + i // 6) % 6])
        if one == other:
            other = "Soylent"
        money = f"${i + 1}m"
        found += [
            record("{} invests {} in {}.", [(0, 2, "INVESTOR"), (2, 1, "RAISED")], one, money, other),
            record("{} was funded by {}.", [(1, 0, "INVESTOR")], one, other),
            record("{} competes with {}.", [], one, other),
        ]
    return found


def examples(nlp: Language, records: list[Record]) -> list[Example]:
    return [Example(entities_doc(r, nlp), gold_doc(r, nlp)) for r in records]


def trained(records: list[Record], steps: int = 30, seed: int = 0, **settings: object) -> Language:
    fix_random_seed(seed)
    nlp = blank("en")
    nlp.add_pipe("relations", config={"model": SMALL, **settings})
    optimizer = nlp.initialize(lambda: examples(nlp, records))
    optimizer.learn_rate = 0.01
    order = random.Random(seed)
    for _ in range(steps):
        nlp.update(examples(nlp, order.sample(records, min(24, len(records)))), sgd=optimizer)
    return nlp


@pytest.fixture(scope="module")
def nlp() -> Language:
    return trained(corpus())


def found(nlp: Language, some: Record) -> list[tuple[int, int, str]]:
    doc = nlp(entities_doc(some, nlp))
    return sorted((r["head"], r["child"], r["label"]) for r in doc._.relations)


def test_learns_labels_directions_and_what_isnt_related(nlp: Language) -> None:
    unseen = record("{} invests {} in {}.", [], "Wayne", "$99m", "Stark")
    assert found(nlp, unseen) == [(0, 2, "INVESTOR"), (2, 1, "RAISED")]
    assert found(nlp, record("{} was funded by {}.", [], "Wayne", "Stark")) == [(1, 0, "INVESTOR")]
    assert found(nlp, record("{} competes with {}.", [], "Wayne", "Stark")) == []


def test_scores_are_probabilities_best_first(nlp: Language) -> None:
    doc = nlp(entities_doc(corpus()[0], nlp))
    scores = [relation["score"] for relation in doc._.relations]
    assert scores == sorted(scores, reverse=True)
    assert all(0.5 <= score <= 1 for score in scores)


def test_labels_and_types_come_from_the_data(nlp: Language) -> None:
    component = nlp.get_pipe("relations")
    assert component.labels == ("INVESTOR", "RAISED")
    assert component.cfg["types"] == {"INVESTOR": [["COMPANY", "COMPANY"]], "RAISED": [["COMPANY", "MONEY"]]}
    # money has no relation with anything as a head
    pairs = component.candidates(entities_doc(corpus()[0], nlp))
    assert pairs.tolist() == [[0, 1], [0, 2], [2, 0], [2, 1]]


def test_types_of_the_config_go_before_the_datas(nlp: Language) -> None:
    other = trained(corpus(6), steps=1, types={"RAISED": [["MONEY", "COMPANY"]]})
    assert other.get_pipe("relations").cfg["types"]["RAISED"] == [["MONEY", "COMPANY"]]
    doc = other(entities_doc(corpus()[0], other))
    other.get_pipe("relations").threshold = 0.0
    doc = other(entities_doc(corpus()[0], other))
    assert {r["head"] for r in doc._.relations if r["label"] == "RAISED"} == {1}


def test_an_end_that_is_single_in_the_data_is_kept_once(nlp: Language) -> None:
    component = nlp.get_pipe("relations")
    assert component.cfg["single"] == {"INVESTOR": ["head", "child"], "RAISED": ["head", "child"]}
    doc = entities_doc(record("{} invests in {} and {}.", [], "Velto", "Hooli", "Anker"), nlp)
    n = len(component.candidates(doc))
    scores = np.linspace(0.9, 0.8, n * len(component.labels), dtype="f").reshape(n, -1)
    component.set_annotations([doc], scores)
    heads = [r["head"] for r in doc._.relations if r["label"] == "INVESTOR"]
    children = [r["child"] for r in doc._.relations if r["label"] == "INVESTOR"]
    assert len(set(heads)) == len(heads)
    assert len(set(children)) == len(children)
    # the likeliest of all is among them
    assert (doc._.relations[0]["head"], doc._.relations[0]["child"]) == tuple(component.candidates(doc)[0])


def test_single_ends_of_the_config_go_before_the_datas() -> None:
    found = trained(corpus(5), steps=1, single={"INVESTOR": []}).get_pipe("relations")
    assert found.cfg["single"] == {"INVESTOR": [], "RAISED": ["head", "child"]}
    found = trained(corpus(5), steps=1, single_share=1.1).get_pipe("relations")
    assert found.cfg["single"] == {"INVESTOR": [], "RAISED": []}


def test_an_end_with_several_relations_is_not_single() -> None:
    more = [
        record("{} and {} invest in {}.", [(0, 2, "INVESTOR"), (1, 2, "INVESTOR")], "A", "B", f"C{i}")
        for i in range(4)
    ]
    found = trained([*corpus(5), *more], steps=1).get_pipe("relations")
    assert found.cfg["single"]["INVESTOR"] == ["head"]


def test_max_distance_limits_the_candidates() -> None:
    near = trained(corpus(6), steps=1, max_distance=2)
    pairs = near.get_pipe("relations").candidates(entities_doc(corpus()[0], near))
    assert [0, 2] not in pairs.tolist()
    assert [0, 1] in pairs.tolist()


@pytest.mark.parametrize(
    "some",
    [
        Record(text="Nothing here."),
        Record(text="Velto sleeps", spans=[Span(start=0, end=5, label="COMPANY")]),
        Record(text="Rome", spans=[Span(start=0, end=4, label="CITY")]),
        Record(text="A to B", spans=[Span(start=0, end=1, label="X"), Span(start=5, end=6, label="X")]),
        Record(text="VeltoHooli", spans=[]),
    ],
)  # fmt: skip
def test_texts_without_a_candidate(nlp: Language, some: Record) -> None:
    assert found(nlp, some) == []
    related, lonely = corpus()[0], entities_doc(some, nlp)
    first, second = nlp.pipe([entities_doc(related, nlp), lonely])
    assert first._.relations
    assert second._.relations == []
    # it can be learnt from, too, alone or among others
    nlp.get_pipe("relations").update(examples(nlp, [some]))
    nlp.get_pipe("relations").update(examples(nlp, [some, related]))


def test_an_empty_doc(nlp: Language) -> None:
    assert nlp.get_pipe("relations")(Doc(nlp.vocab))._.relations == []


def test_entities_beside_each_other_and_at_the_edges(nlp: Language) -> None:
    assert isinstance(found(nlp, record("{} {}", [], "Velto", "Hooli")), list)


def test_batches_change_nothing(nlp: Language) -> None:
    some = corpus(8)
    alone = [relation_rows(nlp(entities_doc(r, nlp))) for r in some]
    for size in (1, 5, 100):
        together = nlp.pipe((entities_doc(r, nlp) for r in some), batch_size=size)
        for one, other in zip(alone, map(relation_rows, together), strict=True):
            assert one.keys() == other.keys()
            assert all(abs(one[key] - other[key]) < 1e-3 for key in one)


def relation_rows(doc: Doc) -> dict[tuple, float]:
    return {(r["head"], r["child"], r["label"]): r["score"] for r in doc._.relations}


def test_portions_change_nothing(nlp: Language, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = nlp.get_pipe("relations")
    docs = [entities_doc(r, nlp) for r in corpus(8)]
    whole = pipe.predict(docs)
    monkeypatch.setattr(relations, "HELD", 10)
    batch = [(doc, pipe.candidates(doc)) for doc in docs]
    assert len(list(relations.portions(batch))) > len(docs)
    assert np.allclose(pipe.predict(docs), whole, atol=1e-5)


def test_the_seed_decides_the_weights() -> None:
    one, same, other = (
        trained(corpus(6), steps=3, seed=seed).get_pipe("relations").model.to_bytes() for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_what_is_saved_says_the_same(nlp: Language, tmp_path: Path) -> None:
    nlp.get_pipe("relations").threshold = 0.35
    nlp.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model")
    copied = blank("en")
    copied.add_pipe("relations", config={"model": SMALL})
    copied.from_bytes(nlp.to_bytes())
    for other in (loaded, copied):
        assert other.get_pipe("relations").threshold == pytest.approx(0.35)
        for some in corpus(6):
            right, answer = (relation_rows(n(entities_doc(some, n))) for n in (nlp, other))
            assert right == answer
    nlp.get_pipe("relations").threshold = 0.5


def test_gradient_is_that_of_the_loss(nlp: Language) -> None:
    component, batch = nlp.get_pipe("relations"), examples(nlp, corpus(1))
    rows = sum(len(component.candidates(eg.predicted)) for eg in batch)
    scores = np.random.default_rng(0).normal(size=(rows, 4)).astype("f")
    _, gradient = component.get_loss(batch, scores)
    moved = scores.copy()
    moved[0, 1] += 1e-2
    moved_back = scores.copy()
    moved_back[0, 1] -= 1e-2
    slope = (component.get_loss(batch, moved)[0] - component.get_loss(batch, moved_back)[0]) / 2e-2
    assert slope / len(batch) == pytest.approx(float(gradient[0, 1]), abs=1e-3)


def test_every_layer_learns() -> None:
    nlp = trained(corpus(6), steps=0)
    component = nlp.get_pipe("relations")
    nodes = [node for node in component.model.walk() if node.param_names]
    before = [{name: node.get_param(name).copy() for name in node.param_names} for node in nodes]
    nlp.update(examples(nlp, corpus(6)), sgd=nlp.create_optimizer())
    for node, old in zip(nodes, before, strict=True):
        # that of the n-grams is fitted before the first step
        assert (node.name == "ngrams") != any(
            (node.get_param(name) != value).any() for name, value in old.items()
        ), node.name


def test_a_listener_shares_token_vectors() -> None:
    fix_random_seed(0)
    nlp = blank("en")
    shared = {"@architectures": "spacy.HashEmbedCNN.v2", "width": 16, "depth": 1, "embed_size": 100}
    shared |= {"window_size": 1, "maxout_pieces": 2, "subword_features": True, "pretrained_vectors": None}
    nlp.add_pipe("tok2vec", config={"model": shared})
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 16}
    nlp.add_pipe("relations", config={"model": SMALL | {"tok2vec": listener}})
    optimizer = nlp.initialize(lambda: examples(nlp, corpus(6)))
    optimizer.learn_rate = 0.01
    before = nlp.get_pipe("tok2vec").model.to_bytes()
    losses = [nlp.update(examples(nlp, corpus(6)), sgd=optimizer)["relations"] for _ in range(25)]
    assert losses[-1] < losses[0] / 2
    assert nlp.get_pipe("tok2vec").model.to_bytes() != before
    assert found(nlp, record("{} was funded by {}.", [], "Velto", "Hooli")) == [(1, 0, "INVESTOR")]
    nlp.update(examples(nlp, [Record(text="Nothing here.")]), sgd=optimizer)


def test_predicted_entities_that_are_wrong_teach_no_relation(nlp: Language) -> None:
    right = corpus()[0]
    wrong = right.model_copy(update={"spans": [*right.spans[:2], Span(start=0, end=5, label="MONEY")][:2]})
    example = Example(entities_doc(wrong, nlp), gold_doc(right, nlp))
    pairs = nlp.get_pipe("relations").candidates(example.predicted)
    truth = nlp.get_pipe("relations")._truth([example], [(example.predicted, pairs)])
    assert truth.sum() == 0


def test_score_counts_exact_relations(nlp: Language) -> None:
    right = record("{} invests {} in {}.", [(0, 2, "INVESTOR"), (2, 1, "RAISED")], "Velto", "$1m", "Hooli")
    said = right.model_copy(
        update={"relations": [right.relations[0], Relation(head=0, child=1, label="RAISED")]}
    )
    scores = score_relations([Example(gold_doc(said, nlp), gold_doc(right, nlp))])
    assert (scores["relations_p"], scores["relations_r"], scores["relations_f"]) == (0.5, 0.5, 0.5)
    assert scores["relations_per_type"]["INVESTOR"]["f"] == 1.0
    assert scores["relations_per_type"]["RAISED"]["f"] == 0.0
    nothing = Record(text="Nothing here.")
    assert score_relations([Example(gold_doc(nothing, nlp), gold_doc(nothing, nlp))])["relations_f"] is None


def test_keys_name_the_ends_by_offsets(nlp: Language) -> None:
    some = record("{} was funded by {}.", [(1, 0, "INVESTOR")], "Velto", "Hooli")
    assert list(relation_keys(gold_doc(some, nlp))) == [((20, 25, "COMPANY"), (0, 5, "COMPANY"), "INVESTOR")]


@pytest.mark.parametrize(
    ("settings", "fault"),
    [({"threshold": 1.5}, "threshold = 1.5"), ({"max_distance": -1}, "max_distance = -1")],
)
def test_settings_out_of_range(settings: dict, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        blank("en").add_pipe("relations", config=settings)


def test_no_relation_to_learn_from() -> None:
    with pytest.raises(ValueError, match="no example has a relation"):
        trained([Record(text="Nothing here.")], steps=0)


def test_a_label_cant_be_added_afterwards(nlp: Language) -> None:
    assert nlp.get_pipe("relations").add_label("RAISED") == 0
    with pytest.raises(ValueError, match="can't be added"):
        nlp.get_pipe("relations").add_label("OWNS")


def test_it_needs_nothing_of_the_project() -> None:
    source = Path(relations.__file__).read_text(encoding="utf-8")
    assert "from ie" not in source
    assert "import ie" not in source


def test_the_share_of_the_ngrams_weighs_both_heads(nlp: Language) -> None:
    component, doc = nlp.get_pipe("relations"), entities_doc(corpus()[0], nlp)
    shares = component.model.attrs["shares"]
    assert shares == pytest.approx([0.2, 0.8])
    neural, linear, both = [], [], []
    try:
        for weights, kept in (([1.0, 0.0], neural), ([0.0, 1.0], linear), ([0.3, 0.7], both)):
            component.model.attrs["shares"] = weights
            scores = component.predict([doc])
            kept.extend(np.log(scores[1, :1] / (1 - scores[1, :1])))
    finally:
        component.model.attrs["shares"] = shares
    assert both[0] == pytest.approx(0.3 * neural[0] + 0.7 * linear[0], rel=1e-2)


def test_it_works_without_ngrams() -> None:
    fix_random_seed(0)
    nlp = blank("en")
    nlp.add_pipe("relations", config={"model": SMALL | {"ngram_texts": 0}})
    optimizer = nlp.initialize(lambda: examples(nlp, corpus(6)))
    losses = [nlp.update(examples(nlp, corpus(6)), sgd=optimizer)["relations"] for _ in range(10)]
    assert losses[-1] < losses[0]
    assert isinstance(found(nlp, corpus()[0]), list)

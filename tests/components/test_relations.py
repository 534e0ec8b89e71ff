"""The relations component: what it learns, what it keeps, and texts with nothing to relate."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.strings import hash_string
from spacy.tokens import Doc
from spacy.tokens import Span as Entity
from spacy.training import Example
from spacy.vocab import Vocab

from components import relations
from components.relations import NEVER, Layout, TextScores, ngrams, relation_keys, score_relations
from ie.data.docs import entities_doc, to_doc
from ie.data.records import Record, Relation, Span, blank

VOCAB = blank("en").vocab
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
    return [Example(entities_doc(r, nlp), to_doc(r, nlp)) for r in records]


def trained(records: list[Record], **settings: object) -> Language:
    nlp = blank("en")
    nlp.add_pipe("relations", config=settings)
    nlp.initialize(lambda: examples(nlp, records))
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


def test_of_relations_as_likely_the_first_is_kept_whatever_the_last_bits(nlp: Language) -> None:
    """An end that is single goes to one of them; another processor has other last bits."""
    component = nlp.get_pipe("relations")
    doc = entities_doc(record("{}, {} and {} were funded.", [], "Wayne", "Stark", "Acme"), nlp)
    pairs = component.candidates(doc)
    column = component.labels.index("INVESTOR")
    near = np.float32(0.9), np.nextafter(np.float32(0.9), np.float32(1))
    kept = []
    for order in (near, near[::-1]):
        scores = np.zeros((len(pairs), len(component.labels)), dtype=np.float32)
        scores[:, column] = [order[i % 2] for i in range(len(pairs))]
        component.set_annotations([doc], scores)
        kept.append([(r["head"], r["child"]) for r in doc._.relations])
    assert kept[0] == kept[1]
    assert kept[0][0] == (0, 1)


def test_labels_and_types_come_from_the_data(nlp: Language) -> None:
    component = nlp.get_pipe("relations")
    assert component.labels == ("INVESTOR", "RAISED")
    assert component.cfg["types"] == {"INVESTOR": [["COMPANY", "COMPANY"]], "RAISED": [["COMPANY", "MONEY"]]}
    # money has no relation with anything as a head
    pairs = component.candidates(entities_doc(corpus()[0], nlp))
    assert pairs.tolist() == [[0, 1], [0, 2], [2, 0], [2, 1]]


def test_types_of_the_config_go_before_the_datas(nlp: Language) -> None:
    other = trained(corpus(6), types={"RAISED": [["MONEY", "COMPANY"]]})
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
    found = trained(corpus(5), single={"INVESTOR": []}).get_pipe("relations")
    assert found.cfg["single"] == {"INVESTOR": [], "RAISED": ["head", "child"]}
    found = trained(corpus(5), single_share=1.1).get_pipe("relations")
    assert found.cfg["single"] == {"INVESTOR": [], "RAISED": []}


def test_an_end_with_several_relations_is_not_single() -> None:
    more = [
        record("{} and {} invest in {}.", [(0, 2, "INVESTOR"), (1, 2, "INVESTOR")], "A", "B", f"C{i}")
        for i in range(4)
    ]
    found = trained([*corpus(5), *more]).get_pipe("relations")
    assert found.cfg["single"]["INVESTOR"] == ["head"]


def test_max_distance_limits_the_candidates() -> None:
    near = trained(corpus(6), max_distance=2)
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
    # it can be learnt from, too
    assert found(trained([*corpus(6), some]), related) == [(0, 2, "INVESTOR"), (2, 1, "RAISED")]


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


def test_training_again_gives_the_same_weights() -> None:
    one, same, other = (
        trained(some).to_bytes(exclude=["vocab"]) for some in (corpus(6), corpus(6), corpus(7))
    )
    assert one == same
    assert one != other


def test_what_is_saved_says_the_same(nlp: Language, tmp_path: Path) -> None:
    nlp.get_pipe("relations").threshold = 0.35
    nlp.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model")
    copied = blank("en")
    copied.add_pipe("relations")
    copied.from_bytes(nlp.to_bytes())
    for other in (loaded, copied):
        assert other.get_pipe("relations").threshold == pytest.approx(0.35)
        for some in corpus(6):
            right, answer = (relation_rows(n(entities_doc(some, n))) for n in (nlp, other))
            assert right == answer
    nlp.get_pipe("relations").threshold = 0.5


def test_predicted_entities_that_are_wrong_teach_no_relation(nlp: Language) -> None:
    right = corpus()[0]
    wrong = right.model_copy(update={"spans": [*right.spans[:2], Span(start=0, end=5, label="MONEY")][:2]})
    example = Example(entities_doc(wrong, nlp), to_doc(right, nlp))
    pairs = nlp.get_pipe("relations").candidates(example.predicted)
    truth = nlp.get_pipe("relations")._truth([example], [(example.predicted, pairs)])
    assert truth.sum() == 0


def test_score_counts_exact_relations(nlp: Language) -> None:
    right = record("{} invests {} in {}.", [(0, 2, "INVESTOR"), (2, 1, "RAISED")], "Velto", "$1m", "Hooli")
    said = right.model_copy(
        update={"relations": [right.relations[0], Relation(head=0, child=1, label="RAISED")]}
    )
    scores = score_relations([Example(to_doc(said, nlp), to_doc(right, nlp))])
    assert (scores["relations_p"], scores["relations_r"], scores["relations_f"]) == (0.5, 0.5, 0.5)
    assert scores["relations_per_type"]["INVESTOR"]["f"] == 1.0
    assert scores["relations_per_type"]["RAISED"]["f"] == 0.0
    nothing = Record(text="Nothing here.")
    assert score_relations([Example(to_doc(nothing, nlp), to_doc(nothing, nlp))])["relations_f"] is None


def test_keys_name_the_ends_by_offsets(nlp: Language) -> None:
    some = record("{} was funded by {}.", [(1, 0, "INVESTOR")], "Velto", "Hooli")
    assert list(relation_keys(to_doc(some, nlp))) == [((20, 25, "COMPANY"), (0, 5, "COMPANY"), "INVESTOR")]


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"threshold": 1.5}, "threshold = 1.5"),
        ({"max_distance": -1}, "max_distance = -1"),
        ({"folds": 1}, "folds = 1 must be at least 2"),
        ({"single": {"RAISED": ["tail"]}}, "single = 'tail' is neither head nor child"),
    ],
)
def test_settings_out_of_range(settings: dict, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        blank("en").add_pipe("relations", config=settings)


def test_no_relation_to_learn_from() -> None:
    with pytest.raises(ValueError, match="no example has a relation"):
        trained([Record(text="Nothing here.")])


def test_it_needs_nothing_of_the_project() -> None:
    source = Path(relations.__file__).read_text(encoding="utf-8")
    assert "from ie" not in source
    assert "import ie" not in source


def random_doc(seed: int, vocab: Vocab) -> Doc:
    """A text of up to 14 tokens, many of them of entities that may touch each other and its edges."""
    draw = random.Random(seed)
    words = draw.choices(
        ["raised", "raised", "in", "Velto", "7", "seven", ",", ".", "IN"], k=draw.randint(1, 14)
    )
    doc = Doc(vocab, words=words)
    at, ents = 0, []
    while at < len(doc):
        end = min(len(doc), at + draw.choice([1, 1, 2, 3]))
        if draw.random() < 0.6:
            ents.append(Entity(doc, at, end, label=draw.choice(["COMPANY", "COMPANY", "MONEY"])))
        at = end
    doc.ents = ents
    return doc


def random_batch(seed: int, vocab: Vocab) -> list[tuple[Doc, np.ndarray]]:
    """Texts with all pairs of their entities, among them one that is empty and one without a pair."""
    docs = [random_doc(100 * seed + i, vocab) for i in range(6)]
    docs[2:2] = [Doc(vocab), Doc(vocab, words=["nothing"])]
    pairs = [[(i, j) for i in range(len(d.ents)) for j in range(len(d.ents)) if i != j] for d in docs]
    return [(d, np.array(p, dtype="i").reshape(-1, 2)) for d, p in zip(docs, pairs, strict=True)]


def plain_grams(words: list[int], n: int, salt: str) -> set[int]:
    found = set()
    for i in range(len(words) - n + 1):
        value = hash_string(salt)
        for word in words[i : i + n]:
            value = ((value ^ word) * int(relations.MIX)) % 2**64
            value ^= value >> 29
        found.add(value)
    return found


def plain_ngrams(doc: Doc, head: int, child: int) -> set[int]:
    """What `ngrams` says of a pair, one word after the other."""
    ents, row, outline, place, sentence_of_word, at = doc.ents, [], [], {}, [], 0
    starts = {ent.start: number for number, ent in enumerate(ents)}
    sentences = np.cumsum([0, *(token.text in relations.SENTENCE_ENDS for token in doc)])
    while at < len(doc):
        number = starts.get(at)
        sentence_of_word.append(sentences[at])
        if number is None:
            row.append(hash_string("#") if doc[at].like_num else doc[at].lower)
            if doc[at].is_punct:
                outline.append((row[-1], None))
            at += 1
        else:
            role = {head: "head", child: "child"}.get(number, "other")
            place[number] = len(row)
            row.append(hash_string(f"<{role} {ents[number].label_}>"))
            outline.append((row[-1], number))
            at = ents[number].end
    first, second = sorted((place[head], place[child]))
    order = "forward" if head < child else "back"
    found = set()
    for n in (1, 2, 3):
        found |= plain_grams(row, n, "text")
        found |= plain_grams(row[first : second + 1], n, f"{order} between")
        found |= plain_grams(row[max(0, first - 4) : first + 1], n, f"{order} before")
        found |= plain_grams(row[second : second + 5], n, f"{order} behind")
    at, end = (outline.index((row[place[number]], number)) for number in sorted((head, child)))
    for n in (3, 4, 5):
        found |= plain_grams([word for word, _ in outline[max(0, at - 4) : end + 5]], n, "outline")
    for role, number in (("head", head), ("child", child)):
        at = place[number]
        for n in (1, 2):
            found |= plain_grams(row[max(0, at - 6) : at], n, f"{role} left")
            found |= plain_grams(row[at + 1 : at + 7], n, f"{role} right")
        inside = [token.lower for token in ents[number]]
        found |= plain_grams(inside, 1, role) | plain_grams(inside[-1:], 1, f"{role} last")
        own = sentences[ents[number].start]
        near = [word for word, of in zip(row, sentence_of_word, strict=True) if of == own]
        found |= plain_grams(near, 1, f"{role} sentence")
        words = [f" {token.lower_} " for token in ents[number]]
        name = [hash_string(w[i : i + n]) for w in words for n in (3, 4, 5) for i in range(len(w) - n + 1)]
        found |= plain_grams(name, 1, f"{role} name")
    labels = [ent.label_ for ent in ents]
    pair = f"{labels[head]} {order} {labels[child]}"
    between = labels[min(head, child) + 1 : max(head, child)]
    bucket = sum(second - first > limit for limit in (0, 1, 2, 3, 5, 8, 12, 18, 27, 40))
    ranks = [min(4, labels[:i].count(labels[i])) for i in (head, child)]
    known = ["", f" distance {bucket}", f" inside {' '.join(between[:4])}"]
    known += [f" ranks {ranks} of {[min(4, labels.count(labels[i])) for i in (head, child)]}"]
    return found | {hash_string(pair + what) for what in [*known, f" number {min(4, len(ents))}"]}


@pytest.mark.parametrize("seed", range(40))
def test_ngrams_of_a_batch_are_those_of_each_pair(seed: int) -> None:
    batch = random_batch(seed, VOCAB)
    found, owner = ngrams(Layout(batch))
    rows = [(doc, *pair) for doc, pairs in batch for pair in pairs.tolist()]
    assert owner.max(initial=-1) == len(rows) - 1
    for number, row in enumerate(rows):
        assert set(found[owner == number].tolist()) == plain_ngrams(*row)


def test_scores_of_a_text_are_the_same_in_any_batch(nlp: Language) -> None:
    pipe = nlp.get_pipe("relations")
    docs = [doc for seed in range(5) for doc, _ in random_batch(seed, nlp.vocab)]
    alone = [pipe.predict([doc]) for doc in docs]
    assert sum(map(len, alone)) > 20
    assert np.allclose(pipe.predict(docs), np.concatenate(alone), atol=1e-5)
    assert np.allclose(pipe.predict(docs[::-1]), np.concatenate(alone[::-1]), atol=1e-5)


def test_truth_is_that_of_each_pair(nlp: Language) -> None:
    batch = examples(nlp, corpus(8))
    pipe = nlp.get_pipe("relations")
    pairs = [(eg.predicted, pipe.candidates(eg.predicted)) for eg in batch]
    plain = [
        [(keys[head], keys[child], label) in set(relation_keys(eg.reference)) for label in pipe.labels]
        for eg, (doc, some) in zip(batch, pairs, strict=True)
        for keys in [[relations.entity_key(ent) for ent in doc.ents]]
        for head, child in some
    ]
    assert np.array(plain).any()
    assert (pipe._truth(batch, pairs) == np.array(plain)).all()


def plain_features(
    scores: dict[tuple[int, int, int], float],
    of_text: list[float],
    labels: list[str],
    pair: tuple,
    label: int,
) -> list:
    """What `TextScores` says of a pair in one text: scores by (head, child, label); of the text by label."""
    head, child = pair
    own = scores[head, child, label]

    def best(fits: Callable[[int, int], bool], of: int) -> float:
        rest = [
            score
            for (h, c, name), score in scores.items()
            if name == of and fits(h, c) and (h, c, name) != (head, child, label)
        ]
        return max(rest, default=NEVER)

    count = len({name for _, _, name in scores})
    parts: list[Callable[[int, int], bool]] = [
        lambda h, c: h == head,
        lambda h, c: c == child,
        lambda h, c: True,
        lambda h, c: (h, c) == (head, child),
        lambda h, c: c == head,
        lambda h, c: h == child,
        lambda h, c: (h, c) == (child, head),
    ]
    values = [own, *(best(fits, of) for fits in parts for of in range(count)), *of_text]
    values += [own - best(fits, label) for fits in parts[:2]]
    squashed = [
        *np.tanh(np.array(values) / 4),
        min(8, len(labels)) / 4,
        min(8, labels.count(labels[child])) / 4,
    ]
    return [own / 4, *squashed, *(squashed[0] * value for value in squashed)]


@pytest.mark.parametrize("seed", range(10))
def test_features_of_a_pair_are_the_scores_of_the_other_pairs(seed: int) -> None:
    batch = random_batch(seed, VOCAB)
    laid = Layout(batch)
    draw = np.random.default_rng(seed)
    scores, of_texts = (draw.integers(-5, 5, (n, 2)).astype(float) for n in (len(laid.text), len(batch)))
    texts, rows = TextScores(laid, scores, of_texts), np.arange(len(scores))
    for label in range(2):
        features, at = texts.features(label, rows), 0
        for (doc, pairs), of_text in zip(batch, of_texts.tolist(), strict=True):
            pairs = [tuple(pair) for pair in pairs.tolist()]
            of_pairs = {
                (*pair, name): scores[at + i, name] for i, pair in enumerate(pairs) for name in range(2)
            }
            names = [ent.label_ for ent in doc.ents]
            for i, pair in enumerate(pairs):
                assert np.allclose(features[at + i], plain_features(of_pairs, of_text, names, pair, label))
            at += len(pairs)


def test_a_pair_is_judged_by_the_other_pairs_of_its_text(nlp: Language) -> None:
    """The same words between two companies mean less where others of the text are surer."""
    component, doc = nlp.get_pipe("relations"), entities_doc(corpus()[0], nlp)
    laid = Layout([(doc, pairs := component.candidates(doc))])
    fits = component._fits([(doc, pairs)])
    scores = np.where(fits, relations.ngram_scores(laid, component.arrays), NEVER)
    of_text = relations.text_scores(laid, component.arrays)
    column, row = component.labels.index("INVESTOR"), pairs.tolist().index([0, 2])
    before = TextScores(laid, scores, of_text).features(column, np.array([row]))
    scores[pairs.tolist().index([2, 0]), column] += 3
    after = TextScores(laid, scores, of_text).features(column, np.array([row]))
    weights = component.arrays["joint"][:, column]
    assert (after @ weights).item() < (before @ weights).item()


def test_the_n_grams_of_a_text_mask_its_entities() -> None:
    def grams(text: str, start: int, end: int, label: str) -> set[int]:
        doc = Doc(VOCAB, words=text.split())
        doc.ents = [Entity(doc, start, end, label=label)]
        of_other = Doc(VOCAB, words=["other"])
        none = np.zeros((0, 2), dtype=int)
        found, owner = relations.text_ngrams(Layout([(of_other, none), (doc, none)]))
        assert set(owner) == {0, 1}
        return set(found[owner == 1].tolist())

    one = grams("Acme buys a rival", 0, 1, "COMPANY")
    assert one == grams("Hooli Corp buys a rival", 0, 2, "COMPANY")
    assert one != grams("Acme buys a rival", 0, 1, "PERSON")
    assert set(relations.character_ngrams("buys")) <= one


def test_a_pair_is_judged_by_its_whole_text() -> None:
    """The same words around a pair are a relation in some texts only; a word far from it says in which."""
    far = ", and, as people here say, nothing else of note happened for quite a long time. It was a "
    some = [
        record("{} backs {}" + far + topic, related, NAMES[i % 6], NAMES[(i + 1) % 6])
        for i in range(40)
        for topic, related in (("funding.", [(0, 1, "INVESTOR")]), ("takeover.", []))
    ]
    nlp = trained(some)
    for topic, right in (("funding.", [(0, 1, "INVESTOR")]), ("takeover.", [])):
        assert found(nlp, record("{} backs {}" + far + topic, [], "Wayne", "Stark")) == right
    docs = [entities_doc(one, nlp) for one in some]
    component = nlp.get_pipe("relations")
    scores = relations.text_scores(
        Layout([(doc, component.candidates(doc)) for doc in docs]), component.arrays
    )
    assert (scores[::2] > 0).all()
    assert (scores[1::2] < 0).all()


def test_weights_of_an_earlier_version_are_refused(nlp: Language) -> None:
    component = trained(corpus(2)).get_pipe("relations")
    for name in ("text_keys", "text_weights", "text_bias"):
        del component.arrays[name]
    with pytest.raises(ValueError, match="earlier version; run `weasel run train-components`"):
        relations.Relations(nlp.vocab, "relations", component.cfg, None).from_bytes(component.to_bytes())


def test_a_text_with_other_entities_is_no_other_text() -> None:
    """n-grams must be in several texts; gold and predicted entities of one text don't make two of it."""
    once = corpus(5)
    twice = [*once, *once]
    one, other = (trained(some, ngram_texts=2).get_pipe("relations") for some in (once, twice))
    assert one.arrays["keys"].tolist() == other.arrays["keys"].tolist()


def test_one_text_is_enough_to_train() -> None:
    """All texts are in one fold then, so the last regression has nothing to learn from."""
    assert isinstance(found(trained(corpus(1)[:1], ngram_texts=1), corpus()[0]), list)

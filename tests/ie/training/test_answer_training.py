"""How sure a pipeline is of links, amounts, relations and rows: learned, calibrated, refused, stored."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Span as Entity
from spacy.training import Example

from components.answer_confidence import ANSWERS, FEATURES, AnswerConfidence
from ie.data.docs import pipeline_record, to_doc
from ie.data.records import Record, Relation, Span
from ie.deploy import wheels
from ie.evaluation.confidence import Answer
from ie.training import answer_training

NAMES = [a + b for a in ("Vel", "Hoo", "Ank", "Tor", "Bex", "Lun") for b in ("to", "li", "er", "ma", "sy")]
SURE, MAYBE = "{} backs {}.", "{} may back {} one day."
# The link of each name; the linker of the tests gets those with an "o" wrong.
RIGHT = {name: name.lower() for name in NAMES}


@Language.component("half_wrong_linker")
def half_wrong_linker(doc):
    doc.ents = [
        Entity(doc, ent.start, ent.end, label=ent.label, kb_id="?" if "o" in ent.text else RIGHT[ent.text])
        for ent in doc.ents
    ]
    for ent in doc.ents:
        ent._.link_score = 0.5 if "o" in ent.text else 0.9
    return doc


def gold(n: int, seed: int, certain: float = 0.5, maybe: float = 0.6) -> list[Record]:
    """Deals of two companies; of those that may come, a share did."""
    draw, records = random.Random(seed), []
    for _ in range(n):
        sure, (head, child) = draw.random() < certain, draw.sample(NAMES, 2)
        text = (SURE if sure else MAYBE).format(head, child)
        spans = [
            Span(start=text.index(name), end=text.index(name) + len(name), label="COMPANY", kb_id=RIGHT[name])
            for name in (head, child)
        ]
        held = sure or draw.random() < maybe
        relations = [Relation(head=0, child=1, label="INVESTOR")] if held else []
        records.append(Record(text=text, spans=spans, relations=relations))
    return records


def pipeline(linker: bool = False) -> Language:
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "COMPANY", "pattern": name} for name in NAMES])
    nlp.add_pipe("confidence")
    component = nlp.add_pipe("relations", config={"threshold": 0.3, "ngram_texts": 1})
    examples = [Example(nlp.make_doc(record.text), to_doc(record, nlp)) for record in gold(120, 0)]
    component.initialize(lambda: examples, nlp=nlp)
    if linker:
        nlp.add_pipe("half_wrong_linker", name="linker", after="relations")
    return nlp


def fitted(nlp: Language, dev: list[Record], folder: Path) -> AnswerConfidence | None:
    nlp.to_disk(folder / "model-best")
    entities = [vars(Answer(number, "COMPANY", 0.9, True)) for number, _ in enumerate(dev) for _ in range(2)]
    (folder / "confidence.json").write_text(json.dumps({"dev": entities}))
    return answer_training.add_answer_confidence(
        nlp, gold(120, 0), dev, model=folder / "model-best", folder=folder
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answers")
    fitted(pipeline(), gold(100, 1), folder)
    return folder


def relation(nlp: Language, text: str) -> dict:
    (only,) = nlp(text)._.relations
    return only


def test_a_relation_has_the_probability_that_it_is_right(folder: Path) -> None:
    nlp = spacy.load(folder / "model-best")
    sure, maybe = (relation(nlp, text.format("Velto", "Hooli")) for text in (SURE, MAYBE))
    assert maybe["confidence"] == pytest.approx(0.6, abs=0.12)
    assert sure["confidence"] > 0.9
    assert sure["row_confidence"] > maybe["row_confidence"]
    (record,) = pipeline_record(nlp(SURE.format("Velto", "Hooli"))).relations
    assert record.confidence == sure["confidence"]
    assert nlp("")._.relations == []


def test_it_holds_on_other_texts(folder: Path) -> None:
    nlp, texts = spacy.load(folder / "model-best"), gold(300, 5)
    sure = [doc._.relations[0]["row_confidence"] for doc in nlp.pipe(record.text for record in texts)]
    assert np.mean(sure) == pytest.approx(np.mean([bool(record.relations) for record in texts]), abs=0.06)


def test_dev_and_train_give_rows_that_were_not_learned_from(folder: Path) -> None:
    content = json.loads((folder / "confidence.json").read_text())["rows"]
    rows = [Answer(**row) for row in content["answers"]]
    # dev has 100 texts, and train 120, with a relation each that the pipelines may find
    assert {row.text for row in rows if row.text < 100} == set(range(100))
    assert len({row.text for row in rows if row.text >= 100}) > 100
    assert content["not_calibrated"] == {}
    right, wrong = ([row.confidence for row in rows if row.right == wanted] for wanted in (True, False))
    assert np.mean(right) > np.mean(wrong) + 0.1


def test_it_ships_with_the_package_and_is_stored_whole(folder: Path) -> None:
    nlp = spacy.load(folder / "model-best")
    assert nlp.pipe_names[-1] == "answer_confidence"
    assert nlp.meta["labels"]["answer_confidence"] == ["relation INVESTOR", "row INVESTOR"]
    assert "components.answer_confidence" in {
        module.__name__ for module in wheels.own_modules(folder / "model-best")
    }
    component = nlp.get_pipe("answer_confidence")
    copy = AnswerConfidence(nlp.vocab, "copy").from_bytes(component.to_bytes())
    assert copy.cfg == component.cfg
    assert sum(path.stat().st_size for path in (folder / "model-best/answer_confidence").iterdir()) < 1e5


def test_a_wrong_link_makes_link_and_row_unsure(tmp_path: Path) -> None:
    nlp = pipeline(linker=True)
    component = fitted(nlp, gold(150, 1), tmp_path)
    assert component is not None
    wrong, right = nlp(SURE.format("Velto", "Anker")).ents
    assert right._.link_confidence > 0.8 > 0.2 > wrong._.link_confidence
    assert relation(nlp, SURE.format("Velto", "Anker"))["row_confidence"] < 0.2
    assert relation(nlp, SURE.format("Bexma", "Anker"))["row_confidence"] > 0.8
    spans = pipeline_record(nlp(SURE.format("Velto", "Anker"))).spans
    assert [span.link_confidence for span in spans] == [wrong._.link_confidence, right._.link_confidence]


@pytest.mark.parametrize(
    ("dev", "certain", "maybe", "reason"),
    [
        (20, 0.5, 0.6, "the pipeline gives 20 answers on dev"),
        (5, 0.5, 0.6, "the pipeline gives 5 answers on dev"),
        (0, 0.5, 0.6, "the pipeline gives 0 answers on dev"),
        (40, 0.0, 0.5, "uncertain by more than 0.05"),
    ],
)
def test_without_enough_answers_on_dev_there_is_a_reason_and_no_number(
    dev: int, certain: float, maybe: float, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as for a pipeline that takes long to train
    monkeypatch.setattr(answer_training, "cross_fitted", lambda *_: [])
    nlp = pipeline()
    component = fitted(nlp, gold(dev, 1, certain, maybe), tmp_path)
    assert component is not None
    if dev:
        assert reason in component.reasons["relation"]["INVESTOR"]
    assert component.labels == ()
    assert "confidence" not in relation(nlp, SURE.format("Velto", "Hooli"))
    (record,) = pipeline_record(nlp(SURE.format("Velto", "Hooli"))).relations
    assert not hasattr(record, "row_confidence")


def test_answers_that_are_all_right_or_all_wrong_are_not_calibrated() -> None:
    for right in (True, False):
        answers = answer_training.KindAnswers(
            np.arange(50), np.zeros(50, int), np.array(["A"] * 50, object), np.ones((50, 2)),
            np.full(50, right), np.ones(50, bool),
        )  # fmt: skip
        model, reasons, sure = answer_training.fit_kind(answers)
        assert model is None
        assert f"{0 if right else 50} of them wrong" in reasons["A"]
        assert np.isnan(sure).all()


def test_a_pipeline_of_entities_alone_gets_none(tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("confidence")
    assert fitted(nlp, gold(5, 1), tmp_path) is None
    without = pipeline()
    without.remove_pipe("confidence")
    assert fitted(without, gold(5, 1), tmp_path) is None
    assert "rows" not in json.loads((tmp_path / "confidence.json").read_text())


def test_a_recogniser_that_learns_slowly_is_not_trained_again() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("ner")
    assert answer_training.cross_fitted(nlp, gold(8, 0), gold(4, 1), lambda: pytest.fail("loaded")) == []


def test_features_are_those_of_the_list() -> None:
    doc = spacy.blank("en")("Velto got $5 from Hooli.")
    doc.ents = [
        Entity(doc, 0, 1, "COMPANY", kb_id="NIL"), Entity(doc, 2, 4, "MONEY"), Entity(doc, 5, 6, "COMPANY")
    ]  # fmt: skip
    doc._.relations = [{"head": 2, "child": 0, "label": "INVESTOR", "score": 0.9}]
    doc.ents[1]._.money = {"low": "5", "high": "5", "currency": "USD", "rule": "plain, written"}
    doc.ents[0]._.link_confidence = doc._.relations[0]["confidence"] = 0.5
    for kind, names in FEATURES.items():
        (answer,) = ANSWERS[kind](doc)
        assert len(answer.features) == len(names)
        assert np.isfinite(answer.features).all()
    # an amount without a number has no probability
    doc.ents[1]._.money = {"low": None, "high": None, "currency": "XXX", "rule": "vague, unknown"}
    assert ANSWERS["amount"](doc) == []

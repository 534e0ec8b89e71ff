"""How sure a pipeline is of its entities: learned, calibrated, refused where it can't be, stored whole."""

import json
from pathlib import Path

import numpy as np
import pytest
import spacy
from confidences import gold, name_pipeline, write_project
from spacy.language import Language

from components.confidence import SpanConfidence
from ie.data.docs import pipeline_record, to_doc
from ie.deploy import wheels
from ie.training import confidence_training

COMPANY, PERSON = "Shares of Velto fell on Monday.", "Mr. Velto said it was his."


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("confidence")
    add(write_project(folder))
    return folder


def add(model: Path) -> SpanConfidence | None:
    folder = model.parent
    return confidence_training.add_confidence(model, folder / "train.spacy", folder / "dev.spacy")


def confidences(nlp: Language, *texts: str) -> list[float | None]:
    return [doc.ents[0]._.confidence for doc in nlp.pipe(texts)]


def test_what_is_right_on_new_texts_gets_a_higher_probability(project: Path) -> None:
    company, person = confidences(spacy.load(project / "model-best"), COMPANY, PERSON)
    assert company is not None
    assert person is not None
    assert person < 0.5 < 0.8 < company


def test_a_name_in_a_batch_has_the_confidence_that_it_has_alone(project: Path) -> None:
    nlp = spacy.load(project / "model-best")
    texts = [COMPANY, PERSON, "Velto", f"{COMPANY} {PERSON}", "Velto Velto Velto", "nothing"]
    together = [[ent._.confidence for ent in doc.ents] for doc in nlp.pipe(texts)]
    assert together == [[ent._.confidence for ent in nlp(text).ents] for text in texts]
    assert nlp("").ents == ()


def test_it_is_calibrated_again_for_other_entities(project: Path, tmp_path: Path) -> None:
    nlp = spacy.load(project / "model-best")
    before = confidences(nlp, COMPANY, PERSON)
    ruler = nlp.get_pipe("entity_ruler")
    ruler.clear()
    # now every answer is right, and there is nothing to tell apart
    sold = [{"ORTH": "Shares"}, {"ORTH": "of"}]
    ruler.add_patterns([{"label": "COMPANY", "pattern": sold}])
    confidence_training.calibrate_again(nlp, project / "train.spacy", project / "dev.spacy", tmp_path)
    assert None not in before
    assert confidences(nlp, COMPANY) == [None]
    assert json.loads((tmp_path / "confidence.json").read_text())["not_calibrated"] == {
        "COMPANY": nlp.get_pipe("confidence").reasons["COMPANY"]
    }
    nlp.to_disk(tmp_path / "model")
    assert confidences(spacy.load(tmp_path / "model"), COMPANY) == [None]


def test_a_pipeline_without_confidence_stays_without(tmp_path: Path) -> None:
    nlp = name_pipeline()
    confidence_training.calibrate_again(nlp, tmp_path / "none.spacy", tmp_path / "none.spacy", tmp_path)
    assert nlp.pipe_names == ["entity_ruler"]


def test_the_probabilities_hold_on_other_texts(project: Path) -> None:

    nlp, texts = spacy.load(project / "model-best"), gold(300, 2)
    docs = list(nlp.pipe(record.text for record in texts))
    right = [bool(record.spans) for record in texts]
    assert np.mean([doc.ents[0]._.confidence for doc in docs]) == pytest.approx(np.mean(right), abs=0.06)


def test_the_rest_of_the_pipeline_stays_as_it_is(tmp_path: Path) -> None:
    model = write_project(tmp_path)
    before = {path.name: path.read_bytes() for path in model.rglob("*.jsonl")}
    component = add(model)
    assert component is not None
    assert component.labels == ("COMPANY",)
    assert {path.name: path.read_bytes() for path in model.rglob("*.jsonl")} == before
    nlp = spacy.load(model)
    assert nlp.pipe_names == ["entity_ruler", "confidence"]
    assert nlp.get_pipe("confidence").to_bytes() == component.to_bytes()
    assert nlp.meta["components"] == nlp.pipe_names
    assert [module.__name__ for module in wheels.own_modules(model)] == ["components.confidence"]
    assert sum(path.stat().st_size for path in (model / "confidence").iterdir()) < 1e6
    copy = name_pipeline()
    copy.add_pipe("confidence").from_bytes(component.to_bytes())
    assert confidences(copy, COMPANY, PERSON) == confidences(nlp, COMPANY, PERSON)


def test_the_same_texts_give_the_same_bytes(project: Path, tmp_path: Path) -> None:
    component = add(write_project(tmp_path))
    assert component is not None
    assert component.to_bytes() == spacy.load(project / "model-best").get_pipe("confidence").to_bytes()


def test_dev_answers_come_from_models_that_did_not_see_them(project: Path) -> None:
    content = json.loads((project / "confidence.json").read_text())
    assert content["dev_documents"] == 100
    assert content["not_calibrated"] == {}
    assert len(content["dev"]) == 100
    nlp = spacy.load(project / "model-best")
    final = confidences(nlp, *(record.text for record in gold(100, 1)))
    out_of_fold = [answer["confidence"] for answer in content["dev"]]
    assert out_of_fold != final
    assert np.corrcoef(out_of_fold, final)[0, 1] > 0.9


@pytest.mark.parametrize(
    ("dev", "people", "reason"),
    [
        (60, 0.0, "60 answers on dev, 0 of them wrong"),
        (60, 1.0, "60 answers on dev, 60 of them wrong"),
        (20, 0.3, "20 answers on dev"),
        (60, 0.3, "uncertain by more than 0.05; about"),
    ],
)
def test_without_enough_answers_there_is_a_reason_and_no_number(
    dev: int, people: float, reason: str, tmp_path: Path
) -> None:
    component = add(write_project(tmp_path, dev, people))
    assert component is not None
    assert component.labels == ()
    assert reason in component.reasons["COMPANY"]
    nlp = spacy.load(tmp_path / "model-best")
    assert confidences(nlp, COMPANY) == [None]
    assert not hasattr(pipeline_record(nlp(COMPANY)).spans[0], "confidence")
    answers = json.loads((tmp_path / "confidence.json").read_text())["dev"]
    assert {answer["confidence"] for answer in answers} == {None}


def test_a_label_with_few_answers_is_left_out_alone() -> None:
    nlp = name_pipeline()
    nlp.get_pipe("entity_ruler").add_patterns([{"label": "CITY", "pattern": "Oslo"}])
    dev = [to_doc(record, nlp) for record in gold(100, 1)]
    oslo = nlp("They met in Oslo.")
    train = [to_doc(record, nlp) for record in gold(120, 0)]
    component, answers = confidence_training.fit(nlp, [*train, oslo], [*dev, *[oslo] * 5])
    assert component.labels == ("COMPANY",)
    assert component.reasons == {
        "CITY": "the pipeline gives 5 answers of it on dev; 10 are needed",
    }
    assert [answer.confidence for answer in answers if answer.label == "CITY"] == [None] * 5
    doc = component(nlp("In Oslo, Velto sold its mills."))
    city, company = (ent._.confidence for ent in doc.ents)
    assert city is None
    assert company is not None


def test_a_label_that_training_never_saw_has_no_confidence(project: Path) -> None:
    nlp = spacy.load(project / "model-best")
    nlp.get_pipe("entity_ruler").add_patterns([{"label": "CITY", "pattern": "Oslo"}])
    assert confidences(nlp, "Oslo is far.") == [None]


def test_records_have_it(project: Path) -> None:
    nlp = spacy.load(project / "model-best")
    (span,) = pipeline_record(nlp(COMPANY)).spans
    assert span.confidence == nlp(COMPANY).ents[0]._.confidence


def test_a_pipeline_without_entities_gets_none(tmp_path: Path) -> None:
    write_project(tmp_path)
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.to_disk(tmp_path / "other")
    added = confidence_training.add_confidence(
        tmp_path / "other", tmp_path / "train.spacy", tmp_path / "dev.spacy"
    )
    assert added is None
    assert not (tmp_path / "other" / "confidence").exists()

"""Records as training examples: relations by entity, categories, and what can't be trained on."""

from pathlib import Path

import pytest
import spacy
from running import real_data, write_docbin, write_lines

from ie.core.errors import UserError
from ie.data import corpora
from ie.data.docs import entities_doc, pipeline_record, to_doc
from ie.data.records import Record, Relation, Span, blank, read_records
from ie.data.scheme import Scheme

DEAL = {
    "text": "Hooli raises $5m, led by ACME",
    "spans": [
        {"start": 25, "end": 29, "label": "COMPANY"},
        {"start": 13, "end": 16, "label": "MONEY"},
        {"start": 0, "end": 5, "label": "COMPANY"},
    ],
    "relations": [
        {"head": 0, "child": 2, "label": "INVESTOR"},
        {"head": 2, "child": 1, "label": "RAISED"},
    ],
    "cats": {"FUNDING": 1, "OTHER": 0},
}
SCHEME = Scheme(("COMPANY", "MONEY"), ("INVESTOR", "RAISED"), ("FUNDING", "OTHER"), path=Path("llm.cfg"))


def test_relations_point_at_the_sorted_entities() -> None:
    doc = to_doc(Record(**DEAL), blank("en"))
    assert [ent.text for ent in doc.ents] == ["Hooli", "$5m", "ACME"]
    assert doc._.relations == [
        {"head": 2, "child": 0, "label": "INVESTOR"},
        {"head": 0, "child": 1, "label": "RAISED"},
    ]
    back = pipeline_record(doc)
    ends = [(back.text[back.spans[r.head].start :][:4], r.label) for r in back.relations]
    assert ends == [("ACME", "INVESTOR"), ("Hool", "RAISED")]


def test_entities_come_without_the_gold_links() -> None:
    spans = [{"start": 0, "end": 5, "label": "COMPANY", "kb_id": "17"}]
    [ent] = entities_doc(Record(text="Hooli", spans=spans), blank("en")).ents
    assert (ent.label_, ent.kb_id_) == ("COMPANY", "")


def test_every_real_relation_survives() -> None:
    nlp = blank("en")
    found = read_records(
        real_data("fire/test.jsonl"), tokenizer=nlp.tokenizer, misaligned="snap", bad_relations="drop"
    )
    for record in found:
        back = pipeline_record(to_doc(record, nlp))

        def named(one: Record) -> set[tuple]:
            ends = [(s.start, s.end, s.label) for s in one.spans]
            return {(ends[r.head], ends[r.child], r.label) for r in one.relations}

        assert named(back) == named(record)


class TestReader:
    def read(self, path: Path, **options: object) -> list:
        reader = spacy.registry.readers.get("ie.Records.v1")(str(path), **options)
        assert [eg.text for eg in reader(blank("en"))] == [eg.text for eg in reader(blank("en"))]
        return list(reader(blank("en")))

    def test_gold_entities_are_given_or_not(self, tmp_path: Path) -> None:
        path = write_lines(tmp_path / "train.jsonl", [DEAL])
        [with_them], [without] = self.read(path), self.read(path, entities=False)
        assert len(with_them.predicted.ents) == len(with_them.reference.ents) == 3
        assert with_them.predicted._.relations == []
        assert without.predicted.ents == ()
        assert len(without.reference._.relations) == 2

    def test_only_accepted_ones_with_one_category_if_wanted(self, tmp_path: Path) -> None:
        lines = [
            DEAL,
            {"text": "No category."},
            {"text": "Two of them.", "cats": {"FUNDING": 1, "OTHER": 1}},
            {"text": "None of them.", "cats": {"FUNDING": 0, "OTHER": 0}},
            {"text": "Only one is named.", "cats": {"OTHER": 1}},
            {"text": "Refused.", "cats": {"OTHER": 1}, "answer": "reject"},
        ]
        path = write_lines(tmp_path / "train.jsonl", lines)
        assert len(self.read(path)) == 5
        found = self.read(path, one_category=True)
        assert [eg.reference.cats for eg in found] == [
            {"FUNDING": 1.0, "OTHER": 0.0},
            {"FUNDING": 0.0, "OTHER": 1.0},
        ]


@pytest.mark.parametrize(
    ("cats", "found"),
    [({}, None), ({"A": 1}, "A"), ({"A": 1, "B": 0}, "A"), ({"A": 1, "B": 0.7}, None), ({"A": 0.2}, None)],
)
def test_category_of(cats: dict, found: str | None) -> None:
    assert corpora.category_of(Record(text="x", cats=cats)) == found


class TestRequireLabels:
    def test_counts(self) -> None:
        deal = Record(**DEAL)
        counts = corpora.require_labels(Path("t"), [deal, deal], SCHEME, "relation")
        assert counts == {"INVESTOR": 2, "RAISED": 2}

    @pytest.mark.parametrize(
        ("kind", "scheme", "fault"),
        [
            ("relation", Scheme(("COMPANY",), path=Path("llm.cfg")), "llm.cfg: the scheme has no relations"),
            ("category", Scheme(("COMPANY",), path=Path("llm.cfg")), "llm.cfg: the scheme has no categories"),
            ("category", SCHEME, "t: no example of the category 'OTHER'"),
            (
                "relation",
                Scheme((), ("INVESTOR", "RAISED", "OWNS"), path=Path("llm.cfg")),
                "t: no example of the relation 'OWNS'",
            ),
        ],
    )
    def test_what_is_missing(self, kind: str, scheme: Scheme, fault: str) -> None:
        with pytest.raises(UserError, match=fault):
            corpora.require_labels(Path("t"), [Record(**DEAL)], scheme, kind)

    def test_one_entity_a_text(self) -> None:
        lonely = Record(text="Hooli", spans=[Span(start=0, end=5, label="COMPANY")])
        with pytest.raises(UserError, match="t: no text has two spans that a relation could join"):
            corpora.require_labels(Path("t"), [lonely], SCHEME, "relation")


def test_no_accepted_example(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "train.jsonl", [DEAL | {"answer": "ignore"}])
    with pytest.raises(UserError, match="holds no accepted example"):
        corpora.load(path, blank("en"))


def test_relation_of_a_record_is_kept_with_its_score() -> None:
    doc = to_doc(Record(**DEAL), blank("en"))
    doc._.relations = [{"head": 0, "child": 1, "label": "RAISED", "score": 0.75}]
    [found] = pipeline_record(doc).relations
    assert isinstance(found, Relation)
    assert found.model_extra == {"score": 0.75}


def test_categories_that_a_text_does_not_name_are_absent_if_asked(tmp_path) -> None:
    nlp = blank("en")
    found = [Record(text="one", cats={"A": 1.0}), Record(text="two", cats={"B": 1.0}), Record(text="three")]
    write_docbin(tmp_path / "train.spacy", found, nlp)
    read = corpora.create_records_reader(str(tmp_path / "train.spacy"), entities=False, complete=True)
    assert [example.reference.cats for example in read(nlp)] == [
        {"A": 1.0, "B": 0.0},
        {"A": 0.0, "B": 1.0},
        {"A": 0.0, "B": 0.0},
    ]
    one = corpora.create_records_reader(str(tmp_path / "train.spacy"), entities=False, one_category=True)
    assert [example.text for example in one(nlp)] == ["one", "two"]

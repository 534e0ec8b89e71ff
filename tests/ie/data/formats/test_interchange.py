"""Round trips: what a format can hold comes back as it was, the rest is counted."""

import json
import os
import subprocess
import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from interchange_records import CATEGORIES, records
from running import real_data, write_lines
from spacy.tokens import DocBin, Span

from ie.core.errors import UserError
from ie.data.formats import conll, interchange, labelstudio
from ie.data.formats.conversion import Conversion
from ie.data.records import Record, blank, outermost, read_records
from ie.data.scheme import Scheme

NLP = blank("en")
SCHEME = Scheme(categories=CATEGORIES)
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
EMOJI = "😀 Hooli raises $5m, e\u0301toile 👩‍🚀 שלום"


def job(scheme: Scheme | None = SCHEME) -> Conversion:
    return Conversion(NLP, scheme, "characters")


def there_and_back(items: list[Record], form: str, scheme: Scheme = SCHEME) -> tuple[list[Record], Counter]:
    """Through a file and back, without what leaves out texts that are there twice."""
    with TemporaryDirectory() as folder:
        path, used = Path(folder) / "file", job(scheme)
        n = interchange.write(path, form, items, used)
        found = [record for _, record in interchange.READERS[form](path, used)]
    assert n == len(found)
    return found, Counter({name: n for name, n in used.lost.items() if n})


def without(record: Record, *, spans: tuple = (), own: tuple = ()) -> dict:
    """A record as plain data, without some extra keys."""
    data = {key: value for key, value in record.model_dump().items() if key not in own}
    data["spans"] = [{k: v for k, v in span.items() if k not in spans} for span in data["spans"]]
    return data


@QUICK
@given(record=records())
def test_prodigy_keeps_all(record):
    found, lost = there_and_back([record], "prodigy")
    added = {"spans": ("token_start", "token_end"), "own": ("tokens",)}
    assert without(found[0], **added) == without(record)
    assert not lost


@QUICK
@given(record=records())
def test_parquet_keeps_all(record):
    found, lost = there_and_back([record], "parquet")
    assert found[0].model_dump() == record.model_dump()
    assert not lost


@QUICK
@given(record=records(scores=False, overlapping=True))
def test_spans_that_overlap_are_kept_but_by_conll(record):
    record.answer = "accept"
    expected = sorted(without(record, spans=("kb_id", "value", "alignment"))["spans"], key=str)
    for form in interchange.FORMATS:
        found, lost = there_and_back([record], form, replace(SCHEME, overlapping=True))
        if form.startswith("conll"):
            outer = outermost(record.spans)
            assert said(found[0], found[0].spans) == said(record, outer)
            assert lost["spans that overlap a longer one"] == len(record.spans) - len(outer)
            continue
        added = ("kb_id", "value", "alignment", "token_start", "token_end")
        assert sorted(without(found[0], spans=added)["spans"], key=str) == expected, form
        if form != "doccano":
            own = without(found[0], spans=("token_start", "token_end"), own=("tokens",))
            assert own == without(record), form


@QUICK
@given(record=records())
def test_docbin_keeps_all_of_gold(record):
    found, lost = there_and_back([record], "docbin")
    if record.answer == "accept":
        assert found[0].model_dump() == record.model_dump()
        assert set(lost) <= {"tokens of the training tokenizer (cut by a span)"}
    else:
        assert not found
        assert lost == {f"records with answer {record.answer}": 1}


@QUICK
@given(record=records())
def test_labelstudio_keeps_all_but_scores_and_rejection(record):
    found, lost = there_and_back([record], "labelstudio")
    expected = record.model_dump()
    soft = [name for name, value in record.cats.items() if value not in (0, 1)]
    expected["cats"] = {name: float(value > 0.5) for name, value in record.cats.items()}
    rejected = record.answer == "reject"
    expected["answer"] = "ignore" if rejected else record.answer
    assert found[0].model_dump() == expected
    wanted = {"cats scores between 0 and 1": len(soft), "answer reject (written as skipped)": rejected}
    assert lost == Counter({name: n for name, n in wanted.items() if n})


@QUICK
@given(record=records(scores=False))
def test_doccano_keeps_all_but_extra_keys_of_spans(record):
    found, lost = there_and_back([record], "doccano")
    assert found[0].model_dump() == without(record, spans=("kb_id", "value", "alignment"))
    extras = Counter(f"spans.{key}" for span in record.spans for key in span.model_extra or {})
    assert lost == extras


@QUICK
@given(record=records())
def test_conll_keeps_tokens_and_spans(record):
    for form in ("conll", "conll4"):
        found, lost = there_and_back([record], form)
        if record.answer != "accept":
            assert not found
            continue
        assert bare(found[0].text) == bare(record.text)
        spans = sorted(record.spans, key=lambda span: span.start)
        assert said(found[0], found[0].spans) == said(record, spans)
        assert (found[0].text != record.text) == lost["texts whose spaces between tokens change"]
        for name in ("relations", "cats", "meta"):
            assert lost[name] == len(getattr(record, name))


def bare(text: str) -> str:
    return "".join(text.split())


def said(record: Record, spans: list) -> list[tuple[str, str]]:
    return [(span.label, bare(record.text[span.start : span.end])) for span in spans]


@pytest.mark.parametrize(
    ("name", "lossless"),
    [
        ("crossner_politics/test.jsonl", ("prodigy", "labelstudio", "doccano", "parquet")),
        ("fire/test.jsonl", ("prodigy", "labelstudio", "doccano", "parquet")),
        ("docs_issues/test.jsonl", ("prodigy", "labelstudio", "doccano", "parquet", "docbin")),
    ],
)
def test_real_files_come_back(name, lossless):
    gold = read_records(real_data(name), duplicates="first", bad_relations="drop")[:150]
    for form in interchange.FORMATS:
        found, lost = there_and_back(gold, form)
        if form.startswith("conll"):
            assert [said(f, f.spans) for f in found] == [
                said(g, sorted(g.spans, key=lambda span: span.start)) for g in gold
            ]
            continue
        added = {"spans": ("token_start", "token_end"), "own": ("tokens",)}
        assert [without(f, **added) for f in found] == [without(g) for g in gold], form
        if form in lossless:
            assert not lost, form


RELATION = {
    "text": "Acme bought Hooli Inc",
    "tokens": [
        {"text": word, "start": start, "end": start + len(word), "id": i, "ws": i < 3}
        for i, (word, start) in enumerate((("Acme", 0), ("bought", 5), ("Hooli", 12), ("Inc", 18)))
    ],
    "spans": [
        {"start": 12, "end": 21, "token_start": 2, "token_end": 3, "label": "ORG"},
        {"start": 0, "end": 4, "token_start": 0, "token_end": 0, "label": "ORG"},
    ],
    "relations": [
        {
            "head": 0,
            "child": 3,
            "label": "BOUGHT",
            "color": "#ffd882",
            "head_span": {"start": 0, "end": 4, "token_start": 0, "token_end": 0, "label": "ORG"},
            "child_span": {"start": 12, "end": 21, "token_start": 2, "token_end": 3, "label": "ORG"},
        }
    ],
    "_input_hash": -400334998,
    "_task_hash": 1861007191,
    "_session_id": None,
    "_view_id": "relations",
    "answer": "accept",
}


class TestProdigy:
    def test_relations_of_tokens_are_those_of_spans_and_back(self, tmp_path):
        source = write_lines(tmp_path / "db-out.jsonl", [RELATION])
        [record] = interchange.read(source, "prodigy", job()).records
        assert (record.relations[0].head, record.relations[0].child) == (1, 0)
        interchange.write(tmp_path / "db-in.jsonl", "prodigy", [record], job())
        assert json.loads((tmp_path / "db-in.jsonl").read_text()) == RELATION

    def test_choices_are_cats_and_back(self, tmp_path):
        row = {
            "text": "Hooli raises",
            "options": [{"id": "FUNDING", "text": "Money!"}, {"id": "OTHER", "text": "Other"}],
            "accept": ["FUNDING"],
            "answer": "accept",
        }
        source = write_lines(tmp_path / "db-out.jsonl", [row])
        [record] = interchange.read(source, "prodigy", job()).records
        assert record.cats == {"FUNDING": 1, "OTHER": 0}
        record.cats = {"FUNDING": 0.0, "OTHER": 1.0}  # corrected on our side
        interchange.write(tmp_path / "db-in.jsonl", "prodigy", [record], job())
        assert json.loads((tmp_path / "db-in.jsonl").read_text()) == {**row, "accept": ["OTHER"]}


class TestLabelStudio:
    def task(self, start: int, end: int, text: str | None = "$5m", **more) -> dict:
        value = {"start": start, "end": end, "labels": ["MONEY"], **({"text": text} if text else {})}
        region = {"id": "a", "from_name": "label", "to_name": "text", "type": "labels", "value": value}
        return {"id": 7, "data": {"text": EMOJI}, "annotations": [{"result": [region]}], **more}

    def read(
        self, tmp_path: Path, *tasks: dict, scheme: Scheme | None = None
    ) -> tuple[list[Record], Conversion]:
        path, used = tmp_path / "tasks.json", job(scheme)
        path.write_text(json.dumps(tasks), encoding="utf-8")
        return interchange.read(path, "labelstudio", used).records, used

    @pytest.mark.parametrize(
        "offsets", [(EMOJI.index("$"), EMOJI.index("$") + 3), (EMOJI.index("$") + 1, EMOJI.index("$") + 4)]
    )
    def test_characters_and_utf_16_units_are_told_apart(self, tmp_path, offsets):
        # one emoji before it: the second pair is what older versions stored
        [record], _ = self.read(tmp_path, self.task(*offsets))
        assert [EMOJI[span.start : span.end] for span in record.spans] == ["$5m"]

    def test_a_region_with_two_labels_is_two_spans_of_an_overlapping_scheme(self, tmp_path):
        task = self.task(15, 18)
        task["annotations"][0]["result"][0]["value"]["labels"] = ["MONEY", "COMPANY"]
        for scheme in (None, replace(SCHEME, overlapping=True)):
            [record], used = self.read(tmp_path, task, scheme=scheme)
            assert [(span.start, span.label) for span in record.spans] == [(15, "MONEY"), (15, "COMPANY")]
            assert not interchange.losses(used)
        [record], used = self.read(tmp_path, task, scheme=SCHEME)
        assert [span.label for span in record.spans] == ["MONEY"]
        assert interchange.losses(used) == [("second label of a region", 1)]

    def test_exported_offsets_count_characters(self, tmp_path):
        start = EMOJI.index("👩")
        record = Record(text=EMOJI, spans=[{"start": start, "end": start + 3, "label": "X"}])
        interchange.write(tmp_path / "tasks.json", "labelstudio", [record], job())
        value = json.loads((tmp_path / "tasks.json").read_text())[0]["annotations"][0]["result"][0]["value"]
        assert (value["start"], value["end"], value["text"]) == (start, start + 3, "👩‍🚀")
        assert EMOJI.encode("utf-16-le")[2 * start : 2 * start + 6].decode("utf-16-le") != "👩‍🚀"

    def test_each_annotator_has_a_record(self, tmp_path):
        task = self.task(15, 18)
        task["annotations"] = [
            {**task["annotations"][0], "completed_by": {"id": 1, "email": "anna@example.org"}},
            {"result": [], "completed_by": 2, "was_cancelled": True},
        ]
        found, _ = self.read(tmp_path, task)
        assert [(r.annotator, r.answer) for r in found] == [("anna@example.org", "accept"), ("2", "ignore")]

    def test_what_we_have_no_place_for_is_counted(self, tmp_path):
        task = self.task(15, 18, predictions=[{"result": []}])
        parts = task["annotations"][0]["result"]
        parts.append({"id": "b", "type": "labels", "value": {"start": 0, "end": 1}})
        parts.append({"id": "r", "type": "rating", "value": {"rating": 4}})
        other = {"data": {"text": "never annotated"}, "annotations": []}
        found, used = self.read(tmp_path, task, other)
        assert len(found) == 1
        assert dict(interchange.losses(used)) == {
            "predictions": 1,
            "regions without a label": 1,
            "results of type rating": 1,
            "tasks without an annotation": 1,
        }

    def test_relations_run_both_ways(self, tmp_path):
        task = self.task(15, 18)
        hooli = {"start": 2, "end": 7, "labels": ["COMPANY"]}
        parts = task["annotations"][0]["result"]
        parts.append({"id": "b", "type": "labels", "value": hooli})
        for direction in ("right", "left", "bi"):
            parts.append(
                {"type": "relation", "from_id": "a", "to_id": "b", "direction": direction, "labels": ["R"]}
            )
        [record], _ = self.read(tmp_path, task)
        assert [(r.head, r.child) for r in record.relations] == [(0, 1), (1, 0), (1, 0), (0, 1)]

    def test_its_own_converter_reads_our_export(self, tmp_path):
        """Needs the SDK, whose numpy isn't ours: name the Python of an environment that has it."""
        python = os.environ.get("LABEL_STUDIO_PYTHON")
        if not python:
            pytest.skip("set LABEL_STUDIO_PYTHON to a Python with label-studio-sdk")
        start = EMOJI.index("$")
        spans = [
            {"start": 2, "end": 7, "label": "COMPANY"},
            {"start": start, "end": start + 3, "label": "MONEY"},
        ]
        edge = {"head": 0, "child": 1, "label": "RAISED"}
        record = Record(text=EMOJI, spans=spans, relations=[edge], cats={"FUNDING": 1, "OTHER": 0})
        interchange.write(tmp_path / "tasks.json", "labelstudio", [record], job())
        [task] = json.loads((tmp_path / "tasks.json").read_text(encoding="utf-8"))
        task |= {"id": 1}  # what Label Studio gives to a task on import
        task["annotations"][0] |= {"id": 1, "completed_by": 1}
        (tmp_path / "tasks.json").write_text(json.dumps([task]), encoding="utf-8")
        scheme = Scheme(("COMPANY", "MONEY"), ("RAISED",), ("FUNDING", "OTHER"))
        (tmp_path / "interface.xml").write_text(labelstudio.interface(scheme), encoding="utf-8")
        script = (
            "import sys; from label_studio_sdk.converter import Converter\n"
            "folder = sys.argv[1]; c = Converter(open(folder + '/interface.xml').read(), folder)\n"
            "for f in ('JSON_MIN', 'CONLL2003', 'JSON'):\n"
            "    c.convert(folder + '/tasks.json', folder + '/' + f, f, is_dir=False)\n"
        )
        subprocess.run([python, "-c", script, str(tmp_path)], check=True, capture_output=True)
        [small] = json.loads((tmp_path / "JSON_MIN" / "result.json").read_text(encoding="utf-8"))
        assert [(v["start"], v["end"], v["labels"]) for v in small["label"]] == [
            (2, 7, ["COMPANY"]),
            (start, start + 3, ["MONEY"]),
        ]
        assert small["category"] == "FUNDING"
        [back] = interchange.read(tmp_path / "JSON" / "result.json", "labelstudio", job()).records
        assert back.annotator == "1"
        assert without(back, own=("meta",)) == without(record, own=("meta",))
        tokens = conll.read(tmp_path / "CONLL2003" / "result.conll", job())
        assert [said(found, found.spans) for _, found in tokens] == [[("COMPANY", "Hooli"), ("MONEY", "$5m")]]


class TestDoccano:
    @pytest.mark.parametrize(
        "line",
        [
            {"id": 3, "text": EMOJI, "label": [[2, 7, "COMPANY"]], "Comments": []},
            {"text": EMOJI, "labels": [[2, 7, "COMPANY"]]},
            {
                "text": EMOJI,
                "entities": [{"id": 9, "label": "COMPANY", "start_offset": 2, "end_offset": 7}],
                "relations": [],
            },
        ],
    )
    def test_its_forms_are_read(self, tmp_path, line):
        [record] = interchange.read(write_lines(tmp_path / "a.jsonl", [line]), "doccano", job()).records
        assert said(record, record.spans) == [("COMPANY", "Hooli")]

    def test_classification(self, tmp_path):
        path = write_lines(tmp_path / "a.jsonl", [{"text": EMOJI, "label": ["FUNDING"]}])
        [record] = interchange.read(path, "doccano", job()).records
        assert record.cats == {"FUNDING": 1, "OTHER": 0}

    def test_the_file_has_one_form_and_relations_decide_which(self, tmp_path):
        plain = Record(text="Hooli", spans=[{"start": 0, "end": 5, "label": "COMPANY"}])
        two = [{"start": 0, "end": 4, "label": "COMPANY"}, {"start": 5, "end": 7, "label": "MONEY"}]
        related = Record(text="Acme $5", spans=two, relations=[{"head": 0, "child": 1, "label": "RAISED"}])
        path = tmp_path / "a.jsonl"
        interchange.write(path, "doccano", [plain], job())
        assert "label" in json.loads(path.read_text())
        interchange.write(path, "doccano", [plain, related], job())
        assert ["entities" in json.loads(line) for line in path.read_text().splitlines()] == [True, True]


class TestConll:
    WORDS = ("Hooli", "Inc", "Acme", "paid", "Berlin", "€", "5")

    @pytest.mark.parametrize(
        "tags",
        [
            ("I-ORG", "I-ORG", "B-ORG", "O", "I-LOC", "I-M", "I-M"),  # IOB1
            ("B-ORG", "I-ORG", "B-ORG", "O", "B-LOC", "B-M", "I-M"),  # IOB2
            ("B-ORG", "L-ORG", "U-ORG", "O", "U-LOC", "B-M", "L-M"),  # BILUO
            ("B-ORG", "E-ORG", "S-ORG", "O", "S-LOC", "B-M", "E-M"),  # BIOES
        ],
    )
    @pytest.mark.parametrize("columns", ["{} {}", "{} NNP I-NP {}", "{}\t{}"])
    def test_schemes_and_columns(self, tmp_path, tags, columns):
        lines = [columns.format(word, tag) for word, tag in zip(self.WORDS, tags, strict=True)]
        path, used = tmp_path / "a.conll", job()
        path.write_text("-DOCSTART- -X- O O\n\n" + "\n".join(lines) + "\n\n\nNext O\r\n", encoding="utf-8")
        first, second = interchange.read(path, "conll", used).records
        assert said(first, first.spans) == [
            ("ORG", "HooliInc"),
            ("ORG", "Acme"),
            ("LOC", "Berlin"),
            ("M", "€5"),
        ]
        assert second.text == "Next"
        lost = dict(interchange.losses(used))
        assert lost.pop("columns between token and tag", 0) == (7 if "NNP" in columns else 0)
        assert lost == {"limits of documents": 1}

    def test_four_columns_are_what_label_studio_writes(self, tmp_path):
        record = Record(text="Hooli pays.", spans=[{"start": 0, "end": 5, "label": "COMPANY"}])
        interchange.write(tmp_path / "a", "conll4", [record], job())
        assert (tmp_path / "a").read_text() == ("Hooli -X- _ B-COMPANY\npays -X- _ O\n. -X- _ O\n\n")


class TestDocBin:
    def test_spacy_reads_ents_and_cats(self, tmp_path):
        spans = [{"start": 2, "end": 7, "label": "COMPANY", "kb_id": "5923214"}]
        interchange.write(
            tmp_path / "a", "docbin", [Record(text=EMOJI, spans=spans, cats={"OTHER": 1})], job()
        )
        [doc] = DocBin().from_disk(tmp_path / "a").get_docs(NLP.vocab)
        assert [(ent.text, ent.label_, ent.kb_id_) for ent in doc.ents] == [("Hooli", "COMPANY", "5923214")]
        assert doc.cats == {"OTHER": 1}

    def test_a_changed_doc_keeps_what_still_fits(self, tmp_path):
        spans = [
            {"start": 2, "end": 7, "label": "COMPANY", "name": "Hooli"},
            {"start": 15, "end": 18, "label": "MONEY"},
        ]
        edge = {"head": 0, "child": 1, "label": "RAISED"}
        record = Record(text=EMOJI, spans=spans, relations=[edge], meta={"id": 1})
        interchange.write(tmp_path / "a", "docbin", [record], job())
        [doc] = DocBin().from_disk(tmp_path / "a").get_docs(NLP.vocab)
        doc.ents = [Span(doc, 0, 1, "X"), *[ent for ent in doc.ents if ent.label_ == "COMPANY"]]
        DocBin(store_user_data=True, docs=[doc]).to_disk(tmp_path / "b")
        used = job()
        [back] = interchange.read(tmp_path / "b", "docbin", used).records
        assert [(s.label, s.model_extra) for s in back.spans] == [("COMPANY", {"name": "Hooli"}), ("X", {})]
        assert back.meta == {"id": 1}
        assert interchange.losses(used) == [("relations (spans were changed)", 1)]

    NESTED = (
        {"start": 0, "end": 16, "label": "DEAL"},
        {"start": 0, "end": 5, "label": "COMPANY", "kb_id": "59"},
        {"start": 13, "end": 16, "label": "MONEY"},
    )

    def test_spans_that_overlap_are_those_of_spancat(self, tmp_path):
        record = Record(text="Hooli raises $5m", spans=[*self.NESTED])
        interchange.write(tmp_path / "a", "docbin", [record], job())
        [doc] = DocBin().from_disk(tmp_path / "a").get_docs(NLP.vocab)
        assert [(span.text, span.label_, span.kb_id_) for span in doc.spans["sc"]] == [
            ("Hooli raises $5m", "DEAL", ""), ("Hooli", "COMPANY", "59"), ("$5m", "MONEY", "")
        ]  # fmt: skip
        assert not doc.ents

    def test_all_spans_of_an_overlapping_scheme_are_in_the_group(self, tmp_path):
        record = Record(text="Hooli raises $5m", spans=[*self.NESTED[1:]])
        interchange.write(tmp_path / "a", "docbin", [record], job(replace(SCHEME, overlapping=True)))
        [doc] = DocBin().from_disk(tmp_path / "a").get_docs(NLP.vocab)
        assert (len(doc.spans["sc"]), len(doc.ents)) == (2, 0)

    @pytest.mark.parametrize(
        ("overlapping", "labels", "lost"),
        [(True, ["DEAL", "MONEY"], "entities"), (False, ["X"], "span groups")],
    )
    def test_of_entities_and_a_group_the_scheme_chooses(self, tmp_path, overlapping, labels, lost):
        doc = NLP("Hooli raises $5m")
        doc.ents = [Span(doc, 0, 1, "X")]
        doc.spans["sc"] = [Span(doc, 0, 5, "DEAL"), Span(doc, 2, 5, "MONEY")]
        DocBin(docs=[doc]).to_disk(tmp_path / "a")
        used = job(replace(SCHEME, overlapping=overlapping))
        [record] = interchange.read(tmp_path / "a", "docbin", used).records
        assert [span.label for span in record.spans] == labels
        assert interchange.losses(used) == [(lost, 1)]


class TestParquet:
    def test_token_classification_of_the_hub(self, tmp_path):
        names = ["O", "B-ORG", "I-ORG"]
        features = {"ner_tags": {"feature": {"names": names, "_type": "ClassLabel"}, "_type": "List"}}
        table = pyarrow.table({"tokens": [["Hooli", "Inc", "pays"]], "ner_tags": [[1, 2, 0]]})
        plain = table
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
        [record] = interchange.read(tmp_path / "a.parquet", "parquet", job()).records
        assert (record.text, said(record, record.spans)) == ("Hooli Inc pays", [("ORG", "HooliInc")])
        pyarrow.parquet.write_table(plain, tmp_path / "b.parquet")
        with pytest.raises(UserError, match=r"b.parquet: row 1: the class 1 has no name"):
            interchange.read(tmp_path / "b.parquet", "parquet", job())

    def test_spans_as_structs_with_keys_of_their_own(self, tmp_path):
        spans = [
            {"start": 0, "end": 5, "label": "ORG", "kb": None},
            {"start": 6, "end": 8, "label": "M", "kb": 4},
        ]
        pyarrow.parquet.write_table(
            pyarrow.table({"text": ["Hooli $5"], "spans": [spans], "source": ["x"]}), tmp_path / "a"
        )
        [record] = interchange.read(tmp_path / "a", "parquet", job()).records
        assert [span.model_extra for span in record.spans] == [{}, {"kb": 4}]
        assert record.model_extra == {"source": "x"}


def test_a_second_answer_of_the_same_annotator_is_left_out_and_counted(tmp_path):
    one = {"text": "Hooli", "spans": [{"start": 0, "end": 5, "label": "X"}]}
    rows = [one, one, {"text": "Hooli"}, {**one, "meta": {"annotator": "anna"}}]
    intake = interchange.read(write_lines(tmp_path / "a.jsonl", rows), "prodigy", job())
    assert len(intake.records) == 2
    assert (intake.repeated, intake.otherwise) == (1, 1)
    again = interchange.read(tmp_path / "a.jsonl", "prodigy", job(), intake.records)
    assert (len(again.records), again.repeated, again.otherwise) == (0, 3, 1)


def test_normalisation_is_nobodys_business():
    # composed and decomposed forms have other offsets: neither is made into the other
    assert unicodedata.normalize("NFC", EMOJI) != EMOJI
    for form in ("prodigy", "labelstudio", "doccano", "docbin", "parquet"):
        assert there_and_back([Record(text=EMOJI)], form)[0][0].text == EMOJI

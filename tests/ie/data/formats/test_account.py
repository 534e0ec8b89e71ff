"""An importer accounts for every key that could be annotation: it is read, counted or refused."""

import copy
import json
import random
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import ROOT, write_lines
from spacy.tokens import DocBin, Span

from ie.core.errors import UserError
from ie.data.formats import interchange
from ie.data.formats.conversion import Conversion
from ie.data.records import Record, blank, read_records

NLP = blank("en")
CASES = ROOT.parent / "shared" / "cases"
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def bring(folder: Path, form: str, content: Any, **options: Any) -> tuple[list[Record], Conversion]:
    """What comes in of a file with `content`: rows, tasks, or text."""
    path, job = folder / "in", Conversion(NLP, **options)
    if form == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(content), path)
    elif isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    elif form == "labelstudio":
        path.write_text(json.dumps(content), encoding="utf-8")
    else:
        write_lines(path, content)
    return interchange.read(path, form, job).records, job


def marked(record: Record) -> list[tuple[str, str]]:
    return [(span.label, record.text[span.start : span.end]) for span in record.spans]


SPAN = {"start": 0, "end": 5, "label": "ORG"}
REGION = {
    "id": "a",
    "from_name": "label",
    "to_name": "text",
    "type": "labels",
    "value": {"start": 0, "end": 5, "text": "Hooli", "labels": ["ORG"]},
}
TASK = {"id": 1, "data": {"text": "Hooli pays"}, "annotations": [{"id": 2, "result": [REGION]}]}
ENTITY = {"id": 9, "label": "ORG", "start_offset": 0, "end_offset": 5}
# form, a record, and the ways to its objects
DOCUMENTS: dict[str, tuple[str, dict[str, Any], list[tuple]]] = {
    "prodigy": ("prodigy", {"text": "Hooli pays", "spans": [SPAN], "answer": "accept"}, [()]),
    "doccano": (
        "doccano",
        {
            "text": "Hooli pays",
            "entities": [ENTITY, {**ENTITY, "id": 10, "start_offset": 6, "end_offset": 10}],
            "relations": [{"id": 1, "from_id": 9, "to_id": 10, "type": "R"}],
        },
        [(), ("entities", 0), ("relations", 0)],
    ),
    "labelstudio": (
        "labelstudio",
        TASK,
        [
            (),
            ("data",),
            ("annotations", 0),
            ("annotations", 0, "result", 0),
            ("annotations", 0, "result", 0, "value"),
        ],
    ),
    "parquet": ("parquet", {"text": "Hooli pays", "spans": [SPAN]}, [()]),
}
NAMES = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=3, max_size=12).map("my_".__add__) | st.sampled_from(
    ["annotations", "entity_list", "sentiment", "tags", "ner", "result", "topic", "gold", "rating"]
)
VALUES = st.one_of(
    st.integers(1, 9),
    st.text("abc", min_size=1, max_size=4),
    st.lists(st.integers(0, 9), min_size=1, max_size=3),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 9), min_size=1, max_size=2),
)


def at(data: Any, way: tuple) -> Any:
    for step in way:
        data = data[step]
    return data


@QUICK
@given(kind=st.sampled_from(list(DOCUMENTS)), name=NAMES, value=VALUES, data=st.data())
def test_no_key_is_dropped_without_a_word(kind, name, value, data):
    form, row, ways = DOCUMENTS[kind]
    row = copy.deepcopy(row)
    way = data.draw(st.sampled_from(ways))
    if name in at(row, way):
        return
    at(row, way)[name] = value
    with TemporaryDirectory() as folder:
        [record], job = bring(Path(folder), form, [row])
    assert ("ORG", "Hooli") in marked(record)
    lost = dict(interchange.losses(job))
    kept = (record.model_extra or {}).get(name)
    if kept is not None:
        assert kept == value
        assert job.unread[name] + job.other_keys[name] == 1
        # lists and objects may always be annotation
        assert job.unread[name] or not isinstance(value, list | dict)
    else:
        assert any(key.endswith(f".{name}") and n == 1 for key, n in lost.items()), lost


@pytest.mark.parametrize(
    ("form", "row"),
    [
        (
            "doccano",
            {"text": "Hooli pays", "annotations": [{"label": 2, "start_offset": 0, "end_offset": 5}]},
        ),
        ("doccano", {"text": "Hooli pays", "ner": {"ORG": [[0, 5]]}}),
        ("prodigy", {"text": "Hooli pays", "entities": [[0, 5, "ORG"]]}),
        ("prodigy", {"text": "Hooli pays", "label": "FUNDING"}),
        ("prodigy", {"text": "Hooli pays", "options": [{"text": "FUNDING"}], "accept": ["FUNDING"]}),
        ("prodigy", {"text": "Hooli pays", "label": 3, "answer": "accept"}),
        ("parquet", {"text": "Hooli pays", "label": 1}),
        ("parquet", {"text": "Hooli pays", "entities": [{"start": 0, "end": 5, "type": "ORG"}]}),
        ("labelstudio", TASK | {"annotations": [{"result": [REGION | {"type": "hypertextlabels"}]}]}),
    ],
)
def test_a_record_of_which_no_annotation_can_be_read_is_refused(tmp_path, form, row):
    with pytest.raises(
        UserError, match=r"no annotation that can be read, but .* may hold some; name the format"
    ):
        bring(tmp_path, form, [row])


def test_texts_without_annotation_come_in_with_what_stands_beside_them(tmp_path):
    row = {"text": "Hooli pays", "source": "Reuters", "rating": 4, "meta": {"tags": ["x"]}}
    for form in ("prodigy", "doccano", "parquet"):
        [record], job = bring(tmp_path, form, [row])
        assert record.model_extra == {"source": "Reuters", "rating": 4}
        assert job.other_keys == {"source": 1, "rating": 1}
        assert not job.unread


SHAPES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 30), st.floats(), st.text("aO-😀 \n", max_size=4)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*SPAN, "id"]), inner),
    max_leaves=6,
)


@QUICK
@given(kind=st.sampled_from(["prodigy", "doccano", "labelstudio"]), value=SHAPES, seed=st.integers(0, 10**6))
def test_broken_documents_are_one_sentence(kind, value, seed):
    """Any part of a document may be anything."""
    form, row, ways = DOCUMENTS[kind]
    row, chance = copy.deepcopy(row), random.Random(seed)
    part = at(row, chance.choice(ways))
    part[chance.choice(list(part))] = value
    with TemporaryDirectory() as folder, suppress(UserError):
        bring(Path(folder), form, [row])


@settings(QUICK, max_examples=80)
@given(form=st.sampled_from(interchange.FORMATS), cut=st.integers(0, 400), noise=st.binary(max_size=6))
def test_files_that_are_cut_off_or_damaged_are_one_sentence(form, cut, noise):
    record = Record(text="Hooli 👩‍🚀 pays", spans=[SPAN], cats={"A": 1}, meta={"id": 1})
    with TemporaryDirectory() as folder:
        path = Path(folder) / "in"
        interchange.write(path, form, [record, record.model_copy(update={"text": "Hooli"})], Conversion(NLP))
        content = path.read_bytes()
        cut = cut % (len(content) + 1)
        for broken in (content[:cut], content[:cut] + noise + content[cut + len(noise) :], noise):
            path.write_bytes(broken)
            with suppress(UserError):
                interchange.read(path, form, Conversion(NLP))


def test_a_key_that_is_there_twice_is_refused(tmp_path):
    line = '{"text": "Hooli pays", "label": [[0, 5, "ORG"]], "label": []}'
    with pytest.raises(UserError, match="the key 'label' is there twice in one object"):
        bring(tmp_path, "doccano", line)


class TestNumbersThatJsonCanNotHold:
    TASKS = json.dumps([TASK | {"data": {"text": "Hooli pays", "rating": 7}}])

    @pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
    def test_they_are_null_and_counted(self, tmp_path, number):
        [record], job = bring(tmp_path, "labelstudio", self.TASKS.replace("7", number))
        assert record.model_extra == {"rating": None}
        assert interchange.losses(job) == [("NaN or Infinity, now null", 1)]
        interchange.write(tmp_path / "new.jsonl", "prodigy", [record], job)
        assert read_records(tmp_path / "new.jsonl")[0].model_extra == {"rating": None}

    def test_prodigys_are_refused_with_their_place(self, tmp_path):
        with pytest.raises(UserError, match=r"in:1: not valid JSON \(NaN is no JSON\)"):
            bring(tmp_path, "prodigy", '{"text": "Hooli", "score": NaN}')


class TestLabelStudio:
    def test_completions_of_versions_before_1_0(self, tmp_path):
        value = REGION["value"] | {"start": 3, "end": 8}
        task = {"data": {"text": "🙂 Hooli pays"}, "completions": [{"result": [REGION | {"value": value}]}]}
        [record], _ = bring(tmp_path, "labelstudio", [task])
        assert marked(record) == [("ORG", "Hooli")]

    def test_the_only_string_is_the_text(self, tmp_path):
        [record], _ = bring(tmp_path, "labelstudio", [TASK | {"data": {"review": "Hooli pays", "n": 3}}])
        assert (record.text, marked(record)) == ("Hooli pays", [("ORG", "Hooli")])
        assert record.model_extra == {"n": 3}
        with pytest.raises(UserError, match="no 'text' that is a string, but review, url; rename"):
            bring(tmp_path, "labelstudio", [TASK | {"data": {"review": "Hooli pays", "url": "x"}}])

    def test_the_page_shows_runs_of_spaces_as_one(self, tmp_path):
        value = {"start": 0, "end": 7, "text": "Hooli Inc", "labels": ["ORG"]}
        text = "Hooli\n  Inc pays"
        for offsets, before in (((0, 11), ""), ((3, 14), "😀 "), ((2, 13), "😀 ")):
            start, end = offsets
            task = TASK | {
                "data": {"text": before + text},
                "annotations": [{"result": [REGION | {"value": value | {"start": start, "end": end}}]}],
            }
            [record], _ = bring(tmp_path, "labelstudio", [task])
            assert marked(record) == [("ORG", "Hooli\n  Inc")]

    def test_the_choices_of_a_region_are_none_of_the_text(self, tmp_path):
        choice = {"type": "choices", "value": {"start": 0, "end": 5, "choices": ["GOOD"]}}
        [record], job = bring(
            tmp_path, "labelstudio", [TASK | {"annotations": [{"result": [REGION, choice]}]}]
        )
        assert not record.cats
        assert interchange.losses(job) == [("results of type choices of a region", 1)]


class TestOffsetsOfDoccano:
    UNITS: ClassVar = {"text": "🙂北河公司收购南山集团", "label": [[2, 6, "ORG"], [8, 12, "ORG"]]}

    def test_nobody_guesses_what_they_count(self, tmp_path):
        with pytest.raises(UserError, match=r"in:1: the offsets 2-6 come after '🙂'.*--offsets utf-16"):
            bring(tmp_path, "doccano", [self.UNITS])
        for line in (
            {"text": "Hooli 🙂", "label": [[0, 5, "ORG"]]},
            {"text": "北河", "label": [[0, 2, "ORG"]]},
        ):
            [record], _ = bring(tmp_path, "doccano", [line])
            assert len(marked(record)) == 1

    @pytest.mark.parametrize("form", ["label", "entities"])
    def test_units_are_converted(self, tmp_path, form):
        items = [
            {"id": i, "start_offset": start, "end_offset": end, "label": label}
            for i, (start, end, label) in enumerate(self.UNITS["label"])
        ]
        line = self.UNITS if form == "label" else {"text": self.UNITS["text"], "entities": items}
        [record], _ = bring(tmp_path, "doccano", [line], offsets="utf-16")
        assert marked(record) == [("ORG", "北河公司"), ("ORG", "南山集团")]

    def test_wrong_units_are_refused(self, tmp_path):
        with pytest.raises(UserError, match="the offsets 1-5 stand inside a character"):
            bring(tmp_path, "doccano", [self.UNITS | {"label": [[1, 5, "ORG"]]}], offsets="utf-16")
        for bad in ([-1, 5], [0, 99]):
            with pytest.raises(UserError, match="is outside the text"):
                bring(tmp_path, "doccano", [self.UNITS | {"label": [[*bad, "ORG"]]}], offsets="utf-16")


class TestProdigy:
    def answer(self, text: str, answer: str, **more: Any) -> dict[str, Any]:
        return {"text": text, "_view_id": "classification", "answer": answer, **more}

    def test_a_yes_or_no_to_a_category_is_a_category(self, tmp_path):
        rows = [
            self.answer("Hooli pays", "accept", label="FUNDING"),
            self.answer("Acme pays", "reject", label="FUNDING"),
            self.answer("Hooli pays", "reject", label="LEGAL"),
            self.answer("Velm pays", "ignore", label="LEGAL"),
        ]
        records, _ = bring(tmp_path, "prodigy", rows)
        assert [(r.text, r.cats, r.answer) for r in records] == [
            ("Hooli pays", {"FUNDING": 1, "LEGAL": 0}, "accept"),
            ("Acme pays", {"FUNDING": 0}, "accept"),
            ("Velm pays", {}, "ignore"),
        ]
        interchange.write(tmp_path / "again.jsonl", "prodigy", records, Conversion(NLP))
        again = interchange.read(tmp_path / "again.jsonl", "prodigy", Conversion(NLP)).records
        assert [(r.cats, r.answer) for r in again] == [(r.cats, r.answer) for r in records]

    def test_a_yes_and_a_no_to_one_question_are_not_merged(self, tmp_path):
        rows = [self.answer("Hooli pays", answer, label="FUNDING") for answer in ("accept", "reject")]
        write_lines(tmp_path / "in", rows)
        intake = interchange.read(tmp_path / "in", "prodigy", Conversion(NLP))
        assert [record.cats for record in intake.records] == [{"FUNDING": 1}]
        assert intake.otherwise == 1

    @pytest.mark.parametrize("answer", ["accept", "reject"])
    def test_a_yes_or_no_to_one_span_is_not_gold(self, tmp_path, answer):
        row = {"text": "Hooli pays", "spans": [SPAN], "_view_id": "ner", "_is_binary": True, "answer": answer}
        path = write_lines(tmp_path / "gold.jsonl", [row])
        with pytest.raises(UserError, match=r"gold\.jsonl:1: a yes or no to one span"):
            read_records(path)
        del row["_is_binary"]  # as older versions wrote it
        other = row | {"spans": [SPAN | {"start": 6, "end": 10}]}
        with pytest.raises(UserError, match="in:2: a second answer about one text in the interface 'ner'"):
            bring(tmp_path, "prodigy", [one | {"_input_hash": 5} for one in (row, other)])


class TestConll:
    def test_a_no_break_space_is_part_of_a_token(self, tmp_path):
        for line in ("10{}000 B-M", "10{}000 -X- _ B-M", "10{}000\tB-M"):
            for blank_ in "\u00a0\u202f":
                [record], _ = bring(tmp_path, "conll", line.format(blank_) + "\n€ I-M\n")
                assert marked(record) == [("M", f"10{blank_}000 €")]

    def test_a_column_that_counts_is_no_text(self, tmp_path):
        lines = "1\tHooli\tB-ORG\n2\tpays\tO\n\n1\tAcme\tB-ORG\n"
        first, second = bring(tmp_path, "conll", lines)[0]
        assert (first.text, second.text) == ("Hooli pays", "Acme")
        nested = "# source\n1\tHooli\tB-ORG\tO\n2\tBerlin\tI-ORG\tB-LOC\n"
        with pytest.raises(UserError, match="in:2: the first column numbers tokens, and the columns 3, 4"):
            bring(tmp_path, "conll", nested)

    def test_comments_are_counted_and_a_hash_is_a_token(self, tmp_path):
        [record], job = bring(tmp_path, "conll", "# sent_id = 1\n# O\n1 O\n")
        assert record.text == "# 1"
        assert job.lost["comments"] == 1


class TestParquet:
    def write(self, folder: Path, columns: dict[str, Any], features: dict[str, Any]) -> Path:
        table = pyarrow.table(columns)
        about = json.dumps({"info": {"features": features}})
        path = folder / "a.parquet"
        pyarrow.parquet.write_table(table.replace_schema_metadata({"huggingface": about}), path)
        return path

    @pytest.mark.parametrize(
        ("column", "values", "feature"),
        [
            ("label", [0, 1], {"names": ["FUNDING", "LEGAL"], "_type": "ClassLabel"}),
            ("labels", [[0], [1]], {"feature": {"names": ["FUNDING", "LEGAL"]}, "_type": "Sequence"}),
            ("label", ["FUNDING", "LEGAL"], {"dtype": "string"}),
        ],
    )
    def test_text_classification_of_the_hub(self, tmp_path, column, values, feature):
        path = self.write(tmp_path, {"text": ["Hooli pays", "Acme pays"], column: values}, {column: feature})
        one, two = interchange.read(path, "parquet", Conversion(NLP)).records
        assert (one.cats, two.cats) == ({"FUNDING": 1, "LEGAL": 0}, {"FUNDING": 0, "LEGAL": 1})

    def test_other_tags_are_counted_and_ids_stay(self, tmp_path):
        names = {"feature": {"names": ["O", "B-ORG"]}}
        columns = {"id": ["7"], "tokens": [["Hooli", "pays"]], "ner_tags": [[1, 0]], "pos_tags": [[3, 4]]}
        path, job = self.write(tmp_path, columns, {"ner_tags": names}), Conversion(NLP)
        [record] = interchange.read(path, "parquet", job).records
        assert marked(record) == [("ORG", "Hooli")]
        assert record.model_extra["id"] == "7"
        assert job.unread == {"pos_tags": 1}

    @pytest.mark.parametrize(
        ("columns", "fault"),
        [
            ({"tokens": [["a", "b"]], "ner_tags": [["O"]]}, "row 1: 2 tokens and 1 tags"),
            ({"tokens": [["a", None]], "ner_tags": [["O", "O"]]}, "row 1: a token is no text"),
            ({"text": ["x"], "spans": [3]}, "row 1: no 'spans' that is a list"),
            ({"text": ["x"], "cats": [[3]]}, "row 1: spans and relations must be lists of structs"),
            (
                {"text": ["a  b"], "tokens": [["a", "b"]], "ner_tags": [["O", "O"]]},
                "row 1: the text isn't its",
            ),
        ],
    )
    def test_broken_rows_are_one_sentence(self, tmp_path, columns, fault):
        with pytest.raises(UserError, match=fault):
            interchange.read(self.write(tmp_path, columns, {}), "parquet", Conversion(NLP))

    def test_bytes_that_are_not_utf8_are_named(self, tmp_path):
        raw = pyarrow.array([b"Hooli", b"caf\xe9"], pyarrow.binary())
        columns = {"text": pyarrow.Array.from_buffers(pyarrow.string(), 2, raw.buffers())}
        with pytest.raises(UserError, match="row 2: not UTF-8 in text"):
            interchange.read(self.write(tmp_path, columns, {}), "parquet", Conversion(NLP))


def test_span_groups_alone_are_refused(tmp_path):
    doc = NLP("Hooli pays")
    doc.spans["other"] = [Span(doc, 0, 1, "ORG")]
    DocBin(docs=[doc], store_user_data=True).to_disk(tmp_path / "a.spacy")
    with pytest.raises(UserError, match=r"no annotation that can be read, but .doc\.spans\['other'\]. may"):
        interchange.read(tmp_path / "a.spacy", "docbin", Conversion(NLP))


@pytest.mark.parametrize(
    ("name", "form", "said"),
    [
        ("02-labelstudio-completions/export.json", "labelstudio", [[("COMPANY", "Norvik Ltd")]]),
        ("03-labelstudio-other-field/export.json", "labelstudio", [[("COMPANY", "Norvik Ltd")]]),
        ("27-labelstudio-spacing/export.json", "labelstudio", [[("PLACE", "Oulu,  Finland")]]),
        ("01-doccano-annotations/export.jsonl", "doccano", None),
        ("06-conll-germeval/train-nocomment.tsv", "conll", None),
        ("14-prodigy-ner-teach/db-out.jsonl", "prodigy", None),
        ("23-doccano-utf16/zh.jsonl", "doccano", None),
    ],
)
def test_public_reports(name, form, said):
    path = CASES / name
    if not path.exists():
        pytest.skip(f"needs {path}")
    if said is None:
        with pytest.raises(UserError):
            interchange.read(path, form, Conversion(NLP))
    else:
        assert [marked(record) for record in interchange.read(path, form, Conversion(NLP)).records] == said

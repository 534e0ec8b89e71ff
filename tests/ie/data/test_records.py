import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import real_data, write_lines

from ie.core.errors import UserError
from ie.data import records
from ie.data.docs import docbin, from_doc, to_doc
from ie.data.records import ReadReport, Record, RecordFile, Span, read_records, write_records
from ie.data.scheme import Scheme

SCHEME = Scheme(("COMPANY", "MONEY"), ("RAISED",), ("FUNDING",), path=Path("configs/llm.cfg"))
OVERLAPPING = replace(SCHEME, overlapping=True)
TEXT = "Hooli raises $5m."
GOOD = {
    "text": TEXT,
    "spans": [{"start": 0, "end": 5, "label": "COMPANY"}, {"start": 13, "end": 16, "label": "MONEY"}],
    "relations": [{"head": 0, "child": 1, "label": "RAISED"}],
    "cats": {"FUNDING": 1},
    "meta": {"id": "a"},
}
QUICK = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def nlp():
    return records.blank("en")


def changed(**keys) -> dict:
    return GOOD | keys


def span(start, end, label="COMPANY") -> dict:
    return {"start": start, "end": end, "label": label}


def test_everything_of_a_line_survives(tmp_path):
    line = {
        "zebra": [1, {"ü": None}],
        "text": "Ça coûte €5 😀",
        "spans": [{"start": 9, "end": 11, "label": "MONEY", "value": "5 EUR", "token_start": 2}],
        "cats": {"FUNDING": 0.25, "OTHER": 1},
        "_input_hash": -12,
        "answer": "reject",
        "id": 7,
    }
    first, second = write_lines(tmp_path / "in.jsonl", [line]), tmp_path / "out.jsonl"
    write_records(second, read_records(first))
    written = second.read_text(encoding="utf-8")
    assert json.loads(written) == line
    assert list(json.loads(written)) == ["text", "spans", "cats", "answer", "zebra", "_input_hash", "id"]
    assert "Ça coûte €5 😀" in written
    assert '"OTHER": 1}' in written
    write_records(first, read_records(second))
    assert first.read_bytes() == second.read_bytes()


def test_raw_texts_get_no_answer_on_writing(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", [{"text": "one", "meta": {"id": 1}}])
    write_records(path, read_records(path))
    assert json.loads(path.read_text()) == {"text": "one", "meta": {"id": 1}}


def test_ids():
    assert Record(text="x", meta={"id": 12}).id == "12"
    assert Record(text="x").id == Record(text="x", meta={"other": 1}).id != Record(text="y").id


def test_only_accepted_records_are_gold(tmp_path):
    lines = [{"text": a, "answer": a} for a in ("accept", "reject", "ignore")] + [{"text": "none"}]
    report = ReadReport()
    found = read_records(write_lines(tmp_path / "a.jsonl", lines), report=report)
    assert [record.text for record in records.accepted(found)] == ["accept", "none"]
    assert report.answers == {"accept": 2, "reject": 1, "ignore": 1}


FAULTS = {
    "malformed": ('{"text": "a"', "not valid JSON at column"),
    "no object": ("[1]", "a list instead of a JSON object"),
    "empty line": ("", "the line is empty; delete it"),
    "blank line": ("  ", "the line is empty; delete it"),
    "NaN": ('{"text": "a", "meta": {"x": NaN}}', "NaN is no JSON"),
    "infinite": ('{"text": "a", "meta": {"x": 1e999}}', "a number is too large"),
    "deep": ("[" * 100_000, "not valid JSON"),
    "surrogate": ('{"text": "a\\ud83d"}', "half of a surrogate pair"),
    "no text": ({"meta": {}}, "text: field required"),
    "text of another type": ({"text": 5}, "text: input should be a valid string"),
    "empty text": ({"text": " \n"}, "the text is empty"),
    "offset no number": (changed(spans=[span("0", 5)]), "spans.0.start: input should be a valid integer"),
    "no label": (changed(spans=[{"start": 0, "end": 5}], relations=[]), "spans.0.label: field required"),
    "past the end": (changed(spans=[span(0, 18)], relations=[]), "outside the text of 17 characters"),
    "before the start": (changed(spans=[span(-1, 5)], relations=[]), "span -1-5 'COMPANY' is outside"),
    "empty span": (changed(spans=[span(5, 5)], relations=[]), "outside the text of 17 characters or empty"),
    "only whitespace": (changed(spans=[span(5, 6)], relations=[]), "is nothing but whitespace"),
    "whitespace at the edge": (changed(spans=[span(0, 6)], relations=[]), "has whitespace at its edge"),
    "part of a word": (
        changed(text="The ACME+Group", spans=[span(4, 8)], relations=[]),
        'or split words there by split_on = "+"',
    ),
    "inside a token": (changed(spans=[span(0, 4)], relations=[]), "starts or ends inside a token"),
    "overlap": (changed(spans=[span(0, 12), span(6, 12, "MONEY")], relations=[]), "overlap; keep one"),
    "wrong label": (changed(spans=[span(0, 5, "COMPNY")], relations=[]), "'COMPNY' isn't in the scheme"),
    "wrong relation label": (
        changed(relations=[{"head": 0, "child": 1, "label": "X"}]),
        "relation label 'X' isn't in the scheme",
    ),
    "relation to nothing": (
        changed(relations=[{"head": 0, "child": 2, "label": "RAISED"}]),
        "points to span 2, but there are 2 spans",
    ),
    "negative index": (changed(relations=[{"head": -1, "child": 0, "label": "RAISED"}]), "points to span -1"),
    "relation to itself": (
        changed(relations=[{"head": 1, "child": 1, "label": "RAISED"}]),
        "joins span 1 to itself",
    ),
    "wrong category": (changed(cats={"SPORT": 1}), "category label 'SPORT' isn't in the scheme"),
    "category out of range": (changed(cats={"FUNDING": 2}), "it must be between 0 and 1"),
    "wrong answer": (changed(answer="yes"), "answer: input should be 'accept', 'reject' or 'ignore'"),
    "duplicate id": ({"text": "x", "meta": {"id": "first"}}, "'first' is already used by line 1"),
    "duplicate text": ({"text": "The first."}, "the same text as line 1"),
}


@pytest.mark.parametrize(("line", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_named_with_its_line(tmp_path, nlp, line, message):
    lines = [{"text": "The first.", "meta": {"id": "first"}}, line, changed(text="The last.", spans=[])]
    path = write_lines(tmp_path / "a.jsonl", lines)
    with pytest.raises(UserError) as caught:
        read_records(path, labels=SCHEME, tokenizer=nlp.tokenizer)
    told = str(caught.value)
    assert told.startswith(f"{path}:2: ")
    assert message in told
    assert re.search(r"; [^;]+\.$", told), "what to do about it"


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="there is no such file"):
        read_records(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="this is a folder"):
        read_records(tmp_path)
    empty = write_lines(tmp_path / "empty.jsonl", [])
    with pytest.raises(UserError, match="the file is empty"):
        read_records(empty)
    assert read_records(empty, allow_empty=True) == []


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_other_encodings_are_named_with_their_line(tmp_path, encoding):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "one"}\n' + '{"text": "café"}\n'.encode(encoding))
    with pytest.raises(UserError, match=r"a\.jsonl:2: not UTF-8"):
        read_records(path)


def test_marks_and_line_ends_of_other_systems_are_fine(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "one\xe2\x80\xa8two"}\r\n{"text": "three"}')
    assert [record.text for record in read_records(path)] == ["one\u2028two", "three"]


def test_kinds_that_the_scheme_leaves_out_are_not_checked(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", [GOOD])
    assert read_records(path, labels=Scheme(("COMPANY", "MONEY")))[0].relations[0].label == "RAISED"


def test_offsets_of_utf16_units_get_a_hint(tmp_path, nlp):
    text = "😀 Hooli raises"
    path = write_lines(tmp_path / "a.jsonl", [{"text": text, "spans": [span(3, 8)]}])
    with pytest.raises(UserError, match="an emoji being one; UTF-16 units"):
        read_records(path, tokenizer=nlp.tokenizer)
    path = write_lines(tmp_path / "a.jsonl", [{"text": text, "spans": [span(2, 7)]}])
    assert read_records(path, tokenizer=nlp.tokenizer)[0].spans[0].end == 7


def test_misaligned_spans_are_widened_or_dropped_and_counted(tmp_path, nlp):
    line = {
        "text": "Hooli raises $5m led by ACME",
        "spans": [span(1, 5) | {"kb_id": "5", "token_start": 0}, span(12, 16, "MONEY"), span(24, 28)],
        "relations": [
            {"head": 0, "child": 1, "label": "RAISED"},
            {"head": 2, "child": 0, "label": "RAISED"},
        ],
    }
    path = write_lines(tmp_path / "a.jsonl", [line])
    report = ReadReport()
    [snapped] = read_records(path, tokenizer=nlp.tokenizer, misaligned="snap", report=report)
    assert [snapped.text[s.start : s.end] for s in snapped.spans] == ["Hooli", "$5m", "ACME"]
    assert snapped.spans[0].model_extra == {"kb_id": "5"}
    assert len(snapped.relations) == 2
    assert report.counts() == {"snapped": 2}
    report = ReadReport()
    [dropped] = read_records(path, tokenizer=nlp.tokenizer, misaligned="drop", report=report)
    assert [dropped.text[s.start : s.end] for s in dropped.spans] == ["ACME"]
    assert dropped.relations == []
    assert report.counts() == {"dropped_spans": 2, "dropped_relations": 2}
    assert len(report.notes) == 4
    assert all(note.startswith("line 1: ") for note in report.notes)


def test_relations_keep_their_spans_when_others_are_dropped(tmp_path, nlp):
    line = {
        "text": "Hooli raises $5m",
        "spans": [span(7, 9), span(0, 5), span(13, 16, "MONEY")],
        "relations": [{"head": 1, "child": 2, "label": "RAISED"}],
    }
    path = write_lines(tmp_path / "a.jsonl", [line])
    [record] = read_records(path, tokenizer=nlp.tokenizer, misaligned="drop", report=ReadReport())
    [edge] = record.relations
    assert [record.text[s.start : s.end] for s in record.spans] == ["Hooli", "$5m"]
    assert (edge.head, edge.child) == (0, 1)


def test_two_spans_in_one_token_are_both_dropped(tmp_path, nlp):
    text = "Profits of GP/LP"
    line = {"text": text, "spans": [span(11, 12), span(12, 13)]}
    assert len(nlp(text)[-3]) == 2, "the test needs one token GP"
    report = ReadReport()
    [record] = read_records(
        write_lines(tmp_path / "a.jsonl", [line]), tokenizer=nlp.tokenizer, misaligned="snap", report=report
    )
    assert record.spans == []
    assert report.counts() == {"dropped_spans": 2}


def test_changes_are_reported_even_if_nobody_asks(tmp_path, nlp, capsys):
    path = write_lines(tmp_path / "a.jsonl", [{"text": TEXT, "spans": [span(1, 5)]}])
    read_records(path, tokenizer=nlp.tokenizer, misaligned="snap")
    # wasabi breaks lines at the width of the terminal
    assert "snapped 1" in " ".join(capsys.readouterr().out.split())


def test_duplicates_are_counted_and_conflicts_too(tmp_path):
    other = changed(spans=[span(0, 5)], relations=[], meta={"id": "c"})
    lines = [GOOD, changed(meta={"id": "b"}), other]
    report = ReadReport()
    [kept] = read_records(write_lines(tmp_path / "a.jsonl", lines), duplicates="first", report=report)
    assert kept.id == "a"
    assert report.counts() == {"duplicates": 2, "conflicting_duplicates": 1}


def test_one_id_for_two_texts_is_always_wrong(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", [GOOD, changed(text=TEXT + " Yes.")])
    with pytest.raises(UserError, match="already used by line 1"):
        read_records(path, duplicates="first")


def test_bad_relations_can_be_dropped(tmp_path):
    edges = [{"head": h, "child": c, "label": "RAISED"} for h, c in ((0, 0), (0, 1), (1, 9))]
    report = ReadReport()
    [record] = read_records(
        write_lines(tmp_path / "a.jsonl", [changed(relations=edges)]), bad_relations="drop", report=report
    )
    assert [(r.head, r.child) for r in record.relations] == [(0, 1)]
    assert report.counts() == {"dropped_relations": 2}


def test_prodigys_relations_point_to_spans(tmp_path):
    line = {
        "text": TEXT,
        "tokens": [],
        "spans": [span(13, 16, "MONEY"), span(0, 5)],
        "relations": [
            {
                "head": 0,
                "child": 4,
                "label": "RAISED",
                "head_span": span(0, 5),
                "child_span": span(13, 16, "MONEY"),
            }
        ],
    }
    path = write_lines(tmp_path / "a.jsonl", [line])
    for _ in range(2):  # what we write reads the same
        [record] = read_records(path, labels=SCHEME)
        assert (record.relations[0].head, record.relations[0].child) == (1, 0)
        write_records(path, [record])
    line["relations"][0]["head_span"] = span(6, 12)
    with pytest.raises(UserError, match=r"a\.jsonl:1: the head of a relation 'RAISED' is no span"):
        read_records(write_lines(path, [line]))


def test_prodigys_choices_are_categories(tmp_path):
    line = {
        "text": TEXT,
        "options": [{"id": "FUNDING", "text": "a round"}, {"id": "B"}],
        "accept": ["FUNDING"],
    }
    [record] = read_records(write_lines(tmp_path / "a.jsonl", [line]))
    assert record.cats == {"FUNDING": 1, "B": 0}


def test_a_very_long_text(tmp_path, nlp):
    text = "Hooli raises $5m . " * 25_000 + "ACME"
    assert len(text.split()) > 100_000
    assert len(text) < 1_000_000
    text += " and" * 200_000  # past spaCy's limit of a million characters
    start = text.index("ACME")
    path = write_lines(tmp_path / "a.jsonl", [{"text": text, "spans": [span(start, start + 4)]}])
    [record] = read_records(path, tokenizer=nlp.tokenizer)
    [doc] = docbin(to_doc(record, nlp) for record in [record]).get_docs(nlp.vocab)
    assert [ent.text for ent in doc.ents] == ["ACME"]
    assert doc.text == text


def test_docs_keep_what_spacy_has_a_place_for(nlp):
    record = Record(
        text=TEXT,
        spans=[Span(start=0, end=5, label="COMPANY", kb_id="59"), Span(start=13, end=16, label="MONEY")],
        cats={"FUNDING": 1.0},
    )
    doc = to_doc(record, nlp)
    assert all(token.ent_iob for token in doc), "a token without a span is O, not unknown"
    [again] = docbin(to_doc(record, nlp) for record in [record]).get_docs(nlp.vocab)
    assert from_doc(again) == record


def test_a_doc_of_a_misaligned_record_is_refused(nlp):
    with pytest.raises(UserError, match="doesn't start and end on a token"):
        to_doc(Record(text=TEXT, spans=[Span(start=1, end=5, label="X")]), nlp)


def test_the_same_records_give_the_same_bytes():
    one, other = records.blank("en"), records.blank("en")
    for word in ("MONEY", "ACME", "COMPANY"):
        other.vocab.strings.add(word)  # seen in another order before
    some = [Record.model_validate(GOOD), Record(text="ACME pays.", spans=[span(0, 4)])]
    assert (
        docbin(to_doc(record, one) for record in some).to_bytes()
        == docbin(to_doc(record, other) for record in some).to_bytes()
    )


def test_a_text_that_the_tokenizer_refuses_is_named(tmp_path):
    def refusing(text):
        raise ValueError("Input is too long")

    path = write_lines(tmp_path / "a.jsonl", [GOOD])
    with pytest.raises(UserError, match=r"a\.jsonl:1: the tokenizer refuses the text \(Input is too long\)"):
        read_records(path, tokenizer=refusing)


def test_an_unknown_language():
    with pytest.raises(UserError, match="'qq'"):
        records.blank("qq")


def test_nothing_is_left_of_a_write_that_fails(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", ["old"])

    def broken():
        yield Record(text="one")
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        write_records(path, broken())
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        write_records(tmp_path / "file" / "a.jsonl", [Record(text="one")])


# Properties -----------------------------------------------------------------------------------------------

FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"  # one sign, five characters
WORDS = st.sampled_from(
    [
        *("Hooli", "$5m", "€1.5", "😀", FAMILY, "🇩🇪", "café", "cafe\u0301", "שלום", "\u202bעברית\u202c"),
        *(
            "شركة",
            "كِتَابٌ",
            "日本",
            "नमस्ते",
            "a\u0300\u0301",
            "\u200bzero",
            "ﬁ",
            "İstanbul",
            "x\u00a0y",
            "e\u20dd",
        ),
    ]
)
SPACES = st.sampled_from([" ", "  ", "\n", "\t", "\u3000", " \n\n "])


@st.composite
def annotated(draw, overlapping: bool = False) -> dict:
    """A text of words in several scripts, with spans over some runs of its words."""
    words = draw(st.lists(WORDS, min_size=1, max_size=12))
    text, edges = "", []
    for word in words:
        edges.append((len(text), len(text) + len(word)))
        text += word + draw(SPACES)
    spans, i = [], 0
    while i < len(words):
        length = draw(st.integers(1, 3))
        if draw(st.booleans()) and i + length <= len(words):
            spans.append(span(edges[i][0], edges[i + length - 1][1]))
        i += 1 if overlapping else length
    if overlapping:
        spans += [span(s["start"], s["end"], "MONEY") for s in spans if draw(st.booleans())]
    return {"text": text, "spans": draw(st.permutations(spans))}


@given(line=annotated(), overlapping=annotated(overlapping=True))
@QUICK
def test_spans_say_the_same_after_any_way_round(tmp_path, nlp, line, overlapping):
    for given_line, scheme in ((line, SCHEME), (overlapping, OVERLAPPING)):
        path = write_lines(tmp_path / "a.jsonl", [given_line])
        [record] = read_records(path, tokenizer=nlp.tokenizer, labels=scheme)
        write_records(path, [record])
        [record] = read_records(path, tokenizer=nlp.tokenizer, labels=scheme)
        read_docs = docbin([to_doc(record, nlp, overlapping=scheme.overlapping)]).get_docs(nlp.vocab)
        [again] = map(from_doc, read_docs)
        assert again.text == given_line["text"]
        expected = sorted((s["start"], s["end"], s["label"]) for s in given_line["spans"])
        assert sorted((s.start, s.end, s.label) for s in again.spans) == expected


class TestOverlappingSpans:
    NESTED = changed(spans=[span(0, 16, "MONEY"), span(0, 5), span(13, 16, "MONEY")], relations=[])

    def test_a_flat_scheme_names_the_setting(self, tmp_path, nlp):
        path = write_lines(tmp_path / "a.jsonl", [self.NESTED])
        with pytest.raises(
            UserError, match=r"a.jsonl:1: spans 0-5 COMPANY 'Hooli' and 0-16 MONEY .* overlap"
        ):
            read_records(path, labels=SCHEME)
        with pytest.raises(
            UserError, match=r"set overlapping = true below the span labels in configs/llm.cfg"
        ):
            read_records(path, labels=SCHEME)
        assert len(read_records(path, labels=OVERLAPPING, tokenizer=nlp.tokenizer)[0].spans) == 3

    def test_a_span_may_have_two_labels_but_not_be_there_twice(self, tmp_path):
        two = changed(spans=[span(0, 5), span(0, 5, "MONEY")], relations=[])
        path = write_lines(tmp_path / "a.jsonl", [two])
        assert len(read_records(path, labels=OVERLAPPING)[0].spans) == 2
        write_lines(path, [two, changed(text=TEXT + "!", meta={}, spans=[span(0, 5)] * 2, relations=[])])
        with pytest.raises(UserError, match=r"a.jsonl:2: span 0-5 COMPANY 'Hooli' is there twice; keep one"):
            read_records(path, labels=OVERLAPPING)

    def test_snapping_keeps_overlaps_but_makes_no_span_twice(self, tmp_path, nlp):
        spans = [span(1, 16, "MONEY"), span(1, 5), span(0, 4), span(13, 16, "MONEY")]
        relations = [{"head": 1, "child": 3, "label": "RAISED"}, {"head": 2, "child": 0, "label": "RAISED"}]
        path = write_lines(tmp_path / "a.jsonl", [changed(spans=spans, relations=relations)])
        report, rules = (
            ReadReport(),
            {"labels": OVERLAPPING, "tokenizer": nlp.tokenizer, "misaligned": "snap"},
        )
        [record] = read_records(path, report=report, **rules)
        assert [(s.start, s.end, s.label) for s in record.spans] == [
            (0, 16, "MONEY"), (0, 5, "COMPANY"), (13, 16, "MONEY")
        ]  # fmt: skip
        assert (report.snapped, report.dropped_spans, report.dropped_relations) == (2, 1, 1)
        assert [(r.head, r.child) for r in record.relations] == [(1, 2)]

    def test_docs_have_a_group_of_spans_and_no_entities(self, nlp):
        flat = Record(text=TEXT, spans=[span(0, 5)])
        for record in (Record.model_validate(self.NESTED), flat):
            [doc] = docbin([to_doc(record, nlp, overlapping=True)]).get_docs(nlp.vocab)
            assert (len(doc.spans["sc"]), doc.ents) == (len(record.spans), ())
        assert "sc" not in to_doc(flat, nlp).spans

    def test_relations_follow_the_spans_of_the_doc(self, nlp):
        inner_first = [span(13, 16, "MONEY"), span(0, 5), span(0, 16, "MONEY")]
        relation = {"head": 1, "child": 0, "label": "RAISED"}
        doc = to_doc(Record(text=TEXT, spans=inner_first, relations=[relation]), nlp)
        spans = list(doc.spans["sc"])
        [edge] = doc._.relations
        assert [spans[edge[end]].text for end in ("head", "child")] == ["Hooli", "$5m"]

    def test_relations_of_prodigy_name_one_of_two_labels(self, tmp_path):
        ends = {"head_span": span(0, 5, "MONEY"), "child_span": span(13, 16, "MONEY")}
        line = changed(
            spans=[span(0, 5), span(0, 5, "MONEY"), span(13, 16, "MONEY")],
            relations=[{"head": 0, "child": 3, "label": "RAISED", **ends}],
        )
        [record] = read_records(write_lines(tmp_path / "a.jsonl", [line]), labels=OVERLAPPING)
        assert (record.relations[0].head, record.relations[0].child) == (1, 2)


@given(line=annotated(), cut=st.lists(st.integers(0, 2), min_size=24, max_size=24), data=st.data())
@QUICK
def test_snapping_gives_whole_tokens_that_cover_the_span(tmp_path, nlp, line, cut, data):
    """Spans cut at random are widened to the fewest whole tokens, or dropped and counted."""
    text = line["text"]
    before = []
    for i, s in enumerate(line["spans"]):
        start = min(s["start"] + cut[2 * i], s["end"] - 1)
        end = max(s["end"] - cut[2 * i + 1], start + 1)
        if text[start:end].strip():
            before.append(span(start, end))
    path = write_lines(tmp_path / "a.jsonl", [{"text": text, "spans": before}])
    report = ReadReport()
    [record] = read_records(path, tokenizer=nlp.tokenizer, misaligned="snap", report=report)
    assert len(record.spans) + report.dropped_spans == len(before)
    tokens = [(t.idx, t.idx + len(t)) for t in nlp.tokenizer(text)]
    for s in record.spans:
        covered = [t for t in tokens if t[0] < s.end and s.start < t[1]]
        assert (s.start, s.end) == (covered[0][0], covered[-1][1])
        [origin] = [b for b in before if b["start"] < s.end and s.start < b["end"]]
        inside = text[origin["start"] : origin["end"]].strip()
        assert inside in text[s.start : s.end]
        assert all(t[0] < origin["end"] and origin["start"] < t[1] for t in covered)
    to_doc(record, nlp)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 40) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["text", "spans", "relations", "cats", "answer", "meta", "id", "start", "end", "label", "head",
             "child", "head_span", "options", "accept", "model_config", "__class__"]
        ),
        inner,
        max_size=6,
    ),
    max_leaves=25,
)  # fmt: skip


NEARLY = st.fixed_dictionaries(
    {"text": st.just(TEXT)},
    optional={
        "spans": JSON
        | st.lists(
            st.fixed_dictionaries(
                {
                    "start": st.integers(-1, 18),
                    "end": st.integers(-1, 18),
                    "label": st.sampled_from(["A", ""]),
                }
            ),
            max_size=2,
        ),
        "relations": JSON,
        "cats": JSON,
        "meta": JSON,
        "options": JSON,
        "id": JSON,
    },
)


@given(value=JSON | NEARLY)
@settings(QUICK, max_examples=300)
def test_any_json_is_a_record_or_a_mistake_with_a_line(tmp_path, nlp, value):
    path = write_lines(tmp_path / "a.jsonl", [json.dumps(value)])
    try:
        [record] = read_records(path, tokenizer=nlp.tokenizer)
    except UserError as error:
        mistake = str(error)
    else:
        mistake = ""
        to_doc(record, nlp)
        out = tmp_path / "b.jsonl"
        write_records(out, [record])
        assert read_records(out, tokenizer=nlp.tokenizer) == [record]
    assert not mistake or mistake.startswith(f"{path}:1: ")


@given(raw=st.binary(min_size=1, max_size=40))
@QUICK
def test_any_bytes_are_records_or_a_mistake_with_a_line(tmp_path, raw):
    path = tmp_path / "a.jsonl"
    path.write_bytes(raw)
    # a byte order mark alone is an empty file
    with pytest.raises(UserError, match=r"a\.jsonl:(\d+:)? "):
        read_records(path)


# Real data ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("fire/train.jsonl", {"dropped_relations": 1, "duplicates": 1}),
        ("fire/dev.jsonl", {}),
        ("fire/test.jsonl", {"dropped_spans": 2}),
        ("fashion_brands/train.jsonl", {}),
        ("fashion_brands/dev.jsonl", {}),
        ("fashion_brands/test.jsonl", {}),
        ("crossner_politics/train.jsonl", {}),
        ("crossner_politics/dev.jsonl", {"snapped": 3, "duplicates": 1}),
        ("crossner_politics/test.jsonl", {"snapped": 3}),
    ],
)
def test_real_data_loads_with_every_change_counted(nlp, name, counts):
    path = real_data(name)
    report = ReadReport()
    found = read_records(
        path,
        tokenizer=nlp.tokenizer,
        misaligned="snap",
        duplicates="first",
        bad_relations="drop",
        report=report,
    )
    assert report.counts() == counts
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(found) + report.duplicates == len(lines)
    assert len(list(docbin(to_doc(record, nlp) for record in found).get_docs(nlp.vocab))) == len(found)


class TestAnswers:
    def test_a_text_may_have_several(self, tmp_path):
        path = write_lines(tmp_path / "a.jsonl", [GOOD, changed(meta={"id": "a", "annotator": 7}), GOOD])
        assert [record.annotator for record in records.read_answers(path, SCHEME)] == ["", "7", ""]

    def test_a_prodigy_session_is_an_annotator(self):
        assert Record(text="x", _annotator_id="deals-anna").annotator == "deals-anna"

    @pytest.mark.parametrize(
        ("line", "fault"),
        [
            (changed(spans=[span(0, 5), span(3, 8)], relations=[]), "overlap"),
            (changed(spans=[span(0, 5, "CITY")], relations=[]), "'CITY' isn't in the scheme"),
            (changed(relations=[{"head": 0, "child": 2, "label": "RAISED"}]), "points to span 2"),
            (changed(relations=[{"head": 1, "child": 1, "label": "RAISED"}]), "joins span 1 to itself"),
            (changed(relations=[{"head": 0, "child": 1, "label": "LENT"}]), "'LENT' isn't in the scheme"),
        ],
    )
    def test_each_is_checked(self, tmp_path, line, fault):
        path = write_lines(tmp_path / "a.jsonl", [GOOD, line])
        with pytest.raises(UserError, match=rf"a.jsonl:2: .*{fault}"):
            records.read_answers(path, SCHEME)


class TestRecordFile:
    """Read on demand, by the rules of `read_records`."""

    def test_it_gives_the_same_records(self, tmp_path: Path) -> None:
        lines = [
            {
                "text": 'Größe \u2028 👍 "x"',
                "spans": [{"start": 0, "end": 5, "label": "A"}],
                "meta": {"id": 1},
            },
            {"meta": {"id": 2}, "text": "the text isn't first"},
        ]
        path = write_lines(tmp_path / "a.jsonl", lines)
        found = RecordFile(path)
        assert [found.get(text) for text in found.texts] == read_records(path)
        assert found.get("other") is None
        assert len(found) == len(list(found.check())) == 2

    @pytest.mark.parametrize(("lines", "fault"), [
        (['{"text": "a", "spans": [}'], "a.jsonl:1: not valid JSON"),
        (['{"text": "a"}', '{"text": ""}'], "a.jsonl:2: the text is empty"),
        (['{"text": "a", "spans": [{"start": 0, "end": 9, "label": "A"}]}'], "a.jsonl:1: span 0-9"),
        (['{"text": "a", "meta": {"id": 1}}', '{"text": "b", "meta": {"id": 1}}'], "a.jsonl:2: the id '1'"),
    ])  # fmt: skip
    def test_checking_finds_every_fault(self, tmp_path: Path, lines: list[str], fault: str) -> None:
        path = write_lines(tmp_path / "a.jsonl", lines)
        with pytest.raises(UserError) as lazily:
            list(RecordFile(path).check())
        with pytest.raises(UserError) as at_once:
            read_records(path)
        assert fault in str(lazily.value) == str(at_once.value)

    @pytest.mark.parametrize(
        ("line", "fault"), [("{", "a.jsonl:2: not valid JSON"), ("", "a.jsonl:2: the line is empty")]
    )
    def test_a_line_without_a_text_is_found_at_once(self, tmp_path: Path, line: str, fault: str) -> None:
        with pytest.raises(UserError, match=fault):
            RecordFile(write_lines(tmp_path / "a.jsonl", ['{"text": "a"}', line]))

    def test_a_text_twice(self, tmp_path: Path) -> None:
        path = write_lines(tmp_path / "a.jsonl", ['{"text": "a", "n": 1}', '{"text": "a", "n": 2}'])
        with pytest.raises(UserError, match="the same text as line 1"):
            RecordFile(path)
        assert RecordFile(path, duplicates="first").get("a").model_extra == {"n": 1}

"""Raw texts are read as they are: one per row or line, whatever separates, quotes or encodes them."""

import codecs
import csv
import io
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import ROOT

from ie.core.errors import UserError
from ie.setup.raw_texts import read_texts

CASES = ROOT.parent / "shared" / "cases"
QUICK = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


def texts(path: Path, content: str | bytes) -> list[str]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [record.text for record in read_texts(path)[0]]


class TestTabs:
    def test_quotes_are_part_of_the_texts(self, tmp_path):
        rows = ['"Norvik" is new', '"We will not sell, says Velm', "Tarn", 'He said "no"', '"No comment"']
        content = "id\ttext\n" + "".join(f"{i}\t{text}\n" for i, text in enumerate(rows))
        assert texts(tmp_path / "a.tsv", content) == rows

    @pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_but_not_if_a_program_quoted_the_fields(self, tmp_path, quoting, end):
        rows = ["Tarn, of Oulu", 'He said "no"', "two\nlines", "a\ttab"]
        sink = io.StringIO(newline="")
        writer = csv.writer(sink, delimiter="\t", quoting=quoting, lineterminator=end)
        writer.writerows([["id", "text"], *([i, text] for i, text in enumerate(rows))])
        assert texts(tmp_path / "a.tsv", sink.getvalue()) == rows

    def test_excel_quotes_commas(self, tmp_path):
        assert texts(tmp_path / "a.tsv", 'id\ttext\r\n1\t"Tarn, Oulu"\r\n2\tVelm\r\n') == [
            "Tarn, Oulu",
            "Velm",
        ]
        # its "Unicode text" is UTF-16
        marked = codecs.BOM_UTF16_LE + "id\ttext\r\n1\tVelm é\r\n".encode("utf-16-le")
        assert texts(tmp_path / "b.tsv", marked) == ["Velm é"]


class TestColumns:
    @pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
    @pytest.mark.parametrize("quote", ["", '"'])
    def test_what_separates_them_is_found(self, tmp_path, separator, quote):
        lines = [["id", "text", "source"], ["1", "Tarn sold", "a"], ["2", "Velm pays", "b"]]
        content = "\n".join(separator.join(f"{quote}{field}{quote}" for field in line) for line in lines)
        assert texts(tmp_path / "a.csv", content) == ["Tarn sold", "Velm pays"]
        assert read_texts(tmp_path / "a.csv")[0][1].meta == {"id": "2", "source": "b"}

    def test_semicolons_and_commas(self, tmp_path):
        assert texts(tmp_path / "a.csv", "id;Text\n1;5,4 million, he said\n") == ["5,4 million, he said"]
        assert texts(tmp_path / "b.csv", 'text,"a;b"\nTarn;x,1\n') == ["Tarn;x"]

    @given(
        rows=st.lists(
            st.tuples(st.integers(0, 9).map(str), st.text('ab",;\t|\n\u2028é ', min_size=1, max_size=12)),
            min_size=1,
            max_size=5,
            unique_by=lambda row: row[1].strip(),
        ),
        separator=st.sampled_from(",;\t|"),
    )
    @QUICK
    def test_what_a_program_wrote_is_read(self, tmp_path, rows, separator):
        wanted = [text.strip() for _, text in rows if text.strip()]
        sink = io.StringIO(newline="")
        csv.writer(sink, delimiter=separator, quoting=csv.QUOTE_ALL).writerows([["id", "text"], *rows])
        if wanted:
            assert texts(tmp_path / "a.csv", sink.getvalue()) == wanted

    def test_a_text_may_be_long(self, tmp_path):
        long = "Norvik Ltd bought Tarn Oy. " * 20_000
        assert texts(tmp_path / "a.csv", f'id,text\n1,"{long}"\n2,Velm\n') == [long.strip(), "Velm"]

    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            ("", "a.csv: the file is empty; its first line must name the columns, one of them text"),
            ("\n\n", "a.csv: the file is empty"),
            ("title;source\nx;y\n", r"a.csv:1: no column is called text \(there are title, source\)"),
            ('id,"text\n1,Tarn\n2,Velm\n', "a.csv:1: a quote opens a field and isn't closed; put quotes"),
            ('id,"text\n1,"Tarn"\n', "a.csv:1: not valid CSV"),
            ('id,text\n1,Tarn\n2,"Velm\n3,Norvik\n', "a.csv:3: a quote opens a field and isn't closed"),
            ('id,text\n1,"Tarn" is new\n', "a.csv:2: not valid CSV"),
            (
                "text\nTarn, of Oulu\n",
                "a.csv:2: 2 fields under 1 columns; put quotes around a text that holds ','",
            ),
            ("text,id,id\nTarn,1,2\n", "a.csv:1: two columns are called 'id'"),
            (b"id,text\n1,caf\xe9\n", "a.csv:2: not UTF-8 .byte 14 of the file.; save it as UTF-8"),
            ("id,text\n1,Tarn\n".encode("utf-16-le"), "a.csv:1: a NUL character; is the file UTF-16"),
        ],
    )
    def test_mistakes_are_one_sentence(self, tmp_path, content, fault):
        with pytest.raises(UserError, match=fault):
            texts(tmp_path / "a.csv", content)

    @given(content=st.binary(max_size=40) | st.text('text,;"\n\t1', max_size=40).map(str.encode))
    @QUICK
    def test_anything_else_is_one_sentence_too(self, tmp_path, content):
        for name in ("a.csv", "a.tsv", "a.txt", "a.jsonl", "a.parquet"):
            with suppress(UserError):
                texts(tmp_path / name, content)


class TestLines:
    def test_only_a_line_end_ends_a_line(self, tmp_path):
        lines = ["Norvik\u2028bought Tarn", "Tarn\x0bsold\x0c a\x1cshop", "Velm\x85 opened\ra shop"]
        assert texts(tmp_path / "a.txt", "\r\n".join(lines) + "\r\n") == lines
        assert texts(tmp_path / "b.txt", codecs.BOM_UTF16_BE + "é\nü".encode("utf-16-be")) == ["é", "ü"]


def test_parquet_is_read_without_its_annotations(tmp_path):
    table = pa.table(
        {
            "text": ["Hooli pays", None, "Velm"],
            "spans": [[{"start": 0, "end": 5, "label": "A"}], None, None],
            "label": [1, 2, 3],
            "score": [0.5, float("nan"), None],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    records, left_out = read_texts(tmp_path / "a.parquet")
    assert [(r.text, r.spans, r.model_extra) for r in records] == [
        ("Hooli pays", [], {"label": 1, "score": 0.5}),
        ("Velm", [], {"label": 3}),
    ]
    assert left_out == {"empty": 1}


@pytest.mark.parametrize(
    ("name", "n"),
    [("16-tsv-quote/texts.tsv", 5), ("17-csv-long-field/texts.csv", 2), ("18-txt-linebreaks/texts.txt", 3)],
)
def test_public_reports(name, n):
    if not (CASES / name).exists():
        pytest.skip(f"needs {CASES / name}")
    assert len(read_texts(CASES / name)[0]) == n

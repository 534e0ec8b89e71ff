"""Texts by the million, as far as a few hundred show it: each once, the same bytes, nothing lost silently."""

import gzip
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import spacy
from confidences import write_project
from running import ROOT, Outcome, full_disk, run_command, write_lines
from spacy.language import Language

from ie.core.files import locked
from ie.data.shards import Shard
from ie.deploy.apply import pipeline_worker
from ie.deploy.apply.pipeline_worker import ApplySettings
from ie.training import confidence_training


@pytest.fixture(scope="module")
def model(rule_pipeline: Path) -> Path:
    return rule_pipeline


def other_model(folder: Path) -> Path:
    spacy.blank("en").to_disk(folder)
    return folder


def line(i: int) -> dict[str, Any]:
    return {"text": f"Hooli number {i} raised $ {i + 1} million.", "meta": {"id": f"t{i}"}, "day": i % 7}


@pytest.fixture
def apply(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture) -> Callable[..., Outcome]:
    def call(texts: Path, output: str = "out", **options: Any) -> Outcome:
        given = {"model": model, "workers": 1, "shard": 10, **options}
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
        return run_command("apply", ["--texts", texts, "--output", tmp_path / output, *flags], capsys)

    return call


def tree(folder: Path) -> dict[str, bytes]:
    """All that a run left, by name; but for its lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def results(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "rows").to_pylist()


def set_aside(folder: Path) -> list[dict[str, Any]]:
    files = sorted(path for path in (folder / "rejected").rglob("*.jsonl") if path.is_file())
    return [json.loads(row) for path in files for row in path.read_text(encoding="utf-8").splitlines()]


def test_each_row_comes_out_with_what_the_pipeline_says(tmp_path, apply):
    texts = write_lines(tmp_path / "in" / "a.jsonl", [line(i) for i in range(25)])
    done = apply(texts, id_column="meta.id")
    assert done.status == 0
    assert "texts 25" in done.output
    assert sorted(tree(tmp_path / "out")) == [
        "manifest.json",
        *(f"rows/a.jsonl/{number:06}.parquet" for number in range(3)),
        "summary.json",
    ]
    found = results(tmp_path / "out")
    assert [row["row"] for row in found] == list(range(1, 26))
    row = found[4]
    assert row["id"] == "t4"
    assert row["file"] == "a.jsonl"
    assert json.loads(row["extra"]) == {"meta": {"id": "t4"}, "day": 4}
    company, money = row["spans"]
    assert (company["start"], company["end"], company["label"], company["text"]) == (0, 5, "COMPANY", "Hooli")
    assert company["money"] is None
    assert (money["money"]["amount"], money["money"]["currency"]) == ("5000000", "USD")


def test_confidences_come_out(tmp_path):
    model = write_project(tmp_path)
    confidence_training.add_confidence(model, tmp_path / "train.spacy", tmp_path / "dev.spacy")
    nlp = spacy.load(model)
    text = "Mr. Velto said so."
    (span,) = pipeline_worker.annotation(nlp(text))["spans"]
    assert span["confidence"] == nlp(text).ents[0]._.confidence < 0.5
    assert pipeline_worker.SPANS.value_type.field("confidence").type == pa.float64()


def test_relations_categories_and_links_come_out(model):
    @Language.component("says_more")
    def says_more(doc):
        doc.cats = {"FUNDING": 0.75, "OTHER": 0.25}
        doc.ents = [
            spacy.tokens.Span(doc, ent.start, ent.end, label=ent.label_, kb_id="c42") for ent in doc.ents
        ]
        doc._.relations = [{"head": 0, "child": 1, "label": "RAISED", "score": 0.5}]
        return doc

    nlp = spacy.load(model)
    nlp.add_pipe("says_more")
    content = json.dumps(line(1)).encode()
    shard = Shard("a.jsonl", "jsonl", 0, 1, content)
    (row,) = pq.read_table(
        pa.BufferReader(pipeline_worker.annotate(nlp, ApplySettings(), shard).results)
    ).to_pylist()
    unknown = {"confidence": None, "row_confidence": None}
    assert row["relations"] == [{"head": 0, "child": 1, "label": "RAISED", "score": 0.5, **unknown}]
    assert row["cats"] == [{"label": "FUNDING", "score": 0.75}, {"label": "OTHER", "score": 0.25}]
    assert [span["kb_id"] for span in row["spans"]] == ["c42", "c42"]
    (told,) = pipeline_worker.annotate(nlp, ApplySettings(format="jsonl"), shard).results.splitlines()
    assert json.loads(told)["cats"] == {"FUNDING": 0.75, "OTHER": 0.25}


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(tmp_path, apply, model):
    for name, n in (("a.jsonl", 300), ("b/c.jsonl", 300)):
        write_lines(tmp_path / "in" / name, [line(i) if i % 50 else {"text": 3} for i in range(n)])
    out = tmp_path / "out"
    flags = ["--texts", tmp_path / "in", "--output", out, "--model", model, "--workers", "2", "--shard", "3"]
    command = [sys.executable, str(ROOT / "scripts" / "apply.py"), *map(str, flags)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(list(out.rglob("*.parquet"))) < 5:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert process.returncode == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in out.rglob("[!.]*.parquet")}
    assert 0 < len(before) < 200
    (out / "rows" / "a.jsonl" / ".000099.parquet.half").write_bytes(b"half")
    # what is there is whole
    assert all(pq.read_metadata(path).num_rows for path in before)
    done = apply(tmp_path / "in", shard=3)
    assert done.status == 0
    assert "shards are kept from an earlier run" in done.output
    assert {path: path.stat().st_mtime_ns for path in before} == before
    places = [(row["file"], row["row"]) for row in [*results(out), *set_aside(out)]]
    assert len(places) == len(set(places)) == 600
    assert apply(tmp_path / "in", "whole", shard=3).status == 0
    assert tree(out) == tree(tmp_path / "whole")


@pytest.mark.slow
def test_two_workers_write_what_one_writes(tmp_path, apply):
    texts = write_lines(tmp_path / "in" / "a.jsonl", [line(i) for i in range(45)])
    assert apply(texts, "one").status == apply(texts, "two", workers=2).status == 0
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_a_second_run_does_nothing_again_and_a_new_file_only_is_added(tmp_path, apply):
    write_lines(tmp_path / "in" / "a.jsonl", [line(i) for i in range(5)])
    apply(tmp_path / "in")
    first = tree(tmp_path / "out")
    assert "All 1 shards are there" in apply(tmp_path / "in").output
    assert tree(tmp_path / "out") == first
    write_lines(tmp_path / "in" / "b.jsonl", [line(i) for i in range(5, 9)])
    assert "1 of 2 shards are kept" in apply(tmp_path / "in").output
    assert len(results(tmp_path / "out")) == 9


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda p: {"model": other_model(p / "other")}, "the pipeline"),
        (lambda p: {"batch_size": 7}, "the setting batch_size"),
        (lambda p: write_lines(p / "in" / "a.jsonl", [line(3)]) and {}, "the input a.jsonl"),
        (lambda p: (p / "in" / "a.jsonl").rename(p / "in" / "b.jsonl") and {}, "a.jsonl, which is gone,"),
    ],
)
def test_another_run_is_refused_by_name(tmp_path, apply, change, told):
    write_lines(tmp_path / "in" / "a.jsonl", [line(i) for i in range(5)])
    apply(tmp_path / "in")
    before = tree(tmp_path / "out")
    refused = apply(tmp_path / "in", **change(tmp_path))
    assert refused.status == 1
    assert f"holds the results of another run ({told} changed since); name another folder" in refused.output
    assert tree(tmp_path / "out") == before


def test_results_of_other_code_are_refused(tmp_path, apply, monkeypatch):
    write_lines(tmp_path / "in" / "a.jsonl", [line(i) for i in range(5)])
    apply(tmp_path / "in")
    monkeypatch.setattr(
        pipeline_worker, "hash_code", lambda *packages: "edited" * (packages == pipeline_worker.CODE)
    )
    refused = apply(tmp_path / "in")
    assert refused.status == 1
    assert "holds the results of another run (the code changed since)" in refused.output


def test_bad_rows_are_set_aside_with_reasons_and_counted(tmp_path, apply):
    bad = {
        "{not json": "not JSON",
        '["a", "list"]': "no JSON object",
        '{"id": 7}': "no text",
        '{"text": null}': "no text",
        '{"text": "  "}': "empty text",
        '{"text": 5}': "the text isn't a string, but int",
        '{"text": "' + "x" * 60 + '"}': "longer than 50 characters",
        '{"text": "Hooli ' + "(" * 21 + '"}': "more than 20 characters in a row without whitespace",
        '{"text": "half \\ud83d a pair"}': "not Unicode",
    }
    lines = [json.dumps(line(0)), *bad, "", json.dumps(line(1))]
    texts = write_lines(tmp_path / "in" / "a.jsonl", lines)
    with open(texts, "ab") as file:
        file.write(b'{"text": "caf\xe9"}\n')
    done = apply(texts, shard=4, max_chars=50, stretch=20)
    assert done.status == 0
    assert "set aside: no text 2" in done.output
    assert "texts 2" in done.output
    found = set_aside(tmp_path / "out")
    assert [(row["row"], row["reason"]) for row in found] == [
        *((number, reason) for number, reason in enumerate(bad.values(), start=2)),
        (13, "not UTF-8"),
    ]
    assert found[0]["content"] == "{not json"
    assert [row["row"] for row in results(tmp_path / "out")] == [1, 12]


def strings(*values: bytes | None) -> pa.Array:
    """Strings as a broken program writes them: any bytes."""
    return pa.Array.from_buffers(pa.string(), len(values), pa.array(values, pa.binary()).buffers())


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
@pytest.mark.parametrize("packed", [False, True])
def test_bytes_that_are_not_utf8_set_their_row_of_a_parquet_file_aside(tmp_path, apply, format, packed):
    texts = strings(b"Hooli raised $ 5", b"caf\xe9 raised $ 5", None, b"Hooli", b"Hooli again")
    inner = pa.StructArray.from_arrays([strings(b"a", b"b", b"c", b"caf\xe9", b"e")], ["q"])
    columns = {"text": texts.dictionary_encode() if packed else texts, "who": inner}
    write_parquet(tmp_path / "a.parquet", columns)
    done = apply(tmp_path / "a.parquet", format=format)
    assert done.status == 0
    assert "texts 2" in done.output
    assert [(row["row"], row["reason"]) for row in set_aside(tmp_path / "out")] == [
        (2, "not UTF-8 in text"),
        (3, "no text"),
        (4, "not UTF-8 in who"),
    ]
    assert "caf\ufffd" in set_aside(tmp_path / "out")[0]["content"]


def test_numbers_that_json_can_not_hold_are_null_in_rows(tmp_path, apply):
    lines = ['{"text": "Hooli", "score": NaN, "all": [1, -Infinity, {"a": 1e400}]}', json.dumps(line(1))]
    texts = write_lines(tmp_path / "in" / "a.jsonl", lines)
    columns = {"text": ["Hooli"], "score": [float("nan")], "at": pa.array([10**18 + 1], pa.timestamp("ns"))}
    write_parquet(tmp_path / "in" / "b.parquet", columns)
    for format in ("jsonl", "parquet"):
        assert apply(tmp_path / "in", output=format, format=format).status == 0
    found = [
        json.loads(row, parse_constant=pytest.fail)
        for path in sorted((tmp_path / "jsonl" / "rows").rglob("*.jsonl"))
        if path.is_file()
        for row in path.read_text(encoding="utf-8").splitlines()
    ]
    assert found[0]["score"] is None
    assert found[0]["all"] == [1, None, {"a": None}]
    assert found[2]["score"] is None
    assert found[2]["at"] == "2001-09-09 01:46:40.000000001"
    extra = pq.read_table(tmp_path / "parquet" / "rows" / "a.jsonl").to_pylist()[0]["extra"]
    assert json.loads(extra, parse_constant=pytest.fail)["all"] == [1, None, {"a": None}]
    assert texts.exists()


def test_a_text_whose_score_is_not_finite_is_set_aside(model):
    @Language.component("nan_on_three")
    def nan_on_three(doc):
        doc.cats = {"A": float("nan") if "number 3" in doc.text else 0.5}
        return doc

    nlp = spacy.load(model)
    nlp.add_pipe("nan_on_three")
    lines = "".join(json.dumps(line(i)) + "\n" for i in range(6)).encode()
    done = pipeline_worker.annotate(nlp, ApplySettings(batch_size=4), Shard("a.jsonl", "jsonl", 0, 1, lines))
    found = pq.read_table(pa.BufferReader(done.results)).to_pylist()
    assert [row["row"] for row in found] == [1, 2, 3, 5, 6]
    assert json.loads(done.rejected)["reason"] == "the pipeline fails (a score is NaN or infinite)"


def test_a_text_on_which_the_pipeline_fails_is_set_aside_alone(model):
    @Language.component("fails_on_three")
    def fails_on_three(doc):
        if "number 3" in doc.text:
            raise ValueError("three")
        return doc

    nlp = spacy.load(model)
    nlp.add_pipe("fails_on_three")
    lines = "".join(json.dumps(line(i)) + "\n" for i in range(6)).encode()
    done = pipeline_worker.annotate(nlp, ApplySettings(batch_size=4), Shard("a.jsonl", "jsonl", 0, 1, lines))
    found = pq.read_table(pa.BufferReader(done.results)).to_pylist()
    assert [row["row"] for row in found] == [1, 2, 3, 5, 6]
    assert all(len(row["spans"]) == 2 for row in found)
    told = json.loads(done.rejected)
    assert (told["row"], told["reason"]) == (4, "the pipeline fails (ValueError: three)")
    only = json.dumps(line(3)).encode()
    with pytest.raises(pipeline_worker.UserError, match="the pipeline fails on every text from row 1 on"):
        pipeline_worker.annotate(nlp, ApplySettings(), Shard("a.jsonl", "jsonl", 0, 1, only))


def test_parquet_keeps_its_columns_and_their_types(tmp_path, apply):
    table = pa.table(
        {
            "key": pa.array(range(100, 125), pa.int64()),
            "body": pa.array([None if i == 3 else line(i)["text"] for i in range(25)], pa.large_string()),
            "spans": pa.array(["theirs"] * 25),
            "tags": pa.array([["x", str(i)] for i in range(25)]),
        }
    )
    (tmp_path / "in").mkdir()
    # row groups have other borders than shards
    pq.write_table(table, tmp_path / "in" / "a.parquet", row_group_size=7)
    assert apply(tmp_path / "in", text_column="body", id_column="key").status == 0
    found = pq.read_table(tmp_path / "out" / "rows")
    assert found.schema.field("id").type == pa.int64()
    assert found.schema.field("tags").type == pa.list_(pa.string())
    rows = found.to_pylist()
    assert [row["id"] for row in rows] == [key for key in range(100, 125) if key != 103]
    assert [row["row"] for row in rows] == [number for number in range(1, 26) if number != 4]
    assert rows[20]["text"] == line(21)["text"]
    assert rows[20]["tags"] == ["x", "21"]
    assert rows[20]["input_spans"] == "theirs"
    assert len(list((tmp_path / "out" / "rows" / "a.parquet").iterdir())) == 3
    (aside,) = set_aside(tmp_path / "out")
    assert (aside["row"], aside["reason"], json.loads(aside["content"])["key"]) == (4, "no text", 103)


def test_packed_lines_give_what_plain_ones_give(tmp_path, apply):
    plain = write_lines(tmp_path / "plain" / "a.jsonl", [line(i) for i in range(25)])
    (tmp_path / "packed").mkdir()
    with gzip.open(tmp_path / "packed" / "a.jsonl.gz", "wb") as file:
        file.write(plain.read_bytes())
    apply(plain, "one")
    apply(tmp_path / "packed", "two")
    one, two = results(tmp_path / "one"), results(tmp_path / "two")
    assert [row | {"file": ""} for row in one] == [row | {"file": ""} for row in two]


def test_records_as_lines_can_be_read_by_the_other_commands(tmp_path, apply):
    from ie.data.records import read_records

    texts = write_lines(tmp_path / "in" / "a.jsonl", [line(i) | {"spans": "theirs"} for i in range(5)])
    assert apply(texts, format="jsonl", id_column="meta.id").status == 0
    record = read_records(tmp_path / "out" / "rows" / "a.jsonl" / "000000.jsonl")[2]
    assert [span.label for span in record.spans] == ["COMPANY", "MONEY"]
    assert record.id == "t2"
    assert record.model_extra["input_spans"] == "theirs"


@pytest.mark.parametrize(
    ("make", "options", "told"),
    [
        (lambda p: p / "nothing", {}, "there is no such file or folder"),
        (lambda p: (p / "in").mkdir() or p / "in", {}, "holds no file that ends in one of .parquet"),
        (lambda p: write_lines(p / "in" / "a.jsonl", []), {}, "has no rows in its files (a.jsonl)"),
        (lambda p: write_lines(p / "a.txt", ["x"]), {}, "its name must end in one of .parquet, .jsonl"),
        (
            lambda p: write_lines(p / "in" / "a.jsonl", [line(0)]),
            {"text_column": "body"},
            "none of its first 1 rows has 'body', but text, meta, day; name the column",
        ),
        (
            lambda p: write_parquet(p / "a.parquet", {"text": [1]}),
            {},
            "the column 'text' holds int64, no texts",
        ),
        (
            lambda p: write_parquet(p / "a.parquet", {"text": ["x"]}),
            {"id_column": "key"},
            "has no column 'key', but text; name the column of the ids, or none",
        ),
        (lambda p: write_parquet(p / "a.parquet", {"body": ["x"]}), {}, "has no column 'text', but body"),
        (lambda p: write_bytes(p / "a.parquet", b"PAR1 nonsense"), {}, "a.parquet: can't be read ("),
        (
            lambda p: write_bytes(p / "a.jsonl.gz", gzip.compress(b'{"text": "x"}\n' * 999)[:-20]),
            {},
            "a.jsonl.gz: can't be read (",
        ),
        (
            lambda p: write_lines(p / "in" / "a.jsonl", [line(0)]),
            {"model": "nowhere"},
            "nowhere: there is no trained pipeline; run `weasel run train` first",
        ),
    ],
)
def test_what_can_not_be_worked_on_is_one_sentence_and_leaves_nothing(tmp_path, apply, make, options, told):
    refused = apply(make(tmp_path), **options)
    assert refused.status == 1
    assert told in refused.output
    assert not (tmp_path / "out").exists()


def write_parquet(path: Path, columns: dict[str, list]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def write_bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_if_nothing_could_be_used_that_is_an_error(tmp_path, apply):
    refused = apply(write_lines(tmp_path / "in" / "a.jsonl", ["id,text", "1,Hooli"]))
    assert refused.status == 1
    assert "no row could be used (not JSON)" in refused.output
    assert len(set_aside(tmp_path / "out")) == 2


def test_results_are_not_put_where_they_would_be_read_or_mixed(tmp_path, apply):
    texts = write_lines(tmp_path / "in" / "a.jsonl", [line(0)])
    assert "would be read as texts" in apply(tmp_path / "in", "in/out").output
    write_lines(tmp_path / "out" / "notes.txt", ["mine"])
    assert "isn't empty, but has no results of apply" in apply(texts).output


def test_a_full_disk_is_one_sentence_and_the_next_run_goes_on(tmp_path, apply, monkeypatch):
    texts = write_lines(tmp_path / "in" / "a.jsonl", [line(i) for i in range(25)])
    full_disk(monkeypatch, 3)  # the manifest, the first shard, the second
    refused = apply(texts)
    assert refused.status == 1
    assert "000001.parquet: can't be written (No space left on device); free some space" in refused.output
    files = tree(tmp_path / "out")
    assert sorted(files) == ["manifest.json", "rows/a.jsonl/000000.parquet"]
    monkeypatch.undo()
    assert apply(texts).status == 0
    assert len(results(tmp_path / "out")) == 25


def test_two_runs_do_not_write_to_one_folder(tmp_path, apply):
    texts = write_lines(tmp_path / "in" / "a.jsonl", [line(0)])
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out" / ".lock", "busy"):
        assert "another run is writing to it" in apply(texts).output


def test_memory_for_new_words_is_bounded(model, monkeypatch):
    monkeypatch.setattr(pipeline_worker, "KEPT_WORDS", 30)

    def shard(number: int) -> Shard:
        lines = [json.dumps({"text": f"word{number}x{i}"}) for i in range(50)]
        return Shard("a.jsonl", "jsonl", number, 1, "\n".join(lines).encode())

    for number in range(2):
        pipeline_worker.work(model, "words", ApplySettings(), shard(number))
    known = len(pipeline_worker.load(model, "words").nlp.vocab.strings)
    for number in range(2, 5):
        pipeline_worker.work(model, "words", ApplySettings(), shard(number))
    assert len(pipeline_worker.load(model, "words").nlp.vocab.strings) == known
    # and what comes out doesn't depend on it
    forgetful, fresh = (
        pipeline_worker.work(model, key, ApplySettings(), shard(9)) for key in ("words", "fresh")
    )
    assert forgetful.results == fresh.results


def test_ray_that_is_not_installed_is_one_sentence(tmp_path, apply, monkeypatch):
    monkeypatch.setattr("ie.core.ray_cluster.find_spec", lambda name: None)
    refused = apply(write_lines(tmp_path / "in" / "a.jsonl", [line(0)]), executor="ray")
    assert refused.status == 1
    assert "--executor ray needs Ray, which isn't installed; run `pip install -r" in refused.output
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray isn't installed")
def test_ray_writes_what_one_worker_writes(tmp_path, apply):
    write_lines(tmp_path / "in" / "a.jsonl", [line(i) if i % 9 else {} for i in range(45)])
    write_parquet(tmp_path / "in" / "b.parquet", {"text": [line(i)["text"] for i in range(25)]})
    assert apply(tmp_path / "in", "local").status == 0
    done = apply(tmp_path / "in", "ray", executor="ray", workers=2)
    assert done.status == 0, done.output
    assert tree(tmp_path / "local") == tree(tmp_path / "ray")

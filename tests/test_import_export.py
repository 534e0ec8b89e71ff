"""Both commands as they are run: what they refuse, what they say, and that nothing is overwritten."""

import json
from pathlib import Path

import pytest
from document_files import make_pdf, need_pdf
from running import Outcome, run_command, scheme, write_lines

SCHEME = scheme("COMPANY", "MONEY")
ROW = {"text": "Hooli raises $5m", "spans": [{"start": 0, "end": 5, "label": "COMPANY", "name": "Hooli XYZ"}]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "llm.cfg").write_text(SCHEME, encoding="utf-8")
    write_lines(tmp_path / "gold.jsonl", [ROW])
    return tmp_path


def bring(folder: Path, capsys, form: str, content: str | bytes, *more: object) -> Outcome:
    data = content if isinstance(content, bytes) else content.encode()
    (folder / "in").write_bytes(data)
    options = ["--source", folder / "in", "--target", folder / "new.jsonl", "--format", form]
    return run_command("import", [*options, "--scheme", folder / "llm.cfg", *more], capsys)


def test_there_and_back(folder, capsys):
    options = ["--source", folder / "gold.jsonl", "--target", folder / "out", "--scheme", folder / "llm.cfg"]
    outcome = run_command("export", [*options, "--format", "doccano"], capsys)
    assert outcome.status == 0
    assert "lost: spans.name 1" in outcome.output
    outcome = bring(folder, capsys, "doccano", (folder / "out").read_bytes())
    assert outcome.status == 0
    assert "Nothing was lost." in outcome.output
    [row] = map(json.loads, (folder / "new.jsonl").read_text(encoding="utf-8").splitlines())
    assert row["spans"] == [{"start": 0, "end": 5, "label": "COMPANY"}]


def test_label_studio_gets_its_interface(folder, capsys):
    options = ["--source", folder / "gold.jsonl", "--target", folder / "out", "--scheme", folder / "llm.cfg"]
    outcome = run_command("export", options, capsys)
    assert '<Label value="MONEY"/>' in outcome.output


def test_an_existing_file_is_only_added_to(folder, capsys):
    line = json.dumps(ROW)
    before = write_lines(folder / "new.jsonl", [{**ROW, "meta": {"kept": 1}}]).read_bytes()
    outcome = bring(folder, capsys, "prodigy", line)
    assert outcome.status == 1
    assert "new.jsonl: exists, and nothing is overwritten" in outcome.output
    more = line + "\n" + json.dumps({"text": "Acme"}) + "\n" + json.dumps({"text": ROW["text"]})
    outcome = bring(folder, capsys, "prodigy", more, "--append")
    assert outcome.status == 0
    assert "left out: there already 1" in outcome.output
    assert "left out: there already, annotated differently 1" in outcome.output
    after = (folder / "new.jsonl").read_bytes()
    assert after.startswith(before)
    assert len(after.splitlines()) == 2


def test_the_exported_file_is_not_its_own_target(folder, capsys):
    options = ["--source", folder / "gold.jsonl", "--target", folder / "gold.jsonl"]
    outcome = run_command("export", [*options, "--scheme", ""], capsys)
    assert outcome.status == 1
    assert "this is the file that is exported" in outcome.output


def test_gold_is_not_exported_over(folder, capsys):
    before = (folder / "gold.jsonl").read_bytes()
    other = write_lines(folder / "other.jsonl", [{"text": "x"}])
    options = ["--source", other, "--target", folder / "gold.jsonl", "--reviewed", folder / "gold.jsonl"]
    outcome = run_command("export", [*options, "--scheme", "", "--format", "prodigy"], capsys)
    assert outcome.status == 1
    assert "gold, which only people write" in outcome.output
    assert (folder / "gold.jsonl").read_bytes() == before


TASK = '[{"data": {"text": "Hooli"}, "annotations": [{"result": [%s]}]}]'
ROWS = '{"text": "Hooli", "spans": [{"start": 0, "end": %d, "label": "%s"}]}'
REGION = '{"id": "a", "type": "labels", "value": {"start": 0, "end": %d, "text": "Hooli", "labels": ["%s"]}}'


@pytest.mark.parametrize(
    ("form", "content", "fault"),
    [
        ("prodigy", "", "in: the file is empty"),
        ("prodigy", "{broken", "in:1: not valid JSON"),
        (
            "prodigy",
            '{"text": "x"}\n{"text": "Hooli", "spans": [{"start": 0, "end": 9, "label": "MONEY"}]}',
            "in:2: span",
        ),
        (
            "prodigy",
            '{"text": "Hooli", "spans": [{"start": 0, "end": 5, "label": "CITY"}]}',
            "in:1: span label 'CITY' isn't in the scheme",
        ),
        ("labelstudio", '{"text": "x"}', "in: no list of tasks"),
        ("labelstudio", "[\n{broken", "in: not valid JSON at line 2"),
        (
            "labelstudio",
            '[{"data": {"content": "x", "url": "y"}}]',
            "in: task 1: no 'text' that is a string, but content, url; rename the key of the text",
        ),
        (
            "labelstudio",
            TASK % (REGION % (4, "MONEY")),
            "in: task 1: the region 0-4 holds 'Hool'",
        ),
        ("labelstudio", TASK % (REGION % (5, "CITY")), "in: task 1: span label 'CITY' isn't in the scheme"),
        (
            "labelstudio",
            TASK % '{"type": "relation", "from_id": "q", "to_id": "a"}',
            "points to the region",
        ),
        ("doccano", '{"text": "Hooli"}\n[]', "in:2: no JSON object"),
        ("doccano", '{"text": "Hooli", "label": [[0, 5]]}', "in:1: [0, 5] is no [start, end, label]"),
        (
            "doccano",
            '{"text": "Hooli", "label": [["0", 5, "MONEY"]]}',
            "in:1: spans.0.start: input",
        ),
        ("doccano", '{"text": "Hooli", "label": [[0, 5, "MONEY"], [3, 5, "MONEY"]]}', "in:1: spans"),
        ("conll", "Hooli B-MONEY\nraises", "in:2: one column"),
        ("conll", "Hooli MONEY", "in:1: 'MONEY' is no tag"),
        ("conll", "\n\nHooli B-CITY", "in:3: span label 'CITY' isn't in the scheme"),
        ("conll", b"\xff", "in:1: not UTF-8 (byte 1 of the file); save it as UTF-8"),
        ("conll", b"\xff\xfe\x00", "in:1: not UTF-16"),
        ("conll", "Hooli O".encode("utf-16-le"), "in:1: a NUL character; is the file UTF-16?"),
        ("conll", "\n\n", "in: no record in it; is conll its format?"),
        ("docbin", "not zlib", "in: can't be read as a DocBin"),
        ("parquet", "no parquet", "in: can't be read as Parquet"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(folder, capsys, form, content, fault):
    outcome = bring(folder, capsys, form, content)
    assert outcome.status == 1
    assert fault in outcome.output
    assert "Traceback" not in outcome.output
    assert not (folder / "new.jsonl").exists()


@pytest.mark.parametrize("form", ["prodigy", "labelstudio", "doccano", "conll", "docbin", "parquet"])
def test_a_missing_file_is_named(folder, capsys, form):
    options = ["--source", folder / "none", "--target", folder / "new.jsonl", "--format", form]
    outcome = run_command("import", [*options, "--scheme", ""], capsys)
    assert outcome.status == 1
    assert "none: there is no such file" in outcome.output


def test_documents_are_imported_as_raw_texts(folder, capsys):
    need_pdf()
    documents = folder / "documents"
    documents.mkdir()
    (documents / "a.md").write_text("# Deals\n\nHooli raised $5m.", encoding="utf-8")
    (documents / "b.pdf").write_bytes(make_pdf([[(50, 100, 10, "Acme raised $6m.")]]))
    (documents / "scan.pdf").write_bytes(make_pdf([[]]))
    options = ["--source", documents, "--format", "documents", "--scheme", folder / "llm.cfg"]
    outcome = run_command("import", [*options, "--target", folder / "new.jsonl"], capsys)
    assert outcome.status == 0
    assert "2 documents read, 1 set aside." in outcome.output
    assert "scan.pdf: has no text layer" in outcome.output
    rows = [json.loads(line) for line in (folder / "new.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in rows] == ["Deals Hooli raised $5m.", "Acme raised $6m."]
    assert rows[0]["meta"]["paragraphs"] == [1, 2]
    assert list(rows[1]["meta"]["pages"]) == ["1"]
    outcome = run_command("import", [*options, "--target", folder / "reviewed.jsonl"], capsys)
    assert outcome.status == 1
    assert "documents aren't annotated, so they are no gold" in outcome.output

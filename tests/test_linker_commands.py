"""The linker trained and scored by the commands, on a small world of companies."""

import json
from pathlib import Path
from shutil import copyfile

import deals
import pytest
import spacy
from running import ROOT, Outcome, real_data, run_command, scheme, write_lines

from ie.data import records
from ie.data.gazetteer import read_gazetteer
from ie.evaluation import links
from ie.training import linker_training

TABLE = """id,name,aliases,kind,country,description
1,Hooli,,company,US,search engine
2,Meridian Health,Meridian,company,US,hospitals and clinics
3,Meridian Capital,Meridian,fund,US,growth investor
4,Harbour Fund,,fund,UK,
5,"Foo, Bar & Sons",,company,,
"""
TEXTS = [
    ("{} opens two new hospitals near town {n}", "Meridian", "2"),
    ("The round of town {n} was led by {} alone", "Meridian", "3"),
    ("The round of lake {n} was led by {} alone", "Harbour Fund", "4"),
    ("{} sells ads in town {n}", "Hooli", "1"),
    ("{} sells ads in town {n}", "Hooly Motors", "NIL"),
    ("{} sells shoes in town {n}", "Foo Bar and Sons", "5"),
    ("{} sells shoes in town {n}", "Hoolis", "NIL"),
]


def row(i: int, n: int) -> dict:
    pattern, name, kb_id = TEXTS[i]
    text = pattern.format(name, n=n)
    start = text.index(name)
    span = {"start": start, "end": start + len(name), "label": "COMPANY", "kb_id": kb_id}
    return {"text": text, "spans": [span], "meta": {"id": f"{i}-{n}"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "table.csv").write_text(TABLE, encoding="utf-8")
    copyfile(ROOT / "assets" / "legal_forms.txt", tmp_path / "legal_forms.txt")
    (tmp_path / "llm.cfg").write_text(scheme("COMPANY"), encoding="utf-8")
    for first, side in ((0, "train"), (100, "dev"), (200, "test")):
        write_lines(
            tmp_path / f"{side}.jsonl", [row(i, first + n) for n in range(6) for i in range(len(TEXTS))]
        )
    return tmp_path


def train(folder: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    options = {
        "--only": "linker",
        "--linker": deals.CONFIGS / "linker.cfg",
        "--table": folder / "table.csv",
        "--scheme": folder / "llm.cfg",
        "--corpus": folder,
        "--output": folder / "out",
    }
    words = [part for pair in options.items() for part in pair]
    return run_command("train-components", [*words, *more], capsys)


def evaluate(folder: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    options = {
        "--only": "links",
        "--components": folder / "out",
        "--table": folder / "table.csv",
        "--scheme": folder / "llm.cfg",
        "--test": folder / "test.jsonl",
        "--output": folder / "scores",
    }
    words = [part for pair in options.items() for part in pair]
    return run_command("evaluate-components", [*words, *more], capsys)


def test_it_learns_what_the_text_tells(folder: Path, capsys: pytest.CaptureFixture) -> None:
    outcome = train(folder, capsys)
    assert outcome.status == 0, outcome.output
    told = json.loads((folder / "out" / "linker" / "train.json").read_text())
    assert (told["entries"], told["names"], told["mentions"]) == (5, 7, 42)
    assert evaluate(folder, capsys).status == 0
    metrics = json.loads((folder / "scores" / "links.json").read_text())
    assert metrics["linker"]["all"] == {
        "mentions": 42,
        "right": {"value": 1.0, "low": 0.9159, "high": 1.0, "texts": 42, "shown": ".91 to 1.00"},
    }
    assert metrics["linker"]["ambiguous"]["mentions"] == 12
    assert metrics["linker"]["nil"]["r"]["value"] == 1.0
    # The best match alone takes the first Meridian and the name most like "Hoolis".
    assert metrics["best match"]["ambiguous"]["right"]["value"] == 0.5
    assert metrics["best match"]["nil"]["r"]["value"] == 0.5
    assert [path.name for path in (folder / "scores").iterdir()] == ["links.json"]


def test_errors_say_what_was_taken_for_what(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert train(folder, capsys).status == 0
    wrong = row(3, 300)
    wrong["spans"][0]["kb_id"] = "4"
    write_lines(folder / "test.jsonl", [wrong])
    assert evaluate(folder, capsys).status == 0
    error = json.loads((folder / "scores" / "links-errors.jsonl").read_text())
    assert (error["gold"], error["answer"], error["gold_found"]) == ("4 Harbour Fund", "1 Hooli", False)


def test_an_index_of_another_version_is_refused(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert train(folder, capsys).status == 0
    version = folder / "out" / "linker" / "model-best" / "linker" / "table" / "version.json"
    version.write_text('"0123456789abcdef"', encoding="utf-8")
    outcome = evaluate(folder, capsys)
    assert outcome.status == 1
    assert "indexed by another version of the linker" in outcome.output
    assert "weasel run train-components" in outcome.output
    assert "Traceback" not in outcome.output
    assert not (folder / "scores").exists()


def test_the_same_data_gives_the_same_bytes(folder: Path, capsys: pytest.CaptureFixture) -> None:
    def contents() -> dict[str, bytes]:
        model = folder / "out" / "linker"
        return {str(p.relative_to(model)): p.read_bytes() for p in model.rglob("*") if p.is_file()}

    assert train(folder, capsys).status == 0
    before = contents()
    assert train(folder, capsys).status == 0
    assert contents() == before
    assert {path.name for path in (folder / "out").iterdir()} == {"linker", "left_out.json"}


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        ("table.csv", "", "table.csv:1: no column id, name"),
        ("table.csv", "id,name\n", "there is no entry"),
        ("table.csv", "id,name\n1,A\n1,B\n", "table.csv:3: the id '1' is already used by line 2"),
        ("table.csv", 'id,name\n1,"A\n', "not valid CSV"),
        ("table.csv", "id,name\n1,Hooli\n", "train.jsonl: 4 ids are not in"),
        ("train.jsonl", "", "hold no links to learn from"),
        ("train.jsonl", "{broken\n", "train.jsonl:1"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture, file: str, content: str, fault: str
) -> None:
    (folder / file).write_text(content, encoding="utf-8")
    outcome = train(folder, capsys)
    assert outcome.status == 1
    assert fault in outcome.output
    assert "Traceback" not in outcome.output
    assert not (folder / "out").exists()


def test_missing_files_are_one_sentence(folder: Path, capsys: pytest.CaptureFixture) -> None:
    (folder / "legal_forms.txt").unlink()
    outcome = train(folder, capsys)
    assert (outcome.status, "legal_forms.txt: there is no such file" in outcome.output) == (1, True)
    outcome = evaluate(folder, capsys)
    assert (outcome.status, "there is no trained pipeline; run" in outcome.output) == (1, True)
    model = folder / "out" / "linker" / "model-best"
    model.mkdir(parents=True)
    (model / "meta.json").write_text("{}")
    outcome = evaluate(folder, capsys)
    assert (outcome.status, "can't be loaded" in outcome.output) == (1, True)


def test_a_test_set_without_links(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert train(folder, capsys).status == 0
    write_lines(folder / "test.jsonl", [{"text": "Nothing here."}])
    outcome = evaluate(folder, capsys)
    assert (outcome.status, "no span has a kb_id" in outcome.output) == (1, True)


def test_no_records_have_no_mentions() -> None:
    assert links.mentions(records.blank("en"), [], ["COMPANY"]) == []


@pytest.mark.slow
def test_sec_companies_are_found_by_their_own_names() -> None:
    entries = read_gazetteer(real_data("company_lookup/sec_companies.csv"))
    linker = spacy.blank("en").add_pipe("linker")
    linker.initialize(
        rows=linker_training.rows(entries),
        legal_forms=linker_training.read_forms(ROOT / "assets/legal_forms.txt"),
    )
    for entry in entries[::40]:
        assert entry.id in {linker.table.id(c.entry) for c in linker.look_up(entry.name.title())}

"""The command from end to end, and the agenda as people see it."""

import json
from pathlib import Path

import pytest
from pages import check_page
from running import Outcome, run_command, scheme, write_lines

from ie.data.records import read_answers

GOLDEN = Path(__file__).parent / "golden" / "agenda.md"
SCHEME = scheme("COMPANY", "MONEY", relations=["RAISED"], categories=["FUNDING", "OTHER"])
GUIDELINES = """# Guidelines

- **COMPANY**: the name of a business; the suffix *GmbH* belongs to it.
- **MONEY**: an amount; `<b>` never.
"""
FILES = ("agreement.json", "agenda.html", "agenda.md", "disagreements.jsonl")


def row(n: int, who: str, *, suffix: bool = True, related: bool = True, category: str = "FUNDING") -> dict:
    text = f"*Velto* {n} & <b>Hooli GmbH</b> raises $5m"
    start, money = text.index("Hooli"), text.index("$")
    return {
        "text": text,
        "spans": [
            {"start": start, "end": start + (10 if suffix else 5), "label": "COMPANY"},
            {"start": money, "end": money + 3, "label": "MONEY"},
        ],
        "relations": [{"head": 0, "child": 1, "label": "RAISED"}] if related else [],
        "cats": {"FUNDING": int(category == "FUNDING"), "OTHER": int(category == "OTHER")},
        "meta": {"id": f"t{n}", "annotator": who},
    }


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "llm.cfg").write_text(SCHEME, encoding="utf-8")
    (tmp_path / "guidelines.md").write_text(GUIDELINES, encoding="utf-8")
    write_lines(tmp_path / "anna.jsonl", [row(n, "anna") for n in range(20)])
    theirs = [
        row(n, "ben", suffix=n > 4, related=n != 19, category="OTHER" if n == 9 else "FUNDING")
        for n in range(20)
    ]
    del theirs[7]["spans"][1], theirs[7]["relations"][0]
    write_lines(tmp_path / "ben.jsonl", theirs)
    return tmp_path


def agree(project: Path, capsys, *more: object, first: str = "anna", second: str = "ben") -> Outcome:
    options = {
        "--first": project / f"{first}.jsonl",
        "--second": project / f"{second}.jsonl",
        "--first-name": "anna",
        "--second-name": "ben",
        "--scheme": project / "llm.cfg",
        "--guidelines": project / "guidelines.md",
        "--sides": "",
        "--output": project / "out",
    }
    return run_command("agreement", [*(part for pair in options.items() for part in pair), *more], capsys)


def test_scores_agenda_and_what_review_loads(project, capsys):
    outcome = agree(project, capsys)
    assert outcome.status == 0
    assert "8 disagreements in 20 texts" in outcome.output
    data = json.loads((project / "out" / "agreement.json").read_text(encoding="utf-8"))
    assert data["disagreements"] == {
        "boundary": 5, "label": 0, "both": 0, "missing": 1, "spurious": 0, "relation": 1, "category": 1,
    }  # fmt: skip
    assert data["spans"]["COMPANY"]["exact"] == 0.75
    assert data["spans"]["COMPANY"]["overlap"] == 1
    assert data["relations"]["RAISED"]["shared"] == round(2 * 13 / (14 + 13), 4)
    assert data["categories"]["all"]["texts"] == 20
    found = read_answers(project / "out" / "disagreements.jsonl")
    assert [record.id for record in found] == ["t0", "t1", "t2", "t3", "t4", "t7", "t9", "t19"]
    assert {record.answer for record in found} == {"ignore"}


def test_the_agenda(project, capsys, monkeypatch):
    monkeypatch.chdir(project)
    assert agree(project, capsys, "--guidelines", "guidelines.md").status == 0
    made = (project / "out" / "agenda.md").read_text(encoding="utf-8")
    if not GOLDEN.exists():
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(made, encoding="utf-8")
        pytest.fail(f"{GOLDEN} didn't exist; it has been written, look at it")
    assert made == GOLDEN.read_text(encoding="utf-8")


def test_the_page_shows_texts_as_texts(project, capsys):
    agree(project, capsys)
    page = (project / "out" / "agenda.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert "&lt;b&gt;<mark" in page
    assert "http" not in page


def test_a_second_run_writes_the_same_bytes(project, capsys):
    agree(project, capsys)
    before = [(project / "out" / name).read_bytes() for name in FILES]
    agree(project, capsys)
    assert before == [(project / "out" / name).read_bytes() for name in FILES]


def test_only_the_sides_asked_for(project, capsys):
    # texts so alike are all in one part, whichever that is
    reviewed = write_lines(project / "reviewed.jsonl", [row(n, "anna") for n in range(10)])
    more = ["--reviewed", reviewed, "--sides", "train,dev,test", "--misaligned", "snap"]
    outcome = agree(project, capsys, *more)
    assert outcome.status == 0
    assert "Left out of both: 20 answers to texts of other parts of the split" in outcome.output
    assert "in 10 texts" in outcome.output


def test_annotators_who_agree_have_nothing_to_decide(project, capsys):
    write_lines(project / "ben.jsonl", [row(n, "ben") for n in range(20)])
    outcome = agree(project, capsys)
    assert "0 disagreements in 20 texts" in outcome.output
    assert "no disagreements to decide" in (project / "out" / "agenda.html").read_text(encoding="utf-8")
    assert (project / "out" / "disagreements.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (["{broken"], "ben.jsonl:1: not valid JSON"),
        ([], "ben.jsonl: the file is empty"),
        ([{"text": "other"}], "anna and ben have no text in common; have both annotate the same texts"),
        ([{"text": "x", "answer": "reject"}], "ben.jsonl: no accepted answer of 'ben'"),
        ([{"text": "x"}, {"text": "Velto", "spans": [{"start": 0, "end": 5, "label": "CITY"}]}],
         "ben.jsonl:2: span label 'CITY' isn't in the scheme"),
        ([{"text": "x", "meta": {"annotator": who}} for who in ("cleo", "dan")],
         "ben.jsonl: has answers of cleo, dan, but none of 'ben'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_leaves_nothing(project, capsys, lines, fault):
    write_lines(project / "ben.jsonl", lines)
    outcome = agree(project, capsys)
    assert outcome.status == 1
    assert fault in outcome.output
    assert "Traceback" not in outcome.output
    assert not (project / "out").exists()


def test_one_annotator_and_no_such_side(project, capsys):
    outcome = agree(project, capsys, second="anna")
    assert outcome.status == 1
    assert "all its answers are of one annotator (anna)" in outcome.output
    outcome = agree(project, capsys, "--sides", "holdout")
    assert "--sides 'holdout' is no part of the split" in outcome.output


def test_the_page_answers_first_and_fits(browser, project, capsys):
    agree(project, capsys)
    check_page(browser, (project / "out" / "agenda.html").read_text(encoding="utf-8"))

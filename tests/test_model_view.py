"""The page from end to end: answers hidden, everything escaped, nothing from elsewhere."""

import re
from pathlib import Path

import pytest
import spacy
from pages import check_page
from running import Outcome, run_command, scheme, write_lines

from ie.data.records import blank

SCHEME = scheme("COMPANY", "<b>")


def row(n: int) -> dict:
    spans = [{"start": 0, "end": 5, "label": "COMPANY"}, {"start": 11, "end": 14, "label": "<b>"}]
    return {"text": f"Velto sold <i>{n}</i> boats.", "spans": spans, "meta": {"id": f"t{n}"}}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "llm.cfg").write_text(SCHEME, encoding="utf-8")
    write_lines(tmp_path / "dev.jsonl", [row(n) for n in range(4)])
    write_lines(tmp_path / "train.jsonl", [row(n) for n in range(10, 20)])
    nlp = blank("en")
    nlp.add_pipe("ner").add_label("COMPANY")
    nlp.initialize()
    save(nlp, tmp_path)
    return tmp_path


def save(nlp: spacy.Language, project: Path) -> None:
    folder = project / "run" / "model-best"
    folder.mkdir(parents=True, exist_ok=True)
    nlp.to_disk(folder)


def view(project: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    files = {"--dev": "dev.jsonl", "--train": "train.jsonl", "--scheme": "llm.cfg", "--output": "view.html"}
    paths = [part for name, file in files.items() for part in (name, project / file)]
    return run_command("model-view", [*paths, "--model", project / "run" / "model-best", *more], capsys)


def read(project: Path) -> str:
    return (project / "view.html").read_text(encoding="utf-8")


def test_errors_are_shown_with_their_answers_hidden(project, capsys):
    outcome = view(project, capsys)
    assert outcome.status == 0
    page = read(project)
    assert page.count("<article>") == page.count("<details>") > 0
    assert f"{page.count('<article>')} errors on 4 dev texts" in outcome.output
    assert "reach 4 tokens to either side" in page
    outside = re.sub(r"<details>.*?</details>", "", page, flags=re.DOTALL)
    assert "COMPANY" in page
    assert "COMPANY" not in outside
    before = page
    assert view(project, capsys).status == 0
    assert read(project) == before


def test_what_stands_in_texts_and_labels_is_text(project, capsys):
    assert view(project, capsys).status == 0
    page = read(project)
    assert "<i>" not in page
    assert "<b>" not in page
    assert "&lt;i&gt;" in page
    assert not re.search(r"(?:src|href)=", page)


def test_a_pipeline_without_tok2vec_is_reported_in_a_sentence(project, capsys):
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "COMPANY", "pattern": "boats"}])
    save(nlp, project)
    outcome = view(project, capsys)
    assert outcome.status == 0
    assert "has no entity recogniser that is trained" in outcome.output
    assert "has no entity recogniser that is trained" in read(project)
    assert "spurious: COMPANY &#34;boats&#34;" in read(project)


def test_no_error_is_no_table_and_no_praise(project, capsys):
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "COMPANY", "pattern": "Velto"}])
    save(nlp, project)
    write_lines(project / "dev.jsonl", [row(1) | {"spans": row(1)["spans"][:1]}])
    outcome = view(project, capsys)
    assert outcome.status == 0
    assert "0 errors on 1 dev text" in outcome.output
    assert "look for leakage first" in read(project)


def test_a_page_can_be_kept_short(project, capsys):
    assert view(project, capsys, "--most", 1).status == 0
    assert read(project).count("<article>") == 1
    assert "the first 1" in read(project)


@pytest.mark.parametrize(
    ("file", "lines", "fault"),
    [
        ("dev.jsonl", [], "holds no accepted example"),
        ("dev.jsonl", [{"text": "Nothing."}], "1 text without any span"),
        ("train.jsonl", ["{broken"], "train.jsonl:1"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(project, capsys, file, lines, fault):
    write_lines(project / file, lines)
    outcome = view(project, capsys)
    assert outcome.status == 1
    assert fault in outcome.output
    assert not (project / "view.html").exists()


def test_a_model_that_is_not_there_is_named(project, capsys):
    outcome = view(project, capsys, "--model", project / "nowhere")
    assert outcome.status == 1
    assert "nowhere: there is no trained pipeline; run `weasel run train`" in outcome.output


def test_the_page_answers_first_and_fits(browser, project, capsys):
    assert view(project, capsys).status == 0
    check_page(browser, read(project))

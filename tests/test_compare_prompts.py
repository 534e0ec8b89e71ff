"""The command against a fake endpoint: forms side by side on dev, spacy-llm's own task among them."""

import json
import re
from pathlib import Path

import pytest
from fake_llm import FakeLLM
from llm_stub import Response, answer_body
from running import ROOT, Outcome, data_config, run_command
from test_llm_annotate import Project

from ie.data.records import read_records

CONFIG = """
[prompt]
form = "joint"

"""
FORMS = """
[both]
prompt.form = "joint"

[alone]
prompt.form = "one-label"

[spacy]

[spacy.components]

[spacy.components.spans]

[spacy.components.spans.task]
@llm_tasks = "spacy.NER.v3"
"""


def reply(path: str, prompt: str) -> Response:
    """Knows companies only, whichever way it is asked."""
    if "Paragraph:" in prompt:
        name = re.findall(r"^Paragraph: (\S+)", prompt, re.MULTILINE)[-1]
        return Response(answer_body(path, f"1. {name} | True | COMPANY | is a company"))
    name = re.findall(r"^Text: (\S+)", prompt, re.MULTILINE)[-1]
    return Response(answer_body(path, "none" if prompt.endswith("MONEY:") else f"{name}\nMONEY: none"))


@pytest.fixture(scope="module")
def server():
    with FakeLLM(always=reply) as fake:
        yield fake


class Comparison(Project):
    def __init__(self, folder: Path, url: str, capsys: pytest.CaptureFixture):
        super().__init__(folder, url, capsys)
        config = (folder / "llm.cfg").read_text()
        config = config.replace("[components]", CONFIG + "[components]", 1)
        (folder / "llm.cfg").write_text(config.replace("labels =", "form = ${prompt.form}\nlabels =", 1))
        (folder / "forms.cfg").write_text(FORMS)

    def compare(self, **changes) -> Outcome:
        return run_command("compare-prompts", self.options(forms="forms.cfg", **changes), self.capsys)

    @property
    def forms(self) -> dict[str, dict]:
        found = json.loads((self.folder / "training" / "prompts.json").read_text())
        return {form["form"]: form for form in found["forms"]}


@pytest.fixture
def project(tmp_path, monkeypatch, server, capsys) -> Comparison:
    monkeypatch.chdir(tmp_path)
    server.requests.clear()
    return Comparison(tmp_path, server.url, capsys)


def test_forms_are_scored_on_the_same_dev_texts(project, server):
    outcome = project.compare()
    assert outcome.status == 0
    # Every company and no amount: precision 1, recall a half.
    assert {name: form["f"]["micro"][0] for name, form in project.forms.items()} == {
        "both": 0.6667,
        "alone": 0.6667,
        "spacy": 0.6667,
    }
    n = json.loads((project.folder / "training" / "prompts.json").read_text())["documents"]
    assert len(server.requests) == 4 * n  # a prompt a label for one of the forms
    assert f"Can't be told apart on {n} texts: both, alone, spacy." in outcome.output


def test_two_forms_can_be_set_against_each_other(project, capsys):
    assert project.compare(only="both,alone", answers="training/prompts").status == 0
    files = [Path("training/prompts") / f"{name}.jsonl" for name in ("both", "alone")]
    answered = [read_records(path, duplicates="first") for path in files]
    assert [record.text for record in answered[0]] == [record.text for record in answered[1]]
    assert len(answered[0]) == json.loads(Path("training/prompts.json").read_text())["documents"]
    assert all(record.spans for record in answered[0])


def test_what_was_asked_once_is_not_asked_again(project, server):
    project.compare(only="both")
    asked = len(server.requests)
    assert project.compare(only="both").status == 0
    assert len(server.requests) == asked


@pytest.mark.parametrize(
    ("forms", "changes", "message"),
    [
        (FORMS, {"only": "neither"}, "forms.cfg: form 'neither': there are both, alone, spacy"),
        ("[x", {}, "forms.cfg: can't be read as a config"),
        ("[x]\nnowhere.form = 1", {}, "nowhere"),
        ('[x]\n[x.there]\n@llm_tasks = "a"\n', {}, "there is no section there to replace"),
    ],
)
def test_bad_input_is_one_sentence(project, server, forms, changes, message):
    (project.folder / "forms.cfg").write_text(forms)
    outcome = project.compare(**changes)
    assert outcome.status != 0
    assert message in outcome.output
    assert "Traceback" not in outcome.output
    assert not server.requests


def test_no_text_for_dev_is_one_sentence(project, server):
    data_config(project.folder / "configs/data.cfg", dev_percent=0.001)
    outcome = project.compare()
    assert (outcome.status, "no reviewed text is for dev" in outcome.output) == (1, True)
    assert not server.requests


def test_the_forms_that_are_shipped_can_all_be_read():
    from runpy import run_path

    forms = run_path(str(ROOT / "scripts" / "compare-prompts.py"))["read_forms"](
        ROOT / "configs/forms.cfg", ""
    )
    assert {"joint", "one-label", "joint-similar", "one-label-similar", "spacy-ner"} <= set(forms)
    assert forms["spacy-ner"]["components.spans.task"]["@llm_tasks"] == "spacy.NER.v3"

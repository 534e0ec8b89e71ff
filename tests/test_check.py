from pathlib import Path

import pytest
from running import ROOT, run_command, write_lines

CONFIG = """
[components]
[components.spans]
factory = "llm"
[components.spans.task]
@llm_tasks = "ie.Spans.v1"
labels = {labels}
"""
TRAINING = '[nlp]\nlang = "{lang}"\npipeline = ["ner"]\n'


class Project:
    """A folder without a mistake, to make one in."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture):
        self.folder, self.capsys = folder, capsys
        self.texts = [f"Hooli {chr(97 + i % 26) * (i + 1)} raises $5m" for i in range(40)]
        self.lines = [
            {
                "text": text,
                "spans": [{"start": 0, "end": 5, "label": "COMPANY", "kb_id": "7"}],
                "answer": "accept",
                "meta": {"id": i},
            }
            for i, text in enumerate(self.texts)
        ]
        write_lines(folder / "reviewed.jsonl", self.lines[:30])
        write_lines(folder / "texts.jsonl", [{"text": r["text"], "meta": r["meta"]} for r in self.lines])
        self.write("llm.cfg", CONFIG.format(labels='["COMPANY"]'))
        self.write("train.cfg", TRAINING.format(lang="en"))
        self.write("guidelines.md", "Mark companies.\n")
        self.write("known.csv", "id,name,aliases\n7,Hooli,\n")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def check(self, **options):
        given = {
            "reviewed": self.folder / "reviewed.jsonl",
            "texts": self.folder / "texts.jsonl",
            "scheme": self.folder / "llm.cfg",
            "config": self.folder / "train.cfg",
            "guidelines": self.folder / "guidelines.md",
            "gazetteer": self.folder / "known.csv",
            "test-percent": 30,
            "dev-percent": 20,
            "train-on": "both",
        } | options
        return run_command("check", [part for k, v in given.items() for part in (f"--{k}", v)], self.capsys)


@pytest.fixture
def project(tmp_path, capsys) -> Project:
    return Project(tmp_path, capsys)


def test_what_was_found_is_counted(project):
    outcome = project.check()
    assert outcome.status == 0, outcome.output
    for found in (
        "span: COMPANY",
        "30 accept, 30 spans",
        "40 texts, 10 unreviewed",
        "2 words",
        "1 entries",
        "no mistake found",
    ):
        assert found in outcome.output
    before = sorted(path.name for path in project.folder.iterdir())
    assert before == ["guidelines.md", "known.csv", "llm.cfg", "reviewed.jsonl", "texts.jsonl", "train.cfg"]


def test_optional_files_may_be_left_out(project):
    (project.folder / "known.csv").unlink()
    (project.folder / "train.cfg").unlink()
    assert project.check(gazetteer="", config="").status == 0


def test_links_to_nothing_are_told(project):
    project.write("known.csv", "id,name,aliases\n8,Hooli,\n")
    outcome = project.check()
    assert outcome.status == 0
    assert "30 of 30 spans link to ids that aren't in" in outcome.output


def test_a_label_may_come_from_the_llm_alone(project):
    project.write("llm.cfg", CONFIG.format(labels='["COMPANY", "MONEY"]'))
    assert project.check().status == 0
    outcome = project.check(**{"train-on": "reviewed"})
    assert outcome.status == 1
    assert "the label 'MONEY' has no training example" in outcome.output


def rewrite(name: str, text: str):
    return lambda project: project.write(name, text)


def append(name: str, line: object):
    def do(project: Project) -> None:
        path = project.folder / name
        lines = path.read_text(encoding="utf-8").splitlines()
        write_lines(path, [*lines, line])

    return do


def remove(name: str):
    return lambda project: (project.folder / name).unlink()


MISTAKES = {
    "malformed line": (append("texts.jsonl", "{"), {}, "texts.jsonl:41: not valid JSON"),
    "empty line": (append("texts.jsonl", ""), {}, "texts.jsonl:41: the line is empty"),
    "duplicate text": (
        append("texts.jsonl", {"text": "Hooli a raises $5m"}),
        {},
        "texts.jsonl:41: the same text as line 1",
    ),
    "empty texts": (rewrite("texts.jsonl", ""), {}, "texts.jsonl: the file is empty"),
    "nothing reviewed": (rewrite("reviewed.jsonl", ""), {}, "reviewed.jsonl: no reviewed example"),
    "wrong label": (
        append("reviewed.jsonl", {"text": "ACME", "spans": [{"start": 0, "end": 4, "label": "FIRM"}]}),
        {},
        "reviewed.jsonl:31: span label 'FIRM' isn't in the scheme (COMPANY)",
    ),
    "off the tokens": (
        append("reviewed.jsonl", {"text": "ACME", "spans": [{"start": 0, "end": 3, "label": "COMPANY"}]}),
        {},
        "reviewed.jsonl:31: span 0-3 COMPANY 'ACM' starts or ends inside a token",
    ),
    "an id for two texts": (
        append("reviewed.jsonl", {"text": "ACME", "meta": {"id": "35"}}),
        {},
        "the id '35' belongs to another text in",
    ),
    "few reviewed": (
        lambda project: write_lines(project.folder / "reviewed.jsonl", project.lines[:1]),
        {},
        "no example falls to",
    ),
    "no scheme": (remove("llm.cfg"), {}, "llm.cfg: there is no such file"),
    "no labels": (rewrite("llm.cfg", "[nlp]\n"), {}, "llm.cfg: no component has a task with labels"),
    "no guidelines": (remove("guidelines.md"), {}, "guidelines.md: can't be read"),
    "empty guidelines": (rewrite("guidelines.md", "\n"), {}, "guidelines.md: the file is empty"),
    "no gazetteer": (remove("known.csv"), {}, "known.csv: there is no such file"),
    "duplicate id in the gazetteer": (
        rewrite("known.csv", "id,name,aliases\n7,A,\n7,B,\n"),
        {},
        "known.csv:3: the id '7' is already used by line 2",
    ),
    "no training config": (remove("train.cfg"), {}, "train.cfg: can't be read"),
    "broken training config": (
        rewrite("train.cfg", "[a.b]\nc = 1\n"),
        {},
        "train.cfg: can't be read as a config",
    ),
    "another language": (
        rewrite("train.cfg", TRAINING.format(lang="de")),
        {},
        "its language is 'de', but lang is 'en'",
    ),
    "shares": (lambda project: None, {"dev-percent": 70}, "together below 100"),
}


@pytest.mark.parametrize(("break_it", "options", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_sentence(project, break_it, options, message):
    break_it(project)
    outcome = project.check(**options)
    assert outcome.status == 1
    assert message in outcome.output
    assert outcome.output.count("✘") == 1
    assert "no mistake found" not in outcome.output


def test_the_demo_has_no_mistake(project):
    outcome = project.check(
        reviewed=ROOT / "assets/reviewed.jsonl",
        texts=ROOT / "assets/texts.jsonl",
        scheme=ROOT / "configs/llm.cfg",
        guidelines=ROOT / "assets/guidelines.md",
        gazetteer=ROOT / "assets/companies.csv",
        config=ROOT / "configs/efficient.cfg",
        **{"test-percent": 37, "dev-percent": 10, "train-on": "reviewed"},
    )
    assert outcome.status == 0, outcome.output
    assert "link to ids" not in outcome.output

import hashlib
import json
import re
from pathlib import Path

import pytest
from running import run_command, scheme, write_lines

from ie.data.records import Record
from ie.data.splits import assign

TRAINING = '[nlp]\nlang = "en"\npipeline = ["ner"]\n'


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
        self.write("llm.cfg", scheme("COMPANY"))
        self.write("train.cfg", TRAINING)
        self.write("review.cfg", "[order]\n[order.begin]\ntrain = 6\ndev = 3\ntest = 3\n")
        self.write("guidelines.md", "Mark companies.\n")
        self.write("known.csv", "id,name,aliases\n7,Hooli,\n")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def check(self, **options):
        given = {
            "reviewed": self.folder / "reviewed.jsonl",
            "texts": self.folder / "texts.jsonl",
            "examples": self.folder / "examples.jsonl",
            "scheme": self.folder / "llm.cfg",
            "config": self.folder / "train.cfg",
            "guidelines": self.folder / "guidelines.md",
            "gazetteer": self.folder / "known.csv",
            "review": self.folder / "review.cfg",
            "gazetteer-label": "COMPANY",
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
    files = [
        "guidelines.md",
        "known.csv",
        "llm.cfg",
        "review.cfg",
        "reviewed.jsonl",
        "texts.jsonl",
        "train.cfg",
    ]
    assert before == files


def test_spans_that_overlap_take_a_config_for_them_and_have_a_length(project):
    config = scheme("COMPANY", "PHRASE").replace("labels = ", "overlapping = true\nlabels = ")
    project.write("llm.cfg", config)
    long = " ".join(["word"] * 40)
    line = {**project.lines[0], "text": f"Hooli {long}", "meta": {"id": "long"}}
    line["spans"] = [*line["spans"], {"start": 0, "end": len(line["text"]), "label": "PHRASE"}]
    write_lines(project.folder / "reviewed.jsonl", [*project.lines[:30], line])
    outcome = project.check()
    assert outcome.status == 0, outcome.output
    warning = " ".join(outcome.output.split())
    assert "1 span of 32 with more than 30 tokens, which a classifier of spans can't find (first:" in warning
    entities = '[nlp]\nlang = "en"\npipeline = ["ner"]\n[components]\n[components.ner]\nfactory = "ner"\n'
    project.write("train.cfg", entities)
    outcome = project.check()
    assert outcome.status == 1
    assert "train.cfg: finds entities, which can't overlap" in outcome.output


def test_optional_files_may_be_left_out(project):
    (project.folder / "known.csv").unlink()
    (project.folder / "train.cfg").unlink()
    assert project.check(gazetteer="", config="").status == 0


def test_links_to_nothing_are_reported(project):
    project.write("known.csv", "id,name,aliases\n8,Hooli,\n")
    outcome = project.check()
    assert outcome.status == 0
    assert "30 of 30 spans link to ids that aren't in" in outcome.output


def test_a_label_may_come_from_the_llm_alone(project):
    project.write("llm.cfg", scheme("COMPANY", "MONEY"))
    assert project.check().status == 0
    assert "MONEY" not in project.check().output.partition("split")[2]
    outcome = project.check(**{"train-on": "reviewed"})
    assert outcome.status == 0
    assert "no training text has MONEY, so no pipeline will find that" in outcome.output


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
    "nothing reviewed": (
        rewrite("reviewed.jsonl", ""),
        {},
        "reviewed.jsonl: nothing is reviewed yet. A first model needs 3 dev and 3 test texts more: `weasel "
        "run review` asks for them first.",
    ),
    "all rejected": (
        lambda project: write_lines(
            project.folder / "reviewed.jsonl", [line | {"answer": "reject"} for line in project.lines[:12]]
        ),
        {},
        "none of the 12 reviewed texts was accepted. A first model needs",
    ),
    "no label anywhere": (
        lambda project: write_lines(
            project.folder / "reviewed.jsonl", [line | {"spans": []} for line in project.lines[:30]]
        ),
        {"train-on": "reviewed"},
        "training texts without a single label (COMPANY), so there is nothing to learn; review more texts",
    ),
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
        "no reviewed text is in",
    ),
    "no scheme": (remove("llm.cfg"), {}, "llm.cfg: there is no such file"),
    "no labels": (rewrite("llm.cfg", "[nlp]\n"), {}, "llm.cfg: no component has a task with labels"),
    "no guidelines": (remove("guidelines.md"), {}, "guidelines.md: there is no such file"),
    "empty guidelines": (rewrite("guidelines.md", "\n"), {}, "guidelines.md: the file is empty"),
    "no gazetteer": (remove("known.csv"), {}, "known.csv: there is no such file"),
    "duplicate id in the gazetteer": (
        rewrite("known.csv", "id,name,aliases\n7,A,\n7,B,\n"),
        {},
        "known.csv:3: the id '7' is already used by line 2",
    ),
    "no training config": (remove("train.cfg"), {}, "train.cfg: there is no such file"),
    "broken training config": (
        rewrite("train.cfg", "[a.b]\nc = 1\n"),
        {},
        "train.cfg: can't be read as a config",
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


@pytest.mark.parametrize(("source", "status"), [({}, 0), ({"url": "http://localhost/texts.jsonl"}, 1)])
def test_an_asset_that_is_another_file_is_reported(project, source, status):
    right = hashlib.md5((project.folder / "texts.jsonl").read_bytes()).hexdigest()
    for checksum, wanted, said in (
        (right, 0, "no mistake found"),
        ("0" * 32, status, "texts.jsonl: isn't the file whose checksum"),
    ):
        asset = {"dest": "texts.jsonl", "checksum": checksum, **source}
        project.write("project.yml", json.dumps({"assets": [asset]}))
        done = project.check(project=project.folder / "project.yml")
        assert (done.status, said in done.output) == (wanted, True), done.output


def test_an_asset_that_was_never_fetched_is_reported(project):
    project.write("project.yml", json.dumps({"assets": [{"dest": "raw.jsonl", "git": {"repo": "x"}}]}))
    done = project.check(project=project.folder / "project.yml")
    assert done.status == 1
    assert "run `weasel assets` to fetch it" in done.output


def test_labels_without_definition_are_named(project):
    assert "no definition of COMPANY;" in project.check().output


def test_gaps_may_be_warnings_while_people_still_review(project):
    write_lines(project.folder / "reviewed.jsonl", project.lines[:1])
    options = {"train-on": "reviewed"}
    assert project.check(**options).status == 1
    outcome = project.check(gaps="warn", **options)
    assert outcome.status == 0, outcome.output
    assert "no reviewed text is in" in outcome.output
    append("reviewed.jsonl", {"text": "ACME", "spans": [{"start": 0, "end": 3, "label": "COMPANY"}]})(project)
    assert project.check(gaps="warn", **options).status == 1


def test_one_category_each_where_they_exclude_each_other(project):
    project.write("llm.cfg", scheme(categories=["A", "B"]))
    lines = [{"text": r["text"], "cats": {"A": i % 2, "B": 1 - i % 2}} for i, r in enumerate(project.lines)]
    write_lines(project.folder / "reviewed.jsonl", lines)
    done = project.check()
    assert done.status == 0, done.output
    assert "40 with a category" in done.output
    lines[3]["cats"] = {"A": 1, "B": 1}
    write_lines(project.folder / "reviewed.jsonl", lines)
    done = project.check(gaps="warn", **{"train-on": "reviewed"})
    assert done.status == 1
    assert "has 2 categories, and each text must have one of A, B" in done.output


def test_examples_of_prompts_are_checked_against_the_split_and_their_gold(project):
    reviewed = [Record(**line) for line in project.lines[:30]]
    split = assign(reviewed, [], test_percent=30, dev_percent=20)
    line_of = {line["text"]: line for line in project.lines}
    path = project.folder / "examples.jsonl"
    write_lines(path, [line_of[split.train[0].text], line_of[split.train[1].text]])
    outcome = project.check()
    assert outcome.status == 0, outcome.output
    assert "2 examples in prompts" in outcome.output
    line_of[split.train[1].text]["answer"] = "reject"
    write_lines(project.folder / "reviewed.jsonl", project.lines[:30])
    outcome = project.check()
    assert outcome.status == 0
    assert "--retire 2" in outcome.output
    write_lines(path, [line_of[split.dev[0].text]])
    outcome = project.check()
    assert outcome.status == 1
    assert f"{path}:1: " in outcome.output
    assert "belongs to dev or test" in outcome.output


def test_reviewed_texts_that_were_removed_or_edited_are_named(project):
    append("reviewed.jsonl", {"text": "ACME", "meta": {"id": "gone"}})(project)
    append("reviewed.jsonl", {"text": "Applied", "meta": {"watch": {"file": "a"}}})(project)
    outcome = project.check()
    assert outcome.status == 0, outcome.output
    assert "1 text of" in outcome.output
    assert "(the first: 'gone'), but still counts as gold" in outcome.output


@pytest.mark.parametrize("train_on", ["reviewed", "both"])
def test_ten_texts_in_all_say_how_many_to_add(project, train_on):
    """Whatever the split makes of them, a part that has no text left is named with a way out."""
    write_lines(project.folder / "texts.jsonl", [{"text": line["text"]} for line in project.lines[:3]])
    write_lines(project.folder / "reviewed.jsonl", project.lines[:3])
    outcome = project.check(**{"train-on": train_on})
    assert outcome.status == 1
    assert "no reviewed text is in" in outcome.output
    assert re.search(r"texts.jsonl has no \w+.* left: add about \d+ texts \(", outcome.output)


def test_many_texts_are_announced(project, monkeypatch):
    write_lines(project.folder / "texts.jsonl", [{"text": f"Text number {i} of many"} for i in range(20_001)])
    assert "reading and comparing 20,001 texts; this takes a minute" in project.check().output

"""Pinned examples against a fake endpoint: prompts stay the same through reviews, and change on request."""

import json
import re
from pathlib import Path

import pytest
from fake_llm import FakeLLM
from running import Outcome, run_command, write_lines
from test_llm_annotate import PROVIDER, SHARES, Project, reply, texts_asked

from ie.data.pinned import read_pinned
from ie.data.records import read_records
from ie.data.splits import assign

EXAMPLES = Path("assets/examples.jsonl")


class Pinning(Project):
    def review(self, number: int) -> None:
        """Let the first texts be reviewed."""
        write_lines(self.folder / "assets/reviewed.jsonl", self.lines[:number])

    def edit_config(self, old: str, new: str) -> None:
        path = self.folder / "llm.cfg"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def pin(self, *flags: str, **changes) -> Outcome:
        return run_command("pin-examples", [*self.options(**changes), *flags], self.capsys)

    @property
    def train(self) -> list[str]:
        return [r.text for r in assign(read_records(Path("assets/reviewed.jsonl")), [], **SHARES).train]

    @property
    def pinned(self) -> list[str]:
        return [record.text for record in read_pinned(EXAMPLES)]


@pytest.fixture
def server():
    with FakeLLM(always=reply) as fake:
        yield fake


@pytest.fixture
def project(tmp_path, server, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Pinning(tmp_path, server.url, capsys)


def shown(prompt: str) -> list[str]:
    return re.findall(r"^Text: (.*)$", prompt, re.MULTILINE)[:-1]


@pytest.mark.parametrize(("select", "first"), [("fixed", 0), ("fixed", 12), ("similar", 12)])
def test_in_ten_rounds_of_review_each_text_is_asked_about_once(project, server, select, first):
    project.edit_config("\nn = 4", f'\nn = 4\nselect = "{select}"')
    project.review(first)
    for round in range(10):
        outcome = project.run()
        assert outcome.status == 0, outcome.output
        assert len(server.requests) == len(set(texts_asked(server)))
        if not round:
            pinned = project.pinned
        assert project.pinned == pinned
        project.review(first + 5 * (round + 1))
    assert bool(pinned) == bool(first)
    assert len(server.requests) >= 80
    if select == "fixed":
        assert {tuple(shown(prompt)) for prompt in server.prompts} == {tuple(pinned)}


def test_the_first_run_with_gold_chooses_examples_and_says_so(project, server):
    plan = project.run("--dry-run")
    assert plan.status == 0
    assert not EXAMPLES.exists()
    outcome = project.run()
    assert "Chose 4 reviewed texts as examples, and wrote them to assets/examples.jsonl" in outcome.output
    assert set(project.pinned) <= set(project.train)
    asked = len(server.requests)
    assert f"{asked} to ask" in plan.output, "the plan counts the prompts with these examples"
    assert f"0 asked, {asked} kept" in project.run().output
    rows = [json.loads(line) for line in EXAMPLES.read_text().splitlines()]
    assert {*rows[0]} == {"text", "spans"}


def test_without_gold_prompts_show_no_examples_until_the_user_asks_for_them(project, server):
    project.review(0)
    assert "can be an example yet: the prompts show none" in project.run().output
    project.review(60)
    assert "`weasel run pin-examples` chooses some" in project.run().output
    assert all(not shown(prompt) for prompt in server.prompts)
    assert project.pin("--yes").status == 0
    asked = len(server.requests)
    assert project.run().status == 0
    assert all(len(shown(prompt)) == 4 for prompt in server.prompts[asked:])
    assert len(server.prompts) > asked


def test_the_price_is_reported_before_examples_change(project, server):
    project.run()
    texts = len(project.records)
    project.review(90)
    before, asked = EXAMPLES.read_bytes(), len(server.requests)
    preview = project.pin("--number", "6")
    assert preview.status == 1, "there is no terminal to ask in"
    assert "stays as it is" in preview.output
    assert "scripts/pin-examples.py --yes" in preview.output
    [priced, dollars] = re.search(
        r"(\d+) of \d+ texts are asked about again: about \$(\S+), about 1 min", preview.output
    ).groups()
    held_out = [r.text for r in assign(read_records(Path("assets/reviewed.jsonl")), [], **SHARES).test]
    assert int(priced) <= texts
    assert re.fullmatch(r"0\.\d\d", dollars)
    assert EXAMPLES.read_bytes() == before
    assert len(server.requests) == asked, "nothing is sent"
    assert project.pin("--number", "6", "--yes").status == 0
    assert len(project.pinned) == 6
    assert not set(project.pinned) & set(held_out)
    assert project.run().status == 0
    asked_again = set(texts_asked(server)[asked:]) & set(texts_asked(server)[:asked])
    assert len(asked_again) == int(priced)


def test_the_user_is_asked_in_a_terminal(project, server, monkeypatch):
    project.run()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    before = EXAMPLES.read_bytes()
    monkeypatch.setattr("typer.confirm", lambda question: False)
    assert project.pin("--number", "2").status == 0
    assert EXAMPLES.read_bytes() == before
    monkeypatch.setattr("typer.confirm", lambda question: True)
    assert project.pin("--number", "2").status == 0
    assert len(project.pinned) == 2


def test_examples_that_are_the_choice_already_stay(project):
    project.run()
    before = EXAMPLES.read_bytes()
    assert "are the best choice as they are" in project.pin().output
    assert EXAMPLES.read_bytes() == before


def test_going_back_to_earlier_examples_costs_nothing(project, server):
    project.run()
    first = EXAMPLES.read_text()
    assert project.pin("--number", "2", "--yes").status == 0
    project.run()
    asked = len(server.requests)
    assert "No answered text is asked about again" in project.pin("--yes").output
    assert EXAMPLES.read_text() == first
    project.run()
    assert len(server.requests) == asked


def test_what_is_not_known_of_the_price_is_reported(project, server):
    project.run()
    project.provider(PROVIDER.replace("URL", server.url).partition("[model.prices]")[0])
    for path in Path("training").iterdir():
        path.unlink()
    outcome = project.pin("--number", "2")
    assert "dollars unknown (the model has no prices), minutes unknown" in outcome.output


@pytest.mark.parametrize("which", ["line", "text"])
def test_one_example_is_taken_out(project, server, which):
    project.run()
    kept = project.pinned
    taken = kept.pop(1)
    outcome = project.pin("--yes", "--retire", "2" if which == "line" else taken[:12])
    assert outcome.status == 0, outcome.output
    assert "texts are asked about again: about $" in outcome.output
    assert project.pinned == kept


@pytest.mark.parametrize("wanted", ["7", "Firm", "nothing"])
def test_an_example_to_take_out_must_be_one(project, wanted):
    project.run()
    before = EXAMPLES.read_bytes()
    outcome = project.pin("--yes", "--retire", wanted)
    assert outcome.status == 1
    assert f"of its 4 examples begin with '{wanted}'" in outcome.output
    assert EXAMPLES.read_bytes() == before


@pytest.mark.parametrize("change", ["reject", "correct"])
def test_an_example_whose_gold_changed_is_named_and_still_shown(project, server, change):
    project.run()
    asked = len(server.requests)
    [number] = [i for i, line in enumerate(project.lines) if line["text"] == project.pinned[2]]
    project.lines[number] |= {"answer": "reject"} if change == "reject" else {"spans": []}
    project.review(60)
    outcome = project.run()
    assert outcome.status == 0
    assert "gold was changed or rejected after it was pinned as an example (line 3: " in outcome.output
    assert "take an example out with `python scripts/pin-examples.py --retire 3`" in outcome.output
    assert len(server.requests) == asked
    assert project.pin("--yes", "--retire", "3").status == 0
    assert "was changed or rejected" not in project.run().output


def test_an_example_of_dev_or_test_is_refused(project, server):
    split = assign(read_records(Path("assets/reviewed.jsonl")), [], **SHARES)
    write_lines(EXAMPLES, [json.loads(split.train[0].to_line()), json.loads(split.test[0].to_line())])
    outcome = project.run()
    assert outcome.status == 1
    assert "assets/examples.jsonl:2: 'Firm" in outcome.output
    assert "belongs to dev or test" in outcome.output
    assert server.requests == []
    assert project.pin("--yes", "--retire", "2").status == 0
    assert project.run().status == 0


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "2: not valid JSON"),
        ('{"text": "Acme x", "spans": [{"start": 0, "end": 4, "label": "FIRM"}]}', "2: "),
        ('{"text": "Acme x", "spans": [{"start": 0, "end": 40, "label": "COMPANY"}]}', "2: span 0-40"),
        ('{"text": "Acme x", "answer": "reject"}', "2: its answer is 'reject'"),
        ('{"text": "Acme x", "shown_for": "COMPANY"}', "2: shown_for must be a list of labels"),
        ("", "2: the line is empty; delete it"),
    ],
)
def test_a_fault_of_the_file_is_named_with_its_line(project, server, line, fault):
    first = assign(read_records(Path("assets/reviewed.jsonl")), [], **SHARES).train[0].to_line()
    EXAMPLES.write_text(f"{first}\n{line}\n")
    outcome = project.run()
    assert outcome.status == 1
    assert f"assets/examples.jsonl:{fault}" in outcome.output
    assert server.requests == []


def test_examples_written_by_hand_are_shown_in_the_order_of_the_file(project, server):
    company = {"start": 0, "end": 4, "label": "COMPANY"}
    write_lines(EXAMPLES, [{"text": "Nothing here"}, {"text": "Acme", "spans": [company]}])
    assert project.run().status == 0
    assert {tuple(shown(prompt)) for prompt in server.prompts} == {("Nothing here", "Acme")}


def test_each_label_has_its_own_examples_where_it_has_its_own_prompt(project, server):
    project.edit_config("labels =", 'form = "one-label"\nlabels =')
    for line in project.lines[:30]:
        line["spans"] = line["spans"][:1]
    for line in project.lines[30:60]:
        line["spans"] = line["spans"][1:]
    project.edit_config("\nn = 4", "\nn = 4\nmax_empty = 0.0")
    project.review(60)
    assert project.run().status == 0
    fields = {record.text: record.model_extra["shown_for"] for record in read_pinned(EXAMPLES)}
    assert sorted(fields.values()) == [["COMPANY"]] * 4 + [["MONEY"]] * 4
    by_end = {prompt.rsplit("\n", 1)[-1].split(":")[0]: set(shown(prompt)) for prompt in server.prompts}
    for label, texts in by_end.items():
        assert texts == {text for text, names in fields.items() if names == [label]}


def test_a_config_that_pins_nothing_is_refused(project):
    project.edit_config("pinned = ${paths.examples}\n", "")
    outcome = project.pin()
    assert outcome.status == 1
    assert "set pinned = ${paths.examples} in [prompt.examples]" in outcome.output

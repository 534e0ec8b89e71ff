"""The command against a fake endpoint: what it asks, what it writes, and what survives a kill."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_llm import FakeLLM, answers, html, status
from llm_stub import Response, answer_body
from running import ROOT, data_config, run_command, write_lines

from ie.data.records import read_records
from ie.data.splits import assign, choose
from ie.llm.cache import AnswerCache

SHARES = {"test_percent": 30, "dev_percent": 20}
CONFIG = """
[paths]
reviewed = "none"
examples = "none"

[split]
test_percent = 37
dev_percent = 10
near_duplicate = 0.8

[nlp]
lang = "en"
pipeline = ["spans"]
batch_size = 512

[model]
@llm_models = "ie.Embedded.v1"

[components]

[components.spans]
factory = "llm"
model = ${model}

[components.spans.task]
@llm_tasks = "ie.Spans.v1"
labels = ["COMPANY", "MONEY"]
template = "TEMPLATE"

[components.spans.task.examples]
@llm_misc = "ie.ReviewedExamples.v1"
pinned = ${paths.examples}
reviewed = ${paths.reviewed}
test_percent = ${split.test_percent}
dev_percent = ${split.dev_percent}
near_duplicate = ${split.near_duplicate}
n = 4
"""
PROVIDER = """
[model]
@llm_models = "ie.OpenAI.v1"
model = "fake-1"
base_url = "URL/v1"
cache = "answers.sqlite"
context_length = 4096
max_retries = 0
timeout = 30.0
concurrency = 8

[model.prices]
input = 1.0
output = 2.0
"""


def reply(path: str, prompt: str) -> Response:
    """Finds the name at the beginning of the text and the amount at its end; "Initech" is nowhere."""
    text = re.findall(r"^Text: (.*)$", prompt, re.MULTILINE)[-1]
    return Response(answer_body(path, f"{text.split()[0]} | Initech\nMONEY: {text.split()[-1]}"), delay=0.01)


class Project:
    """A folder with configs, texts and reviewed examples, and the command in it."""

    def __init__(self, folder: Path, url: str, capsys: pytest.CaptureFixture):
        self.folder, self.capsys = folder, capsys
        rng = random.Random(0)
        words = ["".join(rng.choices("abcdefghij", k=6)) for _ in range(800)]
        texts = [f"Firm{i} {' '.join(rng.sample(words, 8))} ${i}m" for i in range(90)]
        self.lines = [self.line(text, i) for i, text in enumerate(texts)]
        write_lines(folder / "assets/reviewed.jsonl", self.lines[:60])
        raw = [
            {"text": line["text"], "meta": line["meta"], "url": "https://a.example"} for line in self.lines
        ]
        write_lines(folder / "assets/texts.jsonl", raw)
        template = ROOT / "configs/prompts/lines.jinja"
        (folder / "llm.cfg").write_text(CONFIG.replace("TEMPLATE", str(template)))
        self.provider(PROVIDER.replace("URL", url))
        data_config(folder / "configs/data.cfg", **SHARES)

    @staticmethod
    def line(text: str, number: int) -> dict:
        money = len(text) - len(text.split()[-1])
        spans = [
            {"start": 0, "end": len(text.split()[0]), "label": "COMPANY"},
            {"start": money, "end": len(text), "label": "MONEY"},
        ]
        return {"text": text, "spans": spans, "answer": "accept", "meta": {"id": f"id{number}"}}

    def provider(self, text: str) -> None:
        path = self.folder / "configs/providers/fake.cfg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def options(self, **changes) -> list[str]:
        given = {
            "config": "llm.cfg",
            "provider": "fake",
            "data": "configs/data.cfg",
            **{name.replace("_", "-"): value for name, value in changes.items()},
        }
        return [str(part) for name, value in given.items() for part in (f"--{name}", value)]

    def run(self, *flags: str, **changes):
        return run_command("llm-annotate", [*self.options(**changes), *flags], self.capsys)

    def start(self) -> subprocess.Popen:
        command = [sys.executable, str(ROOT / "scripts/llm-annotate.py"), *self.options()]
        environment = os.environ | {"WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=environment)

    @property
    def records(self):
        return read_records(self.folder / "corpus/llm.jsonl")

    @property
    def counts(self) -> dict:
        return json.loads((self.folder / "corpus/llm.json").read_text())

    def bytes(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted((self.folder / "corpus").iterdir())}

    def forget(self) -> None:
        for path in self.folder.glob("answers.sqlite*"):
            path.unlink()


@pytest.fixture
def server():
    with FakeLLM(always=reply) as fake:
        yield fake


@pytest.fixture
def project(tmp_path, server, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return Project(tmp_path, server.url, capsys)


def texts_asked(server) -> list[str]:
    return [re.findall(r"^Text: (.*)$", prompt, re.MULTILINE)[-1] for prompt in server.prompts]


def test_what_is_written(project, server):
    outcome = project.run()
    assert outcome.status == 0, outcome.output
    records = project.records
    for record in records:
        found = [(record.text[s.start : s.end], s.label, s.model_extra["alignment"]) for s in record.spans]
        words = record.text.split()
        assert found == [(words[0], "COMPANY", "exact"), (words[-1], "MONEY", "exact")]
        llm = record.model_extra["llm"]
        assert re.fullmatch(r"[0-9a-f]{64}", *llm.pop("prompts"))
        assert llm == {
            "model": "fake-1",
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "dropped": [{"label": "COMPANY", "text": "Initech", "reason": "not in the text"}],
        }
        assert record.id.startswith("id")
    raw = [record for record in records if "url" in record.model_extra]
    assert len(raw) == 30
    counts = project.counts
    assert counts.pop("models")["fake-1"]["model"] == "fake-1"
    n = len(records)
    assert counts == {
        "texts": n,
        "prompts": n,
        "prompt_tokens": 10 * n,
        "completion_tokens": 5 * n,
        "cost": round(20 * n / 1e6, 4),
        "spans": {"COMPANY": n, "MONEY": n},
        "categories": {},
        "alignment": {"exact": 2 * n},
        "dropped": {"not in the text": n},
        "errors": {},
    }
    timings = [json.loads(line) for line in Path("training/llm-timings.jsonl").read_text().splitlines()]
    assert timings.pop(0) == {"parallel": 8, "mb": None}
    assert [timing["id"] for timing in timings] == [record.id for record in records]
    assert all(seconds > 0 for timing in timings for seconds in timing["seconds"])
    assert f"{n} asked, 0 kept" in outcome.output
    assert f"{n} not in the text" in outcome.output


def test_unreviewed_dev_and_test_are_asked_about_and_training_examples_never(project, server):
    project.run()
    reviewed = read_records(Path("assets/reviewed.jsonl"))
    split = assign(reviewed, read_records(Path("assets/texts.jsonl")), **SHARES)
    wanted = [record.text for record in (*split.raw, *split.dev, *split.test)]
    assert split.dev
    assert split.test
    assert sorted(texts_asked(server)) == sorted(wanted)
    assert [record.text for record in project.records] == wanted
    assert not {record.text for record in split.train} & set(texts_asked(server))


def test_reviewed_training_texts_are_asked_about_if_wanted_but_those_that_prompts_show(project, server):
    outcome = project.run(part="train")
    assert outcome.status == 0, outcome.output
    split = assign(read_records(Path("assets/reviewed.jsonl")), [], **SHARES)
    shown = {
        text for prompt in server.prompts for text in re.findall(r"^Text: (.*)$", prompt, re.MULTILINE)[:-1]
    }
    assert len(shown) == 4
    wanted = [record.text for record in split.train if record.text not in shown]
    assert [record.text for record in project.records] == wanted
    assert sorted(texts_asked(server)) == sorted(wanted)


def test_similar_examples_of_reviewed_training_texts_show_no_gold_that_is_to_be_hidden(project, server):
    """Silver made with the gold of a hidden text is no answer to how good silver is without it."""
    path = Path("llm.cfg")
    path.write_text(path.read_text().replace("\nn = 4", '\nn = 4\nselect = "similar"'))
    outcome = project.run(part="train", **{"reviewed-examples": 20})
    assert outcome.status == 0, outcome.output
    split = assign(read_records(Path("assets/reviewed.jsonl")), [], **SHARES)
    chosen, hidden = choose(split.train, {record.text for record in project.records}, 20)
    assert len(chosen) == 20
    assert len(hidden) == len(split.train) - 20 == len(project.records) > 5
    shown = {
        text for prompt in server.prompts for text in re.findall(r"^Text: (.*)$", prompt, re.MULTILINE)[:-1]
    }
    assert len(shown) > 4
    assert shown <= {record.text for record in chosen}
    assert sorted(texts_asked(server)) == sorted(record.text for record in hidden)


def test_where_all_reviewed_texts_are_examples_none_is_asked_about(project, server):
    path = Path("llm.cfg")
    path.write_text(path.read_text().replace("\nn = 4", '\nn = 4\nselect = "similar"'))
    outcome = project.run(part="train")
    assert outcome.status == 0, outcome.output
    assert "nothing to annotate" in outcome.output
    assert server.requests == []
    assert Path("corpus/llm.jsonl").read_text() == ""


def test_examples_come_from_the_training_part_that_the_options_make(project, server):
    """The config's own shares are others."""
    project.run()
    split = assign(read_records(Path("assets/reviewed.jsonl")), [], **SHARES)
    train = {record.text for record in split.train}
    shown = {
        text for prompt in server.prompts for text in re.findall(r"^Text: (.*)$", prompt, re.MULTILINE)[:-1]
    }
    assert len(shown) == 4
    assert shown <= train


def test_shares_of_its_own_in_the_examples_section_are_refused(project, server):
    text = Path("llm.cfg").read_text().replace("pinned = ${paths.examples}", 'pinned = ""')
    Path("llm.cfg").write_text(text.replace("${split.test_percent}", "1"))
    outcome = project.run()
    assert outcome.status == 1
    assert "which is for dev or test" in outcome.output
    assert server.requests == []


def test_the_same_bytes_whatever_the_concurrency(project, server):
    runs = []
    for concurrency in (1, 16):
        project.provider(PROVIDER.replace("URL", server.url).replace("= 8", f"= {concurrency}"))
        project.forget()
        assert project.run().status == 0
        runs.append(project.bytes())
    assert runs[0] == runs[1]
    assert len(server.requests) == 2 * len(project.records)


def test_a_second_run_asks_nothing_and_writes_the_same(project, server):
    project.run()
    before, asked = project.bytes(), len(server.requests)
    outcome = project.run()
    assert project.bytes() == before
    assert len(server.requests) == asked
    assert f"0 asked, {asked} kept from before (asking again would cost $0.00)" in outcome.output


def test_killed_in_the_middle_it_goes_on_where_it_was(project, server):
    project.run()
    whole, n = project.bytes(), len(project.records)
    project.forget()
    for path in Path("corpus").iterdir():
        path.unlink()
    server.requests.clear()
    server.always = lambda path, prompt: Response(reply(path, prompt).body, delay=0.3)
    process = project.start()
    limit = time.monotonic() + 60
    while len(server.requests) < 24 and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, Path("log").read_text()
    assert list(Path("corpus").iterdir()) == [], "nothing half-written"
    stored = AnswerCache(Path("answers.sqlite")).count()
    assert 8 <= stored < n
    asked = len(server.requests)
    server.always = reply
    outcome = project.run()
    assert outcome.status == 0, outcome.output
    assert project.bytes() == whole
    assert len(server.requests) - asked == n - stored, "no answered and stored call is repeated"
    repeated = len(server.prompts) - len(set(server.prompts))
    # A place is free as soon as its answer is there: as many again may be on their way to a slow disk.
    assert repeated <= 16, "only what was in flight or being written"


def test_a_dry_run_sends_and_writes_nothing(project, server):
    outcome = project.run("--dry-run")
    assert outcome.status == 0
    assert server.requests == []
    assert not Path("corpus").exists()
    assert not Path("training").exists()
    split = assign(
        read_records(Path("assets/reviewed.jsonl")), read_records(Path("assets/texts.jsonl")), **SHARES
    )
    n = len([*split.raw, *split.dev, *split.test])
    assert f"{n} to ask, 0 kept from before" in outcome.output
    assert "Nothing was sent." in outcome.output
    project.run()
    assert f"0 to ask, {n} kept from before" in project.run("--dry-run").output


def test_without_reviewed_examples_all_texts_are_asked_about(project, server):
    Path("assets/reviewed.jsonl").unlink()
    assert project.run().status == 0
    assert len(project.records) == len(server.requests) == 90
    assert all(prompt.count("Text: ") == 1 for prompt in server.prompts)


def test_a_failed_call_is_reported_and_asked_again_next_time(project, server):
    def answer(path, prompt):
        if "Text: Firm70 " in prompt.split("\n\n")[-1]:
            return status(400, "flagged by the content_filter")(path, prompt)
        return reply(path, prompt)

    server.always = answer
    outcome = project.run()
    assert outcome.status == 0
    assert "1 content_filter" in outcome.output
    errors = {r.id: r.model_extra["llm"]["error"] for r in project.records if "error" in r.model_extra["llm"]}
    assert errors == {"id70": "content_filter"}
    server.always, asked = reply, len(server.requests)
    assert project.run().status == 0
    assert len(server.requests) == asked + 1, "and nothing else"
    assert project.counts["errors"] == {}


def test_the_budget_stops_it_with_everything_saved(project, server):
    limited = PROVIDER.replace("URL", server.url).replace("concurrency = 8", "concurrency = 1\nmax_calls = 5")
    project.provider(limited)
    outcome = project.run()
    assert outcome.status == 1
    assert "The budget is reached: 5 calls spent of max_calls = 5" in outcome.output
    assert not Path("corpus/llm.jsonl").exists()
    project.provider(PROVIDER.replace("URL", server.url))
    assert project.run().status == 0
    assert len(server.requests) == len(project.records)


@pytest.mark.parametrize("option", ["output", "stats", "timings"])
def test_an_output_that_cannot_be_written_is_reported_before_anything_is_spent(option, project, server):
    Path("file").write_text("")
    outcome = project.run(**{option: "file/below/llm.jsonl"})
    assert outcome.status == 1
    assert "file/below/llm.jsonl: can't be written" in outcome.output
    Path("folder").mkdir()
    outcome = project.run(**{option: "folder"})
    assert (outcome.status, "this is a folder" in outcome.output) == (1, True)
    assert server.requests == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": "no.jsonl"}, "no.jsonl: there is no such file"),
        ({"config": "no.cfg"}, "no.cfg: there is no such file"),
        ({"provider": "no"}, "configs/providers/no.cfg: there is no such provider; the folder has fake"),
        ({"data": "no.cfg"}, "no.cfg: there is no such file"),
    ],
)
def test_missing_files_are_one_sentence(changes, message, project, server):
    outcome = project.run(**changes)
    assert outcome.status == 1
    assert message in outcome.output
    assert "Traceback" not in outcome.output
    assert server.requests == []
    assert not Path("corpus").exists()


@pytest.mark.parametrize(
    ("settings", "message"), [({"test_percent": 90}, "test_percent 90"), ({"lang": "xyz"}, "xyz")]
)
def test_bad_data_settings_are_one_sentence(settings, message, project, server):
    data_config(Path("configs/data.cfg"), **settings)
    outcome = project.run()
    assert (outcome.status, message in outcome.output) == (1, True)
    assert "Traceback" not in outcome.output
    assert server.requests == []
    assert not Path("corpus").exists()


def test_malformed_texts_are_named_by_line(project, server):
    Path("assets/texts.jsonl").write_text('{"text": "Acme"}\n{"text": 5}\n')
    outcome = project.run()
    assert (outcome.status, "assets/texts.jsonl:2: text" in outcome.output) == (1, True)
    assert server.requests == []


def test_the_wrong_key_stops_it_at_once(project, server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-verysecretkey123456")
    server.always = status(401, "Incorrect API key provided: sk-verysecretkey123456")
    outcome = project.run()
    assert outcome.status == 1
    assert "refuses the key" in outcome.output
    assert "verysecret" not in outcome.output
    assert len(server.requests) <= 16
    assert not Path("corpus/llm.jsonl").exists()


def asks(number: int, fault):
    """`reply`, and this fault for the text with that number."""

    def answer(path, prompt):
        text = re.findall(r"^Text: (.*)$", prompt, re.MULTILINE)[-1]
        return fault(path, prompt) if text.startswith(f"Firm{number} ") else reply(path, prompt)

    return answer


def errors_of(project) -> dict[str, str]:
    return {r.id: r.model_extra["llm"]["error"] for r in project.records if "error" in r.model_extra["llm"]}


def test_an_endpoint_of_nonsense_is_no_success_and_replaces_nothing(project, server):
    assert project.run().status == 0
    before, good = project.bytes(), len(server.requests)
    project.forget()
    for nonsense in (html(200), answers(""), answers("<think>Let me see")):
        server.always = nonsense
        outcome = project.run()
        assert outcome.status == 1
        assert "Traceback" not in outcome.output
        assert project.bytes() == before
    server.always = reply
    assert project.run().status == 0
    assert project.bytes() == before
    assert len(set(server.prompts)) == good


def test_a_run_in_which_the_endpoint_failed_keeps_what_it_has_and_is_no_success(project, server):
    server.always = asks(70, status(503))
    outcome = project.run()
    assert outcome.status == 1
    assert "1 of " in outcome.output
    assert "got no answer (1 unavailable: 503: sorry / error)" in outcome.output
    assert errors_of(project) == {"id70": "unavailable: 503: sorry / error"}
    assert len(project.records) > 40
    server.always, asked = reply, len(server.requests)
    assert project.run().status == 0
    assert len(server.requests) == asked + 1
    assert errors_of(project) == {}


def test_a_text_that_never_gets_an_answer_holds_nothing_up(project, server):
    server.always = asks(70, answers(""))
    assert project.run().status == 1
    outcome = project.run()
    assert (outcome.status, errors_of(project)) == (0, {"id70": "empty"})
    assert "1 texts got no answer in this run and the one before (1 empty)" in outcome.output


def test_an_unreadable_answer_is_an_error_of_its_text_and_asked_for_again(project, server):
    server.always = asks(70, answers("<think>Perhaps Firm70 sold $70m"))
    for _ in range(2):
        outcome = project.run()
        assert outcome.status == 0, "as with texts that a filter refuses"
        assert "1 unreadable answer" in outcome.output
        assert errors_of(project) == {"id70": "unreadable answer"}
    (record,) = [record for record in project.records if record.id == "id70"]
    assert record.spans == []
    assert [p.count("Firm70 ") for p in server.prompts].count(1) == 2
    server.always = reply
    assert project.run().status == 0
    assert errors_of(project) == {}


def test_results_are_not_replaced_by_worse_ones(project, server):
    assert project.run().status == 0
    before = project.bytes()
    project.forget()
    server.always = asks(70, status(400, "content_filter"))
    outcome = project.run()
    assert outcome.status == 1
    assert "corpus/llm.jsonl: stays as it is" in outcome.output
    assert "(1 content_filter)" in outcome.output
    assert project.bytes() == before
    Path("corpus/llm.jsonl").unlink()
    assert project.run().status == 0
    assert errors_of(project) == {"id70": "content_filter"}


def test_a_run_of_which_most_cannot_be_used_is_no_success(project, server):
    server.always = lambda path, prompt: (
        reply(path, prompt) if re.search("Firm[0-9]*5 [^\n]*\nCOMPANY:$", prompt) else cut_off(path, prompt)
    )
    outcome = project.run()
    assert outcome.status == 1
    assert "got a usable answer" in outcome.output
    assert "answer cut off at max_tokens" in outcome.output


cut_off = answers("Firm | Fir", finish="length")


def test_a_text_that_spacy_takes_minutes_for_is_set_aside(project, server):
    rule = "=" * 8000
    lines = [json.loads(line) for line in Path("assets/texts.jsonl").read_text().splitlines()]
    lines[65]["text"] = lines[89]["text"] = ""
    lines = [line for line in lines if line["text"]]
    lines[64:64] = [{"text": f"A report\n{rule}\nEnd", "meta": {"id": "rule"}, "url": "x"}]
    lines += [{"text": f"{rule} at the end"}]
    write_lines(Path("assets/texts.jsonl"), lines)
    outcome = project.run()
    assert outcome.status == 0, outcome.output
    fault = "more than 1000 characters in a row without whitespace"
    assert f"2 {fault}" in outcome.output
    aside = [record for record in project.records if "error" in record.model_extra["llm"]]
    assert [record.text for record in aside] == [f"A report\n{rule}\nEnd", f"{rule} at the end"]
    assert aside[0].model_extra["url"] == "x"
    assert [record.model_extra["llm"]["prompts"] for record in aside] == [[], []]
    assert not any(rule in prompt for prompt in server.prompts)


def test_a_password_in_the_address_is_refused_and_written_nowhere(project, server):
    project.provider(PROVIDER.replace("URL", server.url.replace("//", "//me:secret-1@")))
    outcome = project.run()
    assert outcome.status == 1
    assert "base_url has a user name or a password" in outcome.output
    assert "secret-1" not in outcome.output
    assert server.requests == []
    assert not Path("corpus").exists()


def test_every_try_of_a_run_is_counted_and_the_file_says_what_the_answers_cost(project, server):
    server.per_prompt = {}
    faults = iter([answers("")] * 3)
    server.always = lambda path, prompt: (next(faults, None) or reply)(path, prompt)
    outcome = project.run()
    n = len(project.records)
    assert f"this run {n + 3:,} requests" in outcome.output
    first = project.counts
    assert first["cost"] == round(20 * n / 1e6, 4)
    assert project.run().status == 0
    assert project.counts == first

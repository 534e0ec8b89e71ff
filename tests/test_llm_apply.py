"""A language model over files of texts: each text asked about once, whatever happens to run and endpoint."""

import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_llm import FakeLLM, answers, status
from llm_stub import Response, answer_body
from running import ROOT, Outcome, data_config, full_disk, run_command, write_lines
from test_llm_annotate import CONFIG, PROVIDER, SHARES, reply

from ie.data.records import Record, read_records
from ie.data.splits import assign
from ie.deploy.apply import llm_worker
from ie.llm.cache import AnswerCache

RANDOM = random.Random(0)
WORDS = ["".join(RANDOM.choices("abcdefghij", k=6)) for _ in range(800)]
TEXTS = [f"Firm{i} {' '.join(RANDOM.sample(WORDS, 8))} ${i + 1}m" for i in range(60)]
# those that are in the files, but for the reviewed ones
TEXTS, REVIEWED = TEXTS[:40], TEXTS[40:]


def line(i: int) -> dict[str, Any]:
    return {"text": TEXTS[i], "meta": {"id": f"t{i}"}}


def asked_about(prompt: str) -> str:
    return re.findall(r"^Text: (.*)$", prompt, re.MULTILINE)[-1]


class Project:
    """A folder with a config, reviewed examples and texts in files of both kinds, and the commands in it."""

    def __init__(self, folder: Path, server: FakeLLM, capsys: pytest.CaptureFixture):
        self.folder, self.server, self.capsys = folder, server, capsys
        (folder / "llm.cfg").write_text(CONFIG.replace("TEMPLATE", "lines.jinja"))
        (folder / "lines.jinja").write_text((ROOT / "configs/prompts/lines.jinja").read_text())
        company = {"start": 0, "end": 6, "label": "COMPANY"}
        reviewed = [{"text": text, "spans": [company]} for text in REVIEWED]
        write_lines(folder / "assets/reviewed.jsonl", reviewed)
        train = {record.text for record in assign([Record(**line) for line in reviewed], [], **SHARES).train}
        write_lines(
            folder / "assets/examples.jsonl", [line for line in reviewed if line["text"] in train][:4]
        )
        write_lines(folder / "in/a.jsonl", [line(i) for i in range(25)])
        table = pa.table({"key": range(15), "text": TEXTS[25:]})
        (folder / "in/more").mkdir()
        pq.write_table(table, folder / "in/more/b.parquet", row_group_size=4)
        self.provider()
        data_config(folder / "configs/data.cfg", **SHARES)

    def provider(self, more: str = "", url: str = "") -> None:
        path = self.folder / "configs/providers/fake.cfg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PROVIDER.replace("URL", url or self.server.url) + more)

    def options(self, **changes: Any) -> list[str]:
        given = {"config": "llm.cfg", "provider": "fake", "data": "configs/data.cfg"}
        given |= {"texts": "in", "output": "out", "shard": 10}
        return [f"--{name.replace('_', '-')}={value}" for name, value in {**given, **changes}.items()]

    def run(self, **changes: Any) -> Outcome:
        return run_command("llm-apply", self.options(**changes), self.capsys)

    def start(self) -> subprocess.Popen:
        command = [sys.executable, str(ROOT / "scripts/llm-apply.py"), *self.options()]
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)

    def results(self, output: str = "out") -> list[dict[str, Any]]:
        return pq.read_table(self.folder / output / "rows").to_pylist()

    def set_aside(self) -> list[dict[str, Any]]:
        files = sorted(p for p in (self.folder / "out/rejected").rglob("*.jsonl") if p.is_file())
        return [json.loads(row) for path in files for row in path.read_text(encoding="utf-8").splitlines()]

    def asked(self) -> list[str]:
        return [asked_about(prompt) for prompt in self.server.prompts]

    def forget(self) -> None:
        """Take the stored answers away: what is asked for again now shows."""
        for path in self.folder.glob("answers.sqlite*"):
            path.unlink()
        self.server.requests.clear()


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def server() -> Iterator[FakeLLM]:
    with FakeLLM(always=reply) as fake:
        yield fake


@pytest.fixture
def project(tmp_path, server, capsys, monkeypatch) -> Project:
    monkeypatch.chdir(tmp_path)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return Project(tmp_path, server, capsys)


def test_a_folder_of_both_kinds_of_files_comes_out_with_what_the_model_says(project, server):
    done = project.run(id_column="")
    assert done.status == 0, done.output
    assert "texts 40" in done.output
    assert "dropped from answers: not in the text 40" in done.output
    assert "40 asked, 0 kept from before" in done.output
    assert sorted(tree(project.folder / "out")) == [
        "manifest.json",
        *(f"rows/a.jsonl/{number:06}.parquet" for number in range(3)),
        *(f"rows/more/b.parquet/{number:06}.parquet" for number in range(2)),
        "summary.json",
    ]
    found = pq.read_table("out/rows/more/b.parquet").to_pylist()
    assert [row["key"] for row in found] == list(range(15))
    row = project.results()[4]
    assert (row["file"], row["row"], row["text"]) == ("a.jsonl", 5, TEXTS[4])
    assert json.loads(row["extra"]) == {"meta": {"id": "t4"}}
    company, money = row["spans"]
    assert (company["start"], company["end"], company["label"], company["text"]) == (0, 5, "COMPANY", "Firm4")
    assert (money["label"], money["text"], money["money"]) == ("MONEY", "$5m", None)
    (prompt,) = row["llm"].pop("prompts")
    assert re.fullmatch(r"[0-9a-f]{64}", prompt)
    assert row["llm"] == {
        "model": "fake-1",
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "tokens_estimated": None,
        "dropped": [{"label": "COMPANY", "text": "Initech", "reason": "not in the text"}],
    }
    assert Counter(project.asked()) == Counter(TEXTS)


def test_requests_run_together_over_the_borders_of_shards(project, server):
    server.always = lambda path, prompt: Response(reply(path, prompt).body, delay=0.2)
    assert project.run(shard=2).status == 0
    assert server.most == 8


def test_the_spans_are_those_of_llm_annotate(project, server):
    assert project.run(format="jsonl").status == 0
    write_lines(project.folder / "assets/texts.jsonl", [line(i) for i in range(25)])
    asked = len(server.requests)
    options = ["--config", "llm.cfg", "--provider", "fake", "--data", "configs/data.cfg"]
    annotated = run_command("llm-annotate", options, project.capsys)
    assert annotated.status == 0, annotated.output
    assert not set(project.asked()[asked:]) & set(TEXTS), "the prompts are the same, and so are the answers"
    wanted = {record.text: record for record in read_records(Path("corpus/llm.jsonl"))}
    found = [
        record for number in range(3) for record in read_records(Path(f"out/rows/a.jsonl/{number:06}.jsonl"))
    ]
    assert [record.text for record in found] == TEXTS[:25]
    for record in found:
        other = wanted[record.text]
        assert [(s.start, s.end, s.label, s.model_extra["alignment"]) for s in record.spans] == [
            (s.start, s.end, s.label, s.model_extra["alignment"]) for s in other.spans
        ]
        assert record.model_extra["llm"] == other.model_extra["llm"]


def test_relations_and_categories_come_out(project, server):
    text = Path("llm.cfg").read_text().replace('["spans"]', '["spans", "relations", "categories"]')
    tasks = {
        "relations": '"ie.Relations.v1"\nlabels = ["RAISED"]',
        "categories": '"ie.Categories.v1"\nlabels = ["A", "B"]',
    }
    for name, task in tasks.items():
        text += f'\n[components.{name}]\nfactory = "llm"\nmodel = ${{model}}\n'
        text += f'\n[components.{name}.task]\n@llm_tasks = {task}\ntemplate = "lines.jinja"\n'
    Path("llm.cfg").write_text(text)

    def answer(path: str, prompt: str) -> Response:
        words = asked_about(prompt).split()
        ends = {"RAISED:": f"{words[0]} > {words[-1]}", "Category:": "B"}
        said = next((value for end, value in ends.items() if prompt.rstrip().endswith(end)), None)
        return Response(answer_body(path, said)) if said else reply(path, prompt)

    server.always = answer
    assert project.run(texts="in/a.jsonl").status == 0
    row = project.results()[7]
    (relation,) = row["relations"]
    # An LLM's answers are not calibrated.
    assert {key: value for key, value in relation.items() if value is not None} == {
        "head": 0,
        "child": 1,
        "label": "RAISED",
    }
    assert {cat["label"]: cat["score"] for cat in row["cats"]} == {"A": 0, "B": 1}


def test_a_row_of_a_parquet_file_that_is_not_utf8_is_set_aside(project, server):
    raw = pa.array([b"caf\xe9 $1m", TEXTS[0].encode()], pa.binary())
    table = pa.table({"text": pa.Array.from_buffers(pa.string(), 2, raw.buffers())})
    pq.write_table(table, project.folder / "bad.parquet")
    done = project.run(texts="bad.parquet")
    assert done.status == 0, done.output
    assert [(row["row"], row["reason"]) for row in project.set_aside()] == [(1, "not UTF-8 in text")]
    assert project.asked() == [TEXTS[0]]


def test_rows_that_are_no_texts_are_set_aside_and_shards_of_nothing_else_are_done(project, server):
    bad = ["{not json", '{"text": null}', '{"text": " "}']
    write_lines(project.folder / "in/a.jsonl", [*bad, line(0), bad[0], line(1), *bad, bad[0]])
    done = project.run(texts="in/a.jsonl", shard=2)
    assert done.status == 0, done.output
    assert [row["row"] for row in project.results()] == [4, 6]
    reasons = [(row["row"], row["reason"]) for row in project.set_aside()]
    assert reasons[:3] == [(1, "not JSON"), (2, "no text"), (3, "empty text")]
    assert len(reasons) == 8
    assert len(list(Path("out/rows/a.jsonl").iterdir())) == 5
    assert len(server.requests) == 2


def test_another_runs_column_of_notes_is_kept_apart(project, server):
    write_lines(project.folder / "in/a.jsonl", [line(0) | {"llm": "theirs"}])
    assert project.run(texts="in/a.jsonl", format="jsonl").status == 0
    row = json.loads(Path("out/rows/a.jsonl/000000.jsonl").read_text())
    assert (row["llm"]["model"], row["input_llm"]) == ("fake-1", "theirs")


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "ended"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 1)])
def test_killed_in_the_middle_it_goes_on_and_asks_for_the_rest_only(project, server, sent, ended):
    assert project.run().status == 0
    whole = tree(project.folder / "out")
    project.forget()
    for path in sorted((project.folder / "out").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    server.always = lambda path, prompt: Response(reply(path, prompt).body, delay=0.5)
    process = project.start()
    limit = time.monotonic() + 600
    while (
        not list(Path("out").rglob("[!.]*0.parquet")) and process.poll() is None and time.monotonic() < limit
    ):
        time.sleep(0.02)
    process.send_signal(sent)
    assert process.wait() == ended, Path("log").read_text()
    assert (ended == 1) == ("Interrupted; the calls in flight were finished" in Path("log").read_text())
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("[!.]*.parquet") if path.is_file()}
    assert 0 < len(before) < 5
    stored, asked = AnswerCache(Path("answers.sqlite")).count(), len(server.requests)
    server.always = reply
    done = project.run()
    assert done.status == 0, done.output
    assert f"{len(before)} of 5 shards are kept from an earlier run" in done.output
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert tree(project.folder / "out") == whole
    assert len(server.requests) - asked == 40 - stored
    # A place is free as soon as its answer is there: as many again may be on their way to a slow disk.
    assert len(server.requests) - 40 <= 16, "only what was in flight or being written"


def test_without_a_store_the_shards_alone_say_what_is_left(project, server):
    text = PROVIDER.replace('"answers.sqlite"', '""').replace("URL", server.url)
    provider = Path("configs/providers/fake.cfg")
    provider.write_text(text.replace("concurrency = 8", "concurrency = 1\nmax_calls = 27"))
    stopped = project.run()
    assert stopped.status == 1
    assert "The budget is reached: 27 calls spent of max_calls = 27" in stopped.output
    assert len(project.results()) == 25
    provider.write_text(text)
    server.requests.clear()
    assert project.run().status == 0, "limits may change within a run"
    assert Counter(project.asked()) == Counter(TEXTS[25:])


def test_an_endpoint_that_dies_is_one_sentence_and_nothing_is_lost(project, server):
    answered: set[str] = set()

    def dying(path: str, prompt: str) -> Response:
        if len(answered) == 23:
            # Later than the good answers under way, which would break the row of failures.
            return replace(status(503, "out of memory")(path, prompt), delay=0.2)
        answered.add(asked_about(prompt))
        return reply(path, prompt)

    server.always = dying
    stopped = project.run()
    assert stopped.status == 1
    assert "doesn't answer (503: out of memory / error); check the address and the network" in stopped.output
    assert "Traceback" not in stopped.output
    finished = project.results()
    assert len(finished) >= 20
    server.always = reply
    server.requests.clear()
    done = project.run()
    assert done.status == 0, done.output
    assert Counter(project.asked()) == Counter(set(TEXTS) - answered)
    assert Counter(row["text"] for row in project.results()) == Counter(TEXTS)
    assert project.set_aside() == [], "nor is a text that happened to be asked about while it died"


def test_a_text_without_an_answer_is_set_aside_and_asked_about_again_by_the_next_run(project, server):
    again = {
        TEXTS[23]: status(500, "busy"),
        TEXTS[30]: answers("  "),
        TEXTS[31]: answers("<think>Perhaps Firm31"),
    }
    never = {
        TEXTS[12]: status(400, "flagged by the content_filter"),
        TEXTS[13]: answers("Firm13", finish="length"),
    }

    def some(path: str, prompt: str) -> Response:
        fault = {**again, **never}.get(asked_about(prompt))
        return fault(path, prompt) if fault else reply(path, prompt)

    server.always = some
    done = project.run()
    assert done.status == 1, "so that nobody takes it for finished"
    assert "2 texts were set aside without an answer" in done.output
    assert "texts 35" in done.output
    assert "set aside: no usable answer (content_filter) 1" in done.output
    reasons = {row["content"]: row["reason"] for row in project.set_aside()}
    assert reasons == {
        TEXTS[23]: "no answer (unavailable: 500: busy / error)",
        TEXTS[12]: "no usable answer (content_filter)",
        TEXTS[13]: "no usable answer (answer cut off at max_tokens)",
        TEXTS[30]: "no answer (empty)",
        TEXTS[31]: "no answer (unreadable answer)",
    }
    server.always = reply
    server.requests.clear()
    done = project.run()
    assert "3 of 5 shards are kept from an earlier run" in done.output
    assert sorted(project.asked()) == sorted(again)
    assert done.status == 0
    assert {row["content"] for row in project.set_aside()} == set(never)
    assert Counter(row["text"] for row in project.results()) == Counter(set(TEXTS) - set(never))
    assert "All 5 shards are there" in project.run().output


def test_a_shard_is_not_replaced_by_one_with_fewer_results(project, server):
    server.always = lambda path, prompt: (
        status(500, "busy")(path, prompt) if asked_about(prompt) == TEXTS[23] else reply(path, prompt)
    )
    project.run()
    before = project.results()
    assert len(before) == 39
    project.forget()
    server.always = lambda path, prompt: (
        status(500, "busy")(path, prompt) if asked_about(prompt) in TEXTS[20:28:2] else reply(path, prompt)
    )
    assert project.run().status == 1
    assert project.results() == before
    server.always = reply
    assert project.run().status == 0
    assert len(project.results()) == 40


def test_the_wrong_key_and_a_wrong_address_can_be_mended_in_the_same_folder(project, server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-verysecretkey123456")
    server.always = status(401, "Incorrect API key provided: sk-verysecretkey123456")
    refused = project.run()
    assert refused.status == 1
    assert "refuses the key" in refused.output
    assert "verysecret" not in refused.output
    assert not any("verysecret" in content.decode() for content in tree(project.folder / "out").values())
    assert len(server.requests) <= 16
    project.provider(url="http://127.0.0.1:1")
    refused = project.run()
    assert (refused.status, "doesn't answer" in refused.output) == (1, True)
    server.always = reply
    project.provider()
    assert project.run().status == 0
    assert len(project.results()) == 40


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda p: p.provider("\n[model.params]\nseed = 1\n"), "the language model"),
        (lambda p: Path("lines.jinja").write_text("Text: {{ text }}\nCOMPANY:"), "the prompts"),
        (lambda p: write_lines(Path("assets/examples.jsonl"), [{"text": REVIEWED[0]}]), "the prompts"),
        (
            lambda p: Path("llm.cfg").write_text(Path("llm.cfg").read_text().replace("n = 4", "n = 1")),
            "the prompts",
        ),
    ],
)
def test_another_prompt_or_model_is_refused_by_name(project, change, told):
    assert project.run().status == 0
    before = tree(project.folder / "out")
    change(project)
    refused = project.run()
    assert refused.status == 1
    assert f"holds the results of another run ({told} changed since); name another folder" in refused.output
    assert tree(project.folder / "out") == before


def test_after_a_change_of_the_code_nothing_is_paid_for_again(project, server, monkeypatch):
    assert project.run().status == 0
    asked, before = len(server.requests), project.results()
    monkeypatch.setattr(llm_worker, "hash_code", lambda *_: "edited")
    refused = project.run()
    assert refused.status == 1
    assert "holds the results of another run (the code changed since)" in refused.output
    shutil.rmtree(project.folder / "out")
    assert project.run().status == 0
    assert project.results() == before
    assert len(server.requests) == asked > 0


def test_a_full_disk_is_one_sentence_and_what_was_asked_is_kept(project, server, monkeypatch):
    full_disk(monkeypatch, 3)  # the manifest, the first shard, the second
    refused = project.run()
    assert refused.status == 1
    assert "000001.parquet: can't be written (No space left on device); free some space" in refused.output
    monkeypatch.undo()
    monkeypatch.chdir(project.folder)
    assert project.run().status == 0
    assert Counter(project.asked()) == Counter(TEXTS), "each once, those in flight at that time included"


def test_memory_for_new_words_is_bounded_and_nothing_depends_on_it(project, server, monkeypatch):
    assert project.run(output="whole").status == 0
    zones = []
    real = llm_worker.Language.memory_zone
    monkeypatch.setattr(llm_worker, "KEPT_WORDS", 5)
    monkeypatch.setattr(
        llm_worker.Language, "memory_zone", lambda nlp: zones.append(len(nlp.vocab.strings)) or real(nlp)
    )
    assert project.run().status == 0
    assert len(zones) > 2
    assert len(set(zones)) == 1
    rows = [path.read_bytes() for path in sorted(Path("out/rows").rglob("*.parquet")) if path.is_file()]
    assert rows == [p.read_bytes() for p in sorted(Path("whole/rows").rglob("*.parquet")) if p.is_file()]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"texts": "nothing"}, "nothing: there is no such file or folder"),
        ({"config": "no.cfg"}, "no.cfg: there is no such"),
        ({"provider": "no"}, "configs/providers/no.cfg: there is no such provider; the folder has fake"),
        ({"text_column": "body"}, "has 'body', but text, meta"),
        ({"output": "in/out"}, "would be read as texts"),
    ],
)
def test_mistakes_are_one_sentence_before_anything_is_asked(project, server, changes, told):
    refused = project.run(**changes)
    assert refused.status == 1
    assert told in refused.output
    assert server.requests == []
    assert not Path("out").exists()

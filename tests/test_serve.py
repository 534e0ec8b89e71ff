"""The service as programs use it: the real command on a free port."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx2
import psutil
import pytest
import spacy
from prometheus_client.parser import text_string_to_metric_families
from running import ROOT, crowd, run_command, stops_with_weasel
from serving import CONFIG, DEAL, Server, settings

from ie.core.errors import UserError
from ie.data.records import Record
from ie.deploy.service.annotator import choose, line_of
from ie.training.assembly import origins

SECRET = "Wayne wins a secret bid"
TEXTS = [DEAL, "", " \n", "😀 Velto got $12 m.", SECRET]
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def model(rule_pipeline: Path) -> Path:
    return rule_pipeline


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = {"texts": 20, "body": 100_000, "queue": 50, "entities": 9}
    started = Server(model, tmp_path_factory.mktemp("serve"), sentence="Velto sells boats", **limits)
    started.wait()
    yield started
    started.stop()


def expected(model: Path, texts: list[str]) -> list[dict]:
    nlp = spacy.load(model)
    return [json.loads(line_of(nlp(text))) for text in texts]


def counts(server: Server) -> dict[tuple, float]:
    """Metrics by name and labels."""
    text = server.client.get("/metrics").text
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_records_in_order_are_what_the_pipeline_says(server: Server, model: Path) -> None:
    answer = server.annotate(*TEXTS)
    assert answer.status_code == 200
    found = answer.json()["records"]
    assert found == expected(model, TEXTS)
    first = Record.model_validate(found[0])
    names = {first.text[s.start : s.end]: s.model_extra for s in first.spans}
    assert names["Hooli"] == {"text": "Hooli", "kb_id": "5923214"}
    emoji = Record.model_validate(found[3])
    assert [s.model_extra["text"] for s in emoji.spans] == [emoji.text[s.start : s.end] for s in emoji.spans]
    assert names["$5m"]["value"] == "5000000 USD"
    assert first.relations
    assert set(first.cats) == {"FUNDING", "OTHER"}


def test_a_span_without_a_confidence_is_not_sure(server: Server) -> None:
    def ask(**settings: float) -> httpx2.Response:
        return server.client.post("/annotate", json={"texts": [DEAL], **settings})

    assert ask(min_confidence=0).json() == server.annotate(DEAL).json()
    (record,) = ask(min_confidence=0.5).json()["records"]
    assert record["text"] == DEAL
    assert record["spans"] == record.get("relations", []) == []
    refused = ask(min_confidence=1.5)
    assert refused.status_code == 422
    assert "min_confidence" in refused.json()["error"]


def test_the_pipeline_is_announced_as_its_package(model: Path, tmp_path: Path, server: Server) -> None:
    # one that was named says itself what it is
    assert server.client.get("/ready").json()["pipeline"]["name"] == "en_pipeline"
    training = tmp_path / "training"
    for folder, name in (("reviewed", "en_deals"), ("pipeline", "en_deals_pipeline")):
        shutil.copytree(model, training / folder / "model-best")
        started = Server("", tmp_path, training=training, name="en_deals", version="1.2.0")
        try:
            started.wait()
            found = started.client.get("/ready").json()["pipeline"]
            assert (found["name"], found["version"]) == (name, "1.2.0")
            (ready,) = [line for line in started.lines if line["event"] == "ready"]
            assert (ready["pipeline"], ready["version"]) == (name, "1.2.0")
        finally:
            started.stop()


def test_pages_and_probes(server: Server) -> None:
    assert server.client.get("/health").json() == {"alive": True}
    assert "linker" in server.client.get("/ready").json()["pipeline"]["components"]
    page = server.client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for part in ("/base.css", "/serve.css", "/serve.js", "/icon.svg"):
        assert part in page.text
        assert server.client.get(part).status_code == 200
    assert "//" not in page.text.replace("</", "")  # nothing from outside
    schema = server.client.get("/openapi.json").json()["components"]["schemas"]["Batch"]
    assert schema["properties"]["texts"]["maxItems"] == 20
    span = server.client.get("/openapi.json").json()["components"]["schemas"]["Span"]
    assert "text" in span["required"]
    # what the page offers to try is the project's own
    assert schema["properties"]["texts"]["examples"] == [["Velto sells boats"]]
    assert "Hooli" not in page.text


BAD = {
    "nothing": (b"", 400, "isn't JSON"),
    "broken": (b'{"texts": ["a"', 400, "isn't JSON"),
    "not UTF-8": (b'{"texts": ["\xff"]}', 400, "isn't JSON"),
    "half a surrogate pair": (b'{"texts": ["\\ud83d"]}', 400, "isn't JSON"),
    "deep": (b'{"texts": ' + b"[" * 50_000, 400, "recursion limit"),
    "NaN": (b'{"texts": [NaN]}', 422, "texts.0: Input should be a valid string"),
    "a list": (b'["a"]', 422, "Input should be an object"),
    "null": (b"null", 422, "Input should be an object"),
    "no texts": (b"{}", 422, "texts: Field required"),
    "one text": (b'{"texts": "a"}', 422, "texts: Input should be a valid array"),
    "a number": (b'{"texts": ["a", 1]}', 422, "texts.1: Input should be a valid string"),
    "an empty list": (b'{"texts": []}', 422, "1 to 20 texts; this one has 0"),
    "too many": (json.dumps({"texts": ["a"] * 21}).encode(), 422, "1 to 20 texts; this one has 21"),
    "too long": (json.dumps({"texts": ["a" * 20_001]}).encode(), 422, "texts.0 has 20,001 characters"),
    "no blank": (json.dumps({"texts": ["(" * 1001]}).encode(), 422, "texts.0 has more than 1000 characters"),
    "a null character": (b'{"texts": ["a\\u0000b"]}', 422, "texts.0 has a null character"),
    "another key": (b'{"texts": ["a"], "Wayne": 1}', 422, "Extra inputs are not permitted"),
    "10 MB": (b'{"texts": ["' + b"a" * 10_000_000 + b'"]}', 413, "the limit is 100,000 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_requests_get_one_sentence(server: Server, case: str) -> None:
    content, status, sentence = BAD[case]
    answer = server.client.post("/annotate", content=content, headers=JSON)
    assert answer.status_code == status
    assert sentence in answer.json()["error"]
    assert "Traceback" not in answer.text
    assert "Wayne" not in answer.text
    assert server.annotate(DEAL).status_code == 200


def test_a_text_with_too_many_entities(server: Server) -> None:
    answer = server.annotate(DEAL, " ".join([DEAL] * 4))
    assert (answer.status_code, "can't work on texts.1" in answer.json()["error"]) == (422, True)
    assert server.annotate(" ".join([DEAL] * 3)).status_code == 200


def test_strangers_and_other_methods_are_refused(server: Server) -> None:
    post = server.client.post
    body = json.dumps({"texts": [DEAL]})
    assert post("/annotate", content=body, headers={"content-type": "text/plain"}).status_code == 415
    for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"}, {"origin": "null"}):
        for path in ("/", "/ready", "/metrics"):
            assert server.client.get(path, headers=headers).status_code == 403
        assert post("/annotate", content=body, headers=JSON | headers).status_code == 403
    assert server.client.get("/", headers={"host": "[::1"}).status_code == 400
    assert server.client.get("/annotate").status_code == 405
    assert server.client.get("/nothing").status_code == 404
    own = JSON | {"origin": server.url, "host": f"localhost:{server.port}"}
    assert post("/annotate", content=body, headers=own).status_code == 200


def test_a_slow_sender_is_cut_off(model: Path, tmp_path: Path) -> None:
    server = Server(model, tmp_path, arrive=0.3)
    try:
        server.wait()

        def drip() -> Iterator[bytes]:
            yield b'{"texts": '
            time.sleep(1)
            yield b'["a"]}'

        answer = server.client.post("/annotate", content=drip(), headers=JSON)
        assert (answer.status_code, answer.json()["error"]) == (
            408, "The request took longer than 0.3 seconds to arrive.",
        )  # fmt: skip
    finally:
        server.stop()


def test_metrics_count_and_logs_name_no_text(server: Server) -> None:
    before, lines = counts(server), len(server.lines)
    for _ in range(3):
        server.annotate(SECRET, SECRET)
    server.client.post("/annotate", content=f'{{"texts": "{SECRET}"}}', headers=JSON)
    server.client.get(f"/{SECRET}?q={SECRET}", headers={"x-request-id": SECRET})
    answer = server.client.get("/health", headers={"x-request-id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    after = counts(server)

    def more(*key: str) -> float:
        return after.get(key, 0) - before.get(key, 0)

    assert more("serve_texts_total") == 6
    assert more("serve_characters_total") == 6 * len(SECRET)
    assert more("serve_requests_total", "/annotate", "200") == 3
    assert more("serve_requests_total", "/annotate", "422") == 1
    assert more("serve_requests_total", "404", "other") == 1
    assert more("serve_request_seconds_count", "/annotate") == 4
    assert after[("serve_ready",)] == 1
    assert after[("serve_waiting_texts",)] == 0
    log = server.lines[lines:]
    asked = [line for line in log if line["path"] == "/annotate"]
    assert [(line["status"], line["texts"], line["chars"]) for line in asked] == [
        *[(200, 2, 2 * len(SECRET))] * 3, (422, 0, 0),
    ]  # fmt: skip
    assert "mine-1" in [line["id"] for line in log]
    assert all(line["ms"] >= 0 for line in log)
    assert not any(word in server.log.read_text("utf-8") for word in ("secret", "Hooli", "Velto"))


def wait_for(server: Server, name: str, least: float) -> None:
    deadline = time.monotonic() + 60
    while counts(server)[(name,)] < least:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_too_much_is_refused_for_now(model: Path, tmp_path: Path) -> None:
    server = Server(model, tmp_path, workers=1, queue=4, texts=4, batch=1, retry_after=7)
    try:
        server.wait()
        (worker,) = server.workers
        worker.suspend()
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(server.annotate, *[DEAL] * 4)
            wait_for(server, "serve_waiting_texts", 2)  # two are with the pipeline
            second = pool.submit(server.annotate, DEAL, DEAL)
            wait_for(server, "serve_waiting_texts", 4)
            refused = server.annotate(DEAL)
            worker.resume()
            assert len(first.result().json()["records"]) == 4
            assert len(second.result().json()["records"]) == 2
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "7")
        assert refused.json()["error"] == "4 texts are waiting already; try again in a moment."
        assert server.annotate(DEAL).status_code == 200
    finally:
        server.stop()


def test_what_is_not_done_in_time_is_given_up(model: Path, tmp_path: Path) -> None:
    server = Server(model, tmp_path, workers=1, answer=0.5)
    try:
        server.wait()
        (worker,) = server.workers
        worker.suspend()
        answer = server.annotate(DEAL)
        assert answer.status_code == 503
        assert "Not done within 0.5 seconds" in answer.json()["error"]
        # who stops the server needn't wait for it
        assert server.stop() == 0
    finally:
        with suppress(psutil.NoSuchProcess):
            worker.kill()


def test_sigterm_finishes_what_was_accepted(model: Path, tmp_path: Path) -> None:
    server = Server(model, tmp_path, workers=1, batch=1)
    server.wait()
    (worker,) = server.workers
    worker.suspend()
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(server.annotate, *[DEAL] * 5) for _ in range(4)]
        wait_for(server, "serve_waiting_texts", 18)
        server.process.terminate()
        time.sleep(0.5)
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{server.url}/health")
        worker.resume()
        answers = [future.result() for future in asked]
    assert [len(answer.json()["records"]) for answer in answers] == [5] * 4
    assert server.process.wait(60) == 0
    assert "Traceback" not in server.log.read_text()
    server.stop()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_it_stops_with_the_weasel_that_started_it(model: Path, tmp_path: Path, how: signal.Signals) -> None:
    options = ("--model", model, "--settings", CONFIG, "--port", 0)
    stops_with_weasel(tmp_path, ROOT / "scripts" / "serve.py", options, how)


def test_processes_answer_alike_and_one_that_dies_is_replaced(model: Path, tmp_path: Path) -> None:
    server = Server(model, tmp_path, workers=1)
    try:
        server.wait()
        assert server.annotate(*TEXTS).json()["records"] == expected(model, TEXTS)
        (worker,) = server.workers
        found = counts(server)
        own, whole = found[("process_resident_memory_bytes",)], found[("serve_memory_bytes",)]
        assert whole > own + 0.9 * worker.memory_info().rss
        worker.kill()
        died = server.annotate(DEAL)
        assert died.status_code == 503
        assert died.headers["retry-after"]
        assert server.annotate(DEAL).json()["records"] == expected(model, [DEAL])
        os.kill(server.process.pid, signal.SIGINT)
        assert server.process.wait(60) == 0
    finally:
        server.stop()


def test_what_takes_too_long_is_ended(model: Path, tmp_path: Path) -> None:
    # the tokenizer would take half a minute
    server = Server(model, tmp_path, workers=1, answer=1, stretch=20_000)
    try:
        server.wait()
        (worker,) = server.workers
        answer = server.annotate("(" * 20_000)
        assert (answer.status_code, "Not done within 1 seconds" in answer.json()["error"]) == (503, True)
        _, alive = psutil.wait_procs([worker], timeout=10)
        assert alive == []
        server.wait()
        assert server.annotate(DEAL).json()["records"] == expected(model, [DEAL])
    finally:
        server.stop()


def test_a_process_that_dies_takes_no_other_work_with_it(model: Path, tmp_path: Path) -> None:
    server = Server(model, tmp_path, workers=2, batch=1)
    try:
        server.wait()
        for worker in server.workers:
            worker.suspend()
        with ThreadPoolExecutor(3) as pool:
            # the third waits behind one of the others
            asked = [pool.submit(server.annotate, DEAL) for _ in range(3)]
            wait_for(server, "serve_batch_texts_count", 3)
            one, other = server.workers
            one.kill()
            other.resume()
            statuses = [future.result().status_code for future in asked]
        assert sorted(statuses) == [200, 200, 503]
    finally:
        server.stop()


def test_a_pipeline_that_is_gone_is_no_fault_of_the_server(model: Path, tmp_path: Path) -> None:
    mine = tmp_path / "model"
    shutil.copytree(model, mine)
    server = Server(mine, tmp_path, workers=1)
    try:
        server.wait()
        mine.rename(tmp_path / "elsewhere")
        (worker,) = server.workers
        worker.kill()
        told = [server.annotate(DEAL) for _ in range(3)]
        assert [answer.status_code for answer in told] == [503] * 3
        assert "can't be loaded any more" in told[-1].json()["error"]
        assert server.client.get("/ready").status_code == 503
        (tmp_path / "elsewhere").rename(mine)
        server.annotate(DEAL)  # which looks for it again
        server.wait()
        assert server.annotate(DEAL).status_code == 200
    finally:
        server.stop()


def test_workers_of_a_killed_server_end(model: Path, tmp_path: Path) -> None:
    server = Server(model, tmp_path, workers=1)
    server.wait()
    children = psutil.Process(server.process.pid).children(recursive=True)
    server.process.kill()
    _, alive = psutil.wait_procs(children, timeout=30)
    server.stop()
    assert alive == []


class TestMistakes:
    """Each is one sentence."""

    def fails(self, capsys: pytest.CaptureFixture, *options: object) -> str:
        outcome = run_command("serve", ["--settings", ROOT / "configs" / "serve.cfg", *options], capsys)
        assert outcome.status == 1
        assert "Traceback" not in outcome.output
        return outcome.output

    def test_two_servers_on_one_port(
        self, server: Server, model: Path, capsys: pytest.CaptureFixture
    ) -> None:
        told = self.fails(capsys, "--model", model, "--port", server.port)
        assert f"port {server.port} can't be used" in told
        assert "`python scripts/serve.py --port 9000`" in told

    def test_no_pipeline(self, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
        assert "there is no trained pipeline" in self.fails(capsys, "--training", tmp_path)
        assert "neither the folder of a pipeline nor" in self.fails(capsys, "--model", "no_such_package")

    def test_a_pipeline_assembled_of_others_is_served_with_a_warning(
        self, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        training = tmp_path / "training"
        ner, relations, whole = (training / x / "model-best" for x in ("reviewed", "relations", "pipeline"))
        for folder in (ner, relations, whole):
            folder.mkdir(parents=True)
            (folder / "meta.json").write_text("{}")
        sources = origins({"ner": ner, "relations": relations, "gone": whole / "meta.json"})
        sources["gone"]["path"] = "nowhere"
        (training / "pipeline" / "assemble.json").write_text(json.dumps({"sources": sources}))
        options = ("--training", training, "--port", server.port)  # which is taken
        assert "have changed since it was assembled" not in self.fails(capsys, *options)
        # as after a checkout
        os.utime(ner / "meta.json")
        assert "have changed since it was assembled" not in self.fails(capsys, *options)
        (ner / "meta.json").write_text("[]")
        told = self.fails(capsys, *options)
        assert f"{whole}: its sources have changed since it was assembled (ner), and it is served" in told
        assert "weasel run assemble" in told
        assert choose("", training, "both") == (str(whole), "")
        assert choose(str(whole), training, "reviewed") == (str(whole), "")
        (training / "pipeline" / "assemble.json").write_text("{}")  # of an earlier version
        assert choose("", training, "reviewed") == (str(whole), "")

    def test_settings(self, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
        (tmp_path / "bad.cfg").write_text("[limits]\ntexts = 10\nqueue = 5\n")
        told = self.fails(capsys, "--model", model, "--settings", tmp_path / "bad.cfg")
        assert "texts must not be more than queue" in told

    def test_counters_that_watch_could_not_compare(
        self, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        counting = settings(tmp_path, counters="true")
        told = self.fails(capsys, "--model", model, "--settings", counting, "--corpus", tmp_path)
        assert "train.jsonl: there is no such file; run `weasel run split`" in told

    @pytest.mark.parametrize("workers", [0, 1])
    def test_a_broken_pipeline_ends_it(self, model: Path, tmp_path: Path, workers: int) -> None:
        broken = tmp_path / "broken"
        broken.mkdir()
        for name in ("meta.json", "config.cfg"):
            (broken / name).write_bytes((model / name).read_bytes())
        server = Server(broken, tmp_path, workers=workers)
        assert server.process.wait(120) == 1
        told = " ".join((server.process.stdout.read() + server.log.read_text()).split())
        server.stop()
        assert "can't be loaded as a pipeline" in told
        assert "Traceback" not in told


def test_not_ready_before_the_pipeline_is(model: Path, tmp_path: Path) -> None:
    server = Server(model, tmp_path, workers=1)
    try:
        assert server.client.get("/health").status_code == 200
        early = server.client.get("/ready")
        assert (early.status_code, early.headers["retry-after"]) == (503, "1")
        assert server.annotate(DEAL).status_code == 503
    finally:
        assert server.stop() == 0


@pytest.mark.parametrize("sent", ["", "GET /health", "POST /annotate HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_a_crowd_that_waits_keeps_no_client_out(server: Server, sent: str) -> None:
    length = "Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    with crowd(server.port, sent.replace("\r\n\r\n", f"\r\n{length}").encode()):
        assert server.annotate(DEAL).status_code == 200


def test_many_clients_get_their_own_answers(server: Server, model: Path) -> None:
    wrong: list[int] = []

    def ask(number: int) -> None:
        text = f"Hooli raised ${number + 1} m today"
        found = server.annotate(text, DEAL).json()["records"]
        if found[0]["text"] != text or found[0]["spans"][1]["value"] != f"{number + 1}000000 USD":
            wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_server_that_cannot_start_is_an_error_of_the_benchmark(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the service didn't start"):
        Server(tmp_path / "none", tmp_path)

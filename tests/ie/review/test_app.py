"""Who may speak to the server, and what it says."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from reviewing import SCHEME, Project, texts
from starlette.testclient import TestClient

from ie.core.errors import UserError
from ie.core.web import listen, session_secret
from ie.review.app import make_app
from ie.review.progress import progress

SECRET = "a" * 32
HOME = "http://localhost:8080"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, texts(3))


@pytest.fixture
def client(project: Project) -> Iterator[TestClient]:
    app = make_app(
        project.engine, SCHEME, secret=SECRET, port=8080, hosts="review.example.org",
        progress=lambda: progress({"train": 0, "dev": 0, "test": 56}), faults=[], idle=iter(()),
    )  # fmt: skip
    with TestClient(app, base_url=HOME, raise_server_exceptions=False) as made:
        made.cookies.set("review-8080", SECRET)
        yield made


def send(client: TestClient, project: Project, **headers: str) -> object:
    given = project.answer(client.get("/api/next").json())
    return client.post(
        "/api/answer",
        content=given.model_dump_json(),
        headers={"content-type": "application/json", **headers},
    )


def test_an_answer_brings_the_next_question(client: TestClient, project: Project) -> None:
    assert client.get("/api/next").json()["id"] == "t0"
    answered = send(client, project, origin=HOME)
    assert (answered.status_code, answered.json()["id"]) == (200, "t1")
    aim = answered.json()["progress"]["aims"][0]["sentence"]
    assert aim.startswith("44 more test examples make the second digit hold")
    assert client.get("/api/back", params={"steps": 1}).json()["id"] == "t0"
    assert (
        client.get("/api/item", params={"text": answered.json()["text"], "unit": "spans:MONEY"}).json()["id"]
        == "t1"
    )


@pytest.mark.parametrize("headers", [
    {"host": "evil.example"},
    {"host": "evil.example:8080"},
    {"host": "localhost.evil.example"},
    {"host": ""},
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": "http://localhost:9999"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"cookie": "review-8080=wrong"},
    {"cookie": "other=1"},
])  # fmt: skip
def test_strangers_are_refused(client: TestClient, project: Project, headers: dict[str, str]) -> None:
    if "cookie" in headers:
        client.cookies.clear()
    for path in ("/", "/api/next", "/api/project", "/review.js"):
        assert client.get(path, headers=headers).status_code == 403
    refused = client.post("/api/answer", content="{}", headers={"origin": HOME, **headers})
    assert refused.status_code == 403
    assert project.log.read_text("utf-8") == ""


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_what_a_browser_sends_for_the_page_is_let_in(client: TestClient, project: Project, site: str) -> None:
    for path in ("/", "/api/next", "/review.js"):
        assert client.get(path, headers={"sec-fetch-site": site}).status_code == 200
    assert send(client, project, origin=HOME, **{"sec-fetch-site": site}).status_code == 200


def test_an_answer_needs_an_origin(client: TestClient, project: Project) -> None:
    assert send(client, project).status_code == 403
    assert project.log.read_text("utf-8") == ""


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:9000", "review.example.org"])
def test_tunnels_and_the_proxy_are_known(client: TestClient, project: Project, host: str) -> None:
    assert send(client, project, host=host, origin=f"https://{host}").status_code == 200


def test_the_key_of_the_address_becomes_a_cookie(client: TestClient) -> None:
    client.cookies.clear()
    assert client.get("/", params={"token": "wrong"}).status_code == 403
    entered = client.get("/", params={"token": SECRET, "annotator": "ann"}, follow_redirects=False)
    assert (entered.status_code, entered.headers["location"]) == (303, "/?annotator=ann")
    assert {"httponly", "samesite=strict"} <= {
        part.strip().lower() for part in entered.headers["set-cookie"].split(";")
    }
    assert client.get("/").status_code == 200


def test_every_answer_forbids_what_is_not_ours(client: TestClient) -> None:
    for path in ("/", "/api/next", "/nothing", "/review.css"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
        assert "access-control-allow-origin" not in headers


def test_the_page_asks_nobody_else_for_anything(client: TestClient) -> None:
    for path in ("/", "/review.js", "/review.css"):
        content = client.get(path).text
        assert "http://" not in content.replace("http://www.w3.org", "")
        assert "https://" not in content
        assert " style=" not in content
        assert 'onclick="' not in content


@pytest.mark.parametrize(("body", "status"), [
    ("{", 422),
    ("[]", 422),
    ('{"entry": "x"}', 422),
    ("x" * 1_100_000, 413),
])  # fmt: skip
def test_bad_bodies_are_refused(client: TestClient, project: Project, body: str, status: int) -> None:
    sent = client.post(
        "/api/answer", content=body, headers={"origin": HOME, "content-type": "application/json"}
    )
    assert sent.status_code == status
    assert project.log.read_text("utf-8") == ""


@pytest.mark.parametrize(("old", "new"), [
    ('"seconds":1.5', '"seconds":1.7e308'),
    ('"seconds":1.5', '"seconds":1e999'),
    ('"seconds":1.5', '"seconds":NaN'),
    ('"seconds":1.5', '"seconds":-1'),
    ('"spans":[]', f'"spans":[[0,{10**400},"COMPANY"]]'),
    ('"spans":[]', '"spans":[[-1,1,"COMPANY"]]'),
    ('"spans":[]', '"spans":[[0,1.5,"COMPANY"]]'),
    ('"spans":[]', f'"spans":[[0,1,"{"C" * 500_000}"]]'),
    ('"relations":[]', f'"relations":[[{2**63},0,"RAISED"]]'),
    ('"cats":{}', '"cats":{"FUNDING":2}'),
])  # fmt: skip
def test_numbers_out_of_range_are_refused(client: TestClient, project: Project, old: str, new: str) -> None:
    content = project.answer(client.get("/api/next").json()).model_dump_json()
    assert old in content
    sent = client.post(
        "/api/answer",
        content=content.replace(old, new),
        headers={"content-type": "application/json", "origin": HOME},
    )
    assert sent.status_code == 422
    assert len(sent.text) < 300
    assert project.log.read_text("utf-8") == ""


def test_an_answer_must_be_json(client: TestClient) -> None:
    sent = client.post("/api/answer", content="{}", headers={"origin": HOME, "content-type": "text/plain"})
    assert sent.status_code == 415


def test_a_full_disk_is_reported(
    client: TestClient, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(project.journal, "append", fail)
    sent = send(client, project, origin=HOME)
    assert (sent.status_code, sent.json()) == (507, {"error": "Not saved: No space left on device."})


@pytest.mark.parametrize("query", ["annotator=../../x", "annotator=" + "x" * 41, "annotator=a/b"])
def test_names_are_names(client: TestClient, query: str) -> None:
    assert client.get(f"/api/next?{query}").status_code == 400


def test_a_taken_port_is_one_sentence() -> None:
    with listen(0, "scripts/review.py") as taken:
        taken.listen()
        with pytest.raises(
            UserError, match=r"port \d+ can't be used .* `python scripts/review.py --port 9000`"
        ):
            listen(taken.getsockname()[1], "scripts/review.py")
        assert taken.getsockname()[0] == "127.0.0.1"
        assert taken.proto == socket.IPPROTO_TCP


def test_the_key_is_kept_and_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "key"
    first = session_secret(path)
    assert session_secret(path) == first
    assert path.stat().st_mode & 0o077 == 0
    path.unlink()
    assert session_secret(path) != first

"""What wandb is told, where it writes, and that no failure of it reaches the command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from running import ROOT

from ie.core import tracking

RECORD = """
import sys
sys.path.insert(0, sys.argv[1])
from ie.core import tracking
with tracking.run("evaluate", config={"seed": 1, "api_key": "SECRETKEY"}) as tracker:
    tracker.log({"f": {"micro": 0.5}})
    tracker.table("systems", ["name", "f"], [["rules", 0.5]])
    tracker.summary({"n": 3})
print("went on")
"""


def record(folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run a small command that records something, in a process of its own with none of wandb's variables."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "PYTEST"))}
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-c", RECORD, str(ROOT / "scripts")],
        cwd=folder, env=kept | {"HOME": str(home)} | environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment in which nothing was ever said of wandb."""
    for name in [name for name in os.environ if name.startswith("WANDB") or name == "NETRC"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(tracking, "_warned", tracking.threading.Event())
    return monkeypatch


class TestMode:
    def test_disabled_under_pytest(self, fresh: pytest.MonkeyPatch) -> None:
        assert not tracking.prepare("train")
        assert os.environ["WANDB_MODE"] == "disabled"

    def test_offline_without_a_login(self, fresh: pytest.MonkeyPatch) -> None:
        fresh.delenv("PYTEST_CURRENT_TEST")
        assert tracking._default_mode() == "offline"

    def test_online_with_a_key_and_an_answer(self, fresh: pytest.MonkeyPatch) -> None:
        fresh.delenv("PYTEST_CURRENT_TEST")
        fresh.setenv("WANDB_API_KEY", "x")
        fresh.setattr(tracking, "_answers", lambda host, port: (host, port) == ("api.wandb.ai", 443))
        assert tracking._default_mode() == "online"

    def test_offline_with_a_key_but_no_answer(
        self, fresh: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
    ) -> None:
        fresh.delenv("PYTEST_CURRENT_TEST")
        fresh.setenv("WANDB_API_KEY", "x")
        fresh.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # the discard port: nobody listens
        assert tracking._default_mode() == "offline"
        assert "127.0.0.1 doesn't answer" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("host", "netrc", "mode"),
        [
            ("api.wandb.ai", b"machine api.wandb.ai login user password x\n", "online"),
            ("wandb.example.org", b"machine api.wandb.ai login user password x\n", "offline"),
            ("api.wandb.ai", b"what is this\n", "offline"),
            ("api.wandb.ai", b"\xff\xfe\n", "offline"),
        ],
    )
    def test_netrc_is_a_login(
        self, fresh: pytest.MonkeyPatch, tmp_path: Path, host: str, netrc: bytes, mode: str
    ) -> None:
        (tmp_path / ".netrc").write_bytes(netrc)
        fresh.delenv("PYTEST_CURRENT_TEST")
        fresh.setenv("WANDB_BASE_URL", f"https://{host}")
        fresh.setattr(tracking, "_answers", lambda host, port: True)
        assert tracking._default_mode() == mode

    def test_the_users_choice_stands(self, fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
        fresh.setenv("WANDB_MODE", "offline")
        fresh.setenv("WANDB_RUN_GROUP", "mine")
        fresh.setenv("WANDB_DIR", str(tmp_path / "theirs"))
        assert tracking.prepare("train", name="a", root=tmp_path)
        assert os.environ["WANDB_RUN_GROUP"] == "mine"
        assert os.environ["WANDB_DIR"] == str(tmp_path / "theirs")
        assert os.environ["WANDB_JOB_TYPE"] == "train"


class TestVisible:
    def test_names_are_dotted(self) -> None:
        assert tracking.visible({"seed": 1, "dev": {"limit": 0, "key": "x"}}) == {"seed": 1, "dev.limit": 0}

    @pytest.mark.parametrize("name", ["api_key", "OPENAI_API_KEY", "token", "my-secret", "a.password"])
    def test_secrets_are_left_out(self, name: str) -> None:
        assert tracking.visible({name: "x"}) == {}

    @pytest.mark.parametrize("name", ["prompt_tokens", "keys", "monkey"])
    def test_counts_are_no_secrets(self, name: str) -> None:
        assert tracking.visible({name: 3}) == {name: 3}


class TestFailure:
    def test_tracker_stops_after_the_first(
        self, fresh: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
    ) -> None:
        class Broken:
            def log(self, *arguments: object, **options: object) -> None:
                raise OSError("disk full")

        tracker = tracking.Tracker(Broken())
        tracker.log({"a": 1})
        tracker.log({"a": 2})
        tracker.table("t", ["a"], [[1]])
        said = " ".join(capsys.readouterr().out.split())
        assert said.count("wandb can't record this run (disk full); the command goes on without it.") == 1

    def test_training_logger_stops_after_the_first(
        self, fresh: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
    ) -> None:
        calls = []

        def logger(nlp: object, stdout: object, stderr: object) -> tuple:
            def log(info: object) -> None:
                calls.append(info)
                if len(calls) == 2:
                    raise RuntimeError("gone")

            return log, lambda: calls.append("end")

        log, finalize = tracking.create_guard(logger)(None, sys.stdout, sys.stderr)
        for step in range(4):
            log({"step": step})
        finalize()
        assert calls == [{"step": 0}, {"step": 1}]
        assert capsys.readouterr().out.count("can't record") == 1

    def test_a_command_that_fails_still_fails(self, fresh: pytest.MonkeyPatch) -> None:
        with pytest.raises(KeyError), tracking.run("evaluate"):
            raise KeyError("x")

    def test_wandb_that_can_not_be_imported(self, tmp_path: Path) -> None:
        (tmp_path / "wandb.py").write_text("raise ImportError('no such thing')\n")
        done = record(tmp_path, PYTHONPATH=str(tmp_path))
        assert done.returncode == 0, done.stderr
        assert "went on" in done.stdout
        assert "wandb can't record this run (no such thing)" in " ".join(done.stdout.split())

    def test_folder_that_can_not_be_written(self, tmp_path: Path) -> None:
        (tmp_path / ".wandb").write_text("a file stands where the folder should be")
        done = record(tmp_path)
        assert done.returncode == 0, done.stderr
        assert "went on" in done.stdout
        assert "can't record" in done.stdout


@pytest.mark.slow
def test_offline_run_stays_in_the_project_and_keeps_secrets(tmp_path: Path) -> None:
    done = record(tmp_path, WANDB_RUN_GROUP="group-of-test")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "went on\n"
    assert done.stderr == ""
    assert not list((tmp_path / "home").rglob("*")), "something was written outside the project"
    (recorded,) = (tmp_path / ".wandb" / "wandb").glob("offline-run-*/*.wandb")
    # wandb keeps the place of a table until it may be uploaded, which stays on this machine
    told = recorded.read_bytes().replace(f"{tmp_path}/.wandb/data/artifacts/staging".encode(), b"")
    for expected in (b"group-of-test", b"evaluate", b"f.micro", b"systems"):
        assert expected in told
    for private in (b"SECRETKEY", str(tmp_path).encode()):
        assert private not in told


def test_the_project_name_is_the_same_in_all_configs() -> None:
    for path in (ROOT / "configs").glob("*.cfg"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("project_name"):
                assert line == f'project_name = "{tracking.PROJECT}"'

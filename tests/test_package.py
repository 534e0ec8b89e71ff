"""The wheel holds all that the pipeline needs, and is tried where there is nothing else."""

import hashlib
import json
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from running import ROOT, Outcome, run_command

from ie.core.errors import UserError
from ie.deploy import model_card, wheels

WHEEL = "en_deal_news-0.1.0-py3-none-any.whl"


@pytest.fixture(scope="module")
def model(rule_pipeline: Path) -> Path:
    return rule_pipeline


def run_package(model: Path, folder: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    options = ["--model", model, "--output", folder / "packages", "--constraints", ROOT / "requirements.txt"]
    options += [] if "--settings" in more else ["--settings", ROOT / "configs" / "package.cfg"]
    options += [] if "--scores" in more else ["--scores", folder / "scores"]
    return run_command("package", [*options, *more], capsys)


def test_wheel_has_the_fixed_name_and_is_the_same_each_time(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    sums = []
    for _ in range(2):
        outcome = run_package(model, tmp_path, capsys, "--no-check")
        assert outcome.status == 0, outcome.output
        assert WHEEL in outcome.output
        sums.append(hashlib.md5((tmp_path / "packages" / WHEEL).read_bytes()).hexdigest())
    assert sums[0] == sums[1]
    assert [path.name for path in (tmp_path / "packages").iterdir()] == [WHEEL]
    with zipfile.ZipFile(tmp_path / "packages" / WHEEL) as wheel:
        about = wheel.read("en_deal_news-0.1.0.dist-info/METADATA").decode()
        assert "en_deal_news/money.py" in wheel.namelist()
    assert "Requires-Dist: spacy" in about


def test_wheel_requires_what_the_tokenizer_of_its_language_needs(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "model")
    meta = json.loads((model / "meta.json").read_text("utf-8")) | {"lang": "ja"}
    (tmp_path / "model/meta.json").write_text(json.dumps(meta), encoding="utf-8")
    wheel = wheels.build(tmp_path / "model", "deal_news", "0.1.0", tmp_path)
    assert wheel.name == "ja_deal_news-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        about = archive.read("ja_deal_news-0.1.0.dist-info/METADATA").decode()
    assert "Requires-Dist: sudachipy" in about
    assert "Requires-Dist: sudachidict_core" in about


def test_the_trial_installs_what_only_pythonpath_leads_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments = []

    def call(command: list, fault: str, remedy: str, environment: dict | None = None) -> str:
        environments.append(environment)
        return "[]"

    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setattr(wheels, "call", call)
    monkeypatch.setattr(wheels, "create_environment", lambda folder: folder / "python")
    assert wheels.attempt(tmp_path / WHEEL, tmp_path / "none.txt", "Acme.", tmp_path) == []
    assert "PYTHONPATH" not in environments[0]


@pytest.mark.slow
def test_wheel_carries_its_card_and_licence(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    card = tmp_path / "card.md"
    card.write_text("Finds\ndeals.\n\n## Intended use\n\nTo look at.")
    settings = tmp_path / "package.cfg"
    about = 'author = "Acme Lab"\nurl = "https://acme.example"\nlicense = "CC0-1.0"\n'
    settings.write_text(f"[package]\n{about}")
    score = {f"{m}{end}": 0.9061 for m in ("p", "r", "f") for end in ("", "_low", "_high")} | {"gold": 100}
    figures = {"all": score, "COMPANY": score, "MONEY": score}
    metrics = {"test": {"documents": 532}, "systems": {"reviewed": figures}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    options = ["--no-check", "--written", card, "--scores", tmp_path, "--settings", settings]
    outcome = run_package(model, tmp_path, capsys, *options)
    assert outcome.status == 0, outcome.output
    with zipfile.ZipFile(tmp_path / "packages" / WHEEL) as wheel:
        (metadata,) = [n for n in wheel.namelist() if n.endswith(".dist-info/METADATA")]
        told = wheel.read(metadata).decode()
        meta = wheel.read("en_deal_news/meta.json").decode()
    assert "To look at." in told
    assert "exact spans | COMPANY" in told
    meta = json.loads(meta)
    assert meta["license"] == "CC0-1.0"
    # what the card says, not what dev said while training
    assert meta["performance"]["ents_f"] == figures["all"]["f"]
    assert meta["performance"]["ents_per_type"]["MONEY"]["r"] == figures["MONEY"]["r"]
    assert "test texts" in meta["performance"]["source"]
    assert meta["description"] == "Finds deals."
    assert (meta["author"], meta["url"]) == ("Acme Lab", "https://acme.example")
    assert "Author: Acme Lab" in told
    # the pipeline itself stays as it is
    assert not (model / "README.md").exists()


def test_a_card_that_nobody_wrote_is_reported(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    card = tmp_path / "card.md"
    card.write_text(f"{model_card.UNWRITTEN}.")
    outcome = run_package(model, tmp_path, capsys, "--no-check", "--written", card)
    assert outcome.status == 0, outcome.output
    assert "card.md: still says 'To be written'" in outcome.output


def test_dvc_is_behind_until_the_results_are_recorded(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheels, "build", lambda *args, **options: model / "meta.json")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    said = "Until `weasel run record`, `dvc status` shows"
    assert said not in run_package(model, tmp_path, capsys, "--no-check").output
    (tmp_path / ".dvc").mkdir()
    assert said in run_package(model, tmp_path, capsys, "--no-check").output
    monkeypatch.setenv("DVC_STAGE", "package")
    assert said not in run_package(model, tmp_path, capsys, "--no-check").output


def test_without_scores_on_test_those_on_dev_count_and_say_so() -> None:
    assert model_card.performance({}, "reviewed") == {}
    scores = model_card.performance({}, "reviewed", {"ents_f": 0.92})
    assert scores["ents_f"] == 0.92
    assert "dev texts" in scores["source"]


@pytest.mark.network
def test_wheel_works_in_an_empty_environment(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    example = tmp_path / "example.txt"
    example.write_text("Hooli raises $5m to revolutionize search, led by ACME Ventures", encoding="utf-8")
    outcome = run_package(model, tmp_path, capsys, "--example", example)
    assert outcome.status == 0, outcome.output
    assert "$5m to revolutionize search" in outcome.output
    assert "$5m MONEY 5000000 USD" in outcome.output
    for company in ("Hooli COMPANY", "ACME Ventures COMPANY"):
        assert company in outcome.output


def test_try_takes_the_pinned_versions_and_nothing_of_this_environment(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def call(command: list[str], *arguments: object) -> str:
        calls.append([str(word) for word in command])
        return 'a warning\n[["Hooli", "COMPANY", "", ""]]\n'

    monkeypatch.setattr(wheels, "call", call)
    monkeypatch.setattr(wheels.shutil, "which", lambda name: None)
    pins = tmp_path / "requirements.txt"
    lines = ["# a comment", "spacy==3.8.18 \\", "    --hash=sha256:00", "win==1 ; os_name == 'nt' \\"]
    pins.write_text("\n".join(lines))
    found = wheels.attempt(tmp_path / WHEEL, pins, "a text", tmp_path)
    assert found == [["Hooli", "COMPANY", "", ""]]
    install, attempt = calls
    assert (tmp_path / "constraints.txt").read_text() == "spacy==3.8.18\nwin==1 ; os_name == 'nt'\n"
    # This environment's pip installs into the empty one.
    assert install[0] == sys.executable
    assert install[install.index("--python") + 1] == attempt[0]
    assert install[-3:] == ["-c", str(tmp_path / "constraints.txt"), str(tmp_path / WHEEL)]
    assert attempt[1] == "-I"
    assert attempt[-2:] == ["en_deal_news", "a text"]
    assert attempt[0] != sys.executable


def test_empty_environment_is_empty(tmp_path: Path) -> None:
    python = wheels.create_environment(tmp_path / "env")
    with pytest.raises(UserError, match="no spacy; really"):
        wheels.call([str(python), "-I", "-c", "import spacy"], "no spacy", "really")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--name", "en_Deal-News"], "'Deal-News' can't name a package"),
        (["--name", "en_a__b"], "'a__b' can't name a package"),
        (["--name", "deal_news"], "must start with the language, as in en_deal_news"),
        (["--version", "one"], "'one' is not a version"),
        (["--version", "1.0-beta"], "would become 1.0b0"),
        (["--settings", "none.cfg"], "none.cfg: there is no such file"),
        (["--model", "nope"], "nope: there is no trained pipeline; run `weasel run train` first."),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(
    options: list[str], said: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    outcome = run_package(model, tmp_path, capsys, "--no-check", *options)
    assert outcome.status == 1
    assert said in outcome.output
    assert not (tmp_path / "packages").exists()


def test_broken_pipeline(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    broken = tmp_path / "model"
    broken.mkdir()
    (broken / "meta.json").write_text("{}")
    outcome = run_package(broken, tmp_path, capsys, "--no-check")
    assert outcome.status == 1
    assert "Traceback" not in outcome.output
    assert not (tmp_path / "packages").exists()

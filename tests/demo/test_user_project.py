"""What `init` leaves behind is a project about the user's data: nothing of the demo, and tests that pass."""

import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.retarget import copy_project, environment
from running import ROOT, write_lines

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

# Those that read files of the project, and all others are at least imported.
READERS = ("tests/test_docs.py", "tests/test_project.py", "tests/test_dvc_files.py", "tests/ie/setup")
# Of the demo, and of no command, option or component of the template.
TELLTALE = ("business-deal", "en_deal_news", "1,423", "532")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess:
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-2000:]}"
    return done


@pytest.fixture(scope="module")
def user_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("user")
    copy_project(ROOT, folder / "project")
    texts = [f"Velto sold {a}{b}ats to Anker in Bergen." for a in "bcfhmr" for b in "aeiou"]
    lines = [{"text": text, "spans": [{"start": 0, "end": 5, "label": "SELLER"}]} for text in texts]
    annotations = write_lines(folder / "sales.jsonl", lines)
    run(
        folder / "project",
        *(sys.executable, "-m", "weasel", "run", "init", "."),
        *("--vars.init_annotations", str(annotations), "--vars.init_overwrite", "yes"),
    )
    config = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    run(folder / "project", "git", "add", "-A")
    run(folder / "project", "git", *config, "commit", "--quiet", "-m", "my data")
    return folder / "project"


def test_its_tests_pass(user_project: Path) -> None:
    run(user_project, sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider")
    run(user_project, sys.executable, "-m", "pytest", "-q", "-m", "not slow", *READERS)


def test_its_data_are_in_order(user_project: Path) -> None:
    run(user_project, sys.executable, "-m", "weasel", "run", "check")
    # before the language model has annotated anything, for which weasel would wait
    run(user_project, sys.executable, "scripts/split.py")


def test_nothing_tells_of_the_demo(user_project: Path) -> None:
    places = [
        "README.md",
        "AGENTS.md",
        "project.yml",
        "assets/*.md",
        "assets/*.jsonl",
        "configs/*.cfg",
        "docs/your-data.md",
    ]
    for path in (path for place in places for path in user_project.glob(place)):
        text = path.read_text(encoding="utf-8")
        assert [word for word in TELLTALE if word in text] == [], path

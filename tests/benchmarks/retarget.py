"""Other people's data through the whole workflow, in a copy of the project: what it takes, what comes out."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import srsly
from benchmarks import fire_format

from ie.core import stats
from ie.core.errors import UserError
from ie.core.files import json_text
from ie.core.stats import Estimate
from ie.data.records import Record, read_records, write_records
from ie.data.scheme import load_scheme
from ie.data.splits import SIDES

# Systems whose F is told.
SYSTEMS = ("llm", "crf", "silver", "reviewed")
# What a user's edits are counted in; assets are the data themselves, and dvc.yaml follows from project.yml.
EDITED = ("project.yml", "configs")
# What runs where the LLM is asked nothing.
WITHOUT_LLM = ("check", "split", "train", "evaluate", "package")
# Public sets have faults, and a user would have to say so.
LENIENT = {"misaligned": "snap", "duplicates": "first", "bad_relations": "drop"}


@dataclass(frozen=True)
class Size:
    """How much of a set is used: texts with their annotation, and texts that the LLM is asked about.

    Attributes:
        words: longer texts are left out; 0 for no limit.
        test, dev: shares of the texts that the LLM is asked about; the rest is silver.
    """

    reviewed: int = 1000
    llm: int = 200
    words: int = 0
    test: float = 0.45
    dev: float = 0.15

    def shares(self, reviewed: int) -> dict[str, float]:
        """`test_percent` and `dev_percent` that leave the LLM its number of texts, of so many reviewed."""
        shares = {"test_percent": self.test, "dev_percent": self.dev}
        return {name: round(min(40, 100 * share * self.llm / reviewed), 1) for name, share in shares.items()}

    @property
    def raw(self) -> int:
        """Texts whose annotation is withheld, the silver; none where the LLM is asked about all."""
        return round(self.llm * (1 - self.test - self.dev)) if self.llm < self.reviewed else 0


@dataclass(frozen=True)
class RetargetResult:
    """One set: what was put in, which lines were edited, and what came out.

    Attributes:
        kind: what is scored ("spans", "category", "categories").
        yours: lines of definitions and prompt words somebody has to write; `added` and `removed` are the
            lines that `init` changes in configs and project.yml.
        f: by system F, low and high (None where it isn't there), on `test` texts.
        speed: words a second of the reviewed pipeline. minutes: of everything, the package included.
    """

    name: str
    kind: str
    reviewed: int
    raw: int
    labels: int
    yours: int
    added: int
    removed: int
    test: int
    f: dict[str, list[float] | None]
    speed: int | None
    minutes: float

    def row(self) -> list[str]:
        """The set in a table of people."""

        def score(name: str) -> str:
            found = self.f.get(name)
            return stats.format_score(Estimate(*found), documents=self.test) if found else "–"

        return [
            self.name,
            f"{self.reviewed:,} + {self.raw:,}",
            f"{self.labels} of {'spans' if self.kind == 'spans' else 'texts'}",
            str(self.yours),
            f"+{self.added} −{self.removed}",
            f"{self.test:,}",
            *map(score, SYSTEMS),
            f"{stats.two_digits(self.speed):,}" if self.speed else "–",
            f"{self.minutes:.1f}",
        ]


HEADER = (
    "Set",
    "Reviewed + raw",
    "Labels",
    "Your lines",
    "init's lines",
    "n",
    "LLM",
    "CRF",
    "Silver",
    "Reviewed",
    "Words/s",
    "Minutes",
)


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder; what it printed."""
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


def copy_project(root: Path, folder: Path) -> None:
    """A clone of the repository at `root` with the working tree's changes laid over it."""
    git(root, "clone", "--quiet", str(root), str(folder))
    for name in git(root, "ls-files", "-co", "--exclude-standard").splitlines():
        if (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)


def environment() -> dict[str, str]:
    """That of a command in a copy: this Python's tools first, and nothing of another run's settings."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONHASHSEED": "random"}
    env.pop("WEASEL_CONFIG_OVERRIDES", None)
    return {"WANDB_MODE": "disabled"} | env


def divide(source: Path, size: Size) -> tuple[list[Record], list[Record]]:
    """A set's texts, shuffled by a hash: those with annotation, and those that withhold theirs.

    Args:
        source: the set: one file, or a folder with train.jsonl, dev.jsonl and test.jsonl.

    Raises:
        UserError: the set isn't there.
    """
    found: dict[str, Record] = {}
    files = [(source, source)] if source.is_file() else []
    files = files or [(source / f"{side}.jsonl", source / f"fire_{side}.json") for side in SIDES]
    for path, original in files:
        read: list[Record] = []
        if path.exists():
            read = read_records(path, duplicates="first", bad_relations="drop")
        elif original.exists():
            read = fire_format.read(original)
        for record in read:
            found.setdefault(record.text, record)
    if not found:
        raise UserError(f"{source}: there is no train.jsonl; set --vars.data to the folder of the sets.")
    fitting = [r for r in found.values() if not size.words or len(r.text.split()) <= size.words]
    shuffled = sorted(fitting, key=lambda r: hashlib.sha256(r.text.encode()).digest())
    raw = shuffled[: min(size.raw, len(shuffled) // 4)]
    return shuffled[len(raw) : len(raw) + size.reviewed], raw


def retarget(
    name: str,
    source: Path,
    words: Path,
    root: Path,
    folder: Path,
    *,
    size: Size,
    lang: str = "",
    overrides: Mapping[str, Any],
    commands: Sequence[str],
    without_llm: bool = False,
    progress: Callable[[str], Any] = lambda what: None,
) -> RetargetResult:
    """Set a copy of the project up for a set by `init`, run commands in it, and read what they wrote.

    Args:
        name: of the set. source: its file or folder.
        words: file of its definitions and prompt words.
        root: the project. folder: an empty one for the copy and the texts.
        lang: its language; empty for that of the project.
        overrides: vars of the run.
        commands: of project.yml, in order.
        without_llm: pretend that the LLM was asked about no text.
        progress: told before each of them.

    Raises:
        UserError: a command failed; the end of what it printed is part of it.
    """
    started = perf_counter()
    reviewed, raw = divide(source, size)
    progress("init")
    copy = set_up(name, reviewed, raw, words, root, folder, size, init_lang=lang)
    added, removed = edits(copy)
    if without_llm:
        write_no_answers(copy)
    for command in commands:
        progress(command)
        run(copy, command, overrides)
    return RetargetResult(
        name=name,
        reviewed=len(reviewed),
        raw=len(raw),
        yours=count_lines(words),
        added=added,
        removed=removed,
        minutes=(perf_counter() - started) / 60,
        **scores(copy),
    )


def set_up(
    name: str,
    reviewed: Sequence[Record],
    raw: Sequence[Record],
    words: Path,
    root: Path,
    folder: Path,
    size: Size,
    **more: str,
) -> Path:
    """Copy the project into `folder` and run `init` on the texts of a set; returns the copy.

    Args:
        raw: the annotation of these isn't used.
        words: file of definitions and prompt words.
        more: other vars of `init`.
    """
    write_records(folder / "annotations.jsonl", reviewed)
    (folder / "texts.jsonl").write_text(
        "".join(json_text({"text": record.text}) + "\n" for record in raw), encoding="utf-8"
    )
    copy = folder / "project"
    copy_project(root, copy)
    edit_config(copy / "configs/data.cfg", {**LENIENT, **size.shares(len(reviewed))})
    config = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost"]
    git(copy, "add", "-A")
    git(copy, *config, "commit", "--quiet", "--allow-empty", "-m", "as shipped")
    variables = {
        "init_annotations": folder / "annotations.jsonl",
        "init_texts": folder / "texts.jsonl" if raw else "",
        "init_definitions": words.resolve(),
        "init_name": name,
        "init_overwrite": "yes",
        **more,
    }
    run(copy, "init", variables)
    return copy


def write_no_answers(copy: Path) -> None:
    """The files of `llm-annotate`, which other commands read, without an answer."""
    for name, text in {
        "corpus/llm.jsonl": "",
        "corpus/llm.json": "{}\n",
        "training/llm-timings.jsonl": "",
    }.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(text, encoding="utf-8")


def count_lines(words: Path) -> int:
    """Lines of definitions and prompt words that a user has to write."""
    return sum(bool(line.strip()) for line in words.read_text(encoding="utf-8").splitlines())


def run(copy: Path, command: str, overrides: Mapping[str, Any]) -> str:
    """Run a command of project.yml; what it printed.

    Raises:
        UserError: it failed.
    """
    options = [part for name, value in overrides.items() for part in (f"--vars.{name}", str(value))]
    line = [sys.executable, "-m", "weasel", "run", command, ".", *options]
    done = subprocess.run(
        line, cwd=copy, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        raise UserError(f"{copy.parent.name}: `weasel run {command}` failed: {done.stdout[-1500:]}")
    return done.stdout


def edit_config(path: Path, values: Mapping[str, Any]) -> None:
    """Replace values of a config by their names, as somebody does in an editor."""
    text = path.read_text(encoding="utf-8")
    for name, value in values.items():
        text, n = re.subn(rf"(?m)^{name} = .*$", f"{name} = {json.dumps(value)}", text)
        assert n == 1, f"{path}: {name}"
    path.write_text(text, encoding="utf-8")


def edits(copy: Path) -> tuple[int, int]:
    """Lines added and removed in configs and project.yml since the copy was made."""
    told = git(copy, "diff", "--numstat", "--", *EDITED)
    numbers = [line.split("\t")[:2] for line in told.splitlines()]
    return sum(int(n) for n, _ in numbers), sum(int(n) for _, n in numbers)


def scores(copy: Path) -> dict[str, Any]:
    """What `evaluate` wrote in a copy, as fields of `RetargetResult`; without it there are no scores."""
    scheme = load_scheme(copy / "configs/llm.cfg")
    config = srsly.read_yaml(copy / "project.yml")["vars"]["config"]
    written = [copy / f"training/{config}/{name}.json" for name in ("metrics", "speed")]
    if not written[0].exists():
        return {"kind": scheme.scored, "labels": len(scheme.scored_labels), "test": 0, "f": {}, "speed": None}
    metrics, speeds = (json.loads(path.read_text(encoding="utf-8")) for path in written)
    f = {}
    for name in SYSTEMS:
        found = metrics["systems"].get(name, {}).get("all")
        known = found and found["f"] is not None
        f[name] = [found[key] for key in ("f", "f_low", "f_high")] if known else None
    return {
        "kind": scheme.scored,
        "labels": len(scheme.scored_labels),
        "test": metrics["test"]["documents"],
        "f": f,
        "speed": speeds.get("reviewed", {}).get("words_per_second"),
    }


def to_json(outcomes: Sequence[RetargetResult]) -> list[dict[str, Any]]:
    """All outcomes for a file."""
    return [asdict(outcome) for outcome in outcomes]

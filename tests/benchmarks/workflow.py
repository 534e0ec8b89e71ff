"""The commands of a workflow one by one: what takes how long, and before a change."""

import json
import resource
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import retarget

TEXTS, REVIEWED, PINNED = "assets/texts.jsonl", "assets/reviewed.jsonl", "assets/examples.jsonl"
NOW = "now"


@dataclass(frozen=True)
class Step:
    """One command in one version of the project: seconds on the clock, and of all processors."""

    command: str
    version: str
    seconds: float
    processor: float


def copies(root: Path, folder: Path, before: str) -> dict[str, Path]:
    """Copies of the project in `folder`, by version: the git revision `before`, unless it is "", and now."""
    found = {}
    if before:
        found[before] = folder / "before"
        retarget.git(root, "clone", "--quiet", str(root), str(found[before]))
        retarget.git(found[before], "checkout", "--quiet", before)
    found[NOW] = folder / NOW
    retarget.copy_project(root, found[NOW])
    return found


def thin(copy: Path, every: int) -> None:
    """Keep every n-th text of a copy, and those that prompts show."""
    pinned = {json.loads(line)["text"] for line in lines(copy / PINNED)}
    kept = set(lines(copy / TEXTS)[::every])
    texts = {json.loads(line)["text"] for line in kept} | pinned
    for name in (TEXTS, REVIEWED):
        chosen = [line for line in lines(copy / name) if json.loads(line)["text"] in texts]
        (copy / name).write_text("".join(f"{line}\n" for line in chosen), encoding="utf-8")


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def measure(
    places: dict[str, Path],
    commands: Iterable[str],
    overrides: dict[str, Any],
    progress: Callable[[str], Any] = lambda command: None,
) -> list[Step]:
    """Run each command in all copies before the next one, so that all meet the same load.

    Raises:
        UserError: a command failed.
    """
    steps = []
    for number, command in enumerate(commands):
        progress(command)
        # In turns, as what runs first may warm caches for what runs second.
        for version in sorted(places, reverse=number % 2 == 1):
            before, started = _processor(), perf_counter()
            retarget.run(places[version], command, overrides)
            steps.append(Step(command, version, perf_counter() - started, _processor() - before))
    return steps


def _processor() -> float:
    """Processor seconds of all finished child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def rows(steps: Sequence[Step]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table, the sum last; the ratio is that of processor seconds."""
    versions = [v for v in dict.fromkeys(step.version for step in steps) if v != NOW] + [NOW]
    by_place = {(step.command, step.version): step for step in steps}
    header = ["Command"]
    for version in versions:
        header += [f"{version}: s", "processor s"]
    header += ["Share"] + (["Now / before"] if len(versions) > 1 else [])
    commands = list(dict.fromkeys(step.command for step in steps))
    total = sum(step.processor for step in steps if step.version == NOW)
    table = []
    for name, members in [*((c, [c]) for c in commands), ("all", commands)]:
        row, processor = [name], {}
        for version in versions:
            chosen = [by_place[member, version] for member in members]
            processor[version] = sum(step.processor for step in chosen)
            row += [f"{sum(step.seconds for step in chosen):.1f}", f"{processor[version]:.1f}"]
        row.append(f"{100 * processor[NOW] / total:.0f} %")
        if len(versions) > 1:
            row.append(f"{processor[NOW] / processor[versions[0]]:.2f}")
        table.append(row)
    return header, table

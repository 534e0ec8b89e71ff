"""The next step and the map of commands, as commands print them."""

import re
import textwrap
from pathlib import Path

import srsly

from ie.core import cli
from ie.core.errors import UserError
from ie.core.files import read_text
from ie.status.next_step import WIDTH, decide
from ie.status.snapshot import ProjectPaths, Snapshot, read_snapshot

# Headings of commands, and names of commands, in project.yml.
HEADING = re.compile(r"  # -+ (\w+).*-+$|  - name: \"?([\w-]+)\"?$")
WORKFLOW = re.compile(r"  ([\w-]+): \[")


def print_next_step(paths: ProjectPaths, train_on: str = "") -> None:
    """Print the three lines at the end of a command, where `weasel run` has started it by its name."""
    if started_by_name():
        print_lines(read_snapshot(paths, train_on))


def print_lines(snapshot: Snapshot) -> None:
    """Print the three lines, after an empty one."""
    print("\n".join(["", *decide(snapshot).lines()]))


def started_by_name() -> bool:
    """Whether `weasel run` has started this command by its name, so that it should say what is next.

    In a workflow its last command, `status`, says it. A script that was started by itself may be about other
    files than the project's.
    """
    arguments, folder = cli.runner_command()
    name = next(iter(arguments[arguments.index("run") + 1 :]), "") if "run" in arguments else ""
    try:
        project = srsly.yaml_loads(read_text(folder / "project.yml"))
        commands = {command["name"] for command in project["commands"]}
    except (UserError, ValueError, KeyError, TypeError):
        return False
    return name in commands


def commands_map(project: Path) -> list[str]:
    """The commands under the first words of their headings in project.yml; nothing without the file."""
    try:
        text = read_text(project)
    except UserError:
        return []
    groups: dict[str, list[str]] = {}
    for line in text.splitlines():
        if match := HEADING.match(line):
            heading, name = match.groups()
            if heading:
                groups[heading] = []
            elif groups:
                groups[[*groups][-1]].append(name)
    section = text.partition("\nworkflows:\n")[2].partition("\n\n")[0]
    groups["Workflows"] = WORKFLOW.findall(section)
    column = max(map(len, groups)) + 2
    return [
        line
        for heading, names in groups.items()
        for line in textwrap.wrap(
            ", ".join(names),
            WIDTH,
            initial_indent=heading.ljust(column),
            subsequent_indent=" " * column,
            break_on_hyphens=False,
        )
    ]

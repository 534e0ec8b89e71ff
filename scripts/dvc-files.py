"""Write dvc.yaml from project.yml, so that `dvc repro` does what `weasel run all` does.

One stage per command. DVC reads variables from project.yml with the same `${vars.x}`, so an edited variable
re-runs only the commands that use it, and dvc.yaml changes only with commands and files.
"""

import re
from pathlib import Path
from typing import Annotated, Any

import srsly
import typer
from wasabi import msg
from weasel.util import load_project_config

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import atomic_write

HEADER = "# Written by `python scripts/dvc-files.py` from project.yml: edit that file instead.\n"
VARIABLE = re.compile(r"\$\{vars\.(\w+)\}")
# Outputs with figures to compare between commits (`dvc metrics diff`), by file name ...
METRICS = ("scores.json",)
# ... and those to plot (`dvc plots show`): pictures, and tables with their axes.
PLOTS: dict[str, dict[str, str]] = {
    "history.json": {"x": "step", "y": "score", "title": "Score on dev while training"},
}
PICTURES = (".png", ".svg")


def main(
    project: Annotated[Path, typer.Option(help="The project's commands")] = Path("project.yml"),
    workflow: Annotated[str, typer.Option(help="Workflow that becomes the pipeline")] = "all",
    output: Annotated[Path, typer.Option(help="DVC's file")] = Path("dvc.yaml"),
    check: Annotated[bool, typer.Option(help="Write nothing, fail if the file is out of date")] = False,
) -> None:
    """Write dvc.yaml, or check that it is up to date."""
    text = render(project, workflow)
    current = output.read_text(encoding="utf-8") if output.exists() else ""
    if text == current:
        msg.good(f"{output} is up to date")
    elif check:
        raise UserError(f"{output} no longer matches {project}; run `python scripts/dvc-files.py`.")
    else:
        with atomic_write(output) as file:
            file.write(text)
        msg.good(f"{output} is written; commit it with {project}")


def render(project: Path, workflow: str) -> str:
    """The text of dvc.yaml for one workflow of a project file."""
    if not project.is_file():
        raise UserError(f"{project}: there is no such file; run this where your project is.")
    config = load_project_config(project.parent, interpolate=False)
    if workflow not in config.get("workflows", {}):
        raise UserError(f"{project}: has no workflow {workflow!r}; add it, or name another.")
    commands = {command["name"]: command for command in config["commands"]}
    stages = {name: stage(commands[name], project.name) for name in config["workflows"][workflow]}
    return HEADER + srsly.yaml_dumps({"vars": [project.name], "stages": stages}, sort_keys=False)


def stage(command: dict[str, Any], project: str) -> dict[str, Any]:
    """One weasel command as a stage of DVC."""
    script = command["script"]
    outputs = {path: {} for path in command.get("outputs", [])}
    # outside DVC's cache, but DVC still notices when they are missing or changed
    outputs |= {path: {"cache": False} for path in command.get("outputs_no_cache", [])}
    used = sorted(set(VARIABLE.findall(" ".join([*script, *command.get("deps", []), *outputs]))))
    kinds: dict[str, list] = {"outs": [], "metrics": [], "plots": []}
    for path, options in outputs.items():
        name = path.rsplit("/", 1)[-1]
        plotted = name in PLOTS or name.endswith(PICTURES)
        kind = "metrics" if name in METRICS else "plots" if plotted else "outs"
        options = options | PLOTS.get(name, {})
        kinds[kind].append({path: options} if options else path)
    content = {
        "desc": command.get("help", ""),
        "cmd": script[0] if len(script) == 1 else script,
        "deps": command.get("deps", []),
        "params": [{project: [f"vars.{name}" for name in used]}] if used else [],
        **kinds,
    }
    # Without outputs DVC has nothing to compare, and `no_skip` means a run each time.
    if command.get("no_skip") and not outputs:
        content["always_changed"] = True
    return {key: value for key, value in content.items() if value}


if __name__ == "__main__":
    run(main)

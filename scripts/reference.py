"""Write docs/reference.md: every var of project.yml and every setting of the configs, with their comments.

`ie.setup.commented` says which comment is about which setting. Options of commands are left out, as `--help` tells
them, and so are the settings of what is trained, as spaCy does.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from weasel.util import load_project_config

from ie.core import generated
from ie.core.cli import run
from ie.core.errors import UserError
from ie.setup import commented
from ie.setup.commented import Comment, Config, Group

HEAD = """<!-- Written by `weasel run reference` from project.yml and configs: edit those instead. -->

# Reference

Every var of `project.yml` and every setting of the template's own configs: its value here, and what it is.
Settings that are explained together share a row. What else a command takes is in its `--help`:
`python scripts/split.py --help`.
"""
TRAINED = """## Configs that are trained

They are in [spaCy's format](https://spacy.io/api/data-formats#config), which says what each setting is.
"""
PROVIDERS = """## Providers

Files of `configs/providers`, which replace the model of `configs/llm.cfg` and say how it is asked:
[what each takes](../README.md#choose-a-language-model).
"""
# Of a value, in characters; longer ones are cut.
LONGEST = 60
# Between the lines of a cell.
BREAK = "<br>"
# Words with such characters become code: Markdown would take them for tags, emphasis or cells.
WORD = re.compile(r"([\"'(]*)([^\s`]*[<*_|][^\s`]*?)([\"'().,:;]*)(?=[\s`]|$)")


def main(
    project: Annotated[Path, typer.Option(help="The project's commands and vars")] = Path("project.yml"),
    configs: Annotated[Path, typer.Option(help="Folder of the configs")] = Path("configs"),
    output: Annotated[Path, typer.Option(help="The page")] = Path("docs/reference.md"),
    check: Annotated[bool, typer.Option(help="Write nothing, fail if the page is out of date")] = False,
) -> None:
    """Write the reference of vars and configs, or check that it is up to date."""
    text = render(project, configs)
    generated.keep(output, text, sources=f"{project} and {configs}", command="reference", check=check)


def render(project: Path, configs: Path) -> str:
    """The page, in Markdown.

    Raises:
        UserError: the project file or the folder of configs isn't there.
    """
    if not project.is_file():
        raise UserError(f"{project}: there is no such file; run this where your project is.")
    if not configs.is_dir():
        raise UserError(f"{configs}: there is no such folder; run this where your project is.")
    values = load_project_config(project.parent, interpolate=False).get("vars", {})
    about, groups = commented.read_vars(project.read_text(encoding="utf-8"))
    parts = [HEAD, f"## Vars\n\n{prose(about)}\n", vars_table(groups, values)]
    trained = []
    for path in sorted(configs.glob("*.cfg")):
        config = commented.read_config(path.read_text(encoding="utf-8"))
        name = f"{configs.name}/{path.name}"
        if any(section.name == "training" for section in config.sections):
            trained.append((code(name), sentence(config.comment)))
        else:
            parts += [f"## {name}\n\n{prose(config.comment)}\n", config_table(config)]
    providers = []
    for path in sorted(configs.glob("providers/*.cfg")):
        config = commented.read_config(path.read_text(encoding="utf-8"))
        providers.append((code(path.stem), sentence(config.comment)))
    for head, name, rows in ((TRAINED, "config", trained), (PROVIDERS, "provider", providers)):
        if rows:
            parts += [head, table((name, "what it is"), rows)]
    return "\n".join(parts)


def vars_table(groups: Iterable[Group], values: Mapping[str, Any]) -> str:
    """The vars, those of one comment in one row; their values as one writes them after `--vars.x`."""
    rows = []
    for group in groups:
        names = [name for name, _ in group.settings]
        shown = [code(str(values[name])) if values[name] != "" else "(empty)" for name in names]
        rows.append((BREAK.join(map(code, names)), BREAK.join(shown), sentence(group.comment)))
    return table(("var", "default", "what it is"), rows)


def config_table(config: Config) -> str:
    """The settings of a config, those of one comment in one row; a section is named in its first row."""
    rows = []
    for section in config.sections:
        shown = code(f"[{section.name}]")
        for group in section.groups:
            names = BREAK.join(code(name) for name, _ in group.settings)
            values = BREAK.join(code(value) for _, value in group.settings)
            rows.append((shown, names, values, sentence(group.comment)))
            shown = ""
    return table(("section", "setting", "value", "what it is"), rows)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def prose(comment: Comment) -> str:
    """A comment as a paragraph, or as it stands if some of its lines are indented: a list, or columns."""
    if any(line.startswith(" ") for line in comment):
        return "\n".join(["```text", *comment, "```"])
    return sentence(comment)


def sentence(comment: Comment) -> str:
    """A comment as one line of Markdown."""
    parts = re.split(r"(`[^`]+`)", " ".join(" ".join(comment).split()))
    parts[::2] = [WORD.sub(lambda m: f"{m[1]}{code(m[2])}{m[3]}", part) for part in parts[::2]]
    parts[1::2] = map(escaped, parts[1::2])
    return "".join(parts)


def code(text: str) -> str:
    """A text as code, cut if it is long."""
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return escaped(f"`` {text} ``" if "`" in text else f"`{text}`")


def escaped(text: str) -> str:
    """Code that ends no cell of a table."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    run(main)

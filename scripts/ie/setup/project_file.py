"""project.yml, edited in place: what a person wrote around the changed lines stays as it is."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import srsly

from ie.core.errors import UserError
from ie.core.files import json_text
from ie.setup.inputs import Inputs


def md5(text: str) -> str:
    """MD5 of a file of that content, as weasel takes it."""
    return hashlib.md5(text.encode()).hexdigest()


def set_var(text: str, name: str, value: str) -> str:
    """Set a variable of project.yml, its line alone.

    Raises:
        UserError: there is no such variable.
    """
    start = text.index("\nvars:\n")
    quoted = json_text(value)
    body, n = re.subn(rf"(?m)^  {name}: .*$", lambda _: f"  {name}: {quoted}", text[start:], count=1)
    if not n:
        raise UserError(f"project.yml: has no variable {name}; take the template's project.yml.")
    return text[:start] + body


def describe(text: str, values: Mapping[str, str], found: Inputs, files: Mapping[Path, str | None]) -> str:
    """project.yml with these vars, its own title and description, and the checksums of the new assets."""
    for name, value in values.items():
        text = set_var(text, name, value)
    labels = ", ".join(label for kind in ("span", "category") for label in found.labels[kind])
    text = re.sub(
        r"(?m)^title: .*$",
        lambda _: f"title: {json_text(values['name'] + ': information extraction')}",
        text,
        count=1,
    )
    told = (
        f"description: |\n  {labels} in {len(found.texts):,} texts, {len(found.gold):,} of them annotated "
        "when the project was set up.\n"
    )
    text = re.sub(r"(?m)^description: \|\n(?:(?:  .*)?\n)+(?=\S)", lambda _: f"{told}\n", text, count=1)
    described = {
        "assets/texts.jsonl": "All raw texts",
        "assets/reviewed.jsonl": "Those that were reviewed; written by people only",
        "assets/companies.csv": "Known names: id, name, aliases",
    }
    for name, words in described.items():
        content = files.get(Path(name))
        entry = rf'(?m)^(  - dest: "{re.escape(name)}"\n)(    checksum: .*\n)?(    description: ).*$'
        checksum = "" if name == "assets/reviewed.jsonl" or content is None else md5(content)

        def replaced(match: re.Match, checksum: str = checksum, words: str = words) -> str:
            line = f'    checksum: "{checksum}"\n' if checksum else ""
            return f'{match[1]}{line}{match[3]}"{words}"'

        text = re.sub(entry, replaced, text, count=1)
    srsly.yaml_loads(text)
    return text


def outputs(text: str) -> list[str]:
    """What the commands of project.yml make, as patterns: a `*` for each var, whatever it was in some run.

    A path that is a var as a whole is that var's value. What `import` makes is left out: what people brought
    is theirs, and nothing makes it again.
    """
    project = srsly.yaml_loads(text)
    found = []
    for command in project["commands"]:
        if command["name"] != "import":
            for path in (*command.get("outputs", ()), *command.get("outputs_no_cache", ())):
                whole = re.fullmatch(r"\$\{vars\.(\w+)\}", path)
                found.append(project["vars"][whole[1]] if whole else re.sub(r"\$\{vars\.\w+\}", "*", path))
    return found


def prune(text: str, components: Mapping[str, bool]) -> str:
    """project.yml whose workflow of components, and whose `assemble`, ask for nothing that can't be made.

    Args:
        components: what applies: "money", "linker", "relations", "textcat"; "amounts" to score the first on.
    """
    kept = {
        "evaluate-money": components["amounts"],
        "train-linker": components["linker"],
        "evaluate-linker": components["linker"],
        "train-relations": components["relations"],
        "evaluate-relations": components["relations"],
        "train-categories": components["textcat"],
        "evaluate-categories": components["textcat"],
        "evaluate-rows": components["relations"],
    }
    figures = [
        name
        for name, there in {
            "training/linker": components["linker"],
            "training/money": components["amounts"],
            "training/${vars.config}/relations": components["relations"],
            "training/${vars.config}/pipeline": components["relations"],
            "training/${vars.config}/categories": components["textcat"],
        }.items()
        if not there
    ]
    block = _block(text, "package-pipeline")
    pruned = "".join(
        line
        for line in block.splitlines(keepends=True)
        if not any(line.strip() == f"- {name}/metrics.json" for name in figures)
    )
    text = text.replace(block, pruned)

    def left(match: re.Match) -> str:
        names = [name for name in srsly.json_loads(match[2]) if kept.get(name, True)]
        return f"{match[1]}{json_text(names)}"

    text = re.sub(r"(?m)^(  components: )(\[.*\])$", left, text, count=1)
    block = assembled = _block(text, "assemble")
    for folder, there in (("relations", components["relations"]), ("categories", components["textcat"])):
        if not there:
            block = re.sub(rf"(?m)^      - training/.*/{folder}/model-best\n", "", block)
    return text.replace(assembled, block)


def _block(text: str, command: str) -> str:
    """The lines of a command of project.yml."""
    start = text.index(f'  - name: "{command}"\n')
    return text[start : text.find("  - name: ", start + 1)]

"""project.yml edited in place: comments and layout stay, byte by byte, around the values that change."""

import hashlib
import io
import re
import sys
from collections.abc import Mapping
from typing import Any

import srsly
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

from ie.core.errors import UserError


def md5(text: str) -> str:
    """MD5 of a file of that content, as weasel takes it."""
    return hashlib.md5(text.encode()).hexdigest()


def edited(
    text: str,
    *,
    title: str,
    description: str,
    variables: Mapping[str, str],
    assets: Mapping[str, str],
    checksums: Mapping[str, str],
) -> str:
    """project.yml with another title and description, other vars, and other descriptions of assets.

    Args:
        assets: descriptions by path.
        checksums: MD5 of assets by path; one that has an entry here and none in the file stays without.

    Raises:
        UserError: it has no such variable.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = sys.maxsize
    yaml.indent(mapping=2, sequence=4, offset=2)
    project = yaml.load(text)
    project["title"] = DoubleQuotedScalarString(title)
    _replace_block(project, "description", description)
    for name, value in variables.items():
        if name not in project["vars"]:
            raise UserError(f"project.yml: has no variable {name}; take the template's project.yml.")
        project["vars"][name] = DoubleQuotedScalarString(value)
    for asset in project["assets"]:
        path = asset["dest"]
        if path in assets:
            asset["description"] = DoubleQuotedScalarString(assets[path])
        if "checksum" in asset and path in checksums:
            asset["checksum"] = DoubleQuotedScalarString(checksums[path])
    stream = io.StringIO()
    yaml.dump(project, stream)
    return stream.getvalue()


def _replace_block(project: Any, name: str, text: str) -> None:
    """Replace a block of text; what follows it in the file (blank lines, comments) is kept with it."""
    block = LiteralScalarString(text.rstrip("\n") + "\n")
    block.comment = getattr(project[name], "comment", None)
    project[name] = block


def outputs(text: str) -> list[str]:
    """What the commands of project.yml write, as patterns: a `*` for each var, whatever its value was.

    A path that is a var as a whole is that var's value. Outputs of `import` are the user's and left out.
    """
    project = srsly.yaml_loads(text)
    patterns = []
    for command in project["commands"]:
        if command["name"] != "import":
            for path in (*command.get("outputs", ()), *command.get("outputs_no_cache", ())):
                whole = re.fullmatch(r"\$\{vars\.(\w+)\}", path)
                patterns.append(project["vars"][whole[1]] if whole else re.sub(r"\$\{vars\.\w+\}", "*", path))
    return patterns

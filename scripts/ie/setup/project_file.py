"""Edit project.yml in place: all bytes but those of changed values stay, comments and layout included."""

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
    """MD5 of a file with this content, as weasel computes it."""
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
        checksums: MD5 of assets by path, for those that have a checksum in the file.

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
    """Replace a block of text, and keep the blank lines and comments that follow it in the file."""
    block = LiteralScalarString(text.rstrip("\n") + "\n")
    block.comment = getattr(project[name], "comment", None)
    project[name] = block


def outputs(text: str) -> list[str]:
    """The outputs of the commands in project.yml, as patterns with a `*` for each var.

    A path that consists of a var alone is given as its value. Outputs of `import` belong to the user and are
    left out.
    """
    project = srsly.yaml_loads(text)
    patterns = []
    for command in project["commands"]:
        if command["name"] != "import":
            for path in (*command.get("outputs", ()), *command.get("outputs_no_cache", ())):
                whole = re.fullmatch(r"\$\{vars\.(\w+)\}", path)
                patterns.append(project["vars"][whole[1]] if whole else re.sub(r"\$\{vars\.\w+\}", "*", path))
    return patterns

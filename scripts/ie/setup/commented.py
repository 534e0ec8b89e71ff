"""Settings together with what people wrote above them: the vars of project.yml, and configs.

One rule says what a comment is about: the settings below it, up to the next comment, blank line or section.
So one comment may stand above several settings, and a setting that it isn't about needs one of its own. A
comment right above a section is about the section, the first one of a config about the file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

VARS = re.compile(r"(?m)^((?:#.*\n)*)vars:[ \t]*\n((?:(?:[ #].*)?\n)*)")
SECTION = re.compile(r"(?m)^((?:#.*\n)*)\[([^\]\n]+)\][ \t]*\n")
# Comment lines, and the lines of settings below them; either may be missing.
GROUP = re.compile(r"((?:[ \t]*#.*\n)*)((?:(?![ \t]*(?:#|\n)).+\n)*)")
# A name and a value, which goes on in indented lines.
SETTING = re.compile(r"(?m)^([^\s=:]+)[ \t]*[=:][ \t]*(.*(?:\n[ \t]+.*)*)")

Comment = tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """A comment, line by line, and the settings that it is about: their names, and values as written."""

    comment: Comment
    settings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Section:
    """A section of a config; its own comment is that of its first group."""

    name: str
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Config:
    """A config: what is said of the file, and its sections."""

    comment: Comment
    sections: tuple[Section, ...]


def read_vars(text: str) -> tuple[Comment, list[Group]]:
    """The vars of a project file: what is said of all of them, and each group."""
    found = VARS.search(f"{text}\n")
    if not found:
        return (), []
    body = re.sub(r"(?m)^  ", "", found[2])
    return _lines(found[1]), [group for group in _groups(body) if group.settings]


def read_config(text: str) -> Config:
    """A config as people wrote it; nothing in it is filled in or replaced."""
    text = f"{text}\n"
    heads = list(SECTION.finditer(text))
    above = text[: heads[0].start()] if heads else text
    comments = [_lines(head[1]) for head in heads]
    comment = next((group.comment for group in _groups(above)), ())
    if heads and not comment:
        comment, comments[0] = comments[0], ()
    sections = []
    ends = [*(head.start() for head in heads[1:]), len(text)]
    for head, said, end in zip(heads, comments, ends, strict=False):
        groups = list(_groups(text[head.end() : end]))
        if said and groups and not groups[0].comment:
            groups[0] = Group(said, groups[0].settings)
        elif said:
            groups.insert(0, Group(said))
        sections.append(Section(head[2], tuple(groups)))
    return Config(comment, tuple(sections))


def _groups(body: str) -> Iterator[Group]:
    for comment, settings in GROUP.findall(body):
        if comment or settings:
            pairs = SETTING.findall(settings)
            yield Group(_lines(comment), tuple((n, re.sub(r"\n[ \t]+", " ", value)) for n, value in pairs))


def _lines(comment: str) -> Comment:
    return tuple(line.strip()[1:].removeprefix(" ") for line in comment.splitlines())

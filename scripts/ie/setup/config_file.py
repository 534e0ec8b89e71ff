"""Edit configs in place: all bytes but those of changed values stay, comments and layout included."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configupdater import Comment, ConfigUpdater, Section

from ie.core.errors import UserError
from ie.core.files import json_text
from ie.core.text import one_line


class ConfigFile:
    """A config of the project. Its edited text is `str(config)`; nothing is written.

    Raises:
        UserError: no such file, or not a config.
    """

    def __init__(self, path: Path):
        self.path = path
        # As in confection: names are case-sensitive, and only = separates them from values.
        self._config = ConfigUpdater(delimiters=("=",), comment_prefixes=("#",))
        self._config.optionxform = str
        try:
            self._config.read_string(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{path}: there is no such file; run this in a clone of the template.") from None
        except Exception as error:  # configparser's errors share no class but Exception
            raise UserError(f"{path}: can't be read as a config ({one_line(error)}); correct it.") from None

    def __str__(self) -> str:
        return f"{str(self._config).rstrip()}\n"

    @property
    def sections(self) -> list[str]:
        """Names of the sections, in order."""
        return self._config.sections()

    def has(self, section: str, name: str) -> bool:
        """Whether the section has such a setting."""
        return self._config.has_option(section, name)

    def set(self, section: str, **values: Any) -> None:
        """Change existing settings, each on its line.

        Raises:
            UserError: the section has no such setting.
        """
        for name, value in values.items():
            if not self.has(section, name):
                raise UserError(f"{self.path}: [{section}] has no setting {name}; take the template's file.")
            self._config[section][name].value = json_text(value)

    def put(self, section: str, name: str, value: Any) -> None:
        """Set a setting, at the end of its section if it isn't there yet.

        Raises:
            UserError: there is no such section.
        """
        if self.has(section, name):
            self._config[section][name].value = json_text(value)
            return
        if section not in self.sections:
            raise UserError(f"{self.path}: there is no section [{section}] for {name}; add one.")
        settings = self._config[section].option_blocks()
        if settings:
            settings[-1].add_after.option(name, json_text(value))
        else:
            self._config[section][name] = json_text(value)

    def replace(self, section: str, names: list[str], values: Mapping[str, Any]) -> None:
        """Replace those of `names` that exist by other settings; without any of them, change nothing."""
        present = [name for name in names if self.has(section, name)]
        for name, value in values.items() if present else ():
            self._config[section][present[0]].add_before.option(name, json_text(value))
        for name in present:
            self._config.remove_option(section, name)

    def remove(self, section: str) -> None:
        """Remove a section, if it exists, with the comment above it."""
        if not self._config.has_section(section):
            return
        before = self._config[section].previous_block  # the parser puts the comment there
        last = [*before.iter_blocks()][-1:] if isinstance(before, Section) else [before]
        for block in last:
            if isinstance(block, Comment):
                block.detach()
        self._config.remove_section(section)

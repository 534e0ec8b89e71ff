"""Settings files: a `.cfg` read into a model of its sections, every fault named."""

from pathlib import Path
from typing import TypeVar

from confection import Config
from pydantic import BaseModel, ConfigDict, ValidationError

from ie.core.errors import UserError


class Section(BaseModel):
    """A section of a settings file; a key that doesn't exist is a mistake."""

    model_config = ConfigDict(extra="forbid")


Settings = TypeVar("Settings", bound=Section)


def load_settings(path: Path, model: type[Settings]) -> Settings:
    """Read a settings file.

    Raises:
        UserError: missing or broken file, unknown key, value out of range.
    """
    try:
        content = Config().from_str(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise UserError(f"{path}: can't be read ({reason}); correct the path or the file.") from None
    except Exception as error:  # confection raises its own, configparser's and plain ValueErrors
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: can't be read as a config ({reason}); correct that section.") from None
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{path}: {f'{place}: ' if place else ''}{first['msg'].lower()}; correct it."
        ) from None

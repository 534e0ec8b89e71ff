"""Configs: `.cfg` files read with confection, and settings files read into pydantic models."""

from pathlib import Path
from typing import Any, TypeVar

from confection import Config
from pydantic import BaseModel, ConfigDict, ValidationError

from ie.core.errors import UserError
from ie.core.files import read_text
from ie.core.text import one_line


class Section(BaseModel):
    """A section of a settings file; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid")


Model = TypeVar("Model", bound=BaseModel)
TEMPLATE = "correct the path, or take the file from the template"


def read_config(path: Path, *, interpolate: bool = True, missing: str = TEMPLATE) -> Config:
    """Read a `.cfg` file.

    Args:
        interpolate: replace `${section.key}` by its value.
        missing: what to do if the file isn't there.
    """
    text = read_text(path, missing)
    try:
        return Config().from_str(text, interpolate=interpolate)
    except Exception as error:  # confection raises its own, configparser's and plain ValueErrors
        raise UserError(
            f"{path}: can't be read as a config ({one_line(error)}); correct that section."
        ) from None


def load_settings(path: Path, model: type[Model]) -> Model:
    """Read a settings file; unknown keys and values out of range are errors."""
    return validated(str(path), read_config(path), model)


def validated(place: str, content: Any, model: type[Model]) -> Model:
    """The content of a settings file, or of a section, as a model.

    Args:
        place: the file, and the section if it is one, for the message.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{place}: {first_fault(error)}; correct it.") from None


def first_fault(error: ValidationError) -> str:
    """The first error of pydantic, with its place: `split.test_percent: input should be ...`."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{f'{place}: ' if place else ''}{first['msg'].lower()}"

"""Pipelines of components that need no training config: read from a config file, with our tokenizer."""

from pathlib import Path

from spacy.language import Language
from spacy.util import load_config, load_model_from_config

# Imported for the factories that they register.
import components.linker
import components.money
import components.relations  # noqa: F401
from ie.core.errors import UserError
from ie.data.tokenizer import adapt
from ie.training.loop import explained


def build(path: Path, component: str) -> Language:
    """The pipeline of a config file, untrained, which must hold a certain component.

    Raises:
        UserError: no such file, a broken config, a wrong setting, no such component.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such config; restore it from the template.")
    with explained(path):
        nlp = load_model_from_config(load_config(path), auto_fill=True)
    if component not in nlp.pipe_names:
        raise UserError(f"{path}: its pipeline has no component {component}; add it to [nlp] pipeline.")
    return adapt(nlp)

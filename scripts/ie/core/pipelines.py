"""Trained pipelines from disk."""

from pathlib import Path

import spacy
from spacy.language import Language
from spacy.util import get_package_path, is_package

from ie.core.errors import UserError
from ie.core.files import hash_folder
from ie.core.text import one_line


def pipeline_exists(model: Path | str) -> bool:
    """Whether it is the folder of a pipeline, or the name of an installed package."""
    return (Path(model) / "meta.json").is_file() or is_package(str(model))


def hash_pipeline(model: Path | str) -> str:
    """The hash of a pipeline that exists: a folder, or an installed package."""
    return hash_folder(Path(model) if Path(model).is_dir() else get_package_path(str(model)))


def load_pipeline(model: Path | str, remedy: str, component: str = "") -> Language:
    """A trained pipeline: a folder, or the name of an installed package.

    Import the modules that register custom components first; an installed package brings its own.

    Args:
        remedy: what to do if it is missing or unsuitable, as the end of a sentence.
        component: a component that it must have; empty for any.
    """
    if not pipeline_exists(model):
        raise UserError(f"{model}: there is no trained pipeline; {remedy}.")
    try:
        # spaCy takes a Path for a folder, never for a package
        nlp = spacy.load(model if Path(model).is_dir() else str(model))
    except Exception as error:  # whatever broken files make spaCy, numpy and json raise
        raise UserError(
            f"{model}: can't be loaded as a pipeline ({one_line(error, 300)}); {remedy}."
        ) from error
    if component and component not in nlp.pipe_names:
        raise UserError(
            f"{model}: has no component {component!r}; it has: {', '.join(nlp.pipe_names)}; {remedy}."
        )
    return nlp

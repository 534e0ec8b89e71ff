"""Pipeline components that ship inside the package: each a module of its own that needs spaCy and what its
REQUIREMENTS name, and nothing else of this project.
"""

from importlib import import_module
from pathlib import Path
from typing import Any


def used(config: dict[str, Any]) -> list[Path]:
    """The files of this folder that a pipeline's components need: each is named after its factory."""
    factories = {component.get("factory") for component in config.get("components", {}).values()}
    return [path for path in sorted(Path(__file__).parent.glob("[!_]*.py")) if path.stem in factories]


def register(config: dict[str, Any]) -> list[str]:
    """Make the components that a pipeline's config names known to spaCy; returns the packages they need."""
    modules = [import_module(f"{__name__}.{path.stem}") for path in used(config)]
    return sorted({name for module in modules for name in module.REQUIREMENTS})

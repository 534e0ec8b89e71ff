"""Wheels of trained pipelines: built with a card, then tried in an empty environment."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import srsly
from packaging.version import InvalidVersion, Version
from spacy.util import load_config

from ie.core.errors import UserError
from ie.core.settings import Section
from ie.data.language import PACKAGES

# Run by the empty environment's Python: nothing of this project is there to help.
TRY = """
import importlib, json, sys
nlp = importlib.import_module(sys.argv[1]).load()
doc = nlp(sys.argv[2])
def amount(ent):
    money = ent._.money if ent.has_extension("money") else None
    return f"{money['amount']} {money['currency']}" if money else ""
spans = list(doc.spans["sc"]) if "sc" in doc.spans else doc.ents
rows = [[ent.text, ent.label_, ent.kb_id_, amount(ent)] for ent in spans]
for relation in doc._.relations if doc.has_extension("relations") else []:
    ends = [doc.ents[relation[end]].text for end in ("head", "child")]
    rows.append([" > ".join(ends), relation["label"], "", ""])
several = "textcat_multilabel" in nlp.pipe_names
named = [c for c in doc.cats if doc.cats[c] >= 0.5] if several else sorted(doc.cats, key=doc.cats.get)[-1:]
rows += [["(the text)", category, "", ""] for category in named]
print(json.dumps(rows))
"""


class About(Section):
    """[package]: metadata of the wheel."""

    description: str = ""
    author: str = ""
    email: str = ""
    url: str = ""
    license: str = ""


class PackageConfig(Section):
    """configs/package.cfg."""

    package: About = About()


COLUMNS = ("Text", "Label", "Id", "Amount")


def read_meta(model: Path) -> dict[str, Any]:
    """The pipeline's meta.json.

    Raises:
        UserError: there is no trained pipeline.
    """
    try:
        return {"lang": "", **srsly.read_json(model / "meta.json")}
    except (OSError, ValueError):
        raise UserError(f"{model}: there is no trained pipeline; run `weasel run train` first.") from None


def build(
    model: Path,
    name: str,
    version: str,
    folder: Path,
    *,
    about: Mapping[str, Any] | None = None,
    card: Callable[[dict[str, Any]], str] | None = None,
) -> Path:
    """Package `model` and build its wheel in `folder`; the same model gives the same bytes.

    Args:
        about: replaces what the training wrote to meta.json, such as `performance`.
        card: writes the README of the package from its meta.json.

    Raises:
        UserError: no such pipeline, or one that can't be packaged.
    """
    check_name(name, version)
    meta = read_meta(model)
    modules = own_modules(model)
    needs = {need for module in modules for need in module.REQUIREMENTS}
    needs |= {*PACKAGES.get(meta["lang"], ())}
    meta["requirements"] = sorted({*meta.get("requirements", []), *needs})
    meta |= about or {}
    srsly.write_json(folder / "meta.json", meta)
    if card:
        model = Path(shutil.copytree(model, folder / "model"))
        text = card(meta | {"name": name, "version": version})
        (model / "README.md").write_text(text, encoding="utf-8")
    output = folder / "package"
    output.mkdir()
    # In a process of its own: spaCy imports the code files, which would register their factories again.
    command = [sys.executable, "-m", "spacy", "package", str(model), str(output), "--build", "none"]
    command += ["--meta", str(folder / "meta.json"), "--name", name, "--version", version]
    if modules:
        command += ["--code", ",".join(str(module.__file__) for module in modules)]
    call(command, f"{model}: spaCy can't package this pipeline", "run `weasel run train` again")
    (project,) = output.iterdir()
    # A fixed date for the files in the wheel, or each build would differ from the last.
    environment = os.environ | {"SOURCE_DATE_EPOCH": "315532800"}
    # Without isolation, build takes the pinned setuptools that is installed and needs no network.
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(project)]
    call(command, f"{model}: building the wheel failed", "see the lines above", environment)
    (wheel,) = (project / "dist").glob("*.whl")
    return wheel


def own_modules(model: Path) -> list[ModuleType]:
    """The modules of our own components that a pipeline uses: each is named after its factory.

    Raises:
        UserError: the pipeline's config can't be read.
    """
    try:
        pipes = load_config(model / "config.cfg")["components"].values()
    except (ValueError, KeyError, OSError) as error:
        raise UserError(
            f"{model}: spaCy can't read the config of this pipeline ({error}); run `weasel run train` again."
        ) from error
    factories = sorted({pipe["factory"] for pipe in pipes if "factory" in pipe})
    return [import_module(f"components.{name}") for name in factories if find_spec(f"components.{name}")]


def check_name(name: str, version: str) -> None:
    """Check the name and the version of a package.

    Raises:
        UserError: one of them isn't valid.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise UserError(
            f"{name!r} can't name a package; use lower-case letters, digits and single underscores."
        )
    try:
        normal = str(Version(version))
    except InvalidVersion:
        raise UserError(f"{version!r} is not a version of a package; use numbers such as 0.1.0.") from None
    if normal != version:
        raise UserError(f"the version {version!r} would become {normal}; write it that way.")


def attempt(wheel: Path, constraints: Path, sentence: str, folder: Path) -> list[list[str]]:
    """Install `wheel` in a new environment with the pinned versions, and run it on `sentence`.

    Returns:
        The COLUMNS of each entity; then relations and the category, if there are any.
    """
    python = create_environment(folder / "env")
    pins = folder / "constraints.txt"
    # Without the hashes: with them, pip wants one for the new wheel, too.
    lines = constraints.read_text(encoding="utf-8").splitlines() if constraints.exists() else []
    pins.write_text("\n".join(line.rstrip(" \\") for line in lines if re.match(r"[\w.-]+==", line)) + "\n")
    if uv := shutil.which("uv"):
        install = [uv, "pip", "install", "--quiet", "--python", str(python)]
    else:
        # This environment's pip, as installing pip takes as long as all the rest. No compilation of modules
        # that are imported once, or never.
        install = [sys.executable, "-m", "pip", "--python", str(python), "install"]
        install += ["--quiet", "--disable-pip-version-check", "--no-compile"]
    remedy = "check that pip can install packages here, or add --no-check"
    # pip takes what PYTHONPATH leads to for installed, but the trial runs without it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    call([*install, "-c", str(pins), str(wheel)], f"{wheel}: can't be installed", remedy, environment)
    package = wheel.name.split("-")[0]
    # -I: without this folder and PYTHONPATH
    command = [str(python), "-I", "-c", TRY, package, sentence]
    printed = call(command, f"{wheel}: doesn't run", "see the lines above")
    return json.loads(printed.splitlines()[-1])


def create_environment(folder: Path) -> Path:
    """A virtual environment with nothing in it; returns its Python."""
    venv.create(folder, symlinks=os.name != "nt")
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def call(command: list[str], fault: str, remedy: str, environment: dict[str, str] | None = None) -> str:
    """Run quietly; on failure print its output and raise UserError."""
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        print((done.stdout + done.stderr).strip()[-3000:], file=sys.stderr)
        raise UserError(f"{fault}; {remedy}.")
    return done.stdout

"""Wheels of trained pipelines: built with a card, then tried where nothing else is installed."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import spacy.cli
import srsly
from packaging.version import InvalidVersion, Version
from spacy.util import load_config

from ie.core.errors import UserError
from ie.core.settings import Section

# Run by the empty environment's Python: nothing of this project is there to help.
TRY = """
import importlib, json, sys
nlp = importlib.import_module(sys.argv[1]).load()
doc = nlp(sys.argv[2])
def amount(ent):
    found = ent._.money if ent.has_extension("money") else None
    return f"{found['amount']} {found['currency']}" if found else ""
found = [[ent.text, ent.label_, ent.kb_id_, amount(ent)] for ent in doc.ents]
for relation in doc._.relations if doc.has_extension("relations") else []:
    ends = [doc.ents[relation[end]].text for end in ("head", "child")]
    found.append([" > ".join(ends), relation["label"], "", ""])
several = "textcat_multilabel" in nlp.pipe_factories.values()
named = [c for c in doc.cats if doc.cats[c] >= 0.5] if several else sorted(doc.cats, key=doc.cats.get)[-1:]
found += [["(the text)", category, "", ""] for category in named]
print(json.dumps(found))
"""
DEV = "dev texts, which also picked the checkpoint: it flatters"


class About(Section):
    """What a package says of itself."""

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
    code: Path,
    folder: Path,
    *,
    about: Mapping[str, Any] | None = None,
    card: Callable[[dict[str, Any]], str] | None = None,
) -> Path:
    """Package `model` and build its wheel in `folder`; the same model gives the same bytes.

    Args:
        code: folder with the files of our own components; those that are used come along.
        about: what its meta.json says instead of what the training wrote, such as `performance`.
        card: makes the README of the package from its meta.json.

    Raises:
        UserError: no such pipeline, or one that can't be packaged.
    """
    check_name(name, version)
    try:
        modules = own_modules(model, code)
        meta = read_meta(model)
        meta["requirements"] = sorted({*meta.get("requirements", []), *required(modules)})
        meta |= about or {}
        srsly.write_json(folder / "meta.json", meta)
        if card:
            model = Path(shutil.copytree(model, folder / "model"))
            text = card(meta | {"name": name, "version": version})
            (model / "README.md").write_text(text, encoding="utf-8")
        output = folder / "package"
        output.mkdir()
        spacy.cli.package(
            model,
            output,
            meta_path=folder / "meta.json",
            code_paths=modules,
            name=name,
            version=version,
            create_sdist=False,
            create_wheel=False,
            require_parent=True,
            silent=True,
        )
    except (SystemExit, ValueError, KeyError, OSError) as error:
        raise UserError(
            f"{model}: spaCy can't package this pipeline ({error}); run `weasel run train` again."
        ) from error
    (project,) = output.iterdir()
    # A fixed date for the files in the wheel, or each build would differ from the last.
    environment = os.environ | {"SOURCE_DATE_EPOCH": "315532800"}
    # Without isolation, build takes the pinned setuptools that is installed and needs no network.
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(project)]
    call(command, f"{model}: building the wheel failed", "see the lines above", environment)
    (wheel,) = (project / "dist").glob("*.whl")
    return wheel


def on_dev(model: Path) -> dict[str, Any]:
    """The scores that the training wrote, with a word on what they are of."""
    path = model / "meta.json"
    found = srsly.read_json(path).get("performance") if path.is_file() else None
    return found | {"source": DEV} if found else {}


def own_modules(model: Path, code: Path) -> list[Path]:
    """The files of our own components that a pipeline uses: each is named after its factory."""
    components = load_config(model / "config.cfg")["components"].values()
    names = sorted({component["factory"] for component in components if "factory" in component})
    return [code / f"{name}.py" for name in names if (code / f"{name}.py").is_file()]


def required(modules: list[Path]) -> set[str]:
    """What those files need to be installed, as their REQUIREMENTS say.

    They are read and not imported, which would register their factories a second time.
    """
    statements = [node for path in modules for node in ast.parse(path.read_text(encoding="utf-8")).body]
    return {
        need
        for node in statements
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and ast.unparse(node.target if isinstance(node, ast.AnnAssign) else node.targets[0]) == "REQUIREMENTS"
        for need in ast.literal_eval(node.value)
    }


def check_name(name: str, version: str) -> None:
    """Raises UserError for what can't be the name or the version of a package."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise UserError(
            f"{name!r} can't name a package; use lower-case letters, digits and single underscores."
        )
    try:
        normal = str(Version(version))
    except InvalidVersion:
        raise UserError(f"{version!r} is no version of a package; use numbers such as 0.1.0.") from None
    if normal != version:
        raise UserError(f"the version {version!r} would become {normal}; write it that way.")


def attempt(wheel: Path, constraints: Path, sentence: str, folder: Path) -> list[list[str]]:
    """Install `wheel` in a new environment with the pinned versions, and run it on `sentence`.

    Returns:
        What COLUMNS names of each entity; then relations and the category, where there are any.
    """
    python = create_environment(folder / "env")
    pins = folder / "constraints.txt"
    # The hashes can't come along: pip would want one for the wheel that was just built, too.
    lines = constraints.read_text(encoding="utf-8").splitlines() if constraints.exists() else []
    pins.write_text("\n".join(line.rstrip(" \\") for line in lines if re.match(r"[\w.-]+==", line)) + "\n")
    if uv := shutil.which("uv"):
        install = [uv, "pip", "install", "--quiet", "--python", str(python)]
    else:
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    remedy = "check that pip can install packages here, or add --no-check"
    call([*install, "-c", str(pins), str(wheel)], f"{wheel}: can't be installed", remedy)
    package = wheel.name.split("-")[0]
    # -I: neither this folder nor PYTHONPATH may lend anything
    command = [str(python), "-I", "-c", TRY, package, sentence]
    said = call(command, f"{wheel}: doesn't run", "see the lines above")
    return json.loads(said.splitlines()[-1])


def create_environment(folder: Path) -> Path:
    """A virtual environment with nothing but pip in it; returns its Python."""
    venv.create(folder, with_pip=True, symlinks=os.name != "nt")
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def call(command: list[str], fault: str, remedy: str, environment: dict[str, str] | None = None) -> str:
    """Run quietly; on failure show what was said and raise UserError."""
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        print((done.stdout + done.stderr).strip()[-3000:], file=sys.stderr)
        raise UserError(f"{fault}; {remedy}.")
    return done.stdout

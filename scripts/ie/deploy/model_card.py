"""The model card of a package: what people wrote of its use and limits, its scores, the data behind it.

After Mitchell et al. 2019, "Model Cards for Model Reporting". Whoever installs a pipeline sees no report and
no repository, only this.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ie.core.errors import UserError
from ie.core.stats import METRICS, Estimate, format_score

# What is scored, and how it is called in the card.
KINDS = {
    "spans": "exact spans",
    "relations": "relations between gold entities",
    "categories": "categories",
    "links": "links of gold mentions",
    "amounts": "amounts of gold mentions",
    "rows": "database rows, from the text alone",
}
# What stands where `init` leaves it to people to write.
UNWRITTEN = "To be written"
NOT_MEASURED = "Nothing was measured of this pipeline before it was packaged."


def sources(folder: Path, components: Sequence[str]) -> dict[str, Path]:
    """The files of figures by kind, of what a pipeline with these components does.

    Args:
        folder: of `evaluate`; the components' scores are in its folder component-scores.
    """
    needs = {
        "links": "linker",
        "amounts": "money",
        "relations": "relations",
        "categories": "textcat",
        "rows": "relations",
    }
    wanted = [kind for kind in KINDS if kind in needs and needs[kind] in components]
    return {"spans": folder / "metrics.json"} | {
        kind: folder / "component-scores" / f"{kind}.json" for kind in wanted
    }


def write(
    meta: Mapping[str, Any],
    *,
    written: str,
    scores: Mapping[str, Path],
    system: str,
    data: Sequence[Path],
    train: Path | None = None,
) -> str:
    """The card, in Markdown.

    Args:
        meta: the pipeline's meta.json, with the package's name and version.
        written: what people say of it, in Markdown, with headings of the second level.
        scores: files of figures, by kind; those that aren't there are left out.
        system: whose figures they are in that of the spans.
        data: files it was made from and measured on; those that aren't there are left out.
        train: train.json, of which the part `system` is told.
    """
    package = f"{meta['lang']}_{meta['name']}"
    facts = {
        "version": meta["version"],
        "language": meta["lang"],
        "components": ", ".join(meta.get("components", [])),
        "labels": "; ".join(
            f"{name}: {', '.join(labels)}"
            for name, labels in sorted(meta.get("labels", {}).items())
            if labels
        ),
        "needs": ", ".join([f"spaCy {meta.get('spacy_version', '')}", *sorted(meta.get("requirements", []))]),
        "licence": meta.get("license") or "none given",
    }
    facts = {name: value for name, value in facts.items() if value}
    rows = [row for kind, path in scores.items() for row in score_rows(kind, path, system)]
    parts = [
        f"# {package} {meta['version']}",
        f"```python\nimport {package}\n\nnlp = {package}.load()\n```",
        table(("", ""), facts.items()),
        written.strip(),
        "## Scores",
    ]
    if rows:
        parts += [
            table(("on test", "label", "texts", "n", "P", "R", "F or share right"), rows),
            "± is the 95 % bootstrap interval over texts; n counts what was annotated. No training saw "
            "a test text. On texts of another kind expect less: measure on yours.",
        ]
    else:
        parts.append(NOT_MEASURED)
    if training := trained_on(train, system):
        parts += ["## Training", training]
    if versions := [(str(path), f"`{digest(path)}`") for path in data if path.is_file()]:
        parts += ["## Data", table(("file", "MD5, as DVC names it"), versions)]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def digest(path: Path) -> str:
    """What `dvc.lock` says of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def trained_on(train: Path | None, system: str) -> str:
    """How many examples it saw; empty where that isn't known."""
    said = load(train).get(system) if train else None
    if not said:
        return ""
    return (
        f"On {said['examples']:,} {system} examples; of its checkpoints that of step {said['step']:,} was "
        f"the best on {said['dev_documents']:,} dev texts."
    )


def score_rows(kind: str, path: Path, system: str) -> list[tuple[str, ...]]:
    """(what, label, texts, n, P, R, F) of a file of figures.

    Raises:
        UserError: it is broken, or from another version of this project.
    """
    figures = load(path)
    try:
        return [(KINDS[kind], *row) for row in READERS[kind](figures, system)] if figures else []
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(f"{path}: holds no figures of {kind} ({error!r}); evaluate again.") from None


def load(path: Path | None) -> dict[str, Any]:
    """A JSON file; empty if it isn't there.

    Raises:
        UserError: it can't be read.
    """
    if path is None or not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: can't be read ({error}); make it again.") from None


def spans(figures: dict, system: str) -> list[tuple[str, ...]]:
    """Rows of `evaluate`."""
    texts = figures["test"]["documents"]
    return [
        (
            label,
            f"{texts:,}",
            f"{one['gold']:,}",
            *(shown([one[m], one[f"{m}_low"], one[f"{m}_high"]], texts) for m in METRICS),
        )
        for label, one in figures["systems"].get(system, {}).items()
        if isinstance(one, dict) and all(f"{m}_low" in one for m in METRICS)
    ]


def performance(scores: Mapping[str, Path], system: str) -> dict[str, Any]:
    """The scores on test for a pipeline's meta.json, under spaCy's names; empty if none are there.

    `source` says what they are of, as spaCy's own are of the dev texts that picked the checkpoint.

    Raises:
        UserError: as `score_rows`.
    """
    path = scores.get("spans")
    figures = load(path)
    try:
        by_label = {
            label: one
            for label, one in figures.get("systems", {}).get(system, {}).items()
            if isinstance(one, dict) and all(m in one for m in METRICS)
        }
        if "all" not in by_label:
            return {}
        overall = by_label.pop("all")
        n = figures["test"]["documents"]
        return {f"ents_{m}": overall[m] for m in METRICS} | {
            "ents_per_type": {label: {m: one[m] for m in METRICS} for label, one in by_label.items()},
            "source": f"exact spans on {n:,} test texts that no training saw; intervals are in the README",
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: holds no figures of spans ({error!r}); evaluate again.") from None


def first_paragraph(written: str) -> str:
    """What stands before the first heading of a written card, in one line; "" where nobody wrote it."""
    found = " ".join(written.strip().split("\n\n")[0].split())
    return "" if found.startswith("#") or UNWRITTEN in found else found


def relations(figures: dict, system: str) -> list[tuple[str, ...]]:
    """Rows of relations.json."""
    texts = figures["test_documents"]
    return [
        (
            label,
            f"{texts:,}",
            f"{one['correct'] + one['missing']:,}",
            *(shown(one[m], texts) for m in METRICS),
        )
        for label, one in figures["systems"]["gold"].items()
    ]


def categories(figures: dict, system: str) -> list[tuple[str, ...]]:
    """Rows of categories.json."""
    texts = figures["test_documents"]
    return [
        (label, f"{texts:,}", f"{one['n']:,}", *(shown(one.get(m), texts) for m in METRICS))
        for label, one in figures["systems"]["component"].items()
    ]


def links(figures: dict, system: str) -> list[tuple[str, ...]]:
    """Rows of links.json."""
    return [
        (name, f"{one['right']['texts']:,}", f"{one['mentions']:,}", "", "", one["right"]["shown"])
        for name, one in figures["linker"].items()
        if "right" in one
    ]


def amounts(figures: dict, system: str) -> list[tuple[str, ...]]:
    """Rows of amounts.json, of the test texts alone."""
    return [
        (
            "amount and currency",
            f"{one['texts']:,}",
            f"{one['amounts']:,}",
            "",
            "",
            shown([one["right"], one["low"], one["high"]], one["texts"]),
        )
        for name, one in figures.items()
        if Path(name).stem == "test"
    ]


def database_rows(figures: dict, system: str) -> list[tuple[str, ...]]:
    """The row of rows.json."""
    texts, one = figures["test_documents"], figures["rows"]["pipeline"]
    n = one["exact"] + one["missing"]
    return [("all", f"{texts:,}", f"{n:,}", *(shown(one[m], texts) for m in METRICS))]


READERS = {
    "spans": spans,
    "relations": relations,
    "categories": categories,
    "links": links,
    "amounts": amounts,
    "rows": database_rows,
}


def shown(three: Sequence[float] | None, texts: int) -> str:
    """An estimate (value, low, high) with the digits that so many texts allow; empty for none."""
    if not three:
        return ""
    # not defined, such as the precision of a system that found nothing
    return "–" if None in three else format_score(Estimate(*three), documents=texts)

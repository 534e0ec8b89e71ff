"""The model card of a package: its use and limits in people's words, its scores, the data behind it.

After Mitchell et al. 2019, "Model Cards for Model Reporting". A user who installs the package sees neither
the report nor the repository, only this card.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ie.core.errors import UserError
from ie.core.stats import METRICS, Estimate, format_score

# Marks the parts that `init` leaves to people.
UNWRITTEN = "To be written"
DEV = "dev texts, on which choices such as the checkpoint were made: it flatters"
NOT_MEASURED = "Nothing was measured of this pipeline before it was packaged."


def sources(folder: Path, components: Sequence[str]) -> dict[str, Path]:
    """The files with scores of what a pipeline with these components does, by kind.

    Args:
        folder: of `evaluate`; the components' scores are in its folder component-scores.
    """
    kinds = [kind for kind, (component, _, _) in KINDS.items() if component in components]
    return {"spans": folder / "metrics.json"} | {
        kind: folder / "component-scores" / f"{kind}.json" for kind in kinds
    }


def write(
    meta: Mapping[str, Any],
    *,
    written: str,
    scores: Mapping[str, Path],
    system: str,
    trained_on: str,
    data: Sequence[Path],
    train: Path | None = None,
) -> str:
    """The card, in Markdown.

    Args:
        meta: the pipeline's meta.json, with the package's name and version.
        written: use and limits, in Markdown, with headings of the second level.
        scores: files of scores, by kind; missing ones are left out.
        system: key of the pipeline's own scores in the file of the spans.
        trained_on: key of its training in `train`.
        data: files that it was trained and scored on; missing ones are left out.
        train: train.json; missing ones are left out.
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
    if training := [*filter(None, (training_sentence(train, trained_on), rules_sentence(meta)))]:
        parts += ["## Training", *training]
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
    """The MD5 of a file, as `dvc.lock` has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def training_sentence(train: Path | None, trained_on: str) -> str:
    """How many examples the training had; empty where that isn't known."""
    training = load(train).get(trained_on) if train else None
    if not training:
        return ""
    text = f"On {training['examples']:,} {trained_on} examples"
    if training["step"] <= 1:  # learned in one go, such as `crf`
        return f"{text}."
    return (
        f"{text}; of its checkpoints that of step {training['step']:,} was the best on "
        f"{training['dev_documents']:,} dev texts."
    )


def rules_sentence(meta: Mapping[str, Any]) -> str:
    """Why the pipeline has rules, or has none; empty where they weren't tried."""
    return f"Rules and model: {meta['rules']}" if meta.get("rules") else ""


def score_rows(kind: str, path: Path, system: str) -> list[tuple[str, ...]]:
    """The rows of a file of scores: what, label, texts, n, P, R, F.

    Raises:
        UserError: it is broken, or from another version of this project.
    """
    scores = load(path)
    if not scores:
        return []
    _, title, read = KINDS[kind]
    try:
        return [
            (title, label, f"{texts:,}", f"{n:,}", *(shown(score, texts) for score in prf))
            for label, texts, n, *prf in read(scores, system)
        ]
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


def performance(
    scores: Mapping[str, Path], system: str, on_dev: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The scores for a pipeline's meta.json, under spaCy's names; `source` says what they were measured on.

    Args:
        on_dev: what the training wrote, which counts where there are no scores on test.

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
            return {**on_dev, "source": DEV} if on_dev else {}
        overall = by_label.pop("all")
        n = figures["test"]["documents"]
        return {f"ents_{m}": overall[m] for m in METRICS} | {
            "ents_per_type": {label: {m: one[m] for m in METRICS} for label, one in by_label.items()},
            "source": f"exact spans on {n:,} test texts that no training saw; intervals are in the README",
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: holds no figures of spans ({error!r}); evaluate again.") from None


def first_paragraph(written: str) -> str:
    """The text before the first heading of a card, on one line; "" if it is still to be written."""
    paragraph = " ".join(written.strip().split("\n\n")[0].split())
    return "" if paragraph.startswith("#") or UNWRITTEN in paragraph else paragraph


def shown(score: Sequence[float] | str | None, texts: int) -> str:
    """An estimate (value, low, high) with the digits that so many texts allow; empty for none."""
    if score is None or isinstance(score, str):
        return score or ""
    # not defined, such as the precision of a system that found nothing
    return "–" if None in score else format_score(Estimate(*score), documents=texts)


def _spans(scores: dict, system: str) -> Iterator[tuple]:
    for label, one in scores["systems"].get(system, {}).items():
        if isinstance(one, dict) and all(f"{m}_low" in one for m in METRICS):
            prf = ([one[m], one[f"{m}_low"], one[f"{m}_high"]] for m in METRICS)
            yield label, scores["test"]["documents"], one["gold"], *prf


def _relations(scores: dict, system: str) -> Iterator[tuple]:
    for label, one in scores["systems"]["gold"].items():
        yield label, scores["test_documents"], one["correct"] + one["missing"], *(one[m] for m in METRICS)


def _categories(scores: dict, system: str) -> Iterator[tuple]:
    for label, one in scores["systems"]["component"].items():
        yield label, scores["test_documents"], one["n"], *(one.get(m) for m in METRICS)


def _links(scores: dict, system: str) -> Iterator[tuple]:
    for name, one in scores["linker"].items():
        if "right" in one:
            yield name, one["right"]["texts"], one["mentions"], None, None, one["right"]["shown"]


def _amounts(scores: dict, system: str) -> Iterator[tuple]:
    # The rules were developed on the other files.
    for name, one in scores.items():
        if Path(name).stem == "test":
            share = [one["right"], one["low"], one["high"]]
            yield "amount and currency", one["texts"], one["amounts"], None, None, share


def _database_rows(scores: dict, system: str) -> Iterator[tuple]:
    one = scores["rows"]["pipeline"]
    yield "all", scores["test_documents"], one["exact"] + one["missing"], *(one[m] for m in METRICS)


# Kind of score: the component that it needs, its name in the card, and a reader of its file, which yields
# (label, texts, n, P, R, F).
KINDS: dict[str, tuple[str, str, Callable[[dict, str], Iterator[tuple]]]] = {
    "spans": ("", "exact spans", _spans),
    "relations": ("relations", "relations between gold entities", _relations),
    "categories": ("textcat", "categories", _categories),
    "links": ("linker", "links of gold mentions", _links),
    "amounts": ("money", "amounts of gold mentions", _amounts),
    "rows": ("relations", "database rows, from the text alone", _database_rows),
}

"""The tables of docs/case.md from what `benchmark-case` measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from ie.core import stats
from ie.core.stats import Estimate

# Titles of the systems, in the order of README's table.
SYSTEMS = {
    "llm": "LLM as prompted",
    "rules": "Rules",
    "memoriser": "Dictionary baseline",
    "crf": "Plain conditional random field",
    "silver": "Pipeline, silver only",
    "reviewed": "Pipeline, reviewed only",
    "both": "Pipeline, silver and reviewed",
    "combined": "Pipeline, reviewed only, with rules",
}


def tables(result: Mapping[str, Any]) -> str:
    """All tables, a heading above each."""
    documents = result["texts"]["test"]
    parts = [
        ("What it took", effort(result)),
        ("Systems", systems(result, documents)),
        ("Labels", labels(result, documents)),
        ("Relations", relations(result, documents)),
        ("Errors", errors(result)),
    ]
    return "\n\n".join(f"### {title}\n\n{table}" for title, table in parts) + "\n"


def effort(result: Mapping[str, Any]) -> str:
    seconds, review = result["seconds"], result["review"]
    edits = f"+{result['added']} −{result['removed']}"
    keys = f"{review['decisions']:,}, {review['keys']:,}"
    rows = [
        ("lines written: definitions and prompt words", str(result["yours"])),
        ("lines that `init` changed in configs and `project.yml`", edits),
    ]
    for step, calls in result["calls"].items():
        rows.append((f"calls of the LLM, `{step}`", f"{calls:,}"))
    rows.append((f"review of {review['texts']} texts: decisions, key presses", keys))
    for step, taken in seconds.items():
        if taken >= 5:
            rows.append((f"`{step}`", f"{taken:.0f} s"))
    rows.append(("all steps", f"{sum(seconds.values()) / 60:.1f} minutes"))
    return table(("what", "measured"), rows)


def systems(result: Mapping[str, Any], documents: int) -> str:
    rows = []
    for name, found in result["systems"].items():
        speed = result["speed"].get(name)
        rows.append(
            (
                SYSTEMS.get(name, name),
                *(score(found[key], documents) for key in "prf"),
                f"{stats.two_digits(speed):,}" if speed else "–",
                str(found["mb"]),
            )
        )
    return table(("system", "P", "R", "F", "words/s", "MB"), rows)


def labels(result: Mapping[str, Any], documents: int) -> str:
    rows = [
        (label, f"{found['gold']:,}", *(score(found[key], documents) for key in "prf"))
        for label, found in sorted(result["labels"].items(), key=lambda item: -item[1]["gold"])
    ]
    return table(("label", "n", "P", "R", "F"), rows)


def relations(result: Mapping[str, Any], documents: int) -> str:
    names = {"gold": "gold", "predicted": "the pipeline's"}
    rows = [
        (shown, *(score(result["relations"][name][key], documents) for key in "prf"))
        for name, shown in names.items()
    ]
    return table(("entities", "P", "R", "F"), rows)


def errors(result: Mapping[str, Any]) -> str:
    total = sum(result["errors"].values())
    kinds = {
        "boundary": "right label, other edges",
        "type": "right edges, other label",
        "both": "other edges and label",
        "missing": "nothing found",
        "spurious": "nothing annotated",
    }
    rows = [
        (shown, f"{result['errors'][kind]:,}", f"{100 * result['errors'][kind] / max(1, total):.0f} %")
        for kind, shown in kinds.items()
    ]
    return table(("error", "n", "share"), rows)


def score(values: Sequence[float | None], documents: int) -> str:
    value, low, high = values
    if value is None or low is None or high is None:
        return "–"
    return stats.format_score(Estimate(value, low, high), documents=documents)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)

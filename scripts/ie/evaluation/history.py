"""The history of results: one line per distinct result, kept in git, and comparisons between them.

Each line has the counts of every test document and a key of its text and gold. So any two results can be
compared on the documents they share, also when the pipelines no longer exist. Texts whose gold was corrected
in between are left out of the comparison.
"""

import base64
import hashlib
import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ie.core import stats
from ie.core.errors import UserError
from ie.core.files import json_text, read_jsonl, write_jsonl
from ie.core.stats import Estimate
from ie.data.records import Record
from ie.evaluation.scoring import ALL

KEY_LENGTH = 8
KEYS = ("id", "date", "system", "settings", "data", "documents", "scores", "counts")
PRODUCTION_KEYS = ("date", "counts", "results", "texts", "f", "f_low", "f_high", "verdict")


@dataclass(frozen=True)
class EntryComparison:
    """F of one entry minus F of another, paired on the same test documents.

    `holm`: p of no difference by paired randomisation, corrected for the number of comparisons.
    `documents`: how many test documents both results share.
    """

    difference: Estimate
    p: float
    documents: int
    holm: float = float("nan")

    def verdict(self) -> str:
        """`better`, `worse` or `noise`."""
        if not self.holm < 1 - stats.CONFIDENCE:
            return "noise"
        return "better" if self.difference.value > 0 else "worse"


def read(path: Path) -> list[dict[str, Any]]:
    """The entries in order, each once; none if there is no file yet."""
    if not path.exists():
        return []

    def whole(entry: dict[str, Any]) -> dict[str, Any]:
        if not all(key in entry for key in KEYS):
            raise ValueError
        unpack(entry["counts"][entry["system"]], entry["documents"])
        return entry

    fault = (
        "isn't an entry of the history (a merge conflict, perhaps); keep whole lines of both sides, delete "
        "the rest"
    )
    entries: dict[str, dict[str, Any]] = {}
    for entry in read_jsonl(path, whole, fault):
        # git's union of two branches repeats what both have recorded
        entries.setdefault(entry["id"], entry)
    return list(entries.values())


def read_production(path: Path) -> list[dict[str, Any]]:
    """The scores on applied texts that `watch` measured, in order; none if there is no file yet."""
    if not path.exists():
        return []

    def whole(score: dict[str, Any]) -> dict[str, Any]:
        return {key: score[key] for key in PRODUCTION_KEYS}

    return read_jsonl(path, whole, "isn't a score as `watch` writes it; delete the line")


def production_of(one: dict[str, Any], production: Sequence[dict[str, Any]]) -> str:
    """The last score on applied texts of an entry's pipeline, which has its counts on test; "" for none."""
    counts = one["counts"][one["system"]]
    last = next((score for score in reversed(production) if score["counts"] == counts), None)
    if last is None:
        return ""
    f = Estimate(*(math.nan if last[key] is None else last[key] for key in ("f", "f_low", "f_high")))
    return f"{stats.format_score(f, last['texts'])} {last['verdict']}"


def entry(
    metrics: dict[str, Any],
    documents: dict[str, np.ndarray],
    keys: Sequence[str],
    *,
    system: str,
    settings: dict[str, str],
    data: dict[str, str],
    date: str,
) -> dict[str, Any]:
    """A result as a line of the history.

    Args:
        metrics: what `evaluate` wrote into metrics.json.
        documents: (documents, 3) of each system.
        keys: `gold_key` of each document.
        system: the packaged one, which is compared.
        data: SHA-256 of each file that determines the result; "test" is one of them.
        date: when it was recorded; not part of its id.
    """
    if system not in documents:
        why = metrics.get("missing", {}).get(system, "")
        raise UserError(f"{system} has no scores in the last evaluation{f' ({why})' if why else '.'}")
    content = {
        "system": system,
        "settings": settings,
        "data": data,
        "documents": metrics["test"]["documents"],
        "scores": metrics["systems"],
        "counts": {name: pack(table) for name, table in documents.items()},
    }
    # the keys follow from the test file's hash, so they aren't part of the id
    identity = hashlib.sha256(json_text(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()[:10]
    return {"id": identity, "date": date} | content | {"keys": "".join(keys)}


def gold_key(record: Record) -> str:
    """Eight characters of a hash over a document's text and its gold spans and categories."""
    spans = sorted((span.start, span.end, span.label) for span in record.spans)
    text = json_text([record.text, spans, record.cats], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def shared(new: dict[str, Any], old: dict[str, Any]) -> tuple[list[int], list[int]]:
    """The rows of both results that are of the same document with the same gold."""
    if new["data"]["test"] == old["data"]["test"]:
        return [*range(new["documents"])], [*range(new["documents"])]
    rows = {key: row for row, key in enumerate(_keys(old))}
    pairs = [(row, rows[key]) for row, key in enumerate(_keys(new)) if key in rows]
    return [row for row, _ in pairs], [row for _, row in pairs]


def _keys(entry: dict[str, Any]) -> list[str]:
    """The keys of an entry's documents; none for entries written before there were keys."""
    text = entry.get("keys", "")
    return [text[i : i + KEY_LENGTH] for i in range(0, len(text), KEY_LENGTH)]


def append(path: Path, history: Sequence[dict[str, Any]], new: dict[str, Any]) -> bool:
    """Add an entry to the file, unless the same result is there; return whether it was added."""
    if any(old["id"] == new["id"] for old in history):
        return False
    write_jsonl(path, (*history, new))
    return True


def baseline_of(history: Sequence[dict[str, Any]], prefix: str, test: str) -> dict[str, Any] | None:
    """The entry to compare with: the one whose id has this prefix, or the first on the same test texts."""
    if not prefix:
        return next((old for old in history if old["data"]["test"] == test), None)
    matches = [old for old in history if old["id"].startswith(prefix)]
    if len(matches) != 1:
        ids = ", ".join(old["id"] for old in history[-10:])
        fits = "more than one result" if matches else "no result"
        raise UserError(f"baseline {prefix!r} is how the id of {fits} begins; the last are {ids}.")
    return matches[0]


def compare(
    pairs: Sequence[tuple[dict[str, Any], dict[str, Any] | None]], *, seed: int = 0
) -> list[EntryComparison | None]:
    """Each first entry against its second on the documents they share; None where there are none."""
    comparisons: list[EntryComparison | None] = []
    for new, old in pairs:
        rows = shared(new, old) if old is not None and old["id"] != new["id"] else ([], [])
        if not rows[0]:
            comparisons.append(None)
            continue
        first, second = (
            unpack(entry["counts"][entry["system"]], entry["documents"])[selected]
            for entry, selected in zip((new, old), rows, strict=True)
        )
        comparisons.append(
            EntryComparison(
                stats.difference(first, second, seed=seed),
                stats.randomisation(first, second, seed=seed),
                len(first),
            )
        )
    compared = [i for i, comparison in enumerate(comparisons) if comparison]
    for i, holm in zip(compared, stats.holm([comparisons[i].p for i in compared]), strict=True):
        comparisons[i] = replace(comparisons[i], holm=holm)
    return comparisons


def f_of(one: dict[str, Any]) -> Estimate:
    """F of the entry's own system, all labels together."""
    scores = one["scores"][one["system"]][ALL]
    return Estimate(*(math.nan if scores[key] is None else scores[key] for key in ("f", "f_low", "f_high")))


def changed_settings(new: dict[str, Any], old: dict[str, Any] | None) -> str:
    """The differences from the previous entry: `seed 0 → 1, other train`; "" for the first."""
    if old is None:
        return ""
    names = sorted({*new["settings"], *old["settings"]})
    parts = [
        f"{name} {old['settings'].get(name, '') or '–'} → {new['settings'].get(name, '') or '–'}"
        for name in names
        if new["settings"].get(name) != old["settings"].get(name)
    ]
    names = sorted({*new["data"], *old["data"]})
    parts += [f"other {name}" for name in names if new["data"].get(name) != old["data"].get(name)]
    return ", ".join(parts) or "same settings and data"


def rows(
    history: Sequence[dict[str, Any]],
    baseline: dict[str, Any] | None,
    *,
    now: str = "",
    last: int = 10,
    production: Sequence[dict[str, Any]] = (),
    seed: int = 0,
) -> list[tuple[str, ...]]:
    """The last entries as text.

    Args:
        now: id of the current result, which is marked.
        production: scores on applied texts.

    Returns:
        Id, date, system, F, differences from the previous and the baseline, changes, F on applied texts.
    """
    start = max(0, len(history) - last)
    shown = range(start, len(history))
    before = [history[i - 1] if i else None for i in shown]
    pairs = [(history[i], old) for i, old in zip(shown, before, strict=True)]
    pairs += [(history[i], baseline) for i in shown]
    compared = compare(pairs, seed=seed)
    table = []
    for k, i in enumerate(shown):
        one, to_previous, to_baseline = history[i], compared[k], compared[k + len(shown)]
        mark = " baseline" if baseline and one["id"] == baseline["id"] else ""
        mark += " now" if one["id"] == now else ""
        other = "other test texts" if before[k] and to_previous is None else ""
        table.append(
            (
                f"{one['id']}{mark}",
                one["date"],
                one["system"],
                stats.format_score(f_of(one), one["documents"]),
                _shown(to_previous, one["documents"]) or other,
                _shown(to_baseline, one["documents"]),
                changed_settings(one, before[k]),
                production_of(one, production),
            )
        )
    return table


def _shown(comparison: EntryComparison | None, documents: int) -> str:
    if comparison is None:
        return ""
    places = stats.fine_digits(comparison.documents, comparison.difference.half_width)
    on = f" (n={comparison.documents:,})" if comparison.documents < documents else ""
    return f"{stats.decimals(comparison.difference.value, places)} {comparison.verdict()}{on}"


def pack(counts: np.ndarray) -> str:
    """Counts (documents, 3) as text, compressed."""
    return base64.b85encode(zlib.compress(counts.astype("<u2").tobytes(), 9)).decode()


def unpack(text: str, documents: int) -> np.ndarray:
    """The counts that `pack` wrote; a ValueError if they aren't of so many documents."""
    try:
        flat = np.frombuffer(zlib.decompress(base64.b85decode(text)), dtype="<u2")
    except zlib.error as error:
        raise ValueError("no packed counts") from error
    return flat.reshape(documents, 3).astype(np.int64)


def write_documents(path: Path, gold: Sequence[Record], counts: dict[str, np.ndarray]) -> None:
    """True positives, false positives and false negatives of each system, one document per line."""
    write_jsonl(
        path,
        (
            {"id": record.id, "key": gold_key(record)}
            | {system: table[row].tolist() for system, table in counts.items()}
            for row, record in enumerate(gold)
        ),
    )


def read_documents(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """The counts of each system, and the documents' keys, as `write_documents` wrote them."""
    try:
        lines = [json.loads(line) for line in path.read_bytes().split(b"\n") if line.strip()]
        systems = [name for name in dict(lines[0]) if name not in ("id", "key")]
        if not systems:
            raise ValueError
        counts = {
            name: np.array([line[name] for line in lines], dtype=np.int64).reshape(-1, 3) for name in systems
        }
        return counts, [line["key"] for line in lines]
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; run `weasel run evaluate` first.") from None
    except (ValueError, KeyError, TypeError, IndexError):
        raise UserError(f"{path}: isn't what `evaluate` writes; run `weasel run evaluate` again.") from None

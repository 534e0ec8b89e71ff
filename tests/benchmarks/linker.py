"""How fast the linker is, how long its index takes to build, how much memory it needs, by size of table."""

import random
import re
import resource
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import spacy
from spacy.tokens import Doc

import components.linker  # noqa: F401  (registers the component)
from ie.data.gazetteer import GazetteerEntry, read_gazetteer
from ie.training.linker_training import rows

SYLLABLES = re.findall("..", "badofegahoixjukelomanorospequirasetoulvewexyaziacbri")
TRADES = ("Capital", "Energy", "Foods", "Health", "Labs", "Logistics", "Partners", "Software", "Ventures")
FORMS = ("", "", "Inc.", "Ltd", "GmbH", "AG", "LLC", "plc")
KINDS = ("as written", "other case, no legal form", "a letter wrong", "unknown")


def names(n: int, seed: int = 0) -> list[str]:
    """Made names of companies, about as long and as alike as real ones."""
    rng = random.Random(seed)
    words = ["".join(rng.choices(SYLLABLES, k=rng.choice((3, 3, 4)))).title() for _ in range(20_000)]
    found: dict[str, None] = {}
    while len(found) < n:
        parts = [rng.choice(words), rng.choice((rng.choice(words), rng.choice(TRADES))), rng.choice(FORMS)]
        if rng.random() < 0.4:
            parts.insert(1, rng.choice(words))
        found[" ".join(part for part in parts if part)] = None
    return list(found)


def mention(name: str, kind: str, rng: random.Random) -> str:
    """A name as somebody might write it, in one of KINDS."""
    if kind == "as written":
        return name
    words = name.split()
    bare = " ".join(words[:-1] if len(words) > 2 and words[-1] in FORMS else words)
    if kind == "other case, no legal form":
        return bare.upper()
    if kind == "a letter wrong":
        i = rng.randrange(1, len(bare))
        return f"{bare[:i]}{rng.choice('aeioustr')}{bare[i + 1 :]}"
    return " ".join("".join(rng.sample(part, len(part))) for part in words)


def measure(table: Path | int, forms: Sequence[str], mentions: int, seed: int = 0) -> dict[str, Any]:
    """Build, save and load an index in processes of their own and link mentions.

    Args:
        table: a CSV file, or the number of made names.
        mentions: linked for each kind.

    Returns:
        `names`, `build_s`, `build_mb` (peak of the process), `disk_mb`, `load_s`, `memory_mb` (what loading
        and linking added), and for each kind of mention `median_ms`, `p95_ms` and the share `found`. Times
        are of the processor, which other programs on the machine don't lengthen; all runs in one thread.
    """
    # A fresh process for each, so that the memory of one isn't counted for the other.
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool,
    ):
        built = pool.submit(_build, table, forms, folder).result()
        return built | pool.submit(_use, table, folder, mentions, seed).result()


def _entries(table: Path | int) -> list[GazetteerEntry]:
    if isinstance(table, int):
        return [GazetteerEntry(str(i), name, (), {}) for i, name in enumerate(names(table))]
    return read_gazetteer(table)


def _build(table: Path | int, forms: Sequence[str], folder: str) -> dict[str, Any]:
    linker = spacy.blank("en").create_pipe("linker")
    entries = rows(_entries(table))
    started = time.process_time()
    linker.initialize(rows=entries, legal_forms=forms)
    linker.to_disk(Path(folder) / "linker")
    seconds = time.process_time() - started
    size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "names": len(linker.table.arrays["owners"]),
        "build_s": seconds,
        "build_mb": peak / 1e3,
        "disk_mb": size / 1e6,
    }


def _use(table: Path | int, folder: str, n: int, seed: int) -> dict[str, Any]:
    entries = _entries(table)
    rng = random.Random(seed)
    chosen = [entries[rng.randrange(len(entries))] for _ in range(n)]
    spoken = {kind: [mention(entry.name, kind, rng) for entry in chosen] for kind in KINDS}
    del entries
    nlp = spacy.blank("en")
    before = psutil.Process().memory_info().rss
    started = time.process_time()
    linker = nlp.create_pipe("linker").from_disk(Path(folder) / "linker")
    load = time.process_time() - started
    result: dict[str, Any] = {"load_s": load, "kinds": {}}
    for kind, texts in spoken.items():
        times, found = [], 0
        for entry, text in zip(chosen, texts, strict=True):
            span = Doc(nlp.vocab, [*text.split(), "raises", "$", "5", "million"])[: len(text.split())]
            started = time.process_time()
            answer, _ = linker.link(span)
            times.append(time.process_time() - started)
            found += answer == entry.id
        result["kinds"][kind] = {
            "median_ms": float(np.median(times)) * 1e3,
            "p95_ms": float(np.percentile(times, 95)) * 1e3,
            "found": found / n,
        }
    result["memory_mb"] = (psutil.Process().memory_info().rss - before) / 1e6
    return result

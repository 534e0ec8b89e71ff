"""Does the diagnosis name faults that were put into a healthy project, and is it silent without one?"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks import faults

from ie.data import records, splits
from ie.data.records import ReadReport, Record, Span
from ie.diagnosis import annotation_tests, data_tests, recorded_training, training_tests, verdict
from ie.diagnosis.findings import Finding, ProjectData
from ie.training import jobs

# Texts of each split: small enough for fifty diagnoses, large enough for statistics.
SIZES = {"train": 400, "dev": 120, "test": 150}
# As printed; plain ASCII would hide in which unit offsets are counted.
TYPOGRAPHY = str.maketrans({"'": "’", '"': "”"})


@dataclass(frozen=True)
class DataSet:
    """Files of annotated texts, and the names that labels have elsewhere.

    Attributes:
        same: label here -> label in the other data set, for dev from another domain.
    """

    name: str
    paths: tuple[Path, ...]
    same: dict[str, str]


def load(data: DataSet, lang: str) -> splits.Split:
    """All texts of a data set, split as the project does, so that the healthy ones don't leak."""
    nlp = records.blank(lang)
    found: dict[str, Record] = {}
    for path in data.paths:
        report = ReadReport()
        read = records.read_records(
            path,
            tokenizer=nlp.tokenizer,
            misaligned="drop",
            duplicates="first",
            bad_relations="drop",
            report=report,
        )
        for record in records.accepted(read):
            text = record.text.translate(TYPOGRAPHY)
            spans = [Span(start=s.start, end=s.end, label=s.label) for s in record.spans]
            found.setdefault(text, Record(text=text, spans=spans))
    return splits.assign(list(found.values()), [], test_percent=30, dev_percent=15)


def sample(split: splits.Split, config: Path, lang: str, seed: int) -> ProjectData:
    """A healthy project of some of the texts."""
    rng = np.random.default_rng(seed)
    texts = {}
    for side, size in SIZES.items():
        rows: list[Record] = getattr(split, side)
        some = rng.choice(len(rows), min(size, len(rows)), replace=False)
        texts[side] = [rows[i] for i in sorted(some.tolist())]
    labels = tuple(sorted({s.label for side in SIZES for r in getattr(split, side) for s in r.spans}))
    return ProjectData(config, labels, texts, lang=lang, overrides={"nlp.lang": lang}, seed=seed)


def renamed(project: ProjectData, same: dict[str, str]) -> ProjectData:
    """The project with the labels of another; spans of labels that the other hasn't are left out."""
    texts = {
        side: [
            Record(
                text=r.text,
                spans=[
                    Span(start=s.start, end=s.end, label=same[s.label]) for s in r.spans if s.label in same
                ],
            )
            for r in rows
        ]
        for side, rows in project.texts.items()
    }
    return ProjectData(project.config, project.labels, texts, lang=project.lang)


@dataclass(frozen=True)
class DiagnosisJob:
    """One diagnosis: of a fault by name, or of the healthy project (fault "")."""

    data: DataSet
    other: DataSet
    fault: str
    config: Path
    lang: str
    seed: int


def diagnosed(job: DiagnosisJob) -> dict[str, Any]:
    """What the diagnosis says of one project.

    Returns:
        `named`, the finding named first (None for none), its `cause`; of healthy projects also the `case` and
        the findings to `watch`; `seconds`.
    """
    project = sample(load(job.data, job.lang), job.config, job.lang, job.seed)
    began = time.perf_counter()
    result: dict[str, Any] = {"data": job.data.name, "fault": job.fault, "seed": job.seed}
    if job.fault:
        other = renamed(sample(load(job.other, job.lang), job.config, job.lang, job.seed), job.other.same)
        fault = next(fault for fault in faults.all_faults() if fault.name == job.fault)
        broken = fault.inject(project, other, np.random.default_rng(job.seed))
        began = time.perf_counter()
        first = first_broken(broken)
        result["expected"] = fault.finding
    else:
        found = verdict.diagnose(faults.healthy(project))
        first = found.first
        result |= {"case": found.case, "watch": [f.name for f in found.findings if f.verdict == "watch"]}
        result["false_alarms"] = [f.name for f in found.findings if f.verdict == "broken"]
    result |= {"named": first.name if first else None, "cause": first.cause if first else ""}
    return result | {"seconds": round(time.perf_counter() - began, 1)}


def first_broken(project: ProjectData) -> Finding | None:
    """The cause that `diagnose` names, without running the tests that come after it in `verdict.ORDER`."""
    groups = (
        lambda: data_tests.run(project, recorded_training.tokenizer_pipeline(project)),
        lambda: annotation_tests.run(project),
        lambda: training_tests.run(project),
    )
    return next((cause for group in groups if (cause := verdict.first_cause(list(group())))), None)


def run(
    data: Sequence[DataSet],
    *,
    config: Path,
    lang: str,
    healthy: int,
    seed: int,
    workers: int,
    only: Sequence[str] = (),
    progress: Callable[[dict[str, Any]], Any],
) -> list[dict[str, Any]]:
    """Every fault and `healthy` subsamples without one, on each of two data sets.

    Args:
        workers: diagnoses at a time; 0 for one a core as far as the memory goes.
        only: names of the faults to try; all if empty.
        progress: called with each result.

    Raises:
        UserError: a diagnosis failed, or was killed.
    """
    names = [fault.name for fault in faults.all_faults() if not only or fault.name in only]
    diagnoses = []
    for mine, other in zip(data, reversed(data), strict=True):
        diagnoses += [DiagnosisJob(mine, other, name, config, lang, seed) for name in names]
        diagnoses += [DiagnosisJob(mine, other, "", config, lang, seed + 1 + i) for i in range(healthy)]
    results: dict[int, dict[str, Any]] = {}
    workers = min(workers or jobs.default_workers(), max(len(diagnoses), 1))
    for i, result in jobs.on_cores(diagnosed, enumerate(diagnoses), workers, what="diagnoses"):
        results[i] = result
        progress(result)
    return [results[i] for i in range(len(diagnoses))]


def table(results: Sequence[dict[str, Any]], data: Sequence[DataSet]) -> list[tuple[str, ...]]:
    """A row a fault, then the healthy runs: what was named first on each data set, ✔ if it is right."""
    rows = []
    for name in dict.fromkeys(r["fault"] for r in results if r["fault"]):
        cells = []
        for one in data:
            entry = next(r for r in results if r["fault"] == name and r["data"] == one.name)
            right = entry["named"] == entry["expected"]
            cells.append(f"✔ {entry['cause']}" if right else f"✘ {entry['cause'] or 'nothing'}")
        rows.append((name, *cells))
    faulty = [[r for r in results if r["fault"] and r["data"] == one.name] for one in data]
    rows.append(("named", *(f"{sum(r['named'] == r['expected'] for r in f)} of {len(f)}" for f in faulty)))
    calm = [[r for r in results if not r["fault"] and r["data"] == one.name] for one in data]
    rows.append(("healthy: false alarms", *(f"{sum(bool(r['named']) for r in c)} of {len(c)}" for c in calm)))
    rows.append(
        (
            "healthy: case",
            *(
                ", ".join(f"{k} {sum(r['case'] == k for r in c)}" for k in sorted({r["case"] for r in c}))
                for c in calm
            ),
        )
    )
    return rows

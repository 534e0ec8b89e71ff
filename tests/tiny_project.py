"""A project to diagnose: companies and cities in sentences of four kinds, so that trainings take seconds."""

from collections.abc import Callable

import numpy as np
from running import ROOT

from ie.data.records import Record, Span
from ie.diagnosis import data_tests, recorded_training
from ie.diagnosis.findings import Finding, ProjectData

CONFIG = ROOT / "configs" / "efficient.cfg"
SMALL = {
    "components.tok2vec.model.encode.width": 32,
    "components.tok2vec.model.encode.depth": 2,
    "components.ner.model.hidden_width": 32,
}
NAMES = [a + b for a in ("Vel", "Hoo", "Ank", "Tor", "Bex", "Lun") for b in ("to", "li", "er", "ma", "sy")]
CITIES = ["Oslo", "Bergen", "Turku", "Aarhus", "Malmö", "Gdansk", "Lübeck", "Riga"]
FRAMES = [
    "{} sold {} boats in {} last week.",
    "On Monday {} bought {} old mills near {}, it said.",
    "Shares of {} fell {} points after the strike in {}.",
    "The €{1} deal of {0} was signed in {2} by its owners.",
]


def text(i: int) -> Record:
    """An example that a model can learn from: a company and a city."""
    name, city = NAMES[i * 7 % len(NAMES)], CITIES[(i * 5 + i // 8) % len(CITIES)]
    words = FRAMES[i % len(FRAMES)].format(name, 1000 + i, city)
    spans = [(words.index(name), name, "COMPANY"), (words.index(city), city, "CITY")]
    return Record(text=words, spans=[Span(start=s, end=s + len(t), label=x) for s, t, x in sorted(spans)])


def project(train: int = 120, dev: int = 40, test: int = 40, **options) -> ProjectData:
    texts, start = {}, 0
    for side, n in (("train", train), ("dev", dev), ("test", test)):
        texts[side] = [text(i) for i in range(start, start + n)]
        start += n
    return ProjectData(CONFIG, ("COMPANY", "CITY"), texts, overrides=SMALL, **options)


def inject(fault: Callable, healthy: ProjectData) -> ProjectData:
    return fault(healthy, healthy, np.random.default_rng(0))


def data_findings(checked: ProjectData) -> dict[str, Finding]:
    return {f.name: f for f in data_tests.run(checked, recorded_training.tokenizer_pipeline(checked))}


def broken(findings: dict[str, Finding]) -> set[str]:
    return {name for name, finding in findings.items() if finding.verdict == "broken"}

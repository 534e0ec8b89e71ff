"""A pipeline that is wrong about some of its entities, in a way that can be learned."""

import random
from pathlib import Path

import spacy
from running import write_docbin
from spacy.language import Language

from ie.data.records import Record, Span

NAMES = [a + b for a in ("Vel", "Hoo", "Ank", "Tor", "Bex", "Lun") for b in ("to", "li", "er", "ma", "sy")]
COMPANIES = (
    "{} sold its mills for a song.",
    "Shares of {} fell after the strike.",
    "On Monday {} bought boats.",
)
PEOPLE = ("Mr. {} said nothing at all.", "Mrs. {} likes her old boat.")


def name_pipeline() -> Language:
    """Marks every name as a company, even where it is a person's."""
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "COMPANY", "pattern": name} for name in NAMES])
    return nlp


def gold(n: int, seed: int, people: float = 0.3) -> list[Record]:
    """Texts in which a share of the names are people's."""
    draw, records = random.Random(seed), []
    for _ in range(n):
        company, name = draw.random() >= people, draw.choice(NAMES)
        text = draw.choice(COMPANIES if company else PEOPLE).format(name)
        start = text.index(name)
        spans = [Span(start=start, end=start + len(name), label="COMPANY")] if company else []
        records.append(Record(text=text, spans=spans))
    return records


def write_project(folder: Path, dev: int = 100, people: float = 0.3) -> Path:
    """FOLDER/model-best, train.spacy and dev.spacy; returns the pipeline's folder."""
    nlp = name_pipeline()
    folder.mkdir(exist_ok=True)
    nlp.to_disk(folder / "model-best")
    write_docbin(folder / "train.spacy", gold(120, 0, people), nlp)
    write_docbin(folder / "dev.spacy", gold(dev, 1, people), nlp)
    return folder / "model-best"

"""A corpus of four sentences, to train on in seconds."""

from pathlib import Path

import spacy
from spacy.tokens import DocBin

TEXTS = [
    ("Hooli raises $5m", [(0, 5, "COMPANY"), (13, 16, "MONEY")]),
    ("ACME Ventures lends €2m to Initech", [(0, 13, "COMPANY"), (20, 23, "MONEY"), (27, 34, "COMPANY")]),
    ("Nothing was sold today", []),
    ("Globex pays £3m", [(0, 6, "COMPANY"), (12, 15, "MONEY")]),
]


def write_corpus(path: Path, examples: list[tuple[str, list]]) -> Path:
    nlp = spacy.blank("en")
    docs = DocBin()
    for text, spans in examples:
        doc = nlp(text)
        doc.ents = [doc.char_span(*span, alignment_mode="expand") for span in spans]
        docs.add(doc)
    docs.to_disk(path)
    return path

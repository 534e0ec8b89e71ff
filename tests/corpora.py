"""Small corpora, to train on in seconds."""

from pathlib import Path

import spacy
from running import scheme, write_docbin, write_lines
from spacy.tokens import DocBin

from ie.data.records import Record, Span, blank

TEXTS = [
    ("Hooli raises $5m", [(0, 5, "COMPANY"), (13, 16, "MONEY")]),
    ("ACME Ventures lends €2m to Initech", [(0, 13, "COMPANY"), (20, 23, "MONEY"), (27, 34, "COMPANY")]),
    ("Nothing was sold today", []),
    ("Globex pays £3m", [(0, 6, "COMPANY"), (12, 15, "MONEY")]),
]
# What `write_split` annotates.
LABELS = ("COMPANY", "CITY")


def write_corpus(path: Path, examples: list[tuple[str, list]]) -> Path:
    nlp = spacy.blank("en")
    docs = DocBin()
    for text, spans in examples:
        doc = nlp(text)
        doc.ents = [doc.char_span(*span, alignment_mode="expand") for span in spans]
        docs.add(doc)
    docs.to_disk(path)
    return path


def sales(n: int, start: int = 0) -> list[Record]:
    """Texts of one sentence, numbered from `start`, each with a COMPANY and a CITY."""
    records = []
    for i in range(start, start + n):
        text = f"{('Velto', 'Hooli', 'Anker')[i % 3]} sold {i} boats in Oslo."
        oslo = text.index("Oslo")
        spans = [Span(start=0, end=5, label="COMPANY"), Span(start=oslo, end=oslo + 4, label="CITY")]
        records.append(Record(text=text, spans=spans))
    return records


def write_split(folder: Path, **sizes: int) -> dict[str, list[Record]]:
    """Parts of a split of that many texts, none in two parts, each as .jsonl and .spacy; and llm.cfg."""
    (folder / "llm.cfg").write_text(scheme(*LABELS), encoding="utf-8")
    parts, start = {}, 0
    for name, size in sizes.items():
        parts[name] = sales(size, start)
        start += size
        write_docbin(folder / f"{name}.spacy", parts[name], blank("en"))
        write_lines(folder / f"{name}.jsonl", (record.to_line() for record in parts[name]))
    return parts

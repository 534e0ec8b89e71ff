"""spaCy's DocBin (`.spacy`): spans are `ents`, categories `cats`; the rest is in the Docs' user data.

Spans that overlap are `doc.spans["sc"]`, where spaCy's `spancat` looks for them.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from spacy.tokens import Doc, DocBin

from components.span_classifier import SPANS_KEY, set_spans
from ie.core.errors import UserError
from ie.core.files import atomic_write, json_text
from ie.core.text import one_line
from ie.data.docs import from_doc
from ie.data.formats.conversion import Conversion, Placed, make, parse_json
from ie.data.records import Record, overlap

KEY = "ie.record"


def read(path: Path, job: Conversion) -> Iterator[Placed]:
    """A record for each Doc."""
    try:
        docs = list(DocBin().from_bytes(path.read_bytes()).get_docs(job.nlp.vocab))
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; create it or correct the path.") from None
    except IsADirectoryError:
        raise UserError(f"{path}: this is a folder; name a .spacy file inside it.") from None
    except Exception as error:  # zlib's, msgpack's and spaCy's own, by where the bytes are wrong
        reason = one_line(error) or type(error).__name__
        raise UserError(f"{path}: can't be read as a DocBin ({reason[:200]}); write it again.") from None
    for number, doc in enumerate(docs, start=1):
        place = f"{path}: Doc {number}"
        _choose_spans(doc, job)
        data = from_doc(doc).model_dump(exclude_unset=True)
        rest = parse_json(place, doc.user_data.get(KEY, "{}"))
        groups = [name for name, group in doc.spans.items() if len(group) and name != SPANS_KEY]
        job.lost["span groups"] += len(groups)
        annotated = SPANS_KEY in doc.spans or doc.has_annotation("ENT_IOB")
        job.lost["Docs without entities or categories"] += not annotated and not doc.cats
        job.lost["user data"] += len(set(doc.user_data) - {KEY})
        job.lost["ids of entities"] += sum(bool(ent.ent_id_) for ent in doc.ents)
        for name in ("TAG", "POS", "DEP", "LEMMA", "MORPH"):
            job.lost[f"{name} of Docs"] += doc.has_annotation(name)
        if groups and not data["spans"] and not doc.cats and KEY not in doc.user_data:
            job.refuse(place, [f"doc.spans[{name!r}]" for name in groups])
        extras = {(s["start"], s["end"], s["label"]): s for s in rest.get("spans", [])}
        order = list(extras)
        spans = [_completed(span, extras.get(_key(span), {})) for span in data["spans"]]
        # in their original order, which a Doc doesn't keep; added ones come last
        spans.sort(key=lambda s: order.index(_key(s)) if _key(s) in extras else len(order))
        fields = {**data, **rest, "spans": spans}
        if [_key(span) for span in spans] != order and fields.get("relations"):
            job.lost["relations (spans were changed)"] += len(fields.pop("relations"))
        yield place, make(place, **fields)


def write(path: Path, items: Iterable[Record], job: Conversion) -> int:
    """Write accepted records as training data; tokens divided by a span are counted."""
    binary = DocBin(attrs=["ENT_IOB", "ENT_TYPE", "ENT_KB_ID"], store_user_data=True)
    n = 0
    for record in job.gold_alone(items):
        binary.add(_doc(record, job))
        n += 1
    with atomic_write(path, "wb") as file:
        file.write(binary.to_bytes())
    return n


def _choose_spans(doc: Doc, job: Conversion) -> None:
    """Leave the Doc either entities or spans that may overlap, and count the others as lost."""
    if SPANS_KEY not in doc.spans:
        return
    group = len(doc.spans[SPANS_KEY]) > 0
    if not doc.ents or (group and job.scheme and job.scheme.overlapping):
        job.lost["entities"] += bool(doc.ents)
    else:
        job.lost["span groups"] += group
        del doc.spans[SPANS_KEY]


def _completed(span: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    # spaCy stores an entity's link as text, whatever its type was.
    same = str(extra.get("kb_id") or "") == span.get("kb_id", "")
    return {**span, **extra} if same else {**extra, **span}


def _key(span: dict[str, Any]) -> tuple[int, int, str]:
    return span["start"], span["end"], span["label"]


def _doc(record: Record, job: Conversion) -> Doc:
    tokens = job.tokens(record)
    if len(tokens) == len(doc := job.nlp.tokenizer(record.text)):
        cut = doc
    else:
        job.lost["tokens of the training tokenizer (cut by a span)"] += len(tokens) - len(doc)
        starts = [start for start, _ in tokens[1:]] + [len(record.text)]
        words, spaces = [], []
        for (start, end), following in zip(tokens, starts, strict=True):
            words.append(record.text[start:end])
            spaces.append(following > end)
        cut = Doc(job.nlp.vocab, words=words, spaces=spaces)
    spans = []
    for span in record.spans:
        kb_id = str((span.model_extra or {}).get("kb_id") or "")
        spans.append(cut.char_span(span.start, span.end, label=span.label, kb_id=kb_id))
    overlapping = overlap(record.spans) or bool(job.scheme and job.scheme.overlapping)
    set_spans(cut, spans, overlapping=overlapping)
    cut.cats = dict(record.cats)
    rest = record.model_dump(exclude_unset=True, exclude={"text", "cats"})
    in_order = all(one.start < other.start for one, other in pairwise(record.spans))
    if in_order and not record.relations and not any(span.model_extra for span in record.spans):
        rest.pop("spans", None)  # the Doc has everything
    if rest:
        cut.user_data[KEY] = json_text(rest)
    return cut

"""What a pipeline says of a text, as a record of the contract, whichever components it has."""

from spacy.tokens import Doc

from ie.data.corpora import full_record
from ie.data.records import Record, from_doc

# Of scores: texts worked on in other batches differ behind these.
DIGITS = 4


def to_record(doc: Doc) -> Record:
    """Spans with their `text`, the id they link to (`kb_id`) and their amount; relations, categories.

    An amount is `money` as the component says it, and where it is definite also `value`, as gold has it:
    "5000000 USD", or "10-15 EUR".
    """
    found = full_record(doc) if doc.has_extension("relations") else from_doc(doc)
    for span, ent in zip(found.spans, doc.ents, strict=True):
        span.text = ent.text
        money = ent._.money if ent.has_extension("money") else None
        if money:
            span.money = money
            if money["low"] is not None:
                ends = dict.fromkeys((money["low"], money["high"]))
                span.value = f"{'-'.join(ends)} {money['currency']}"
    if found.cats:
        found.cats = {label: round(score, DIGITS) for label, score in found.cats.items()}
    return found

"""How sure the pipeline is of links, amounts, relations and rows: the probability that all of it is right."""

from spacy.tokens import Span

REQUIREMENTS: tuple[str, ...] = ()

for _name in ("link_confidence", "amount_confidence"):
    if not Span.has_extension(_name):
        Span.set_extension(_name, default=None)

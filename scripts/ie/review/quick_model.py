"""A small model and rules that are trained on the answers so far, within seconds."""

import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from spacy.language import Language
from spacy.training import Example
from spacy.util import fix_random_seed, minibatch

from ie.data import mined_rules
from ie.data.docs import from_doc, to_doc
from ie.data.language import Lang
from ie.data.records import Record, blank

WIDTH, DEPTH, BATCH, DROPOUT, LEARN_RATE = 64, 3, 8, 0.2, 0.002
STEPS, MORE_STEPS = 120, 60  # updates without the newest answers, then with them
# The newest answers judge the model: this share of them, at least so many texts.
HELD_OUT, HELD_OUT_TEXTS = 0.2, 5
# A wrong suggestion costs more keys than a right one saves. A label needs this many suggestions to be judged.
PRECISION, SUGGESTED = 0.5, 3
MODEL = {
    "@architectures": "spacy.TransitionBasedParser.v2",
    "state_type": "ner",
    "extra_state_tokens": False,
    "hidden_width": WIDTH,
    "maxout_pieces": 2,
    "use_upper": True,
    "nO": None,
    "tok2vec": {
        "@architectures": "spacy.Tok2Vec.v2",
        "embed": {
            "@architectures": "spacy.MultiHashEmbed.v2",
            "width": WIDTH,
            "attrs": ["NORM", "PREFIX", "SUFFIX", "SHAPE"],
            "rows": [2000, 500, 1000, 1000],
            "include_static_vectors": False,
        },
        "encode": {
            "@architectures": "spacy.MaxoutWindowEncoder.v2",
            "width": WIDTH,
            "depth": DEPTH,
            "window_size": 1,
            "maxout_pieces": 3,
        },
    },
}


@dataclass(frozen=True)
class QuickTraining:
    """The result of a training on a number of `answers`: rules, and a model as bytes, empty if there is none.

    The model suggests only `labels`: those for which at least half of its suggestions in the newest answers
    were right. `right` and `suggested` count these suggestions by label.
    """

    answers: int
    right: Counter[str]
    suggested: Counter[str]
    labels: frozenset[str]
    model: bytes
    rules: tuple[mined_rules.MinedRule, ...]


def train(
    answers: Sequence[Record], lang: Lang, priority: int = 19, *, rules_only: bool = False
) -> QuickTraining:
    """Train on answers, oldest first; the same answers give the same model.

    The model is first trained on all but the newest answers and evaluated on these, then trained on all.

    Args:
        priority: added to the process's niceness.
        rules_only: train no model, which can't find spans that overlap.
    """
    os.nice(priority)
    held_out = max(HELD_OUT_TEXTS, ceil(HELD_OUT * len(answers)))
    older, newest = answers[:-held_out], answers[-held_out:]
    nlp = empty(lang)
    rules = tuple(mined_rules.mine(answers, nlp))
    right: Counter[str] = Counter()
    suggested: Counter[str] = Counter()
    labels: frozenset[str] = frozenset()
    content = b""
    if not rules_only and any(record.spans for record in older):
        fix_random_seed(0)
        optimizer = nlp.initialize(lambda: _examples(answers, nlp))
        optimizer.learn_rate = LEARN_RATE
        _update(nlp, optimizer, older, STEPS)
        for record in newest:
            gold = {(span.start, span.end, span.label) for span in record.spans}
            spans = {(span.start, span.end, span.label) for span in from_doc(nlp(record.text)).spans}
            right.update(label for *_, label in gold & spans)
            suggested.update(label for *_, label in spans)
        labels = frozenset(
            label for label, n in suggested.items() if n >= SUGGESTED and right[label] >= PRECISION * n
        )
        if labels:
            _update(nlp, optimizer, answers, MORE_STEPS)
            content = nlp.to_bytes()
    return QuickTraining(len(answers), right, suggested, labels, content, rules)


def empty(lang: Lang) -> Language:
    """An untrained pipeline; the bytes of a trained model are loaded into it."""
    nlp = blank(lang)
    nlp.add_pipe("ner", config={"model": MODEL})
    return nlp


def _examples(records: Sequence[Record], nlp: Language) -> list[Example]:
    return [Example(nlp.make_doc(record.text), to_doc(record, nlp)) for record in records]


def _update(nlp: Language, optimizer: object, records: Sequence[Record], steps: int) -> None:
    examples, order = _examples(records, nlp), random.Random(0)
    while steps > 0:
        order.shuffle(examples)
        for batch in minibatch(examples, BATCH):
            nlp.update(batch, drop=DROPOUT, sgd=optimizer)
            steps -= 1
            if steps == 0:
                break

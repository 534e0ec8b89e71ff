"""Training of the linker on reviewed links.

The features describe how well a mention and a name match, and the context; logistic regressions weight them.
Word statistics (how rare each word is, which kind of company it indicates) come from the same training texts,
from other folds than those whose features use them.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression

from components.linker import FEATURES, NIL, Linker, context_features, likeliest, stems, word_weights
from ie.core.errors import UserError
from ie.core.files import read_text
from ie.data.gazetteer import GazetteerEntry
from ie.evaluation.links import LinkedMention, entry_id

FOLDS = 5
# Occurrences that a word needs to indicate a kind of company.
MIN_COUNT = 2


def rows(entries: Iterable[GazetteerEntry]) -> list[dict[str, Any]]:
    """Entries as the component takes them."""
    return [{"id": e.id, "name": e.name, "aliases": list(e.aliases), **e.columns} for e in entries]


def read_forms(path: Path) -> list[str]:
    """Legal forms, one per line.

    Raises:
        UserError: no such file, not UTF-8.
    """
    lines = read_text(path, "create it, empty if none matters").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def fit(linker: Linker, train: Sequence[LinkedMention], dev: Sequence[LinkedMention], seed: int = 0) -> None:
    """Learn the weights on `train` and the threshold below which the answer is NIL on `dev`.

    Raises:
        UserError: the mentions don't have both right and wrong candidates.
    """
    sets = cross_fitted(linker, train)
    wanted = np.concatenate([right for _, right in sets]) if sets else np.zeros(0, bool)
    if not wanted.any() or wanted.all():
        raise UserError(
            "the training texts hold no links to learn from, right and wrong ones; give some spans the kb_id "
            "of an entry of the table, and others NIL."
        )
    link = LogisticRegression(C=10.0, max_iter=2000, random_state=seed)
    link.fit(np.concatenate([features for features, _ in sets]), wanted)
    linker.model = learn(linker, train) | {
        "link": {
            "coefficients": [round(float(w), 6) for w in link.coef_[0]],
            "intercept": round(float(link.intercept_[0]), 6),
        },
        "choice": choice(sets),
        "threshold": 0.0,
    }
    linker.model["threshold"] = threshold(linker, dev)


def cross_fitted(linker: Linker, train: Sequence[LinkedMention]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Features of each mention's candidates, with word statistics of other texts, and which one is right."""
    folds = _folds(train)
    sets = []
    for held_out in range(FOLDS):
        knowledge = learn(linker, [m for m, f in zip(train, folds, strict=True) if f != held_out])
        for mention in (m for m, f in zip(train, folds, strict=True) if f == held_out):
            candidates = linker.get_candidates(mention.span)
            if candidates:
                right = np.array([entry_id(linker, c) == mention.gold for c in candidates])
                sets.append((linker.features(mention.span, candidates, knowledge), right))
    return sets


def choice(sets: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[float]:
    """Weights that prefer the right candidate to any other one: a conditional logit, fitted on pairs."""
    pairs = [
        features[right][0] - other
        for features, right in sets
        if right.sum() == 1
        for other in features[~right]
    ]
    if not pairs:
        return [0.0] * len(FEATURES)
    both = np.concatenate([pairs, -np.array(pairs)])
    model = LogisticRegression(C=0.3, fit_intercept=False, max_iter=2000)
    model.fit(both, np.arange(len(both)) < len(pairs))
    return [round(float(w), 6) for w in model.coef_[0]]


def threshold(linker: Linker, dev: Sequence[LinkedMention]) -> float:
    """The total probability of links below which the answer is NIL: the most accurate on dev, the middle of
    ties.
    """
    judged = []
    for mention in dev:
        candidates = linker.get_candidates(mention.span)
        if candidates:
            scores = linker.scores(mention.span, candidates)
            best = entry_id(linker, candidates[likeliest(scores)])
            judged.append((float(scores.sum()), best == mention.gold, mention.gold == NIL))
    totals = sorted({round(total, 6) for total, _, _ in judged})
    cuts = [0.0, *((a + b) / 2 for a, b in pairwise(totals)), 1.0]
    right = [sum(linked if total >= cut else nil_ for total, linked, nil_ in judged) for cut in cuts]
    best_cuts = [cut for cut, n in zip(cuts, right, strict=True) if n == max(right)]
    return round(best_cuts[len(best_cuts) // 2], 6)


def learn(linker: Linker, train: Sequence[LinkedMention]) -> dict[str, Any]:
    """Word statistics of training texts: `kinds`, `idf`, `rare` (see `Linker.features`)."""
    idf, rare = word_weights(stems(text) for text in dict.fromkeys(m.record.text for m in train))
    return {
        "kinds": _kind_weights(linker, [m for m in train if m.gold != NIL]),
        "idf": {stem: round(value, 4) for stem, value in idf.items()},
        "rare": round(rare, 4),
    }


def _kind_weights(linker: Linker, linked: Sequence[LinkedMention]) -> dict[str, dict[str, float]]:
    """Log-linear weights of context features for each kind of entry ("" is the intercept)."""
    kinds = [linker.facts.get(m.gold, [""])[0] for m in linked]
    known = [(m, kind) for m, kind in zip(linked, kinds, strict=True) if kind]
    if len({kind for _, kind in known}) < 2:
        return {}
    contexts = [context_features(m.span, linker.neighbours(m.span)) for m, _ in known]
    seen = Counter(name for names in contexts for name in names)
    vectoriser = DictVectorizer()
    matrix = vectoriser.fit_transform([{n: 1.0 for n in names if seen[n] >= MIN_COUNT} for names in contexts])
    model = LogisticRegression(C=0.3, max_iter=2000)
    model.fit(matrix, [kind for _, kind in known])
    names = vectoriser.get_feature_names_out()
    coefficients, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        coefficients, intercepts = np.stack([-coefficients[0], coefficients[0]]) / 2, [0.0, 0.0]
    return {
        str(kind): {"": round(float(intercept), 4)}
        | {str(n): round(float(w), 4) for n, w in zip(names, row, strict=True) if abs(w) > 1e-3}
        for kind, row, intercept in zip(model.classes_, coefficients, intercepts, strict=True)
    }


def _folds(train: Sequence[LinkedMention]) -> list[int]:
    """The fold of each mention; those of one text share it."""
    order = {text: i for i, text in enumerate(dict.fromkeys(m.record.text for m in train))}
    return [order[m.record.text] % FOLDS for m in train]

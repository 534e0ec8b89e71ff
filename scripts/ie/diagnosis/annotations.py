"""Tests of the annotations against out-of-fold predictions of a simple model (see `ie.diagnosis.tokens`)."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from spacy.tokens import Doc

from ie.diagnosis import thresholds as at
from ie.diagnosis import tokens as model
from ie.diagnosis.project import Finding, Project, enough, percent, shown, untested
from ie.records import Record

PLACES = {
    "name": "places",
    "group": "data",
    "hypothesis": "The annotated places have nothing to do with the words.",
    "question": "No model can rank labelled tokens above others in texts that it hasn't seen.",
    "test": "Average precision of out-of-fold predictions of a linear model, chance taken off.",
}
TYPES = {
    "name": "types",
    "group": "data",
    "hypothesis": "The labels of the spans are shuffled.",
    "question": "Of a labelled token no model can tell which label it has.",
    "test": "Accuracy of out-of-fold predictions on labelled tokens, above the commonest label's.",
}
SHIFTED = {
    "name": "shifted",
    "group": "data",
    "hypothesis": "The annotations are shifted by a token.",
    "question": "A neighbour's form tells better than the token's own whether it is labelled.",
    "test": "Predict labelled or not from the form of one token: the own, the one before, the one behind.",
}
MISSING = {
    "name": "missing",
    "group": "data",
    "hypothesis": "Many spans weren't annotated.",
    "question": "Strings that are annotated elsewhere, and tokens that look most like a name, are left bare.",
    "test": "Each occurrence of a string that is annotated in at least half of the other texts that have it; "
    "the tokens that an out-of-fold model is surest of.",
}
SWAPPED = {
    "name": "swapped",
    "group": "data",
    "hypothesis": "Two labels are exchanged in train.",
    "question": "A model of train takes the one for the other in dev, both ways.",
    "test": "Confusion of labels of the labelled tokens of dev, predicted by a linear model of train.",
}
ERRORS = {
    "name": "label-errors",
    "group": "data",
    "hypothesis": "Some annotations are slips.",
    "question": "Models of the other texts are sure of another answer.",
    "test": "Confident learning (Northcutt and others 2021): a span whose tokens are, out of fold, likelier "
    "another label, with most of the confidence that is usual for that label.",
}
INCONSISTENT = {
    "name": "inconsistent",
    "group": "data",
    "hypothesis": "The same string is labelled now so, now otherwise.",
    "question": "Strings with two labels.",
    "test": "Spans whose label isn't the commonest of their string.",
}


def run(project: Project) -> Iterator[Finding]:
    """All tests of annotations, on train; the exchange of labels on train and dev."""
    yield inconsistent(project)
    if why := enough(project, "train"):
        yield from (untested(told, why) for told in (PLACES, TYPES, SHIFTED, MISSING, SWAPPED, ERRORS))
        return
    tokenize = project.nlp.make_doc
    sample = project.sample("train", at.ANNOTATED_TEXTS)
    tokens = model.tokens(sample, project.labels, tokenize)
    if not tokens.inside.any() or tokens.inside.all():
        why = (
            "All tokens of train are labelled."
            if tokens.inside.any()
            else "No label of the scheme is in train."
        )
        yield from (untested(told, why) for told in (PLACES, TYPES, SHIFTED, MISSING, SWAPPED, ERRORS))
        return
    predicted = model.out_of_fold(tokens.window(), tokens.label, tokens.text, project.seed)
    yield places(tokens, predicted)
    yield types(tokens, predicted)
    yield shifted(tokens, project.seed)
    yield missing(tokens, predicted, tokenize)
    yield swapped(project, tokens)
    yield label_errors(tokens, predicted)


def size(tokens: model.Tokens) -> str:
    """`n=12,000 tokens of 400 texts`."""
    return f"n={len(tokens.label):,} tokens of {len(tokens.records):,} texts"


def places(tokens: model.Tokens, predicted: np.ndarray) -> Finding:
    """Do the words say where the spans are?"""
    skill = model.ranked(tokens.inside, 1 - predicted[:, model.OUTSIDE])
    return Finding(
        **PLACES,
        observation=f"{skill:.2f} of the way from chance (0) to perfect (1); {size(tokens)}.",
        verdict="broken" if skill < at.PLACES else "fine",
        cause="the annotations are in the wrong places: shuffled, or of other texts",
        remedy="Look at some texts with their spans (report of `evaluate`, or `review`): do the offsets "
        "belong to these texts? Then look at what sorts, joins or converts them.",
        figures={"skill": round(skill, 4), "tokens": len(tokens.label)},
    )


def types(tokens: model.Tokens, predicted: np.ndarray) -> Finding:
    """Do the words say which label a span has?"""
    inside = tokens.inside
    counts = np.bincount(tokens.label[inside])
    if (counts > 0).sum() < 2:
        return untested(TYPES, "There is only one label.")
    answers = predicted[inside, 1:].argmax(axis=1) + 1
    right, base = float((answers == tokens.label[inside]).mean()), float(counts.max() / counts.sum())
    skill = (right - base) / (1 - base)
    return Finding(
        **TYPES,
        observation=f"{percent(right)} right, {percent(base)} by always saying the commonest; "
        f"n={inside.sum():,} labelled tokens of {len(tokens.records):,} texts.",
        verdict="broken" if skill < at.TYPES else "fine",
        cause="the labels of the spans are shuffled",
        remedy="Look at some spans with their labels, then at what numbers, maps or joins labels.",
        figures={"right": round(right, 4), "commonest": round(base, 4), "tokens": int(inside.sum())},
    )


def shifted(tokens: model.Tokens, seed: int) -> Finding:
    """Is it the token's own form that tells?"""
    skill = {}
    target = tokens.inside.astype(np.int64)
    for offset in (-1, 0, 1):
        index = tokens.neighbour(offset)
        own = tokens.own[index].multiply((index >= 0)[:, None]).tocsr()
        skill[offset] = model.ranked(tokens.inside, model.out_of_fold(own, target, tokens.text, seed)[:, 1])
    best = max(skill, key=lambda offset: (skill[offset], -abs(offset)))
    broken = skill[best] > skill[0] + at.SHIFTED
    way = "to the right" if best < 0 else "to the left"
    return Finding(
        **SHIFTED,
        observation=f"Own form {skill[0]:.2f}, that of the token before {skill[-1]:.2f}, behind "
        f"{skill[1]:.2f} (0 chance, 1 perfect); {size(tokens)}.",
        verdict="broken" if broken else "fine",
        cause=f"the annotations are shifted by one token {way}" if broken else "",
        remedy="Count from 0, with the end excluded; look for a tokenizer that adds or drops a first token.",
        figures={str(offset): round(value, 4) for offset, value in skill.items()},
    )


def missing(tokens: model.Tokens, predicted: np.ndarray, tokenize: Callable[[str], Doc]) -> Finding:
    """Are strings that are annotated elsewhere left bare, and tokens that look like it?"""
    inside = tokens.inside
    half = max(1, int(inside.sum()) // 2)
    surest = np.argsort(predicted[:, model.OUTSIDE], kind="stable")[:half]
    sure = float(inside[surest].mean())
    occurrences, annotated, bare = consistency(tokens.records, tokenize)
    share = annotated / occurrences if occurrences else 1.0
    judged = occurrences >= at.OCCURRENCES
    broken = judged and share < at.ANNOTATED and sure < at.SUREST
    doubtful = sure < at.SUREST or (judged and share < at.ANNOTATED)
    return Finding(
        **MISSING,
        observation=f"{percent(share)} of {occurrences:,} such occurrences are annotated, and "
        f"{percent(sure)} of the {half:,} surest tokens; {size(tokens)}.",
        verdict="broken" if broken else "watch" if doubtful else "fine",
        cause="many spans weren't annotated",
        remedy="Review texts again with the model's suggestions shown, starting with the examples; agree in "
        "the guidelines on what is annotated and that every occurrence is.",
        figures={
            "occurrences": occurrences,
            "annotated": round(share, 4),
            "surest": half,
            "surest_annotated": round(sure, 4),
        },
        examples=tuple(bare[:5]),
    )


def consistency(texts: Sequence[Record], tokenize: Callable[[str], Doc]) -> tuple[int, int, list[str]]:
    """Occurrences of strings that at least half of the other texts with them annotate; how many are, too.

    Leaving out the text itself keeps the share unbiased: without 30 % of the spans it is .7, however rare the
    strings are. Occurrences within a longer span, or across the edge of one, don't count.

    Returns:
        occurrences, annotated ones, and the bare ones in words.
    """
    docs = [tokenize(record.text) for record in texts]
    spans = []
    for record, doc in zip(texts, docs, strict=True):
        found = (doc.char_span(s.start, s.end) if 0 <= s.start < s.end else None for s in record.spans)
        spans.append({(span.start, span.end) for span in found if span is not None})
    words = [[token.text for token in doc] for doc in docs]
    keys = {tuple(words[i][start:end]) for i, held in enumerate(spans) for start, end in held}
    lengths = defaultdict(set)
    for key in keys:
        lengths[key[0]].add(len(key))
    seen: dict[tuple[str, ...], list[tuple[int, int, bool]]] = defaultdict(list)
    for i, row in enumerate(words):
        for start, word in enumerate(row):
            for length in sorted(lengths.get(word, ())):
                key, end = tuple(row[start : start + length]), start + length
                if key not in keys or len(key) < length:
                    continue
                exact = (start, end) in spans[i]
                if exact or not any(a < end and start < b for a, b in spans[i]):
                    seen[key].append((i, start, exact))
    n = annotated = 0
    bare = []
    for key in sorted(seen):
        for i, start, exact in seen[key]:
            others = [e for j, _, e in seen[key] if j != i]
            if len(others) >= 2 and 2 * sum(others) >= len(others):
                n += 1
                annotated += exact
                if not exact:
                    doc = docs[i]
                    end = doc[start + len(key) - 1]
                    what = shown(texts[i], doc[start].idx, end.idx + len(end))
                    bare.append(
                        f"{texts[i].id}: {what} is bare, {sum(others)} of {len(others)} others aren't"
                    )
    return n, annotated, bare


def swapped(project: Project, tokens: model.Tokens) -> Finding:
    """Does a model of train take two labels for each other in dev?"""
    if len(project.labels) < 2:
        return untested(SWAPPED, "There is only one label.")
    if why := enough(project, "dev"):
        return untested(SWAPPED, why)
    dev = model.tokens(project.sample("dev", at.CHECK_TEXTS), project.labels, project.nlp.make_doc)
    mine, theirs = tokens.inside, dev.inside
    predict = model.fitted(tokens.window()[mine], tokens.label[mine], project.seed)
    answers = predict(dev.window()[theirs], len(project.labels) + 1).argmax(axis=1)
    truth = dev.label[theirs]
    confusion = np.zeros((len(project.labels) + 1,) * 2, dtype=np.int64)
    np.add.at(confusion, (truth, answers), 1)
    totals = confusion.sum(axis=1)
    found, worst = [], 0.0
    for a in range(1, len(totals)):
        for b in range(a + 1, len(totals)):
            if min(totals[a], totals[b]) < at.MINIMUM_SPANS:
                continue
            share = min(confusion[a, b] / totals[a], confusion[b, a] / totals[b])
            worst = max(worst, float(share))
            if share > at.SWAPPED:
                found.append(f"{project.labels[a - 1]} and {project.labels[b - 1]}")
    return Finding(
        **SWAPPED,
        observation=f"The pair confused most is taken for each other in {percent(worst)} of its tokens or "
        f"more; n={len(truth):,} labelled tokens of {len(dev.records):,} dev texts.",
        verdict="broken" if found else "fine",
        cause=f"{' and '.join(found)} are exchanged in train (or in dev)" if found else "",
        remedy="Look at some spans of each in train and in dev, then at what numbers or maps labels.",
        figures={"most_confused": round(worst, 4), "tokens": len(truth)},
    )


def label_errors(tokens: model.Tokens, predicted: np.ndarray) -> Finding:
    """Spans whose label the other texts contradict."""
    inside = tokens.inside
    usual = np.array(
        [
            predicted[tokens.label == c, c].mean() if (tokens.label == c).any() else 1.0
            for c in range(predicted.shape[1])
        ]
    )
    spans: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i in np.flatnonzero(inside & (tokens.span >= 0)):
        spans[int(tokens.text[i]), int(tokens.span[i])].append(int(i))
    doubts = []
    for (text, span), rows in spans.items():
        mean = predicted[rows].mean(axis=0)
        given, other = int(tokens.label[rows[0]]), int(mean.argmax())
        if other != given and mean[other] >= at.CONFIDENT * usual[other]:
            record = tokens.records[text]
            name = tokens.labels[other - 1] if other else "no span"
            marked = record.spans[span]
            what = shown(record, marked.start, marked.end)
            doubts.append((-float(mean[other]), f"{record.id}: {what} is {marked.label}; {name} is likelier"))
    share = len(doubts) / max(len(spans), 1)
    return Finding(
        **ERRORS,
        observation=f"{len(doubts):,} of {len(spans):,} spans ({percent(share)}) are worth a second look; "
        f"{size(tokens)}.",
        verdict="watch" if share > at.LABEL_ERRORS else "fine",
        cause="labels that the other texts contradict",
        remedy="Look at the examples first; correct them, or make the guidelines say why they are right.",
        figures={"spans": len(spans), "doubtful": len(doubts)},
        examples=tuple(line for _, line in sorted(doubts)[:5]),
    )


def inconsistent(project: Project) -> Finding:
    """Strings with several labels."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for record in project["train"]:
        for span in record.spans:
            seen[" ".join(record.text[max(span.start, 0) : span.end].casefold().split())][span.label] += 1
    n = sum(counts.total() for counts in seen.values())
    repeated = sum(counts.total() for counts in seen.values() if counts.total() > 1)
    minority = {key: counts.total() - max(counts.values()) for key, counts in seen.items()}
    odd = sum(minority.values())
    if not repeated:
        return untested(
            INCONSISTENT, f"No string is annotated twice in {len(project['train']):,} training texts."
        )
    share = odd / repeated
    examples = [
        f"{key!r}: " + ", ".join(f"{label} {k}" for label, k in sorted(seen[key].items()))
        for key in sorted(minority, key=lambda key: (-minority[key], key))[:5]
        if minority[key]
    ]
    return Finding(
        **INCONSISTENT,
        observation=f"{odd:,} of {repeated:,} spans of repeated strings ({percent(share)}) have another "
        f"label than is usual for the string; n={n:,} spans.",
        verdict="watch" if share > at.INCONSISTENT else "fine",
        cause="the same strings have different labels",
        remedy="Settle the strings in the examples in the guidelines; some may well differ by context.",
        figures={"spans": n, "repeated": repeated, "minority": odd},
        examples=tuple(examples),
    )

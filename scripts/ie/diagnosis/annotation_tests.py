"""Tests of the annotations, against out-of-fold predictions of the model in `ie.diagnosis.token_model`."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import binomtest
from spacy.tokens import Doc

from ie.data.records import Record
from ie.diagnosis import thresholds, token_model
from ie.diagnosis.findings import Finding, ProjectData, Suspect, TestVerdict, enough, percent, shown, untested

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
OTHERWISE = {
    "name": "other-rules",
    "group": "data",
    "hypothesis": "Dev or test was annotated by other rules than train.",
    "question": "A model of train knows places and labels in train's own unseen texts, but not there.",
    "test": "As above, in dev and test by a linear model of train: places, labels, shift, bare strings, and "
    "length of spans.",
}
ERRORS = {
    "name": "label-errors",
    "group": "data",
    "hypothesis": "Some annotations are slips.",
    "question": "Models of the other texts are sure of another label, or these leave the string bare.",
    "test": "Spans whose tokens have an out-of-fold probability of at least "
    f"{thresholds.CONFIDENT} for another label and of at most {thresholds.UNLIKELY} for their own "
    "(after Northcutt et al. 2021); spans whose string most "
    f"of at least {thresholds.OTHERS} other texts with it leave bare.",
}
INCONSISTENT = {
    "name": "inconsistent",
    "group": "data",
    "hypothesis": "The same string is labelled now so, now otherwise.",
    "question": "Strings with two labels.",
    "test": "Spans whose label isn't the commonest of their string, by label.",
}
# Why what compares labels isn't tested.
ONE_LABEL = "There is only one label."


def run(project: ProjectData) -> Iterator[Finding]:
    """All tests of annotations, on train; the exchange of labels and other rules on dev and test too."""
    yield inconsistent(project)
    others = (PLACES, TYPES, SHIFTED, MISSING, SWAPPED, OTHERWISE, ERRORS)
    if why := enough(project, "train"):
        yield from (untested(told, why) for told in others)
        return
    tokenize = project.nlp.make_doc
    sample = project.sample("train", thresholds.ANNOTATED_TEXTS)
    tokens = token_model.tokens(sample, project.labels, tokenize)
    if not tokens.inside.any() or tokens.inside.all():
        why = (
            "All tokens of train are labelled."
            if tokens.inside.any()
            else "No label of the scheme is in train."
        )
        yield from (untested(told, why) for told in others)
        return
    predicted = token_model.out_of_fold(tokens.window(), tokens.label, tokens.text, project.seed)
    sides = abroad(project, tokens)
    yield places(tokens, predicted, sides)
    yield types(tokens, predicted)
    yield shifted(tokens, project.seed)
    yield missing(tokens, predicted, tokenize)
    yield swapped(project, tokens)
    yield other_rules(project, tokens, predicted, sides)
    yield label_errors(tokens, predicted, tokenize)


def fault(tokens: token_model.Tokens) -> TestVerdict:
    """What to say of a model that learns too little: of few spans it can't learn more."""
    return "broken" if len(tokens.lengths()) >= many(tokens) else "watch"


def many(tokens: token_model.Tokens) -> int:
    """Spans that a verdict on what can't be learnt takes."""
    return max(thresholds.MANY_SPANS, thresholds.MANY_OF_LABEL * len(np.unique(tokens.label[tokens.inside])))


def size(tokens: token_model.Tokens) -> str:
    """`n=12,000 tokens of 400 texts`."""
    return f"n={len(tokens.label):,} tokens of {len(tokens.records):,} texts"


# A side's tokens and what a model of train says of them: (tokens, classes).
Sides = dict[str, tuple[token_model.Tokens, np.ndarray]]


def abroad(project: ProjectData, tokens: token_model.Tokens) -> Sides:
    """What a model of all of train says of the tokens of dev and test, where these are large enough."""
    found: Sides = {}
    predict = None
    for side in ("dev", "test"):
        if enough(project, side):
            continue
        held = token_model.tokens(
            project.sample(side, thresholds.CHECK_TEXTS), project.labels, project.nlp.make_doc
        )
        if held.inside.any() and not held.inside.all():
            predict = predict or token_model.fitted(tokens.window(), tokens.label, project.seed)
            found[side] = held, predict(held.window(), len(project.labels) + 1)
    return found


def places(tokens: token_model.Tokens, predicted: np.ndarray, sides: Sides) -> Finding:
    """Do the words say where the spans are?

    A model of spans that are right but few ranks the tokens of dev well; then it isn't the places.
    """
    skill = token_model.ranked(tokens.inside, 1 - predicted[:, token_model.OUTSIDE])
    elsewhere = [
        token_model.ranked(held.inside, 1 - said[:, token_model.OUTSIDE]) for held, said in sides.values()
    ]
    right = max(elsewhere, default=0.0) >= thresholds.PLACES
    return Finding(
        **PLACES,
        observation=f"{skill:.2f} of the way from chance (0) to perfect (1); {size(tokens)}.",
        verdict="fine" if skill >= thresholds.PLACES else "watch" if right else fault(tokens),
        cause="the annotations are in the wrong places: shuffled, or of other texts"
        if not right and fault(tokens) == "broken"
        else "the places of the annotations are hard to tell from so few",
        remedy="Look at some texts with their spans (report of `evaluate`, or `review`): do the offsets "
        "belong to these texts? Then look at what sorts, joins or converts them.",
        figures={"skill": round(skill, 4), "tokens": len(tokens.label)},
    )


def _types(tokens: token_model.Tokens, predicted: np.ndarray) -> tuple[float, float]:
    """Share of labelled tokens whose label is predicted, and the share of the commonest label."""
    inside = tokens.inside
    counts = np.bincount(tokens.label[inside])
    answers = predicted[inside, 1:].argmax(axis=1) + 1
    return float((answers == tokens.label[inside]).mean()), float(counts.max() / counts.sum())


def types(tokens: token_model.Tokens, predicted: np.ndarray) -> Finding:
    """Do the words say which label a span has?"""
    if len(np.unique(tokens.label[tokens.inside])) < 2:
        return untested(TYPES, ONE_LABEL)
    right, base = _types(tokens, predicted)
    n = int(tokens.inside.sum())
    return Finding(
        **TYPES,
        observation=f"{percent(right)} right, {percent(base)} by always saying the commonest; "
        f"n={n:,} labelled tokens of {len(tokens.records):,} texts.",
        verdict=fault(tokens) if (right - base) / (1 - base) < thresholds.TYPES else "fine",
        cause="the labels of the spans are shuffled, or too few to learn",
        remedy="Look at some spans with their labels, then at what numbers, maps or joins labels.",
        figures={"right": round(right, 4), "commonest": round(base, 4), "tokens": n},
    )


def shifted(tokens: token_model.Tokens, seed: int) -> Finding:
    """Is it the token's own form that tells?"""
    skill = {}
    target = tokens.inside.astype(np.int64)
    for offset in (-1, 0, 1):
        index = tokens.neighbour(offset)
        own = tokens.own[index].multiply((index >= 0)[:, None]).tocsr()
        skill[offset] = token_model.ranked(
            tokens.inside, token_model.out_of_fold(own, target, tokens.text, seed)[:, 1]
        )
    best = max(skill, key=lambda offset: (skill[offset], -abs(offset)))
    moved = skill[best] > skill[0] + thresholds.SHIFTED
    way = "to the right" if best < 0 else "to the left"
    return Finding(
        **SHIFTED,
        observation=f"Own form {skill[0]:.2f}, that of the token before {skill[-1]:.2f}, behind "
        f"{skill[1]:.2f} (0 chance, 1 perfect); {size(tokens)}.",
        verdict=fault(tokens) if moved else "fine",
        cause=f"the annotations are shifted by one token {way}" if moved else "",
        remedy="Count from 0, with the end excluded; look for a tokenizer that adds or drops a first token.",
        figures={str(offset): round(value, 4) for offset, value in skill.items()},
    )


def missing(tokens: token_model.Tokens, predicted: np.ndarray, tokenize: Callable[[str], Doc]) -> Finding:
    """Are strings that are annotated elsewhere left bare, and tokens that look like it?"""
    half, sure = surest(tokens, predicted, int(tokens.inside.sum()))
    found = consistency(tokens.records, tokenize)
    occurrences, annotated = len(found), sum(one.annotated for one in found)
    share = annotated / occurrences if occurrences else 1.0
    few = below(annotated, occurrences, thresholds.ANNOTATED)
    # On hard labels the surest tokens alone accuse nobody.
    doubtful = few or (
        occurrences >= thresholds.MINIMUM_SPANS and share < thresholds.ANNOTATED and sure < thresholds.SUREST
    )
    bare = [one.line(tokens.records) for one in found if not one.annotated]
    return Finding(
        **MISSING,
        observation=f"{percent(share)} of {occurrences:,} such occurrences are annotated, and "
        f"{percent(sure)} of the {half:,} surest tokens; {size(tokens)}.",
        verdict="broken" if few and sure < thresholds.SUREST else "watch" if doubtful else "fine",
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


def surest(tokens: token_model.Tokens, predicted: np.ndarray, expected: int) -> tuple[int, float]:
    """Half of the `expected` number of labelled tokens, and how many of as many surest ones are labelled."""
    half = max(1, expected // 2)
    rows = np.argsort(predicted[:, token_model.OUTSIDE], kind="stable")[:half]
    return half, float(tokens.inside[rows].mean())


def below(hits: int, n: int, share: float) -> bool:
    """Whether all of the 95 % interval (Wilson 1927) of `hits` in `n` lies below a share."""
    return n > 0 and binomtest(hits, n).proportion_ci(method="wilson").high < share


@dataclass(frozen=True)
class Occurrence:
    """A string that others annotate.

    Attributes:
        text: index of the text. start, end: characters.
        label: what the others call it most; `agree` of `others` annotate it.
    """

    text: int
    start: int
    end: int
    annotated: bool
    label: str
    agree: int
    others: int

    def line(self, texts: Sequence[Record]) -> str:
        record = texts[self.text]
        what = shown(record, self.start, self.end)
        return f"{record.id}: {what} is bare, {self.agree} of {self.others} others aren't"


def consistency(
    texts: Sequence[Record], tokenize: Callable[[str], Doc], known: Sequence[Record] = ()
) -> list[Occurrence]:
    """Occurrences of strings that at least half of the other texts with them annotate.

    Leaving out the text itself keeps the share unbiased, however rare the strings are: without 30 % of the
    spans it is .7, and less where strings are parts of longer ones that are missing. Occurrences within a
    longer span, or across the edge of one, don't count.

    Args:
        known: texts that decide instead of the others, if given.
    """
    first = len(known)
    texts = [*known, *texts]
    docs = [tokenize(record.text) for record in texts]
    seen = _seen(texts, docs)
    found = []
    for key in sorted(seen):
        for i, start, label in seen[key]:
            if i < first:
                continue
            others = [x for j, _, x in seen[key] if (j < first if first else j != i)]
            given = [x for x in others if x]
            if len(others) >= 2 and 2 * len(given) >= len(others):
                end = docs[i][start + len(key) - 1]
                usual = min(Counter(given).items(), key=lambda item: (-item[1], item[0]))[0]
                where = (i - first, docs[i][start].idx, end.idx + len(end))
                found.append(Occurrence(*where, bool(label), usual, len(given), len(others)))
    return found


# Where a string is: index of the text, of its first token, and the label, "" if it is bare.
Places = dict[tuple[str, ...], list[tuple[int, int, str]]]


def _seen(texts: Sequence[Record], docs: Sequence[Doc]) -> Places:
    """All places of each annotated string but those that share tokens with another span."""
    spans = []
    for record, doc in zip(texts, docs, strict=True):
        held = {}
        for s in record.spans:
            span = doc.char_span(s.start, s.end) if 0 <= s.start < s.end else None
            if span is not None:
                held[span.start, span.end] = s.label
        spans.append(held)
    words = [[token.text for token in doc] for doc in docs]
    keys = {tuple(words[i][start:end]) for i, held in enumerate(spans) for start, end in held}
    lengths = defaultdict(set)
    for key in keys:
        lengths[key[0]].add(len(key))
    seen: Places = defaultdict(list)
    for i, row in enumerate(words):
        for start, word in enumerate(row):
            for length in sorted(lengths.get(word, ())):
                key, end = tuple(row[start : start + length]), start + length
                if key not in keys or len(key) < length:
                    continue
                label = spans[i].get((start, end), "")
                if label or not any(a < end and start < b for a, b in spans[i]):
                    seen[key].append((i, start, label))
    return seen


def needless(texts: Sequence[Record], tokenize: Callable[[str], Doc]) -> tuple[int, list[Suspect]]:
    """Spans whose string most other texts with it leave bare, the surest first; of how many compared spans.

    The mirror of `consistency`. Texts are counted, as one that repeats a string says nothing new; a text that
    annotates it once annotates it.
    """
    docs = [tokenize(record.text) for record in texts]
    compared, found = 0, []
    for key, there in _seen(texts, docs).items():
        annotated = {i for i, _, label in there if label}
        bare = len({i for i, _, _ in there} - annotated)
        others = bare + len(annotated) - 1
        if others < thresholds.OTHERS:
            continue
        for i, start, label in there:
            if label:
                compared += 1
                if 2 * bare > others:
                    end = docs[i][start + len(key) - 1]
                    where = (docs[i][start].idx, end.idx + len(end))
                    found.append(Suspect(texts[i], *where, label, None, bare / others))
    return compared, _surest_first(found)


def _surest_first(found: Sequence[Suspect]) -> list[Suspect]:
    return sorted(found, key=lambda one: (-one.score, one.record.id, one.start))


def swapped(project: ProjectData, tokens: token_model.Tokens) -> Finding:
    """Does a model of train take two labels for each other in dev?"""
    if len(project.labels) < 2:
        return untested(SWAPPED, ONE_LABEL)
    if why := enough(project, "dev"):
        return untested(SWAPPED, why)
    dev = token_model.tokens(
        project.sample("dev", thresholds.CHECK_TEXTS), project.labels, project.nlp.make_doc
    )
    mine, theirs = tokens.inside, dev.inside
    predict = token_model.fitted(tokens.window()[mine], tokens.label[mine], project.seed)
    answers = predict(dev.window()[theirs], len(project.labels) + 1).argmax(axis=1)
    truth = dev.label[theirs]
    confusion = np.zeros((len(project.labels) + 1,) * 2, dtype=np.int64)
    np.add.at(confusion, (truth, answers), 1)
    totals = confusion.sum(axis=1)
    found, worst = [], 0.0
    for a in range(1, len(totals)):
        for b in range(a + 1, len(totals)):
            if min(totals[a], totals[b]) < thresholds.MINIMUM_SPANS:
                continue
            share = min(confusion[a, b] / totals[a], confusion[b, a] / totals[b])
            worst = max(worst, float(share))
            if share > thresholds.SWAPPED:
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


def other_rules(
    project: ProjectData, tokens: token_model.Tokens, predicted: np.ndarray, sides: Sides
) -> Finding:
    """Does what train teaches hold in dev and test?"""
    if not sides:
        return untested(OTHERWISE, enough(project, "dev") or enough(project, "test") or "No label is there.")
    if fault(tokens) != "broken":
        return untested(OTHERWISE, f"This takes {many(tokens)} spans in train.")
    home = token_model.ranked(tokens.inside, 1 - predicted[:, token_model.OUTSIDE])
    several = len(np.unique(tokens.label[tokens.inside])) > 1
    right, base = _types(tokens, predicted) if several else (0.0, 0.0)
    density = tokens.inside.mean()
    _, sure_home = surest(tokens, predicted, int(tokens.inside.sum()))
    figures: dict[str, Any] = {"train": {"places": round(home, 4), "labels_right": round(right, 4)}}
    said, causes = [], []
    for side, (held, answers) in sides.items():
        score = 1 - answers[:, token_model.OUTSIDE]
        skill = {}
        for offset in (-1, 0, 1):
            index = held.neighbour(offset)
            skill[offset] = token_model.ranked(held.inside, np.where(index >= 0, score[index], 0.0))
        there = _types(held, answers)[0] if several else 0.0
        found = consistency(held.records, project.nlp.make_doc, tokens.records)
        annotated = sum(one.annotated for one in found)
        expected = max(1, int(density * len(held.label)))
        _, sure = surest(held, answers, expected)
        # Spans that are right but few lie where the model expects some.
        likely = np.argsort(answers[:, token_model.OUTSIDE], kind="stable")[:expected]
        few = below(annotated, len(found), thresholds.ANNOTATED) and sure < thresholds.SUREST * sure_home
        scant = few and held.inside[likely].sum() > thresholds.SAME_RULES * held.inside.sum()
        lengths = tokens.lengths(), held.lengths()
        best = max(skill, key=lambda offset: (skill[offset], -abs(offset)))
        lost = home >= thresholds.PLACES and skill[0] < thresholds.SAME_RULES * home
        if differ(*lengths):
            one, other = (float(part.mean()) for part in lengths)
            causes.append(f"spans have {one:.1f} tokens in train and {other:.1f} in {side}")
        elif lost and skill[best] > skill[0] + thresholds.SHIFTED:
            causes.append(f"the annotations of {side} are shifted by one token")
        elif scant:
            causes.append(f"many spans of {side} weren't annotated")
        elif lost:
            causes.append(f"the places annotated in {side} aren't what train teaches")
        elif (
            several
            and right - base >= thresholds.TYPES * (1 - base)
            and there - base < thresholds.SAME_RULES * (right - base)
        ):
            causes.append(f"the labels of {side} aren't what train teaches")
        share = f"{annotated:,} of {len(found):,}" if found else "none"
        labels = f", labels {percent(there)} right ({percent(right)})" if several else ""
        said.append(
            f"{side}: places {skill[0]:.2f} (train {home:.2f}){labels}, strings of train annotated {share}"
            f" (n={len(held.records):,} texts)"
        )
        figures[side] = {
            "places": round(skill[0], 4),
            "before": round(skill[-1], 4),
            "behind": round(skill[1], 4),
            "labels_right": round(there, 4),
            "occurrences": len(found),
            "annotated": annotated,
            "surest_annotated": round(sure, 4),
        }
    return Finding(
        **OTHERWISE,
        observation=f"{'; '.join(said)}.",
        verdict="broken" if causes else "fine",
        cause=" and ".join(causes),
        remedy="Look at some texts of both sides with their spans: other guidelines, another conversion, "
        "another way of writing? Until then the score measures the difference.",
        figures=figures,
    )


def differ(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether spans are longer on one side, by more than luck can do (four standard errors)."""
    if min(len(one), len(other)) < thresholds.MINIMUM_SPANS:
        return False
    means = one.mean(), other.mean()
    error = (one.var() / len(one) + other.var() / len(other)) ** 0.5
    return max(means) > thresholds.LONGER * min(means) and abs(means[0] - means[1]) > 4 * error


def suspects(tokens: token_model.Tokens, predicted: np.ndarray) -> tuple[int, list[Suspect]]:
    """Spans whose label the other texts contradict, the surest first; of how many spans.

    Only labels are compared: that a simple model overlooks a span says little of who marked it.
    """
    spans: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i in np.flatnonzero(tokens.inside & (tokens.span >= 0)):
        spans[int(tokens.text[i]), int(tokens.span[i])].append(int(i))
    found = []
    for (text, span), rows in spans.items():
        mean = predicted[rows].mean(axis=0)
        given, other = int(tokens.label[rows[0]]), int(mean[1:].argmax()) + 1
        if other != given and mean[other] >= thresholds.CONFIDENT and mean[given] <= thresholds.UNLIKELY:
            record = tokens.records[text]
            marked, likelier = record.spans[span], tokens.labels[other - 1]
            found.append(
                Suspect(
                    record, marked.start, marked.end, marked.label, likelier, round(float(mean[other]), 6)
                )
            )
    return len(spans), _surest_first(found)


def label_errors(
    tokens: token_model.Tokens, predicted: np.ndarray, tokenize: Callable[[str], Doc]
) -> Finding:
    """Spans that the other texts contradict; strings left bare come with them, for review."""
    n, doubts = suspects(tokens, predicted)
    compared, extra = needless(tokens.records, tokenize)
    known = {(one.record.id, one.start, one.end) for one in doubts}
    extra = [one for one in extra if (one.record.id, one.start, one.end) not in known]
    bare = [
        Suspect(tokens.records[x.text], x.start, x.end, None, x.label, x.agree / x.others)
        for x in consistency(tokens.records, tokenize)
        if not x.annotated
    ]
    shared = {
        "figures": {
            "spans": n,
            "doubtful": len(doubts) + len(extra),
            "needless": len(extra),
            "bare": len(bare),
        },
        "suspects": (*doubts, *extra, *_surest_first(bare)),
    }
    single = len(np.unique(tokens.label[tokens.inside])) < 2
    if single and not compared:
        return replace(untested(ERRORS, ONE_LABEL), **shared)
    causes = []
    if len(doubts) > thresholds.LABEL_ERRORS * n:
        causes.append(
            "many labels that the other texts contradict: slips, or labels that are hard to tell apart"
        )
    if len(extra) > thresholds.NEEDLESS * n:
        causes.append("many spans whose string most other texts leave bare")
    share = (len(doubts) + len(extra)) / max(n, 1)
    said = f"{len(doubts) + len(extra):,} of {n:,} spans ({percent(share)}) are worth a second look"
    if extra:
        said += f", {len(extra):,} of them as most other texts leave their string bare"
    if single:
        said += f"; with one label only the {compared:,} whose string {thresholds.OTHERS} other texts "
        said += "have are tested"
    return Finding(
        **ERRORS,
        observation=f"{said}; {size(tokens)}.",
        verdict="watch" if causes else "fine",
        cause=" and ".join(causes),
        remedy="Look at label-errors.jsonl from the top; correct the annotations, or make the guidelines say "
        "why they are right.",
        examples=tuple(one.line() for one in [*doubts, *extra][:5]),
        **shared,
    )


def inconsistent(project: ProjectData) -> Finding:
    """Strings with several labels."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for record in project["train"]:
        for span in record.spans:
            seen[" ".join(record.text[max(span.start, 0) : span.end].casefold().split())][span.label] += 1
    n = sum(counts.total() for counts in seen.values())
    repeated: Counter[str] = Counter()
    odd: Counter[str] = Counter()
    minority = {}
    for key, counts in seen.items():
        minority[key] = counts.total() - max(counts.values())
        usual = min(counts.items(), key=lambda item: (-item[1], item[0]))[0]
        for label, count in counts.items() if counts.total() > 1 else ():
            repeated[label] += count
            odd[label] += count * (label != usual)
    if not repeated:
        return untested(
            INCONSISTENT, f"No string is annotated twice in {len(project['train']):,} training texts."
        )
    if len({label for counts in seen.values() for label in counts}) < 2:
        return untested(INCONSISTENT, ONE_LABEL)
    share = odd.total() / repeated.total()
    shares = {x: odd[x] / repeated[x] for x in sorted(repeated) if repeated[x] >= thresholds.MINIMUM_SPANS}
    worst = max(shares, key=lambda label: shares[label], default="")
    high = max(shares.values(), default=0.0)
    examples = [
        f"{key!r}: " + ", ".join(f"{label} {k}" for label, k in sorted(seen[key].items()))
        for key in sorted(minority, key=lambda key: (-minority[key], key))[:5]
        if minority[key]
    ]
    return Finding(
        **INCONSISTENT,
        observation=f"{odd.total():,} of {repeated.total():,} spans of repeated strings ({percent(share)}) "
        f"have another label than is usual for the string"
        + (f", of {worst} {percent(high)}" if high else "")
        + f"; n={n:,} spans.",
        verdict="broken"
        if high > thresholds.INCONSISTENT
        else "watch"
        if high > thresholds.INCONSISTENT_WATCH
        else "fine",
        cause=f"the same strings are labelled now {worst}, now otherwise",
        remedy="Settle the strings in the examples in the guidelines; some may well differ by context.",
        figures={"spans": n, "repeated": repeated.total(), "minority": odd.total()}
        | {"by_label": {label: round(value, 4) for label, value in shares.items()}},
        examples=tuple(examples),
    )

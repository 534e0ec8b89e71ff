"""Tests of the annotations, with the out-of-fold predictions of `ie.diagnosis.token_model`."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import binomtest

from ie.diagnosis import thresholds, token_model
from ie.diagnosis.annotated_strings import AnnotatedStrings
from ie.diagnosis.findings import Finding, ProjectData, Suspect, TestVerdict, grade, percent, untested
from ie.diagnosis.token_model import Predictions, Tokens

PLACES = {
    "name": "places",
    "hypothesis": "The annotated places are unrelated to the words.",
    "question": "No model can rank labelled tokens above others in texts that it hasn't seen.",
    "test": "Average precision of out-of-fold predictions of a linear model, rescaled so that chance is 0.",
}
TYPES = {
    "name": "types",
    "hypothesis": "The labels of the spans are shuffled.",
    "question": "No model can predict which label a labelled token has.",
    "test": "Accuracy of out-of-fold predictions on labelled tokens, above that of the most frequent label.",
}
SHIFTED = {
    "name": "shifted",
    "hypothesis": "The annotations are shifted by a token.",
    "question": "A neighbour's form predicts better than the token's own whether it is labelled.",
    "test": "Predict labelled or not from the form of one token: its own, the one before, the one after.",
}
MISSING = {
    "name": "missing",
    "hypothesis": "Many spans weren't annotated.",
    "question": "Strings annotated elsewhere, and tokens that look most like a name, aren't annotated.",
    "test": "Each occurrence of a string that is annotated in at least half of the other texts that have it; "
    "the tokens that an out-of-fold model is surest of.",
}
SWAPPED = {
    "name": "swapped",
    "hypothesis": "Two labels are exchanged in train.",
    "question": "A model of train confuses them in dev, both ways.",
    "test": "Confusion of labels of the labelled tokens of dev, predicted by a linear model of train.",
}
OTHER_RULES = {
    "name": "other-rules",
    "hypothesis": "Dev or test was annotated by other rules than train.",
    "question": "A model of train predicts places and labels in unseen texts of train, but not there.",
    "test": "As above, in dev and test by a linear model of train: places, labels, shift, missing spans, and "
    "length of spans.",
}
ERRORS = {
    "name": "label-errors",
    "hypothesis": "Some annotations are slips.",
    "question": "Models of the other texts are sure of another label, or most of these have no span there.",
    "test": "Spans whose tokens have an out-of-fold probability of at least "
    f"{thresholds.CONFIDENT} for another label and of at most {thresholds.UNLIKELY} for their own "
    "(after Northcutt et al. 2021); spans whose string "
    f"isn't annotated in most of at least {thresholds.OTHERS} other texts.",
}
INCONSISTENT = {
    "name": "inconsistent",
    "hypothesis": "The same string has different labels.",
    "question": "Strings with two labels.",
    "test": "Spans whose label isn't the most frequent one of their string, by label.",
}
# Why a test that compares labels isn't run.
ONE_LABEL = "There is only one label."


def run(project: ProjectData) -> Iterator[Finding]:
    """All tests of annotations: of train, and (labels swapped, other rules) of dev and test against it."""
    yield inconsistent(project)
    reason, train = project.too_small("train"), None
    if not reason:
        train = token_model.tokens(
            project.sample("train", thresholds.ANNOTATED_TEXTS), project.labels, project.nlp.make_doc
        )
        if train.inside.all():
            reason = "All tokens of train are labelled."
        elif not train.inside.any():
            reason = "No label of the scheme is in train."
    if reason or train is None:
        others = (PLACES, TYPES, SHIFTED, MISSING, SWAPPED, OTHER_RULES, ERRORS)
        yield from (untested(hypothesis, reason) for hypothesis in others)
        return
    probability = token_model.out_of_fold(train.window(), train.label, train.text, project.seed)
    own = Predictions(train, probability)
    held_out = predict_held_out(project, train)
    strings = AnnotatedStrings(train.records, train.docs)
    expected = strings.expected()
    yield places(own, held_out)
    yield types(own)
    yield shifted(train, project.seed)
    yield missing(own, *expected)
    yield swapped(project, train)
    yield other_rules(project, own, held_out)
    yield label_errors(own, strings, expected[1])


def needed_spans(tokens: Tokens) -> int:
    """Number of spans below which a model that learns too little may simply lack data."""
    labels = len(np.unique(tokens.label[tokens.inside]))
    return max(thresholds.MANY_SPANS, thresholds.MANY_OF_LABEL * labels)


def fault(tokens: Tokens) -> TestVerdict:
    """The verdict on annotations that a model can't learn: on few spans it couldn't learn correct ones."""
    return grade(len(tokens.lengths()) >= needed_spans(tokens), True)


def size(tokens: Tokens) -> str:
    """`n=12,000 tokens of 400 texts`."""
    return f"n={len(tokens.label):,} tokens of {len(tokens.records):,} texts"


def predict_held_out(project: ProjectData, train: Tokens) -> dict[str, Predictions]:
    """Predictions of a model of train for dev and test, where these are large enough."""
    predictions = {}
    model = None
    for split in ("dev", "test"):
        if project.too_small(split):
            continue
        tokens = token_model.tokens(
            project.sample(split, thresholds.CHECK_TEXTS), project.labels, project.nlp.make_doc
        )
        if tokens.inside.any() and not tokens.inside.all():
            model = model or token_model.train(train.window(), train.label, project.seed)
            predictions[split] = Predictions(tokens, model(tokens.window(), len(project.labels) + 1))
    return predictions


def places(own: Predictions, held_out: dict[str, Predictions]) -> Finding:
    """Do the words predict where the spans are?

    A model of correct but few spans ranks the tokens of dev well; then the places aren't the problem.
    """
    skill = own.place_skill()
    learned = any(there.place_skill() >= thresholds.PLACES for there in held_out.values())
    wrong = not learned and fault(own.tokens) == "broken"
    return Finding(
        **PLACES,
        observation=f"{skill:.2f} of the way from chance (0) to perfect (1); {size(own.tokens)}.",
        verdict="fine" if skill >= thresholds.PLACES else grade(wrong, True),
        cause="the annotations are in the wrong places: shuffled, or of other texts"
        if wrong
        else "the places of the annotations are hard to learn from so few",
        remedy="Look at some texts with their spans (report of `evaluate`, or `review`): do the offsets "
        "belong to these texts? Then look at what sorts, joins or converts them.",
        figures={"skill": round(skill, 4), "tokens": len(own.tokens.label)},
    )


def _most_frequent_share(tokens: Tokens) -> float:
    counts = np.bincount(tokens.label[tokens.inside])
    return float(counts.max() / counts.sum())


def types(own: Predictions) -> Finding:
    """Do the words predict which label a span has?"""
    if not own.tokens.several_labels:
        return untested(TYPES, ONE_LABEL)
    accuracy, base = own.label_accuracy(), _most_frequent_share(own.tokens)
    n = int(own.tokens.inside.sum())
    wrong = (accuracy - base) / (1 - base) < thresholds.TYPES
    return Finding(
        **TYPES,
        observation=f"{percent(accuracy)} right, {percent(base)} by always predicting the most frequent; "
        f"n={n:,} labelled tokens of {len(own.tokens.records):,} texts.",
        verdict=fault(own.tokens) if wrong else "fine",
        cause="the labels of the spans are shuffled, or too few to learn",
        remedy="Look at some spans with their labels, then at what numbers, maps or joins labels.",
        figures={"right": round(accuracy, 4), "commonest": round(base, 4), "tokens": n},
    )


def _best_offset(skill: dict[int, float]) -> int:
    return max(skill, key=lambda offset: (skill[offset], -abs(offset)))


def shifted(tokens: Tokens, seed: int) -> Finding:
    """Is a token's own form the best predictor of whether it is labelled?"""
    skill = {}
    for offset in (-1, 0, 1):
        features, target = tokens.features_at(offset), tokens.inside.astype(np.int64)
        probability = token_model.out_of_fold(features, target, tokens.text, seed)
        skill[offset] = token_model.ranking_skill(tokens.inside, probability[:, 1])
    best = _best_offset(skill)
    moved = skill[best] > skill[0] + thresholds.SHIFTED
    way = "to the right" if best < 0 else "to the left"
    return Finding(
        **SHIFTED,
        observation=f"Own form {skill[0]:.2f}, that of the token before {skill[-1]:.2f}, after "
        f"{skill[1]:.2f} (0 chance, 1 perfect); {size(tokens)}.",
        verdict=fault(tokens) if moved else "fine",
        cause=f"the annotations are shifted by one token {way}" if moved else "",
        remedy="Count from 0, with the end excluded; look for a tokenizer that adds or drops a first token.",
        figures={str(offset): round(value, 4) for offset, value in skill.items()},
    )


def missing(own: Predictions, expected: int, unannotated: Sequence[Suspect]) -> Finding:
    """Are strings that are annotated elsewhere annotated, and the tokens most like a name?

    Args:
        expected, unannotated: of `AnnotatedStrings.expected`.
    """
    half = max(1, int(own.tokens.inside.sum()) // 2)
    sure = float(own.surest(half).mean())
    annotated = expected - len(unannotated)
    share = annotated / expected if expected else 1.0
    few = below(annotated, expected, thresholds.ANNOTATED)
    # With hard labels a low share of the surest tokens alone proves nothing.
    doubtful = (
        expected >= thresholds.MINIMUM_SPANS and share < thresholds.ANNOTATED and sure < thresholds.SUREST
    )
    return Finding(
        **MISSING,
        observation=f"{percent(share)} of {expected:,} such occurrences are annotated, and "
        f"{percent(sure)} of the {half:,} surest tokens; {size(own.tokens)}.",
        verdict=grade(few and sure < thresholds.SUREST, few or doubtful),
        cause="many spans weren't annotated",
        remedy="Review texts again with the model's suggestions shown, starting with the examples; agree in "
        "the guidelines on what is annotated and that every occurrence is.",
        figures={
            "occurrences": expected,
            "annotated": round(share, 4),
            "surest": half,
            "surest_annotated": round(sure, 4),
        },
        examples=tuple(suspect.line() for suspect in unannotated[:5]),
    )


def below(hits: int, n: int, share: float) -> bool:
    """Whether all of the 95 % interval (Wilson 1927) of `hits` in `n` lies below a share."""
    return n > 0 and binomtest(hits, n).proportion_ci(method="wilson").high < share


def swapped(project: ProjectData, train: Tokens) -> Finding:
    """Does a model of train confuse two labels in dev, both ways?"""
    if len(project.labels) < 2:
        return untested(SWAPPED, ONE_LABEL)
    if reason := project.too_small("dev"):
        return untested(SWAPPED, reason)
    dev = token_model.tokens(
        project.sample("dev", thresholds.CHECK_TEXTS), project.labels, project.nlp.make_doc
    )
    classes = len(project.labels) + 1
    model = token_model.train(train.window()[train.inside], train.label[train.inside], project.seed)
    answers = model(dev.window()[dev.inside], classes).argmax(axis=1)
    truth = dev.label[dev.inside]
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (truth, answers), 1)
    totals = confusion.sum(axis=1)
    pairs, worst = [], 0.0
    for a, b in combinations(range(1, classes), 2):
        if min(totals[a], totals[b]) < thresholds.MINIMUM_SPANS:
            continue
        share = float(min(confusion[a, b] / totals[a], confusion[b, a] / totals[b]))
        worst = max(worst, share)
        if share > thresholds.SWAPPED:
            pairs.append(f"{project.labels[a - 1]} and {project.labels[b - 1]}")
    return Finding(
        **SWAPPED,
        observation=f"The two labels confused most are confused in {percent(worst)} of their tokens or more; "
        f"n={len(truth):,} labelled tokens of {len(dev.records):,} dev texts.",
        verdict=grade(pairs),
        cause=f"{' and '.join(pairs)} are exchanged in train (or in dev)" if pairs else "",
        remedy="Look at some spans of each in train and in dev, then at what numbers or maps labels.",
        figures={"most_confused": round(worst, 4), "tokens": len(truth)},
    )


def other_rules(project: ProjectData, own: Predictions, held_out: dict[str, Predictions]) -> Finding:
    """Does what a model learns from train hold in dev and test?"""
    if not held_out:
        reason = project.too_small("dev") or project.too_small("test") or "No label is there."
        return untested(OTHER_RULES, reason)
    if fault(own.tokens) != "broken":
        return untested(OTHER_RULES, f"This takes {needed_spans(own.tokens)} spans in train.")
    accuracy = own.label_accuracy() if own.tokens.several_labels else 0.0
    figures: dict[str, Any] = {
        "train": {"places": round(own.place_skill(), 4), "labels_right": round(accuracy, 4)}
    }
    sentences, causes = [], []
    for split, there in held_out.items():
        sentence, cause, figures[split] = _compare_rules(split, own, there)
        sentences.append(sentence)
        causes += [cause] if cause else []
    return Finding(
        **OTHER_RULES,
        observation=f"{'; '.join(sentences)}.",
        verdict=grade(causes),
        cause=" and ".join(causes),
        remedy="Look at some texts of both with their spans: other guidelines, another conversion, "
        "another way of writing? Until then the score measures the difference.",
        figures=figures,
    )


def _compare_rules(split: str, own: Predictions, there: Predictions) -> tuple[str, str, dict[str, Any]]:
    """How dev or test compares with train: a sentence, what differs ("" for nothing), and the figures."""
    tokens, train = there.tokens, own.tokens
    home = own.place_skill()
    skill = {offset: there.place_skill(offset) for offset in (-1, 0, 1)}
    strings = AnnotatedStrings([*train.records, *tokens.records], [*train.docs, *tokens.docs])
    occurrences, unannotated = strings.expected(known=len(train.records))
    annotated = occurrences - len(unannotated)
    sure_home = own.surest(max(1, int(train.inside.sum()) // 2)).mean()
    expected = max(1, int(train.inside.mean() * len(tokens.label)))
    sure = float(there.surest(max(1, expected // 2)).mean())
    # Correct but few spans lie where the model expects some.
    few = below(annotated, occurrences, thresholds.ANNOTATED) and sure < thresholds.SUREST * sure_home
    scant = few and there.surest(expected).sum() > thresholds.SAME_RULES * tokens.inside.sum()
    lost = home >= thresholds.PLACES and skill[0] < thresholds.SAME_RULES * home
    accuracy, labels, relabelled = 0.0, "", False
    if train.several_labels:
        accuracy, right, base = there.label_accuracy(), own.label_accuracy(), _most_frequent_share(train)
        labels = f", labels {percent(accuracy)} right ({percent(right)})"
        learned = right - base >= thresholds.TYPES * (1 - base)
        relabelled = learned and accuracy - base < thresholds.SAME_RULES * (right - base)
    lengths = train.lengths(), tokens.lengths()
    cause = ""
    if lengths_differ(*lengths):
        one, other = (float(part.mean()) for part in lengths)
        cause = f"spans have {one:.1f} tokens in train and {other:.1f} in {split}"
    elif lost and skill[_best_offset(skill)] > skill[0] + thresholds.SHIFTED:
        cause = f"the annotations of {split} are shifted by one token"
    elif scant:
        cause = f"many spans of {split} weren't annotated"
    elif lost:
        cause = f"the places annotated in {split} aren't those that train teaches"
    elif relabelled:
        cause = f"the labels of {split} aren't those that train teaches"
    share = f"{annotated:,} of {occurrences:,}" if occurrences else "none"
    sentence = (
        f"{split}: places {skill[0]:.2f} (train {home:.2f}){labels}, strings of train annotated {share} "
        f"(n={len(tokens.records):,} texts)"
    )
    figures = {
        "places": round(skill[0], 4),
        "before": round(skill[-1], 4),
        "behind": round(skill[1], 4),
        "labels_right": round(accuracy, 4),
        "occurrences": occurrences,
        "annotated": annotated,
        "surest_annotated": round(sure, 4),
    }
    return sentence, cause, figures


def lengths_differ(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the spans of one are longer, by more than chance explains (four standard errors)."""
    if min(len(one), len(other)) < thresholds.MINIMUM_SPANS:
        return False
    means = one.mean(), other.mean()
    error = (one.var() / len(one) + other.var() / len(other)) ** 0.5
    return max(means) > thresholds.LONGER * min(means) and abs(means[0] - means[1]) > 4 * error


def _surest_first(suspects: Sequence[Suspect]) -> list[Suspect]:
    return sorted(suspects, key=lambda one: (-one.score, one.record.id, one.start))


def mislabelled(own: Predictions) -> tuple[int, list[Suspect]]:
    """The number of spans, and those whose label the other texts contradict, the surest first.

    Only labels are compared: a simple model overlooks many correct spans.
    """
    tokens = own.tokens
    spans: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i in np.flatnonzero(tokens.inside & (tokens.span >= 0)):
        spans[int(tokens.text[i]), int(tokens.span[i])].append(int(i))
    suspects = []
    for (text, span), rows in spans.items():
        mean = own.probability[rows].mean(axis=0)
        label, other = int(tokens.label[rows[0]]), int(mean[1:].argmax()) + 1
        if other != label and mean[other] >= thresholds.CONFIDENT and mean[label] <= thresholds.UNLIKELY:
            record = tokens.records[text]
            marked, likelier = record.spans[span], tokens.labels[other - 1]
            score = round(float(mean[other]), 6)
            suspects.append(Suspect(record, marked.start, marked.end, marked.label, likelier, score))
    return len(spans), _surest_first(suspects)


def label_errors(own: Predictions, strings: AnnotatedStrings, unannotated: Sequence[Suspect]) -> Finding:
    """Spans that the other texts contradict. Strings that aren't annotated are listed too, for review."""
    n, doubtful = mislabelled(own)
    compared, needless = strings.needless()
    known = {(one.record.id, one.start, one.end) for one in doubtful}
    needless = [x for x in _surest_first(needless) if (x.record.id, x.start, x.end) not in known]
    total = len(doubtful) + len(needless)
    details = {
        "figures": {"spans": n, "doubtful": total, "needless": len(needless), "bare": len(unannotated)},
        "suspects": (*doubtful, *needless, *_surest_first(unannotated)),
    }
    single = not own.tokens.several_labels
    if single and not compared:
        return untested(ERRORS, ONE_LABEL, **details)
    causes = []
    if len(doubtful) > thresholds.LABEL_ERRORS * n:
        causes.append(
            "many labels that the other texts contradict: slips, or labels that are hard to tell apart"
        )
    if len(needless) > thresholds.NEEDLESS * n:
        causes.append("many spans whose string isn't annotated in most other texts")
    observation = f"{total:,} of {n:,} spans ({percent(total / max(n, 1))}) are worth a second look"
    if needless:
        observation += f", {len(needless):,} of them as their string isn't annotated in most other texts"
    if single:
        observation += (
            f"; with one label only the {compared:,} whose string is in {thresholds.OTHERS} other texts are "
            "tested"
        )
    return Finding(
        **ERRORS,
        observation=f"{observation}; {size(own.tokens)}.",
        verdict=grade(False, causes),
        cause=" and ".join(causes),
        remedy="Look at label-errors.jsonl from the top; correct the annotations, or make the guidelines say "
        "why they are right.",
        examples=tuple(one.line() for one in [*doubtful, *needless][:5]),
        **details,
    )


def inconsistent(project: ProjectData) -> Finding:
    """Strings with several labels."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for record in project["train"]:
        for span in record.spans:
            seen[" ".join(record.text[max(span.start, 0) : span.end].casefold().split())][span.label] += 1
    repeated: Counter[str] = Counter()
    odd: Counter[str] = Counter()
    for counts in seen.values():
        usual = min(counts.items(), key=lambda item: (-item[1], item[0]))[0]
        for label, count in counts.items() if counts.total() > 1 else ():
            repeated[label] += count
            odd[label] += count * (label != usual)
    if not repeated:
        reason = f"No string is annotated twice in {len(project['train']):,} training texts."
        return untested(INCONSISTENT, reason)
    if len({label for counts in seen.values() for label in counts}) < 2:
        return untested(INCONSISTENT, ONE_LABEL)
    shares = {x: odd[x] / repeated[x] for x in sorted(repeated) if repeated[x] >= thresholds.MINIMUM_SPANS}
    worst = max(shares, key=lambda label: shares[label], default="")
    high = max(shares.values(), default=0.0)
    minority = {key: counts.total() - max(counts.values()) for key, counts in seen.items()}
    examples = [
        f"{key!r}: " + ", ".join(f"{label} {k}" for label, k in sorted(seen[key].items()))
        for key in sorted(minority, key=lambda key: (-minority[key], key))[:5]
        if minority[key]
    ]
    n = sum(counts.total() for counts in seen.values())
    return Finding(
        **INCONSISTENT,
        observation=f"{odd.total():,} of {repeated.total():,} spans of repeated strings "
        f"({percent(odd.total() / repeated.total())}) have another label than is usual for the string"
        + (f", of {worst} {percent(high)}" if high else "")
        + f"; n={n:,} spans.",
        verdict=grade(high > thresholds.INCONSISTENT, high > thresholds.INCONSISTENT_WATCH),
        cause=f"the same strings are sometimes labelled {worst} and sometimes not",
        remedy="Settle the strings in the examples in the guidelines; some may well differ by context.",
        figures={"spans": n, "repeated": repeated.total(), "minority": odd.total()}
        | {"by_label": {label: round(value, 4) for label, value in shares.items()}},
        examples=tuple(examples),
    )

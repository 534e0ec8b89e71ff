"""Decide the next step of a project: where it stands, its weakest spot, the command to run."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ie.core import stats
from ie.core.text import counted
from ie.data.splits import SIDES
from ie.evaluation.scoring import ALL
from ie.status.snapshot import Curve, Scores, Snapshot

# A pipeline is good from this F on, to which `train-curve` projects by default.
GOOD = 0.9
# Fewer test texts support one digit only, too little to compare scores.
FEW_TEST = stats.documents_for(2)
# A label holds the pipeline back if its whole interval is this much below the overall F.
WEAK = 0.1
WIDTH = 80
REVIEW, ALL_STEPS, CHECK = "weasel run review", "weasel run all", "weasel run check"
DIAGNOSE = "weasel run diagnose"
AGAIN = "weasel run review . --vars.review_select errors"
# Names of the systems of an evaluation.
SYSTEMS = {
    "llm": "the LLM",
    "rules": "rules",
    "memoriser": "the dictionary",
    "crf": "a plain CRF",
    "tfidf": "TF-IDF with a regression",
    "majority": "the most frequent category",
    "reviewed": "reviewed only",
    "silver": "silver only",
    "both": "silver and reviewed",
    "distilled": "the distilled pipeline",
    "combined": "with rules",
}
NOTHING = "nothing stands out"
BASELINES = ("llm", "rules", "memoriser", "crf", "tfidf", "majority")


@dataclass(frozen=True)
class NextStep:
    """Where the project stands, its weakest spot, the command to run, and the reason for it."""

    standing: str
    weakest: str
    command: str
    reason: str

    def lines(self, width: int = WIDTH) -> list[str]:
        """The three lines for the terminal; long ones are wrapped."""
        rows = (
            ("Status", self.standing),
            ("Weakest", self.weakest),
            ("Next", f"{self.command}: {self.reason}" if self.reason else self.command),
        )
        return [
            textwrap.fill(text, width, initial_indent=f"{name:9}", subsequent_indent=" " * 9)
            for name, text in rows
        ]


Rule = Callable[[Snapshot], NextStep | None]


def decide(snapshot: Snapshot) -> NextStep:
    """The next step of a project: the first rule that applies."""
    return _first(RULES, snapshot)


def answer(results: Snapshot) -> tuple[str, list[str], str]:
    """The headline, its certainty and the next step, for the page of an evaluation."""
    scores = _scores(results)
    if results.system not in scores.f:
        measured = f"No pipeline is among the systems scored on {counted(scores.documents, 'test text')}."
        return measured, [], "`weasel run all`"
    f = scores.f[results.system][ALL]
    shown = _score(scores, results.system)
    good = stats.decimals(GOOD, 1)
    if f.low >= GOOD:
        headline = f"Good: F is {shown}, above {good}."
    elif f.high < GOOD:
        headline = f"Not good yet: F is {shown}, below {good}."
    else:
        headline = f"F is {shown}: it may be above {good} or below."
    digits = stats.resolved_digits(scores.documents)
    sure = (
        f"The pipeline ({SYSTEMS.get(results.system, results.system)}), measured on "
        f"{counted(scores.documents, 'gold test text')}; these support "
        f"{counted(digits, 'digit') if digits else 'no digit'}, ± is the 95 % interval."
    )
    step = _first(RESULT_RULES, results)
    weakest = f"Weakest spot: {step.weakest}." if step.weakest != NOTHING else ""
    beside = _beside(scores)
    comparison = f"On the same texts: {beside}." if beside else ""
    following = f"`{step.command}`: {step.reason}."
    return headline, [line for line in (sure, comparison, weakest) if line], following


def _first(rules: Sequence[Rule], snapshot: Snapshot) -> NextStep:
    steps = (rule(snapshot) for rule in rules)
    return next((step for step in steps if step), None) or _ship(snapshot)


def _unreadable(now: Snapshot) -> NextStep | None:
    if not now.problems:
        return None
    first = now.problems[0]
    place = first.split(": ")[0]
    more = f" and {len(now.problems) - 1} more" if len(now.problems) > 1 else ""
    return NextStep(
        f"{_shortened(place)} can't be used{more}", "the files themselves", CHECK, "it says what is wrong"
    )


def _nothing(now: Snapshot) -> NextStep | None:
    if now.texts or now.answers:
        return None
    return NextStep(
        "there are no texts yet",
        "the data: assets/texts.jsonl has no text",
        "weasel run init . --vars.init_texts FILE --vars.init_labels A,B",
        "",
    )


def _unreviewed(now: Snapshot) -> NextStep | None:
    if now.answers:
        return None
    if now.llm and now.llm.texts:
        return NextStep(
            f"{counted(now.llm.texts, 'text')} annotated by the LLM, none reviewed",
            "no reviewed text: nothing can be measured",
            REVIEW,
            "a dozen texts are enough to begin",
        )
    return NextStep(
        f"{counted(now.texts, 'text')}, none reviewed",
        "no reviewed text: nothing can be trained or measured",
        REVIEW,
        "a dozen texts are enough to begin",
    )


def _nothing_accepted(now: Snapshot) -> NextStep | None:
    if now.answers.get("accept"):
        return None
    answers = ", ".join(f"{n:,} {name}" for name, n in sorted(now.answers.items()))
    return NextStep(
        f"{counted(sum(now.answers.values()), 'text')} reviewed, none accepted ({answers})",
        "only accepted texts train and measure; reject is for unusable ones",
        REVIEW,
        _how_to_review(now, "accept texts, also those without a label"),
    )


def _gap(now: Snapshot) -> NextStep | None:
    """A part of the split without texts, or nothing to learn."""
    silver = now.train_on in ("silver", "both")
    parts = [part for part in SIDES if not now.parts.get(part) and not (silver and part == "train")]
    if parts:
        weakest = f"no text of {' and '.join(parts)} yet"
        return NextStep(_reviewed(now), weakest, REVIEW, _how_to_review(now, "go on until each part has one"))
    if not silver and not any(now.label_counts.get("train", {}).get(label) for label in now.labels):
        reason = _how_to_review(now, "find texts with the labels")
        return NextStep(_reviewed(now), "no training text has any of the labels", REVIEW, reason)
    return None


def _unlearned(now: Snapshot) -> str:
    """The label that no training text has, as the weakest spot; "" if there is none."""
    counts = now.label_counts.get("train", {})
    missing = [label for label in now.labels if not counts.get(label)]
    if not missing or now.train_on in ("silver", "both"):
        return ""
    others = f" (and {len(missing) - 1} more labels)" if len(missing) > 1 else ""
    return f"{_shortened(missing[0])}{others}: in none of {counted(now.parts['train'], 'training text')}"


def _label_missing(now: Snapshot) -> NextStep | None:
    if weakest := _unlearned(now):
        reason = _how_to_review(now, "find some, or remove the label")
        return NextStep(_standing(now), weakest, REVIEW, reason)
    return None


def _llm_failed(now: Snapshot) -> NextStep | None:
    if not now.llm or not now.llm.failed:
        return None
    run = now.llm
    if run.unavailable:
        return NextStep(
            f"LLM: {run.texts - run.failed:,} of {counted(run.texts, 'text')} annotated",
            f"{run.unavailable:,} text{'s' * (run.unavailable != 1)} got no answer",
            "weasel run llm-annotate",
            "it asks only for the missing ones",
        )
    if 2 * run.failed > run.texts:
        return NextStep(
            f"LLM: {run.texts - run.failed:,} of {run.texts:,} answers can be used",
            "the answers don't have the form that the prompt asks for",
            "weasel run tune-prompt",
            "or set another model: --vars.provider NAME",
        )
    return None


def _not_made(now: Snapshot) -> NextStep | None:
    """Split, pipeline or scores are missing, or older than what they are made from."""
    if now.split is None:
        weakest = _unlearned(now) or "no pipeline is trained yet"
        reason = "it trains, measures and packages"
    elif now.changed:
        weakest = f"{counted(now.changed, 'reviewed text')} changed since the split"
        reason = "it trains and measures with them"
    elif not now.trained:
        weakest, reason = "no pipeline is trained on this split yet", "it trains and measures one"
    elif now.scores is None:
        weakest, reason = "the pipeline has no scores yet", "it measures them"
    elif now.scores.stale:
        weakest, reason = f"the scores are out of date: {now.scores.stale}", "it measures again"
    else:
        return None
    return NextStep(_reviewed(now), weakest, ALL_STEPS, reason)


def _not_evaluated(now: Snapshot) -> NextStep | None:
    scores = _scores(now)
    if now.system in scores.f:
        return None
    if not any(now.label_counts.get("test", {"": 1}).values()):
        # measuring again would give no score either
        weakest = f"no label in any of {counted(scores.documents, 'test text')}: no score yet"
        return NextStep(_reviewed(now), weakest, REVIEW, _how_to_review(now, "go on until some have one"))
    return NextStep(
        f"scores on {counted(scores.documents, 'test text')}, none of a pipeline",
        f"the pipeline trained on {now.train_on} has no score",
        ALL_STEPS,
        "it trains and measures it",
    )


def _broken(now: Snapshot) -> NextStep | None:
    diagnosis = now.diagnosis
    if not diagnosis or diagnosis.stale or not diagnosis.broken:
        return None
    weakest = f"diagnosis: {_shortened(diagnosis.broken, 55)}"
    if diagnosis.suspects:
        return NextStep(_standing(now), weakest, AGAIN, counted(diagnosis.suspects, "doubtful span"))
    return NextStep(_standing(now), weakest, ALL_STEPS, "after you fixed it; diagnosis.html says how")


def _few_test(now: Snapshot) -> NextStep | None:
    n = _scores(now).documents
    if n >= FEW_TEST:
        return None
    digits = stats.resolved_digits(n)
    says = f"only {digits} digit holds" if digits else "no digit holds"
    more = FEW_TEST - n
    goal = f"{counted(more, 'more test text')} make{'s' * (more == 1)} the second digit hold"
    weakest = f"the test set: on {counted(n, 'text')} {says}"
    return NextStep(_standing(now), weakest, REVIEW, _how_to_review(now, goal))


def _untrainable(now: Snapshot) -> NextStep | None:
    """The curve says that something is wrong."""
    faults = {
        "nothing": "the curve: nothing was learned from any portion",
        "fall": "the curve falls with the last examples",
        "perfect": "the curve: F is about 1 from the start, too good to be true",
    }
    curve = _curve(now)
    if not curve or curve.kind not in faults or _diagnosed(now):
        return None
    return NextStep(_standing(now), faults[curve.kind], DIAGNOSE, "it finds out what is broken")


def _silver_harms(now: Snapshot) -> NextStep | None:
    """Silver makes the pipeline worse beyond noise: on test, or on dev if test does not show the opposite."""
    if now.train_on not in ("silver", "both"):
        return None
    better, behind = _scores(now).better, now.silver_behind
    on_dev = now.train_on == "both" and behind is not None and behind.low > 0
    if ("reviewed", now.train_on) not in better and not (on_dev and (now.train_on, "reviewed") not in better):
        return None
    return NextStep(
        _standing(now),
        "the LLM's annotations: training without them is better",
        "weasel run all . --vars.train_on reviewed",
        "leave them out",
    )


def _baseline_better(now: Snapshot) -> NextStep | None:
    scores = _scores(now)
    better = [name for name in BASELINES if (name, now.system) in scores.better]
    curve = _curve(now)
    if not better or (curve and curve.kind == "rise"):
        return None
    best = max(better, key=lambda name: scores.f[name][ALL].value if name in scores.f else 0)
    f = f" (F {_score(scores, best)})" if best in scores.f else ""
    name = SYSTEMS.get(best, best)
    does = "score" if best == "rules" else "scores"
    weakest = f"the pipeline: {name}{f} {does} better"
    if not _diagnosed(now):
        return NextStep(_standing(now), weakest, DIAGNOSE, "is anything broken?")
    if best == "crf":
        return NextStep(_standing(now), weakest, "weasel run compare", "try other training configs")
    if now.scored == "spans" and now.llm and now.unreviewed and now.train_on != "distilled":
        return NextStep(
            _standing(now), weakest, "weasel run distill", f"learn from {name} on unreviewed texts"
        )
    return NextStep(_standing(now), weakest, REVIEW, _how_to_review(now, "more training texts"))


def _rising(now: Snapshot) -> NextStep | None:
    curve = _curve(now)
    if not curve or curve.kind != "rise" or not curve.rise:
        return None
    places = stats.fine_digits(curve.dev, curve.rise.half_width)
    rise = f"{stats.decimals(curve.rise.value, places)} ({stats.ends(curve.rise, places)})"
    return NextStep(
        _standing(now),
        f"training data: the last {curve.added:,} texts raised F by {rise}, dev",
        REVIEW,
        _how_to_review(now, "more texts will probably raise it further"),
    )


def _weak_label(now: Snapshot) -> NextStep | None:
    scores = _scores(now)
    own = scores.f[now.system]
    label = _lowest(now)
    if not label or own[label].high >= GOOD or own[label].high > own[ALL].value - WEAK:
        return None
    if not _diagnosed(now):
        return NextStep(_standing(now), _label_line(now), DIAGNOSE, "are its annotations consistent?")
    if now.diagnosis and now.diagnosis.suspects:
        return NextStep(
            _standing(now), _label_line(now), AGAIN, counted(now.diagnosis.suspects, "doubtful span")
        )
    reason = _how_to_review(now, f"more texts with {_shortened(label, 20)}")
    return NextStep(_standing(now), _label_line(now), REVIEW, reason)


def _flat(now: Snapshot) -> NextStep | None:
    """Not good, and no sign that more data of the same kind would help."""
    if _scores(now).f[now.system][ALL].high >= GOOD:
        return None
    if not _diagnosed(now):
        return NextStep(_standing(now), _label_line(now), DIAGNOSE, "F is low: is anything broken?")
    if now.scored != "spans":
        return NextStep(_standing(now), _label_line(now), REVIEW, _how_to_review(now, "more texts"))
    reason = "data look fine: try other training configs"
    return NextStep(_standing(now), _label_line(now), "weasel run compare", reason)


def _ship(now: Snapshot) -> NextStep:
    """Good enough, as far as can be told: what follows training."""
    standing, weakest = _standing(now), _label_line(now)
    if not now.package:
        return NextStep(standing, weakest, "weasel run package", "a wheel that pip installs")
    if now.package_stale:
        reason = "the package holds an older pipeline"
        return NextStep(standing, weakest, "weasel run package", reason)
    if now.components is False:
        reason = "links, amounts, relations, categories"
        return NextStep(standing, weakest, "weasel run components", reason)
    if now.components and not now.database:
        return NextStep(standing, weakest, "weasel run database", "questions answered from your texts")
    if now.unwatched:
        return NextStep(standing, weakest, "weasel run watch", "do the applied texts look the same?")
    return NextStep(standing, weakest, "weasel run serve", "or `weasel run apply` for many texts at once")


# The rules that need results alone.
RESULT_RULES: tuple[Rule, ...] = (
    _broken,
    _few_test,
    _untrainable,
    _silver_harms,
    _rising,
    _baseline_better,
    _weak_label,
    _flat,
)
RULES: tuple[Rule, ...] = (
    _unreadable,
    _nothing,
    _unreviewed,
    _nothing_accepted,
    _gap,
    _llm_failed,
    _not_made,
    _not_evaluated,
    _label_missing,
    *RESULT_RULES,
)


def _scores(now: Snapshot) -> Scores:
    """The scores, which exist once `_not_made` has passed."""
    assert now.scores
    return now.scores


def _curve(now: Snapshot) -> Curve | None:
    """The training curve, unless it was measured on other data."""
    return now.curve if now.curve and not now.curve.stale else None


def _diagnosed(now: Snapshot) -> bool:
    """Whether there is nothing more to learn from `diagnose`, which is about spans."""
    return now.scored != "spans" or (now.diagnosis is not None and not now.diagnosis.stale)


def _shortened(text: str, width: int = 40) -> str:
    """A name or sentence on one line, cut off after `width` characters."""
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def _reviewed(now: Snapshot) -> str:
    """How many texts are reviewed, and in which parts of the split they are."""
    parts = ", ".join(f"{side} {now.parts.get(side, 0):,}" for side in SIDES)
    return (
        f"{counted(now.answers.get('accept', 0), 'text')} accepted ({parts}); {now.unreviewed:,} unreviewed"
    )


def _how_to_review(now: Snapshot, reason: str) -> str:
    """The reason to review, unless there is nothing left to review."""
    return "add texts first: all are reviewed" if now.unreviewed == 0 else reason


def _score(scores: Scores, system: str, label: str = ALL) -> str:
    return stats.format_score(scores.f[system][label], documents=scores.documents)


def _standing(now: Snapshot) -> str:
    """F of the pipeline, with that of the systems it has to beat."""
    scores = _scores(now)
    rules = " with rules" if now.with_rules else ""
    own = f"F {_score(scores, now.system)}{rules} on {counted(scores.documents, 'test text')}"
    beside = _beside(scores)
    return f"{own} ({beside})" if beside else own


def _beside(scores: Scores) -> str:
    """F of the systems that need no training."""
    others = [name for name in ("rules", "llm", "majority") if name in scores.f]
    return "; ".join(
        f"{SYSTEMS.get(name, name).removeprefix('the ')} {_score(scores, name)}" for name in others
    )


def _lowest(now: Snapshot) -> str:
    """The label with the lowest F; "" if there is only one."""
    own = _scores(now).f[now.system]
    labels = [label for label in now.labels if label in own]
    return min(labels, key=lambda label: own[label].value) if len(labels) > 1 else ""


def _label_line(now: Snapshot) -> str:
    """The label with the lowest F."""
    scores, label = _scores(now), _lowest(now)
    kind = "span" if now.scored == "spans" else "text"
    if label:
        n = scores.spans.get(label, 0)
        return f"{_shortened(label)}: F {_score(scores, now.system, label)} on {counted(n, kind)}"
    return NOTHING

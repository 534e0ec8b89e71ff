"""From findings and scores to one of the talk's four cases (slides 23-36), and what to do next."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ie.core import stats
from ie.core.stats import Estimate
from ie.data.docs import from_doc
from ie.data.records import Record, Span, blank
from ie.diagnosis import annotation_tests, data_tests, recorded_training, thresholds, training_tests
from ie.diagnosis.findings import Finding, ProjectData, untested
from ie.evaluation import scoring, systems
from ie.evaluation.systems import SystemResult

# Which finding is named first: what makes the others meaningless comes before them.
ORDER = (
    "encoding",
    "tokenizer",
    "no-annotation",
    "labels",
    "off-token",
    "stale",
    "texts",
    "leak",
    "near-leak",
    "drift",
    "places",
    "types",
    "shifted",
    "swapped",
    "missing",
    "inconsistent",
    "other-rules",
    "clipping",
    "learning-rate",
    "weights",
    "gradients",
    "shuffled",
    "tiny",
    "dropout",
)
CASES = {
    "no-training": "It doesn't train at all.",
    "chance": "It is hardly better than chance.",
    "decent": "It is decent.",
    "too-good": "It is too good to be true.",
    "unknown": "It can't be told which case this is.",
}
NEXT = {
    "no-training": "Nothing in data and settings explains it: train on one text, then two, and print what "
    "the model is given (tokens, labels, offsets).",
    "chance": "No single fault was found: look at some dev texts as the model sees them, ask whether the "
    "words tell the answer to a stranger, and make the labels easier to tell apart.",
    "decent": "Run evaluate to see where it errs.",
    "too-good": "Don't believe it yet: test on new texts of another week or source, annotated by hand.",
    "unknown": "Review some more texts, then run `weasel run split` and this again.",
}
# Findings that say: whatever the score is, it wasn't earned.
UNEARNED = ("leak", "near-leak", "shuffled")


@dataclass
class Diagnosis:
    """The outcome: everything that table, page and JSON show.

    `scores`: F on dev (and test, for the pipeline) of what there is to compare with; `missing`: why not.
    """

    findings: list[Finding]
    case: str
    why: str
    next: str
    scores: dict[str, tuple[str, Estimate]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    reference: recorded_training.Reference = field(default_factory=recorded_training.Reference)

    @property
    def first(self) -> Finding | None:
        """The finding that is named as the cause."""
        return named(self.findings)


def named(findings: Sequence[Finding]) -> Finding | None:
    """Of the broken ones the first in `ORDER`."""
    broken = [finding for finding in findings if finding.verdict == "broken"]
    return min(broken, key=lambda finding: ORDER.index(finding.name), default=None)


def hypotheses(project: ProjectData, progress: Callable[[str], Any] = lambda name: None) -> Iterator[Finding]:
    """All tests, those of the data first."""
    progress("texts, offsets, splits")
    yield from data_tests.run(project, recorded_training.tokenizing(project))
    progress("annotations")
    yield from annotation_tests.run(project)
    yield from training_tests.run(project, progress)


def diagnose(
    project: ProjectData,
    *,
    llm: Path | None = None,
    patterns: Path | None = None,
    gazetteer: Path | None = None,
    gazetteer_label: str = "",
    curve: Path | None = None,
    progress: Callable[[str], Any] = lambda name: None,
) -> Diagnosis:
    """Run everything.

    Args:
        llm: the LLM's annotations; patterns, gazetteer, gazetteer_label: of the rules baseline.
        curve: what `train-curve` wrote, if it did.
        progress: told what is tried next.

    Raises:
        UserError: the config is broken, or a file of the baselines.
    """
    annotated = any(doc.ents for doc in project.docs("train", project.nlp.vocab))
    progress("a short training")
    reference = (
        recorded_training.reference(project)
        if annotated
        else recorded_training.Reference(failed="there is no annotation")
    )
    progress("baselines")
    scores, missing = compared(project, reference, llm, patterns, gazetteer, gazetteer_label)
    findings = list(hypotheses(project, progress))
    findings.append(baseline_finding(scores, len(reference.docs.get("dev", []))))
    case, why = decide(project, findings, reference, scores)
    return Diagnosis(
        findings=findings,
        case=case,
        why=why,
        next=next_step(case, findings, curve_sentence(curve, len(project["train"]))),
        scores=scores,
        missing=missing,
        sizes={side: len(project[side]) for side in ("train", "dev", "test")},
        reference=reference,
    )


def compared(
    project: ProjectData,
    reference: recorded_training.Reference,
    llm: Path | None,
    patterns: Path | None,
    gazetteer: Path | None,
    gazetteer_label: str,
) -> tuple[dict[str, tuple[str, Estimate]], dict[str, str]]:
    """F on dev of the short training and of what it has to beat; why some of them are missing."""
    gold = [from_doc(doc) for doc in reference.docs.get("dev", [])]
    scores: dict[str, tuple[str, Estimate]] = {}
    if not any(record.spans for record in gold):
        why = project.problems.get("dev") or "no span in dev to score on."
        return {}, {"all": why if not reference.failed else reference.failed}
    scores["pipeline"] = "Pipeline, short training", training_tests.f_of(reference.counts["dev"])
    if "test" in reference.counts:
        scores["pipeline-test"] = "The same on test", training_tests.f_of(reference.counts["test"])
    texts = [record.text for record in gold]
    known = [from_doc(doc) for doc in project.docs("train", project.nlp.vocab)]
    missing = {}
    answers = [
        SystemResult("chance", "Chance: as many spans at random", at_random(gold, known, project)),
        SystemResult("majority", "Majority: no span", [Record(text=text) for text in texts]),
        systems.run_dictionary(project.nlp, known, texts, repeats=0),
    ]
    if patterns or gazetteer:
        answers.append(
            systems.run_rules(
                blank(project.lang),
                gold,
                patterns=patterns,
                gazetteer=gazetteer,
                label=gazetteer_label,
                repeats=0,
            )
        )
    else:
        missing["Rules"] = "neither patterns nor a gazetteer are given; write some."
    if llm:
        answers.append(systems.stored_llm(llm, gold))
    for answer in answers:
        if answer.predicted is None:
            missing[answer.title] = answer.missing
            continue
        counts = scoring.count(gold, answer.predicted, project.labels).sum(axis=1)
        scores[answer.name] = answer.title, training_tests.f_of(counts)
    return scores, missing


def at_random(gold: Sequence[Record], train: Sequence[Record], project: ProjectData) -> list[Record]:
    """Spans at random places, with lengths and labels of training and as many a token as there."""
    rng = np.random.default_rng(project.seed)
    docs = [project.nlp.make_doc(record.text) for record in train]
    sizes, tokens = [], sum(map(len, docs))
    for record, doc in zip(train, docs, strict=True):
        for span in record.spans:
            size = sum(span.start <= token.idx < span.end for token in doc)
            sizes.append((max(size, 1), span.label))
    found = []
    for record in gold:
        doc = project.nlp.make_doc(record.text)
        spans = []
        for start in np.flatnonzero(rng.random(len(doc)) < len(sizes) / max(tokens, 1)):
            size, label = sizes[int(rng.integers(len(sizes)))]
            last = doc[min(int(start) + size, len(doc)) - 1]
            spans.append(Span(start=doc[int(start)].idx, end=last.idx + len(last), label=label))
        found.append(Record(text=record.text, spans=spans))
    return found


def baseline_finding(scores: dict[str, tuple[str, Estimate]], n: int) -> Finding:
    """Does the pipeline beat what needs no learning?"""
    told = {
        "name": "baselines",
        "group": "baselines",
        "hypothesis": "The pipeline learned nothing that a list of names doesn't know.",
        "question": "Its score on dev is no better than that of chance, memory, rules or the LLM.",
        "test": f"F of a short training ({thresholds.REFERENCE_STEPS} steps on "
        f"{thresholds.TRAIN_TEXTS} texts at most).",
    }
    if "pipeline" not in scores:
        return untested(told, "There is no dev with spans to score on.")
    mine = scores["pipeline"][1]
    better = [
        title
        for name, (title, score) in scores.items()
        if not name.startswith("pipeline") and score.value >= mine.value
    ]
    said = "; ".join(
        f"{title} {stats.format_score(score, documents=n)}"
        for name, (title, score) in scores.items()
        if name != "pipeline-test"
    )
    return Finding(
        **told,
        observation=f"{said} (dev n={n:,}). {scoring.LLM_ON_DEV if 'llm' in scores else ''}".rstrip(),
        verdict="watch" if better else "fine",
        cause=f"no better than: {', '.join(better)}",
        remedy="Let what is better suggest annotations, review more, and train longer (`weasel run train`).",
        figures={name: round(score.value, 4) for name, (_, score) in scores.items()},
    )


def decide(
    project: ProjectData,
    findings: Sequence[Finding],
    reference: recorded_training.Reference,
    scores: dict[str, tuple[str, Estimate]],
) -> tuple[str, str]:
    """The case, and why it is that one."""
    by_name = {finding.name: finding for finding in findings}
    broken = {name for name, finding in by_name.items() if finding.verdict == "broken"}
    if reference.failed:
        return "no-training", f"The short training failed: {reference.failed.rstrip('.')}."
    if "tiny" in broken:
        return "no-training", by_name["tiny"].observation
    unearned = next((name for name in UNEARNED if name in broken), None)
    if unearned:
        return "too-good", f"Whatever the score is, it wasn't earned: {by_name[unearned].observation}"
    n = len(reference.docs.get("dev", []))
    if "pipeline" not in scores:
        why = project.problems.get("dev") or f"dev has {n} text{'s' * (n != 1)} and no span to score on."
        return "unknown", f"There is nothing to score on: {why}"
    f = scores["pipeline"][1]
    shown = stats.format_score(f, n)
    if f.value >= thresholds.TOO_GOOD and f.low >= thresholds.TOO_GOOD_LOW:
        return "too-good", f"F is {shown} on dev after a short training; people rarely agree so well."
    if n < thresholds.MINIMUM_TEXTS:
        return "unknown", f"F is {shown} on dev: on {n} text{'s' * (n != 1)} that may be luck."
    noise = by_name["shuffled"].figures.get("f", 0.0) if "shuffled" in by_name else 0.0
    level = max(scores["chance"][1].value, scores["majority"][1].value, noise)
    if f.value <= level + thresholds.CHANCE:
        return (
            "chance",
            f"F is {shown} on dev; chance or shuffled labels give {stats.decimals(level, 2)}.",
        )
    return (
        "decent",
        f"F is {shown} on dev after a short training; chance gives {stats.decimals(level, 2)}.",
    )


def curve_sentence(path: Path | None, examples: int) -> str:
    """What the training curve said of more examples, or that it has to be drawn.

    Args:
        examples: training texts there are now; a curve of other ones is out of date.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path else {}
        last, said = found["rows"][-1], found["verdict"]["text"]
        whole = round(100 * last["examples"] / last["percent"])
    except (OSError, ValueError, KeyError, IndexError, TypeError, ZeroDivisionError):
        return "Run train-curve to see whether more examples help."
    # A portion of some percent is a whole number of examples.
    if abs(whole - examples) > 100 / last["percent"]:
        return f"Run train-curve again: its curve is of {whole:,} training texts; now there are {examples:,}."
    return f"The training curve says: {said}"


def next_step(case: str, findings: Sequence[Finding], curve: str) -> str:
    """What to do now, in a few sentences.

    Args:
        curve: `curve_sentence`.
    """
    first = named(findings)
    if first:
        return f"First: {first.cause}. {first.remedy}"
    watch = [finding for finding in findings if finding.verdict == "watch"]
    if case != "decent":
        return NEXT[case]
    said = f"{curve} {NEXT[case]}"
    if watch:
        said += f" On the way, look at: {'; '.join(finding.cause for finding in watch)}."
    return said


def first_broken(project: ProjectData) -> Finding | None:
    """What `diagnose` would name, without the tests that come behind it in `ORDER`."""
    groups = (
        lambda: data_tests.run(project, recorded_training.tokenizing(project)),
        lambda: annotation_tests.run(project),
        lambda: training_tests.run(project),
    )
    for group in groups:
        found = named(list(group()))
        if found:
            return found
    return None

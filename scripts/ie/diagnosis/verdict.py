"""From findings and scores to one of the talk's four cases (slides 23-36), and what to do next."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from components.span_classifier import annotated_spans
from ie.core import stats
from ie.core.stats import Estimate
from ie.core.text import counted
from ie.data.docs import from_doc
from ie.data.records import Record, Span, blank
from ie.diagnosis import annotation_tests, data_tests, recorded_training, thresholds, training_tests
from ie.diagnosis.findings import SPLITS, Finding, ProjectData, grade, untested
from ie.diagnosis.recorded_training import Reference
from ie.evaluation import scoring, systems
from ie.evaluation.systems import SystemResult

# Which finding is named first: those that make others meaningless come before them.
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
    "unknown": "It is unknown which case this is.",
}
NEXT = {
    "no-training": "Nothing in data and settings explains it: train on one text, then two, and print what "
    "the model gets (tokens, labels, offsets).",
    "chance": "No single fault was found: look at some dev texts as the model sees them, ask whether the "
    "words alone would tell a stranger the answer, and make the labels easier to tell apart.",
    "decent": "Run evaluate to see where it errs.",
    "too-good": "Don't believe it yet: test on new texts of another week or source, annotated by hand.",
    "unknown": "Review some more texts, then run `weasel run split` and this again.",
}
# Findings by which the score, whatever it is, isn't earned.
UNEARNED = ("leak", "near-leak", "shuffled")
NO_ANNOTATION = "there is no annotation"
# Title and F of each system, by name.
Scores = dict[str, tuple[str, Estimate]]


@dataclass
class Diagnosis:
    """Everything that table, page and JSON show.

    Attributes:
        case: one of `CASES`. `why`: the reason for it. `next`: what to do.
        scores: F on dev (and test, for the pipeline) of each system. `missing`: why others have none.
        sizes: texts in train, dev and test.
    """

    findings: list[Finding]
    case: str
    why: str
    next: str
    scores: Scores = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    reference: Reference = field(default_factory=Reference)

    @property
    def first(self) -> Finding | None:
        """The finding that counts as the cause."""
        return first_cause(self.findings)


def first_cause(findings: Sequence[Finding]) -> Finding | None:
    """The first of the broken ones in `ORDER`."""
    broken = [finding for finding in findings if finding.verdict == "broken"]
    return min(broken, key=lambda finding: ORDER.index(finding.name), default=None)


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
        curve: the file that `train-curve` writes; it may be missing.
        progress: called with what is tried next.

    Raises:
        UserError: the config is broken, or a file of the baselines.
    """
    annotated = any(annotated_spans(doc) for doc in project.docs("train", project.nlp.vocab))
    progress("a short training")
    reference = recorded_training.reference(project) if annotated else Reference(failed=NO_ANNOTATION)
    progress("baselines")
    scores, missing = compare(project, reference, llm, patterns, gazetteer, gazetteer_label)
    progress("texts, offsets, splits")
    findings = [*data_tests.run(project, recorded_training.tokenizer_pipeline(project))]
    progress("annotations")
    findings += [*annotation_tests.run(project), *training_tests.run(project, progress)]
    findings.append(baseline_finding(scores, len(reference.docs.get("dev", []))))
    case, why = decide(project, findings, reference, scores)
    return Diagnosis(
        findings=findings,
        case=case,
        why=why,
        next=next_step(case, findings, curve_sentence(curve, len(project["train"]))),
        scores=scores,
        missing=missing,
        sizes={split: len(project[split]) for split in SPLITS},
        reference=reference,
    )


def compare(
    project: ProjectData,
    reference: Reference,
    llm: Path | None,
    patterns: Path | None,
    gazetteer: Path | None,
    gazetteer_label: str,
) -> tuple[Scores, dict[str, str]]:
    """F on dev of the short training and of the baselines; why some of them are missing."""
    gold = [from_doc(doc) for doc in reference.docs.get("dev", [])]
    if not any(record.spans for record in gold):
        return {}, {"all": reference.failed or project.problems.get("dev") or "no span in dev to score on."}
    scores = {"pipeline": ("Pipeline, short training", training_tests.f_of(reference.counts["dev"]))}
    if "test" in reference.counts:
        scores["pipeline-test"] = "The same on test", training_tests.f_of(reference.counts["test"])
    texts = [record.text for record in gold]
    train = [from_doc(doc) for doc in project.docs("train", project.nlp.vocab)]
    missing = {}
    baselines = [
        SystemResult("chance", "Chance: as many spans at random", random_spans(gold, train, project)),
        SystemResult("majority", "Majority: no span", [Record(text=text) for text in texts]),
        systems.run_dictionary(project.nlp, train, texts, repeats=0, overlapping=project.overlapping),
    ]
    if patterns or gazetteer:
        sources = {"patterns": patterns, "gazetteer": gazetteer, "label": gazetteer_label}
        overlapping = project.overlapping
        baselines.append(
            systems.run_rules(blank(project.lang), gold, **sources, repeats=0, overlapping=overlapping)
        )
    else:
        missing["Rules"] = "there are neither patterns nor a gazetteer; write some."
    if llm:
        baselines.append(systems.stored_llm(llm, gold))
    for system in baselines:
        if system.predicted is None:
            missing[system.title] = system.missing
            continue
        counts = scoring.count(gold, system.predicted, project.labels).sum(axis=1)
        scores[system.name] = system.title, training_tests.f_of(counts)
    return scores, missing


def random_spans(gold: Sequence[Record], train: Sequence[Record], project: ProjectData) -> list[Record]:
    """Spans at random places; lengths, labels and number per token are those of training."""
    rng = np.random.default_rng(project.seed)
    docs = [project.nlp.make_doc(record.text) for record in train]
    sizes, tokens = [], sum(map(len, docs))
    for record, doc in zip(train, docs, strict=True):
        for span in record.spans:
            size = sum(span.start <= token.idx < span.end for token in doc)
            sizes.append((max(size, 1), span.label))
    records = []
    for record in gold:
        doc = project.nlp.make_doc(record.text)
        spans = []
        for start in np.flatnonzero(rng.random(len(doc)) < len(sizes) / max(tokens, 1)).tolist():
            size, label = sizes[int(rng.integers(len(sizes)))]
            span = doc[start : start + size]
            spans.append(Span(start=span.start_char, end=span.end_char, label=label))
        records.append(Record(text=record.text, spans=spans))
    return records


def baseline_finding(scores: Scores, n: int) -> Finding:
    """Does the pipeline beat what needs no learning?"""
    hypothesis = {
        "name": "baselines",
        "group": "baselines",
        "hypothesis": "The pipeline learned nothing that a list of names doesn't know.",
        "question": "Its score on dev is no better than that of chance, dictionary, rules or the LLM.",
        "test": f"F of a short training ({thresholds.TRAIN_TEXTS} texts and {thresholds.REFERENCE_STEPS} "
        "updates at most).",
    }
    if "pipeline" not in scores:
        return untested(hypothesis, "There is no dev with spans to score on.")
    own = scores["pipeline"][1].value
    on_dev = {name: score for name, score in scores.items() if name != "pipeline-test"}
    better = [title for name, (title, f) in on_dev.items() if name != "pipeline" and f.value >= own]
    table = "; ".join(f"{title} {stats.format_score(f, documents=n)}" for title, f in on_dev.values())
    return Finding(
        **hypothesis,
        observation=f"{table} (dev n={n:,}). {scoring.LLM_ON_DEV if 'llm' in scores else ''}".rstrip(),
        verdict=grade(False, better),
        cause=f"no better than: {', '.join(better)}",
        remedy="Let what is better suggest annotations, review more, and train on it (`weasel run train`).",
        figures={name: round(f.value, 4) for name, (_, f) in scores.items()},
    )


def decide(
    project: ProjectData,
    findings: Sequence[Finding],
    reference: Reference,
    scores: Scores,
) -> tuple[str, str]:
    """The case, and the reason for it."""
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
        why = project.problems.get("dev") or f"dev has {counted(n, 'text')} and no span to score on."
        return "unknown", f"There is nothing to score on: {why}"
    f = scores["pipeline"][1]
    shown = stats.format_score(f, n)
    if f.value >= thresholds.TOO_GOOD and f.low >= thresholds.TOO_GOOD_LOW:
        return "too-good", f"F is {shown} on dev after a short training; people rarely agree so well."
    if n < thresholds.MINIMUM_TEXTS:
        return "unknown", f"F is {shown} on dev: on {counted(n, 'text')} that may be luck."
    noise = by_name["shuffled"].figures.get("f", 0.0) if "shuffled" in by_name else 0.0
    level = max(scores["chance"][1].value, scores["majority"][1].value, noise)
    chance = stats.decimals(level, 2)
    if f.value <= level + thresholds.CHANCE:
        return "chance", f"F is {shown} on dev; chance or shuffled labels give {chance}."
    return "decent", f"F is {shown} on dev after a short training; chance gives {chance}."


def curve_sentence(path: Path | None, examples: int) -> str:
    """The verdict of the training curve on more examples, or that it has to be drawn.

    Args:
        examples: number of training texts now; a curve of another number is out of date.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path else {}
        last, text = content["rows"][-1], content["verdict"]["text"]
        whole = round(100 * last["examples"] / last["percent"])
    except (OSError, ValueError, KeyError, IndexError, TypeError, ZeroDivisionError):
        return "Run train-curve to see whether more examples help."
    # A portion of some percent is a whole number of examples.
    if abs(whole - examples) > 100 / last["percent"]:
        return (
            f"Run train-curve again: its curve has {whole:,} training texts, and there are {examples:,} now."
        )
    return f"The training curve says: {text}"


def next_step(case: str, findings: Sequence[Finding], curve: str) -> str:
    """What to do now, in a few sentences.

    Args:
        curve: `curve_sentence`.
    """
    first = first_cause(findings)
    if first:
        return f"First: {first.cause}. {first.remedy}"
    watch = [finding for finding in findings if finding.verdict == "watch"]
    if case != "decent":
        return NEXT[case]
    weaknesses = f" Also look at: {'; '.join(finding.cause for finding in watch)}." if watch else ""
    return f"{curve} {NEXT[case]}{weaknesses}"

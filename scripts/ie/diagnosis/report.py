"""A diagnosis as text for the terminal, a page and a JSON object."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from ie.core import stats
from ie.core.text import wrapped
from ie.diagnosis.findings import Finding
from ie.diagnosis.verdict import CASES, Diagnosis
from ie.reports import figures, html

MARKS = {"broken": "✘ broken", "watch": "⚠ watch", "not tested": "– not tested", "fine": "✔ fine"}
# Findings with these verdicts are shown in full.
SHOWN = ("broken", "watch")
FIELDS = ("name", "group", "hypothesis", "question", "test", "observation", "verdict")


def ordered(diagnosis: Diagnosis) -> list[Finding]:
    """The findings, the broken ones first."""
    return sorted(diagnosis.findings, key=lambda finding: list(MARKS).index(finding.verdict))


def text(diagnosis: Diagnosis) -> str:
    """Broken and weak points in full, for a terminal of 80 columns, and a line for each other verdict."""
    lines = []
    for finding in ordered(diagnosis):
        if finding.verdict not in SHOWN:
            continue
        lines.append(wrapped(f"{MARKS[finding.verdict]}: {finding.cause}", indent="  "))
        parts = {
            "Hypothesis": finding.hypothesis,
            "Question": f"if so, {finding.question}",
            "Test": finding.test,
            "Observation": finding.observation,
            "Remedy": finding.remedy,
        }
        lines += [wrapped(f"  {name:12}{part}", indent=" " * 14) for name, part in parts.items() if part]
        lines.append("")
    n = len(diagnosis.findings)
    for kind in (kind for kind in MARKS if kind not in SHOWN):
        names = [finding.name for finding in diagnosis.findings if finding.verdict == kind]
        if names:
            lines.append(wrapped(f"{MARKS[kind]}, {len(names)} of {n} hypotheses: {', '.join(names)}."))
    untested = [finding.observation for finding in diagnosis.findings if finding.verdict == "not tested"]
    lines += [wrapped(f"Not tested: {reason}") for reason in dict.fromkeys(untested)]
    return "\n".join(lines)


def summary(diagnosis: Diagnosis) -> list[str]:
    """The case, why, what is broken and what to do next, a sentence each."""
    broken = [finding for finding in diagnosis.findings if finding.verdict == "broken"]
    lines = [f"{CASES[diagnosis.case]} {diagnosis.why}"]
    if len(broken) > 1 and diagnosis.first:
        others = [finding.cause for finding in broken if finding is not diagnosis.first]
        lines.append(f"Also found, perhaps as a consequence: {'; '.join(others)}.")
    return [*lines, diagnosis.next]


def to_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as a JSON object: same project and machine, same bytes."""
    return {
        "case": diagnosis.case,
        "why": diagnosis.why,
        "next": diagnosis.next,
        "cause": diagnosis.first.name if diagnosis.first else None,
        "texts": diagnosis.sizes,
        "scores": {name: score.as_dict() for name, (_, score) in diagnosis.scores.items()},
        "missing": diagnosis.missing,
        "findings": [
            {field: getattr(finding, field) for field in FIELDS}
            | ({"cause": finding.cause} if finding.verdict in SHOWN else {})
            | {"figures": finding.figures, "examples": list(finding.examples)}
            for finding in diagnosis.findings
        ],
    }


def answer(diagnosis: Diagnosis) -> html.Answer:
    """What the page says first: the case, why it is that one, and what to do."""
    *sentences, following = summary(diagnosis)
    if not diagnosis.first:
        sentences = [diagnosis.why, following]
        weigh = "`weasel run status` weighs this against scores and curve."
        return html.Answer(f"No fault was found. {CASES[diagnosis.case]}", sentences, weigh)
    return html.Answer(f"Broken: {diagnosis.first.cause}.", sentences, diagnosis.first.remedy)


def page(diagnosis: Diagnosis, links: Sequence[html.PageLink] = ()) -> str:
    """The diagnosis as a page that needs no other file; `links` lead to other pages."""
    by_name = {finding.name: finding for finding in diagnosis.findings}
    pictures = [
        (name, title, figures.svg(drawing(finding), name, title))
        for name, title, drawing in (
            ("learning-rate", "Fall of the loss by learning rate", sweep_figure),
            ("gradients", "Norm of the gradients by layer", gradient_figure),
        )
        if (finding := by_name.get(name)) and finding.figures
    ]
    n, n_test = (len(diagnosis.reference.docs.get(split, [])) for split in ("dev", "test"))
    return html.page(
        "diagnosis.html.j2",
        diagnosis=diagnosis,
        answer=answer(diagnosis),
        links=links,
        findings=ordered(diagnosis),
        marks=MARKS,
        pictures=pictures,
        layers=layers(diagnosis),
        scores=[
            (title, stats.format_score(score, n_test if name == "pipeline-test" else n))
            for name, (title, score) in diagnosis.scores.items()
        ],
    )


def sweep_figure(finding: Finding) -> Figure:
    """How far the loss fell with each learning rate; the config's own is marked."""
    falls = {float(k): v for k, v in finding.figures.items() if k not in ("configured", "best")}
    rates = sorted(falls)
    with rc_context(figures.STYLE):
        drawing = figures.figure(5.6, 2.6)
        axis = drawing.subplots()
        heights = [100 * (falls[rate] if falls[rate] is not None else -1) for rate in rates]
        configured = finding.figures["configured"]
        own = [math.isclose(rate, configured, rel_tol=0.01) for rate in rates]
        colours = [(figures.COLOURS if mine else figures.TINTS)[0] for mine in own]
        axis.bar(range(len(rates)), [max(height, -100) for height in heights], color=colours)
        axis.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
        axis.axhline(0, color="black", linewidth=0.8)
        axis.set_xlabel("learning rate (dark: the config's)")
        axis.set_ylabel("fall of the loss, %")
    return drawing


def gradient_figure(finding: Finding) -> Figure:
    """Norm of each layer's gradients, step by step."""
    with rc_context(figures.STYLE):
        drawing = figures.figure(7.4, 1.2 + 0.19 * len(finding.figures))
        axis = drawing.subplots()
        for i, (name, entry) in enumerate(finding.figures.items()):
            # A log axis can't show a norm of 0.
            norms = [norm or math.nan for norm in entry["steps"]["norm"]]
            style = ("-", "--", ":")[i // len(figures.COLOURS) % 3]
            axis.plot(range(1, len(norms) + 1), norms, style, linewidth=1.2, label=name)
        axis.set_yscale("log")
        axis.set_xlabel("step")
        axis.set_ylabel("norm, before clipping")
        axis.grid(axis="y", alpha=0.3)
        axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return drawing


def layers(diagnosis: Diagnosis) -> list[tuple[str, ...]]:
    """For each layer: relative change of its weights; mean, variance and norms of its gradients."""
    by_name = {finding.name: finding.figures for finding in diagnosis.findings}
    gradients = by_name.get("gradients", {})
    keys = ("mean", "variance", "norm_first", "norm_last")
    return [
        (name, shorthand(change), *(shorthand(gradients.get(name, {}).get(key)) for key in keys))
        for name, change in by_name.get("weights", {}).items()
    ]


def shorthand(value: float | None) -> str:
    """`3.2e-05`; a dash for a missing number."""
    return "–" if value is None else f"{value:.2g}"

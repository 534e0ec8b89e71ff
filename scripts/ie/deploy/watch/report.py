"""What `watch` says: plain sentences, a table, a picture of files or days, and a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ie.core import stats
from ie.core.stats import Estimate
from ie.core.text import counted, joined
from ie.deploy.watch import drift, production
from ie.deploy.watch.drift import ALPHA, MINIMUM, Difference, Drift, Look
from ie.deploy.watch.measures import Measure
from ie.deploy.watch.production import ProductionScore
from ie.reports import figures, html
from ie.reports.html import Answer, PageLink

TABLE_HEADER = ("Measure", "These texts", "Reference", "Size of the difference", "p, Holm", "Verdict")
REVIEW = "weasel run review . --vars.review_select watch"
# Measures in the headline, pictures on the page, and files or days named in a sentence.
NAMED, PICTURES, LISTED = 3, 4, 3
TITLES = {
    "length": "words per text",
    "unknown words": "share of unknown words",
    "entities": "entities per text",
    "no entity": "texts without an entity",
    "confidence": "confidence of the entities",
}
# What more and less of a measure is called, where that isn't "more ..." and "fewer ...".
CHANGES = {
    "length": ("longer texts", "shorter texts"),
    "confidence": ("higher confidence", "lower confidence"),
}
NOUNS = {"unknown words": "unknown words", "entities": "entities per text"}


@dataclass(frozen=True)
class WatchReport:
    """All that is shown.

    Attributes:
        drift: the comparison. score: on reviewed texts of the sample; None before there are enough.
        sample: size of the sample; 0 where only counters are known.
        notes: sentences about what was left out.
        manifest: hash of the manifest of the results, by which `status` knows them.
    """

    drift: Drift
    score: ProductionScore | None
    sample: int
    notes: Sequence[str] = ()
    manifest: str = ""


def title(measure: Measure) -> str:
    """A measure in words."""
    kind, _, name = measure.name.partition(" ")
    if kind == "label":
        return f"texts with {name}"
    return f"texts of the category {name}" if kind == "category" else TITLES[measure.name]


def number(measure: Measure, estimate: Estimate, n: int) -> str:
    """A value of a measure, with the digits that n texts support: `21 %`, `3.1`, `.92`."""
    value = estimate.value
    if isnan(value):
        return "–"
    if measure.kind == "share" or measure.name == "unknown words":
        return f"{value * 100:.0f} %"
    if measure.name == "confidence":
        return stats.decimals(value, stats.shown_digits(n, estimate.half_width))
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def with_interval(measure: Measure, estimate: Estimate, n: int) -> str:
    """A value of a measure with its interval: `21 % (19 to 23 %)`."""
    value, low, high = (
        number(measure, Estimate(x, estimate.low, estimate.high), n)
        for x in (estimate.value, estimate.low, estimate.high)
    )
    return value if isnan(estimate.value) else f"{value} ({low.removesuffix(' %')} to {high})"


def phrase(one: Difference, look: Look, reference_texts: int) -> str:
    """A difference in words: `twice as many unknown words (21 % against 9 %)`."""
    more = one.effect > 0
    times = drift.ratio(one)
    noun = NOUNS.get(one.measure.name) or title(one.measure)
    if one.measure.name in CHANGES:
        words = CHANGES[one.measure.name][0 if more else 1]
    elif 1.9 <= times < 2.1:
        words = f"twice as many {noun}"
    elif 1.5 <= times < 10:
        words = f"{times:.1f} times as many {noun}"
    else:
        words = f"{'more' if more else 'fewer'} {noun}"
    value = number(one.measure, one.value, look.tally.counted(one.measure))
    unit = " words" if one.measure.name == "length" else ""
    return f"{words} ({value}{unit} against {number(one.measure, one.reference, reference_texts)})"


def headline(result: Drift) -> str:
    """The sentence that says whether the texts differ from the training data, and how."""
    if not result.looks:
        return f"Too few texts to compare: {counted(result.texts, 'text')}, and {MINIMUM} are needed."
    total, alarmed = result.total, result.alarmed
    if total and total.alarms:
        if alarmed and alarmed[0] is not result.looks[0]:
            first = alarmed[0]
            return f"These texts differ from the training data since {first.name}: {_phrases(first, result)}."
        return f"These texts differ from the training data: {_phrases(total, result)}."
    if alarmed:
        names = ", ".join(look.name for look in alarmed[:LISTED])
        more = f" and {len(alarmed) - LISTED} more" if len(alarmed) > LISTED else ""
        return (
            f"Some texts differ from the training data, those of {names}{more}: "
            f"{_phrases(alarmed[0], result)}."
        )
    return (
        f"No sign that these texts differ from the training data: {counted(result.texts, 'text')} in "
        f"{counted(len(result.looks), 'comparison')}."
    )


def _phrases(look: Look, result: Drift) -> str:
    shown = [phrase(one, look, result.reference.texts) for one in look.alarms[:NAMED]]
    more = len(look.alarms) - len(shown)
    if more:
        return ", ".join(shown) + f", and {counted(more, 'more difference')}"
    return joined(shown)


def answer(report: WatchReport) -> Answer:
    """What page and terminal say first."""
    result = report.drift
    sure = [
        f"Compared with {counted(result.reference.texts, 'text')} of dev and test, which the pipeline wasn't "
        f"trained on. The probability of a false alarm is at most {stats.decimals(ALPHA, 2)} over all "
        "measures, files and days."
    ]
    if result.waiting and result.looks:
        sure.append(f"The last {counted(result.waiting, 'text')} are too few for a comparison of their own.")
    if report.score:
        sure += production.sentences(report.score)
    elif not report.sample:
        sure.append(
            "How good the pipeline is on these texts can't be measured: the service kept none of them."
        )
    else:
        sure.append("How good the pipeline is on these texts isn't known until some are reviewed.")
    return Answer(headline(result), sure, following(report))


def following(report: WatchReport) -> str:
    """The next step."""
    score = report.score
    if not report.sample:
        return "`weasel run apply`: with some texts like these, to draw a sample of them for review."
    if score and score.texts == report.sample and (score.verdict == "worse" or report.drift.drifted):
        return "`weasel run all`: train with the corrected texts, then apply again."
    if score and score.texts == report.sample:
        return "`weasel run apply`: the next texts."
    done = f"{score.texts} of {report.sample}" if score else f"{counted(report.sample, 'text')}"
    return f"`{REVIEW}`: {done} drawn at random, to measure F on these texts."


def rows(look: Look, reference_texts: int) -> list[tuple[str, ...]]:
    """The measures of a look, the largest differences first."""
    ordered = sorted(look.differences, key=lambda one: (not one.alarm, -abs(one.effect)))
    return [
        (
            title(one.measure),
            with_interval(one.measure, one.value, look.tally.counted(one.measure)),
            with_interval(one.measure, one.reference, reference_texts),
            f"{one.effect:+.1f}",
            shown_p(one.holm),
            _verdict(one, look),
        )
        for one in ordered
    ]


def shown_p(p: float) -> str:
    """A p-value that may be very small: `.03`, `< .0001`."""
    return stats.format_p(p) if p >= 1e-4 else "< .0001"


def _verdict(one: Difference, look: Look) -> str:
    if one.alarm:
        return "differs"
    return "small" if one.holm < look.level else "noise"


def look_rows(result: Drift) -> list[tuple[str, ...]]:
    """A row for each file or day, and one for all texts."""
    looks = [*result.looks, *([result.total] if result.total and len(result.looks) > 1 else [])]
    return [
        (
            look.name,
            f"{look.tally.texts:,}",
            "; ".join(phrase(one, look, result.reference.texts) for one in look.alarms) or "–",
        )
        for look in looks
    ]


def picture(result: Drift) -> Figure:
    """The measures that differ most, by file or day; the band is the reference."""
    largest: dict[str, float] = {}
    for one in (one for look in result.comparisons for one in look.differences):
        # what is an alarm comes before what isn't
        size = abs(one.effect) + (1000 if one.alarm else 0)
        largest[one.measure.name] = max(size, largest.get(one.measure.name, 0))
    chosen = sorted(largest, key=lambda name: -largest[name])[:PICTURES]
    measures = [measure for name in chosen for measure in result.reference.measures if measure.name == name]
    with matplotlib.rc_context(figures.STYLE):
        drawing = figures.figure(7.5, 0.7 + 1.5 * len(measures))
        axes = drawing.subplots(len(measures), 1, sharex=True, squeeze=False)[:, 0]
        for axis, measure in zip(axes, measures, strict=True):
            _draw(axis, measure, result)
        shown = [look.name if len(look.name) <= 24 else f"{look.name[:23]}…" for look in result.looks]
        step = max(1, len(shown) // 12)
        axes[-1].set_xticks(range(0, len(shown), step), shown[::step], rotation=20 if len(shown) > 3 else 0)
        axes[-1].set_xlim(-0.6, len(shown) - 0.4)
    return drawing


def _draw(axis: Axes, measure: Measure, result: Drift) -> None:
    reference = result.reference.mean(measure)
    percent = 100 if measure.kind == "share" or measure.name == "unknown words" else 1
    axis.axhspan(reference.low * percent, reference.high * percent, color=figures.TINTS[0], alpha=0.7)
    axis.axhline(reference.value * percent, color=figures.COLOURS[0], linewidth=1)
    alarmed = [any(one.measure == measure for one in look.alarms) for look in result.looks]
    points = [(x, look.tally.mean(measure)) for x, look in enumerate(result.looks)]
    points = [(x, mean) for x, mean in points if not isnan(mean.value)]
    if len(points) > 1:
        axis.plot([x for x, _ in points], [m.value * percent for _, m in points], color="#888", linewidth=1)
    for x, mean in points:
        axis.errorbar(
            [x],
            [mean.value * percent],
            yerr=[[(mean.value - mean.low) * percent], [(mean.high - mean.value) * percent]],
            fmt="D" if alarmed[x] else "o",
            markersize=6 if alarmed[x] else 4,
            capsize=3,
            color=figures.COLOURS[5] if alarmed[x] else figures.COLOURS[7],
        )
    axis.set_title(f"{title(measure)}{', %' if percent == 100 else ''}", loc="left", fontsize=9)
    axis.grid(axis="y", alpha=0.3)
    axis.set_ylim(bottom=0)


def page(report: WatchReport, links: Sequence[PageLink] = ()) -> str:
    """The page, with everything in one file."""
    result = report.drift
    look = result.total
    drawing = None
    if look:
        drawing = figures.svg(
            picture(result),
            "watch",
            f"The measures that differ most, in {counted(len(result.looks), 'comparison')}",
        )
    return html.page(
        "watch.html.j2",
        answer=answer(report),
        links=links,
        picture=drawing,
        header=TABLE_HEADER,
        rows=rows(look, result.reference.texts) if look else [],
        looks=look_rows(result),
        score=production_rows(report.score) if report.score else [],
        notes=list(report.notes),
        alpha=stats.decimals(ALPHA, 2),
        level=f"{look.level:.2g}".lstrip("0") if look else "",
        minimum=MINIMUM,
        texts=result.texts,
        reference=result.reference.texts,
    )


def production_rows(score: ProductionScore) -> list[tuple[str, ...]]:
    """F on the sample minus F on test, by label."""
    n = min(score.texts, score.test_texts)
    return [
        (one.label, stats.format_difference(one.difference, n), shown_p(one.holm)) for one in score.labels
    ]


def to_json(report: WatchReport) -> dict[str, Any]:
    """The figures of the page."""
    result, score = report.drift, report.score
    return {
        "headline": headline(result),
        "manifest": report.manifest,
        "texts": result.texts,
        "reference_texts": result.reference.texts,
        "drifted": result.drifted,
        "looks": [
            {
                "name": look.name,
                "texts": look.tally.texts,
                "level": look.level,
                "measures": {
                    one.measure.name: {
                        **one.value.flat("value"),
                        **one.reference.flat("reference"),
                        "effect": round(one.effect, 4),
                        "p": one.p,
                        "holm": one.holm,
                        "alarm": one.alarm,
                    }
                    for one in look.differences
                },
            }
            for look in result.comparisons
        ],
        "production": score
        and {
            "texts": score.texts,
            "test_texts": score.test_texts,
            **score.f.flat("f"),
            **score.test.flat("test"),
            **score.difference.flat("difference"),
            "holm": score.holm,
            "verdict": score.verdict,
            "labels": {
                one.label: one.difference.flat("difference") | {"holm": one.holm} for one in score.labels
            },
            "kinds": {
                one.kind: one.difference.flat("difference") | {"holm": one.holm, "texts": one.texts}
                for one in score.kinds
            },
        },
    }

"""How the score grows with the training data: nested portions, several seeds, and what the last rise means.

Each seed shuffles the examples, and its portions are the first examples of that order. A larger portion
contains the smaller ones, so a seed's difference between two is due to the added examples. The spread over
seeds shows both the randomness of training and that of the choice of examples.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ie.core import stats
from ie.core.errors import UserError
from ie.core.stats import Estimate, SeedNoise
from ie.core.text import counted, names_in
from ie.data.records import Record
from ie.data.splits import nested_order
from ie.evaluation import scoring
from ie.training.curve import projection
from ie.training.curve.projection import Projection
from ie.training.jobs import Cell

# Between two seeds F moves by about this much (Reimers and Gurevych 2017); a single seed can't show it.
SEED_NOISE = 0.01
# The best checkpoint is chosen on dev, so its score there is too high: as measured, by .004 to .010 with 127
# texts, .015 to .021 with 30. It falls with the root of their number; this covers the upper ends of both.
OPTIMISM = 0.115
ONE_SEED = SeedNoise(SEED_NOISE, math.inf)
# With so high a score on the smallest portion, something is wrong, or the task is too easy to learn from.
PERFECT = 0.995
# With fewer training examples, a model that predicts nothing right is no sign of a fault.
FEW = 50
Row = dict[str, Any]


@dataclass(frozen=True)
class CurveVerdict:
    """What the last segment of the curve shows.

    `kind`: "rise", "fall" or "noise"; "nothing" (all scores 0), "perfect" (all about 1), "single" (one
    portion), "untrained" or "unscored" (dev has no label). `rise` is the change of F over the last segment,
    with its interval.
    """

    kind: str
    text: str
    rise: Estimate | None = None


def parse_portions(text: str) -> list[float]:
    """`"25,50,75,100"` as numbers.

    Raises:
        UserError: something isn't a number above 0 and at most 100.
    """
    try:
        portions = sorted({float(part) for part in names_in(text)})
    except ValueError:
        portions = []
    if not portions or not portions[0] > 0 or not portions[-1] <= 100:
        raise UserError(
            f"--portions {text!r} must be percentages above 0 and at most 100, such as 25,50,75,100."
        )
    return portions


def sizes(portions: Sequence[float], n: int) -> dict[float, int]:
    """Number of examples of each portion of `n`, of those that differ.

    Of portions with the same examples only the largest is kept, and none that holds nothing.
    """
    by_size = {int(n * percent / 100 + 0.5): percent for percent in portions}
    return {percent: size for size, percent in by_size.items() if size}


def grid(
    texts: Sequence[str],
    labels: Sequence[set[str]],
    percents: Sequence[float],
    seeds: Sequence[int],
) -> dict[Cell, list[int]]:
    """The examples of each cell: of every portion with every seed.

    Args:
        labels: labels of each example.
        percents: portions of the examples, rising (`parse_portions`); see `sizes`.

    Raises:
        UserError: no portion holds any example.
    """
    portions = sizes(percents, len(texts))
    if not portions:
        raise UserError(
            f"{percents[-1]:g} % of {counted(len(texts), 'training example')} is none; set larger portions."
        )
    orders = {seed: nested_order(texts, labels, list(portions.values()), seed) for seed in seeds}
    return {
        Cell(percent, size, seed): orders[seed][:size] for percent, size in portions.items() for seed in seeds
    }


def left_out(percents: Sequence[float], cells: Mapping[Cell, Sequence[int]], n: int) -> list[str]:
    """A sentence on the portions that `grid` left out, or none."""
    missing = sorted(set(percents) - {cell.percent for cell in cells})
    if not missing:
        return []
    shown = " and ".join(f"{percent:g} %" for percent in missing)
    verb = "is" if len(missing) == 1 else "are"
    return [
        f"{shown} of {counted(n, 'training example')} {verb} left out: nothing, or the same examples as a "
        "larger portion."
    ]


def missing_labels(labels: Sequence[set[str]], chosen: Sequence[int]) -> list[str]:
    """Labels that some example has, but none of the chosen."""
    present = set().union(*(labels[i] for i in chosen))
    return sorted(set().union(*labels) - present)


def labels_in(record: Record) -> set[str]:
    """The labels of a record's spans."""
    return {span.label for span in record.spans}


def require(
    train: Sequence[Record], dev: Sequence[Record], labels: Sequence[str], names: tuple[Any, Any]
) -> None:
    """Refuse data on which every score would be meaningless, before anything is trained.

    Args:
        names: paths of train and dev, for the message.

    Raises:
        UserError: no label of the scheme in train or in dev.
    """
    for records, name in zip((train, dev), names, strict=True):
        if fault := unlabelled(records, labels, name):
            raise UserError(fault)


def unlabelled(records: Sequence[Record], labels: Sequence[str], name: Any) -> str:
    """Why nothing can be scored on these records, a sentence; "" if one of them has a label.

    Args:
        name: path of the records, for the message.
    """
    if any(span.label in labels for record in records for span in record.spans):
        return ""
    return (
        f"{name}: {counted(len(records))} without a single {', '.join(labels) or 'label'}, so there is "
        "nothing to score; review some more texts, then run `weasel run split`."
    )


def data_notes(
    train: Sequence[Record],
    dev: Sequence[Record],
    labels: Sequence[str],
    portions: Mapping[Cell, Sequence[int]],
) -> list[str]:
    """What the reader must know about the data, one sentence each."""
    in_train, in_dev = (
        Counter(span.label for record in records for span in record.spans) for records in (train, dev)
    )
    notes = []
    for label in labels:
        if in_dev[label] and not in_train[label]:
            notes.append(
                f"{label} can't be learnt: dev has it {counted(in_dev[label], 'time')}, the "
                "training data has none; all of them count as missed, at every portion."
            )
        elif in_train[label] and not in_dev[label]:
            notes.append(f"{label} can't be scored: dev has none of it.")
    if unknown := sorted((set(in_train) | set(in_dev)) - set(labels)):
        notes.append(f"Not scored, as the scheme doesn't have them: {', '.join(unknown)}.")
    texts = {record.text for record in train}
    if both := sum(record.text in texts for record in dev):
        notes.append(
            f"{counted(both, 'dev text')} of {len(dev):,} {'is' if both == 1 else 'are'} in the training "
            "data too, so the scores are too good; run `weasel run split` again."
        )
    scored = [labels_in(record) & set(labels) for record in train]
    missing: dict[tuple[float, int], set[str]] = {}
    for cell, chosen in portions.items():
        missing.setdefault((cell.percent, cell.examples), set()).update(missing_labels(scored, chosen))
    return notes + [
        f"The {percent:g} % portion ({counted(examples)}) has no {' and no '.join(sorted(names))}."
        for (percent, examples), names in missing.items()
        if names
    ]


def rows(cells: Sequence[Cell], results: Sequence[dict[str, Any]], labels: Sequence[str]) -> list[Row]:
    """One row per portion, from 0 % (where nothing is predicted) up.

    Returns:
        `percent`, `examples`; `score` (mean F over the seeds), `scores` (F of each seed), `sd` over the seeds
        (NaN for one), `f` (an Estimate: the mean, with the interval from dev texts and seeds); `labels`
        and `label_sd` (an Estimate and an sd each); `label_scores` (F of each seed); `counts` ((documents,
        3) of each seed); `unfinished` (trainings whose last checkpoint was the best); `chosen` (whether dev
        chose among several checkpoints of a training).
    """
    curve = [_row(0, 0, [], labels)]
    for percent in sorted({cell.percent for cell in cells}):
        chosen = [i for i, cell in enumerate(cells) if cell.percent == percent]
        curve.append(_row(percent, cells[chosen[0]].examples, [results[i] for i in chosen], labels))
    return curve


def _row(percent: float, examples: int, results: Sequence[dict[str, Any]], labels: Sequence[str]) -> Row:
    tables = [np.array(result["counts"], dtype=np.int64) for result in results]
    micro = [table.sum(axis=1) for table in tables]
    by_label = {label: [table[:, i] for table in tables] for i, label in enumerate(labels)}
    scores = [_f(counts) for counts in micro]
    label_scores = {label: [_f(counts) for counts in tables] for label, tables in by_label.items()}
    return {
        "percent": percent,
        "examples": examples,
        "score": float(np.mean(scores)) if scores else 0.0,
        "scores": scores,
        "sd": _sd(scores),
        "f": _mean(micro),
        "labels": {label: _mean(tables) for label, tables in by_label.items()},
        "label_sd": {label: _sd(values) for label, values in label_scores.items()},
        "label_scores": label_scores,
        "counts": micro,
        "unfinished": sum(bool(result.get("unfinished")) for result in results),
        "chosen": any(result.get("checkpoints", 2) > 1 for result in results),
    }


def _f(counts: np.ndarray) -> float:
    return float(np.nan_to_num(stats.prf(counts.sum(axis=0))[2]))


def _mean(tables: Sequence[np.ndarray]) -> Estimate:
    return stats.mean_over_seeds(tables) if tables else Estimate(0.0, 0.0, 0.0)


def _sd(values: Sequence[float]) -> float:
    """Standard deviation of a sample; NaN for a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def verdict(curve: Sequence[Row], dev: int) -> CurveVerdict:
    """What the rise of the last segment shows, and no more.

    The interval of the rise adds the noise of the dev texts (paired bootstrap, the same texts at both
    portions) to the noise of the seeds (`stats.combined`). The latter is pooled over the two portions, as
    smaller ones spread more; for a single seed it is the published one. A rise or fall must also be
    significant by a paired randomisation over the dev texts (`differ`).
    """
    trained = [row for row in curve if row["examples"]]
    if not trained:
        return CurveVerdict("untrained", "Nothing was trained.")
    last = trained[-1]
    if all(row["score"] >= PERFECT for row in trained):
        return CurveVerdict(
            "perfect",
            f"F is about 1 with {counted(trained[0]['examples'])} already (dev n={dev:,}): too good to be "
            "true, or too easy to ask about more data. Look for dev texts in the training data first.",
        )
    if len(trained) < 2:
        level = stats.format_score(last["f"], n=dev)
        return CurveVerdict("single", f"One portion tells no trend: F is {level} on dev.")
    before = trained[-2]
    seeds = len(last["counts"])
    if not any(row["score"] for row in trained):
        few = last["examples"] < FEW or dev < stats.FEWEST
        advice = (
            "so few texts may not be enough to learn from; review more."
            if few
            else "look for a fault in data or settings before you annotate more."
        )
        return CurveVerdict(
            "nothing",
            f"The model found nothing right with {before['examples']:,} and with {last['examples']:,} "
            f"examples (dev n={dev:,}): {advice}",
        )
    rise = last_rise(curve)
    added = last["examples"] - before["examples"]
    moved = (
        f"The last {counted(added)} ({before['percent']:g} to {last['percent']:g} %) moved F by "
        f"{stats.format_difference(rise, dev)}, dev n={dev:,}, {counted(seeds, 'seed')}"
    )
    clear = rise.low > 0 or rise.high < 0
    if clear and differ(last["counts"], before["counts"]):
        if rise.low > 0:
            text = f"{moved}: more than noise, so more of this kind will probably help."
            return CurveVerdict("rise", text, rise)
        text = f"{moved}: a fall beyond noise, so look at the examples that were added."
        return CurveVerdict("fall", text, rise)
    # More seeds are advised only where the number of texts isn't the problem: they don't replace texts.
    if clear:
        doubt = ", as a paired randomisation over the dev texts gives p ≥ .05"
    else:
        doubt = " (a single seed: seeds alone move F by about .01)" if seeds == 1 else ""
    remedy = "more dev texts" if clear or dev < stats.FEWEST else "more dev texts or seeds"
    return CurveVerdict(
        "noise",
        f"{moved}: this may be noise{doubt}. Whether more examples would help can't be told from it; "
        f"{remedy} would.",
        rise,
    )


def differ(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> bool:
    """Whether two systems differ (p < .05) by paired approximate randomisation over the texts.

    The bootstrap resamples the texts there are, so on few of them its intervals are too narrow: with two
    texts that both improved it would be certain. A text's outputs of all seeds are exchanged together.

    Args:
        first, second: (documents, 3) of each seed, as many seeds for both.
    """
    pooled = (np.sum(tables, axis=0) for tables in (first, second))
    return stats.randomisation(*pooled) < 1 - stats.CONFIDENCE


def last_rise(curve: Sequence[Row]) -> Estimate:
    """Change of F over the last segment, with its interval from dev texts and seeds."""
    before, last = curve[-2:]
    noise = stats.seed_noise([before["counts"], last["counts"]])
    return stats.difference_over_seeds(last["counts"], before["counts"], noise or ONE_SEED)[0]


def optimism(row: Row, dev: int) -> float:
    """How much too high F on so many dev texts may be; 0 if they chose no checkpoint."""
    return OPTIMISM / math.sqrt(dev) if row["chosen"] else 0.0


def level(row: Row, dev: int) -> str:
    """The score with all examples, and how far to trust it."""
    text = (
        f"With {counted(row['examples'])} F is {stats.format_score(row['f'], n=dev)} on dev, with the 95 % "
        "interval over its texts and seeds."
    )
    if not row["chosen"]:
        return text
    too_high = stats.half_width(optimism(row, dev), 3)
    return f"{text} Dev chose the checkpoints, so F is too high: by up to {too_high} on so many texts."


def training_notes(curve: Sequence[Row]) -> list[str]:
    """What the trainings show about the scores."""
    total = sum(len(row["scores"]) for row in curve)
    unfinished = sum(row["unfinished"] for row in curve)
    notes = []
    if unfinished:
        notes.append(
            f"{unfinished} of {counted(total, 'training')} stopped while the score still rose: raise "
            "max_steps in the config, or larger portions look worse than they are."
        )
    if is_same_with_every_seed(curve[-1]):
        notes.append(
            "The pipeline learns the same with every seed: seeds only draw the examples of the portions, so "
            "the scores of the largest one don't differ."
        )
    return notes


def is_same_with_every_seed(row: Row) -> bool:
    """Whether several trainings of a portion gave the same answers, as those of `crf` on all examples do."""
    first, *others = row["counts"] or [None]
    return bool(others) and all(np.array_equal(first, other) for other in others)


def overtaking(curve: Sequence[Row], llm: np.ndarray | None, further: Projection) -> list[str]:
    """How many examples the trained pipeline needs to beat the prompt: a sentence, or none without an LLM.

    Args:
        llm: counts (documents, 3) of the LLM on the dev texts, in the order of the rows' counts.
    """
    if llm is None:
        return []
    prompted = stats.intervals(llm)[2]
    places = stats.shown_digits(len(llm), prompted.half_width)
    score = f"The LLM as prompted has F {stats.decimals(prompted.value, places)} on the same texts"
    trained = [row for row in curve if row["examples"]]
    # Both intervals contain the noise of the same texts, so requiring no overlap is conservative; but with
    # few texts either is too narrow (`differ`).
    for row in trained:
        better = row["f"].low - optimism(row, len(llm)) > prompted.high
        if better and differ(row["counts"], [llm] * len(row["counts"])):
            beyond = "noise and what choosing its checkpoints on them may add" if row["chosen"] else "noise"
            return [
                f"{score}; with {counted(row['examples'])} the trained pipeline is better beyond {beyond}. "
                f"{scoring.LLM_ON_DEV}"
            ]
    last = trained[-1]
    if last["f"].high < prompted.low and differ(last["counts"], [llm] * len(last["counts"])):
        ahead = next((n for n, f in zip(further.grid, further.f, strict=True) if f >= prompted.value), None)
        when = f"about {ahead:,} examples would catch up" if ahead else "no projection catches up"
        return [f"{score}, better than the trained pipeline beyond noise; {when}. {scoring.LLM_ON_DEV}"]
    return [f"{score}, which the dev texts can't tell from the trained pipeline's. {scoring.LLM_ON_DEV}"]


def to_json(
    curve: Sequence[Row],
    dev: int,
    verdict: CurveVerdict,
    notes: Sequence[str],
    further: Projection | None = None,
    llm: Estimate | None = None,
) -> dict[str, Any]:
    """The curve as a JSON object, without timings."""

    def numbers(estimate: Estimate, sd: float, scores: Sequence[float]) -> dict[str, Any]:
        return {
            **estimate.flat("f"),
            "sd": None if np.isnan(sd) else round(sd, 4),
            "seeds": [round(score, 4) for score in scores],
        }

    return {
        "dev": {"documents": dev},
        "rows": [
            {
                "percent": row["percent"],
                "examples": row["examples"],
                **numbers(row["f"], row["sd"], row["scores"]),
                "labels": {
                    label: numbers(estimate, row["label_sd"][label], row["label_scores"][label])
                    for label, estimate in row["labels"].items()
                },
            }
            for row in curve
        ],
        "verdict": {
            "kind": verdict.kind,
            "text": verdict.text,
            "rise": verdict.rise.rounded() if verdict.rise else None,
        },
        "projection": projection.to_json(further) if further else None,
        "llm": llm.flat("f") if llm else None,
        "notes": list(notes),
    }

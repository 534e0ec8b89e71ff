"""Several systems on the same gold texts: scores with intervals, what differs, and where they go wrong."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from spacy.language import Language

from ie.core import stats
from ie.core.errors import UserError
from ie.core.files import json_text
from ie.core.pipelines import load_pipeline
from ie.core.stats import Estimate, Pair
from ie.data import records
from ie.data.records import Record
from ie.data.scheme import Scored
from ie.evaluation import baselines, categories, scoring

ALL = "all"
# More than so many times the texts there are is no advice.
FAR = 10
# What `train` writes, by folder.
PIPELINES = {
    "silver": "Pipeline, silver only",
    "reviewed": "Pipeline, reviewed only",
    "both": "Pipeline, silver and reviewed",
}
# What `distill` writes beside them, if it is run.
DISTILLED = {"distilled": "Pipeline, distilled"}


def pipelines(models: Path) -> dict[str, str]:
    """The pipelines that are expected in a folder, with their titles."""
    return PIPELINES | (DISTILLED if (models / "distilled" / "model-best").exists() else {})


@dataclass
class Answers:
    """What one system said about the test texts, or why it said nothing.

    Attributes:
        name: short name, a key of the JSON files. `title`: for people.
        predicted: records in the order of the test texts; None if the system is missing.
        missing: one sentence with the remedy, where it is.
        mb: size of what must be shipped to run it, in megabytes (10^6 bytes).
        seconds: duration of each timed run over all the test texts, or over `timed_words` words if set.
        notes: what the reader must know about the scores.
    """

    name: str
    title: str
    predicted: list[Record] | None = None
    missing: str = ""
    mb: float | None = None
    seconds: list[float] = field(default_factory=list)
    timed_words: int | None = None
    notes: list[str] = field(default_factory=list)


@dataclass
class Evaluation:
    """The outcome: everything that tables, JSON and the report show.

    `scores` and `counts` are by system name, and by label or "all" within; counts are (documents, 3).
    `errors` holds the number of errors by system, label and kind, `kinds` by system, slice and kind.
    Where categories are scored, records hold them as spans over the whole text (`scoring.view`), and
    `overall` has "macro F" and "accuracy" by system.
    """

    gold: list[Record]
    labels: tuple[str, ...]
    words: list[int]
    answers: list[Answers]
    counts: dict[str, dict[str, np.ndarray]]
    scores: dict[str, dict[str, tuple[Estimate, Estimate, Estimate]]]
    pairs: list[Pair]
    groups: list[tuple[str, ...]]
    closest: dict[str, Any] | None
    errors: dict[str, dict[str, dict[str, int]]]
    slices: dict[str, dict[str, dict[str, Any]]]
    kinds: dict[str, dict[str, dict[str, int]]]
    scored: Scored = "spans"
    overall: dict[str, dict[str, Estimate]] = field(default_factory=dict)

    @property
    def present(self) -> list[Answers]:
        """The systems that answered, in order."""
        return [answer for answer in self.answers if answer.predicted is not None]

    def title(self, name: str) -> str:
        """A system's title."""
        return next(answer.title for answer in self.answers if answer.name == name)

    def letters(self, name: str) -> str:
        """Letters of the groups the system is in; systems that share one can't be told apart."""
        return "".join(chr(ord("a") + i) for i, group in enumerate(self.groups) if name in group)


def evaluate(
    gold: Sequence[Record],
    train: Sequence[Record],
    answers: Sequence[Answers],
    labels: Sequence[str],
    *,
    words: Sequence[int],
    scored: Scored = "spans",
    meta_key: str = "",
    seed: int = 0,
) -> Evaluation:
    """Score the systems that answered and compare every two of them.

    Args:
        gold: the test records, in the order in which the systems answered.
        train: what the systems may have learnt from; tells seen strings from unseen ones.
        labels: of the scheme; others that a system predicts are added.
        scored: what of the records is scored.
        words: words of each test text.
        meta_key: key of the records' `meta` by which to slice (writer, genre); "" for none.
        seed: of bootstrap and randomisation.
    """
    gold, train = (scoring.view(side, scored) for side in (gold, train))
    answers = [
        replace(
            answer, predicted=None if answer.predicted is None else scoring.view(answer.predicted, scored)
        )
        for answer in answers
    ]
    present = {answer.name: answer.predicted for answer in answers if answer.predicted is not None}
    labels = scoring.labels_of([*gold, *(r for found in present.values() for r in found)], labels)
    counts: dict[str, dict[str, np.ndarray]] = {}
    overall = {}
    for name, found in present.items():
        table = scoring.count(gold, found, labels)
        if scored != "spans":
            overall[name] = {
                "macro F": categories.macro(table, seed),
                "accuracy": categories.accuracy(table, seed),
            }
        counts[name] = {label: table[:, i] for i, label in enumerate(labels)} | {ALL: table.sum(axis=1)}
    scores = {
        name: {label: stats.intervals(c, seed=seed) for label, c in by_label.items()}
        for name, by_label in counts.items()
    }
    micro = {name: by_label[ALL] for name, by_label in counts.items()}
    pairs = stats.compare(micro, seed=seed)
    ordered = sorted(micro, key=lambda name: -_zero(scores[name][ALL][2].value))
    known = scoring.known_strings(train)
    # a category is no slice of its own score, and no text of test was seen in training
    cuts = [*scoring.by_length(words), *(scoring.by_category(gold) if scored == "spans" else ())]
    cuts += scoring.by_meta(gold, meta_key) if meta_key else []
    slices: dict[str, dict[str, dict[str, Any]]] = {}
    for name, found in present.items():
        parts = scoring.by_novelty(gold, found, labels, known) if scored == "spans" else {}
        parts = {f"{novelty} in training": part for novelty, part in parts.items()}
        parts |= {cut.name: micro[name][cut.documents] for cut in cuts}
        slices[name] = {part: _slice(c, seed) for part, c in parts.items()}
    return Evaluation(
        gold=list(gold),
        labels=labels,
        words=list(words),
        answers=list(answers),
        counts=counts,
        scores=scores,
        pairs=pairs,
        groups=stats.groups(ordered, pairs),
        closest=_closest(micro, pairs),
        errors={name: scoring.error_counts(gold, found, labels) for name, found in present.items()},
        slices=slices,
        kinds={
            name: {
                part: kinds
                for part, kinds in scoring.kinds_by_slice(gold, found, cuts, known).items()
                if part in slices[name]
            }
            for name, found in present.items()
        },
        scored=scored,
        overall=overall,
    )


def _slice(counts: np.ndarray, seed: int) -> dict[str, Any]:
    concerned = int((counts.sum(axis=1) > 0).sum())
    spans = int(counts[:, stats.TP].sum() + counts[:, stats.FN].sum())
    return {"f": stats.intervals(counts, seed=seed)[2], "documents": concerned, "spans": spans}


def _closest(micro: dict[str, np.ndarray], pairs: Sequence[Pair]) -> dict[str, Any] | None:
    """Of the pairs not told apart the one with the smallest difference, and what it takes to settle it.

    Returns:
        `first`, `second`; `more`, about how many more texts would tell them apart if the differences seen
        are the true ones; where it is None, `why`: "few" (below `statistics.ENOUGH` texts the estimate is
        worth nothing), "same" (equal scores), "far" (more than `FAR` times the texts there are).
    """
    open_ = [pair for pair in pairs if not pair.differs()]
    if not open_:
        return None
    pair = min(open_, key=lambda p: (abs(_zero(p.difference.value)), p.first, p.second))
    n = len(micro[pair.first])
    found: dict[str, Any] = {"first": pair.first, "second": pair.second, "more": None, "why": None}
    if n < stats.ENOUGH:
        return found | {"why": "few"}
    total = stats.needed(micro, pair.first, pair.second)
    if math.isinf(total):
        return found | {"why": "same"}
    if total > FAR * n:
        return found | {"why": "far"}
    return found | {"more": max(1, stats.two_digits(total - n))}


def _zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def closest_sentence(evaluation: Evaluation) -> str:
    """What would settle the closest pair, in one sentence for people."""
    closest = evaluation.closest
    if len(evaluation.present) < 2:
        return "There is nothing to compare with: only one system answered."
    if closest is None:
        return "Every two systems differ by more than the noise of these texts."
    first, second = (evaluation.title(closest[key]) for key in ("first", "second"))
    n, more, why = len(evaluation.gold), closest["more"], closest["why"]
    if why == "few":
        missing = stats.ENOUGH - n
        return f"{n:,} test texts are too few to compare {first} and {second}; review {missing:,} more."
    if why == "same":
        return f"Closest: {first} and {second} score the same on these {n:,} texts."
    pair = next(p for p in evaluation.pairs if (p.first, p.second) == (closest["first"], closest["second"]))
    apart = stats.format_difference(
        Estimate(
            abs(pair.difference.value),
            *sorted(
                math.copysign(1, pair.difference.value or 1) * end
                for end in (pair.difference.low, pair.difference.high)
            ),
        ),
        n,
    )
    start = f"Closest: {first} and {second}, {apart} apart in F (n={n:,})."
    if why == "far":
        return f"{start} To show so small a difference takes more than {FAR} times as many test texts."
    return (
        f"{start} If the differences seen are the true ones, about {more:,} more gold test "
        f"text{'' if more == 1 else 's'} would show it (80 % power)."
    )


def metrics(evaluation: Evaluation) -> dict[str, Any]:
    """The scores as a JSON object, without timings: the same inputs give the same bytes."""
    gold = dict.fromkeys(evaluation.labels, 0)
    for record in evaluation.gold:
        for span in record.spans:
            gold[span.label] += 1
    systems = {}
    for answer in evaluation.present:
        by_label = {}
        for label, estimates in evaluation.scores[answer.name].items():
            tp, fp, fn = (int(x) for x in evaluation.counts[answer.name][label].sum(axis=0))
            by_label[label] = {
                key: value
                for metric, estimate in zip(stats.METRICS, estimates, strict=True)
                for key, value in numbers(metric, estimate).items()
            } | {"gold": tp + fn, "predicted": tp + fp, "correct": tp}
        size = {} if answer.mb is None else {"mb": round(answer.mb, 1)}
        systems[answer.name] = by_label | size
    return {
        "test": {
            "documents": len(evaluation.gold),
            "words": sum(evaluation.words),
            "spans": gold,
            "digits": stats.resolved_digits(len(evaluation.gold)),
        },
        "systems": systems,
        **(
            {
                "overall": {
                    name: {key: e.rounded() for key, e in estimates.items()}
                    for name, estimates in evaluation.overall.items()
                }
            }
            if evaluation.overall
            else {}
        ),
        "missing": {a.name: a.missing for a in evaluation.answers if a.predicted is None},
    }


def headline(metrics: dict[str, Any], system: str | None) -> dict[str, float]:
    """The few numbers of `metrics` to compare between commits (`dvc metrics diff`), in one flat object.

    F, P and R of a system over all labels with the ends of their 95 % intervals, the LLM's F, and `n`, the
    number of test texts. What wasn't measured or isn't defined is left out.

    Args:
        system: the pipeline whose scores they are; None if there is none.
    """
    ours = metrics["systems"].get(system, {}).get(ALL, {})
    found = {f"{m}{end}": ours.get(f"{m}{end}") for m in ("f", "p", "r") for end in ("", "_low", "_high")}
    found["llm_f"] = metrics["systems"].get("llm", {}).get(ALL, {}).get("f")
    found["n"] = metrics["test"]["documents"]
    return {name: value for name, value in found.items() if value is not None}


def analysis(evaluation: Evaluation) -> dict[str, Any]:
    """Comparisons and errors as a JSON object, without timings."""
    return {
        "pairs": [
            {"first": p.first, "second": p.second, "p": round(p.p, 4), "holm": round(p.holm, 4)}
            | numbers("difference", p.difference)
            for p in evaluation.pairs
        ],
        "groups": [list(group) for group in evaluation.groups],
        "closest": evaluation.closest,
        "errors": evaluation.errors,
        "slices": {
            name: {
                part: numbers("f", entry["f"])
                | {"documents": entry["documents"], "spans": entry["spans"]}
                | {"errors": evaluation.kinds[name][part]}
                for part, entry in parts.items()
            }
            for name, parts in evaluation.slices.items()
        },
        "notes": {a.name: a.notes for a in evaluation.answers if a.notes},
    }


def speeds(evaluation: Evaluation) -> dict[str, Any]:
    """Words per second as a JSON object: median, slowest and fastest run."""
    return {
        answer.name: {
            "words_per_second": round(middle),
            "slowest": round(low),
            "fastest": round(high),
            "runs": len(answer.seconds),
            "words": answer.timed_words or sum(evaluation.words),
        }
        for answer in evaluation.present
        if (rates := words_per_second(answer, sum(evaluation.words)))
        for middle, low, high in [rates]
    }


def words_per_second(answer: Answers, words: int) -> tuple[float, float, float] | None:
    """Median, slowest and fastest run over the test's `words`; None if it wasn't timed."""
    if not answer.seconds:
        return None
    rates = [(answer.timed_words or words) / max(seconds, 1e-9) for seconds in answer.seconds]
    return median(rates), min(rates), max(rates)


def numbers(name: str, estimate: Estimate) -> dict[str, float | None]:
    """An estimate for JSON: `name`, `name_low` and `name_high`, to four digits, None where undefined."""
    return {
        key: None if math.isnan(value) else round(value, 4) + 0.0
        for key, value in {
            name: estimate.value,
            f"{name}_low": estimate.low,
            f"{name}_high": estimate.high,
        }.items()
    }


def answer(
    name: str, title: str, predict: baselines.Predict, texts: Sequence[str], *, repeats: int, mb: float | None
) -> Answers:
    """Run a system over the texts: once for its answers and to warm up, then `repeats` times by the clock."""
    found = Answers(name, title, predict(texts), mb=mb)
    times = [perf_counter()]
    for _ in range(repeats):
        predict(texts)
        times.append(perf_counter())
    found.seconds = [after - before for before, after in pairwise(times)]
    return found


def pipeline(name: str, title: str, folder: Path, texts: Sequence[str], *, repeats: int) -> Answers:
    """Run a trained pipeline; one that isn't there is missing."""
    try:
        nlp = load_pipeline(folder, "run `weasel run train`")
    except UserError as error:
        return Answers(name, title, missing=str(error))
    return answer(name, title, baselines.predict_with(nlp), texts, repeats=repeats, mb=megabytes(folder))


def megabytes(path: Path) -> float:
    """Size of a file, or of all files below a folder, in 10^6 bytes."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return sum(file.stat().st_size for file in files) / 1e6


def llm(
    name: str,
    title: str,
    path: Path,
    gold: Sequence[Record],
    *,
    timings: Path | None = None,
    words: Sequence[int] = (),
) -> Answers:
    """The LLM's stored annotations of the test texts; missing if some text has none.

    A text on which the model failed counts as one where it found nothing, and a note says how many.

    Args:
        timings: JSONL as `llm-annotate` writes it: first how many calls were in flight at a time (`parallel`)
            and the size of the weights (`mb`), then the `id` of each text and the `seconds` of its calls. No
            speed without it.
        words: words of each text, for the speed.

    Raises:
        UserError: a file isn't in the data contract, or has no timings.
    """
    remedy = "run `weasel run llm-annotate`"
    if not path.exists():
        return Answers(name, title, missing=f"{path}: there is no such file; {remedy}.")
    report = records.ReadReport()
    stored = records.read_records(
        path, duplicates="first", bad_relations="drop", report=report, allow_empty=True
    )
    by_text = {record.text: record for record in stored}
    absent = sum(record.text not in by_text for record in gold)
    if absent:
        return Answers(
            name,
            title,
            missing=f"{path}: {absent:,} of {len(gold):,} test texts have no annotation; {remedy}.",
        )
    found, failed = [], 0
    for record in gold:
        answer = by_text[record.text]
        error = ((answer.model_extra or {}).get("llm") or {}).get("error")
        failed += bool(error)
        found.append(
            Record(text=record.text)
            if error
            else Record(text=record.text, spans=answer.spans, cats=answer.cats)
        )
    notes = [f"{failed:,} of {len(gold):,} texts got no usable answer and count as empty."] if failed else []
    answer = Answers(name, title, found, notes=notes)
    if timings and timings.exists():
        parallel, answer.mb, seconds = _timings(timings)
        timed = [i for i, record in enumerate(gold) if seconds.get(record.id)]
        if timed:
            answer.timed_words = sum(words[i] for i in timed)
            answer.seconds = [sum(seconds[gold[i].id] for i in timed) / parallel]
    return answer


def _timings(path: Path) -> tuple[int, float | None, dict[str, float]]:
    """Calls in flight, size of the weights in MB, and the seconds of all calls for a text by its id."""
    try:
        head, *lines = [
            json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()
        ] or [{"parallel": 1}]
        seconds = {str(line["id"]): float(sum(line["seconds"])) for line in lines}
        return int(head["parallel"]), head.get("mb"), seconds
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{path}: is not what `llm-annotate` writes; run `weasel run llm-annotate` again."
        ) from None


def rules(
    name: str,
    title: str,
    nlp: Language,
    gold: Sequence[Record],
    *,
    patterns: Path | None,
    gazetteer: Path | None,
    label: str,
    repeats: int,
) -> Answers:
    """Run the rules baseline (see `baselines.rules`); without patterns and gazetteer it is missing."""
    texts = [record.text for record in gold]
    sources = [path for path in (patterns, gazetteer) if path and (not path.exists() or path.stat().st_size)]
    if not sources:
        return Answers(name, title, missing="there are neither patterns nor known names; write some.")
    ruler = baselines.rules(nlp, patterns=patterns, gazetteer=gazetteer, label=label)
    size = sum(map(megabytes, sources))
    found = answer(name, title, baselines.predict_with(ruler), texts, repeats=repeats, mb=size)
    if gazetteer:
        known = set(baselines.names(gazetteer))
        strings = [r.text[s.start : s.end] for r in gold for s in r.spans if s.label == label]
        share = sum(string in known for string in strings) / max(len(strings), 1)
        found.notes.append(
            f"{share:.0%} of the {len(strings):,} annotated {label} spans are names of {gazetteer.name}; on "
            "texts about others its recall will be lower."
        )
    return found


def memoriser(
    name: str, title: str, nlp: Language, train: Sequence[Record], texts: Sequence[str], *, repeats: int
) -> Answers:
    """Run the memorising baseline (see `baselines.memoriser`) with the thresholds that suit `train`."""
    memory = baselines.memoriser(train, nlp.make_doc)
    strings = sorted((list(key), label) for key, label in memory.memory.items())
    size = len(json_text(strings).encode()) / 1e6
    found = answer(name, title, memory, texts, repeats=repeats, mb=size)
    times = "once" if memory.min_count == 1 else f"{memory.min_count} times"
    share = f" and in {memory.min_precision:.0%} of their occurrences" if memory.min_precision else ""
    found.notes.append(
        f"{len(strings):,} strings of {len(train):,} training texts, annotated at least {times}{share} "
        "(thresholds chosen on those texts)."
    )
    return found


def constants(
    train: Sequence[Record], labels: Sequence[str], scored: Scored, texts: Sequence[str]
) -> list[Answers]:
    """What says the same of every text: the most frequent answer; and all categories, if several may hold."""
    most = categories.most_frequent(train, scored)
    systems = [("majority", "Majority", most)]
    if scored == "categories" and set(most) != set(labels):
        systems.append(("every", "Every category", tuple(labels)))
    found = []
    for name, title, said in systems:
        predicted = [Record(text=text, cats=dict.fromkeys(said, 1.0)) for text in texts]
        told = f"says {', '.join(said) or 'no category'} of every text."
        found.append(Answers(name, title, predicted, notes=[told]))
    return found


def require(gold: Sequence[Record], path: Path) -> None:
    """Refuse a test set on which nothing can be measured.

    Raises:
        UserError: no accepted record, or no span in any.
    """
    if not gold:
        raise UserError(
            f"{path}: holds no accepted example to test on; review some, then run `weasel run split`."
        )
    if not any(record.spans for record in gold):
        raise UserError(
            f"{path}: none of its {len(gold):,} examples has a span or category, so nothing can be scored; "
            "review some that have, then run `weasel run split`."
        )

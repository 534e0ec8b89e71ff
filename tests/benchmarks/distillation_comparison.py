"""Recipes of configs/distill.cfg side by side: trained, compared on dev, and one of them recommended."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from ie.core import stats
from ie.core.stats import Estimate, Pair
from ie.data.docs import from_doc, read_docs
from ie.data.records import Record
from ie.evaluation import scoring, systems
from ie.training.distill import recipes
from ie.training.distill.distillation import Distillation, Distilled
from ie.training.distill.recipes import LLM, REVIEWED, SILVER, Answers, Kept, SilverText, span_key
from ie.training.jobs import Result, read_gold
from ie.training.variants import variant_comparison


@dataclass(frozen=True)
class RecipeScore:
    """A way of training, scored on dev.

    Attributes:
        texts, spans: of silver that is trained on; `open`, share of their tokens that are missing.
        right: P, R, F of what is kept, on silver texts whose gold is known; () without any.
        scores: F of each seed. f: their mean, with the interval that texts and seeds leave. sd: over seeds.
        seconds: processor seconds of one training, and of the pipelines that voted before it.
    """

    name: str
    recipe: tuple[str, ...]
    texts: int
    spans: int
    open: float
    right: tuple[Estimate, ...]
    scores: tuple[float, ...]
    f: Estimate
    sd: float
    training: float
    teaching: float


@dataclass(frozen=True)
class RecipeComparison:
    """Ways of training side by side.

    Attributes:
        rows: by name; "reviewed" and "silver" first. llm: F of the LLM on dev, None if it has no answers.
        pairs: each row against the reviewed ones alone and the LLM, Holm-corrected together.
        recommended: as of `recommend`. as_good: rows that can't be told from it, the simplest first.
        test: the rows of the recommendation, the reviewed ones alone and the LLM on test; its pairs.
    """

    rows: dict[str, RecipeScore]
    llm: Estimate | None
    pairs: list[Pair]
    recommended: str
    as_good: list[str]
    test: dict[str, tuple[Estimate, float]]
    test_pairs: list[Pair]
    dev_texts: int
    test_texts: int

    def pair(self, name: str, other: str, *, test: bool = False) -> Pair | None:
        """The comparison of a row with another one that stands second in its pairs."""
        pairs = self.test_pairs if test else self.pairs
        return next((pair for pair in pairs if (pair.first, pair.second) == (name, other)), None)


def compare(distillation: Distillation, *, seeds: int, llm: Path) -> RecipeComparison:
    """Train every recipe with every seed, score on dev, recommend one, and score that one on test."""
    source, labels = distillation.data, distillation.shared["labels"]
    distilled = distillation.distil(distillation.settings.recipes)
    silver = Kept([SilverText(record) for record in source.silver])
    distilled = {REVIEWED: Distilled((), Kept()), SILVER: Distilled((), silver), **distilled}
    reviewed = {SILVER: []}
    jobs = {
        (name, seed): distillation.student(
            reviewed.get(name, source.reviewed), item.kept.drafts, item.recipe, seed
        )
        for name, item in distilled.items()
        for seed in range(distillation.seed, distillation.seed + seeds)
    }
    by_name: dict[str, list[Result]] = {name: [] for name in distilled}
    for (name, _), result in zip(jobs, distillation.run(list(jobs.values()), "trainings"), strict=True):
        by_name[name].append(result)
    counts = {name: [_micro(r["counts"]) for r in results] for name, results in by_name.items()}
    rows = {
        name: _row(distillation, name, item, counts[name], by_name[name]) for name, item in distilled.items()
    }
    dev = [from_doc(doc) for doc in read_docs(distillation.shared["dev"])]
    prompted = _llm(llm, dev, labels)
    others = [REVIEWED, *([LLM] if prompted is not None else [])]
    if prompted is not None:
        counts[LLM] = [prompted] * seeds
    chosen = [(name, other) for other in others for name in rows if name != other]
    pairs = variant_comparison.pairs(counts, chosen, fixed=(LLM,))
    best = recommend(pairs)
    against = variant_comparison.pairs(counts, [(best, name) for name in rows if name != best], fixed=(LLM,))
    as_good = [pair.second for pair in against if not pair.differs()]
    # The recommendation stands; test is read only now, and for these alone.
    held_out = read_gold(distillation.test)
    tested = {name: [_micro(r["test"]) for r in by_name[name]] for name in dict.fromkeys((best, REVIEWED))}
    shown = {name: _mean(tables) for name, tables in tested.items()}
    prompted = _llm(llm, held_out, labels)
    if prompted is not None:
        tested[LLM] = [prompted] * seeds
        shown[LLM] = (stats.intervals(prompted)[2], math.nan)
    return RecipeComparison(
        rows=rows,
        llm=stats.intervals(counts[LLM][0])[2] if LLM in counts else None,
        pairs=pairs,
        recommended=best,
        as_good=sorted(as_good, key=lambda name: (len(rows[name].recipe), list(rows).index(name))),
        test=shown,
        test_pairs=variant_comparison.pairs(
            tested, [(best, other) for other in tested if other != best], fixed=(LLM,)
        ),
        dev_texts=len(dev),
        test_texts=len(held_out),
    )


def recommend(pairs: Sequence[Pair]) -> str:
    """The way of training to recommend, by its comparison with the reviewed texts alone; else these.

    The best of so many ways looks better than it is. So only those whose gain is beyond noise after Holm's
    correction are candidates. That holds however much the ways depend on each other (a max-t bootstrap would
    see little more here), and agrees with the marks in the table. Of these, the one whose gain has the
    highest lower bound is recommended.
    """
    gains = {
        pair.first: pair.difference.low
        for pair in pairs
        if pair.second == REVIEWED and pair.differs() and pair.difference.low > 0
    }
    return max(gains, key=lambda name: gains[name], default=REVIEWED)


def _row(
    distillation: Distillation,
    name: str,
    item: Distilled,
    counts: Sequence[np.ndarray],
    results: Sequence[Result],
) -> RecipeScore:
    f, sd = _mean(counts)
    docs = [recipes.to_training_doc(draft, distillation.nlp) for draft in item.kept.drafts]
    tokens = sum(len(doc) for doc in docs)
    left = sum(token.ent_iob == 0 for doc in docs for token in doc)
    gold: Answers = {record.text: record for record in distillation.data.hidden}
    right = quality(item.kept.drafts, gold, distillation.shared["labels"])
    return RecipeScore(
        name=name,
        recipe=item.recipe,
        texts=len(docs),
        spans=sum(len(doc.ents) for doc in docs),
        open=left / tokens if tokens else 0.0,
        right=stats.intervals(right) if len(right) else (),
        scores=tuple(_f(table) for table in counts),
        f=f,
        sd=sd,
        training=mean(result["measured"]["seconds"] for result in results),
        teaching=item.seconds,
    )


def quality(drafts: Sequence[SilverText], gold: Answers, labels: Sequence[str]) -> np.ndarray:
    """Counts of exact spans in texts whose gold is known; gold spans in doubt don't count as missed.

    Returns:
        (texts, 3): true positives, false positives, false negatives.
    """
    known = [draft for draft in drafts if draft.record.text in gold]
    wanted = []
    for draft in known:
        record = gold[draft.record.text]
        own = set(map(span_key, draft.record.spans))
        spans = [
            span
            for span in record.spans
            if span_key(span) in own
            or not (draft.vague or any(span.start < end and start < span.end for start, end in draft.doubts))
        ]
        wanted.append(Record(text=record.text, spans=spans))
    return scoring.count(wanted, [draft.record for draft in known], labels).sum(axis=1)


def _llm(path: Path, gold: Sequence[Record], labels: Sequence[str]) -> np.ndarray | None:
    predicted = systems.stored_llm(path, gold).predicted
    return scoring.count(gold, predicted, labels).sum(axis=1) if predicted else None


def _micro(table: Sequence) -> np.ndarray:
    return np.array(table, dtype=np.int64).sum(axis=1)


def _f(counts: np.ndarray) -> float:
    return float(np.nan_to_num(stats.prf(counts.sum(axis=0))[2]))


def _mean(tables: Sequence[np.ndarray]) -> tuple[Estimate, float]:
    """Mean F over seeds with the interval that texts and seeds leave, and the sd over seeds."""
    scores = [_f(table) for table in tables]
    return stats.mean_over_seeds(tables), stdev(scores) if len(scores) > 1 else math.nan


def to_json(compared: RecipeComparison) -> dict[str, Any]:
    """The comparison as a JSON object, without timings: the same inputs give the same bytes."""

    def pair(one: Pair | None) -> dict[str, Any] | None:
        return one and {
            "difference": one.difference.rounded(),
            "p": round(one.p, 4),
            "holm": round(one.holm, 4),
        }

    return {
        "dev": {"documents": compared.dev_texts, "llm": compared.llm and compared.llm.rounded()},
        "recipes": {
            row.name: {
                "means": list(row.recipe),
                "silver_texts": row.texts,
                "silver_spans": row.spans,
                "missing_tokens": round(row.open, 4),
                "silver_quality": {
                    metric: e.rounded() for metric, e in zip(stats.METRICS, row.right, strict=False)
                },
                "f": row.f.rounded(),
                "seeds": [round(score, 4) for score in row.scores],
                "sd": None if math.isnan(row.sd) else round(row.sd, 4),
                "to_reviewed": pair(compared.pair(row.name, REVIEWED)),
                "to_llm": pair(compared.pair(row.name, LLM)),
            }
            for row in compared.rows.values()
        },
        "recommended": compared.recommended,
        "not_told_from_it": compared.as_good,
        "test": {
            "documents": compared.test_texts,
            "systems": {
                name: {"f": f.rounded(), "sd": None if math.isnan(sd) else round(sd, 4)}
                for name, (f, sd) in compared.test.items()
            },
            "differences": {one.second: pair(one) for one in compared.test_pairs},
        },
    }


def seconds(compared: RecipeComparison) -> dict[str, dict[str, float]]:
    """Processor seconds of each row."""
    return {
        row.name: {"training": round(row.training, 1), "teaching": round(row.teaching, 1)}
        for row in compared.rows.values()
    }

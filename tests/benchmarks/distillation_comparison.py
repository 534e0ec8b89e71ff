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
from ie.training.distill.distillation import DistillationData, Distilled, distil, student
from ie.training.distill.recipes import LLM, REVIEWED, SILVER, Answers, DistillSettings, Kept
from ie.training.distill.teachers import Bench
from ie.training.jobs import Result
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
        found = self.test_pairs if test else self.pairs
        return next((pair for pair in found if (pair.first, pair.second) == (name, other)), None)


def compare(
    at: Bench,
    sources: DistillationData,
    hidden: Sequence[Record],
    settings: DistillSettings,
    *,
    seeds: int,
    llm: Path,
    test: Path,
) -> RecipeComparison:
    """Train every recipe with every seed, score on dev, recommend one, and score that one on test.

    Args:
        hidden: gold of those silver texts that have one.
    """
    made = distil(at, sources, settings.recipes, settings)
    plain = Kept(recipes.drafts_of(sources.silver))
    made = {REVIEWED: Distilled((), Kept()), SILVER: Distilled((), plain), **made}
    reviewed = {SILVER: []}
    jobs = {
        (name, seed): student(
            at, reviewed.get(name, sources.reviewed), item.kept.drafts, item.recipe, settings, seed
        )
        for name, item in made.items()
        for seed in range(at.seed, at.seed + seeds)
    }
    results = dict(zip(jobs, at.run(list(jobs.values()), "trainings"), strict=True))
    by_name = {name: [results[name, seed] for seed in range(at.seed, at.seed + seeds)] for name in made}
    counts = {name: [_micro(r["counts"]) for r in found] for name, found in by_name.items()}
    gold = {record.text: record for record in hidden}
    rows = {name: _row(at, name, item, counts[name], by_name[name], gold) for name, item in made.items()}
    dev = [from_doc(doc) for doc in read_docs(at.dev)]
    said = _llm(llm, dev, at.labels)
    others = [REVIEWED, *([LLM] if said is not None else [])]
    if said is not None:
        counts[LLM] = [said] * seeds
    chosen = [(name, other) for other in others for name in rows if name != other]
    pairs = variant_comparison.pairs(counts, chosen, fixed=(LLM,))
    best = recommend(pairs)
    against = [(best, name) for name in rows if name != best]
    apart = {
        pair.second for pair in variant_comparison.pairs(counts, against, fixed=(LLM,)) if pair.differs()
    }
    as_good = [name for name in rows if name != best and name not in apart]
    # Only now anybody looks at test, and at these alone.
    held_out = variant_comparison.read_gold(test)
    final = dict.fromkeys((best, REVIEWED))
    tested = {name: [_micro(r["test"]) for r in by_name[name]] for name in final}
    shown = {name: _mean(tables) for name, tables in tested.items()}
    said = _llm(llm, held_out, at.labels)
    if said is not None:
        tested[LLM] = [said] * seeds
        shown[LLM] = (stats.intervals(said)[2], math.nan)
    wanted = [(best, other) for other in tested if other != best]
    return RecipeComparison(
        rows=rows,
        llm=stats.intervals(counts[LLM][0])[2] if LLM in counts else None,
        pairs=pairs,
        recommended=best,
        as_good=sorted(as_good, key=lambda name: (len(rows[name].recipe), list(rows).index(name))),
        test=shown,
        test_pairs=variant_comparison.pairs(tested, wanted, fixed=(LLM,)),
        dev_texts=len(dev),
        test_texts=len(held_out),
    )


def recommend(pairs: Sequence[Pair]) -> str:
    """The way of training to recommend, by its comparison with the reviewed texts alone; else these.

    Of so many ways the best looks better than it is. So only those whose gain is beyond noise after Holm's
    correction are candidates, which holds however much the ways depend on each other (a max-t bootstrap would
    see little more here), and says the same as the table's marks. The one whose gain has the highest lower
    bound is recommended.
    """
    gains = {
        pair.first: pair.difference.low
        for pair in pairs
        if pair.second == REVIEWED and pair.differs() and pair.difference.low > 0
    }
    return max(gains, key=lambda name: gains[name], default=REVIEWED)


def _row(
    at: Bench,
    name: str,
    item: Distilled,
    counts: Sequence[np.ndarray],
    results: Sequence[Result],
    gold: Answers,
) -> RecipeScore:
    f, sd = _mean(counts)
    docs = [recipes.to_training_doc(draft, at.nlp) for draft in item.kept.drafts]
    tokens = sum(len(doc) for doc in docs)
    left = sum(token.ent_iob == 0 for doc in docs for token in doc)
    right = recipes.quality(item.kept.drafts, gold, at.labels)
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
        training=mean(result["seconds"] for result in results),
        teaching=item.teaching,
    )


def _llm(path: Path, gold: Sequence[Record], labels: Sequence[str]) -> np.ndarray | None:
    found = systems.stored_llm(path, gold).predicted
    return scoring.count(gold, found, labels).sum(axis=1) if found else None


def _micro(table: Sequence) -> np.ndarray:
    return np.array(table, dtype=np.int64).sum(axis=1)


def _f(counts: np.ndarray) -> float:
    return float(np.nan_to_num(stats.prf(counts.sum(axis=0))[2]))


def _mean(tables: Sequence[np.ndarray]) -> tuple[Estimate, float]:
    """Mean F over seeds with the interval that texts and seeds leave, and the sd over seeds."""
    scores = [_f(table) for table in tables]
    return stats.mean_over_seeds(tables), stdev(scores) if len(scores) > 1 else math.nan


def to_json(found: RecipeComparison) -> dict[str, Any]:
    """The comparison as a JSON object, without timings: the same inputs give the same bytes."""

    def pair(one: Pair | None) -> dict[str, Any] | None:
        return one and {
            "difference": one.difference.rounded(),
            "p": round(one.p, 4),
            "holm": round(one.holm, 4),
        }

    return {
        "dev": {"documents": found.dev_texts, "llm": found.llm and found.llm.rounded()},
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
                "to_reviewed": pair(found.pair(row.name, REVIEWED)),
                "to_llm": pair(found.pair(row.name, LLM)),
            }
            for row in found.rows.values()
        },
        "recommended": found.recommended,
        "not_told_from_it": found.as_good,
        "test": {
            "documents": found.test_texts,
            "systems": {
                name: {"f": f.rounded(), "sd": None if math.isnan(sd) else round(sd, 4)}
                for name, (f, sd) in found.test.items()
            },
            "differences": {one.second: pair(one) for one in found.test_pairs},
        },
    }


def seconds(found: RecipeComparison) -> dict[str, dict[str, float]]:
    """Processor seconds of each row."""
    return {
        row.name: {"training": round(row.training, 1), "teaching": round(row.teaching, 1)}
        for row in found.rows.values()
    }

"""Recipes of `ie.training.distill.recipes` carried out, compared, and one of them recommended."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from ie.core import stats
from ie.core.errors import UserError
from ie.core.stats import Estimate, Pair
from ie.data import records, splits
from ie.data.docs import from_doc, read_docs, to_doc
from ie.data.records import Reader, Record
from ie.evaluation import baselines, scoring, systems
from ie.training import loop
from ie.training.curve import learning_curve
from ie.training.distill import recipes as distilling
from ie.training.distill import suggestions
from ie.training.distill.recipes import LLM, REVIEWED, SILVER, Answers, Draft, Kept, Means, Settings
from ie.training.distill.teachers import Bench, Teacher, Training, answers, teachers
from ie.training.jobs import Result
from ie.training.variants import comparison


@dataclass
class Distilled:
    """What a recipe makes of the silver; `teaching` are processor seconds of the pipelines that voted."""

    recipe: tuple[Means, ...]
    kept: Kept
    teaching: float = 0.0


@dataclass
class Sources:
    """What there is to distil from.

    Attributes:
        reviewed: gold to train on. silver: the LLM's records of other texts.
        helpers: what rules and memory say, by text.
    """

    reviewed: list[Record]
    silver: list[Record]
    helpers: list[Answers] = field(default_factory=list)


def distil(
    at: Bench, sources: Sources, recipes: Mapping[str, Sequence[Means]], settings: Settings
) -> dict[str, Distilled]:
    """The silver as each recipe leaves it. Pipelines that several of them ask are trained once.

    Raises:
        UserError: as `Bench.run`.
    """
    texts = [record.text for record in sources.silver]
    plain = distilling.drafts_of(sources.silver)
    first: dict[str, list[Draft]] = {}
    for name, recipe in recipes.items():
        doubting = "confidence" in recipe
        first[name] = [distilling.confidence(d, settings.confidence) if doubting else d for d in plain]
    found = {name: Distilled(tuple(recipe), Kept(first[name])) for name, recipe in recipes.items()}

    def ask(planned: Mapping[str, list[Teacher]], what: str) -> dict[str, list[Answers]]:
        jobs = [teacher.job for asked in planned.values() for teacher in asked]
        results = iter(at.run(jobs, what))
        told = {}
        for name, asked in planned.items():
            mine = [next(results) for _ in asked]
            found[name].teaching += sum(result["seconds"] for result in mine)
            told[name] = answers(asked, mine)
        return told

    def voted(name: str, voters: Sequence[Answers]) -> list[Draft]:
        agreement = settings.agreement
        helpers = sources.helpers if "rules" in recipes[name] else []
        return [
            distilling.vote(draft, voters, helpers, sure=agreement.sure, doubtful=agreement.doubtful)
            for draft in first[name]
        ]

    def having(means: Means) -> list[str]:
        return [name for name, recipe in recipes.items() if means in recipe]

    drafts = dict(first)
    planned = teachers(at, sources.reviewed, [], texts, settings.agreement.pipelines, 1)
    for name, told in ask(dict.fromkeys(having("agreement"), planned), "pipelines that vote").items():
        drafts[name] = voted(name, told)
    errors = settings.label_errors
    if names := having("label-errors"):
        planned = teachers(at, sources.reviewed, plain, texts, errors.pipelines, errors.folds)
        for name, told in ask(dict.fromkeys(names, planned), "pipelines that look for errors").items():
            drafts[name] = [distilling.contradicted(draft, told) for draft in drafts[name]]
    again = settings.self_training
    for turn in range(again.rounds if having("self-training") else 0):
        plans = {
            name: teachers(
                at,
                sources.reviewed,
                distilling.finish(drafts[name], recipes[name]).drafts,
                texts,
                settings.agreement.pipelines,
                again.folds,
            )
            for name in having("self-training")
        }
        for name, told in ask(plans, f"pipelines of round {turn + 1}").items():
            drafts[name] = voted(name, told)
    for name, recipe in recipes.items():
        found[name].kept = distilling.finish(drafts[name], recipe)
    return found


def student(
    at: Bench,
    reviewed: Sequence[Record],
    kept: Sequence[Draft],
    recipe: Sequence[Means],
    settings: Settings,
    seed: int,
    model: Path | None = None,
) -> Training:
    """The training on what a recipe left, with the reviewed examples weighed as it says."""
    gold = [to_doc(record, at.nlp) for record in reviewed]
    times = settings.repeat.times if "repeat" in recipe else 1
    both = [*gold * times, *(distilling.to_training_doc(draft, at.nlp) for draft in kept)]
    if "two-stage" in recipe and gold:
        return at.training(gold, seed, first=both, model=model)
    return at.training(both, seed, model=model)


def helpers(
    texts: Sequence[Record],
    reviewed: Sequence[Record],
    settings: Settings,
    *,
    lang: str,
    patterns: str,
    gazetteer: str,
    gazetteer_label: str,
) -> tuple[list[Answers], list[str]]:
    """What rules and memory say of the texts, and a sentence on each that has nothing to say."""
    found: list[Answers] = []
    notes = []
    if "rules" in settings.rules.sources:
        source = suggestions.from_rules(texts, lang, patterns, gazetteer, gazetteer_label)
        if not source.missing:
            found.append(source.records)
        else:
            notes.append(f"rules: {source.missing}")
    if "memory" in settings.rules.sources and reviewed:
        dictionary = baselines.build_dictionary(reviewed, records.blank(lang).make_doc)
        found.append({record.text: record for record in dictionary([record.text for record in texts])})
    return found, notes


@dataclass(frozen=True)
class Row:
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
class Comparison:
    """Ways of training side by side.

    Attributes:
        rows: by name; "reviewed" and "silver" first. llm: F of the LLM on dev, None if it has no answers.
        pairs: each row against the reviewed ones alone and the LLM, Holm-corrected together.
        recommended: as of `recommend`. as_good: rows that can't be told from it, the simplest first.
        test: the rows of the recommendation, the reviewed ones alone and the LLM on test; its pairs.
    """

    rows: dict[str, Row]
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


def read_reviewed(path: Path, dev: Path, labels: Sequence[str]) -> list[Record]:
    """The reviewed training examples, if they and those of dev have something to learn and to score.

    Raises:
        UserError: a file is missing or broken, or has no span of these labels.
    """
    gold, checks = (list(map(from_doc, read_docs(corpus))) for corpus in (path, dev))
    learning_curve.require(gold, checks, labels, (path, dev))
    return gold


def read_silver(
    reader: Reader, llm: Path, silver: Path, llm_train: Path | None, reviewed: Sequence[Record], n: int
) -> tuple[list[Record], list[Record], list[Record]]:
    """Reviewed records to train on, silver ones, and the gold of those silver ones that were reviewed.

    Args:
        silver: the corpus of the texts that may be trained on. llm: what the LLM said of them, and how sure.
        llm_train: what it said of reviewed texts, which can then play unreviewed ones.
        n: reviewed texts that are trained on; 0 for all.

    Raises:
        UserError: no such file, or nothing in any.
    """
    usable = {doc.text for doc in read_docs(silver)} if loop.count_examples(silver) else set()
    found = [record for record in reader.read(llm, allow_empty=True, gold=False) if record.text in usable]
    known: list[Record] = []
    if llm_train and llm_train.exists():
        known = [
            record
            for record in reader.read(llm_train, allow_empty=True, gold=False)
            if not ((record.model_extra or {}).get("llm") or {}).get("error")
        ]
    chosen, rest = splits.choose(reviewed, {record.text for record in known}, n)
    hidden = {record.text for record in rest}
    found += [record for record in known if record.text in hidden]
    if not found:
        raise UserError(
            f"{silver}: there is no silver text to distil; run `weasel run llm-annotate`, then `weasel run "
            "split`."
        )
    return chosen, found, rest


def compare(
    at: Bench,
    sources: Sources,
    hidden: Sequence[Record],
    settings: Settings,
    *,
    seeds: int,
    llm: Path,
    test: Path,
) -> Comparison:
    """Train every recipe with every seed, score on dev, recommend one, and score that one on test.

    Args:
        hidden: gold of those silver texts that have one.
    """
    made = distil(at, sources, settings.recipes, settings)
    plain = Kept(distilling.drafts_of(sources.silver))
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
    pairs = comparison.pairs(counts, chosen, fixed=(LLM,))
    best = recommend(pairs)
    against = [(best, name) for name in rows if name != best]
    apart = {pair.second for pair in comparison.pairs(counts, against, fixed=(LLM,)) if pair.differs()}
    as_good = [name for name in rows if name != best and name not in apart]
    # Only now anybody looks at test, and at these alone.
    held_out = comparison.read_gold(test)
    final = dict.fromkeys((best, REVIEWED))
    tested = {name: [_micro(r["test"]) for r in by_name[name]] for name in final}
    shown = {name: _mean(tables) for name, tables in tested.items()}
    said = _llm(llm, held_out, at.labels)
    if said is not None:
        tested[LLM] = [said] * seeds
        shown[LLM] = (stats.intervals(said)[2], math.nan)
    wanted = [(best, other) for other in tested if other != best]
    return Comparison(
        rows=rows,
        llm=stats.intervals(counts[LLM][0])[2] if LLM in counts else None,
        pairs=pairs,
        recommended=best,
        as_good=sorted(as_good, key=lambda name: (len(rows[name].recipe), list(rows).index(name))),
        test=shown,
        test_pairs=comparison.pairs(tested, wanted, fixed=(LLM,)),
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
) -> Row:
    f, sd = _mean(counts)
    docs = [distilling.to_training_doc(draft, at.nlp) for draft in item.kept.drafts]
    tokens = sum(len(doc) for doc in docs)
    left = sum(token.ent_iob == 0 for doc in docs for token in doc)
    right = distilling.quality(item.kept.drafts, gold, at.labels)
    return Row(
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


def to_json(found: Comparison) -> dict[str, Any]:
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


def seconds(found: Comparison) -> dict[str, dict[str, float]]:
    """Processor seconds of each row."""
    return {
        row.name: {"training": round(row.training, 1), "teaching": round(row.teaching, 1)}
        for row in found.rows.values()
    }

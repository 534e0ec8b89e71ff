"""Recipes of `ie.training.distill.recipes` carried out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ie.core.errors import UserError
from ie.data import records, splits
from ie.data.docs import from_doc, read_docs, to_doc
from ie.data.records import Reader, Record
from ie.evaluation import baselines
from ie.training import loop
from ie.training.curve import learning_curve
from ie.training.distill import combined_suggestions, recipes
from ie.training.distill.recipes import Answers, DistillSettings, Kept, Means, SilverText
from ie.training.distill.teachers import Bench, Teacher, Training, answers, teachers


@dataclass
class Distilled:
    """What a recipe makes of the silver; `teaching` are processor seconds of the pipelines that voted."""

    recipe: tuple[Means, ...]
    kept: Kept
    teaching: float = 0.0


@dataclass
class DistillationData:
    """What there is to distil from.

    Attributes:
        reviewed: gold to train on. silver: the LLM's records of other texts.
        helpers: what rules and memory say, by text.
    """

    reviewed: list[Record]
    silver: list[Record]
    helpers: list[Answers] = field(default_factory=list)


def distil(
    at: Bench, sources: DistillationData, chosen: Mapping[str, Sequence[Means]], settings: DistillSettings
) -> dict[str, Distilled]:
    """The silver as each recipe leaves it. Pipelines that several of them ask are trained once.

    Raises:
        UserError: as `Bench.run`.
    """
    texts = [record.text for record in sources.silver]
    plain = recipes.drafts_of(sources.silver)
    first: dict[str, list[SilverText]] = {}
    for name, recipe in chosen.items():
        doubting = "confidence" in recipe
        first[name] = [recipes.confidence(d, settings.confidence) if doubting else d for d in plain]
    found = {name: Distilled(tuple(recipe), Kept(first[name])) for name, recipe in chosen.items()}

    def ask(planned: Mapping[str, list[Teacher]], what: str) -> dict[str, list[Answers]]:
        jobs = [teacher.job for asked in planned.values() for teacher in asked]
        results = iter(at.run(jobs, what))
        told = {}
        for name, asked in planned.items():
            mine = [next(results) for _ in asked]
            found[name].teaching += sum(result["seconds"] for result in mine)
            told[name] = answers(asked, mine)
        return told

    def voted(name: str, voters: Sequence[Answers]) -> list[SilverText]:
        agreement = settings.agreement
        helpers = sources.helpers if "rules" in chosen[name] else []
        return [
            recipes.vote(draft, voters, helpers, sure=agreement.sure, doubtful=agreement.doubtful)
            for draft in first[name]
        ]

    def having(means: Means) -> list[str]:
        return [name for name, recipe in chosen.items() if means in recipe]

    drafts = dict(first)
    planned = teachers(at, sources.reviewed, [], texts, settings.agreement.pipelines, 1)
    for name, told in ask(dict.fromkeys(having("agreement"), planned), "pipelines that vote").items():
        drafts[name] = voted(name, told)
    errors = settings.label_errors
    if names := having("label-errors"):
        planned = teachers(at, sources.reviewed, plain, texts, errors.pipelines, errors.folds)
        for name, told in ask(dict.fromkeys(names, planned), "pipelines that look for errors").items():
            drafts[name] = [recipes.contradicted(draft, told) for draft in drafts[name]]
    again = settings.self_training
    for turn in range(again.rounds if having("self-training") else 0):
        plans = {
            name: teachers(
                at,
                sources.reviewed,
                recipes.finish(drafts[name], chosen[name]).drafts,
                texts,
                settings.agreement.pipelines,
                again.folds,
            )
            for name in having("self-training")
        }
        for name, told in ask(plans, f"pipelines of round {turn + 1}").items():
            drafts[name] = voted(name, told)
    for name, recipe in chosen.items():
        found[name].kept = recipes.finish(drafts[name], recipe)
    return found


def student(
    at: Bench,
    reviewed: Sequence[Record],
    kept: Sequence[SilverText],
    recipe: Sequence[Means],
    settings: DistillSettings,
    seed: int,
    model: Path | None = None,
) -> Training:
    """The training on what a recipe left, with the reviewed examples weighed as it says."""
    gold = [to_doc(record, at.nlp) for record in reviewed]
    times = settings.repeat.times if "repeat" in recipe else 1
    both = [*gold * times, *(recipes.to_training_doc(draft, at.nlp) for draft in kept)]
    if "two-stage" in recipe and gold:
        return at.training(gold, seed, first=both, model=model)
    return at.training(both, seed, model=model)


def helpers(
    texts: Sequence[Record],
    reviewed: Sequence[Record],
    settings: DistillSettings,
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
        source = combined_suggestions.from_rules(texts, lang, patterns, gazetteer, gazetteer_label)
        if not source.missing:
            found.append(source.records)
        else:
            notes.append(f"rules: {source.missing}")
    if "memory" in settings.rules.sources and reviewed:
        dictionary = baselines.build_dictionary(reviewed, records.blank(lang).make_doc)
        found.append({record.text: record for record in dictionary([record.text for record in texts])})
    return found, notes


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
            record for record in reader.read(llm_train, allow_empty=True, gold=False) if not record.llm_error
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

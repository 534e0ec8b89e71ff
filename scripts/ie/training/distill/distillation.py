"""Recipes of `ie.training.distill.recipes` carried out: teachers vote on silver, and a student is trained."""

import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc

from ie.core.errors import UserError
from ie.data import records, splits
from ie.data.config import load_data_config
from ie.data.docs import from_doc, read_docs, to_doc
from ie.data.language import Lang
from ie.data.records import Reader, Record, Span
from ie.data.scheme import load_scheme
from ie.evaluation import baselines
from ie.training import jobs, loop
from ie.training.curve import learning_curve
from ie.training.distill import combined_suggestions, recipes
from ie.training.distill.recipes import Answers, DistillSettings, Kept, Method, SilverText
from ie.training.jobs import Cell, Result, TrainingJob


@dataclass
class Distilled:
    """What a recipe leaves of the silver, and the processor `seconds` of the pipelines that voted."""

    recipe: tuple[Method, ...]
    kept: Kept
    seconds: float = 0.0


@dataclass
class DistillationData:
    """What there is to distil from.

    Attributes:
        reviewed: gold to train on.
        silver: the LLM's records of other texts.
        hidden: gold of those silver texts that have been reviewed.
        helpers: answers of sources that vote without a training, by text.
        notes: why other such sources have no answers.
    """

    reviewed: list[Record]
    silver: list[Record]
    hidden: list[Record]
    helpers: list[Answers] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Distillation:
    """Settings, data, and the trainings, which share all but their examples and seeds.

    Attributes:
        folder: for the examples of trainings while they run.
        shared: attributes of all trainings, as of `TrainingJob`. test: gold that students are scored on.
        workers: as of `jobs.run`. seed: the first one.
    """

    settings: DistillSettings
    data: DistillationData
    nlp: Language
    folder: Path
    shared: Mapping[str, Any]
    test: Path | None
    workers: int
    seed: int

    def training(
        self,
        docs: Sequence[Doc],
        seed: int,
        *,
        first: Sequence[Doc] | None = None,
        texts: Sequence[str] = (),
        model: Path | None = None,
    ) -> TrainingJob:
        """A training; with `first` it is one in two stages."""
        return TrainingJob(
            Cell(100.0, len(docs), seed),
            train=jobs.write_examples(self.folder, docs),
            first=None if first is None else jobs.write_examples(self.folder, first),
            texts=tuple(texts),
            test=None if texts else self.test,
            model=model,
            **self.shared,
        )

    @cached_property
    def learns_by_updates(self) -> bool:
        """Whether trainings have random weights to start from, and can go on from those of another one."""
        return loop.learns_by_updates(self.shared["config"], self.shared["overrides"])

    def run(self, trainings: Sequence[TrainingJob], what: str) -> list[Result]:
        """`jobs.run`; `what` names the trainings."""
        return jobs.run(trainings, workers=self.workers, what=what)

    def teachers(self, drafts: Sequence[SilverText], pipelines: int, folds: int) -> list[TrainingJob]:
        """Trainings on the reviewed texts and the drafts of other folds, whose pipelines label the silver.

        Pipelines that are the same with every seed learn from bootstrap samples of these texts, as they would
        otherwise vote as one (bagging, Breiman 1996).

        Args:
            drafts: silver to train on; without any, nothing has to be held out.
            pipelines: one for each seed. folds: parts of the texts.
        """
        folds = folds if drafts else 1
        gold = [to_doc(record, self.nlp) for record in self.data.reviewed]
        trainings = []
        for part in range(folds):
            texts = [r.text for r in self.data.silver if recipes.fold(r.text, folds) == part]
            others = [
                recipes.to_training_doc(draft, self.nlp)
                for draft in drafts
                if recipes.fold(draft.record.text, folds) != part
            ]
            if texts:
                trainings += [
                    self.training(self._drawn([*gold, *others], seed), seed, texts=texts)
                    for seed in range(self.seed, self.seed + pipelines)
                ]
        return trainings

    def _drawn(self, docs: list[Doc], seed: int) -> list[Doc]:
        """The examples of one of several pipelines that vote."""
        if self.learns_by_updates:
            return docs
        drawn = random.Random(seed).choices(docs, k=len(docs))
        return drawn if any(doc.ents for doc in drawn) else docs

    def distil(self, chosen: Mapping[str, Sequence[Method]]) -> dict[str, Distilled]:
        """The silver as each recipe leaves it. Pipelines that several of them need are trained once.

        Raises:
            UserError: as `jobs.run`.
        """
        settings, voting = self.settings, self.settings.agreement
        plain = [SilverText(record) for record in self.data.silver]
        sure = [recipes.confidence(draft, settings.confidence) for draft in plain]
        before = {name: sure if "confidence" in recipe else plain for name, recipe in chosen.items()}
        drafts = dict(before)
        seconds = dict.fromkeys(chosen, 0.0)

        def ask(method: Method, what: str, teachers: Callable[[str], list[TrainingJob]]) -> Iterator:
            """The recipes with a method, and the answers of their teachers."""
            planned = {name: teachers(name) for name, recipe in chosen.items() if method in recipe}
            if not planned:
                return
            results = iter(self.run([job for asked in planned.values() for job in asked], what))
            for name, asked in planned.items():
                own = [next(results) for _ in asked]
                seconds[name] += sum(result["measured"]["seconds"] for result in own)
                yield name, answers(asked, own)

        def voted(name: str, voters: Sequence[Answers]) -> list[SilverText]:
            helpers = self.data.helpers if "rules" in chosen[name] else []
            return [
                recipes.vote(draft, voters, helpers, sure=voting.sure, doubtful=voting.doubtful)
                for draft in before[name]
            ]

        votes = ask("agreement", "pipelines that vote", lambda name: self.teachers([], voting.pipelines, 1))
        for name, voters in votes:
            drafts[name] = voted(name, voters)
        errors = settings.label_errors
        contradictions = ask(
            "label-errors",
            "pipelines that look for errors",
            lambda name: self.teachers(plain, errors.pipelines, errors.folds),
        )
        for name, voters in contradictions:
            drafts[name] = [recipes.contradicted(draft, voters) for draft in drafts[name]]
        for turn in range(settings.self_training.rounds):
            again = ask(
                "self-training",
                f"pipelines of round {turn + 1}",
                lambda name: self.teachers(
                    recipes.finish(drafts[name], chosen[name]).drafts,
                    voting.pipelines,
                    settings.self_training.folds,
                ),
            )
            for name, voters in again:
                drafts[name] = voted(name, voters)
        return {
            name: Distilled(tuple(recipe), recipes.finish(drafts[name], recipe), seconds[name])
            for name, recipe in chosen.items()
        }

    def student(
        self,
        reviewed: Sequence[Record],
        kept: Sequence[SilverText],
        recipe: Sequence[Method],
        seed: int,
        model: Path | None = None,
    ) -> TrainingJob:
        """The training on what a recipe left, with the reviewed examples weighted as it says."""
        gold = [to_doc(record, self.nlp) for record in reviewed]
        times = self.settings.repeat.times if "repeat" in recipe else 1
        both = [*gold * times, *(recipes.to_training_doc(draft, self.nlp) for draft in kept)]
        if "two-stage" in recipe and gold and self.learns_by_updates:
            return self.training(gold, seed, first=both, model=model)
        return self.training(both, seed, model=model)


@contextmanager
def open_distillation(
    settings: DistillSettings,
    corpus: Path,
    scheme: Path,
    data: Path,
    *,
    gazetteer_label: str,
    reviewed_examples: int = 0,
    test: Path | None = None,
    max_steps: int,
    workers: int,
    seed: int,
    **shared: Any,
) -> Iterator[Distillation]:
    """Read the data, and hold a folder for the examples of trainings.

    Args:
        corpus: folder with reviewed.spacy, silver.spacy, dev.spacy, llm.jsonl and, if the LLM has labelled
            reviewed texts, llm-train.jsonl.
        scheme, data: configs of the labels and of the data settings.
        reviewed_examples: reviewed texts to train on, 0 for all. Others that the LLM has labelled count as
            silver with a hidden gold.
        shared: further attributes of all trainings, as of `TrainingJob`.

    Raises:
        UserError: a file is missing or broken, or holds nothing to learn or to score.
    """
    labels, lang = load_scheme(scheme), load_data_config(data).texts
    labels.refuse_overlapping("distillation")
    nlp = records.blank(lang)
    reader = Reader(labels, nlp.tokenizer, "snap", "first", "drop")
    gold = _read_reviewed(corpus / "reviewed.spacy", corpus / "dev.spacy", labels.span_labels)
    content = _read_silver(reader, corpus, gold, reviewed_examples)
    content.helpers, content.notes = _helpers(content, settings, lang, gazetteer_label)
    shared |= {
        "dev": corpus / "dev.spacy",
        "labels": labels.span_labels,
        "overrides": loop.overrides(lang, max_steps),
    }
    with tempfile.TemporaryDirectory(prefix="distill-") as folder:
        yield Distillation(settings, content, nlp, Path(folder), shared, test, workers, seed)


def answers(teachers: Sequence[TrainingJob], results: Sequence[Result]) -> list[Answers]:
    """The predictions of the pipelines of each seed, by text."""
    by_seed: dict[int, dict[str, Record]] = {}
    for job, result in zip(teachers, results, strict=True):
        for text, spans in zip(job.texts, result["spans"], strict=True):
            record = Record(text=text, spans=[Span(start=s, end=e, label=label) for s, e, label in spans])
            by_seed.setdefault(job.cell.seed, {})[text] = record
    return [by_seed[seed] for seed in sorted(by_seed)]


def _helpers(
    data: DistillationData, settings: DistillSettings, lang: Lang, gazetteer_label: str
) -> tuple[list[Answers], list[str]]:
    """The answers of rules and of a dictionary of annotated strings, and why one of them has none."""
    sources, helpers, notes = settings.rules, [], []
    if "rules" in sources.sources:
        rules = combined_suggestions.from_rules(
            data.silver, lang, sources.patterns, sources.gazetteer, gazetteer_label
        )
        if rules.missing:
            notes.append(f"rules: {rules.missing}")
        else:
            helpers.append(rules.records)
    if "memory" in sources.sources and data.reviewed:
        dictionary = baselines.build_dictionary(data.reviewed, records.blank(lang).make_doc)
        helpers.append({r.text: r for r in dictionary([record.text for record in data.silver])})
    return helpers, notes


def _read_reviewed(path: Path, dev: Path, labels: Sequence[str]) -> list[Record]:
    """The reviewed training examples, if they and those of dev have something to learn and to score."""
    gold, checks = (list(map(from_doc, read_docs(corpus))) for corpus in (path, dev))
    learning_curve.require(gold, checks, labels, (path, dev))
    return gold


def _read_silver(reader: Reader, corpus: Path, reviewed: Sequence[Record], n: int) -> DistillationData:
    """The reviewed texts to train on, the silver, and the gold of silver that is hidden."""
    path, llm_train = corpus / "silver.spacy", corpus / "llm-train.jsonl"
    usable = {doc.text for doc in read_docs(path)} if loop.count_examples(path) else set()
    silver = [r for r in reader.read(corpus / "llm.jsonl", allow_empty=True, gold=False) if r.text in usable]
    labelled: list[Record] = []
    if n and llm_train.exists():
        labelled = [r for r in reader.read(llm_train, allow_empty=True, gold=False) if not r.llm_error]
    chosen, rest = splits.choose(reviewed, {record.text for record in labelled}, n)
    hidden = {record.text for record in rest}
    silver += [record for record in labelled if record.text in hidden]
    if not silver:
        raise UserError(
            f"{path}: there is no silver text to distil; run `weasel run llm-annotate`, then `weasel run "
            "split`."
        )
    return DistillationData(chosen, silver, rest)

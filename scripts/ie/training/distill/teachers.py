"""Pipelines trained side by side on partly annotated texts, scored, and asked about other texts."""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time
from typing import Any

import spacy
from spacy.tokens import Doc
from tqdm import tqdm

from ie.core.errors import UserError
from ie.core.files import json_text, sha256_file
from ie.data import records
from ie.data.docs import docbin, from_doc, read_docs, to_doc
from ie.data.records import Record, Span
from ie.evaluation import baselines, scoring
from ie.training import jobs, loop
from ie.training.distill import recipes
from ie.training.distill.recipes import Answers, SilverText
from ie.training.jobs import Cell, Result, TrainingJob
from ie.training.variants import variant_comparison


@dataclass(frozen=True)
class Training(TrainingJob):
    """A cell that is also asked for the spans of texts.

    Attributes:
        first: examples of a first stage, whose weights the training on `train` goes on from.
        asked: JSON list of texts.
        test: gold records that are scored as well.
        model: folder that keeps the pipeline.
    """

    first: Path | None = None
    asked: Path | None = None
    test: Path | None = None
    model: Path | None = None


@dataclass(frozen=True)
class Teacher:
    """A training whose pipeline is asked about `texts` as that of one seed."""

    seed: int
    texts: tuple[str, ...]
    job: Training


@dataclass
class Bench:
    """Where trainings run: what is the same for all of them, and a folder for their examples.

    `cache` keeps what was finished, by all that it depends on; None keeps nothing.
    """

    config: Path
    dev: Path
    labels: tuple[str, ...]
    folder: Path
    lang: str = "en"
    test: Path | None = None
    cache: Path | None = None
    max_steps: int = 0
    gpu_id: int = -1
    workers: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        self.nlp = records.blank(self.lang)

    def write(self, docs: Sequence[Doc]) -> Path:
        """The `.spacy` file of training examples, named by what is in it."""
        data = docbin(docs).to_bytes()
        path = self.folder / f"{hashlib.sha256(data).hexdigest()[:16]}.spacy"
        if not path.exists():
            path.write_bytes(data)
        return path

    def training(
        self,
        docs: Sequence[Doc],
        seed: int,
        *,
        first: Sequence[Doc] | None = None,
        asked: Sequence[str] = (),
        model: Path | None = None,
    ) -> Training:
        """The job of a training; with `first` it is one in two stages."""
        questions = None
        if asked:
            text = json_text(list(asked))
            questions = self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
            if not questions.exists():
                questions.write_text(text, encoding="utf-8")
        before = self.write(first) if first is not None else None
        test = None if asked else self.test
        return Training(
            cell=Cell(100.0, len(docs), seed),
            config=self.config,
            train=self.write(docs),
            dev=self.dev,
            labels=self.labels,
            overrides={"nlp.lang": self.lang}
            | ({"training.max_steps": self.max_steps} if self.max_steps else {}),
            gpu_id=self.gpu_id,
            cache=self.cache,
            also=tuple(sha256_file(path) if path else "" for path in (before, questions, test)),
            first=before,
            asked=questions,
            test=test,
            model=model,
        )

    def run(self, trainings: Sequence[Training], description: str) -> list[Result]:
        """Do the trainings side by side, equal ones once; results in the order given.

        Raises:
            UserError: a training failed, was killed, or the user interrupted; what was finished is kept.
        """
        keys = [jobs.key(job) for job in trainings]
        distinct = dict(zip(keys, trainings, strict=True))
        found = {key: result for key, job in distinct.items() if (result := _kept(job))}
        left = sorted((key for key in distinct if key not in found), key=lambda k: -_size(distinct[k]))
        with tqdm(total=len(distinct), desc=description, unit="training", leave=False) as bar:
            if found:
                bar.initial = bar.n = len(found)

            def done(i: int, result: Result) -> None:
                found[left[i]] = result
                bar.update()

            try:
                todo = [(i, distinct[key]) for i, key in enumerate(left)]
                trains = [path for _, job in todo for path in (job.train, job.first) if path]
                processes = min(self.workers or jobs.default_workers(self.gpu_id, trains), len(todo))
                if processes > 1:
                    jobs.on_cores(todo, processes, done, work=train)
                else:
                    for i, job in todo:
                        done(i, train(job))
            except KeyboardInterrupt:
                where = f"kept in {self.cache}; run the same command again to go on" if self.cache else "lost"
                raise UserError(
                    f"interrupted: {len(found)} of {len(distinct)} {description} are done and {where}."
                ) from None
        return [found[key] for key in keys]


def _kept(job: Training) -> Result | None:
    return None if job.model else jobs.kept(job)


def _size(job: Training) -> int:
    return job.cell.examples + (job.first.stat().st_size if job.first else 0)


@contextmanager
def bench(**options: Any) -> Iterator[Bench]:
    """A `Bench` with a folder that goes with it."""
    with tempfile.TemporaryDirectory(prefix="distill-") as folder:
        yield Bench(folder=Path(folder), **options)


def train(job: Training) -> Result:
    """Train in this process, score on dev (and test), and ask.

    Returns:
        `cell`, `labels`, `examples`, `counts` on dev and `test` (None without) as (documents, labels, 3)
        lists, `found` (of each text asked the [start, end, label] of its spans), `step`, processor `seconds`.
    """
    options = {
        "dev": job.dev,
        "overrides": job.overrides,
        "seed": job.cell.seed,
        "gpu_id": job.gpu_id,
        "quiet": True,
    }
    with tempfile.TemporaryDirectory(prefix="distill-") as temporary:
        folder, begun = job.model or Path(temporary) / "last", process_time()
        start = None
        if job.first:
            loop.train(job.config, train=job.first, output=Path(temporary) / "first", **options)
            start = Path(temporary) / "first" / "model-best"
        scores = loop.train(job.config, train=job.train, output=folder, start=start, **options)
        seconds = process_time() - begun
        predict = baselines.predict_with(spacy.load(folder / "model-best"))
    texts = json.loads(job.asked.read_text(encoding="utf-8")) if job.asked else []
    dev = [from_doc(doc) for doc in read_docs(job.dev)]
    test = variant_comparison.read_gold(job.test) if job.test else []
    result = {
        "cell": asdict(job.cell),
        "labels": list(job.labels),
        "examples": scores["examples"],
        "step": scores["step"],
        "seconds": seconds,
        "counts": _score(dev, predict, job.labels),
        "test": _score(test, predict, job.labels) if test else None,
        "found": [[[s.start, s.end, s.label] for s in record.spans] for record in predict(texts)],
    }
    jobs.keep(job, result)
    return result


def _score(gold: Sequence[Record], predict: baselines.Predict, labels: Sequence[str]) -> list:
    return scoring.count(gold, predict([record.text for record in gold]), labels).tolist()


def teachers(
    at: Bench,
    reviewed: Sequence[Record],
    drafts: Sequence[SilverText],
    texts: Sequence[str],
    pipelines: int,
    folds: int,
) -> list[Teacher]:
    """Trainings whose pipelines are asked about texts: on the reviewed ones and the drafts of other parts.

    Args:
        drafts: silver to train on; with none of it, nothing needs to be held out.
        pipelines: one for each seed. folds: parts of the texts.
    """
    folds = folds if drafts else 1
    gold = [to_doc(record, at.nlp) for record in reviewed]
    found = []
    for part in range(folds):
        asked = tuple(text for text in texts if recipes.fold(text, folds) == part)
        others = [
            recipes.to_training_doc(draft, at.nlp)
            for draft in drafts
            if recipes.fold(draft.record.text, folds) != part
        ]
        if asked:
            found += [
                Teacher(seed, asked, at.training([*gold, *others], seed, asked=asked))
                for seed in range(at.seed, at.seed + pipelines)
            ]
    return found


def answers(asked: Sequence[Teacher], results: Sequence[Result]) -> list[Answers]:
    """What the pipelines of each seed said, by text."""
    by_seed: dict[int, dict[str, Record]] = {}
    for teacher, result in zip(asked, results, strict=True):
        for text, spans in zip(teacher.texts, result["found"], strict=True):
            record = Record(text=text, spans=[Span(start=s, end=e, label=label) for s, e, label in spans])
            by_seed.setdefault(teacher.seed, {})[text] = record
    return [by_seed[seed] for seed in sorted(by_seed)]

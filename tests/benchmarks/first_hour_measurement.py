"""The first hour on a set by all policies: reviews and trainings, each kept as soon as it is done."""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import first_hour, first_hour_sets, scripted_reviewer
from benchmarks.first_hour import POLICIES, Policy, ReviewedText
from benchmarks.first_hour_report import HourResult, SetResults
from benchmarks.first_hour_sets import LLMCost, ReviewedSet

from ie.core.files import hash_code, json_text, sha256_file
from ie.data.config import DataConfig
from ie.data.docs import to_doc
from ie.data.records import Record, RecordFile, write_records
from ie.review.settings import ReviewSettings
from ie.training import jobs, loop
from ie.training.jobs import Cell, TrainingJob


class FirstHour:
    """The first hour on a set, by all policies; what was played and trained before is kept in a folder."""

    def __init__(
        self,
        reviewed: ReviewedSet,
        folder: Path,
        sizes: Sequence[int],
        base: ReviewSettings,
        data: DataConfig,
        config: Path,
        max_steps: int,
    ) -> None:
        self.reviewed, self.folder, self.sizes = reviewed, folder, sizes
        self._base, self._data, self._config, self._max_steps = base, data, config, max_steps
        self._gold = {record.text: record for record in reviewed.pool}
        self._files: dict[str, RecordFile] = {}
        self._cost = LLMCost()

    def begin(self, llm_config: Path, provider: str) -> None:
        """Review the first texts, then ask the LLM about the others."""
        begun = self._records(self._first(POLICIES[-1]))
        self._files, self._cost = first_hour_sets.suggestions(
            self.reviewed, begun, self.folder, config=llm_config, provider=provider, data=self._data
        )

    def measure(self, seed: int) -> list[HourResult]:
        """The results of all policies with a seed."""
        reviews = {policy.name: self._review(policy, seed) for policy in POLICIES}
        todo = [(name, size) for name in reviews for size in self.sizes]
        with tempfile.TemporaryDirectory(prefix="first-hour-") as name:
            trainings = [self._job(reviews[policy][:size], seed, Path(name)) for policy, size in todo]
            trained = iter(jobs.run([job for job in trainings if job], workers=1, what="trainings"))
            counts = [next(trained)["test"] if job else self._nothing() for job in trainings]
        return [
            HourResult(
                policy,
                size,
                seed,
                keys=sum(row.keys for row in reviews[policy][:size]),
                decisions=sum(row.decisions for row in reviews[policy][:size]),
                counts=tuple(tuple(map(sum, zip(*labels, strict=True))) for labels in texts),
            )
            for (policy, size), texts in zip(todo, counts, strict=True)
        ]

    def results(self, measured: Sequence[HourResult]) -> SetResults:
        """What was measured so far."""
        sizes = len(self.reviewed.pool), len(self.reviewed.test)
        return SetResults(self.reviewed.name, *sizes, tuple(measured), self._cost)

    def _records(self, rows: Sequence[ReviewedText]) -> list[Record]:
        return [self._gold[row.text] for row in rows]

    def _first(self, policy: Policy) -> list[ReviewedText]:
        """The first texts, the same for all policies."""
        return self._play(policy, None, self.sizes[0], {}, [])

    def _review(self, policy: Policy, seed: int) -> list[ReviewedText]:
        """All texts of a policy with a seed."""
        first = self._first(policy)
        files = self._files if policy.llm else {}
        return [*first, *self._play(policy, seed, self.sizes[-1] - len(first), files, self._records(first))]

    def _play(
        self,
        policy: Policy,
        seed: int | None,
        texts: int,
        files: dict[str, RecordFile],
        begun: list[Record],
    ) -> list[ReviewedText]:
        settings = policy.settings(self._base, seed=seed)
        suggested = [file.path.read_text(encoding="utf-8") for file in files.values()]
        parts = [settings.model_dump(), self._data.model_dump(), self.reviewed.key(), suggested, texts]
        parts += [hash_code("ie.review", "ie.data"), [record.text for record in begun]]
        parts += [sha256_file(Path(module.__file__)) for module in (first_hour, scripted_reviewer)]
        key = hashlib.sha256(json_text(parts).encode()).hexdigest()
        path = self.folder / "reviews" / f"{policy.name}-{'first' if seed is None else seed}.json"
        return first_hour.kept_rows(
            path,
            key,
            lambda: first_hour.play(
                self.reviewed.pool,
                texts=texts,
                settings=settings,
                labels=self.reviewed.labels,
                data=self._data,
                files=files,
                begun=begun,
            ),
        )

    def _job(self, rows: Sequence[ReviewedText], seed: int, folder: Path) -> TrainingJob | None:
        """The training on the answers, split as `weasel run split` does; None if there can't be one."""
        split = self._data.assign(self._records(rows), [])
        if not split.dev or not any(record.spans for record in split.train):
            return None
        nlp = self._data.blank()
        train, dev = (
            jobs.write_examples(folder, [to_doc(record, nlp) for record in part])
            for part in (split.train, split.dev)
        )
        test = folder / "test.jsonl"
        if not test.exists():
            write_records(test, self.reviewed.test)
        return TrainingJob(
            Cell(100, len(split.train), seed),
            self._config,
            train,
            dev,
            self.reviewed.labels,
            loop.overrides(self._data.lang, self._max_steps),
            test=test,
            cache=self.folder / "trainings",
        )

    def _nothing(self) -> list[list[list[int]]]:
        """Counts of a pipeline that finds nothing."""
        labels = self.reviewed.labels
        missed = [
            [sum(span.label == label for span in record.spans) for label in labels]
            for record in self.reviewed.test
        ]
        return [[[0, 0, n] for n in text] for text in missed]

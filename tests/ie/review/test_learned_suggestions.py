"""Suggestions from the answers: marked strings, rules, a small model; and what they may not learn from."""

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from reviewing import NLP, SCHEME, Project, texts
from running import write_lines

from ie.core.errors import UserError
from ie.core.processes import pool
from ie.data.records import Record, RecordFile, Span
from ie.review import quick_model
from ie.review.learned_suggestions import MODEL, RULES, STRINGS, LearnedSuggestions
from ie.review.marked_strings import MarkedStrings
from ie.review.settings import LearnSection
from ie.review.suggestion_sources import SuggestionSources, TextSuggestions, WatchedFiles, add, agreed


class AtOnce(Executor):
    """Runs a training where it is submitted; or holds it back until `run`."""

    def __init__(self, hold: bool = False) -> None:
        self.hold, self.waiting, self.sizes = hold, [], []

    def submit(self, work: Callable, answers: list[Record], lang: str) -> Future:
        future = Future()
        self.waiting.append((future, work, answers, lang))
        self.sizes.append(len(answers))
        if not self.hold:
            self.run()
        return future

    def run(self) -> None:
        while self.waiting:
            future, work, answers, lang = self.waiting.pop(0)
            try:
                future.set_result(work(answers, lang, 0))
            except Exception as error:
                future.set_exception(error)


def record(text: str, *spans: tuple[str, str], answer: str = "accept") -> Record:
    places = [(text.index(part), part, label) for part, label in spans]
    return Record(
        text=text, answer=answer, spans=[Span(start=s, end=s + len(p), label=label) for s, p, label in places]
    )


def marked(text: str) -> Record:
    """A text of `reviewing.texts` with its company and its amount."""
    words = text.split()
    return record(text, (words[0], "COMPANY"), (words[4], "MONEY"))


def found(suggested: Record) -> list[tuple[str, str]]:
    return [(suggested.text[s.start : s.end], s.label) for s in suggested.spans]


class TestMarkedStrings:
    def test_what_was_marked_is_suggested_the_longest_first(self) -> None:
        strings = MarkedStrings(NLP.tokenizer)
        strings.put(record("ACME Group paid Hooli.", ("ACME Group", "COMPANY"), ("Hooli", "COMPANY")))
        strings.put(record("Group is a word.", ("Group", "MONEY")))
        assert found(strings.suggest("Hooli and ACME Group")) == [
            ("Hooli", "COMPANY"),
            ("ACME Group", "COMPANY"),
        ]
        assert found(strings.suggest("hooli pays")) == []

    def test_what_is_mostly_unmarked_is_not(self) -> None:
        strings = MarkedStrings(NLP.tokenizer)
        strings.put(record("Gap opened.", ("Gap", "COMPANY")))
        strings.put(record("Gap in the market."))
        assert found(strings.suggest("Gap again")) == []
        strings.put(record("Gap grew.", ("Gap", "COMPANY")))
        strings.put(record("Gap shrank.", ("Gap", "COMPANY")))
        assert found(strings.suggest("Gap again")) == [("Gap", "COMPANY")]

    def test_a_correction_counts_in_place_of_the_answer(self) -> None:
        strings = MarkedStrings(NLP.tokenizer)
        strings.put(record("Hooli pays.", ("Hooli", "COMPANY")))
        strings.put(record("Hooli pays.", ("Hooli", "MONEY")))
        assert found(strings.suggest("Hooli")) == [("Hooli", "MONEY")]
        strings.put(record("Hooli pays.", ("Hooli", "MONEY"), answer="reject"))
        assert found(strings.suggest("Hooli")) == []


class TestQuickModel:
    def test_the_same_answers_give_the_same_model(self) -> None:
        answers = [marked(text) for text in texts(40)]
        one, other = (quick_model.train(answers, "en", priority=0) for _ in range(2))
        assert one == other
        assert one.answers == 40
        assert "COMPANY" in one.labels
        nlp = quick_model.empty("en").from_bytes(one.model)
        new = "Velto copper lantern raised $99m for granite."
        assert ("Velto", "COMPANY") in [(ent.text, ent.label_) for ent in nlp(new).ents]

    def test_labels_that_are_mostly_wrong_are_left_out(self) -> None:
        # what is marked in the older answers is not in the newest
        older = [marked(text) for text in texts(30)]
        newest = [record(text) for text in texts(40)[30:]]
        training = quick_model.train(older + newest, "en", priority=0)
        assert training.suggested.total() > 0 == training.right.total()
        assert (training.labels, training.model) == (frozenset(), b"")

    def test_answers_without_spans_teach_nothing(self) -> None:
        training = quick_model.train([record(text) for text in texts(12)], "en", priority=0)
        assert (training.model, training.rules, training.suggested.total()) == (b"", (), 0)


class TestLearnedSuggestions:
    def learned(self, executor: Executor, every: int = 10, report: Callable = print) -> LearnedSuggestions:
        settings = LearnSection(every=every)
        return LearnedSuggestions(NLP.tokenizer, "en", settings, executor=executor, report=report)

    def test_strings_at_once_rules_and_a_model_later(self) -> None:
        learned = self.learned(AtOnce())
        lines = texts(40)
        learned.learn(map(marked, lines[:9]))
        assert learned.names == [STRINGS]
        for text in lines[9:]:
            learned.learn([marked(text)])
        assert learned.names == [STRINGS, RULES, MODEL]
        new = "Velto copper lantern raised $99m for granite."
        by_source = dict(learned.suggest(new))
        assert ("Velto", "COMPANY") in found(by_source[MODEL])
        assert all(rule.right for rule in learned.last.rules)

    def test_a_training_takes_a_multiple_of_answers_and_one_runs_at_a_time(self) -> None:
        executor = AtOnce(hold=True)
        learned = self.learned(executor)
        for text in texts(35):
            learned.learn([marked(text)])
        assert executor.sizes == [10]
        executor.run()
        learned.learn([marked(texts(36)[35])])
        assert executor.sizes == [10, 30]

    def test_a_killed_process_stops_nothing(self) -> None:
        class Broken(Executor):
            def submit(self, *arguments: object) -> Future:
                raise BrokenProcessPool("killed")

        told: list[str] = []
        learned = self.learned(Broken(), report=told.append)
        learned.learn(map(marked, texts(30)))
        learned.learn(map(marked, texts(60)))
        assert len(told) == 1
        assert "reviewing goes on without it" in told[0]
        assert learned.names == [STRINGS]

    def test_no_training_and_no_strings(self) -> None:
        settings = LearnSection(strings=False, every=0)
        executor = AtOnce()
        learned = LearnedSuggestions(NLP.tokenizer, "en", settings, executor=executor)
        learned.learn(map(marked, texts(30)))
        assert (executor.sizes, learned.names, list(learned.suggest("Velto"))) == ([], [], [])

    def test_an_interrupted_training_ends_with_the_block(self) -> None:
        begun = time.monotonic()
        with pool(1, abandon=True) as executor:
            executor.submit(time.sleep, 600)
        assert time.monotonic() - begun < 60


class TestReview:
    def project(self, folder: Path, **settings: object) -> Project:
        self.executor = AtOnce(hold=True)
        learned = LearnedSuggestions(NLP.tokenizer, "en", LearnSection(every=5), executor=self.executor)
        sources = SuggestionSources({}, learned=learned)
        review = {"tasks": ["spans"], "mode": "all labels", "blind": []} | settings
        return Project(folder, texts(30), settings={"review": review}, sources=sources)

    def mark_company(self, project: Project) -> dict:
        return project.step(spans=[(0, 1, "COMPANY")])

    def test_an_answer_shows_in_the_next_question(self, tmp_path: Path) -> None:
        project = self.project(tmp_path)
        for _ in range(5):
            self.mark_company(project)
        item = project.engine.next("ann")
        assert [(s["first"], s["label"], s["sources"][0]["name"]) for s in item["spans"]] == [
            (0, "COMPANY", STRINGS)
        ]
        assert self.executor.sizes == [5]

    def test_blind_parts_are_shown_nothing_and_teach_nothing(self, tmp_path: Path) -> None:
        project = self.project(tmp_path, blind=["train", "dev", "test"])
        for _ in range(6):
            self.mark_company(project)
        assert project.engine.next("ann")["spans"] == []
        assert project.engine.sources.learned._answers == {}
        project.settings.review.blind = ["test"]
        project.restart()
        taught = project.engine.sources.learned._answers
        assert {project.engine.side(text) for text in taught} <= {"train", "dev"}
        assert 0 < len(taught) < 6

    def test_independent_annotators_learn_nothing_from_each_other(self, tmp_path: Path) -> None:
        project = self.project(tmp_path, independent=True)
        for name in ("ann", "ben"):
            for _ in range(5):
                self.mark_company_as(project, name)
        assert project.engine.next("ann")["spans"] == []
        assert self.executor.sizes == []

    def mark_company_as(self, project: Project, name: str) -> None:
        project.step(name, spans=[(0, 1, "COMPANY")])

    def test_a_restart_learns_from_gold(self, tmp_path: Path) -> None:
        project = self.project(tmp_path)
        for _ in range(5):
            self.mark_company(project)
        learned = LearnedSuggestions(NLP.tokenizer, "en", LearnSection(every=5), executor=AtOnce(hold=True))
        project.restart(sources=SuggestionSources({}, learned=learned))
        assert project.engine.next("ann")["spans"][0]["label"] == "COMPANY"


class TestWatchedFiles:
    def watched(self, folder: Path) -> WatchedFiles:
        paths = {name: folder / f"{name}.jsonl" for name in ("suggest", "llm")}
        return WatchedFiles(paths, lambda path: RecordFile(path, labels=SCHEME, tokenizer=NLP.tokenizer))

    def test_files_that_appear_or_change_are_read_in_the_order_of_the_settings(self, tmp_path: Path) -> None:
        watched = self.watched(tmp_path)
        assert watched.read() == {}
        write_lines(tmp_path / "llm.jsonl", [{"text": "Hooli"}])
        first = watched.read()
        assert list(first) == ["llm"]
        write_lines(tmp_path / "suggest.jsonl", [{"text": "Hooli"}])
        second = watched.read()
        assert list(second) == ["suggest", "llm"]
        assert second["llm"] is first["llm"]  # unchanged, so not read again
        write_lines(tmp_path / "llm.jsonl", [{"text": "Hooli"}, {"text": "Anker"}])
        assert watched.read()["llm"].texts == ["Hooli", "Anker"]

    def test_a_broken_file_is_named_once_and_the_old_one_stays(self, tmp_path: Path) -> None:
        watched = self.watched(tmp_path)
        write_lines(tmp_path / "llm.jsonl", [{"text": "Hooli"}])
        watched.read()
        (tmp_path / "llm.jsonl").write_text("{half", encoding="utf-8")
        with pytest.raises(UserError, match=r"llm\.jsonl:1: not valid JSON"):
            watched.read()
        assert watched.read()["llm"].texts == ["Hooli"]


class TestSkipping:
    def project(self, folder: Path, *, other: dict[int, list] = {}, **skip: object) -> Project:  # noqa: B006
        lines = texts(40)
        sources = {}
        for name, differing in (("llm", {}), ("rules", other)):
            rows = []
            for i, text in enumerate(lines):
                company = {"start": 0, "end": len(text.split()[0]), "label": "COMPANY"}
                rows.append({"text": text, "spans": differing.get(i, [company])})
            folder.mkdir(exist_ok=True)
            write_lines(folder / f"{name}.jsonl", rows)
            sources[name] = RecordFile(folder / f"{name}.jsonl", tokenizer=NLP.tokenizer)
        settings = {
            "review": {"tasks": ["spans"], "mode": "all labels", "blind": ["test"]},
            "skip": {"agreed": True, "shown": 0.0} | skip,
        }
        return Project(folder, lines, settings=settings, sources=SuggestionSources(sources))

    def test_texts_of_train_on_which_all_agree_are_left_out(self, tmp_path: Path) -> None:
        project = self.project(tmp_path, other={3: [], 7: [], 11: []})
        asked = {int(name.removeprefix("t")) for name, _ in project.run()}
        side = {i: project.engine.side(text) for i, text in enumerate(project.engine.texts)}
        assert asked == {i for i in side if side[i] != "train" or i in (3, 7, 11)}
        sentence = project.engine.session("ann")["skipped"]
        assert sentence == f"{40 - len(asked)} texts on which all sources agree were skipped."

    def test_a_share_is_shown_and_what_was_corrected_is_reported_with_an_interval(
        self, tmp_path: Path
    ) -> None:
        shown = self.project(tmp_path, shown=1.0)
        corrected = checked = 0
        while item := shown.engine.next("ann"):
            wrong = item["side"] == "train" and corrected < 2
            shown.step(**({"spans": []} if wrong else {}))
            corrected += wrong
            checked += item["side"] == "train"
        assert checked > 15
        sentence = shown.engine.session("ann")["skipped"]
        assert f"agreed on {checked} texts of train; you corrected 2 of them (" in sentence
        assert "95 % interval" in sentence
        assert sentence.endswith("0 more were skipped.")
        shown.restart()
        assert shown.engine.session("ann")["skipped"] == sentence  # from the log
        some = self.project(tmp_path / "some", shown=0.5)
        number = len(some.run())
        assert len(self.project(tmp_path / "none").run()) < number < 40

    def test_without_skipping_the_cost_is_measured_too(self, tmp_path: Path) -> None:
        project = self.project(tmp_path, agreed=False)
        assert len(project.run()) == 40
        sentence = project.engine.session("ann")["skipped"]
        assert "you corrected 0 of them (0%, 95 % interval 0% to " in sentence
        assert "skipped" not in sentence

    def test_strings_that_were_marked_before_do_not_count(self) -> None:
        suggested = TextSuggestions()
        one = record("Hooli pays.", ("Hooli", "COMPANY"))
        add(suggested, one, "llm")
        assert agreed(suggested) is None
        add(suggested, record("Hooli pays."), STRINGS)
        assert agreed(suggested) is None
        add(suggested, one, MODEL)
        assert agreed(suggested) == {(0, 5, "COMPANY")}
        add(suggested, record("Hooli pays."), "rules")
        assert agreed(suggested) is None

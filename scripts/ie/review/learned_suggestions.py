"""Suggestions from the answers so far: marked strings at once, rules and a small model after some answers."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from functools import partial

from spacy.tokens import Doc

from ie.data.docs import from_doc
from ie.data.language import Lang
from ie.data.records import Record, blank
from ie.evaluation import baselines
from ie.review import quick_model
from ie.review.marked_strings import MarkedStrings
from ie.review.quick_model import QuickTraining
from ie.review.settings import LearnSection

STRINGS, RULES, MODEL = "marked before", "mined rules", "quick model"
WITHOUT_MODEL = (
    "No small model learns from your answers, as it can't find spans that overlap; only marked strings and "
    "mined rules are suggested."
)


class LearnedSuggestions:
    """Suggestions that are learned from the answers of this project.

    A training runs in another process, and nothing waits for it. Answers that arrive in the meantime are used
    in the next one.
    """

    def __init__(
        self,
        tokenizer: Callable[[str], Doc],
        lang: Lang,
        settings: LearnSection,
        *,
        executor: Executor,
        report: Callable[[str], None] = print,
        overlapping: bool = False,
    ) -> None:
        """Args:
        executor: where trainings run.
        overlapping: whether spans may overlap; no model is trained then, only rules are mined.
        report: called with a sentence if a training fails.
        """
        self._lang, self._every, self._executor, self._report = lang, settings.every, executor, report
        self._overlapping = overlapping
        self._strings = MarkedStrings(tokenizer, overlapping=overlapping) if settings.strings else None
        self._answers: dict[str, Record] = {}
        self._trained = 0  # answers that the last training began with
        self._running: Future[QuickTraining] | None = None
        self._model: Callable[[str], Doc] | None = None
        self._rules: Callable[[str], Doc] | None = None
        self.last: QuickTraining | None = None

    def learn(self, records: Iterable[Record]) -> None:
        """Take in answers; begin a training if there are enough new ones."""
        for record in records:
            if self._strings:
                self._strings.put(record)
            if record.answer == "accept":
                self._answers[record.text] = record
            else:
                self._answers.pop(record.text, None)
        self._begin()

    def suggest(self, text: str) -> Iterator[tuple[str, Record]]:
        """Each source with its suggestions for a text."""
        if self._strings:
            yield STRINGS, self._strings.suggest(text)
        for name, pipeline in ((RULES, self._rules), (MODEL, self._model)):
            if pipeline is not None:
                yield name, from_doc(pipeline(text))

    @property
    def names(self) -> list[str]:
        """The sources that can make suggestions now."""
        sources = ((STRINGS, self._strings), (RULES, self._rules), (MODEL, self._model))
        return [name for name, source in sources if source is not None]

    @property
    def note(self) -> str:
        """What is left out, as a sentence; "" if nothing is."""
        return WITHOUT_MODEL if self._overlapping and self._every else ""

    def _begin(self) -> None:
        # A multiple of `every`, so that the result doesn't depend on how long a training takes.
        answers = len(self._answers) // self._every * self._every if self._every else 0
        if self._running or answers <= self._trained:
            return
        self._trained = answers
        try:
            train = partial(quick_model.train, rules_only=True) if self._overlapping else quick_model.train
            self._running = self._executor.submit(train, list(self._answers.values())[:answers], self._lang)
        except (BrokenProcessPool, RuntimeError):  # the process was killed, or the server stops
            self._give_up()
        else:
            self._running.add_done_callback(self._finish)

    def _finish(self, training: Future[QuickTraining]) -> None:
        # In a thread of the executor. The next training begins with the next answer.
        if training.cancelled():
            return
        if training.exception():
            self._give_up()
            return
        self.last = training.result()
        self._model = _model(self.last, self._lang)
        self._rules = _ruler(self.last, self._lang, self._overlapping)
        self._running = None

    def _give_up(self) -> None:
        self._every = 0
        self._report(
            "The training of suggestions stopped, probably out of memory; reviewing goes on without it."
        )


def _model(training: QuickTraining, lang: Lang) -> Callable[[str], Doc] | None:
    if not training.model:
        return None
    nlp = quick_model.empty(lang).from_bytes(training.model)

    def read(text: str) -> Doc:
        doc = nlp(text)
        doc.ents = [ent for ent in doc.ents if ent.label_ in training.labels]
        return doc

    return read


def _ruler(training: QuickTraining, lang: Lang, overlapping: bool) -> Callable[[str], Doc] | None:
    if not training.rules:
        return None
    nlp = blank(lang)
    ruler = baselines.add_ruler(nlp, overlapping=overlapping)
    ruler.add_patterns([rule.line() for rule in training.rules])
    return nlp

"""The systems that `evaluate` compares on the test texts: LLM, baselines, pipelines."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter

from spacy.language import Language

from ie.core.errors import UserError
from ie.core.files import json_text, read_jsonl
from ie.core.pipelines import load_pipeline
from ie.core.text import counted
from ie.data import records
from ie.data.records import Record
from ie.data.scheme import Scored
from ie.evaluation import baselines, categories, crf

# Folders that `train` writes, with their titles.
PIPELINES = {
    "silver": "Pipeline, silver only",
    "reviewed": "Pipeline, reviewed only",
    "both": "Pipeline, silver and reviewed",
}
# The folder that `distill` adds.
DISTILLED = {"distilled": "Pipeline, distilled"}


@dataclass
class SystemResult:
    """The predictions of one system for the test texts, or why it is missing.

    Attributes:
        name: key of the system in JSON files.
        title: name in tables.
        predicted: one record per test text, in the same order; None if the system is missing.
        missing: why it is missing and what to do, in one sentence.
        mb: size of the files that the system needs, in megabytes (10^6 bytes).
        seconds: duration of each timed run over all test texts, or over `timed_words` words if that is set.
        notes: caveats about the scores, one sentence each.
    """

    name: str
    title: str
    predicted: list[Record] | None = None
    missing: str = ""
    mb: float | None = None
    seconds: list[float] = field(default_factory=list)
    timed_words: int | None = None
    notes: list[str] = field(default_factory=list)

    def words_per_second(self, words: int) -> tuple[float, float, float] | None:
        """Median, slowest and fastest run, of all `words` of the test texts; None if it wasn't timed."""
        if not self.seconds:
            return None
        rates = [(self.timed_words or words) / max(seconds, 1e-9) for seconds in self.seconds]
        return median(rates), min(rates), max(rates)


def trained_pipelines(models: Path) -> dict[str, str]:
    """Name and title of the pipelines in a folder."""
    return PIPELINES | (DISTILLED if (models / "distilled" / "model-best").exists() else {})


def run_system(
    name: str, title: str, predict: baselines.Predict, texts: Sequence[str], *, repeats: int, mb: float | None
) -> SystemResult:
    """Run a system once for its predictions and as warm-up, then `repeats` times for its speed."""
    result = SystemResult(name, title, predict(texts), mb=mb)
    times = [perf_counter()]
    for _ in range(repeats):
        predict(texts)
        times.append(perf_counter())
    result.seconds = [after - before for before, after in pairwise(times)]
    return result


def run_pipeline(name: str, title: str, folder: Path, texts: Sequence[str], *, repeats: int) -> SystemResult:
    """Run a trained pipeline; it is missing if it can't be loaded."""
    try:
        nlp = load_pipeline(folder, "run `weasel run train`")
    except UserError as error:
        return SystemResult(name, title, missing=str(error))
    return run_system(name, title, baselines.predict_with(nlp), texts, repeats=repeats, mb=megabytes(folder))


def megabytes(path: Path) -> float:
    """Size of a file, or of all files in a folder, in 10^6 bytes."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return sum(file.stat().st_size for file in files) / 1e6


def stored_llm(
    path: Path,
    gold: Sequence[Record],
    *,
    timings: Path | None = None,
    words: Sequence[int] = (),
) -> SystemResult:
    """The LLM's stored annotations of the test texts; missing if any text has none.

    A text on which the LLM failed counts as a text without predictions, with a note.

    Args:
        timings: JSONL file of `llm-annotate`, for the speed: first the number of parallel calls (`parallel`)
            and the size of the weights (`mb`), then the `id` of each text and the `seconds` of its calls.
        words: number of words of each text, for the speed.
    """
    name, title, remedy = "llm", "LLM as prompted", "run `weasel run llm-annotate`"
    if not path.exists():
        return SystemResult(name, title, missing=f"{path}: there is no such file; {remedy}.")
    reader = records.Reader(duplicates="first", bad_relations="drop")
    stored = reader.read(path, allow_empty=True, report=records.ReadReport())
    by_text = {record.text: record for record in stored}
    if absent := sum(record.text not in by_text for record in gold):
        missing = f"{path}: {absent:,} of {len(gold):,} test texts have no annotation; {remedy}."
        return SystemResult(name, title, missing=missing)
    predicted = []
    for answer in (by_text[record.text] for record in gold):
        usable = {} if answer.llm_error else {"spans": answer.spans, "cats": answer.cats}
        predicted.append(Record(text=answer.text, **usable))
    failed = sum(bool(by_text[record.text].llm_error) for record in gold)
    notes = [f"{failed:,} of {len(gold):,} texts got no usable answer and count as empty."] if failed else []
    result = SystemResult(name, title, predicted, notes=notes)
    if timings and timings.exists():
        parallel, result.mb, seconds = _read_timings(timings)
        timed = [i for i, record in enumerate(gold) if seconds.get(record.id)]
        if timed:
            result.timed_words = sum(words[i] for i in timed)
            result.seconds = [sum(seconds[gold[i].id] for i in timed) / parallel]
    return result


def _read_timings(path: Path) -> tuple[int, float | None, dict[str, float]]:
    """Parallel calls, size of the weights in MB, and total seconds of the calls for each text by its id."""
    fault = "is not what `llm-annotate` writes; run `weasel run llm-annotate` again"
    try:
        head, *lines = read_jsonl(path, dict, fault) or [{"parallel": 1}]
        seconds = {str(line["id"]): float(sum(line["seconds"])) for line in lines}
        mb = head.get("mb")
        return int(head["parallel"]), None if mb is None else float(mb), seconds
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: {fault}.") from None


def run_rules(
    nlp: Language,
    gold: Sequence[Record],
    *,
    patterns: Path | None,
    gazetteer: Path | None,
    label: str,
    repeats: int,
    overlapping: bool = False,
) -> SystemResult:
    """Run the rules baseline (see `baselines.rules`); it is missing without patterns and gazetteer."""
    name, title = "rules", "Rules"
    texts = [record.text for record in gold]
    sources = [path for path in (patterns, gazetteer) if path and (not path.exists() or path.stat().st_size)]
    if not sources:
        return SystemResult(name, title, missing="there are neither patterns nor known names; write some.")
    ruler = baselines.rules(nlp, patterns=patterns, gazetteer=gazetteer, label=label, overlapping=overlapping)
    size = sum(map(megabytes, sources))
    result = run_system(name, title, baselines.predict_with(ruler), texts, repeats=repeats, mb=size)
    if gazetteer:
        known = set(baselines.names(gazetteer))
        strings = [r.text[s.start : s.end] for r in gold for s in r.spans if s.label == label]
        share = sum(string in known for string in strings) / max(len(strings), 1)
        result.notes.append(
            f"{share:.0%} of the {len(strings):,} annotated {label} spans are names in {gazetteer.name}; "
            "expect a lower recall on texts about other names."
        )
    return result


def run_dictionary(
    nlp: Language,
    train: Sequence[Record],
    texts: Sequence[str],
    *,
    repeats: int,
    overlapping: bool = False,
) -> SystemResult:
    """Run the dictionary baseline (see `baselines.build_dictionary`), its thresholds chosen on `train`."""
    dictionary = baselines.build_dictionary(train, nlp.make_doc, overlapping=overlapping)
    strings = sorted((list(key), label) for key, label in dictionary.labels.items())
    size = len(json_text(strings).encode()) / 1e6
    # "memoriser" is the key in files written so far, among them the history.
    result = run_system("memoriser", "Dictionary", dictionary, texts, repeats=repeats, mb=size)
    times = "once" if dictionary.min_count == 1 else f"{dictionary.min_count} times"
    share = f" and in {dictionary.min_precision:.0%} of their occurrences" if dictionary.min_precision else ""
    result.notes.append(
        f"{len(strings):,} strings from {len(train):,} training texts, annotated at least {times}{share} "
        "(thresholds chosen on those texts)."
    )
    return result


def run_crf(
    nlp: Language,
    train: Sequence[Record],
    texts: Sequence[str],
    *,
    cache: Path,
    repeats: int,
    overlapping: bool = False,
) -> SystemResult:
    """Run the conditional random field (see `crf`); missing where no training text has a span, or where spans
    overlap, as it gives each token one tag."""
    name, title = "crf", "Plain conditional random field"
    if overlapping:
        return SystemResult(name, title, missing="it gives each token one label, so its spans can't overlap.")
    if not any(record.spans for record in train):
        return SystemResult(name, title, missing="no training text has a span; review some that do.")
    model = crf.load_or_train(train, nlp.make_doc, cache)
    result = run_system(
        name, title, crf.Crf(nlp.make_doc, model), texts, repeats=repeats, mb=megabytes(model)
    )
    result.notes.append(
        f"trained on {counted(len(train), 'text')}: words, affixes and shapes of a token and of two on each "
        "side."
    )
    return result


def run_tfidf(train: Sequence[Record], scored: Scored, texts: Sequence[str]) -> SystemResult:
    """Run the baseline of categories: a logistic regression on TF-IDF of character n-grams."""
    return SystemResult(
        "tfidf",
        "TF-IDF, regression",
        categories.tfidf_regression(train, texts, exclusive=scored == "category"),
        notes=[f"trained on {counted(len(train), 'text')}: character n-grams, logistic regression."],
    )


def constant_systems(
    train: Sequence[Record], labels: Sequence[str], scored: Scored, texts: Sequence[str]
) -> list[SystemResult]:
    """Baselines with one prediction for every text: the most frequent categories in training, and, if a text
    may have several, all categories."""
    most_frequent = categories.most_frequent(train, scored)
    systems = [("majority", "Majority", most_frequent)]
    if scored == "categories" and set(most_frequent) != set(labels):
        systems.append(("every", "Every category", tuple(labels)))
    return [
        SystemResult(
            name,
            title,
            [Record(text=text, cats=dict.fromkeys(predicted, 1.0)) for text in texts],
            notes=[f"predicts {', '.join(predicted) or 'no category'} for every text."],
        )
        for name, title, predicted in systems
    ]

"""A real data set taken through the whole project: what each step took, and what came out."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import srsly
from benchmarks import first_hour, retarget
from benchmarks.retarget import Size

from ie.core.errors import UserError
from ie.core.files import write_json
from ie.core.pipelines import load_pipeline
from ie.core.settings import load_settings
from ie.data.config import load_data_config
from ie.data.docs import from_doc
from ie.data.records import Record, RecordFile, read_records, write_records
from ie.data.scheme import load_scheme
from ie.evaluation import scoring
from ie.review.settings import ReviewSettings

REVIEW, TUNE = "review", "tune-prompt"
# Review comes as soon as there are suggestions, and a better prompt would be for the next texts.
STEPS = (
    *("check", "llm-annotate", REVIEW, "split", "train-curve", "train", "evaluate", "history", "package"),
    *("train-components", "assemble", "evaluate-components", "package-pipeline", TUNE),
)
GOLD = "assets/reviewed.jsonl"
# Examples of errors, and the words that a text with one may have.
EXAMPLES, SHORT = 3, 25


@dataclass(frozen=True)
class Setting:
    """What is taken through the project, and how.

    Attributes:
        words: file of definitions and prompt words. overrides: vars of the run.
        calls: that the search for a prompt may make. search_texts: in each of its halves.
        money_label: of the amounts of money; "" for none.
    """

    name: str
    data: Path
    words: Path
    size: Size
    overrides: Mapping[str, Any]
    calls: int
    search_texts: int = 80
    money_label: str = ""


def run(
    setting: Setting, root: Path, folder: Path, progress: Callable[[str], Any] = lambda step: None
) -> Path:
    """Run all steps in a copy of the project in `folder`; a run that was stopped goes on where it was.

    Returns:
        The copy. `folder/steps.json` has the seconds of each step.

    Raises:
        UserError: a step failed.
    """
    log = folder / "steps.json"
    done: dict[str, float] = json.loads(log.read_text(encoding="utf-8")) if log.exists() else {}
    reviewed, raw = retarget.divide(setting.data / setting.name, setting.size)
    copy = folder / "project"

    def take(step: str) -> None:
        if step == "init":
            folder.mkdir(parents=True, exist_ok=True)
            more = {"money_label": setting.money_label} if setting.money_label else {}
            retarget.set_up(setting.name, reviewed, raw, setting.words, root, folder, setting.size, **more)
            added, removed = retarget.edits(copy)
            write_json(folder / "edits.json", {"added": added, "removed": removed})
        elif step == TUNE:
            retarget.edit_config(copy / "configs/tune-prompt.cfg", {"texts": setting.search_texts})
            options = ["--yes", "--max-calls", str(setting.calls)]
            _python(copy, "scripts/tune-prompt.py", *options)
        elif step == REVIEW:
            write_json(folder / "review.json", review(copy, raw))
        else:
            retarget.run(copy, step, setting.overrides)

    for step in ("init", *STEPS):
        progress(step)
        if step not in done:
            started = perf_counter()
            take(step)
            done[step] = round(perf_counter() - started, 1)
            write_json(log, done)
    return copy


def _python(copy: Path, *line: str) -> None:
    command = [sys.executable, "-B", *line]
    environment = retarget.environment()
    process = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    if process.returncode:
        raise UserError(f"`python {' '.join(line)}` failed: {(process.stdout + process.stderr)[-1500:]}")


def review(copy: Path, gold: Sequence[Record]) -> dict[str, int]:
    """Let the scripted reviewer answer from gold, with the LLM's suggestions; add the texts to the gold.

    Relations are taken from gold as they are: the scripted reviewer marks spans.

    Returns:
        How many texts, answers, decisions, corrections and keys.
    """
    data = load_data_config(copy / "configs/data.cfg")
    scheme = load_scheme(copy / "configs/llm.cfg")
    tokenizer = data.blank().tokenizer
    write_records(copy.parent / "withheld.jsonl", gold)
    snapped = read_records(copy.parent / "withheld.jsonl", tokenizer=tokenizer, misaligned="snap")
    rows = first_hour.play(
        [Record(text=record.text, spans=record.spans) for record in snapped],
        texts=len(snapped),
        settings=load_settings(copy / "configs/review.cfg", ReviewSettings),
        labels=scheme.span_labels,
        data=data,
        files={
            "llm": RecordFile(
                copy / "corpus/llm.jsonl", labels=scheme, tokenizer=tokenizer, misaligned="snap"
            )
        },
    )
    before = (copy / GOLD).read_text(encoding="utf-8")
    write_records(copy.parent / "reviewed.jsonl", snapped)
    added = (copy.parent / "reviewed.jsonl").read_text(encoding="utf-8")
    (copy / GOLD).write_text(before + added, encoding="utf-8")
    return {
        "texts": len(rows),
        "answers": sum(row.answers for row in rows),
        "decisions": sum(row.decisions for row in rows),
        "corrections": sum(row.corrections for row in rows),
        "keys": sum(row.keys for row in rows),
    }


@dataclass(frozen=True)
class CaseResult:
    """What the steps took and what came out; scores are value, low and high.

    Attributes:
        yours: lines of definitions and prompt words; `added` and `removed` are those that `init` changed.
        seconds: by step. calls: of the LLM, by step. review: see `review`.
        annotation_hours: that the set's own annotators took for its texts, as they recorded it.
        systems: scores by system; None where it isn't there. labels: of the pipeline, by label.
        relations: scores on gold entities and on those of the pipeline, and their number in gold.
        speed: words a second. mb: of the pipeline's weights.
        errors: of the pipeline on test by kind. confusions: the most frequent pairs of labels.
    """

    name: str
    texts: dict[str, int]
    span_labels: int
    relation_labels: int
    yours: int
    added: int
    removed: int
    seconds: dict[str, float]
    calls: dict[str, int]
    review: dict[str, int]
    annotation_hours: float
    tuning: dict[str, Any]
    systems: dict[str, dict[str, Any]]
    labels: dict[str, dict[str, Any]]
    relations: dict[str, Any]
    speed: dict[str, int]
    curve: str
    errors: dict[str, int]
    confusions: list[list[Any]]
    examples: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read_result(setting: Setting, folder: Path) -> CaseResult:
    """What the steps wrote in `folder`."""
    copy = folder / "project"
    config = srsly.read_yaml(copy / "project.yml")["vars"]["config"]
    training = copy / "training" / setting.overrides.get("config", config)
    metrics, analysis, speed = (_json(training / f"{name}.json") for name in ("metrics", "analysis", "speed"))
    relations = _json(training / "component-scores/relations.json")["systems"]
    tuning = _json(copy / "training/prompts/scores.json")
    reviewed, raw = retarget.divide(setting.data / setting.name, setting.size)
    scheme = load_scheme(copy / "configs/llm.cfg")
    labels = metrics["test"]["spans"]
    texts = {part: len(read_records(copy / f"corpus/{part}.jsonl")) for part in ("train", "dev", "test")}
    gold = read_records(copy / "corpus/test.jsonl")
    confusions, examples = wrong_answers(training / "reviewed/model-best", gold)
    kinds: Counter[str] = Counter()
    for counts in analysis["errors"]["reviewed"].values():
        kinds.update(counts)
    return CaseResult(
        name=setting.name,
        texts={**texts, "withheld": len(raw)},
        span_labels=len(scheme.span_labels),
        relation_labels=len(scheme.relation_labels),
        yours=retarget.count_lines(setting.words),
        **_json(folder / "edits.json"),
        seconds=seconds(folder),
        calls={TUNE: tuning["calls"], "llm-annotate": _json(copy / "corpus/llm.json")["prompts"]},
        review=_json(folder / "review.json"),
        annotation_hours=annotation_hours([*reviewed, *raw]),
        tuning={key: tuning[key] for key in ("best", "before", "after", "gain", "better", "held_out_texts")},
        systems={
            name: _scores(found["all"]) | {"mb": found["mb"]} for name, found in metrics["systems"].items()
        },
        labels={label: _scores(metrics["systems"]["reviewed"][label]) for label in labels},
        relations={
            "n": sum(relations["gold"]["all"][key] for key in ("correct", "missing")),
            **{name: {key: relations[name]["all"][key] for key in "prf"} for name in ("gold", "predicted")},
        },
        speed={name: found["words_per_second"] for name, found in speed.items()},
        curve=_json(training / "curve/curve.json")["verdict"]["text"],
        errors=dict(kinds),
        confusions=confusions,
        examples=examples,
    )


def seconds(folder: Path) -> dict[str, float]:
    """Seconds by step. Where a run was stopped, `llm-annotate` asked for the rest only: all calls count."""
    steps = _json(folder / "steps.json")
    lines = (folder / "project/training/llm-timings.jsonl").read_text(encoding="utf-8").splitlines()
    first, *texts = map(json.loads, lines)
    calls = sum(sum(text["seconds"]) for text in texts) / first["parallel"]
    return steps | {"llm-annotate": max(steps["llm-annotate"], round(calls, 1))}


def annotation_hours(records: Iterable[Record]) -> float:
    """Hours that annotators took for records; those without a time count as none."""
    return round(sum((r.meta or {}).get("annotation_seconds") or 0 for r in records) / 3600, 1)


def wrong_answers(model: Path, gold: Sequence[Record]) -> tuple[list[list[Any]], list[dict[str, Any]]]:
    """The pairs of labels that a pipeline confuses most, with their number, and texts with a single error.

    Each of the texts has another kind of error; the shortest come first.
    """
    nlp = load_pipeline(model, "run `weasel run train`")
    answers = [from_doc(doc) for doc in nlp.pipe(record.text for record in gold)]
    pairs = [(record, scoring.errors(record, answer)) for record, answer in zip(gold, answers, strict=True)]
    confused = Counter(
        (error.gold.label, error.predicted.label)
        for _, errors in pairs
        for error in errors
        if error.gold and error.predicted and error.gold.label != error.predicted.label
    )
    examples: dict[str, dict[str, Any]] = {}
    for record, errors in sorted(pairs, key=lambda pair: (len(pair[0].text), pair[0].text)):
        if len(errors) == 1 and errors[0].kind not in examples and len(record.spans) > 1:
            (error,) = errors
            examples[error.kind] = {"text": record.text, "kind": error.kind} | {
                name: f"{span.label} {record.text[span.start : span.end]}" if span else ""
                for name, span in (("gold", error.gold), ("predicted", error.predicted))
            }
    shown = [example for example in examples.values() if len(example["text"].split()) <= SHORT]
    ranked = sorted(confused.items(), key=lambda item: (-item[1], item[0]))
    return [[*labels, n] for labels, n in ranked[:5]], shown[:EXAMPLES]


def _scores(found: Mapping[str, Any]) -> dict[str, Any]:
    """`p`, `r` and `f` with their intervals, and the number of gold spans."""
    scores = {key: [found[key], found[f"{key}_low"], found[f"{key}_high"]] for key in "prf"}
    return scores | {"gold": found["gold"]}


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))

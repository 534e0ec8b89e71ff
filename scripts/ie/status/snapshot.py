"""Read the state of a project from its files.

Whether a result is up to date is decided by the content of files, since their times change with every
checkout. A missing or broken file never raises: it counts as missing, or adds a sentence to `problems`.
"""

import json
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from ie.core.errors import UserError
from ie.core.files import read_jsonl, sha256_file
from ie.core.stats import Estimate
from ie.data import options, splits
from ie.data.config import DataConfig, load_data_config
from ie.data.records import Record
from ie.data.scheme import Scheme, load_scheme
from ie.data.splits import SIDES
from ie.evaluation import history, rules_and_model
from ie.evaluation.scoring import ALL


@dataclass(frozen=True)
class ProjectPaths:
    """The files and folders of a project; `training` is the folder of one training config."""

    texts: Path = Path("assets/texts.jsonl")
    reviewed: Path = Path("assets/reviewed.jsonl")
    scheme: Path = Path("configs/llm.cfg")
    data: Path = Path("configs/data.cfg")
    corpus: Path = Path("corpus")
    training: Path = options.TRAINING
    history: Path = Path("training/history.jsonl")
    packages: Path = Path("packages")
    database: Path = Path("database")


@dataclass(frozen=True)
class LlmRun:
    """The last run of `llm-annotate`: texts, those without a usable answer, those without any answer."""

    texts: int
    failed: int = 0
    unavailable: int = 0


@dataclass(frozen=True)
class Curve:
    """The training curve: the kind of its verdict, F with all examples, the rise over the last portion."""

    kind: str
    f: Estimate
    dev: int
    examples: int
    added: int = 0
    rise: Estimate | None = None
    stale: bool = False


@dataclass(frozen=True)
class Scores:
    """The last evaluation on the test set.

    Attributes:
        f: F by system, then by label or "all".
        spans: number of annotated spans (or categories) by label.
        better: pairs of systems (better, worse) whose difference is beyond noise.
        stale: a clause that says what has changed since; "" if nothing has.
    """

    documents: int
    f: dict[str, dict[str, Estimate]]
    spans: dict[str, int] = field(default_factory=dict)
    better: tuple[tuple[str, str], ...] = ()
    stale: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """The last diagnosis: the first cause ("" if nothing is broken), and the number of doubtful spans."""

    broken: str = ""
    suspects: int = 0
    stale: bool = False


@dataclass(frozen=True)
class Snapshot:
    """Everything that the next step depends on.

    Attributes:
        problems: one sentence for each file that can't be read.
        texts: number of raw texts; unreviewed: those without an answer, None if that isn't known.
        scored: what is measured, "spans" or a form of categories. labels: those that are scored.
        answers: reviewed texts by answer. parts: accepted ones by part of the split.
        label_counts: annotations by part and label.
        split: texts by part as `split` wrote them, None if it has not run. changed: reviewed texts that
            differ from these.
        train_on: the training data of the packaged pipeline. with_rules: whether rules are part of it.
        trained: whether that pipeline exists and was trained on the current split.
        silver_behind: F on dev of the pipeline trained on reviewed texts minus that of both; None if unknown.
        package: name of the newest package, "" if there is none. package_stale: it holds another pipeline.
        components: whether the assembled pipeline exists; None if the scheme has neither relations nor
            categories besides spans.
        unwatched: whether `apply` has results that `watch` hasn't compared.
    """

    problems: tuple[str, ...] = ()
    texts: int = 0
    unreviewed: int | None = None
    scored: str = "spans"
    labels: tuple[str, ...] = ()
    answers: dict[str, int] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    label_counts: dict[str, dict[str, int]] = field(default_factory=dict)
    llm: LlmRun | None = None
    split: dict[str, int] | None = None
    changed: int = 0
    curve: Curve | None = None
    scores: Scores | None = None
    train_on: str = "reviewed"
    with_rules: bool = False
    trained: bool = False
    silver_behind: Estimate | None = None
    diagnosis: Diagnosis | None = None
    package: str = ""
    package_stale: bool = False
    components: bool | None = None
    database: bool = False
    unwatched: bool = False

    @property
    def system(self) -> str:
        """The packaged pipeline, among the systems that `evaluate` scores."""
        return rules_and_model.SYSTEM if self.with_rules else self.train_on


def read_snapshot(paths: ProjectPaths, train_on: str = "") -> Snapshot:
    """Read the files of the project.

    Args:
        train_on: the training data of the packaged pipeline; "" for that of the last split.
    """
    problems: list[str] = []
    settings, scheme = DataConfig(), Scheme()
    try:
        settings, scheme = load_data_config(paths.data), load_scheme(paths.scheme)
    except UserError as error:
        problems.append(str(error))
    gold = [] if problems else _read_gold(paths.reviewed, settings, scheme, problems)
    texts = _read_texts(paths.texts, problems)
    parts = _parts(gold, settings)
    kind = "span" if scheme.scored == "spans" else "category"
    results = read_results(paths, scheme, train_on)
    package = _newest_package(paths.packages)
    shipped = rules_and_model.folder_of(paths.training, results.train_on)
    return replace(
        results,
        problems=tuple(problems),
        texts=len(texts),
        unreviewed=len(texts - {record.text for record in gold}),
        answers=dict(Counter(record.answer for record in gold)),
        parts={side: len(parts[side]) for side in SIDES},
        label_counts={side: splits.count(parts[side], scheme)["labels"][kind] for side in SIDES},
        changed=_changed(parts, paths.corpus, results.split, results.train_on),
        package=package.name if package else "",
        package_stale=bool(package) and not _holds(package, shipped / "model-best"),
        components=_components(scheme, paths.training),
        database=any(paths.database.glob("*.db")),
        unwatched=_unwatched(paths),
    )


def read_results(paths: ProjectPaths, scheme: Scheme, train_on: str = "") -> Snapshot:
    """Read the results of split, training and evaluation, without texts and gold.

    Args:
        train_on: as for `read_snapshot`.
    """
    stored = _read_json(paths.corpus / "split.json")
    split = _split_sizes(stored)
    train_on = train_on or _nested(stored, "settings", "train_on") or "reviewed"
    trained = _trained(paths.training, train_on, split)
    scores = _read_scores(paths, train_on, trained)
    return Snapshot(
        scored=scheme.scored,
        labels=scheme.scored_labels,
        llm=_read_llm(paths.corpus / "llm.json"),
        split=split,
        curve=_read_curve(paths.training / "curve" / "curve.json", split),
        scores=scores,
        train_on=train_on,
        with_rules=scores is not None and rules_and_model.SYSTEM in scores.f,
        trained=trained,
        silver_behind=_silver_behind(paths.training) if trained else None,
        diagnosis=_read_diagnosis(paths.training, split),
    )


def after_answers(
    before: Snapshot,
    answered: Sequence[Record],
    gold: Mapping[str, Record],
    sides: splits.Sides,
    scheme: Scheme,
) -> Snapshot:
    """The snapshot after some texts were reviewed, without reading any file again.

    Args:
        answered: records that are new or replaced. gold: all records by text, these included.
        sides: the split of `gold`.
    """
    kind = "span" if scheme.scored == "spans" else "category"
    train = [r for r in answered if r.answer == "accept" and sides.side(r.text) == "train"]
    more = splits.count(train, scheme)["labels"][kind]
    counts = before.label_counts.get("train", {})
    new = len(gold) - sum(before.answers.values())
    return replace(
        before,
        unreviewed=max(0, (before.unreviewed or 0) - new),
        answers=dict(Counter(record.answer for record in gold.values())),
        parts=dict(sides.counts),
        label_counts={
            **before.label_counts,
            "train": {name: counts.get(name, 0) + n for name, n in more.items()},
        },
        changed=before.changed + len(answered) if before.split else 0,
    )


def _read_gold(path: Path, settings: DataConfig, scheme: Scheme, problems: list[str]) -> list[Record]:
    if not path.exists():
        return []
    try:
        return settings.reader(scheme).read(path, allow_empty=True)
    except UserError as error:
        problems.append(str(error))
        return []


def _read_texts(path: Path, problems: list[str]) -> set[str]:
    """The raw texts. Their other fields are not checked: `check` does that."""
    if not path.exists():
        return set()
    try:
        return set(read_jsonl(path, lambda row: str(row["text"]), "isn't a JSON object with a text"))
    except UserError as error:
        problems.append(str(error))
        return set()


def _parts(gold: Sequence[Record], settings: DataConfig) -> dict[str, list[Record]]:
    """The accepted records of each part, as `split` would divide them."""
    parts: dict[str, list[Record]] = {side: [] for side in SIDES}
    sides = splits.Sides(**settings.split.model_dump())
    for record in gold:
        side = sides.add(record)
        if side in parts:
            parts[side].append(record)
    return parts


def _read_json(path: Path) -> Any:
    """The content of a JSON file; None if it is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _nested(content: Any, *keys: Any) -> Any:
    """The value below these keys; None if one of them is missing."""
    for key in keys:
        try:
            content = content[key]
        except (KeyError, IndexError, TypeError):
            return None
    return content


def _split_sizes(stored: Any) -> dict[str, int] | None:
    counts = _nested(stored, "splits")
    if not isinstance(counts, dict):
        return None
    sizes = {name: _nested(part, "documents") for name, part in counts.items()}
    return sizes if all(isinstance(sizes.get(side), int) for side in SIDES) else None


def _changed(
    parts: dict[str, list[Record]], corpus: Path, split: dict[str, int] | None, train_on: str
) -> int:
    """How many reviewed texts are new, corrected or removed since the last split."""
    if split is None:
        return 0
    changed = 0
    for side in SIDES:
        if side == "train" and train_on == "silver":
            continue  # the file holds no reviewed text
        now = {history.gold_key(record) for record in parts[side]}
        then = _gold_keys(corpus / f"{side}.jsonl")
        # With silver in the file, a text that is only there may be silver.
        more = set() if side == "train" and train_on == "both" else then - now
        changed += max(len(now - then), len(more))
    return changed


def _gold_keys(path: Path) -> set[str]:
    """Keys of the records that `split` wrote."""
    keys = set()
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                keys.add(history.gold_key(Record.model_validate_json(line)))
    except (OSError, ValueError):
        return set()
    return keys


def _read_llm(path: Path) -> LlmRun | None:
    content = _read_json(path)
    texts, errors = _nested(content, "texts"), _nested(content, "errors")
    if not isinstance(texts, int) or not isinstance(errors, dict):
        return None
    counts = {str(name): n for name, n in errors.items() if isinstance(n, int)}
    unavailable = sum(n for name, n in counts.items() if name.startswith("unavailable"))
    return LlmRun(texts, sum(counts.values()), unavailable)


def _estimate(content: Any, keys: Sequence[str] = ("f", "f_low", "f_high")) -> Estimate | None:
    """The number and its interval below these keys; None if one of them is missing."""
    numbers = [_nested(content, key) for key in keys]
    return Estimate(*numbers) if all(isinstance(n, int | float) for n in numbers) else None


def _read_curve(path: Path, split: dict[str, int] | None) -> Curve | None:
    content = _read_json(path)
    last, f = _nested(content, "rows", -1), _estimate(_nested(content, "rows", -1))
    dev, kind = _nested(content, "dev", "documents"), _nested(content, "verdict", "kind")
    examples, percent = _nested(last, "examples"), _nested(last, "percent")
    if f is None or not all((kind, dev, examples, percent)):
        return None
    before, rise = _nested(content, "rows", -2, "examples"), _nested(content, "verdict", "rise")
    # a portion of some percent is a whole number of examples
    stale = split is not None and (
        dev != split["dev"] or abs(examples * 100 / percent - split["train"]) > 100 / percent
    )
    return Curve(
        kind=str(kind),
        f=f,
        dev=dev,
        examples=examples,
        added=examples - (before or 0),
        rise=Estimate(*rise) if isinstance(rise, list) and len(rise) == 3 else None,
        stale=stale,
    )


def _read_scores(paths: ProjectPaths, train_on: str, trained: bool) -> Scores | None:
    metrics = _read_json(paths.training / "metrics.json")
    documents, systems = _nested(metrics, "test", "documents"), _nested(metrics, "systems")
    if not isinstance(documents, int) or not isinstance(systems, dict):
        return None
    f = {
        name: {label: estimate for label, values in by_label.items() if (estimate := _estimate(values))}
        for name, by_label in systems.items()
        if isinstance(by_label, dict)
    }
    better = []
    for pair in _nested(_read_json(paths.training / "analysis.json"), "pairs") or []:
        holm, difference = _nested(pair, "holm"), _nested(pair, "difference")
        if isinstance(holm, int | float) and isinstance(difference, int | float) and holm < 0.05:
            names = (str(_nested(pair, "first")), str(_nested(pair, "second")))
            better.append(names if difference > 0 else names[::-1])
    return Scores(
        documents=documents,
        f={name: by_label for name, by_label in f.items() if ALL in by_label},
        spans=_nested(metrics, "test", "spans") or {},
        better=tuple(better),
        stale=_changed_since_scores(paths, systems) if trained else f"no {train_on} pipeline of this split",
    )


def _changed_since_scores(paths: ProjectPaths, systems: dict[str, Any]) -> str:
    """What has changed since the evaluation; "" if nothing has, or if it can't be known."""
    try:
        _, keys = history.read_documents(paths.training / "documents.jsonl")
    except UserError:
        return "the scores of each document are missing"
    if set(keys) != _gold_keys(paths.corpus / "test.jsonl"):
        return "the test set changed since"
    try:
        entries = [entry for entry in history.read(paths.history) if entry["scores"] == systems]
    except UserError:
        return ""
    for entry in entries[-1:]:  # none before `history` has run
        recorded = _nested(entry, "data", "train")
        train = paths.corpus / "train.jsonl"
        if recorded and train.is_file() and sha256_file(train) != recorded:
            return "the training set changed since"
    return ""


def _silver_behind(training: Path) -> Estimate | None:
    stored = _nested(_read_json(training / "train.json"), "both", "behind_reviewed")
    return _estimate(stored, ("value", "low", "high"))


def _trained(training: Path, train_on: str, split: dict[str, int] | None) -> bool:
    if split is None or not (training / train_on / "model-best").is_dir():
        return False
    stored = _nested(_read_json(training / "train.json"), train_on)
    # `distill` writes no such figures
    if stored is None:
        return train_on == "distilled"
    return _nested(stored, "examples") == split.get(train_on) and (
        _nested(stored, "dev_documents") == split["dev"]
    )


def _read_diagnosis(training: Path, split: dict[str, int] | None) -> Diagnosis | None:
    content = _read_json(training / "diagnosis.json")
    findings, sizes = _nested(content, "findings"), _nested(content, "texts")
    if not isinstance(findings, list) or not isinstance(sizes, dict):
        return None
    cause = _nested(content, "cause")
    broken = next((finding for finding in findings if _nested(finding, "name") == cause), None)
    try:
        lines = (training / "label-errors.jsonl").read_bytes().splitlines()
    except OSError:
        lines = []
    return Diagnosis(
        broken=str(_nested(broken, "cause") or cause or ""),
        suspects=sum(bool(line.strip()) for line in lines),
        stale=split is not None and any(sizes.get(side) != split[side] for side in SIDES),
    )


def _newest_package(folder: Path) -> Path | None:
    """The last package of the pipeline alone; `package-pipeline` writes the others."""
    wheels = [path for path in folder.glob("*.whl") if "_pipeline-" not in path.name]
    return max(wheels, key=lambda path: (path.stat().st_mtime, path.name), default=None)


def _holds(package: Path, pipeline: Path) -> bool:
    """Whether a package holds the weights of a pipeline."""
    try:
        with ZipFile(package) as file:
            packed = {info.filename: info.CRC for info in file.infolist()}
    except (OSError, BadZipFile):
        return False
    # Packaging changes the files beside the components' folders.
    weights = [path for path in sorted(pipeline.glob("*/**/*")) if path.is_file()]
    return bool(weights) and all(
        any(
            name.endswith(f"/{path.relative_to(pipeline).as_posix()}")
            and crc == zlib.crc32(path.read_bytes())
            for name, crc in packed.items()
        )
        for path in weights
    )


def _unwatched(paths: ProjectPaths) -> bool:
    """Whether `apply` has finished, and `watch` hasn't compared these results."""
    results = paths.corpus / "applied"
    if not (results / "summary.json").is_file() or not (results / "manifest.json").is_file():
        return False
    watched = _nested(_read_json(paths.training / "watch" / "watch.json"), "manifest")
    return watched != sha256_file(results / "manifest.json")


def _components(scheme: Scheme, training: Path) -> bool | None:
    if not scheme.span_labels or not (scheme.relation_labels or scheme.categories):
        return None
    return (training / "pipeline" / "model-best").is_dir()

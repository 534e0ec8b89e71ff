"""Plan a project for the user's own texts and labels: the new content of every file that `init` changes.

Nothing here writes: all files of a `Plan` are written together, or none.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spacy.language import Language

from ie.core import stats
from ie.core.errors import UserError
from ie.core.files import json_text, read_text
from ie.core.settings import read_config
from ie.data import language, mined_rules, options
from ie.data.config import DataConfig, load_data_config
from ie.data.gazetteer import read_gazetteer
from ie.data.pinned import read_pinned
from ie.data.records import Record, accepted
from ie.data.splits import Split
from ie.evaluation import baselines, scoring
from ie.setup import demo, documents, project_file
from ie.setup.config_file import ConfigFile
from ie.setup.inputs import Inputs, Sources
from ie.setup.llm_config import llm_config

PROJECT, DATA = Path("project.yml"), Path("configs/data.cfg")
TEXTS, GOLD = Path("assets/texts.jsonl"), Path("assets/reviewed.jsonl")
NAMES, PATTERNS = Path("assets/companies.csv"), Path("assets/patterns.jsonl")
EXAMPLES = Path("assets/examples.jsonl")
REVIEW_LOG = Path("assets/review-log.jsonl")
# The training config of English texts, and why.
WITH_TAGS = "crf-tags"
REASON = (
    "the training config for English: it also sees the tags and entities of spaCy's English pipeline, which "
    "raise F most with few examples. crf is six times as fast and has less than 2 MB"
)
# Folders that hold what commands wrote.
WRITTEN = ("corpus", "training", "packages", "database")
# Characters of an example that is easy to read.
SHORTEST, LONGEST = 20, 200
ASSETS = {
    TEXTS: "All raw texts",
    GOLD: "Reviewed texts; written by people only",
    NAMES: "Known names: id, name, aliases",
}


@dataclass(frozen=True)
class Target:
    """The new project: its language, the name of its data, and the labels of names and of money."""

    lang: str
    name: str
    names_label: str = ""
    money_label: str = ""
    scheme: Path = Path("configs/llm.cfg")

    @property
    def package(self) -> str:
        """The package's name, which begins with the language."""
        return self.name if self.name.startswith(f"{self.lang}_") else f"{self.lang}_{self.name}"


@dataclass
class Plan:
    """New content by path (None removes the file or folder), and what to print.

    Attributes:
        outputs: the removed paths that commands had written.
        linked: outputs that stay because a link leads out of the project.
        summary: (subject, change) for a table.
    """

    files: dict[Path, str | None] = field(default_factory=dict)
    outputs: list[Path] = field(default_factory=list)
    linked: list[Path] = field(default_factory=list)
    summary: list[tuple[str, str]] = field(default_factory=list)


def make_plan(inputs: Inputs, sources: Sources, target: Target, data: DataConfig) -> Plan:
    """The new content of every file of the project in the current folder.

    Raises:
        UserError: a file of the project is missing or lacks what the template's has.
    """
    plan = Plan()
    split = data.assign(inputs.gold, inputs.texts)
    _plan_data(plan, inputs, split, data.blank())
    names_label = _plan_names(plan, inputs, sources.names, target)
    money_label = target.money_label if target.money_label in inputs.labels["span"] else ""
    plan.files[target.scheme] = llm_config(target.scheme, inputs, target.lang)
    _plan_configs(plan, inputs, target, names_label, money_label, data)
    config = _training_config(inputs, target.lang)
    if config == WITH_TAGS:
        plan.summary.append((f"configs/{config}.cfg", REASON))
    variables = {
        "config": config,
        "name": target.package,
        "database": target.name,
        "gazetteer_label": names_label,
        "money_label": money_label,
    }
    title = f"{target.name.replace('_', ' ').capitalize()}: information extraction"
    plan.files[PROJECT] = project_file.edited(
        _read(PROJECT),
        title=title,
        description=f"A pipeline that {documents.purpose(inputs)}.",
        variables=variables,
        assets={path.as_posix(): words for path, words in ASSETS.items()},
        checksums={path.as_posix(): project_file.md5(plan.files[path]) for path in (TEXTS, NAMES)},
    )
    plan.summary.append(("vars of project.yml", ", ".join(f"{k} {v!r}" for k, v in variables.items())))
    _plan_removals(plan, sources.paths)
    pages = [page for page in sorted(Path("docs").glob("*.md")) if page not in plan.files]
    plan.files |= {
        Path("README.md"): documents.readme(
            inputs, split, title=title, scheme=target.scheme, config=config, pages=pages
        ),
        Path("assets/guidelines.md"): documents.guidelines(inputs, target.name),
        Path("assets/CARD.md"): documents.data_card(inputs, target.name),
        Path("assets/model_card.md"): documents.model_card(inputs),
        Path("assets/questions.jsonl"): "",
        Path("assets/example.txt"): f"{example_text(accepted(inputs.gold) or inputs.texts)}\n",
    }
    return plan


def _training_config(inputs: Inputs, lang: str) -> str:
    if inputs.categories_only:
        return "categories" if inputs.exclusive else "multilabel"
    if inputs.overlapping:
        return "spancat"
    return WITH_TAGS if lang == "en" else options.CONFIG.stem


def _plan_data(plan: Plan, inputs: Inputs, split: Split, nlp: Language) -> None:
    """Texts, gold, and rules mined from its training part."""
    plan.files[TEXTS] = _jsonl(record.to_line() for record in inputs.texts)
    plan.files[GOLD] = _jsonl(record.to_line() for record in inputs.gold)
    examples = f"{len(inputs.gold):,} examples: {documents.sizes(split)}" if inputs.gold else "empty"
    plan.summary += [(TEXTS.as_posix(), f"{len(inputs.texts):,} texts"), (GOLD.as_posix(), examples)]
    if not (EXAMPLES.exists() and _fit(read_pinned(EXAMPLES), inputs)):
        plan.files[EXAMPLES] = ""
        plan.summary.append((EXAMPLES.as_posix(), "empty: the first llm-annotate chooses examples from gold"))
    if inputs.labels["span"]:
        rules = mined_rules.mine(split.train, nlp)
        summary = _rules_summary(rules, split.dev, nlp, overlapping=inputs.overlapping)
    else:
        rules, summary = [], "empty: rules find spans"
    plan.files[PATTERNS] = _jsonl(json_text(rule.line()) for rule in rules)
    plan.summary.append((PATTERNS.as_posix(), summary))


def _fit(examples: Sequence[Record], inputs: Inputs) -> bool:
    """Whether the pinned examples have only these texts and labels: then the project is set up again."""
    texts = {record.text for record in inputs.texts}
    labels = {*inputs.labels["span"], *inputs.labels["category"]}
    return all(
        example.text in texts and {*(span.label for span in example.spans), *example.cats} <= labels
        for example in examples
    )


def _plan_names(plan: Plan, inputs: Inputs, source: Path | None, target: Target) -> str:
    """Plan the list of known names; return its label, or "" without a list."""
    if source is None:
        plan.files[NAMES] = "id,name,aliases\n"
        plan.summary.append((NAMES.as_posix(), "no known names"))
        return ""
    entries = read_gazetteer(source)
    labels = inputs.labels["span"]
    label = target.names_label if target.names_label in labels else ""
    if not label:
        if len(labels) != 1:
            raise UserError(
                f"{source}: of which label are these names? Give --vars.gazetteer_label, one of "
                f"{', '.join(labels) or '(no span labels)'}."
            )
        label = labels[0]
    plan.files[NAMES] = read_text(source).replace("\r\n", "\n")
    plan.summary.append((NAMES.as_posix(), f"{len(entries):,} names of {label}"))
    return label


def _plan_configs(
    plan: Plan, inputs: Inputs, target: Target, names_label: str, money_label: str, data: DataConfig
) -> None:
    """The language in all configs, the labels in those that name some, and the shares of the split."""
    configs = {path: ConfigFile(path) for path in sorted(Path("configs").glob("*.cfg"))}
    configs.pop(target.scheme, None)

    def config(name: str) -> ConfigFile:
        path = Path(f"configs/{name}.cfg")
        return configs.get(path) or ConfigFile(path)

    for one in configs.values():
        if one.has("nlp", "lang"):
            one.set("nlp", lang=target.lang)
    config("data").set("texts", lang=target.lang)
    _set_shares(plan, config("data"), data)
    # Author and address stay: they are those of the person who works here.
    config("package").set("package", description="", license="")
    if inputs.labels["category"]:
        config("review").set("review", one_category=inputs.exclusive)
    for name, label in (("linker", names_label), ("money", money_label)):
        if label:
            config(name).set(f"components.{name}", labels=[label])
    if target.lang != "en":
        # Separators and words of the language first; amounts in English words are common in all languages.
        config("money").set("components.money", locales=[target.lang, "en"])
    if language.tokenizer_config(target.lang) != language.RULES:
        longest = read_config(Path("configs/serve.cfg"))["limits"]["characters"]
        config("serve").set("limits", stretch=longest)
    _drop_deals(config("database"), config("ask"), inputs.labels["relation"])
    plan.files |= {path: str(one) for path, one in configs.items()}


def _set_shares(plan: Plan, config: ConfigFile, data: DataConfig) -> None:
    before, after = load_data_config(config.path).split, data.split
    if after == before:
        return
    changed = {name: value for name, value in after.model_dump().items() if value != getattr(before, name)}
    config.set("split", **changed)
    shares, usual = (f"{one.test_percent:g} and {one.dev_percent:g} %" for one in (after, before))
    why = f"{shares} for test and dev, not {usual}: so each part has enough texts for a first model"
    plan.summary.append((f"[split] of {config.path.as_posix()}", why))


def _drop_deals(database: ConfigFile, ask: ConfigFile, relations: Sequence[str]) -> None:
    """Without the demo's relations, leave deals out of the database and let questions be about mentions."""
    section = str(database).partition("\n[deals]\n")[2].partition("\n[")[0]
    if section and not set(re.findall(r'"(\w+)": "(?:head|child)"', section)) & {*relations}:
        database.remove("deals")
        ask.replace("ask.tables", ["deals", "investments", "amounts"], {"mentions": ["label", "text"]})


def _plan_removals(plan: Plan, user_files: Sequence[Path]) -> None:
    """Remove the demo and all outputs about earlier texts, so that no new score is compared with them.

    Outputs stay if a link leads out of the project, or if one of the user's files is in them. The log of
    earlier reviewing is renamed, as `review` would read answers about other texts from it.
    """
    home = Path().resolve()
    kept = [path.resolve() for path in user_files]
    patterns = [Path(pattern) for pattern in project_file.outputs(plan.files[PROJECT])]
    matching = {
        path
        for pattern in patterns
        if len(pattern.parts) > 1 and pattern.parts[0] in WRITTEN and ".." not in pattern.parts
        for path in Path().glob(pattern.as_posix())
    }
    for path in sorted(matching):
        place = path.resolve()
        if any(user_file.is_relative_to(place) for user_file in kept) or matching & {*path.parents}:
            continue
        (plan.outputs if place.is_relative_to(home) else plan.linked).append(path)
    about_demo = [*demo.paths()]
    plan.files |= dict.fromkeys([*plan.outputs, *about_demo])
    counts = Counter(path.parts[0] for path in plan.outputs)
    shown = ", ".join(f"{n:,} in {folder}" for folder, n in counts.items())
    plan.summary.append(("outputs removed", shown or "none"))
    if about_demo:
        plan.summary.append(("removed with the demo", ", ".join(path.as_posix() for path in about_demo)))
    if REVIEW_LOG.exists():
        text = _read(REVIEW_LOG)
        renamed = REVIEW_LOG.with_stem(f"{REVIEW_LOG.stem}-{project_file.md5(text)[:8]}")
        plan.files |= {renamed: text, REVIEW_LOG: None}
        plan.summary.append((REVIEW_LOG.as_posix(), f"renamed to {renamed}: it is about earlier texts"))


def _rules_summary(
    rules: Sequence[mined_rules.MinedRule], dev: Sequence[Record], nlp: Language, *, overlapping: bool
) -> str:
    if not rules:
        return "empty: no rule could be mined" if dev else "empty: there is nothing to mine rules from"
    summary = f"{len(rules):,} rules mined from train"
    if not dev:
        return summary
    baselines.add_ruler(nlp, overlapping=overlapping).add_patterns([rule.line() for rule in rules])
    labels = sorted({rule.label for rule in rules})
    predicted = baselines.predict_with(nlp)([record.text for record in dev])
    counts = scoring.count(dev, predicted, labels).sum(axis=1)
    p, r, _ = (stats.format_score(e, documents=len(dev)) for e in stats.intervals(counts))
    return f"{summary}; on {len(dev):,} dev texts P {p}, R {r} ({', '.join(labels)})"


def example_text(records: Sequence[Record]) -> str:
    """The text that `package` and `serve` try: a short line with as many labels as possible."""
    lines = [r for r in records if SHORTEST <= len(r.text) <= LONGEST and "\n" not in r.text]
    best = max(
        lines,
        key=lambda r: (len({s.label for s in r.spans}) + sum(r.cats.values()), -len(r.text)),
        default=min(records, key=lambda r: len(r.text)),
    )
    return " ".join(best.text.split())


def _jsonl(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; run this in a clone of the template.") from None

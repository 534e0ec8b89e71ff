"""A project for somebody's own texts and labels: what they bring is put into place.

Nothing here writes: `plan` makes the new content of every file, so that all of them change or none.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spacy.language import Language

from ie.core import stats
from ie.core.errors import UserError
from ie.core.files import json_text
from ie.data import mined_rules
from ie.data.formats.job import read_text
from ie.data.gazetteer import read_gazetteer
from ie.data.records import Record, accepted, blank
from ie.data.scheme import KINDS
from ie.data.splits import assign
from ie.evaluation import baselines, scoring
from ie.llm.shots import Shots
from ie.setup import project_file
from ie.setup.inputs import Inputs

# A text in `vars.sentence` stands between single quotes of a shell.
UNSAFE = re.compile(r"['\"$\\\n]")
SAFE = str.maketrans({"'": "’", '"': "”", "$": " ", "\\": " "})
# Its characters.
SHORTEST, LONGEST = 20, 200
# Folders of what commands make, and the log of scores, which is no output as they only add to it.
MADE = ("corpus", "training", "packages", "database")
HISTORY = "training/history.jsonl"
# What CI runs from this line on is about the demo.
CI, DEMO = Path(".ci/run"), "\n# Of the demo"
REVIEW_LOG = Path("assets/review-log.jsonl")
MODEL_CARD = """## Intended use

To be written: for which texts and questions, by whom.

## Limits

To be written: where it was seen to fail, and what nobody should decide by it.

## Licences

To be written: of the texts, and of the language model that annotated them.
"""
# Above so many labels asked about at once, each gets a shorter answer and the model a longer context.
MANY_LABELS = 4
# Texts are chosen for a first review among so many.
POOL = 2000
# A key of meta by which scores are broken down: least share of texts that have it, most values.
SLICED, VALUES = 0.8, 10


@dataclass(frozen=True)
class Settings:
    """Where the project's things are and by which rules gold is read; see vars of project.yml."""

    lang: str
    name: str
    test_percent: float
    dev_percent: float
    near_duplicate: float
    gazetteer: Path | None = None
    gazetteer_label: str = ""
    money_label: str = ""
    scheme: Path = Path("configs/llm.cfg")
    brought: Sequence[Path] = ()


@dataclass
class Plan:
    """New content by path (None: the file or folder goes), and what to tell.

    `made` are those that go and that commands make, `left` those that don't go, as they are elsewhere.
    """

    files: dict[Path, str | None] = field(default_factory=dict)
    made: list[Path] = field(default_factory=list)
    left: list[Path] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    todo: list[str] = field(default_factory=list)


def plan(found: Inputs, settings: Settings) -> Plan:
    """The new content of every file of the project in the current folder.

    Raises:
        UserError: a file of the project is missing or isn't as the template ships it.
    """
    made = Plan()
    nlp = blank(settings.lang)
    split = assign(
        found.gold,
        found.texts,
        test_percent=settings.test_percent,
        dev_percent=settings.dev_percent,
        near_duplicate=settings.near_duplicate,
    )
    files = made.files
    files[Path("assets/texts.jsonl")] = _jsonl(record.to_line() for record in found.texts)
    files[Path("assets/reviewed.jsonl")] = _jsonl(record.to_line() for record in found.gold)
    made.told.append(("assets/texts.jsonl", f"{len(found.texts):,} texts"))
    sides = ", ".join(f"{len(getattr(split, side)):,} {side}" for side in ("train", "dev", "test"))
    made.told.append(
        ("assets/reviewed.jsonl", f"{len(found.gold):,} examples: {sides}" if found.gold else "empty")
    )
    rules = mined_rules.mine(split.train, nlp) if found.labels["span"] else []
    files[Path("assets/patterns.jsonl")] = _jsonl(json_text(rule.line()) for rule in rules)
    told = _tell_rules(rules, split.dev, nlp) if found.labels["span"] else "empty: rules find spans"
    made.told.append(("assets/patterns.jsonl", told))
    label = _gazetteer(found, settings, files, made.told)
    money = settings.money_label if settings.money_label in found.labels["span"] else ""
    files[Path("assets/guidelines.md")] = _guidelines(found, settings.name)
    files[Path("assets/CARD.md")] = _card(found, settings.name)
    files[Path("assets/model_card.md")] = MODEL_CARD
    files[Path("assets/questions.jsonl")] = ""
    files[settings.scheme] = scheme_config(_read(settings.scheme), found, settings.lang)
    config = ("categories" if found.exclusive else "multilabel") if found.categories_only else "efficient"
    values = {
        "config": config,
        "lang": settings.lang,
        "name": settings.name,
        "license": "",
        "database": settings.name,
        "sentence": _sentence(accepted(found.gold) or found.texts),
        "gazetteer_label": label,
        "money_label": money,
        "slice_by": _slice_key(accepted(found.gold)),
        "baseline": "",
        "init_gold": project_file.md5(files[Path("assets/reviewed.jsonl")]),
    }
    components = _components(found, label, money)
    text = project_file.describe(_read(Path("project.yml")), values, found, files)
    files[Path("project.yml")] = project_file.prune(text, components)
    shown = ", ".join(
        f"{key} {value!r}" for key, value in values.items() if key not in ("init_gold", "sentence")
    )
    made.told.append(("vars of project.yml", shown))
    _configs(found, settings, {"linker": label, "money": money}, components, files)
    _outputs(made, project_file.outputs(text), settings.brought)
    _log(made)
    if CI.exists():
        files[CI] = f"{_read(CI).partition(DEMO)[0].rstrip()}\n"
        made.told.append((str(CI), "style and settings are checked; the demo's tests aren't run"))
    made.told.append(_examples(found, split.train))
    made.todo = _todo(found, split, settings)
    return made


def _jsonl(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; run this in a clone of the template.") from None


def scheme_config(text: str, found: Inputs, lang: str) -> str:
    """The LLM's config with the tasks of these labels; what stands before its components is kept."""
    head, mark, _ = text.partition("[components]\n")
    if not mark:
        raise UserError("the config of the LLM has no [components]; take the template's configs/llm.cfg.")
    pipeline = "categories" if found.categories_only else "spans"
    head = _set_setting(head, "lang", json_text(lang))
    head = _set_setting(head, "pipeline", f'["{pipeline}"]')
    if found.categories_only and not found.exclusive:
        # Of texts without the category there are many: examples must show that, too.
        head = _set_setting(head, "max_empty", "0.5")
    if len(found.labels["span"]) > MANY_LABELS:
        head = _set_setting(head, "max_tokens", "32")
        head = _set_setting(head, "context_length", "4096")
    parts = [head, mark]
    for kind, section, task in (
        ("span", "spans", "Spans"),
        ("relation", "relations", "Relations"),
        ("category", "categories", "Categories"),
    ):
        if found.labels[kind]:
            if section != pipeline:
                parts.append(
                    f"\n# Not in the pipeline yet: {section} are annotated when added to nlp.pipeline."
                )
            parts.append(_component(found, kind, section, task))
    return "".join(parts)


def _component(found: Inputs, kind: str, section: str, task: str) -> str:
    labels = found.labels[kind]
    names = {label: found.names.get(label, humanised(label)) for label in labels}
    if len({name.casefold() for name in names.values()}) < len(names):
        names = {label: found.names.get(label, label) for label in labels}
    shown = [name.lower() if name.istitle() else name for name in names.values()]
    joined = " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
    choice = " or ".join(filter(None, [", ".join(labels[:-1]), labels[-1]]))
    instruction = {
        "span": f"{joined[0].upper()}{joined[1:]} in each text.",
        "relation": f"Which spans of each text are related, and how: {choice}.",
        "category": f"What each text is about: {choice}{'' if found.exclusive else ', or none'}.",
    }[kind]
    settings = {
        "@llm_tasks": f"ie.{task}.v1",
        "labels": labels,
        **({"exclusive": found.exclusive} if kind == "category" else {}),
        "form": "${prompt.form}",
        "answer": "${prompt.answer}",
        "template": "${prompt.template}",
        "max_tokens": "${prompt.max_tokens}",
        "instruction": found.instructions.get(kind, instruction),
        "examples": "${prompt.examples}",
        **({"fuzzy": 0.9} if kind == "span" else {}),
    }
    if kind == "category":
        del settings["form"], settings["max_tokens"]
    lines = [f"\n[components.{section}]", 'factory = "llm"', "model = ${model}", ""]
    lines += [f"[components.{section}.task]"]
    lines += [f"{key} = {_setting(value)}" for key, value in settings.items()]
    if kind != "category":
        lines += ["", f"[components.{section}.task.label_names]"]
        lines += [f"{label} = {_setting(name)}" for label, name in names.items()]
    undefined = [label for label in labels if label not in found.definitions]
    if undefined:
        lines += ["", f"# To be written: a few words on what counts as {', '.join(undefined)}."]
    else:
        lines += [""]
    lines += [f"[components.{section}.task.label_definitions]"]
    lines += [f"{label} = {_setting(found.definitions.get(label, ''))}" for label in labels]
    return "\n".join(lines) + "\n"


def _setting(value: Any) -> str:
    if isinstance(value, str) and value.startswith("${"):
        return value
    return json_text(value)


def humanised(label: str) -> str:
    """A label as words: FASHION_BRAND and FashionBrand are "Fashion brand"."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[_.-]+", " ", label).split()
    lowered = " ".join(
        word if word.isupper() and len(words) > 1 and len(word) < 4 else word.lower() for word in words
    )
    return lowered[:1].upper() + lowered[1:]


def _set_setting(text: str, name: str, value: str) -> str:
    """Set the first setting of that name in a config, its line alone."""
    changed, n = re.subn(rf"(?m)^{name} = .*$", lambda _: f"{name} = {value}", text, count=1)
    if not n:
        raise UserError(f"a config has no setting {name}; take the template's.")
    return changed


def _components(found: Inputs, gazetteer: str, money: str) -> dict[str, bool]:
    """Which components of configs/assemble.cfg, and which of their commands, apply to this project."""
    extras = [span.model_extra or {} for record in found.gold for span in record.spans]
    links = any(extra.get("kb_id") for extra in extras)
    values = any(extra.get("value") is not None for extra in extras)
    return {
        "textcat": bool(found.labels["category"]) and found.exclusive and not found.categories_only,
        "relations": bool(found.labels["relation"]),
        "linker": bool(gazetteer and links),
        "money": bool(money),
        "amounts": bool(money) and values,
    }


def _gazetteer(
    found: Inputs, settings: Settings, files: dict[Path, str | None], told: list[tuple[str, str]]
) -> str:
    """Put the known names into place, or none; the label they have."""
    path = Path("assets/companies.csv")
    if settings.gazetteer is None:
        files[path] = "id,name,aliases\n"
        told.append((str(path), "no known names; vars.gazetteer_label is empty"))
        return ""
    entries = read_gazetteer(settings.gazetteer)
    labels = found.labels["span"]
    label = settings.gazetteer_label if settings.gazetteer_label in labels else ""
    if not label:
        if len(labels) != 1:
            raise UserError(
                f"{settings.gazetteer}: of which label are these names? Give --vars.gazetteer_label, one of "
                f"{', '.join(labels) or '(no span labels)'}."
            )
        label = labels[0]
    files[path] = read_text(settings.gazetteer).replace("\r\n", "\n")
    told.append((str(path), f"{len(entries):,} names of {label}"))
    return label


def _configs(
    found: Inputs,
    settings: Settings,
    labels: Mapping[str, str],
    components: Mapping[str, bool],
    files: dict[Path, str | None],
) -> None:
    """The language of every config, and what reviewing and assembling have to do with."""
    for path in sorted(Path("configs").glob("*.cfg")):
        text = files.get(path) or _read(path)
        if path != settings.scheme and re.search(r"(?m)^\[nlp\]\nlang = ", text):
            files[path] = _set_setting(text, "lang", json_text(settings.lang))
    review = Path("configs/review.cfg")
    text = _read(review)
    if found.labels["category"]:
        text = _set_setting(text, "one_category", json_text(found.exclusive))
    files[review] = text
    assemble = Path("configs/assemble.cfg")
    lines = _read(assemble).splitlines(keepends=True)
    files[assemble] = "".join(line for line in lines if components.get(line.partition(" ")[0], True))
    _database(found, files)
    for name, label in labels.items():
        path = Path(f"configs/{name}.cfg")
        if label and path in files:
            files[path] = _set_setting(files[path] or "", "labels", json_text([label]))


def _outputs(made: Plan, patterns: Iterable[str], brought: Sequence[Path]) -> None:
    """What commands made of other texts goes: `serve` would take it, scores would be compared with it.

    It stays where a link leads out of the project, and where something is that was brought.
    """
    home = Path().resolve()
    kept = [path.resolve() for path in brought]
    found = {
        path
        for pattern in (*patterns, HISTORY)
        if len(parts := Path(pattern).parts) > 1 and parts[0] in MADE and ".." not in parts
        for path in Path().glob(pattern)
    }
    for path in sorted(found):
        place = path.resolve()
        if any(one.is_relative_to(place) for one in kept) or found & {*path.parents}:
            continue
        if place.is_relative_to(home):
            made.made.append(path)
        else:
            made.left.append(path)
    made.files |= dict.fromkeys(made.made)
    counts = Counter(path.parts[0] for path in made.made)
    shown = ", ".join(f"{n:,} in {folder}" for folder, n in counts.items()) or "none"
    made.told.append(("outputs removed", shown))


def _log(made: Plan) -> None:
    """The log of earlier reviewing is put aside: `review` would take answers on other texts out of it."""
    if REVIEW_LOG.exists():
        text = _read(REVIEW_LOG)
        aside = REVIEW_LOG.with_stem(f"{REVIEW_LOG.stem}-{project_file.md5(text)[:8]}")
        made.files |= {aside: text, REVIEW_LOG: None}
        made.told.append((str(REVIEW_LOG), f"is {aside} now: it tells of earlier texts"))


def _database(found: Inputs, files: dict[Path, str | None]) -> None:
    """Without the demo's relations the database has no deals, and questions are about mentions."""
    path, asking = Path("configs/database.cfg"), Path("configs/ask.cfg")
    text = _read(path)
    deals = re.search(r"(?ms)^(#[^\n]*\n)*\[deals\]\n.*?(?=^\[|\Z)", text)
    if not deals or set(re.findall(r'"(\w+)": "(?:head|child)"', deals[0])) & {*found.labels["relation"]}:
        return
    files[path] = text.replace(deals[0], "").rstrip("\n") + "\n"
    files[asking] = re.sub(
        r"(?m)^(?:deals|investments|amounts) = .*\n",
        "",
        re.sub(r"(?m)^deals = .*$", 'mentions = ["label", "text"]\n\\g<0>', _read(asking)),
    )


def _guidelines(found: Inputs, name: str) -> str:
    lines = [f"# Annotation guidelines: {name}", "", "Version 1. What is marked, and what decides in doubt."]
    for kind, title in (("span", "Spans"), ("relation", "Relations"), ("category", "Categories")):
        if found.labels[kind]:
            lines += ["", f"## {title}"]
            lines += [
                f"- **{label}**: {found.definitions.get(label) or 'to be written.'}"
                for label in found.labels[kind]
            ]
    return "\n".join([*lines, "", "## Decisions", ""])


def _card(found: Inputs, name: str) -> str:
    rows = "\n".join(f"| {what.strip()} | {told} |" for what, told in found.told)
    return (
        f"# Data card: {name}\n\nSource, licence and limits: to be written.\n\n"
        f"What was there when the project was set up:\n\n| what | found |\n|---|---|\n{rows}\n"
    )


def _sentence(candidates: Sequence[Record]) -> str:
    """A text to try the package on: short, with many labels, and fit to stand in a shell's quotes.

    Where there is none, the shortest that isn't too short is made so: the demo's would be of other labels.
    """
    long = [r for r in candidates if len(r.text) >= SHORTEST]
    fitting = [r for r in long if not UNSAFE.search(r.text) and len(r.text) <= LONGEST]
    best = max(
        fitting,
        key=lambda r: (len({s.label for s in r.spans}) + sum(r.cats.values()), -len(r.text)),
        default=None,
    )
    if best:
        return best.text
    text = " ".join(min((r.text for r in long or candidates), key=len).translate(SAFE).split())
    return text if len(text) <= LONGEST else text[:LONGEST].rsplit(" ", 1)[0]


def _slice_key(gold: Sequence[Record]) -> str:
    """A key of meta that divides the texts into a few kinds; "" if there is none."""
    for key in sorted({key for record in gold for key in record.meta}):
        values = [record.meta[key] for record in gold if isinstance(record.meta.get(key), str)]
        if len(values) >= SLICED * len(gold) and 2 <= len(set(values)) <= VALUES:
            return key
    return ""


def _tell_rules(rules: Sequence[mined_rules.Rule], dev: Sequence[Record], nlp: Language) -> str:
    if not rules:
        return "empty: no rule could be mined" if dev else "empty: there is nothing to mine rules from"
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([rule.line() for rule in rules])
    told = f"{len(rules):,} rules mined from train"
    if not dev:
        return told
    labels = sorted({rule.label for rule in rules})
    predicted = baselines.predict_with(nlp)([record.text for record in dev])
    counts = scoring.count(dev, predicted, labels).sum(axis=1)
    p, r, _ = (stats.format_score(e, documents=len(dev)) for e in stats.intervals(counts))
    return f"{told}; on {len(dev):,} dev texts P {p}, R {r} ({', '.join(labels)})"


def _examples(found: Inputs, train: Sequence[Record]) -> tuple[str, str]:
    """Which examples the LLM is shown, or which texts to review first."""
    if train:
        labels = found.labels["category" if found.categories_only else "span"]

        def missing(record: Record) -> float:
            if found.categories_only:
                return float(not any(value >= 0.5 for value in record.cats.values()))
            return 1 - len({span.label for span in record.spans} & set(labels)) / len(labels)

        empty = 0.5 if found.categories_only and not found.exclusive else 0.0
        shown = Shots(train, max_empty=empty).choose("", missing)
        return "the LLM is shown", ", ".join(record.id for record in shown) or "no example: all are too long"
    pool = sorted(found.texts, key=lambda r: hashlib.sha256(r.text.encode()).digest())[:POOL]
    return "review first", ", ".join(record.id for record in Shots(pool, max_words=10**6).diverse())


def _todo(found: Inputs, split: Any, settings: Settings) -> list[str]:
    todo = []
    if undefined := [
        label for kind in KINDS for label in found.labels[kind] if not found.definitions.get(label)
    ]:
        todo.append(
            f"define {', '.join(undefined)} in {settings.scheme}, and in assets/guidelines.md at length"
        )
    if not found.gold:
        todo.append(
            "`weasel run llm-annotate` for suggestions, then `weasel run review`: a few dozen to begin"
        )
    elif empty := [side for side in ("train", "dev", "test") if not getattr(split, side)]:
        todo.append(f"review more texts (`weasel run review`): none falls to {' or '.join(empty)} yet")
    return [
        *todo,
        "`weasel run check`, then `weasel run all`",
        "before you pass the package on: write assets/model_card.md and assets/CARD.md, choose vars.license",
        "README.md and docs still tell of the demo, and tests rest on it",
    ]

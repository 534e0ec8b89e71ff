"""The next step in thirty situations; what is said in each stands in golden/situations.txt, for people."""

from dataclasses import replace
from pathlib import Path

import pytest

from ie.core.stats import Estimate
from ie.evaluation import rules_and_model, systems
from ie.status.next_step import BASELINES, SYSTEMS, NextStep, decide
from ie.status.snapshot import Curve, Diagnosis, LlmRun, Scores, Snapshot

GOLDEN = Path(__file__).parent / "golden" / "situations.txt"


def around(f: float, half: float = 0.02) -> Estimate:
    return Estimate(f, max(0.0, f - half), min(1.0, f + half))


def scores(documents: int = 500, half: float = 0.02, **systems: float | tuple[float, float, float]) -> Scores:
    """F of each system: overall, or overall, of PRODUCT and of BRAND."""
    f = {}
    for name, value in systems.items():
        values = value if isinstance(value, tuple) else (value,) * 3
        labels = ("all", "PRODUCT", "BRAND")
        f[name] = {label: around(one, half) for label, one in zip(labels, values, strict=True)}
    return Scores(documents, f, spans={"PRODUCT": 620, "BRAND": 310})


EMPTY = Snapshot(labels=("PRODUCT", "BRAND"))
RAW = replace(EMPTY, texts=2000, unreviewed=2000)


def reviewed(train: int, dev: int, test: int, **more: object) -> Snapshot:
    n = train + dev + test
    return replace(
        RAW,
        unreviewed=2000 - n,
        answers={"accept": n},
        parts={"train": train, "dev": dev, "test": test},
        label_counts={"train": {"PRODUCT": 2 * train, "BRAND": train}},
        **more,
    )


LABELLED = reviewed(6, 3, 3)
PARTS = {"train": 500, "dev": 100, "test": 500, "reviewed": 500, "silver": 900, "both": 1400}
LLM = LlmRun(texts=1500)
SPLIT = reviewed(500, 100, 500, llm=LLM, split=PARTS)
FLAT = Curve("noise", around(0.92), 100, 500, added=125, rise=around(0.004, 0.012))
MEASURED = replace(
    SPLIT, trained=True, curve=FLAT, scores=scores(reviewed=0.93, both=0.93, rules=0.71, llm=0.74)
)
DIAGNOSED = replace(MEASURED, diagnosis=Diagnosis())
PACKAGED = replace(MEASURED, package="en_products-0.1.0-py3-none-any.whl")
RISING = Curve("rise", around(0.81, 0.05), 100, 500, added=125, rise=around(0.04, 0.02))
LOW = scores(reviewed=0.74, both=0.74, rules=0.52, llm=0.61)
WEAK = scores(reviewed=(0.86, 0.93, 0.61), both=0.85, rules=0.52, llm=0.61)


def beaten(better: str, worse: str = "reviewed", **systems: float) -> Scores:
    return replace(scores(**systems), better=((better, worse),))


SITUATIONS = {
    "empty clone": EMPTY,
    "raw texts only": RAW,
    "raw texts that the LLM annotated": replace(RAW, llm=LLM),
    "label scheme can't be read": replace(RAW, problems=("configs/llm.cfg: no labels; write some.",)),
    "gold and texts are broken": replace(
        RAW, problems=("assets/reviewed.jsonl:12: isn't JSON.", "assets/texts.jsonl:3: isn't JSON.")
    ),
    "3 answers, all of them test": reviewed(0, 0, 3),
    "every answer is reject": replace(RAW, answers={"reject": 12, "ignore": 1}, unreviewed=1987),
    "12 answers": LABELLED,
    "12 answers without any label": replace(LABELLED, label_counts={"train": {"PRODUCT": 0, "BRAND": 0}}),
    "label without examples": replace(LABELLED, label_counts={"train": {"PRODUCT": 9, "BRAND": 0}}),
    "pipeline, label without examples": replace(MEASURED, label_counts={"train": {"PRODUCT": 900}}),
    "10 texts in all, all reviewed, no dev": replace(reviewed(6, 0, 4), texts=10, unreviewed=0),
    "LLM not run, silver is to be trained on": replace(LABELLED, train_on="both"),
    "LLM failed half-way": replace(LABELLED, llm=LlmRun(1500, failed=700, unavailable=690)),
    "LLM's answers can't be read": replace(LABELLED, llm=LlmRun(1500, failed=1400)),
    "answers since the split": replace(MEASURED, changed=20),
    "split, but no pipeline": SPLIT,
    "pipeline without scores": replace(SPLIT, trained=True),
    "test set changed since the scores": replace(
        MEASURED, scores=replace(MEASURED.scores, stale="the test set changed since")
    ),
    "scores of the LLM and rules alone": replace(MEASURED, scores=scores(rules=0.71, llm=0.74)),
    "first model, 12 test texts": replace(
        reviewed(30, 8, 12, llm=LLM, split=PARTS),
        trained=True,
        scores=scores(12, 0.2, reviewed=0.55, rules=0.42, llm=0.61),
    ),
    "first model, no label in test": replace(
        reviewed(6, 3, 3, split=PARTS),
        label_counts={"train": {"PRODUCT": 9, "BRAND": 1}, "test": {"PRODUCT": 0, "BRAND": 0}},
        trained=True,
        scores=scores(3),
    ),
    "test too small for its digits": replace(
        MEASURED, scores=scores(64, 0.05, reviewed=0.88, rules=0.71, llm=0.74)
    ),
    "curve still rising": replace(MEASURED, curve=RISING, scores=LOW),
    "curve still rising, all texts reviewed": replace(MEASURED, curve=RISING, scores=LOW, unreviewed=0),
    "curve of other data": replace(MEASURED, curve=replace(RISING, stale=True), scores=LOW),
    "nothing was learned": replace(
        MEASURED, curve=replace(FLAT, kind="nothing"), scores=scores(reviewed=0.0, rules=0.52)
    ),
    "too good to be true": replace(
        MEASURED, curve=replace(FLAT, kind="perfect"), scores=scores(reviewed=0.99, rules=0.52)
    ),
    "curve flat and a label weak": replace(MEASURED, scores=WEAK),
    "label weak, diagnosis found doubtful spans": replace(
        MEASURED, scores=WEAK, diagnosis=Diagnosis(suspects=41)
    ),
    "label weak, diagnosis found nothing": replace(DIAGNOSED, scores=WEAK),
    "flat and low, diagnosis found nothing": replace(DIAGNOSED, scores=LOW),
    "silver harms": replace(
        MEASURED, train_on="both", scores=beaten("reviewed", "both", reviewed=0.93, both=0.89, rules=0.7)
    ),
    "silver harms on dev": replace(
        MEASURED,
        train_on="both",
        silver_behind=Estimate(0.03, 0.01, 0.05),
        scores=scores(reviewed=0.93, both=0.91),
    ),
    "silver harms on dev, and helps on test": replace(
        MEASURED,
        train_on="both",
        silver_behind=Estimate(0.03, 0.01, 0.05),
        scores=beaten("both", "reviewed", reviewed=0.91, both=0.93),
    ),
    "rules beat the model": replace(MEASURED, scores=beaten("rules", reviewed=0.88, rules=0.94, llm=0.73)),
    "rules beat the model alone, not both together": replace(
        MEASURED,
        with_rules=True,
        scores=beaten("rules", reviewed=0.88, rules=0.94, llm=0.73, combined=0.96),
    ),
    "the dictionary beats the model": replace(
        MEASURED, scores=beaten("memoriser", reviewed=0.52, memoriser=0.61)
    ),
    "rules beat the model, diagnosis found nothing": replace(
        DIAGNOSED, scores=beaten("rules", reviewed=0.88, rules=0.94, llm=0.73)
    ),
    "a conditional random field beats the model": replace(
        DIAGNOSED, scores=beaten("crf", reviewed=0.86, crf=0.91)
    ),
    "the LLM beats the model, all texts reviewed": replace(
        DIAGNOSED, scores=beaten("llm", reviewed=0.78, llm=0.84), unreviewed=0
    ),
    "diagnosis found a fault": replace(
        MEASURED, diagnosis=Diagnosis("dev and test texts are among the training texts: 14 of 600")
    ),
    "diagnosis found wrong labels": replace(
        MEASURED, diagnosis=Diagnosis("PRODUCT and BRAND are swapped in 9 % of the spans", suspects=57)
    ),
    "diagnosis of other data": replace(PACKAGED, diagnosis=Diagnosis("labels are shifted", stale=True)),
    "good, not packaged": MEASURED,
    "package older than the pipeline": replace(PACKAGED, package_stale=True),
    "packaged, relations not trained": replace(PACKAGED, components=False),
    "components trained, no database": replace(PACKAGED, components=True),
    "everything done": replace(PACKAGED, components=True, database=True),
    "applied, not watched": replace(PACKAGED, components=True, database=True, unwatched=True),
    "categories, one label": replace(
        PACKAGED,
        scored="category",
        labels=("SPAM",),
        label_counts={"train": {"SPAM": 200}},
        scores=scores(reviewed=0.95, majority=0.6),
    ),
    "a label with a very long name": replace(
        PACKAGED,
        labels=("BRAND", "PRODUCT_" * 20),
        label_counts={"train": {"BRAND": 500, "PRODUCT_" * 20: 500}},
        scores=replace(
            PACKAGED.scores,
            f={"reviewed": {"all": around(0.93), "BRAND": around(0.95), "PRODUCT_" * 20: around(0.91)}},
        ),
    ),
}


def report() -> str:
    parts = [f"# {name}\n" + "\n".join(decide(now).lines()) for name, now in SITUATIONS.items()]
    return "\n\n".join(parts) + "\n"


def golden() -> dict[str, str]:
    parts = GOLDEN.read_text(encoding="utf-8").strip().split("\n\n")
    return dict(part.removeprefix("# ").split("\n", 1) for part in parts)


@pytest.mark.parametrize("name", SITUATIONS)
def test_the_sentences(name: str) -> None:
    assert "\n".join(decide(SITUATIONS[name]).lines()) == golden()[name]


def test_the_file_holds_every_situation_once() -> None:
    assert list(golden()) == list(SITUATIONS)
    assert len(SITUATIONS) >= 30


@pytest.mark.parametrize("name", SITUATIONS)
def test_three_lines_that_fit_the_terminal(name: str) -> None:
    lines = decide(SITUATIONS[name]).lines()
    assert [line.split()[0] for line in lines] == ["Status", "Weakest", "Next"]
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize("name", SITUATIONS)
def test_the_command_exists(name: str, project: dict) -> None:
    words = decide(SITUATIONS[name]).command.split()
    assert words[:2] == ["weasel", "run"]
    commands = {command["name"] for command in project["commands"]} | set(project["workflows"])
    assert words[2] in commands
    variables = {word.removeprefix("--vars.") for word in words if word.startswith("--vars.")}
    assert variables <= set(project["vars"])


def test_a_long_line_goes_on_below() -> None:
    lines = NextStep("word " * 30, "nothing", "weasel run all", "").lines()
    assert all(len(line) <= 80 for line in "\n".join(lines).split("\n"))
    assert lines[0].split("\n")[1].startswith(" " * 9 + "word")
    assert lines[2] == "Next     weasel run all"


def test_every_system_of_an_evaluation_has_a_name() -> None:
    source = Path(systems.__file__).read_text(encoding="utf-8")
    named = {*systems.PIPELINES, *systems.DISTILLED, *BASELINES}
    assert named | {rules_and_model.SYSTEM} == set(SYSTEMS)
    assert [name for name in named if f'"{name}"' not in source] == []

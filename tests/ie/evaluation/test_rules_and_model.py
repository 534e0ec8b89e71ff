"""Rules and model in one pipeline: which order is chosen, and what if there is nothing to choose on."""

from collections.abc import Callable
from pathlib import Path

import pytest
from spacy.language import Language
from spacy.pipeline import EntityRuler

from ie.core.pipelines import load_pipeline
from ie.data.records import Record, Span, blank
from ie.evaluation import rules_and_model
from ie.evaluation.rules_and_model import add_rules, choose, patterns_of
from ie.training.shipping import ship

NAMES = ("Velto", "Hooli", "Anker", "Globex")
RULES = [{"label": "COMPANY", "pattern": name} for name in NAMES[:2]]
DEV = [
    Record(
        text=f"{name} sold {n} boats to {NAMES[n % 4]}.",
        spans=[Span(start=0, end=len(name), label="COMPANY")],
    )
    for n, name in enumerate(NAMES * 10)
]


def model(*words: str, label: str = "COMPANY") -> Callable[[], Language]:
    """A stand-in for a trained recogniser, which finds some words where nothing is yet."""

    def load() -> Language:
        nlp = blank("en")
        ruler = nlp.add_pipe("entity_ruler", name="ner")
        assert isinstance(ruler, EntityRuler)
        ruler.add_patterns([{"label": label, "pattern": word} for word in words])
        return nlp

    return load


def dev(find: Callable[[int, str], bool]) -> list[Record]:
    """Texts of two companies each, of which gold has those that `find` accepts, by place."""
    texts = [
        f"{one} beats {other} #{n}." for n in range(5) for one in NAMES for other in NAMES if one != other
    ]
    records = []
    for text in texts:
        one, _, other, *_ = text.split()
        places = [(0, one), (text.index(other), other)]
        spans = [Span(start=s, end=s + len(w), label="COMPANY") for s, w in places if find(s, w)]
        records.append(Record(text=text, spans=spans))
    return records


def test_rules_that_find_what_the_model_misses_go_in() -> None:
    records = dev(lambda place, word: True)
    choice = choose(model("Anker", "Globex"), RULES, records)
    assert choice.order == "rules first"  # equal to rules last: the first one wins
    assert choice.f["rules first"].value == choice.f["rules last"].value == 1.0
    assert choice.gain["rules first"].low > 0
    assert "helps beyond noise" in choice.reason
    assert "(n=60)" in choice.reason
    nlp = add_rules(model("Anker", "Globex")(), RULES, choice)
    assert nlp.pipe_names == ["rules", "ner"]
    assert nlp.meta["rules"] == choice.reason
    assert [ent.text for ent in nlp("Velto beats Anker.").ents] == ["Velto", "Anker"]


def test_rules_come_last_where_the_model_knows_better() -> None:
    """The rules' Velto is wrong before "Lines", which the model knows."""
    records = [
        Record(text=f"{name} Lines #{n}.", spans=[Span(start=0, end=len(name) + 6, label="COMPANY")])
        for n in range(15)
        for name in NAMES[:2]
    ] + [
        Record(text=f"{name} rose {n}.", spans=[Span(start=0, end=5, label="COMPANY")])
        for n in range(15)
        for name in NAMES[:2]
    ]
    load = model("Velto Lines", "Hooli Lines")
    choice = choose(load, RULES, records)
    assert choice.order == "rules last"
    assert add_rules(load(), RULES, choice).pipe_names == ["ner", "rules"]


def test_rules_that_add_nothing_or_harm_stay_out() -> None:
    records = dev(lambda place, word: word in NAMES[2:])
    for load in (model("Anker", "Globex"), model(*NAMES)):
        choice = choose(load, RULES, records)
        assert choice.order == "model alone"
        assert "don't help beyond noise" in choice.reason
        assert add_rules(load(), RULES, choice).pipe_names == ["ner"]


def test_a_gain_on_a_few_texts_is_noise() -> None:
    records = dev(lambda place, word: True)
    assert choose(model("Anker", "Globex", "Hooli"), RULES, records[-3:]).order == "model alone"


@pytest.mark.parametrize(
    ("load", "rules", "records", "reason"),
    [
        (model("Velto"), [], DEV, "neither patterns nor known names"),
        (lambda: blank("en"), RULES, DEV, "no component 'ner'"),
        (model("Velto"), RULES, [], "no dev text with a span"),
        (model("Velto"), RULES, [Record(text="Nothing.")], "no dev text with a span"),
    ],
)
def test_without_something_to_choose_on_the_model_stays_alone(load, rules, records, reason: str) -> None:
    choice = choose(load, rules, records)
    assert choice.order == "model alone"
    assert reason in choice.reason
    assert choice.to_json()["f"] == {}


def test_too_many_rules_stay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_and_model, "MOST", 1)
    assert "slow to load" in choose(model("Velto"), RULES, DEV).reason


def test_files_that_are_missing_or_empty_give_no_rules(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "names.csv").write_text("id,name\n1,Velto\n", encoding="utf-8")
    assert patterns_of(blank("en"), tmp_path / "empty.jsonl", tmp_path / "none.csv", "COMPANY") == []
    assert patterns_of(blank("en"), None, tmp_path / "names.csv", "") == []
    (rule,) = patterns_of(blank("en"), None, tmp_path / "names.csv", "COMPANY")
    assert rule == {"label": "COMPANY", "pattern": "Velto"}


def test_the_shipped_pipeline_has_them_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "reviewed").mkdir()
    model("Anker", "Globex")().to_disk(tmp_path / "reviewed" / "model-best")
    choice = ship("reviewed", RULES, dev(lambda place, word: True), tmp_path, tmp_path)
    assert choice.order == "rules first"
    shipped = rules_and_model.folder_of(tmp_path, "reviewed")
    assert shipped == tmp_path / "shipped"
    nlp = load_pipeline(shipped / "model-best", "")
    assert nlp.pipe_names == ["rules", "ner"]
    assert nlp.meta["rules"].startswith("F on dev: model alone")
    assert rules_and_model.read_choice(shipped)["order"] == "rules first"
    # the pipeline of other training data isn't shipped
    assert rules_and_model.folder_of(tmp_path, "silver") == tmp_path / "silver"


def test_where_rules_do_not_help_the_model_is_shipped_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "reviewed"
    folder.mkdir()
    model("Anker", "Globex")().to_disk(folder / "model-best")
    (folder / "confidence.json").write_text("{}")
    ship("reviewed", [], [], tmp_path, tmp_path)
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        assert (tmp_path / "shipped" / file.relative_to(folder)).read_bytes() == file.read_bytes()
    assert rules_and_model.read_choice(tmp_path / "shipped")["order"] == "model alone"

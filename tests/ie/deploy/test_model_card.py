"""The model card tells scores with their n and interval, the versions of the data, and what is missing."""

import hashlib
import json
from pathlib import Path

import pytest

from ie.core.errors import UserError
from ie.deploy import model_card

META = {
    "lang": "en",
    "name": "deal_news",
    "version": "0.1.0",
    "license": "MIT",
    "spacy_version": ">=3.8,<3.9",
    "components": ["tok2vec", "ner"],
    "labels": {"tok2vec": [], "ner": ["COMPANY", "MONEY"]},
}


def make(scores: dict[str, Path] | None = None, **more) -> str:
    names = {"system": "reviewed", "trained_on": "reviewed"}
    options = {"written": "## Limits\n\nMany.", "data": []} | names | more
    meta = options.pop("meta", META)
    return model_card.write(meta, scores=scores or {}, **options)


def test_scores_of_the_packaged_system_alone(tmp_path: Path):
    def scores(f: float) -> dict:
        ends = {
            f"{m}{end}": f + more for m in "prf" for end, more in (("", 0), ("_low", -0.02), ("_high", 0.02))
        }
        return {"all": ends | {"gold": 1686}}

    path = tmp_path / "metrics.json"
    systems = {"reviewed": scores(0.91), "silver": scores(0.77)}
    path.write_text(json.dumps({"test": {"documents": 532}, "systems": systems}))
    (row,) = [line for line in make({"spans": path}).splitlines() if "| all |" in line]
    assert "| 1,686 |" in row
    assert ".91 ±" in row
    assert ".77 ±" in make({"spans": path}, system="silver")


def test_only_what_the_pipeline_does_is_scored(tmp_path: Path):
    found = model_card.sources(tmp_path, ["tok2vec", "ner", "money", "relations"])
    assert set(found) == {"spans", "amounts", "relations", "rows"}
    assert found["rows"] == tmp_path / "component-scores" / "rows.json"
    assert set(model_card.sources(tmp_path, ["ner"])) == {"spans"}


def test_figures_of_every_component(tmp_path: Path):
    kinds = {
        "links": tmp_path / "links.json",
        "amounts": tmp_path / "amounts.json",
        "relations": tmp_path / "relations.json",
        "categories": tmp_path / "categories.json",
        "rows": tmp_path / "rows.json",
    }
    three = [0.8, 0.75, 0.85]
    prf = {"p": three, "r": three, "f": three}
    right = {"value": 0.98, "low": 0.97, "high": 0.99, "texts": 491, "shown": ".98 ±.01"}
    (tmp_path / "links.json").write_text(
        json.dumps({"linker": {"linked": {"mentions": 947, "right": right}, "nil": {"mentions": 150}}})
    )
    amounts = {"amounts": 586, "texts": 500, "right": 0.99, "low": 0.98, "high": 1.0}
    (tmp_path / "amounts.json").write_text(
        json.dumps({"corpus/train.jsonl": amounts, "corpus/test.jsonl": amounts})
    )
    (tmp_path / "relations.json").write_text(
        json.dumps(
            {"test_documents": 500, "systems": {"gold": {"RAISED": prf | {"correct": 30, "missing": 10}}}}
        )
    )
    (tmp_path / "categories.json").write_text(
        json.dumps(
            {
                "test_documents": 500,
                "systems": {"component": {"FUNDING": prf | {"n": 77}, "accuracy": {"n": 500, "f": three}}},
            }
        )
    )
    (tmp_path / "rows.json").write_text(
        json.dumps({"test_documents": 500, "rows": {"pipeline": prf | {"exact": 300, "missing": 99}}})
    )
    text = make(kinds)
    assert "| relations between gold entities | RAISED | 500 | 40 | .80 ±.05 | .80 ±.05 | .80 ±.05 |" in text
    assert "| categories | accuracy | 500 | 500 |  |  | .80 ±.05 |" in text
    assert "| database rows, from the text alone | all | 500 | 399 |" in text
    assert "| links of gold mentions | linked | 491 | 947 |  |  | .98 ±.01 |" in text
    # what it was developed on isn't a score
    assert text.count("amounts of gold mentions") == 1


def test_a_pipeline_that_found_nothing_has_a_card(tmp_path: Path):
    nothing = {"p": None, "p_low": None, "p_high": None}
    none = {m: 0.0 for metric in ("r", "f") for m in (metric, f"{metric}_low", f"{metric}_high")}
    one = {"MONEY": {"gold": 20, "predicted": 0, "correct": 0, **nothing, **none}, "mb": 3.9}
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"test": {"documents": 40}, "systems": {"reviewed": one}}))
    assert "| exact spans | MONEY | 40 | 20 | – | .00 to " in make({"spans": path})


def test_versions_are_those_of_dvc_and_training_is_reported(tmp_path: Path):
    data, train = tmp_path / "train.jsonl", tmp_path / "train.json"
    data.write_bytes(b"{}\r\n")
    train.write_text('{"reviewed": {"examples": 1764, "step": 20, "dev_documents": 9}}')
    text = make(data=[data, tmp_path / "gone.jsonl"], train=train)
    assert f"| {data} | `{hashlib.md5(b'{}' + bytes([13, 10])).hexdigest()}` |" in text
    assert "gone" not in text
    assert (
        "On 1,764 reviewed examples; of its checkpoints that of step 20 was the best on 9 dev texts." in text
    )
    assert model_card.NOT_MEASURED in text
    assert "## Limits" in text


def test_with_rules_the_scores_are_those_of_both_and_the_card_says_why(tmp_path: Path):
    train = tmp_path / "train.json"
    train.write_text('{"reviewed": {"examples": 60, "step": 1, "dev_documents": 9}}')
    meta = META | {"rules": "F on dev: model alone .5, rules first .8; rules first helps beyond noise."}
    text = make(meta=meta, system="combined", train=train)
    assert "On 60 reviewed examples.\n\nRules and model: F on dev: model alone .5" in text


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        ("spans", "{", "can't be read"),
        ("spans", '{"rows": 1}', "holds no figures of spans"),
        ("rows", "[1]", "holds no figures of rows"),
    ],
)
def test_bad_figures_end_in_a_sentence(tmp_path: Path, kind: str, content: str, said: str):
    path = tmp_path / "scores.json"
    path.write_text(content)
    with pytest.raises(UserError, match=said.replace("(", r"\(")):
        make({kind: path})

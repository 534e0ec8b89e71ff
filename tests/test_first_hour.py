"""From raw texts to a measured pipeline with a dozen answers, on texts other than the demo's."""

import json
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
from own_project import OwnProject
from running import real_data

from ie.data.config import load_data_config
from ie.data.records import read_records
from ie.data.splits import SIDES

# The sentences are this repository's own, CC0.
BIRDS = ("heron", "kingfisher", "barn owl", "swift", "dipper", "goshawk", "teal", "woodcock")
PLACES = ("Alder Fen", "Crake Mere", "Holm Weir", "Sedge Point", "Tarn Moss", "Withy Bed")
SENTENCES = (
    "A {bird} was seen at {place} shortly after dawn.",
    "Nobody has counted more than one {bird} near {place} this winter.",
    "The path to {place} is closed until the young {bird} has left its nest.",
)


def sightings() -> list[dict]:
    """Sentences with a bird and a place each, and as many of the weather with neither."""
    found = []
    for n, (bird, place) in enumerate(product(BIRDS, PLACES)):
        text = SENTENCES[n % len(SENTENCES)].format(bird=bird, place=place)
        spans = [
            {"start": text.index(part), "end": text.index(part) + len(part), "label": label}
            for part, label in ((bird, "BIRD"), (place, "PLACE"))
        ]
        found.append({"text": text, "spans": spans})
        found.append(
            {"text": f"Entry for {bird} day, {place} week: {'fog and ' * (n % 5)}rain.", "spans": []}
        )
    return found


def headlines(name: str, n: int = 200) -> list[dict]:
    lines = real_data(f"{name}/train.jsonl").read_text("utf-8").splitlines()[:n]
    return [{"text": record["text"], "spans": record["spans"]} for record in map(json.loads, lines)]


def reviewed_parts(project: OwnProject) -> Counter:
    """How many reviewed texts each part of the split has."""
    gold = read_records(project.folder / "assets/reviewed.jsonl")
    split = load_data_config(project.folder / "configs/data.cfg").assign(gold, [])
    return Counter({part: len(getattr(split, part)) for part in SIDES})


@pytest.mark.slow
@pytest.mark.parametrize("source", ["sightings", "fashion_brands", "crossner_politics"])
def test_twelve_answers_make_a_first_model(tmp_path: Path, source: str) -> None:
    gold = sightings() if source == "sightings" else headlines(source)
    labels = sorted({span["label"] for record in gold for span in record["spans"]})
    project = OwnProject(tmp_path, gold, labels)
    with project.language_model():
        # what it says first is what the page asks first
        assert "A first model needs 6 train, 3 dev and 3 test texts more" in project.set_up
        assert "nothing is reviewed yet. A first model needs" in project.weasel("check", status=1)
        with project.reviewer() as reviewer:
            assert reviewer.question()["why"] == "train texts are needed for a first model"
            texts = reviewer.finish(12)
        assert len(texts) == 12
        assert reviewed_parts(project) == {"train": 6, "dev": 3, "test": 3}
        output = project.run_all()
    assert "Traceback" not in output
    metrics = json.loads((tmp_path / "training/crf/metrics.json").read_text("utf-8"))
    assert metrics["test"]["documents"] == 3
    assert list((tmp_path / "packages").glob("*.whl"))


@pytest.mark.slow
def test_a_reviewer_who_rejects_everything_loses_nothing(tmp_path: Path) -> None:
    project = OwnProject(tmp_path, sightings(), ["BIRD", "PLACE"])
    with project.reviewer() as reviewer:
        reviewer.finish(12, answer="reject")
        aim = reviewer.question()["progress"]["aims"][0]
        assert (aim["have"], aim["goal"]) == (0, 12)
    output = project.weasel("check", status=1)
    assert "none of the 12 reviewed texts was accepted. A first model needs 6 train, 3 dev and 3" in output
    assert len(read_records(tmp_path / "assets/reviewed.jsonl")) == 12


@pytest.mark.slow
def test_ten_texts_in_all_end_with_a_way_out(tmp_path: Path) -> None:
    project = OwnProject(tmp_path, sightings()[:10], ["BIRD", "PLACE"])
    with project.reviewer() as reviewer:
        assert len(reviewer.finish(99)) == 10
        assert reviewer.question()["done"]
    assert sum(reviewed_parts(project).values()) == 10
    missing = [part for part in SIDES if not reviewed_parts(project)[part]]
    output = project.weasel("check", status=1 if missing else 0)
    assert "texts left: add about " in output
    assert "_percent in configs/data.cfg" in output
